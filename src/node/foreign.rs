//! Who is met by hello, room or directory, and what they say.
//!
//! Their machines know who is here, so this table only names them: it holds those who are. Whoever
//! bears the same handle at the same address as somebody of the roster is that one, with one more
//! route; else it is somebody of its own, named with its dialect where a handle is not enough.

use std::net::Ipv4Addr;

use super::Node;
use super::delivery::LOBBY_CONVERSATION;
use super::history::{Draft, LOBBY_KEY};
use super::roster::{self, Peer};
use crate::dialect::heard::{Contact, Heard};
use crate::model::history::{Body, Change};
use crate::model::{
    Delivery, Dialect, Direction, Handle, Map, Millis, Now, PeerId, PeerView, Presence, RouteView,
    Set, Trust, Wall, What,
};

/// Names that were said to be written in another way; beyond, it is said again.
const MAX_SAID: usize = 256;

/// Someone met by one of these dialects.
#[derive(Clone, Debug)]
pub(super) struct Foreigner {
    pub(super) id: PeerId,
    pub(super) handle: Handle,
    pub(super) dialect: Dialect,
    pub(super) contact: Contact,
    heard: Wall,
    /// Since when it is here.
    pub(super) since: Millis,
    /// A session with it stands.
    pub(super) session: bool,
    /// It was told of as somebody of its own.
    told: bool,
}

/// The table of those who are here.
#[derive(Default)]
pub(super) struct Foreigners {
    by_id: Map<PeerId, Foreigner>,
    /// Names that were said to be written in another way.
    said: Set<String>,
}

impl Foreigners {
    pub(super) fn get(&self, id: PeerId) -> Option<&Foreigner> {
        self.by_id.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Foreigner> {
        self.by_id.values()
    }

    /// The one of a contact.
    pub(super) fn find(&self, dialect: Dialect, contact: &Contact) -> Option<PeerId> {
        let same = |f: &&Foreigner| f.dialect == dialect && f.contact == *contact;
        self.all().find(same).map(|f| f.id)
    }

    /// Somebody said something.
    pub(super) fn spoke(&mut self, now: Now, id: PeerId) {
        if let Some(foreigner) = self.by_id.get_mut(&id) {
            foreigner.heard = now.wall;
        }
    }

    /// Those of a handle.
    pub(super) fn called(&self, handle: &str) -> impl Iterator<Item = &Foreigner> + use<'_> {
        let handle = handle.to_owned();
        self.all().filter(move |f| f.handle.is(&handle))
    }

    /// Whether somebody of a handle is here who is nobody of the roster.
    pub(super) fn is_called(&self, node: &Node, handle: &str) -> bool {
        self.called(handle).any(|f| node.twin(f).is_none())
    }
}

impl Node {
    /// A machine brought something up.
    pub(super) fn foreign_heard(&mut self, now: Now, dialect: Dialect, heard: Heard) {
        match heard {
            Heard::Here(contact) => self.foreign_here(now, dialect, contact),
            Heard::Gone(contact, reason) => self.foreign_gone(now, dialect, &contact, &reason),
            Heard::Text { from, to: None, text, said } => {
                self.foreign_text(now, dialect, &from, text, said);
            }
            Heard::Text { from, to: Some(user), text, .. } => {
                self.private_text(now, dialect, &from, user, text);
            }
            Heard::Chat(id, chat) => self.chat_heard(now, dialect, id, chat),
            Heard::Sent(tag) => self.sent(now, tag),
            Heard::Delivered(tag) => self.set_state(now, tag, Delivery::Delivered, None),
            Heard::NotSent(tag, error) => self.not_sent(now, tag, &error),
            Heard::Session(contact, stands) => self.foreign_session(now, dialect, &contact, stands),
            Heard::Trouble(None) => drop(self.dialects.troubles.remove(&dialect)),
            Heard::Trouble(Some(text)) => {
                let text = format!(
                    "{text}: end that program (it is tried again), set {dialect}.port, or \
                     switch {dialect}.enabled off"
                );
                let old = self.dialects.troubles.insert(dialect, text.clone());
                if old.as_ref() != Some(&text) {
                    self.trouble(now, text);
                }
            }
            Heard::Complaint { from, text } => self.complain(now, from, &text),
        }
    }

