//! Files that go out: offered, then sent as the other side asks for them.
//!
//! A give is kept from its offer on until its end was said by either side. All the rest follows
//! from what the taker wants: after a break or a restart he asks again from where he is.
//!
//! This file is the record of one of them; `offers` says how it comes and ends, `order` when it
//! runs, `bytes` how it is sent.

mod bytes;
mod offers;
mod order;

use super::super::files::Offer;
use super::super::noise::Fingerprint;
use super::super::wire::{BadWire, Reader, Writer};
use super::super::words::{FileState, FileView, Row};
use super::Machine;
use crate::model::limits::LINK_CHUNK;
use crate::model::{EntryId, Handle, Millis, StreamId};

pub use bytes::Opened;

/// A file that we offer or send.
pub(super) struct Give {
    pub(super) of: Fingerprint,
    pub(super) id: EntryId,
    pub(super) from: Handle,
    pub(super) to: Handle,
    pub(super) offer: Offer,
    path: String,
    stamp: u64,
    paused: bool,
    paused_there: bool,
    accepted: bool,
    done: u64,
    /// What is wanted, and not begun.
    asked: Option<Asked>,
    run: Option<Run>,
}

/// What a taker wants.
#[derive(Clone, Copy)]
struct Asked {
    stream: StreamId,
    turn: u32,
    index: u32,
    offset: u64,
    upto: u64,
}

/// One asking, being answered.
struct Run {
    asked: Asked,
    size: Option<u64>,
    /// Bytes of the files before this one.
    before: u64,
    next: u64,
    /// Something is being done with the file.
    busy: bool,
    ended: bool,
    /// When the other side was last told of anything.
    told: Millis,
}

impl Give {
    fn row(&self) -> Row {
        let to = Writer::default().short(self.from.as_str()).short(self.to.as_str());
        let to = self.offer.write(to.u8(u8::from(self.paused)).u64(self.stamp));
        Row::put(self.key(), to.long(&self.path).0)
    }

    pub(super) fn key(&self) -> String {
        format!("give/{}/{}", self.of, self.id)
    }

    pub(super) fn restore(of: Fingerprint, id: EntryId, value: &[u8]) -> Result<Give, BadWire> {
        let mut row = Reader(value);
        let (from, to) = (row.handle()?, row.handle()?);
        let (flags, stamp) = (row.u8()?, row.u64()?);
        let (offer, path) = (Offer::read(&mut row)?, row.long()?.to_owned());
        let paused = flags & 1 != 0;
        Ok(Give { paused, ..Give::new(of, id, (from, to), offer, (path, stamp)) })
    }

    fn new(
        of: Fingerprint,
        id: EntryId,
        (from, to): (Handle, Handle),
        offer: Offer,
        (path, stamp): (String, u64),
    ) -> Give {
        Give {
            of,
            id,
            from,
            to,
            offer,
            path,
            stamp,
            paused: false,
            paused_there: false,
            accepted: false,
            done: 0,
            asked: None,
            run: None,
        }
    }

    fn state(&self) -> FileState {
        match (self.paused, self.paused_there, &self.run) {
            (true, ..) => FileState::Paused,
            (_, true, _) => FileState::PausedThere,
            (_, _, Some(_)) => FileState::Runs,
            _ if self.accepted => FileState::Waits,
            _ => FileState::Offered,
        }
    }

    pub(super) fn view(&self, no: u64) -> FileView<'_> {
        FileView {
            no,
            giver: true,
            far: Machine::far(self.of, &self.to),
            user: &self.from,
            entry: self.id,
            offer: &self.offer,
            path: &self.path,
            done: self.done,
            unasked: false,
            state: self.state(),
        }
    }

    /// Where to read next for this stream, if it is time to.
    fn wants_read(&self, stream: StreamId) -> Option<(u64, usize)> {
        let run = self.run.as_ref().filter(|r| r.asked.stream == stream && !r.busy && !r.ended)?;
        let size = run.size?;
        let upto = run.asked.upto.min(size);
        if run.next >= upto && run.next < size {
            return None;
        }
        let len = usize::try_from(upto.saturating_sub(run.next)).unwrap_or(LINK_CHUNK);
        Some((run.next, len.min(LINK_CHUNK)))
    }
}
