//! Everyone finds everyone, whatever the network does.

use crate::seeds;
use crate::world::{World, address};

/// Starts `n` nodes at once; how long until each sees all others exactly once.
fn all_find_all(seed: u64, n: usize, loss: u32, most: u64) -> u64 {
    let mut world = World::new(seed);
    world.lans[0].loss = loss;
    world.lans[0].doubled = loss / 3;
    world.lans[0].delay = (0, if loss > 0 { 200 } else { 3 });
    for i in 0..n {
        world.add(&format!("u{i:03}"));
        let pause = world.rng.u64(0..50);
        world.run(pause);
    }
    world.until(most, "all see all", |w| everyone_sees(w, n))
}

fn everyone_sees(world: &mut World, n: usize) -> bool {
    (0..n).all(|i| {
        let expected = (0..n).filter(|j| *j != i).map(|j| format!("u{j:03}"));
        world.roster(i) == expected.collect::<Vec<_>>()
    })
}

#[test]
fn two_five_thirty_and_a_hundred_find_each_other() {
    seeds(2, |seed| {
        for (n, most) in [(2, 2_000), (5, 2_000), (30, 2_000), (100, 3_000)] {
            if n == 100 && seed > 1 {
                continue;
            }
            println!("{n} nodes: {} ms", all_find_all(seed, n, 0, most));
        }
    });
}

#[test]
fn with_a_third_of_all_datagrams_lost_all_still_find_all() {
    seeds(3, |seed| {
        println!("10 nodes, 30 % lost: {} ms", all_find_all(seed, 10, 300, 150_000));
    });
}

#[test]
fn a_late_joiner_is_seen_within_two_seconds_and_sees_all() {
    seeds(3, |seed| {
        let mut world = World::new(seed);
        for i in 0..20 {
            world.add(&format!("u{i:03}"));
        }
        world.run(120_000);
        let late = world.add("u020");
        let seen = world.until(2_000, "it is seen", |w| (0..20).all(|i| w.sees(i, "u020")));
        let sees = world.until(5_000, "it sees all", |w| w.roster(late).len() == 20);
        println!("seen after {seen} ms, sees all after {} ms", seen + sees);
    });
}

#[test]
fn several_nodes_on_one_host_find_each_other_and_the_lan() {
    seeds(2, |seed| {
        let mut world = World::new(seed);
        let shared = world.host(&[0]);
        for i in 0..3 {
            world.add_on(shared, Some(&format!("u{i:03}")), "guest");
            world.run(500);
        }
        world.add("u003");
        world.add("u004");
        world.until(10_000, "all see all", |w| everyone_sees(w, 5));
        world.run(600_000);
        assert!(everyone_sees(&mut world, 5), "and it stays so");
    });
}

#[test]
fn without_any_network_two_nodes_of_one_host_find_each_other() {
    let mut world = World::new(1);
    let host = world.host(&[]);
    world.add_on(host, Some("u000"), "guest");
    world.add_on(host, Some("u001"), "guest");
    world.until(3_000, "both see both", |w| everyone_sees(w, 2));
}

#[test]
fn a_host_on_two_lans_is_one_peer_and_does_not_join_them() {
    seeds(2, |seed| {
        let mut world = World::new(seed);
        let second = world.add_lan();
        let both = world.host(&[0, second]);
        let middle = world.add_on(both, Some("middle"), "guest");
        let other = world.host(&[0, second]);
        let twin = world.add_on(other, Some("twin"), "guest");
        let left = world.add("left");
        let right = world.host(&[second]);
        let right = world.add_on(right, Some("right"), "guest");
        world.run(70_000);
        assert_eq!(world.roster(middle), ["left", "right", "twin"]);
        assert_eq!(world.roster(twin), ["left", "middle", "right"]);
        assert_eq!(world.roster(left), ["middle", "twin"]);
        assert_eq!(world.roster(right), ["middle", "twin"]);
        let routes = world.who(twin).into_iter().find(|p| p.handle == "middle").unwrap().routes;
        assert_eq!(routes.len(), 2);
    });
}

#[test]
fn an_interface_that_comes_later_is_used_at_once() {
    let mut world = World::new(1);
    let host = world.host(&[]);
    let late = world.add_on(host, Some("late"), "guest");
    let early = world.add("early");
    world.run(30_000);
    assert!(world.roster(late).is_empty());
    world.readdress(host, vec![(0, address(0, host + 1))]);
    world.until(3_000, "both see both", |w| w.sees(late, "early") && w.sees(early, "late"));
}

#[test]
fn a_new_address_replaces_the_old_one() {
    seeds(2, |seed| {
        let mut world = World::new(seed);
        let mover = world.add("mover");
        let stays = world.add("stays");
        world.run(5_000);
        let host = world.slots[mover].host;
        world.readdress(host, vec![(0, address(0, 200))]);
        world.until(3_000, "the new address is known", |w| {
            w.who(stays).iter().any(|p| p.address == "10.0.0.200")
        });
        let took = world.until(20_000, "the old one is gone", |w| w.who(stays).len() == 1);
        println!("the old address is gone after {took} ms more");
        assert_eq!(world.roster(mover), ["stays"], "it is no peer of its own");
    });
}
