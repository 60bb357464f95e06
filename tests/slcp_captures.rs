//! Replay: every SLCP capture is fed in as its bytes came, and what each message meant is held
//! against `data/slcp/<capture>.expect`, one line per message, reviewed by eye against the
//! capture's transcript. `KLATSCH_BLESS=1` writes the files anew: review the difference.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

use klatsch::dialect::slcp::forms::Transport;
use klatsch::dialect::slcp::{
    Entry, ImageHead, Origin, PortKind, Reader, Said, Seen, StreamSaid, datagram, settle,
};

/// The captures; who is at .11 and at .12; the row of the table that both are.
const CAPTURES: &[(&str, &[&str], &[&str], &str)] = &[
    ("slcp-001-Fabianuniii", &["Michael"], &["Fabian", "Fabi"], "fabian"),
    ("slcp-002-lucaatm-main-json", &["Ani"], &["Luca"], "lucaatm-json"),
    ("slcp-002-lucaatm-NO_IPC", &["Ani"], &["Luca"], "no-ipc"),
    ("slcp-Daniyal", &["Alice"], &["Bob"], "daniyal"),
    ("slcp-Maximilian", &["alice"], &["bob"], "maximilian"),
    ("slcp-Rajan286", &["Alice"], &["Bob"], "rajan"),
    ("slcp-RobinSp5", &["alice"], &["bob"], "robin"),
    ("slcp-Tuna-Safak", &["tuna"], &["jana"], "tuna"),
    ("slcp-khan2999", &["Alice"], &["Bob"], "khan"),
    ("slcp-pollo60", &["Ayman"], &["Stefan"], "pollo"),
];

