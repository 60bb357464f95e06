//! Texts arrive once, at the right user, from the right one.

use klatsch::command::Command;
use klatsch::model::{Delivery, What};

use crate::seeds;
use crate::world::{Lan, World, settings};

fn add(world: &mut World, n: usize, handle: &str) {
    world.ask(n, None, Command::AddUser { handle: handle.into(), back: None }).unwrap();
}

/// Two nodes on one host, two elsewhere, each with three users.
fn house(world: &mut World) -> Vec<(usize, String)> {
    let shared = world.host(&[0]);
    let mut nodes =
        vec![world.node(shared, settings(Some("a"))), world.node(shared, settings(Some("b")))];
    nodes.extend([world.single("c"), world.single("d")]);
    let mut users = Vec::new();
    for (n, name) in nodes.iter().zip(["a", "b", "c", "d"]) {
        users.push((*n, name.to_owned()));
        for k in 1..3 {
            add(world, *n, &format!("{name}{k}"));
            users.push((*n, format!("{name}{k}")));
        }
    }
    let took = world.until(2_000, "all see all", |w| nodes.iter().all(|n| w.sees(*n).len() == 11));
    println!("4 nodes of 3 users: {took} ms");
    users
}

#[test]
fn every_text_arrives_exactly_once_at_the_right_user_from_the_right_one() {
    seeds(|world| {
        let users = house(world);
        let mut wanted: Vec<(usize, String, String, String)> = Vec::new();
        for (n, from) in &users {
            for (there, to) in &users {
                if from == to {
                    continue;
                }
                let text = format!("{from} to {to}: \"well, what: now?\" ä");
                let receipts = world.text(*n, Some(from), to, &text);
                let state = if n == there { Delivery::Delivered } else { Delivery::Sent };
                assert_eq!(receipts.len(), 1);
                assert_eq!(
                    (receipts[0].recipient.as_str(), receipts[0].state),
                    (to.as_str(), state)
                );
                wanted.push((*there, from.clone(), to.clone(), text));
                let pause = world.rng.u64(0..20);
                world.run(pause);
            }
        }
        world.run(5_000);
        let mut got = Vec::new();
        for n in [0, 1, 2, 3] {
            got.extend(world.got(n).into_iter().map(|(from, to, text)| (n, from, to, text)));
        }
        wanted.sort();
        got.sort();
        assert_eq!(got, wanted);
    });
}

#[test]
fn a_text_to_all_reaches_each_user_once() {
    seeds(|world| {
        let users = house(world);
        let receipts = world.text(0, None, "#lobby", "to you all");
        assert_eq!(receipts.len(), 11);
        world.run(2_000);
        let mut got: Vec<String> = (0..4).flat_map(|n| world.got(n)).map(|(_, to, _)| to).collect();
        let mut wanted: Vec<String> = users.into_iter().map(|u| u.1).filter(|u| u != "a").collect();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted);
    });
}

#[test]
fn long_texts_arrive_whole_in_parts() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        let text = "äöü and words ".repeat(80);
        world.text(a, None, "b", &text);
        world.run(1_000);
        let whole: String = world.got(b).into_iter().map(|(.., text)| text).collect();
        let squeeze = |s: &str| s.split_whitespace().collect::<String>();
        assert_eq!(squeeze(&whole), squeeze(&text));
    });
}

/// The state last told of anything that a node sent, and why.
fn fate(world: &World, n: usize) -> Option<(Delivery, Option<String>)> {
    world.slots[n].told.iter().rev().find_map(|(_, event)| match &event.what {
        What::Delivery { state, reason, .. } => Some((*state, reason.clone())),
        _ => None,
    })
}

#[test]
fn a_text_to_a_crashed_node_waits_until_it_is_back() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        world.crash(b);
        world.text(a, None, "b", "are you there?");
        let waits = |w: &mut World| fate(w, a).is_some_and(|(s, _)| s == Delivery::Queued);
        world.until(10_000, "it waits", waits);
        world.start(b);
        world.until(10_000, "it came", |w| !w.got(b).is_empty());
        assert_eq!(world.got(b).len(), 1);
        assert_eq!(fate(world, a), Some((Delivery::Sent, None)));
    });
}

#[test]
fn a_text_to_a_machine_without_power_waits_until_it_is_back() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        let host = world.slots[b].host;
        world.hosts[host].up = false;
        world.crash(b);
        world.text(a, None, "b", "are you there?");
        let waits = |w: &mut World| fate(w, a).is_some_and(|(s, _)| s == Delivery::Queued);
        world.until(10_000, "it waits", waits);
        world.hosts[host].up = true;
        world.start(b);
        world.until(10_000, "it came", |w| !w.got(b).is_empty());
        assert_eq!(world.got(b).len(), 1);
    });
}

#[test]
fn texts_over_a_lossy_network_come_from_the_right_one_or_not_at_all() {
    seeds(|world| {
        world.lans[0] = Lan { loss: 0.3, duplication: 0.0, delay: (0, 500), reorder: true };
        let nodes: Vec<usize> = (0..4).map(|i| world.single(&format!("user{i}"))).collect();
        world.meet(&nodes, 150_000);
        for i in 0..100 {
            let (from, to) = (i % 4, (i + 1 + i / 4 % 3) % 4);
            if from != to {
                world.text(nodes[from], None, &format!("user{to}"), &format!("user{from} {i}"));
            }
        }
        world.run(5_000);
        let mut came = 0;
        for n in nodes {
            for (from, to, text) in world.got(n) {
                assert_eq!(to, world.handle(n));
                assert!(text.starts_with(&format!("{from} ")), "{text} from {from}");
                came += 1;
            }
        }
        assert!(came > 40, "only {came} came");
    });
}

#[test]
fn two_who_are_away_do_not_talk_for_ever() {
    seeds(|world| {
        let (a, b) = (world.single("a"), world.single("b"));
        world.meet(&[a, b], 1_000);
        for n in [a, b] {
            let away = Command::SetPresence { away: true, text: Some("out".into()) };
            world.ask(n, None, away).unwrap();
        }
        world.text(a, None, "b", "hello");
        world.run(60_000);
        assert_eq!((world.got(a).len(), world.got(b).len()), (1, 1));
    });
}
