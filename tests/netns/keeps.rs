//! What is kept, under the real binary: killed at any moment, on a disk that fills, on one that
//! turns read-only.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::lan::{Host, Lan, say};
use super::node::{Node, SOON, within};

/// A connection to a node's control socket.
struct Wire(UnixStream);

impl Wire {
    fn to(node: &Node) -> Wire {
        let socket = node.home().path().join("klatsch/t/control");
        Wire(UnixStream::connect(socket).unwrap())
    }

    /// Calls a method; none: the node died meanwhile.
    fn call(&mut self, method: &str, parameters: Value) -> Option<Value> {
        let method = format!("org.klatsch.Chat.{method}");
        let mut line =
            serde_json::to_vec(&json!({"method": method, "parameters": parameters})).unwrap();
        line.push(0);
        self.0.write_all(&line).ok()?;
        let (mut reply, mut some) = (Vec::new(), [0; 65_536]);
        while reply.last() != Some(&0) {
            match self.0.read(&mut some) {
                Ok(0) | Err(_) => return None,
                Ok(n) => reply.extend(&some[..n]),
            }
        }
        reply.pop();
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert!(reply.get("error").is_none(), "{reply}");
        Some(reply["parameters"].clone())
    }
}

/// What is kept above an order: texts by order.
fn kept(node: &Node, mut after: u64) -> BTreeMap<u64, String> {
    let mut wire = Wire::to(node);
    let mut all = BTreeMap::new();
    loop {
        let page = wire.call("Export", json!({"after": after, "limit": 200})).unwrap();
        for entry in page["entries"].as_array().unwrap() {
            let order = entry["order"].as_u64().unwrap();
            assert!(order > after, "order {order} after {after}");
            after = order;
            let text = entry["body"]["text"].as_str().unwrap_or_default().to_owned();
            assert!(all.insert(order, text).is_none());
        }
        if page["more"] != true {
            return all;
        }
    }
}

/// Sends texts until the node dies; those whose answer came.
fn burst(node: &Node, round: usize, thread: usize) -> std::thread::JoinHandle<Vec<String>> {
    let mut wire = Wire::to(node);
    std::thread::spawn(move || {
        let mut answered = Vec::new();
        for n in 0.. {
            let text = format!("{round} {thread} {n}");
            let sent = json!({"to": ["bert"], "text": text});
            match wire.call("Send", sent) {
                Some(_) => answered.push(text),
                None => return answered,
            }
        }
        answered
    })
}

fn start(host: &Host, home: &Arc<tempfile::TempDir>) -> Node {
    let node = host.node_in(home, "t", "anna", "", "");
    Wire::to(&node).call("AddUser", json!({"handle": "bert"})).unwrap();
    node
}

#[test]
fn killed_at_any_moment_it_keeps_all_that_it_answered_for_in_order_and_once() {
    let Some(lan) = Lan::bare(1) else { return };
    let host = lan.host(0);
    let kills = std::env::var("KLATSCH_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let home = Arc::new(tempfile::tempdir().unwrap());
    let mut rng = fastrand::Rng::new();
    let (mut answered, mut there, mut after) = (0, 0, 0);
    let mut node = start(host, &home);
    for round in 0..kills {
        let threads: Vec<_> = (0..8).map(|thread| burst(&node, round, thread)).collect();
        std::thread::sleep(Duration::from_millis(rng.u64(5..400)));
        node.signal("KILL");
        let durable: Vec<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        drop(node);
        node = start(host, &home);
        let all = kept(&node, after);
        after = all.last_key_value().map_or(after, |(order, _)| *order);
        // By what was sent: bert hears what anna says, so each text stands there for both.
        let mut orders: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (order, text) in &all {
            orders.entry(text).or_default().push(*order);
        }
        for text in &durable {
            let found = orders.get(text.as_str()).map_or(0, Vec::len);
            assert!(found >= 1, "round {round}: {text:?} was answered and is gone");
        }
        assert!(orders.values().all(|o| o.len() <= 2), "round {round}: twice: {orders:?}");
        for thread in 0..8 {
            let head = format!("{round} {thread} ");
            let number = |text: &str| text.strip_prefix(&head)?.parse::<u32>().ok();
            let numbers: Vec<u32> = all.values().filter_map(|text| number(text)).collect();
            assert!(numbers.windows(2).all(|w| w[0] <= w[1]), "round {round}: {numbers:?}");
        }
        answered += durable.len();
        there += orders.len();
    }
    let whole = kept(&node, 0);
    assert!(whole.len() >= there);
    assert!(answered > kills * 5, "only {answered} were answered");
    say(&format!("{kills} kills: {answered} texts answered for, all there; {there} kept"));
}

/// Whether a process has the bytes locked that SQLite reads under.
fn shared_bytes_locked(path: &Path) -> bool {
    let file = std::fs::File::open(path).unwrap();
    let mut range = nix::libc::flock {
        l_type: nix::libc::F_RDLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: 0x4000_0002, // SHARED_FIRST and SHARED_SIZE of SQLite's os.h
        l_len: 510,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut range)).unwrap();
    range.l_type != nix::libc::F_UNLCK as nix::libc::c_short
}

