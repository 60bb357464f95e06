//! Whom the link knows, what they say, and what is said to them.
//!
//! A linked peer is one key and one handle. Its handle is its own here: whoever bears it in a plain
//! dialect is somebody else, save at an address that its box itself says is its own, where both
//! are one peer and the link is the way to it. It can be written to while it is not here: the
//! link keeps that, and nothing of it ever goes another way.

mod marks;
mod names;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::marks::Marks;
use super::Node;
use super::delivery::{Fate, LOBBY_CONVERSATION, Target};
use super::history::{Draft, Durable, Job, LOBBY_KEY};
use super::io::Input;
use super::roster;
use crate::config::AcceptFrom;
use crate::dialect::link::frame::Content;
use crate::dialect::link::machine::{Beaconed, CAPABILITIES, Machine, READ};
use crate::dialect::link::noise::{Fingerprint, Secret};
use crate::dialect::link::words::{Far, Heard, Keep, Me, Out, Sending, Settled, Setup};
use crate::model::history::{Body, Change, Row};
use crate::model::limits::{LINK_HEARD, LINK_QUEUE};
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Handle, Millis, Now, PeerId, Refusal, UserId, Wall, What,
};

/// The number that marks the link's sockets and streams; see `dialects`.
pub(super) const TAG: u8 = 5;

/// What waits too long and is on its way is looked at again after this.
const LOOK_AGAIN_MS: Millis = 60_000;

/// What the link needs from outside at birth.
#[derive(Clone)]
pub struct Identity {
    /// The box's static secret.
    pub secret: Secret,
    /// 32 bytes of the kernel's randomness, for this run alone.
    pub seed: [u8; 32],
}

/// Someone the link knows.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) id: PeerId,
    pub(super) far: Far,
    at: Option<SocketAddr>,
    v4: Vec<Ipv4Addr>,
    claimed: Vec<Ipv4Addr>,
    away: bool,
    pub(super) here: bool,
    verified: bool,
    heard: Option<Wall>,
    /// Its handle is pinned to its key; else it is a guest of its box.
    pinned: bool,
}

impl Linked {
    /// Whether he is one of whom files are taken unasked.
    pub(super) fn is_among(&self, who: AcceptFrom) -> bool {
        match who {
            AcceptFrom::Nobody => false,
            AcceptFrom::Verified => self.verified,
            AcceptFrom::Pinned => self.pinned,
            AcceptFrom::Anyone => true,
        }
    }
}

/// The table of those who are here, and of those whose handle is pinned.
#[derive(Default)]
pub(super) struct LinkedPeers {
    by_id: BTreeMap<PeerId, Linked>,
    /// The claim of a handle that VERIFY showed last: what TRUST may accept.
    shown: Option<(Handle, Fingerprint)>,
    /// What waits: its order, and since when on this run's steady clock.
    waiting: BTreeMap<EntryId, (u64, Millis)>,
    /// Nothing expires before this.
    expires: Option<Millis>,
    marks: Marks,
}

impl LinkedPeers {
    pub(super) fn get(&self, id: PeerId) -> Option<&Linked> {
        self.by_id.get(&id)
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.expires
    }

    pub(super) fn here(&self) -> impl Iterator<Item = &Linked> {
        self.by_id.values().filter(|l| l.here)
    }

    /// Room for one more. A box may write in any guest's name: of guests that are gone, only so
    /// many are known.
    fn make_room(&mut self) {
        let gone = || self.by_id.values().filter(|l| !l.here && !l.pinned);
        if gone().count() >= LINK_HEARD {
            let oldest = gone().min_by_key(|l| l.heard).map(|l| l.id);
            oldest.map(|id| self.by_id.remove(&id));
        }
    }

    /// A handle is that key's no more.
    fn forget(&mut self, handle: &Handle, of: Fingerprint) {
        self.by_id.retain(|_, l| l.far.of != of || !l.far.handle.is(handle.as_str()));
    }

