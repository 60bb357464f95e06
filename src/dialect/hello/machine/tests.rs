//! The machine by hand: what it hears, what it says, each limit and one past it.

use proptest::prelude::*;

use super::super::{HISTORY, MAX_OBJECT};
use super::*;
use crate::model::Wall;
use crate::model::net::ACCEPTED;

const US: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 10);
const VANIS: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 11);
const START: u64 = 1_795_228_536_764;

struct Bench {
    machine: Machine,
    now: Now,
    accepted: u64,
    net: VecDeque<Net>,
    heard: Vec<Heard>,
}

impl Bench {
    /// A machine on a link, both ports open, its first hello said.
    fn new() -> Bench {
        let now = Now { mono: 1_000_000, wall: Wall(START) };
        let setup = Setup {
            port: 9876,
            peer_id: "us".into(),
            broadcast: Vec::new(),
            period: 5_000,
            present: true,
        };
        let machine = Machine::new(now, setup, 7);
        let mut bench =
            Bench { machine, now, accepted: 0, net: VecDeque::new(), heard: Vec::new() };
        let link = Link {
            index: 2,
            name: "eth0".into(),
            address: US,
            prefix: 12,
            broadcast: Some(Ipv4Addr::new(172, 31, 255, 255)),
        };
        bench.machine.set_links(now, vec![link]);
        bench.run();
        for socket in [bench.udp(), bench.tcp()] {
            bench.machine.bound(now, socket);
        }
        bench.machine.tick(now);
        bench.run();
        bench.net.clear();
        bench.heard.clear();
        bench
    }

    fn udp(&self) -> SocketId {
        self.machine.udp.socket.unwrap()
    }

    fn tcp(&self) -> SocketId {
        self.machine.tcp.socket.unwrap()
    }

    fn run(&mut self) {
        while let Some(out) = self.machine.poll() {
            match out {
                Out::Net(net) => self.net.push_back(net),
                Out::Heard(heard) => self.heard.push(heard),
            }
        }
    }

    /// Turns the clock, waking the machine whenever it wants to be.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + ms;
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= end) {
            let step = at.saturating_sub(self.now.mono);
            self.now.mono += step;
            self.now.wall.0 += step;
            self.machine.tick(self.now);
            assert!(self.machine.wake_at().is_none_or(|at| at > self.now.mono), "it spins");
            self.run();
        }
        self.now.wall.0 += end - self.now.mono;
        self.now.mono = end;
    }

    fn udp_from(&mut self, ip: Ipv4Addr, port: u16, bytes: &str) {
        let socket = self.udp();
        self.machine.datagram(self.now, socket, SocketAddrV4::new(ip, port), bytes.as_bytes());
        self.run();
    }

    fn hello_from(&mut self, ip: Ipv4Addr, name: &str) {
        self.udp_from(ip, 9876, &format!(r#"{{"command":"hello","peer_id":"{name}"}}"#));
    }

    fn accept(&mut self, ip: Ipv4Addr) -> StreamId {
        self.accepted += 1;
        let stream = StreamId(ACCEPTED | self.accepted);
        let socket = self.tcp();
        self.machine.accepted(self.now, socket, stream, SocketAddrV4::new(ip, 40_000));
        self.run();
        stream
    }

    fn bytes(&mut self, stream: StreamId, bytes: &str) {
        for piece in bytes.as_bytes().chunks(crate::model::limits::CHUNK) {
            self.machine.stream_bytes(self.now, stream, piece);
        }
        self.run();
    }

    /// What was written to a stream; the kernel takes it all.
    fn written(&mut self, stream: StreamId) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            let at = self.net.iter().position(|n| matches!(n, Net::Write(s, _) if *s == stream));
            let Some(Net::Write(_, bytes)) = at.and_then(|at| self.net.remove(at)) else {
                return out;
            };
            out.push(String::from_utf8(bytes).unwrap());
            self.machine.wrote(self.now, stream);
            self.run();
        }
    }

    /// The streams that the machine wants made.
    fn connects(&mut self) -> Vec<(StreamId, SocketAddrV4)> {
        let all = std::mem::take(&mut self.net);
        let connect = |n: &Net| match n {
            Net::Connect(stream, to) => Some((*stream, *to)),
            _ => None,
        };
        let found = all.iter().filter_map(connect).collect();
        self.net = all.into_iter().filter(|n| !matches!(n, Net::Connect(..))).collect();
        found
    }

    fn closed(&mut self, stream: StreamId) -> bool {
        self.net.contains(&Net::Close(stream))
    }

    fn refuse(&mut self, stream: StreamId) {
        let error = IoError::new(Trouble::Refused, "nobody listens there");
        self.machine.stream_closed(self.now, stream, &error);
        self.run();
    }

    /// Somebody says hello, we connect, and the handshake is done.
    fn session_with(&mut self, ip: Ipv4Addr, name: &str) -> StreamId {
        self.hello_from(ip, name);
        let stream = self.connects()[0].0;
        self.machine.connected(self.now, stream);
        self.run();
        assert_eq!(self.written(stream), ["{\"command\":\"hello\",\"peer_id\":\"us\"}\n"]);
        self.bytes(stream, "{\"status\":\"ok\",\"messages\":{}}\n");
        stream
    }

    fn heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}

