//! Every named limit of the node, one past it.

use std::collections::HashSet;

use crate::bench::{Bench, To, addr, image, settings};
use klatsch::command::Command;
use klatsch::config::Kept;
use klatsch::dialect::slcp::machine;
use klatsch::model::limits::*;
use klatsch::model::{Answer, Delivery, Handle, Link, Net, Refusal, What};
use klatsch::node::io::Input;
use klatsch::node::users::{AUTOREPLY_MS, MAX_AUTOREPLIES_PER_HOST};

const PEER: &str = "192.168.178.11:5000";

fn bench() -> Bench {
    Bench::new("Ben", "192.168.178.12")
}

/// A node in a net of 65,000 addresses.
fn large_net() -> Bench {
    let mut bench = bench();
    let link = Link {
        index: 2,
        name: "eth0".into(),
        address: bench.ip,
        prefix: 16,
        broadcast: Some([192, 168, 255, 255].into()),
    };
    bench.input(Input::Links(vec![link]));
    bench.advance(5_000);
    bench.sent();
    bench.events();
    bench
}

fn host(n: usize) -> String {
    format!("192.168.{}.{}:5000", n / 250, n % 250 + 1)
}

fn too_many(answer: &Result<Answer, Refusal>) -> bool {
    matches!(answer, Err(Refusal::TooMany { .. }))
}

fn images_taken(bench: &mut Bench) -> usize {
    let events = bench.events();
    events.iter().filter(|e| matches!(e.what, What::Image { .. })).count()
}

fn troubles(bench: &mut Bench) -> Vec<String> {
    let trouble = |what| match what {
        What::Error { text } => Some(text),
        What::Transfer { reason: Some(text), .. } => Some(text),
        _ => None,
    };
    bench.events().into_iter().filter_map(|e| trouble(e.what)).collect()
}

#[test]
fn max_answers_in_answer_window_ms() {
    let mut bench = bench();
    for _ in 0..20 {
        bench.datagram(PEER, To::Discovery, "WHO\n");
        bench.advance(200);
    }
    assert_eq!(bench.datagrams().len(), machine::MAX_ANSWERS as usize);
    bench.advance(machine::ANSWER_WINDOW_MS);
    for n in 0..20 {
        bench.datagram(&format!("192.168.178.11:{}", 5_000 + n), To::Discovery, "WHO\n");
        bench.advance(200);
    }
    assert_eq!(bench.datagrams().len(), machine::MAX_ANSWERS_PER_HOST as usize);
    bench.advance(machine::ANSWER_WINDOW_MS);
    bench.datagram(PEER, To::Discovery, "WHO\n");
    bench.advance(500);
    assert_eq!(bench.datagrams().len(), 1);
}

#[test]
fn max_answer_bytes_max_waiting_and_max_sources() {
    let mut bench = large_net();
    // so many know us that an answer is as long as it can be
    for n in 0..16 {
        let join = format!("JOIN {:a<60} 5000\n", format!("p{n}"));
        bench.datagram(&host(60_000 + n), To::Discovery, join);
    }
    bench.advance(10_000);
    bench.sent();
    let (mut bytes, mut sources) = (Vec::new(), HashSet::new());
    for second in 0..5 {
        for n in 0..400 {
            bench.datagram(&host(second * 400 + n), To::Discovery, "WHO\n");
        }
        bench.advance(1_000);
        let sent = bench.datagrams();
        assert!(sent.iter().all(|(_, b)| b.len() <= SLCP_LINE));
        bytes.push(sent.iter().map(|(_, b)| b.len()).sum::<usize>());
        let to: HashSet<_> = sent.iter().map(|(to, _)| *to.ip()).collect();
        assert!(to.len() <= machine::MAX_WAITING);
        sources.extend(to);
    }
    assert!(bytes.iter().all(|b| *b <= machine::MAX_ANSWER_BYTES as usize), "{bytes:?}");
    assert!(sources.len() <= machine::MAX_SOURCES);
}

#[test]
fn max_streams_and_max_streams_per_source() {
    let mut bench = bench();
    for n in 0..=MAX_STREAMS_PER_SOURCE {
        let stream = bench.stream(&format!("192.168.178.11:{}", 40_000 + n), To::Tcp(0));
        assert_eq!(bench.flows[&stream].closed, n == MAX_STREAMS_PER_SOURCE);
    }
    for n in MAX_STREAMS_PER_SOURCE..=MAX_STREAMS {
        let stream = bench.stream(&format!("192.168.178.{}:40000", 20 + n), To::Tcp(0));
        assert_eq!(bench.flows[&stream].closed, n == MAX_STREAMS, "{n}");
    }
}

