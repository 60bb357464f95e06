//! One room: who is in it, which messages are known and kept, and what of that is durable.

use std::collections::VecDeque;

use super::wire::{Mark, Part, Said, handles, room};
use super::{Post, Rooms};
use crate::dialect::link::frame::Far;
use crate::dialect::link::noise::{Fingerprint, Key};
use crate::dialect::link::queue::Row;
use crate::dialect::link::wire::{BadWire, Reader, Writer};
use crate::model::limits::{ROOM_KEPT, ROOM_KEPT_BYTES, ROOM_LOGS, ROOM_MEMBERS};
use crate::model::{EntryId, Handle, Map, Millis, RoomName, Set};

/// Boxes that are known to have more of a stream.
pub(super) const MAX_SOURCES: usize = 8;
/// Streams of one author: a box begins another one where its store was an older one.
const MAX_EPOCHS: usize = 4;
/// Messages that no other one names; the oldest go.
const MAX_KNOWN_HEADS: usize = ROOM_MEMBERS;

/// See the module.
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Our users; none: we left, and remember only which messages we had.
    pub(super) users: Vec<Handle>,
    /// Those of them that others were told of.
    pub(super) told_users: Vec<Handle>,
    pub(super) version: u64,
    /// The stream that our messages go into.
    pub(super) epoch: u64,
    /// The one before, if it was begun anew in this run.
    pub(super) renewed: Option<u64>,
    pub(super) members: Map<Fingerprint, Member>,
    /// All streams, ours too.
    pub(super) logs: Map<(Fingerprint, u64), Log>,
    /// In the order they were told.
    pub(super) kept: VecDeque<Kept>,
    pub(super) kept_bytes: usize,
    /// The number of the next row of those.
    pub(super) next_row: u64,
    /// Messages that no other one names: [`MAX_KNOWN_HEADS`].
    pub(super) heads: Vec<Mark>,
    pub(super) posts: VecDeque<Post>,
    pub(super) waiting: Map<Mark, Waiting>,
    pub(super) waiting_bytes: usize,
    pub(super) writing: Option<super::take::Batch>,
    /// Nothing is written before this: the disk refused.
    pub(super) retry_at: Millis,
    /// When the last message was taken.
    pub(super) progress: Millis,
    /// Counts changes that others are to be told of …
    pub(super) rev: u64,
    /// … and up to which each box was told.
    pub(super) told: Map<Fingerprint, Abreast>,
    pub(super) gossip_at: Option<Millis>,
}

/// How far a box with a session was told what is new: up to these [`Room::rev`]s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Abreast {
    /// Of what we have.
    pub(super) marks: u64,
    /// Of who is in, or that was asked …
    pub(super) members: u64,
    /// … when it had been told up to this.
    pub(super) asked: Option<u64>,
}

/// Another box that is in, or was.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) member: bool,
    pub(super) users: Vec<Handle>,
    /// It said so itself: what others say of it counts no more.
    pub(super) first_hand: bool,
    pub(super) rev: u64,
    /// What only it and we know, once needed.
    pub(super) shared: Option<Option<[u8; 32]>>,
    /// The last of our messages that is for it.
    pub(super) last: u64,
    /// The last of our messages that is durable there.
    pub(super) acked: u64,
    /// The same of the stream before, if it was begun anew in this run.
    pub(super) acked_before: u64,
    /// Whose word it is that it is in, where it is not its own.
    pub(super) told_by: Option<Fingerprint>,
}

impl Member {
    pub(super) fn fars(&self, of: Fingerprint) -> impl Iterator<Item = Far> + '_ {
        self.users.iter().map(move |user| Far { of, handle: user.clone() })
    }
}

/// A stream of messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The last that was taken.
    pub(super) upto: u64,
    pub(super) rev: u64,
    /// Its author's box itself said that up to here it has no more for us than it gave.
    pub(super) void: u64,
    pub(super) sources: Vec<Source>,
    /// Who is asked for more, and until when.
    pub(super) asked: Option<(Fingerprint, Millis)>,
    /// When it was asked for last: each has its turn.
    pub(super) asked_at: Millis,
    /// Not asked for before this: there was no place for what came.
    pub(super) again: Millis,
}

/// A box that says it has more.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) of: Fingerprint,
    pub(super) upto: u64,
    /// It gave all it has for us up to this.
    pub(super) ended: u64,
    /// It did not answer: not asked before this.
    pub(super) not_before: Millis,
}

