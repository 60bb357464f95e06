//! What may stand in the card's `klatsch.toml` beside klatsch's own settings: the network, Wi-Fi,
//! time, SSH. Every value is checked so far that the files made of it cannot mean anything else.

use std::net::{IpAddr, Ipv4Addr};

use super::Values;

/// Time servers that may be named.
pub const MAX_SERVERS: usize = 4;
/// Name servers that may be named.
pub const MAX_DNS: usize = 3;
/// SSH keys that may be given.
pub const MAX_SSH: usize = 4;
/// Longest SSH key, its comment included, in bytes.
pub const MAX_SSH_KEY: usize = 1_024;
/// Longest name of a Wi-Fi network, in bytes (IEEE 802.11, SSID element).
pub const MAX_SSID: usize = 32;
/// Characters of a Wi-Fi passphrase (IEEE 802.11 annex J.4).
pub const PASSPHRASE: std::ops::RangeInclusive<usize> = 8..=63;

/// One key.
pub(super) struct Key {
    pub(super) key: &'static str,
    /// What a value must be.
    pub(super) expected: &'static str,
    /// What stands between the entries of a list.
    pub(super) between: &'static str,
    /// The value as it is kept; none: it will not do.
    pub(super) check: fn(&str) -> Option<String>,
}

pub(super) static KEYS: &[Key] = &[
    Key {
        key: "network.mode",
        expected: "dhcp, fixed or link-local",
        between: ",",
        check: |v| one_of(v, &["dhcp", "fixed", "link-local"]),
    },
    Key {
        key: "network.address",
        expected: "an IPv4 address with its prefix, such as 192.168.1.5/24",
        between: ",",
        check: |v| subnet(v).map(|_| v.to_owned()),
    },
    Key {
        key: "network.gateway",
        expected: "an IPv4 address, such as 192.168.1.1",
        between: ",",
        check: |v| host(v.parse().ok()?).map(|a| a.to_string()),
    },
    Key {
        key: "network.dns",
        expected: "up to 3 addresses, such as [\"192.168.1.1\"]",
        between: ",",
        check: |v| {
            let address = |word: &str| word.parse().ok().filter(|a: &IpAddr| !a.is_unspecified());
            list(v, MAX_DNS, |word| address(word).map(|a| a.to_string()))
        },
    },
    Key {
        key: "wifi.mode",
        expected: "client, access-point or off",
        between: ",",
        check: |v| one_of(v, &["client", "access-point", "off"]),
    },
    Key {
        key: "wifi.country",
        expected: "the country's two letters, such as \"DE\"",
        between: ",",
        check: |v| {
            let letters = v.len() == 2 && v.bytes().all(|b| b.is_ascii_alphabetic());
            letters.then(|| v.to_ascii_uppercase())
        },
    },
    Key {
        key: "wifi.ssid",
        expected: "the network's name, up to 32 bytes",
        between: ",",
        check: |v| {
            let good = (1..=MAX_SSID).contains(&v.len()) && !v.chars().any(char::is_control);
            good.then(|| v.to_owned())
        },
    },
    Key {
        key: "wifi.key",
        expected: "8 to 63 characters of ASCII with no # after a \", or 64 hexadecimal digits, or \
                   nothing for an open network",
        between: ",",
        check: |v| {
            let plain = v.bytes().all(|b| (b' '..=b'~').contains(&b));
            // wpa_supplicant takes a # after the phrase's own quote for a comment
            let comment = v.split_once('"').is_some_and(|(_, rest)| rest.contains('#'));
            let phrase = plain && !comment && PASSPHRASE.contains(&v.len());
            (v.is_empty() || phrase || is_raw(v)).then(|| v.to_owned())
        },
    },
    Key {
        key: "wifi.channel",
        expected: "1 to 13",
        between: ",",
        check: |v| v.parse().ok().filter(|n| (1..=13).contains(n)).map(|n: u8| n.to_string()),
    },
    Key {
        key: "wifi.address",
        expected: "an IPv4 address with its prefix, such as 192.168.84.1/24",
        between: ",",
        check: |v| subnet(v).map(|_| v.to_owned()),
    },
    Key {
        key: "wifi.gateway",
        expected: "an IPv4 address, such as 192.168.1.1",
        between: ",",
        check: |v| host(v.parse().ok()?).map(|a| a.to_string()),
    },
    Key {
        key: "time.server",
        expected: "up to 4 names or addresses, such as [\"pool.ntp.org\"], or none",
        between: ",",
        check: |v| {
            if v.eq_ignore_ascii_case("none") || v.is_empty() {
                return Some("none".into());
            }
            list(v, MAX_SERVERS, server)
        },
    },
    Key {
        key: "ssh.key",
        expected: "up to 4 public keys, such as \"ssh-ed25519 AAAA... me@laptop\"",
        between: "\n",
        check: |v| {
            if v.is_empty() {
                return Some(String::new());
            }
            let keys = v.split('\n').map(str::trim).map(ssh_key);
            let keys = keys.collect::<Option<Vec<_>>>().filter(|keys| keys.len() <= MAX_SSH)?;
            Some(keys.join("\n"))
        },
    },
];

