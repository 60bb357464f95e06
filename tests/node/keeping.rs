//! What is kept of what is said, and what waits for whom: each way by hand.

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
fn for_whoever_is_not_here_it_waits_and_leaves_in_order_when_he_is_heard() {
    let mut bench = without_nora();
    for text in ["one", "two", "three"] {
        let receipt = say(&mut bench, text);
        assert_eq!((receipt.state, receipt.reason), (Delivery::Queued, why(NOT_HERE)));
    }
    let (entries, _) = written(&mut bench);
    assert!(entries.iter().all(|e| e.recipients[0].state == Delivery::Queued));
    assert_eq!(went(&mut bench), [""; 0]);
    fates(&mut bench);
    comes(&mut bench);
    assert_eq!(went(&mut bench), ["one", "two", "three"]);
    assert_eq!(fates(&mut bench), vec![(Delivery::Sent, None); 3]);
    // that each leaves was durable first
    let (_, states) = written(&mut bench);
    let leaves = (Delivery::Sent, why(MAY_BE_LOST));
    assert_eq!(states.iter().filter(|s| **s == leaves).count(), 3);
    bench.advance(600_000);
    assert_eq!(went(&mut bench), [""; 0], "each left once");
}

#[test]
fn another_ones_list_is_no_sign_of_life() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    bench.advance(130_000);
    bench.datagram("192.168.178.13:5000", To::Discovery, "JOIN Eva 5000\n");
    let list = "KNOWNUSERS Nora 192.168.178.11 5000, Eva 192.168.178.13 5000\n";
    bench.datagram("192.168.178.13:5000", To::Chat, list);
    assert_eq!(went(&mut bench), [""; 0]);
    comes(&mut bench);
    assert_eq!(went(&mut bench), ["one"]);
}

#[test]
fn what_is_said_while_others_wait_comes_after_them() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    bench.slow = true;
    comes(&mut bench); // "one" leaves once that is durable
    let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "two".into() });
    assert_eq!(went(&mut bench), [""; 0]);
    let (entries, _) = written(&mut bench);
    assert_eq!(entries[1].recipients[0].reason, why(AFTER_OTHERS));
    bench.slow = false;
    bench.stored();
    bench.run();
    assert_eq!(went(&mut bench), ["one", "two"]);
}

#[test]
fn what_certainly_did_not_arrive_waits_and_what_may_have_fails() {
    let mut bench = with_nora();
    say(&mut bench, "one");
    let long = "long ".repeat(200);
    let parts = say(&mut bench, &long);
    assert_eq!(parts.state, Delivery::Sent);
    forget(&mut bench);
    bench.input(refused("one"));
    assert_eq!(fates(&mut bench), [(Delivery::Queued, why("nobody listens there"))]);
    let mut part = refused("long long long");
    if let Input::Unreachable { bytes, .. } = &mut part {
        bytes.pop(); // as far as it is quoted
    }
    bench.input(part);
    let fate = fates(&mut bench);
    assert_eq!(
        fate,
        [(Delivery::Failed, why("nobody listens there"))],
        "other parts may have come"
    );
    let (_, states) = written(&mut bench);
    assert_eq!(states.len(), 2, "both are kept: {states:?}");
    // its host refused it: it goes when he is heard again, and not at once in a circle
    bench.advance(60_000);
    assert_eq!(went(&mut bench), [""; 0]);
    comes(&mut bench);
    bench.advance(1_000);
    assert_eq!(went(&mut bench), ["one"]);
}

#[test]
fn whoever_is_heard_but_refuses_is_tried_ever_more_seldom() {
    let mut bench = with_nora();
    say(&mut bench, "one");
    forget(&mut bench);
    let mut tries = 0;
    for _ in 0..600 {
        bench.input(refused("one"));
        bench.advance(1_000);
        comes(&mut bench);
        tries += went(&mut bench).len();
    }
    assert!((5..=10).contains(&tries), "{tries} tries in ten minutes");
}

