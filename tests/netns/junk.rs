//! What a hostile or broken neighbour sends: rubbish, too much, images that lie.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::lan::Lan;
use super::node::{Node, SELDOM, SOON, secs};
use super::picture::png;

/// Sends datagrams to a port of host 0: `sys.argv` is port, then Python for each payload.
const UDP: &str = "
import socket, os, random, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
def send(data, port):
    s.sendto(data, ('10.77.0.1', port))
";

fn files(node: &Node) -> Vec<String> {
    files_in(&node.status()["imagepath"].as_str().unwrap().into())
}

fn files_in(folder: &std::path::PathBuf) -> Vec<String> {
    let all = std::fs::read_dir(folder).into_iter().flatten().flatten();
    all.map(|e| e.file_name().into_string().unwrap()).collect()
}

fn failed(node: &Node, within: Duration) -> String {
    let event = node.wait_event("transfer", within, |e| e["state"] == "failed");
    event["reason"].as_str().unwrap().to_owned()
}

fn transfers(node: &Node, state: &str) -> usize {
    let of = |e: &&Value| e["kind"] == "transfer" && e["state"] == state;
    node.events().iter().filter(of).count()
}

#[test]
fn rubbish_is_one_line_each_and_then_counted() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    let shapes = [
        "send(os.urandom(60000), P)",
        "send(b'MSG bert ' + b'x' * 600 + b'\\n', P)",
        "send(b'JOIN ' + b'y' * 600 + b' 5010\\n', P)",
        "send(b'MSG bert \\xff\\xfe\\x80\\n', P)",
        "send(b'', P)",
        "send(b'\\x00' * 100, P)",
        "send(b'JOIN x 99999\\n', P)",
        "send(b'JOIN x\\n', P)",
        "send(b'LEAVE\\n', P)",
        "send(b'KNOWUSERS ' + b'a 1.2.3.4 5, ' * 2000, P)",
        "send(b'[' * 30000, P)",
        "send(b'{\"type\": \"login\"}', P)",
        "send(b'IMG bert 99999999999999999999\\n', P)",
        "send(b'IMG bert -1\\n', P)",
    ];
    let lines: Vec<String> = ["4000", "5010", "6000"]
        .iter()
        .flat_map(|port| shapes.map(|s| s.replace('P', port)))
        .collect();
    lan.host(1).python_line(&format!("{UDP}\n{}", lines.join("\n")));
    anna.is_well();
    anna.msg("bert", "noch da");
    bert.hears("anna", "noch da");
    bert.msg("anna", "ich auch");
    anna.hears("bert", "ich auch");
    let errors = anna.events().iter().filter(|e| e["kind"] == "error").count();
    assert!((1..=6).contains(&errors), "{errors} lines: {:#?}", anna.events());
    assert_eq!(anna.handles(), ["bert"]);
}

#[test]
fn ten_thousand_junk_datagrams() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    let rss = |node: &Node| {
        let text = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
        let line = text.lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = rss(&anna);
    let flood = "
random.seed(7)
words = [b'JOIN', b'WHO', b'MSG', b'KNOWUSERS', b'IMG', b'AWAY', b'bert', b'anna', b'5010', b'\\n']
for n in range(10000):
    if n % 2:
        data = b' '.join(random.choice(words) for _ in range(random.randrange(6)))
    else:
        data = random.randbytes(random.randrange(200))
    send(data, (4000, 5010, 6000)[n % 3])
    if n % 100 == 0:
        time.sleep(0.01)
";
    lan.host(1).python_line(&format!("{UDP}{flood}"));
    anna.is_well();
    let grown = rss(&anna).saturating_sub(before);
    println!("10,000 junk datagrams: {grown} kB more");
    assert!(grown < 4_000, "{grown} kB");
    let events = anna.events();
    let errors = events.iter().filter(|e| e["kind"] == "error").count();
    assert!(errors < 20, "{errors} lines");
    // whatever the junk made of bert: it is itself again by its next word
    bert.must(&["leave"]);
    bert.must(&["join"]);
    anna.reaches(&bert, SOON);
    bert.reaches(&anna, SOON);
}

#[test]
fn many_connections_and_endless_lines() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    lan.host(1).python_line(
        "
import socket
held = []
for n in range(200):
    s = socket.create_connection(('10.77.0.1', 5010), 5)
    s.settimeout(1)
    held.append(s)
for s in held:
    try:
        s.sendall(b'x' * 40000)
    except OSError:
        pass
",
    );
    anna.is_well();
    bert.msg("anna", "geht es noch?");
    anna.hears("bert", "geht es noch?");
}

