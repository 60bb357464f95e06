//! Texts for people who are not here: they wait, and leave in their order when their handle is
//! heard again.
//!
//! A text leaves once. It leaves again only where it is known that nothing of it arrived. That it
//! leaves is durable before it does, so that a crash on the way never makes it leave twice
//! (docs/history.md).

use std::net::SocketAddrV4;

use super::Node;
use super::delivery::Fate;
use super::history::{Durable, Job, MAY_BE_LOST};
use super::roster::Peer;
use crate::model::history::{Body, Change, Entry};
use crate::model::limits::{MAX_OUTBOX, MAX_OUTBOX_PER_PEER};
use crate::model::{
    Delivery, EntryId, Handle, IoError, Map, Millis, Now, PeerId, Refusal, Set, Trouble, Wall,
};

/// Why most wait.
pub const NOT_HERE: &str = "not here";
/// Why it waits though its recipient is here.
pub const AFTER_OTHERS: &str = "after what waits for it already";
/// What did not arrive waits at least so long, and twice as long with each try …
pub const RETRY_MS: Millis = 2_000;
/// … up to so many times.
pub const MAX_DOUBLINGS: u32 = 8;
/// Texts that left and could come back as undelivered.
pub const MAX_RESENDABLE: usize = 256;

/// A text that waits, or left a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) entry: EntryId,
    pub(super) order: u64,
    /// Whose it is.
    pub(super) user: Handle,
    /// For whom, as the entry names it.
    pub(super) peer: PeerId,
    pub(super) handle: Handle,
    /// Where it was last reached.
    pub(super) addr: Option<SocketAddrV4>,
    /// Only at that host: so it was named while another bore the handle.
    pub(super) exact: bool,
    pub(super) text: String,
    /// When it began to wait, on this run's steady clock; may be before it.
    pub(super) since: i64,
    pub(super) at: Wall,
    pub(super) dated: bool,
    /// Why it waits.
    pub(super) reason: String,
    /// It is with the store.
    pub(super) kept: bool,
    /// Its entry is durable, or never will be: it may leave.
    pub(super) ready: bool,
    pub(super) leaving: bool,
    pub(super) tries: u32,
    pub(super) not_before: Millis,
    /// It leaves when its recipient was heard after this.
    pub(super) heard_after: Millis,
}

/// One that leaves once that is durable.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    key: String,
    order: u64,
}

#[derive(Default)]
pub(super) struct Outbox {
    items: Map<(String, u64), Item>,
    /// What is on its way, one for each handle: its tag, once it has one.
    busy: Map<String, Option<u64>>,
    /// Handles of which something changed.
    touched: Set<String>,
    /// When to look at a handle again.
    again: Map<String, Millis>,
    /// No item expires before this.
    expires: Option<Millis>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    fn of(&self, key: &str) -> impl Iterator<Item = &Item> {
        let from = (key.to_owned(), 0);
        let key = key.to_owned();
        self.items.range(from..).take_while(move |((k, _), _)| *k == key).map(|(_, item)| item)
    }

    pub(super) fn count_of(&self, key: &str) -> usize {
        self.of(key).count()
    }

    pub(super) fn get_mut(&mut self, key: &str, order: u64) -> Option<&mut Item> {
        self.items.get_mut(&(key.to_owned(), order))
    }

    pub(super) fn insert(&mut self, item: Item, keep: Millis) {
        let at = deadline(&item, keep);
        self.expires = Some(self.expires.map_or(at, |e| e.min(at)));
        self.items.insert((item.handle.key(), item.order), item);
    }

    /// Something changed for a handle: what waits for it is looked at.
    pub(super) fn touch(&mut self, key: &str) {
        if !self.items.is_empty() && self.of(key).next().is_some() {
            self.touched.insert(key.to_owned());
        }
    }

    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.items.keys().map(|(key, _)| key.clone()));
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        let again = self.again.values().min().copied();
        [again, self.expires].into_iter().flatten().min()
    }

    /// The clock can be trusted: what an earlier run dated has waited since then.
    pub(super) fn date(&mut self, now: Now, keep: Millis) {
        for item in self.items.values_mut().filter(|i| i.dated) {
            let age = now.wall.0.saturating_sub(item.at.0);
            let since = signed(now.mono).saturating_sub(signed(age));
            item.since = item.since.min(since);
        }
        self.reckon(keep);
    }

    /// Reckons anew when the next one expires.
    pub(super) fn reckon(&mut self, keep: Millis) {
        self.expires = self.items.values().map(|item| deadline(item, keep)).min();
    }

    pub(super) fn renamed(&mut self, from: &Handle, to: &Handle) {
        for item in self.items.values_mut().filter(|i| i.user == *from) {
            item.user = to.clone();
        }
    }

    /// Takes out what is to be thought of no more.
    pub(super) fn cancel(&mut self, which: impl Fn(&Item) -> bool) -> Vec<Item> {
        let keys: Vec<_> =
            self.items.iter().filter(|(_, i)| which(i)).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.items.remove(&key)).collect()
    }

    /// What left under this tag is done with; for which handle.
    fn done(&mut self, tag: u64) {
        let key = self.busy.iter().find(|(_, t)| **t == Some(tag)).map(|(key, _)| key.clone());
        if let Some(key) = key {
            self.busy.remove(&key);
            self.touch(&key);
        }
    }
}

