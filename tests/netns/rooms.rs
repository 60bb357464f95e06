//! The room: clients and servers of both framings (`peers/room_*.py`) with the real daemon in
//! each role, private chats both ways, and clients that mean harm.

use serde_json::Value;

use super::lan::Lan;
use super::node::{Node, SOON, secs, within};
use super::script::Script;

const SERVER: &str = "\n[room]\nenabled = true\n[slcp]\nannounce = 5\n";
const CLIENT: &str =
    "\n[room]\nenabled = true\nserver = false\nconnect = \"10.77.0.2\"\n[slcp]\nannounce = 5\n";

/// What happens with a private chat.
#[track_caller]
fn chat(node: &Node, state: &str, with: &str) -> Value {
    let what = |e: &Value| e["state"] == state && e["handle"] == with;
    node.wait_event("chat", SOON, what)
}

/// Says something to everyone, who are there.
#[track_caller]
fn all(node: &Node, text: &str) {
    let out = node.cli(&["all", "--", text]);
    assert!(out.status.success(), "{out:?}");
}

#[track_caller]
fn lobby(node: &Node, from: &str, text: &str) {
    let event = node.hears(from, text);
    assert_eq!((&event["conversation"], &event["dialect"]), (&"lobby".into(), &"room".into()));
}

fn lists(script: &Script, nicks: &[&str]) {
    script.says("users", |users| *users == serde_json::json!(nicks));
}

