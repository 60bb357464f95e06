//! The machines of the dialects beside SLCP: which socket and stream is whose, what they are told,
//! and what becomes of what they bring up.

use super::Node;
use super::io::{Action, Input, Ticket};
use crate::dialect::heard::Out;
use crate::dialect::{directory, hello, link, room};
use crate::model::answer::DialectView;
use crate::model::history::{Body, Entry, Found, Query, Reader};
use crate::model::net::ACCEPTED;
use crate::model::{
    Dialect, Direction, Handle, Link, Map, Millis, Net, Now, SharedMessage, SocketId, StreamId,
};

/// The ticket of what the node itself asks of the store: callers' begin at 1.
pub(super) const OWN_TICKET: Ticket = Ticket(0);

/// See the module.
#[derive(Default)]
pub(super) struct Dialects {
    pub(super) hello: Option<hello::machine::Machine>,
    pub(super) link: Option<link::machine::Machine>,
    pub(super) room: Option<room::Machine>,
    pub(super) directory: Option<directory::Machine>,
    /// Why a dialect's port is not open.
    pub(super) troubles: Map<Dialect, String>,
    /// Whose the streams are that the driver accepted, as far as they are not SLCP's.
    accepted: Map<StreamId, Dialect>,
}

impl Dialects {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        let wakes = [
            self.hello.as_ref().and_then(hello::machine::Machine::wake_at),
            self.room.as_ref().and_then(room::Machine::wake_at),
            self.directory.as_ref().and_then(directory::Machine::wake_at),
            self.link.as_ref().and_then(link::machine::Machine::wake_at),
        ];
        wakes.into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, now: Now) {
        if let Some(machine) = &mut self.hello {
            machine.tick(now);
        }
        if let Some(machine) = &mut self.link {
            machine.tick(now.mono);
        }
        if let Some(machine) = &mut self.room {
            machine.tick(now.mono);
        }
        if let Some(machine) = &mut self.directory {
            machine.tick(now.mono);
        }
    }

    pub(super) fn set_links(&mut self, now: Now, links: Vec<Link>) {
        if let Some(machine) = &mut self.hello {
            machine.set_links(now, links.clone());
        }
        if let Some(machine) = &mut self.room {
            machine.set_links(now.mono, links.clone());
        }
        if let Some(machine) = &mut self.directory {
            machine.set_links(now.mono, links);
        }
    }

    pub(super) fn goodbye(&mut self, now: Now) {
        if let Some(machine) = &mut self.hello {
            machine.goodbye(now);
        }
        if let Some(machine) = &mut self.link {
            machine.goodbye(now.mono);
        }
        if let Some(machine) = &mut self.room {
            machine.goodbye();
        }
        if let Some(machine) = &mut self.directory {
            machine.goodbye();
        }
    }

    fn poll(&mut self) -> Option<(Dialect, Out)> {
        if let Some(out) = self.hello.as_mut().and_then(hello::machine::Machine::poll) {
            return Some((Dialect::Hello, out));
        }
        if let Some(out) = self.room.as_mut().and_then(room::Machine::poll) {
            return Some((Dialect::Room, out));
        }
        let out = self.directory.as_mut().and_then(directory::Machine::poll);
        out.map(|out| (Dialect::Directory, out))
    }

    /// Whose an input is. Machines mark what they open with their number in the top byte.
    fn whose(&self, input: &Input) -> Dialect {
        let by_tag = |tag: u64| match tag {
            2 => Dialect::Hello,
            3 => Dialect::Room,
            4 => Dialect::Directory,
            5 => Dialect::Link,
            _ => Dialect::Slcp,
        };
        let of_socket = |SocketId(n): &SocketId| by_tag(u64::from(*n >> 24));
        let of_stream = |stream: &StreamId| match stream.0 & ACCEPTED {
            0 => by_tag(stream.0 >> 56),
            _ => self.accepted.get(stream).copied().unwrap_or(Dialect::Slcp),
        };
        match input {
            Input::Bound(socket)
            | Input::BindFailed(socket, _)
            | Input::Datagram { socket, .. }
            | Input::Unreachable { socket, .. }
            | Input::Accepted { socket, .. }
            | Input::AcceptedBoth { socket, .. }
            | Input::Beacon { socket, .. } => of_socket(socket),
            Input::Connected(stream)
            | Input::Bytes(stream, _)
            | Input::End(stream)
            | Input::Wrote(stream)
            | Input::Closed(stream, _) => of_stream(stream),
            _ => Dialect::Slcp,
        }
    }
}