#[test]
fn one_past_max_resendable_fails_as_it_did_not_wait() {
    let mut bench = with_nora();
    say(&mut bench, "first");
    for n in 0..MAX_RESENDABLE {
        bench.advance(1); // else the machine forgets it before us
        say(&mut bench, &format!("text {n}"));
    }
    forget(&mut bench);
    bench.input(refused("first"));
    // the machine remembers as many: it is about none that is known
    assert_eq!(fates(&mut bench), []);
    bench.input(refused("text 0"));
    assert_eq!(fates(&mut bench), [(Delivery::Queued, why("nobody listens there"))]);
}

#[test]
fn two_of_one_handle_are_told_apart_by_the_known_address_or_it_waits_and_says_why() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    forget(&mut bench);
    let other = ["192.168.178.21:5000", "192.168.178.22:5000"];
    bench.slow = true; // so that the first is not taken for her alone
    for from in other {
        bench.datagram(from, To::Discovery, "JOIN Nora 5000\n");
    }
    bench.slow = false;
    bench.stored();
    bench.run();
    let told = fates(&mut bench);
    let reason = told.last().unwrap().1.clone().unwrap();
    assert!(reason.starts_with("2 people are called Nora"), "{told:?}");
    let texts = |bench: &mut Bench| {
        let all = bench.datagrams().into_iter();
        let all = all.filter(|(_, bytes)| bytes.starts_with(b"MSG "));
        all.map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(texts(&mut bench), []);
    comes(&mut bench);
    assert_eq!(texts(&mut bench), [addr(NORA)]);
}

