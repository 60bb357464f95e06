//! Datagrams of the virtual network, with Linux's rules: who gets what, and what comes back.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use klatsch::model::limits::DATAGRAM;
use klatsch::model::{Bind, IoError, Millis, SocketId, Trouble};
use klatsch::node::io::Input;

use crate::world::{Ev, Lan, World, io_error};

/// A send to an absent host comes back after so long: ARP gives up.
const ARP_MS: Millis = 3_070;
/// An open UDP socket.
pub struct Udp {
    pub node: usize,
    pub socket: SocketId,
    pub port: u16,
    pub shared: bool,
}

pub struct Packet {
    origin: (usize, SocketId),
    origin_host: usize,
    from: SocketAddrV4,
    to: SocketAddrV4,
    broadcast: bool,
    bytes: Vec<u8>,
}

/// How a packet goes.
pub struct Route {
    pub src: Ipv4Addr,
    /// `None`: within the host.
    pub lan: Option<usize>,
    /// The host that bears the address, and the interface it comes in on.
    pub there: Option<(usize, u32)>,
}

impl World {
    pub fn bind(&mut self, n: usize, socket: SocketId, bind: Bind) -> Input {
        let host = &mut self.hosts[self.slots[n].host];
        let (port, shared) = match bind {
            Bind::SharedUdp(port) => (port, true),
            Bind::Udp(port) => (port, false),
            // no beacons here: tests/link has a network of its own for them
            Bind::Multicast { .. } => return Input::Bound(socket),
            Bind::TcpAt(_) | Bind::Tcp(_) | Bind::TcpBoth(_) => {
                let port = match bind {
                    Bind::TcpAt(at) => at.port(),
                    Bind::Tcp(port)
                    | Bind::TcpBoth(port)
                    | Bind::Udp(port)
                    | Bind::SharedUdp(port)
                    | Bind::Multicast { port, .. } => port,
                };
                if host.listeners.iter().any(|l| l.2 == port) {
                    return Input::BindFailed(socket, io_error(Trouble::InUse));
                }
                host.listeners.push((n, socket, port));
                return Input::Bound(socket);
            }
        };
        if host.udp.iter().any(|u| u.port == port && !(u.shared && shared)) {
            return Input::BindFailed(socket, io_error(Trouble::InUse));
        }
        host.udp.push(Udp { node: n, socket, port, shared });
        Input::Bound(socket)
    }

    /// Whether two hosts reach each other.
    pub fn joined(&self, a: usize, b: usize) -> bool {
        a == b || (self.hosts[a].up && self.hosts[b].up && self.hosts[a].side == self.hosts[b].side)
    }

    /// The host that bears an address which `from` can reach, and over which interfaces.
    pub fn route(&self, from: usize, to: Ipv4Addr) -> Option<Route> {
        let host = &self.hosts[from];
        if to.is_loopback() || host.nics.iter().any(|nic| nic.ip == to) {
            let src = if to.is_loopback() { Ipv4Addr::LOCALHOST } else { to };
            return Some(Route { src, lan: None, there: Some((from, 1)) });
        }
        let nic = host.nics.iter().find(|nic| nic.reaches(to))?;
        let there = self.hosts.iter().enumerate().find_map(|(h, other)| {
            let over = other.nics.iter().find(|o| o.lan == nic.lan && o.ip == to)?;
            Some((h, over.index))
        });
        Some(Route { src: nic.ip, lan: Some(nic.lan), there })
    }

    /// A program that is not ours, 10.0.9.9 port 6000, broadcasts something to a node.
    pub fn hear(&mut self, n: usize, line: &str) {
        self.hear_from(n, 6000, line);
    }

