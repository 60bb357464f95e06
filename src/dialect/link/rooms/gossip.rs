//! Who is in, and who has what: told at the start of a session, soon after a change to a few at
//! a time, and asked for by whoever misses something.
//!
//! Nothing of this is believed beyond that a question is worth its bytes: who is a member its own
//! box says, and a message proves itself by its seal.

use super::room::{Abreast, Log, Member, Room, Source};
use super::wire::{MEMBERS_IN_FRAME, Mark, Part, Roster, Told};
use super::{Out, Rooms};
use crate::dialect::link::noise::{Fingerprint, hash};
use crate::dialect::link::queue::Row;
use crate::model::limits::{MAX_ROOMS, ROOM_LOGS, ROOM_MEMBERS};
use crate::model::{Handle, Map, Millis, RoomName, Set};

/// So long after a change, and as long again, a few others are told what is new …
pub const GOSSIP_MS: Millis = 10_000;
/// … so many at a time.
const GOSSIP_TO: usize = 3;
/// A question must be answered within this time …
const ANSWER_MS: Millis = 5_000;
/// … else that box is not asked for any stream for so long.
const SILENT_MS: Millis = 30_000;
/// Questions out at once, of one room …
const ASKED: usize = 16;
/// … and to one box.
const ASKED_OF_ONE: usize = 4;
/// Users of a box that others tell of: what is said at the start of a session stays small.
const USERS_TOLD: usize = 8;
/// Members of a room that are in by one box's word.
const TOLD_BY_ONE: usize = ROOM_MEMBERS / 2;
/// Streams of which nothing came yet, and that one box alone says it has.
const CLAIMED_BY_ONE: usize = ROOM_LOGS / 2;
/// Messages in one answer …
const GIVE: usize = 16;
/// … and their bytes.
const GIVE_BYTES: usize = 48 * 1024;

