//! From what came, and what is to be said, to what is told: in order, and durable first.
//!
//! One write of a room is under way at a time; what comes meanwhile is in the next. So a write
//! that fails leaves nothing behind but that all of it is tried, or fetched, again.

use super::room::{Room, Waiting};
use super::wire::{MAX_HEADS, Mark, Part, Said};
use super::{Line, Out, Rooms, Write};
use crate::dialect::link::frame::Far;
use crate::dialect::link::noise::{Fingerprint, Key};
use crate::model::limits::{ROOM_WAITING, ROOM_WAITING_BYTES};
use crate::model::{EntryId, Handle, Map, Millis};

/// A message whose causes are missing waits so long after the last one that was taken …
pub const WAIT_MS: Millis = 60_000;
/// … but no longer than this; then it is told, and marked.
pub const WAIT_MOST_MS: Millis = 10 * 60_000;
/// After the disk refused.
const RETRY_MS: Millis = 10_000;
/// Messages in one write.
const IN_BATCH: usize = 64;
/// After there was no place for what came, its stream is asked for again after this.
const AGAIN_MS: Millis = 2_000;
/// What a message that waits counts beside its bytes, when the shares of authors are compared.
const SHARE: usize = ROOM_WAITING_BYTES / ROOM_WAITING;

/// What is being written.
pub(super) struct Batch {
    token: u64,
    came: Vec<(Mark, u64)>,
    posts: Vec<(Said, u64)>,
}

impl Waiting {
    fn due(&self, progress: Millis) -> Millis {
        (self.since.max(progress) + WAIT_MS).min(self.since + WAIT_MOST_MS)
    }
}

/// What is taken, and what is chosen to be.
struct Taken<'a> {
    room: &'a Room,
    me: Fingerprint,
    more: Map<(Fingerprint, u64), u64>,
}

impl Taken<'_> {
    fn upto(&self, of: Fingerprint, epoch: u64) -> u64 {
        let more = self.more.get(&(of, epoch)).copied();
        more.unwrap_or_else(|| self.room.upto(of, epoch))
    }

    /// Whether all that was said before it, and is for us, is there.
    fn has_causes(&self, said: &Said, prev: u64, mask: u16) -> bool {
        let there = |(n, head): (usize, &Mark)| {
            mask & 1 << n == 0 || head.of == self.me || self.is_there(head)
        };
        self.is_there(&Mark { seq: prev, ..said.mark() })
            && said.heads.iter().enumerate().all(there)
    }

    /// Whether a message was taken, or is gone for good.
    fn is_there(&self, mark: &Mark) -> bool {
        let void = self.room.logs.get(&(mark.of, mark.epoch)).map_or(0, |log| log.void);
        let gone = void >= mark.seq && !self.room.waiting.contains_key(mark);
        self.upto(mark.of, mark.epoch) >= mark.seq || gone
    }
}

