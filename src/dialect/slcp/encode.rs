//! What we put on the wire, in bytes: the discovery words of PROTOCOLS section 3, lists and
//! texts in the form a peer understands.
//!
//! Nothing here can be made to emit what stops a known program
//! (captures/slcp-poison-matrix.txt); a test holds it to that.

use std::net::Ipv4Addr;

use super::forms::{Form, ListForm, Quoting, TextForm};
use super::said::{Entry, ListSeparator, ListWord};
use super::words;
use crate::model::Handle;
use crate::model::limits::{SLCP_LINE, SLCP_PARTS};

/// A text that does not fit into [`SLCP_PARTS`] messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length in bytes.
    pub bytes: usize,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes;
        write!(f, "a text of {bytes} bytes does not fit into {SLCP_PARTS} messages")
    }
}

impl std::error::Error for TooLong {}

/// `JOIN <handle> <port>\n`
pub fn join(handle: &Handle, port: u16) -> Vec<u8> {
    format!("JOIN {handle} {port}\n").into_bytes()
}

/// `LEAVE <handle>\n`
pub fn leave(handle: &Handle) -> Vec<u8> {
    format!("LEAVE {handle}\n").into_bytes()
}

/// `WHO\n`
pub fn who() -> Vec<u8> {
    b"WHO\n".to_vec()
}

/// `AWAY <handle>`
pub fn away(handle: &Handle) -> Vec<u8> {
    format!("AWAY {handle}").into_bytes()
}

/// `BACK <handle>`
pub fn back(handle: &Handle) -> Vec<u8> {
    format!("BACK {handle}").into_bytes()
}

/// `["JOIN", "<handle>", "<ip>", <port>]`, for 002 main.
pub fn json_join(handle: &Handle, ip: Ipv4Addr, port: u16) -> Vec<u8> {
    format!("[\"JOIN\", {}, \"{ip}\", {port}]", json_string(handle.as_str())).into_bytes()
}

/// `["WHO", "<handle>"]`, for 002 main.
pub fn json_who(handle: &Handle) -> Vec<u8> {
    format!("[\"WHO\", {}]", json_string(handle.as_str())).into_bytes()
}

/// `IAM <handle> <ip> <port>\n`, the answer to WHOIS.
pub fn iam(handle: &Handle, ip: Ipv4Addr, port: u16) -> Vec<u8> {
    format!("IAM {handle} {ip} {port}\n").into_bytes()
}

/// The datagrams (or lines) that list these users, each at most [`SLCP_LINE`] bytes. None for
/// an empty list in a form whose empty list stops a program.
pub fn lists(entries: &[Entry], form: &ListForm) -> Vec<Vec<u8>> {
    let (head, between, end) = match form.separator {
        ListSeparator::CommaSpace => (" ", ", ", ""),
        ListSeparator::Comma | ListSeparator::Colons => (" ", ",", ""),
        ListSeparator::Spaces | ListSeparator::Team => (" ", " ", ""),
        ListSeparator::Json => (", \"", "\", \"", "\"]"),
    };
    let word = match form.word {
        ListWord::KnowUsers => "KNOWUSERS",
        ListWord::KnownUsers => "KNOWNUSERS",
        ListWord::Seen => "SEEN",
    };
    let start = if form.separator == ListSeparator::Json {
        format!("[\"{word}\"")
    } else {
        word.to_string()
    };
    let end = if form.newline { format!("{end}\n") } else { end.to_string() };
    if entries.is_empty() {
        // Empty KNOWNUSERS stops khan; KNOWUSERS stops nobody (slcp-poison-matrix.txt, k and k2).
        let safe = form.word == ListWord::KnowUsers && form.separator != ListSeparator::Json;
        return if safe { vec![format!("{start}{end}").into_bytes()] } else { Vec::new() };
    }
    let mut out = Vec::new();
    let mut line = String::new();
    for entry in entries {
        let item = item(entry, form.separator);
        if !line.is_empty() && line.len() + between.len() + item.len() + end.len() > SLCP_LINE {
            out.push((std::mem::take(&mut line) + &end).into_bytes());
        }
        if line.is_empty() {
            line = format!("{start}{head}{item}");
        } else {
            line += between;
            line += &item;
        }
    }
    out.push((line + &end).into_bytes());
    out
}

