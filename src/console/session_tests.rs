//! Whole sessions with scripted answers and events, on a terminal emulator.

use super::*;
use crate::model::answer::{Page, UserView};
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Event, LinkView, PeerId, PeerView, Presence, Receipt,
    SettingView, Stamped, TransferState, Trust, What,
};

struct Bench {
    session: Session,
    terminal: vt100::Parser,
    seq: u64,
    bells: usize,
}

const AT: Wall = Wall((12 * 60 + 34) * 60_000);

impl Bench {
    /// A session after its greeting, on a clean screen.
    fn new() -> Bench {
        Bench::with(SessionOptions {
            width: 80,
            home: Some("/home/a".into()),
            ..Default::default()
        })
    }

    fn with(options: SessionOptions) -> Bench {
        let mut b = Bench {
            session: Session::new(options),
            terminal: vt100::Parser::new(60, 80, 0),
            seq: 0,
            bells: 0,
        };
        b.session.start();
        b.serve(Ok(Answer::Status(Box::new(status()))));
        b.serve(Ok(Answer::Who(vec![peer(1, "bob"), peer(2, "carl")])));
        b.serve(Ok(Answer::Config(vec![setting("bell", "OFF"), setting("imagepath", "/i")])));
        b.flush();
        b
    }

    fn flush(&mut self) {
        let bytes = self.session.take_output();
        self.bells += bytes.iter().filter(|b| **b == 7).count();
        self.terminal.process(&bytes);
    }

    fn types(&mut self, text: &str) {
        for byte in text.as_bytes() {
            self.session.feed(&[*byte]);
            self.flush();
        }
    }

    /// Answers the next command; gives it back.
    fn serve(&mut self, result: Result<Answer, Refusal>) -> Command {
        let (ticket, _, command) = self.session.next_ask().expect("a command");
        self.session.answer(ticket, result);
        self.flush();
        command
    }

    fn event(&mut self, user: Option<&str>, what: What) {
        self.event_at(0, user, what);
    }