#[test]
fn every_message_means_what_was_typed() {
    let mut wrong = Vec::new();
    for (name, first, second, _) in CAPTURES {
        let found = meanings(&load(name), first, second);
        let path = data(&format!("{name}.expect"));
        if std::env::var_os("KLATSCH_BLESS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            if found != expected {
                wrong.push(format!("{name}:{}\n  found    {found}\n  expected {expected}", n + 1));
            }
        }
        if found.lines().count() != expected.lines().count() {
            wrong.push(format!("{name}: another number of messages"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_program_is_recognised_by_what_it_does() {
    for (name, first, second, form) in CAPTURES {
        let messages = load(name);
        for host in ["192.168.178.11", "192.168.178.12"] {
            let seen = watch(&messages, host, first, second);
            if seen.has_text() {
                assert_eq!(settle(&seen).map(|form| form.name), Some(*form), "{name} at {host}");
            }
        }
    }
}

/// What a capture was cut into by the network is chance: any other cut means the same.
#[test]
fn streams_mean_the_same_however_they_are_cut() {
    for (name, first, second, _) in CAPTURES {
        let mut streams: HashMap<(String, String), Vec<u8>> = HashMap::new();
        for message in load(name).iter().filter(|message| message.stream.is_some()) {
            let key = (message.src.clone(), message.dst.clone());
            streams.entry(key).or_default().extend(&message.bytes);
        }
        for ((_, dst), bytes) in streams {
            let ours = ours(&dst, first, second);
            let is_ours = |handle: &str| ours.iter().any(|o| o.eq_ignore_ascii_case(handle));
            let read = |size: usize| {
                let mut reader = Reader::new(PortKind::Chat);
                let mut said = Vec::new();
                for piece in bytes.chunks(size) {
                    said.extend(reader.push(piece, &is_ours));
                }
                said.extend(reader.end(&is_ours));
                join(said)
            };
            let whole = read(bytes.len());
            for size in 1..bytes.len() {
                assert_eq!(read(size), whole, "{name}, pieces of {size}");
            }
        }
    }
}

struct Message {
    src: String,
    dst: String,
    stream: Option<u64>,
    bytes: Vec<u8>,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/slcp").join(name)
}

fn load(name: &str) -> Vec<Message> {
    let text = std::fs::read_to_string(data(&format!("{name}.jsonl"))).unwrap();
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_string();
        let hex = text("hex");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Message {
            src: text("src"),
            dst: text("dst"),
            stream: value["stream"].as_u64(),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
        }
    };
    text.lines().map(message).collect()
}

/// Who is at the address that a message reaches: a broadcast reaches the other host.
fn ours<'a>(dst: &str, first: &'a [&'a str], second: &'a [&'a str]) -> &'a [&'a str] {
    if dst.contains(".11:") { first } else { second }
}

fn receivers<'a>(m: &Message, first: &'a [&'a str], second: &'a [&'a str]) -> &'a [&'a str] {
    let broadcast = m.dst.contains(".255:");
    match broadcast {
        true if m.src.contains(".11:") => second,
        true => first,
        false => ours(&m.dst, first, second),
    }
}

fn meanings(messages: &[Message], first: &[&str], second: &[&str]) -> String {
    let mut out = String::new();
    let mut readers: HashMap<(String, String), Reader> = HashMap::new();
    // As the machine does: what comes from where an image was promised is that image.
    let mut promised: HashMap<String, u64> = HashMap::new();
    for (n, message) in messages.iter().enumerate() {
        let ours = receivers(message, first, second);
        let is_ours = |handle: &str| ours.iter().any(|o| o.eq_ignore_ascii_case(handle));
        let key = (message.src.clone(), message.dst.clone());
        let transport = if message.stream.is_some() { "tcp" } else { "udp" };
        write!(out, "{transport} {} -> {}  ", message.src, message.dst).unwrap();
        if message.stream.is_none() {
            if let Some(left) = promised.get_mut(&message.src).filter(|left| **left > 0) {
                *left -= message.bytes.len() as u64;
                let bytes = message.bytes.len();
                writeln!(out, "{bytes} bytes of the image, {left} left").unwrap();
                continue;
            }
            match datagram(&message.bytes, &is_ours) {
                Ok(said) => {
                    if let Said::Image(head) = &said {
                        let left = head.size.unwrap() - head.body.len() as u64;
                        promised.insert(message.src.clone(), left);
                    }
                    writeln!(out, "{}", show(&said)).unwrap();
                }
                Err(bad) => writeln!(out, "unreadable: {bad}").unwrap(),
            }
            continue;
        }
        let port = match message.dst.rsplit_once(':').unwrap().1 {
            "18046" => PortKind::ImageOnly,
            "5102" => PortKind::ImagePlus100,
            _ => PortKind::Chat,
        };
        let reader = readers.entry(key).or_insert_with(|| Reader::new(port));
        let mut said = reader.push(&message.bytes, &is_ours);
        let later = |other: &&Message| other.stream == message.stream;
        match messages[n + 1..].iter().find(later) {
            Some(answer) if answer.src == message.dst => said.extend(reader.idle(&is_ours)),
            Some(_) => {}
            None => said.extend(reader.end(&is_ours)),
        }
        let mut shown: Vec<String> = join(said).iter().map(show_stream).collect();
        if shown.is_empty() {
            shown.push("-".into());
        }
        writeln!(out, "{}", shown.join("; ")).unwrap();
    }
    out
}

/// All that one host was seen to do, by the other.
fn watch(messages: &[Message], host: &str, first: &[&str], second: &[&str]) -> Seen {
    let mut seen = Seen::default();
    let mut readers: HashMap<(String, String), Reader> = HashMap::new();
    let mut promised = 0;
    for (n, message) in messages.iter().enumerate() {
        let (ip, port) = message.src.rsplit_once(':').unwrap();
        if ip != host {
            continue;
        }
        let ours = receivers(message, first, second);
        let is_ours = |handle: &str| ours.iter().any(|o| o.eq_ignore_ascii_case(handle));
        let udp = message.stream.is_none();
        if udp && promised > 0 {
            promised -= message.bytes.len() as u64;
        } else if udp {
            let said = datagram(&message.bytes, &is_ours).unwrap();
            let origin = match &said {
                _ if port == "4000" => Origin::Discovery,
                Said::Join { port: joined, .. } if joined.to_string() == port => Origin::Chat,
                _ => Origin::Other,
            };
            if let Said::Image(head) = &said {
                promised = head.size.unwrap() - head.body.len() as u64;
            }
            // Typed in by hand for another host.
            if !matches!(&said, Said::Join { handle, .. } if handle.as_str() == "Fremd") {
                seen.note(&said, Transport::Udp, origin);
            }
        } else {
            let key = (message.src.clone(), message.dst.clone());
            let reader = readers.entry(key).or_insert_with(|| Reader::new(PortKind::Chat));
            let mut said = reader.push(&message.bytes, &is_ours);
            if !messages[n + 1..].iter().any(|later| later.stream == message.stream) {
                said.extend(reader.end(&is_ours));
            }
            for said in said {
                match said {
                    StreamSaid::Said(said) => seen.note(&said, Transport::Tcp, Origin::Other),
                    StreamSaid::ImageStart(head) => seen.note_image(&head, Transport::Tcp),
                    _ => {}
                }
            }
        }
    }
    seen
}

/// Neighbouring pieces of an image made one.
fn join(said: Vec<StreamSaid>) -> Vec<StreamSaid> {
    let mut out: Vec<StreamSaid> = Vec::new();
    for said in said {
        match (out.last_mut(), said) {
            (Some(StreamSaid::ImageBytes(all)), StreamSaid::ImageBytes(more)) => all.extend(more),
            (Some(StreamSaid::Raw(all)), StreamSaid::Raw(more)) => all.extend(more),
            (_, said) => out.push(said),
        }
    }
    out
}

fn show_stream(said: &StreamSaid) -> String {
    match said {
        StreamSaid::Said(said) => show(said),
        StreamSaid::ImageStart(head) => show_head(head),
        StreamSaid::ImageBytes(bytes) => format!("{} bytes of the image", bytes.len()),
        StreamSaid::ImageEnd => "whole".into(),
        other => format!("{other:?}"),
    }
}

fn show(said: &Said) -> String {
    match said {
        Said::Join { handle, ip, port, udp_port, style } => format!(
            "{handle} joins at {}:{port}{} ({:?}{})",
            ip.map(|ip| ip.to_string()).unwrap_or_default(),
            udp_port.map(|port| format!("/{port}")).unwrap_or_default(),
            style.shape,
            end(style.newline),
        ),
        Said::Leave { handle } => format!("{handle} leaves"),
        Said::Who { handle, reply_port, json } => format!(
            "who? from {}{}{}",
            name(handle.as_ref()),
            reply_port.map(|port| format!(" to {port}")).unwrap_or_default(),
            if *json { " (Json)" } else { "" },
        ),
        Said::Whois { wanted, port } => format!("who is {wanted}? {port:?}"),
        Said::Iam(entry) => format!("I am {}", show_entry(entry)),
        Said::List { entries, style } => {
            let entries: Vec<String> = entries.iter().map(show_entry).collect();
            let how = style.separator.map(|s| format!(", {s:?}")).unwrap_or_default();
            let end = end(style.newline);
            format!("list [{}] ({:?}{how}{end})", entries.join(", "), style.word)
        }
        Said::Away { handle } => format!("{handle} is away"),
        Said::Back { handle } => format!("{handle} is back"),
        Said::Text { from, to, text, autoreply, style } => format!(
            "{} to {}: «{text}»{} ({:?}{}{})",
            name(from.as_ref()),
            name(to.as_ref()),
            if *autoreply { " autoreply" } else { "" },
            style.first,
            style.quoting.map(|q| format!(", quotes {q:?}")).unwrap_or_default(),
            end(style.newline),
        ),
        Said::Image(head) => show_head(head),
        other => format!("{other:?}"),
    }
}

fn show_head(head: &ImageHead) -> String {
    let mut out = format!("image from {}", name(head.from.as_ref()));
    write!(out, " to {}", name(head.to.as_ref())).unwrap();
    if let Some(name) = &head.name {
        write!(out, " named {name}").unwrap();
    }
    match head.size {
        Some(size) => write!(out, ", {size} bytes").unwrap(),
        None => out += ", size unknown",
    }
    if !head.body.is_empty() {
        write!(out, ", {} of them here", head.body.len()).unwrap();
    }
    write!(out, " ({:?})", head.style).unwrap();
    out
}

fn show_entry(entry: &Entry) -> String {
    let away = if entry.away { " away" } else { "" };
    format!("{} {}:{}{away}", entry.handle, entry.ip, entry.port)
}

fn name(handle: Option<&klatsch::model::Handle>) -> &str {
    handle.map_or("?", |handle| handle.as_str())
}

fn end(newline: bool) -> &'static str {
    if newline { ", line" } else { "" }
}

/// The table of forms that people read names each form of the code, and no other.
#[test]
fn the_documented_forms_are_the_forms() {
    let text = include_str!("../docs/protocols.md");
    let table = text.split("| form |").nth(1).and_then(|t| t.split("\n\n").next()).unwrap();
    let named: Vec<&str> =
        table.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect();
    let forms: Vec<&str> = klatsch::dialect::slcp::FORMS.iter().map(|f| f.name).collect();
    assert_eq!(named, forms);
}
