//! What is known of the machine around the node, and what a check-up of it finds.

use serde::{Deserialize, Serialize};

/// A network interface, used for the chat or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// `ethernet`, `wifi`, `loopback` or `other`.
    pub kind: String,
    /// Switched on.
    pub up: bool,
    /// Whether there is a link (a cable, an access point); `null` where it cannot be known.
    pub link: Option<bool>,
    /// Addresses with their prefix: `192.168.1.5/24`.
    pub addresses: Vec<String>,
    /// Megabits per second, where the driver says.
    pub speed: Option<u32>,
    /// Of Wi-Fi: the network and its signal, or that there is none.
    pub wifi: Option<String>,
    /// Whether the node chats on it.
    pub used: bool,
}

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// The chat works, but not as it could.
    Warning,
    /// Something that the chat needs is missing.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `interfaces`, `addresses`, `ports`, `broadcast`, `firewall`, `peers`,
    /// `clock`, `disk`, `lines`, `errors`.
    pub check: String,
    /// How it came out.
    pub health: Health,
    /// What was seen, in plain words.
    pub text: String,
    /// What to do about it; `null` where nothing is to be done.
    pub advice: Option<String>,
}

/// The answer to `Doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing is `wrong` and nothing a `warning`.
    pub healthy: bool,
    /// All that was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    pub fn of(findings: Vec<Finding>) -> Report {
        Report { healthy: findings.iter().all(|f| f.health < Health::Warning), findings }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Health::Ok => "ok",
            Health::Unknown => "unknown",
            Health::Warning => "warning",
            Health::Wrong => "wrong",
        })
    }
}
