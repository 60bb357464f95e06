//! Logging in: at our server, and ours at another's.

use super::super::codec::{Said, parse};
use super::super::machine::Setup;
use super::super::{
    ALL_ANSWERS_BURST, ALL_ANSWERS_MS, ANSWER_BURST, EXPIRY_MS, MAX_DATAGRAM, MAX_LOST,
    MAX_PER_SOURCE, MAX_USERS, REFRESH_MS, REPLY_MS,
};
use super::{Bench, at, contact, login, logout, setup};
use crate::dialect::heard::Heard;
use crate::model::{Bind, IoError, Trouble};

const SERVER: &str = "10.0.0.9:5000";

fn guest() -> Setup {
    Setup { serve: false, connect: Some(at(SERVER)), ..setup() }
}

#[test]
fn a_login_is_answered_with_everyone_and_a_logout_as_captured() {
    let mut b = Bench::new(setup(), &["box", "gast"]);
    b.asks("10.0.0.12:53833", &login("Mert"));
    let own = "\"box\": [\"10.0.0.1\", 5000], \"gast\": [\"10.0.0.1\", 5000]";
    let list = format!("{{\"Mert\": [\"10.0.0.12\", 53833], {own}}}");
    assert_eq!(b.sent, [(at("10.0.0.12:53833"), list)]);
    b.now += 10;
    b.asks("10.0.0.13:57678", &login("Semih"));
    let list =
        format!("{{\"Semih\": [\"10.0.0.13\", 57678], {own}, \"Mert\": [\"10.0.0.12\", 53833]}}");
    assert_eq!(b.sent[1], (at("10.0.0.13:57678"), list));
    b.asks("10.0.0.12:53833", &logout("Mert"));
    assert_eq!(b.sent[2], (at("10.0.0.12:53833"), "logout success".into()));
    let mert = contact("Mert", "10.0.0.12:53833");
    assert_eq!(
        b.heard[1..],
        [
            Heard::Here(mert.clone()),
            Heard::Here(contact("Semih", "10.0.0.13:57678")),
            Heard::Gone(mert, "logged out".into())
        ]
    );
}

/// Each of these kills the real server.
#[test]
fn what_kills_the_real_server_gets_no_answer_or_a_harmless_one() {
    let mut b = Bench::new(setup(), &["box"]);
    for bad in ["{\"type\":\"list\"}", "no json", "[[[[[[", "{}"] {
        b.asks("10.0.0.12:1", bad);
    }
    assert!(b.sent.is_empty());
    assert_eq!(b.complaints().len(), 4);
    b.asks("10.0.0.12:1", &logout("nobody"));
    assert_eq!(b.sent, [(at("10.0.0.12:1"), "logout success".into())]);
}

#[test]
fn a_name_stays_with_its_bearer() {
    let mut b = Bench::new(setup(), &["box"]);
    b.asks("10.0.0.12:1", &login("Mert"));
    b.asks("10.0.0.66:1", &login("Mert"));
    b.asks("10.0.0.66:1", &login("Box"));
    b.asks("10.0.0.66:1", &logout("Mert"));
    assert_eq!(b.heard.iter().filter(|h| matches!(h, Heard::Here(_))).count(), 1);
    assert_eq!(b.m.logged_in(), 1);
    assert_eq!(b.complaints().len(), 3);
    assert!(b.sent[1].1.contains("\"Mert\": [\"10.0.0.12\", 1]"));
    // started again, he has another port
    b.asks("10.0.0.12:2", &login("Mert"));
    assert!(b.heard.contains(&Heard::Here(contact("Mert", "10.0.0.12:2"))));
    assert_eq!(b.m.logged_in(), 1);
}

#[test]
fn who_does_not_log_in_again_expires() {
    let mut b = Bench::new(setup(), &[]);
    b.asks("10.0.0.12:1", &login("Mert"));
    b.pass(EXPIRY_MS - 1);
    assert_eq!(b.m.logged_in(), 1);
    b.pass(1);
    assert_eq!(b.m.logged_in(), 0);
    assert!(matches!(b.heard.last(), Some(Heard::Gone(c, _)) if c.name == "Mert"));
}

