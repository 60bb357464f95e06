//! The command line as a person or a script has it: the real binary against a real control
//! socket, with a scripted node behind it.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Output, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use klatsch::command::Command;
use klatsch::control::socket::Socket;
use klatsch::control::{About, serve};
use klatsch::hub::{Call, Hub};
use klatsch::model::{Answer, Event, Handle, Refusal, Wall, What};
use serde_json::{Value, json};

struct Node {
    folder: tempfile::TempDir,
    tell: async_channel::Sender<Value>,
}

impl Node {
    fn start() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (tell, told) = async_channel::unbounded();
        let (up, is_up) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let socket = Socket::bind(&path).unwrap();
            let executor = Rc::new(async_executor::LocalExecutor::new());
            let (hub, calls) = Hub::new(7);
            let listener = socket.listener().unwrap();
            let server = serve(listener, hub.clone(), executor.clone(), About::default());
            up.send(()).unwrap();
            let script = async {
                loop {
                    let call = async { calls.recv().await.ok().map(Ok) };
                    let event = async { told.recv().await.ok().map(Err) };
                    match call.or(event).await {
                        Some(Ok(call)) => answer(&hub, call),
                        Some(Err(what)) => hub.tell(event_of(what)),
                        None => return,
                    }
                }
            };
            klatsch::reactor::block_on(
                executor.run(script.or(async { panic!("{}", server.await) })),
            );
        });
        is_up.recv().unwrap();
        Node { folder, tell }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn klatsch(&self, line: &[&str]) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_klatsch"));
        process.arg("--socket").arg(self.path()).args(line);
        process
    }

    fn run(&self, line: &[&str]) -> Output {
        self.klatsch(line).output().unwrap()
    }

    fn code(&self, line: &[&str]) -> i32 {
        self.run(line).status.code().unwrap()
    }

    fn monitor(&self, line: &[&str]) -> Child {
        let mut process = self.klatsch(line);
        process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn tell_until(&self, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(10), "not done in time");
            self.tell.send_blocking(json!({"kind": "error", "text": "tick"})).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn event_of(what: Value) -> Event {
    let what: What = serde_json::from_value(what).unwrap();
    Event { at: Wall(0), user: Handle::try_from("anna").ok(), what }
}

fn delivery(state: &str) -> Value {
    json!({"kind": "delivery", "id": ID, "recipient": "bob", "peer": PEER, "state": state,
        "reason": null})
}

const ID: &str = "0000000000000007-1";
const PEER: &str = "p000000000007";

/// `bob` gets it, `late` is refused by ICMP after it was sent, `two` is two people, `ghost` none.
fn answer(hub: &Hub, call: Call) {
    let receipt = |state: &str| {
        let receipt = json!([{"id": ID, "recipient": "bob", "peer": PEER, "state": state,
            "reason": null}]);
        Ok(Answer::Sent(serde_json::from_value(receipt).unwrap()))
    };
    let result = match call.command {
        Command::Who { .. } => {
            let peers = json!([{"id": PEER, "handle": "bob", "name": "bob", "dialect": ["slcp"],
                "address": "10.0.0.2", "port": 5010, "routes": [], "presence": "online",
                "trust": "plain", "last_heard": "2026-01-01T00:00:00Z", "blocked": false}]);
            Ok(Answer::Who(serde_json::from_value(peers).unwrap()))
        }
        Command::Send { to, .. } => match to[0].as_str() {
            "bob" => receipt("sent"),
            "late" => {
                hub.tell(event_of(delivery("failed")));
                receipt("sent")
            }
            "slow" => {
                hub.tell(event_of(delivery("delivered")));
                receipt("queued")
            }
            "never" => receipt("queued"),
            "#lobby" => Ok(Answer::Sent(Vec::new())),
            "two" => Err(Refusal::Ambiguous { name: "two".into(), choices: vec!["two@a".into()] }),
            name => Err(Refusal::NoSuchPeer { name: name.into() }),
        },
        Command::SendFile { path, .. } => {
            let mut bytes = Vec::new();
            std::fs::File::from(call.file.unwrap()).read_to_end(&mut bytes).unwrap();
            assert!(path.starts_with('/') && bytes == b"pixels");
            let transfer = |state: &str| {
                event_of(json!({"kind": "transfer", "id": ID, "direction": "out", "peer": PEER,
                    "handle": "bob", "name": "a.png", "done": 6, "size": 6, "state": state,
                    "reason": null}))
            };
            hub.tell(transfer("running"));
            hub.tell(transfer("done"));
            receipt("queued")
        }
        Command::SetHandle { handle } if call.user.as_deref() == Some("guest") => {
            Ok(Answer::Handle(Handle::nearest(&handle)))
        }
        Command::SetHandle { .. } => Err(Refusal::Denied { what: "this".into() }),
        _ => Ok(Answer::Done),
    };
    let _ = call.reply.try_send(result);
}

#[test]
fn codes_say_what_became_of_it() {
    let node = Node::start();
    for (to, code) in [("bob", 0), ("slow", 0), ("late", 4), ("ghost", 5), ("two", 6)] {
        assert_eq!(node.code(&["msg", to, "hello", "you"]), code, "{to}");
    }
    // on a busy machine a program's start and end take long
    let begun = Instant::now();
    assert_eq!(node.code(&["back"]), 0);
    let busy = 10 * begun.elapsed().saturating_sub(Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(node.code(&["msg", "never", "x"]), 3);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(9) + busy, "{took:?}");
    assert_eq!(node.code(&["all", "x"]), 5, "nobody is here");
    assert_eq!(node.code(&["handle", "new"]), 1);
    assert_eq!(node.code(&["handle", "new", "--as", "guest"]), 0);
    assert_eq!(node.code(&["msg", "bob"]), 2);
    assert_eq!(node.code(&["--help"]), 0);
    let none = node.run(&["who", "--socket", "/nonexistent/control"]);
    assert_eq!(none.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&none.stderr).contains("klatsch run"));
}

