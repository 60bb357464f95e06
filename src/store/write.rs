//! Changes, written. Everything here happens within a transaction of the caller's.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, Error, OptionalExtension, params};

use super::row::{self, signed};
use super::words;
use crate::config::Keep;
use crate::model::history::{Body, Change, Entry, Known, Row};
use crate::model::limits::MAX_KNOWN;
use crate::model::{Delivery, EntryId, PeerId};

/// What the database counts, kept beside it: counting there would read all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The highest order given.
    pub last: u64,
    /// Entries.
    pub entries: u64,
    /// People known.
    pub known: usize,
}

/// An order above this is nobody's: the next one is given instead.
const MAX_ORDER: u64 = 1 << 53;

/// Reads the counts.
pub fn counts(conn: &Connection) -> Result<Counts, Error> {
    let number = |sql| conn.query_row(sql, [], |r| r.get::<_, Option<i64>>(0));
    let last = number("SELECT max(ord) FROM entries")?.unwrap_or(0);
    let told = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last-order'";
    let told = conn.query_row(told, [], |r| r.get::<_, Option<i64>>(0)).optional()?.flatten();
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Counts {
        last: positive(last.max(told.unwrap_or(0))).min(MAX_ORDER),
        entries: positive(number("SELECT count(*) FROM entries")?.unwrap_or(0)),
        known: positive(number("SELECT count(*) FROM known")?.unwrap_or(0)) as usize,
    })
}

/// Writes one group of changes. The statements are prepared when first needed; the connection
/// keeps them for the next group.
pub struct Writer<'c> {
    conn: &'c Connection,
    keep: Keep,
    put: Option<CachedStatement<'c>>,
    recipient: Option<CachedStatement<'c>>,
    index: Option<CachedStatement<'c>>,
    state: Option<CachedStatement<'c>>,
    meet: Option<CachedStatement<'c>>,
    link_put: Option<CachedStatement<'c>>,
    link_delete: Option<CachedStatement<'c>>,
    places: Option<Places>,
}

/// Where the recipients of the entry stand whose state changed last: a text to everyone has
/// thousands, and their states change one after the other.
struct Places {
    id: EntryId,
    order: i64,
    of_peer: HashMap<i64, i64>,
}

impl Places {
    fn of(conn: &Connection, id: EntryId) -> Result<Option<Places>, Error> {
        let sql = "SELECT ord FROM entries WHERE epoch = ?1 AND n = ?2";
        let args = params![signed(id.epoch), signed(id.n)];
        let found = conn.prepare_cached(sql)?.query_row(args, |r| r.get(0)).optional()?;
        let Some(order) = found else { return Ok(None) };
        let mut statement =
            conn.prepare_cached("SELECT peer, place FROM recipients WHERE ord = ?1")?;
        let all = statement.query_map([order], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(Some(Places { id, order, of_peer: all.collect::<Result<_, _>>()? }))
    }
}

fn ready<'s, 'c>(
    slot: &'s mut Option<CachedStatement<'c>>,
    conn: &'c Connection,
    sql: &str,
) -> Result<&'s mut CachedStatement<'c>, Error> {
    if slot.is_none() {
        *slot = Some(conn.prepare_cached(sql)?);
    }
    slot.as_mut().ok_or(Error::InvalidQuery)
}

impl<'c> Writer<'c> {
    /// For one transaction.
    pub fn new(conn: &'c Connection, keep: Keep) -> Writer<'c> {
        Writer {
            conn,
            keep,
            put: None,
            recipient: None,
            index: None,
            state: None,
            meet: None,
            link_put: None,
            link_delete: None,
            places: None,
        }
    }

    /// Writes a change.
    pub fn change(&mut self, counts: &mut Counts, change: &Change) -> Result<(), Error> {
        match change {
            Change::Put(entry) => self.put(counts, entry).map(drop),
            Change::State { id, peer, state, reason } => {
                self.state(counts, *id, *peer, *state, reason.as_deref())
            }
            Change::Date { epoch, zero } => self.date(*epoch, *zero),
            Change::Met(known) => self.met(counts, known),
            Change::Link(row) => self.link(row),
            Change::Renamed { from, to } => {
                let sql = "UPDATE entries SET user = ?2 WHERE user = ?1 COLLATE NOCASE";
                self.conn.execute(sql, [from.as_str(), to.as_str()]).map(drop)
            }
        }
    }

    /// A new entry; whether it was written: one whose id is there already is not, nor one that
    /// waits for nothing where nothing is kept.
    pub fn put(&mut self, counts: &mut Counts, entry: &Entry) -> Result<bool, Error> {
        if self.keep == Keep::Nothing && !waits(entry) {
            counts.last = counts.last.max(entry.order.min(MAX_ORDER));
            return Ok(false);
        }
        let next = counts.last + 1;
        let order = if (next..=MAX_ORDER).contains(&entry.order) { entry.order } else { next };
        self.put_at(counts, entry, order)
    }

    /// An entry of an export: it keeps its order where that is free, else it comes last.
    pub fn take_in(&mut self, counts: &mut Counts, entry: &Entry) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM entries WHERE ord = ?";
        let taken = self.conn.prepare(sql)?.exists([signed(entry.order)])?;
        let usable = !taken && (1..=MAX_ORDER).contains(&entry.order);
        self.put_at(counts, entry, if usable { entry.order } else { counts.last + 1 })
    }