/// Somebody was named by her address while another bore her handle: it is for her alone.
#[test]
fn what_was_written_to_one_host_goes_to_no_namesake() {
    let mut bench = without_nora();
    bench.datagram("192.168.178.21:5000", To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    let Ok(Answer::Sent(receipts)) = bench.say("Nora@192.168.178.11", "for you") else { panic!() };
    assert_eq!(receipts[0].state, Delivery::Queued);
    let (entries, _) = written(&mut bench);
    assert_eq!(entries[0].recipients[0].handle, "Nora@192.168.178.11");
    assert_eq!(entries[0].conversation, "nora");
    bench.datagram("192.168.178.21:5000", To::Discovery, "JOIN Nora 5000\n");
    bench.advance(60_000);
    let texts = |bench: &mut Bench| {
        let all = bench.datagrams().into_iter();
        all.filter(|(_, b)| b.starts_with(b"MSG ")).map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(texts(&mut bench), []);
    comes(&mut bench);
    assert_eq!(texts(&mut bench), [addr(NORA)]);
}

#[test]
fn nothing_waits_for_a_blocked_one_and_unblocking_lets_it_go() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    bench.ask(Command::Block { handle: "Nora".into() }).unwrap();
    let receipt = say(&mut bench, "two");
    assert_eq!(receipt.state, Delivery::Failed, "{receipt:?}");
    comes(&mut bench);
    assert_eq!(went(&mut bench), [""; 0]);
    bench.ask(Command::Unblock { handle: "Nora".into() }).unwrap();
    assert_eq!(went(&mut bench), ["one"]);
}

#[test]
fn one_past_max_outbox_per_peer_is_refused_and_nothing_of_it_sent() {
    let mut bench = without_nora();
    for n in 0..MAX_OUTBOX_PER_PEER {
        assert_eq!(say(&mut bench, &n.to_string()).state, Delivery::Queued);
    }
    bench.changes();
    let full = bench.say("Nora", "one more");
    let Err(Refusal::TooMany { what, limit }) = full else { panic!("{full:?}") };
    assert_eq!(what, "messages that wait for Nora, who is not here");
    assert_eq!(limit, MAX_OUTBOX_PER_PEER as u64);
    assert_eq!(bench.changes(), []);
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

fn known(handle: &str, peer: u64) -> Known {
    Known {
        handle: Handle::try_from(handle).unwrap(),
        peer: PeerId(peer),
        dialect: Dialect::Slcp,
        address: NORA.into(),
    }
}

#[test]
fn one_past_max_outbox_is_refused_for_anybody() {
    let outbox = (0..MAX_OUTBOX as u64).map(|n| queued(n + 1, &format!("p{}", n / 100), n / 100));
    let remembered = Remembered {
        last_order: MAX_OUTBOX as u64,
        outbox: outbox.collect(),
        known: vec![known("Nora", 99)],
        link: Vec::new(),
    };
    let kept = Kept::default();
    let mut bench = Bench::remembering(settings("Ben", None), kept, BEN, remembered);
    bench.advance(5_000);
    let full = bench.say("Nora", "one more");
    assert!(matches!(full, Err(Refusal::TooMany { limit, .. }) if limit == MAX_OUTBOX as u64));
}

#[test]
fn after_a_restart_what_waits_leaves_and_people_known_can_be_written_to() {
    let remembered = Remembered {
        last_order: 40,
        outbox: vec![queued(39, "Nora", 5), queued(40, "Nora", 5)],
        known: vec![known("Nora", 5), known("Eva", 6)],
        link: Vec::new(),
    };
    let kept = Kept::default();
    let mut bench = Bench::remembering(settings("Ben", None), kept, BEN, remembered);
    bench.advance(5_000);
    forget(&mut bench);
    let Ok(Answer::Who(gone)) = bench.ask(Command::Who { gone: true }) else { panic!() };
    assert_eq!(gone.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["Eva", "Nora"]);
    let receipt = say(&mut bench, "text 41");
    assert_eq!((receipt.state, receipt.peer), (Delivery::Queued, PeerId(5)));
    let (entries, _) = written(&mut bench);
    assert_eq!(entries[0].order, 41, "the order goes on");
    comes(&mut bench);
    bench.ask(Command::SetForm { handle: "Nora".into(), form: Some("fabian".into()) }).unwrap();
    let texts = bench.datagrams().into_iter().filter(|(to, _)| *to == addr(NORA));
    let all = texts.map(|(_, b)| String::from_utf8_lossy(&b).into_owned());
    let all: Vec<String> = all.filter(|t| t.contains("text ")).collect();
    assert_eq!(all.len(), 3);
    assert!(all.iter().zip(39..).all(|(t, n)| t.contains(&format!("text {n}"))), "{all:?}");
    assert!(bench.say("Zoe", "hello").is_err(), "never heard of");
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

#[test]
fn where_it_cannot_be_kept_it_is_sent_all_the_same_and_said_once() {
    let mut bench = with_nora();
    bench.unkept = Some(IoError::new(Trouble::Full, "the disk is full"));
    for _ in 0..3 {
        let receipt = say(&mut bench, "hi");
        let reason = why("it is not kept: the disk is full");
        assert_eq!((receipt.state, receipt.reason), (Delivery::Sent, reason));
    }
    assert_eq!(went(&mut bench), ["hi"; 3]);
    let errors = |bench: &mut Bench| {
        let events = bench.events().into_iter();
        events.filter(|e| matches!(e.what, What::Error { .. })).count()
    };
    assert_eq!(errors(&mut bench), 1);
    bench.datagram(NORA, To::Discovery, "LEAVE Nora\n");
    let receipt = say(&mut bench, "later");
    assert_eq!(receipt.reason, why("not here; it is not kept: the disk is full"));
    comes(&mut bench);
    assert_eq!(went(&mut bench), ["later"], "what is in memory alone may leave unnoted");
    bench.unkept = None;
    say(&mut bench, "hi");
    assert_eq!(errors(&mut bench), 1, "that it is kept again");
}

#[test]
fn a_state_that_met_a_full_disk_is_written_once_there_is_room_and_never_an_older_one() {
    let mut bench = with_nora();
    bench.slow = true;
    let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "x".into() });
    bench.stored(); // the entry is durable
    bench.run();
    let states = |bench: &mut Bench| -> Vec<Delivery> {
        let states = bench.changes().into_iter().filter_map(|change| match change {
            Change::State { state, .. } => Some(state),
            _ => None,
        });
        states.collect()
    };
    assert_eq!((went(&mut bench), bench.writes.len()), (vec!["x".into()], 1));
    assert_eq!(states(&mut bench).last(), Some(&Delivery::Sent));
    // what became of it meets a full disk
    bench.unkept = Some(IoError::new(Trouble::Full, "the disk is full"));
    bench.slow = false;
    bench.stored();
    // tried again every few seconds, not all the time
    bench.advance(3 * OWED_MS);
    let tries = states(&mut bench).len();
    assert!((2..=4).contains(&tries), "{tries} tries");
    bench.unkept = None;
    bench.advance(OWED_MS);
    assert_eq!(states(&mut bench), [Delivery::Sent]);
    bench.advance(4 * OWED_MS);
    assert_eq!(states(&mut bench), [], "it is written, and owed no more");
}

#[test]
fn one_past_max_unkept_is_sent_and_not_kept() {
    let mut bench = with_nora();
    bench.slow = true;
    for _ in 0..=MAX_UNKEPT {
        let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "x".into() });
    }
    assert_eq!(bench.writes.iter().filter(|(_, wanted)| *wanted).count(), MAX_UNKEPT);
    bench.slow = false;
    bench.stored();
    bench.run();
    assert_eq!(went(&mut bench).len(), MAX_UNKEPT + 1, "all leave, in their order");
    let unkept = bench.answers.iter().filter(|(_, a)| match a {
        Ok(Answer::Sent(receipts)) => receipts[0].reason.is_some(),
        other => panic!("{other:?}"),
    });
    assert_eq!(unkept.count(), 1);
}

