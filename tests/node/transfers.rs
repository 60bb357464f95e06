//! Images out: every ticket is answered once, every delivery ends, whatever fails.

use crate::bench::{Bench, To, addr, image, settings};
use klatsch::command::Command;
use klatsch::config::Kept;
use klatsch::model::{Answer, Delivery, Event, IoError, Trouble, What};
use klatsch::node::io::{Input, Ticket};
use proptest::prelude::*;

/// A node with three peers: Nora takes images by TCP, Eva by datagrams, Ida not at all.
fn with_peers() -> Bench {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    for (n, handle) in [(11, "Nora"), (13, "Eva"), (14, "Ida")] {
        let from = format!("192.168.178.{n}:5000");
        bench.datagram(&from, To::Discovery, format!("JOIN {handle} 5000\n"));
    }
    bench.refuse.push(addr("192.168.178.14:5000"));
    let form = Some("tuna".to_owned());
    bench.ask(Command::SetForm { handle: "Eva".into(), form }).unwrap();
    bench.advance(1_000);
    bench.store.there.insert("/a".into(), image(50_000));
    bench.store.count = 0;
    bench.events();
    bench.sent();
    bench
}

fn answered(bench: &Bench, ticket: Ticket) -> usize {
    bench.answers.iter().filter(|(t, _)| *t == ticket).count()
}

/// The last state that was told of each recipient.
fn fates(events: &[Event]) -> Vec<(String, Delivery)> {
    let mut out: Vec<(String, Delivery)> = Vec::new();
    for event in events {
        if let What::Delivery { recipient, state, .. } = &event.what {
            out.retain(|(r, _)| r != recipient);
            out.push((recipient.clone(), *state));
        }
    }
    out
}

#[test]
fn every_ticket_is_answered_once_and_every_delivery_ends_whatever_fails() {
    for fail in 0..12 {
        let mut bench = with_peers();
        bench.store.fail = (fail > 0).then_some(fail);
        let ticket = bench.send_file(&["Ida", "Nora", "Eva"], "/a");
        bench.advance(60_000);
        assert_eq!(answered(&bench, ticket), 1, "failing at {fail}");
        let fates = fates(&bench.events());
        let (_, answer) = bench.answers.iter().find(|(t, _)| *t == ticket).unwrap();
        match answer {
            Ok(Answer::Sent(receipts)) => assert_eq!(receipts.len(), 3),
            other => {
                assert!(other.is_err() && fail == 1, "failing at {fail}: {other:?}");
                continue;
            }
        }
        assert_eq!(fates.len(), 3, "failing at {fail}: {fates:?}");
        assert!(fates.iter().all(|(_, s)| s.is_settled()), "failing at {fail}: {fates:?}");
        assert!(fates.contains(&("Ida".into(), Delivery::Failed)));
        let whole = fates.contains(&("Nora".into(), Delivery::Sent));
        assert_eq!(whole, fail == 0 || fail > 5, "failing at {fail}");
        assert_eq!(bench.store.under_way(), 0, "failing at {fail}");
    }
}

#[test]
fn a_piece_read_for_one_recipient_never_goes_to_the_next() {
    let mut bench = with_peers();
    bench.store.hold = true;
    bench.send_file(&["Eva", "Nora"], "/a");
    bench.store_answers(); // opened; now it is read for Eva
    let socket = bench.socket(To::Chat);
    let error = IoError::new(Trouble::Refused, "nobody listens there");
    bench.input(Input::Unreachable {
        socket,
        to: addr("192.168.178.13:5000"),
        bytes: Vec::new(),
        error,
    });
    bench.store.hold = false;
    bench.run();
    bench.advance(5_000);
    let (_, flow) = bench.flows.iter().find(|(_, f)| f.to.is_some()).unwrap();
    assert_eq!(flow.out, [b"IMG Ben 50000\n".to_vec(), image(50_000)].concat());
    let fates = fates(&bench.events());
    assert_eq!(fates, [("Eva".into(), Delivery::Failed), ("Nora".into(), Delivery::Sent)]);
}

