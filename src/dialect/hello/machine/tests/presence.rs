//! Who is here: hellos, silence, whom we connect to, and the ports for it.

use super::*;

#[test]
fn hello_is_said_from_9876_to_the_broadcast_address_every_five_seconds() {
    let mut bench = Bench::new();
    let socket = bench.udp();
    for _ in 0..3 {
        bench.pass(5_000);
        let to = SocketAddrV4::new(Ipv4Addr::new(172, 31, 255, 255), 9876);
        let bytes = b"{\"command\":\"hello\",\"peer_id\":\"us\"}\n".to_vec();
        assert_eq!(bench.net.drain(..).collect::<Vec<_>>(), [Net::Send { socket, to, bytes }]);
    }
}

#[test]
fn our_own_hello_is_ignored_and_another_program_of_this_host_is_a_peer() {
    let mut bench = Bench::new();
    bench.hello_from(US, "us");
    assert_eq!((bench.heard(), bench.net.len()), (vec![], 0));
    bench.hello_from(US, "other");
    assert_eq!(bench.heard(), [Heard::Here(contact(US, "other"))]);
    assert_eq!(bench.connects(), [], "its port is ours");
    // a new name of ours, while the old one still comes back
    let setup = Setup { peer_id: "new".into(), ..bench.machine.setup.clone() };
    bench.machine.set_live(bench.now, setup);
    bench.hello_from(US, "us");
    assert_eq!(bench.heard(), []);
}

#[test]
fn a_hello_is_answered_to_where_it_came_from_and_connected_to_at_9876() {
    let mut bench = Bench::new();
    bench.udp_from(VANIS, 47_958, r#"{"command":"hello","peer_id":"kal"}"#);
    assert_eq!(bench.heard(), [Heard::Here(contact(VANIS, "kal"))]);
    let bytes = b"{\"status\":\"ok\",\"peer_id\":\"us\"}\n".to_vec();
    let (socket, to) = (bench.udp(), SocketAddrV4::new(VANIS, 47_958));
    assert_eq!(bench.net, [Net::Send { socket, to, bytes }]);
    bench.udp_from(VANIS, 47_958, r#"{"command":"hello","peer_id":"kal"}"#);
    let connects: Vec<_> = bench.connects().into_iter().map(|(_, to)| to).collect();
    assert_eq!(connects, [SocketAddrV4::new(VANIS, 9876)]);
}

#[test]
fn one_hello_that_may_be_forged_draws_no_connection_and_whoever_answers_ours_is_connected_to() {
    let mut bench = Bench::new();
    bench.hello_from(VANIS, "kal");
    bench.pass(4_000);
    assert_eq!(bench.connects(), []);
    bench.udp_from(VANIS, 9876, r#"{"status":"ok","peer_id":"kal"}"#);
    assert_eq!(bench.connects().len(), 1);
    // by TCP nobody forges his address
    let other = Ipv4Addr::new(172, 29, 1, 12);
    let stream = bench.accept(other);
    bench.bytes(stream, "{\"command\":\"hello\",\"peer_id\":\"simon\"}\n");
    assert_eq!(bench.connects().len(), 1);
}

#[test]
fn what_is_no_json_gets_no_answer_by_udp() {
    let mut bench = Bench::new();
    for bytes in ["\u{1b}[95mUDP\u{1b}[0m|Answer fine", ":]", "", "[]", "{\"command\":\"bla\"}"] {
        bench.udp_from(VANIS, 9876, bytes);
    }
    assert_eq!(bench.net.len(), 0);
    // an answer makes no answer either
    bench.udp_from(VANIS, 9876, r#"{"status":"ok","peer_id":"vanis1"}"#);
    assert!(bench.net.iter().all(|n| matches!(n, Net::Connect(..))));
}

#[test]
fn nobody_off_the_link_is_talked_to() {
    let mut bench = Bench::new();
    let far = Ipv4Addr::new(8, 8, 8, 8);
    bench.hello_from(far, "far");
    assert_eq!((bench.heard(), bench.net.len()), (vec![], 0));
    let stream = bench.accept(far);
    assert!(bench.closed(stream));
}

#[test]
fn connections_that_come_to_nothing_are_tried_ever_more_rarely() {
    let mut bench = Bench::new();
    bench.met(VANIS, "husak");
    let mut tried = Vec::new();
    for _ in 0..600 {
        for (stream, _) in bench.connects() {
            tried.push(bench.now.mono);
            bench.refuse(stream);
        }
        bench.pass(1_000);
        bench.hello_from(VANIS, "husak");
    }
    let gaps: Vec<u64> = tried.windows(2).map(|w| (w[1] - w[0]) / 1_000).collect();
    assert!(gaps[0] <= 7 && gaps.iter().all(|g| *g <= 62), "{gaps:?}");
    assert!((10..16).contains(&tried.len()), "{gaps:?}");
}

#[test]
fn who_is_silent_is_gone_and_who_has_a_session_is_asked_first() {
    let mut bench = Bench::new();
    bench.met(VANIS, "husak");
    let stream = bench.connects()[0].0;
    bench.refuse(stream);
    bench.heard();
    bench.pass(HERE_MS - 1_000);
    for (stream, _) in bench.connects() {
        bench.refuse(stream);
    }
    assert_eq!(bench.heard(), []);
    bench.pass(1_000);
    assert!(matches!(&bench.heard()[..], [Heard::Gone(c, _)] if *c == contact(VANIS, "husak")));

    let stream = bench.session_with(VANIS, "vanis1");
    bench.heard();
    bench.pass(SILENT_MS);
    assert_eq!(bench.written(stream), ["{\"command\":\"hello\",\"peer_id\":\"us\"}\n"]);
    bench.bytes(stream, "{\"status\":\"ok\",\"messages\":{}}");
    bench.pass(SILENT_MS - 1);
    assert_eq!(bench.heard(), [], "it answered");
    bench.pass(WAIT_MS + SILENT_MS + 10_000);
    assert!(matches!(
        &bench.heard()[..],
        [Heard::Session(_, false), Heard::Gone(..)] | [Heard::Gone(..)]
    ));
}

#[test]
fn two_programs_at_one_address_do_not_take_turns() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.hello_from(VANIS, "a");
        bench.hello_from(VANIS, "b");
        bench.pass(5_000);
    }
    assert_eq!(bench.heard(), [Heard::Here(contact(VANIS, "a"))]);
    for _ in 0..4 {
        bench.hello_from(VANIS, "b");
        bench.pass(5_000);
    }
    assert!(matches!(&bench.heard()[..], [Heard::Gone(..), Heard::Here(c)] if c.name == "b"));
}

#[test]
fn a_session_that_comes_and_goes_is_told_once() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        let stream = bench.accept(VANIS);
        bench.bytes(stream, r#"{"command":"hello","peer_id":"anton"}"#);
        bench.written(stream);
        bench.machine.stream_end(bench.now, stream);
        bench.run();
        bench.pass(5_000);
    }
    let sessions = |h: &Heard| matches!(h, Heard::Session(..));
    assert_eq!(bench.heard().into_iter().filter(sessions).count(), 1);
    bench.pass(2_000);
    assert_eq!(bench.heard(), [Heard::Session(contact(VANIS, "anton"), false)]);
}

#[test]
fn leaving_the_chat_closes_what_stands_and_says_no_more() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "vanis1");
    bench.heard();
    let setup = Setup { present: false, ..bench.machine.setup.clone() };
    bench.machine.set_live(bench.now, setup.clone());
    bench.run();
    assert!(bench.closed(stream));
    assert!(matches!(bench.heard()[..], [Heard::Session(_, false), Heard::Gone(..)]));
    bench.net.clear();
    bench.met(VANIS, "vanis1");
    bench.pass(60_000);
    assert_eq!((bench.net.len(), bench.heard().len()), (0, 0));
    bench.machine.set_live(bench.now, Setup { present: true, ..setup });
    bench.pass(0);
    assert_eq!(bench.net.len(), 1);
}

