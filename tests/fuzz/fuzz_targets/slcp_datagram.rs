//! Any datagram is understood or refused, and what it showed can be learned from.
#![no_main]

use klatsch::dialect::slcp::forms::Transport;
use klatsch::dialect::slcp::{Origin, Seen, datagram, settle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match datagram(bytes, &|handle| handle == "bob") {
        Ok(said) => {
            let mut seen = Seen::default();
            seen.note(&said, Transport::Udp, Origin::Other);
            settle(&seen);
        }
        Err(bad) => assert!(!bad.to_string().contains('\n')),
    }
});
