//! The directory: its server and its client (`peers/directory_*.py`) with the real daemon in each
//! role, over a LAN and on one host, and clients that mean harm.

use serde_json::Value;

use super::lan::Lan;
use super::node::{Node, SOON, secs};

const SERVER: &str = "\n[directory]\nenabled = true\n[slcp]\nannounce = 5\n";

fn client(at: &str) -> String {
    format!(
        "\n[directory]\nenabled = true\nserver = false\nconnect = \"{at}\"\n[slcp]\nannounce = 5\n"
    )
}

#[track_caller]
fn chat(node: &Node, state: &str, with: &str) -> Value {
    node.wait_event("chat", SOON, |e| e["state"] == state && e["handle"] == with)
}

#[test]
fn clients_log_in_at_our_server_and_chat_with_the_boxs_user() {
    let Some(lan) = Lan::new(2) else { return };
    let mut node = lan.host(0).node("box", SERVER);
    node.must(&["user", "add", "gast"]);
    let args = ["Mert", "10.77.0.1", "10.77.0.2"];
    let mut mert = lan.host(1).peer("directory_client.py", &args);
    mert.says("users", |u| *u == serde_json::json!(["Mert", "box", "gast"]));
    node.sees(&["Mert", "gast"]);
    // he connects; what he says waits until he is accepted
    mert.tell("connect 10.77.0.1");
    let number = chat(&node, "asked", "Mert")["number"].to_string();
    mert.tell("pm merhaba dünya");
    node.must(&["accept", &number]);
    let heard = node.hears("Mert", "merhaba dünya");
    assert_eq!((&heard["user"], &heard["dialect"]), (&"box".into(), &"directory".into()));
    // longer than he reads at once, with characters that must not be cut
    let long = "grüße an alle, die €uro lieben ".repeat(12);
    node.msg("Mert", long.trim());
    mert.says("text", |t| t.as_str().unwrap().starts_with("box: grüße an alle"));
    node.msg("Mert", "Ende");
    mert.says("text", |t| t == "box: Ende");
    mert.tell("back");
    let over = chat(&node, "over", "Mert");
    assert_eq!(over["reason"], "he closed it");
    // we connect to who waits, and to who does not
    mert.tell("wait");
    mert.says("waiting", |_| true);
    node.mark();
    node.msg_waits("Mert", "bist du da?");
    mert.says("text", |t| t == "box: bist du da?");
    node.must(&["close", "Mert"]);
    mert.says("text", |t| t == "box: /back");
    chat(&node, "over", "Mert");
    node.mark();
    node.must(&["chat", "Mert"]);
    assert_eq!(chat(&node, "over", "Mert")["reason"], "he does not wait for a chat");
    // to everyone: there is no such thing here
    assert_eq!(node.events().iter().filter(|e| e["kind"] == "error").count(), 0);
    mert.tell("logout");
    mert.says("loggedout", |_| true);
    node.wait_event("peer-left", SOON, |e| e["handle"] == "Mert");
    mert.is_content();
}

#[test]
fn our_users_log_in_at_a_server_and_never_harm_it() {
    let Some(lan) = Lan::new(3) else { return };
    let server = lan.host(1).peer("directory_server.py", &["10.77.0.2"]);
    let args = ["Semih", "10.77.0.2", "10.77.0.3"];
    let mut semih = lan.host(2).peer("directory_client.py", &args);
    let node = lan.host(0).node("box", &client("10.77.0.2"));
    node.sees(&["Semih"]);
    node.wait_event("session", SOON, |e| e["dialect"] == "directory" && e["stands"] == true);
    semih.tell("refresh");
    semih.says("users", |u| *u == serde_json::json!(["Semih", "box"]));
    semih.tell("wait");
    semih.says("waiting", |_| true);
    node.must(&["chat", "Semih"]);
    chat(&node, "open", "Semih");
    node.msg("Semih", "hi Semih");
    semih.says("text", |t| t == "box: hi Semih");
    semih.tell("pm hi");
    node.hears("Semih", "hi");
    // another handle: the old one is logged out, the new one logged in
    node.must(&["handle", "kiosk"]);
    server.says("logout", |name| name == "box");
    server.says("login", |name| name == "kiosk");
    node.must(&["leave"]);
    server.says("logout", |name| name == "kiosk");
    node.must(&["join"]);
    semih.tell("refresh");
    semih.says("users", |u| *u == serde_json::json!(["Semih", "kiosk"]));
    server.is_content();
    drop(server);
    node.wait_event("session", secs(130), |e| e["dialect"] == "directory" && e["stands"] == false);
    node.sees(&[]);
}

/// 003's own programs bind localhost and know no other port: they are met on one host.
#[test]
fn on_one_host_its_programs_keep_their_ports() {
    let Some(lan) = Lan::new(1) else { return };
    let host = lan.host(0);
    let server = host.peer("directory_server.py", &["127.0.0.1"]);
    let node = host.node("box", &client("127.0.0.1"));
    let mut semih = host.peer("directory_client.py", &["Semih", "127.0.0.1", "127.0.0.1"]);
    server.says("login", |name| name == "box");
    semih.tell("wait"); // binds 127.0.0.1:5001
    semih.says("waiting", |_| true);
    node.must(&["leave"]);
    node.must(&["join"]); // asks for the list at once
    node.sees(&["Semih"]);
    node.must(&["chat", "Semih"]);
    chat(&node, "open", "Semih");
    node.msg("Semih", "merhaba");
    semih.says("text", |t| t == "box: merhaba");
    semih.tell("pm merhaba dünya");
    node.hears("Semih", "merhaba dünya");
    server.is_content();
    semih.is_content();
}

/// Junk by UDP, 10,000 logins, deep nesting, 300 connections that say nothing or never end.
const HOSTILE: &str = r#"
import json, socket, sys, time
ip = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for junk in (b"", b"[" * 900, b'{"a":' * 180, b"\xff" * 1000, b'{"type": 7}', b'{"type":"logout","username":"Mert"}', b"x" * 60000):
    s.sendto(junk, (ip, 5000))
for n in range(10000):
    s.sendto(json.dumps({"type": "login", "username": f"m{n}"}).encode(), (ip, 5000))
    if n % 50 == 0: time.sleep(0.002)
kept = []
for n in range(300):
    c = socket.create_connection((ip, 5001), 5); kept.append(c)
    try: c.sendall(b"y" * 70000)
    except OSError: pass
print('{"ready": true}', flush=True)
time.sleep(600)
"#;

#[test]
fn hostile_clients_harm_nobody_and_cost_little() {
    let Some(lan) = Lan::new(3) else { return };
    let node = lan.host(0).node("box", SERVER);
    let args = ["Mert", "10.77.0.1", "10.77.0.2"];
    let mut mert = lan.host(1).peer("directory_client.py", &args);
    node.sees(&["Mert"]);
    let before = node.memory();
    let hostile = lan.host(2).python(&["-c", HOSTILE, "10.77.0.1"]);
    hostile.says("ready", |_| true);
    mert.tell("refresh");
    mert.says("users", |u| u.as_array().unwrap().len() > 2);
    mert.tell("connect 10.77.0.1");
    let number = chat(&node, "asked", "Mert")["number"].to_string();
    node.must(&["accept", &number]);
    mert.tell("pm durch");
    node.hears("Mert", "durch");
    let after = node.memory();
    println!("resident: {before} KiB before, {after} KiB under attack");
    assert!(after < before + 8 * 1024, "{before} {after}");
    mert.is_content();
}
