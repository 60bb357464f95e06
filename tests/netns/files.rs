//! Files over the link between real nodes: any kind, any size, whatever is killed or moved.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lan::{Host, Lan};
use crate::node::{Node, again, linked, secs, within};

/// The link alone, and files of everyone taken unasked.
const TAKES: &str = "\n[link]\nannounce = 10\n[slcp]\nenabled = false\n[files]\nquota = \"2G\"\n\
     accept-any = \"anyone\"\naccept-size = \"2G\"\n";
/// The same, and nobody's.
const ASKS: &str = "\n[link]\nannounce = 10\n[slcp]\nenabled = false\n[files]\nquota = \"2G\"\n\
     accept-any = \"nobody\"\naccept-images = \"nobody\"\n";

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// A file of so many bytes that does not repeat itself.
fn make(path: &Path, bytes: u64) {
    let mut rng = fastrand::Rng::with_seed(bytes);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut left = bytes;
    let mut block = vec![0; 1 << 16];
    while left > 0 {
        let len = usize::try_from(left.min(1 << 16)).unwrap();
        rng.fill(&mut block[..len]);
        std::io::Write::write_all(&mut file, &block[..len]).unwrap();
        left -= len as u64;
    }
}

fn same(a: &Path, b: &Path) -> bool {
    std::process::Command::new("cmp").args([a, b]).status().unwrap().success()
}

fn transfers(node: &Node) -> Vec<Value> {
    node.status()["transfers"].as_array().unwrap().clone()
}

/// What came in whole.
fn came(node: &Node) -> Vec<PathBuf> {
    let all = node.json(&["history", "-n", "200"]);
    let came = all.iter().filter(|e| e["direction"] == "in");
    came.filter_map(|e| Some(PathBuf::from(e["body"]["path"].as_str()?))).collect()
}

fn delivered(node: &Node) -> usize {
    let all = node.json(&["history", "-n", "200"]);
    all.iter().filter(|e| e["recipients"][0]["state"] == "delivered").count()
}

#[test]
fn a_file_and_a_folder_are_offered_taken_and_the_same_on_both_sides() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", ASKS), lan.host(1).node("bob", ASKS));
    linked(&anna, "bob");
    linked(&bob, "anna");
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("Bericht 1.pdf");
    make(&report, 300_000);
    assert_eq!(anna.code(&["file", "bob", report.to_str().unwrap()]), 3, "it waits to be accepted");
    let offered = transfers(&bob);
    assert_eq!(offered[0]["state"], "offered");
    assert_eq!(offered[0]["name"], "Bericht 1.pdf");
    bob.must(&["accept", &offered[0]["number"].to_string()]);
    assert!(within(secs(20), || delivered(&anna) == 1 && transfers(&anna).is_empty()));
    let path = came(&bob).remove(0);
    assert!(path.extension().is_some_and(|e| e == "pdf"), "{}", path.display());
    assert!(same(&path, &report));

    let folder = dir.path().join("holidays");
    std::fs::create_dir_all(folder.join("day 1/pictures")).unwrap();
    make(&folder.join("day 1/pictures/x.bin"), 700_000);
    make(&folder.join("day 1/empty"), 0);
    make(&folder.join("notes.txt"), 10);
    std::os::unix::fs::symlink("/etc/passwd", folder.join("secret")).unwrap();
    assert_eq!(anna.code(&["file", "bob", folder.to_str().unwrap()]), 3);
    let offered = transfers(&bob);
    assert_eq!(offered[0]["files"], 3);
    bob.must(&["accept", &offered[0]["number"].to_string()]);
    assert!(within(secs(20), || delivered(&anna) == 2));
    let path = came(&bob).into_iter().find(|p| p.is_dir()).unwrap();
    for file in ["day 1/pictures/x.bin", "day 1/empty", "notes.txt"] {
        assert!(same(&path.join(file), &folder.join(file)), "{file}");
    }
    assert!(!path.join("secret").exists());

    // and one that is not wanted
    assert_eq!(anna.code(&["file", "bob", report.to_str().unwrap()]), 3);
    bob.must(&["refuse", &transfers(&bob)[0]["number"].to_string()]);
    let refused = within(secs(10), || {
        let all = anna.json(&["history", "-n", "1"]);
        all[0]["recipients"][0]["state"] == "failed"
    });
    assert!(refused && transfers(&anna).is_empty() && transfers(&bob).is_empty());
}

