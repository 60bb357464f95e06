//! The hello chat in the node: who is one peer and who is not, what goes which way, whose text
//! bears a name, and names that a handle cannot carry.

use crate::bench::{Bench, To, addr, settings};
use klatsch::command::Command;
use klatsch::config::Kept;
use klatsch::model::{
    Answer, Bind, Delivery, Dialect, Direction, EntryId, Net, PeerView, Refusal, SocketId,
    StreamId, What,
};
use klatsch::node::io::Input;

const OURS: &str = "192.168.178.12";
const BOB: &str = "192.168.178.11:9876";

/// A node in the hello chat, its announcements made.
fn node() -> Bench {
    let mut settings = settings("anna", None);
    settings.hello.enabled = true;
    let mut bench = Bench::with(settings, Kept::default(), OURS);
    bench.advance(5_000);
    bench.sent();
    bench.events();
    bench
}

fn hello_port(bench: &Bench, bind: Bind) -> SocketId {
    *bench.sockets.iter().find(|(_, b)| **b == bind).unwrap().0
}

/// Somebody says hello, and again: who was heard once only is not connected to.
fn hello_from(bench: &mut Bench, from: &str, name: &str) {
    let socket = hello_port(bench, Bind::SharedUdp(9876));
    let bytes = format!(r#"{{"command":"hello","peer_id":"{name}"}}"#).into_bytes();
    for _ in 0..2 {
        let bytes = bytes.clone();
        bench.input(Input::Datagram { socket, from: addr(from), to: None, link: 2, bytes });
    }
}

/// The connection that the node made to somebody, its handshake answered.
fn session(bench: &mut Bench, to: &str) -> StreamId {
    let stream = *bench.flows.iter().find(|(_, f)| f.to == Some(addr(to)) && !f.closed).unwrap().0;
    bench.input(Input::Bytes(stream, b"{\"status\":\"ok\",\"messages\":{}}\n".to_vec()));
    stream
}

fn out(bench: &Bench, stream: StreamId) -> String {
    String::from_utf8(bench.flows[&stream].out.clone()).unwrap()
}

fn who(bench: &mut Bench) -> Vec<PeerView> {
    match bench.ask(Command::Who { gone: false }) {
        Ok(Answer::Who(peers)) => peers,
        other => panic!("{other:?}"),
    }
}

fn texts(bench: &mut Bench) -> Vec<(String, String, String)> {
    let text = |what| match what {
        What::Message { conversation, from, text, direction: Direction::In, .. } => {
            Some((conversation, from, text))
        }
        _ => None,
    };
    bench.events().into_iter().filter_map(|e| text(e.what)).collect()
}

#[test]
fn the_same_handle_at_the_same_address_is_one_peer_with_two_routes() {
    let mut bench = node();
    hello_from(&mut bench, BOB, "bob");
    let alone = who(&mut bench);
    assert_eq!((alone.len(), &alone[0].dialect[..]), (1, &[Dialect::Hello][..]));
    bench.datagram("192.168.178.11:5000", To::Discovery, "JOIN bob 5000\n");
    let one = who(&mut bench);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].dialect, [Dialect::Slcp, Dialect::Hello]);
    assert_eq!((one[0].routes.len(), one[0].name.as_str()), (2, "bob"));
    // he leaves one of them, and is still here by the other
    bench.events();
    bench.datagram("192.168.178.11:5000", To::Discovery, "LEAVE bob\n");
    let left = who(&mut bench);
    assert_eq!((left.len(), &left[0].dialect[..]), (1, &[Dialect::Hello][..]));
    let told: Vec<&str> = bench
        .events()
        .iter()
        .filter_map(|e| match &e.what {
            What::PeerLeft { dialect: Dialect::Slcp, .. } => Some("left"),
            What::PeerJoined { dialect: Dialect::Hello, .. } => Some("joined"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["left", "joined"]);
}

#[test]
fn the_same_handle_at_another_address_is_somebody_else_with_a_name_of_his_own() {
    let mut bench = node();
    bench.datagram("192.168.178.14:5000", To::Discovery, "JOIN bob 5000\n");
    hello_from(&mut bench, BOB, "bob");
    let mut names: Vec<String> = who(&mut bench).into_iter().map(|p| p.name).collect();
    names.sort();
    assert_eq!(names, ["bob@192.168.178.14", "bob@hello"]);
    let refused = bench.ask(Command::Send { to: vec!["bob".into()], text: "x".into() });
    let Err(Refusal::Ambiguous { choices, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(choices, ["bob@192.168.178.14", "bob@hello"]);
    let private = bench.ask(Command::Send { to: vec!["bob@hello".into()], text: "x".into() });
    let Err(Refusal::Failed { reason }) = private else { panic!("{private:?}") };
    assert!(reason.contains("no private one: ALL writes there"), "{reason}");
}

#[test]
fn what_is_for_everyone_goes_once_to_the_chat_and_not_twice_to_anybody() {
    let mut bench = node();
    bench.datagram("192.168.178.14:5000", To::Discovery, "JOIN nora 5000\n");
    bench.datagram("192.168.178.11:5000", To::Discovery, "JOIN bob 5000\n");
    hello_from(&mut bench, BOB, "bob");
    let stream = session(&mut bench, BOB);
    bench.advance(1_000);
    bench.sent();
    bench.events();
    let sent = bench.ask(Command::Send { to: vec!["#lobby".into()], text: "an alle".into() });
    let Ok(Answer::Sent(receipts)) = sent else { panic!("{sent:?}") };
    let mut names: Vec<&str> = receipts.iter().map(|r| r.recipient.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bob", "nora"]);
    let one_entry: Vec<EntryId> = receipts.iter().map(|r| r.id).collect();
    assert_eq!(one_entry[0], one_entry[1]);
    let to: Vec<_> = bench
        .datagrams()
        .into_iter()
        .filter(|(_, b)| b.starts_with(b"MSG "))
        .map(|(to, _)| to.to_string())
        .collect();
    assert_eq!(to, ["192.168.178.14:5000"]);
    assert_eq!(out(&bench, stream).matches("an alle").count(), 1);
    bench.events();
    bench.input(Input::Bytes(stream, b"{\"status\":\"ok\"}".to_vec()));
    let events = bench.events();
    let bob = receipts.iter().find(|r| r.recipient == "bob").unwrap().peer;
    assert_eq!(who(&mut bench).iter().find(|p| p.handle == "bob").unwrap().id, bob);
    let delivered = events.iter().any(|e| {
        matches!(&e.what, What::Delivery { peer, state: Delivery::Delivered, .. } if *peer == bob)
    });
    assert!(delivered, "{events:?}");
    // in private it goes by SLCP
    bench.sent();
    bench.ask(Command::Send { to: vec!["bob".into()], text: "dir".into() }).unwrap();
    assert!(
        bench
            .datagrams()
            .iter()
            .any(|(to, b)| *to == addr("192.168.178.11:5000") && b.starts_with(b"MSG anna dir"))
    );
    assert!(!out(&bench, stream).contains("dir\""));
}

#[test]
fn another_users_text_bears_his_name_there() {
    let mut bench = node();
    hello_from(&mut bench, BOB, "bob");
    let stream = session(&mut bench, BOB);
    bench.ask(Command::AddUser { handle: "gast".into(), back: None }).unwrap();
    let to_all = || Command::Send { to: vec!["#lobby".into()], text: "hallo".into() };
    bench.begin_as(Some("gast"), to_all());
    assert!(out(&bench, stream).contains("\"message\":\"gast: hallo\""));
    bench.input(Input::Bytes(stream, b"{\"status\":\"ok\"}".to_vec()));
    bench.ask(to_all()).unwrap();
    assert!(out(&bench, stream).contains("\"message\":\"hallo\""));
}

#[test]
fn a_name_that_no_handle_can_carry_is_written_otherwise_and_said_once() {
    let mut bench = node();
    for _ in 0..2 {
        hello_from(&mut bench, BOB, "Tomas Novotny, C4b");
        bench.advance(40_000); // gone, and here again
    }
    hello_from(&mut bench, BOB, "Tomas Novotny, C4b");
    let events = bench.events();
    let said = events.iter().filter(|e| {
        matches!(&e.what, What::Error { text }
            if text == "\"Tomas Novotny, C4b\" of the hello chat is written Tomas%20Novotny%2C%20C4b here")
    });
    assert_eq!(said.count(), 1);
    assert_eq!(who(&mut bench)[0].handle, "Tomas%20Novotny%2C%20C4b");
    let block = Command::Block { handle: "Tomas%20Novotny%2C%20C4b".into() };
    bench.ask(block).unwrap();
    let stream = session(&mut bench, BOB);
    let said = br#"{"status":"ok","messages":{"1795228536000":{"peer_id":"Tomas Novotny, C4b","message":"x"}}}"#;
    bench.input(Input::Bytes(stream, said.to_vec()));
    assert_eq!(texts(&mut bench), []);
}

#[test]
fn what_is_said_there_is_in_the_lobby_of_all_of_us_and_kept() {
    let mut bench = node();
    hello_from(&mut bench, BOB, "bob");
    let stream = session(&mut bench, BOB);
    bench.events();
    let told =
        br#"{"status":"ok","messages":{"1795228536000":{"peer_id":"cesar","message":"pokus"}}}"#;
    bench.input(Input::Bytes(stream, told.to_vec()));
    let event = bench.events().pop().unwrap();
    assert_eq!((event.user, event.at.0), (None, 1_795_228_536_000));
    let What::Message { conversation, from, to, dialect, text, .. } = event.what else { panic!() };
    assert_eq!((conversation.as_str(), from.as_str(), to.as_str()), ("lobby", "cesar", "#lobby"));
    assert_eq!((dialect, text.as_str()), (Dialect::Hello, "pokus"));
    let Ok(Answer::Shared(all)) = bench.ask(Command::Shared {}) else { panic!() };
    assert_eq!((all.len(), all[0].peer_id.as_str()), (1, "cesar"));
}

#[test]
fn switched_off_it_closes_everything_and_on_again_it_opens_it() {
    let mut bench = node();
    hello_from(&mut bench, BOB, "bob");
    let stream = session(&mut bench, BOB);
    let set = |value: &str| Command::Config {
        key: Some("hello.enabled".into()),
        value: Some(value.into()),
    };
    bench.ask(set("off")).unwrap();
    assert!(bench.flows[&stream].closed);
    assert!(!bench.sockets.values().any(|b| matches!(b, Bind::SharedUdp(9876) | Bind::Tcp(9876))));
    assert_eq!(who(&mut bench).len(), 0);
    // what was under way meanwhile does no harm
    bench.input(Input::Bytes(stream, b"{\"status\":\"ok\"}".to_vec()));
    bench.advance(60_000);
    bench.ask(set("on")).unwrap();
    hello_from(&mut bench, BOB, "bob");
    assert_eq!(who(&mut bench).len(), 1);
}

/// Found in the simulation of gateways: it ended the room as well, and began without telling it.
#[test]
fn switching_it_leaves_the_room_alone() {
    let mut settings = settings("anna", None);
    (settings.hello.enabled, settings.room.enabled, settings.room.server) = (true, true, true);
    let mut bench = Bench::with(settings, Kept::default(), OURS);
    bench.advance(5_000);
    let room = |bench: &Bench| bench.sockets.values().any(|b| *b == Bind::Tcp(9000));
    assert!(room(&bench));
    for value in ["off", "on", "off"] {
        let key = Some("hello.enabled".into());
        bench.ask(Command::Config { key, value: Some(value.into()) }).unwrap();
        assert!(room(&bench), "{value}");
    }
}

#[test]
fn off_unless_asked_for_and_its_state_is_in_status() {
    let mut bench = Bench::new("anna", OURS);
    assert!(!bench.sockets.values().any(|b| *b == Bind::SharedUdp(9876)));
    let on = |bench: &mut Bench| match bench.ask(Command::Status {}) {
        Ok(Answer::Status(status)) => {
            let hello = status.dialects.iter().find(|d| d.name == Dialect::Hello).unwrap();
            (hello.on, hello.port, hello.reason.clone())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(on(&mut bench), (false, 9876, None));
    assert_eq!(on(&mut node()), (true, 9876, None));
    let sends = |n: &Net| matches!(n, Net::Send { to, .. } if to.port() == 9876);
    bench.advance(60_000);
    assert!(!bench.sent().iter().any(sends));
}
