//! Our users at another's server.

use super::super::codec::{Framing, frame};
use super::super::machine::Setup;
use super::super::{MAX_CANDIDATES, MAX_LISTED, WELCOME_MS};
use super::{Bench, ME, at, contact, setup};
use crate::dialect::heard::{Heard, To};
use crate::model::{IoError, StreamId, Trouble, UserId};

const SERVER: &str = "10.0.0.11:9000";

fn guest() -> Setup {
    Setup { serve: false, connect: Some(at(SERVER)), ..setup() }
}

/// The connection just asked for is made.
fn connected(b: &mut Bench) -> StreamId {
    let (stream, to) = b.connects.pop().expect("a connection");
    assert_eq!(to, at(SERVER));
    b.m.connected(b.now, stream);
    b.settle();
    stream
}

/// Registered in lines, with anna listed.
fn inside(b: &mut Bench) -> StreamId {
    let stream = connected(b);
    assert_eq!(b.told(stream), "REGISTER box 9001\n");
    b.say(stream, "WELCOME box\nUSERLIST box:10.0.0.1:9001 anna:10.0.0.13:45366\n");
    b.say(stream, "USER_JOINED box 10.0.0.1 9001\n");
    stream
}

#[test]
fn it_registers_lists_and_speaks() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = inside(&mut b);
    let anna = contact("anna", "10.0.0.13:45366");
    assert_eq!(
        b.take_heard(),
        [Heard::Session(contact("room", SERVER), true), Heard::Here(anna.clone())]
    );
    assert!(b.m.is_in());
    b.say(stream, "USER_JOINED bob 10.0.0.14 7\nBROADCAST_MSG anna Hallo  du\nUSER_LEFT bob\n");
    let bob = contact("bob", "10.0.0.14:7");
    assert_eq!(
        b.take_heard(),
        [
            Heard::Here(bob.clone()),
            Heard::Text { from: anna.clone(), to: None, text: "Hallo  du".into(), said: None },
            Heard::Gone(bob, "left".into())
        ]
    );
    b.m.send(b.now, 4, ME, &To::Everyone, "Grüße");
    b.settle();
    assert_eq!(b.told(stream), "BROADCAST box Grüße\n");
    assert_eq!(b.take_heard(), [Heard::Sent(4)]);
    b.m.goodbye();
    b.settle();
    assert_eq!(b.told(stream), "QUIT \n");
    assert!(b.closed.contains(&stream));
}

/// A server of lengths waits for ever when it is spoken to in lines.
#[test]
fn a_server_that_says_nothing_is_tried_in_the_other_framing() {
    let mut b = Bench::new(guest(), &["box"]);
    let lines = connected(&mut b);
    b.pass(WELCOME_MS);
    assert!(b.closed.contains(&lines));
    let stream = connected(&mut b);
    assert_eq!(b.told(stream), "\0\0\0\x11REGISTER box 9001");
    b.bytes(stream, &frame(Framing::Lengths, "WELCOME box"));
    assert!(b.m.is_in());
    b.bytes(stream, &frame(Framing::Lengths, "USERLIST box:10.0.0.1:9001 anna:10.0.0.13:4"));
    b.take_heard();
    b.bytes(stream, &frame(Framing::Lengths, "BROADCAST box meins"));
    b.bytes(stream, &frame(Framing::Lengths, "BROADCAST anna deins"));
    assert_eq!(b.texts(), [("anna".into(), "deins".into())], "our own comes back in lengths");
    // and again after a loss, at once in lengths
    b.m.stream_end(b.now, stream);
    b.settle();
    b.pass(5_000);
    let stream = connected(&mut b);
    assert_eq!(b.told(stream), "\0\0\0\x11REGISTER box 9001");
}

