//! What Tab makes of a half-typed line. Pure: the names come from whoever holds the line.

use super::parse::switch;
use super::table::{Kind, ROWS, Row};

/// Most choices that are counted out on the second Tab.
pub const MAX_CHOICES: usize = 100;

/// What only a session knows.
pub trait Names {
    /// Names of those who are here, as `WHO` says them.
    fn handles(&self) -> Vec<String>;
    /// Handles of the node's own users.
    fn users(&self) -> Vec<String>;
    /// Keys of settings.
    fn settings(&self) -> Vec<String>;
    /// The value of a setting, if known.
    fn setting(&self, key: &str) -> Option<String>;
    /// Names of forms.
    fn forms(&self) -> Vec<String>;
    /// Files and folders (with a `/` at their end) that begin so, written as the person began.
    fn paths(&self, begun: &str) -> Vec<String>;
}

/// What Tab does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where in the line, in bytes, the completed word begins.
    pub start: usize,
    /// What stands from there to the cursor afterwards. Never less than before.
    pub insert: String,
    /// The choices, at most [`MAX_CHOICES`]; a list to show where there are several.
    pub choices: Vec<String>,
}

/// Completes the line up to the cursor. `None`: there is nothing to offer.
pub fn complete(line: &str, names: &dyn Names) -> Option<Completion> {
    let begin = line.len() - line.trim_start().len();
    let words: Vec<(usize, &str)> = words(line);
    let (start, word) = words.last().copied().unwrap_or((begin, ""));
    if words.len() <= 1 {
        let slash = usize::from(word.starts_with('/'));
        let all = ROWS.iter().map(|row| row.name.to_owned()).collect();
        return pick(start + slash, &word[slash..], all, true);
    }
    let row = Row::named(words[0].1)?;
    let at = words.len() - 2;
    match row.arguments.get(at).or(row.arguments.last().filter(|k| **k == Kind::Path))? {
        Kind::None => None,
        Kind::Handle => pick(start, word, names.handles(), true),
        Kind::Handles => {
            let comma = word.rfind(',').map_or(0, |i| i + 1);
            let taken: Vec<&str> = word[..comma].split(',').collect();
            let mut free = names.handles();
            free.retain(|h| !taken.iter().any(|t| t.eq_ignore_ascii_case(h)));
            pick(start + comma, &word[comma..], free, true)
        }
        Kind::User => pick(start, word, names.users(), true),
        Kind::SettingKey => {
            let mut keys = names.settings();
            keys.push("inactive".into());
            pick(start, word, keys, true)
        }
        Kind::OnOff => {
            let key = words[1].1.to_lowercase();
            let on_off = key == "inactive"
                || names.setting(&key).is_some_and(|value| switch(&value).is_some());
            pick(start, word, on_off.then(|| vec!["ON".into(), "OFF".into()])?, true)
        }
        Kind::CommandName => {
            pick(start, word, ROWS.iter().map(|row| row.name.to_owned()).collect(), true)
        }
        Kind::RoomAct => {
            let acts = ["JOIN", "LEAVE", "LIST", "WHO"].map(String::from);
            pick(start, word, acts.to_vec(), true)
        }
        Kind::Form => {
            let mut forms = names.forms();
            forms.push("AUTO".into());
            pick(start, word, forms, true)
        }
        Kind::Path => {
            // The rest of the line is the path: it may hold spaces, and a quote before it.
            let first = words.get(2).map_or(start, |w| w.0);
            let quote = usize::from(line[first..].starts_with(['"', '\'']));
            let begun = &line[first + quote..];
            pick(first + quote, begun, names.paths(begun), false)
        }
    }
}

/// Words with their places; a line that ends in white space has an empty last word.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    for (i, c) in line.char_indices() {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                words.push((from, &line[from..i]));
                start = None;
            }
            (false, None) => start = Some(i),
            _ => {}
        }
    }
    match start {
        Some(from) => words.push((from, &line[from..])),
        None if !words.is_empty() => words.push((line.len(), "")),
        None => {}
    }
    words
}

