//! Databases that are not as they should be: newer, damaged, foreign, locked, cut short.

use rusqlite::Connection;

use super::*;
use crate::config::History as Rules;
use crate::model::history::{Change, Found, Query};
use crate::store::history::History;
use crate::store::retain::Age;
use crate::store::tests::text;

fn history(folder: &Path) -> (History, Vec<String>) {
    let (mut history, _) = History::open(Some(folder.into()), Rules::default(), Age::new(1, 0));
    let said = history.said();
    (history, said)
}

fn put(history: &mut History, n: u64) -> Result<(), IoError> {
    history.commit(&[change(n)])
}

fn change(n: u64) -> Change {
    let said = format!("text number {n} {}", "which is long enough ".repeat(20));
    Change::Put(Box::new(text(n, "anna", &said)))
}

fn orders(history: &mut History) -> Vec<u64> {
    let query = Query::Last {
        reader: super::super::tests::reader("anna"),
        conversation: None,
        before: None,
        limit: 200,
    };
    match history.answer(&query) {
        Ok(Found::Entries { entries, .. }) => entries.iter().map(|e| e.order).collect(),
        other => panic!("{other:?}"),
    }
}

fn raw(folder: &Path, sql: &str) {
    Connection::open(folder.join(FILE)).unwrap().execute_batch(sql).unwrap();
}

fn filled(entries: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut history, said) = history(dir.path());
    assert_eq!(said, [""; 0]);
    history.commit(&(1..=entries).map(change).collect::<Vec<_>>()).unwrap();
    history.close();
    dir
}

#[test]
fn a_log_that_one_write_made_long_is_carried_over_and_its_index_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut history, _) = history(dir.path());
    // of one word a text, so that the database is long and not the index of words
    let long = |n, bytes: u64| {
        let said = "x".repeat(usize::try_from(bytes).unwrap());
        Change::Put(Box::new(text(n, "anna", &said)))
    };
    let part = LONG_LOG_BYTES / 100;
    history.commit(&(1..=90).map(|n| long(n, part)).collect::<Vec<_>>()).unwrap();
    let short = log_bytes(dir.path());
    assert!(short > LONG_LOG_BYTES / 2 && short <= LONG_LOG_BYTES, "{short}: it stays as it is");
    history.commit(&(91..=200).map(|n| long(n, part)).collect::<Vec<_>>()).unwrap();
    assert_eq!(log_bytes(dir.path()), 0, "opened anew, with nothing left in it");
    put(&mut history, 201).unwrap();
    assert_eq!((orders(&mut history).last(), history.said()), (Some(&201), vec![]));
    assert!(locked(dir.path()), "it is ours alone, as before");
    history.close();
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    let all: i64 = conn.query_row("SELECT count(*) FROM entries", [], |r| r.get(0)).unwrap();
    assert_eq!(all, 201);
}

/// Whether another process cannot have it. Asked as an owner of its own (`F_OFD_GETLK`), for what
/// this process locked keeps it out of nothing.
fn locked(folder: &Path) -> bool {
    taken(folder, 0x4000_0002, 510) // SHARED_FIRST and SHARED_SIZE of SQLite's os.h
}

/// Whether another process is refused a lock for reading. The close ends what SQLite locked.
fn taken(folder: &Path, start: nix::libc::off_t, len: nix::libc::off_t) -> bool {
    let file = OpenOptions::new().read(true).write(true).open(folder.join(FILE)).unwrap();
    let mut range = nix::libc::flock {
        l_type: nix::libc::F_RDLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut range)).unwrap();
    range.l_type != nix::libc::F_UNLCK as i16
}

#[test]
fn a_database_is_ours_alone_from_the_run_that_made_it_on() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (mut history, _) = history(dir.path());
        put(&mut history, 1).unwrap();
        assert!(locked(dir.path()));
        history.close();
        assert!(!locked(dir.path()));
    }
}

#[test]
fn another_descriptor_of_the_file_that_is_closed_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for n in [1, 3] {
        let (mut history, _) = history(dir.path());
        put(&mut history, n).unwrap();
        // as a file that somebody sends is
        drop(File::open(dir.path().join(FILE)).unwrap());
        assert!(!locked(dir.path()), "what SQLite locked is gone, else this shows nothing");
        assert!(taken(dir.path(), PENDING_BYTE, 1), "without this byte nobody reads");
        put(&mut history, n + 1).unwrap();
        history.close();
        assert!(!taken(dir.path(), PENDING_BYTE, 1));
    }
    let (mut history, said) = history(dir.path());
    assert_eq!((orders(&mut history), said), (vec![1, 2, 3, 4], vec![]));
}

