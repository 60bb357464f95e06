//! The link's machine: sockets, who is there, sessions, messages, keys.
//!
//! One file each: `dial` (beacons and whom to call), `sessions` (connections and which of them
//! is used), `messages` (exactly once), `keys` (who is believed to be who), `files` (with `gives`
//! and `takes`: what goes out and comes in), `rooms` (over sessions), `hints` (what else is said).

mod dial;
mod files;
mod gives;
mod hints;
mod keys;
mod messages;
mod rooms;
mod sessions;
mod takes;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::frame::Frame;
use super::noise::{Fingerprint, Key, Rng};
use super::queue::{Incoming, Outgoing};
use super::rooms::Rooms;
use super::session::Session;
use super::words::{Far, Heard, Keep, Me, Out, Row, Setup};
use crate::model::net::Interface;
use crate::model::{Handle, IoError, Map, Millis, Net, SocketId, StreamId};

pub use dial::{BACKOFF_MAX_MS, BACKOFF_MS, Beaconed};
pub use gives::Opened;
pub use hints::{MAX_READ, MAX_TOLD, READ, TOLD_MS};
pub use keys::{CannotForget, Code, Trusted};
pub use messages::CannotSend;
pub use rooms::{ROOMS, ROSTERS};
pub use sessions::{MAX_TRIES, TRIES_MS};
pub use takes::{BUSY_MS, IDLE_MS, STALLED_MS, Taking};

use dial::{Calls, Place};
use gives::Give;
use messages::{Offered, Waiting};
use sessions::Sources;
use takes::Take;

/// After a session broke its box is held to be there for so long: it may come back.
pub const GRACE_MS: Millis = 20_000;
/// The capability of files.
pub const FILES: u32 = 2;
/// What this version can beside messages.
pub const CAPABILITIES: u32 = FILES | ROOMS | ROSTERS;
/// The ports just above are our users'; the first one that is not.
const BEYOND_USERS: u16 = 64;
/// Ports tried for sessions where the first is taken.
const PORTS: u16 = 32;
/// A port that could not be had is tried again after this.
const REBIND_MS: Millis = 30_000;

/// Another box.
#[derive(Default)]
pub(super) struct Neighbour {
    key: Option<Key>,
    /// It is kept: something was exchanged with it, or a handle is pinned to it.
    known: bool,
    /// The operator compared its key.
    verified: bool,
    /// It was said that not all its users find a place.
    crowded: bool,
    /// Its users that are here, and believed.
    users: Vec<super::frame::User>,
    at: Option<SocketAddr>,
    /// Its IPv4 addresses, as it says …
    v4: Vec<Ipv4Addr>,
    /// … those at which it proved its key, the latest last …
    proven: Vec<Ipv4Addr>,
    /// … and those of both, as they were told.
    shown: Vec<Ipv4Addr>,
    /// When such a proof was last asked for.
    asked: Option<Millis>,
    /// What our people read of it, to be said.
    read: Vec<crate::model::EntryId>,
    /// It told of others: since then, so many.
    told: (Millis, usize),
    sessions: Vec<StreamId>,
    /// The session that is used for sending.
    active: Option<StreamId>,
    /// Of two sessions one is to be closed, then.
    decide: Option<(Millis, Millis)>,
    out: Outgoing,
    come: Incoming,
    /// It is not there since the last session broke: told then.
    gone_at: Option<Millis>,
}

/// See the module.
pub struct Machine {
    setup: Setup,
    key: Key,
    me: Fingerprint,
    run: u64,
    rng: Rng,
    users: Vec<Me>,
    addresses: Vec<Ipv4Addr>,
    interfaces: Vec<Interface>,
    /// Beacon sockets that are open: IPv4, IPv6.
    beacons: [bool; 2],
    port: Option<u16>,
    port_tried: u16,
    rebind_at: Option<Millis>,
    announce_at: Vec<Millis>,
    places: Map<Fingerprint, Place>,
    calls: Calls,
    sessions: Map<StreamId, Session>,
    next_stream: u64,
    sources: Sources,
    neighbours: Map<Fingerprint, Neighbour>,
    pins: Map<String, Far>,
    claims: Map<String, (Fingerprint, super::frame::User)>,
    next_token: u64,
    waiting: Map<u64, Waiting>,
    /// Calls that are to prove an address of a box.
    proofs: Map<StreamId, Fingerprint>,
    rooms: Rooms,
    /// Offers that the node is asked about, by token.
    offers: Map<u64, Offered>,
    /// Files, by a number of ours.
    gives: Map<u64, Give>,
    takes: Map<u64, Take>,
    next_file: u64,
    /// Names askings for files.
    turn: u32,
    wake: Option<Millis>,
    out: VecDeque<Out>,
}

