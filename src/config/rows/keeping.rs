//! The rows of what is kept, and for how long: history, received files, the outbox.

use super::values::*;
use super::{Kind, OUTBOX, ROW, Row, Wrong, span};
use crate::config::keep;

pub(super) static ROWS: &[Row] = &[
    Row {
        key: "history.keep",
        help: "how long what was said is kept: a time, forever, or nothing",
        expected: "a time from 60s on, such as 1h or 30days, or forever, or nothing",
        live: true,
        get: |s| s.history.keep.to_string(),
        set: |s, v| parsed(v).map(|keep| s.history.keep = keep),
        ..ROW
    },
    Row {
        key: "history.entries",
        help: "how many texts and files are kept; the oldest go first",
        expected: "100 to 10000000",
        live: true,
        kind: Kind::Number,
        get: |s| s.history.entries.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| keep::ENTRIES.contains(n));
            s.history.entries = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "history.bytes",
        help: "how much room the history takes at most (K, M and G may follow)",
        expected: "1M to 1024G",
        live: true,
        kind: Kind::Number,
        get: |s| s.history.bytes.to_string(),
        set: |s, v| {
            let n = bytes(v).filter(|n| keep::HISTORY_BYTES.contains(n));
            s.history.bytes = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "files.quota",
        help: "how much room received files take at most (K, M and G may follow)",
        expected: "1M to 4096G",
        live: true,
        kind: Kind::Number,
        get: |s| s.files.quota.to_string(),
        set: |s, v| {
            s.files.quota = bytes(v).filter(|n| keep::QUOTA.contains(n)).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "files.when-full",
        help: "when they have reached it: the oldest are removed, or new ones refused",
        expected: "oldest or refuse",
        live: true,
        get: |s| s.files.when_full.to_string(),
        set: |s, v| parsed(v).map(|what| s.files.when_full = what),
        ..ROW
    },
    Row {
        key: "files.accept-images",
        help: "of whom images are taken over the link without being asked about",
        expected: "nobody, verified, pinned or anyone",
        live: true,
        get: |s| s.files.accept_images.to_string(),
        set: |s, v| parsed(v).map(|who| s.files.accept_images = who),
        ..ROW
    },
    Row {
        key: "files.accept-any",
        help: "of whom files of any kind, and folders, are",
        expected: "nobody, verified, pinned or anyone",
        live: true,
        get: |s| s.files.accept_any.to_string(),
        set: |s, v| parsed(v).map(|who| s.files.accept_any = who),
        ..ROW
    },
    Row {
        key: "files.accept-size",
        help: "larger ones are asked about in any case (K, M and G may follow)",
        expected: "0 to 4096G",
        live: true,
        kind: Kind::Number,
        get: |s| s.files.accept_size.to_string(),
        set: |s, v| {
            let size = bytes(v).filter(|n| n <= keep::QUOTA.end());
            s.files.accept_size = size.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "outbox.keep",
        help: "how long a text waits for somebody who is not here",
        expected: "a time from 60s to 365days, such as 12h or 7days",
        live: true,
        get: |s| span(s.outbox_keep),
        set: |s, v| {
            let time = humantime::parse_duration(v).map_err(|_| Wrong::Value)?.as_secs();
            if !OUTBOX.contains(&time) {
                return Err(Wrong::Value);
            }
            s.outbox_keep = time;
            Ok(())
        },
        ..ROW
    },
];
