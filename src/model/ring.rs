//! The one event ring: numbered `epoch:seq`, bounded, and honest to slow readers.
//!
//! Whoever reads keeps its own [`Cursor`]; the ring knows no reader, so none can hold it up.

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

/// The ring.
#[derive(Debug)]
pub struct Ring {
    epoch: String,
    events: VecDeque<Rc<Stamped>>,
    bytes: usize,
    next: u64,
}

impl Ring {
    /// An empty ring of this run.
    pub fn new(epoch: u64) -> Ring {
        Ring { epoch: format!("{epoch:016x}"), events: VecDeque::new(), bytes: 0, next: 1 }
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
        self.bytes += event.what.weight();
        let stamped = Rc::new(Stamped { epoch: self.epoch.clone(), seq: self.next, event });
        self.next += 1;
        self.events.push_back(Rc::clone(&stamped));
        while self.events.len() > RING_EVENTS || (self.bytes > RING_BYTES && self.events.len() > 1)
        {
            if let Some(old) = self.events.pop_front() {
                self.bytes -= old.event.what.weight();
            }
        }
        stamped
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
            let oldest = self.events.front().map_or(self.next, |e| e.seq);
            Some(Cursor { next: oldest, foreign: true })
        }
    }

    /// The next event for this reader, or `None` if it has them all. A gap is an event too: it
    /// bears the number before the first one that follows.
    pub fn read(&self, cursor: &mut Cursor, at: Wall) -> Option<Rc<Stamped>> {
        let oldest = self.events.front().map_or(self.next, |e| e.seq);
        let gap = if std::mem::take(&mut cursor.foreign) {
            Gap { reason: GapReason::Epoch, missed: None, next: oldest.max(cursor.next) }
        } else if cursor.next < oldest {
            let missed = Some(oldest - cursor.next);
            cursor.next = oldest;
            Gap { reason: GapReason::Slow, missed, next: oldest }
        } else {
            let event = self.events.get(usize::try_from(cursor.next - oldest).ok()?)?;
            cursor.next += 1;
            return Some(Rc::clone(event));
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
        assert!(ring.bytes <= RING_BYTES);
        ring.push(event(&"x".repeat(RING_BYTES * 2)));
        assert_eq!(ring.events.len(), 1, "the newest stays whatever its size");
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
