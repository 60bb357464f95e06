//! The control socket from outside: a real Unix socket and hub, a scripted node behind them.

use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use serde_json::{Value, json};

use super::server::{FRAME_MS, MAX_CLIENTS, MAX_SUBSCRIBERS, WRITE_MS};
use super::socket::Socket;
use super::varlink::MAX_FRAME;
use super::{About, Client, Unreachable, serve};
use crate::api::{self, samples};
use crate::command::Command;
use crate::hub::{Call, Hub, Way};
use crate::model::limits::RING_EVENTS;
use crate::model::{Answer, Event, Handle, Refusal, Wall, What};

const SOON: Duration = Duration::from_secs(4);

/// A node's control socket on a thread of its own, for as long as this lives.
struct Node {
    folder: tempfile::TempDir,
    tell: async_channel::Sender<Event>,
}

impl Node {
    fn start() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (tell, told) = async_channel::unbounded::<Event>();
        let (up, is_up) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let socket = Socket::bind(&path).unwrap();
            let executor = Rc::new(async_executor::LocalExecutor::new());
            let (hub, calls) = Hub::new(7);
            let server = serve(
                socket.listener().unwrap(),
                Rc::clone(&hub),
                Rc::clone(&executor),
                About::default(),
            );
            up.send(()).unwrap();
            let script = async {
                loop {
                    let call = async { calls.recv().await.ok().map(Ok) };
                    let event = async { told.recv().await.ok().map(Err) };
                    match call.or(event).await {
                        Some(Ok(call)) => answer(&hub, call),
                        Some(Err(event)) => hub.tell(event),
                        None => return,
                    }
                }
            };
            let served = async { panic!("{}", server.await) };
            crate::reactor::block_on(executor.run(script.or(served)));
        });
        is_up.recv().unwrap();
        Node { folder, tell }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn connect(&self) -> Raw {
        Raw::new(UnixStream::connect(self.path()).unwrap())
    }

    /// Another user's connection, as a member of the socket's group makes one; none where we are
    /// not root.
    fn connect_as_another(&self) -> Option<Raw> {
        use std::os::unix::fs::PermissionsExt;
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        for (path, mode) in [(self.folder.path().to_owned(), 0o711), (self.path(), 0o666)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = self.path();
        let connects = std::thread::spawn(move || {
            become_another();
            UnixStream::connect(path).unwrap()
        });
        Some(Raw::new(connects.join().unwrap()))
    }

    fn tell(&self, text: &str) {
        self.tell.send_blocking(event(None, text)).unwrap();
    }
}

/// What the node would do: the samples, refusals for some names, the bytes of a file.
fn answer(hub: &Hub, call: Call) {
    let refusals = samples::refusals();
    let result = match &call.command {
        Command::Send { to, .. } if to[0].starts_with("refuse-") => {
            Err(refusals[to[0][7..].parse::<usize>().unwrap()].clone())
        }
        Command::Send { to, .. } if to[0] == "nobody" => {
            Err(Refusal::NoSuchPeer { name: to[0].clone() })
        }
        Command::Send { to, text } if to[0] == "echo" => {
            hub.tell(event(Some("anna"), text));
            Ok(Answer::Sent(Vec::new()))
        }
        Command::SendFile { .. } => {
            let mut text = String::new();
            if let Some(file) = call.file {
                std::fs::File::from(file).read_to_string(&mut text).unwrap();
            }
            Err(Refusal::Failed { reason: text })
        }
        Command::AddUser { handle, .. } => Ok(Answer::Handle(Handle::nearest(handle))),
        command => Ok(samples::answer_to(command).1),
    };
    let _ = call.reply.try_send(result);
}

fn event(user: Option<&str>, text: &str) -> Event {
    let user = user.map(|user| Handle::try_from(user).unwrap());
    Event { at: Wall(0), user, what: What::Error { text: text.into() } }
}

/// A client that is nobody's in particular.
struct Raw {
    stream: UnixStream,
    rest: Vec<u8>,
}

