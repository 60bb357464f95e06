//! Reads the card's `klatsch.toml`: each value on its own, so that a wrong one costs nothing but
//! itself; then what must hold together.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS, Key};
use super::{KEPT, Line, MAX_LINES, Plan, Values, is_secret, is_setting, trouble};
use crate::config::rows::{self, Row};
use crate::config::{Serial, Settings, file};
use crate::model::Refusal;

/// klatsch's own settings that are the image's business.
const NOT_HERE: &[&str] = &["appliance", "socket", "imagepath", "open-images"];
/// Of a serial line, what is: which it is, and whether it is klatsch's.
const NOT_OF_SERIAL: &[&str] = &["device", "on", "login"];

/// What a whole text says; the error is the line about one that cannot be used at all.
pub(super) fn read(text: &str, old: &Values) -> Result<Plan, Line> {
    // Editors on Windows put a byte order mark in front.
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table = DeTable::parse(bare).map_err(|error| {
        let line = error.span().map(|span| file::line_of(bare, &span));
        let why = error.message().lines().next().unwrap_or_default().to_owned();
        Line { line, ..trouble(format!("not used: {why}; what held before stays")) }
    })?;
    let mut leaves = Vec::new();
    gather(bare, "", table.get_ref(), &mut leaves);
    leaves.sort_by_key(|leaf| leaf.line);
    let mut reading = Reading { old, plan: Plan::default(), secrets: Vec::new(), named: 0 };
    for leaf in &leaves {
        reading.take(leaf);
    }
    reading.hold_together();
    Ok(reading.end(text, bare))
}

/// One value of the file.
struct Leaf<'a> {
    key: String,
    line: usize,
    /// Where its value stands.
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

fn gather<'a>(text: &str, above: &str, table: &'a DeTable<'a>, leaves: &mut Vec<Leaf<'a>>) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => gather(text, &path, inner, leaves),
            inner => leaves.push(Leaf {
                key: path,
                line: file::line_of(text, &key.span()),
                span: value.span(),
                value: inner,
            }),
        }
    }
}

struct Reading<'a> {
    old: &'a Values,
    plan: Plan,
    /// Secrets that were taken over: key and place.
    secrets: Vec<(String, Range<usize>)>,
    /// Unknown keys whose nearest was looked for.
    named: usize,
}

