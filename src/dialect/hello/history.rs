//! The shared history: the last messages of the chat, each once, whoever told of it.
//!
//! An id is a time, so it orders. Kalash gives a message it received an id of its own, so the
//! same text of the same author within a short time, told by somebody else, is the same message
//! (PROTOCOLS section 2, "Jecna").

use std::collections::VecDeque;

use super::codec::{Message, time_of};
use super::{HISTORY, MAX_HISTORY_BYTES};
use crate::model::{Map, Millis, Now, Wall};

/// The same text of the same author within this time of the other is the same message.
const SAME_MS: u64 = 60_000;
/// Ids remembered beyond those in the history: of second copies, and of what made way.
const MAX_SEEN: usize = 1_024;
/// The least number that has the 13 digits an id must have.
const MIN_ID: u64 = 1_000_000_000_000;
/// A clock that shows an earlier time is not set (2024-01-01).
const CLOCK_SET: Wall = Wall(1_704_067_200_000);
/// A message from further in the future has a wrong clock, or is to push all others out.
const FUTURE_MS: u64 = 24 * 60 * 60 * 1_000;

/// See the module.
#[derive(Default)]
pub struct History {
    by_id: Map<u64, (Message, Millis)>,
    bytes: usize,
    seen: VecDeque<u64>,
    last_own: u64,
}

impl History {
    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.by_id.values().map(|(message, _)| message)
    }

    /// Keeps what we say ourselves; its new id.
    pub fn say(&mut self, now: Now, peer_id: &str, text: &str) -> u64 {
        let mut id = now.wall.0.max(MIN_ID).max(self.last_own + 1);
        while self.knows(id) {
            id += 1;
        }
        self.last_own = id;
        self.keep(now.mono, Message { id, peer_id: peer_id.into(), text: text.into() });
        id
    }

    /// What an author says himself. `true`: it is new.
    pub fn hear(&mut self, now: Now, id: Option<u64>, peer_id: &str, text: &str) -> bool {
        let usual = |id: &u64| time_of(*id).is_some() && plausible(*id, now.wall);
        match id.filter(usual) {
            Some(id) if self.knows(id) => return false,
            Some(id) => {
                let message = Message { id, peer_id: peer_id.into(), text: text.into() };
                self.keep(now.mono, message);
            }
            None => {
                // an id that is no time: it gets one of ours, once
                if let Some(id) = id {
                    if self.knows(id) {
                        return false;
                    }
                    self.see(id);
                }
                let last = self.last_own;
                self.say(now, peer_id, text);
                self.last_own = last;
            }
        }
        true
    }

    /// What somebody tells of others. `true`: it is new.
    pub fn told(&mut self, now: Now, message: &Message) -> bool {
        if self.knows(message.id) || !plausible(message.id, now.wall) {
            return false;
        }
        let oldest = self.by_id.first_key_value().map(|(id, _)| time_of(*id));
        if self.is_full() && oldest > Some(time_of(message.id)) {
            return false;
        }
        if self.has_copy(now.mono, message) {
            self.see(message.id);
            return false;
        }
        self.keep(now.mono, message.clone());
        true
    }

    fn knows(&self, id: u64) -> bool {
        self.by_id.contains_key(&id) || self.seen.contains(&id)
    }

    fn is_full(&self) -> bool {
        self.by_id.len() >= HISTORY || self.bytes >= MAX_HISTORY_BYTES
    }

    /// Two clocks may differ by any time: also what we heard just now is compared.
    fn has_copy(&self, now: Millis, message: &Message) -> bool {
        let time = |id| time_of(id).unwrap_or_default().0;
        self.by_id.values().any(|(known, heard)| {
            known.peer_id == message.peer_id
                && known.text == message.text
                && (time(known.id).abs_diff(time(message.id)) <= SAME_MS || now <= heard + SAME_MS)
        })
    }

    fn see(&mut self, id: u64) {
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(id);
    }

    fn keep(&mut self, now: Millis, message: Message) {
        self.bytes += weight(&message);
        self.by_id.insert(message.id, (message, now));
        while self.by_id.len() > HISTORY || self.bytes > MAX_HISTORY_BYTES {
            let Some((id, (message, _))) = self.by_id.pop_first() else { return };
            self.bytes -= weight(&message);
            self.see(id);
        }
    }
}

