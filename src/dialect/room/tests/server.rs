//! Our server: what its clients are told, and what one of them can do to the others.

use super::super::codec::{Framing, frame};
use super::super::machine::Shown;
use super::super::{
    MAX_CLIENTS, MAX_FRAME, MAX_QUEUE, MAX_REGISTRATIONS, MAX_SENT, REFUSALS_BURST, REFUSALS_MS,
    REGISTER_MS,
};
use super::{Bench, ME, contact, setup};
use crate::dialect::heard::{Heard, To};
use crate::model::limits::MAX_STREAMS_PER_SOURCE;
use crate::model::{IoError, Trouble, UserId};

#[test]
fn a_client_is_welcomed_listed_and_everyone_is_told() {
    let mut b = Bench::new(setup(), &["box"]);
    let nico = b.client("10.0.0.12:51146", "nico", 48255);
    assert_eq!(
        b.told(nico),
        "WELCOME nico\nUSERLIST box:10.0.0.1:9001 nico:10.0.0.12:48255\n\
         USER_JOINED nico 10.0.0.12 48255\n"
    );
    let anna = b.client("10.0.0.13:45744", "anna", 45366);
    assert!(b.told(anna).starts_with(
        "WELCOME anna\nUSERLIST box:10.0.0.1:9001 nico:10.0.0.12:48255 anna:10.0.0.13:45366\n"
    ));
    assert_eq!(b.told(nico), "USER_JOINED anna 10.0.0.13 45366\n");
    assert!(b.heard.contains(&Heard::Here(contact("anna", "10.0.0.13:45366"))));
    b.say(anna, "QUIT \n");
    assert_eq!(b.told(nico), "USER_LEFT anna\n");
    assert!(b.heard.contains(&Heard::Gone(contact("anna", "10.0.0.13:45366"), "left".into())));
    assert!(b.closed.contains(&anna));
}

#[test]
fn each_client_is_answered_in_its_own_framing() {
    let mut b = Bench::new(setup(), &["box"]);
    let lines = b.client("10.0.0.12:1", "nico", 5);
    let lengths = b.accept(9000, "10.0.0.13:1");
    b.bytes(lengths, &frame(Framing::Lengths, "REGISTER anna 6"));
    b.told(lines);
    assert!(b.told(lengths).starts_with("\0\0\0\x0cWELCOME anna\0\0\0"));
    b.say(lines, "BROADCAST nico Grüße  an alle\n");
    assert_eq!(b.told(lines), "", "all but the sender");
    assert_eq!(b.told(lengths), "\0\0\0\x1fBROADCAST nico Grüße  an alle");
    b.bytes(lengths, &frame(Framing::Lengths, "BROADCAST anna zurück"));
    assert_eq!(b.told(lines), "BROADCAST_MSG anna zurück\n");
    assert_eq!(b.told(lengths), "\0\0\0\x16BROADCAST anna zurück", "in lengths the sender too");
    assert_eq!(
        b.texts(),
        [("nico".into(), "Grüße  an alle".into()), ("anna".into(), "zurück".into())]
    );
}

/// The real server says USER_LEFT of the one who keeps the nickname.
#[test]
fn a_taken_nickname_is_refused_and_its_bearer_stays() {
    let mut b = Bench::new(setup(), &["box"]);
    let nico = b.client("10.0.0.12:1", "nico", 5);
    b.told(nico);
    for (taken, n) in [("nico", 2), ("Nico", 3), ("box", 4)] {
        let second = b.accept(9000, &format!("10.0.0.12:{n}"));
        b.say(second, &format!("REGISTER {taken} 6\n"));
        assert_eq!(b.told(second), "ERROR Nickname bereits vergeben\n");
        assert!(b.closed.contains(&second));
    }
    assert_eq!(b.told(nico), "");
    b.say(nico, "REGISTER other 7\n");
    assert_eq!(b.told(nico), "ERROR already registered as nico\n");
    let lengths = b.accept(9000, "10.0.0.13:1");
    b.bytes(lengths, &frame(Framing::Lengths, "REGISTER nico 6"));
    assert_eq!(b.told(lengths), "\0\0\0\x1fERROR Nickname bereits vergeben");
}

