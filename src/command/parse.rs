//! A typed line to what it asks for, or to one sentence that says what to type instead.

use super::table::{ROWS, Row};
use super::{Command, LOBBY};
use crate::model::limits::{MAX_AUTOREPLY, MAX_RECIPIENTS};
use crate::model::{Handle, Wall, near};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    /// Something for the node.
    Command(Command),
    /// Help: about all commands, or one.
    Help(Option<&'static Row>),
    /// The end of this console.
    Quit,
    /// The page's address as a QR code.
    Code,
    /// Speak for this local user from now on; none: list them.
    User(Option<String>),
    /// One JSON object per line from now on, or this again.
    Mode {
        /// The former.
        json: bool,
    },
    /// Show nothing of what comes, or show it again.
    Mute(bool),
    /// So many columns; none: the terminal is to say how many it has.
    Width(Option<u16>),
    /// The images that came; or where the one of this number is; or that one, over the line.
    Save {
        /// Which.
        number: Option<u32>,
        /// Over the line.
        back: bool,
    },
    /// An empty line.
    Nothing,
}

/// Why a line is no command. `Display` says what to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// No command of that name; perhaps one near it.
    Unknown {
        /// What was typed.
        word: String,
        /// The command it resembles.
        near: Option<&'static str>,
    },
    /// An argument is missing.
    Missing {
        /// The command.
        row: &'static Row,
        /// What it needs.
        what: &'static str,
    },
    /// More than the command takes.
    Extra {
        /// The command.
        row: &'static Row,
        /// What was too much.
        found: String,
    },
    /// An argument is not what is expected.
    Bad {
        /// The command.
        row: &'static Row,
        /// Why.
        reason: String,
    },
    /// More recipients than [`MAX_RECIPIENTS`].
    Recipients {
        /// How many were named.
        found: usize,
    },
}

