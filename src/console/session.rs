//! A person's session with a node: lines to commands, answers and events to words. Pure: the
//! driver brings bytes, events, answers and `now`, and fetches output and commands.
//!
//! What happens by itself (events) is in `news`, what is made of an answer in `answers`, what it says
//! in `done`, what Tab needs in `known`.

mod answers;
mod done;
mod image;
mod known;
mod line;
mod news;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use self::image::{Coming, Going};
pub use self::image::{SETTLES, STALLS, Spool};
use self::known::Known;
pub use self::known::MAX_NAMES;
use self::line::Waits;
pub use self::line::{
    BETWEEN_GREETINGS, HEARS_AGAIN, MAX_IMAGES, MAX_MISTAKES, SILENCE, Standing, WIDTH_ANSWER,
};
use self::news::News;
pub use self::news::{MAX_HELD, MAX_LINES_PER_SECOND, MAX_OUTPUT, MAX_SENT};
use super::editor::{DEFAULT_WIDTH, Did, Editor, MAX_LINE, Screen};
use super::past::Moment;
use super::render::Paint;
use crate::command::{Command, Typed, complete, parse};
use crate::model::{Answer, Handle, Map, Millis, Refusal, Wall};

/// Commands that may wait for their answers; typing beyond waits.
pub const MAX_ASKS: usize = 32;
/// Typed bytes that may wait for answers, where the driver reads on all the same.
pub const MAX_TYPED: usize = 64 * 1024;

/// What a session is told once.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The local user to speak for; none: the node's first.
    pub user: Option<String>,
    /// What it is shown on.
    pub screen: Screen,
    /// Columns; 0: not known.
    pub width: u16,
    /// With colours.
    pub colour: bool,
    /// Ring the bell on a message.
    pub bell: bool,
    /// What `~/` stands for.
    pub home: Option<String>,
    /// The folder that files without one are in.
    pub base: Option<String>,
    /// An instant as clock and calendar have it where the reader is.
    pub clock: fn(Wall) -> Moment,
    /// Files and folders (with a `/` at their end) that begin so.
    pub paths: fn(&str) -> Vec<String>,
    /// Names of forms, for Tab after FORM.
    pub forms: Vec<String>,
    /// Bytes that may wait for the terminal before events are only counted.
    pub queue: usize,
    /// It may do what is the operator's.
    pub operator: bool,
    /// It is on a serial line: it greets after silence and on Enter.
    pub serial: bool,
    /// What was before this session.
    pub standing: Rc<RefCell<Standing>>,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            user: None,
            screen: Screen::Ansi,
            width: DEFAULT_WIDTH,
            colour: false,
            bell: false,
            home: None,
            base: None,
            clock: Moment::utc,
            paths: |_| Vec::new(),
            forms: Vec::new(),
            queue: MAX_OUTPUT,
            operator: true,
            serial: false,
            standing: Rc::default(),
        }
    }
}

/// Why something was asked: what its answer is for.
#[derive(Clone, Debug, PartialEq)]
enum Why {
    Greeting,
    /// The end of a serial line's greeting.
    Here,
    /// Whether those are here whom an image is for that is to come over the line.
    Image(Vec<String>),
    Roster,
    Settings,
    /// The console's own line.
    Typed,
    /// `QR`.
    Code,
    /// `USER`, and whom it named.
    User(Option<String>),
    /// The first start's handle.
    FirstHandle,
}

struct Asked {
    why: Why,
    command: Command,
    /// Handed out and not answered.
    under_way: bool,
}

