//! Each program is spoken to as it speaks itself: the node stands in for one side of a capture,
//! hears the other side, and must then say what the real program said.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use crate::bench::{Bench, To, addr, image};
use crate::capture::{CAPTURES, Capture, IPS};
use klatsch::command::Command;
use klatsch::model::{Answer, Net};

/// One thing that was sent: over TCP or not, where to, and the bytes.
type Sent = (bool, SocketAddrV4, Vec<u8>);
/// What a program says: from which port, to which of ours, what.
type Told<'a> = &'a [(u16, To, &'a str)];

/// What the program on `side` sent to the other alone: texts, images.
fn said(capture: &Capture, side: usize) -> (Vec<Sent>, Vec<Vec<Sent>>) {
    let (mut texts, mut images) = (Vec::new(), Vec::<Vec<Sent>>::new());
    let mut streams: BTreeMap<u64, Sent> = BTreeMap::new();
    let mut all: Vec<Sent> = Vec::new();
    let messages = capture.load();
    for m in &messages {
        let mine = m.src.starts_with(&format!("{}:", IPS[side]));
        if !mine || !m.dst.starts_with(IPS[1 - side]) {
            continue;
        }
        let to: SocketAddrV4 = m.dst.parse().unwrap();
        match m.stream {
            Some(id) => {
                let first = messages.iter().find(|o| o.stream == m.stream).unwrap();
                if first.src == m.src {
                    let whole = streams.entry(id).or_insert((true, to, Vec::new()));
                    whole.2.extend(&m.bytes);
                }
            }
            None => all.push((false, to, m.bytes.clone())),
        }
    }
    all.extend(streams.into_values());
    let mut left = 0;
    for sent in all {
        let text = String::from_utf8_lossy(&sent.2).into_owned();
        let raw = format!("{}: ", capture.who[side].0);
        if left > 0 {
            left -= sent.2.len();
            images.last_mut().unwrap().push(sent);
        } else if text.starts_with("IMG ") || text.contains("dot.png") {
            if !sent.0 {
                let size: String = text[4..].split([' ', '\n']).nth(1).unwrap().into();
                let line = text.find('\n').map_or(text.len(), |at| at + 1);
                left = size.parse::<usize>().unwrap() - (sent.2.len() - line.min(sent.2.len()));
            }
            images.push(vec![sent]);
        } else if text.to_lowercase().contains("autoreply") || text.contains("Not here") {
        } else if text.starts_with("MSG ") || text.starts_with("[\"MSG") || text.starts_with(&raw) {
            texts.push(sent);
        }
    }
    texts.retain(|t| !String::from_utf8_lossy(&t.2).contains("gerade nicht da"));
    (texts, images)
}

/// The text that a message carries.
fn inner(capture: &Capture, side: usize, bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    if let Ok(serde_json::Value::Array(array)) = serde_json::from_str(text) {
        return array[3].as_str().unwrap().into();
    }
    let raw = format!("{}: ", capture.who[side].0);
    let rest = match text.strip_prefix(&raw) {
        Some(rest) => rest,
        None => text.splitn(3, ' ').nth(2).unwrap(),
    };
    rest.trim_end().trim_matches(|c| c == '"' && capture.form == "tuna").into()
}

/// JSON is compared as what it means, file names as ours.
fn plain((tcp, to, bytes): Sent) -> (bool, SocketAddrV4, String) {
    let mut text = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(value) => value.to_string(),
        Err(_) => bytes.iter().map(|b| format!("{}", b.escape_ascii())).collect(),
    };
    for (theirs, ours) in [("dot.png", "image.png"), ("dot.jpg", "image.jpeg")] {
        text = text.replace(theirs, ours);
    }
    (tcp, to, text)
}

/// What the node sent to one host alone since the last call; discovery aside.
fn sent_to(bench: &mut Bench, host: &str) -> Vec<Sent> {
    let mut out = Vec::new();
    for net in bench.sent() {
        match net {
            Net::Send { to, bytes, .. } if to.ip().to_string() == host && to.port() != 4000 => {
                out.push((false, to, bytes));
            }
            Net::Connect(id, to) if to.ip().to_string() == host => {
                let flow = &bench.flows[&id];
                out.push((true, to, flow.out.clone()));
            }
            _ => {}
        }
    }
    out
}

#[test]
fn each_program_is_spoken_to_as_its_twin_speaks_to_it() {
    let (mut texts_held, mut images_held) = (0, 0);
    for capture in CAPTURES {
        for side in 0..2 {
            let (texts, images) = said(capture, side);
            let mut bench = capture.stand_in(side);
            capture.replay(&mut bench, side, |m| m.bytes.starts_with(b"LEAVE"));
            let peer = capture.who[1 - side].0;
            let peer = if peer == "Fabian" { "Fabi" } else { peer }; // it renamed itself
            bench.sent();
            for text in texts {
                texts_held += 1;
                let words = inner(capture, side, &text.2);
                let answer = bench.say(peer, &words);
                assert!(matches!(answer, Ok(Answer::Sent(_))), "{}: {answer:?}", capture.name);
                let found: Vec<_> =
                    sent_to(&mut bench, IPS[1 - side]).into_iter().map(plain).collect();
                assert_eq!(found, [plain(text)], "{}", capture.name);
            }
            for image in images {
                images_held += 1;
                if capture.form == "fabian" {
                    let form = Some("fabian:18046".into());
                    bench.ask(Command::SetForm { handle: peer.into(), form }).unwrap();
                }
                let bytes = image_bytes(&image);
                bench.store.there.insert("/dot".into(), bytes);
                bench.sent();
                let ticket = bench.send_file(&[peer], "/dot");
                bench.advance(5_000);
                let answer = bench.answers.iter().find(|(t, _)| *t == ticket);
                assert!(matches!(answer, Some((_, Ok(_)))), "{}: {answer:?}", capture.name);
                let found: Vec<_> =
                    sent_to(&mut bench, IPS[1 - side]).into_iter().map(plain).collect();
                let expected: Vec<_> = image.into_iter().map(plain).collect();
                assert_eq!(found, expected, "{}", capture.name);
            }
        }
    }
    assert!((texts_held, images_held) >= (15, 10), "{texts_held} texts, {images_held} images");
}

/// The image in what the real program sent.
fn image_bytes(sent: &[Sent]) -> Vec<u8> {
    use base64::Engine as _;
    let all: Vec<u8> = sent.iter().flat_map(|s| s.2.clone()).collect();
    if let Ok(serde_json::Value::Array(array)) = serde_json::from_slice(&all) {
        let text = array[2].as_str().unwrap();
        return base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    }
    let magic = [&b"\x89PNG"[..], b"\xff\xd8\xff"];
    let at = (0..all.len()).find(|at| magic.iter().any(|m| all[*at..].starts_with(m)));
    all[at.unwrap()..].to_vec()
}

/// Where a program asks from, and where it awaits the answer (PROTOCOLS section 2).
#[test]
fn who_is_answered_where_the_program_listens() {
    // form, JOIN and its port, WHO and its port, where the answer goes
    let rows: &[(&str, &str, u16, &str, u16, &str)] = &[
        ("fabian", "JOIN Eva 12345", 12345, "WHO\n", 12345, "udp 12345 KNOWUSERS"),
        (
            "lucaatm-json",
            r#"["JOIN", "Eva", "192.168.178.11", 5001]"#,
            5001,
            r#"["WHO", "Eva"]"#,
            5001,
            "udp 5001 [\"KNOWNUSERS\"",
        ),
        ("no-ipc", "JOIN Eva 5001", 50_795, "WHO", 51_714, "udp 5001 KNOWNUSERS"),
        ("robin", "JOIN Eva 5001\n", 51_345, "WHO\n", 44_081, "tcp 5001 KNOWUSERS"),
        ("maximilian", "JOIN Eva 36619\n", 46_935, "WHO\n", 42_394, "udp 4000 KNOWUSERS"),
        ("pollo", "JOIN Eva 5000", 4000, "WHO", 4000, "udp 4000 KNOWNUSERS"),
        ("artur", "JOIN Eva 5000\n", 4000, "WHO\n", 4000, "udp 4000 KNOWNUSERS"),
        ("tuna", "JOIN Eva 5000\n", 5000, "WHO", 43_280, "udp 43280 KNOWNUSERS"),
        ("khan", "JOIN Eva 5011\n", 4000, "WHO\n", 4000, "udp 4000 KNOWNUSERS"),
        ("rajan", "JOIN Eva 5010\n", 5010, "WHO\n", 5010, "udp 5010 KNOWNUSERS"),
        ("florandaa", "JOIN Eva 5001 5101", 50_000, "WHO", 50_001, "udp 5101 KNOWNUSERS"),
        ("mahiramd", "JOIN Eva 5211", 4000, "WHO", 4000, "udp 4000 SEEN"),
        (
            "milad3z",
            "JOIN team Eva 192.168.178.11 5000",
            40_000,
            "WHO team Eva 5000",
            40_001,
            "udp 5000 KNOWUSERS",
        ),
        ("daniyal", "JOIN Eva 5001", 54_302, "WHO", 49_181, "udp 49181 KNOWUSERS"),
        ("jalal", "JOIN Eva 5008\n", 4000, "WHO", 4000, "udp 4000 KNOWUSERS"),
        ("bymy", "JOIN Eva 5000", 50_000, "WHO", 50_001, "udp 5000 KNOWNUSERS"),
    ];
    for (form, join, join_from, who, who_from, place) in rows {
        let mut bench = Bench::new("Ben", "192.168.178.12");
        bench.datagram(&format!("192.168.178.11:{join_from}"), To::Discovery, join);
        bench.ask(Command::SetForm { handle: "Eva".into(), form: Some((*form).into()) }).unwrap();
        bench.advance(6_000);
        bench.sent();
        bench.datagram(&format!("192.168.178.11:{who_from}"), To::Discovery, who);
        bench.advance(1_000);
        let found: Vec<String> = bench
            .sent()
            .into_iter()
            .filter_map(|net| match net {
                Net::Send { to, bytes, .. } if to.ip().to_string() == IPS[0] => {
                    Some(format!("udp {} {}", to.port(), String::from_utf8_lossy(&bytes)))
                }
                Net::Connect(id, to) => {
                    let out = String::from_utf8_lossy(&bench.flows[&id].out).into_owned();
                    Some(format!("tcp {} {out}", to.port()))
                }
                _ => None,
            })
            .collect();
        assert!(found.iter().any(|f| f.starts_with(place)), "{form}: {found:?}");
        assert!(found.iter().all(|f| f.contains("Ben")), "{form}: {found:?}");
    }
}

/// Programs without a capture: what PROTOCOLS' tables say, and what they are to be sent.
#[test]
fn programs_of_the_tables_are_spoken_to_as_the_tables_say() {
    let rows: &[(&str, Told, &str)] = &[
        (
            "artur",
            &[
                (4000, To::Discovery, "JOIN Nora 5000\n"),
                (5000, To::Discovery, "JOIN Nora 5000\n"),
                (5000, To::Chat, "MSG Ben \"hallo du\"\n"),
            ],
            "udp 5000 MSG Nora \"gut so\"\n",
        ),
        (
            "milad3z",
            &[
                (5000, To::Discovery, "JOIN team Nora 192.168.178.11 5000"),
                (5000, To::Chat, "MSG Nora hallo\\ du"),
            ],
            "udp 5000 MSG Ben gut\\ so",
        ),
        (
            "jalal",
            &[
                (4000, To::Discovery, "JOIN Nora 5008\n"),
                (5008, To::Discovery, "JOIN Nora 5008"),
                (5008, To::Chat, "MSG Nora Ben hallo du"),
            ],
            "udp 5008 MSG Ben Nora gut so",
        ),
        (
            "bymy",
            &[(50_000, To::Discovery, "JOIN Nora 5000"), (50_001, To::Chat, "MSG Nora hallo du")],
            "udp 5000 MSG Ben gut so",
        ),
        (
            "meriem",
            &[
                (50_000, To::Discovery, "JOIN Nora 5001\n"),
                (5001, To::Chat, "MSG Nora \"hallo du\"\n"),
            ],
            "udp 5001 MSG Ben \"gut so\"\n",
        ),
        (
            "florandaa",
            &[
                (50_000, To::Discovery, "JOIN Nora 5001 5101"),
                (50_000, To::Tcp(0), "Nora: hallo du"),
            ],
            "tcp 5001 Ben: gut so",
        ),
        (
            "mahiramd",
            &[
                (4000, To::Discovery, "JOIN Nora 5211"),
                (4000, To::Discovery, "SEEN Nora 192.168.178.11 5211"),
                (50_000, To::Tcp(0), "Nora: hallo du"),
            ],
            "tcp 5211 Ben: gut so",
        ),
    ];
    for (form, told, expected) in rows {
        let mut bench = Bench::new("Ben", "192.168.178.12");
        for (port, to, bytes) in *told {
            let from = format!("192.168.178.11:{port}");
            if let To::Tcp(_) = to {
                let stream = bench.stream(&from, *to);
                bench.bytes(stream, bytes);
                bench.end(stream);
            } else {
                bench.datagram(&from, *to, bytes);
            }
        }
        bench.advance(100);
        let texts = bench.texts();
        assert_eq!(texts, [("Nora".to_owned(), "hallo du".to_owned())], "{form}");
        bench.sent();
        bench.say("Nora", "gut so").unwrap();
        let found: Vec<String> = sent_to(&mut bench, "192.168.178.11")
            .into_iter()
            .map(|(tcp, to, bytes)| {
                let over = if tcp { "tcp" } else { "udp" };
                format!("{over} {} {}", to.port(), String::from_utf8_lossy(&bytes))
            })
            .collect();
        assert_eq!(found, [*expected], "{form}");
    }
}

/// `IMG file size`, a wait for leave, the bytes: pollo's way, both ways.
#[test]
fn ready_is_said_and_awaited() {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram("192.168.178.11:4000", To::Discovery, "JOIN Nora 5000");
    let stream = bench.stream("192.168.178.11:51646", To::Tcp(0));
    bench.bytes(stream, "IMG dot.png 73\n");
    assert!(bench.flows[&stream].out.is_empty());
    bench.advance(1_500);
    assert_eq!(bench.flows[&stream].out, b"READY");
    assert!(bench.bytes(stream, image(73)));
    assert_eq!(bench.store.kept.values().collect::<Vec<_>>(), [&image(73)]);

    bench.ask(Command::SetForm { handle: "Nora".into(), form: Some("pollo".into()) }).unwrap();
    bench.store.there.insert("/a".into(), image(40_000));
    bench.sent();
    bench.send_file(&["Nora"], "/a");
    let made = bench.sent().iter().find_map(|net| match net {
        Net::Connect(id, to) => Some((*id, *to)),
        _ => None,
    });
    let (id, to) = made.unwrap();
    assert_eq!(to, addr("192.168.178.11:5000"));
    assert_eq!(bench.flows[&id].out, b"IMG image.png 40000\n");
    bench.bytes(id, "READY");
    assert_eq!(bench.flows[&id].out.len(), 20 + 40_000);
    assert!(bench.flows[&id].finished);
}

/// jalal: the header names a port, the receiver connects there and is given the bytes.
#[test]
fn an_image_is_fetched_and_given_by_connecting_back() {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram("192.168.178.11:4000", To::Discovery, "JOIN Nora 5008");
    bench.datagram("192.168.178.11:5008", To::Chat, "IMG Nora Ben 50587 73");
    let (id, flow) = bench.flows.iter().find(|(_, f)| f.to.is_some()).unwrap();
    assert_eq!(flow.to, Some(addr("192.168.178.11:50587")));
    let id = *id;
    assert!(bench.bytes(id, &image(73)[..40]));
    assert!(bench.bytes(id, &image(73)[40..]));
    assert!(bench.flows[&id].closed);
    assert_eq!(bench.store.kept.values().collect::<Vec<_>>(), [&image(73)]);

    bench.ask(Command::SetForm { handle: "Nora".into(), form: Some("jalal".into()) }).unwrap();
    bench.store.there.insert("/a".into(), image(100));
    bench.sent();
    bench.send_file(&["Nora"], "/a");
    let klatsch::model::Bind::Tcp(port) = bench.sockets[&bench.socket(To::Tcp(1))] else {
        unreachable!()
    };
    let head = format!("IMG Ben Nora {port} 100").into_bytes();
    assert!(bench.datagrams().contains(&(addr("192.168.178.11:5008"), head)));
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(1));
    assert_eq!(bench.flows[&stream].out, image(100));
    assert!(bench.flows[&stream].finished);
}

