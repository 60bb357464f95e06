//! One configuration file laid over settings: pure functions of its text.
//!
//! klatsch's own files and the student programs' take the same way; what their keys mean is
//! `foreign`'s business. A value that is wrong leaves what stood below it, and says so in one
//! [`Note`]; a file that does not parse changes nothing. Tables that stand more than once are in
//! `tables`.

mod tables;

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Settings;
use super::foreign::{self, Meaning};
use super::rows::{self, Kind, Row};
use crate::model::{Handle, Refusal};

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 256 * 1024;
/// Notes kept for one file; one more says how many there were.
pub const MAX_NOTES: usize = 16;

/// One line about a configuration file that a person should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// The line it is about, from 1, where that is known.
    pub line: Option<usize>,
    /// The key it is about, as the file spells it.
    pub key: Option<String>,
    /// What was found and what is expected.
    pub text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Lays a file over settings. `file` is its absolute path, which notes name and relative paths
/// count from; `home` is what `~` stands for. The error is the one line about a file that cannot
/// be used at all.
pub fn apply(
    text: &str,
    file: &Path,
    home: Option<&Path>,
    settings: &mut Settings,
    notes: &mut Vec<Note>,
) -> Result<(), Note> {
    let unusable = |line, text: String| Note { file: file.into(), line, key: None, text };
    // Editors on Windows put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    if foreign::is_hello(text) {
        foreign::hello(text, file, settings, &mut found);
    } else {
        let table = DeTable::parse(text).map_err(|e| {
            let line = e.span().map(|span| line_of(text, &span));
            unusable(line, format!("not used: {}", e.message().lines().next().unwrap_or_default()))
        })?;
        let mut laying = Laying { text, file, home, notes: Vec::new(), theirs: false };
        laying.lay(table.get_ref(), settings);
        found = laying.notes;
    }
    let extra = found.len().saturating_sub(MAX_NOTES);
    found.truncate(MAX_NOTES);
    notes.append(&mut found);
    if extra > 0 {
        notes.push(unusable(None, format!("{extra} more lines like these")));
    }
    Ok(())
}

/// One value of a file.
struct Leaf<'a> {
    path: String,
    line: usize,
    value: &'a DeValue<'a>,
}

