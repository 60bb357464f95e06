//! Datagrams: one JSON object each, in the spacing of the real programs. Anything else kills the
//! real server, so nothing else is ever sent to one.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::Value;

use super::{MAX_DATAGRAM, MAX_LISTED, MAX_NAME};
use crate::model::text::is_harmful;

/// What the real server answers a logout with. Not JSON.
pub const LOGGED_OUT: &[u8] = b"logout success";

/// What a datagram means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `{"type": "login", "username": …}`: also how the list is asked for again.
    Login(String),
    /// `{"type": "logout", "username": …}`.
    Logout(String),
    /// `{"Mert": ["127.0.0.1", 53833], …}`: everyone, the asker included.
    List(Vec<(String, SocketAddrV4)>),
    /// `logout success`.
    LoggedOut,
}

/// Bytes that mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// More than [`MAX_DATAGRAM`].
    TooLong,
    /// No JSON object.
    NotJson,
    /// A `type` that nobody knows, or none.
    Type,
    /// A user name that cannot be one.
    Name,
}

/// What a datagram means.
///
/// # Errors
/// It means nothing.
pub fn parse(bytes: &[u8]) -> Result<Said, Bad> {
    if bytes.len() > MAX_DATAGRAM {
        return Err(Bad::TooLong);
    }
    if bytes == LOGGED_OUT {
        return Ok(Said::LoggedOut);
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(bytes) else {
        return Err(Bad::NotJson);
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    match text("type") {
        Some(kind @ ("login" | "logout")) => {
            let name = text("username").and_then(name).ok_or(Bad::Name)?;
            Ok(if kind == "login" { Said::Login(name) } else { Said::Logout(name) })
        }
        Some(_) => Err(Bad::Type),
        // someone may be called `type`: then its value is a place, not a word
        None if object.values().all(Value::is_array) => {
            Ok(Said::List(object.iter().filter_map(entry).take(MAX_LISTED).collect()))
        }
        None => Err(Bad::Type),
    }
}

fn entry((key, place): (&String, &Value)) -> Option<(String, SocketAddrV4)> {
    let ip: Ipv4Addr = place.get(0)?.as_str()?.parse().ok()?;
    let port = u16::try_from(place.get(1)?.as_u64()?).ok()?;
    Some((name(key)?, SocketAddrV4::new(ip, port)))
}

/// A name that can be shown and stands before a colon.
pub fn name(text: &str) -> Option<String> {
    let good = !text.trim().is_empty() && text.len() <= MAX_NAME && !text.contains(is_harmful);
    good.then(|| text.to_owned())
}

/// A login, or a logout of a name that was logged in.
pub fn say(kind: &str, name: &str) -> Vec<u8> {
    format!("{{\"type\": \"{kind}\", \"username\": {}}}", json_string(name)).into_bytes()
}

/// As many of these as a datagram holds, the first ones first.
pub fn list<'a>(users: impl Iterator<Item = (&'a str, SocketAddrV4)>) -> Vec<u8> {
    let mut text = String::from("{");
    for (name, at) in users {
        let separator = if text.len() > 1 { ", " } else { "" };
        let entry = format!("{separator}{}: [\"{}\", {}]", json_string(name), at.ip(), at.port());
        if text.len() + entry.len() < MAX_DATAGRAM {
            text += &entry;
        }
    }
    (text + "}").into_bytes()
}

/// As Python's `json.dumps` writes it: beyond ASCII everything escaped.
fn json_string(text: &str) -> String {
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        }
    }
    out
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::TooLong => write!(f, "more than {MAX_DATAGRAM} bytes"),
            Bad::NotJson => f.write_str("no JSON object"),
            Bad::Type => f.write_str("neither login nor logout"),
            Bad::Name => write!(f, "a username has 1 to {MAX_NAME} bytes"),
        }
    }
}
