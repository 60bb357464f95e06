//! How the rows' values are read and shown.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use super::{MAX_ACCEPTED, MAX_BROADCAST, MAX_INTERFACES, MAX_WEB_PORTS, Wrong};
use crate::config::{Settings, User, web};
use crate::model::Handle;

pub(super) const PLACE: &str = "an IPv4 address, with :port if it is another, or nothing";
pub(super) const PORT: &str = "a port from 1 to 65535";
pub(super) const OWN_PORT: &str = "a port from 1 to 65535, or auto";
pub(super) const PIN: &str = "up to 64 characters without blanks, or nothing";
pub(super) const SWITCH: &str = "on or off";
pub(super) const ABSOLUTE: &str = "an absolute path, such as /srv/images";

pub(super) fn first(settings: &Settings) -> Option<&User> {
    settings.users.first()
}

pub(super) fn first_mut(settings: &mut Settings) -> &mut User {
    if settings.users.is_empty() {
        settings.users.push(User::default());
    }
    &mut settings.users[0]
}

pub(super) fn port(value: &str) -> Result<u16, Wrong> {
    value.parse().ok().filter(|p| *p > 0).ok_or(Wrong::Value)
}

pub(super) fn own_port(value: &str) -> Result<Option<u16>, Wrong> {
    if value.is_empty() || value.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    port(value).map(Some)
}

pub(super) fn own_port_text(port: Option<u16>) -> String {
    port.map_or("auto".into(), |p| p.to_string())
}

pub(super) fn parsed<T: std::str::FromStr>(value: &str) -> Result<T, Wrong> {
    value.parse().map_err(|_| Wrong::Value)
}

pub(in crate::config) fn switch(value: &str) -> Result<bool, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(Wrong::Value),
    }
}

pub(super) fn on_off(on: bool) -> String {
    if on { "on" } else { "off" }.into()
}

pub(super) fn absolute(value: &str) -> Result<PathBuf, Wrong> {
    let path = Path::new(value);
    if !path.is_absolute() || value.contains('\0') {
        return Err(Wrong::Value);
    }
    // Collecting the components drops what a file's "./images" leaves in the middle.
    Ok(path.components().collect())
}

pub(super) fn bytes(value: &str) -> Option<u64> {
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
pub(super) fn at(value: &str, port: u16) -> Result<Option<SocketAddrV4>, Wrong> {
    if value.is_empty() {
        return Ok(None);
    }
    let at = value.parse().or_else(|_| value.parse().map(|ip| SocketAddrV4::new(ip, port)));
    let good = |at: &SocketAddrV4| at.port() != 0 && !at.ip().is_unspecified();
    at.ok().filter(good).map(Some).ok_or(Wrong::Value)
}

pub(super) fn place(at: Option<SocketAddrV4>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

pub(super) fn accepted(value: &str) -> Result<Vec<String>, Wrong> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let handle = |word: &str| match word {
        "*" => Ok(word.to_owned()),
        word => Handle::try_from(word).map(String::from).map_err(|_| Wrong::Value),
    };
    let list = words.map(handle).collect::<Result<Vec<_>, _>>()?;
    if list.len() > MAX_ACCEPTED { Err(Wrong::Value) } else { Ok(list) }
}

pub(super) fn addresses(value: &str) -> Result<Vec<Ipv4Addr>, Wrong> {
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

pub(super) fn ports(value: &str) -> Result<Vec<u16>, Wrong> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    let mut list = words.map(port).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    if list.len() > MAX_WEB_PORTS { Err(Wrong::Value) } else { Ok(list) }
}

/// Names of interfaces: at most 15 bytes each, no slash, no blank (Linux's `dev_valid_name`).
pub(super) fn names(value: &str) -> Result<Vec<String>, Wrong> {
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
pub(super) fn pin(value: &str) -> Result<String, Wrong> {
    let good =
        value.len() <= web::MAX_PIN && !value.chars().any(|c| c.is_whitespace() || c.is_control());
    if good { Ok(value.to_owned()) } else { Err(Wrong::Value) }
}

/// Names of hosts, in lower case.
pub(super) fn hosts(value: &str) -> Result<Vec<String>, Wrong> {
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
