//! The whole node, all dialects on: any datagrams and streams at any of its sockets, in any
//! order, with commands and time between. It comes to rest after each, keeps its bounds and still
//! answers.
//!
//! The bytes are steps: a kind, two bytes of choice, a length, and so many bytes.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use klatsch::command::{Command, Typed, parse};
use klatsch::config::{Kept, Settings};
use klatsch::dialect::link::noise::Secret;
use klatsch::model::history::Remembered;
use klatsch::model::limits::MAX_STREAMS;
use klatsch::model::net::ACCEPTED;
use klatsch::model::{
    Bind, Handle, Interface, IoError, Link, Net, Now, SocketId, Status, StreamId, Trouble,
    Wall,
};
use klatsch::node::io::{Action, Input, Ticket};
use klatsch::node::linked::Identity;
use klatsch::node::{Birth, Node};
use libfuzzer_sys::fuzz_target;

const START: u64 = 1_000_000;
/// Actions after one input; beyond, it does not come to rest.
const REST: usize = 200_000;

struct World {
    node: Node,
    mono: u64,
    sockets: BTreeMap<SocketId, Bind>,
    streams: Vec<StreamId>,
    accepted: u64,
    answered: Option<Ticket>,
}

fn world() -> World {
    let mut settings = Settings::default();
    settings.users[0].handle = Some(Handle::try_from("anna").unwrap());
    settings.hello.enabled = true;
    (settings.room.enabled, settings.room.server) = (true, true);
    (settings.directory.enabled, settings.directory.server) = (true, true);
    settings.link.enabled = true;
    settings.gateway = true;
    let birth = Birth {
        settings,
        kept: Kept::default(),
        epoch: 1,
        seed: 7,
        fallback: Handle::try_from("nobody").unwrap(),
        join: true,
        about: Status::default(),
        remembered: Remembered::default(),
        identity: Some(Identity { secret: Secret::new([1; 32]), seed: [2; 32] }),
    };
    let node = Node::new(Now { mono: START, wall: Wall(1_795_228_536_764) }, birth);
    let mut world = World {
        node,
        mono: START,
        sockets: BTreeMap::new(),
        streams: Vec::new(),
        accepted: 0,
        answered: None,
    };
    world.input(Input::Tick);
    world.input(Input::Links(vec![Link {
        index: 2,
        name: "eth0".into(),
        address: Ipv4Addr::new(10, 0, 0, 1),
        prefix: 24,
        broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
    }]));
    world.input(Input::Interfaces(vec![Interface {
        index: 2,
        name: "eth0".into(),
        v4: true,
        v6: false,
    }]));
    world
}