/// What does not hold together: the table that is meant, and why.
pub(super) fn conflict(values: &Values) -> Option<(&'static str, String)> {
    let get = |key: &str| values.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let inside = |table: &str| {
        let gateway: Ipv4Addr = get(&format!("{table}.gateway"))?.parse().ok()?;
        let Some(address) = get(&format!("{table}.address")) else {
            return Some(format!("found a gateway alone, expected {table}.address with it"));
        };
        let (own, prefix) = subnet(address)?;
        let mask = u32::MAX << (32 - u32::from(prefix));
        let same = own != gateway && (own.to_bits() ^ gateway.to_bits()) & mask == 0;
        let text = format!("found the gateway {gateway}, expected another address of {address}");
        (!same).then_some(text)
    };
    let network = match (get("network.mode"), get("network.address")) {
        (Some("fixed"), None) => {
            Some("found no address, expected address = \"192.168.1.5/24\" with it".to_owned())
        }
        (Some(mode @ ("dhcp" | "link-local")), Some(_)) => {
            Some(format!("found an address, expected none with mode = \"{mode}\""))
        }
        _ => inside("network"),
    };
    if let Some(text) = network {
        return Some(("network", text));
    }
    let any = values.keys().any(|key| key.starts_with("wifi."));
    if !any || get("wifi.mode") == Some("off") {
        return None;
    }
    let text = if get("wifi.ssid").is_none() {
        "found no network's name, expected ssid = \"NAME\"".to_owned()
    } else if get("wifi.country").is_none() {
        "found no country, expected country = \"DE\" or another: it says which channels are \
         allowed"
            .to_owned()
    } else if get("wifi.mode") == Some("access-point") && get("wifi.gateway").is_some() {
        "found a gateway, expected none: an access point leads nowhere else".to_owned()
    } else if get("wifi.mode") == Some("access-point")
        && get("wifi.address").and_then(subnet).is_some_and(|(_, prefix)| prefix > 29)
    {
        "found too small a network, expected a prefix of 29 or less: guests need addresses too"
            .to_owned()
    } else {
        inside("wifi")?
    };
    Some(("wifi", text))
}

/// Whether a Wi-Fi key is the key itself rather than a passphrase.
pub(super) fn is_raw(key: &str) -> bool {
    key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An address that a host can have, and the length of its network's prefix.
pub(super) fn subnet(value: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = value.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|p| (1..=30).contains(p))?;
    let address = host(address.parse().ok()?)?;
    let rest = address.to_bits() & (u32::MAX >> prefix);
    // neither the network's own nor its broadcast address
    (rest != 0 && rest != u32::MAX >> prefix).then_some((address, prefix))
}

fn host(address: Ipv4Addr) -> Option<Ipv4Addr> {
    let none = address.octets()[0] == 0
        || address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] >= 240;
    (!none).then_some(address)
}

fn one_of(value: &str, words: &[&str]) -> Option<String> {
    words.iter().find(|word| word.eq_ignore_ascii_case(value)).map(|word| (*word).to_owned())
}

fn list(value: &str, most: usize, word: impl Fn(&str) -> Option<String>) -> Option<String> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let words = words.map(word).collect::<Option<Vec<_>>>()?;
    (words.len() <= most).then(|| words.join(","))
}

/// A host's name or an address, as timesyncd.conf(5) takes it.
fn server(word: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    let good = word.len() <= 253 && word.chars().all(plain) && !word.starts_with('-');
    good.then(|| word.to_owned())
}

/// A line of an `authorized_keys` without options: sshd(8).
fn ssh_key(line: &str) -> Option<String> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let kind = words.next()?;
    let known = kind.starts_with("ssh-")
        || kind.starts_with("ecdsa-sha2-")
        || kind.starts_with("sk-ssh-")
        || kind.starts_with("sk-ecdsa-");
    let body = words.next()?;
    // every key begins with its kind's length and name
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let good = known
        && line.len() <= MAX_SSH_KEY
        && body.len() >= 32
        && body.starts_with("AAAA")
        && body.chars().all(plain)
        && !line.chars().any(char::is_control);
    good.then(|| line.to_owned())
}
