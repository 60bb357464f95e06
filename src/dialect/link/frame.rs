//! What two boxes say to each other inside a session: one frame per sealed record.
//!
//! A record on the wire is its length in two bytes, then the sealed bytes; inside stands one byte
//! that says which frame it is, and its fields. A frame nobody knows is passed over, and so is
//! what follows the fields that are known: later versions append.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::files::{FileFrame, Offer, Verdict};
use super::machine::{MAX_READ, MAX_TOLD};
use super::noise::{Fingerprint, TAG};
use super::rooms::{self, wire::Part};
use super::wire::{BadWire, Reader, Writer};
use crate::model::limits::{LINK_TEXT, MAX_USERS};
use crate::model::{EntryId, Handle, Wall};

/// The version that this program speaks.
pub const VERSION: u8 = 1;
/// Addresses that a box tells of itself.
pub const MAX_ADDRESSES: usize = 8;
/// A sealed record's largest length: what two bytes can say.
pub const MAX_RECORD: usize = u16::MAX as usize;
/// The largest frame.
pub const MAX_FRAME: usize = MAX_RECORD - TAG;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first of each side.
    Hello(Hello),
    /// All users of the speaker that are in the chat, and its IPv4 addresses (so that who is met
    /// in a plain dialect too is known to be the same); replaces what was said before.
    Users(Vec<User>, Vec<Ipv4Addr>),
    /// To be answered with the same number.
    Ping(u64),
    /// The answer.
    Pong(u64),
    /// The session ends: why, for people.
    Bye(String),
    /// What is sealed after this is sealed with the next key.
    Rekey,
    /// The speaker's messages begin anew under this epoch.
    Stream(u64),
    /// A message, in order of its number.
    Message(Message),
    /// All messages up to this number are durable here.
    Ack(u64),
    /// This message was taken and refused, for good: why, for people.
    Refuse(u64, String),
    /// About a room: bytes 24 to 29.
    Room(Part),
    /// These messages of the hearer's were read, at most [`MAX_READ`].
    Read(Vec<EntryId>),
    /// Where other boxes are, at most [`MAX_TOLD`].
    Peers(Vec<(Fingerprint, SocketAddr)>),
    /// About a file (`files`).
    File(FileFrame),
    /// One of a later version, or rubbish of an authenticated peer: to be passed over.
    Unknown(u8),
}

/// How a side begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The highest version it speaks: the lower of both holds.
    pub version: u8,
    /// What it can beside that.
    pub capabilities: u32,
    /// Random, names this run of it.
    pub run: u64,
    /// Its session port.
    pub port: u16,
    /// The epoch of the messages it will send.
    pub epoch: u64,
    /// Of the hearer's messages: the epoch it knows (0: none) …
    pub got_epoch: u64,
    /// … and the last number that is durable.
    pub got: u64,
}

/// A user, as his box tells of him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// His handle.
    pub handle: Handle,
    /// A guest: his handle is not pinned.
    pub guest: bool,
    /// Away, with what he said.
    pub away: Option<String>,
}

/// One message from a user of one box to a user of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the sender's stream: grows, may skip.
    pub seq: u64,
    /// What the sender calls it.
    pub entry: EntryId,
    /// Who wrote it.
    pub from: Handle,
    /// For whom.
    pub to: Handle,
    /// When, by the sender's clock.
    pub said: Wall,
    /// What.
    pub content: Content,
}

/// What a message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text {
        /// It, at most [`LINK_TEXT`] bytes.
        text: String,
        /// An automatic answer.
        autoreply: bool,
        /// Said to everyone, not to him alone.
        lobby: bool,
    },
    /// A file, or a folder.
    Offer(Offer),
    /// What became of one.
    Verdict(Verdict),
    /// Something of a later version.
    Unknown(u8),
}

