//! Images that go out: one file, to one recipient after the other.

use std::collections::VecDeque;
use std::rc::Rc;

use super::super::Node;
use super::super::delivery::{LOBBY_CONVERSATION, Pending, Target};
use super::super::history::{Draft, Durable, Job, LOBBY_KEY, MAY_BE_LOST};
use super::super::io::{FileDone, FileId, FileOp, Ticket};
use super::{ImageJob, ImageLeg, Leg, Opening, Outgoing};
use crate::dialect::slcp::machine::Addressee;
use crate::model::history::{Change, Recipient};
use crate::model::limits::{MAX_PENDING, MAX_TRANSFERS};
use crate::model::{
    Answer, Delivery, Direction, IoError, Now, Receipt, Refusal, TransferState, UserId, What,
};

impl Node {
    /// Somebody wants an image sent: its file is opened first.
    pub(in crate::node) fn image_out(
        &mut self,
        ticket: Ticket,
        user: UserId,
        (targets, lobby): (Vec<Target>, bool),
        path: String,
        given: Option<FileId>,
        linked: Vec<Receipt>,
    ) {
        if self.transfers.count() >= MAX_TRANSFERS {
            let limit = MAX_TRANSFERS as u64;
            let refusal = Refusal::TooMany { what: "transfers at once".into(), limit };
            if let Some(file) = given {
                self.file(file, FileOp::Close);
            }
            return self.answer(ticket, Err(refusal));
        }
        let file = given.unwrap_or_else(|| self.transfers.new_file());
        let opening = Opening { ticket, user, path: path.clone(), targets, lobby, linked };
        self.transfers.opening.insert(file, opening);
        if given.is_none() {
            self.file(file, FileOp::Open { path });
        }
    }

    pub(super) fn opened(
        &mut self,
        now: Now,
        file: FileId,
        opening: &Opening,
        result: Result<FileDone, IoError>,
    ) -> Result<(), Refusal> {
        let refuse = |reason: String| Refusal::File { path: opening.path.clone(), reason };
        let (size, picture) = match result {
            Ok(FileDone::Opened { size, picture }) => (size, picture),
            Ok(_) => return Err(refuse("it could not be opened".into())),
            Err(error) => return Err(refuse(error.text)),
        };
        let most = self.settings.max_image;
        if size == 0 {
            return Err(refuse("it is empty".into()));
        }
        if size > most {
            return Err(refuse(format!("it has {size} bytes, max-image allows {most}")));
        }
        let local = |target: &Target| matches!(target, Target::Local(_));
        if picture.format == "unknown" && !opening.targets.iter().any(local) {
            return Err(refuse("it is no image that is known: SLCP carries images only".into()));
        }
        if self.deliveries.room() < opening.targets.len() {
            let limit = MAX_PENDING as u64;
            return Err(Refusal::TooMany { what: "deliveries that wait".into(), limit });
        }
        let Some(from) = self.users.get(opening.user).map(|u| u.handle.clone()) else {
            let reason = "its sender is no user of this node now";
            return Err(Refusal::Failed { reason: reason.into() });
        };
        let body = picture.body(opening.path.clone(), size);
        let refused = |target: &Target| match target {
            Target::Local(_) => None,
            Target::Peer(_) if picture.format == "unknown" => {
                Some("SLCP carries images only".into())
            }
            Target::Peer(id) => self.why_not(*id),
            Target::Absent(_) => Some("it is not here: an image does not wait".into()),
            Target::Linked(_) => {
                let who = self.handle_of(*target);
                Some(format!("{who}'s box takes no files over the link, and no other way is known"))
            }
            Target::Foreign(_) => Some("its chat has no images".into()),
        };
        let refused: Vec<Option<String>> = opening.targets.iter().map(refused).collect();
        let mut changes = Vec::new();
        let mut legs = Vec::with_capacity(refused.len());
        for (target, refused) in opening.targets.iter().zip(refused) {
            let id = self.new_entry();
            let (state, reason) = match &refused {
                Some(reason) => (Delivery::Failed, reason.clone()),
                None => (Delivery::Sent, MAY_BE_LOST.into()),
            };
            let handle = self.handle_of(*target);
            let peer = Node::peer_of(*target);
            let entry = self.entry(
                now,
                Draft {
                    id,
                    user: if opening.lobby { None } else { Some(from.clone()) },
                    conversation: if opening.lobby {
                        LOBBY_KEY.into()
                    } else {
                        handle.to_lowercase()
                    },
                    from: from.to_string(),
                    direction: Direction::Out,
                    dialect: self.dialect_of(Some(*target)),
                    body: body.clone(),
                    autoreply: false,
                    recipients: vec![Recipient { peer, handle, state, reason: Some(reason) }],
                },
            );
            changes.push(Change::Put(Box::new(entry)));
            legs.push(ImageLeg { entry: id, target: *target, refused });
        }
        if opening.lobby {
            legs_of_one_entry(&mut changes, &mut legs);
        }
        self.transfers.waiting += 1;
        let job = ImageJob {
            ticket: opening.ticket,
            user: opening.user,
            file,
            path: opening.path.clone(),
            size,
            picture,
            legs,
            lobby: opening.lobby,
            linked: opening.linked.clone(),
        };
        self.keep_first(now, changes, Job::Image(Box::new(job)));
        Ok(())
    }

