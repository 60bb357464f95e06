//! Any values in the history's rows are an entry, a recipient and someone known, or passed over.
#![no_main]

use klatsch::store::row;
use libfuzzer_sys::fuzz_target;
use rusqlite::types::ValueRef;

/// Cuts the bytes into values of all kinds.
fn values(mut bytes: &[u8]) -> Vec<ValueRef<'_>> {
    let mut values = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let (value, used) = match (kind % 6, rest) {
            (0, _) => (ValueRef::Null, 0),
            (1, [n, ..]) => (ValueRef::Integer(i64::from(*n)), 1),
            (2, [a, b, c, d, e, f, g, h, ..]) => {
                let n = i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (ValueRef::Integer(n), 8)
            }
            (3, [n, ..]) => (ValueRef::Real(f64::from(*n) / 3.0), 1),
            (4 | 5, [len, rest @ ..]) => {
                let some = &rest[..usize::from(*len).min(rest.len())];
                let value = if kind % 6 == 4 { ValueRef::Text(some) } else { ValueRef::Blob(some) };
                (value, 1 + some.len())
            }
            _ => (ValueRef::Null, rest.len()),
        };
        values.push(value);
        bytes = &rest[used..];
    }
    values
}

fuzz_target!(|bytes: &[u8]| {
    let values = values(bytes);
    let get = |i: usize| values.get(i).copied().unwrap_or(ValueRef::Null);
    if let Some(entry) = row::entry(&get) {
        serde_json::to_string(&entry).unwrap();
    }
    if let Some(to) = row::recipient(&get) {
        assert!(to.peer.0 < 1 << 48);
    }
    row::known(&get);
});
