//! Streams: cut into pieces at random, held up by a reader that does not read, refused, timed
//! out, reset. What a driver promises (`node::io`) is what this does, and no more: one piece per
//! permission to read.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use klatsch::model::limits::{CHUNK, CONNECT_MS, STALL_MS};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{IoError, Net, StreamId, Trouble};
use klatsch::node::io::Input;

use crate::udp::reaches;
use crate::world::{Due, HostNo, NodeNo, World};

/// Bytes that may lie in a connection before its writer has to wait.
const WINDOW: usize = 64 * 1024;

/// One end of a connection.
struct End {
    node: NodeNo,
    life: u32,
    stream: StreamId,
    /// Arrived and not read.
    bytes: Vec<u8>,
    /// The other end sends no more after these.
    fin: bool,
    /// Permissions to read.
    reads: u32,
    /// Forgotten by its node.
    closed: bool,
    /// Told that it is over.
    over: bool,
    /// What this end could not write yet, and since when.
    unsent: Vec<(u64, Vec<u8>)>,
    finishing: bool,
}

pub struct Conn {
    ends: [End; 2],
    hosts: [HostNo; 2],
    lan: Option<usize>,
}

#[derive(Default)]
pub struct Tcp {
    conns: BTreeMap<u64, Conn>,
    next: u64,
}

/// What the network does later.
pub enum Moment {
    Connect { node: NodeNo, life: u32, stream: StreamId, to: SocketAddrV4 },
    /// Bytes, or with none a FIN, reach an end.
    Arrive { conn: u64, end: usize, bytes: Vec<u8> },
    /// Whether a writer waited too long.
    Stall { conn: u64, end: usize },
    Reset { conn: u64, end: usize, text: &'static str, kind: Trouble },
    Read { conn: u64, end: usize },
}

impl Tcp {
    /// Connections that are not over at both ends.
    pub fn open(&self) -> usize {
        self.conns.len()
    }
}

impl World {
    pub fn tcp_do(&mut self, no: NodeNo, net: Net) {
        let life = self.slots[no].life;
        if let Net::Connect(stream, to) = net {
            let moment = Moment::Connect { node: no, life, stream, to };
            return self.later(no, life, 1, Due::Tcp(moment));
        }
        let stream = match &net {
            Net::Write(s, _) | Net::ReadMore(s) | Net::Finish(s) | Net::Close(s) => *s,
            _ => return,
        };
        let Some((conn, end)) = self.find(no, life, stream) else { return };
        let this = &mut self.tcp.conns.get_mut(&conn).unwrap().ends[end];
        match net {
            Net::ReadMore(_) => {
                this.reads += 1;
                self.later(no, life, 0, Due::Tcp(Moment::Read { conn, end }));
            }
            Net::Write(_, bytes) => {
                this.unsent.push((self.now, bytes));
                self.push(conn, end);
            }
            Net::Finish(_) => {
                this.finishing = true;
                self.push(conn, end);
            }
            Net::Close(_) => {
                this.closed = true;
                let unread = !this.bytes.is_empty();
                this.finishing = true;
                self.push(conn, end);
                if unread {
                    self.reset(conn, 1 - end, 1);
                }
                self.tidy(conn);
            }
            _ => {}
        }
    }

    fn find(&self, no: NodeNo, life: u32, stream: StreamId) -> Option<(u64, usize)> {
        self.tcp.conns.iter().find_map(|(id, conn)| {
            let is = |e: &End| (e.node, e.life, e.stream) == (no, life, stream) && !e.closed;
            conn.ends.iter().position(is).map(|end| (*id, end))
        })
    }

    /// Sends what an end has to send, as far as the other takes it.
    fn push(&mut self, id: u64, end: usize) {
        let Some(conn) = self.tcp.conns.get_mut(&id) else { return };
        let cut = conn.lan.is_some_and(|lan| {
            let cut = &self.lans[lan].cut;
            cut.contains(&conn.hosts[0]) != cut.contains(&conn.hosts[1])
        });
        let (node, life, stream) = (conn.ends[end].node, conn.ends[end].life, conn.ends[end].stream);
        let gone = conn.ends[1 - end].closed || conn.ends[1 - end].over;
        while !conn.ends[end].unsent.is_empty() {
            if gone {
                return self.reset(id, end, 1);
            }
            if cut || conn.ends[1 - end].bytes.len() >= WINDOW {
                return self.later(node, life, STALL_MS, Due::Tcp(Moment::Stall { conn: id, end }));
            }
            let (_, bytes) = conn.ends[end].unsent.remove(0);
            conn.ends[1 - end].bytes.extend(&bytes);
            let to = (conn.ends[1 - end].node, conn.ends[1 - end].life);
            self.next_read(to, id, 1 - end);
            self.later(node, life, 1, Due::Input(Input::Wrote(stream)));
            let Some(again) = self.tcp.conns.get_mut(&id) else { return };
            return if again.ends[end].unsent.is_empty() && again.ends[end].finishing {
                self.push(id, end);
            };
        }
        if conn.ends[end].finishing && !gone {
            let to = (conn.ends[1 - end].node, conn.ends[1 - end].life);
            let moment = Moment::Arrive { conn: id, end: 1 - end, bytes: Vec::new() };
            self.later(to.0, to.1, 3, Due::Tcp(moment));
        }
    }

    fn next_read(&mut self, (node, life): (NodeNo, u32), conn: u64, end: usize) {
        let delay = self.rng.u64(1..3);
        self.later(node, life, delay, Due::Tcp(Moment::Read { conn, end }));
    }

