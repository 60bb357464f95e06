//! Any bytes from a terminal leave an editor whose row is never longer than its terminal. The
//! first byte chooses the width.
#![no_main]

use klatsch::console::{Editor, Screen};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((width, bytes)) = bytes.split_first() else { return };
    let mut editor = Editor::new(Screen::Ansi, u16::from(*width));
    for byte in bytes {
        let _ = editor.feed(*byte);
        assert!(!editor.begun().contains(char::is_control));
    }
    editor.above("somebody says something");
    assert!(!editor.take_output().is_empty());
});
