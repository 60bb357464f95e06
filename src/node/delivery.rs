//! Texts: who a message is from, who it is for, and what became of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::roster::{By, Route};
use super::{Lesson, Node};
use crate::dialect::slcp::machine::{Addressee, TextHeard};
use crate::model::limits::{MAX_HANDLE, MAX_PENDING, SLCP_LINE, SLCP_PARTS};
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Handle, IoError, Now, PeerId, Receipt, Refusal, UserId,
    What,
};

/// What the lobby's conversation is called.
pub const LOBBY_CONVERSATION: &str = "lobby";

/// What certainly fits the parts of any form, in bytes: said when a text does not.
pub const TEXT_LIMIT: usize = SLCP_PARTS * (SLCP_LINE - 2 * MAX_HANDLE - 16);

/// Something sent whose fate is not known for good.
pub(super) struct Pending {
    pub(super) entry: EntryId,
    pub(super) user: UserId,
    pub(super) peer: PeerId,
    pub(super) recipient: String,
    pub(super) state: Delivery,
    pub(super) reason: Option<String>,
}

#[derive(Default)]
pub(super) struct Deliveries {
    next: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
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

    fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING && !self.pending.values().any(|p| p.state.is_settled())
    }
}

/// The id under which one local user is a peer of another.
pub(super) fn local_peer(id: UserId) -> PeerId {
    PeerId(0xffff_0000_0000 | u64::from(id.0))
}

/// Someone to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Peer(PeerId),
    Local(UserId),
}