#[test]
fn stall_ms_ends_a_stream_a_header_and_an_offer() {
    let mut bench = bench();
    bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    let silent = bench.stream("192.168.178.11:40000", To::Tcp(0));
    let half = bench.stream("192.168.178.11:40001", To::Tcp(0));
    bench.bytes(half, [&b"IMG Nora 90\n"[..], &image(40)].concat());
    bench.datagram(PEER, To::Chat, "IMG Nora 90\n");
    let form = Some("jalal".to_owned());
    bench.ask(Command::SetForm { handle: "Nora".into(), form }).unwrap();
    bench.store.there.insert("/a".into(), image(90));
    bench.send_file(&["Nora"], "/a");
    bench.advance(STALL_MS - 1);
    assert!(!bench.flows[&silent].closed && !bench.flows[&half].closed);
    bench.events();
    bench.advance(2);
    assert!(bench.flows[&silent].closed && bench.flows[&half].closed);
    assert_eq!(troubles(&mut bench).len(), 3);
    assert_eq!((bench.store.under_way(), bench.store.kept.len()), (0, 0));
}

#[test]
fn max_transfers_and_max_transfers_per_peer() {
    let mut bench = bench();
    for n in 0..=MAX_TRANSFERS_PER_PEER {
        let stream = bench.stream(&format!("192.168.178.11:{}", 40_000 + n), To::Tcp(0));
        bench.bytes(stream, "IMG Nora 90\n");
        assert_eq!(bench.flows[&stream].closed, n == MAX_TRANSFERS_PER_PEER);
    }
    for n in MAX_TRANSFERS_PER_PEER..=MAX_TRANSFERS {
        let stream = bench.stream(&format!("192.168.178.{}:40000", 20 + n), To::Tcp(0));
        bench.bytes(stream, format!("IMG p{n} 90\n"));
        assert_eq!(bench.flows[&stream].closed, n == MAX_TRANSFERS);
    }
    bench.datagram("192.168.178.200:5000", To::Discovery, "JOIN Zoe 5000\n");
    let ticket = bench.send_file(&["Zoe"], "/a");
    assert!(too_many(&bench.answers.iter().find(|(t, _)| *t == ticket).unwrap().1));
}

#[test]
fn headers_by_datagram_are_bounded_by_max_transfers_too() {
    let mut bench = bench();
    for n in 0..=MAX_TRANSFERS {
        bench.datagram(&format!("192.168.178.{}:5000", 20 + n), To::Chat, "IMG x 90\n");
    }
    assert_eq!(bench.store.under_way(), MAX_TRANSFERS);
}

#[test]
fn max_waiting_bytes() {
    let mut bench = bench();
    bench.store.hold = true;
    let size = klatsch::node::MAX_WAITING_BYTES + 60_001;
    bench.datagram(PEER, To::Chat, format!("IMG Nora {size}\n"));
    for piece in image(size).chunks(60_000) {
        bench.datagram(PEER, To::Chat, piece);
    }
    bench.store.hold = false;
    bench.run();
    assert!(troubles(&mut bench).iter().any(|t| t.contains("faster than the disk")));
    assert_eq!((bench.store.under_way(), bench.store.kept.len()), (0, 0));
}

#[test]
fn max_peers_and_the_heard_are_not_displaced_by_forgeries() {
    let mut bench = large_net();
    for n in 0..100 {
        bench.datagram(&host(n), To::Discovery, format!("JOIN real{n} 5000\n"));
    }
    bench.advance(1_000);
    for n in 0..20_000 {
        bench.datagram(&host(1_000 + n), To::Discovery, format!("JOIN forged{n} 5000\n"));
        if n % 100 == 0 {
            let entry = |k| format!("listed{k} {} 5000", host(30_000 + k).replace(":5000", ""));
            let list: Vec<String> = (n..n + 15).map(entry).collect();
            let list = format!("KNOWUSERS {}\n", list.join(", "));
            bench.datagram(&host(1_000 + n), To::Discovery, list);
        }
    }
    let here: HashSet<String> = bench.here().into_iter().collect();
    assert!(here.len() <= MAX_PEERS);
    assert!((0..100).all(|n| here.contains(&format!("real{n}"))));
    // and whoever comes after the flood, and says so twice, stays too
    bench.datagram(&host(900), To::Discovery, "JOIN late 5000\n");
    bench.advance(1_000);
    bench.datagram(&host(900), To::Discovery, "JOIN late 5000\n");
    for n in 0..1_000 {
        bench.datagram(&host(40_000 + n), To::Discovery, format!("JOIN more{n} 5000\n"));
    }
    assert!(bench.here().contains(&"late".to_owned()));
}

