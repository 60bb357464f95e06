//! Who is believed to be who.
//!
//! The first key that says hello with a handle has it for good (trust on first use); another
//! key with that handle is refused and told of, until the operator accepts it. Handles of guests
//! are not pinned, and cannot be ones that are. Nothing that comes from the network frees a pin.

use std::net::{Ipv4Addr, SocketAddr};

use super::super::frame::{Content, User};
use super::super::noise::{Fingerprint, Key, short_code};
use super::super::wire::{BadWire, Reader, Writer};
use super::super::words::{Far, Heard, Row};
use super::{Machine, Neighbour};
use crate::model::limits::{LINK_KNOWN, LINK_KNOWN_BY_NETWORK, MAX_USERS};
use crate::model::{Handle, Millis};

/// Claims of pinned handles that wait for the operator.
pub const MAX_CLAIMS: usize = 64;

/// What VERIFY shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The key that is pinned to the handle.
    pub fingerprint: Fingerprint,
    /// What both boxes show if they have each other's key.
    pub code: String,
    /// It was compared before.
    pub verified: bool,
    /// Another key that claims the handle, with the code that it would have.
    pub claim: Option<(Fingerprint, String)>,
}

/// What TRUST did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// The pinned key counts as compared.
    Verified(Fingerprint),
    /// Another key has the handle now.
    Moved {
        /// It.
        to: Fingerprint,
        /// The key that had it.
        from: Fingerprint,
    },
    /// Nothing: a key claims the handle that nobody was shown, and might be an impostor's.
    Unseen,
}

/// Why a key is not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotForget {
    /// No key is known for that handle.
    Unknown,
    /// Its box is here: it would be known again at once.
    Here,
}

impl Machine {
    /// All handles that are pinned, with the keys that have them.
    pub fn pins(&self) -> impl Iterator<Item = &Far> {
        self.pins.values()
    }

    /// Whether the key was compared by people.
    pub fn is_verified(&self, of: Fingerprint) -> bool {
        self.neighbours.get(&of).is_some_and(|n| n.verified)
    }

    /// The key a handle is pinned to.
    pub fn owner(&self, handle: &Handle) -> Option<Fingerprint> {
        self.pins.get(&handle.key()).map(|far| far.of)
    }

    /// What two people compare to know that this is each other's box.
    pub fn code(&self, handle: &Handle) -> Option<Code> {
        let of = self.owner(handle).or_else(|| self.guest_of(handle))?;
        let n = self.neighbours.get(&of)?;
        let code = |of: &Fingerprint| {
            let key = self.neighbours.get(of)?.key?;
            Some(short_code(&self.key, &key))
        };
        let claim = self.claims.get(&handle.key()).map(|(of, _)| *of);
        Some(Code {
            fingerprint: of,
            code: code(&of)?,
            verified: n.verified,
            claim: claim.and_then(|c| code(&c).map(|code| (c, code))),
        })
    }

    fn guest_of(&self, handle: &Handle) -> Option<Fingerprint> {
        let has = |n: &Neighbour| n.users.iter().any(|u| u.handle.is(handle.as_str()));
        self.neighbours.iter().find(|(_, n)| has(n)).map(|(of, _)| *of)
    }

    /// The operator accepts the key that claims a handle, or, where none does, says that he
    /// compared the one that has it. A claim is accepted only if it is the one he saw (`seen`):
    /// it may have come, or changed, since. `None`: no key is known for it.
    pub fn trust(
        &mut self,
        now: Millis,
        handle: &Handle,
        seen: Option<Fingerprint>,
    ) -> Option<Trusted> {
        let from = self.owner(handle).or_else(|| self.guest_of(handle))?;
        if self.claims.get(&handle.key()).is_some_and(|(of, _)| Some(*of) != seen) {
            return Some(Trusted::Unseen);
        }
        let claim = self.claims.remove(&handle.key());
        let to = claim.as_ref().map_or(from, |(of, _)| *of);
        let mut rows = self.remember(to, true).unwrap_or_default();
        let n = self.neighbours.get_mut(&to)?;
        n.verified = true;
        rows.extend(box_row(to, n));
        if to == from {
            self.keep(rows);
            self.tell_again(now, to);
            return Some(Trusted::Verified(to));
        }
        self.pins.insert(handle.key(), Machine::far(to, handle));
        rows.push(pin_row(handle, to));
        // what waited for him goes to the key that is his now
        if let Some(old) = self.neighbours.get_mut(&from) {
            old.users.retain(|u| !u.handle.is(handle.as_str()));
            let (messages, gone) = old.out.take(from, true, |m| {
                // what is about files stays with the box that it was begun with
                matches!(m.content, Content::Text { .. }) && m.to.is(handle.as_str())
            });
            rows.extend(gone);
            for message in messages {
                let Some(n) = self.neighbours.get_mut(&to) else { break };
                let rng = &mut self.rng;
                if let Ok((seq, more)) = n.out.push(to, message, || rng.u64()) {
                    n.out.durable(seq, true);
                    rows.extend(more);
                }
            }
        }
        self.keep(rows);
        if let Some(stream) = self.neighbours.get(&to).and_then(|n| n.active) {
            self.pump(now, stream);
            let mut users = self.neighbours.get(&to).map(|n| n.users.clone()).unwrap_or_default();
            users.extend(claim.map(|(_, user)| user));
            self.users_came(now, to, users, None);
        }
        Some(Trusted::Moved { to, from })
    }

