//! Any bytes from the other end of a connection, in any pieces, as caller and as called, before
//! and after the handshake: nothing panics, and nothing forged is ever read as a frame.
#![no_main]

use klatsch::dialect::link::frame::Hello;
use klatsch::dialect::link::noise::{Rng, Secret};
use klatsch::dialect::link::session::{Event, Session};
use klatsch::model::StreamId;

fn session(n: u8, initiator: bool) -> Session {
    let at = "192.0.2.1:5009".parse().unwrap();
    let (secret, rng) = (Secret::new([n; 32]), Rng::new([n; 32]));
    let mut session = Session::new(0, StreamId(1), at, initiator, &secret, rng);
    if initiator {
        session.connected();
    }
    session
}

fn pass(from: &mut Session, to: &mut Session) {
    while let Some(bytes) = from.to_write() {
        from.wrote();
        to.bytes(0, &bytes, &mut Vec::new()).unwrap();
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let mut it = session(1, how & 1 != 0);
    if how & 2 != 0 {
        let mut other = session(2, how & 1 == 0);
        for _ in 0..2 {
            pass(&mut it, &mut other);
            pass(&mut other, &mut it);
        }
        let hello =
            Hello { version: 1, capabilities: 0, run: 1, port: 1, epoch: 1, got_epoch: 0, got: 0 };
        it.hello = Some(hello);
    }
    let mut events = Vec::new();
    for piece in bytes.chunks(usize::from(how >> 2) + 1) {
        if it.bytes(0, piece, &mut events).is_err() {
            break;
        }
    }
    assert!(!events.iter().any(|e| matches!(e, Event::Frame(_))));
});
