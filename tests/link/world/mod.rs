//! Boxes, their disks, and the network between them. All of it follows from one seed.
//!
//! Here is what happens when; `node` is a box and its disk, `network` what is between them.

mod network;
mod node;

use std::collections::{BTreeMap, HashMap};

use klatsch::dialect::link::machine::{Beaconed, Machine};
use klatsch::dialect::link::words::{Keep, Out};
use klatsch::model::{Handle, IoError, Millis, StreamId, Trouble};

use crate::shelf::Answer;
use network::Conn;
use node::{Node, Write};

pub use network::Weather;

pub const PORT: u16 = 5009;
/// Ticks of one node in a minute …
const MAX_TICKS: u64 = 1_000;
/// … or for each node there is, where that is more: when all of two hundred lose each other each of
/// them is called, answered or given up, and asked whether it lives, within it.
const TICKS_FOR_EACH: u64 = 20;

pub fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}

enum Ev {
    Beacon(usize, Beaconed),
    Connected(usize, StreamId),
    Refused(usize, StreamId),
    Move(usize, usize),
    Wrote(usize, usize),
    Stored(usize, u64),
    File(usize, u64, u64, u64),
    Tick(usize),
}

pub struct World {
    pub now: Millis,
    pub rng: fastrand::Rng,
    pub weather: Weather,
    /// Not 0: the clocks that people see jump to and fro.
    pub skew: u64,
    pub nodes: Vec<Node>,
    pub sent: u64,
    /// Beacons put on the wire.
    pub beacons: u64,
    pub handshakes: u64,
    /// Calls that were tried.
    pub dials: u64,
    conns: BTreeMap<usize, Conn>,
    /// Which connection a stream of a node is an end of.
    ends: HashMap<(usize, StreamId), (usize, usize)>,
    next_conn: usize,
    queue: BTreeMap<(Millis, u64), Ev>,
    seq: u64,
    /// What went over the wire, by connection and direction, if wanted.
    pub tape: Option<Vec<(usize, usize, Vec<u8>)>>,
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: 1_000_000,
            rng: fastrand::Rng::with_seed(seed),
            weather: Weather::default(),
            skew: 0,
            nodes: Vec::new(),
            sent: 0,
            beacons: 0,
            handshakes: 0,
            dials: 0,
            conns: BTreeMap::new(),
            ends: HashMap::new(),
            next_conn: 0,
            queue: BTreeMap::new(),
            seq: 0,
            tape: None,
        }
    }

    /// A box with one user, started now.
    pub fn node(&mut self, name: &str) -> usize {
        let n = self.add(name);
        self.start(n);
        n
    }

    pub fn with(&mut self, n: usize, act: impl FnOnce(Millis, &mut Machine)) {
        let now = self.now;
        let Some(machine) = self.nodes[n].machine.as_mut() else { return };
        act(now, machine);
        self.settle(n);
    }

    fn settle(&mut self, n: usize) {
        while let Some(out) = self.nodes[n].machine.as_mut().and_then(Machine::poll) {
            match out {
                Out::Net(net) => self.net(n, net),
                Out::Keep(Keep { token, rows }) => {
                    self.store(n, Write { rows, token, ..Write::default() });
                }
                Out::File(no, act) => {
                    let full = self.nodes[n].full;
                    let node = &mut self.nodes[n];
                    if let Some(turn) = node.desk.put(&mut node.disk.shelf, no, act, full) {
                        let after = self.rng.u64(1..6);
                        let runs = self.nodes[n].runs;
                        self.later(after, Ev::File(n, runs, no, turn));
                    }
                }
                Out::Heard(heard) => self.heard(n, heard),
            }
        }
        if let Some(at) = self.nodes[n].machine.as_ref().and_then(Machine::wake_at) {
            let after = at.saturating_sub(self.now).max(1);
            // stale ones are harmless
            self.later(after, Ev::Tick(n));
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
            match self.queue.remove(&(at, seq)).expect("it was there") {
                Ev::Beacon(n, came) => self.with(n, |now, m| m.beaconed(now, &came)),
                Ev::Connected(n, stream) => self.with(n, |now, m| m.connected(now, stream)),
                Ev::Refused(n, stream) => {
                    let error = IoError::new(Trouble::TimedOut, "no answer in time");
                    self.with(n, |now, m| m.stream_closed(now, stream, &error));
                }
                Ev::Move(id, end) => self.carry(id, end),
                Ev::Wrote(id, end) => {
                    let end = self.conns.get(&id).and_then(|c| c.ends[end]);
                    if let Some((n, stream)) = end {
                        self.with(n, |now, m| m.wrote(now, stream));
                    }
                }
                Ev::Stored(n, runs) => self.stored(n, runs),
                Ev::File(n, runs, no, turn) if self.nodes[n].runs == runs => {
                    let node = &mut self.nodes[n];
                    let answer = node.desk.take(no, turn);
                    match answer {
                        None => {}
                        Some(Answer::Opened(r)) => self.with(n, |now, m| m.file_opened(now, no, r)),
                        Some(Answer::Read(r)) => self.with(n, |now, m| m.file_read(now, no, r)),
                        Some(Answer::Ready(r)) => self.with(n, |now, m| m.file_ready(now, no, r)),
                        Some(Answer::Done(r)) => self.with(n, |now, m| m.file_done(now, no, r)),
                        Some(Answer::Whole) => {
                            let machine = node.machine.as_mut();
                            if let Some(keep) = machine.and_then(|m| m.take_done(no)) {
                                let Keep { token, rows } = keep;
                                self.store(n, Write { rows, token, ..Write::default() });
                            }
                            self.settle(n);
                        }
                    }
                }
                Ev::File(..) => {}
                Ev::Tick(n) => {
                    let wake = self.nodes[n].machine.as_ref().and_then(Machine::wake_at);
                    if wake.is_some_and(|at| at <= self.now) {
                        self.with(n, |now, m| m.tick(now));
                        let wake = self.nodes[n].machine.as_ref().and_then(Machine::wake_at);
                        assert!(wake.is_none_or(|at| at > self.now), "a busy loop");
                        let minute = self.now / 60_000;
                        let count = self.nodes.len() as u64;
                        let ticks = &mut self.nodes[n].ticks;
                        *ticks =
                            if ticks.0 == minute { (minute, ticks.1 + 1) } else { (minute, 1) };
                        let most = MAX_TICKS.max(TICKS_FOR_EACH * count);
                        assert!(ticks.1 < most, "node {n} ticks {} times a minute", ticks.1);
                    }
                }
            }
        }
        self.now = until;
    }
}
