//! A running node on a host: the real binary, its events as `monitor --json` prints them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lan::Host;

/// Long enough for whatever must happen soon, on a machine that does much else meanwhile.
pub const SOON: Duration = Duration::from_secs(10);

/// Settings with which an announcement comes too late to be what is seen soon.
pub const SELDOM: &str = "\n[slcp]\nannounce = 60\n";

const BINARY: &str = env!("CARGO_BIN_EXE_klatsch");

/// Lines that somebody prints, kept.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Reads them in a thread.
    pub fn read(from: impl std::io::Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                kept.0.0.lock().unwrap().push(line);
                kept.0.1.notify_all();
            }
        });
        lines
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// The first line from `start` on that `wanted` makes something of.
    pub fn wait<T>(
        &self,
        start: usize,
        within: Duration,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + within;
        let mut next = start;
        let mut lines = self.0.0.lock().unwrap();
        loop {
            while next < lines.len() {
                if let Some(found) = wanted(&lines[next]) {
                    return Some(found);
                }
                next += 1;
            }
            let left = until.checked_duration_since(Instant::now())?;
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// See the module. Dropped, it is killed.
pub struct Node {
    pub child: Child,
    monitor: Child,
    /// Its standard error.
    pub log: Lines,
    events: Lines,
    home: Arc<tempfile::TempDir>,
    instance: String,
    handle: String,
    epoch: String,
    from: usize,
}

impl Host {
    /// A node of this handle that is up. `extra` is TOML for its configuration.
    pub fn node(&self, handle: &str, extra: &str) -> Node {
        self.node_in(&Arc::new(tempfile::tempdir().unwrap()), "t", handle, extra, "")
    }

    /// The same in a home of the caller's, after a shell line `before`.
    pub fn node_in(
        &self,
        home: &Arc<tempfile::TempDir>,
        instance: &str,
        handle: &str,
        extra: &str,
        before: &str,
    ) -> Node {
        let config = home.path().join(format!("{instance}.toml"));
        let (top, tables) = extra
            .split_once("\n[")
            .map_or((extra, String::new()), |(top, rest)| (top, format!("[{rest}")));
        let announce = if tables.contains("[slcp]") { "" } else { "[slcp]\nannounce = 5\n" };
        // what is tested here are the plain dialects, unless it is the link
        let link = if tables.contains("[link]") { "" } else { "[link]\nenabled = false\n" };
        let text = format!("handle = \"{handle}\"\n{top}\n{announce}{link}{tables}\n");
        std::fs::write(&config, text).unwrap();
        let mut run = self.command("sh");
        let line = format!("{before}\nexec \"$@\"");
        run.args(["-c", &line, "sh", BINARY, "run", "--instance", instance, "--config"]);
        homed(run.arg(&config), home.path());
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let log = Lines::read(child.stderr.take().unwrap());
        let mut status = None;
        let begun = Instant::now();
        while status.is_none() {
            let ended = child.try_wait().unwrap();
            let late = begun.elapsed() > SOON;
            if ended.is_some() || late {
                let _ = child.kill();
                std::thread::sleep(Duration::from_millis(100));
                panic!("{handle} does not come up: {ended:?} {:#?}", log.all());
            }
            std::thread::sleep(Duration::from_millis(20));
            let out = cli(home.path(), instance, &["status", "--json"]).output().unwrap();
            status = Some(out).filter(|o| o.status.success()).map(|o| json(&o.stdout));
        }
        let epoch = status.unwrap()["epoch"].as_str().unwrap().to_owned();
        // from its first event on
        let since = format!("{epoch}:0");
        let mut monitor = cli(home.path(), instance, &["monitor", "--json", "--since", &since]);
        let mut monitor = monitor.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let events = Lines::read(monitor.stdout.take().unwrap());
        let (instance, handle) = (instance.to_owned(), handle.to_owned());
        let home = home.clone();
        Node { child, monitor, log, events, home, instance, handle, epoch, from: 0 }
    }
}

fn homed<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("XDG_")) {
        command.env_remove(name);
    }
    command.env("XDG_RUNTIME_DIR", home).env("HOME", home).env_remove("KLATSCH_LOG")
}

pub fn cli(home: &Path, instance: &str, line: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    homed(command.args(["--instance", instance]).args(line), home).stdin(Stdio::null());
    command
}

