//! Two hosts on a cable as network namespaces, daemons on them, and clients of their sockets.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};

/// What is measured where `KLATSCH` names no other program.
const BINARY: &str = env!("CARGO_BIN_EXE_klatsch");
/// Everything on, as DESIGN section 8 wants it measured.
const ALL_ON: &str = "[hello]\nenabled = true\n[room]\nenabled = true\nserver = true\n\
    [directory]\nenabled = true\nserver = true\n";
/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program that is measured.
pub fn binary() -> String {
    std::env::var("KLATSCH").unwrap_or_else(|_| BINARY.into())
}

/// Takes a program's pages out of the kernel's cache, so that they come in by their faults, as
/// after a boot. As a linker wrote them they lie there in pieces of up to 2 MB, of which Linux 6.18
/// maps each as a whole.
pub fn forget(program: &str) {
    let Ok(file) = std::fs::File::open(program) else { return };
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// Two namespaces with `eth0` each, `10.78.0.1` and `.2`; gone with the value.
pub struct Lab {
    name: String,
}

impl Lab {
    pub fn new() -> Lab {
        let lab = Lab { name: format!("klatsch-b{}", std::process::id()) };
        for n in 0..2 {
            ip(&format!("netns add {}", lab.host(n)));
            ip(&format!("-n {} link set lo up", lab.host(n)));
        }
        let (a, b) = (lab.host(0), lab.host(1));
        ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"));
        for n in 0..2 {
            let host = lab.host(n);
            let at = format!("10.78.0.{}/16 broadcast 10.78.255.255", n + 1);
            ip(&format!("-n {host} addr add {at} dev eth0"));
            ip(&format!("-n {host} link set eth0 up"));
        }
        lab
    }

    pub fn host(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    /// A command on a host.
    pub fn run(&self, n: usize, program: &str, args: &[&str]) -> Command {
        let mut run = Command::new("ip");
        run.args(["netns", "exec", &self.host(n), program]).args(args);
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run
    }

    /// A daemon on a host that answers; its state below `home`.
    pub fn daemon(&self, n: usize, handle: &str, home: &Path, more: &str) -> Daemon {
        let home = home.join(handle);
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("klatsch.toml");
        std::fs::write(&config, format!("handle = \"{handle}\"\n{ALL_ON}{more}")).unwrap();
        let binary = binary();
        let mut run = self.run(n, &binary, &["run", "--config"]);
        run.arg(&config).env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        run.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        run.stderr(std::fs::File::create(home.join("log")).unwrap());
        let child = Guard(run.spawn().unwrap());
        let socket = home.join("klatsch/control");
        let daemon = Daemon { child, socket };
        wait("a daemon", || UnixStream::connect(&daemon.socket).is_ok());
        daemon
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for n in 0..2 {
            let _ = Command::new("ip").args(["netns", "del", &self.host(n)]).output();
        }
    }
}

/// A process that ends with the value.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Daemon {
    child: Guard,
    socket: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { reader: BufReader::new(stream.try_clone().unwrap()), stream, begun: Vec::new() }
    }

    /// A client that hears of all that happens from now on.
    pub fn listener(&self) -> Client {
        let mut client = self.client();
        client.say("Subscribe", &json!({"ready": true}), true);
        client.until(|event| event["kind"] == "ready");
        client
    }

    /// Waits until so many peers are here.
    pub fn peers(&self, count: u64) {
        wait("peers", || self.here() >= count);
    }

    /// How many peers are here.
    pub fn here(&self) -> u64 {
        self.client().call("Status", &json!({}))["peers"].as_u64().unwrap()
    }
}

/// A connection to a control socket.
pub struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    /// Of a reply: what came of it so far.
    begun: Vec<u8>,
}

impl Client {
    pub fn say(&mut self, method: &str, parameters: &Value, more: bool) {
        let method = format!("org.klatsch.Chat.{method}");
        let call = json!({"method": method, "parameters": parameters, "more": more});
        let mut bytes = serde_json::to_vec(&call).unwrap();
        bytes.push(0);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Waits only so long from now on.
    pub fn patience(&mut self, within: Duration) {
        self.stream.set_read_timeout(Some(within)).unwrap();
    }

    /// The next reply; null where none came in time, or none will come any more.
    pub fn hear(&mut self) -> Value {
        match self.reader.read_until(0, &mut self.begun) {
            Ok(_) if self.begun.pop() == Some(0) => {
                serde_json::from_slice(&std::mem::take(&mut self.begun)).unwrap()
            }
            _ => Value::Null,
        }
    }

    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.say(method, parameters, false);
        let reply = self.hear();
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["parameters"].clone()
    }

    /// The next event that is wanted.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let heard = self.hear();
            assert!(!heard.is_null(), "the daemon closed the connection");
            let event = &heard["parameters"]["event"];
            if wanted(event) {
                return event.clone();
            }
        }
    }
}

/// Waits until it holds.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ip(line: &str) {
    let out = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A value of a process's `smaps_rollup`, in kB.
pub fn memory(pid: u32, what: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(f64::NAN)
}

/// Threads, and how often all of them together went to sleep, which is how often they were woken.
pub fn threads(pid: u32) -> (usize, u64) {
    let (mut count, mut switches) = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let lines = status.lines().filter(|l| l.starts_with("voluntary_ctxt_switches"));
        let numbers = lines.filter_map(|l| l.split_whitespace().last()?.parse::<u64>().ok());
        switches += numbers.sum::<u64>();
        count += 1;
    }
    (count, switches)
}

/// The middle one, and how far the middle half of them spreads.
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

pub fn spread(mut all: Vec<f64>) -> Spread {
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get(((all.len() - 1) as f64 * share).round() as usize).copied();
    let at = |share: f64| at(share).unwrap_or(f64::NAN);
    Spread { median: at(0.5), low: at(0.25), high: at(0.75) }
}
