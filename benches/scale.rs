//! How much a LAN of klatsch nodes says, by their number: `cargo bench --bench scale`.
//!
//! Up to [`REAL`] nodes the node itself runs, on the virtual network of `tests/sim`. Its rosters
//! grow with the square of the nodes, so beyond that a model of its rules runs, which holds a bit
//! for each pair; for the sizes that both can do both are printed, to be compared. `plain` is
//! counted by SLCP's own rule: everyone answers everyone with all it knows. Boxes of the link run
//! on the network of `tests/link`, and with their beacons alone, where no call gets through.
//!
//! Bytes are those of IPv4 packets. Numbers as arguments are the sizes to be run; the figures go
//! to `target/scale.csv` too, which `docs/scale.py` makes the plot of.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

#[path = "../tests/sim/ask.rs"]
mod ask;
#[path = "../tests/sim/disk.rs"]
mod disk;
#[path = "scale/model.rs"]
mod model;
#[path = "../tests/sim/store.rs"]
mod store;
#[path = "../tests/sim/tcp.rs"]
mod tcp;
#[path = "../tests/sim/udp.rs"]
mod udp;
#[path = "../tests/sim/world.rs"]
mod world;

#[path = "../tests/link/world/mod.rs"]
mod boxes;
#[path = "../tests/link/shelf.rs"]
mod shelf;

use std::fmt::Write;

use klatsch::dialect::slcp::encode;
use klatsch::model::Handle;
use model::Model;
use world::World;

/// Nodes that are simulated whole, at most.
const REAL: usize = 300;
/// Boxes of the link, at most: each pair makes a handshake …
const BOXES: usize = 100;
/// … and each beacon is heard by all.
const BEACONS: usize = 300;
/// Head of IPv4 and UDP.
const HEAD: u64 = 28;
/// All are started within this time: power returns to a building.
const START_MS: u64 = 1_000;
/// Start-up is counted so long.
const STARTED_MS: u64 = 10_000;
/// After a join, a leave and a WHO it is counted so long.
const AFTER_MS: u64 = 5_000;

/// Datagrams and bytes on the wire, a broadcast counted once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire {
    pub datagrams: u64,
    pub bytes: u64,
}

impl Wire {
    fn since(self, then: Wire) -> Wire {
        Wire { datagrams: self.datagrams - then.datagrams, bytes: self.bytes - then.bytes }
    }

    /// Without what is said anyway in that time.
    fn beyond(self, steady: Wire, share: f64) -> Wire {
        let less = |all: u64, of: u64| all.saturating_sub((of as f64 * share) as u64);
        Wire {
            datagrams: less(self.datagrams, steady.datagrams),
            bytes: less(self.bytes, steady.bytes),
        }
    }
}

/// What one size says.
struct Row {
    how: &'static str,
    nodes: usize,
    /// Until all know all, in milliseconds.
    met: u64,
    start: Wire,
    /// In a minute.
    steady: Wire,
    join: Wire,
    /// Until the newcomer knows all, in milliseconds; and all it.
    joined: u64,
    leave: Wire,
    who: Wire,
}

/// The figures of a row: what the file calls them, what stands before each as printed, its head
/// and its width.
const FIGURES: [(&str, &str, &str, usize); 13] = [
    ("nodes", " ", "nodes", 6),
    ("met_ms", " ", "met ms", 8),
    ("start_n", " | ", "start", 9),
    ("start_b", " ", "bytes", 10),
    ("minute_n", " | ", "minute", 9),
    ("minute_b", " ", "bytes", 10),
    ("join_n", " | ", "join", 6),
    ("join_b", " ", "bytes", 8),
    ("joined_ms", " ", "ms", 8),
    ("leave_n", " | ", "leave", 6),
    ("leave_b", " ", "bytes", 8),
    ("who_n", " | ", "WHO", 6),
    ("who_b", " ", "bytes", 8),
];

impl Row {
    /// In the order of [`FIGURES`].
    fn figures(&self) -> [u64; FIGURES.len()] {
        let Row { start, steady, join, leave, who, .. } = self;
        [
            self.nodes as u64,
            self.met,
            start.datagrams,
            start.bytes,
            steady.datagrams,
            steady.bytes,
            join.datagrams,
            join.bytes,
            self.joined,
            leave.datagrams,
            leave.bytes,
            who.datagrams,
            who.bytes,
        ]
    }
}

/// A line as printed.
fn line(how: &str, cells: [String; FIGURES.len()]) -> String {
    let mut line = format!("{how:7}");
    for ((_, before, _, width), cell) in FIGURES.iter().zip(cells) {
        write!(line, "{before}{cell:>width$}").unwrap();
    }
    line
}

