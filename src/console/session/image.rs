//! Images over the line itself: `IMG handle -` takes one, `SAVE n -` sends one back. The driver
//! keeps what comes in a file and reads what goes; here is what is said of it meanwhile.

use std::collections::VecDeque;

use super::super::inline::Receive;
use super::super::render::bytes;
use super::{Session, Why};
use crate::command::{Command, LOBBY, Names};
use crate::model::Millis;

/// An image must go on within this time.
pub const STALLS: Millis = 30_000;
/// After a failure the line must be silent so long before it is taken for typing again.
pub const SETTLES: Millis = 2_000;
/// A Ctrl-C after so long a silence is a key.
const QUIET: Millis = 500;
/// Between two lines of progress.
const PROGRESS: Millis = 1_000;
/// The largest image where the node does not say otherwise, in bytes.
const USUAL_LIMIT: u64 = 32 * 1024 * 1024;

/// What the driver is to do with the file that comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Spool {
    /// Begin a new one; drop another that was begun.
    Begin,
    /// Append.
    Data(Vec<u8>),
    /// Drop it.
    Drop,
}

/// An image that is coming.
pub(super) struct Coming {
    receive: Receive,
    to: Vec<String>,
    /// When the last byte came.
    last: Millis,
    /// When progress was last shown.
    shown: Millis,
    pub spool: VecDeque<Spool>,
}

/// An image that is going.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Going {
    /// The driver is to open it.
    Wanted(String),
    /// It is on its way.
    On,
    /// Ctrl-C was pressed.
    Aborted,
}

impl Session {
    /// Whether what is typed waits: for an answer that says what it is for, or for a file's end.
    pub(super) fn is_held(&self) -> bool {
        self.going.is_some() || self.asks.values().any(|a| matches!(a.why, Why::Image(_)))
    }

    /// `IMG handle -`, and it is known who is here.
    pub(super) fn receive_image(&mut self, to: Vec<String>) {
        if let Some(nobody) = to.iter().find(|name| !self.is_known(name)) {
            let text = format!("nobody called {nobody} is here: WHO lists who is");
            return self.note(&text);
        }
        let limit = self.known.setting("max-image").and_then(|v| v.parse().ok());
        let limit = limit.unwrap_or(USUAL_LIMIT);
        let text = format!(
            "send it now as text, at most {}; Ctrl-C ends it. A file f is made so:\n(echo \
             begin-base64 644 $f; base64 $f; echo ====; cksum <$f) >out.txt\nand out.txt is sent \
             as it is: picocom --send-cmd cat, then Ctrl-A Ctrl-S",
            bytes(limit)
        );
        self.editor.above(&text);
        let (receive, spool) = (Receive::new(limit), VecDeque::from([Spool::Begin]));
        let (last, shown) = (self.now, self.now);
        self.coming = Some(Coming { receive, to, last, shown, spool });
        self.show_prompt();
    }

    /// What is being sent though nobody waits for it: it is swallowed, not taken for commands.
    pub(super) fn unasked_image(&mut self) {
        let mut receive = Receive::new(0);
        receive.give_up();
        let (last, shown) = (self.now, self.now);
        self.coming = Some(Coming { receive, to: Vec::new(), last, shown, spool: VecDeque::new() });
        self.note("no image is waited for: IMG handle - comes first");
        self.show_prompt();
    }

    /// Asking before an hour of sending is better than refusing after it.
    fn is_known(&self, name: &str) -> bool {
        let (name, is_full) = (name.to_lowercase(), name.contains('@'));
        let mut all = self.known.handles();
        all.extend(self.known.users());
        name == LOBBY
            || is_full
            || name.starts_with('p') && name.len() == 13
            || all.iter().any(|known| known.to_lowercase().split('@').next() == Some(&*name))
    }

