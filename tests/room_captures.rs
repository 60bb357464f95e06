//! Replay: both captures of program 000, once with our machine in the place of the server, once
//! in the place of each client. What the real programs said is fed in as its bytes came; what we
//! say must be what the real program in our place said, but for what is named here.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

mod replay;

use klatsch::dialect::heard::{Chat, Heard, To};
use klatsch::dialect::room::{Machine, Setup, Shown};
use klatsch::model::{Bind, UserId};
use replay::{Bench, Message, load};

/// The captures, and the ports of nico and anna in each.
const CAPTURES: &[(&str, u16, u16)] =
    &[("000-prototype", 48255, 45366), ("000-main-lengthprefix", 34449, 36830)];
const SERVER: &str = "192.168.178.11:9000";
const NICO: [u8; 4] = [192, 168, 178, 12];
const ANNA: [u8; 4] = [192, 168, 178, 13];

fn machine(serve: bool, port: u16) -> Machine {
    let connect = (!serve).then(|| SERVER.parse().unwrap());
    let ports = (port, port);
    Machine::new(Setup { port: 9000, serve, connect, discover: false, ports }, 7)
}

/// The real server says USER_LEFT of who keeps his nickname, and makes runs of blanks one.
fn as_we_say_it(messages: &[&Message]) -> Vec<u8> {
    let bytes: Vec<u8> = messages
        .iter()
        .filter(|m| !m.text().ends_with("USER_LEFT nico") && m.text() != "USER_LEFT nico\n")
        .flat_map(|m| m.bytes.clone())
        .collect();
    let text = String::from_utf8(bytes).unwrap();
    let lengths = text.replace(".BROADCAST nico Hallo an", "/BROADCAST nico Hallo  an");
    lengths.replace("MSG nico Hallo an", "MSG nico Hallo  an").into_bytes()
}

#[test]
fn in_the_servers_place_we_say_what_it_said() {
    for (name, ..) in CAPTURES {
        let messages = load("room", name);
        let mut b = Bench::new(machine(true, 9001), [192, 168, 178, 11]);
        let mut streams = Vec::new();
        for m in messages.iter().filter(|m| m.dst == SERVER) {
            let stream = match streams.iter().find(|(n, _)| *n == m.stream.unwrap()) {
                Some((_, stream)) => *stream,
                None => {
                    let stream = b.accept(Bind::Tcp(9000), &m.src);
                    streams.push((m.stream.unwrap(), stream));
                    stream
                }
            };
            b.bytes(stream, &m.bytes);
            b.pass(300);
        }
        assert_eq!(streams.len(), 3);
        for (n, stream) in streams {
            let said: Vec<&Message> =
                messages.iter().filter(|m| m.stream == Some(n) && m.src == SERVER).collect();
            let ours = b.written_to(stream);
            assert_eq!(show(&ours), show(&as_we_say_it(&said)), "{name}, connection {n}");
        }
        let texts: Vec<_> = b.heard.iter().filter_map(text).collect();
        assert_eq!(texts[0].0, "nico");
        assert!(texts[0].1.starts_with("Hallo  an alle, Grüße €"));
        assert_eq!(texts[1], ("anna".into(), "zurück".into()));
        let here = b.heard.iter().filter(|h| matches!(h, Heard::Here(_))).count();
        let gone = b.heard.iter().filter(|h| matches!(h, Heard::Gone(..))).count();
        assert_eq!((here, gone), (2, 2), "{name}");
    }
}

#[test]
fn in_annas_place_we_say_what_she_said() {
    for (name, nico, anna) in CAPTURES {
        let messages = load("room", name);
        let mut b = Bench::new(machine(false, *anna), ANNA);
        b.m.set_users(b.now, vec![Shown { name: "anna".into(), user: Some(UserId(0)) }]);
        b.settle();
        let lines = *name == "000-prototype";
        let server = register(&mut b, lines);
        let mut chat = None;
        for m in &messages {
            let theirs = m.stream == Some(1) && m.src == SERVER;
            if theirs {
                b.bytes(server, &m.bytes);
            } else if m.stream == Some(1) && m.text().contains("BROADCAST anna") {
                b.m.send(b.now, 1, UserId(0), &To::Everyone, "zurück");
                b.settle();
            } else if m.proto == "udp" && m.dst.starts_with("192.168.178.13") {
                // the first is accepted, the second refused
                b.datagram(Bind::Udp(*anna), &m.src, &m.bytes);
                let (id, asked) = b.chat();
                let Chat::Asked(who, _) = asked else { panic!("{asked:?}") };
                assert_eq!((who.name.as_str(), who.at.port()), ("nico", *nico));
                if chat.is_none() {
                    b.m.chat_accept(b.now, id);
                    b.settle();
                    let (stream, to) = b.connects.pop().unwrap();
                    assert_eq!(
                        to.to_string(),
                        messages.iter().find(|m| m.stream == Some(3)).unwrap().dst
                    );
                    b.m.connected(b.now, stream);
                    b.settle();
                    chat = Some(stream);
                } else {
                    b.m.chat_refuse(b.now, id);
                    b.settle();
                }
            } else if m.stream == Some(3) && m.src.starts_with("192.168.178.12") {
                b.bytes(chat.unwrap(), &m.bytes);
            } else if m.stream == Some(3) && m.text().starts_with("gut, danke") {
                let nico = b.contact("nico");
                b.m.send(b.now, 2, UserId(0), &To::Contact(nico), "gut, danke");
                b.settle();
            }
            b.pass(200);
        }
        b.m.goodbye();
        b.settle();
        let from =
            |n| move |m: &&Message| m.stream == Some(n) && m.src.starts_with("192.168.178.13");
        for (n, stream) in [(1, server), (3, chat.unwrap())] {
            let hers: Vec<u8> =
                messages.iter().filter(from(n)).flat_map(|m| m.bytes.clone()).collect();
            assert_eq!(show(&b.written_to(stream)), show(&hers), "{name}, connection {n}");
        }
        let refusal = messages.iter().find(|m| m.proto == "udp" && m.text().contains("REJECTED"));
        let refusal = refusal.unwrap();
        assert_eq!(b.sent, [(refusal.dst.parse().unwrap(), refusal.bytes.clone())], "{name}");
        let texts: Vec<_> = b.heard.iter().filter_map(text).collect();
        // the real server has made the runs of blanks one
        assert!(texts[0].1.starts_with("Hallo an alle, Grüße €"), "{texts:?}");
        assert!(texts[1].1.starts_with("Hi Anna"), "{texts:?}");
        assert_eq!(texts.len(), 2);
        let over = b.heard.iter().any(
            |h| matches!(h, Heard::Chat(_, Chat::Over(_, _, why)) if why.contains("other end")),
        );
        assert!(over, "{name}: [DISCONNECT] is understood");
    }
}

