//! Each limit and one past it, and what the hostile fill.

use super::*;
use crate::dialect::hello::{HISTORY, MAX_HISTORY_BYTES, MAX_OBJECT};

#[test]
fn one_peer_past_the_limit_waits() {
    let mut bench = Bench::new();
    let ip = |n: usize| Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + n as u32);
    for n in 0..=MAX_PEERS {
        bench.met(ip(n), "x");
    }
    assert_eq!(bench.machine.peers.len(), MAX_PEERS);
    let answers = bench.net.iter().filter(|n| matches!(n, Net::Send { .. })).count();
    assert_eq!(answers, MAX_ANSWERS as usize);
    assert!(bench.connects().len() <= 8);
    bench.pass(HERE_MS + 120_000);
    assert_eq!((bench.machine.peers.len(), bench.machine.sessions.len()), (0, 0));
}

#[test]
fn one_session_past_the_limit_is_closed() {
    let mut bench = Bench::new();
    let ip = |n: usize| Ipv4Addr::new(172, 20, 1, u8::try_from(n / 4 + 1).unwrap());
    let streams: Vec<StreamId> = (0..=MAX_SESSIONS).map(|n| bench.accept(ip(n))).collect();
    assert!(bench.closed(streams[MAX_SESSIONS]));
    assert_eq!(bench.machine.sessions.len(), MAX_SESSIONS);
    // one address that makes more loses its oldest
    let fifth = bench.accept(ip(0));
    assert!(bench.closed(streams[0]) && !bench.closed(fifth));
    // who does not say hello is closed in time
    bench.pass(WAIT_MS);
    assert_eq!(bench.machine.sessions.len(), 0);
}

#[test]
fn one_meaningless_object_past_the_limit_ends_the_session() {
    let mut bench = Bench::new();
    let stream = bench.accept(VANIS);
    for _ in 0..MAX_BAD {
        bench.bytes(stream, "neco\n");
        assert_eq!(bench.written(stream), ["{\"status\":\"error\",\"error\":\"Invalid JSON\"}\n"]);
    }
    bench.bytes(stream, "neco\n");
    assert!(bench.closed(stream));
}

#[test]
fn one_message_past_the_limit_pushes_the_oldest_out() {
    let mut bench = Bench::new();
    bench.met(VANIS, "vanis1"); // its connection is never made
    bench.heard();
    for n in 0..=MAX_QUEUE as u64 {
        bench.machine.say(bench.now, "x", &[(n, VANIS)]);
    }
    bench.run();
    assert!(matches!(&bench.heard()[..], [Heard::NotSent(0, e)] if e.kind == Trouble::Exhausted));
    bench.pass(WAIT_MS);
    let not_sent = |h: &&Heard| matches!(h, Heard::NotSent(..));
    assert_eq!(bench.heard().iter().filter(not_sent).count(), MAX_QUEUE, "none is forgotten");
}

#[test]
fn a_text_that_one_segment_does_not_hold_is_refused() {
    let bench = Bench::new();
    let Err(limit) = bench.machine.fits(&"x".repeat(MAX_LINE)) else { panic!() };
    assert!(bench.machine.fits(&"x".repeat(limit)).is_ok());
    assert!(bench.machine.fits(&"x".repeat(limit + 1)).is_err());
    assert!(bench.machine.fits(&"\u{1}".repeat(limit / 2)).is_err());
}

/// All that a machine holds of what hostile peers sent.
fn held(machine: &Machine) -> usize {
    let sessions: usize = machine.sessions.values().map(|s| s.unwritten() + s.held()).sum();
    let history: usize = machine.history().map(|m| m.peer_id.len() + m.text.len()).sum();
    sessions + history
}

#[test]
fn endless_lines_on_every_session_hold_a_bounded_memory() {
    let mut bench = Bench::new();
    let mut most = 0;
    let streams: Vec<StreamId> = (0..MAX_SESSIONS as u8)
        .map(|n| bench.accept(Ipv4Addr::new(172, 20, 1, n / 4 + 1)))
        .collect();
    let begin = format!("{{\"x\":\"{}", "x".repeat(16_000));
    for stream in &streams {
        bench.bytes(*stream, &begin);
    }
    for _ in 0..MAX_OBJECT / 16_000 - 1 {
        for stream in &streams {
            bench.bytes(*stream, &"x".repeat(16_000));
            most = most.max(held(&bench.machine));
        }
    }
    assert!(most <= MAX_BUFFERED + 16_000, "{most}");
    // a 10 MB object, then deep nesting, on one
    let stream = bench.accept(Ipv4Addr::new(172, 20, 9, 9));
    bench.bytes(stream, &format!("{{\"x\":\"{}\"}}", "x".repeat(10 << 20)));
    bench.bytes(stream, &format!("\n{}", "{\"a\":".repeat(100_000)));
    assert!(held(&bench.machine) <= MAX_BUFFERED + 16_000);
}

/// Whoever asks for the whole history without end and reads nothing is read no further.
#[test]
fn a_slow_reader_holds_a_bounded_memory() {
    let mut bench = Bench::new();
    for n in 0..HISTORY as u64 {
        let message = Message { id: START + n, peer_id: "a".into(), text: "y".repeat(600) };
        bench.machine.history.told(bench.now, &message);
    }
    let stream = bench.accept(VANIS);
    let hellos = r#"{"command":"hello","peer_id":"a"}"#.repeat(480);
    bench.bytes(stream, &hellos);
    assert!(bench.machine.sessions[&stream].unwritten() <= 64 * 1024);
    assert!(!bench.net.contains(&Net::ReadMore(stream)));
}

#[test]
fn what_others_tell_without_end_fills_the_history_and_no_more() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "vanis1");
    for round in 0..50u64 {
        let entry = |n: u64| {
            let id = START + round * 100 + n;
            format!(r#""{id}":{{"peer_id":"a","message":"{}"}}"#, "z".repeat(2_000))
        };
        let all: Vec<String> = (0..100).map(entry).collect();
        bench.bytes(stream, &format!(r#"{{"status":"ok","messages":{{{}}}}}"#, all.join(",")));
        bench.heard();
    }
    assert!(held(&bench.machine) <= MAX_HISTORY_BYTES);
}
