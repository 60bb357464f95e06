//! The hello chat: its programs, cut down to their wire (`peers/hello_*.py`), with the real
//! daemon; two daemons with each other; its web API; and peers that mean harm.

use std::time::Duration;

use serde_json::Value;

use super::lan::{Host, Lan};
use super::node::{Node, SOON, secs, within};
use super::script::Script;

const ON: &str = "\n[hello]\nenabled = true\nannounce = 1\n[slcp]\nannounce = 5\n";
const BROADCAST: &str = "10.77.0.255";

/// Long enough for a round of Kalash's, every 5 s, and one more.
const ROUNDS: Duration = Duration::from_secs(14);

fn peer(host: &Host, file: &str, name: &str, more: &[&str]) -> Script {
    host.peer(file, &[&[name, BROADCAST], more].concat())
}

/// A text of the shared chat.
#[track_caller]
fn lobby(node: &Node, from: &str, text: &str) -> Value {
    let event = node.wait_event("message", ROUNDS, |e| {
        e["direction"] == "in" && e["from"] == from && e["text"] == text
    });
    assert_eq!((&event["conversation"], &event["to"]), (&"lobby".into(), &"#lobby".into()));
    event
}

/// Says something in the lobby, which must be confirmed by this peer.
#[track_caller]
fn all(node: &Node, text: &str, confirmed_by: &str) {
    let out = node.cli(&["all", "--", text]);
    assert!(out.status.success(), "{out:?}");
    let sent = node.wait_event("message", SOON, |e| e["direction"] == "out" && e["text"] == text);
    node.wait_event("delivery", ROUNDS, |e| {
        e["id"] == sent["id"] && e["recipient"] == confirmed_by && e["state"] == "delivered"
    });
}

