//! The one table of settings: each row is a key of the file, of `CONFIG` and of the socket.
//!
//! A new setting is one field in [`Settings`], one row here and one line in
//! `systemd/klatsch.toml`; a test holds the three together.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Settings, User, keep, web};
use crate::command::is_secret;
use crate::model::limits::{MAX_AUTOREPLY, MAX_HANDLE};
use crate::model::text::harmless;
use crate::model::{Handle, Refusal, SettingView};

/// Seconds that a text may wait to be sent: the least and the most.
pub const OUTBOX: std::ops::RangeInclusive<u64> = 60..=365 * 86_400;
/// Seconds between announcements: the least and the most.
pub const ANNOUNCE: std::ops::RangeInclusive<u32> = 5..=3_600;
/// What `max-image` may be, in bytes.
pub const IMAGE_BYTES: std::ops::RangeInclusive<u64> = 1_024..=1_073_741_824;
/// Interfaces that may be named.
pub const MAX_INTERFACES: usize = 8;
/// Ports of the hello chat's web API.
pub const MAX_WEB_PORTS: usize = 4;
/// Handles whose requests are accepted unasked.
pub const MAX_ACCEPTED: usize = 64;
/// Further broadcast addresses.
pub const MAX_BROADCAST: usize = 8;

/// What is told of a PIN that is set.
pub const SET: &str = "set";
/// What is repeated of a PIN that is refused.
const REFUSED_PIN: &str = "one that does not do";

/// What a row holds, as far as a file's value is checked by it before [`Row::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted text.
    Text,
    /// A number (or a quoted one).
    Number,
    /// `true` or `false` (or a quoted `on`, `off`, `yes`, `no`).
    Switch,
    /// A path; a relative one in a file counts from that file's folder.
    Path,
    /// A list of quoted texts (or one text with commas).
    List,
}

/// One setting.
pub struct Row {
    /// Its key, dotted: `slcp.port`.
    pub key: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// What a value must be, for messages.
    pub expected: &'static str,
    /// Whether it can change while the node runs.
    pub live: bool,
    /// Whether it belongs to one user; here it then acts on the first.
    pub per_user: bool,
    /// What it holds.
    pub kind: Kind,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), Wrong>,
}

/// Why a value is refused: it is not as `expected` says, or for a reason of its own.
pub(super) enum Wrong {
    Value,
    Because(String),
}

/// All rows, in the order they are shown.
pub fn rows() -> &'static [Row] {
    ROWS
}

/// Every setting with its value.
pub fn view(settings: &Settings) -> Vec<SettingView> {
    ROWS.iter().map(|row| row.view(settings)).collect()
}

/// The row of a key, whatever its case.
pub fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key.eq_ignore_ascii_case(key))
}

/// The key that was probably meant.
pub fn nearest(key: &str) -> &'static str {
    let key: String = key.chars().take(MAX_KEY).collect::<String>().to_ascii_lowercase();
    let last = key.rsplit('.').next().unwrap_or(&key);
    let far = |row: &&Row| {
        let tail = row.key.rsplit('.').next().unwrap_or(row.key);
        distance(row.key, &key).min(distance(tail, last) + 1)
    };
    ROWS.iter().min_by_key(far).map_or("handle", |row| row.key)
}

/// The refusal for a key that no row has.
pub fn unknown(key: &str) -> Refusal {
    let expected = format!("a key as CONFIG lists them; the nearest is {}", nearest(key));
    Refusal::bad("CONFIG", shown(key), expected)
}

/// Sets a key by name: what `CONFIG key value` does.
pub fn set(settings: &mut Settings, key: &str, value: &str) -> Result<&'static Row, Refusal> {
    let row = find(key).ok_or_else(|| unknown(key))?;
    row.set(settings, value)?;
    Ok(row)
}

impl Row {
    /// The value, as [`Row::set`] takes it.
    pub fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// Sets it, or says what was expected; then nothing changed.
    pub fn set(&self, settings: &mut Settings, value: &str) -> Result<(), Refusal> {
        (self.set)(settings, value.trim()).map_err(|wrong| {
            let expected = match wrong {
                Wrong::Value => self.expected.to_owned(),
                Wrong::Because(reason) => reason,
            };
            let found = if self.is_secret() { REFUSED_PIN.into() } else { shown(value) };
            Refusal::bad(self.key, found, expected)
        })
    }

