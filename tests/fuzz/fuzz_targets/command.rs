//! Any typed line is a command or a mistake with words.
#![no_main]

use klatsch::command::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    if let Err(mistake) = parse(line) {
        assert!(!mistake.to_string().is_empty());
    }
});
