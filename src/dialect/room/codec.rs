//! Commands and their two framings.
//!
//! Lines: `CMD args\n`. Lengths: four bytes of big-endian length, then `CMD args` without a line
//! end (captures 000-prototype, 000-main-lengthprefix). A lengths' first byte is always zero, a
//! line's never.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{MAX_FRAME, MAX_NICK};
use crate::model::text::is_harmful;

/// How commands are told apart on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each ends with a line end: branch `prototype`, dialect A.
    Lines,
    /// Each begins with its length: branch `main`, dialect B.
    Lengths,
}

/// Bytes that are no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Longer than [`MAX_FRAME`]; a length says so before the bytes come.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// Neither a length nor a letter stands first.
    Neither(u8),
    /// A command we know, with arguments that it cannot have.
    Arguments(String),
    /// A command that nobody knows.
    Unknown(String),
}

/// One user as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The nickname.
    pub nick: String,
    /// Its host, and the UDP port at which it is asked for a private chat.
    pub at: SocketAddrV4,
}

/// What a command means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `REGISTER nick port`: a client wants in; the port is its UDP port.
    Register(String, u16),
    /// `BROADCAST nick text`: to the server, and in lengths from it too.
    Broadcast(String, String),
    /// `QUIT`: a client goes.
    Quit,
    /// `WELCOME nick`: the server took the client.
    Welcome(String),
    /// `USERLIST nick:ip:port …`: everyone, the client itself included.
    UserList(Vec<Listed>),
    /// `USER_JOINED nick ip port`.
    Joined(Listed),
    /// `USER_LEFT nick`.
    Left(String),
    /// `BROADCAST_MSG nick text`: in lines, from the server.
    BroadcastMsg(String, String),
    /// `ERROR text`.
    Error(String),
    /// `CHAT_REQUEST port`, by UDP: connect there for a private chat.
    ChatRequest(u16),
    /// `CHAT_REJECTED`, by UDP.
    ChatRejected,
    /// An empty command: nothing.
    Nothing,
}

/// A stream cut into commands. Holds what was fed and not yet taken.
#[derive(Default)]
pub struct Frames {
    framing: Option<Framing>,
    buffer: Vec<u8>,
    /// So much of it is known to hold no line end.
    scanned: usize,
    /// The rest of a line that is too long.
    skipping: bool,
    broken: bool,
}

impl Frames {
    /// A reader that knows its framing already: a client's.
    pub fn of(framing: Framing) -> Frames {
        Frames { framing: Some(framing), ..Frames::default() }
    }

    /// The framing, once the first byte has told it.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Nothing more can be read: the stream has lost its place.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Takes bytes in. The caller feeds no more before [`Frames::take`] gave `None`.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole command.
    pub fn take(&mut self) -> Option<Result<String, Bad>> {
        let first = *self.buffer.first()?;
        let framing = match self.framing {
            Some(framing) => framing,
            None if first == 0 => Framing::Lengths,
            None if matches!(first, b' '..=b'~' | b'\n' | b'\r') => Framing::Lines,
            None => return self.give_up(Bad::Neither(first)),
        };
        self.framing = Some(framing);
        match framing {
            Framing::Lines => self.line(),
            Framing::Lengths => self.counted(),
        }
    }

    /// The stream has ended: a last line may lack its end.
    pub fn end(&mut self) -> Option<Result<String, Bad>> {
        let rest = std::mem::take(&mut self.buffer);
        let line = self.framing == Some(Framing::Lines) && !self.skipping && !rest.is_empty();
        line.then(|| text(&rest))
    }

    fn line(&mut self) -> Option<Result<String, Bad>> {
        loop {
            let new = &self.buffer[self.scanned..];
            let Some(end) = new.iter().position(|b| *b == b'\n').map(|at| self.scanned + at) else {
                self.scanned = self.buffer.len();
                if self.buffer.len() <= MAX_FRAME {
                    return None;
                }
                self.buffer.clear();
                self.scanned = 0;
                let first = !std::mem::replace(&mut self.skipping, true);
                return first.then_some(Err(Bad::TooLong));
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.scanned = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            return Some(if end > MAX_FRAME { Err(Bad::TooLong) } else { text(&line[..end]) });
        }
    }

    fn counted(&mut self) -> Option<Result<String, Bad>> {
        let head: [u8; 4] = self.buffer.get(..4)?.try_into().ok()?;
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_FRAME {
            return self.give_up(Bad::TooLong);
        }
        let body = self.buffer.get(4..4 + length).map(text)?;
        self.buffer.drain(..4 + length);
        Some(body)
    }

    fn give_up(&mut self, bad: Bad) -> Option<Result<String, Bad>> {
        self.broken = true;
        self.buffer = Vec::new();
        Some(Err(bad))
    }
}

fn text(bytes: &[u8]) -> Result<String, Bad> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Bad::NotText)
}

/// One datagram: a command as it is, or with its length before it.
///
/// # Errors
/// It is none.
pub fn datagram(bytes: &[u8]) -> Result<(Framing, Said), Bad> {
    if bytes.len() > MAX_FRAME {
        return Err(Bad::TooLong);
    }
    let (framing, body) = match bytes {
        [0, b, c, d, body @ ..] => {
            let length = u32::from_be_bytes([0, *b, *c, *d]) as usize;
            if length != body.len() {
                return Err(Bad::Arguments(format!(
                    "a length of {length} before {} bytes",
                    body.len()
                )));
            }
            (Framing::Lengths, body)
        }
        body => (Framing::Lines, body),
    };
    Ok((framing, parse(&text(body)?)?))
}