#[test]
fn one_past_max_stores_what_nobody_waits_for_is_gathered_up_to_a_bound() {
    let mut bench = with_nora();
    bench.slow = true;
    let text = "x".repeat(1_000);
    for n in 0..=MAX_STORES {
        bench.datagram(NORA, To::Chat, format!("MSG Nora {n} {text}\n"));
    }
    assert_eq!(bench.writes.len(), MAX_STORES);
    let most = MAX_UNKEPT_BYTES / text.len();
    for _ in 0..most {
        bench.datagram(NORA, To::Chat, format!("MSG Nora {text}\n"));
    }
    assert_eq!(bench.writes.len(), MAX_STORES);
    let events = bench.events().into_iter();
    let said =
        events.filter(|e| matches!(&e.what, What::Error { text } if text.contains("not kept")));
    assert_eq!(said.count(), 1);
    bench.stored();
    bench.run();
    assert_eq!(bench.writes.len(), 1, "the rest goes as one");
}

#[test]
fn at_the_end_what_waits_for_the_disk_leaves() {
    let mut bench = with_nora();
    bench.slow = true;
    let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "hi".into() });
    bench.input(Input::Goodbye);
    assert_eq!(went(&mut bench), ["hi"]);
}

#[test]
fn everyone_reads_what_is_his_and_only_the_box_exports() {
    let mut bench = with_nora();
    bench.say("Nora", "hi").unwrap();
    bench.ask(Command::AddUser { handle: "guest".into(), back: None }).unwrap();
    let read = |with: Option<&str>| Command::History {
        with: with.map(Into::into),
        before: None,
        limit: None,
    };
    let _ = bench.begin(read(Some("NORA@192.168.178.11")));
    let _ = bench.begin_as(Some("guest"), read(None));
    let queries: Vec<Query> = bench.queries.drain(..).map(|(_, q)| q).collect();
    let reader = |name: &str, since| Reader { user: Handle::try_from(name).unwrap(), since };
    let last = |reader, conversation: Option<&str>| Query::Last {
        reader,
        conversation: conversation.map(Into::into),
        before: None,
        limit: klatsch::node::recall::PAGE,
    };
    assert_eq!(queries, [last(reader("Ben", 0), Some("nora")), last(reader("guest", 1), None)]);
    for command in [
        Command::Export { after: 0, limit: None },
        Command::Import { entries: Vec::new() },
        Command::Delete { entry: None, with: None, all: true },
        Command::Delete { entry: Some(1), with: None, all: false },
    ] {
        let ticket = bench.begin_as(Some("guest"), command);
        let answer = bench.answers.iter().find(|(t, _)| *t == ticket);
        assert!(matches!(answer, Some((_, Err(Refusal::Denied { .. })))), "{answer:?}");
    }
    assert_eq!(bench.queries, []);
}