#[test]
fn an_image_to_who_is_linked_goes_encrypted_and_is_confirmed() {
    let Some(lan) = Lan::new(2) else { return };
    let beside = "\n[link]\nannounce = 10\n";
    let (anna, bob) = (lan.host(0).node("anna", beside), lan.host(1).node("bob", beside));
    linked(&anna, "bob");
    linked(&bob, "anna");
    let dir = tempfile::tempdir().unwrap();
    let (cat, _) = crate::picture::png(dir.path(), 40, 30);
    assert_eq!(anna.code(&["img", "bob", cat.to_str().unwrap()]), 0);
    assert_eq!(delivered(&anna), 1);
    let all = bob.json(&["history", "-n", "5"]);
    assert_eq!((&all[0]["dialect"], &all[0]["body"]["format"]), (&"link".into(), &"png".into()));
    assert!(same(Path::new(all[0]["body"]["path"].as_str().unwrap()), &cat));
}

#[test]
fn a_large_file_arrives_though_either_side_is_killed_at_any_moment() {
    let Some(lan) = Lan::new(2) else { return };
    let bytes = number("KLATSCH_FILE_MB", 256) << 20;
    let kills = number("KLATSCH_FILE_KILLS", 2);
    let mut anna = lan.host(0).node("anna", TAKES);
    let mut bob = lan.host(1).node("bob", TAKES);
    linked(&anna, "bob");
    linked(&bob, "anna");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let large = dir.path().join("large.iso");
    make(&large, bytes);
    let sends = |anna: &Node| {
        let line = anna.console(&format!("FILE bob {}\n", large.display()));
        assert!(!line.contains("failed"), "{line}");
    };
    let begun = std::time::Instant::now();
    sends(&anna);
    let (mut killed, mut resumed) = (0, 0);
    while killed < kills {
        let done =
            |node: &Node| transfers(node).first().map_or(u64::MAX, |t| t["done"].as_u64().unwrap());
        // at a random place between here and the end
        let from = done(&bob);
        let goal = from.saturating_add(fastrand::u64(1..(bytes / (kills + 1)).max(2)));
        within(secs(60), || done(&bob) >= goal);
        if done(&bob) == u64::MAX {
            break; // it is whole already
        }
        if killed % 2 == 0 {
            bob = again(lan.host(1), bob, "bob", TAKES);
            let kept = done(&bob);
            println!("killed at {goal}, goes on from {kept}");
            resumed += u64::from(kept != u64::MAX && kept > 0);
        } else {
            anna = again(lan.host(0), anna, "anna", TAKES);
        }
        killed += 1;
    }
    let whole = within(secs(120), || delivered(&anna) == 1);
    assert!(whole, "{:#?} {:#?}", transfers(&anna), transfers(&bob));
    println!(
        "{bytes} bytes, {killed} kills, {resumed} goings-on from further in, {:?}",
        begun.elapsed()
    );
    let all = came(&bob);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(same(&all[0], &large));
    assert!(transfers(&anna).is_empty() && transfers(&bob).is_empty());
    let left = std::fs::read_dir(all[0].parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "nothing unfinished is left");
}

#[test]
fn a_node_that_gets_another_address_in_mid_transfer_is_followed() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", TAKES), lan.host(1).node("bob", TAKES));
    linked(&anna, "bob");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let large = dir.path().join("large.iso");
    make(&large, 64 << 20);
    // slow enough that it is under way
    let host = lan.host(1);
    host.exec("tc qdisc add dev eth0 root tbf rate 160mbit burst 64kb latency 50ms || true");
    lan.host(0).exec("tc qdisc add dev eth0 root tbf rate 160mbit burst 64kb latency 50ms || true");
    anna.console(&format!("FILE bob {}\n", large.display()));
    let done = || transfers(&bob).first().map_or(u64::MAX, |t| t["done"].as_u64().unwrap());
    assert!(within(secs(20), || done() > 4 << 20));
    host.exec("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
    host.ip("addr flush dev eth0");
    host.ip("addr add 10.77.0.99/24 brd + dev eth0");
    assert_ne!(done(), u64::MAX, "it is on its way still");
    assert!(within(secs(90), || delivered(&anna) == 1));
    assert!(same(&came(&bob)[0], &large));
}

/// So slow on an interface that what is sent is under way for some seconds.
fn slow(host: &Host, interface: &str) {
    host.exec(&format!(
        "tc qdisc add dev {interface} root tbf rate 40mbit burst 32kb latency 50ms"
    ));
}