#[test]
fn json_is_one_value_per_line() {
    let node = Node::start();
    let lines = |line: &[&str]| -> Vec<Value> {
        let out = node.run(line);
        assert!(out.status.success(), "{out:?}");
        out.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    };
    let who = lines(&["who", "--json"]);
    for key in ["id", "handle", "dialect", "address", "port", "routes", "presence", "trust"] {
        assert!(who[0].get(key).is_some(), "{key}");
    }
    assert_eq!(who[0]["last_heard"], "2026-01-01T00:00:00.000Z");
    let msg = lines(&["--json", "msg", "bob", "hello"]);
    let said = (&msg[0]["id"], &msg[0]["recipient"], &msg[0]["state"]);
    assert_eq!(said, (&json!(ID), &json!("bob"), &json!("sent")));
    assert_eq!(lines(&["leave", "--json"]), [json!({})]);
}

#[test]
fn an_image_is_opened_here_and_waited_for() {
    let node = Node::start();
    std::fs::write(node.folder.path().join("a.png"), "pixels").unwrap();
    let mut img = node.klatsch(&["img", "bob", "a.png"]);
    let out = img.current_dir(node.folder.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "bob  sent\n");
    let missing = node.run(&["img", "bob", "nowhere.png"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere.png"));
}

#[test]
fn monitor_tells_at_once_and_ends_with_its_reader() {
    let node = Node::start();
    let mut monitor = node.monitor(&["monitor", "--json", "--since", "00:0"]);
    let mut out = BufReader::new(monitor.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let gap: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&gap["kind"], &gap["reason"]), (&json!("gap"), &json!("epoch")));
    node.tell.send_blocking(delivery("sent")).unwrap();
    line.clear();
    out.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["state"], "sent");
    drop(out);
    node.tell_until(|| monitor.try_wait().unwrap().is_some());
    assert_eq!(monitor.wait().unwrap().code(), Some(0));

    // Nothing happens, and nobody reads: it ends all the same.
    let mut idle = node.monitor(&["monitor"]);
    drop(idle.stdout.take());
    let begun = Instant::now();
    while idle.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(idle.wait().unwrap().code(), Some(0));
}

#[test]
fn monitor_says_when_the_node_is_gone() {
    let node = Node::start();
    let mut monitor = node.monitor(&["monitor", "--json", "--since", "00:0"]);
    let mut line = String::new();
    let mut out = BufReader::new(monitor.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(node);
    assert_eq!(monitor.wait().unwrap().code(), Some(69));
}

#[test]
fn a_reader_that_is_gone_changes_no_exit_code_and_a_full_disk_is_said() {
    let node = Node::start();
    let gone = || {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(reader);
        Stdio::from(std::os::fd::OwnedFd::from(writer))
    };
    let code = |line: &[&str], out: Stdio, err: Stdio| {
        let status = node.klatsch(line).stdout(out).stderr(err).status().unwrap();
        status.code().unwrap()
    };
    assert_eq!(code(&["who"], gone(), Stdio::null()), 0);
    assert_eq!(code(&["msg", "ghost", "x"], Stdio::null(), gone()), 5);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(code(&["who"], full.into(), gone()), 1);
}
