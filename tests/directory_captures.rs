//! Replay: the capture of program 003, with our machine in the place of the server, and of each
//! client.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

mod replay;

use klatsch::dialect::directory::{Machine, Said, Setup, Shown, parse};
use klatsch::dialect::heard::{Chat, Heard, To};
use klatsch::model::{Bind, UserId};
use replay::{Bench, Message, load};

const CAPTURE: &str = "003-loopback-unmodified";
const SERVER: &str = "127.0.0.1:5000";
const MERT: &str = "127.0.0.1:53833";

fn machine(serve: bool, loopback: bool) -> Machine {
    let connect = (!serve).then(|| SERVER.parse().unwrap());
    Machine::new(Setup { port: 5000, serve, connect, chat_port: 5001, loopback })
}

/// Everyone in a list; its order is the server's business.
fn sorted(bytes: &[u8]) -> Result<Vec<String>, String> {
    match parse(bytes) {
        Ok(Said::List(users)) => {
            let mut users: Vec<String> =
                users.into_iter().map(|(name, at)| format!("{name} {at}")).collect();
            users.sort();
            Ok(users)
        }
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn in_the_servers_place_we_say_what_it_said() {
    let messages = load("directory", CAPTURE);
    let mut b = Bench::new(machine(true, false), [10, 0, 0, 1]);
    for m in messages.iter().filter(|m| m.dst == SERVER) {
        b.datagram(Bind::Udp(5000), &m.src, &m.bytes);
        b.pass(1_000);
    }
    let said: Vec<&Message> = messages.iter().filter(|m| m.src == SERVER).collect();
    assert_eq!(b.sent.len(), said.len(), "what killed it was not answered");
    for ((to, ours), theirs) in b.sent.iter().zip(said) {
        assert_eq!(to.to_string(), theirs.dst);
        assert_eq!(sorted(ours), sorted(&theirs.bytes), "{}", theirs.text());
        assert_eq!(ours.len(), theirs.bytes.len());
    }
    // first login, byte for byte
    assert_eq!(b.sent[0].1, br#"{"Mert": ["127.0.0.1", 53833]}"#);
    let gone: Vec<_> = b.heard.iter().filter(|h| matches!(h, Heard::Gone(..))).collect();
    assert!(matches!(gone[..], [Heard::Gone(c, _)] if c.name == "Mert"));
}

#[test]
fn in_merts_place_we_log_in_chat_and_log_out_as_he_did() {
    let messages = load("directory", CAPTURE);
    let mut b = Bench::new(machine(false, false), [10, 0, 0, 1]);
    b.m.set_users(b.now, vec![Shown { name: "Mert".into(), user: UserId(0) }]);
    b.settle();
    let his: Vec<&Message> = messages.iter().filter(|m| m.src == MERT).collect();
    assert_eq!(b.sent[0].1, his[0].bytes);
    for m in messages.iter().filter(|m| m.dst == MERT).take(1) {
        b.datagram(Bind::Udp(0), SERVER, &m.bytes);
    }
    let semih = b.heard.iter().any(|h| matches!(h, Heard::Here(c) if c.name == "Semih"));
    assert!(!semih, "alone at first");
    b.datagram(Bind::Udp(0), SERVER, &messages[5].bytes);
    let semih = b.contact("Semih");
    let texts: Vec<String> = messages
        .iter()
        .filter(|m| m.stream == Some(0) && m.text().starts_with("Mert: "))
        .map(|m| m.text()["Mert: ".len()..].to_owned())
        .collect();
    let (last, texts) = texts.split_last().unwrap();
    assert_eq!(last, "/back");
    b.m.send(b.now, 1, UserId(0), &To::Contact(semih.clone()), &texts[0]);
    b.settle();
    let (stream, to) = b.connects.pop().unwrap();
    assert_eq!(to.to_string(), "127.0.0.1:5001");
    b.m.connected(b.now, stream);
    b.settle();
    b.bytes(stream, b"Semih: hi Mert");
    b.m.send(b.now, 2, UserId(0), &To::Contact(semih), &texts[1]);
    let (id, _) = b.chat();
    b.settle();
    b.pass(1_000);
    b.m.chat_close(b.now, id);
    b.settle();
    b.pass(1_000);
    // what the real client sends in one write of 156 bytes, which reads of 100 cut, comes in two
    let parts: Vec<String> = b
        .written
        .iter()
        .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
        .map(|text| text.strip_prefix("Mert: ").unwrap().to_owned())
        .collect();
    assert_eq!((&parts[0], parts[1..3].concat()), (&texts[0], texts[1].clone()));
    assert_eq!(parts[3], "/back");
    let sent = b.sent.len();
    b.m.goodbye();
    b.settle();
    assert_eq!(b.sent.last().unwrap().1, his.last().unwrap().bytes, "the logout");
    assert_eq!(b.sent[sent].1, his[0].bytes, "after a login, so that the name is known");
}

#[test]
fn in_semihs_place_we_hear_what_he_heard() {
    let messages = load("directory", CAPTURE);
    let mut b = Bench::new(machine(false, true), [10, 0, 0, 1]);
    b.m.set_users(b.now, vec![Shown { name: "Semih".into(), user: UserId(0) }]);
    b.settle();
    b.datagram(Bind::Udp(0), SERVER, &messages[3].bytes);
    let chat: Vec<&Message> = messages.iter().filter(|m| m.stream == Some(0)).collect();
    let stream = b.accept(Bind::TcpAt("127.0.0.1:5001".parse().unwrap()), &chat[0].src);
    let (id, asked) = b.chat();
    assert!(matches!(asked, Chat::Asked(who, _) if who.name == "Mert"));
    b.m.chat_accept(b.now, id);
    for m in chat.iter().filter(|m| m.src.ends_with(":36000")) {
        b.bytes(stream, &m.bytes);
    }
    let text = |h: &Heard| match h {
        Heard::Text { from, text, .. } => Some((from.name.clone(), text.clone())),
        _ => None,
    };
    let texts: Vec<_> = b.heard.iter().filter_map(text).collect();
    assert_eq!(texts[0], ("Mert".into(), "merhaba dünya".into()));
    assert_eq!((texts[1].1.len(), texts.len()), (150, 2));
    assert!(matches!(b.chat().1, Chat::Over(_, _, why) if why == "he closed it"));
}
