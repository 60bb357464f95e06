//! What is said to those whom the link knows: handed over, waiting there, settled or given up.

use crate::dialect::link::frame::Content;
use crate::dialect::link::machine::Machine;
use crate::dialect::link::words::{Keep, Sending, Settled};
use crate::model::history::Change;
use crate::model::limits::LINK_QUEUE;
use crate::model::{Delivery, EntryId, Handle, Millis, Now, PeerId, Refusal};
use crate::node::Node;
use crate::node::delivery::Fate;

/// What waits too long and is on its way is looked at again after this.
const LOOK_AGAIN_MS: Millis = 60_000;

/// Something that waits with the link.
pub(in crate::node) struct Waiting<'a> {
    pub(in crate::node) order: u64,
    /// When it began to wait, or this run did.
    pub(in crate::node) since: Millis,
    pub(in crate::node) user: &'a Handle,
    pub(in crate::node) handle: &'a Handle,
}

impl Node {
    /// Hands a text to the link; what is to be kept with it.
    pub(in crate::node) fn link_text(
        &mut self,
        now: Now,
        entry: EntryId,
        from: &Handle,
        to: PeerId,
        content: Content,
    ) -> Result<Keep, String> {
        let gone = || "it is forgotten".to_owned();
        let far = self.linked.get(to).map(|l| l.far.clone()).ok_or_else(gone)?;
        let sending = Sending { entry, from: from.clone(), to: far, said: now.wall, content };
        let machine = self.link().ok_or_else(|| "the link is off: link.enabled".to_owned())?;
        machine.send(sending).map_err(|why| format!("the link does not take it: {why}"))
    }

    /// A text that was handed over is durable, or will not be: it may go.
    pub(in crate::node) fn link_goes(&mut self, now: Now, token: u64) {
        if let Some(machine) = self.link() {
            machine.kept(now.mono, token, true);
        }
    }

    /// Whether so many more may wait for somebody's box.
    pub(in crate::node) fn link_may_wait(&self, to: PeerId, more: usize) -> Result<(), Refusal> {
        let of = self.linked.get(to).map(|l| l.far.of);
        let waiting = self.dialects.link.as_ref().zip(of).map_or(0, |(m, of)| m.waiting_for(of));
        if waiting + more > LINK_QUEUE {
            let what = "messages that wait for one box".into();
            return Err(Refusal::TooMany { what, limit: LINK_QUEUE as u64 });
        }
        Ok(())
    }

    /// Whether the link holds an entry for somebody: it waits there, not in the outbox.
    pub(in crate::node) fn link_holds(&self, entry: EntryId, handle: &str) -> bool {
        let machine = self.dialects.link.iter();
        let mut all = machine.flat_map(Machine::waiting);
        all.any(|(_, m)| m.entry == entry && m.to.is(handle))
    }

    /// Something waits for somebody linked, since now.
    pub(in crate::node) fn link_waits(&mut self, now: Now, entry: EntryId, order: u64) {
        self.linked.waiting.insert(entry, (order, now.mono));
        let at = now.mono + self.outbox_keep();
        self.linked.expires = Some(self.linked.expires.map_or(at, |e| e.min(at)));
    }

    /// Those of what waits with the link, and was not sent yet, that are wanted no more fail.
    pub(in crate::node) fn cancel_linked(
        &mut self,
        now: Now,
        why: &str,
        unwanted: impl Fn(&Waiting<'_>) -> bool,
    ) {
        let waiting = std::mem::take(&mut self.linked.waiting);
        let cancelled = self.link().map(|m| {
            m.cancel(|m| {
                let (order, since) = waiting.get(&m.entry).copied().unwrap_or_default();
                unwanted(&Waiting { order, since, user: &m.from, handle: &m.to })
            })
        });
        self.linked.waiting = waiting;
        let Some((cancelled, rows)) = cancelled else { return };
        rows.into_iter().for_each(|row| self.keep_soon(now, Change::Link(row)));
        for settled in cancelled {
            let settled = Settled { refused: Some(why.to_owned()), ..settled };
            self.linked_settled(now, settled);
        }
    }

    /// Gives up what waited too long.
    pub(in crate::node) fn tick_linked(&mut self, now: Now) {
        if self.linked.expires.is_none_or(|at| at > now.mono) {
            return;
        }
        let keep = self.outbox_keep();
        let after = crate::config::rows::span(keep / 1_000);
        let why = format!("not sent within {after} (outbox.keep): not here");
        self.cancel_linked(now, &why, |w| w.since + keep <= now.mono);
        let next = self.linked.waiting.values().map(|(_, since)| since + keep).min();
        // what is on its way, and over, is looked at again
        self.linked.expires = next.map(|at| at.max(now.mono + LOOK_AGAIN_MS));
    }

    pub(super) fn linked_settled(&mut self, now: Now, settled: Settled) {
        let others = |m: &Machine| m.waiting().any(|(_, m)| m.entry == settled.entry);
        if !self.dialects.link.as_ref().is_some_and(others) {
            self.linked.waiting.remove(&settled.entry);
        }
        if self.linked.waiting.is_empty() {
            self.linked.expires = None;
        }
        if settled.offer {
            let Settled { entry, from, to, refused, .. } = settled;
            return self.offer_settled(now, entry, (from, &to), refused);
        }
        let peer = self.know_linked(&settled.to);
        let fate = Fate {
            entry: settled.entry,
            user: Some(settled.from.clone()),
            peer,
            recipient: self.linked_name(peer),
            kept: true,
        };
        if settled.refused.is_none() {
            self.has_arrived(&settled.from, settled.entry, peer);
        }
        let state = if settled.refused.is_some() { Delivery::Failed } else { Delivery::Delivered };
        self.tell_fate(now, fate, state, settled.refused);
    }
}
