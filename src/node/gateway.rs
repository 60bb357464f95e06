//! With `gateway = true` what is said in one dialect's shared chat is carried to the others: into
//! the other shared chats once, and to each peer of SLCP, which has none. A carried text names its
//! author and where it was said: `bob@hello: text`.
//!
//! A carried text is never carried on, so nothing goes in a circle. Where several gateways hear
//! one text, they wait for so long as their rank by address says; whoever sees it carried before
//! its own turn keeps silent. Nobody gets what he heard or said himself, and no klatsch shows a
//! carried text of which it heard the original.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::Node;
use crate::dialect::heard::To;
use crate::dialect::slcp::machine::Addressee;
use crate::model::{Dialect, Handle, Millis, Now};

/// Between the turns of two gateways.
pub const TURN_MS: Millis = 300;
/// Turns at most; gateways of a higher rank share the last.
pub const MAX_TURNS: usize = 20;
/// Texts that were heard lately, to know carried ones by.
pub const MAX_HEARD: usize = 256;
/// So long a carried text counts as the one that was heard.
pub const HEARD_MS: Millis = 60_000;
/// Texts that wait for their turn; beyond, the oldest is not carried.
pub const MAX_CARRIES: usize = 64;

/// The chats between which texts are carried.
const CHATS: [Dialect; 3] = [Dialect::Slcp, Dialect::Hello, Dialect::Room];

/// A text, by its author and where he said it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Original {
    author: Handle,
    dialect: Dialect,
    text: String,
}

struct Carry {
    at: Millis,
    to: Dialect,
    original: Original,
    /// Where the author is: he gets no echo.
    from: Ipv4Addr,
}

/// What was heard, and what waits for its turn.
#[derive(Default)]
pub(super) struct Gateway {
    heard: VecDeque<(Millis, Original)>,
    carries: VecDeque<Carry>,
}

impl Gateway {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.carries.iter().map(|c| c.at).min()
    }

    /// Notes a text; `false`: it was heard before.
    fn hear(&mut self, now: Millis, original: &Original) -> bool {
        while self.heard.front().is_some_and(|(at, _)| at + HEARD_MS <= now) {
            self.heard.pop_front();
        }
        let known = self.heard.iter().any(|(_, o)| o == original);
        if self.heard.len() >= MAX_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back((now, original.clone()));
        !known
    }

    fn wait(&mut self, carry: Carry) {
        if self.carries.len() >= MAX_CARRIES {
            self.carries.pop_front();
        }
        self.carries.push_back(carry);
    }
}

impl Original {
    fn carried(&self) -> String {
        format!("{}@{}: {}", self.author, self.dialect, self.text)
    }

    /// The original of a carried text.
    fn of(carried: &str) -> Option<Original> {
        let (who, text) = carried.split_once(": ")?;
        let (author, place) = who.rsplit_once('@')?;
        let dialect = CHATS.into_iter().find(|d| d.name() == place)?;
        Some(Original { author: Handle::try_from(author).ok()?, dialect, text: text.to_owned() })
    }
}

impl Node {
    /// A text came by `dialect`. `false`: it was carried, and its original was heard: it is not
    /// shown again.
    pub(super) fn carried_is_news(&mut self, now: Now, dialect: Dialect, text: &str) -> bool {
        let Some(original) = Original::of(text) else { return true };
        let same = |c: &Carry| c.to == dialect && c.original == original;
        self.gateway.carries.retain(|c| !same(c));
        self.gateway.hear(now.mono, &original)
    }

    /// Somebody said something in a shared chat just now: it is carried, if we are a gateway.
    pub(super) fn carry(
        &mut self,
        now: Now,
        dialect: Dialect,
        author: &Handle,
        from: Ipv4Addr,
        text: &str,
    ) {
        if Original::of(text).is_some() {
            return;
        }
        let original = Original { author: author.clone(), dialect, text: text.to_owned() };
        self.gateway.hear(now.mono, &original);
        if !self.settings.gateway {
            return;
        }
        let rank = self.rank(from).min(MAX_TURNS);
        let at = now.mono + TURN_MS * u64::try_from(rank).unwrap_or(0);
        for to in CHATS.into_iter().filter(|to| *to != dialect) {
            self.gateway.wait(Carry { at, to, original: original.clone(), from });
        }
        self.tick_gateway(now);
    }

    /// Carries what has its turn.
    pub(super) fn tick_gateway(&mut self, now: Now) {
        let all = std::mem::take(&mut self.gateway.carries).into_iter();
        let (due, waiting): (Vec<_>, VecDeque<_>) = {
            let (due, waiting): (Vec<_>, Vec<_>) = all.partition(|c| c.at <= now.mono);
            (due, waiting.into())
        };
        self.gateway.carries = waiting;
        for carry in due {
            match carry.to {
                Dialect::Slcp => self.carry_to_slcp(now, &carry),
                _ if self.is_there_too(carry.to, &carry.original.author) => {}
                Dialect::Hello => {
                    if let Some(m) = &mut self.dialects.hello {
                        let text = carry.original.carried();
                        if m.fits(&text).is_ok() {
                            m.say(now, &text, &[]);
                        }
                    }
                }
                _ => self.carry_to_room(now, &carry),
            }
        }
    }

