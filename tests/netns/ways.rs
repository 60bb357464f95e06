//! Ways in that are not ours: the PyPI client `varlink` at a real node, and every way at once.

use serde_json::{Value, json};

use super::lan::{Lan, say};
use super::node::{Node, SOON, within};
use super::picture::png;

const EVERY: &str = "gateway = true\n[slcp]\nannounce = 5\n[hello]\nenabled = true\nannounce = 1\n\
    [room]\nenabled = true\n[directory]\nenabled = true\n";

/// A text came in once.
#[track_caller]
fn told_once(node: &Node, text: &str) {
    let told = |e: &&Value| e["kind"] == "message" && e["direction"] == "in" && e["text"] == text;
    assert_eq!(node.events().iter().filter(told).count(), 1, "{text}");
}

/// An SLCP program, a hello program, a client of the room, a client of the directory, the page and
/// the console at one box. Everyone writes to the box's user or its lobby and is answered; what is
/// said in one shared chat reaches every other way that has one, once, with its author.
#[test]
fn five_ways_in_at_once_write_to_each_other() {
    let Some(lan) = Lan::new(5) else { return };
    let mut node = lan.host(0).node("box", EVERY);
    let mut sara =
        lan.host(1).peer("tcp_msg.py", &["sara", "5100", "10.77.0.2", "10.77.0.255", "khan"]);
    let mut vana = lan.host(2).peer("hello_vanis.py", &["vana", "10.77.0.255"]);
    let mut nico = lan.host(3).peer("room_client.py", &["lines", "nico", "10.77.0.1"]);
    let mut mert = lan.host(4).peer("directory_client.py", &["Mert", "10.77.0.1", "10.77.0.5"]);
    let mut gast = lan.host(4).peer("web_guest.py", &["gast", "10.77.0.1", "8484"]);
    node.sees(&["Mert", "gast", "nico", "sara", "vana"]);
    let dialect = |name: &str| node.peer(name)["dialect"].clone();
    let all = ["sara", "vana", "nico", "Mert"].map(dialect);
    assert_eq!(all, [json!(["slcp"]), json!(["hello"]), json!(["room"]), json!(["directory"])]);
    vana.says("stands", |_| true);
    sara.says("knows", |h| h == "box");
    sara.says("knows", |h| h == "gast");
    nico.says("users", |u| *u == json!(["box", "gast", "nico"]));
    mert.tell("refresh");
    mert.says("users", |u| *u == json!(["Mert", "box", "gast"]));

    // one by one: the box's user with each, both ways
    sara.tell("msg box von sara");
    node.hears("sara", "von sara");
    node.msg("sara", "an sara");
    sara.says("text", |t| *t == json!(["box", "an sara"]));
    nico.tell("ask box");
    let asked = |who: &'static str| move |e: &Value| e["state"] == "asked" && e["handle"] == who;
    let number = node.wait_event("chat", SOON, asked("nico"))["number"].to_string();
    node.must(&["accept", &number]);
    nico.says("chat", |nick| nick == "box");
    nico.tell("pm box von nico");
    node.hears("nico", "von nico");
    node.msg("nico", "an nico");
    nico.says("pm", |pm| *pm == json!(["box", "an nico"]));
    mert.tell("connect 10.77.0.1");
    let number = node.wait_event("chat", SOON, asked("Mert"))["number"].to_string();
    node.must(&["accept", &number]);
    mert.tell("pm von Mert");
    node.hears("Mert", "von Mert");
    node.msg("Mert", "an Mert");
    mert.says("text", |t| t == "box: an Mert");
    gast.tell("msg box von gast");
    node.hears("gast", "von gast");
    node.msg("gast", "an gast");
    gast.says("text", |t| t[0] == "box" && t[2] == "an gast");

    // the guest with the programs: a user of its own in SLCP and in the room
    sara.tell("msg gast hallo Gast");
    gast.says("text", |t| t[0] == "sara" && t[2] == "hallo Gast");
    gast.tell("msg sara hallo Sara");
    sara.says("text", |t| *t == json!(["gast", "hallo Sara"]));
    gast.tell("msg nico hallo Nico");
    nico.says("pm", |pm| *pm == json!(["gast", "hallo Nico"]));
    nico.tell("pm gast hallo zurück");
    gast.says("text", |t| t[0] == "nico" && t[2] == "hallo zurück");

    // to everyone, from each way that has a shared chat, heard on all of them
    node.mark();
    vana.tell("msg Hello an alle");
    node.hears("vana", "Hello an alle");
    gast.says("text", |t| *t == json!(["vana", "lobby", "Hello an alle"]));
    nico.says("text", |t| t[1] == "vana@hello: Hello an alle");
    sara.says("text", |t| t[1] == "vana@hello: Hello an alle");
    nico.tell("all Raum an alle");
    node.hears("nico", "Raum an alle");
    gast.says("text", |t| *t == json!(["nico", "lobby", "Raum an alle"]));
    vana.says("text", |t| t[1] == "nico@room: Raum an alle");
    sara.says("text", |t| t[1] == "nico@room: Raum an alle");
    gast.tell("msg #lobby Seite an alle");
    nico.says("text", |t| *t == json!(["gast", "Seite an alle"]));
    vana.says("text", |t| t[1] == "gast: Seite an alle");
    sara.says("text", |t| *t == json!(["gast", "Seite an alle"]));
    let shown = node.console("ALL Konsole an alle\nHISTORY\n");
    for text in ["Hello an alle", "Raum an alle", "Konsole an alle"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    nico.says("text", |t| *t == json!(["box", "Konsole an alle"]));
    vana.says("text", |t| t[1] == "Konsole an alle");
    sara.says("text", |t| *t == json!(["box", "Konsole an alle"]));
    gast.says("text", |t| t[0] == "box" && t[2] == "Konsole an alle");

    // an image where there are images, a plain word where there are none
    let (path, _) = png(node.home().path(), 8, 8);
    let path = path.to_str().unwrap();
    node.must(&["img", "sara", path]);
    sara.says("image", |i| i[0] == "box");
    for (who, chat) in [("vana", "hello"), ("nico", "room"), ("Mert", "directory")] {
        let out = node.cli(&["img", who, path]);
        let words = String::from_utf8(out.stderr).unwrap();
        let wanted = format!("{who} is in the {chat} chat, which has no images");
        assert!(out.status.code() == Some(1) && words.contains(&wanted), "{who}: {words}");
    }

    // nothing of it twice, nobody gone, nobody unhappy
    std::thread::sleep(std::time::Duration::from_secs(2));
    told_once(&node, "Hello an alle");
    told_once(&node, "Raum an alle");
    assert!(within(SOON, || node.handles().len() == 5), "{:#?}", node.who());
    for script in [&sara, &vana, &nico, &mert, &gast] {
        script.is_content();
    }
    node.is_well();
}

/// With `KLATSCH_VARLINK` naming a python3 that has the package (see .ci/run).
#[test]
fn the_varlink_package_finds_what_the_interface_promises() {
    let Some(lan) = Lan::new(2) else { return };
    let Some(python) = std::env::var_os("KLATSCH_VARLINK") else {
        return say("skipped: no KLATSCH_VARLINK names a python3 that has the package varlink");
    };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    let socket = anna.status()["socket"].as_str().unwrap().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/varlink_client.py");
    let out = std::process::Command::new(python).args([script, &socket]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bert.sees(&["anna"]);
}