impl Log {
    /// A box is said to have all up to this.
    pub(super) fn source(&mut self, of: Fingerprint, upto: u64, author: bool) {
        if upto <= self.upto {
            return;
        }
        if let Some(source) = self.sources.iter_mut().find(|s| s.of == of) {
            source.upto = source.upto.max(upto);
            return;
        }
        let source = Source { of, upto, ended: 0, not_before: 0 };
        if self.sources.len() >= MAX_SOURCES {
            let worst = self.sources.iter().position(|s| s.ended >= s.upto).or(author.then_some(0));
            let Some(worst) = worst else { return };
            self.sources.remove(worst);
        }
        self.sources.push(source);
    }

    /// There is no session with it any more.
    pub(super) fn lost(&mut self, of: Fingerprint) {
        self.sources.retain(|s| s.of != of);
        if self.asked.is_some_and(|(from, _)| from == of) {
            self.asked = None;
        }
    }
}

/// A message that is kept for others.
pub(super) struct Kept {
    pub(super) row: u64,
    pub(super) said: Said,
    pub(super) bytes: usize,
    pub(super) since: Millis,
}

/// A message that came, and is proven, but not told yet.
pub(super) struct Waiting {
    pub(super) said: Said,
    pub(super) via: Fingerprint,
    pub(super) since: Millis,
    pub(super) bytes: usize,
    /// The message of that stream for us before it.
    pub(super) prev: u64,
    pub(super) mask: u16,
}

impl Room {
    pub(super) fn new(name: RoomName) -> Room {
        Room {
            name,
            users: Vec::new(),
            told_users: Vec::new(),
            version: 0,
            epoch: 0,
            renewed: None,
            members: Map::new(),
            logs: Map::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            next_row: 1,
            heads: Vec::new(),
            posts: VecDeque::new(),
            waiting: Map::new(),
            waiting_bytes: 0,
            writing: None,
            retry_at: 0,
            progress: 0,
            rev: 1,
            told: Map::new(),
            gossip_at: None,
        }
    }

    /// Whether one of our users is in.
    pub(super) fn is_in(&self) -> bool {
        !self.users.is_empty()
    }

    /// Our users in it that are in the chat.
    pub(super) fn shown(&self, present: &[Handle]) -> Vec<Handle> {
        let here = |u: &&Handle| present.iter().any(|p| p.is(u.as_str()));
        self.users.iter().filter(here).cloned().collect()
    }

    pub(super) fn here(&self) -> Part {
        Part::Here {
            room: self.name.clone(),
            version: self.version,
            member: self.is_in(),
            users: self.told_users.clone(),
        }
    }

    pub(super) fn upto(&self, of: Fingerprint, epoch: u64) -> u64 {
        self.logs.get(&(of, epoch)).map_or(0, |log| log.upto)
    }

    /// The stream's entry, made if there is a place for one more: for one that is only claimed
    /// (not `proven`) none goes of which something was taken. A fifth of one author takes the
    /// place of his own; and streams of who is here by his own word go for such alone.
    pub(super) fn log(
        &mut self,
        of: Fingerprint,
        epoch: u64,
        proven: bool,
    ) -> Option<(&mut Log, Vec<Row>)> {
        let mut rows = Vec::new();
        let own = self.logs.range((of, 0)..=(of, u64::MAX)).count() >= MAX_EPOCHS;
        if !self.logs.contains_key(&(of, epoch)) && (own || self.logs.len() >= ROOM_LOGS) {
            let least = self.spare_log(of, own, proven)?;
            self.heads.retain(|h| (h.of, h.epoch) != least);
            if self.logs.remove(&least).is_some_and(|log| log.upto > 0) {
                rows.push(Row::delete(log_key(&self.name, least)));
            }
        }
        Some((self.logs.entry((of, epoch)).or_default(), rows))
    }

    /// Which stream goes for a new one of this author; `own`: one of his.
    fn spare_log(&self, of: Fingerprint, own: bool, proven: bool) -> Option<(Fingerprint, u64)> {
        let here = |of: &Fingerprint| self.members.get(of).is_some_and(|m| m.first_hand);
        let all = || self.logs.iter().filter(|(key, _)| !own || key.0 == of);
        let claimed = all().filter(|(_, log)| log.upto == 0);
        // what its author itself says goes last
        let worth = |key: &(Fingerprint, u64), log: &Log| {
            (log.sources.iter().any(|s| s.of == key.0), log.rev)
        };
        let least = claimed.min_by_key(|(key, log)| worth(key, log)).map(|(key, _)| *key);
        if least.is_some() || !proven {
            return least;
        }
        let log = |k: &Kept| (k.said.author.fingerprint(), k.said.epoch);
        let kept: Set<(Fingerprint, u64)> = self.kept.iter().map(log).collect();
        let spare = |key: &(Fingerprint, u64)| {
            key.1 != self.epoch && (own || (!kept.contains(key) && (here(&of) || !here(&key.0))))
        };
        let all = all().filter(|(key, _)| spare(key));
        all.min_by_key(|(key, log)| (here(&key.0), log.rev)).map(|(key, _)| *key)
    }