    /// Sets it in a user of one's own. Only for rows that are `per_user`.
    pub fn set_for(&self, user: &mut User, value: &str) -> Result<(), Refusal> {
        let mut one = Settings { users: vec![user.clone()], ..Settings::default() };
        self.set(&mut one, value)?;
        if let Some(changed) = one.users.into_iter().next() {
            *user = changed;
        }
        Ok(())
    }

    /// Whether its value is told to nobody: a PIN.
    pub fn is_secret(&self) -> bool {
        is_secret(self.key)
    }

    /// The value as it is told: of a PIN only whether there is one.
    pub fn told(&self, settings: &Settings) -> String {
        let value = self.get(settings);
        if self.is_secret() && !value.is_empty() { SET.into() } else { value }
    }

    /// The row with its value as it is told.
    pub fn view(&self, settings: &Settings) -> SettingView {
        SettingView {
            key: self.key.into(),
            value: self.told(settings),
            live: self.live,
            help: self.help.into(),
        }
    }
}

/// A time as settings have it: `7days`.
pub fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A value as messages show it: quoted if that helps, harmless, not without end.
pub fn shown(value: &str) -> String {
    const MOST: usize = 60;
    let mut text: String = harmless(value).chars().take(MOST).collect();
    if value.chars().count() > MOST {
        text.push('…');
    }
    if text.is_empty() || text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// Keys are compared up to this length.
const MAX_KEY: usize = 64;
const PLACE: &str = "an IPv4 address, with :port if it is another, or nothing";
const PORT: &str = "a port from 1 to 65535";
const OWN_PORT: &str = "a port from 1 to 65535, or auto";
const PIN: &str = "up to 64 characters without blanks, or nothing";
const SWITCH: &str = "on or off";
const ABSOLUTE: &str = "an absolute path, such as /srv/images";

const ROW: Row = Row {
    key: "",
    help: "",
    expected: "",
    live: false,
    per_user: false,
    kind: Kind::Text,
    get: |_| String::new(),
    set: |_, _| Err(Wrong::Value),
};

static ROWS: &[Row] = &[
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
    Row {
        key: "history.keep",
        help: "how long what was said is kept: a time, forever, or nothing",
        expected: "a time from 60s on, such as 1h or 30days, or forever, or nothing",
        live: true,
        get: |s| s.history.keep.to_string(),
        set: |s, v| parsed(v).map(|keep| s.history.keep = keep),
        ..ROW
    },
    Row {
        key: "history.entries",
        help: "how many texts and files are kept; the oldest go first",
        expected: "100 to 10000000",
        live: true,
        kind: Kind::Number,
        get: |s| s.history.entries.to_string(),
        set: |s, v| {
            let n = v.parse().ok().filter(|n| keep::ENTRIES.contains(n));
            s.history.entries = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "history.bytes",
        help: "how much room the history takes at most (K, M and G may follow)",
        expected: "1M to 1024G",
        live: true,
        kind: Kind::Number,
        get: |s| s.history.bytes.to_string(),
        set: |s, v| {
            let n = bytes(v).filter(|n| keep::HISTORY_BYTES.contains(n));
            s.history.bytes = n.ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "files.quota",
        help: "how much room received files take at most (K, M and G may follow)",
        expected: "1M to 4096G",
        live: true,
        kind: Kind::Number,
        get: |s| s.files.quota.to_string(),
        set: |s, v| {
            s.files.quota = bytes(v).filter(|n| keep::QUOTA.contains(n)).ok_or(Wrong::Value)?;
            Ok(())
        },
        ..ROW
    },
    Row {
        key: "files.when-full",
        help: "when they have reached it: the oldest are removed, or new ones refused",
        expected: "oldest or refuse",
        live: true,
        get: |s| s.files.when_full.to_string(),
        set: |s, v| parsed(v).map(|what| s.files.when_full = what),
        ..ROW
    },
    Row {
        key: "outbox.keep",
        help: "how long a text waits for somebody who is not here",
        expected: "a time from 60s to 365days, such as 12h or 7days",
        live: true,
        get: |s| span(s.outbox_keep),
        set: |s, v| {
            let time = humantime::parse_duration(v).map_err(|_| Wrong::Value)?.as_secs();
            if !OUTBOX.contains(&time) {
                return Err(Wrong::Value);
            }
            s.outbox_keep = time;
            Ok(())
        },
        ..ROW
    },
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
        help: "bytes of all files that pages sent; the oldest make room",
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

fn first(settings: &Settings) -> Option<&User> {
    settings.users.first()
}

fn first_mut(settings: &mut Settings) -> &mut User {
    if settings.users.is_empty() {
        settings.users.push(User::default());
    }
    &mut settings.users[0]
}

fn port(value: &str) -> Result<u16, Wrong> {
    value.parse().ok().filter(|p| *p > 0).ok_or(Wrong::Value)
}

fn own_port(value: &str) -> Result<Option<u16>, Wrong> {
    if value.is_empty() || value.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    port(value).map(Some)
}

fn own_port_text(port: Option<u16>) -> String {
    port.map_or("auto".into(), |p| p.to_string())
}

fn parsed<T: std::str::FromStr>(value: &str) -> Result<T, Wrong> {
    value.parse().map_err(|_| Wrong::Value)
}

pub(super) fn switch(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(Wrong::Value),
    }
}

fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}

fn absolute(value: &str) -> Result<PathBuf, Wrong> {
    let path = Path::new(value);
    if !path.is_absolute() || value.contains('\0') {
        return Err(Wrong::Value);
    }
    // Collecting the components drops what a file's "./images" leaves in the middle.
    Ok(path.components().collect())
}

fn bytes(value: &str) -> Option<u64> {
    let (digits, unit) = match value.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// An address, with `port` where it names none; nothing is none.
fn at(value: &str, port: u16) -> Result<Option<SocketAddrV4>, Wrong> {
    if value.is_empty() {
        return Ok(None);
    }
    let at = value.parse().or_else(|_| value.parse().map(|ip| SocketAddrV4::new(ip, port)));
    let good = |at: &SocketAddrV4| at.port() != 0 && !at.ip().is_unspecified();
    at.ok().filter(good).map(Some).ok_or(Wrong::Value)
}

fn place(at: Option<SocketAddrV4>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn accepted(value: &str) -> Result<Vec<String>, Wrong> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let handle = |word: &str| match word {
        "*" => Ok(word.to_owned()),
        word => Handle::try_from(word).map(String::from).map_err(|_| Wrong::Value),
    };
    let list = words.map(handle).collect::<Result<Vec<_>, _>>()?;
    if list.len() > MAX_ACCEPTED { Err(Wrong::Value) } else { Ok(list) }
}

fn addresses(value: &str) -> Result<Vec<Ipv4Addr>, Wrong> {
    let mut list = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        let address: Ipv4Addr = word.parse().map_err(|_| Wrong::Value)?;
        if address.is_unspecified() || list.len() == MAX_BROADCAST {
            return Err(Wrong::Value);
        }
        if !list.contains(&address) {
            list.push(address);
        }
    }
    Ok(list)
}

fn ports(value: &str) -> Result<Vec<u16>, Wrong> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let mut list = words.map(port).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    if list.len() > MAX_WEB_PORTS { Err(Wrong::Value) } else { Ok(list) }
}

/// Names of interfaces: at most 15 bytes each, no slash, no blank (Linux's `dev_valid_name`).
fn names(value: &str) -> Result<Vec<String>, Wrong> {
    let mut list: Vec<String> = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        let plain = word.len() < 16 && word.chars().all(|c| c.is_ascii_graphic() && c != '/');
        if !plain || list.len() == MAX_INTERFACES {
            return Err(Wrong::Value);
        }
        if !list.iter().any(|name| name == word) {
            list.push(word.to_owned());
        }
    }
    Ok(list)
}

/// A secret as it is typed on a phone.
fn pin(value: &str) -> Result<String, Wrong> {
    let good =
        value.len() <= web::MAX_PIN && !value.chars().any(|c| c.is_whitespace() || c.is_control());
    if good { Ok(value.to_owned()) } else { Err(Wrong::Value) }
}

/// Names of hosts, in lower case.
fn hosts(value: &str) -> Result<Vec<String>, Wrong> {
    let mut list: Vec<String> = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if word.len() > 253 || !word.chars().all(plain) || list.len() == web::MAX_NAMES {
            return Err(Wrong::Value);
        }
        list.push(word.to_ascii_lowercase());
    }
    Ok(list)
}

/// Levenshtein's distance; both are short (`MAX_KEY`).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
