//! Everything at once, by seed: loss, breaks, crashes, partitions, roaming, full disks, clock jumps. At the
//! end the network is whole, and each message lies at its addressee exactly once, in order.

use crate::world::{Weather, World};

/// Seeds per run of the test; `KLATSCH_SEEDS` sets another number.
fn seeds(usual: u64) -> u64 {
    std::env::var("KLATSCH_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(usual)
}

fn storm(seed: u64, count: usize, steps: usize) {
    let mut world = World::new(seed);
    world.skew = 7_919;
    let nodes: Vec<usize> = (0..count).map(|n| world.node(&format!("user{n}"))).collect();
    world.run(60_000);
    world.weather = Weather { loss: 0.3, duplication: 0.2, delay: (0, 200), breaks: 0.02 };
    let mut sent = vec![vec![Vec::<String>::new(); count]; count];
    let mut down: Vec<usize> = Vec::new();
    for step in 0..steps {
        let n = nodes[world.rng.usize(..count)];
        match world.rng.u32(..100) {
            0..60 => {
                let to = nodes[world.rng.usize(..count)];
                if to != n && world.nodes[n].machine.is_some() {
                    let far = world.far(to);
                    let linked = world.nodes[n].machine.as_ref().unwrap().code(&far.handle);
                    if linked.is_some() {
                        let text = format!("{step}");
                        world.say(n, &far, &text);
                        // a crash before it is durable loses it with its entry
                        world.run(25);
                        if !world.nodes[n].full {
                            sent[n][to].push(text);
                        }
                    }
                }
            }
            60..70 if !down.contains(&n) => {
                world.crash(n);
                down.push(n);
            }
            70..80 => {
                if let Some(n) = down.pop() {
                    world.start(n);
                }
            }
            80..85 => {
                let side = world.rng.u32(..2);
                world.partition(n, side);
            }
            85..90 => {
                let low = 1_000 + u16::try_from(step).unwrap();
                world.renumber(n, low);
            }
            90..92 => world.nodes[n].full = true,
            92..95 => world.nodes[n].full = false,
            _ => world.break_all(),
        }
        let pause = world.rng.u64(..3_000);
        world.run(pause);
    }
    world.weather = Weather::default();
    for n in down {
        world.start(n);
    }
    for n in &nodes {
        // what a full disk did not keep of what was confirmed is confirmed again
        world.nodes[*n].full = false;
        world.crash(*n);
        world.start(*n);
        world.partition(*n, 0);
    }
    world.run(15 * 60_000);
    for a in &nodes {
        for b in &nodes {
            let got = world.texts(*b, *a);
            assert_eq!(got, sent[*a][*b], "seed {seed}: from {a} to {b}");
        }
        let (waiting, _, refused) = world.fates(*a);
        assert_eq!((waiting, refused), (0, 0), "seed {seed}: node {a}");
        assert_eq!(world.nodes[*a].complaints, Vec::<String>::new(), "seed {seed}: node {a}");
        let most = 3 * count + count;
        assert!(world.nodes[*a].disk.rows.len() <= most, "seed {seed}: rows pile up");
    }
}

#[test]
fn every_message_arrives_exactly_once_whatever_happens() {
    let seeds = seeds(60);
    for seed in 0..seeds {
        storm(seed, 2 + usize::try_from(seed).unwrap() % 4, 60);
    }
    println!("{seeds} seeds");
}

/// The same among up to as many as are promised.
#[test]
#[ignore = "minutes: .ci/long runs it"]
fn every_message_arrives_exactly_once_among_ten_to_two_hundred_boxes() {
    for (seed, count) in [(10_000, 10), (10_001, 40), (10_002, 100), (10_003, 200)] {
        let begun = std::time::Instant::now();
        storm(seed, count, 80);
        println!("{count} boxes: {:?}", begun.elapsed());
    }
}

#[test]
fn forty_boxes_find_each_other_and_everyone_hears_one() {
    crowd(40);
}

/// The largest LAN that is promised.
#[test]
#[ignore = "minutes: .ci/long runs it"]
fn two_hundred_boxes_find_each_other_and_everyone_hears_one() {
    crowd(200);
}

/// Each finds every other, once, and what one says to all arrives.
fn crowd(count: usize) {
    let mut world = World::new(200);
    world.weather.loss = 0.3;
    for n in 0..count {
        world.node(&format!("user{n}"));
    }
    world.run(5 * 60_000);
    for n in 0..count {
        assert_eq!(world.nodes[n].here.len(), count - 1, "node {n}");
        let machine = world.nodes[n].machine.as_ref().unwrap();
        assert_eq!(machine.session_count(), count - 1, "node {n}");
    }
    let beacons = world.beacons / count as u64;
    assert!(beacons < 20, "{beacons} beacons per box in five minutes");
    for n in 1..count {
        let far = world.far(n);
        world.say(0, &far, "to all");
    }
    world.run(30_000);
    assert_eq!(world.fates(0), (0, count - 1, 0));
    println!("{} handshakes, {} beacons", world.handshakes, world.beacons);
}
