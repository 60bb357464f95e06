//! Files from one user of this node to another: each gets a copy of his own, named by us like all
//! that is received, so that what the sender does with his does not touch it.

use super::super::Node;
use super::super::delivery::{LOBBY_CONVERSATION, Target, local_peer};
use super::super::history::Draft;
use super::super::io::{Action, FileDone, FileId, FileOp, Picture};
use super::{Copy, Leg};
use crate::model::history::{Body, Change};
use crate::model::{Delivery, Dialect, Direction, IoError, Now, Trouble, UserId, What};

impl Node {
    /// The front leg of a file is for one of our own users.
    pub(super) fn copy_begins(&mut self, now: Now, source: FileId, tag: u64) {
        let Some(leg) = self.front(source) else { return };
        let safe = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let who: String = self.local_name(leg.user).chars().filter(safe).take(24).collect();
        let when: String =
            now.wall.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
        let who = if who.is_empty() { "file" } else { &who };
        let stem = format!("{who}-{when}-{:x}-{tag:x}", leg.entry.n);
        let sink = self.transfers.new_file();
        self.transfers.copying.insert(sink, Copy { source, tag });
        self.file(sink, FileOp::Create { stem });
    }

    fn front(&self, source: FileId) -> Option<&Leg> {
        self.transfers.outgoing.get(&source)?.to.front()
    }

    /// An operation on a copy ended.
    pub(super) fn copied(&mut self, now: Now, sink: FileId, result: Result<FileDone, IoError>) {
        let Some(Copy { source, tag }) = self.transfers.copying.get(&sink) else { return };
        let (source, tag) = (*source, *tag);
        let to = match self.front(source).map(|leg| leg.target) {
            Some(Target::Local(to)) if self.users.get(to).is_some() => to,
            _ => {
                let error = IoError::new(Trouble::Missing, "it is no user of this node now");
                return self.not_sent(now, tag, &error);
            }
        };
        match result {
            Err(error) => {
                self.transfers.copying.remove(&sink); // the file is gone with the error
                self.not_sent(now, tag, &error);
            }
            Ok(FileDone::Finished { path, picture }) => {
                self.transfers.copying.remove(&sink);
                self.copy_kept(now, (source, tag, to), path, &picture);
            }
            Ok(_) => {
                let whole =
                    self.transfers.outgoing.get(&source).is_some_and(|o| o.offset >= o.size);
                if whole { self.file(sink, FileOp::Finish) } else { self.want_bytes(tag) }
            }
        }
    }

    fn copy_kept(
        &mut self,
        now: Now,
        (source, tag, to): (FileId, u64, UserId),
        path: String,
        picture: &Picture,
    ) {
        let Some(out) = self.transfers.outgoing.get(&source) else { return };
        let (size, Some(leg)) = (out.size, out.to.front()) else { return };
        let (from, lobby, entry) = (leg.user, leg.lobby, leg.entry);
        let (sender, peer) = (self.local_name(from), local_peer(from));
        let Some(user) = self.users.get(to) else { return };
        let (handle, reply) = (user.handle.clone(), user.answers().map(ToOwned::to_owned));
        let (format, width, height) = (picture.format.to_owned(), picture.width, picture.height);
        let id = if lobby { entry } else { self.new_entry() };
        if !lobby {
            let kept = Draft {
                id,
                user: Some(handle.clone()),
                conversation: sender.to_lowercase(),
                from: sender.clone(),
                direction: Direction::In,
                dialect: Dialect::Local,
                body: Body::File {
                    path: path.clone(),
                    size,
                    format: format.clone(),
                    width,
                    height,
                    gone: false,
                },
                autoreply: false,
                recipients: Vec::new(),
            };
            let kept = self.entry(now, kept);
            self.keep_soon(now, Change::Put(Box::new(kept)));
        }
        let what = What::Image {
            id,
            conversation: if lobby { LOBBY_CONVERSATION.into() } else { peer.to_string() },
            from: sender,
            to: handle.to_string(),
            peer,
            dialect: Dialect::Local,
            direction: Direction::In,
            path: path.clone(),
            size,
            format,
            width,
            height,
        };
        self.tell(now, Some(handle.clone()), what);
        if self.settings.open_images && picture.format != "unknown" {
            self.actions.push_back(Action::Show { path, user: handle });
        }
        self.image_sent(now, tag);
        self.set_state(now, tag, Delivery::Delivered, None);
        self.autoreply_locally(now, to, from, reply);
    }
}
