//! Exactly once: the numbered streams of messages between two boxes, one each way.
//!
//! The sender keeps each message until it is acknowledged, sends them in the order of their
//! numbers, and all that is not acknowledged again after a break. The receiver takes a message
//! only if its number is above all it took before, and says so when that is durable. What is
//! kept for that are [`Row`]s; the sender's row is written together with the entry, the
//! receiver's together with what it received, so a crash at any point loses and doubles nothing.

use std::collections::VecDeque;

use super::frame::{Content, Message};
use super::noise::Fingerprint;
use super::wire::{BadWire, Reader, Writer};
use crate::model::EntryId;
pub use crate::model::history::Row;
use crate::model::limits::LINK_QUEUE;

/// Messages sent and not yet acknowledged on one session.
pub const IN_FLIGHT: usize = 64;
/// Refusals that a receiver remembers: as many as can be unacknowledged.
const MAX_REFUSED: usize = IN_FLIGHT;

/// What is sent to one box.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Random; 0 while nothing was ever sent.
    pub epoch: u64,
    next: u64,
    queue: VecDeque<Queued>,
    /// So many of the queue were sent on the session in use.
    sent: usize,
}

#[derive(Debug)]
struct Queued {
    message: Message,
    durable: bool,
}

/// An acknowledgement of what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverSent;

impl Outgoing {
    /// Whether something waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The number the next message gets.
    pub fn next(&self) -> u64 {
        self.next.max(1)
    }

    /// Takes a message in, numbers it and says what is to be kept. It is not sent before
    /// [`Outgoing::durable`].
    ///
    /// # Errors
    /// [`LINK_QUEUE`] messages wait already.
    pub fn push(
        &mut self,
        to: Fingerprint,
        message: Message,
        epoch: impl FnOnce() -> u64,
    ) -> Result<(u64, Vec<Row>), Full> {
        if self.queue.len() >= LINK_QUEUE {
            return Err(Full);
        }
        Ok(self.push_reply(to, message, epoch))
    }

    /// The same for an answer to what was taken in: there is room for it, since no more is taken
    /// in than can be answered.
    pub fn push_reply(
        &mut self,
        to: Fingerprint,
        mut message: Message,
        epoch: impl FnOnce() -> u64,
    ) -> (u64, Vec<Row>) {
        if self.epoch == 0 {
            self.epoch = epoch().max(1);
        }
        let seq = self.next();
        message.seq = seq;
        self.next = seq + 1;
        let rows = vec![self.head(to), Row::put(message_key(to, seq), message.encode())];
        self.queue.push_back(Queued { message, durable: false });
        (seq, rows)
    }

    /// The entry of an offer of a file that waits under this number.
    pub fn offer_of(&self, seq: u64) -> Option<EntryId> {
        let queued = self.queue.iter().find(|q| q.message.seq == seq)?;
        matches!(queued.message.content, Content::Offer(_)).then_some(queued.message.entry)
    }

    fn head(&self, to: Fingerprint) -> Row {
        let value = Writer::default().u64(self.epoch).u64(self.next).0;
        Row::put(format!("out/{to}"), value)
    }

    /// The message of this number is kept, or was not and will not be.
    pub fn durable(&mut self, seq: u64, kept: bool) {
        let Some(at) = self.queue.iter().position(|q| q.message.seq == seq) else { return };
        if kept {
            self.queue[at].durable = true;
        } else {
            self.queue.remove(at);
        }
    }

    /// The next message to send on the session in use, if one may be sent now.
    pub fn to_send(&mut self) -> Option<&Message> {
        if self.sent >= IN_FLIGHT {
            return None;
        }
        let next = self.queue.get(self.sent).filter(|q| q.durable)?;
        self.sent += 1;
        Some(&next.message)
    }

    /// Another session is in use: all that is not acknowledged is sent again.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The other end has all up to this number: those messages, and the rows that go.
    ///
    /// # Errors
    /// One of them was never sent on this session.
    pub fn acked(
        &mut self,
        to: Fingerprint,
        upto: u64,
    ) -> Result<(Vec<Message>, Vec<Row>), NeverSent> {
        if upto >= self.next() || self.queue.get(self.sent).is_some_and(|q| q.message.seq <= upto) {
            return Err(NeverSent);
        }
        let (mut done, mut rows) = (Vec::new(), Vec::new());
        while let Some(first) = self.queue.front().filter(|q| q.message.seq <= upto) {
            rows.push(Row::delete(message_key(to, first.message.seq)));
            self.sent -= 1;
            done.extend(self.queue.pop_front().map(|q| q.message));
        }
        Ok((done, rows))
    }

