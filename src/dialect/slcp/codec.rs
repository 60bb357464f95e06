//! Bytes into what was meant: one datagram, or one line of a stream, in any variant known.
//!
//! The first word decides. Facts are from PROTOCOLS sections 1 and 2 and captures/slcp-*.

use std::net::Ipv4Addr;

use super::said::{
    First, JoinShape, JoinStyle, ListStyle, ListWord, Noise, Said, TextStyle, Unreadable,
};
use super::{MAX_TEXT, image, json, lists, words};
use crate::model::Handle;

/// One datagram, understood. `is_ours` says whether a handle is one of our local users: the
/// first argument of MSG and IMG that is ours names the receiver, any other the sender.
///
/// Where an image is awaited from the source, its bytes are to be taken before this is asked:
/// some pieces of an image pass for text (captures/slcp-002-lucaatm-NO_IPC).
pub fn datagram(bytes: &[u8], is_ours: &dyn Fn(&str) -> bool) -> Result<Said, Unreadable> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Said::Noise(Noise::Empty));
    }
    if image::begins(bytes) {
        return match image::find(bytes, false, true, is_ours) {
            image::Found::Head(mut head, taken) => {
                head.body = bytes[taken..].to_vec();
                Ok(Said::Image(head))
            }
            image::Found::Bad(bad, _) => Err(bad),
            image::Found::More => Err(Unreadable::Missing("size")),
        };
    }
    line(bytes, true, is_ours)
}

/// One line, with or without its terminator; not an image's header. `both` where it may be
/// jalal's, which names sender and receiver, and sends datagrams only.
pub(super) fn line(
    bytes: &[u8],
    both: bool,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<Said, Unreadable> {
    let newline = bytes.ends_with(b"\n");
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotUtf8)?.trim();
    if text.starts_with('[') {
        return json::array(text, newline, is_ours);
    }
    if text.starts_with('{') {
        return Ok(Said::Noise(Noise::Object));
    }
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match word {
        "JOIN" => join(rest, newline),
        "LEAVE" => Ok(Said::Leave { handle: leaver(rest)? }),
        "AWAY" => Ok(Said::Away { handle: leaver(rest)? }),
        "BACK" => Ok(Said::Back { handle: leaver(rest)? }),
        "WHO" => Ok(who(rest)),
        "WHOIS" => whois(rest),
        "IAM" => {
            let (entries, _) = lists::parse(rest);
            entries.into_iter().next().map(Said::Iam).ok_or(Unreadable::Missing("address"))
        }
        "KNOWUSERS" => Ok(list(rest, ListWord::KnowUsers, newline)),
        "KNOWNUSERS" => Ok(list(rest, ListWord::KnownUsers, newline)),
        "SEEN" => Ok(list(rest, ListWord::Seen, newline)),
        "MSG" => msg(rest, newline, both && !newline, is_ours),
        "GMSG" => gmsg(rest, newline),
        "JOIN_ACK" => Ok(Said::Noise(Noise::JoinAck)),
        "LEAVE_ACK" => Ok(Said::Noise(Noise::LeaveAck)),
        "ERROR" | "ERROR:" => Ok(Said::Noise(Noise::Error)),
        "READY" | "OK" if rest.is_empty() => Ok(Said::Noise(Noise::Ready)),
        _ => colons(text, newline),
    }
}

/// A port between 1 and 65535.
pub(super) fn port(word: &str) -> Result<u16, Unreadable> {
    word.parse().ok().filter(|port| *port != 0).ok_or(Unreadable::BadPort)
}

/// `h p`, `h tcp udp` (florandaa), `team h ip p` (milad3z), `h ip p`.
fn join(rest: &str, newline: bool) -> Result<Said, Unreadable> {
    let words: Vec<&str> = rest.split_whitespace().take(5).collect();
    let ip = |word: &str| word.parse::<Ipv4Addr>().map_err(|_| Unreadable::BadAddress);
    let (handle, ip, tcp, udp, shape) = match words[..] {
        [] => return Err(Unreadable::Missing("handle")),
        [_] => return Err(Unreadable::Missing("port")),
        [handle, port] => (handle, None, port, None, JoinShape::Plain),
        [handle, second, third] => match ip(second) {
            Ok(ip) => (handle, Some(ip), third, None, JoinShape::Team),
            Err(_) => (handle, None, second, Some(third), JoinShape::TwoPorts),
        },
        [_, handle, third, port, ..] => (handle, Some(ip(third)?), port, None, JoinShape::Team),
    };
    Ok(Said::Join {
        handle: Handle::try_from(handle)?,
        ip,
        port: port(tcp)?,
        udp_port: udp.map(port).transpose()?,
        style: JoinStyle { shape, newline },
    })
}

