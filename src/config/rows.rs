//! The one table of settings: each row is a key of the file, of `CONFIG` and of the socket.
//!
//! A new setting is one field in [`Settings`], one row in a part below and one line in
//! `systemd/klatsch.toml`; a test holds the three together.

mod dialects;
mod keeping;
mod own;
mod values;
mod web;

use std::time::Duration;

use super::{Settings, User};
use crate::command::is_secret;
use crate::model::near::distance;
use crate::model::text::harmless;
use crate::model::{Refusal, SettingView};

pub(super) use values::switch;

/// Seconds that a text may wait to be sent: the least and the most.
pub const OUTBOX: std::ops::RangeInclusive<u64> = 60..=365 * 86_400;
/// Seconds between announcements: the least and the most.
pub const ANNOUNCE: std::ops::RangeInclusive<u32> = 5..=3_600;
/// What `max-image` may be, in bytes.
pub const IMAGE_BYTES: std::ops::RangeInclusive<u64> = 1_024..=1_073_741_824;
/// Interfaces that may be named.
pub const MAX_INTERFACES: usize = 8;
/// Ports of the hello chat's web API.
pub const MAX_WEB_PORTS: usize = 4;
/// Handles whose requests are accepted unasked.
pub const MAX_ACCEPTED: usize = 64;
/// Further broadcast addresses.
pub const MAX_BROADCAST: usize = 8;

/// What is told of a PIN that is set.
pub const SET: &str = "set";
/// What is repeated of a PIN that is refused.
const REFUSED_PIN: &str = "one that does not do";

/// What a row holds, as far as a file's value is checked by it before [`Row::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted text.
    Text,
    /// A number (or a quoted one).
    Number,
    /// `true` or `false` (or a quoted `on`, `off`, `yes`, `no`).
    Switch,
    /// A path; a relative one in a file counts from that file's folder.
    Path,
    /// A list of quoted texts (or one text with commas).
    List,
}

/// One setting.
pub struct Row {
    /// Its key, dotted: `slcp.port`.
    pub key: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// What a value must be, for messages.
    pub expected: &'static str,
    /// Whether it can change while the node runs.
    pub live: bool,
    /// Whether it belongs to one user; here it then acts on the first.
    pub per_user: bool,
    /// What it holds.
    pub kind: Kind,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), Wrong>,
}

/// Why a value is refused: it is not as `expected` says, or for a reason of its own.
pub(super) enum Wrong {
    Value,
    Because(String),
}

/// All rows, in the order they are shown.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.into_iter().flatten()
}

/// Every setting with its value.
pub fn view(settings: &Settings) -> Vec<SettingView> {
    rows().map(|row| row.view(settings)).collect()
}

/// The row of a key, whatever its case.
pub fn find(key: &str) -> Option<&'static Row> {
    rows().find(|row| row.key.eq_ignore_ascii_case(key))
}

/// The key that was probably meant.
pub fn nearest(key: &str) -> &'static str {
    let key: String = key.chars().take(MAX_KEY).collect::<String>().to_ascii_lowercase();
    let last = key.rsplit('.').next().unwrap_or(&key);
    let far = |row: &&Row| {
        let tail = row.key.rsplit('.').next().unwrap_or(row.key);
        distance(row.key, &key).min(distance(tail, last) + 1)
    };
    rows().min_by_key(far).map_or("handle", |row| row.key)
}

/// The refusal for a key that no row has.
pub fn unknown(key: &str) -> Refusal {
    let expected = format!("a key as CONFIG lists them; the nearest is {}", nearest(key));
    Refusal::bad("CONFIG", shown(key), expected)
}

/// Sets a key by name: what `CONFIG key value` does.
pub fn set(settings: &mut Settings, key: &str, value: &str) -> Result<&'static Row, Refusal> {
    let row = find(key).ok_or_else(|| unknown(key))?;
    row.set(settings, value)?;
    Ok(row)
}

impl Row {
    /// The value, as [`Row::set`] takes it.
    pub fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// Sets it, or says what was expected; then nothing changed.
    pub fn set(&self, settings: &mut Settings, value: &str) -> Result<(), Refusal> {
        (self.set)(settings, value.trim()).map_err(|wrong| {
            let expected = match wrong {
                Wrong::Value => self.expected.to_owned(),
                Wrong::Because(reason) => reason,
            };
            let found = if self.is_secret() { REFUSED_PIN.into() } else { shown(value) };
            Refusal::bad(self.key, found, expected)
        })
    }

    /// Sets it in a user of one's own. Only for rows that are `per_user`.
    pub fn set_for(&self, user: &mut User, value: &str) -> Result<(), Refusal> {
        let mut one = Settings { users: vec![user.clone()], ..Settings::default() };
        self.set(&mut one, value)?;
        if let Some(changed) = one.users.into_iter().next() {
            *user = changed;
        }
        Ok(())
    }

    /// Whether its value is told to nobody: a PIN.
    pub fn is_secret(&self) -> bool {
        is_secret(self.key)
    }

    /// The value as it is told: of a PIN only whether there is one.
    pub fn told(&self, settings: &Settings) -> String {
        let value = self.get(settings);
        if self.is_secret() && !value.is_empty() { SET.into() } else { value }
    }

    /// The row with its value as it is told.
    pub fn view(&self, settings: &Settings) -> SettingView {
        SettingView {
            key: self.key.into(),
            value: self.told(settings),
            live: self.live,
            help: self.help.into(),
        }
    }
}

/// A time as settings have it: `7days`.
pub fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A value as messages show it: quoted if that helps, harmless, not without end.
pub fn shown(value: &str) -> String {
    const MOST: usize = 60;
    let mut text: String = harmless(value).chars().take(MOST).collect();
    if value.chars().count() > MOST {
        text.push('…');
    }
    if text.is_empty() || text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// Keys are compared up to this length.
const MAX_KEY: usize = 64;

/// In the order they are shown.
const PARTS: [&[Row]; 4] = [own::ROWS, keeping::ROWS, dialects::ROWS, web::ROWS];

const ROW: Row = Row {
    key: "",
    help: "",
    expected: "",
    live: false,
    per_user: false,
    kind: Kind::Text,
    get: |_| String::new(),
    set: |_, _| Err(Wrong::Value),
};

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
