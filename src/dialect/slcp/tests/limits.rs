//! One past each limit.

use super::super::stream::StreamSaid as S;
use super::super::{MAX_HEAD, MAX_LIST, MAX_NAME, MAX_TEXT, PortKind, Reader, datagram};
use super::super::{Said, Unreadable};
use super::ours;
use crate::model::limits::STREAM_LINE;

#[test]
fn a_text_past_its_limit_is_refused() {
    let text = |bytes: usize| datagram(format!("MSG anna {}", "x".repeat(bytes)).as_bytes(), &ours);
    assert!(text(MAX_TEXT).is_ok());
    assert_eq!(text(MAX_TEXT + 1), Err(Unreadable::TooLong { max: MAX_TEXT }));
    let long = format!("[\"MSG\", \"a\", \"b\", \"{}\"]", "x".repeat(MAX_TEXT + 1));
    assert_eq!(datagram(long.as_bytes(), &ours), Err(Unreadable::TooLong { max: MAX_TEXT }));
}

#[test]
fn a_list_past_its_limit_is_cut() {
    for separator in [",", " "] {
        let entries = vec!["a 10.0.0.1 1"; MAX_LIST + 1].join(separator);
        let said = datagram(format!("KNOWUSERS {entries}").as_bytes(), &ours);
        assert!(matches!(said, Ok(Said::List { entries, .. }) if entries.len() == MAX_LIST));
    }
}

#[test]
fn a_header_past_its_limit_is_refused() {
    let head = |bytes: usize| format!("IMG anna {} 7\n", "x".repeat(bytes - 12));
    assert_eq!(head(MAX_HEAD).len(), MAX_HEAD);
    assert!(datagram(head(MAX_HEAD).as_bytes(), &ours).is_ok());
    let long = datagram(head(MAX_HEAD + 1).as_bytes(), &ours);
    assert_eq!(long, Err(Unreadable::TooLong { max: MAX_HEAD }));
}

#[test]
fn a_name_past_its_limit_is_cut_between_characters() {
    let head = format!("IMG anna {} 7\n", "ä".repeat(MAX_NAME / 2 + 1));
    let Ok(Said::Image(head)) = datagram(head.as_bytes(), &ours) else { panic!() };
    assert_eq!(head.name.map(|name| name.len()), Some(MAX_NAME - 1));
}

#[test]
fn a_stream_line_past_its_limit_is_skipped_and_the_next_is_read() {
    let read = |bytes: usize| {
        let mut reader = Reader::new(PortKind::Chat);
        let line = format!("WHO {}\nWHO\n", "x".repeat(bytes - 5));
        let mut said = Vec::new();
        for piece in line.as_bytes().chunks(1000) {
            said.extend(reader.push(piece, &ours));
        }
        said
    };
    assert!(read(STREAM_LINE).iter().all(|said| matches!(said, S::Said(Said::Who { .. }))));
    let long = read(STREAM_LINE + 1);
    assert_eq!(long[0], S::Unreadable(Unreadable::TooLong { max: STREAM_LINE }));
    assert!(matches!(&long[1], S::Said(Said::Who { .. })), "{long:?}");
}

#[test]
fn a_stream_array_past_its_limit_is_refused() {
    let read = |bytes: usize| {
        let array = format!("[\"WHO\",\"{}\"]", "x".repeat(bytes - 10));
        assert_eq!(array.len(), bytes);
        Reader::new(PortKind::Chat).push(array.as_bytes(), &ours)
    };
    assert!(matches!(read(STREAM_LINE)[0], S::Said(Said::Who { .. })));
    assert_eq!(read(STREAM_LINE + 1), [S::Unreadable(Unreadable::TooLong { max: STREAM_LINE })]);
}
