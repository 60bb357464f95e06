//! What a console on a serial line has beside a terminal's: the operator's lock, a greeting after
//! silence, a count of what came meanwhile, and answers about the terminal at the other end.

use std::collections::VecDeque;

use super::super::lock::{Lock, Tried};
use super::super::render::same;
use super::{Session, Why};
use crate::command::{Command, Row};
use crate::config::serial::WIDTH;
use crate::model::{Answer, Millis, PeerView, Presence, Status, What};

/// Silence after which the next key greets.
pub const SILENCE: Millis = 5 * 60_000;
/// Between two greetings: an Enter too many, or an echo from the other end, makes no storm.
pub const BETWEEN_GREETINGS: Millis = 2_000;
/// A terminal must say its width within this time.
pub const WIDTH_ANSWER: Millis = 2_000;
/// Lines in a row that are no commands: from then on the line is not heard …
pub const MAX_MISTAKES: u32 = 10;
/// … until nothing came for so long.
pub const HEARS_AGAIN: Millis = 2_000;
/// Received images that SAVE knows.
pub const MAX_IMAGES: usize = 100;
/// Images that SAVE lists, the newest first.
const LISTED: usize = 20;
/// Names of those who are here that a greeting has.
const NAMES: usize = 12;

/// What outlives a session: the line hangs up, the operator stays the same.
#[derive(Debug, Default)]
pub struct Standing {
    /// The operator's lock.
    pub lock: Lock,
    /// Messages and images that came since the last key.
    pub unread: u64,
    /// What comes is not shown.
    pub muted: bool,
    /// When the last key was pressed; none: never.
    pub looked: Option<Millis>,
    /// Images that came, by number, the newest last.
    images: VecDeque<(u32, String)>,
    numbered: u32,
}

/// What waits for the PIN.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The whole console.
    Console,
    /// A line that is the operator's.
    Line(String),
}

impl Standing {
    /// For a line with this lock.
    pub fn new(lock: Lock) -> Standing {
        Standing { lock, ..Standing::default() }
    }

    /// Something happened while no console was there to hear of it.
    pub fn missed(&mut self, what: &What) {
        self.unread += u64::from(what.is_content_in());
        match what {
            What::Image { path, .. } if what.is_content_in() => {
                self.image(path);
            }
            // the ring went round: what fell out is counted as what it mostly is
            What::Gap(gap) => self.unread += gap.missed.unwrap_or_default(),
            _ => {}
        }
    }

    /// An image came: its number.
    pub fn image(&mut self, path: &str) -> u32 {
        self.numbered = self.numbered.wrapping_add(1);
        self.images.push_back((self.numbered, path.to_owned()));
        if self.images.len() > MAX_IMAGES {
            self.images.pop_front();
        }
        self.numbered
    }

    /// The image of that number, if it is not forgotten.
    pub(super) fn path_of(&self, number: u32) -> Option<String> {
        self.images.iter().find(|(n, _)| *n == number).map(|(_, path)| path.clone())
    }

    pub(super) fn images(&self) -> impl Iterator<Item = &(u32, String)> {
        self.images.iter().rev()
    }
}

impl Session {
    /// Keys are coming: somebody looks.
    pub(super) fn keyed(&mut self) {
        let now = self.now;
        let mut standing = self.standing.borrow_mut();
        standing.lock.key(now);
        let silent = standing.looked.is_none_or(|last| now >= last + SILENCE);
        standing.looked = Some(now);
        if self.serial && !standing.lock.hides() {
            let unread = std::mem::take(&mut standing.unread);
            drop(standing);
            if silent && self.greeted.is_some() {
                self.missed += unread;
                self.greet();
            }
        }
    }

    /// Greets, unless that was done just now.
    pub(super) fn greet(&mut self) {
        if self.greeted.is_none_or(|at| self.now >= at + BETWEEN_GREETINGS) {
            self.greeted = Some(self.now);
            self.ask(Why::Greeting, Command::Status {});
            self.ask(Why::Here, Command::Who { gone: false });
        }
    }