#[test]
fn vanis_and_klatsch_chat_both_ways() {
    let Some(lan) = Lan::new(2) else { return };
    let mut vanis = peer(lan.host(1), "hello_vanis.py", "vanis1", &["stará zpráva"]);
    let anna = lan.host(0).node("anna", ON);
    let joined = anna.wait_event("peer-joined", SOON, |e| e["handle"] == "vanis1");
    assert_eq!((&joined["dialect"], &joined["port"]), (&"hello".into(), &9876.into()));
    anna.wait_event("session", SOON, |e| e["handle"] == "vanis1" && e["stands"] == true);
    vanis.says("knows", |k| k == "anna");
    let old = lobby(&anna, "vanis1", "stará zpráva");
    assert_eq!(old["at"], "2024-02-06T18:10:10.934Z", "when it was said");
    vanis.says("stands", |_| true);
    vanis.tell("msg ahoj světe");
    lobby(&anna, "vanis1", "ahoj světe");
    vanis.says("delivered", |t| t == "ahoj světe");
    all(&anna, "nazdar \"vanis\"", "vanis1");
    let said = vanis.says("text", |t| t[1] == "nazdar \"vanis\"");
    assert_eq!(said[0], "anna");
    // what is no JSON, and two objects in one segment
    vanis.tell(r"raw 10.77.0.1 neco\n");
    vanis.says("raw", |r| r == "{\"status\":\"error\",\"error\":\"Invalid JSON\"}\n");
    vanis.tell(r#"raw 10.77.0.1 {"command":"hello","peer_id":"vanis1"}\n{"command":"bla"}"#);
    vanis.says("raw", |r| r.as_str().unwrap().ends_with("\"error\":\"Invalid comand\"}\n"));
    // no private chat, no images: said in words
    let private = anna.cli(&["msg", "vanis1", "psst"]);
    let words = String::from_utf8(private.stderr).unwrap();
    assert!(words.contains("no private one: ALL writes there"), "{words}");
    let who = anna.peer("vanis1");
    assert_eq!((&who["name"], &who["presence"]), (&"vanis1".into(), &"online".into()));
    let dialects = anna.status()["dialects"].clone();
    let hello = dialects.as_array().unwrap().iter().find(|d| d["name"] == "hello").unwrap();
    assert_eq!((&hello["on"], &hello["port"]), (&true.into(), &9876.into()));
    vanis.is_content();
    drop(vanis);
    anna.wait_event("session", SOON, |e| e["handle"] == "vanis1" && e["stands"] == false);
    anna.wait_event("peer-left", secs(45), |e| e["handle"] == "vanis1");
}

#[test]
fn kalash_and_klatsch_chat_both_ways_without_doubles() {
    let Some(lan) = Lan::new(2) else { return };
    let mut kalash = peer(lan.host(1), "hello_kalash.py", "kal", &[]);
    let anna = lan.host(0).node("anna", ON);
    anna.wait_event("session", SOON, |e| e["handle"] == "kal");
    // it refuses what bears no name, and gets it with one
    all(&anna, "první", "kal");
    kalash.says("text", |t| t[0] == "anna" && t[1] == "první");
    kalash.tell("msg ahoj");
    lobby(&anna, "kal", "ahoj");
    kalash.says("delivered", |t| t == "ahoj");
    all(&anna, "druhá", "kal");
    // two rounds later it has told all with its own stamps: nothing comes twice
    std::thread::sleep(ROUNDS);
    let events = anna.events();
    for text in ["první", "ahoj", "druhá"] {
        let told = events.iter().filter(|e| e["kind"] == "message" && e["text"] == text).count();
        assert_eq!(told, 1, "{text}");
    }
    assert_eq!(anna.handles(), ["kal"]);
}

#[test]
fn cesar_who_takes_no_connection_chats_over_his_own() {
    let Some(lan) = Lan::new(2) else { return };
    let mut cesar = peer(lan.host(1), "hello_cesar.py", "cesar-peer", &[]);
    let anna = lan.host(0).node("anna", ON);
    cesar.says("knows", |k| k == "anna");
    lobby(&anna, "cesar-peer", "pokus");
    cesar.tell("msg ahoj");
    lobby(&anna, "cesar-peer", "ahoj");
    all(&anna, "nazdar", "cesar-peer");
    cesar.says("text", |t| t[0] == "anna" && t[1] == "nazdar");
    cesar.is_content();
}

#[test]
fn two_klatsch_are_one_peer_each_and_nothing_comes_twice() {
    let Some(lan) = Lan::new(3) else { return };
    let mut bert = lan.host(1).node("bert", ON);
    let anna = lan.host(0).node("anna", ON);
    let mut vanis = peer(lan.host(2), "hello_vanis.py", "vanis1", &[]);
    let both = |node: &Node, other: &str| {
        within(SOON, || node.peer(other)["dialect"] == serde_json::json!(["slcp", "hello"]))
    };
    anna.sees(&["bert", "vanis1"]);
    assert!(both(&anna, "bert") && both(&bert, "anna"), "{:#?}", anna.who());
    anna.wait_event("session", SOON, |e| e["handle"] == "bert" && e["stands"] == true);
    bert.wait_event("session", SOON, |e| e["handle"] == "anna" && e["stands"] == true);
    bert.mark();
    all(&anna, "an alle", "bert");
    lobby(&bert, "anna", "an alle");
    // to one of them it goes by SLCP, in private
    anna.msg("bert", "nur dir");
    bert.hears("anna", "nur dir");
    let told = |text: &str| bert.events().iter().filter(|e| e["text"] == text).count();
    assert_eq!((told("an alle"), told("nur dir")), (1, 1), "nothing comes twice");
    for host in ["10.77.0.1", "10.77.0.2"] {
        vanis.says("stands", |ip| ip == host);
    }
    vanis.tell("msg ke všem");
    lobby(&anna, "vanis1", "ke všem");
    lobby(&bert, "vanis1", "ke všem");
}

#[test]
fn switched_off_and_on_by_config_and_beside_another_program() {
    let Some(lan) = Lan::new(2) else { return };
    let vanis = peer(lan.host(1), "hello_vanis.py", "vanis1", &[]);
    let mut anna = lan.host(0).node("anna", ON);
    anna.sees(&["vanis1"]);
    anna.mark();
    anna.must(&["config", "hello.enabled", "off"]);
    anna.wait_event("peer-left", SOON, |e| e["handle"] == "vanis1");
    assert_eq!(anna.handles(), Vec::<String>::new());
    anna.must(&["config", "hello.enabled", "on"]);
    anna.sees(&["vanis1"]);
    vanis.is_content();
    // the port is another's: said, and the rest runs
    let bert = lan.host(1).node("bert", ON);
    let line = bert.complains(SOON, "TCP port 9876 cannot be opened (python3");
    assert!(line.contains("hello.port"), "{line}");
    bert.sees(&["anna", "vanis1"]);
    anna.reaches(&bert, SOON);
}

#[test]
fn its_web_api_reads_and_sends() {
    let Some(lan) = Lan::new(2) else { return };
    let mut vanis = peer(lan.host(1), "hello_vanis.py", "vanis1", &[]);
    let anna = lan.host(0).node("anna", ON);
    anna.wait_event("session", SOON, |e| e["handle"] == "vanis1");
    vanis.says("stands", |_| true);
    vanis.tell("msg ahoj");
    lobby(&anna, "vanis1", "ahoj");
    let get = |port: u16, path: &str| {
        let line = format!(
            "import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}{path}').read().decode(), end='')"
        );
        let out = lan.host(0).command("python3").args(["-c", &line]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(get(8000, "/send?message=ze%20skriptu"), "{\"status\":\"ok\"}");
    vanis.says("text", |t| t[0] == "anna" && t[1] == "ze skriptu");
    for (port, path) in [(8000, "/messages"), (8080, "/")] {
        let all: Value = serde_json::from_str(&get(port, path)).unwrap();
        let texts: Vec<&Value> = all.as_object().unwrap().values().map(|m| &m["message"]).collect();
        assert_eq!(texts, ["ahoj", "ze skriptu"]);
    }
    // not from the LAN
    let line = "import socket\nfor p in (8000, 8080):\n try: socket.create_connection(('10.77.0.1', p), 2); raise SystemExit(1)\n except ConnectionRefusedError: pass";
    lan.host(1).python_line(line);
}

#[test]
fn what_was_said_before_a_restart_is_not_told_again() {
    let Some(lan) = Lan::new(2) else { return };
    let mut vanis = peer(lan.host(1), "hello_vanis.py", "vanis1", &[]);
    let mut anna = lan.host(0).node("anna", ON);
    anna.wait_event("session", SOON, |e| e["handle"] == "vanis1");
    vanis.says("stands", |_| true);
    vanis.tell("msg poprvé");
    lobby(&anna, "vanis1", "poprvé");
    all(&anna, "odpověď", "vanis1");
    anna.signal("TERM");
    assert_eq!(anna.ends(), Some(0));
    let home = anna.home().clone();
    drop(anna);
    vanis.tell("msg mezitím");
    let anna = lan.host(0).node_in(&home, "t", "anna", ON, "");
    lobby(&anna, "vanis1", "mezitím");
    std::thread::sleep(secs(3));
    let told: Vec<Value> = anna.events().into_iter().filter(|e| e["kind"] == "message").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
}

/// An endless line, 10 MB of JSON, deep nesting, wrong types, a slow reader, a flood of hellos and
/// sessions: the daemon lives, answers, and its memory stays.
#[test]
fn peers_that_mean_harm_hold_a_bounded_memory() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", ON);
    let rss = |node: &Node| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = rss(&anna);
    let script = r#"
import socket, json, time
at = ("10.77.0.1", 9876)
def stream():
    s = socket.create_connection(at, 5); s.settimeout(0.5); return s
def push(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass
hello = b'{"command":"hello","peer_id":"boe"}\n'
# an endless line, on as many sessions as we get
many = [stream() for _ in range(4)]
for s in many:
    push(s, b'{"x":"' + b"x" * 600_000)
# 10 MB of one object, deep nesting, wrong types
push(stream(), b'{"x":"' + b"x" * 10_000_000 + b'"}\n')
push(stream(), b'{"a":' * 200_000)
push(stream(), hello + b'{"command":["x"],"message":{}}{"command":"new_message","message":[1]}5 true null\n' * 3)
# a history that never ends
s = stream(); push(s, hello)
entries = ",".join('"%d":{"peer_id":"boe","message":"%s"}' % (1707243010934 + n, "z" * 1000) for n in range(200))
for _ in range(50):
    push(s, ('{"status":"ok","messages":{%s}}\n' % entries).encode())
# asks without end, reads nothing
s = stream()
for _ in range(20):
    push(s, hello * 400)
# names without end
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(10_000):
    u.sendto(json.dumps({"command": "hello", "peer_id": "boe%d" % n}).encode(), at)
u.sendto(b"\xff" * 60_000, at)
print("done", flush=True)
time.sleep(1)
"#;
    let out =
        lan.host(1).command("timeout").args(["60", "python3", "-c", script]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("done"), "{out:?}");
    anna.is_well();
    let after = rss(&anna);
    println!("hostile hello peers: {before} kB resident before, {after} kB after");
    assert!(after < before + 8 * 1024, "{before} kB before, {after} kB after");
    // and somebody else still gets through
    let mut vanis = peer(lan.host(1), "hello_vanis.py", "vanis1", &[]);
    vanis.tell("msg přesto");
    let heard = within(secs(40), || {
        vanis.tell("msg přesto");
        let text = |e: &Value| e["text"] == "přesto";
        anna.event_within(secs(1), "message", text).is_some()
    });
    assert!(heard);
}
