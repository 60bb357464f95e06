//! Images on their way, in and out: what is kept, how far it is, how it ended.
//!
//! Bytes flow one piece at a time: a stream is read on only when its last piece is on the disk,
//! a file only when its last piece is with the kernel. So a transfer holds one piece in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;

use super::Node;
use super::delivery::{Pending, Target, local_peer};
use super::io::{Action, FileDone, FileId, FileOp, Picture, Ticket};
use crate::dialect::slcp::machine::{Addressee, ImageHeard, ImageKey};
use crate::model::limits::{MAX_PENDING, MAX_TRANSFERS, MAX_TRANSFERS_PER_PEER};
use crate::model::{
    Answer, Delivery, Dialect, Direction, EntryId, IoError, Now, PeerId, Receipt, Refusal,
    TransferState, Trouble, UserId, What,
};

/// Bytes of one image that may wait for the disk. Only UDP forms can pass it.
pub const MAX_WAITING_BYTES: usize = 1024 * 1024;

struct Incoming {
    file: FileId,
    entry: EntryId,
    peer: PeerId,
    /// Where it comes from.
    ip: Ipv4Addr,
    user: UserId,
    size: Option<u64>,
    got: u64,
    waiting: VecDeque<Vec<u8>>,
    /// An operation on its file is under way.
    busy: bool,
    ended: bool,
    told: u64,
}

/// A file that is sent to one recipient after the other.
struct Outgoing {
    path: String,
    size: u64,
    picture: Picture,
    /// Who still has to get it; the first is being served.
    to: VecDeque<Leg>,
    offset: u64,
    told: u64,
    /// For whom the file is being read.
    reading: Option<u64>,
    /// For whom it is to be read once that is over.
    wanted: Option<u64>,
}

struct Leg {
    tag: u64,
    entry: EntryId,
    user: UserId,
    peer: PeerId,
}

/// A file being opened for someone who waits for the answer.
struct Opening {
    ticket: Ticket,
    user: UserId,
    path: String,
    targets: Vec<Target>,
}

#[derive(Default)]
pub(super) struct Transfers {
    next: u64,
    incoming: BTreeMap<ImageKey, Incoming>,
    by_file: HashMap<FileId, ImageKey>,
    outgoing: BTreeMap<FileId, Outgoing>,
    opening: HashMap<FileId, Opening>,
}

impl Transfers {
    pub(super) fn count(&self) -> usize {
        self.incoming.len() + self.outgoing.len() + self.opening.len()
    }

    fn new_file(&mut self) -> FileId {
        self.next += 1;
        FileId(self.next)
    }

    fn sending(&mut self, tag: u64) -> Option<(FileId, &mut Outgoing)> {
        self.outgoing
            .iter_mut()
            .find(|(_, out)| out.to.front().is_some_and(|leg| leg.tag == tag))
            .map(|(file, out)| (*file, out))
    }
}

impl Node {
    fn file(&mut self, file: FileId, op: FileOp) {
        self.actions.push_back(Action::File(file, op));
    }

    /// An image begins to come in.
    pub(super) fn image_begins(&mut self, now: Now, heard: ImageHeard) {
        let peer = self.sender(now, heard.from.as_ref(), heard.source, heard.chat_port);
        let Some(sender) = self.roster.get(peer) else { return };
        let (addr, blocked) = (sender.route().addr, self.is_blocked(sender.handle.as_str()));
        let key = heard.key;
        if blocked {
            return self.slcp_do(|m| m.image_refused(key));
        }
        self.learn(addr, heard.lesson);
        let entry = self.new_entry();
        let incoming = Incoming {
            file: self.transfers.new_file(),
            entry,
            peer,
            ip: *heard.source.ip(),
            user: heard.to,
            size: heard.size,
            got: 0,
            waiting: VecDeque::new(),
            busy: true,
            ended: false,
            told: 0,
        };
        if let Some(reason) = self.why_refuse(incoming.ip, heard.size) {
            self.tell_incoming(now, &incoming, TransferState::Failed, Some(reason));
            return self.slcp_do(|m| m.image_refused(key));
        }
        self.tell_incoming(now, &incoming, TransferState::Running, None);
        let (file, stem) = (incoming.file, self.stem(now, &incoming));
        self.transfers.by_file.insert(file, key);
        self.transfers.incoming.insert(key, incoming);
        self.file(file, FileOp::Create { stem });
        self.slcp_do(|m| m.image_wanted(now.mono, key));
    }