impl Item {
    /// The handle, and where only: what a recipient is called in an entry, and told.
    pub(super) fn name(&self) -> String {
        match self.addr.filter(|_| self.exact) {
            Some(addr) => format!("{}@{}", self.handle, addr.ip()),
            None => self.handle.to_string(),
        }
    }
}

impl Node {
    /// How long something waits.
    pub(super) fn outbox_keep(&self) -> Millis {
        self.settings.outbox_keep.saturating_mul(1_000)
    }

    /// What was waiting when the last run ended.
    pub(super) fn remember(&mut self, now: Now, entries: Vec<Entry>) {
        let keep = self.outbox_keep();
        for entry in entries {
            let (Body::Text { text }, Some(user)) = (&entry.body, &entry.user) else { continue };
            if super::rooms::is_room(&entry.conversation) {
                continue; // a room's messages go over the link alone
            }
            for to in entry.recipients.iter().filter(|r| r.state == Delivery::Queued) {
                let (handle, place) = to.handle.rsplit_once('@').unwrap_or((&to.handle, ""));
                let Ok(handle) = Handle::try_from(handle) else { continue };
                if self.link_holds(entry.id, handle.as_str()) {
                    self.link_waits(now, entry.id, entry.order);
                    continue;
                }
                let known = self.people.called(handle.as_str()).filter(|k| k.peer == to.peer);
                let known = known.and_then(|k| k.address.parse().ok());
                let placed = place.parse().ok().map(|ip| SocketAddrV4::new(ip, 0));
                let item = Item {
                    entry: entry.id,
                    order: entry.order,
                    user: user.clone(),
                    peer: to.peer,
                    handle,
                    addr: placed.or(known),
                    exact: placed.is_some(),
                    text: text.clone(),
                    since: signed(now.mono),
                    at: entry.at,
                    dated: entry.dated,
                    reason: to.reason.clone().unwrap_or_default(),
                    kept: true,
                    ready: true,
                    leaving: false,
                    tries: 0,
                    not_before: 0,
                    heard_after: 0,
                };
                if self.outbox.len() < MAX_OUTBOX {
                    self.outbox.insert(item, keep);
                }
            }
        }
    }

    /// Whether so many more may wait for a handle.
    ///
    /// # Errors
    /// The outbox is full, or what it holds for this handle.
    pub(super) fn may_wait(&self, handle: &str, more: usize) -> Result<(), Refusal> {
        if self.outbox.len() + more > MAX_OUTBOX {
            let what = "messages that wait for people who are not here".into();
            return Err(Refusal::TooMany { what, limit: MAX_OUTBOX as u64 });
        }
        if self.outbox.count_of(&handle.to_lowercase()) >= MAX_OUTBOX_PER_PEER {
            let what = format!("messages that wait for {handle}, who is not here");
            return Err(Refusal::TooMany { what, limit: MAX_OUTBOX_PER_PEER as u64 });
        }
        Ok(())
    }

    /// Whether something that waits will leave for this peer, so that what comes later must too.
    pub(super) fn waits_for(&self, peer: &Peer) -> bool {
        let key = peer.handle.key();
        self.outbox.of(&key).any(|item| self.bearer(item) == Ok(peer.id))
    }

