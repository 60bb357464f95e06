//! Any bytes on the control socket are calls, refusals, or an end; and what is a request reads
//! back as itself.
#![no_main]

use klatsch::api::Request;
use klatsch::control::varlink::{Call, Frames, MAX_FRAME};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut frames = Frames::new(MAX_FRAME);
    for piece in bytes.chunks(97) {
        frames.push(piece);
        while let Ok(Some(frame)) = frames.next_frame() {
            let Ok(call) = serde_json::from_slice::<Call>(frame) else { continue };
            let method = call.method.rsplit('.').next().unwrap_or_default();
            let Ok(request) = Request::from_json(method, call.parameters) else { continue };
            let (name, parameters) = request.to_json();
            let name = name.rsplit('.').next().unwrap_or_default();
            assert_eq!(Request::from_json(name, parameters), Ok(request));
        }
    }
});