#[test]
fn guests_register_too_and_the_first_listens_for_all() {
    let mut b = Bench::new(guest(), &["box", "gast"]);
    assert_eq!(b.connects.len(), 1, "one finds out, the others follow");
    let first = inside(&mut b);
    let second = connected(&mut b);
    assert_eq!(b.told(second), "REGISTER gast 9002\n");
    b.say(second, "WELCOME gast\nUSERLIST box:10.0.0.1:9001 gast:10.0.0.1:9002 x:10.0.0.9:1\n");
    b.take_heard();
    for stream in [first, second] {
        b.say(stream, "BROADCAST_MSG anna einmal\n");
    }
    assert_eq!(b.texts(), [("anna".into(), "einmal".into())]);
    b.m.send(b.now, 4, UserId(1), &To::Everyone, "hier gast");
    b.settle();
    assert_eq!(b.told(second), "BROADCAST gast hier gast\n");
    b.say(first, "BROADCAST_MSG gast hier gast\n");
    assert_eq!(b.texts().len(), 1, "our own come back by another of ours");
    b.users(&["box"]);
    assert_eq!(b.told(second), "QUIT \n");
    assert!(b.closed.contains(&second) && b.m.is_in());
}

#[test]
fn a_lost_server_is_tried_again_ever_more_seldom_and_said_once() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = inside(&mut b);
    b.take_heard();
    b.m.stream_end(b.now, stream);
    b.settle();
    let heard = b.take_heard();
    assert!(heard.contains(&Heard::Session(contact("room", SERVER), false)), "{heard:?}");
    let why = "the server closed the connection";
    assert!(heard.contains(&Heard::Gone(contact("anna", "10.0.0.13:45366"), why.into())));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let begun = b.now;
        while b.connects.is_empty() {
            b.pass(100);
            assert!(b.now - begun < 100_000, "it gave up");
        }
        pauses.push(b.now - begun);
        let (stream, _) = b.connects.pop().unwrap();
        b.m.stream_closed(b.now, stream, &IoError::new(Trouble::Refused, "nobody listens there"));
        b.settle();
    }
    assert!(pauses[0] < 4_000 && pauses[8] > 50_000 && pauses[8] < 70_000, "{pauses:?}");
    assert_eq!(b.complaints().len(), 0, "said when it was lost: {:?}", b.complaints());
    b.pass(70_000);
    inside(&mut b);
    assert!(b.m.is_in());
}

#[test]
fn a_taken_nickname_is_told_once_and_tried_again_in_peace() {
    let mut b = Bench::new(guest(), &["box"]);
    for n in 0..3 {
        let stream = connected(&mut b);
        b.told(stream);
        b.say(stream, "ERROR Nickname bereits vergeben\n");
        assert!(b.closed.contains(&stream), "{n}");
        b.pass(70_000);
    }
    let told: Vec<_> =
        b.complaints().into_iter().filter(|c| c.contains("does not take box in")).collect();
    assert_eq!(told.len(), 1, "{:?}", b.complaints());
}

#[test]
fn connecting_twice_is_refused_with_a_word() {
    let mut b = Bench::new(guest(), &["box"]);
    inside(&mut b);
    let said = b.m.connect(b.now, Some(at(SERVER))).unwrap_err();
    assert!(said.contains("already"), "{said}");
    assert!(b.m.connect(b.now, None).is_ok());
    b.settle();
    assert!(!b.m.is_in());
    let mut own = Bench::new(setup(), &["box"]);
    let said = own.m.connect(own.now, Some(at("10.0.0.1:9000"))).unwrap_err();
    assert!(said.contains("own room"), "{said}");
    let mut own = Bench::new(Setup { connect: Some(at("127.0.0.1:9000")), ..setup() }, &["box"]);
    assert!(own.connects.is_empty());
    own.pass(100_000);
    assert_eq!(own.complaints().len(), 1, "{:?}", own.complaints());
}

