//! Private chats, both ways, as captured and as they go wrong.

use super::super::codec::{Framing, frame};
use super::super::machine::Setup;
use super::super::{ASK_MS, MAX_ASKS_PER_SOURCE, MAX_CHATS, MAX_TEXT, MAX_WAITING};
use super::{Bench, ME, at, contact, setup};
use crate::dialect::heard::{Chat, ChatId, Contact, Heard, To};
use crate::model::{Bind, IoError, StreamId, Trouble, UserId};

const NICO: &str = "10.0.0.12:48255";

/// Our server, with nico at it in lines.
fn with_nico() -> (Bench, Contact) {
    let mut b = Bench::new(setup(), &["box"]);
    b.client("10.0.0.12:51146", "nico", 48255);
    b.take_heard();
    (b, contact("nico", NICO))
}

/// A chat that we asked for, open; the stream he made.
fn open(b: &mut Bench, nico: &Contact) -> (ChatId, StreamId) {
    let id = b.m.chat_ask(b.now, ME, nico).unwrap();
    b.settle();
    let stream = b.accept(9001, "10.0.0.12:41878");
    b.say(stream, "nico");
    assert_eq!(b.told(stream), "box");
    (id, stream)
}

#[test]
fn we_ask_he_connects_and_both_write() {
    let (mut b, nico) = with_nico();
    let (id, stream) = open(&mut b, &nico);
    assert_eq!(b.sent, [(at(NICO), "CHAT_REQUEST 9001".into())]);
    assert_eq!(b.chat(), (id, Chat::Open(nico.clone(), ME)));
    b.say(stream, "Hi Box, wie geht es?\n");
    let text = Heard::Text {
        from: nico.clone(),
        to: Some(ME),
        text: "Hi Box, wie geht es?".into(),
        said: None,
    };
    assert_eq!(b.heard.last(), Some(&text));
    b.m.send(b.now, 5, ME, &To::Contact(nico.clone()), "gut, danke");
    b.settle();
    assert_eq!(b.told(stream), "gut, danke\n");
    assert_eq!(b.heard.last(), Some(&Heard::Sent(5)));
    b.say(stream, "[DISCONNECT]\n");
    assert_eq!(b.chat(), (id, Chat::Over(nico, ME, "the other end closed it".into())));
    assert!(b.closed.contains(&stream));
}

#[test]
fn he_asks_we_accept_and_close() {
    let (mut b, nico) = with_nico();
    // in lines a request comes from anywhere
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    let (id, asked) = b.chat();
    assert_eq!(asked, Chat::Asked(nico.clone(), ME));
    assert!(b.connects.is_empty(), "nobody has accepted yet");
    assert!(b.m.chat_accept(b.now, id));
    b.settle();
    let (stream, to) = b.connects.pop().unwrap();
    assert_eq!(to, at("10.0.0.12:45311"));
    b.m.connected(b.now, stream);
    b.settle();
    assert_eq!(b.told(stream), "box");
    b.say(stream, "nico");
    assert_eq!(b.chat(), (id, Chat::Open(nico.clone(), ME)));
    assert!(b.m.chat_close(b.now, id));
    b.settle();
    assert_eq!(b.told(stream), "[DISCONNECT]\n");
    assert_eq!(b.chat(), (id, Chat::Over(nico, ME, "closed".into())));
    assert!(b.closed.contains(&stream));
    assert!(!b.m.chat_close(b.now, id) && !b.m.chat_accept(b.now, id));
}

#[test]
fn in_lengths_texts_have_no_end_and_the_last_comes_with_the_goodbye() {
    let mut b = Bench::new(setup(), &["box"]);
    let client = b.accept(9000, "10.0.0.13:1");
    b.bytes(client, &frame(Framing::Lengths, "REGISTER anna 36830"));
    let anna = contact("anna", "10.0.0.13:36830");
    let id = b.m.chat_ask(b.now, ME, &anna).unwrap();
    b.settle();
    assert_eq!(b.sent.pop().unwrap(), (anna.at, "\0\0\0\x11CHAT_REQUEST 9001".into()));
    let stream = b.accept(9001, "10.0.0.13:51386");
    b.say(stream, "anna");
    assert_eq!(b.told(stream), "box");
    b.say(stream, "gut, danke");
    b.m.send(b.now, 5, ME, &To::Contact(anna.clone()), "Hi Anna");
    b.m.send(b.now, 6, ME, &To::Contact(anna), "noch was");
    b.settle();
    let first: Vec<_> = b.written.iter().filter(|(s, _)| *s == stream).collect();
    assert_eq!(first.len(), 1, "two texts in one read would be one");
    assert_eq!(b.told(stream), "Hi Annanoch was");
    b.say(stream, "und tschüss[DISCONNECT]");
    assert_eq!(
        b.texts()[..],
        [("anna".into(), "gut, danke".into()), ("anna".into(), "und tschüss".into())]
    );
    assert!(matches!(b.chat(), (i, Chat::Over(..)) if i == id));
}

