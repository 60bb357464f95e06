//! People who can be written to while they are not here, over a restart too.
//!
//! Whoever was talked with is remembered, and in the place of the one met longest ago if need be.
//! Whoever was only seen is remembered while there is room: a flood of forged peers shall not
//! push out anybody.

use crate::model::history::Known;
use crate::model::limits::MAX_KNOWN;
use crate::model::{Map, Millis, PeerId};

/// Of people who were only seen, so many are noted in one window: each costs a write.
pub const MAX_SEEN: u32 = 32;
/// That window.
pub const SEEN_WINDOW_MS: Millis = 60_000;

#[derive(Default)]
pub(super) struct People {
    by_key: Map<String, (u64, Known)>,
    met: u64,
    window: Millis,
    seen: u32,
}

impl People {
    /// As they were kept, the last met last.
    pub(super) fn new(known: Vec<Known>) -> People {
        let mut people = People::default();
        for one in known {
            people.put(one);
        }
        people
    }

    /// Someone was talked with; whether that is to be kept.
    pub(super) fn talked(&mut self, known: &Known) -> bool {
        let same = self.by_key.get(&known.handle.key()).is_some_and(|(_, k)| k == known);
        if !same {
            self.put(known.clone());
        }
        !same
    }

    /// Someone was seen; whether that is to be kept.
    pub(super) fn seen(&mut self, now: Millis, known: &Known) -> bool {
        match self.by_key.get(&known.handle.key()) {
            Some((_, k)) if k == known => return false,
            None if self.by_key.len() >= MAX_KNOWN => return false,
            _ => {}
        }
        if now >= self.window + SEEN_WINDOW_MS {
            (self.window, self.seen) = (now, 0);
        }
        self.seen += 1;
        if self.seen > MAX_SEEN {
            return false;
        }
        self.put(known.clone());
        true
    }

    pub(super) fn called(&self, handle: &str) -> Option<&Known> {
        self.by_key.get(&handle.to_lowercase()).map(|(_, known)| known)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Known> {
        self.all().find(|k| k.peer == id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Known> {
        self.by_key.values().map(|(_, known)| known)
    }

    fn put(&mut self, known: Known) {
        self.met += 1;
        self.by_key.insert(known.handle.key(), (self.met, known));
        if self.by_key.len() > MAX_KNOWN {
            let oldest = self.by_key.iter().min_by_key(|(_, (met, _))| *met);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dialect, Handle};

    fn known(n: usize) -> Known {
        Known {
            handle: Handle::try_from(format!("p{n}")).unwrap(),
            peer: PeerId(n as u64),
            dialect: Dialect::Slcp,
            address: "10.0.0.1:5000".into(),
        }
    }

    #[test]
    fn one_past_max_known_pushes_out_the_one_met_longest_ago() {
        let mut people = People::new((0..=MAX_KNOWN).map(known).collect());
        assert_eq!(people.all().count(), MAX_KNOWN);
        assert!(people.called("p0").is_none() && people.called("P1").is_some());
        assert!(people.talked(&known(0)) && !people.talked(&known(0)));
        assert!(people.called("p1").is_none());
    }

    #[test]
    fn whoever_was_only_seen_pushes_out_nobody() {
        let mut people = People::new((0..MAX_KNOWN).map(known).collect());
        assert!(!people.seen(0, &known(MAX_KNOWN)));
        assert_eq!(people.all().count(), MAX_KNOWN);
    }

    #[test]
    fn one_past_max_seen_in_a_window_is_not_noted() {
        let mut people = People::default();
        let noted = (0..=MAX_SEEN as usize).filter(|n| people.seen(1_000, &known(*n)));
        assert_eq!(noted.count(), MAX_SEEN as usize);
        assert!(people.seen(1_000 + SEEN_WINDOW_MS, &known(999)));
    }
}
