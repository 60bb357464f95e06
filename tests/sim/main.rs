//! Many real nodes on a virtual network, in virtual time. Every run prints its seed;
//! `KLATSCH_SEED=n` replays it, `KLATSCH_SEEDS=n` tries n seeds instead of a few.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

mod attacks;
mod chaos;
mod disk;
mod finding;
mod handles;
mod images;
mod limits;
mod lone;
mod presence;
mod tcp;
mod texts;
mod traffic;
mod udp;
mod world;

/// Runs a test with each seed, saying which one it was.
pub fn seeds(few: u64, test: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("KLATSCH_SEED") {
        println!("seed {seed}");
        return test(seed);
    }
    for seed in 1..=number("KLATSCH_SEEDS").unwrap_or(few) {
        println!("seed {seed}");
        test(seed);
    }
}
