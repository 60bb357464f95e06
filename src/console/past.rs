//! What was said, as people read it again: one line for each entry.

use super::render::bytes;
use crate::model::history::{Body, Entry, Recipient};
use crate::model::text::harmless;
use crate::model::{Delivery, Direction, Wall};
use crate::node::history::LOBBY_KEY;

/// Recipients whose states are named one by one.
const MAX_NAMED: usize = 3;

/// An instant on a clock and calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Moment {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
}

impl Moment {
    /// In UTC.
    pub fn utc(at: Wall) -> Moment {
        let text = at.to_string(); // 2026-11-21T02:35:36.764Z
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or("0");
        let small = |from: usize| part(from, from + 2).parse().unwrap_or(0);
        Moment {
            year: part(0, 4).parse().unwrap_or(0),
            month: small(5),
            day: small(8),
            hour: small(11),
            minute: small(14),
        }
    }
}

/// `#17 2026-11-21 14:35 anna → bob: hello [queued: not here]`.
pub fn line(entry: &Entry, clock: fn(Wall) -> Moment) -> String {
    let at = match entry.dated {
        true => {
            let Moment { year, month, day, hour, minute } = clock(entry.at);
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
        }
        false => "--:--".into(),
    };
    let from = harmless(&entry.from);
    let who = match (entry.direction, entry.conversation.as_str()) {
        (_, LOBBY_KEY) => format!("{from} → all"),
        (Direction::In, room) if room.starts_with('#') => format!("{from} → {}", harmless(room)),
        (Direction::In, _) => from,
        (Direction::Out, with) => {
            let first = entry.recipients.first().filter(|_| !with.starts_with('#'));
            let to = first.map_or(with, |r| &r.handle);
            format!("{from} → {}", harmless(to))
        }
    };
    let auto = if entry.autoreply { " (automatic answer)" } else { "" };
    let what = match &entry.body {
        Body::Text { text } => harmless(text),
        Body::File { path, size, gone, .. } => {
            let gone = if *gone { ", removed since" } else { "" };
            format!("image {} ({}{gone})", harmless(path), bytes(*size))
        }
    };
    format!("#{} {at} {who}{auto}: {what}{}", entry.order, mark(&entry.recipients))
}

/// A recipient's state in words.
pub fn state(state: Delivery, reason: Option<&str>) -> String {
    match reason.filter(|r| !r.is_empty()) {
        // not shown more certain than it is, and not longer than it need be
        Some(reason) if state == Delivery::Sent && reason.starts_with("may be lost") => {
            "sent, may be lost".into()
        }
        Some(reason) => format!("{state}: {}", harmless(reason)),
        None => state.to_string(),
    }
}

fn mark(recipients: &[Recipient]) -> String {
    let words = |r: &Recipient| state(r.state, r.reason.as_deref());
    let Some(first) = recipients.first() else { return String::new() };
    if recipients.iter().all(|r| words(r) == words(first)) {
        return format!(" [{}]", words(first));
    }
    let mut parts = Vec::new();
    for kind in
        [Delivery::Read, Delivery::Delivered, Delivery::Sent, Delivery::Queued, Delivery::Failed]
    {
        let of: Vec<&Recipient> = recipients.iter().filter(|r| r.state == kind).collect();
        match of.len() {
            0 => {}
            n if n > MAX_NAMED => parts.push(format!("{kind} {n}")),
            _ => {
                let names = of.iter().map(|r| format!("{} {}", harmless(&r.handle), words(r)));
                parts.extend(names);
            }
        }
    }
    format!(" [{}]", parts.join("; "))
}

/// A line of `messages.txt`, in the shape of the directory chat: `[H:M]line`, unpadded.
pub fn plain(entry: &Entry, clock: fn(Wall) -> Moment) -> String {
    let Moment { hour, minute, .. } = clock(entry.at);
    let what = match &entry.body {
        Body::Text { text } => text,
        Body::File { path, .. } => path,
    };
    format!("[{hour}:{minute}]{}: {}\n", harmless(&entry.from), harmless(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples;

    #[test]
    fn a_line_says_when_who_what_and_what_became_of_it() {
        let all: Vec<String> = samples::entries().iter().map(|e| line(e, Moment::utc)).collect();
        assert_eq!(
            all,
            [
                "#17 2026-11-21 02:35 anna → bob: hello [queued: not here]",
                "#18 --:-- bob (automatic answer): image /images/bob-1.png (1.0 kB)"
            ]
        );
    }

    #[test]
    fn a_text_to_many_names_few_and_counts_many() {
        let mut entry = samples::entries().swap_remove(0);
        entry.conversation = LOBBY_KEY.into();
        let one = entry.recipients[0].clone();
        let to = |n: usize, state, reason: Option<&str>| Recipient {
            handle: format!("p{n}"),
            state,
            reason: reason.map(Into::into),
            ..one.clone()
        };
        entry.recipients = (0..5).map(|n| to(n, Delivery::Sent, None)).collect();
        assert!(line(&entry, Moment::utc).ends_with("anna → all: hello [sent]"));
        entry.recipients.push(to(5, Delivery::Failed, Some("nobody listens there")));
        let text = line(&entry, Moment::utc);
        assert!(text.ends_with("[sent 5; p5 failed: nobody listens there]"), "{text}");
    }

    #[test]
    fn what_a_crash_left_is_said() {
        let text = state(Delivery::Sent, Some("may be lost: the node stopped while it left"));
        assert_eq!(text, "sent, may be lost");
    }

    #[test]
    fn messages_txt_is_as_the_directory_chat_writes_it() {
        let mut entry = samples::entries().swap_remove(0);
        entry.body = Body::Text { text: "one\ntwo".into() };
        let text = plain(&entry, Moment::utc);
        assert!(text.starts_with("[2:35]anna: one") && text.ends_with("two\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
