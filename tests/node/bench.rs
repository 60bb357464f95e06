//! The bench: one node, the driver's part played by hand.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use klatsch::command::Command;
use klatsch::config::{Kept, Settings};
use klatsch::model::history::{Change, Query, Remembered};
use klatsch::model::{
    Answer, Bind, Direction, Event, Handle, IoError, Link, Net, Now, Refusal, SocketId, Status,
    StreamId, Trouble, Wall, What,
};
use klatsch::node::io::{Action, Input, Ticket};
use klatsch::node::linked::Identity;
use klatsch::node::{Birth, Node};

use crate::store::Store;

/// Which of the node's ports something comes to.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// UDP 4000.
    Discovery,
    /// UDP 6000.
    ImageUdp,
    /// The UDP chat port.
    Chat,
    /// The TCP chat port plus so many.
    Tcp(u16),
    /// A TCP port by its number.
    TcpPort(u16),
}

/// What the driver holds of one stream.
#[derive(Debug, Default)]
pub struct Flow {
    /// Reads asked for and not answered yet.
    pub reads: u32,
    /// The node closed it.
    pub closed: bool,
    /// The node sent FIN.
    pub finished: bool,
    /// All that the node wrote.
    pub out: Vec<u8>,
    /// Whom the node connected to.
    pub to: Option<SocketAddrV4>,
}

pub struct Bench {
    pub node: Node,
    pub mono: u64,
    pub ip: Ipv4Addr,
    pub sockets: BTreeMap<SocketId, Bind>,
    pub flows: BTreeMap<StreamId, Flow>,
    pub store: Store,
    /// Connections are made and writes taken at once; else the test says when.
    pub serve: bool,
    /// Why every `Bind` fails, while it does.
    pub bind_fails: Option<IoError>,
    /// What the node last had kept.
    pub kept: Option<Kept>,
    /// Whoever is asked for a connection here refuses it.
    pub refuse: Vec<SocketAddrV4>,
    /// Writes to the store that wait to be answered, while it is slow.
    pub slow: bool,
    pub writes: VecDeque<(u64, bool)>,
    /// All that was written, and why nothing is kept, while it is so.
    pub changes: Vec<Change>,
    pub unkept: Option<IoError>,
    /// What was asked of the store.
    pub queries: Vec<(Ticket, Query)>,
    sent: Vec<Net>,
    events: Vec<Event>,
    pub answers: Vec<(Ticket, Result<Answer, Refusal>)>,
    tickets: u64,
    accepted: u64,
}

