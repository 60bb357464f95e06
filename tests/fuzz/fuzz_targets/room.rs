//! Any stream of commands means the same whole and cut; any datagram is understood or refused;
//! what was understood of a server's list fits the next one. The first byte chooses the cut.
#![no_main]

use klatsch::dialect::raw::RawTexts;
use klatsch::dialect::room::codec::{Frames, Said, datagram, parse, user_list};
use klatsch::dialect::room::{MAX_SENT, MAX_TEXT};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let _ = datagram(bytes);
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(*choice) + 1), whole);
    for said in whole.iter().flatten() {
        if let Said::UserList(users) = said {
            let (line, rest) = user_list(users);
            assert!(line.len() < MAX_SENT);
            let Ok(Said::UserList(read)) = parse(&line) else { panic!("{line}") };
            assert_eq!([read.as_slice(), rest].concat(), *users);
        }
    }
    for lines in [true, false] {
        let mut raw = RawTexts::new(lines, MAX_TEXT);
        for piece in bytes.chunks(usize::from(*choice) + 1) {
            assert!(raw.push(piece).iter().all(|t| t.len() <= MAX_TEXT * 3));
        }
        let _ = raw.idle();
    }
});

fn read(bytes: &[u8], size: usize) -> Vec<Result<Said, String>> {
    let mut frames = Frames::default();
    let mut read = Vec::new();
    let mut take = |frame: Result<String, _>| {
        read.push(frame.and_then(|f| parse(&f)).map_err(|bad| format!("{bad}")));
    };
    for piece in bytes.chunks(size) {
        frames.feed(piece);
        while let Some(frame) = frames.take() {
            take(frame);
        }
    }
    frames.end().map(take);
    read
}