    /// Those of a handle: the one it is pinned to, and guests that are here.
    pub(super) fn called(&self, handle: &str) -> impl Iterator<Item = &Linked> + use<'_> {
        let handle = handle.to_owned();
        self.by_id.values().filter(move |l| l.far.handle.is(&handle))
    }
}

/// Something that waits with the link.
pub(super) struct Waiting<'a> {
    pub(super) order: u64,
    /// When it began to wait, or this run did.
    pub(super) since: Millis,
    pub(super) user: &'a Handle,
    pub(super) handle: &'a Handle,
}

/// A message that was taken, to be told of once it is durable.
pub(super) struct Taken {
    pub(super) user: UserId,
    pub(super) to: Handle,
    pub(super) peer: PeerId,
    pub(super) what: What,
    pub(super) reply: Option<String>,
    /// It is the offer of this file.
    pub(super) offered: Option<u64>,
    /// What its author calls it, if he may be told that it was read.
    pub(super) theirs: Option<EntryId>,
}

/// What the link waits for.
pub(super) struct LinkJob {
    token: u64,
    taken: Option<Taken>,
}

impl Node {
    fn link(&mut self) -> Option<&mut Machine> {
        self.dialects.link.as_mut()
    }

    /// Starts the link, if it is on and there is a key.
    pub(super) fn begin_link(&mut self, now: Now, identity: Option<Identity>, kept: &[Row]) {
        let settings = &self.settings.link;
        let Some(identity) = identity.filter(|_| settings.enabled) else { return };
        let setup = Setup {
            secret: identity.secret,
            seed: identity.seed,
            port: settings.port,
            beacon_port: settings.port,
            beacon: settings.beacon,
            announce: Millis::from(settings.announce) * 1_000,
            named: settings.peers.clone(),
            capabilities: CAPABILITIES | if settings.read { READ } else { 0 },
            tell: settings.tell,
            keep: self.outbox_keep(),
            sockets: u32::from(TAG) << 24,
            streams: u64::from(TAG) << 56,
        };
        let machine = Machine::new(now.mono, setup, kept);
        let pinned: Vec<Far> = machine.pins().cloned().collect();
        self.dialects.link = Some(machine);
        self.remember_files();
        for far in pinned {
            self.know_linked(&far);
        }
        self.tell_link_of_us(now);
    }

    /// Tells the link who we are now.
    pub(super) fn tell_link_of_us(&mut self, now: Now) {
        let me = |u: &super::users::User| Me {
            handle: u.handle.clone(),
            guest: u.guest,
            joined: u.joined,
            away: u.away.then(|| u.answers().unwrap_or_default().to_owned()),
        };
        let users: Vec<Me> = self.users.iter().map(|(_, u)| me(u)).collect();
        if let Some(machine) = self.link() {
            machine.set_users(now.mono, users);
        }
    }

    pub(super) fn link_set_interfaces(&mut self, now: Now) {
        let names = &self.settings.interfaces;
        let wanted = |name: &String| names.is_empty() || names.contains(name);
        let all = self.interfaces.iter().filter(|i| wanted(&i.name)).cloned().collect();
        let v4: Vec<Ipv4Addr> = self.links.iter().map(|l| l.address).collect();
        if let Some(machine) = self.link() {
            machine.set_interfaces(now.mono, all);
            machine.set_addresses(now.mono, v4);
        }
    }

    /// Something happened on a socket or stream of the link's.
    pub(super) fn link_network(&mut self, now: Now, input: Input) {
        let Some(m) = self.link() else { return };
        let now = now.mono;
        match input {
            Input::Bound(socket) => m.bound(now, socket),
            Input::BindFailed(socket, error) => m.bind_failed(now, socket, &error),
            Input::Beacon { socket, from, link, bytes } => {
                m.beaconed(now, &Beaconed { socket, from, link, bytes });
            }
            Input::AcceptedBoth { socket, stream, from } => m.accepted(now, socket, stream, from),
            Input::Connected(stream) => m.connected(now, stream),
            Input::Bytes(stream, bytes) => m.stream_bytes(now, stream, &bytes),
            Input::End(stream) => m.stream_end(now, stream),
            Input::Wrote(stream) => m.wrote(now, stream),
            Input::Closed(stream, error) => m.stream_closed(now, stream, &error),
            _ => {}
        }
    }

