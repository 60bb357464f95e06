//! The hello machine: who is here, sessions with them, what is being said.
//!
//! It owns what is the hello chat's alone: its two ports, the peers by address, one session each
//! way with each, the shared history. `peers` finds and gives up, `sessions` talks over TCP; this
//! file is what the node calls. Everything leaves through [`Machine::poll`].

mod peers;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use super::codec::{self, Message};
use super::history::History;
use super::{MAX_LINE, Said};
use crate::dialect::heard::{Contact, Heard, Out};
use crate::model::{Bind, IoError, Link, Map, Millis, Net, Now, SocketId, StreamId, Trouble};

use peers::{Answers, Peer};
pub use peers::{HERE_MS, MAX_ANSWERS, MAX_PEERS};
use sessions::Session;
pub use sessions::{
    MAX_BAD, MAX_BUFFERED, MAX_SESSIONS, MAX_SESSIONS_PER_SOURCE, SILENT_MS, WAIT_MS,
};

/// Marks hello's sockets among those of all dialects.
const SOCKETS: u32 = 0x0200_0000;
/// Marks hello's own streams.
const STREAMS: u64 = 2 << 56;
/// A port that could not be had is tried again after so long.
const REBIND_MS: Millis = 15_000;
/// Changes of interfaces are gathered this long before hello is said to them.
const SETTLE_MS: Millis = 150;
/// Our own datagrams of before a change of name may come back so long.
const ECHO_MS: Millis = 5_000;
/// Messages that may wait for one peer; beyond, the oldest will not arrive.
pub const MAX_QUEUE: usize = 64;

/// What the machine must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// UDP and TCP port: 9876.
    pub port: u16,
    /// Our name.
    pub peer_id: String,
    /// Further broadcast addresses.
    pub broadcast: Vec<Ipv4Addr>,
    /// Between two hellos: 5 s in the assignment.
    pub period: Millis,
    /// Whether we are in the chat: else nothing is said, and nobody is talked to.
    pub present: bool,
}

/// A message on its way to one peer.
struct Outgoing {
    /// The node's name for it, if it wants to know.
    tag: Option<u64>,
    id: u64,
    text: Rc<str>,
    /// Until when it may wait for a session.
    until: Millis,
    /// How often it was written already.
    tries: u8,
}

/// One of our two ports.
#[derive(Clone, Copy, Default)]
struct Port {
    socket: Option<SocketId>,
    open: bool,
}

/// See the module.
pub struct Machine {
    setup: Setup,
    links: Vec<Link>,
    udp: Port,
    tcp: Port,
    next_socket: u32,
    next_stream: u64,
    /// Why a port is not open.
    troubles: [Option<IoError>; 2],
    rebind_at: Option<Millis>,
    hello_at: Millis,
    peers: Map<Ipv4Addr, Peer>,
    sessions: Map<StreamId, Session>,
    answers: Answers,
    history: History,
    /// Our name of before, and when that ended.
    former: Option<(String, Millis)>,
    out: VecDeque<Out>,
    rng: fastrand::Rng,
}

