//! Lines that are commands, and lines that are none.

use super::*;

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(Typed::Command(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn mistake(line: &str) -> String {
    parse(line).map(|t| format!("{line}: {t:?}")).unwrap_err().to_string()
}

fn send(to: &[&str], text: &str) -> Command {
    Command::Send { to: to.iter().map(ToString::to_string).collect(), text: text.into() }
}

#[test]
fn lines_and_what_they_mean() {
    let file = |to: &[&str], path: &str| Command::SendFile {
        to: to.iter().map(ToString::to_string).collect(),
        path: path.into(),
        descriptor: None,
        name: None,
    };
    let away =
        |text: Option<&str>| Command::SetPresence { away: true, text: text.map(str::to_owned) };
    let config = |key: Option<&str>, value: Option<&str>| Command::Config {
        key: key.map(str::to_owned),
        value: value.map(str::to_owned),
    };
    let form = |form: Option<&str>| Command::SetForm {
        handle: "anna".into(),
        form: form.map(str::to_owned),
    };
    let back = Command::SetPresence { away: false, text: None };
    for (line, meant) in [
        ("JOIN", Command::Join {}),
        ("/join ", Command::Join {}),
        ("leave", Command::Leave {}),
        ("Who", Command::Who { gone: false }),
        ("who gone", Command::Who { gone: true }),
        ("MSG anna hello  there ", send(&["anna"], "hello  there ")),
        ("/msg anna,bob \"hi\"", send(&["anna", "bob"], "\"hi\"")),
        ("msg anna,ANNA,,bob hi, you", send(&["anna", "bob"], "hi, you")),
        ("msg anna ,hi", send(&["anna"], ",hi")),
        ("all good morning", send(&[LOBBY], "good morning")),
        ("img anna /a b/c d.png", file(&["anna"], "/a b/c d.png")),
        ("img anna,bob \"~/c d.png\" ", file(&["anna", "bob"], "~/c d.png")),
        ("away", away(None)),
        ("away at lunch", away(Some("at lunch"))),
        ("back", back.clone()),
        ("/back", Command::Close { handle: None }),
        ("chat anna", Command::Chat { handle: "anna".into() }),
        ("accept 3", Command::Accept { number: 3 }),
        ("Refuse #4 ", Command::Refuse { number: 4 }),
        ("close", Command::Close { handle: None }),
        ("close anna@room", Command::Close { handle: Some("anna@room".into()) }),
        ("handle anna-2", Command::SetHandle { handle: "anna-2".into() }),
        ("autoreply \"Bin weg\"", Command::SetAutoreply { text: "Bin weg".into() }),
        ("autoreply off", Command::SetAutoreply { text: String::new() }),
        ("block m", Command::Block { handle: "m".into() }),
        ("unblock m", Command::Unblock { handle: "m".into() }),
        ("config", config(None, None)),
        ("config SLCP.port", config(Some("slcp.port"), None)),
        ("config bell ON", config(Some("bell"), Some("ON"))),
        ("config autoreply I am out", config(Some("autoreply"), Some("I am out"))),
        ("config autoreply \"\"", config(Some("autoreply"), Some(""))),
        ("CONFIG inactive ON", away(None)),
        ("config Inactive off", back),
        ("config inactive", config(Some("inactive"), None)),
        ("status", Command::Status {}),
        ("doctor", Command::Doctor {}),
        ("network", Command::Network {}),
        ("log", Command::Log { lines: None }),
        ("log 50", Command::Log { lines: Some(50) }),
        ("reboot", Command::Reboot {}),
        ("shutdown", Command::PowerOff {}),
        ("factory-reset Yes", Command::FactoryReset {}),
        ("config time 2026-11-21 18:00", Command::SetTime { time: Wall(1_795_284_000_000) }),
        ("set TIME 2026-11-21T18:00:01Z", Command::SetTime { time: Wall(1_795_284_001_000) }),
        ("form anna json", form(Some("json"))),
        ("form anna AUTO", form(None)),
        ("form anna", form(None)),
    ] {
        assert_eq!(command(line), meant, "{line}");
    }
    assert_eq!(parse("quit"), Ok(Typed::Quit));
    assert_eq!(parse("qr"), Ok(Typed::Code));
    assert_eq!(parse(" /EXIT"), Ok(Typed::Quit));
    assert_eq!(parse("user"), Ok(Typed::User(None)));
    assert_eq!(parse("user bob"), Ok(Typed::User(Some("bob".into()))));
    assert_eq!(parse("?"), Ok(Typed::Help(None)));
    assert_eq!(parse("help /msg"), Ok(Typed::Help(Row::named("MSG"))));
    assert_eq!(parse(" \t "), Ok(Typed::Nothing));
    assert_eq!(parse("Mode json "), Ok(Typed::Mode { json: true }));
    assert_eq!(parse("MODE TEXT"), Ok(Typed::Mode { json: false }));
    assert_eq!(parse("save"), Ok(Typed::Save { number: None, back: false }));
    assert_eq!(parse("SAVE 3"), Ok(Typed::Save { number: Some(3), back: false }));
    assert_eq!(parse("save 3 - "), Ok(Typed::Save { number: Some(3), back: true }));
    assert_eq!(parse("mute"), Ok(Typed::Mute(true)));
    assert_eq!(parse("UNMUTE"), Ok(Typed::Mute(false)));
    assert_eq!(parse("config WIDTH"), Ok(Typed::Width(None)));
    assert_eq!(parse("config width 132"), Ok(Typed::Width(Some(132))));
}

#[test]
fn history_and_forget_in_all_their_shapes() {
    let history = |with: Option<&str>, limit, before| Command::History {
        with: with.map(Into::into),
        before,
        limit,
    };
    for (line, wanted) in [
        ("history", history(None, None, None)),
        ("history 50", history(None, Some(50), None)),
        ("history anna", history(Some("anna"), None, None)),
        ("history anna 50", history(Some("anna"), Some(50), None)),
        ("history 007 50", history(Some("007"), Some(50), None)),
        ("history #lobby before #17", history(Some("#lobby"), None, Some(17))),
        ("history 5 before 17", history(None, Some(5), Some(17))),
        ("history before", history(Some("before"), None, None)),
    ] {
        assert_eq!(command(line), wanted, "{line}");
    }
    let forget =
        |entry, with: Option<&str>, all| Command::Delete { entry, with: with.map(Into::into), all };
    assert_eq!(command("forget anna"), forget(None, Some("anna"), false));
    assert_eq!(command("forget entry #17"), forget(Some(17), None, false));
    assert_eq!(command("FORGET ALL"), forget(None, None, true));
    for line in ["forget", "forget entry", "forget entry x", "forget anna bob", "search "] {
        assert!(parse(line).is_err(), "{line}");
    }
    for line in ["history anna bob", "history anna 5 6", "history before x"] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_mistake_says_what_to_type() {
    for (line, said) in [
        ("MSG", "MSG needs a handle: MSG anna hello"),
        ("msg anna ", "MSG needs a text: MSG anna hello"),
        ("msg ,", "MSG needs a handle: MSG anna hello"),
        ("all", "ALL needs a text: ALL lunch is ready"),
        ("img anna \"\"", "IMG needs a file: IMG anna ~/cat.png"),
        ("accept", "ACCEPT needs a number: ACCEPT 3"),
        ("chat", "CHAT needs a handle: CHAT anna"),
        ("close a b", "CLOSE does not take \"b\": CLOSE [<handle>]"),
        ("refuse anna", "REFUSE: the number is in the line that says who asks, and in STATUS"),
        ("block", "BLOCK needs a handle: BLOCK mallory"),
        ("block a b", "BLOCK does not take \"b\": BLOCK <handle>"),
        ("join now", "JOIN does not take \"now\": JOIN"),
        ("save x", "SAVE: an image's number, not x"),
        ("save 3 /tmp", "SAVE does not take \"/tmp\": SAVE [<number> [-]]"),
        ("mode", "MODE needs JSON or TEXT: MODE JSON"),
        ("mode xml", "MODE: JSON or TEXT, not xml"),
        ("factory-reset", "FACTORY-RESET needs a YES: FACTORY-RESET YES"),
        ("config time noon", "CONFIG: a time in UTC such as 2026-11-21 18:00, not noon"),
        ("log many", "LOG: a number of lines, not many"),
        ("handle", "HANDLE needs a name: HANDLE anna-2"),
        ("autoreply", "AUTOREPLY needs a text, or OFF: AUTOREPLY I am at lunch"),
        ("config inactive maybe", "CONFIG: inactive is ON or OFF, not maybe"),
        ("mgs anna hi", "no command mgs: did you mean MSG? HELP lists them"),
        ("autoreplay x", "no command autoreplay: did you mean AUTOREPLY? HELP lists them"),
        ("stat", "no command stat: did you mean STATUS? HELP lists them"),
        ("help fomr", "no command fomr: did you mean FORM? HELP lists them"),
        ("hello all", "no command hello: HELP lists them; ALL text writes to everyone"),
    ] {
        assert_eq!(mistake(line), said, "{line}");
    }
    assert!(mistake("handle a b").contains("may not hold"));
    assert!(mistake("msg anna, bob hi").contains("no blank after the comma"));
}

#[test]
fn every_row_has_an_arm() {
    for word in ROWS.iter().flat_map(Row::words) {
        assert!(!matches!(parse(word), Err(Mistake::Unknown { .. })), "{word}");
    }
}

#[test]
fn one_recipient_past_the_limit_is_refused() {
    let names = |n: usize| (0..n).map(|i| format!("p{i}")).collect::<Vec<_>>().join(",");
    assert!(parse(&format!("msg {} x", names(MAX_RECIPIENTS))).is_ok());
    let said = mistake(&format!("msg {} x", names(MAX_RECIPIENTS + 1)));
    assert_eq!(said, "257 recipients, at most 256 at once: ALL for everyone");
}

#[test]
fn one_byte_past_the_autoreply_is_refused() {
    let text = "x".repeat(MAX_AUTOREPLY);
    assert!(parse(&format!("autoreply {text}")).is_ok());
    assert!(mistake(&format!("autoreply {text}x")).contains("401 bytes, at most 400"));
    assert!(mistake(&format!("away {text}x")).contains("401 bytes, at most 400"));
}