/// This thread alone is another user's from now on: not by the C library, whose call changes the
/// whole process.
#[allow(unsafe_code)]
fn become_another() {
    use nix::libc::{SYS_setresuid, syscall};
    // SAFETY: the call takes three numbers and touches no memory.
    let changed = unsafe { syscall(SYS_setresuid, 65_534, 65_534, 65_534) };
    assert_eq!(changed, 0);
}

impl Raw {
    fn new(stream: UnixStream) -> Raw {
        stream.set_read_timeout(Some(SOON)).unwrap();
        Raw { stream, rest: Vec::new() }
    }

    fn send(&mut self, call: &Value) {
        self.stream.write_all(format!("{call}\0").as_bytes()).unwrap();
    }

    /// The next reply; `None` at the end.
    fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == 0) {
                let frame: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&frame[..end]).unwrap());
            }
            let mut bytes = [0; 64 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(n) if n > 0 => self.rest.extend(&bytes[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no reply"),
                _ => return None,
            }
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(&json!({"method": method, "parameters": parameters}));
        self.reply().unwrap()
    }

    fn subscribe(&mut self, parameters: Value) {
        let method = "org.klatsch.Chat.Subscribe";
        self.send(&json!({"method": method, "parameters": parameters, "more": true}));
    }

    fn event(&mut self) -> Value {
        self.reply().unwrap()["parameters"]["event"].clone()
    }

    fn works(&mut self) {
        let begun = Instant::now();
        let reply = self.call("org.klatsch.Chat.Status", json!({}));
        assert_eq!(reply["parameters"]["epoch"], "0000000000000001");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn it_says_what_it_is() {
    let node = Node::start();
    let mut raw = node.connect();
    let info = raw.call("org.varlink.service.GetInfo", json!({}));
    assert_eq!(info["parameters"]["interfaces"][0], "org.klatsch.Chat");
    for interface in info["parameters"]["interfaces"].as_array().unwrap() {
        let method = "org.varlink.service.GetInterfaceDescription";
        let reply = raw.call(method, json!({"interface": interface}));
        let text = reply["parameters"]["description"].as_str().unwrap();
        assert!(text.contains(&format!("\ninterface {}\n", interface.as_str().unwrap())));
    }
}

#[test]
fn every_method_gets_its_answer_and_every_refusal_its_error() {
    let node = Node::start();
    crate::reactor::block_on(async {
        let client = Client::connect(&node.path()).await.unwrap();
        for command in samples::commands() {
            if matches!(command, Command::SendFile { .. } | Command::AddUser { .. }) {
                continue;
            }
            let update = matches!(command, Command::Update { .. });
            let file = update.then(|| tempfile::tempfile().unwrap().into());
            let answer = client.ask(Some("anna".into()), command.clone(), file).await;
            assert_eq!(answer.unwrap(), samples::answer_to(&command).1);
        }
        for (n, refusal) in samples::refusals().into_iter().enumerate() {
            let command = Command::Send { to: vec![format!("refuse-{n}")], text: "x".into() };
            assert_eq!(client.ask(None, command, None).await, Err(refusal));
        }
    });
}

#[test]
fn wrong_calls_get_the_standard_errors() {
    let node = Node::start();
    let mut raw = node.connect();
    for (method, parameters, error, what) in [
        ("org.other.Thing", json!({}), "InterfaceNotFound", "org.other"),
        ("nodots", json!({}), "InterfaceNotFound", "nodots"),
        ("org.klatsch.Chat.Fly", json!({}), "MethodNotFound", "org.klatsch.Chat.Fly"),
        ("org.varlink.service.X", json!({}), "MethodNotFound", "org.varlink.service.X"),
        ("org.klatsch.Chat.Send", json!({"to": ["a"]}), "InvalidParameter", "text"),
        ("org.klatsch.Chat.Who", json!({"gone": 1}), "InvalidParameter", "gone"),
        ("org.varlink.service.GetInterfaceDescription", json!({}), "InvalidParameter", "interface"),
        ("org.klatsch.Chat.Subscribe", json!({}), "ExpectedMore", ""),
    ] {
        let reply = raw.call(method, parameters);
        assert_eq!(reply["error"], format!("org.varlink.service.{error}"), "{method}");
        let said = reply["parameters"].as_object().unwrap().values().next();
        assert_eq!(said.map_or("", |v| v.as_str().unwrap()), what);
    }
    raw.send(&json!({"method": "org.klatsch.Chat.Status", "upgrade": true}));
    assert_eq!(raw.reply().unwrap()["error"], "org.varlink.service.MethodNotImplemented");
    raw.subscribe(json!({"since": "nonsense"}));
    assert_eq!(raw.reply().unwrap()["parameters"]["parameter"], "since");
    raw.works();
}

#[test]
fn bad_json_and_a_frame_one_past_the_limit_are_answered_and_ended() {
    let node = Node::start();
    let mut raw = node.connect();
    raw.stream.write_all(b"{nonsense\0").unwrap();
    assert_eq!(raw.reply().unwrap()["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(raw.reply(), None);
    let mut raw = node.connect();
    raw.stream.write_all(&vec![b'x'; MAX_FRAME + 1]).unwrap();
    let reply = raw.reply().unwrap();
    assert_eq!(reply["error"], "org.klatsch.Chat.TooLong");
    assert_eq!(reply["parameters"]["limit"], MAX_FRAME);
    assert_eq!(raw.reply(), None);
}

#[test]
fn calls_in_one_write_are_answered_in_order_and_oneway_ones_not() {
    let node = Node::start();
    let mut raw = node.connect();
    let mut calls = String::new();
    for n in 0..100 {
        let parameters = json!({"handle": format!("u{n}")});
        let call = json!({"method": "org.klatsch.Chat.AddUser", "parameters": parameters,
            "oneway": n % 2 == 1});
        calls += &format!("{call}\0");
    }
    raw.stream.write_all(calls.as_bytes()).unwrap();
    raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
    for n in (0..100).step_by(2) {
        assert_eq!(raw.reply().unwrap()["parameters"]["handle"], format!("u{n}"));
    }
    assert_eq!(raw.reply(), None);
}

#[test]
fn events_come_live_resume_and_tell_gaps() {
    let node = Node::start();
    let mut raw = node.connect();
    raw.subscribe(json!({"ready": true}));
    let ready = raw.event();
    assert_eq!((&ready["kind"], &ready["seq"]), (&json!("ready"), &json!(0)));
    for text in ["one", "two", "three"] {
        node.tell(text);
    }
    let seen: Vec<Value> = (0..3).map(|_| raw.event()).collect();
    assert_eq!(seen[2]["text"], "three");
    for key in ["epoch", "seq", "at", "kind", "user"] {
        assert!(seen[0].get(key).is_some(), "{key}");
    }

    let mut again = node.connect();
    again.subscribe(json!({"since": "0000000000000007:1"}));
    assert_eq!(again.event()["text"], "two");
    assert_eq!(again.event()["text"], "three");

    let mut foreign = node.connect();
    foreign.subscribe(json!({"since": "00000000000000ff:9"}));
    let gap = foreign.event();
    assert_eq!((&gap["kind"], &gap["reason"]), (&json!("gap"), &json!("epoch")));
    assert_eq!(foreign.event()["text"], "one");

    for n in 0..RING_EVENTS {
        node.tell(&n.to_string());
    }
    // The ring has gone round by then: the live reader has seen the last.
    let last = json!((RING_EVENTS - 1).to_string());
    while raw.event()["text"] != last {}
    let mut late = node.connect();
    late.subscribe(json!({"since": "0000000000000007:1"}));
    let gap = late.event();
    assert_eq!((&gap["reason"], &gap["missed"]), (&json!("slow"), &json!(2)));

    let mut anna = node.connect();
    anna.subscribe(json!({"user": "bob", "ready": true}));
    anna.event();
    let mut caller = node.connect();
    caller.call("org.klatsch.Chat.Send", json!({"to": ["echo"], "text": "annas own"}));
    node.tell("the node's");
    assert_eq!(anna.event()["text"], "the node's");
}

#[test]
fn a_stalled_reader_and_half_a_call_end_in_time_and_harm_nobody() {
    let node = Node::start();
    let mut stalled = node.connect();
    stalled.subscribe(json!({"ready": true}));
    stalled.event();
    let mut asker = node.connect();
    for _ in 0..20_000 {
        asker.stream.set_nonblocking(true).unwrap();
        let call = b"{\"method\":\"org.klatsch.Chat.Status\"}\0";
        // Stops where the socket's buffers are full: the node has stopped reading too.
        if asker.stream.write(call).is_err() {
            break;
        }
    }
    let mut half = node.connect();
    half.stream.write_all(b"{\"method\":").unwrap();
    let mut live = node.connect();
    live.subscribe(json!({"ready": true}));
    live.event();
    for n in 0..2 * RING_EVENTS {
        node.tell(&"x".repeat(1000));
        assert_eq!(live.event()["seq"], n + 1);
    }
    node.connect().works();
    let limit = Duration::from_millis(FRAME_MS.max(WRITE_MS)) + Duration::from_secs(1);
    std::thread::sleep(limit);
    assert_eq!(half.reply(), None);
    for reader in [&mut stalled, &mut asker] {
        reader.stream.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        // What was in the socket is there; then it is over (perhaps with ECONNRESET).
        let _ = reader.stream.read_to_end(&mut rest);
        assert!(rest.len() < 8 << 20);
    }
    node.tell("after");
    assert_eq!(live.event()["text"], "after");
    node.connect().works();
}

#[test]
fn a_thousand_connections_lock_nobody_out() {
    allow_many_files();
    let node = Node::start();
    let mut subscriber = node.connect();
    subscriber.subscribe(json!({"ready": true}));
    subscriber.event();
    let many: Vec<Raw> = (0..1000).map(|_| node.connect()).collect();
    node.connect().works();
    node.tell("still here");
    assert_eq!(subscriber.event()["text"], "still here");
    let mut many = many;
    assert_eq!(many[0].reply(), None, "the longest idle is gone");
    many[999].works();
    assert!(many.len() > MAX_CLIENTS);

    let mut greedy = Vec::new();
    let mut refused = 0;
    for _ in 0..MAX_CLIENTS {
        let mut raw = node.connect();
        raw.subscribe(json!({"ready": true}));
        refused += usize::from(raw.reply().unwrap()["error"] == "org.klatsch.Chat.TooMany");
        greedy.push(raw);
    }
    assert_eq!(refused, MAX_CLIENTS - (MAX_SUBSCRIBERS - 1));
    node.connect().works();
}

/// This process holds the thousand clients' ends; 1,024 descriptors is the usual soft limit.
#[allow(unsafe_code)]
fn allow_many_files() {
    use nix::libc::{RLIMIT_NOFILE, getrlimit, rlimit, setrlimit};
    let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid rlimit of our own.
    unsafe {
        assert_eq!(getrlimit(RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(65_536);
        assert_eq!(setrlimit(RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn files_are_passed_by_descriptor() {
    let node = Node::start();
    crate::reactor::block_on(async {
        let client = Client::connect(&node.path()).await.unwrap();
        let send = |descriptor, path: &str| Command::SendFile {
            to: vec!["bob".into()],
            path: path.into(),
            descriptor,
            name: None,
        };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"pixels").unwrap();
        file.rewind().unwrap();
        let answer = client.ask(None, send(None, "a.png"), Some(file.into())).await;
        assert_eq!(answer, Err(Refusal::Failed { reason: "pixels".into() }));

        let answer = client.ask(None, send(None, "a.png"), None).await;
        assert!(matches!(answer, Err(Refusal::BadValue { .. })), "{answer:?}");
        let answer = client.ask(None, send(None, "/a.png"), None).await;
        assert_eq!(answer, Err(Refusal::Failed { reason: String::new() }));
    });
    let mut raw = node.connect();
    let parameters = json!({"to": ["bob"], "path": "x", "fileDescriptor": 0});
    let reply = raw.call("org.klatsch.Chat.SendFile", parameters);
    assert_eq!(reply["parameters"]["parameter"], "fileDescriptor");
}

#[test]
fn another_user_opens_no_path_and_does_nothing_drastic() {
    let node = Node::start();
    let Some(mut another) = node.connect_as_another() else {
        return eprintln!("skipped: only root can connect as another user");
    };
    another.works();
    let mut ours = node.connect();
    let mut drastic = 0;
    for command in samples::commands().into_iter().filter(Command::is_drastic) {
        let (method, parameters) = api::Request::Act { user: None, command }.to_json();
        let method = format!("org.klatsch.Chat.{method}");
        let reply = another.call(&method, parameters.clone().into());
        assert_eq!(reply["error"], "org.klatsch.Chat.Denied", "{method}: {reply}");
        let what = reply["parameters"]["what"].as_str().unwrap();
        assert!(what.starts_with("only root and the node's own user"), "{reply}");
        let reply = ours.call(&method, parameters.into());
        assert_ne!(reply["error"], "org.klatsch.Chat.Denied", "{method}: {reply}");
        drastic += 1;
    }
    assert!(drastic >= 5);
    let (method, path) = ("org.klatsch.Chat.SendFile", json!({"to": ["bob"], "path": "/a.png"}));
    let reply = another.call(method, path.clone());
    assert_eq!(reply["error"], "org.klatsch.Chat.Denied", "{reply}");
    assert!(reply["parameters"]["what"].as_str().unwrap().contains("pass a file descriptor"));
    assert_eq!(ours.call(method, path)["error"], "org.klatsch.Chat.Failed");
}

#[test]
fn the_client_gets_over_calls_given_up_and_closed_connections() {
    let node = Node::start();
    crate::reactor::block_on(async {
        let client = Client::attach(&node.path(), None, None).await.unwrap();
        for _ in 0..10 {
            let ask = client.ask(None, Command::Who { gone: true }, None);
            let give_up = async {
                futures_lite::future::yield_now().await;
                Err(Refusal::Failed { reason: "given up".into() })
            };
            let _ = ask.or(give_up).await;
            let answer = client.ask(None, Command::Leave {}, None).await;
            assert_eq!(answer, Ok(Answer::Done), "not the other call's");
        }
        let crowd: Vec<_> = (0..=MAX_CLIENTS).map(|_| node.connect()).collect();
        crate::reactor::Timer::after(Duration::from_millis(100)).await;
        assert_eq!(client.ask(None, Command::Leave {}, None).await, Ok(Answer::Done));
        drop(crowd);
        node.tell("live");
        assert_eq!(client.event().await.unwrap().event.what, event(None, "live").what);
        drop(node);
        assert_eq!(client.event().await, None);
        let gone = client.ask(None, Command::Leave {}, None).await;
        assert_eq!(gone, Err(Refusal::Failed { reason: "the node is gone".into() }));
    });
}

#[test]
fn no_node_is_told_apart_from_one_that_is_not_for_us() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let dead = folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    crate::reactor::block_on(async {
        let looked = vec![absent, dead];
        match Client::connect_any(&looked).await.err().unwrap() {
            Unreachable::NoNode { looked: places } => assert_eq!(places, looked),
            other => panic!("{other}"),
        }
    });
}

/// The same with a client that is not ours: the PyPI package `varlink`, if there is a Python
/// that has it (`KLATSCH_VARLINK_PYTHON=/path/to/python cargo test foreign`).
#[test]
fn a_foreign_client_speaks_to_us() {
    let Some(python) = std::env::var_os("KLATSCH_VARLINK_PYTHON") else {
        return eprintln!("skipped: KLATSCH_VARLINK_PYTHON names no Python with `varlink`");
    };
    let node = Node::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/varlink_client.py");
    let ran = std::process::Command::new(python).arg(script).arg(node.path()).status().unwrap();
    assert!(ran.success());
}
