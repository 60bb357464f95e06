//! `export` and `import`: all that is kept, carried away and taken in page by page, so that
//! neither end holds more than one.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::args::Options;
use super::{Code, json_lines, print};
use crate::command::{Command, LOBBY};
use crate::console::past;
use crate::console::tty::local_time;
use crate::control::Client;
use crate::control::varlink::MAX_FRAME;
use crate::daemon::complain;
use crate::hub::Way;
use crate::model::history::Entry;
use crate::model::limits::MAX_PAGE;
use crate::model::{Answer, IoError, Refusal};

/// Bytes of entries in one call; the rest of a frame is the call's own.
const MAX_CALL: usize = MAX_FRAME - 4 * 1024;
/// Bytes of a line that is read: a text to all of a full roster has not half as many.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// Writes all entries, oldest first: one JSON value per line, or as `messages.txt` has them.
pub(super) async fn export(
    client: &Client,
    options: &Options,
    messages: bool,
    with: Option<String>,
) -> Result<Code, Refusal> {
    let with = with.map(|with| with.to_lowercase());
    let mut after = 0;
    loop {
        let command = Command::Export { after, limit: Some(MAX_PAGE) };
        let page = match client.ask(options.acting.clone(), command, None).await? {
            Answer::Page(page) => page,
            _ => return Err(strange()),
        };
        let Some(last) = page.entries.last().map(|e| e.order) else { return Ok(Code::Done) };
        after = last;
        let fits = |e: &Entry| with.as_ref().is_none_or(|w| *w == e.conversation);
        let entries: Vec<Entry> = page.entries.into_iter().filter(fits).collect();
        let text = match messages {
            true => entries.iter().map(|e| past::plain(e, local_time)).collect(),
            false => json_lines(&entries),
        };
        print(&text)?;
        if !page.more {
            return Ok(Code::Done);
        }
    }
}

/// Takes in the lines of an export; a line that is none is said and passed over.
pub(super) async fn import(
    client: &Client,
    options: &Options,
    file: Option<PathBuf>,
) -> Result<Code, Refusal> {
    let shown = file.as_ref().map_or("stdin".into(), |f| f.display().to_string());
    let wrong = |error: std::io::Error| Refusal::File {
        path: shown.clone(),
        reason: IoError::from(error).text,
    };
    let mut lines: Box<dyn BufRead> = match &file {
        Some(path) => Box::new(BufReader::new(std::fs::File::open(path).map_err(wrong)?)),
        None => Box::new(BufReader::new(std::io::stdin())),
    };
    let (mut number, mut new, mut bad) = (0_u64, 0, 0_u64);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    loop {
        let line = next_line(&mut lines).map_err(wrong)?;
        number += 1;
        let mut read = None;
        let mut reason = None;
        match &line {
            Some(Line::Whole(line)) if !line.iter().all(u8::is_ascii_whitespace) => {
                match serde_json::from_slice(line).map(shortened) {
                    Ok((_, size, _)) if size > MAX_CALL => {
                        reason =
                            Some(format!("its text does not fit the {MAX_CALL} bytes of a call"));
                    }
                    Ok((entry, size, None)) => read = Some((entry, size)),
                    Ok((entry, size, Some(left))) => {
                        read = Some((entry, size));
                        let text = "recipients are too many for one call: taken in without them";
                        complain(format!("{shown}, line {number}: {left} {text}"));
                    }
                    Err(error) => reason = Some(format!("no entry of `klatsch export` ({error})")),
                }
            }
            Some(Line::TooLong) => reason = Some(format!("longer than {MAX_LINE} bytes")),
            Some(Line::Whole(_)) | None => {}
        }
        let size = read.as_ref().map_or(0, |(_, size)| *size);
        let full = bytes + size > MAX_CALL || entries.len() >= MAX_PAGE as usize;
        if !entries.is_empty() && (full || line.is_none()) {
            bytes = 0;
            let command = Command::Import { entries: std::mem::take(&mut entries) };
            match client.ask(options.acting.clone(), command, None).await? {
                Answer::Count(n) => new += n,
                _ => return Err(strange()),
            }
        }
        if line.is_none() {
            break;
        }
        if let Some((entry, size)) = read {
            entries.push(entry);
            bytes += size;
        }
        if let Some(reason) = reason {
            bad += 1;
            complain(format!("{shown}, line {number}: {reason}: passed over"));
        }
    }
    match options.json {
        true => print(&json_lines(&[serde_json::json!({"count": new})]))?,
        false => print(&format!("{new} new\n"))?,
    }
    Ok(if bad == 0 { Code::Done } else { Code::Refused })
}

/// An entry as it fits a call, its bytes there, and how many recipients it had to leave behind.
fn shortened(mut entry: Entry) -> (Entry, usize, Option<usize>) {
    let all = entry.recipients.len();
    loop {
        let size = serde_json::to_string(&entry).map_or(0, |json| json.len()) + 1;
        let few = entry.recipients.len();
        if size <= MAX_CALL || few == 0 {
            return (entry, size, (few < all).then_some(all - few));
        }
        entry.recipients.truncate(few * 3 / 4);
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line; one that is too long is read past.
fn next_line(from: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let most = MAX_LINE as u64 + 1;
    if from.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() <= MAX_LINE {
        return Ok(Some(Line::Whole(line)));
    }
    loop {
        let there = from.fill_buf()?;
        let end = there.iter().position(|b| *b == b'\n');
        let n = end.map_or(there.len(), |at| at + 1);
        from.consume(n);
        if end.is_some() || n == 0 {
            return Ok(Some(Line::TooLong));
        }
    }
}

/// The conversation that a recipient's name belongs to, where no node is asked.
pub(super) fn conversation(name: &str) -> String {
    match name {
        LOBBY => name.to_owned(),
        name => name.split_once('@').map_or(name, |(handle, _)| handle).to_owned(),
    }
}

fn strange() -> Refusal {
    Refusal::Failed { reason: "the node's answer is no history".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_past_a_line_is_passed_over_and_what_follows_is_read() {
        let mut text = vec![b'x'; MAX_LINE];
        text.push(b'\n');
        text.extend(vec![b'y'; MAX_LINE + 1]);
        text.extend(b"\nlast");
        let mut from = &text[..];
        let mut next = || next_line(&mut from).unwrap();
        assert!(matches!(next(), Some(Line::Whole(line)) if line.len() == MAX_LINE));
        assert!(matches!(next(), Some(Line::TooLong)));
        assert!(matches!(next(), Some(Line::Whole(line)) if line == b"last"));
        assert!(next().is_none());
    }

    #[test]
    fn an_entry_for_thousands_is_taken_in_with_those_that_fit_a_call() {
        let mut entry = crate::api::samples::entries().swap_remove(0);
        assert!(matches!(shortened(entry.clone()), (_, _, None)));
        entry.recipients = vec![entry.recipients[0].clone(); 10_000];
        let (short, size, left) = shortened(entry);
        assert!(size <= MAX_CALL && size > MAX_CALL / 2, "{size}");
        assert_eq!(short.recipients.len() + left.unwrap(), 10_000);
    }
}
