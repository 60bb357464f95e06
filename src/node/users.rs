//! The node's own users: the box's first, others from the config, guests added at run time.

use std::net::Ipv4Addr;

use crate::config;
use crate::model::answer::UserView;
use crate::model::limits::MAX_USERS;
use crate::model::{Handle, Map, Millis, PeerId, Refusal, UserId};

/// A local user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its handle.
    pub handle: Handle,
    /// Whether it is in the chat.
    pub joined: bool,
    /// Whether it is away.
    pub away: bool,
    /// What is answered while it is away; empty for nothing.
    pub autoreply: String,
    /// What is answered this time instead, as given with AWAY.
    pub away_text: Option<String>,
    /// The port it must have, if any.
    pub wanted_port: Option<u16>,
    /// A port of its own for images (program 001).
    pub image_port: Option<u16>,
    /// Added at run time.
    pub guest: bool,
    /// Its handle was chosen by the node, not by a person: it makes way for a namesake.
    pub chosen: bool,
    /// Its chat port, once open.
    pub port: Option<u16>,
    /// What is kept up to this order is not its to read: it came later.
    pub since: u64,
}

impl User {
    /// As its settings have it.
    pub fn from_settings(settings: &config::User, handle: Handle) -> User {
        User {
            handle,
            joined: false,
            away: settings.inactive,
            autoreply: settings.autoreply.clone(),
            away_text: None,
            wanted_port: settings.port,
            image_port: settings.image_port,
            guest: false,
            chosen: settings.handle.is_none(),
            port: None,
            since: 0,
        }
    }

    /// What is answered for it now, if anything.
    pub fn answers(&self) -> Option<&str> {
        let text = self.away_text.as_deref().unwrap_or(&self.autoreply);
        (self.away && !text.is_empty()).then_some(text)
    }

    /// As people and programs see it.
    pub fn view(&self) -> UserView {
        UserView {
            handle: self.handle.clone(),
            port: self.port,
            joined: self.joined,
            away: self.away,
            autoreply: self.autoreply.clone(),
            guest: self.guest,
            since: self.since,
        }
    }
}

/// The table of local users.
#[derive(Default)]
pub struct Users {
    by_id: Map<UserId, User>,
    next: u32,
}

impl Users {
    /// Adds one.
    ///
    /// # Errors
    /// The table is full.
    pub fn add(&mut self, user: User) -> Result<UserId, Refusal> {
        if self.by_id.len() >= MAX_USERS {
            return Err(Refusal::TooMany { what: "local users".into(), limit: MAX_USERS as u64 });
        }
        let id = UserId(self.next);
        self.next += 1;
        self.by_id.insert(id, user);
        Ok(id)
    }

    /// Removes one.
    pub fn remove(&mut self, id: UserId) -> Option<User> {
        self.by_id.remove(&id)
    }

    /// One by id.
    pub fn get(&self, id: UserId) -> Option<&User> {
        self.by_id.get(&id)
    }

    /// One by id, to change.
    pub fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.by_id.get_mut(&id)
    }

    /// All, the first first.
    pub fn iter(&self) -> impl Iterator<Item = (UserId, &User)> {
        self.by_id.iter().map(|(id, user)| (*id, user))
    }

    /// All ids.
    pub fn ids(&self) -> Vec<UserId> {
        self.by_id.keys().copied().collect()
    }

    /// The one of this handle.
    pub fn called(&self, handle: &str) -> Option<UserId> {
        self.iter().find(|(_, u)| u.handle.is(handle)).map(|(id, _)| id)
    }

    /// Who acts: the one named, else the first.
    ///
    /// # Errors
    /// Nobody here bears that handle.
    pub fn acting(&self, named: Option<&str>) -> Result<UserId, Refusal> {
        match named {
            Some(handle) => {
                self.called(handle).ok_or_else(|| Refusal::NoSuchUser { handle: handle.to_owned() })
            }
            None => self
                .by_id
                .keys()
                .next()
                .copied()
                .ok_or_else(|| Refusal::Failed { reason: "this node has no user".into() }),
        }
    }
}

/// Who was answered automatically, and when: once per peer and period, so that two boxes whose
/// people are away do not talk for ever.
#[derive(Default)]
pub struct Answered {
    last: Map<(UserId, PeerId), (Millis, Ipv4Addr)>,
}

/// An autoreply goes to one peer once in so long.
pub const AUTOREPLY_MS: Millis = 10 * 60 * 1_000;
/// Autoreplies to one host in that time: one host can pretend to be many.
pub const MAX_AUTOREPLIES_PER_HOST: usize = 8;
/// Peers whose last autoreply is remembered.
pub const MAX_ANSWERED: usize = 1_024;

impl Answered {
    /// Whether this peer at this host may be answered now; if so, it is noted.
    pub fn allow(&mut self, now: Millis, user: UserId, peer: PeerId, host: Ipv4Addr) -> bool {
        self.last.retain(|_, (at, _)| *at + AUTOREPLY_MS > now);
        let of_host =
            |((u, _), (_, h)): &(&(UserId, PeerId), &(Millis, Ipv4Addr))| *u == user && *h == host;
        if self.last.contains_key(&(user, peer))
            || self.last.len() >= MAX_ANSWERED
            || self.last.iter().filter(of_host).count() >= MAX_AUTOREPLIES_PER_HOST
        {
            return false;
        }
        self.last.insert((user, peer), (now, host));
        true
    }

    /// The user came back: the next absence answers anew.
    pub fn back(&mut self, user: UserId) {
        self.last.retain(|(u, _), _| *u != user);
    }
}
