//! The editor against a real terminal emulator: what a person would see.

use super::*;

/// An editor wired to a vt100.
struct Bench {
    editor: Editor,
    terminal: vt100::Parser,
    did: Vec<Did>,
}

impl Bench {
    fn new(screen: Screen, width: u16) -> Bench {
        let mut bench = Bench {
            editor: Editor::new(screen, width),
            terminal: vt100::Parser::new(10, width, 0),
            did: Vec::new(),
        };
        bench.flush();
        bench
    }

    fn flush(&mut self) {
        let bytes = self.editor.take_output();
        self.terminal.process(&bytes);
    }

    /// Types, with a redraw after every `step` bytes.
    fn chunks(&mut self, bytes: &[u8], step: usize) {
        for chunk in bytes.chunks(step) {
            for byte in chunk {
                self.did.extend(self.editor.feed(*byte));
            }
            self.flush();
        }
    }

    fn types(&mut self, text: &str) {
        self.chunks(text.as_bytes(), 1);
    }

    fn above(&mut self, text: &str) {
        self.editor.above(text);
        self.flush();
    }

    fn rows(&self) -> Vec<String> {
        let (_, width) = self.terminal.screen().size();
        let rows = self.terminal.screen().rows(0, width).map(|r| r.trim_end().to_owned());
        let mut rows: Vec<String> = rows.collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn last(&self) -> String {
        self.rows().pop().unwrap_or_default()
    }

    fn cursor(&self) -> (u16, u16) {
        self.terminal.screen().cursor_position()
    }
}

const BOTH: [Screen; 2] = [Screen::Ansi, Screen::Dumb];

#[test]
fn a_half_typed_line_survives_what_arrives() {
    for screen in BOTH {
        let mut b = Bench::new(screen, 40);
        b.types("MSG anna hel");
        b.types("\x1b[D\x1b[D");
        b.above("[12:34] bob: hi\n[12:35] bob: again");
        assert_eq!(b.rows(), ["[12:34] bob: hi", "[12:35] bob: again", "> MSG anna hel"]);
        assert_eq!(b.cursor(), (2, 12));
        b.types("X\r");
        assert_eq!(b.did, [Did::Line("MSG anna hXel".into())]);
        assert_eq!(b.rows()[2], "> MSG anna hXel");
        assert_eq!(b.cursor(), (3, 2));
    }
}

#[test]
fn keys_edit_the_line() {
    for (typed, line) in [
        ("abc\x01X", "Xabc"),
        ("abc\x02\x02\x0b", "a"),
        ("abc def\x17", "abc "),
        ("abc def\x15x", "x"),
        ("abc def\x01\x04", "bc def"),
        ("abc\x14", "acb"),
        ("abc\x02\x14", "acb"),
        ("abc\x08\x7fd", "ad"),
        ("abc def\x1bbX", "abc Xdef"),
        ("abc def\x01\x1bfX", "abcX def"),
        ("abc def\x01\x1bd", " def"),
        ("abc def\x17\x01\x19", "defabc "),
        ("abc\x1b[H\x1b[3~", "bc"),
        ("abc\x1bOH\x1bOC\x1b[1;5DX", "Xabc"),
        ("äe\u{301}ö\x02\x7fx", "äxö"),
        ("日本\x7f語", "日語"),
        ("x\u{7}\u{9b}\u{202e}y", "xy"),
        ("\x1b[200~paste\x1b[201~", "paste"),
    ] {
        for (screen, step) in [(Screen::Ansi, 1), (Screen::Ansi, 1000), (Screen::Dumb, 3)] {
            let mut b = Bench::new(screen, 40);
            b.chunks(typed.as_bytes(), step);
            assert_eq!(b.last().trim_end(), format!("> {line}").trim_end(), "{typed:?} {screen:?}");
            b.types("\r");
            assert_eq!(b.did, [Did::Line(line.into())], "{typed:?}");
        }
    }
}

#[test]
fn a_long_line_scrolls_within_one_row() {
    for screen in BOTH {
        let mut b = Bench::new(screen, 20);
        b.types("0123456789abcdefghijklmnopqrstuvwxyz");
        assert_eq!(b.rows().len(), 1, "{:?}", b.rows());
        assert!(b.last().starts_with("> <") && b.last().ends_with('z'), "{}", b.last());
        b.types("\x01");
        assert_eq!(b.last(), "> 0123456789abcdef>");
        assert_eq!(b.cursor(), (0, 2));
        for _ in 0..36 {
            b.types("\x06");
            assert_eq!(b.rows().len(), 1);
            assert!(b.cursor().1 < 19);
        }
        b.types("\x02\x02");
        for _ in 0..34 {
            b.types("\x7f");
            assert_eq!(b.rows().len(), 1);
        }
        assert_eq!(b.last(), "> yz");
        assert_eq!(b.cursor(), (0, 2));
    }
}

#[test]
fn an_entered_line_is_shown_whole_although_its_row_was_scrolled() {
    let mut b = Bench::new(Screen::Ansi, 20);
    b.types("0123456789abcdefghijklmnopqrstuvwxyz\r");
    assert_eq!(b.rows(), ["> 0123456789abcdefgh", "ijklmnopqrstuvwxyz", ">"]);
}

#[test]
fn wide_characters_count_two_columns() {
    for screen in BOTH {
        let mut b = Bench::new(screen, 20);
        b.types("日本語日本語日本語日本語");
        assert_eq!(b.rows().len(), 1);
        assert!(b.last().ends_with("語"));
        b.types("\x01");
        assert_eq!(b.last(), "> 日本語日本語日本>");
        b.types("\x06\x06");
        assert_eq!(b.cursor(), (0, 6));
    }
}

#[test]
fn history_goes_up_and_comes_back() {
    let mut b = Bench::new(Screen::Ansi, 40);
    b.types("one\rtwo\rtwo\rhalf\x1b[A");
    assert_eq!(b.last(), "> two");
    b.types("\x10");
    assert_eq!(b.last(), "> one");
    b.types("\x10\x1bOB\x0e");
    assert_eq!(b.last(), "> half");
}

#[test]
fn line_ends_of_all_kinds() {
    let mut b = Bench::new(Screen::Ansi, 40);
    b.chunks(b"a\rb\nc\r\nd\r", 1);
    let lines: Vec<Did> = ["a", "b", "c", "d"].map(|l| Did::Line(l.into())).to_vec();
    assert_eq!(b.did, lines);
}

#[test]
fn ctrl_c_drops_the_line_and_ends_only_on_an_empty_one() {
    let mut b = Bench::new(Screen::Ansi, 40);
    b.types("abc\x03");
    assert_eq!((b.rows(), b.did.len()), (vec!["> abc^C".to_owned(), ">".into()], 0));
    b.types("\x03\x04\x1a\t\t");
    let tab = |again| Did::Tab { again };
    assert_eq!(b.did, [Did::Interrupt, Did::End, Did::Suspend, tab(false), tab(true)]);
}

#[test]
fn one_byte_past_the_line_is_not_sent_and_can_be_recalled() {
    let mut b = Bench::new(Screen::Ansi, 80);
    b.chunks("x".repeat(MAX_LINE).as_bytes(), 512);
    b.types("\r");
    assert_eq!(b.did.pop(), Some(Did::Line("x".repeat(MAX_LINE))));
    b.chunks("y".repeat(MAX_LINE + 1).as_bytes(), 512);
    b.types("\r");
    assert_eq!(b.did.pop(), Some(Did::TooLong));
    b.types("\x10\x7f\r");
    assert_eq!(b.did.pop(), Some(Did::Line("y".repeat(MAX_LINE - 1))));
    b.chunks("y".repeat(MAX_LINE + 1).as_bytes(), 512);
    b.types("\x7f\r");
    assert_eq!(b.did.pop(), Some(Did::Line("y".repeat(MAX_LINE - 1))));
}

#[test]
fn a_paste_of_ten_kilobytes_of_lines_arrives_whole() {
    let paste: String =
        (0..200).map(|n| format!("MSG anna line {n:03} {}\r", "ü".repeat(16))).collect();
    assert!(paste.len() > 10_000);
    for step in [1, 7, 4096] {
        let mut b = Bench::new(Screen::Ansi, 40);
        b.chunks(paste.as_bytes(), step);
        assert_eq!(b.did.len(), 200);
        assert!(matches!(&b.did[199], Did::Line(l) if l.starts_with("MSG anna line 199")));
    }
}

#[test]
fn noise_neither_panics_nor_sticks() {
    for (screen, seed) in [(Screen::Ansi, 1), (Screen::Dumb, 2), (Screen::Plain, 3)] {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut editor = Editor::new(screen, 40);
        let mut entered = 0;
        for n in 0..100_000 {
            entered += usize::from(editor.feed(random.u8(..)).is_some());
            if n % 97 == 0 {
                editor.take_output();
            }
            if n % 1009 == 0 {
                editor.set_width(random.u16(..200));
                editor.complete(random.usize(..40), "x");
            }
        }
        assert!(entered > 100);
        editor.set_width(40);
        let did: Vec<Did> = b"\x15\n\x15\x0bWHO\n".iter().filter_map(|b| editor.feed(*b)).collect();
        let last = match did.last() {
            Some(Did::Line(line)) => line.as_str(),
            other => panic!("{other:?}"),
        };
        assert!(last.ends_with("WHO"), "{last:?}");
    }
}

#[test]
fn peer_text_of_any_width_leaves_the_prompt_alone() {
    let mut b = Bench::new(Screen::Ansi, 20);
    b.types("half");
    b.above(&"x".repeat(20));
    b.above(&"y".repeat(41));
    assert_eq!(b.rows().len(), 5);
    assert_eq!(b.last(), "> half");
    assert_eq!(b.cursor(), (4, 6));
}

#[test]
fn a_prompt_wider_than_the_terminal_still_leaves_room() {
    let mut b = Bench::new(Screen::Ansi, 16);
    b.editor.set_prompt("a very long handle> ");
    b.types("hello");
    assert_eq!(b.last(), "andle> hello");
}

#[test]
fn widths_beyond_the_limits_are_taken_for_the_limits() {
    for (said, taken) in [(0, 80), (1, MIN_WIDTH), (MAX_WIDTH + 1, MAX_WIDTH)] {
        assert_eq!(Editor::new(Screen::Ansi, said).width, usize::from(taken));
    }
}

#[test]
fn completion_replaces_the_word_before_the_cursor() {
    let mut b = Bench::new(Screen::Ansi, 40);
    b.types("msg an hello\x1bb\x02");
    b.editor.complete(4, "anna");
    b.flush();
    assert_eq!(b.last(), "> msg anna hello");
    assert_eq!(b.cursor(), (0, 10));
}

#[test]
fn a_pipe_gives_lines_and_gets_lines() {
    let mut editor = Editor::new(Screen::Plain, 0);
    let did: Vec<Did> =
        b"who\r\nmsg a x\ty\n\xffz".iter().filter_map(|b| editor.feed(*b)).collect();
    assert_eq!(did, [Did::Line("who".into()), Did::Line("msg a x\ty".into())]);
    assert_eq!(editor.rest(), Some(Did::Line("\u{fffd}z".into())));
    editor.above("one\ntwo");
    assert_eq!(editor.take_output(), b"one\ntwo\n");
    let long = [vec![b'x'; MAX_LINE + 1], vec![b'\n']].concat();
    let did: Vec<Did> = long.iter().filter_map(|b| editor.feed(*b)).collect();
    assert_eq!(did, [Did::TooLong]);
}