#[test]
fn its_own_database_sent_as_a_file_stays_closed_to_other_programs() {
    let Some(lan) = Lan::bare(1) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let node = start(lan.host(0), &home);
    said(&node, "before");
    let path = home.path().join(".local/state/klatsch/t/history.db");
    assert!(shared_bytes_locked(&path));
    node.cli(&["img", "bert", path.to_str().unwrap()]);
    // what SQLite locked is gone, else this shows nothing
    assert!(within(SOON, || !shared_bytes_locked(&path)));
    let other = rusqlite::Connection::open(&path).unwrap();
    other.busy_timeout(Duration::from_millis(200)).unwrap();
    for sql in
        ["SELECT count(*) FROM entries", "PRAGMA wal_checkpoint(TRUNCATE)", "BEGIN IMMEDIATE"]
    {
        let outcome = other.query_row(sql, [], |_| Ok(()));
        let code = outcome.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy), "{sql}: {outcome:?}");
    }
    drop(other);
    said(&node, "after");
    node.signal("KILL");
    drop(node);
    assert_eq!(texts(&start(lan.host(0), &home)), ["before", "", "after"], "a file has no text");
}

/// A node whose state folder is a disk of its own; the shell line makes it, within the node's
/// own view of the machine's mounts.
fn on_disk(host: &Host, mount: &str) -> Node {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let before = format!("set -e; S=$HOME/.local/state/klatsch; mkdir -p $S; {mount}; set +e");
    let node = host.node_in(&home, "t", "anna", "", &before);
    Wire::to(&node).call("AddUser", json!({"handle": "bert"})).unwrap();
    node
}

/// The state folder as the node sees it.
fn state(node: &Node) -> PathBuf {
    let seen = format!("/proc/{}/root{}", node.pid(), node.home().path().display());
    PathBuf::from(seen).join(".local/state/klatsch")
}

/// A shell line among the node's mounts.
fn among_mounts(node: &Node, line: &str) {
    let pid = node.pid().to_string();
    let home = node.home().path();
    let mut shell = Command::new("nsenter");
    let line = format!("set -e; S=$HOME/.local/state/klatsch; {line}");
    shell.args(["-t", &pid, "-m", "sh", "-c", &line]).env("HOME", home);
    let out = shell.output().unwrap();
    assert!(out.status.success(), "{line}: {out:?}");
}

/// Lets go of an image's loop devices.
struct Loops(String);

impl Drop for Loops {
    fn drop(&mut self) {
        let line = "losetup -j \"$1\" | cut -d: -f1 | xargs -r losetup -d";
        let _ = Command::new("sh").args(["-c", line, "sh", &self.0]).status();
    }
}

fn said(node: &Node, text: &str) {
    let sent = json!({"to": ["bert"], "text": text});
    let receipts = Wire::to(node).call("Send", sent).unwrap();
    assert_eq!(receipts["receipts"][0]["state"], "delivered", "{receipts}");
}

/// The texts that are kept, each once.
fn texts(node: &Node) -> Vec<String> {
    let mut all: Vec<String> = kept(node, 0).into_values().collect();
    all.dedup();
    all
}

