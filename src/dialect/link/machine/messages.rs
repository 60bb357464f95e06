//! Messages: out of the queue and in from the wire, with nothing acknowledged before it is kept.

use super::super::files::Offer;
use super::super::frame::{Content, Frame, Message};
use super::super::noise::Fingerprint;
use super::super::queue::Came;
use super::super::session::Session;
use super::super::words::{Heard, Keep, Row, Sending, Settled};
use super::files::Judged;
use super::{Machine, Neighbour};
use crate::model::limits::{LINK_FILES, LINK_FILES_PER_BOX, LINK_QUEUE, LINK_TEXT};
use crate::model::{EntryId, Handle, Millis, StreamId};

/// Messages of one box that wait to be durable before its session is read on.
const MAX_UNDURABLE: usize = 64;
const TOO_MANY: &str = "too many files wait to be taken there already";

/// What waits to be decided by the node, or to be kept.
pub(super) enum Waiting {
    /// A message of ours.
    Sending(Fingerprint, u64),
    /// A message that the node is asked about.
    Asked(Arrival),
    /// A message that was taken or refused.
    Decided(Arrival),
    /// An offer of a file that was taken in, under this number.
    Offered(Arrival, u64),
    /// Word that a transfer is over.
    Judged(Arrival, Judged),
    /// Our own word of that.
    Verdict(Fingerprint, u64),
    /// Nothing waits, but it is to be kept at once.
    Nothing,
}

/// Who offers what to whom.
pub(super) type Offered = ((Handle, Handle), (EntryId, Offer));

/// Whose message came, where, under which number.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) of: Fingerprint,
    stream: StreamId,
    seq: u64,
}

/// Why something cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSend {
    /// Nothing was ever heard of that box.
    Unknown,
    /// So many boxes are known that no more can be.
    TooManyKnown,
    /// [`crate::model::limits::LINK_QUEUE`] messages wait for it.
    Full,
    /// The text has more than [`LINK_TEXT`] bytes.
    TooLong,
    /// That box takes no files.
    NoFiles,
    /// [`LINK_FILES_PER_BOX`] files are on their way there, or [`LINK_FILES`] in all.
    TooManyFiles,
}

impl std::fmt::Display for CannotSend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CannotSend::Unknown => f.write_str("that box was never heard"),
            CannotSend::TooManyKnown => f.write_str("too many boxes are known already"),
            CannotSend::Full => f.write_str("too much waits for that box already"),
            CannotSend::TooLong => write!(f, "a text has at most {LINK_TEXT} bytes"),
            CannotSend::NoFiles => {
                f.write_str("that box is older and takes no files over the link")
            }
            CannotSend::TooManyFiles => write!(
                f,
                "{LINK_FILES_PER_BOX} files for that box, or {LINK_FILES} in all, are on their way"
            ),
        }
    }
}

