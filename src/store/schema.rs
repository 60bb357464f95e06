//! The database's shape, and how an older one becomes it.
//!
//! Each migration makes the next schema number out of the one before. It may only add (tables,
//! columns with a default, indexes), so that the program of the previous number still works with
//! what it made: a kiosk whose update failed goes back to its older program and finds all it
//! knew. One that cannot keep to this raises `oldest` to its own number, and older programs then
//! refuse the file instead of harming it.

use rusqlite::{Connection, Error, OptionalExtension};

/// Marks the file as ours: "klch" (PRAGMA application_id).
pub const APPLICATION: i32 = 0x6b6c_6368;
/// The schema that this program makes.
pub const VERSION: i32 = 2;

const MIGRATIONS: &[&str] = &[V1, V2];

/// `ord` is the entry's order. Ids, `at` and sizes are 64-bit numbers, bit for bit. `direction`:
/// 0 in, 1 out; `state`: 0 queued, 1 sent, 2 delivered, 3 failed. An entry is a text (`text`) or
/// a file (`path`, and what is known of it). `words` holds the folded texts' index only; `met`
/// counts, so that who was met last is known without a clock.
const V1: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('oldest', 1), ('last-order', 0), ('folding', 1);
CREATE TABLE entries (
    ord INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    n INTEGER NOT NULL,
    user TEXT,
    conversation TEXT NOT NULL,
    sender TEXT NOT NULL,
    direction INTEGER NOT NULL,
    dialect TEXT NOT NULL,
    at INTEGER NOT NULL,
    dated INTEGER NOT NULL,
    mono INTEGER NOT NULL,
    autoreply INTEGER NOT NULL,
    text TEXT,
    path TEXT,
    size INTEGER,
    format TEXT,
    width INTEGER,
    height INTEGER,
    gone INTEGER
);
CREATE UNIQUE INDEX entries_id ON entries (epoch, n);
CREATE INDEX entries_conversation ON entries (conversation);
CREATE INDEX entries_path ON entries (path) WHERE path IS NOT NULL;
CREATE TABLE recipients (
    ord INTEGER NOT NULL,
    place INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    handle TEXT NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (ord, place)
) WITHOUT ROWID;
CREATE INDEX recipients_queued ON recipients (ord) WHERE state = 0;
CREATE TABLE known (
    met INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    handle TEXT NOT NULL,
    peer INTEGER NOT NULL,
    dialect TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', columnsize = 0, tokenize = \"unicode61 remove_diacritics 2\"
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

/// What the link keeps of its own (docs/link.md): names and bytes.
const V2: &str = "
CREATE TABLE link (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

/// What a file's numbers say about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    /// Nothing is in it yet.
    New,
    /// It is ours, and has the schema of this number; above [`VERSION`] one that was made so
    /// that we can work with it.
    Ours(i32),
    /// It was made by a later program, and cannot be worked with.
    Newer(i32),
    /// Another program's.
    Foreign,
}

/// Looks at the numbers.
pub fn fit(conn: &Connection) -> Result<Fit, Error> {
    let number = |pragma| conn.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        return Ok(Fit::New);
    }
    if application != APPLICATION || version < 1 {
        return Ok(Fit::Foreign);
    }
    if version <= VERSION {
        return Ok(Fit::Ours(version));
    }
    let oldest = "SELECT value FROM meta WHERE key = 'oldest'";
    let oldest = conn.query_row(oldest, [], |row| row.get::<_, i32>(0)).optional()?;
    Ok(if oldest.is_some_and(|n| n <= VERSION) { Fit::Ours(version) } else { Fit::Newer(version) })
}

/// Brings a database of schema `from` (0: an empty one) to ours, whole or not at all.
pub fn migrate(conn: &Connection, from: i32) -> Result<(), Error> {
    let done = usize::try_from(from).unwrap_or(0);
    let Some(steps) = MIGRATIONS.get(done..).filter(|steps| !steps.is_empty()) else {
        return Ok(());
    };
    let numbers =
        format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};");
    conn.execute_batch(&format!("BEGIN IMMEDIATE; {} {numbers} COMMIT;", steps.concat()))
}
