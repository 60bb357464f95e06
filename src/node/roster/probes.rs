//! Who is asked whether it is still there, and who is gone or forgotten because nothing came.

use super::{Change, Peer, Roster, Route};
use crate::model::limits::MAX_NAMESAKES;
use crate::model::{Handle, Millis, PeerId};

/// A probe waits this long for its answer.
const PROBE_MS: Millis = 2_000;
/// Unanswered probes before a peer is gone.
const PROBES: u8 = 3;
/// A peer whose program never answered a probe is believed for so long after its last word.
const MUTE_MS: Millis = 30 * 60 * 1_000;
/// Peers asked in one sweep; the rest has its turn in the next. Whoever forges a thousand
/// peers shall not make us shout.
const MAX_PROBES: usize = 32;
/// Sweeps are so far apart.
const SWEEP_MS: Millis = 250;
/// Peers that are gone are forgotten after so long.
const FORGET_MS: Millis = 24 * 60 * 60 * 1_000;

impl Roster {
    /// Its program is one that answers a WHO: silence means that it is gone.
    pub fn must_answer(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.answers = true;
        }
    }

    /// When [`Roster::sweep`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        self.sweep_at
    }

    /// Asks whoever was silent too long, gives up whoever does not answer.
    pub fn sweep(&mut self, now: Millis) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next = None;
        let (mut silent, mut forgotten) = (Vec::new(), Vec::new());
        let mut asked = 0;
        for peer in self.peers.values_mut() {
            if !peer.is_here() {
                if peer.gone_at + FORGET_MS <= now {
                    forgotten.push(peer.id);
                }
                continue;
            }
            if peer.probe_at <= now {
                if peer.probes >= PROBES {
                    let last = peer.heard.map(|(mono, _)| mono);
                    // who cannot be written to either is not kept waiting for
                    let mute = !peer.answers && peer.route().addr.port() != 0;
                    if mute && last.is_some_and(|last| now < last + MUTE_MS) {
                        (peer.probes, peer.probe_at) = (0, now + self.silent);
                    } else {
                        silent.push(peer.id);
                        continue;
                    }
                } else if asked >= MAX_PROBES {
                    peer.probe_at = now + SWEEP_MS;
                } else {
                    asked += 1;
                    peer.probes += 1;
                    peer.probe_at = now + PROBE_MS;
                    self.changes.push(Change::Ask(peer.route().addr));
                }
            }
            next = Some(next.map_or(peer.probe_at, |n: Millis| n.min(peer.probe_at)));
        }
        self.sweep_at = next.map(|next| next.max(now + SWEEP_MS));
        for id in silent {
            self.go(now, id, "not heard of any more");
        }
        for id in forgotten {
            self.remove(id, "");
        }
    }

    pub(super) fn sweep_by(&mut self, at: Millis) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |s| s.min(at)));
    }

    /// Whoever bears this handle at another address on the same interface may have moved here:
    /// it is asked, and goes if it does not answer.
    pub(super) fn probe_namesakes(&mut self, now: Millis, handle: &Handle, route: Route) {
        let bearers: Vec<&Peer> = self
            .called(handle.as_str())
            .filter(|p| {
                let here = |r: &Route| r.link == route.link || r.link == 0 || route.link == 0;
                p.is_here() && p.routes().any(here)
            })
            .take(MAX_NAMESAKES + 1)
            .collect();
        if bearers.len() > MAX_NAMESAKES {
            return; // nobody moved: many call themselves so, or one pretends to be many
        }
        // whoever is being asked already is not asked the more
        let quiet = bearers.into_iter().filter(|p| p.probes == 0 && p.probe_at > now);
        let ids: Vec<PeerId> = quiet.map(|p| p.id).collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                // one more namesake must not shorten the time it has to answer
                if peer.probes == 0 {
                    peer.probe_at = now;
                }
                peer.answers = true; // somebody else claims to be it: silence now means gone
            }
            self.sweep_by(now);
        }
    }
}
