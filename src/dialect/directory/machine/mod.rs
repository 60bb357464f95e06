//! The directory machine: a server of ours, our users at another's server, and their chats.
//!
//! Who is a peer and what is shown is the node's business: the machine tells it [`Heard`] and
//! does what it is told. Everything leaves through [`Machine::poll`].

mod chats;
mod client;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::codec::{self, Said};
use crate::dialect::heard::{Contact, Heard, Out, To};
use crate::model::{Bind, IoError, Link, Millis, Net, SocketId, StreamId, Trouble, UserId};

use chats::Chats;
use client::Remote;
use server::Logins;

/// Marks the directory's sockets among those of all dialects.
const SOCKETS: u32 = 0x0400_0000;
/// Marks its own streams.
const STREAMS: u64 = 4 << 56;
/// A port that could not be had is tried again after so long.
const REBIND_MS: Millis = 15_000;

/// How the machine is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The server's UDP port.
    pub port: u16,
    /// Whether we are a server.
    pub serve: bool,
    /// The server that our users log in at.
    pub connect: Option<SocketAddrV4>,
    /// The TCP port of chats; the real programs know no other than 5001.
    pub chat_port: u16,
    /// Whether to take chats on 127.0.0.1 too, where the port belongs to a 003 program of this
    /// host if there is one.
    pub loopback: bool,
}

/// One of our users, to be listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The user name.
    pub name: String,
    /// Which one.
    pub user: UserId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// UDP: the server.
    Server,
    /// UDP: our users log in from here.
    Client,
    /// TCP: chats, at this address of ours.
    Chat(Ipv4Addr),
}

/// See the module.
pub struct Machine {
    setup: Setup,
    links: Vec<Link>,
    users: BTreeMap<UserId, String>,
    sockets: BTreeMap<SocketId, Role>,
    next_socket: u32,
    /// The socket our users log in from, once it is open.
    client: Option<SocketId>,
    /// Addresses at which chats are not taken, and of which it was said.
    without: Vec<Ipv4Addr>,
    rebind_at: Option<Millis>,
    logins: Logins,
    remote: Remote,
    chats: Chats,
    /// Who is here, and in how many lists.
    present: BTreeMap<Contact, u8>,
    out: VecDeque<Out>,
}

impl Machine {
    /// A machine without users; a server's port is opened at once.
    pub fn new(setup: Setup) -> Machine {
        let mut machine = Machine {
            links: Vec::new(),
            users: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_socket: 0,
            client: None,
            without: Vec::new(),
            rebind_at: None,
            logins: Logins::default(),
            remote: Remote::new(setup.connect),
            chats: Chats::default(),
            present: BTreeMap::new(),
            out: VecDeque::new(),
            setup,
        };
        machine.open_shared();
        machine
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Machine::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        let parts =
            [self.rebind_at, self.logins.wake_at(), self.remote.wake_at(), self.chats.wake_at()];
        parts.into_iter().flatten().min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Millis) {
        if self.rebind_at.is_some_and(|at| at <= now) {
            self.rebind_at = None;
            self.open_shared();
            self.open_chat_ports();
        }
        self.expire(now);
        self.tick_remote(now);
        self.tick_chats(now);
    }

    /// The usable addresses, whole: chats are taken at each but, unless so set, the loopback.
    pub fn set_links(&mut self, _now: Millis, links: Vec<Link>) {
        self.links = links;
        self.without.clear();
        let wanted = self.chat_addresses();
        let stale = |role: &Role| matches!(role, Role::Chat(ip) if !wanted.contains(ip));
        let closed: Vec<SocketId> =
            self.sockets.iter().filter(|(_, role)| stale(role)).map(|(id, _)| *id).collect();
        for socket in closed {
            self.sockets.remove(&socket);
            self.net(Net::Unbind(socket));
        }
        self.open_chat_ports();
    }

    /// Our users, whole: listed here, logged in there.
    pub fn set_users(&mut self, now: Millis, shown: Vec<Shown>) {
        let users: BTreeMap<UserId, String> =
            shown.into_iter().map(|shown| (shown.user, shown.name)).collect();
        let old = std::mem::replace(&mut self.users, users);
        for (user, name) in &old {
            if self.users.get(user) != Some(name) {
                self.log_out(name);
            }
            if !self.users.contains_key(user) {
                self.close_chats_of(now, *user);
            }
        }
        if old != self.users {
            self.log_in_soon(now);
        }
        self.open_chat_ports();
    }

    /// A `Bind` succeeded.
    pub fn bound(&mut self, now: Millis, socket: SocketId) {
        match self.sockets.get(&socket) {
            Some(Role::Server) => self.heard(Heard::Trouble(None)),
            Some(Role::Client) => {
                self.client = Some(socket);
                self.log_in_soon(now);
            }
            Some(Role::Chat(ip)) => self.without.retain(|without| without != ip),
            None => {}
        }
    }

    /// A `Bind` failed.
    pub fn bind_failed(&mut self, now: Millis, socket: SocketId, error: IoError) {
        let Some(role) = self.sockets.remove(&socket) else { return };
        self.rebind_at = Some(now + REBIND_MS);
        match role {
            Role::Server => {
                let port = self.setup.port;
                let text = format!("the directory's UDP port {port} cannot be opened ({error})");
                self.heard(Heard::Trouble(Some(text)));
            }
            Role::Client => self.complain_ours(format!("no login at the directory: {error}")),
            Role::Chat(ip) if !self.without.contains(&ip) => {
                self.without.push(ip);
                let port = self.setup.chat_port;
                self.complain_ours(format!(
                    "no directory chats are taken at {ip}:{port}: {error}; directory.chat-port \
                     sets another, which its own programs do not know"
                ));
            }
            Role::Chat(_) => {}
        }
    }

