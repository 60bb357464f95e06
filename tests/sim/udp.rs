//! Datagrams: loss, delay, doubles, shared ports as Linux has them (captures/reuse-behaviour.txt:
//! a broadcast reaches every socket of a port, a unicast the one bound last), ICMP errors.

use std::net::{Ipv4Addr, SocketAddrV4};

use klatsch::model::{Bind, IoError, SocketId, Trouble};
use klatsch::node::io::Input;

use crate::world::{Due, HostNo, NodeNo, World, broadcast};

pub struct Bound {
    pub port: u16,
    pub node: NodeNo,
    pub socket: SocketId,
    pub shared: bool,
}

/// A datagram under way to one host.
#[derive(Clone)]
pub struct Flight {
    pub host: HostNo,
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub all: bool,
    pub link: u32,
    pub bytes: Vec<u8>,
    /// Who hears of an ICMP error.
    pub sender: Option<(NodeNo, u32, SocketId)>,
}

impl World {
    pub fn bind(&mut self, no: NodeNo, socket: SocketId, bind: Bind) {
        let host = &mut self.hosts[self.slots[no].host];
        let free = match bind {
            Bind::SharedUdp(port) => !host.udp.iter().any(|b| b.port == port && !b.shared),
            Bind::Udp(port) => !host.udp.iter().any(|b| b.port == port),
            Bind::Tcp(port) => !host.tcp.iter().any(|(p, ..)| *p == port),
        };
        if !free {
            let error = IoError::new(Trouble::InUse, "the port is in use by another program");
            return self.input(no, 0, Input::BindFailed(socket, error));
        }
        match bind {
            Bind::SharedUdp(port) => {
                host.udp.push(Bound { port, node: no, socket, shared: true });
            }
            Bind::Udp(port) => host.udp.push(Bound { port, node: no, socket, shared: false }),
            Bind::Tcp(port) => host.tcp.push((port, no, socket)),
        }
        self.input(no, 0, Input::Bound(socket));
    }

    pub fn unbind(&mut self, no: NodeNo, socket: SocketId) {
        let host = &mut self.hosts[self.slots[no].host];
        host.udp.retain(|b| (b.node, b.socket) != (no, socket));
        host.tcp.retain(|(_, node, s)| (*node, *s) != (no, socket));
    }

    pub fn send(&mut self, no: NodeNo, socket: SocketId, to: SocketAddrV4, bytes: Vec<u8>) {
        assert!(bytes.len() <= 65_507, "no datagram holds {} bytes", bytes.len());
        let host = self.slots[no].host;
        let Some(port) =
            self.hosts[host].udp.iter().find(|b| (b.node, b.socket) == (no, socket)).map(|b| b.port)
        else {
            return;
        };
        let life = self.slots[no].life;
        let sender = Some((no, life, socket));
        let ip = *to.ip();
        let own = self.hosts[host].links.iter().any(|(_, a)| *a == ip);
        if ip.is_loopback() || own {
            let from = if own { ip } else { Ipv4Addr::LOCALHOST };
            let from = SocketAddrV4::new(from, port);
            let all = ip == Ipv4Addr::new(127, 255, 255, 255);
            let flight = Flight { host, from, to, all, link: 1, bytes, sender };
            return self.later(no, life, 0, Due::Udp(flight));
        }
        let lan = self.hosts[host].links.iter().find(|(lan, _)| reaches(*lan, ip)).copied();
        let Some((lan, from)) = lan else {
            let error = IoError::new(Trouble::Unreachable, "there is no way to that network");
            return self.input(no, 0, Input::Unreachable { socket, to, error });
        };
        self.slots[no].sent += 1;
        let from = SocketAddrV4::new(from, port);
        let link = u32::try_from(lan).unwrap() + 2;
        if ip == broadcast(lan) {
            for other in 0..self.hosts.len() {
                if self.hosts[other].links.iter().any(|(l, _)| *l == lan) {
                    let bytes = bytes.clone();
                    let flight =
                        Flight { host: other, from, to, all: true, link, bytes, sender: None };
                    self.fly(lan, host, flight);
                }
            }
            return;
        }
        let owner = (0..self.hosts.len()).find(|h| self.hosts[*h].links.contains(&(lan, ip)));
        match owner {
            Some(other) if self.joined(lan, host, other) => {
                let flight = Flight { host: other, from, to, all: false, link, bytes, sender };
                self.fly(lan, host, flight);
            }
            _ => {
                let error = IoError::new(Trouble::Unreachable, "the host cannot be reached");
                self.input(no, 3_000, Input::Unreachable { socket, to, error });
            }
        }
    }

    /// Whether no cut lies between two hosts.
    pub fn joined(&self, lan: usize, a: HostNo, b: HostNo) -> bool {
        let cut = &self.lans[lan].cut;
        cut.contains(&a) == cut.contains(&b)
    }

    fn fly(&mut self, lan: usize, from: HostNo, flight: Flight) {
        if from == flight.host {
            return self.later(0, 0, 0, Due::Udp(flight));
        }
        if !self.joined(lan, from, flight.host) {
            return;
        }
        let copies = 1 + u32::from(self.rng.u32(0..1_000) < self.lans[lan].doubled);
        for _ in 0..copies {
            if self.rng.u32(0..1_000) >= self.lans[lan].loss {
                let (low, high) = self.lans[lan].delay;
                let delay = self.rng.u64(low..=high);
                self.later(0, 0, delay, Due::Udp(flight.clone()));
            }
        }
    }

    pub fn udp_arrives(&mut self, flight: Flight) {
        let Flight { host, from, to, all, link, bytes, sender } = flight;
        let port = to.port();
        let found: Vec<(NodeNo, SocketId)> = self.hosts[host]
            .udp
            .iter()
            .rev()
            .filter(|b| b.port == port)
            .take(if all { usize::MAX } else { 1 })
            .map(|b| (b.node, b.socket))
            .collect();
        for (no, socket) in &found {
            let to = Some(*to.ip());
            let (socket, bytes) = (*socket, bytes.clone());
            self.feed(*no, Input::Datagram { socket, from, to, link, bytes });
        }
        if let (true, Some((no, life, socket))) = (found.is_empty() && !all, sender) {
            let error = IoError::new(Trouble::Refused, "nobody listens there");
            self.later(no, life, 1, Due::Input(Input::Unreachable { socket, to, error }));
        }
    }
}

pub fn reaches(lan: usize, ip: Ipv4Addr) -> bool {
    ip.octets()[..2] == [10, u8::try_from(lan).unwrap()]
}
