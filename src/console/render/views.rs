//! Answers to what is asked about: tables and lists.

use super::super::past::Moment;
use super::super::row::width;
use super::{Paint, capped, is_in, same, shown};
use crate::command::{ROWS, Row};
use crate::model::answer::{TransferView, UserView};
use crate::model::text::harmless;
use crate::model::{
    ChatState, Direction, Health, InterfaceView, PeerView, Presence, Report, RoomMember, RoomView,
    SettingView, Status, TransferState, Trust, VerifyView,
};

/// Columns a name may take in a table.
const MAX_CELL: usize = 40;
/// Columns kept for a setting's value: a longer one moves only its own help.
const MAX_VALUE: usize = 16;

impl Paint {
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

fn or(text: String, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text }
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

#[cfg(test)]
mod tests {
    use super::super::tests::PLAIN;
    use super::*;

    #[test]
    fn tables_align_wide_characters() {
        let rows = [["日本", "x"], ["a", "y"]].map(|r| r.map(String::from));
        assert_eq!(table(&rows), ["日本 x", "a    y"]);
    }

    #[test]
    fn help_fits_eighty_columns() {
        for line in PLAIN.help(None).lines() {
            assert!(line.len() < 80, "{line}");
        }
        assert!(ROWS.iter().all(|r| PLAIN.help(Some(r)).contains(r.example)));
    }
}
