//! Images that come in: to the disk piece by piece, then to the one they are for.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::super::Node;
use super::super::history::Draft;
use super::super::io::{Action, FileDone, FileOp, Picture};
use super::{Incoming, MAX_WAITING_BYTES};
use crate::dialect::slcp::machine::{ImageHeard, ImageKey};
use crate::model::history::Change;
use crate::model::limits::{MAX_TRANSFERS, MAX_TRANSFERS_PER_PEER};
use crate::model::{Dialect, Direction, IoError, Now, TransferState, What};

impl Node {
    /// An image begins to come in.
    pub(in crate::node) fn image_begins(&mut self, now: Now, heard: ImageHeard) {
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
    pub(in crate::node) fn image_bytes(&mut self, now: Now, key: ImageKey, bytes: Vec<u8>) {
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
    pub(in crate::node) fn image_ends(
        &mut self,
        now: Now,
        key: ImageKey,
        result: Result<(), IoError>,
    ) {
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

    pub(super) fn fail_incoming(&mut self, now: Now, key: ImageKey, reason: &str) {
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
            number: None,
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

    pub(super) fn incoming_done(
        &mut self,
        now: Now,
        key: ImageKey,
        result: Result<FileDone, IoError>,
    ) {
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
        self.talked_with(now, incoming.peer);
        let sender = self.roster.get(incoming.peer);
        let from = sender.map(|p| p.handle.to_string()).unwrap_or_default();
        let entry = self.entry(
            now,
            Draft {
                id: incoming.entry,
                user: Some(to.clone()),
                conversation: from.to_lowercase(),
                from,
                direction: Direction::In,
                dialect: Dialect::Slcp,
                body: picture.body(path.clone(), incoming.got),
                autoreply: false,
                recipients: Vec::new(),
            },
        );
        self.keep_soon(now, Change::Put(Box::new(entry)));
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
}
