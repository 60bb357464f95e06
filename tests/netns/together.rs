//! Hosts that are well: finding, texts, images, leaving.

use std::time::{Duration, Instant};

use super::lan::Lan;
use super::node::{SELDOM, SOON, busy, secs};
use super::picture::png;

#[test]
fn two_hosts_find_each_other_and_chat() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    let peer = anna.peer("bert");
    assert_eq!(peer["address"], lan.host(1).address(0));
    assert_eq!(peer["port"], 5010);
    assert_eq!(peer["presence"], "online");
    assert_eq!(peer["dialect"], serde_json::json!(["slcp"]));
    assert_eq!(peer["routes"].as_array().unwrap().len(), 1, "{peer}");
    for text in ["Hallo Bert, äöü €", "MSG anna oh", "", "\"quoted\" \\ back"] {
        if !text.is_empty() {
            anna.msg("bert", text);
            let heard = bert.hears("anna", text);
            assert_eq!((&heard["to"], &heard["user"]), (&"bert".into(), &"bert".into()));
        }
    }
    bert.msg("anna", "zurück");
    let heard = anna.hears("bert", "zurück");
    assert_eq!((&heard["to"], &heard["dialect"]), (&"anna".into(), &"slcp".into()));
}

#[test]
fn three_hosts_find_each_other_and_the_late_one_soon() {
    let Some(lan) = Lan::new(3) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    std::thread::sleep(secs(5)); // past the announcements of the beginning
    let begun = Instant::now();
    let carl = lan.host(2).node("carl", "");
    let joined = |name: &'static str| move |e: &serde_json::Value| e["handle"] == name;
    for (node, name) in [(&anna, "carl"), (&bert, "carl"), (&carl, "anna"), (&carl, "bert")] {
        node.wait_event("peer-joined", SOON, joined(name));
        let took = begun.elapsed();
        println!("late join: {name} is seen after {took:?}, the start of the process included");
        let most = Duration::from_millis(2_500) + busy();
        assert!(took < most, "{name} was seen after {took:?} only");
    }
    carl.sees(&["anna", "bert"]);
    carl.must(&["all", "an alle"]);
    anna.hears("carl", "an alle");
    bert.hears("carl", "an alle");
    carl.msg("anna,bert", "an beide");
    anna.hears("carl", "an beide");
    bert.hears("carl", "an beide");
}

#[test]
fn exit_codes_tell_a_script_what_became_of_it() {
    let Some(lan) = Lan::new(3) else { return };
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    assert_eq!(anna.code(&["msg", "bert", "hallo"]), 0);
    assert_eq!(anna.code(&["msg", "nobody", "hallo"]), 5);
    let other = lan.host(2).node("bert", "");
    other.sees(&["anna", "bert"]);
    anna.sees(&["bert", "bert"]);
    assert_eq!(anna.code(&["msg", "bert", "hallo"]), 6);
    assert_eq!(anna.code(&["msg", "bert@slcp", "hallo"]), 6);
    let there = format!("bert@{}", lan.host(2).address(0));
    anna.msg(&there, "an den zweiten");
    other.hears("anna", "an den zweiten");
    // a dead program on a living host
    bert.signal("KILL");
    bert.ends();
    let dead = format!("bert@{}", lan.host(1).address(0));
    let receipts = anna.json(&["msg", &dead, "hallo?"]);
    assert_eq!(receipts[0]["state"], "queued", "{receipts:?}");
    assert!(receipts[0]["reason"].as_str().is_some_and(|r| !r.is_empty()), "{receipts:?}");
    // and then it is nobody
    assert_eq!(bert.code(&["status"]), 69);
    assert_eq!(bert.code(&["msg", "anna", "x"]), 69);
}

#[test]
fn a_text_that_waits_exits_with_3_and_an_image_that_failed_with_4() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.signal("KILL");
    bert.ends();
    let (path, _) = png(anna.home().path(), 4, 4);
    let begun = Instant::now();
    assert_eq!(anna.code(&["img", "bert", path.to_str().unwrap()]), 4);
    anna.wait_event("delivery", SOON, |e| e["state"] == "failed");
    assert_eq!(anna.code(&["msg", "bert", "hallo?"]), 3);
    assert!(begun.elapsed() < secs(6) + busy());
    anna.wait_event("delivery", SOON, |e| e["state"] == "queued");
    anna.wait_event("peer-left", SOON, |e| e["handle"] == "bert");
}

#[test]
fn images_go_both_ways_whole() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    let sizes = [(4, 4), (640, 480), (2_000, 1_500)];
    for (from, to, name) in [(&anna, &bert, "anna"), (&bert, &anna, "bert")] {
        let other = if name == "anna" { "bert" } else { "anna" };
        for (width, height) in sizes {
            let (path, bytes) = png(from.home().path(), width, height);
            let begun = Instant::now();
            from.must(&["img", other, path.to_str().unwrap()]);
            let seen =
                to.wait_event("image", SOON, |e| e["direction"] == "in" && e["width"] == width);
            println!("image of {} bytes in {:?}", bytes.len(), begun.elapsed());
            assert_eq!(seen["from"], name);
            assert_eq!(seen["to"], other);
            assert_eq!(seen["format"], "png");
            assert_eq!((&seen["width"], &seen["height"]), (&width.into(), &height.into()));
            assert_eq!(seen["size"], bytes.len());
            let kept = std::path::Path::new(seen["path"].as_str().unwrap());
            assert_eq!(std::fs::read(kept).unwrap(), bytes);
            let kept = kept.file_name().unwrap().to_str().unwrap();
            assert!(kept.starts_with(name) && kept.ends_with(".png"), "{kept}");
            assert!(!kept.contains("picture"), "the sender's name: {kept}");
            to.wait_event("transfer", SOON, |e| e["id"] == seen["id"] && e["state"] == "done");
        }
    }
}

