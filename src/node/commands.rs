//! What people and programs ask of the node: one arm per command.

use std::net::Ipv4Addr;

use super::Node;
use super::delivery::{Target, local_peer};
use super::foreign::Foreigner;
use super::io::{Action, FileId, FileOp, Ticket};
use super::outgoing::Outgoing;
use super::rooms::is_room;
use super::users::User;
use crate::command::{Command, LOBBY, Parked};
use crate::config::{self};
use crate::model::limits::{MAX_AUTOREPLY, MAX_BLOCKED};
use crate::model::{Answer, Dialect, Handle, LinkView, Now, PeerId, Refusal, Status, UserId, What};

pub(super) type Answered = Result<Answer, Refusal>;

impl Node {
    pub(super) fn ask(
        &mut self,
        now: Now,
        ticket: Ticket,
        user: Option<&str>,
        command: Command,
        given: Option<FileId>,
    ) {
        let acting = self.users.acting(user);
        if let Some(file) = given {
            if acting.is_err() || !matches!(command, Command::SendFile { .. }) {
                self.actions.push_back(Action::File(file, FileOp::Close));
            }
        }
        let answer = match acting {
            Err(refusal) => Err(refusal),
            Ok(id) => match command {
                Command::SendFile { to, path, name, .. } => {
                    return self.send_file(ticket, id, &to, (path, name), given);
                }
                Command::Send { to, text } => match self.send(now, ticket, id, &to, text) {
                    Ok(()) => return, // answered once it is durable
                    Err(refusal) => Err(refusal),
                },
                command @ (Command::History { .. }
                | Command::Search { .. }
                | Command::Delete { .. }
                | Command::Export { .. }
                | Command::Import { .. }) => match self.recall(now, ticket, id, command) {
                    Ok(()) => return, // answered once it is found
                    Err(refusal) => Err(refusal),
                },
                command => self.act(now, id, command),
            },
        };
        self.answer(ticket, answer);
    }

    fn act(&mut self, now: Now, id: UserId, command: Command) -> Answered {
        match command {
            Command::Status {} => Ok(Answer::Status(Box::new(self.status(now)))),
            Command::Who { gone } => Ok(Answer::Who(self.who(id, gone))),
            Command::Join {} => self.join(now, id),
            Command::Leave {} => self.leave(now, id),
            Command::SetPresence { away, text } => self.set_presence(now, id, away, text),
            Command::SetHandle { handle } => self.set_handle(now, id, &handle),
            Command::SetAutoreply { text } => self.set_autoreply(now, id, text),
            Command::Block { handle } => self.block(&handle),
            Command::Unblock { handle } => self.unblock(&handle),
            Command::AddUser { handle, back } => self.add_user(now, &handle, back),
            Command::RemoveUser { handle, park } => self.remove_user(now, &handle, park),
            Command::Config { key, value } => self.config(now, key, value),
            Command::SetForm { handle, form } => self.set_form(&handle, form),
            Command::Verify { handle } => self.verify(&handle),
            Command::Trust { handle } => self.trust(now, &handle),
            Command::MarkRead { with } => self.mark_read(now, id, &with),
            Command::ForgetKey { handle } => self.forget_key(now, &handle),
            Command::RoomJoin { room } => {
                self.must_be_joined(id).and_then(|()| self.room_enter(now, id, &room, true))
            }
            Command::RoomLeave { room } => self.room_enter(now, id, &room, false),
            Command::Rooms {} => self.room_list(id, None),
            Command::RoomWho { room } => self.room_list(id, Some(&room)),
            Command::Chat { handle } => self.chat(now, id, &handle),
            Command::Accept { number } => self.decide_chat(now, id, number, true),
            Command::Refuse { number } => self.decide_chat(now, id, number, false),
            Command::Pause { number } => self.pause_file(now, id, number, true),
            Command::Resume { number } => self.pause_file(now, id, number, false),
            Command::Cancel { number } => self.cancel_file(now, id, number),
            Command::Close { handle } => self.close(now, id, handle.as_deref()),
            Command::PageSettings {} => Ok(self.pages()),
            Command::Shared {} => Ok(Answer::Shared(self.shared())),
            Command::Doctor {}
            | Command::Network {}
            | Command::Log { .. }
            | Command::Reboot {}
            | Command::PowerOff {}
            | Command::FactoryReset {}
            | Command::Update { .. }
            | Command::SetTime { .. }
            | Command::OfferTime { .. } => {
                // the process around the node answers these before it gets to hear of them
                Err(Refusal::Failed { reason: "nothing is known here of the machine".into() })
            }
            Command::FreeHandle { handle } => {
                let wanted = if handle.is_empty() {
                    self.fallback.clone()
                } else {
                    Handle::nearest(&handle)
                };
                Ok(Answer::Handle(self.free_handle_for(&wanted, Some(id))))
            }
            // `ask` took them: their answers come later
            Command::Send { .. }
            | Command::SendFile { .. }
            | Command::History { .. }
            | Command::Search { .. }
            | Command::Delete { .. }
            | Command::Export { .. }
            | Command::Import { .. } => Ok(Answer::Done),
        }
    }

