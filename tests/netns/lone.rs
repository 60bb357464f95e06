//! Several programs on one host: nodes beside each other, ports that somebody else has.

use std::sync::Arc;

use super::lan::Lan;
use super::node::{SELDOM, SOON, secs, within};

const HOLD: &str = "
import socket, sys, time
held = []
for word in sys.argv[1:]:
    kind, port = word.split(':')
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
    s.bind(('0.0.0.0', int(port)))
    if kind == 'tcp':
        s.listen()
    held.append(s)
print('{\"ready\": true}', flush=True)
time.sleep(600)
";

#[test]
fn two_nodes_on_one_host_and_one_elsewhere() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    // in the same home, as two instances of one person
    let bert = lan.host(0).node_in(anna.home(), "zwei", "bert", "", "");
    let carl = lan.host(1).node("carl", "");
    anna.sees(&["bert", "carl"]);
    bert.sees(&["anna", "carl"]);
    carl.sees(&["anna", "bert"]);
    assert_ne!(carl.peer("anna")["port"], carl.peer("bert")["port"]);
    for (from, to, name, other) in [
        (&anna, &bert, "anna", "bert"),
        (&bert, &anna, "bert", "anna"),
        (&carl, &bert, "carl", "bert"),
        (&carl, &anna, "carl", "anna"),
        (&bert, &carl, "bert", "carl"),
    ] {
        let text = format!("von {name} an {other}");
        from.msg(other, &text);
        to.hears(name, &text);
    }
    // each leaves for itself
    bert.must(&["leave"]);
    carl.sees(&["anna"]);
    anna.sees(&["carl"]);
}

#[test]
fn localhost_alone_is_a_lan() {
    let Some(lan) = Lan::bare(1) else { return };
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(0).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    assert_eq!(anna.peer("bert")["address"], "127.0.0.1");
    anna.msg("bert", "nur wir zwei");
    bert.hears("anna", "nur wir zwei");
    bert.msg("anna", "ja");
    anna.hears("bert", "ja");
    let (path, bytes) = super::picture::png(anna.home().path(), 32, 32);
    anna.must(&["img", "bert", path.to_str().unwrap()]);
    let seen = bert.wait_event("image", SOON, |e| e["direction"] == "in");
    assert_eq!(std::fs::read(seen["path"].as_str().unwrap()).unwrap(), bytes);
    bert.signal("TERM");
    anna.sees_leave("bert");
    assert_eq!(bert.ends(), Some(0));
}

#[test]
fn a_discovery_port_that_another_program_holds_is_said_with_its_name() {
    let Some(lan) = Lan::new(1) else { return };
    let holder = lan.host(0).python(&["-c", HOLD, "udp:4000"]);
    holder.says("ready", |_| true);
    let mut anna = lan.host(0).node("anna", "");
    let line = anna.complains(SOON, "4000");
    assert!(line.contains("python3"), "{line}");
    println!("{line}");
    anna.is_well();
    let errors = anna.events().iter().filter(|e| e["kind"] == "error").count();
    assert_eq!(errors, 1, "{:#?}", anna.events());
    let status = anna.status().to_string();
    assert!(status.contains("4000"), "{status}");
}

#[test]
fn a_chat_port_range_that_is_partly_taken() {
    let Some(lan) = Lan::new(2) else { return };
    // one by UDP, one by TCP alone
    let holder = lan.host(0).python(&["-c", HOLD, "udp:5010", "tcp:5012"]);
    holder.says("ready", |_| true);
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    bert.sees(&["anna"]);
    assert_eq!(bert.peer("anna")["port"], 5014);
    anna.sees(&["bert"]);
    bert.msg("anna", "hallo");
    anna.hears("bert", "hallo");
    let errors = anna.events().iter().filter(|e| e["kind"] == "error").count();
    assert_eq!(errors, 0, "{:#?}", anna.events());
}

#[test]
fn a_wanted_chat_port_that_is_taken_is_said_and_another_used() {
    let Some(lan) = Lan::new(2) else { return };
    let holder = lan.host(0).python(&["-c", HOLD, "udp:5555", "udp:6000"]);
    holder.says("ready", |_| true);
    let anna = lan.host(0).node("anna", "port = 5555\n");
    let bert = lan.host(1).node("bert", "");
    let line = anna.complains(SOON, "5555");
    assert!(line.contains("python3") && line.contains("5010"), "{line}");
    anna.complains(SOON, "6000");
    bert.sees(&["anna"]);
    assert_eq!(bert.peer("anna")["port"], 5010);
}

#[test]
fn no_chat_port_at_all_is_one_line() {
    let Some(lan) = Lan::new(1) else { return };
    let holder = lan.host(0).python(&["-c", HOLD, "udp:5010", "tcp:5012"]);
    holder.says("ready", |_| true);
    let mut anna = lan.host(0).node("anna", "port-min = 5010\nport-max = 5012\n");
    let line = anna.complains(SOON, "no free chat port");
    println!("{line}");
    anna.is_well();
}

