//! Handles that several want.

use klatsch::command::Command;
use klatsch::model::What;

use crate::seeds;
use crate::world::{Lan, World, settings};

fn automatic(world: &mut World, n: usize) -> Vec<usize> {
    (0..n)
        .map(|_| {
            let host = world.host(&[0]);
            world.node(host, settings(None))
        })
        .collect()
}

fn distinct(world: &mut World, nodes: &[usize]) -> bool {
    let mut all: Vec<String> = nodes.iter().map(|n| world.handle(*n)).collect();
    all.sort();
    let before = all.len();
    all.dedup();
    all.len() == before
}

#[test]
fn a_taken_handle_is_said_on_both_sides() {
    seeds(|world| {
        let (a, b) = (world.single("anna"), world.single("Anna"));
        world.run(2_000);
        for n in [a, b] {
            let said = world.errors(n);
            assert!(said.iter().any(|e| e.contains("anna2") || e.contains("Anna2")), "{said:?}");
            assert_eq!(said.iter().filter(|e| e.contains("also the handle")).count(), 1);
        }
    });
}

#[test]
fn a_node_that_comes_later_takes_a_free_handle() {
    seeds(|world| {
        let first = automatic(world, 1);
        world.run(5_000);
        let second = automatic(world, 1);
        world.run(3_000);
        assert_eq!(
            (world.handle(first[0]), world.handle(second[0])),
            ("box".into(), "box2".into())
        );
        world.meet(&[first[0], second[0]], 100);
    });
}

#[test]
fn nodes_that_start_together_without_a_handle_end_with_their_own() {
    seeds(|world| {
        for n in [2, 3, 10, 40] {
            let nodes = automatic(world, n);
            let took = world.until(30_000, "distinct handles", |w| distinct(w, &nodes));
            println!("{n} of one fallback: {took} ms until distinct");
            world.meet(&nodes, 5_000);
            let handles: Vec<String> = nodes.iter().map(|n| world.handle(*n)).collect();
            world.run(5 * 60_000);
            let later: Vec<String> = nodes.iter().map(|n| world.handle(*n)).collect();
            assert_eq!(handles, later, "a handle flaps");
            nodes.into_iter().for_each(|n| world.quit(n));
            world.run(1_000);
        }
    });
}

#[test]
fn nodes_of_one_host_that_start_together_without_a_handle_end_with_their_own() {
    seeds(|world| {
        let host = world.host(&[0]);
        let mut nodes: Vec<usize> = (0..3).map(|_| world.node(host, settings(None))).collect();
        nodes.extend(automatic(world, 2));
        let witness = world.single("witness");
        world.until(30_000, "distinct handles", |w| distinct(w, &nodes));
        nodes.push(witness);
        world.meet(&nodes, 5_000);
        let told = world.slots[witness].told.iter();
        let told: Vec<_> = told.map(|(at, event)| (at, &event.what)).collect();
        let left = |(_, what): &&(_, &What)| matches!(what, What::PeerLeft { .. });
        assert!(!told.iter().any(|t| left(&t)), "taken away by its neighbour: {told:#?}");
    });
}

#[test]
fn a_chosen_handle_makes_way_for_a_configured_one() {
    seeds(|world| {
        let chosen = automatic(world, 1);
        let configured = world.single("box");
        world.until(10_000, "it made way", |w| w.handle(chosen[0]) != "box");
        assert_eq!(world.handle(configured), "box");
        world.meet(&[chosen[0], configured], 2_000);
    });
}

/// A box that comes up fast has its operator name it before it would have joined by itself: it
/// then never joined.
#[test]
fn a_handle_given_before_the_first_join_is_joined_with() {
    seeds(|world| {
        let other = world.single("bob");
        let fast = automatic(world, 1);
        world.run(200);
        world.ask(fast[0], None, Command::SetHandle { handle: "anna".into() }).unwrap();
        world.meet(&[other, fast[0]], 5_000);
        assert_eq!(world.handle(fast[0]), "anna");
    });
}

#[test]
fn chosen_handles_part_on_a_lossy_network_too() {
    seeds(|world| {
        world.lans[0] = Lan { loss: 0.3, duplication: 0.1, delay: (0, 300), reorder: true };
        let nodes = automatic(world, 8);
        world.until(240_000, "distinct handles", |w| distinct(w, &nodes));
        world.meet(&nodes, 240_000);
    });
}
