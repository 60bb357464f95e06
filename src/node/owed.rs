//! States of recipients that could not be written: they are written once the disk takes them.
//!
//! An entry may be durable and the disk full when its text arrives. Were its state let go, the
//! history would say `queued` of it until the next start.

use std::collections::VecDeque;

use crate::model::Millis;
use crate::model::history::Change;

/// States that wait to be written again; beyond, the oldest are let go.
pub const MAX_OWED: usize = 1_024;
/// They are tried again after so long, unless something else is kept before.
pub const OWED_MS: Millis = 5_000;

/// See the module.
#[derive(Default)]
pub(super) struct Owed {
    /// One of a recipient at most.
    states: VecDeque<Change>,
    at: Option<Millis>,
}

/// The states among changes.
pub(super) fn states(changes: &[Change]) -> Vec<Change> {
    changes.iter().filter(|c| matches!(c, Change::State { .. })).cloned().collect()
}

/// Whether both say it of one recipient.
fn same(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::State { id, peer, .. }, Change::State { id: i, peer: p, .. }) => {
            (id, peer) == (i, p)
        }
        _ => false,
    }
}

impl Owed {
    /// These were written, or are about to be: what was owed of them is older.
    pub(super) fn newer(&mut self, states: &[Change]) {
        self.states.retain(|owed| !states.iter().any(|new| same(owed, new)));
    }

    /// These could not be written.
    pub(super) fn not_written(&mut self, now: Millis, states: Vec<Change>) {
        self.newer(&states);
        for state in states {
            // of one recipient several may be in one write: the last holds
            self.states.retain(|owed| !same(owed, &state));
            self.states.push_back(state);
        }
        while self.states.len() > MAX_OWED {
            self.states.pop_front();
        }
        self.at = (!self.states.is_empty()).then_some(now + OWED_MS);
    }

    /// When they are to be tried again.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.at
    }

    /// All of them, to be written.
    pub(super) fn take(&mut self) -> Vec<Change> {
        self.at = None;
        std::mem::take(&mut self.states).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Delivery, EntryId, PeerId};

    fn state(n: u64, state: Delivery) -> Change {
        let id = EntryId { epoch: 1, n };
        Change::State { id, peer: PeerId(7), state, reason: None }
    }

    #[test]
    fn one_past_max_owed_lets_the_oldest_go() {
        let mut owed = Owed::default();
        for n in 0..=MAX_OWED as u64 {
            owed.not_written(0, vec![state(n, Delivery::Sent)]);
        }
        let all = owed.take();
        assert_eq!((all.len(), &all[0]), (MAX_OWED, &state(1, Delivery::Sent)));
        assert_eq!((owed.take().len(), owed.wake_at()), (0, None));
    }

    #[test]
    fn of_one_recipient_the_last_state_alone_is_owed_and_none_once_a_newer_is_kept() {
        let mut owed = Owed::default();
        owed.not_written(0, vec![state(1, Delivery::Queued), state(1, Delivery::Sent)]);
        owed.not_written(9, vec![state(1, Delivery::Delivered), state(2, Delivery::Sent)]);
        assert_eq!(owed.wake_at(), Some(9 + OWED_MS));
        owed.newer(&[state(2, Delivery::Delivered)]);
        assert_eq!(owed.take(), [state(1, Delivery::Delivered)]);
    }
}
