//! The network: beacons, and connections with their pipes, as the weather lets them.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use klatsch::dialect::link::machine::Beaconed;
use klatsch::model::limits::CHUNK;
use klatsch::model::net::ACCEPTED;
use klatsch::model::{Bind, IoError, Millis, Net, SocketId, StreamId, Trouble};

use super::{Ev, PORT, World};

/// Bytes that a connection holds each way before a write waits.
const PIPE: usize = 64 * 1024;

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of datagrams and of attempts to connect.
    pub loss: f64,
    pub duplication: f64,
    pub delay: (Millis, Millis),
    /// That a connection breaks, per piece delivered.
    pub breaks: f64,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { loss: 0.0, duplication: 0.0, delay: (0, 3), breaks: 0.0 }
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The reader wants more.
    wanted: bool,
    /// Something is on its way to the reader.
    moving: bool,
    /// The writer waits for room.
    waiting: bool,
    fin: bool,
}

pub(super) struct Conn {
    /// Node and stream at each end; none: that end is closed.
    pub(super) ends: [Option<(usize, StreamId)>; 2],
    pipes: [Pipe; 2],
    /// Nothing comes through any more, and nobody is told.
    dead: bool,
}

impl World {
    /// The host gets other addresses: what was connected over the old ones is dead.
    pub fn renumber(&mut self, n: usize, low: u16) {
        self.nodes[n].v4 = self.nodes[n].v4.map(|_| Ipv4Addr::from(0x0a00_0000 + u32::from(low)));
        self.nodes[n].v6 = self.nodes[n].v6.map(|_| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, low));
        self.cut(n);
        self.with(n, |now, m| m.set_interfaces(now, Vec::new()));
        self.links(n);
    }

    /// Every connection of a node is dead, and nobody is told.
    pub fn cut(&mut self, n: usize) {
        for conn in self.conns.values_mut() {
            if conn.ends.iter().flatten().any(|(m, _)| *m == n) {
                conn.dead = true;
            }
        }
    }

    /// Nodes of another side are not reached.
    pub fn partition(&mut self, n: usize, side: u32) {
        self.nodes[n].side = side;
        let nodes = &self.nodes;
        for conn in self.conns.values_mut() {
            let sides: Vec<u32> = conn.ends.iter().flatten().map(|(m, _)| nodes[*m].side).collect();
            conn.dead |= sides.windows(2).any(|w| w[0] != w[1]);
        }
    }

    /// Breaks every connection, with word to both ends.
    pub fn break_all(&mut self) {
        let ids: Vec<usize> = self.conns.keys().copied().collect();
        for id in ids {
            self.snap(id);
        }
    }

    fn snap(&mut self, id: usize) {
        let Some(conn) = self.conns.remove(&id) else { return };
        for (n, stream) in conn.ends.into_iter().flatten() {
            let error = IoError::new(Trouble::Reset, "broken");
            self.with(n, |now, m| m.stream_closed(now, stream, &error));
        }
    }

    pub(super) fn net(&mut self, n: usize, net: Net) {
        match net {
            Net::Bind(socket, Bind::Multicast { v6, .. }) => {
                self.nodes[n].beacons[usize::from(v6)] = true;
                self.with(n, |now, m| m.bound(now, socket));
            }
            Net::Bind(socket, Bind::TcpBoth(port)) => {
                self.nodes[n].listening = Some((socket, port));
                self.with(n, |now, m| m.bound(now, socket));
            }
            Net::Cast { to, bytes, .. } => self.cast(n, to.is_ipv6(), bytes),
            Net::Dial(stream, to) => self.dial(n, stream, to),
            Net::Write(stream, bytes) => {
                let Some((id, end)) = self.end(n, stream) else { return };
                if let Some(tape) = &mut self.tape {
                    tape.push((id, end, bytes.clone()));
                }
                let Some(conn) = self.conns.get_mut(&id) else { return };
                let pipe = &mut conn.pipes[end];
                pipe.bytes.extend(&bytes);
                if pipe.bytes.len() <= PIPE {
                    self.later(0, Ev::Wrote(id, end));
                } else {
                    pipe.waiting = true;
                }
                self.moves(id, end);
            }
            Net::ReadMore(stream) => {
                let Some((id, end)) = self.end(n, stream) else { return };
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.pipes[1 - end].wanted = true;
                }
                self.moves(id, 1 - end);
            }
            Net::Close(stream) => {
                if let Some((id, end)) = self.end(n, stream) {
                    self.close(id, end, false);
                }
            }
            _ => {}
        }
    }

    fn end(&self, n: usize, stream: StreamId) -> Option<(usize, usize)> {
        let (id, end) = *self.ends.get(&(n, stream))?;
        let conn = self.conns.get(&id)?;
        (conn.ends[end] == Some((n, stream))).then_some((id, end))
    }

    /// One end is gone: what it wrote still arrives, unless the process died.
    pub(super) fn close(&mut self, id: usize, end: usize, crash: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[end] = None;
        conn.pipes[end].fin = true;
        if crash {
            conn.pipes[end].bytes.clear();
        }
        if conn.ends == [None, None] {
            self.conns.remove(&id);
            return;
        }
        self.moves(id, end);
    }

    fn moves(&mut self, id: usize, end: usize) {
        let (low, high) = self.weather.delay;
        let after = self.rng.u64(low..=high);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[end];
        if pipe.moving || conn.dead || (pipe.bytes.is_empty() && !pipe.fin) || !pipe.wanted {
            return;
        }
        pipe.moving = true;
        self.later(after, Ev::Move(id, end));
    }

    pub(super) fn carry(&mut self, id: usize, end: usize) {
        let broken = self.rng.f64() < self.weather.breaks;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.dead {
            return;
        }
        if broken {
            return self.snap(id);
        }
        let pipe = &mut conn.pipes[end];
        (pipe.moving, pipe.wanted) = (false, false);
        let len = pipe.bytes.len().min(CHUNK);
        let bytes: Vec<u8> = pipe.bytes.drain(..len).collect();
        let room = pipe.waiting && pipe.bytes.len() <= PIPE;
        if room {
            pipe.waiting = false;
        }
        let to = conn.ends[1 - end];
        if room {
            self.later(0, Ev::Wrote(id, end));
        }
        let Some((n, stream)) = to else { return };
        if bytes.is_empty() {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            conn.pipes[end].fin = false; // told once
            self.with(n, |now, m| m.stream_end(now, stream));
        } else {
            self.with(n, |now, m| m.stream_bytes(now, stream, &bytes));
        }
    }

    fn reach(&self, a: usize, b: usize) -> bool {
        a != b && self.nodes[a].side == self.nodes[b].side
    }

    fn cast(&mut self, n: usize, v6: bool, bytes: Vec<u8>) {
        self.beacons += 1;
        let from = match (v6, self.nodes[n].v4, self.nodes[n].v6) {
            (true, _, Some(ip)) => SocketAddr::V6(SocketAddrV6::new(ip, PORT, 0, 2)),
            (false, Some(ip), _) => SocketAddr::new(ip.into(), PORT),
            _ => return,
        };
        for to in 0..self.nodes.len() {
            let node = &self.nodes[to];
            let has = if v6 { node.v6.is_some() } else { node.v4.is_some() };
            if !self.reach(n, to) || node.machine.is_none() || !has || node.deaf {
                continue;
            }
            let socket = SocketId(100 + u32::from(v6));
            let copies = 1 + usize::from(self.rng.f64() < self.weather.duplication);
            for _ in 0..copies {
                if self.rng.f64() < self.weather.loss {
                    continue;
                }
                let (low, high) = self.weather.delay;
                let after = self.rng.u64(low..=high);
                let came = Beaconed { socket, from, link: 2, bytes: bytes.clone() };
                self.later(after, Ev::Beacon(to, came));
            }
        }
    }

    fn dial(&mut self, n: usize, stream: StreamId, to: SocketAddr) {
        self.dials += 1;
        let there = (0..self.nodes.len()).find(|m| {
            let node = &self.nodes[*m];
            let ip = match to.ip() {
                IpAddr::V4(ip) => node.v4 == Some(ip),
                IpAddr::V6(ip) => node.v6 == Some(ip),
            };
            ip && self.reach(n, *m) && node.listening.is_some_and(|(_, p)| p == to.port())
        });
        let lost = self.rng.f64() < self.weather.loss;
        let Some(there) = there.filter(|_| !lost) else {
            let after = self.rng.u64(1..3_000);
            return self.later(after, Ev::Refused(n, stream));
        };
        self.handshakes += 1;
        let from = match to {
            SocketAddr::V4(_) => SocketAddr::new(self.nodes[n].v4.expect("it sent").into(), 40_000),
            SocketAddr::V6(_) => {
                let ip = self.nodes[n].v6.expect("it sent");
                SocketAddr::V6(SocketAddrV6::new(ip, 40_000, 0, 2))
            }
        };
        self.nodes[there].accepted += 1;
        let other = StreamId(ACCEPTED | self.nodes[there].accepted);
        let id = self.next_conn;
        self.next_conn += 1;
        let mut conn = Conn {
            ends: [Some((n, stream)), Some((there, other))],
            pipes: [Pipe::default(), Pipe::default()],
            dead: false,
        };
        conn.pipes[0].wanted = true;
        conn.pipes[1].wanted = true;
        self.conns.insert(id, conn);
        self.ends.insert((n, stream), (id, 0));
        self.ends.insert((there, other), (id, 1));
        let socket = self.nodes[there].listening.expect("it listens").0;
        self.later(1, Ev::Connected(n, stream));
        self.with(there, |now, m| m.accepted(now, socket, other, from));
    }
}
