//! What people read: aligned, and harmless whatever a peer called itself.

use unicode_width::UnicodeWidthStr;

use crate::console::past;
use crate::console::tty::local_time;
use crate::model::answer::UserView;
use crate::model::history::Entry;
use crate::model::text::harmless;
use crate::model::{
    Answer, ChatState, Direction, PeerView, Receipt, Report, SettingView, Stamped, Status,
    TransferState, Wall, What,
};

/// An answer in lines; empty where there is nothing to say.
pub(super) fn answer(answer: &Answer, now: Wall) -> String {
    match answer {
        Answer::Done => String::new(),
        Answer::Status(status) => self::status(status),
        Answer::Who(peers) if peers.is_empty() => "nobody else is here\n".into(),
        Answer::Who(peers) => self::peers(peers, now),
        Answer::Sent(receipts) => self::receipts(receipts),
        Answer::Config(settings) => self::settings(settings),
        Answer::Handle(handle) => format!("{handle}\n"),
        Answer::Shared(_) => String::new(),
        Answer::Doctor(report) => doctor(report),
        Answer::Network(interfaces) => table(interfaces.iter().map(|i| {
            let link = match (i.up, i.link) {
                (false, _) => "off",
                (true, Some(false)) => "no link",
                (true, _) => "on",
            };
            let wifi = i.wifi.clone().unwrap_or_default();
            vec![i.name.clone(), i.kind.clone(), link.into(), i.addresses.join(" "), wifi]
        })),
        Answer::Log(lines) => lines.iter().map(|line| harmless(line) + "\n").collect(),
        Answer::Page(page) => entries(&page.entries),
        Answer::Verify(view) => crate::console::render::verify(view) + "\n",
        Answer::Rooms(rooms) => crate::console::render::rooms(rooms) + "\n",
        Answer::Count(1) => "1 entry\n".into(),
        Answer::Count(n) => format!("{n} entries\n"),
    }
}

/// One line per entry.
fn entries(entries: &[Entry]) -> String {
    entries.iter().map(|entry| past::line(entry, local_time) + "\n").collect()
}

/// One line per finding, and one for what to do about it.
fn doctor(report: &Report) -> String {
    let mut text = String::new();
    for f in &report.findings {
        text += &format!("{:8} {:10} {}\n", f.health, harmless(&f.check), harmless(&f.text));
        if let Some(advice) = &f.advice {
            text += &format!("{:20}-> {}\n", "", harmless(advice));
        }
    }
    text
}

/// One line per recipient.
pub(super) fn receipts(receipts: &[Receipt]) -> String {
    table(receipts.iter().map(|r| {
        let reason = r.reason.clone().unwrap_or_default();
        vec![r.recipient.clone(), r.state.to_string(), reason]
    }))
}

/// One line per user of the node.
pub(super) fn users(users: &[UserView]) -> String {
    table(users.iter().map(|user| {
        let port = user.port.map_or("no port".into(), |port| format!("port {port}"));
        let state = match (user.joined, user.away) {
            (false, _) => "not in the chat",
            (true, true) => "away",
            (true, false) => "here",
        };
        let guest = if user.guest { "guest" } else { "" };
        vec![user.handle.to_string(), port, state.into(), guest.into()]
    }))
}

/// An event in one line; `None`: nothing a person wants to see.
pub(super) fn event(stamped: &Stamped) -> Option<String> {
    let at = stamped.event.at.to_string();
    let time = at.get(11..19).unwrap_or(&at);
    Some(format!("{time} {}", harmless(&happened(&stamped.event.what)?)))
}

fn happened(what: &What) -> Option<String> {
    let because = |reason: &Option<String>| {
        reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"))
    };
    Some(match what {
        What::Message { from, to, text, .. } => format!("{from} > {to}: {text}"),
        What::Image { from, to, path, size, .. } => {
            format!("{from} > {to}: file {path} ({size} bytes)")
        }
        What::Delivery { recipient, state, reason, .. } => {
            format!("to {recipient}: {state}{}", because(reason))
        }
        What::PeerJoined { handle, dialect, address, .. } => {
            format!("{handle} is here ({dialect}, {address})")
        }
        What::PeerLeft { handle, reason, .. } => format!("{handle} is gone: {reason}"),
        What::PeerAway { handle, .. } => format!("{handle} is away"),
        What::Session { handle, dialect, stands: true, .. } => {
            format!("a {dialect} session with {handle} stands")
        }
        What::Session { handle, dialect, .. } => format!("no {dialect} session with {handle}"),
        What::PeerBack { handle, .. } => format!("{handle} is back"),
        What::PeerRenamed { handle, old, .. } => format!("{old} is now {handle}"),
        What::Chat { number, handle, state, reason, .. } => match state {
            ChatState::Asking => format!("{handle} is asked for a private chat"),
            ChatState::Asked => format!("{handle} asks for a private chat: accept {number}?"),
            ChatState::Open => format!("private chat with {handle}"),
            ChatState::Over => {
                format!("no private chat with {handle}: {}", reason.as_deref().unwrap_or_default())
            }
        },
        What::Transfer { number, direction, handle, name, done, size, state, reason, .. } => {
            let way = match direction {
                Direction::In => "from",
                Direction::Out => "to",
            };
            let state = match state {
                TransferState::Running => match size {
                    Some(size) => format!("{done} of {size} bytes"),
                    None => format!("{done} bytes"),
                },
                TransferState::Offered if *direction == Direction::In => {
                    let size = size.unwrap_or_default();
                    format!("{size} bytes are offered: accept {}?", number.unwrap_or_default())
                }
                TransferState::Offered => "offered".into(),
                TransferState::Waiting => "waits for its turn".into(),
                TransferState::Paused => format!("paused{}", because(reason)),
                TransferState::Done => "done".into(),
                TransferState::Failed => format!("failed{}", because(reason)),
            };
            format!("{name} {way} {handle}: {state}")
        }
        What::Gap(gap) => match gap.missed {
            Some(missed) => format!("{missed} events were missed"),
            None => "the node was started anew: events may be missing".into(),
        },
        What::Config { key, value } => format!("{key} = {value}"),
        What::Error { text } => text.clone(),
    })
}

