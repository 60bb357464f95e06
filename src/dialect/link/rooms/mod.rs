//! Rooms: what many boxes say to each other, without a server.
//!
//! Each box numbers what its users say in a room, keeps it, and hands it to the other members:
//! at once to those it has a session with, and to all that ask for it later. Whoever has a
//! message hands it on to those who have it not, so that it arrives though its author is gone.
//! What is promised of that: `docs/link.md`, "Rooms".
//!
//! `wire` is what is said, `room` one room and what is kept of it, `take` how messages come to
//! be shown in their order, `gossip` how boxes find out what they miss.

mod gossip;
mod room;
mod take;
pub mod wire;

use std::collections::VecDeque;

use super::frame::Far;
use super::noise::{Fingerprint, Key, Rng, Secret};
use super::queue::Row;
use crate::model::limits::{MAX_ROOMS, MAX_USERS, ROOM_POSTS, ROOM_TEXT};
use crate::model::{EntryId, Handle, Map, Millis, RoomName, Set, Wall};

pub use gossip::GOSSIP_MS;
use room::Room;
pub use take::{WAIT_MOST_MS, WAIT_MS};
use wire::Part;

/// Words about who is in, that one box is heard with …
pub const MAX_TOLD: usize = 2_048;
/// … in this time; what is more is passed over.
const TOLD_MS: Millis = 10_000;
/// Keys of authors who are no members, whose shared secret is at hand …
const MAX_STRANGERS: usize = 64;
/// … and new ones of which one box brings messages within [`TOLD_MS`]: each costs a
/// Diffie-Hellman before it can be seen whether the message is true. What is more is asked for
/// again.
const STRANGERS_OF_ONE: usize = 64;

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// For a box with a session, if there is room for it there: all or nothing.
    Send(Fingerprint, Vec<Part>),
    /// To be kept; nothing waits.
    Keep(Vec<Row>),
    /// To be kept before it is told: answered by [`Rooms::kept`].
    Write(Write),
    /// What this user of ours said is durable at the box of these.
    Delivered(EntryId, Handle, Vec<Far>),
    /// These will not be said: their author left the room.
    Unsaid(Vec<EntryId>),
}

/// Messages of one room that are to be kept, then told in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Names it.
    pub token: u64,
    /// What is to be kept.
    pub rows: Vec<Row>,
    /// Where.
    pub room: RoomName,
    /// Our users in that room.
    pub users: Vec<Handle>,
    /// They.
    pub lines: Vec<Line>,
}

/// One message as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub from: Far,
    /// When, by the author's clock.
    pub at: Wall,
    /// What.
    pub text: String,
    /// Ours: what we call it, and for whom of other boxes it is.
    pub ours: Option<(EntryId, Vec<Far>)>,
    /// Something said before it did not come in time.
    pub late: bool,
}

/// A room as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: RoomName,
    /// Our users in it.
    pub users: Vec<Handle>,
    /// Those of other boxes, and whether there is a session with their box.
    pub others: Vec<(Far, bool)>,
}

/// Why somebody cannot join, or say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cannot {
    /// [`MAX_ROOMS`] rooms are in use.
    TooManyRooms,
    /// The user is not in that room.
    NotIn,
    /// [`ROOM_POSTS`] messages wait to be durable.
    TooMuch,
    /// The text has more than [`ROOM_TEXT`] bytes.
    TooLong,
}

/// A box with a session that knows of rooms.
struct Linked {
    key: Key,
    /// It compares who is in before it is told.
    compares: bool,
    /// The rooms that it says it is in: the version of that word, and who of its users.
    rooms: Map<String, (RoomName, u64, Vec<Handle>)>,
    /// What it told of who is in: since then, so much.
    told: (Millis, usize),
    /// Since then, messages of so many authors that were no members came from it.
    strangers: (Millis, usize),
}

/// See the module.
pub struct Rooms {
    secret: Secret,
    key: Key,
    me: Fingerprint,
    /// How long messages are kept for those who come back.
    keep: Millis,
    rooms: Map<String, Room>,
    boxes: Map<Fingerprint, Linked>,
    /// Our users that are in the chat.
    present: Vec<Handle>,
    strangers: Map<Fingerprint, Option<[u8; 32]>>,
    rng: Rng,
    next_token: u64,
    wake: Option<Millis>,
    out: VecDeque<Out>,
}

