//! What is said, and the history: each program's form, one at a time, until it is delivered.

use super::*;

#[test]
fn a_handshake_merges_the_history_and_tells_the_session() {
    let mut bench = Bench::new();
    bench.met(VANIS, "vanis1");
    let stream = bench.connects()[0].0;
    bench.machine.connected(bench.now, stream);
    bench.run();
    bench.heard();
    let history = format!(
        r#"{{"status":"ok","messages":{{"{START}":{{"peer_id":"vanis1","message":"a"}},
        "{}":{{"peer_id":"cesar","message":"b"}},"{}":{{"peer_id":"us","message":"c"}}}}}}"#,
        START + 1,
        START + 2
    );
    bench.bytes(stream, &history);
    let nowhere = Contact { name: "cesar".into(), at: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) };
    let text = |from: Contact, text: &str, said| Heard::Text {
        from,
        to: None,
        text: text.into(),
        said: Some(Wall(said)),
    };
    assert_eq!(
        bench.heard(),
        [
            Heard::Session(contact(VANIS, "vanis1"), true),
            text(contact(VANIS, "vanis1"), "a", START),
            text(nowhere, "b", START + 1),
        ],
        "what we said in an earlier run is no news"
    );
    assert_eq!(bench.machine.history().count(), 3);
    // the next who shakes hands gets it, and merging it again changes nothing
    let other = bench.accept(Ipv4Addr::new(172, 29, 1, 12));
    bench.bytes(other, r#"{"command":"hello","peer_id":"kal"}"#);
    let answer = bench.written(other).remove(0);
    bench.heard();
    bench.bytes(stream, &answer);
    assert_eq!(bench.heard(), []);
    let Ok(Said::Ok { messages: Some(all), .. }) = codec::object(answer.as_bytes()) else {
        panic!("{answer}")
    };
    assert_eq!(all.len(), 3);
}

#[test]
fn one_message_is_written_at_a_time_and_its_ok_is_the_delivery() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "vanis1");
    bench.heard();
    bench.machine.say(bench.now, "ahoj světe", &[(1, VANIS)]);
    bench.machine.say(bench.now, "nazdar", &[(2, VANIS)]);
    bench.run();
    let first = format!(
        "{{\"command\":\"new_message\",\"message\":\"ahoj světe\",\"message_id\":\"{START}\"}}\n"
    );
    assert_eq!(bench.written(stream), [first]);
    assert_eq!(bench.heard(), []);
    // a history is no answer to a message
    bench.bytes(stream, "{\"status\":\"ok\",\"messages\":{}}");
    assert_eq!(bench.heard(), []);
    bench.bytes(stream, "{\"status\":\"ok\"}\r\n");
    assert_eq!(bench.heard(), [Heard::Delivered(1)]);
    assert_eq!(bench.written(stream).len(), 1);
    bench.bytes(stream, "{\"status\":\"ok\"}");
    assert_eq!(bench.heard(), [Heard::Delivered(2)]);
}

/// captures/004-mix-cesar-kalash-vanis: it refuses what the assignment says, and closes.
#[test]
fn kalash_gets_its_message_with_our_name_over_the_next_connection() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "kal");
    bench.machine.say(bench.now, "z nas", &[(1, VANIS)]);
    bench.run();
    assert_eq!(bench.written(stream).len(), 1);
    bench.heard();
    bench.bytes(stream, "{\"status\":\"error\",\"message\":\"Missing peer_id in request {}\"}\n");
    bench.machine.stream_end(bench.now, stream);
    bench.run();
    bench.pass(100);
    let again = bench.connects()[0].0;
    bench.machine.connected(bench.now, again);
    bench.run();
    bench.written(again);
    bench.bytes(again, "{\"status\":\"ok\",\"messages\":{}}\n");
    let written = bench.written(again);
    assert!(written[0].contains("\"peer_id\":\"us\"") && written[0].contains("z nas"));
    assert!(written[0].contains(&START.to_string()), "the same id");
    bench.bytes(again, "{\"status\":\"ok\"}\n");
    assert_eq!(bench.heard(), [Heard::Delivered(1)]);
    // from then on at once
    bench.machine.say(bench.now, "noch was", &[(2, VANIS)]);
    bench.run();
    assert!(bench.written(again)[0].contains("\"peer_id\":\"us\""));
}

