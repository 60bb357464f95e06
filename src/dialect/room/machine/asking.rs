//! How a private chat comes about: asked for and refused by datagram.
//!
//! When both ask at once, the request of the one whose nickname sorts first stands, and the other
//! connects.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use super::chats::{Chat, GREET_MS, Phase};
use super::sockets::Role;
use super::{Kind, Machine, TO_CHAT};
use crate::dialect::heard::{Chat as State, ChatId, Contact, Heard};
use crate::dialect::room::codec::{self, Framing, Said};
use crate::dialect::room::{ASK_MS, MAX_ASKS_PER_SOURCE, MAX_CHATS, MAX_LISTED};
use crate::model::{IoError, Millis, Net, SocketId, UserId};

impl Machine {
    /// Asks somebody for a private chat with a user of ours. If he asked first, that is accepted.
    ///
    /// # Errors
    /// In words: there is one already, there are too many, or the user has no port.
    pub fn chat_ask(
        &mut self,
        now: Millis,
        user: UserId,
        peer: &Contact,
    ) -> Result<ChatId, String> {
        let (Some(socket), Some(port)) =
            (self.ask_socket(user), self.users.get(&user).and_then(|me| me.port))
        else {
            return Err("no port for private chats is open: see STATUS".into());
        };
        if let Some(id) = self.chats.with(user, peer) {
            return match self.chats.all.get(&id).map(|c| &c.phase) {
                Some(Phase::Asked { .. }) => {
                    self.chat_accept(now, id);
                    Ok(id)
                }
                Some(Phase::Open { .. }) => {
                    Err(format!("a private chat with {} is open already", peer.name))
                }
                _ => Err(format!("{} has been asked already and has not answered", peer.name)),
            };
        }
        if self.chats.all.len() >= MAX_CHATS {
            return Err(format!("{MAX_CHATS} private chats, no more at once: CLOSE one"));
        }
        let framing = self.framing_of(peer);
        let request = codec::packet(framing, &format!("CHAT_REQUEST {port}"));
        self.told.net(Net::Send { socket, to: peer.at, bytes: request });
        let phase = Phase::Asking { until: now + ASK_MS };
        let (peer, waiting) = (peer.clone(), VecDeque::new());
        Ok(self.chats.add(Chat { user, peer, framing, phase, waiting }))
    }

    /// Accepts a private chat that was asked for; `false`: there is none such.
    pub fn chat_accept(&mut self, now: Millis, id: ChatId) -> bool {
        let Some(chat) = self.chats.all.get(&id) else { return false };
        let Phase::Asked { source, port, .. } = chat.phase else { return false };
        let to = SocketAddrV4::new(*source.ip(), port);
        let stream = self.open_stream(now, to, Kind::Chat(id), TO_CHAT);
        if let Some(chat) = self.chats.all.get_mut(&id) {
            // the driver bounds connecting; this is for both together
            let until = now + crate::model::limits::CONNECT_MS + GREET_MS;
            chat.phase = Phase::Greeting { stream, heard: Vec::new(), until };
        }
        true
    }

    /// Refuses a private chat that was asked for; `false`: there is none such.
    pub fn chat_refuse(&mut self, now: Millis, id: ChatId) -> bool {
        let Some(chat) = self.chats.all.get(&id) else { return false };
        let Phase::Asked { source, port, .. } = chat.phase else { return false };
        let (user, framing) = (chat.user, chat.framing);
        if let Some(socket) = self.ask_socket(user) {
            self.refuse(socket, source, port, framing);
        }
        self.over(now, id, "refused");
        true
    }

    /// A datagram came in.
    pub fn datagram(&mut self, now: Millis, socket: SocketId, from: SocketAddrV4, bytes: &[u8]) {
        let Some(role) = self.sockets.role(socket) else { return };
        let from = self.lan.canonical(from);
        if !self.lan.reaches(*from.ip()) {
            return;
        }
        let (framing, said) = match codec::datagram(bytes) {
            Ok(said) => said,
            Err(bad) => {
                return self
                    .told
                    .complain(*from.ip(), &format!("a datagram that means nothing: {bad}"));
            }
        };
        match (said, role) {
            (Said::ChatRequest(port), Role::Ask(user)) => {
                self.asked(now, socket, user, from, port, framing);
            }
            (Said::ChatRequest(port), _) => self.turn_away(now, socket, from, port, framing),
            (Said::ChatRejected, Role::Ask(user)) => self.rejected(now, user, from),
            (other, _) => {
                self.told.complain(*from.ip(), &format!("{other:?} is not said by datagram"))
            }
        }
    }

