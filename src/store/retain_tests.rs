//! Retention by age, count and bytes, with clocks that can and cannot be trusted.

use super::*;
use crate::config::History as Rules;
use crate::model::Delivery;
use crate::model::history::{Body, Change, Entry, Found, Query};
use crate::store::history::History;
use crate::store::tests::{text, to};

const HOUR: Millis = 3_600_000;
const BORN: Millis = 1_000_000;
const WALL: Millis = 1_800_000_000_000;
/// The run of the tests' entries is another than this.
const NOW_RUN: u64 = 1;

fn at(hours: u64) -> Now {
    Now { mono: BORN + hours * HOUR, wall: Wall(WALL + hours * HOUR) }
}

fn history(rules: Rules) -> (tempfile::TempDir, History) {
    let dir = tempfile::tempdir().unwrap();
    let age = Age::new(NOW_RUN, BORN);
    let (history, _) = History::open(Some(dir.path().into()), rules, age);
    (dir, history)
}

fn hourly() -> Rules {
    Rules { keep: Keep::Seconds(3_600), ..Rules::default() }
}

fn put(history: &mut History, entry: Entry) {
    history.commit(&[Change::Put(Box::new(entry))]).unwrap();
}

/// Sweeps until nothing more goes; when to look again.
fn sweep(history: &mut History, now: Now) -> Option<Millis> {
    loop {
        let swept = history.sweep(now).unwrap();
        if swept.next != Some(now.mono) {
            return swept.next;
        }
    }
}

