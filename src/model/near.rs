//! What somebody who mistyped a word probably meant.

/// A word that has more characters was meant to be none of ours, and is looked at no further.
pub const MAX_WORD: usize = 64;

/// The name that `word` begins, or is nearest to, where most of it stays; of several the one with
/// the same first letter. Case counts.
pub fn meant<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().take(MAX_WORD + 1).count();
    if letters > MAX_WORD {
        return None;
    }
    names
        .map(|name| {
            let begins = letters > 1 && name.starts_with(word);
            let apart = if begins { 1 } else { distance(word, name) };
            (apart, word.chars().next() != name.chars().next(), name)
        })
        .filter(|(apart, _, name)| apart * 3 <= name.len().max(letters))
        .min_by_key(|(apart, other_letter, _)| (*apart, *other_letter))
        .map(|(_, _, name)| name)
}

/// How many characters must be put in, left out, changed or swapped with the next (Damerau's
/// distance, no place touched twice). Takes memory for each pair of them.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut d = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d = d.min(rows[i - 2][j - 2] + 1);
            }
            row.push(d);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_what_takes_a_third_of_it_to_become() {
        for (word, name) in [
            ("whoo", Some("who")),
            ("hist", Some("history")),
            ("hlep", Some("help")),
            ("mgs", Some("msg")),
            ("mag", Some("msg")),
            ("w", None),
            ("", None),
            ("fly", None),
        ] {
            assert_eq!(meant(word, ["history", "msg", "help", "who", "img"].into_iter()), name);
        }
    }

    #[test]
    fn a_word_too_long_to_be_one_is_near_nothing() {
        let longest = "h".repeat(MAX_WORD);
        assert_eq!(meant(&longest, [longest.as_str()].into_iter()), Some(longest.as_str()));
        let more = longest.clone() + "h";
        assert_eq!(meant(&more, [more.as_str()].into_iter()), None);
    }
}
