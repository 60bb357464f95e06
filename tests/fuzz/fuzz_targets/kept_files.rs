//! What lies in the state folder may have been damaged by anything: it is read, or refused.
#![no_main]

use klatsch::config::kept;
use klatsch::store::identity;
use klatsch::web::guests::{Guests, MAX_BANS, MAX_REMEMBERED};
use klatsch::web::shelf::Shelf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = kept::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(secret) = identity::parse(text) {
        let again = identity::parse(&identity::export(&secret)).unwrap();
        assert_eq!(again.bytes(), secret.bytes());
    }
    if let Ok(mut guests) = Guests::parse(text, 1_800_000_000_000) {
        assert!(guests.all.len() <= MAX_REMEMBERED && guests.banned.len() <= MAX_BANS);
        guests.by_token("x");
    }
    if let Ok(shelf) = serde_json::from_str::<Shelf>(text) {
        shelf.bytes();
        shelf.by_link("x", 1);
    }
});
