//! Datagrams that came in: what each meant, and what it tells of its sender's program.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::forms::{TextForm, Transport};
use super::super::said::{Entry, Said};
use super::super::seen::{Origin, Seen};
use super::super::{codec, encode};
use super::sockets::Role;
use super::{ECHO_MS, FORMER_MS, Heard, Lesson, Machine, TextHeard, UserId};
use crate::model::{Handle, Millis, SocketId};

/// A datagram as it came.
pub struct Arrived {
    /// On which socket.
    pub socket: SocketId,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// Where it was sent to, if known.
    pub to: Option<Ipv4Addr>,
    /// The interface it came in on.
    pub link: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Machine {
    /// A datagram came in on one of our sockets.
    pub fn datagram(&mut self, now: Millis, arrived: Arrived) {
        let Some(role) = self.sockets.role(arrived.socket) else { return };
        let own = self.is_own_address(*arrived.from.ip())
            || self.was_ours(now, *arrived.from.ip(), ECHO_MS);
        if own && self.sockets.is_own_port(arrived.from.port()) {
            return; // our own broadcast came back
        }
        if self.link_to(*arrived.from.ip(), arrived.link).is_none() {
            return; // from elsewhere: what is off the link gets no answer and counts for nothing
        }
        let from = self.canonical(arrived.from);
        let is_ours = self.is_ours();
        let said = codec::datagram(&arrived.bytes, &is_ours);
        if self.continues_image(now, from, role, &arrived.bytes, said.as_ref().ok()) {
            return;
        }
        if !matches!(said, Ok(Said::Who { .. })) {
            self.word_came(arrived.bytes.len());
        }
        match said {
            Ok(said) => {
                // programs hand on the JOINs of others from their discovery port (BYMY, Rajan):
                // whose it is shall say so itself
                let relayed = from.port() == self.setup.port
                    && matches!(said, Said::Join { .. })
                    && arrived.to.is_some_and(|to| !self.is_broadcast(to));
                if !relayed {
                    self.note_datagram(from, &said);
                }
                let all = arrived.to.is_some_and(|to| self.is_broadcast(to));
                self.said_by(now, said, from, arrived.link, role, (relayed, all));
            }
            Err(error) => self.heard(Heard::Complaint {
                from: *from.ip(),
                text: format!("a datagram that is no SLCP: {error}"),
            }),
        }
    }

    /// Everyone on this machine is 127.0.0.1, whichever of its addresses was used: one program,
    /// one peer, and it stays reachable when an interface goes.
    pub(super) fn canonical(&self, addr: SocketAddrV4) -> SocketAddrV4 {
        // without the loopback (`interfaces` may leave it out) nobody could be reached there
        let own = self.is_own_address(*addr.ip()) && self.link_to(Ipv4Addr::LOCALHOST, 0).is_some();
        SocketAddrV4::new(if own { Ipv4Addr::LOCALHOST } else { *addr.ip() }, addr.port())
    }

    /// JOINs, lists and acknowledgements name their program's chat address themselves; what
    /// texts and images tell is learned once the node knows whose they are.
    fn note_datagram(&mut self, from: SocketAddrV4, said: &Said) {
        let addr = match said {
            Said::Join { port, .. } => Some(SocketAddrV4::new(*from.ip(), *port)),
            Said::List { entries, .. } => self.own_entry(from, entries),
            Said::Noise(_) => self.chat_address(from),
            _ => None,
        };
        let Some(addr) = addr.filter(|a| self.link_to(*a.ip(), 0).is_some()) else { return };
        let origin = self.origin(from, addr);
        self.contacts.note(addr, |seen| seen.note(said, Transport::Udp, origin));
        if let Said::Join { udp_port, .. } = said {
            if origin == Origin::Chat {
                self.contacts.note_chat_udp(addr);
            }
            if let Some(udp) = udp_port {
                self.contacts.note_udp_port(addr, *udp);
            }
        }
    }

    fn origin(&self, from: SocketAddrV4, chat: SocketAddrV4) -> Origin {
        match from.port() {
            port if port == chat.port() => Origin::Chat,
            port if port == self.setup.port => Origin::Discovery,
            _ => Origin::Other,
        }
    }

    pub(super) fn lesson(said: &Said, over: Transport) -> Lesson {
        let mut seen = Seen::default();
        seen.note(said, over, Origin::Other);
        Lesson(seen)
    }

    fn is_broadcast(&self, to: Ipv4Addr) -> bool {
        to.is_broadcast() || self.links.iter().any(|l| l.broadcast == Some(to))
    }

    /// The chat address of whoever sends from here: that very port if it is one, else the only
    /// one known at this address.
    pub(super) fn chat_address(&self, from: SocketAddrV4) -> Option<SocketAddrV4> {
        let mut known = self.contacts.at(*from.ip()).collect::<Vec<_>>();
        if known.contains(&from) {
            return Some(from);
        }
        if known.len() == 1 { known.pop() } else { None }
    }

    /// The entry in a list that its sender wrote of itself: it bears the sender's address and
    /// the sender's chat port. On a host with several programs each speaks for itself alone,
    /// else two of them would keep a dead third alive for ever.
    fn own_entry(&self, from: SocketAddrV4, entries: &[Entry]) -> Option<SocketAddrV4> {
        let here: Vec<SocketAddrV4> = entries
            .iter()
            .map(|e| self.canonical(SocketAddrV4::new(e.ip, e.port)))
            .filter(|a| a.ip() == from.ip())
            .collect();
        if here.contains(&from) {
            return Some(from);
        }
        // a program that answers from another port than it chats on; some say JOIN from their
        // chat port and answer from 4000 (001, Rajan, Tuna): believed where they are alone
        let first = here.first().copied()?;
        let discovery = from.port() == self.setup.port;
        let alone = discovery && self.contacts.at(*from.ip()).all(|a| a == first);
        let own = alone || !self.contacts.listens_on_chat_port(first);
        (here.len() == 1 && own).then_some(first)
    }

    /// One thing that was said, by datagram or on a stream (then `from` has the stream's port).
    pub(super) fn said(
        &mut self,
        now: Millis,
        said: Said,
        from: SocketAddrV4,
        link: u32,
        role: Role,
    ) {
        self.said_by(now, said, from, link, role, (false, false));
    }

    fn said_by(
        &mut self,
        now: Millis,
        said: Said,
        from: SocketAddrV4,
        link: u32,
        role: Role,
        (relayed, all): (bool, bool),
    ) {
        match said {
            Said::Join { handle, port, .. } => {
                let addr = SocketAddrV4::new(*from.ip(), port);
                if relayed {
                    self.heard(Heard::Listed { handle, addr, away: false, link });
                } else {
                    self.here(handle, addr, link, None, true);
                }
            }
            Said::Iam(entry) => self.listed(now, vec![entry], from, link),
            Said::List { entries, .. } => self.listed(now, entries, from, link),
            Said::Leave { handle } => self.heard(Heard::Left { handle, from }),
            Said::Away { handle } => {
                self.heard(Heard::Away { handle, from, away: true });
            }
            Said::Back { handle } => {
                self.heard(Heard::Away { handle, from, away: false });
            }
            Said::Who { reply_port, json, .. } => self.asked(now, from, json, reply_port, all),
            Said::Whois { wanted, .. } => self.asked_whois(now, &wanted, from),
            said @ Said::Text { .. } => self.text_said(said, from, role),
            Said::Image(head) => self.image_head_by_udp(now, head, from, role),
            Said::ImageChunk { id, index, total, data } => {
                self.image_chunk(now, (id, index, total, data), from, role);
            }
            Said::Noise(_) => {}
        }
    }

    fn text_said(&mut self, said: Said, source: SocketAddrV4, role: Role) {
        let over = if matches!(role, Role::Tcp(..)) { Transport::Tcp } else { Transport::Udp };
        // `MSG anna bob …`: bob is the receiver only for programs that name both
        let form = self.chat_address(source).and_then(|a| self.contacts.form(a));
        let names_both = form.is_none_or(|f| f.text == TextForm::Both);
        let said = if names_both { said } else { said.receiver_as_text() };
        let lesson = Machine::lesson(&said, over);
        let Said::Text { from, to, text, autoreply, .. } = said else { return };
        let Some(to) = self.addressed(role, to.as_ref()) else { return };
        let chat_port = over == Transport::Udp;
        let text = TextHeard { from, source, chat_port, to, text, autoreply, lesson };
        self.heard(Heard::Text(text));
    }

    fn here(
        &mut self,
        handle: Handle,
        addr: SocketAddrV4,
        link: u32,
        away: Option<bool>,
        join: bool,
    ) {
        let ours = self.is_own_address(*addr.ip()) && self.sockets.is_own_port(addr.port());
        if self.reachable(*addr.ip()) && addr.port() != 0 && !ours {
            self.heard(Heard::Here { handle, addr, link, away, join });
        }
    }

    /// Only who is on one of our links can be a peer: never an address off the link.
    fn reachable(&self, ip: Ipv4Addr) -> bool {
        self.link_to(ip, 0).is_some() && !self.is_broadcast(ip)
    }

    fn listed(&mut self, now: Millis, entries: Vec<Entry>, from: SocketAddrV4, link: u32) {
        let own = self.own_entry(from, &entries);
        for entry in entries {
            // whoever lists loopback addresses speaks of its own host
            let ip = if entry.ip.is_loopback() { *from.ip() } else { entry.ip };
            let addr = self.canonical(SocketAddrV4::new(ip, entry.port));
            let ours = self.is_own_address(*addr.ip()) || self.was_ours(now, *addr.ip(), FORMER_MS);
            if ours && self.sockets.is_own_port(addr.port()) {
                continue; // one of us
            }
            if own == Some(addr) {
                let away = self.contacts.own_presence(addr, entry.away);
                self.here(entry.handle, addr, link, away, false);
            } else if self.reachable(*addr.ip()) && addr.port() != 0 {
                let (handle, away) = (entry.handle, entry.away);
                self.heard(Heard::Listed { handle, addr, away, link });
            }
        }
    }

    fn asked_whois(&mut self, now: Millis, wanted: &Handle, from: SocketAddrV4) {
        let own = self.own_entries(*from.ip());
        let found = own.into_iter().find(|e| e.handle.is(wanted.as_str()));
        if let (Some(entry), Some(speaker)) = (found, self.speaker()) {
            let iam = encode::iam(&entry.handle, entry.ip, entry.port);
            if self.may_welcome(now, from, iam.len()) {
                self.send(speaker, from, iam);
            }
        }
    }

    /// For whom something is: the user it names, else the user whose port it came to, else the
    /// box's own.
    pub(super) fn addressed(&self, role: Role, named: Option<&Handle>) -> Option<UserId> {
        let by_name = named.and_then(|handle| self.user_called(handle));
        let by_port = match role {
            // a stream may have outlived its user
            Role::ChatUdp(user) | Role::Tcp(user, _) => {
                Some(user).filter(|user| self.users.contains_key(user))
            }
            Role::Discovery | Role::ImageUdp => None,
        };
        let by_port = by_port.filter(|user| self.users.contains_key(user));
        by_name.or(by_port).or_else(|| self.users.keys().next().copied())
    }
}