/// The lists of tables: each with the line it begins in.
#[derive(Default)]
struct Tables<'a> {
    users: Vec<(usize, Vec<Leaf<'a>>)>,
    serial: Vec<(usize, Vec<Leaf<'a>>)>,
    /// `[[link.peer]]`.
    peers: Vec<(usize, Vec<Leaf<'a>>)>,
}

impl<'a> Tables<'a> {
    fn named(&mut self, path: &str) -> Option<&mut Vec<(usize, Vec<Leaf<'a>>)>> {
        match path.to_ascii_lowercase().as_str() {
            "users" => Some(&mut self.users),
            "serial" => Some(&mut self.serial),
            "link.peer" => Some(&mut self.peers),
            _ => None,
        }
    }
}

struct Laying<'a> {
    text: &'a str,
    file: &'a Path,
    home: Option<&'a Path>,
    notes: Vec<Note>,
    theirs: bool,
}

impl<'a> Laying<'a> {
    fn lay(&mut self, table: &'a DeTable<'a>, settings: &mut Settings) {
        let mut leaves = Vec::new();
        let mut tables = Tables::default();
        self.gather("", table, &mut leaves, &mut tables);
        let Tables { users, serial, peers } = tables;
        // A range of ports first: Robin's chat_port is a choice within it.
        leaves.sort_by_key(|leaf| (!matches!(leaf.value, DeValue::Array(_)), leaf.line));
        let below = settings.clone();
        let mut strange = Vec::new();
        for leaf in &leaves {
            match foreign::meaning(&leaf.path) {
                Meaning::Row(row) => self.put(row, leaf, settings),
                Meaning::Theirs(row) => {
                    self.theirs = true;
                    self.put(row, leaf, settings);
                }
                Meaning::Unused => {
                    self.theirs = true;
                    strange.push(leaf);
                }
                Meaning::Unknown if of_all_lines(leaf).is_some() => {}
                Meaning::Unknown => strange.push(leaf),
            }
        }
        if settings.port_min > settings.port_max {
            let (min, max) = (settings.port_min, settings.port_max);
            let kept = format!("{} to {} stays", below.port_min, below.port_max);
            let at = leaves.iter().find(|l| l.path.to_ascii_lowercase().contains("port"));
            let found = format!("found {min} to {max}, expected the lower one first; {kept}");
            self.say(at.map(|l| l.line), Some("port-min"), found);
            (settings.port_min, settings.port_max) = (below.port_min, below.port_max);
        }
        if !users.is_empty() {
            let named = leaves.iter().find(|l| l.path.eq_ignore_ascii_case("handle"));
            if let Some(leaf) = named {
                let text = "found beside [[users]], which name the users: not used";
                self.say(Some(leaf.line), Some(&leaf.path), text.into());
            }
            self.users(&users, settings, &mut strange);
        }
        if !peers.is_empty() {
            settings.link.peers.clear();
            for (line, keys) in &peers {
                self.peer(*line, keys, settings, &mut strange);
            }
        }
        if !serial.is_empty() {
            settings.serial = self.serial(&serial);
        }
        for leaf in &leaves {
            self.all_lines(leaf, settings);
        }
        self.strange(&strange);
    }

    /// All values of the file under their dotted keys; `[[users]]` and `[[serial]]` apart.
    fn gather(
        &mut self,
        above: &str,
        table: &'a DeTable<'a>,
        leaves: &mut Vec<Leaf<'a>>,
        tables: &mut Tables<'a>,
    ) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
            let line = line_of(self.text, &key.span());
            match value.get_ref() {
                DeValue::Table(inner) => self.gather(&path, inner, leaves, tables),
                DeValue::Array(list) if tables.named(&path).is_some() => {
                    for entry in list.iter() {
                        let line = line_of(self.text, &entry.span());
                        let DeValue::Table(inner) = entry.get_ref() else {
                            let found = found(entry.get_ref());
                            let text = format!("found {found}, expected [[{path}]] and its keys");
                            self.say(Some(line), Some(&path), text);
                            continue;
                        };
                        let mut own = Vec::new();
                        self.gather("", inner, &mut own, &mut Tables::default());
                        own.sort_by_key(|leaf| leaf.line);
                        if let Some(table) = tables.named(&path) {
                            table.push((line, own));
                        }
                    }
                }
                value => leaves.push(Leaf { path, line, value }),
            }
        }
    }

    /// Puts a value into the row it means, or says why not.
    fn put(&mut self, key: &str, leaf: &Leaf<'_>, settings: &mut Settings) {
        let Some(row) = rows::find(key) else { return };
        let outcome = match leaf.value {
            DeValue::Array(list) if key == "port" => {
                let ports: Option<Vec<u16>> =
                    list.iter().map(|v| port(v.get_ref())).collect::<Option<_>>();
                match ports.as_deref() {
                    Some([one]) => row.set(settings, &one.to_string()),
                    Some([one, other]) if one == other => row.set(settings, &one.to_string()),
                    Some([min, max]) => {
                        (settings.port_min, settings.port_max) = (*min, *max);
                        row.set(settings, "auto")
                    }
                    _ => Err(Refusal::bad(key, "a list", "one port, or [first, last]")),
                }
            }
            _ => self.text_of(row, leaf).and_then(|text| match text {
                Some(text) => self.set(row, &text, leaf, |text| row.set(settings, text)),
                None => Ok(()),
            }),
        };
        match outcome {
            Ok(()) => self.mind_low_port(row, leaf, settings.users.first().and_then(|u| u.port)),
            Err(refusal) => self.refuse(leaf, refusal, &row.get(settings)),
        }
    }

    /// Sets a text; a handle of theirs that we cannot bear is replaced by the nearest.
    fn set(
        &mut self,
        row: &Row,
        text: &str,
        leaf: &Leaf<'_>,
        mut set: impl FnMut(&str) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let outcome = set(text);
        if outcome.is_ok() || row.key != "handle" {
            return outcome;
        }
        let near = Handle::nearest(text);
        set(near.as_str())?;
        if let Err(refusal) = outcome {
            let text = format!("{}; {near} is used", words(&refusal));
            self.say(Some(leaf.line), Some(&leaf.path), text);
        }
        Ok(())
    }

    /// The value as its row takes it; `None`: as if the key were not there.
    fn text_of(&self, row: &Row, leaf: &Leaf<'_>) -> Result<Option<String>, Refusal> {
        let wrong = || Err(Refusal::bad(row.key, found(leaf.value), row.expected));
        Ok(Some(match (row.kind, leaf.value) {
            (Kind::Path, DeValue::String(text)) if row.key == "imagepath" && text.is_empty() => {
                return Ok(None);
            }
            (Kind::Path, DeValue::String(text)) => match self.absolute(text) {
                Some(path) => path,
                None => return wrong(),
            },
            (_, DeValue::String(text)) => text.to_string(),
            (Kind::Number, DeValue::Integer(_)) => match integer(leaf.value) {
                Some(number) => number.to_string(),
                None => return wrong(),
            },
            (Kind::Switch, DeValue::Boolean(on)) => on.to_string(),
            (Kind::List, DeValue::Array(list)) => {
                let number = |v: &DeValue<'_>| integer(v).map(|n| n.to_string());
                let word = |v: &DeValue<'_>| v.as_str().map(str::to_owned).or_else(|| number(v));
                let words: Option<Vec<String>> = list.iter().map(|v| word(v.get_ref())).collect();
                match words {
                    Some(words) => words.join(","),
                    None => return wrong(),
                }
            }
            _ => return wrong(),
        }))
    }

    /// A path of the file, from the file's own folder if it is relative.
    fn absolute(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        if bytes.len() > 1 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic() {
            return None; // C:\Users\…: no path of this system
        }
        if text.is_empty() {
            return Some(String::new());
        }
        let path = match (text.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.file.parent().unwrap_or(Path::new("/")).join(text),
        };
        path.to_str().map(str::to_owned)
    }

    /// Daniyal ships port 500, which only root may bind.
    fn mind_low_port(&mut self, row: &Row, leaf: &Leaf<'_>, port: Option<u16>) {
        if row.key == "port" && port.is_some_and(|p| p < 1024) {
            let text = format!(
                "found {}, expected 1024 or more: if it cannot be had, one of the range is used",
                port.unwrap_or_default()
            );
            self.say(Some(leaf.line), Some(&leaf.path), text);
        }
    }

    fn refuse(&mut self, leaf: &Leaf<'_>, refusal: Refusal, kept: &str) {
        let text = format!("{}; {} stays", words(&refusal), rows::shown(kept));
        self.say(Some(leaf.line), Some(&leaf.path), text);
    }

    /// Keys that mean nothing here: one line for a file of theirs, one each in ours.
    fn strange(&mut self, strange: &[&Leaf<'_>]) {
        if !self.theirs {
            for leaf in strange {
                let near = rows::nearest(&leaf.path);
                let text = format!("no such key, the nearest is {near}; not used");
                self.say(Some(leaf.line), Some(&leaf.path), text);
            }
            return;
        }
        let mut names: Vec<&str> = Vec::new();
        for leaf in strange {
            if !names.contains(&leaf.path.as_str()) {
                names.push(&leaf.path);
            }
        }
        if !names.is_empty() {
            let names: Vec<String> = names.iter().take(12).map(|n| rows::shown(n)).collect();
            self.say(
                None,
                None,
                format!("another chat's file; not used here: {}", names.join(", ")),
            );
        }
    }

    fn say(&mut self, line: Option<usize>, key: Option<&str>, text: String) {
        let key = key.map(rows::shown);
        self.notes.push(Note { file: self.file.into(), line, key, text });
    }
}

/// The key of a table `[serial]`; which device a line has is said in `[[serial]]` alone.
fn of_all_lines<'l>(leaf: &'l Leaf<'_>) -> Option<&'l str> {
    let (table, key) = leaf.path.split_once('.')?;
    (table.eq_ignore_ascii_case("serial") && !key.eq_ignore_ascii_case("device")).then_some(key)
}

/// "found X, expected Y", without the key: the note has it as the file spells it.
pub(crate) fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::BadValue { found, expected, .. } => format!("found {found}, expected {expected}"),
        other => other.to_string(),
    }
}

/// A value as a note shows it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => rows::shown(text),
        DeValue::Integer(number) => rows::shown(&number.to_string()),
        DeValue::Float(number) => rows::shown(&number.to_string()),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A whole number, in whatever base it is written.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn port(value: &DeValue<'_>) -> Option<u16> {
    let number = match value {
        DeValue::String(text) => text.trim().parse().ok()?,
        value => integer(value)?,
    };
    u16::try_from(number).ok().filter(|p| *p > 0)
}

/// The line a span begins in, from 1.
pub(crate) fn line_of(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
