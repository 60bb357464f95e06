//! Each budget of DESIGN section 8 beside what it is measured against, from one run:
//! `cargo bench --bench table`, as root (network namespaces), with `ngircd` and `ip` installed.
//!
//! A row is our figure, the peer's or the limit's, the ratio, the bound. Figures are medians, with
//! the quartiles in brackets. The limits are small programs of our own, in `limits`. Files and
//! discovery have benches of their own, `link` and `scale`, which are run for their rows here.
//! A word or several print only so many parts of it: `cargo bench --bench table -- latency durable`.
//! State lies in `KLATSCH_BENCH_DIR`, else in the system's folder for temporary files.
#![allow(clippy::unwrap_used, missing_docs)]

mod lab;
mod limits;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lab::{Client, Daemon, Guard, Lab, Spread, memory, spread, threads};
use serde_json::{Value, json};

/// Prints some rows; state below the folder.
type Part = fn(&Lab, &Path);
/// Runs of a daemon whose idle memory is taken.
const IDLE_RUNS: usize = 5;
/// A daemon gives back what a busy time freed within so long (`src/daemon/heap.rs`).
const SETTLED: Duration = Duration::from_secs(15);
/// Messages and round trips timed.
const TIMED: usize = 400;
/// Lines timed beside ngircd, each after so long: it holds back who says much in a short time.
const SELDOM: usize = 20;
const PAUSE: Duration = Duration::from_millis(1_500);
/// Clients of one daemon, and of ngircd, that hear a line.
const FAN: usize = 30;
/// Nothing more is confirmed when nothing was for so long.
const QUIET: Duration = Duration::from_secs(2);
/// The `Listen` and the rest for ngircd.
const IRC: &str = "[Global]\nName = irc.test\nListen = 10.78.0.1\nPorts = 6667\n\
    [Limits]\nMaxConnectionsIP = 0\nMaxJoins = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|w| w == "--limit") {
        return limits::run(&words[at + 1], &words[at + 2]);
    }
    let parts: [(&str, Part); 8] = [
        ("size", |_, _| sizes()),
        ("idle", idle),
        ("roster", roster),
        ("latency", latency),
        ("durable", durable),
        ("throughput", |_, _| throughput()),
        ("discovery", |_, _| discovery()),
        ("exposure", |_, _| exposure()),
    ];
    let wanted: Vec<&String> = words[1..].iter().filter(|w| !w.starts_with("--")).collect();
    if let Some(word) = wanted.iter().find(|w| parts.iter().all(|(name, _)| name != *w)) {
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        eprintln!("{word}: no part of the table; there are {}", names.join(", "));
        std::process::exit(2);
    }
    let base = std::env::var_os("KLATSCH_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::tempdir_in(base).unwrap();
    let lab = Lab::new();
    println!("{}", machine(place.path()));
    println!("{:<44} {:>22} {:>26} {:>7}  bound", "what", "klatsch", "beside", "ratio");
    for (_, part) in
        parts.iter().filter(|(n, _)| wanted.is_empty() || wanted.iter().any(|w| w == n))
    {
        part(&lab, place.path());
    }
}

fn machine(folder: &Path) -> String {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = text("/proc/cpuinfo");
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let load = text("/proc/loadavg");
    let fs = Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output();
    let fs = fs.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let kernel = text("/proc/sys/kernel/osrelease");
    format!(
        "{cores} x {}, Linux {}, {fs}, load {} when it began",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}

fn row(what: &str, ours: &str, beside: &str, ratio: Option<f64>, bound: &str) {
    let ratio = ratio.map_or_else(|| "-".into(), |r| format!("{r:.2}"));
    println!("{what:<44} {ours:>22} {beside:>26} {ratio:>7}  {bound}");
}

fn shown(s: &Spread, unit: &str) -> String {
    let digits = usize::from(s.median < 1_000.0 && s.median.fract() != 0.0);
    format!("{:.digits$} [{:.digits$}-{:.digits$}]{unit}", s.median, s.low, s.high)
}

fn sizes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cross = |target: &str| root.join("target/cross/out").join(target).join("klatsch");
    for (name, path) in [
        ("x86-64 (this run)", PathBuf::from(env!("CARGO_BIN_EXE_klatsch"))),
        ("arm64", cross("aarch64-unknown-linux-gnu")),
        ("armhf", cross("armv7-unknown-linux-gnueabihf")),
    ] {
        let what = format!("binary, {name}");
        match std::fs::metadata(path) {
            Ok(meta) => {
                let bytes = meta.len() as f64;
                let ours = format!("{:.2} MB", bytes / 1e6);
                row(&what, &ours, "", Some(bytes / 2.4e6), "2.4 MB (arm64, armhf)");
            }
            Err(_) => row(&what, "not built here", "", None, "2.4 MB (arm64, armhf)"),
        }
    }
}

