//! Room and directory: their machines are told of our users, and the private chats that both have
//! are asked for, accepted and ended here.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Node;
use super::delivery::Target;
use super::foreign::Foreigner;
use super::history::Draft;
use super::io::Input;
use super::outbox::Item;
use super::roster;
use crate::dialect::heard::{Chat as Heard, ChatId, Contact, To};
use crate::dialect::{directory, room};
use crate::model::history::{Body, Change, Known};
use crate::model::limits::MAX_USERS;
use crate::model::{
    Answer, ChatState, ChatView, Delivery, Dialect, Direction, Handle, Map, Millis, Now, PeerId,
    Refusal, UserId, What,
};

/// Ports that the users' private chats in the room are tried on: twice as many as there are users.
const CHAT_PORTS: u16 = 2 * MAX_USERS as u16;

/// All private chats, by the number that people name them by.
#[derive(Default)]
pub(super) struct Chats {
    last: u32,
    all: Map<u32, Chat>,
}

struct Chat {
    dialect: Dialect,
    id: ChatId,
    user: UserId,
    peer: PeerId,
    handle: Handle,
    state: ChatState,
}

impl Chats {
    fn number(&self, dialect: Dialect, id: ChatId) -> Option<u32> {
        self.all.iter().find(|(_, c)| c.dialect == dialect && c.id == id).map(|(n, _)| *n)
    }

    fn add(&mut self, chat: Chat) -> u32 {
        let number = self.next_number();
        self.all.insert(number, chat);
        number
    }

    /// Chats and files are counted together: a number means one of them.
    pub(super) fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }
}

/// What happened on a machine's sockets: room's and directory's are told in the same words.
macro_rules! feed {
    ($machine:expr, $now:expr, $input:expr) => {{
        let (m, now) = ($machine, $now);
        match $input {
            Input::Bound(socket) => m.bound(now, socket),
            Input::BindFailed(socket, error) => m.bind_failed(now, socket, error),
            Input::Datagram { socket, from, bytes, .. } => m.datagram(now, socket, from, &bytes),
            Input::Unreachable { socket, to, bytes, error } => {
                m.unreachable(now, socket, to, &bytes, &error);
            }
            Input::Accepted { socket, stream, from } => m.accepted(now, socket, stream, from),
            Input::Connected(stream) => m.connected(now, stream),
            Input::Bytes(stream, bytes) => m.stream_bytes(now, stream, bytes),
            Input::End(stream) => m.stream_end(now, stream),
            Input::Wrote(stream) => m.wrote(now, stream),
            Input::Closed(stream, error) => m.stream_closed(now, stream, &error),
            _ => {}
        }
    }};
}

impl Node {
    /// Starts the machines that are switched on.
    pub(super) fn begin_chats(&mut self, now: Now) {
        let settings = &self.settings.room;
        if settings.enabled && self.dialects.room.is_none() {
            let setup = room::Setup {
                port: settings.port,
                serve: settings.server,
                connect: settings.connect,
                discover: settings.discover,
                ports: (settings.chat_port, settings.chat_port + CHAT_PORTS - 1),
            };
            let mut machine = room::Machine::new(setup, self.rng.u64(..));
            machine.set_links(now.mono, self.links.clone());
            self.dialects.room = Some(machine);
        }
        let settings = &self.settings.directory;
        if settings.enabled && self.dialects.directory.is_none() {
            let mut machine = directory::Machine::new(directory::Setup {
                port: settings.port,
                serve: settings.server,
                connect: settings.connect,
                chat_port: settings.chat_port,
                loopback: settings.loopback,
            });
            machine.set_links(now.mono, self.links.clone());
            self.dialects.directory = Some(machine);
        }
    }

    /// Each user of ours who is in the chat is listed in both, guests too.
    pub(super) fn tell_chats_of_us(&mut self, now: Now) {
        let joined: Vec<(UserId, String)> = self
            .users
            .iter()
            .filter(|(_, user)| user.joined)
            .map(|(id, user)| (id, user.handle.to_string()))
            .collect();
        if let Some(machine) = &mut self.dialects.room {
            let shown =
                |(id, name): &(UserId, String)| room::Shown { name: name.clone(), user: Some(*id) };
            machine.set_users(now.mono, joined.iter().map(shown).collect());
        }
        if let Some(machine) = &mut self.dialects.directory {
            let shown = |(user, name)| directory::Shown { name, user };
            machine.set_users(now.mono, joined.into_iter().map(shown).collect());
        }
    }

    pub(super) fn room_network(&mut self, now: Millis, input: Input) {
        if let Some(machine) = &mut self.dialects.room {
            feed!(machine, now, input);
        }
    }

