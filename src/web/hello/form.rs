//! `name=value&…` as queries and forms have it (application/x-www-form-urlencoded).

/// The value of a name; `None` where the name is not there. What is no UTF-8 is replaced.
pub fn value(form: &str, name: &str) -> Option<String> {
    let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut found = pairs.filter(|(key, _)| decode(key) == name);
    found.next().map(|(_, value)| decode(value))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => match after {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    rest = after;
                    nibble(*high) << 4 | nibble(*low)
                }
                _ => b'%',
            },
            other => *other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_a_missing_one_is_not_an_empty_one() {
        let form = "a=1&message=ahoj%20sv%C4%9Bte+%2B%zz%4&leer=&nur";
        assert_eq!(value(form, "message").as_deref(), Some("ahoj světe +%zz%4"));
        assert_eq!(value(form, "leer").as_deref(), Some(""));
        assert_eq!(value(form, "nur").as_deref(), Some(""));
        assert_eq!(value(form, "x"), None);
        assert_eq!(value("m=%ff%fe", "m").as_deref(), Some("\u{fffd}\u{fffd}"));
    }
}
