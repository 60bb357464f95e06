//! Replay: klatsch's hello machine stands in the place of one host of each capture, hears what
//! came to that host byte for byte, and what it makes of it is held against
//! `data/hello/<capture>-<host>.expect`, reviewed by eye against the capture's transcript.
//! `KLATSCH_BLESS=1` writes the files anew: review the difference.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use klatsch::dialect::heard::{Heard, Out};
use klatsch::dialect::hello::machine::{Machine, Setup};
use klatsch::dialect::hello::{Reader, Said, codec};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{IoError, Link, Net, Now, SocketId, StreamId, Trouble, Wall};

/// The captures, and in whose place we are in each.
const PLACES: &[(&str, &str, &str)] = &[
    ("vanis-x2", "172.29.1.11", "vanis1"),
    ("vanis-x2", "172.29.1.12", "vanis2"),
    ("kalash-x2", "172.29.1.11", "kal"),
    ("kalash-x2", "172.29.1.12", "anton"),
    ("mix-cesar-kalash-vanis", "172.29.1.11", "vanis1"),
    ("mix-cesar-kalash-vanis", "172.29.1.12", "kal"),
    ("mix-cesar-kalash-vanis", "172.29.1.13", "cesar-peer"),
    ("small-ones-vs-vanis", "172.29.1.11", "vanis1"),
];