    pub(super) fn directory_network(&mut self, now: Millis, input: Input) {
        if let Some(machine) = &mut self.dialects.directory {
            feed!(machine, now, input);
        }
    }

    /// Sends a text to somebody of room or directory; its fate comes under `tag`.
    pub(super) fn send_foreign(
        &mut self,
        now: Now,
        tag: u64,
        user: UserId,
        to: PeerId,
        text: &str,
    ) {
        let Some(Foreigner { dialect, contact, .. }) = self.foreigners.get(to).cloned() else {
            let why = "it is not here any more".to_owned();
            return self.set_state(now, tag, Delivery::Failed, Some(why));
        };
        let to = To::Contact(contact);
        match (dialect, &mut self.dialects.room, &mut self.dialects.directory) {
            (Dialect::Room, Some(m), _) => m.send(now.mono, tag, user, &to, text),
            (Dialect::Directory, _, Some(m)) => m.send(now.mono, tag, user, &to, text),
            _ => {
                let why = format!("{dialect} has no private chat");
                self.set_state(now, tag, Delivery::Failed, Some(why));
            }
        }
    }

    /// Says to everyone in the room what is for the lobby; `tags` are those who are there.
    pub(super) fn say_in_room(&mut self, now: Now, user: UserId, text: &str, tags: &[u64]) {
        let (Some(m), Some((first, rest))) = (&mut self.dialects.room, tags.split_first()) else {
            return;
        };
        m.send(now.mono, *first, user, &To::Everyone, text);
        self.settle(now);
        let fate = self.deliveries.pending.get(first).map(|p| (p.state, p.reason.clone()));
        for tag in rest {
            let (state, reason) = match &fate {
                Some((Delivery::Failed, reason)) => (Delivery::Failed, reason.clone()),
                _ => (Delivery::Sent, None),
            };
            self.set_state(now, *tag, state, reason);
        }
    }

    /// Another server of the room, or none; in words why not, as where we are there already.
    pub(super) fn room_connect(
        &mut self,
        now: Now,
        at: Option<SocketAddrV4>,
    ) -> Result<(), Refusal> {
        match &mut self.dialects.room {
            Some(m) => m.connect(now.mono, at).map_err(|reason| Refusal::Failed { reason }),
            None => Ok(()),
        }
    }

    /// Settings changed: another server, perhaps.
    pub(super) fn follow_room(&mut self, now: Now, old: Option<SocketAddrV4>) {
        let at = self.settings.room.connect;
        let there = self.dialects.room.as_ref().is_none_or(|m| m.server() == at);
        if old != at && !there {
            if let Err(refusal) = self.room_connect(now, at) {
                self.trouble(now, refusal.to_string());
            }
        }
    }

    /// Somebody is at this address: perhaps with a server of the room.
    pub(super) fn offer_room(&mut self, now: Now, ip: Ipv4Addr) {
        if let Some(m) = &mut self.dialects.room {
            m.offer(now.mono, ip);
        }
    }

    /// A text in private.
    pub(super) fn private_text(
        &mut self,
        now: Now,
        dialect: Dialect,
        from: &Contact,
        user: UserId,
        text: String,
    ) {
        let (peer, handle) = self.contact_peer(now, dialect, from);
        if self.is_blocked(handle.as_str()) {
            return;
        }
        let Some(to) = self.users.get(user) else { return };
        let (to, reply) = (to.handle.clone(), to.answers().map(ToOwned::to_owned));
        let id = self.new_entry();
        let draft = Draft {
            id,
            user: Some(to.clone()),
            conversation: handle.key(),
            from: handle.to_string(),
            direction: Direction::In,
            dialect,
            body: Body::Text { text: text.clone() },
            autoreply: false,
            recipients: Vec::new(),
        };
        let entry = self.entry(now, draft);
        self.keep_soon(now, Change::Put(Box::new(entry)));
        let name = self.foreigners.get(peer).map(|f| self.foreign_name(f));
        let what = What::Message {
            id,
            conversation: peer.to_string(),
            from: name.unwrap_or_else(|| self.name_of(peer)),
            to: to.to_string(),
            peer,
            dialect,
            direction: Direction::In,
            text,
            autoreply: false,
        };
        self.tell(now, Some(to), what);
        let known = self.foreigners.find(dialect, from);
        if let Some(foreigner) = known {
            self.talked_with_foreigner(now, foreigner);
        }
        if let (Some(reply), Some(foreigner)) = (reply, known) {
            if self.answered.allow(now.mono, user, peer, *from.at.ip()) {
                self.autoreply_out(now, user, Target::Foreign(foreigner), reply);
            }
        }
    }

