//! What was read: said to who wrote it, and heard of what we wrote, where both boxes allow it.
//!
//! Somebody has read what came from a peer when he asks for what was said with him, answers him, or
//! his program says so (`MarkRead`). Kept for this run alone: a mark that a restart loses leaves
//! the message `delivered`.

use std::collections::VecDeque;

use crate::dialect::link::machine::MAX_READ;
use crate::dialect::link::noise::Fingerprint;
use crate::model::{Answer, Delivery, EntryId, Handle, Map, Now, PeerId, Refusal, UserId};
use crate::node::Node;
use crate::node::delivery::{Fate, Target};

/// Conversations of which unread messages are remembered.
const MAX_UNREAD: usize = 256;
/// Messages of ours that arrived, and may be said to be read.
const MAX_ARRIVED: usize = 1_024;

/// A message of ours that is durable at its addressee's box.
struct Arrived {
    entry: EntryId,
    user: Handle,
    peer: PeerId,
    of: Fingerprint,
}

/// See the module.
#[derive(Default)]
pub(in crate::node) struct Marks {
    /// By user and peer: what their authors call them.
    unread: Map<(String, PeerId), VecDeque<EntryId>>,
    /// Whose box has them; the oldest first.
    arrived: VecDeque<Arrived>,
}

impl Marks {
    pub(super) fn came(&mut self, user: &Handle, from: PeerId, entry: EntryId) {
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

    pub(super) fn arrived(&mut self, user: &Handle, entry: EntryId, peer: PeerId, of: Fingerprint) {
        if self.arrived.len() >= MAX_ARRIVED {
            self.arrived.pop_front();
        }
        self.arrived.push_back(Arrived { entry, user: user.clone(), peer, of });
    }

    fn read(&mut self, entry: EntryId, of: Fingerprint) -> Option<Arrived> {
        let at = self.arrived.iter().position(|a| (a.entry, a.of) == (entry, of))?;
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

    /// A box says that people read these.
    pub(super) fn linked_read(&mut self, now: Now, of: Fingerprint, entries: &[EntryId]) {
        for entry in entries {
            // only of what it confirmed before
            let Some(arrived) = self.linked.marks.read(*entry, of) else { continue };
            let Arrived { user, peer, .. } = arrived;
            let recipient = self.linked_name(peer);
            let fate = Fate { entry: *entry, user: Some(user), peer, recipient, kept: true };
            self.tell_fate(now, fate, Delivery::Read, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let of = Fingerprint([1; 16]);
        for n in 0..=MAX_ARRIVED as u64 {
            marks.arrived(&user, entry(n), PeerId(1), of);
        }
        assert_eq!(marks.arrived.len(), MAX_ARRIVED);
        assert!(marks.read(entry(0), of).is_none());
        assert!(marks.read(entry(1), Fingerprint([2; 16])).is_none(), "of another box");
        assert!(marks.read(entry(1), of).is_some());
        assert!(marks.read(entry(1), of).is_none(), "once");
    }
}
