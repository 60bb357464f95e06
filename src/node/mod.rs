//! SANS-IO: the one node that owns all state. [`Node::handle`] takes what happened,
//! [`Node::poll`] gives what to do, [`Node::wake_at`] says when to come back.
//!
//! One file each: `lan` (what was heard, and what it changes), `roster` (who is on the LAN), `known`
//! (who was), `people` (whom a name means), `users` (our own), `contest` (handles that the node
//! chose and others bear too), `delivery` (texts in, and what becomes of what went out),
//! `outgoing` and `leaving` (texts out), `outbox` (texts that wait), `transfer` (images), `files` (files over the link),
//! `dialects` (the machines of hello, room and directory), `foreign` (who is met by them), `gateway`
//! (texts carried between them), `chats` (private chats in room and directory), `rooms` (those between boxes), `history` (what is
//! kept), `recall` (what is asked of it), `commands` and `settings` (what people ask for), `io` (the
//! contract).

mod chats;
mod commands;
mod contest;
mod delivery;
mod dialects;
mod files;
mod foreign;
mod gateway;
pub mod history;
pub mod io;
pub mod known;
mod lan;
mod leaving;
pub mod linked;
pub mod outbox;
mod outgoing;
pub mod owed;
mod people;
pub mod recall;
mod rooms;
pub mod roster;
mod settings;
mod transfer;
pub mod users;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::config::{Kept, Settings, rows as config_rows};
use crate::dialect::slcp::machine::{self, Arrived, Machine, Me, Out, Setup};
use crate::model::history::Remembered;
use crate::model::{
    Answer, Event, Handle, Interface, IoError, Link, Millis, Now, PeerId, Refusal, Set, Status,
    Trouble, UserId, What,
};

use chats::Chats;
use contest::Contests;
use delivery::Deliveries;
use dialects::Dialects;
use files::LinkFiles;
use foreign::Foreigners;
use gateway::Gateway;
use history::Keeping;
use io::{Action, Input, Ticket};
use known::People;
use linked::{Identity, LinkedPeers};
use outbox::Outbox;
use roster::Roster;
pub use transfer::MAX_WAITING_BYTES;
use transfer::Transfers;
use users::{Answered, User, Users};

/// While nothing is configured, the LAN is listened to for so long before a free handle is taken.
pub const CLAIM_MS: Millis = 1_000;
/// Lines about strangers' rubbish: so many in one window, the rest is counted.
pub const MAX_COMPLAINTS: u32 = 5;
/// That window.
const COMPLAINT_WINDOW_MS: Millis = 10_000;
/// Peers that get a LEAVE of their own beside the broadcast.
const MAX_FAREWELLS: usize = 256;

/// What a node is told at birth.
pub struct Birth {
    /// What is set.
    pub settings: Settings,
    /// What was kept from earlier runs (already applied to `settings`).
    pub kept: Kept,
    /// Random, names this run.
    pub epoch: u64,
    /// Random, for jitter.
    pub seed: u64,
    /// The handle to make one from where none is set.
    pub fallback: Handle,
    /// Join by itself; else wait for `Join` (a console asks for the handle first).
    pub join: bool,
    /// What only the driver knows of `Status`: version, instance, mode, pid, socket, state.
    /// Its `page` is the port that the page is served at, or empty.
    pub about: Status,
    /// What was kept of earlier conversations.
    pub remembered: Remembered,
    /// The box's key; none: there is no link.
    pub identity: Option<Identity>,
}