impl Frame {
    /// As bytes, at most [`MAX_FRAME`].
    pub fn encode(&self) -> Vec<u8> {
        let to = match self {
            // the only long one: not made room for by doubling
            Frame::File(FileFrame::Chunk { bytes, .. }) => Vec::with_capacity(bytes.len() + 32),
            _ => Vec::new(),
        };
        let to = Writer(to);
        match self {
            Frame::Hello(h) => {
                let to = to.u8(1).u8(h.version).u32(h.capabilities).u64(h.run).u16(h.port);
                to.u64(h.epoch).u64(h.got_epoch).u64(h.got)
            }
            Frame::Users(users, at) => {
                let users = &users[..users.len().min(MAX_USERS)];
                let to = to.u8(2).u8(u8::try_from(users.len()).unwrap_or(0));
                let to = users.iter().fold(to, |to, user| {
                    let flags = u8::from(user.guest) | u8::from(user.away.is_some()) << 1;
                    let away = user.away.as_deref().unwrap_or_default();
                    to.short(user.handle.as_str()).u8(flags).long(away)
                });
                let at = &at[..at.len().min(MAX_ADDRESSES)];
                let to = to.u8(u8::try_from(at.len()).unwrap_or(0));
                at.iter().fold(to, |to, ip| to.raw(&ip.octets()))
            }
            Frame::Ping(n) => to.u8(3).u64(*n),
            Frame::Pong(n) => to.u8(4).u64(*n),
            Frame::Bye(why) => to.u8(5).short(why),
            Frame::Rekey => to.u8(6),
            Frame::Stream(epoch) => to.u8(7).u64(*epoch),
            Frame::Message(message) => to.u8(8).raw(&message.encode()),
            Frame::Ack(seq) => to.u8(9).u64(*seq),
            Frame::Refuse(seq, why) => to.u8(10).u64(*seq).short(why),
            Frame::Room(part) => part.encode(),
            Frame::Read(entries) => {
                let entries = &entries[..entries.len().min(MAX_READ)];
                let to = to.u8(30).u8(u8::try_from(entries.len()).unwrap_or(0));
                entries.iter().fold(to, |to, entry| to.u64(entry.epoch).u64(entry.n))
            }
            Frame::Peers(peers) => {
                let peers = &peers[..peers.len().min(MAX_TOLD)];
                let to = to.u8(31).u8(u8::try_from(peers.len()).unwrap_or(0));
                peers.iter().fold(to, |to, (of, at)| {
                    let ip = match at.ip() {
                        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                        IpAddr::V6(ip) => ip,
                    };
                    to.raw(&of.0).raw(&ip.octets()).u16(at.port())
                })
            }
            Frame::File(frame) => frame.write(to),
            Frame::Unknown(kind) => to.u8(*kind),
        }
        .0
    }

    /// From the bytes of one opened record.
    ///
    /// # Errors
    /// They are cut off, or a field cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Frame, BadWire> {
        let mut from = Reader(bytes);
        Ok(match from.u8()? {
            1 => Frame::Hello(Hello {
                version: from.u8()?,
                capabilities: from.u32()?,
                run: from.u64()?,
                port: from.u16()?,
                epoch: from.u64()?,
                got_epoch: from.u64()?,
                got: from.u64()?,
            }),
            2 => {
                let count = from.u8()?;
                if usize::from(count) > MAX_USERS {
                    return Err(BadWire::Value("count of users"));
                }
                let users = (0..count).map(|_| take_user(&mut from));
                let users = users.collect::<Result<_, _>>()?;
                let count = from.u8()?;
                if usize::from(count) > MAX_ADDRESSES {
                    return Err(BadWire::Value("count of addresses"));
                }
                let at = (0..count).map(|_| from.u32().map(Ipv4Addr::from));
                Frame::Users(users, at.collect::<Result<_, _>>()?)
            }
            3 => Frame::Ping(from.u64()?),
            4 => Frame::Pong(from.u64()?),
            5 => Frame::Bye(from.short()?.into()),
            6 => Frame::Rekey,
            7 => Frame::Stream(from.u64()?),
            8 => Frame::Message(Message::decode(from.rest())?),
            9 => Frame::Ack(from.u64()?),
            10 => Frame::Refuse(from.u64()?, from.short()?.into()),
            kind @ rooms::wire::FIRST..=rooms::wire::LAST => {
                Frame::Room(Part::decode(kind, &mut from)?)
            }
            30 => {
                let count = from.u8()?;
                if usize::from(count) > MAX_READ {
                    return Err(BadWire::Value("count of messages"));
                }
                let entry = |_| Ok(EntryId { epoch: from.u64()?, n: from.u64()? });
                Frame::Read((0..count).map(entry).collect::<Result<_, BadWire>>()?)
            }
            31 => {
                let count = from.u8()?;
                if usize::from(count) > MAX_TOLD {
                    return Err(BadWire::Value("count of boxes"));
                }
                let peers = (0..count).map(|_| take_peer(&mut from));
                Frame::Peers(peers.collect::<Result<_, _>>()?)
            }
            kind if FileFrame::KINDS.contains(&kind) => {
                Frame::File(FileFrame::read(kind, Reader(from.rest()))?)
            }
            kind => Frame::Unknown(kind),
        })
    }
}

