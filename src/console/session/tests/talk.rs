//! What is said, and who comes and goes, on the screen.

use super::*;

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
fn the_bell_rings_once_a_second_where_wanted() {
    let mut b = Bench::new();
    b.event(None, What::Config { key: "bell".into(), value: "ON".into() });
    for _ in 0..3 {
        b.event(Some("anna"), message(1, Direction::In, "bob", "anna", "hi"));
    }
    assert_eq!(b.bells, 1);
}