impl Rooms {
    /// A message came.
    pub(super) fn said(
        &mut self,
        now: Millis,
        via: Fingerprint,
        said: Said,
    ) -> Result<(), &'static str> {
        let (key, mark) = (said.room.key(), said.mark());
        let there = self.boxes.get(&via).is_some_and(|b| b.rooms.contains_key(&key));
        let Some(room) = self.rooms.get(&key).filter(|r| there && r.is_in()) else { return Ok(()) };
        let known = mark.seq <= room.upto(mark.of, mark.epoch) || room.waiting.contains_key(&mark);
        if known || mark.of == self.me || said.seal_of(self.me).is_none() {
            return Ok(());
        }
        if !self.may_bring(now, &key, via, mark.of) {
            if let Some(room) = self.rooms.get_mut(&key) {
                room.fetch_again(now, mark);
                self.wake_by(now + AGAIN_MS);
            }
            return Ok(());
        }
        let shared = self.shared(&key, &said.author);
        let me = self.key;
        let seal = shared.and_then(|shared| said.proof(&shared, &me).cloned());
        let Some(seal) = seal else {
            // whoever passed it on could not see that
            let lie = "it says what it did not seal";
            return if mark.of == via { Err(lie) } else { Ok(()) };
        };
        let back = if seal.back == 0 { said.seq } else { seal.back.into() };
        let prev = said.seq.saturating_sub(back);
        let bytes = said.encode().len();
        let Some(room) = self.rooms.get_mut(&key) else { return Ok(()) };
        let taken = Taken { room, me: self.me, more: Map::new() };
        let ready = taken.has_causes(&said, prev, seal.mask);
        let mut missing: Vec<Mark> = Vec::new();
        if !ready {
            let named = said.heads.iter().enumerate().filter(|(n, _)| seal.mask & 1 << n != 0);
            missing.extend(named.map(|(_, head)| *head).filter(|head| head.of != self.me));
        }
        let mut rows = Vec::new();
        match room.log(mark.of, mark.epoch, true) {
            None => return Ok(()), // too many streams: nothing of a new one is taken
            Some((log, more)) => {
                rows.extend(more);
                log.source(via, mark.seq, via == mark.of);
            }
        }
        for head in missing {
            if let Some((log, more)) = room.log(head.of, head.epoch, false) {
                rows.extend(more);
                log.source(via, head.seq, via == head.of);
            }
        }
        let waiting = Waiting { via, since: now, bytes, prev, mask: seal.mask, said };
        let due = waiting.due(room.progress);
        if room.admit(now, me.fingerprint(), mark, waiting, ready) {
            self.wake_by(due);
        }
        if !rows.is_empty() {
            self.out.push_back(Out::Keep(rows));
        }
        self.step(now, &key);
        self.seek(now, &key);
        Ok(())
    }

    /// Begins the next write of a room, if there is something to be written and none is under
    /// way.
    pub(super) fn step(&mut self, now: Millis, key: &str) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(key) else { return };
        if !room.is_in() || room.writing.is_some() {
            return;
        }
        if now < room.retry_at {
            let at = room.retry_at;
            return self.wake_by(at);
        }
        let chosen = room.choose(now, me);
        let count = room.posts.len().min(IN_BATCH);
        if chosen.is_empty() && count == 0 {
            let due = room.waiting.values().map(|w| w.due(room.progress)).min();
            if let Some(at) = due {
                self.wake_by(at.max(now + 1));
            }
            return;
        }
        let (mut rows, mut lines, mut came) = (Vec::new(), Vec::new(), Vec::new());
        let mut uptos: Map<(Fingerprint, u64), u64> = Map::new();
        for (mark, late) in chosen {
            let Some(waiting) = room.waiting.get(&mark) else { continue };
            let (said, row) = (&waiting.said, room.next_row);
            rows.push(room.message_row(row, said));
            uptos.insert((mark.of, mark.epoch), mark.seq);
            lines.push(Line {
                from: Far { of: mark.of, handle: said.from.clone() },
                at: said.at,
                text: said.text.clone(),
                ours: None,
                late,
            });
            came.push((mark, row));
            room.next_row += 1;
        }
        let (posts, more) = self.number(key, count, &came);
        let Some(room) = self.rooms.get_mut(key) else { return };
        for (said, row) in &posts {
            rows.push(room.message_row(*row, said));
            uptos.insert((me, said.epoch), said.seq);
        }
        lines.extend(more);
        rows.extend(uptos.into_iter().map(|(log, upto)| room.log_row(log, upto)));
        self.next_token += 1;
        let token = self.next_token;
        room.writing = Some(Batch { token, came, posts });
        let (name, users) = (room.name.clone(), room.users.clone());
        self.out.push_back(Out::Write(Write { token, rows, room: name, users, lines }));
    }

    /// Numbers and seals what is to be said: it names what was told, and what is being written
    /// before it.
    fn number(
        &mut self,
        key: &str,
        count: usize,
        came: &[(Mark, u64)],
    ) -> (Vec<(Said, u64)>, Vec<Line>) {
        let (me, author) = (self.me, self.key);
        let (mut made, mut lines) = (Vec::new(), Vec::new());
        if count == 0 {
            return (made, lines);
        }
        let Some(room) = self.rooms.get(key) else { return (made, lines) };
        let members: Vec<Fingerprint> =
            room.members.iter().filter(|(_, m)| m.member).map(|(of, _)| *of).collect();
        let keys = members.iter().filter_map(|of| room.members.get(of));
        let keys: Vec<Key> = keys.map(|m| m.key).collect();
        let shared: Vec<Option<[u8; 32]>> = keys.iter().map(|k| self.shared(key, k)).collect();
        let Some(room) = self.rooms.get_mut(key) else { return (made, lines) };
        // heads as they will be once what came in this write is told
        let mut heads = room.heads.clone();
        for (mark, _) in came {
            let Some(waiting) = room.waiting.get(mark) else { continue };
            heads.retain(|h| !waiting.said.heads.contains(h));
            heads.retain(|h| (h.of, h.epoch) != (mark.of, mark.epoch));
            heads.push(*mark);
        }
        let mut last: Map<Fingerprint, u64> =
            room.members.iter().map(|(of, m)| (*of, m.last)).collect();
        let mut seq = room.upto(me, room.epoch);
        for _ in 0..count {
            let Some(post) = room.posts.pop_front() else { break };
            seq += 1;
            // what is ours comes before it by its number
            heads.retain(|h| h.of != me);
            let named: Vec<Mark> = heads.split_off(heads.len().saturating_sub(MAX_HEADS));
            let mut said = Said {
                room: room.name.clone(),
                author,
                epoch: room.epoch,
                seq,
                entry: post.entry,
                from: post.from,
                at: post.at,
                text: post.text,
                heads: named,
                seals: Vec::new(),
            };
            let mut to = Vec::new();
            for (of, shared) in members.iter().zip(&shared) {
                let (Some(member), Some(shared)) = (room.members.get(of), shared) else { continue };
                let for_it = |head: &Mark| head.of == *of || room.is_for(head, *of);
                let bits = said.heads.iter().enumerate().filter(|(_, h)| for_it(h));
                let mask = bits.fold(0, |mask, (n, _)| mask | 1 << n);
                let before = last.insert(*of, seq).unwrap_or(0);
                let back = match before {
                    0 => 0,
                    before => u16::try_from(seq - before).unwrap_or(0),
                };
                let direct = self.boxes.contains_key(of);
                said.seal_for(shared, &member.key, back, mask, direct);
                to.extend(member.fars(*of));
            }
            lines.push(Line {
                from: Far { of: me, handle: said.from.clone() },
                at: said.at,
                text: said.text.clone(),
                ours: Some((said.entry, to)),
                late: false,
            });
            heads.push(said.mark());
            let row = room.next_row;
            room.next_row += 1;
            made.push((said, row));
        }
        (made, lines)
    }

    /// A write is durable, or is not and will not be.
    pub fn kept(&mut self, now: Millis, token: u64, kept: bool) {
        let is = |room: &Room| room.writing.as_ref().is_some_and(|b| b.token == token);
        let found = self.rooms.iter().find(|(_, room)| is(room)).map(|(key, _)| key.clone());
        let Some(key) = found else { return };
        let (me, present) = (self.me, self.boxes_in(&key));
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let Some(batch) = room.writing.take() else { return };
        if !kept {
            room.retry_at = now + RETRY_MS;
            // nothing was told, nor asked for: what waits for others does so from now on
            room.waiting.values_mut().for_each(|w| w.since = now);
            return self.wake_by(now + RETRY_MS);
        }
        room.progress = now;
        room.rev += 1;
        let rev = room.rev;
        let mut tell: Map<Fingerprint, Vec<Mark>> = Map::new();
        for (mark, row) in batch.came {
            if let Some(log) = room.logs.get_mut(&(mark.of, mark.epoch)) {
                (log.upto, log.rev) = (log.upto.max(mark.seq), rev);
                log.sources.retain(|s| s.upto > mark.seq);
                log.asked = log.asked.filter(|_| log.sources.iter().any(|s| s.upto > mark.seq));
            }
            let Some(waiting) = room.waiting.remove(&mark) else { continue };
            room.waiting_bytes -= waiting.bytes;
            let asks = |of: &&Fingerprint| {
                let missed = waiting.said.seal_of(**of).is_some_and(|s| !s.is_direct());
                **of == mark.of || (missed && **of != waiting.via)
            };
            for of in present.iter().filter(asks) {
                let marks = tell.entry(*of).or_default();
                marks.retain(|m| (m.of, m.epoch) != (mark.of, mark.epoch));
                marks.push(mark);
            }
            room.keep(now, row, waiting.said, false);
        }
        let mut sends: Map<Fingerprint, Vec<Part>> = Map::new();
        for (said, row) in batch.posts {
            if let Some((log, _)) = room.log(me, said.epoch, true) {
                (log.upto, log.rev) = (said.seq, rev);
            }
            for of in present.iter().filter(|of| said.seal_of(**of).is_some()) {
                sends.entry(*of).or_default().push(Part::Said(said.clone()));
            }
            room.keep(now, row, said, true);
        }
        let name = room.name.clone();
        for (of, marks) in tell {
            sends.entry(of).or_default().push(Part::Have(name.clone(), marks, None));
        }
        if !room.is_in() {
            // the last of ours left meanwhile
            let (_, rows) = room.left();
            return self.out.push_back(Out::Keep(rows));
        }
        room.drop_known();
        self.out.extend(sends.into_iter().map(|(of, parts)| Out::Send(of, parts)));
        self.prune(now, &key);
        self.step(now, &key);
        self.seek(now, &key);
        self.gossip_soon(now, &key);
    }

    pub(super) fn prune(&mut self, now: Millis, key: &str) {
        let keep = self.keep;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let rows = room.prune(now, keep);
        let next = room.kept.front().map(|k| k.since.saturating_add(keep));
        if !rows.is_empty() {
            self.out.push_back(Out::Keep(rows));
        }
        if let Some(at) = next {
            self.wake_by(at.max(now + 1));
        }
    }

    /// A box has our messages of a stream up to this; of those it is told that they arrived.
    pub(super) fn acked(&mut self, key: &str, of: Fingerprint, mark: Mark) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let (epoch, upto) = (mark.epoch, mark.seq);
        let now = epoch == room.epoch;
        let Some(member) = room.members.get_mut(&of) else { return };
        let acked = if now { &mut member.acked } else { &mut member.acked_before };
        let before = *acked;
        if upto <= before {
            return;
        }
        *acked = upto;
        let users: Vec<Handle> = member.users.clone();
        let member = member.clone();
        let ours = |said: &&Said| said.author.fingerprint() == me && said.epoch == epoch;
        let all = room.kept.iter().map(|k| &k.said).filter(ours);
        let done = all.filter(|s| s.seq > before && s.seq <= upto && s.seal_of(of).is_some());
        let entries: Vec<(EntryId, Handle)> = done.map(|s| (s.entry, s.from.clone())).collect();
        let rows = vec![room.member_row(of, &member)];
        self.out.push_back(Out::Keep(rows));
        for (entry, from) in entries {
            let to = users.iter().map(|user| Far { of, handle: user.clone() }).collect();
            self.out.push_back(Out::Delivered(entry, from, to));
        }
    }
}

