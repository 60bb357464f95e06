//! What slows down those who guess or flood: pauses that grow with each wrong PIN, and buckets
//! that refill. Pure: time is an argument.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::model::{Map, Millis};

/// Wrong PINs that cost nothing.
pub const FREE_TRIES: u32 = 3;
/// The longest pause between two tries, in milliseconds.
pub const MAX_PAUSE_MS: Millis = 15 * 60 * 1_000;
/// A quiet time after which tries are forgotten, in milliseconds.
pub const FORGET_MS: Millis = 60 * 60 * 1_000;
/// Addresses whose tries are remembered; beyond, all further ones share one pause.
pub const MAX_GUESSERS: usize = 256;
/// Wrong PINs, from whatever addresses, that cost the others nothing.
pub const FREE_FOR_ALL: u64 = 60;
/// Beyond those, each wrong one holds up every try for so long, in milliseconds: who takes many
/// addresses guesses no faster than this. Not by the first half of an IPv6 address: a LAN shares
/// that, and one guesser would shut out his neighbours.
pub const PAUSE_FOR_ALL_MS: Millis = 60 * 1_000;
/// Addresses that gave the right PIN, the latest: what others guess does not hold them up.
pub const MAX_PROVED: usize = 64;
/// Addresses whose requests are counted; the fullest buckets are forgotten first.
pub const MAX_BUCKETS: usize = 1_024;

/// Wrong PINs, by address, and of all.
#[derive(Debug, Default)]
pub struct Guesses {
    by_address: Map<Option<IpAddr>, (u32, Millis)>,
    /// When all wrong ones will be forgotten, each of them after [`PAUSE_FOR_ALL_MS`] of its own.
    all: Millis,
    proved: VecDeque<IpAddr>,
}

impl Guesses {
    /// How long this address has to wait before its next try, in milliseconds; 0: it may.
    pub fn pause(&mut self, now: Millis, ip: IpAddr) -> Millis {
        let free = FREE_FOR_ALL * PAUSE_FOR_ALL_MS;
        let all = self.all.saturating_sub(now).saturating_sub(free);
        let all = if self.proved.contains(&ip) { 0 } else { all };
        self.own_pause(now, ip).max(all)
    }

    fn own_pause(&mut self, now: Millis, ip: IpAddr) -> Millis {
        self.by_address.retain(|_, (_, at)| *at + FORGET_MS > now);
        let until = |key| self.by_address.get(&key).map_or(0, |(n, at)| at + pause_of(*n));
        let known = self.by_address.contains_key(&Some(ip));
        let shared = if known { 0 } else { until(None) };
        until(Some(ip)).max(shared).saturating_sub(now)
    }

    /// A try was wrong.
    pub fn wrong(&mut self, now: Millis, ip: IpAddr) {
        self.all = self.all.max(now).saturating_add(PAUSE_FOR_ALL_MS);
        let full = self.by_address.len() >= MAX_GUESSERS;
        let key = if full && !self.by_address.contains_key(&Some(ip)) { None } else { Some(ip) };
        let (count, at) = self.by_address.entry(key).or_default();
        (*count, *at) = (*count + 1, now);
    }

    /// A try was right.
    pub fn right(&mut self, ip: IpAddr) {
        self.by_address.remove(&Some(ip));
        self.proved.retain(|other| *other != ip);
        if self.proved.len() >= MAX_PROVED {
            self.proved.pop_front();
        }
        self.proved.push_back(ip);
    }
}

fn pause_of(wrong: u32) -> Millis {
    match wrong.checked_sub(FREE_TRIES) {
        None => 0,
        Some(n) => (2_000u64 << n.min(20)).min(MAX_PAUSE_MS),
    }
}

/// Who gives up a place to a newcomer when all are taken: the address that holds most of them, if
/// it is left with no fewer than the newcomer's has then.
pub fn gives_way(holders: impl Iterator<Item = IpAddr>, newcomer: IpAddr) -> Option<IpAddr> {
    let mut held: Map<IpAddr, usize> = Map::new();
    for ip in holders {
        *held.entry(ip).or_default() += 1;
    }
    let own = held.get(&newcomer).copied().unwrap_or_default();
    let (ip, most) = held.into_iter().max_by_key(|(_, n)| *n)?;
    (most >= own + 2).then_some(ip)
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub fn same(given: &str, secret: &str) -> bool {
    let (given, secret) = (given.as_bytes(), secret.as_bytes());
    let mut different = given.len() ^ secret.len();
    for (n, byte) in given.iter().enumerate() {
        let other = secret.get(n % secret.len().max(1)).copied().unwrap_or_default();
        different |= usize::from(byte ^ other);
    }
    different == 0
}

/// A bucket of so many drops that refills steadily.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Drops it holds at most.
    pub size: u32,
    /// Drops per second that come back.
    pub refill: u32,
}

/// How full one bucket is, in thousandths of a drop, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    drops: u64,
    at: Millis,
}

impl Bucket {
    /// A full one.
    pub fn full(self, now: Millis) -> Level {
        Level { drops: u64::from(self.size) * 1_000, at: now }
    }

    /// Takes a drop; `false`: it is empty.
    pub fn take(self, now: Millis, level: &mut Level) -> bool {
        let back = now.saturating_sub(level.at).saturating_mul(u64::from(self.refill));
        level.drops = level.drops.saturating_add(back).min(u64::from(self.size) * 1_000);
        level.at = now;
        let has = level.drops >= 1_000;
        if has {
            level.drops -= 1_000;
        }
        has
    }
}