    /// Somebody of room or directory can be written to while he is not here, as those of SLCP can.
    fn known_foreigner(&self, id: PeerId) -> Option<Known> {
        let private = |f: &&Foreigner| {
            let chats = matches!(f.dialect, Dialect::Room | Dialect::Directory);
            chats && self.twin(f).is_none() && !self.is_blocked(f.handle.as_str())
        };
        self.foreigners.get(id).filter(private).map(|f| Known {
            handle: f.handle.clone(),
            peer: id,
            dialect: f.dialect,
            address: f.contact.at.to_string(),
        })
    }

    /// Somebody was seen.
    pub(super) fn seen_foreigner(&mut self, now: Now, id: PeerId) {
        if let Some(known) = self.known_foreigner(id) {
            if self.people.seen(now.mono, &known) {
                self.keep_soon(now, Change::Met(known));
            }
        }
    }

    /// Somebody was talked with.
    pub(super) fn talked_with_foreigner(&mut self, now: Now, id: PeerId) {
        if let Some(known) = self.known_foreigner(id) {
            if self.people.talked(&known) {
                self.keep_soon(now, Change::Met(known));
            }
        }
    }

    /// To whom of room and directory what waits would leave, where nobody of SLCP bears the
    /// handle: who is where he was, else the only one.
    pub(super) fn foreign_bearer(&self, item: &Item) -> Option<PeerId> {
        let private = |f: &&Foreigner| matches!(f.dialect, Dialect::Room | Dialect::Directory);
        let all: Vec<&Foreigner> =
            self.foreigners.called(item.handle.as_str()).filter(private).collect();
        let there = |f: &&&Foreigner| Some(*f.contact.at.ip()) == item.addr.map(|at| *at.ip());
        let one = all.iter().find(there).or(all.first().filter(|_| all.len() == 1 && !item.exact));
        one.map(|f| f.id)
    }

    /// Which peer a contact is, and how its name is written here.
    fn contact_peer(&mut self, now: Now, dialect: Dialect, contact: &Contact) -> (PeerId, Handle) {
        let handle = Handle::escaped(&contact.name);
        let known = self.foreigners.find(dialect, contact).and_then(|id| self.foreigners.get(id));
        let id = match known.cloned() {
            Some(foreigner) => {
                self.foreigners.spoke(now, foreigner.id);
                self.twin(&foreigner).unwrap_or(foreigner.id)
            }
            None => roster::peer_id(dialect, &handle, *contact.at.ip()),
        };
        (id, handle)
    }

    /// A private chat is asked for, open or over.
    pub(super) fn chat_heard(&mut self, now: Now, dialect: Dialect, id: ChatId, chat: Heard) {
        let (contact, user, state, reason) = match chat {
            Heard::Asked(contact, user) => (contact, user, ChatState::Asked, None),
            Heard::Open(contact, user) => (contact, user, ChatState::Open, None),
            Heard::Over(contact, user, why) => (contact, user, ChatState::Over, Some(why)),
        };
        let (peer, handle) = self.contact_peer(now, dialect, &contact);
        let blocked = self.is_blocked(handle.as_str());
        if state == ChatState::Asked && (blocked || self.accepts_unasked(&handle)) {
            self.machine_chat(now, dialect, id, if blocked { Verb::Refuse } else { Verb::Accept });
            return;
        }
        let known = self.chats.number(dialect, id);
        if blocked && known.is_none() {
            return; // it was refused, or nobody told of it
        }
        let chat = Chat { dialect, id, user, peer, handle: handle.clone(), state };
        let number = match known {
            Some(number) => {
                self.chats.all.insert(number, chat);
                number
            }
            None => self.chats.add(chat),
        };
        if state == ChatState::Over {
            self.chats.all.remove(&number);
        }
        self.tell_chat(now, number, user, (peer, handle, dialect), state, reason);
    }

    fn tell_chat(
        &mut self,
        now: Now,
        number: u32,
        user: UserId,
        (peer, handle, dialect): (PeerId, Handle, Dialect),
        state: ChatState,
        reason: Option<String>,
    ) {
        let user = self.users.get(user).map(|u| u.handle.clone());
        let handle = handle.to_string();
        self.tell(now, user, What::Chat { number, peer, handle, dialect, state, reason });
    }

    fn accepts_unasked(&self, handle: &Handle) -> bool {
        self.settings.auto_accept.iter().any(|one| one == "*" || handle.is(one))
    }

    fn machine_chat(&mut self, now: Now, dialect: Dialect, id: ChatId, verb: Verb) -> bool {
        let now = now.mono;
        match (dialect, &mut self.dialects.room, &mut self.dialects.directory) {
            (Dialect::Room, Some(m), _) => match verb {
                Verb::Accept => m.chat_accept(now, id),
                Verb::Refuse => m.chat_refuse(now, id),
                Verb::Close => m.chat_close(now, id),
            },
            (Dialect::Directory, _, Some(m)) => match verb {
                Verb::Accept => m.chat_accept(now, id),
                Verb::Refuse => m.chat_refuse(now, id),
                Verb::Close => m.chat_close(now, id),
            },
            _ => false,
        }
    }