impl Machine {
    /// A machine that opens its ports at once.
    pub fn new(now: Now, setup: Setup, seed: u64) -> Machine {
        let mut machine = Machine {
            setup,
            links: Vec::new(),
            udp: Port::default(),
            tcp: Port::default(),
            next_socket: 0,
            next_stream: 0,
            troubles: [None, None],
            rebind_at: None,
            hello_at: now.mono,
            peers: Map::new(),
            sessions: Map::new(),
            answers: Answers::default(),
            history: History::default(),
            former: None,
            out: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
        };
        machine.open();
        machine
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Machine::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        let hello = (self.udp.open && self.setup.present).then_some(self.hello_at);
        [hello, self.rebind_at, self.peers_wake_at(), self.sessions_wake_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now) {
        if self.rebind_at.is_some_and(|at| at <= now.mono) {
            self.rebind_at = None;
            self.open();
        }
        if self.udp.open && self.setup.present && self.hello_at <= now.mono {
            self.hello_at = now.mono + self.setup.period;
            self.say_hello();
        }
        self.tick_sessions(now);
        self.tick_peers(now);
    }

    /// The usable addresses, whole. Hello is said to what is new.
    pub fn set_links(&mut self, now: Now, links: Vec<Link>) {
        if links.iter().any(|link| !self.links.contains(link)) {
            self.hello_at = self.hello_at.min(now.mono + SETTLE_MS);
        }
        self.links = links;
    }

    /// What may change while running: all but the port.
    pub fn set_live(&mut self, now: Now, setup: Setup) {
        let old = std::mem::replace(&mut self.setup, setup);
        self.setup.port = old.port;
        if old.peer_id != self.setup.peer_id {
            self.former = Some((old.peer_id, now.mono));
            // who we are is said in a session's first line
            self.close_sessions(now, |session| session.made);
            self.hello_at = now.mono;
        }
        if !self.setup.present && old.present {
            self.close_sessions(now, |_| true);
            self.forget_all("we left the chat");
        } else if self.setup.present && !old.present {
            self.hello_at = now.mono;
        }
    }

    /// Says something in the chat: to everyone who is here, and to whoever asks for the history
    /// later. `tags`: at which address whose fate is to be told, as [`Heard::Delivered`] or
    /// [`Heard::NotSent`].
    pub fn say(&mut self, now: Now, text: &str, tags: &[(u64, Ipv4Addr)]) {
        let id = self.history.say(now, &self.setup.peer_id, text);
        let text: Rc<str> = text.into();
        for (tag, at) in tags {
            if !self.peers.contains_key(at) {
                let error = IoError::new(Trouble::Unreachable, "not here any more");
                self.heard(Heard::NotSent(*tag, error));
            }
        }
        for at in self.peers.keys().copied().collect::<Vec<_>>() {
            let tag = tags.iter().find(|(_, to)| *to == at).map(|(tag, _)| *tag);
            let until = now.mono + WAIT_MS;
            self.give(at, Outgoing { tag, id, text: text.clone(), until, tries: 0 });
        }
        self.pump_all(now);
    }

    /// Whether a text can be said at all.
    ///
    /// # Errors
    /// It cannot: how many bytes about can.
    pub fn fits(&self, text: &str) -> Result<(), usize> {
        let line = codec::new_message(u64::MAX, text, Some(&self.setup.peer_id));
        match line.len() {
            ..=MAX_LINE => Ok(()),
            long => Err(MAX_LINE.saturating_sub(long - text.len())),
        }
    }

    /// The shared history, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Message> {
        self.history.iter()
    }

    /// What was kept of the chat from earlier runs, oldest first: it is not told again.
    pub fn fill(&mut self, now: Now, kept: &[Message]) {
        for message in kept {
            self.history.told(now, message);
        }
    }

    /// Our name in the chat.
    pub fn peer_id(&self) -> &str {
        &self.setup.peer_id
    }

    /// A `Bind` succeeded.
    pub fn bound(&mut self, now: Now, socket: SocketId) {
        if self.udp.socket == Some(socket) {
            self.udp.open = true;
            self.troubles[0] = None;
            self.hello_at = now.mono;
        } else if self.tcp.socket == Some(socket) {
            self.tcp.open = true;
            self.troubles[1] = None;
        } else {
            return;
        }
        self.say_trouble();
    }

    /// A `Bind` failed; it is tried again.
    pub fn bind_failed(&mut self, now: Now, socket: SocketId, error: IoError) {
        if self.udp.socket == Some(socket) {
            self.udp = Port::default();
            self.troubles[0] = Some(error);
        } else if self.tcp.socket == Some(socket) {
            self.tcp = Port::default();
            self.troubles[1] = Some(error);
        } else {
            return;
        }
        self.rebind_at = Some(now.mono + REBIND_MS);
        self.say_trouble();
    }

    /// A datagram came in. What is no JSON is never answered: it would stop vanis.
    pub fn datagram(&mut self, now: Now, socket: SocketId, from: SocketAddrV4, bytes: &[u8]) {
        if self.udp.socket != Some(socket) || !self.setup.present || !self.reaches(*from.ip()) {
            return;
        }
        let mut reader = super::Reader::default();
        let mut said = reader.push(bytes);
        said.extend(reader.end().map(Err));
        // one line per datagram is the rule, two were glued; more is a flood
        for said in said.into_iter().take(2) {
            match said {
                Ok(Said::Hello { peer_id }) => {
                    if !self.is_ours(now.mono, *from.ip(), &peer_id) {
                        self.note(now, *from.ip(), &peer_id, false);
                        self.answer_hello(now, from);
                    }
                }
                Ok(Said::Ok { peer_id: Some(peer_id), .. }) => {
                    if !self.is_ours(now.mono, *from.ip(), &peer_id) {
                        self.note(now, *from.ip(), &peer_id, false);
                    }
                }
                Ok(_) => {}
                Err(bad) => {
                    self.complain(*from.ip(), format!("a datagram to the hello port: {bad}"))
                }
            }
        }
    }