#[test]
fn refusing_is_said_where_each_program_can_hear_it() {
    let (mut b, nico) = with_nico();
    b.datagram(9001, "10.0.0.12:48782", "CHAT_REQUEST 48387");
    let (id, _) = b.chat();
    assert!(b.m.chat_refuse(b.now, id));
    b.settle();
    assert_eq!(b.sent.pop().unwrap(), (at("10.0.0.12:48387"), "CHAT_REJECTED".into()));
    assert_eq!(b.chat(), (id, Chat::Over(nico, ME, "refused".into())));
    b.datagram(9001, NICO, "\0\0\0\x12CHAT_REQUEST 42119");
    let (id, _) = b.chat();
    b.m.chat_refuse(b.now, id);
    b.settle();
    assert_eq!(b.sent.pop().unwrap(), (at(NICO), "\0\0\0\x0eCHAT_REJECTED ".into()));
}

/// A client in lines sends its refusal by UDP to the number of our TCP port.
#[test]
fn a_refusal_is_heard_and_no_answer_is_told() {
    let (mut b, nico) = with_nico();
    let id = b.m.chat_ask(b.now, ME, &nico).unwrap();
    b.m.send(b.now, 5, ME, &To::Contact(nico.clone()), "bist du da?");
    b.settle();
    b.datagram(9001, NICO, "CHAT_REJECTED");
    assert_eq!(b.chat(), (id, Chat::Over(nico.clone(), ME, "he refused".into())));
    assert!(
        b.heard.iter().any(|h| matches!(h, Heard::NotSent(5, e) if e.text.contains("refused")))
    );
    let id = b.m.chat_ask(b.now, ME, &nico).unwrap();
    b.pass(ASK_MS - 1);
    assert!(b.m.chat_ask(b.now, ME, &nico).unwrap_err().contains("asked already"));
    b.pass(1);
    assert_eq!(b.chat(), (id, Chat::Over(nico.clone(), ME, "no answer".into())));
    let late = b.accept(9001, "10.0.0.12:41878");
    assert!(b.closed.contains(&late));
    // and nothing at his port at all
    let id = b.m.chat_ask(b.now, ME, &nico).unwrap();
    b.settle();
    let socket = b.socket(Bind::Udp(9001));
    let error = IoError::new(Trouble::Refused, "nobody listens there");
    b.m.unreachable(b.now, socket, nico.at, b"CHAT_REQUEST 9001", &error);
    b.settle();
    let why = "he cannot be asked: nobody listens there";
    assert_eq!(b.chat(), (id, Chat::Over(nico, ME, why.into())));
}

#[test]
fn accepting_too_late_is_told() {
    let (mut b, nico) = with_nico();
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    let (id, _) = b.chat();
    b.m.chat_accept(b.now, id);
    b.settle();
    let (stream, _) = b.connects.pop().unwrap();
    b.m.stream_closed(b.now, stream, &IoError::new(Trouble::Refused, "nobody listens there"));
    b.settle();
    let why = "he does not wait for it any more";
    assert_eq!(b.chat(), (id, Chat::Over(nico.clone(), ME, why.into())));
    // nobody accepts at all
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    b.pass(ASK_MS);
    assert!(matches!(b.chat().1, Chat::Over(_, _, why) if why.contains("not answered in time")));
}

#[test]
fn never_two_with_the_same_partner_and_several_with_others() {
    let (mut b, nico) = with_nico();
    b.client("10.0.0.13:2", "anna", 7);
    let (_, stream) = open(&mut b, &nico);
    assert!(b.m.chat_ask(b.now, ME, &nico).unwrap_err().contains("open already"));
    b.sent.clear();
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    assert_eq!(b.sent, [(at("10.0.0.12:45311"), "CHAT_REJECTED".into())]);
    let second = b.accept(9001, "10.0.0.12:41879");
    assert!(b.closed.contains(&second), "a second connection");
    let anna = contact("anna", "10.0.0.13:7");
    b.m.chat_ask(b.now, ME, &anna).unwrap();
    b.settle();
    let hers = b.accept(9001, "10.0.0.13:41879");
    b.say(hers, "anna");
    b.say(hers, "von anna\n");
    b.say(stream, "von nico\n");
    assert_eq!(b.texts(), [("anna".into(), "von anna".into()), ("nico".into(), "von nico".into())]);
}

