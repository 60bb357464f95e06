//! Any bytes are an image of some format and size, or unknown.
#![no_main]

use klatsch::store::picture::{extension, picture};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let seen = picture(bytes);
    assert!(!extension(seen.format).contains(['/', '.']));
    assert!(seen.format != "unknown" || seen.width.is_none());
});
