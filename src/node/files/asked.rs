//! What people want done with a file on its way, by its number: ACCEPT, REFUSE, PAUSE, RESUME,
//! CANCEL.

use super::super::Node;
use crate::dialect::link::words::{FileState, Outcome};
use crate::model::{Answer, Now, Refusal, TransferState, UserId};

impl Node {
    /// ACCEPT and REFUSE of a file; `None`: no file is meant by that number.
    pub(in crate::node) fn decide_file(
        &mut self,
        now: Now,
        user: UserId,
        number: u32,
        accept: bool,
    ) -> Option<Result<Answer, Refusal>> {
        let no = self.files.numbered(number)?;
        let verb = if accept { "ACCEPT" } else { "REFUSE" };
        if let Err(refusal) = self.is_his(user, no, verb, number) {
            return Some(Err(refusal));
        }
        let view = self.machine_file(no)?;
        let failed = |reason: String| Some(Err(Refusal::Failed { reason }));
        if view.giver {
            return failed(format!("{number} is sent by you: CANCEL {number} ends it"));
        }
        if view.state != FileState::Offered {
            return failed(format!("{number} is accepted already: CANCEL {number} ends it"));
        }
        if !accept {
            self.end_file(now, no, Outcome::Refused, "");
            return Some(Ok(Answer::Done));
        }
        if let Err(reason) = self.fits_asked(view.user, view.offer.bytes) {
            return failed(reason);
        }
        if let Some(machine) = self.dialects.link.as_mut() {
            machine.accept_file(now.mono, no);
        }
        Some(Ok(Answer::Done))
    }

    /// PAUSE and RESUME.
    pub(in crate::node) fn pause_file(
        &mut self,
        now: Now,
        user: UserId,
        number: u32,
        paused: bool,
    ) -> Result<Answer, Refusal> {
        let verb = if paused { "PAUSE" } else { "RESUME" };
        let no = self.file_meant(user, number, verb)?;
        let state = self.machine_file(no).map(|view| view.state);
        if state == Some(FileState::Offered) && paused {
            let reason = format!("{number} is not accepted yet: REFUSE or CANCEL ends it");
            return Err(Refusal::Failed { reason });
        }
        if let Some(machine) = self.dialects.link.as_mut() {
            machine.pause_file(now.mono, no, paused, "");
        }
        if let Some(moving) = self.files.by_no.get_mut(&no) {
            moving.reason = None;
        }
        if paused {
            self.tell_file(now, no, TransferState::Paused, None);
        }
        Ok(Answer::Done)
    }

    /// CANCEL.
    pub(in crate::node) fn cancel_file(
        &mut self,
        now: Now,
        user: UserId,
        number: u32,
    ) -> Result<Answer, Refusal> {
        let no = self.file_meant(user, number, "CANCEL")?;
        self.end_file(now, no, Outcome::Cancelled, "");
        Ok(Answer::Done)
    }

    fn file_meant(&self, user: UserId, number: u32, verb: &str) -> Result<u64, Refusal> {
        let no = self.files.numbered(number).ok_or_else(|| no_such(verb, number))?;
        self.is_his(user, no, verb, number).map(|()| no)
    }

    fn is_his(&self, user: UserId, no: u64, verb: &str, number: u32) -> Result<(), Refusal> {
        let user = self.users.get(user).map(|u| u.handle.as_str());
        match self.machine_file(no) {
            Some(view) if user.is_some_and(|u| view.user.is(u)) => Ok(()),
            _ => Err(no_such(verb, number)),
        }
    }
}

fn no_such(verb: &str, number: u32) -> Refusal {
    Refusal::bad(verb, number.to_string(), "the number of a file of yours, as STATUS shows it")
}
