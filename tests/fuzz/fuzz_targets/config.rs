//! Any file of any program leaves settings that hold together.
#![no_main]

use std::path::Path;

use klatsch::config::{Settings, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut settings, mut notes) = (Settings::default(), Vec::new());
    let _ = file::apply(text, Path::new("/etc/x.toml"), None, &mut settings, &mut notes);
    assert!(!settings.users.is_empty() && settings.port_min <= settings.port_max);
    assert!(settings.imagepath.is_absolute());
    assert!(notes.len() <= file::MAX_NOTES + 1);
});
