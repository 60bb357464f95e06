//! A long text cut into parts that a dialect's readers can take.

/// The text in parts of at most `max` bytes, cut at blanks where there are any, never within a
/// character. Line ends become blanks. Empty where `max` cannot hold a character, or where there
/// is nothing but blanks.
pub fn parts(text: &str, max: usize) -> Vec<String> {
    let text = text.replace(['\n', '\r'], " ");
    let mut rest = text.trim();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let mut end = rest.len().min(max);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        if end == 0 {
            return Vec::new();
        }
        if end < rest.len() && !rest[end..].starts_with(' ') {
            // a blank in the second half is worth a shorter part
            end = rest[..end].rfind(' ').filter(|at| *at >= end / 2).unwrap_or(end);
        }
        let part = rest[..end].trim_end();
        if !part.is_empty() {
            parts.push(part.to_owned());
        }
        rest = rest[end..].trim_start();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_cut_at_blanks_and_never_within_a_character() {
        assert_eq!(parts("kurz", 10), ["kurz"]);
        assert_eq!(parts("eins zwei drei", 10), ["eins zwei", "drei"]);
        assert_eq!(parts("äöüäöü", 5), ["äö", "üä", "öü"]);
        assert_eq!(parts("a\nb", 5), ["a b"]);
        assert!(parts("€", 2).is_empty());
        assert!(parts(" \n ", 9).is_empty());
    }

    proptest! {
        #[test]
        fn no_part_is_too_long_and_no_word_is_lost(text in "[a-zä€😀 \n]{0,300}", max in 4usize..60) {
            let parts = parts(&text, max);
            prop_assert!(parts.iter().all(|p| p.len() <= max && !p.is_empty()));
            let letters = |t: &str| t.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&parts.concat()), letters(&text));
        }
    }
}
