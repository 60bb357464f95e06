//! Words for people: every line the console prints, from the model's values. Whatever a peer
//! could have chosen goes through [`harmless`]; colour is the only escape sequence made here.

use super::past::{self, Moment};
use super::row::width;
use crate::command::{Command, ROWS, Row, is_secret};
use crate::model::answer::{Page, TransferView, UserView};
use crate::model::event::BY_LINK_TOO;
use crate::model::text::harmless;
use crate::model::{
    ChatState, Delivery, Dialect, Direction, Health, InterfaceView, PeerView, Presence, Receipt,
    Report, RoomMember, RoomView, SettingView, Status, TransferState, Trust, VerifyView, Wall,
    What,
};

/// Rows of one table or list that are printed; the rest is counted.
pub const MAX_ROWS: usize = 200;
/// Columns a name may take in a table.
const MAX_CELL: usize = 40;
/// Columns kept for a setting's value: a longer one moves only its own help.
const MAX_VALUE: usize = 16;

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

    /// The answer to WHO.
    pub fn who(&self, peers: &[PeerView]) -> String {
        if peers.is_empty() {
            return "nobody else is here yet; whoever comes is shown at once".into();
        }
        let mut rows = vec![["who", "is", "address", "speaks", "heard", ""].map(String::from)];
        rows.extend(peers.iter().map(|p| {
            let dialects: Vec<String> = p.dialect.iter().map(ToString::to_string).collect();
            let form = p.routes.first().and_then(|r| r.form.as_deref());
            let heard = p.last_heard.map_or("not yet".into(), |at| {
                let Moment { hour, minute, .. } = (self.clock)(at);
                format!("{hour:02}:{minute:02}")
            });
            let trust = match p.trust {
                Trust::Plain => None,
                Trust::Local => Some("this node"),
                Trust::Unverified => Some("encrypted"),
                Trust::Verified => Some("encrypted, verified"),
            };
            let notes = [p.blocked.then_some("blocked"), trust];
            [
                harmless(&p.name),
                p.presence.to_string(),
                format!("{}:{}", harmless(&p.address), p.port),
                form.map_or(dialects.join(" "), |f| {
                    format!("{} ({})", dialects.join(" "), harmless(f))
                }),
                if p.presence == Presence::Gone { format!("last {heard}") } else { heard },
                notes.into_iter().flatten().collect::<Vec<_>>().join(", "),
            ]
        }));
        capped(table(&rows), "people")
    }

    /// The answer to CONFIG.
    pub fn settings(&self, settings: &[SettingView]) -> String {
        let row = |s: &SettingView| {
            let key = format!("{}{}", harmless(&s.key), if s.live { "" } else { "*" });
            [key, shown(&harmless(&s.value)), harmless(&s.help)]
        };
        let mut rows = lay(&settings.iter().map(row).collect::<Vec<_>>(), MAX_VALUE);
        if settings.iter().any(|s| !s.live) {
            rows.push("* is set in the file and holds from the next start".into());
        }
        capped(rows, "settings")
    }

    /// The answer to USER.
    pub fn users(&self, users: &[UserView], me: &str) -> String {
        let rows: Vec<[String; 5]> = users
            .iter()
            .map(|u| {
                [
                    if same(u.handle.as_str(), me) { "*" } else { " " }.into(),
                    u.handle.to_string(),
                    u.port.map_or("no port".into(), |p| format!("port {p}")),
                    match (u.joined, u.away) {
                        (false, _) => "not in the chat",
                        (true, true) => "away",
                        (true, false) => "in the chat",
                    }
                    .into(),
                    if u.guest { "guest" } else { "" }.into(),
                ]
            })
            .collect();
        table(&rows).join("\n")
    }

    /// The answer to STATUS.
    pub fn status(&self, s: &Status, me: &str) -> String {
        let links = s
            .links
            .iter()
            .map(|l| format!("{} ({}, broadcast {})", l.address, l.name, l.broadcast));
        let dialects = s.dialects.iter().map(|d| match (&d.reason, d.on) {
            (Some(reason), _) => format!("{} on {}: {reason}", d.name, d.port),
            (None, true) => format!("{} on {}", d.name, d.port),
            (None, false) => format!("{} off", d.name),
        });
        let chats = s.chats.iter().map(|c| match c.state {
            ChatState::Asked => format!("{} asks {} (ACCEPT {})", c.handle, c.user, c.number),
            ChatState::Asking => format!("{} asks {}", c.user, c.handle),
            ChatState::Open | ChatState::Over => format!("{} with {}", c.user, c.handle),
        });
        let files = s.transfers.iter().map(transfer);
        let (d, h, m) = (s.uptime / 86_400, s.uptime / 3_600 % 24, s.uptime / 60 % 60);
        let row = |name: &str, value: String| [name.to_owned(), harmless(&value)];
        let rows = [
            row(
                "klatsch",
                format!("{}, instance {}, {}, pid {}", s.version, s.instance, s.mode, s.pid),
            ),
            row(
                "up for",
                format!("{}{h:02}:{m:02}", if d > 0 { format!("{d} d ") } else { String::new() }),
            ),
            row("people here", s.peers.to_string()),
            row("network", or(links.collect::<Vec<_>>().join("; "), "none: waiting for one")),
            row("speaks", or(dialects.collect::<Vec<_>>().join("; "), "nothing: see CONFIG")),
            row("files", or(files.collect::<Vec<_>>().join("; "), "none on their way")),
            row("chats", or(chats.collect::<Vec<_>>().join("; "), "no private chats")),
            row("socket", or(s.socket.clone(), "none")),
            row("state", or(s.state.clone(), "nothing is kept")),
            row("images", s.imagepath.clone()),
        ];
        format!("{}\nusers\n{}", wide_table(&rows).join("\n"), self.users(&s.users, me))
    }

    /// The answer to DOCTOR.
    pub fn doctor(&self, report: &Report) -> String {
        let mut lines = Vec::new();
        for f in &report.findings {
            let line = format!("{:8} {:10} {}", f.health, harmless(&f.check), harmless(&f.text));
            lines.push(match f.health {
                Health::Ok => line,
                Health::Unknown => self.dim(&line),
                Health::Warning | Health::Wrong => self.sgr("31", &line),
            });
            lines.extend(f.advice.iter().map(|a| format!("{:9}-> {}", "", harmless(a))));
        }
        lines.push(match report.healthy {
            true => "nothing is wrong that can be seen from here".into(),
            false => "the lines marked warning and wrong say what to do".into(),
        });
        capped(lines, "lines")
    }

    /// The answer to NETWORK.
    pub fn network(&self, interfaces: &[InterfaceView]) -> String {
        let rows: Vec<[String; 5]> = interfaces
            .iter()
            .map(|i| {
                let state = match (i.up, i.link) {
                    (false, _) => "off",
                    (true, Some(false)) => "no link",
                    (true, Some(true)) => "link",
                    (true, None) => "on",
                };
                let speed = i.speed.map(|mbit| format!("{mbit} Mbit/s"));
                let chats = (!i.used).then(|| "no chat on it".to_owned());
                let more: Vec<String> =
                    [i.wifi.clone(), speed, chats].into_iter().flatten().collect();
                [
                    harmless(&i.name),
                    harmless(&i.kind),
                    state.into(),
                    harmless(&or(i.addresses.join(" "), "no address")),
                    harmless(&more.join(", ")),
                ]
            })
            .collect();
        or(wide_table(&rows).join("\n"), "this machine has no network interface")
    }

    /// The answer to LOG.
    pub fn log(&self, lines: &[String]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| harmless(line)).collect();
        or(lines.join("\n"), "nothing was logged yet")
    }

    /// Three lines: who, where, what to type.
    pub fn greeting(&self, s: &Status, user: Option<&UserView>) -> String {
        let instance = match s.instance.as_str() {
            "default" | "" => String::new(),
            other => format!(" ({})", harmless(other)),
        };
        let version = harmless(&s.version);
        let who = match user {
            Some(u) => {
                let first = s.users.first().is_some_and(|f| f.handle == u.handle);
                let rank = if first { "this node's first user" } else { "a user of this node" };
                let state = match (is_in(u, s), u.away) {
                    (false, _) => ", not in the chat: JOIN enters",
                    (true, true) => ", away",
                    _ => "",
                };
                format!("you are {} ({rank}){state}", self.name(u.handle.as_str()))
            }
            None => "there is no such user here: USER lists them".into(),
        };
        // the LAN's address says more than loopback's; one row has room for two
        let mut links: Vec<_> = s.links.iter().collect();
        links.sort_by_key(|l| l.address.starts_with("127."));
        let more = links.len().saturating_sub(2);
        let links = links.iter().take(2).map(|l| format!("{} ({})", l.address, l.name));
        let mut at = or(links.collect::<Vec<_>>().join(", "), "no network yet");
        if more > 0 {
            at += &format!(" and {more} more");
        }
        let port = match user.and_then(|u| u.port) {
            Some(port) => format!(" port {port}"),
            None => ", no port could be had: STATUS".into(),
        };
        let discovery: String = s
            .dialects
            .iter()
            .filter(|d| d.on)
            .map(|d| format!(", {} discovery on {}", d.name.name().to_uppercase(), d.port))
            .collect();
        let listens = harmless(&format!("listening on {at}{port}{discovery}"));
        let type_this = "type WHO to see who is here, MSG handle text to write, HELP for more";
        format!("klatsch {version}{instance}: {who}\n{listens}\n{type_this}")
    }

    /// HELP, of all commands or one.
    pub fn help(&self, row: Option<&'static Row>) -> String {
        match row {
            None => {
                let rows: Vec<_> =
                    ROWS.iter().map(|r| [r.usage.to_owned(), r.summary.to_owned()]).collect();
                let more = "HELP command tells more; Tab completes commands, handles and files";
                format!("{}\n{more}", table(&rows).join("\n"))
            }
            Some(r) => {
                let also = match r.aliases {
                    [] => String::new(),
                    also => format!(" (also {})", also.join(", ")),
                };
                format!("{}{also}: {}\n{}\nfor example: {}", r.usage, r.summary, r.help, r.example)
            }
        }
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

fn or(text: String, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text }
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

/// Cells under each other; none wider than [`MAX_CELL`] but the last of a row.
fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    lay(rows, MAX_CELL)
}