    fn asked(
        &mut self,
        now: Millis,
        socket: SocketId,
        user: UserId,
        from: SocketAddrV4,
        port: u16,
        framing: Framing,
    ) {
        if from.ip().is_loopback() && self.users.values().any(|me| me.port == Some(from.port())) {
            return; // one of us
        }
        let Some(peer) = self.who_is(from) else {
            let text = "it asks for a private chat and is nobody in the room";
            return self.told.complain(*from.ip(), text);
        };
        let spoke = &mut self.chats.spoke;
        if spoke.len() < MAX_LISTED || spoke.contains_key(from.ip()) {
            spoke.insert(*from.ip(), framing);
        }
        let asked = Phase::Asked { source: from, port, until: now + ASK_MS };
        if let Some(id) = self.chats.with(user, &peer) {
            let ours = self.users.get(&user).map(|me| me.name.to_lowercase());
            let Some(chat) = self.chats.all.get_mut(&id) else { return };
            match chat.phase {
                // both ask at once: the first in the alphabet is connected to
                Phase::Asking { .. } if ours <= Some(peer.name.to_lowercase()) => {}
                Phase::Asking { .. } => {
                    (chat.phase, chat.framing) = (asked, framing);
                    self.chat_accept(now, id);
                }
                Phase::Asked { .. } => (chat.phase, chat.framing) = (asked, framing),
                Phase::Greeting { .. } | Phase::Open { .. } => {
                    self.turn_away(now, socket, from, port, framing);
                }
            }
            return;
        }
        let asks =
            |c: &&Chat| c.peer.at.ip() == from.ip() && matches!(c.phase, Phase::Asked { .. });
        let many = self.chats.all.values().filter(asks).count() >= MAX_ASKS_PER_SOURCE;
        if many || self.chats.all.len() >= MAX_CHATS {
            self.told
                .complain(*from.ip(), "more requests for private chats at once than are taken");
            return self.turn_away(now, socket, from, port, framing);
        }
        let waiting = VecDeque::new();
        let chat = Chat { user, peer: peer.clone(), framing, phase: asked, waiting };
        let id = self.chats.add(chat);
        self.told.heard(Heard::Chat(id, State::Asked(peer, user)));
    }

    /// Refuses what no user of ours was asked about: the source may be forged, so not without end.
    fn turn_away(
        &mut self,
        now: Millis,
        socket: SocketId,
        source: SocketAddrV4,
        port: u16,
        framing: Framing,
    ) {
        if self.refusals.take(now) {
            self.refuse(socket, source, port, framing);
        }
    }

    /// Real clients take a refusal at the socket they asked from (lengths), or send it to the
    /// number of the TCP port (lines).
    pub(super) fn refuse(
        &mut self,
        socket: SocketId,
        source: SocketAddrV4,
        port: u16,
        framing: Framing,
    ) {
        let (to, command) = match framing {
            Framing::Lengths => (source, "CHAT_REJECTED "),
            Framing::Lines => (SocketAddrV4::new(*source.ip(), port), "CHAT_REJECTED"),
        };
        self.told.net(Net::Send { socket, to, bytes: codec::packet(framing, command) });
    }

    fn rejected(&mut self, now: Millis, user: UserId, from: SocketAddrV4) {
        let asking: Vec<(ChatId, SocketAddrV4)> =
            self.chats.asking(user, *from.ip()).map(|(id, c)| (id, c.peer.at)).collect();
        let exact = asking.iter().find(|(_, at)| *at == from);
        let sole = asking.first().filter(|_| asking.len() == 1);
        if let Some((id, _)) = exact.or(sole) {
            self.over(now, *id, "he refused");
        }
    }

    /// A datagram that began like this will not arrive.
    pub fn unreachable(
        &mut self,
        now: Millis,
        socket: SocketId,
        to: SocketAddrV4,
        quoted: &[u8],
        error: &IoError,
    ) {
        let Some(Role::Ask(user)) = self.sockets.role(socket) else { return };
        // a refusal may miss: nobody waits for it then. An ICMP error may quote nothing (RFC 792)
        let about =
            matches!(codec::datagram(quoted), Ok((_, Said::ChatRequest(_)))) || quoted.is_empty();
        let asks = |(_, c): &(&ChatId, &Chat)| {
            c.user == user && c.peer.at == to && matches!(c.phase, Phase::Asking { .. })
        };
        let id = self.chats.all.iter().find(asks).map(|(id, _)| *id);
        if let (true, Some(id)) = (about, id) {
            self.over(now, id, &format!("he cannot be asked: {}", error.text));
        }
    }

    /// Who sends from here: the one whose port it is, else the only one at this address; of
    /// several it is not known which until he says it. Whoever the server said had left, and who
    /// asks, has not.
    fn who_is(&mut self, from: SocketAddrV4) -> Option<Contact> {
        let here: Vec<&Contact> = self.told.present().filter(|c| c.at.ip() == from.ip()).collect();
        match here.iter().find(|c| c.at == from) {
            Some(contact) => Some((*contact).clone()),
            None if here.len() == 1 => Some(here[0].clone()),
            None if here.is_empty() => self.back_again(*from.ip()),
            None => Some(Contact { name: from.ip().to_string(), at: from }),
        }
    }

    /// The framing that somebody understands: he asked in it, or speaks it with a server.
    fn framing_of(&self, peer: &Contact) -> Framing {
        let client = self.clients().find(|(_, _, c)| *c == peer).map(|(_, framing, _)| framing);
        let spoke = self.chats.spoke.get(peer.at.ip()).copied();
        let there = self.remote.contact(&peer.name).filter(|c| *c == peer);
        let remote = there.and(self.remote.framing);
        client.or(spoke).or(remote).unwrap_or(Framing::Lines)
    }
}
