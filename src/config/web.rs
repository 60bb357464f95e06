//! The page's settings.

use std::net::IpAddr;

/// Longest PIN, in bytes.
pub const MAX_PIN: usize = 64;
/// Further names of this host.
pub const MAX_NAMES: usize = 8;
/// Guests in the chat: the node has room for 32 users, one of them its own.
pub const GUESTS: std::ops::RangeInclusive<u32> = 0..=31;
/// Minutes that a guest stays after its page was closed.
pub const STAY: std::ops::RangeInclusive<u32> = 1..=10_080;

/// The page: who may come, and how far they may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// On or off.
    pub enabled: bool,
    /// The address it listens at; none: all.
    pub listen: Option<IpAddr>,
    /// Its port; where that is taken, one of the next.
    pub port: u16,
    /// Further names it may be called by in a browser.
    pub names: Vec<String>,
    /// Newcomers are let in.
    pub open: bool,
    /// What newcomers must know; empty: nothing.
    pub pin: String,
    /// What opens the operator's page; empty: nothing does.
    pub operator_pin: String,
    /// Guests at once.
    pub guests: u32,
    /// Minutes that a guest without an open page stays.
    pub stay: u32,
    /// The largest upload, in bytes.
    pub upload: u64,
    /// Bytes of all uploads that are kept; the oldest make room.
    pub quota: u64,
    /// Figures for Prometheus at `/metrics`.
    pub metrics: bool,
    /// Answers the probes of phones for a captive portal: for a box that is the access point.
    pub captive: bool,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            enabled: true,
            listen: None,
            port: 8484,
            names: Vec::new(),
            open: true,
            pin: String::new(),
            operator_pin: String::new(),
            guests: 28,
            stay: 60,
            upload: 32 * 1024 * 1024,
            quota: 256 * 1024 * 1024,
            metrics: false,
            captive: false,
        }
    }
}
