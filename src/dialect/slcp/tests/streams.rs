//! Streams in every form that no capture holds.

use super::super::said::*;
use super::super::stream::{StreamSaid as S, is_ready};
use super::super::{PortKind, Reader, Said, Unreadable};
use super::ours;

fn all(port: PortKind, bytes: &[u8]) -> Vec<S> {
    let mut reader = Reader::new(port);
    let mut said = reader.push(bytes, &ours);
    said.extend(reader.end(&ours));
    said
}

fn text(said: &S) -> &str {
    let S::Said(Said::Text { text, .. }) = said else { panic!("{said:?}") };
    text
}

#[test]
fn several_lines_of_one_stream_are_several_messages() {
    let said = all(PortKind::Chat, b"MSG anna eins\r\n\nMSG anna zwei\nAnna: drei\nMSG anna vier");
    let texts: Vec<&str> = said.iter().map(text).collect();
    assert_eq!(texts, ["eins", "zwei", "drei", "vier"]);
}

#[test]
fn a_line_without_an_end_counts_when_nothing_follows() {
    let mut reader = Reader::new(PortKind::Chat);
    assert_eq!(reader.push(b"MSG Alice Hallo", &ours), []);
    assert_eq!(text(&reader.idle(&ours)[0]), "Hallo");
    assert_eq!(reader.idle(&ours), []);
    assert_eq!(reader.end(&ours), []);
}

#[test]
fn two_images_and_a_text_share_a_stream() {
    let said = all(PortKind::Chat, b"IMG anna 3\nabcIMG anna 0\nMSG anna da\n");
    assert!(matches!(&said[0], S::ImageStart(head) if head.size == Some(3)));
    assert_eq!(said[1], S::ImageBytes(b"abc".to_vec()));
    assert_eq!(said[2], S::ImageEnd);
    assert!(matches!(&said[3], S::ImageStart(head) if head.size == Some(0)));
    assert_eq!(said[4], S::ImageEnd);
    assert_eq!(text(&said[5]), "da");
}

#[test]
fn a_header_ends_where_its_program_ends_it() {
    for (bytes, style) in [
        (&b"IMG Michael dot.png 3 \n\n\n"[..], ImageStyle::SenderNameBlank),
        (b"IMG Bilal dot.png 3\n\n\n\n", ImageStyle::SenderName),
        (b"IMG Bilal 2024 3\n\n\n\n", ImageStyle::SenderName),
        (b"IMG Alice 3|um 2025 am See\n\n\n\n", ImageStyle::Comment),
        (b"IMG:dot.png:3:\n\n\n", ImageStyle::Colon),
        (b"IMG bob 3\n\n\n\n", ImageStyle::Receiver),
        (b"IMG dot.png 3\n\n\n\n", ImageStyle::Name),
    ] {
        let said = all(PortKind::Chat, bytes);
        assert!(matches!(&said[0], S::ImageStart(head) if head.style == style), "{said:?}");
        assert_eq!(said[1..], [S::ImageBytes(b"\n\n\n".to_vec()), S::ImageEnd], "{style:?}");
    }
}

#[test]
fn a_header_alone_waits_once_and_then_takes_the_image() {
    let mut reader = Reader::new(PortKind::Chat);
    assert_eq!(reader.push(b"IMG dot.png 3\n", &ours).len(), 1);
    assert_eq!(reader.idle(&ours), [S::AwaitingBody]);
    assert_eq!(reader.idle(&ours), []);
    assert_eq!(reader.push(b"abc", &ours), [S::ImageBytes(b"abc".to_vec()), S::ImageEnd]);
    assert!(is_ready(b"READY") && is_ready(b"OK\n") && !is_ready(b"OKAY"));
}

#[test]
fn a_short_image_says_how_short() {
    let said = all(PortKind::Chat, b"IMG anna 5\nabc");
    assert_eq!(said[2], S::ImageShort { have: 3, want: Some(5) });
    let said = all(PortKind::ImagePlus100, b"[\"Ani\", \"dot.png\", \"aGFs");
    assert_eq!(said[2], S::ImageShort { have: 3, want: None });
    let said = all(PortKind::ImagePlus100, b"[\"Ani\", \"dot.png\", \"aGFs*bG8=\"]");
    let bad = [S::Unreadable(Unreadable::BadBase64), S::ImageShort { have: 3, want: None }];
    assert_eq!(said[2..], bad);
}

#[test]
fn an_array_is_an_image_unless_it_begins_with_a_word() {
    let said = all(PortKind::ImagePlus100, b"[\"Ani\", \"a \\\"b\\\".png\", \"aGFsbG8=\"]");
    let S::ImageStart(head) = &said[0] else { panic!("{said:?}") };
    assert_eq!(head.name.as_deref(), Some("a \"b\".png"));
    assert_eq!(said[1..], [S::ImageBytes(b"hallo".to_vec()), S::ImageEnd]);
    let chunks = b"[\"IMG_CHUNK\", \"a]\", 0, 2, \"aGFs\"][\"IMG_CHUNK\", \"a]\", 1, 2, \"bG8=\"]";
    let said = all(PortKind::ImagePlus100, chunks);
    assert!(matches!(&said[0], S::Said(Said::ImageChunk { index: 0, .. })), "{said:?}");
    assert!(matches!(&said[1], S::Said(Said::ImageChunk { index: 1, .. })), "{said:?}");
    let said = all(PortKind::Chat, b"[\"MSG\", \"Ani\", \"Bob\", \"hallo\"]");
    assert_eq!(text(&said[0]), "hallo");
    let deep = "[".repeat(10_000);
    assert_eq!(all(PortKind::Chat, deep.as_bytes()), [S::Unreadable(Unreadable::BadJson)]);
}

#[test]
fn an_image_promised_elsewhere_is_raw() {
    for bytes in [
        &b"\x89PNG\r\n\x1a\n\0\0"[..],
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"GIF89a\n\0\x01\0",
        b"RIFF\n\n\n\nWEBPVP8 ",
        b"BM\n\n\n\n\0\0\0\0",
        b"\0\0\0\x18ftypheic",
    ] {
        assert_eq!(all(PortKind::Chat, bytes), [S::Raw(bytes.to_vec())], "{bytes:?}");
    }
    assert_eq!(all(PortKind::ImageOnly, b"anything"), [S::Raw(b"anything".to_vec())]);
    let said = all(PortKind::Chat, b"MSG anna \xff\nMSG anna ja\n");
    assert_eq!(said[0], S::Unreadable(Unreadable::NotUtf8));
    assert_eq!(text(&said[1]), "ja");
    assert_eq!(text(&all(PortKind::Chat, b"BM: ich bin es\n")[0]), "ich bin es");
}
