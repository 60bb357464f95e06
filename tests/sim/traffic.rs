//! How much a LAN of klatsch nodes says: never a square of their number once they know each
//! other.

use crate::seeds;
use crate::world::World;

struct Row {
    nodes: usize,
    begun: u64,
    begun_each: f64,
    minute: f64,
    broadcasts: f64,
    found: u64,
}

fn measure(world: &mut World, n: usize) -> Row {
    let nodes: Vec<usize> = (0..n)
        .map(|i| {
            let pause = world.rng.u64(0..=3);
            world.run(pause);
            world.single(&format!("user{i}"))
        })
        .collect();
    let start = world.now;
    let found = world.meet(&nodes, 9_000);
    world.run(10_000 - (world.now - start));
    let begun = world.count.datagrams;
    let (settle, minutes) = if n <= 100 { (60_000, 4) } else { (10_000, 1) };
    world.run(settle);
    let before = world.count;
    world.run(minutes * 60_000);
    let per = |now: u64, then: u64| (now - then) as f64 / (minutes as f64 * n as f64);
    world.meet(&nodes, 0);
    Row {
        nodes: n,
        begun,
        begun_each: begun as f64 / n as f64,
        minute: per(world.count.datagrams, before.datagrams),
        broadcasts: per(world.count.broadcasts, before.broadcasts),
        found,
    }
}

#[test]
fn steady_traffic_grows_with_the_nodes_not_with_their_square() {
    println!("nodes  all found  first 10 s  each  per node and minute  of it broadcast");
    for n in [2, 10, 30, 100, 300] {
        let mut world = World::new(n as u64);
        let row = measure(&mut world, n);
        println!(
            "{:5}  {:6} ms  {:10}  {:4.0}  {:19.2}  {:15.2}",
            row.nodes, row.found, row.begun, row.begun_each, row.minute, row.broadcasts
        );
        assert!(row.minute <= 8.0, "a node sends {} datagrams a minute", row.minute);
    }
}

#[test]
fn a_hundred_nodes_find_each_other() {
    seeds(|world| {
        let nodes: Vec<usize> = (0..100).map(|i| world.single(&format!("user{i}"))).collect();
        println!("100 nodes at once: {} ms", world.meet(&nodes, 4_000));
    });
}

#[test]
fn a_forged_source_draws_little() {
    seeds(|world| {
        let node = world.single("a");
        world.run(10_000);
        let before = world.count.datagrams;
        // one program that asks all the time, then a host that asks from ever new ports
        for _ in 0..40 {
            world.hear(node, "WHO");
            world.run(100);
        }
        assert_eq!(world.count.datagrams - before, 0, "answers to an absent host went out");
        let host = world.host(&[0]);
        world.hosts[host].nics[0].ip = std::net::Ipv4Addr::new(10, 0, 9, 9);
        world.run(5_000);
        let before = world.count.datagrams;
        for _ in 0..40 {
            world.hear(node, "WHO");
            world.run(100);
        }
        assert_eq!(world.count.datagrams - before, 3, "to one program");
        world.run(10_000);
        let before = world.count.datagrams;
        for port in 7_000..7_400 {
            world.hear_from(node, port, "WHO");
            world.run(10);
        }
        assert_eq!(world.count.datagrams - before, 12, "to one host");
    });
}