#[test]
fn a_file_that_is_no_image_too_large_empty_or_missing_is_refused_once() {
    let mut bench = with_peers();
    let most = klatsch::config::Settings::default().max_image as usize;
    for (path, bytes) in
        [("/text", b"hello".to_vec()), ("/empty", Vec::new()), ("/large", image(most + 1))]
    {
        bench.store.there.insert(path.into(), bytes);
    }
    for path in ["/text", "/empty", "/large", "/missing"] {
        let ticket = bench.send_file(&["Nora"], path);
        assert_eq!(answered(&bench, ticket), 1);
        let (_, answer) = bench.answers.iter().find(|(t, _)| *t == ticket).unwrap();
        assert!(answer.is_err(), "{path}");
        assert_eq!(bench.store.under_way(), 0, "{path}");
    }
}

#[test]
fn a_removed_user_leaves_no_transfer_behind() {
    let mut bench = with_peers();
    bench.ask(Command::AddUser { handle: "guest".into(), back: None }).unwrap();
    let file = Command::SendFile {
        to: vec!["Nora".into(), "Eva".into()],
        path: "/a".into(),
        descriptor: None,
        name: None,
    };
    bench.serve = false;
    let sending = bench.begin_as(Some("guest"), file.clone());
    bench.store.hold = true;
    let opening = bench.begin_as(Some("guest"), file);
    // and somebody sends it an image and a text
    let stream = bench.stream("192.168.178.11:40000", To::TcpPort(5012));
    assert!(bench.bytes(stream, [&b"IMG Nora 90\n"[..], &image(50)].concat()));
    let other = bench.stream("192.168.178.11:40001", To::TcpPort(5012));
    bench.ask(Command::RemoveUser { handle: "guest".into(), park: None }).unwrap();
    bench.store.hold = false;
    bench.run();
    assert!(bench.bytes(other, "MSG Nora are you there?\n"));
    bench.advance(60_000);
    assert_eq!((answered(&bench, sending), answered(&bench, opening)), (1, 1));
    assert_eq!(bench.store.under_way(), 0);
    assert!(bench.flows[&stream].closed);
    let events = bench.events();
    assert!(fates(&events).iter().all(|(_, state)| *state == Delivery::Failed));
    let to_own = |e: &Event| matches!(&e.what, What::Message { to, .. } if to == "Ben");
    assert!(events.iter().any(to_own), "the box's own user gets it");
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_no_half_file_looking_whole() {
    for fail in 1..8 {
        let mut bench = with_peers();
        bench.store.fail = Some(fail);
        for (n, end) in [(0, 90), (1, 60)] {
            let stream = bench.stream(&format!("192.168.178.11:4000{n}"), To::Tcp(0));
            let all = [&b"IMG Nora 90\n"[..], &image(90)].concat();
            bench.bytes(stream, &all[..40]);
            bench.bytes(stream, &all[40..12 + end]);
            bench.end(stream);
        }
        bench.advance(20_000);
        assert_eq!(bench.store.under_way(), 0, "failing at {fail}");
        assert!(bench.store.kept.values().all(|b| *b == image(90)), "failing at {fail}");
        let told = |e: &Event| matches!(e.what, What::Image { .. });
        assert_eq!(bench.events().iter().filter(|e| told(e)).count(), bench.store.kept.len());
    }
}

#[test]
fn a_port_that_was_wished_for_and_is_odd_is_still_had() {
    let mut bench = Bench::with(settings("Ben", Some(5001)), Kept::default(), "192.168.178.12");
    bench.advance(1_000);
    bench.socket(To::TcpPort(5001));
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Store,
    Connected(usize),
    Wrote(usize),
    Closed(usize),
    Ready(usize),
    Unreachable(u8),
    Leave(u8),
    Form(u8, usize),
    Remove,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_usize..6).prop_map(Step::Send),
        6 => Just(Step::Store),
        4 => (0_usize..6).prop_map(Step::Connected),
        4 => (0_usize..6).prop_map(Step::Wrote),
        1 => (0_usize..6).prop_map(Step::Closed),
        1 => (0_usize..6).prop_map(Step::Ready),
        1 => (0_u8..3).prop_map(Step::Unreachable),
        1 => (0_u8..3).prop_map(Step::Leave),
        2 => (0_u8..3, 0_usize..17).prop_map(|(n, form)| Step::Form(n, form)),
        1 => Just(Step::Remove),
        3 => (1_u64..4_000).prop_map(Step::Time),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn in_whatever_order_every_ticket_and_delivery_ends(
        steps in prop::collection::vec(step(), 1..80),
        fail in prop::option::of(1_u32..20),
    ) {
        let mut bench = with_peers();
        bench.ask(Command::AddUser { handle: "guest".into(), back: None }).unwrap();
        bench.refuse.clear();
        bench.store.fail = fail;
        bench.store.hold = true;
        bench.serve = false;
        let names = ["Nora", "Eva", "Ida"];
        let place = |n: u8| addr(&format!("192.168.178.{}:5000", [11, 13, 14][usize::from(n)]));
        let mut tickets = Vec::new();
        for step in steps {
            let open: Vec<_> =
                bench.flows.iter().filter(|(_, f)| !f.closed).map(|(id, _)| *id).collect();
            let pick = |n: usize| (!open.is_empty()).then(|| open[n % open.len()]);
            let error = IoError::new(Trouble::Reset, "broke off");
            match step {
                Step::Send(n) => {
                    let to = names.iter().cycle().skip(n).take(n % 3 + 1).map(|s| (*s).into());
                    let file = Command::SendFile {
                        to: to.collect(),
                        path: "/a".into(),
                        descriptor: None, name: None };
                    let user = (n % 2 == 1).then_some("guest");
                    tickets.push(bench.begin_as(user, file));
                }
                Step::Store => { bench.store_answers(); }
                Step::Connected(n) => if let Some(id) = pick(n) {
                    bench.input(Input::Connected(id));
                },
                Step::Wrote(n) => if let Some(id) = pick(n) { bench.input(Input::Wrote(id)); },
                Step::Closed(n) => if let Some(id) = pick(n) {
                    bench.flows.get_mut(&id).unwrap().closed = true;
                    bench.input(Input::Closed(id, error));
                },
                Step::Ready(n) => if let Some(id) = pick(n) { bench.bytes(id, "READY"); },
                Step::Unreachable(n) => {
                    let socket = bench.socket(To::Chat);
                    bench.input(Input::Unreachable {
                        socket,
                        to: place(n),
                        bytes: Vec::new(),
                        error,
                    });
                }
                Step::Leave(n) => {
                    let said = format!("LEAVE {}\n", names[usize::from(n)]);
                    bench.datagram(&place(n).to_string(), To::Discovery, said);
                }
                Step::Form(n, form) => {
                    let form = klatsch::dialect::slcp::FORMS.get(form).map(|f| f.name.to_owned());
                    let handle = names[usize::from(n)].to_owned();
                    let _ = bench.ask(Command::SetForm { handle, form });
                }
                Step::Remove => {
                    let _ = bench.ask(Command::RemoveUser { handle: "guest".into(), park: None });
                }
                Step::Time(ms) => bench.advance(ms),
            }
        }
        bench.store.hold = false;
        bench.run();
        // whoever is connected to or written to in vain is given up by the driver, then by us
        for _ in 0..20 {
            bench.advance(20_000);
            let open: Vec<_> =
                bench.flows.iter().filter(|(_, f)| !f.closed).map(|(id, _)| *id).collect();
            for id in open {
                bench.flows.get_mut(&id).unwrap().closed = true;
                bench.input(Input::Closed(id, IoError::new(Trouble::TimedOut, "in vain")));
            }
        }
        for ticket in tickets {
            prop_assert_eq!(answered(&bench, ticket), 1);
        }
        let mut states = std::collections::BTreeMap::new();
        for event in bench.events() {
            match event.what {
                What::Delivery { id, peer, state, .. } => {
                    states.insert((id, peer), state.is_settled());
                }
                What::Transfer { id, peer, state, .. } => {
                    states.entry((id, peer)).or_insert(false);
                    let ended = state != klatsch::model::TransferState::Running;
                    states.entry((id, peer)).and_modify(|s| *s |= ended);
                }
                _ => {}
            }
        }
        prop_assert!(states.values().all(|settled| *settled), "{states:?}");
        prop_assert_eq!(bench.store.under_way(), 0);
    }
}