#[test]
fn a_port_that_is_taken_is_said_and_tried_again() {
    let mut bench = Bench::new();
    let now = bench.now;
    let mut machine = Machine::new(now, bench.machine.setup.clone(), 1);
    let binds: Vec<SocketId> = std::iter::from_fn(|| machine.poll())
        .map(|out| match out {
            Out::Net(Net::Bind(socket, _)) => socket,
            other => panic!("{other:?}"),
        })
        .collect();
    let error = IoError::new(Trouble::InUse, "vanis (pid 7) has it");
    machine.bound(now, binds[0]);
    machine.bind_failed(now, binds[1], error);
    bench.machine = machine;
    bench.run();
    let Some(Heard::Trouble(Some(text))) = bench.heard.last() else { panic!() };
    assert!(text.contains("TCP port 9876") && text.contains("vanis (pid 7)"), "{text}");
    bench.pass(REBIND_MS);
    assert!(bench.net.iter().any(|n| matches!(n, Net::Bind(_, Bind::Tcp(9876)))));
    // meanwhile a program of this host that has the port is connected to
    bench.machine.set_links(
        bench.now,
        vec![Link {
            index: 1,
            name: "lo".into(),
            address: Ipv4Addr::LOCALHOST,
            prefix: 8,
            broadcast: Some(Ipv4Addr::new(127, 255, 255, 255)),
        }],
    );
    bench.met(Ipv4Addr::LOCALHOST, "vanis");
    assert_eq!(bench.connects().len(), 1);
}
