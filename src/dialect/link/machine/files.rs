//! What is common to files that go out (`gives`) and come in (`takes`): who hears of which frame,
//! what people decide, and how either ends.

use super::super::files::{FileFrame, Outcome, Verdict};
use super::super::frame::{Content, Frame, Message};
use super::super::noise::Fingerprint;
use super::super::words::{FileNews, FileView, Heard, Keep, Out, Row};
use super::Machine;
use super::gives::Give;
use super::messages::Waiting;
use super::takes::Take;
use crate::model::{EntryId, Handle, Millis, StreamId, Wall};

impl Machine {
    /// All files that are offered or on their way.
    pub fn files(&self) -> impl Iterator<Item = FileView<'_>> {
        let gives = self.gives.iter().map(|(no, give)| give.view(*no));
        gives.chain(self.takes.iter().map(|(no, take)| take.view(*no)))
    }

    /// One of them.
    pub fn file(&self, no: u64) -> Option<FileView<'_>> {
        let give = self.gives.get(&no).map(|give| give.view(no));
        give.or_else(|| self.takes.get(&no).map(|take| take.view(no)))
    }

    /// Our user wants what is offered to him.
    pub fn accept_file(&mut self, now: Millis, no: u64) {
        self.accept_take(now, no);
    }

    /// It is to rest or to go on, by our side's word; why, for the other side's people.
    pub fn pause_file(&mut self, now: Millis, no: u64, paused: bool, why: &str) {
        if self.gives.contains_key(&no) {
            self.pause_give(now, no, paused);
        } else {
            self.pause_take(now, no, paused, why);
        }
    }

    /// It ends, by our side's word; what is to be kept.
    pub fn end_file(&mut self, no: u64, outcome: Outcome, why: &str) -> Option<Keep> {
        match self.gives.contains_key(&no) {
            true => self.end_give(no, outcome, why),
            false => self.end_take(no, outcome, why),
        }
    }

    /// One of our users has another handle.
    pub fn renamed(&mut self, from: &Handle, to: &Handle) {
        for take in self.takes.values_mut().filter(|t| t.to.is(from.as_str())) {
            take.to = to.clone();
        }
        for give in self.gives.values_mut().filter(|g| g.from.is(from.as_str())) {
            give.from = to.clone();
        }
    }

    pub(super) fn file_no(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    pub(super) fn say(&mut self, now: Millis, stream: StreamId, frame: FileFrame) {
        if let Some(session) = self.sessions.get_mut(&stream) {
            session.push(now, &Frame::File(frame));
        }
        self.write(stream);
    }

    /// Says it on the session in use, if there is one; else it follows from what is asked on the
    /// next.
    pub(super) fn say_to(&mut self, now: Millis, of: Fingerprint, frame: FileFrame) {
        if let Some(stream) = self.neighbours.get(&of).and_then(|n| n.active) {
            self.say(now, stream, frame);
        }
    }

    pub(super) fn file_frame(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        frame: FileFrame,
    ) -> Result<(), &'static str> {
        match frame {
            FileFrame::Want { .. } => self.wanted(now, stream, of, &frame),
            FileFrame::Grant { id, turn, upto } => self.granted(now, of, id, (turn, upto)),
            FileFrame::File { .. } | FileFrame::Chunk { .. } | FileFrame::End { .. } => {
                return self.file_comes(now, of, frame);
            }
            FileFrame::Pause { id, giver: true, paused, why } => {
                let why = crate::model::text::harmless(&why);
                self.take_rests(now, of, id, paused, why);
            }
            FileFrame::Pause { id, giver: false, paused, why } => {
                let why = crate::model::text::harmless(&why);
                self.give_rests(of, id, paused, why);
            }
            FileFrame::Gone { id } => self.take_gone(of, id),
        }
        Ok(())
    }

    /// It cannot be: the other side and the node are told.
    pub(super) fn fail_file(&mut self, no: u64, why: &str) {
        if let Some(keep) = self.end_file(no, Outcome::Failed, why) {
            self.out.push_back(Out::Keep(keep));
            self.heard(Heard::File { no, news: FileNews::Over(Outcome::Failed, why.into()) });
        }
    }

    /// A verdict goes as a message: it arrives, once, whatever happens.
    pub(super) fn say_verdict(
        &mut self,
        of: Fingerprint,
        (from, to): (Handle, Handle),
        verdict: Verdict,
        mut rows: Vec<Row>,
    ) -> Keep {
        let (entry, content) = (verdict.id, Content::Verdict(verdict));
        let message = Message { seq: 1, entry, from, to, said: Wall(0), content };
        let (rng, neighbours) = (&mut self.rng, &mut self.neighbours);
        let Some(n) = neighbours.get_mut(&of) else { return Keep { token: 0, rows } };
        let (seq, more) = n.out.push_reply(of, message, || rng.u64());
        rows.extend(more);
        Keep { token: self.wait(Waiting::Verdict(of, seq)), rows }
    }

    /// The other side says that a transfer is over: it counts once that is kept, together with
    /// the row that is returned.
    pub(super) fn verdict_came(
        &mut self,
        of: Fingerprint,
        verdict: &Verdict,
    ) -> (Judged, Option<Row>) {
        let (no, row) = match verdict.giver {
            true => {
                let no = self.take_of(of, verdict.id);
                (no, no.and_then(|no| self.takes.get(&no)).map(|take| take.key()))
            }
            false => {
                let no = self.give_of(of, verdict.id);
                (no, no.and_then(|no| self.gives.get(&no)).map(|give| give.key()))
            }
        };
        let why = crate::model::text::harmless(&verdict.why);
        (Judged { no, outcome: verdict.outcome, why }, row.map(Row::delete))
    }

    pub(super) fn judge(&mut self, judged: Judged) {
        let Some(no) = judged.no else { return };
        let give = self.gives.get(&no).map(|g| (g.of, g.id));
        let known = match give {
            Some((of, id)) => self.drop_give(of, id).is_some(),
            None => self.drop_take(no).is_some(),
        };
        if known {
            let news = FileNews::Over(judged.outcome, judged.why);
            self.heard(Heard::File { no, news });
        }
    }

    /// A session is over.
    pub(super) fn files_lost(&mut self, stream: StreamId) {
        self.gives_lost(stream);
        self.takes_lost(stream);
    }

    pub(super) fn tick_files(&mut self, now: Millis) {
        if self.gives.is_empty() && self.takes.is_empty() {
            return;
        }
        self.run_gives(now);
        self.tick_takes(now);
    }

    pub(super) fn restore_file(&mut self, kind: &str, of: Fingerprint, id: &str, value: &[u8]) {
        let Ok(id) = id.parse::<EntryId>() else { return };
        let no = self.file_no();
        if kind == "give" {
            if let Ok(give) = Give::restore(of, id, value) {
                self.gives.insert(no, give);
            }
        } else if let Ok(take) = Take::restore(of, id, value) {
            self.takes.insert(no, take);
        }
    }
}

/// A verdict of the other side's, and which transfer it is about.
pub(super) struct Judged {
    no: Option<u64>,
    outcome: Outcome,
    why: String,
}
