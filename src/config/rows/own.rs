//! The rows of the node's own users, ports, interfaces and folders.

use super::values::*;
use super::{IMAGE_BYTES, Kind, ROW, Row, Wrong};
use crate::model::Handle;
use crate::model::limits::MAX_AUTOREPLY;
use crate::model::text::harmless;

/// Longest name of an LED, in bytes (the kernel's LED_MAX_NAME_SIZE, less its NUL).
const MAX_LED: usize = 63;

pub(super) static ROWS: &[Row] = &[
    Row {
        key: "handle",
        help: "your name in the chat",
        expected: "a handle without blanks, such as anna-2",
        live: true,
        per_user: true,
        get: |s| first(s).and_then(|u| u.handle.as_ref()).map_or(String::new(), Handle::to_string),
        set: |s, v| {
            first_mut(s).handle = match v {
                "" => None,
                v => Some(Handle::try_from(v).map_err(|e| Wrong::Because(e.expected()))?),
            };
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "port",
        help: "your chat port; auto takes a free one of the range",
        expected: OWN_PORT,
        per_user: true,
        kind: Kind::Number,
        get: |s| own_port_text(first(s).and_then(|u| u.port)),
        set: |s, v| own_port(v).map(|p| first_mut(s).port = p),
        ..ROW
    },
    Row {
        key: "image-port",
        help: "a TCP port of its own for images, where a program expects one",
        expected: OWN_PORT,
        per_user: true,
        kind: Kind::Number,
        get: |s| own_port_text(first(s).and_then(|u| u.image_port)),
        set: |s, v| own_port(v).map(|p| first_mut(s).image_port = p),
        ..ROW
    },
    Row {
        key: "autoreply",
        help: "what is answered while you are away; empty for nothing",
        expected: "a text of at most 400 bytes",
        live: true,
        per_user: true,
        get: |s| first(s).map_or(String::new(), |u| u.autoreply.clone()),
        set: |s, v| {
            let text = harmless(v);
            if text.len() > MAX_AUTOREPLY {
                return Err(Wrong::Value);
            }
            first_mut(s).autoreply = text;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "inactive",
        help: "on while you are away",
        expected: SWITCH,
        live: true,
        per_user: true,
        kind: Kind::Switch,
        get: |s| on_off(first(s).is_some_and(|u| u.inactive)),
        set: |s, v| switch(v).map(|on| first_mut(s).inactive = on),
    },
    Row {
        key: "imagepath",
        help: "the folder that received images go to",
        expected: ABSOLUTE,
        live: true,
        kind: Kind::Path,
        get: |s| s.imagepath.display().to_string(),
        set: |s, v| absolute(v).map(|path| s.imagepath = path),
        ..ROW
    },
    Row {
        key: "max-image",
        help: "the largest image taken or sent, in bytes (K, M and G may follow)",
        expected: "1K to 1G",
        live: true,
        kind: Kind::Number,
        get: |s| s.max_image.to_string(),
        set: |s, v| {
            s.max_image = bytes(v).filter(|n| IMAGE_BYTES.contains(n)).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "open-images",
        help: "open received images with the desktop's program",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.open_images),
        set: |s, v| switch(v).map(|on| s.open_images = on),
        ..ROW
    },
    Row {
        key: "bell",
        help: "ring the terminal's bell on a message",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.bell),
        set: |s, v| switch(v).map(|on| s.bell = on),
        ..ROW
    },
    Row {
        key: "led",
        help: "the LED that shows how the chat is; empty for none",
        expected: "a name in /sys/class/leds, such as ACT, or nothing",
        live: true,
        get: |s| s.led.clone(),
        set: |s, v| {
            let plain = |c: char| c.is_ascii_graphic() && c != '/';
            if v.len() > MAX_LED || v.starts_with('.') || !v.chars().all(plain) {
                return Err(Wrong::Value);
            }
            s.led = v.to_owned();
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "port-min",
        help: "the first port that local users get one from",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.port_min.to_string(),
        set: |s, v| port(v).map(|p| s.port_min = p),
        ..ROW
    },
    Row {
        key: "port-max",
        help: "the last port that local users get one from",
        expected: PORT,
        kind: Kind::Number,
        get: |s| s.port_max.to_string(),
        set: |s, v| port(v).map(|p| s.port_max = p),
        ..ROW
    },
    Row {
        key: "interfaces",
        help: "the network interfaces to chat on, such as eth0; empty for all",
        expected: "up to 8 names of interfaces with commas between, or nothing",
        live: true,
        kind: Kind::List,
        get: |s| s.interfaces.join(", "),
        set: |s, v| names(v).map(|list| s.interfaces = list),
        ..ROW
    },
    Row {
        key: "auto-accept",
        help: "whose private chats are accepted unasked: handles, or * for all",
        expected: "up to 64 handles with commas between, or *, or nothing",
        live: true,
        kind: Kind::List,
        get: |s| s.auto_accept.join(", "),
        set: |s, v| accepted(v).map(|list| s.auto_accept = list),
        ..ROW
    },
    Row {
        key: "socket",
        help: "the control socket; empty for the usual place",
        expected: "an absolute path, such as /run/klatsch/control, or empty",
        kind: Kind::Path,
        get: |s| s.socket.as_ref().map_or(String::new(), |p| p.display().to_string()),
        set: |s, v| {
            s.socket = if v.is_empty() { None } else { Some(absolute(v)?) };
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "appliance",
        help: "the machine is klatsch's own: REBOOT, POWEROFF and FACTORY-RESET work",
        expected: SWITCH,
        kind: Kind::Switch,
        get: |s| on_off(s.appliance),
        set: |s, v| switch(v).map(|on| s.appliance = on),
        ..ROW
    },
    Row {
        key: "gateway",
        help: "carry what is said in one dialect's shared chat to the others, its author named",
        expected: SWITCH,
        live: true,
        kind: Kind::Switch,
        get: |s| on_off(s.gateway),
        set: |s, v| switch(v).map(|on| s.gateway = on),
        ..ROW
    },
];