    /// A message became one of those that are known.
    pub(super) fn note_head(&mut self, said: &Said) {
        let mark = said.mark();
        let before = |h: &Mark| h.of == mark.of && h.epoch == mark.epoch && h.seq <= mark.seq;
        self.heads.retain(|h| !said.heads.contains(h) && !before(h));
        self.heads.push(mark);
        let surplus = self.heads.len().saturating_sub(MAX_KNOWN_HEADS);
        self.heads.drain(..surplus);
    }

    /// Puts a message among those that are kept.
    pub(super) fn keep(&mut self, now: Millis, row: u64, said: Said, ours: bool) {
        self.note_head(&said);
        if ours {
            self.note_last(&said);
        }
        let bytes = said.encode().len();
        self.kept_bytes += bytes;
        self.kept.push_back(Kept { row, said, bytes, since: now });
    }

    /// It is the last of ours for those it is for.
    fn note_last(&mut self, said: &Said) {
        for (of, member) in &mut self.members {
            if said.seal_of(*of).is_some() {
                member.last = member.last.max(said.seq);
            }
        }
    }

    /// Whether something of ours was for this box.
    pub(super) fn wrote_to(&self, of: Fingerprint) -> bool {
        self.members.get(&of).is_some_and(|m| m.last > 0 || m.acked > 0)
    }

    /// What is too much or too old goes; the rows that go with it.
    pub(super) fn prune(&mut self, now: Millis, keep: Millis) -> Vec<Row> {
        let mut rows = Vec::new();
        while let Some(first) = self.kept.front() {
            let much = self.kept.len() > ROOM_KEPT || self.kept_bytes > ROOM_KEPT_BYTES;
            if !much && first.since.saturating_add(keep) > now {
                break;
            }
            let which = if much { self.surplus() } else { 0 };
            let Some(gone) = self.kept.remove(which) else { break };
            rows.push(Row::delete(message_key(&self.name, gone.row)));
            self.kept_bytes -= gone.bytes;
        }
        rows
    }

    /// Which kept message goes when there are too many: the oldest of the author that has most
    /// of the place, if that is more than a quarter; else the oldest.
    fn surplus(&self) -> usize {
        const SHARE: usize = ROOM_KEPT_BYTES / ROOM_KEPT;
        let mut shares: Map<[u8; 32], usize> = Map::new();
        for kept in &self.kept {
            *shares.entry(kept.said.author.0).or_default() += kept.bytes.max(SHARE);
        }
        let most = shares.iter().max_by_key(|(_, share)| **share);
        let most = most.filter(|(_, share)| **share > ROOM_KEPT_BYTES / 4);
        let his = |k: &Kept| most.is_some_and(|(of, _)| *of == k.said.author.0);
        self.kept.iter().position(his).unwrap_or(0)
    }

    /// What is kept for others goes; the rows that go with it.
    pub(super) fn forget_kept(&mut self) -> Vec<Row> {
        self.kept_bytes = 0;
        self.kept.drain(..).map(|k| Row::delete(message_key(&self.name, k.row))).collect()
    }

    /// The last of ours left: what is not said yet will not be, and what goes.
    pub(super) fn left(&mut self) -> (Vec<EntryId>, Vec<Row>) {
        let mut rows = self.forget_kept();
        let members = std::mem::take(&mut self.members);
        rows.extend(members.keys().map(|of| Row::delete(member_key(&self.name, *of))));
        self.logs.values_mut().for_each(|log| (log.sources, log.asked) = (Vec::new(), None));
        self.waiting_bytes = 0;
        self.waiting.clear();
        self.heads.clear();
        self.told.clear();
        self.gossip_at = None;
        (self.posts.drain(..).map(|p| p.entry).collect(), rows)
    }

    /// Nothing is kept of it any more.
    pub(super) fn all_rows_gone(mut self) -> Vec<Row> {
        let (_, mut rows) = self.left();
        rows.extend(self.logs.keys().map(|key| Row::delete(log_key(&self.name, *key))));
        rows.push(Row::delete(room_key(&self.name)));
        rows
    }

    pub(super) fn row(&self) -> Row {
        let to = Writer::default().short(self.name.as_str()).u64(self.version).u64(self.epoch);
        Row::put(room_key(&self.name), to.handles(&self.users).0)
    }

    pub(super) fn log_row(&self, key: (Fingerprint, u64), upto: u64) -> Row {
        Row::put(log_key(&self.name, key), Writer::default().u64(upto).0)
    }

