//! Rooms between linked boxes: who asks for what, and how what is said there is kept and told.
//!
//! The link orders and proves (`dialect::link::rooms`); here each of our users in a room gets an
//! entry of his own, so that nobody reads what was said where he was not.

use std::net::Ipv4Addr;

use super::Node;
use super::delivery::{Fate, local_peer};
use super::history::{Draft, Durable, Job};
use super::io::Ticket;
use super::roster;
use crate::command::LOBBY;
use crate::dialect::link::rooms::{Cannot, Line, Post, View, Write};
use crate::dialect::link::words::Far;
use crate::model::answer::{RoomMember, RoomView};
use crate::model::history::{Body, Change, Recipient};
use crate::model::limits::{MAX_ROOMS, ROOM_POSTS, ROOM_TEXT};
use crate::model::{
    Answer, Delivery, Dialect, Direction, EntryId, Handle, Map, Now, PeerId, Receipt, Refusal,
    RoomName, Trust, UserId, What,
};

/// Rooms that one guest is in.
const ROOMS_OF_GUEST: usize = 4;
/// With so many rooms in use a guest makes no further one: the rest is for the box's own users.
const ROOMS_FOR_GUESTS: usize = MAX_ROOMS / 2;

/// Who waits for his message to be said.
pub(super) type Posts = Map<EntryId, Ticket>;

/// Messages that are told once they are durable.
pub(super) struct RoomJob {
    token: u64,
    tells: Vec<(Handle, What)>,
    /// Of those that are ours: what they are called, and what is to be answered.
    said: Vec<(EntryId, Vec<Receipt>)>,
}

impl Node {
    /// ROOM JOIN and ROOM LEAVE.
    pub(super) fn room_enter(
        &mut self,
        now: Now,
        user: UserId,
        name: &str,
        enter: bool,
    ) -> Result<Answer, Refusal> {
        let room = named(name)?;
        let handle = self.room_user(user)?;
        if enter {
            self.place_in_rooms(now, user, &handle, &room)?;
        }
        let machine = self.dialects.link.as_mut().ok_or_else(no_link)?;
        match enter {
            true => machine.room_join(now.mono, &handle, &room),
            false => machine.room_leave(now.mono, &handle, &room),
        }
        .map_err(|cannot| refusal(cannot, &room))?;
        self.settle_link(now);
        Ok(Answer::Done)
    }

    /// Guests take their share of the rooms only, and gone ones hold none that others need.
    fn place_in_rooms(
        &mut self,
        now: Now,
        user: UserId,
        handle: &Handle,
        room: &RoomName,
    ) -> Result<(), Refusal> {
        let guest = self.users.get(user).is_some_and(|u| u.guest);
        let machine = self.dialects.link.as_mut().ok_or_else(no_link)?;
        let here = |user: &Handle| self.users.called(user.as_str()).is_some();
        let views = machine.rooms();
        let Some(gone) = room_place(&views, here, (handle, guest), room)? else {
            return Ok(());
        };
        for user in &gone.users {
            let _ = machine.room_leave(now.mono, user, &gone.name); // he is in: the view says so
        }
        Ok(())
    }

    /// ROOM LIST, and ROOM WHO of one.
    pub(super) fn room_list(&self, user: UserId, name: Option<&str>) -> Result<Answer, Refusal> {
        let wanted = name.map(named).transpose()?;
        let me = self.users.get(user).map(|u| u.handle.clone());
        let machine = self.dialects.link.as_ref().ok_or_else(no_link)?;
        let all = machine.rooms().into_iter();
        let all = all.filter(|v| wanted.as_ref().is_none_or(|w| w.key() == v.name.key()));
        let views: Vec<RoomView> = all.map(|v| self.room_view(me.as_ref(), &v)).collect();
        match (views.is_empty(), wanted) {
            (true, Some(room)) => {
                let reason = format!(
                    "nobody is in {room}: ROOM LIST shows where somebody is, ROOM JOIN \
                             {room} makes it"
                );
                Err(Refusal::Failed { reason })
            }
            _ => Ok(Answer::Rooms(views)),
        }
    }

