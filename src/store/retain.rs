//! What is to go, and going: retention by age, count and bytes, deletion by hand, and room given
//! back to the disk. What still waits to be sent stays until it was sent or expired.

use rusqlite::{Connection, Error};

use super::history::SLICE;
use super::read::MINE;
use super::row::signed;
use super::write::{self, Counts};
use crate::config::{History as Rules, Keep};
use crate::model::history::{Forget, Reader};
use crate::model::{Millis, Now, Wall};

/// Entries and bytes of a history that lives in memory.
pub const MEMORY: (u64, u64) = (1_000, 1 << 20);
/// Milliseconds between two looks at what is too old: entries live so much longer at most.
pub const LOOK_MS: Millis = 60_000;
/// Milliseconds between two looks at all entries; the others stop at the first that stays.
const LOOK_AT_ALL_MS: Millis = 24 * 3_600_000;
/// Free pages that are left in the file for what comes next, unless somebody deleted by hand.
const SPARE_PAGES: i64 = 16;
/// Pages given back in one step.
const TIDY_PAGES: i64 = 256;

/// How old entries are. Those of this run are measured by the steady clock; earlier ones by
/// their date where both it and today's can be trusted, and by how long this run lasts else.
#[derive(Clone, Debug)]
pub struct Age {
    /// This run.
    pub epoch: u64,
    /// The steady clock when it began.
    pub born: Millis,
    /// Whether the system's clock can be trusted.
    pub trusted: bool,
    /// When all entries were last looked at, and how far the look under way is.
    looked: Option<Millis>,
    at: Option<i64>,
}

impl Age {
    /// For a run that begins.
    pub fn new(epoch: u64, born: Millis) -> Age {
        Age { epoch, born, trusted: false, looked: None, at: None }
    }

    /// Milliseconds until an entry is too old; none: it never is.
    fn left(&self, keep: Keep, now: Now, entry: (u64, Millis, Wall, bool)) -> Option<Millis> {
        let Keep::Seconds(seconds) = keep else { return None };
        let (epoch, mono, at, dated) = entry;
        let keep = seconds.saturating_mul(1_000);
        let until = |from: Millis, now: Millis| from.saturating_add(keep).saturating_sub(now);
        Some(if epoch == self.epoch {
            until(mono, now.mono)
        } else if dated && self.trusted {
            until(at.0, now.wall.0)
        } else {
            until(self.born, now.mono)
        })
    }

    /// Whether an entry is too old.
    pub fn expired(
        &self,
        keep: Keep,
        now: Now,
        epoch: u64,
        mono: Millis,
        at: Wall,
        dated: bool,
    ) -> bool {
        self.left(keep, now, (epoch, mono, at, dated)) == Some(0)
    }
}

/// What went.
#[derive(Debug, Default)]
pub struct Gone {
    /// Entries.
    pub entries: u64,
    /// Paths of received files that belonged to them and are to go too.
    pub files: Vec<String>,
}

impl Gone {
    /// One more; with its file, if `files` are to go.
    pub fn add(&mut self, path: Option<String>, files: bool) {
        self.entries += 1;
        self.files.extend(path.filter(|_| files));
    }
}

/// What a step of retention did.
#[derive(Debug, Default)]
pub struct Swept {
    /// What went.
    pub gone: Gone,
    /// When the next step is due; none: nothing will be too old before something new is kept.
    pub next: Option<Millis>,
}

/// What is to go next.
#[derive(Debug, Default)]
pub struct Plan {
    /// The entries' orders, at most [`SLICE`].
    pub orders: Vec<i64>,
    /// Whether their files go with them: what is too old does; what is merely too much does
    /// not, for files have a quota of their own.
    pub files: bool,
    /// When to look again, if none are to go now.
    pub next: Option<Millis>,
}

const SETTLED: &str =
    "NOT EXISTS (SELECT 1 FROM recipients r WHERE r.ord = entries.ord AND r.state = 0)";

/// Looks for what is to go. Too much is taken down to a bit below its bound, so that not every
/// new entry costs a deletion.
pub fn plan(
    conn: &Connection,
    counts: Counts,
    rules: &Rules,
    age: &mut Age,
    now: Now,
) -> Result<Plan, Error> {
    let orders = oldest(conn, rules, counts)?;
    if !orders.is_empty() {
        return Ok(Plan { orders, files: false, next: None });
    }
    if rules.keep == Keep::Nothing {
        return Ok(Plan { orders: settled(conn, SLICE)?, files: false, next: None });
    }
    too_old(conn, rules.keep, age, now)
}

