//! The machine's interfaces as `NETWORK` shows them: getifaddrs(3), /sys/class/net, and `iw` for
//! Wi-Fi where it is installed.

use std::fs;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};

use super::doctor::run;
use crate::model::text::harmless;
use crate::model::{InterfaceView, Map};

/// Interfaces that are shown; a container host may have hundreds.
pub const MAX_INTERFACES: usize = 64;
/// Addresses of one.
pub const MAX_ADDRESSES: usize = 16;

/// All interfaces. `chats`: those the chat is limited to; empty for all.
pub(super) fn interfaces(chats: &[String]) -> Vec<InterfaceView> {
    let mut all: Map<String, InterfaceView> = Map::new();
    for found in getifaddrs().into_iter().flatten() {
        let name = found.interface_name;
        if all.len() >= MAX_INTERFACES && !all.contains_key(&name) {
            continue;
        }
        let view = all.entry(name.clone()).or_insert_with(|| InterfaceView {
            kind: kind(&name, found.flags).into(),
            up: found.flags.contains(InterfaceFlags::IFF_UP),
            link: None,
            addresses: Vec::new(),
            speed: None,
            wifi: None,
            used: chats.is_empty() || chats.contains(&name),
            name,
        });
        let address = address(found.address.as_ref(), found.netmask.as_ref());
        if let Some(address) = address.filter(|_| view.addresses.len() < MAX_ADDRESSES) {
            view.addresses.push(address);
        }
    }
    let mut all: Vec<InterfaceView> = all.into_values().collect();
    for view in &mut all {
        let folder = Path::new("/sys/class/net").join(&view.name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
        // read(2) of carrier fails with EINVAL while the interface is off
        view.link = read("carrier").map(|text| text.trim() == "1");
        view.speed = read("speed").and_then(|text| text.trim().parse().ok()).filter(|s| *s > 0);
        if view.kind == "wifi" && view.up {
            view.wifi = wifi(&view.name);
        }
    }
    all.sort_by_key(|view| (view.kind == "loopback", view.name.clone()));
    all
}

fn kind(name: &str, flags: InterfaceFlags) -> &'static str {
    let folder = Path::new("/sys/class/net").join(name);
    let ether = || fs::read_to_string(folder.join("type")).is_ok_and(|t| t.trim() == "1");
    if flags.contains(InterfaceFlags::IFF_LOOPBACK) {
        "loopback"
    } else if folder.join("wireless").exists() || folder.join("phy80211").exists() {
        "wifi"
    } else if ether() {
        "ethernet"
    } else {
        "other"
    }
}

fn address(address: Option<&SockaddrStorage>, mask: Option<&SockaddrStorage>) -> Option<String> {
    let address = address?;
    match address.family()? {
        AddressFamily::Inet => {
            let prefix = mask
                .and_then(SockaddrStorage::as_sockaddr_in)
                .map_or(32, |m| u32::from(m.ip()).leading_ones());
            Some(format!("{}/{prefix}", address.as_sockaddr_in()?.ip()))
        }
        AddressFamily::Inet6 => {
            let prefix = mask
                .and_then(SockaddrStorage::as_sockaddr_in6)
                .map_or(128, |m| u128::from(m.ip()).leading_ones());
            Some(format!("{}/{prefix}", address.as_sockaddr_in6()?.ip()))
        }
        _ => None,
    }
}

fn wifi(name: &str) -> Option<String> {
    let text = run("iw", &["dev", name, "link"]).ok()?;
    Some(network_of(&text))
}

/// What `iw dev wlan0 link` says: the network's name and its signal.
fn network_of(text: &str) -> String {
    let value = |key: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(key)).map(|v| harmless(v.trim()))
    };
    match (value("SSID:"), value("signal:")) {
        (Some(name), Some(signal)) => format!("in {name}, {signal}"),
        (Some(name), None) => format!("in {name}"),
        (None, _) => "in no network".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iws_answer_is_read() {
        let text = "Connected to 00:11:22:33:44:55 (on wlan0)\n\tSSID: caf\u{e9}\x1b[2J\n\tfreq: 2412\n\
                    \tsignal: -52 dBm\n";
        assert_eq!(network_of(text), "in caf\u{e9}\u{fffd}[2J, -52 dBm");
        assert_eq!(network_of("Not connected.\n"), "in no network");
    }

    #[test]
    fn loopback_is_there_with_its_address_and_comes_last() {
        let all = interfaces(&["eth9".into()]);
        let last = all.last().unwrap();
        assert_eq!((last.name.as_str(), last.kind.as_str()), ("lo", "loopback"));
        assert!(last.addresses.iter().any(|a| a == "127.0.0.1/8") || !last.up);
        assert!(all.iter().all(|i| !i.used));
    }
}
