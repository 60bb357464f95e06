//! How fast the link is, and what it costs: `cargo bench --bench link`, as root.
//!
//! A file over the link beside a bare TCP copy, a sealed one (`limits`) and `scp` of the same bytes,
//! in turns, all between two namespaces with a cable between them; a text beside a bare UDP round
//! trip; memory while a larger file is on its way. Each copy with the processors' time that it took,
//! which says more than its own where other work goes on. `KLATSCH_BENCH_MB` (256) and
//! `KLATSCH_BENCH_LARGE_MB` (1024) are the sizes, `KLATSCH_BENCH_TURNS` (3) how often,
//! `KLATSCH_BENCH_DIR` the folder; `scp` wants an `sshd` (`KLATSCH_SSHD`).
#![allow(clippy::unwrap_used, missing_docs)]

mod limits;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is measured where `KLATSCH` names no other program.
const BINARY: &str = env!("CARGO_BIN_EXE_klatsch");
/// The figures, for the table of all budgets (`benches/table`).
const FIGURES: &str = "target/link.json";
const SETTINGS: &str = "[link]\nannounce = 10\n[slcp]\nenabled = false\n[hello]\nenabled = false\n\
     [room]\nenabled = false\n[directory]\nenabled = false\n[files]\nquota = \"64G\"\n\
     accept-any = \"anyone\"\naccept-size = \"64G\"\n";
/// What `/proc` counts processors' time in, a second (proc_pid_stat(5)): the same on all that we know.
const TICKS: f64 = 100.0;

/// After so long an idle node has given back what it does not need.
const GIVEN_BACK: Duration = Duration::from_secs(15);