/// The same, of a copy of the files as they lie on the disk now; SQLite finds no fault in them.
fn copied(node: &Node) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(state(node).join("t")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let conn = rusqlite::Connection::open(place.path().join("history.db")).unwrap();
    let check: String = conn.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut rows = conn.prepare("SELECT text FROM entries ORDER BY ord").unwrap();
    let mut all: Vec<String> =
        rows.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    all.dedup();
    all
}

fn complaints(node: &Node, text: &str) -> usize {
    let errors = node.events().into_iter().filter(|e| e["kind"] == "error");
    errors.filter(|e| e["text"].as_str().is_some_and(|t| t.contains(text))).count()
}

#[test]
fn a_full_disk_is_said_once_and_the_chat_goes_on_without_harm() {
    let Some(lan) = Lan::bare(1) else { return };
    let node = on_disk(lan.host(0), "mount -t tmpfs -o size=2m none $S");
    said(&node, "before");
    let filler = state(&node).join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write(&[1; 4096]).is_ok_and(|n| n > 0) {}
    for n in 0..20 {
        // the log may still have a page or two of its own
        said(&node, &format!("while it was full {n} {}", "and so on ".repeat(500)));
    }
    node.complains(SOON, "not kept (the disk is full)");
    assert_eq!(complaints(&node, "the disk is full"), 1, "{:#?}", node.events());
    let kept = texts(&node);
    assert_eq!(kept[0], "before");
    assert_eq!(copied(&node), kept, "nothing is harmed");
    // emptied first: a child that another test is starting may have it open until its exec
    file.set_len(0).unwrap();
    std::fs::remove_file(&filler).unwrap();
    said(&node, "after");
    node.complains(SOON, "kept again");
    let all = texts(&node);
    assert_eq!((all[0].as_str(), all[all.len() - 1].as_str()), ("before", "after"));
    assert!(all.len() < 22, "some were not kept: {}", all.len());
    assert_eq!(copied(&node), all);
}

#[test]
fn a_disk_that_turns_read_only_is_said_once_and_used_again_when_it_is_whole() {
    let Some(lan) = Lan::bare(1) else { return };
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(16 << 20).unwrap();
    let path = image.path().display();
    let make = format!("mkfs.ext4 -q -O ^has_journal {path}");
    let mount = format!("mount -o errors=remount-ro $(losetup -f --show {path}) $S");
    let able = Command::new("sh").args(["-c", &format!("{make} && losetup -f")]).output().unwrap();
    let _loops = Loops(image.path().display().to_string());
    if !able.status.success() {
        return say("skipped: a_disk_that_turns_read_only: no mkfs.ext4 or no loop device");
    }
    let node = on_disk(lan.host(0), &mount);
    said(&node, "before");
    // as the kernel does where a card fails
    let fail = "echo 1 > /sys/fs/ext4/$(basename $(findmnt -no SOURCE $S))/trigger_fs_error";
    among_mounts(&node, fail);
    for n in 0..5 {
        said(&node, &format!("while it was read-only {n}"));
    }
    node.complains(SOON, "not kept (the file system is read-only)");
    assert_eq!(complaints(&node, "read-only"), 1, "{:#?}", node.events());
    assert_eq!(texts(&node), ["before"], "what was kept is still read");
    let again = format!(
        "D=$(findmnt -no SOURCE $S); umount -l $S; fsck.ext4 -fy {path} >/dev/null || [ $? -le 1 ]; \
         {mount}; losetup -d $D"
    );
    among_mounts(&node, &again);
    said(&node, "after");
    node.complains(SOON, "kept again");
    assert_eq!(texts(&node), ["before", "after"]);
    assert_eq!(copied(&node), ["before", "after"]);
}

#[test]
fn without_a_folder_that_can_be_written_it_chats_from_memory_and_says_so_once() {
    let Some(lan) = Lan::bare(1) else { return };
    let node = on_disk(lan.host(0), "mount -t tmpfs -o ro none $S");
    node.complains(SOON, "nothing is kept beyond this run");
    said(&node, "hello");
    assert_eq!(texts(&node), ["hello"]);
    assert_eq!(complaints(&node, "kept"), 1, "{:#?}", node.events());
}