    fn tell_again(&mut self, now: Millis, of: Fingerprint) {
        let users = self.neighbours.get(&of).map(|n| n.users.clone()).unwrap_or_default();
        if let Some(n) = self.neighbours.get_mut(&of) {
            n.users.clear();
        }
        self.users_came(now, of, users, None);
    }

    /// Whether a box can be remembered for good.
    pub(super) fn may_remember(&self, of: Fingerprint, operator: bool) -> bool {
        let most = if operator { LINK_KNOWN } else { LINK_KNOWN_BY_NETWORK };
        self.neighbours.get(&of).is_some_and(|n| n.known)
            || self.neighbours.values().filter(|n| n.known).count() < most
    }

    /// Remembers a box for good; what is to be kept of it, `None` where no more can be known.
    pub(super) fn remember(&mut self, of: Fingerprint, operator: bool) -> Option<Vec<Row>> {
        if !self.may_remember(of, operator) {
            return None;
        }
        let n = self.neighbours.get_mut(&of)?;
        if std::mem::replace(&mut n.known, true) {
            return Some(Vec::new());
        }
        Some(box_row(of, n).into_iter().collect())
    }

    /// A box says who its users are.
    pub(super) fn users_came(
        &mut self,
        _now: Millis,
        of: Fingerprint,
        users: Vec<User>,
        addresses: Option<Vec<Ipv4Addr>>,
    ) {
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        let Some(at) = n.at else { return };
        let before = (n.v4.clone(), n.shown.clone());
        n.v4 = addresses.unwrap_or_else(|| n.v4.clone());
        // a claim alone would let anybody pass for who is met there in a plain dialect
        n.shown = n.v4.iter().filter(|ip| n.proven.contains(ip)).copied().collect();
        let (claimed, v4) = (n.v4.clone(), n.shown.clone());
        let moved = before != (claimed.clone(), v4.clone());
        let (mut believed, mut rows, mut refused) = (Vec::<User>::new(), Vec::new(), None);
        for user in users {
            if believed.iter().any(|u| u.handle.is(user.handle.as_str())) {
                continue;
            }
            match self.owner(&user.handle) {
                Some(pinned) if pinned != of => {
                    self.claimed(of, &user, pinned, at);
                    continue;
                }
                Some(_) => {}
                None if user.guest => {}
                None => match self.pin(of, &user.handle) {
                    Some(more) => rows.extend(more),
                    None => {
                        refused = refused.or(Some(user.handle));
                        continue;
                    }
                },
            }
            believed.push(user);
        }
        self.keep(rows);
        let full = self.pins.len() >= LINK_KNOWN_BY_NETWORK;
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        let said = std::mem::replace(&mut n.crowded, refused.is_some());
        if let Some(handle) = refused.filter(|_| !said) {
            let why = if full {
                format!(
                    "{LINK_KNOWN_BY_NETWORK} handles are remembered unasked: FORGET KEY * makes room"
                )
            } else {
                format!("{MAX_USERS} handles of its box are remembered")
            };
            self.complain(at, format!("{handle} is refused: {why}"));
        }
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        let verified = n.verified;
        let old = std::mem::replace(&mut n.users, believed.clone());
        for gone in &old {
            if !believed.iter().any(|u| u.handle == gone.handle) {
                let who = Machine::far(of, &gone.handle);
                self.heard(Heard::Gone { who, why: "left".into() });
            }
        }
        for user in believed.into_iter().filter(|u| moved || !old.contains(u)) {
            self.heard(Heard::Here {
                who: Machine::far(of, &user.handle),
                at,
                v4: v4.clone(),
                claimed: claimed.clone(),
                guest: user.guest,
                away: user.away.map(|text| crate::model::text::harmless(&text)),
                verified,
            });
        }
    }

