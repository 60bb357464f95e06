//! The line editor: keys to a line, and that line on exactly one row of a terminal, with what
//! arrives meanwhile printed above it. Pure: no terminal, no clock.
//!
//! The row is redrawn from its first column each time, so that a terminal that disagrees about
//! the width of a character is wrong for one row only. The last column is never written: what a
//! terminal does after it differs between all of them.

use super::history::History;
use super::keys::{Key, Keys};
use super::row::{Row, cells};
use crate::model::text::harmless;

/// Longest line, in bytes. A message of eight SLCP parts fits.
pub const MAX_LINE: usize = 4_096;
/// Columns where the terminal does not say.
pub const DEFAULT_WIDTH: u16 = 80;
/// A terminal that says less is taken for one of this many columns …
pub const MIN_WIDTH: u16 = 16;
/// … and one that says more for one of this many.
pub const MAX_WIDTH: u16 = 1_000;

/// What the line is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A terminal that understands `ESC [ K` and `ESC [ n C`: all but the dumb ones.
    Ansi,
    /// A terminal that understands CR and nothing more (`TERM=dumb`).
    Dumb,
    /// No terminal: a pipe or a file. Lines in, lines out, no prompt.
    Plain,
}

/// What a byte led to, beyond a changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// A line was entered.
    Line(String),
    /// A line past [`MAX_LINE`] was entered; what fitted of it is in the history.
    TooLong,
    /// Tab; `again` when it is the second in a row.
    Tab {
        /// Pressed before, and nothing since.
        again: bool,
    },
    /// Ctrl-C on an empty line.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-Z.
    Suspend,
    /// The terminal said in which column its cursor is.
    Column(u16),
}

/// The editor.
pub struct Editor {
    screen: Screen,
    width: usize,
    prompt: String,
    /// Never holds a control character.
    line: String,
    cursor: usize,
    /// The byte of the line that the row begins with.
    scroll: usize,
    /// Something did not fit into the line.
    over: bool,
    keys: Keys,
    /// What a pipe gave of its line.
    raw: Vec<u8>,
    history: History,
    killed: String,
    tabbed: bool,
    /// A secret is typed: stars are shown, nothing is remembered.
    masked: bool,
    out: Vec<u8>,
    /// The row on the screen, if it is what would be drawn.
    drawn: Option<Row>,
    /// Cells of the last row that was drawn and not yet erased.
    shown: usize,
}

impl Editor {
    /// An editor on such a screen; `width` 0: not known.
    pub fn new(screen: Screen, width: u16) -> Editor {
        let mut editor = Editor {
            screen,
            width: 0,
            prompt: "> ".into(),
            line: String::new(),
            cursor: 0,
            scroll: 0,
            over: false,
            keys: Keys::default(),
            raw: Vec::new(),
            history: History::default(),
            killed: String::new(),
            tabbed: false,
            masked: false,
            out: Vec::new(),
            drawn: None,
            shown: 0,
        };
        editor.set_width(width);
        editor
    }

    /// Takes one byte of input.
    pub fn feed(&mut self, byte: u8) -> Option<Did> {
        if self.screen == Screen::Plain {
            return self.feed_plain(byte);
        }
        let mut keys = std::mem::take(&mut self.keys);
        let mut did = None;
        keys.feed(byte, |key| did = self.key(key));
        self.keys = keys;
        did
    }

    /// Prints lines above the row; what is half typed stays, with the cursor where it was.
    pub fn above(&mut self, text: &str) {
        self.erase();
        for line in text.lines() {
            self.out.extend_from_slice(line.as_bytes());
            self.newline();
        }
    }