impl Machine {
    /// A machine with what it kept in earlier runs. Sockets are opened at once.
    pub fn new(now: Millis, setup: Setup, rows: &[Row]) -> Machine {
        let mut rng = Rng::new(setup.seed);
        let for_rooms = Rng::new(super::noise::hash(&[b"rooms", &setup.seed]));
        let rooms = Rooms::new(setup.secret.clone(), for_rooms, setup.keep);
        let key = setup.secret.public();
        let mut machine = Machine {
            me: key.fingerprint(),
            key,
            run: rng.u64(),
            users: Vec::new(),
            addresses: Vec::new(),
            interfaces: Vec::new(),
            beacons: [false; 2],
            port: None,
            port_tried: setup.port,
            rebind_at: None,
            announce_at: Vec::new(),
            places: Map::new(),
            calls: Calls::default(),
            sessions: Map::new(),
            next_stream: setup.streams,
            sources: Sources::default(),
            neighbours: Map::new(),
            pins: Map::new(),
            claims: Map::new(),
            next_token: 0,
            waiting: Map::new(),
            proofs: Map::new(),
            rooms,
            offers: Map::new(),
            gives: Map::new(),
            takes: Map::new(),
            next_file: 0,
            turn: 0,
            wake: None,
            out: VecDeque::new(),
            rng,
            setup,
        };
        for row in rows {
            machine.restore(now, row);
        }
        machine.rooms.restored(now);
        machine.bind();
        machine.name_calls(now);
        machine
    }

    /// Our own name.
    pub fn fingerprint(&self) -> Fingerprint {
        self.me
    }

