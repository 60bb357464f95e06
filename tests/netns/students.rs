//! The students' programs, cut down to their wire (`peers/`), each chatting with a node both
//! ways: on one host over 127.255.255.255, as 001's own setup has it, and over a LAN.

use super::lan::{Host, Lan};
use super::node::SOON;
use super::picture::png;

struct Kind {
    file: &'static str,
    more: &'static [&'static str],
    /// What the node learns it to be.
    form: &'static str,
    /// Whether that is settled by its text and images alone.
    by_hand: Option<&'static str>,
    anna: &'static str,
}

const PLAIN: Kind = Kind { file: "", more: &[], form: "", by_hand: None, anna: "" };

fn chats(kind: &Kind) {
    let Some(lan) = Lan::bare(1) else { return };
    chat(kind, lan.host(0), lan.host(0), "127.0.0.1", "127.255.255.255");
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0), lan.host(1));
    chat(kind, anna, bob, &bob.address(0), "10.77.0.255");
}

fn chat(kind: &Kind, here: &Host, there: &Host, ip: &str, broadcast: &str) {
    let anna = here.node("anna", kind.anna);
    let args = [&["bob", "5100", ip, broadcast], kind.more].concat();
    let mut bob = there.peer(kind.file, &args);
    anna.sees(&["bob"]);
    assert_eq!(anna.peer("bob")["port"], 5100);
    bob.says("knows", |h| h == "anna");
    for text in ["Hallo du, äöü €", "noch  eins: mit \"Zeichen\""] {
        // the one who quotes does not escape
        let text = if kind.form == "tuna" { text.replace('"', "'") } else { text.into() };
        bob.tell(&format!("msg anna {text}"));
        let heard = anna.hears("bob", &text);
        assert_eq!((&heard["to"], &heard["user"]), (&"anna".into(), &"anna".into()));
        anna.msg("bob", &format!("Antwort auf {text}"));
        let said = bob.says("text", |t| t[1] == format!("Antwort auf {text}"));
        assert_eq!(said[0], "anna");
    }
    if let Some(form) = kind.by_hand {
        anna.must(&["form", "bob", form]);
    }
    let (path, bytes) = png(anna.home().path(), 120, 90);
    bob.tell(&format!("img anna {}", path.display()));
    let seen = anna.wait_event("image", SOON, |e| e["direction"] == "in");
    assert_eq!((&seen["from"], &seen["format"]), (&"bob".into(), &"png".into()));
    assert_eq!(std::fs::read(seen["path"].as_str().unwrap()).unwrap(), bytes);
    anna.must(&["img", "bob", path.to_str().unwrap()]);
    let sum = there.command("sha256sum").arg(&path).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    let sum = sum.split(' ').next().unwrap();
    bob.says("image", |i| i[1] == sum && (i[0] == "anna" || i[0] == "?"));
    bob.is_content();
    assert_eq!(anna.handles(), ["bob"], "nobody was made up");
    let errors: Vec<_> = anna.events().into_iter().filter(|e| e["kind"] == "error").collect();
    let quiet = errors.iter().all(|e| e["text"].as_str().unwrap().contains("no network"));
    assert!(quiet, "{errors:#?}");
    if kind.form != "lucaatm-json" {
        bob.tell("leave");
        anna.wait_event("peer-left", SOON, |e| e["handle"] == "bob");
    }
    anna.must(&["leave"]);
    if kind.form != "lucaatm-json" {
        bob.says("gone", |h| h == "anna");
    }
}

#[test]
fn program_001_sender_first() {
    chats(&Kind {
        file: "sender_first.py",
        more: &["18046", "18047"],
        form: "fabian",
        by_hand: Some("fabian:18046"),
        anna: "image-port = 18047\n",
    });
}

#[test]
fn program_002_json() {
    chats(&Kind { file: "json_arrays.py", form: "lucaatm-json", ..PLAIN });
}

#[test]
fn khan_tcp() {
    chats(&Kind { file: "tcp_msg.py", more: &["khan"], form: "khan", ..PLAIN });
}

#[test]
fn daniyal_tcp() {
    chats(&Kind { file: "tcp_msg.py", more: &["daniyal"], form: "daniyal", ..PLAIN });
}

#[test]
fn robin_receiver_first() {
    chats(&Kind { file: "receiver_first.py", form: "robin", ..PLAIN });
}

#[test]
fn pollo_raw_tcp() {
    chats(&Kind { file: "raw_tcp.py", form: "pollo", ..PLAIN });
}

#[test]
fn tuna_quoted_udp() {
    chats(&Kind { file: "quoted_udp.py", form: "tuna", ..PLAIN });
}