/// Reads one line.
pub fn parse(line: &str) -> Result<Typed, Mistake> {
    let (word, rest) = split_word(line);
    if word.is_empty() {
        return Ok(Typed::Nothing);
    }
    let row = Row::named(word).ok_or_else(|| unknown(word))?;
    let missing = |what| Err(Mistake::Missing { row, what });
    let command = match row.name {
        "JOIN" => nothing_more(row, rest, Command::Join {})?,
        "LEAVE" => nothing_more(row, rest, Command::Leave {})?,
        // as the directory's own program has it
        "BACK" if word.eq_ignore_ascii_case("/back") => {
            nothing_more(row, rest, Command::Close { handle: None })?
        }
        "BACK" => nothing_more(row, rest, Command::SetPresence { away: false, text: None })?,
        "STATUS" => nothing_more(row, rest, Command::Status {})?,
        "QUIT" => {
            nothing_more(row, rest, Command::Status {})?;
            return Ok(Typed::Quit);
        }
        "QR" => {
            nothing_more(row, rest, Command::Status {})?;
            return Ok(Typed::Code);
        }
        "WHO" if rest.eq_ignore_ascii_case("gone") => Command::Who { gone: true },
        "WHO" => nothing_more(row, rest, Command::Who { gone: false })?,
        "MSG" => {
            let (to, text) = recipients(row, rest)?;
            if text.is_empty() {
                return missing("a text");
            }
            Command::Send { to, text: text.into() }
        }
        "ALL" if rest.is_empty() => return missing("a text"),
        "ALL" => Command::Send { to: vec![LOBBY.into()], text: rest.into() },
        "IMG" | "FILE" => {
            let (to, path) = recipients(row, rest)?;
            let path = unquoted(path.trim_end());
            if path.is_empty() {
                return missing("a file");
            }
            Command::SendFile { to, path: path.into(), descriptor: None, name: None }
        }
        "HISTORY" => history(row, rest)?,
        "SEARCH" if rest.trim().is_empty() => return missing("a word to look for"),
        "SEARCH" => Command::Search { words: rest.trim_end().into(), before: None, limit: None },
        "FORGET" => forget(row, rest)?,
        "AWAY" => {
            let text = unquoted(rest.trim_end());
            let text = (!text.is_empty()).then(|| reply_text(row, text)).transpose()?;
            Command::SetPresence { away: true, text }
        }
        "HANDLE" if rest.is_empty() => return missing("a name"),
        "HANDLE" => {
            let handle = handle(row, rest)?;
            Command::SetHandle { handle }
        }
        "AUTOREPLY" if rest.is_empty() => return missing("a text, or OFF"),
        "AUTOREPLY" if rest.trim_end().eq_ignore_ascii_case("off") => {
            Command::SetAutoreply { text: String::new() }
        }
        "AUTOREPLY" => Command::SetAutoreply { text: reply_text(row, unquoted(rest.trim_end()))? },
        "CHAT" => Command::Chat { handle: one_word(row, rest)? },
        "ACCEPT" => Command::Accept { number: number(row, rest)? },
        "REFUSE" => Command::Refuse { number: number(row, rest)? },
        "PAUSE" => Command::Pause { number: number(row, rest)? },
        "RESUME" => Command::Resume { number: number(row, rest)? },
        "CANCEL" => Command::Cancel { number: number(row, rest)? },
        "CLOSE" if rest.is_empty() => Command::Close { handle: None },
        "CLOSE" => Command::Close { handle: Some(one_word(row, rest)?) },
        "BLOCK" => Command::Block { handle: one_word(row, rest)? },
        "UNBLOCK" => Command::Unblock { handle: one_word(row, rest)? },
        "ROOM" => room(row, rest)?,
        "VERIFY" => Command::Verify { handle: one_word(row, rest)? },
        "TRUST" => Command::Trust { handle: one_word(row, rest)? },
        "CONFIG" if split_word(rest).0.eq_ignore_ascii_case("width") => {
            return width(row, split_word(rest).1);
        }
        "CONFIG" if split_word(rest).0.eq_ignore_ascii_case("time") => {
            Command::SetTime { time: time(row, split_word(rest).1)? }
        }
        "CONFIG" => config(row, rest)?,
        "DOCTOR" => nothing_more(row, rest, Command::Doctor {})?,
        "NETWORK" => nothing_more(row, rest, Command::Network {})?,
        "LOG" => match split_word(rest) {
            ("", _) => Command::Log { lines: None },
            (number, "") => {
                let bad =
                    || Mistake::Bad { row, reason: format!("a number of lines, not {number}") };
                Command::Log { lines: Some(number.parse().map_err(|_| bad())?) }
            }
            (_, more) => return Err(Mistake::Extra { row, found: more.into() }),
        },
        "REBOOT" => nothing_more(row, rest, Command::Reboot {})?,
        "POWEROFF" => nothing_more(row, rest, Command::PowerOff {})?,
        "FACTORY-RESET" if rest.trim_end().eq_ignore_ascii_case("yes") => Command::FactoryReset {},
        "FACTORY-RESET" if rest.is_empty() => return missing("a YES"),
        "FACTORY-RESET" => nothing_more(row, rest, Command::FactoryReset {})?,
        "MODE" => match rest.trim_end().to_ascii_lowercase().as_str() {
            "json" => return Ok(Typed::Mode { json: true }),
            "text" => return Ok(Typed::Mode { json: false }),
            "" => return missing("JSON or TEXT"),
            _ => return Err(Mistake::Bad { row, reason: format!("JSON or TEXT, not {rest}") }),
        },
        "SAVE" => return save(row, rest),
        "MUTE" | "UNMUTE" => {
            nothing_more(row, rest, Command::Status {})?;
            return Ok(Typed::Mute(row.name == "MUTE"));
        }
        "FORM" => {
            let (handle, form) = split_word(rest);
            if handle.is_empty() {
                return missing("a handle");
            }
            let form = match split_word(form) {
                (form, "") => form,
                (_, more) => return Err(Mistake::Extra { row, found: more.into() }),
            };
            let form = (!form.is_empty() && !form.eq_ignore_ascii_case("auto")).then_some(form);
            Command::SetForm { handle: handle.into(), form: form.map(str::to_lowercase) }
        }
        "USER" if rest.is_empty() => return Ok(Typed::User(None)),
        "USER" => return Ok(Typed::User(Some(one_word(row, rest)?))),
        "HELP" if rest.is_empty() => return Ok(Typed::Help(None)),
        "HELP" => {
            let word = one_word(row, rest)?;
            return Row::named(&word).map(|r| Typed::Help(Some(r))).ok_or_else(|| unknown(&word));
        }
        // A row without an arm: the test below goes through all rows, so none gets here.
        _ => return Err(unknown(word)),
    };
    Ok(Typed::Command(command))
}

/// The first word and what follows it, without the white space before either.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(text).trim()
}

fn nothing_more(row: &'static Row, rest: &str, command: Command) -> Result<Command, Mistake> {
    if rest.is_empty() { Ok(command) } else { Err(Mistake::Extra { row, found: rest.into() }) }
}