    /// Its intent is durable, or will not be: it goes.
    pub(in crate::node) fn image_leaves(&mut self, now: Now, job: ImageJob, durable: &Durable) {
        self.transfers.waiting -= 1;
        let ImageJob { ticket, user, file, path, size, picture, legs, lobby, linked } = job;
        let note: Option<Rc<str>> = match durable {
            Durable::No(why) => Some(format!("it is not kept: {why}").into()),
            Durable::Yes | Durable::NotWanted => None,
        };
        let mut out = Outgoing {
            path,
            size,
            picture,
            to: VecDeque::new(),
            offset: 0,
            told: 0,
            reading: None,
            wanted: None,
        };
        let mut tags = Vec::new();
        for ImageLeg { entry, target, refused } in legs {
            let peer = Node::peer_of(target);
            let kept = *durable == Durable::Yes;
            let tag = self.deliveries.add(Pending {
                entry,
                user,
                peer,
                recipient: self.name_for(target),
                state: Delivery::Queued,
                reason: None,
                kept: kept && refused.is_none(), // else the entry has it already
                note: note.clone().or_else(|| self.unencrypted(target)),
            });
            tags.push(tag);
            match refused {
                Some(reason) => self.set_state(now, tag, Delivery::Failed, Some(reason)),
                None => out.to.push_back(Leg { tag, entry, user, target, lobby }),
            }
        }
        let plain = tags.into_iter().filter_map(|tag| self.receipt(tag));
        let receipts = linked.into_iter().chain(plain).collect();
        self.transfers.outgoing.insert(file, out);
        self.next_leg(now, file);
        self.answer(ticket, Ok(Answer::Sent(receipts)));
    }

    /// Serves the next recipient of a file, or closes it.
    fn next_leg(&mut self, now: Now, file: FileId) {
        loop {
            let Some(out) = self.transfers.outgoing.get_mut(&file) else { return };
            (out.offset, out.told) = (0, 0);
            let (size, format) = (out.size, out.picture.format);
            let Some(leg) = out.to.front() else {
                self.transfers.outgoing.remove(&file);
                return self.file(file, FileOp::Close);
            };
            let (tag, user, target) = (leg.tag, leg.user, leg.target);
            self.tell_outgoing(now, file, TransferState::Running, None);
            if let Target::Local(_) = target {
                return self.copy_begins(now, file, tag);
            }
            if let Some(peer) = self.roster.get(Node::peer_of(target)) {
                let to = Addressee { handle: peer.handle.clone(), addr: peer.route().addr };
                return self.slcp_do(|m| m.send_image(now.mono, tag, user, &to, size, format));
            }
            let reason = Some("it is forgotten".to_owned());
            self.tell_outgoing(now, file, TransferState::Failed, reason.clone());
            if let Some(out) = self.transfers.outgoing.get_mut(&file) {
                out.to.pop_front();
            }
            self.set_state(now, tag, Delivery::Failed, reason);
        }
    }

