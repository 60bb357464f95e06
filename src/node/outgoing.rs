//! Texts on their way out: for whom, which way each goes, and that their intent is durable first.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Node;
use super::delivery::{Fate, LOBBY_CONVERSATION, Pending, TEXT_LIMIT, Target, local_peer};
use super::history::{Draft, Durable, Job, LOBBY_KEY, MAY_BE_LOST};
use super::io::Ticket;
use super::outbox::{AFTER_OTHERS, Item, NOT_HERE};
use crate::dialect::link::frame::Content;
use crate::dialect::slcp::machine::Addressee;
use crate::model::history::{Body, Change, Recipient};
use crate::model::limits::{LINK_TEXT, MAX_PENDING};
use crate::model::{
    Answer, Delivery, Dialect, Direction, EntryId, Handle, Now, PeerId, Receipt, Refusal, UserId,
    What,
};

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
    ticket: Option<Ticket>,
    user: UserId,
    from: Handle,
    /// The one entry for all, where it is for the lobby.
    lobby: Option<EntryId>,
    text: String,
    autoreply: bool,
    legs: Vec<Leg>,
}

/// It to one of them.
struct Leg {
    entry: EntryId,
    order: u64,
    target: Target,
    way: Way,
    /// For one of our own users: the entry as it has it.
    inner: EntryId,
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

/// What a receipt is made of in the end.
enum Made {
    Tag(u64),
    Receipt(Receipt),
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
                let way = self.over_link(now, (id, &from), *target, way, content, &mut changes);
                legs.push(Leg { entry: id, order, target: *target, way, inner: id });
            }
        } else {
            for (target, way) in targets.iter().zip(ways) {
                let (id, recipient) = (self.new_entry(), self.recipient(*target, &way));
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
                let way = self.over_link(now, (id, &from), *target, way, content, &mut changes);
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
                if let Target::Peer(id) = target {
                    self.talked_with(now, *id);
                }
                legs.push(Leg { entry: id, order, target: *target, way, inner });
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
        (entry, from): (EntryId, &Handle),
        target: Target,
        way: Way,
        content: Content,
        changes: &mut Vec<Change>,
    ) -> Way {
        let (Target::Linked(to), Way::Link(_, reason)) = (target, &way) else { return way };
        match self.link_text(now, entry, from, to, content) {
            Ok(keep) => {
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

    fn way(&self, target: Target, at_once: bool) -> Way {
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
                Some(_) if !self.settings.link.enabled => {
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
        Recipient { peer: Node::peer_of(target), handle, state, reason }
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

    fn item(
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
            if let Some(Err(limit)) = self.dialects.hello.as_ref().map(|m| m.fits(&said)) {
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

    /// Its intent is durable, or will not be: it goes.
    pub(super) fn text_leaves(&mut self, now: Now, job: TextJob, durable: &Durable) {
        let (mut made, mut receipts) = (Vec::new(), Vec::new());
        if let Some(id) = job.lobby {
            let what = self.outgoing(&job, id, None);
            self.tell(now, Some(job.from.clone()), what);
            made.extend(self.say_in_shared_chats(now, &job, durable).into_iter().map(Made::Tag));
        }
        for leg in job.legs.iter().filter(|leg| !matches!(leg.target, Target::Foreign(_))) {
            if self.deliveries.pending.len() >= MAX_PENDING {
                // what was handed over gives room, and its receipt is made before it is forgotten
                self.settle(now);
                receipts.extend(made.drain(..).filter_map(|made| self.made(made)));
            }
            if job.lobby.is_none() {
                let what = self.outgoing(&job, leg.entry, Some(leg.target));
                self.tell(now, Some(job.from.clone()), what);
            }
            made.push(self.leg_leaves(now, &job, leg, durable));
        }
        self.settle(now);
        receipts.extend(made.into_iter().filter_map(|made| self.made(made)));
        if let Some(ticket) = job.ticket {
            self.answer(ticket, Ok(Answer::Sent(receipts)));
        }
    }

    /// Says what is for the lobby in the shared chats of other dialects, once each; the tags of
    /// those who are there.
    fn say_in_shared_chats(&mut self, now: Now, job: &TextJob, durable: &Durable) -> Vec<u64> {
        let mut there = Vec::new();
        for leg in &job.legs {
            let Target::Foreign(id) = leg.target else { continue };
            let tag = self.deliveries.add(self.pending(job, leg, durable));
            match self.foreigners.get(id).map(|f| *f.contact.at.ip()) {
                Some(ip) => there.push((tag, ip)),
                None => {
                    let why = "it is not here any more".to_owned();
                    self.set_state(now, tag, Delivery::Failed, Some(why));
                }
            }
        }
        let said = self.as_shared(job.user, &job.text);
        match &mut self.dialects.hello {
            Some(machine) if machine.fits(&said).is_ok() => machine.say(now, &said, &there),
            _ => {}
        }
        there.into_iter().map(|(tag, _)| tag).collect()
    }

    /// A text as it stands in a chat that knows one peer per node: others than the box's own user
    /// are named in it.
    fn as_shared(&self, user: UserId, text: &str) -> String {
        match self.users.acting(None) == Ok(user) {
            true => text.to_owned(),
            false => format!("{}: {text}", self.local_name(user)),
        }
    }

    fn made(&self, made: Made) -> Option<Receipt> {
        match made {
            Made::Tag(tag) => self.receipt(tag),
            Made::Receipt(receipt) => Some(receipt),
        }
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

    fn outgoing(&self, job: &TextJob, id: EntryId, to: Option<Target>) -> What {
        let (peer, name) = match to {
            Some(target) => (Node::peer_of(target), self.name_for(target)),
            None => (PeerId(0), crate::command::LOBBY.into()),
        };
        What::Message {
            id,
            conversation: to.map_or_else(|| LOBBY_CONVERSATION.into(), |_| peer.to_string()),
            from: job.from.to_string(),
            to: name,
            peer,
            dialect: to.map_or(Dialect::Slcp, |to| self.dialect_of(Some(to))),
            direction: Direction::Out,
            text: job.text.clone(),
            autoreply: job.autoreply,
        }
    }

    fn pending(&self, job: &TextJob, leg: &Leg, durable: &Durable) -> Pending {
        Pending {
            entry: leg.entry,
            user: job.user,
            peer: Node::peer_of(leg.target),
            recipient: self.name_for(leg.target),
            state: Delivery::Queued,
            reason: None,
            kept: *durable == Durable::Yes,
            note: match durable {
                Durable::No(why) => Some(format!("it is not kept: {why}").into()),
                Durable::Yes | Durable::NotWanted => None,
            },
        }
    }

    fn leg_leaves(&mut self, now: Now, job: &TextJob, leg: &Leg, durable: &Durable) -> Made {
        let kept = *durable == Durable::Yes;
        let pending = self.pending(job, leg, durable);
        match (leg.target, &leg.way) {
            (Target::Local(to), _) => {
                let tag = self.deliveries.add(Pending { kept: false, ..pending });
                let text = (job.text.as_str(), job.autoreply);
                self.deliver_locally(now, job.user, to, text, leg.inner);
                self.set_state(now, tag, Delivery::Delivered, None);
                Made::Tag(tag)
            }
            (_, Way::Link(token, reason)) => {
                self.link_goes(now, *token);
                let fate = Fate {
                    entry: leg.entry,
                    user: Some(job.from.clone()),
                    peer: pending.peer,
                    recipient: pending.recipient,
                    kept: false, // the entry says so already
                };
                let reason = match (durable, reason) {
                    (Durable::No(why), _) => Some(format!("it is not kept: {why}")),
                    (_, reason) => reason.clone(),
                };
                self.tell_fate(now, fate.clone(), Delivery::Queued, reason.clone());
                Made::Receipt(Receipt { reason, ..waiting(fate, String::new()) })
            }
            (Target::Linked(_), Way::Not(reason)) => {
                let tag = self.deliveries.add(pending);
                self.set_state(now, tag, Delivery::Failed, Some(reason.clone()));
                Made::Tag(tag)
            }
            (_, Way::Wait(reason)) => self.begins_to_wait(now, leg, pending, reason, durable),
            // so the entry has it already
            (_, Way::Not(reason)) => {
                let tag = self.deliveries.add(Pending { kept: false, ..pending });
                self.set_state(now, tag, Delivery::Failed, Some(reason.clone()));
                Made::Tag(tag)
            }
            (Target::Peer(id), Way::Now) => {
                if job.lobby.is_some() || job.autoreply {
                    let refused = self.why_not(id);
                    return Made::Tag(self.text_to(now, pending, id, job, refused));
                }
                // since it was asked for, its recipient may have gone, or others come before it
                let reason = self.item(
                    now,
                    (leg.entry, leg.order),
                    &job.from,
                    leg.target,
                    &job.text,
                    NOT_HERE,
                );
                match (self.way(leg.target, false), reason) {
                    (Way::Wait(reason), Some(item)) => {
                        let item = Item { kept, ready: true, reason: reason.clone(), ..item };
                        let (fate, key) = (Fate::of(&item), item.handle.key());
                        let keep = self.outbox_keep();
                        self.outbox.insert(item, keep);
                        self.outbox.touch(&key);
                        self.tell_fate(now, fate.clone(), Delivery::Queued, Some(reason.clone()));
                        Made::Receipt(waiting(fate, reason))
                    }
                    (Way::Not(reason), _) => {
                        let tag = self.deliveries.add(pending);
                        self.set_state(now, tag, Delivery::Failed, Some(reason));
                        Made::Tag(tag)
                    }
                    (_, item) => {
                        let tag = self.text_to(now, pending, id, job, None);
                        if let Some(item) = item {
                            let item = Item { kept, ready: true, ..item };
                            self.deliveries.may_come_back(tag, item);
                        }
                        Made::Tag(tag)
                    }
                }
            }
            // a foreigner's leaves with all that is said in its chat
            (Target::Absent(_) | Target::Foreign(_) | Target::Linked(_), Way::Now) => {
                Made::Receipt(waiting(
                    Fate {
                        entry: leg.entry,
                        user: None,
                        peer: pending.peer,
                        recipient: pending.recipient,
                        kept: false,
                    },
                    NOT_HERE.into(),
                ))
            }
        }
    }

    /// What it waits for is durable, or will not be.
    fn begins_to_wait(
        &mut self,
        now: Now,
        leg: &Leg,
        pending: Pending,
        reason: &str,
        durable: &Durable,
    ) -> Made {
        let key = key_of(&self.handle_of(leg.target));
        let reason = match durable {
            Durable::No(why) => format!("{reason}; it is not kept: {why}"),
            Durable::Yes | Durable::NotWanted => reason.to_owned(),
        };
        let Some(item) = self.outbox.get_mut(&key, leg.order) else {
            let tag = self.deliveries.add(Pending { kept: false, ..pending });
            self.set_state(now, tag, Delivery::Failed, Some("it was deleted".into()));
            return Made::Tag(tag);
        };
        item.kept = *durable == Durable::Yes;
        item.ready = true;
        let fate = Fate { recipient: pending.recipient, kept: false, ..Fate::of(item) };
        self.outbox.touch(&key);
        self.tell_fate(now, fate.clone(), Delivery::Queued, Some(reason.clone()));
        Made::Receipt(waiting(fate, reason))
    }

    /// Hands a text to the machine; its name there.
    fn text_to(
        &mut self,
        now: Now,
        pending: Pending,
        id: PeerId,
        job: &TextJob,
        refused: Option<String>,
    ) -> u64 {
        let full = self.deliveries.is_full();
        let tag = self.deliveries.add(pending);
        let refused = match full {
            true => Some(format!("{MAX_PENDING} messages wait already: try again in a moment")),
            false => refused,
        };
        if let Some(reason) = refused {
            self.set_state(now, tag, Delivery::Failed, Some(reason));
            return tag;
        }
        let marked = job.autoreply.then(|| crate::dialect::slcp::encode::autoreply_text(&job.text));
        self.hand_over(now, tag, job.user, id, marked.as_deref().unwrap_or(&job.text));
        tag
    }

    fn hand_over(&mut self, now: Now, tag: u64, user: UserId, id: PeerId, text: &str) -> bool {
        let Some(peer) = self.roster.get(id) else { return false };
        let to = Addressee { handle: peer.handle.clone(), addr: peer.route().addr };
        let mut result = Ok(());
        self.slcp_do(|m| result = m.send_text(now.mono, tag, user, &to, text));
        if let Err(error) = result {
            self.set_state(now, tag, Delivery::Failed, Some(error.to_string()));
            return false;
        }
        true
    }

    /// Sends what waited; its name towards the machine, none where it failed at once.
    pub(super) fn send_item(&mut self, now: Now, item: Item, to: PeerId) -> Option<u64> {
        let user = self.users.called(item.user.as_str())?;
        let tag = self.deliveries.add(Pending {
            entry: item.entry,
            user,
            peer: item.peer,
            recipient: item.name(),
            state: Delivery::Queued,
            reason: None,
            kept: item.kept,
            note: None,
        });
        if !self.hand_over(now, tag, user, to, &item.text) {
            return None;
        }
        let addr = self.roster.get(to).map(|p| p.route().addr);
        self.deliveries.may_come_back(tag, Item { addr: addr.or(item.addr), ..item });
        Some(tag)
    }

    fn deliver_locally(
        &mut self,
        now: Now,
        from: UserId,
        to: UserId,
        (text, auto): (&str, bool),
        id: EntryId,
    ) {
        let Some(user) = self.users.get(to) else { return };
        let (handle, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        let what = What::Message {
            id,
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
                self.autoreply_out(now, to, Target::Local(from), reply);
            }
        }
    }
}

fn waiting(fate: Fate, reason: String) -> Receipt {
    Receipt {
        id: fate.entry,
        recipient: fate.recipient,
        peer: fate.peer,
        state: Delivery::Queued,
        reason: Some(reason),
    }
}

/// The conversation that a recipient's name, with or without its address, belongs to.
fn key_of(name: &str) -> String {
    name.split_once('@').map_or(name, |(handle, _)| handle).to_lowercase()
}
