//! Events as a person should hear of them: nothing twice, nothing in a flood, and what became of
//! what this console sent.
//!
//! The node tells its events to all ways in, this console's own doings included, before or after
//! it answers. So events that an answer may explain are held while one is awaited.

use std::collections::VecDeque;

use super::super::render::{bytes, same};
use super::{Command, Session, Why};
use crate::command::parse::switch;
use crate::model::limits::MAX_TRANSFERS;
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Event, Map, Millis, PeerId, Receipt, Stamped,
    TransferState, What,
};

/// Lines about events that a terminal gets within one second; the rest is counted.
pub const MAX_LINES_PER_SECOND: u32 = 40;
/// Bytes that may wait for a slow terminal before events are only counted.
pub const MAX_OUTPUT: usize = 64 * 1024;
/// Events held while an answer is awaited.
pub const MAX_HELD: usize = 256;
/// Entries of this console whose fate is still shown.
pub const MAX_SENT: usize = 1_024;
/// Percent of a transfer between two lines about it.
const STEP: u64 = 20;
/// Transfers smaller than this show their end only.
const SMALL: u64 = 256 * 1024;

/// What is remembered of events.
pub(super) struct News {
    /// Whether there is somebody to protect from a flood.
    limited: bool,
    bell: bool,
    /// Bytes that may wait for the terminal.
    queue: usize,
    /// When the present second began, and the lines of it.
    second: Millis,
    lines: u32,
    rung: bool,
    /// Events counted only.
    hidden: u64,
    held: VecDeque<Event>,
    /// What this console sent: the first and last entry of each command.
    sent: VecDeque<(EntryId, EntryId)>,
    /// The state last shown of each.
    fates: Map<(EntryId, PeerId), Delivery>,
    /// Percent last shown of each transfer.
    transfers: Map<EntryId, u64>,
    /// Settings this console changed: the event is not news.
    expected: VecDeque<String>,
}

impl News {
    pub fn new(limited: bool, bell: bool, queue: usize) -> News {
        News {
            limited,
            bell,
            queue,
            second: 0,
            lines: 0,
            rung: false,
            hidden: 0,
            held: VecDeque::new(),
            sent: VecDeque::new(),
            fates: Map::new(),
            transfers: Map::new(),
            expected: VecDeque::new(),
        }
    }

    /// Remembers what a command of this console sent.
    pub fn sent(&mut self, receipts: &[Receipt]) {
        let ids = receipts.iter().map(|r| r.id);
        // The node makes one command's entries in one go, so all between are of it too.
        if let (Some(first), Some(last)) = (ids.clone().min(), ids.max()) {
            self.sent.push_back((first, last));
        }
        for r in receipts {
            self.fates.insert((r.id, r.peer), r.state);
        }
        while self.sent.len() > MAX_SENT {
            self.sent.pop_front();
        }
        while self.fates.len() > MAX_SENT {
            self.fates.pop_first();
        }
    }

    /// A setting's value is known; the console's own are obeyed.
    pub fn set(&mut self, key: &str, value: &str) {
        if key == "bell" {
            self.bell = switch(value).unwrap_or(self.bell);
        }
    }

    /// The next event about this setting is this console's own doing.
    pub fn expect(&mut self, key: &str) {
        self.expected.push_back(key.to_owned());
    }

    /// Another command begins: what was expected of the one before did not come.
    pub fn forget(&mut self) {
        self.expected.clear();
    }

    fn ours(&self, id: EntryId) -> bool {
        self.sent.iter().any(|(first, last)| (*first..=*last).contains(&id))
    }

    /// Whether this state of an entry of ours has not been shown.
    fn is_new(&mut self, id: EntryId, peer: PeerId, state: Delivery) -> bool {
        self.ours(id) && self.fates.insert((id, peer), state) != Some(state)
    }
}

impl Session {
    /// Something happened.
    pub fn event(&mut self, now: Millis, stamped: &Stamped) {
        self.tick(now);
        let event = &stamped.event;
        let explained = matches!(
            event.what,
            What::Message { direction: Direction::Out, .. }
                | What::Image { direction: Direction::Out, .. }
                | What::Delivery { .. }
                | What::Transfer { direction: Direction::Out, .. }
                | What::Config { .. }
        );
        if explained && self.settling() {
            if self.news.held.len() < MAX_HELD {
                self.news.held.push_back(event.clone());
            } else {
                self.news.hidden += 1;
            }
            return;
        }
        self.show(event);
    }

