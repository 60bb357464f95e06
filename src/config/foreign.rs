//! The student programs' own configuration files: what their keys mean in ours.
//!
//! One table, after PROTOCOLS section 4. Sections only group keys in those files, so a key means
//! the same in any of [`SECTIONS`]. A file is theirs as soon as it holds one key of this table;
//! then what klatsch has no use for is said in one line instead of one per key.

use std::path::Path;

use super::Settings;
use super::file::Note;
use crate::model::Handle;
use crate::model::text::harmless;

/// What a key of a file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The row of this key.
    Row(&'static str),
    /// A row of ours that stands in one of their sections.
    Theirs(&'static str),
    /// Theirs, and without use here.
    Unused,
    /// Neither theirs nor ours.
    Unknown,
}

/// Sections that only group keys, lower case.
const SECTIONS: [&str; 8] =
    ["network", "storage", "features", "client", "user", "image", "system", "default"];

/// Their key, lower case; our row, empty for one without use here; an example of who has it.
const KEYS: &[(&str, &str, &str)] = &[
    ("whoisport", "slcp.port", "001, 002 and most others"),
    ("whoisdiscoveryport", "slcp.port", "Tuna"),
    ("broadcast_ip", "slcp.broadcast", "001"),
    ("broadcast_address", "slcp.broadcast", "Robin"),
    ("broadcast", "slcp.broadcast", "Maximilian"),
    ("bild_pfad", "imagepath", "001, always beside imagepath"),
    // Both programs answer each message while this is true: what klatsch calls away.
    ("autoreply_enabled", "inactive", "001"),
    ("autoreply_aktiv", "inactive", "Tuna"),
    ("chat_port", "port", "Robin, whose port is the range"),
    ("port_min", "port-min", "Tuna"),
    ("port_max", "port-max", "Tuna"),
    ("imageport", "slcp.image-port", "002's NO_IPC branch"),
    ("image_ipc_port", "image-port", "001, in [[users]]"),
    ("image_autoview", "open-images", "Robin"),
    ("max_image_size", "max-image", "Robin"),
    ("name", "", "001, in [[users]], always as handle"),
    ("host_ip", "", "001, in [[users]]"),
    ("ipc_port", "", "001, in [[users]]"),
    ("id", "", "001, in [[users]]"),
    ("buffer_size", "", "001"),
    ("socket_timeout", "", "Robin"),
    ("local_ip", "", "Robin"),
];

/// What a dotted key means, whatever its case.
pub(super) fn meaning(path: &str) -> Meaning {
    if let Some(row) = super::rows::find(path) {
        return Meaning::Row(row.key);
    }
    let path = path.to_ascii_lowercase();
    if path.starts_with("colors.") {
        return Meaning::Unused;
    }
    let (section, key) = path.rsplit_once('.').unwrap_or(("", &path));
    if !section.is_empty() && !SECTIONS.contains(&section) {
        return Meaning::Unknown;
    }
    match KEYS.iter().find(|(theirs, ..)| *theirs == key) {
        Some((_, "", _)) => Meaning::Unused,
        Some((_, row, _)) => Meaning::Theirs(row),
        None if section.is_empty() => Meaning::Unknown,
        None => match super::rows::find(key) {
            Some(row) => Meaning::Theirs(row.key),
            None => Meaning::Unused,
        },
    }
}

/// Whether this is the hello chat's INI file (004), by its only section.
pub(super) fn is_hello(text: &str) -> bool {
    text.lines().any(|line| line.trim().eq_ignore_ascii_case("[NETWORK_INFO]"))
}

/// The keys of that section, our rows, and what is to be filled in.
const HELLO: [(&str, &str, &str); 3] = [
    ("port", "hello.port", "a port such as 9876"),
    ("broadcast_address", "hello.broadcast", "an address such as 172.31.255.255"),
    ("peer_id", "hello.peer-id", "your name in the chat"),
];

/// Lays the hello chat's INI file over settings, as Python's `configparser` reads it: `key =
/// value` or `key: value`, comments after `#` or `;` at a line's beginning. A value that was not
/// filled in is named. Whoever has this file wants that chat: it is switched on.
pub(super) fn hello(text: &str, file: &Path, settings: &mut Settings, notes: &mut Vec<Note>) {
    let mut say = |line, key: &str, text: String| {
        let line = (line > 0).then_some(line);
        notes.push(Note { file: file.into(), line, key: Some(key.into()), text });
    };
    settings.hello.enabled = true;
    let mut within = false;
    let mut found = [0; HELLO.len()];
    let mut strange = Vec::new();
    for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            within = line.eq_ignore_ascii_case("[NETWORK_INFO]");
            continue;
        }
        let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim().trim_matches(['"', '\'']));
        let known = HELLO.iter().position(|(theirs, ..)| theirs.eq_ignore_ascii_case(key));
        let Some(at) = known.filter(|_| within) else {
            strange.push(key);
            continue;
        };
        found[at] = n;
        let Some(row) = super::rows::find(HELLO[at].1) else { continue };
        let outcome = match value {
            "" => Err(unfilled(HELLO[at].2)),
            value => row.set(settings, value).map_err(|refusal| super::file::words(&refusal)),
        };
        if let Err(text) = outcome {
            say(n, key, format!("{text}; {} stays", super::rows::shown(&row.get(settings))));
        }
    }
    for ((theirs, row, wanted), _) in HELLO.iter().zip(found).filter(|(_, line)| *line == 0) {
        if let Some(row) = super::rows::find(row) {
            let stays = super::rows::shown(&row.get(settings));
            say(0, theirs, format!("{}; {stays} stays", unfilled(wanted)));
        }
    }
    if !strange.is_empty() {
        strange.truncate(super::file::MAX_NOTES);
        let text = format!("another chat's file; not used here: {}", strange.join(", "));
        notes.push(Note { file: file.into(), line: None, key: None, text: harmless(&text) });
    }
    let nobody = settings.users.first_mut().filter(|user| user.handle.is_none());
    if let (Some(user), Some(peer_id)) = (nobody, &settings.hello.peer_id) {
        user.handle = Some(Handle::nearest(peer_id));
    }
}

fn unfilled(expected: &str) -> String {
    format!("not filled in: write {expected} there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_named_in_the_table_exists() {
        for (theirs, row, _) in KEYS {
            assert!(row.is_empty() || super::super::rows::find(row).is_some(), "{theirs}");
            assert_eq!(*theirs, theirs.to_ascii_lowercase());
        }
    }

    #[test]
    fn sections_and_capitals_make_no_difference() {
        assert_eq!(meaning("Whoisport"), Meaning::Theirs("slcp.port"));
        assert_eq!(meaning("DEFAULT.handle"), Meaning::Theirs("handle"));
        assert_eq!(meaning("Handle"), Meaning::Row("handle"));
        assert_eq!(meaning("slcp.port"), Meaning::Row("slcp.port"));
        assert_eq!(meaning("colors.Anna"), Meaning::Unused);
        assert_eq!(meaning("handel"), Meaning::Unknown);
        assert_eq!(meaning("slcp.whoisport"), Meaning::Unknown);
    }
}
