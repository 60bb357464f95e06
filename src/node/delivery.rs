//! Texts: who a message is from, who it is for, and what became of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::rc::Rc;

use super::history::Draft;
use super::outbox::{Item, MAX_RESENDABLE};
use super::roster::{By, Route};
use super::{Lesson, Node};
use crate::dialect::slcp::machine::TextHeard;
use crate::model::history::{Body, Change};
use crate::model::limits::{MAX_HANDLE, MAX_PENDING, SLCP_LINE, SLCP_PARTS};
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Handle, IoError, Now, PeerId, UserId, What,
};

/// What the lobby's conversation is called.
pub const LOBBY_CONVERSATION: &str = "lobby";

/// What certainly fits the parts of any form, in bytes: said when a text does not.
pub const TEXT_LIMIT: usize = SLCP_PARTS * (SLCP_LINE - 2 * MAX_HANDLE - 16);

/// Something sent whose fate is not known for good.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) entry: EntryId,
    pub(super) user: UserId,
    /// As the entry names it.
    pub(super) peer: PeerId,
    pub(super) recipient: String,
    pub(super) state: Delivery,
    pub(super) reason: Option<String>,
    /// Its entry is with the store.
    pub(super) kept: bool,
    /// Said beside `sent`: why it is not kept.
    pub(super) note: Option<Rc<str>>,
}

/// Of what a recipient's state is told and kept.
#[derive(Clone)]
pub(super) struct Fate {
    pub(super) entry: EntryId,
    pub(super) user: Option<Handle>,
    pub(super) peer: PeerId,
    pub(super) recipient: String,
    pub(super) kept: bool,
}

impl Fate {
    pub(super) fn of(item: &Item) -> Fate {
        Fate {
            entry: item.entry,
            user: Some(item.user.clone()),
            peer: item.peer,
            recipient: item.name(),
            kept: item.kept,
        }
    }
}

#[derive(Default)]
pub(super) struct Deliveries {
    next: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// Texts that left lately, oldest first: they may come back.
    resendable: VecDeque<(u64, Item)>,
}

impl Deliveries {
    /// Notes something about to be sent; its name towards the machine. The oldest that left
    /// already is forgotten when the table is full.
    pub(super) fn add(&mut self, pending: Pending) -> u64 {
        if self.pending.len() >= MAX_PENDING {
            let settled = self.pending.iter().find(|(_, p)| p.state.is_settled());
            if let Some(tag) = settled.map(|(tag, _)| *tag) {
                self.pending.remove(&tag);
            }
        }
        self.next += 1;
        self.pending.insert(self.next, pending);
        self.next
    }

    /// How many more can be noted.
    pub(super) fn room(&self) -> usize {
        let open = self.pending.values().filter(|p| !p.state.is_settled()).count();
        MAX_PENDING.saturating_sub(open)
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING && !self.pending.values().any(|p| p.state.is_settled())
    }

    pub(super) fn may_come_back(&mut self, tag: u64, item: Item) {
        if self.resendable.len() >= MAX_RESENDABLE {
            self.resendable.pop_front();
        }
        self.resendable.push_back((tag, item));
    }

    pub(super) fn take_resendable(&mut self, tag: u64) -> Option<Item> {
        let at = self.resendable.iter().rposition(|(t, _)| *t == tag)?;
        self.resendable.remove(at).map(|(_, item)| item)
    }
}

/// The id under which one local user is a peer of another.
pub(super) fn local_peer(id: UserId) -> PeerId {
    PeerId(0xffff_0000_0000 | u64::from(id.0))
}

/// Someone to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Peer(PeerId),
    Local(UserId),
    /// Someone the link knows, here or not.
    Linked(PeerId),
    /// Someone known who is in the roster no more.
    Absent(PeerId),
    /// Someone met by hello, room or directory.
    Foreign(PeerId),
}

