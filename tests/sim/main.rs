//! Simulation: a virtual network drives many nodes through loss, duplication, reordering,
//! partitions and clock jumps, in virtual time.
//!
//! Each test runs a few seeds; `KLATSCH_SEEDS=n` runs n of them, `KLATSCH_SEED` replays the one
//! that a failure printed.
#![allow(clippy::unwrap_used, missing_docs)]

mod ask;
mod chat;
mod disk;
mod finding;
mod gateway;
mod handles;
mod images;
mod keeping;
mod store;
mod tcp;
mod traffic;
mod troubles;
mod udp;
mod world;

use world::World;

/// Seeds that a test runs unless told otherwise.
const SEEDS: u64 = 3;

/// Runs a test with each seed; a failure prints its own.
fn seeds(test: impl Fn(&mut World)) {
    let number = |name| std::env::var(name).ok().map(|v| v.parse::<u64>().expect(name));
    let all = match number("KLATSCH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KLATSCH_SEEDS").unwrap_or(SEEDS),
    };
    for seed in all {
        let run = std::panic::AssertUnwindSafe(|| test(&mut World::new(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("this was KLATSCH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