impl Machine {
    /// Takes something in to be sent. It goes when what is returned is kept.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn send(&mut self, sending: Sending) -> Result<Keep, CannotSend> {
        let of = sending.to.of;
        let long = |c: &Content| matches!(c, Content::Text { text, .. } if text.len() > LINK_TEXT);
        if long(&sending.content) {
            return Err(CannotSend::TooLong);
        }
        if !self.neighbours.contains_key(&of) {
            return Err(CannotSend::Unknown);
        }
        let mut rows = self.remember(of, true).ok_or(CannotSend::TooManyKnown)?;
        let message = Message {
            seq: 1,
            entry: sending.entry,
            from: sending.from,
            to: sending.to.handle,
            said: sending.said,
            content: sending.content,
        };
        let (rng, neighbours) = (&mut self.rng, &mut self.neighbours);
        let n = neighbours.get_mut(&of).ok_or(CannotSend::Unknown)?;
        let (seq, more) = n.out.push(of, message, || rng.u64()).map_err(|_| CannotSend::Full)?;
        rows.extend(more);
        let token = self.wait(Waiting::Sending(of, seq));
        Ok(Keep { token, rows })
    }

    pub(super) fn wait(&mut self, waiting: Waiting) -> u64 {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiting);
        self.next_token
    }

    /// What was to be kept under this token is durable, or cannot be kept.
    pub fn kept(&mut self, now: Millis, token: u64, kept: bool) {
        match self.waiting.remove(&token) {
            Some(Waiting::Sending(of, seq)) => {
                if !kept {
                    let offer = self.neighbours.get(&of).and_then(|n| n.out.offer_of(seq));
                    offer.map(|id| self.drop_give(of, id));
                }
                let Some(n) = self.neighbours.get_mut(&of) else { return };
                n.out.durable(seq, kept);
                if let Some(stream) = n.active {
                    self.pump(now, stream);
                }
            }
            Some(Waiting::Decided(arrival)) => self.decided(now, arrival, kept),
            Some(Waiting::Offered(arrival, no)) => {
                self.offer_kept(now, no, kept);
                self.decided(now, arrival, kept);
            }
            Some(Waiting::Judged(arrival, judged)) => {
                if kept {
                    self.judge(judged);
                }
                self.decided(now, arrival, kept);
            }
            // what it says is so in any case
            Some(Waiting::Verdict(of, seq)) => {
                let Some(n) = self.neighbours.get_mut(&of) else { return };
                n.out.durable(seq, true);
                if let Some(stream) = n.active {
                    self.pump(now, stream);
                }
            }
            Some(Waiting::Asked(_) | Waiting::Nothing) | None => {}
        }
    }

    fn offer_kept(&mut self, now: Millis, no: u64, kept: bool) {
        if !kept {
            self.takes.remove(&no);
            return;
        }
        if let Some(take) = self.takes.get_mut(&no) {
            take.durable = true;
        }
        self.run_takes(now);
    }

    fn decided(&mut self, now: Millis, arrival: Arrival, kept: bool) {
        let Some(n) = self.neighbours.get_mut(&arrival.of) else { return };
        if !kept {
            n.come.lost();
            return self.say_bye(now, arrival.stream, "messages cannot be kept here just now");
        }
        let refused = n.come.durable(arrival.seq);
        let few = n.come.undecided() < MAX_UNDURABLE;
        let Some(session) = self.sessions.get_mut(&arrival.stream) else { return };
        session.push(now, &answer(arrival.seq, refused));
        let go_on = few && std::mem::replace(&mut session.paused, false);
        self.write(arrival.stream);
        if go_on {
            self.net(crate::model::Net::ReadMore(arrival.stream));
        }
    }

    /// The node takes a message: what is to be kept together with it.
    pub fn take(&mut self, token: u64) -> Keep {
        self.decide_on(token, None)
    }

    /// The node refuses a message for good: what is to be kept of that.
    pub fn refuse(&mut self, token: u64, why: &str) -> Keep {
        self.offers.remove(&token);
        self.decide_on(token, Some(why.to_owned()))
    }

    fn decide_on(&mut self, token: u64, refused: Option<String>) -> Keep {
        let Some(Waiting::Asked(arrival)) = self.waiting.remove(&token) else {
            return Keep { token: 0, rows: Vec::new() };
        };
        self.decide_arrival(arrival, refused)
    }

    fn decide_arrival(&mut self, arrival: Arrival, refused: Option<String>) -> Keep {
        let mut rows = self.remember(arrival.of, false).unwrap_or_default();
        if let Some(n) = self.neighbours.get_mut(&arrival.of) {
            rows.push(n.come.decide(arrival.of, arrival.seq, refused));
        }
        let token = self.wait(Waiting::Decided(arrival));
        Keep { token, rows }
    }

    pub(super) fn message_came(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        message: Message,
    ) {
        let seq = message.seq;
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        session.seen = session.seen.max(seq);
        let Some(n) = self.neighbours.get(&of) else { return };
        match n.come.came(seq) {
            Came::New => {}
            Came::Again => return session.push(now, &Frame::Ack(seq)),
            Came::Refused(why) => return session.push(now, &Frame::Refuse(seq, why)),
            // whoever waits for it is told on this session, too: it comes again otherwise
            Came::Undecided => {
                for waiting in self.waiting.values_mut() {
                    if let Waiting::Decided(a) | Waiting::Offered(a, _) | Waiting::Judged(a, _) =
                        waiting
                    {
                        if (a.of, a.seq) == (of, seq) {
                            a.stream = stream;
                        }
                    }
                }
                return;
            }
        }
        session.paused = n.come.undecided() + 1 >= MAX_UNDURABLE;
        let arrival = Arrival { of, stream, seq };
        let offers = is_offer(&message);
        if offers && self.take_of(of, message.entry).is_some() {
            let keep = self.decide_arrival(arrival, None); // it came before, under another number
            return self.out.push_back(super::Out::Keep(keep));
        }
        let refused = self.why_refuse(of, &message);
        let full = self.takes.len() + self.offers.len() >= LINK_FILES;
        let refused = match refused {
            None if offers && full && !self.make_place(of) => Some(TOO_MANY.to_owned()),
            other => other,
        };
        if let Some(why) = refused {
            let keep = self.decide_arrival(arrival, Some(why));
            return self.out.push_back(super::Out::Keep(keep));
        }
        if let Content::Verdict(verdict) = &message.content {
            let (judged, row) = self.verdict_came(of, verdict);
            let mut keep = self.decide_arrival(arrival, None);
            keep.rows.extend(row);
            self.waiting.insert(keep.token, Waiting::Judged(arrival, judged));
            return self.out.push_back(super::Out::Keep(keep));
        }
        let token = self.wait(Waiting::Asked(arrival));
        if let Content::Offer(offer) = &message.content {
            let users = (message.from.clone(), message.to.clone());
            self.offers.insert(token, (users, (message.entry, offer.clone())));
        }
        self.heard(Heard::Message {
            token,
            from: Machine::far(of, &message.from),
            entry: message.entry,
            to: message.to,
            said: message.said,
            content: message.content,
        });
        if let Some(n) = self.neighbours.get_mut(&of) {
            n.come.asked(seq);
        }
    }

    fn why_refuse(&self, of: Fingerprint, message: &Message) -> Option<String> {
        if matches!(message.content, Content::Unknown(_)) {
            return Some("that box is older and does not know this kind of message".into());
        }
        if matches!(message.content, Content::Verdict(_)) {
            return None; // it is about a transfer with that box, whoever its users are now
        }
        if matches!(message.content, Content::Offer(_)) {
            let asked =
                |token| matches!(self.waiting.get(token), Some(Waiting::Asked(a)) if a.of == of);
            let asked = self.offers.keys().filter(|token| asked(token)).count();
            let of_box = asked + self.takes.values().filter(|t| t.of == of).count();
            // each will be answered, and the answers wait for that box too
            let unsaid = self.neighbours.get(&of).map_or(0, |n| n.out.len());
            if of_box >= LINK_FILES_PER_BOX || unsaid + of_box >= LINK_QUEUE {
                return Some(TOO_MANY.into());
            }
        }
        if !self.users.iter().any(|u| u.handle.is(message.to.as_str())) {
            return Some(format!("nobody is called {} there", message.to));
        }
        if self.owner(&message.from).is_some_and(|owner| owner != of) {
            let who = &message.from;
            return Some(format!(
                "another key is known for {who} there: TRUST {who} accepts yours"
            ));
        }
        if !self.may_remember(of, false) {
            return Some("that box knows too many others already".into());
        }
        None
    }

    pub(super) fn acked(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        upto: u64,
    ) -> Result<(), &'static str> {
        let Some(n) = self.active_of(stream, of) else { return Ok(()) };
        let (done, rows) =
            n.out.acked(of, upto).map_err(|_| "it acknowledges what it was never sent")?;
        self.settled(of, done, None, rows);
        self.pump(now, stream);
        Ok(())
    }

    pub(super) fn refused(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        seq: u64,
        why: &str,
    ) -> Result<(), &'static str> {
        let Some(n) = self.active_of(stream, of) else { return Ok(()) };
        let refused = n.out.refused(of, seq).map_err(|_| "it refuses what it was never sent")?;
        if let Some((message, row)) = refused {
            let why = crate::model::text::harmless(why);
            self.settled(of, vec![message], Some(&why), vec![row]);
        }
        self.pump(now, stream);
        Ok(())
    }

    /// Answers count on the session in use: what was sent on another is sent again on this one.
    fn active_of(&mut self, stream: StreamId, of: Fingerprint) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(&of).filter(|n| n.active == Some(stream))
    }

    fn settled(
        &mut self,
        of: Fingerprint,
        done: Vec<Message>,
        refused: Option<&str>,
        rows: Vec<Row>,
    ) {
        let mut rows = rows;
        let verdict = |m: &Message| matches!(m.content, Content::Verdict(_));
        let done: Vec<Message> = done.into_iter().filter(|m| !verdict(m)).collect();
        for m in &done {
            if refused.is_some() && is_offer(m) {
                rows.extend(self.drop_give(of, m.entry));
            }
        }
        let settled = |m: Message| Settled {
            entry: m.entry,
            offer: is_offer(&m),
            from: m.from,
            to: Machine::far(of, &m.to),
            refused: refused.map(ToOwned::to_owned),
        };
        let done: Vec<Settled> = done.into_iter().map(settled).collect();
        if done.is_empty() {
            self.keep(rows);
        } else {
            self.heard(Heard::Settled { done, rows });
        }
    }

    /// Sends what may be sent on this session now.
    pub(super) fn pump(&mut self, now: Millis, stream: StreamId) {
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        let of = session.of.and_then(|of| self.neighbours.get_mut(&of));
        if let Some(n) = of.filter(|n| n.active == Some(stream)) {
            while Session::has_room(session) {
                let Some(message) = n.out.to_send() else { break };
                session.push(now, &Frame::Message(message.clone()));
            }
        }
        self.write(stream);
        // a piece of a file only once all else is with the kernel, or on its way there
        if self.sessions.get(&stream).is_some_and(Session::is_drained) {
            self.pump_files(stream);
        }
    }

    /// What was not sent yet and is wanted no more will not be; what is to be kept of that.
    pub fn cancel(&mut self, unwanted: impl Fn(&Message) -> bool) -> (Vec<Settled>, Vec<Row>) {
        let (mut settled, mut rows, mut offers) = (Vec::new(), Vec::new(), Vec::new());
        let unwanted = |m: &Message| !matches!(m.content, Content::Verdict(_)) && unwanted(m);
        for (of, n) in &mut self.neighbours {
            let (messages, more) = n.out.take(*of, false, unwanted);
            rows.extend(more);
            offers.extend(messages.iter().filter(|m| is_offer(m)).map(|m| (*of, m.entry)));
            settled.extend(messages.into_iter().map(|m| Settled {
                entry: m.entry,
                offer: is_offer(&m),
                from: m.from,
                to: Machine::far(*of, &m.to),
                refused: None,
            }));
        }
        rows.extend(offers.into_iter().filter_map(|(of, id)| self.drop_give(of, id)));
        (settled, rows)
    }

    /// How many messages wait for a box.
    pub fn waiting_for(&self, to: Fingerprint) -> usize {
        self.neighbours.get(&to).map_or(0, |n| n.out.len())
    }

    /// All that waits, with whom it is for.
    pub fn waiting(&self) -> impl Iterator<Item = (Fingerprint, &Message)> {
        self.neighbours.iter().flat_map(|(of, n)| n.out.waiting().map(|m| (*of, m)))
    }
}

pub(super) fn is_offer(message: &Message) -> bool {
    matches!(message.content, Content::Offer(_))
}

fn answer(seq: u64, refused: Option<String>) -> Frame {
    match refused {
        None => Frame::Ack(seq),
        Some(why) => Frame::Refuse(seq, why),
    }
}
