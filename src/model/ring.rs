//! The one event ring: numbered `epoch:seq`, bounded, and honest to slow readers.
//!
//! Whoever reads keeps its own [`Cursor`]; the ring knows no reader, so none can hold it up.
//!
//! Events lie in it as bytes, one after the other. As objects, each of some six small blocks, they
//! came to lie all over a heap that a flood had once made large, and held it: a megabyte and more
//! after an hour (docs/budgets.md, "Why memory was not back").

use std::collections::VecDeque;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::limits::{RING_BYTES, RING_EVENTS};
use super::{Event, Wall, What};

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Random per start of the node, 16 hexadecimal digits.
    pub epoch: String,
    /// Counts from 1 within the epoch, without holes.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a reader missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many events are missing; `null` where they belong to an earlier run.
    pub missed: Option<u64>,
    /// The first number the reader gets after the gap.
    pub next: u64,
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The reader was too slow for the ring, or away too long.
    Slow,
    /// The reader asked to resume after an event of another run of the node.
    Epoch,
}

/// Where a reader stands: the next number it wants, and a gap it must be told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    next: u64,
    foreign: bool,
}

/// The newest events are there as objects too: whoever keeps up reads those.
const NEWEST: usize = 16;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    epoch: String,
    /// Each event as JSON.
    bytes: VecDeque<u8>,
    lengths: VecDeque<usize>,
    newest: VecDeque<Rc<Stamped>>,
    next: u64,
}

impl Ring {
    /// An empty ring of this run.
    pub fn new(epoch: u64) -> Ring {
        Ring {
            epoch: format!("{epoch:016x}"),
            bytes: VecDeque::new(),
            lengths: VecDeque::new(),
            newest: VecDeque::with_capacity(NEWEST),
            next: 1,
        }
    }

    /// The run's name, as it stands in every event.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The number the next event will bear.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Numbers and keeps an event; the oldest fall out when a bound is passed.
    pub fn push(&mut self, event: Event) -> Rc<Stamped> {
        // nothing in an event is refused by JSON; what were, would be read as such
        let bytes = serde_json::to_vec(&event).unwrap_or_default();
        while self.lengths.len() >= RING_EVENTS || self.bytes.len() + bytes.len() > RING_BYTES {
            let Some(old) = self.lengths.pop_front() else { break };
            self.bytes.drain(..old);
        }
        let room = self.bytes.len() + bytes.len();
        if room > self.bytes.capacity() {
            let capacity = (2 * self.bytes.capacity()).min(RING_BYTES).max(room);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        } else if self.bytes.capacity() > RING_BYTES {
            self.bytes.shrink_to(RING_BYTES); // after one that was larger than all of it
        }
        self.bytes.extend(&bytes);
        self.lengths.push_back(bytes.len());
        let stamped = Rc::new(Stamped { epoch: self.epoch.clone(), seq: self.next, event });
        self.next += 1;
        self.newest.truncate(self.lengths.len().min(NEWEST) - 1);
        self.newest.push_front(Rc::clone(&stamped));
        stamped
    }

    /// The number of the oldest event that is kept.
    fn oldest(&self) -> u64 {
        self.next - self.lengths.len() as u64
    }

    /// An event that is kept.
    fn get(&self, seq: u64) -> Option<Rc<Stamped>> {
        let back = usize::try_from(self.next.checked_sub(seq)?.checked_sub(1)?).ok()?;
        if let Some(event) = self.newest.get(back) {
            return Some(Rc::clone(event));
        }
        let place = self.lengths.len().checked_sub(back + 1)?;
        let from: usize = self.lengths.iter().take(place).sum();
        let json: Vec<u8> = self.bytes.range(from..from + self.lengths[place]).copied().collect();
        let event = serde_json::from_slice(&json).unwrap_or_else(|error| Event {
            at: Wall(0),
            user: None,
            what: What::Error { text: format!("an event cannot be read again: {error}") },
        });
        Some(Rc::new(Stamped { epoch: self.epoch.clone(), seq, event }))
    }

    /// A reader that wants what comes from now on.
    pub fn tail(&self) -> Cursor {
        Cursor { next: self.next, foreign: false }
    }

    /// A reader that has seen up to and including `since`, written `epoch:seq`.
    /// Another epoch yields a gap and then all that is kept. `None`: not in that form.
    pub fn resume(&self, since: &str) -> Option<Cursor> {
        let (epoch, seq) = since.rsplit_once(':')?;
        let seq: u64 = seq.parse().ok()?;
        if epoch.is_empty() {
            return None;
        }
        if epoch == self.epoch && seq < self.next {
            Some(Cursor { next: seq + 1, foreign: false })
        } else {
            Some(Cursor { next: self.oldest(), foreign: true })
        }
    }

