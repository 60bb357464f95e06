//! A handle that the node chose by itself and that somebody else bears too, as when many boxes
//! of one make start at once: all but the one of the smallest address take another.
//!
//! Each waits a moment until it has heard its namesakes, then takes the free handle of its own
//! rank among them, so that no two take the same. Whoever was configured with its handle never
//! makes way: if a namesake of a greater address stays, the chosen handle goes.

use std::net::SocketAddrV4;

use super::Node;
use crate::model::{Handle, Map, Millis, Now, UserId, What};

/// Namesakes are gathered for so long and up to twice as long.
const GATHER_MS: Millis = 300;
/// A namesake of a greater address has so long to take another handle.
const STAND_MS: Millis = 5_000;

#[derive(Clone, Copy)]
struct Contest {
    at: Millis,
    /// We were first in rank already and waited for the others.
    stood: bool,
}

/// Handles in dispute.
#[derive(Default)]
pub(super) struct Contests {
    open: Map<UserId, Contest>,
}

impl Contests {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.open.values().map(|c| c.at).min()
    }
}

impl Node {
    /// Somebody bears the handle that we chose for this user.
    pub(super) fn contest(&mut self, now: Now, user: UserId) {
        let at = now.mono + GATHER_MS + self.rng.u64(0..=GATHER_MS);
        self.contests.open.entry(user).or_insert(Contest { at, stood: false });
    }

    pub(super) fn tick_contests(&mut self, now: Now) {
        let due = |(user, contest): (&UserId, &Contest)| {
            (contest.at <= now.mono).then_some((*user, contest.stood))
        };
        let due: Vec<(UserId, bool)> = self.contests.open.iter().filter_map(due).collect();
        for (user, stood) in due {
            self.contests.open.remove(&user);
            self.decide(now, user, stood);
        }
    }

    fn decide(&mut self, now: Now, id: UserId, stood: bool) {
        let Some(user) = self.users.get(id).filter(|u| u.joined && u.chosen) else { return };
        let (old, port) = (user.handle.clone(), user.port.unwrap_or_default());
        let here: Vec<SocketAddrV4> = self
            .roster
            .called(old.as_str())
            .filter(|p| p.is_here() && p.heard.is_some())
            .map(|p| p.route().addr)
            .collect();
        let Some(other) = here.first().copied() else { return };
        let rank = here.iter().filter(|addr| self.before_us(**addr, port)).count();
        if rank == 0 && !stood {
            let contest = Contest { at: now.mono + STAND_MS, stood: true };
            self.contests.open.insert(id, contest);
            return;
        }
        let handle = self.free_handles(id).nth(rank.saturating_sub(1));
        let Some(handle) = handle else { return };
        if let Some(user) = self.users.get_mut(id) {
            user.handle = handle.clone();
        }
        self.renamed_user(now, old.clone(), &handle);
        self.tell_slcp_of(now, id);
        let text = format!(
            "{old} is also the handle of someone at {other}: you are {handle} now, HANDLE takes \
             another"
        );
        self.tell(now, Some(handle.clone()), What::Error { text });
        let (key, value) = ("handle".into(), handle.to_string());
        self.tell(now, Some(handle), What::Config { key, value });
    }

    /// Whether a namesake's address is before that of our user at `port`, as both see them.
    fn before_us(&self, addr: SocketAddrV4, port: u16) -> bool {
        let ours = self.slcp.as_ref().and_then(|m| m.address_towards(*addr.ip()));
        ours.is_some_and(|ip| (*addr.ip(), addr.port()) < (ip, port))
    }

    /// Handles made of the fallback that nobody else bears.
    fn free_handles(&self, id: UserId) -> impl Iterator<Item = Handle> + '_ {
        let numbered = (2..100_000).map(|n| self.fallback.numbered(n));
        let all = std::iter::once(self.fallback.clone()).chain(numbered);
        all.filter(move |h| !self.is_taken(h, Some(id)))
    }
}
