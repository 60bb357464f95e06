//! Chats, both ways.

use super::super::machine::Setup;
use super::super::{ASKED_MS, MAX_CHATS, MAX_PARTS, MAX_READ, MAX_TEXT, MAX_WAITING};
use super::{Bench, ME, at, contact, login, setup};
use crate::dialect::heard::{Chat, Contact, Heard, To};
use crate::model::limits::MAX_STREAMS_PER_SOURCE;
use crate::model::{Bind, IoError, StreamId, Trouble, UserId};

fn with_mert() -> (Bench, Contact) {
    let mut b = Bench::new(setup(), &["Semih", "gast"]);
    b.asks("10.0.0.12:53833", &login("Mert"));
    b.heard.clear();
    (b, contact("Mert", "10.0.0.12:53833"))
}

fn open(b: &mut Bench, mert: &Contact) -> StreamId {
    b.m.chat_ask(b.now, ME, mert).unwrap();
    b.settle();
    let (stream, to) = b.connects.pop().unwrap();
    assert_eq!(to, at("10.0.0.12:5001"));
    b.m.connected(b.now, stream);
    b.settle();
    stream
}

#[test]
fn we_connect_and_both_write() {
    let (mut b, mert) = with_mert();
    let stream = open(&mut b, &mert);
    let (id, open) = b.chat();
    assert_eq!(open, Chat::Open(mert.clone(), ME));
    b.say(stream, "Mert: merhaba dünya");
    let text =
        Heard::Text { from: mert.clone(), to: Some(ME), text: "merhaba dünya".into(), said: None };
    assert_eq!(b.heard.last(), Some(&text));
    b.m.send(b.now, 7, ME, &To::Contact(mert.clone()), "hi Mert");
    b.settle();
    assert_eq!(b.told(stream), ["Semih: hi Mert"]);
    assert_eq!(b.heard.last(), Some(&Heard::Sent(7)));
    b.say(stream, "Mert: /back");
    assert_eq!(b.chat(), (id, Chat::Over(mert, ME, "he closed it".into())));
    assert!(b.closed.contains(&stream));
}

#[test]
fn he_connects_and_is_heard_once_he_is_accepted() {
    let (mut b, mert) = with_mert();
    let stream = b.accept("10.0.0.12:36000");
    let (id, asked) = b.chat();
    assert_eq!(asked, Chat::Asked(mert.clone(), ME), "it reaches the box's user");
    b.say(stream, "Mert: bist du da?");
    assert!(b.texts().is_empty() && b.read_more.is_empty(), "it waits");
    assert!(b.m.chat_accept(b.now, id));
    b.settle();
    assert_eq!(b.texts(), [("Mert".into(), "bist du da?".into())]);
    assert_eq!(b.read_more, [stream]);
    assert!(b.m.chat_close(b.now, id));
    b.settle();
    assert_eq!(b.told(stream), ["Semih: /back"]);
    assert!(b.closed.contains(&stream));
    let refused = b.accept("10.0.0.12:36001");
    let (id, _) = b.chat();
    assert!(b.m.chat_refuse(b.now, id));
    b.settle();
    assert!(b.closed.contains(&refused));
    let forgotten = b.accept("10.0.0.12:36002");
    b.pass(ASKED_MS);
    assert!(b.closed.contains(&forgotten));
}

/// The real client reads 100 bytes at once and decodes each read for itself.
#[test]
fn no_write_is_longer_than_a_read_or_cuts_a_character_and_each_has_its_time() {
    let (mut b, mert) = with_mert();
    let stream = open(&mut b, &mert);
    let text = "merhaba dünya, grüße €uch alle zusammen ".repeat(12);
    b.m.send(b.now, 7, ME, &To::Contact(mert.clone()), &text);
    b.settle();
    assert_eq!(b.written.len(), 1, "the rest waits its turn");
    let told = b.told(stream);
    assert!(told.len() > 4);
    assert!(told.iter().all(|t| t.len() <= MAX_READ && t.starts_with("Semih: ")), "{told:?}");
    let words: Vec<&str> = told.iter().map(|t| &t["Semih: ".len()..]).collect();
    assert_eq!(words.join(" "), text.trim());
    assert_eq!(b.heard.iter().filter(|h| **h == Heard::Sent(7)).count(), 1);
    b.m.send(b.now, 8, ME, &To::Contact(mert), &"x".repeat(MAX_READ * MAX_PARTS));
    b.settle();
    assert!(matches!(b.heard.last(), Some(Heard::NotSent(8, e)) if e.kind == Trouble::TooLarge));
}

#[test]
fn his_longer_texts_come_in_pieces_that_are_read_as_his() {
    let (mut b, mert) = with_mert();
    let stream = open(&mut b, &mert);
    b.say(stream, "Mert: wie: du siehst");
    b.say(stream, "der Rest davon");
    assert_eq!(
        b.texts(),
        [("Mert".into(), "wie: du siehst".into()), ("Mert".into(), "der Rest davon".into())]
    );
}

#[test]
fn who_does_not_wait_for_a_chat_is_told() {
    let (mut b, mert) = with_mert();
    b.m.send(b.now, 7, ME, &To::Contact(mert.clone()), "da?");
    b.settle();
    let (stream, _) = b.connects.pop().unwrap();
    b.m.stream_closed(b.now, stream, &IoError::new(Trouble::Refused, "nobody listens there"));
    b.settle();
    assert_eq!(b.chat().1, Chat::Over(mert, ME, "he does not wait for a chat".into()));
    assert!(b.heard.iter().any(|h| matches!(h, Heard::NotSent(7, _))));
}