impl Room {
    /// Which of those that wait can be told now, in which order; and whether something said
    /// before it is missing.
    fn choose(&self, now: Millis, me: Fingerprint) -> Vec<(Mark, bool)> {
        let mut taken = Taken { room: self, me, more: Map::new() };
        let mut chosen: Vec<(Mark, bool)> = Vec::new();
        let mut rest: Vec<(&Mark, &Waiting)> = self.waiting.iter().collect();
        while chosen.len() < IN_BATCH {
            let before = rest.len();
            rest.retain(|(mark, w)| {
                if mark.seq <= taken.upto(mark.of, mark.epoch) {
                    return false; // it came by another way
                }
                let go = chosen.len() < IN_BATCH && taken.has_causes(&w.said, w.prev, w.mask);
                if go {
                    taken.more.insert((mark.of, mark.epoch), mark.seq);
                    chosen.push((**mark, false));
                }
                !go
            });
            if rest.len() < before {
                continue;
            }
            // marks stand in the order of their streams: the first of each comes first
            let Some((mark, _)) = rest.iter().find(|(_, w)| w.due(self.progress) <= now) else {
                break;
            };
            let first = rest.iter().find(|(m, _)| (m.of, m.epoch) == (mark.of, mark.epoch));
            let Some((first, _)) = first.copied() else { break };
            taken.more.insert((first.of, first.epoch), first.seq);
            chosen.push((*first, true));
        }
        chosen
    }

