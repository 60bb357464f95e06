//! What boxes say to each other of rooms, as bytes; and the seals by which a message proves to
//! each box it is for who wrote it, whoever brings it.
//!
//! X25519 keys cannot sign. But author and addressee share a secret that nobody else has (the
//! Diffie-Hellman of their static keys), so the author seals each message for each box that it
//! knows as a member: 24 bytes for each. Whoever passes a message on can leave out, not forge.

use crate::dialect::link::noise::{Fingerprint, Key, hash};
use crate::dialect::link::wire::{BadWire, Reader, Writer};
use crate::model::limits::{MAX_USERS, ROOM_LOGS, ROOM_MEMBERS, ROOM_TEXT};
use crate::model::{EntryId, Handle, RoomName, Wall};

/// The first frame's byte …
pub const FIRST: u8 = 24;
/// … and the last one's.
pub const LAST: u8 = 29;
/// Messages that one names as said before it.
pub const MAX_HEADS: usize = 15;
/// The bit of a seal's mask that says: the author had a session with that box.
const DIRECT: u16 = 1 << 15;
/// Bytes of a seal's tag.
const TAG: usize = 12;
/// Members told of in one frame: it stays below 16 KiB but for the longest handles.
pub const MEMBERS_IN_FRAME: usize = 16;

/// One frame about a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// 24: whether the speaker is in a room, and which of its users.
    Here {
        /// Which.
        room: RoomName,
        /// Grows with each change.
        version: u64,
        /// It is in.
        member: bool,
        /// Its users there that are in the chat now.
        users: Vec<Handle>,
    },
    /// 25: other boxes of which the speaker heard that they are in.
    Members(RoomName, Vec<Told>),
    /// 26: what the speaker has; and who is in by what it knows, for boxes that compare that.
    Have(RoomName, Vec<Mark>, Option<Roster>),
    /// 27: the speaker wants what it has not of this stream: all above.
    Want(RoomName, Mark),
    /// 28: a message.
    Said(Said),
    /// 29: that was all the speaker can give of this stream, up to here.
    End(RoomName, Mark),
}

/// A member, as somebody else tells of it: believed until it says more itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its key: who it is.
    pub key: Key,
    /// As in [`Part::Here`].
    pub version: u64,
    /// As in [`Part::Here`].
    pub member: bool,
    /// As in [`Part::Here`].
    pub users: Vec<Handle>,
}

/// All that a box knows of who is in a room, in few bytes: two that know the same need not tell
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The beginning of a hash of it.
    pub digest: [u8; 8],
    /// Who knows something else shall say so.
    pub asks: bool,
}

/// A place in the numbered stream of one box in one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Whose stream.
    pub of: Fingerprint,
    /// Random; another one where the box lost its place.
    pub epoch: u64,
    /// The number.
    pub seq: u64,
}

/// A message as its author made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub room: RoomName,
    /// Whose box.
    pub author: Key,
    /// The stream.
    pub epoch: u64,
    /// Its number there: grows by one.
    pub seq: u64,
    /// What the author calls it.
    pub entry: EntryId,
    /// Who wrote it.
    pub from: Handle,
    /// When, by the author's clock.
    pub at: Wall,
    /// What.
    pub text: String,
    /// The messages that its author had seen, and that no other it had seen names.
    pub heads: Vec<Mark>,
    /// One for each box it is for.
    pub seals: Vec<Seal>,
}

/// What a message says to one of the boxes it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The beginning of its fingerprint.
    pub who: [u8; 8],
    /// So many numbers before is the last message of this stream for that box.
    pub back: u16,
    /// Which of the heads are for it too; and [`Seal::is_direct`].
    pub mask: u16,
    tag: [u8; TAG],
}

impl Seal {
    /// The author had a session with that box: it gets the message from it.
    pub fn is_direct(&self) -> bool {
        self.mask & DIRECT != 0
    }
}

impl Said {
    /// Where it stands.
    pub fn mark(&self) -> Mark {
        Mark { of: self.author.fingerprint(), epoch: self.epoch, seq: self.seq }
    }

