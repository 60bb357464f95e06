//! The server: who registered, who is told what. A client that stalls is closed when too much
//! waits for it, one that floods is read slowly, one that vanishes is noticed by its connection.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Kind, Machine, TO_LENGTHS, same};
use crate::dialect::heard::{Contact, Heard};
use crate::dialect::room::codec::{self, Bad, Frames, Framing, Listed, Said};
use crate::dialect::room::{MAX_REGISTRATIONS, REGISTER_MS, REGISTRATIONS_MS};
use crate::model::{Map, Millis, StreamId};

/// A client at our server.
#[derive(Default)]
pub(super) struct Client {
    pub(super) frames: Frames,
    /// Who it is, once it registered.
    contact: Option<Contact>,
}

impl Client {
    /// When its patience ends who has not registered.
    pub(super) fn wake_at(&self, since: Millis) -> Option<Millis> {
        self.contact.is_none().then_some(since + REGISTER_MS)
    }
}

/// When addresses registered of late.
#[derive(Default)]
pub(super) struct Registrations(Map<Ipv4Addr, VecDeque<Millis>>);

impl Registrations {
    /// Whether one more may be taken; if so, it is noted.
    fn allow(&mut self, now: Millis, ip: Ipv4Addr) -> bool {
        let late = |at: &Millis| at + REGISTRATIONS_MS <= now;
        self.0.retain(|_, times| {
            while times.front().is_some_and(late) {
                times.pop_front();
            }
            !times.is_empty()
        });
        let times = self.0.entry(ip).or_default();
        let allowed = times.len() < MAX_REGISTRATIONS;
        if allowed {
            times.push_back(now);
        }
        allowed
    }
}

impl Machine {
    /// The clients that registered: stream, framing, who.
    pub(super) fn clients(&self) -> impl Iterator<Item = (StreamId, Framing, &Contact)> {
        self.streams.iter().filter_map(|(id, stream)| match &stream.kind {
            Kind::Client(Client { frames, contact: Some(contact) }) => {
                Some((*id, frames.framing().unwrap_or(Framing::Lines), contact))
            }
            _ => None,
        })
    }

    /// All connections to our server.
    pub(super) fn all_clients(&self) -> usize {
        self.streams.values().filter(|s| matches!(s.kind, Kind::Client(_))).count()
    }

    /// Whether a nickname is somebody's at our server.
    pub(super) fn taken(&self, nick: &str) -> bool {
        self.clients().any(|(_, _, c)| same(&c.name, nick))
            || self.users.values().any(|me| same(&me.name, nick))
            || self.others.iter().any(|name| same(name, nick))
    }

    /// The next command of a client; `false`: there is none.
    pub(super) fn client_next(&mut self, now: Millis, stream: StreamId) -> bool {
        let Some(s) = self.streams.get_mut(&stream) else { return false };
        let Kind::Client(client) = &mut s.kind else { return false };
        let from = s.from;
        let Some(frame) = client.frames.take() else { return false };
        let framing = client.frames.framing();
        let broken = client.frames.broken();
        match frame.and_then(|frame| codec::parse(&frame)) {
            Ok(said) => self.client_said(now, stream, from, said),
            Err(bad) => {
                self.told.complain(*from.ip(), &bad.to_string());
                // the real server answers mistakes in lengths only
                if framing == Some(Framing::Lengths) && !matches!(bad, Bad::NotText) {
                    self.tell(now, stream, &format!("ERROR {bad}"));
                }
                if broken {
                    self.drop_client(now, stream, "it said what no client says");
                }
            }
        }
        true
    }

    /// The last line of a client may lack its end.
    pub(super) fn client_ended(&mut self, now: Millis, stream: StreamId) {
        while self.client_next(now, stream) {}
        let Some(s) = self.streams.get_mut(&stream) else { return };
        let Kind::Client(client) = &mut s.kind else { return };
        let from = s.from;
        if let Some(Ok(said)) = client.frames.end().map(|f| f.and_then(|f| codec::parse(&f))) {
            self.client_said(now, stream, from, said);
        }
    }

    fn client_said(&mut self, now: Millis, stream: StreamId, from: SocketAddrV4, said: Said) {
        let Some(s) = self.streams.get(&stream) else { return };
        let Kind::Client(Client { contact, .. }) = &s.kind else { return };
        match (said, contact.clone()) {
            (Said::Nothing, _) => {}
            (Said::Register(nick, port), None) => self.register(now, stream, from, &nick, port),
            (Said::Register(..), Some(contact)) => {
                let name = contact.name;
                self.tell(now, stream, &format!("ERROR already registered as {name}"));
            }
            (Said::Broadcast(nick, text), Some(contact)) => {
                if nick != contact.name {
                    let text = format!("{} spoke as {nick}: told as his own", contact.name);
                    self.told.complain(*from.ip(), &text);
                }
                self.tell_all(now, |framing, to| match framing {
                    // "all but the sender" in lines, all in lengths
                    Framing::Lines if to.name == contact.name => String::new(),
                    _ => codec::spoken(framing, &contact.name, &text),
                });
                self.told.heard(Heard::Text { from: contact, to: None, text, said: None });
            }
            (Said::Quit, _) => self.drop_client(now, stream, "left"),
            (Said::Broadcast(..), None) => self.tell(now, stream, "ERROR REGISTER first"),
            (other, _) => {
                self.told.complain(*from.ip(), &format!("a client does not say {other:?}"));
            }
        }
    }

