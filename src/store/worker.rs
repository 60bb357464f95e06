//! The storage thread itself: whose turn it is.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use async_channel::Sender;

use super::files::Desk;
use super::history::{History, SLICE};
use super::queue::{FileJob, HistoryJob, Queue};
use super::retain::{Age, LOOK_MS};
use super::{Begin, HOLD, Rules, Told, Write};
use crate::config::kept::Keeper;
use crate::model::history::{Change, Entry, Forget, Found, Query, Reader, Remembered};
use crate::model::{IoError, Millis, Now};
use crate::node::io::Ticket;

/// Runs until the queue ends; then what was handed over is done.
pub(super) fn run(
    begin: Begin,
    queue: &Queue,
    told: Sender<Told>,
    found: &mpsc::Sender<Remembered>,
) {
    let Begin { folder, rules, epoch, now } = begin;
    let keeper = Keeper::new(folder.clone());
    let age = Age::new(epoch, now().mono);
    let (history, remembered) = History::open(folder, rules.history.clone(), age);
    // Who waits for it may be gone; then the queue has ended too.
    let _ = found.send(remembered);
    let mut worker = Worker {
        desk: Desk::new(rules.images.clone(), rules.files.clone()),
        history,
        keeper,
        rules,
        told,
        now,
        group: Vec::new(),
        failed: None,
        due: None,
        chore: None,
        sweep_at: Some(now().mono),
        // a run that was killed may have left deleted things in the log
        untidy: Untidy::Some,
    };
    worker.desk.begin();
    worker.note_removed();
    worker.say();
    while worker.turn(queue) {}
    queue.gone();
    worker.history.close();
}

struct Worker {
    desk: Desk,
    history: History,
    keeper: Keeper,
    rules: Rules,
    told: Sender<Told>,
    now: fn() -> Now,
    /// Writes that wait to be committed together.
    group: Vec<Write>,
    /// The last write that failed, and why.
    failed: Option<(u64, IoError)>,
    /// When they are.
    due: Option<Instant>,
    chore: Option<Chore>,
    /// When retention looks next.
    sweep_at: Option<Millis>,
    untidy: Untidy,
}