/// `h`, or `team h` (milad3z).
fn leaver(rest: &str) -> Result<Handle, Unreadable> {
    let mut words = rest.split_whitespace();
    let first = words.next().ok_or(Unreadable::Missing("handle"))?;
    let handle = match (words.next(), words.next()) {
        (Some(second), None) => second,
        _ => first,
    };
    Ok(Handle::try_from(handle)?)
}

/// Nothing, a handle (Java), or `team h port` (milad3z). Whatever stands there, it is a WHO.
fn who(rest: &str) -> Said {
    let mut words: Vec<&str> = rest.split_whitespace().take(3).collect();
    let reply_port = match words[..] {
        [_, .., last] => port(last).ok(),
        _ => None,
    };
    if reply_port.is_some() {
        words.pop();
    }
    let handle = words.last().and_then(|word| Handle::try_from(*word).ok());
    Said::Who { handle, reply_port, json: false }
}

/// `Bob 5001` (Meriem), `Bob` (Rajan).
fn whois(rest: &str) -> Result<Said, Unreadable> {
    let mut words = rest.split_whitespace();
    let wanted = Handle::try_from(words.next().ok_or(Unreadable::Missing("handle"))?)?;
    Ok(Said::Whois { wanted, port: words.next().and_then(|word| port(word).ok()) })
}

fn list(rest: &str, word: ListWord, newline: bool) -> Said {
    let (entries, separator) = lists::parse(rest);
    Said::List { entries, style: ListStyle { word, separator, newline } }
}

/// `<sender|receiver> text`, `<sender> <receiver> text` (jalal).
fn msg(
    rest: &str,
    newline: bool,
    both: bool,
    is_ours: &dyn Fn(&str) -> bool,
) -> Result<Said, Unreadable> {
    if rest.is_empty() {
        return Err(Unreadable::Missing("handle"));
    }
    let (name, mut rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let handle = Handle::try_from(name)?;
    let (mut from, mut to, mut first) = (None, None, First::Sender);
    if is_ours(name) {
        (to, first) = (Some(handle), First::Receiver);
    } else {
        from = Some(handle);
        let (second, text) = rest.trim_start().split_once(char::is_whitespace).unwrap_or_default();
        if both && !second.is_empty() && is_ours(second) {
            (to, first, rest) = (Handle::try_from(second).ok(), First::Both, text);
        }
    }
    text(from, to, first, rest, newline)
}

/// `team sender text` (milad3z): to everyone.
fn gmsg(rest: &str, newline: bool) -> Result<Said, Unreadable> {
    let (_, rest) = rest.split_once(char::is_whitespace).ok_or(Unreadable::Missing("handle"))?;
    let rest = rest.trim_start();
    let (from, rest) = rest.split_once(char::is_whitespace).ok_or(Unreadable::Missing("text"))?;
    text(Some(Handle::try_from(from)?), None, First::Team, rest, newline)
}

/// `JOIN:h:p`, `MSG:sender text%20…` (anonymous programs), `Ani: text` (pollo, 002 NO_IPC).
fn colons(line: &str, newline: bool) -> Result<Said, Unreadable> {
    let (word, rest) = line.split_once(':').ok_or_else(|| Unreadable::unknown(line))?;
    match word {
        "JOIN" => {
            let (handle, tcp) = rest.split_once(':').ok_or(Unreadable::Missing("port"))?;
            Ok(Said::Join {
                handle: Handle::try_from(handle.trim())?,
                ip: None,
                port: port(tcp.trim())?,
                udp_port: None,
                style: JoinStyle { shape: JoinShape::Colon, newline },
            })
        }
        "LEAVE" => Ok(Said::Leave { handle: Handle::try_from(rest.trim())? }),
        "WHO" => Ok(who(rest)),
        "MSG" => {
            let rest = rest.trim_start();
            let (from, rest) = rest.split_once([' ', ':']).ok_or(Unreadable::Missing("text"))?;
            let rest = words::unpercent(rest);
            text(Some(Handle::try_from(from)?), None, First::Colon, &rest, newline)
        }
        _ => {
            let from = Handle::try_from(word).map_err(|_| Unreadable::unknown(line))?;
            text(Some(from), None, First::Raw, rest, newline)
        }
    }
}

fn text(
    from: Option<Handle>,
    to: Option<Handle>,
    first: First,
    rest: &str,
    newline: bool,
) -> Result<Said, Unreadable> {
    if rest.len() > MAX_TEXT {
        return Err(Unreadable::TooLong { max: MAX_TEXT });
    }
    let rest = rest.trim();
    let (rest, marked) = words::unmark(rest);
    // Where only the sender stands before the text nothing in it was ever guarded.
    let (text, quoting) = match first {
        First::Raw | First::Colon => (rest.to_string(), None),
        _ => words::unguard(rest),
    };
    // The mark may stand within the quotes.
    let (text, autoreply) = match words::unmark(&text) {
        (inner, true) => (inner.to_string(), true),
        _ => (text, marked),
    };
    Ok(Said::Text { from, to, text, autoreply, style: TextStyle { first, quoting, newline } })
}