fn pick(start: usize, begun: &str, all: Vec<String>, fold: bool) -> Option<Completion> {
    let same = |a: char, b: char| a == b || fold && a.to_lowercase().eq(b.to_lowercase());
    let begins = |name: &str| {
        let mut chars = name.chars();
        begun.chars().all(|c| chars.next().is_some_and(|n| same(c, n)))
    };
    let mut choices: Vec<String> = all.into_iter().filter(|name| begins(name)).collect();
    choices.sort_unstable();
    choices.dedup();
    let first = choices.first()?;
    let mut common: Vec<char> = first.chars().collect();
    for name in &choices[1..] {
        let shared = common.iter().zip(name.chars()).take_while(|(a, b)| same(**a, *b)).count();
        common.truncate(shared);
    }
    // Never less than what was typed, and in its letters where the choices differ.
    let insert = if choices.len() == 1 {
        let end = if first.ends_with('/') { "" } else { " " };
        format!("{first}{end}")
    } else {
        let typed = begun.chars().count();
        begun.chars().chain(common.into_iter().skip(typed)).collect()
    };
    choices.truncate(MAX_CHOICES);
    Some(Completion { start, insert, choices })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Names for Known {
        fn handles(&self) -> Vec<String> {
            ["anna", "Andrea", "bob", "žofie"].map(String::from).to_vec()
        }
        fn users(&self) -> Vec<String> {
            vec!["box".into(), "guest".into()]
        }
        fn settings(&self) -> Vec<String> {
            ["bell", "imagepath", "slcp.port"].map(String::from).to_vec()
        }
        fn setting(&self, key: &str) -> Option<String> {
            (key == "bell").then(|| "OFF".into())
        }
        fn forms(&self) -> Vec<String> {
            vec!["json".into(), "quoted".into()]
        }
        fn paths(&self, begun: &str) -> Vec<String> {
            ["/tmp/my cat.png", "/tmp/my cats/", "~/x.png"]
                .iter()
                .filter(|p| p.starts_with(begun))
                .map(ToString::to_string)
                .collect()
        }
    }

    /// The line after Tab.
    fn tab(line: &str) -> String {
        match complete(line, &Known) {
            Some(c) => format!("{}{}", &line[..c.start], c.insert),
            None => line.to_owned(),
        }
    }

    #[test]
    fn tab_completes_by_the_kind_of_the_argument() {
        for (line, after) in [
            ("ms", "MSG "),
            ("/ms", "/MSG "),
            ("A", "A"),
            ("au", "AUTOREPLY "),
            ("msg b", "msg bob "),
            ("msg an", "msg an"),
            ("msg ann", "msg anna "),
            ("msg AND", "msg Andrea "),
            ("msg ŽO", "msg žofie "),
            ("msg bob,an", "msg bob,an"),
            ("msg bob,ann", "msg bob,anna "),
            ("msg anna,an", "msg anna,Andrea "),
            ("msg bob hello b", "msg bob hello b"),
            ("block b", "block bob "),
            ("img bob ~", "img bob ~/x.png "),
            ("img bob /tmp", "img bob /tmp/my cat"),
            ("img bob /tmp/my cats", "img bob /tmp/my cats/"),
            ("img bob \"/tmp/my cat.", "img bob \"/tmp/my cat.png "),
            ("config in", "config inactive "),
            ("config im", "config imagepath "),
            ("config bell o", "config bell O"),
            ("config bell of", "config bell OFF "),
            ("config imagepath o", "config imagepath o"),
            ("config inactive on", "config inactive ON "),
            ("form bob q", "form bob quoted "),
            ("user g", "user guest "),
            ("room w", "room WHO "),
            ("help w", "help WHO "),
            ("nonsense b", "nonsense b"),
            ("join ", "join "),
        ] {
            let got = tab(line);
            if line == "config bell o" {
                assert!(got.eq_ignore_ascii_case(after), "{line}: {got}");
            } else {
                assert_eq!(got, after, "{line}");
            }
        }
    }

    #[test]
    fn an_empty_line_offers_all_commands() {
        assert_eq!(complete("", &Known).unwrap().choices.len(), ROWS.len());
        assert_eq!(complete("msg ", &Known).unwrap().choices.len(), 4);
    }

    #[test]
    fn one_choice_past_the_limit_is_not_listed() {
        let all: Vec<String> = (0..=MAX_CHOICES).map(|n| format!("p{n:04}")).collect();
        let done = pick(0, "", all, true).unwrap();
        assert_eq!((done.choices.len(), done.insert.as_str()), (MAX_CHOICES, "p0"));
    }
}