    /// The next event for this reader, or `None` if it has them all. A gap is an event too: it
    /// bears the number before the first one that follows.
    pub fn read(&self, cursor: &mut Cursor, at: Wall) -> Option<Rc<Stamped>> {
        let oldest = self.oldest();
        let gap = if std::mem::take(&mut cursor.foreign) {
            Gap { reason: GapReason::Epoch, missed: None, next: oldest.max(cursor.next) }
        } else if cursor.next < oldest {
            let missed = Some(oldest - cursor.next);
            cursor.next = oldest;
            Gap { reason: GapReason::Slow, missed, next: oldest }
        } else {
            let event = self.get(cursor.next)?;
            cursor.next += 1;
            return Some(event);
        };
        Some(Rc::new(Stamped {
            epoch: self.epoch.clone(),
            seq: gap.next - 1,
            event: Event { at, user: None, what: What::Gap(gap) },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event { at: Wall(0), user: None, what: What::Error { text: text.into() } }
    }

    fn drain(ring: &Ring, cursor: &mut Cursor) -> Vec<Rc<Stamped>> {
        std::iter::from_fn(|| ring.read(cursor, Wall(0))).collect()
    }

    #[test]
    fn a_reader_sees_everything_once_in_order() {
        let mut ring = Ring::new(7);
        let mut cursor = ring.tail();
        for n in 0..5 {
            ring.push(event(&n.to_string()));
        }
        let seen: Vec<u64> = drain(&ring, &mut cursor).iter().map(|e| e.seq).collect();
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert!(ring.read(&mut cursor, Wall(0)).is_none());
    }

    #[test]
    fn one_past_the_ring_is_a_gap_that_says_how_many() {
        let mut ring = Ring::new(7);
        let mut cursor = ring.tail();
        for _ in 0..=RING_EVENTS {
            ring.push(event("x"));
        }
        let seen = drain(&ring, &mut cursor);
        assert_eq!(
            seen[0].event.what,
            What::Gap(Gap { reason: GapReason::Slow, missed: Some(1), next: 2 })
        );
        assert_eq!(seen.len(), RING_EVENTS + 1);
    }

    #[test]
    fn large_events_are_bounded_by_bytes_too() {
        let mut ring = Ring::new(7);
        for _ in 0..100 {
            ring.push(event(&"x".repeat(10_000)));
        }
        assert!(ring.bytes.len() <= RING_BYTES && ring.bytes.capacity() <= RING_BYTES);
        assert_eq!(ring.lengths.len(), 26);
        ring.push(event(&"x".repeat(RING_BYTES * 2)));
        assert_eq!(ring.lengths.len(), 1, "the newest stays whatever its size");
        let mut cursor = ring.resume("0000000000000007:0").unwrap();
        assert_eq!(drain(&ring, &mut cursor).len(), 2, "a gap, and it");
        ring.push(event("small"));
        assert_eq!((ring.lengths.len(), ring.newest.len()), (1, 1));
        assert!(ring.bytes.capacity() <= RING_BYTES, "what one large event took is given back");
    }

    #[test]
    fn resume_continues_within_the_epoch_and_tells_a_gap_across() {
        let mut ring = Ring::new(7);
        for n in 0..4 {
            ring.push(event(&n.to_string()));
        }
        let mut cursor = ring.resume("0000000000000007:2").unwrap();
        assert_eq!(drain(&ring, &mut cursor).iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 4]);
        for foreign in ["00000000000000ff:2", "0000000000000007:99"] {
            let mut cursor = ring.resume(foreign).unwrap();
            let seen = drain(&ring, &mut cursor);
            assert!(matches!(
                &seen[0].event.what,
                What::Gap(Gap { reason: GapReason::Epoch, missed: None, next: 1 })
            ));
            assert_eq!(seen.len(), 5);
        }
        for bad in ["", "7", ":3", "x:", "x:y"] {
            assert!(ring.resume(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn json_has_all_fields_on_one_level() {
        let mut ring = Ring::new(7);
        let json = serde_json::to_value(&*ring.push(event("x"))).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"epoch": "0000000000000007", "seq": 1, "user": null,
                "at": "1970-01-01T00:00:00.000Z", "kind": "error", "text": "x"})
        );
        assert_eq!(serde_json::from_value::<Stamped>(json).unwrap().seq, 1);
    }
}
