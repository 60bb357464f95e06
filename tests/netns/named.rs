//! Rooms between linked boxes on hosts; what was read; boxes that two plain names hide or show.

use std::sync::Arc;

use serde_json::Value;

use crate::lan::Lan;
use crate::node::{Node, secs, within};

const ALONE: &str = "\n[link]\nannounce = 10\nread = true\n[slcp]\nenabled = false\n";
const BESIDE: &str = "\n[link]\nannounce = 10\n";

/// Until the node sees so many in the room.
fn members(node: &Node, count: usize) {
    let there = || -> usize {
        let rooms = node.json(&["room", "list"]);
        let of = rooms.iter().find(|r| r["room"] == "#kaffee");
        of.map_or(0, |r| r["members"].as_array().unwrap().len())
    };
    assert!(within(secs(30), || there() == count), "{} of {count}", there());
}

/// What was said in the room, in the order it is kept.
fn texts(node: &Node) -> Vec<String> {
    let all = node.json(&["history", "#kaffee", "-n", "200"]);
    all.iter().map(|e| e["body"]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_room_reaches_three_boxes_whoever_is_killed_and_a_member_that_comes_back() {
    let Some(lan) = Lan::new(3) else { return };
    let mut nodes: Vec<Option<Node>> = ["anna", "bob", "carl"]
        .iter()
        .enumerate()
        .map(|(n, name)| Some(lan.host(n).node(name, ALONE)))
        .collect();
    let names = ["anna", "bob", "carl"];
    for node in nodes.iter().flatten() {
        node.must(&["room", "join", "kaffee"]);
    }
    for node in nodes.iter().flatten() {
        members(node, 3);
    }
    let anna = nodes[0].as_ref().unwrap();
    assert_eq!(anna.code(&["msg", "#kaffee", "who is in?"]), 0);
    nodes[1].as_ref().unwrap().hears("anna", "who is in?");
    nodes[2].as_ref().unwrap().hears("anna", "who is in?");
    let delivered = || {
        let all = nodes[0].as_ref().unwrap().json(&["history", "#kaffee", "-n", "5"]);
        let to = all[0]["recipients"].as_array().unwrap();
        to.len() == 2 && to.iter().all(|r| r["state"] == "delivered")
    };
    assert!(within(secs(10), delivered));
    // Carl is killed; Anna writes and is killed; Bob has what she wrote, and gives it to Carl
    let carl = nodes[2].take().unwrap();
    let home = Arc::clone(carl.home());
    drop(carl);
    let anna = nodes[0].take().unwrap();
    for n in 0..20 {
        assert_eq!(anna.code(&["msg", "#kaffee", &format!("Nummer {n}")]), 0);
    }
    let bob = nodes[1].as_ref().unwrap();
    assert!(within(secs(20), || texts(bob).len() == 21));
    drop(anna);
    let carl = lan.host(2).node_in(&home, "t", names[2], ALONE, "");
    assert!(within(secs(60), || texts(&carl).len() == 21), "{:?}", texts(&carl));
    assert_eq!(texts(&carl), texts(bob));
    // who is not in reads nothing, and cannot write
    assert_eq!(bob.code(&["room", "leave", "kaffee"]), 0);
    assert_ne!(bob.code(&["msg", "#kaffee", "still here?"]), 0);
}

#[test]
fn a_room_and_a_read_mark_cross_ipv6_alone() {
    let Some(lan) = Lan::bare(2) else { return };
    for n in 0..2 {
        lan.wire(lan.host(n), "eth0", 0);
        lan.host(n).ip("link set eth0 up");
    }
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    for node in [&anna, &bob] {
        node.must(&["room", "join", "kaffee"]);
    }
    members(&anna, 2);
    members(&bob, 2);
    assert_eq!(anna.code(&["msg", "#kaffee", "without IPv4"]), 0);
    bob.hears("anna", "without IPv4");
    anna.msg("bob", "did you read this?");
    bob.hears("anna", "did you read this?");
    let state = || -> Value {
        let all = anna.json(&["history", "bob", "-n", "1"]);
        all[0]["recipients"][0]["state"].clone()
    };
    assert!(within(secs(10), || state() == "delivered"));
    bob.must(&["history", "anna"]);
    assert!(within(secs(10), || state() == "read"), "{}", state());
}

#[test]
fn two_interfaces_carry_one_room_and_one_cable_is_enough() {
    let Some(lan) = Lan::new(2) else { return };
    for n in 0..2 {
        lan.plug(lan.host(n), "eth1", 1);
    }
    let (anna, bob) = (lan.host(0).node("anna", ALONE), lan.host(1).node("bob", ALONE));
    for node in [&anna, &bob] {
        node.must(&["room", "join", "kaffee"]);
    }
    members(&anna, 2);
    members(&bob, 2);
    for bridge in [0, 1] {
        lan.cable(lan.host(1), bridge, false);
        let text = format!("without bridge {bridge}");
        assert_eq!(anna.code(&["msg", "#kaffee", &text]), 0);
        assert!(within(secs(60), || texts(&bob).contains(&text)), "{text}");
        lan.cable(lan.host(1), bridge, true);
    }
    assert_eq!(texts(&bob), texts(&anna));
}

#[test]
fn a_new_key_that_claims_an_address_hides_nobody_who_is_met_there() {
    let Some(lan) = Lan::new(3) else { return };
    let anna = lan.host(0).node("anna", BESIDE);
    // Bob speaks SLCP alone
    let slcp = "\n[link]\nenabled = false\n";
    let bob = lan.host(1).node("bob", slcp);
    assert!(within(secs(20), || anna.handles() == ["bob"]));
    // another box called Bob, whose host has Bob's address too, on a loopback nobody reaches: a
    // kernel answers ARP for those too, unless told not to
    lan.host(2).exec("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore");
    lan.host(2).ip("addr add 10.77.0.2/32 dev lo");
    let other = lan.host(2).node("bob", ALONE);
    let both = || {
        let all = anna.who();
        let of = |trust: &str| all.iter().any(|p| p["handle"] == "bob" && p["trust"] == trust);
        of("plain") && of("unverified")
    };
    assert!(within(secs(30), both), "{:#?}", anna.who());
    std::thread::sleep(secs(5));
    assert!(both(), "{:#?}", anna.who());
    drop((bob, other));
}