fn item(entry: &Entry, separator: ListSeparator) -> String {
    let Entry { handle, ip, port, away } = entry;
    match separator {
        ListSeparator::Colons => format!("{handle}:{ip}:{port}"),
        ListSeparator::Comma | ListSeparator::CommaSpace if *away => {
            format!("{handle} {ip} {port} [AFK]")
        }
        ListSeparator::Json => {
            let text = json_string(&format!("{handle} {ip} {port}"));
            text.trim_matches('"').to_string()
        }
        _ => format!("{handle} {ip} {port}"),
    }
}

/// The messages that carry a text from our user `me` to `peer`, each at most [`SLCP_LINE`]
/// bytes, split between words where it is longer. Line ends and other control characters become
/// blanks; a text of nothing else gives no message.
pub fn texts(form: &Form, me: &Handle, peer: &Handle, text: &str) -> Result<Vec<Vec<u8>>, TooLong> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let rest = clean.trim();
    let too_long = TooLong { bytes: text.len() };
    let (head, end) = match form.text {
        TextForm::SenderFirst => (format!("MSG {me} "), ""),
        TextForm::ReceiverFirst => (format!("MSG {peer} "), ""),
        TextForm::Both => (format!("MSG {me} {peer} "), ""),
        TextForm::Raw => (format!("{me}: "), ""),
        TextForm::JsonArray => (
            format!("[\"MSG\", {}, {}, \"", json_string(me.as_str()), json_string(peer.as_str())),
            "\"]",
        ),
    };
    let end = if form.newline { format!("{end}\n") } else { end.to_string() };
    let json = form.text == TextForm::JsonArray;
    let quotes = match form.quoting {
        Quoting::Always | Quoting::IfNeeded | Quoting::IfMistaken if !json => 2,
        _ => 0,
    };
    let room = SLCP_LINE - head.len() - end.len() - quotes;
    let mut out = Vec::new();
    let parts = Parts { rest, room, cost: |c| cost(c, form.quoting, json) };
    for part in parts {
        if out.len() == SLCP_PARTS {
            return Err(too_long);
        }
        let body = if json {
            let text = json_string(part);
            text[1..text.len() - 1].to_string()
        } else {
            quote(part, form.quoting)
        };
        out.push(format!("{head}{body}{end}").into_bytes());
    }
    Ok(out)
}

/// The text of an automatic answer, marked as 001 marks it, so that nobody answers it.
pub fn autoreply_text(text: &str) -> String {
    format!("{}{text}", words::AUTOREPLY)
}

/// Bytes that a character takes in the worst case.
fn cost(c: char, quoting: Quoting, json: bool) -> usize {
    match (c, quoting) {
        ('"' | '\\', _) if json => 2,
        ('"' | '\\', Quoting::Always | Quoting::IfNeeded | Quoting::IfMistaken) => 2,
        (' ', Quoting::Backslash) => 2,
        _ => c.len_utf8(),
    }
}

fn quote(text: &str, quoting: Quoting) -> String {
    let needed = match quoting {
        Quoting::None => return text.to_string(),
        Quoting::Backslash => return text.replace(' ', "\\ "),
        Quoting::Always => true,
        Quoting::IfNeeded => text.contains([' ', '"', '\\']),
        Quoting::IfMistaken => words::unguard(text).0 != text,
    };
    if needed { words::guard(text) } else { text.to_string() }
}

/// A text as a JSON string, quotes included.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Cuts a text into pieces of at most `room` bytes as `cost` counts them, between words where
/// that is possible.
struct Parts<'a, F> {
    rest: &'a str,
    room: usize,
    cost: F,
}

impl<'a, F: Fn(char) -> usize> Iterator for Parts<'a, F> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest;
        if rest.is_empty() {
            return None;
        }
        let (mut used, mut blank) = (0, None);
        for (at, c) in rest.char_indices() {
            used += (self.cost)(c);
            if used > self.room {
                // A blank may be the one that is too much: it need not be sent.
                let cut = if c == ' ' { at } else { blank.unwrap_or(at) };
                let (part, later) = rest.split_at(cut);
                self.rest = later.trim_start();
                return Some(part.trim_end());
            }
            if c == ' ' && at > 0 {
                blank = Some(at);
            }
        }
        self.rest = "";
        Some(rest)
    }
}
