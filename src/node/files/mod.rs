//! Files over the link: what is done with them on the disk, their numbers, how far they are.
//!
//! The link's machine says what is to be done with which file, one step at a time; here it
//! becomes operations of the storage thread, and their answers go back. `offers` is what we send,
//! `takes` what comes, `asked` what people want done with either.

mod asked;
mod offers;
mod takes;

use std::collections::HashMap;

use super::Node;
use super::history::Durable;
use super::io::{FileDone, FileId, FileOp, LinkOp, PartOf};
use crate::dialect::link::machine::{Machine, Opened};
use crate::dialect::link::words::{Far, FileDo, FileNews, FileState, FileView, Outcome};
use crate::model::limits::FILE_EXTENSION;
use crate::model::{
    Delivery, Direction, EntryId, Handle, IoError, Map, Millis, Now, TransferState, TransferView,
    UserId, What,
};

pub(super) use offers::OfferJob;

/// Progress of one transfer is told so often at most.
const TELL_MS: Millis = 1_000;
/// So often within [`RESTS_MS`] it is told that one rests; what it is then, STATUS says.
const MAX_RESTS: u8 = 8;
const RESTS_MS: Millis = 60_000;
/// Guests come back soon after a restart, or not at all: whose transfers nobody bears the name
/// for then, they end.
const ORPHANS_MS: Millis = 60_000;
/// Why it ends then.
const NOBODY: &str = "nobody of that name is there any more";

/// What of a transfer does not change: told of when the machine knows it no more.
#[derive(Clone)]
struct About {
    /// What people name it by.
    number: u32,
    giver: bool,
    entry: EntryId,
    user: Handle,
    far: Far,
    name: String,
    path: String,
    size: u64,
    format: String,
    /// Bytes that came or went, when it was last looked.
    done: u64,
}

/// One transfer.
struct Moving {
    about: About,
    /// What is open of it.
    file: Option<FileId>,
    /// A descriptor that came with a call: it stays open until the transfer is over.
    held: bool,
    /// An operation is under way.
    busy: bool,
    /// Answers that nobody waits for any more.
    stale: u32,
    /// It is being opened and hashed up to here.
    opening: Option<Goal>,
    told: Option<Millis>,
    /// How often it was told that it rests, since when.
    rests: (Millis, u8),
    state: Option<TransferState>,
    /// Why it rests.
    reason: Option<String>,
}

struct Goal {
    upto: u64,
    opened: Option<Opened>,
}

/// All of them, by the machine's number.
#[derive(Default)]
pub(super) struct LinkFiles {
    by_no: Map<u64, Moving>,
    by_file: HashMap<FileId, u64>,
    offering: offers::Offering,
    /// When transfers of nobody who is here are to end.
    orphans: Option<Millis>,
}

impl LinkFiles {
    fn add(&mut self, no: u64, about: About, held: Option<FileId>) {
        let moving = Moving {
            about,
            file: held,
            held: held.is_some(),
            busy: false,
            stale: 0,
            opening: None,
            told: None,
            rests: (0, 0),
            state: None,
            reason: None,
        };
        self.by_no.insert(no, moving);
        if let Some(file) = held {
            self.by_file.insert(file, no);
        }
    }

    /// A local user bears another handle.
    pub(super) fn renamed(&mut self, from: &Handle, to: &Handle) {
        for moving in self.by_no.values_mut().filter(|m| m.about.user.is(from.as_str())) {
            moving.about.user = to.clone();
        }
    }

    /// When it wants to be looked at.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.orphans
    }

    /// The transfer that people name so.
    fn numbered(&self, number: u32) -> Option<u64> {
        self.by_no.iter().find(|(_, m)| m.about.number == number).map(|(no, _)| *no)
    }
}