#[test]
fn clients_of_both_framings_meet_at_our_server_and_chat_in_private() {
    let Some(lan) = Lan::new(3) else { return };
    let mut node = lan.host(0).node("box", SERVER);
    let mut nico = lan.host(1).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    nico.says("welcome", |nick| nick == "nico");
    let mut anna = lan.host(2).peer("room_client.py", &["lengths", "anna", "10.77.0.1"]);
    lists(&anna, &["anna", "box", "nico"]);
    lists(&nico, &["anna", "box", "nico"]);
    node.sees(&["anna", "nico"]);
    let joined = node.wait_event("peer-joined", SOON, |e| e["handle"] == "anna");
    assert_eq!((&joined["dialect"], &joined["address"]), (&"room".into(), &"10.77.0.3".into()));
    let rooms = node.status()["dialects"].clone();
    let room = rooms.as_array().unwrap().iter().find(|d| d["name"] == "room").unwrap();
    assert_eq!((&room["on"], &room["port"]), (&true.into(), &9000.into()));

    // everyone hears everyone, in their own framing
    nico.tell("all Hallo an alle, Grüße € 😀");
    anna.says("text", |t| *t == serde_json::json!(["nico", "Hallo an alle, Grüße € 😀"]));
    lobby(&node, "nico", "Hallo an alle, Grüße € 😀");
    anna.tell("all zurück");
    nico.says("text", |t| *t == serde_json::json!(["anna", "zurück"]));
    lobby(&node, "anna", "zurück");
    all(&node, "vom Server, äöü");
    for client in [&nico, &anna] {
        client.says("text", |t| *t == serde_json::json!(["box", "vom Server, äöü"]));
    }
    // longer than a client reads at once
    let long = "grüße €uch ".repeat(200);
    all(&node, long.trim());
    nico.says("text", |t| t[0] == "box" && t[1].as_str().unwrap().starts_with("grüße €uch grüße"));

    // a taken nickname is refused, and its bearer stays
    let second = lan.host(2).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    second.says("refused", |text| text == "Nickname bereits vergeben");
    drop(second);
    nico.tell("all noch da");
    anna.says("text", |t| t[1] == "noch da");
    // guests are users of the room
    node.must(&["user", "add", "gast"]);
    lists(&anna, &["anna", "box", "gast", "nico"]);
    node.must(&["all", "--as", "gast", "--", "ich bin Gast"]);
    nico.says("text", |t| *t == serde_json::json!(["gast", "ich bin Gast"]));

    // private: he asks, we accept, both write, he ends it
    nico.tell("ask box");
    let number = chat(&node, "asked", "nico")["number"].to_string();
    assert_eq!(node.status()["chats"][0]["handle"], "nico");
    node.must(&["accept", &number]);
    nico.says("chat", |nick| nick == "box");
    nico.tell("pm box Hi, wie gehts?");
    let heard = node.hears("nico", "Hi, wie gehts?");
    assert_eq!((&heard["to"], &heard["user"]), (&"box".into(), &"box".into()));
    node.msg("nico", "gut, dänke");
    nico.says("pm", |pm| *pm == serde_json::json!(["box", "gut, dänke"]));
    assert_eq!(node.code(&["chat", "nico"]), 1, "never two with one partner");
    nico.tell("close box");
    chat(&node, "over", "nico");

    // we ask: she accepts, and at the same time the guest is asked
    node.must(&["chat", "anna"]);
    chat(&node, "open", "anna");
    anna.says("chat", |nick| nick == "box");
    nico.tell("ask gast");
    let asked = node.wait_event("chat", SOON, |e| e["state"] == "asked" && e["user"] == "gast");
    node.must(&["accept", &asked["number"].to_string(), "--as", "gast"]);
    nico.says("chat", |nick| nick == "gast");
    nico.tell("pm gast an den Gast");
    assert_eq!(node.hears("nico", "an den Gast")["user"], "gast");
    node.msg("anna", "in lengths");
    anna.says("pm", |pm| pm[1] == "in lengths");
    anna.tell("pm box ohne Zeilenende");
    node.hears("anna", "ohne Zeilenende");
    node.must(&["close", "anna"]);
    anna.says("over", |nick| nick == "box");
    chat(&node, "over", "anna"); // before the mark

    // refused, both ways
    anna.tell("no");
    anna.says("answers", |how| how == "no");
    node.mark();
    node.must(&["chat", "anna"]);
    let over = chat(&node, "over", "anna");
    assert_eq!(over["reason"], "he refused");
    anna.tell("ask box");
    let number = chat(&node, "asked", "anna")["number"].to_string();
    node.must(&["refuse", &number]);
    anna.says("rejected", |ip| ip == "10.77.0.1");
    // a text to who refuses fails, with the reason
    let out = node.cli(&["msg", "anna", "--json", "--", "psst"]);
    let failed =
        node.wait_event("delivery", SOON, |e| e["recipient"] == "anna" && e["state"] == "failed");
    assert!(failed["reason"].as_str().unwrap().contains("refused"), "{failed} {out:?}");
    // whom a rule accepts is not asked about
    node.must(&["config", "auto-accept", "nico"]);
    node.mark();
    nico.tell("close gast");
    nico.tell("ask box");
    chat(&node, "open", "nico");
    let none = node.events();
    assert!(!none.iter().any(|e| e["state"] == "asked"), "{none:#?}");

    nico.tell("quit");
    node.wait_event("peer-left", SOON, |e| e["handle"] == "nico");
    lists(&anna, &["anna", "box", "gast"]);
    drop(anna);
    node.sees(&["gast"]);
    nico.is_content();
}

