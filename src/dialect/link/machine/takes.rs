//! Files that come in: asked for once they are accepted, a window at a time.
//!
//! What is kept of a take is how much of it is durable. Everything else is asked for again after a
//! break, so nothing here needs to be right over a restart but that one number.

use std::collections::VecDeque;

use super::super::files::{FileFrame, Offer, Outcome, Verdict, names_of};
use super::super::noise::Fingerprint;
use super::super::wire::{BadWire, Reader, Writer};
use super::super::words::{FileDo, FileNews, FileState, FileView, Heard, Keep, Out, Row};
use super::messages::Waiting;
use super::{FILES, Machine};
use crate::model::limits::{
    LINK_CHUNK, LINK_RUNNING, LINK_RUNNING_PER_BOX, LINK_SYNC, LINK_WINDOW,
};
use crate::model::{EntryId, Handle, IoError, Millis, StreamId, Trouble};

/// A transfer that moved nothing for so long gives its place to one that waits.
pub const STALLED_MS: Millis = 30_000;
/// So long after it was asked for, a giver may be busy with what it has to hash first, although
/// others wait.
pub const BUSY_MS: Millis = 10 * 60_000;
/// What a box that nobody compared keys with offered, and what came of it, is given up when
/// nothing of it came for so long.
pub const IDLE_MS: Millis = 7 * 24 * 3_600_000;
/// Files of a folder after which what came is made durable, however small they are.
const SYNC_FILES: u32 = 64;
/// What the end of a file counts for in bytes, so that small ones are no standing still.
const END_COUNTS: u64 = 4_096;

/// A file that is offered to us, or comes in.
pub(super) struct Take {
    pub(super) of: Fingerprint,
    pub(super) id: EntryId,
    pub(super) from: Handle,
    /// Our user.
    pub(super) to: Handle,
    pub(super) offer: Offer,
    /// Our entry of it.
    entry: EntryId,
    stem: String,
    accepted: bool,
    /// Nobody was asked: the settings take it.
    unasked: bool,
    /// They take it because it is an image.
    image: bool,
    paused: bool,
    paused_there: bool,
    /// The offer is kept.
    pub(super) durable: bool,
    /// The file it is at, how much of that is on the disk, and the bytes of those before it.
    index: u32,
    at: u64,
    before: u64,
    /// What is kept of it says that it is within this file.
    within: Option<u32>,
    /// Not before then: it stalled.
    not_before: Millis,
    /// When something of it came, or else when this run first looked at it.
    came: Option<Millis>,
    run: Option<Run>,
}

/// One asking, and what came of it.
struct Run {
    stream: StreamId,
    turn: u32,
    size: Option<u64>,
    path: String,
    /// From where this file was asked for.
    began: u64,
    /// Up to where it came, and may come.
    came: u64,
    upto: u64,
    /// What came since it was last made durable.
    unsynced: u64,
    unsynced_files: u32,
    sum: Option<[u8; 32]>,
    waiting: VecDeque<Vec<u8>>,
    /// What is being done with the file.
    busy: Option<Doing>,
    busy_since: Millis,
    /// The giver was last heard of it.
    moved: Millis,
    /// It was asked for then.
    asked: Millis,
    /// When [`LINK_CHUNK`] bytes had come anew, and what came since.
    steady: Millis,
    since: u64,
}