/// A bucket for each address.
#[derive(Debug)]
pub struct Flow {
    bucket: Bucket,
    levels: Map<IpAddr, Level>,
}

impl Flow {
    /// Of buckets like this.
    pub fn new(bucket: Bucket) -> Flow {
        Flow { bucket, levels: Map::new() }
    }

    /// Whether this address may once more.
    pub fn take(&mut self, now: Millis, ip: IpAddr) -> bool {
        if self.levels.len() >= MAX_BUCKETS && !self.levels.contains_key(&ip) {
            let fullest =
                self.levels.iter().max_by_key(|(_, level)| (level.drops, now - level.at.min(now)));
            if let Some(ip) = fullest.map(|(ip, _)| *ip) {
                self.levels.remove(&ip);
            }
        }
        let full = self.bucket.full(now);
        self.bucket.take(now, self.levels.entry(ip).or_insert(full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn pauses_double_with_each_wrong_pin_up_to_a_bound() {
        let mut guesses = Guesses::default();
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            now += guesses.pause(now, ip(1));
            guesses.wrong(now, ip(1));
            pauses.push(guesses.pause(now, ip(1)) / 1_000);
        }
        assert_eq!(pauses[..6], [0, 0, 2, 4, 8, 16]);
        assert_eq!(*pauses.last().unwrap(), MAX_PAUSE_MS / 1_000);
        assert_eq!(guesses.pause(now, ip(2)), 0, "others are not held up");
        guesses.right(ip(1));
        assert_eq!(guesses.pause(now, ip(1)), 0);
    }

    #[test]
    fn one_past_the_remembered_addresses_shares_a_pause() {
        let mut guesses = Guesses::default();
        for n in 0..MAX_GUESSERS as u32 + 10 {
            guesses.wrong(5, ip(n));
        }
        assert_eq!(guesses.by_address.len(), MAX_GUESSERS + 1);
        assert!(guesses.own_pause(5, ip(9_999)) > 0);
        assert_eq!(guesses.own_pause(5, ip(1)), 0);
        assert_eq!(guesses.own_pause(5 + FORGET_MS, ip(9_999)), 0);
    }

    #[test]
    fn who_guesses_from_many_addresses_is_held_to_one_try_a_minute() {
        let (mut guesses, start) = (Guesses::default(), 1_000_000);
        guesses.right(ip(7));
        let (mut now, mut tries) = (start, 0);
        while now < start + 10 * FORGET_MS {
            let pause = guesses.pause(now, ip(1_000 + tries));
            if pause == 0 {
                guesses.wrong(now, ip(1_000 + tries));
                tries += 1;
            }
            assert_eq!(guesses.pause(now, ip(7)), 0, "who gave the right one before may");
            now += pause;
        }
        assert_eq!(u64::from(tries), FREE_FOR_ALL + 10 * FORGET_MS / PAUSE_FOR_ALL_MS);
        assert!(guesses.by_address.len() < MAX_GUESSERS);
        assert_eq!(guesses.pause(now + PAUSE_FOR_ALL_MS, ip(8)), 0);
    }

    #[test]
    fn one_past_the_free_wrong_pins_of_all_makes_a_pause() {
        let mut guesses = Guesses::default();
        for n in 0..FREE_FOR_ALL as u32 {
            guesses.wrong(5, ip(n));
        }
        assert_eq!(guesses.pause(5, ip(9_999)), 0);
        guesses.wrong(5, ip(9_998));
        assert_eq!(guesses.pause(5, ip(9_999)), PAUSE_FOR_ALL_MS);
        for n in 0..=MAX_PROVED as u32 {
            guesses.right(ip(n));
        }
        assert_eq!(guesses.proved.len(), MAX_PROVED);
        assert!(guesses.pause(5, ip(0)) > 0 && guesses.pause(5, ip(1)) == 0);
    }

    #[test]
    fn who_holds_most_gives_way_and_nobody_to_who_has_as_many() {
        let held = |all: &[u32], newcomer| gives_way(all.iter().map(|n| ip(*n)), ip(newcomer));
        assert_eq!(held(&[1, 2, 2, 2, 3, 3], 4), Some(ip(2)));
        assert_eq!(held(&[1, 2, 2], 1), None, "they would only change places");
        assert_eq!(held(&[1, 2, 2, 2], 1), Some(ip(2)));
        assert_eq!(held(&[1, 2, 3], 4), None, "one each: all are taken");
        assert_eq!(held(&[1, 1, 1], 1), None);
        assert_eq!(held(&[], 1), None);
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same("1234", "1234"));
        for other in ["", "123", "12345", "1235", "12341234"] {
            assert!(!same(other, "1234"), "{other}");
            assert!(!same("1234", other), "{other}");
        }
    }

    #[test]
    fn a_bucket_runs_dry_and_refills() {
        let bucket = Bucket { size: 3, refill: 2 };
        let mut flow = Flow::new(bucket);
        let taken = |flow: &mut Flow, now| (0..9).filter(|_| flow.take(now, ip(1))).count();
        assert_eq!(taken(&mut flow, 1_000), 3);
        assert_eq!(taken(&mut flow, 1_500), 1);
        assert_eq!(taken(&mut flow, 100_000), 3);
        for n in 0..MAX_BUCKETS as u32 + 5 {
            flow.take(100_000, ip(n));
        }
        assert_eq!(flow.levels.len(), MAX_BUCKETS);
        assert!(!flow.take(100_000, ip(1)), "an empty one is not forgotten first");
    }
}
