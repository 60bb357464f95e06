//! Files that we send: looked at, offered as an entry, and what becomes of that.

use std::collections::HashMap;

use super::super::Node;
use super::super::delivery::{Fate, Target};
use super::super::history::{Draft, Durable, Job};
use super::super::io::{FileDone, FileId, FileOp, LinkOp, Survey, Ticket};
use super::About;
use crate::dialect::link::machine::Machine;
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{Content, Far, Offer, Outcome, Sending};
use crate::model::history::{Change, Recipient};
use crate::model::limits::{
    LINK_FILES, LINK_FILES_OF_GUESTS, LINK_FILES_PER_BOX_OF_GUESTS, MAX_PENDING,
};
use crate::model::{
    Answer, Delivery, Dialect, Direction, EntryId, Handle, IoError, Map, Now, PeerId, Receipt,
    Refusal, TransferState, UserId, What,
};

/// Said while nobody decided.
const NOT_ACCEPTED: &str = "offered: waits to be accepted";

/// Files being looked at before they are offered.
#[derive(Default)]
pub(super) struct Offering {
    next: u64,
    by_file: HashMap<FileId, u64>,
    all: Map<u64, Request>,
}

/// What somebody wants sent.
struct Request {
    ticket: Ticket,
    user: UserId,
    path: String,
    name: Option<String>,
    to: Vec<PeerId>,
    /// To whom it goes in plain dialects, and whether to everyone.
    rest: (Vec<Target>, bool),
    given: Option<FileId>,
    /// Descriptors to be held, one for each.
    held: Vec<FileId>,
    /// Not answered yet.
    missing: usize,
    survey: Option<Survey>,
}

/// It again, once the offers are durable.
pub(in crate::node) struct OfferJob {
    ticket: Ticket,
    user: UserId,
    path: String,
    rest: (Vec<Target>, bool),
    given: Option<FileId>,
    legs: Vec<OfferLeg>,
}

/// The offer to one of them: its number and token, or why there is none.
struct OfferLeg {
    entry: EntryId,
    peer: PeerId,
    begun: Result<(u64, u64), String>,
    held: Option<FileId>,
}

impl Offering {
    pub(super) fn knows(&self, file: FileId) -> bool {
        self.by_file.contains_key(&file)
    }
}

impl Node {
    /// Offers a file or a folder to those who are linked; `rest` gets it as an image.
    pub(in crate::node) fn offer_out(
        &mut self,
        ticket: Ticket,
        user: UserId,
        (to, rest): (Vec<PeerId>, (Vec<Target>, bool)),
        (path, name): (String, Option<String>),
        given: Option<FileId>,
    ) {
        if self.files.by_no.len() + self.files.offering.all.len() >= 2 * LINK_FILES {
            let what = "files on their way over the link".into();
            let refusal = Refusal::TooMany { what, limit: 2 * LINK_FILES as u64 };
            if let Some(file) = given {
                self.file(file, FileOp::Close);
            }
            return self.answer(ticket, Err(refusal));
        }
        let offering = &mut self.files.offering;
        offering.next += 1;
        let n = offering.next;
        // a descriptor is held for each; else one look is enough
        let looks = if given.is_some() { to.len() } else { 1 };
        let held: Vec<FileId> = (0..looks).map(|_| self.transfers.new_file()).collect();
        for file in &held {
            self.files.offering.by_file.insert(*file, n);
        }
        let (missing, survey) = (looks, None);
        let files = held.clone();
        let request = Request {
            ticket,
            user,
            path: path.clone(),
            name,
            to,
            rest,
            given,
            held,
            missing,
            survey,
        };
        self.files.offering.all.insert(n, request);
        for file in files {
            let op = LinkOp::Survey { path: path.clone(), given };
            self.file(file, FileOp::Link(op));
        }
    }

    pub(super) fn surveyed(&mut self, now: Now, file: FileId, result: Result<FileDone, IoError>) {
        let offering = &mut self.files.offering;
        let Some(n) = offering.by_file.remove(&file) else { return };
        let Some(request) = offering.all.get_mut(&n) else {
            return self.file(file, FileOp::Close); // another look at it failed
        };
        match result {
            Ok(FileDone::Surveyed(survey)) => {
                request.survey = Some(survey);
                request.missing -= 1;
                if request.missing > 0 {
                    return;
                }
            }
            Ok(_) => return,
            Err(error) => {
                let Some(request) = self.files.offering.all.remove(&n) else { return };
                let refusal = Refusal::File { path: request.path.clone(), reason: error.text };
                return self.give_up(&request, refusal);
            }
        }
        let Some(request) = self.files.offering.all.remove(&n) else { return };
        let Some(survey) = request.survey.clone() else { return };
        match self.may_offer(&request) {
            Ok(from) => self.offer_each(now, from, request, &survey),
            Err(refusal) => self.give_up(&request, refusal),
        }
    }

