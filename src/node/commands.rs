//! What people and programs ask of the node: one arm per command.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::delivery::{Target, local_peer};
use super::foreign::{Foreigner, foreign_route};
use super::io::{Action, FileId, FileOp, Ticket};
use super::outgoing::Outgoing;
use super::users::User;
use super::{Node, config_rows};
use crate::command::{Command, LOBBY};
use crate::config::{self, Settings};
use crate::model::history::Known;
use crate::model::limits::{MAX_AUTOREPLY, MAX_BLOCKED, MAX_RECIPIENTS};
use crate::model::{
    Answer, Dialect, Handle, LinkView, Now, PeerId, PeerView, Presence, Refusal, RouteView, Status,
    Trust, UserId, What,
};

type Answered = Result<Answer, Refusal>;

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
                Command::SendFile { to, path, .. } => {
                    return self.send_file(ticket, id, &to, path, given);
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
            Command::AddUser { handle } => self.add_user(now, &handle),
            Command::RemoveUser { handle } => self.remove_user(now, &handle),
            Command::Config { key, value } => self.config(now, key, value),
            Command::SetForm { handle, form } => self.set_form(&handle, form),
            Command::Verify { handle } => self.verify(&handle),
            Command::Trust { handle } => self.trust(now, &handle),
            Command::Shared {} => Ok(Answer::Shared(self.shared())),
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

    fn status(&self, now: Now) -> Status {
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
            dialects: self.dialect_views(),
            links: self.links.iter().map(link).collect(),
            peers: u32::try_from(here + alone).unwrap_or(u32::MAX),
            fingerprint: self.fingerprint(),
            imagepath: self.settings.imagepath.display().to_string(),
            ..self.about.clone()
        }
    }

    fn who(&self, asking: UserId, gone: bool) -> Vec<PeerView> {
        let mut found: Vec<PeerView> = self
            .roster
            .all()
            .filter(|p| (gone || p.is_here()) && self.linked_twin(p).is_none())
            .map(|p| self.peer_view(p))
            .collect();
        found.extend(self.linked_views(gone));
        let local = self.users.iter().filter(|(id, u)| *id != asking && u.joined);
        found.extend(local.map(|(id, user)| local_view(id, user)));
        found.extend(self.foreign_views());
        if gone {
            let absent = |k: &&Known| {
                self.roster.called(k.handle.as_str()).next().is_none()
                    && self.linked.called(k.handle.as_str()).next().is_none()
            };
            found.extend(self.people.all().filter(absent).map(|k| self.known_view(k)));
        }
        found.sort_by_cached_key(|p| (p.presence == Presence::Gone, p.handle.to_lowercase()));
        found
    }

    fn known_view(&self, known: &Known) -> PeerView {
        let place: SocketAddrV4 =
            known.address.parse().unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let (address, port) = (place.ip().to_string(), place.port());
        let route =
            RouteView { dialect: known.dialect, address: address.clone(), port, form: None };
        PeerView {
            id: known.peer,
            handle: known.handle.to_string(),
            name: known.handle.to_string(),
            dialect: vec![known.dialect],
            address,
            port,
            routes: vec![route],
            presence: Presence::Gone,
            trust: Trust::Plain,
            last_heard: None,
            blocked: self.is_blocked(known.handle.as_str()),
        }
    }

    fn peer_view(&self, peer: &super::roster::Peer) -> PeerView {
        let routes = self.routes_of(peer);
        let mut dialect: Vec<Dialect> = routes.iter().map(|r| r.dialect).collect();
        dialect.dedup();
        PeerView {
            id: peer.id,
            handle: peer.handle.to_string(),
            name: self.name_of(peer.id),
            dialect,
            address: peer.route().addr.ip().to_string(),
            port: peer.route().addr.port(),
            routes,
            presence: peer.presence,
            trust: Trust::Plain,
            last_heard: peer.heard.map(|(_, wall)| wall),
            blocked: self.is_blocked(peer.handle.as_str()),
        }
    }

    /// All plain ways to a peer of the roster.
    pub(super) fn routes_of(&self, peer: &super::roster::Peer) -> Vec<RouteView> {
        let form = |r: &super::roster::Route| {
            self.slcp.as_ref().and_then(|m| m.form_name(r.addr)).map(ToOwned::to_owned)
        };
        let route = |r: &super::roster::Route| RouteView {
            dialect: r.dialect,
            address: r.addr.ip().to_string(),
            port: r.addr.port(),
            form: form(r),
        };
        let mut routes: Vec<RouteView> = peer.routes.iter().map(route).collect();
        routes.extend(self.twins_of(peer).map(foreign_route));
        routes
    }

    fn join(&mut self, now: Now, id: UserId) -> Answered {
        self.claim_until = None;
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
        let lobby = to.iter().any(|t| t == LOBBY);
        let targets = &self.targets(user, to)?;
        if !lobby {
            self.no_private_chat(targets)?;
        }
        let ticket = Some(ticket);
        self.text_out(now, Outgoing { ticket, user, targets, lobby, text, autoreply: false })
    }

    fn send_file(
        &mut self,
        ticket: Ticket,
        id: UserId,
        to: &[String],
        path: String,
        given: Option<FileId>,
    ) {
        let lobby = to.iter().any(|t| t == LOBBY);
        let targets = self.must_be_joined(id).and_then(|()| self.targets(id, to));
        match targets.and_then(|targets| self.take_images(targets, lobby)) {
            Ok(targets) => {
                self.image_out(ticket, id, (targets, lobby), path, given);
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
        match targets.iter().find_map(foreign) {
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
                Ok(to)
            }
        }
    }

    fn must_be_joined(&self, id: UserId) -> Result<(), Refusal> {
        match self.users.get(id) {
            Some(user) if !user.joined => {
                Err(Refusal::NotJoined { handle: user.handle.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whom these names mean; `#lobby` is everyone here, save whom we silenced.
    fn targets(&self, asking: UserId, to: &[String]) -> Result<Vec<Target>, Refusal> {
        if to.len() > MAX_RECIPIENTS {
            let limit = MAX_RECIPIENTS as u64;
            return Err(Refusal::TooMany { what: "recipients".into(), limit });
        }
        if to.is_empty() {
            return Err(Refusal::bad("the recipient", "nobody", "a handle, as WHO lists them"));
        }
        let mut targets = Vec::new();
        for name in to {
            if name == LOBBY {
                let peers = self.roster.here().filter(|p| !self.is_blocked(p.handle.as_str()));
                let peers = peers.filter(|p| p.route().addr.port() != 0);
                let peers = peers.filter(|p| self.linked_twin(p).is_none());
                let linked = self.linked.here();
                let linked = linked.filter(|l| !self.is_blocked(l.far.handle.as_str()));
                targets.extend(linked.map(|l| Target::Linked(l.id)));
                // whoever hears it in a shared chat does not get it twice
                let peers = peers.filter(|p| !self.twins_of(p).any(|f| f.session));
                targets.extend(peers.map(|p| Target::Peer(p.id)));
                let foreign = self.foreigners.all();
                let foreign = foreign.filter(|f| !self.is_blocked(f.handle.as_str()));
                let heard = foreign.filter(|f| f.session || self.twin(f).is_none());
                targets.extend(heard.map(|f| Target::Foreign(f.id)));
                let locals = self.users.iter().filter(|(id, u)| *id != asking && u.joined);
                targets.extend(locals.map(|(id, _)| Target::Local(id)));
            } else {
                targets.push(self.resolve(name)?);
            }
        }
        let mut once = HashSet::with_capacity(targets.len());
        targets.retain(|target| once.insert(*target));
        Ok(targets)
    }

    /// Someone known of old, by his handle and perhaps where he was.
    fn absent(&self, handle: &str, place: &str) -> Option<Target> {
        let known = self.people.called(handle)?;
        let fits = place.is_empty()
            || place.eq_ignore_ascii_case(known.dialect.name())
            || place == known.address
            || known.address.rsplit_once(':').is_some_and(|(ip, _)| ip == place);
        fits.then_some(Target::Absent(known.peer))
    }

    /// Whom one name means: a handle, `handle@dialect`, `handle@address`, or a peer's id.
    pub(super) fn resolve(&self, name: &str) -> Result<Target, Refusal> {
        if let Ok(id) = name.parse::<PeerId>() {
            if self.linked.get(id).is_some() {
                return Ok(Target::Linked(id));
            }
            if let Some(peer) = self.roster.get(id) {
                return Ok(self.linked_twin(peer).map_or(Target::Peer(id), Target::Linked));
            }
            if self.foreigners.get(id).is_some() {
                return Ok(Target::Foreign(id));
            }
            if self.people.get(id).is_some() {
                return Ok(Target::Absent(id));
            }
        }
        let (handle, place) = name.rsplit_once('@').unwrap_or((name, ""));
        let fits = |p: &&super::roster::Peer| {
            place.is_empty()
                || p.routes.iter().any(|r| {
                    place.eq_ignore_ascii_case(r.dialect.name())
                        || place == r.addr.to_string()
                        || place.parse::<Ipv4Addr>().is_ok_and(|ip| ip == *r.addr.ip())
                })
        };
        let all: Vec<&super::roster::Peer> = self.roster.called(handle).filter(fits).collect();
        let here: Vec<&&super::roster::Peer> = all.iter().filter(|p| p.is_here()).collect();
        let local = self
            .users
            .called(handle)
            .filter(|_| place.is_empty() || place.eq_ignore_ascii_case(Dialect::Local.name()))
            .filter(|id| self.users.get(*id).is_some_and(|u| u.joined));
        // a handle that is a linked peer's is never another's, here or not
        if let Some(id) = self.linked_meant(handle, place) {
            return match local {
                None => Ok(Target::Linked(id)),
                Some(_) => {
                    let choices = vec![self.linked_name(id), format!("{handle}@local")];
                    Err(Refusal::Ambiguous { name: name.to_owned(), choices })
                }
            };
        }
        let foreign = self.foreign_called(handle, place);
        match (here.as_slice(), local) {
            (here, local) if !foreign.is_empty() => match (here, local, foreign.as_slice()) {
                ([], None, [one]) => Ok(Target::Foreign(one.id)),
                _ => {
                    let mut choices: Vec<String> =
                        here.iter().map(|p| self.name_of(p.id)).collect();
                    choices.extend(foreign.iter().map(|f| self.foreign_name(f)));
                    choices.extend(local.map(|_| format!("{handle}@local")));
                    Err(Refusal::Ambiguous { name: name.to_owned(), choices })
                }
            },
            ([], Some(id)) => Ok(Target::Local(id)),
            ([peer], None) => Ok(Target::Peer(peer.id)),
            ([], None) => {
                let last = all.iter().max_by_key(|p| p.gone_at).map(|p| Target::Peer(p.id));
                last.or_else(|| self.absent(handle, place))
                    .ok_or_else(|| Refusal::NoSuchPeer { name: config_rows::shown(name) })
            }
            (several, local) => {
                let mut choices: Vec<String> = several.iter().map(|p| self.name_of(p.id)).collect();
                choices.extend(local.map(|_| format!("{handle}@local")));
                Err(Refusal::Ambiguous { name: name.to_owned(), choices })
            }
        }
    }

    /// Those that a handle, or `handle@place`, means who are nobody of the roster.
    fn foreign_called(&self, handle: &str, place: &str) -> Vec<&Foreigner> {
        let fits = |f: &&Foreigner| {
            let at = f.contact.at;
            match place {
                "" => self.twin(f).is_none(),
                place if place.eq_ignore_ascii_case(f.dialect.name()) => true,
                place => {
                    let here = place == at.to_string() || place == at.ip().to_string();
                    here && self.twin(f).is_none()
                }
            }
        };
        self.foreigners.called(handle).filter(fits).collect()
    }

    fn set_presence(&mut self, now: Now, id: UserId, away: bool, text: Option<String>) -> Answered {
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
        Ok(Answer::Done)
    }

    fn set_handle(&mut self, now: Now, id: UserId, wanted: &str) -> Answered {
        let handle = parse_handle(wanted)?;
        if self.is_taken(&handle, Some(id)) {
            let free = self.free_handle_for(&handle, Some(id));
            return Err(Refusal::HandleTaken { handle: handle.to_string(), free });
        }
        self.claim_until = None;
        if let Some(user) = self.users.get_mut(id) {
            let old = std::mem::replace(&mut user.handle, handle.clone());
            user.chosen = false;
            self.renamed_user(now, old, &handle);
        }
        self.tell_slcp_of(now, id);
        self.changed_setting(now, id, "handle", handle.as_str());
        Ok(Answer::Handle(handle))
    }

    fn set_autoreply(&mut self, now: Now, id: UserId, text: String) -> Answered {
        fits_autoreply(&text)?;
        if let Some(user) = self.users.get_mut(id) {
            user.autoreply.clone_from(&text);
        }
        self.changed_setting(now, id, "autoreply", &text);
        Ok(Answer::Done)
    }

    /// Tells that a user's setting changed, and keeps it if it is the first user's.
    fn changed_setting(&mut self, now: Now, id: UserId, key: &str, value: &str) {
        let handle = self.users.get(id).map(|u| u.handle.clone());
        let what = What::Config { key: key.into(), value: value.into() };
        self.tell(now, handle, what);
        if self.users.acting(None) == Ok(id) {
            if let Some(row) = config_rows::find(key) {
                let _ = row.set(&mut self.settings, value); // it was checked before
            }
            self.kept.set.insert(key.into(), value.into());
            self.keep();
        }
    }

    fn keep(&mut self) {
        self.actions.push_back(Action::Keep(Box::new(self.kept.clone())));
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

    /// The handle of whom a name means; somebody who is not here can be blocked too.
    fn handle_meant(&self, name: &str) -> Result<Handle, Refusal> {
        match self.resolve(name) {
            Ok(Target::Peer(id)) => match self.roster.get(id) {
                Some(peer) => Ok(peer.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Absent(id)) => match self.people.get(id) {
                Some(known) => Ok(known.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Linked(id)) => match self.linked.get(id) {
                Some(linked) => Ok(linked.far.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Foreign(id)) => match self.foreigners.get(id) {
                Some(foreigner) => Ok(foreigner.handle.clone()),
                None => parse_handle(name),
            },
            Ok(Target::Local(_)) => {
                Err(Refusal::bad("BLOCK", name, "somebody else than this node's own users"))
            }
            // two who bear it: both are meant
            Err(Refusal::Ambiguous { .. } | Refusal::NoSuchPeer { .. }) => {
                parse_handle(name.rsplit_once('@').map_or(name, |(h, _)| h))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn add_user(&mut self, now: Now, wanted: &str) -> Answered {
        let handle = parse_handle(wanted)?;
        if self.is_taken(&handle, None) {
            let free = self.free_handle(&handle);
            return Err(Refusal::HandleTaken { handle: handle.to_string(), free });
        }
        let settings = config::User::default();
        let mut user = User::from_settings(&settings, handle.clone());
        (user.joined, user.guest, user.chosen) = (true, true, false);
        user.since = self.keeping.last_order();
        let id = self.users.add(user)?;
        self.tell_slcp_of(now, id);
        Ok(Answer::Handle(handle))
    }

    fn remove_user(&mut self, now: Now, handle: &str) -> Answered {
        let id = self.users.acting(Some(handle))?;
        if self.users.acting(None) == Ok(id) {
            let what = "the box's own user stays: LEAVE takes it out of the chat";
            return Err(Refusal::Denied { what: what.into() });
        }
        let known = self.farewells();
        let gone = self.users.get(id).map(|u| u.handle.clone());
        let why = "its sender is no user of this node now";
        self.cancel_waiting(now, why, |item| Some(&item.user) == gone.as_ref());
        self.user_removed(now, id);
        self.slcp_do(|m| m.remove_user(id, &known));
        self.users.remove(id);
        self.tell_dialects_of_us(now);
        self.answered.back(id);
        Ok(Answer::Done)
    }

    fn config(&mut self, now: Now, key: Option<String>, value: Option<String>) -> Answered {
        let Some(key) = key else {
            return Ok(Answer::Config(config_rows::view(&self.settings)));
        };
        let row = config_rows::find(&key).ok_or_else(|| config_rows::unknown(&key))?;
        let Some(value) = value else {
            return Ok(self.shown(row));
        };
        if !row.live {
            let what = format!("{} cannot change while the node runs: set it in the file", row.key);
            return Err(Refusal::Denied { what });
        }
        let first = self.users.acting(None)?;
        match row.key {
            "handle" => {
                self.set_handle(now, first, &value)?;
                return Ok(self.shown(row));
            }
            "autoreply" => {
                self.set_autoreply(now, first, value)?;
                return Ok(self.shown(row));
            }
            _ => {}
        }
        let mut changed = self.settings.clone();
        row.set(&mut changed, &value)?;
        if row.key == "inactive" {
            let away = changed.users.first().is_some_and(|u| u.inactive);
            self.set_presence(now, first, away, None)?;
            return Ok(self.shown(row));
        }
        self.apply(now, changed);
        let value = row.get(&self.settings);
        self.kept.set.insert(row.key.into(), value.clone());
        self.keep();
        self.tell(now, None, What::Config { key: row.key.into(), value });
        Ok(self.shown(row))
    }

    fn shown(&self, row: &config_rows::Row) -> Answer {
        Answer::Config(vec![row.view(&self.settings)])
    }

    /// Takes over settings that may change at run time.
    fn apply(&mut self, now: Now, settings: Settings) {
        let announce = u64::from(settings.slcp.announce) * 1_000;
        let broadcast = settings.slcp.broadcast.clone();
        self.slcp_do(|m| m.set_live(broadcast, announce));
        self.roster.set_announce(announce);
        self.settings = settings;
        self.switch_dialects(now);
        let keep = self.outbox_keep();
        self.outbox.reckon(keep);
        self.set_links(now, self.all_links.clone());
    }

    /// The files were read again: what may change does, what may not is said.
    pub(super) fn reload(&mut self, now: Now, new: Settings) {
        let Ok(first) = self.users.acting(None) else { return };
        let mut next = self.settings.clone();
        for row in config_rows::rows() {
            let (old, value) = (row.get(&self.settings), row.get(&new));
            if old == value {
                continue;
            }
            let answer = match row.key {
                _ if !row.live => {
                    let (old, new) = (config_rows::shown(&old), config_rows::shown(&value));
                    let text = format!(
                        "{} is {old}; the file says {new}, which holds after the next start",
                        row.key
                    );
                    self.trouble(now, text);
                    continue;
                }
                "handle" => self.set_handle(now, first, &value),
                "autoreply" => self.set_autoreply(now, first, value),
                "inactive" => {
                    let away = new.users.first().is_some_and(|u| u.inactive);
                    self.set_presence(now, first, away, None)
                }
                _ => {
                    let set = row.set(&mut next, &value);
                    self.tell(now, None, What::Config { key: row.key.into(), value });
                    set.map(|()| Answer::Done)
                }
            };
            if let Err(refusal) = answer {
                self.trouble(now, format!("{}: {refusal}", row.key));
            }
        }
        if new.users.get(1..) != self.settings.users.get(1..) {
            let text = "[[users]] changed: that holds after the next start".into();
            self.trouble(now, text);
        }
        next.users.clone_from(&self.settings.users);
        self.apply(now, next);
    }

    fn set_form(&mut self, name: &str, form: Option<String>) -> Answered {
        let Target::Peer(id) = self.resolve(name)? else {
            return Err(Refusal::bad("FORM", name, "a peer, not a user of this node"));
        };
        let Some(peer) = self.roster.get(id) else { return Ok(Answer::Done) };
        let (addr, key) = (peer.route().addr, peer.handle.key());
        let mut known = true;
        self.slcp_do(|m| known = m.set_form(addr, form.as_deref()));
        if !known {
            let names: Vec<&str> = crate::dialect::slcp::FORMS.iter().map(|f| f.name).collect();
            let found = form.unwrap_or_default();
            return Err(Refusal::bad("FORM", found, format!("one of {}", names.join(", "))));
        }
        match form {
            Some(form) => self.kept.forms.insert(key, form),
            None => self.kept.forms.remove(&key),
        };
        self.keep();
        Ok(Answer::Done)
    }
}

fn parse_handle(text: &str) -> Result<Handle, Refusal> {
    Handle::try_from(text.trim()).map_err(|bad| Refusal::bad("handle", text, bad.to_string()))
}

fn fits_autoreply(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_AUTOREPLY {
        return Err(Refusal::TooLong { bytes: text.len() as u64, limit: MAX_AUTOREPLY as u64 });
    }
    Ok(())
}

fn local_view(id: UserId, user: &User) -> PeerView {
    let (address, port) = (Ipv4Addr::LOCALHOST.to_string(), user.port.unwrap_or_default());
    let route = RouteView { dialect: Dialect::Local, address: address.clone(), port, form: None };
    PeerView {
        id: local_peer(id),
        handle: user.handle.to_string(),
        name: user.handle.to_string(),
        dialect: vec![Dialect::Local],
        address,
        port,
        routes: vec![route],
        presence: if user.away { Presence::Away } else { Presence::Online },
        trust: Trust::Local,
        last_heard: None,
        blocked: false,
    }
}