    /// Carries out what the link brought up; whether there was anything.
    pub(super) fn settle_link(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(out) = self.link().and_then(Machine::poll) {
            any = true;
            match out {
                Out::Net(net) => self.link_net(net),
                Out::Keep(keep) => self.link_keeps(now, keep, None, Vec::new()),
                Out::File(no, act) => self.link_file(no, act),
                Out::Heard(heard) => self.link_heard(now, heard),
            }
        }
        any
    }

    pub(super) fn link_keeps(
        &mut self,
        now: Now,
        keep: Keep,
        taken: Option<Taken>,
        more: Vec<Change>,
    ) {
        let rows = keep.rows.into_iter().map(Change::Link);
        if keep.token == 0 {
            return more.into_iter().chain(rows).for_each(|row| self.keep_soon(now, row));
        }
        let changes = more.into_iter().chain(rows).collect();
        self.keep_first(now, changes, Job::Link(Box::new(LinkJob { token: keep.token, taken })));
    }

    /// What the link waits for is durable, or will not be.
    pub(super) fn link_kept(&mut self, now: Now, job: LinkJob, durable: &Durable) {
        let kept = *durable == Durable::Yes;
        if let Some(machine) = self.link() {
            machine.kept(now.mono, job.token, kept);
        }
        if let Some(no) = job.taken.as_ref().and_then(|t| t.offered) {
            self.offer_kept(no, durable);
        }
        if let Some(taken) = job.taken.filter(|_| kept) {
            let auto = matches!(taken.what, What::Message { autoreply: true, .. });
            if let Some(theirs) = taken.theirs {
                self.linked.marks.came(&taken.to, taken.peer, theirs);
            }
            self.tell(now, Some(taken.to), taken.what);
            self.link_autoreply(now, taken.user, taken.peer, taken.reply.filter(|_| !auto));
        }
    }

    fn link_autoreply(&mut self, now: Now, user: UserId, to: PeerId, reply: Option<String>) {
        let (Some(reply), Some(linked)) = (reply, self.linked.get(to)) else { return };
        let [a, b, c, d, ..] = linked.far.of.0;
        // each box counts as a host of its own: its key cannot be forged
        if self.answered.allow(now.mono, user, to, Ipv4Addr::new(a, b, c, d)) {
            self.autoreply_out(now, user, Target::Linked(to), reply);
        }
    }

    fn link_heard(&mut self, now: Now, heard: Heard) {
        match heard {
            Heard::Here { who, at, v4, claimed, away, verified, .. } => {
                self.linked_here(now, &who, at, (v4, claimed), away.is_some(), verified);
            }
            Heard::Gone { who, why } => self.linked_gone(now, &who, why),
            Heard::Message { token, from, entry, to, content, .. } => {
                self.linked_message(now, (token, entry), &from, &to, content);
            }
            Heard::File { no, news } => self.link_file_news(now, no, news),
            Heard::Settled { done, rows } => {
                rows.into_iter().for_each(|row| self.keep_soon(now, Change::Link(row)));
                done.into_iter().for_each(|settled| self.linked_settled(now, settled));
            }
            Heard::Room(write) => self.room_heard(now, *write),
            Heard::RoomDelivered { entry, from, to } => {
                self.room_delivered(now, entry, &from, &to);
            }
            Heard::Unsaid(entries) => self.room_unsaid(entries),
            Heard::Read { of, entries } => self.linked_read(now, of, &entries),
            Heard::Pinned(who) => drop(self.know_linked(&who)),
            Heard::Changed { claim, at, .. } => {
                let who = &claim.handle;
                let text = format!(
                    "somebody at {} says to be {who}, with another key than the {who} you know: \
                     refused. VERIFY {who} shows both; TRUST {who} accepts the new one",
                    at.ip()
                );
                self.trouble(now, text);
            }
            Heard::Twin(at) => {
                let text = format!(
                    "another node at {} has this box's own key: end one of them and remove its \
                     link.key, so that it makes one of its own",
                    at.ip()
                );
                self.trouble(now, text);
            }
            Heard::Trouble(None) => drop(self.dialects.troubles.remove(&Dialect::Link)),
            Heard::Trouble(Some(text)) => {
                self.dialects.troubles.insert(Dialect::Link, text.clone());
                self.trouble(now, text);
            }
            Heard::Complaint { from, text } => match from.ip() {
                IpAddr::V4(ip) => self.complain(now, ip, &text),
                ip => self.complain(now, Ipv4Addr::UNSPECIFIED, &format!("{ip}: {text}")),
            },
        }
    }