impl Rooms {
    /// None yet; [`Rooms::restore`] brings back what was kept, row by row in the order of keys,
    /// then [`Rooms::restored`].
    pub fn new(secret: Secret, rng: Rng, keep: Millis) -> Rooms {
        let key = secret.public();
        Rooms {
            secret,
            key,
            me: key.fingerprint(),
            keep,
            rooms: Map::new(),
            boxes: Map::new(),
            present: Vec::new(),
            strangers: Map::new(),
            rng,
            next_token: 0,
            wake: None,
            out: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Rooms::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        self.wake
    }

    /// Time passed.
    pub fn tick(&mut self, now: Millis) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        self.wake = None;
        let keys: Vec<String> = self.rooms.keys().cloned().collect();
        for key in keys {
            self.prune(now, &key);
            self.step(now, &key);
            self.gossip(now, &key);
            self.seek(now, &key);
        }
        self.wake = self.wake.map(|at| at.max(now + 1));
    }

    fn wake_by(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Our users that are in the chat, whole: others are told who of them is in which room.
    pub fn set_present(&mut self, present: Vec<Handle>) {
        if present == self.present {
            return;
        }
        self.present = present;
        let keys: Vec<String> = self.rooms.keys().cloned().collect();
        for key in keys {
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let shown = room.shown(&self.present);
            if room.is_in() && shown != room.told_users {
                self.changed(&key);
            }
        }
    }

    /// A user bears another handle.
    pub fn renamed(&mut self, from: &Handle, to: &Handle) {
        let keys: Vec<String> = self.rooms.keys().cloned().collect();
        for key in keys {
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let Some(user) = room.users.iter_mut().find(|u| u.is(from.as_str())) else { continue };
            *user = to.clone();
            self.changed(&key);
        }
    }

    /// A user joins a room; it is made where nobody is in it.
    ///
    /// # Errors
    /// There are too many rooms.
    pub fn join(&mut self, now: Millis, user: &Handle, name: &RoomName) -> Result<(), Cannot> {
        let key = name.key();
        if !self.rooms.contains_key(&key) {
            self.make_room_for_one()?;
            self.rooms.insert(key.clone(), Room::new(name.clone()));
        }
        let Some(room) = self.rooms.get_mut(&key) else { return Ok(()) };
        if room.users.iter().any(|u| u.is(user.as_str())) {
            return Ok(());
        }
        if room.users.len() >= MAX_USERS {
            // handles of guests that did not come back
            let present = &self.present;
            room.users.retain(|u| present.contains(u));
            room.users.truncate(MAX_USERS - 1);
        }
        let first = !room.is_in();
        if first {
            room.name = name.clone();
        }
        room.users.push(user.clone());
        if room.epoch == 0 {
            room.epoch = self.rng.u64().max(1);
        }
        self.changed(&key);
        if first {
            let there: Vec<Fingerprint> = self.boxes.keys().copied().collect();
            for of in there {
                let heard = self.boxes.get(&of).and_then(|b| b.rooms.get(&key)).cloned();
                if let Some((_, version, users)) = heard {
                    self.met(now, &key, of, version, true, users);
                }
            }
        }
        Ok(())
    }

    fn make_room_for_one(&mut self) -> Result<(), Cannot> {
        if self.rooms.len() < MAX_ROOMS {
            return Ok(());
        }
        let left = self.rooms.iter().find(|(_, r)| !r.is_in() && r.writing.is_none());
        let Some(key) = left.map(|(key, _)| key.clone()) else { return Err(Cannot::TooManyRooms) };
        if let Some(room) = self.rooms.remove(&key) {
            self.out.push_back(Out::Keep(room.all_rows_gone()));
        }
        Ok(())
    }

    /// A user leaves a room. What was kept of it for others goes with the last of ours.
    ///
    /// # Errors
    /// He is not in it.
    pub fn leave(&mut self, user: &Handle, name: &RoomName) -> Result<(), Cannot> {
        let key = name.key();
        let room = self.rooms.get_mut(&key).ok_or(Cannot::NotIn)?;
        let at = room.users.iter().position(|u| u.is(user.as_str())).ok_or(Cannot::NotIn)?;
        room.users.remove(at);
        if room.users.is_empty() {
            let (unsaid, rows) = room.left();
            self.out.push_back(Out::Keep(rows));
            if !unsaid.is_empty() {
                self.out.push_back(Out::Unsaid(unsaid));
            }
        }
        self.changed(&key);
        Ok(())
    }

    /// A user is none of ours any more.
    pub fn forget_user(&mut self, user: &Handle) {
        let names: Vec<RoomName> = self.rooms.values().map(|r| r.name.clone()).collect();
        for name in names {
            let _ = self.leave(user, &name); // he is not in every room
        }
    }

    /// Says something in a room. It is told, and sent, when it is durable: in a later
    /// [`Out::Write`].
    ///
    /// # Errors
    /// It cannot be said.
    pub fn post(&mut self, now: Millis, name: &RoomName, post: Post) -> Result<(), Cannot> {
        let key = name.key();
        let room = self.rooms.get_mut(&key).ok_or(Cannot::NotIn)?;
        if !room.users.iter().any(|u| u.is(post.from.as_str())) {
            return Err(Cannot::NotIn);
        }
        if post.text.len() > ROOM_TEXT {
            return Err(Cannot::TooLong);
        }
        if room.posts.len() >= ROOM_POSTS {
            return Err(Cannot::TooMuch);
        }
        room.posts.push_back(post);
        self.step(now, &key);
        Ok(())
    }

    /// Whether a user is in a room.
    pub fn is_in(&self, user: &Handle, name: &RoomName) -> bool {
        let room = self.rooms.get(&name.key());
        room.is_some_and(|r| r.users.iter().any(|u| u.is(user.as_str())))
    }

    /// All rooms that are heard of: ours, and those that linked boxes are in.
    pub fn views(&self) -> Vec<View> {
        let mut names: Map<String, RoomName> = Map::new();
        let heard = self.boxes.values().flat_map(|b| &b.rooms);
        names.extend(heard.map(|(key, (name, ..))| (key.clone(), name.clone())));
        let ours = self.rooms.iter().filter(|(_, r)| r.is_in());
        names.extend(ours.map(|(key, room)| (key.clone(), room.name.clone())));
        names.into_iter().map(|(key, name)| self.view(&key, name)).collect()
    }

    fn view(&self, key: &str, name: RoomName) -> View {
        let mut others: Map<Far, bool> = Map::new();
        let room = self.rooms.get(key).filter(|r| r.is_in());
        for (of, member) in room.iter().flat_map(|r| &r.members).filter(|(_, m)| m.member) {
            let linked = self.boxes.contains_key(of);
            others.extend(member.fars(*of).map(|far| (far, linked)));
        }
        for (of, linked) in &self.boxes {
            if let Some((.., users)) = linked.rooms.get(key) {
                let far = |user: &Handle| Far { of: *of, handle: user.clone() };
                others.extend(users.iter().map(|user| (far(user), true)));
            }
        }
        let users = room.map(|r| r.users.clone()).unwrap_or_default();
        View { name, users, others: others.into_iter().collect() }
    }

    /// A session with a box that knows of rooms is in use, or another one than before: what was
    /// said on that may be lost, and is said again. `compares`: that box reads and says
    /// [`wire::Roster`]s.
    pub fn linked(&mut self, now: Millis, of: Fingerprint, key: Key, compares: bool) {
        let linked = self.boxes.entry(of).or_insert(Linked {
            key,
            compares,
            rooms: Map::new(),
            told: (0, 0),
            strangers: (0, 0),
        });
        linked.compares = compares;
        let (mut parts, mut later) = (Vec::new(), Vec::new());
        for (key, room) in self.rooms.iter_mut().filter(|(_, room)| room.is_in()) {
            room.told.remove(&of);
            parts.push(room.here());
            if linked.rooms.contains_key(key) {
                parts.extend(room.first_news_for(of, self.me, compares));
                later.push(key.clone());
            }
        }
        if !parts.is_empty() {
            self.out.push_back(Out::Send(of, parts));
        }
        later.iter().for_each(|key| self.gossip_soon(now, key));
    }

    /// No session with it is in use any more.
    pub fn unlinked(&mut self, now: Millis, of: Fingerprint) {
        if self.boxes.remove(&of).is_none() {
            return;
        }
        let keys: Vec<String> = self.rooms.keys().cloned().collect();
        for key in keys {
            if let Some(room) = self.rooms.get_mut(&key) {
                room.told.remove(&of);
                room.logs.values_mut().for_each(|log| log.lost(of));
            }
            self.seek(now, &key);
        }
    }

    /// A box said something of a room.
    ///
    /// # Errors
    /// No honest box says that.
    pub fn part(&mut self, now: Millis, of: Fingerprint, part: Part) -> Result<(), &'static str> {
        let Some(linked) = self.boxes.get(&of) else { return Ok(()) };
        let room = match part {
            Part::Here { room, version, member, users } => {
                if self.may_tell(now, of, 1) {
                    self.here(now, of, room, version, member, users);
                }
                return Ok(());
            }
            Part::Said(said) => return self.said(now, of, said),
            Part::Members(ref room, _) | Part::Have(ref room, ..) => room,
            Part::Want(ref room, _) | Part::End(ref room, _) => room,
        };
        // who is not in a room has no say in it, and reads nothing of it
        let key = room.key();
        let ours = self.rooms.get(&key).is_some_and(Room::is_in);
        if !ours || !linked.rooms.contains_key(&key) {
            return Ok(());
        }
        match part {
            Part::Members(_, list) => {
                if self.may_tell(now, of, list.len()) {
                    self.members_told(now, &key, of, list);
                }
            }
            Part::Have(_, marks, roster) => {
                self.have(now, &key, of, &marks);
                if let Some(roster) = roster.filter(|_| self.may_tell(now, of, 1)) {
                    self.compared(&key, of, roster);
                }
            }
            Part::Want(_, mark) => self.wanted(&key, of, mark),
            Part::End(_, mark) => self.ended(now, &key, of, mark),
            Part::Here { .. } | Part::Said(_) => {}
        }
        Ok(())
    }

