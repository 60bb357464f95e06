//! What is kept of what is said, and what waits for whom: each way by hand.

mod asked;
mod disk;
mod waiting;

use crate::bench::{Bench, To, addr, image, settings};
use klatsch::command::Command;
use klatsch::config::Kept;
use klatsch::model::history::{
    Body, Change, Entry, Forget, Found, Known, Query, Reader, Recipient, Remembered,
};
use klatsch::model::limits::{MAX_OUTBOX, MAX_OUTBOX_PER_PEER, MAX_PAGE, MAX_UNKEPT};
use klatsch::model::{
    Answer, Delivery, Dialect, Direction, EntryId, Handle, IoError, PeerId, Receipt, Refusal,
    Trouble, Wall, What,
};
use klatsch::node::history::{MAX_STORES, MAX_UNKEPT_BYTES, MAY_BE_LOST};
use klatsch::node::io::Input;
use klatsch::node::outbox::{AFTER_OTHERS, MAX_RESENDABLE, NOT_HERE};
use klatsch::node::owed::OWED_MS;

const NORA: &str = "192.168.178.11:5000";
const BEN: &str = "192.168.178.12";

fn with_nora() -> Bench {
    let mut bench = Bench::new("Ben", BEN);
    bench.datagram(NORA, To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    // its form is known, so nothing is tried over TCP
    bench.ask(Command::SetForm { handle: "Nora".into(), form: Some("fabian".into()) }).unwrap();
    forget(&mut bench);
    bench
}

fn without_nora() -> Bench {
    let mut bench = with_nora();
    bench.datagram(NORA, To::Discovery, "LEAVE Nora\n");
    bench.advance(10_000);
    forget(&mut bench);
    bench
}

fn forget(bench: &mut Bench) {
    bench.events();
    bench.sent();
    bench.changes();
}

fn comes(bench: &mut Bench) {
    bench.datagram(NORA, To::Discovery, "JOIN Nora 5000\n");
}

fn say(bench: &mut Bench, text: &str) -> Receipt {
    match bench.say("Nora", text) {
        Ok(Answer::Sent(mut receipts)) => receipts.remove(0),
        other => panic!("{other:?}"),
    }
}

/// The texts that went to Nora since the last call.
fn went(bench: &mut Bench) -> Vec<String> {
    let texts = bench.datagrams().into_iter().filter(|(to, _)| *to == addr(NORA));
    let texts = texts.map(|(_, bytes)| String::from_utf8(bytes).unwrap());
    let said = |t: String| t.strip_prefix("MSG Ben ").map(|t| t.trim_end().to_owned());
    texts.filter_map(said).collect()
}

/// The states told since the last call, and why.
fn fates(bench: &mut Bench) -> Vec<(Delivery, Option<String>)> {
    let fate = |what| match what {
        What::Delivery { state, reason, .. } => Some((state, reason)),
        _ => None,
    };
    bench.events().into_iter().filter_map(|e| fate(e.what)).collect()
}

/// The entries and states written since the last call.
fn written(bench: &mut Bench) -> (Vec<Entry>, Vec<(Delivery, Option<String>)>) {
    let (mut entries, mut states) = (Vec::new(), Vec::new());
    for change in bench.changes() {
        match change {
            Change::Put(entry) => entries.push(*entry),
            Change::State { state, reason, .. } => states.push((state, reason)),
            _ => {}
        }
    }
    (entries, states)
}

fn why(reason: &str) -> Option<String> {
    Some(reason.to_owned())
}

fn refused(text: &str) -> Input {
    Input::Unreachable {
        socket: klatsch::model::SocketId(0),
        to: addr(NORA),
        bytes: format!("MSG Ben {text}\n").into_bytes(),
        error: IoError::new(Trouble::Refused, "nobody listens there"),
    }
}

fn queued(order: u64, handle: &str, peer: u64) -> Entry {
    Entry {
        id: EntryId { epoch: 7, n: order },
        order,
        user: Handle::try_from("Ben").ok(),
        conversation: handle.to_lowercase(),
        from: "Ben".into(),
        direction: Direction::Out,
        dialect: Dialect::Slcp,
        at: Wall(1_795_228_000_000),
        dated: true,
        mono: 0,
        body: Body::Text { text: format!("text {order}") },
        autoreply: false,
        recipients: vec![Recipient {
            peer: PeerId(peer),
            handle: handle.into(),
            state: Delivery::Queued,
            reason: Some(NOT_HERE.into()),
        }],
    }
}

#[test]
fn the_intent_is_durable_before_the_datagram_leaves() {
    let mut bench = with_nora();
    bench.slow = true;
    let ticket = bench.begin(Command::Send { to: vec!["Nora".into()], text: "hi".into() });
    let (entries, states) = written(&mut bench);
    let to = &entries[0].recipients[0];
    assert_eq!((to.handle.as_str(), to.state), ("Nora", Delivery::Sent));
    assert_eq!(to.reason, why(MAY_BE_LOST));
    assert_eq!((entries[0].conversation.as_str(), entries[0].direction), ("nora", Direction::Out));
    assert_eq!(entries[0].user, Handle::try_from("Ben").ok());
    assert_eq!(states, []);
    assert_eq!(bench.writes.back(), Some(&(bench.writes.back().unwrap().0, true)));
    bench.advance(5_000);
    assert_eq!((went(&mut bench).len(), fates(&mut bench).len()), (0, 0), "it waits for the disk");
    assert!(bench.answers.iter().all(|(t, _)| *t != ticket));
    bench.stored();
    bench.run();
    assert_eq!(went(&mut bench), ["hi"]);
    assert!(bench.answers.iter().any(|(t, _)| *t == ticket));
    assert_eq!(written(&mut bench).1, [(Delivery::Sent, None)], "now it is sure that it left");
}

#[test]
fn what_comes_in_is_kept_and_what_a_blocked_one_says_is_not() {
    let mut bench = with_nora();
    bench.datagram(NORA, To::Chat, "MSG Nora good morning\n");
    bench.store.there.insert("/a".into(), image(90));
    let (entries, _) = written(&mut bench);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry.body, Body::Text { text: "good morning".into() });
    assert_eq!((entry.conversation.as_str(), entry.from.as_str()), ("nora", "Nora"));
    assert_eq!(
        (entry.direction, entry.dated, &entry.recipients[..]),
        (Direction::In, false, &[][..])
    );
    bench.ask(Command::Block { handle: "Nora".into() }).unwrap();
    bench.datagram(NORA, To::Chat, "MSG Nora and again\n");
    assert_eq!(written(&mut bench).0, []);
}