    /// The other end refused this message.
    ///
    /// # Errors
    /// It was never sent on this session.
    pub fn refused(
        &mut self,
        to: Fingerprint,
        seq: u64,
    ) -> Result<Option<(Message, Row)>, NeverSent> {
        let Some(at) = self.queue.iter().position(|q| q.message.seq == seq) else {
            return if seq < self.next() { Ok(None) } else { Err(NeverSent) };
        };
        if at >= self.sent {
            return Err(NeverSent);
        }
        self.sent -= 1;
        Ok(self.queue.remove(at).map(|q| (q.message, Row::delete(message_key(to, seq)))))
    }

    /// Takes out what waits, as far as it is wanted and durable; `sent`: also what is on its way
    /// and not acknowledged, which may have arrived.
    pub fn take(
        &mut self,
        to: Fingerprint,
        sent_too: bool,
        wanted: impl Fn(&Message) -> bool,
    ) -> (Vec<Message>, Vec<Row>) {
        let (mut taken, mut rows) = (Vec::new(), Vec::new());
        let (mut kept, mut sent) = (VecDeque::new(), 0);
        for (n, queued) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            if (sent_too || n >= self.sent) && queued.durable && wanted(&queued.message) {
                rows.push(Row::delete(message_key(to, queued.message.seq)));
                taken.push(queued.message);
            } else {
                sent += usize::from(n < self.sent);
                kept.push_back(queued);
            }
        }
        (self.queue, self.sent) = (kept, sent);
        (taken, rows)
    }

    /// The other end knows numbers that we have not given: our store is an older one (a backup).
    /// All that waits is numbered anew under another epoch.
    pub fn restart(&mut self, to: Fingerprint, epoch: u64) -> Vec<Row> {
        self.epoch = epoch.max(1);
        self.sent = 0;
        let mut rows = Vec::new();
        let old: Vec<u64> = self.queue.iter().map(|q| q.message.seq).collect();
        let renumber = self.queue.iter_mut().zip(1..);
        for (queued, seq) in renumber {
            queued.message.seq = seq;
        }
        self.next = self.queue.len() as u64 + 1;
        rows.extend(old.into_iter().map(|seq| Row::delete(message_key(to, seq))));
        let put = |q: &Queued| Row::put(message_key(to, q.message.seq), q.message.encode());
        rows.extend(self.queue.iter().map(put));
        rows.push(self.head(to));
        rows
    }

    /// All that waits for a user.
    pub fn waiting(&self) -> impl Iterator<Item = &Message> {
        self.queue.iter().map(|q| &q.message)
    }

    /// Takes back what was kept of its head.
    ///
    /// # Errors
    /// The row is not one of ours.
    pub fn restore(&mut self, value: &[u8]) -> Result<(), BadWire> {
        let mut from = Reader(value);
        // the last number is none: counting on never overflows
        (self.epoch, self.next) = (from.u64()?, from.u64()?.min(u64::MAX - 1));
        Ok(())
    }

    /// Takes back a message that was kept; in the order of their keys.
    ///
    /// # Errors
    /// The row is not one of ours.
    pub fn restore_message(&mut self, value: &[u8]) -> Result<(), BadWire> {
        let message = Message::decode(value)?;
        self.next = self.next.max(message.seq.saturating_add(1)).min(u64::MAX - 1);
        self.queue.push_back(Queued { message, durable: true });
        Ok(())
    }
}

/// Too much waits already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

fn message_key(to: Fingerprint, seq: u64) -> String {
    format!("out/{to}/{seq:016x}")
}

/// What came from one box.
#[derive(Debug, Default)]
pub struct Incoming {
    epoch: u64,
    /// The highest number taken …
    seen: u64,
    /// … and of that, durable.
    got: u64,
    refused: VecDeque<(u64, String)>,
    /// Taken and refused, to be said so when durable.
    deciding: VecDeque<(u64, Option<String>)>,
}

/// What is to be done with a message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is new.
    New,
    /// It was taken before and is durable: to be acknowledged again.
    Again,
    /// It was refused before: to be said again.
    Refused(String),
    /// It was taken before and is not durable yet.
    Undecided,
}

impl Incoming {
    /// What we have, for our hello: epoch and number.
    pub fn got(&self) -> (u64, u64) {
        (self.epoch, self.got)
    }

