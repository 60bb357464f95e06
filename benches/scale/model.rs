//! A model of how klatsch nodes find each other over SLCP, small enough for 10,000 of them: what
//! `src/dialect/slcp/machine` and `src/node/lan.rs` do on a LAN that loses nothing and holds
//! klatsch nodes alone. Time goes in steps of [`STEP`].

use std::collections::VecDeque;

use klatsch::dialect::slcp::encode;
use klatsch::dialect::slcp::machine::{MAX_ANSWERS, MAX_WAITING};
use klatsch::model::Handle;
use klatsch::model::limits::MAX_HINTS;

use crate::{HEAD, Wire};

/// Milliseconds.
const STEP: u64 = 10;
/// As in `node/lan.rs`.
const MANY_ANSWERS: u32 = 24;
const FULL_ANSWER: u32 = 16;
/// As in `slcp/machine`: announcements after coming up, and when the WHO is said no more.
const ANNOUNCED_MS: [u64; 3] = [150, 1_150, 3_150];
const ENOUGH_KNOWN: u32 = 16;
const ANNOUNCE_MS: u64 = 60_000;
const JITTER_MS: u64 = 400;
const WINDOW_MS: u64 = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It asked everyone.
    All,
    /// It asked us.
    One,
    /// It is new.
    New,
}

struct Node {
    up: bool,
    /// Whom it heard: a bit each.
    heard: Vec<u64>,
    known: u32,
    /// Of whom it knows from lists alone, and when it asks them.
    hints: Vec<(u64, u32)>,
    announce: VecDeque<u64>,
    /// Answers that wait: when, to whom, why.
    waiting: Vec<(u64, u32, Why)>,
    /// To whom how much was answered in the window.
    sent: Vec<(u64, u32, u32)>,
}

/// See the module.
pub struct Model {
    pub now: u64,
    pub wire: Wire,
    /// Of it the answers to a program that is no node.
    pub foreign: Wire,
    nodes: Vec<Node>,
    rng: fastrand::Rng,
    sizes: Sizes,
}

/// Bytes of what is said.
struct Sizes {
    join: u64,
    json_join: u64,
    who: u64,
    json_who: u64,
    leave: u64,
    list: u64,
    entry: u64,
}

/// Somebody who is no node: what is answered to it teaches nobody.
const FOREIGNER: u32 = u32::MAX;

impl Model {
    pub fn new(n: usize, seed: u64) -> Model {
        let node = || Node {
            up: false,
            heard: vec![0; n.div_ceil(64)],
            known: 0,
            hints: Vec::new(),
            announce: VecDeque::new(),
            waiting: Vec::new(),
            sent: Vec::new(),
        };
        let handle = Handle::try_from("user1234").unwrap();
        let ip = std::net::Ipv4Addr::new(10, 0, 11, 11);
        let len = |bytes: Vec<u8>| bytes.len() as u64 + HEAD;
        Model {
            now: 0,
            wire: Wire::default(),
            foreign: Wire::default(),
            nodes: (0..n).map(|_| node()).collect(),
            rng: fastrand::Rng::with_seed(seed),
            sizes: Sizes {
                join: len(encode::join(&handle, 5010)),
                json_join: len(encode::json_join(&handle, ip, 5010)),
                who: len(encode::who()),
                json_who: len(encode::json_who(&handle)),
                leave: len(encode::leave(&handle)),
                list: HEAD + "KNOWUSERS ".len() as u64,
                entry: "user1234 10.0.11.11 5010, ".len() as u64,
            },
        }
    }

    /// A node comes up at a time.
    pub fn start(&mut self, n: usize, at: u64) {
        self.nodes[n].announce = ANNOUNCED_MS.map(|after| at + after).into();
    }

    /// A node says goodbye: a broadcast, and to some their own; each asks once whether it is so.
    pub fn leave(&mut self, n: usize) {
        self.nodes[n].up = false;
        self.nodes[n].announce.clear();
        let farewells = u64::from(self.nodes[n].known.min(256));
        self.say(self.sizes.leave, 1 + farewells);
        for i in 0..self.nodes.len() {
            if i != n && self.nodes[i].up && self.is_heard(i, n) {
                self.nodes[i].heard[n / 64] &= !(1 << (n % 64));
                self.nodes[i].known -= 1;
                // to its host's discovery port, and to its chat port
                self.say(self.sizes.who, 2);
            }
        }
    }

    /// A program that is not ours asks everyone.
    pub fn foreign_who(&mut self) {
        self.asked_all(FOREIGNER);
    }