    /// Time passed: tells of what was not shown.
    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        self.line_tick();
        if now < self.news.second + 1_000 {
            return;
        }
        self.news.second = now;
        self.news.lines = 0;
        self.news.rung = false;
        let shows = !self.standing.borrow().lock.hides() && self.going.is_none();
        if self.news.hidden > 0 && shows && self.editor.pending() < self.news.queue {
            let hidden = std::mem::take(&mut self.news.hidden);
            self.note(&format!("{hidden} messages not shown, HISTORY shows them"));
        }
    }

    /// When [`Session::tick`] wants to be called.
    pub fn wake(&self) -> Option<Millis> {
        let hidden = (self.news.hidden > 0).then_some(self.news.second + 1_000);
        [hidden, self.line_wake()].into_iter().flatten().min()
    }

    /// No answer is awaited any more: what was held is news, or explained now.
    pub(super) fn release(&mut self) {
        for event in std::mem::take(&mut self.news.held) {
            self.show(&event);
        }
    }

    fn show(&mut self, event: &Event) {
        self.heed(&event.what);
        let Some(mut line) = self.words(event) else { return };
        let content = event.what.is_content_in();
        let mut standing = self.standing.borrow_mut();
        standing.unread += u64::from(content);
        if let (What::Image { path, .. }, true) = (&event.what, content) {
            line += &format!(": SAVE {}", standing.image(path));
        }
        if standing.lock.hides() {
            return;
        }
        let ours = matches!(event.what, What::Delivery { .. } | What::Transfer { .. });
        if standing.muted && !ours {
            self.muted_away += u64::from(content);
            return;
        }
        drop(standing);
        // between the lines of a file nothing else may stand
        let crowded =
            self.going.is_some() || self.news.limited && self.news.lines >= MAX_LINES_PER_SECOND;
        if crowded || self.editor.pending() >= self.news.queue {
            self.news.hidden += 1;
            return;
        }
        self.news.lines += 1;
        self.editor.above(&line);
        if content && self.news.bell && !std::mem::replace(&mut self.news.rung, true) {
            self.editor.signal(b"\x07");
        }
    }

    /// What an event changes for this console, shown or not.
    fn heed(&mut self, what: &What) {
        match what {
            What::PeerJoined { peer, handle, .. } => self.known.see(*peer, handle),
            What::PeerLeft { peer, .. } => self.known.lose(*peer),
            What::PeerRenamed { peer, handle, old, dialect } => {
                self.known.see(*peer, handle);
                if *dialect == Dialect::Local && same(old, &self.me) {
                    self.called(handle);
                }
            }
            What::Config { key, value } => {
                self.known.set(key, value);
                self.news.set(key, value);
            }
            What::Gap(_) if !self.asks.values().any(|a| a.why == Why::Roster) => {
                self.ask(Why::Roster, Command::Who { gone: false });
            }
            _ => {}
        }
    }

    fn words(&mut self, event: &Event) -> Option<String> {
        let user = event.user.as_ref().map(|u| u.as_str());
        match &event.what {
            What::Message { id, direction: Direction::Out, .. }
            | What::Image { id, direction: Direction::Out, .. }
                if self.news.ours(*id) =>
            {
                None
            }
            // Our own message to another user of this node: the receipt said so.
            What::Message { from, dialect: Dialect::Local, direction: Direction::In, .. }
                if same(from, &self.me) && user.is_some_and(|u| !same(u, &self.me)) =>
            {
                None
            }
            What::Delivery { id, recipient, peer, state, reason } => {
                let new = self.news.is_new(*id, *peer, *state);
                new.then(|| self.paint.delivery(recipient, *state, reason.as_deref()))
            }
            What::Transfer {
                id,
                number,
                direction,
                peer,
                handle,
                name,
                done,
                size,
                state,
                reason,
            } => {
                let how = match state {
                    TransferState::Offered if *direction == Direction::In => {
                        let (number, size) = (number.unwrap_or_default(), size.unwrap_or_default());
                        format!("{} are offered: ACCEPT {number} or REFUSE {number}", bytes(size))
                    }
                    // the receipt said so, or it begins at once
                    TransferState::Offered | TransferState::Waiting => return None,
                    TransferState::Paused => match reason {
                        Some(reason) => format!("paused: {reason}"),
                        None => "paused".into(),
                    },
                    TransferState::Running => self.step(*id, *done, *size)?,
                    TransferState::Done => {
                        self.news.transfers.remove(id);
                        // What came in is told by its image event, with its path.
                        let out = *direction == Direction::Out;
                        if !out || !self.news.is_new(*id, *peer, Delivery::Sent) {
                            return None;
                        }
                        format!("sent whole ({})", bytes(*done))
                    }
                    TransferState::Failed => {
                        self.news.transfers.remove(id);
                        let out = *direction == Direction::Out;
                        if out && !self.news.is_new(*id, *peer, Delivery::Failed) {
                            return None;
                        }
                        format!("failed: {}", reason.as_deref().unwrap_or("no reason was given"))
                    }
                };
                Some(self.paint.progress(*direction, handle, name, &how))
            }
            What::Config { key, .. } => match self.news.expected.iter().position(|e| e == key) {
                Some(i) => {
                    self.news.expected.remove(i);
                    None
                }
                None => self.paint.event(event.at, user, &self.me, &event.what),
            },
            what => self.paint.event(event.at, user, &self.me, what),
        }
    }

    /// How far a transfer is, where it moved far enough to be said.
    fn step(&mut self, id: EntryId, done: u64, size: Option<u64>) -> Option<String> {
        let size = size.filter(|s| *s >= SMALL)?;
        let percent = (u128::from(done) * 100 / u128::from(size)).min(100) as u64;
        if self.news.transfers.len() >= MAX_TRANSFERS && !self.news.transfers.contains_key(&id) {
            self.news.transfers.pop_first();
        }
        let shown = self.news.transfers.entry(id).or_insert(0);
        if percent < *shown + STEP || percent >= 100 {
            return None;
        }
        *shown = percent;
        Some(format!("{percent} % of {}", bytes(size)))
    }
}
