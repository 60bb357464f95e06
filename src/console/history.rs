//! Lines that were entered, for Up and Down. Bounded in number and bytes: it is kept in memory
//! for as long as the node runs.

use std::collections::VecDeque;

/// Lines remembered.
pub const MAX_HISTORY: usize = 100;
/// Bytes remembered.
pub const MAX_HISTORY_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Default)]
pub struct History {
    lines: VecDeque<String>,
    bytes: usize,
    /// Where Up and Down are, and the half-typed line they left.
    at: Option<(usize, String)>,
}

impl History {
    /// Remembers a line as the newest; an older one like it goes.
    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if let Some(i) = self.lines.iter().position(|old| old == line) {
            self.lines.remove(i);
        } else {
            self.bytes += line.len();
        }
        self.lines.push_back(line.to_owned());
        while self.lines.len() > MAX_HISTORY || self.bytes > MAX_HISTORY_BYTES {
            match self.lines.pop_front() {
                Some(old) => self.bytes -= old.len(),
                None => break,
            }
        }
    }

    /// One line up or down from `now`; `None`: there is none that way.
    pub fn step(&mut self, up: bool, now: &str) -> Option<String> {
        let (at, draft) = match (self.at.take(), up) {
            (None, false) => return None,
            (None, true) => (self.lines.len(), now.to_owned()),
            (Some(at), _) => at,
        };
        let to = if up { at.checked_sub(1) } else { Some(at + 1) };
        match to {
            Some(i) if i < self.lines.len() => {
                self.at = Some((i, draft));
                self.lines.get(i).cloned()
            }
            Some(_) => Some(draft),
            None => {
                self.at = (at < self.lines.len()).then_some((at, draft));
                None
            }
        }
    }

    /// The line was entered or dropped: Up begins at the newest again.
    pub fn leave(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_past_the_limit_drops_the_oldest() {
        let mut history = History::default();
        for n in 0..=MAX_HISTORY {
            history.push(&n.to_string());
        }
        assert_eq!(history.lines.len(), MAX_HISTORY);
        assert_eq!(history.lines[0], "1");
        history.push("5");
        assert_eq!(history.lines.iter().filter(|l| *l == "5").count(), 1);
        history.push(&"x".repeat(MAX_HISTORY_BYTES));
        assert_eq!((history.lines.len(), history.bytes), (1, MAX_HISTORY_BYTES));
    }

    #[test]
    fn the_half_typed_line_waits_below() {
        let mut history = History::default();
        assert_eq!(history.step(true, "x"), None);
        history.push("one");
        history.push("two");
        assert_eq!(history.step(false, "half"), None);
        assert_eq!(history.step(true, "half").as_deref(), Some("two"));
        assert_eq!(history.step(true, "two").as_deref(), Some("one"));
        assert_eq!(history.step(true, "one"), None);
        assert_eq!(history.step(false, "one").as_deref(), Some("two"));
        assert_eq!(history.step(false, "two").as_deref(), Some("half"));
    }
}
