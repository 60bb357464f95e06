//! How fast one source is listened to: a few at once, then one by one.

use crate::model::Millis;

/// A bucket of tokens that fills up again with time.
pub struct Bucket {
    left: u32,
    most: u32,
    each: Millis,
    /// When the last token was put in.
    filled: Millis,
}

impl Bucket {
    /// A full bucket of `most`; one more every `each` milliseconds.
    pub fn new(now: Millis, most: u32, each: Millis) -> Bucket {
        Bucket { left: most, most, each, filled: now }
    }

    /// Takes one; `false`: there is none.
    pub fn take(&mut self, now: Millis) -> bool {
        let new = now.saturating_sub(self.filled) / self.each;
        self.filled += new * self.each;
        self.left = u32::try_from(new).unwrap_or(u32::MAX).saturating_add(self.left).min(self.most);
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }

    /// When there is one again.
    pub fn wake_at(&self) -> Millis {
        self.filled + self.each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_the_burst_waits_and_idling_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::new(1_000, 3, 100);
        assert!((0..3).all(|_| bucket.take(1_000)));
        assert!(!bucket.take(1_099));
        assert_eq!(bucket.wake_at(), 1_100);
        assert!(bucket.take(1_100));
        assert!(!bucket.take(1_100));
        assert!((0..3).all(|_| bucket.take(900_000)));
        assert!(!bucket.take(900_000));
    }
}
