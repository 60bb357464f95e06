//! Commands and framings.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::codec::{Bad, Frames, Framing, Listed, Said, datagram, frame, parse, user_list};
use super::super::{MAX_FRAME, MAX_NICK, MAX_SENT};
use super::at;

fn read(bytes: &[u8], size: usize) -> Vec<Result<String, Bad>> {
    let mut frames = Frames::default();
    let mut read = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        frames.feed(piece);
        while let Some(frame) = frames.take() {
            read.push(frame);
        }
    }
    read.extend(frames.end());
    read
}

#[test]
fn runs_of_blanks_are_one_between_arguments_and_stay_in_a_text() {
    let broadcast = |text: &str| Ok(Said::Broadcast("nico".into(), text.into()));
    assert_eq!(parse("BROADCAST   nico  Hallo  an alle\r"), broadcast("Hallo  an alle"));
    assert_eq!(parse(" REGISTER  nico   48255 "), Ok(Said::Register("nico".into(), 48255)));
    assert_eq!(parse("QUIT "), Ok(Said::Quit));
    assert_eq!(parse(""), Ok(Said::Nothing));
    let two = vec![
        Listed { nick: "nico".into(), at: at("192.168.178.12:48255") },
        Listed { nick: "anna".into(), at: at("192.168.178.13:45366") },
    ];
    let list = "USERLIST nico:192.168.178.12:48255 broken :1.2.3.4:5 anna:192.168.178.13:45366";
    assert_eq!(parse(list), Ok(Said::UserList(two)));
}

#[test]
fn wrong_arguments_are_refused_in_words() {
    for bad in [
        "REGISTER",
        "REGISTER nico",
        "REGISTER nico abc",
        "REGISTER nico 0",
        "REGISTER nico 65536",
        "REGISTER nico 5 6",
        "REGISTER ni:co 5",
        "BROADCAST",
        "BROADCAST nico",
        "USER_JOINED nico 1.2.3 5",
        "USER_JOINED nico",
        "USER_LEFT",
        "CHAT_REQUEST",
        "CHAT_REQUEST x",
    ] {
        assert!(matches!(parse(bad), Err(Bad::Arguments(_))), "{bad}: {:?}", parse(bad));
    }
    assert_eq!(parse("HELLO x"), Err(Bad::Unknown("HELLO".into())));
    assert!(parse(&format!("REGISTER {} 5", "n".repeat(MAX_NICK))).is_ok());
    assert!(parse(&format!("REGISTER {} 5", "n".repeat(MAX_NICK + 1))).is_err());
}

#[test]
fn the_first_byte_tells_the_framing() {
    let mut frames = Frames::default();
    frames.feed(b"\x00\x00\x00\x13REGISTER nico 34449\x00\x00\x00\x05QUIT ");
    assert_eq!(frames.take(), Some(Ok("REGISTER nico 34449".into())));
    assert_eq!(frames.framing(), Some(Framing::Lengths));
    assert_eq!(frames.take(), Some(Ok("QUIT ".into())));
    assert_eq!(frames.take(), None);
    assert_eq!(read(b"QUIT \nX", 99), [Ok("QUIT ".into()), Ok("X".into())]);
    assert_eq!(read(b"\xff\xff\xff\xffREGISTER", 99), [Err(Bad::Neither(0xff))]);
}

#[test]
fn one_byte_past_the_longest_command_is_refused() {
    let line = |n: usize| [vec![b'x'; n], b"\nQUIT\n".to_vec()].concat();
    assert_eq!(read(&line(MAX_FRAME), 9999)[0].as_ref().map(String::len), Ok(MAX_FRAME));
    for size in [1, 100, 9999] {
        let read = read(&line(MAX_FRAME + 1), size);
        assert_eq!(read, [Err(Bad::TooLong), Ok("QUIT".into())], "{size}: the next one is read");
    }
    let counted = |n: usize| frame(Framing::Lengths, &"x".repeat(n));
    assert_eq!(read(&counted(MAX_FRAME), 9999)[0].as_ref().map(String::len), Ok(MAX_FRAME));
    assert_eq!(read(&counted(MAX_FRAME + 1), 9999), [Err(Bad::TooLong)]);
}

