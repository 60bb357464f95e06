//! What the replays of room and directory share: the captures, and a bench that does what a
//! machine asks as a driver would.

#![allow(dead_code)] // each replay needs its part

use std::net::SocketAddrV4;
use std::path::PathBuf;

use klatsch::dialect::heard::{Chat, ChatId, Contact, Heard, Out};
use klatsch::dialect::{directory, room};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{Bind, Link, Millis, Net, SocketId, StreamId};

pub struct Message {
    pub proto: String,
    pub src: String,
    pub dst: String,
    pub stream: Option<u64>,
    pub bytes: Vec<u8>,
}

impl Message {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

pub fn load(dialect: &str, name: &str) -> Vec<Message> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(dialect);
    let text = std::fs::read_to_string(data.join(format!("{name}.jsonl"))).unwrap();
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_string();
        let hex = text("hex");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Message {
            proto: text("proto"),
            src: text("src"),
            dst: text("dst"),
            stream: value["stream"].as_u64(),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
        }
    };
    text.lines().map(message).collect()
}

/// What both machines have.
pub trait Machine {
    fn poll(&mut self) -> Option<Out>;
    fn wake_at(&self) -> Option<Millis>;
    fn tick(&mut self, now: Millis);
    fn set_links(&mut self, now: Millis, links: Vec<Link>);
    fn bound(&mut self, now: Millis, socket: SocketId);
    fn wrote(&mut self, now: Millis, stream: StreamId);
    fn accepted(&mut self, now: Millis, socket: SocketId, stream: StreamId, from: SocketAddrV4);
    fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>);
    fn datagram(&mut self, now: Millis, socket: SocketId, from: SocketAddrV4, bytes: &[u8]);
}

macro_rules! machine {
    ($machine:ty) => {
        impl Machine for $machine {
            fn poll(&mut self) -> Option<Out> {
                self.poll()
            }
            fn wake_at(&self) -> Option<Millis> {
                self.wake_at()
            }
            fn tick(&mut self, now: Millis) {
                self.tick(now);
            }
            fn set_links(&mut self, now: Millis, links: Vec<Link>) {
                self.set_links(now, links);
            }
            fn bound(&mut self, now: Millis, socket: SocketId) {
                self.bound(now, socket);
            }
            fn wrote(&mut self, now: Millis, stream: StreamId) {
                self.wrote(now, stream);
            }
            fn accepted(
                &mut self,
                now: Millis,
                socket: SocketId,
                stream: StreamId,
                from: SocketAddrV4,
            ) {
                self.accepted(now, socket, stream, from);
            }
            fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>) {
                self.stream_bytes(now, stream, bytes);
            }
            fn datagram(
                &mut self,
                now: Millis,
                socket: SocketId,
                from: SocketAddrV4,
                bytes: &[u8],
            ) {
                self.datagram(now, socket, from, bytes);
            }
        }
    };
}

machine!(room::Machine);
machine!(directory::Machine);

pub struct Bench<M> {
    pub m: M,
    pub now: Millis,
    pub bound: Vec<(SocketId, Bind)>,
    pub written: Vec<(StreamId, Vec<u8>)>,
    pub connects: Vec<(StreamId, SocketAddrV4)>,
    pub sent: Vec<(SocketAddrV4, Vec<u8>)>,
    pub heard: Vec<Heard>,
    next: u64,
}

impl<M: Machine> Bench<M> {
    pub fn new(m: M, address: [u8; 4]) -> Bench<M> {
        let mut bench = Bench {
            m,
            now: 1_000_000,
            bound: Vec::new(),
            written: Vec::new(),
            connects: Vec::new(),
            sent: Vec::new(),
            heard: Vec::new(),
            next: 0,
        };
        let link = |name: &str, address: [u8; 4], prefix| Link {
            index: 2,
            name: name.into(),
            address: address.into(),
            prefix,
            broadcast: None,
        };
        let links = vec![link("eth0", address, 24), link("lo", [127, 0, 0, 1], 8)];
        bench.m.set_links(bench.now, links);
        bench.settle();
        bench
    }

    pub fn settle(&mut self) {
        while let Some(out) = self.m.poll() {
            match out {
                Out::Heard(heard) => self.heard.push(heard),
                Out::Net(Net::Bind(id, bind)) => {
                    self.bound.push((id, bind));
                    self.m.bound(self.now, id);
                }
                Out::Net(Net::Send { to, bytes, .. }) => self.sent.push((to, bytes)),
                Out::Net(Net::Connect(id, to)) => self.connects.push((id, to)),
                Out::Net(Net::Write(id, bytes)) => {
                    self.written.push((id, bytes));
                    self.m.wrote(self.now, id);
                }
                Out::Net(Net::Unbind(_) | Net::ReadMore(_) | Net::Finish(_) | Net::Close(_)) => {}
                Out::Net(net @ (Net::Join { .. } | Net::Cast { .. } | Net::Dial(..))) => {
                    panic!("the link's alone: {net:?}")
                }
            }
        }
    }

    pub fn pass(&mut self, ms: Millis) {
        let until = self.now + ms;
        while let Some(wake) = self.m.wake_at().filter(|at| *at <= until) {
            self.now = wake.max(self.now + 1).min(until);
            self.m.tick(self.now);
            self.settle();
            if self.now == until {
                return;
            }
        }
        self.now = until;
    }

    fn socket(&self, bind: Bind) -> SocketId {
        self.bound.iter().find(|(_, b)| *b == bind).expect("bound").0
    }

    pub fn accept(&mut self, bind: Bind, from: &str) -> StreamId {
        self.next += 1;
        let stream = StreamId(ACCEPTED | self.next);
        self.m.accepted(self.now, self.socket(bind), stream, from.parse().unwrap());
        self.settle();
        stream
    }

    pub fn bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        self.m.stream_bytes(self.now, stream, bytes.to_vec());
        self.settle();
    }

    pub fn datagram(&mut self, bind: Bind, from: &str, bytes: &[u8]) {
        let socket = self.socket(bind);
        self.m.datagram(self.now, socket, from.parse().unwrap(), bytes);
        self.settle();
    }

    pub fn written_to(&self, stream: StreamId) -> Vec<u8> {
        self.written.iter().filter(|(s, _)| *s == stream).flat_map(|(_, b)| b.clone()).collect()
    }

    /// The last thing heard of private chats.
    pub fn chat(&self) -> (ChatId, Chat) {
        let chat = |h: &Heard| match h {
            Heard::Chat(id, chat) => Some((*id, chat.clone())),
            _ => None,
        };
        self.heard.iter().rev().find_map(chat).expect("a chat")
    }

    /// The last one heard of under this name.
    pub fn contact(&self, name: &str) -> Contact {
        let here = |h: &Heard| match h {
            Heard::Here(contact) if contact.name == name => Some(contact.clone()),
            _ => None,
        };
        self.heard.iter().rev().find_map(here).expect("somebody")
    }
}
