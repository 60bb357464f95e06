//! Rooms over real sessions, what was read, boxes told of by boxes, proofs of addresses, keys that
//! are forgotten; and each with a box that is older and knows nothing of it.

use std::net::SocketAddr;

use klatsch::dialect::link::frame::Content;
use klatsch::dialect::link::machine::{CAPABILITIES, CannotForget, READ, ROOMS};
use klatsch::dialect::link::rooms::Post;
use klatsch::dialect::link::words::Named;
use klatsch::model::{EntryId, RoomName, Wall};

use crate::world::{PORT, Weather, World, handle};

fn room() -> RoomName {
    RoomName::try_from("kaffee").unwrap()
}

fn join(world: &mut World, n: usize) {
    let user = world.nodes[n].users[0].handle.clone();
    world.with(n, |now, m| m.room_join(now, &user, &room()).unwrap());
}

fn post(world: &mut World, n: usize, text: &str) {
    let from = world.nodes[n].users[0].handle.clone();
    let post = Post { entry: EntryId { epoch: 1, n: 1 }, from, at: Wall(0), text: text.into() };
    world.with(n, |now, m| m.room_post(now, &room(), post).unwrap());
}

fn texts(world: &World, n: usize) -> Vec<&str> {
    world.nodes[n].room.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn a_room_goes_on_over_breaks_kills_and_full_disks() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let nodes: Vec<usize> = (0..3).map(|n| world.node(&format!("user{n}"))).collect();
        nodes.iter().for_each(|n| join(&mut world, *n));
        world.run(20_000);
        world.weather = Weather { loss: 0.3, duplication: 0.2, delay: (0, 100), breaks: 0.05 };
        let mut said = 0;
        for n in 0..30 {
            let who = nodes[n % 3];
            if n % 7 == 3 {
                world.crash(nodes[(n + 1) % 3]);
                world.start(nodes[(n + 1) % 3]);
            }
            world.nodes[nodes[2]].full = (10..20).contains(&n);
            if !world.nodes[who].full {
                post(&mut world, who, &n.to_string());
                said += 1;
            }
            world.run(500);
        }
        world.weather = Weather::default();
        world.run(5 * 60_000);
        for n in &nodes {
            let mut all = texts(&world, *n);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), said, "seed {seed}: node {n}");
            assert_eq!(world.nodes[*n].room.len(), said, "seed {seed}: node {n} has one twice");
        }
    }
}

#[test]
fn a_box_that_knows_no_rooms_is_left_in_peace() {
    let mut world = World::new(2);
    let (a, b, old) = (world.node("anna"), world.node("bob"), world.add("older"));
    world.nodes[old].capabilities = CAPABILITIES & !ROOMS;
    world.start(old);
    for n in [a, b] {
        join(&mut world, n);
    }
    world.run(20_000);
    post(&mut world, a, "hello");
    world.run(5_000);
    assert_eq!(texts(&world, b), ["hello"]);
    let (of, far) = (world.print(old), world.far(old));
    let machine = world.nodes[a].machine.as_ref().unwrap();
    assert!(machine.is_linked(of), "its session stands");
    assert!(machine.rooms()[0].others.iter().all(|(far, _)| far.of != of));
    world.say(a, &far, "and texts go on");
    world.run(5_000);
    assert_eq!(world.texts(old, a), ["and texts go on"]);
    assert!(world.nodes.iter().all(|n| n.complaints.is_empty()));
}

#[test]
fn that_something_was_read_is_said_only_where_both_allow_it() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut world = World::new(3);
        let (a, b) = (world.add("anna"), world.add("bob"));
        for (n, allows) in [(a, ours), (b, theirs)] {
            world.nodes[n].capabilities = CAPABILITIES | if allows { READ } else { 0 };
            world.start(n);
        }
        world.run(10_000);
        let far = world.far(b);
        let entry = world.say(a, &far, "read me");
        world.run(5_000);
        let of = world.print(a);
        world.with(b, |now, m| m.read(now, of, vec![entry]));
        world.run(5_000);
        let told = if ours && theirs { vec![entry] } else { vec![] };
        assert_eq!(world.nodes[a].read, told);
    }
}

#[test]
fn what_was_read_while_the_author_was_gone_is_said_when_he_is_back() {
    let mut world = World::new(4);
    let (a, b) = (world.add("anna"), world.add("bob"));
    for n in [a, b] {
        world.nodes[n].capabilities = CAPABILITIES | READ;
        world.start(n);
    }
    world.run(10_000);
    let far = world.far(b);
    let entry = world.say(a, &far, "read me");
    world.run(5_000);
    world.crash(a);
    world.run(60_000);
    let of = world.print(a);
    world.with(b, |now, m| m.read(now, of, vec![entry]));
    world.start(a);
    world.run(60_000);
    assert_eq!(world.nodes[a].read, [entry]);
}

