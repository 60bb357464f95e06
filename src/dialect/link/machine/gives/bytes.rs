//! How a give is sent: opened, read as far as was granted, said.

use super::super::Machine;
use crate::dialect::link::files::FileFrame;
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, FileNews, Heard, Out};
use crate::model::{EntryId, IoError, Millis, StreamId};

/// The taker hears so often at least that a long file is being looked through.
const BUSY_MS: Millis = 5_000;

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

impl Machine {
    pub(in super::super) fn granted(
        &mut self,
        now: Millis,
        of: Fingerprint,
        id: EntryId,
        up: (u32, u64),
    ) {
        let (turn, upto) = up;
        let Some(no) = self.give_of(of, id) else { return };
        let Some(give) = self.gives.get_mut(&no) else { return };
        let Some(run) = give.run.as_mut().filter(|run| run.asked.turn == turn) else { return };
        run.asked.upto = run.asked.upto.max(upto);
        run.told = now;
        let stream = run.asked.stream;
        self.pump(now, stream);
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
    pub(in super::super) fn pump_files(&mut self, stream: StreamId) {
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
}