    /// Puts a message among those that wait, if there is a place for it: it takes that of an
    /// author of whom more waits, and one that can be told that of one that cannot.
    fn admit(
        &mut self,
        now: Millis,
        me: Fingerprint,
        mark: Mark,
        waiting: Waiting,
        ready: bool,
    ) -> bool {
        while self.waiting.len() >= ROOM_WAITING
            || self.waiting_bytes + waiting.bytes > ROOM_WAITING_BYTES
        {
            let taken = Taken { room: self, me, more: Map::new() };
            let writing = |m: &Mark| {
                let batch = self.writing.as_ref();
                batch.is_some_and(|b| b.came.iter().any(|(mark, _)| mark == m))
            };
            let waits = |(m, w): &(&Mark, &Waiting)| {
                !writing(m) && !taken.has_causes(&w.said, w.prev, w.mask)
            };
            let last = || self.waiting.iter().rev().find(waits).map(|(m, _)| *m);
            let more = self.more_than(mark.of, waiting.bytes);
            let of_more = more.and_then(|of| {
                let his = self.waiting.keys().rev().filter(|m| m.of == of);
                his.into_iter().find(|m| !writing(m)).copied()
            });
            let Some(last) = of_more.or_else(|| last().filter(|_| ready)) else {
                self.fetch_again(now, mark);
                return false;
            };
            if let Some(gone) = self.waiting.remove(&last) {
                self.waiting_bytes -= gone.bytes;
            }
            self.fetch_again(now, last);
        }
        self.waiting_bytes += waiting.bytes;
        self.waiting.insert(mark, waiting);
        true
    }