    /// What is to be written to the terminal now, the row included.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.refresh();
        std::mem::take(&mut self.out)
    }

    /// How many bytes wait to be taken.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Sends bytes that neither move the cursor nor print (the bell).
    pub fn signal(&mut self, bytes: &[u8]) {
        if self.screen != Screen::Plain {
            self.out.extend_from_slice(bytes);
        }
    }

    /// The line up to the cursor, as [`crate::command::complete()`] takes it.
    pub fn begun(&self) -> &str {
        &self.line[..self.cursor]
    }

    /// Puts `insert` in the place of the line from `start` to the cursor.
    pub fn complete(&mut self, start: usize, insert: &str) {
        if start <= self.cursor && self.line.is_char_boundary(start) {
            let tabbed = self.tabbed;
            self.cut(start, self.cursor);
            self.insert_text(&harmless(insert));
            self.tabbed = tabbed;
        }
    }

    /// Another prompt.
    pub fn set_prompt(&mut self, prompt: &str) {
        let prompt = harmless(prompt);
        if prompt != self.prompt {
            self.prompt = prompt;
            self.drawn = None;
        }
    }

    /// From now on a secret is typed, or no more. What stands on the row is dropped.
    pub fn set_masked(&mut self, masked: bool) {
        if masked != self.masked {
            self.masked = masked;
            self.reset();
        }
    }

    /// Drops what is half typed.
    pub fn wipe_line(&mut self) {
        self.reset();
    }

    /// Drops what is half typed, and what is on a terminal's screen.
    pub fn wipe(&mut self) {
        self.reset();
        self.key(Key::Clear);
    }

    /// Another width; 0: not known.
    pub fn set_width(&mut self, width: u16) {
        let width = if width == 0 { DEFAULT_WIDTH } else { width.clamp(MIN_WIDTH, MAX_WIDTH) };
        self.width = usize::from(width);
        self.drawn = None;
    }

    /// Draws the row anew: something else wrote on the terminal.
    pub fn redraw(&mut self) {
        self.drawn = None;
    }

    /// Takes the row off the screen, before the console ends or is stopped.
    pub fn hide(&mut self) -> Vec<u8> {
        self.erase();
        std::mem::take(&mut self.out)
    }

    /// The rest of a pipe's last line, which had no line end.
    pub fn rest(&mut self) -> Option<Did> {
        (self.screen == Screen::Plain && !self.raw.is_empty()).then(|| self.plain_line())
    }

    fn feed_plain(&mut self, byte: u8) -> Option<Did> {
        match byte {
            b'\n' => return Some(self.plain_line()),
            _ if self.raw.len() < MAX_LINE => self.raw.push(byte),
            _ => self.over = true,
        }
        None
    }

    fn plain_line(&mut self) -> Did {
        let mut raw = std::mem::take(&mut self.raw);
        if raw.last() == Some(&b'\r') {
            raw.pop();
        }
        if std::mem::take(&mut self.over) {
            return Did::TooLong;
        }
        Did::Line(String::from_utf8_lossy(&raw).into_owned())
    }

    fn key(&mut self, key: Key) -> Option<Did> {
        let again = std::mem::replace(&mut self.tabbed, key == Key::Tab);
        match key {
            Key::Char(c) => self.insert_char(c),
            Key::Enter => return Some(self.enter()),
            Key::Tab => return Some(Did::Tab { again }),
            Key::Backspace => self.cut(self.left(self.cursor), self.cursor),
            Key::EndOrDelete if self.line.is_empty() => return Some(Did::End),
            Key::Delete | Key::EndOrDelete => self.cut(self.cursor, self.right(self.cursor)),
            Key::Left => self.go(self.left(self.cursor)),
            Key::Right => self.go(self.right(self.cursor)),
            Key::Home => self.go(0),
            Key::End => self.go(self.line.len()),
            Key::WordLeft => self.go(self.word_left(char::is_alphanumeric)),
            Key::WordRight => self.go(self.word_right()),
            Key::Up => self.recall(true),
            Key::Down => self.recall(false),
            Key::KillToEnd => self.kill(self.cursor, self.line.len()),
            Key::KillToStart => self.kill(0, self.cursor),
            Key::KillWordLeft => self.kill(self.word_left(|c| !c.is_whitespace()), self.cursor),
            Key::KillWordRight => self.kill(self.cursor, self.word_right()),
            Key::Yank => {
                let killed = std::mem::take(&mut self.killed);
                self.insert_text(&killed);
                self.killed = killed;
            }
            Key::Transpose => self.transpose(),
            Key::Clear => {
                self.erase();
                if self.screen == Screen::Ansi {
                    self.out.extend_from_slice(b"\x1b[H\x1b[2J");
                }
            }
            Key::Interrupt if self.line.is_empty() => return Some(Did::Interrupt),
            Key::Interrupt => {
                self.leave_row("^C");
                self.reset();
            }
            Key::Suspend => return Some(Did::Suspend),
            Key::Column(column) => return Some(Did::Column(column)),
        }
        None
    }

    fn enter(&mut self) -> Did {
        self.leave_row("");
        let line = std::mem::take(&mut self.line);
        if !self.masked {
            self.history.push(&line);
        }
        let over = self.over;
        self.reset();
        if over { Did::TooLong } else { Did::Line(line) }
    }

    fn reset(&mut self) {
        self.line.clear();
        self.cursor = 0;
        self.scroll = 0;
        self.over = false;
        self.history.leave();
        self.drawn = None;
    }

    fn recall(&mut self, up: bool) {
        if self.masked {
            return;
        }
        let line = std::mem::take(&mut self.line);
        match self.history.step(up, &line) {
            Some(other) => {
                self.line = other;
                self.over = false;
            }
            None => self.line = line,
        }
        self.scroll = 0;
        self.go(self.line.len());
    }

    fn insert_text(&mut self, text: &str) {
        text.chars().for_each(|c| self.insert_char(c));
    }

    fn insert_char(&mut self, c: char) {
        let mut buffer = [0; 4];
        let text = c.encode_utf8(&mut buffer);
        if c.is_control() || harmless(text) != *text && c != char::REPLACEMENT_CHARACTER {
            return;
        }
        if self.line.len() + text.len() > MAX_LINE {
            if !std::mem::replace(&mut self.over, true) {
                self.signal(b"\x07");
            }
            return;
        }
        let at_end = self.cursor == self.line.len();
        self.line.insert_str(self.cursor, text);
        self.cursor += text.len();
        // The usual case costs its own bytes only, for slow lines.
        match &mut self.drawn {
            Some(row)
                if at_end && !self.masked && row.whole && row.column + cells(c) <= row.end =>
            {
                row.column += cells(c);
                row.cells = row.column;
                self.shown = row.cells;
                self.out.extend_from_slice(text.as_bytes());
            }
            _ => self.drawn = None,
        }
    }

    fn cut(&mut self, from: usize, to: usize) {
        if from < to {
            self.line.replace_range(from..to, "");
            self.over = false;
            self.go(from);
        }
    }

    fn kill(&mut self, from: usize, to: usize) {
        if from < to {
            if !self.masked {
                self.killed = self.line[from..to].to_owned();
            }
            self.cut(from, to);
        }
    }

    fn transpose(&mut self) {
        let mut middle = self.left(self.cursor);
        let mut end = self.cursor;
        if end == self.line.len() && middle > 0 {
            end = middle;
            middle = self.left(middle);
        } else if middle == end {
            return;
        }
        let after = self.right(end);
        if middle < end && end < after {
            let swapped = format!("{}{}", &self.line[end..after], &self.line[middle..end]);
            self.line.replace_range(middle..after, &swapped);
            self.go(after);
        }
    }

    fn go(&mut self, to: usize) {
        self.cursor = to;
        self.drawn = None;
    }

    /// One character to the left, with all that combines with it.
    fn left(&self, from: usize) -> usize {
        let mut before = self.line[..from].char_indices().rev();
        before.find(|(_, c)| cells(*c) > 0).map_or(0, |(i, _)| i)
    }

    fn right(&self, from: usize) -> usize {
        let mut after = self.line[from..].char_indices().skip(1);
        after.find(|(_, c)| cells(*c) > 0).map_or(self.line.len(), |(i, _)| from + i)
    }

    fn word_left(&self, part: fn(char) -> bool) -> usize {
        let before = self.line[..self.cursor].trim_end_matches(|c| !part(c));
        before.trim_end_matches(part).len()
    }

    fn word_right(&self) -> usize {
        let after = self.line[self.cursor..].trim_start_matches(|c: char| !c.is_alphanumeric());
        self.line.len() - after.trim_start_matches(char::is_alphanumeric).len()
    }

    fn newline(&mut self) {
        let end: &[u8] = if self.screen == Screen::Plain { b"\n" } else { b"\r\n" };
        self.out.extend_from_slice(end);
    }

    /// Leaves the line on the screen as a whole and goes below it.
    fn leave_row(&mut self, mark: &str) {
        if !self.drawn.as_ref().is_some_and(|row| row.whole) || !mark.is_empty() {
            self.erase();
            let line = if self.masked { "" } else { &self.line };
            let text = format!("{}{line}{mark}", self.prompt);
            self.out.extend_from_slice(text.as_bytes());
        }
        self.newline();
        self.shown = 0;
        self.drawn = None;
    }

    fn erase(&mut self) {
        self.drawn = None;
        let shown = std::mem::take(&mut self.shown);
        if shown > 0 {
            match self.screen {
                Screen::Ansi => self.out.extend_from_slice(b"\r\x1b[K"),
                Screen::Dumb => {
                    self.out.push(b'\r');
                    self.out.resize(self.out.len() + shown, b' ');
                    self.out.push(b'\r');
                }
                Screen::Plain => {}
            }
        }
    }

    fn refresh(&mut self) {
        if self.screen == Screen::Plain || self.drawn.is_some() {
            return;
        }
        let row = if self.masked {
            let stars = |text: &str| "*".repeat(text.chars().count());
            let (line, cursor) = (stars(&self.line), stars(&self.line[..self.cursor]).len());
            Row::lay(&self.prompt, &line, cursor, &mut self.scroll, self.width)
        } else {
            Row::lay(&self.prompt, &self.line, self.cursor, &mut self.scroll, self.width)
        };
        self.out.push(b'\r');
        self.out.extend_from_slice(row.text.as_bytes());
        if self.screen == Screen::Ansi {
            self.out.extend_from_slice(b"\x1b[K");
            if row.column != row.cells {
                self.out.extend_from_slice(format!("\r\x1b[{}C", row.column.max(1)).as_bytes());
            }
        } else {
            let blank = self.shown.saturating_sub(row.cells);
            self.out.resize(self.out.len() + blank, b' ');
            self.out.push(b'\r');
            self.out.extend_from_slice(&row.text.as_bytes()[..row.before]);
        }
        self.shown = row.cells;
        self.drawn = Some(row);
    }
}

#[cfg(test)]
#[path = "editor_tests.rs"]
mod tests;
