//! The captures of real programs: who said what to whom, as bytes.

use std::path::PathBuf;

use crate::bench::{Bench, To, settings};
use klatsch::config::Kept;
use klatsch::model::StreamId;

/// One message of a capture.
pub struct Message {
    pub at: u64,
    pub src: String,
    pub dst: String,
    pub stream: Option<u64>,
    pub bytes: Vec<u8>,
}

/// A capture, and the two who speak in it.
pub struct Capture {
    pub name: &'static str,
    /// At .11 and at .12: handle and chat port.
    pub who: [(&'static str, u16); 2],
    /// The row of the table that both are.
    pub form: &'static str,
}

pub const CAPTURES: &[Capture] = &[
    Capture {
        name: "slcp-001-Fabianuniii",
        who: [("Michael", 12345), ("Fabian", 12346)],
        form: "fabian",
    },
    Capture {
        name: "slcp-002-lucaatm-main-json",
        who: [("Ani", 5001), ("Luca", 5002)],
        form: "lucaatm-json",
    },
    Capture {
        name: "slcp-002-lucaatm-NO_IPC",
        who: [("Ani", 5001), ("Luca", 5002)],
        form: "no-ipc",
    },
    Capture { name: "slcp-Daniyal", who: [("Alice", 5000), ("Bob", 5001)], form: "daniyal" },
    Capture {
        name: "slcp-Maximilian",
        who: [("alice", 36619), ("bob", 39757)],
        form: "maximilian",
    },
    Capture { name: "slcp-Rajan286", who: [("Alice", 5010), ("Bob", 5011)], form: "rajan" },
    Capture { name: "slcp-RobinSp5", who: [("alice", 5001), ("bob", 5001)], form: "robin" },
    // Tuna writes its own handle with a capital in texts and small in JOIN
    Capture { name: "slcp-Tuna-Safak", who: [("Tuna", 5000), ("Jana", 5000)], form: "tuna" },
    Capture { name: "slcp-khan2999", who: [("Alice", 5011), ("Bob", 5012)], form: "khan" },
    Capture { name: "slcp-pollo60", who: [("Ayman", 5000), ("Stefan", 5001)], form: "pollo" },
];

pub const IPS: [&str; 2] = ["192.168.178.11", "192.168.178.12"];

pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/slcp").join(name)
}

impl Capture {
    pub fn load(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(data(&format!("{}.jsonl", self.name))).unwrap();
        let message = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| value[key].as_str().unwrap().to_string();
            let hex = text("hex");
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            Message {
                at: (value["t"].as_f64().unwrap() * 1_000.0) as u64,
                src: text("src"),
                dst: text("dst"),
                stream: value["stream"].as_u64(),
                bytes: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        };
        text.lines().map(message).collect()
    }

    /// A node that stands in for one side.
    pub fn stand_in(&self, side: usize) -> Bench {
        let (handle, port) = self.who[side];
        let mut settings = settings(handle, Some(port));
        if self.form == "fabian" {
            settings.users[0].image_port = Some(18046);
        }
        let mut bench = Bench::with(settings, Kept::default(), IPS[side]);
        bench.advance(100);
        bench
    }

    /// Says to the node on `side` what the other side said to it or to everyone; `stop` ends it.
    pub fn replay(&self, bench: &mut Bench, side: usize, stop: impl Fn(&Message) -> bool) {
        let messages = self.load();
        let start = bench.mono;
        let mut open: Vec<(u64, StreamId)> = Vec::new();
        for (n, m) in messages.iter().enumerate() {
            let (ip, port) = m.dst.rsplit_once(':').unwrap();
            if !m.src.starts_with(&format!("{}:", IPS[1 - side])) || stop(m) {
                continue;
            }
            let due = start + m.at;
            if due > bench.mono {
                bench.advance(due - bench.mono);
            }
            let port: u16 = port.parse().unwrap();
            let Some(id) = m.stream else {
                let to = match port {
                    4000 => To::Discovery,
                    6000 => To::ImageUdp,
                    _ => To::Chat,
                };
                let at = if ip.ends_with(".255") { "192.168.178.255" } else { IPS[side] };
                bench.datagram_to(m.src.parse().unwrap(), to, at.parse().unwrap(), &m.bytes);
                continue;
            };
            let first = messages.iter().find(|o| o.stream == m.stream).unwrap();
            if first.src != m.src {
                continue; // an answer on a connection that the real program made
            }
            let known = open.iter().find(|(i, _)| *i == id).map(|(_, s)| *s);
            let stream = known.unwrap_or_else(|| {
                let stream = bench.stream(&m.src, To::TcpPort(port));
                open.push((id, stream));
                stream
            });
            assert!(bench.bytes(stream, &m.bytes), "{}: stream {id} is not read", self.name);
            let more = |o: &Message| o.stream == m.stream && o.src == m.src;
            let waits = messages[n + 1..].iter().find(|o| o.stream == m.stream);
            if waits.is_some_and(|o| o.src != m.src) {
                bench.advance(1_500); // it waits for an answer
            }
            if !messages[n + 1..].iter().any(more) {
                bench.end(stream);
            }
        }
        bench.advance(1_500);
    }
}
