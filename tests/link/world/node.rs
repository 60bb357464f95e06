//! A box: its machine, what it was told, what it keeps, and the disk that survives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};

use klatsch::dialect::link::machine::{CAPABILITIES, CannotSend, Machine, Taking};
use klatsch::dialect::link::noise::{Fingerprint, Secret};
use klatsch::dialect::link::words::{
    Content, Far, FileNews, Heard, Keep, Me, Named, Row, Sending, Setup,
};
use klatsch::model::net::Interface;
use klatsch::model::{EntryId, Handle, Millis, SocketId, Wall};

use super::{Ev, PORT, World, handle};
use crate::shelf::{Desk, Shelf};

const STREAMS: u64 = 1 << 40;

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
pub(super) struct Write {
    pub(super) rows: Vec<Row>,
    pub(super) got: Option<Got>,
    pub(super) sent: Vec<(Sent, Fate)>,
    pub(super) token: u64,
    /// Messages of a room, and the token they wait under.
    pub(super) room: Option<(u64, Vec<(Fingerprint, String)>)>,
    pub(super) at: Millis,
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
    pub(super) runs: u64,
    pub(super) accepted: u64,
    pub(super) ticks: (Millis, u64),
}

impl World {
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

    pub fn print(&self, n: usize) -> Fingerprint {
        self.nodes[n].secret.public().fingerprint()
    }

    pub fn far(&self, n: usize) -> Far {
        Far { of: self.print(n), handle: self.nodes[n].users[0].handle.clone() }
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

    pub(super) fn store(&mut self, n: usize, mut write: Write) {
        let after = self.rng.u64(1..20);
        let last = self.nodes[n].writes.back().map_or(0, |w| w.at);
        write.at = (self.now + after).max(last);
        let at = write.at - self.now;
        self.nodes[n].writes.push_back(write);
        let runs = self.nodes[n].runs;
        self.later(at, Ev::Stored(n, runs));
    }

    pub(super) fn stored(&mut self, n: usize, runs: u64) {
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

    pub(super) fn heard(&mut self, n: usize, heard: Heard) {
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