/// The program that is measured.
fn binary() -> String {
    std::env::var("KLATSCH").unwrap_or_else(|_| BINARY.into())
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|w| w == "--limit") {
        return limits::run(&words[at + 1], &words[at + 2]);
    }
    let base = std::env::var_os("KLATSCH_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::tempdir_in(&base).unwrap();
    let Some(cable) = Cable::new() else {
        println!("not measured: namespaces need root");
        return;
    };
    let mb = number("KLATSCH_BENCH_MB", 256);
    let file = place.path().join("file");
    make(&file, mb);
    println!("folder: {}; {mb} MiB", base.display());
    let [hashing, sealing, opening] = limits::primitives();
    println!(
        "one processor: BLAKE2s {hashing:.0} MiB/s, ChaCha20-Poly1305 sealing {sealing:.0}, \
         opening {opening:.0}"
    );
    let (a, b) = (cable.node(0, place.path(), "anna"), cable.node(1, place.path(), "bob"));
    a.linked("bob");
    b.linked("anna");
    std::thread::sleep(Duration::from_secs(5));
    let idle = (a.memory(), b.memory());
    let over_link = |file: &Path| {
        let begun = Instant::now();
        let out = a.cli(&["file", "bob", file.to_str().unwrap()]);
        assert!(out.contains("delivered"), "{out}");
        begun.elapsed()
    };
    let (mut copy, mut sealed, mut scp, mut link) = (vec![], vec![], vec![], vec![]);
    for _ in 0..number("KLATSCH_BENCH_TURNS", 3) {
        copy.push(cable.copy(place.path(), &file, ["take", "give"]));
        sealed.push(cable.copy(place.path(), &file, ["open", "seal"]));
        scp.extend(cable.scp(place.path(), &file));
        let before = [a.spent(), b.spent()];
        let took = over_link(&file).as_secs_f64();
        let after = [a.spent(), b.spent()];
        let by = |who: usize| [0, 1].map(|of| after[who][of] - before[who][of]);
        let ([loop_a, disk_a], [loop_b, disk_b]) = (by(0), by(1));
        let cpu = loop_a + disk_a + loop_b + disk_b;
        println!(
            "  of {cpu:.2} s: sender's loop {loop_a:.2}, its disk {disk_a:.2}; receiver's loop \
             {loop_b:.2}, its disk {disk_b:.2}"
        );
        link.push(Took { took, cpu });
        b.empty();
    }
    let speed = |all: &[Took]| all.iter().map(|t| mb as f64 / t.took).collect::<Vec<_>>();
    let mut figures = serde_json::json!({
        "mib": mb, "copy": speed(&copy), "sealed": speed(&sealed), "scp": speed(&scp), "link": speed(&link),
    });
    let (copy, sealed) = (median(copy), median(sealed));
    let rate = |what: &str, all: Vec<Took>| match all.is_empty() {
        true => println!("{what:<34} not measured"),
        false => rate(what, mb, &median(all), &copy, &sealed),
    };
    rate("bare TCP copy, written and synced", vec![copy]);
    rate("sealed and hashed copy, synced", vec![sealed]);
    rate("scp (wants an sshd)", scp);
    rate("the link", link);
    let udp = cable.udp();
    let text = texts(&a, &b);
    println!(
        "a text, socket to socket: {text:?} (median), {:.1} of a UDP round trip ({udp:?})",
        text.as_secs_f64() / udp.as_secs_f64()
    );
    std::thread::sleep(GIVEN_BACK);
    let used = (a.memory().1, b.memory().1);
    let large = number("KLATSCH_BENCH_LARGE_MB", 1024);
    make(&file, large);
    let (mut most, mut beside) = ((0, 0), Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| over_link(&file));
        while !sending.is_finished() {
            most = (most.0.max(a.memory().1), most.1.max(b.memory().1));
            beside.push(one_text(&a, &b));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    beside.sort();
    println!(
        "{large} MiB: {:.1} s; a text beside it: {:?} (median), {:?} (slowest)",
        begun.elapsed().as_secs_f64(),
        beside[beside.len() / 2],
        beside.last().unwrap()
    );
    let (sender, receiver) = ((idle.0, used.0, most.0), (idle.1, used.1, most.1));
    for (who, ((pss, dirty), used, most)) in [("sender", sender), ("receiver", receiver)] {
        println!(
            "{who}: PSS {pss} kB, private dirty {dirty} kB when fresh; {used} kB dirty when idle \
             again after files and texts; at most {most} kB on the way, {:+} and {:+}",
            most as i64 - dirty as i64,
            most as i64 - used as i64,
        );
        figures[who] = serde_json::json!({"fresh": dirty, "idle": used, "most": most});
    }
    std::fs::create_dir_all("target").unwrap();
    std::fs::write(FIGURES, figures.to_string()).unwrap();
}

/// A copy: seconds that it took, and those of processors.
#[derive(Clone, Copy)]
struct Took {
    took: f64,
    cpu: f64,
}

/// The middle of each.
fn median(all: Vec<Took>) -> Took {
    let middle = |of: fn(&Took) -> f64| {
        let mut all: Vec<f64> = all.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Took { took: middle(|t| t.took), cpu: middle(|t| t.cpu) }
}

fn rate(what: &str, mb: u64, of: &Took, copy: &Took, sealed: &Took) {
    let mb = mb as f64;
    println!(
        "{what:<34} {:>5.0} MiB/s, {:.2} of the copy, {:.2} of the sealed one; {:.2} s of \
         processors for 256 MiB, {:.1} times the copy's, {:.1} times the sealed one's",
        mb / of.took,
        copy.took / of.took,
        sealed.took / of.took,
        of.cpu * 256.0 / mb,
        of.cpu / copy.cpu,
        of.cpu / sealed.cpu,
    );
}

/// Seconds of processors in fields of a `stat` file of `/proc`, counted from the one after the
/// name in brackets.
fn seconds(path: &str, fields: [usize; 2]) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let rest = text.rsplit(')').next().unwrap_or_default();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let of = |n: usize| words.get(n).and_then(|w| w.parse::<f64>().ok()).unwrap_or(f64::NAN);
    fields.map(of).iter().sum::<f64>() / TICKS
}

/// Seconds of processors of all programs that we started and that have ended, with theirs.
fn of_children() -> f64 {
    seconds("/proc/self/stat", [13, 14])
}

/// Bytes that do not repeat.
fn make(path: &Path, mb: u64) {
    let mut rng = fastrand::Rng::with_seed(mb);
    let mut file = File::create(path).unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..mb {
        rng.fill(&mut block);
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

/// Two hosts with a cable between them.
struct Cable([String; 2]);

fn run(line: &str) -> bool {
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", line]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success())
}

impl Cable {
    fn new() -> Option<Cable> {
        let [a, b] = ["a", "b"].map(|end| format!("kb{}{end}", std::process::id()));
        let made = run(&format!(
            "ip netns add {a} && ip netns add {b} && \
             ip -n {a} link add eth0 type veth peer name eth0 netns {b} && \
             ip -n {a} addr add 10.79.0.1/24 brd + dev eth0 && \
             ip -n {b} addr add 10.79.0.2/24 brd + dev eth0 && \
             ip -n {a} link set lo up && ip -n {b} link set lo up && \
             ip -n {a} link set eth0 up && ip -n {b} link set eth0 up"
        ));
        let cable = Cable([a, b]);
        made.then_some(cable)
    }

    fn on(&self, end: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0[end], program]);
        command.stdin(Stdio::null());
        command
    }

    fn me(&self, end: usize, args: &[&str]) -> Command {
        let me = std::env::current_exe().unwrap();
        let mut command = self.on(end, me.to_str().unwrap());
        command.arg("--limit").args(args).stdout(Stdio::piped());
        command
    }

    fn copy(&self, place: &Path, file: &Path, [take, give]: [&str; 2]) -> Took {
        let (to, before) = (place.join("copy"), of_children());
        let mut takes = self.me(1, &[take, to.to_str().unwrap()]).spawn().unwrap();
        listens(&mut takes);
        let took = nanos(&mut self.me(0, &[give, file.to_str().unwrap()])).as_secs_f64();
        assert!(takes.wait().unwrap().success());
        std::fs::remove_file(&to).unwrap();
        Took { took, cpu: of_children() - before }
    }

    fn udp(&self) -> Duration {
        let mut echo = self.me(1, &["echo", ""]).spawn().unwrap();
        listens(&mut echo);
        let took = nanos(&mut self.me(0, &["ping", ""]));
        let _ = echo.kill();
        echo.wait().unwrap();
        took
    }

    fn scp(&self, place: &Path, file: &Path) -> Option<Took> {
        let sshd = std::env::var("KLATSCH_SSHD").unwrap_or_else(|_| "/usr/sbin/sshd".into());
        if !Path::new(&sshd).exists() || !run("command -v scp && command -v ssh-keygen") {
            return None;
        }
        let dir = place.join("ssh");
        std::fs::create_dir_all(&dir).unwrap();
        let at = dir.display();
        run(&format!("mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f {at}/key"));
        run(&format!("cp {at}/key.pub {at}/authorized; chmod 600 {at}/*"));
        let options = format!(
            "-D -p 7022 -h {at}/key -o AuthorizedKeysFile={at}/authorized -o StrictModes=no \
             -o PidFile=none -o UsePAM=no -f /dev/null"
        );
        let mut daemon = self.on(1, &sshd);
        let sftp = "Subsystem=sftp internal-sftp"; // scp speaks it since OpenSSH 9
        let mut daemon = daemon.args(options.split_whitespace()).args(["-o", sftp]).spawn().ok()?;
        std::thread::sleep(Duration::from_millis(500));
        let mut copy = self.on(0, "scp");
        copy.args(["-q", "-P", "7022", "-i", &format!("{at}/key"), "-o"]);
        copy.args(["StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        copy.arg(file).arg(format!("root@10.79.0.2:{at}/copy"));
        let (begun, before) = (Instant::now(), of_children());
        let done = copy.stderr(Stdio::null()).status().is_ok_and(|s| s.success());
        File::open(dir.join("copy")).and_then(|f| f.sync_all()).ok();
        let took = begun.elapsed().as_secs_f64();
        let _ = daemon.kill();
        let _ = daemon.wait();
        let _ = std::fs::remove_file(dir.join("copy"));
        done.then_some(Took { took, cpu: of_children() - before })
    }

    fn node(&self, end: usize, place: &Path, handle: &str) -> Node {
        let home = place.join(handle);
        std::fs::create_dir_all(&home).unwrap();
        let config = home.join("klatsch.toml");
        std::fs::write(&config, format!("handle = \"{handle}\"\n{SETTINGS}")).unwrap();
        let mut command = self.on(end, &binary());
        command.args(["run", "--config", config.to_str().unwrap()]);
        let child = homed(&mut command, &home).stderr(Stdio::null()).spawn().unwrap();
        Node { child, home }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        run(&format!("ip netns del {}; ip netns del {}", self.0[0], self.0[1]));
    }
}

fn homed<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("XDG_STATE_HOME", home.join("state"))
}

fn listens(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
}

fn nanos(command: &mut Command) -> Duration {
    let out = command.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    Duration::from_nanos(text.trim().parse().unwrap())
}

struct Node {
    child: Child,
    home: PathBuf,
}

impl Node {
    fn cli(&self, line: &[&str]) -> String {
        let mut command = Command::new(binary());
        let out = homed(command.args(line), &self.home).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    fn linked(&self, handle: &str) {
        let begun = Instant::now();
        while !self.cli(&["who", "--json"]).contains(handle) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{handle} is not linked");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn status(&self, key: &str) -> String {
        let status: serde_json::Value =
            serde_json::from_str(&self.cli(&["status", "--json"])).unwrap();
        status[key].as_str().unwrap().to_owned()
    }

    /// Seconds of processors so far: of the storage thread, and of all others.
    fn spent(&self) -> [f64; 2] {
        let mut spent = [0.0; 2];
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            let task = task.unwrap().path();
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            let path = task.join("stat").display().to_string();
            spent[usize::from(name.trim() == "klatsch-store")] += seconds(&path, [11, 12]);
        }
        spent
    }

    /// PSS and private dirty, in kB.
    fn memory(&self) -> (u64, u64) {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()));
        let rollup = rollup.unwrap_or_default();
        let kb = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        (kb("Pss:"), kb("Private_Dirty:"))
    }

    /// Removes what was received.
    fn empty(&self) {
        for entry in std::fs::read_dir(self.status("imagepath")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    fn call(&self, method: &str, parameters: &str, more: bool) -> UnixStream {
        let mut socket = UnixStream::connect(self.status("socket")).unwrap();
        let call = format!(
            "{{\"method\":\"org.klatsch.Chat.{method}\",\"parameters\":{parameters},\"more\":{more}}}\0"
        );
        socket.write_all(call.as_bytes()).unwrap();
        socket
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn texts(a: &Node, b: &Node) -> Duration {
    let mut all: Vec<Duration> = (0..limits::TURNS / 4).map(|_| one_text(a, b)).collect();
    all.sort();
    all[all.len() / 2]
}

/// From the call at one node's socket to the event at the other's.
fn one_text(a: &Node, b: &Node) -> Duration {
    let mut events = BufReader::new(b.call("Subscribe", "{\"ready\":true}", true));
    let mut sink = Vec::new();
    events.read_until(0, &mut sink).unwrap();
    let mark = format!("{}", fastrand::u64(..));
    let parameters = format!("{{\"to\":[\"bob\"],\"text\":\"{mark}\"}}");
    let path = a.status("socket");
    let mut socket = UnixStream::connect(path).unwrap();
    let call = format!("{{\"method\":\"org.klatsch.Chat.Send\",\"parameters\":{parameters}}}\0");
    let begun = Instant::now();
    socket.write_all(call.as_bytes()).unwrap();
    loop {
        sink.clear();
        events.read_until(0, &mut sink).unwrap();
        if String::from_utf8_lossy(&sink).contains(&mark) {
            return begun.elapsed();
        }
    }
}
