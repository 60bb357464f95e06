//! The box's settings on the FAT partition: the text of `klatsch.toml` and what was applied before
//! in, what to apply and what to answer out. Pure; `cli::provision` reads and writes.
//!
//! `card` reads the file, `keys` says what may stand in it beside klatsch's own settings, `files`
//! turns what was accepted into the files of networkd, wpa_supplicant, hostapd and others.
//!
//! The file is the whole truth: what does not stand in it is as the image has it. Two things are
//! kept from earlier files: a value in whose place a wrong one stands, and secrets, in whose place
//! [`KEPT`] stands once they were taken over.

mod card;
mod files;
mod keys;
mod reset;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use files::{FILES, LAYER, Output, Readers, outputs};
pub use reset::{Reset, reset};

use crate::config::rows;

/// Largest `klatsch.toml` that is read, in bytes.
pub const MAX_CARD: usize = 64 * 1024;
/// Lines of a report; one more says how many there were.
pub const MAX_LINES: usize = 64;
/// Stands in the file where a secret stood that is kept on the box now. No PIN can be this: it has
/// blanks.
pub const KEPT: &str = "(kept on the box)";

/// What was accepted: key to value, as rows and `keys` take it.
pub type Values = BTreeMap<String, String>;

/// What is kept of it between two starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Of the file that was read last, and of the klatsch that read it; empty: to be read again.
    pub fingerprint: String,
    /// See [`Values`].
    pub values: Values,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line of `klatsch.toml`, from 1.
    pub line: Option<usize>,
    /// The key it is about.
    pub key: Option<String>,
    /// Whether something was refused.
    pub refused: bool,
    /// What was done, or what was found, what is expected and what holds instead.
    pub text: String,
}

/// What follows from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What holds now.
    pub values: Values,
    /// Settings of klatsch's own that the file gives another value than before: what was set by
    /// `CONFIG` meanwhile gives way.
    pub changed: Vec<String>,
    /// What the file should be once the values are kept: without its secrets. None: as it is.
    pub rewritten: Option<String>,
    /// The report, in the order of the file.
    pub lines: Vec<Line>,
}

/// What follows from the bytes of `klatsch.toml` (no more than [`MAX_CARD`] and one are needed),
/// or from there being none, where `old` held before.
pub fn plan(bytes: Option<&[u8]>, old: &Values) -> Plan {
    let Some(bytes) = bytes else {
        let text = "there is no klatsch.toml: the box is as its image has it".to_owned();
        return Plan { lines: vec![note(text)], ..Plan::default() };
    };
    match text_of(bytes).and_then(|text| card::read(text, old)) {
        Ok(plan) => plan,
        Err(line) => Plan { values: old.clone(), lines: vec![line], ..Plan::default() },
    }
}

/// A report as it is written beside the file, and to the serial line: `host` is the box's name.
pub fn report(host: &str, lines: &[Line]) -> String {
    let refused = lines.iter().filter(|line| line.refused).count();
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("klatsch {version} on {host}: what became of klatsch.toml\n\n");
    for line in lines.iter().take(MAX_LINES) {
        text += &format!("{line}\n");
    }
    if lines.len() > MAX_LINES {
        text += &format!("{} more lines like these\n", lines.len() - MAX_LINES);
    }
    text += &match refused {
        0 => "\nNothing was refused.\n".to_owned(),
        1 => "\n1 line was refused: put it right, then start the box again.\n".to_owned(),
        n => format!("\n{n} lines were refused: put them right, then start the box again.\n"),
    };
    text
}

/// A line that is about nothing in particular.
pub fn note(text: String) -> Line {
    Line { line: None, key: None, refused: false, text }
}

/// The same where something is wrong.
pub fn trouble(text: String) -> Line {
    Line { refused: true, ..note(text) }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        let refused = if self.refused { "REFUSED: " } else { "" };
        write!(f, "{refused}{}", self.text)
    }
}

/// Text out of what computers save as text.
fn text_of(bytes: &[u8]) -> Result<&str, Line> {
    let unused = |line, text: &str| {
        let text = format!("not used: {text}; what held before stays");
        Err(Line { line, ..trouble(text) })
    };
    if bytes.len() > MAX_CARD {
        return unused(None, &format!("it has more than {MAX_CARD} bytes"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return unused(None, "it was saved as UTF-16: save it as UTF-8");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => unused(None, "it holds bytes that are no text: save it as text, UTF-8"),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            unused(Some(line), "found bytes that are not UTF-8: save it as UTF-8")
        }
    }
}

/// Whether a key's value is never shown.
pub fn is_secret(key: &str) -> bool {
    crate::command::is_secret(key) || key == "wifi.key"
}

/// Whether a key is klatsch's own setting.
fn is_setting(key: &str) -> bool {
    rows::find(key).is_some()
}

#[cfg(test)]
mod tests;
