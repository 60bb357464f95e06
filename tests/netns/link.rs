//! The link between real nodes on hosts: found, encrypted, exactly once, whatever is killed.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::lan::{Host, Lan};
use crate::node::{Node, again, linked, secs, within};

/// The link alone: no plain dialect helps.
const ALONE: &str = "\n[link]\nannounce = 10\n[slcp]\nenabled = false\n";
/// Beside SLCP, as people have it.
const BESIDE: &str = "\n[link]\nannounce = 10\n";

fn delivered(node: &Node, text: &str) -> bool {
    let all = node.json(&["history", "-n", "200"]);
    all.iter().any(|e| e["body"]["text"] == text && e["recipients"][0]["state"] == "delivered")
}

/// Says it to Bob; whether that is kept: delivered, or waiting (exit code 3).
fn says(node: &Node, text: &str) -> bool {
    matches!(node.code(&["msg", "bob", text]), 0 | 3)
}

/// The texts that came in, in the order they are kept.
fn texts(node: &Node) -> Vec<String> {
    let all = node.json(&["history", "-n", "200"]);
    let came = all.iter().filter(|e| e["direction"] == "in");
    came.map(|e| e["body"]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_nodes_link_and_confirm_and_their_codes_agree() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", BESIDE), lan.host(1).node("bob", BESIDE));
    linked(&anna, "bob");
    linked(&bob, "anna");
    assert_eq!(anna.handles(), ["bob"], "met by two dialects, shown once");
    anna.msg("bob", "nobody else reads this");
    let event = bob.hears("anna", "nobody else reads this");
    assert_eq!(event["dialect"], "link");
    assert!(within(secs(10), || delivered(&anna, "nobody else reads this")));
    let code = |node: &Node, who: &str| -> Value {
        serde_json::from_str(&node.must(&["verify", who, "--json"])).unwrap()
    };
    assert_eq!(code(&anna, "bob")["code"], code(&bob, "anna")["code"]);
    assert_eq!(anna.peer("bob")["trust"], "unverified");
    anna.must(&["trust", "bob"]);
    assert_eq!(anna.peer("bob")["trust"], "verified");
}

#[test]
fn every_text_arrives_once_and_in_order_though_either_is_killed_in_the_burst() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", ALONE);
    let mut bob = lan.host(1).node("bob", ALONE);
    linked(&anna, "bob");
    let mut said = Vec::new();
    for n in 0..40 {
        let text = format!("Nummer {n}");
        // what was answered for is kept; a send that a kill cuts off may be either
        if says(&anna, &text) {
            said.push(text);
        }
        match n {
            10 | 25 => bob = again(lan.host(1), bob, "bob", ALONE),
            18 | 33 => anna = again(lan.host(0), anna, "anna", ALONE),
            _ => {}
        }
    }
    let all = within(secs(60), || texts(&bob).len() >= said.len());
    let came = texts(&bob);
    assert!(all, "{} of {} came", came.len(), said.len());
    assert_eq!(came, said);
    assert!(within(secs(10), || said.iter().all(|text| delivered(&anna, text))));
    let mut shown: HashMap<String, u32> = HashMap::new();
    for event in bob.events().iter().filter(|e| e["kind"] == "message") {
        *shown.entry(event["text"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(shown.values().all(|n| *n == 1), "{shown:?}");
}

#[test]
fn what_is_deleted_while_it_waits_never_arrives() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    linked(&anna, "bob");
    let home = Arc::clone(bob.home());
    drop(bob);
    assert!(says(&anna, "forget this") && says(&anna, "and this stays"));
    let all = anna.json(&["history", "-n", "200"]);
    let entry = all.iter().find(|e| e["body"]["text"] == "forget this").unwrap();
    anna.must(&["forget", "--entry", &entry["order"].to_string()]);
    let bob = lan.host(1).node_in(&home, "t", "bob", ALONE, "");
    assert!(within(secs(60), || texts(&bob).contains(&"and this stays".to_owned())));
    assert_eq!(texts(&bob), ["and this stays"]);
}

#[test]
fn a_key_goes_with_its_backup() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    linked(&anna, "bob");
    let fingerprint = bob.status()["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(bob.must(&["identity", "show"]).trim(), fingerprint);
    let backup = bob.must(&["identity", "export"]);
    let file = anna.home().path().join("backup");
    std::fs::write(&file, &backup).unwrap();
    let path = file.to_str().unwrap();
    // not while it runs, and not over a key that is there
    assert_eq!(bob.code(&["identity", "import", path]), 1);
    drop(bob);
    // a new board, with the backup of the old one
    let fresh = lan.host(1).node("bob", ALONE);
    let home = Arc::clone(fresh.home());
    assert_ne!(fresh.status()["fingerprint"], fingerprint.as_str());
    let import =
        |more: &[&str]| fresh_import(&home, &[&["identity", "import", path], more].concat());
    drop(fresh);
    assert_eq!(import(&[]), 1);
    assert_eq!(import(&["--replace"]), 0);
    let bob = lan.host(1).node_in(&home, "t", "bob", ALONE, "");
    assert_eq!(bob.status()["fingerprint"], fingerprint.as_str());
    anna.msg("bob", "still you");
    assert!(within(secs(60), || texts(&bob) == ["still you"]));
}

/// The command line in the home of a node that does not run; its exit code.
fn fresh_import(home: &Arc<tempfile::TempDir>, line: &[&str]) -> i32 {
    crate::node::cli(home.path(), "t", line).output().unwrap().status.code().unwrap()
}

#[test]
fn with_ipv6_alone_two_nodes_link() {
    let Some(lan) = Lan::bare(2) else { return };
    for n in 0..2 {
        lan.wire(lan.host(n), "eth0", 0);
        lan.host(n).ip("link set eth0 up");
    }
    let (anna, bob) = (lan.host(0).node("anna", BESIDE), lan.host(1).node("bob", BESIDE));
    linked(&anna, "bob");
    linked(&bob, "anna");
    assert!(anna.peer("bob")["address"].as_str().unwrap().starts_with("fe80::"));
    anna.msg("bob", "without IPv4");
    bob.hears("anna", "without IPv4");
}

/// More than one socket may be in groups on (`igmp_max_memberships`), twice over, as containers'
/// bridges come and go; the LAN is plugged in last. Without IPv6, whose groups have no such bound.
#[test]
fn a_lan_is_found_behind_any_number_of_interfaces_that_came_and_went() {
    let Some(lan) = Lan::bare(2) else { return };
    for n in 0..2 {
        lan.host(n).exec(
            "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done",
        );
    }
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    let both = [(lan.host(0), &anna), (lan.host(1), &bob)];
    let open = |node: &Node| std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count();
    let joined = |host: &Host| {
        let groups = host.exec("grep -c 0950FFEF /proc/net/igmp || true").stdout; // 239.255.80.9
        String::from_utf8_lossy(&groups).trim().parse::<usize>().unwrap()
    };
    let before = both.map(|(_, node)| open(node));
    for round in 0..2 {
        for (host, _) in both {
            host.exec(
                "for n in $(seq 25); do ip link add b$n type veth peer name c$n
                ip addr add 10.90.$n.1/24 brd + dev b$n; ip link set c$n up; ip link set b$n up; done",
            );
        }
        for (host, _) in both {
            let all = within(secs(30), || joined(host) > 25);
            assert!(all, "round {round}: {} of 25 and the loopback", joined(host));
        }
        if round == 0 {
            for (host, _) in both {
                host.exec("for n in $(seq 25); do ip link del b$n; done");
            }
        }
    }
    for (host, _) in both {
        lan.plug(host, "eth0", 0);
    }
    linked(&anna, "bob");
    linked(&bob, "anna");
    for (n, (host, node)) in both.into_iter().enumerate() {
        host.exec("for n in $(seq 25); do ip link del b$n; done");
        host.ip("link del eth0");
        lan.plug(host, "eth0", 0);
        let few = within(secs(30), || open(node) <= before[n] + 6);
        assert!(few, "{} descriptors, {} before", open(node), before[n]);
    }
}

#[test]
fn two_interfaces_show_a_node_once_and_one_cable_is_enough() {
    let Some(lan) = Lan::new(2) else { return };
    for n in 0..2 {
        lan.plug(lan.host(n), "eth1", 1);
    }
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    linked(&anna, "bob");
    assert_eq!((anna.who().len(), bob.who().len()), (1, 1));
    for bridge in [0, 1] {
        lan.cable(lan.host(1), bridge, false);
        let text = format!("without bridge {bridge}");
        assert!(says(&anna, &text));
        assert!(within(secs(60), || texts(&bob).contains(&text)), "{text}");
        lan.cable(lan.host(1), bridge, true);
    }
}

#[test]
fn a_node_that_gets_another_address_is_followed() {
    let Some(lan) = Lan::new(2) else { return };
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    linked(&anna, "bob");
    let host = lan.host(1);
    host.exec("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
    host.ip("addr flush dev eth0");
    host.ip("addr add 10.77.0.99/24 brd + dev eth0");
    assert!(says(&anna, "where are you"));
    assert!(within(secs(60), || texts(&bob) == ["where are you"]));
    assert!(within(secs(10), || delivered(&anna, "where are you")));
}

#[test]
fn an_impostor_in_a_plain_dialect_gets_nothing_that_is_meant_for_who_is_linked() {
    let Some(lan) = Lan::new(3) else { return };
    let anna = lan.host(0).node("anna", BESIDE);
    let bob = lan.host(1).node("bob", BESIDE);
    linked(&anna, "bob");
    let home = Arc::clone(bob.home());
    drop(bob);
    // Mallory's node speaks SLCP alone, and says that it is Bob
    let mallory = lan.host(2).node("bob", "");
    let there = within(secs(20), || {
        anna.who().iter().any(|p| p["name"] == "bob@10.77.0.3" && p["trust"] == "plain")
    });
    assert!(there, "{:#?}", anna.who());
    assert!(says(&anna, "the password is Kuchen"));
    std::thread::sleep(secs(3));
    assert!(texts(&mallory).is_empty());
    let bob = lan.host(1).node_in(&home, "t", "bob", BESIDE, "");
    assert!(within(secs(60), || texts(&bob) == ["the password is Kuchen"]));
    assert!(texts(&mallory).is_empty());
}
