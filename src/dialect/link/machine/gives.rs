//! Files that go out: offered, then sent as the other side asks for them.
//!
//! A give is kept from its offer on until its end was said by either side. All the rest follows
//! from what the taker wants: after a break or a restart he asks again from where he is.

use super::super::files::{FileFrame, Offer, Outcome, Verdict};
use super::super::frame::{Content, Message};
use super::super::noise::Fingerprint;
use super::super::wire::{BadWire, Reader, Writer};
use super::super::words::{FileDo, FileNews, FileState, FileView, Heard, Keep, Out, Row, Sending};
use super::messages::CannotSend;
use super::takes::STALLED_MS;
use super::{FILES, Machine};
use crate::model::limits::{LINK_CHUNK, LINK_FILES, LINK_FILES_PER_BOX, LINK_RUNNING};
use crate::model::{EntryId, Handle, IoError, Millis, StreamId};

/// The taker hears so often at least that a long file is being looked through.
const BUSY_MS: Millis = 5_000;

/// A file that we offer or send.
pub(super) struct Give {
    pub(super) of: Fingerprint,
    pub(super) id: EntryId,
    pub(super) from: Handle,
    pub(super) to: Handle,
    pub(super) offer: Offer,
    path: String,
    stamp: u64,
    paused: bool,
    paused_there: bool,
    accepted: bool,
    done: u64,
    /// What is wanted, and not begun.
    asked: Option<Asked>,
    run: Option<Run>,
}

/// What a taker wants.
#[derive(Clone, Copy)]
struct Asked {
    stream: StreamId,
    turn: u32,
    index: u32,
    offset: u64,
    upto: u64,
}

/// One asking, being answered.
struct Run {
    asked: Asked,
    size: Option<u64>,
    /// Bytes of the files before this one.
    before: u64,
    next: u64,
    /// Something is being done with the file.
    busy: bool,
    ended: bool,
    /// When the other side was last told of anything.
    told: Millis,
}

/// What a file is that was opened to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its bytes.
    pub size: u64,
    /// Its place in the folder; of a single file empty.
    pub path: String,
    /// Bytes of the files before it.
    pub before: u64,
}

impl Give {
    fn row(&self) -> Row {
        let to = Writer::default().short(self.from.as_str()).short(self.to.as_str());
        let to = self.offer.write(to.u8(u8::from(self.paused)).u64(self.stamp));
        Row::put(self.key(), to.long(&self.path).0)
    }

    pub(super) fn key(&self) -> String {
        format!("give/{}/{}", self.of, self.id)
    }

    pub(super) fn restore(of: Fingerprint, id: EntryId, value: &[u8]) -> Result<Give, BadWire> {
        let mut row = Reader(value);
        let (from, to) = (row.handle()?, row.handle()?);
        let (flags, stamp) = (row.u8()?, row.u64()?);
        let (offer, path) = (Offer::read(&mut row)?, row.long()?.to_owned());
        let paused = flags & 1 != 0;
        Ok(Give { paused, ..Give::new(of, id, (from, to), offer, (path, stamp)) })
    }

    fn new(
        of: Fingerprint,
        id: EntryId,
        (from, to): (Handle, Handle),
        offer: Offer,
        (path, stamp): (String, u64),
    ) -> Give {
        Give {
            of,
            id,
            from,
            to,
            offer,
            path,
            stamp,
            paused: false,
            paused_there: false,
            accepted: false,
            done: 0,
            asked: None,
            run: None,
        }
    }

    fn state(&self) -> FileState {
        match (self.paused, self.paused_there, &self.run) {
            (true, ..) => FileState::Paused,
            (_, true, _) => FileState::PausedThere,
            (_, _, Some(_)) => FileState::Runs,
            _ if self.accepted => FileState::Waits,
            _ => FileState::Offered,
        }
    }

