//! Everyone finds everyone.

use crate::seeds;
use crate::world::{Lan, World, settings};

fn crowd(world: &mut World, n: usize) -> Vec<usize> {
    (0..n).map(|i| world.single(&format!("user{i}"))).collect()
}

#[test]
fn two_find_each_other_at_once() {
    seeds(|world| {
        let nodes = crowd(world, 2);
        let took = world.meet(&nodes, 1_000);
        println!("2 nodes: {took} ms");
    });
}

#[test]
fn five_and_thirty_started_together_find_all() {
    seeds(|world| {
        let nodes = crowd(world, 5);
        println!("5 nodes: {} ms", world.meet(&nodes, 1_500));
        let mut nodes = nodes;
        for i in 5..30 {
            let pause = world.rng.u64(0..200);
            world.run(pause);
            nodes.push(world.single(&format!("user{i}")));
        }
        println!("30 nodes: {} ms after the last start", world.meet(&nodes, 2_000));
    });
}

#[test]
fn a_late_joiner_is_seen_and_sees_all_within_two_seconds() {
    seeds(|world| {
        let mut nodes = crowd(world, 10);
        world.meet(&nodes, 2_000);
        world.run(10 * 60_000);
        nodes.push(world.single("late"));
        println!("late joiner: {} ms", world.meet(&nodes, 2_000));
    });
}

#[test]
fn thirty_percent_loss_delays_and_does_not_part() {
    seeds(|world| {
        world.lans[0] = Lan { loss: 0.3, duplication: 0.1, delay: (0, 400), reorder: true };
        let nodes = crowd(world, 20);
        println!("20 nodes, 30 % loss: {} ms", world.meet(&nodes, 150_000));
    });
}

#[test]
fn nodes_of_one_host_find_each_other_and_those_elsewhere() {
    seeds(|world| {
        let shared = world.host(&[0]);
        let mut nodes = Vec::new();
        for i in 0..3 {
            nodes.push(world.node(shared, settings(Some(&format!("shared{i}")))));
            let pause = world.rng.u64(0..3_000);
            world.run(pause);
        }
        nodes.extend(crowd(world, 3));
        println!("3 on one host and 3 elsewhere: {} ms", world.meet(&nodes, 2_000));
        nodes.push(world.node(shared, settings(Some("late"))));
        println!("a fourth on that host: {} ms", world.meet(&nodes, 2_000));
    });
}

#[test]
fn nodes_of_a_host_without_network_find_each_other() {
    seeds(|world| {
        let lone = world.host(&[]);
        let nodes = [world.node(lone, settings(Some("a"))), world.node(lone, settings(Some("b")))];
        world.meet(&nodes, 2_000);
    });
}

#[test]
fn a_box_with_two_interfaces_is_one_peer() {
    seeds(|world| {
        world.lans.push(Lan::default());
        let (both, too) = (world.host(&[0, 1]), world.host(&[0, 1]));
        let nodes = [world.node(both, settings(Some("a"))), world.node(too, settings(Some("b")))];
        world.meet(&nodes, 2_000);
        world.run(5 * 60_000);
        world.meet(&nodes, 0);
    });
}

#[test]
fn several_nodes_of_one_host_started_at_once_are_each_answered() {
    seeds(|world| {
        let mut nodes = crowd(world, 3);
        world.meet(&nodes, 2_000);
        let shared = world.host(&[0]);
        for i in 0..4 {
            nodes.push(world.node(shared, settings(Some(&format!("shared{i}")))));
        }
        println!("4 at once on one host: {} ms", world.meet(&nodes, 2_000));
    });
}