impl Run {
    /// So much came: with enough of it, it moves as it should while others wait.
    fn progress(&mut self, now: Millis, bytes: u64) {
        self.since += bytes;
        if self.since >= LINK_CHUNK as u64 {
            (self.since, self.steady) = (0, now);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Opening,
    Adding(u64),
    Syncing(u32, u64, u64),
    Placing,
    Ending,
}

impl Take {
    fn row(&self, index: u32, at: u64, before: u64) -> Row {
        let flags = u8::from(self.accepted) | u8::from(self.paused) << 1;
        let flags = flags | u8::from(self.unasked) << 2 | u8::from(self.image) << 3;
        let to = Writer::default().short(self.from.as_str()).short(self.to.as_str()).u8(flags);
        let to = self.offer.write(to.u64(self.entry.epoch).u64(self.entry.n));
        let to = to.short(&self.stem).u32(index).u64(at).u64(before);
        Row::put(self.key(), to.0)
    }

    pub(super) fn key(&self) -> String {
        format!("take/{}/{}", self.of, self.id)
    }

    pub(super) fn restore(of: Fingerprint, id: EntryId, value: &[u8]) -> Result<Take, BadWire> {
        let mut row = Reader(value);
        let (from, to, flags) = (row.handle()?, row.handle()?, row.u8()?);
        let entry = EntryId { epoch: row.u64()?, n: row.u64()? };
        let offer = Offer::read(&mut row)?;
        let stem = row.short()?.to_owned();
        let (index, at, before) = (row.u32()?, row.u64()?, row.u64()?);
        Ok(Take {
            of,
            id,
            from,
            to,
            offer,
            entry,
            stem,
            accepted: flags & 1 != 0,
            unasked: flags & 4 != 0,
            image: flags & 8 != 0,
            paused: flags & 2 != 0,
            paused_there: false,
            durable: true,
            index,
            at,
            before,
            within: (at > 0).then_some(index),
            not_before: 0,
            came: None,
            run: None,
        })
    }

    /// What its unfinished file is called: unique among all boxes' transfers.
    fn part(&self) -> String {
        let of = self.of.to_string();
        format!("{}-{}", &of[..16], self.id)
    }

    /// It could run.
    fn waits(&self) -> bool {
        let rests = self.paused || self.paused_there;
        self.run.is_none() && self.accepted && self.durable && !rests
    }

    fn state(&self) -> FileState {
        match (self.accepted, self.paused, self.paused_there, &self.run) {
            (false, ..) => FileState::Offered,
            (_, true, ..) => FileState::Paused,
            (_, _, true, _) => FileState::PausedThere,
            (_, _, _, Some(_)) => FileState::Runs,
            _ => FileState::Waits,
        }
    }

    pub(super) fn view(&self, no: u64) -> FileView<'_> {
        FileView {
            no,
            giver: false,
            far: Machine::far(self.of, &self.from),
            user: &self.to,
            entry: self.entry,
            offer: &self.offer,
            path: &self.stem,
            done: self.before + self.at,
            unasked: self.unasked,
            state: self.state(),
        }
    }
}

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
    pub(super) fn make_place(&mut self, of: Fingerprint) -> bool {
        let verified = self.is_verified(of);
        let goes = |t: &Take| {
            let untouched = t.run.is_none() && t.durable && (t.index, t.at) == (0, 0);
            let away = self.session_for_files(t.of).is_none();
            untouched && !self.is_verified(t.of) && (away || verified)
        };
        let oldest = self.takes.iter().filter(|(_, t)| goes(t)).map(|(no, _)| *no).min();
        if let Some(no) = oldest {
            self.fail_take(no, "others wait there, and nothing of it came");
        }
        oldest.is_some()
    }

