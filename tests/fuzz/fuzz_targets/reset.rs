//! Whatever stands in the file `factory-reset`: it names what is forgotten, in any case and with
//! any space about it, or is refused in one line that a screen can show. Nothing else erases.
#![no_main]

use klatsch::provision::{Reset, reset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    match reset(bytes) {
        Ok(what) => {
            let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
            let named = match letters.to_ascii_lowercase().as_str() {
                "pin" | "pins" => Reset::Pins,
                "everything" => Reset::Everything,
                other => panic!("{other:?} erases"),
            };
            assert_eq!(what, named);
            assert_eq!(reset(text.to_ascii_uppercase().as_bytes()), Ok(what));
        }
        Err(line) => {
            assert!(line.chars().count() < 200 && !line.contains(char::is_control), "{line:?}");
            assert!(line.contains("pins") && line.contains("everything"));
        }
    }
    let spaced = [b"\r\n ", bytes, b"\t\n"].concat();
    // a mark of the byte order counts at the very beginning only
    if !bytes.starts_with("\u{feff}".as_bytes()) {
        assert_eq!(reset(&spaced), reset(bytes));
    }
});