    fn room_view(&self, me: Option<&Handle>, view: &View) -> RoomView {
        let joined = me.is_some_and(|me| view.users.iter().any(|u| u.is(me.as_str())));
        let ours = view.users.iter().filter(|u| self.users.called(u.as_str()).is_some());
        let ours = ours.map(|user| RoomMember {
            handle: user.to_string(),
            name: user.to_string(),
            here: true,
            trust: Trust::Local,
        });
        let others = view.others.iter().map(|(far, here)| RoomMember {
            handle: far.handle.to_string(),
            name: self.room_name(far),
            here: *here,
            trust: match self.is_compared(far.of) {
                true => Trust::Verified,
                false => Trust::Unverified,
            },
        });
        RoomView { room: view.name.to_string(), joined, members: ours.chain(others).collect() }
    }

    /// Says something in a room; answered once it is durable.
    pub(super) fn room_say(
        &mut self,
        now: Now,
        ticket: Ticket,
        user: UserId,
        to: &[String],
        text: String,
    ) -> Result<(), Refusal> {
        let [name] = to else {
            let expected = "one room alone: MSG #name text";
            return Err(Refusal::bad("the recipients", to.join(","), expected));
        };
        let room = named(name)?;
        let from = self.room_user(user)?;
        let entry = self.new_entry();
        let bytes = text.len() as u64;
        let post = Post { entry, from, at: now.wall, text };
        let machine = self.dialects.link.as_mut().ok_or_else(no_link)?;
        machine.room_post(now.mono, &room, post).map_err(|cannot| match cannot {
            Cannot::TooLong => Refusal::TooLong { bytes, limit: ROOM_TEXT as u64 },
            cannot => refusal(cannot, &room),
        })?;
        self.posts.insert(entry, ticket);
        self.settle_link(now);
        Ok(())
    }

    fn room_user(&self, user: UserId) -> Result<Handle, Refusal> {
        let gone = || Refusal::Failed { reason: "this node has no user".into() };
        self.users.get(user).map(|u| u.handle.clone()).ok_or_else(gone)
    }

    /// Messages of a room are to be kept, then told.
    pub(super) fn room_heard(&mut self, now: Now, write: Write) {
        let Write { token, rows, room, users, lines } = write;
        let mut changes: Vec<Change> = rows.into_iter().map(Change::Link).collect();
        let (mut tells, mut said) = (Vec::new(), Vec::new());
        for line in lines {
            let name = self.room_author(&line);
            let peer = self.room_peer(&line.from);
            let mut receipts = Vec::new();
            let blocked = line.ours.is_none() && self.is_blocked(line.from.handle.as_str());
            for user in users.iter().filter(|_| !blocked) {
                let ours = line.ours.as_ref().filter(|_| user.is(line.from.handle.as_str()));
                let id = match ours {
                    Some((entry, _)) => *entry,
                    None => self.new_entry(),
                };
                if let Some((_, to)) = ours {
                    receipts = self.room_receipts(id, &line, to, &users);
                }
                let recipients = receipts.iter().filter(|_| ours.is_some()).map(|r| Recipient {
                    peer: r.peer,
                    handle: r.recipient.clone(),
                    state: r.state,
                    reason: r.reason.clone(),
                });
                let direction = if ours.is_some() { Direction::Out } else { Direction::In };
                let draft = Draft {
                    id,
                    user: Some(user.clone()),
                    conversation: room.conversation(),
                    from: name.clone(),
                    direction,
                    dialect: Dialect::Link,
                    body: Body::Text { text: line.text.clone() },
                    autoreply: false,
                    recipients: recipients.collect(),
                };
                let entry = self.entry(now, draft);
                changes.push(Change::Put(Box::new(entry)));
                let what = What::Message {
                    id,
                    conversation: room.conversation(),
                    from: name.clone(),
                    to: room.conversation(),
                    peer,
                    dialect: Dialect::Link,
                    direction,
                    text: line.text.clone(),
                    autoreply: false,
                };
                tells.push((user.clone(), what));
            }
            said.extend(line.ours.map(|(entry, _)| (entry, receipts)));
        }
        self.keep_first(now, changes, Job::Room(Box::new(RoomJob { token, tells, said })));
    }

