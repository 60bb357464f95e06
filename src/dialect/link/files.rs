//! What is said of files: offers and what became of them (both kept messages, see `queue`), and
//! the frames that carry a file once it is accepted.
//!
//! Who takes a file asks for it (`Want`) from where he has it, and lets so many bytes come at a
//! time (`Grant`); who gives it answers only that. So a slow disk holds the sender, what is lost
//! with a session is asked for again, and texts never wait behind more than the window.

use super::wire::{BadWire, Reader, Writer};
use crate::model::EntryId;
use crate::model::limits::{LINK_CHUNK, LINK_DEPTH, LINK_FOLDER_FILES, LINK_PATH};

/// A file, or a folder as a row of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What its sender calls it: for people, never a path.
    pub name: String,
    /// A folder.
    pub folder: bool,
    /// How many files.
    pub files: u32,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What the sender takes it for: `png` …, `unknown`.
    pub format: String,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The offer's entry, as its sender calls it.
    pub id: EntryId,
    /// Said by who gave; else by who took.
    pub giver: bool,
    /// How.
    pub outcome: Outcome,
    /// Why, for people.
    pub why: String,
}

/// See [`Verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is on the taker's disk, and is what was sent.
    Done,
    /// Not wanted.
    Refused,
    /// Ended by a person, on either side.
    Cancelled,
    /// It cannot be.
    Failed,
}

impl Offer {
    pub(super) fn write(&self, to: Writer) -> Writer {
        let to = to.u8(u8::from(self.folder)).u32(self.files).u64(self.bytes);
        to.short(&self.name).short(&self.format)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Offer, BadWire> {
        let (flags, files, bytes) = (from.u8()?, from.u32()?, from.u64()?);
        let folder = flags & 1 != 0;
        let fits = if folder { files as usize <= LINK_FOLDER_FILES } else { files == 1 };
        if !fits {
            return Err(BadWire::Value("count of files"));
        }
        let (name, format) = (from.short()?.to_owned(), from.short()?.to_owned());
        Ok(Offer { name, folder, files, bytes, format })
    }
}

impl Verdict {
    pub(super) fn write(&self, to: Writer) -> Writer {
        let outcome = match self.outcome {
            Outcome::Done => 1,
            Outcome::Refused => 2,
            Outcome::Cancelled => 3,
            Outcome::Failed => 4,
        };
        put_id(to, self.id).u8(u8::from(self.giver)).u8(outcome).short(&self.why)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Verdict, BadWire> {
        let (id, giver) = (take_id(from)?, from.u8()? != 0);
        let outcome = match from.u8()? {
            1 => Outcome::Done,
            2 => Outcome::Refused,
            3 => Outcome::Cancelled,
            _ => Outcome::Failed, // of a later version: it is over in any case
        };
        Ok(Verdict { id, giver, outcome, why: from.short()?.into() })
    }
}

/// A frame about an accepted file. `turn` names one asking for it: what answers an earlier one
/// is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFrame {
    /// Taker: send file `index` from `offset` on, up to `upto`.
    Want {
        /// The transfer.
        id: EntryId,
        /// Names this asking.
        turn: u32,
        /// Which of its files, from 0.
        index: u32,
        /// From this byte on …
        offset: u64,
        /// … and not beyond this one.
        upto: u64,
    },
    /// Taker: send on, up to here.
    Grant {
        /// The transfer.
        id: EntryId,
        /// As in `Want`.
        turn: u32,
        /// The first byte not to be sent.
        upto: u64,
    },
    /// Giver: what the file is that was asked for.
    File {
        /// The transfer.
        id: EntryId,
        /// As in `Want`.
        turn: u32,
        /// Its bytes, all of them.
        size: u64,
        /// Its place in the folder, names with `/` between; of a single file empty.
        path: String,
    },
    /// Giver: bytes, in order.
    Chunk {
        /// The transfer.
        id: EntryId,
        /// As in `Want`.
        turn: u32,
        /// Where they belong.
        offset: u64,
        /// They, at most [`LINK_CHUNK`].
        bytes: Vec<u8>,
    },
    /// Giver: the file is whole; BLAKE2s over all of it.
    End {
        /// The transfer.
        id: EntryId,
        /// As in `Want`.
        turn: u32,
        /// The hash.
        sum: [u8; 32],
    },
    /// Either: it is to rest, or to go on.
    Pause {
        /// The transfer.
        id: EntryId,
        /// Said by who gives.
        giver: bool,
        /// It rests.
        paused: bool,
        /// Why, for people.
        why: String,
    },
    /// Giver: it knows of no such transfer (any more).
    Gone {
        /// The transfer.
        id: EntryId,
    },
}

fn put_id(to: Writer, id: EntryId) -> Writer {
    to.u64(id.epoch).u64(id.n)
}

fn take_id(from: &mut Reader<'_>) -> Result<EntryId, BadWire> {
    Ok(EntryId { epoch: from.u64()?, n: from.u64()? })
}

impl FileFrame {
    /// The bytes that name these frames.
    pub const KINDS: std::ops::RangeInclusive<u8> = 16..=22;

    pub(super) fn write(&self, to: Writer) -> Writer {
        match self {
            FileFrame::Want { id, turn, index, offset, upto } => {
                put_id(to.u8(16), *id).u32(*turn).u32(*index).u64(*offset).u64(*upto)
            }
            FileFrame::Grant { id, turn, upto } => put_id(to.u8(17), *id).u32(*turn).u64(*upto),
            FileFrame::File { id, turn, size, path } => {
                put_id(to.u8(18), *id).u32(*turn).u64(*size).long(path)
            }
            FileFrame::Chunk { id, turn, offset, bytes } => {
                put_id(to.u8(19), *id).u32(*turn).u64(*offset).raw(bytes)
            }
            FileFrame::End { id, turn, sum } => put_id(to.u8(20), *id).u32(*turn).raw(sum),
            FileFrame::Pause { id, giver, paused, why } => {
                let flags = u8::from(*giver) | u8::from(*paused) << 1;
                put_id(to.u8(21), *id).u8(flags).short(why)
            }
            FileFrame::Gone { id } => put_id(to.u8(22), *id),
        }
    }