/// A box and its address: IPv4 as RFC 4291, section 2.5.5.2, has it in IPv6.
fn take_peer(from: &mut Reader<'_>) -> Result<(Fingerprint, SocketAddr), BadWire> {
    let (of, ip) = (from.print()?, Ipv6Addr::from(from.print()?.0));
    let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
    Ok((of, SocketAddr::new(ip, from.u16()?)))
}

fn take_user(from: &mut Reader<'_>) -> Result<User, BadWire> {
    let (handle, flags, away) = (from.handle()?, from.u8()?, from.long()?);
    let away = (flags & 2 != 0).then(|| away.to_owned());
    Ok(User { handle, guest: flags & 1 != 0, away })
}

impl Message {
    /// As it stands in a frame and is kept in the outgoing queue.
    pub fn encode(&self) -> Vec<u8> {
        let to = Writer::default().u64(self.seq).u64(self.entry.epoch).u64(self.entry.n);
        let to = to.short(self.from.as_str()).short(self.to.as_str()).u64(self.said.0);
        match &self.content {
            Content::Text { text, autoreply, lobby } => {
                to.u8(1).u8(u8::from(*autoreply) | u8::from(*lobby) << 1).long(text)
            }
            Content::Offer(offer) => offer.write(to.u8(16)),
            Content::Verdict(verdict) => verdict.write(to.u8(17)),
            Content::Unknown(kind) => to.u8(*kind),
        }
        .0
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are cut off, or a field cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Message, BadWire> {
        let mut from = Reader(bytes);
        let seq = from.u64()?;
        // the last number is none, so that counting on never overflows
        if seq == 0 || seq == u64::MAX {
            return Err(BadWire::Value("number"));
        }
        Ok(Message {
            seq,
            entry: EntryId { epoch: from.u64()?, n: from.u64()? },
            from: from.handle()?,
            to: from.handle()?,
            said: Wall(from.u64()?).min(Wall::MAX),
            content: match from.u8()? {
                1 => {
                    let flags = from.u8()?;
                    let text = from.long()?;
                    if text.len() > LINK_TEXT {
                        return Err(BadWire::Value("length of the text"));
                    }
                    let (autoreply, lobby) = (flags & 1 != 0, flags & 2 != 0);
                    Content::Text { text: text.into(), autoreply, lobby }
                }
                16 => Content::Offer(Offer::read(&mut from)?),
                17 => Content::Verdict(Verdict::read(&mut from)?),
                kind => Content::Unknown(kind),
            },
        })
    }
}

/// A fingerprint and a handle: one user of one box.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Far {
    /// His box.
    pub of: Fingerprint,
    /// He.
    pub handle: Handle,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(text: &str) -> Handle {
        Handle::try_from(text).unwrap()
    }

    fn message(content: Content) -> Message {
        Message {
            seq: 7,
            entry: EntryId { epoch: 1, n: 2 },
            from: handle("anna"),
            to: handle("žluťoučký"),
            said: Wall(1_795_228_536_764),
            content,
        }
    }

