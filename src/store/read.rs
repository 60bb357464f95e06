//! What is asked of what is kept.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Row, params_from_iter};

use super::row::{self, signed};
use super::{words, write};
use crate::model::history::{self, Body, Entry, Found, Known, Query, Reader, Remembered};
use crate::model::limits::{MAX_KNOWN, MAX_OUTBOX, MAX_PAGE};

/// Bytes of a page of history; it holds one entry at least, however large.
pub const PAGE_BYTES: usize = 256 * 1024;
/// What one recipient counts of them.
const RECIPIENT_BYTES: usize = 96;

/// What a reader (`?2`, from the order `?3` on) may see: what is his, and the lobby.
pub const MINE: &str = "(user IS NULL OR conversation = '#lobby' \
     OR (user = ?2 COLLATE NOCASE AND ord > ?3))";

/// Answers a question that changes nothing. `Delete` and `Import` are not such.
pub fn answer(conn: &Connection, query: &Query) -> Result<Found, Error> {
    let below = |n: &Option<u64>| Value::from(n.map_or(i64::MAX, |n| signed(n.min(1 << 62))));
    let mine = |reader: &Reader| {
        [
            Value::from(reader.user.as_str().to_owned()),
            Value::from(signed(reader.since.min(1 << 62))),
        ]
    };
    match query {
        Query::Last { reader, conversation: None, before, limit } => {
            let rest = format!("WHERE ord < ?1 AND {MINE} ORDER BY ord DESC");
            let [user, since] = mine(reader);
            entries(conn, &rest, [below(before), user, since], *limit, true)
        }
        Query::Last { reader, conversation: Some(with), before, limit } => {
            let rest = format!("WHERE conversation = ?4 AND ord < ?1 AND {MINE} ORDER BY ord DESC");
            let [user, since] = mine(reader);
            let args = [below(before), user, since, Value::from(with.clone())];
            entries(conn, &rest, args, *limit, true)
        }
        Query::From { after, limit } => {
            let after = Value::from(signed((*after).min(1 << 62)));
            entries(conn, "WHERE ord > ?1 ORDER BY ord", [after], *limit, false)
        }
        Query::Search { reader, words, before, limit } => {
            let Some(query) = words::query(words) else {
                return Ok(Found::Entries { entries: Vec::new(), more: false });
            };
            search(conn, &query, below(before), mine(reader), *limit)
        }
        Query::Delete { .. } | Query::Import(_) => Ok(Found::Count(0)),
    }
}

/// A page being filled.
struct Page<'c> {
    entries: Vec<Entry>,
    bytes: usize,
    limit: usize,
    to: Recipients<'c>,
    more: bool,
}

impl<'c> Page<'c> {
    fn new(conn: &'c Connection, limit: u32) -> Result<Page<'c>, Error> {
        let limit = limit.min(MAX_PAGE) as usize;
        let to = Recipients::new(conn)?;
        Ok(Page { entries: Vec::new(), bytes: 0, limit, to, more: false })
    }

    /// Takes a row in; whether there is room for more.
    fn add(&mut self, row: &Row<'_>) -> Result<bool, Error> {
        let Some(mut entry) = row::entry(&|i| value(row, i)) else { return Ok(true) };
        self.to.fill(&mut entry)?;
        self.bytes += weight(&entry);
        let large = self.bytes > PAGE_BYTES && !self.entries.is_empty();
        self.more = self.entries.len() >= self.limit || large;
        if !self.more {
            self.entries.push(entry);
        }
        Ok(!self.more)
    }

    fn found(mut self, newest_first: bool) -> Found {
        if newest_first {
            self.entries.reverse();
        }
        Found::Entries { entries: self.entries, more: self.more }
    }
}

fn entries<const N: usize>(
    conn: &Connection,
    rest: &str,
    args: [Value; N],
    limit: u32,
    newest_first: bool,
) -> Result<Found, Error> {
    let mut page = Page::new(conn, limit)?;
    let mut statement = conn.prepare(&format!("SELECT {} FROM entries {rest}", row::ENTRY))?;
    let mut rows = statement.query(params_from_iter(args))?;
    while let Some(row) = rows.next()? {
        if !page.add(row)? {
            break;
        }
    }
    Ok(page.found(newest_first))
}

/// The index gives the places one by one, the newest first; each entry is looked up by itself,
/// so that a word that stands everywhere costs no more than a page.
fn search(
    conn: &Connection,
    query: &str,
    below: Value,
    [user, since]: [Value; 2],
    limit: u32,
) -> Result<Found, Error> {
    let sql = "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC";
    let mut places = conn.prepare(sql)?;
    let sql = format!("SELECT {} FROM entries WHERE ord = ?1 AND {MINE}", row::ENTRY);
    let mut entry = conn.prepare(&sql)?;
    let mut page = Page::new(conn, limit)?;
    let mut places = places.query(rusqlite::params![query, below])?;
    while let Some(place) = places.next()? {
        let mut rows = entry.query(rusqlite::params![place.get::<_, i64>(0)?, user, since])?;
        if let Some(row) = rows.next()? {
            if !page.add(row)? {
                break;
            }
        }
    }
    Ok(page.found(true))
}

/// What a node is told at its start, as far as its limits go.
pub fn remembered(conn: &Connection) -> Result<Remembered, Error> {
    let last_order = write::counts(conn)?.last;
    let mut known: Vec<Known> = Vec::new();
    let sql = format!("SELECT {} FROM known ORDER BY met DESC LIMIT {MAX_KNOWN}", row::KNOWN);
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        known.extend(row::known(&|i| value(row, i)));
    }
    known.reverse();
    let mut outbox = Vec::new();
    let sql = format!(
        "SELECT {} FROM entries WHERE ord IN (SELECT ord FROM recipients WHERE state = 0) \
         ORDER BY ord LIMIT {MAX_OUTBOX}",
        row::ENTRY
    );
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut to = Recipients::new(conn)?;
    while let Some(row) = rows.next()? {
        let Some(mut entry) = row::entry(&|i| value(row, i)) else { continue };
        to.fill(&mut entry)?;
        outbox.push(entry);
    }
    Ok(Remembered { last_order, outbox, known, link: link(conn)? })
}

/// What the link keeps, by key.
fn link(conn: &Connection) -> Result<Vec<history::Row>, Error> {
    let mut statement = conn.prepare("SELECT key, value FROM link ORDER BY key")?;
    let rows =
        statement.query_map([], |r| Ok(history::Row { key: r.get(0)?, value: r.get(1)? }))?;
    rows.collect()
}

struct Recipients<'c>(rusqlite::Statement<'c>);

impl<'c> Recipients<'c> {
    fn new(conn: &'c Connection) -> Result<Recipients<'c>, Error> {
        let sql = format!("SELECT {} FROM recipients WHERE ord = ? ORDER BY place", row::RECIPIENT);
        conn.prepare(&sql).map(Recipients)
    }

    fn fill(&mut self, entry: &mut Entry) -> Result<(), Error> {
        let mut rows = self.0.query([signed(entry.order)])?;
        while let Some(row) = rows.next()? {
            entry.recipients.extend(row::recipient(&|i| value(row, i)));
        }
        Ok(())
    }
}

fn value<'r>(row: &'r Row<'_>, column: usize) -> ValueRef<'r> {
    row.get_ref(column).unwrap_or(ValueRef::Null)
}

fn weight(entry: &Entry) -> usize {
    let body = match &entry.body {
        Body::Text { text } => text.len(),
        Body::File { path, .. } => path.len(),
    };
    body + size_of::<Entry>() + RECIPIENT_BYTES * entry.recipients.len()
}