fn wide_table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    lay(rows, usize::MAX)
}

fn lay<const N: usize>(rows: &[[String; N]], most: usize) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = width(cell).min(most).max(*w);
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (i, (cell, w)) in row.iter().zip(widths).enumerate() {
            if i > 0 && w > 0 {
                line += if N == 2 { " " } else { "  " };
            }
            line += cell;
            line.extend(std::iter::repeat_n(' ', w.saturating_sub(width(cell))));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The answer to ROOM LIST and ROOM WHO.
pub fn rooms(rooms: &[RoomView]) -> String {
    if rooms.is_empty() {
        return "there is no room yet: ROOM JOIN name makes one".into();
    }
    let line = |room: &RoomView| {
        let member = |m: &RoomMember| {
            let away = if m.here { "" } else { " (not here)" };
            format!("{}{away}", harmless(&m.name))
        };
        let members: Vec<String> = room.members.iter().map(member).collect();
        let you = if room.joined { " (you are in)" } else { "" };
        format!("{}{you}: {}", harmless(&room.room), members.join(", "))
    };
    capped(rooms.iter().map(line).collect(), "rooms")
}

/// The answer to VERIFY and TRUST.
pub fn verify(view: &VerifyView) -> String {
    let who = harmless(&view.handle);
    let known = if view.verified { "compared" } else { "not compared yet" };
    let mut text = format!(
        "{who}'s key: {} ({known})\ncode: {}\nIf {who} sees the same code for you, nobody \
         is between you: TRUST {who} remembers that you compared it.",
        harmless(&view.fingerprint),
        harmless(&view.code)
    );
    if let (Some(claim), Some(code)) = (&view.claim, &view.claim_code) {
        text += &format!(
            "\nAnother key claims to be {who} and is refused: {}\nits code: {}\nTRUST {who} \
             accepts that one instead; what waits for {who} then goes there.",
            harmless(claim),
            harmless(code)
        );
    }
    text
}

/// A file on its way, in one line.
pub fn transfer(t: &TransferView) -> String {
    let way = if t.direction == Direction::In { "from" } else { "to" };
    let state = match (t.state, t.direction) {
        (TransferState::Offered, Direction::In) => "offered: ACCEPT or REFUSE",
        (TransferState::Offered, Direction::Out) => "offered",
        (TransferState::Waiting, _) => "waits",
        (TransferState::Paused, _) => "paused",
        (TransferState::Running, _) => "under way",
        (TransferState::Done, _) => "done",
        (TransferState::Failed, _) => "failed",
    };
    let many = if t.files > 1 { format!(" ({} files)", t.files) } else { String::new() };
    let why = t.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let (number, name, handle) = (t.number, &t.name, &t.handle);
    format!("{number} {name}{many} {way} {handle}, {} of {} bytes, {state}{why}", t.done, t.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint {
        colour: false,
        clock: |_| Moment { year: 2026, month: 11, day: 21, hour: 12, minute: 34 },
    };

    #[test]
    fn sizes_in_words() {
        let said: Vec<String> = [999, 1_000, 999_999, 1_250_000].map(bytes).to_vec();
        assert_eq!(said, ["999 bytes", "1.0 kB", "999.9 kB", "1.2 MB"]);
    }

    #[test]
    fn tables_align_wide_characters() {
        let rows = [["日本", "x"], ["a", "y"]].map(|r| r.map(String::from));
        assert_eq!(table(&rows), ["日本 x", "a    y"]);
    }

    #[test]
    fn one_row_past_the_limit_is_counted_not_shown() {
        let lines = |n: usize| capped((0..n).map(|i| i.to_string()).collect(), "people");
        assert_eq!(lines(MAX_ROWS).lines().count(), MAX_ROWS);
        assert!(lines(MAX_ROWS + 1).ends_with("\n... and 1 more people"));
    }

    #[test]
    fn help_fits_eighty_columns() {
        for line in PLAIN.help(None).lines() {
            assert!(line.len() < 80, "{line}");
        }
        assert!(ROWS.iter().all(|r| PLAIN.help(Some(r)).contains(r.example)));
    }

    #[test]
    fn colour_only_where_asked() {
        assert_eq!(PLAIN.wrong("no\x1b[2J"), "no\u{fffd}[2J");
        let coloured = Paint { colour: true, ..PLAIN };
        assert_eq!(coloured.wrong("no"), "\x1b[31mno\x1b[0m");
    }
}
