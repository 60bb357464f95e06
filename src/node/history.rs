//! What is kept of what is said: entries, the writes to the store, and what waits for them.
//!
//! An intent is durable before it is carried out: a job waits until its write is answered,
//! and jobs are carried out in their order. What came in, and what became of something, waits for
//! nobody: it is gathered and written soon. Where nothing can be kept, the chat goes on and that
//! is said once.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Node;
use super::files::OfferJob;
use super::io::{Action, Ticket};
use super::linked::LinkJob;
use super::outbox::Leaving;
use super::outgoing::TextJob;
use super::owed::{self, Owed};
use super::rooms::RoomJob;
use super::transfer::ImageJob;
use crate::model::history::{Body, Change, Entry, Query, Recipient};
use crate::model::limits::MAX_UNKEPT;
use crate::model::{Dialect, Direction, EntryId, Handle, IoError, Millis, Now};

/// What the lobby's conversation is called where it is kept.
pub const LOBBY_KEY: &str = "#lobby";
/// Said of a recipient's state while something leaves: all that a crash leaves behind.
pub const MAY_BE_LOST: &str = "may be lost: the node stopped while it left";
/// Writes under way beyond which what nothing waits for is gathered.
pub const MAX_STORES: usize = 64;
/// Bytes of changes that may be gathered, and as many under way: beyond, they are not kept.
pub const MAX_UNKEPT_BYTES: usize = 4 * 1024 * 1024;

/// Whether what a job is about is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// It is.
    Yes,
    /// There is nothing to keep: it could not be kept when it began.
    NotWanted,
    /// It could not be, and why.
    No(Rc<str>),
}

/// What is done once its intent is durable.
pub(super) enum Job {
    Text(TextJob),
    Image(Box<ImageJob>),
    Leaving(Leaving),
    Link(Box<LinkJob>),
    Room(Box<RoomJob>),
    Offer(Box<OfferJob>),
}

#[derive(Default)]
pub(super) struct Keeping {
    /// The order last given.
    order: u64,
    /// The number last given to a write.
    last: u64,
    /// Writes that were not answered yet, with their bytes and the states in them.
    under_way: VecDeque<(u64, usize, Vec<Change>)>,
    /// States that could not be written.
    owed: Owed,
    /// What will be written next.
    unsaved: Vec<Change>,
    unsaved_bytes: usize,
    jobs: VecDeque<(u64, Durable, Job)>,
    /// The clock can be trusted.
    trusted: bool,
    /// It was said that nothing can be kept.
    failing: bool,
}

impl Keeping {
    pub(super) fn new(last_order: u64) -> Keeping {
        Keeping { order: last_order, ..Keeping::default() }
    }

    /// The order last given.
    pub(super) fn last_order(&self) -> u64 {
        self.order
    }

    /// The next order.
    pub(super) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn bytes_under_way(&self) -> usize {
        self.under_way.iter().map(|(_, bytes, _)| bytes).sum()
    }

    /// When [`Node::tick_keeping`] wants to be called.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.owed.wake_at()
    }
}

/// What an entry is made of, beside what the node adds.
pub(super) struct Draft {
    pub(super) id: EntryId,
    pub(super) user: Option<Handle>,
    pub(super) conversation: String,
    pub(super) from: String,
    pub(super) direction: Direction,
    pub(super) dialect: Dialect,
    pub(super) body: Body,
    pub(super) autoreply: bool,
    pub(super) recipients: Vec<Recipient>,
}

impl Node {
    /// An entry with its place and time.
    pub(super) fn entry(&mut self, now: Now, draft: Draft) -> Entry {
        let Draft { id, user, conversation, from, direction, dialect, body, autoreply, recipients } =
            draft;
        Entry {
            id,
            order: self.keeping.next_order(),
            user,
            conversation,
            from,
            direction,
            dialect,
            at: now.wall,
            dated: self.keeping.trusted,
            mono: now.mono,
            body,
            autoreply,
            recipients,
        }
    }

    /// Keeps a change soon; nothing waits for it.
    pub(super) fn keep_soon(&mut self, now: Now, change: Change) {
        let keeping = &mut self.keeping;
        let bytes = weight(&change);
        if keeping.unsaved.len() >= MAX_UNKEPT || keeping.unsaved_bytes + bytes > MAX_UNKEPT_BYTES {
            return self.not_kept(now, "the disk is slower than what is said");
        }
        keeping.unsaved.push(change);
        keeping.unsaved_bytes += bytes;
        if self.keeping.unsaved.len() >= MAX_UNKEPT / 4 {
            self.save();
        }
    }

    /// Does a job once these changes are durable, and not before those begun earlier.
    pub(super) fn keep_first(&mut self, now: Now, changes: Vec<Change>, job: Job) {
        if changes.is_empty() {
            return self.after(now, Durable::NotWanted, job);
        }
        if self.keeping.under_way.len() >= MAX_UNKEPT {
            let why = "the disk is slower than what is said";
            self.not_kept(now, why);
            return self.after(now, Durable::No(why.into()), job);
        }
        let mut all = std::mem::take(&mut self.keeping.unsaved);
        self.keeping.unsaved_bytes = 0;
        all.extend(changes);
        let n = self.store(all, true);
        self.keeping.jobs.push_back((n, Durable::Yes, job));
    }

    /// Does a job that has nothing to keep after those that wait.
    fn after(&mut self, now: Now, durable: Durable, job: Job) {
        if self.keeping.jobs.is_empty() {
            return self.carry_out(now, durable, job);
        }
        let n = self.keeping.last;
        self.keeping.jobs.push_back((n, durable, job));
    }