    /// The machine takes more of an image.
    pub(in crate::node) fn want_bytes(&mut self, tag: u64) {
        let Some((file, out)) = self.transfers.sending(tag) else { return };
        if out.reading.is_some() {
            out.wanted = Some(tag);
            return;
        }
        out.reading = Some(tag);
        let offset = out.offset;
        self.file(file, FileOp::Read { offset });
    }

    pub(in crate::node) fn image_sent(&mut self, now: Now, tag: u64) {
        let Some((file, out)) = self.transfers.sending(tag) else { return };
        out.offset = out.size;
        let (path, size, picture) = (out.path.clone(), out.size, out.picture.clone());
        self.tell_outgoing(now, file, TransferState::Done, None);
        let Some(leg) = self.transfers.outgoing.get_mut(&file).and_then(|o| o.to.pop_front())
        else {
            return;
        };
        let from = self.users.get(leg.user).map(|u| u.handle.clone());
        let peer = Node::peer_of(leg.target);
        let what = What::Image {
            id: leg.entry,
            conversation: if leg.lobby { LOBBY_CONVERSATION.into() } else { peer.to_string() },
            from: from.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: self.name_for(leg.target),
            peer,
            dialect: self.dialect_of(Some(leg.target)),
            direction: Direction::Out,
            path,
            size,
            format: picture.format.into(),
            width: picture.width,
            height: picture.height,
        };
        self.tell(now, from, what);
        self.next_leg(now, file);
    }

    pub(in crate::node) fn image_not_sent(&mut self, now: Now, tag: u64, error: &IoError) {
        let Some((file, _)) = self.transfers.sending(tag) else { return };
        self.tell_outgoing(now, file, TransferState::Failed, Some(error.text.clone()));
        if let Some(out) = self.transfers.outgoing.get_mut(&file) {
            out.to.pop_front();
        }
        if let Some(copy) = self.transfers.copy_of(tag) {
            self.transfers.copying.remove(&copy);
            self.file(copy, FileOp::Discard);
        }
        self.next_leg(now, file);
    }

    pub(super) fn tell_outgoing(
        &mut self,
        now: Now,
        file: FileId,
        state: TransferState,
        reason: Option<String>,
    ) {
        let Some(out) = self.transfers.outgoing.get(&file) else { return };
        let Some(leg) = out.to.front() else { return };
        let name = out.path.rsplit('/').next().unwrap_or_default().to_owned();
        let user = self.users.get(leg.user).map(|u| u.handle.clone());
        let what = What::Transfer {
            id: leg.entry,
            number: None,
            direction: Direction::Out,
            peer: Node::peer_of(leg.target),
            handle: self.name_for(leg.target),
            name,
            done: out.offset,
            size: Some(out.size),
            state,
            reason,
        };
        self.tell(now, user, what);
    }
}

/// For everyone it is one entry with all of them.
fn legs_of_one_entry(changes: &mut Vec<Change>, legs: &mut [ImageLeg]) {
    let mut entries = changes.drain(..).filter_map(|change| match change {
        Change::Put(entry) => Some(entry),
        _ => None,
    });
    let Some(mut one) = entries.next() else { return };
    one.recipients.extend(entries.flat_map(|entry| entry.recipients));
    for leg in legs {
        leg.entry = one.id;
    }
    changes.push(Change::Put(one));
}