    /// What was long given up by its sender's box holds no place for good.
    fn give_up_takes(&mut self, now: Millis) {
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
                false => self.fail_take(no, "nothing of it came for a week"),
            }
        }
    }

    pub(super) fn take_of(&self, of: Fingerprint, id: EntryId) -> Option<u64> {
        self.takes.iter().find(|(_, t)| t.of == of && t.id == id).map(|(no, _)| *no)
    }

    /// The user wants it.
    pub(super) fn accept_take(&mut self, now: Millis, no: u64) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        take.accepted = true;
        let row = take.row(take.index, take.at, take.before);
        self.keep(vec![row]);
        self.run_takes(now);
    }

    /// Our side lets a take rest, or go on.
    pub(super) fn pause_take(&mut self, now: Millis, no: u64, paused: bool, why: &str) {
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

    fn stop_take(&mut self, no: u64) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        if take.run.take().is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
        }
    }

    /// The giver lets it rest, or go on.
    pub(super) fn take_rests(
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
    pub(super) fn takes_meet(&mut self, now: Millis, of: Fingerprint) {
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

    /// Asks for what is accepted, as far as so many may run at once.
    pub(super) fn run_takes(&mut self, now: Millis) {
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
    pub(super) fn tick_takes(&mut self, now: Millis) {
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

    fn session_for_files(&self, of: Fingerprint) -> Option<StreamId> {
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

    /// The unfinished file is open and holds so many bytes, or cannot be had.
    pub fn file_ready(&mut self, now: Millis, no: u64, result: Result<u64, IoError>) {
        let at = match result {
            Ok(at) => at,
            Err(error) if error.kind == Trouble::Missing => return self.fail_take(no, &error.text),
            Err(error) => return self.rest_for(now, no, &error),
        };
        let Some(take) = self.takes.get_mut(&no) else { return };
        let Some(run) = &mut take.run else { return };
        run.busy = None;
        take.at = at;
        (run.began, run.came, run.upto) = (at, at, at.saturating_add(LINK_WINDOW));
        (run.moved, run.asked, run.steady) = (now, now, now);
        self.want(now, no);
    }

    fn want(&mut self, now: Millis, no: u64) {
        let Some(take) = self.takes.get(&no) else { return };
        let Some(run) = &take.run else { return };
        let (id, turn, index, offset) = (take.id, run.turn, take.index, take.at);
        let (stream, upto) = (run.stream, run.upto);
        self.say(now, stream, FileFrame::Want { id, turn, index, offset, upto });
    }

    /// The giver says what comes, or it comes.
    ///
    /// # Errors
    /// It is what nobody asked for.
    pub(super) fn file_comes(
        &mut self,
        now: Millis,
        of: Fingerprint,
        frame: FileFrame,
    ) -> Result<(), &'static str> {
        let (FileFrame::File { id, turn, .. }
        | FileFrame::Chunk { id, turn, .. }
        | FileFrame::End { id, turn, .. }) = frame
        else {
            return Ok(());
        };
        let Some(no) = self.take_of(of, id) else { return Ok(()) };
        let Some(take) = self.takes.get_mut(&no) else { return Ok(()) };
        let left = take.offer.bytes.saturating_sub(take.before);
        let folder = take.offer.folder;
        let at = take.at;
        let Some(run) = take.run.as_mut().filter(|run| run.turn == turn) else { return Ok(()) };
        run.moved = now;
        match frame {
            FileFrame::File { size, path, .. } => {
                // the last file may still be on its way to the disk
                let syncing = matches!(run.busy, Some(Doing::Syncing(..)));
                if run.size.is_some() || run.busy.is_some() && !syncing {
                    return Err("it says twice what file comes");
                }
                let good = if folder { names_of(&path).is_some() } else { path.is_empty() };
                if !good {
                    let why = "a path in it leads elsewhere: it is not taken";
                    self.fail_take(no, why);
                    return Err("it sends a path that leads out of the folder");
                }
                if size > left {
                    self.fail_take(no, "more comes than was offered");
                    return Ok(());
                }
                if size < at {
                    self.fail_take(no, "the file is another one there meanwhile");
                    return Ok(());
                }
                (run.size, run.path) = (Some(size), path);
            }
            FileFrame::Chunk { offset, bytes, .. } => {
                let end = offset.saturating_add(bytes.len() as u64);
                let most = run.size.unwrap_or(0).min(run.upto);
                if offset != run.came || end > most || run.sum.is_some() {
                    return Err("it sends bytes that nobody asked for");
                }
                run.came = end;
                run.progress(now, bytes.len() as u64);
                take.came = Some(now);
                match run.waiting.back_mut() {
                    // so that small pieces cost no more than large ones
                    Some(last) if last.len() + bytes.len() <= LINK_CHUNK => last.extend(bytes),
                    _ => run.waiting.push_back(bytes),
                }
            }
            FileFrame::End { sum, .. } => {
                if run.size != Some(run.came) || run.sum.is_some() {
                    return Err("it ends a file that is not whole");
                }
                run.sum = Some(sum);
                run.progress(now, END_COUNTS);
            }
            _ => {}
        }
        self.feed(now, no);
        Ok(())
    }

    /// The next thing to do with a take's file.
    fn feed(&mut self, now: Millis, no: u64) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        let (index, at, before, files) = (take.index, take.at, take.before, take.offer.files);
        let Some(run) = take.run.as_mut().filter(|run| run.busy.is_none()) else { return };
        let sync = run.unsynced >= LINK_SYNC || run.unsynced_files >= SYNC_FILES;
        let (doing, act) = if sync {
            (Doing::Syncing(index, at, before), FileDo::Sync)
        } else if let Some(bytes) = run.waiting.pop_front() {
            (Doing::Adding(bytes.len() as u64), FileDo::Append(bytes))
        } else if let (Some(sum), Some(size)) = (run.sum, run.size) {
            if at < size {
                return;
            }
            let last = index + 1 >= files;
            let act = FileDo::Place { path: run.path.clone(), sum, last };
            (if last { Doing::Ending } else { Doing::Placing }, act)
        } else {
            return;
        };
        (run.busy, run.busy_since) = (Some(doing), now);
        self.out.push_back(Out::File(no, act));
    }

    /// What was to be done with a take's file is done, or cannot be.
    pub fn file_done(&mut self, now: Millis, no: u64, result: Result<(), IoError>) {
        let Some(take) = self.takes.get_mut(&no) else { return };
        let Some(run) = &mut take.run else { return };
        let Some(doing) = run.busy.take() else { return };
        if let Err(error) = result {
            return match doing {
                // its beginning came in an earlier run: what is on the disk need not be that
                Doing::Placing | Doing::Ending if error.kind == Trouble::Other && run.began > 0 => {
                    self.begin_file_anew(now, no);
                }
                Doing::Placing | Doing::Ending if error.kind == Trouble::Other => {
                    self.fail_take(no, &error.text);
                }
                _ => self.rest_for(now, no, &error),
            };
        }
        run.moved = now;
        // what our disk took is not the giver's
        run.steady = now.min(run.steady + now.saturating_sub(run.busy_since));
        match doing {
            Doing::Opening | Doing::Ending => return,
            Doing::Adding(len) => {
                take.at += len;
                run.unsynced += len;
                let upto = take.at + LINK_WINDOW;
                let (id, turn, stream) = (take.id, run.turn, run.stream);
                if upto >= run.upto + 2 * LINK_CHUNK as u64 && run.size > Some(run.upto) {
                    run.upto = upto;
                    self.say(now, stream, FileFrame::Grant { id, turn, upto });
                }
                self.heard(Heard::File { no, news: FileNews::Moved });
            }
            Doing::Syncing(index, at, before) => {
                (run.unsynced, run.unsynced_files) = (0, 0);
                take.within = (at > 0).then_some(index);
                let row = take.row(index, at, before);
                let token = self.wait(Waiting::Nothing);
                self.out.push_back(Out::Keep(Keep { token, rows: vec![row] }));
            }
            Doing::Placing => {
                // nothing of the next one is written where what is kept says that this one lies
                run.unsynced_files += if take.within == Some(take.index) { SYNC_FILES } else { 1 };
                take.before += take.at;
                (take.index, take.at) = (take.index + 1, 0);
                (run.size, run.sum, run.began) = (None, None, 0);
                (run.came, run.upto) = (0, LINK_WINDOW);
                self.turn = self.turn.wrapping_add(1);
                run.turn = self.turn;
                self.want(now, no);
            }
        }
        self.feed(now, no);
    }

    /// The file it is at is asked for from its first byte.
    fn begin_file_anew(&mut self, now: Millis, no: u64) {
        self.stop_take(no);
        let Some(take) = self.takes.get_mut(&no) else { return };
        (take.at, take.within) = (0, None);
        let row = take.row(take.index, 0, take.before);
        self.keep(vec![row]);
        self.run_takes(now);
    }

    /// The disk does not take it: it rests until somebody says that it may go on.
    fn rest_for(&mut self, now: Millis, no: u64, error: &IoError) {
        let why = format!("it cannot be kept: {error}");
        self.pause_take(now, no, true, &why);
        self.heard(Heard::File { no, news: FileNews::Rests(why) });
    }

    /// All of it is on the disk under its name: what is to be kept with its entry.
    pub fn take_done(&mut self, no: u64) -> Option<Keep> {
        let take = self.takes.get_mut(&no)?;
        take.run = None;
        self.end_take(no, Outcome::Done, "")
    }

    /// Ends a take, with word to the giver; what is to be kept.
    pub(super) fn end_take(&mut self, no: u64, outcome: Outcome, why: &str) -> Option<Keep> {
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

    fn fail_take(&mut self, no: u64, why: &str) {
        if let Some(keep) = self.end_take(no, Outcome::Failed, why) {
            self.out.push_back(Out::Keep(keep));
            self.heard(Heard::File { no, news: FileNews::Over(Outcome::Failed, why.into()) });
        }
    }

    /// The giver does not know of it.
    pub(super) fn take_gone(&mut self, of: Fingerprint, id: EntryId) {
        let Some(no) = self.take_of(of, id) else { return };
        let why = "its sender's box knows nothing of it any more";
        if let Some(row) = self.drop_take(no) {
            self.keep(vec![row]);
        }
        self.heard(Heard::File { no, news: FileNews::Over(Outcome::Failed, why.into()) });
    }

    /// It is over without a word from us.
    pub(super) fn drop_take(&mut self, no: u64) -> Option<Row> {
        let take = self.takes.remove(&no)?;
        self.out.push_back(Out::File(no, FileDo::Discard { name: take.part() }));
        self.wake_by(0); // another may have its turn
        Some(Row::delete(take.key()))
    }

    /// A session is over: what is missing is asked for on another.
    pub(super) fn takes_lost(&mut self, stream: StreamId) {
        let on = |t: &Take| t.run.as_ref().is_some_and(|run| run.stream == stream);
        let lost: Vec<u64> = self.takes.iter().filter(|(_, t)| on(t)).map(|(no, _)| *no).collect();
        for no in lost {
            self.stop_take(no);
        }
    }
}
