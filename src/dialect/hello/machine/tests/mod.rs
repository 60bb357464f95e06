//! The machine by hand: what it hears, what it says, each limit and one past it.

mod limits;
mod messages;
mod order;
mod presence;

use super::*;
use crate::model::Wall;
use crate::model::net::ACCEPTED;

const US: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 10);
const VANIS: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 11);
const START: u64 = 1_795_228_536_764;

struct Bench {
    machine: Machine,
    now: Now,
    accepted: u64,
    net: VecDeque<Net>,
    heard: Vec<Heard>,
}

impl Bench {
    /// A machine on a link, both ports open, its first hello said.
    fn new() -> Bench {
        let now = Now { mono: 1_000_000, wall: Wall(START) };
        let setup = Setup {
            port: 9876,
            peer_id: "us".into(),
            broadcast: Vec::new(),
            period: 5_000,
            present: true,
        };
        let machine = Machine::new(now, setup, 7);
        let mut bench =
            Bench { machine, now, accepted: 0, net: VecDeque::new(), heard: Vec::new() };
        let link = Link {
            index: 2,
            name: "eth0".into(),
            address: US,
            prefix: 12,
            broadcast: Some(Ipv4Addr::new(172, 31, 255, 255)),
        };
        bench.machine.set_links(now, vec![link]);
        bench.run();
        for socket in [bench.udp(), bench.tcp()] {
            bench.machine.bound(now, socket);
        }
        bench.machine.tick(now);
        bench.run();
        bench.net.clear();
        bench.heard.clear();
        bench
    }

    fn udp(&self) -> SocketId {
        self.machine.udp.socket.unwrap()
    }

    fn tcp(&self) -> SocketId {
        self.machine.tcp.socket.unwrap()
    }

    fn run(&mut self) {
        while let Some(out) = self.machine.poll() {
            match out {
                Out::Net(net) => self.net.push_back(net),
                Out::Heard(heard) => self.heard.push(heard),
            }
        }
    }

    /// Turns the clock, waking the machine whenever it wants to be.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + ms;
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= end) {
            let step = at.saturating_sub(self.now.mono);
            self.now.mono += step;
            self.now.wall.0 += step;
            self.machine.tick(self.now);
            assert!(self.machine.wake_at().is_none_or(|at| at > self.now.mono), "it spins");
            self.run();
        }
        self.now.wall.0 += end - self.now.mono;
        self.now.mono = end;
    }

    fn udp_from(&mut self, ip: Ipv4Addr, port: u16, bytes: &str) {
        let socket = self.udp();
        self.machine.datagram(self.now, socket, SocketAddrV4::new(ip, port), bytes.as_bytes());
        self.run();
    }

    fn hello_from(&mut self, ip: Ipv4Addr, name: &str) {
        self.udp_from(ip, 9876, &format!(r#"{{"command":"hello","peer_id":"{name}"}}"#));
    }

    /// Says hello until it is connected to: one may be forged.
    fn met(&mut self, ip: Ipv4Addr, name: &str) {
        self.hello_from(ip, name);
        self.hello_from(ip, name);
    }

    fn accept(&mut self, ip: Ipv4Addr) -> StreamId {
        self.accepted += 1;
        let stream = StreamId(ACCEPTED | self.accepted);
        let socket = self.tcp();
        self.machine.accepted(self.now, socket, stream, SocketAddrV4::new(ip, 40_000));
        self.run();
        stream
    }

    fn bytes(&mut self, stream: StreamId, bytes: &str) {
        for piece in bytes.as_bytes().chunks(crate::model::limits::CHUNK) {
            self.machine.stream_bytes(self.now, stream, piece);
        }
        self.run();
    }

    /// What was written to a stream; the kernel takes it all.
    fn written(&mut self, stream: StreamId) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            let at = self.net.iter().position(|n| matches!(n, Net::Write(s, _) if *s == stream));
            let Some(Net::Write(_, bytes)) = at.and_then(|at| self.net.remove(at)) else {
                return out;
            };
            out.push(String::from_utf8(bytes).unwrap());
            self.machine.wrote(self.now, stream);
            self.run();
        }
    }

    /// The streams that the machine wants made.
    fn connects(&mut self) -> Vec<(StreamId, SocketAddrV4)> {
        let all = std::mem::take(&mut self.net);
        let connect = |n: &Net| match n {
            Net::Connect(stream, to) => Some((*stream, *to)),
            _ => None,
        };
        let found = all.iter().filter_map(connect).collect();
        self.net = all.into_iter().filter(|n| !matches!(n, Net::Connect(..))).collect();
        found
    }

    fn closed(&mut self, stream: StreamId) -> bool {
        self.net.contains(&Net::Close(stream))
    }

    fn refuse(&mut self, stream: StreamId) {
        let error = IoError::new(Trouble::Refused, "nobody listens there");
        self.machine.stream_closed(self.now, stream, &error);
        self.run();
    }

    /// Somebody says hello, we connect, and the handshake is done.
    fn session_with(&mut self, ip: Ipv4Addr, name: &str) -> StreamId {
        self.met(ip, name);
        let stream = self.connects()[0].0;
        self.machine.connected(self.now, stream);
        self.run();
        assert_eq!(self.written(stream), ["{\"command\":\"hello\",\"peer_id\":\"us\"}\n"]);
        self.bytes(stream, "{\"status\":\"ok\",\"messages\":{}}\n");
        stream
    }

    fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}

fn contact(ip: Ipv4Addr, name: &str) -> Contact {
    Contact { name: name.into(), at: SocketAddrV4::new(ip, 9876) }
}
