//! The machine's ports: discovery and NO_IPC's image port shared by all users, and for each user
//! one chat port (UDP and TCP) with the ports beside it that some programs send images to.

use super::super::stream::PortKind;
use super::{Heard, Machine, UserId};
use crate::model::{Bind, IoError, Map, Millis, Net, Set, SocketId, Trouble};

/// Marks SLCP's sockets among those of all dialects.
const TAG: u32 = 0x0100_0000;

/// A port that could not be had is tried again after so long.
const REBIND_MS: Millis = 15_000;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// UDP, well known, shared with other programs of the host.
    Discovery,
    /// UDP 6000 of 002's NO_IPC branch.
    ImageUdp,
    /// A user's UDP chat port.
    ChatUdp(UserId),
    /// A user's TCP port, the chat port or one beside it.
    Tcp(UserId, PortKind),
}

#[derive(Default)]
pub(super) struct Sockets {
    next: u32,
    open: Map<SocketId, Role>,
    users: Map<UserId, Ports>,
    /// Users of whom it was said that no port could be had.
    without: Set<UserId>,
}

struct Ports {
    port: u16,
    udp: SocketId,
    udp_open: bool,
    tcp_open: bool,
    /// Ports still to try, the next one last.
    candidates: Vec<u16>,
    /// Why the port that was asked for could not be had.
    wanted_failed: Option<String>,
}

impl Sockets {
    pub(super) fn role(&self, socket: SocketId) -> Option<Role> {
        self.open.get(&socket).copied()
    }

    pub(super) fn chat_port(&self, user: UserId) -> Option<u16> {
        self.users.get(&user).filter(|p| p.udp_open && p.tcp_open).map(|p| p.port)
    }

    /// Whether a user has a port or is still looking for one.
    pub(super) fn has_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    pub(super) fn chat_socket(&self, user: UserId) -> Option<SocketId> {
        self.users.get(&user).filter(|p| p.udp_open).map(|p| p.udp)
    }

    /// Whether one of our users chats on this port.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        self.users.values().any(|p| p.udp_open && p.port == port)
    }

    fn bind(&mut self, role: Role, bind: Bind) -> (SocketId, Net) {
        self.next += 1;
        let id = SocketId(TAG | self.next);
        self.open.insert(id, role);
        (id, Net::Bind(id, bind))
    }
}

impl Machine {
    pub(super) fn open_shared(&mut self) {
        let (_, net) = self.sockets.bind(Role::Discovery, Bind::SharedUdp(self.setup.port));
        self.net(net);
        if self.setup.image_port != 0 {
            let bind = Bind::SharedUdp(self.setup.image_port);
            let (_, net) = self.sockets.bind(Role::ImageUdp, bind);
            self.net(net);
        }
    }

    pub(super) fn open_user(&mut self, id: UserId) {
        let (min, max) = self.setup.ports;
        let mut candidates: Vec<u16> =
            (min..=max).filter(|p| p % 2 == 0 && !self.sockets.is_own_port(*p)).collect();
        candidates.extend(self.users[&id].wanted_port);
        // `pop` takes the wanted one first, then the range from its lower end
        let wanted = self.users[&id].wanted_port.is_some();
        let range = candidates.len() - usize::from(wanted);
        candidates[..range].reverse();
        let ports = Ports {
            port: 0,
            udp: SocketId(0),
            udp_open: false,
            tcp_open: false,
            candidates,
            wanted_failed: None,
        };
        self.sockets.users.insert(id, ports);
        self.try_next_port(id, None);
    }

    fn try_next_port(&mut self, id: UserId, last: Option<IoError>) {
        let (min, max) = self.setup.ports;
        let Some(ports) = self.sockets.users.get_mut(&id) else { return };
        let Some(port) = ports.candidates.pop() else {
            let why = last.map_or_else(String::new, |e| format!(": {e}"));
            self.sockets.users.remove(&id);
            let text = format!(
                "no free chat port from {min} to {max}{why}: end a program that holds one, or set \
                 port-min and port-max"
            );
            if self.sockets.without.insert(id) {
                self.heard(Heard::Port(id, Err(IoError::new(Trouble::InUse, text))));
            }
            return;
        };
        if self.sockets.is_own_port(port) {
            return self.try_next_port(id, last);
        }
        let (udp, net) = self.sockets.bind(Role::ChatUdp(id), Bind::Udp(port));
        if let Some(ports) = self.sockets.users.get_mut(&id) {
            (ports.port, ports.udp, ports.udp_open, ports.tcp_open) = (port, udp, false, false);
        }
        self.net(net);
    }

    pub(super) fn close_user(&mut self, id: UserId) {
        let of_user = |role: &Role| match role {
            Role::ChatUdp(user) | Role::Tcp(user, _) => *user == id,
            Role::Discovery | Role::ImageUdp => false,
        };
        let closed: Vec<SocketId> =
            self.sockets.open.iter().filter(|(_, r)| of_user(r)).map(|(s, _)| *s).collect();
        for socket in closed {
            self.sockets.open.remove(&socket);
            self.net(Net::Unbind(socket));
        }
        self.sockets.users.remove(&id);
    }

