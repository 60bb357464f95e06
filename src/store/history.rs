//! The history as the storage thread works with it: groups of changes made durable, questions
//! answered, and what is done when the disk refuses or the database turns out damaged.
//!
//! Where there is no folder, or none that can be used, it lives in memory with small bounds.

use std::path::PathBuf;

use rusqlite::{Connection, Error};

use super::base::{self, Database, Fault};
use super::retain::{Age, MEMORY};
use super::write::{self, Counts, Writer};
use super::{read, retain};
use crate::config::{History as Rules, Keep};
use crate::model::history::{Change, Entry, Forget, Found, Query, Reader, Remembered};
use crate::model::{Delivery, IoError, Now, Trouble};

/// Entries that one step of a long deletion or import takes; between two the thread does other
/// work.
pub const SLICE: usize = 200;

/// See the module.
pub struct History {
    /// Where it is on the disk; none: it is in memory.
    folder: Option<PathBuf>,
    conn: Option<Database>,
    /// The open file, as the file system names it.
    file: Option<(u64, u64)>,
    counts: Counts,
    rules: Rules,
    age: Age,
    /// The disk refused last time, and why.
    refused: Option<IoError>,
    said: Vec<String>,
}

impl History {
    /// Opens what is kept in a folder; none: a new one in memory. It always comes to something;
    /// [`History::said`] has what there is to say of it.
    pub fn open(folder: Option<PathBuf>, rules: Rules, age: Age) -> (History, Remembered) {
        let mut history = History {
            folder,
            conn: None,
            file: None,
            counts: Counts::default(),
            rules: rules.clone(),
            age,
            refused: None,
            said: Vec::new(),
        };
        let remembered = history.begin();
        history.set_rules(rules);
        (history, remembered)
    }