    /// What follows the byte `kind`, one of [`FileFrame::KINDS`].
    pub(super) fn read(kind: u8, mut from: Reader<'_>) -> Result<FileFrame, BadWire> {
        let id = take_id(&mut from)?;
        Ok(match kind {
            16 => FileFrame::Want {
                id,
                turn: from.u32()?,
                index: from.u32()?,
                offset: from.u64()?,
                upto: from.u64()?,
            },
            17 => FileFrame::Grant { id, turn: from.u32()?, upto: from.u64()? },
            18 => {
                let (turn, size, path) = (from.u32()?, from.u64()?, from.long()?);
                if path.len() > LINK_PATH {
                    return Err(BadWire::Value("length of a path"));
                }
                FileFrame::File { id, turn, size, path: path.into() }
            }
            19 => {
                let (turn, offset, bytes) = (from.u32()?, from.u64()?, from.rest());
                if bytes.is_empty() || bytes.len() > LINK_CHUNK {
                    return Err(BadWire::Value("length of a piece"));
                }
                FileFrame::Chunk { id, turn, offset, bytes: bytes.into() }
            }
            20 => FileFrame::End { id, turn: from.u32()?, sum: from.hash()? },
            21 => {
                let (flags, why) = (from.u8()?, from.short()?.into());
                let (giver, paused) = (flags & 1 != 0, flags & 2 != 0);
                FileFrame::Pause { id, giver, paused, why }
            }
            _ => FileFrame::Gone { id },
        })
    }
}

/// The names a path within a folder consists of; `None`: it could lead out of the folder, or is
/// no path that an honest box sends.
pub fn names_of(path: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = path.split('/').collect();
    let bad = |name: &&str| name.is_empty() || *name == "." || *name == ".." || name.contains('\0');
    let fits = path.len() <= LINK_PATH && names.len() <= LINK_DEPTH + 1;
    (fits && !names.iter().any(bad)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::link::frame::{Frame, MAX_FRAME};

    const ID: EntryId = EntryId { epoch: 7, n: 8 };

    fn all() -> Vec<FileFrame> {
        let (id, turn) = (ID, 3);
        vec![
            FileFrame::Want { id, turn, index: 4, offset: 5, upto: 6 },
            FileFrame::Grant { id, turn, upto: 6 },
            FileFrame::File { id, turn, size: 9, path: "a/b ž".into() },
            FileFrame::End { id, turn, sum: [5; 32] },
            FileFrame::Pause { id, giver: true, paused: true, why: "lunch".into() },
            FileFrame::Gone { id },
            FileFrame::Chunk { id, turn, offset: 1 << 40, bytes: vec![1, 2, 3] },
        ]
    }

    #[test]
    fn every_frame_reads_back_and_every_beginning_of_one_is_refused() {
        for frame in all().into_iter().map(Frame::File) {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
            let chunk = matches!(frame, Frame::File(FileFrame::Chunk { .. }));
            let least = if chunk { 1 + 16 + 4 + 8 } else { bytes.len() - 1 };
            for len in 0..=least {
                assert!(Frame::decode(&bytes[..len]).is_err(), "{frame:?} cut to {len}");
            }
        }
    }

    #[test]
    fn a_piece_one_byte_past_the_limit_is_refused_and_the_longest_fits_a_record() {
        let of = |len| {
            let bytes = vec![7; len];
            Frame::File(FileFrame::Chunk { id: ID, turn: 1, offset: 0, bytes }).encode()
        };
        assert!(of(LINK_CHUNK).len() <= MAX_FRAME);
        assert!(Frame::decode(&of(LINK_CHUNK)).is_ok());
        assert!(Frame::decode(&of(LINK_CHUNK + 1)).is_err());
        assert!(Frame::decode(&of(0)).is_err());
    }

    #[test]
    fn a_path_that_leads_out_of_the_folder_is_none() {
        for good in ["a", "a/b", "a b/č.txt", "..a/b..", "..."] {
            assert!(names_of(good).is_some(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "../a", "a/..", "a/../b", ".", "a/./b", "a\0"] {
            assert!(names_of(bad).is_none(), "{bad:?}");
        }
        let deep = |n| vec!["x"; n].join("/");
        assert!(names_of(&deep(LINK_DEPTH + 1)).is_some());
        assert!(names_of(&deep(LINK_DEPTH + 2)).is_none());
        assert!(names_of(&"x".repeat(LINK_PATH)).is_some());
        assert!(names_of(&"x".repeat(LINK_PATH + 1)).is_none());
    }

    #[test]
    fn an_offer_of_more_files_than_a_folder_may_have_is_refused() {
        let of = |folder, files| {
            let (name, format) = ("x".to_owned(), "unknown".to_owned());
            let offer = Offer { name, folder, files, bytes: 1, format };
            Offer::read(&mut Reader(&offer.write(Writer::default()).0)).map(|_| ())
        };
        let most = u32::try_from(LINK_FOLDER_FILES).unwrap();
        assert!(of(true, most).is_ok() && of(true, 0).is_ok() && of(false, 1).is_ok());
        assert!(of(true, most + 1).is_err() && of(false, 2).is_err() && of(false, 0).is_err());
    }
}