impl World {
    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut actions = 0;
        while let Some(input) = inputs.pop_front() {
            let wall = Wall(1_795_228_536_764 + self.mono - START);
            self.node.handle(Now { mono: self.mono, wall }, input);
            while let Some(action) = self.node.poll() {
                actions += 1;
                assert!(actions < REST, "it does not come to rest");
                inputs.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Net(Net::Bind(id, bind)) => {
                self.sockets.insert(id, bind);
                Some(Input::Bound(id))
            }
            Action::Net(Net::Unbind(id)) => {
                self.sockets.remove(&id);
                None
            }
            Action::Net(Net::Connect(id, _) | Net::Dial(id, _)) => {
                self.streams.push(id);
                Some(Input::Connected(id))
            }
            Action::Net(Net::Write(id, _)) => {
                self.streams.contains(&id).then_some(Input::Wrote(id))
            }
            Action::Net(Net::Close(id)) => {
                self.streams.retain(|s| *s != id);
                None
            }
            Action::Store { n, .. } => Some(Input::Stored(n, Ok(()))),
            Action::Query(ticket, _) => {
                Some(Input::Found(ticket, Err(IoError::new(Trouble::Other, "no history"))))
            }
            Action::File(file, op) => {
                use klatsch::node::io::FileOp::{Close, Discard};
                let full = || IoError::new(Trouble::Full, "full");
                (!matches!(op, Discard | Close)).then(|| Input::File(file, Err(full())))
            }
            Action::Answer(ticket, _) => {
                self.answered = Some(ticket);
                None
            }
            _ => None,
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.mono + ms;
        let mut turns = 0;
        while let Some(at) = self.node.wake_at().filter(|at| *at <= until) {
            turns += 1;
            assert!(turns < 20_000, "it wants to be woken without end");
            self.mono = self.mono.max(at);
            self.input(Input::Tick);
        }
        self.mono = until;
    }

    fn step(&mut self, kind: u8, a: u8, b: u8, bytes: &[u8]) {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2 + b % 5), 5000 + u16::from(b / 5));
        let nth = |all: Vec<SocketId>| (!all.is_empty()).then(|| all[usize::from(a) % all.len()]);
        let of = |sockets: &BTreeMap<SocketId, Bind>, wanted: fn(&Bind) -> bool| {
            nth(sockets.iter().filter(|(_, b)| wanted(b)).map(|(id, _)| *id).collect())
        };
        let stream = (!self.streams.is_empty())
            .then(|| self.streams[usize::from(a) % self.streams.len()]);
        match kind % 8 {
            0 | 1 => {
                let udp = |b: &Bind| matches!(b, Bind::SharedUdp(_) | Bind::Udp(_));
                let Some(socket) = of(&self.sockets, udp) else { return };
                let to = Ipv4Addr::new(10, 0, 0, if kind & 8 == 0 { 255 } else { 1 });
                let bytes = bytes.to_vec();
                self.input(Input::Datagram { socket, from, to: Some(to), link: 2, bytes });
            }
            2 => {
                let cast = |b: &Bind| matches!(b, Bind::Multicast { .. });
                let Some(socket) = of(&self.sockets, cast) else { return };
                let (from, bytes) = (SocketAddr::V4(from), bytes.to_vec());
                self.input(Input::Beacon { socket, from, link: 2, bytes });
            }
            3 => {
                let tcp = |b: &Bind| matches!(b, Bind::Tcp(_) | Bind::TcpAt(_) | Bind::TcpBoth(_));
                let Some(socket) = of(&self.sockets, tcp) else { return };
                self.accepted += 1;
                let stream = StreamId(ACCEPTED | self.accepted);
                self.streams.push(stream);
                let both = matches!(self.sockets[&socket], Bind::TcpBoth(_));
                self.input(if both {
                    Input::AcceptedBoth { socket, stream, from: from.into() }
                } else {
                    Input::Accepted { socket, stream, from }
                });
                if !bytes.is_empty() && self.streams.contains(&stream) {
                    self.input(Input::Bytes(stream, bytes.to_vec()));
                }
            }
            4 if !bytes.is_empty() => {
                let Some(stream) = stream else { return };
                self.input(Input::Bytes(stream, bytes.to_vec()));
            }
            5 => {
                let Some(stream) = stream else { return };
                if b & 1 == 0 {
                    return self.input(Input::End(stream));
                }
                self.streams.retain(|s| *s != stream);
                self.input(Input::Closed(stream, IoError::new(Trouble::Reset, "reset")));
            }
            6 => self.pass(u64::from(b) * u64::from(b) * 4),
            _ => {
                let Ok(line) = std::str::from_utf8(bytes) else { return };
                if let Ok(Typed::Command(command)) = parse(line) {
                    let (ticket, user) = (Ticket(1), None);
                    self.input(Input::Ask { ticket, user, command, given: None });
                }
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut world = world();
    let mut rest = bytes;
    for _ in 0..64 {
        let [kind, a, b, len, after @ ..] = rest else { break };
        let (piece, after) = after.split_at(after.len().min(usize::from(*len) * 2));
        world.step(*kind, *a, *b, piece);
        rest = after;
    }
    let (ticket, command) = (Ticket(2), Command::Who { gone: true });
    world.answered = None;
    world.input(Input::Ask { ticket, user: None, command, given: None });
    assert_eq!(world.answered, Some(ticket));
    assert!(world.streams.len() <= 2 * MAX_STREAMS);
});
