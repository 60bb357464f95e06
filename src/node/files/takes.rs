//! Files that come: which are wanted without asking, and what is kept of them when they are whole.

use super::super::Node;
use super::super::history::Draft;
use super::super::io::{Action, Picture};
use super::super::linked::Taken;
use crate::config::AcceptFrom;
use crate::dialect::link::machine::{Machine, Taking};
use crate::dialect::link::noise::Fingerprint;
use crate::dialect::link::words::{Far, FileState, FileView, Offer, Outcome};
use crate::model::history::Change;
use crate::model::limits::{LINK_FILES_OF_GUESTS, LINK_FILES_PER_GUEST};
use crate::model::{Dialect, Direction, Handle, Map, Now, PeerId, TransferState, UserId, What};

/// Why nobody is asked about an offer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Any,
    Image,
}

impl Node {
    /// Somebody offers a file.
    pub(in crate::node) fn file_offered(
        &mut self,
        now: Now,
        token: u64,
        from: &Far,
        user: UserId,
        offer: &Offer,
    ) {
        let peer = self.know_linked(from);
        let unasked = self.takes_unasked(peer, offer);
        let wanted = unasked.is_some() && self.fits_unasked(from.of, offer.bytes);
        let guest = self.users.get(user).filter(|u| u.guest).map(|u| u.handle.clone());
        let quota = self.settings.files.quota;
        let taken = match guest {
            _ if offer.bytes > quota => {
                Err(format!("it has {} bytes and files.quota there allows {quota}", offer.bytes))
            }
            Some(guest) => self.place_for_guest(now, &guest, offer.bytes),
            None => Ok(()),
        };
        if let Err(why) = taken {
            let keep = self.dialects.link.as_mut().map(|m| m.refuse(token, &why));
            return keep.into_iter().for_each(|k| self.link_keeps(now, k, None, Vec::new()));
        }
        let entry = self.new_entry();
        let stem = self.file_stem(now, &from.handle, entry.n);
        let image = unasked == Some(Why::Image);
        let taking = Taking { entry, stem, accepted: wanted, image };
        let taken = self.dialects.link.as_mut().and_then(|m| m.take_offer(token, taking));
        let Some((no, keep)) = taken else { return };
        self.number_file(no, None);
        let Some(about) = self.files.by_no.get(&no).map(|m| m.about.clone()) else { return };
        let state = if wanted { TransferState::Waiting } else { TransferState::Offered };
        let what = self.file_event(&about, state, None);
        let taken = Taken {
            user,
            to: about.user,
            peer,
            what,
            reply: None,
            offered: Some(no),
            theirs: None,
        };
        self.link_keeps(now, keep, Some(taken), Vec::new());
    }

    /// The name that what is received will bear: never the sender's word, save the letters and
    /// digits of his handle.
    fn file_stem(&self, now: Now, from: &Handle, n: u64) -> String {
        let safe = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let who: String = from.as_str().chars().filter(safe).take(24).collect();
        let when: String =
            now.wall.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
        let who = if who.is_empty() { "file" } else { &who };
        // runs count their entries anew
        format!("{who}-{when}-{:x}{n:x}", self.epoch & 0xffff)
    }

    /// Whether the settings say yes to it, and why.
    fn takes_unasked(&self, peer: PeerId, offer: &Offer) -> Option<Why> {
        let rules = &self.settings.files;
        if offer.bytes > rules.accept_size {
            return None;
        }
        let image = !offer.folder && !matches!(offer.format.as_str(), "unknown" | "folder");
        let from = |who: AcceptFrom| self.linked.get(peer).is_some_and(|l| l.is_among(who));
        match from(rules.accept_any) {
            true => Some(Why::Any),
            false => (image && from(rules.accept_images)).then_some(Why::Image),
        }
    }

