//! What is typed and what is answered: from the greeting to QUIT.

use super::*;

#[test]
fn the_greeting_is_three_lines_and_a_prompt() {
    let b = Bench::new();
    assert_eq!(b.rows()[0], "klatsch 0.1.0: you are anna (this node's first user)");
    let at = "listening on 192.168.1.5 (eth0) port 5010, SLCP discovery on 4000";
    assert!(format!("{}{}", b.rows()[1], b.rows()[2]).starts_with(at), "{:?}", b.rows());
    assert!(b.rows().iter().any(|r| r.starts_with("type WHO")));
    assert_eq!(b.rows().last().map(String::as_str), Some("anna>"));
}

#[test]
fn the_first_start_asks_for_a_handle_until_it_is_one() {
    let mut b = Bench::new();
    b.session.ask_handle("anna");
    b.flush();
    b.types("a b\r");
    assert!(b.rows().iter().any(|r| r.contains("may not hold")));
    assert_eq!(b.rows().last().map(String::as_str), Some("Your handle [anna]:"));
    b.types("\r");
    let taken = Refusal::HandleTaken {
        handle: "anna".into(),
        free: Handle::try_from("anna2").expect("a handle"),
    };
    assert_eq!(b.serve(Err(taken)), Command::SetHandle { handle: "anna".into() });
    assert_eq!(b.rows().last().map(String::as_str), Some("Your handle [anna2]:"));
    b.types("\r");
    let anna2 = || Ok(Answer::Handle(Handle::try_from("anna2").expect("a handle")));
    assert_eq!(b.serve(anna2()), Command::SetHandle { handle: "anna2".into() });
    assert_eq!(b.serve(anna2()), Command::Join {});
    assert_eq!(b.serve(Err(Refusal::Failed { reason: "x".into() })), Command::Status {});
    assert_eq!(b.rows().last().map(String::as_str), Some("anna2>"));
}

#[test]
fn mistakes_and_refusals_are_one_clear_line() {
    let mut b = Bench::new();
    b.types("msg bob\rfoo\rmsg x y\r");
    b.serve(Err(Refusal::NoSuchPeer { name: "x\x1b[2J".into() }));
    let rows = b.rows();
    assert!(rows.contains(&"MSG needs a text: MSG anna hello".to_owned()), "{rows:#?}");
    assert!(rows.iter().any(|r| r.starts_with("no command foo")));
    assert!(rows.iter().any(|r| r.starts_with("nobody called x[2J is here")));
}

#[test]
fn who_status_config_and_help_are_readable() {
    let mut b = Bench::new();
    b.types("who\r");
    b.serve(Ok(Answer::Who(vec![peer(1, "bob"), peer(2, "grüße")])));
    let rows = b.rows();
    assert!(
        rows.contains(&"who    is      address           speaks  heard".to_owned()),
        "{rows:#?}"
    );
    assert!(rows.contains(&"grüße  online  192.168.1.7:5010  slcp    12:34".to_owned()));
    b.types("status\r");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    assert!(b.rows().contains(&"up for      1 d 01:01".to_owned()), "{:#?}", b.rows());
    b.types("config bell ON\r");
    assert_eq!(
        b.serve(Ok(Answer::Config(vec![setting("bell", "ON")]))),
        Command::Config { key: Some("bell".into()), value: Some("ON".into()) }
    );
    b.event(None, What::Config { key: "bell".into(), value: "ON".into() });
    assert_eq!(b.rows().iter().filter(|r| r.contains("bell is ON")).count(), 1);
    b.types("help msg\r");
    assert!(b.rows().contains(&"for example: MSG anna hello".to_owned()));
}

#[test]
fn user_switches_whom_the_console_speaks_for() {
    let mut b = Bench::new();
    b.types("user GUEST1\rwho\r");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    assert_eq!(b.session.next_ask().map(|(_, user, _)| user), Some(Some("guest1".into())));
    assert_eq!(b.rows().last().map(String::as_str), Some("guest1>"));
    b.types("user nobody\r");
    b.serve(Ok(Answer::Status(Box::new(status()))));
    assert!(b.rows().iter().any(|r| r.starts_with("nobody is no user of this node")));
}

#[test]
fn a_pipe_is_answered_in_order_and_ends_after_its_last_answer() {
    let options = SessionOptions { screen: Screen::Plain, ..SessionOptions::default() };
    let mut session = Session::new(options);
    session.feed(b"MSG bob hi\nfoo\nWHO");
    session.end_of_input();
    for answer in
        [Answer::Sent(vec![receipt(1, "bob", Delivery::Sent, None)]), Answer::Who(Vec::new())]
    {
        assert!(!session.ended());
        let (ticket, ..) = session.next_ask().expect("a command");
        assert_eq!(session.next_ask(), None);
        session.answer(ticket, Ok(answer));
    }
    assert!(session.ended());
    let said = String::from_utf8(session.take_output()).expect("text");
    let order = ["→ bob: sent", "no command foo", "nobody else is here"];
    let places: Vec<_> = order.iter().map(|text| said.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said:?}");
}

#[test]
fn quit_waits_for_answers_and_ctrl_c_does_not() {
    let mut b = Bench::new();
    b.types("msg bob x\rQUIT\r");
    assert!(!b.session.ended());
    b.session.feed(b"\x03");
    assert!(b.session.ended());
}
