//! Texts on their way out: for whom, which way each goes, and that their intent is durable first.

use std::net::SocketAddrV4;

use super::Node;
use super::delivery::{TEXT_LIMIT, Target, local_peer};
use super::history::{Draft, Job, LOBBY_KEY, MAY_BE_LOST};
use super::io::Ticket;
use super::outbox::{AFTER_OTHERS, Item, NOT_HERE};
use crate::dialect::link::frame::Content;
use crate::dialect::slcp::machine::Addressee;
use crate::model::history::{Body, Change, Recipient};
use crate::model::limits::LINK_TEXT;
use crate::model::{Delivery, Dialect, Direction, EntryId, Handle, Now, PeerId, Refusal, UserId};

/// A text that is to go out.
pub(super) struct Outgoing<'a> {
    /// Who waits for the receipts.
    pub(super) ticket: Option<Ticket>,
    pub(super) user: UserId,
    pub(super) targets: &'a [Target],
    /// To everyone: one entry for all, nobody who is not here is waited for.
    pub(super) lobby: bool,
    pub(super) text: String,
    pub(super) autoreply: bool,
}

/// It again, once it is durable.
pub(super) struct TextJob {
    pub(super) ticket: Option<Ticket>,
    pub(super) user: UserId,
    pub(super) from: Handle,
    /// The one entry for all, where it is for the lobby.
    pub(super) lobby: Option<EntryId>,
    pub(super) text: String,
    pub(super) autoreply: bool,
    pub(super) legs: Vec<Leg>,
}

/// It to one of them.
pub(super) struct Leg {
    pub(super) entry: EntryId,
    pub(super) order: u64,
    pub(super) target: Target,
    /// The recipient, as the entry names it.
    pub(super) peer: PeerId,
    pub(super) way: Way,
    /// For one of our own users: the entry as it has it.
    pub(super) inner: EntryId,
}

/// How it goes to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At once.
    Now,
    /// The link has it: under this token it waits to be durable.
    Link(u64, Option<String>),
    /// It waits, for this reason.
    Wait(String),
    /// Not at all, for this reason.
    Not(String),
}

impl Way {
    fn state(&self) -> (Delivery, Option<String>) {
        match self {
            Way::Now => (Delivery::Sent, Some(MAY_BE_LOST.into())),
            Way::Link(_, reason) => (Delivery::Queued, reason.clone()),
            Way::Wait(reason) => (Delivery::Queued, Some(reason.clone())),
            Way::Not(reason) => (Delivery::Failed, Some(reason.clone())),
        }
    }
}

impl Node {
    pub(super) fn autoreply_out(&mut self, now: Now, user: UserId, to: Target, text: String) {
        // it is at most MAX_AUTOREPLY bytes, so it always fits
        let out =
            Outgoing { ticket: None, user, targets: &[to], lobby: false, text, autoreply: true };
        let _ = self.text_out(now, out);
    }

