//! How fast and how cheaply things are kept: `cargo bench --bench store`.
//!
//! Durable entries per second with 1, 8 and 64 in flight, beside how often the same folder syncs
//! at all; bytes written per entry; the daemon's memory before and after 100,000 entries. The
//! folder is `KLATSCH_BENCH_DIR`, else the system's for temporary files: name one on the medium
//! that matters. The daemon runs in a network namespace of its own (`unshare`, as root).
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_channel::Receiver;
use klatsch::config::Settings;
use klatsch::model::history::{Body, Change, Entry, Found, Query, Reader, Recipient};
use klatsch::model::{Delivery, Dialect, Direction, EntryId, Handle, Now, PeerId, Wall};
use klatsch::node::io::Ticket;
use klatsch::store::{Begin, Rules, Store, Told};

const RUN: Duration = Duration::from_secs(3);
const MANY: u64 = 100_000;

fn main() {
    let base = std::env::var_os("KLATSCH_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::tempdir_in(&base).unwrap();
    println!("folder: {}, {}", base.display(), medium(&base));
    let raw = syncs(place.path());
    println!("{:<34} {raw:>8.0} /s", "4 KiB appended and fdatasync'ed");
    for flight in [1, 8, 64] {
        let folder = place.path().join(flight.to_string());
        std::fs::create_dir(&folder).unwrap();
        let (store, told) = start(&folder);
        let (rate, written) = durable(&store, &told, flight, RUN, u64::MAX);
        println!(
            "{:<34} {rate:>8.0} /s = {:.2} of the syncs; {written:.0} bytes written for each",
            format!("durable entries, {flight} in flight"),
            rate / raw,
        );
    }
    let folder = place.path().join("state/klatsch");
    std::fs::create_dir_all(&folder).unwrap();
    let before = daemon(place.path());
    let (store, told) = start(&folder);
    let begun = Instant::now();
    let (_, written) = durable(&store, &told, 1_000, Duration::from_secs(600), MANY);
    let file = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |m| m.len());
    println!(
        "{MANY} entries in groups: {:.1} s, {written:.0} bytes written for each, {} bytes each on the disk",
        begun.elapsed().as_secs_f64(),
        (file("history.db") + file("history.db-wal")) / MANY,
    );
    queries(&store, &told);
    drop((store, told));
    let begun = Instant::now();
    let (store, _told) = start(&folder);
    println!("opened again: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    drop(store);
    println!("idle daemon, nothing kept:          {before}");
    println!("idle daemon, {MANY} entries kept:  {}", daemon(place.path()));
}

fn medium(folder: &Path) -> String {
    let out = Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output();
    out.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

fn syncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("raw")).unwrap();
    let (begun, mut n) = (Instant::now(), 0);
    while begun.elapsed() < RUN {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        n += 1;
    }
    f64::from(n) / begun.elapsed().as_secs_f64()
}

fn start(folder: &Path) -> (Store, Receiver<Told>) {
    let (told, answers) = async_channel::unbounded();
    let settings = Settings { imagepath: folder.join("images"), ..Settings::default() };
    let mut rules = Rules::of(&settings);
    rules.history.entries = 2 * MANY;
    let now = || Now { mono: 1, wall: Wall(1_800_000_000_000) };
    let begin = Begin { folder: Some(folder.into()), rules, epoch: 1, now };
    (Store::start(begin, told).unwrap().0, answers)
}

/// A text of a usual length, with words of a usual distribution.
fn entry(n: u64) -> Entry {
    let words: Vec<String> =
        (0..12).map(|i| format!("wort{}", (n * 31 + i * i * 7) % (40 << i))).collect();
    Entry {
        id: EntryId { epoch: 9, n },
        order: n,
        user: None,
        conversation: format!("peer{}", n % 40),
        from: "anna".into(),
        direction: Direction::Out,
        dialect: Dialect::Slcp,
        at: Wall(1_800_000_000_000 + n),
        dated: true,
        mono: n,
        body: Body::Text { text: words.join(" ") },
        autoreply: false,
        recipients: vec![Recipient {
            peer: PeerId(n % 40),
            handle: format!("peer{}", n % 40),
            state: Delivery::Sent,
            reason: None,
        }],
    }
}

/// Entries a second, and bytes written for each.
fn durable(
    store: &Store,
    told: &Receiver<Told>,
    flight: u64,
    within: Duration,
    most: u64,
) -> (f64, f64) {
    let (begun, bytes) = (Instant::now(), written());
    let (mut sent, mut done) = (0, 0);
    while done < most && begun.elapsed() < within {
        while sent < done + flight && sent < most {
            sent += 1;
            store.write(sent, vec![Change::Put(Box::new(entry(sent)))], true).unwrap();
        }
        if let Told::Stored(n, outcome) = told.recv_blocking().unwrap() {
            outcome.unwrap();
            done = n;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    (done as f64 / seconds, (written() - bytes) as f64 / done as f64)
}

/// Bytes that this process caused to be written, as proc_pid_io(5) counts them.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.trim().parse().unwrap()
}

fn queries(store: &Store, told: &Receiver<Told>) {
    let reader = || Reader { user: Handle::try_from("anna").unwrap(), since: 0 };
    let search = |words: &str| Query::Search {
        reader: reader(),
        words: words.into(),
        before: None,
        limit: 50,
    };
    let last = |conversation: Option<&str>| Query::Last {
        reader: reader(),
        conversation: conversation.map(Into::into),
        before: None,
        limit: 50,
    };
    for (what, query) in [
        ("the last 50", last(None)),
        ("the last 50 of one person", last(Some("peer7"))),
        ("search of a rare word", search("wort81000")),
        ("search of a usual word", search("wort7")),
        ("search of what all words begin with", search("wor")),
    ] {
        let begun = Instant::now();
        store.ask(Ticket(1), query).unwrap();
        let Ok(Told::Found(_, Ok(Found::Entries { entries, .. }))) = told.recv_blocking() else {
            panic!("no answer")
        };
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        println!("{what}: {ms:.1} ms, {} found", entries.len());
    }
}

/// The memory of an idle daemon that keeps its things in `home/state`.
fn daemon(home: &Path) -> String {
    let mut run = Command::new("unshare");
    run.args(["-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
    run.args([env!("CARGO_BIN_EXE_klatsch"), "run", "--instance", "default"]);
    run.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("XDG_STATE_HOME", home.join("state"));
    run.stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = run.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let memory = memory(&child).unwrap_or_else(|| "not measured: it does not run here".into());
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    child.wait().unwrap();
    memory
}

fn memory(child: &Child) -> Option<String> {
    let pid = child.id();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    (name.trim() == "klatsch")
        .then(|| format!("PSS {}, private dirty {}", kib("Pss:"), kib("Private_Dirty:")))
}
