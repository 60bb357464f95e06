//! A file as text on the line: any bytes are taken or refused within the limit, and afterwards a
//! file that is sent as it should be is what it was.
#![no_main]

use klatsch::console::inline::{Receive, Transmit};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let mut receive = Receive::new(LIMIT);
    let mut taken = 0;
    for byte in bytes {
        let outcome = receive.feed(*byte);
        taken += receive.take().len() as u64;
        assert!(taken <= LIMIT);
        match outcome {
            Some(Ok(received)) => {
                assert_eq!(received.size, taken);
                assert!(!received.name.contains(['/', '\n']));
                break;
            }
            Some(Err(why)) => assert!(!why.contains('\n')),
            None => {}
        }
    }
    if !bytes.is_empty() && bytes.len() as u64 <= LIMIT {
        let mut send = Transmit::default();
        let mut text = send.head("x");
        text.extend(send.piece(bytes));
        text.extend(send.end());
        let (mut receive, mut back) = (Receive::new(LIMIT), Vec::new());
        let mut whole = false;
        for byte in text {
            whole |= matches!(receive.feed(byte), Some(Ok(_)));
            back.extend(receive.take());
        }
        assert!(whole && back == bytes);
    }
});
