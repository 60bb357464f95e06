//! Reads a command line by the grammar, and writes help and errors of it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Arg::{Long, Short, Value};

use super::grammar::{Arg, EXIT_CODES, GLOBAL, PROGRAM, Times, Verb};
use crate::model::near;

/// Between the columns of help.
const GAP: usize = 2;

/// A line that was read, or what is to be said instead.
pub enum Read {
    /// Nothing of it is missing or too much.
    Line(Found),
    /// Help or the version was asked for: for stdout.
    Said(String),
}

/// What is wrong with a line, and how the verb is used: for stderr.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

/// The words of a line by what the grammar calls them.
pub struct Found {
    /// The program, the verb, and its own verb, as far as they are given.
    path: Vec<&'static Verb>,
    values: Vec<(&'static Arg, OsString)>,
}

impl Found {
    /// The names of the verb, and of its own verb.
    pub fn verbs(&self) -> (Option<&'static str>, Option<&'static str>) {
        let name = |at: usize| self.path.get(at).map(|verb| verb.name);
        (name(1), name(2))
    }

    /// Whether an option is there; one that has a value, or none.
    pub fn has(&self, flag: &str) -> bool {
        self.values.iter().any(|(arg, _)| arg.flag == flag)
    }

    /// Takes the first value of an option, or of a place by what its value is called.
    fn take(&mut self, name: &str) -> Option<(&'static Arg, OsString)> {
        let at = self.values.iter().position(|(arg, _)| arg.is_called(name))?;
        Some(self.values.remove(at))
    }

    /// A value that may be any bytes but none at all.
    ///
    /// # Errors
    /// It is empty.
    pub fn path(&mut self, name: &str) -> Result<Option<PathBuf>, Wrong> {
        match self.take(name) {
            Some((arg, value)) if value.is_empty() => Err(lacks_value(arg)),
            taken => Ok(taken.map(|(_, value)| value.into())),
        }
    }

    /// A value that is text, or can be read from it.
    ///
    /// # Errors
    /// It is not UTF-8, or not what it must be.
    pub fn text<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Wrong> {
        let Some((arg, value)) = self.take(name) else { return Ok(None) };
        let text = utf8(value)?;
        text.parse().map(Some).map_err(|error| invalid(arg, &text, &error))
    }

    /// As [`Found::text`], of what must be there.
    ///
    /// # Errors
    /// As there, or it is missing.
    pub fn need<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<T, Wrong> {
        self.text(name)?.ok_or_else(|| self.unknown())
    }

    /// As [`Found::path`], of what must be there.
    ///
    /// # Errors
    /// It is missing, or empty.
    pub fn need_path(&mut self, name: &str) -> Result<PathBuf, Wrong> {
        self.path(name)?.ok_or_else(|| self.unknown())
    }

    /// What is said where the grammar has what nobody reads: a test sees to it that it has nothing.
    pub fn unknown(&self) -> Wrong {
        wrong(&self.path, "this cannot be done")
    }

    /// All values of a place that may be repeated.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub fn words(&mut self, name: &str) -> Result<Vec<String>, Wrong> {
        // all at once: taken one by one, what is left moves up each time
        let (these, rest) =
            std::mem::take(&mut self.values).into_iter().partition(|(arg, _)| arg.is_called(name));
        self.values = rest;
        let these: Vec<(&Arg, OsString)> = these;
        these.into_iter().map(|(_, word)| utf8(word)).collect()
    }

    /// What is wrong where an option is given together with another that it cannot be with.
    pub fn conflict(&self, one: &str, other: &str) -> Wrong {
        wrong(&self.path, &format!("the argument '{one}' cannot be used with '{other}'"))
    }
}

fn utf8(value: OsString) -> Result<String, Wrong> {
    value
        .into_string()
        .map_err(|_| Wrong("error: invalid UTF-8 was detected in one or more arguments\n".into()))
}

fn invalid(arg: &Arg, value: &str, error: &dyn std::fmt::Display) -> Wrong {
    let shown = arg.shown();
    Wrong(format!("error: invalid value '{value}' for '{shown}': {error}\n\n{MORE}"))
}

fn lacks_value(arg: &Arg) -> Wrong {
    let shown = arg.shown();
    Wrong(format!("error: a value is required for '{shown}' but none was supplied\n\n{MORE}"))
}

const MORE: &str = "For more information, try '--help'.\n";

fn wrong(path: &[&Verb], what: &str) -> Wrong {
    Wrong(format!("error: {what}\n\nUsage: {}\n\n{MORE}", usage(path)))
}

