//! The virtual network: hosts on LANs, nodes on hosts, one queue of what will happen.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;

use klatsch::config::{Kept, Settings};
use klatsch::model::{Answer, Refusal};
use klatsch::model::{
    Event, Handle, IoError, Link, Millis, Net, Now, SocketId, Status, StreamId, Trouble, Wall,
};
use klatsch::node::io::{Action, Input};
use klatsch::node::{Birth, Node};

use crate::disk::Disk;
use crate::store::Store;
use crate::tcp::{Conn, Segment};
use crate::udp::{Packet, Udp};

/// The clock of the nodes stands here when the world begins.
pub const START: Millis = 1_000_000;
/// 2026-11-21, about.
const WALL: u64 = 1_795_228_536_764;
/// A node may be woken so often in one virtual minute beside what comes in.
pub const MAX_TICKS: u64 = 6_000;

/// How a LAN treats datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Lan {
    pub loss: f64,
    pub duplication: f64,
    /// Least and most delay.
    pub delay: (Millis, Millis),
    /// What was sent later may come first.
    pub reorder: bool,
}

impl Default for Lan {
    fn default() -> Lan {
        Lan { loss: 0.0, duplication: 0.0, delay: (0, 2), reorder: false }
    }
}

/// An interface of a host.
#[derive(Clone, Debug)]
pub struct Nic {
    pub lan: usize,
    pub index: u32,
    pub ip: Ipv4Addr,
}

impl Nic {
    fn link(&self) -> Link {
        Link {
            index: self.index,
            name: format!("eth{}", self.index - 2),
            address: self.ip,
            prefix: 16,
            broadcast: Some(self.broadcast()),
        }
    }

    pub fn broadcast(&self) -> Ipv4Addr {
        let [a, b, ..] = self.ip.octets();
        Ipv4Addr::new(a, b, 255, 255)
    }

    pub fn reaches(&self, ip: Ipv4Addr) -> bool {
        self.ip.octets()[..2] == ip.octets()[..2]
    }
}

/// A machine.
pub struct Host {
    pub nics: Vec<Nic>,
    /// Hosts of another side are not reached (a partition).
    pub side: u32,
    pub up: bool,
    pub udp: Vec<Udp>,
    pub listeners: Vec<(usize, SocketId, u16)>,
}

/// A node, or what is left of one.
pub struct Slot {
    pub node: Option<Node>,
    pub host: usize,
    pub told: Vec<(Millis, Event)>,
    pub disk: Disk,
    pub store: Store,
    settings: Settings,
    pub wall_offset: i64,
    /// Ticks in the current minute, and the most in any.
    ticks: (Millis, u64),
    pub answers: HashMap<u64, Result<Answer, Refusal>>,
    pub streams: HashMap<StreamId, (usize, usize)>,
    pub next_stream: u64,
    wake: Option<Millis>,
}

pub enum Ev {
    Udp(Rc<Packet>, usize, u32),
    Input(usize, Box<Input>),
    Segment(usize, usize, Segment),
    Stalled(usize, usize, u64),
    /// A write of a node's run is durable.
    Durable(usize, u64, u64),
    /// Its node is told so.
    Stored(usize, u64, u64, Result<(), IoError>),
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Datagrams sent to a LAN, a broadcast counted once.
    pub datagrams: u64,
    /// Bytes in them, without heads.
    pub bytes: u64,
    /// Of these, broadcasts.
    pub broadcasts: u64,
    /// Datagrams that reached a host over a LAN.
    pub received: u64,
}

pub struct World {
    pub rng: fastrand::Rng,
    pub now: Millis,
    pub lans: Vec<Lan>,
    pub hosts: Vec<Host>,
    pub slots: Vec<Slot>,
    pub conns: Vec<Conn>,
    pub count: Count,
    /// Texts marked `<n>`: how often each was sent as a datagram, and came back.
    pub marked: BTreeMap<String, (u32, u32)>,
    /// While a partition lasts, its unicasts vanish rather than come back as unreachable.
    pub silent_cut: bool,
    queue: BTreeMap<(Millis, u64), Ev>,
    wakes: BTreeSet<(Millis, usize)>,
    seq: u64,
    /// When the last datagram from one host to another arrives.
    pub last_at: HashMap<(usize, usize), Millis>,
}

pub fn io_error(kind: Trouble) -> IoError {
    IoError::new(kind, format!("{kind:?}"))
}

/// What a node is born with; `None` for the handle makes it choose one by itself.
pub fn settings(handle: Option<&str>) -> Settings {
    let mut settings = Settings::default();
    settings.users[0].handle = handle.map(|h| Handle::try_from(h).unwrap());
    settings
}