    /// Nobody took a datagram: programs that only say hello close their port at once, so it means
    /// nothing.
    pub fn unreachable(&mut self, _now: Now, _to: SocketAddrV4, _error: &IoError) {}

    /// Ends: all sessions are closed. The chat has no goodbye.
    pub fn goodbye(&mut self, now: Now) {
        self.close_sessions(now, |_| true);
        for port in [self.udp, self.tcp] {
            if let Some(socket) = port.socket {
                self.net(Net::Unbind(socket));
            }
        }
        (self.udp, self.tcp) = (Port::default(), Port::default());
        self.rebind_at = None;
        self.forget_all("the hello chat is switched off");
    }

    fn open(&mut self) {
        let port = self.setup.port;
        if self.udp.socket.is_none() {
            self.udp.socket = Some(self.bind(Bind::SharedUdp(port)));
        }
        if self.tcp.socket.is_none() {
            self.tcp.socket = Some(self.bind(Bind::Tcp(port)));
        }
    }

    fn bind(&mut self, bind: Bind) -> SocketId {
        self.next_socket += 1;
        let id = SocketId(SOCKETS | self.next_socket);
        self.net(Net::Bind(id, bind));
        id
    }

    fn say_trouble(&mut self) {
        let port = self.setup.port;
        let what = match &self.troubles {
            [Some(error), _] => Some(format!("UDP port {port} cannot be opened ({error})")),
            [_, Some(error)] => Some(format!(
                "TCP port {port} cannot be opened ({error}): others cannot connect, we can"
            )),
            [None, None] => None,
        };
        self.heard(Heard::Trouble(what));
    }

    fn say_hello(&mut self) {
        let Some(socket) = self.udp.socket else { return };
        let port = self.setup.port;
        let alone = self.links.iter().all(|l| l.address.is_loopback());
        let mut to: Vec<Ipv4Addr> = self.setup.broadcast.clone();
        // programs of this host hear the broadcast on any link; on loopback they would hear it
        // from a second address
        let links = self.links.iter().filter(|l| alone || !l.address.is_loopback());
        to.extend(links.filter_map(|l| l.broadcast));
        to.sort_unstable();
        to.dedup();
        for to in to {
            let bytes = codec::hello(&self.setup.peer_id);
            self.net(Net::Send { socket, to: SocketAddrV4::new(to, port), bytes });
        }
    }

    fn answer_hello(&mut self, now: Now, to: SocketAddrV4) {
        let Some(socket) = self.udp.socket.filter(|_| self.udp.open) else { return };
        if self.may_answer(now.mono, *to.ip()) {
            let bytes = codec::ok_from(&self.setup.peer_id);
            self.net(Net::Send { socket, to, bytes });
        }
    }

    /// Whether what was said from here is our own coming back. Another program of this host has
    /// another name.
    fn is_ours(&self, now: Millis, ip: Ipv4Addr, peer_id: &str) -> bool {
        let former = |(name, at): &(String, Millis)| name == peer_id && now < at + ECHO_MS;
        self.is_own(ip)
            && (peer_id == self.setup.peer_id || self.former.as_ref().is_some_and(former))
    }

    fn is_own(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|link| link.address == ip)
    }

    fn reaches(&self, ip: Ipv4Addr) -> bool {
        self.links.iter().any(|link| link.reaches(ip))
    }

    fn contact(&self, ip: Ipv4Addr, name: &str) -> Contact {
        Contact { name: name.to_owned(), at: SocketAddrV4::new(ip, self.setup.port) }
    }

    fn net(&mut self, net: Net) {
        self.out.push_back(Out::Net(net));
    }

    fn heard(&mut self, heard: Heard) {
        self.out.push_back(Out::Heard(heard));
    }

    fn complain(&mut self, from: Ipv4Addr, text: String) {
        self.heard(Heard::Complaint { from, text });
    }
}
