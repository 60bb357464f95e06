//! What was read: said to who wrote it, and heard of what we wrote, where both boxes allow it.
//!
//! Somebody has read what came from a peer when he asks for what was said with him, answers him, or
//! his program says so (`MarkRead`). Kept for this run alone: a mark that a restart loses leaves
//! the message `delivered`. Where `link.read` is off, as it is at first, nothing is remembered.

use std::collections::VecDeque;

use super::LinkedPeers;
use crate::dialect::link::machine::MAX_READ;
use crate::dialect::link::noise::Fingerprint;
use crate::model::history::Change;
use crate::model::{Answer, Delivery, EntryId, Handle, Map, Now, PeerId, Refusal, UserId};
use crate::node::Node;
use crate::node::delivery::{Fate, Target};

/// Conversations of which unread messages are remembered.
const MAX_UNREAD: usize = 256;
/// Messages of ours that arrived, and may be said to be read.
const MAX_ARRIVED: usize = 1_024;

/// A message of ours that is durable at its addressee's box: 32 bytes, and nothing on the heap.
struct Arrived {
    entry: EntryId,
    /// Who wrote it, if he is still here by the handle that it was written with.
    user: Option<UserId>,
    peer: PeerId,
}

/// See the module.
#[derive(Default)]
pub(in crate::node) struct Marks {
    /// By user and peer: what their authors call them.
    unread: Map<(String, PeerId), VecDeque<EntryId>>,
    /// Whose box has them; the oldest first. One block from the first one on: blocks that grow
    /// leave holes behind.
    arrived: VecDeque<Arrived>,
}

impl Marks {
    fn came(&mut self, user: &Handle, from: PeerId, entry: EntryId) {
        let key = (user.key(), from);
        if !self.unread.contains_key(&key) && self.unread.len() >= MAX_UNREAD {
            self.unread.pop_first();
        }
        let unread = self.unread.entry(key).or_default();
        if unread.len() >= MAX_READ {
            unread.pop_front();
        }
        unread.push_back(entry);
    }

    fn arrived(&mut self, user: Option<UserId>, entry: EntryId, peer: PeerId) {
        if self.arrived.len() >= MAX_ARRIVED {
            self.arrived.pop_front();
        }
        self.arrived.reserve_exact(MAX_ARRIVED - self.arrived.len());
        self.arrived.push_back(Arrived { entry, user, peer });
    }

    /// A peer is another box from now on: what arrived at the one before it cannot say was read.
    pub(super) fn moved(&mut self, peer: PeerId) {
        self.arrived.retain(|a| a.peer != peer);
    }

    /// A message of ours that was read, if `is_at` says of its peer that it is the one who says so.
    fn read(&mut self, entry: EntryId, is_at: impl Fn(PeerId) -> bool) -> Option<Arrived> {
        let at = self.arrived.iter().position(|a| a.entry == entry && is_at(a.peer))?;
        self.arrived.remove(at)
    }
}

impl Node {
    /// A user has read what came from a peer.
    pub(in crate::node) fn has_read(&mut self, now: Now, user: UserId, peer: PeerId) {
        let Some(key) = self.users.get(user).map(|u| u.handle.key()) else { return };
        let Some(unread) = self.linked.marks.unread.remove(&(key, peer)) else { return };
        let Some(of) = self.linked.get(peer).map(|l| l.far.of) else { return };
        if let Some(machine) = self.link() {
            machine.read(now.mono, of, unread.into());
        }
        self.settle_link(now);
    }

    /// MarkRead, and whatever shows that a user has read what a name said.
    pub(in crate::node) fn mark_read(
        &mut self,
        now: Now,
        user: UserId,
        name: &str,
    ) -> Result<Answer, Refusal> {
        if let Target::Linked(peer) = self.resolve(name)? {
            self.has_read(now, user, peer);
        }
        Ok(Answer::Done)
    }