/// Both ask at once: the first in the alphabet is connected to, so one chat comes of it.
#[test]
fn when_both_ask_at_once_one_chat_comes_of_it() {
    // box before nico: ours stands
    let (mut b, nico) = with_nico();
    let id = b.m.chat_ask(b.now, ME, &nico).unwrap();
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    assert!(b.connects.is_empty());
    let stream = b.accept(9001, "10.0.0.12:41878");
    b.say(stream, "nico");
    assert_eq!(b.chat(), (id, Chat::Open(nico, ME)));
    // box after anna: hers stands
    let anna = contact("anna", "10.0.0.13:7");
    b.client("10.0.0.13:2", "anna", 7);
    let id = b.m.chat_ask(b.now, ME, &anna).unwrap();
    b.datagram(9001, "10.0.0.13:7", "CHAT_REQUEST 99");
    let (stream, to) = b.connects.pop().unwrap();
    assert_eq!(to, at("10.0.0.13:99"));
    let theirs = b.accept(9001, "10.0.0.13:41878");
    assert!(b.closed.contains(&theirs), "our request is taken back");
    b.m.connected(b.now, stream);
    b.settle();
    b.say(stream, "anna");
    assert_eq!(b.chat(), (id, Chat::Open(anna, ME)));
}

#[test]
fn a_message_opens_a_chat_and_leaves_when_it_is_open() {
    let (mut b, nico) = with_nico();
    b.m.send(b.now, 1, ME, &To::Contact(nico.clone()), "eins");
    b.m.send(b.now, 2, ME, &To::Contact(nico.clone()), "zwei");
    b.settle();
    assert_eq!(b.sent.len(), 1, "asked once");
    let stream = b.accept(9001, "10.0.0.12:41878");
    b.say(stream, "nico");
    assert_eq!(b.told(stream), "boxeins\nzwei\n");
    let sent: Vec<_> = b.heard.iter().filter(|h| matches!(h, Heard::Sent(_))).collect();
    assert_eq!(sent, [&Heard::Sent(1), &Heard::Sent(2)]);
    // writing to who asks is accepting
    let anna = contact("anna", "10.0.0.13:7");
    b.client("10.0.0.13:2", "anna", 7);
    b.datagram(9001, "10.0.0.13:7", "CHAT_REQUEST 99");
    b.m.send(b.now, 3, ME, &To::Contact(anna), "ja bitte?");
    b.settle();
    assert_eq!(b.connects.pop().map(|(_, to)| to), Some(at("10.0.0.13:99")));
}

#[test]
fn one_text_past_those_that_may_wait_is_not_sent() {
    let (mut b, nico) = with_nico();
    for n in 0..=MAX_WAITING as u64 {
        b.m.send(b.now, n, ME, &To::Contact(nico.clone()), "x");
    }
    b.settle();
    let not: Vec<_> = b.heard.iter().filter(|h| matches!(h, Heard::NotSent(..))).collect();
    assert!(matches!(not[..], [Heard::NotSent(n, _)] if *n == MAX_WAITING as u64), "{not:?}");
    let text = To::Contact(nico);
    b.m.send(b.now, 99, ME, &text, " [DISCONNECT] ");
    b.settle();
    assert!(matches!(b.heard.last(), Some(Heard::NotSent(99, _))), "it would end the chat");
}

#[test]
fn a_nickname_may_come_in_pieces_and_with_the_first_text() {
    let (mut b, nico) = with_nico();
    b.m.chat_ask(b.now, ME, &nico).unwrap();
    b.settle();
    let stream = b.accept(9001, "10.0.0.12:41878");
    b.say(stream, "ni");
    assert!(b.written.iter().all(|(s, _)| *s != stream));
    b.say(stream, "coHallo\n");
    assert_eq!(b.told(stream), "box");
    assert_eq!(b.texts(), [("nico".into(), "Hallo".into())]);
    // and never: then it is closed
    let anna = contact("anna", "10.0.0.13:7");
    b.client("10.0.0.13:2", "anna", 7);
    b.m.chat_ask(b.now, ME, &anna).unwrap();
    b.settle();
    let mute = b.accept(9001, "10.0.0.13:41878");
    b.pass(6_000);
    assert!(b.closed.contains(&mute));
}

#[test]
fn a_text_without_its_line_end_comes_when_nothing_more_does() {
    let (mut b, nico) = with_nico();
    let (id, stream) = open(&mut b, &nico);
    b.say(stream, "ohne Ende");
    assert!(b.texts().is_empty());
    b.pass(400);
    assert_eq!(b.texts(), [("nico".into(), "ohne Ende".into())]);
    b.say(stream, "letztes");
    b.m.stream_end(b.now, stream);
    b.settle();
    assert_eq!(b.texts().len(), 2);
    assert!(matches!(b.chat(), (i, Chat::Over(..)) if i == id));
}