    /// Makes it one for a box: `shared` is what only the author and that box know.
    pub fn seal_for(&mut self, shared: &[u8; 32], to: &Key, back: u16, mask: u16, direct: bool) {
        let mask = mask & !DIRECT | if direct { DIRECT } else { 0 };
        let mut who = [0; 8];
        who.copy_from_slice(&to.fingerprint().0[..8]);
        let tag = self.tag(shared, to, back, mask);
        self.seals.push(Seal { who, back, mask, tag });
    }

    /// The seal for a box; unproven.
    pub fn seal_of(&self, of: Fingerprint) -> Option<&Seal> {
        self.seals.iter().find(|s| s.who == of.0[..8])
    }

    /// The seal that proves to us that its author made it for us. The first that names us alone
    /// is tried: each trial hashes the whole message, and no honest author makes two.
    pub fn proof(&self, shared: &[u8; 32], me: &Key) -> Option<&Seal> {
        let seal = self.seal_of(me.fingerprint())?;
        (seal.tag == self.tag(shared, me, seal.back, seal.mask)).then_some(seal)
    }

    fn tag(&self, shared: &[u8; 32], to: &Key, back: u16, mask: u16) -> [u8; TAG] {
        let key = hash(&[b"klatsch room", shared, &self.author.0, &to.0]);
        let hash = hash(&[&key, &back.to_be_bytes(), &mask.to_be_bytes(), &self.body().0]);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&hash[..TAG]);
        tag
    }

    fn body(&self) -> Writer {
        let to = Writer::default().short(&self.room.key()).raw(&self.author.0);
        let to = to.u64(self.epoch).u64(self.seq).u64(self.entry.epoch).u64(self.entry.n);
        let to = to.short(self.from.as_str()).u64(self.at.0).long(&self.text);
        let to = to.u8(u8::try_from(self.heads.len()).unwrap_or(0));
        self.heads.iter().fold(to, |to, head| to.mark(head))
    }

    /// As it stands in a frame and is kept.
    pub fn encode(&self) -> Vec<u8> {
        let to = self.body().u16(u16::try_from(self.seals.len()).unwrap_or(0));
        let seals = self.seals.iter();
        seals.fold(to, |to, s| to.raw(&s.who).u16(s.back).u16(s.mask).raw(&s.tag)).0
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are cut off, or a field cannot be.
    pub fn decode(from: &mut Reader<'_>) -> Result<Said, BadWire> {
        // the seals are over the form in which names are compared
        let room = RoomName::try_from(room(from)?.key().as_str());
        let room = room.map_err(|_| BadWire::Value("room"))?;
        let author = Key(from.hash()?);
        let (epoch, seq) = (from.u64()?, from.u64()?);
        // the last number is none, so that counting on never overflows
        if seq == 0 || seq == u64::MAX {
            return Err(BadWire::Value("number"));
        }
        let entry = EntryId { epoch: from.u64()?, n: from.u64()? };
        let (who, at) = (from.handle()?, Wall(from.u64()?).min(Wall::MAX));
        let text = from.long()?;
        if text.len() > ROOM_TEXT {
            return Err(BadWire::Value("length of the text"));
        }
        let count = from.u8()?;
        if usize::from(count) > MAX_HEADS {
            return Err(BadWire::Value("count of heads"));
        }
        let heads = (0..count).map(|_| mark(from)).collect::<Result<_, _>>()?;
        let count = from.u16()?;
        if usize::from(count) > ROOM_MEMBERS {
            return Err(BadWire::Value("count of seals"));
        }
        let seals = (0..count).map(|_| seal(from)).collect::<Result<_, _>>()?;
        let text = text.to_owned();
        Ok(Said { room, author, epoch, seq, entry, from: who, at, text, heads, seals })
    }
}

impl Part {
    /// As a frame.
    pub fn encode(&self) -> Writer {
        let to = Writer::default();
        match self {
            Part::Here { room, version, member, users } => {
                let to = to.u8(24).short(room.as_str()).u64(*version).u8(u8::from(*member));
                to.handles(users)
            }
            Part::Members(room, list) => {
                let list = &list[..list.len().min(MEMBERS_IN_FRAME)];
                let to = to.u8(25).short(room.as_str());
                let to = to.u8(u8::try_from(list.len()).unwrap_or(0));
                list.iter().fold(to, |to, told| {
                    let to = to.raw(&told.key.0).u64(told.version).u8(u8::from(told.member));
                    to.handles(&told.users)
                })
            }
            Part::Have(room, marks, roster) => {
                let marks = &marks[..marks.len().min(ROOM_LOGS)];
                let to = to.u8(26).short(room.as_str());
                let to = to.u16(u16::try_from(marks.len()).unwrap_or(0));
                let to = marks.iter().fold(to, |to, m| to.mark(m));
                roster.iter().fold(to, |to, r| to.raw(&r.digest).u8(u8::from(r.asks)))
            }
            Part::Want(room, mark) => to.u8(27).short(room.as_str()).mark(mark),
            Part::Said(said) => to.u8(28).raw(&said.encode()),
            Part::End(room, mark) => to.u8(29).short(room.as_str()).mark(mark),
        }
    }