impl Node {
    /// A text came in.
    pub(super) fn text_in(&mut self, now: Now, heard: TextHeard) {
        let from = self.sender(now, heard.from.as_ref(), heard.source, heard.chat_port);
        let Some(peer) = self.roster.get(from) else { return };
        let addr = peer.route().addr;
        if self.is_blocked(peer.handle.as_str()) {
            return;
        }
        self.learn(addr, heard.lesson);
        let Some(user) = self.users.get(heard.to) else { return };
        let (to, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        let what = What::Message {
            id: self.new_entry(),
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
            // it is at most MAX_AUTOREPLY bytes, so it always fits
            let _ = self.text_out(now, user, &[Target::Peer(to)], None, &reply, true);
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
        let by_port = here.iter().filter(named).find(|p| p.routes.iter().any(|r| r.addr == source));
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

    /// Sends a text to each of `targets`, as one entry; `conversation` where it is a room's.
    ///
    /// # Errors
    /// It does not fit the form of one of them: then nothing is sent to anybody.
    pub(super) fn text_out(
        &mut self,
        now: Now,
        user: UserId,
        targets: &[Target],
        conversation: Option<&str>,
        text: &str,
        autoreply: bool,
    ) -> Result<Vec<Receipt>, Refusal> {
        let Some(from) = self.users.get(user).map(|u| u.handle.clone()) else {
            return Ok(Vec::new());
        };
        if let Some(limit) = self.too_long(user, targets, text) {
            return Err(Refusal::TooLong { bytes: text.len() as u64, limit: limit as u64 });
        }
        let entry = self.new_entry();
        if conversation.is_some() {
            let what = self.outgoing(entry, conversation, &from, None, text, autoreply);
            self.tell(now, Some(from.clone()), what);
        }
        let (mut tags, mut receipts) = (Vec::new(), Vec::new());
        for target in targets {
            if self.deliveries.pending.len() >= MAX_PENDING {
                // what was handed over gives room, and its receipt is made before it is forgotten
                self.settle(now);
                receipts.extend(tags.drain(..).filter_map(|tag| self.receipt(tag)));
            }
            if conversation.is_none() {
                let what = self.outgoing(entry, None, &from, Some(*target), text, autoreply);
                self.tell(now, Some(from.clone()), what);
            }
            tags.push(self.text_to(now, user, entry, *target, text, autoreply));
        }
        self.settle(now);
        receipts.extend(tags.into_iter().filter_map(|tag| self.receipt(tag)));
        Ok(receipts)
    }

    fn outgoing(
        &self,
        id: EntryId,
        room: Option<&str>,
        from: &Handle,
        to: Option<Target>,
        text: &str,
        autoreply: bool,
    ) -> What {
        let (peer, name, dialect) = match to {
            Some(Target::Peer(peer)) => (peer, self.name_of(peer), Dialect::Slcp),
            Some(Target::Local(id)) => (local_peer(id), self.local_name(id), Dialect::Local),
            None => (PeerId(0), crate::command::LOBBY.into(), Dialect::Slcp),
        };
        What::Message {
            id,
            conversation: room.map_or_else(|| peer.to_string(), ToOwned::to_owned),
            from: from.to_string(),
            to: name,
            peer,
            dialect,
            direction: Direction::Out,
            text: text.to_owned(),
            autoreply,
        }
    }

    fn local_name(&self, id: UserId) -> String {
        self.users.get(id).map(|u| u.handle.to_string()).unwrap_or_default()
    }

    /// The most bytes that would fit, if this text does not fit one of the targets' forms.
    fn too_long(&self, user: UserId, targets: &[Target], text: &str) -> Option<usize> {
        let machine = self.slcp.as_ref()?;
        targets.iter().find_map(|target| {
            let Target::Peer(id) = target else { return None };
            let peer = self.roster.get(*id)?;
            let to = Addressee { handle: peer.handle.clone(), addr: peer.route().addr };
            machine.fits(user, &to, text).err().map(|_| TEXT_LIMIT)
        })
    }

    fn text_to(
        &mut self,
        now: Now,
        user: UserId,
        entry: EntryId,
        target: Target,
        text: &str,
        autoreply: bool,
    ) -> u64 {
        let mut pending = Pending {
            entry,
            user,
            peer: PeerId(0),
            recipient: String::new(),
            state: Delivery::Queued,
            reason: None,
        };
        match target {
            Target::Local(to) => {
                (pending.peer, pending.recipient) = (local_peer(to), self.local_name(to));
                let tag = self.deliveries.add(pending);
                self.deliver_locally(now, user, to, text, autoreply);
                self.set_state(now, tag, Delivery::Delivered, None);
                tag
            }
            Target::Peer(id) => {
                (pending.peer, pending.recipient) = (id, self.name_of(id));
                let full = self.deliveries.is_full();
                let tag = self.deliveries.add(pending);
                let refused = if full {
                    Some(format!("{MAX_PENDING} messages wait already: try again in a moment"))
                } else {
                    self.why_not(id)
                };
                if let Some(reason) = refused {
                    self.set_state(now, tag, Delivery::Failed, Some(reason));
                    return tag;
                }
                let Some(peer) = self.roster.get(id) else { return tag };
                let to = Addressee { handle: peer.handle.clone(), addr: peer.route().addr };
                let marked = autoreply.then(|| crate::dialect::slcp::encode::autoreply_text(text));
                let text = marked.as_deref().unwrap_or(text);
                let mut result = Ok(());
                self.slcp_do(|m| result = m.send_text(now.mono, tag, user, &to, text));
                if let Err(error) = result {
                    self.set_state(now, tag, Delivery::Failed, Some(error.to_string()));
                }
                tag
            }
        }
    }

    /// Why nothing can be sent to a peer now, if so.
    pub(super) fn why_not(&self, id: PeerId) -> Option<String> {
        let Some(peer) = self.roster.get(id) else { return Some("it is forgotten".into()) };
        if !peer.is_here() {
            return Some(format!("{} is not here any more", peer.handle));
        }
        if self.slcp.is_none() {
            return Some("SLCP is switched off: slcp.enabled".into());
        }
        (peer.route().addr.port() == 0)
            .then(|| format!("{} has not said yet where it listens", peer.handle))
    }

    fn deliver_locally(&mut self, now: Now, from: UserId, to: UserId, text: &str, auto: bool) {
        let Some(user) = self.users.get(to) else { return };
        let (handle, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        let what = What::Message {
            id: self.new_entry(),
            conversation: local_peer(from).to_string(),
            from: self.local_name(from),
            to: handle.to_string(),
            peer: local_peer(from),
            dialect: Dialect::Local,
            direction: Direction::In,
            text: text.to_owned(),
            autoreply: auto,
        };
        self.tell(now, Some(handle), what);
        if let Some(reply) = reply.filter(|_| !auto) {
            // each of our users is a host of its own here: nobody can pretend to be one
            let host = Ipv4Addr::from(from.0);
            if self.answered.allow(now.mono, to, local_peer(from), host) {
                let _ = self.text_out(now, to, &[Target::Local(from)], None, &reply, true);
            }
        }
    }

    /// The machine handed something to the network.
    pub(super) fn sent(&mut self, now: Now, tag: u64) {
        self.image_sent(now, tag);
        if self.deliveries.pending.get(&tag).is_some_and(|p| p.state == Delivery::Queued) {
            self.set_state(now, tag, Delivery::Sent, None);
        }
    }

    /// Something will not arrive, or did not.
    pub(super) fn not_sent(&mut self, now: Now, tag: u64, error: &IoError) {
        self.image_not_sent(now, tag, error);
        self.set_state(now, tag, Delivery::Failed, Some(error.text.clone()));
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
        let (id, peer, recipient) = (pending.entry, pending.peer, pending.recipient.clone());
        let user = self.users.get(pending.user).map(|u| u.handle.clone());
        self.tell(now, user, What::Delivery { id, recipient, peer, state, reason });
    }

    pub(super) fn receipt(&self, tag: u64) -> Option<Receipt> {
        let pending = self.deliveries.pending.get(&tag)?;
        Some(Receipt {
            id: pending.entry,
            recipient: pending.recipient.clone(),
            peer: pending.peer,
            state: pending.state,
            reason: pending.reason.clone(),
        })
    }
}