    /// For whom a message of ours is: others' boxes confirm it, our own users have it.
    fn room_receipts(
        &self,
        id: EntryId,
        line: &Line,
        to: &[Far],
        users: &[Handle],
    ) -> Vec<Receipt> {
        let others = to.iter().map(|far| Receipt {
            id,
            recipient: self.room_name(far),
            peer: self.room_peer(far),
            state: Delivery::Sent,
            reason: None,
        });
        let inner = users.iter().filter(|u| !u.is(line.from.handle.as_str()));
        let inner = inner.filter_map(|user| {
            let peer = local_peer(self.users.called(user.as_str())?);
            let (recipient, state) = (user.to_string(), Delivery::Delivered);
            Some(Receipt { id, recipient, peer, state, reason: None })
        });
        inner.chain(others).collect()
    }

    /// They are durable, or will not be.
    pub(super) fn room_kept(&mut self, now: Now, job: RoomJob, durable: &Durable) {
        let kept = !matches!(durable, Durable::No(_));
        for (user, what) in job.tells.into_iter().filter(|_| kept) {
            self.tell(now, Some(user), what);
        }
        for (entry, receipts) in job.said {
            let Some(ticket) = self.posts.remove(&entry) else { continue };
            let answer = match durable {
                Durable::No(why) => {
                    Err(Refusal::Failed { reason: format!("it is not said: {why}") })
                }
                _ => Ok(Answer::Sent(receipts)),
            };
            self.answer(ticket, answer);
        }
        if let Some(machine) = self.dialects.link.as_mut() {
            machine.room_kept(now.mono, job.token, kept);
        }
    }

    /// What is deleted of a room's conversation (empty: of all) is kept for others no more, if it
    /// is the box's own user who deletes.
    pub(super) fn forget_room(&mut self, now: Now, user: UserId, conversation: &str) {
        let room = RoomName::try_from(conversation).ok();
        let meant = conversation.is_empty() || (is_room(conversation) && room.is_some());
        if !meant || self.users.acting(None) != Ok(user) {
            return;
        }
        if let Some(machine) = self.dialects.link.as_mut() {
            machine.room_forget_kept(now.mono, room.as_ref());
        }
        self.settle_link(now);
    }

    /// Messages of ours will not be said.
    pub(super) fn room_unsaid(&mut self, entries: Vec<EntryId>) {
        for entry in entries {
            if let Some(ticket) = self.posts.remove(&entry) {
                let reason = "its author left the room before it was said".into();
                self.answer(ticket, Err(Refusal::Failed { reason }));
            }
        }
    }

    /// A message of ours is durable at somebody's box.
    pub(super) fn room_delivered(&mut self, now: Now, entry: EntryId, user: &Handle, to: &[Far]) {
        for far in to {
            let (peer, recipient) = (self.room_peer(far), self.room_name(far));
            let fate = Fate { entry, user: Some(user.clone()), peer, recipient, kept: true };
            self.tell_fate(now, fate, Delivery::Delivered, None);
        }
    }

    /// What an author is called: his handle alone only where it is his.
    fn room_author(&self, line: &Line) -> String {
        let name = match line.ours {
            Some(_) => line.from.handle.to_string(),
            None => self.room_name(&line.from),
        };
        if line.late { format!("{name} (out of order)") } else { name }
    }

    fn room_name(&self, far: &Far) -> String {
        let owner = self.dialects.link.as_ref().and_then(|m| m.owner(&far.handle));
        let ours = self.users.called(far.handle.as_str()).is_some();
        match ours || owner.is_some_and(|of| of != far.of) {
            true => format!("{}@{}", far.handle, far.of),
            false => far.handle.to_string(),
        }
    }

    fn room_peer(&self, far: &Far) -> PeerId {
        let machine = self.dialects.link.as_ref();
        let pinned = machine.is_some_and(|m| m.owner(&far.handle) == Some(far.of));
        let [a, b, c, d, ..] = far.of.0;
        let place = if pinned { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(a, b, c, d) };
        roster::peer_id(Dialect::Link, &far.handle, place)
    }
}

/// Whether a name means a room, not a person or the lobby.
pub(super) fn is_room(name: &str) -> bool {
    name.starts_with('#') && !name.eq_ignore_ascii_case(LOBBY)
}