pub fn addr(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

pub fn settings(handle: &str, port: Option<u16>) -> Settings {
    let mut settings = Settings::default();
    settings.users[0].handle = Some(Handle::try_from(handle).unwrap());
    settings.users[0].port = port;
    settings
}

pub fn link(ip: Ipv4Addr) -> Link {
    let [a, b, c, _] = ip.octets();
    Link {
        index: 2,
        name: "eth0".into(),
        address: ip,
        prefix: 24,
        broadcast: Some(Ipv4Addr::new(a, b, c, 255)),
    }
}

impl Bench {
    /// A node of this handle and address, its sockets open, its first announcements made.
    pub fn new(handle: &str, ip: &str) -> Bench {
        let mut bench = Bench::with(settings(handle, None), Kept::default(), ip);
        bench.advance(5_000);
        bench.sent();
        bench.events();
        bench
    }

    /// A node with these settings, its sockets open.
    pub fn with(settings: Settings, kept: Kept, ip: &str) -> Bench {
        Bench::remembering(settings, kept, ip, Remembered::default())
    }

    /// The same, after an earlier run of which this is kept.
    pub fn remembering(settings: Settings, kept: Kept, ip: &str, remembered: Remembered) -> Bench {
        Bench::born(settings, kept, ip, remembered, None)
    }

    /// The same, with a link if there is a key.
    pub fn born(
        settings: Settings,
        kept: Kept,
        ip: &str,
        remembered: Remembered,
        identity: Option<Identity>,
    ) -> Bench {
        let ip: Ipv4Addr = ip.parse().unwrap();
        let about = Status {
            version: "0".into(),
            instance: "test".into(),
            mode: "daemon".into(),
            ..Status::default()
        };
        let birth = Birth {
            settings,
            kept,
            epoch: 1,
            seed: 7,
            fallback: Handle::try_from("nobody").unwrap(),
            join: true,
            about,
            remembered,
            identity,
        };
        let node = Node::new(Now { mono: 1_000_000, wall: Wall(1_795_228_536_764) }, birth);
        let mut bench = Bench {
            node,
            mono: 1_000_000,
            ip,
            sockets: BTreeMap::new(),
            flows: BTreeMap::new(),
            store: Store::default(),
            serve: true,
            refuse: Vec::new(),
            bind_fails: None,
            kept: None,
            slow: false,
            writes: VecDeque::new(),
            changes: Vec::new(),
            unkept: None,
            queries: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            tickets: 0,
            accepted: 0,
        };
        bench.run();
        bench.input(Input::Links(vec![link(ip)]));
        bench
    }

    pub fn now(&self) -> Now {
        Now { mono: self.mono, wall: Wall(1_795_228_536_764 + self.mono - 1_000_000) }
    }

    pub fn input(&mut self, input: Input) {
        let now = self.now();
        self.node.handle(now, input);
        self.run();
    }

    /// Time passes; the node is woken whenever it wants.
    pub fn advance(&mut self, ms: u64) {
        let until = self.mono + ms;
        let mut turns = 0;
        while let Some(at) = self.node.wake_at().filter(|at| *at <= until) {
            turns += 1;
            assert!(turns < 200_000, "the node wants to be woken without end");
            self.mono = self.mono.max(at);
            self.input(Input::Tick);
        }
        self.mono = until;
        self.input(Input::Tick);
    }

    /// Performs what the node wants.
    pub fn run(&mut self) {
        loop {
            while let Some(action) = self.node.poll() {
                self.perform(action);
            }
            if self.store.hold || !self.store_answers() {
                return;
            }
        }
    }

    /// Gives one answer of the store that waits; whether there was one.
    pub fn store_answers(&mut self) -> bool {
        let Some((file, result)) = self.store.waiting.pop_front() else { return false };
        let now = self.now();
        self.node.handle(now, Input::File(file, result));
        while let Some(action) = self.node.poll() {
            self.perform(action);
        }
        true
    }

    fn perform(&mut self, action: Action) {
        let now = self.now();
        match action {
            Action::Net(net) => {
                self.sent.push(net.clone());
                let input = match net {
                    Net::Bind(id, bind) => {
                        let taken = self.sockets.values().any(|b| *b == bind);
                        let taken = taken.then(|| IoError::new(Trouble::InUse, "in use"));
                        if let Some(error) = self.bind_fails.clone().or(taken) {
                            Some(Input::BindFailed(id, error))
                        } else {
                            self.sockets.insert(id, bind);
                            Some(Input::Bound(id))
                        }
                    }
                    Net::Unbind(id) => {
                        self.sockets.remove(&id);
                        None
                    }
                    Net::Send { .. } | Net::Join { .. } | Net::Cast { .. } => None,
                    Net::Dial(..) => None, // whoever has a link here dials us
                    Net::Connect(id, to) => {
                        let refused = self.refuse.contains(&to);
                        let flow = Flow { to: Some(to), reads: 1, ..Flow::default() };
                        self.flows.insert(id, flow);
                        if refused {
                            let error = IoError::new(Trouble::Refused, "nobody listens there");
                            Some(Input::Closed(id, error))
                        } else {
                            self.serve.then_some(Input::Connected(id))
                        }
                    }
                    Net::Write(id, bytes) => {
                        let flow = self.flows.entry(id).or_default();
                        flow.out.extend(bytes);
                        (self.serve && !flow.closed).then_some(Input::Wrote(id))
                    }
                    Net::ReadMore(id) => {
                        self.flows.entry(id).or_default().reads += 1;
                        None
                    }
                    Net::Finish(id) => {
                        self.flows.entry(id).or_default().finished = true;
                        None
                    }
                    Net::Close(id) => {
                        self.flows.entry(id).or_default().closed = true;
                        None
                    }
                };
                if let Some(input) = input {
                    self.node.handle(now, input);
                }
            }
            Action::Store { n, changes, wanted } => {
                self.changes.extend(changes);
                self.writes.push_back((n, wanted));
                if !self.slow {
                    self.stored();
                }
            }
            Action::Query(ticket, query) => self.queries.push((ticket, query)),
            Action::File(file, op) => {
                if let Some(result) = self.store.perform(file, op) {
                    self.store.waiting.push_back((file, result));
                }
            }
            Action::Answer(ticket, answer) => self.answers.push((ticket, answer)),
            Action::Tell(event) => self.events.push(event),
            Action::Keep(kept) => self.kept = Some(*kept),
            Action::Show { .. } => {}
        }
    }

    /// The store answers all that waits.
    pub fn stored(&mut self) {
        let now = self.now();
        while let Some((n, _)) = self.writes.pop_front() {
            let result = self.unkept.clone().map_or(Ok(()), Err);
            self.node.handle(now, Input::Stored(n, result));
        }
    }

    /// What was written since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// All that was asked of the network since the last call.
    pub fn sent(&mut self) -> Vec<Net> {
        std::mem::take(&mut self.sent)
    }

    /// The datagrams since the last call.
    pub fn datagrams(&mut self) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let datagram = |net| match net {
            Net::Send { to, bytes, .. } => Some((to, bytes)),
            _ => None,
        };
        self.sent().into_iter().filter_map(datagram).collect()
    }

    /// What was told since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The texts that came in since the last call: from whom, and what.
    pub fn texts(&mut self) -> Vec<(String, String)> {
        let text = |event: Event| match event.what {
            What::Message { from, text, direction: Direction::In, .. } => Some((from, text)),
            _ => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }

    pub fn socket(&self, to: To) -> SocketId {
        let chat = self.sockets.values().find_map(|b| match b {
            Bind::Udp(port) => Some(*port),
            _ => None,
        });
        let wanted = match to {
            To::Discovery => Bind::SharedUdp(4000),
            To::ImageUdp => Bind::SharedUdp(6000),
            To::Chat => Bind::Udp(chat.unwrap()),
            To::Tcp(plus) => Bind::Tcp(chat.unwrap() + plus),
            To::TcpPort(port) => Bind::Tcp(port),
        };
        let found = self.sockets.iter().find(|(_, bind)| **bind == wanted);
        *found.unwrap_or_else(|| panic!("no socket {wanted:?}")).0
    }

    /// A datagram comes in.
    pub fn datagram(&mut self, from: &str, to: To, bytes: impl AsRef<[u8]>) {
        let [a, b, c, _] = self.ip.octets();
        let at = match to {
            To::Discovery => Ipv4Addr::new(a, b, c, 255),
            _ => self.ip,
        };
        self.datagram_to(addr(from), to, at, bytes.as_ref());
    }

    pub fn datagram_to(&mut self, from: SocketAddrV4, to: To, at: Ipv4Addr, bytes: &[u8]) {
        let socket = self.socket(to);
        let bytes = bytes.to_vec();
        self.input(Input::Datagram { socket, from, to: Some(at), link: 2, bytes });
    }

    /// A connection comes in.
    pub fn stream(&mut self, from: &str, to: To) -> StreamId {
        self.accepted += 1;
        let stream = StreamId(klatsch::model::net::ACCEPTED | self.accepted);
        self.flows.insert(stream, Flow { reads: 1, ..Flow::default() });
        let socket = self.socket(to);
        self.input(Input::Accepted { socket, stream, from: addr(from) });
        stream
    }

    /// Bytes come in on a stream, as far as the node reads; whether it did.
    pub fn bytes(&mut self, stream: StreamId, bytes: impl AsRef<[u8]>) -> bool {
        let flow = self.flows.get_mut(&stream).unwrap();
        if flow.closed || flow.reads == 0 {
            return false;
        }
        flow.reads -= 1;
        self.input(Input::Bytes(stream, bytes.as_ref().to_vec()));
        true
    }

    /// The other end sends no more.
    pub fn end(&mut self, stream: StreamId) -> bool {
        let flow = self.flows.get_mut(&stream).unwrap();
        if flow.closed || flow.reads == 0 {
            return false;
        }
        flow.reads -= 1;
        self.input(Input::End(stream));
        true
    }

    /// Asks something of the node and goes on; the ticket.
    pub fn begin(&mut self, command: Command) -> Ticket {
        self.begin_as(None, command)
    }

    pub fn begin_as(&mut self, user: Option<&str>, command: Command) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let user = user.map(ToOwned::to_owned);
        self.input(Input::Ask { ticket, user, command, given: None });
        ticket
    }

    /// Asks something of the node that is answered at once.
    pub fn ask(&mut self, command: Command) -> Result<Answer, Refusal> {
        let ticket = self.begin(command);
        let at = self.answers.iter().position(|(t, _)| *t == ticket);
        self.answers.remove(at.expect("no answer yet")).1
    }

    pub fn say(&mut self, to: &str, text: &str) -> Result<Answer, Refusal> {
        self.ask(Command::Send { to: vec![to.into()], text: text.into() })
    }

    pub fn send_file(&mut self, to: &[&str], path: &str) -> Ticket {
        let to = to.iter().map(|t| (*t).to_string()).collect();
        self.begin(Command::SendFile { to, path: path.into(), descriptor: None, name: None })
    }

    /// Those here, by name.
    pub fn here(&mut self) -> Vec<String> {
        let Ok(Answer::Who(who)) = self.ask(Command::Who { gone: false }) else { panic!() };
        who.into_iter().map(|p| p.name).collect()
    }
}

/// Bytes that pass for a PNG.
pub fn image(size: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend((bytes.len()..size).map(|n| (n * 7 % 251) as u8));
    bytes.truncate(size);
    bytes
}