enum Place {
    Own(&'static Key),
    Row(&'static Row),
    /// A key of `[serial]`.
    Serial,
}

impl Reading<'_> {
    fn take(&mut self, leaf: &Leaf<'_>) {
        let wanted = leaf.key.to_ascii_lowercase();
        let Some((key, place)) = place(&wanted) else {
            return self.unknown(leaf, &wanted);
        };
        let secret = is_secret(&key);
        let Some(text) = text_of(leaf.value, &place) else {
            let why = format!("expected {}", expected(&place, &key));
            return self.refuse(leaf.line, &key, &why);
        };
        if secret && text == KEPT {
            return match self.old.get(&key) {
                Some(kept) => self.accept(leaf.line, &key, kept.clone(), "as before".into()),
                None => {
                    let why = "none is kept on this box, expected it written out again, or the \
                               line removed";
                    self.refuse(leaf.line, &key, why);
                }
            };
        }
        match check(&place, &key, &text) {
            Ok(value) => {
                let mut said = format!("applied ({})", rows::shown(&value));
                if secret {
                    said = "removed".into();
                    if !value.is_empty() {
                        said = "applied, kept on the box and taken out of the file".into();
                        self.secrets.push((key.clone(), leaf.span.clone()));
                    }
                }
                self.accept(leaf.line, &key, value, said);
            }
            Err(_) if secret => {
                // a secret is not repeated, wrong as it may be
                let why = format!("this will not do, expected {}", expected(&place, &key));
                self.refuse(leaf.line, &key, &why);
            }
            Err(why) => self.refuse(leaf.line, &key, &why),
        }
    }

    fn accept(&mut self, line: usize, key: &str, value: String, text: String) {
        if self.old.get(key) != Some(&value) && is_setting(key) {
            self.plan.changed.push(key.to_owned());
        }
        self.plan.values.insert(key.to_owned(), value);
        let (line, key) = (Some(line), Some(key.to_owned()));
        self.plan.lines.push(Line { line, key, refused: false, text });
    }

    /// Keeps what held before, if anything did.
    fn refuse(&mut self, line: usize, key: &str, why: &str) {
        let stays = match self.old.get(key) {
            Some(old) => {
                self.plan.values.insert(key.to_owned(), old.clone());
                if is_secret(key) { "the one before".into() } else { rows::shown(old) }
            }
            None => "the image's own".to_owned(),
        };
        let (line, key) = (Some(line), Some(key.to_owned()));
        let text = format!("{why}; {stays} stays");
        self.plan.lines.push(Line { line, key, refused: true, text });
    }

    fn unknown(&mut self, leaf: &Leaf<'_>, wanted: &str) {
        let list = matches!(leaf.value, DeValue::Array(list)
            if list.iter().any(|v| matches!(v.get_ref(), DeValue::Table(_))));
        let first = wanted.split('.').next().unwrap_or_default();
        let text = if NOT_HERE.contains(&wanted) {
            "is the image's business; not used".to_owned()
        } else if wanted == "serial" && list {
            "expected [serial] for the box's line, not [[serial]]; not used".to_owned()
        } else if list {
            "lists of tables are not taken from here; not used".to_owned()
        } else if self.named < MAX_LINES {
            self.named += 1;
            // in its own table if that is one of ours, else anywhere
            let own: Vec<&str> = KEYS.iter().map(|key| key.key).collect();
            let table: Vec<&str> =
                own.into_iter().filter(|key| key.split('.').next() == Some(first)).collect();
            match (table.is_empty(), first) {
                (false, _) => {
                    format!("no such key, expected one of {}; not used", table.join(", "))
                }
                (true, "serial") => "no such key; docs/console.md has them; not used".to_owned(),
                _ => format!("no such key, the nearest is {}; not used", rows::nearest(wanted)),
            }
        } else {
            "no such key; not used".to_owned()
        };
        let key = Some(rows::shown(&leaf.key));
        self.plan.lines.push(Line { line: Some(leaf.line), key, refused: true, text });
    }

    /// What only makes sense together falls back together: a network without the key that was
    /// meant for it would be an open one.
    fn hold_together(&mut self) {
        for table in ["network", "wifi"] {
            let of = |key: &str| key.split('.').next() == Some(table);
            let wrong = |line: &Line| {
                line.refused && line.key.as_deref().is_some_and(|key| of(&key.to_lowercase()))
            };
            if self.plan.lines.iter().any(wrong) {
                self.back(of);
                let text = "with a wrong value in it, all of it stays as it was".to_owned();
                self.plan.lines.push(Line { key: Some(table.to_owned()), ..trouble(text) });
            }
        }
        // twice: the network and Wi-Fi
        for _ in 0..2 {
            let Some((table, why)) = keys::conflict(&self.plan.values) else { break };
            self.back(|key| key.split('.').next() == Some(table));
            if keys::conflict(&self.plan.values).is_some_and(|(again, _)| again == table) {
                // cannot be: what was kept held together. The image's own always does.
                self.plan.values.retain(|key, _| key.split('.').next() != Some(table));
            }
            let text = format!("{why}; all of it stays as it was");
            let line = Line { key: Some(table.to_owned()), ..trouble(text) };
            self.plan.lines.push(line);
        }
        let port = |settings: &Settings| (settings.port_min, settings.port_max);
        let (min, max) = port(&settings(&self.plan.values));
        if min > max {
            let text = format!("found {min} to {max}, expected the lower one first; both stay");
            self.back(|key| key == "port-min" || key == "port-max");
            let line = Line { key: Some("port-min".into()), ..trouble(text) };
            self.plan.lines.push(line);
        }
    }

    fn back(&mut self, concerns: impl Fn(&str) -> bool) {
        let plan = &mut self.plan;
        plan.values.retain(|key, _| !concerns(key));
        let old = self.old.iter().filter(|(key, _)| concerns(key));
        plan.values.extend(old.map(|(key, value)| (key.clone(), value.clone())));
        plan.changed.retain(|key| !concerns(key));
        self.secrets.retain(|(key, _)| !concerns(key));
        let undone = |line: &Line| line.key.as_deref().is_some_and(&concerns);
        plan.lines.retain(|line| line.refused || !undone(line));
    }

    fn end(mut self, text: &str, bare: &str) -> Plan {
        self.plan.lines.sort_by_key(|line| line.line.unwrap_or(usize::MAX));
        if self.secrets.is_empty() {
            return self.plan;
        }
        let mark = &text[..text.len() - bare.len()];
        let mut rewritten = String::with_capacity(text.len() + self.secrets.len() * KEPT.len());
        rewritten += mark;
        self.secrets.sort_by_key(|(_, span)| span.start);
        let mut from = 0;
        for (_, span) in &self.secrets {
            rewritten += &bare[from..span.start];
            rewritten += &format!("\"{KEPT}\"");
            from = span.end;
        }
        rewritten += &bare[from..];
        self.plan.rewritten = Some(rewritten);
        self.plan
    }
}

/// Where a key belongs, by the name it is kept under.
fn place(key: &str) -> Option<(String, Place)> {
    if let Some(own) = KEYS.iter().find(|own| own.key == key) {
        return Some((key.to_owned(), Place::Own(own)));
    }
    if let Some(part) = key.strip_prefix("serial.") {
        let known = Serial::expected(part).is_some() && !NOT_OF_SERIAL.contains(&part);
        return known.then(|| (key.to_owned(), Place::Serial));
    }
    let row = rows::find(key).filter(|row| !NOT_HERE.contains(&row.key))?;
    Some((row.key.to_owned(), Place::Row(row)))
}

fn expected(place: &Place, key: &str) -> &'static str {
    match place {
        Place::Own(own) => own.expected,
        Place::Row(row) => row.expected,
        Place::Serial => {
            key.strip_prefix("serial.").and_then(Serial::expected).unwrap_or("another value")
        }
    }
}