fn ngircd(lab: &Lab, place: &Path) -> Option<Guard> {
    let config = place.join("ngircd.conf");
    std::fs::write(&config, IRC).unwrap();
    let config = config.to_string_lossy().into_owned();
    Command::new("ngircd").arg("--version").stdout(Stdio::null()).status().ok()?;
    // the process itself, not `ip`: its memory is read
    let run = lab.run(0, "ngircd", &["--nodaemon", "--config", &config]).spawn().ok()?;
    std::thread::sleep(Duration::from_secs(1));
    Some(Guard(run))
}

fn idle(lab: &Lab, place: &Path) {
    let (mut pss, mut dirty, mut peer, mut switches) = (vec![], vec![], vec![], vec![]);
    let mut count = 0;
    lab::forget(&lab::binary());
    lab::forget("/usr/sbin/ngircd");
    for n in 0..IDLE_RUNS {
        let folder = place.join(format!("idle{n}"));
        let daemon = lab.daemon(0, "idle", &folder, "");
        let irc = ngircd(lab, place);
        std::thread::sleep(Duration::from_secs(12));
        pss.push(memory(daemon.pid(), "Pss"));
        dirty.push(memory(daemon.pid(), "Private_Dirty"));
        if let Some(irc) = &irc {
            peer.push(memory(irc.0.id(), "Pss"));
        }
        let before = threads(daemon.pid()).1;
        std::thread::sleep(Duration::from_secs(10));
        let (threads, after) = threads(daemon.pid());
        count = threads;
        switches.push((after - before) as f64);
        if n == 0 {
            by_source(&daemon);
        }
    }
    let (pss, dirty) = (spread(pss), spread(dirty));
    if peer.is_empty() {
        row("idle, everything on: PSS", &shown(&pss, " kB"), "ngircd: not here", None, "< 1");
    } else {
        let peer = spread(peer);
        let beside = format!("ngircd {}", shown(&peer, " kB"));
        let ratio = Some(pss.median / peer.median);
        row("idle, everything on: PSS", &shown(&pss, " kB"), &beside, ratio, "< 1");
    }
    let ratio = Some(dirty.median / 1_000.0);
    row("  private dirty", &shown(&dirty, " kB"), "", ratio, "1.0 MB");
    row("  threads", &count.to_string(), "", Some(count as f64 / 3.0), "3");
    let switches = spread(switches);
    let ours = shown(&switches, " in 10 s");
    row("  wake-ups", &ours, "", Some(switches.median / 5.0), "5 in 10 s");
}

/// What the idle daemon was woken for, where there is `strace`: to standard error.
fn by_source(daemon: &Daemon) {
    let pid = daemon.pid().to_string();
    let run = Command::new("timeout").args(["20", "strace", "-f", "-c", "-p", &pid]).output();
    let Ok(out) = run else { return };
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    eprintln!("system calls of the idle daemon in 20 s:");
    let calls = text
        .lines()
        .filter(|l| l.split_whitespace().nth(3).is_some_and(|n| n.parse::<u32>().is_ok()));
    for line in calls {
        let words: Vec<&str> = line.split_whitespace().collect();
        eprintln!("    {:>6} {}", words[3], words.last().unwrap_or(&""));
    }
}

/// Memory by peers in the roster: JOINs as so many programs would say them.
fn roster(lab: &Lab, place: &Path) {
    let daemon = lab.daemon(0, "roster", &place.join("roster"), "");
    std::thread::sleep(Duration::from_secs(5));
    let resident = || memory(daemon.pid(), "Private_Dirty");
    let mut taken = vec![(0_u32, resident())];
    for count in [10, 100, 1_000, 5_000, 10_000] {
        let from = taken.last().unwrap().0;
        let me = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let what = format!("{from}-{count}");
        // again where some were lost: on a busy machine they come faster than they are read
        lab::wait("a crowd", || {
            let mut ended = lab.run(1, &me, &["--limit", "crowd", &what]);
            let ended = ended.stderr(Stdio::inherit()).status().unwrap();
            assert!(ended.success());
            std::thread::sleep(Duration::from_secs(1));
            daemon.here() >= u64::from(count)
        });
        std::thread::sleep(SETTLED);
        taken.push((count, resident()));
    }
    for (count, dirty) in &taken[1..] {
        let each = (dirty - taken[0].1) * 1024.0 / f64::from(*count);
        let ours = format!("{dirty:.0} kB");
        row(
            &format!("memory with {count} peers"),
            &ours,
            &format!("{each:.0} bytes each"),
            None,
            "",
        );
    }
    for (few, many) in [(taken[3], taken[5]), (taken[4], taken[5])] {
        let each = (many.1 - few.1) * 1024.0 / f64::from(many.0 - few.0);
        let what = format!("one more peer, {} to {}", few.0, many.0);
        row(&what, &format!("{each:.0} bytes"), "", Some(each / 400.0), "400 bytes");
    }
}

