//! Words for people: every line the console prints, from the model's values; here what happens,
//! in `views` what is asked about. Whatever a peer could have chosen goes through [`harmless`];
//! colour is the only escape sequence made here.

mod views;

use super::past::{self, Moment};
use crate::command::{Command, is_secret};
use crate::model::answer::{Page, UserView};
use crate::model::event::BY_LINK_TOO;
use crate::model::text::harmless;
use crate::model::{ChatState, Delivery, Dialect, Direction, Receipt, Status, Wall, What};
pub use views::{rooms, transfer, verify};

/// Rows of one table or list that are printed; the rest is counted.
pub const MAX_ROWS: usize = 200;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// With colours.
    pub colour: bool,
    /// An instant as clock and calendar have it where the reader is.
    pub clock: fn(Wall) -> Moment,
}

impl Paint {
    /// `[12:34] `.
    pub fn time(&self, at: Wall) -> String {
        let Moment { hour, minute, .. } = (self.clock)(at);
        self.dim(&format!("[{hour:02}:{minute:02}] "))
    }

    /// A line that says what went wrong.
    pub fn wrong(&self, text: &str) -> String {
        self.sgr("31", &harmless(text))
    }

    /// A person.
    pub fn name(&self, name: &str) -> String {
        self.sgr("1", &harmless(name))
    }

    fn dim(&self, text: &str) -> String {
        self.sgr("2", text)
    }

    fn sgr(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What happened, where one line says it without knowing what came before. `me`: the user
    /// that the console speaks for; `user`: the one it concerns.
    pub fn event(&self, at: Wall, user: Option<&str>, me: &str, what: &What) -> Option<String> {
        let mine = user.is_none_or(|u| same(u, me));
        let time = self.time(at);
        let star = |text: String| Some(format!("{time}{}", self.dim(&format!("* {text}"))));
        match what {
            What::Message { from, to, text, autoreply, direction, .. } => {
                let who = self.parties(*direction, mine, from, to);
                let auto = if *autoreply { " (automatic answer)" } else { "" };
                Some(format!("{time}{who}{auto}: {}", harmless(text)))
            }
            What::Image { from, to, path, size, format, width, height, direction, .. } => {
                let who = self.parties(*direction, mine, from, to);
                let mut facts = match format.as_str() {
                    "unknown" => "not an image we know".to_owned(),
                    format => harmless(format),
                };
                if let (Some(width), Some(height)) = (width, height) {
                    facts += &format!(", {width}x{height} pixels");
                }
                let path = harmless(path);
                Some(format!("{time}{who}: image {path} ({facts}, {})", bytes(*size)))
            }
            What::PeerLeft { reason, .. } if reason == BY_LINK_TOO => None,
            What::PeerJoined { handle, address, dialect, .. } => {
                let place = match dialect {
                    Dialect::Link => format!("{}, encrypted", harmless(address)),
                    Dialect::Local => "this node".to_owned(),
                    _ => harmless(address),
                };
                star(format!("{} is here ({place})", harmless(handle)))
            }
            What::PeerLeft { handle, reason, .. } if matches!(&**reason, "" | "left") => {
                star(format!("{} left", harmless(handle)))
            }
            What::PeerLeft { handle, reason, .. } => {
                star(format!("{} is gone: {}", harmless(handle), harmless(reason)))
            }
            What::Session { handle, dialect, stands: true, .. } => {
                star(format!("connected with {} ({dialect})", harmless(handle)))
            }
            What::Session { handle, dialect, .. } => {
                star(format!("no connection with {} ({dialect})", harmless(handle)))
            }
            What::PeerAway { handle, .. } => star(format!("{} is away", harmless(handle))),
            What::PeerBack { handle, .. } => star(format!("{} is back", harmless(handle))),
            What::PeerRenamed { handle, old, .. } => {
                star(format!("{} is now {}", harmless(old), harmless(handle)))
            }
            What::Chat { number, handle, dialect, state, reason, .. } => {
                let (handle, reason) = (harmless(handle), reason.as_deref().map(harmless));
                let reason = reason.unwrap_or_default();
                match state {
                    // the answer to CHAT says it
                    ChatState::Asking => None,
                    ChatState::Asked => Some(format!(
                        "{time}{} asks for a private chat ({dialect}): ACCEPT {number} or \
                         REFUSE {number}",
                        self.name(&handle)
                    )),
                    ChatState::Open => {
                        star(format!("private chat with {handle}: MSG {handle}, CLOSE {handle}"))
                    }
                    ChatState::Over => star(format!("no private chat with {handle}: {reason}")),
                }
            }
            What::Gap(gap) => star(match gap.missed {
                Some(n) => format!("{n} events were missed: this console was too slow for them"),
                None => "the node was started anew: what happened before is not shown".into(),
            }),
            What::Config { key, .. } if is_secret(key) => {
                star(format!("{} has another value", harmless(key)))
            }
            What::Config { key, value } => {
                star(format!("{} is {}", harmless(key), shown(&harmless(value))))
            }
            What::Error { text } => Some(format!("{time}{}", self.wrong(text))),
            What::Delivery { .. } | What::Transfer { .. } => None,
        }
    }

    fn parties(&self, direction: Direction, mine: bool, from: &str, to: &str) -> String {
        match (direction, mine) {
            // a room: where it was said matters as much as by whom
            (Direction::In, true) if to.starts_with('#') => {
                format!("{} → {}", self.name(from), harmless(to))
            }
            (Direction::In, true) => self.name(from),
            (Direction::In, false) => format!("{} → {}", self.name(from), harmless(to)),
            (Direction::Out, true) => format!("you → {}", self.name(to)),
            (Direction::Out, false) => format!("{} → {}", harmless(from), self.name(to)),
        }
    }

    /// What became of something for one recipient.
    pub fn delivery(&self, to: &str, state: Delivery, reason: Option<&str>) -> String {
        let line = format!("→ {}: {}", harmless(to), past::state(state, reason));
        if state == Delivery::Failed { self.sgr("31", &line) } else { self.dim(&line) }
    }

    /// The answer to MSG, ALL and IMG.
    pub fn receipts(&self, receipts: &[Receipt]) -> String {
        if receipts.is_empty() {
            return "nobody is here: it was sent to no one".into();
        }
        let lines =
            receipts.iter().map(|r| self.delivery(&r.recipient, r.state, r.reason.as_deref()));
        capped(lines.collect(), "recipients")
    }

    /// The answer to HISTORY and SEARCH.
    pub fn page(&self, page: &Page, command: &Command) -> String {
        let (found, older) = match command {
            Command::Search { .. } => ("found", "SEARCH with one more word narrows it".to_owned()),
            Command::History { with, .. } => {
                let number = page.entries.first().map_or(0, |e| e.order);
                let with = with.as_ref().map_or(String::new(), |w| format!(" {}", harmless(w)));
                ("kept", format!("HISTORY{with} BEFORE {number} shows what came before"))
            }
            _ => ("there", String::new()),
        };
        if page.entries.is_empty() {
            return format!("nothing of yours is {found}");
        }
        let mut lines: Vec<String> =
            page.entries.iter().map(|entry| past::line(entry, self.clock)).collect();
        if page.more {
            lines.push(self.dim(&older));
        }
        lines.join("\n")
    }

    /// How far a transfer is.
    pub fn progress(&self, direction: Direction, who: &str, name: &str, how: &str) -> String {
        let arrow = if direction == Direction::Out { "→" } else { "←" };
        self.dim(&format!("{arrow} {}: {} {how}", harmless(who), harmless(name)))
    }
}

/// Whether a user is in the chat, or about to be: a node joins within its first seconds.
pub fn is_in(user: &UserView, status: &Status) -> bool {
    user.joined || status.uptime < 5
}

/// Whether two handles name the same person.
pub fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// A size as people say it.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} bytes"),
        1_000..1_000_000 => format!("{}.{} kB", n / 1_000, n / 100 % 10),
        _ => format!("{}.{} MB", n / 1_000_000, n / 100_000 % 10),
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "\"\"".into() } else { value.to_owned() }
}