    /// From the bytes after the frame's first.
    ///
    /// # Errors
    /// They are cut off, or a field cannot be.
    pub fn decode(kind: u8, from: &mut Reader<'_>) -> Result<Part, BadWire> {
        if kind == 28 {
            return Said::decode(from).map(Part::Said);
        }
        let room = room(from)?;
        Ok(match kind {
            24 => {
                let (version, member) = (from.u64()?, from.u8()? != 0);
                Part::Here { room, version, member, users: handles(from)? }
            }
            25 => {
                let count = from.u8()?;
                if usize::from(count) > MEMBERS_IN_FRAME {
                    return Err(BadWire::Value("count of members"));
                }
                let list = (0..count).map(|_| told(from));
                Part::Members(room, list.collect::<Result<_, _>>()?)
            }
            26 => {
                let count = from.u16()?;
                if usize::from(count) > ROOM_LOGS {
                    return Err(BadWire::Value("count of streams"));
                }
                let marks = (0..count).map(|_| mark(from)).collect::<Result<_, _>>()?;
                // who does not compare ends here
                let roster = if from.0.is_empty() { None } else { Some(roster(from)?) };
                Part::Have(room, marks, roster)
            }
            27 => Part::Want(room, mark(from)?),
            29 => Part::End(room, mark(from)?),
            _ => return Err(BadWire::Value("kind")),
        })
    }
}

impl Writer {
    fn mark(self, mark: &Mark) -> Writer {
        self.raw(&mark.of.0).u64(mark.epoch).u64(mark.seq)
    }

    /// At most [`MAX_USERS`] of them.
    pub(super) fn handles(self, handles: &[Handle]) -> Writer {
        let handles = &handles[..handles.len().min(MAX_USERS)];
        let to = self.u8(u8::try_from(handles.len()).unwrap_or(0));
        handles.iter().fold(to, |to, handle| to.short(handle.as_str()))
    }
}

/// A room's name.
pub(super) fn room(from: &mut Reader<'_>) -> Result<RoomName, BadWire> {
    RoomName::try_from(from.short()?).map_err(|_| BadWire::Value("room"))
}

/// At most [`MAX_USERS`] handles.
pub(super) fn handles(from: &mut Reader<'_>) -> Result<Vec<Handle>, BadWire> {
    let count = from.u8()?;
    if usize::from(count) > MAX_USERS {
        return Err(BadWire::Value("count of users"));
    }
    (0..count).map(|_| from.handle()).collect()
}

fn mark(from: &mut Reader<'_>) -> Result<Mark, BadWire> {
    Ok(Mark { of: from.print()?, epoch: from.u64()?, seq: from.u64()? })
}

fn roster(from: &mut Reader<'_>) -> Result<Roster, BadWire> {
    let mut digest = [0; 8];
    digest.copy_from_slice(from.raw(8)?);
    Ok(Roster { digest, asks: from.u8()? != 0 })
}

fn told(from: &mut Reader<'_>) -> Result<Told, BadWire> {
    let key = Key(from.hash()?);
    let (version, member) = (from.u64()?, from.u8()? != 0);
    Ok(Told { key, version, member, users: handles(from)? })
}

fn seal(from: &mut Reader<'_>) -> Result<Seal, BadWire> {
    let mut seal = Seal { who: [0; 8], back: 0, mask: 0, tag: [0; TAG] };
    seal.who.copy_from_slice(from.raw(8)?);
    (seal.back, seal.mask) = (from.u16()?, from.u16()?);
    seal.tag.copy_from_slice(from.raw(TAG)?);
    Ok(seal)
}