#[test]
fn what_another_program_took_is_not_opened_and_what_we_hold_stays_ours() {
    let dir = filled(1);
    let file = OpenOptions::new().read(true).write(true).open(dir.path().join(FILE)).unwrap();
    let other = Hold(file);
    assert!(other.take());
    assert_eq!(open(dir.path()).err(), Some(Fault::Locked));
    drop(other);
    let ours = open(dir.path()).unwrap();
    assert_eq!(open(dir.path()).err(), Some(Fault::Locked));
    assert!(taken(dir.path(), PENDING_BYTE, 1), "a try that failed ends nothing");
    ours.execute_batch("INSERT INTO known VALUES (1, 'a', 'a', 1, 'slcp', '')").unwrap();
}

#[test]
fn a_database_that_somebody_set_to_a_rollback_journal_has_a_log_again() {
    let dir = filled(3);
    raw(dir.path(), "PRAGMA journal_mode = DELETE");
    let (mut history, said) = history(dir.path());
    assert_eq!(said, [""; 0]);
    put(&mut history, 4).unwrap();
    assert!(log_bytes(dir.path()) > 0);
    assert!(taken(dir.path(), PENDING_BYTE, 1));
    assert_eq!(orders(&mut history), [1, 2, 3, 4]);
}

#[test]
fn a_link_in_the_databases_place_is_not_followed() {
    let (dir, other) = (filled(1), filled(1));
    let path = dir.path().join(FILE);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(other.path().join(FILE), &path).unwrap();
    let (mut history, said) = history(dir.path());
    assert!(said[0].contains("is a symbolic link that"), "{said:?}");
    put(&mut history, 2).unwrap();
    assert_eq!(orders(&mut history), [2]);
    let there = Connection::open(other.path().join(FILE)).unwrap();
    let all = there.query_row("SELECT count(*) FROM entries", [], |r| r.get::<_, i64>(0));
    assert_eq!(all, Ok(1));
}

#[test]
fn it_is_made_as_a_small_board_wants_it_and_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let conn = open(dir.path()).unwrap();
    for (pragma, want) in [
        ("page_size", i64::from(PAGE)),
        ("auto_vacuum", 2),
        ("synchronous", 2),
        ("secure_delete", 1),
        ("cache_size", -i64::from(CACHE_KIB)),
        ("temp_store", 2),
        ("wal_autocheckpoint", i64::from(CHECKPOINT_PAGES)),
        ("journal_size_limit", i64::from(LOG_BYTES)),
    ] {
        let got = conn.query_row(&format!("PRAGMA {pragma}"), [], |r| r.get::<_, i64>(0));
        assert_eq!(got, Ok(want), "{pragma}");
    }
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(mode, "wal");
    conn.execute_batch("INSERT INTO known VALUES (1, 'a', 'a', 1, 'slcp', '')").unwrap();
    for name in [FILE, "history.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!dir.path().join("history.db-shm").exists());
}

#[test]
fn sqlite_has_what_is_used_and_not_what_is_not() {
    let conn = Connection::open_in_memory().unwrap();
    let mut statement = conn.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> =
        statement.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    for option in ["ENABLE_FTS5", "DQS=0", "THREADSAFE=2", "OMIT_LOAD_EXTENSION"] {
        assert!(options.iter().any(|o| o == option), "{option} of {options:?}");
    }
    for option in ["ENABLE_RTREE", "ENABLE_FTS3", "ENABLE_LOAD_EXTENSION"] {
        assert!(!options.iter().any(|o| o == option), "{option}");
    }
}

#[test]
fn a_later_programs_database_is_refused_and_left_as_it_is() {
    let dir = filled(3);
    raw(dir.path(), "PRAGMA user_version = 4; UPDATE meta SET value = 3 WHERE key = 'oldest'");
    let before = std::fs::read(dir.path().join(FILE)).unwrap();
    let (mut newer, said) = history(dir.path());
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("later klatsch (schema 4, this one knows 2)"), "{}", said[0]);
    assert!(said[0].ends_with("kept in memory only, and ends with this run"), "{}", said[0]);
    put(&mut newer, 1).unwrap();
    assert_eq!(orders(&mut newer), [1]);
    newer.close();
    assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), before);
}

#[test]
fn one_of_the_next_program_is_worked_with_where_it_was_made_so() {
    let dir = filled(3);
    raw(dir.path(), "PRAGMA user_version = 3; ALTER TABLE entries ADD COLUMN edited INTEGER");
    let (mut newer, said) = history(dir.path());
    assert_eq!(said, [""; 0]);
    put(&mut newer, 4).unwrap();
    assert_eq!(orders(&mut newer), [1, 2, 3, 4]);
    newer.close();
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    let version = conn.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0));
    assert_eq!(version, Ok(3), "its number stays");
}