impl Node {
    /// Something happened on a socket or a stream.
    pub(super) fn network(&mut self, now: Now, input: Input) {
        let whose = self.dialects.whose(&input);
        match input {
            Input::Accepted { stream, .. } | Input::AcceptedBoth { stream, .. }
                if whose != Dialect::Slcp =>
            {
                self.dialects.accepted.insert(stream, whose);
            }
            Input::Closed(stream, _) => {
                self.dialects.accepted.remove(&stream);
            }
            _ => {}
        }
        match whose {
            Dialect::Hello => self.hello_network(now, input),
            Dialect::Link => self.link_network(now, input),
            Dialect::Room => self.room_network(now.mono, input),
            Dialect::Directory => self.directory_network(now.mono, input),
            _ => self.slcp_network(now, input),
        }
    }

    fn hello_network(&mut self, now: Now, input: Input) {
        let Some(m) = &mut self.dialects.hello else {
            // it was switched off while this was under way
            if let Input::Accepted { stream, .. } = input {
                self.actions.push_back(Action::Net(Net::Close(stream)));
            }
            return;
        };
        match input {
            Input::Bound(socket) => m.bound(now, socket),
            Input::BindFailed(socket, error) => m.bind_failed(now, socket, error),
            Input::Datagram { socket, from, bytes, .. } => m.datagram(now, socket, from, &bytes),
            Input::Accepted { socket, stream, from } => m.accepted(now, socket, stream, from),
            Input::Connected(stream) => m.connected(now, stream),
            Input::Bytes(stream, bytes) => m.stream_bytes(now, stream, &bytes),
            Input::End(stream) => m.stream_end(now, stream),
            Input::Wrote(stream) => m.wrote(now, stream),
            Input::Closed(stream, error) => m.stream_closed(now, stream, &error),
            // programs that only say hello close their port at once: it means nothing
            _ => {}
        }
    }

    /// Carries out what the machines brought up; whether there was anything.
    pub(super) fn settle_dialects(&mut self, now: Now) -> bool {
        let mut any = self.settle_link(now);
        while let Some((dialect, out)) = self.dialects.poll() {
            any = true;
            match out {
                Out::Net(net) => {
                    if let Net::Close(stream) = &net {
                        self.dialects.accepted.remove(stream);
                    }
                    self.actions.push_back(Action::Net(net));
                }
                Out::Heard(heard) => self.foreign_heard(now, dialect, heard),
            }
        }
        any
    }

    /// Starts and ends machines as the settings have it.
    pub(super) fn switch_dialects(&mut self, now: Now) {
        self.begin_chats(now);
        match (self.settings.hello.enabled, self.dialects.hello.is_some()) {
            (true, false) => {
                let setup = self.hello_setup();
                let mut machine = hello::machine::Machine::new(now, setup, self.rng.u64(..));
                machine.set_links(now, self.links.clone());
                self.dialects.hello = Some(machine);
                let first = self.users.iter().next().map(|(_, user)| user.handle.clone());
                if let Some(user) = first {
                    let reader = Reader { user, since: 0 };
                    let (conversation, before) = (Some(super::history::LOBBY_KEY.into()), None);
                    let limit = u32::try_from(hello::HISTORY).unwrap_or(u32::MAX);
                    let query = Query::Last { reader, conversation, before, limit };
                    self.query(OWN_TICKET, query);
                }
            }
            (false, true) => {
                if let Some(machine) = &mut self.dialects.hello {
                    machine.goodbye(now);
                }
                self.settle_dialects(now);
                self.dialects.hello = None;
                self.dialects.troubles.remove(&Dialect::Hello);
            }
            _ => {}
        }
        self.tell_dialects_of_us(now);
    }

