//! What the link keeps, read back from a database that anything may have damaged: the node comes
//! to rest, finds the box it meets and is found by it, and answers; and so it does when it begins
//! again with what it kept meanwhile.
//!
//! The bytes are rows: a kind, whose it is, a number, a length, and so many bytes.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use klatsch::command::Command;
use klatsch::config::{Kept, Settings};
use klatsch::dialect::link::noise::Secret;
use klatsch::model::history::{Change, Remembered, Row};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{
    Answer, Bind, Handle, Interface, IoError, Link, Net, Now, SocketId, Status, StreamId, Trouble,
    Wall,
};
use klatsch::node::io::{Action, Input, Ticket};
use klatsch::node::linked::Identity;
use klatsch::node::{Birth, Node};
use libfuzzer_sys::fuzz_target;

const START: u64 = 1_000_000;
/// Actions after one input; beyond, they do not come to rest.
const REST: usize = 200_000;
/// How long the two have to find each other.
const MEET_MS: u64 = 60_000;
const NAMES: [&str; 2] = ["anna", "bob"];

/// A node and what the system holds for it.
struct Host {
    node: Node,
    sockets: BTreeMap<SocketId, Bind>,
    rows: BTreeMap<String, Vec<u8>>,
    answer: Option<Answer>,
}

/// Two of them on a wire, and their connections: each end's other end.
struct Wire {
    hosts: [Host; 2],
    mono: u64,
    streams: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    accepted: u64,
}

fn secret(n: usize) -> Secret {
    Secret::new([n as u8 + 1; 32])
}

fn now(mono: u64) -> Now {
    Now { mono, wall: Wall(1_795_228_536_764 + mono - START) }
}

fn host(n: usize, mono: u64, rows: BTreeMap<String, Vec<u8>>) -> Host {
    let mut settings = Settings::default();
    settings.users[0].handle = Some(Handle::try_from(NAMES[n]).unwrap());
    settings.slcp.enabled = false;
    settings.link.enabled = true;
    let link = rows.iter().map(|(key, value)| Row::put(key.clone(), value.clone())).collect();
    let birth = Birth {
        settings,
        kept: Kept::default(),
        epoch: mono + n as u64,
        seed: mono,
        fallback: Handle::try_from("nobody").unwrap(),
        join: true,
        about: Status::default(),
        remembered: Remembered { link, ..Remembered::default() },
        identity: Some(Identity { secret: secret(n), seed: [n as u8; 32] }),
    };
    Host { node: Node::new(now(mono), birth), sockets: BTreeMap::new(), rows, answer: None }
}

impl Wire {
    fn new(mono: u64, rows: [BTreeMap<String, Vec<u8>>; 2]) -> Wire {
        let [a, b] = rows;
        let hosts = [host(0, mono, a), host(1, mono, b)];
        let mut wire = Wire { hosts, mono, streams: BTreeMap::new(), accepted: 0 };
        for n in 0..2 {
            wire.input(n, Input::Tick);
            wire.input(
                n,
                Input::Links(vec![Link {
                    index: 2,
                    name: "eth0".into(),
                    address: address(n),
                    prefix: 24,
                    broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
                }]),
            );
            let (name, v4, v6) = ("eth0".into(), true, false);
            wire.input(n, Input::Interfaces(vec![Interface { index: 2, name, v4, v6 }]));
        }
        wire
    }

    fn input(&mut self, n: usize, input: Input) {
        let mut inputs = VecDeque::from([(n, input)]);
        let mut actions = 0;
        while let Some((n, input)) = inputs.pop_front() {
            self.hosts[n].node.handle(now(self.mono), input);
            while let Some(action) = self.hosts[n].node.poll() {
                actions += 1;
                assert!(actions < REST, "they do not come to rest");
                self.perform(n, action, &mut inputs);
            }
        }
    }