    pub(super) fn view(&self, no: u64) -> FileView<'_> {
        FileView {
            no,
            giver: true,
            far: Machine::far(self.of, &self.to),
            user: &self.from,
            entry: self.id,
            offer: &self.offer,
            path: &self.path,
            done: self.done,
            unasked: false,
            state: self.state(),
        }
    }

    /// Where to read next for this stream, if it is time to.
    fn wants_read(&self, stream: StreamId) -> Option<(u64, usize)> {
        let run = self.run.as_ref().filter(|r| r.asked.stream == stream && !r.busy && !r.ended)?;
        let size = run.size?;
        let upto = run.asked.upto.min(size);
        if run.next >= upto && run.next < size {
            return None;
        }
        let len = usize::try_from(upto.saturating_sub(run.next)).unwrap_or(LINK_CHUNK);
        Some((run.next, len.min(LINK_CHUNK)))
    }
}

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

    pub(super) fn give_of(&self, of: Fingerprint, id: EntryId) -> Option<u64> {
        self.gives.iter().find(|(_, g)| g.of == of && g.id == id).map(|(no, _)| *no)
    }

    /// An offer that was not kept, or ended in the queue, is none.
    pub(super) fn drop_give(&mut self, of: Fingerprint, id: EntryId) -> Option<Row> {
        let no = self.give_of(of, id)?;
        let give = self.gives.remove(&no)?;
        if give.run.is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
        }
        Some(Row::delete(give.key()))
    }

    pub(super) fn wanted(&mut self, now: Millis, stream: StreamId, of: Fingerprint, f: &FileFrame) {
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

    pub(super) fn granted(&mut self, now: Millis, of: Fingerprint, id: EntryId, up: (u32, u64)) {
        let (turn, upto) = up;
        let Some(no) = self.give_of(of, id) else { return };
        let Some(give) = self.gives.get_mut(&no) else { return };
        let Some(run) = give.run.as_mut().filter(|run| run.asked.turn == turn) else { return };
        run.asked.upto = run.asked.upto.max(upto);
        run.told = now;
        let stream = run.asked.stream;
        self.pump(now, stream);
    }

    /// Begins with what is wanted, as far as so many may run.
    pub(super) fn run_gives(&mut self, now: Millis) {
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

    /// The file is still being hashed up to where it is wanted: the taker is told to wait on.
    pub fn file_busy(&mut self, now: Millis, no: u64) {
        let Some(give) = self.gives.get_mut(&no) else { return };
        let Some(run) = give.run.as_mut().filter(|run| run.told + BUSY_MS <= now) else { return };
        run.told = now;
        let (id, stream, why) = (give.id, run.asked.stream, String::new());
        self.say(now, stream, FileFrame::Pause { id, giver: true, paused: false, why });
    }

    /// What was being done with a give's file is done; whether it is still wanted so.
    fn still_wanted(&mut self, now: Millis, no: u64) -> bool {
        let Some(give) = self.gives.get_mut(&no) else { return false };
        let Some(run) = &mut give.run else { return false };
        run.busy = false;
        if give.asked.is_some() {
            give.run = None;
            self.out.push_back(Out::File(no, FileDo::Close));
            self.run_gives(now);
            return false;
        }
        run.told = now;
        true
    }

    /// A file that is to be sent is open at the offset that is wanted, or cannot be.
    pub fn file_opened(&mut self, now: Millis, no: u64, result: Result<Opened, IoError>) {
        if !self.still_wanted(now, no) {
            return;
        }
        let Some(give) = self.gives.get_mut(&no) else { return };
        let Some(run) = &mut give.run else { return };
        let opened = match result {
            Ok(opened) if run.asked.offset <= opened.size => opened,
            Ok(_) => return self.fail_file(no, "it is asked for beyond its end"),
            Err(error) => return self.fail_file(no, &error.text),
        };
        (run.size, run.before) = (Some(opened.size), opened.before);
        let (id, turn, stream) = (give.id, run.asked.turn, run.asked.stream);
        give.done = opened.before + run.next;
        let (size, path) = (opened.size, opened.path);
        self.heard(Heard::File { no, news: FileNews::Moved });
        self.say(now, stream, FileFrame::File { id, turn, size, path });
        self.pump(now, stream);
    }

    /// A piece of it was read; with its last, the hash of all of it.
    pub fn file_read(
        &mut self,
        now: Millis,
        no: u64,
        result: Result<(Vec<u8>, Option<[u8; 32]>), IoError>,
    ) {
        if !self.still_wanted(now, no) {
            return;
        }
        let Some(give) = self.gives.get_mut(&no) else { return };
        let Some(run) = &mut give.run else { return };
        let (bytes, sum) = match result {
            Ok(read) => read,
            Err(error) => return self.fail_file(no, &error.text),
        };
        let (id, turn, stream, offset) = (give.id, run.asked.turn, run.asked.stream, run.next);
        if bytes.is_empty() && sum.is_none() {
            return self.fail_file(no, "the file became shorter meanwhile");
        }
        run.next += bytes.len() as u64;
        run.ended = sum.is_some();
        give.done = run.before + run.next;
        if !bytes.is_empty() {
            self.say(now, stream, FileFrame::Chunk { id, turn, offset, bytes });
        }
        if let Some(sum) = sum {
            self.say(now, stream, FileFrame::End { id, turn, sum });
        }
        self.heard(Heard::File { no, news: FileNews::Moved });
        self.pump(now, stream);
    }

    /// Reads on for a session that has room: texts have gone before.
    pub(super) fn pump_files(&mut self, stream: StreamId) {
        if self.gives.is_empty() {
            return;
        }
        let mut ready = Vec::new();
        for (no, give) in &self.gives {
            ready.extend(give.wants_read(stream).map(|(offset, len)| (*no, offset, len)));
        }
        for (no, offset, len) in ready {
            if let Some(run) = self.gives.get_mut(&no).and_then(|g| g.run.as_mut()) {
                run.busy = true;
                self.out.push_back(Out::File(no, FileDo::Read { offset, len }));
            }
        }
    }

    /// A session is over: what was asked for on it is not answered.
    pub(super) fn gives_lost(&mut self, stream: StreamId) {
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

    /// The taker lets it rest, or go on: then he asks for it.
    pub(super) fn give_rests(&mut self, of: Fingerprint, id: EntryId, paused: bool, why: String) {
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

    fn stop_give(&mut self, no: u64) {
        let Some(give) = self.gives.get_mut(&no) else { return };
        give.asked = None;
        if give.run.take().is_some() {
            self.out.push_back(Out::File(no, FileDo::Close));
            self.wake_by(0); // another may have its turn
        }
    }

    /// Our side lets a give rest or go on.
    pub(super) fn pause_give(&mut self, now: Millis, no: u64, paused: bool) {
        let Some(give) = self.gives.get_mut(&no) else { return };
        give.paused = paused;
        let (row, of, id) = (give.row(), give.of, give.id);
        self.keep(vec![row]);
        self.stop_give(no);
        let why = String::new();
        self.say_to(now, of, FileFrame::Pause { id, giver: true, paused, why });
    }

    /// Ends a give, with word to the taker unless its offer did not leave yet; what is to be kept.
    pub(super) fn end_give(&mut self, no: u64, outcome: Outcome, why: &str) -> Option<Keep> {
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
}