    fn claimed(&mut self, of: Fingerprint, user: &User, pinned: Fingerprint, at: SocketAddr) {
        let key = user.handle.key();
        if self.claims.get(&key).is_some_and(|(by, _)| *by == of) {
            return;
        }
        if !self.claims.contains_key(&key) && self.claims.len() >= MAX_CLAIMS {
            return; // the first are told of; whoever makes so many wants to drown them
        }
        self.claims.insert(key, (of, user.clone()));
        self.heard(Heard::Changed { claim: Machine::far(of, &user.handle), pinned, at });
    }

    fn pin(&mut self, of: Fingerprint, handle: &Handle) -> Option<Vec<Row>> {
        let of_box = self.pins.values().filter(|p| p.of == of).count();
        if self.pins.len() >= LINK_KNOWN_BY_NETWORK || of_box >= MAX_USERS {
            return None;
        }
        let mut rows = self.remember(of, false)?;
        self.pins.insert(handle.key(), Machine::far(of, handle));
        rows.push(pin_row(handle, of));
        self.heard(Heard::Pinned(Machine::far(of, handle)));
        Some(rows)
    }

    /// Frees a handle of its key, for the operator alone: of a box that is not here. What is known
    /// of the box goes with its last handle; so does what waits for it, which the caller cancels
    /// before.
    ///
    /// # Errors
    /// There is no such handle, or its box is here.
    pub fn forget_key(&mut self, handle: &Handle) -> Result<Far, CannotForget> {
        let far = self.pins.get(&handle.key()).cloned().ok_or(CannotForget::Unknown)?;
        let of = far.of;
        if self.neighbours.get(&of).is_some_and(|n| !n.sessions.is_empty()) {
            return Err(CannotForget::Here);
        }
        self.pins.remove(&handle.key());
        self.claims.remove(&handle.key());
        let mut rows = vec![Row::delete(format!("pin/{}", handle.key()))];
        if !self.pins.values().any(|pin| pin.of == of) {
            if let Some(mut n) = self.neighbours.remove(&of) {
                rows.extend(n.out.take(of, true, |_| true).1);
            }
            rows.extend(["box", "in", "out"].map(|kind| Row::delete(format!("{kind}/{of}"))));
        }
        self.keep(rows);
        Ok(far)
    }

    /// Handles whose keys were never compared, that no message was exchanged with, and whose
    /// boxes are not here.
    pub fn idle_pins(&self) -> Vec<Handle> {
        let idle = |pin: &&Far| {
            self.neighbours.get(&pin.of).is_none_or(|n| {
                let talked = n.out.next() > 1 || n.come.got().1 > 0;
                !n.verified && !talked && n.sessions.is_empty()
            })
        };
        self.pins.values().filter(idle).map(|pin| pin.handle.clone()).collect()
    }

    /// All users of a box are gone.
    pub(super) fn gone(&mut self, of: Fingerprint, why: &str) {
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        n.gone_at = None;
        for user in std::mem::take(&mut n.users) {
            let who = Machine::far(of, &user.handle);
            self.heard(Heard::Gone { who, why: why.into() });
        }
    }
}

fn pin_row(handle: &Handle, of: Fingerprint) -> Row {
    let value = Writer::default().raw(&of.0).short(handle.as_str()).0;
    Row::put(format!("pin/{}", handle.key()), value)
}

pub(super) fn restore_pin(value: &[u8]) -> Result<Far, BadWire> {
    let mut from = Reader(value);
    Ok(Far { of: from.print()?, handle: from.handle()? })
}

fn box_row(of: Fingerprint, n: &Neighbour) -> Option<Row> {
    let value = Writer::default().raw(&n.key?.0).u8(u8::from(n.verified)).0;
    Some(Row::put(format!("box/{of}"), value))
}

pub(super) fn restore_box(n: &mut Neighbour, value: &[u8]) -> Result<(), BadWire> {
    let mut from = Reader(value);
    n.key = Some(Key(from.hash()?));
    n.verified = from.u8()? != 0;
    Ok(())
}