/// A question whose answer takes many steps; other work is done between them.
enum Chore {
    Forget { ticket: Ticket, reader: Option<Reader>, what: Forget, gone: u64 },
    Import { ticket: Ticket, left: std::vec::IntoIter<Entry>, new: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Untidy {
    Not,
    /// Retention took something.
    Some,
    /// Somebody deleted by hand.
    ByHand,
}

impl Worker {
    /// One turn; whether there may be another.
    fn turn(&mut self, queue: &Queue) -> bool {
        let busy = self.chore.is_some() || self.untidy != Untidy::Not;
        let until = if busy { Some(Instant::now()) } else { self.wake_at() };
        let turn = queue.turn(until);
        for job in turn.files {
            self.file(job);
        }
        self.note_removed();
        for job in turn.history {
            match job {
                HistoryJob::Write(write) => {
                    let wait = if write.wanted { Duration::ZERO } else { HOLD };
                    let at = Instant::now() + wait;
                    self.due = Some(self.due.map_or(at, |due| due.min(at)));
                    self.group.push(write);
                }
                HistoryJob::Ask(ticket, query) => {
                    self.commit();
                    self.ask(ticket, query);
                }
            }
        }
        if let Some(kept) = turn.kept {
            if let Err(error) = self.keeper.keep(&kept) {
                let text = format!("settings cannot be kept ({error}): they end with this run");
                self.tell(Told::Said(text));
            }
        }
        if let Some(trusted) = turn.clock {
            self.history.set_clock(trusted);
            self.desk.set_clock(trusted);
            self.note_removed();
            self.sweep_at = Some((self.now)().mono);
        }
        if turn.ended || self.due.is_some_and(|at| at <= Instant::now()) {
            self.commit();
        }
        self.step(turn.ended);
        self.say();
        !(turn.ended && self.chore.is_none())
    }

    fn wake_at(&self) -> Option<Instant> {
        let sweep = self.sweep_at.map(|at| {
            let left = at.saturating_sub((self.now)().mono);
            Instant::now() + Duration::from_millis(left)
        });
        [self.due, sweep].into_iter().flatten().min()
    }

    fn file(&mut self, job: FileJob) {
        let (file, outcome) = match job {
            FileJob::Op(file, op) => (file, self.desk.perform(file, op)),
            FileJob::Adopt(file, fd) => (file, Some(self.desk.adopt(file, fd))),
            FileJob::Rules(rules) => return self.set_rules(*rules),
        };
        if let Some(outcome) = outcome {
            self.tell(Told::File(file, outcome));
        }
    }

    fn set_rules(&mut self, rules: Rules) {
        if rules.images != self.rules.images || rules.files != self.rules.files {
            self.desk.set_rules(rules.images.clone(), rules.files.clone());
        }
        if rules.history != self.rules.history {
            self.history.set_rules(rules.history.clone());
            self.sweep_at = Some((self.now)().mono);
        }
        self.rules = rules;
    }

    fn commit(&mut self) {
        self.due = None;
        if let Some((failed, error)) = &self.failed {
            let follow = self.group.iter().take_while(|write| write.heard < *failed).count();
            let told = |last: Write| Told::Stored(last.n, Err(error.clone()));
            let told = self.group.drain(..follow).next_back().map(told);
            if let Some(told) = told {
                self.tell(told);
            }
        }
        let Some(last) = self.group.last().map(|write| write.n) else { return };
        let group = std::mem::take(&mut self.group);
        let changes: Vec<Change> = group.into_iter().flat_map(|write| write.changes).collect();
        let outcome = self.history.commit(&changes);
        if let Err(error) = &outcome {
            self.failed = Some((last, error.clone()));
        }
        self.tell(Told::Stored(last, outcome));
        let soon = (self.now)().mono + LOOK_MS;
        self.sweep_at = Some(self.sweep_at.map_or(soon, |at| at.min(soon)));
    }

    fn ask(&mut self, ticket: Ticket, query: Query) {
        match query {
            Query::Delete { reader, what } => {
                self.begin(Chore::Forget { ticket, reader, what, gone: 0 });
            }
            Query::Import(entries) => {
                self.begin(Chore::Import { ticket, left: entries.into_iter(), new: 0 });
            }
            query => {
                let answer = self.history.answer(&query);
                self.tell(Told::Found(ticket, answer));
            }
        }
    }

    /// A chore before it is finished first: two of them at once are rare.
    fn begin(&mut self, chore: Chore) {
        while self.chore.is_some() {
            self.chore_step();
        }
        self.chore = Some(chore);
    }

    /// One step of what takes long; `last`: of all that is worth waiting for at the end.
    fn step(&mut self, last: bool) {
        if self.chore.is_some() {
            return self.chore_step();
        }
        let now = (self.now)();
        if !last && self.sweep_at.is_some_and(|at| at <= now.mono) {
            return self.sweep(now);
        }
        if self.untidy != Untidy::Not && !self.history.tidy(self.untidy == Untidy::ByHand) {
            self.untidy = Untidy::Not;
        }
    }

    fn chore_step(&mut self) {
        match self.chore.take() {
            None => {}
            Some(Chore::Forget { ticket, reader, what, gone }) => {
                match self.history.forget(reader.as_ref(), &what) {
                    Ok(step) if step.entries > 0 => {
                        self.untidy = Untidy::ByHand;
                        self.remove_files(&step.files);
                        let gone = gone + step.entries;
                        self.chore = Some(Chore::Forget { ticket, reader, what, gone });
                    }
                    outcome => {
                        let answer = outcome.map(|_| Found::Count(gone));
                        self.tell(Told::Found(ticket, answer));
                    }
                }
            }
            Some(Chore::Import { ticket, mut left, new }) => {
                let some: Vec<Entry> = left.by_ref().take(SLICE).collect();
                if some.is_empty() {
                    return self.tell(Told::Found(ticket, Ok(Found::Count(new))));
                }
                match self.history.import(&some, (self.now)()) {
                    Ok(more) => {
                        self.chore = Some(Chore::Import { ticket, left, new: new + more });
                    }
                    Err(error) => self.tell(Told::Found(ticket, Err(error))),
                }
            }
        }
    }

    fn sweep(&mut self, now: Now) {
        let swept = self.history.sweep(now).unwrap_or_default();
        self.sweep_at = swept.next;
        if swept.gone.entries > 0 && self.untidy == Untidy::Not {
            self.untidy = Untidy::Some;
        }
        self.remove_files(&swept.gone.files);
    }

    fn remove_files(&mut self, paths: &[String]) {
        for path in paths {
            self.desk.remove(Path::new(path));
        }
    }

    /// The entries of files that made room say that they are gone.
    fn note_removed(&mut self) {
        let removed = self.desk.removed();
        if !removed.is_empty() {
            // Trouble is said by the history itself; then the entries go on naming them.
            let _ = self.history.files_gone(&removed);
        }
    }

    fn say(&mut self) {
        for line in self.history.said() {
            self.tell(Told::Said(line));
        }
    }

    fn tell(&self, told: Told) {
        // Who listens may be gone; then the queue has ended too.
        let _ = self.told.send_blocking(told);
    }
}