    /// The same from another port.
    pub fn hear_from(&mut self, n: usize, port: u16, line: &str) {
        let host = &self.hosts[self.slots[n].host];
        let socket = host.udp.iter().find(|u| u.node == n && u.port == 4000).unwrap().socket;
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 9, 9), port);
        let (to, bytes) = (Some(Ipv4Addr::new(10, 0, 255, 255)), line.as_bytes().to_vec());
        self.feed(n, Input::Datagram { socket, from, to, link: 2, bytes });
    }

    pub fn send(
        &mut self,
        n: usize,
        socket: SocketId,
        to: SocketAddrV4,
        bytes: Vec<u8>,
    ) -> Option<IoError> {
        let home = self.slots[n].host;
        let port = self.hosts[home].udp.iter().find(|u| (u.node, u.socket) == (n, socket))?.port;
        self.mark(&bytes, |(sent, _)| *sent += 1);
        if bytes.len() > DATAGRAM {
            return Some(io_error(Trouble::TooLarge));
        }
        let packet = |src: Ipv4Addr, broadcast: bool, bytes: Vec<u8>| {
            let from = SocketAddrV4::new(src, port);
            let origin = (n, socket);
            Rc::new(Packet { origin, origin_host: home, from, to, broadcast, bytes })
        };
        if *to.ip() == Ipv4Addr::new(127, 255, 255, 255) {
            self.later(0, Ev::Udp(packet(Ipv4Addr::LOCALHOST, true, bytes), home, 1));
            return None;
        }
        let nics = &self.hosts[home].nics;
        let over = nics.iter().find(|nic| to.ip().is_broadcast() || nic.broadcast() == *to.ip());
        if let Some(nic) = over.cloned() {
            self.count.datagrams += 1;
            self.count.broadcasts += 1;
            self.count.bytes += bytes.len() as u64;
            let packet = packet(nic.ip, true, bytes);
            for h in 0..self.hosts.len() {
                let there = self.hosts[h].nics.iter().find(|o| o.lan == nic.lan);
                let Some(index) = there.map(|o| o.index) else { continue };
                if h == home {
                    self.later(0, Ev::Udp(Rc::clone(&packet), h, nic.index));
                } else if self.joined(home, h) {
                    self.over_lan(nic.lan, &packet, h, index);
                }
            }
            return None;
        }
        let Some(route) = self.route(home, *to.ip()) else {
            self.mark(&bytes, |(_, back)| *back += 1);
            return Some(io_error(Trouble::Unreachable));
        };
        let packet = packet(route.src, false, bytes);
        match (route.lan, route.there) {
            (None, _) => self.later(0, Ev::Udp(packet, home, 1)),
            (Some(lan), Some((h, index))) if self.joined(home, h) => {
                self.count.datagrams += 1;
                self.count.bytes += packet.bytes.len() as u64;
                self.over_lan(lan, &packet, h, index);
            }
            (Some(_), Some((h, _))) if self.silent_cut && self.hosts[h].up => {}
            _ => {
                let error = io_error(Trouble::Unreachable);
                let bytes = packet.bytes.clone();
                self.mark(&bytes, |(_, back)| *back += 1);
                self.give(ARP_MS, n, Input::Unreachable { socket, to, bytes, error });
            }
        }
        None
    }

    /// Notes something of the marked text that a datagram carries.
    fn mark(&mut self, bytes: &[u8], note: impl Fn(&mut (u32, u32))) {
        let text = String::from_utf8_lossy(bytes);
        let mark = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        if let Some((mark, _)) = mark {
            note(self.marked.entry(mark.to_owned()).or_default());
        }
    }

    fn over_lan(&mut self, lan: usize, packet: &Rc<Packet>, host: usize, index: u32) {
        let Lan { loss, duplication, delay, reorder } = self.lans[lan];
        let copies = if duplication > 0.0 && self.rng.f64() < duplication { 2 } else { 1 };
        for _ in 0..copies {
            if loss > 0.0 && self.rng.f64() < loss {
                continue;
            }
            let mut at = self.now + self.rng.u64(delay.0..=delay.1);
            if !reorder {
                let last = self.last_at.entry((packet.origin_host, host)).or_default();
                at = at.max(*last);
                *last = at;
            }
            self.later(at - self.now, Ev::Udp(Rc::clone(packet), host, index));
        }
    }

    pub fn arrive(&mut self, packet: &Packet, host: usize, link: u32) {
        if !self.hosts[host].up {
            return;
        }
        if link != 1 && host != packet.origin_host {
            self.count.received += 1;
        }
        let port = packet.to.port();
        let open = self.hosts[host].udp.iter().filter(|u| u.port == port);
        let mut sockets: Vec<(usize, SocketId)> = open.map(|u| (u.node, u.socket)).collect();
        if !packet.broadcast && sockets.len() > 1 {
            sockets.drain(..sockets.len() - 1); // the one bound last
        }
        if sockets.is_empty() && !packet.broadcast && self.joined(host, packet.origin_host) {
            let (n, socket) = packet.origin;
            let error = io_error(Trouble::Refused);
            let (to, bytes) = (packet.to, packet.bytes.clone());
            self.mark(&bytes, |(_, back)| *back += 1);
            self.give(1, n, Input::Unreachable { socket, to, bytes, error });
        }
        for (n, socket) in sockets {
            let (from, to) = (packet.from, Some(*packet.to.ip()));
            let bytes = packet.bytes.clone();
            self.feed(n, Input::Datagram { socket, from, to, link, bytes });
        }
    }
}
