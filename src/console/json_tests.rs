//! Lines in, lines out; the node is scripted.

use std::path::Path;

use super::*;
use crate::api::samples;
use crate::config::Serial;
use crate::console::lock::Lock;
use crate::model::{Event, Wall, What};

fn session() -> Json {
    let mut json = Json::new(true, Rc::default());
    json.take_output();
    json
}

fn lines(json: &mut Json) -> Vec<Value> {
    let bytes = json.take_output();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(text: &str) -> Stamped {
    let what = What::Error { text: text.into() };
    Stamped { epoch: "0".into(), seq: 1, event: Event { at: Wall(0), user: None, what } }
}

#[test]
fn it_says_what_it_is_and_answers_by_id() {
    let mut json = Json::new(true, Rc::default());
    assert_eq!(lines(&mut json), [json!({"mode": "json", "interface": "org.klatsch.Chat"})]);
    json.feed(0, b"{\"id\":1,\"method\":\"Status\"}\r\n\r\n");
    json.feed(
        0,
        b"{\"id\":\"two\",\"method\":\"org.klatsch.Chat.Send\",\"parameters\":{\"to\":[\"b\"],",
    );
    json.feed(0, b"\"text\":\"hi\",\"user\":\"anna\"}}\n");
    assert_eq!(json.next_ask(), Some((None, Command::Status {})));
    assert_eq!(json.next_ask(), None, "one at a time");
    json.answer(Ok(samples::answer_to(&Command::Status {}).1));
    let (user, command) = json.next_ask().unwrap();
    assert_eq!(user.as_deref(), Some("anna"));
    assert!(matches!(command, Command::Send { .. }));
    json.answer(Err(Refusal::NoSuchPeer { name: "b".into() }));
    let said = lines(&mut json);
    assert_eq!((&said[0]["id"], said[0]["parameters"]["epoch"].is_string()), (&json!(1), true));
    let error = json!({"id": "two", "error": "org.klatsch.Chat.NoSuchPeer",
        "parameters": {"name": "b"}});
    assert_eq!(said[1], error);
    assert!(json.is_idle());
}

#[test]
fn every_method_of_the_socket_is_there() {
    for command in samples::commands() {
        if matches!(command, Command::SendFile { .. } | Command::Update { .. }) {
            continue;
        }
        let mut json = session();
        let request = Request::Act { user: None, command: command.clone() };
        let (method, parameters) = request.to_json();
        let line = json!({"id": 7, "method": method, "parameters": parameters});
        json.feed(0, format!("{line}\n").as_bytes());
        assert_eq!(json.next_ask(), Some((None, command)));
    }
}

#[test]
fn a_run_of_junk_is_one_error_and_the_next_request_is_understood() {
    let mut json = session();
    let mut random = fastrand::Rng::with_seed(9);
    let noise: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    for piece in noise.chunks(1_000) {
        json.feed(0, piece);
    }
    json.feed(0, b"\n[1,2]\n7\n\"x\"\n{}\n{\"method\":7}\n");
    let said = lines(&mut json);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["error"], "org.varlink.service.InvalidParameter");
    json.feed(0, b"{\"id\":1,\"method\":\"Who\"}\n");
    assert_eq!(json.next_ask(), Some((None, Command::Who { gone: false })));
    json.feed(0, b"more junk\n");
    assert_eq!(lines(&mut json).len(), 1, "and a new run is said again");
}

#[test]
fn half_a_line_of_noise_does_not_swallow_a_request_for_long() {
    let mut json = session();
    json.feed(1_000, b"U-Boot 2026.01");
    assert_eq!(json.wake(), Some(1_000 + LINE_MS));
    json.tick(1_000 + LINE_MS);
    assert_eq!(lines(&mut json).len(), 1);
    json.feed(9_000, b"{\"id\":1,\"method\":\"Who\"}\n");
    assert!(json.next_ask().is_some());
    assert_eq!(json.wake(), None);
}

