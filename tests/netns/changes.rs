//! What changes under a running node: addresses, cables, interfaces, whole hosts.

use std::time::Instant;

use super::lan::Lan;
use super::node::{SELDOM, SOON, busy, secs, within};

#[test]
fn another_address_is_found_and_the_old_one_forgotten() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", SELDOM);
    let bert = lan.host(1).node("bert", SELDOM);
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    lan.host(1).ip("addr del 10.77.0.2/24 dev eth0");
    lan.host(1).ip("addr add 10.77.0.99/24 brd + dev eth0");
    let begun = Instant::now();
    let new = within(SOON, || anna.who().iter().any(|p| p["address"] == "10.77.0.99"));
    assert!(new, "{:#?}", anna.who());
    println!("the new address is seen after {:?}", begun.elapsed());
    let alone = within(secs(15), || anna.who().len() == 1);
    println!("the old one is gone after {:?}", begun.elapsed());
    assert!(alone, "a stale double stays: {:#?}", anna.who());
    assert_eq!(anna.peer("bert")["address"], "10.77.0.99");
    anna.msg("bert", "neue Adresse");
    bert.hears("anna", "neue Adresse");
    bert.msg("anna", "ja");
    anna.hears("bert", "ja");
}

#[test]
fn a_cable_out_and_in_again() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    std::thread::sleep(secs(4)); // each has asked and been answered
    lan.cable(lan.host(1), 0, false);
    bert.complains(SOON, "no network");
    // the one who still has a link never hangs, and finds out
    let begun = Instant::now();
    let code = anna.code(&["msg", "bert", "bist du da?"]);
    let took = begun.elapsed();
    assert!([0, 3].contains(&code) && took < secs(7) + busy(), "{code} {took:?}");
    let left = anna.wait_event("peer-left", secs(20), |e| e["handle"] == "bert");
    println!("without a cable: gone after {:?}: {}", begun.elapsed(), left["reason"]);
    assert_eq!(anna.code(&["msg", "bert", "bist du wieder da?"]), 3);
    lan.cable(lan.host(1), 0, true);
    let begun = Instant::now();
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    println!("back after {:?}", begun.elapsed());
    bert.hears("anna", "bist du wieder da?");
    anna.reaches(&bert, SOON);
    bert.reaches(&anna, SOON);
}

#[test]
fn an_interface_set_down_and_up() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    lan.host(1).ip("link set eth0 down");
    bert.complains(SOON, "no network");
    bert.is_well();
    std::thread::sleep(secs(1));
    bert.mark();
    lan.host(1).ip("link set eth0 up");
    anna.reaches(&bert, SOON);
    bert.reaches(&anna, SOON);
    assert_eq!(anna.handles(), ["bert"]);
}

#[test]
fn an_interface_that_comes_later() {
    let Some(lan) = Lan::bare(2) else { return };
    lan.plug(lan.host(0), "eth0", 0);
    let anna = lan.host(0).node("anna", SELDOM);
    let mut bert = lan.host(1).node("bert", SELDOM);
    let line = bert.complains(SOON, "no network");
    println!("{line}");
    bert.is_well();
    let begun = Instant::now();
    lan.plug(lan.host(1), "eth0", 0);
    anna.wait_event("peer-joined", SOON, |e| e["handle"] == "bert");
    bert.wait_event("peer-joined", SOON, |e| e["handle"] == "anna");
    println!("a late interface is used after {:?}", begun.elapsed());
    anna.msg("bert", "hallo");
    bert.hears("anna", "hallo");
}

#[test]
fn no_network_at_all_is_one_line() {
    let Some(lan) = Lan::bare(1) else { return };
    let host = lan.host(0);
    host.ip("link set lo down");
    let mut anna = host.node("anna", "");
    anna.complains(SOON, "no network");
    std::thread::sleep(secs(3));
    anna.is_well();
    let errors = anna.events().iter().filter(|e| e["kind"] == "error").count();
    assert_eq!(errors, 1, "{:#?}", anna.events());
    assert_eq!(anna.code(&["msg", "bert", "hallo"]), 5);
    assert_eq!(anna.handles(), Vec::<String>::new());
}

