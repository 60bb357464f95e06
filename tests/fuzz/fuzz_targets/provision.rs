//! Any card, after any other: what is kept makes files that can be read, a second reading of what
//! is left of the card changes nothing, and of a secret that was taken over nothing is left on it.
#![no_main]

use klatsch::provision::{FILES, LAYER, MAX_CARD, Values, outputs, plan, report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(0);
    let before = plan(Some(&bytes[..cut]), &Values::new());
    let card = bytes.get(cut + 1..).unwrap_or_default();
    let after = plan(Some(card), &before.values);
    for line in report("klatsch-12ab", &after.lines).lines() {
        assert!(!line.contains('\x1b'));
    }
    for file in outputs(&after.values) {
        assert!(FILES.contains(&file.path));
        if file.path == LAYER {
            assert!(toml_parses(&file.text), "{}", file.text);
        }
    }
    let left = after.rewritten.as_deref().map_or(card, str::as_bytes);
    if left.len() <= MAX_CARD {
        let again = plan(Some(left), &after.values);
        assert_eq!(again.values, after.values);
        assert_eq!(again.rewritten, None);
    }
});

fn toml_parses(text: &str) -> bool {
    let (mut settings, mut notes) = (klatsch::config::Settings::default(), Vec::new());
    let path = std::path::Path::new("/run/klatsch-box/klatsch.toml");
    klatsch::config::file::apply(text, path, None, &mut settings, &mut notes).is_ok()
}