#[test]
fn in_nicos_place_we_say_what_he_said() {
    for (name, nico, anna) in CAPTURES {
        let messages = load("room", name);
        let mut b = Bench::new(machine(false, *nico), NICO);
        b.m.set_users(b.now, vec![Shown { name: "nico".into(), user: Some(UserId(0)) }]);
        b.settle();
        let lines = *name == "000-prototype";
        let server = register(&mut b, lines);
        let mut chat = None;
        let mut asked = Vec::new();
        for m in &messages {
            if m.stream == Some(0) && m.src == SERVER {
                b.bytes(server, &m.bytes);
            } else if m.stream == Some(0) && m.text().contains("BROADCAST nico") {
                let text = m.text();
                let (_, text) = text.split_once("nico ").unwrap();
                b.m.send(b.now, 1, UserId(0), &To::Everyone, text.trim_end());
                b.settle();
            } else if m.proto == "udp" && m.text().contains("CHAT_REQUEST") {
                let anna = b.contact("anna");
                asked.push(b.m.chat_ask(b.now, UserId(0), &anna).unwrap());
                b.settle();
            } else if m.proto == "udp" && m.text().contains("REJECTED") {
                // to the number of the TCP port, or to the registered one: ours are the same
                b.datagram(Bind::Udp(*nico), &m.src, &m.bytes);
            } else if m.stream == Some(3) && m.src.starts_with("192.168.178.13") {
                let stream = *chat.get_or_insert_with(|| b.accept(Bind::Tcp(*nico), &m.src));
                b.bytes(stream, &m.bytes);
            } else if m.stream == Some(3) && m.text().starts_with("Hi Anna") {
                let anna = b.contact("anna");
                b.m.send(b.now, 2, UserId(0), &To::Contact(anna), m.text().trim_end());
                b.settle();
            } else if m.stream == Some(3) && m.text().contains("DISCONNECT") {
                b.m.chat_close(b.now, asked[0]);
                b.settle();
            }
            b.pass(200);
        }
        b.m.goodbye();
        b.settle();
        let from =
            |n| move |m: &&Message| m.stream == Some(n) && m.src.starts_with("192.168.178.12");
        for (n, stream) in [(0, server), (3, chat.unwrap())] {
            let his: Vec<u8> =
                messages.iter().filter(from(n)).flat_map(|m| m.bytes.clone()).collect();
            assert_eq!(show(&b.written_to(stream)), show(&his), "{name}, connection {n}");
        }
        // our port for the chat is the registered one
        let request = format!("CHAT_REQUEST {nico}");
        let request = match lines {
            true => request.into_bytes(),
            false => [&[0, 0, 0, 0x12], request.as_bytes()].concat(),
        };
        let to = std::net::SocketAddrV4::new(ANNA.into(), *anna);
        assert_eq!(b.sent, [(to, request.clone()), (to, request)], "{name}");
        let refused =
            Heard::Chat(asked[1], Chat::Over(b.contact("anna"), UserId(0), "he refused".into()));
        assert!(b.heard.contains(&refused), "{name}");
    }
}

/// Connects and registers; a server in lengths is found out about first.
fn register(b: &mut Bench<Machine>, lines: bool) -> klatsch::model::StreamId {
    let (mut server, to) = b.connects.pop().unwrap();
    assert_eq!(to.to_string(), SERVER);
    b.m.connected(b.now, server);
    b.settle();
    if !lines {
        b.pass(3_000);
        (server, _) = b.connects.pop().unwrap();
        b.m.connected(b.now, server);
        b.settle();
    }
    server
}

fn text(heard: &Heard) -> Option<(String, String)> {
    match heard {
        Heard::Text { from, text, .. } => Some((from.name.clone(), text.clone())),
        _ => None,
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