fn contact(ip: Ipv4Addr, name: &str) -> Contact {
    Contact { name: name.into(), at: SocketAddrV4::new(ip, 9876) }
}

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
    let connects: Vec<_> = bench.connects().into_iter().map(|(_, to)| to).collect();
    assert_eq!(connects, [SocketAddrV4::new(VANIS, 9876)]);
    let bytes = b"{\"status\":\"ok\",\"peer_id\":\"us\"}\n".to_vec();
    let (socket, to) = (bench.udp(), SocketAddrV4::new(VANIS, 47_958));
    assert_eq!(bench.net, [Net::Send { socket, to, bytes }]);
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
fn a_handshake_merges_the_history_and_tells_the_session() {
    let mut bench = Bench::new();
    bench.hello_from(VANIS, "vanis1");
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
    bench.hello_from(VANIS, "cesar-peer");
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
fn connections_that_come_to_nothing_are_tried_ever_more_rarely() {
    let mut bench = Bench::new();
    bench.hello_from(VANIS, "husak");
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
    bench.hello_from(VANIS, "husak");
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
fn an_answer_that_does_not_come_in_30_s_ends_the_session_and_the_text_goes_again() {
    let mut bench = Bench::new();
    let stream = bench.session_with(VANIS, "vanis1");
    bench.machine.say(bench.now, "x", &[(1, VANIS)]);
    bench.run();
    bench.written(stream);
    bench.heard();
    for _ in 0..5 {
        bench.pass(WAIT_MS / 6);
        bench.hello_from(VANIS, "vanis1");
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
    bench.hello_from(VANIS, "vanis1");
    bench.connects(); // never made: the old address is dead
    bench.machine.say(bench.now, "warte", &[(1, VANIS)]);
    bench.run();
    bench.heard();
    bench.pass(5_000);
    let new = Ipv4Addr::new(172, 29, 1, 77);
    bench.hello_from(new, "vanis1");
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
    bench.hello_from(VANIS, "vanis1");
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
    bench.hello_from(Ipv4Addr::LOCALHOST, "vanis");
    assert_eq!(bench.connects().len(), 1);
}

#[test]
fn one_peer_past_the_limit_waits() {
    let mut bench = Bench::new();
    let ip = |n: usize| Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + n as u32);
    for n in 0..=MAX_PEERS {
        bench.hello_from(ip(n), "x");
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
    bench.hello_from(VANIS, "vanis1"); // its connection is never made
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
    assert!(held(&bench.machine) <= super::super::MAX_HISTORY_BYTES);
}

/// Found by the property below: what waits for somebody who moved to an address that was looked at
/// already was due at once, and the machine woke for nothing.
#[test]
fn what_moves_with_its_recipient_wakes_nobody_in_vain() {
    let mut bench = Bench::new();
    let ip = |n: u8| Ipv4Addr::new(172, 29, 2, n + 1);
    bench.hello_from(ip(1), "b");
    let to: Vec<(u64, Ipv4Addr)> = (0..5).map(|n| (u64::from(n), ip(n))).collect();
    bench.machine.say(bench.now, "hi", &to);
    bench.hello_from(ip(0), "a");
    bench.pass(14_501);
    bench.hello_from(ip(0), "a");
    bench.hello_from(ip(3), "b");
    bench.pass(5_780);
    for (at, name) in [(0, "a"), (2, "a"), (0, "a"), (1, "b"), (0, "a")] {
        bench.hello_from(ip(at), name);
    }
    bench.pass(9_719);
}

#[derive(Clone, Debug)]
enum Step {
    Hello(u8, u8),
    Accept(u8),
    Bytes(u8, String),
    End(u8),
    Break(u8),
    Connected(u8),
    Say,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![
        Just(r#"{"command":"hello","peer_id":"a"}"#.to_owned()),
        Just(
            r#"{"status":"ok","messages":{"1707243010934":{"peer_id":"b","message":"m"}}}"#.into()
        ),
        Just(r#"{"status":"ok"}"#.to_owned()),
        Just(r#"{"status":"error","message":"Missing peer_id"}"#.to_owned()),
        Just(r#"{"command":"new_message","message":"x","message_id":1795228536764}"#.to_owned()),
        "[ -~]{0,20}",
    ];
    prop_oneof![
        (0u8..5, 0u8..3).prop_map(|(ip, name)| Step::Hello(ip, name)),
        (0u8..5).prop_map(Step::Accept),
        (any::<u8>(), said).prop_map(|(n, said)| Step::Bytes(n, said)),
        any::<u8>().prop_map(Step::End),
        any::<u8>().prop_map(Step::Break),
        any::<u8>().prop_map(Step::Connected),
        Just(Step::Say),
        (0u32..40_000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens in whatever order: it never spins, each tag has one fate, and after a
    /// while of silence nothing is left.
    #[test]
    fn any_order_of_events_ends_well(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        let ip = |n: u8| Ipv4Addr::new(172, 29, 2, n + 1);
        let mut streams: Vec<StreamId> = Vec::new();
        let mut tag = 0;
        let mut tags = Vec::new();
        for step in steps {
            streams.extend(bench.connects().into_iter().map(|(s, _)| s));
            let pick = |n: u8| streams.get(usize::from(n) % streams.len().max(1)).copied();
            match step {
                Step::Hello(at, name) => bench.hello_from(ip(at), ["a", "b", "us"][usize::from(name)]),
                Step::Accept(at) => {
                    let stream = bench.accept(ip(at));
                    streams.push(stream);
                }
                Step::Bytes(n, said) => if let Some(s) = pick(n) { bench.bytes(s, &said) },
                Step::End(n) => if let Some(s) = pick(n) {
                    bench.machine.stream_end(bench.now, s);
                },
                Step::Break(n) => if let Some(s) = pick(n) { bench.refuse(s) },
                Step::Connected(n) => if let Some(s) = pick(n).filter(|s| s.0 & ACCEPTED == 0) {
                    let making = bench.machine.sessions.get(&s).is_some_and(|s| !s.open);
                    if making { bench.machine.connected(bench.now, s) }
                },
                Step::Say => {
                    let to = (0..5).map(|n| { tag += 1; (tag, ip(n)) }).collect::<Vec<_>>();
                    tags.extend(to.iter().map(|(tag, _)| *tag));
                    bench.machine.say(bench.now, "hi", &to);
                }
                Step::Pass(ms) => bench.pass(u64::from(ms)),
            }
            bench.run();
            for stream in &streams { bench.written(*stream); }
        }
        for _ in 0..40 {
            let made: Vec<StreamId> = bench.machine.sessions.keys().copied().collect();
            for stream in made { bench.refuse(stream); }
            bench.pass(10_000);
        }
        prop_assert!(bench.machine.peers.is_empty() && bench.machine.sessions.is_empty());
        let mut fates: Vec<u64> = bench.heard().into_iter().filter_map(|h| match h {
            Heard::Delivered(tag) | Heard::NotSent(tag, _) => Some(tag),
            _ => None,
        }).collect();
        fates.sort_unstable();
        prop_assert_eq!(fates, tags);
    }
}
