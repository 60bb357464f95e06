//! Which gives run: what is wanted, so many at once, none that stands still while others wait.

use super::super::Machine;
use super::super::takes::STALLED_MS;
use super::{Asked, Give, Run};
use crate::dialect::link::files::FileFrame;
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, FileNews, Heard, Out};
use crate::model::limits::LINK_RUNNING;
use crate::model::{EntryId, Millis, StreamId};

impl Machine {
    pub(in super::super) fn wanted(
        &mut self,
        now: Millis,
        stream: StreamId,
        of: Fingerprint,
        f: &FileFrame,
    ) {
        let FileFrame::Want { id, turn, index, offset, upto } = *f else { return };
        let no = self.give_of(of, id);
        let Some((no, give)) = no.and_then(|no| Some((no, self.gives.get_mut(&no)?))) else {
            return self.say(now, stream, FileFrame::Gone { id });
        };
        give.accepted = true;
        give.paused_there = false;
        if give.paused {
            let why = String::new();
            return self.say(now, stream, FileFrame::Pause { id, giver: true, paused: true, why });
        }
        if index >= give.offer.files {
            return self.fail_file(no, "what was never offered is asked for");
        }
        give.asked = Some(Asked { stream, turn, index, offset, upto });
        if let Some(run) = give.run.take_if(|run| !run.busy) {
            // the next of a folder is asked for: what is open stays so
            if !run.ended {
                self.out.push_back(Out::File(no, FileDo::Close));
            }
        }
        self.run_gives(now);
    }

    /// Begins with what is wanted, as far as so many may run.
    pub(in super::super) fn run_gives(&mut self, now: Millis) {
        let waiting = self.gives.iter().filter(|(_, g)| g.run.is_none() && g.asked.is_some());
        let waiting: Vec<u64> = waiting.map(|(no, _)| *no).collect();
        for no in waiting {
            let running = self.gives.values().filter(|g| g.run.is_some()).count();
            if running >= LINK_RUNNING && !self.end_a_standing_give(now) {
                return;
            }
            let Some(give) = self.gives.get_mut(&no) else { continue };
            let Some(asked) = give.asked.take() else { continue };
            let (path, stamp) = (give.path.clone(), give.stamp);
            let (index, offset) = (asked.index, asked.offset);
            let next = offset;
            let (busy, ended, told) = (true, false, now);
            give.run = Some(Run { asked, size: None, before: 0, next, busy, ended, told });
            self.out.push_back(Out::File(no, FileDo::Open { path, stamp, index, offset }));
        }
    }

    /// A taker who lets nothing come makes room for others; he asks again.
    fn end_a_standing_give(&mut self, now: Millis) -> bool {
        let idle = |g: &Give| g.run.as_ref().filter(|run| !run.busy).map(|run| run.told);
        let idle = self.gives.iter().filter_map(|(no, g)| Some((idle(g)?, *no)));
        let Some((told, no)) = idle.min() else { return false };
        if told + STALLED_MS > now {
            self.wake_by(told + STALLED_MS);
            return false;
        }
        if let Some(give) = self.gives.get_mut(&no) {
            give.run = None;
        }
        self.out.push_back(Out::File(no, FileDo::Close));
        true
    }

    pub(super) fn stop_give(&mut self, no: u64) {
        let Some(give) = self.gives.get_mut(&no) else { return };
        give.asked = None;
        if give.run.take().is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
            self.wake_by(0); // another may have its turn
        }
    }

    /// The taker lets it rest, or go on: then he asks for it.
    pub(in super::super) fn give_rests(
        &mut self,
        of: Fingerprint,
        id: EntryId,
        paused: bool,
        why: String,
    ) {
        let Some(no) = self.give_of(of, id) else { return };
        let Some(give) = self.gives.get_mut(&no) else { return };
        give.accepted = true;
        if paused == std::mem::replace(&mut give.paused_there, paused) {
            return;
        }
        self.stop_give(no);
        let news = if paused { FileNews::Rests(why) } else { FileNews::Moved };
        self.heard(Heard::File { no, news });
    }

    /// A session is over: what was asked for on it is not answered.
    pub(in super::super) fn gives_lost(&mut self, stream: StreamId) {
        let mut closed = Vec::new();
        for (no, give) in &mut self.gives {
            give.asked = give.asked.filter(|asked| asked.stream != stream);
            if give.run.as_ref().is_some_and(|run| run.asked.stream == stream) {
                give.run = None;
                closed.push(*no);
            }
        }
        for no in &closed {
            self.out.push_back(Out::File(*no, FileDo::Close));
        }
        if !closed.is_empty() {
            self.wake_by(0); // others may have their turn
        }
    }
}
