//! Any bytes as a beacon: read without panic, and what is read is written as it was read.
#![no_main]

use klatsch::dialect::link::beacon::Beacon;
use klatsch::model::limits::LINK_BEACON;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(beacon)) = Beacon::decode(bytes) {
        let written = beacon.encode();
        assert!(written.len() <= LINK_BEACON);
        let again = Beacon::decode(&written).unwrap().unwrap();
        assert!(beacon.handles.starts_with(&again.handles));
    }
});
