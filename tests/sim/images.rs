//! Images come whole or not at all.

use klatsch::command::Command;
use klatsch::model::{Answer, Direction, Receipt, TransferState, What};

use crate::seeds;
use crate::world::{Lan, World};

const PATH: &str = "/home/a/picture.png";

fn picture(world: &mut World, most: usize) -> Vec<u8> {
    let len = world.rng.usize(1..most);
    let mut bytes = vec![0; len];
    world.rng.fill(&mut bytes);
    bytes
}

fn send(world: &mut World, n: usize, to: &[&str]) -> Vec<Receipt> {
    let to = to.iter().map(|t| (*t).to_owned()).collect();
    let command = Command::SendFile { to, path: PATH.into(), descriptor: None, name: None };
    match world.ask(n, None, command) {
        Ok(Answer::Sent(receipts)) => receipts,
        other => panic!("{other:?}"),
    }
}

/// How the transfers of one direction ended at a node.
fn ends(world: &World, n: usize, way: Direction) -> Vec<TransferState> {
    let told = world.slots[n].told.iter();
    told.filter_map(|(_, event)| match &event.what {
        What::Transfer { direction, state, .. } if *direction == way => Some(*state),
        _ => None,
    })
    .filter(|state| *state != TransferState::Running)
    .collect()
}

fn two(world: &mut World) -> (usize, usize) {
    let (a, b) = (world.single("a"), world.single("b"));
    world.meet(&[a, b], 150_000);
    (a, b)
}

/// Nothing half stands anywhere, nothing is left open.
fn clean(world: &World, nodes: &[usize], whole: &[u8]) {
    for n in nodes {
        let disk = &world.slots[*n].disk;
        assert_eq!(disk.held(), 0, "node {n} holds files open");
        assert!(disk.files.values().all(|f| f == whole), "something half looks whole");
    }
}

#[test]
fn an_image_comes_whole() {
    seeds(|world| {
        let (a, b) = two(world);
        for most in [2, 2_000, 300_000] {
            let bytes = picture(world, most);
            world.slots[b].disk.files.clear();
            world.slots[a].disk.files.insert(PATH.into(), bytes.clone());
            send(world, a, &["b"]);
            world.run(10_000);
            clean(world, &[a, b], &bytes);
            assert_eq!(world.slots[b].disk.files.len(), 1, "{} bytes", bytes.len());
        }
        assert_eq!(ends(world, a, Direction::Out), [TransferState::Done; 3]);
        assert_eq!(ends(world, b, Direction::In), [TransferState::Done; 3]);
    });
}

#[test]
fn an_image_to_all_comes_whole_to_each_over_a_bad_network() {
    seeds(|world| {
        world.lans[0] = Lan { loss: 0.2, duplication: 0.2, delay: (0, 100), reorder: true };
        let nodes: Vec<usize> = (0..5).map(|i| world.single(&format!("user{i}"))).collect();
        world.meet(&nodes, 150_000);
        let bytes = picture(world, 100_000);
        world.slots[nodes[0]].disk.files.insert(PATH.into(), bytes.clone());
        send(world, nodes[0], &["user1", "user2", "user3", "user4"]);
        world.run(120_000);
        clean(world, &nodes, &bytes);
        for n in &nodes[1..] {
            assert_eq!(world.slots[*n].disk.files.len(), 1);
        }
    });
}

#[test]
fn an_image_that_breaks_off_fails_at_both_ends_and_leaves_nothing() {
    seeds(|world| {
        for how in 0..4 {
            let (a, b) = two(world);
            let mut bytes = picture(world, 200_000);
            bytes.resize(400_000, 7);
            world.slots[a].disk.files.insert(PATH.into(), bytes.clone());
            send(world, a, &["b"]);
            let pause = world.rng.u64(0..60);
            world.run(pause);
            let (home, there) = (world.slots[a].host, world.slots[b].host);
            match how {
                0 => world.crash(a),
                1 => world.crash(b),
                2 => world.hosts[there].up = false,
                _ => world.hosts[home].side = 1,
            }
            world.run(60_000);
            for (n, way) in [(a, Direction::Out), (b, Direction::In)] {
                if world.slots[n].node.is_none() || (how == 2 && n == b) {
                    continue;
                }
                clean(world, &[n], &bytes);
                let ended = ends(world, n, way);
                assert!(ended.len() <= 1, "{ended:?}");
                let came = !world.slots[b].disk.files.is_empty();
                if n == b {
                    assert_eq!(came, ended == [TransferState::Done], "case {how}: {ended:?}");
                } else {
                    assert_eq!(ended.len(), 1, "case {how}: the sender was told nothing");
                }
            }
            for n in [a, b] {
                world.crash(n);
            }
            world.hosts[home].side = 0;
        }
    });
}

#[test]
fn a_full_disk_fails_and_leaves_nothing() {
    seeds(|world| {
        let (a, b) = two(world);
        let mut bytes = picture(world, 100_000);
        bytes.resize(150_000, 1);
        world.slots[a].disk.files.insert(PATH.into(), bytes.clone());
        world.slots[b].disk.room = 50_000;
        send(world, a, &["b"]);
        world.run(60_000);
        assert!(world.slots[b].disk.files.is_empty());
        clean(world, &[a, b], &bytes);
        assert_eq!(ends(world, b, Direction::In), [TransferState::Failed]);
    });
}

#[test]
fn an_image_to_nobody_listening_fails() {
    seeds(|world| {
        let (a, b) = two(world);
        let bytes = picture(world, 10_000);
        world.slots[a].disk.files.insert(PATH.into(), bytes.clone());
        world.crash(b);
        send(world, a, &["b"]);
        world.run(30_000);
        clean(world, &[a], &bytes);
        assert_eq!(ends(world, a, Direction::Out), [TransferState::Failed]);
    });
}