#[test]
fn a_message_makes_a_chat_and_accepts_one() {
    let (mut b, mert) = with_mert();
    for n in 0..=MAX_WAITING as u64 {
        b.m.send(b.now, n, ME, &To::Contact(mert.clone()), &format!("{n}"));
    }
    b.settle();
    assert_eq!(b.connects.len(), 1);
    let not: Vec<_> = b.heard.iter().filter(|h| matches!(h, Heard::NotSent(..))).collect();
    assert!(matches!(not[..], [Heard::NotSent(16, _)]), "{not:?}");
    let (stream, _) = b.connects.pop().unwrap();
    b.m.connected(b.now, stream);
    b.settle();
    assert_eq!(b.told(stream).len(), MAX_WAITING);
    let (mut b, mert) = with_mert();
    let stream = b.accept("10.0.0.12:36000");
    b.m.send(b.now, 1, ME, &To::Contact(mert.clone()), "ja?");
    b.settle();
    assert_eq!(b.told(stream), ["Semih: ja?"]);
    b.m.send(b.now, 2, ME, &To::Contact(mert), "/back");
    b.settle();
    assert!(matches!(b.heard.last(), Some(Heard::NotSent(2, _))), "it would end the chat");
}

#[test]
fn never_two_with_the_same_partner() {
    let (mut b, mert) = with_mert();
    open(&mut b, &mert);
    assert!(b.m.chat_ask(b.now, ME, &mert).unwrap_err().contains("open already"));
    let second = b.accept("10.0.0.12:36001");
    assert!(b.closed.contains(&second));
    // of several at one address, one who has a chat already
    b.asks("10.0.0.12:9", &login("Ali"));
    let third = b.accept("10.0.0.12:36002");
    let (id, Chat::Asked(who, _)) = b.chat() else { panic!() };
    assert_eq!(who.name, "10.0.0.12");
    b.m.chat_accept(b.now, id);
    b.say(third, "Mert: ich wieder");
    assert!(b.closed.contains(&third) && b.texts().is_empty());
    let ali = b.accept("10.0.0.12:36003");
    let (id, _) = b.chat();
    b.m.chat_accept(b.now, id);
    b.say(ali, "Ali: ich");
    assert_eq!(b.texts(), [("Ali".into(), "ich".into())]);
    assert!(b.m.chat_ask(b.now, UserId(9), &mert).is_err(), "no such user");
}

#[test]
fn one_past_the_limits_is_turned_away() {
    let (mut b, _) = with_mert();
    b.asks("10.0.0.12:9", &login("Ali"));
    let mut open = 0;
    for n in 0..=MAX_STREAMS_PER_SOURCE {
        // each is somebody else of that address
        let stream = b.accept(&format!("10.0.0.12:{}", 100 + n));
        open += usize::from(!b.closed.contains(&stream));
        if let (id, Chat::Asked(..)) = b.chat() {
            b.m.chat_accept(b.now, id);
            let name = format!("n{n}");
            b.asks(&format!("10.0.0.12:{}", 200 + n), &login(&name));
            b.say(stream, &format!("{name}: x"));
        }
    }
    assert_eq!(open, MAX_STREAMS_PER_SOURCE);
    let mut b = Bench::new(setup(), &["box"]);
    for n in 0..=MAX_CHATS {
        let asked = b.m.chat_ask(b.now, ME, &contact(&format!("u{n}"), "10.0.0.9:1"));
        assert_eq!(asked.is_ok(), n < MAX_CHATS, "{asked:?}");
    }
    let mut b = Bench::new(setup(), &["box"]);
    let far = b.accept("192.168.7.7:1");
    assert!(b.closed.contains(&far), "off the link");
}

#[test]
fn a_partner_who_floods_is_read_slowly_and_fills_no_memory() {
    let (mut b, mert) = with_mert();
    let stream = open(&mut b, &mert);
    b.say(stream, &"x".repeat(16 * 1024));
    assert_eq!(b.texts().iter().map(|(_, t)| t.len()).max(), Some(MAX_TEXT));
    b.read_more.clear();
    b.say(stream, &"y\n".repeat(8_000));
    assert!(b.texts().len() < 30 && b.read_more.is_empty());
    b.pass(10_000);
    assert!(b.texts().len() < 100);
    b.m.stream_end(b.now, stream);
    b.settle();
    assert!(b.closed.contains(&stream));
}

#[test]
fn who_is_on_this_machine_is_met_at_the_loopback() {
    let mut b = Bench::new(setup(), &["box"]);
    b.asks("127.0.0.1:53833", &login("Mert"));
    let mert = contact("Mert", "127.0.0.1:53833");
    b.m.chat_ask(b.now, ME, &mert).unwrap();
    b.settle();
    assert_eq!(b.connects.pop().unwrap().1, at("127.0.0.1:5001"));
    let mut b = Bench::new(Setup { loopback: true, ..setup() }, &["box"]);
    assert!(b.socket(Bind::TcpAt(at("127.0.0.1:5001"))).0 != 0);
    assert!(b.m.chat_ask(b.now, ME, &mert).unwrap_err().contains("directory.loopback"));
}

#[test]
fn goodbye_ends_the_chats() {
    let (mut b, mert) = with_mert();
    let stream = open(&mut b, &mert);
    b.m.goodbye();
    b.settle();
    assert_eq!(b.written.pop(), Some((stream, b"Semih: /back".to_vec())));
    assert!(b.closed.contains(&stream));
}
