//! Beacons out and in, and whom to call when.
//!
//! A beacon is believed for one thing only: that a handshake with its sender is worth a try, and
//! that little often. Of two boxes that hear each other the one of the smaller fingerprint calls
//! at once, the other a little later, so that mostly one call is made.

use std::net::{IpAddr, SocketAddr};

use super::super::beacon::{Beacon, GROUP_V4, GROUP_V6};
use super::super::frame;
use super::super::noise::Fingerprint;
use super::super::session::Session;
use super::super::words::Named;
use super::{Machine, source};
use crate::model::limits::{LINK_HEARD, LINK_SESSIONS};
use crate::model::{Millis, Net, SocketId, StreamId};

/// After a call that came to nothing the next waits so long, then twice as long …
pub const BACKOFF_MS: Millis = 1_000;
/// … up to this.
pub const BACKOFF_MAX_MS: Millis = 5 * 60_000;
/// Addresses kept of one box.
const MAX_ADDRESSES: usize = 4;
/// Calls under way at once …
const MAX_CALLS: usize = 8;
/// … and of these to boxes of which only a beacon is known.
const MAX_BLIND_CALLS: usize = 4;
/// A box that is not known is forgotten when it was not heard for so long.
const FORGET_MS: Millis = 10 * 60_000;
/// After coming up or a change beacons are repeated: one lost datagram must not hide us.
const REPEAT_MS: [Millis; 3] = [0, 1_000, 4_000];
/// Who does not call at once waits so long, and up to as long again.
const SECOND_MS: Millis = 2_000;

/// A datagram on a beacon socket.
#[derive(Debug)]
pub struct Beaconed {
    /// On which socket.
    pub socket: SocketId,
    /// Who sent it.
    pub from: SocketAddr,
    /// The interface it came in on.
    pub link: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Where a box was heard.
pub(super) struct Place {
    /// The latest first.
    at: Vec<SocketAddr>,
    heard: Millis,
    due: Option<Millis>,
    wait: Millis,
    tries: usize,
    stream: Option<StreamId>,
}

/// The boxes that the operator named.
#[derive(Default)]
pub(super) struct Calls {
    named: Vec<NamedCall>,
}

struct NamedCall {
    named: Named,
    of: Option<Fingerprint>,
    due: Millis,
    wait: Millis,
    stream: Option<StreamId>,
}

impl Machine {
    /// A datagram came in on a beacon socket.
    pub fn beaconed(&mut self, now: Millis, came: &Beaconed) {
        let Some(Ok(beacon)) = Beacon::decode(&came.bytes) else { return };
        if beacon.fingerprint == self.me || came.from.ip().is_multicast() {
            return;
        }
        let mut at = came.from;
        at.set_port(beacon.port);
        if let SocketAddr::V6(v6) = &mut at {
            if v6.ip().is_unicast_link_local() {
                v6.set_scope_id(came.link);
            }
        }
        self.heard_of(now, beacon.fingerprint, at);
    }

    /// A box is said to be there.
    pub(super) fn heard_of(&mut self, now: Millis, of: Fingerprint, at: SocketAddr) {
        if !self.places.contains_key(&of) && self.places.len() >= LINK_HEARD {
            self.forget_a_place();
        }
        let linked = self.is_linked(of);
        let first = self.me < of;
        let jitter = self.rng.below(if first { 300 } else { SECOND_MS });
        let delay = jitter + if first { 0 } else { SECOND_MS };
        let known = self.places.contains_key(&of);
        let place = self.places.entry(of).or_insert_with(|| Place {
            at: Vec::new(),
            heard: now,
            due: None,
            wait: 0,
            tries: 0,
            stream: None,
        });
        place.heard = now;
        let new = !place.at.contains(&at);
        if new {
            place.at.insert(0, at);
            place.at.truncate(MAX_ADDRESSES);
        }
        // it moved, or came back: but whoever repeats beacons does not make us call more often
        if !linked && place.stream.is_none() {
            let due = now + delay;
            if place.due.is_none() || !known || (new && place.wait <= 8 * BACKOFF_MS) {
                place.due = Some(place.due.map_or(due, |d| d.min(due)));
            }
        }
        if let Some(due) = place.due {
            self.wake_by(due);
        }
    }

    fn forget_a_place(&mut self) {
        let worth = |of: &Fingerprint, place: &Place| {
            let known = self.neighbours.get(of).is_some_and(|n| n.known || n.active.is_some());
            (known, place.stream.is_some(), place.heard)
        };
        let least = self.places.iter().min_by_key(|(of, place)| worth(of, place));
        if let Some(of) = least.map(|(of, _)| *of) {
            self.places.remove(&of);
        }
    }