    /// Sends a text to each of `targets`; its ticket is answered when that is durable and done.
    ///
    /// # Errors
    /// It does not fit the form of one of them, or too much waits already: then nothing is sent
    /// to anybody.
    pub(super) fn text_out(&mut self, now: Now, out: Outgoing) -> Result<(), Refusal> {
        let Outgoing { ticket, user, targets, lobby, text, autoreply } = out;
        let Some(from) = self.users.get(user).map(|u| u.handle.clone()) else {
            return Err(Refusal::Failed {
                reason: "its sender is no user of this node now".into(),
            });
        };
        if let Some(limit) = self.too_long(user, targets, &text) {
            return Err(Refusal::TooLong { bytes: text.len() as u64, limit: limit as u64 });
        }
        let ways = self.ways(targets, lobby || autoreply)?;
        let mut changes = Vec::new();
        let mut legs = Vec::with_capacity(targets.len());
        let mut room = None;
        let body = || Body::Text { text: text.clone() };
        if lobby {
            let id = self.new_entry();
            let all = targets.iter().zip(&ways);
            let recipients = all.map(|(to, way)| self.recipient(*to, way)).collect();
            let entry = self.entry(
                now,
                Draft {
                    id,
                    user: None,
                    conversation: LOBBY_KEY.into(),
                    from: from.to_string(),
                    direction: Direction::Out,
                    dialect: self.dialect_of(targets.first().copied()),
                    body: body(),
                    autoreply,
                    recipients,
                },
            );
            let order = entry.order;
            room = Some(id);
            changes.push(Change::Put(Box::new(entry)));
            for (target, way) in targets.iter().zip(ways) {
                let content = Content::Text { text: text.clone(), autoreply, lobby };
                let which = (id, order, &from);
                let way = self.over_link(now, which, *target, way, content, &mut changes);
                let peer = self.peer_for(*target);
                legs.push(Leg { entry: id, order, target: *target, peer, way, inner: id });
            }
        } else {
            for (target, way) in targets.iter().zip(ways) {
                let (id, recipient) = (self.new_entry(), self.recipient(*target, &way));
                let recipient_peer = recipient.peer;
                let entry = self.entry(
                    now,
                    Draft {
                        id,
                        user: Some(from.clone()),
                        conversation: key_of(&recipient.handle),
                        from: from.to_string(),
                        direction: Direction::Out,
                        dialect: self.dialect_of(Some(*target)),
                        body: body(),
                        autoreply,
                        recipients: vec![recipient],
                    },
                );
                let order = entry.order;
                changes.push(Change::Put(Box::new(entry)));
                let content = Content::Text { text: text.clone(), autoreply, lobby };
                let which = (id, order, &from);
                let way = self.over_link(now, which, *target, way, content, &mut changes);
                let mut inner = id;
                if let Target::Local(to) = target {
                    inner = self.new_entry();
                    let draft = self.inner_entry(inner, &from, *to, body(), autoreply);
                    let entry = self.entry(now, draft);
                    changes.push(Change::Put(Box::new(entry)));
                }
                if let Way::Wait(reason) = &way {
                    let item = self.item(now, (id, order), &from, *target, &text, reason);
                    if let Some(item) = item {
                        let keep = self.outbox_keep();
                        self.outbox.insert(item, keep);
                    }
                }
                match target {
                    Target::Peer(id) => self.talked_with(now, *id),
                    Target::Foreign(id) => self.talked_with_foreigner(now, *id),
                    Target::Local(_) | Target::Absent(_) | Target::Linked(_) => {}
                }
                let peer = recipient_peer;
                legs.push(Leg { entry: id, order, target: *target, peer, way, inner });
            }
        }
        let job = TextJob { ticket, user, from, lobby: room, text, autoreply, legs };
        self.keep_first(now, changes, Job::Text(job));
        Ok(())
    }

    /// Hands a text for somebody linked to the link, which says what is to be kept of it.
    fn over_link(
        &mut self,
        now: Now,
        (entry, order, from): (EntryId, u64, &Handle),
        target: Target,
        way: Way,
        content: Content,
        changes: &mut Vec<Change>,
    ) -> Way {
        let (Target::Linked(to), Way::Link(_, reason)) = (target, &way) else { return way };
        match self.link_text(now, entry, from, to, content) {
            Ok(keep) => {
                self.link_waits(now, entry, order);
                changes.extend(keep.rows.into_iter().map(Change::Link));
                Way::Link(keep.token, reason.clone())
            }
            Err(why) => Way::Not(why),
        }
    }

    /// Which way it goes to each; `at_once`: nobody is waited for.
    fn ways(&self, targets: &[Target], at_once: bool) -> Result<Vec<Way>, Refusal> {
        let mut waiting = 0;
        let mut ways = Vec::with_capacity(targets.len());
        for target in targets {
            let way = self.way(*target, at_once);
            if matches!(way, Way::Wait(_)) {
                waiting += 1;
                self.may_wait(&self.handle_of(*target), waiting)?;
            }
            if let (Target::Linked(id), Way::Link(..)) = (target, &way) {
                self.link_may_wait(*id, 1)?;
            }
            ways.push(way);
        }
        Ok(ways)
    }

