//! What waits for somebody who is not here, with real programs and a real disk.

use std::sync::Arc;

use serde_json::Value;

use super::lan::Lan;
use super::node::{Node, SOON, secs, within};

/// States and reasons of what a node sent, oldest first, as `history` has them.
fn states(node: &Node, who: &str) -> Vec<(String, Value)> {
    let entries = node.json(&["history", who]);
    let out = entries.iter().filter(|e| e["direction"] == "out");
    out.map(|e| {
        let to = &e["recipients"][0];
        (to["state"].as_str().unwrap().to_owned(), to["reason"].clone())
    })
    .collect()
}

#[test]
fn what_waits_survives_kill_9_and_arrives_when_its_recipient_is_back() {
    let Some(lan) = Lan::new(2) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let mut anna = lan.host(0).node_in(&home, "t", "anna", "", "");
    let mut bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    anna.msg("bert", "eins");
    bert.hears("anna", "eins");
    bert.signal("TERM");
    bert.ends();
    anna.sees(&[]);
    let waits = ("queued".to_owned(), Value::from("not here"));
    for text in ["zwei", "drei", "vier"] {
        let out = anna.cli(&["msg", "bert", text, "--json"]);
        assert_eq!(out.status.code(), Some(3), "{out:?}");
        let receipt: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!((&receipt["state"], &receipt["reason"]), (&"queued".into(), &waits.1));
        // the event says the same
        let event = anna.wait_event("delivery", SOON, |e| e["id"] == receipt["id"]);
        assert_eq!((&event["state"], &event["reason"]), (&"queued".into(), &waits.1));
    }
    anna.signal("KILL");
    anna.ends();
    let mut anna = lan.host(0).node_in(&home, "t", "anna", "", "");
    // command line, socket and console say the same of it
    let sent = ("sent".to_owned(), Value::Null);
    let wanted = [sent.clone(), waits.clone(), waits.clone(), waits];
    assert_eq!(states(&anna, "bert"), wanted);
    let shown = anna.must(&["history", "bert"]);
    assert_eq!(shown.matches("[queued: not here]").count(), 3, "{shown}");
    assert_eq!(anna.console("HISTORY bert\n").matches("[queued: not here]").count(), 3);
    anna.mark();
    let bert = lan.host(1).node("bert", "");
    for text in ["zwei", "drei", "vier"] {
        bert.hears("anna", text);
    }
    let events = bert.events();
    let texts: Vec<&Value> =
        events.iter().filter(|e| e["kind"] == "message").map(|e| &e["text"]).collect();
    assert_eq!(texts, ["zwei", "drei", "vier"], "in their order, each once");
    anna.wait_event("delivery", SOON, |e| e["state"] == "sent");
    assert!(within(SOON, || states(&anna, "bert") == vec![sent.clone(); 4]));
    let found = anna.json(&["search", "DREI"]);
    assert_eq!((found.len(), &found[0]["body"]["text"]), (1, &"drei".into()));
    assert_eq!(bert.json(&["history", "anna"]).len(), 3);
}

#[test]
fn a_text_to_a_killed_program_comes_back_and_goes_out_when_it_runs_again() {
    let Some(lan) = Lan::new(2) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node_in(&home, "t", "bert", "", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    bert.msg("anna", "da"); // so it is known how it is spoken to
    anna.hears("bert", "da");
    bert.signal("KILL");
    bert.ends();
    let out = anna.cli(&["msg", "bert", "hallo", "--json"]);
    let receipt: Value = serde_json::from_slice(&out.stdout).unwrap();
    println!("to a port nobody listens on: {} ({})", receipt["state"], receipt["reason"]);
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    let bert = lan.host(1).node_in(&home, "t", "bert", "", "");
    bert.hears("anna", "hallo");
    std::thread::sleep(secs(3));
    let events = bert.events();
    assert_eq!(events.iter().filter(|e| e["text"] == "hallo").count(), 1);
}

/// The kernel says so after three seconds: a text is not forgotten before.
#[test]
fn a_text_to_a_host_without_power_comes_back_and_goes_out_when_it_is_up_again() {
    let Some(lan) = Lan::new(2) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let anna = lan.host(0).node("anna", "");
    let mut bert = lan.host(1).node_in(&home, "t", "bert", "", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    bert.signal("KILL");
    bert.ends();
    lan.cable(lan.host(1), 0, false);
    lan.host(0).ip("neigh flush all");
    assert_eq!(anna.code(&["msg", "bert", "hallo"]), 0, "for now it left");
    let event = anna.wait_event("delivery", SOON, |e| e["state"] == "queued");
    println!("a host without power: {}", event["reason"]);
    lan.cable(lan.host(1), 0, true);
    let bert = lan.host(1).node_in(&home, "t", "bert", "", "");
    bert.hears("anna", "hallo");
}

#[test]
fn an_export_is_taken_in_elsewhere_once() {
    let Some(lan) = Lan::new(2) else { return };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    bert.sees(&["anna"]);
    for n in 0..30 {
        anna.msg("bert", &format!("Zeile {n}"));
    }
    bert.hears("anna", "Zeile 29");
    let file = bert.home().path().join("all.jsonl");
    std::fs::write(&file, bert.must(&["export", "--json"])).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(anna.must(&["import", path]), "30 new\n");
    assert_eq!(anna.must(&["import", path]), "0 new\n");
    let text = bert.must(&["export", "--messages-txt"]);
    assert_eq!(text.lines().count(), 30, "{text}");
    let shaped = |l: &str| l.starts_with('[') && l.contains("]anna: Zeile ");
    assert!(text.lines().all(shaped), "{text}");
    std::fs::write(&file, "{\"no\": \"entry\"}\n").unwrap();
    let out = anna.cli(&["import", path]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("line 1"), "{out:?}");
    assert_eq!(anna.must(&["forget", "--all"]).trim(), "60 entries");
    assert_eq!(anna.json(&["history"]), [Value::Null; 0]);
}
