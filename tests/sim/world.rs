//! The virtual world: hosts, LANs, time, and the nodes in it. Its network is in `udp` and
//! `tcp`, its files in `disk`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use klatsch::command::Command;
use klatsch::config::{Kept, Settings, User};
use klatsch::model::{
    Answer, Event, Handle, Link, Net, Now, PeerView, Presence, Refusal, SocketId, Status, Wall,
    What,
};
use klatsch::node::io::{Action, Input, Ticket};
use klatsch::node::{Birth, Node};

use crate::disk::Disk;
use crate::tcp::Tcp;
use crate::udp::Bound;

pub type NodeNo = usize;
pub type HostNo = usize;

/// A network segment: 10.0.`n`.0/24 and upwards (a /16 each).
pub struct Lan {
    /// Share of datagrams lost, doubled, per 1,000.
    pub loss: u32,
    pub doubled: u32,
    /// Milliseconds on the way: from, to. A wide range reorders.
    pub delay: (u64, u64),
    /// Hosts that are cut off from the others.
    pub cut: HashSet<HostNo>,
}

pub struct Host {
    /// LAN and address; empty while unplugged.
    pub links: Vec<(usize, Ipv4Addr)>,
    pub udp: Vec<Bound>,
    pub tcp: Vec<(u16, NodeNo, SocketId)>,
}

pub struct Slot {
    pub node: Option<Node>,
    /// Which life: what was meant for an earlier one is lost.
    pub life: u32,
    pub host: HostNo,
    pub events: Vec<(u64, Event)>,
    pub answers: HashMap<Ticket, Result<Answer, Refusal>>,
    pub ticks: u64,
    /// Datagrams sent, a broadcast counted once, the host's own loopback not at all.
    pub sent: u64,
    pub kept: Kept,
    pub settings: Settings,
    pub fallback: String,
    next_ticket: u64,
    tick_at: Option<u64>,
}

pub enum Due {
    Tick,
    Input(Input),
    /// The network's own: see `udp` and `tcp`.
    Udp(crate::udp::Flight),
    Tcp(crate::tcp::Moment),
}

pub struct World {
    pub now: u64,
    /// What the wall clock shows beside the time that passed.
    pub wall: i64,
    pub rng: fastrand::Rng,
    pub lans: Vec<Lan>,
    pub hosts: Vec<Host>,
    pub slots: Vec<Slot>,
    pub disks: Vec<Disk>,
    pub tcp: Tcp,
    due: BTreeMap<(u64, u64), (NodeNo, u32, Due)>,
    next: u64,
}

impl World {
    /// One lossless LAN, no hosts.
    pub fn new(seed: u64) -> World {
        World {
            now: 1_000_000,
            wall: 1_700_000_000_000,
            rng: fastrand::Rng::with_seed(seed),
            lans: vec![Lan { loss: 0, doubled: 0, delay: (0, 3), cut: HashSet::new() }],
            hosts: Vec::new(),
            slots: Vec::new(),
            disks: Vec::new(),
            tcp: Tcp::default(),
            due: BTreeMap::new(),
            next: 0,
        }
    }

    pub fn add_lan(&mut self) -> usize {
        self.lans.push(Lan { loss: 0, doubled: 0, delay: (0, 3), cut: HashSet::new() });
        self.lans.len() - 1
    }

    /// A host on these LANs.
    pub fn host(&mut self, lans: &[usize]) -> HostNo {
        let n = self.hosts.len();
        let links = lans.iter().map(|lan| (*lan, address(*lan, n + 1))).collect();
        self.hosts.push(Host { links, udp: Vec::new(), tcp: Vec::new() });
        n
    }

    /// A node of this handle on a host of its own, on the first LAN.
    pub fn add(&mut self, handle: &str) -> NodeNo {
        let host = self.host(&[0]);
        self.add_on(host, Some(handle), "guest")
    }

    /// A node on a host; without a handle it makes one of `fallback`.
    pub fn add_on(&mut self, host: HostNo, handle: Option<&str>, fallback: &str) -> NodeNo {
        let handle = handle.map(|h| Handle::try_from(h).unwrap());
        let users = vec![User { handle, ..User::default() }];
        let settings = Settings { users, imagepath: "/images".into(), ..Settings::default() };
        self.slots.push(Slot {
            node: None,
            life: 0,
            host,
            events: Vec::new(),
            answers: HashMap::new(),
            ticks: 0,
            sent: 0,
            kept: Kept::default(),
            settings,
            fallback: fallback.into(),
            next_ticket: 0,
            tick_at: None,
        });
        self.disks.push(Disk::default());
        let no = self.slots.len() - 1;
        self.start(no);
        no
    }

