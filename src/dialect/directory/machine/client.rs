//! Our users at another's server: each logs in, and again from time to time, which brings the
//! list. Nothing but that, and the logout of a name that was logged in, is ever sent to a
//! server: all else kills the real one.

use std::net::SocketAddrV4;

use super::Machine;
use crate::dialect::directory::{MAX_LOST, REFRESH_MS, REPLY_MS, codec};
use crate::dialect::heard::{Contact, Heard};
use crate::model::{IoError, Map, Millis, Net, SocketId};

/// The server of others.
pub(super) struct Remote {
    at: Option<SocketAddrV4>,
    /// When to log in next.
    next: Option<Millis>,
    /// Until when an answer is waited for.
    reply_by: Option<Millis>,
    /// Logins since the last answer.
    lost: u32,
    /// Whether the server is reached, as was told.
    told: Option<bool>,
    listed: Map<String, Contact>,
    /// Names of ours that a list of the server held.
    logged_in: Vec<String>,
}

impl Remote {
    pub(super) fn new(at: Option<SocketAddrV4>) -> Remote {
        Remote {
            at,
            next: None,
            reply_by: None,
            lost: 0,
            told: None,
            listed: Map::new(),
            logged_in: Vec::new(),
        }
    }

    pub(super) fn at(&self) -> Option<SocketAddrV4> {
        self.at
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        [self.next, self.reply_by].into_iter().flatten().min()
    }
}

impl Machine {
    /// The server that our users log in at.
    pub fn server(&self) -> Option<SocketAddrV4> {
        self.remote.at
    }

    /// Whether it answered of late.
    pub fn is_in(&self) -> bool {
        self.remote.told == Some(true)
    }

    pub(super) fn log_in_soon(&mut self, now: Millis) {
        if self.remote.at.is_some() && !self.users.is_empty() {
            self.remote.next = Some(now);
            self.tick_remote(now);
        }
    }

    pub(super) fn tick_remote(&mut self, now: Millis) {
        if self.remote.reply_by.is_some_and(|at| at <= now) {
            self.remote.reply_by = None;
            self.unanswered(now, "it does not answer");
        }
        if self.remote.next.is_none_or(|at| at > now) {
            return;
        }
        let (Some(server), Some(socket)) = (self.remote.at, self.client) else {
            self.remote.next = None;
            return;
        };
        if self.users.is_empty() {
            self.remote.next = None;
            return;
        }
        if self.lan.is_own(*server.ip()) && self.setup.serve && server.port() == self.setup.port {
            self.told
                .complain_ours(format!("{server} is this node's own directory: no login there"));
            (self.remote.at, self.remote.next) = (None, None);
            return;
        }
        for name in self.users.values().cloned().collect::<Vec<_>>() {
            let bytes = codec::say("login", &name);
            self.told.net(Net::Send { socket, to: server, bytes });
        }
        self.remote.lost += 1;
        self.remote.next = Some(now + REFRESH_MS);
        self.remote.reply_by = Some(now + REPLY_MS);
    }

    fn unanswered(&mut self, _now: Millis, why: &str) {
        let told = self.remote.told;
        // never reached: one lost login is enough to say so
        if told == Some(false) || (told == Some(true) && self.remote.lost < MAX_LOST) {
            return;
        }
        let Some(at) = self.remote.at else { return };
        self.remote.told = Some(false);
        self.remote.logged_in.clear();
        for (_, contact) in std::mem::take(&mut self.remote.listed) {
            self.told.gone(contact, "the directory is not reached");
        }
        if told == Some(true) {
            self.told.heard(Heard::Session(server_contact(at), false));
        }
        self.told
            .complain_ours(format!("the directory at {at} is not reached: {why}; trying again"));
    }

    /// The server's list.
    pub(super) fn listed(
        &mut self,
        _now: Millis,
        from: SocketAddrV4,
        users: Vec<(String, SocketAddrV4)>,
    ) {
        let Some(server) = self.remote.at.map(|at| self.lan.canonical(at)) else { return };
        if from != server {
            return self
                .told
                .complain(*from.ip(), "a list from who is not the directory we log in at");
        }
        (self.remote.lost, self.remote.reply_by) = (0, None);
        if self.remote.told.replace(true) != Some(true) {
            self.told.heard(Heard::Session(server_contact(server), true));
        }
        let mut listed = Map::new();
        let mut logged_in = Vec::new();
        for (name, at) in users {
            if self.users.values().any(|ours| *ours == name) {
                logged_in.push(name);
                continue;
            }
            // who is on the server's own machine may be listed as there
            let ip = if at.ip().is_loopback() { *server.ip() } else { *at.ip() };
            let at = self.lan.canonical(SocketAddrV4::new(ip, at.port()));
            listed.insert(name.clone(), Contact { name, at });
        }
        self.remote.logged_in = logged_in;
        let old = std::mem::replace(&mut self.remote.listed, listed.clone());
        for (name, contact) in &listed {
            if old.get(name) != Some(contact) {
                self.told.here(contact.clone());
            }
        }
        for (name, contact) in old {
            if listed.get(&name) != Some(&contact) {
                self.told.gone(contact, "logged out");
            }
        }
    }

    /// Logs a name out that the server listed. It is logged in once more right before, since the
    /// logout of a name that it does not know, after a restart, would kill it.
    pub(super) fn log_out(&mut self, name: &str) {
        let listed = self.remote.logged_in.iter().position(|n| n == name);
        let (Some(at), Some(socket), Some(n)) = (self.remote.at, self.client, listed) else {
            return;
        };
        self.remote.logged_in.remove(n);
        for kind in ["login", "logout"] {
            self.told.net(Net::Send { socket, to: at, bytes: codec::say(kind, name) });
        }
    }

    /// A datagram did not arrive.
    pub fn unreachable(
        &mut self,
        now: Millis,
        socket: SocketId,
        to: SocketAddrV4,
        _quoted: &[u8],
        error: &IoError,
    ) {
        let server = self.client == Some(socket) && self.remote.at == Some(to);
        if server && self.remote.reply_by.take().is_some() {
            self.unanswered(now, &error.text);
        }
    }
}

/// How a server stands in [`Heard::Session`].
fn server_contact(at: SocketAddrV4) -> Contact {
    Contact { name: "directory".into(), at }
}