    /// To whom of those here it would leave.
    ///
    /// # Errors
    /// Why it waits.
    fn bearer(&self, item: &Item) -> Result<PeerId, String> {
        let here = |p: &&Peer| p.is_here() && p.heard.is_some() && p.route().addr.port() != 0;
        let all: Vec<&Peer> = self.roster.called(item.handle.as_str()).filter(here).collect();
        let ip = item.addr.map(|addr| *addr.ip());
        let there = |p: &&&Peer| p.routes().any(|r| Some(*r.addr.ip()) == ip);
        let at: Vec<&&Peer> = all.iter().filter(there).collect();
        let port = |p: &&&&Peer| p.routes().any(|r| Some(r.addr) == item.addr);
        match (at.as_slice(), all.as_slice()) {
            ([one], _) => Ok(one.id),
            ([_, ..], _) if at.iter().filter(port).count() == 1 => {
                at.iter().find(port).map(|p| p.id).ok_or_else(|| NOT_HERE.into())
            }
            ([], [one]) if !item.exact => Ok(one.id),
            ([], []) => self.foreign_bearer(item).ok_or_else(|| NOT_HERE.into()),
            ([], _) if item.exact => Err(NOT_HERE.into()),
            (_, several) => {
                let n = several.len();
                let who = &item.handle;
                Err(format!(
                    "{n} people are called {who} now: MSG {who}@address is for one of them"
                ))
            }
        }
    }

    /// Why nothing may leave for it now, if so.
    fn why_wait(&self, item: &Item) -> Option<String> {
        if self.is_blocked(item.handle.as_str()) {
            return Some(format!("{} is blocked: UNBLOCK lets it go", item.handle));
        }
        let user = self.users.called(item.user.as_str()).and_then(|id| self.users.get(id));
        match user {
            None => Some(format!("{} is no user of this node now", item.user)),
            Some(user) if !user.joined => Some(format!("{} is not in the chat: JOIN", item.user)),
            Some(user) if user.port.is_none() => Some("no chat port is open: see STATUS".into()),
            Some(_) if self.slcp.is_none() => Some("SLCP is switched off: slcp.enabled".into()),
            Some(_) => None,
        }
    }

    /// Looks at what waits for those of whom something changed; whether there was any.
    pub(super) fn look_at_outbox(&mut self, now: Now) -> bool {
        let any = !self.outbox.touched.is_empty();
        while let Some(key) = self.outbox.touched.pop_first() {
            self.look_at(now, &key);
        }
        any
    }

    fn look_at(&mut self, now: Now, key: &str) {
        if self.outbox.busy.contains_key(key) {
            return; // it is looked at again when that is done
        }
        self.outbox.again.remove(key);
        let orders: Vec<u64> = self.outbox.of(key).map(|item| item.order).collect();
        let mut held = Set::new();
        for order in orders {
            let Some(item) = self.outbox.items.get(&(key.to_owned(), order)) else { continue };
            let to = match self.why_wait(item) {
                Some(reason) => Err(reason),
                None => self.bearer(item),
            };
            match to {
                Err(reason) => self.waits(now, key, order, reason),
                Ok(peer) if held.insert(peer) => {
                    let heard = self.roster.get(peer).and_then(|p| p.heard).map(|(at, _)| at);
                    let heard = heard.or_else(|| self.foreigners.get(peer).map(|f| f.since));
                    if !item.ready || heard.is_none_or(|at| at <= item.heard_after) {
                        continue;
                    }
                    if item.not_before > now.mono {
                        let at = item.not_before;
                        self.outbox.again.insert(key.to_owned(), at);
                        continue;
                    }
                    return self.leave_outbox(now, key, order);
                }
                Ok(_) => {}
            }
        }
    }

    /// It waits for this reason.
    fn waits(&mut self, now: Now, key: &str, order: u64, reason: String) {
        let Some(item) = self.outbox.get_mut(key, order) else { return };
        if !item.ready || item.reason == reason || (item.tries > 0 && reason == NOT_HERE) {
            return;
        }
        item.reason.clone_from(&reason);
        let fate = Fate::of(item);
        self.tell_fate(now, fate, Delivery::Queued, Some(reason));
    }

    fn leave_outbox(&mut self, now: Now, key: &str, order: u64) {
        let Some(item) = self.outbox.get_mut(key, order) else { return };
        item.leaving = true;
        let change = Change::State {
            id: item.entry,
            peer: item.peer,
            state: Delivery::Sent,
            reason: Some(MAY_BE_LOST.into()),
        };
        let changes = if item.kept { vec![change] } else { Vec::new() };
        self.outbox.busy.insert(key.to_owned(), None);
        let leaving = Leaving { key: key.to_owned(), order };
        self.keep_first(now, changes, Job::Leaving(leaving));
    }