    /// The lines of a greeting that a terminal has not: who is here, what came meanwhile.
    pub(super) fn here(&mut self, peers: &[PeerView]) {
        let mut names: Vec<&str> =
            peers.iter().filter(|p| p.presence != Presence::Gone).map(|p| &*p.name).collect();
        let more = names.len().saturating_sub(NAMES);
        names.truncate(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let here = match names.as_slice() {
            [] => "nobody else is here".to_owned(),
            names => format!("here: {}{more}", names.join(", ")),
        };
        let came = match std::mem::take(&mut self.missed) {
            0 => "no message since you last looked".to_owned(),
            1 => "1 message since you last looked: HISTORY shows it".to_owned(),
            n => format!("{n} messages since you last looked: HISTORY shows them"),
        };
        self.editor.above(&crate::model::text::harmless(&here));
        self.editor.above(&came);
        if self.standing.borrow().muted {
            self.editor.above("live messages are muted: UNMUTE shows them");
        }
    }

    /// Whether a command may be carried out here and now. Where only the PIN is missing, it is
    /// asked for and the line waits.
    pub(super) fn may(&mut self, line: &str, command: &Command) -> bool {
        let path = self.serial && matches!(command, Command::SendFile { .. });
        if !path && !command.is_operators() {
            return true;
        }
        if !self.operator {
            self.note("this console is not the operator's: that is not done from here");
            return false;
        }
        if self.standing.borrow().lock.is_open() {
            return true;
        }
        self.ask_pin(Waits::Line(line.to_owned()));
        false
    }

    /// A line that is no command. On a serial line it may be an echo of what was said there, and
    /// an answer would be echoed again, without end.
    pub(super) fn mistaken(&mut self, line: &str, said: &str) {
        if line.starts_with("begin-base64 ") {
            return self.unasked_image();
        }
        self.note(said);
        if self.serial {
            self.mistakes += 1;
            self.mistaken_at = self.now;
            if self.mistakes == MAX_MISTAKES {
                self.editor.wipe_line();
                self.input.clear();
                self.note("ten lines in a row were no commands: deaf until 2 s of silence");
            }
        }
    }

    /// Whether the line brings noise, or echoes what is said on it: then nothing of it is taken or
    /// answered until it was silent, or the talk would have no end.
    pub(super) fn is_deafened(&mut self) -> bool {
        if self.mistakes < MAX_MISTAKES {
            return false;
        }
        let deaf = self.now < self.mistaken_at + HEARS_AGAIN;
        self.mistaken_at = self.now;
        if !deaf {
            self.mistakes = 0;
        }
        deaf
    }

    /// QUIT: a line has nobody to go back to; its lock shuts.
    pub(super) fn close(&mut self) {
        self.standing.borrow_mut().lock.shut();
        if self.standing.borrow().lock.hides() {
            self.editor.wipe();
            self.ask_pin(Waits::Console);
        } else if self.standing.borrow().lock.is_open() {
            self.editor.above("the console of a line stays: unplug it");
        } else {
            self.editor.above("locked: what is the operator's needs the PIN again");
        }
    }

    pub(super) fn ask_pin(&mut self, waits: Waits) {
        self.waits = Some(waits);
        self.editor.set_masked(true);
        self.show_prompt();
    }

    /// What was typed at the PIN's prompt.
    pub(super) fn pin_given(&mut self, typed: &str, waits: Waits) {
        self.editor.set_masked(false);
        let tried = if typed.is_empty() {
            None
        } else {
            Some(self.standing.borrow_mut().lock.give(self.now, typed.trim()))
        };
        let seconds = |ms: Millis| ms.div_ceil(1_000);
        match tried {
            Some(Tried::Right) => {
                self.show_prompt();
                match waits {
                    Waits::Line(line) => self.line(&line),
                    Waits::Console => self.start(),
                }
                return;
            }
            Some(Tried::Wrong(pause)) => {
                let text = format!("wrong PIN: the next one is taken in {} s", seconds(pause));
                self.note(&text);
            }
            Some(Tried::Early(left)) => {
                self.note(&format!("not looked at: the next PIN is taken in {} s", seconds(left)));
            }
            None => {}
        }
        match waits {
            Waits::Console => self.ask_pin(Waits::Console),
            Waits::Line(_) => self.show_prompt(),
        }
    }

    /// Time passed for lock and terminal.
    pub(super) fn line_tick(&mut self) {
        let mut standing = self.standing.borrow_mut();
        let shut = standing.lock.tick(self.now);
        let hides = standing.lock.hides();
        drop(standing);
        if shut && hides && self.waits != Some(Waits::Console) {
            self.editor.wipe();
            self.ask_pin(Waits::Console);
        }
        self.image_tick();
        if self.width_asked.is_some_and(|until| self.now >= until) {
            self.width_asked = None;
            self.note("the terminal does not say how wide it is: CONFIG WIDTH 100 tells it");
        }
    }

    pub(super) fn line_wake(&self) -> Option<Millis> {
        let lock = self.standing.borrow().lock.wake();
        [lock, self.width_asked, self.image_wake()].into_iter().flatten().min()
    }

    pub(super) fn mute(&mut self, muted: bool) {
        let was = std::mem::replace(&mut self.standing.borrow_mut().muted, muted);
        let text = match (was, muted) {
            (_, true) => "what comes is not shown until UNMUTE".to_owned(),
            (true, false) => match std::mem::take(&mut self.muted_away) {
                0 => "what comes is shown again".to_owned(),
                n => {
                    format!("what comes is shown again; {n} messages not shown, HISTORY shows them")
                }
            },
            (false, false) => "nothing was muted".to_owned(),
        };
        self.editor.above(&text);
    }

    /// `CONFIG WIDTH n` sets it, `CONFIG WIDTH` asks the terminal: it is told to go to the far
    /// right and to say where it is.
    pub(super) fn width(&mut self, width: Option<u16>) {
        match width {
            Some(width) if WIDTH.contains(&width) => {
                self.editor.set_width(width);
                self.editor.above(&format!("{width} columns"));
            }
            Some(width) => {
                let (least, most) = (WIDTH.start(), WIDTH.end());
                self.note(&format!("WIDTH: found {width}, expected {least} to {most} columns"));
            }
            None => {
                self.width_asked = Some(self.now + WIDTH_ANSWER);
                self.editor.signal(b"\x1b7\x1b[999C\x1b[6n\x1b8");
            }
        }
    }

    /// The terminal said where its cursor is. Asked or not: a key may look like that.
    pub(super) fn column(&mut self, column: u16) {
        if self.width_asked.take().is_some() {
            self.width(Some(column));
        }
    }

    /// `SAVE`: the images that came, or where one of them is.
    pub(super) fn save(&mut self, number: Option<u32>) {
        let standing = self.standing.borrow();
        let text = match number {
            None => {
                let images = standing.images().take(LISTED).map(|(n, path)| format!("{n}  {path}"));
                let lines: Vec<String> = images.collect();
                if lines.is_empty() { "no image came yet".into() } else { lines.join("\n") }
            }
            Some(number) => match standing.path_of(number) {
                Some(path) => path,
                None => format!("there is no image {number}: SAVE lists them"),
            },
        };
        drop(standing);
        self.editor.above(&text);
    }

    /// HELP of a row that a terminal shows as it is.
    pub(super) fn help(&mut self, row: Option<&'static Row>) {
        self.editor.above(&self.paint.help(row));
    }

    /// Three lines of the node, as the console has them everywhere.
    pub(super) fn greeting(&mut self, status: &Status) {
        self.learn(status);
        let me = status.users.iter().find(|u| same(u.handle.as_str(), &self.me));
        self.editor.above(&self.paint.greeting(status, me));
    }

    /// An answer that only this file asked for.
    pub(super) fn line_answered(&mut self, answer: Answer) {
        if let Answer::Who(peers) = answer {
            self.known.roster(&peers);
            self.here(&peers);
        }
    }
}