#[test]
fn one_byte_past_the_longest_line_is_said_and_dropped() {
    let mut json = session();
    let mut line = b"{\"id\":1,\"method\":\"Who\",\"parameters\":{}}".to_vec();
    line.resize(MAX_FRAME, b' ');
    json.feed(0, &line);
    json.feed(0, b"\n");
    assert!(json.next_ask().is_some());
    json.answer(Ok(Answer::Done));
    lines(&mut json);
    line.push(b' ');
    json.feed(0, &line);
    json.feed(0, b"\n{\"id\":2,\"method\":\"Who\"}\n");
    let said = lines(&mut json);
    assert_eq!(said[0]["error"], "org.klatsch.Chat.TooLong");
    assert_eq!(said[0]["parameters"], json!({"bytes": MAX_FRAME + 1, "limit": MAX_FRAME}));
    assert!(json.next_ask().is_some());
}

#[test]
fn wrong_requests_get_the_sockets_errors() {
    let mut json = session();
    for (line, error, what) in [
        (r#"{"id":1,"method":"Fly"}"#, "MethodNotFound", "Fly"),
        (r#"{"id":1,"method":"org.other.Status"}"#, "MethodNotFound", "org.other.Status"),
        (r#"{"id":1,"method":"Send","parameters":{"to":["a"]}}"#, "InvalidParameter", "text"),
        (r#"{"id":1,"method":"Who","parameters":{"gone":1}}"#, "InvalidParameter", "gone"),
        (r#"{"id":[1],"method":"Who"}"#, "InvalidParameter", "id"),
        (r#"{"id":1,"method":"Unlock"}"#, "InvalidParameter", "pin"),
    ] {
        json.feed(0, format!("{line}\n").as_bytes());
        let said = lines(&mut json);
        assert_eq!(said[0]["error"], format!("org.varlink.service.{error}"), "{line}");
        let parameters = said[0]["parameters"].as_object().unwrap();
        assert_eq!(parameters.values().next().unwrap(), what, "{line}");
    }
    json.feed(0, b"{\"method\":\"Who\",\"oneway\":true}\n");
    assert!(json.next_ask().is_some());
    json.answer(Ok(Answer::Done));
    assert!(lines(&mut json).is_empty());
}

#[test]
fn one_request_past_the_limit_is_refused_with_its_id() {
    let mut json = session();
    for id in 0..=MAX_ASKS {
        json.feed(0, format!("{{\"id\":{id},\"method\":\"Who\"}}\n").as_bytes());
    }
    let said = lines(&mut json);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["id"], MAX_ASKS);
    assert_eq!(said[0]["error"], "org.klatsch.Chat.TooMany");
    let long = "x".repeat(MAX_ID + 1);
    json.feed(0, format!("{{\"id\":\"{long}\",\"method\":\"Who\"}}\n").as_bytes());
    assert_eq!(lines(&mut json)[0]["parameters"]["parameter"], "id");
}

#[test]
fn events_come_under_the_subscriptions_id_until_it_ends() {
    let mut json = session();
    json.event(&event("before"));
    let since =
        b"{\"id\":5,\"method\":\"Subscribe\",\"parameters\":{\"since\":\"0:1\",\"ready\":true}}\n";
    json.feed(0, since);
    assert_eq!(json.wants_events(), Some(Some("0:1")));
    json.subscribe(Wall(0), Ok(Some(("0".into(), 4))));
    assert_eq!(json.wants_events(), None);
    json.event(&event("live"));
    let said = lines(&mut json);
    let ready = json!({"epoch": "0", "seq": 4, "user": null, "at": "1970-01-01T00:00:00.000Z",
        "kind": "ready"});
    assert_eq!(said[0]["parameters"]["event"], ready);
    assert_eq!((&said[1]["id"], &said[1]["continues"]), (&json!(5), &json!(true)));
    assert_eq!(said[1]["parameters"]["event"]["text"], "live");
    assert!(json.has_room());
    while json.out.len() < MAX_OUTPUT {
        json.event(&event("more"));
    }
    assert!(!json.has_room(), "the rest waits in the ring");
    json.take_output();
    json.feed(0, b"{\"id\":6,\"method\":\"Unsubscribe\"}\n");
    json.event(&event("after"));
    assert_eq!(lines(&mut json).len(), 1);
    json.feed(0, b"{\"id\":7,\"method\":\"Subscribe\",\"parameters\":{\"since\":\"x\"}}\n");
    json.subscribe(Wall(0), Ok(None));
    assert_eq!(lines(&mut json)[0]["parameters"]["parameter"], "since");
}

#[test]
fn mode_text_ends_it_and_hands_over_what_follows() {
    let mut json = session();
    json.feed(0, b"mode json\n");
    assert_eq!(lines(&mut json)[0]["mode"], "json");
    assert_eq!(json.wants_text(), None);
    json.feed(0, b"Mode Text\r\nWHO\r");
    assert_eq!(json.wants_text().as_deref(), Some(&b"\nWHO\r"[..]));
}

#[test]
fn the_lock_holds_for_programs_too() {
    let mut line = Serial::on(Path::new("/dev/x"));
    line.set("pin", "4711").unwrap();
    line.set("idle", "10").unwrap();
    let denied = |json: &mut Json| {
        let said = lines(json);
        assert_eq!(said[0]["error"], "org.klatsch.Chat.Denied", "{said:?}");
    };
    for scope in ["operator", "console"] {
        line.set("lock", scope).unwrap();
        let standing = Rc::new(RefCell::new(Standing::new(Lock::of(&line))));
        let mut json = Json::new(true, standing);
        json.take_output();
        json.feed(0, b"{\"method\":\"Who\"}\n");
        if scope == "console" {
            denied(&mut json);
        } else {
            assert!(json.next_ask().is_some());
            json.answer(Ok(Answer::Done));
            json.take_output();
        }
        for method in ["Reboot", "Log", "Network", "Config"] {
            json.feed(0, format!("{{\"method\":\"{method}\"}}\n").as_bytes());
            denied(&mut json);
        }
        json.feed(
            0,
            b"{\"method\":\"SendFile\",\"parameters\":{\"to\":[\"a\"],\"path\":\"/x\"}}\n",
        );
        denied(&mut json);
        json.feed(0, b"{\"method\":\"Unlock\",\"parameters\":{\"pin\":\"1\"}}\n");
        denied(&mut json);
        json.feed(1_000, b"{\"method\":\"Unlock\",\"parameters\":{\"pin\":\"4711\"}}\n");
        assert!(lines(&mut json)[0].get("error").is_none());
        json.feed(1_000, b"{\"method\":\"Reboot\"}\n{\"method\":\"Subscribe\"}\n");
        assert_eq!(json.next_ask().map(|a| a.1), Some(Command::Reboot {}));
        json.subscribe(Wall(0), Ok(Some(("0".into(), 4))));
        json.tick(11_000);
        json.event(&event("secret"));
        assert_eq!(lines(&mut json).is_empty(), scope == "console");
    }
    let mut json = Json::new(false, Rc::default());
    json.take_output();
    json.feed(0, b"{\"method\":\"Config\",\"parameters\":{\"key\":\"bell\",\"value\":\"on\"}}\n");
    denied(&mut json);
}

#[test]
fn a_pin_that_is_set_elsewhere_is_told_to_no_locked_line() {
    let mut line = Serial::on(Path::new("/dev/x"));
    line.set("pin", "4711").unwrap();
    let set = |key: &str| {
        let what = What::Config { key: key.into(), value: "1234".into() };
        Stamped { epoch: "0".into(), seq: 1, event: Event { at: Wall(0), user: None, what } }
    };
    let standing = Rc::new(RefCell::new(Standing::new(Lock::of(&line))));
    let mut json = Json::new(true, standing);
    json.feed(0, b"{\"method\":\"Subscribe\"}\n");
    json.subscribe(Wall(0), Ok(Some(("0".into(), 4))));
    json.take_output();
    json.event(&set("web.operator-pin"));
    assert!(lines(&mut json).is_empty());
    json.event(&set("bell"));
    assert_eq!(lines(&mut json).len(), 1);
    json.feed(0, b"{\"method\":\"Unlock\",\"parameters\":{\"pin\":\"4711\"}}\n");
    json.take_output();
    json.event(&set("web.operator-pin"));
    assert_eq!(lines(&mut json).len(), 1);
}

proptest::proptest! {
    #[test]
    fn any_bytes_leave_a_session_that_answers(
        pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..50), 0..20)
    ) {
        let mut json = session();
        for piece in pieces {
            json.feed(0, &piece);
        }
        if json.wants_text().is_none() {
            json.take_output();
            json.feed(0, b"\n{\"id\":99,\"method\":\"Who\"}\n");
            let mut asked = false;
            while let Some((_, command)) = json.next_ask() {
                asked |= command == Command::Who { gone: false };
                json.answer(Ok(Answer::Done));
            }
            proptest::prop_assert!(asked);
        }
    }
}