    /// Beacons are due soon.
    pub(super) fn announce(&mut self, now: Millis, after: Millis) {
        if !self.setup.beacon {
            return;
        }
        self.announce_at = REPEAT_MS.iter().map(|ms| now + after + ms).collect();
        let next = self.next_announcement(now);
        self.announce_at.push(next);
        self.wake_by(now + after);
    }

    fn next_announcement(&mut self, now: Millis) -> Millis {
        let period = self.setup.announce;
        now + period * 3 / 4 + self.rng.below(period / 2 + 1)
    }

    pub(super) fn tick_beacons(&mut self, now: Millis) {
        if !self.announce_at.iter().any(|at| *at <= now) {
            return;
        }
        self.announce_at.retain(|at| *at > now);
        if self.announce_at.is_empty() {
            let next = self.next_announcement(now);
            self.announce_at.push(next);
        }
        let Some(port) = self.port else { return };
        let here = self.users.iter().filter(|u| u.joined);
        let beacon = Beacon {
            fingerprint: self.me,
            version: frame::VERSION,
            capabilities: self.setup.capabilities,
            port,
            handles: here.map(|u| u.handle.clone()).collect(),
        };
        let bytes = beacon.encode();
        for (v6, link) in self.casts() {
            let group: IpAddr = if v6 { GROUP_V6.into() } else { GROUP_V4.into() };
            let to = SocketAddr::new(group, self.setup.beacon_port);
            let socket = self.beacon_socket(v6);
            self.net(Net::Cast { socket, link, to, bytes: bytes.clone() });
        }
    }

    pub(super) fn join_groups(&mut self) {
        for (v6, link) in self.casts() {
            let group = if v6 { GROUP_V6.into() } else { GROUP_V4.into() };
            let socket = self.beacon_socket(v6);
            self.net(Net::Join { socket, link, group });
        }
    }

    fn casts(&self) -> Vec<(bool, u32)> {
        let all = self
            .interfaces
            .iter()
            .flat_map(|i| [i.v4.then_some((false, i.index)), i.v6.then_some((true, i.index))]);
        all.flatten().filter(|(v6, _)| self.beacons[usize::from(*v6)]).collect()
    }

    pub(super) fn name_calls(&mut self, now: Millis) {
        let named = self.setup.named.clone().into_iter().map(|named| NamedCall {
            of: named.fingerprint,
            named,
            due: now,
            wait: 0,
            stream: None,
        });
        self.calls.named = named.collect();
        if !self.calls.named.is_empty() {
            self.wake_by(now);
        }
    }

    /// What the operator says of the key at the other end of a call we made.
    pub(super) fn expected(&self, stream: StreamId) -> Option<Fingerprint> {
        let place = self.places.iter().find(|(_, p)| p.stream == Some(stream)).map(|(of, _)| *of);
        let named = self.calls.named.iter().find(|c| c.stream == Some(stream));
        let proof = self.proofs.get(&stream).copied();
        place.or(proof).or(named.and_then(|c| c.named.fingerprint))
    }

    /// A call we made proved this key.
    pub(super) fn call_proved(&mut self, stream: StreamId, of: Fingerprint) {
        if let Some(call) = self.calls.named.iter_mut().find(|c| c.stream == Some(stream)) {
            call.of = Some(of);
        }
    }

    /// The address is not that box's: it proved another key.
    pub(super) fn not_there(&mut self, of: Fingerprint, at: SocketAddr) {
        if let Some(place) = self.places.get_mut(&of) {
            place.at.retain(|a| *a != at);
            if place.at.is_empty() {
                self.places.remove(&of);
            }
        }
    }

    /// A session with a box is in use: no call is needed.
    pub(super) fn reached(&mut self, of: Fingerprint) {
        if let Some(place) = self.places.get_mut(&of) {
            (place.due, place.wait) = (None, 0);
        }
        for call in self.calls.named.iter_mut().filter(|c| c.of == Some(of)) {
            call.wait = 0;
        }
    }