    /// A peer's box confirmed a message of one of our users.
    pub(super) fn has_arrived(&mut self, user: &Handle, entry: EntryId, peer: PeerId) {
        if self.settings.link.read {
            let user = self.users.called(user.as_str());
            self.linked.marks.arrived(user, entry, peer);
        }
    }

    /// A message came for one of our users, and is durable.
    pub(super) fn has_come(&mut self, user: &Handle, from: PeerId, theirs: EntryId) {
        if self.settings.link.read {
            self.linked.marks.came(user, from, theirs);
        }
    }

    /// A box says that people read these.
    pub(super) fn linked_read(&mut self, now: Now, of: Fingerprint, entries: &[EntryId]) {
        for entry in entries {
            let LinkedPeers { by_id, marks, .. } = &mut self.linked;
            // only of what it confirmed before
            let is_at = |peer| by_id.get(&peer).is_some_and(|l| l.far.of == of);
            let Some(Arrived { user, peer, .. }) = marks.read(*entry, is_at) else { continue };
            let user = user.and_then(|u| self.users.get(u)).map(|u| u.handle.clone());
            let (id, state, recipient) = (*entry, Delivery::Read, self.linked_name(peer));
            if user.is_some() {
                let fate = Fate { entry: id, user, peer, recipient, kept: true };
                self.tell_fate(now, fate, state, None);
            } else {
                // kept for when he comes back; to nobody else it is news
                self.keep_soon(now, Change::State { id, peer, state, reason: None });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::link::words::Far;
    use crate::node::linked::Linked;

    #[test]
    fn one_past_each_bound_the_oldest_is_forgotten() {
        let (mut marks, user) = (Marks::default(), Handle::try_from("anna").unwrap());
        let entry = |n| EntryId { epoch: 1, n };
        for n in 0..=MAX_READ as u64 {
            marks.came(&user, PeerId(0), entry(n));
        }
        assert_eq!(marks.unread.values().map(VecDeque::len).sum::<usize>(), MAX_READ);
        for n in 0..=MAX_UNREAD as u64 {
            marks.came(&user, PeerId(n), entry(n));
        }
        assert_eq!(marks.unread.len(), MAX_UNREAD);
        for n in 0..=2 * MAX_ARRIVED as u64 {
            marks.arrived(Some(UserId(0)), entry(n), PeerId(1));
            assert_eq!(marks.arrived.capacity(), MAX_ARRIVED, "one block for all");
        }
        assert_eq!(marks.arrived.len(), MAX_ARRIVED);
        let (oldest, at) = (MAX_ARRIVED as u64 + 1, |peer| peer == PeerId(1));
        assert!(marks.read(entry(oldest - 1), at).is_none());
        assert!(marks.read(entry(oldest), |_| false).is_none(), "of another box");
        assert!(marks.read(entry(oldest), at).is_some());
        assert!(marks.read(entry(oldest), at).is_none(), "once");
    }

    #[test]
    fn the_next_key_of_a_handle_says_of_nothing_that_the_one_before_got() {
        let mut peers = LinkedPeers::default();
        let entry = EntryId { epoch: 1, n: 1 };
        let of = |n| Fingerprint([n; 16]);
        for n in 1..=2 {
            let handle = Handle::try_from(format!("p{n}").as_str()).unwrap();
            let far = Far { of: of(n), handle };
            let (id, at, v4, claimed) = (PeerId(n.into()), None, Vec::new(), Vec::new());
            let (away, here, verified, heard, pinned) = (false, false, false, None, true);
            let linked = Linked { id, far, at, v4, claimed, away, here, verified, heard, pinned };
            peers.by_id.insert(id, linked);
            peers.marks.arrived(None, entry, id);
        }
        peers.forget(&Handle::try_from("p1").unwrap(), of(1));
        assert!(peers.marks.read(entry, |peer| peer == PeerId(1)).is_none());
        assert!(peers.marks.read(entry, |peer| peer == PeerId(2)).is_some(), "of another handle");
    }
}
