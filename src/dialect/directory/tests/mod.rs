//! The directory by hand: what is fed in, what comes out.

mod chats;
mod codec;
mod logins;

use std::net::SocketAddrV4;

use super::machine::{Machine, Setup, Shown};
use crate::dialect::heard::{Chat, ChatId, Contact, Heard, Out};
use crate::model::net::ACCEPTED;
use crate::model::{Bind, Link, Millis, Net, SocketId, StreamId, UserId};

pub const ME: UserId = UserId(0);

/// A machine with what it asked for, done as a driver would.
pub struct Bench {
    pub m: Machine,
    pub now: Millis,
    pub bound: Vec<(SocketId, Bind)>,
    pub written: Vec<(StreamId, Vec<u8>)>,
    pub connects: Vec<(StreamId, SocketAddrV4)>,
    pub sent: Vec<(SocketAddrV4, String)>,
    pub closed: Vec<StreamId>,
    pub read_more: Vec<StreamId>,
    pub heard: Vec<Heard>,
    next: u64,
}

pub fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

pub fn contact(name: &str, place: &str) -> Contact {
    Contact { name: name.into(), at: at(place) }
}

pub fn setup() -> Setup {
    Setup { port: 5000, serve: true, connect: None, chat_port: 5001, loopback: false }
}

pub fn login(name: &str) -> String {
    format!("{{\"type\": \"login\", \"username\": \"{name}\"}}")
}

pub fn logout(name: &str) -> String {
    format!("{{\"type\": \"logout\", \"username\": \"{name}\"}}")
}

impl Bench {
    /// At 10.0.0.1, with these users.
    pub fn new(setup: Setup, users: &[&str]) -> Bench {
        let mut bench = Bench {
            m: Machine::new(setup),
            now: 1_000_000,
            bound: Vec::new(),
            written: Vec::new(),
            connects: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            read_more: Vec::new(),
            heard: Vec::new(),
            next: 0,
        };
        let link = |address: [u8; 4], prefix| Link {
            index: 2,
            name: "eth0".into(),
            address: address.into(),
            prefix,
            broadcast: None,
        };
        bench.m.set_links(bench.now, vec![link([10, 0, 0, 1], 24), link([127, 0, 0, 1], 8)]);
        bench.users(users);
        bench
    }

    pub fn users(&mut self, users: &[&str]) {
        let shown = |(n, name): (usize, &&str)| Shown {
            name: (*name).into(),
            user: UserId(u32::try_from(n).unwrap()),
        };
        self.m.set_users(self.now, users.iter().enumerate().map(shown).collect());
        self.settle();
    }

    /// Does what the machine asks.
    pub fn settle(&mut self) {
        while let Some(out) = self.m.poll() {
            match out {
                Out::Heard(heard) => self.heard.push(heard),
                Out::Net(Net::Bind(id, bind)) => {
                    self.bound.push((id, bind));
                    self.m.bound(self.now, id);
                }
                Out::Net(Net::Unbind(id)) => self.bound.retain(|(s, _)| *s != id),
                Out::Net(Net::Send { to, bytes, .. }) => {
                    self.sent.push((to, String::from_utf8(bytes).unwrap()));
                }
                Out::Net(Net::Connect(id, to)) => self.connects.push((id, to)),
                Out::Net(Net::Write(id, bytes)) => {
                    self.written.push((id, bytes));
                    self.m.wrote(self.now, id);
                }
                Out::Net(Net::ReadMore(id)) => self.read_more.push(id),
                Out::Net(Net::Finish(_)) => {}
                Out::Net(net @ (Net::Join { .. } | Net::Cast { .. } | Net::Dial(..))) => {
                    panic!("the link's alone: {net:?}")
                }
                Out::Net(Net::Close(id)) => self.closed.push(id),
            }
        }
    }

    /// Time goes by, with every tick that is wanted.
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

    pub fn socket(&self, bind: Bind) -> SocketId {
        self.bound.iter().find(|(_, b)| *b == bind).expect("bound").0
    }

    /// Someone connects for a chat.
    pub fn accept(&mut self, from: &str) -> StreamId {
        self.next += 1;
        let stream = StreamId(ACCEPTED | self.next);
        let socket = self.socket(Bind::TcpAt(at("10.0.0.1:5001")));
        self.m.accepted(self.now, socket, stream, at(from));
        self.settle();
        stream
    }

    pub fn say(&mut self, stream: StreamId, text: &str) {
        self.m.stream_bytes(self.now, stream, text.as_bytes().to_vec());
        self.settle();
    }

    /// A datagram to our server.
    pub fn asks(&mut self, from: &str, text: &str) {
        let socket = self.socket(Bind::Udp(5000));
        self.m.datagram(self.now, socket, at(from), text.as_bytes());
        self.settle();
    }

    /// A datagram to the socket that our users log in from.
    pub fn answered(&mut self, from: &str, text: &str) {
        let socket = self.socket(Bind::Udp(0));
        self.m.datagram(self.now, socket, at(from), text.as_bytes());
        self.settle();
    }

    /// What a stream was told since it was last asked, write by write.
    pub fn told(&mut self, stream: StreamId) -> Vec<String> {
        self.pass(5_000);
        let told = self.written.iter().filter(|(s, _)| *s == stream);
        let told = told.map(|(_, t)| String::from_utf8(t.clone()).unwrap()).collect();
        self.written.retain(|(s, _)| *s != stream);
        told
    }

    /// The last thing heard of chats.
    pub fn chat(&self) -> (ChatId, Chat) {
        let chat = |h: &Heard| match h {
            Heard::Chat(id, chat) => Some((*id, chat.clone())),
            _ => None,
        };
        self.heard.iter().rev().find_map(chat).expect("a chat")
    }

    pub fn texts(&self) -> Vec<(String, String)> {
        let text = |h: &Heard| match h {
            Heard::Text { from, text, .. } => Some((from.name.clone(), text.clone())),
            _ => None,
        };
        self.heard.iter().filter_map(text).collect()
    }

    pub fn complaints(&self) -> Vec<String> {
        let text = |h: &Heard| match h {
            Heard::Complaint { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.heard.iter().filter_map(text).collect()
    }
}
