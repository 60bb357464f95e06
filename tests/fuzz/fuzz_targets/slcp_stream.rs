//! Any stream means the same whole and cut. The first byte chooses port and cut.
#![no_main]

use klatsch::dialect::slcp::{PortKind, Reader, StreamSaid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let port = if choice & 1 == 0 { PortKind::Chat } else { PortKind::ImageOnly };
    let size = usize::from(choice >> 1) + 1;
    assert_eq!(read(port, bytes, size), read(port, bytes, bytes.len().max(1)));
});

fn read(port: PortKind, bytes: &[u8], size: usize) -> Vec<StreamSaid> {
    let is_ours = |handle: &str| handle == "bob";
    let mut reader = Reader::new(port);
    let mut said: Vec<StreamSaid> = Vec::new();
    let pushed: Vec<StreamSaid> =
        bytes.chunks(size).flat_map(|piece| reader.push(piece, &is_ours)).collect();
    for next in pushed.into_iter().chain(reader.end(&is_ours)) {
        match (said.last_mut(), next) {
            (Some(StreamSaid::ImageBytes(all)), StreamSaid::ImageBytes(more))
            | (Some(StreamSaid::Raw(all)), StreamSaid::Raw(more)) => all.extend(more),
            (_, next) => said.push(next),
        }
    }
    said
}