#[test]
fn a_guest_is_a_peer_of_its_own() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", SELDOM);
    let mut bert = lan.host(1).node("bert", SELDOM);
    bert.sees(&["anna"]);
    anna.must(&["user", "add", "gast"]);
    bert.wait_event("peer-joined", SOON, |e| e["handle"] == "gast");
    bert.sees(&["anna", "gast"]);
    let (guest, host) = (bert.peer("gast"), bert.peer("anna"));
    assert_eq!(guest["address"], host["address"]);
    assert_ne!(guest["port"], host["port"]);
    bert.msg("gast", "hallo Gast");
    let heard = anna.hears("bert", "hallo Gast");
    assert_eq!((&heard["user"], &heard["to"]), (&"gast".into(), &"gast".into()));
    anna.must(&["--as", "gast", "msg", "bert", "vom Gast"]);
    bert.hears("gast", "vom Gast");
    anna.must(&["msg", "gast", "von nebenan"]);
    anna.wait_event("message", SOON, |e| e["user"] == "gast" && e["text"] == "von nebenan");
    bert.mark();
    anna.must(&["user", "remove", "gast"]);
    bert.sees_leave("gast");
    std::thread::sleep(secs(2));
    assert_eq!(bert.handles(), ["anna"]);
    assert_eq!(anna.code(&["--as", "gast", "msg", "bert", "x"]), 1);
    // the first user stays
    assert_ne!(anna.code(&["user", "remove", "anna"]), 0);
}

#[test]
fn a_dead_nodes_socket_is_replaced_and_a_live_one_never() {
    let Some(lan) = Lan::bare(1) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let home = Arc::clone(anna.home());
    let socket = anna.status()["socket"].as_str().unwrap().to_owned();
    let second = || {
        let mut run = lan.host(0).command(env!("CARGO_BIN_EXE_klatsch"));
        run.args(["run", "--instance", "t"]);
        let home = home.path();
        let out = run.env("XDG_RUNTIME_DIR", home).env("HOME", home).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let refused = format!(
        "klatsch: a node runs already as t at {socket}: use it, or choose another --instance\n"
    );
    assert_eq!(second(), (Some(1), refused));
    anna.is_well();
    anna.signal("KILL");
    anna.ends();
    assert!(std::path::Path::new(&socket).exists(), "{socket}");
    assert_eq!(anna.code(&["status"]), 69);
    let mut again = lan.host(0).node_in(&home, "t", "anna", "", "");
    again.is_well();
    assert_eq!(again.status()["socket"], socket.as_str());
    again.signal("TERM");
    assert_eq!(again.ends(), Some(0));
    assert!(!std::path::Path::new(&socket).exists(), "a node takes its socket with it");
}

#[test]
fn a_socket_of_ones_own_choice() {
    let Some(lan) = Lan::bare(1) else { return };
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("mine");
    let klatsch = |line: &[&str]| {
        let mut run = lan.host(0).command(env!("CARGO_BIN_EXE_klatsch"));
        run.arg("--socket").arg(&socket).args(line).stdin(std::process::Stdio::null());
        run.env("XDG_RUNTIME_DIR", home.path()).env("HOME", home.path());
        run
    };
    let code = |line: &[&str]| klatsch(line).output().unwrap().status.code();
    assert_eq!(code(&["who"]), Some(69));
    let mut node = klatsch(&["run"]).spawn().unwrap();
    let up = within(SOON, || code(&["who"]) == Some(0));
    let status = klatsch(&["status", "--json"]).output().unwrap();
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(up);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["socket"], socket.to_str().unwrap());
}

#[test]
fn hangup_reads_the_settings_again() {
    let Some(lan) = Lan::bare(1) else { return };
    let mut anna = lan.host(0).node("anna", "autoreply = \"eins\"\n");
    let reply = |node: &super::node::Node| {
        let set = node.json(&["config", "autoreply"]);
        set[0]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(reply(&anna), "eins");
    let good = std::fs::read_to_string(anna.config()).unwrap();
    std::fs::write(anna.config(), "handle = \"anna\nautoreply = ").unwrap();
    anna.signal("HUP");
    let line = anna.complains(SOON, "t.toml");
    println!("{line}");
    anna.complains(SOON, "stay as they are");
    anna.is_well();
    assert_eq!(reply(&anna), "eins");
    std::fs::write(anna.config(), good.replace("eins", "zwei")).unwrap();
    anna.mark();
    anna.signal("HUP");
    assert!(within(SOON, || reply(&anna) == "zwei"), "{}", reply(&anna));
    let errors = anna.events().iter().filter(|e| e["kind"] == "error").count();
    assert_eq!(errors, 0, "{:#?}", anna.events());
}