    pub(super) fn member_row(&self, of: Fingerprint, m: &Member) -> Row {
        let to = Writer::default().raw(&m.key.0).u64(m.version).u64(m.acked);
        let to = to.u8(u8::from(m.member) | u8::from(m.first_hand) << 1);
        Row::put(member_key(&self.name, of), to.handles(&m.users).0)
    }

    pub(super) fn message_row(&self, row: u64, said: &Said) -> Row {
        Row::put(message_key(&self.name, row), said.encode())
    }

    /// A place for one more member: who left, or is only heard of, goes for who is here.
    pub(super) fn place_for(&mut self, first_hand: bool) -> Option<Vec<Row>> {
        if self.members.len() < ROOM_MEMBERS {
            return Some(Vec::new());
        }
        let least = |m: &Member| !m.member || (first_hand && !m.first_hand);
        let of = self.members.iter().find(|(_, m)| least(m)).map(|(of, _)| *of)?;
        self.members.remove(&of);
        Some(vec![Row::delete(member_key(&self.name, of))])
    }
}

fn room_key(name: &RoomName) -> String {
    format!("room/{}", name.key())
}

fn log_key(name: &RoomName, (of, epoch): (Fingerprint, u64)) -> String {
    format!("room-log/{}/{of}/{epoch:016x}", name.key())
}

fn member_key(name: &RoomName, of: Fingerprint) -> String {
    format!("room-member/{}/{of}", name.key())
}

fn message_key(name: &RoomName, row: u64) -> String {
    format!("room-said/{}/{row:016x}", name.key())
}

impl Rooms {
    /// Takes back one row; whether it is one of ours. What cannot be read is passed over: a
    /// later version's.
    pub fn restore(&mut self, now: Millis, key: &str, value: &[u8]) -> bool {
        let mut parts = key.split('/');
        let kind = parts.next().unwrap_or_default();
        if !matches!(kind, "room" | "room-log" | "room-member" | "room-said") {
            return false;
        }
        if let Some(Ok(name)) = parts.next().map(RoomName::try_from) {
            let _ = self.restore_row(now, kind, &name, parts, value);
        }
        true
    }

    fn restore_row<'a>(
        &mut self,
        now: Millis,
        kind: &str,
        name: &RoomName,
        mut parts: impl Iterator<Item = &'a str>,
        value: &[u8],
    ) -> Result<(), BadWire> {
        let key = name.key();
        let room_of = self.rooms.entry(key).or_insert_with(|| Room::new(name.clone()));
        let mut from = Reader(value);
        let mut next = || parts.next().unwrap_or_default();
        let bad = |_| BadWire::Value("key");
        match kind {
            "room" => {
                room_of.name = room(&mut from)?;
                (room_of.version, room_of.epoch) = (from.u64()?, from.u64()?);
                room_of.users = handles(&mut from)?;
            }
            "room-log" => {
                let of: Fingerprint = next().parse().map_err(bad)?;
                let epoch = u64::from_str_radix(next(), 16).map_err(|_| BadWire::Value("key"))?;
                let upto = from.u64()?.min(u64::MAX - 1);
                room_of.logs.insert((of, epoch), Log { upto, rev: 1, ..Log::default() });
            }
            "room-member" => {
                let key = Key(from.hash()?);
                let (version, acked, flags) = (from.u64()?, from.u64()?, from.u8()?);
                let member = Member {
                    key,
                    version,
                    member: flags & 1 != 0,
                    users: handles(&mut from)?,
                    first_hand: flags & 2 != 0,
                    rev: 1,
                    shared: None,
                    last: 0,
                    acked,
                    acked_before: 0,
                    told_by: None,
                };
                room_of.members.insert(key.fingerprint(), member);
            }
            _ => {
                let row = u64::from_str_radix(next(), 16).map_err(|_| BadWire::Value("key"))?;
                let said = Said::decode(&mut from)?;
                room_of.next_row = room_of.next_row.max(row.saturating_add(1));
                let bytes = value.len();
                room_of.kept_bytes += bytes;
                room_of.kept.push_back(Kept { row, said, bytes, since: now });
            }
        }
        Ok(())
    }

    /// All rows were taken back.
    pub fn restored(&mut self, now: Millis) {
        self.rooms.retain(|_, room| room.epoch != 0);
        let me = self.me;
        for room in self.rooms.values_mut() {
            let kept: Vec<Said> = room.kept.iter().map(|k| k.said.clone()).collect();
            for said in kept {
                room.note_head(&said);
                if said.author.fingerprint() == me && said.epoch == room.epoch {
                    room.note_last(&said);
                }
            }
        }
        if !self.rooms.is_empty() {
            self.wake_by(now + 1);
        }
    }
}