#[test]
fn ten_thousand_logins_of_one_address_take_its_own_places_only() {
    let mut b = Bench::new(setup(), &["box"]);
    b.asks("10.0.0.12:1", &login("Mert"));
    for n in 0..10_000 {
        b.now += 1;
        b.asks("10.0.0.66:1", &login(&format!("m{n}")));
    }
    assert_eq!(b.m.logged_in(), 1 + MAX_PER_SOURCE);
    let answers = b.sent.iter().filter(|(to, _)| *to == at("10.0.0.66:1")).count();
    assert!(answers <= ANSWER_BURST as usize + 10, "{answers} in ten seconds");
    assert!(b.sent.iter().all(|(_, text)| text.len() <= MAX_DATAGRAM));
    b.asks("10.0.0.12:1", &login("Mert"));
    assert!(b.sent.last().unwrap().1.starts_with("{\"Mert\": [\"10.0.0.12\", 1], \"box\""));
}

#[test]
fn answers_to_all_addresses_together_are_few_in_a_second() {
    let mut b = Bench::new(setup(), &["box"]);
    b.sent.clear();
    let hosts = 20..20 + 3 * ALL_ANSWERS_BURST;
    for host in hosts.clone() {
        b.asks(&format!("10.0.0.{host}:1"), &login(&format!("m{host}")));
    }
    assert_eq!(b.sent.len(), ALL_ANSWERS_BURST as usize);
    b.now += ALL_ANSWERS_MS;
    b.asks("10.0.0.12:1", &login("Mert"));
    assert_eq!(b.sent.len(), ALL_ANSWERS_BURST as usize + 1);
    b.asks("10.0.0.12:1", &login("Mert"));
    assert_eq!(b.sent.len(), ALL_ANSWERS_BURST as usize + 1);
}

#[test]
fn one_login_past_the_table_takes_the_longest_unheard_place() {
    let mut b = Bench::new(setup(), &[]);
    for n in 0..=MAX_USERS {
        b.now += 1;
        let host = 2 + n / MAX_PER_SOURCE;
        b.asks(&format!("10.0.0.{host}:{}", n + 1), &login(&format!("u{n}")));
    }
    assert_eq!(b.m.logged_in(), MAX_USERS);
    let gone = |h: &&Heard| matches!(h, Heard::Gone(..));
    let gone: Vec<_> = b.heard.iter().filter(gone).collect();
    assert_eq!(gone, [&Heard::Gone(contact("u0", "10.0.0.2:1"), "others took the place".into())]);
    b.asks("192.168.7.7:1", &login("far"));
    assert_eq!(b.m.logged_in(), MAX_USERS, "off the link");
}

#[test]
fn ours_log_in_and_the_list_is_kept() {
    let mut b = Bench::new(guest(), &["box", "gast"]);
    assert_eq!(
        b.sent.drain(..).collect::<Vec<_>>(),
        [(at(SERVER), login("box")), (at(SERVER), login("gast"))]
    );
    let own = "\"box\": [\"10.0.0.1\", 7], \"gast\": [\"10.0.0.1\", 7]";
    b.answered(SERVER, &format!("{{{own}, \"Mert\": [\"127.0.0.1\", 53833]}}"));
    let mert = contact("Mert", "10.0.0.9:53833");
    assert_eq!(
        b.heard,
        [Heard::Session(contact("directory", SERVER), true), Heard::Here(mert.clone())]
    );
    b.pass(REFRESH_MS);
    assert_eq!(b.sent.len(), 2, "again from time to time");
    b.answered(SERVER, &format!("{{{own}}}"));
    assert_eq!(b.heard.last(), Some(&Heard::Gone(mert, "logged out".into())));
    b.answered("10.0.0.66:5000", "{\"x\": [\"10.0.0.66\", 1]}");
    assert!(matches!(b.heard.last(), Some(Heard::Complaint { .. })), "not from anyone");
}