/// See the module.
pub struct Session {
    editor: Editor,
    paint: Paint,
    known: Known,
    news: News,
    user: Option<String>,
    /// The handle spoken for, once known.
    me: String,
    state: &'static str,
    base: Option<String>,
    /// The first start's dialogue: the handle that an empty line takes.
    offered: Option<String>,
    input: VecDeque<u8>,
    plain: bool,
    asks: Map<u32, Asked>,
    tickets: u32,
    eof: bool,
    quitting: bool,
    forced: bool,
    suspend: bool,
    json: bool,
    now: Millis,
    operator: bool,
    serial: bool,
    standing: Rc<RefCell<Standing>>,
    /// When the last greeting began.
    greeted: Option<Millis>,
    /// What came since the operator last looked, for the greeting that is under way.
    missed: u64,
    /// Messages that MUTE kept from the screen.
    muted_away: u64,
    waits: Option<Waits>,
    width_asked: Option<Millis>,
    /// Typed bytes that found no room.
    lost: u64,
    /// Lines in a row that were no commands, and when the last came.
    mistakes: u32,
    mistaken_at: Millis,
    /// An image that comes over the line, one that goes, and what is left for the driver's file.
    coming: Option<Coming>,
    going: Option<Going>,
    spool: VecDeque<Spool>,
}

impl Session {
    /// A session that has said and asked nothing yet: [`Session::start`] or
    /// [`Session::ask_handle`] come next.
    pub fn new(options: SessionOptions) -> Session {
        let mut editor = Editor::new(options.screen, options.width);
        editor.set_prompt("> ");
        Session {
            editor,
            paint: Paint { colour: options.colour, clock: options.clock },
            known: Known::new(options.forms, options.home, options.paths),
            news: News::new(options.screen != Screen::Plain, options.bell, options.queue),
            me: options.user.clone().unwrap_or_default(),
            user: options.user,
            state: "",
            base: options.base,
            offered: None,
            input: VecDeque::new(),
            plain: options.screen == Screen::Plain,
            asks: Map::new(),
            tickets: 0,
            eof: false,
            quitting: false,
            forced: false,
            suspend: false,
            json: false,
            now: 0,
            operator: options.operator,
            serial: options.serial,
            standing: options.standing,
            greeted: None,
            missed: 0,
            muted_away: 0,
            waits: None,
            width_asked: None,
            lost: 0,
            mistakes: 0,
            mistaken_at: 0,
            coming: None,
            going: None,
            spool: VecDeque::new(),
        }
    }

    /// The time, on the same clock as everything else here is told it; before the call it is for.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    /// Greets: asks the node what the three lines need, and what Tab will need.
    pub fn start(&mut self) {
        if self.standing.borrow().lock.hides() {
            return self.ask_pin(Waits::Console);
        }
        self.greeted = Some(self.now);
        self.missed += std::mem::take(&mut self.standing.borrow_mut().unread);
        self.ask(Why::Greeting, Command::Status {});
        self.ask(if self.serial { Why::Here } else { Why::Roster }, Command::Who { gone: false });
        self.ask(Why::Settings, Command::Config { key: None, value: None });
    }

    /// Asks for a handle first; an empty line takes the one suggested. Then joins and greets.
    pub fn ask_handle(&mut self, suggestion: &str) {
        self.editor.set_prompt(&format!("Your handle [{suggestion}]: "));
        self.offered = Some(suggestion.to_owned());
    }