#[test]
fn ours_and_those_of_other_dialects_are_listed_and_kept_current() {
    let mut b = Bench::new(setup(), &["box", "gast"]);
    let nico = b.client("10.0.0.12:1", "nico", 5);
    assert!(b.told(nico).contains("USERLIST box:10.0.0.1:9001 gast:10.0.0.1:9002 nico:"));
    let box_ = Shown { name: "box".into(), user: Some(ME) };
    b.m.set_users(b.now, vec![box_.clone(), Shown { name: "slcp-anna".into(), user: None }]);
    b.settle();
    assert_eq!(b.told(nico), "USER_LEFT gast\nUSER_JOINED slcp-anna 10.0.0.1 9000\n");
    b.m.set_users(b.now, vec![Shown { name: "kiosk".into(), user: Some(ME) }]);
    b.settle();
    let told = b.told(nico);
    for line in ["USER_LEFT box\n", "USER_JOINED kiosk 10.0.0.1 9001\n", "USER_LEFT slcp-anna\n"] {
        assert!(told.contains(line), "{told}");
    }
    // whoever asks one of another dialect for a private chat is refused
    b.datagram(9000, "10.0.0.12:5", "\0\0\0\x0cCHAT_REQUEST");
    b.datagram(9000, "10.0.0.12:5", "CHAT_REQUEST 777");
    assert_eq!(b.sent, [(super::at("10.0.0.12:777"), "CHAT_REJECTED".into())]);
}

#[test]
fn refusals_to_forged_sources_are_few_in_a_second() {
    let mut b = Bench::new(setup(), &["box"]);
    let ask = |b: &mut Bench, n: u32| {
        b.datagram(9000, &format!("10.0.0.{}:5", n % 200 + 20), "CHAT_REQUEST 777");
    };
    b.sent.clear();
    (0..=REFUSALS_BURST).for_each(|n| ask(&mut b, n));
    assert_eq!(b.sent.len(), REFUSALS_BURST as usize);
    b.now += REFUSALS_MS;
    (0..2).for_each(|n| ask(&mut b, n));
    assert_eq!(b.sent.len(), REFUSALS_BURST as usize + 1);
}

#[test]
fn a_client_of_this_machine_is_listed_where_each_other_reaches_it() {
    let mut b = Bench::new(setup(), &["box"]);
    b.client("127.0.0.1:1", "lokal", 5);
    let nico = b.client("10.0.0.12:1", "nico", 6);
    let told = b.told(nico);
    assert!(told.contains("box:10.0.0.1:9001 lokal:10.0.0.1:5 nico:10.0.0.12:6"), "{told}");
}

#[test]
fn what_our_user_says_reaches_all_and_is_sent() {
    let mut b = Bench::new(setup(), &["box"]);
    b.m.send(b.now, 1, ME, &To::Everyone, "niemand da");
    b.settle();
    assert!(matches!(b.take_heard().last(), Some(Heard::NotSent(1, _))));
    let nico = b.client("10.0.0.12:1", "nico", 5);
    b.told(nico);
    b.m.send(b.now, 2, ME, &To::Everyone, "Grüße\nan alle");
    b.settle();
    assert_eq!(b.told(nico), "BROADCAST_MSG box Grüße an alle\n");
    assert!(b.heard.contains(&Heard::Sent(2)));
    b.m.relay(b.now, 3, "Anna B:", "von drüben");
    b.settle();
    assert_eq!(b.told(nico), "BROADCAST_MSG AnnaB von drüben\n");
}

/// The real clients decode each read of 1024 bytes for itself.
#[test]
fn no_write_to_a_client_in_lines_is_longer_than_its_read_or_cuts_a_command() {
    let mut b = Bench::new(setup(), &["box"]);
    let nico = b.client("10.0.0.12:1", "nico", 5);
    b.told(nico);
    b.m.send(b.now, 1, ME, &To::Everyone, &"grüße €uch ".repeat(300));
    b.settle();
    assert_eq!(b.written.iter().filter(|(s, _)| *s == nico).count(), 1, "the rest waits its turn");
    b.pass(5_000);
    let writes: Vec<_> = b.written.iter().filter(|(s, _)| *s == nico).map(|(_, t)| t).collect();
    assert!(writes.len() > 3);
    for write in &writes {
        assert!(write.len() <= MAX_SENT && write.ends_with('\n'), "{}", write.len());
        assert!(write.starts_with("BROADCAST_MSG box "));
    }
    b.m.send(b.now, 2, ME, &To::Everyone, &"x".repeat(MAX_SENT * 8));
    b.settle();
    assert!(matches!(b.heard.last(), Some(Heard::NotSent(2, e)) if e.kind == Trouble::TooLarge));
}