#[test]
fn a_stranger_is_told_of_before_what_he_says() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    lan.host(1).python_line(&format!("{UDP}send(b'MSG bert hallo\\n', 5010)"));
    anna.hears("bert", "hallo");
    lie(&lan, "b'MSG carl auch\\n'", "");
    anna.hears("carl", "auch");
    let kinds: Vec<String> =
        anna.events().iter().map(|e| e["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["peer-joined", "message", "peer-joined", "message"]);
    // there is nowhere to answer to yet
    assert_eq!(anna.code(&["msg", "carl", "wo bist du?"]), 3);
    anna.is_well();
}

/// What a lying sender sends over TCP, and how it goes on.
fn lie(lan: &Lan, sends: &str, then: &str) {
    lan.host(1).python_line(&format!(
        "import socket, time\ns = socket.create_connection(('10.77.0.1', 5010), 5)\n\
         s.sendall({sends})\n{then}\ns.close()"
    ));
}

#[test]
fn an_image_that_is_shorter_than_announced() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    lie(&lan, "b'IMG bert 1000\\n' + b'x' * 20", "");
    let reason = failed(&anna, SOON);
    println!("{reason}");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(transfers(&anna, "failed"), 1);
    assert_eq!(files(&anna), Vec::<String>::new());
}

#[test]
fn an_image_that_stalls_ends_after_a_while() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let begun = std::time::Instant::now();
    lie(&lan, "b'IMG bert 1000\\n' + b'x' * 20", "time.sleep(17)");
    let reason = failed(&anna, SOON);
    println!("stalled: {reason}, after {:?} at most", begun.elapsed());
    assert!(reason.contains("15 seconds"), "{reason}");
    assert_eq!(transfers(&anna, "failed"), 1);
    assert_eq!(files(&anna), Vec::<String>::new());
}

#[test]
fn an_image_that_is_reset() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let reset = "import struct\ntime.sleep(0.3)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))";
    lie(&lan, "b'IMG bert 1000\\n' + b'x' * 20", reset);
    println!("reset: {}", failed(&anna, SOON));
    assert_eq!(files(&anna), Vec::<String>::new());
}

#[test]
fn an_image_beyond_the_limit_or_of_nothing_is_refused() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "max-image = 1024\n");
    lie(&lan, "b'IMG bert 1025\\n' + b'x' * 1025", "");
    assert!(failed(&anna, SOON).contains("max-image"));
    anna.mark();
    lie(&lan, "b'IMG bert 0\\n'", "");
    println!("{}", failed(&anna, SOON));
    assert_eq!(files(&anna), Vec::<String>::new());
    anna.mark();
    lie(&lan, "b'IMG bert 1000\\n' + b'x' * 1000", "");
    let image = anna.wait_event("image", SOON, |_| true);
    assert_eq!((&image["format"], &image["size"]), (&"unknown".into(), &1000.into()));
}

#[test]
fn a_senders_name_never_leads_out_of_the_folder() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    for head in [
        "b'IMG bert ../../x 10 '",
        "b'IMG bert ../../x 10\\n'",
        "b'IMG ../../x 10\\n'",
        "b'IMG /tmp/x.png 10\\n'",
        "b'IMG bert 10|../../x\\n'",
        "b'IMG ../../../etc/x 10\\n'",
    ] {
        anna.mark();
        lie(&lan, &format!("{head} + b'0123456789'"), "time.sleep(0.5)");
        let image = anna.event_within(SOON, "image", |_| true);
        let Some(image) = image else { panic!("{head}: {:#?}", anna.events()) };
        let path = image["path"].as_str().unwrap();
        let folder = anna.status()["imagepath"].as_str().unwrap().to_owned();
        let name = path.strip_prefix(&format!("{folder}/"));
        assert!(name.is_some_and(|n| !n.contains('/') && !n.contains("..")), "{head}: {path}");
        assert_eq!(std::fs::read(path).unwrap(), b"0123456789", "{head}");
    }
    assert_eq!(files(&anna).len(), 6);
    anna.is_well();
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_left() {
    let Some(lan) = Lan::new(2) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let images = home.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let (path, word) = (home.path().to_owned(), images.to_str().unwrap().to_owned());
    // seen by this node alone: `ip netns exec` gives each program its own mounts
    let mount = format!("mount -t tmpfs -o size=128k none {word}");
    let extra = format!("imagepath = \"{word}\"\n");
    let mut anna = lan.host(0).node_in(&home, "t", "anna", &extra, &mount);
    let bert = lan.host(1).node("bert", "");
    bert.sees(&["anna"]);
    anna.sees(&["bert"]);
    let inside = std::path::PathBuf::from(format!("/proc/{}/root{word}", anna.pid()));
    let (large, _) = png(&path, 700, 500);
    let out = bert.cli(&["img", "anna", large.to_str().unwrap()]);
    println!("the sender is told: {out:?}");
    let reason = failed(&anna, SOON);
    assert!(reason.contains("full"), "{reason}");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(transfers(&anna, "failed"), 1);
    assert_eq!(files_in(&inside), Vec::<String>::new());
    // room enough for a small one
    anna.mark();
    let (small, bytes) = png(&path, 100, 100);
    bert.must(&["img", "anna", small.to_str().unwrap()]);
    let seen = anna.wait_event("image", SOON, |e| e["direction"] == "in");
    let kept = format!("/proc/{}/root{}", anna.pid(), seen["path"].as_str().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), bytes);
    anna.is_well();
}

