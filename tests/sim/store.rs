//! What one node has kept, in memory: durable or not yet, slow, failing, cut off by a crash.

use std::collections::{BTreeMap, VecDeque};

use klatsch::model::history::{Change, Entry, Forget, Found, Known, Query, Reader, Remembered};
use klatsch::model::limits::{MAX_KNOWN, MAX_OUTBOX, MAX_PAGE};
use klatsch::model::{Delivery, IoError, Millis, Trouble, Wall};

/// Everything kept.
#[derive(Clone, Default)]
pub struct Kept {
    pub entries: BTreeMap<u64, Entry>,
    known: Vec<Known>,
}

pub struct Store {
    durable: Kept,
    /// Written, not durable yet.
    waiting: VecDeque<(u64, Vec<Change>)>,
    /// How long a write takes that something waits for.
    pub delay: (Millis, Millis),
    /// Nothing can be kept.
    pub fails: bool,
    /// Which run of the node it serves: what was under way for an earlier one is void.
    pub run: u64,
    /// Changes so far, and writes.
    pub changes: usize,
    pub writes: usize,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            durable: Kept::default(),
            waiting: VecDeque::new(),
            delay: (0, 5),
            fails: false,
            run: 0,
            changes: 0,
            writes: 0,
        }
    }
}

impl Store {
    pub fn write(&mut self, n: u64, changes: Vec<Change>) {
        self.writes += 1;
        self.changes += changes.len();
        self.waiting.push_back((n, changes));
    }

    /// Writes up to this one become durable; whether there were any. They fail where nothing can
    /// be kept.
    pub fn sync(&mut self, n: u64) -> Option<Result<(), IoError>> {
        let mut any = None;
        while self.waiting.front().is_some_and(|(m, _)| *m <= n) {
            let (_, changes) = self.waiting.pop_front().unwrap();
            any = Some(match self.fails {
                true => Err(IoError::new(Trouble::Full, "the disk is full")),
                false => {
                    changes.into_iter().for_each(|c| self.durable.apply(c));
                    Ok(())
                }
            });
        }
        any
    }

    /// The power went: what was not durable is lost.
    pub fn crash(&mut self) {
        self.waiting.clear();
        self.run += 1;
    }

    /// All that is durable.
    pub fn kept(&self) -> &Kept {
        &self.durable
    }

    pub fn remembered(&self) -> Remembered {
        let queued = |e: &&Entry| e.recipients.iter().any(|r| r.state == Delivery::Queued);
        let entries = self.durable.entries.values();
        Remembered {
            last_order: self.durable.entries.keys().last().copied().unwrap_or(0),
            outbox: entries.filter(queued).take(MAX_OUTBOX).cloned().collect(),
            known: self.durable.known.clone(),
            link: Vec::new(),
        }
    }

    pub fn answer(&mut self, query: Query) -> Found {
        match query {
            Query::Delete { reader, what } => {
                let before = self.durable.entries.len();
                self.durable.entries.retain(|_, e| {
                    !(reader.as_ref().is_none_or(|r| may_read(r, e)) && is_meant(&what, e))
                });
                return Found::Count((before - self.durable.entries.len()) as u64);
            }
            Query::Import(entries) => {
                let mut new = 0;
                for entry in entries {
                    if !self.durable.entries.values().any(|e| e.id == entry.id) {
                        self.durable.entries.insert(entry.order, entry);
                        new += 1;
                    }
                }
                return Found::Count(new);
            }
            _ => {}
        }
        let mut all = self.durable.clone();
        self.waiting.iter().flat_map(|(_, c)| c.clone()).for_each(|c| all.apply(c));
        let all = all.entries.into_values();
        let (found, limit, newest): (Vec<Entry>, u32, bool) = match query {
            Query::Last { reader, conversation, before, limit } => {
                let fits = |e: &Entry| {
                    may_read(&reader, e)
                        && conversation.as_ref().is_none_or(|c| *c == e.conversation)
                        && before.is_none_or(|b| e.order < b)
                };
                (all.filter(fits).collect(), limit, true)
            }
            Query::Search { reader, words, before, limit } => {
                let fits = |e: &Entry| {
                    may_read(&reader, e)
                        && format!("{:?}", e.body).contains(&words)
                        && before.is_none_or(|b| e.order < b)
                };
                (all.filter(fits).collect(), limit, true)
            }
            Query::From { after, limit } => {
                (all.filter(|e| e.order > after).collect(), limit, false)
            }
            Query::Delete { .. } | Query::Import(_) => unreachable!(),
        };
        let limit = limit.min(MAX_PAGE) as usize;
        let more = found.len() > limit;
        let skip = if newest { found.len().saturating_sub(limit) } else { 0 };
        Found::Entries { entries: found.into_iter().skip(skip).take(limit).collect(), more }
    }
}

fn may_read(reader: &Reader, entry: &Entry) -> bool {
    match &entry.user {
        Some(user) => *user == reader.user && entry.order > reader.since,
        None => true,
    }
}

fn is_meant(what: &Forget, entry: &Entry) -> bool {
    match what {
        Forget::Entry(order) => entry.order == *order,
        Forget::Conversation(with) => entry.conversation == *with,
        Forget::All => true,
    }
}

impl Kept {
    fn apply(&mut self, change: Change) {
        match change {
            // the link is off here: tests/link has boxes and disks for it
            Change::Link(_) => {}
            Change::Put(entry) => {
                let order = entry.order;
                let old = self.entries.insert(order, *entry);
                assert!(old.is_none(), "two entries of order {order}");
            }
            Change::State { id, peer, state, reason } => {
                let entry = self.entries.values_mut().rev().find(|e| e.id == id);
                let to = entry.and_then(|e| e.recipients.iter_mut().find(|r| r.peer == peer));
                if let Some(to) = to {
                    (to.state, to.reason) = (state, reason);
                }
            }
            Change::Date { epoch, zero } => {
                for entry in self.entries.values_mut() {
                    if entry.id.epoch == epoch && !entry.dated {
                        entry.dated = true;
                        entry.at = Wall((zero + entry.mono as i64) as u64);
                    }
                }
            }
            Change::Met(known) => {
                self.known.retain(|k| k.handle != known.handle);
                self.known.push(known);
                let over = self.known.len().saturating_sub(MAX_KNOWN);
                self.known.drain(..over);
            }
            Change::Renamed { from, to } => {
                for entry in self.entries.values_mut().filter(|e| e.user.as_ref() == Some(&from)) {
                    entry.user = Some(to.clone());
                }
            }
        }
    }
}