/// Times so many, one right after the other …
fn microseconds(count: usize, once: impl FnMut(usize)) -> Spread {
    timed(count, Duration::ZERO, once)
}

/// … or a few, as ngircd lets them through.
fn seldom(once: impl FnMut(usize)) -> Spread {
    timed(SELDOM, PAUSE, once)
}

fn timed(count: usize, pause: Duration, mut once: impl FnMut(usize)) -> Spread {
    let time = |n| {
        std::thread::sleep(pause);
        let begun = Instant::now();
        once(n);
        begun.elapsed().as_secs_f64() * 1e6
    };
    spread((0..count).map(time).collect())
}

fn latency(lab: &Lab, place: &Path) {
    let me = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let _echo = Guard(lab.run(1, &me, &["--limit", "udp-echo", "10.78.0.2:7"]).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let mut ping = lab.run(0, &me, &["--limit", "udp-ping", "10.78.0.2:7"]);
    let out = ping.stdout(Stdio::piped()).output().unwrap();
    let trips = String::from_utf8_lossy(&out.stdout);
    let trip = spread(trips.lines().filter_map(|l| l.parse().ok()).collect());
    let beside = format!("UDP trip {}", shown(&trip, " us"));
    let memory_disk = tempfile::tempdir_in("/dev/shm").unwrap();
    for (what, place, more) in [
        ("message, SLCP", place, "[link]\nenabled = false\n"),
        ("message, SLCP, state in memory", memory_disk.path(), "[link]\nenabled = false\n"),
        ("message, link", place, "[slcp]\nenabled = false\n"),
        ("message, link, state in memory", memory_disk.path(), "[slcp]\nenabled = false\n"),
    ] {
        let folder = place.join(what.replace([' ', ','], "-"));
        let (a, b) = (lab.daemon(0, "anna", &folder, more), lab.daemon(1, "bob", &folder, more));
        a.peers(1);
        b.peers(1);
        std::thread::sleep(Duration::from_secs(5));
        let (mut client, mut ear) = (a.client(), b.listener());
        let time = microseconds(TIMED, |n| {
            let text = format!("message {n}");
            client.call("Send", &json!({"to": ["bob"], "text": text}));
            ear.until(|e| e["text"] == text.as_str());
        });
        let ratio = Some(time.median / trip.median);
        row(what, &shown(&time, " us"), &beside, ratio, "3");
        let durable = !what.contains("in memory");
        let how = if durable { "a chain that syncs" } else { "a bare chain" };
        let least = least(lab, place, durable); // right after it: a disk's time is not the same for long
        let ratio = Some(time.median / least.median);
        row("  the same", "", &format!("{how} {}", shown(&least, " us")), ratio, "");
        if what == "message, SLCP, state in memory" {
            // neither keeps anything on a disk; each end of ngircd's is across the cable from it
            if let Some(theirs) = through_ngircd(lab, place, 1, 1) {
                let time = seldom(|n| {
                    let text = format!("seldom {n}");
                    client.call("Send", &json!({"to": ["bob"], "text": text}));
                    ear.until(|e| e["text"] == text.as_str());
                });
                let beside = format!("one client, ngircd {}", shown(&theirs, " us"));
                let ratio = Some(time.median / theirs.median);
                row("  one each 1.5 s", &shown(&time, " us"), &beside, ratio, "");
            }
        }
        if what == "message, SLCP" {
            fan(lab, &a, place);
        }
    }
    let raw = spread((0..5).map(|_| 1e6 / syncs(place)).collect());
    row("  of it one fdatasync of this folder", "", &shown(&raw, " us"), None, "");
}

/// The least that such a message costs (`limits::Chain`), in memory or durable at both ends.
fn least(lab: &Lab, place: &Path, durable: bool) -> Spread {
    let me = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let folder = tempfile::tempdir_in(place).unwrap();
    let end = |host: usize, what: &str| {
        let (path, kept) = (folder.path().join(what), folder.path().join(format!("{what}.kept")));
        let kept = durable.then_some(kept);
        let chain = limits::Chain { path, udp: "10.78.0.2:8", kept };
        let run = lab.run(host, &me, &["--limit", what, &chain.at()]).spawn().unwrap();
        let mut client = None;
        lab::wait(what, || {
            client = UnixStream::connect(&chain.path).ok();
            client.is_some()
        });
        (Guard(run), client.unwrap())
    };
    let ((_in, mut client), (_out, ear)) = (end(0, "chain-in"), end(1, "chain-out"));
    let (mut ear, mut line) = (BufReader::new(ear), String::new());
    ear.read_line(&mut line).unwrap();
    microseconds(TIMED, |n| {
        let text = format!("message {n} of a usual length\n");
        client.write_all(text.as_bytes()).unwrap();
        line.clear();
        ear.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    })
}

/// One line to many clients of one daemon, beside one line to as many clients of ngircd.
fn fan(lab: &Lab, daemon: &Daemon, place: &Path) {
    let mut ears: Vec<Client> = (0..FAN).map(|_| daemon.listener()).collect();
    let mut client = daemon.client();
    let ours = seldom(|n| {
        let text = format!("to all {n}");
        client.say("Send", &json!({"to": ["bob"], "text": text}), false);
        for ear in &mut ears {
            ear.until(|e: &Value| e["text"] == text.as_str());
        }
        client.hear();
    });
    let what = format!("one line to {FAN} clients, all have it");
    let Some(theirs) = through_ngircd(lab, place, 0, FAN) else {
        return row(&what, &shown(&ours, " us"), "ngircd: not here", None, "");
    };
    let beside = format!("ngircd {}", shown(&theirs, " us"));
    row(&what, &shown(&ours, " us"), &beside, Some(ours.median / theirs.median), "");
}

/// A line from one client to so many others by way of ngircd, which runs on the first host: the
/// time until all have it.
fn through_ngircd(lab: &Lab, place: &Path, host: usize, clients: usize) -> Option<Spread> {
    let _irc = ngircd(lab, place)?;
    let me = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let mut run = lab.run(host, &me, &["--limit", "irc-fan", &format!("{clients}@10.78.0.1:6667")]);
    let out = run.stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    Some(spread(text.lines().filter_map(|l| l.parse().ok()).collect()))
}

fn syncs(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("raw")).unwrap();
    let (begun, mut n) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        n += 1;
    }
    f64::from(n) / begun.elapsed().as_secs_f64()
}

