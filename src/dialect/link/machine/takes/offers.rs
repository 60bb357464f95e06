//! How a take comes and ends: an offer taken in, decided about, let rest, given up, over.

use super::super::Machine;
use super::super::messages::Waiting;
use super::Take;
use crate::dialect::link::files::{FileFrame, Outcome, Verdict};
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, FileNews, Heard, Keep, Out, Row};
use crate::model::{EntryId, Millis};

/// What a box that nobody compared keys with offered, and what came of it, is given up when
/// nothing of it came for so long.
pub const IDLE_MS: Millis = 7 * 24 * 3_600_000;

/// What the node says of an offer that it takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// Our entry of it.
    pub entry: EntryId,
    /// The name it will get, without extension.
    pub stem: String,
    /// It need not be asked about.
    pub accepted: bool,
    /// And that because it is said to be an image: if it is none it is not kept.
    pub image: bool,
}

impl Machine {
    /// The node takes an offer in, to be decided about: its number, and what is to be kept.
    /// None: it is known already.
    pub fn take_offer(&mut self, token: u64, taking: Taking) -> Option<(u64, Keep)> {
        let Some(Waiting::Asked(arrival)) = self.waiting.get(&token) else { return None };
        let (of, message) = (arrival.of, self.offers.remove(&token)?);
        let (id, offer) = message.1;
        let (from, to) = message.0;
        if self.take_of(of, id).is_some() {
            let keep = self.take(token); // it came twice at once
            self.out.push_back(Out::Keep(keep));
            return None;
        }
        let no = self.file_no();
        let take = Take {
            of,
            id,
            from,
            to,
            offer,
            entry: taking.entry,
            stem: taking.stem,
            accepted: taking.accepted,
            unasked: taking.accepted,
            image: taking.accepted && taking.image,
            paused: false,
            paused_there: false,
            durable: false,
            index: 0,
            at: 0,
            before: 0,
            within: None,
            not_before: 0,
            came: None,
            run: None,
        };
        let row = take.row(0, 0, 0);
        self.takes.insert(no, take);
        let mut keep = self.take(token);
        keep.rows.push(row);
        if let Some(Waiting::Decided(arrival)) = self.waiting.remove(&keep.token) {
            self.waiting.insert(keep.token, Waiting::Offered(arrival, no));
        }
        Some((no, keep))
    }

    /// Makes a place for an offer of this box where [`crate::model::limits::LINK_FILES`] are
    /// taken: the oldest of a box that nobody compared keys with goes, if nothing of it came, and
    /// its box is away or the one that offers is a compared one.
    pub(in super::super) fn make_place(&mut self, of: Fingerprint) -> bool {
        let verified = self.is_verified(of);
        let goes = |t: &Take| {
            let untouched = t.run.is_none() && t.durable && (t.index, t.at) == (0, 0);
            let away = self.session_for_files(t.of).is_none();
            untouched && !self.is_verified(t.of) && (away || verified)
        };
        let oldest = self.takes.iter().filter(|(_, t)| goes(t)).map(|(no, _)| *no).min();
        if let Some(no) = oldest {
            self.fail_file(no, "others wait there, and nothing of it came");
        }
        oldest.is_some()
    }

    /// What was long given up by its sender's box holds no place for good.
    pub(super) fn give_up_takes(&mut self, now: Millis) {
        let mut due = Vec::new();
        for (no, take) in &mut self.takes {
            let idle = *take.came.get_or_insert(now) + IDLE_MS;
            let verified = self.neighbours.get(&take.of).is_some_and(|n| n.verified);
            if take.run.is_none() && take.durable && !verified {
                due.push((*no, idle));
            }
        }
        for (no, at) in due {
            match at > now {
                true => self.wake_by(at),
                false => self.fail_file(no, "nothing of it came for a week"),
            }
        }
    }

    pub(in super::super) fn take_of(&self, of: Fingerprint, id: EntryId) -> Option<u64> {
        self.takes.iter().find(|(_, t)| t.of == of && t.id == id).map(|(no, _)| *no)
    }

    /// The user wants it.
    pub(in super::super) fn accept_take(&mut self, now: Millis, no: u64) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        take.accepted = true;
        let row = take.row(take.index, take.at, take.before);
        self.keep(vec![row]);
        self.run_takes(now);
    }

    /// Our side lets a take rest, or go on.
    pub(in super::super) fn pause_take(&mut self, now: Millis, no: u64, paused: bool, why: &str) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        (take.paused, take.not_before) = (paused, 0);
        let (of, id, accepted) = (take.of, take.id, take.accepted);
        let row = take.row(take.index, take.at, take.before);
        self.keep(vec![row]);
        if paused {
            self.stop_take(no);
        }
        if accepted {
            self.say_to(now, of, FileFrame::Pause { id, giver: false, paused, why: why.into() });
        }
        self.run_takes(now);
    }

    /// All of it is on the disk under its name: what is to be kept with its entry.
    pub fn take_done(&mut self, no: u64) -> Option<Keep> {
        let take = self.takes.get_mut(&no)?;
        take.run = None;
        self.end_take(no, Outcome::Done, "")
    }

    /// Ends a take, with word to the giver; what is to be kept.
    pub(in super::super) fn end_take(
        &mut self,
        no: u64,
        outcome: Outcome,
        why: &str,
    ) -> Option<Keep> {
        let take = self.takes.remove(&no)?;
        if outcome != Outcome::Done {
            self.out.push_back(Out::File(no, FileDo::Discard { name: take.part() }));
        }
        let rows = vec![Row::delete(take.key())];
        let verdict = Verdict { id: take.id, giver: false, outcome, why: why.into() };
        let keep = self.say_verdict(take.of, (take.to, take.from), verdict, rows);
        self.wake_by(0); // another may have its turn
        Some(keep)
    }

    /// The giver does not know of it.
    pub(in super::super) fn take_gone(&mut self, of: Fingerprint, id: EntryId) {
        let Some(no) = self.take_of(of, id) else { return };
        let why = "its sender's box knows nothing of it any more";
        if let Some(row) = self.drop_take(no) {
            self.keep(vec![row]);
        }
        self.heard(Heard::File { no, news: FileNews::Over(Outcome::Failed, why.into()) });
    }

    /// It is over without a word from us.
    pub(in super::super) fn drop_take(&mut self, no: u64) -> Option<Row> {
        let take = self.takes.remove(&no)?;
        self.out.push_back(Out::File(no, FileDo::Discard { name: take.part() }));
        self.wake_by(0); // another may have its turn
        Some(Row::delete(take.key()))
    }
}
