//! The rows of the page.

use super::values::*;
use super::{IMAGE_BYTES, Kind, ROW, Row, Wrong};
use crate::config::web;

pub(super) static ROWS: &[Row] = &[
    Row {
        key: "web.enabled",
        help: "serve the page, for phones and laptops without a chat program",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.web.enabled),
        set: |s, v| switch(v).map(|on| s.web.enabled = on),
        ..ROW
    },
    Row {
        key: "web.listen",
        help: "the address that the page is served at; empty for all",
        expected: "an IP address of this machine, or nothing",
        get: |s| s.web.listen.map_or(String::new(), |ip| ip.to_string()),
        set: |s, v| {
            s.web.listen = match v {
                "" => None,
                v => Some(v.parse().map_err(|_| Wrong::Value)?),
            };
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "web.port",
        help: "the page's port; where it is taken, one of the next 15",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.web.port.to_string(),
        set: |s, v| port(v).map(|p| s.web.port = p),
        ..ROW
    },
    Row {
        key: "web.names",
        help: "further names that browsers may call the page by",
        expected: "up to 8 host names with commas between, or nothing",
        live: true,
        kind: Kind::List,
        get: |s| s.web.names.join(", "),
        set: |s, v| hosts(v).map(|list| s.web.names = list),
        ..ROW
    },
    Row {
        key: "web.open",
        help: "let newcomers in by the page",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.web.open),
        set: |s, v| switch(v).map(|on| s.web.open = on),
        ..ROW
    },
    Row {
        key: "web.pin",
        help: "the house PIN that newcomers must know; empty for none",
        expected: PIN,
        live: true,
        get: |s| s.web.pin.clone(),
        set: |s, v| pin(v).map(|pin| s.web.pin = pin),
        ..ROW
    },
    Row {
        key: "web.operator-pin",
        help: "the PIN of the operator's page; empty: it is closed",
        expected: PIN,
        live: true,
        get: |s| s.web.operator_pin.clone(),
        set: |s, v| pin(v).map(|pin| s.web.operator_pin = pin),
        ..ROW
    },
    Row {
        key: "web.guests",
        help: "guests of the page at once",
        expected: "0 to 31",
        live: true,
        kind: Kind::Number,
        get: |s| s.web.guests.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| web::GUESTS.contains(n));
            s.web.guests = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "web.stay",
        help: "minutes that a guest stays after the page was closed",
        expected: "1 to 10080",
        live: true,
        kind: Kind::Number,
        get: |s| s.web.stay.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| web::STAY.contains(n));
            s.web.stay = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "web.upload",
        help: "the largest file a page may send, in bytes (K, M and G may follow)",
        expected: "1K to 1G",
        live: true,
        kind: Kind::Number,
        get: |s| s.web.upload.to_string(),
        set: |s, v| {
            s.web.upload = bytes(v).filter(|n| IMAGE_BYTES.contains(n)).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "web.quota",
        help: "bytes of all files of guests, sent and received; the oldest make room",
        expected: "a number of bytes (K, M and G may follow), at least 1M",
        live: true,
        kind: Kind::Number,
        get: |s| s.web.quota.to_string(),
        set: |s, v| {
            s.web.quota = bytes(v).filter(|n| *n >= 1 << 20).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "web.metrics",
        help: "figures for Prometheus at /metrics of the page",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.web.metrics),
        set: |s, v| switch(v).map(|on| s.web.metrics = on),
        ..ROW
    },
    Row {
        key: "web.captive",
        help: "answer phones' captive-portal probes: for a box that is the access point",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.web.captive),
        set: |s, v| switch(v).map(|on| s.web.captive = on),
        ..ROW
    },
];
