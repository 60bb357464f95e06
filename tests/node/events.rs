//! Replay into the whole node: what people are told of each capture, held against
//! `data/slcp/<capture>.events`. `KLATSCH_BLESS=1` writes the files anew: review the difference.

use std::fmt::Write;

use crate::capture::{CAPTURES, IPS, data};
use klatsch::model::{Direction, Event, TransferState, What};

#[test]
fn people_are_told_what_happened() {
    let mut wrong = Vec::new();
    for capture in CAPTURES {
        let mut found = String::new();
        for (side, ip) in IPS.iter().enumerate() {
            let mut bench = capture.stand_in(side);
            bench.events();
            capture.replay(&mut bench, side, |_| false);
            writeln!(found, "# told to {} at {}", capture.who[side].0, ip).unwrap();
            found.extend(bench.events().into_iter().filter_map(line));
            assert_eq!(bench.store.under_way(), 0, "{}", capture.name);
        }
        let path = data(&format!("{}.events", capture.name));
        if std::env::var_os("KLATSCH_BLESS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\nfound\n{found}expected\n{expected}", capture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn line(event: Event) -> Option<String> {
    let mut out = String::new();
    match event.what {
        What::Message { from, to, text, autoreply, direction: Direction::In, .. } => {
            let mark = if autoreply { " (autoreply)" } else { "" };
            writeln!(out, "{from} to {to}: {text}{mark}").unwrap();
        }
        What::Image { from, to, size, format, direction: Direction::In, .. } => {
            writeln!(out, "{from} to {to}: a {format} of {size} bytes").unwrap();
        }
        What::PeerJoined { handle, address, port, .. } => {
            writeln!(out, "{handle} is here, at {address}:{port}").unwrap();
        }
        What::PeerLeft { handle, reason, .. } => {
            writeln!(out, "{handle} is gone: {reason}").unwrap();
        }
        What::Session { handle, stands, .. } => {
            writeln!(out, "session with {handle}: {stands}").unwrap()
        }
        What::PeerAway { handle, .. } => writeln!(out, "{handle} is away").unwrap(),
        What::PeerBack { handle, .. } => writeln!(out, "{handle} is back").unwrap(),
        What::PeerRenamed { handle, old, .. } => {
            writeln!(out, "{old} is {handle} now").unwrap();
        }
        What::Transfer { handle, reason: Some(reason), state: TransferState::Failed, .. } => {
            writeln!(out, "an image of {handle} failed: {reason}").unwrap();
        }
        What::Chat { number, handle, state, reason, .. } => {
            let reason = reason.unwrap_or_default();
            writeln!(out, "chat {number} with {handle}: {state:?} {reason}").unwrap();
        }
        What::Error { text } => writeln!(out, "error: {text}").unwrap(),
        _ => return None,
    }
    Some(out)
}