    /// A byte of the line while an image comes.
    pub(super) fn image_byte(&mut self, byte: u8) {
        let Some(coming) = &mut self.coming else { return };
        let quiet = self.now >= coming.last + QUIET;
        coming.last = self.now;
        if byte == 0x03 && quiet {
            return self.image_failed("it was ended with Ctrl-C");
        }
        if byte == 0x03 && !coming.receive.is_spent() {
            // pressed in the midst of it, or part of what is no text
            coming.receive.give_up();
            coming.spool.push_back(Spool::Drop);
            return self.note("the image was not taken: it was ended with Ctrl-C");
        }
        let outcome = coming.receive.feed(byte);
        match outcome {
            None if coming.receive.is_over() => self.image_ended(),
            None => {}
            Some(Err(why)) => {
                let is_over = coming.receive.is_over();
                coming.spool.push_back(Spool::Drop);
                self.note(&format!("the image was not taken: {why}"));
                if is_over {
                    self.image_ended();
                }
            }
            Some(Ok(received)) => {
                let left = coming.receive.take();
                coming.spool.push_back(Spool::Data(left));
                let to = std::mem::take(&mut coming.to);
                self.image_ended();
                self.editor.above(&format!(
                    "{} came whole ({})",
                    received.name,
                    bytes(received.size)
                ));
                let (path, descriptor) = (received.name, Some(0));
                self.ask(Why::Typed, Command::SendFile { to, path, descriptor, name: None });
            }
        }
    }

    /// Pieces for the driver's file: what the decoder has is handed over.
    pub fn take_spool(&mut self) -> Option<Spool> {
        if let Some(spool) = self.spool.pop_front() {
            return Some(spool);
        }
        let coming = self.coming.as_mut()?;
        if let Some(first) = coming.spool.pop_front() {
            return Some(first);
        }
        let data = coming.receive.take();
        (!data.is_empty()).then_some(Spool::Data(data))
    }

    /// The driver could not keep what came.
    pub fn spool_failed(&mut self, why: &str) {
        self.image_failed(why);
    }

    /// It ends before its end: what still comes of it is typing again.
    fn image_failed(&mut self, why: &str) {
        if let Some(coming) = &mut self.coming {
            coming.spool.push_back(Spool::Drop);
            self.image_ended();
            self.note(&format!("the image was not taken: {why}"));
        }
    }

    fn image_ended(&mut self) {
        if let Some(mut coming) = self.coming.take() {
            self.spool.append(&mut coming.spool);
        }
        self.show_prompt();
    }

    /// Time passed for an image that comes.
    pub(super) fn image_tick(&mut self) {
        let now = self.now;
        let Some(coming) = &mut self.coming else { return };
        if coming.receive.is_spent() {
            if now >= coming.last + SETTLES {
                self.image_ended();
            }
        } else if now >= coming.last + STALLS {
            self.image_failed("nothing more came for 30 s");
        } else if now >= coming.shown + PROGRESS {
            coming.shown = now;
            self.show_prompt();
        }
    }

    pub(super) fn image_wake(&self) -> Option<Millis> {
        let coming = self.coming.as_ref()?;
        Some(match coming.receive.is_spent() {
            true => coming.last + SETTLES,
            false => (coming.last + STALLS).min(coming.shown.max(self.now) + PROGRESS),
        })
    }

    /// What stands in the prompt's place while an image comes.
    pub(super) fn image_prompt(&self) -> Option<String> {
        let coming = self.coming.as_ref()?;
        Some(match coming.receive.is_spent() {
            true => "waiting for its end ".into(),
            false => format!("{} came, Ctrl-C ends it ", bytes(coming.receive.size())),
        })
    }

    /// `SAVE n -`.
    pub(super) fn send_back(&mut self, number: u32) {
        let path = self.standing.borrow().path_of(number);
        match path {
            Some(path) => self.going = Some(Going::Wanted(path)),
            None => self.note(&format!("there is no image {number}: SAVE lists them")),
        }
    }

    /// A file that the driver is to put on the line, and has not yet opened.
    pub fn wants_file(&mut self) -> Option<String> {
        match self.going.take() {
            Some(Going::Wanted(path)) => {
                self.going = Some(Going::On);
                Some(path)
            }
            other => {
                self.going = other;
                None
            }
        }
    }

    /// Whether Ctrl-C ended what is on its way.
    pub fn file_aborted(&self) -> bool {
        self.going == Some(Going::Aborted)
    }

    /// It is out whole, or why not.
    pub fn file_sent(&mut self, result: Result<u64, &str>) {
        self.going = None;
        match result {
            Ok(size) => self.editor.above(&format!("sent whole ({})", bytes(size))),
            Err(why) => self.note(&format!("not sent: {why}")),
        }
        self.work();
    }

    /// Keys while a file goes: Ctrl-C ends it, the others wait.
    pub(super) fn keys_while_going(&mut self, keys: &[u8]) {
        if keys.contains(&0x03) && self.going == Some(Going::On) {
            self.going = Some(Going::Aborted);
            self.input.clear();
        }
    }
}