    /// What the link asks of the network.
    pub(super) fn link_net(&mut self, net: Net) {
        if let Net::Close(stream) = &net {
            self.dialects.accepted.remove(stream);
        }
        self.actions.push_back(Action::Net(net));
    }

    /// Tells the machines who we are now, and what was set.
    pub(super) fn tell_dialects_of_us(&mut self, now: Now) {
        self.tell_link_of_us(now);
        let setup = self.hello_setup();
        if let Some(machine) = &mut self.dialects.hello {
            machine.set_live(now, setup);
        }
        self.tell_chats_of_us(now);
    }

    fn hello_setup(&self) -> hello::machine::Setup {
        let settings = &self.settings.hello;
        let first = self.users.iter().next().map(|(_, user)| user.handle.to_string());
        hello::machine::Setup {
            port: settings.port,
            peer_id: settings.peer_id.clone().or(first).unwrap_or_default(),
            broadcast: settings.broadcast.clone(),
            period: Millis::from(settings.announce) * 1_000,
            present: self.users.iter().any(|(_, user)| user.joined),
        }
    }

    /// What was kept of the lobby is the beginning of the hello chat's history.
    pub(super) fn remember_lobby(&mut self, now: Now, found: Found) {
        let (Some(machine), Found::Entries { entries, .. }) = (&mut self.dialects.hello, found)
        else {
            return;
        };
        let first = self.users.iter().next().map(|(_, user)| user.handle.to_string());
        let own = machine.peer_id().to_owned();
        let shared = |entry: &Entry| -> Option<SharedMessage> {
            let Body::Text { text } = &entry.body else { return None };
            let (peer_id, text) = match entry.direction {
                Direction::In if entry.dialect != Dialect::Hello => return None,
                Direction::In => {
                    (Handle::try_from(entry.from.as_str()).ok()?.unescaped(), text.clone())
                }
                Direction::Out if Some(&entry.from) == first.as_ref() => {
                    (own.clone(), text.clone())
                }
                Direction::Out => (own.clone(), format!("{}: {text}", entry.from)),
            };
            Some(SharedMessage { id: entry.at.0, peer_id, text })
        };
        let kept: Vec<SharedMessage> = entries.iter().filter_map(shared).collect();
        machine.fill(now, &kept);
    }

    /// The hello chat's shared history, oldest first.
    pub(super) fn shared(&self) -> Vec<SharedMessage> {
        let machine = self.dialects.hello.iter();
        machine.flat_map(hello::machine::Machine::history).cloned().collect()
    }

    /// Each dialect at a glance.
    pub(super) fn dialect_views(&self) -> Vec<DialectView> {
        let slcp = DialectView {
            name: Dialect::Slcp,
            on: self.slcp.is_some() && self.slcp_trouble.is_none(),
            port: self.settings.slcp.port,
            reason: self.slcp_trouble.clone(),
        };
        let trouble = self.dialects.troubles.get(&Dialect::Hello);
        let hello = DialectView {
            name: Dialect::Hello,
            on: self.dialects.hello.is_some() && trouble.is_none(),
            port: self.settings.hello.port,
            reason: trouble.cloned(),
        };
        let (room, directory) = (&self.settings.room, &self.settings.directory);
        let other = |name: Dialect, runs: bool, port: u16| DialectView {
            name,
            on: runs && !self.dialects.troubles.contains_key(&name),
            port,
            reason: self.dialects.troubles.get(&name).cloned(),
        };
        let room = other(Dialect::Room, self.dialects.room.is_some(), room.port);
        let runs = self.dialects.directory.is_some();
        let directory = other(Dialect::Directory, runs, directory.port);
        let machine = self.dialects.link.as_ref();
        let port = machine.and_then(link::machine::Machine::port);
        let port = port.unwrap_or(self.settings.link.port);
        vec![slcp, hello, room, directory, other(Dialect::Link, machine.is_some(), port)]
    }
}