    /// The author of whom most waits, if that is more than what would wait of this one.
    fn more_than(&self, of: Fingerprint, bytes: usize) -> Option<Fingerprint> {
        let mut shares: Map<Fingerprint, usize> = Map::from([(of, bytes + SHARE)]);
        for (mark, waiting) in &self.waiting {
            *shares.entry(mark.of).or_default() += waiting.bytes + SHARE;
        }
        let own = shares.get(&of).copied().unwrap_or(0);
        let most = shares.into_iter().max_by_key(|(_, share)| *share);
        most.filter(|(_, share)| *share > own).map(|(of, _)| of)
    }

    /// There was no place for it: its stream is asked for again in a while.
    pub(super) fn fetch_again(&mut self, now: Millis, mark: Mark) {
        if let Some(log) = self.logs.get_mut(&(mark.of, mark.epoch)) {
            log.sources.iter_mut().for_each(|s| s.ended = s.ended.min(mark.seq - 1));
            log.asked = None;
            log.void = log.void.min(mark.seq - 1);
            log.again = now + AGAIN_MS;
        }
    }

    /// What came by another way meanwhile waits no more.
    fn drop_known(&mut self) {
        let (logs, bytes) = (&self.logs, &mut self.waiting_bytes);
        self.waiting.retain(|mark, w| {
            let known = logs.get(&(mark.of, mark.epoch)).is_some_and(|log| mark.seq <= log.upto);
            *bytes -= if known { w.bytes } else { 0 };
            !known
        });
    }

    /// Whether a kept message is for a box.
    fn is_for(&self, mark: &Mark, of: Fingerprint) -> bool {
        let mut kept = self.kept.iter().rev().map(|k| &k.said);
        let mut waiting = self.waiting.get(mark).map(|w| &w.said).into_iter();
        let is = |said: &&Said| said.mark() == *mark;
        kept.find(is).or_else(|| waiting.next()).is_some_and(|said| said.seal_of(of).is_some())
    }
}
