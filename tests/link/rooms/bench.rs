//! Boxes whose rooms talk over sessions that break, on disks that fill, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use klatsch::dialect::link::noise::{Fingerprint, Key, Rng, Secret};
use klatsch::dialect::link::queue::Row;
use klatsch::dialect::link::rooms::wire::Part;
use klatsch::dialect::link::rooms::{Out, Post, Rooms};
use klatsch::model::{EntryId, Handle, Millis, RoomName, Wall};

use crate::world::handle;

const DAY: Millis = 24 * 60 * 60_000;

/// A message as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told1 {
    of: Fingerprint,
    pub text: String,
    pub late: bool,
}

/// What survives a crash.
#[derive(Clone, Default)]
pub struct Disk {
    pub rows: BTreeMap<String, Vec<u8>>,
    pub told: Vec<Told1>,
}

pub struct Node {
    pub rooms: Option<Rooms>,
    pub secret: Secret,
    key: Key,
    print: Fingerprint,
    pub name: Handle,
    pub disk: Disk,
    pub full: bool,
    side: u32,
    runs: u64,
    pub delivered: u64,
    unsaid: usize,
}

enum Ev {
    Parts(usize, usize, u64, Vec<Part>),
    Link(usize, usize),
    Stored(usize, u64, u64, Vec<Row>, Vec<Told1>),
    Tick(usize),
}

/// Boxes with sessions between those that reach each other.
pub struct Lan {
    pub now: Millis,
    pub rng: fastrand::Rng,
    pub nodes: Vec<Node>,
    by_print: BTreeMap<Fingerprint, usize>,
    /// Sessions that stand, each with its number; and pairs that never have one.
    sessions: BTreeMap<(usize, usize), u64>,
    pub apart: BTreeSet<(usize, usize)>,
    next_session: u64,
    queue: BTreeMap<(Millis, u64), Ev>,
    seq: u64,
    /// That a session breaks, per delivery.
    pub breaks: f64,
    pub frames: u64,
    pub bytes: usize,
    delay: Millis,
    /// What each message's author had been told when he wrote it, by text.
    causes: BTreeMap<String, BTreeSet<String>>,
    pub keep: Millis,
}

pub fn room() -> RoomName {
    RoomName::try_from("kaffee").unwrap()
}