    fn put_at(&mut self, counts: &mut Counts, entry: &Entry, order: u64) -> Result<bool, Error> {
        let sql = format!(
            "INSERT OR IGNORE INTO entries ({}) VALUES \
             (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
            row::ENTRY
        );
        let (mut text, mut path, mut format) = (None, None, None);
        let (mut bytes, mut wide, mut high, mut removed) = (None, None, None, None);
        match &entry.body {
            Body::Text { text: words } => text = Some(words),
            Body::File { path: at, size, format: what, width, height, gone } => {
                (path, format, bytes) = (Some(at), Some(what), Some(signed(*size)));
                (wide, high, removed) = (*width, *height, gone.then_some(1));
            }
        }
        let written = ready(&mut self.put, self.conn, &sql)?.execute(params![
            signed(order),
            signed(entry.id.epoch),
            signed(entry.id.n),
            entry.user.as_ref().map(|u| u.as_str()),
            entry.conversation,
            entry.from,
            row::direction(entry.direction),
            entry.dialect.name(),
            signed(entry.at.0),
            entry.dated,
            signed(entry.mono),
            entry.autoreply,
            text,
            path,
            bytes,
            format,
            wide,
            high,
            removed,
        ])?;
        if written == 0 {
            return Ok(false);
        }
        let sql = "INSERT INTO recipients VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        for (place, to) in entry.recipients.iter().enumerate() {
            ready(&mut self.recipient, self.conn, sql)?.execute(params![
                signed(order),
                place as i64,
                signed(to.peer.0),
                to.handle,
                row::state(to.state),
                to.reason,
            ])?;
        }
        let sql = "INSERT INTO words (rowid, text) VALUES (?1, ?2)";
        let folded = words::fold(searched(text.map(String::as_str), path.map(String::as_str)));
        ready(&mut self.index, self.conn, sql)?.execute(params![signed(order), folded])?;
        counts.last = counts.last.max(order);
        counts.entries += 1;
        Ok(true)
    }