fn json(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

/// An event's.
fn number(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap_or_else(|| panic!("no event: {event}"))
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.monitor] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} said: {:#?}", self.handle, self.log.all());
            let events = self.events.all();
            let shown = events.len().saturating_sub(60);
            eprintln!("--- {} told: {:#?}", self.handle, &events[shown..]);
        }
    }
}

impl Node {
    pub fn home(&self) -> &Arc<tempfile::TempDir> {
        &self.home
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join(format!("{}.toml", self.instance))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command line to this node.
    pub fn cli(&self, line: &[&str]) -> Output {
        cli(self.home.path(), &self.instance, line).output().unwrap()
    }

    /// What a console on it prints for what is typed.
    pub fn console(&self, typed: &str) -> String {
        let mut command = cli(self.home.path(), &self.instance, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{typed}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Its exit code.
    pub fn code(&self, line: &[&str]) -> i32 {
        let out = self.cli(line);
        out.status.code().unwrap_or_else(|| panic!("{line:?}: {out:?}"))
    }

    /// A command line to this node that must succeed.
    pub fn must(&self, line: &[&str]) -> String {
        let out = self.cli(line);
        assert!(out.status.success(), "{line:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// What a verb prints, line by line.
    pub fn json(&self, line: &[&str]) -> Vec<Value> {
        let out = self.cli(&[line, &["--json"]].concat());
        out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect()
    }

    pub fn status(&self) -> Value {
        self.json(&["status"]).pop().unwrap()
    }

    pub fn who(&self) -> Vec<Value> {
        self.json(&["who"])
    }

    /// The handles of who is here, in order.
    pub fn handles(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.who().iter().map(|p| p["handle"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    }

    /// Waits until exactly these are here.
    pub fn sees(&self, handles: &[&str]) {
        let mut seen = Vec::new();
        let done = within(SOON, || {
            seen = self.handles();
            seen == handles
        });
        assert!(done, "{} sees {seen:?}, not {handles:?}", self.handle);
    }

    /// The one peer of a handle.
    pub fn peer(&self, handle: &str) -> Value {
        let mut found: Vec<Value> =
            self.who().into_iter().filter(|p| p["handle"] == handle).collect();
        assert_eq!(found.len(), 1, "{handle}: {found:#?}");
        found.remove(0)
    }

    /// Sends a text, which must leave; the exit code.
    pub fn msg(&self, to: &str, text: &str) {
        let out = self.cli(&["msg", to, "--json", "--", text]);
        assert_eq!(out.status.code(), Some(0), "{} to {to}: {out:?}", self.handle);
    }

    /// Sends a text that may wait until its chat is open.
    pub fn msg_waits(&self, to: &str, text: &str) {
        let out = self.cli(&["msg", to, "--json", "--", text]);
        assert!(matches!(out.status.code(), Some(0 | 3)), "{} to {to}: {out:?}", self.handle);
    }

    /// Its resident memory in KiB.
    pub fn memory(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// From here on [`Node::wait_event`] looks: all that the node had told until now is before it.
    #[track_caller]
    pub fn mark(&mut self) {
        self.catch_up();
        self.from = self.events.all().len();
    }

    /// Waits until the monitor has printed all that the node has told by now.
    #[track_caller]
    fn catch_up(&self) {
        let seen = self.events.all();
        let printed = seen.last().map_or(0, |line| number(&json(line.as_bytes())));
        let Some(newest) = self.told_after(printed) else { return };
        let come = |line: &str| (number(&json(line.as_bytes())) >= newest).then_some(());
        let caught_up = self.events.wait(seen.len(), SOON, come);
        assert!(caught_up.is_some(), "{}: event {newest} is not printed", self.handle);
    }

    /// The number of the newest event it has told, where that is later than `seen`: what a reader
    /// gets who asks for all since then and says no more, up to the end. None where the node is
    /// gone: then no more comes.
    fn told_after(&self, seen: u64) -> Option<u64> {
        let socket = self.home.path().join("klatsch").join(&self.instance).join("control");
        let mut socket = UnixStream::connect(socket).ok()?;
        socket.set_read_timeout(Some(SOON)).unwrap();
        let since = format!("{}:{seen}", self.epoch);
        let call = serde_json::json!({"method": "org.klatsch.Chat.Subscribe", "more": true,
            "parameters": {"since": since}});
        socket.write_all(format!("{call}\0").as_bytes()).ok()?;
        socket.shutdown(Shutdown::Write).ok()?;
        let mut told = Vec::new();
        if let Err(error) = socket.read_to_end(&mut told) {
            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "{} is silent", self.handle);
        }
        let whole = told.iter().rposition(|b| *b == 0)?;
        let replies = told[..whole].split(|b| *b == 0).map(json);
        let events = replies.map(|reply| reply["parameters"]["event"].clone());
        // a later run in the same home counts anew
        events.filter(|event| event["epoch"] == *self.epoch).map(|event| number(&event)).max()
    }

    /// The first event of a kind since the mark that `wanted` says yes to.
    pub fn event_within(
        &self,
        within: Duration,
        kind: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        self.events.wait(self.from, within, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["kind"] == kind && wanted(&event)).then_some(event)
        })
    }

    /// The same; it must come.
    #[track_caller]
    pub fn wait_event(
        &self,
        kind: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.event_within(within, kind, wanted)
            .unwrap_or_else(|| panic!("{}: no such {kind} within {within:?}", self.handle))
    }

    /// Sends texts until one arrives, which must be in time: where the network is just changing.
    #[track_caller]
    pub fn reaches(&self, other: &Node, time: Duration) {
        let begun = Instant::now();
        let run = format!("Versuch {:x}", fastrand::u32(..));
        let of_run = |e: &Value| {
            e["direction"] == "in" && e["text"].as_str().is_some_and(|t| t.starts_with(&run))
        };
        let arrived = within(time, || {
            self.code(&["msg", &other.handle, &format!("{run} {:?}", begun.elapsed())]);
            other.event_within(Duration::from_millis(300), "message", of_run).is_some()
        });
        assert!(arrived, "{} does not reach {}: {:#?}", self.handle, other.handle, self.who());
        println!("{} reaches {} after {:?}", self.handle, other.handle, begun.elapsed());
    }

    /// Someone says goodbye, and is not just missed.
    #[track_caller]
    pub fn sees_leave(&self, handle: &str) {
        self.wait_event("peer-left", SOON, |e| e["handle"] == handle && e["reason"] == "left");
    }

    /// A text that comes in.
    #[track_caller]
    pub fn hears(&self, from: &str, text: &str) -> Value {
        self.wait_event("message", SOON, |e| {
            e["direction"] == "in" && e["from"] == from && e["text"] == text
        })
    }

    /// An error line with this in it.
    #[track_caller]
    pub fn complains(&self, within: Duration, text: &str) -> String {
        let event =
            self.wait_event("error", within, |e| e["text"].as_str().unwrap().contains(text));
        event["text"].as_str().unwrap().to_owned()
    }

    /// All events since the mark until now.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.catch_up();
        let all = self.events.all();
        all[self.from..].iter().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// A signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end; the exit code.
    pub fn ends(&mut self) -> Option<i32> {
        let mut ended = None;
        within(SOON, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap_or_else(|| panic!("{} does not end", self.handle)).code()
    }

    /// It lives and answers.
    #[track_caller]
    pub fn is_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{} is dead", self.handle);
        assert_eq!(self.code(&["status"]), 0);
    }
}

/// Waits until the link knows somebody who is here.
#[track_caller]
pub fn linked(node: &Node, handle: &str) {
    let here = within(secs(20), || {
        let all = node.who();
        let is = |p: &Value| {
            p["handle"] == handle && p["dialect"][0] == "link" && p["presence"] == "online"
        };
        all.iter().any(is)
    });
    assert!(here, "{handle} is not linked: {:#?}", node.who());
}

/// The same node again, after a SIGKILL.
pub fn again(host: &Host, node: Node, handle: &str, extra: &str) -> Node {
    let home = Arc::clone(node.home());
    drop(node); // with SIGKILL
    host.node_in(&home, "t", handle, extra, "")
}

/// How much longer than on an idle machine ten programs take to start and end: what a bound on a
/// time that people wait is wider by.
pub fn busy() -> Duration {
    let begun = Instant::now();
    assert!(Command::new(BINARY).arg("--version").output().unwrap().status.success());
    begun.elapsed().saturating_sub(Duration::from_millis(100)) * 10
}

/// Tries until it is so.
pub fn within(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + time;
    loop {
        if so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
