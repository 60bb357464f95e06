//! The database's file: opened, judged, set aside where it is damaged, and closed.
//!
//! Made for a small board on a memory card. A commit appends to the log (WAL) and syncs it once
//! before it is told (`synchronous=FULL`); pages are carried from the log to the database only
//! when [`CHECKPOINT_PAGES`] have gathered, so that the pages every message touches are written
//! there once for many messages. One process owns the file (`locking_mode=EXCLUSIVE`), which
//! also keeps the log's index in the heap and out of the folder.
//!
//! SQLite's own locks are a process's: any descriptor of the file that is closed in it, were it
//! that of a file somebody sends, ends them all (fcntl(2)). Another program could then take the
//! log away, and with it what was told as kept. So a [`Database`] holds a lock of its open file
//! besides, on the byte that every SQLite program must have before it reads.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::log::{self, Flaw};
use super::schema::{self, Fit};
use crate::model::{IoError, Trouble};

/// Its name in the state folder; the log stands beside it with `-wal` at the end.
pub const FILE: &str = "history.db";
/// Damaged databases that are kept, as `history.db.damaged-1` and so on.
pub const MAX_ASIDE: u32 = 9;
/// Bytes of a page. A message touches nine of them: small ones halve what the card must write for
/// it (measured with benches/store.rs: 18,575 bytes instead of 40,211).
pub const PAGE: u32 = 1024;
/// KiB of pages held in memory.
pub const CACHE_KIB: i32 = 128;
/// Pages in the log before they are carried over: about 1 MiB.
pub const CHECKPOINT_PAGES: u32 = 1000;
/// A log that a long write made longer is cut back to so many bytes.
pub const LOG_BYTES: u32 = 2 * 1024 * 1024;
/// After a write that made the log longer than this the database is closed and opened again: the
/// log's index, 32 KiB for each 4,096 pages, else stays in the heap for as long as it is open. The
/// search index joins its parts a word at a time, so that one that a hundred thousand texts hold
/// made a log of 30 MB (docs/budgets.md, "What an hour held").
pub const LONG_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// A database up to this size is checked page by page when it is opened; of a larger one only
/// what is read at the start, the rest as it is met.
pub const CHECKED_BYTES: u64 = 4 * 1024 * 1024;
/// How long is waited for another process that has the file.
const BUSY: Duration = Duration::from_millis(500);
/// PENDING_BYTE of SQLite (sqlite.org/fileformat2.html, section 1.4): while it is locked for
/// writing nobody comes to a shared lock (sqlite.org/lockingv3.html), and who has the file for
/// himself alone asks for it no more.
const PENDING_BYTE: libc::off_t = 0x4000_0000;
/// How often the file is opened until that byte is ours. SQLite keeps it where it wrote without a
/// log, which it does once; and another program that tries has it for a moment.
const ATTEMPTS: u32 = 3;

/// What is wrong with the database, as far as it matters what is done then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What stands in it is not to be understood: it is set aside.
    Damaged(String),
    /// A later program made it: it is left alone.
    Newer(i32),
    /// Another process has it.
    Locked,
    /// The disk does not do what it should; it may again later.
    Disk(IoError),
}

impl Fault {
    /// From what SQLite says; the connection it said it by knows the system's word for it.
    pub fn of(error: &Error, conn: Option<&Connection>) -> Fault {
        let text = match error {
            Error::SqliteFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        };
        let disk = |kind, text: &str| Fault::Disk(IoError::new(kind, text));
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Locked,
            Some(ErrorCode::DiskFull) => disk(Trouble::Full, "the disk is full"),
            Some(ErrorCode::OutOfMemory) => disk(Trouble::Exhausted, "out of memory"),
            Some(ErrorCode::ReadOnly) => disk(Trouble::Denied, "the file system is read-only"),
            _ => Fault::Disk(match conn.map_or(0, system_error) {
                0 => IoError::new(Trouble::Other, text),
                errno => std::io::Error::from_raw_os_error(errno).into(),
            }),
        }
    }

    /// One line without the file's name.
    pub fn error(&self) -> IoError {
        match self {
            Fault::Damaged(text) => IoError::new(Trouble::Other, format!("damaged ({text})")),
            Fault::Newer(n) => IoError::new(
                Trouble::Other,
                format!(
                    "was made by a later klatsch (schema {n}, this one knows {}): it is left as \
                     it is; install the later one again, or move the file away",
                    schema::VERSION
                ),
            ),
            Fault::Locked => IoError::new(Trouble::InUse, "another program has it open"),
            Fault::Disk(error) => error.clone(),
        }
    }
}