impl Rooms {
    /// Our users in a room are others than before: kept, and told to all.
    pub(super) fn changed(&mut self, key: &str) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.version += 1;
        room.told_users = room.shown(&self.present);
        let (row, here) = (room.row(), room.here());
        self.out.push_back(Out::Keep(vec![row]));
        let all = self.boxes.keys().copied();
        self.out.extend(all.map(|of| Out::Send(of, vec![here.clone()])));
    }

    /// A box says whether it is in a room.
    pub(super) fn here(
        &mut self,
        now: Millis,
        of: Fingerprint,
        name: RoomName,
        version: u64,
        member: bool,
        users: Vec<Handle>,
    ) {
        let key = name.key();
        let Some(linked) = self.boxes.get_mut(&of) else { return };
        if !member {
            linked.rooms.remove(&key);
        } else if linked.rooms.contains_key(&key) || linked.rooms.len() < MAX_ROOMS {
            linked.rooms.insert(key.clone(), (name, version, users.clone()));
        } else {
            return; // no honest box is in more
        }
        self.met(now, &key, of, version, member, users);
    }

    /// A box with a session is in a room of ours, or left it.
    pub(super) fn met(
        &mut self,
        now: Millis,
        key: &str,
        of: Fingerprint,
        version: u64,
        member: bool,
        users: Vec<Handle>,
    ) {
        let me = self.me;
        let Some((box_key, compares)) = self.boxes.get(&of).map(|b| (b.key, b.compares)) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(key).filter(|r| r.is_in()) else { return };
        let mut rows = Vec::new();
        match room.members.get(&of) {
            None if !member => return,
            None => match room.place_for(true) {
                Some(more) => rows.extend(more),
                None => return,
            },
            Some(_) => {}
        }
        let old = room.members.get(&of).cloned();
        let same = old.as_ref().is_some_and(|m| {
            (m.member, m.first_hand, &m.users) == (member, true, &users) && m.version >= version
        });
        if !same {
            room.rev += 1;
            let fresh = Member {
                key: box_key,
                version,
                member,
                users,
                first_hand: true,
                rev: room.rev,
                shared: old.as_ref().and_then(|m| m.shared),
                last: old.as_ref().map_or(0, |m| m.last),
                acked: old.as_ref().map_or(0, |m| m.acked),
                acked_before: old.as_ref().map_or(0, |m| m.acked_before),
                told_by: None,
            };
            rows.push(room.member_row(of, &fresh));
            room.members.insert(of, fresh);
        }
        if !rows.is_empty() {
            self.out.push_back(Out::Keep(rows));
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let first = member && !room.told.contains_key(&of);
        if !member {
            room.told.remove(&of);
            room.logs.values_mut().for_each(|log| log.lost(of));
        } else if first {
            let parts = room.first_news_for(of, me, compares);
            if !parts.is_empty() {
                self.out.push_back(Out::Send(of, parts));
            }
        }
        if !same || first {
            self.gossip_soon(now, key);
        }
    }

    /// A box tells of others that are in. That one left is believed of itself alone: who is
    /// no member is sent nothing, and could not say that it is a lie.
    pub(super) fn members_told(
        &mut self,
        now: Millis,
        key: &str,
        by: Fingerprint,
        list: Vec<Told>,
    ) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let mut rows: Vec<Row> = Vec::new();
        let mut his = room.members.values().filter(|m| m.told_by == Some(by)).count();
        for told in list {
            let of = told.key.fingerprint();
            let old = room.members.get(&of);
            let news = old.is_none_or(|m| !m.first_hand && m.version < told.version);
            if of == me || !news || !told.member {
                continue;
            }
            if old.is_none() {
                if his >= TOLD_BY_ONE {
                    continue;
                }
                his += 1;
                match room.place_for(false) {
                    Some(more) => rows.extend(more),
                    None => continue,
                }
            }
            let old = room.members.get(&of);
            room.rev += 1;
            let member = Member {
                key: told.key,
                version: told.version,
                member: told.member,
                users: told.users.into_iter().take(USERS_TOLD).collect(),
                first_hand: false,
                rev: room.rev,
                shared: old.and_then(|m| m.shared),
                last: old.map_or(0, |m| m.last),
                acked: old.map_or(0, |m| m.acked),
                acked_before: old.map_or(0, |m| m.acked_before),
                told_by: old.map_or(Some(by), |m| m.told_by),
            };
            rows.push(room.member_row(of, &member));
            room.members.insert(of, member);
        }
        if !rows.is_empty() {
            self.out.push_back(Out::Keep(rows));
            self.gossip_soon(now, key);
        }
    }

    /// A box says what it knows of who is in: who knows the same is abreast, else each says what
    /// the other may not know.
    pub(super) fn compared(&mut self, key: &str, of: Fingerprint, his: Roster) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let (digest, rev) = (room.digest(me), room.rev);
        let Some(told) = room.told.get_mut(&of) else { return };
        let since = told.asked.take().unwrap_or(told.members);
        told.members = rev;
        if his.digest == digest {
            return;
        }
        let answer = Roster { digest, asks: false };
        let answer = his.asks.then(|| Part::Have(room.name.clone(), Vec::new(), Some(answer)));
        // the digest comes first, so that it is compared to what its reader knew without the rest
        let parts: Vec<Part> = answer.into_iter().chain(room.members_for(of, since)).collect();
        if !parts.is_empty() {
            self.out.push_back(Out::Send(of, parts));
        }
    }

    /// A box tells what it has.
    pub(super) fn have(&mut self, now: Millis, key: &str, of: Fingerprint, marks: &[Mark]) {
        let me = self.me;
        let Some(room) = self.rooms.get(key) else { return };
        let alone = |log: &&Log| log.upto == 0 && matches!(&log.sources[..], [s] if s.of == of);
        let mut claimed = room.logs.values().filter(alone).count();
        for mark in marks {
            let Some(room) = self.rooms.get_mut(key) else { return };
            let last = room.upto(me, room.epoch);
            if mark.of != me {
                let known = room.logs.contains_key(&(mark.of, mark.epoch));
                if !known && (mark.seq == 0 || claimed >= CLAIMED_BY_ONE) {
                    continue;
                }
                claimed += usize::from(!known);
                let Some((log, rows)) = room.log(mark.of, mark.epoch, false) else { continue };
                log.source(of, mark.seq, of == mark.of);
                if !rows.is_empty() {
                    self.out.push_back(Out::Keep(rows));
                }
            } else if mark.epoch == room.epoch && mark.seq <= last {
                self.acked(key, of, *mark);
            } else if room.renewed == Some(mark.epoch) {
                if mark.seq <= room.upto(me, mark.epoch) {
                    self.acked(key, of, *mark);
                }
            } else if mark.epoch == room.epoch
                && room.writing.is_none()
                && room.renewed.is_none()
                && (last == 0 || room.wrote_to(of))
            {
                // our store is an older one (a backup): these numbers were given before
                room.renewed = Some(room.epoch);
                room.epoch = self.rng.u64().max(1);
                for m in room.members.values_mut() {
                    (m.last, m.acked, m.acked_before) = (0, 0, m.acked);
                }
                let row = room.row();
                self.out.push_back(Out::Keep(vec![row]));
            }
        }
        self.seek(now, key);
    }

    /// Asks for what others have and we do not.
    pub(super) fn seek(&mut self, now: Millis, key: &str) {
        let (me, linked) = (self.me, self.boxes_in(key));
        let Some(room) = self.rooms.get_mut(key).filter(|r| r.is_in()) else { return };
        let mut of_each: Map<Fingerprint, usize> = Map::new();
        let mut wake: Option<Millis> = None;
        let mut later = |at: Millis| wake = Some(wake.map_or(at, |w| w.min(at)));
        let mut silent: Set<Fingerprint> = Set::new();
        for log in room.logs.values_mut() {
            match log.asked {
                Some((of, until)) if until <= now => {
                    log.asked = None;
                    silent.insert(of);
                }
                Some((of, until)) => {
                    *of_each.entry(of).or_default() += 1;
                    later(until);
                }
                None => {}
            }
        }
        if !silent.is_empty() {
            let sources = room.logs.values_mut().flat_map(|log| &mut log.sources);
            let silent = sources.filter(|s| silent.contains(&s.of));
            silent.for_each(|s| s.not_before = now + SILENT_MS);
        }
        let mut asked: usize = of_each.values().sum();
        let mut wants = Vec::new();
        let (waiting, name) = (&room.waiting, room.name.clone());
        let refused = now < room.retry_at;
        let missed = room.logs.iter().filter(|((of, _), log)| {
            let more = |s: &Source| s.upto > log.upto && s.upto > s.ended;
            *of != me && log.asked.is_none() && log.sources.iter().any(more)
        });
        let mut missed: Vec<(Millis, Fingerprint, u64)> =
            missed.map(|((of, epoch), log)| (log.asked_at, *of, *epoch)).collect();
        missed.sort_unstable();
        for (_, of, epoch) in &missed {
            let Some(log) = room.logs.get_mut(&(*of, *epoch)) else { continue };
            // what came of it waits for other streams, or for the disk: no more is wanted but
            // what is missing amidst of that, before all of it is due at once
            let first = Mark { of: *of, epoch: *epoch, seq: 0 };
            let last = Mark { seq: u64::MAX, ..first };
            let mut upto = log.upto;
            let mut came = waiting.range(first..=last);
            let gap = came.any(|(mark, w)| {
                let missing = w.prev > upto;
                upto = if missing { upto } else { upto.max(mark.seq) };
                missing
            });
            if upto > log.upto && (!gap || refused) {
                continue;
            }
            let more = |s: &Source| s.upto > upto && s.upto > s.ended;
            if log.again > now {
                later(log.again);
                continue;
            }
            let free = |s: &&Source| {
                let few = of_each.get(&s.of).is_none_or(|n| *n < ASKED_OF_ONE);
                more(s) && s.not_before <= now && few && linked.contains(&s.of)
            };
            let best = log.sources.iter().filter(free).max_by_key(|s| (s.of == *of, s.upto));
            let Some(best) = best.map(|s| s.of).filter(|_| asked < ASKED) else {
                let soonest = log.sources.iter().filter(|s| more(s) && s.not_before > now);
                soonest.for_each(|s| later(s.not_before));
                continue;
            };
            log.asked = Some((best, now + ANSWER_MS));
            later(now + ANSWER_MS);
            asked += 1;
            log.asked_at = now;
            *of_each.entry(best).or_default() += 1;
            wants.push((best, Mark { seq: upto, ..first }));
        }
        if let Some(at) = wake {
            self.wake_by(at.max(now + 1));
        }
        let want = |(to, mark)| Out::Send(to, vec![Part::Want(name.clone(), mark)]);
        self.out.extend(wants.into_iter().map(want));
    }

    /// A box wants what it has not of a stream.
    pub(super) fn wanted(&mut self, key: &str, by: Fingerprint, mark: Mark) {
        let Some(room) = self.rooms.get(key) else { return };
        let (mut parts, mut bytes, mut cut) = (Vec::new(), 0, None);
        let mut last = mark.seq;
        for kept in &room.kept {
            let at = kept.said.mark();
            let wanted = (at.of, at.epoch) == (mark.of, mark.epoch) && at.seq > mark.seq;
            if !wanted || kept.said.seal_of(by).is_none() {
                continue;
            }
            if parts.len() >= GIVE || bytes + kept.bytes > GIVE_BYTES {
                cut = Some(last);
                break;
            }
            bytes += kept.bytes;
            last = at.seq;
            parts.push(Part::Said(kept.said.clone()));
        }
        let seq = cut.unwrap_or_else(|| room.upto(mark.of, mark.epoch));
        parts.push(Part::End(room.name.clone(), Mark { seq, ..mark }));
        self.out.push_back(Out::Send(by, parts));
    }

    /// A box gave all that it has of a stream for us, up to there.
    pub(super) fn ended(&mut self, now: Millis, key: &str, of: Fingerprint, mark: Mark) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(log) = room.logs.get_mut(&(mark.of, mark.epoch)) {
            if log.asked.is_some_and(|(by, _)| by == of) {
                log.asked = None;
                if of == mark.of {
                    log.void = log.void.max(mark.seq);
                }
                for source in log.sources.iter_mut().filter(|s| s.of == of) {
                    source.ended = source.ended.max(mark.seq);
                }
            }
        }
        self.step(now, key);
        self.seek(now, key);
    }

    /// Others are to be told of what is new, soon.
    pub(super) fn gossip_soon(&mut self, now: Millis, key: &str) {
        let jitter = self.rng.below(GOSSIP_MS);
        let Some(room) = self.rooms.get_mut(key) else { return };
        let at = *room.gossip_at.get_or_insert(now + GOSSIP_MS + jitter);
        self.wake_by(at);
    }

    /// Tells a few others what is new, if it is time.
    pub(super) fn gossip(&mut self, now: Millis, key: &str) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        match room.gossip_at {
            Some(at) if at <= now => room.gossip_at = None,
            Some(at) => return self.wake_by(at),
            None => return,
        }
        let (rev, me) = (room.rev, self.me);
        let behind = room.told.iter().filter(|(_, told)| told.least() < rev);
        // whoever knows least, then the next of all in a circle: so that not all tell the same
        let mut behind: Vec<(u64, bool, Fingerprint)> =
            behind.map(|(of, told)| (told.least(), *of < me, *of)).collect();
        behind.sort_unstable();
        let mut left = GOSSIP_TO;
        for (_, _, of) in behind {
            if left == 0 {
                return self.gossip_soon(now, key);
            }
            let compares = self.boxes.get(&of).is_some_and(|b| b.compares);
            let parts = room.news_for(of, me, compares);
            if !parts.is_empty() {
                left -= 1;
                self.out.push_back(Out::Send(of, parts));
            }
        }
    }
}