#[test]
fn in_the_place_of_a_real_program_klatsch_understands_and_answers_as_it_does() {
    let mut wrong = Vec::new();
    for (name, host, peer_id) in PLACES {
        let found = stand_in(&load(name), host.parse().unwrap(), peer_id);
        let path = data(&format!("{name}-{peer_id}.expect"));
        if std::env::var_os("KLATSCH_BLESS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            if found != expected {
                wrong
                    .push(format!("{path:?}:{}\n  found    {found}\n  expected {expected}", n + 1));
            }
        }
        if found.lines().count() != expected.lines().count() {
            wrong.push(format!("{path:?}: another number of lines"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the real server answered on a connection, word for word but for the history and for what
/// only one program demands or forbids.
#[test]
fn a_real_server_and_ours_answer_the_same_to_the_same_bytes() {
    let mut compared = 0;
    for (name, host, peer_id) in PLACES.iter().filter(|(_, _, id)| id.starts_with("vanis")) {
        let messages = load(name);
        let mut place = Place::new(&messages, host.parse().unwrap(), peer_id);
        let mut theirs: HashMap<u64, String> = HashMap::new();
        for message in messages.iter().filter(|m| m.stream.is_some()) {
            let stream = message.stream.unwrap();
            if *message.dst.ip() == place.host && message.dst.port() == 9876 {
                place.hear(message);
            } else if *message.src.ip() == place.host && message.src.port() == 9876 {
                *theirs.entry(stream).or_default() += std::str::from_utf8(&message.bytes).unwrap();
            }
        }
        for (stream, theirs) in theirs {
            let ours: Vec<String> =
                place.written.get(&stream).into_iter().flatten().map(|s| kind(s)).collect();
            let theirs: Vec<String> = theirs.lines().map(kind).collect();
            // vanis reads one object per segment, and answers cesar's unasked history
            let refused = theirs.iter().any(|t| t.contains("Invalid"));
            if refused && !ours.iter().any(|o| o.contains("Invalid")) {
                continue;
            }
            assert_eq!(ours, theirs, "{name}, stream {stream}");
            compared += theirs.len();
        }
    }
    println!("{compared} answers of real servers are ours too");
    assert!(compared >= 15, "{compared}");
}

fn kind(answer: &str) -> String {
    match codec::object(answer.trim().as_bytes()).unwrap() {
        Said::Ok { messages: Some(_), .. } => "ok with a history".into(),
        other => format!("{other:?}"),
    }
}

/// What a capture was cut into by the network is chance: any other cut means the same.
#[test]
fn streams_mean_the_same_however_they_are_cut() {
    for (name, ..) in PLACES {
        let mut streams: HashMap<(SocketAddrV4, SocketAddrV4), Vec<u8>> = HashMap::new();
        for message in load(name).iter().filter(|m| m.stream.is_some()) {
            streams.entry((message.src, message.dst)).or_default().extend(&message.bytes);
        }
        for bytes in streams.values() {
            let read = |size: usize| {
                let mut reader = Reader::default();
                bytes.chunks(size).flat_map(|piece| reader.push(piece)).collect::<Vec<_>>()
            };
            let whole = read(bytes.len());
            for size in 1..bytes.len() {
                assert_eq!(read(size), whole, "{name}, pieces of {size}");
            }
        }
    }
}

struct Message {
    t: f64,
    src: SocketAddrV4,
    dst: SocketAddrV4,
    stream: Option<u64>,
    bytes: Vec<u8>,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/hello").join(name)
}

fn load(name: &str) -> Vec<Message> {
    let text = std::fs::read_to_string(data(&format!("{name}.jsonl"))).unwrap();
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let hex = value["hex"].as_str().unwrap().to_owned();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Message {
            t: value["t"].as_f64().unwrap(),
            src: value["src"].as_str().unwrap().parse().unwrap(),
            dst: value["dst"].as_str().unwrap().parse().unwrap(),
            stream: value["stream"].as_u64(),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
        }
    };
    text.lines().map(message).collect()
}

/// klatsch's machine in the place of a host.
struct Place {
    host: Ipv4Addr,
    machine: Machine,
    /// Who of the capture has a TCP server.
    servers: Vec<Ipv4Addr>,
    now: Now,
    sockets: Vec<SocketId>,
    streams: HashMap<u64, StreamId>,
    /// Connections that our machine made, and the capture's connections they stand for.
    made: HashMap<Ipv4Addr, StreamId>,
    written: HashMap<u64, Vec<String>>,
    trace: String,
}

impl Place {
    fn new(messages: &[Message], host: Ipv4Addr, peer_id: &str) -> Place {
        // the captures were made on 2026-11-21 at about 02:36 UTC
        let now = Now { mono: 1_000_000, wall: Wall(1_795_228_550_000) };
        let setup = Setup {
            port: 9876,
            peer_id: peer_id.into(),
            broadcast: Vec::new(),
            period: 5_000,
            present: true,
        };
        let mut place = Place {
            host,
            machine: Machine::new(now, setup, 1),
            servers: messages
                .iter()
                .filter(|m| m.stream.is_some() && m.src.port() == 9876)
                .map(|m| *m.src.ip())
                .collect(),
            now,
            sockets: Vec::new(),
            streams: HashMap::new(),
            made: HashMap::new(),
            written: HashMap::new(),
            trace: String::new(),
        };
        let link = Link {
            index: 2,
            name: "eth0".into(),
            address: host,
            prefix: 12,
            broadcast: Some(Ipv4Addr::new(172, 31, 255, 255)),
        };
        place.machine.set_links(now, vec![link]);
        place.run();
        for socket in place.sockets.clone() {
            place.machine.bound(now, socket);
        }
        place.run();
        place.trace.clear();
        place
    }

    fn hear(&mut self, message: &Message) {
        let ms = (message.t * 1000.0) as u64;
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= 1_000_000 + ms) {
            self.now = Now { mono: at, wall: Wall(1_795_227_550_000 + at) };
            self.machine.tick(self.now);
            self.run();
        }
        self.now = Now { mono: 1_000_000 + ms, wall: Wall(1_795_228_550_000 + ms) };
        let shown = String::from_utf8_lossy(&message.bytes).escape_debug().to_string();
        let Some(capture) = message.stream else {
            writeln!(self.trace, "udp {} {shown}", message.src).unwrap();
            self.machine.datagram(self.now, self.sockets[0], message.src, &message.bytes);
            return self.run();
        };
        writeln!(self.trace, "tcp {} {shown}", message.src).unwrap();
        if message.dst.port() != 9876 {
            return self.answered(message);
        }
        let stream = StreamId(ACCEPTED | capture);
        if self.streams.insert(capture, stream).is_none() {
            self.machine.accepted(self.now, self.sockets[1], stream, message.src);
        }
        self.machine.stream_bytes(self.now, stream, &message.bytes);
        self.run();
    }

    /// The real programs close a connection after its last message.
    fn end(&mut self, stream: u64) {
        if let Some(stream) = self.streams.get(&stream) {
            self.machine.stream_end(self.now, *stream);
            self.run();
        }
    }

    /// What a server answered to the real program is an answer to ours, if it asked.
    fn answered(&mut self, message: &Message) {
        if let Some(stream) = self.made.get(message.src.ip()).copied() {
            self.machine.stream_bytes(self.now, stream, &message.bytes);
            self.run();
        }
    }

    fn run(&mut self) {
        while let Some(out) = self.machine.poll() {
            match out {
                Out::Net(Net::Bind(socket, _)) => self.sockets.push(socket),
                Out::Net(Net::Write(stream, bytes)) => {
                    let text = String::from_utf8(bytes).unwrap();
                    writeln!(self.trace, "  writes {}", text.escape_debug()).unwrap();
                    let capture = self.streams.iter().find(|(_, s)| **s == stream);
                    if let Some((capture, _)) = capture {
                        self.written.entry(*capture).or_default().push(text);
                    }
                    self.machine.wrote(self.now, stream);
                }
                Out::Net(Net::Send { to, bytes, .. }) => {
                    let text = String::from_utf8(bytes).unwrap();
                    writeln!(self.trace, "  sends {to} {}", text.escape_debug()).unwrap();
                }
                Out::Net(Net::Connect(stream, to)) => {
                    writeln!(self.trace, "  connects to {to}").unwrap();
                    if self.servers.contains(to.ip()) {
                        self.made.insert(*to.ip(), stream);
                        self.machine.connected(self.now, stream);
                    } else {
                        let error = IoError::new(Trouble::Refused, "nobody listens there");
                        self.machine.stream_closed(self.now, stream, &error);
                    }
                }
                Out::Net(Net::ReadMore(_) | Net::Close(_)) => {}
                Out::Net(net) => writeln!(self.trace, "  {net:?}").unwrap(),
                Out::Heard(heard) => {
                    let line = match heard {
                        Heard::Here(c) => format!("{} is here", c.name),
                        Heard::Gone(c, why) => format!("{} is gone: {why}", c.name),
                        Heard::Session(c, true) => format!("session with {}", c.name),
                        Heard::Session(c, false) => format!("no session with {}", c.name),
                        Heard::Text { from, text, said, .. } => {
                            let how = if said.is_some() { " (history)" } else { "" };
                            format!("{} at {}: «{text}»{how}", from.name, from.at.ip())
                        }
                        Heard::Complaint { from, text } => format!("complains of {from}: {text}"),
                        other => format!("{other:?}"),
                    };
                    writeln!(self.trace, "  {line}").unwrap();
                }
            }
        }
    }
}

/// What the machine makes of everything that came to its place.
fn stand_in(messages: &[Message], host: Ipv4Addr, peer_id: &str) -> String {
    let mut place = Place::new(messages, host, peer_id);
    let broadcast = |m: &Message| m.dst.ip().octets()[3] == 255 && *m.src.ip() != host;
    for (n, message) in messages.iter().enumerate() {
        if *message.dst.ip() == host || broadcast(message) {
            place.hear(message);
        }
        let later = |m: &Message| m.stream == message.stream;
        if let Some(stream) = message.stream.filter(|_| !messages[n + 1..].iter().any(later)) {
            place.end(stream);
        }
    }
    place.trace
}