/// The node. See the module.
pub struct Node {
    settings: Settings,
    kept: Kept,
    epoch: u64,
    fallback: Handle,
    about: Status,
    born: Millis,
    /// All that the machine has, and those of them that are used.
    all_links: Vec<Link>,
    links: Vec<Link>,
    /// The driver has said which links there are.
    knows_links: bool,
    users: Users,
    roster: Roster,
    slcp: Option<Machine>,
    slcp_trouble: Option<String>,
    dialects: Dialects,
    foreigners: Foreigners,
    gateway: Gateway,
    chats: Chats,
    linked: LinkedPeers,
    /// Of the roster: who is linked too, and so is not told of.
    hidden: Set<PeerId>,
    /// All interfaces that are up.
    interfaces: Vec<Interface>,
    deliveries: Deliveries,
    transfers: Transfers,
    files: LinkFiles,
    keeping: Keeping,
    outbox: Outbox,
    posts: rooms::Posts,
    people: People,
    answered: Answered,
    /// Until when the LAN is listened to before a handle is chosen.
    claim_until: Option<Millis>,
    contests: Contests,
    /// `settle` is at work: what it brings up is carried out by it, not by another within it.
    settling: bool,
    warned_taken: HashMap<PeerId, ()>,
    complaints: Complaints,
    entries: u64,
    actions: VecDeque<Action>,
    rng: fastrand::Rng,
}

#[derive(Default)]
struct Complaints {
    window: Millis,
    told: u32,
    more: u32,
}

