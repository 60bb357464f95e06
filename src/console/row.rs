//! A line laid out on one row of a terminal: what is seen of it and where the cursor stands.
//! The last column is never written: what a terminal does after it differs between all of them.

use unicode_width::UnicodeWidthChar;

/// A row as drawn.
pub struct Row {
    /// What stands on it.
    pub text: String,
    /// Columns of the text.
    pub cells: usize,
    /// The cursor's column.
    pub column: usize,
    /// Bytes of the text before the cursor.
    pub before: usize,
    /// Columns the cursor may reach before the row must scroll.
    pub end: usize,
    /// All of the line is on it.
    pub whole: bool,
}

impl Row {
    /// Lays a row out on `columns`; moves `scroll` (the byte of the line that the row begins
    /// with) so that the cursor is on it.
    pub fn lay(prompt: &str, line: &str, cursor: usize, scroll: &mut usize, columns: usize) -> Row {
        let room = columns - 1;
        // A prompt that leaves no room to type in is cut at its front.
        let mut prompt = prompt;
        while width(prompt) > room / 2 {
            prompt = &prompt[prompt.chars().next().map_or(0, char::len_utf8)..];
        }
        let area = room - width(prompt) - 1; // the last column says that there is more
        if width(line) <= area {
            *scroll = 0;
        } else if !line.is_char_boundary(*scroll)
            || cursor <= *scroll
            || width(&line[*scroll..cursor]) + usize::from(*scroll > 0) > area
        {
            // Two thirds of the row before the cursor, so that it scrolls now and then only.
            let mut used = 0;
            let keep = line[..cursor].char_indices().rev().take_while(|(_, c)| {
                used += cells(*c);
                used <= area * 2 / 3
            });
            *scroll = keep.last().map_or(cursor, |(i, _)| i);
        }
        let mut text = prompt.to_owned();
        let mut at = width(prompt);
        if *scroll > 0 {
            text.push('<');
            at += 1;
        }
        let end = width(prompt) + area;
        let (mut column, mut before) = (at, text.len());
        let mut whole = *scroll == 0;
        for (i, c) in line[*scroll..].char_indices() {
            if at + cells(c) > end {
                whole = false;
                text.extend(std::iter::repeat_n(' ', end - at).chain(['>']));
                at = end + 1;
                break;
            }
            text.push(c);
            at += cells(c);
            if *scroll + i + c.len_utf8() <= cursor {
                (column, before) = (at, text.len());
            }
        }
        Row { text, cells: at, column, before, end, whole }
    }
}

/// Columns of a character.
pub fn cells(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns that a text without control characters takes.
pub fn width(text: &str) -> usize {
    text.chars().map(cells).sum()
}
