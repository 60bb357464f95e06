//! Streams of the virtual network: bytes in order, a bounded window, FIN and RST.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use klatsch::model::limits::{CHUNK, CONNECT_MS, STALL_MS};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{Millis, Net, StreamId, Trouble};
use klatsch::node::io::Input;

use crate::world::{Ev, World, io_error};

/// Bytes on their way or unread at the other end before a writer waits.
const WINDOW: usize = 64 * 1024;
/// A segment that does not get through is tried again after so long.
const RETRY_MS: Millis = 200;

pub enum Segment {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

pub struct End {
    node: usize,
    host: usize,
    id: StreamId,
    /// The node has not closed it.
    open: bool,
    inbox: VecDeque<u8>,
    /// Reads that the node wants.
    wants: u32,
    fin: bool,
    reset: bool,
    told_end: bool,
    /// Bytes written here that the other end has not read.
    unread: usize,
    written: u64,
    waits: bool,
    fin_sent: bool,
    /// Segments keep their order.
    last_at: Millis,
}

pub struct Conn {
    ends: [End; 2],
    lan: Option<usize>,
}

impl World {
    pub fn tcp(&mut self, n: usize, net: Net) {
        match net {
            Net::Connect(stream, to) => self.tcp_connect(n, stream, to),
            Net::Write(stream, bytes) => self.tcp_write(n, stream, bytes),
            Net::ReadMore(stream) => {
                if let Some((conn, end)) = self.end_of(n, stream) {
                    self.conns[conn].ends[end].wants += 1;
                    self.tcp_read(conn, end);
                }
            }
            Net::Finish(stream) => {
                if let Some((conn, end)) = self.end_of(n, stream) {
                    self.conns[conn].ends[end].fin_sent = true;
                    self.transmit(conn, end, Segment::Fin);
                }
            }
            Net::Close(stream) => self.tcp_close(n, stream),
            Net::Bind(..) | Net::Unbind(_) | Net::Send { .. } => unreachable!("no stream's"),
            Net::Join { .. } | Net::Cast { .. } | Net::Dial(..) => {
                unreachable!("the link is off here: tests/link has a network for it")
            }
        }
    }

    fn end_of(&self, n: usize, stream: StreamId) -> Option<(usize, usize)> {
        self.slots[n].streams.get(&stream).copied()
    }

    fn tcp_connect(&mut self, n: usize, stream: StreamId, to: SocketAddrV4) {
        let home = self.slots[n].host;
        let Some(route) = self.route(home, *to.ip()) else {
            return self.give(0, n, Input::Closed(stream, io_error(Trouble::Unreachable)));
        };
        let Some((there, _)) = route.there.filter(|(h, _)| self.joined(home, *h)) else {
            return self.give(CONNECT_MS, n, Input::Closed(stream, io_error(Trouble::TimedOut)));
        };
        let listener = self.hosts[there].listeners.iter().find(|l| l.2 == to.port()).copied();
        let Some((server, socket, _)) = listener else {
            return self.give(2, n, Input::Closed(stream, io_error(Trouble::Refused)));
        };
        self.slots[server].next_stream += 1;
        let accepted = StreamId(ACCEPTED | self.slots[server].next_stream);
        let conn = self.conns.len();
        let end = |node, host, id| End {
            node,
            host,
            id,
            open: true,
            inbox: VecDeque::new(),
            wants: 1,
            fin: false,
            reset: false,
            told_end: false,
            unread: 0,
            written: 0,
            waits: false,
            fin_sent: false,
            last_at: 0,
        };
        let ends = [end(n, home, stream), end(server, there, accepted)];
        self.conns.push(Conn { ends, lan: route.lan });
        self.slots[n].streams.insert(stream, (conn, 0));
        self.slots[server].streams.insert(accepted, (conn, 1));
        let port = self.rng.u16(32_768..61_000);
        let from = SocketAddrV4::new(route.src, port);
        self.give(1, server, Input::Accepted { socket, stream: accepted, from });
        self.give(2, n, Input::Connected(stream));
    }

    fn transmit(&mut self, conn: usize, from: usize, segment: Segment) {
        let delay = match self.conns[conn].lan {
            Some(lan) => {
                let lan = self.lans[lan];
                let lost = lan.loss > 0.0 && self.rng.f64() < lan.loss;
                self.rng.u64(lan.delay.0..=lan.delay.1) + if lost { RETRY_MS } else { 0 }
            }
            None => 0,
        };
        let end = &mut self.conns[conn].ends[from];
        let at = (self.now + delay.max(1)).max(end.last_at);
        end.last_at = at;
        self.later(at - self.now, Ev::Segment(conn, 1 - from, segment));
    }

