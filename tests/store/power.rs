//! A power cut: what was written and synced is written down by a file layer of the test's own,
//! every state that a cut could leave is built and opened, and what had been reported durable
//! must be there. The same with `synchronous=OFF` must find losses, or it shows nothing.
//!
//! What a cut leaves: what was synced is there whole; of what was written since, any part may
//! be, in pieces of 512 bytes (a sector is written whole or not at all). A file deleted without
//! syncing its folder may be back.

use std::collections::BTreeMap;
use std::path::Path;

use klatsch::model::Delivery;
use klatsch::model::history::{Change, Forget};

use crate::vfs::{self, Op};
use crate::{all, folder, history, put, text};

const SECTOR: usize = 512;

/// A file on the disk, as far as it is known to be there, and what may be.
#[derive(Clone, Default)]
struct File {
    synced: Option<Vec<u8>>,
    since: Vec<Step>,
    /// Its folder was synced since it was made: it is not missing altogether.
    named: bool,
}

#[derive(Clone)]
enum Step {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Delete,
}

fn apply(bytes: &mut Option<Vec<u8>>, step: &Step) {
    match step {
        Step::Delete => *bytes = None,
        Step::Truncate(size) => bytes.get_or_insert_default().resize(*size, 0),
        Step::Write(at, new) => {
            let bytes = bytes.get_or_insert_default();
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
    }
}

/// A write in pieces that are each there or not.
fn sectors(step: &Step) -> Vec<Step> {
    let Step::Write(at, bytes) = step else { return vec![step.clone()] };
    let mut pieces = Vec::new();
    let (mut at, mut bytes) = (*at, bytes.as_slice());
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(SECTOR - at % SECTOR));
        pieces.push(Step::Write(at, piece.to_vec()));
        at += piece.len();
        bytes = rest;
    }
    pieces
}

type Disk = BTreeMap<String, File>;

fn happen(disk: &mut Disk, op: &Op) {
    let mut step = |file: &String, step| disk.entry(file.clone()).or_default().since.push(step);
    match op {
        Op::Write { file, at, bytes } => step(file, Step::Write(*at as usize, bytes.clone())),
        Op::Truncate { file, size } => step(file, Step::Truncate(*size as usize)),
        Op::Delete { file } => step(file, Step::Delete),
        Op::Sync { file } => {
            let file = disk.entry(file.clone()).or_default();
            let steps = file.since.drain(..);
            steps.for_each(|step| apply(&mut file.synced, &step));
        }
        Op::SyncFolder => {
            for file in disk.values_mut() {
                file.named = true;
                let gone = file.since.iter().rposition(|step| matches!(step, Step::Delete));
                if let Some(gone) = gone {
                    file.since.drain(..=gone);
                    (file.synced, file.named) = (None, false);
                }
            }
        }
        Op::Durable(_) => {}
    }
}

/// What of the steps since the last sync a cut left.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Everything,
    /// All whole steps up to a random one, the next torn.
    Beginning,
    /// Any sectors.
    Some,
}

fn build(disk: &Disk, left: Left, rng: &mut fastrand::Rng, folder: &Path) {
    for (name, file) in disk {
        let missing = match left {
            Left::Nothing => true,
            Left::Everything => false,
            Left::Beginning | Left::Some => rng.bool(),
        };
        if missing && !file.named {
            continue;
        }
        let mut bytes = file.synced.clone();
        let whole = match left {
            Left::Nothing | Left::Some => 0,
            Left::Everything => file.since.len(),
            Left::Beginning => rng.usize(..=file.since.len()),
        };
        file.since[..whole].iter().for_each(|step| apply(&mut bytes, step));
        let torn = match left {
            Left::Some => &file.since[..],
            Left::Beginning => &file.since[whole..(whole + 1).min(file.since.len())],
            Left::Nothing | Left::Everything => &[],
        };
        for piece in torn.iter().flat_map(sectors) {
            if rng.bool() {
                apply(&mut bytes, &piece);
            }
        }
        let path = folder.join(name);
        if let Some(bytes) = bytes {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// A conversation with all that is done to a database: single writes, groups, states, deletion,
/// the log carried over, a restart.
fn talk(folder: &Path, off: bool) {
    let open = || {
        let history = history(folder).0;
        if off {
            vfs::order(c"PRAGMA synchronous = OFF");
        }
        history
    };
    let mut kept = open();
    let mut n = 0;
    for round in 0..3 {
        for group in [1, 1, 3, 1, 40, 1, 1] {
            let changes: Vec<Change> = (0..group).map(|i| put(n + i + 1)).collect();
            kept.commit(&changes).unwrap();
            n += group;
            vfs::durable(n);
        }
        let id = text(n).id;
        let (peer, state) = (text(n).recipients[0].peer, Delivery::Failed);
        kept.commit(&[Change::State { id, peer, state, reason: None }]).unwrap();
        kept.forget(None, &Forget::Entry(1)).unwrap();
        while kept.tidy(true) {}
        if round == 1 {
            kept.close();
            kept = open();
        }
    }
    kept.close();
}

/// Cuts the power after every step of a talk; how many states were opened, and those in which
/// something was lost, torn or set aside.
fn cut_everywhere(off: bool, tries: usize) -> (usize, Vec<String>) {
    let place = folder();
    vfs::begin(place.path());
    talk(place.path(), off);
    let ops = vfs::end();
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut disk, mut durable) = (Disk::new(), 0);
    let (mut opened, mut losses) = (0, Vec::new());
    for (at, op) in ops.iter().enumerate() {
        happen(&mut disk, op);
        if let Op::Durable(n) = op {
            durable = *n;
        }
        let random = (0..tries).map(|i| if i % 2 == 0 { Left::Some } else { Left::Beginning });
        for left in [Left::Nothing, Left::Everything].into_iter().chain(random) {
            let after = folder();
            build(&disk, left, &mut rng, after.path());
            let (mut kept, said) = history(after.path());
            opened += 1;
            let there = match all(&mut kept) {
                Ok(there) => there,
                Err(wrong) => {
                    losses
                        .push(format!("step {at} ({left:?}): {durable} durable, {wrong} {said:?}"));
                    continue;
                }
            };
            // The first is deleted on the way.
            let whole = there.windows(2).all(|w| w[0] + 1 == w[1])
                && there.first().is_none_or(|n| *n <= 2)
                && there.last().copied().unwrap_or(0) >= durable;
            if !whole || said.iter().any(|line| !line.contains("cut short")) {
                losses.push(format!("step {at} ({left:?}): {durable} durable, {there:?} {said:?}"));
            }
        }
    }
    (opened, losses)
}

#[test]
fn a_power_cut_anywhere_loses_nothing_that_was_reported_durable() {
    let _one = crate::one_at_a_time();
    let (opened, losses) = cut_everywhere(false, crate::times("KLATSCH_CUTS", 2));
    println!("{opened} states after a power cut: {} with a loss", losses.len());
    assert!(opened > 1_000, "only {opened} states");
    assert!(
        losses.is_empty(),
        "{} of {opened}: {:#?}",
        losses.len(),
        &losses[..losses.len().min(3)]
    );
}

#[test]
fn without_syncs_the_same_cuts_do_lose() {
    let _one = crate::one_at_a_time();
    let (opened, losses) = cut_everywhere(true, 2);
    println!("{opened} states with synchronous=OFF: {} with a loss", losses.len());
    assert!(losses.len() > opened / 10, "{} of {opened}", losses.len());
}