fn main() {
    let words = std::env::args().skip(1);
    let mut sizes: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 30, 100, 300, 1_000, 3_000, 10_000];
    }
    let mut csv = format!("how,{}\n", FIGURES.map(|(name, ..)| name).join(","));
    println!("{}", line("", FIGURES.map(|(.., head, _)| head.to_owned())));
    for n in sizes {
        let mut rows = vec![plain(n)];
        if n <= REAL {
            rows.push(real(n));
        }
        rows.push(modelled(n));
        if n <= BOXES {
            rows.push(linked(n));
        }
        if n <= BEACONS {
            rows.push(beacons(n));
        }
        for row in rows {
            let cells = row.figures().map(|figure| figure.to_string());
            writeln!(csv, "{},{}", row.how, cells.join(",")).unwrap();
            println!("{}", line(row.how, cells));
            std::fs::create_dir_all("target").unwrap();
            std::fs::write("target/scale.csv", &csv).unwrap();
        }
    }
}

fn of(world: &World) -> Wire {
    let count = world.count;
    Wire { datagrams: count.datagrams, bytes: count.bytes + HEAD * count.datagrams }
}

/// Nodes that know so many others.
fn knowing(world: &mut World, nodes: &[usize], others: usize) -> usize {
    nodes.iter().filter(|n| world.peers(**n) >= others).count()
}

fn real(n: usize) -> Row {
    let mut world = World::new(n as u64);
    let mut nodes = Vec::new();
    let begun = world.now;
    for i in 0..n {
        let until = begun + START_MS * i as u64 / n as u64;
        world.run(until - world.now);
        nodes.push(world.single(&format!("user{i}")));
    }
    let most = begun + 200_000;
    while knowing(&mut world, &nodes, n - 1) < n && world.now < most {
        world.run(100);
    }
    let met = world.now - begun;
    world.run((begun + STARTED_MS).saturating_sub(world.now));
    let start = of(&world);
    world.run(60_000);
    let then = of(&world);
    let minutes = 2;
    world.run(minutes * 60_000);
    let all = of(&world).since(then);
    let steady = Wire { datagrams: all.datagrams / minutes, bytes: all.bytes / minutes };
    let share = AFTER_MS as f64 / 60_000.0;

    let (then, at) = (of(&world), world.now);
    nodes.push(world.single("newcomer"));
    let mut joined = None;
    while joined.is_none() && world.now < at + 120_000 {
        if knowing(&mut world, &nodes, n) > n {
            joined = Some(world.now - at);
        }
        if world.now < at + AFTER_MS {
            world.run(50);
        } else {
            break;
        }
    }
    world.run((at + AFTER_MS).saturating_sub(world.now));
    let join = of(&world).since(then).beyond(steady, share);
    while joined.is_none() && world.now < at + 120_000 {
        world.run(500);
        if knowing(&mut world, &nodes, n) > n {
            joined = Some(world.now - at);
        }
    }

    world.run(60_000);
    let then = of(&world);
    world.quit(nodes[n]);
    world.run(AFTER_MS);
    let leave = of(&world).since(then).beyond(steady, share);

    world.run(60_000);
    let host = world.host(&[0]);
    world.hosts[host].nics[0].ip = std::net::Ipv4Addr::new(10, 0, 9, 9);
    let then = of(&world);
    for node in &nodes[..n] {
        world.hear(*node, "WHO");
    }
    world.run(AFTER_MS);
    let who = of(&world).since(then).beyond(steady, share);
    let joined = joined.unwrap_or(u64::MAX);
    Row { how: "klatsch", nodes: n, met, start, steady, join, joined, leave, who }
}

fn modelled(n: usize) -> Row {
    let mut model = Model::new(n + 1, n as u64);
    for i in 0..n {
        model.start(i, START_MS * i as u64 / n as u64);
    }
    let mut met = u64::MAX;
    while model.now < 200_000 && met == u64::MAX {
        model.run(100);
        if model.least(n) >= n - 1 {
            met = model.now;
        }
    }
    model.run(STARTED_MS.saturating_sub(model.now));
    let start = model.wire;
    model.run(60_000);
    let then = model.wire;
    model.run(60_000);
    let steady = model.wire.since(then);
    let share = AFTER_MS as f64 / 60_000.0;

    let (then, at) = (model.wire, model.now);
    model.start(n, at);
    let mut joined = None;
    let mut join = Wire::default();
    while joined.is_none() && model.now < at + 120_000 {
        model.run(100);
        if joined.is_none() && model.least(n + 1) >= n {
            joined = Some(model.now - at);
        }
        if model.now <= at + AFTER_MS {
            join = model.wire.since(then).beyond(steady, (model.now - at) as f64 / 60_000.0);
        }
    }
    if model.now < at + AFTER_MS {
        model.run(at + AFTER_MS - model.now);
        join = model.wire.since(then).beyond(steady, share);
    }
    model.run(60_000);
    let then = model.wire;
    model.leave(n);
    model.run(AFTER_MS);
    let leave = model.wire.since(then).beyond(steady, share);
    model.foreign_who();
    model.run(AFTER_MS);
    let who = model.foreign;
    let joined = joined.unwrap_or(u64::MAX);
    Row { how: "model", nodes: n, met, start, steady, join, joined, leave, who }
}

