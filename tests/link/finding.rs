//! Boxes find each other, once each, however the network is.

use crate::world::{World, handle};

#[test]
fn two_boxes_find_each_other_and_make_one_session() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let (a, b) = (world.node("anna"), world.node("bob"));
        world.run(20_000);
        let (of_a, of_b) = (world.far(a), world.far(b));
        assert!(world.nodes[a].here.contains(&of_b), "seed {seed}");
        assert!(world.nodes[b].here.contains(&of_a), "seed {seed}");
        for n in [a, b] {
            let machine = world.nodes[n].machine.as_ref().unwrap();
            assert_eq!(machine.session_count(), 1, "seed {seed}");
        }
    }
}

#[test]
fn both_find_each_other_with_ipv6_alone_and_with_ipv4_alone() {
    for v6 in [true, false] {
        let mut world = World::new(1);
        let (a, b) = (world.add("anna"), world.add("bob"));
        for n in [a, b] {
            if v6 {
                world.nodes[n].v4 = None;
            } else {
                world.nodes[n].v6 = None;
            }
            world.start(n);
        }
        world.run(20_000);
        assert_eq!((world.nodes[a].here.len(), world.nodes[b].here.len()), (1, 1));
    }
}

#[test]
fn lost_and_doubled_beacons_only_delay() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        world.weather.loss = 0.5;
        world.weather.duplication = 0.5;
        let nodes: Vec<usize> = (0..5).map(|n| world.node(&format!("user{n}"))).collect();
        world.run(10 * 60_000);
        for n in nodes {
            assert_eq!(world.nodes[n].here.len(), 4, "seed {seed}, node {n}");
        }
    }
}

#[test]
fn a_named_box_is_found_without_beacons() {
    let mut world = World::new(1);
    let (a, b) = (world.add("anna"), world.add("bob"));
    world.weather.loss = 0.0;
    let at = std::net::SocketAddr::new(world.nodes[b].v4.unwrap().into(), crate::world::PORT);
    let fingerprint = Some(world.print(b));
    world.nodes[a].named = vec![klatsch::dialect::link::words::Named { at, fingerprint }];
    // b hears no multicast and sends none
    world.start(b);
    world.run(1_000);
    world.nodes[a].side = 0;
    world.start(a);
    world.run(3_000);
    assert_eq!(world.nodes[a].here.len(), 1);
}

#[test]
fn beacons_grow_with_the_number_of_nodes_only() {
    let mut per_node = Vec::new();
    for count in [5, 20] {
        let mut world = World::new(3);
        for n in 0..count {
            world.node(&format!("user{n}"));
        }
        world.run(10 * 60_000);
        per_node.push(world.beacons / count);
    }
    // per node and family: 3 at the start, then one a minute
    assert!(per_node.iter().all(|n| (20..32).contains(n)), "{per_node:?}");
}

#[test]
fn goodbye_is_told_at_once_and_silence_after_a_while() {
    let mut world = World::new(4);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    world.with(b, |now, m| m.goodbye(now));
    world.run(1_000);
    assert!(world.nodes[a].told.contains(&"gone bob (it was stopped)".into()));
    world.crash(b);
    world.start(b);
    world.run(10_000);
    assert_eq!(world.nodes[a].here.len(), 1);
    world.cut(b);
    world.crash(b);
    world.run(40_000);
    world.run(40_000);
    assert_eq!(world.nodes[a].here.len(), 0);
}

#[test]
fn a_box_that_moves_is_followed() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        let (a, b) = (world.node("anna"), world.node("bob"));
        world.run(10_000);
        world.renumber(b, 99);
        let far = world.far(b);
        world.say(a, &far, "where are you");
        world.run(20_000);
        assert_eq!(world.texts(b, a), ["where are you"], "seed {seed}");
        assert!(!world.nodes[a].told.iter().any(|t| t.starts_with("gone")), "seed {seed}");
    }
}

#[test]
fn a_renamed_user_is_told_of_and_known_again() {
    let mut world = World::new(4);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let mut users = world.nodes[b].users.clone();
    users[0].handle = handle("robert");
    world.nodes[b].users.clone_from(&users);
    world.with(b, |now, m| m.set_users(now, users));
    world.run(1_000);
    assert!(world.nodes[a].told.contains(&"gone bob (left)".into()));
    assert!(world.nodes[a].told.contains(&"here robert".into()));
}