    fn may_offer(&self, request: &Request) -> Result<Handle, Refusal> {
        let from = self.users.get(request.user).map(|u| u.handle.clone());
        let gone = "its sender is no user of this node now";
        let from = from.ok_or_else(|| Refusal::Failed { reason: gone.into() })?;
        if self.deliveries.room() < request.to.len() {
            let (what, limit) = ("deliveries that wait".to_owned(), MAX_PENDING as u64);
            return Err(Refusal::TooMany { what, limit });
        }
        Ok(from)
    }

    fn give_up(&mut self, request: &Request, refusal: Refusal) {
        for file in request.held.iter().copied().chain(request.given) {
            self.file(file, FileOp::Close);
        }
        self.answer(request.ticket, Err(refusal));
    }

    fn offer_each(&mut self, now: Now, from: Handle, request: Request, survey: &Survey) {
        let Request { ticket, user, path, name, to, rest, given, held, .. } = request;
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let offer = Offer {
            name: name.unwrap_or_else(|| last.to_owned()),
            folder: survey.folder,
            files: survey.files,
            bytes: survey.bytes,
            format: survey.picture.format.into(),
        };
        let mut changes = Vec::new();
        let mut legs = Vec::with_capacity(to.len());
        let mut held = held.into_iter();
        if given.is_none() {
            held.by_ref().for_each(|file| self.file(file, FileOp::Close));
        }
        for peer in to {
            let entry = self.new_entry();
            let handle = self.handle_of(Target::Linked(peer));
            let (begun, rows) = self.offer_one(now, (entry, peer), &from, &offer, &path, survey);
            let (state, reason) = match &begun {
                Ok(_) => (Delivery::Queued, NOT_ACCEPTED.to_owned()),
                Err(why) => (Delivery::Failed, why.clone()),
            };
            let draft = Draft {
                id: entry,
                user: Some(from.clone()),
                conversation: handle.to_lowercase(),
                from: from.to_string(),
                direction: Direction::Out,
                dialect: Dialect::Link,
                body: survey.picture.body(path.clone(), survey.bytes),
                autoreply: false,
                recipients: vec![Recipient { peer, handle, state, reason: Some(reason) }],
            };
            let kept = self.entry(now, draft);
            if begun.is_ok() {
                self.link_waits(now, entry, kept.order);
            }
            changes.push(Change::Put(Box::new(kept)));
            changes.extend(rows.into_iter().map(Change::Link));
            legs.push(OfferLeg { entry, peer, begun, held: held.next() });
        }
        let job = OfferJob { ticket, user, path, rest, given, legs };
        self.keep_first(now, changes, Job::Offer(Box::new(job)));
    }

    fn offer_one(
        &mut self,
        now: Now,
        (entry, peer): (EntryId, PeerId),
        from: &Handle,
        offer: &Offer,
        path: &str,
        survey: &Survey,
    ) -> (Result<(u64, u64), String>, Vec<crate::model::history::Row>) {
        let Some(to) = self.linked.get(peer).map(|l| l.far.clone()) else {
            return (Err("it is forgotten".into()), Vec::new());
        };
        if self.is_guest(from) && !self.has_place_of_guests(to.of) {
            let why = "guests here send so many files that way already: try again later";
            return (Err(why.into()), Vec::new());
        }
        let content = Content::Offer(offer.clone());
        let sending = Sending { entry, from: from.clone(), to, said: now.wall, content };
        let Some(machine) = self.dialects.link.as_mut() else {
            return (Err("the link is off: link.enabled".into()), Vec::new());
        };
        match machine.offer(sending, offer.clone(), path.to_owned(), survey.stamp) {
            Ok((no, keep)) => (Ok((no, keep.token)), keep.rows),
            Err(why) => (Err(format!("the link does not take it: {why}")), Vec::new()),
        }
    }