/// SLCP's own rule: JOIN and WHO at the start, and the WHO again every minute; who is asked
/// answers with all it knows, in as many datagrams of 512 bytes as that takes.
fn plain(n: usize) -> Row {
    let handle = Handle::try_from("user1234").unwrap();
    let (join, who) = (encode::join(&handle, 5010).len() as u64, encode::who().len() as u64);
    let entry = "user1234 10.0.1.1 5010, ".len() as u64;
    let answer = |entries: u64| {
        let each = (512 - "KNOWUSERS ".len() as u64) / entry;
        let lines = entries.max(1).div_ceil(each);
        Wire { datagrams: lines, bytes: entries * entry + lines * (HEAD + 10) }
    };
    let times = |wire: Wire, n: u64| Wire { datagrams: wire.datagrams * n, bytes: wire.bytes * n };
    let plus =
        |a: Wire, b: Wire| Wire { datagrams: a.datagrams + b.datagrams, bytes: a.bytes + b.bytes };
    let say = |bytes: u64| Wire { datagrams: 1, bytes: bytes + HEAD };
    let n64 = n as u64;
    let begin = plus(say(join), say(who));
    // those who came before answer, each with all who came before
    let start = (0..n64).fold(times(begin, n64), |all, i| plus(all, times(answer(i), i)));
    let asked = plus(say(who), times(answer(n64), n64 - 1));
    let one = times(answer(n64), n64);
    Row {
        how: "plain",
        nodes: n,
        met: START_MS,
        start,
        steady: times(asked, n64),
        join: plus(begin, one),
        joined: 0,
        leave: say(encode::leave(&handle).len() as u64),
        who: one,
    }
}

/// The link's discovery by itself: beacons, and what a call that comes to nothing makes of them.
fn beacons(n: usize) -> Row {
    let mut world = boxes::World::new(n as u64);
    let begun = world.now;
    let add = |world: &mut boxes::World, name: &str| {
        let node = world.node(name);
        world.nodes[node].listening = None;
        node
    };
    for i in 0..n {
        let until = begun + START_MS * i as u64 / n as u64;
        world.run(until - world.now);
        add(&mut world, &format!("user{i}"));
    }
    let wire = |world: &boxes::World, since: u64| {
        let datagrams = world.beacons - since;
        Wire { datagrams, bytes: datagrams * (HEAD + 41) }
    };
    world.run(STARTED_MS.saturating_sub(world.now - begun));
    let start = wire(&world, 0);
    world.run(60_000);
    let then = world.beacons;
    world.run(60_000);
    let steady = wire(&world, then);
    let share = AFTER_MS as f64 / 60_000.0;
    let then = world.beacons;
    let new = add(&mut world, "newcomer");
    world.run(AFTER_MS);
    let join = wire(&world, then).beyond(steady, share);
    let then = world.beacons;
    world.with(new, |now, m| m.goodbye(now));
    world.run(AFTER_MS);
    let leave = wire(&world, then).beyond(steady, share);
    let who = Wire::default(); // nothing is asked of all
    Row { how: "beacons", nodes: n, met: 0, start, steady, join, joined: 0, leave, who }
}

/// The link: beacons, and a handshake for each pair, counted as its packets (three of TCP, three
/// of Noise, the hello and their acknowledgements: about 10).
fn linked(n: usize) -> Row {
    let mut world = boxes::World::new(n as u64);
    let nodes: Vec<usize> = (0..n).map(|i| world.node(&format!("user{i}"))).collect();
    let begun = world.now;
    let met =
        |world: &boxes::World, all: usize| nodes.iter().all(|i| world.nodes[*i].here.len() >= all);
    while !met(&world, n - 1) && world.now < begun + 300_000 {
        world.run(100);
    }
    let found = world.now - begun;
    world.run(STARTED_MS.saturating_sub(world.now - begun));
    let wire = |world: &boxes::World| {
        let datagrams = world.beacons + 10 * world.handshakes;
        Wire { datagrams, bytes: world.beacons * (HEAD + 41) + world.handshakes * 1_400 }
    };
    let start = wire(&world);
    world.run(60_000);
    let then = wire(&world);
    world.run(60_000);
    let steady = wire(&world).since(then);
    let share = AFTER_MS as f64 / 60_000.0;
    let (then, at) = (wire(&world), world.now);
    let new = world.node("newcomer");
    while world.nodes[new].here.len() < n && world.now < at + 120_000 {
        world.run(100);
    }
    let joined = world.now - at;
    let join = wire(&world).since(then).beyond(steady, joined as f64 / 60_000.0);
    let then = wire(&world);
    world.with(new, |now, m| m.goodbye(now));
    world.run(AFTER_MS);
    let leave = wire(&world).since(then).beyond(steady, share);
    let who = Wire::default(); // nothing is asked of all: a beacon is heard by all
    Row { how: "link", nodes: n, met: found, start, steady, join, joined, leave, who }
}
