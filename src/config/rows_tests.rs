//! Every row: its values, its bounds, its neighbours.

use super::*;
use crate::config::web;
use crate::model::limits::{MAX_AUTOREPLY, MAX_HANDLE};

#[test]
fn every_row_takes_back_what_it_shows() {
    let settings = Settings::default();
    for row in rows() {
        let mut other = Settings::default();
        row.set(&mut other, &row.get(&settings)).unwrap();
        assert_eq!(other, settings, "{}", row.key);
        assert!(!row.help.is_empty() && !row.expected.is_empty(), "{}", row.key);
    }
    assert_eq!(view(&settings).len(), rows().count());
}

#[test]
fn switches_take_words_in_any_case() {
    let mut s = Settings::default();
    for (word, on) in [("ON", true), ("no", false), ("Yes", true), ("FALSE", false)] {
        set(&mut s, "Inactive", word).unwrap();
        assert_eq!(s.users[0].inactive, on, "{word}");
    }
    let error = set(&mut s, "inactive", "perhaps").err().unwrap();
    assert_eq!(error.to_string(), "inactive: found perhaps, expected on or off");
}

#[test]
fn values_one_past_their_bounds_change_nothing() {
    for (key, good, bad) in [
        ("port", "65535", "65536"),
        ("port", "1", "0"),
        ("outbox.keep", "60s", "59s"),
        ("outbox.keep", "365days", "366days"),
        ("slcp.announce", "3600", "3601"),
        ("slcp.announce", "5", "4"),
        ("max-image", "1G", "1073741825"),
        ("max-image", "1 KiB", "1023"),
        ("imagepath", "/srv/x", "x"),
        ("interfaces", "eth0, wlan0", "a/b"),
        ("slcp.broadcast", "255.255.255.255", "256.1.1.1"),
        ("handle", "anna", "an na"),
        ("hello.announce", "60", "61"),
        ("hello.announce", "1", "0"),
        ("hello.web-ports", "1, 2, 3, 4", "1, 2, 3, 4, 5"),
        ("hello.web-address", "0.0.0.0", "localhost"),
        ("hello.peer-id", "Tomas Novotny, C4b", "a\u{1b}b"),
        ("auto-accept", "anna, bob", "an na, b@b"),
        ("auto-accept", "*", "a:b"),
        ("room.connect", "10.0.0.1:9001", "10.0.0.1:0"),
        ("room.connect", "10.0.0.1", "room.example"),
        ("directory.connect", "127.0.0.1", "0.0.0.0"),
        ("room.chat-port", "65472", "65473"),
        ("room.chat-port", "1024", "1023"),
        ("web.guests", "31", "32"),
        ("web.stay", "10080", "10081"),
        ("web.upload", "1G", "1073741825"),
        ("web.quota", "1M", "1048575"),
        ("web.listen", "::1", "localhost"),
        ("web.names", "chat.lan", "chat/lan"),
        ("web.pin", "x", "x y"),
        ("history.keep", "60s", "59s"),
        ("history.entries", "10000000", "10000001"),
        ("history.entries", "100", "99"),
        ("history.bytes", "1024G", "1025G"),
        ("history.bytes", "1M", "1023K"),
        ("files.quota", "4096G", "4097G"),
        ("files.quota", "1M", "1023K"),
        ("files.when-full", "Refuse", "newest"),
        ("files.accept-images", "Verified", "friends"),
        ("files.accept-any", "anyone", ""),
        ("files.accept-size", "1G", "8192G"),
    ] {
        let mut s = Settings::default();
        set(&mut s, key, good).unwrap();
        let before = s.clone();
        assert!(set(&mut s, key, bad).is_err(), "{key} {bad}");
        assert_eq!(s, before, "{key} {bad}");
    }
    let mut s = Settings::default();
    set(&mut s, "autoreply", &"x".repeat(MAX_AUTOREPLY)).unwrap();
    assert!(set(&mut s, "autoreply", &"x".repeat(MAX_AUTOREPLY + 1)).is_err());
    set(&mut s, "hello.peer-id", &"x".repeat(MAX_HANDLE)).unwrap();
    assert!(set(&mut s, "hello.peer-id", &"x".repeat(MAX_HANDLE + 1)).is_err());
    let names = |n: usize| (0..n).map(|i| format!("n{i}")).collect::<Vec<_>>().join(",");
    set(&mut s, "auto-accept", &names(MAX_ACCEPTED)).unwrap();
    assert!(set(&mut s, "auto-accept", &names(MAX_ACCEPTED + 1)).is_err());
    let many = |n| (0..n).map(|i| format!("10.0.0.{}", i + 1)).collect::<Vec<_>>().join(",");
    let eths = |n: usize| (0..n).map(|i| format!("eth{i}")).collect::<Vec<_>>().join(",");
    set(&mut s, "interfaces", &eths(MAX_INTERFACES)).unwrap();
    assert!(set(&mut s, "interfaces", &eths(MAX_INTERFACES + 1)).is_err());
    set(&mut s, "web.pin", &"x".repeat(web::MAX_PIN)).unwrap();
    assert!(set(&mut s, "web.pin", &"x".repeat(web::MAX_PIN + 1)).is_err());
    set(&mut s, "web.names", &many(web::MAX_NAMES)).unwrap();
    assert!(set(&mut s, "web.names", &many(web::MAX_NAMES + 1)).is_err());
    set(&mut s, "slcp.broadcast", &many(MAX_BROADCAST)).unwrap();
    assert!(set(&mut s, "slcp.broadcast", &many(MAX_BROADCAST + 1)).is_err());
}

#[test]
fn an_unknown_key_is_told_the_nearest() {
    for (typed, meant) in [
        ("handel", "handle"),
        ("anounce", "slcp.announce"),
        ("slcp.prot", "slcp.port"),
        ("image_path", "imagepath"),
        ("prt", "port"),
        ("", "led"),
    ] {
        assert_eq!(nearest(typed), meant, "{typed}");
    }
    nearest(&"ä".repeat(100_000));
    assert!(unknown("handel").to_string().ends_with("the nearest is handle"));
}

#[test]
fn an_autoreply_cannot_break_a_line_of_the_wire() {
    let mut s = Settings::default();
    set(&mut s, "autoreply", "a\nLEAVE b\u{1b}").unwrap();
    assert_eq!(s.users[0].autoreply, "a LEAVE b\u{fffd}");
}