#[test]
fn a_page_is_answered_and_an_error_is_a_refusal() {
    let mut bench = with_nora();
    let search = Command::Search { words: "hi".into(), before: None, limit: Some(1) };
    let asked = bench.begin(search.clone());
    let (ticket, _) = bench.queries.pop().unwrap();
    let entries = vec![queued(1, "Nora", 5)];
    bench.input(Input::Found(ticket, Ok(Found::Entries { entries: entries.clone(), more: true })));
    let page = klatsch::model::answer::Page { entries, more: true };
    assert_eq!(bench.answers.pop(), Some((asked, Ok(Answer::Page(page)))));
    let asked = bench.begin(search);
    let (ticket, _) = bench.queries.pop().unwrap();
    bench.input(Input::Found(ticket, Err(IoError::new(Trouble::Other, "it is damaged"))));
    let refusal = Refusal::Failed { reason: "what is kept: it is damaged".into() };
    assert_eq!(bench.answers.pop(), Some((asked, Err(refusal))));
}

#[test]
fn one_entry_past_max_page_is_not_imported() {
    let mut bench = with_nora();
    let import = |n: u32| Command::Import {
        entries: (1..=u64::from(n)).map(|n| queued(n, "Nora", 5)).collect(),
    };
    assert!(matches!(bench.ask(import(MAX_PAGE + 1)), Err(Refusal::TooMany { .. })));
    bench.say("Nora", "hi").unwrap();
    let _ = bench.begin(import(MAX_PAGE));
    let Some((_, Query::Import(entries))) = bench.queries.pop() else { panic!() };
    let orders: Vec<u64> = entries.iter().map(|e| e.order).collect();
    assert_eq!(orders, (2..2 + u64::from(MAX_PAGE)).collect::<Vec<_>>(), "after what is there");
}

#[test]
fn an_import_names_no_file_outside_the_image_folder() {
    let mut bench = with_nora();
    let folder = klatsch::config::Settings::default().imagepath.display().to_string();
    let paths = ["/etc/shadow", &format!("{folder}/../link.key"), &format!("{folder}/a.png"), ""];
    let entry = |path: &&str| {
        let (size, format) = (1, "png".to_owned());
        let (width, height, gone) = (None, None, false);
        let body = Body::File { path: (*path).into(), size, format, width, height, gone };
        klatsch::model::history::Entry { body, ..queued(1, "Nora", 5) }
    };
    let _ = bench.begin(Command::Import { entries: paths.iter().map(entry).collect() });
    let Some((_, Query::Import(entries))) = bench.queries.pop() else { panic!() };
    let path = |e: &klatsch::model::history::Entry| match &e.body {
        Body::File { path, .. } => path.clone(),
        Body::Text { .. } => panic!(),
    };
    assert_eq!(entries.iter().map(path).collect::<Vec<_>>(), ["", "", paths[2], ""]);
}

#[test]
fn what_is_deleted_does_not_leave_any_more() {
    for delete in [
        Command::Delete { entry: Some(1), with: None, all: false },
        Command::Delete { entry: None, with: Some("nora".into()), all: false },
        Command::Delete { entry: None, with: None, all: true },
    ] {
        let mut bench = without_nora();
        say(&mut bench, "one");
        fates(&mut bench);
        let _ = bench.begin(delete.clone());
        let Some((_, Query::Delete { what, .. })) = bench.queries.pop() else { panic!() };
        match (&delete, what) {
            (_, Forget::Entry(1) | Forget::All) => {}
            (_, Forget::Conversation(with)) if with == "nora" => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(fates(&mut bench), [(Delivery::Failed, why("deleted before it left"))]);
        comes(&mut bench);
        assert_eq!(went(&mut bench), [""; 0]);
    }
}

#[test]
fn another_handle_takes_what_is_kept_and_what_waits_with_it() {
    let mut bench = without_nora();
    say(&mut bench, "one");
    bench.changes();
    bench.ask(Command::SetHandle { handle: "Benjamin".into() }).unwrap();
    let handle = |name: &str| Handle::try_from(name).unwrap();
    let renamed = Change::Renamed { from: handle("Ben"), to: handle("Benjamin") };
    assert!(bench.changes().contains(&renamed));
    comes(&mut bench);
    let texts = bench.datagrams().into_iter().filter(|(to, _)| *to == addr(NORA));
    assert!(texts.map(|(_, b)| b).any(|b| b.starts_with(b"MSG Benjamin one")));
}