#[test]
fn a_peer_whose_messages_bear_its_name_gets_ours_so_at_once() {
    let mut bench = Bench::new();
    let ours = bench.session_with(VANIS, "kal");
    let theirs = bench.accept(VANIS);
    bench.bytes(theirs, r#"{"command":"hello","peer_id":"kal"}"#);
    let id = START + 5;
    bench.bytes(
        theirs,
        &format!(
            r#"{{"command":"new_message","message":"ahoj","peer_id":"kal","message_id":{id}}}"#
        ),
    );
    assert_eq!(bench.written(theirs)[1], "{\"status\":\"ok\"}\n");
    let from = contact(VANIS, "kal");
    let text = Heard::Text { from, to: None, text: "ahoj".into(), said: None };
    assert_eq!(bench.heard().last(), Some(&text));
    bench.machine.say(bench.now, "x", &[]);
    bench.run();
    assert!(bench.written(ours)[0].contains("\"peer_id\":\"us\""));
}

/// cesar and Simon listen on no TCP port, connect to us, and send their history unasked.
#[test]
fn who_takes_no_connection_gets_its_messages_over_its_own() {
    let mut bench = Bench::new();
    bench.met(VANIS, "cesar-peer");
    let stream = bench.connects()[0].0;
    bench.refuse(stream);
    bench.heard();
    bench.machine.say(bench.now, "zu früh", &[(1, VANIS)]);
    bench.run();
    assert!(matches!(bench.heard()[..], [Heard::NotSent(1, _)]));
    let theirs = bench.accept(VANIS);
    bench.bytes(theirs, "{\"command\": \"hello\", \"peer_id\": \"cesar-peer\"}\n");
    assert!(bench.written(theirs)[0].contains("zu früh"), "the history has it");
    let unasked = r#"{"status": "ok", "messages": {"1707243010934": {"peer_id": "cesar-peer", "message": "pokus"}}}"#;
    bench.bytes(theirs, unasked);
    assert_eq!(bench.written(theirs), Vec::<String>::new(), "a status is never answered");
    assert!(
        matches!(&bench.heard()[..], [Heard::Session(_, true), Heard::Text { text, .. }] if text == "pokus")
    );
    bench.machine.say(bench.now, "jetzt", &[(2, VANIS)]);
    bench.pass(200);
    assert_eq!(bench.written(theirs).len(), 1);
    bench.bytes(theirs, "{\"status\": \"ok\"}\n");
    assert_eq!(bench.heard(), [Heard::Delivered(2)]);
}

#[test]
fn an_answer_that_does_not_come_in_30_s_ends_the_session_and_the_text_goes_again() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "vanis1");
    bench.machine.say(bench.now, "x", &[(1, VANIS)]);
    bench.run();
    bench.written(stream);
    bench.heard();
    for _ in 0..5 {
        bench.pass(WAIT_MS / 6);
        bench.met(VANIS, "vanis1");
    }
    assert!(!bench.closed(stream));
    bench.pass(WAIT_MS / 6);
    assert!(bench.closed(stream));
    // its time to wait is over as well
    bench.pass(1);
    assert!(matches!(&bench.heard()[..], [Heard::NotSent(1, e)] if e.kind == Trouble::TimedOut));
}

#[test]
fn who_comes_back_with_another_address_takes_what_waits_along() {
    let mut bench = Bench::new();
    bench.met(VANIS, "vanis1");
    bench.connects(); // never made: the old address is dead
    bench.machine.say(bench.now, "warte", &[(1, VANIS)]);
    bench.run();
    bench.heard();
    bench.pass(5_000);
    let new = Ipv4Addr::new(172, 29, 1, 77);
    bench.met(new, "vanis1");
    let stream = bench.connects()[0].0;
    bench.machine.connected(bench.now, stream);
    bench.run();
    bench.written(stream);
    bench.bytes(stream, "{\"status\":\"ok\",\"messages\":{}}");
    bench.pass(10_000);
    let heard = bench.heard();
    assert!(heard.iter().any(|h| matches!(h, Heard::Gone(c, _) if *c == contact(VANIS, "vanis1"))));
    assert!(bench.written(stream)[0].contains("warte"));
    bench.bytes(stream, "{\"status\":\"ok\"}");
    assert_eq!(bench.heard(), [Heard::Delivered(1)]);
}