    fn why_refuse(&self, ip: Ipv4Addr, size: Option<u64>) -> Option<String> {
        let of_peer = self.transfers.incoming.values().filter(|i| i.ip == ip).count();
        let most = self.settings.max_image;
        match size {
            Some(0) => Some("it is announced with no bytes at all".into()),
            Some(size) if size > most => {
                Some(format!("it has {size} bytes and max-image allows {most}: not taken"))
            }
            _ if self.transfers.count() >= MAX_TRANSFERS => {
                Some(format!("{MAX_TRANSFERS} transfers are under way already: not taken"))
            }
            _ if of_peer >= MAX_TRANSFERS_PER_PEER => {
                Some(format!("{MAX_TRANSFERS_PER_PEER} of its images are on the way already"))
            }
            _ => None,
        }
    }

    /// The name a received image will bear: never the sender's word, save the letters and
    /// digits of its handle.
    fn stem(&self, now: Now, incoming: &Incoming) -> String {
        let safe = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let handle = self.roster.get(incoming.peer).map(|p| p.handle.to_string());
        let who: String = handle.unwrap_or_default().chars().filter(safe).take(24).collect();
        let when: String =
            now.wall.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
        let who = if who.is_empty() { "image" } else { &who };
        format!("{who}-{when}-{:x}", incoming.entry.n)
    }

    /// A piece of it came.
    pub(super) fn image_bytes(&mut self, now: Now, key: ImageKey, bytes: Vec<u8>) {
        let most = self.settings.max_image;
        let Some(incoming) = self.transfers.incoming.get_mut(&key) else { return };
        incoming.got += bytes.len() as u64;
        incoming.waiting.push_back(bytes);
        let waiting: usize = incoming.waiting.iter().map(Vec::len).sum();
        if incoming.got > most {
            let text = format!("it has more than the {most} bytes that max-image allows");
            return self.fail_incoming(now, key, &text);
        }
        if waiting > MAX_WAITING_BYTES {
            return self.fail_incoming(now, key, "it comes faster than the disk takes it");
        }
        self.pump(now, key);
    }

    /// It is whole, or will not be.
    pub(super) fn image_ends(&mut self, now: Now, key: ImageKey, result: Result<(), IoError>) {
        match result {
            Err(error) => self.fail_incoming(now, key, &error.text),
            Ok(()) => {
                if let Some(incoming) = self.transfers.incoming.get_mut(&key) {
                    incoming.ended = true;
                    self.pump(now, key);
                }
            }
        }
    }

    /// The next operation on a received image's file.
    fn pump(&mut self, now: Now, key: ImageKey) {
        let Some(incoming) = self.transfers.incoming.get_mut(&key) else { return };
        if incoming.busy {
            return;
        }
        let file = incoming.file;
        let op = match incoming.waiting.pop_front() {
            Some(bytes) => FileOp::Append(bytes),
            None if incoming.ended => FileOp::Finish,
            None => return,
        };
        incoming.busy = true;
        let step = incoming.size.unwrap_or(0) / 10;
        let tell = incoming.got >= incoming.told + step.max(256 * 1024);
        if tell {
            incoming.told = incoming.got;
        }
        self.file(file, op);
        if !tell {
            return;
        }
        if let Some(incoming) = self.transfers.incoming.remove(&key) {
            self.tell_incoming(now, &incoming, TransferState::Running, None);
            self.transfers.incoming.insert(key, incoming);
        }
    }

    fn fail_incoming(&mut self, now: Now, key: ImageKey, reason: &str) {
        let Some(incoming) = self.transfers.incoming.remove(&key) else { return };
        self.transfers.by_file.remove(&incoming.file);
        self.file(incoming.file, FileOp::Discard);
        self.slcp_do(|m| m.image_refused(key));
        self.tell_incoming(now, &incoming, TransferState::Failed, Some(reason.into()));
    }