/// captures/000-prototype: USER_LEFT of who stays, when his nickname is asked for twice.
#[test]
fn who_was_falsely_said_to_have_left_is_back_when_he_speaks() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = inside(&mut b);
    b.say(stream, "USER_LEFT anna\nBROADCAST_MSG anna bin noch da\n");
    let anna = contact("anna", "10.0.0.13:45366");
    let heard = b.take_heard();
    assert_eq!(
        heard[2..],
        [
            Heard::Gone(anna.clone(), "left".into()),
            Heard::Here(anna.clone()),
            Heard::Text { from: anna, to: None, text: "bin noch da".into(), said: None }
        ]
    );
    b.say(stream, "USER_LEFT box\n");
    assert!(b.m.is_in(), "of ourselves it means nothing");
}

#[test]
fn whoever_is_listed_at_the_loopback_is_on_the_servers_machine() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = inside(&mut b);
    b.say(stream, "USER_JOINED lokal 127.0.0.1 9\n");
    assert!(b.heard.contains(&Heard::Here(contact("lokal", "10.0.0.11:9"))));
    b.say(stream, "USERLIST lokal:127.0.0.1:9\n");
    assert!(b.heard.contains(&Heard::Gone(
        contact("anna", "10.0.0.13:45366"),
        "the server lists him no more".into()
    )));
}

#[test]
fn one_past_the_longest_list_is_left_out() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = inside(&mut b);
    for n in 0..MAX_LISTED + 20 {
        b.say(stream, &format!("USER_JOINED u{n} 10.0.0.13 {}\n", n + 1));
        b.pass(20);
    }
    let here = b.heard.iter().filter(|h| matches!(h, Heard::Here(_))).count();
    assert_eq!(here, MAX_LISTED);
}

#[test]
fn a_server_that_talks_rubbish_is_left_and_harms_nothing() {
    let mut b = Bench::new(guest(), &["box"]);
    let stream = connected(&mut b);
    b.bytes(stream, &[0xff; 16_384]);
    b.bytes(stream, b"\nUSERLIST\nUSERLIST :::: a:b:c\nUSER_JOINED\nWELCOME\n");
    assert!(!b.m.is_in());
    b.pass(WELCOME_MS * 3);
    assert!(b.closed.contains(&stream));
}

#[test]
fn a_server_is_looked_for_only_when_asked_to_and_one_at_a_time() {
    let mut b = Bench::new(Setup { connect: None, ..guest() }, &["box"]);
    b.m.offer(b.now, [10, 0, 0, 11].into());
    b.settle();
    assert!(b.connects.is_empty(), "discover is off");
    let mut b = Bench::new(Setup { connect: None, discover: true, ..guest() }, &["box"]);
    for host in [1, 9, 11, 11] {
        b.m.offer(b.now, [10, 0, 0, host].into());
    }
    b.m.offer(b.now, [192, 168, 7, 7].into());
    b.settle();
    let (stream, to) = b.connects.pop().unwrap();
    assert_eq!((to, b.connects.len()), (at("10.0.0.9:9000"), 0), "not ourselves");
    b.m.stream_closed(b.now, stream, &IoError::new(Trouble::Refused, "nobody listens there"));
    b.settle();
    assert!(b.complaints().is_empty(), "a guess that fails is no trouble");
    inside(&mut b);
    assert!(b.m.is_in());
    assert_eq!(b.m.server(), Some(at(SERVER)));
}

#[test]
fn one_address_past_the_candidates_is_not_tried() {
    let mut b = Bench::new(Setup { connect: None, discover: true, ..guest() }, &["box"]);
    for host in 2..(MAX_CANDIDATES + 20) {
        b.m.offer(b.now, [10, 0, 0, u8::try_from(host).unwrap()].into());
    }
    b.settle();
    let mut tried = 0;
    while let Some((stream, _)) = b.connects.pop() {
        tried += 1;
        b.m.stream_closed(b.now, stream, &IoError::new(Trouble::Refused, "nobody listens there"));
        b.settle();
    }
    assert_eq!(tried, MAX_CANDIDATES);
}
