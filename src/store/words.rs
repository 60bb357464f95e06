//! Words as they are searched for: folded text, and the index's own query language kept out.

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

/// The text as it goes into the index. What it makes of a text must not change without raising
/// `folding` in the schema: deleting from the index needs the very same text.
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
