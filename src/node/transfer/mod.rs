//! Images on their way, in and out: what is kept, how far it is, how it ended.
//!
//! Bytes flow one piece at a time: a stream is read on only when its last piece is on the disk,
//! a file only when its last piece is with the kernel. So a transfer holds one piece in memory.
//!
//! An image does not wait for somebody who is not here: by then its file may be another, or gone.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

mod incoming;
mod local;
mod outgoing;

use super::Node;
use super::delivery::Target;
use super::io::{Action, FileDone, FileId, FileOp, Picture, Ticket};
use crate::dialect::slcp::machine::ImageKey;
use crate::model::{
    Delivery, EntryId, IoError, Map, Now, PeerId, Receipt, TransferState, Trouble, UserId,
};

/// Bytes of one image that may wait for the disk. Only UDP forms can pass it.
pub const MAX_WAITING_BYTES: usize = 1024 * 1024;

struct Incoming {
    file: FileId,
    entry: EntryId,
    peer: PeerId,
    /// Where it comes from.
    ip: Ipv4Addr,
    user: UserId,
    size: Option<u64>,
    got: u64,
    waiting: VecDeque<Vec<u8>>,
    /// An operation on its file is under way.
    busy: bool,
    ended: bool,
    told: u64,
}

/// A file that is sent to one recipient after the other.
struct Outgoing {
    path: String,
    size: u64,
    picture: Picture,
    /// Who still has to get it; the first is being served.
    to: VecDeque<Leg>,
    offset: u64,
    told: u64,
    /// For whom the file is being read.
    reading: Option<u64>,
    /// For whom it is to be read once that is over.
    wanted: Option<u64>,
}

struct Leg {
    tag: u64,
    entry: EntryId,
    user: UserId,
    target: Target,
    /// For everyone.
    lobby: bool,
}

/// A file on its way to another user of this node: it gets a copy of his own.
struct Copy {
    source: FileId,
    tag: u64,
}

/// A file that is to go out, once that is durable.
pub(super) struct ImageJob {
    ticket: Ticket,
    user: UserId,
    file: FileId,
    path: String,
    size: u64,
    picture: Picture,
    legs: Vec<ImageLeg>,
    lobby: bool,
    linked: Vec<Receipt>,
}

/// It to one of them, or why not.
struct ImageLeg {
    entry: EntryId,
    target: Target,
    refused: Option<String>,
}

/// A file being opened for someone who waits for the answer.
struct Opening {
    ticket: Ticket,
    user: UserId,
    path: String,
    targets: Vec<Target>,
    /// To everyone.
    lobby: bool,
    /// What became of those to whom it goes over the link.
    linked: Vec<Receipt>,
}

#[derive(Default)]
pub(super) struct Transfers {
    next: u64,
    incoming: Map<ImageKey, Incoming>,
    by_file: HashMap<FileId, ImageKey>,
    outgoing: Map<FileId, Outgoing>,
    /// By the file that is being written.
    copying: Map<FileId, Copy>,
    opening: HashMap<FileId, Opening>,
    /// Jobs that wait to be durable.
    waiting: usize,
}

impl Transfers {
    pub(super) fn count(&self) -> usize {
        self.incoming.len() + self.outgoing.len() + self.opening.len() + self.waiting
    }

    pub(super) fn new_file(&mut self) -> FileId {
        self.next += 1;
        FileId(self.next)
    }

    /// The file that a copy for this tag is written to.
    fn copy_of(&self, tag: u64) -> Option<FileId> {
        self.copying.iter().find(|(_, copy)| copy.tag == tag).map(|(file, _)| *file)
    }

    fn sending(&mut self, tag: u64) -> Option<(FileId, &mut Outgoing)> {
        self.outgoing
            .iter_mut()
            .find(|(_, out)| out.to.front().is_some_and(|leg| leg.tag == tag))
            .map(|(file, out)| (*file, out))
    }
}

impl Node {
    pub(super) fn file(&mut self, file: FileId, op: FileOp) {
        self.actions.push_back(Action::File(file, op));
    }

    /// A file operation ended.
    pub(super) fn file_done(&mut self, now: Now, file: FileId, result: Result<FileDone, IoError>) {
        if self.is_link_file(file) {
            return self.link_file_done(now, file, result);
        }
        if let Some(key) = self.transfers.by_file.get(&file).copied() {
            return self.incoming_done(now, key, result);
        }
        if self.transfers.copying.contains_key(&file) {
            return self.copied(now, file, result);
        }
        if let Some(opening) = self.transfers.opening.remove(&file) {
            if let Err(refusal) = self.opened(now, file, &opening, result) {
                self.file(file, FileOp::Close);
                self.answer(opening.ticket, Err(refusal));
            }
            return;
        }
        let Some(out) = self.transfers.outgoing.get_mut(&file) else { return };
        let Some(tag) = out.to.front().map(|leg| leg.tag) else { return };
        if out.reading.take() != Some(tag) {
            // it was read for somebody who failed meanwhile
            if let Some(tag) = out.wanted.take() {
                self.want_bytes(tag);
            }
            return;
        }
        match result {
            Ok(FileDone::Read(bytes)) if bytes.is_empty() && out.offset < out.size => {
                let error = IoError::new(Trouble::Other, "the file became shorter meanwhile");
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
            Ok(FileDone::Read(bytes)) => {
                out.offset += bytes.len() as u64;
                if out.offset >= out.told + (out.size / 10).max(256 * 1024) {
                    out.told = out.offset;
                    self.tell_outgoing(now, file, TransferState::Running, None);
                }
                match self.transfers.copy_of(tag) {
                    Some(copy) => self.file(copy, FileOp::Append(bytes)),
                    None => self.slcp_do(|m| m.image_bytes(now.mono, tag, bytes)),
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
        }
    }

    /// A local user is gone: what it was sending ends, and so does what it was being sent, save
    /// what is whole already, which the box's own user gets.
    pub(super) fn user_removed(&mut self, now: Now, user: UserId) {
        let error = IoError::new(Trouble::Missing, "its sender is no user of this node now");
        let mut tags = Vec::new();
        for out in self.transfers.outgoing.values() {
            tags.extend(out.to.iter().filter(|l| l.user == user).map(|l| l.tag));
        }
        // from the last to the first, so that nobody is begun with on the way
        for tag in tags.into_iter().rev() {
            let waits = |out: &mut Outgoing| {
                let at = out.to.iter().position(|l| l.tag == tag)?;
                if at > 0 { out.to.remove(at) } else { None }
            };
            if self.transfers.outgoing.values_mut().find_map(waits).is_some() {
                self.set_state(now, tag, Delivery::Failed, Some(error.text.clone()));
            } else {
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
        }
        let own = self.users.acting(None).unwrap_or(user);
        let mut ended = Vec::new();
        for (key, incoming) in &mut self.transfers.incoming {
            match incoming.user == user {
                true if incoming.ended => incoming.user = own,
                true => ended.push(*key),
                false => {}
            }
        }
        for key in ended {
            self.fail_incoming(now, key, "its recipient is no user of this node now");
        }
    }
}
