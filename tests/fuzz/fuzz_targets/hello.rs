//! Any stream means the same whole and cut; what was said reads back from what we write. The first
//! byte chooses the cut.
#![no_main]

use klatsch::dialect::hello::{Reader, Said, codec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mut reader = Reader::default();
    let cut = bytes.chunks(usize::from(*choice) + 1).flat_map(|piece| reader.push(piece));
    let cut: Vec<_> = cut.collect();
    assert_eq!(cut, Reader::default().push(bytes));
    for said in cut.into_iter().flatten() {
        let written = match &said {
            Said::Hello { peer_id } => codec::hello(peer_id),
            Said::NewMessage { id: Some(id), text, peer_id } => {
                codec::new_message(*id, text, peer_id.as_deref())
            }
            Said::Ok { peer_id: Some(peer_id), messages: None } => codec::ok_from(peer_id),
            Said::Ok { peer_id: None, messages: Some(all) } => codec::ok_with(all.iter()),
            _ => continue,
        };
        assert_eq!(codec::object(&written), Ok(said));
    }
});