/// A logout of a name that it does not know kills the real server: it may have been started
/// again, or never have heard the login.
#[test]
fn only_what_was_logged_in_is_logged_out_and_it_is_logged_in_right_before() {
    let mut b = Bench::new(guest(), &["box"]);
    b.sent.clear();
    b.m.goodbye();
    b.settle();
    assert!(b.sent.is_empty(), "no list held it");
    b.answered(SERVER, "{\"box\": [\"10.0.0.1\", 7]}");
    b.users(&["kiosk"]);
    let expected = [login("box"), logout("box"), login("kiosk")].map(|text| (at(SERVER), text));
    assert_eq!(b.sent, expected);
    b.sent.clear();
    b.answered(SERVER, "logout success");
    b.answered(SERVER, "{\"kiosk\": [\"10.0.0.1\", 7]}");
    b.m.goodbye();
    b.m.goodbye();
    b.settle();
    assert_eq!(b.sent, [login("kiosk"), logout("kiosk")].map(|text| (at(SERVER), text)));
    for (_, text) in &b.sent {
        assert!(matches!(parse(text.as_bytes()), Ok(Said::Login(_) | Said::Logout(_))));
    }
}

#[test]
fn a_server_that_is_not_there_is_said_once_and_tried_on() {
    let mut b = Bench::new(guest(), &["box"]);
    b.pass(REPLY_MS);
    assert_eq!(b.complaints().len(), 1, "{:?}", b.complaints());
    b.pass(REFRESH_MS * 10);
    assert_eq!(b.complaints().len(), 1);
    assert!(b.sent.len() >= 10);
    b.answered(SERVER, "{\"box\": [\"10.0.0.1\", 7], \"Mert\": [\"10.0.0.12\", 5]}");
    assert!(b.m.is_in());
    b.pass(REFRESH_MS * u64::from(MAX_LOST - 1));
    assert!(b.m.is_in(), "a datagram may be lost");
    b.pass(REFRESH_MS * 2);
    assert!(!b.m.is_in());
    assert!(b.heard.contains(&Heard::Session(contact("directory", SERVER), false)));
    assert!(b.heard.iter().any(|h| matches!(h, Heard::Gone(c, _) if c.name == "Mert")));
    // and told at once where the kernel knows it
    let mut b = Bench::new(guest(), &["box"]);
    let socket = b.socket(Bind::Udp(0));
    let error = IoError::new(Trouble::Refused, "nobody listens there");
    b.m.unreachable(b.now, socket, at(SERVER), b"{\"type\"", &error);
    b.settle();
    assert!(b.complaints()[0].contains("nobody listens there"));
}

#[test]
fn our_own_directory_is_not_logged_in_at() {
    let mut b = Bench::new(Setup { connect: Some(at("10.0.0.1:5000")), ..setup() }, &["box"]);
    b.pass(100_000);
    assert!(b.sent.is_empty());
    assert_eq!(b.complaints().len(), 1);
}

#[test]
fn a_port_that_another_program_has_is_said_and_tried_again() {
    let mut b = Bench::new(setup(), &["box"]);
    let server = b.socket(Bind::Udp(5000));
    b.m.bind_failed(b.now, server, IoError::new(Trouble::InUse, "python3 has it"));
    let chat = b.socket(Bind::TcpAt(at("10.0.0.1:5001")));
    b.m.bind_failed(b.now, chat, IoError::new(Trouble::InUse, "python3 has it"));
    b.settle();
    assert!(b.heard.contains(&Heard::Trouble(Some(
        "the directory's UDP port 5000 cannot be opened (python3 has it)".into()
    ))));
    assert!(b.complaints()[0].contains("10.0.0.1:5001"), "{:?}", b.complaints());
    b.heard.clear();
    b.pass(15_000);
    assert_eq!(b.heard, [Heard::Trouble(None)]);
}

/// 003's programs bind localhost: the port there is theirs.
#[test]
fn the_loopback_is_not_taken_unless_so_set() {
    let ports = |b: &Bench| {
        let at = |(_, bind): &(_, Bind)| match bind {
            Bind::TcpAt(at) => Some(at.to_string()),
            _ => None,
        };
        b.bound.iter().filter_map(at).collect::<Vec<_>>()
    };
    let mut b = Bench::new(setup(), &["box"]);
    assert_eq!(ports(&b), ["10.0.0.1:5001"]);
    let both = Bench::new(Setup { loopback: true, ..setup() }, &["box"]);
    assert_eq!(ports(&both), ["10.0.0.1:5001", "127.0.0.1:5001"]);
    let none = Bench::new(Setup { serve: false, ..setup() }, &["box"]);
    assert!(ports(&none).is_empty());
    b.m.set_links(b.now, Vec::new());
    b.settle();
    assert!(ports(&b).is_empty(), "an address that went is let go");
}