#[test]
fn leaving_is_seen_at_once() {
    let Some(lan) = Lan::new(3) else { return };
    let mut anna = lan.host(0).node("anna", SELDOM);
    let bert = lan.host(1).node("bert", SELDOM);
    let mut carl = lan.host(2).node("carl", SELDOM);
    anna.sees(&["bert", "carl"]);
    bert.sees(&["anna", "carl"]);
    let begun = Instant::now();
    bert.must(&["leave"]);
    anna.sees_leave("bert");
    println!("LEAVE is seen after {:?}", begun.elapsed());
    anna.mark();
    bert.must(&["join"]);
    anna.wait_event("peer-joined", SOON, |e| e["handle"] == "bert");
    let begun = Instant::now();
    carl.signal("TERM");
    anna.sees_leave("carl");
    println!("SIGTERM is seen after {:?}", begun.elapsed());
    bert.sees_leave("carl");
    assert_eq!(carl.ends(), Some(0));
    std::thread::sleep(secs(2));
    assert_eq!(anna.handles(), ["bert"], "whoever left stays away");
}

#[test]
fn whoever_is_killed_is_noticed_in_time() {
    let Some(lan) = Lan::new(2) else { return };
    let mut anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    std::thread::sleep(secs(5)); // nothing is under way any more that its host could refuse
    anna.mark();
    bert.signal("KILL");
    bert.ends();
    let begun = Instant::now();
    let left = anna.wait_event("peer-left", secs(15), |e| e["handle"] == "bert");
    println!("kill -9 is noticed after {:?} (announce = 5): {}", begun.elapsed(), left["reason"]);
    let receipts = anna.json(&["msg", "bert", "hallo"]);
    assert_eq!(
        (&receipts[0]["state"], &receipts[0]["reason"]),
        (&"queued".into(), &"not here".into())
    );
}

#[test]
fn away_back_and_another_handle_are_seen() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", SELDOM);
    let away = format!("autoreply = \"Bin beim Essen.\"\n{SELDOM}");
    let mut bert = lan.host(1).node("bert", &away);
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    bert.must(&["away"]);
    anna.wait_event("peer-away", SOON, |e| e["handle"] == "bert");
    anna.msg("bert", "da?");
    let reply = anna.wait_event("message", SOON, |e| e["direction"] == "in");
    assert_eq!((&reply["autoreply"], &reply["text"]), (&true.into(), &"Bin beim Essen.".into()));
    anna.msg("bert", "immer noch?");
    bert.must(&["back"]);
    anna.wait_event("peer-back", SOON, |e| e["handle"] == "bert");
    bert.must(&["handle", "berta"]);
    anna.wait_event("peer-renamed", SOON, |e| e["handle"] == "berta" && e["old"] == "bert");
    anna.sees(&["berta"]);
    bert.mark();
    anna.msg("berta", "neu");
    bert.hears("anna", "neu");
    let replies = anna.events();
    let replies = replies.iter().filter(|e| e["kind"] == "message" && e["direction"] == "in");
    assert_eq!(replies.count(), 1, "one autoreply per peer and period");
}

#[test]
fn a_long_text_comes_whole_in_parts_and_a_longer_one_is_refused() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    let words: Vec<String> = (0..250).map(|n| format!("Wört{n}")).collect();
    let text = words.join(" ");
    anna.msg("bert", &text);
    bert.wait_event("message", SOON, |e| e["text"].as_str().unwrap().ends_with("Wört249"));
    let events = bert.events();
    let parts = events.iter().filter(|e| e["kind"] == "message").map(|e| e["text"].as_str());
    let parts: Vec<&str> = parts.map(Option::unwrap).collect();
    println!("{} bytes in {} parts", text.len(), parts.len());
    assert!((2..=8).contains(&parts.len()), "{parts:#?}");
    assert_eq!(parts.join(" "), text);
    let out = anna.cli(&["msg", "bert", &"x".repeat(5_000)]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert_eq!(bert.events().len(), events.len(), "nothing of it was sent");
}

#[test]
fn a_taken_handle_is_said_and_a_free_one_chosen() {
    let Some(lan) = Lan::new(4) else { return };
    let anna = lan.host(0).node("anna", "");
    let other = lan.host(1).node("anna", "");
    let line = anna.complains(SOON, "anna is also the handle of someone");
    assert!(line.contains(&lan.host(1).address(0)) && line.contains("HANDLE anna2"), "{line}");
    other.complains(SOON, "is also the handle");
    other.must(&["handle", "berta"]);
    anna.sees(&["berta"]);
    // whoever has set none looks first who is there
    let first = lan.host(2).node("", "");
    anna.wait_event("peer-joined", SOON, |e| e["address"] == lan.host(2).address(0));
    let second = lan.host(3).node("", "");
    anna.wait_event("peer-joined", SOON, |e| e["address"] == lan.host(3).address(0));
    let mine = |n: &super::node::Node| n.status()["users"][0]["handle"].as_str().map(str::to_owned);
    assert_ne!(mine(&first), mine(&second));
    println!("without a handle: {:?} and {:?}", mine(&first), mine(&second));
    assert_eq!(anna.who().len(), 3);
}

#[test]
fn a_blocked_peer_is_silent() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    anna.must(&["block", "bert"]);
    bert.msg("anna", "eins");
    std::thread::sleep(secs(1));
    assert_eq!(anna.code(&["status"]), 0); // it has had its turn
    anna.must(&["unblock", "bert"]);
    bert.msg("anna", "zwei");
    anna.hears("bert", "zwei");
    let heard = anna.events();
    assert!(!heard.iter().any(|e| e["text"] == "eins"), "{heard:#?}");
}
