//! The rows of the dialects: each has its switch, and what its programs differ in.

use std::net::Ipv4Addr;

use super::values::*;
use super::{ANNOUNCE, Kind, ROW, Row, Wrong};
use crate::model::limits::MAX_HANDLE;
use crate::model::text::harmless;

pub(super) static ROWS: &[Row] = &[
    Row {
        key: "slcp.enabled",
        help: "speak the Simple Local Chat Protocol",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.slcp.enabled),
        set: |s, v| switch(v).map(|on| s.slcp.enabled = on),
        ..ROW
    },
    Row {
        key: "slcp.port",
        help: "the discovery port (\"whoisport\")",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.slcp.port.to_string(),
        set: |s, v| port(v).map(|p| s.slcp.port = p),
        ..ROW
    },
    Row {
        key: "slcp.broadcast",
        help: "further broadcast addresses, such as 255.255.255.255",
        expected: "up to 8 IPv4 addresses with commas between, or nothing",
        live: true,
        kind: Kind::List,
        get: |s| s.slcp.broadcast.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", "),
        set: |s, v| addresses(v).map(|list| s.slcp.broadcast = list),
        ..ROW
    },
    Row {
        key: "slcp.announce",
        help: "seconds between announcements of ourselves",
        expected: "5 to 3600",
        live: true,
        kind: Kind::Number,
        get: |s| s.slcp.announce.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| ANNOUNCE.contains(n));
            s.slcp.announce = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "slcp.image-port",
        help: "UDP port for images in the NO_IPC form; 0 for none",
        expected: "a port from 0 to 65535",
        kind: Kind::Number,
        get: |s| s.slcp.image_port.to_string(),
        set: |s, v| {
            s.slcp.image_port = v.parse().map_err(|_| Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "link.enabled",
        help: "the encrypted link between klatsch boxes, on which nothing is lost",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.link.enabled),
        set: |s, v| switch(v).map(|on| s.link.enabled = on),
        ..ROW
    },
    Row {
        key: "link.port",
        help: "UDP port of its beacons, and the first TCP port tried for its sessions",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.link.port.to_string(),
        set: |s, v| port(v).map(|p| s.link.port = p),
        ..ROW
    },
    Row {
        key: "link.beacon",
        help: "find other boxes by multicast; off: only those that are named ([[link.peer]])",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.link.beacon),
        set: |s, v| switch(v).map(|on| s.link.beacon = on),
        ..ROW
    },
    Row {
        key: "link.announce",
        help: "seconds between two beacons",
        expected: "10 to 3600",
        kind: Kind::Number,
        get: |s| s.link.announce.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| (10..=3_600).contains(n));
            s.link.announce = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "link.read",
        help: "say when somebody's message was read, and hear it of ours where both do",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.link.read),
        set: |s, v| switch(v).map(|on| s.link.read = on),
        ..ROW
    },
    Row {
        key: "link.tell",
        help: "tell linked boxes where others are, and call those that they tell of",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.link.tell),
        set: |s, v| switch(v).map(|on| s.link.tell = on),
        ..ROW
    },
    Row {
        key: "hello.enabled",
        help: "speak the hello chat (JSON hello, one shared chat: the lobby)",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.hello.enabled),
        set: |s, v| switch(v).map(|on| s.hello.enabled = on),
        ..ROW
    },
    Row {
        key: "hello.port",
        help: "its UDP and TCP port",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.hello.port.to_string(),
        set: |s, v| port(v).map(|p| s.hello.port = p),
        ..ROW
    },
    Row {
        key: "hello.peer-id",
        help: "our name in it; empty for the handle",
        expected: "a name of at most 64 bytes, or nothing",
        live: true,
        get: |s| s.hello.peer_id.clone().unwrap_or_default(),
        set: |s, v| {
            if v.len() > MAX_HANDLE || harmless(v) != v {
                return Err(Wrong::Value);
            }
            s.hello.peer_id = Some(v.to_owned()).filter(|v| !v.is_empty());
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "hello.broadcast",
        help: "further broadcast addresses, such as 172.31.255.255",
        expected: "up to 8 IPv4 addresses with commas between, or nothing",
        live: true,
        kind: Kind::List,
        get: |s| s.hello.broadcast.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", "),
        set: |s, v| addresses(v).map(|list| s.hello.broadcast = list),
        ..ROW
    },
    Row {
        key: "hello.announce",
        help: "seconds between two hellos",
        expected: "1 to 60",
        live: true,
        kind: Kind::Number,
        get: |s| s.hello.announce.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| (1..=60).contains(n));
            s.hello.announce = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "hello.web-ports",
        help: "the ports of its web API, on which scripts read and send; empty for none",
        expected: "up to 4 ports with commas between, or nothing",
        kind: Kind::List,
        get: |s| s.hello.web_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        set: |s, v| ports(v).map(|list| s.hello.web_ports = list),
        ..ROW
    },
    Row {
        key: "hello.web-address",
        help: "where its web API listens; 0.0.0.0 lets all of the LAN read and send by it",
        expected: "an IPv4 address of this machine, such as 127.0.0.1",
        get: |s| s.hello.web_address.to_string(),
        set: |s, v| {
            s.hello.web_address = v.parse().map_err(|_| Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "room.enabled",
        help: "speak the room (register and broadcast, private chats)",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.room.enabled),
        set: |s, v| switch(v).map(|on| s.room.enabled = on),
        ..ROW
    },
    Row {
        key: "room.server",
        help: "be a server of it",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.room.server),
        set: |s, v| switch(v).map(|on| s.room.server = on),
        ..ROW
    },
    Row {
        key: "room.port",
        help: "the server's TCP port",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.room.port.to_string(),
        set: |s, v| port(v).map(|p| s.room.port = p),
        ..ROW
    },
    Row {
        key: "room.connect",
        help: "another's server to register at, such as 192.168.1.5; empty for none",
        expected: PLACE,
        live: true,
        get: |s| place(s.room.connect),
        set: |s, v| at(v, s.room.port).map(|at| s.room.connect = at),
        ..ROW
    },
    Row {
        key: "room.discover",
        help: "look for a server at the addresses of peers, where none is set",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.room.discover),
        set: |s, v| switch(v).map(|on| s.room.discover = on),
        ..ROW
    },
    Row {
        key: "room.chat-port",
        help: "private chats: each user has a port from here on",
        expected: "a port from 1024 to 65472",
        kind: Kind::Number,
        get: |s| s.room.chat_port.to_string(),
        set: |s, v| {
            let port = port(v)?;
            s.room.chat_port =
                (1024..=65_472).contains(&port).then_some(port).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "directory.enabled",
        help: "speak the directory (login by UDP, chats over TCP)",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.directory.enabled),
        set: |s, v| switch(v).map(|on| s.directory.enabled = on),
        ..ROW
    },
    Row {
        key: "directory.server",
        help: "be a server of it",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.directory.server),
        set: |s, v| switch(v).map(|on| s.directory.server = on),
        ..ROW
    },
    Row {
        key: "directory.port",
        help: "the server's UDP port",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.directory.port.to_string(),
        set: |s, v| port(v).map(|p| s.directory.port = p),
        ..ROW
    },
    Row {
        key: "directory.connect",
        help: "another's server to log in at, such as 127.0.0.1; empty for none",
        expected: PLACE,
        get: |s| place(s.directory.connect),
        set: |s, v| at(v, s.directory.port).map(|at| s.directory.connect = at),
        ..ROW
    },
    Row {
        key: "directory.chat-port",
        help: "the TCP port of its chats; its own programs know 5001 alone",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.directory.chat_port.to_string(),
        set: |s, v| port(v).map(|p| s.directory.chat_port = p),
        ..ROW
    },
    Row {
        key: "directory.loopback",
        help: "take chats on 127.0.0.1 too, where the port is its own programs'",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.directory.loopback),
        set: |s, v| switch(v).map(|on| s.directory.loopback = on),
        ..ROW
    },
];