impl Node {
    /// A text came in.
    pub(super) fn text_in(&mut self, now: Now, heard: TextHeard) {
        let from = self.sender(now, heard.from.as_ref(), heard.source, heard.chat_port);
        if !self.carried_is_news(now, Dialect::Slcp, &heard.text) {
            return;
        }
        let Some(peer) = self.roster.get(from) else { return };
        let addr = peer.route().addr;
        if self.is_blocked(peer.handle.as_str()) {
            return;
        }
        let (sender, key) = (peer.handle.to_string(), peer.handle.key());
        self.learn(addr, heard.lesson);
        let Some(user) = self.users.get(heard.to) else { return };
        let (to, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        self.talked_with(now, from);
        let id = self.new_entry();
        let entry = self.entry(
            now,
            Draft {
                id,
                user: Some(to.clone()),
                conversation: key,
                from: sender,
                direction: Direction::In,
                dialect: Dialect::Slcp,
                body: Body::Text { text: heard.text.clone() },
                autoreply: heard.autoreply,
                recipients: Vec::new(),
            },
        );
        self.keep_soon(now, Change::Put(Box::new(entry)));
        let what = What::Message {
            id,
            conversation: from.to_string(),
            from: self.name_of(from),
            to: to.to_string(),
            peer: from,
            dialect: Dialect::Slcp,
            direction: Direction::In,
            text: heard.text,
            autoreply: heard.autoreply,
        };
        self.tell(now, Some(to), what);
        if !heard.autoreply {
            self.autoreply(now, heard.to, from, reply);
        }
    }

    /// Answers for a user who is away: once per peer and period, never an autoreply.
    pub(super) fn autoreply(&mut self, now: Now, user: UserId, to: PeerId, reply: Option<String>) {
        let (Some(reply), Some(addr)) = (reply, self.roster.get(to).map(|p| p.route().addr)) else {
            return;
        };
        let mut allowed = false;
        self.slcp_do(|m| allowed = m.may_autoreply(now.mono, addr, reply.len()));
        if allowed && self.answered.allow(now.mono, user, to, *addr.ip()) {
            self.autoreply_out(now, user, Target::Peer(to), reply);
        }
    }

    pub(super) fn learn(&mut self, addr: SocketAddrV4, lesson: Lesson) {
        self.slcp_do(|m| m.learn(addr, lesson));
    }

    /// Whose a message is: the peer of that handle at that address, else the only one there,
    /// else somebody new. A handle at another address than its peer's is somebody else.
    pub(super) fn sender(
        &mut self,
        now: Now,
        handle: Option<&Handle>,
        source: SocketAddrV4,
        chat_port: bool,
    ) -> PeerId {
        let here = self.roster.at_ip(*source.ip());
        let named = |id: &&&super::roster::Peer| handle.is_none_or(|h| id.handle.is(h.as_str()));
        let by_port = here.iter().filter(named).find(|p| p.routes().any(|r| r.addr == source));
        let found = by_port.or_else(|| here.iter().find(named)).map(|p| p.id);
        if let Some(id) = found {
            self.roster.spoke(now, id);
            return id;
        }
        // whoever speaks after its LEAVE (Daniyal) is no stranger
        let gone = handle.and_then(|h| self.roster.gone_at_ip(h, *source.ip()));
        if let Some((id, addr)) = gone {
            self.roster.spoke(now, id);
            self.tell_changes(now);
            self.slcp_do(|m| m.ask_one(addr));
            return id;
        }
        let handle = handle.cloned().unwrap_or_else(|| Handle::nearest(&source.ip().to_string()));
        let port = if chat_port { source.port() } else { 0 };
        let addr = SocketAddrV4::new(*source.ip(), port);
        let route = Route { dialect: Dialect::Slcp, addr, link: 0 };
        let id = self.roster.hear(now, &handle, route, None, By::Text);
        self.tell_changes(now); // who it is, before what it said
        self.slcp_do(|m| m.ask_one(addr));
        id
    }

    /// What became of one recipient is told, and kept.
    pub(super) fn tell_fate(
        &mut self,
        now: Now,
        fate: Fate,
        state: Delivery,
        reason: Option<String>,
    ) {
        let Fate { entry: id, user, peer, recipient, kept } = fate;
        if kept {
            self.keep_soon(now, Change::State { id, peer, state, reason: reason.clone() });
        }
        self.tell(now, user, What::Delivery { id, recipient, peer, state, reason });
    }

    /// The machine handed something to the network.
    pub(super) fn sent(&mut self, now: Now, tag: u64) {
        self.image_sent(now, tag);
        if let Some(p) = self.deliveries.pending.get(&tag) {
            if p.state == Delivery::Queued {
                let note = p.note.as_ref().map(ToString::to_string);
                self.set_state(now, tag, Delivery::Sent, note);
            }
        }
        self.left(tag);
    }

    /// Something will not arrive, or did not.
    pub(super) fn not_sent(&mut self, now: Now, tag: u64, error: &IoError) {
        self.image_not_sent(now, tag, error);
        self.set_state(now, tag, Delivery::Failed, Some(error.text.clone()));
        self.left(tag);
    }

    /// Nothing of a text arrived.
    pub(super) fn undelivered(&mut self, now: Now, tag: u64, error: &IoError) {
        if !self.comes_back(now, tag, error) {
            self.not_sent(now, tag, error);
        }
    }

    pub(super) fn set_state(
        &mut self,
        now: Now,
        tag: u64,
        state: Delivery,
        reason: Option<String>,
    ) {
        let Some(pending) = self.deliveries.pending.get_mut(&tag) else { return };
        pending.state = state;
        pending.reason.clone_from(&reason);
        let fate = Fate {
            entry: pending.entry,
            user: self.users.get(pending.user).map(|u| u.handle.clone()),
            peer: pending.peer,
            recipient: pending.recipient.clone(),
            kept: pending.kept,
        };
        self.tell_fate(now, fate, state, reason);
    }

    pub(super) fn local_name(&self, id: UserId) -> String {
        self.users.get(id).map(|u| u.handle.to_string()).unwrap_or_default()
    }
}
