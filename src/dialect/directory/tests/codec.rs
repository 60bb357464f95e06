//! Datagrams.

use proptest::prelude::*;

use super::super::codec::{Bad, Said, list, parse, say};
use super::super::{MAX_DATAGRAM, MAX_NAME};
use super::{at, login};

#[test]
fn the_captured_datagrams_read_and_write_as_they_are() {
    let bytes = br#"{"Mert": ["127.0.0.1", 53833], "Semih": ["127.0.0.1", 57678]}"#;
    let users = vec![("Mert", at("127.0.0.1:53833")), ("Semih", at("127.0.0.1:57678"))];
    let read = users.iter().map(|(name, at)| (name.to_string(), *at)).collect();
    assert_eq!(parse(bytes), Ok(Said::List(read)));
    assert_eq!(list(users.into_iter()), bytes);
    assert_eq!(say("login", "Mert"), br#"{"type": "login", "username": "Mert"}"#);
    assert_eq!(
        say("logout", "Jürg 😀"),
        br#"{"type": "logout", "username": "J\u00fcrg \ud83d\ude00"}"#
    );
    assert_eq!(parse(&say("logout", "Jürg 😀")), Ok(Said::Logout("Jürg 😀".into())));
    assert_eq!(parse(b"logout success"), Ok(Said::LoggedOut));
    assert_eq!(parse(b"{}"), Ok(Said::List(Vec::new())));
}

#[test]
fn rubbish_is_refused() {
    for bad in [&b""[..], b"[", b"[]", b"7", b"\xff\xfe", b"{\"type\": \"login\""] {
        assert_eq!(parse(bad), Err(Bad::NotJson), "{bad:?}");
    }
    for bad in [r#"{"type":"list"}"#, r#"{"type":7}"#, r#"{"a":1}"#] {
        assert_eq!(parse(bad.as_bytes()), Err(Bad::Type), "{bad}");
    }
    for bad in [r#"{"type":"login"}"#, r#"{"type":"login","username":7}"#] {
        assert_eq!(parse(bad.as_bytes()), Err(Bad::Name), "{bad}");
    }
    for name in ["", " ", "a\\nb", "\\u202eb"] {
        assert_eq!(parse(login(name).as_bytes()), Err(Bad::Name), "{name:?}");
    }
    let entries = br#"{"a": [], "b": ["x", 1], "c": ["1.2.3.4", 70000], "d": ["1.2.3.4", 5]}"#;
    assert_eq!(parse(entries), Ok(Said::List(vec![("d".into(), at("1.2.3.4:5"))])));
}

#[test]
fn one_past_the_limits_is_refused() {
    assert!(parse(login(&"n".repeat(MAX_NAME)).as_bytes()).is_ok());
    assert_eq!(parse(login(&"n".repeat(MAX_NAME + 1)).as_bytes()), Err(Bad::Name));
    let padded = |n: usize| format!("{}{}", login("a"), " ".repeat(n - login("a").len()));
    assert!(parse(padded(MAX_DATAGRAM).as_bytes()).is_ok());
    assert_eq!(parse(padded(MAX_DATAGRAM + 1).as_bytes()), Err(Bad::TooLong));
}

#[test]
fn deep_nesting_is_refused_and_overflows_nothing() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(MAX_DATAGRAM / open.len());
        assert_eq!(parse(deep.as_bytes()), Err(Bad::NotJson));
    }
}

#[test]
fn a_list_is_never_longer_than_a_datagram_and_the_first_are_in_it() {
    let names: Vec<String> = (0..200).map(|n| format!("user{n:03}")).collect();
    let users = names.iter().map(|name| (name.as_str(), at("192.168.100.100:50000")));
    let bytes = list(users);
    assert!(bytes.len() <= MAX_DATAGRAM && bytes.len() > MAX_DATAGRAM - 60);
    let Ok(Said::List(read)) = parse(&bytes) else { panic!() };
    assert_eq!(read[0].0, "user000");
}

proptest! {
    #[test]
    fn any_name_reads_back(name in "\\PC{1,16}") {
        prop_assume!(super::super::codec::name(&name).is_some());
        prop_assert_eq!(parse(&say("login", &name)), Ok(Said::Login(name)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