    fn event_at(&mut self, now: u64, user: Option<&str>, what: What) {
        self.seq += 1;
        let user = user.map(|u| Handle::try_from(u).expect("a handle"));
        let event = Event { at: AT, user, what };
        self.session.event(now, &Stamped { epoch: "0".into(), seq: self.seq, event });
        self.flush();
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.terminal.screen().rows(0, 80).map(|r| r.trim_end().to_owned());
        let mut rows: Vec<String> = rows.collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}

fn user(handle: &str) -> UserView {
    UserView {
        handle: Handle::try_from(handle).expect("a handle"),
        port: Some(5010),
        joined: true,
        away: false,
        autoreply: String::new(),
        guest: handle != "anna",
        since: 0,
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        instance: "default".into(),
        mode: "terminal".into(),
        epoch: "0".into(),
        pid: 7,
        uptime: 90_061,
        users: vec![user("anna"), user("guest1")],
        dialects: vec![crate::model::answer::DialectView {
            name: Dialect::Slcp,
            on: true,
            port: 4000,
            reason: None,
        }],
        links: vec![LinkView {
            name: "eth0".into(),
            address: "192.168.1.5".into(),
            broadcast: "192.168.1.255".into(),
        }],
        chats: Vec::new(),
        transfers: Vec::new(),
        peers: 2,
        blocked: Vec::new(),
        fingerprint: None,
        socket: "/run/klatsch/control".into(),
        state: "/var/lib/klatsch".into(),
        imagepath: "/i".into(),
        page: String::new(),
    }
}

fn peer(id: u64, handle: &str) -> PeerView {
    PeerView {
        id: PeerId(id),
        handle: handle.into(),
        name: handle.into(),
        dialect: vec![Dialect::Slcp],
        address: "192.168.1.7".into(),
        port: 5010,
        routes: Vec::new(),
        presence: Presence::Online,
        trust: Trust::Plain,
        last_heard: Some(AT),
        blocked: false,
    }
}

fn setting(key: &str, value: &str) -> SettingView {
    SettingView { key: key.into(), value: value.into(), live: true, help: "help".into() }
}

fn id(n: u64) -> EntryId {
    EntryId { epoch: 1, n }
}

fn receipt(n: u64, to: &str, state: Delivery, reason: Option<&str>) -> Receipt {
    let reason = reason.map(str::to_owned);
    Receipt { id: id(n), recipient: to.into(), peer: PeerId(n), state, reason }
}

fn message(n: u64, direction: Direction, from: &str, to: &str, text: &str) -> What {
    What::Message {
        id: id(n),
        conversation: "c".into(),
        from: from.into(),
        to: to.into(),
        peer: PeerId(n),
        dialect: Dialect::Slcp,
        direction,
        text: text.into(),
        autoreply: false,
    }
}

fn fate(n: u64, to: &str, state: Delivery, reason: Option<&str>) -> What {
    let reason = reason.map(str::to_owned);
    What::Delivery { id: id(n), recipient: to.into(), peer: PeerId(n), state, reason }
}

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
fn messages_arrive_above_what_is_half_typed() {
    let mut b = Bench::new();
    b.types("MSG bob hal");
    b.event(Some("anna"), message(1, Direction::In, "bob", "anna", "hi\x1b[2J\x1b]0;t\x07\r\nx"));
    b.event(Some("guest1"), message(2, Direction::In, "bob", "guest1", "you?"));
    let rows = b.rows();
    let rows = &rows[rows.len() - 3..];
    // The emulator prints no U+FFFD.
    assert_eq!(rows[0], "[12:34] bob: hi[2J]0;t  x");
    assert_eq!(rows[1], "[12:34] bob → guest1: you?");
    assert_eq!(rows[2], "anna> MSG bob hal");
}

#[test]
fn what_this_console_sent_is_told_once_whatever_comes_first() {
    for early in [true, false] {
        let mut b = Bench::new();
        b.types("msg bob,carl hello\r");
        let (ticket, user, command) = b.session.next_ask().expect("a command");
        assert_eq!(user, None);
        assert!(matches!(command, Command::Send { ref to, .. } if to.len() == 2));
        let answer = Ok(Answer::Sent(vec![
            receipt(1, "bob", Delivery::Sent, None),
            receipt(2, "carl", Delivery::Queued, Some("not here")),
        ]));
        let events = |b: &mut Bench| {
            b.event(Some("anna"), message(1, Direction::Out, "anna", "bob", "hello"));
            b.event(Some("anna"), fate(1, "bob", Delivery::Sent, None));
            b.event(Some("anna"), fate(2, "carl", Delivery::Failed, Some("nobody listens there")));
        };
        if early {
            events(&mut b);
            b.session.answer(ticket, answer);
        } else {
            b.session.answer(ticket, answer);
            events(&mut b);
        }
        b.flush();
        let rows = b.rows();
        let from = rows.iter().position(|r| r.starts_with("anna> msg")).expect("the line");
        assert_eq!(
            rows[from + 1..],
            [
                "→ bob: sent",
                "→ carl: queued: not here",
                "→ carl: failed: nobody listens there",
                "anna>"
            ],
            "early: {early}"
        );
    }
}

#[test]
fn what_was_said_is_read_again_with_its_states() {
    let mut b = Bench::new();
    b.types("history bob\r");
    let (ticket, _, command) = b.session.next_ask().expect("a command");
    assert!(matches!(command, Command::History { with: Some(ref who), .. } if who == "bob"));
    let page = Page { entries: crate::api::samples::entries(), more: true };
    b.session.answer(ticket, Ok(Answer::Page(page)));
    b.flush();
    let rows = b.rows();
    let from = rows.iter().position(|r| r.starts_with("anna> history")).expect("the line");
    assert_eq!(
        rows[from + 1..],
        [
            "#17 2026-11-21 02:35 anna → bob: hello [queued: not here]",
            "#18 --:-- bob (automatic answer): image /images/bob-1.png (1.0 kB)",
            "HISTORY bob BEFORE 17 shows what came before",
            "anna>"
        ]
    );
    b.types("forget entry 17\r");
    let (ticket, ..) = b.session.next_ask().expect("a command");
    b.session.answer(ticket, Ok(Answer::Count(1)));
    b.flush();
    assert!(b.rows().iter().any(|r| r == "1 entry is deleted"), "{:?}", b.rows());
}

#[test]
fn what_another_way_in_sent_is_shown_and_its_fate_is_not() {
    let mut b = Bench::new();
    b.event(Some("anna"), message(9, Direction::Out, "anna", "bob", "from the CLI"));
    b.event(Some("guest1"), message(10, Direction::Out, "guest1", "bob", "hey"));
    b.event(Some("anna"), fate(9, "bob", Delivery::Sent, None));
    let rows = b.rows();
    assert_eq!(
        rows[rows.len() - 3..],
        ["[12:34] you → bob: from the CLI", "[12:34] guest1 → bob: hey", "anna>"]
    );
}

#[test]
fn people_come_and_go_and_tab_knows_them() {
    let mut b = Bench::new();
    let dialect = Dialect::Slcp;
    let zoe = || ("zoe".to_owned(), PeerId(77));
    let (handle, peer) = zoe();
    let address = "192.168.1.9".to_owned();
    b.event(None, What::PeerJoined { peer, handle, dialect, address, port: 1 });
    b.types("msg z\t");
    assert_eq!(b.rows().last().map(String::as_str), Some("anna> msg zoe"));
    b.event(None, What::PeerAway { peer, handle: zoe().0, dialect });
    b.event(None, What::PeerRenamed { peer, handle: "zora".into(), old: "zoe".into(), dialect });
    b.event(None, What::PeerLeft { peer, handle: "zora".into(), dialect, reason: String::new() });
    b.types("\x15msg zo\t\t");
    let rows = b.rows();
    assert_eq!(
        rows[rows.len() - 5..],
        [
            "[12:34] * zoe is here (192.168.1.9)",
            "[12:34] * zoe is away",
            "[12:34] * zoe is now zora",
            "[12:34] * zora left",
            "anna> msg zo"
        ]
    );
    b.types("\x15msg \t\t");
    let rows = b.rows();
    assert_eq!(rows[rows.len() - 2..], ["bob  carl", "anna> msg"]);
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

#[test]
fn files_are_found_from_home_and_here() {
    let base = Some("/here".into());
    let options = SessionOptions { home: Some("/home/a".into()), base, ..Default::default() };
    let mut session = Session::new(options);
    session.feed(b"img bob ~/my cat.png\rimg bob \"x y.png\"\r");
    let path = |session: &mut Session| match session.next_ask() {
        Some((_, _, Command::SendFile { path, .. })) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path(&mut session), "/home/a/my cat.png");
    assert_eq!(path(&mut session), "/here/x y.png");
}

#[test]
fn a_transfer_is_told_in_steps() {
    let mut b = Bench::new();
    let transfer = |done, state| What::Transfer {
        number: None,
        id: id(5),
        direction: Direction::In,
        peer: PeerId(1),
        handle: "bob".into(),
        name: "cat.png".into(),
        done,
        size: Some(1_000_000),
        state,
        reason: None,
    };
    for done in (0..=100).map(|n| n * 10_000) {
        b.event(Some("anna"), transfer(done, TransferState::Running));
    }
    b.event(Some("anna"), transfer(1_000_000, TransferState::Done));
    b.event(
        Some("anna"),
        What::Image {
            id: id(5),
            conversation: "c".into(),
            from: "bob".into(),
            to: "anna".into(),
            peer: PeerId(1),
            dialect: Dialect::Slcp,
            direction: Direction::In,
            path: "/i/1.png".into(),
            size: 1_000_000,
            format: "png".into(),
            width: Some(800),
            height: Some(600),
        },
    );
    let rows = b.rows();
    let steps = rows.iter().filter(|r| r.starts_with("← bob: cat.png")).count();
    assert_eq!(steps, 4, "{rows:#?}");
    let image = "[12:34] bob: image /i/1.png (png, 800x600 pixels, 1.0 MB): SAVE 1";
    assert_eq!(rows[rows.len() - 2], image);
    b.types("save 1\rsave 2\rsave\r");
    let rows = b.rows();
    for said in ["/i/1.png", "there is no image 2: SAVE lists them", "1  /i/1.png"] {
        assert!(rows.iter().any(|r| r == said), "{said}: {rows:#?}");
    }
}

#[test]
fn one_image_past_the_limit_is_forgotten() {
    let mut standing = Standing::default();
    for n in 0..=MAX_IMAGES {
        standing.image(&n.to_string());
    }
    assert_eq!(standing.path_of(1), None);
    assert_eq!(standing.path_of(2).as_deref(), Some("1"));
}

/// A session on a line with a PIN.
fn locked(scope: &str) -> Bench {
    use crate::config::Serial;
    let mut line = Serial::on(std::path::Path::new("/dev/x"));
    line.set("pin", "4711").expect("a PIN");
    line.set("lock", scope).expect("a scope");
    line.set("idle", "60").expect("seconds");
    let standing = Rc::new(RefCell::new(Standing::new(super::super::lock::Lock::of(&line))));
    let options = SessionOptions { serial: true, standing, ..SessionOptions::default() };
    let mut b = Bench {
        session: Session::new(options),
        terminal: vt100::Parser::new(60, 80, 0),
        seq: 0,
        bells: 0,
    };
    b.session.start();
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

#[test]
fn the_bell_rings_once_a_second_where_wanted() {
    let mut b = Bench::new();
    b.event(None, What::Config { key: "bell".into(), value: "ON".into() });
    for _ in 0..3 {
        b.event(Some("anna"), message(1, Direction::In, "bob", "anna", "hi"));
    }
    assert_eq!(b.bells, 1);
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