impl Node {
    fn machine_file(&self, no: u64) -> Option<FileView<'_>> {
        self.dialects.link.as_ref().and_then(|m| m.file(no))
    }

    /// Transfers of earlier runs go on, under new numbers.
    pub(super) fn remember_files(&mut self) {
        let all: Vec<u64> =
            self.dialects.link.iter().flat_map(Machine::files).map(|view| view.no).collect();
        all.into_iter().for_each(|no| self.number_file(no, None));
    }

    /// Transfers whose user is not here: of a guest who was, when the last run ended.
    fn orphans(&self) -> Vec<u64> {
        let all = self.dialects.link.iter().flat_map(Machine::files);
        let nobodys = all.filter(|view| self.users.called(view.user.as_str()).is_none());
        nobodys.map(|view| view.no).collect()
    }

    /// A run begins: whoever comes back has a while for it.
    pub(super) fn await_guests(&mut self, now: Now) {
        self.files.orphans = (!self.orphans().is_empty()).then_some(now.mono + ORPHANS_MS);
    }

    /// Ends what nobody came back for.
    pub(super) fn tick_files(&mut self, now: Now) {
        if self.files.orphans.is_some_and(|at| at <= now.mono) {
            self.files.orphans = None;
            for no in self.orphans() {
                self.end_file(now, no, Outcome::Cancelled, NOBODY);
            }
        }
    }

    /// Gives a transfer its number.
    fn number_file(&mut self, no: u64, held: Option<FileId>) {
        let number = self.chats.next_number();
        let Some(view) = self.machine_file(no) else { return };
        let about = About {
            number,
            giver: view.giver,
            entry: view.entry,
            user: view.user.clone(),
            name: shown_name(&view.offer.name),
            path: view.path.to_owned(),
            size: view.offer.bytes,
            format: view.offer.format.clone(),
            done: view.done,
            far: view.far,
        };
        self.files.add(no, about, held);
    }

    /// The machine wants something done with a file.
    pub(super) fn link_file(&mut self, no: u64, act: FileDo) {
        let extension = self.machine_file(no).map(|v| extension(&v.offer.name));
        let fresh = self.transfers.new_file();
        let Some(moving) = self.files.by_no.get_mut(&no) else {
            // over already; what is unfinished of it goes
            if let FileDo::Discard { name } = act {
                self.file(fresh, FileOp::Link(LinkOp::Drop { name }));
            }
            return;
        };
        let file = *moving.file.get_or_insert(fresh);
        self.files.by_file.insert(file, no);
        let op = match act {
            FileDo::Open { path, stamp, index, offset } => {
                moving.opening = Some(Goal { upto: offset, opened: None });
                LinkOp::Seek { path, stamp, index }
            }
            FileDo::Read { offset, len } => LinkOp::Piece { offset, len },
            FileDo::Part { name, stem, offer, image, offset, before, .. } => {
                moving.opening = Some(Goal { upto: offset, opened: None });
                LinkOp::Part(Box::new(PartOf {
                    name,
                    stem,
                    extension: extension.unwrap_or_else(|| "bin".into()),
                    folder: offer.folder,
                    image,
                    bytes: offer.bytes,
                    offset,
                    before,
                }))
            }
            FileDo::Append(bytes) => LinkOp::Add(bytes),
            FileDo::Sync => LinkOp::Sync,
            FileDo::Place { path, sum, last } => LinkOp::Place { path, sum, last },
            FileDo::Close if moving.held => {
                moving.stale += u32::from(std::mem::take(&mut moving.busy));
                moving.opening = None;
                return;
            }
            FileDo::Close => {
                self.let_go_of_file(no);
                return self.file(file, FileOp::Close);
            }
            FileDo::Discard { name } => {
                self.let_go_of_file(no);
                LinkOp::Drop { name }
            }
        };
        if let Some(moving) = self.files.by_no.get_mut(&no) {
            moving.busy = !matches!(op, LinkOp::Drop { .. });
        }
        self.file(file, FileOp::Link(op));
    }

    fn let_go_of_file(&mut self, no: u64) {
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        (moving.busy, moving.opening, moving.held) = (false, None, false);
        moving.stale = 0;
        if let Some(file) = moving.file.take() {
            self.files.by_file.remove(&file);
        }
    }

    /// Whether an operation's answer is for a file of the link's.
    pub(super) fn is_link_file(&self, file: FileId) -> bool {
        self.files.by_file.contains_key(&file) || self.files.offering.knows(file)
    }

    /// An operation with a file of the link's ended.
    pub(super) fn link_file_done(
        &mut self,
        now: Now,
        file: FileId,
        result: Result<FileDone, IoError>,
    ) {
        if self.files.offering.knows(file) {
            return self.surveyed(now, file, result);
        }
        let Some(no) = self.files.by_file.get(&file).copied() else { return };
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        if moving.stale > 0 {
            moving.stale -= 1;
            return;
        }
        moving.busy = false;
        let giver = self.machine_file(no).is_some_and(|view| view.giver);
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        let Some(machine) = self.dialects.link.as_mut() else { return };
        let mono = now.mono;
        match (result, moving.opening.take()) {
            (Ok(FileDone::Sought { size, path, before }), Some(goal)) => {
                let opened = Opened { size, path, before };
                if goal.upto == 0 || goal.upto > opened.size {
                    return machine.file_opened(mono, no, Ok(opened));
                }
                let upto = goal.upto;
                moving.opening = Some(Goal { upto, opened: Some(opened) });
                self.link_op(no, LinkOp::Hash { upto });
            }
            (Ok(FileDone::Parted(0)), Some(_)) => machine.file_ready(mono, no, Ok(0)),
            (Ok(FileDone::Parted(upto)), Some(_)) => {
                moving.opening = Some(Goal { upto, opened: None });
                self.link_op(no, LinkOp::Hash { upto });
            }
            (Ok(FileDone::Hashed(at)), Some(goal)) if at < goal.upto => {
                let upto = goal.upto;
                moving.opening = Some(goal);
                machine.file_busy(mono, no);
                self.link_op(no, LinkOp::Hash { upto });
            }
            (Ok(FileDone::Hashed(at)), Some(goal)) => match goal.opened {
                Some(opened) => machine.file_opened(mono, no, Ok(opened)),
                None => machine.file_ready(mono, no, Ok(at)),
            },
            (Ok(FileDone::Finished { path, picture }), _) => {
                self.let_go_of_file(no);
                self.file_taken(now, no, path, &picture);
            }
            (Ok(FileDone::Piece(bytes, sum)), None) => {
                machine.file_read(mono, no, Ok((bytes, sum)))
            }
            (Ok(_), _) => machine.file_done(mono, no, Ok(())),
            (Err(error), opening) => {
                self.let_go_of_file(no); // it is gone with the error
                let Some(machine) = self.dialects.link.as_mut() else { return };
                match (giver, opening.is_some()) {
                    (true, true) => machine.file_opened(mono, no, Err(error)),
                    (true, false) => machine.file_read(mono, no, Err(error)),
                    (false, true) => machine.file_ready(mono, no, Err(error)),
                    (false, false) => machine.file_done(mono, no, Err(error)),
                }
            }
        }
    }

    fn link_op(&mut self, no: u64, op: LinkOp) {
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        moving.busy = true;
        if let Some(file) = moving.file {
            self.file(file, FileOp::Link(op));
        }
    }

    /// Something about a transfer.
    pub(super) fn link_file_news(&mut self, now: Now, no: u64, news: FileNews) {
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        match news {
            FileNews::Moved => {
                let state = TransferState::Running;
                let again = moving.state == Some(state);
                if again && moving.told.is_some_and(|at| at + TELL_MS > now.mono) {
                    return;
                }
                moving.reason = None;
                self.tell_file(now, no, state, None);
            }
            FileNews::Rests(why) => {
                moving.reason = Some(why.clone()).filter(|why| !why.is_empty());
                let reason = moving.reason.clone();
                if now.mono >= moving.rests.0 + RESTS_MS {
                    moving.rests = (now.mono, 0);
                }
                if moving.rests.1 >= MAX_RESTS {
                    return; // the other side goes to and fro
                }
                moving.rests.1 += 1;
                self.tell_file(now, no, TransferState::Paused, reason);
            }
            FileNews::Over(outcome, why) => self.file_over(now, no, outcome, &why),
        }
    }

    /// Tells how far a transfer is.
    fn tell_file(&mut self, now: Now, no: u64, state: TransferState, reason: Option<String>) {
        let done = self.machine_file(no).map(|view| view.done);
        let Some(moving) = self.files.by_no.get_mut(&no) else { return };
        (moving.told, moving.state) = (Some(now.mono), Some(state));
        moving.about.done = done.unwrap_or(moving.about.done);
        let about = moving.about.clone();
        let what = self.file_event(&about, state, reason);
        self.tell(now, Some(about.user), what);
    }

    fn file_event(&mut self, about: &About, state: TransferState, reason: Option<String>) -> What {
        let peer = self.know_linked(&about.far);
        What::Transfer {
            id: about.entry,
            number: Some(about.number),
            direction: if about.giver { Direction::Out } else { Direction::In },
            peer,
            handle: self.linked_name(peer),
            name: about.name.clone(),
            done: if state == TransferState::Done { about.size } else { about.done },
            size: Some(about.size),
            state,
            reason,
        }
    }

    /// A transfer is over, by the other side's word or because it cannot be.
    fn file_over(&mut self, now: Now, no: u64, outcome: Outcome, why: &str) {
        let Some(about) = self.files.by_no.get(&no).map(|m| m.about.clone()) else { return };
        let (state, reason) = match outcome {
            Outcome::Done => (TransferState::Done, None),
            Outcome::Refused => (TransferState::Failed, Some("refused")),
            Outcome::Cancelled => (TransferState::Failed, Some("the other side ended it")),
            Outcome::Failed => (TransferState::Failed, Some("it failed")),
        };
        let reason = reason.map(|r| if why.is_empty() { r.to_owned() } else { why.to_owned() });
        self.tell_file(now, no, state, reason);
        if about.giver {
            self.give_over(now, &about, outcome, why);
        }
        self.forget_file(no);
    }

    /// Our side ends a transfer.
    fn end_file(&mut self, now: Now, no: u64, outcome: Outcome, why: &str) {
        let Some(about) = self.files.by_no.get(&no).map(|m| m.about.clone()) else { return };
        let word = if outcome == Outcome::Refused { "refused" } else { "cancelled" };
        let word = if why.is_empty() { word } else { why };
        let keep = self.dialects.link.as_mut().and_then(|m| m.end_file(no, outcome, why));
        let Some(keep) = keep else { return };
        self.link_keeps(now, keep, None, Vec::new());
        self.tell_file(now, no, TransferState::Failed, Some(word.into()));
        if about.giver {
            let who = (about.user.clone(), &about.far);
            self.offer_fate(now, about.entry, who, Delivery::Failed, Some(word.into()));
        }
        self.settle_link(now); // what is open of it is closed
        self.forget_file(no);
    }

    /// It is over, and said so.
    fn forget_file(&mut self, no: u64) {
        let file = self.files.by_no.get(&no).and_then(|m| m.file);
        self.let_go_of_file(no);
        self.files.by_no.remove(&no);
        if let Some(file) = file {
            self.file(file, FileOp::Close);
        }
    }

    /// An offer was not kept: it is none.
    pub(super) fn offer_kept(&mut self, no: u64, durable: &Durable) {
        if *durable != Durable::Yes {
            self.forget_file(no);
        }
    }

    /// A local user is gone: so are his transfers.
    pub(super) fn end_files_of(&mut self, now: Now, user: UserId) {
        let Some(handle) = self.users.get(user).map(|u| u.handle.clone()) else { return };
        let his = self.dialects.link.iter().flat_map(Machine::files);
        let his = his.filter(|v| v.user.is(handle.as_str())).map(|v| v.no);
        for no in his.collect::<Vec<u64>>() {
            self.end_file(now, no, Outcome::Cancelled, NOBODY);
        }
    }

    /// For STATUS.
    pub(super) fn transfer_views(&self) -> Vec<TransferView> {
        let view = |view: FileView<'_>| {
            let moving = self.files.by_no.get(&view.no)?;
            let peer = self.linked_id(&view.far);
            Some(TransferView {
                number: moving.about.number,
                id: view.entry,
                user: view.user.clone(),
                direction: if view.giver { Direction::Out } else { Direction::In },
                peer,
                handle: self.linked_name(peer),
                name: moving.about.name.clone(),
                done: view.done,
                size: view.offer.bytes,
                files: view.offer.files,
                state: match view.state {
                    FileState::Offered => TransferState::Offered,
                    FileState::Waits => TransferState::Waiting,
                    FileState::Runs => TransferState::Running,
                    FileState::Paused | FileState::PausedThere => TransferState::Paused,
                },
                reason: moving.reason.clone(),
            })
        };
        self.dialects.link.iter().flat_map(Machine::files).filter_map(view).collect()
    }
}

/// What the sender calls it, made harmless: its last part, should it be a path.
fn shown_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    crate::model::text::harmless(name)
}

/// What of a name says of what kind it is.
fn extension(name: &str) -> String {
    let tail = name.rsplit_once('.').map(|(_, tail)| tail.to_ascii_lowercase()).unwrap_or_default();
    let good = !tail.is_empty()
        && tail.len() <= FILE_EXTENSION
        && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    // what marks files and folders of ours is nobody else's
    if good && tail != "folder" && tail != "part" { tail } else { "bin".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_plain_letters_or_none() {
        for (name, is) in [
            ("report.PDF", "pdf"),
            ("a.tar.gz", "gz"),
            ("noext", "bin"),
            ("x.", "bin"),
            ("x.p/f", "bin"),
            ("x.waytoolongone", "bin"),
            ("x.folder", "bin"),
            ("x.ž", "bin"),
        ] {
            assert_eq!(extension(name), is, "{name}");
        }
        assert_eq!(shown_name("../../etc/passwd"), "passwd");
        assert_eq!(shown_name("C:\\x.txt"), "x.txt");
    }
}
