//! Words as they are searched for: folded text, and the index's own query language kept out.

use std::collections::HashMap;

/// Letters that the tokenizer does not take apart, as people write them without the key for it.
/// Diacritics (ä, č, ř) are folded by the tokenizer itself.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        _ => return None,
    })
}

/// Most words of a search; further ones are left out.
pub const MAX_WORDS: usize = 16;
/// Longest word of a search, in characters; the rest of it is left out.
pub const MAX_WORD: usize = 64;

/// How often a text has a word in the index. The index notes each place of a word, and joins its
/// parts a word at a time: texts of one word said without end (600 times in 1.2 kB) had a commit
/// write 30 MB now and then, for which SQLite kept a quarter of a megabyte for good.
pub const MAX_SAME: u8 = 16;

/// What of a text goes into the index: folded, and of each word the first [`MAX_SAME`]. Which words
/// those are must not change without raising `folding` in the schema: deleting from the index
/// needs the same words, how often each was said does not matter to it.
pub fn indexed(text: &str) -> String {
    let folded = fold(text);
    let mut said: HashMap<&str, u8> = HashMap::new();
    let mut kept = String::with_capacity(folded.len());
    for piece in folded.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
        let times = said.entry(word).or_default();
        let surplus = *times >= MAX_SAME && !word.is_empty();
        *times = times.saturating_add(1);
        kept.push_str(if surplus { &piece[word.len()..] } else { piece });
    }
    kept
}

/// A text with letters that the tokenizer would leave as they are.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        match plain(letter) {
            Some(letters) => folded.push_str(letters),
            // The index's C code ends a text at a zero byte.
            None if letter == '\0' => folded.push(' '),
            None => folded.push(letter),
        }
    }
    folded
}

/// The index's query for entries that hold all these words, a word's beginning being enough from
/// two letters on; none where there is no word in it. Each word stands quoted: no operator can be smuggled in.
pub fn query(words: &str) -> Option<String> {
    let mut query = String::new();
    let folded = fold(words);
    let words = folded.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|w| w.chars().any(char::is_alphanumeric)).take(MAX_WORDS) {
        if !query.is_empty() {
            query.push(' ');
        }
        query.push('"');
        for letter in word.chars().take(MAX_WORD) {
            // A quote within would end the quoting, so it is doubled.
            query.push_str(if letter == '"' { "\"\"" } else { "" });
            if letter != '"' {
                query.push(letter);
            }
        }
        // One letter begins so many words that finding them all would take a board seconds.
        query.push_str(if word.chars().count() > 1 { "\"*" } else { "\"" });
    }
    (!query.is_empty()).then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_without_a_diacritic_to_lose_become_the_ones_people_type() {
        assert_eq!(fold("Straße GROẞ Łódź œuvre\0"), "Strasse GROss lódź oeuvre ");
    }

    #[test]
    fn one_past_the_limit_a_word_is_not_indexed_again_and_what_is_around_it_is() {
        let most = usize::from(MAX_SAME);
        let said = format!("{}ß-x, y", "x-".repeat(most));
        assert_eq!(indexed(&said), format!("{}ss-, y", "x-".repeat(most)));
        assert_eq!(indexed("…--!! \n"), "…--!! \n");
        let distinct: String = (0..500).map(|n| format!("w{n} ")).collect();
        assert_eq!(indexed(&distinct), distinct);
    }

    #[test]
    fn operators_and_quotes_are_words_like_any_other() {
        assert_eq!(query("a OR \"b").as_deref(), Some("\"a\" \"OR\"* \"\"\"b\"*"));
        assert_eq!(query("x* -y NEAR(z)").as_deref(), Some("\"x*\"* \"-y\"* \"NEAR(z)\"*"));
        for nothing in ["", "  ", "\" - *", "\u{1b}"] {
            assert_eq!(query(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn one_word_and_one_letter_past_the_limits_are_left_out() {
        let many = vec!["w"; MAX_WORDS + 1].join(" ");
        assert_eq!(query(&many).unwrap().split(' ').count(), MAX_WORDS);
        let long = "w".repeat(MAX_WORD + 1);
        assert_eq!(query(&long).unwrap().len(), MAX_WORD + 3);
    }
}