    /// The fewest that any of the first so many nodes heard.
    pub fn least(&self, among: usize) -> usize {
        let all = self.nodes[..among].iter();
        all.map(|node| if node.up { node.known as usize } else { 0 }).min().unwrap_or(0)
    }

    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now += STEP;
            for n in 0..self.nodes.len() {
                self.announce(n);
            }
            for n in 0..self.nodes.len() {
                if self.nodes[n].up {
                    self.answer_due(n);
                    self.ask_hinted(n);
                }
            }
        }
    }

    fn say(&mut self, bytes: u64, times: u64) {
        self.wire.datagrams += times;
        self.wire.bytes += bytes * times;
    }

    fn announce(&mut self, n: usize) {
        if self.nodes[n].announce.front().is_none_or(|at| *at > self.now) {
            return;
        }
        self.nodes[n].announce.pop_front();
        let left = self.nodes[n].announce.len();
        let first = !self.nodes[n].up;
        self.nodes[n].up = true;
        self.say(self.sizes.join, 1);
        self.say(self.sizes.json_join, 1);
        for other in 0..self.nodes.len() {
            if other != n && self.nodes[other].up {
                self.hears(other, n);
            }
        }
        let known = self.nodes[n].known;
        let early = left > 0 || first;
        let ask = if early { first || known < ENOUGH_KNOWN } else { self.rng.u32(0..=known) < 2 };
        if ask {
            self.say(self.sizes.who, 1);
            self.say(self.sizes.json_who, 1);
            self.asked_all(n as u32);
        }
        if left == 0 {
            let tenth = ANNOUNCE_MS / 10;
            let next = self.now + ANNOUNCE_MS - tenth + self.rng.u64(0..=2 * tenth);
            self.nodes[n].announce.push_back(next);
        }
    }

    fn is_heard(&self, n: usize, who: usize) -> bool {
        self.nodes[n].heard[who / 64] >> (who % 64) & 1 == 1
    }

    /// `n` hears `who` itself.
    fn hears(&mut self, n: usize, who: usize) {
        if self.is_heard(n, who) {
            return;
        }
        let node = &mut self.nodes[n];
        node.heard[who / 64] |= 1 << (who % 64);
        node.known += 1;
        node.hints.retain(|(_, hint)| *hint != who as u32);
        if self.one_of_some(n) {
            self.wait(n, who as u32, Why::New);
        }
    }

    fn here(&self, n: usize) -> u32 {
        self.nodes[n].known + self.nodes[n].hints.len() as u32
    }

    fn one_of_some(&mut self, n: usize) -> bool {
        let here = self.here(n);
        here <= MANY_ANSWERS || self.rng.u32(..here) < MANY_ANSWERS
    }

    fn asked_all(&mut self, from: u32) {
        for n in 0..self.nodes.len() {
            if n as u32 != from && self.nodes[n].up {
                self.wait(n, from, Why::All);
            }
        }
    }

    fn wait(&mut self, n: usize, to: u32, why: Why) {
        let at = self.now + self.rng.u64(10..=JITTER_MS);
        let waiting = &mut self.nodes[n].waiting;
        if why == Why::New {
            if waiting.iter().any(|(_, who, _)| *who == to) {
                return;
            }
        } else {
            waiting.retain(|(_, who, why)| *who != to || *why != Why::New);
        }
        let asked = |(_, who, other): &(u64, u32, Why)| {
            *who == to && (*other == Why::New) == (why == Why::New)
        };
        if waiting.len() < MAX_WAITING && !waiting.iter().any(asked) {
            waiting.push((at, to, why));
        }
    }

    fn answer_due(&mut self, n: usize) {
        let now = self.now;
        let mut due = Vec::new();
        self.nodes[n].waiting.retain(|w| {
            if w.0 <= now {
                due.push(*w);
            }
            w.0 > now
        });
        for (_, to, why) in due {
            if why == Why::All && !self.one_of_some(n) {
                continue;
            }
            self.answer(n, to, why);
        }
    }

    fn may(&mut self, n: usize, to: u32) -> bool {
        let now = self.now;
        let sent = &mut self.nodes[n].sent;
        sent.retain(|(at, ..)| *at + WINDOW_MS > now);
        match sent.iter_mut().find(|(_, who, _)| *who == to) {
            Some((.., count)) if *count >= MAX_ANSWERS => false,
            Some((.., count)) => {
                *count += 1;
                true
            }
            None => {
                sent.push((now, to, 1));
                true
            }
        }
    }

    fn answer(&mut self, n: usize, to: u32, why: Why) {
        let others = if why == Why::New { Vec::new() } else { self.named(n) };
        if self.may(n, to) {
            let bytes = self.sizes.list + self.sizes.entry * (1 + others.len() as u64);
            self.say(bytes, 1);
            if to == FOREIGNER {
                self.foreign.datagrams += 1;
                self.foreign.bytes += bytes;
            }
            self.learns(to, n, &others);
        }
        if why == Why::New && self.may(n, to) {
            self.say(self.sizes.join, 1);
            self.learns(to, n, &[]);
        }
    }

    /// Whom an answer names beside the one who answers.
    fn named(&mut self, n: usize) -> Vec<u32> {
        let count = self.nodes[n].known;
        let mut named = Vec::new();
        for (word, bits) in self.nodes[n].heard.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let who = word as u32 * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                if count <= FULL_ANSWER || self.rng.u32(..count) < FULL_ANSWER {
                    named.push(who);
                }
            }
        }
        named
    }

    /// A list of `from` came to `to`.
    fn learns(&mut self, to: u32, from: usize, others: &[u32]) {
        let at = to as usize;
        if to == FOREIGNER || !self.nodes[at].up {
            return;
        }
        self.hears(at, from);
        for who in others {
            let hinted = self.nodes[at].hints.iter().any(|(_, hint)| hint == who);
            let known = *who == to || self.is_heard(at, *who as usize) || hinted;
            if !known && self.nodes[at].hints.len() < MAX_HINTS {
                let ask = self.now + self.rng.u64(50..1_500);
                self.nodes[at].hints.push((ask, *who));
            }
        }
    }

    fn ask_hinted(&mut self, n: usize) {
        for i in 0..self.nodes[n].hints.len() {
            let (at, who) = self.nodes[n].hints[i];
            if at > self.now {
                continue;
            }
            self.nodes[n].hints[i].0 = self.now + 2_000;
            self.say(self.sizes.who, 1);
            if self.nodes[who as usize].up {
                self.wait(who as usize, n as u32, Why::One);
            }
        }
    }
}
