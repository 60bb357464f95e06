//! Machine mode: one JSON object per line each way, for a program at the other end of a cable. The
//! methods, parameters, answers, errors and events are those of the control socket ([`api`]).
//!
//! Pure, as the session for people is. A line is noisy: what is no JSON object is answered by one
//! error for a whole run of it, and the next line begins anew, whatever was in the last one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::lock::Tried;
use super::session::{MAX_ASKS, Standing};
use crate::api::{self, BadRequest, INTERFACE, Object, Request, Subscribe};
use crate::command::{Command, is_secret};
use crate::control::varlink::{MAX_FRAME, SERVICE};
use crate::model::{Answer, Millis, Refusal, Stamped, Wall, What};

/// A line must end within this time of its last byte: what noise began does not swallow the next
/// request.
pub const LINE_MS: Millis = 5_000;
/// Longest id, in bytes of JSON.
pub const MAX_ID: usize = 128;
/// Bytes that may wait for the line before events wait in the node's ring, and no request is
/// begun.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// One line from the other end.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default)]
    parameters: Option<Object>,
    /// As on the socket: no reply wanted.
    #[serde(default)]
    oneway: bool,
}

struct Asked {
    id: Value,
    oneway: bool,
    user: Option<String>,
    command: Command,
}

struct Wanted {
    id: Value,
    subscribe: Subscribe,
}

/// See the module.
pub struct Json {
    line: Vec<u8>,
    /// Bytes of a line past the limit that were dropped.
    over: usize,
    /// The last line was no request, and that was said.
    junk: bool,
    /// When the last byte of an unfinished line came.
    begun: Option<Millis>,
    now: Millis,
    out: Vec<u8>,
    asks: VecDeque<Asked>,
    under_way: Option<Asked>,
    subscribed: Option<(Value, Option<String>)>,
    /// A `Subscribe` that the driver has not yet carried out.
    resume: Option<Wanted>,
    operator: bool,
    standing: Rc<RefCell<Standing>>,
    text: bool,
    rest: Vec<u8>,
}

impl Json {
    /// A session that says first that it is one.
    pub fn new(operator: bool, standing: Rc<RefCell<Standing>>) -> Json {
        let mut json = Json {
            line: Vec::new(),
            over: 0,
            junk: false,
            begun: None,
            now: 0,
            out: Vec::new(),
            asks: VecDeque::new(),
            under_way: None,
            subscribed: None,
            resume: None,
            operator,
            standing,
            text: false,
            rest: Vec::new(),
        };
        json.say(&json!({"mode": "json", "interface": INTERFACE}));
        json
    }

    /// Takes what came.
    pub fn feed(&mut self, now: Millis, bytes: &[u8]) {
        self.tick(now);
        self.standing.borrow_mut().lock.key(now);
        self.begun = Some(now);
        for (i, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || *byte == b'\r' {
                self.begun = None;
                self.line_ended();
                if self.text {
                    self.rest.extend_from_slice(&bytes[i + 1..]);
                    return;
                }
                self.begun = Some(now);
            } else if self.line.len() < MAX_FRAME {
                self.line.push(*byte);
            } else {
                self.over += 1;
            }
        }
        if self.line.is_empty() {
            self.begun = None;
        }
    }