impl Abreast {
    fn least(&self) -> u64 {
        self.marks.min(self.members)
    }
}

impl Room {
    /// What is said to a box first. Who is in, if those are many, later: when a whole house
    /// starts, all hear it of each other meanwhile.
    pub(super) fn first_news_for(
        &mut self,
        to: Fingerprint,
        me: Fingerprint,
        compares: bool,
    ) -> Vec<Part> {
        if compares && self.members.len() > MEMBERS_IN_FRAME {
            let marks = self.marks_since(0);
            self.told.insert(to, Abreast { marks: self.rev, ..Abreast::default() });
            return match marks.is_empty() {
                true => Vec::new(),
                false => vec![Part::Have(self.name.clone(), marks, None)],
            };
        }
        self.told.insert(to, Abreast::default());
        self.news_for(to, me, compares)
    }

    /// What is new since a box was told last: members it may not know, or whether it knows them,
    /// and what we have.
    fn news_for(&mut self, to: Fingerprint, me: Fingerprint, compares: bool) -> Vec<Part> {
        let rev = self.rev;
        let Some(told) = self.told.get(&to).copied() else { return Vec::new() };
        let mut parts = self.members_for(to, told.members);
        let (mut asked, mut roster) = (told.asked, None);
        if compares && !parts.is_empty() {
            parts.clear();
            asked = asked.or(Some(told.members));
            roster = Some(Roster { digest: self.digest(me), asks: true });
        }
        let marks = self.marks_since(told.marks);
        if !marks.is_empty() || roster.is_some() {
            parts.push(Part::Have(self.name.clone(), marks, roster));
        }
        self.told.insert(to, Abreast { marks: rev, members: rev, asked });
        parts
    }