    /// The port that sessions come to, once it is open.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Machine::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        self.wake
    }

    /// Time passed.
    pub fn tick(&mut self, now: Millis) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        self.wake = None;
        if self.rebind_at.is_some_and(|at| at <= now) {
            self.rebind_at = None;
            self.bind();
        }
        self.tick_beacons(now);
        self.tick_sessions(now);
        self.tick_calls(now);
        self.tick_neighbours(now);
        self.tick_files(now);
        self.rooms.tick(now);
        self.settle_rooms(now);
        let due = [self.rebind_at, self.announce_at.iter().copied().min()];
        for at in due.into_iter().flatten() {
            self.wake_by(at);
        }
        // what became due meanwhile was looked at already, or has its turn in the next tick
        self.wake = self.wake.map(|at| at.max(now + 1));
    }

    fn wake_by(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Our users, whole.
    pub fn set_users(&mut self, now: Millis, users: Vec<Me>) {
        if users == self.users {
            return;
        }
        let handles = |all: &[Me]| -> Vec<Handle> {
            all.iter().filter(|u| u.joined).map(|u| u.handle.clone()).collect()
        };
        let renamed = handles(&users) != handles(&self.users);
        self.rooms.set_present(handles(&users));
        self.users = users;
        self.settle_rooms(now);
        self.tell_users(now);
        if renamed {
            self.announce(now, 200);
        }
    }

    /// Our IPv4 addresses.
    pub fn set_addresses(&mut self, now: Millis, mut addresses: Vec<Ipv4Addr>) {
        addresses.retain(|ip| !ip.is_loopback());
        addresses.truncate(super::frame::MAX_ADDRESSES);
        if addresses != self.addresses {
            self.addresses = addresses;
            self.tell_users(now);
        }
    }

    fn tell_users(&mut self, now: Millis) {
        let frame = self.users_frame();
        for n in self.neighbours.values() {
            if let Some(session) = n.active.and_then(|s| self.sessions.get_mut(&s)) {
                session.push(now, &frame);
            }
        }
        self.write_all();
    }

    fn users_frame(&self) -> Frame {
        let here = self.users.iter().filter(|u| u.joined);
        Frame::Users(
            here.map(|u| super::frame::User {
                handle: u.handle.clone(),
                guest: u.guest,
                away: u.away.clone(),
            })
            .collect(),
            self.addresses.clone(),
        )
    }

    /// A socket is open.
    pub fn bound(&mut self, now: Millis, socket: SocketId) {
        match socket.0.wrapping_sub(self.setup.sockets) {
            family @ (0 | 1) => {
                self.beacons[family as usize] = true;
                self.join_groups();
            }
            2 => {
                self.port = Some(self.port_tried);
                self.heard(Heard::Trouble(None));
            }
            _ => return,
        }
        self.announce(now, 0);
    }

    /// A socket cannot be had.
    pub fn bind_failed(&mut self, now: Millis, socket: SocketId, error: &IoError) {
        if socket.0 != self.setup.sockets + 2 {
            return; // a host without one of the families
        }
        let first = self.setup.port;
        let next = match self.port_tried == first {
            true => first.saturating_add(BEYOND_USERS),
            false => self.port_tried.saturating_add(1),
        };
        if next < first.saturating_add(BEYOND_USERS + PORTS) {
            self.port_tried = next;
            return self.listen();
        }
        let text = format!("no port for the link from {} on: {error}", self.setup.port);
        self.heard(Heard::Trouble(Some(text)));
        self.port_tried = self.setup.port;
        self.rebind_at = Some(now + REBIND_MS);
        self.wake_by(now + REBIND_MS);
    }

    fn bind(&mut self) {
        if self.setup.beacon {
            for v6 in [false, true] {
                if !self.beacons[usize::from(v6)] {
                    let socket = self.beacon_socket(v6);
                    let bind = crate::model::Bind::Multicast { v6, port: self.setup.beacon_port };
                    self.net(Net::Bind(socket, bind));
                }
            }
        }
        if self.port.is_none() {
            self.listen();
        }
    }

    fn listen(&mut self) {
        let socket = SocketId(self.setup.sockets + 2);
        self.net(Net::Bind(socket, crate::model::Bind::TcpBoth(self.port_tried)));
    }

    fn beacon_socket(&self, v6: bool) -> SocketId {
        SocketId(self.setup.sockets + u32::from(v6))
    }

    /// The interfaces that are up, whole.
    pub fn set_interfaces(&mut self, now: Millis, interfaces: Vec<Interface>) {
        if interfaces == self.interfaces {
            return;
        }
        self.interfaces = interfaces;
        self.join_groups();
        self.announce(now, 150);
        // an address that went takes its sessions with it, and nobody says so
        let streams: Vec<StreamId> = self.sessions.keys().copied().collect();
        for stream in streams {
            if let Some(session) = self.sessions.get_mut(&stream).filter(|s| s.is_ready()) {
                session.ping(now, sessions::MOVED_MS);
                self.write(stream);
            }
        }
        self.wake_by(now + sessions::MOVED_MS);
    }

    /// The node ends: the others are told.
    pub fn goodbye(&mut self, now: Millis) {
        let streams: Vec<StreamId> = self.sessions.keys().copied().collect();
        for stream in streams {
            self.say_bye(now, stream, "it was stopped");
        }
    }

    /// How many sessions are open, half-open ones included.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes that lists and queues hold, roughly: for tests of their bounds.
    pub fn table_sizes(&self) -> [usize; 6] {
        [
            self.places.len(),
            self.sessions.len(),
            self.neighbours.len(),
            self.pins.len(),
            self.claims.len(),
            self.sources.len(),
        ]
    }

    /// Whether a session with this box is in use.
    pub fn is_linked(&self, to: Fingerprint) -> bool {
        self.neighbours.get(&to).is_some_and(|n| n.active.is_some())
    }

    fn net(&mut self, net: Net) {
        self.out.push_back(Out::Net(net));
    }

    fn heard(&mut self, heard: Heard) {
        self.out.push_back(Out::Heard(heard));
    }

    fn keep(&mut self, rows: Vec<Row>) {
        if !rows.is_empty() {
            self.out.push_back(Out::Keep(Keep { token: 0, rows }));
        }
    }

    fn complain(&mut self, from: SocketAddr, text: impl Into<String>) {
        self.heard(Heard::Complaint { from, text: text.into() });
    }

    fn far(of: Fingerprint, handle: &Handle) -> Far {
        Far { of, handle: handle.clone() }
    }

    /// Takes back one row; what cannot be read is passed over: a later version's.
    fn restore(&mut self, now: Millis, row: &Row) {
        let Some(value) = &row.value else { return };
        if self.rooms.restore(now, &row.key, value) {
            return;
        }
        let mut parts = row.key.split('/');
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let Some(name) = row.key.strip_prefix("pin/") {
            if let Ok(far) = keys::restore_pin(value) {
                self.pins.insert(name.into(), far);
            }
            return;
        }
        let Ok(of) = name.parse::<Fingerprint>() else { return };
        let rest = parts.next();
        if let ("give" | "take", Some(id)) = (kind, rest) {
            return self.restore_file(kind, of, id, value);
        }
        let n = self.neighbours.entry(of).or_default();
        let read = match (kind, rest) {
            ("box", None) => keys::restore_box(n, value),
            ("out", None) => n.out.restore(value),
            ("out", Some(_)) => n.out.restore_message(value),
            ("in", None) => n.come.restore(value),
            _ => Ok(()),
        };
        if read.is_ok() {
            n.known = true;
        }
    }
}

/// The address without the port, as limits count it: an IPv6 host owns a whole /64.
fn source(at: SocketAddr) -> IpAddr {
    match at.ip() {
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => {
            let mut octets = ip.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
        ip => ip,
    }
}