    /// The entry of somebody in the table, made if need be.
    pub(super) fn know_linked(&mut self, far: &Far) -> PeerId {
        let id = self.linked_id(far);
        let pinned = self.link().is_some_and(|m| m.owner(&far.handle) == Some(far.of));
        let verified = self.link().is_some_and(|m| m.is_verified(far.of));
        let fresh = || Linked {
            id,
            far: far.clone(),
            at: None,
            v4: Vec::new(),
            claimed: Vec::new(),
            away: false,
            here: false,
            verified,
            heard: None,
            pinned,
        };
        if self.linked.get(id).is_none() {
            self.linked.make_room();
        }
        let linked = self.linked.by_id.entry(id).or_insert_with(fresh);
        if linked.far.of != far.of {
            // TRUST gave the handle to another key
            *linked = fresh();
        }
        linked.far.handle = far.handle.clone();
        id
    }

    /// The id that somebody has in the table, there or not.
    pub(super) fn linked_id(&self, far: &Far) -> PeerId {
        let machine = self.dialects.link.as_ref();
        let pinned = machine.is_some_and(|m| m.owner(&far.handle) == Some(far.of));
        let [a, b, c, d, ..] = far.of.0;
        let place = if pinned { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(a, b, c, d) };
        roster::peer_id(Dialect::Link, &far.handle, place)
    }

    fn linked_here(
        &mut self,
        now: Now,
        who: &Far,
        at: SocketAddr,
        (v4, claimed): (Vec<Ipv4Addr>, Vec<Ipv4Addr>),
        away: bool,
        verified: bool,
    ) {
        let id = self.know_linked(who);
        let Some(linked) = self.linked.by_id.get_mut(&id) else { return };
        let (was_here, was_away) = (linked.here, linked.away);
        linked.here = true;
        (linked.at, linked.v4, linked.away, linked.verified) = (Some(at), v4, away, verified);
        (linked.heard, linked.claimed) = (Some(now.wall), claimed);
        let (handle, dialect) = (who.handle.to_string(), Dialect::Link);
        self.hide_twins(now);
        if self.is_blocked(&handle) {
            return;
        }
        if !was_here {
            let (address, port) = (at.ip().to_string(), at.port());
            let what =
                What::PeerJoined { peer: id, handle: handle.clone(), dialect, address, port };
            self.tell(now, None, what);
        }
        if away != (was_here && was_away) {
            let what = match away {
                true => What::PeerAway { peer: id, handle, dialect },
                false => What::PeerBack { peer: id, handle, dialect },
            };
            self.tell(now, None, what);
        }
    }

    fn linked_gone(&mut self, now: Now, who: &Far, reason: String) {
        let id = self.know_linked(who);
        let Some(linked) = self.linked.by_id.get_mut(&id) else { return };
        let was_here = std::mem::replace(&mut linked.here, false);
        if !linked.pinned {
            self.linked.by_id.remove(&id);
        }
        let handle = who.handle.to_string();
        if was_here && !self.is_blocked(&handle) {
            let what = What::PeerLeft { peer: id, handle, dialect: Dialect::Link, reason };
            self.tell(now, None, what);
        }
        self.hide_twins(now);
    }