    /// Time passed: half a line that nobody ends is noise.
    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        if self.standing.borrow_mut().lock.tick(now) && self.standing.borrow().lock.hides() {
            self.subscribed = None;
        }
        if self.begun.is_some_and(|at| now >= at + LINE_MS) {
            self.begun = None;
            self.line.clear();
            self.over = 0;
            self.is_junk();
        }
    }

    /// When [`Json::tick`] wants to be called.
    pub fn wake(&self) -> Option<Millis> {
        let line = self.begun.map(|at| at + LINE_MS);
        [line, self.standing.borrow().lock.wake()].into_iter().flatten().min()
    }

    /// The next request for the node, and the user who acts. One is under way at a time.
    pub fn next_ask(&mut self) -> Option<(Option<String>, Command)> {
        if self.under_way.is_some() || self.out.len() >= MAX_OUTPUT {
            return None;
        }
        let asked = self.asks.pop_front()?;
        let next = (asked.user.clone(), asked.command.clone());
        self.under_way = Some(asked);
        Some(next)
    }

    /// The answer to it.
    pub fn answer(&mut self, result: Result<Answer, Refusal>) {
        let Some(asked) = self.under_way.take() else { return };
        if asked.oneway {
            return;
        }
        match result {
            Ok(answer) => self.reply(&asked.id, api::answer_to_json(&answer)),
            Err(refusal) => self.refuse(&asked.id, &refusal),
        }
    }

    /// Something happened.
    pub fn event(&mut self, event: &Stamped) {
        let Some((id, user)) = &self.subscribed else { return };
        let concerns = match (user, &event.event.user) {
            (Some(wanted), Some(user)) => user.is(wanted),
            _ => true,
        };
        let secret = matches!(&event.event.what, What::Config { key, .. } if is_secret(key));
        let may = self.operator && self.standing.borrow().lock.is_open();
        if concerns && (may || !secret) {
            let line = json!({"id": id, "parameters": {"event": event}, "continues": true});
            self.say(&line);
        }
    }

    /// From where events are wanted from now on (`epoch:seq`, or none: from here), once per
    /// `Subscribe`; [`Json::subscribe`] comes next.
    pub fn wants_events(&self) -> Option<Option<&str>> {
        self.resume.as_ref().map(|wanted| wanted.subscribe.since.as_deref())
    }

    /// Where the stream of events stands that was wanted: the epoch and the number of the newest
    /// event; none: `since` is no place.
    pub fn subscribe(&mut self, at: Wall, place: Result<Option<(String, u64)>, Refusal>) {
        let Some(Wanted { id, subscribe }) = self.resume.take() else { return };
        match place {
            Ok(Some((epoch, seq))) => {
                if subscribe.ready {
                    let ready = json!({"epoch": epoch, "seq": seq, "user": null, "at": at,
                        "kind": "ready"});
                    self.say(&json!({"id": id, "parameters": {"event": ready}, "continues": true}));
                }
                self.subscribed = Some((id, subscribe.user));
            }
            Ok(None) => self.wrong(&id, "InvalidParameter", "parameter", "since"),
            Err(refusal) => self.refuse(&id, &refusal),
        }
    }

    /// Whether events are to be read from the node: not while the line has enough to do. They
    /// wait in the ring, and what falls out of it is told by a `gap`.
    pub fn has_room(&self) -> bool {
        self.subscribed.is_none() || self.out.len() < MAX_OUTPUT
    }

    /// Bytes for the line.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether `MODE TEXT` came; then what followed it.
    pub fn wants_text(&mut self) -> Option<Vec<u8>> {
        self.text.then(|| std::mem::take(&mut self.rest))
    }

    /// Whether all that was asked is answered: for the end of a pipe.
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty() && self.under_way.is_none()
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        let over = std::mem::take(&mut self.over);
        if over > 0 {
            if !std::mem::replace(&mut self.junk, true) {
                let bytes = (line.len() + over) as u64;
                self.refuse(&Value::Null, &Refusal::TooLong { bytes, limit: MAX_FRAME as u64 });
            }
            return;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            return;
        }
        if text.eq_ignore_ascii_case(b"MODE TEXT") {
            self.text = true;
            return;
        }
        if text.eq_ignore_ascii_case(b"MODE JSON") {
            self.junk = false;
            return self.say(&json!({"mode": "json", "interface": INTERFACE}));
        }
        match serde_json::from_slice::<Line>(text) {
            Ok(line) => {
                self.junk = false;
                self.request(line);
            }
            Err(_) => self.is_junk(),
        }
    }

    /// One error for a run of junk, however long it is.
    fn is_junk(&mut self) {
        if !std::mem::replace(&mut self.junk, true) {
            self.wrong(&Value::Null, "InvalidParameter", "parameter", "call");
        }
    }

    fn request(&mut self, line: Line) {
        let Line { id, method, parameters, oneway } = line;
        let fits = match &id {
            Value::Null | Value::Number(_) => true,
            Value::String(text) => text.len() <= MAX_ID,
            _ => false,
        };
        if !fits {
            return self.wrong(&Value::Null, "InvalidParameter", "parameter", "id");
        }
        let bare = method.strip_prefix(INTERFACE).and_then(|m| m.strip_prefix('.'));
        let bare = bare.unwrap_or(&method);
        let parameters = parameters.unwrap_or_default();
        match bare {
            "Unlock" => return self.unlock(&id, &parameters),
            "Unsubscribe" => {
                self.subscribed = None;
                return self.reply(&id, Object::new());
            }
            _ => {}
        }
        let request = match Request::from_json(bare, parameters) {
            Ok(request) => request,
            Err(BadRequest::NoSuchMethod) => {
                return self.wrong(&id, "MethodNotFound", "method", &method);
            }
            Err(BadRequest::Parameter(name)) => {
                return self.wrong(&id, "InvalidParameter", "parameter", &name);
            }
        };
        if let Err(refusal) = self.may(&request) {
            return self.refuse(&id, &refusal);
        }
        match request {
            Request::Act {
                command:
                    Command::SendFile { descriptor: Some(_), .. }
                    | Command::Update { descriptor: Some(_) },
                ..
            } => {
                self.wrong(&id, "InvalidParameter", "parameter", "fileDescriptor");
            }
            Request::Act { .. } if self.asks.len() >= MAX_ASKS => {
                let limit = MAX_ASKS as u64;
                self.refuse(&id, &Refusal::TooMany { what: "requests at once".into(), limit });
            }
            Request::Act { user, command } => {
                self.asks.push_back(Asked { id, oneway, user, command });
            }
            Request::Subscribe(subscribe) => {
                self.subscribed = None;
                self.resume = Some(Wanted { id, subscribe });
            }
        }
    }

    fn may(&self, request: &Request) -> Result<(), Refusal> {
        let standing = self.standing.borrow();
        let denied = |what: &str| Err(Refusal::Denied { what: what.into() });
        let needs = match request {
            Request::Act { command, .. } => {
                command.is_operators() || matches!(command, Command::SendFile { .. })
            }
            Request::Subscribe(_) => false,
        };
        if needs && !self.operator {
            return denied("this line is not the operator's");
        }
        if standing.lock.hides() || needs && !standing.lock.is_open() {
            return denied("the PIN is needed: Unlock");
        }
        Ok(())
    }

    fn unlock(&mut self, id: &Value, parameters: &Object) {
        let Some(pin) = parameters.get("pin").and_then(Value::as_str) else {
            return self.wrong(id, "InvalidParameter", "parameter", "pin");
        };
        let tried = self.standing.borrow_mut().lock.give(self.now, pin);
        match tried {
            Tried::Right => self.reply(id, Object::new()),
            Tried::Wrong(pause) | Tried::Early(pause) => {
                let what = if matches!(tried, Tried::Wrong(_)) { "wrong PIN" } else { "too early" };
                let what = format!("{what}: the next is taken in {} s", pause.div_ceil(1_000));
                self.refuse(id, &Refusal::Denied { what });
            }
        }
    }

    fn reply(&mut self, id: &Value, parameters: Object) {
        self.say(&json!({"id": id, "parameters": parameters}));
    }

    fn refuse(&mut self, id: &Value, refusal: &Refusal) {
        let (error, parameters) = api::refusal_to_json(refusal);
        self.say(&json!({"id": id, "error": error, "parameters": parameters}));
    }

    /// One of Varlink's standard errors, as the socket has them.
    fn wrong(&mut self, id: &Value, error: &str, name: &str, value: &str) {
        let mut parameters = Object::new();
        parameters.insert(name.into(), value.into());
        let error = format!("{SERVICE}.{error}");
        self.say(&json!({"id": id, "error": error, "parameters": parameters}));
    }

    fn say(&mut self, line: &Value) {
        // What is made here fits: our own answers are bounded, errors repeat 128 bytes at most.
        self.out.extend_from_slice(line.to_string().as_bytes());
        self.out.push(b'\n');
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
