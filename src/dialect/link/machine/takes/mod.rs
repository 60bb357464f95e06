//! Files that come in: asked for once they are accepted, a window at a time.
//!
//! What is kept of a take is how much of it is durable. Everything else is asked for again after a
//! break, so nothing here needs to be right over a restart but that one number.
//!
//! This file is the record of one of them; `offers` says how it comes and ends, `order` when it
//! runs, `bytes` what is done with what comes.

mod bytes;
mod offers;
mod order;

use std::collections::VecDeque;

use super::super::files::Offer;
use super::super::noise::Fingerprint;
use super::super::wire::{BadWire, Reader, Writer};
use super::super::words::{FileState, FileView, Row};
use super::Machine;
use crate::model::limits::LINK_CHUNK;
use crate::model::{EntryId, Handle, Millis, StreamId};

pub use offers::{IDLE_MS, Taking};
pub use order::{BUSY_MS, STALLED_MS};

/// A file that is offered to us, or comes in.
pub(super) struct Take {
    pub(super) of: Fingerprint,
    pub(super) id: EntryId,
    pub(super) from: Handle,
    /// Our user.
    pub(super) to: Handle,
    pub(super) offer: Offer,
    /// Our entry of it.
    entry: EntryId,
    stem: String,
    accepted: bool,
    /// Nobody was asked: the settings take it.
    unasked: bool,
    /// They take it because it is an image.
    image: bool,
    paused: bool,
    paused_there: bool,
    /// The offer is kept.
    pub(super) durable: bool,
    /// The file it is at, how much of that is on the disk, and the bytes of those before it.
    index: u32,
    at: u64,
    before: u64,
    /// What is kept of it says that it is within this file.
    within: Option<u32>,
    /// Not before then: it stalled.
    not_before: Millis,
    /// When something of it came, or else when this run first looked at it.
    came: Option<Millis>,
    run: Option<Run>,
}

/// One asking, and what came of it.
struct Run {
    stream: StreamId,
    turn: u32,
    size: Option<u64>,
    path: String,
    /// From where this file was asked for.
    began: u64,
    /// Up to where it came, and may come.
    came: u64,
    upto: u64,
    /// What came since it was last made durable.
    unsynced: u64,
    unsynced_files: u32,
    sum: Option<[u8; 32]>,
    waiting: VecDeque<Vec<u8>>,
    /// What is being done with the file.
    busy: Option<Doing>,
    busy_since: Millis,
    /// The giver was last heard of it.
    moved: Millis,
    /// It was asked for then.
    asked: Millis,
    /// When [`LINK_CHUNK`] bytes had come anew, and what came since.
    steady: Millis,
    since: u64,
}

impl Run {
    /// So much came: with enough of it, it moves as it should while others wait.
    fn progress(&mut self, now: Millis, bytes: u64) {
        self.since += bytes;
        if self.since >= LINK_CHUNK as u64 {
            (self.since, self.steady) = (0, now);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Opening,
    Adding(u64),
    Syncing(u32, u64, u64),
    Placing,
    Ending,
}

impl Take {
    fn row(&self, index: u32, at: u64, before: u64) -> Row {
        let flags = u8::from(self.accepted) | u8::from(self.paused) << 1;
        let flags = flags | u8::from(self.unasked) << 2 | u8::from(self.image) << 3;
        let to = Writer::default().short(self.from.as_str()).short(self.to.as_str()).u8(flags);
        let to = self.offer.write(to.u64(self.entry.epoch).u64(self.entry.n));
        let to = to.short(&self.stem).u32(index).u64(at).u64(before);
        Row::put(self.key(), to.0)
    }

    pub(super) fn key(&self) -> String {
        format!("take/{}/{}", self.of, self.id)
    }

    pub(super) fn restore(of: Fingerprint, id: EntryId, value: &[u8]) -> Result<Take, BadWire> {
        let mut row = Reader(value);
        let (from, to, flags) = (row.handle()?, row.handle()?, row.u8()?);
        let entry = EntryId { epoch: row.u64()?, n: row.u64()? };
        let offer = Offer::read(&mut row)?;
        let stem = row.short()?.to_owned();
        let (index, at, before) = (row.u32()?, row.u64()?, row.u64()?);
        // more than is offered cannot have come: the row is damaged, and all comes again
        let came = before.checked_add(at).filter(|came| *came <= offer.bytes);
        let fits = came.is_some() && index <= offer.files;
        let (index, at, before) = if fits { (index, at, before) } else { (0, 0, 0) };
        Ok(Take {
            of,
            id,
            from,
            to,
            offer,
            entry,
            stem,
            accepted: flags & 1 != 0,
            unasked: flags & 4 != 0,
            image: flags & 8 != 0,
            paused: flags & 2 != 0,
            paused_there: false,
            durable: true,
            index,
            at,
            before,
            within: (at > 0).then_some(index),
            not_before: 0,
            came: None,
            run: None,
        })
    }

    /// What its unfinished file is called: unique among all boxes' transfers.
    fn part(&self) -> String {
        let of = self.of.to_string();
        format!("{}-{}", &of[..16], self.id)
    }

    /// It could run.
    fn waits(&self) -> bool {
        let rests = self.paused || self.paused_there;
        self.run.is_none() && self.accepted && self.durable && !rests
    }

    fn state(&self) -> FileState {
        match (self.accepted, self.paused, self.paused_there, &self.run) {
            (false, ..) => FileState::Offered,
            (_, true, ..) => FileState::Paused,
            (_, _, true, _) => FileState::PausedThere,
            (_, _, _, Some(_)) => FileState::Runs,
            _ => FileState::Waits,
        }
    }

    pub(super) fn view(&self, no: u64) -> FileView<'_> {
        FileView {
            no,
            giver: false,
            far: Machine::far(self.of, &self.from),
            user: &self.to,
            entry: self.entry,
            offer: &self.offer,
            path: &self.stem,
            done: self.before + self.at,
            unasked: self.unasked,
            state: self.state(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a row that says it is at the second of two files with 30 bytes in all.
    fn restored(index: u32, at: u64, before: u64) -> (u32, u64, u64, u64) {
        let handle = Handle::try_from("anna").unwrap();
        let (name, format) = ("a".to_owned(), "unknown".to_owned());
        let offer = Offer { name, folder: true, files: 2, bytes: 30, format };
        let to = Writer::default().short("bob").short(handle.as_str()).u8(1).u64(1).u64(2);
        let value = offer.write(to).short("a").u32(index).u64(at).u64(before).0;
        let take = Take::restore(Fingerprint([7; 16]), EntryId { epoch: 1, n: 1 }, &value).unwrap();
        (take.index, take.at, take.before, take.view(1).done)
    }

    #[test]
    fn a_damaged_row_that_says_more_came_than_is_offered_begins_anew() {
        assert_eq!(restored(1, 10, 20), (1, 10, 20, 30));
        assert_eq!(restored(2, 0, 30), (2, 0, 30, 30));
        for (index, at, before) in [(1, 11, 20), (1, 10, u64::MAX), (3, 0, 30), (u32::MAX, 0, 0)] {
            assert_eq!(restored(index, at, before), (0, 0, 0, 0));
        }
    }
}