    fn tcp_write(&mut self, n: usize, stream: StreamId, bytes: Vec<u8>) {
        let Some((conn, at)) = self.end_of(n, stream) else { return };
        let end = &mut self.conns[conn].ends[at];
        if end.reset || end.fin_sent {
            return self.broken(conn, at, Trouble::Reset);
        }
        assert!(!end.waits, "node {n} writes again before it was told of the last write");
        end.unread += bytes.len();
        end.written += bytes.len() as u64;
        end.waits = true;
        let written = end.written;
        if end.unread <= WINDOW {
            end.waits = false;
            self.give(0, n, Input::Wrote(stream));
        } else {
            self.later(STALL_MS, Ev::Stalled(conn, at, written));
        }
        self.transmit(conn, at, Segment::Bytes(bytes));
    }

    pub fn write_stalled(&mut self, conn: usize, at: usize, written: u64) {
        let end = &self.conns[conn].ends[at];
        if end.open && end.waits && end.written == written {
            self.broken(conn, at, Trouble::TimedOut);
        }
    }

    /// The stream ends for this side with an error.
    fn broken(&mut self, conn: usize, at: usize, why: Trouble) {
        let end = &mut self.conns[conn].ends[at];
        if !std::mem::replace(&mut end.open, false) {
            return;
        }
        let (n, id) = (end.node, end.id);
        self.slots[n].streams.remove(&id);
        self.give(0, n, Input::Closed(id, io_error(why)));
        self.transmit(conn, at, Segment::Reset);
    }

    pub fn tcp_close(&mut self, n: usize, stream: StreamId) {
        let Some((conn, at)) = self.slots[n].streams.remove(&stream) else { return };
        let end = &mut self.conns[conn].ends[at];
        end.open = false;
        if !end.inbox.is_empty() {
            self.transmit(conn, at, Segment::Reset);
        } else if !end.fin_sent {
            end.fin_sent = true;
            self.transmit(conn, at, Segment::Fin);
        }
    }

    pub fn segment(&mut self, conn: usize, at: usize, segment: Segment) {
        let [a, b] = &self.conns[conn].ends;
        if !self.joined(a.host, b.host) {
            if a.open || b.open {
                // order is kept: everything behind it waits at least as long
                let other = &mut self.conns[conn].ends[1 - at];
                other.last_at = other.last_at.max(self.now + RETRY_MS);
                self.later(RETRY_MS, Ev::Segment(conn, at, segment));
            }
            return;
        }
        let end = &mut self.conns[conn].ends[at];
        match segment {
            Segment::Bytes(_) if !end.open => {
                self.transmit(conn, at, Segment::Reset);
            }
            Segment::Bytes(bytes) => end.inbox.extend(bytes),
            Segment::Fin => end.fin = true,
            Segment::Reset => {
                end.reset = true;
                if end.open && end.waits {
                    return self.broken(conn, at, Trouble::Reset);
                }
            }
        }
        self.tcp_read(conn, at);
    }

    fn tcp_read(&mut self, conn: usize, at: usize) {
        let most = self.rng.usize(1..=CHUNK);
        let end = &mut self.conns[conn].ends[at];
        if !end.open || end.wants == 0 {
            return;
        }
        let (n, id) = (end.node, end.id);
        if !end.inbox.is_empty() {
            let most = if self.rng.bool() { CHUNK } else { most };
            let len = end.inbox.len().min(most);
            let bytes: Vec<u8> = end.inbox.drain(..len).collect();
            end.wants -= 1;
            let more = end.wants > 0;
            self.give(0, n, Input::Bytes(id, bytes));
            self.was_read(conn, 1 - at, len);
            if more {
                self.tcp_read(conn, at);
            }
        } else if end.reset {
            self.broken(conn, at, Trouble::Reset);
        } else if end.fin && !end.told_end {
            end.told_end = true;
            end.wants = 0;
            self.give(0, n, Input::End(id));
        }
    }

    fn was_read(&mut self, conn: usize, writer: usize, len: usize) {
        let end = &mut self.conns[conn].ends[writer];
        end.unread -= len;
        if end.open && end.waits && end.unread <= WINDOW {
            end.waits = false;
            let (n, id) = (end.node, end.id);
            self.give(1, n, Input::Wrote(id));
        }
    }
}
