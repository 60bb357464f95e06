//! Settings: what a person or a file may set, as validated types, and what was set at run time.
//!
//! The core sees only [`Settings`] and [`Kept`]; reading files is `layers` and `kept`'s business.

pub mod file;
mod foreign;
pub mod keep;
pub mod kept;
pub mod layers;
pub mod rows;
pub mod serial;
pub mod web;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dialect::link::words::Named;
use crate::model::Handle;

pub use file::Note;
pub use keep::{AcceptFrom, Files, History, Keep, WhenFull};
pub use layers::{Loaded, Sources};
pub use serial::Serial;
pub use web::Web;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The box's own users; the first is the one the console drives. Never empty.
    pub users: Vec<User>,
    /// Local users get even ports from here …
    pub port_min: u16,
    /// … to here, both included.
    pub port_max: u16,
    /// Where received images are kept; absolute.
    pub imagepath: PathBuf,
    /// Largest image taken or sent, in bytes.
    pub max_image: u64,
    /// Hand received images to the desktop's standard program.
    pub open_images: bool,
    /// Ring the console's bell on a message.
    pub bell: bool,
    /// The LED that shows how the chat is, by its name in /sys/class/leds; empty: none.
    pub led: String,
    /// Network interfaces to chat on, by name; empty: all.
    pub interfaces: Vec<String>,
    /// The control socket; none: the usual place.
    pub socket: Option<PathBuf>,
    /// The machine is klatsch's own: it may be restarted, switched off and reset from here.
    pub appliance: bool,
    /// Serial lines with a console, at most [`serial::MAX_SERIAL`].
    pub serial: Vec<Serial>,
    /// What is kept of conversations.
    pub history: History,
    /// Received files.
    pub files: Files,
    /// How long a text waits for somebody who is not here, in seconds.
    pub outbox_keep: u64,
    /// Carry what is said in one dialect's shared chat to the others.
    pub gateway: bool,
    /// SLCP.
    pub slcp: Slcp,
    /// The hello chat.
    pub hello: Hello,
    /// The link between klatsch boxes.
    pub link: Link,
    /// The room.
    pub room: Room,
    /// The directory.
    pub directory: Directory,
    /// Whose requests (private chats) are accepted unasked: handles, or `*` for everyone's.
    pub auto_accept: Vec<String>,
    /// The page.
    pub web: Web,
}

/// One of the box's own users.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its handle; none: asked for, or made from the login name.
    pub handle: Option<Handle>,
    /// Its chat port; none: one of the range.
    pub port: Option<u16>,
    /// A TCP port of its own that images come to, as program 001 has it.
    pub image_port: Option<u16>,
    /// Whether it starts away.
    pub inactive: bool,
    /// What is answered while away; empty for nothing.
    pub autoreply: String,
}

/// SLCP's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Slcp {
    /// On or off.
    pub enabled: bool,
    /// The discovery port ("whoisport").
    pub port: u16,
    /// Further broadcast addresses, such as 255.255.255.255.
    pub broadcast: Vec<Ipv4Addr>,
    /// Seconds between announcements of ourselves, 5 to 3,600.
    pub announce: u32,
    /// UDP port that images come to from 002's NO_IPC branch; 0 for none.
    pub image_port: u16,
}

/// The hello chat's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// On or off.
    pub enabled: bool,
    /// The UDP and TCP port.
    pub port: u16,
    /// Our name in it; none: the first user's handle.
    pub peer_id: Option<String>,
    /// Further broadcast addresses.
    pub broadcast: Vec<Ipv4Addr>,
    /// Seconds between hellos, 1 to 60.
    pub announce: u32,
    /// The ports of its web API; none: it is off.
    pub web_ports: Vec<u16>,
    /// Where its web API listens. Not on the LAN unless asked for: its GET sends.
    pub web_address: Ipv4Addr,
}

/// The link's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// On or off.
    pub enabled: bool,
    /// The port of beacons, and the first tried for sessions.
    pub port: u16,
    /// Whether beacons are sent and heard; else only boxes that are named are called.
    pub beacon: bool,
    /// Seconds between beacons, 10 to 3,600.
    pub announce: u32,
    /// Whether others are told when their messages are read, and tell us.
    pub read: bool,
    /// Whether linked boxes are told of each other.
    pub tell: bool,
    /// Boxes that are named: `[[link.peer]]`.
    pub peers: Vec<Named>,
}

/// The room's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// On or off.
    pub enabled: bool,
    /// Whether we are a server.
    pub server: bool,
    /// The server's TCP port.
    pub port: u16,
    /// Another's server that our users register at.
    pub connect: Option<SocketAddrV4>,
    /// Whether to look for a server at the addresses of peers.
    pub discover: bool,
    /// Private chats: each user has a port from here on.
    pub chat_port: u16,
}

/// The directory's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Directory {
    /// On or off.
    pub enabled: bool,
    /// Whether we are a server.
    pub server: bool,
    /// The server's UDP port.
    pub port: u16,
    /// Another's server that our users log in at.
    pub connect: Option<SocketAddrV4>,
    /// The TCP port of chats.
    pub chat_port: u16,
    /// Whether chats are taken on 127.0.0.1 too.
    pub loopback: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            users: vec![User::default()],
            port_min: 5010,
            port_max: 5072,
            imagepath: PathBuf::from("/var/lib/klatsch/images"),
            max_image: 32 * 1024 * 1024,
            open_images: false,
            bell: false,
            led: String::new(),
            interfaces: Vec::new(),
            socket: None,
            appliance: false,
            serial: Vec::new(),
            history: History::default(),
            files: Files::default(),
            outbox_keep: 7 * 24 * 60 * 60,
            gateway: false,
            slcp: Slcp {
                enabled: true,
                port: 4000,
                broadcast: Vec::new(),
                announce: 60,
                image_port: 6000,
            },
            hello: Hello {
                enabled: false,
                port: 9876,
                peer_id: None,
                broadcast: Vec::new(),
                announce: 5,
                web_ports: vec![8000, 8080],
                web_address: Ipv4Addr::LOCALHOST,
            },
            link: Link {
                enabled: true,
                port: 5009,
                beacon: true,
                announce: 60,
                read: false,
                tell: false,
                peers: Vec::new(),
            },
            room: Room {
                enabled: false,
                server: true,
                port: 9000,
                connect: None,
                discover: false,
                chat_port: 9001,
            },
            directory: Directory {
                enabled: false,
                server: true,
                port: 5000,
                connect: None,
                chat_port: 5001,
                loopback: false,
            },
            auto_accept: Vec::new(),
            web: Web::default(),
        }
    }
}

impl Default for User {
    fn default() -> User {
        User {
            handle: None,
            port: None,
            image_port: None,
            inactive: false,
            autoreply: "I am away at the moment.".into(),
        }
    }
}

/// What was set at run time and lasts over a restart: the whole of `state.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Kept {
    /// Settings changed by `CONFIG`, `HANDLE`, `AUTOREPLY`, `AWAY`: key to value as `CONFIG`
    /// takes it. They stand above every file.
    pub set: BTreeMap<String, String>,
    /// The text given with the last AWAY, while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// Blocked handles.
    pub blocked: Vec<String>,
    /// Forms set by hand or learned: `handle` (lower case) to the form's name.
    pub forms: BTreeMap<String, String>,
}