/// Texts over the link that are durable at both ends and known to be: one at a time, and from
/// several clients of one user at once.
fn durable(lab: &Lab, place: &Path) {
    let folder = place.join("durable");
    let more = "[slcp]\nenabled = false\n";
    let (a, b) = (lab.daemon(0, "anna", &folder, more), lab.daemon(1, "bob", &folder, more));
    a.peers(1);
    b.peers(1);
    std::thread::sleep(Duration::from_secs(3));
    for (what, clients) in [("one in flight", 1_usize), ("32 in flight", 32)] {
        let (mut rates, mut ours) = (Vec::new(), Vec::new());
        for run in 0..3 {
            rates.push(syncs(place));
            ours.push(confirmed(&a, clients, run));
        }
        let (rate, ours) = (spread(rates), spread(ours));
        let beside = format!("fdatasync {}", shown(&rate, " /s"));
        let ratio = Some(rate.median / ours.median);
        let bound = if clients == 1 { "2 (fdatasync / ours)" } else { "1 (group commit)" };
        row(&format!("durable over the link, {what}"), &shown(&ours, " /s"), &beside, ratio, bound);
    }
}

/// Texts a second that so many clients have confirmed. A call is answered when its text is
/// durable here; the event says that it is so there.
fn confirmed(a: &Daemon, clients: usize, run: usize) -> f64 {
    let (begun, open) = (Instant::now(), clients as u32);
    let (done, talking) = (AtomicU32::new(0), AtomicU32::new(open));
    let mut ear = a.listener();
    ear.patience(Duration::from_millis(20));
    let one = |client: usize| {
        let (mut calls, mut count) = (a.client(), 0_u32);
        while begun.elapsed() < Duration::from_secs(2) {
            let text = format!("run {run} client {client} text {count}");
            let before = done.load(Ordering::Acquire);
            calls.call("Send", &json!({"to": ["bob"], "text": text}));
            count += 1;
            while clients == 1 && done.load(Ordering::Acquire) == before {
                std::hint::spin_loop();
            }
        }
        talking.fetch_sub(1, Ordering::AcqRel);
    };
    let mut last = begun.elapsed();
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = (0..clients).map(|n| scope.spawn(move || one(n))).collect();
        let mut quiet = Instant::now();
        // until nothing more is confirmed for a while after the last was sent
        while talking.load(Ordering::Acquire) > 0 || quiet.elapsed() < QUIET {
            let heard = ear.hear();
            let event = &heard["parameters"]["event"];
            if event["kind"] == "delivery" && event["state"] == "delivered" {
                done.fetch_add(1, Ordering::AcqRel);
                (last, quiet) = (begun.elapsed(), Instant::now());
            }
        }
        all.into_iter().for_each(|thread| thread.join().unwrap());
    });
    f64::from(done.into_inner()) / last.as_secs_f64()
}

