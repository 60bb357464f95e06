//! What is kept, under everything that disks and power do to it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

mod power;
mod torn;
mod vfs;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use klatsch::config::History as Rules;
use klatsch::model::history::{Body, Change, Entry, Found, Query, Recipient};
use klatsch::model::limits::MAX_PAGE;
use klatsch::model::{Delivery, Dialect, Direction, EntryId, PeerId, Wall};
use klatsch::store::history::History;
use klatsch::store::retain::Age;

/// The file layer that is watched is one for the whole process, and so is its newest database.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often something is tried: more in a long run.
fn times(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// A folder in memory: thousands of databases are built.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn history(folder: &Path) -> (History, Vec<String>) {
    let (mut history, _) = History::open(Some(folder.into()), Rules::default(), Age::new(1, 0));
    let said = history.said();
    (history, said)
}

/// The `n`th entry of the tests.
fn text(n: u64) -> Entry {
    let to = Recipient {
        peer: PeerId(n % 7),
        handle: "anna".into(),
        state: Delivery::Sent,
        reason: None,
    };
    Entry {
        id: EntryId { epoch: 5, n },
        order: n,
        user: None,
        conversation: format!("anna-{}", n % 3),
        from: "box".into(),
        direction: Direction::Out,
        dialect: Dialect::Slcp,
        at: Wall(1_800_000_000_000 + n),
        dated: true,
        mono: n,
        body: Body::Text { text: format!("text {n} {}", "and so on ".repeat((n % 50) as usize)) },
        autoreply: false,
        recipients: vec![to],
    }
}

fn put(n: u64) -> Change {
    Change::Put(Box::new(text(n)))
}

/// The orders of all entries; each must be as it was given.
fn orders(history: &mut History) -> Vec<u64> {
    all(history).unwrap()
}

/// The orders of all entries, or what is wrong with one.
fn all(history: &mut History) -> Result<Vec<u64>, String> {
    let (mut orders, mut after) = (Vec::new(), 0);
    loop {
        let found = history.answer(&Query::From { after, limit: MAX_PAGE });
        let Ok(Found::Entries { entries, more }) = found else { return Err(format!("{found:?}")) };
        for mut entry in entries {
            after = entry.order;
            orders.push(after);
            entry.recipients.iter_mut().for_each(|to| to.state = Delivery::Sent);
            if entry != text(after) {
                return Err(format!("torn: {entry:?}"));
            }
        }
        if !more {
            return Ok(orders);
        }
    }
}