    fn foreign_here(&mut self, now: Now, dialect: Dialect, contact: Contact) {
        if self.foreigners.find(dialect, &contact).is_some() {
            return;
        }
        let handle = Handle::escaped(&contact.name);
        if handle.as_str() != contact.name {
            self.say_written(now, dialect, &contact.name, &handle);
        }
        let mut id = roster::peer_id(dialect, &handle, *contact.at.ip());
        while self.foreigners.get(id).is_some() {
            id.0 = (id.0 + 1) & 0xffff_ffff_ffff;
        }
        // whoever is in the room hears all that is said there
        let session = dialect == Dialect::Room;
        let (told, heard, since) = (false, now.wall, now.mono);
        let foreigner = Foreigner { id, handle, dialect, contact, heard, since, session, told };
        self.offer_room(now, *foreigner.contact.at.ip());
        self.outbox.touch(&foreigner.handle.key());
        self.foreigners.by_id.insert(id, foreigner);
        self.seen_foreigner(now, id);
        self.tell_foreigners(now);
    }

    fn foreign_gone(&mut self, now: Now, dialect: Dialect, contact: &Contact, reason: &str) {
        let Some(id) = self.foreigners.find(dialect, contact) else { return };
        if let Some(gone) = self.foreigners.by_id.remove(&id).filter(|f| f.told) {
            self.tell_left(now, &gone, reason);
        }
    }

    fn foreign_session(&mut self, now: Now, dialect: Dialect, contact: &Contact, stands: bool) {
        let Some(id) = self.foreigners.find(dialect, contact) else {
            // a server is nobody
            let handle = Handle::escaped(&contact.name);
            let peer = roster::peer_id(dialect, &handle, *contact.at.ip());
            let handle = format!("{handle}@{}", contact.at);
            return self.tell(now, None, What::Session { peer, handle, dialect, stands });
        };
        let Some(foreigner) = self.foreigners.by_id.get_mut(&id) else { return };
        foreigner.session = stands;
        let foreigner = foreigner.clone();
        if self.is_blocked(foreigner.handle.as_str()) {
            return;
        }
        let peer = self.twin(&foreigner).unwrap_or(id);
        let handle = foreigner.handle.to_string();
        self.tell(now, None, What::Session { peer, handle, dialect, stands });
    }

    /// A text of the dialect's one shared chat: it is in the lobby.
    fn foreign_text(
        &mut self,
        now: Now,
        dialect: Dialect,
        from: &Contact,
        text: String,
        said: Option<Wall>,
    ) {
        let known = self.foreigners.find(dialect, from);
        let handle = Handle::escaped(&from.name);
        if self.is_blocked(handle.as_str()) || !self.carried_is_news(now, dialect, &text) {
            return;
        }
        if said.is_none() {
            self.carry(now, dialect, &handle, *from.at.ip(), &text);
        }
        let peer = match known.and_then(|id| self.foreigners.by_id.get_mut(&id)) {
            Some(foreigner) => {
                foreigner.heard = now.wall;
                let foreigner = foreigner.clone();
                self.twin(&foreigner).unwrap_or(foreigner.id)
            }
            None => roster::peer_id(dialect, &handle, *from.at.ip()),
        };
        let id = self.new_entry();
        let draft = Draft {
            id,
            user: None,
            conversation: LOBBY_KEY.into(),
            from: handle.to_string(),
            direction: Direction::In,
            dialect,
            body: Body::Text { text: text.clone() },
            autoreply: false,
            recipients: Vec::new(),
        };
        let mut entry = self.entry(now, draft);
        if let Some(said) = said {
            entry.at = said;
        }
        self.keep_soon(now, Change::Put(Box::new(entry)));
        let what = What::Message {
            id,
            conversation: LOBBY_CONVERSATION.into(),
            from: handle.to_string(),
            to: crate::command::LOBBY.into(),
            peer,
            dialect,
            direction: Direction::In,
            text,
            autoreply: false,
        };
        let at = said.unwrap_or(now.wall);
        self.actions.push_back(super::Action::Tell(super::Event { at, user: None, what }));
    }