    /// A call's stream is over; `of` whom it led to, if so far.
    pub(super) fn call_ended(&mut self, now: Millis, stream: StreamId, reached: bool) {
        let mut wake = None;
        let jitter = self.rng.below(1_000);
        let later = |wait: &mut Millis| {
            *wait = if reached { 0 } else { (*wait * 2).clamp(BACKOFF_MS, BACKOFF_MAX_MS) };
            now + *wait + *wait * jitter / 2_000
        };
        if let Some(place) = self.places.values_mut().find(|p| p.stream == Some(stream)) {
            place.stream = None;
            place.due = Some(later(&mut place.wait));
            wake = place.due;
        }
        if let Some(call) = self.calls.named.iter_mut().find(|c| c.stream == Some(stream)) {
            call.stream = None;
            call.due = later(&mut call.wait);
            wake = Some(call.due);
        }
        if let Some(at) = wake {
            self.wake_by(at);
        }
    }

    /// The last session with a box ended: it is called again, and where it can be called is
    /// known from that session.
    pub(super) fn call_back(&mut self, now: Millis, of: Fingerprint, at: SocketAddr, bye: bool) {
        self.heard_of(now, of, at);
        let first = self.me < of;
        let jitter = self.rng.below(500);
        let Some(place) = self.places.get_mut(&of) else { return };
        let delay = match (bye, first) {
            (true, _) => self.setup.announce,
            (false, true) => jitter,
            (false, false) => SECOND_MS + jitter,
        };
        place.due = Some(now + delay);
        self.wake_by(now + delay);
    }

    pub(super) fn tick_calls(&mut self, now: Millis) {
        let forgotten = |machine: &Machine, of: &Fingerprint, place: &Place| {
            let known = machine.neighbours.contains_key(of);
            !known && place.stream.is_none() && place.heard + FORGET_MS <= now
        };
        let gone: Vec<Fingerprint> = self
            .places
            .iter()
            .filter(|(of, place)| forgotten(self, of, place))
            .map(|(of, _)| *of)
            .collect();
        for of in gone {
            self.places.remove(&of);
        }
        self.tick_named(now);
        let mut due: Vec<(Millis, Fingerprint)> = Vec::new();
        for (of, place) in &self.places {
            if let (Some(at), None) = (place.due, place.stream) {
                if at <= now {
                    due.push((at, *of));
                } else {
                    self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
                }
            }
        }
        due.sort_unstable();
        for (_, of) in due {
            self.call(now, of);
        }
    }

    fn call(&mut self, now: Millis, of: Fingerprint) {
        if self.is_linked(of) {
            if let Some(place) = self.places.get_mut(&of) {
                place.due = None;
            }
            return;
        }
        let calling = self.sessions.values().filter(|s| s.initiator && !s.is_ready()).count();
        let blind = |s: &&Session| s.initiator && !s.is_ready() && !self.is_known_call(s.stream);
        let known = self.neighbours.get(&of).is_some_and(|n| n.known);
        let full = calling >= MAX_CALLS
            || self.sessions.len() >= LINK_SESSIONS
            || (!known && self.sessions.values().filter(blind).count() >= MAX_BLIND_CALLS);
        if full {
            return self.wake_by(now + BACKOFF_MS);
        }
        let Some(place) = self.places.get_mut(&of) else { return };
        if place.at.is_empty() {
            place.due = None;
            return;
        }
        let at = place.at[place.tries % place.at.len()];
        place.tries += 1;
        place.due = None;
        let stream = self.dial(now, at);
        if let Some(place) = self.places.get_mut(&of) {
            place.stream = Some(stream);
        }
    }

    fn is_known_call(&self, stream: StreamId) -> bool {
        self.expected(stream).and_then(|of| self.neighbours.get(&of)).is_some_and(|n| n.known)
    }

    fn tick_named(&mut self, now: Millis) {
        for n in 0..self.calls.named.len() {
            let call = &self.calls.named[n];
            if call.stream.is_some() {
                continue;
            }
            if call.of.is_some_and(|of| self.is_linked(of)) {
                self.calls.named[n].due = now + BACKOFF_MS;
            }
            let (due, at) = (self.calls.named[n].due, self.calls.named[n].named.at);
            if due <= now {
                let stream = self.dial(now, at);
                self.calls.named[n].stream = Some(stream);
            } else {
                self.wake_by(due);
            }
        }
    }

    pub(super) fn dial(&mut self, now: Millis, at: SocketAddr) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        let rng = self.fork();
        let session = Session::new(now, stream, at, true, &self.setup.secret, rng);
        self.sessions.insert(stream, session);
        self.net(Net::Dial(stream, at));
        self.wake_by(now + super::sessions::CALL_MS);
        stream
    }

    /// The address as limits count it.
    pub(super) fn counts_as(at: SocketAddr) -> IpAddr {
        source(at)
    }
}
