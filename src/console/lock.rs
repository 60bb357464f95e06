//! The operator's lock: a PIN, asked again after a while without keys, with growing pauses after
//! wrong tries. Pure: `now` comes in.

use crate::config::serial::{Pin, Scope, Serial};
use crate::model::Millis;

/// The pause after the first wrong try; each further one doubles it …
pub const FIRST_PAUSE: Millis = 1_000;
/// … up to this.
pub const LONGEST_PAUSE: Millis = 300_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Lock {
    pin: Option<Pin>,
    whole: bool,
    idle: Millis,
    /// Until when it is open: moved on by each key.
    open: Option<Millis>,
    wrong: u32,
    /// No try is taken before.
    pause: Millis,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is open now.
    Right,
    /// Wrong: no other try is taken for so long.
    Wrong(Millis),
    /// Not looked at: the pause lasts so long yet.
    Early(Millis),
}

impl Lock {
    /// The lock of a line; without a PIN it is always open.
    pub fn of(line: &Serial) -> Lock {
        Lock {
            pin: line.pin.clone(),
            whole: line.lock == Scope::Console,
            idle: Millis::from(line.idle) * 1_000,
            ..Lock::default()
        }
    }

    /// Whether what is the operator's may be done.
    pub fn is_open(&self) -> bool {
        self.pin.is_none() || self.open.is_some()
    }

    /// Whether nothing may be shown.
    pub fn hides(&self) -> bool {
        self.whole && !self.is_open()
    }

    /// A key was pressed: an open lock stays open.
    pub fn key(&mut self, now: Millis) {
        if let Some(until) = &mut self.open {
            *until = now + self.idle;
        }
    }

    /// Shuts it.
    pub fn shut(&mut self) {
        self.open = None;
    }

    /// Time passed; whether it shut just now.
    pub fn tick(&mut self, now: Millis) -> bool {
        let over = self.open.is_some_and(|until| now >= until);
        if over {
            self.shut();
        }
        over
    }

    /// When [`Lock::tick`] wants to be called.
    pub fn wake(&self) -> Option<Millis> {
        self.open
    }

    /// A PIN was given.
    pub fn give(&mut self, now: Millis, typed: &str) -> Tried {
        let Some(Pin(pin)) = &self.pin else { return Tried::Right };
        if now < self.pause {
            return Tried::Early(self.pause - now);
        }
        if same(pin.as_bytes(), typed.as_bytes()) {
            self.wrong = 0;
            self.open = Some(now + self.idle);
            return Tried::Right;
        }
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE << self.wrong.min(16));
        self.wrong += 1;
        self.pause = now + pause;
        Tried::Wrong(pause)
    }
}

/// Compared in a time that does not tell how much of it was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn lock(scope: Scope) -> Lock {
        let pin = Some(Pin("4711".into()));
        Lock::of(&Serial { pin, lock: scope, idle: 10, ..Serial::on(Path::new("/dev/x")) })
    }

    #[test]
    fn wrong_tries_make_growing_pauses_and_the_right_one_ends_them() {
        let mut lock = lock(Scope::Operator);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            match lock.give(now, "0000") {
                Tried::Wrong(pause) => pauses.push(pause),
                other => panic!("{other:?}"),
            }
            let pause = *pauses.last().unwrap();
            assert_eq!(lock.give(now + pause - 1, "4711"), Tried::Early(1), "even the right one");
            now += pause;
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11], LONGEST_PAUSE);
        assert_eq!(lock.give(now, "4711"), Tried::Right);
        lock.shut();
        assert_eq!(lock.give(now, "1"), Tried::Wrong(FIRST_PAUSE));
    }

    #[test]
    fn it_shuts_after_a_while_without_keys() {
        let mut lock = lock(Scope::Console);
        assert!(lock.hides() && lock.wake().is_none());
        assert_eq!(lock.give(0, "4711"), Tried::Right);
        lock.key(5_000);
        assert!(!lock.tick(14_999) && lock.is_open());
        assert_eq!(lock.wake(), Some(15_000));
        assert!(lock.tick(15_000) && lock.hides());
        assert!(!lock.tick(15_001), "once");
        for wrong in ["", "471", "47111", "4712"] {
            assert!(!same(b"4711", wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn without_a_pin_all_is_open() {
        let lock = Lock::of(&Serial::on(Path::new("/dev/x")));
        assert!(lock.is_open() && !lock.hides());
        let operators = super::tests::lock(Scope::Operator);
        assert!(!operators.is_open() && !operators.hides());
    }
}
