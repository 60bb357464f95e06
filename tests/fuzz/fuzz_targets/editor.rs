//! Any bytes from a terminal leave an editor whose row is never longer than its terminal. The
//! first byte chooses the width.
#![no_main]

use klatsch::console::{Editor, Screen};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((width, bytes)) = bytes.split_first() else { return };
    let mut editor = Editor::new(Screen::Ansi, u16::from(*width));
    for (n, byte) in bytes.iter().enumerate() {
        // a PIN's prompt comes and goes
        if n % 97 == 0 {
            editor.set_masked(n % 2 == 0);
        }
        let _ = editor.feed(*byte);
        assert!(!editor.begun().contains(char::is_control));
    }
    editor.above("somebody says something");
    assert!(!editor.take_output().is_empty());
});