    /// Whoever chats by both says it in both himself.
    fn is_there_too(&self, dialect: Dialect, author: &Handle) -> bool {
        let ours = self.users.called(author.as_str()).is_some();
        ours || self.foreigners.called(author.as_str()).any(|f| f.dialect == dialect)
    }

    fn carry_to_room(&mut self, now: Now, carry: &Carry) {
        let Some((user, _)) = self.users.iter().next() else { return };
        if let Some(m) = &mut self.dialects.room {
            // under no tag: nobody waits to hear what becomes of it
            m.send(now.mono, 0, user, &To::Everyone, &carry.original.carried());
        }
    }

    fn carry_to_slcp(&mut self, now: Now, carry: &Carry) {
        let Some((user, _)) = self.users.iter().find(|(_, u)| u.joined) else { return };
        let author = &carry.original.author;
        let mut at_author = self.roster.at_ip(carry.from).into_iter();
        if at_author.any(|p| p.handle.is(author.as_str())) {
            return; // he says it to each of them himself
        }
        let text = carry.original.carried();
        let mut to = Vec::new();
        for peer in self.roster.here().filter(|p| p.heard.is_some() && p.route().addr.port() != 0) {
            let addr = peer.route().addr;
            // who hears that chat himself has it; another klatsch gets it so that it keeps
            // silent, and does not show it
            let heard = self.twins_of(peer).any(|f| f.dialect == carry.original.dialect);
            let form = self.slcp.as_ref().and_then(|m| m.form_name(addr));
            let klatsch = form.is_none_or(|form| form == "default");
            if (!heard || klatsch) && !self.is_blocked(peer.handle.as_str()) {
                to.push(Addressee { handle: peer.handle.clone(), addr });
            }
        }
        for to in to {
            // one that its form cannot hold is not carried to it
            self.slcp_do(|m| {
                let _ = m.send_text(now.mono, 0, user, &to, &text);
            });
        }
    }

    /// How many others who may be gateways have a smaller address than ours on the link that
    /// somebody is on.
    fn rank(&self, towards: Ipv4Addr) -> usize {
        let link = self.links.iter().find(|l| l.reaches(towards) && !l.address.is_loopback());
        let Some(ours) = link.or(self.links.first()).map(|l| l.address) else { return 0 };
        let roster = self.roster.here().flat_map(|p| p.routes().map(|r| *r.addr.ip()));
        let foreign = self.foreigners.all().map(|f| *f.contact.at.ip());
        let mut smaller: Vec<Ipv4Addr> = roster.chain(foreign).filter(|ip| *ip < ours).collect();
        smaller.sort_unstable();
        smaller.dedup();
        smaller.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original(text: &str) -> Original {
        let author = Handle::try_from("bob").unwrap();
        Original { author, dialect: Dialect::Hello, text: text.into() }
    }

    #[test]
    fn a_carried_text_tells_its_author_and_where_he_said_it() {
        for text in ["hi", "a: b", "x@room: y"] {
            let original = original(text);
            assert_eq!(Original::of(&original.carried()), Some(original));
        }
        for plain in
            ["hi", "bob: hi", "bob@hello hi", "bob@nowhere: hi", "a b@hello: hi", "@hello: x"]
        {
            assert_eq!(Original::of(plain), None, "{plain}");
        }
    }

    #[test]
    fn one_text_past_those_that_wait_for_their_turn_pushes_out_the_oldest() {
        let mut gateway = Gateway::default();
        for n in 0..=MAX_CARRIES {
            let original = original(&n.to_string());
            gateway.wait(Carry { at: 5, to: Dialect::Room, original, from: Ipv4Addr::LOCALHOST });
        }
        assert_eq!(gateway.carries.len(), MAX_CARRIES);
        assert_eq!(gateway.carries[0].original.text, "1");
        assert_eq!(gateway.carries[MAX_CARRIES - 1].original.text, MAX_CARRIES.to_string());
    }

    #[test]
    fn texts_heard_are_bounded_and_forgotten() {
        let mut gateway = Gateway::default();
        for n in 0..=MAX_HEARD {
            assert!(gateway.hear(5, &original(&n.to_string())));
        }
        assert_eq!(gateway.heard.len(), MAX_HEARD);
        assert!(!gateway.hear(5, &original("9")), "heard before");
        assert!(gateway.hear(5, &original("0")), "it made way");
        assert!(gateway.hear(5 + HEARD_MS, &original("9")));
        assert_eq!(gateway.heard.len(), 1);
    }
}