#[test]
fn max_hints() {
    let mut bench = large_net();
    let list = |from: usize| {
        let entry = |k| format!("h{k} {} 5000", host(1_000 + k).replace(":5000", ""));
        let list: Vec<String> = (from..from + 40).map(entry).collect();
        format!("KNOWUSERS {}\n", list.join(", "))
    };
    bench.datagram(PEER, To::Discovery, list(0));
    bench.datagram(PEER, To::Discovery, list(40));
    assert_eq!(bench.here().len(), MAX_HINTS);
    // one of them says itself that it is here: there is room for one more
    bench.datagram(&host(1_003), To::Discovery, "JOIN h3 5000\n");
    bench.datagram(PEER, To::Discovery, list(40));
    assert_eq!(bench.here().len(), MAX_HINTS + 1);
    // the others do not answer, and are dropped: there is room again
    bench.advance(15_000);
    assert_eq!(bench.here(), ["h3"]);
    bench.datagram(PEER, To::Discovery, list(80));
    assert_eq!(bench.here().len(), 1 + 40);
}

/// However often a list is forged, one address is asked for so many users and no more.
#[test]
fn max_hints_at_one_address() {
    let mut bench = large_net();
    let list = |from: usize| {
        let entry = |n| format!("h{n} 192.168.9.9 {}", 5_000 + n);
        let all: Vec<String> = (from..from + MAX_HINTS).map(entry).collect();
        format!("KNOWUSERS {}\n", all.join(", "))
    };
    bench.datagram(PEER, To::Discovery, list(0));
    assert_eq!(bench.here().len(), MAX_HINTS);
    bench.advance(15_000); // nobody answered: all are dropped again
    assert!(bench.here().is_empty());
    bench.datagram(PEER, To::Discovery, list(MAX_HINTS));
    assert!(bench.here().is_empty(), "the address has had its users");
}

#[test]
fn max_namesakes_are_asked_when_a_handle_turns_up_elsewhere() {
    let mut bench = large_net();
    for n in 0..200 {
        bench.datagram(&host(n), To::Discovery, "JOIN bob 5000\n");
    }
    bench.advance(2_000);
    bench.sent();
    bench.datagram(&host(300), To::Discovery, "JOIN bob 5000\n");
    bench.advance(50);
    let asked = bench.datagrams().into_iter().filter(|(_, b)| b == b"WHO\n").count();
    assert!(asked <= 2 * MAX_NAMESAKES, "{asked}");
}

#[test]
fn max_routes() {
    let mut bench = bench();
    let link = |n: u8| Link {
        index: u32::from(n),
        name: format!("eth{n}"),
        address: [10, 0, n, 1].into(),
        prefix: 24,
        broadcast: Some([10, 0, n, 255].into()),
    };
    bench.input(Input::Links((0..6).map(|n| link(n + 2)).collect()));
    let socket = bench.socket(To::Discovery);
    for n in 0..6_u8 {
        let from = addr(&format!("10.0.{}.9:5000", n + 2));
        let bytes = b"JOIN Nora 5000\n".to_vec();
        let link = u32::from(n + 2);
        bench.input(Input::Datagram { socket, from, to: None, link, bytes });
    }
    let Ok(Answer::Who(who)) = bench.ask(Command::Who { gone: false }) else { panic!() };
    assert_eq!(who.iter().map(|p| p.routes.len()).max(), Some(MAX_ROUTES));
}

#[test]
fn max_users() {
    let mut bench = bench();
    for n in 1..=MAX_USERS {
        let answer = bench.ask(Command::AddUser { handle: format!("guest{n}"), back: None });
        assert_eq!(too_many(&answer), n == MAX_USERS, "{n}: {answer:?}");
    }
}

