//! Which takes run: so many at once, each in its turn, none that stands still while others wait.

use std::collections::VecDeque;

use super::super::{FILES, Machine};
use super::{Doing, Run, Take};
use crate::dialect::link::files::FileFrame;
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, FileNews, Heard, Out};
use crate::model::limits::{LINK_RUNNING, LINK_RUNNING_PER_BOX};
use crate::model::{EntryId, Millis, StreamId};

/// A transfer that moved nothing for so long gives its place to one that waits.
pub const STALLED_MS: Millis = 30_000;
/// So long after it was asked for, a giver may be busy with what it has to hash first, although
/// others wait.
pub const BUSY_MS: Millis = 10 * 60_000;

impl Machine {
    /// Asks for what is accepted, as far as so many may run at once.
    pub(in super::super) fn run_takes(&mut self, now: Millis) {
        let here = |of| self.session_for_files(of).is_some();
        let all = self.takes.iter().filter(|(_, t)| t.waits() && here(t.of));
        let mut all: Vec<(Millis, u64, Fingerprint)> =
            all.map(|(no, t)| (t.not_before, *no, t.of)).collect();
        all.sort_unstable();
        for (not_before, no, of) in all {
            if not_before > now {
                self.wake_by(not_before);
                continue;
            }
            let running = |one: Option<Fingerprint>| {
                let mut runs = self.takes.values().filter(|t| t.run.is_some());
                runs.by_ref().filter(|t| one.is_none_or(|of| t.of == of)).count()
            };
            if running(None) < LINK_RUNNING && running(Some(of)) < LINK_RUNNING_PER_BOX {
                self.run_take(now, no);
            }
        }
    }

    /// What does not move is asked for again later, and lets others pass.
    pub(in super::super) fn tick_takes(&mut self, now: Millis) {
        self.give_up_takes(now);
        let here = |of| self.session_for_files(of).is_some();
        let others = self.takes.values().any(|t| t.waits() && here(t.of));
        let stands = |t: &Take| {
            let run = t.run.as_ref().filter(|run| run.busy.is_none())?;
            let last = if others { run.steady } else { run.moved };
            Some(last + STALLED_MS)
        };
        let due: Vec<(u64, Millis)> =
            self.takes.iter().filter_map(|(no, t)| Some((*no, stands(t)?))).collect();
        for (no, at) in due {
            if at > now {
                self.wake_by(at);
                continue;
            }
            if let Some(take) = self.takes.get_mut(&no) {
                take.not_before = now + STALLED_MS;
            }
            self.stop_take(no);
        }
        self.run_takes(now);
    }

    pub(super) fn session_for_files(&self, of: Fingerprint) -> Option<StreamId> {
        let stream = self.neighbours.get(&of)?.active?;
        let hello = self.sessions.get(&stream)?.hello.as_ref()?;
        (hello.capabilities & FILES != 0).then_some(stream)
    }

    fn run_take(&mut self, now: Millis, no: u64) {
        let Some(of) = self.takes.get(&no).map(|t| t.of) else { return };
        let Some(stream) = self.session_for_files(of) else { return };
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let Some(take) = self.takes.get_mut(&no) else { return };
        take.run = Some(Run {
            stream,
            turn,
            size: None,
            path: String::new(),
            began: take.at,
            came: take.at,
            upto: take.at,
            unsynced: 0,
            unsynced_files: 0,
            sum: None,
            waiting: VecDeque::new(),
            busy: Some(Doing::Opening),
            busy_since: now,
            moved: now,
            asked: now,
            steady: now,
            since: 0,
        });
        let part = FileDo::Part {
            name: take.part(),
            stem: take.stem.clone(),
            offer: take.offer.clone(),
            image: take.image,
            index: take.index,
            offset: take.at,
            before: take.before,
        };
        self.out.push_back(Out::File(no, part));
        self.wake_by(now + STALLED_MS);
        self.heard(Heard::File { no, news: FileNews::Moved });
    }

    pub(super) fn stop_take(&mut self, no: u64) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        if take.run.take().is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
        }
    }

    /// The giver lets it rest, or go on.
    pub(in super::super) fn take_rests(
        &mut self,
        now: Millis,
        of: Fingerprint,
        id: EntryId,
        paused: bool,
        why: String,
    ) {
        let Some(no) = self.take_of(of, id) else { return };
        // nobody asked for it yet
        let Some(take) = self.takes.get_mut(&no).filter(|t| t.accepted) else { return };
        let was = std::mem::replace(&mut take.paused_there, paused);
        if let Some(run) = take.run.as_mut() {
            run.moved = now; // it is at it
            if now < run.asked + BUSY_MS {
                run.steady = now;
            }
        }
        if paused {
            self.stop_take(no);
        }
        if was != paused {
            let news = if paused { FileNews::Rests(why) } else { FileNews::Moved };
            self.heard(Heard::File { no, news });
        }
        self.run_takes(now);
    }

    /// A session with a box begins: what it said of resting on another may be so no more, and it
    /// is told what rests here.
    pub(in super::super) fn takes_meet(&mut self, now: Millis, of: Fingerprint) {
        let mut rest = Vec::new();
        for take in self.takes.values_mut().filter(|t| t.of == of) {
            take.paused_there = false;
            if take.accepted && take.paused {
                rest.push(take.id);
            }
        }
        for id in rest {
            let why = String::new();
            self.say_to(now, of, FileFrame::Pause { id, giver: false, paused: true, why });
        }
        self.run_takes(now);
    }

    /// A session is over: what is missing is asked for on another.
    pub(in super::super) fn takes_lost(&mut self, stream: StreamId) {
        let on = |t: &Take| t.run.as_ref().is_some_and(|run| run.stream == stream);
        let lost: Vec<u64> = self.takes.iter().filter(|(_, t)| on(t)).map(|(no, _)| *no).collect();
        for no in lost {
            self.stop_take(no);
        }
    }
}
