//! What the link heard: who is here, who went, what they say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Taken;
use crate::dialect::link::frame::Content;
use crate::dialect::link::words::{Far, Heard};
use crate::model::history::{Body, Change};
use crate::model::{Dialect, Direction, EntryId, Handle, Now, What};
use crate::node::Node;
use crate::node::delivery::LOBBY_CONVERSATION;
use crate::node::history::{Draft, LOBBY_KEY};

impl Node {
    pub(super) fn link_heard(&mut self, now: Now, heard: Heard) {
        match heard {
            Heard::Here { who, at, v4, claimed, away, verified, .. } => {
                self.linked_here(now, &who, at, (v4, claimed), away.is_some(), verified);
            }
            Heard::Gone { who, why } => self.linked_gone(now, &who, why),
            Heard::Message { token, from, entry, to, content, .. } => {
                self.linked_message(now, (token, entry), &from, &to, content);
            }
            Heard::File { no, news } => self.link_file_news(now, no, news),
            Heard::Settled { done, rows } => {
                rows.into_iter().for_each(|row| self.keep_soon(now, Change::Link(row)));
                done.into_iter().for_each(|settled| self.linked_settled(now, settled));
            }
            Heard::Room(write) => self.room_heard(now, *write),
            Heard::RoomDelivered { entry, from, to } => {
                self.room_delivered(now, entry, &from, &to);
            }
            Heard::Unsaid(entries) => self.room_unsaid(entries),
            Heard::Read { of, entries } => self.linked_read(now, of, &entries),
            Heard::Pinned(who) => drop(self.know_linked(&who)),
            Heard::Changed { claim, at, .. } => {
                let who = &claim.handle;
                let text = format!(
                    "somebody at {} says to be {who}, with another key than the {who} you know: \
                     refused. VERIFY {who} shows both; TRUST {who} accepts the new one",
                    at.ip()
                );
                self.trouble(now, text);
            }
            Heard::Twin(at) => {
                let text = format!(
                    "another node at {} has this box's own key: end one of them and remove its \
                     link.key, so that it makes one of its own",
                    at.ip()
                );
                self.trouble(now, text);
            }
            Heard::Trouble(None) => drop(self.dialects.troubles.remove(&Dialect::Link)),
            Heard::Trouble(Some(text)) => {
                self.dialects.troubles.insert(Dialect::Link, text.clone());
                self.trouble(now, text);
            }
            Heard::Complaint { from, text } => match from.ip() {
                IpAddr::V4(ip) => self.complain(now, ip, &text),
                ip => self.complain(now, Ipv4Addr::UNSPECIFIED, &format!("{ip}: {text}")),
            },
        }
    }

    fn linked_here(
        &mut self,
        now: Now,
        who: &Far,
        at: SocketAddr,
        (v4, claimed): (Vec<Ipv4Addr>, Vec<Ipv4Addr>),
        away: bool,
        verified: bool,
    ) {
        let id = self.know_linked(who);
        let Some(linked) = self.linked.by_id.get_mut(&id) else { return };
        let (was_here, was_away) = (linked.here, linked.away);
        linked.here = true;
        (linked.at, linked.v4, linked.away, linked.verified) = (Some(at), v4, away, verified);
        (linked.heard, linked.claimed) = (Some(now.wall), claimed);
        let (handle, dialect) = (who.handle.to_string(), Dialect::Link);
        self.hide_twins(now);
        if self.is_blocked(&handle) {
            return;
        }
        if !was_here {
            let (address, port) = (at.ip().to_string(), at.port());
            let what =
                What::PeerJoined { peer: id, handle: handle.clone(), dialect, address, port };
            self.tell(now, None, what);
        }
        if away != (was_here && was_away) {
            let what = match away {
                true => What::PeerAway { peer: id, handle, dialect },
                false => What::PeerBack { peer: id, handle, dialect },
            };
            self.tell(now, None, what);
        }
    }

    fn linked_gone(&mut self, now: Now, who: &Far, reason: String) {
        let id = self.know_linked(who);
        let Some(linked) = self.linked.by_id.get_mut(&id) else { return };
        let was_here = std::mem::replace(&mut linked.here, false);
        if !linked.pinned {
            self.linked.by_id.remove(&id);
        }
        let handle = who.handle.to_string();
        if was_here && !self.is_blocked(&handle) {
            let what = What::PeerLeft { peer: id, handle, dialect: Dialect::Link, reason };
            self.tell(now, None, what);
        }
        self.hide_twins(now);
    }

    fn linked_message(
        &mut self,
        now: Now,
        (token, theirs): (u64, EntryId),
        from: &Far,
        to: &Handle,
        content: Content,
    ) {
        let user = self.users.called(to.as_str());
        let decided = match (content, user) {
            _ if self.is_blocked(from.handle.as_str()) => Err("not wanted"),
            (Content::Text { text, autoreply, lobby }, Some(user)) => {
                Ok((text, autoreply, lobby, user))
            }
            (Content::Offer(offer), Some(user)) => {
                return self.file_offered(now, token, from, user, &offer);
            }
            (_, None) => Err("nobody of that name is there"),
            // the machine refuses what it does not know
            (Content::Unknown(_) | Content::Verdict(_), _) => {
                Err("that box does not know this kind of message")
            }
        };
        let (text, autoreply, lobby, user) = match decided {
            Ok(text) => text,
            Err(why) => {
                let keep = self.link().map(|m| m.refuse(token, why));
                return keep.into_iter().for_each(|k| self.link_keeps(now, k, None, Vec::new()));
            }
        };
        let peer = self.know_linked(from);
        let Some(of_user) = self.users.get(user) else { return };
        let to = of_user.handle.clone();
        let reply = of_user.answers().filter(|_| !lobby).map(ToOwned::to_owned);
        if let Some(linked) = self.linked.by_id.get_mut(&peer) {
            linked.heard = Some(now.wall);
        }
        let id = self.new_entry();
        let conversation = if lobby { LOBBY_KEY.into() } else { from.handle.key() };
        let entry = self.entry(
            now,
            Draft {
                id,
                user: Some(to.clone()).filter(|_| !lobby),
                conversation,
                from: from.handle.to_string(),
                direction: Direction::In,
                dialect: Dialect::Link,
                body: Body::Text { text: text.clone() },
                autoreply,
                recipients: Vec::new(),
            },
        );
        let what = What::Message {
            id,
            conversation: if lobby { LOBBY_CONVERSATION.into() } else { peer.to_string() },
            from: self.linked_name(peer),
            to: to.to_string(),
            peer,
            dialect: Dialect::Link,
            direction: Direction::In,
            text,
            autoreply,
        };
        let Some(keep) = self.link().map(|m| m.take(token)) else { return };
        let taken = Taken { user, to, peer, what, reply, offered: None, theirs: Some(theirs) };
        self.link_keeps(now, keep, Some(taken), vec![Change::Put(Box::new(entry))]);
    }
}
