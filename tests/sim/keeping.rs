//! Nothing that was answered is lost, nothing leaves twice, what waits arrives in its order:
//! under loss, partitions, a slow or failing disk, and restarts of either side.

use std::collections::{BTreeMap, BTreeSet};

use klatsch::command::Command;
use klatsch::model::history::{Body, Entry};
use klatsch::model::{Answer, Delivery, EntryId, Millis, What};
use klatsch::node::io::{Input, Ticket};

use crate::seeds;
use crate::world::{Lan, World};

/// What a node answered to a text: its entry, or nothing yet.
fn answer(world: &mut World, n: usize, ticket: u64) -> Option<(EntryId, Delivery)> {
    match world.slots[n].answers.remove(&ticket)? {
        Ok(Answer::Sent(receipts)) => Some((receipts[0].id, receipts[0].state)),
        other => panic!("{other:?}"),
    }
}

/// Begins to send a text marked `<mark>`; its ticket.
fn begin(world: &mut World, n: usize, to: &str, mark: &str) -> u64 {
    let ticket = world.rng.u64(..);
    let command = Command::Send { to: vec![to.into()], text: format!("<{mark}>") };
    world.feed(n, Input::Ask { ticket: Ticket(ticket), user: None, command, given: None });
    ticket
}

fn kept(world: &World, n: usize) -> Vec<Entry> {
    world.slots[n].store.kept().entries.values().cloned().collect()
}

fn text(entry: &Entry) -> &str {
    match &entry.body {
        Body::Text { text } => text.trim_matches(['<', '>']),
        Body::File { .. } => "",
    }
}

/// The marks of what came to a node, as they came.
fn came(world: &World, n: usize) -> Vec<String> {
    world.got(n).into_iter().map(|(.., text)| text.trim_matches(['<', '>']).into()).collect()
}

fn queued(world: &World, n: usize) -> usize {
    let waits = |e: &Entry| e.recipients.iter().any(|r| r.state == Delivery::Queued);
    kept(world, n).iter().filter(|e| waits(e)).count()
}

/// No datagram of a text left again unless the one before it came back.
fn nothing_left_twice(world: &World) {
    for (mark, (sent, back)) in &world.marked {
        assert!(*sent <= back + 1, "<{mark}> left {sent} times and came back {back} times");
    }
}

#[test]
fn what_waits_survives_a_crash_of_its_sender_and_arrives_in_order() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.run(5_000); // so long a sighting may wait to be kept
        world.quit(b);
        world.run(1_000);
        for n in 0..20 {
            let receipts = world.text(a, None, "b", &format!("<{n}>"));
            assert_eq!(receipts[0].state, Delivery::Queued);
            assert_eq!(receipts[0].reason.as_deref(), Some("not here"));
        }
        world.crash(a);
        world.run(10_000);
        world.start(a);
        world.run(60_000);
        assert_eq!(queued(world, a), 20);
        world.start(b);
        world.until(10_000, "all came", |w| came(w, b).len() == 20);
        let wanted: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(came(world, b), wanted);
        nothing_left_twice(world);
        world.run(5_000);
        let all = kept(world, a);
        assert!(all.iter().flat_map(|e| &e.recipients).all(|r| r.state == Delivery::Sent));
    });
}

#[test]
fn whoever_comes_back_elsewhere_gets_it_and_a_namesake_does_not_where_both_are_here() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.quit(b);
        world.run(1_000);
        world.text(a, None, "b", "<1>");
        let elsewhere = world.single("b");
        world.until(10_000, "it came", |w| came(w, elsewhere) == ["1"]);
        world.quit(elsewhere);
        world.run(1_000);
        // both at once: the host it was last reached at counts
        world.text(a, None, "b", "<2>");
        world.start(b);
        world.start(elsewhere);
        world.until(20_000, "it came", |w| came(w, b).len() + came(w, elsewhere).len() == 2);
        world.run(60_000);
        assert_eq!(came(world, b).len() + came(world, elsewhere).len(), 2);
        nothing_left_twice(world);
    });
}

#[test]
fn what_waits_too_long_fails_and_is_said() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.quit(b);
        world.run(1_000);
        let value = Some("1h".into());
        world.ask(a, None, Command::Config { key: Some("outbox.keep".into()), value }).unwrap();
        world.text(a, None, "b", "<1>");
        world.slots[a].wall_offset = 40 * 365 * 24 * 3_600 * 1_000; // the clock jumps by years
        world.run(50 * 60_000);
        assert_eq!(queued(world, a), 1);
        world.run(15 * 60_000);
        assert_eq!(queued(world, a), 0);
        let entry = kept(world, a).pop().unwrap();
        let to = &entry.recipients[0];
        assert_eq!(to.state, Delivery::Failed);
        assert_eq!(to.reason.as_deref(), Some("not sent within 1h (outbox.keep): not here"));
        let told = world.slots[a].told.iter().rev();
        let failed = |what: &What| matches!(what, What::Delivery { state: Delivery::Failed, .. });
        assert_eq!(told.filter(|(_, e)| failed(&e.what)).count(), 1);
        world.start(b);
        world.run(60_000);
        assert_eq!(came(world, b), [""; 0]);
    });
}