/// Whether there is a place for this user (a guest, or not) in a room; and which one, that
/// nobody who is `here` is in, makes it.
fn room_place<'a>(
    views: &'a [View],
    here: impl Fn(&Handle) -> bool,
    (handle, guest): (&Handle, bool),
    room: &RoomName,
) -> Result<Option<&'a View>, Refusal> {
    let used: Vec<&View> = views.iter().filter(|v| !v.users.is_empty()).collect();
    let is_in = |v: &&&View| v.users.iter().any(|u| u.is(handle.as_str()));
    let wanted = used.iter().find(|v| v.name.key() == room.key());
    if wanted.is_some_and(|v| is_in(&v)) {
        return Ok(None);
    }
    if guest && used.iter().filter(is_in).count() >= ROOMS_OF_GUEST {
        let what = "rooms of one guest: ROOM LEAVE one first".into();
        return Err(Refusal::TooMany { what, limit: ROOMS_OF_GUEST as u64 });
    }
    let most = if guest { ROOMS_FOR_GUESTS } else { MAX_ROOMS };
    if wanted.is_some() || used.len() < most {
        return Ok(None);
    }
    let gone = used.into_iter().find(|v| !v.users.iter().any(&here));
    match gone {
        Some(gone) => Ok(Some(gone)),
        None if guest => {
            let what = "rooms of this node that a guest may make".into();
            Err(Refusal::TooMany { what, limit: ROOMS_FOR_GUESTS as u64 })
        }
        None => Err(refusal(Cannot::TooManyRooms, room)),
    }
}

fn named(name: &str) -> Result<RoomName, Refusal> {
    RoomName::try_from(name).map_err(|expected| Refusal::bad("the room", name, expected))
}

fn no_link() -> Refusal {
    Refusal::Failed { reason: "rooms need the link, which is off: link.enabled".into() }
}

fn refusal(cannot: Cannot, room: &RoomName) -> Refusal {
    match cannot {
        Cannot::TooManyRooms => {
            Refusal::TooMany { what: "rooms of this node".into(), limit: MAX_ROOMS as u64 }
        }
        Cannot::NotIn => {
            Refusal::Failed { reason: format!("you are not in {room}: ROOM JOIN {room} enters") }
        }
        Cannot::TooMuch => Refusal::TooMany {
            what: format!("messages that wait to be kept in {room}"),
            limit: ROOM_POSTS as u64,
        },
        Cannot::TooLong => Refusal::TooLong { bytes: 0, limit: ROOM_TEXT as u64 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(text: &str) -> Handle {
        Handle::try_from(text).unwrap()
    }

    fn room(n: usize) -> RoomName {
        RoomName::try_from(format!("r{n}").as_str()).unwrap()
    }

    fn held(count: usize, by: &str) -> Vec<View> {
        let view = |n| View { name: room(n), users: vec![handle(by)], others: Vec::new() };
        (0..count).map(view).collect()
    }

    fn place(views: &[View], who: (&str, bool), n: usize) -> Result<Option<RoomName>, Refusal> {
        let gone = |user: &Handle| !user.is("gone");
        room_place(views, gone, (&handle(who.0), who.1), &room(n))
            .map(|v| v.map(|v| v.name.clone()))
    }

    #[test]
    fn one_guest_is_in_few_rooms_and_guests_leave_half_of_them_to_others() {
        let (anna, ben) = (("anna", true), ("ben", false));
        assert_eq!(place(&held(ROOMS_OF_GUEST - 1, "anna"), anna, 99), Ok(None));
        assert!(place(&held(ROOMS_OF_GUEST, "anna"), anna, 99).is_err());
        assert_eq!(place(&held(ROOMS_OF_GUEST, "anna"), anna, 0), Ok(None), "she is in it");
        assert_eq!(place(&held(ROOMS_OF_GUEST, "ben"), ben, 99), Ok(None));
        let eight = held(ROOMS_FOR_GUESTS, "bob");
        assert!(place(&eight, anna, 99).is_err());
        assert_eq!(place(&eight, anna, 0), Ok(None), "one that is there she may enter");
        assert_eq!(place(&eight, ben, 99), Ok(None));
        assert!(place(&held(MAX_ROOMS, "bob"), ben, 99).is_err());
    }

    #[test]
    fn a_room_that_only_gone_guests_hold_makes_place() {
        for (who, most) in [(("anna", true), ROOMS_FOR_GUESTS), (("ben", false), MAX_ROOMS)] {
            let mut views = held(most, "bob");
            views[5].users = vec![handle("gone")];
            assert_eq!(place(&views, who, 99), Ok(Some(room(5))));
            views[5].users.push(handle("bob"));
            assert!(place(&views, who, 99).is_err());
        }
    }
}