    pub(super) fn way(&self, target: Target, at_once: bool) -> Way {
        let absent = |handle: &Handle, reason: String| match at_once {
            true => Way::Not(format!("{handle} is not here any more")),
            false if self.is_blocked(handle.as_str()) => {
                Way::Not(format!("{handle} is not here, and blocked: nothing waits for it"))
            }
            false => Way::Wait(reason),
        };
        match target {
            Target::Local(_) => Way::Now,
            Target::Foreign(id) if self.foreigners.get(id).is_some() => Way::Now,
            Target::Foreign(_) => Way::Not("it is forgotten".into()),
            Target::Linked(id) => match self.linked.get(id) {
                None => Way::Not("it is forgotten".into()),
                Some(_) if self.dialects.link.is_none() => {
                    Way::Not("the link is off: link.enabled".into())
                }
                Some(linked) if linked.here => Way::Link(0, None),
                Some(linked) => match absent(&linked.far.handle, NOT_HERE.into()) {
                    Way::Wait(reason) => Way::Link(0, Some(reason)),
                    way => way,
                },
            },
            Target::Absent(id) => match self.people.get(id) {
                Some(known) => absent(&known.handle, NOT_HERE.into()),
                None => Way::Not("it is forgotten".into()),
            },
            Target::Peer(id) => {
                let Some(peer) = self.roster.get(id) else {
                    return Way::Not("it is forgotten".into());
                };
                if !peer.is_here() {
                    return absent(&peer.handle, NOT_HERE.into());
                }
                if let Some(reason) = self.why_not(id) {
                    return match peer.route().addr.port() == 0 && self.slcp.is_some() {
                        true if !at_once => absent(&peer.handle, reason),
                        _ => Way::Not(reason),
                    };
                }
                match !at_once && self.waits_for(peer) {
                    true => absent(&peer.handle, AFTER_OTHERS.into()),
                    false => Way::Now,
                }
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

    pub(super) fn handle_of(&self, target: Target) -> String {
        match target {
            Target::Local(id) => self.local_name(id),
            Target::Peer(id) => {
                self.roster.get(id).map(|p| p.handle.to_string()).unwrap_or_default()
            }
            Target::Absent(id) => {
                self.people.get(id).map(|k| k.handle.to_string()).unwrap_or_default()
            }
            Target::Foreign(id) => {
                self.foreigners.get(id).map(|f| f.handle.to_string()).unwrap_or_default()
            }
            Target::Linked(id) => {
                self.linked.get(id).map(|l| l.far.handle.to_string()).unwrap_or_default()
            }
        }
    }

    /// Where someone was last reached, and whether only there: another bears the handle now.
    fn place_of(&self, target: Target) -> (Option<SocketAddrV4>, bool) {
        match target {
            Target::Local(_) | Target::Linked(_) => (None, false),
            Target::Foreign(id) => (self.foreigners.get(id).map(|f| f.contact.at), false),
            Target::Absent(id) => (self.people.get(id).and_then(|k| k.address.parse().ok()), false),
            Target::Peer(id) => match self.roster.get(id) {
                Some(peer) => {
                    let mut others = self.roster.called(peer.handle.as_str());
                    let exact = others.any(|p| p.id != id && p.is_here());
                    (Some(peer.route().addr), exact)
                }
                None => (None, false),
            },
        }
    }

    /// The peer that a target is to people: a foreigner may be somebody of the roster.
    fn peer_for(&self, target: Target) -> PeerId {
        let foreigner = match target {
            Target::Foreign(id) => self.foreigners.get(id),
            _ => None,
        };
        foreigner.and_then(|f| self.twin(f)).unwrap_or_else(|| Node::peer_of(target))
    }

    pub(super) fn peer_of(target: Target) -> PeerId {
        match target {
            Target::Local(id) => local_peer(id),
            Target::Peer(id) | Target::Absent(id) | Target::Foreign(id) | Target::Linked(id) => id,
        }
    }

    pub(super) fn dialect_of(&self, target: Option<Target>) -> Dialect {
        match target {
            Some(Target::Local(_)) => Dialect::Local,
            Some(Target::Linked(_)) => Dialect::Link,
            Some(Target::Foreign(id)) => {
                self.foreigners.get(id).map_or(Dialect::Slcp, |f| f.dialect)
            }
            Some(Target::Absent(id)) => self.people.get(id).map_or(Dialect::Slcp, |k| k.dialect),
            Some(Target::Peer(id)) => {
                self.roster.get(id).map_or(Dialect::Slcp, |p| p.route().dialect)
            }
            None => Dialect::Slcp,
        }
    }

    pub(super) fn name_for(&self, target: Target) -> String {
        let foreigner = match target {
            Target::Peer(id) => return self.name_of(id),
            Target::Linked(id) => return self.linked_name(id),
            Target::Foreign(id) => self.foreigners.get(id),
            _ => None,
        };
        foreigner.map_or_else(|| self.handle_of(target), |f| self.foreign_name(f))
    }

    fn recipient(&self, target: Target, way: &Way) -> Recipient {
        let (state, reason) = match target {
            Target::Local(_) => (Delivery::Delivered, None),
            _ => way.state(),
        };
        let mut handle = self.handle_of(target);
        if let (Way::Wait(_), (Some(addr), true)) = (way, self.place_of(target)) {
            handle = format!("{handle}@{}", addr.ip());
        }
        Recipient { peer: self.peer_for(target), handle, state, reason }
    }

    /// What it is to one of our own users.
    fn inner_entry(
        &self,
        id: EntryId,
        from: &Handle,
        to: UserId,
        body: Body,
        autoreply: bool,
    ) -> Draft {
        Draft {
            id,
            user: self.users.get(to).map(|u| u.handle.clone()),
            conversation: from.key(),
            from: from.to_string(),
            direction: Direction::In,
            dialect: Dialect::Local,
            body,
            autoreply,
            recipients: Vec::new(),
        }
    }

    pub(super) fn item(
        &self,
        now: Now,
        (entry, order): (EntryId, u64),
        user: &Handle,
        target: Target,
        text: &str,
        reason: &str,
    ) -> Option<Item> {
        let handle = Handle::try_from(self.handle_of(target)).ok()?;
        let (addr, exact) = self.place_of(target);
        Some(Item {
            entry,
            order,
            user: user.clone(),
            peer: Node::peer_of(target),
            handle,
            addr,
            exact,
            text: text.to_owned(),
            since: i64::try_from(now.mono).unwrap_or(i64::MAX),
            at: now.wall,
            dated: false, // the steady clock counts in the run that made it
            reason: reason.to_owned(),
            kept: true,
            ready: false,
            leaving: false,
            tries: 0,
            not_before: 0,
            heard_after: 0,
        })
    }

    /// The most bytes that would fit, if this text does not fit one of the targets' forms.
    fn too_long(&self, user: UserId, targets: &[Target], text: &str) -> Option<usize> {
        if targets.iter().any(|t| matches!(t, Target::Foreign(_))) {
            let said = self.as_shared(user, text);
            let hello =
                self.dialects.hello.as_ref().filter(|_| {
                    targets.iter().any(|t| self.dialect_of(Some(*t)) == Dialect::Hello)
                });
            if let Some(Err(limit)) = hello.map(|m| m.fits(&said)) {
                return Some(limit);
            }
        }
        let linked = targets.iter().any(|t| matches!(t, Target::Linked(_)));
        if linked && text.len() > LINK_TEXT {
            return Some(LINK_TEXT);
        }
        let machine = self.slcp.as_ref()?;
        targets.iter().find_map(|target| {
            let to = match target {
                Target::Local(_) | Target::Foreign(_) | Target::Linked(_) => return None,
                Target::Peer(id) => {
                    let peer = self.roster.get(*id)?;
                    Addressee { handle: peer.handle.clone(), addr: peer.route().addr }
                }
                Target::Absent(id) => {
                    let known = self.people.get(*id)?;
                    Addressee { handle: known.handle.clone(), addr: known.address.parse().ok()? }
                }
            };
            machine.fits(user, &to, text).err().map(|_| TEXT_LIMIT)
        })
    }
}

/// The conversation that a recipient's name, with or without its address, belongs to.
pub(super) fn key_of(name: &str) -> String {
    name.split_once('@').map_or(name, |(handle, _)| handle).to_lowercase()
}
