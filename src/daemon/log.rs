//! The log: to stderr (or `journal`) as KLATSCH_LOG says, and its last lines kept for `LOG` and `DOCTOR`.
//!
//! Kept apart from what is written, so that a console has the lines whatever stderr gets, and so
//! that stderr can be shut up where it is a line that has a console.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::journal;
use crate::model::Wall;
use crate::model::text::harmless;

/// Lines kept …
pub const MAX_LINES: usize = 200;
/// … and their bytes, in one block: a line each on the heap lay all over it after a flood, and held
/// its pages.
pub const MAX_BYTES: usize = 24 * 1024;
/// Bytes of one that are kept, without its time and its level.
pub const MAX_LINE: usize = 240;
/// Where a line's level begins, behind `2026-11-21T14:30:00 `.
const LEVEL_AT: usize = 20;

/// Where nothing is to be written any more.
static SILENT: AtomicBool = AtomicBool::new(false);
static LINES: Mutex<Lines> = Mutex::new(Lines { bytes: VecDeque::new(), count: 0 });

/// Lines one after the other, each with `\n` at its end, which none has within.
struct Lines {
    bytes: VecDeque<u8>,
    count: usize,
}

impl Lines {
    fn push(&mut self, line: &str) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(MAX_BYTES);
        }
        while self.count >= MAX_LINES || self.bytes.len() + line.len() >= MAX_BYTES {
            let Some(end) = self.bytes.iter().position(|b| *b == b'\n') else { return };
            self.bytes.drain(..=end);
            self.count -= 1;
        }
        self.bytes.extend(line.as_bytes());
        self.bytes.push_back(b'\n');
        self.count += 1;
    }

    /// The last so many of those of which it says so, the newest last.
    fn last(&mut self, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<String> {
        let lines = self.bytes.make_contiguous().split(|b| *b == b'\n').rev().skip(1);
        let text = |line| String::from_utf8_lossy(line).into_owned();
        let mut found: Vec<_> = lines.filter(|l| wanted(l)).take(count).map(text).collect();
        found.reverse();
        found
    }
}

struct Both(Box<dyn Log>);

impl Log for Both {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Info || self.0.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        // the libraries' own lines are for a developer, who sets KLATSCH_LOG
        if record.level() <= Level::Info && record.target().starts_with("klatsch") {
            keep(record.level(), &record.args().to_string());
        }
        if !SILENT.load(Ordering::Relaxed) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Starts it. A console shows what matters itself; a daemon has the journal.
pub(super) fn start(terminal: bool) {
    let usual = if terminal { "off" } else { "info" };
    let env = env_logger::Env::new().filter_or("KLATSCH_LOG", usual);
    let logger =
        env_logger::Builder::from_env(env).format_timestamp(None).format_target(false).build();
    let level = logger.filter().max(LevelFilter::Info);
    if log::set_boxed_logger(Box::new(Both(journal::sink(logger)))).is_ok() {
        log::set_max_level(level);
    }
}

/// Nothing goes to stderr any more: a console has that line.
pub(super) fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

fn keep(level: Level, text: &str) {
    let mut text = harmless(text);
    if let Some((end, _)) = text.char_indices().find(|(i, c)| i + c.len_utf8() > MAX_LINE) {
        text.truncate(end);
        text.push('…');
    }
    let at = Wall::from_system(SystemTime::now()).to_string();
    // 2026-11-21T14:30:00.123Z: to the second
    let line = format!("{} {} {text}", at.get(..19).unwrap_or(&at), word(level));
    LINES.lock().unwrap_or_else(PoisonError::into_inner).push(&line);
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        _ => "info",
    }
}

/// The last so many lines, the newest last.
pub(super) fn last(count: usize) -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).last(count, |_| true)
}

/// The last so many lines that are warnings or errors, the newest last.
pub(super) fn last_errors(count: usize) -> Vec<String> {
    let info = |line: &[u8]| line.get(LEVEL_AT..).is_some_and(|l| l.starts_with(b"info "));
    LINES.lock().unwrap_or_else(PoisonError::into_inner).last(count, |line| !info(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_past_the_limit_drops_the_oldest_and_a_long_one_is_cut() {
        for n in 0..=MAX_LINES {
            keep(if n == 7 { Level::Warn } else { Level::Info }, &format!("line {n}"));
        }
        let lines = last(usize::MAX);
        assert_eq!(lines.len(), MAX_LINES);
        assert!(lines[0].ends_with(" info line 1"), "{}", lines[0]);
        assert_eq!(last(3).len(), 3);
        assert!(last(1)[0].ends_with(&format!("line {MAX_LINES}")));
        assert!(last_errors(5)[0].ends_with("warning line 7"));
        keep(Level::Error, &format!("{}\x1b[2J", "ä".repeat(MAX_LINE)));
        let long = last(1).remove(0);
        assert!(long.ends_with('…') && long.len() < MAX_LINE + 40, "{long}");
        // long ones: as many as fit
        (0..MAX_LINES).for_each(|n| keep(Level::Info, &format!("{n} {}", "x".repeat(MAX_LINE))));
        let lines = last(usize::MAX);
        assert_eq!(lines.len(), MAX_BYTES / (lines[0].len() + 1));
        assert!(last(1)[0].contains(" 199 xxx"), "{:?}", last(1));
        assert!(lines.iter().all(|l| l.ends_with("xxx…")), "none is cut by another");
        assert_eq!(last_errors(5).len(), 0);
        let lines = LINES.lock().unwrap();
        assert_eq!(lines.bytes.capacity(), MAX_BYTES, "one block for all");
    }
}