impl Node {
    /// A node that wants to be fed `Links` and then whatever happens.
    pub fn new(now: Now, birth: Birth) -> Node {
        let settings = birth.settings;
        let announce = Millis::from(settings.slcp.announce) * 1_000;
        let mut rng = fastrand::Rng::with_seed(birth.seed);
        let slcp = settings.slcp.enabled.then(|| {
            let setup = Setup {
                port: settings.slcp.port,
                broadcast: settings.slcp.broadcast.clone(),
                announce,
                image_port: settings.slcp.image_port,
                ports: (settings.port_min, settings.port_max),
            };
            Machine::new(setup, rng.u64(..))
        });
        let mut node = Node {
            kept: birth.kept,
            epoch: birth.epoch,
            fallback: birth.fallback,
            about: birth.about,
            born: now.mono,
            all_links: Vec::new(),
            links: Vec::new(),
            knows_links: false,
            users: Users::default(),
            roster: Roster::new(announce),
            slcp,
            slcp_trouble: None,
            dialects: Dialects::default(),
            foreigners: Foreigners::default(),
            gateway: Gateway::default(),
            chats: Chats::default(),
            linked: LinkedPeers::default(),
            hidden: Set::new(),
            interfaces: Vec::new(),
            deliveries: Deliveries::default(),
            transfers: Transfers::default(),
            files: LinkFiles::default(),
            keeping: Keeping::new(birth.remembered.last_order),
            outbox: Outbox::default(),
            posts: rooms::Posts::default(),
            people: People::new(birth.remembered.known),
            answered: Answered::default(),
            claim_until: None,
            contests: Contests::default(),
            settling: false,
            warned_taken: HashMap::new(),
            complaints: Complaints::default(),
            entries: 0,
            actions: VecDeque::new(),
            rng,
            settings,
        };
        node.make_users(now, birth.join);
        node.switch_dialects(now);
        node.begin_link(now, birth.identity, &birth.remembered.link);
        node.await_guests(now);
        node.remember(now, birth.remembered.outbox);
        node.settle(now);
        node
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Tick => self.tick(now),
            Input::Links(links) => self.set_links(now, links),
            Input::Interfaces(interfaces) => {
                self.interfaces = interfaces;
                self.link_set_interfaces(now);
            }
            Input::Bound(_)
            | Input::BindFailed(..)
            | Input::Datagram { .. }
            | Input::Unreachable { .. }
            | Input::Accepted { .. }
            | Input::AcceptedBoth { .. }
            | Input::Beacon { .. }
            | Input::Connected(_)
            | Input::Bytes(..)
            | Input::End(_)
            | Input::Wrote(_)
            | Input::Closed(..) => self.network(now, input),
            Input::Stored(n, result) => self.stored(now, n, result),
            Input::Found(ticket, result) => self.found(now, ticket, result),
            Input::Clock(trusted) => self.clock(now, trusted),
            Input::File(file, result) => self.file_done(now, file, result),
            Input::Ask { ticket, user, command, given } => {
                self.ask(now, ticket, user.as_deref(), command, given);
            }
            Input::Reload(settings) => self.reload(now, *settings),
            Input::Goodbye => {
                self.hurry(now);
                self.settle(now);
                self.goodbye(now);
            }
        }
        self.settle(now);
        self.save();
    }

    /// Something happened on a socket or stream of SLCP's.
    fn slcp_network(&mut self, now: Now, input: Input) {
        match input {
            Input::Bound(socket) => self.slcp_do(|m| m.bound(now.mono, socket)),
            Input::BindFailed(socket, error) => {
                self.slcp_do(|m| m.bind_failed(now.mono, socket, error))
            }
            Input::Datagram { socket, from, to, link, bytes } => {
                self.slcp_do(|m| m.datagram(now.mono, Arrived { socket, from, to, link, bytes }));
            }
            Input::Unreachable { to, bytes, error, .. } => {
                self.unreachable(now, to, &bytes, &error)
            }
            Input::Accepted { socket, stream, from } => {
                self.slcp_do(|m| m.accepted(now.mono, socket, stream, from));
            }
            Input::Connected(stream) => self.slcp_do(|m| m.connected(now.mono, stream)),
            Input::Bytes(stream, bytes) => {
                self.slcp_do(|m| m.stream_bytes(now.mono, stream, bytes));
            }
            Input::End(stream) => self.slcp_do(|m| m.stream_end(now.mono, stream)),
            Input::Wrote(stream) => self.slcp_do(|m| m.wrote(now.mono, stream)),
            Input::Closed(stream, error) => {
                self.slcp_do(|m| m.stream_closed(now.mono, stream, &error));
            }
            _ => {}
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `Tick` is wanted.
    pub fn wake_at(&self) -> Option<Millis> {
        let slcp = self.slcp.as_ref().and_then(Machine::wake_at);
        let node = [self.roster.wake_at(), self.claim_until, self.contests.wake_at()];
        let more = [slcp, self.outbox.wake_at(), self.dialects.wake_at(), self.gateway.wake_at()];
        let kept = [self.linked.wake_at(), self.files.wake_at(), self.keeping.wake_at()];
        let node = node.into_iter().chain(kept);
        node.chain(more).flatten().min()
    }

    /// What was set at run time.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The handles of those who are here, our own users aside.
    pub fn handles_here(&self) -> impl Iterator<Item = &str> {
        self.roster.here().map(|peer| peer.handle.as_str())
    }

    /// The settings that hold now.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn make_users(&mut self, now: Now, join: bool) {
        for (n, settings) in self.settings.users.clone().iter().enumerate() {
            let handle = match &settings.handle {
                Some(handle) => handle.clone(),
                None => self.free_handle(&self.fallback.clone()),
            };
            let named = settings.handle.is_some();
            let mut user = User::from_settings(settings, handle);
            user.joined = join && named;
            if n == 0 && user.away {
                user.away_text.clone_from(&self.kept.away);
            }
            if n == 0 && join && !named {
                // those who start together do not choose together
                self.claim_until = Some(now.mono + CLAIM_MS + self.rng.u64(0..CLAIM_MS / 2));
            }
            match self.users.add(user) {
                Ok(id) => self.tell_slcp_of(now, id),
                Err(refusal) => return self.trouble(now, refusal.to_string()),
            }
        }
    }

    fn slcp_do(&mut self, act: impl FnOnce(&mut Machine)) {
        if let Some(machine) = &mut self.slcp {
            act(machine);
        }
    }

    /// Tells the dialects how a local user is now.
    fn tell_slcp_of(&mut self, now: Now, id: UserId) {
        let Some(user) = self.users.get(id) else { return };
        let me = Me {
            handle: user.handle.clone(),
            joined: user.joined,
            away: user.away,
            wanted_port: user.wanted_port,
            image_port: user.image_port,
        };
        let known = self.farewells();
        self.slcp_do(|m| m.set_user(now.mono, id, me, &known));
        self.tell_dialects_of_us(now);
    }

    fn farewells(&self) -> Vec<SocketAddrV4> {
        self.roster.here().map(|p| p.route().addr).take(MAX_FAREWELLS).collect()
    }

    fn tick(&mut self, now: Now) {
        if self.claim_until.is_some_and(|at| at <= now.mono) {
            self.claim_until = None;
            self.join_with_free_handle(now);
        }
        self.tick_contests(now);
        if let Some(machine) = &mut self.slcp {
            machine.tick(now.mono, || self.roster.here().count());
        }
        self.dialects.tick(now);
        self.tick_gateway(now);
        self.roster.sweep(now.mono);
        self.tick_outbox(now);
        self.tick_linked(now);
        self.tick_files(now);
        self.tick_keeping(now.mono);
    }

    fn join_with_free_handle(&mut self, now: Now) {
        for id in self.users.ids() {
            if !self.users.get(id).is_some_and(|u| u.chosen && !u.joined) {
                continue;
            }
            let fallback = self.fallback.clone();
            let handle = self.free_handle_for(&fallback, Some(id));
            if let Some(user) = self.users.get_mut(id) {
                let old = std::mem::replace(&mut user.handle, handle.clone());
                user.joined = true;
                self.renamed_user(now, old, &handle);
            }
            self.tell_slcp_of(now, id);
        }
    }

    fn set_links(&mut self, now: Now, all: Vec<Link>) {
        self.all_links = all;
        let names = &self.settings.interfaces;
        let wanted = |l: &&Link| names.is_empty() || names.contains(&l.name);
        let links: Vec<Link> = self.all_links.iter().filter(wanted).cloned().collect();
        let first = !std::mem::replace(&mut self.knows_links, true);
        if links == self.links && !first {
            return;
        }
        let had = self.links.iter().any(|l| !l.address.is_loopback());
        let has = links.iter().any(|l| !l.address.is_loopback());
        if had && !has {
            self.trouble(now, "no network: all interfaces are down; waiting for one".into());
        } else if first && !has {
            let text = match links.is_empty() {
                true => "no network yet: nobody can be reached; waiting for an interface",
                false => "no network yet: only this machine's own programs can be reached",
            };
            self.trouble(now, text.into());
        }
        self.links.clone_from(&links);
        self.slcp_do(|m| m.set_links(now.mono, links.clone()));
        self.dialects.set_links(now, links);
        self.link_set_interfaces(now);
        // whoever was here hears of us at our new address; whoever is not is soon found out
    }

    fn unreachable(&mut self, now: Now, to: SocketAddrV4, bytes: &[u8], error: &IoError) {
        let listened = self.slcp.as_ref().is_some_and(|m| m.listens_on_chat_port(to));
        self.slcp_do(|m| m.unreachable(now.mono, to, bytes, error));
        let dead = match error.kind {
            Trouble::Refused => listened,
            Trouble::Unreachable => true,
            _ => false,
        };
        if dead {
            self.roster.dead(now.mono, to, &error.text);
        }
    }

    /// Carries out all that the machines and the roster brought up.
    fn settle(&mut self, now: Now) {
        if std::mem::replace(&mut self.settling, true) {
            return;
        }
        self.settle_all(now);
        self.settling = false;
    }

    fn settle_all(&mut self, now: Now) {
        loop {
            while let Some(out) = self.slcp.as_mut().and_then(Machine::poll) {
                match out {
                    Out::Net(net) => self.actions.push_back(Action::Net(net)),
                    Out::Heard(heard) => self.heard(now, heard),
                }
            }
            let foreign = self.settle_dialects(now);
            let changed = self.tell_changes(now);
            let looked = self.look_at_outbox(now);
            if !foreign && !changed && !looked {
                return;
            }
        }
    }

    /// Tells what changed in the roster; whether anything did.
    fn tell_changes(&mut self, now: Now) -> bool {
        let changes = self.roster.take_changes();
        let any = !changes.is_empty();
        for change in changes {
            self.changed(now, change);
        }
        if any {
            self.tell_foreigners(now);
        }
        any
    }

    /// A handle near to `wanted` that nobody bears, on this node or on the LAN.
    fn free_handle(&self, wanted: &Handle) -> Handle {
        self.free_handle_for(wanted, None)
    }

    fn free_handle_for(&self, wanted: &Handle, user: Option<UserId>) -> Handle {
        let taken = |h: &Handle| self.is_taken(h, user);
        if !taken(wanted) {
            return wanted.clone();
        }
        (2..).map(|n| wanted.numbered(n)).find(|h| !taken(h)).unwrap_or_else(|| wanted.clone())
    }

    fn is_taken(&self, handle: &Handle, except: Option<UserId>) -> bool {
        let ours = self.users.called(handle.as_str()).is_some_and(|id| Some(id) != except);
        ours || self.roster.called(handle.as_str()).any(roster::Peer::is_here)
    }

    fn goodbye(&mut self, now: Now) {
        let known = self.farewells();
        self.slcp_do(|m| m.goodbye(&known));
        self.dialects.goodbye(now);
    }

    fn new_entry(&mut self) -> crate::model::EntryId {
        self.entries += 1;
        crate::model::EntryId { epoch: self.epoch, n: self.entries }
    }

    fn tell(&mut self, now: Now, user: Option<Handle>, what: What) {
        self.actions.push_back(Action::Tell(Event { at: now.wall, user, what }));
    }

    fn trouble(&mut self, now: Now, text: String) {
        self.tell(now, None, What::Error { text });
    }

    /// A line about somebody's rubbish, unless too many were told just now.
    fn complain(&mut self, now: Now, from: Ipv4Addr, text: &str) {
        let text = if from.is_unspecified() { text.into() } else { format!("{from}: {text}") };
        if now.mono >= self.complaints.window + COMPLAINT_WINDOW_MS {
            let more = std::mem::take(&mut self.complaints.more);
            self.complaints.window = now.mono;
            self.complaints.told = 0;
            if more > 0 {
                self.trouble(now, format!("{more} more lines of this kind were not shown"));
            }
        }
        if self.complaints.told >= MAX_COMPLAINTS {
            self.complaints.more += 1;
            return;
        }
        self.complaints.told += 1;
        self.trouble(now, text);
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Refusal>) {
        self.actions.push_back(Action::Answer(ticket, answer));
    }

    /// The name to type for exactly this peer: its handle, with the address where two bear it.
    fn name_of(&self, id: PeerId) -> String {
        let Some(peer) = self.roster.get(id) else { return id.to_string() };
        let here: Vec<&roster::Peer> =
            self.roster.called(peer.handle.as_str()).filter(|p| p.is_here()).collect();
        let ours = self.users.called(peer.handle.as_str()).is_some();
        if let Some(linked) = self.linked_twin(peer) {
            return self.linked_name(linked);
        }
        let linked = self.linked.called(peer.handle.as_str()).next().is_some();
        let alone = here.iter().all(|p| p.id == id) && !linked;
        if alone && !ours && !self.foreigners.is_called(self, peer.handle.as_str()) {
            return peer.handle.to_string();
        }
        let addr = peer.route().addr;
        let same_host = here.iter().any(|p| p.id != id && p.route().addr.ip() == addr.ip());
        if same_host {
            format!("{}@{addr}", peer.handle)
        } else {
            format!("{}@{}", peer.handle, addr.ip())
        }
    }
}

/// What a received or sent thing came by, for the machine to learn from.
pub(crate) use machine::Lesson;