/// The value as it is kept, or what was found and expected.
fn check(place: &Place, key: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = |refusal: Refusal| file::words(&refusal);
    // nothing may end a line of a file that is made of it
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("found control characters".into());
    }
    match place {
        Place::Own(own) => (own.check)(text)
            .ok_or_else(|| format!("found {}, expected {}", rows::shown(text), own.expected)),
        Place::Row(row) => {
            row.set(&mut Settings::default(), text).map(|()| text.to_owned()).map_err(wrong)
        }
        Place::Serial => Serial::on(Path::new("/dev/console"))
            .set(key.strip_prefix("serial.").unwrap_or_default(), text)
            .map(|()| text.to_owned())
            .map_err(wrong),
    }
}

/// A value as its key takes it; people leave quotes away and set them where none are needed.
fn text_of(value: &DeValue<'_>, place: &Place) -> Option<String> {
    let between = match place {
        Place::Own(own) => own.between,
        _ => ",",
    };
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(_) => file::integer(value).map(|number| number.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Array(list) => {
            let word = |v: &DeValue<'_>| match v {
                // one entry cannot pass for two
                DeValue::String(text) if text.contains(between) => None,
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Integer(_) => file::integer(v).map(|number| number.to_string()),
                _ => None,
            };
            let words: Option<Vec<String>> = list.iter().map(|v| word(v.get_ref())).collect();
            words.map(|words| words.join(between))
        }
        _ => None,
    }
}

/// klatsch's settings with these values over the defaults.
fn settings(values: &Values) -> Settings {
    let mut settings = Settings::default();
    for (key, value) in values {
        if let Some(row) = rows::find(key) {
            // each was taken before
            let _ = row.set(&mut settings, value);
        }
    }
    settings
}
