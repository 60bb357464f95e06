//! A real PNG of the test's own making: stored, not compressed, so that no library is needed.

use std::path::{Path, PathBuf};

/// A grey image of this size in a file; its bytes.
pub fn png(folder: &Path, width: u32, height: u32) -> (PathBuf, Vec<u8>) {
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        rows.extend((0..width).map(|x| (x * 7 + y * 13) as u8));
    }
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 0, 0, 0, 0]);
    for (name, data) in [(b"IHDR", head), (b"IDAT", stored(&rows)), (b"IEND", Vec::new())] {
        let body = [&name[..], &data].concat();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&body);
        bytes.extend(crc(&body).to_be_bytes());
    }
    let path = folder.join(format!("picture-{width}x{height}.png"));
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let pieces = data.chunks(65_535).collect::<Vec<_>>();
    for (n, piece) in pieces.iter().enumerate() {
        let len = piece.len() as u16;
        out.push(u8::from(n + 1 == pieces.len()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(*piece);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8)
            .fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}