/// What a message takes in an answer, at most: JSON may write a byte as six.
fn weight(message: &Message) -> usize {
    let long = |text: &str| {
        text.bytes().map(|b| if b < 0x20 { 6 } else { 1 }).sum::<usize>()
            + text.matches(['"', '\\']).count()
    };
    64 + long(&message.peer_id) + long(&message.text)
}

fn plausible(id: u64, wall: Wall) -> bool {
    wall < CLOCK_SET || time_of(id).is_some_and(|time| time.0 <= wall.0 + FUTURE_MS)
}

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::*;

    const START: u64 = 1_795_228_536_764;

    fn at(ms: u64) -> Now {
        Now { mono: 1_000_000 + ms, wall: Wall(START + ms) }
    }

    fn message(id: u64, peer_id: &str, text: &str) -> Message {
        Message { id, peer_id: peer_id.into(), text: text.into() }
    }

    #[test]
    fn a_message_told_by_many_is_new_once() {
        let mut history = History::default();
        let told = message(START, "a", "x");
        assert!(history.told(at(0), &told));
        assert!(!history.told(at(1), &told));
        assert!(!history.hear(at(2), Some(START), "a", "x"));
        assert_eq!(history.iter().count(), 1);
    }

    /// captures/004-kalash-x2: 1795228536764 comes back as 1795228538222.
    #[test]
    fn a_copy_that_kalash_stamped_anew_is_no_message() {
        let mut history = History::default();
        assert!(history.hear(at(0), Some(START), "kal", "ahoj"));
        assert!(!history.told(at(5_000), &message(START + 1_458, "kal", "ahoj")));
        // nor later, when it is told again
        assert!(!history.told(at(600_000), &message(START + 1_458, "kal", "ahoj")));
        // whatever the other's clock shows
        assert!(history.hear(at(700_000), Some(START + 700_000), "kal", "nazdar"));
        assert!(!history.told(at(705_000), &message(START - 86_400_000, "kal", "nazdar")));
        // who says the same again himself is heard
        assert!(history.hear(at(706_000), Some(START + 706_000), "kal", "nazdar"));
        // and so is another who says it
        assert!(history.told(at(707_000), &message(START + 707_000, "vanis", "nazdar")));
    }

    #[test]
    fn the_last_hundred_are_kept_and_what_is_older_stays_out() {
        let mut history = History::default();
        for n in 0..=HISTORY as u64 {
            assert!(history.told(at(0), &message(START + n, "a", &n.to_string())));
        }
        assert_eq!(history.iter().count(), HISTORY);
        assert_eq!(history.iter().next().unwrap().text, "1");
        assert!(!history.told(at(0), &message(START, "a", "0")), "it made way");
        assert!(!history.told(at(0), &message(START - 9, "a", "older")));
    }

    #[test]
    fn an_answer_with_the_whole_history_fits_one_object() {
        let mut history = History::default();
        for n in 0..2 * HISTORY as u64 {
            history
                .told(at(0), &message(START + n, "\"", &format!("{n}{}", "\u{1}\"".repeat(999))));
        }
        let answer = codec::ok_with(history.iter());
        assert!(answer.len() > MAX_HISTORY_BYTES / 2 && answer.len() <= super::super::MAX_OBJECT);
    }

    #[test]
    fn the_future_does_not_push_the_present_out() {
        let mut history = History::default();
        assert!(!history.told(at(0), &message(9_000_000_000_000, "x", "x")));
        assert!(history.hear(at(0), Some(u64::MAX), "x", "x"), "it is said, with an id of ours");
        assert!(!history.hear(at(0), Some(u64::MAX), "x", "x"));
        assert_eq!(history.iter().next().unwrap().id, START);
        // with a clock that is not set nothing can be told
        let mut history = History::default();
        let unset = Now { mono: 5, wall: Wall(5) };
        assert!(history.told(unset, &message(START, "a", "x")));
        assert_eq!(history.say(unset, "us", "y"), MIN_ID);
    }

    #[test]
    fn own_ids_are_never_the_same() {
        let mut history = History::default();
        history.told(at(0), &message(START + 1, "a", "x"));
        let ids: Vec<u64> = (0..3).map(|_| history.say(at(0), "us", "x")).collect();
        assert_eq!(ids, [START, START + 2, START + 3]);
    }

    #[test]
    fn ids_remembered_are_bounded() {
        let mut history = History::default();
        for n in 0..3 * MAX_SEEN as u64 {
            history.hear(at(n), Some(n), "a", "x");
        }
        assert_eq!(history.seen.len(), MAX_SEEN);
    }
}