#[test]
fn a_partner_without_line_ends_fills_no_memory_and_is_read_slowly() {
    let (mut b, nico) = with_nico();
    let (_, stream) = open(&mut b, &nico);
    b.read_more.clear();
    b.bytes(stream, &vec![b'x'; 16 * 1024]);
    assert_eq!(b.texts().iter().map(|(_, t)| t.len()).max(), Some(MAX_TEXT));
    b.bytes(stream, "y\n".repeat(8_000).as_bytes());
    assert!(b.texts().len() < 40);
    b.pass(10_000);
    assert!(b.texts().len() < 100, "{}", b.texts().len());
}

#[test]
fn strangers_and_one_past_the_limits_are_not_asked_about() {
    let (mut b, _) = with_nico();
    b.datagram(9001, "10.0.0.99:5", "CHAT_REQUEST 45311");
    b.datagram(9001, "192.168.7.7:5", "CHAT_REQUEST 45311");
    assert!(b.heard.iter().all(|h| !matches!(h, Heard::Chat(..))));
    assert!(b.complaints()[0].contains("nobody in the room"));
    // nico's host has more people than may ask at once
    for n in 0..=MAX_ASKS_PER_SOURCE as u16 {
        b.client(&format!("10.0.0.12:{}", 100 + n), &format!("n{n}"), 600 + n);
        b.datagram(9001, &format!("10.0.0.12:{}", 600 + n), &format!("CHAT_REQUEST {}", 700 + n));
    }
    let asked = b.heard.iter().filter(|h| matches!(h, Heard::Chat(_, Chat::Asked(..)))).count();
    assert_eq!(asked, MAX_ASKS_PER_SOURCE);
    assert_eq!(b.sent, [(at("10.0.0.12:702"), "CHAT_REJECTED".into())]);
}

#[test]
fn one_chat_past_the_limit_is_refused_with_a_word() {
    let mut b = Bench::new(setup(), &["box"]);
    for n in 0..=MAX_CHATS as u16 {
        let asked =
            b.m.chat_ask(b.now, ME, &contact(&format!("u{n}"), &format!("10.0.0.9:{}", n + 1)));
        assert_eq!(asked.is_ok(), usize::from(n) < MAX_CHATS, "{asked:?}");
    }
    assert!(b.m.chat_ask(b.now, UserId(7), &contact("x", NICO)).is_err(), "no such user");
}

/// Several people at one address: who asks is known when he says so.
#[test]
fn of_several_at_one_address_the_asker_says_who_he_is() {
    let (mut b, nico) = with_nico();
    b.client("10.0.0.12:7", "anna", 777);
    b.datagram(9001, "10.0.0.12:60401", "CHAT_REQUEST 45311");
    let (id, Chat::Asked(who, _)) = b.chat() else { panic!() };
    assert_eq!(who.name, "10.0.0.12");
    b.m.chat_accept(b.now, id);
    b.settle();
    let (stream, _) = b.connects.pop().unwrap();
    b.m.connected(b.now, stream);
    b.say(stream, "nico");
    assert_eq!(b.chat(), (id, Chat::Open(nico, ME)));
    // in lengths the request comes from the registered port
    b.datagram(9001, "10.0.0.12:777", "\0\0\0\x12CHAT_REQUEST 54343");
    assert_eq!(b.chat().1, Chat::Asked(contact("anna", "10.0.0.12:777"), ME));
}

#[test]
fn at_anothers_server_partners_are_asked_in_its_framing() {
    let server = at("10.0.0.11:9000");
    let mut b = Bench::new(Setup { serve: false, connect: Some(server), ..setup() }, &["box"]);
    let (stream, _) = b.connects.pop().unwrap();
    b.m.connected(b.now, stream);
    b.pass(3_000);
    let (stream, _) = b.connects.pop().unwrap();
    b.m.connected(b.now, stream);
    b.settle();
    b.bytes(stream, &frame(Framing::Lengths, "WELCOME box"));
    b.bytes(stream, &frame(Framing::Lengths, "USERLIST box:10.0.0.1:9001 anna:10.0.0.13:4"));
    b.m.chat_ask(b.now, ME, &contact("anna", "10.0.0.13:4")).unwrap();
    b.settle();
    assert_eq!(b.sent, [(at("10.0.0.13:4"), "\0\0\0\x11CHAT_REQUEST 9001".into())]);
}

#[test]
fn goodbye_is_said_to_partners_and_who_asks_is_refused() {
    let (mut b, nico) = with_nico();
    let (_, stream) = open(&mut b, &nico);
    b.client("10.0.0.13:2", "anna", 7);
    b.datagram(9001, "10.0.0.13:7", "CHAT_REQUEST 99");
    b.sent.clear();
    b.m.goodbye();
    b.settle();
    assert_eq!(b.told(stream), "[DISCONNECT]\n");
    assert_eq!(b.sent, [(at("10.0.0.13:99"), "CHAT_REJECTED".into())]);
}