/// The header by UDP, the bytes by TCP, as 001's document has it.
#[test]
fn a_header_by_udp_is_joined_with_its_bytes_by_tcp() {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram("192.168.178.11:5000", To::Discovery, "JOIN Nora 5000");
    bench.datagram("192.168.178.11:5000", To::Chat, "IMG Nora 73\n");
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, &image(73)[..60]));
    assert!(bench.bytes(stream, &image(73)[60..]));
    bench.end(stream);
    assert_eq!(bench.store.kept.values().collect::<Vec<_>>(), [&image(73)]);
}

/// 002 main in base64, split anywhere; NO_IPC's, khan's and Tuna's by datagrams.
#[test]
fn images_of_every_way_come_in_whole() {
    use base64::Engine as _;
    let mut bench = Bench::new("Ben", "192.168.178.12");
    let text = base64::engine::general_purpose::STANDARD.encode(image(1_000));
    let array = format!("[\"Nora\", \"dot.png\", \"{text}\"]");
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(100));
    for piece in array.as_bytes().chunks(333) {
        assert!(bench.bytes(stream, piece));
    }
    bench.end(stream);
    assert_eq!(bench.store.kept.values().last(), Some(&image(1_000)));

    let ways: &[(To, &str, usize)] =
        &[(To::ImageUdp, "IMG dot.png 3000", 512), (To::Chat, "IMG Ben 3000\n", 3_000)];
    for (n, (to, head, size)) in ways.iter().enumerate() {
        let from = format!("192.168.178.11:{}", 5_000 + n);
        bench.datagram(&from, *to, head);
        for piece in image(3_000).chunks(*size) {
            bench.datagram(&from, *to, piece);
        }
        assert_eq!(bench.store.kept.len(), 2 + n);
    }
    let mut whole = b"IMG Nora 70000\n".to_vec();
    whole.extend(&image(70_000)[..60_000]);
    bench.datagram("192.168.178.11:5011", To::Chat, &whole);
    bench.datagram("192.168.178.11:5011", To::Chat, &image(70_000)[60_000..]);
    assert_eq!(bench.store.kept.len(), 4);
    assert!(bench.store.kept.values().any(|b| *b == image(70_000)));
    assert_eq!(bench.store.under_way(), 0);
}