/// Bob is named by both others, which hear no beacon.
fn around_bob(tell: [bool; 3]) -> (World, [usize; 3]) {
    let mut world = World::new(5);
    let all = [world.add("anna"), world.add("bob"), world.add("carl")];
    let at = SocketAddr::new(world.nodes[all[1]].v4.unwrap().into(), PORT);
    for (n, tell) in all.into_iter().zip(tell) {
        world.nodes[n].deaf = true;
        // link-local addresses mean nothing to others
        world.nodes[n].v6 = None;
        world.nodes[n].tell = tell;
        if n != all[1] {
            world.nodes[n].named = vec![Named { at, fingerprint: None }];
        }
        world.start(n);
    }
    world.run(60_000);
    (world, all)
}

#[test]
fn boxes_that_hear_no_multicast_find_each_other_by_a_third_if_all_want_that() {
    for (tell, met) in [
        ([true; 3], true),
        ([false; 3], false),
        ([true, false, true], false),
        ([false, true, false], false),
    ] {
        let (world, [anna, _, carl]) = around_bob(tell);
        let far = world.far(carl);
        assert_eq!(world.nodes[anna].here.contains(&far), met, "{tell:?}");
    }
}

#[test]
fn an_address_counts_once_the_box_proved_its_key_there() {
    let mut world = World::new(6);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let (real, of, far) = (world.nodes[b].v4.unwrap(), world.print(b), world.far(b));
    let claimed = vec![real, "10.0.9.9".parse().unwrap()];
    world.with(b, |now, m| m.set_addresses(now, claimed));
    world.run(5_000);
    for ip in [real, "10.0.9.9".parse().unwrap(), "10.0.8.8".parse().unwrap()] {
        world.with(a, |now, m| m.prove(now, of, ip));
        world.run(6 * 60_000);
    }
    assert_eq!(world.nodes[a].v4_of[&far], [real]);
    assert_eq!(world.nodes[a].machine.as_ref().unwrap().session_count(), 1);
    assert!(
        !world.nodes[a].told.iter().any(|t| t.starts_with("gone")),
        "{:?}",
        world.nodes[a].told
    );
}

#[test]
fn a_forgotten_key_leaves_its_handle_to_another_and_no_row() {
    let mut world = World::new(7);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let bob = handle("bob");
    let forget = |world: &mut World| {
        let mut result = None;
        world.with(a, |_, m| result = Some(m.forget_key(&bob)));
        result.unwrap()
    };
    assert_eq!(forget(&mut world), Err(CannotForget::Here));
    world.crash(b);
    world.run(60_000);
    assert_eq!(forget(&mut world), Ok(world.far(b)));
    assert_eq!(forget(&mut world), Err(CannotForget::Unknown));
    world.run(1_000);
    assert!(world.nodes[a].disk.rows.is_empty(), "{:?}", world.nodes[a].disk.rows.keys());
    let c = world.node("bob");
    world.run(10_000);
    assert!(world.nodes[a].here.contains(&world.far(c)));
    assert!(!world.nodes[a].told.contains(&"changed bob".into()));
}

#[test]
fn keys_never_compared_or_talked_with_are_those_that_may_be_forgotten_at_once() {
    let mut world = World::new(8);
    let all: Vec<usize> =
        ["anna", "idle", "talked", "trusted", "here"].map(|name| world.node(name)).to_vec();
    world.run(20_000);
    let far = world.far(all[2]);
    world.say(all[0], &far, "hello");
    world.with(all[0], |now, m| {
        m.trust(now, &handle("trusted"), None);
    });
    world.run(5_000);
    all[1..4].iter().for_each(|n| world.crash(*n));
    world.run(60_000);
    let idle = world.nodes[all[0]].machine.as_ref().unwrap().idle_pins();
    assert_eq!(idle, [handle("idle")]);
}

#[test]
fn every_content_of_a_later_version_is_refused_and_the_session_stands() {
    let mut world = World::new(9);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let far = world.far(b);
    world.say_content(a, &far, Content::Unknown(99));
    world.say(a, &far, "this one is known");
    world.run(5_000);
    assert_eq!(world.fates(a), (0, 1, 1));
    assert_eq!(world.texts(b, a), ["this one is known"]);
}