    /// Takes what was typed.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.quitting {
            // The last commands are being answered; Ctrl-C does not wait for them.
            self.forced |= bytes.contains(&0x03);
            return;
        }
        if self.is_deafened() {
            return;
        }
        self.keyed();
        let room = MAX_TYPED.saturating_sub(self.input.len()).min(bytes.len());
        self.input.extend(&bytes[..room]);
        self.lost += (bytes.len() - room) as u64;
        self.keys_while_going(bytes);
        self.work();
        if self.lost > 0 && self.input.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            self.note(&format!("{lost} typed bytes were lost: they came faster than answers"));
        }
    }

    /// Nothing more will be typed: ends when all commands are answered.
    pub fn end_of_input(&mut self) {
        self.eof = true;
        self.work();
    }

    /// Input waits for answers: the driver should read no more for now.
    pub fn busy(&self) -> bool {
        !self.input.is_empty() && !self.quitting
    }

    /// The next command to ask the node, its ticket and the user who acts.
    pub fn next_ask(&mut self) -> Option<(u32, Option<String>, Command)> {
        let (ticket, asked) = self.asks.iter_mut().find(|(_, a)| !a.under_way)?;
        asked.under_way = true;
        Some((*ticket, self.user.clone(), asked.command.clone()))
    }

    /// The answer to a ticket.
    pub fn answer(&mut self, ticket: u32, result: Result<Answer, Refusal>) {
        let Some(asked) = self.asks.remove(&ticket) else { return };
        match result {
            Ok(answer) => self.answered(asked, answer),
            Err(refusal) => self.refused(&asked, &refusal),
        }
        if !self.settling() {
            self.release();
        }
        self.work();
    }

    /// Whether `MODE JSON` came, and nothing is waited for any more; then what followed it.
    pub fn wants_json(&mut self) -> Option<Vec<u8>> {
        let busy = self.asks.values().any(|a| a.why == Why::Typed);
        (self.json && !busy).then(|| self.input.drain(..).collect())
    }

    /// Bytes for the terminal.
    pub fn take_output(&mut self) -> Vec<u8> {
        if self.quitting { self.editor.hide() } else { self.editor.take_output() }
    }

    /// Whether the session is over and its last answers are in.
    pub fn ended(&self) -> bool {
        self.forced || self.quitting && !self.asks.values().any(|a| a.why == Why::Typed)
    }

    /// Whether Ctrl-Z was pressed since the last call.
    pub fn wants_suspend(&mut self) -> bool {
        std::mem::take(&mut self.suspend)
    }

    /// The terminal's width changed; 0: not known.
    pub fn set_width(&mut self, width: u16) {
        self.editor.set_width(width);
    }

    /// Something else wrote on the terminal: draw the row anew.
    pub fn redraw(&mut self) {
        self.editor.redraw();
    }

    /// Takes the row off the screen; it comes back with the next output.
    pub fn hide(&mut self) -> Vec<u8> {
        self.editor.hide()
    }

    /// Prints a line of the driver's own.
    pub fn note(&mut self, text: &str) {
        self.editor.above(&self.paint.wrong(text));
    }

    fn work(&mut self) {
        // A script's lines are answered in their order; a person need not wait.
        let most = if self.plain { 1 } else { MAX_ASKS };
        while !self.quitting && !self.json && !self.is_held() && self.asks.len() < most {
            let did = match self.input.pop_front() {
                Some(byte) if self.coming.is_some() => {
                    self.image_byte(byte);
                    None
                }
                Some(byte) => self.editor.feed(byte),
                None if self.eof => {
                    let rest = self.editor.rest();
                    self.quitting |= rest.is_none();
                    rest
                }
                None => break,
            };
            if let Some(did) = did {
                self.did(did);
            }
        }
        if self.quitting {
            self.input.clear();
            self.asks.retain(|_, a| a.why == Why::Typed);
        }
    }

    fn did(&mut self, did: Did) {
        match did {
            Did::Line(line) => match (self.waits.take(), self.offered.take()) {
                (Some(waits), _) => self.pin_given(&line, waits),
                (None, Some(offered)) => self.handle_given(line.trim(), offered),
                (None, None) => self.line(&line),
            },
            Did::TooLong => {
                let text = format!(
                    "that line was longer than {MAX_LINE} bytes and was not sent: write it in parts"
                );
                self.note(&text);
            }
            Did::Tab { again } => self.tab(again),
            Did::Interrupt | Did::End => match self.waits.take() {
                Some(Waits::Line(_)) => {
                    self.editor.set_masked(false);
                    self.show_prompt();
                }
                waits => {
                    self.waits = waits;
                    // noise on a line must not end its console
                    self.quitting |= !self.serial;
                }
            },
            Did::Suspend => self.suspend = true,
            Did::Column(column) => self.column(column),
        }
    }

    fn handle_given(&mut self, typed: &str, offered: String) {
        let wanted = if typed.is_empty() { offered.as_str() } else { typed };
        match Handle::try_from(wanted) {
            Ok(handle) => {
                self.editor.set_prompt("> ");
                self.news.expect("handle");
                self.ask(Why::FirstHandle, Command::SetHandle { handle: handle.into() });
            }
            Err(reason) => {
                self.note(&reason.to_string());
                self.offered = Some(offered);
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.news.forget();
        let parsed = parse(line);
        if parsed.is_ok() {
            self.mistakes = 0;
        }
        match parsed {
            Ok(Typed::Nothing) if self.serial => self.greet(),
            Ok(Typed::Nothing) => {}
            Ok(Typed::Quit) if self.serial => self.close(),
            Ok(Typed::Quit) => self.quitting = true,
            Ok(Typed::Help(row)) => self.help(row),
            Ok(Typed::Mode { json }) => {
                self.json = json;
                if !json {
                    self.editor.above("this is text already: MODE JSON is for a program");
                }
            }
            Ok(Typed::Mute(muted)) => self.mute(muted),
            Ok(Typed::Width(width)) => self.width(width),
            Ok(Typed::Save { number: Some(number), back: true }) => self.send_back(number),
            Ok(Typed::Save { number, .. }) => self.save(number),
            Ok(Typed::Command(Command::SendFile { to, path, .. })) if path == "-" => {
                self.ask(Why::Image(to), Command::Who { gone: false });
            }
            Ok(Typed::Command(command)) if !self.may(line, &command) => {}
            Ok(Typed::User(whom)) => self.ask(Why::User(whom), Command::Status {}),
            Ok(Typed::Code) => self.ask(Why::Code, Command::Status {}),
            Ok(Typed::Command(Command::SendFile { to, path, descriptor, .. })) => {
                let mut path = self.known.expand(&path);
                if let Some(base) = self.base.as_ref().filter(|_| !path.starts_with('/')) {
                    path = format!("{}/{path}", base.trim_end_matches('/'));
                }
                self.ask(Why::Typed, Command::SendFile { to, path, descriptor, name: None });
            }
            Ok(Typed::Command(command)) => self.ask(Why::Typed, command),
            Err(mistake) => self.mistaken(line, &mistake.to_string()),
        }
    }

    fn tab(&mut self, again: bool) {
        let completion = match (&self.offered, &self.waits) {
            (None, None) => complete(self.editor.begun(), &self.known),
            _ => None,
        };
        let Some(completion) = completion else {
            return self.editor.signal(b"\x07");
        };
        let several = completion.choices.len() > 1;
        if several && again {
            self.editor.above(&crate::model::text::harmless(&completion.choices.join("  ")));
        } else if several && self.editor.begun()[completion.start..] == completion.insert {
            self.editor.signal(b"\x07");
        }
        self.editor.complete(completion.start, &completion.insert);
    }

    fn ask(&mut self, why: Why, command: Command) {
        self.tickets = self.tickets.wrapping_add(1);
        self.asks.insert(self.tickets, Asked { why, command, under_way: false });
    }

    /// Something of ours is being carried out whose events its answer explains.
    fn settling(&self) -> bool {
        let plain = |c: &Command| matches!(c, Command::Status {} | Command::Who { .. });
        self.asks.values().any(|a| a.under_way && a.why == Why::Typed && !plain(&a.command))
    }

    fn show_prompt(&mut self) {
        if let Some(progress) = self.image_prompt() {
            self.editor.set_prompt(&progress);
        } else if self.waits.is_some() {
            self.editor.set_prompt("PIN: ");
        } else if self.offered.is_none() {
            self.editor.set_prompt(&format!("{}{}> ", self.me, self.state));
        }
    }
}

/// The page's address as a QR code, for a terminal.
pub fn code(page: &str) -> String {
    match crate::web::qr::lines(page) {
        _ if page.is_empty() => "the page is not served: web.enabled".into(),
        Some(lines) => format!("{}\n{page}", lines.join("\n")),
        None => page.to_owned(),
    }
}

#[cfg(test)]
mod tests;
