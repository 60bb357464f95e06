//! Rooms over sessions: what `rooms` wants said goes where there is room for it.

use super::super::frame::Frame;
use super::super::noise::Fingerprint;
use super::super::rooms::{Cannot, Out as Said, Post, View, wire::Part};
use super::super::session::Session;
use super::super::words::Heard;
use super::Machine;
use crate::model::{Handle, Millis, RoomName};

/// The bit of [`super::super::frame::Hello::capabilities`] of who knows of rooms.
pub const ROOMS: u32 = 4;
/// The bit of who compares what both know of who is in a room, and tells only what differs.
pub const ROSTERS: u32 = 16;

impl Machine {
    /// Another session with a box is in use than before; `anew`: that box was restarted.
    pub(super) fn rooms_linked(&mut self, now: Millis, of: Fingerprint, anew: bool) {
        if anew {
            self.rooms.unlinked(now, of);
        }
        let Some(n) = self.neighbours.get(&of) else { return };
        let session = n.active.and_then(|s| self.sessions.get(&s));
        let hello = session.and_then(|s| s.hello.as_ref());
        if let (Some(key), Some(hello)) = (n.key, hello.filter(|h| h.capabilities & ROOMS != 0)) {
            let compares = self.setup.capabilities & hello.capabilities & ROSTERS != 0;
            self.rooms.linked(now, of, key, compares);
        }
        self.settle_rooms(now);
    }

    /// None is any more.
    pub(super) fn rooms_unlinked(&mut self, now: Millis, of: Fingerprint) {
        self.rooms.unlinked(now, of);
        self.settle_rooms(now);
    }

    pub(super) fn room_part(
        &mut self,
        now: Millis,
        of: Fingerprint,
        part: Part,
    ) -> Result<(), &'static str> {
        let result = self.rooms.part(now, of, part);
        self.settle_rooms(now);
        result
    }

    pub(super) fn settle_rooms(&mut self, now: Millis) {
        while let Some(out) = self.rooms.poll() {
            match out {
                Said::Send(to, parts) => self.say_of_room(now, to, parts),
                Said::Keep(rows) => self.keep(rows),
                Said::Write(write) => self.heard(Heard::Room(Box::new(write))),
                Said::Delivered(entry, from, to) => {
                    self.heard(Heard::RoomDelivered { entry, from, to });
                }
                Said::Unsaid(entries) => self.heard(Heard::Unsaid(entries)),
            }
        }
        if let Some(at) = self.rooms.wake_at() {
            self.wake_by(at);
        }
    }

    fn say_of_room(&mut self, now: Millis, to: Fingerprint, parts: Vec<Part>) {
        let stream = self.neighbours.get(&to).and_then(|n| n.active);
        let Some(session) = stream.and_then(|s| self.sessions.get_mut(&s)) else { return };
        // what finds no room is asked for again, when the others hear that we have it
        let fits = session.has_room();
        for part in parts {
            if fits || !matches!(part, Part::Said(_) | Part::End(..)) {
                Session::push(session, now, &Frame::Room(part));
            }
        }
        if let Some(stream) = stream {
            self.write(stream);
        }
    }

    /// A user of ours joins a room.
    ///
    /// # Errors
    /// There are too many rooms.
    pub fn room_join(&mut self, now: Millis, user: &Handle, room: &RoomName) -> Result<(), Cannot> {
        let result = self.rooms.join(now, user, room);
        self.settle_rooms(now);
        result
    }

    /// A user of ours leaves a room.
    ///
    /// # Errors
    /// He is not in it.
    pub fn room_leave(
        &mut self,
        now: Millis,
        user: &Handle,
        room: &RoomName,
    ) -> Result<(), Cannot> {
        let result = self.rooms.leave(user, room);
        self.settle_rooms(now);
        result
    }

    /// A user of ours says something in a room: it comes back in a [`Heard::Room`].
    ///
    /// # Errors
    /// It cannot be said.
    pub fn room_post(&mut self, now: Millis, room: &RoomName, post: Post) -> Result<(), Cannot> {
        let result = self.rooms.post(now, room, post);
        self.settle_rooms(now);
        result
    }

    /// The messages of a [`Heard::Room`] are durable, or are not and will not be.
    pub fn room_kept(&mut self, now: Millis, token: u64, kept: bool) {
        self.rooms.kept(now, token, kept);
        self.settle_rooms(now);
    }

    /// A user of ours bears another handle.
    pub fn room_renamed(&mut self, now: Millis, from: &Handle, to: &Handle) {
        self.rooms.renamed(from, to);
        self.settle_rooms(now);
    }

    /// A user is none of ours any more.
    pub fn room_forget(&mut self, now: Millis, user: &Handle) {
        self.rooms.forget_user(user);
        self.settle_rooms(now);
    }

    /// What is kept of a room (none: of all) for members that come back goes.
    pub fn room_forget_kept(&mut self, now: Millis, room: Option<&RoomName>) {
        self.rooms.forget(room);
        self.settle_rooms(now);
    }

    /// Whether a user of ours is in a room.
    pub fn is_in_room(&self, user: &Handle, room: &RoomName) -> bool {
        self.rooms.is_in(user, room)
    }

    /// All rooms that are heard of.
    pub fn rooms(&self) -> Vec<View> {
        self.rooms.views()
    }

    /// Sizes of what rooms hold: for tests of their bounds.
    pub fn room_sizes(&self) -> [usize; 8] {
        self.rooms.table_sizes()
    }
}
