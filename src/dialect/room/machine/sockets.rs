//! The machine's ports: the server's, and for each user one for private chats.
//!
//! A user's port is UDP and TCP of the same number: real clients of branch `prototype` send their
//! refusal by UDP to the TCP port that was named to them (captures/000-prototype), where nothing
//! of theirs listens. Ours does.

use std::net::SocketAddrV4;

use super::{Kind, Machine, Stream, TO_CHAT, TO_LINES};
use crate::dialect::heard::Heard;
use crate::dialect::room::MAX_CLIENTS;
use crate::model::limits::MAX_STREAMS_PER_SOURCE;
use crate::model::{Bind, IoError, Map, Millis, Net, Set, SocketId, StreamId, UserId};

/// Marks the room's sockets among those of all dialects.
const TAG: u32 = 0x0300_0000;
/// A port that could not be had is tried again after so long.
const REBIND_MS: Millis = 15_000;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// TCP: the server.
    Server,
    /// UDP of the server's number: where those of other dialects are listed; it refuses.
    Refuser,
    /// UDP: a user is asked for a private chat.
    Ask(UserId),
    /// TCP: whoever accepted connects here.
    Chat(UserId),
}

#[derive(Default)]
pub(super) struct Sockets {
    next: u32,
    open: Map<SocketId, Role>,
    serving: bool,
    /// When ports that could not be had are tried again.
    pub(super) rebind_at: Option<Millis>,
    /// Users of whom it was said that no port could be had.
    without: Set<UserId>,
}

/// One of ours in the room.
pub(super) struct Me {
    /// The nickname.
    pub(super) name: String,
    /// Its port for private chats, once it is open.
    pub(super) port: Option<u16>,
    trying: u16,
    /// Ports still to try, the next one last.
    candidates: Vec<u16>,
    udp: Option<SocketId>,
}

impl Sockets {
    pub(super) fn role(&self, socket: SocketId) -> Option<Role> {
        self.open.get(&socket).copied()
    }

    fn bind(&mut self, role: Role, bind: Bind) -> (SocketId, Net) {
        self.next += 1;
        let id = SocketId(TAG | self.next);
        self.open.insert(id, role);
        (id, Net::Bind(id, bind))
    }
}

impl Machine {
    pub(super) fn open_server(&mut self) {
        if self.setup.serve {
            let (_, net) = self.sockets.bind(Role::Server, Bind::Tcp(self.setup.port));
            self.told.net(net);
        }
    }

    pub(super) fn add_user(&mut self, id: UserId, name: String) {
        let me = Me { name, port: None, trying: 0, candidates: Vec::new(), udp: None };
        self.users.insert(id, me);
        self.open_user(id);
    }

    fn open_user(&mut self, id: UserId) {
        let (min, max) = self.setup.ports;
        if let Some(me) = self.users.get_mut(&id) {
            me.candidates = (min..=max).rev().collect();
        }
        self.try_next_port(id, None);
    }

    fn try_next_port(&mut self, id: UserId, last: Option<&IoError>) {
        let taken: Vec<u16> = self.users.values().filter_map(|me| me.port).collect();
        let trying: Vec<u16> =
            self.users.iter().filter(|(u, _)| **u != id).map(|(_, me)| me.trying).collect();
        let Some(me) = self.users.get_mut(&id) else { return };
        while let Some(port) = me.candidates.pop() {
            if taken.contains(&port) || trying.contains(&port) {
                continue;
            }
            me.trying = port;
            let (socket, net) = self.sockets.bind(Role::Ask(id), Bind::Udp(port));
            me.udp = Some(socket);
            return self.told.net(net);
        }
        (me.trying, me.udp) = (0, None);
        let (min, max) = self.setup.ports;
        if self.sockets.without.insert(id) {
            let why = last.map_or_else(String::new, |e| format!(": {e}"));
            self.told.complain_ours(format!(
                "no free port for private chats from {min} to {max}{why}: room.chat-port sets others"
            ));
        }
    }

    pub(super) fn remove_user(&mut self, now: Millis, id: UserId) {
        self.leave_server(now, id);
        self.close_chats_of(now, id);
        let of_user = |role: &Role| matches!(role, Role::Ask(u) | Role::Chat(u) if *u == id);
        let closed: Vec<SocketId> =
            self.sockets.open.iter().filter(|(_, r)| of_user(r)).map(|(s, _)| *s).collect();
        for socket in closed {
            self.sockets.open.remove(&socket);
            self.told.net(Net::Unbind(socket));
        }
        let Some(me) = self.users.remove(&id) else { return };
        if me.port.is_some() {
            self.tell_all(now, |_, _| format!("USER_LEFT {}", me.name));
        }
    }

