//! What waits for the storage thread, in lanes: files on their way and the history must not wait
//! long for each other, though one thread serves both.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::files::MAX_OPEN;
use super::{Rules, Write};
use crate::config::Kept;
use crate::model::history::Query;
use crate::model::limits::MAX_UNKEPT;
use crate::model::{IoError, Trouble};
use crate::node::io::{FileId, FileOp, Ticket};

/// File operations that may wait: each open file's, and room for new ones.
pub const MAX_FILE_OPS: usize = 2 * MAX_OPEN;
/// Questions that may wait.
pub const MAX_ASKS: usize = 64;
/// File operations that are done before the history has its turn.
pub const FILE_TURN: usize = 16;
/// Writes of one group.
pub const GROUP: usize = 256;

pub(super) enum FileJob {
    Op(FileId, FileOp),
    Adopt(FileId, OwnedFd),
    Rules(Box<Rules>),
}

pub(super) enum HistoryJob {
    Write(Write),
    Ask(Ticket, Query),
}

/// What the thread does next.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) files: Vec<FileJob>,
    /// Writes, and at most one question, which is the last.
    pub(super) history: Vec<HistoryJob>,
    pub(super) kept: Option<Box<Kept>>,
    pub(super) clock: Option<bool>,
    /// Nothing more comes, and nothing else waits.
    pub(super) ended: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    files: VecDeque<FileJob>,
    history: VecDeque<HistoryJob>,
    asks: usize,
    kept: Option<Box<Kept>>,
    clock: Option<bool>,
    ended: bool,
    /// The thread is gone: nobody will do it.
    gone: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let none = self.files.is_empty() && self.history.is_empty();
        none && self.kept.is_none() && self.clock.is_none()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(
        &self,
        put: impl FnOnce(&mut Waiting) -> Result<(), &'static str>,
    ) -> Result<(), IoError> {
        let mut waiting = self.lock();
        if waiting.gone {
            return Err(IoError::new(Trouble::Other, "the storage thread has ended"));
        }
        put(&mut waiting).map_err(|text| IoError::new(Trouble::Exhausted, text))?;
        drop(waiting); // else the thread wakes only to wait for the lock
        self.came.notify_one();
        Ok(())
    }

    /// `must`: room is made for it, as for what ends a file; there is one such per open file.
    pub(super) fn file(&self, job: FileJob, must: bool) -> Result<(), IoError> {
        self.put(|waiting| {
            if waiting.files.len() >= MAX_FILE_OPS && !must {
                return Err("too many file operations at once");
            }
            if let (FileJob::Rules(_), Some(FileJob::Rules(_))) = (&job, waiting.files.back()) {
                waiting.files.pop_back();
            }
            waiting.files.push_back(job);
            Ok(())
        })
    }

    pub(super) fn write(&self, write: Write) -> Result<(), IoError> {
        self.put(|waiting| {
            if waiting.history.len() - waiting.asks >= MAX_UNKEPT {
                return Err("the disk is too slow for what is said");
            }
            waiting.history.push_back(HistoryJob::Write(write));
            Ok(())
        })
    }

    pub(super) fn ask(&self, ticket: Ticket, query: Query) -> Result<(), IoError> {
        self.put(|waiting| {
            if waiting.asks >= MAX_ASKS {
                return Err("too many questions at once");
            }
            waiting.asks += 1;
            waiting.history.push_back(HistoryJob::Ask(ticket, query));
            Ok(())
        })
    }

    /// The newest replaces one that still waits.
    pub(super) fn keep(&self, kept: Box<Kept>) -> Result<(), IoError> {
        self.put(|waiting| {
            waiting.kept = Some(kept);
            Ok(())
        })
    }

    pub(super) fn clock(&self, trusted: bool) -> Result<(), IoError> {
        self.put(|waiting| {
            waiting.clock = Some(trusted);
            Ok(())
        })
    }

    /// No more comes; what waits is still done.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.came.notify_one();
    }

    /// The thread ends: what comes now is refused.
    pub(super) fn gone(&self) {
        self.lock().gone = true;
    }

    /// What is next, waited for until `until`; none: as long as it takes.
    pub(super) fn turn(&self, until: Option<Instant>) -> Turn {
        let mut waiting = self.lock();
        while waiting.is_empty() && !waiting.ended {
            match until.map(|at| at.saturating_duration_since(Instant::now())) {
                None => waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    let woken = self.came.wait_timeout(waiting, left);
                    waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        let mut turn =
            Turn { kept: waiting.kept.take(), clock: waiting.clock.take(), ..Turn::default() };
        let files = waiting.files.len().min(FILE_TURN);
        turn.files = waiting.files.drain(..files).collect();
        while turn.history.len() < GROUP {
            let Some(job) = waiting.history.pop_front() else { break };
            let asked = matches!(job, HistoryJob::Ask(..));
            turn.history.push(job);
            if asked {
                waiting.asks -= 1;
                break;
            }
        }
        turn.ended = waiting.ended && waiting.is_empty();
        if waiting.is_empty() {
            // A burst's room is not held for ever.
            waiting.files.shrink_to(FILE_TURN);
            waiting.history.shrink_to(FILE_TURN);
        }
        turn
    }
}