fn oldest(conn: &Connection, rules: &Rules, counts: Counts) -> Result<Vec<i64>, Error> {
    let most = rules.entries;
    let mut surplus = 0;
    if counts.entries > most {
        surplus = (counts.entries - (most - most / 50)).min(SLICE as u64) as usize;
    }
    let (pages, free, page) = pages(conn)?;
    let used = u64::try_from((pages - free) * page).unwrap_or(0);
    if used > rules.bytes {
        surplus = SLICE;
    }
    if surplus == 0 { Ok(Vec::new()) } else { settled(conn, surplus) }
}

fn settled(conn: &Connection, limit: usize) -> Result<Vec<i64>, Error> {
    let sql = format!("SELECT ord FROM entries WHERE {SETTLED} ORDER BY ord LIMIT {limit}");
    conn.prepare(&sql)?.query_map([], |r| r.get(0))?.collect()
}

fn too_old(conn: &Connection, keep: Keep, age: &mut Age, now: Now) -> Result<Plan, Error> {
    if keep == Keep::Forever {
        return Ok(Plan::default());
    }
    let all = age.looked.is_none_or(|at| now.mono >= at + LOOK_AT_ALL_MS);
    let sql = format!(
        "SELECT ord, epoch, mono, at, dated FROM entries WHERE ord > ?1 AND {SETTLED} \
         ORDER BY ord LIMIT {SLICE}"
    );
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([age.at.unwrap_or(i64::MIN)])?;
    let mut plan = Plan { files: true, ..Plan::default() };
    let mut soonest: Option<Millis> = None;
    let (mut seen, mut last) = (0, i64::MIN);
    while let Some(row) = rows.next()? {
        let number = |i| row.get::<_, i64>(i).map_or(0, |n| n as u64);
        last = row.get(0)?;
        seen += 1;
        let entry = (number(1), number(2), Wall(number(3)), number(4) != 0);
        match age.left(keep, now, entry) {
            Some(0) => plan.orders.push(last),
            Some(left) => soonest = Some(soonest.map_or(left, |s| s.min(left))),
            None => {}
        }
    }
    drop(rows);
    let done = seen < SLICE || (!all && plan.orders.is_empty());
    age.at = if done { None } else { Some(last) };
    if done && all {
        age.looked = Some(now.mono);
    }
    let rest = soonest.map(|left| now.mono.saturating_add(left.max(LOOK_MS)));
    plan.next = if done { rest } else { Some(now.mono) };
    Ok(plan)
}

/// One step of a deletion by hand, of what `reader` (none: anyone) may see; it takes what waits to
/// be sent too.
pub fn forget(
    conn: &Connection,
    counts: &mut Counts,
    reader: Option<&Reader>,
    what: &Forget,
) -> Result<Gone, Error> {
    let (user, since) = match reader {
        Some(reader) => (reader.user.as_str(), signed(reader.since.min(1 << 62))),
        None => ("", 0),
    };
    let mine = if reader.is_some() { MINE } else { "?2 = '' AND ?3 = 0" };
    let list = |which: &str, arg: &dyn rusqlite::ToSql| -> Result<Vec<i64>, Error> {
        let sql = format!("SELECT ord FROM entries WHERE {which} AND {mine} LIMIT {SLICE}");
        let args = [arg, &user as &dyn rusqlite::ToSql, &since];
        conn.prepare(&sql)?.query_map(args, |r| r.get(0))?.collect()
    };
    let orders = match what {
        Forget::Entry(order) => list("ord = ?1", &signed((*order).min(1 << 62)))?,
        Forget::Conversation(with) => list("conversation = ?1", with)?,
        Forget::All => list("?1 = 0", &0)?,
    };
    let mut gone = Gone::default();
    for order in orders {
        gone.add(write::remove(conn, counts, order)?, true);
    }
    Ok(gone)
}

/// One step of giving room back; whether there is more. Its last one empties the log, where
/// what was deleted may still stand.
pub fn tidy(conn: &Connection, all: bool) -> Result<bool, Error> {
    let (_, free, _) = pages(conn)?;
    if free > if all { 0 } else { SPARE_PAGES } {
        conn.execute_batch(&format!("PRAGMA incremental_vacuum({TIDY_PAGES})"))?;
        let (_, left, _) = pages(conn)?;
        if left < free {
            return Ok(true);
        }
    }
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(false)
}

/// Pages, free ones among them, and bytes of one.
fn pages(conn: &Connection) -> Result<(i64, i64, i64), Error> {
    let number = |pragma| conn.query_row(pragma, [], |r| r.get::<_, i64>(0));
    Ok((
        number("PRAGMA page_count")?,
        number("PRAGMA freelist_count")?,
        number("PRAGMA page_size")?,
    ))
}

#[cfg(test)]
#[path = "retain_tests.rs"]
mod tests;