    /// A name that a handle cannot carry is written in another way here: said once.
    fn say_written(&mut self, now: Now, dialect: Dialect, name: &str, handle: &Handle) {
        if self.foreigners.said.len() >= MAX_SAID {
            self.foreigners.said.clear();
        }
        if self.foreigners.said.insert(name.to_owned()) {
            let name = crate::model::text::harmless(name);
            let text = format!("\"{name}\" of the {dialect} chat is written {handle} here");
            self.complain(now, Ipv4Addr::UNSPECIFIED, &text);
        }
    }

    /// Whom of the roster a foreigner is: who bears its handle at its address.
    pub(super) fn twin(&self, foreigner: &Foreigner) -> Option<PeerId> {
        let ip = *foreigner.contact.at.ip();
        let mut all = self.roster.called(foreigner.handle.as_str());
        all.find(|p| p.is_here() && is_at(p, ip)).map(|p| p.id)
    }

    /// The foreigners that somebody of the roster is too.
    pub(super) fn twins_of<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a Foreigner> {
        let called = self.foreigners.called(peer.handle.as_str());
        called.filter(|f| peer.is_here() && is_at(peer, *f.contact.at.ip()))
    }

    /// Tells of those who are nobody of the roster, or not any more.
    pub(super) fn tell_foreigners(&mut self, now: Now) {
        let all: Vec<Foreigner> = self.foreigners.all().cloned().collect();
        for mut foreigner in all {
            let alone = self.twin(&foreigner).is_none();
            if alone == foreigner.told {
                continue;
            }
            foreigner.told = alone;
            if !alone {
                self.tell_left(now, &foreigner, "met by another dialect too: it is one peer");
            } else if !self.is_blocked(foreigner.handle.as_str()) {
                let what = What::PeerJoined {
                    peer: foreigner.id,
                    handle: foreigner.handle.to_string(),
                    dialect: foreigner.dialect,
                    address: foreigner.contact.at.ip().to_string(),
                    port: foreigner.contact.at.port(),
                };
                self.tell(now, None, what);
            }
            self.foreigners.by_id.insert(foreigner.id, foreigner);
        }
    }

    fn tell_left(&mut self, now: Now, gone: &Foreigner, reason: &str) {
        if !self.is_blocked(gone.handle.as_str()) {
            let what = What::PeerLeft {
                peer: gone.id,
                handle: gone.handle.to_string(),
                dialect: gone.dialect,
                reason: reason.into(),
            };
            self.tell(now, None, what);
        }
    }

    /// The name to type for exactly this foreigner.
    pub(super) fn foreign_name(&self, foreigner: &Foreigner) -> String {
        if let Some(twin) = self.twin(foreigner) {
            return self.name_of(twin);
        }
        let handle = foreigner.handle.as_str();
        let others = self.foreigners.called(handle).filter(|f| f.id != foreigner.id);
        let same_dialect = others.filter(|f| f.dialect == foreigner.dialect).count() > 0;
        let roster = self.roster.called(handle).any(Peer::is_here);
        if same_dialect {
            return format!("{handle}@{}", foreigner.contact.at);
        }
        let several = self.foreigners.called(handle).count() > 1;
        match roster || several || self.users.called(handle).is_some() {
            true => format!("{handle}@{}", foreigner.dialect),
            false => handle.to_owned(),
        }
    }

    /// Those who are nobody of the roster, as people and programs see them.
    pub(super) fn foreign_views(&self) -> Vec<PeerView> {
        let alone = self.foreigners.all().filter(|f| self.twin(f).is_none());
        alone
            .map(|f| PeerView {
                id: f.id,
                handle: f.handle.to_string(),
                name: self.foreign_name(f),
                dialect: vec![f.dialect],
                address: f.contact.at.ip().to_string(),
                port: f.contact.at.port(),
                routes: vec![foreign_route(f)],
                presence: Presence::Online,
                trust: Trust::Plain,
                last_heard: Some(f.heard),
                blocked: self.is_blocked(f.handle.as_str()),
            })
            .collect()
    }
}

/// The way to a foreigner.
pub(super) fn foreign_route(foreigner: &Foreigner) -> RouteView {
    RouteView {
        dialect: foreigner.dialect,
        address: foreigner.contact.at.ip().to_string(),
        port: foreigner.contact.at.port(),
        form: None,
    }
}

fn is_at(peer: &Peer, ip: Ipv4Addr) -> bool {
    peer.routes().any(|r| *r.addr.ip() == ip)
}