#[test]
fn after_a_restart_only_a_trusted_clock_ages_what_waits() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.feed(a, Input::Clock(true));
        world.run(5_000);
        world.quit(b);
        world.run(1_000);
        world.text(a, None, "b", "<1>");
        let year: i64 = 365 * 24 * 3_600 * 1_000;
        for (trusted, left) in [(false, 1), (true, 0)] {
            world.crash(a);
            world.slots[a].wall_offset += year;
            world.start(a);
            world.feed(a, Input::Clock(trusted));
            world.run(10_000);
            assert_eq!(queued(world, a), left, "{trusted}");
        }
    });
}

#[test]
fn an_undated_entry_is_dated_when_the_clock_is_first_trusted() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        let day: i64 = 24 * 3_600 * 1_000;
        world.slots[a].wall_offset = -day;
        let before = world.now_of(a).wall.0;
        world.text(a, None, "b", "<1>");
        world.run(5_000);
        assert!(!kept(world, a)[0].dated);
        world.slots[a].wall_offset = 0;
        world.feed(a, Input::Clock(true));
        world.text(a, None, "b", "<2>");
        world.run(5_000);
        let all = kept(world, a);
        assert!(all.iter().all(|e| e.dated));
        let off = all[0].at.0 - before;
        assert!((day as u64..day as u64 + 100).contains(&off), "{off}");
    });
}

#[test]
fn on_a_slow_disk_answers_wait_and_the_order_stays() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.slots[a].store.delay = (200, 3_000);
        let tickets: Vec<u64> = (0..10).map(|n| begin(world, a, "b", &n.to_string())).collect();
        assert_eq!(came(world, b), [""; 0]);
        let mut open: BTreeSet<u64> = tickets.iter().copied().collect();
        world.until(30_000, "all are answered", |w| {
            open.retain(|t| match answer(w, a, *t) {
                Some((id, _)) => {
                    // what is answered is durable
                    assert!(kept(w, a).iter().any(|e| e.id == id));
                    false
                }
                None => true,
            });
            open.is_empty()
        });
        world.run(1_000);
        let wanted: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(came(world, b), wanted);
    });
}

#[test]
fn where_nothing_can_be_kept_the_chat_goes_on_and_that_is_said_once() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.slots[a].store.fails = true;
        for n in 0..10 {
            let receipts = world.text(a, None, "b", &format!("<{n}>"));
            assert_eq!(receipts[0].state, Delivery::Sent);
            assert_eq!(receipts[0].reason.as_deref(), Some("it is not kept: the disk is full"));
            world.text(b, None, "a", "and you?");
        }
        world.run(5_000);
        assert_eq!((came(world, b).len(), came(world, a).len()), (10, 10));
        let said = |w: &World| {
            let all = w.errors(a);
            all.into_iter().filter(|e| e.contains("kept")).collect::<Vec<_>>()
        };
        assert_eq!(
            said(world),
            ["what is said is not kept (the disk is full): the chat goes on without"]
        );
        world.slots[a].store.fails = false;
        world.text(a, None, "b", "<again>");
        assert_eq!(said(world)[1..], ["what is said is kept again"]);
        assert_eq!(kept(world, a).len(), 1);
    });
}

/// What was noted as waiting must not leave unnoted: after a restart it would leave again.
#[test]
fn what_waits_does_not_leave_while_that_cannot_be_noted() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.quit(b);
        world.run(1_000);
        world.text(a, None, "b", "<1>");
        world.slots[a].store.fails = true;
        world.start(b);
        world.run(60_000);
        assert_eq!(came(world, b), [""; 0]);
        world.slots[a].store.fails = false;
        world.until(600_000, "it came", |w| came(w, b) == ["1"]);
        nothing_left_twice(world);
    });
}

/// What was answered, and when which node ended.
#[derive(Default)]
struct Wild {
    answered: BTreeMap<EntryId, usize>,
    ends: Vec<(usize, Millis)>,
}