    /// The node at a glance.
    pub fn status(&self, now: Now) -> Status {
        let alone = self.foreigners.all().filter(|f| self.twin(f).is_none()).count();
        let here = self.roster.here().filter(|p| self.linked_twin(p).is_none()).count()
            + self.linked.here().count();
        let link = |l: &crate::model::Link| LinkView {
            name: l.name.clone(),
            address: l.address.to_string(),
            broadcast: l.broadcast.map(|b| b.to_string()).unwrap_or_default(),
        };
        Status {
            epoch: format!("{:016x}", self.epoch),
            uptime: (now.mono - self.born.min(now.mono)) / 1_000,
            users: self.users.iter().map(|(_, u)| u.view()).collect(),
            blocked: self.kept.blocked.clone(),
            dialects: self.dialect_views(),
            links: self.links.iter().map(link).collect(),
            chats: self.chat_views(),
            transfers: self.transfer_views(),
            peers: u32::try_from(here + alone).unwrap_or(u32::MAX),
            fingerprint: self.fingerprint(),
            imagepath: self.settings.imagepath.display().to_string(),
            page: self.page_address(),
            ..self.about.clone()
        }
    }

    /// Where others on the LAN find the page, if it is served: `about` has its port.
    fn page_address(&self) -> String {
        let far = self.links.iter().find(|link| !link.address.is_loopback());
        match (self.about.page.as_str(), far.or(self.links.first())) {
            ("", _) | (_, None) => String::new(),
            ("80", Some(link)) => format!("http://{}/", link.address),
            (port, Some(link)) => format!("http://{}:{port}/", link.address),
        }
    }

    fn join(&mut self, now: Now, id: UserId) -> Answered {
        let Some(user) = self.users.get_mut(id) else { return Ok(Answer::Done) };
        user.joined = true;
        let handle = user.handle.clone();
        self.tell_slcp_of(now, id);
        self.outbox.touch_all();
        let namesakes = self.roster.called(handle.as_str()).filter(|p| p.is_here());
        let namesakes: Vec<PeerId> = namesakes.map(|p| p.id).collect();
        namesakes.into_iter().for_each(|peer| self.warn_taken(now, peer));
        Ok(Answer::Handle(handle))
    }

    fn leave(&mut self, now: Now, id: UserId) -> Answered {
        self.claim_until = None;
        if let Some(user) = self.users.get_mut(id) {
            user.joined = false;
        }
        self.tell_slcp_of(now, id);
        Ok(Answer::Done)
    }

    fn send(
        &mut self,
        now: Now,
        ticket: Ticket,
        user: UserId,
        to: &[String],
        text: String,
    ) -> Result<(), Refusal> {
        self.must_be_joined(user)?;
        if text.trim().is_empty() {
            return Err(Refusal::bad("the text", "nothing", "something to say"));
        }
        if to.iter().any(|t| is_room(t)) {
            return self.room_say(now, ticket, user, to, text);
        }
        let lobby = to.iter().any(|t| t == LOBBY);
        let targets = &self.targets(user, to)?;
        if !lobby {
            self.no_private_chat(targets)?;
            for target in targets {
                if let Target::Linked(peer) = target {
                    self.has_read(now, user, *peer);
                }
            }
        }
        let ticket = Some(ticket);
        self.text_out(now, Outgoing { ticket, user, targets, lobby, text, autoreply: false })
    }

    fn send_file(
        &mut self,
        ticket: Ticket,
        id: UserId,
        to: &[String],
        (path, name): (String, Option<String>),
        given: Option<FileId>,
    ) {
        let lobby = to.iter().any(|t| t == LOBBY);
        let text_only = match to.iter().find(|t| is_room(t)) {
            Some(room) => Err(Refusal::Failed { reason: format!("{room} takes texts only") }),
            None => Ok(()),
        };
        let targets = text_only.and_then(|()| self.must_be_joined(id));
        let targets = targets.and_then(|()| self.targets(id, to));
        match targets.and_then(|targets| self.take_images(targets, lobby)) {
            Ok(targets) => {
                let over_link = |t: &Target| match t {
                    Target::Linked(peer) => Some(*peer),
                    _ => None,
                };
                let linked: Vec<PeerId> = targets.iter().filter_map(over_link).collect();
                let mut rest = targets;
                rest.retain(|t| over_link(t).is_none());
                if linked.is_empty() {
                    return self.image_out(ticket, id, (rest, lobby), path, given, Vec::new());
                }
                self.offer_out(ticket, id, (linked, (rest, lobby)), (path, name), given);
            }
            Err(refusal) => {
                if let Some(file) = given {
                    self.actions.push_back(Action::File(file, FileOp::Close));
                }
                self.answer(ticket, Err(refusal));
            }
        }
    }