/// SQLite says only "I/O error" where the system said more.
#[allow(unsafe_code)]
fn system_error(conn: &Connection) -> i32 {
    // SAFETY: the connection is open as long as it is borrowed.
    unsafe { rusqlite::ffi::sqlite3_system_errno(conn.handle()) }
}

/// log(3) for SQLite, which ranks what FTS5 found by it (nobody asks for that here). It is all that
/// this program would want of the C library's libm, 284 kB of a node that is alone on its machine.
#[allow(unsafe_code)]
// SAFETY: as the C library's, but for errno, which SQLite does not look at.
#[unsafe(export_name = "log")]
extern "C" fn logarithm(x: f64) -> f64 {
    libm::log(x)
}

/// An open database. Nobody else has it as long as this lives.
pub struct Database {
    // closed first: closing the file under it would end what SQLite locked
    conn: Connection,
    /// None: it is in memory.
    _hold: Option<Hold>,
}

impl std::ops::Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}

/// Opens the database of a folder, making or migrating it.
pub fn open(folder: &Path) -> Result<Database, Fault> {
    let path = folder.join(FILE);
    // Made here so that nobody else may read it; the log gets the same mode.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|e| Fault::Disk(e.into()))?;
    let hold = Hold(file);
    for _ in 0..ATTEMPTS {
        let conn = connect(&path)?;
        if hold.take() {
            return Ok(Database { conn, _hold: Some(hold) });
        }
    }
    Err(Fault::Locked)
}

/// The file, open for the lock on [`PENDING_BYTE`].
struct Hold(File);

impl Hold {
    /// Whether nobody else has the byte. Where the file system has no such locks (Linux before
    /// 3.15, some of a network) it is nobody's, and only SQLite's own locks hold.
    fn take(&self) -> bool {
        !matches!(self.lock(libc::F_WRLCK), Err(Errno::EAGAIN | Errno::EACCES))
    }

    fn lock(&self, kind: libc::c_int) -> nix::Result<libc::c_int> {
        let byte = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: PENDING_BYTE,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&self.0, FcntlArg::F_OFD_SETLK(&byte))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Not left to the close: a child has the file open too, from its fork to its exec.
        let _ = self.lock(libc::F_UNLCK);
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| Fault::of(&e, None))?;
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    prepare(&conn, bytes).map_err(|why| match why {
        Unfit::Error(error) => Fault::of(&error, Some(&conn)),
        Unfit::Fault(fault) => fault,
    })?;
    Ok(conn)
}