#[test]
fn who_speaks_under_another_name_is_told_as_himself() {
    let mut b = Bench::new(setup(), &[]);
    let nico = b.client("10.0.0.12:1", "nico", 5);
    let anna = b.client("10.0.0.13:1", "anna", 5);
    b.told(anna);
    b.say(nico, "BROADCAST anna ich bin anna\n");
    assert_eq!(b.told(anna), "BROADCAST_MSG nico ich bin anna\n");
    let mute = b.accept(9000, "10.0.0.14:1");
    b.say(mute, "BROADCAST x y\n");
    assert_eq!(b.told(mute), "ERROR REGISTER first\n");
    assert_eq!(b.texts(), [("nico".into(), "ich bin anna".into())]);
}

#[test]
fn who_does_not_register_in_time_is_closed() {
    let mut b = Bench::new(setup(), &[]);
    let mute = b.accept(9000, "10.0.0.12:1");
    b.pass(REGISTER_MS - 1);
    assert!(b.closed.is_empty());
    b.pass(1);
    assert_eq!(b.closed, [mute]);
}

#[test]
fn one_client_past_the_limits_is_turned_away() {
    let mut b = Bench::new(setup(), &[]);
    for n in 0..MAX_STREAMS_PER_SOURCE {
        b.client(&format!("10.0.0.12:{}", n + 1), &format!("a{n}"), 5);
    }
    let one_more = b.accept(9000, "10.0.0.12:99");
    assert!(b.closed.contains(&one_more), "of one address");
    let mut hosts = MAX_STREAMS_PER_SOURCE;
    for host in 20..250 {
        let id = b.client(&format!("10.0.0.{host}:1"), &format!("b{host}"), 5);
        hosts += usize::from(!b.closed.contains(&id));
    }
    assert_eq!(hosts, MAX_CLIENTS);
    let far = b.accept(9000, "192.168.7.7:1");
    assert!(b.closed.contains(&far), "off the link");
}

#[test]
fn ten_thousand_registrations_are_slowed_down_to_a_few() {
    let mut b = Bench::new(setup(), &[]);
    let witness = b.client("10.0.0.13:1", "anna", 5);
    b.told(witness);
    let mut welcomed = 0;
    for n in 0..10_000u32 {
        let stream = b.accept(9000, "10.0.0.66:1");
        b.say(stream, &format!("REGISTER m{n} 5\nQUIT\n"));
        welcomed +=
            b.written.drain(..).filter(|(s, t)| *s == stream && t.starts_with("WEL")).count();
        b.closed.clear();
        b.read_more.clear();
        b.now += 1;
        b.m.tick(b.now);
        b.settle();
    }
    assert_eq!(welcomed, MAX_REGISTRATIONS);
    assert!(!b.closed.contains(&witness));
}

#[test]
fn a_flood_is_read_slowly_and_the_others_are_served() {
    let mut b = Bench::new(setup(), &[]);
    let anna = b.client("10.0.0.13:1", "anna", 5);
    let flood = b.client("10.0.0.66:1", "m", 5);
    b.pass(10_000);
    b.told(anna);
    b.read_more.clear();
    b.say(flood, &"BROADCAST m x\n".repeat(1_000));
    assert!(!b.read_more.contains(&flood), "the driver reads no more of it meanwhile");
    assert!(b.texts().len() < 30, "{}", b.texts().len());
    b.say(anna, "BROADCAST anna da\n");
    assert_eq!(b.texts().last(), Some(&("anna".into(), "da".into())));
    b.pass(20_000);
    assert!(b.texts().len() < 150);
    b.pass(300_000);
    assert_eq!(b.texts().len(), 1_001);
    assert!(b.read_more.contains(&flood));
}

