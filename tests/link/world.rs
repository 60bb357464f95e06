//! Boxes, their disks, and the network between them. All of it follows from one seed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use klatsch::dialect::link::machine::{Beaconed, CAPABILITIES, CannotSend, Machine, Taking};
use klatsch::dialect::link::noise::{Fingerprint, Secret};
use klatsch::dialect::link::words::{
    Content, Far, FileNews, Heard, Keep, Me, Named, Out, Row, Sending, Setup,
};

use crate::shelf::{Answer, Desk, Shelf};
use klatsch::model::limits::CHUNK;
use klatsch::model::net::{ACCEPTED, Interface};
use klatsch::model::{
    Bind, EntryId, Handle, IoError, Millis, Net, SocketId, StreamId, Trouble, Wall,
};

pub const PORT: u16 = 5009;
/// Bytes that a connection holds each way before a write waits.
const PIPE: usize = 64 * 1024;
/// Ticks of one node in a minute.
const MAX_TICKS: u64 = 1_000;
const STREAMS: u64 = 1 << 40;

pub fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of datagrams and of attempts to connect.
    pub loss: f64,
    pub duplication: f64,
    pub delay: (Millis, Millis),
    /// That a connection breaks, per piece delivered.
    pub breaks: f64,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { loss: 0.0, duplication: 0.0, delay: (0, 3), breaks: 0.0 }
    }
}

/// A message as it lies on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub from: Far,
    pub to: Handle,
    pub text: String,
}

/// What was sent to whom.
pub type Sent = (EntryId, Far);
/// None while it waits; then whether it was refused, and why.
pub type Fate = Option<Option<String>>;

/// What survives a crash.
#[derive(Clone, Default)]
pub struct Disk {
    pub rows: BTreeMap<String, Vec<u8>>,
    pub got: Vec<Got>,
    pub sent: BTreeMap<Sent, Fate>,
    pub shelf: Shelf,
}

#[derive(Default)]
struct Write {
    rows: Vec<Row>,
    got: Option<Got>,
    sent: Vec<(Sent, Fate)>,
    token: u64,
    /// Messages of a room, and the token they wait under.
    room: Option<(u64, Vec<(Fingerprint, String)>)>,
    at: Millis,
}

pub struct Node {
    pub machine: Option<Machine>,
    pub secret: Secret,
    pub users: Vec<Me>,
    pub named: Vec<Named>,
    pub capabilities: u32,
    pub tell: bool,
    /// What people there read, as its author calls it.
    pub read: Vec<EntryId>,
    /// What it was told in rooms, on the disk, and of what it wrote that arrived.
    pub room: Vec<(Fingerprint, String)>,
    pub arrived: usize,
    /// It hears no beacon.
    pub deaf: bool,
    /// Which addresses of others are proven, as it was told.
    pub v4_of: BTreeMap<Far, Vec<Ipv4Addr>>,
    pub disk: Disk,
    pub full: bool,
    /// What it said of people, in words.
    pub told: Vec<String>,
    pub here: BTreeSet<Far>,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    pub side: u32,
    pub listening: Option<(SocketId, u16)>,
    pub beacons: [bool; 2],
    pub complaints: Vec<String>,
    /// Files that are open.
    pub desk: Desk,
    /// Whether offers are accepted without a word.
    pub accepts: bool,
    writes: VecDeque<Write>,
    entries: u64,
    runs: u64,
    accepted: u64,
    ticks: (Millis, u64),
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The reader wants more.
    wanted: bool,
    /// Something is on its way to the reader.
    moving: bool,
    /// The writer waits for room.
    waiting: bool,
    fin: bool,
}

struct Conn {
    /// Node and stream at each end; none: that end is closed.
    ends: [Option<(usize, StreamId)>; 2],
    pipes: [Pipe; 2],
    /// Nothing comes through any more, and nobody is told.
    dead: bool,
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

