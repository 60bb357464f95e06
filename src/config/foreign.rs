//! The student programs' own configuration files: what their keys mean in ours.
//!
//! One table, after PROTOCOLS section 4. Sections only group keys in those files, so a key means
//! the same in any of [`SECTIONS`]. A file is theirs as soon as it holds one key of this table;
//! then what klatsch has no use for is said in one line instead of one per key.

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