    /// Writes what was gathered, unless much is under way.
    pub(super) fn save(&mut self) {
        let keeping = &self.keeping;
        let busy =
            keeping.under_way.len() >= MAX_STORES || keeping.bytes_under_way() >= MAX_UNKEPT_BYTES;
        if !keeping.unsaved.is_empty() && !busy {
            self.save_now();
        }
    }

    fn save_now(&mut self) {
        let changes = std::mem::take(&mut self.keeping.unsaved);
        self.keeping.unsaved_bytes = 0;
        if !changes.is_empty() {
            self.store(changes, false);
        }
    }

    fn store(&mut self, changes: Vec<Change>, wanted: bool) -> u64 {
        self.keeping.last += 1;
        let n = self.keeping.last;
        let bytes = changes.iter().map(weight).sum();
        self.keeping.under_way.push_back((n, bytes, owed::states(&changes)));
        self.actions.push_back(Action::Store { n, changes, wanted });
        n
    }

    /// Asks the store, after all that was said so far.
    pub(super) fn query(&mut self, ticket: Ticket, query: Query) {
        self.save_now();
        self.actions.push_back(Action::Query(ticket, query));
    }

    /// The store answered: all up to `n` are durable, or are not kept.
    pub(super) fn stored(&mut self, now: Now, n: u64, result: Result<(), IoError>) {
        while self.keeping.under_way.front().is_some_and(|(m, ..)| *m <= n) {
            let Some((_, _, states)) = self.keeping.under_way.pop_front() else { break };
            match &result {
                Ok(()) => self.keeping.owed.newer(&states),
                Err(_) => self.keeping.owed.not_written(now.mono, states),
            }
        }
        if result.is_ok() {
            self.pay_owed();
        }
        let durable = match result {
            Ok(()) => {
                if std::mem::take(&mut self.keeping.failing) {
                    self.trouble(now, "what is said is kept again".into());
                }
                Durable::Yes
            }
            Err(error) => {
                self.not_kept(now, &error.text);
                Durable::No(error.text.into())
            }
        };
        while self.keeping.jobs.front().is_some_and(|(m, ..)| *m <= n) {
            let Some((_, planned, job)) = self.keeping.jobs.pop_front() else { return };
            let durable = if planned == Durable::Yes { durable.clone() } else { planned };
            self.carry_out(now, durable, job);
        }
    }

    /// Tries again to write the states that could not be written.
    pub(super) fn tick_keeping(&mut self, now: Millis) {
        if self.keeping.wake_at().is_some_and(|at| at <= now) {
            self.pay_owed();
        }
    }

    /// What is owed is written next, before what is newer.
    fn pay_owed(&mut self) {
        let keeping = &mut self.keeping;
        for (_, _, states) in &keeping.under_way {
            keeping.owed.newer(states);
        }
        let mut all = keeping.owed.take();
        keeping.unsaved_bytes += all.iter().map(weight).sum::<usize>();
        all.append(&mut keeping.unsaved);
        keeping.unsaved = all;
    }

    /// The end is near: what waits is done now.
    pub(super) fn hurry(&mut self, now: Now) {
        while let Some((_, durable, job)) = self.keeping.jobs.pop_front() {
            self.carry_out(now, durable, job);
        }
        self.pay_owed();
        self.save_now();
    }

    fn carry_out(&mut self, now: Now, durable: Durable, job: Job) {
        match job {
            Job::Text(job) => self.text_leaves(now, job, &durable),
            Job::Image(job) => self.image_leaves(now, *job, &durable),
            Job::Leaving(leaving) => self.waited_leaves(now, &leaving, &durable),
            Job::Link(job) => self.link_kept(now, *job, &durable),
            Job::Room(job) => self.room_kept(now, *job, &durable),
            Job::Offer(job) => self.offers_leave(now, *job, &durable),
        }
    }

    /// Something could not be kept: said until something is again.
    fn not_kept(&mut self, now: Now, why: &str) {
        if !std::mem::replace(&mut self.keeping.failing, true) {
            let text = format!("what is said is not kept ({why}): the chat goes on without");
            self.trouble(now, text);
        }
    }

    /// The system's clock can be trusted now, or not any more.
    pub(super) fn clock(&mut self, now: Now, trusted: bool) {
        let was = std::mem::replace(&mut self.keeping.trusted, trusted);
        if !trusted || was {
            return;
        }
        let wall = i64::try_from(now.wall.0).unwrap_or(i64::MAX);
        let zero = wall.saturating_sub(i64::try_from(now.mono).unwrap_or(i64::MAX));
        let date = Change::Date { epoch: self.epoch, zero };
        self.keep_soon(now, date);
        let keep = self.outbox_keep();
        self.outbox.date(now, keep);
    }

    /// A local user bears another handle: what is his goes with him.
    pub(super) fn renamed_user(&mut self, now: Now, from: Handle, to: &Handle) {
        if from == *to {
            return;
        }
        self.outbox.renamed(&from, to);
        self.files.renamed(&from, to);
        if let Some(machine) = self.dialects.link.as_mut() {
            machine.renamed(&from, to);
            machine.room_renamed(now.mono, &from, to);
        }
        self.keep_soon(now, Change::Renamed { from, to: to.clone() });
    }
}

/// Bytes that a change holds, about.
fn weight(change: &Change) -> usize {
    let more = match change {
        Change::Put(entry) => {
            let body = match &entry.body {
                Body::Text { text } => text.len(),
                Body::File { path, .. } => path.len(),
            };
            body + size_of::<Entry>() + entry.recipients.len() * (size_of::<Recipient>() + 16)
        }
        Change::Link(row) => row.key.len() + row.value.as_ref().map_or(0, Vec::len),
        Change::State { reason, .. } => reason.as_ref().map_or(0, String::len),
        Change::Date { .. } | Change::Met(_) | Change::Renamed { .. } => 64,
    };
    size_of::<Change>() + more
}
