//! 002 main's dialect: every message is a JSON array whose first element is the word
//! (captures/slcp-002-lucaatm-main-json). Nesting is cut off by `serde_json` itself, at 128.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::MAX_TEXT;
use super::said::{
    First, ImageHead, ImageStyle, JoinShape, JoinStyle, ListSeparator, ListStyle, ListWord, Said,
    TextStyle, Unreadable,
};
use super::{image, lists, words};
use crate::model::Handle;

/// Words that an array of 002 main begins with; any other is an image's sender.
pub(super) const WORDS: &[&str] = &[
    "JOIN",
    "LEAVE",
    "WHO",
    "WHOIS",
    "IAM",
    "MSG",
    "IMG",
    "IMG_CHUNK",
    "AWAY",
    "BACK",
    "KNOWUSERS",
    "KNOWNUSERS",
    "SEEN",
];

/// One array, understood.
pub(super) fn array(
    text: &str,
    newline: bool,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<Said, Unreadable> {
    let array: Vec<Value> = serde_json::from_str(text).map_err(|_| Unreadable::BadJson)?;
    let (word, rest) = array.split_first().ok_or(Unreadable::Missing("word"))?;
    let word = word.as_str().ok_or(Unreadable::BadJson)?;
    match word {
        "JOIN" => {
            let (ip, at) = match rest.get(1).and_then(Value::as_str).map(str::parse) {
                Some(Ok(ip)) => (Some(ip), 2),
                _ => (None, 1),
            };
            Ok(Said::Join {
                handle: handle(rest, 0)?,
                ip,
                port: port(rest.get(at))?,
                udp_port: None,
                style: JoinStyle { shape: JoinShape::Json, newline },
            })
        }
        "LEAVE" => Ok(Said::Leave { handle: handle(rest, 0)? }),
        "AWAY" => Ok(Said::Away { handle: handle(rest, 0)? }),
        "BACK" => Ok(Said::Back { handle: handle(rest, 0)? }),
        "WHO" => Ok(Said::Who {
            handle: handle(rest, 0).ok(),
            reply_port: port(rest.get(1)).ok(),
            json: true,
        }),
        "WHOIS" => Ok(Said::Whois { wanted: handle(rest, 0)?, port: port(rest.get(1)).ok() }),
        "IAM" => {
            let ip = rest.get(1).and_then(Value::as_str).and_then(|ip| ip.parse().ok());
            let ip = ip.ok_or(Unreadable::BadAddress)?;
            let entry = lists::entry(handle(rest, 0)?.as_str(), ip, port(rest.get(2))?);
            Ok(Said::Iam(entry.ok_or(Unreadable::BadAddress)?))
        }
        "KNOWUSERS" => Ok(list(rest, ListWord::KnowUsers, newline)),
        "KNOWNUSERS" => Ok(list(rest, ListWord::KnownUsers, newline)),
        "SEEN" => Ok(list(rest, ListWord::Seen, newline)),
        "MSG" => msg(rest, newline),
        "IMG" => img(rest, is_ours),
        "IMG_CHUNK" => chunk(rest),
        _ => Err(Unreadable::unknown(word)),
    }
}

/// `["MSG", from, to, text]`; an autoreply adds the sender's address and port.
fn msg(rest: &[Value], newline: bool) -> Result<Said, Unreadable> {
    let text = string(rest, 2, "text")?;
    if text.len() > MAX_TEXT {
        return Err(Unreadable::TooLong { max: MAX_TEXT });
    }
    let (text, marked) = words::unmark(text);
    Ok(Said::Text {
        from: Some(handle(rest, 0)?),
        to: Some(handle(rest, 1)?),
        text: text.to_string(),
        autoreply: marked || rest.len() >= 5,
        style: TextStyle { first: First::Json, quoting: None, newline },
    })
}

fn list(rest: &[Value], word: ListWord, newline: bool) -> Said {
    let mut entries = Vec::new();
    for text in rest.iter().filter_map(Value::as_str) {
        for text in text.split(',') {
            lists::segment(text, true, &mut entries);
        }
    }
    Said::List { entries, style: ListStyle { word, separator: Some(ListSeparator::Json), newline } }
}

/// `["IMG", sender, file, size]`, without bytes.
fn img(rest: &[Value], is_ours: &dyn Fn(&str) -> bool) -> Result<Said, Unreadable> {
    let who = handle(rest, 0)?;
    let ours = is_ours(who.as_str());
    let size = rest.iter().skip(1).find_map(|value| match value {
        Value::Number(number) => number.as_u64(),
        _ => None,
    });
    Ok(Said::Image(ImageHead {
        to: ours.then(|| who.clone()),
        from: (!ours).then_some(who),
        name: rest.get(1).and_then(Value::as_str).map(image::name),
        size: Some(size.ok_or(Unreadable::Missing("size"))?),
        connect_back: None,
        comment: None,
        body: Vec::new(),
        style: ImageStyle::Json,
    }))
}

/// `["IMG_CHUNK", id, index, total, base64]` (source: 002 main splits what passes 512 bytes).
fn chunk(rest: &[Value]) -> Result<Said, Unreadable> {
    let id = match rest.first() {
        Some(Value::String(id)) => image::name(id),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(Unreadable::Missing("id")),
    };
    let count = |at: usize, what| match rest.get(at) {
        Some(Value::Number(n)) => {
            n.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(Unreadable::Missing(what))
        }
        Some(Value::String(n)) => n.parse().map_err(|_| Unreadable::Missing(what)),
        _ => Err(Unreadable::Missing(what)),
    };
    let (index, total) = (count(1, "index")?, count(2, "total")?);
    let data =
        STANDARD.decode(string(rest, 3, "data")?.trim()).map_err(|_| Unreadable::BadBase64)?;
    Ok(Said::ImageChunk { id, index, total, data })
}

fn string<'a>(rest: &'a [Value], at: usize, what: &'static str) -> Result<&'a str, Unreadable> {
    rest.get(at).and_then(Value::as_str).ok_or(Unreadable::Missing(what))
}

fn handle(rest: &[Value], at: usize) -> Result<Handle, Unreadable> {
    Ok(Handle::try_from(string(rest, at, "handle")?.trim())?)
}

/// A port, as a number or (where it was typed in) as a string.
fn port(value: Option<&Value>) -> Result<u16, Unreadable> {
    match value {
        Some(Value::String(port)) => super::codec::port(port.trim()),
        Some(Value::Number(port)) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .ok_or(Unreadable::BadPort),
        Some(_) => Err(Unreadable::BadPort),
        None => Err(Unreadable::Missing("port")),
    }
}