    /// CHAT: asks for one.
    pub(super) fn chat(&mut self, now: Now, user: UserId, name: &str) -> Result<Answer, Refusal> {
        self.must_be_joined(user)?;
        let has = |f: &&Foreigner| matches!(f.dialect, Dialect::Room | Dialect::Directory);
        let foreigner = match self.resolve(name)? {
            Target::Foreign(id) => self.foreigners.get(id).filter(has).cloned(),
            Target::Peer(id) => {
                let peer = self.roster.get(id);
                peer.and_then(|peer| self.twins_of(peer).find(has)).cloned()
            }
            Target::Local(_) | Target::Absent(_) | Target::Linked(_) => None,
        };
        let Some(Foreigner { id: foreign, handle, dialect, contact, .. }) = foreigner else {
            let reason = format!("{name} is not where private chats are asked for: MSG writes");
            return Err(Refusal::Failed { reason });
        };
        let asked = match (dialect, &mut self.dialects.room, &mut self.dialects.directory) {
            (Dialect::Room, Some(m), _) => m.chat_ask(now.mono, user, &contact),
            (Dialect::Directory, _, Some(m)) => m.chat_ask(now.mono, user, &contact),
            _ => Err(format!("{dialect} is switched off: {dialect}.enabled")),
        };
        let id = asked.map_err(|reason| Refusal::Failed { reason })?;
        if self.chats.number(dialect, id).is_none() {
            let twin = self.foreigners.get(foreign).and_then(|f| self.twin(f));
            let (peer, state) = (twin.unwrap_or(foreign), ChatState::Asking);
            let chat = Chat { dialect, id, user, peer, handle: handle.clone(), state };
            let number = self.chats.add(chat);
            self.tell_chat(now, number, user, (peer, handle, dialect), state, None);
        }
        Ok(Answer::Done)
    }

    /// ACCEPT and REFUSE.
    pub(super) fn decide_chat(
        &mut self,
        now: Now,
        user: UserId,
        number: u32,
        accept: bool,
    ) -> Result<Answer, Refusal> {
        if let Some(answer) = self.decide_file(now, user, number, accept) {
            return answer;
        }
        let asked = |c: &&Chat| c.user == user && c.state == ChatState::Asked;
        let chat = self.chats.all.get(&number).filter(asked).map(|c| (c.dialect, c.id));
        let verb = if accept { Verb::Accept } else { Verb::Refuse };
        match chat {
            Some((dialect, id)) if self.machine_chat(now, dialect, id, verb) => Ok(Answer::Done),
            _ => Err(Refusal::bad(
                if accept { "ACCEPT" } else { "REFUSE" },
                number.to_string(),
                "the number of a chat or file that waits for your answer, as STATUS shows it",
            )),
        }
    }

    /// CLOSE, of one partner or of the newest; where there is none, `/back` means that the user
    /// is back.
    pub(super) fn close(
        &mut self,
        now: Now,
        user: UserId,
        name: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let meant = |chat: &Chat| match name.map(|n| n.rsplit_once('@').unwrap_or((n, ""))) {
            None => chat.state != ChatState::Asked,
            Some((handle, place)) => {
                let there = place.is_empty() || place.eq_ignore_ascii_case(chat.dialect.name());
                chat.handle.is(handle) && there
            }
        };
        let found = self.chats.all.values().rev().find(|c| c.user == user && meant(c));
        let found = found.map(|c| (c.dialect, c.id));
        match (found, name) {
            (Some((dialect, id)), _) => {
                self.machine_chat(now, dialect, id, Verb::Close);
                Ok(Answer::Done)
            }
            (None, None) if self.users.get(user).is_some_and(|u| u.away) => {
                self.set_presence(now, user, false, None)
            }
            (None, name) => {
                let with = name.map(|n| format!(" with {n}")).unwrap_or_default();
                Err(Refusal::Failed { reason: format!("no private chat{with} is open") })
            }
        }
    }

    /// For STATUS.
    pub(super) fn chat_views(&self) -> Vec<ChatView> {
        let view = |(number, chat): (&u32, &Chat)| {
            let user = self.users.get(chat.user)?.handle.clone();
            let (peer, handle) = (chat.peer, chat.handle.to_string());
            let (number, dialect, state) = (*number, chat.dialect, chat.state);
            Some(ChatView { number, user, peer, handle, dialect, state })
        };
        self.chats.all.iter().filter_map(view).collect()
    }
}

/// What is to be done with a private chat.
enum Verb {
    Accept,
    Refuse,
    Close,
}
