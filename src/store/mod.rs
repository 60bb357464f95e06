//! What is kept: the one storage thread, so that no slow disk holds up the loop.
//!
//! It owns received and sent files (`files`), the history (`history`, in SQLite) and
//! `state.toml`. What waits for it waits in bounded lanes (`queue`); its answers wait unbounded
//! but few, for each belongs to something that was asked.
//!
//! Writes to the history are made durable in groups: all that wait go into one transaction. One
//! that somebody waits for ends the group at once, the others wait up to [`HOLD`] for more.

pub mod base;
pub mod files;
pub mod history;
pub mod identity;
pub mod link;
pub mod log;
pub mod picture;
mod queue;
mod quota;
mod read;
pub mod retain;
pub mod row;
pub mod schema;
pub mod words;
mod worker;
mod write;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;

use crate::config::{self, Kept, Settings};
use crate::model::history::{Change, Found, Query, Remembered};
use crate::model::{IoError, Now, Trouble};
use crate::node::io::{FileDone, FileId, FileOp, Ticket};

use queue::{FileJob, Queue};

/// How long a write that nobody waits for may wait for others.
pub const HOLD: Duration = Duration::from_secs(2);
/// The thread's stack, in bytes. SQLite's deepest calls, and the image header's parser.
pub const STACK: usize = 512 * 1024;

/// What the thread works by; it may change while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Where received files go; made when first needed.
    pub images: PathBuf,
    /// What is kept of conversations.
    pub history: config::History,
    /// How much of received files.
    pub files: config::Files,
}

impl Rules {
    /// What these settings say of it.
    pub fn of(settings: &Settings) -> Rules {
        Rules {
            images: settings.imagepath.clone(),
            history: settings.history.clone(),
            files: settings.files.clone(),
        }
    }
}

/// What the thread is to begin with.
pub struct Begin {
    /// The state folder; none: everything is kept in memory.
    pub folder: Option<PathBuf>,
    /// What it works by.
    pub rules: Rules,
    /// Names this run, as entries' ids do.
    pub epoch: u64,
    /// The time, by the clocks that entries have theirs from.
    pub now: fn() -> Now,
}

/// What the thread tells.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// A file operation ended.
    File(FileId, Result<FileDone, IoError>),
    /// Writes up to this one are durable, or those not told yet are not kept.
    Stored(u64, Result<(), IoError>),
    /// A question's answer.
    Found(Ticket, Result<Found, IoError>),
    /// Something people should know: one line.
    Said(String),
}

/// A write to the history, and its number.
#[derive(Debug)]
struct Write {
    n: u64,
    changes: Vec<Change>,
    wanted: bool,
    /// The last write whose outcome was known when this one was handed over.
    heard: u64,
}

/// The loop's end of the storage thread. Dropping it ends the thread: what was handed over is
/// still kept, unfinished files are removed.
pub struct Store {
    queue: Arc<Queue>,
    heard: Cell<u64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Store {
    /// Starts the thread, and waits for what it finds kept. `told` should be unbounded: the
    /// thread waits for room in it.
    pub fn start(begin: Begin, told: Sender<Told>) -> Result<(Store, Remembered), IoError> {
        let queue = Arc::new(Queue::default());
        let (found, remembered) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("klatsch-store".into())
            .stack_size(STACK)
            .spawn(move || worker::run(begin, &theirs, told, &found))?;
        let remembered = remembered
            .recv()
            .map_err(|_| IoError::new(Trouble::Other, "the storage thread has ended"))?;
        Ok((Store { queue, heard: Cell::default(), thread: Some(thread) }, remembered))
    }

    /// Hands a file operation over. The error is the operation's own outcome, to be told like
    /// an answer; `Discard` and `Close` are never refused.
    pub fn file(&self, file: FileId, op: FileOp) -> Result<(), IoError> {
        let must = op.is_final();
        self.queue.file(FileJob::Op(file, op), must)
    }

    /// Hands over a descriptor that came with a call; answered as `Open` is.
    pub fn adopt(&self, file: FileId, fd: OwnedFd) -> Result<(), IoError> {
        self.queue.file(FileJob::Adopt(file, fd), false)
    }

    /// Hands a write over; numbers grow by one. `wanted`: somebody waits for it to be durable.
    ///
    /// When a write fails, those that were handed over before that was [`Store::heard`] fail, too:
    /// what they say may follow from what is not kept, as "all up to this message came" does.
    pub fn write(&self, n: u64, changes: Vec<Change>, wanted: bool) -> Result<(), IoError> {
        self.queue.write(Write { n, changes, wanted, heard: self.heard.get() })
    }

    /// What became of the writes up to this one is known to whoever hands over the next.
    pub fn heard(&self, n: u64) {
        self.heard.set(n);
    }

    /// Asks something; everything written before is in the answer.
    pub fn ask(&self, ticket: Ticket, query: Query) -> Result<(), IoError> {
        self.queue.ask(ticket, query)
    }

    /// Replaces `state.toml`. Trouble with it is told as `Said`, once.
    pub fn keep(&self, kept: Kept) -> Result<(), IoError> {
        self.queue.keep(Box::new(kept))
    }

    /// From now on it works by these; files under way end where they began.
    pub fn rules(&self, rules: Rules) -> Result<(), IoError> {
        self.queue.file(FileJob::Rules(Box::new(rules)), true)
    }

    /// Whether the system's clock can be trusted; until this says so it cannot.
    pub fn clock(&self, trusted: bool) -> Result<(), IoError> {
        self.queue.clock(trusted)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
