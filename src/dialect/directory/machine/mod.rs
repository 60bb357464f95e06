//! The directory machine: a server of ours, our users at another's server, and their chats.
//!
//! Who is a peer and what is shown is the node's business: the machine tells it [`Heard`] and
//! does what it is told. Everything leaves through [`Machine::poll`].

mod chats;
mod client;
mod server;

use std::net::{Ipv4Addr, SocketAddrV4};

use super::codec::{self, Said};
use crate::dialect::heard::{Heard, Out, To};
use crate::dialect::lan::Lan;
use crate::dialect::told::Told;
use crate::model::{Bind, IoError, Link, Map, Millis, Net, SocketId, StreamId, UserId};

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
    lan: Lan,
    users: Map<UserId, String>,
    sockets: Map<SocketId, Role>,
    next_socket: u32,
    /// The socket our users log in from, once it is open.
    client: Option<SocketId>,
    /// Addresses at which chats are not taken, and of which it was said.
    without: Vec<Ipv4Addr>,
    rebind_at: Option<Millis>,
    logins: Logins,
    remote: Remote,
    chats: Chats,
    told: Told,
}

impl Machine {
    /// A machine without users; a server's port is opened at once.
    pub fn new(setup: Setup) -> Machine {
        let mut machine = Machine {
            lan: Lan::default(),
            users: Map::new(),
            sockets: Map::new(),
            next_socket: 0,
            client: None,
            without: Vec::new(),
            rebind_at: None,
            logins: Logins::default(),
            remote: Remote::new(setup.connect),
            chats: Chats::default(),
            told: Told::new("directory"),
            setup,
        };
        machine.open_shared();
        machine
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.told.poll()
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
        self.lan.links = links;
        self.without.clear();
        let wanted = self.chat_addresses();
        let stale = |role: &Role| matches!(role, Role::Chat(ip) if !wanted.contains(ip));
        let closed: Vec<SocketId> =
            self.sockets.iter().filter(|(_, role)| stale(role)).map(|(id, _)| *id).collect();
        for socket in closed {
            self.sockets.remove(&socket);
            self.told.net(Net::Unbind(socket));
        }
        self.open_chat_ports();
    }

    /// Our users, whole: listed here, logged in there.
    pub fn set_users(&mut self, now: Millis, shown: Vec<Shown>) {
        let users: Map<UserId, String> =
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
            Some(Role::Server) => self.told.heard(Heard::Trouble(None)),
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
                self.told.heard(Heard::Trouble(Some(text)));
            }
            Role::Client => self.told.complain_ours(format!("no login at the directory: {error}")),
            Role::Chat(ip) if !self.without.contains(&ip) => {
                self.without.push(ip);
                let port = self.setup.chat_port;
                self.told.complain_ours(format!(
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
        let from = self.lan.canonical(from);
        if !self.lan.reaches(*from.ip()) {
            return;
        }
        match (role, codec::parse(bytes)) {
            (Role::Server, Ok(Said::Login(name))) => self.login(now, socket, from, name),
            (Role::Server, Ok(Said::Logout(name))) => self.logout(now, socket, from, &name),
            (Role::Client, Ok(Said::List(users))) => self.listed(now, from, users),
            (Role::Client, Ok(Said::LoggedOut)) => {}
            (_, Ok(other)) => {
                self.told.complain(*from.ip(), &format!("{other:?} is not said here"))
            }
            (_, Err(bad)) => self.told.complain(*from.ip(), &bad.to_string()),
        }
    }

    /// Sends a text for a user; its fate comes as [`Heard::Sent`] or [`Heard::NotSent`] under
    /// `tag`. A chat is made where there is none. There is no chat of everyone here.
    pub fn send(&mut self, now: Millis, tag: u64, user: UserId, to: &To, text: &str) {
        match to {
            To::Everyone => self.told.not_sent(tag, "this dialect has no chat of everyone"),
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
        self.lan.links.iter().map(|link| link.address).filter(wanted).collect()
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
        self.told.net(Net::Bind(id, bind));
    }

    fn stream_id(&mut self) -> StreamId {
        StreamId(STREAMS | self.chats.next_stream())
    }
}

/// Whether two names are one person's.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}
