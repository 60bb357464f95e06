//! What an image is, from its header: recognised and measured, never decoded.

use std::fs::File;
use std::os::unix::fs::FileExt;

use imagesize::{Compression, ImageType};

use crate::node::io::Picture;

/// Bytes looked at. A size that stands further in (behind a large colour profile) is not told.
pub const HEAD: usize = 128 * 1024;

/// What the file holds; it need not be an image.
pub fn recognise(file: &File) -> Picture {
    let mut head = Vec::new();
    let mut block = vec![0; 16 * 1024];
    while head.len() < HEAD {
        match file.read_at(&mut block, head.len() as u64) {
            Ok(0) => break,
            Ok(n) => head.extend_from_slice(&block[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // Reading the content itself will tell.
            Err(_) => break,
        }
    }
    picture(&head)
}

/// What a file that begins with these bytes holds; it need not be an image.
pub fn picture(head: &[u8]) -> Picture {
    let format = match imagesize::image_type(head) {
        Ok(ImageType::Png) => "png",
        Ok(ImageType::Jpeg) => "jpeg",
        Ok(ImageType::Gif) => "gif",
        Ok(ImageType::Webp) => "webp",
        Ok(ImageType::Bmp) => "bmp",
        Ok(ImageType::Tiff) => "tiff",
        Ok(ImageType::Heif(Compression::Hevc | Compression::Av1 | Compression::Unknown)) => "heif",
        _ => "unknown",
    };
    let size = if format == "unknown" { None } else { imagesize::blob_size(head).ok() };
    let pixels = |n: usize| u32::try_from(n).ok();
    Picture {
        format,
        width: size.and_then(|s| pixels(s.width)),
        height: size.and_then(|s| pixels(s.height)),
    }
}

/// The extension that a file of this format gets.
pub fn extension(format: &str) -> &str {
    match format {
        "jpeg" => "jpg",
        "unknown" => "bin",
        "heif" => "heic",
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_enough_and_anything_else_is_unknown() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 0, 7, 0, 0, 0, 9, 8, 2, 0, 0, 0]);
        assert_eq!(picture(&png), Picture { format: "png", width: Some(7), height: Some(9) });
        assert_eq!(picture(&png[..9]).width, None);
        let gif = b"GIF89a\x03\0\x02\0\0\0\0";
        assert_eq!(picture(gif), Picture { format: "gif", width: Some(3), height: Some(2) });
        for other in [&b""[..], b"hello there, this is text", b"\xff", b"#!/bin/sh\n"] {
            assert_eq!(picture(other).format, "unknown");
        }
        assert_eq!(
            (extension("jpeg"), extension("unknown"), extension("png")),
            ("jpg", "bin", "png")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_behind_any_magic_are_taken_without_panic(
            magic in prop::sample::select(vec![
                &b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
                b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypheic", b"\0\0\0\x1cftypavif",
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = magic.to_vec();
            bytes.extend(rest);
            picture(&bytes);
        }
    }
}
