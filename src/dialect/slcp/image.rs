//! The header of an image, in all its shapes, out of bytes: it may be followed by the image
//! itself, so it has to be found before anything is taken for text.

use super::said::{ImageHead, ImageStyle, Unreadable};
use super::{MAX_HEAD, MAX_NAME};
use crate::model::Handle;

/// Where a header ends in these bytes, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The header, and how many bytes it took.
    Head(ImageHead, usize),
    /// Its end is not among these bytes.
    More,
    /// None that can be read, and how many bytes it took.
    Bad(Unreadable, usize),
}

/// Whether these bytes begin an image's header.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"IMG ") || bytes.starts_with(b"IMG:")
}

/// The header that `bytes` begin with, of a stream or a datagram; `last` where no more will come.
/// Looks at no more than [`MAX_HEAD`] bytes.
pub(super) fn find(
    bytes: &[u8],
    stream: bool,
    last: bool,
    is_ours: &dyn Fn(&str) -> bool,
) -> Found {
    let window = &bytes[..bytes.len().min(MAX_HEAD)];
    let (line, taken) = match end(window, stream) {
        Some((end, taken)) => (&window[..end], taken),
        None if bytes.len() >= MAX_HEAD => {
            return Found::Bad(Unreadable::TooLong { max: MAX_HEAD }, window.len());
        }
        None if last => (window, window.len()),
        None => return Found::More,
    };
    let blank = window.get(taken.wrapping_sub(1)) == Some(&b' ');
    match std::str::from_utf8(line).map_err(|_| Unreadable::NotUtf8) {
        Ok(text) => match head(text, blank, is_ours) {
            Ok(head) => Found::Head(head, taken),
            Err(bad) => Found::Bad(bad, taken),
        },
        Err(bad) => Found::Bad(bad, taken),
    }
}

/// Where the header ends and what follows begins: after a line end, after the third colon of
/// `IMG:file:size:`, or at the blank after the size of `IMG sender file size ` (001). That is on
/// streams only: in a datagram it is jalal's `IMG from to port size`.
fn end(bytes: &[u8], stream: bool) -> Option<(usize, usize)> {
    if bytes.starts_with(b"IMG:") {
        let mut colons = 0;
        for (at, byte) in bytes.iter().enumerate() {
            colons += usize::from(*byte == b':');
            if colons == 3 {
                return Some((at, at + 1));
            }
            if *byte == b'\n' {
                return Some((at, at + 1));
            }
        }
        return None;
    }
    let (mut words, mut digits, mut length, mut bar) = (0, true, 0, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => return Some((at, at + 1)),
            b' ' => {
                words += usize::from(length > 0);
                if stream && words == 4 && digits && length > 0 && !bar {
                    return Some((at, at + 1));
                }
                (digits, length) = (true, 0);
            }
            _ => {
                digits &= byte.is_ascii_digit();
                bar |= *byte == b'|';
                length += 1;
            }
        }
    }
    None
}

fn head(text: &str, blank: bool, is_ours: &dyn Fn(&str) -> bool) -> Result<ImageHead, Unreadable> {
    let mut head = ImageHead::new(ImageStyle::Sender);
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("IMG:") {
        let (file, size) = rest.split_once(':').ok_or(Unreadable::Missing("size"))?;
        head.name = Some(name(file));
        head.size = Some(self::size(size.trim_end_matches(':'))?);
        head.style = ImageStyle::Colon;
        return Ok(head);
    }
    let rest = text.strip_prefix("IMG").unwrap_or(text).trim_start();
    let rest = match rest.split_once('|') {
        Some((rest, comment)) => {
            head.comment = Some(name(comment));
            head.style = ImageStyle::Comment;
            rest
        }
        None => rest,
    };
    let words: Vec<&str> = rest.split_whitespace().take(MAX_WORDS).collect();
    let Some((last, words)) = words.split_last() else {
        return Err(Unreadable::Missing("size"));
    };
    head.size = Some(size(last)?);
    match words {
        [] => return Err(Unreadable::Missing("sender")),
        [one] => person_or_file(one, &mut head, is_ours)?,
        [first, second] => {
            person(first, &mut head, is_ours)?;
            if head.to.is_none() && is_ours(second) {
                head.to = Some(Handle::try_from(*second)?);
            } else {
                head.name = Some(name(second));
                let end = if blank { ImageStyle::SenderNameBlank } else { ImageStyle::SenderName };
                head.style = end;
            }
        }
        [from, to, port] if port.bytes().all(|b| b.is_ascii_digit()) => {
            head.from = Some(Handle::try_from(*from)?);
            head.to = Some(Handle::try_from(*to)?);
            head.connect_back = Some(super::codec::port(port)?);
            head.style = ImageStyle::ConnectBack;
        }
        // A file name with blanks in it.
        [first, file @ ..] => {
            person(first, &mut head, is_ours)?;
            head.name = Some(name(&file.join(" ")));
            head.style = ImageStyle::SenderName;
        }
    }
    Ok(head)
}

/// `IMG bob 73`, or `IMG dot.png 73` (pollo).
fn person_or_file(
    word: &str,
    head: &mut ImageHead,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<(), Unreadable> {
    let kind = word.rsplit_once('.').map(|(_, kind)| kind.to_ascii_lowercase());
    let file = kind.is_some_and(|kind| KINDS.contains(&kind.as_str()));
    if !is_ours(word) && (file || Handle::try_from(word).is_err()) {
        head.name = Some(name(word));
        head.style = ImageStyle::Name;
        return Ok(());
    }
    person(word, head, is_ours)
}

fn person(
    word: &str,
    head: &mut ImageHead,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<(), Unreadable> {
    let handle = Handle::try_from(word)?;
    if is_ours(word) {
        head.to = Some(handle);
        if head.style == ImageStyle::Sender {
            head.style = ImageStyle::Receiver;
        }
    } else {
        head.from = Some(handle);
    }
    Ok(())
}

fn size(word: &str) -> Result<u64, Unreadable> {
    match word.parse() {
        Ok(size) if word.bytes().all(|b| b.is_ascii_digit()) => Ok(size),
        _ => Err(Unreadable::BadSize),
    }
}

/// A sender's name for its image, cut to [`MAX_NAME`] and harmless: it is only ever shown.
pub(super) fn name(text: &str) -> String {
    let mut name = crate::model::text::harmless(text.trim());
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// Words of a header that are looked at; a file name may hold blanks.
const MAX_WORDS: usize = 64;
/// Endings by which a file is told from a handle.
const KINDS: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff", "svg", "heic", "heif", "avif", "ico",
];