fn about() -> Status {
    Status {
        version: "sim".into(),
        instance: "default".into(),
        mode: "daemon".into(),
        ..Status::default()
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            rng: fastrand::Rng::with_seed(seed),
            now: START,
            lans: vec![Lan::default()],
            hosts: Vec::new(),
            slots: Vec::new(),
            conns: Vec::new(),
            count: Count::default(),
            marked: BTreeMap::new(),
            silent_cut: false,
            queue: BTreeMap::new(),
            wakes: BTreeSet::new(),
            seq: 0,
            last_at: HashMap::new(),
        }
    }

    /// A machine with an interface on each of these LANs.
    pub fn host(&mut self, lans: &[usize]) -> usize {
        let n = self.hosts.len();
        let nics = lans.iter().enumerate().map(|(i, lan)| Nic {
            lan: *lan,
            index: u32::try_from(i).unwrap() + 2,
            ip: address(*lan, n),
        });
        let nics = nics.collect();
        let host = Host { nics, side: 0, up: true, udp: Vec::new(), listeners: Vec::new() };
        self.hosts.push(host);
        n
    }

    /// A node on a host, started now.
    pub fn node(&mut self, host: usize, settings: Settings) -> usize {
        let n = self.slots.len();
        let disk = Disk::new(settings.imagepath.display().to_string());
        self.slots.push(Slot {
            node: None,
            host,
            told: Vec::new(),
            disk,
            store: Store::default(),
            settings,
            wall_offset: 0,
            ticks: (0, 0),
            answers: HashMap::new(),
            streams: HashMap::new(),
            next_stream: 0,
            wake: None,
        });
        self.start(n);
        n
    }

    /// Its process starts (again), with what was kept.
    pub fn start(&mut self, n: usize) {
        let birth = Birth {
            settings: self.slots[n].settings.clone(),
            kept: Kept::default(),
            epoch: self.rng.u64(..),
            seed: self.rng.u64(..),
            fallback: Handle::nearest("box"),
            join: true,
            about: about(),
            remembered: self.slots[n].store.remembered(),
            identity: None,
        };
        let node = Node::new(self.now_of(n), birth);
        self.slots[n].node = Some(node);
        let links = self.links(self.slots[n].host);
        self.feed(n, Input::Links(links));
    }

    /// A node of this handle on a new host of LAN 0.
    pub fn single(&mut self, handle: &str) -> usize {
        let host = self.host(&[0]);
        self.node(host, settings(Some(handle)))
    }

    pub fn links(&self, host: usize) -> Vec<Link> {
        let lo = Link {
            index: 1,
            name: "lo".into(),
            address: Ipv4Addr::LOCALHOST,
            prefix: 8,
            broadcast: Some(Ipv4Addr::new(127, 255, 255, 255)),
        };
        std::iter::once(lo).chain(self.hosts[host].nics.iter().map(Nic::link)).collect()
    }

    /// The host's interfaces changed: its nodes are told.
    pub fn renumber(&mut self, host: usize, nics: Vec<Nic>) {
        self.hosts[host].nics = nics;
        for n in 0..self.slots.len() {
            if self.slots[n].host == host {
                self.feed(n, Input::Links(self.links(host)));
            }
        }
    }

    /// The process ends without a word.
    pub fn crash(&mut self, n: usize) {
        let host = self.slots[n].host;
        self.slots[n].node = None;
        self.slots[n].store.crash();
        self.hosts[host].udp.retain(|u| u.node != n);
        self.hosts[host].listeners.retain(|l| l.0 != n);
        let streams: Vec<StreamId> = self.slots[n].streams.keys().copied().collect();
        for stream in streams {
            self.tcp_close(n, stream);
        }
        self.set_wake(n, None);
    }

    /// The process ends with a goodbye.
    pub fn quit(&mut self, n: usize) {
        self.feed(n, Input::Goodbye);
        let _ = self.slots[n].store.sync(u64::MAX);
        self.crash(n);
    }

    pub fn later(&mut self, after: Millis, ev: Ev) {
        self.seq += 1;
        self.queue.insert((self.now + after, self.seq), ev);
    }

    pub fn give(&mut self, after: Millis, n: usize, input: Input) {
        self.later(after, Ev::Input(n, Box::new(input)));
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, ms: Millis) {
        let until = self.now + ms;
        loop {
            let wake = self.wakes.first().copied();
            let next = self.queue.first_key_value().map(|(key, _)| *key);
            match (wake, next) {
                (Some((at, n)), next) if at <= until && next.is_none_or(|(t, _)| at <= t) => {
                    self.now = self.now.max(at);
                    self.tick(n);
                }
                (_, Some((at, _))) if at <= until => {
                    self.now = self.now.max(at);
                    if let Some((_, ev)) = self.queue.pop_first() {
                        self.happen(ev);
                    }
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn tick(&mut self, n: usize) {
        let minute = self.now / 60_000;
        let ticks = &mut self.slots[n].ticks;
        *ticks = if ticks.0 == minute { (minute, ticks.1 + 1) } else { (minute, 1) };
        assert!(ticks.1 <= MAX_TICKS, "node {n} was woken {} times in one minute", ticks.1);
        self.feed(n, Input::Tick);
        let wake = self.slots[n].wake;
        let now = self.now;
        assert!(
            wake.is_none_or(|at| at > now),
            "node {n} wants to be woken at {wake:?}, it is {now} already: a busy loop"
        );
    }

    /// The most often that a node was woken in the current minute.
    pub fn ticks(&self, n: usize) -> u64 {
        self.slots[n].ticks.1
    }

    fn set_wake(&mut self, n: usize, wake: Option<Millis>) {
        if let Some(at) = self.slots[n].wake.take() {
            self.wakes.remove(&(at, n));
        }
        self.slots[n].wake = wake;
        if let Some(at) = wake {
            self.wakes.insert((at, n));
        }
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Udp(packet, host, link) => self.arrive(&packet, host, link),
            Ev::Input(n, input) => self.feed(n, *input),
            Ev::Segment(conn, end, segment) => self.segment(conn, end, segment),
            Ev::Stalled(conn, end, written) => self.write_stalled(conn, end, written),
            Ev::Durable(n, run, write) => {
                if self.slots[n].store.run == run {
                    if let Some(result) = self.slots[n].store.sync(write) {
                        let after = self.rng.u64(0..3);
                        self.later(after, Ev::Stored(n, run, write, result));
                    }
                }
            }
            Ev::Stored(n, run, write, result) => {
                if self.slots[n].store.run == run {
                    self.feed(n, Input::Stored(write, result));
                }
            }
        }
    }

    pub fn now_of(&self, n: usize) -> Now {
        let wall = (WALL + self.now).saturating_add_signed(self.slots[n].wall_offset);
        Now { mono: self.now, wall: Wall(wall) }
    }

    /// Feeds one input and performs all that comes of it.
    pub fn feed(&mut self, n: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.now_of(n);
            let Some(node) = self.slots[n].node.as_mut() else { return };
            node.handle(now, input);
            while let Some(action) = self.slots[n].node.as_mut().and_then(Node::poll) {
                self.act(n, action, &mut inputs);
            }
        }
        let wake = self.slots[n].node.as_ref().and_then(Node::wake_at);
        self.set_wake(n, wake);
    }

    fn act(&mut self, n: usize, action: Action, at_once: &mut VecDeque<Input>) {
        match action {
            Action::Net(Net::Bind(socket, bind)) => at_once.push_back(self.bind(n, socket, bind)),
            Action::Net(Net::Unbind(socket)) => {
                let host = &mut self.hosts[self.slots[n].host];
                host.udp.retain(|u| (u.node, u.socket) != (n, socket));
                host.listeners.retain(|l| (l.0, l.1) != (n, socket));
            }
            Action::Net(Net::Send { socket, to, bytes }) => {
                if let Some(error) = self.send(n, socket, to, bytes.clone()) {
                    at_once.push_back(Input::Unreachable { socket, to, bytes, error });
                }
            }
            Action::Net(net) => self.tcp(n, net),
            Action::File(file, op) => {
                if let Some(result) = self.slots[n].disk.perform(file, op) {
                    let after = self.rng.u64(0..3);
                    self.give(after, n, Input::File(file, result));
                }
            }
            Action::Answer(ticket, answer) => {
                self.slots[n].answers.insert(ticket.0, answer);
            }
            Action::Tell(event) => {
                let now = self.now;
                self.slots[n].told.push((now, event));
            }
            Action::Store { n: write, changes, wanted } => {
                let store = &mut self.slots[n].store;
                let run = store.run;
                let (least, most) = if wanted { store.delay } else { (500, 2_000) };
                store.write(write, changes);
                let after = self.rng.u64(least..=most);
                self.later(after, Ev::Durable(n, run, write));
            }
            Action::Query(ticket, query) => {
                let found = self.slots[n].store.answer(query);
                self.give(1, n, Input::Found(ticket, Ok(found)));
            }
            Action::Keep(_) | Action::Show { .. } => {}
        }
    }
}

/// The address of the `n`th host on a LAN.
pub fn address(lan: usize, n: usize) -> Ipv4Addr {
    let byte = |n: usize| u8::try_from(n).unwrap();
    Ipv4Addr::new(10, byte(lan), byte(1 + n / 200), byte(1 + n % 200))
}