    /// A box with one user, not started.
    pub fn add(&mut self, name: &str) -> usize {
        let n = self.nodes.len();
        let mut secret = [0; 32];
        secret.fill_with(|| self.rng.u8(..));
        let low = u16::try_from(n + 1).unwrap();
        self.nodes.push(Node {
            machine: None,
            secret: Secret::new(secret),
            users: vec![Me { handle: handle(name), guest: false, joined: true, away: None }],
            named: Vec::new(),
            capabilities: CAPABILITIES,
            tell: false,
            read: Vec::new(),
            room: Vec::new(),
            arrived: 0,
            deaf: false,
            v4_of: BTreeMap::new(),
            disk: Disk::default(),
            full: false,
            told: Vec::new(),
            here: BTreeSet::new(),
            v4: Some(Ipv4Addr::from(0x0a00_0000 + u32::from(low))),
            v6: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, low)),
            side: 0,
            listening: None,
            beacons: [false; 2],
            complaints: Vec::new(),
            desk: Desk::default(),
            accepts: true,
            writes: VecDeque::new(),
            entries: 0,
            runs: 0,
            accepted: 0,
            ticks: (0, 0),
        });
        n
    }

    pub fn print(&self, n: usize) -> Fingerprint {
        self.nodes[n].secret.public().fingerprint()
    }

    pub fn far(&self, n: usize) -> Far {
        Far { of: self.print(n), handle: self.nodes[n].users[0].handle.clone() }
    }

    pub fn start(&mut self, n: usize) {
        let mut seed = [0; 32];
        seed.fill_with(|| self.rng.u8(..));
        let node = &mut self.nodes[n];
        node.runs += 1;
        let setup = Setup {
            secret: node.secret.clone(),
            seed,
            port: PORT,
            beacon_port: PORT,
            beacon: true,
            announce: 60_000,
            named: node.named.clone(),
            capabilities: node.capabilities,
            tell: node.tell,
            keep: 24 * 60 * 60_000,
            sockets: 100,
            streams: STREAMS,
        };
        let rows: Vec<Row> = node
            .disk
            .rows
            .iter()
            .map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) })
            .collect();
        let mut machine = Machine::new(self.now, setup, &rows);
        machine.set_users(self.now, node.users.clone());
        node.machine = Some(machine);
        self.links(n);
    }

    /// Tells a node which interfaces it has.
    pub fn links(&mut self, n: usize) {
        let (v4, v6) = (self.nodes[n].v4.is_some(), self.nodes[n].v6.is_some());
        let all = vec![Interface { index: 2, name: "eth0".into(), v4, v6 }];
        self.with(n, |now, m| m.set_interfaces(now, all));
    }

    /// The process ends without a word; what was not durable is lost.
    pub fn crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.machine = None;
        node.writes.clear();
        node.listening = None;
        node.beacons = [false; 2];
        node.here.clear();
        node.desk = Desk::default();
        node.disk.shelf.power_cut(&mut self.rng);
        let ids: Vec<usize> = self.conns.keys().copied().collect();
        for id in ids {
            for end in 0..2 {
                let ends = self.conns.get(&id).map(|c| c.ends);
                if ends.and_then(|e| e[end]).is_some_and(|(m, _)| m == n) {
                    self.close(id, end, true);
                }
            }
        }
    }

    /// The host gets other addresses: what was connected over the old ones is dead.
    pub fn renumber(&mut self, n: usize, low: u16) {
        self.nodes[n].v4 = self.nodes[n].v4.map(|_| Ipv4Addr::from(0x0a00_0000 + u32::from(low)));
        self.nodes[n].v6 = self.nodes[n].v6.map(|_| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, low));
        self.cut(n);
        self.with(n, |now, m| m.set_interfaces(now, Vec::new()));
        self.links(n);
    }

    /// Every connection of a node is dead, and nobody is told.
    pub fn cut(&mut self, n: usize) {
        for conn in self.conns.values_mut() {
            if conn.ends.iter().flatten().any(|(m, _)| *m == n) {
                conn.dead = true;
            }
        }
    }

    /// Nodes of another side are not reached.
    pub fn partition(&mut self, n: usize, side: u32) {
        self.nodes[n].side = side;
        let nodes = &self.nodes;
        for conn in self.conns.values_mut() {
            let sides: Vec<u32> = conn.ends.iter().flatten().map(|(m, _)| nodes[*m].side).collect();
            conn.dead |= sides.windows(2).any(|w| w[0] != w[1]);
        }
    }

    /// Breaks every connection, with word to both ends.
    pub fn break_all(&mut self) {
        let ids: Vec<usize> = self.conns.keys().copied().collect();
        for id in ids {
            self.snap(id);
        }
    }

    fn snap(&mut self, id: usize) {
        let Some(conn) = self.conns.remove(&id) else { return };
        for (n, stream) in conn.ends.into_iter().flatten() {
            let error = IoError::new(Trouble::Reset, "broken");
            self.with(n, |now, m| m.stream_closed(now, stream, &error));
        }
    }

    /// Sends a text; what it is called.
    pub fn say(&mut self, n: usize, to: &Far, text: &str) -> EntryId {
        let content = Content::Text { text: text.into(), autoreply: false, lobby: false };
        self.say_content(n, to, content)
    }

    pub fn say_content(&mut self, n: usize, to: &Far, content: Content) -> EntryId {
        let node = &mut self.nodes[n];
        node.entries += 1;
        let entry = EntryId { epoch: node.runs, n: node.entries };
        let sending = Sending {
            entry,
            from: node.users[0].handle.clone(),
            to: to.clone(),
            said: Wall(self.now * self.skew % 1_000_000_007),
            content,
        };
        let keep = node.machine.as_mut().expect("it runs").send(sending).expect("it can be sent");
        let mut write = Write { rows: keep.rows, token: keep.token, ..Write::default() };
        write.sent.push(((entry, to.clone()), None));
        self.store(n, write);
        self.sent += 1;
        entry
    }

    /// Offers a file or folder of its disk; the machine's number of it.
    pub fn give(&mut self, n: usize, to: &Far, path: &str) -> Result<u64, CannotSend> {
        let node = &mut self.nodes[n];
        node.entries += 1;
        let entry = EntryId { epoch: node.runs, n: node.entries };
        let (offer, stamp) = node.disk.shelf.look(path);
        let sending = Sending {
            entry,
            from: node.users[0].handle.clone(),
            to: to.clone(),
            said: Wall(0),
            content: Content::Offer(offer.clone()),
        };
        let machine = node.machine.as_mut().expect("it runs");
        let (no, keep) = machine.offer(sending, offer, path.into(), stamp)?;
        let Keep { token, rows } = keep;
        self.store(n, Write { rows, token, ..Write::default() });
        Ok(no)
    }

    /// What a machine gives back to be kept is kept.
    pub fn keep(&mut self, n: usize, keep: Keep) {
        let Keep { token, rows } = keep;
        self.store(n, Write { rows, token, ..Write::default() });
        self.settle(n);
    }

    fn store(&mut self, n: usize, mut write: Write) {
        let after = self.rng.u64(1..20);
        let last = self.nodes[n].writes.back().map_or(0, |w| w.at);
        write.at = (self.now + after).max(last);
        let at = write.at - self.now;
        self.nodes[n].writes.push_back(write);
        let runs = self.nodes[n].runs;
        self.later(at, Ev::Stored(n, runs));
    }

    fn stored(&mut self, n: usize, runs: u64) {
        if self.nodes[n].runs != runs || self.nodes[n].machine.is_none() {
            return;
        }
        while self.nodes[n].writes.front().is_some_and(|w| w.at <= self.now) {
            let node = &mut self.nodes[n];
            let Some(write) = node.writes.pop_front() else { return };
            let kept = !node.full;
            if kept {
                for row in write.rows {
                    match row.value {
                        Some(value) => node.disk.rows.insert(row.key, value),
                        None => node.disk.rows.remove(&row.key),
                    };
                }
                node.disk.got.extend(write.got);
                node.disk.sent.extend(write.sent);
            }
            if let Some((token, lines)) = write.room {
                node.room.extend(lines.into_iter().filter(|_| kept));
                self.with(n, |now, m| m.room_kept(now, token, kept));
            }
            if write.token != 0 {
                self.with(n, |now, m| m.kept(now, write.token, kept));
            }
        }
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

    fn heard(&mut self, n: usize, heard: Heard) {
        match heard {
            Heard::Message { token, from, to, content, .. } => {
                let machine = self.nodes[n].machine.as_mut().expect("it said so");
                let (keep, got) = match content {
                    Content::Text { text, .. } if text != "refuse me" => {
                        (machine.take(token), Some(Got { from, to, text }))
                    }
                    Content::Offer(_) => {
                        let node = &mut self.nodes[n];
                        node.entries += 1;
                        let entry = EntryId { epoch: node.runs, n: node.entries };
                        let stem = format!("{entry}");
                        let accepted = node.accepts;
                        let machine = node.machine.as_mut().expect("it said so");
                        let taking = Taking { entry, stem, accepted, image: false };
                        let Some((_, keep)) = machine.take_offer(token, taking) else { return };
                        let Keep { token, rows } = keep;
                        return self.store(n, Write { rows, token, ..Write::default() });
                    }
                    _ => (machine.refuse(token, "not wanted"), None),
                };
                let write = Write { rows: keep.rows, token: keep.token, got, ..Write::default() };
                self.store(n, write);
            }
            Heard::File { no, news } => {
                let node = &mut self.nodes[n];
                match news {
                    FileNews::Over(outcome, why) => {
                        node.disk.shelf.over.push((outcome, why.clone()));
                        node.told.push(format!("file over: {outcome:?} {why}"));
                        node.desk.forget(no);
                    }
                    FileNews::Rests(why) => node.told.push(format!("file rests: {why}")),
                    FileNews::Moved => {}
                }
            }
            Heard::Settled { done, rows } => {
                let done = done.into_iter().filter(|s| !s.offer);
                let sent = done.map(|s| ((s.entry, s.to), Some(s.refused))).collect();
                self.store(n, Write { rows, sent, ..Write::default() });
            }
            Heard::Here { who, v4, .. } => {
                self.nodes[n].v4_of.insert(who.clone(), v4);
                self.nodes[n].told.push(format!("here {}", who.handle));
                self.nodes[n].here.insert(who);
            }
            Heard::Gone { who, why } => {
                self.nodes[n].told.push(format!("gone {} ({why})", who.handle));
                self.nodes[n].here.remove(&who);
            }
            Heard::Complaint { text, .. } => self.nodes[n].complaints.push(text),
            Heard::Changed { claim, .. } => {
                self.nodes[n].told.push(format!("changed {}", claim.handle));
            }
            Heard::Pinned(who) => self.nodes[n].told.push(format!("pinned {}", who.handle)),
            Heard::Twin(_) => self.nodes[n].told.push("twin".into()),
            Heard::Room(write) => {
                let lines = write.lines.iter().map(|l| (l.from.of, l.text.clone())).collect();
                let room = Some((write.token, lines));
                self.store(n, Write { rows: write.rows, room, ..Write::default() });
            }
            Heard::RoomDelivered { to, .. } => self.nodes[n].arrived += to.len(),
            Heard::Read { entries, .. } => self.nodes[n].read.extend(entries),
            Heard::Unsaid(_) | Heard::Trouble(_) => {}
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
                        let ticks = &mut self.nodes[n].ticks;
                        *ticks =
                            if ticks.0 == minute { (minute, ticks.1 + 1) } else { (minute, 1) };
                        assert!(ticks.1 < MAX_TICKS, "node {n} ticks {} times a minute", ticks.1);
                    }
                }
            }
        }
        self.now = until;
    }

    fn net(&mut self, n: usize, net: Net) {
        match net {
            Net::Bind(socket, Bind::Multicast { v6, .. }) => {
                self.nodes[n].beacons[usize::from(v6)] = true;
                self.with(n, |now, m| m.bound(now, socket));
            }
            Net::Bind(socket, Bind::TcpBoth(port)) => {
                self.nodes[n].listening = Some((socket, port));
                self.with(n, |now, m| m.bound(now, socket));
            }
            Net::Cast { to, bytes, .. } => self.cast(n, to.is_ipv6(), bytes),
            Net::Dial(stream, to) => self.dial(n, stream, to),
            Net::Write(stream, bytes) => {
                let Some((id, end)) = self.end(n, stream) else { return };
                if let Some(tape) = &mut self.tape {
                    tape.push((id, end, bytes.clone()));
                }
                let Some(conn) = self.conns.get_mut(&id) else { return };
                let pipe = &mut conn.pipes[end];
                pipe.bytes.extend(&bytes);
                if pipe.bytes.len() <= PIPE {
                    self.later(0, Ev::Wrote(id, end));
                } else {
                    pipe.waiting = true;
                }
                self.moves(id, end);
            }
            Net::ReadMore(stream) => {
                let Some((id, end)) = self.end(n, stream) else { return };
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.pipes[1 - end].wanted = true;
                }
                self.moves(id, 1 - end);
            }
            Net::Close(stream) => {
                if let Some((id, end)) = self.end(n, stream) {
                    self.close(id, end, false);
                }
            }
            _ => {}
        }
    }

    fn end(&self, n: usize, stream: StreamId) -> Option<(usize, usize)> {
        let (id, end) = *self.ends.get(&(n, stream))?;
        let conn = self.conns.get(&id)?;
        (conn.ends[end] == Some((n, stream))).then_some((id, end))
    }

    /// One end is gone: what it wrote still arrives, unless the process died.
    fn close(&mut self, id: usize, end: usize, crash: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[end] = None;
        conn.pipes[end].fin = true;
        if crash {
            conn.pipes[end].bytes.clear();
        }
        if conn.ends == [None, None] {
            self.conns.remove(&id);
            return;
        }
        self.moves(id, end);
    }

    fn moves(&mut self, id: usize, end: usize) {
        let (low, high) = self.weather.delay;
        let after = self.rng.u64(low..=high);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[end];
        if pipe.moving || conn.dead || (pipe.bytes.is_empty() && !pipe.fin) || !pipe.wanted {
            return;
        }
        pipe.moving = true;
        self.later(after, Ev::Move(id, end));
    }

    fn carry(&mut self, id: usize, end: usize) {
        let broken = self.rng.f64() < self.weather.breaks;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.dead {
            return;
        }
        if broken {
            return self.snap(id);
        }
        let pipe = &mut conn.pipes[end];
        (pipe.moving, pipe.wanted) = (false, false);
        let len = pipe.bytes.len().min(CHUNK);
        let bytes: Vec<u8> = pipe.bytes.drain(..len).collect();
        let room = pipe.waiting && pipe.bytes.len() <= PIPE;
        if room {
            pipe.waiting = false;
        }
        let to = conn.ends[1 - end];
        if room {
            self.later(0, Ev::Wrote(id, end));
        }
        let Some((n, stream)) = to else { return };
        if bytes.is_empty() {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            conn.pipes[end].fin = false; // told once
            self.with(n, |now, m| m.stream_end(now, stream));
        } else {
            self.with(n, |now, m| m.stream_bytes(now, stream, &bytes));
        }
    }

    fn reach(&self, a: usize, b: usize) -> bool {
        a != b && self.nodes[a].side == self.nodes[b].side
    }

    fn cast(&mut self, n: usize, v6: bool, bytes: Vec<u8>) {
        self.beacons += 1;
        let from = match (v6, self.nodes[n].v4, self.nodes[n].v6) {
            (true, _, Some(ip)) => SocketAddr::V6(SocketAddrV6::new(ip, PORT, 0, 2)),
            (false, Some(ip), _) => SocketAddr::new(ip.into(), PORT),
            _ => return,
        };
        for to in 0..self.nodes.len() {
            let node = &self.nodes[to];
            let has = if v6 { node.v6.is_some() } else { node.v4.is_some() };
            if !self.reach(n, to) || node.machine.is_none() || !has || node.deaf {
                continue;
            }
            let socket = SocketId(100 + u32::from(v6));
            let copies = 1 + usize::from(self.rng.f64() < self.weather.duplication);
            for _ in 0..copies {
                if self.rng.f64() < self.weather.loss {
                    continue;
                }
                let (low, high) = self.weather.delay;
                let after = self.rng.u64(low..=high);
                let came = Beaconed { socket, from, link: 2, bytes: bytes.clone() };
                self.later(after, Ev::Beacon(to, came));
            }
        }
    }

    fn dial(&mut self, n: usize, stream: StreamId, to: SocketAddr) {
        self.dials += 1;
        let there = (0..self.nodes.len()).find(|m| {
            let node = &self.nodes[*m];
            let ip = match to.ip() {
                IpAddr::V4(ip) => node.v4 == Some(ip),
                IpAddr::V6(ip) => node.v6 == Some(ip),
            };
            ip && self.reach(n, *m) && node.listening.is_some_and(|(_, p)| p == to.port())
        });
        let lost = self.rng.f64() < self.weather.loss;
        let Some(there) = there.filter(|_| !lost) else {
            let after = self.rng.u64(1..3_000);
            return self.later(after, Ev::Refused(n, stream));
        };
        self.handshakes += 1;
        let from = match to {
            SocketAddr::V4(_) => SocketAddr::new(self.nodes[n].v4.expect("it sent").into(), 40_000),
            SocketAddr::V6(_) => {
                let ip = self.nodes[n].v6.expect("it sent");
                SocketAddr::V6(SocketAddrV6::new(ip, 40_000, 0, 2))
            }
        };
        self.nodes[there].accepted += 1;
        let other = StreamId(ACCEPTED | self.nodes[there].accepted);
        let id = self.next_conn;
        self.next_conn += 1;
        let mut conn = Conn {
            ends: [Some((n, stream)), Some((there, other))],
            pipes: [Pipe::default(), Pipe::default()],
            dead: false,
        };
        conn.pipes[0].wanted = true;
        conn.pipes[1].wanted = true;
        self.conns.insert(id, conn);
        self.ends.insert((n, stream), (id, 0));
        self.ends.insert((there, other), (id, 1));
        let socket = self.nodes[there].listening.expect("it listens").0;
        self.later(1, Ev::Connected(n, stream));
        self.with(there, |now, m| m.accepted(now, socket, other, from));
    }

    /// Texts that a node has of another, in the order they were taken.
    pub fn texts(&self, n: usize, from: usize) -> Vec<String> {
        let of = self.print(from);
        let got = self.nodes[n].disk.got.iter().filter(|g| g.from.of == of);
        got.map(|g| g.text.clone()).collect()
    }

    /// How many sent messages wait, were taken, were refused.
    pub fn fates(&self, n: usize) -> (usize, usize, usize) {
        let sent = self.nodes[n].disk.sent.values();
        let count = |want: fn(&Fate) -> bool| sent.clone().filter(|s| want(s)).count();
        (
            count(|s| s.is_none()),
            count(|s| matches!(s, Some(None))),
            count(|s| matches!(s, Some(Some(_)))),
        )
    }
}