    /// Whether a guest may offer one more file to a box: some places are the box's own users'.
    fn has_place_of_guests(&self, of: Fingerprint) -> bool {
        let all = self.dialects.link.iter().flat_map(Machine::files);
        let theirs = all.filter(|v| v.giver && self.is_guest(v.user));
        let (all, there) =
            theirs.fold((0, 0), |(all, n), v| (all + 1, n + usize::from(v.far.of == of)));
        all < LINK_FILES_OF_GUESTS && there < LINK_FILES_PER_BOX_OF_GUESTS
    }

    /// The offers are durable, or will not be.
    pub(in crate::node) fn offers_leave(&mut self, now: Now, job: OfferJob, durable: &Durable) {
        let OfferJob { ticket, user, path, rest, given, legs } = job;
        let mut receipts = Vec::new();
        for OfferLeg { entry, peer, begun, held } in legs {
            let not_kept = match durable {
                Durable::No(why) => Some(format!("it is not kept: {why}")),
                Durable::Yes | Durable::NotWanted => None,
            };
            let kept = not_kept.is_none();
            if let Ok((_, token)) = begun {
                if let Some(machine) = self.dialects.link.as_mut() {
                    machine.kept(now.mono, token, kept);
                }
            }
            let reason = match (begun, not_kept) {
                (Ok((no, _)), None) => {
                    self.number_file(no, held);
                    self.tell_file(now, no, TransferState::Offered, None);
                    None
                }
                (Err(why), _) | (_, Some(why)) => Some(why),
            };
            if let (Some(_), Some(file)) = (&reason, held) {
                self.file(file, FileOp::Close);
            }
            receipts.push(Receipt {
                id: entry,
                recipient: self.linked_name(peer),
                peer,
                state: if reason.is_some() { Delivery::Failed } else { Delivery::Queued },
                reason: reason.or_else(|| Some(NOT_ACCEPTED.into())),
            });
        }
        if rest.0.is_empty() {
            if let Some(file) = given {
                self.file(file, FileOp::Close);
            }
            return self.answer(ticket, Ok(Answer::Sent(receipts)));
        }
        self.image_out(ticket, user, rest, path, given, receipts);
    }

    /// An offer arrived, or was not taken in at all.
    pub(in crate::node) fn offer_settled(
        &mut self,
        now: Now,
        entry: EntryId,
        (user, far): (Handle, &Far),
        refused: Option<String>,
    ) {
        match refused {
            None => {
                let reason = Some(NOT_ACCEPTED.to_owned());
                self.offer_fate(now, entry, (user, far), Delivery::Queued, reason);
            }
            Some(why) => {
                // the machine has forgotten it: so do we
                let lost = self.files.by_no.keys().filter(|no| self.machine_file(**no).is_none());
                let lost: Vec<u64> = lost.copied().collect();
                lost.into_iter().for_each(|no| self.forget_file(no));
                self.offer_fate(now, entry, (user, far), Delivery::Failed, Some(why));
            }
        }
    }

    pub(super) fn offer_fate(
        &mut self,
        now: Now,
        entry: EntryId,
        (user, far): (Handle, &Far),
        state: Delivery,
        reason: Option<String>,
    ) {
        let peer = self.know_linked(far);
        let recipient = self.linked_name(peer);
        let fate = Fate { entry, user: Some(user), peer, recipient, kept: true };
        self.tell_fate(now, fate, state, reason);
    }

    /// What we gave is over.
    pub(super) fn give_over(&mut self, now: Now, about: &About, outcome: Outcome, why: &str) {
        let reason = match (outcome, why) {
            (Outcome::Done, _) => None,
            (Outcome::Refused, "") => Some(format!("{} refused it", about.far.handle)),
            (Outcome::Cancelled, "") => Some(format!("{} ended it", about.far.handle)),
            (Outcome::Failed, "") => Some("it failed there".to_owned()),
            (_, why) => Some(why.to_owned()),
        };
        if outcome == Outcome::Done {
            let peer = self.know_linked(&about.far);
            let what = What::Image {
                id: about.entry,
                conversation: peer.to_string(),
                from: about.user.to_string(),
                to: self.linked_name(peer),
                peer,
                dialect: Dialect::Link,
                direction: Direction::Out,
                path: about.path.clone(),
                size: about.size,
                format: about.format.clone(),
                width: None,
                height: None,
            };
            self.tell(now, Some(about.user.clone()), what);
        }
        let done = outcome == Outcome::Done;
        let state = if done { Delivery::Delivered } else { Delivery::Failed };
        self.offer_fate(now, about.entry, (about.user.clone(), &about.far), state, reason);
    }
}