pub fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Lan {
    pub fn new(seed: u64, count: usize) -> Lan {
        let mut lan = Lan {
            now: 1_000_000,
            rng: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            by_print: BTreeMap::new(),
            sessions: BTreeMap::new(),
            apart: BTreeSet::new(),
            next_session: 0,
            queue: BTreeMap::new(),
            seq: 0,
            breaks: 0.0,
            frames: 0,
            bytes: 0,
            delay: 50,
            causes: BTreeMap::new(),
            keep: DAY,
        };
        for n in 0..count {
            let mut secret = [0; 32];
            secret.fill_with(|| lan.rng.u8(..));
            let secret = Secret::new(secret);
            let key = secret.public();
            lan.by_print.insert(key.fingerprint(), n);
            lan.nodes.push(Node {
                rooms: None,
                secret,
                key,
                print: key.fingerprint(),
                name: handle(&format!("user{n}")),
                disk: Disk::default(),
                full: false,
                side: 0,
                runs: 0,
                delivered: 0,
                unsaid: 0,
            });
        }
        lan
    }

    /// All start and join.
    pub fn gather(seed: u64, count: usize) -> Lan {
        let mut lan = Lan::new(seed, count);
        for n in 0..count {
            lan.start(n);
            lan.join(n);
        }
        lan.run(5_000);
        lan
    }

    pub fn print(&self, n: usize) -> Fingerprint {
        self.nodes[n].print
    }

    pub fn start(&mut self, n: usize) {
        let mut seed = [0; 32];
        seed.fill_with(|| self.rng.u8(..));
        let node = &mut self.nodes[n];
        node.runs += 1;
        let mut rooms = Rooms::new(node.secret.clone(), Rng::new(seed), self.keep);
        for (key, value) in &node.disk.rows {
            assert!(rooms.restore(self.now, key, value), "{key}");
        }
        rooms.restored(self.now);
        rooms.set_present(vec![node.name.clone()]);
        node.rooms = Some(rooms);
        self.settle(n);
        for m in 0..self.nodes.len() {
            self.dial(n, m);
        }
    }

    pub fn crash(&mut self, n: usize) {
        self.nodes[n].rooms = None;
        self.break_where(|a, b| a == n || b == n);
    }

    pub fn break_where(&mut self, which: impl Fn(usize, usize) -> bool) {
        let broken: Vec<(usize, usize)> =
            self.sessions.keys().copied().filter(|(a, b)| which(*a, *b)).collect();
        for (a, b) in broken {
            self.snap(a, b);
        }
    }

    pub fn snap(&mut self, a: usize, b: usize) {
        if self.sessions.remove(&pair(a, b)).is_none() {
            return;
        }
        for (n, other) in [(a, b), (b, a)] {
            let of = self.print(other);
            self.with(n, |now, rooms| rooms.unlinked(now, of));
        }
        self.dial(a, b);
    }

    fn dial(&mut self, a: usize, b: usize) {
        if a != b {
            let after = self.rng.u64(100..3_000);
            self.later(after, Ev::Link(a, b));
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        let up = self.nodes[a].rooms.is_some() && self.nodes[b].rooms.is_some();
        let reach = self.nodes[a].side == self.nodes[b].side && !self.apart.contains(&pair(a, b));
        if !up || !reach || self.sessions.contains_key(&pair(a, b)) {
            return;
        }
        self.next_session += 1;
        self.sessions.insert(pair(a, b), self.next_session);
        for (n, other) in [(a, b), (b, a)] {
            let (of, key) = (self.nodes[other].print, self.nodes[other].key);
            self.with(n, |now, rooms| rooms.linked(now, of, key, true));
        }
    }

    pub fn partition(&mut self, n: usize, side: u32) {
        self.nodes[n].side = side;
        let sides: Vec<u32> = self.nodes.iter().map(|n| n.side).collect();
        self.break_where(|a, b| sides[a] != sides[b]);
        for m in 0..self.nodes.len() {
            self.dial(n, m);
        }
    }

    pub fn join(&mut self, n: usize) {
        let user = self.nodes[n].name.clone();
        self.with(n, |now, rooms| rooms.join(now, &user, &room()).unwrap());
    }

    pub fn say(&mut self, n: usize, text: &str) {
        let from = self.nodes[n].name.clone();
        self.seq += 1;
        let entry = EntryId { epoch: self.nodes[n].runs, n: self.seq };
        let post = Post { entry, from, at: Wall(0), text: text.into() };
        self.with(n, |now, rooms| rooms.post(now, &room(), post).unwrap());
    }

    pub fn with(&mut self, n: usize, act: impl FnOnce(Millis, &mut Rooms)) {
        let now = self.now;
        let Some(rooms) = self.nodes[n].rooms.as_mut() else { return };
        act(now, rooms);
        self.settle(n);
    }

    fn settle(&mut self, n: usize) {
        while let Some(out) = self.nodes[n].rooms.as_mut().and_then(Rooms::poll) {
            match out {
                Out::Send(to, parts) => {
                    let Some(there) = self.by_print.get(&to).copied() else { continue }; // a liar's
                    let Some(session) = self.sessions.get(&pair(n, there)).copied() else {
                        continue;
                    };
                    self.frames += parts.len() as u64;
                    // in order on one session
                    let after = self.delay;
                    self.later(after, Ev::Parts(n, there, session, parts));
                }
                Out::Keep(rows) => self.store(n, 0, rows, Vec::new()),
                Out::Write(write) => {
                    let lines = write.lines.iter().map(|l| Told1 {
                        of: l.from.of,
                        text: l.text.clone(),
                        late: l.late,
                    });
                    self.store(n, write.token, write.rows, lines.collect());
                }
                Out::Delivered(..) => self.nodes[n].delivered += 1,
                Out::Unsaid(all) => self.nodes[n].unsaid += all.len(),
            }
        }
        if let Some(at) = self.nodes[n].rooms.as_ref().and_then(Rooms::wake_at) {
            let after = at.saturating_sub(self.now).max(1);
            self.later(after, Ev::Tick(n));
        }
    }

    fn store(&mut self, n: usize, token: u64, rows: Vec<Row>, told: Vec<Told1>) {
        let runs = self.nodes[n].runs;
        self.later(10, Ev::Stored(n, runs, token, rows, told));
    }

    fn stored(&mut self, n: usize, token: u64, rows: Vec<Row>, told: Vec<Told1>) {
        let me = self.print(n);
        let node = &mut self.nodes[n];
        let kept = !node.full;
        if kept {
            for row in rows {
                match row.value {
                    Some(value) => node.disk.rows.insert(row.key, value),
                    None => node.disk.rows.remove(&row.key),
                };
            }
            for line in told {
                if line.of == me {
                    let seen = node.disk.told.iter().map(|t| t.text.clone()).collect();
                    self.causes.insert(line.text.clone(), seen);
                }
                node.disk.told.push(line);
            }
        }
        if token != 0 {
            self.with(n, |now, rooms| rooms.kept(now, token, kept));
        }
    }

    fn later(&mut self, after: Millis, ev: Ev) {
        self.seq += 1;
        self.queue.insert((self.now + after, self.seq), ev);
    }

    pub fn run(&mut self, ms: Millis) {
        let until = self.now + ms;
        while let Some((&(at, seq), _)) = self.queue.first_key_value() {
            if at > until {
                break;
            }
            self.now = at;
            match self.queue.remove(&(at, seq)).unwrap() {
                Ev::Parts(from, to, session, parts) => {
                    if self.sessions.get(&pair(from, to)) != Some(&session) {
                        continue; // lost with its session
                    }
                    if self.rng.f64() < self.breaks {
                        self.snap(from, to);
                        continue;
                    }
                    let of = self.print(from);
                    for part in parts {
                        let (part, len) = again(&part);
                        self.bytes += len;
                        self.with(to, |now, rooms| rooms.part(now, of, part).unwrap());
                    }
                }
                Ev::Link(a, b) => self.link(a, b),
                Ev::Stored(n, runs, token, rows, told) => {
                    if self.nodes[n].runs == runs && self.nodes[n].rooms.is_some() {
                        self.stored(n, token, rows, told);
                    }
                }
                Ev::Tick(n) => {
                    let due = self.nodes[n].rooms.as_ref().and_then(Rooms::wake_at);
                    if due.is_some_and(|at| at <= self.now) {
                        self.with(n, |now, rooms| rooms.tick(now));
                        let next = self.nodes[n].rooms.as_ref().and_then(Rooms::wake_at);
                        assert!(next.is_none_or(|at| at > self.now), "a busy loop");
                    }
                }
            }
        }
        self.now = until;
    }

    pub fn texts(&self, n: usize) -> Vec<String> {
        self.nodes[n].disk.told.iter().map(|t| t.text.clone()).collect()
    }

    /// All were told the same, each once, in an order that causality allows; how many were
    /// marked as late.
    pub fn agree(&self, seed: u64) -> usize {
        let all: BTreeSet<String> = self.causes.keys().cloned().collect();
        let mut late = 0;
        for n in 0..self.nodes.len() {
            let told = &self.nodes[n].disk.told;
            let texts: BTreeSet<String> = told.iter().map(|t| t.text.clone()).collect();
            assert_eq!(texts.len(), told.len(), "seed {seed}: node {n} was told one twice");
            let missing: Vec<&String> = all.difference(&texts).collect();
            assert!(missing.is_empty(), "seed {seed}: node {n} misses {missing:?}");
            let place: BTreeMap<&str, usize> =
                told.iter().enumerate().map(|(at, t)| (t.text.as_str(), at)).collect();
            for (at, line) in told.iter().enumerate() {
                late += usize::from(line.late);
                // whoever told one before its cause, and marked it, owes no order to its followers
                let excused = |cause: &String| {
                    let marked = told[..=at].iter().filter(|l| l.late);
                    let mut on_the_way = marked.filter(|l| {
                        l.text == line.text || self.causes[&line.text].contains(&l.text)
                    });
                    on_the_way.any(|l| self.causes[&l.text].contains(cause))
                };
                let before = &self.causes[&line.text];
                let after = before.iter().find(|c| place[c.as_str()] > at && !excused(c));
                assert!(
                    after.is_none(),
                    "seed {seed}: node {n} was told {} before {after:?}",
                    line.text
                );
            }
        }
        late
    }
}

/// As it comes out of the wire, and how long it is there.
fn again(part: &Part) -> (Part, usize) {
    use klatsch::dialect::link::frame::Frame;
    let bytes = Frame::Room(part.clone()).encode();
    assert!(bytes.len() <= klatsch::dialect::link::frame::MAX_FRAME);
    let Ok(Frame::Room(read)) = Frame::decode(&bytes) else { panic!("{part:?}") };
    (read, bytes.len())
}
