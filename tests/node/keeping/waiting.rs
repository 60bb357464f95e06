//! What waits for whoever is not here: when it leaves, in which order, for whom, and how much.

use super::*;

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
