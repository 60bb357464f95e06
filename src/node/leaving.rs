//! Texts that leave: their intent is durable, now they are told, handed over, or begin to wait.

use std::net::Ipv4Addr;

use super::Node;
use super::delivery::{Fate, LOBBY_CONVERSATION, Pending, Target, local_peer};
use super::history::Durable;
use super::outbox::{Item, NOT_HERE};
use super::outgoing::{Leg, TextJob, Way, key_of};
use crate::dialect::slcp::machine::Addressee;
use crate::model::limits::MAX_PENDING;
use crate::model::{
    Answer, Delivery, Dialect, Direction, EntryId, Now, PeerId, Receipt, UserId, What,
};

/// What a receipt is made of in the end.
enum Made {
    Tag(u64),
    Receipt(Receipt),
}

impl Node {
    /// Its intent is durable, or will not be: it goes.
    pub(super) fn text_leaves(&mut self, now: Now, job: TextJob, durable: &Durable) {
        let (mut made, mut receipts) = (Vec::new(), Vec::new());
        if let Some(id) = job.lobby {
            let what = self.outgoing(&job, id, None);
            self.tell(now, Some(job.from.clone()), what);
            made.extend(self.say_in_shared_chats(now, &job, durable).into_iter().map(Made::Tag));
        }
        let shared = |leg: &&Leg| job.lobby.is_some() && matches!(leg.target, Target::Foreign(_));
        for leg in job.legs.iter().filter(|leg| !shared(leg)) {
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
        let (mut there, mut room) = (Vec::new(), Vec::new());
        for leg in &job.legs {
            let Target::Foreign(id) = leg.target else { continue };
            let tag = self.deliveries.add(self.pending(job, leg, durable));
            match self.foreigners.get(id).map(|f| (f.dialect, *f.contact.at.ip())) {
                Some((Dialect::Room, _)) => room.push(tag),
                Some((_, ip)) => there.push((tag, ip)),
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
        self.say_in_room(now, job.user, &job.text, &room);
        there.into_iter().map(|(tag, _)| tag).chain(room).collect()
    }

    /// A text as it stands in a chat that knows one peer per node: others than the box's own user
    /// are named in it.
    pub(super) fn as_shared(&self, user: UserId, text: &str) -> String {
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
            peer: leg.peer,
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
                self.deliver_locally(now, job.user, to, text, (leg.inner, job.lobby.is_some()));
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
                let user = self.users.get(job.user).map_or(&job.from, |u| &u.handle);
                let item =
                    self.item(now, (leg.entry, leg.order), user, leg.target, &job.text, NOT_HERE);
                match (self.way(leg.target, false), item) {
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
            (Target::Foreign(id), Way::Now) => {
                let tag = self.deliveries.add(pending);
                self.send_foreign(now, tag, job.user, id, &job.text);
                Made::Tag(tag)
            }
            // what is linked goes over the link
            (Target::Absent(_) | Target::Linked(_), Way::Now) => Made::Receipt(waiting(
                Fate {
                    entry: leg.entry,
                    user: None,
                    peer: pending.peer,
                    recipient: pending.recipient,
                    kept: false,
                },
                NOT_HERE.into(),
            )),
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
        if self.roster.get(id).is_none() && self.foreigners.get(id).is_some() {
            self.send_foreign(now, tag, user, id, text);
            return true;
        }
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
        (id, lobby): (EntryId, bool),
    ) {
        let Some(user) = self.users.get(to) else { return };
        let (handle, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        let peer = local_peer(from).to_string();
        let what = What::Message {
            id,
            conversation: if lobby { LOBBY_CONVERSATION.into() } else { peer },
            from: self.local_name(from),
            to: handle.to_string(),
            peer: local_peer(from),
            dialect: Dialect::Local,
            direction: Direction::In,
            text: text.to_owned(),
            autoreply: auto,
        };
        self.tell(now, Some(handle), what);
        if !auto {
            self.autoreply_locally(now, to, from, reply);
        }
    }

    /// Answers one of our own users for another who is away.
    pub(super) fn autoreply_locally(
        &mut self,
        now: Now,
        away: UserId,
        to: UserId,
        reply: Option<String>,
    ) {
        // each of our users is a host of its own here: nobody can pretend to be one
        let (peer, host) = (local_peer(to), Ipv4Addr::from(to.0));
        if let Some(reply) = reply.filter(|_| self.answered.allow(now.mono, away, peer, host)) {
            self.autoreply_out(now, away, Target::Local(to), reply);
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