    /// The other end numbers its messages under this epoch.
    pub fn stream(&mut self, epoch: u64) {
        if epoch != self.epoch {
            *self = Incoming { epoch, ..Incoming::default() };
        }
    }

    /// A message of this number came.
    pub fn came(&self, seq: u64) -> Came {
        if seq > self.seen {
            return Came::New;
        }
        if seq > self.got {
            return Came::Undecided;
        }
        match self.refused.iter().find(|(n, _)| *n == seq) {
            Some((_, why)) => Came::Refused(why.clone()),
            None => Came::Again,
        }
    }

    /// The node is asked about it.
    pub fn asked(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
    }

    /// How many decisions are not durable yet.
    pub fn undecided(&self) -> usize {
        self.deciding.len()
    }

    /// It is taken, or refused for this reason: what is to be kept of that.
    pub fn decide(&mut self, from: Fingerprint, seq: u64, refused: Option<String>) -> Row {
        self.seen = self.seen.max(seq);
        if let Some(why) = &refused {
            if self.refused.len() >= MAX_REFUSED {
                self.refused.pop_front();
            }
            self.refused.push_back((seq, why.clone()));
        }
        self.deciding.push_back((seq, refused));
        self.row(from, seq)
    }

    fn row(&self, from: Fingerprint, got: u64) -> Row {
        let to = Writer::default().u64(self.epoch).u64(got);
        let to = to.u8(u8::try_from(self.refused.len()).unwrap_or(0));
        let to = self.refused.iter().fold(to, |to, (seq, why)| to.u64(*seq).short(why));
        Row::put(format!("in/{from}"), to.0)
    }

    /// The decision on this number is durable; the reason it was refused for, if it was.
    pub fn durable(&mut self, seq: u64) -> Option<String> {
        if !self.deciding.iter().any(|(n, _)| *n == seq) {
            return None; // of an epoch that ended meanwhile
        }
        while let Some((first, refused)) = self.deciding.pop_front() {
            self.got = self.got.max(first);
            if first == seq {
                return refused;
            }
        }
        None
    }

    /// Decisions could not be kept: what they were about is to come again.
    pub fn lost(&mut self) {
        let got = self.got;
        self.deciding.clear();
        self.refused.retain(|(seq, _)| *seq <= got);
        self.seen = got;
    }

