//! The database and its log cut short or overwritten anywhere: the next start succeeds, keeps
//! what comes, and does not lose silently.

use std::path::Path;

use klatsch::store::base::{FILE, PAGE};

use crate::{folder, history, orders, put};

const ENTRIES: u64 = 190;
const LOG: &str = "history.db-wal";

/// A database with a part of its entries still in the log, as a killed process leaves it.
fn killed() -> (Vec<u8>, Vec<u8>) {
    let place = folder();
    let (mut kept, said) = history(place.path());
    assert_eq!(said, [""; 0]);
    for n in 1..=ENTRIES {
        kept.commit(&[put(n)]).unwrap();
    }
    let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
    let both = (read(FILE), read(LOG));
    assert!(both.0.len() > 10 * PAGE as usize && both.1.len() > 100_000);
    both
}

/// What is left to be seen after a start, and what the start said.
fn start(place: &Path) -> (Vec<u64>, Vec<String>) {
    let (mut kept, mut said) = history(place);
    let there = orders(&mut kept);
    kept.commit(&[put(10_000)]).unwrap();
    kept.close();
    let (mut kept, again) = history(place);
    said.extend(again);
    assert_eq!(orders(&mut kept).last(), Some(&10_000), "{said:?}");
    (there, said)
}

fn write(place: &Path, db: &[u8], log: &[u8]) {
    std::fs::write(place.join(FILE), db).unwrap();
    std::fs::write(place.join(LOG), log).unwrap();
}

/// Every entry up to some point, and no other.
fn beginning(there: &[u64]) -> bool {
    there.iter().copied().eq(1..=there.len() as u64)
}

#[test]
fn a_log_cut_anywhere_keeps_what_was_written_before_the_cut() {
    let _one = crate::one_at_a_time();
    let (db, log) = killed();
    let mut rng = fastrand::Rng::with_seed(3);
    let mut last = 0;
    let mut cuts: Vec<usize> =
        (0..crate::times("KLATSCH_TORN", 150)).map(|_| rng.usize(..=log.len())).collect();
    cuts.sort_unstable();
    for cut in cuts {
        let place = folder();
        write(place.path(), &db, &log[..cut]);
        let (there, said) = start(place.path());
        assert!(beginning(&there) && there.len() >= last, "cut at {cut}: {there:?} {said:?}");
        assert!(said.iter().all(|line| line.contains("cut short")), "cut at {cut}: {said:?}");
        last = there.len();
    }
    assert!(last as u64 >= ENTRIES - 2, "the last cuts are near the end: {last}");
}

#[test]
fn a_log_damaged_anywhere_is_said_and_loses_only_what_lies_behind() {
    let _one = crate::one_at_a_time();
    let (db, log) = killed();
    let mut rng = fastrand::Rng::with_seed(4);
    let mut losses = 0;
    for _ in 0..crate::times("KLATSCH_TORN", 150) {
        let at = rng.usize(..log.len() / 512) * 512;
        let mut bad = log.clone();
        bad[at..at + 512].iter_mut().for_each(|b| *b = rng.u8(..));
        let place = folder();
        write(place.path(), &db, &bad);
        let (there, said) = start(place.path());
        assert!(beginning(&there), "at {at}: {there:?} {said:?}");
        if (there.len() as u64) < ENTRIES {
            losses += 1;
            assert!(!said.is_empty(), "at {at}: only {} of {ENTRIES} are there", there.len());
        }
    }
    assert!(losses > 20, "only {losses} cases lost anything");
}

#[test]
fn a_database_damaged_anywhere_starts_and_loses_nothing_silently() {
    let _one = crate::one_at_a_time();
    let place = folder();
    let (mut kept, _) = history(place.path());
    kept.commit(&(1..=ENTRIES).map(put).collect::<Vec<_>>()).unwrap();
    kept.close();
    let db = std::fs::read(place.path().join(FILE)).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut aside = 0;
    for n in 0..crate::times("KLATSCH_TORN", 150) {
        let mut bad = db.clone();
        match n % 3 {
            0 => bad.truncate(rng.usize(..db.len())),
            1 => {
                // A sector of noise.
                let at = rng.usize(..db.len() / 512) * 512;
                bad[at..at + 512].iter_mut().for_each(|b| *b = rng.u8(..));
            }
            _ => {
                // A page of nothing.
                let at = rng.usize(..db.len() / PAGE as usize) * PAGE as usize;
                bad[at..at + PAGE as usize].fill(0);
            }
        }
        let place = folder();
        write(place.path(), &bad, b"");
        let (mut kept, said) = history(place.path());
        aside += usize::from(said.iter().any(|line| line.contains("set aside as")));
        kept.commit(&[put(10_000)]).unwrap();
        drop(kept);
        let lost = bad != db && said.is_empty();
        if lost {
            // Noise within a text is no damage that a database can see.
            assert_eq!(n % 3, 1, "{said:?}");
        }
    }
    println!("{aside} were set aside");
    assert!(aside > 60, "{aside}");
}
