//! A whole console session on a serial line: whatever is typed, it asks at most what it may, its
//! output is bounded, and it wants nothing of its driver without end. The first byte chooses the
//! screen and whether an operator types.
#![no_main]

use klatsch::console::session::MAX_OUTPUT;
use klatsch::console::{Screen, Session, SessionOptions};
use klatsch::model::Answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let screen = if choice & 1 == 0 { Screen::Ansi } else { Screen::Plain };
    let mut session = Session::new(SessionOptions {
        screen,
        width: u16::from(choice >> 3) * 8,
        operator: choice & 2 == 0,
        serial: choice & 4 == 0,
        ..SessionOptions::default()
    });
    session.start();
    for (n, piece) in bytes.chunks(23).enumerate() {
        session.set_now(n as u64 * 300);
        session.feed(piece);
        let mut asked = 0;
        while let Some((ticket, _, _)) = session.next_ask() {
            session.answer(ticket, Ok(Answer::Done));
            asked += 1;
            assert!(asked < 1_000);
        }
        while session.take_spool().is_some() {}
        session.wants_file();
        assert!(session.take_output().len() < 2 * MAX_OUTPUT);
        if session.ended() || session.wants_json().is_some() {
            break;
        }
    }
});