    pub(super) fn rename_user(&mut self, now: Millis, id: UserId, name: String) {
        self.leave_server(now, id);
        let Some(me) = self.users.get_mut(&id) else { return };
        let old = std::mem::replace(&mut me.name, name.clone());
        if let Some(port) = me.port {
            self.tell_all(now, |_, _| format!("USER_LEFT {old}"));
            self.announce_listed(now, &name, port);
        }
        self.register_soon(now, id);
    }

    /// A `Bind` succeeded.
    pub fn bound(&mut self, now: Millis, socket: SocketId) {
        match self.sockets.role(socket) {
            None | Some(Role::Refuser) => {}
            Some(Role::Server) => {
                self.sockets.serving = true;
                self.told.heard(Heard::Trouble(None));
                let (_, net) = self.sockets.bind(Role::Refuser, Bind::Udp(self.setup.port));
                self.told.net(net);
            }
            Some(Role::Ask(id)) => {
                let Some(me) = self.users.get(&id) else { return };
                let (_, net) = self.sockets.bind(Role::Chat(id), Bind::Tcp(me.trying));
                self.told.net(net);
            }
            Some(Role::Chat(id)) => {
                let Some(me) = self.users.get_mut(&id) else { return };
                me.candidates = Vec::new();
                me.port = Some(me.trying);
                let (name, port) = (me.name.clone(), me.trying);
                self.sockets.without.remove(&id);
                self.announce_listed(now, &name, port);
                self.register_soon(now, id);
            }
        }
    }

    /// A `Bind` failed.
    pub fn bind_failed(&mut self, now: Millis, socket: SocketId, error: IoError) {
        match self.sockets.open.remove(&socket) {
            None => {}
            Some(Role::Server) => {
                self.sockets.serving = false;
                self.sockets.rebind_at = Some(now + REBIND_MS);
                let port = self.setup.port;
                let text = format!("the room's TCP port {port} cannot be opened ({error})");
                self.told.heard(Heard::Trouble(Some(text)));
            }
            Some(Role::Refuser) => {}
            Some(Role::Ask(id)) => self.port_failed(now, id, &error),
            Some(Role::Chat(id)) => {
                if let Some(udp) = self.users.get_mut(&id).and_then(|me| me.udp.take()) {
                    self.sockets.open.remove(&udp);
                    self.told.net(Net::Unbind(udp));
                }
                self.port_failed(now, id, &error);
            }
        }
    }

    fn port_failed(&mut self, now: Millis, id: UserId, error: &IoError) {
        self.try_next_port(id, Some(error));
        if self.users.get(&id).is_some_and(|me| me.trying == 0) {
            self.sockets.rebind_at = Some(now + REBIND_MS);
        }
    }

    /// Tries again what could not be had: the program that held it may have ended.
    pub(super) fn rebind(&mut self, now: Millis) {
        if self.sockets.rebind_at.is_none_or(|at| at > now) {
            return;
        }
        self.sockets.rebind_at = None;
        if !self.sockets.open.values().any(|role| *role == Role::Server) {
            self.open_server();
        }
        let without: Vec<UserId> =
            self.users.iter().filter(|(_, me)| me.trying == 0).map(|(id, _)| *id).collect();
        for id in without {
            self.open_user(id);
        }
    }

    /// A listener of ours accepted a connection.
    pub fn accepted(
        &mut self,
        now: Millis,
        socket: SocketId,
        stream: StreamId,
        from: SocketAddrV4,
    ) {
        let Some(role) = self.sockets.role(socket) else { return };
        let from = self.lan.canonical(from);
        if !self.lan.reaches(*from.ip()) {
            return self.told.net(Net::Close(stream));
        }
        // those we made ourselves, to a server or a partner on that host, do not count
        let theirs = |s: &&Stream| {
            matches!(s.kind, Kind::Client(_) | Kind::Knock(..)) && s.from.ip() == from.ip()
        };
        let here = self.streams.values().filter(theirs).count();
        let full = role == Role::Server && self.all_clients() >= MAX_CLIENTS;
        if full || here >= MAX_STREAMS_PER_SOURCE {
            self.told.complain(
                *from.ip(),
                "more connections at once than are taken; this one is closed",
            );
            return self.told.net(Net::Close(stream));
        }
        let (kind, pace) = match role {
            Role::Server => (Kind::Client(super::server::Client::default()), TO_LINES),
            Role::Chat(user) if self.chats.expects(user, *from.ip()) => {
                (Kind::Knock(user, Vec::new()), TO_CHAT)
            }
            _ => {
                self.told.complain(
                    *from.ip(),
                    "it connected for a private chat that nobody asked it for",
                );
                return self.told.net(Net::Close(stream));
            }
        };
        self.streams.insert(stream, Stream::new(now, from, kind, pace, true));
    }

    /// The UDP socket at which a user asks and is asked.
    pub(super) fn ask_socket(&self, user: UserId) -> Option<SocketId> {
        self.users.get(&user).filter(|me| me.port.is_some()).and_then(|me| me.udp)
    }
}