    fn linked_message(
        &mut self,
        now: Now,
        (token, theirs): (u64, EntryId),
        from: &Far,
        to: &Handle,
        content: Content,
    ) {
        let user = self.users.called(to.as_str());
        let decided = match (content, user) {
            _ if self.is_blocked(from.handle.as_str()) => Err("not wanted"),
            (Content::Text { text, autoreply, lobby }, Some(user)) => {
                Ok((text, autoreply, lobby, user))
            }
            (Content::Offer(offer), Some(user)) => {
                return self.file_offered(now, token, from, user, &offer);
            }
            (_, None) => Err("nobody of that name is there"),
            // the machine refuses what it does not know
            (Content::Unknown(_) | Content::Verdict(_), _) => {
                Err("that box does not know this kind of message")
            }
        };
        let (text, autoreply, lobby, user) = match decided {
            Ok(text) => text,
            Err(why) => {
                let keep = self.link().map(|m| m.refuse(token, why));
                return keep.into_iter().for_each(|k| self.link_keeps(now, k, None, Vec::new()));
            }
        };
        let peer = self.know_linked(from);
        let Some(of_user) = self.users.get(user) else { return };
        let to = of_user.handle.clone();
        let reply = of_user.answers().filter(|_| !lobby).map(ToOwned::to_owned);
        if let Some(linked) = self.linked.by_id.get_mut(&peer) {
            linked.heard = Some(now.wall);
        }
        let id = self.new_entry();
        let conversation = if lobby { LOBBY_KEY.into() } else { from.handle.key() };
        let entry = self.entry(
            now,
            Draft {
                id,
                user: Some(to.clone()).filter(|_| !lobby),
                conversation,
                from: from.handle.to_string(),
                direction: Direction::In,
                dialect: Dialect::Link,
                body: Body::Text { text: text.clone() },
                autoreply,
                recipients: Vec::new(),
            },
        );
        let what = What::Message {
            id,
            conversation: if lobby { LOBBY_CONVERSATION.into() } else { peer.to_string() },
            from: self.linked_name(peer),
            to: to.to_string(),
            peer,
            dialect: Dialect::Link,
            direction: Direction::In,
            text,
            autoreply,
        };
        let Some(keep) = self.link().map(|m| m.take(token)) else { return };
        let taken = Taken { user, to, peer, what, reply, offered: None, theirs: Some(theirs) };
        self.link_keeps(now, keep, Some(taken), vec![Change::Put(Box::new(entry))]);
    }

    /// Something waits for somebody linked, since now.
    pub(super) fn link_waits(&mut self, now: Now, entry: EntryId, order: u64) {
        self.linked.waiting.insert(entry, (order, now.mono));
        let at = now.mono + self.outbox_keep();
        self.linked.expires = Some(self.linked.expires.map_or(at, |e| e.min(at)));
    }