#[test]
fn max_blocked() {
    let blocked = (0..MAX_BLOCKED - 1).map(|n| format!("b{n}")).collect();
    let kept = Kept { blocked, ..Kept::default() };
    let mut bench = Bench::with(settings("Ben", None), kept, "192.168.178.12");
    bench.ask(Command::Block { handle: "last".into() }).unwrap();
    assert!(too_many(&bench.ask(Command::Block { handle: "more".into() })));
    bench.ask(Command::Block { handle: "last".into() }).unwrap(); // it is already
}

#[test]
fn max_recipients() {
    let mut bench = bench();
    bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    let send = |n| Command::Send { to: vec!["Nora".into(); n], text: "hello".into() };
    bench.ask(send(MAX_RECIPIENTS)).unwrap();
    assert!(too_many(&bench.ask(send(MAX_RECIPIENTS + 1))));
}

#[test]
fn max_autoreply() {
    let mut bench = bench();
    let set = |n| Command::SetAutoreply { text: "a".repeat(n) };
    bench.ask(set(MAX_AUTOREPLY)).unwrap();
    assert!(matches!(bench.ask(set(MAX_AUTOREPLY + 1)), Err(Refusal::TooLong { .. })));
    let away = Command::SetPresence { away: true, text: Some("a".repeat(MAX_AUTOREPLY + 1)) };
    assert!(matches!(bench.ask(away), Err(Refusal::TooLong { .. })));
}

#[test]
fn max_pending_and_everyone_still_gets_a_receipt() {
    let mut bench = large_net();
    for n in 0..MAX_PENDING + 100 {
        bench.datagram(&host(n), To::Discovery, format!("JOIN p{n} 5000\n"));
    }
    bench.sent();
    let Ok(Answer::Sent(receipts)) = bench.say("#lobby", "hello all") else { panic!() };
    assert_eq!(receipts.len(), MAX_PENDING + 100);
    assert!(receipts.iter().all(|r| r.state == Delivery::Sent));
    assert_eq!(bench.datagrams().len(), MAX_PENDING + 100);
    let entries: HashSet<_> = receipts.iter().map(|r| r.peer).collect();
    assert_eq!(entries.len(), MAX_PENDING + 100);
    bench.store.there.insert("/a".into(), image(90));
    let ticket = bench.send_file(&["#lobby"], "/a");
    assert!(too_many(&bench.answers.iter().find(|(t, _)| *t == ticket).unwrap().1));
}

#[test]
fn max_complaints() {
    let mut bench = bench();
    for _ in 0..100 {
        bench.datagram(PEER, To::Discovery, b"\xff\xfe rubbish");
    }
    assert_eq!(troubles(&mut bench).len(), klatsch::node::MAX_COMPLAINTS as usize);
    bench.advance(11_000);
    bench.datagram(PEER, To::Discovery, b"\xff\xfe rubbish");
    let said = troubles(&mut bench);
    assert!(said.len() == 2 && said[0].starts_with("95 more"), "{said:?}");
}

