//! The words inside a message: quotes, escapes and marks of a text. Shared by reading and
//! writing, so that what one guards the other lifts.

use super::said::Quoted;

/// The mark before an automatic answer, as 001 writes it (captures/slcp-001-Fabianuniii).
pub(super) const AUTOREPLY: &str = "(Autoreply): ";
/// The same as Rajan writes it (captures/slcp-Rajan286).
const AUTO_REPLY: &str = "[AutoReply] ";

/// In quotes, with `\"` and `\\` within (Meriem, PROTOCOLS section 1).
pub(super) fn guard(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The text without its quotes or backslashes, and how it was guarded, where that can be told:
/// a word without a blank looks alike in all programs.
pub(super) fn unguard(text: &str) -> (String, Option<Quoted>) {
    if let Some(plain) = unquote(text) {
        return (plain, Some(Quoted::Quotes));
    }
    if !text.contains(' ') {
        return (text.to_string(), None);
    }
    // milad3z guards every blank; a path like `C:\ d e` does not.
    let guarded = text.matches("\\ ").count();
    if guarded > 0 && guarded == text.matches(' ').count() {
        return (text.replace("\\ ", " "), Some(Quoted::Backslash));
    }
    (text.to_string(), Some(Quoted::No))
}

/// What stands between quotes that enclose the whole text. A quote within that nothing escapes
/// is taken as it is: Tuna and Artur escape none.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                out.push(*next);
                chars.next();
            }
            // The last quote is escaped: the text is not closed, and so not quoted.
            ('\\', None) => return None,
            _ => out.push(c),
        }
    }
    Some(out)
}

/// The text without an autoreply's mark, and whether it bore one.
pub(super) fn unmark(text: &str) -> (&str, bool) {
    for mark in [AUTOREPLY, AUTO_REPLY] {
        let head = text.get(..mark.len()).unwrap_or_default();
        if head.eq_ignore_ascii_case(mark) {
            return (&text[mark.len()..], true);
        }
    }
    (text, false)
}

/// `text%20with%20blanks` (anonymous programs, PROTOCOLS section 1). What is no escape, or would
/// be no UTF-8, stays.
pub(super) fn unpercent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (bytes[at], hex(at + 1), hex(at + 2)) {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_string())
}