    fn perform(&mut self, n: usize, action: Action, inputs: &mut VecDeque<(usize, Input)>) {
        let mut mine = |input| inputs.push_back((n, input));
        match action {
            Action::Net(Net::Bind(id, bind)) => {
                self.hosts[n].sockets.insert(id, bind);
                mine(Input::Bound(id));
            }
            Action::Net(Net::Unbind(id)) => {
                self.hosts[n].sockets.remove(&id);
            }
            Action::Net(Net::Connect(id, _)) => mine(Input::Closed(id, refused())),
            Action::Net(Net::Dial(id, to)) => {
                let far = (0..2).find(|far| to.ip() == IpAddr::V4(address(*far)));
                let both = |b: &Bind| matches!(b, Bind::TcpBoth(port) if *port == to.port());
                let there = far.and_then(|far| {
                    let sockets = &self.hosts[far].sockets;
                    Some((far, *sockets.iter().find(|(_, b)| both(b))?.0))
                });
                let Some((far, socket)) = there else { return mine(Input::Closed(id, refused())) };
                self.accepted += 1;
                let stream = StreamId(ACCEPTED | self.accepted);
                self.streams.insert((n, id), (far, stream));
                self.streams.insert((far, stream), (n, id));
                mine(Input::Connected(id));
                let from = SocketAddr::from((address(n), 40_000));
                inputs.push_back((far, Input::AcceptedBoth { socket, stream, from }));
            }
            Action::Net(Net::Write(id, bytes)) => {
                let Some((far, stream)) = self.streams.get(&(n, id)).copied() else { return };
                mine(Input::Wrote(id));
                inputs.push_back((far, Input::Bytes(stream, bytes)));
            }
            Action::Net(Net::Finish(id)) => {
                if let Some((far, stream)) = self.streams.get(&(n, id)).copied() {
                    inputs.push_back((far, Input::End(stream)));
                }
            }
            Action::Net(Net::Close(id)) => {
                if let Some((far, stream)) = self.streams.remove(&(n, id)) {
                    self.streams.remove(&(far, stream));
                    let reset = IoError::new(Trouble::Reset, "reset");
                    inputs.push_back((far, Input::Closed(stream, reset)));
                }
            }
            Action::Net(Net::Cast { to, bytes, .. }) if to.is_ipv4() => {
                let far = 1 - n;
                let cast = |b: &Bind| matches!(b, Bind::Multicast { .. });
                let socket = self.hosts[far].sockets.iter().find(|(_, b)| cast(b));
                let Some((&socket, _)) = socket else { return };
                let from = SocketAddr::from((address(n), to.port()));
                inputs.push_back((far, Input::Beacon { socket, from, link: 2, bytes }));
            }
            Action::Store { n: write, changes, .. } => {
                let rows = &mut self.hosts[n].rows;
                for change in changes {
                    let Change::Link(row) = change else { continue };
                    match row.value {
                        Some(value) => rows.insert(row.key, value),
                        None => rows.remove(&row.key),
                    };
                }
                mine(Input::Stored(write, Ok(())));
            }
            Action::Query(ticket, _) => {
                let none = IoError::new(Trouble::Other, "no history");
                mine(Input::Found(ticket, Err(none)));
            }
            Action::File(file, op) => {
                use klatsch::node::io::FileOp::{Close, Discard};
                if !matches!(op, Discard | Close) {
                    mine(Input::File(file, Err(IoError::new(Trouble::Missing, "it is gone"))));
                }
            }
            Action::Answer(_, answer) => self.hosts[n].answer = answer.ok(),
            _ => {}
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.mono + ms;
        let mut turns = 0;
        loop {
            let wakes = self.hosts.iter().enumerate();
            let wakes = wakes.filter_map(|(n, host)| Some((host.node.wake_at()?, n)));
            let Some((at, n)) = wakes.min().filter(|(at, _)| *at <= until) else { break };
            turns += 1;
            assert!(turns < 20_000, "they want to be woken without end");
            self.mono = self.mono.max(at);
            self.input(n, Input::Tick);
        }
        self.mono = until;
    }

    fn asked(&mut self, n: usize, command: Command) -> Option<Answer> {
        self.hosts[n].answer = None;
        self.input(n, Input::Ask { ticket: Ticket(1), user: None, command, given: None });
        self.hosts[n].answer.take()
    }

    /// Time passes, and both answer. Who began with nothing has found the other.
    fn meet(&mut self, empty: Option<usize>) {
        self.pass(MEET_MS);
        for n in 0..2 {
            for command in [Command::Status {}, Command::Rooms {}] {
                assert!(self.asked(n, command).is_some());
            }
            let Some(Answer::Who(peers)) = self.asked(n, Command::Who { gone: false }) else {
                panic!("no answer");
            };
            // a row may have another case of his own name
            let found = peers.iter().any(|p| p.handle.eq_ignore_ascii_case(NAMES[1 - n]));
            assert!(found || empty != Some(n), "{} is not seen: {peers:?}", NAMES[1 - n]);
        }
    }
}

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n as u8 + 1)
}

fn refused() -> IoError {
    IoError::new(Trouble::Refused, "refused")
}

/// A row of some kind. `who`: bob, ourselves or one who is not here; above 127 the value begins
/// with his key or fingerprint, as it does where it is whole.
fn row(kind: u8, who: u8, number: u8, bytes: &[u8]) -> (String, Vec<u8>) {
    let key = secret([1, 0, 2][usize::from(who % 3)]).public();
    let (of, name) = (key.fingerprint(), ["bob", "anna", "carl"][usize::from(who % 3)]);
    let (room, n) = (["tea", "pub"][usize::from(number >> 7)], u64::from(number));
    let key_of_row = match kind % 12 {
        0 => format!("pin/{name}"),
        1 => format!("box/{of}"),
        2 => format!("out/{of}"),
        3 => format!("out/{of}/{n:016x}"),
        4 => format!("in/{of}"),
        5 => format!("give/{of}/{n:016x}-{n}"),
        6 => format!("take/{of}/{n:016x}-{n}"),
        7 => format!("room/{room}"),
        8 => format!("room-log/{room}/{of}/{n:016x}"),
        9 => format!("room-member/{room}/{of}"),
        10 => format!("room-said/{room}/{n:016x}"),
        _ => String::from_utf8_lossy(bytes).chars().take(80).collect(),
    };
    let begins = match kind % 12 {
        _ if who < 128 => vec![],
        0 => of.0.to_vec(),
        1 | 9 => key.0.to_vec(),
        10 => [&[3], room.as_bytes(), &key.0].concat(),
        _ => vec![],
    };
    (key_of_row, [&begins, bytes].concat())
}

fuzz_target!(|bytes: &[u8]| {
    let (mut rows, mut rest) = (BTreeMap::new(), bytes);
    for _ in 0..64 {
        let [kind, who, number, len, after @ ..] = rest else { break };
        let (value, after) = after.split_at(after.len().min(usize::from(*len)));
        rows.extend([row(*kind, *who, *number, value)]);
        rest = after;
    }
    let mut wire = Wire::new(START, [rows, BTreeMap::new()]);
    wire.meet(Some(1));
    let kept = wire.hosts.map(|host| host.rows);
    Wire::new(START + 2 * MEET_MS, kept).meet(None);
});