    /// Refuses a private text to somebody whose dialect has none.
    fn no_private_chat(&self, targets: &[Target]) -> Result<(), Refusal> {
        let foreign = |t: &Target| match t {
            Target::Foreign(id) => self.foreigners.get(*id),
            _ => None,
        };
        let shared = |f: &&Foreigner| f.dialect == Dialect::Hello;
        match targets.iter().filter_map(foreign).find(shared) {
            Some(f) => {
                let (who, dialect) = (&f.handle, f.dialect);
                Err(Refusal::Failed {
                    reason: format!(
                        "{who} is in the {dialect} chat, which has one chat for all and no \
                         private one: ALL writes there"
                    ),
                })
            }
            None => Ok(()),
        }
    }

    /// Those who can be sent an image: all who are named must.
    fn take_images(&self, mut to: Vec<Target>, lobby: bool) -> Result<Vec<Target>, Refusal> {
        let foreign = |t: &Target| match t {
            Target::Foreign(id) => self.foreigners.get(*id),
            _ => None,
        };
        match to.iter().find_map(foreign).filter(|_| !lobby) {
            Some(f) => Err(Refusal::Failed {
                reason: format!("{} is in the {} chat, which has no images", f.handle, f.dialect),
            }),
            None => {
                to.retain(|t| foreign(t).is_none());
                to.iter_mut().for_each(|t| *t = self.plainly(*t));
                Ok(to)
            }
        }
    }