fn one_word(row: &'static Row, rest: &str) -> Result<String, Mistake> {
    match split_word(rest) {
        ("", _) => {
            let what = if row.name == "HELP" { "a command" } else { "a handle" };
            Err(Mistake::Missing { row, what })
        }
        (word, "") => Ok(word.into()),
        (_, more) => Err(Mistake::Extra { row, found: more.into() }),
    }
}

/// What somebody's asking is named by; `#3` is 3.
fn number(row: &'static Row, rest: &str) -> Result<u32, Mistake> {
    if rest.is_empty() {
        return Err(Mistake::Missing { row, what: "a number" });
    }
    let word = rest.trim_end();
    word.strip_prefix('#').unwrap_or(word).parse().map_err(|_| Mistake::Bad {
        row,
        reason: "the number is in the line that says who asks, and in STATUS".into(),
    })
}

fn handle(row: &'static Row, rest: &str) -> Result<String, Mistake> {
    let name = unquoted(rest.trim_end());
    Handle::try_from(name)
        .map(String::from)
        .map_err(|bad| Mistake::Bad { row, reason: bad.to_string() })
}

fn reply_text(row: &'static Row, text: &str) -> Result<String, Mistake> {
    if text.len() > MAX_AUTOREPLY {
        let reason = format!("{} bytes, at most {MAX_AUTOREPLY} are answered", text.len());
        return Err(Mistake::Bad { row, reason });
    }
    Ok(text.into())
}

/// Handles with commas between them, and the rest. A blank after a comma could mean one more
/// handle or the text: asking is better than sending to the wrong ones.
fn recipients<'a>(row: &'static Row, rest: &'a str) -> Result<(Vec<String>, &'a str), Mistake> {
    let (word, left) = split_word(rest);
    let mut to: Vec<String> = Vec::new();
    let mut found = 0;
    for name in word.split(',').filter(|n| !n.is_empty()) {
        found += 1;
        if found <= MAX_RECIPIENTS && !to.iter().any(|t| t.eq_ignore_ascii_case(name)) {
            to.push(name.into());
        }
    }
    if to.is_empty() {
        return Err(Mistake::Missing { row, what: "a handle" });
    }
    if found > MAX_RECIPIENTS {
        return Err(Mistake::Recipients { found });
    }
    if word.ends_with(',') && !left.is_empty() {
        let reason = format!("no blank after the comma between handles: {}", row.usage);
        return Err(Mistake::Bad { row, reason });
    }
    Ok((to, left))
}

/// `[who] [n] [BEFORE number]`; a lone number says how many.
fn history(row: &'static Row, rest: &str) -> Result<Command, Mistake> {
    let (mut with, mut limit, mut before) = (None, None, None);
    let mut words = rest.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let number = word.parse().ok().filter(|_| limit.is_none());
        if word.eq_ignore_ascii_case("before") && before.is_none() && words.peek().is_some() {
            before = Some(entry_number(row, words.next())?);
        } else if number.is_some() && (with.is_some() || words.peek().is_none_or(is_before)) {
            limit = number;
        } else if with.is_none() && limit.is_none() && before.is_none() {
            with = Some(word.to_owned());
        } else {
            return Err(Mistake::Extra { row, found: word.into() });
        }
    }
    Ok(Command::History { with, before, limit })
}

fn is_before(word: &&str) -> bool {
    word.eq_ignore_ascii_case("before")
}

fn entry_number(row: &'static Row, word: Option<&str>) -> Result<u64, Mistake> {
    let word = word.ok_or(Mistake::Missing { row, what: "an entry's number" })?;
    word.trim_start_matches('#').parse().map_err(|_| Mistake::Bad {
        row,
        reason: format!("{word} is no entry's number: HISTORY shows them"),
    })
}

fn forget(row: &'static Row, rest: &str) -> Result<Command, Mistake> {
    let mut words = rest.split_whitespace();
    let Some(first) = words.next() else {
        return Err(Mistake::Missing { row, what: "whom, ENTRY and its number, or ALL" });
    };
    let delete = if first.eq_ignore_ascii_case("all") {
        Command::Delete { entry: None, with: None, all: true }
    } else if first.eq_ignore_ascii_case("key") && words.clone().next().is_some() {
        Command::ForgetKey { handle: words.next().unwrap_or_default().into() }
    } else if first.eq_ignore_ascii_case("entry") {
        let entry = Some(entry_number(row, words.next())?);
        Command::Delete { entry, with: None, all: false }
    } else {
        Command::Delete { entry: None, with: Some(first.into()), all: false }
    };
    match words.next() {
        None => Ok(delete),
        Some(more) => Err(Mistake::Extra { row, found: more.into() }),
    }
}

