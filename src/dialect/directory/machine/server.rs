//! The server: who logged in, from where, and when.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Machine, same};
use crate::dialect::bucket::Bucket;
use crate::dialect::directory::{
    ALL_ANSWERS_BURST, ALL_ANSWERS_MS, ANSWER_BURST, ANSWER_MS, EXPIRY_MS, MAX_PER_SOURCE,
    MAX_USERS, codec,
};
use crate::dialect::heard::Contact;
use crate::model::{Map, Millis, Net, SocketId};

/// Who is logged in.
#[derive(Default)]
pub(super) struct Logins {
    users: Map<String, Login>,
    /// How fast each address is answered.
    answers: Map<Ipv4Addr, Bucket>,
    /// How fast all of them together are.
    to_all: Option<Bucket>,
}

struct Login {
    at: SocketAddrV4,
    heard: Millis,
}

impl Logins {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.users.values().map(|login| login.heard + EXPIRY_MS).min()
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Whose place one more from this address takes.
    fn surplus(&self, from: Ipv4Addr) -> Option<String> {
        let here = || self.users.iter().filter(|(_, login)| *login.at.ip() == from);
        let oldest = |(name, login): (&String, &Login)| (login.heard, name.clone());
        if here().count() >= MAX_PER_SOURCE {
            return here().map(oldest).min().map(|(_, name)| name);
        }
        let full = self.users.len() >= MAX_USERS;
        full.then(|| self.users.iter().map(oldest).min().map(|(_, name)| name)).flatten()
    }

    fn may_answer(&mut self, now: Millis, ip: Ipv4Addr) -> bool {
        if self.answers.len() >= MAX_USERS && !self.answers.contains_key(&ip) {
            // whoever asked long ago has a full bucket anyway
            self.answers.retain(|_, bucket| bucket.wake_at() + 60_000 > now);
            if self.answers.len() >= MAX_USERS {
                return false;
            }
        }
        let bucket =
            self.answers.entry(ip).or_insert_with(|| Bucket::new(now, ANSWER_BURST, ANSWER_MS));
        let all = || Bucket::new(now, ALL_ANSWERS_BURST, ALL_ANSWERS_MS);
        bucket.take(now) && self.to_all.get_or_insert_with(all).take(now)
    }
}

impl Machine {
    pub(super) fn login(
        &mut self,
        now: Millis,
        socket: SocketId,
        from: SocketAddrV4,
        name: String,
    ) {
        let known = self.logins.users.get(&name).map(|login| login.at);
        let ours = self.users.values().any(|user| same(user, &name));
        match known {
            // a name is its bearer's as long as he is listed: the protocol knows no refusal
            Some(at) if at.ip() != from.ip() => {
                self.told
                    .complain(*from.ip(), &format!("{name} is logged in from {} already", at.ip()));
            }
            _ if ours => self.told.complain(*from.ip(), &format!("{name} is a user of ours")),
            known => {
                if known.is_none() {
                    if let Some(surplus) = self.logins.surplus(*from.ip()) {
                        self.log_off(&surplus, "others took the place");
                    }
                }
                self.logins.users.insert(name.clone(), Login { at: from, heard: now });
                let contact = |at| Contact { name: name.clone(), at };
                if known != Some(from) {
                    self.told.here(contact(from));
                    if let Some(old) = known {
                        self.told.gone(contact(old), "at another port now");
                    }
                }
            }
        }
        if self.logins.may_answer(now, *from.ip()) {
            let bytes = self.list_for(from, &name);
            self.told.net(Net::Send { socket, to: from, bytes });
        }
    }

    /// Everyone, as the asker reaches them: himself, ours, then who was heard last.
    fn list_for(&self, asker: SocketAddrV4, name: &str) -> Vec<u8> {
        let own = SocketAddrV4::new(self.lan.address_towards(*asker.ip()), self.setup.port);
        let seen = |at: SocketAddrV4| match at.ip().is_loopback() {
            true => SocketAddrV4::new(*own.ip(), at.port()),
            false => at,
        };
        let mut others: Vec<(&String, &Login)> =
            self.logins.users.iter().filter(|(n, _)| *n != name).collect();
        others.sort_by_key(|(_, login)| std::cmp::Reverse(login.heard));
        let himself = self.logins.users.get_key_value(name).into_iter();
        let entries = himself.map(|(n, login)| (n.as_str(), seen(login.at)));
        let ours = self.users.values().map(|n| (n.as_str(), own));
        let others = others.into_iter().map(|(n, login)| (n.as_str(), seen(login.at)));
        codec::list(entries.chain(ours).chain(others))
    }

    pub(super) fn logout(&mut self, now: Millis, socket: SocketId, from: SocketAddrV4, name: &str) {
        match self.logins.users.get(name) {
            Some(login) if login.at.ip() == from.ip() => self.log_off(name, "logged out"),
            Some(_) => {
                return self.told.complain(*from.ip(), &format!("it is not the one who is {name}"));
            }
            // its answer may have been lost: it waits for one
            None => {}
        }
        if self.logins.may_answer(now, *from.ip()) {
            let bytes = codec::LOGGED_OUT.to_vec();
            self.told.net(Net::Send { socket, to: from, bytes });
        }
    }

    pub(super) fn expire(&mut self, now: Millis) {
        let late = |(name, login): (&String, &Login)| {
            (login.heard + EXPIRY_MS <= now).then(|| name.clone())
        };
        for name in self.logins.users.iter().filter_map(late).collect::<Vec<_>>() {
            self.log_off(&name, "not heard of for long");
        }
    }

    fn log_off(&mut self, name: &str, why: &str) {
        if let Some(login) = self.logins.users.remove(name) {
            self.told.gone(Contact { name: name.into(), at: login.at }, why);
        }
    }
}