    fn all() -> Vec<Frame> {
        vec![
            Frame::Hello(Hello {
                version: 1,
                capabilities: 5,
                run: 9,
                port: 5009,
                epoch: 5,
                got_epoch: 6,
                got: 8,
            }),
            Frame::Users(
                vec![
                    User { handle: handle("anna"), guest: false, away: Some("lunch".into()) },
                    User { handle: handle("phone"), guest: true, away: None },
                ],
                vec![Ipv4Addr::new(192, 0, 2, 7)],
            ),
            Frame::Ping(1),
            Frame::Pong(1),
            Frame::Bye("stopped".into()),
            Frame::Rekey,
            Frame::Stream(77),
            Frame::Message(message(Content::Text {
                text: "hi".into(),
                autoreply: true,
                lobby: true,
            })),
            Frame::Ack(7),
            Frame::Refuse(7, "nobody of that name".into()),
            Frame::Read(vec![EntryId { epoch: 1, n: 2 }]),
            Frame::Peers(vec![
                (Fingerprint([7; 16]), "192.0.2.7:5009".parse().unwrap()),
                (Fingerprint([8; 16]), "[2001:db8::1]:5009".parse().unwrap()),
            ]),
            Frame::Room(Part::Here {
                room: "coffee".try_into().unwrap(),
                version: 3,
                member: true,
                users: vec![handle("anna")],
            }),
        ]
    }

    #[test]
    fn every_frame_reads_back() {
        for frame in all() {
            assert_eq!(Frame::decode(&frame.encode()), Ok(frame.clone()), "{frame:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_frame_is_refused() {
        for frame in all() {
            let bytes = frame.encode();
            for len in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..len]).is_err(), "{frame:?} cut to {len}");
            }
        }
    }

    #[test]
    fn what_later_versions_append_or_add_is_passed_over() {
        for frame in all() {
            let mut bytes = frame.encode();
            bytes.extend(b"more");
            assert_eq!(Frame::decode(&bytes), Ok(frame));
        }
        assert_eq!(Frame::decode(b"\xc8whatever"), Ok(Frame::Unknown(200)));
        let later = Frame::Message(message(Content::Unknown(99)));
        assert_eq!(Frame::decode(&later.encode()), Ok(later));
    }

    /// Found by fuzzing: the room of a message stood as it was spelt, and was written in small.
    #[test]
    fn a_room_in_capitals_reads_back_as_what_its_seals_are_over() {
        let said = crate::dialect::link::rooms::wire::Said {
            room: "Coffee".try_into().unwrap(),
            author: crate::dialect::link::noise::Key([1; 32]),
            epoch: 1,
            seq: 1,
            entry: EntryId { epoch: 1, n: 1 },
            from: handle("anna"),
            at: Wall(0),
            text: "hi".into(),
            heads: Vec::new(),
            seals: Vec::new(),
        };
        let mut bytes = Frame::Room(Part::Said(said)).encode();
        let at = bytes.iter().position(|b| *b == b'c').unwrap();
        bytes[at] = b'C';
        let Ok(Frame::Room(Part::Said(read))) = Frame::decode(&bytes) else { panic!("not read") };
        assert_eq!(read.room.as_str(), "coffee");
    }

    #[test]
    fn a_text_one_byte_past_the_limit_is_refused() {
        let of = |len| {
            let content = Content::Text { text: "x".repeat(len), autoreply: false, lobby: false };
            Frame::decode(&Frame::Message(message(content)).encode())
        };
        assert!(of(LINK_TEXT).is_ok());
        assert_eq!(of(LINK_TEXT + 1), Err(BadWire::Value("length of the text")));
    }

    #[test]
    fn the_longest_frames_fit_a_record() {
        let long = handle(&"x".repeat(64));
        let user = User { handle: long.clone(), guest: false, away: Some("y".repeat(400)) };
        assert!(
            Frame::Users(vec![user; MAX_USERS], vec![Ipv4Addr::LOCALHOST; MAX_ADDRESSES])
                .encode()
                .len()
                <= MAX_FRAME
        );
        let content = Content::Text { text: "z".repeat(LINK_TEXT), autoreply: false, lobby: false };
        let message = Message { from: long.clone(), to: long, ..message(content) };
        assert!(Frame::Message(message).encode().len() <= MAX_FRAME);
    }
}