#[test]
fn an_autoreply_is_an_entry_and_waits_for_nobody() {
    let mut bench = with_nora();
    bench.ask(Command::SetPresence { away: true, text: Some("out".into()) }).unwrap();
    bench.datagram(NORA, To::Chat, "MSG Nora there?\n");
    let (entries, _) = written(&mut bench);
    assert_eq!(entries.iter().map(|e| e.autoreply).collect::<Vec<_>>(), [false, true]);
    bench.input(refused("out"));
    comes(&mut bench);
    bench.advance(120_000);
    let again = went(&mut bench);
    assert!(again.len() <= 1, "{again:?}");
}

#[test]
fn an_image_does_not_wait() {
    let mut bench = without_nora();
    bench.store.there.insert("/a".into(), image(90));
    bench.send_file(&["Nora"], "/a");
    let fate = fates(&mut bench);
    assert_eq!(fate, [(Delivery::Failed, why("Nora is not here any more"))]);
    let (entries, _) = written(&mut bench);
    assert!(matches!(&entries[0].body, Body::File { path, size: 90, .. } if path == "/a"));
    assert_eq!(entries[0].recipients[0].state, Delivery::Failed);
}

#[test]
fn an_image_is_kept_with_what_became_of_it() {
    let mut bench = with_nora();
    bench.ask(Command::SetForm { handle: "Nora".into(), form: None }).unwrap();
    bench.store.there.insert("/a".into(), image(90));
    bench.slow = true;
    bench.send_file(&["Nora"], "/a");
    let (entries, _) = written(&mut bench);
    assert_eq!(entries[0].recipients[0].reason, why(MAY_BE_LOST));
    assert!(bench.flows.is_empty(), "nothing leaves before that is durable");
    bench.slow = false;
    bench.stored();
    bench.run();
    assert!(!bench.flows.is_empty());
    assert_eq!(written(&mut bench).1, [(Delivery::Sent, None)]);
    assert_eq!(bench.store.under_way(), 0);
}

#[test]
fn a_text_to_all_is_one_entry_and_waits_for_nobody() {
    let mut bench = without_nora();
    for n in 21..26 {
        bench.datagram(
            &format!("192.168.178.{n}:5000"),
            To::Discovery,
            format!("JOIN p{n} 5000\n"),
        );
    }
    bench.advance(1_000);
    bench.changes();
    bench.say("#lobby", "to you all").unwrap();
    let (entries, _) = written(&mut bench);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].conversation.as_str(), &entries[0].user), ("#lobby", &None));
    assert_eq!(entries[0].recipients.len(), 5, "Nora is not here");
}

#[test]
fn between_our_own_users_both_have_it() {
    let mut bench = Bench::new("Ben", BEN);
    bench.ask(Command::AddUser { handle: "guest".into(), back: None }).unwrap();
    bench.changes();
    bench.say("guest", "hello").unwrap();
    let (entries, states) = written(&mut bench);
    let whose = |e: &Entry| (e.user.as_ref().unwrap().to_string(), e.conversation.clone());
    let all: Vec<_> = entries.iter().map(whose).collect();
    assert_eq!(all, [("Ben".into(), "guest".into()), ("guest".into(), "ben".into())]);
    assert_eq!(entries[0].recipients[0].state, Delivery::Delivered);
    assert_eq!(states, [], "it was so from the first");
}
