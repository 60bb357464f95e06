//! What comes of a take: asked for a window at a time, written, made durable, put in its place.

use super::super::Machine;
use super::super::messages::Waiting;
use super::Doing;
use crate::dialect::link::files::{FileFrame, names_of};
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{FileDo, FileNews, Heard, Keep, Out};
use crate::model::limits::{LINK_CHUNK, LINK_SYNC, LINK_WINDOW};
use crate::model::{IoError, Millis, Trouble};

/// Files of a folder after which what came is made durable, however small they are.
const SYNC_FILES: u32 = 64;
/// What the end of a file counts for in bytes, so that small ones are no standing still.
const END_COUNTS: u64 = 4_096;

impl Machine {
    /// The unfinished file is open and holds so many bytes, or cannot be had.
    pub fn file_ready(&mut self, now: Millis, no: u64, result: Result<u64, IoError>) {
        let at = match result {
            Ok(at) => at,
            Err(error) if error.kind == Trouble::Missing => return self.fail_file(no, &error.text),
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
    pub(in super::super) fn file_comes(
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
                    self.fail_file(no, why);
                    return Err("it sends a path that leads out of the folder");
                }
                if size > left {
                    self.fail_file(no, "more comes than was offered");
                    return Ok(());
                }
                if size < at {
                    self.fail_file(no, "the file is another one there meanwhile");
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
                    self.fail_file(no, &error.text);
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
}