    /// (Re)starts a node with a new seed.
    pub fn start(&mut self, no: NodeNo) {
        let birth = Birth {
            settings: self.slots[no].settings.clone(),
            kept: self.slots[no].kept.clone(),
            epoch: self.rng.u64(..),
            seed: self.rng.u64(..),
            fallback: Handle::try_from(self.slots[no].fallback.as_str()).unwrap(),
            join: true,
            about: about(),
        };
        let node = Node::new(self.time(), birth);
        let slot = &mut self.slots[no];
        slot.node = Some(node);
        slot.life += 1;
        slot.tick_at = None;
        let links = self.links_of(self.slots[no].host);
        self.feed(no, Input::Links(links));
    }

    /// The process is gone, with no word of goodbye.
    pub fn crash(&mut self, no: NodeNo) {
        self.slots[no].node = None;
        self.slots[no].life += 1;
        let host = self.slots[no].host;
        self.hosts[host].udp.retain(|b| b.node != no);
        self.hosts[host].tcp.retain(|(_, node, _)| *node != no);
        self.reset_all_of(no);
    }

    /// The process ends in order.
    pub fn stop(&mut self, no: NodeNo) {
        self.feed(no, Input::Goodbye);
        self.crash(no);
    }

    /// The host has these addresses now.
    pub fn readdress(&mut self, host: HostNo, links: Vec<(usize, Ipv4Addr)>) {
        self.hosts[host].links = links;
        let links = self.links_of(host);
        for no in 0..self.slots.len() {
            if self.slots[no].host == host && self.slots[no].node.is_some() {
                let life = self.slots[no].life;
                self.later(no, life, 100, Due::Input(Input::Links(links.clone())));
            }
        }
    }

    fn links_of(&self, host: HostNo) -> Vec<Link> {
        let lo = Link {
            index: 1,
            name: "lo".into(),
            address: Ipv4Addr::LOCALHOST,
            prefix: 8,
            broadcast: Some(Ipv4Addr::new(127, 255, 255, 255)),
        };
        let link = |(lan, address): &(usize, Ipv4Addr)| Link {
            index: u32::try_from(*lan).unwrap() + 2,
            name: format!("eth{lan}"),
            address: *address,
            prefix: 16,
            broadcast: Some(broadcast(*lan)),
        };
        std::iter::once(lo).chain(self.hosts[host].links.iter().map(link)).collect()
    }

    pub fn time(&self) -> Now {
        let wall = u64::try_from(self.wall + i64::try_from(self.now).unwrap()).unwrap_or(0);
        Now { mono: self.now, wall: Wall(wall) }
    }

    /// Something is due at a node later.
    pub fn later(&mut self, no: NodeNo, life: u32, after: u64, due: Due) {
        self.next += 1;
        self.due.insert((self.now + after, self.next), (no, life, due));
    }

    /// An input for the node's present life.
    pub fn input(&mut self, no: NodeNo, after: u64, input: Input) {
        let life = self.slots[no].life;
        self.later(no, life, after, Due::Input(input));
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(entry) = self.due.first_entry().filter(|e| e.key().0 <= end) {
            let at = entry.key().0;
            let (no, life, due) = entry.remove();
            self.now = self.now.max(at);
            match due {
                Due::Udp(flight) => self.udp_arrives(flight),
                Due::Tcp(moment) => self.tcp_moment(moment),
                _ if self.slots[no].life != life => {}
                Due::Input(input) => self.feed(no, input),
                Due::Tick => self.tick(no),
            }
        }
        self.now = end;
    }

    /// Lets time pass until something holds; how long that took. Panics after `most`.
    pub fn until(&mut self, most: u64, what: &str, holds: impl Fn(&mut World) -> bool) -> u64 {
        let start = self.now;
        while !holds(self) {
            assert!(self.now < start + most, "not within {most} ms: {what}");
            self.run(50);
        }
        self.now - start
    }

    fn tick(&mut self, no: NodeNo) {
        let slot = &mut self.slots[no];
        slot.tick_at = None;
        let due = slot.node.as_ref().and_then(Node::wake_at).is_some_and(|at| at <= self.now);
        if due {
            slot.ticks += 1;
            self.feed(no, Input::Tick);
            let wake_at = self.slots[no].node.as_ref().and_then(Node::wake_at);
            assert!(wake_at.is_none_or(|at| at > self.now), "node {no} would tick for ever");
        } else {
            self.plan_tick(no);
        }
    }

