//! Whom the link knows, what they say, and what is said to them.
//!
//! A linked peer is one key and one handle. Its handle is its own here: whoever bears it in a plain
//! dialect is somebody else, save at an address that its box itself says is its own, where both
//! are one peer and the link is the way to it. It can be written to while it is not here: the
//! link keeps that, and nothing of it ever goes another way.
//!
//! This file is their table, and what passes between the link and the node: its sockets, what it
//! keeps. `heard` is what they say, `sent` what is said to them, `marks` what was read, `names` how
//! people call and see them.

mod heard;
mod marks;
mod names;
mod sent;

use std::net::{Ipv4Addr, SocketAddr};

use self::marks::Marks;
use super::Node;
use super::delivery::Target;
use super::history::{Durable, Job};
use super::io::Input;
use super::roster;
use crate::config::AcceptFrom;
use crate::dialect::link::machine::{Beaconed, CAPABILITIES, Machine, READ};
use crate::dialect::link::noise::{Fingerprint, Secret};
use crate::dialect::link::words::{Far, Keep, Me, Out, Setup};
use crate::model::history::{Change, Row};
use crate::model::limits::LINK_HEARD;
use crate::model::{Dialect, EntryId, Handle, Map, Millis, Now, PeerId, UserId, Wall, What};

/// The number that marks the link's sockets and streams; see `dialects`.
pub(super) const TAG: u8 = 5;

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
    by_id: Map<PeerId, Linked>,
    /// The claim of a handle that VERIFY showed last: what TRUST may accept.
    shown: Option<(Handle, Fingerprint)>,
    /// What waits: its order, and since when on this run's steady clock.
    waiting: Map<EntryId, (u64, Millis)>,
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
        let LinkedPeers { by_id, marks, .. } = self;
        by_id.retain(|id, l| {
            let stays = l.far.of != of || !l.far.handle.is(handle.as_str());
            if !stays {
                marks.moved(*id);
            }
            stays
        });
    }

    /// Those of a handle: the one it is pinned to, and guests that are here.
    pub(super) fn called(&self, handle: &str) -> impl Iterator<Item = &Linked> + use<'_> {
        let handle = handle.to_owned();
        self.by_id.values().filter(move |l| l.far.handle.is(&handle))
    }
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
                self.has_come(&taken.to, taken.peer, theirs);
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
        let LinkedPeers { by_id, marks, .. } = &mut self.linked;
        let linked = by_id.entry(id).or_insert_with(fresh);
        if linked.far.of != far.of {
            // TRUST gave the handle to another key, which has nothing of what the one before got
            *linked = fresh();
            marks.moved(id);
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