    fn tell_incoming(
        &mut self,
        now: Now,
        incoming: &Incoming,
        state: TransferState,
        reason: Option<String>,
    ) {
        let user = self.users.get(incoming.user).map(|u| u.handle.clone());
        let what = What::Transfer {
            id: incoming.entry,
            direction: Direction::In,
            peer: incoming.peer,
            handle: self.name_of(incoming.peer),
            name: "image".into(),
            done: incoming.got,
            size: incoming.size,
            state,
            reason,
        };
        self.tell(now, user, what);
    }

    /// A file operation ended.
    pub(super) fn file_done(&mut self, now: Now, file: FileId, result: Result<FileDone, IoError>) {
        if let Some(key) = self.transfers.by_file.get(&file).copied() {
            return self.incoming_done(now, key, result);
        }
        if let Some(opening) = self.transfers.opening.remove(&file) {
            let answer = self.opened(now, file, &opening, result);
            if answer.is_err() {
                self.file(file, FileOp::Close);
            }
            return self.answer(opening.ticket, answer.map(Answer::Sent));
        }
        let Some(out) = self.transfers.outgoing.get_mut(&file) else { return };
        let Some(tag) = out.to.front().map(|leg| leg.tag) else { return };
        if out.reading.take() != Some(tag) {
            // it was read for somebody who failed meanwhile
            if let Some(tag) = out.wanted.take() {
                self.want_bytes(tag);
            }
            return;
        }
        match result {
            Ok(FileDone::Read(bytes)) if bytes.is_empty() && out.offset < out.size => {
                let error = IoError::new(Trouble::Other, "the file became shorter meanwhile");
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
            Ok(FileDone::Read(bytes)) => {
                out.offset += bytes.len() as u64;
                if out.offset >= out.told + (out.size / 10).max(256 * 1024) {
                    out.told = out.offset;
                    self.tell_outgoing(now, file, TransferState::Running, None);
                }
                self.slcp_do(|m| m.image_bytes(now.mono, tag, bytes));
            }
            Ok(_) => {}
            Err(error) => {
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
        }
    }

    fn incoming_done(&mut self, now: Now, key: ImageKey, result: Result<FileDone, IoError>) {
        let done = match result {
            Err(error) => {
                let text = format!("it cannot be kept: {error}");
                return self.fail_incoming(now, key, &text);
            }
            Ok(done) => done,
        };
        if let FileDone::Finished { path, picture } = done {
            return self.image_kept(now, key, path, &picture);
        }
        let Some(incoming) = self.transfers.incoming.get_mut(&key) else { return };
        incoming.busy = false;
        let stored = done == FileDone::Appended && incoming.waiting.is_empty();
        if stored && !incoming.ended {
            self.slcp_do(|m| m.image_stored(now.mono, key));
        }
        self.pump(now, key);
    }

    fn image_kept(&mut self, now: Now, key: ImageKey, path: String, picture: &Picture) {
        let Some(incoming) = self.transfers.incoming.remove(&key) else { return };
        self.transfers.by_file.remove(&incoming.file);
        self.slcp_do(|m| m.image_stored(now.mono, key));
        let Some(user) = self.users.get(incoming.user) else { return };
        let (to, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        self.tell_incoming(now, &incoming, TransferState::Done, None);
        let what = What::Image {
            id: incoming.entry,
            conversation: incoming.peer.to_string(),
            from: self.name_of(incoming.peer),
            to: to.to_string(),
            peer: incoming.peer,
            dialect: Dialect::Slcp,
            direction: Direction::In,
            path: path.clone(),
            size: incoming.got,
            format: picture.format.into(),
            width: picture.width,
            height: picture.height,
        };
        self.tell(now, Some(to.clone()), what);
        if self.settings.open_images && picture.format != "unknown" {
            self.actions.push_back(Action::Show { path, user: to });
        }
        self.autoreply(now, incoming.user, incoming.peer, reply);
    }

    /// Somebody wants an image sent: its file is opened first.
    pub(super) fn image_out(
        &mut self,
        ticket: Ticket,
        user: UserId,
        targets: Vec<Target>,
        path: String,
        given: Option<FileId>,
    ) {
        if self.transfers.count() >= MAX_TRANSFERS {
            let limit = MAX_TRANSFERS as u64;
            let refusal = Refusal::TooMany { what: "transfers at once".into(), limit };
            if let Some(file) = given {
                self.file(file, FileOp::Close);
            }
            return self.answer(ticket, Err(refusal));
        }
        let file = given.unwrap_or_else(|| self.transfers.new_file());
        let opening = Opening { ticket, user, path: path.clone(), targets };
        self.transfers.opening.insert(file, opening);
        if given.is_none() {
            self.file(file, FileOp::Open { path });
        }
    }

    fn opened(
        &mut self,
        now: Now,
        file: FileId,
        opening: &Opening,
        result: Result<FileDone, IoError>,
    ) -> Result<Vec<Receipt>, Refusal> {
        let refuse = |reason: String| Refusal::File { path: opening.path.clone(), reason };
        let (size, picture) = match result {
            Ok(FileDone::Opened { size, picture }) => (size, picture),
            Ok(_) => return Err(refuse("it could not be opened".into())),
            Err(error) => return Err(refuse(error.text)),
        };
        let most = self.settings.max_image;
        if size == 0 {
            return Err(refuse("it is empty".into()));
        }
        if size > most {
            return Err(refuse(format!("it has {size} bytes, max-image allows {most}")));
        }
        if picture.format == "unknown" {
            return Err(refuse("it is no image that is known: SLCP carries images only".into()));
        }
        let Some(_) = self.users.get(opening.user) else {
            let reason = "its sender is no user of this node now";
            return Err(Refusal::Failed { reason: reason.into() });
        };
        if self.deliveries.room() < opening.targets.len() {
            let limit = MAX_PENDING as u64;
            return Err(Refusal::TooMany { what: "deliveries that wait".into(), limit });
        }
        let mut out = Outgoing {
            path: opening.path.clone(),
            size,
            picture,
            to: VecDeque::new(),
            offset: 0,
            told: 0,
            reading: None,
            wanted: None,
        };
        let entry = self.new_entry();
        let mut tags = Vec::new();
        for target in &opening.targets {
            let (peer, recipient) = match target {
                Target::Peer(id) => (*id, self.name_of(*id)),
                Target::Local(id) => {
                    let name = self.users.get(*id).map(|u| u.handle.to_string());
                    (local_peer(*id), name.unwrap_or_default())
                }
            };
            let refused = match target {
                Target::Peer(id) => self.why_not(*id),
                Target::Local(_) => Some("it is a user of this very node: tell it the path".into()),
            };
            let tag = self.deliveries.add(Pending {
                entry,
                user: opening.user,
                peer,
                recipient,
                state: Delivery::Queued,
                reason: None,
            });
            tags.push(tag);
            match refused {
                Some(reason) => self.set_state(now, tag, Delivery::Failed, Some(reason)),
                None => out.to.push_back(Leg { tag, entry, user: opening.user, peer }),
            }
        }
        let receipts = tags.into_iter().filter_map(|tag| self.receipt(tag)).collect();
        self.transfers.outgoing.insert(file, out);
        self.next_leg(now, file);
        Ok(receipts)
    }

    /// Serves the next recipient of a file, or closes it.
    fn next_leg(&mut self, now: Now, file: FileId) {
        loop {
            let Some(out) = self.transfers.outgoing.get_mut(&file) else { return };
            (out.offset, out.told) = (0, 0);
            let (size, format) = (out.size, out.picture.format);
            let Some(leg) = out.to.front() else {
                self.transfers.outgoing.remove(&file);
                return self.file(file, FileOp::Close);
            };
            let (tag, user, peer) = (leg.tag, leg.user, leg.peer);
            self.tell_outgoing(now, file, TransferState::Running, None);
            if let Some(peer) = self.roster.get(peer) {
                let to = Addressee { handle: peer.handle.clone(), addr: peer.route().addr };
                return self.slcp_do(|m| m.send_image(now.mono, tag, user, &to, size, format));
            }
            let reason = Some("it is forgotten".to_owned());
            self.tell_outgoing(now, file, TransferState::Failed, reason.clone());
            if let Some(out) = self.transfers.outgoing.get_mut(&file) {
                out.to.pop_front();
            }
            self.set_state(now, tag, Delivery::Failed, reason);
        }
    }

    /// The machine takes more of an image.
    pub(super) fn want_bytes(&mut self, tag: u64) {
        let Some((file, out)) = self.transfers.sending(tag) else { return };
        if out.reading.is_some() {
            out.wanted = Some(tag);
            return;
        }
        out.reading = Some(tag);
        let offset = out.offset;
        self.file(file, FileOp::Read { offset });
    }

    /// A local user is gone: what it was sending ends, and so does what it was being sent, save
    /// what is whole already, which the box's own user gets.
    pub(super) fn user_removed(&mut self, now: Now, user: UserId) {
        let error = IoError::new(Trouble::Missing, "its sender is no user of this node now");
        let mut tags = Vec::new();
        for out in self.transfers.outgoing.values() {
            tags.extend(out.to.iter().filter(|l| l.user == user).map(|l| l.tag));
        }
        // from the last to the first, so that nobody is begun with on the way
        for tag in tags.into_iter().rev() {
            let waits = |out: &mut Outgoing| {
                let at = out.to.iter().position(|l| l.tag == tag)?;
                if at > 0 { out.to.remove(at) } else { None }
            };
            if self.transfers.outgoing.values_mut().find_map(waits).is_some() {
                self.set_state(now, tag, Delivery::Failed, Some(error.text.clone()));
            } else {
                self.slcp_do(|m| m.image_aborted(tag));
                self.not_sent(now, tag, &error);
            }
        }
        let own = self.users.acting(None).unwrap_or(user);
        let mut ended = Vec::new();
        for (key, incoming) in &mut self.transfers.incoming {
            match incoming.user == user {
                true if incoming.ended => incoming.user = own,
                true => ended.push(*key),
                false => {}
            }
        }
        for key in ended {
            self.fail_incoming(now, key, "its recipient is no user of this node now");
        }
    }

    pub(super) fn image_sent(&mut self, now: Now, tag: u64) {
        let Some((file, out)) = self.transfers.sending(tag) else { return };
        out.offset = out.size;
        let (path, size, picture) = (out.path.clone(), out.size, out.picture.clone());
        self.tell_outgoing(now, file, TransferState::Done, None);
        let Some(leg) = self.transfers.outgoing.get_mut(&file).and_then(|o| o.to.pop_front())
        else {
            return;
        };
        let from = self.users.get(leg.user).map(|u| u.handle.clone());
        let what = What::Image {
            id: leg.entry,
            conversation: leg.peer.to_string(),
            from: from.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: self.name_of(leg.peer),
            peer: leg.peer,
            dialect: Dialect::Slcp,
            direction: Direction::Out,
            path,
            size,
            format: picture.format.into(),
            width: picture.width,
            height: picture.height,
        };
        self.tell(now, from, what);
        self.next_leg(now, file);
    }

    pub(super) fn image_not_sent(&mut self, now: Now, tag: u64, error: &IoError) {
        let Some((file, _)) = self.transfers.sending(tag) else { return };
        self.tell_outgoing(now, file, TransferState::Failed, Some(error.text.clone()));
        if let Some(out) = self.transfers.outgoing.get_mut(&file) {
            out.to.pop_front();
        }
        self.next_leg(now, file);
    }

    fn tell_outgoing(
        &mut self,
        now: Now,
        file: FileId,
        state: TransferState,
        reason: Option<String>,
    ) {
        let Some(out) = self.transfers.outgoing.get(&file) else { return };
        let Some(leg) = out.to.front() else { return };
        let name = out.path.rsplit('/').next().unwrap_or_default().to_owned();
        let user = self.users.get(leg.user).map(|u| u.handle.clone());
        let what = What::Transfer {
            id: leg.entry,
            direction: Direction::Out,
            peer: leg.peer,
            handle: self.name_of(leg.peer),
            name,
            done: out.offset,
            size: Some(out.size),
            state,
            reason,
        };
        self.tell(now, user, what);
    }
}