fn room(row: &'static Row, rest: &str) -> Result<Command, Mistake> {
    let (act, name) = split_word(rest);
    let name = |what: &str| match (split_word(name), what) {
        (("", _), _) => Err(Mistake::Missing { row, what: "a room's name" }),
        ((name, ""), _) => Ok(name.to_owned()),
        ((_, more), _) => Err(Mistake::Extra { row, found: more.into() }),
    };
    match act.to_ascii_lowercase().as_str() {
        "" => Ok(Command::Rooms {}),
        "list" => nothing_more(row, split_word(rest).1, Command::Rooms {}),
        "join" => Ok(Command::RoomJoin { room: name(act)? }),
        "leave" => Ok(Command::RoomLeave { room: name(act)? }),
        "who" => Ok(Command::RoomWho { room: name(act)? }),
        _ => {
            let reason = format!("JOIN, LEAVE, LIST or WHO, not {act}");
            Err(Mistake::Bad { row, reason })
        }
    }
}

fn config(row: &'static Row, rest: &str) -> Result<Command, Mistake> {
    let (key, value) = split_word(rest);
    let value = unquoted(value.trim_end());
    if key.eq_ignore_ascii_case("inactive") && !value.is_empty() {
        let away = switch(value).ok_or_else(|| Mistake::Bad {
            row,
            reason: format!("inactive is ON or OFF, not {value}"),
        })?;
        return Ok(Command::SetPresence { away, text: None });
    }
    let quoted_empty = matches!(split_word(rest).1.trim(), "\"\"" | "''");
    Ok(Command::Config {
        key: (!key.is_empty()).then(|| key.to_lowercase()),
        value: (!value.is_empty() || quoted_empty).then(|| value.into()),
    })
}

/// A time as people write it, in UTC; seconds may be left out.
fn time(row: &'static Row, text: &str) -> Result<Wall, Mistake> {
    let text = unquoted(text.trim_end());
    if text.is_empty() {
        return Err(Mistake::Missing { row, what: "a time" });
    }
    let whole = if text.len() == "2026-11-21 18:00".len() { &format!("{text}:00") } else { text };
    humantime::parse_rfc3339_weak(whole).map(Wall::from_system).map_err(|_| Mistake::Bad {
        row,
        reason: format!("a time in UTC such as 2026-11-21 18:00, not {text}"),
    })
}

fn save(row: &'static Row, rest: &str) -> Result<Typed, Mistake> {
    let (number, more) = split_word(rest);
    let back = match more.trim_end() {
        "" => false,
        "-" => true,
        more => return Err(Mistake::Extra { row, found: more.into() }),
    };
    let bad = || Mistake::Bad { row, reason: format!("an image's number, not {number}") };
    let number = match number {
        "" => None,
        number => Some(number.parse().map_err(|_| bad())?),
    };
    Ok(Typed::Save { number, back })
}

fn width(row: &'static Row, value: &str) -> Result<Typed, Mistake> {
    let value = unquoted(value.trim_end());
    if value.is_empty() {
        return Ok(Typed::Width(None));
    }
    let reason = || format!("width is a number of columns, not {value}");
    let width = value.parse().map_err(|_| Mistake::Bad { row, reason: reason() })?;
    Ok(Typed::Width(Some(width)))
}

/// A switch in the words people use.
pub fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn unknown(word: &str) -> Mistake {
    let shown: String = word.trim_start_matches('/').chars().take(24).collect();
    let upper = shown.to_uppercase();
    let near = near::meant(&upper, ROWS.iter().map(|row| row.name));
    Mistake::Unknown { word: shown, near }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mistake::Unknown { word, near: Some(near) } => {
                write!(f, "no command {word}: did you mean {near}? HELP lists them")
            }
            Mistake::Unknown { word, near: None } => {
                write!(f, "no command {word}: HELP lists them; ALL text writes to everyone")
            }
            Mistake::Missing { row, what } => {
                write!(f, "{} needs {what}: {}", row.name, row.example)
            }
            Mistake::Extra { row, found } => {
                write!(f, "{} does not take \"{found}\": {}", row.name, row.usage)
            }
            Mistake::Bad { row, reason } => write!(f, "{}: {reason}", row.name),
            Mistake::Recipients { found } => {
                write!(f, "{found} recipients, at most {MAX_RECIPIENTS} at once: ALL for everyone")
            }
        }
    }
}

impl std::error::Error for Mistake {}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