    /// Members that a box may not know, told of those until then.
    fn members_for(&self, to: Fingerprint, since: u64) -> Vec<Part> {
        let told = |(_, m): (&Fingerprint, &Member)| Told {
            key: m.key,
            version: m.version,
            member: m.member,
            users: m.users.iter().take(USERS_TOLD).cloned().collect(),
        };
        let news = self.members.iter().filter(|(of, m)| **of != to && m.rev > since);
        let members: Vec<Told> = news.map(told).collect();
        let lists = members.chunks(MEMBERS_IN_FRAME);
        lists.map(|list| Part::Members(self.name.clone(), list.to_vec())).collect()
    }

    fn marks_since(&self, since: u64) -> Vec<Mark> {
        let have = self.logs.iter().filter(|(_, log)| log.upto > 0 && log.rev > since);
        have.map(|((of, epoch), log)| Mark { of: *of, epoch: *epoch, seq: log.upto }).collect()
    }

    /// Who is in, in few bytes.
    fn digest(&self, me: Fingerprint) -> [u8; 8] {
        let others = self.members.iter().filter(|(_, m)| m.member).map(|(of, m)| (*of, m.version));
        let mut all: Vec<(Fingerprint, u64)> = others.collect();
        all.push((me, self.version));
        all.sort_unstable();
        let mut bytes = Vec::with_capacity(all.len() * 24);
        for (of, version) in all {
            bytes.extend(of.0);
            bytes.extend(version.to_be_bytes());
        }
        let hash = hash(&[b"klatsch room's members", &bytes]);
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash[..8]);
        digest
    }
}