/// A length that lies would be waited for without end, or taken as memory.
#[test]
fn a_length_of_gigabytes_ends_the_stream() {
    for lie in [&b"\x00\xff\xff\xff"[..], b"\x00\x00\x10\x01"] {
        let mut frames = Frames::default();
        frames.feed(lie);
        assert_eq!(frames.take(), Some(Err(Bad::TooLong)));
        assert!(frames.broken());
        frames.feed(&[b'x'; 100_000]);
        assert_eq!(frames.take(), None);
    }
    // as a later length, too
    let mut frames = Frames::of(Framing::Lengths);
    frames.feed(b"\xff\xff\xff\xff");
    assert_eq!(frames.take(), Some(Err(Bad::TooLong)));
}

#[test]
fn datagrams_come_with_a_length_or_without() {
    assert_eq!(datagram(b"CHAT_REQUEST 45311"), Ok((Framing::Lines, Said::ChatRequest(45311))));
    let counted = b"\0\0\0\x12CHAT_REQUEST 54343";
    assert_eq!(datagram(counted), Ok((Framing::Lengths, Said::ChatRequest(54343))));
    let rejected = b"\0\0\0\x0eCHAT_REJECTED ";
    assert_eq!(datagram(rejected), Ok((Framing::Lengths, Said::ChatRejected)));
    assert_eq!(datagram(b"CHAT_REJECTED"), Ok((Framing::Lines, Said::ChatRejected)));
    assert!(datagram(b"\0\0\0\x13CHAT_REQUEST 54343").is_err(), "one byte short");
    assert!(datagram(&vec![b'x'; MAX_FRAME + 1]).is_err());
    assert!(datagram(b"\xff\xfe").is_err());
}

#[test]
fn a_list_is_never_longer_than_a_clients_read() {
    let user = |n: usize| Listed { nick: format!("user{n:03}"), at: at("192.168.100.100:50000") };
    let users: Vec<Listed> = (0..200).map(user).collect();
    let (line, rest) = user_list(&users);
    assert!(frame(Framing::Lengths, &line).len() <= MAX_SENT);
    assert!(frame(Framing::Lines, &line).len() <= MAX_SENT);
    let Ok(Said::UserList(listed)) = parse(&line) else { panic!("{line}") };
    assert_eq!([listed.as_slice(), rest].concat(), users);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..12),
        "[ -~äß€]{0,20}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            &b"REGISTER nico 5\n"[..],
            b"BROADCAST ",
            b"USERLIST a:1.2.3.4:5 ",
            b"\n",
            b"\r\n",
            b"\0\0\0\x05QUIT ",
            b"\0\0\0\0",
            b"\0\0\0\x02x",
        ])
        .prop_map(<[u8]>::to_vec),
        Just(vec![b'y'; MAX_FRAME]),
    ]
}

proptest! {
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(pieces in vec(piece(), 0..8), size in 1usize..40) {
        let bytes = pieces.concat();
        prop_assert_eq!(read(&bytes, size), read(&bytes, bytes.len()));
    }

    #[test]
    fn what_is_framed_reads_back(texts in vec("[a-zäß€😀 ]{1,60}", 1..6), lengths: bool, size in 1usize..30) {
        let framing = if lengths { Framing::Lengths } else { Framing::Lines };
        let bytes: Vec<u8> = texts.iter().flat_map(|t| frame(framing, &format!("ERROR {t}"))).collect();
        let read: Vec<String> = read(&bytes, size).into_iter().map(Result::unwrap).collect();
        let said: Vec<String> = texts.iter().map(|t| format!("ERROR {t}")).collect();
        prop_assert_eq!(read, said);
    }
}