fn at_a_server_of(framing: &str) {
    let Some(lan) = Lan::new(3) else { return };
    let mut server = lan.host(1).peer("room_server.py", &[framing]);
    let mut anna = lan.host(2).peer("room_client.py", &[framing, "anna", "10.77.0.2"]);
    let node = lan.host(0).node("box", CLIENT);
    server.says("registered", |nick| nick == "box");
    node.sees(&["anna"]);
    lists(&anna, &["anna", "box"]);
    assert_eq!(node.peer("anna")["address"], "10.77.0.3");
    anna.tell("all Hallo an alle, äöü €");
    lobby(&node, "anna", "Hallo an alle, äöü €");
    all(&node, "Grüße zurück");
    anna.says("text", |t| *t == serde_json::json!(["box", "Grüße zurück"]));
    // a guest registers too, and nothing is heard twice
    node.must(&["user", "add", "gast"]);
    server.says("registered", |nick| nick == "gast");
    anna.tell("all einmal");
    lobby(&node, "anna", "einmal");
    let twice = node.events().into_iter().filter(|e| e["text"] == "einmal").count();
    assert_eq!(twice, 1);
    // private, both ways
    node.msg_waits("anna", "bist du da?");
    anna.says("chat", |nick| nick == "box");
    anna.says("pm", |pm| *pm == serde_json::json!(["box", "bist du da?"]));
    anna.tell("pm box ja, klar");
    node.hears("anna", "ja, klar");
    node.must(&["close"]);
    anna.says("over", |nick| nick == "box");
    anna.tell("ask gast");
    let asked = node.wait_event("chat", SOON, |e| e["state"] == "asked" && e["user"] == "gast");
    node.must(&["accept", &asked["number"].to_string(), "--as", "gast"]);
    anna.says("chat", |nick| nick == "gast");
    // connecting twice is refused with a word
    let out = node.cli(&["config", "room.connect", "10.77.0.2"]);
    let words = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(1) && words.contains("not a second time"), "{words}");
    // a server that goes and comes again
    server.tell("stop");
    node.wait_event("session", SOON, |e| e["dialect"] == "room" && e["stands"] == false);
    node.complains(SOON, "the room at 10.77.0.2:9000 is not reached");
    node.sees(&["gast"]);
    server.tell("start");
    node.wait_event("session", secs(20), |e| e["dialect"] == "room" && e["stands"] == true);
    anna.says("lost", |_| true);
    node.must(&["leave"]);
    server.says("left", |nick| nick == "box");
    server.is_content();
}

#[test]
fn our_users_are_guests_at_a_server_in_lines() {
    at_a_server_of("lines");
}

#[test]
fn our_users_are_guests_at_a_server_in_lengths() {
    at_a_server_of("lengths");
}

#[test]
fn two_klatsch_in_one_room_are_one_peer_each_and_nothing_comes_twice() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", SERVER);
    let connect = CLIENT.replace("10.77.0.2", "10.77.0.1");
    let bob = lan.host(1).node("bob", &connect);
    bob.wait_event("session", SOON, |e| e["dialect"] == "room");
    anna.sees(&["bob"]);
    bob.sees(&["anna"]);
    let both = |node: &Node, other: &str| {
        within(SOON, || node.peer(other)["dialect"] == serde_json::json!(["slcp", "room"]))
    };
    assert!(both(&anna, "bob") && both(&bob, "anna"), "{:#?}", anna.who());
    all(&anna, "von anna");
    lobby(&bob, "anna", "von anna");
    all(&bob, "von bob");
    lobby(&anna, "bob", "von bob");
    // a private chat that both ask for at once is one
    let asks = std::thread::scope(|scope| {
        let one = scope.spawn(|| anna.code(&["chat", "bob@room"]));
        let two = scope.spawn(|| bob.code(&["chat", "anna@room"]));
        (one.join().unwrap(), two.join().unwrap())
    });
    // whoever came second accepted what he was asked for
    assert!(asks.0 == 0 || asks.1 == 0, "{asks:?}");
    chat(&anna, "open", "bob");
    chat(&bob, "open", "anna");
    anna.must(&["msg", "bob@room", "--", "insgeheim"]);
    assert_eq!(bob.hears("anna", "insgeheim")["dialect"], "room");
    for (node, text) in [(&bob, "von anna"), (&anna, "von bob")] {
        std::thread::sleep(secs(1));
        let told = |e: &Value| e["direction"] == "in" && e["text"] == text;
        assert_eq!(node.events().iter().filter(|e| told(e)).count(), 1, "{text}");
    }
}

/// An endless line, lengths that lie, 500 connections, a reader who takes nothing, a flood.
const HOSTILE: &str = r#"
import socket, sys, threading, time
ip = sys.argv[1]
def conn():
    s = socket.create_connection((ip, 9000), 5); s.settimeout(5); return s