#[test]
fn max_early_chunks() {
    use base64::Engine as _;
    let mut bench = bench();
    let data = |n: u32| base64::engine::general_purpose::STANDARD.encode([n as u8; 9]);
    let chunk = |n: u32, of: u32| format!(r#"["IMG_CHUNK", "i", {n}, {of}, "{}"]"#, data(n));
    let total = machine::MAX_EARLY_CHUNKS as u32 + 3;
    // all but the first, the last one too far ahead; then the first
    bench.datagram(PEER, To::Chat, chunk(0, total));
    for n in (2..total).chain([1]) {
        bench.datagram(PEER, To::Chat, chunk(n, total));
    }
    assert_eq!(images_taken(&mut bench), 0, "one piece more than is kept");
    bench.datagram(PEER, To::Chat, chunk(total - 1, total));
    assert_eq!(images_taken(&mut bench), 1);
}

#[test]
fn max_early_bytes() {
    use base64::Engine as _;
    let mut bench = bench();
    let size = 16 * 1024;
    let data = base64::engine::general_purpose::STANDARD.encode(image(size));
    let total = machine::MAX_EARLY_BYTES / size + 3;
    let chunk = |n: usize| format!(r#"["IMG_CHUNK", "i", {n}, {total}, "{data}"]"#);
    for n in [0].into_iter().chain(2..total).chain([1]) {
        bench.datagram(PEER, To::Chat, chunk(n));
    }
    assert_eq!(images_taken(&mut bench), 0, "one piece more than is kept");
    bench.datagram(PEER, To::Chat, chunk(total - 1));
    assert_eq!(images_taken(&mut bench), 1);
}

#[test]
fn max_by_datagram() {
    let mut bench = bench();
    bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    let form = Some("tuna".to_owned());
    bench.ask(Command::SetForm { handle: "Nora".into(), form }).unwrap();
    let most = machine::MAX_BY_DATAGRAM as usize;
    for (size, state) in [(most, Delivery::Sent), (most + 1, Delivery::Failed)] {
        bench.store.there.insert("/a".into(), image(size));
        bench.events();
        bench.send_file(&["Nora"], "/a");
        bench.advance(60_000);
        let fate = |e: &klatsch::model::Event| match &e.what {
            What::Delivery { state, .. } => Some(*state),
            _ => None,
        };
        assert_eq!(bench.events().iter().filter_map(fate).next_back(), Some(state));
        bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    }
}

#[test]
fn autoreply_ms_and_autoreplies_per_host() {
    let mut bench = bench();
    bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    bench.ask(Command::SetPresence { away: true, text: None }).unwrap();
    let replies = |bench: &mut Bench| {
        bench.datagrams().iter().filter(|(_, b)| b.starts_with(b"MSG Ben (Auto")).count()
    };
    for _ in 0..5 {
        bench.datagram(PEER, To::Chat, "MSG Nora hello\n");
    }
    assert_eq!(replies(&mut bench), 1);
    bench.advance(AUTOREPLY_MS + 1);
    bench.datagram(PEER, To::Discovery, "JOIN Nora 5000\n");
    bench.datagram(PEER, To::Chat, "MSG Nora hello\n");
    assert_eq!(replies(&mut bench), 1);
    for n in 0..100 {
        bench.datagram(&format!("192.168.178.11:{}", 6_000 + n), To::Chat, format!("MSG x{n} hi"));
    }
    assert_eq!(replies(&mut bench), MAX_AUTOREPLIES_PER_HOST - 1);
}

#[test]
fn a_regular_announcement_asks_everyone_less_often_the_more_there_are() {
    let asked = |peers: usize| {
        let mut bench = bench();
        for n in 0..peers {
            bench.datagram(&host(178 * 250 + 20 + n), To::Discovery, format!("JOIN p{n} 5000\n"));
        }
        let mut asked = 0;
        for _ in 0..200 {
            bench.advance(60_000);
            let all = bench.datagrams();
            asked +=
                all.iter().filter(|(to, b)| to.ip().octets()[3] == 255 && b == b"WHO\n").count();
            for n in 0..peers {
                let join = format!("JOIN p{n} 5000\n");
                bench.datagram(&host(178 * 250 + 20 + n), To::Discovery, join);
            }
        }
        asked
    };
    assert!((190..=210).contains(&asked(0)));
    let of_many = asked(19); // one in ten
    assert!((8..=40).contains(&of_many), "{of_many}");
}

#[test]
fn presence_of_the_blocked_is_not_told() {
    let mut bench = bench();
    bench.ask(Command::Block { handle: "Nora".into() }).unwrap();
    bench.events();
    for said in ["JOIN nora 5000\n", "AWAY nora", "BACK nora", "LEAVE nora\n", "JOIN Nora 5000\n"] {
        bench.datagram(PEER, To::Discovery, said);
    }
    bench.datagram(PEER, To::Chat, "MSG Nora hear me\n");
    bench.datagram("192.168.178.13:5000", To::Chat, "MSG Nora hear me too\n");
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    bench.bytes(stream, "IMG Nora 90\n");
    assert!(bench.flows[&stream].closed);
    bench.advance(1_000);
    assert_eq!(bench.events(), []);
    bench.datagram(PEER, To::Discovery, "JOIN Eva 5000\n");
    assert_eq!(bench.events().len(), 1, "it is heard under its other name");
    let sent = bench.sent();
    let to_it = |net: &Net| matches!(net, Net::Send { bytes, .. } if bytes.starts_with(b"MSG"));
    assert!(!sent.iter().any(to_it));
    assert!(Handle::try_from("Nora").is_ok());
}