    /// That it leaves is durable: it does.
    pub(super) fn waited_leaves(&mut self, now: Now, leaving: &Leaving, durable: &Durable) {
        let at = (leaving.key.clone(), leaving.order);
        self.outbox.busy.remove(&leaving.key);
        let Some(item) = self.outbox.items.get_mut(&at) else {
            return self.outbox.touch(&leaving.key); // deleted meanwhile
        };
        item.leaving = false;
        if let (Durable::No(why), true) = (durable, item.kept) {
            // as the store has it, it still waits: it would leave again after a restart
            item.tries += 1;
            item.not_before = now.mono + pause(item.tries);
            let (again, why) = (item.not_before, why.clone());
            self.outbox.again.insert(leaving.key.clone(), again);
            let reason = format!("that it leaves cannot be noted: {why}");
            return self.waits(now, &leaving.key, leaving.order, reason);
        }
        let Some(item) = self.outbox.items.get(&at) else { return };
        let to = match self.why_wait(item) {
            Some(reason) => Err(reason),
            None => self.bearer(item),
        };
        let Some(item) = self.outbox.items.remove(&at) else { return };
        match to {
            Ok(peer) => {
                let tag = self.send_item(now, item, peer);
                self.outbox.busy.insert(leaving.key.clone(), tag);
                if tag.is_none() {
                    self.outbox.busy.remove(&leaving.key);
                    self.outbox.touch(&leaving.key);
                }
            }
            Err(reason) => self.wait_again(now, item, reason),
        }
    }

    /// It did not leave, or came back: it waits.
    fn wait_again(&mut self, now: Now, mut item: Item, reason: String) {
        item.reason.clone_from(&reason);
        let fate = Fate::of(&item);
        let key = item.handle.key();
        let keep = self.outbox_keep();
        self.outbox.insert(item, keep);
        self.tell_fate(now, fate, Delivery::Queued, Some(reason));
        self.outbox.touch(&key);
    }

    /// What left under this tag is out of our hands.
    pub(super) fn left(&mut self, tag: u64) {
        if !self.outbox.busy.is_empty() {
            self.outbox.done(tag);
        }
    }

    /// Nothing of a text arrived. Where its recipient is gone it waits; whether it does.
    pub(super) fn comes_back(&mut self, now: Now, tag: u64, error: &IoError) -> bool {
        let Some(mut item) = self.deliveries.take_resendable(tag) else { return false };
        let gone =
            matches!(error.kind, Trouble::Refused | Trouble::Unreachable | Trouble::TimedOut);
        let full = self.may_wait(item.handle.as_str(), 1).is_err();
        if !gone || full || self.is_blocked(item.handle.as_str()) {
            return false;
        }
        self.deliveries.pending.remove(&tag);
        // over another way to the same peer it leaves at once; else when the peer is heard again
        let elsewhere = |p: &Peer| Some(p.route().addr) != item.addr;
        let other_way = self.bearer(&item).ok().and_then(|id| self.roster.get(id));
        if !other_way.is_some_and(elsewhere) {
            item.tries += 1;
            item.not_before = now.mono + pause(item.tries);
            item.heard_after = now.mono;
        }
        self.wait_again(now, item, error.text.clone());
        self.left(tag);
        true
    }

    /// Gives up what waited too long, and looks at what is to be tried again.
    pub(super) fn tick_outbox(&mut self, now: Now) {
        let due: Vec<String> = self
            .outbox
            .again
            .iter()
            .filter(|(_, at)| **at <= now.mono)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.outbox.again.remove(&key);
            self.outbox.touch(&key);
        }
        if self.outbox.expires.is_none_or(|at| at > now.mono) {
            return;
        }
        let keep = self.outbox_keep();
        let over = |item: &Item| deadline(item, keep) <= now.mono && !item.leaving && item.ready;
        let seconds = keep / 1_000;
        for item in self.outbox.cancel(over) {
            let after = crate::config::rows::span(seconds);
            let reason = format!("not sent within {after} (outbox.keep): {}", item.reason);
            self.tell_fate(now, Fate::of(&item), Delivery::Failed, Some(reason));
        }
        self.outbox.reckon(keep);
        // what is just leaving, and over, is looked at when that is known
        if self.outbox.expires.is_some_and(|at| at <= now.mono) {
            self.outbox.expires = Some(now.mono + RETRY_MS);
        }
    }

    /// Those of what waits that are no more wanted fail.
    pub(super) fn cancel_waiting(&mut self, now: Now, why: &str, which: impl Fn(&Item) -> bool) {
        for item in self.outbox.cancel(which) {
            self.tell_fate(now, Fate::of(&item), Delivery::Failed, Some(why.to_owned()));
        }
    }
}

fn pause(tries: u32) -> Millis {
    RETRY_MS << tries.saturating_sub(1).min(MAX_DOUBLINGS)
}

fn deadline(item: &Item, keep: Millis) -> Millis {
    u64::try_from(item.since.saturating_add(signed(keep))).unwrap_or(0)
}

fn signed(ms: Millis) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
