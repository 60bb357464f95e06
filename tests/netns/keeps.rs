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