/// What a command means. Runs of blanks between arguments count as one; those within a text stay.
///
/// # Errors
/// It means nothing.
pub fn parse(frame: &str) -> Result<Said, Bad> {
    let (command, rest) = word(frame);
    let mut words = rest.split_whitespace();
    let wrong = || Bad::Arguments(format!("{command} with other arguments than it has"));
    let said = match command {
        "" => Said::Nothing,
        "REGISTER" => {
            let (Some(nick), Some(port), None) = (words.next(), words.next(), words.next()) else {
                return Err(wrong());
            };
            Said::Register(nickname(nick)?, port_of(port)?)
        }
        "QUIT" => Said::Quit,
        "WELCOME" => Said::Welcome(words.next().ok_or_else(wrong)?.into()),
        // an entry that cannot be read is left out, the others hold
        "USERLIST" => Said::UserList(words.filter_map(listed).collect()),
        "USER_JOINED" => {
            let (Some(nick), Some(ip), Some(port)) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let ip: Ipv4Addr = ip.parse().map_err(|_| wrong())?;
            let at = SocketAddrV4::new(ip, port_of(port)?);
            Said::Joined(Listed { nick: nickname(nick)?, at })
        }
        "USER_LEFT" => Said::Left(words.next().ok_or_else(wrong)?.into()),
        "BROADCAST" | "BROADCAST_MSG" => {
            let (nick, text) = word(rest);
            let text = text.trim_end();
            if text.is_empty() {
                return Err(wrong());
            }
            let (nick, text) = (nick.to_owned(), text.to_owned());
            match command {
                "BROADCAST" => Said::Broadcast(nick, text),
                _ => Said::BroadcastMsg(nick, text),
            }
        }
        "ERROR" => Said::Error(rest.trim().into()),
        "CHAT_REQUEST" => Said::ChatRequest(port_of(words.next().ok_or_else(wrong)?)?),
        "CHAT_REJECTED" => Said::ChatRejected,
        other => return Err(Bad::Unknown(other.chars().take(24).collect())),
    };
    Ok(said)
}

/// The first word, and what follows it without the blanks between.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn listed(entry: &str) -> Option<Listed> {
    let (rest, port) = entry.rsplit_once(':')?;
    let (nick, ip) = rest.rsplit_once(':')?;
    let at = SocketAddrV4::new(ip.parse().ok()?, port_of(port).ok()?);
    Some(Listed { nick: nickname(nick).ok()?, at })
}

/// A nickname that every client can carry: its lists have colons between their parts.
pub fn nickname(text: &str) -> Result<String, Bad> {
    let bad = |c: char| c == ':' || c.is_whitespace() || is_harmful(c);
    if text.is_empty() || text.len() > MAX_NICK || text.contains(bad) {
        return Err(Bad::Arguments(format!(
            "a nickname has 1 to {MAX_NICK} bytes and neither blank nor colon"
        )));
    }
    Ok(text.into())
}

fn port_of(text: &str) -> Result<u16, Bad> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| Bad::Arguments("a port is a number from 1 to 65535".into()))
}

/// A command framed for its reader.
pub fn frame(framing: Framing, command: &str) -> Vec<u8> {
    match framing {
        Framing::Lines => [command.as_bytes(), b"\n"].concat(),
        Framing::Lengths => {
            let length = u32::try_from(command.len()).unwrap_or(u32::MAX);
            [&length.to_be_bytes(), command.as_bytes()].concat()
        }
    }
}

/// A command as a datagram: lengths keep theirs, lines have no line end there.
pub fn packet(framing: Framing, command: &str) -> Vec<u8> {
    match framing {
        Framing::Lines => command.as_bytes().to_vec(),
        Framing::Lengths => frame(framing, command),
    }
}

/// What a server says when somebody spoke to everyone.
pub fn spoken(framing: Framing, nick: &str, text: &str) -> String {
    match framing {
        Framing::Lines => format!("BROADCAST_MSG {nick} {text}"),
        Framing::Lengths => format!("BROADCAST {nick} {text}"),
    }
}

/// `USERLIST` with as many as one read of a client holds, and those that did not fit.
pub fn user_list(users: &[Listed]) -> (String, &[Listed]) {
    let mut line = String::from("USERLIST");
    for (n, user) in users.iter().enumerate() {
        let entry = format!(" {}:{}:{}", user.nick, user.at.ip(), user.at.port());
        if line.len() + entry.len() + 4 > super::MAX_SENT {
            return (line, &users[n..]);
        }
        line += &entry;
    }
    (line, &[])
}

/// `USER_JOINED nick ip port`: exactly three arguments, or the real client's loop ends.
pub fn joined(user: &Listed) -> String {
    format!("USER_JOINED {} {} {}", user.nick, user.at.ip(), user.at.port())
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::TooLong => write!(f, "a command of more than {MAX_FRAME} bytes"),
            Bad::NotText => f.write_str("a command that is not UTF-8"),
            Bad::Neither(byte) => write!(f, "it begins with byte {byte:#04x}: no chat room client"),
            Bad::Arguments(text) => f.write_str(text),
            Bad::Unknown(word) => write!(f, "unknown command {word:?}"),
        }
    }
}