/// Runs another bench of the project; what it prints goes to standard error, its figures into a
/// file below `target`, which is returned.
fn bench(name: &str, words: &[&str], figures: &str) -> String {
    let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(figures);
    let _ = std::fs::remove_file(&figures);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["bench", "--quiet", "--bench", name, "--"]).args(words);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let ended = cargo.stdout(std::io::stderr()).status().unwrap();
    assert!(ended.success(), "the bench {name} failed");
    std::fs::read_to_string(&figures).unwrap()
}

/// A file over the link beside the same bytes copied otherwise, and memory meanwhile.
fn throughput() {
    let figures: Value = serde_json::from_str(&bench("link", &[], "link.json")).unwrap();
    let rate = |what: &str| {
        let all = figures[what].as_array().unwrap();
        spread(all.iter().filter_map(Value::as_f64).collect())
    };
    let link = rate("link");
    let what = format!("a file of {} MiB over the link", figures["mib"]);
    let mut ours = shown(&link, " MiB/s");
    for (other, beside, bound) in
        [("copy", "TCP copy", "0.6"), ("sealed", "sealed and hashed copy", ""), ("scp", "scp", "")]
    {
        let what = if bound.is_empty() { "  the same" } else { &what };
        if figures[other].as_array().is_some_and(Vec::is_empty) {
            row(what, &ours, &format!("{beside}: not here"), None, bound);
            continue;
        }
        let theirs = rate(other);
        let beside = format!("{beside} {}", shown(&theirs, ""));
        row(what, &ours, &beside, Some(link.median / theirs.median), bound);
        ours.clear();
    }
    for who in ["sender", "receiver"] {
        let kb = |what: &str| figures[who][what].as_f64().unwrap_or(f64::NAN);
        let more = kb("most") - kb("fresh").min(kb("idle"));
        let what = format!("  memory meanwhile, {who}");
        let beside = format!("idle {} and {} kB", kb("fresh"), kb("idle"));
        row(&what, &format!("{} kB", kb("most")), &beside, Some(more / 1_000.0), "1 MB more");
    }
}

/// What discovery says in a minute and when all start at once: of each node, in a large network
/// beside a small one.
fn discovery() {
    let table = bench("scale", &["10", "100", "1000", "10000"], "scale.csv");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let figure = |how: &str, nodes: &str, what: &str| {
        let at = head.iter().position(|name| *name == what).unwrap();
        let row = rows.iter().find(|row| row[0] == how && row[1] == nodes).unwrap();
        row[at].parse::<f64>().unwrap()
    };
    let n = "1 (n; n² were 10)";
    for (name, how, few, many, when, column, bound) in [
        ("SLCP", "model", "1000", "10000", "in a minute", "minute_n", n),
        ("SLCP", "model", "1000", "10000", "all start", "start_n", n),
        ("link", "beacons", "10", "100", "in a minute", "minute_n", n),
        ("link", "beacons", "10", "100", "all start", "start_n", n),
        ("sessions too", "link", "10", "100", "all start", "start_n", "n² to 256 boxes"),
    ] {
        let each = |how: &str, n: &str| figure(how, n, column) / n.parse::<f64>().unwrap();
        let (small, large) = (each(how, few), each(how, many));
        row(
            &format!("discovery, {name}, {many} nodes: {when}"),
            &format!("{large:.1} datagrams each"),
            &format!("{few}: {small:.1}; plain {:.0}", each("plain", many)),
            Some(large / small),
            bound,
        );
    }
}

fn exposure() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/klatsch.service");
    let mut run = Command::new("systemd-analyze");
    let out = run.args(["security", "--offline=true", "--no-pager"]).arg(unit).output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let said = text.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("exposure level for")?;
        rest.split_whitespace().nth(1)?.parse::<f64>().ok()
    });
    match said {
        Some(level) => {
            row("systemd-analyze security", &level.to_string(), "", Some(level / 1.5), "1.5")
        }
        None => row("systemd-analyze security", "not here", "", None, "1.5"),
    }
}