#[test]
fn two_lans_between_two_hosts_are_two_routes_to_one_peer() {
    let Some(lan) = Lan::new(2) else { return };
    for n in 0..2 {
        lan.plug(lan.host(n), "eth1", 1);
    }
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    let both = |node: &super::node::Node| {
        let who = node.who();
        who.len() == 1 && who[0]["routes"].as_array().unwrap().len() == 2
    };
    assert!(within(SOON, || both(&anna)), "{:#?}", anna.who());
    assert!(within(SOON, || both(&bert)), "{:#?}", bert.who());
    anna.msg("bert", "zwei Wege");
    bert.hears("anna", "zwei Wege");
    std::thread::sleep(secs(1));
    let heard = bert.events();
    let texts = heard.iter().filter(|e| e["kind"] == "message" && e["direction"] == "in");
    assert_eq!(texts.count(), 1, "{heard:#?}");
    // the LAN of the best route is cut while both ends still look well
    let best = anna.peer("bert")["address"].as_str().unwrap().to_owned();
    let cut = u8::from(best.starts_with("10.77.1."));
    lan.cut(lan.host(1), cut);
    anna.reaches(&bert, secs(30));
    bert.reaches(&anna, secs(30));
    assert_eq!(anna.handles(), ["bert"]);
    assert_ne!(anna.peer("bert")["address"], best.as_str());
}

#[test]
fn the_broadcast_address_of_all_networks_where_it_is_asked_for() {
    let Some(lan) = Lan::new(2) else { return };
    let extra = "\n[slcp]\nannounce = 5\nbroadcast = [\"255.255.255.255\"]\n";
    // one without a route for it, one with
    lan.host(1).ip("route add default via 10.77.0.1");
    let anna = lan.host(0).node("anna", extra);
    let mut bert = lan.host(1).node("bert", extra);
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    std::thread::sleep(secs(6));
    for node in [&anna, &bert] {
        let errors = node.events().iter().filter(|e| e["kind"] == "error").count();
        assert!(errors <= 1, "{:#?}", node.events());
    }
    anna.msg("bert", "hallo");
    bert.hears("anna", "hallo");
    bert.must(&["away"]);
    anna.wait_event("peer-away", SOON, |e| e["handle"] == "bert");
    bert.is_well();
}

#[test]
fn a_node_started_again_is_the_same_peer() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    let id = anna.peer("bert")["id"].clone();
    for signal in ["TERM", "KILL"] {
        bert.signal(signal);
        bert.ends();
        anna.mark();
        bert = lan.host(1).node_in(&bert.home().clone(), "t", "bert", "", "");
        // known to be here again, or never missed
        anna.reaches(&bert, SOON);
        bert.reaches(&anna, SOON);
        assert_eq!(anna.peer("bert")["id"], id);
    }
}

#[test]
fn only_the_interfaces_that_are_asked_for() {
    let Some(lan) = Lan::new(3) else { return };
    lan.plug(lan.host(0), "eth1", 1);
    lan.plug(lan.host(2), "eth1", 1);
    lan.host(2).ip("link set eth0 down");
    let anna = lan.host(0).node("anna", "interfaces = [\"eth1\"]\n");
    let bert = lan.host(1).node("bert", "");
    let carl = lan.host(2).node("carl", "");
    anna.sees(&["carl"]);
    carl.sees(&["anna"]);
    anna.msg("carl", "hallo");
    carl.hears("anna", "hallo");
    std::thread::sleep(secs(6));
    assert_eq!(bert.handles(), Vec::<String>::new());
    assert_eq!(anna.handles(), ["carl"]);
}
