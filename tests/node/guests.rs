//! Guests beside the box's own user: files between them, the room of all, and that what one
//! said under a name is not the next one's who takes it.

use crate::bench::{Bench, image};
use klatsch::command::{Command, Parked};
use klatsch::model::history::Change;
use klatsch::model::{Answer, Delivery, Direction, Event, Handle, What};
use klatsch::node::io::Input;

const BEN: &str = "192.168.178.12";

fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}

fn add(bench: &mut Bench, name: &str) {
    bench.ask(Command::AddUser { handle: name.into(), back: None }).unwrap();
}

fn with_guests() -> Bench {
    let mut bench = Bench::new("Ben", BEN);
    add(&mut bench, "anna");
    add(&mut bench, "bob");
    bench.store.there.insert("/a".into(), image(50_000));
    bench.store.there.insert("/text".into(), vec![b'x'; 40_000]);
    bench.advance(1_000);
    bench.events();
    bench
}

fn file(to: &[&str], path: &str) -> Command {
    let to = to.iter().map(|t| (*t).to_owned()).collect();
    Command::SendFile { to, path: path.into(), descriptor: None, name: None }
}

/// Who was told of a file, which way, and whether it is the room's.
fn told(events: &[Event]) -> Vec<(String, Direction, bool, u64)> {
    let of = |e: &Event| match &e.what {
        What::Image { direction, conversation, size, .. } => {
            let user = e.user.as_ref().unwrap().to_string();
            Some((user, *direction, conversation == "lobby", *size))
        }
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn a_file_to_another_user_of_this_node_is_a_copy_of_his_own() {
    for (path, size) in [("/a", 50_000), ("/text", 40_000)] {
        let mut bench = with_guests();
        bench.begin_as(Some("anna"), file(&["bob"], path));
        bench.advance(1_000);
        let events = bench.events();
        let expected = [
            ("bob".into(), Direction::In, false, size),
            ("anna".into(), Direction::Out, false, size),
        ];
        assert_eq!(told(&events), expected);
        let paths: Vec<&String> = events
            .iter()
            .filter_map(|e| match &e.what {
                What::Image { path, .. } => Some(path),
                _ => None,
            })
            .collect();
        assert_ne!(paths[0], paths[1]);
        let fate = events.iter().rev().find_map(|e| match &e.what {
            What::Delivery { state, .. } => Some(*state),
            _ => None,
        });
        assert_eq!(fate, Some(Delivery::Delivered));
        assert_eq!(bench.store.under_way(), 0);
    }
}

#[test]
fn a_picture_for_all_reaches_the_other_users_of_this_node_too() {
    let mut bench = with_guests();
    bench.begin_as(Some("anna"), file(&["#lobby"], "/a"));
    bench.advance(1_000);
    let told = told(&bench.events());
    let came = told.iter().filter(|(_, direction, room, _)| *direction == Direction::In && *room);
    let mut who: Vec<&str> = came.map(|(user, ..)| user.as_str()).collect();
    who.sort_unstable();
    assert_eq!(who, ["Ben", "bob"]);
    assert_eq!(bench.store.under_way(), 0);
}

#[test]
fn a_copy_that_fails_at_any_step_is_told_and_leaves_nothing_open() {
    for fail in 1..9 {
        let mut bench = with_guests();
        bench.store.count = 0;
        bench.store.fail = Some(fail);
        let ticket = bench.begin_as(Some("anna"), file(&["bob", "Ben"], "/a"));
        bench.advance(60_000);
        assert_eq!(bench.answers.iter().filter(|(t, _)| *t == ticket).count(), 1, "at {fail}");
        assert_eq!(bench.store.under_way(), 0, "at {fail}");
    }
}

#[test]
fn a_user_who_leaves_meanwhile_leaves_no_copy_behind() {
    for gone in ["anna", "bob"] {
        let mut bench = with_guests();
        bench.store.hold = true;
        bench.begin_as(Some("anna"), file(&["bob", "Ben"], "/a"));
        bench.store.hold = false;
        bench.run();
        bench.ask(Command::RemoveUser { handle: gone.into(), park: None }).unwrap();
        bench.advance(60_000);
        assert_eq!(bench.store.under_way(), 0, "{gone}");
    }
}

#[test]
fn a_text_for_all_is_the_rooms_for_the_other_users_of_this_node() {
    let mut bench = with_guests();
    bench.begin_as(Some("anna"), Command::Send { to: vec!["#lobby".into()], text: "hi".into() });
    bench.run();
    for event in bench.events() {
        if let What::Message { conversation, .. } = &event.what {
            assert_eq!(conversation, "lobby", "{event:?}");
        }
    }
}

#[test]
fn others_are_told_of_guests_as_of_peers() {
    let mut bench = Bench::new("Ben", BEN);
    bench.events();
    add(&mut bench, "anna");
    let away = |away| Command::SetPresence { away, text: None };
    bench.begin_as(Some("anna"), away(true));
    bench.begin_as(Some("anna"), away(false));
    bench.begin_as(Some("anna"), Command::SetHandle { handle: "eve".into() });
    bench.ask(Command::RemoveUser { handle: "eve".into(), park: None }).unwrap();
    let kinds = bench.events().into_iter().filter(|e| e.user.is_none());
    let kinds: Vec<String> =
        kinds.map(|e| serde_json::to_value(&e.what).unwrap()["kind"].to_string()).collect();
    let expected =
        ["\"peer-joined\"", "\"peer-away\"", "\"peer-back\"", "\"peer-renamed\"", "\"peer-left\""];
    assert_eq!(kinds, expected);
}

#[test]
fn what_a_guest_said_waits_under_a_name_that_nobody_else_takes() {
    let mut bench = with_guests();
    let since = |bench: &mut Bench, name: &str| match bench.ask(Command::Status {}) {
        Ok(Answer::Status(status)) => {
            status.users.iter().find(|user| user.handle.is(name)).unwrap().since
        }
        other => panic!("{other:?}"),
    };
    let began = since(&mut bench, "anna");
    bench.begin_as(Some("anna"), Command::Send { to: vec!["bob".into()], text: "hi".into() });
    bench.run();
    bench.changes();
    let park = Some(handle("~0123"));
    bench.ask(Command::RemoveUser { handle: "anna".into(), park }).unwrap();
    bench.advance(5_000);
    let renamed = |changes: Vec<Change>| -> Vec<(String, String)> {
        let of = |change| match change {
            Change::Renamed { from, to } => Some((from.to_string(), to.to_string())),
            _ => None,
        };
        changes.into_iter().filter_map(of).collect()
    };
    assert_eq!(renamed(bench.changes()), [("anna".into(), "~0123".into())]);
    add(&mut bench, "anna");
    assert!(since(&mut bench, "anna") > began, "another anna begins later");
    bench.ask(Command::RemoveUser { handle: "anna".into(), park: None }).unwrap();
    let back = Some(Parked { name: handle("~0123"), since: began });
    bench.ask(Command::AddUser { handle: "anna".into(), back }).unwrap();
    assert_eq!(since(&mut bench, "anna"), began);
    bench.input(Input::Tick);
    bench.advance(5_000);
    assert_eq!(renamed(bench.changes()), [("~0123".into(), "anna".into())]);
}