/// The database's file as the file system names it: device and number.
pub fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(folder.join(FILE)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A database that lives and ends with the process.
pub fn in_memory() -> Result<Database, Fault> {
    let made = || {
        let conn = Connection::open_in_memory()?;
        settle(&conn)?;
        schema::migrate(&conn, 0)?;
        Ok(Database { conn, _hold: None })
    };
    made().map_err(|e| Fault::of(&e, None))
}

enum Unfit {
    Error(Error),
    Fault(Fault),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Unfit {
        Unfit::Error(error)
    }
}

fn prepare(conn: &Connection, bytes: u64) -> Result<(), Unfit> {
    conn.busy_timeout(BUSY)?;
    // Before the log is first touched, else its index is a file.
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    let fit = schema::fit(conn)?;
    match fit {
        Fit::New => conn.execute_batch(&format!(
            "PRAGMA page_size = {PAGE}; PRAGMA auto_vacuum = INCREMENTAL; \
             PRAGMA journal_mode = WAL;"
        ))?,
        // so it is, unless somebody set it otherwise by hand
        Fit::Ours(_) => conn.execute_batch("PRAGMA journal_mode = WAL")?,
        Fit::Newer(n) => return Err(Unfit::Fault(Fault::Newer(n))),
        Fit::Foreign => {
            return Err(Unfit::Fault(Fault::Damaged("not one of klatsch's databases".into())));
        }
    }
    settle(conn)?;
    if fit != Fit::New && bytes <= CHECKED_BYTES {
        let said: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if said != "ok" {
            return Err(Unfit::Fault(Fault::Damaged(said)));
        }
    }
    match fit {
        Fit::Ours(from) => schema::migrate(conn, from)?,
        _ => schema::migrate(conn, 0)?,
    }
    Ok(())
}

/// What holds for every database, whatever SQLite was compiled with.
fn settle(conn: &Connection) -> Result<(), Error> {
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; \
         PRAGMA secure_delete = ON; \
         PRAGMA cache_size = -{CACHE_KIB}; \
         PRAGMA temp_store = MEMORY; \
         PRAGMA mmap_size = 0; \
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; \
         PRAGMA journal_size_limit = {LOG_BYTES}; \
         PRAGMA foreign_keys = OFF; \
         PRAGMA trusted_schema = OFF; \
         PRAGMA cell_size_check = ON"
    ))
}

/// How long the log is that stands beside a folder's database.
pub fn log_bytes(folder: &Path) -> u64 {
    folder.join(format!("{FILE}-wal")).metadata().map_or(0, |log| log.len())
}

/// Looks whether the log is whole, before SQLite opens it and drops what is not; a line where it
/// is not. A damaged one is copied aside first.
pub fn look_at_log(folder: &Path) -> Option<String> {
    let path = folder.join(format!("{FILE}-wal"));
    let flaw = log::look(File::open(&path).ok()?).ok()??;
    let what = match flaw {
        Flaw::CutShort => {
            let text = "the last write was cut short, as by a power cut: it was not reported as \
                 kept, and is dropped";
            return Some(text.into());
        }
        Flaw::Damaged(at, lost) => {
            format!("its log is damaged from byte {at} on: {lost} writes behind it are lost")
        }
        Flaw::Headless => {
            "its log is damaged at its beginning: what was not yet carried over from \
             it is lost"
                .into()
        }
    };
    let copied = free_name(folder).and_then(|name| {
        let name = format!("{name}-wal");
        std::fs::copy(&path, folder.join(&name))?;
        Ok(name)
    });
    Some(match copied {
        Ok(name) => format!("{what}; a copy of the log is {name}"),
        Err(error) => format!("{what}; the log is not copied aside: {error}"),
    })
}

/// A name for a damaged database that nothing bears yet.
fn free_name(folder: &Path) -> Result<String, IoError> {
    let taken = |name: &str| folder.join(name).symlink_metadata().is_ok();
    let name = (1..=MAX_ASIDE)
        .map(|n| format!("{FILE}.damaged-{n}"))
        .find(|name| !taken(name) && !taken(&format!("{name}-wal")));
    name.ok_or_else(|| {
        let text = format!("{MAX_ASIDE} damaged ones are there already: remove some");
        IoError::new(Trouble::Exhausted, text)
    })
}

/// Gives a damaged database and its log another name, so that a fresh one can be made; that name.
pub fn set_aside(folder: &Path) -> Result<String, IoError> {
    let name = free_name(folder)?;
    let to = |tail: &str| -> (PathBuf, PathBuf) {
        (folder.join(format!("{FILE}{tail}")), folder.join(format!("{name}{tail}")))
    };
    // The log first: left behind, it would be taken for the fresh database's.
    for tail in ["-wal", "-journal", ""] {
        let (from, to) = to(tail);
        match std::fs::rename(from, to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    File::open(folder)?.sync_all()?;
    Ok(name)
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