#[test]
fn what_is_no_database_of_ours_is_set_aside_by_a_number_and_said() {
    let dir = filled(1);
    let path = dir.path().join(FILE);
    std::fs::write(&path, "this was never a database, and is long enough to show it").unwrap();
    let (mut fresh, said) = history(dir.path());
    assert!(
        said[0].contains("set aside as history.db.damaged-1, a fresh one is begun"),
        "{said:?}"
    );
    put(&mut fresh, 1).unwrap();
    fresh.close();
    std::fs::remove_file(&path).unwrap();
    raw(dir.path(), "CREATE TABLE cats (name)");
    let (foreign, said) = history(dir.path());
    assert!(said[0].contains("not one of klatsch's databases): set aside as"), "{said:?}");
    foreign.close();
    let aside = dir.path().join("history.db.damaged-2");
    let cats =
        Connection::open(aside).unwrap().query_row("SELECT count(*) FROM cats", [], |_| Ok(()));
    assert_eq!(cats, Ok(()));
}

#[test]
fn beyond_the_last_number_nothing_is_set_aside_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..=MAX_ASIDE {
        std::fs::write(dir.path().join(format!("{FILE}.damaged-{n}")), "old").unwrap();
    }
    std::fs::write(dir.path().join(FILE), vec![7; 5_000]).unwrap();
    let (mut history, said) = history(dir.path());
    assert!(said[0].contains("9 damaged ones are there already: remove some"), "{said:?}");
    put(&mut history, 1).unwrap();
    assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), vec![7; 5_000]);
}

#[test]
fn damage_met_while_it_runs_is_set_aside_and_what_is_said_then_is_kept() {
    let dir = filled(2_000);
    let path = dir.path().join(FILE);
    let (mut history, said) = history(dir.path());
    assert_eq!(said, [""; 0]);
    put(&mut history, 2_001).unwrap();
    // Every page but the first, as a dying card would: also of what is in the log.
    for name in [path.clone(), dir.path().join("history.db-wal")] {
        let mut bytes = std::fs::read(&name).unwrap();
        bytes.iter_mut().skip(PAGE as usize).for_each(|b| *b = !*b);
        std::fs::write(&name, bytes).unwrap();
    }
    let mut n = 2_002;
    let mut lines = Vec::new();
    while lines.is_empty() && n < 3_000 {
        // Pages in memory serve for a while.
        put(&mut history, n).unwrap();
        let query = Query::From { after: 0, limit: 200 };
        let _ = history.answer(&query);
        lines = history.said();
        n += 1;
    }
    assert!(lines[0].contains("set aside as history.db.damaged-1"), "{lines:?}");
    put(&mut history, n).unwrap();
    assert_eq!(orders(&mut history).last(), Some(&n), "no order is given twice");
    history.close();
    assert!(dir.path().join("history.db.damaged-1").exists());
}

#[test]
fn a_file_that_is_removed_while_it_is_open_is_not_written_to_any_more() {
    let dir = filled(3);
    let (mut history, _) = history(dir.path());
    put(&mut history, 4).unwrap();
    let away = dir.path().join("away");
    std::fs::create_dir(&away).unwrap();
    let both = [FILE, "history.db-wal"];
    both.iter().for_each(|f| std::fs::rename(dir.path().join(f), away.join(f)).unwrap());
    put(&mut history, 5).unwrap();
    assert!(history.said()[0].contains("was removed or replaced while it was open"));
    assert_eq!(orders(&mut history), [5]);
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    std::fs::remove_dir_all(&away).unwrap();
    let gone = dir.path().with_extension("gone");
    std::fs::rename(dir.path(), &gone).unwrap();
    assert_eq!(put(&mut history, 6).unwrap_err().kind, Trouble::Missing);
    assert_eq!(orders(&mut history), [5], "what is open is still read");
    std::fs::rename(&gone, dir.path()).unwrap();
    put(&mut history, 7).unwrap();
    assert_eq!(orders(&mut history), [7]);
}

#[test]
fn another_program_that_has_it_is_said() {
    let dir = filled(2);
    let other = Connection::open(dir.path().join(FILE)).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let (mut history, said) = history(dir.path());
    assert!(
        said[0].contains("another program has it open: what is said is kept in memory"),
        "{said:?}"
    );
    put(&mut history, 1).unwrap();
}

#[test]
fn rows_that_are_not_to_be_understood_are_passed_over() {
    let dir = filled(5);
    raw(
        dir.path(),
        "UPDATE entries SET dialect = 'klingon' WHERE ord = 1;
         UPDATE entries SET text = NULL WHERE ord = 2;
         UPDATE entries SET direction = 7, sender = x'ff' WHERE ord = 3;
         INSERT INTO recipients VALUES (4, 0, -1, 'x', 9, 3);
         INSERT INTO known VALUES (1, 'a', 'a b', 1, 'slcp', '')",
    );
    let (mut history, said) = history(dir.path());
    assert_eq!(said, [""; 0]);
    assert_eq!(orders(&mut history), [4, 5]);
}