fn orders(history: &mut History) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        match history.answer(&Query::From { after, limit: 200 }) {
            Ok(Found::Entries { entries, more }) => {
                all.extend(entries.iter().map(|e| e.order));
                after = all.last().copied().unwrap_or(0);
                if !more {
                    return all;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// An entry of this run, made so many hours after it began.
fn of_this_run(n: u64, hours: u64) -> Entry {
    let mut entry = text(n, "anna", "hello");
    entry.id.epoch = NOW_RUN;
    (entry.mono, entry.dated) = (at(hours).mono, false);
    entry
}

#[test]
fn one_hour_only_holds_on_a_board_without_a_clock() {
    let (_dir, mut history) = history(hourly());
    put(&mut history, text(1, "anna", "of an earlier run"));
    put(&mut history, of_this_run(2, 0));
    put(&mut history, of_this_run(3, 1));
    assert_eq!(sweep(&mut history, at(0)), Some(at(1).mono), "looks again when it is due");
    assert_eq!(orders(&mut history), [1, 2, 3]);
    sweep(&mut history, at(1));
    assert_eq!(orders(&mut history), [3], "earlier runs are as old as this one at least");
    assert_eq!(sweep(&mut history, at(2)), None, "nothing left: nothing to wake for");
    assert_eq!(orders(&mut history), [0; 0]);
}

#[test]
fn what_was_dated_goes_by_its_date_once_the_clock_is_trusted() {
    let (_dir, mut history) = history(hourly());
    let mut old = text(1, "anna", "two hours ago");
    old.at = Wall(WALL - 2 * HOUR);
    let mut recent = text(2, "anna", "half an hour ago");
    recent.at = Wall(WALL - HOUR / 2);
    put(&mut history, old);
    put(&mut history, recent);
    sweep(&mut history, at(0));
    assert_eq!(orders(&mut history), [1, 2], "who knows how late it is");
    history.set_clock(true);
    let next = sweep(&mut history, at(0));
    assert_eq!(orders(&mut history), [2]);
    assert_eq!(next, Some(at(0).mono + HOUR / 2));
}

#[test]
fn what_waits_to_be_sent_stays_until_it_went() {
    let (_dir, mut history) = history(hourly());
    let queued = to(of_this_run(1, 0), "bob", Delivery::Queued);
    put(&mut history, queued.clone());
    put(&mut history, of_this_run(2, 0));
    sweep(&mut history, at(5));
    assert_eq!(orders(&mut history), [1]);
    let (id, peer) = (queued.id, queued.recipients[0].peer);
    let reason = Some("expired".into());
    history.commit(&[Change::State { id, peer, state: Delivery::Failed, reason }]).unwrap();
    sweep(&mut history, at(5));
    assert_eq!(orders(&mut history), [0; 0]);
}

#[test]
fn one_entry_past_the_count_takes_the_oldest_with_it_and_a_few_more() {
    let (_dir, mut history) = history(Rules { entries: 500, ..Rules::default() });
    for n in 1..=500 {
        put(&mut history, text(n, "anna", "hello"));
    }
    sweep(&mut history, at(0));
    assert_eq!(orders(&mut history).len(), 500);
    put(&mut history, text(501, "anna", "hello"));
    sweep(&mut history, at(0));
    let left = orders(&mut history);
    assert_eq!((left.len(), left[0], left[left.len() - 1]), (490, 12, 501));
}

#[test]
fn the_database_comes_back_below_its_bytes_and_the_disk_gets_them() {
    let (dir, mut history) = history(Rules { bytes: 1 << 20, ..Rules::default() });
    let file = |name: &str| std::fs::metadata(dir.path().join(name)).map_or(0, |m| m.len());
    for group in 0..20 {
        let some: Vec<Change> = (1..=100)
            .map(|n| text(group * 100 + n, "anna", &format!("{n} {}", "lorem ".repeat(200))))
            .map(|entry| Change::Put(Box::new(entry)))
            .collect();
        history.commit(&some).unwrap();
    }
    while history.tidy(false) {}
    assert!(file("history.db") > 2 << 20, "{}", file("history.db"));
    sweep(&mut history, at(0));
    while history.tidy(false) {}
    let spare = SPARE_PAGES as u64 * u64::from(crate::store::base::PAGE);
    assert!(file("history.db") <= (1 << 20) + spare, "{}", file("history.db"));
    assert_eq!(file("history.db-wal"), 0);
    let left = orders(&mut history);
    assert_eq!(left.last(), Some(&2_000), "the newest stay");
    assert!(left.len() > 100, "{}", left.len());
}

#[test]
fn other_bounds_hold_at_once_and_files_go_with_what_is_too_old() {
    let (_dir, mut history) = history(Rules::default());
    let mut file = of_this_run(1, 0);
    let path = "/srv/images/anna-20261121143000-1.png".to_owned();
    file.body = Body::File {
        path: path.clone(),
        size: 1,
        format: "png".into(),
        width: None,
        height: None,
        gone: false,
    };
    put(&mut history, file.clone());
    (file.id.n, file.order) = (2, 2);
    file.direction = crate::model::Direction::Out;
    put(&mut history, file);
    assert_eq!(sweep(&mut history, at(9_000)), None, "forever");
    history.set_rules(hourly());
    let swept = history.sweep(at(9_000)).unwrap();
    assert_eq!(swept.gone.files, [path], "what came in; what was sent is the sender's");
    assert_eq!(orders(&mut history), [0; 0]);
    put(&mut history, of_this_run(3, 9_000));
    history.set_rules(Rules { keep: Keep::Nothing, ..Rules::default() });
    sweep(&mut history, at(9_000));
    assert_eq!(orders(&mut history), [0; 0]);
}

#[test]
fn an_import_of_what_is_too_old_is_not_taken_in() {
    let (_dir, mut history) = history(hourly());
    history.set_clock(true);
    let mut old = text(1, "anna", "yesterday");
    old.at = Wall(WALL - 24 * HOUR);
    let mut new = text(2, "anna", "just now");
    new.at = Wall(WALL);
    assert_eq!(history.import(&[old, new], at(0)), Ok(1));
    assert_eq!(orders(&mut history), [2]);
}

#[test]
fn in_memory_the_bounds_are_small() {
    let age = Age::new(NOW_RUN, BORN);
    let (mut history, _) = History::open(None, Rules::default(), age);
    for n in 1..=MEMORY.0 + 1 {
        put(&mut history, text(n, "anna", "hello"));
    }
    sweep(&mut history, at(0));
    assert!(orders(&mut history).len() as u64 <= MEMORY.0);
}