    /// Tells an end that it broke.
    fn reset(&mut self, conn: u64, end: usize, after: u64) {
        let text = "the other end broke the connection off";
        let moment = Moment::Reset { conn, end, text, kind: Trouble::Reset };
        self.later(0, 0, after, Due::Tcp(moment));
    }

    /// The process is gone: so are its connections.
    pub fn reset_all_of(&mut self, no: NodeNo) {
        let of: Vec<(u64, usize)> = self
            .tcp
            .conns
            .iter()
            .filter_map(|(id, c)| Some((*id, c.ends.iter().position(|e| e.node == no)?)))
            .collect();
        for (id, end) in of {
            self.tcp.conns.get_mut(&id).unwrap().ends[end].closed = true;
            self.reset(id, 1 - end, 2);
        }
    }

    fn tidy(&mut self, id: u64) {
        if self.tcp.conns.get(&id).is_some_and(|c| c.ends.iter().all(|e| e.closed || e.over)) {
            self.tcp.conns.remove(&id);
        }
    }

    pub fn tcp_moment(&mut self, moment: Moment) {
        match moment {
            Moment::Connect { node, life, stream, to } => self.connect(node, life, stream, to),
            Moment::Arrive { conn, end, .. } => {
                if let Some(conn) = self.tcp.conns.get_mut(&conn) {
                    conn.ends[end].fin = true;
                }
                self.read(conn, end);
            }
            Moment::Read { conn, end } => self.read(conn, end),
            Moment::Stall { conn, end } => {
                let Some(this) = self.tcp.conns.get(&conn).map(|c| &c.ends[end]) else { return };
                if this.unsent.first().is_some_and(|(since, _)| since + STALL_MS <= self.now) {
                    let text = "it takes nothing for 15 seconds";
                    let moment = Moment::Reset { conn, end, text, kind: Trouble::TimedOut };
                    self.tcp_moment(moment);
                } else if !this.unsent.is_empty() {
                    self.push(conn, end);
                }
            }
            Moment::Reset { conn, end, text, kind } => {
                let Some(this) = self.tcp.conns.get_mut(&conn).map(|c| &mut c.ends[end]) else {
                    return;
                };
                let told = !std::mem::replace(&mut this.over, true) && !this.closed;
                let (node, life, stream) = (this.node, this.life, this.stream);
                if told && self.slots[node].life == life {
                    self.feed(node, Input::Closed(stream, IoError::new(kind, text)));
                }
                self.tidy(conn);
            }
        }
    }

    /// Gives an end one piece, if it may have one.
    fn read(&mut self, id: u64, end: usize) {
        let Some(conn) = self.tcp.conns.get_mut(&id) else { return };
        let this = &mut conn.ends[end];
        if this.reads == 0 || this.closed || this.over {
            return;
        }
        let (node, life, stream) = (this.node, this.life, this.stream);
        if self.slots[node].life != life {
            return;
        }
        if this.bytes.is_empty() {
            if this.fin {
                (this.reads, this.fin) = (0, false);
                self.feed(node, Input::End(stream));
            }
            return;
        }
        this.reads -= 1;
        let most = this.bytes.len().min(CHUNK);
        let take = if self.rng.u8(0..4) == 0 { self.rng.usize(1..=most) } else { most };
        let piece: Vec<u8> = this.bytes.drain(..take).collect();
        self.feed(node, Input::Bytes(stream, piece));
        self.push(id, 1 - end);
        self.read(id, end);
    }

    fn connect(&mut self, node: NodeNo, life: u32, stream: StreamId, to: SocketAddrV4) {
        let host = self.slots[node].host;
        let ip = *to.ip();
        let own = ip.is_loopback() || self.hosts[host].links.iter().any(|(_, a)| *a == ip);
        let lan = self.hosts[host].links.iter().find(|(lan, _)| reaches(*lan, ip)).copied();
        let (other, from, lan) = match lan {
            _ if own => (Some(host), ip, None),
            Some((lan, from)) => {
                let owner = |h: &HostNo| self.hosts[*h].links.contains(&(lan, ip));
                let owner = (0..self.hosts.len()).find(owner);
                (owner.filter(|h| self.joined(lan, host, *h)), from, Some(lan))
            }
            None => (None, ip, None),
        };
        let Some(other) = other else {
            let error = IoError::new(Trouble::TimedOut, "no answer in time");
            return self.later(node, life, CONNECT_MS, Due::Input(Input::Closed(stream, error)));
        };
        let listener = self.hosts[other].tcp.iter().find(|(p, ..)| *p == to.port()).copied();
        let Some((_, server, socket)) = listener else {
            let error = IoError::new(Trouble::Refused, "nobody listens there");
            return self.later(node, life, 1, Due::Input(Input::Closed(stream, error)));
        };
        self.tcp.next += 1;
        let id = self.tcp.next;
        let accepted = StreamId(ACCEPTED | id);
        let end = |node: NodeNo, life: u32, stream: StreamId| End {
            node,
            life,
            stream,
            bytes: Vec::new(),
            fin: false,
            reads: 1,
            closed: false,
            over: false,
            unsent: Vec::new(),
            finishing: false,
        };
        let ends = [end(node, life, stream), end(server, self.slots[server].life, accepted)];
        self.tcp.conns.insert(id, Conn { ends, hosts: [host, other], lan });
        let port = 30_000 + u16::try_from(id % 30_000).unwrap();
        let from = SocketAddrV4::new(from, port);
        self.feed(server, Input::Accepted { socket, stream: accepted, from });
        if self.slots[node].life == life {
            self.feed(node, Input::Connected(stream));
        }
    }
}
