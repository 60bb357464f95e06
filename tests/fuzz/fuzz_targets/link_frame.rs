//! Any bytes as a frame: read without panic, and what is read is written as it was read.
#![no_main]

use klatsch::dialect::link::frame::{Frame, MAX_FRAME};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.len() > MAX_FRAME {
        return;
    }
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
});