    /// Sizes of what is held: rooms, and in all of them members, streams, messages kept and
    /// their bytes, messages that wait; boxes' rooms; messages no other names. For tests of
    /// their bounds.
    pub fn table_sizes(&self) -> [usize; 8] {
        let sum = |of: fn(&Room) -> usize| self.rooms.values().map(of).sum();
        [
            self.rooms.len(),
            sum(|r| r.members.len()),
            sum(|r| r.logs.len()),
            sum(|r| r.kept.len()),
            sum(|r| r.kept_bytes),
            sum(|r| r.waiting.len()),
            self.boxes.values().map(|b| b.rooms.len()).sum(),
            sum(|r| r.heads.len()),
        ]
    }

    /// Whether a box may tell so much more now: each word may be a write to the disk.
    fn may_tell(&mut self, now: Millis, of: Fingerprint, count: usize) -> bool {
        let Some(linked) = self.boxes.get_mut(&of) else { return false };
        if now >= linked.told.0 + TOLD_MS {
            linked.told = (now, 0);
        }
        linked.told.1 += count;
        linked.told.1 <= MAX_TOLD
    }

    /// Whether a box may bring something of this author now: see [`STRANGERS_OF_ONE`].
    fn may_bring(
        &mut self,
        now: Millis,
        room: &str,
        via: Fingerprint,
        author: Fingerprint,
    ) -> bool {
        let member = self.rooms.get(room).is_some_and(|r| r.members.contains_key(&author));
        if member || self.strangers.contains_key(&author) {
            return true;
        }
        let Some(linked) = self.boxes.get_mut(&via) else { return false };
        if now >= linked.strangers.0 + TOLD_MS {
            linked.strangers = (now, 0);
        }
        linked.strangers.1 += 1;
        linked.strangers.1 <= STRANGERS_OF_ONE
    }