/// At most [`MAX_ROWS`] lines; the last says how many more there are.
fn capped(mut lines: Vec<String>, what: &str) -> String {
    let more = lines.len().saturating_sub(MAX_ROWS);
    lines.truncate(MAX_ROWS);
    if more > 0 {
        lines.push(format!("... and {more} more {what}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const PLAIN: Paint = Paint {
        colour: false,
        clock: |_| Moment { year: 2026, month: 11, day: 21, hour: 12, minute: 34 },
    };

    #[test]
    fn sizes_in_words() {
        let said: Vec<String> = [999, 1_000, 999_999, 1_250_000].map(bytes).to_vec();
        assert_eq!(said, ["999 bytes", "1.0 kB", "999.9 kB", "1.2 MB"]);
    }

    #[test]
    fn one_row_past_the_limit_is_counted_not_shown() {
        let lines = |n: usize| capped((0..n).map(|i| i.to_string()).collect(), "people");
        assert_eq!(lines(MAX_ROWS).lines().count(), MAX_ROWS);
        assert!(lines(MAX_ROWS + 1).ends_with("\n... and 1 more people"));
    }

    #[test]
    fn colour_only_where_asked() {
        assert_eq!(PLAIN.wrong("no\x1b[2J"), "no\u{fffd}[2J");
        let coloured = Paint { colour: true, ..PLAIN };
        assert_eq!(coloured.wrong("no"), "\x1b[31mno\x1b[0m");
    }
}