    fn register(
        &mut self,
        now: Millis,
        stream: StreamId,
        from: SocketAddrV4,
        nick: &str,
        port: u16,
    ) {
        let many = !self.registrations.allow(now, *from.ip());
        if many || self.taken(nick) {
            // in the real server's words: its clients show them
            let why = if many { "zu viele Anmeldungen" } else { "Nickname bereits vergeben" };
            self.tell(now, stream, &format!("ERROR {why}"));
            return self.end_stream(now, stream);
        }
        let contact = Contact { name: nick.into(), at: SocketAddrV4::new(*from.ip(), port) };
        if let Some(s) = self.streams.get_mut(&stream) {
            if let Kind::Client(client) = &mut s.kind {
                client.contact = Some(contact.clone());
                if client.frames.framing() == Some(Framing::Lengths) {
                    s.writer.set_pace(TO_LENGTHS);
                }
            }
        }
        self.tell(now, stream, &format!("WELCOME {nick}"));
        let users = self.listed_for(*from.ip());
        let (list, rest) = codec::user_list(&users);
        self.tell(now, stream, &list);
        for user in rest {
            self.tell(now, stream, &codec::joined(user));
        }
        self.tell_joined(now, &contact);
        self.told.here(contact);
    }

    /// Everyone in the room, as someone at `ip` reaches them.
    fn listed_for(&self, ip: Ipv4Addr) -> Vec<Listed> {
        let ours = self.users.values().filter_map(|me| Some((me.name.clone(), me.port?)));
        let others = self.others.iter().map(|name| (name.clone(), self.setup.port));
        let own = self.lan.address_towards(ip);
        let mut users: Vec<Listed> = ours
            .chain(others)
            .map(|(nick, port)| Listed { nick, at: SocketAddrV4::new(own, port) })
            .collect();
        users.extend(self.clients().map(|(_, _, contact)| Listed {
            nick: contact.name.clone(),
            at: self.seen_from(ip, contact.at),
        }));
        users
    }

    /// An address as someone at `ip` reaches it: who is on this machine is at our address.
    fn seen_from(&self, ip: Ipv4Addr, at: SocketAddrV4) -> SocketAddrV4 {
        let ours = at.ip().is_loopback();
        SocketAddrV4::new(if ours { self.lan.address_towards(ip) } else { *at.ip() }, at.port())
    }

    fn tell_joined(&mut self, now: Millis, who: &Contact) {
        let ips: Vec<(StreamId, Ipv4Addr)> =
            self.clients().map(|(id, _, c)| (id, *c.at.ip())).collect();
        for (stream, ip) in ips {
            let user = Listed { nick: who.name.clone(), at: self.seen_from(ip, who.at) };
            self.tell(now, stream, &codec::joined(&user));
        }
    }

    /// One of ours is listed from now on.
    pub(super) fn announce_listed(&mut self, now: Millis, name: &str, port: u16) {
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        self.tell_joined(now, &Contact { name: name.into(), at });
    }

    /// A command to every client that registered; an empty one is not said.
    pub(super) fn tell_all(&mut self, now: Millis, what: impl Fn(Framing, &Contact) -> String) {
        let told: Vec<(StreamId, Framing, String)> = self
            .clients()
            .map(|(id, framing, contact)| (id, framing, what(framing, contact)))
            .filter(|(_, _, command)| !command.is_empty())
            .collect();
        for (stream, framing, command) in told {
            self.say(now, stream, codec::frame(framing, &command), None);
        }
    }

    fn tell(&mut self, now: Millis, stream: StreamId, command: &str) {
        let framing = match self.streams.get(&stream).map(|s| &s.kind) {
            Some(Kind::Client(client)) => client.frames.framing().unwrap_or(Framing::Lines),
            _ => return,
        };
        self.say(now, stream, codec::frame(framing, command), None);
    }

    /// A client is gone, or is to go. Only who was in the room leaves it: whoever was refused a
    /// taken nickname does not take its bearer along (as the real server has it).
    pub(super) fn drop_client(&mut self, now: Millis, stream: StreamId, why: &str) {
        let Some(s) = self.streams.get_mut(&stream) else { return };
        let Kind::Client(client) = &mut s.kind else { return };
        let contact = client.contact.take();
        self.close_stream(stream);
        if let Some(contact) = contact {
            self.tell_all(now, |_, _| format!("USER_LEFT {}", contact.name));
            self.told.gone(contact, why);
        }
    }
}