    /// A `Bind` succeeded.
    pub fn bound(&mut self, now: u64, socket: SocketId) {
        match self.sockets.role(socket) {
            None | Some(Role::ImageUdp) => {}
            Some(Role::Discovery) => self.heard(Heard::Discovery(Ok(()))),
            Some(Role::ChatUdp(id)) => {
                let Some(ports) = self.sockets.users.get_mut(&id) else { return };
                ports.udp_open = true;
                let bind = Bind::Tcp(ports.port);
                let (_, net) = self.sockets.bind(Role::Tcp(id, PortKind::Chat), bind);
                self.net(net);
            }
            Some(Role::Tcp(id, PortKind::Chat)) => self.port_open(now, id),
            Some(Role::Tcp(..)) => {}
        }
    }

    fn port_open(&mut self, now: u64, id: UserId) {
        let Some(ports) = self.sockets.users.get_mut(&id) else { return };
        ports.tcp_open = true;
        self.sockets.without.remove(&id);
        let Some(ports) = self.sockets.users.get_mut(&id) else { return };
        ports.candidates.clear();
        let (port, wanted_failed) = (ports.port, ports.wanted_failed.take());
        if let Some(text) = wanted_failed {
            let text = format!("{text}; {port} is used instead");
            self.complain_ours(text);
        }
        self.heard(Heard::Port(id, Ok(port)));
        let beside = [(1, PortKind::ImagePlus1), (100, PortKind::ImagePlus100)];
        let mut extra: Vec<(u16, PortKind)> =
            beside.iter().filter_map(|(n, kind)| Some((port.checked_add(*n)?, *kind))).collect();
        let own = self.users.get(&id).and_then(|me| me.image_port);
        extra.extend(own.map(|p| (p, PortKind::ImageOnly)));
        for (port, kind) in extra {
            let (_, net) = self.sockets.bind(Role::Tcp(id, kind), Bind::Tcp(port));
            self.net(net);
        }
        if self.users.get(&id).is_some_and(|me| me.joined) {
            self.announce_soon(now, 0);
        }
    }

    /// A `Bind` failed.
    pub fn bind_failed(&mut self, now: Millis, socket: SocketId, error: IoError) {
        match self.sockets.open.remove(&socket) {
            None => {}
            Some(Role::Discovery) => {
                self.rebind_at = Some(now + REBIND_MS);
                self.heard(Heard::Discovery(Err(error)));
            }
            Some(Role::ImageUdp) => {
                let port = self.setup.image_port;
                self.complain_ours(format!(
                    "UDP port {port} is not ours ({error}): images of the NO_IPC program will not \
                     come in; slcp.image-port sets another"
                ));
            }
            Some(Role::ChatUdp(id)) => self.port_failed(now, id, error),
            Some(Role::Tcp(id, PortKind::Chat)) => {
                if let Some(ports) = self.sockets.users.get(&id) {
                    let udp = ports.udp;
                    self.sockets.open.remove(&udp);
                    self.net(Net::Unbind(udp));
                }
                self.port_failed(now, id, error);
            }
            Some(Role::Tcp(id, PortKind::ImageOnly)) => {
                let port = self.users.get(&id).and_then(|me| me.image_port).unwrap_or_default();
                self.complain_ours(format!(
                    "TCP port {port} for images is not ours ({error}): set another image-port"
                ));
            }
            // a neighbour's chat port may well be there: only program 002 and BYMY miss it
            Some(Role::Tcp(..)) => {}
        }
    }

    fn port_failed(&mut self, now: Millis, id: UserId, error: IoError) {
        let wanted = self.users.get(&id).and_then(|me| me.wanted_port);
        if let Some(ports) = self.sockets.users.get_mut(&id) {
            ports.udp_open = false;
            if wanted == Some(ports.port) {
                ports.wanted_failed = Some(format!("port {} cannot be had ({error})", ports.port));
            }
        }
        self.try_next_port(id, Some(error));
        if !self.sockets.has_user(id) {
            self.rebind_at = Some(now + REBIND_MS);
        }
    }

    /// Tries again what could not be had: the program that held it may have ended.
    pub(super) fn rebind(&mut self, now: Millis) {
        if self.rebind_at.is_none_or(|at| at > now) {
            return;
        }
        self.rebind_at = None;
        if !self.sockets.open.values().any(|role| *role == Role::Discovery) {
            let (_, net) = self.sockets.bind(Role::Discovery, Bind::SharedUdp(self.setup.port));
            self.net(net);
        }
        for id in self.users.keys().copied().collect::<Vec<_>>() {
            if !self.sockets.has_user(id) {
                self.open_user(id);
            }
        }
    }
}