fn peers(peers: &[PeerView], now: Wall) -> String {
    let head = ["NAME", "STATE", "ADDRESS", "DIALECT", "HEARD", ""].map(String::from).to_vec();
    let rows = peers.iter().map(|peer| {
        let dialects: Vec<_> = peer.dialect.iter().map(|d| d.name()).collect();
        let heard = peer.last_heard.map_or("not yet".into(), |at| ago(at, now));
        vec![
            peer.name.clone(),
            peer.presence.to_string(),
            format!("{}:{}", peer.address, peer.port),
            dialects.join(","),
            heard,
            if peer.blocked { "blocked".into() } else { String::new() },
        ]
    });
    table(std::iter::once(head).chain(rows))
}

fn settings(settings: &[SettingView]) -> String {
    table(settings.iter().map(|s| {
        let when = if s.live { "" } else { "(at the next start)" };
        vec![s.key.clone(), s.value.clone(), format!("{} {when}", s.help).trim_end().into()]
    }))
}

fn status(status: &Status) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![row(
        "node",
        format!(
            "klatsch {}, {} `{}`, process {}, up {}",
            status.version,
            status.mode,
            status.instance,
            status.pid,
            humantime::format_duration(std::time::Duration::from_secs(status.uptime))
        ),
    )];
    rows.extend(users(&status.users).lines().map(|line| row("user", line.to_owned())));
    rows.extend(status.dialects.iter().map(|dialect| {
        let reason = dialect.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        let state = if dialect.on { "on" } else { "off" };
        row("dialect", format!("{} {state}, port {}{reason}", dialect.name, dialect.port))
    }));
    rows.extend(status.links.iter().map(|link| {
        row("network", format!("{} {}, broadcast {}", link.name, link.address, link.broadcast))
    }));
    if status.links.is_empty() {
        rows.push(row("network", "none".into()));
    }
    rows.extend(status.transfers.iter().map(|t| row("file", crate::console::render::transfer(t))));
    rows.push(row("peers", status.peers.to_string()));
    if !status.blocked.is_empty() {
        rows.push(row("blocked", status.blocked.join(", ")));
    }
    rows.push(row("socket", status.socket.clone()));
    rows.push(row("state", status.state.clone()));
    rows.push(row("images", status.imagepath.clone()));
    table(rows.into_iter())
}

/// How long ago, in the largest unit that fits.
fn ago(at: Wall, now: Wall) -> String {
    let seconds = now.0.saturating_sub(at.0) / 1000;
    match seconds {
        0 => "now".into(),
        1..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// Columns as wide as their widest cell on a terminal; the last one as it is.
fn table(rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> =
        rows.map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|n| rows.iter().filter_map(|row| row.get(n)).map(|c| c.width()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += cell;
            line.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples;

    #[test]
    fn columns_align_whatever_the_script_and_nothing_obeys() {
        let rows = [["日本", "x"], ["evil\u{1b}[2J", "y"], ["a", "z"]];
        let rows = rows.iter().map(|row| row.iter().map(|c| (*c).to_owned()).collect());
        assert_eq!(table(rows), "日本      x\nevil\u{fffd}[2J  y\na         z\n");
    }

    #[test]
    fn every_answer_can_be_read() {
        for (_, answer) in samples::answers() {
            let text = super::answer(&answer, Wall(1_795_228_540_000));
            assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
            match answer {
                Answer::Done => assert_eq!(text, ""),
                Answer::Who(_) => assert!(text.contains("3 s ago"), "{text}"),
                _ => assert!(text.ends_with('\n'), "{text}"),
            }
        }
        assert_eq!(super::answer(&Answer::Who(vec![]), Wall(0)), "nobody else is here\n");
    }

    #[test]
    fn ages_are_rounded_down() {
        let at = |seconds: u64| ago(Wall(0), Wall(seconds * 1000));
        let ages = [at(0), at(59), at(60), at(3600), at(200_000)];
        assert_eq!(ages, ["now", "59 s ago", "1 min ago", "1 h ago", "2 d ago"]);
    }
}
