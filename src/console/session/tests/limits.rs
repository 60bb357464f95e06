//! Every limit, one past it; floods and noise.

use super::*;

#[test]
fn a_flood_is_counted_and_typing_goes_on() {
    let mut b = Bench::new();
    for n in 0..1_000 {
        b.event_at(5_000, Some("anna"), message(n, Direction::In, "bob", "anna", "spam"));
    }
    b.types("MSG bob stop");
    assert_eq!(b.session.wake(), Some(6_000));
    let shown = b.rows().iter().filter(|r| r.ends_with("bob: spam")).count();
    assert_eq!(shown, MAX_LINES_PER_SECOND as usize);
    b.session.tick(6_000);
    b.flush();
    let rows = b.rows();
    assert_eq!(
        rows[rows.len() - 2..],
        ["960 messages not shown, HISTORY shows them", "anna> MSG bob stop"]
    );
    assert_eq!(b.session.wake(), None);
}

#[test]
fn a_terminal_that_takes_nothing_costs_bounded_memory() {
    let options = SessionOptions { screen: Screen::Plain, ..SessionOptions::default() };
    let mut session = Session::new(options);
    let what = message(1, Direction::In, "bob", "anna", &"x".repeat(1_000));
    let event = Event { at: AT, user: None, what };
    let stamped = Stamped { epoch: "0".into(), seq: 1, event };
    for now in 0..1_000 {
        session.event(now * 10, &stamped);
    }
    assert!(session.take_output().len() < MAX_OUTPUT + 2_000);
    session.tick(100_000);
    let said = String::from_utf8(session.take_output()).expect("text");
    assert!(said.contains("messages not shown"), "{said}");
}

#[test]
fn one_command_past_the_limit_waits_for_an_answer() {
    let mut session = Session::new(SessionOptions::default());
    session.feed("WHO\r".repeat(MAX_ASKS).as_bytes());
    assert!(!session.busy());
    session.feed(b"STATUS\r");
    assert!(session.busy());
    let (ticket, ..) = session.next_ask().expect("a command");
    session.answer(ticket, Ok(Answer::Who(Vec::new())));
    assert!(!session.busy());
}

#[test]
fn one_event_past_the_held_is_counted() {
    let mut b = Bench::new();
    b.types("msg bob x\r");
    let (ticket, ..) = b.session.next_ask().expect("a command");
    for n in 0..=MAX_HELD as u64 {
        b.event(Some("anna"), fate(n, "x", Delivery::Sent, None));
    }
    assert_eq!(b.session.wake(), Some(1_000));
    b.session.answer(ticket, Ok(Answer::Sent(Vec::new())));
    b.session.tick(2_000);
    b.flush();
    assert!(b.rows().iter().any(|r| r.starts_with("1 messages not shown")));
}

#[test]
fn one_entry_past_the_sent_is_forgotten() {
    let mut b = Bench::new();
    for n in 0..=MAX_SENT as u64 {
        b.types("all x\r");
        b.serve(Ok(Answer::Sent(vec![receipt(n * 2, "bob", Delivery::Sent, None)])));
    }
    b.terminal = vt100::Parser::new(60, 80, 0);
    b.event(Some("anna"), fate(0, "first", Delivery::Failed, None));
    b.event(Some("anna"), fate(2, "second", Delivery::Failed, None));
    assert_eq!(b.rows()[0], "→ second: failed");
}

#[test]
fn noise_of_a_hundred_thousand_bytes_leaves_a_console() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut b = Bench::new();
    for _ in 0..1_000 {
        let noise: Vec<u8> =
            (0..100).map(|_| random.u8(..)).filter(|b| !b"\x03\x04".contains(b)).collect();
        b.session.feed(&noise);
        while let Some((ticket, ..)) = b.session.next_ask() {
            b.session.answer(ticket, Ok(Answer::Done));
        }
        b.session.wants_suspend();
        b.flush();
    }
    b.session.feed(b"\x05\x15\rWHO\r");
    assert_eq!(b.session.next_ask().map(|a| a.2), Some(Command::Who { gone: false }));
}
