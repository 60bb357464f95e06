//! On a serial line: its PIN, its greetings, its mistakes, what is typed ahead.

use super::*;

/// A session on a line with a PIN.
fn locked(scope: &str) -> Bench {
    use crate::config::Serial;
    let mut line = Serial::on(std::path::Path::new("/dev/x"));
    line.set("pin", "4711").expect("a PIN");
    line.set("lock", scope).expect("a scope");
    line.set("idle", "60").expect("seconds");
    let standing = Rc::new(RefCell::new(Standing::new(crate::console::lock::Lock::of(&line))));
    let options = SessionOptions { serial: true, standing, ..SessionOptions::default() };
    let mut b = Bench::started(options);
    b.flush();
    b
}

#[test]
fn the_chat_needs_no_pin_and_the_operators_acts_do() {
    let mut b = locked("operator");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    b.serve(Ok(Answer::Who(vec![peer(1, "bob")])));
    b.serve(Ok(Answer::Config(vec![setting("bell", "OFF")])));
    b.types("msg bob hi\r");
    b.serve(Ok(Answer::Sent(vec![receipt(1, "bob", Delivery::Sent, None)])));
    b.types("config bell ON\r");
    assert_eq!(b.rows().last().map(String::as_str), Some("PIN:"));
    b.types("12\t34\x1b[A\r");
    assert!(b.rows().iter().any(|r| r == "wrong PIN: the next one is taken in 1 s"));
    assert_eq!(b.session.next_ask(), None);
    b.session.tick(1_000);
    b.types("config bell ON\r4711\r");
    assert_eq!(b.rows().last().map(String::as_str), Some("anna>"));
    let set = Command::Config { key: Some("bell".into()), value: Some("ON".into()) };
    assert_eq!(b.serve(Ok(Answer::Config(vec![setting("bell", "ON")]))), set);
    let screen = b.rows().join("\n");
    assert!(!screen.contains("4711") && !screen.contains("1234"), "{screen}");
    b.types("config bell OFF\r");
    assert!(b.session.next_ask().is_some(), "it is open for a while");
    b.session.tick(62_000);
    b.types("\x1b[A\x1b[A\r");
    assert_eq!(b.rows().last().map(String::as_str), Some("PIN:"), "and shut after it");
    b.types("\x03");
    assert_eq!(b.rows().last().map(String::as_str), Some("anna>"));
    b.types("\x1b[A");
    assert_ne!(b.rows().last().map(String::as_str), Some("anna> 4711"), "no PIN in the history");
}

#[test]
fn a_locked_console_shows_nothing_before_its_pin() {
    let mut b = locked("console");
    assert_eq!(b.rows(), ["PIN:"]);
    assert_eq!(b.session.next_ask(), None);
    b.event(Some("anna"), message(1, Direction::In, "bob", "anna", "secret"));
    b.types("\x03\x04who\r\r");
    assert!(b.rows().iter().all(|r| !r.contains("secret")), "{:#?}", b.rows());
    assert_eq!(b.session.next_ask(), None);
    b.session.tick(1_000);
    b.types("4711\r");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    b.serve(Ok(Answer::Who(vec![peer(1, "bob")])));
    b.serve(Ok(Answer::Config(vec![setting("bell", "OFF")])));
    let rows = b.rows();
    assert!(rows.iter().any(|r| r.starts_with("1 message since you last looked")), "{rows:#?}");
    b.types("half");
    b.session.tick(70_000);
    b.flush();
    assert_eq!(b.rows(), ["PIN:"], "shut again, and the screen is clean");
    b.session.tick(71_000);
    b.types("4711\r");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    assert!(b.rows().iter().all(|r| !r.contains("half")));
}

/// A session on a line, after its greeting.
fn on_a_line() -> Bench {
    let options = SessionOptions { serial: true, ..SessionOptions::default() };
    let mut b = Bench::with(options);
    b.terminal = vt100::Parser::new(60, 80, 0);
    b
}

#[test]
fn enter_greets_but_not_without_end_and_silence_greets_with_a_count() {
    let mut b = on_a_line();
    b.types("\r\r");
    assert_eq!(b.session.next_ask(), None, "it has just greeted");
    b.session.tick(BETWEEN_GREETINGS);
    b.types("\r\r");
    assert_eq!(b.serve(Ok(Answer::Status(Box::new(status())))), Command::Status {});
    b.serve(Ok(Answer::Who(vec![peer(1, "bob")])));
    assert_eq!(b.session.next_ask(), None, "once for both");
    let rows = b.rows();
    assert!(rows.iter().any(|r| r == "here: bob"), "{rows:#?}");
    assert!(rows.iter().any(|r| r == "no message since you last looked"), "{rows:#?}");
    for n in 0..3 {
        b.event(Some("anna"), message(n, Direction::In, "bob", "anna", "hello"));
    }
    b.session.tick(BETWEEN_GREETINGS + SILENCE);
    b.types("m");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    b.serve(Ok(Answer::Who(Vec::new())));
    let rows = b.rows();
    let said = "3 messages since you last looked: HISTORY shows them";
    assert!(rows.iter().any(|r| r == said), "{rows:#?}");
    assert_eq!(rows.last().map(String::as_str), Some("anna> m"), "what was typed is kept");
}

#[test]
fn ten_lines_that_are_no_commands_make_a_line_deaf_until_it_is_silent() {
    let mut b = on_a_line();
    for n in 1..=MAX_MISTAKES {
        b.types(&format!("junk{n}\r"));
    }
    assert!(b.rows().iter().any(|r| r.starts_with("ten lines in a row")), "{:#?}", b.rows());
    b.types("who\r");
    assert_eq!(b.session.next_ask(), None);
    b.session.tick(HEARS_AGAIN - 1);
    b.types("who\r");
    assert_eq!(b.session.next_ask(), None, "the silence begins anew");
    b.session.tick(2 * HEARS_AGAIN);
    b.types("who\r");
    assert_eq!(b.session.next_ask().map(|a| a.2), Some(Command::Who { gone: false }));
    let mut b = on_a_line();
    for n in 1..MAX_MISTAKES {
        b.types(&format!("junk{n}\r"));
    }
    b.types("who\r");
    assert!(b.session.next_ask().is_some(), "one less is not enough");
}

#[test]
fn one_byte_past_what_is_typed_ahead_is_lost_and_said() {
    let mut b = on_a_line();
    b.types("IMG bob -\r"); // what follows waits for the answer to who is here
    b.session.feed(&vec![b'\r'; MAX_TYPED]);
    assert_eq!(b.session.lost, 0);
    b.session.feed(b"\r");
    assert_eq!(b.session.lost, 1);
    b.serve(Err(Refusal::Failed { reason: "x".into() }));
    b.session.feed(b"\r");
    b.flush();
    let said = "1 typed bytes were lost: they came faster than answers";
    assert!(b.rows().iter().any(|r| r == said), "{:#?}", b.rows());
}