/// Reads a line; its first word is the program's name.
///
/// # Errors
/// It is not by the grammar.
pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Read, Wrong> {
    let mut words = lexopt::Parser::from_iter(line.into_iter().collect::<Vec<_>>());
    let mut found = Found { path: vec![&PROGRAM], values: Vec::new() };
    // the first of the values behind the last verb
    let mut here = 0;
    // behind `--` stands no verb
    let mut ended = false;
    loop {
        ended |= words.raw_args().is_ok_and(|rest| rest.peek().is_some_and(|word| word == "--"));
        // fails with a value that nobody took alone, and `value` sees to that
        let word = words.next().map_err(|error| wrong(&found.path, &error.to_string()))?;
        let Some(word) = word else { return complete(found) };
        let verb: &'static Verb = found.path[found.path.len() - 1];
        let flag = match word {
            Short('h') => return Ok(Read::Said(help(&found.path))),
            Long("help") => return Ok(Read::Said(help(&found.path))),
            Short('V') | Long("version") if found.path.len() == 1 => {
                return Ok(Read::Said(format!("klatsch {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Short(letter) => format!("-{letter}"),
            Long(name) => format!("--{name}"),
            Value(word) if ended || verb.verbs.is_empty() => {
                let arg = free_place(&found, verb).ok_or_else(|| {
                    let word = word.to_string_lossy();
                    wrong(&found.path, &format!("unexpected argument '{word}' found"))
                })?;
                found.values.push((arg, word));
                continue;
            }
            Value(word) if word == "help" => {
                let rest: Vec<OsString> =
                    words.raw_args().map(Iterator::collect).unwrap_or_default();
                for word in rest.iter().filter(|word| *word != "help") {
                    found.path.push(sub(&found.path, word)?);
                }
                return Ok(Read::Said(help(&found.path)));
            }
            Value(word) => {
                found.path.push(sub(&found.path, &word)?);
                here = found.values.len();
                continue;
            }
        };
        let arg = verb.args.iter().chain(GLOBAL).find(|arg| !arg.is_place() && arg.flag == flag);
        let arg = arg.ok_or_else(|| unexpected(&found.path, &flag))?;
        let shown = arg.shown();
        // what was said before the verb is said anew behind it, but not twice in one place
        let before = found.values.iter().position(|(there, _)| there.flag == arg.flag);
        if let Some(before) = before {
            if before >= here {
                let what = format!("the argument '{shown}' cannot be used multiple times");
                return Err(wrong(&found.path, &what));
            }
            found.values.remove(before);
            here -= 1;
        }
        let value = value(&mut words, arg, &found.path)?;
        found.values.push((arg, value));
    }
}

/// The value of an option that was just read; empty of one that has none.
fn value(words: &mut lexopt::Parser, arg: &Arg, path: &[&'static Verb]) -> Result<OsString, Wrong> {
    let beside = words.optional_value();
    if arg.value.is_empty() {
        return beside.map_or(Ok(OsString::new()), |value| {
            let value = value.to_string_lossy();
            let what = format!(
                "unexpected value '{value}' for '{}' found; no more were expected",
                arg.flag
            );
            Err(wrong(path, &what))
        });
    }
    if let Some(value) = beside {
        return Ok(value);
    }
    // a dash begins an option, alone it is a word
    let is_value = |word: &OsStr| word == "-" || !word.as_encoded_bytes().starts_with(b"-");
    let next = words.raw_args().ok().and_then(|mut rest| rest.next_if(is_value));
    next.ok_or_else(|| lacks_value(arg))
}

fn sub(path: &[&'static Verb], word: &OsStr) -> Result<&'static Verb, Wrong> {
    let verbs = path.last().map_or(&[][..], |verb| verb.verbs);
    verbs.iter().find(|verb| word == verb.name).ok_or_else(|| {
        let word = word.to_string_lossy();
        let names = verbs.iter().map(|verb| verb.name).chain(["help"]);
        let tip = near::meant(&word, names)
            .map(|name| format!("\n\n  tip: a similar subcommand exists: '{name}'"));
        wrong(path, &format!("unrecognized subcommand '{word}'{}", tip.unwrap_or_default()))
    })
}

fn unexpected(path: &[&'static Verb], flag: &str) -> Wrong {
    let mut what = format!("unexpected argument '{flag}' found");
    if path.last().is_some_and(|verb| verb.args.iter().any(Arg::is_place)) {
        let _ = write!(what, "\n\n  tip: to pass '{flag}' as a value, use '-- {flag}'");
    }
    let args = path.last().map_or(&[][..], |verb| verb.args).iter().chain(GLOBAL);
    let flags = args.map(|arg| arg.flag).chain(["--help", "--version"]);
    if let Some(near) = near::meant(flag, flags.filter(|flag| flag.starts_with("--"))) {
        let _ = write!(what, "\n\n  tip: a similar argument exists: '{near}'");
    }
    wrong(path, &what)
}

/// The place of the next word.
fn free_place(found: &Found, verb: &'static Verb) -> Option<&'static Arg> {
    let is_free = |arg: &&Arg| {
        let repeats = matches!(arg.times, Times::Any | Times::Some);
        repeats || !found.values.iter().any(|(there, _)| *there == *arg)
    };
    verb.args.iter().filter(|arg| arg.is_place()).find(is_free)
}

fn complete(found: Found) -> Result<Read, Wrong> {
    let verb = found.path[found.path.len() - 1];
    if !verb.verbs.is_empty() && found.path.len() > 1 {
        return Err(Wrong(help(&found.path)));
    }
    let given = |arg: &&Arg| found.values.iter().any(|(there, _)| *there == *arg);
    let lacking: Vec<String> = if verb.one_of {
        let given: Vec<&Arg> = verb.args.iter().filter(given).collect();
        if let [one, other, ..] = given[..] {
            return Err(found.conflict(&one.shown(), &other.shown()));
        }
        if given.is_empty() { vec![choice(verb)] } else { Vec::new() }
    } else {
        let lacking = verb.args.iter().filter(|arg| arg.is_required() && !given(arg));
        lacking.map(Arg::shown).collect()
    };
    if lacking.is_empty() {
        return Ok(Read::Line(found));
    }
    let lacking = lacking.join("\n  ");
    let what = format!("the following required arguments were not provided:\n  {lacking}");
    Err(wrong(&found.path, &what))
}

/// Those of which one must be there: `<WHO|--all>`.
fn choice(verb: &Verb) -> String {
    let shown = |arg: &Arg| if arg.is_place() { arg.value.to_owned() } else { arg.shown() };
    let all: Vec<String> = verb.args.iter().map(shown).collect();
    format!("<{}>", all.join("|"))
}

fn usage(path: &[&Verb]) -> String {
    let mut text = path.iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ");
    text += " [OPTIONS]";
    let Some(verb) = path.last() else { return text };
    if !verb.verbs.is_empty() {
        text += if path.len() == 1 { " [COMMAND]" } else { " <COMMAND>" };
    } else if verb.one_of {
        text = format!("{text} {}", choice(verb));
    } else {
        let options = verb.args.iter().filter(|arg| !arg.is_place() && arg.is_required());
        for arg in options.chain(verb.args.iter().filter(|arg| arg.is_place())) {
            let _ = write!(text, " {}", arg.shown());
        }
    }
    text
}

/// What a person reads of a verb, or of the program.
pub fn help(path: &[&Verb]) -> String {
    let Some(verb) = path.last() else { return String::new() };
    let mut text = format!("{}\n\nUsage: {}\n", verb.about, usage(path));
    if !verb.verbs.is_empty() {
        let shown = verb.verbs.iter().filter(|verb| !verb.hidden);
        let rows = shown.map(|verb| (verb.name.to_owned(), verb.about));
        let own = ("help".to_owned(), "Print this message or the help of the given subcommand(s)");
        table(&mut text, "Commands", rows.chain([own]).collect());
    }
    let row = |arg: &Arg| (arg.shown(), arg.help);
    let places: Vec<_> = verb.args.iter().filter(|arg| arg.is_place()).map(row).collect();
    if !places.is_empty() {
        table(&mut text, "Arguments", places);
    }
    let long = |shown: String| if shown.starts_with("--") { format!("    {shown}") } else { shown };
    let named = verb.args.iter().filter(|arg| !arg.is_place()).chain(GLOBAL);
    let mut options: Vec<_> = named.map(|arg| (long(arg.shown()), arg.help)).collect();
    options.push(("-h, --help".into(), "Print help"));
    if path.len() == 1 {
        options.push(("-V, --version".into(), "Print version"));
    }
    table(&mut text, "Options", options);
    if path.len() == 1 {
        let _ = writeln!(text, "\n{EXIT_CODES}");
    }
    text
}

fn table(text: &mut String, name: &str, rows: Vec<(String, &str)>) {
    let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + GAP;
    let _ = writeln!(text, "\n{name}:");
    for (name, help) in rows {
        let _ = writeln!(text, "  {name:wide$}{help}");
    }
}