    /// A datagram came in.
    pub fn datagram(&mut self, now: Millis, socket: SocketId, from: SocketAddrV4, bytes: &[u8]) {
        let Some(role) = self.sockets.get(&socket).copied() else { return };
        let from = self.canonical(from);
        if !self.on_link(*from.ip()) {
            return;
        }
        match (role, codec::parse(bytes)) {
            (Role::Server, Ok(Said::Login(name))) => self.login(now, socket, from, name),
            (Role::Server, Ok(Said::Logout(name))) => self.logout(now, socket, from, &name),
            (Role::Client, Ok(Said::List(users))) => self.listed(now, from, users),
            (Role::Client, Ok(Said::LoggedOut)) => {}
            (_, Ok(other)) => self.complain(from, &format!("{other:?} is not said here")),
            (_, Err(bad)) => self.complain(from, &bad.to_string()),
        }
    }

    /// Sends a text for a user; its fate comes as [`Heard::Sent`] or [`Heard::NotSent`] under
    /// `tag`. A chat is made where there is none. There is no chat of everyone here.
    pub fn send(&mut self, now: Millis, tag: u64, user: UserId, to: &To, text: &str) {
        match to {
            To::Everyone => self.not_sent(tag, "this dialect has no chat of everyone"),
            To::Contact(contact) => self.send_private(now, tag, user, contact, text),
        }
    }

    /// Says goodbye: logs out, ends the chats.
    pub fn goodbye(&mut self) {
        for name in self.users.values().cloned().collect::<Vec<_>>() {
            self.log_out(&name);
        }
        self.chats_goodbye();
    }

    /// How many are logged in at our server, ours not counted.
    pub fn logged_in(&self) -> usize {
        self.logins.len()
    }

    fn open_shared(&mut self) {
        if self.setup.serve && !self.has(Role::Server) {
            self.bind(Role::Server, Bind::Udp(self.setup.port));
        }
        if self.remote.at().is_some() && !self.has(Role::Client) {
            // any port: the server learns it from the datagram
            self.bind(Role::Client, Bind::Udp(0));
        }
    }

    fn chat_addresses(&self) -> Vec<Ipv4Addr> {
        if !self.setup.serve && self.remote.at().is_none() {
            return Vec::new();
        }
        let wanted = |ip: &Ipv4Addr| self.setup.loopback || !ip.is_loopback();
        self.links.iter().map(|link| link.address).filter(wanted).collect()
    }

    fn open_chat_ports(&mut self) {
        if self.users.is_empty() {
            return; // nobody could be chatted with
        }
        for ip in self.chat_addresses() {
            if !self.has(Role::Chat(ip)) {
                let at = SocketAddrV4::new(ip, self.setup.chat_port);
                self.bind(Role::Chat(ip), Bind::TcpAt(at));
            }
        }
    }

    fn has(&self, role: Role) -> bool {
        self.sockets.values().any(|r| *r == role)
    }

    fn bind(&mut self, role: Role, bind: Bind) {
        self.next_socket += 1;
        let id = SocketId(SOCKETS | self.next_socket);
        self.sockets.insert(id, role);
        self.net(Net::Bind(id, bind));
    }

    /// Someone is in one list more.
    fn here(&mut self, contact: Contact) {
        let lists = self.present.entry(contact.clone()).or_insert(0);
        *lists = lists.saturating_add(1);
        if *lists == 1 {
            self.heard(Heard::Here(contact));
        }
    }

    /// Someone is in one list less.
    fn gone(&mut self, contact: Contact, why: &str) {
        let Some(lists) = self.present.get_mut(&contact) else { return };
        *lists -= 1;
        if *lists == 0 {
            self.present.remove(&contact);
            self.heard(Heard::Gone(contact, why.into()));
        }
    }

    /// Everyone on this machine is 127.0.0.1, whichever of its addresses was used.
    fn canonical(&self, at: SocketAddrV4) -> SocketAddrV4 {
        let own = self.is_own(*at.ip());
        SocketAddrV4::new(if own { Ipv4Addr::LOCALHOST } else { *at.ip() }, at.port())
    }

    fn is_own(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|l| l.address == ip)
    }

    fn on_link(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|l| l.reaches(ip))
    }

    /// Our own address as someone at `ip` sees it.
    fn address_towards(&self, ip: Ipv4Addr) -> Ipv4Addr {
        if ip.is_loopback() {
            return Ipv4Addr::LOCALHOST;
        }
        let link = self.links.iter().find(|l| l.reaches(ip) && !l.address.is_loopback());
        link.map_or(Ipv4Addr::LOCALHOST, |l| l.address)
    }

    fn net(&mut self, net: Net) {
        self.out.push_back(Out::Net(net));
    }

    fn heard(&mut self, heard: Heard) {
        self.out.push_back(Out::Heard(heard));
    }

    fn not_sent(&mut self, tag: u64, why: &str) {
        self.heard(Heard::NotSent(tag, IoError::new(Trouble::Other, why)));
    }

    fn complain(&mut self, from: SocketAddrV4, text: &str) {
        self.heard(Heard::Complaint { from: *from.ip(), text: format!("directory: {text}") });
    }

    fn complain_ours(&mut self, text: String) {
        self.heard(Heard::Complaint { from: Ipv4Addr::UNSPECIFIED, text });
    }

    fn stream_id(&mut self) -> StreamId {
        StreamId(STREAMS | self.chats.next_stream())
    }
}

/// Whether two names are one person's.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}
