//! Any words of a command line are read, or refused with words; help has some, too. Words end with
//! a zero, as in execve(2).
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use klatsch::cli::args::{Asked, Line, Verb};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let words = bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned());
    match Line::read(["klatsch".into()].into_iter().chain(words)) {
        Ok(Asked::Line(Line { verb: Some(Verb::Msg { text, .. } | Verb::All { text }), .. })) => {
            assert!(!text.is_empty());
        }
        Ok(Asked::Line(_)) => {}
        Ok(Asked::Said(text)) => {
            assert!(text.starts_with("klatsch ") || text.contains("\nUsage: klatsch"));
        }
        Err(wrong) => assert!(wrong.0.ends_with('\n') && wrong.0.len() > 1),
    }
});