def quiet(act):
    try: act()
    except OSError: pass
def endless():
    s = conn()
    for _ in range(160): s.sendall(b"x" * 65536)
def lie():
    s = conn(); s.sendall(b"\x00\xff\xff\xffREGISTER"); s.recv(10)
def lie2():
    s = conn(); s.sendall(b"\xff\xff\xff\xff" * 100); s.recv(10)
def many():
    kept = []
    for n in range(500):
        s = conn(); s.sendall(f"REGISTER m{n} 5\n".encode()); kept.append(s)
def flood():
    s = conn(); s.sendall(b"REGISTER flood 5\n"); s.recv(100)
    s.sendall(b"BROADCAST flood " + b"y" * 900 + b"\n" * 1)
    for _ in range(3000): s.sendall(b"BROADCAST flood " + b"y" * 900 + b"\n")
slow = conn(); slow.sendall(b"REGISTER slow 5\n")  # and reads nothing
threads = [threading.Thread(target=quiet, args=(t,), daemon=True) for t in (endless, lie, lie2, many, flood)]
for t in threads: t.start()
print('{"ready": true}', flush=True)
time.sleep(600)
"#;

#[test]
fn hostile_clients_harm_nobody_and_cost_little() {
    let Some(lan) = Lan::new(3) else { return };
    let node = lan.host(0).node("box", SERVER);
    let mut nico = lan.host(1).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    nico.says("welcome", |nick| nick == "nico");
    let before = node.memory();
    let hostile = lan.host(2).python(&["-c", HOSTILE, "10.77.0.1"]);
    hostile.says("ready", |_| true);
    std::thread::sleep(secs(5));
    for n in 0..5 {
        nico.tell(&format!("all durch {n}"));
        lobby(&node, "nico", &format!("durch {n}"));
        all(&node, &format!("zurück {n}"));
        nico.says("text", |t| t[0] == "box" && t[1] == format!("zurück {n}"));
    }
    let after = node.memory();
    println!("resident: {before} KiB before, {after} KiB under attack");
    assert!(after < before + 8 * 1024, "{before} {after}");
    nico.is_content();
}

#[test]
fn a_client_whose_host_vanishes_is_noticed_and_goodbyes_leave() {
    let Some(lan) = Lan::new(3) else { return };
    let mut node = lan.host(0).node("box", SERVER);
    let mut nico = lan.host(1).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    let _anna = lan.host(2).peer("room_client.py", &["lengths", "anna", "10.77.0.1"]);
    node.sees(&["anna", "nico"]);
    lan.cut(lan.host(2), 0);
    let left = node.wait_event("peer-left", secs(90), |e| e["handle"] == "anna");
    println!("noticed: {}", left["reason"]);
    nico.says("users", |users| *users == serde_json::json!(["box", "nico"]));
    // who ends says so to its partners
    nico.tell("ask box");
    let number = chat(&node, "asked", "nico")["number"].to_string();
    node.must(&["accept", &number]);
    nico.says("chat", |nick| nick == "box");
    node.signal("TERM");
    nico.says("over", |nick| nick == "box");
    assert!(node.child.wait().unwrap().success());
    nico.is_content();
}

#[test]
fn what_waits_for_somebody_of_the_room_leaves_when_he_is_back() {
    let Some(lan) = Lan::new(2) else { return };
    let mut node = lan.host(0).node("box", SERVER);
    let mut nico = lan.host(1).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    node.sees(&["nico"]);
    nico.tell("quit");
    node.sees(&[]);
    assert_eq!(node.code(&["msg", "nico", "wenn du wieder da bist"]), 3, "it waits");
    node.mark();
    let nico = lan.host(1).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    nico.says("pm", |pm| *pm == serde_json::json!(["box", "wenn du wieder da bist"]));
    node.wait_event("delivery", SOON, |e| e["recipient"] == "nico" && e["state"] == "sent");
}