#[test]
fn an_endless_line_costs_no_memory_and_one_complaint() {
    let mut b = Bench::new(setup(), &[]);
    let stream = b.accept(9000, "10.0.0.66:1");
    for _ in 0..100 {
        b.bytes(stream, &vec![b'x'; 16 * 1024]);
    }
    assert_eq!(b.complaints().len(), 1, "{:?}", b.complaints());
    b.pass(REGISTER_MS);
    assert!(b.closed.contains(&stream));
    for lie in [&b"\x00\xff\xff\xff"[..], b"\xff\xff\xff\xff"] {
        let stream = b.accept(9000, "10.0.0.66:2");
        b.bytes(stream, lie);
        assert!(b.closed.contains(&stream), "{lie:?}");
    }
    let long = b.accept(9000, "10.0.0.66:3");
    b.bytes(long, &frame(Framing::Lengths, &"x".repeat(MAX_FRAME + 1)));
    assert!(b.closed.contains(&long));
}

#[test]
fn a_client_that_takes_nothing_is_closed_and_the_others_hear_of_it() {
    let mut b = Bench::new(setup(), &["box"]);
    let slow = b.client("10.0.0.66:1", "m", 5);
    let anna = b.client("10.0.0.13:1", "anna", 5);
    b.told(anna);
    b.stalled.push(slow);
    let text = "x".repeat(900);
    let mut told = 0;
    while !b.closed.contains(&slow) {
        told += 1;
        assert!(told * text.len() < MAX_QUEUE * 2, "it piles up");
        b.m.send(b.now, told as u64, ME, &To::Everyone, &text);
        b.settle();
        b.pass(100);
    }
    assert!(b.told(anna).contains("USER_LEFT m\n"));
    b.say(anna, "BROADCAST anna noch da\n");
    assert_eq!(b.texts().last(), Some(&("anna".into(), "noch da".into())));
}

#[test]
fn a_client_that_vanishes_is_told_to_the_others() {
    let mut b = Bench::new(setup(), &[]);
    let anna = b.client("10.0.0.13:1", "anna", 5);
    let gone = b.client("10.0.0.14:1", "bob", 5);
    b.told(anna);
    b.m.stream_closed(b.now, gone, &IoError::new(Trouble::TimedOut, "no answer in time"));
    b.settle();
    assert_eq!(b.told(anna), "USER_LEFT bob\n");
    let ended = b.client("10.0.0.14:1", "bob", 5);
    b.told(anna);
    b.m.stream_end(b.now, ended);
    b.settle();
    assert_eq!(b.told(anna), "USER_LEFT bob\n");
}

#[test]
fn rubbish_is_one_line_and_in_lengths_an_error() {
    let mut b = Bench::new(setup(), &[]);
    let lines = b.client("10.0.0.13:1", "anna", 5);
    b.told(lines);
    b.bytes(lines, b"HELLO\nBROADCAST \xff\xfe x\nWELCOME x\nBROADCAST anna ok\n");
    assert_eq!(b.told(lines), "", "in lines nothing is answered to what is malformed");
    assert_eq!(b.complaints().len(), 3);
    assert_eq!(b.texts().len(), 1);
    let lengths = b.accept(9000, "10.0.0.14:1");
    b.bytes(lengths, &frame(Framing::Lengths, "REGISTER x"));
    assert!(b.told(lengths).contains("ERROR REGISTER with other arguments than it has"));
}

#[test]
fn a_port_that_another_program_has_is_said_and_tried_again() {
    let mut b = Bench::new(setup(), &[]);
    let server = b.socket(crate::model::Bind::Tcp(9000));
    b.m.bind_failed(b.now, server, IoError::new(Trouble::InUse, "nginx has it"));
    b.settle();
    assert!(b.heard.contains(&Heard::Trouble(Some(
        "the room's TCP port 9000 cannot be opened (nginx has it)".into()
    ))));
    b.heard.clear();
    b.pass(15_000);
    assert!(b.heard.contains(&Heard::Trouble(None)));
}

#[test]
fn users_without_a_free_port_are_said_once_and_get_one_later() {
    let mut b = Bench::new(setup(), &["a", "b", "c", "d", "e"]);
    assert_eq!(b.complaints().len(), 1, "four ports, five users: {:?}", b.complaints());
    b.pass(40_000);
    assert_eq!(b.complaints().len(), 1);
    b.users(&["a", "b", "c"]);
    let shown = |n: u32| Shown { name: format!("x{n}"), user: Some(UserId(n)) };
    b.m.set_users(b.now, (0..4).map(shown).collect());
    b.settle();
    b.pass(20_000);
    let nico = b.client("10.0.0.12:1", "nico", 5);
    assert!(b.told(nico).contains("x3:10.0.0.1:9004"));
}