#[test]
fn an_image_to_nobody_fails_in_time() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    std::thread::sleep(secs(4));
    let (path, _) = png(anna.home().path(), 8, 8);
    bert.signal("STOP"); // it looks alive and takes nothing
    let sent = anna.json(&["img", "bert", path.to_str().unwrap()]);
    println!("to one that is stopped: {}", sent[0]["state"]); // the kernel took it: sent
    bert.signal("KILL");
    bert.ends();
    let receipts = anna.json(&["img", "bert", path.to_str().unwrap()]);
    assert_eq!(receipts[0]["state"], "failed", "{receipts:?}");
}

#[test]
fn a_forged_leave_does_not_remove_anybody() {
    let Some(lan) = Lan::new(3) else { return };
    let mut anna = lan.host(0).node("anna", SELDOM);
    let bert = lan.host(1).node("bert", SELDOM);
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    std::thread::sleep(secs(4));
    anna.mark();
    let leave = format!("{UDP}send(b'LEAVE bert\\n', 4000)\nsend(b'LEAVE bert\\n', 5010)");
    lan.host(2).python_line(&leave);
    std::thread::sleep(secs(1));
    assert_eq!(anna.handles(), ["bert"]);
    assert_eq!(anna.events().iter().filter(|e| e["kind"] == "peer-left").count(), 0);
    // from its own host it counts, until bert himself is asked
    lan.host(1).python_line(&leave);
    anna.sees_leave("bert");
    anna.wait_event("peer-joined", SOON, |e| e["handle"] == "bert");
    assert_eq!(anna.handles(), ["bert"]);
}

#[test]
fn whoever_asks_much_is_answered_little() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let count = "
s.settimeout(2)
s.bind(('', 7777))
sent, got = 0, []
for n in range(100):
    for what in (b'WHO\\n', b'JOIN bob 7777\\n', b'[\"WHO\", \"bob\"]', b'WHOIS anna\\n'):
        send(what, 4000)
        sent += len(what)
try:
    while True:
        got.append(s.recv(65535))
except OSError:
    pass
assert len(got) < 20, (sent, len(got), got)
";
    lan.host(1).python_line(&format!("{UDP}{count}"));
    anna.is_well();
}

#[test]
fn a_node_killed_while_it_receives_leaves_nothing_that_looks_whole() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let slow = "import socket, time\ns = socket.create_connection(('10.77.0.1', 5010), 5)\n\
                s.sendall(b'IMG bert 1000\\n' + b'x' * 20)\nprint('{\"ready\": 1}')\ntime.sleep(600)";
    let sender = lan.host(1).python(&["-c", slow]);
    sender.says("ready", |_| true);
    anna.wait_event("transfer", SOON, |e| e["state"] == "running");
    let begun = std::time::Instant::now();
    while files(&anna).is_empty() {
        assert!(begun.elapsed() < SOON, "no part comes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let folder = std::path::PathBuf::from(anna.status()["imagepath"].as_str().unwrap());
    anna.signal("KILL");
    anna.ends();
    let left = files_in(&folder);
    let hidden = |name: &String| name.starts_with('.') && name.ends_with(".part");
    assert!(left.iter().all(hidden), "{left:?}");
    let again = lan.host(0).node_in(anna.home(), "t", "anna", "", "");
    let swept = super::node::within(SOON, || files_in(&folder).is_empty());
    assert!(swept, "{:?}", files_in(&folder));
    drop(again);
}
