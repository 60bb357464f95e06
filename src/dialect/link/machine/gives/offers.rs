//! How a give comes and ends: offered, let rest, over.

use super::super::messages::CannotSend;
use super::super::{FILES, Machine};
use super::Give;
use crate::dialect::link::files::{FileFrame, Offer, Outcome, Verdict};
use crate::dialect::link::frame::{Content, Message};
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, Keep, Out, Row, Sending};
use crate::model::limits::{LINK_FILES, LINK_FILES_PER_BOX};
use crate::model::{EntryId, Millis};

impl Machine {
    /// Offers a file: `stamp` tells it from what it may become. The number is good if what is
    /// returned is kept, else [`Machine::kept`] drops it.
    ///
    /// # Errors
    /// It cannot be offered.
    pub fn offer(
        &mut self,
        sending: Sending,
        offer: Offer,
        path: String,
        stamp: u64,
    ) -> Result<(u64, Keep), CannotSend> {
        let (of, id) = (sending.to.of, sending.entry);
        if !self.takes_files(of) {
            return Err(CannotSend::NoFiles);
        }
        let of_box = self.gives.values().filter(|g| g.of == of).count();
        if self.gives.len() >= LINK_FILES || of_box >= LINK_FILES_PER_BOX {
            return Err(CannotSend::TooManyFiles);
        }
        let users = (sending.from.clone(), sending.to.handle.clone());
        let content = Content::Offer(offer.clone());
        let mut keep = self.send(Sending { content, ..sending })?;
        let give = Give::new(of, id, users, offer, (path, stamp));
        keep.rows.push(give.row());
        let no = self.file_no();
        self.gives.insert(no, give);
        Ok((no, keep))
    }

    /// Whether a box takes files over the link, as far as is known: one that is not here is asked
    /// when it is.
    pub fn takes_files(&self, of: Fingerprint) -> bool {
        let active = self.neighbours.get(&of).and_then(|n| n.active);
        let hello = active.and_then(|s| self.sessions.get(&s)).and_then(|s| s.hello.as_ref());
        hello.is_none_or(|hello| hello.capabilities & FILES != 0)
    }

    pub(in super::super) fn give_of(&self, of: Fingerprint, id: EntryId) -> Option<u64> {
        self.gives.iter().find(|(_, g)| g.of == of && g.id == id).map(|(no, _)| *no)
    }

    /// Our side lets a give rest or go on.
    pub(in super::super) fn pause_give(&mut self, now: Millis, no: u64, paused: bool) {
        let Some(give) = self.gives.get_mut(&no) else { return };
        give.paused = paused;
        let (row, of, id) = (give.row(), give.of, give.id);
        self.keep(vec![row]);
        self.stop_give(no);
        let why = String::new();
        self.say_to(now, of, FileFrame::Pause { id, giver: true, paused, why });
    }

    /// Ends a give, with word to the taker unless its offer did not leave yet; what is to be kept.
    pub(in super::super) fn end_give(
        &mut self,
        no: u64,
        outcome: Outcome,
        why: &str,
    ) -> Option<Keep> {
        self.stop_give(no);
        let give = self.gives.remove(&no)?;
        let n = self.neighbours.get_mut(&give.of)?;
        let offer = |m: &Message| m.entry == give.id && matches!(m.content, Content::Offer(_));
        let (unsent, mut rows) = n.out.take(give.of, false, offer);
        rows.push(Row::delete(give.key()));
        if !unsent.is_empty() {
            return Some(Keep { token: 0, rows });
        }
        let verdict = Verdict { id: give.id, giver: true, outcome, why: why.into() };
        Some(self.say_verdict(give.of, (give.from, give.to), verdict, rows))
    }

    /// An offer that was not kept, or ended in the queue, is none.
    pub(in super::super) fn drop_give(&mut self, of: Fingerprint, id: EntryId) -> Option<Row> {
        let no = self.give_of(of, id)?;
        let give = self.gives.remove(&no)?;
        if give.run.is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
        }
        Some(Row::delete(give.key()))
    }
}