    pub(super) fn must_be_joined(&self, id: UserId) -> Result<(), Refusal> {
        match self.users.get(id) {
            Some(user) if !user.joined => {
                Err(Refusal::NotJoined { handle: user.handle.to_string() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_presence(
        &mut self,
        now: Now,
        id: UserId,
        away: bool,
        text: Option<String>,
    ) -> Answered {
        if let Some(text) = &text {
            fits_autoreply(text)?;
        }
        let Some(user) = self.users.get_mut(id) else { return Ok(Answer::Done) };
        user.away = away;
        user.away_text = text.filter(|t| away && !t.trim().is_empty());
        let text = user.away_text.clone();
        if self.users.acting(None) == Ok(id) {
            self.kept.away = text;
        }
        self.tell_slcp_of(now, id);
        if !away {
            self.answered.back(id);
        }
        self.changed_setting(now, id, "inactive", if away { "on" } else { "off" });
        if let Some(user) = self.users.get(id).filter(|user| user.guest) {
            let (peer, dialect, handle) = (local_peer(id), Dialect::Local, user.handle.to_string());
            let what = match away {
                true => What::PeerAway { peer, handle, dialect },
                false => What::PeerBack { peer, handle, dialect },
            };
            self.tell(now, None, what);
        }
        Ok(Answer::Done)
    }

    pub(super) fn set_handle(&mut self, now: Now, id: UserId, wanted: &str) -> Answered {
        let handle = parse_handle(wanted)?;
        if self.is_taken(&handle, Some(id)) {
            let free = self.free_handle_for(&handle, Some(id));
            return Err(Refusal::HandleTaken { handle: handle.to_string(), free });
        }
        let claims = self.claim_until.is_some();
        if let Some(user) = self.users.get_mut(id) {
            let old = std::mem::replace(&mut user.handle, handle.clone());
            // one that was about to come in under the node's own choice comes in under this
            user.joined |= claims && user.chosen;
            user.chosen = false;
            let guest = user.guest && old != handle;
            self.renamed_user(now, old.clone(), &handle);
            if guest {
                let (peer, dialect) = (local_peer(id), Dialect::Local);
                let (handle, old) = (handle.to_string(), old.to_string());
                self.tell(now, None, What::PeerRenamed { peer, handle, old, dialect });
            }
        }
        self.tell_slcp_of(now, id);
        self.changed_setting(now, id, "handle", handle.as_str());
        Ok(Answer::Handle(handle))
    }

    pub(super) fn set_autoreply(&mut self, now: Now, id: UserId, text: String) -> Answered {
        fits_autoreply(&text)?;
        if let Some(user) = self.users.get_mut(id) {
            user.autoreply.clone_from(&text);
        }
        self.changed_setting(now, id, "autoreply", &text);
        Ok(Answer::Done)
    }

    pub(super) fn is_blocked(&self, handle: &str) -> bool {
        let key = handle.to_lowercase();
        self.kept.blocked.contains(&key)
    }

    fn block(&mut self, name: &str) -> Answered {
        let handle = self.handle_meant(name)?;
        if self.is_blocked(handle.as_str()) {
            return Ok(Answer::Done);
        }
        if self.kept.blocked.len() >= MAX_BLOCKED {
            let limit = MAX_BLOCKED as u64;
            return Err(Refusal::TooMany { what: "blocked handles".into(), limit });
        }
        self.kept.blocked.push(handle.key());
        self.keep();
        Ok(Answer::Done)
    }

    fn unblock(&mut self, name: &str) -> Answered {
        let key = name.rsplit_once('@').map_or(name, |(h, _)| h).to_lowercase();
        let before = self.kept.blocked.len();
        self.kept.blocked.retain(|b| *b != key);
        if self.kept.blocked.len() == before {
            return Err(Refusal::bad("UNBLOCK", name, "a handle that is blocked"));
        }
        self.keep();
        self.outbox.touch(&key);
        Ok(Answer::Done)
    }

    fn add_user(&mut self, now: Now, wanted: &str, back: Option<Parked>) -> Answered {
        let handle = parse_handle(wanted)?;
        if self.is_taken(&handle, None) {
            let free = self.free_handle(&handle);
            return Err(Refusal::HandleTaken { handle: handle.to_string(), free });
        }
        let settings = config::User::default();
        let mut user = User::from_settings(&settings, handle.clone());
        (user.joined, user.guest, user.chosen) = (true, true, false);
        user.since = back.as_ref().map_or_else(|| self.keeping.last_order(), |b| b.since);
        let id = self.users.add(user)?;
        if let Some(back) = back {
            self.renamed_user(now, back.name, &handle);
        }
        self.tell_slcp_of(now, id);
        self.guest_joined(now, id);
        Ok(Answer::Handle(handle))
    }

    /// A guest is one of those whom everyone here can write to: they are told, like of a peer.
    fn guest_joined(&mut self, now: Now, id: UserId) {
        let Some(user) = self.users.get(id) else { return };
        let what = What::PeerJoined {
            peer: local_peer(id),
            handle: user.handle.to_string(),
            dialect: Dialect::Local,
            address: Ipv4Addr::LOCALHOST.to_string(),
            port: user.port.unwrap_or_default(),
        };
        self.tell(now, None, what);
    }

    fn remove_user(&mut self, now: Now, handle: &str, park: Option<Handle>) -> Answered {
        let id = self.users.acting(Some(handle))?;
        if self.users.acting(None) == Ok(id) {
            let what = "the box's own user stays: LEAVE takes it out of the chat";
            return Err(Refusal::Denied { what: what.into() });
        }
        let known = self.farewells();
        let gone = self.users.get(id).map(|u| u.handle.clone());
        let why = "its sender is no user of this node now";
        self.cancel_waiting(now, why, |item| Some(&item.user) == gone.as_ref());
        self.cancel_linked(now, why, |w| Some(w.user) == gone.as_ref());
        self.user_removed(now, id);
        self.end_files_of(now, id);
        self.slcp_do(|m| m.remove_user(id, &known));
        let removed = self.users.remove(id);
        self.tell_dialects_of_us(now);
        self.answered.back(id);
        match (&removed, park, self.dialects.link.as_mut()) {
            (Some(user), Some(park), _) => {
                self.renamed_user(now, user.handle.clone(), &park);
            }
            (Some(user), None, Some(machine)) => machine.room_forget(now.mono, &user.handle),
            _ => {}
        }
        if let Some(user) = removed.filter(|user| user.guest) {
            let handle = user.handle.to_string();
            let (peer, dialect, reason) = (local_peer(id), Dialect::Local, "left".to_owned());
            self.tell(now, None, What::PeerLeft { peer, handle, dialect, reason });
        }
        Ok(Answer::Done)
    }
}

pub(super) fn parse_handle(text: &str) -> Result<Handle, Refusal> {
    Handle::try_from(text.trim()).map_err(|bad| Refusal::bad("handle", text, bad.expected()))
}

fn fits_autoreply(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_AUTOREPLY {
        return Err(Refusal::TooLong { bytes: text.len() as u64, limit: MAX_AUTOREPLY as u64 });
    }
    Ok(())
}