    /// What is kept of a room (none: of all) for others goes: somebody deletes what was said.
    pub fn forget(&mut self, name: Option<&RoomName>) {
        let key = name.map(RoomName::key);
        let meant = |k: &String| key.as_ref().is_none_or(|key| key == k);
        for (_, room) in self.rooms.iter_mut().filter(|(k, _)| meant(k)) {
            let rows = room.forget_kept();
            self.out.push_back(Out::Keep(rows));
        }
    }

    fn boxes_in(&self, key: &str) -> Set<Fingerprint> {
        let is = |b: &&Linked| b.rooms.contains_key(key);
        self.boxes.iter().filter(|(_, b)| is(b)).map(|(of, _)| *of).collect()
    }

    /// What only the owner of that key and we know.
    fn shared(&mut self, room: &str, key: &Key) -> Option<[u8; 32]> {
        let of = key.fingerprint();
        let secret = &self.secret;
        if let Some(member) = self.rooms.get_mut(room).and_then(|r| r.members.get_mut(&of)) {
            return *member.shared.get_or_insert_with(|| secret.shared(key));
        }
        if self.strangers.len() >= MAX_STRANGERS {
            self.strangers.clear();
        }
        *self.strangers.entry(of).or_insert_with(|| secret.shared(key))
    }
}

/// Something to be said in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// What the node calls it.
    pub entry: EntryId,
    /// Which of our users.
    pub from: Handle,
    /// When, by our clock.
    pub at: Wall,
    /// What.
    pub text: String,
}