#[test]
fn a_file_crosses_ipv6_alone() {
    let Some(lan) = Lan::bare(2) else { return };
    for n in 0..2 {
        lan.wire(lan.host(n), "eth0", 0);
        lan.host(n).ip("link set eth0 up");
    }
    let (anna, bob) = (lan.host(0).node("anna", TAKES), lan.host(1).node("bob", TAKES));
    linked(&anna, "bob");
    linked(&bob, "anna");
    assert!(anna.peer("bob")["address"].as_str().unwrap().starts_with("fe80::"));
    let bytes = number("KLATSCH_FILE_MB", 256) << 20;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let large = dir.path().join("large.iso");
    make(&large, bytes);
    let begun = std::time::Instant::now();
    anna.console(&format!("FILE bob {}\n", large.display()));
    let whole = within(secs(240), || delivered(&anna) == 1);
    assert!(whole, "{:#?} {:#?}", transfers(&anna), transfers(&bob));
    println!("{bytes} bytes over IPv6 alone in {:?}", begun.elapsed());
    assert!(same(&came(&bob)[0], &large));
}

#[test]
fn a_file_goes_on_over_the_other_interface_when_a_cable_is_pulled_in_mid_transfer() {
    let Some(lan) = Lan::new(2) else { return };
    for n in 0..2 {
        lan.plug(lan.host(n), "eth1", 1);
        slow(lan.host(n), "eth0");
        slow(lan.host(n), "eth1");
    }
    let (anna, bob) = (lan.host(0).node("anna", TAKES), lan.host(1).node("bob", TAKES));
    linked(&anna, "bob");
    linked(&bob, "anna");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let large = dir.path().join("large.iso");
    make(&large, 96 << 20);
    anna.console(&format!("FILE bob {}\n", large.display()));
    let done = || transfers(&bob).first().map_or(u64::MAX, |t| t["done"].as_u64().unwrap());
    // first the one that it goes over, whichever that is, then the other
    for bridge in [0, 1] {
        let from = done();
        assert!(within(secs(60), || done() > from.saturating_add(4 << 20)), "it moves: {from}");
        lan.cable(lan.host(1), bridge, false);
        let pulled = done();
        assert_ne!(pulled, u64::MAX, "it is on its way still");
        let moved = within(secs(90), || done() > pulled.saturating_add(8 << 20));
        assert!(moved, "without bridge {bridge} it stays at {pulled}: {:#?}", transfers(&bob));
        println!("pulled {bridge} at {pulled}, goes on");
        lan.cable(lan.host(1), bridge, true);
        linked(&bob, "anna");
    }
    assert!(within(secs(90), || delivered(&anna) == 1), "{:#?}", transfers(&anna));
    assert!(same(&came(&bob)[0], &large));
}

#[test]
fn it_rests_and_goes_on_by_word_of_either_side_and_texts_pass_it() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", TAKES), lan.host(1).node("bob", TAKES));
    linked(&anna, "bob");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let large = dir.path().join("large.iso");
    make(&large, 32 << 20);
    lan.host(0).exec("tc qdisc add dev eth0 root tbf rate 40mbit burst 32kb latency 50ms");
    anna.console(&format!("FILE bob {}\n", large.display()));
    let first = |node: &Node| transfers(node).first().cloned().unwrap_or_default();
    assert!(within(secs(20), || first(&bob)["done"].as_u64() > Some(1 << 20)));
    let begun = std::time::Instant::now();
    anna.msg("bob", "in between");
    bob.hears("anna", "in between");
    println!("a text beside the file: {:?}", begun.elapsed());
    let number = first(&anna)["number"].to_string();
    anna.must(&["pause", &number]);
    // what was under way may still come; then nothing does
    let mut rests = Value::Null;
    let rested = within(secs(10), || {
        rests = first(&bob)["done"].clone();
        std::thread::sleep(secs(1));
        let now = first(&bob);
        now["state"] == "paused" && now["done"] == rests
    });
    assert!(rested, "{:#?}", transfers(&bob));
    anna.must(&["resume", &number]);
    assert!(within(secs(10), || first(&bob)["done"].as_u64() > rests.as_u64()));
    bob.must(&["cancel", &first(&bob)["number"].to_string()]);
    assert!(within(secs(10), || transfers(&anna).is_empty() && transfers(&bob).is_empty()));
    let folder = bob.status()["imagepath"].as_str().unwrap().to_owned();
    let left = std::fs::read_dir(folder).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what came of it is removed");
}
