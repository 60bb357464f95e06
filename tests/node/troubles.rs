//! What the world does to a node: errors that come late, ports that come free, settings that
//! change, a restart.

use crate::bench::{Bench, To, addr, settings};
use klatsch::command::Command;
use klatsch::config::{Kept, User};
use klatsch::model::{Answer, Bind, Delivery, Direction, IoError, Net, Trouble, What};
use klatsch::node::io::Input;

const NORA: &str = "192.168.178.11:5000";

fn with_peer() -> Bench {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram(NORA, To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    bench.events();
    bench.sent();
    bench
}

/// How many texts failed since the last call, and how many wait again.
fn fates(bench: &mut Bench) -> (usize, usize) {
    let events = bench.events();
    let count = |wanted: Delivery| {
        let of = |what: &What| matches!(what, What::Delivery { state, .. } if *state == wanted);
        events.iter().filter(|e| of(&e.what)).count()
    };
    (count(Delivery::Failed), count(Delivery::Queued))
}

fn errors(bench: &mut Bench) -> Vec<String> {
    let error = |what| if let What::Error { text } = what { Some(text) } else { None };
    bench.events().into_iter().filter_map(|e| error(e.what)).collect()
}

/// Three texts arrived; only the fourth met a closed port: nothing of it arrived, so it waits.
#[test]
fn an_error_is_about_one_text_and_none_before_it() {
    let mut bench = with_peer();
    // its form is known, so nothing is tried over TCP
    bench.ask(Command::SetForm { handle: "Nora".into(), form: Some("fabian".into()) }).unwrap();
    for text in ["one", "two", "three", "four"] {
        bench.say("Nora", text).unwrap();
    }
    let error = || IoError::new(Trouble::Refused, "nobody listens there");
    let socket = bench.socket(To::Chat);
    let unreachable = |bytes: &[u8]| Input::Unreachable {
        socket,
        to: addr(NORA),
        bytes: bytes.into(),
        error: error(),
    };
    bench.events();
    bench.input(unreachable(b"WHO\n"));
    assert_eq!(fates(&mut bench), (0, 0), "it is about a question of ours");
    bench.input(unreachable(b"MSG Ben four"));
    assert_eq!(fates(&mut bench), (0, 1), "nothing of it arrived");
    bench.input(unreachable(b"MSG Ben "));
    assert_eq!(fates(&mut bench), (1, 0), "eight bytes quoted: the last it can be about");
    bench.input(unreachable(b""));
    assert_eq!(fates(&mut bench), (1, 0), "nothing quoted: the same");
}

/// A forged JOIN gave it another name, a text came from a port of no one: one JOIN mends it all.
#[test]
fn whoever_was_doubled_by_forgeries_is_one_again_after_its_join() {
    let mut bench = with_peer();
    bench.datagram(NORA, To::Discovery, "JOIN Mallory 5000\n");
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, "MSG Nora me too\n"));
    bench.advance(1_000);
    assert_eq!(bench.here(), ["Mallory", "Nora"]);
    bench.datagram(NORA, To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    assert_eq!(bench.here(), ["Nora"]);
    assert!(bench.say("Nora", "hello").is_ok());
}

#[test]
fn a_discovery_port_that_comes_free_is_taken_without_a_restart() {
    let mut bench = with_peer();
    let socket = bench.socket(To::Discovery);
    let taken = || IoError::new(Trouble::InUse, "python3 (7) has it");
    bench.sockets.remove(&socket);
    bench.input(Input::BindFailed(socket, taken()));
    let said = errors(&mut bench);
    assert!(said.len() == 1 && said[0].contains("4000 cannot be opened (python3 (7) has it)"));
    for round in 0..3 {
        bench.bind_fails = (round < 2).then(taken);
        bench.sent();
        bench.advance(16_000);
        let again = |n: &Net| matches!(n, Net::Bind(_, Bind::SharedUdp(4000)));
        assert_eq!(bench.sent().iter().filter(|n| again(n)).count(), 1, "round {round}");
        assert!(errors(&mut bench).is_empty(), "it was said already");
    }
    bench.sent();
    bench.advance(60_000);
    let again = |n: &Net| matches!(n, Net::Bind(..));
    assert!(!bench.sent().iter().any(again), "it is open now");
}

#[test]
fn a_reload_says_that_users_change_only_with_a_start() {
    let mut bench = with_peer();
    let mut new = settings("Ben", None);
    new.users.push(User::default());
    bench.input(Input::Reload(Box::new(new)));
    assert!(errors(&mut bench).iter().any(|e| e.contains("[[users]]")));
}

/// What was said with AWAY lasts over a restart, as the absence itself does.
#[test]
fn the_text_of_an_absence_outlives_a_restart() {
    let mut bench = with_peer();
    let away = |away, text: Option<&str>| Command::SetPresence { away, text: text.map(Into::into) };
    bench.ask(away(true, Some("at lunch"))).unwrap();
    let kept: Kept = bench.kept.clone().unwrap();
    let mut again = settings("Ben", None);
    again.users[0].inactive = true; // as `Kept.set` has it
    let mut bench = Bench::with(again, kept, "192.168.178.12");
    bench.datagram(NORA, To::Discovery, "JOIN Nora 5000\n");
    bench.datagram(NORA, To::Chat, "MSG Nora where are you?\n");
    bench.advance(1_000);
    let out = |what: &What| matches!(what, What::Message { direction: Direction::Out, text, .. } if text == "at lunch");
    assert!(bench.events().iter().any(|e| out(&e.what)));
    bench.ask(away(false, None)).unwrap();
    assert_eq!(bench.kept.clone().unwrap().away, None);
}

#[test]
fn a_pin_is_told_to_nobody_but_the_page() {
    let secret = "271828";
    let mut bench = Bench::new("Ben", "192.168.178.12");
    let config = |key: &str, value: Option<&str>| Command::Config {
        key: Some(key.into()),
        value: value.map(str::to_owned),
    };
    let value = |answer| match answer {
        Ok(Answer::Config(mut all)) => all.remove(0).value,
        other => panic!("{other:?}"),
    };
    bench.events();
    assert_eq!(value(bench.ask(config("web.pin", None))), "");
    assert_eq!(value(bench.ask(config("web.pin", Some(secret)))), "set");
    let mut new = settings("Ben", None);
    new.web.pin = secret.into();
    new.web.operator_pin = format!("{secret}1");
    bench.input(Input::Reload(Box::new(new)));
    let long = secret.repeat(20);
    let refused = bench.ask(config("web.pin", Some(&long))).unwrap_err().to_string();
    let all = bench.ask(Command::Config { key: None, value: None });
    let told = format!("{:?} {all:?} {refused}", bench.events());
    assert!(told.contains("\"web.operator-pin\", value: \"set\""), "{told}");
    assert!(!told.contains(secret), "{told}");
    let Ok(Answer::Config(pages)) = bench.ask(Command::PageSettings {}) else { panic!() };
    let pin = pages.iter().find(|s| s.key == "web.operator-pin").unwrap();
    assert_eq!(pin.value, format!("{secret}1"));
    assert!(pages.iter().all(|s| s.key.starts_with("web.")));
}