    fn plan_tick(&mut self, no: NodeNo) {
        let slot = &mut self.slots[no];
        let Some(at) = slot.node.as_ref().and_then(Node::wake_at) else { return };
        let at = at.max(self.now + 1);
        if slot.tick_at.is_none_or(|planned| at < planned) {
            slot.tick_at = Some(at);
            let life = slot.life;
            self.later(no, life, at - self.now, Due::Tick);
        }
    }

    /// Feeds a node and performs what comes out.
    pub fn feed(&mut self, no: NodeNo, input: Input) {
        let now = self.time();
        let Some(node) = self.slots[no].node.as_mut() else { return };
        node.handle(now, input);
        while let Some(action) = self.slots[no].node.as_mut().and_then(Node::poll) {
            match action {
                Action::Net(net) => self.net(no, net),
                Action::File(file, op) => self.file(no, file, op),
                Action::Answer(ticket, answer) => {
                    self.slots[no].answers.insert(ticket, answer);
                }
                Action::Tell(event) => self.slots[no].events.push((self.now, event)),
                Action::Keep(kept) => self.slots[no].kept = *kept,
                Action::Show { .. } => {}
            }
        }
        self.plan_tick(no);
    }

    fn net(&mut self, no: NodeNo, net: Net) {
        match net {
            Net::Bind(socket, bind) => self.bind(no, socket, bind),
            Net::Unbind(socket) => self.unbind(no, socket),
            Net::Send { socket, to, bytes } => self.send(no, socket, to, bytes),
            net => self.tcp_do(no, net),
        }
    }

    /// Asks something of a node and gives the ticket.
    pub fn ask_as(&mut self, no: NodeNo, user: Option<&str>, command: Command) -> Ticket {
        self.slots[no].next_ticket += 1;
        let ticket = Ticket(self.slots[no].next_ticket);
        let user = user.map(ToOwned::to_owned);
        self.feed(no, Input::Ask { ticket, user, command, given: None });
        ticket
    }

    /// Asks something that is answered at once.
    pub fn ask(&mut self, no: NodeNo, command: Command) -> Result<Answer, Refusal> {
        let ticket = self.ask_as(no, None, command);
        self.slots[no].answers.remove(&ticket).expect("answered at once")
    }

    pub fn say(&mut self, no: NodeNo, to: &str, text: &str) -> Result<Answer, Refusal> {
        self.ask(no, Command::Send { to: vec![to.into()], text: text.into() })
    }

    pub fn who(&mut self, no: NodeNo) -> Vec<PeerView> {
        match self.ask(no, Command::Who { gone: false }) {
            Ok(Answer::Who(who)) => who,
            other => panic!("{other:?}"),
        }
    }

    /// Whether a node sees this handle here.
    pub fn sees(&mut self, no: NodeNo, handle: &str) -> bool {
        self.who(no).iter().any(|p| p.handle == handle && p.presence != Presence::Gone)
    }

    /// The handles a node sees, in order, doubles and all.
    pub fn roster(&mut self, no: NodeNo) -> Vec<String> {
        let mut all: Vec<String> = self.who(no).into_iter().map(|p| p.handle).collect();
        all.sort();
        all
    }

    /// The handle of a node's first user.
    pub fn handle_of(&mut self, no: NodeNo) -> String {
        match self.ask(no, Command::Status {}) {
            Ok(Answer::Status(status)) => status.users[0].handle.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The texts that came in, as `from>to: text`.
    pub fn texts_in(&self, no: NodeNo) -> Vec<String> {
        let texts = self.slots[no].events.iter().filter_map(|(_, e)| match &e.what {
            What::Message { from, to, text, direction: klatsch::model::Direction::In, .. } => {
                Some(format!("{from}>{to}: {text}"))
            }
            _ => None,
        });
        texts.collect()
    }

    /// The lines about trouble.
    pub fn errors(&self, no: NodeNo) -> Vec<String> {
        let errors = self.slots[no].events.iter().filter_map(|(_, e)| match &e.what {
            What::Error { text } => Some(text.clone()),
            _ => None,
        });
        errors.collect()
    }
}

pub fn address(lan: usize, n: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
    Ipv4Addr::new(10, u8::try_from(lan).unwrap(), high, low)
}

pub fn broadcast(lan: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, u8::try_from(lan).unwrap(), 255, 255)
}

pub fn about() -> Status {
    Status {
        version: "0".into(),
        instance: "default".into(),
        mode: "daemon".into(),
        epoch: String::new(),
        pid: 1,
        uptime: 0,
        users: Vec::new(),
        dialects: Vec::new(),
        links: Vec::new(),
        peers: 0,
        socket: String::new(),
        state: String::new(),
        imagepath: String::new(),
    }
}