/// A time in which everything happens at random; then peace.
fn wild(world: &mut World, loss: f64, minutes: u64) -> Wild {
    let nodes = [world.single("n0"), world.single("n1"), world.single("n2")];
    world.meet(&nodes, 2_000);
    world.run(5_000);
    for n in nodes {
        world.slots[n].store.delay = (0, 400);
    }
    world.lans[0] = Lan { loss, duplication: 0.0, delay: (0, 50), reorder: false };
    let end = world.now + minutes * 60_000;
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut wild = Wild::default();
    let mut mark = 0;
    while world.now < end {
        let n = world.rng.usize(0..3);
        let up = world.slots[nodes[n]].node.is_some();
        match world.rng.u32(0..100) {
            0..=2 if up => {
                world.crash(nodes[n]);
                wild.ends.push((n, world.now));
                open.retain(|(from, ..)| *from != n);
            }
            3 if up => {
                world.quit(nodes[n]);
                wild.ends.push((n, world.now));
                open.retain(|(from, ..)| *from != n);
            }
            4..=12 if !up => world.start(nodes[n]),
            13..=14 => {
                let host = world.slots[nodes[n]].host;
                world.hosts[host].side ^= 1;
            }
            _ if up => {
                let to = (n + world.rng.usize(1..3)) % 3;
                let waiting = queued(world, nodes[n]);
                if waiting < 60 {
                    let ticket = begin(world, nodes[n], &format!("n{to}"), &mark.to_string());
                    open.push((n, ticket));
                    mark += 1;
                }
            }
            _ => {}
        }
        let pause = world.rng.u64(0..3_000);
        world.run(pause);
        open.retain(|(n, ticket)| match answer(world, nodes[*n], *ticket) {
            Some((id, _)) => {
                wild.answered.insert(id, *n);
                false
            }
            None => true,
        });
    }
    world.lans[0] = Lan::default();
    for host in &mut world.hosts {
        host.side = 0;
    }
    for n in nodes {
        if world.slots[n].node.is_none() {
            world.start(n);
        }
    }
    world.run(20 * 60_000);
    assert!(wild.answered.len() > 100, "only {} texts were answered", wild.answered.len());
    wild
}

fn checked(world: &World, wild: &Wild) {
    nothing_left_twice(world);
    for n in 0..3 {
        let all = kept(world, n);
        let out: Vec<&Entry> = all.iter().filter(|e| !e.recipients.is_empty()).collect();
        // what was answered is there, once, in the order in which it was said
        for id in wild.answered.iter().filter(|(_, from)| **from == n).map(|(id, _)| id) {
            assert_eq!(out.iter().filter(|e| e.id == *id).count(), 1, "{id} of n{n}");
        }
        let marks: Vec<u64> = out.iter().map(|e| text(e).parse().unwrap()).collect();
        assert!(marks.is_sorted(), "n{n}: {marks:?}");
        assert_eq!(queued(world, n), 0, "n{n}: everybody is here");
    }
}

#[test]
fn nothing_answered_is_lost_and_nothing_leaves_twice_whatever_happens() {
    seeds(|world| {
        let wild = wild(world, 0.1, 15);
        checked(world, &wild);
        let came: Vec<String> = (0..3).flat_map(|n| came(world, n)).collect();
        let once: BTreeSet<&String> = came.iter().collect();
        assert_eq!(once.len(), came.len(), "something came twice");
        let answered = wild.answered.len();
        println!("{answered} answered, {} came over a network that loses 10 %", came.len());
    });
}

/// Where the network loses nothing, a text that did not arrive says that it may be lost, or its
/// sender ended before the error about it could come.
#[test]
fn what_does_not_arrive_is_said_where_the_network_loses_nothing() {
    seeds(|world| {
        let wild = wild(world, 0.0, 15);
        checked(world, &wild);
        let came: BTreeSet<String> = (0..3).flat_map(|n| came(world, n)).collect();
        let (mut unsure, mut late) = (0, 0);
        for n in 0..3 {
            for entry in kept(world, n).iter().filter(|e| !e.recipients.is_empty()) {
                let to = &entry.recipients[0];
                assert_eq!(to.state, Delivery::Sent, "{to:?}");
                if came.contains(text(entry)) {
                    continue;
                }
                if to.reason.is_some() {
                    unsure += 1;
                    continue;
                }
                let left = world.slots[n].told.iter().rev().find_map(|(at, e)| match &e.what {
                    What::Delivery { id, .. } if *id == entry.id => Some(*at),
                    _ => None,
                });
                let left = left.unwrap();
                let ended =
                    |(m, at): &&(usize, Millis)| *m == n && (left..left + 5_000).contains(at);
                assert!(
                    wild.ends.iter().any(|e| ended(&e)),
                    "{entry:?} is lost and nobody says so"
                );
                late += 1;
            }
        }
        let (answered, came) = (wild.answered.len(), came.len());
        println!("{answered} answered, {came} came, {unsure} may be lost, {late} lost at an end");
    });
}

/// A text to everyone is one entry and one write, and what became of it a few.
#[test]
fn a_text_to_many_is_one_entry_whose_states_are_written_together() {
    seeds(|world| {
        let a = world.single("a");
        for n in 0..2_000 {
            let (ip, port) = (n / 250, n % 250);
            let line = format!("JOIN p{n} {}\n", 5_000 + ip * 250 + port);
            world.hear_from(a, (5_000 + n) as u16, &line);
        }
        world.run(2_000);
        let before = (world.slots[a].store.writes, world.now);
        let receipts = world.text(a, None, "#lobby", "to you all");
        assert!(receipts.len() >= 2_000, "{}", receipts.len());
        let took: Millis = world.now - before.1;
        world.run(100);
        let writes = world.slots[a].store.writes - before.0;
        assert!(writes <= 10, "{writes} writes in {took} ms");
        world.run(5_000);
        let all = kept(world, a);
        let entry = all.iter().find(|e| e.conversation == "#lobby").unwrap();
        assert_eq!(entry.recipients.len(), receipts.len());
    });
}