    fn state(
        &mut self,
        counts: &mut Counts,
        id: EntryId,
        peer: PeerId,
        state: Delivery,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        if self.places.as_ref().is_none_or(|places| places.id != id) {
            self.places = Places::of(self.conn, id)?;
        }
        let Some(places) = &self.places else { return Ok(()) };
        let Some(place) = places.of_peer.get(&signed(peer.0)) else { return Ok(()) };
        let sql = "UPDATE recipients SET state = ?3, reason = ?4 WHERE ord = ?1 AND place = ?2";
        let args = params![places.order, place, row::state(state), reason];
        ready(&mut self.state, self.conn, sql)?.execute(args)?;
        if self.keep != Keep::Nothing {
            return Ok(());
        }
        let sql = "SELECT ord FROM entries WHERE epoch = ?1 AND n = ?2 AND NOT EXISTS \
             (SELECT 1 FROM recipients r WHERE r.ord = entries.ord AND state = 0)";
        let id = params![signed(id.epoch), signed(id.n)];
        if let Some(order) = self.conn.query_row(sql, id, |r| r.get(0)).optional()? {
            remove(self.conn, counts, order)?;
        }
        Ok(())
    }

    fn link(&mut self, row: &Row) -> Result<(), Error> {
        let (put, delete) = (
            "INSERT INTO link VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            "DELETE FROM link WHERE key = ?1",
        );
        match &row.value {
            Some(value) => {
                ready(&mut self.link_put, self.conn, put)?.execute(params![row.key, value])
            }
            None => ready(&mut self.link_delete, self.conn, delete)?.execute([&row.key]),
        }
        .map(drop)
    }

    fn date(&mut self, epoch: u64, zero: i64) -> Result<(), Error> {
        let sql = "UPDATE entries SET at = max(0, ?2 + mono), dated = 1 \
             WHERE epoch = ?1 AND dated = 0";
        self.conn.execute(sql, params![signed(epoch), zero]).map(drop)
    }

    fn met(&mut self, counts: &mut Counts, known: &Known) -> Result<(), Error> {
        // Taken out and put in again, he is the last met.
        let key = known.handle.key();
        counts.known -= self.conn.execute("DELETE FROM known WHERE key = ?1", [&key])?;
        let sql = "INSERT INTO known (key, handle, peer, dialect, address) VALUES (?,?,?,?,?)";
        ready(&mut self.meet, self.conn, sql)?.execute(params![
            key,
            known.handle.as_str(),
            signed(known.peer.0),
            known.dialect.name(),
            known.address,
        ])?;
        counts.known += 1;
        if counts.known > MAX_KNOWN {
            let sql = "DELETE FROM known WHERE met IN (SELECT met FROM known ORDER BY met LIMIT ?)";
            counts.known -= self.conn.execute(sql, [(counts.known - MAX_KNOWN) as i64])?;
        }
        Ok(())
    }
}

/// Whether somebody it is for has not got it yet.
pub fn waits(entry: &Entry) -> bool {
    entry.recipients.iter().any(|r| r.state == Delivery::Queued)
}

/// What of an entry is searched: its text, or its file's name.
fn searched<'a>(text: Option<&'a str>, path: Option<&'a str>) -> &'a str {
    text.or_else(|| path?.rsplit('/').next()).unwrap_or_default()
}

/// Removes an entry, and with it every word of it from the index; its file's path where it came
/// in. The place of the newest is remembered, so that it is not given again.
pub fn remove(conn: &Connection, counts: &mut Counts, order: i64) -> Result<Option<String>, Error> {
    let sql = "SELECT text, path, direction FROM entries WHERE ord = ?";
    let found = conn.query_row(sql, [order], |r| {
        let (text, path): (Option<String>, Option<String>) = (r.get(0)?, r.get(1)?);
        Ok((text, path, r.get::<_, i64>(2)?))
    });
    let Some((text, path, direction)) = found.optional()? else { return Ok(None) };
    let folded = words::fold(searched(text.as_deref(), path.as_deref()));
    let sql = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)";
    conn.execute(sql, params![order, folded])?;
    conn.execute("DELETE FROM recipients WHERE ord = ?", [order])?;
    conn.execute("DELETE FROM entries WHERE ord = ?", [order])?;
    counts.entries = counts.entries.saturating_sub(1);
    if u64::try_from(order).is_ok_and(|order| order == counts.last) {
        conn.execute("UPDATE meta SET value = ? WHERE key = 'last-order'", [order])?;
    }
    Ok(path.filter(|_| direction == 0))
}