    /// Bytes of what was accepted and is not here yet, as far as it counts.
    fn promised(&self, counts: impl Fn(&FileView<'_>) -> bool) -> u64 {
        let all = self.dialects.link.iter().flat_map(Machine::files);
        let taken = all.filter(|v| !v.giver && v.state != FileState::Offered && counts(v));
        taken.map(|v| v.offer.bytes).fold(0, u64::saturating_add)
    }

    /// Whether people compared keys with a box.
    pub(in crate::node) fn is_compared(&self, of: Fingerprint) -> bool {
        self.dialects.link.as_ref().is_some_and(|m| m.is_verified(of))
    }

    /// Whether there is room for so much from a box beside what was accepted already, nobody
    /// being asked: boxes that nobody compared keys with have half of the quota, and of that one
    /// has half, so that they leave room for others and for what people want.
    fn fits_unasked(&self, of: Fingerprint, bytes: u64) -> bool {
        let quota = self.settings.files.quota;
        if self.promised(|_| true).saturating_add(bytes) > quota {
            return false;
        }
        if self.is_compared(of) {
            return true;
        }
        let theirs = self.promised(|v| v.unasked && !self.is_compared(v.far.of));
        let its = self.promised(|v| v.unasked && v.far.of == of);
        let within =
            |promised: u64, part| promised == 0 || promised.saturating_add(bytes) <= quota / part;
        within(theirs, 2) && within(its, 4)
    }

    /// Whether there is room for what one of our users wants beside what was accepted already;
    /// else why not. What strangers sent unasked does not count, nor, for the box's own users,
    /// what guests accepted.
    pub(super) fn fits_asked(&self, user: &Handle, bytes: u64) -> Result<(), String> {
        if self.is_guest(user) {
            return self.fits_guest(user, bytes);
        }
        let quota = self.settings.files.quota;
        let counts = |v: &FileView<'_>| !v.unasked || self.is_compared(v.far.of);
        let promised = self.promised(|v| counts(v) && !self.is_guest(v.user));
        if promised.saturating_add(bytes) <= quota {
            return Ok(());
        }
        Err(format!(
            "it has {bytes} bytes, {promised} are accepted already, and files.quota allows {quota}"
        ))
    }

    pub(super) fn is_guest(&self, handle: &Handle) -> bool {
        let user = self.users.called(handle.as_str()).and_then(|id| self.users.get(id));
        user.is_some_and(|u| u.guest)
    }

    /// The same for a guest. What all of them accept is at most half of `files.quota`, and no
    /// more than `web.quota`, of which one guest has a quarter; or a single file more.
    fn fits_guest(&self, guest: &Handle, bytes: u64) -> Result<(), String> {
        let most = self.settings.web.quota.min(self.settings.files.quota / 2);
        let theirs = self.promised(|v| !v.unasked && self.is_guest(v.user));
        let his = self.promised(|v| !v.unasked && v.user.is(guest.as_str()));
        let within = |promised: u64, most| promised == 0 || promised.saturating_add(bytes) <= most;
        let all = self.promised(|_| true).saturating_add(bytes) <= self.settings.files.quota;
        if all && within(theirs, most) && within(his, most / 4) {
            return Ok(());
        }
        Err(format!("it has {bytes} bytes, and others are on their way: accept it after them"))
    }

    /// Whether one more file may be offered to a guest. Where those for guests have all places,
    /// whoever has most gives up the oldest of which nothing came.
    fn place_for_guest(&mut self, now: Now, guest: &Handle, bytes: u64) -> Result<(), String> {
        let most = self.settings.web.quota;
        if bytes > most {
            return Err(format!("it has {bytes} bytes and web.quota there allows {most}"));
        }
        let all = self.dialects.link.iter().flat_map(Machine::files).filter(|v| !v.giver);
        // as the other side spells his name
        let mut of: Map<String, (usize, Option<u64>)> = Map::new();
        for view in all.filter(|v| self.is_guest(v.user)) {
            let (count, oldest) = of.entry(view.user.key()).or_default();
            *count += 1;
            let untouched = view.done == 0 && view.state != FileState::Runs;
            *oldest = oldest.or(untouched.then_some(view.no));
        }
        let his = of.get(&guest.key()).map_or(0, |(count, _)| *count);
        if his >= LINK_FILES_PER_GUEST {
            return Err(format!("{his} files are offered to him or on their way: later"));
        }
        if of.values().map(|(count, _)| count).sum::<usize>() < LINK_FILES_OF_GUESTS {
            return Ok(());
        }
        let richer = of.values().filter(|(count, _)| *count > his + 1);
        let goes = richer.filter_map(|(count, no)| no.map(|no| (*count, no))).max();
        let Some((_, no)) = goes else {
            return Err("too many files are on their way to guests there: later".into());
        };
        self.end_file(now, no, Outcome::Failed, "others wait there, and nothing of it came");
        Ok(())
    }

    /// All of it is on the disk: it is kept, said and told.
    pub(super) fn file_taken(&mut self, now: Now, no: u64, path: String, picture: &Picture) {
        let Some(about) = self.files.by_no.get(&no).map(|m| m.about.clone()) else { return };
        let Some(keep) = self.dialects.link.as_mut().and_then(|m| m.take_done(no)) else { return };
        self.tell_file(now, no, TransferState::Done, None);
        self.forget_file(no);
        let peer = self.know_linked(&about.far);
        let user = self.users.called(about.user.as_str());
        let reply = user.and_then(|id| self.users.get(id)?.answers().map(ToOwned::to_owned));
        let draft = Draft {
            id: about.entry,
            user: Some(about.user.clone()),
            conversation: about.far.handle.key(),
            from: about.far.handle.to_string(),
            direction: Direction::In,
            dialect: Dialect::Link,
            body: picture.body(path.clone(), about.size),
            autoreply: false,
            recipients: Vec::new(),
        };
        let entry = self.entry(now, draft);
        let what = What::Image {
            id: about.entry,
            conversation: peer.to_string(),
            from: self.linked_name(peer),
            to: about.user.to_string(),
            peer,
            dialect: Dialect::Link,
            direction: Direction::In,
            path: path.clone(),
            size: about.size,
            format: picture.format.into(),
            width: picture.width,
            height: picture.height,
        };
        if self.settings.open_images && !matches!(picture.format, "unknown" | "folder") {
            self.actions.push_back(Action::Show { path, user: about.user.clone() });
        }
        let own = self.users.acting(None).ok();
        let changes = vec![Change::Put(Box::new(entry))];
        let Some(user) = user.or(own) else {
            return self.link_keeps(now, keep, None, changes);
        };
        let taken = Taken { user, to: about.user, peer, what, reply, offered: None, theirs: None };
        self.link_keeps(now, keep, Some(taken), changes);
    }
}
