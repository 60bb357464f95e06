//! Whatever a head, a query or a form says: it is read without panic, and what is made of it
//! cannot end a line, a tag or a quoted word. The first byte chooses a file's size.
#![no_main]

use hyper::header::{HeaderMap, HeaderValue};
use klatsch::web::http::{
    MAX_FIELDS, MAX_NAME, Ports, Range, attachment, authority, cookie, decoded, encoded, escaped,
    fields, is_our_host, is_own_origin, range, shown_name,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    if let Some((host, _)) = authority(&text) {
        assert!(!host.contains(['/', '@', '<', '"', ' ']) && host.len() <= 253);
        is_our_host(&host, &["klatsch.local".into()]);
    }
    let size = u64::from(*choice) * u64::from(*choice);
    if let Range::Part(first, last) = range(Some(&text), size) {
        assert!(first <= last && last < size);
    }
    assert!(fields(&text).len() <= MAX_FIELDS);
    assert_eq!(decoded(&encoded(&text), false), text);
    assert!(!escaped(&text).contains(['<', '>', '"', '\'']));
    let name = shown_name(&text);
    assert!(!name.is_empty() && name.len() <= MAX_NAME);
    assert!(!name.contains(['/', '\\', '"', '<', '\n', '\r', '\0']));
    assert!(HeaderValue::from_str(&attachment(&name)).is_ok());
    let mut map = HeaderMap::new();
    for (at, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            map.append(["cookie", "origin", "host", "sec-fetch-site"][at % 4], value);
        }
    }
    assert!(!is_own_origin(&map, Ports::Same) || is_own_origin(&map, Ports::Any));
    assert!(cookie(&map, "klatsch").is_none_or(|value| !value.contains(';')));
});