    /// What there is to say since it was last asked, a line each.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// Other bounds hold from now on; [`History::sweep`] carries them out.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        if self.folder.is_none() {
            self.rules.entries = self.rules.entries.min(MEMORY.0);
            self.rules.bytes = self.rules.bytes.min(MEMORY.1);
        }
    }

    /// Whether the system's clock can be trusted now.
    pub fn set_clock(&mut self, trusted: bool) {
        self.age.trusted = trusted;
    }

    fn begin(&mut self) -> Remembered {
        if self.folder.is_some() {
            match self.open_or_replace() {
                Ok(remembered) => return remembered,
                Err(fault) => {
                    self.say(&format!(
                        "{}: what is said is kept in memory only, and ends with this run",
                        fault.error()
                    ));
                    self.folder = None;
                }
            }
        }
        match base::in_memory() {
            Ok(conn) => self.conn = Some(conn),
            Err(fault) => self.said.push(format!("nothing is kept: {}", fault.error())),
        }
        Remembered::default()
    }

    fn open_or_replace(&mut self) -> Result<Remembered, Fault> {
        match self.reopen() {
            Err(Fault::Damaged(why)) => {
                self.set_aside(&why)?;
                self.reopen()
            }
            outcome => outcome,
        }
    }

    /// Opens the folder's database; one that is open stays so where that fails.
    fn reopen(&mut self) -> Result<Remembered, Fault> {
        let Some(folder) = self.folder.clone() else { return Ok(Remembered::default()) };
        if let Some(line) = base::look_at_log(&folder) {
            self.say(&line);
        }
        let conn = base::open(&folder)?;
        let found = read::remembered(&conn).and_then(|r| Ok((write::counts(&conn)?, r)));
        let (counts, remembered) = found.map_err(|e| Fault::of(&e, Some(&conn)))?;
        // What was given out in this run stays given out, whatever a fresh file says.
        self.counts = Counts { last: counts.last.max(self.counts.last), ..counts };
        // Counting read all of an index: its pages need not stay in memory. Best effort.
        let _ = conn.execute_batch("PRAGMA shrink_memory");
        self.conn = Some(conn);
        self.file = base::identity(&folder);
        Ok(remembered)
    }

    fn set_aside(&mut self, why: &str) -> Result<(), Fault> {
        self.conn = None;
        self.file = None;
        let Some(folder) = &self.folder else { return Ok(()) };
        let name = base::set_aside(folder).map_err(Fault::Disk)?;
        self.say(&format!(
            "damaged ({why}): set aside as {name}, a fresh one is begun; what was kept before is \
             only there"
        ));
        Ok(())
    }

    fn say(&mut self, text: &str) {
        let file = self.folder.as_ref().map(|folder| folder.join(base::FILE));
        let file = file.map_or_else(|| "history".into(), |file| file.display().to_string());
        self.said.push(format!("{file}: {text}"));
    }

    /// Makes a group of changes durable, all of them or none.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), IoError> {
        let keep = self.rules.keep;
        self.transact(|conn, counts| {
            let mut writer = Writer::new(conn, keep);
            changes.iter().try_for_each(|change| writer.change(counts, change))
        })
    }

    /// Runs `act` in a transaction; on a database that turns out damaged it runs again on a
    /// fresh one. What the disk refuses is the caller's to tell.
    fn transact<T>(
        &mut self,
        act: impl Fn(&Connection, &mut Counts) -> Result<T, Error>,
    ) -> Result<T, IoError> {
        let mut outcome = self.transact_once(&act);
        if let (Err(Fault::Damaged(why)), Some(_)) = (&outcome, &self.folder) {
            let why = why.clone();
            outcome = self
                .set_aside(&why)
                .and_then(|()| self.reopen())
                .and_then(|_| self.transact_once(&act));
        }
        match outcome {
            Ok(value) => {
                self.refused = None;
                self.renew();
                Ok(value)
            }
            Err(fault) => {
                let error = fault.error();
                self.refused = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Gives back what a log that became long holds of the heap, once all of it is in the database.
    fn renew(&mut self) {
        let long = |folder: &PathBuf| base::log_bytes(folder) > base::LONG_LOG_BYTES;
        let (Some(true), Some(conn)) = (self.folder.as_ref().map(long), &self.conn) else { return };
        let carried = "PRAGMA wal_checkpoint(TRUNCATE)";
        // a full disk: it is tried again after the next write
        if conn.query_row(carried, [], |row| row.get(0)).is_ok_and(|busy: i64| busy == 0) {
            self.conn = None; // one process may have it once
            if let Err(fault) = self.reopen() {
                self.say(&format!("cannot be opened again: {}", fault.error()));
            }
        }
    }

    /// Whether the open file is not the one of that name any more: a card was pulled and is back,
    /// or somebody removed it. What is written to it would be lost.
    fn is_elsewhere(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| base::identity(folder) != self.file)
    }

    fn transact_once<T>(
        &mut self,
        act: &impl Fn(&Connection, &mut Counts) -> Result<T, Error>,
    ) -> Result<T, Fault> {
        if self.folder.is_some() && (self.conn.is_none() || self.is_elsewhere()) {
            let was_open = self.conn.is_some();
            self.reopen()?;
            self.say(match was_open {
                true => "was removed or replaced while it was open: the file there now is used",
                false => "is open again",
            });
        }
        let Some(conn) = &self.conn else {
            return Err(Fault::Disk(IoError::new(Trouble::Other, "there is no database")));
        };
        let mut counts = self.counts;
        let run = |counts: &mut Counts| -> Result<T, Error> {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            let value = act(conn, counts)?;
            conn.execute_batch("COMMIT")?;
            Ok(value)
        };
        match run(&mut counts) {
            Ok(value) => {
                self.counts = counts;
                Ok(value)
            }
            Err(error) => {
                let fault = Fault::of(&error, Some(conn));
                if !conn.is_autocommit() {
                    // Fails where SQLite has rolled back itself: then all is as it should be.
                    let _ = conn.execute_batch("ROLLBACK");
                }
                Err(fault)
            }
        }
    }

    /// Answers a question that changes nothing.
    pub fn answer(&mut self, query: &Query) -> Result<Found, IoError> {
        let Some(conn) = &self.conn else {
            return Err(IoError::new(Trouble::Other, "there is no database"));
        };
        let fault = match read::answer(conn, query) {
            Ok(found) => return Ok(found),
            Err(error) => Fault::of(&error, Some(conn)),
        };
        if let (Fault::Damaged(why), Some(_)) = (&fault, &self.folder) {
            self.set_aside(why).and_then(|()| self.reopen()).map_err(|fault| fault.error())?;
        }
        Err(fault.error())
    }

    /// One step of a deletion; the files that went with it, and how many entries. It is over
    /// when a step takes none.
    pub fn forget(
        &mut self,
        reader: Option<&Reader>,
        what: &Forget,
    ) -> Result<retain::Gone, IoError> {
        self.transact(|conn, counts| retain::forget(conn, counts, reader, what))
    }

    /// One step of what retention wants gone.
    pub fn sweep(&mut self, now: Now) -> Result<retain::Swept, IoError> {
        if self.conn.is_none() || self.refused.is_some() {
            return Ok(retain::Swept::default());
        }
        let (rules, mut age) = (self.rules.clone(), self.age.clone());
        let plan = match &self.conn {
            Some(conn) => retain::plan(conn, self.counts, &rules, &mut age, now),
            None => return Ok(retain::Swept::default()),
        };
        self.age = age;
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let fault = Fault::of(&error, self.conn.as_deref());
                if let (Fault::Damaged(why), Some(_)) = (&fault, &self.folder) {
                    self.set_aside(why).and_then(|()| self.reopen()).map_err(|f| f.error())?;
                }
                return Err(fault.error());
            }
        };
        if plan.orders.is_empty() {
            return Ok(retain::Swept { gone: retain::Gone::default(), next: plan.next });
        }
        let gone = self.transact(|conn, counts| {
            plan.orders.iter().try_fold(retain::Gone::default(), |mut gone, order| {
                gone.add(write::remove(conn, counts, *order)?, plan.files);
                Ok(gone)
            })
        })?;
        Ok(retain::Swept { gone, next: Some(now.mono) })
    }

    /// One step of giving room back to the disk; whether there is more to do. `all`: even a
    /// little; else what the next messages will fill again stays.
    pub fn tidy(&mut self, all: bool) -> bool {
        if self.folder.is_none() || self.refused.is_some() {
            return false;
        }
        let Some(conn) = &self.conn else { return false };
        // Best effort: it is tried again after the next deletion.
        retain::tidy(conn, all).unwrap_or(false)
    }

    /// Takes in entries of an export that are not there yet; how many.
    pub fn import(&mut self, entries: &[Entry], now: Now) -> Result<u64, IoError> {
        if self.rules.keep == Keep::Nothing {
            return Err(IoError::new(Trouble::Denied, "history.keep is nothing"));
        }
        let (keep, age) = (self.rules.keep, self.age.clone());
        self.transact(|conn, counts| {
            let mut writer = Writer::new(conn, keep);
            let mut new = 0;
            for entry in entries {
                if age.expired(keep, now, entry.id.epoch, entry.mono, entry.at, entry.dated) {
                    continue;
                }
                let mut entry = entry.clone();
                for to in entry.recipients.iter_mut().filter(|r| r.state == Delivery::Queued) {
                    to.state = Delivery::Failed;
                    to.reason = Some("still queued when it was exported".into());
                }
                new += u64::from(writer.take_in(counts, &entry)?);
            }
            Ok(new)
        })
    }

    /// Notes of received files that they were removed.
    pub fn files_gone(&mut self, paths: &[String]) -> Result<(), IoError> {
        self.transact(|conn, _| {
            let mut gone = conn.prepare("UPDATE entries SET gone = 1 WHERE path = ?")?;
            paths.iter().try_for_each(|path| gone.execute([path]).map(drop))
        })
    }

    /// Carries the log over and closes the file.
    pub fn close(self) {
        // What the log holds is as durable there: a failure costs nothing.
        drop(self.conn);
    }
}