    /// Those of what waits with the link, and was not sent yet, that are wanted no more fail.
    pub(super) fn cancel_linked(
        &mut self,
        now: Now,
        why: &str,
        unwanted: impl Fn(&Waiting<'_>) -> bool,
    ) {
        let waiting = std::mem::take(&mut self.linked.waiting);
        let cancelled = self.link().map(|m| {
            m.cancel(|m| {
                let (order, since) = waiting.get(&m.entry).copied().unwrap_or_default();
                unwanted(&Waiting { order, since, user: &m.from, handle: &m.to })
            })
        });
        self.linked.waiting = waiting;
        let Some((cancelled, rows)) = cancelled else { return };
        rows.into_iter().for_each(|row| self.keep_soon(now, Change::Link(row)));
        for settled in cancelled {
            let settled = Settled { refused: Some(why.to_owned()), ..settled };
            self.linked_settled(now, settled);
        }
    }

    /// Gives up what waited too long.
    pub(super) fn tick_linked(&mut self, now: Now) {
        if self.linked.expires.is_none_or(|at| at > now.mono) {
            return;
        }
        let keep = self.outbox_keep();
        let after = crate::config::rows::span(keep / 1_000);
        let why = format!("not sent within {after} (outbox.keep): not here");
        self.cancel_linked(now, &why, |w| w.since + keep <= now.mono);
        let next = self.linked.waiting.values().map(|(_, since)| since + keep).min();
        // what is on its way, and over, is looked at again
        self.linked.expires = next.map(|at| at.max(now.mono + LOOK_AGAIN_MS));
    }

    fn linked_settled(&mut self, now: Now, settled: Settled) {
        let others = |m: &Machine| m.waiting().any(|(_, m)| m.entry == settled.entry);
        if !self.dialects.link.as_ref().is_some_and(others) {
            self.linked.waiting.remove(&settled.entry);
        }
        if self.linked.waiting.is_empty() {
            self.linked.expires = None;
        }
        if settled.offer {
            let Settled { entry, from, to, refused, .. } = settled;
            return self.offer_settled(now, entry, (from, &to), refused);
        }
        let peer = self.know_linked(&settled.to);
        let fate = Fate {
            entry: settled.entry,
            user: Some(settled.from.clone()),
            peer,
            recipient: self.linked_name(peer),
            kept: true,
        };
        if settled.refused.is_none() {
            let (user, of) = (&settled.from, settled.to.of);
            self.linked.marks.arrived(user, settled.entry, peer, of);
        }
        let state = if settled.refused.is_some() { Delivery::Failed } else { Delivery::Delivered };
        self.tell_fate(now, fate, state, settled.refused);
    }

    /// Hands a text to the link; what is to be kept with it.
    pub(super) fn link_text(
        &mut self,
        now: Now,
        entry: EntryId,
        from: &Handle,
        to: PeerId,
        content: Content,
    ) -> Result<Keep, String> {
        let gone = || "it is forgotten".to_owned();
        let far = self.linked.get(to).map(|l| l.far.clone()).ok_or_else(gone)?;
        let sending = Sending { entry, from: from.clone(), to: far, said: now.wall, content };
        let machine = self.link().ok_or_else(|| "the link is off: link.enabled".to_owned())?;
        machine.send(sending).map_err(|why| format!("the link does not take it: {why}"))
    }

    /// A text that was handed over is durable, or will not be: it may go.
    pub(super) fn link_goes(&mut self, now: Now, token: u64) {
        if let Some(machine) = self.link() {
            machine.kept(now.mono, token, true);
        }
    }

    /// Whether so many more may wait for somebody's box.
    pub(super) fn link_may_wait(&self, to: PeerId, more: usize) -> Result<(), Refusal> {
        let of = self.linked.get(to).map(|l| l.far.of);
        let waiting = self.dialects.link.as_ref().zip(of).map_or(0, |(m, of)| m.waiting_for(of));
        if waiting + more > LINK_QUEUE {
            let what = "messages that wait for one box".into();
            return Err(Refusal::TooMany { what, limit: LINK_QUEUE as u64 });
        }
        Ok(())
    }

    /// Whether the link holds an entry for somebody: it waits there, not in the outbox.
    pub(super) fn link_holds(&self, entry: EntryId, handle: &str) -> bool {
        let machine = self.dialects.link.iter();
        let mut all = machine.flat_map(Machine::waiting);
        all.any(|(_, m)| m.entry == entry && m.to.is(handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_box_makes_up_are_forgotten_past_a_bound() {
        let mut peers = LinkedPeers::default();
        let mut meet = |n: u64, pinned: bool| {
            let handle = Handle::try_from(format!("g{n}").as_str()).unwrap();
            let far = Far { of: Fingerprint([1; 16]), handle };
            peers.make_room();
            let (id, heard) = (PeerId(n), Some(Wall(n)));
            let (at, v4, claimed) = (None, Vec::new(), Vec::new());
            let (away, here, verified) = (false, false, false);
            let linked = Linked { id, far, at, v4, claimed, away, here, verified, heard, pinned };
            peers.by_id.insert(id, linked);
        };
        meet(0, true);
        (1..=2 * LINK_HEARD as u64).for_each(|n| meet(n, false));
        assert_eq!(peers.by_id.len(), 1 + LINK_HEARD);
        assert!(peers.get(PeerId(0)).is_some(), "who is pinned stays");
        assert!(peers.get(PeerId(1)).is_none(), "the one heard longest ago went");
    }
}