    /// Takes back what was kept.
    ///
    /// # Errors
    /// The row is not one of ours.
    pub fn restore(&mut self, value: &[u8]) -> Result<(), BadWire> {
        let mut from = Reader(value);
        (self.epoch, self.got) = (from.u64()?, from.u64()?);
        self.seen = self.got;
        for _ in 0..from.u8()? {
            self.refused.push_back((from.u64()?, from.short()?.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wall;

    const TO: Fingerprint = Fingerprint([1; 16]);

    fn message(n: u64) -> Message {
        Message {
            seq: 1,
            entry: EntryId { epoch: 1, n },
            from: "anna".try_into().unwrap(),
            to: "bob".try_into().unwrap(),
            said: Wall(0),
            content: Content::Text { text: n.to_string(), autoreply: false, lobby: false },
        }
    }

    fn outgoing(count: u64) -> Outgoing {
        let mut out = Outgoing::default();
        for n in 1..=count {
            let (seq, rows) = out.push(TO, message(n), || 9).unwrap();
            assert_eq!((seq, rows.len()), (n, 2));
            out.durable(seq, true);
        }
        out
    }

    #[test]
    fn nothing_is_sent_before_it_is_durable_and_what_was_not_kept_never() {
        let mut out = Outgoing::default();
        let (seq, _) = out.push(TO, message(1), || 9).unwrap();
        let (second, _) = out.push(TO, message(2), || 9).unwrap();
        assert_eq!(out.to_send(), None);
        out.durable(seq, false);
        out.durable(second, true);
        assert_eq!(out.to_send().map(|m| m.entry.n), Some(2));
    }

    #[test]
    fn one_message_past_the_queues_limit_is_refused() {
        let mut out = outgoing(LINK_QUEUE as u64);
        assert_eq!(out.push(TO, message(0), || 9), Err(Full));
        out.to_send();
        out.acked(TO, 1).unwrap();
        assert!(out.push(TO, message(0), || 9).is_ok());
    }

    #[test]
    fn so_many_are_in_flight_and_all_go_again_after_a_break() {
        let mut out = outgoing(IN_FLIGHT as u64 + 1);
        let sent: Vec<u64> = std::iter::from_fn(|| out.to_send().map(|m| m.seq)).collect();
        assert_eq!(sent, (1..=IN_FLIGHT as u64).collect::<Vec<_>>());
        assert_eq!(out.acked(TO, 3).unwrap().0.len(), 3);
        out.rewind();
        assert_eq!(out.to_send().map(|m| m.seq), Some(4));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_settles_nothing() {
        let mut out = outgoing(3);
        assert_eq!(out.acked(TO, 1), Err(NeverSent));
        out.to_send();
        assert_eq!(out.acked(TO, 2), Err(NeverSent));
        assert_eq!(out.acked(TO, u64::MAX), Err(NeverSent));
        assert_eq!(out.refused(TO, 2), Err(NeverSent));
        assert_eq!(out.refused(TO, 4), Err(NeverSent));
        assert_eq!(out.len(), 3);
        assert!(out.acked(TO, 1).is_ok());
        assert_eq!(out.acked(TO, 1), Ok((vec![], vec![])));
    }

    #[test]
    fn what_is_on_its_way_is_taken_out_only_if_that_is_meant() {
        let mut out = outgoing(3);
        out.to_send();
        let (taken, rows) = out.take(TO, false, |m| m.entry.n < 3);
        assert_eq!((taken.len(), taken[0].entry.n, rows.len()), (1, 2, 1));
        assert_eq!(out.to_send().map(|m| m.seq), Some(3));
        assert_eq!(out.acked(TO, 3).unwrap().0.len(), 2);
        let mut out = outgoing(3);
        out.to_send();
        assert_eq!(out.take(TO, true, |_| true).0.len(), 3);
        assert_eq!(out.acked(TO, 1), Ok((vec![], vec![])));
    }

    #[test]
    fn an_older_store_numbers_what_waits_anew() {
        let mut out = outgoing(3);
        out.to_send();
        out.acked(TO, 1).unwrap();
        let rows = out.restart(TO, 77);
        assert_eq!((out.epoch, out.next()), (77, 3));
        assert_eq!(out.to_send().map(|m| (m.seq, m.entry.n)), Some((1, 2)));
        let mut again = Outgoing::default();
        for row in rows.iter().filter(|r| r.key.len() > 40) {
            if let Some(value) = &row.value {
                again.restore_message(value).unwrap();
            }
        }
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn a_number_is_taken_once_and_again_only_if_it_was_not_kept() {
        let mut come = Incoming::default();
        come.stream(9);
        assert_eq!(come.came(5), Came::New);
        come.decide(TO, 5, None);
        assert_eq!(come.came(5), Came::Undecided);
        come.lost();
        assert_eq!(come.came(5), Came::New);
        come.decide(TO, 5, None);
        assert_eq!(come.durable(5), None);
        assert_eq!(
            (come.came(5), come.came(4), come.came(6)),
            (Came::Again, Came::Again, Came::New)
        );
        assert_eq!(come.got(), (9, 5));
        come.stream(10);
        assert_eq!(come.came(5), Came::New);
    }

    #[test]
    fn a_stored_number_at_the_end_of_numbers_is_no_panic() {
        let mut out = Outgoing::default();
        let last = Message { seq: u64::MAX, ..message(1) };
        assert!(out.restore_message(&last.encode()).is_err());
        let head = Writer::default().u64(9).u64(u64::MAX).0;
        out.restore(&head).unwrap();
        let (seq, _) = out.push(TO, message(1), || 9).unwrap();
        assert_eq!(seq, u64::MAX - 1);
    }

    #[test]
    fn a_refusal_is_remembered_over_a_restart() {
        let mut come = Incoming::default();
        come.stream(9);
        let row = come.decide(TO, 1, Some("nobody".into()));
        let mut again = Incoming::default();
        again.restore(&row.value.unwrap()).unwrap();
        assert_eq!(again.came(1), Came::Refused("nobody".into()));
        assert_eq!(again.came(2), Came::New);
    }

    #[test]
    fn refusals_are_bounded() {
        let mut come = Incoming::default();
        come.stream(9);
        for seq in 1..=MAX_REFUSED as u64 + 1 {
            come.decide(TO, seq, Some("no".into()));
            come.durable(seq);
        }
        assert_eq!(come.came(1), Came::Again);
        assert_eq!(come.came(2), Came::Refused("no".into()));
        assert_eq!(come.refused.len(), MAX_REFUSED);
    }
}
