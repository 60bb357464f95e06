//! The SLCP machine: sockets, announcements, what was heard, what is being sent.
//!
//! It owns what is SLCP's alone: ports, forms of peers' programs, streams, half-come images. Who
//! is a peer, who is blocked, what is kept is the node's business: the machine tells it
//! [`Heard`] and does what it is told. Everything leaves through [`Machine::poll`].

mod answers;
mod contacts;
mod heard;
mod images;
mod inbound;
mod outgoing;
mod sockets;
mod streams;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::encode;
use super::said::Entry;
use crate::model::{Handle, IoError, Link, Map, Millis, Net, Trouble};

pub use crate::model::UserId;

use answers::Answers;
pub use answers::{
    ANSWER_WINDOW_MS, CREDIT_BYTES, CREDIT_MS, Due, HEAD_BYTES, MAX_ANSWER_BYTES, MAX_ANSWERS,
    MAX_ANSWERS_PER_HOST, MAX_SOURCES, MAX_WAITING,
};
use contacts::Contacts;
pub use heard::{Addressee, Heard, ImageHeard, ImageKey, Lesson, Me, Out, Setup, TextHeard};
use images::Images;
pub use images::{MAX_EARLY_BYTES, MAX_EARLY_CHUNKS};
pub use inbound::Arrived;
pub use outgoing::MAX_BY_DATAGRAM;
use sockets::Sockets;
use streams::Streams;

/// Sends to an address that may still come back as unreachable.
const MAX_RECENT: usize = 256;
/// Bytes of a datagram that are compared with what an ICMP error quotes of it.
const QUOTED: usize = 64;
/// How long an ICMP error may take to concern a send: the kernel itself gives a neighbour up after
/// three questions, a second apart, and some hosts are slow.
const RECENT_MS: Millis = 10_000;
/// After coming up, announcements are repeated so soon: one lost datagram must not hide us.
const REPEAT_MS: [Millis; 2] = [1_000, 3_000];
/// Whoever knows so many programs does not repeat its WHO: one answer each is enough, and what
/// was lost is in the lists of others.
const ENOUGH_KNOWN: usize = 16;
/// Changes of interfaces are gathered this long before they are announced.
const SETTLE_MS: Millis = 150;

/// What we said from an address that was ours may come back so long after it went …
const ECHO_MS: Millis = 5_000;
/// … and others may list us there so long.
const FORMER_MS: Millis = 5 * 60_000;
/// Addresses remembered that were ours.
const MAX_FORMER: usize = 16;
/// Announcements that say BACK again.
const BACK_REPEATS: u8 = 3;

struct Recent {
    at: Millis,
    to: SocketAddrV4,
    user: UserId,
    handle: Handle,
    tag: u64,
    text: String,
    /// How each of its datagrams began.
    heads: Vec<Vec<u8>>,
}

impl Recent {
    /// Whether this is what an error is about that quotes so much of a datagram. It may quote
    /// 8 bytes only (RFC 792), or nothing.
    fn began(&self, quoted: &[u8]) -> bool {
        let same = |head: &Vec<u8>| {
            let n = head.len().min(quoted.len());
            head[..n] == quoted[..n]
        };
        self.heads.iter().any(same)
    }
}

/// See the module.
pub struct Machine {
    setup: Setup,
    links: Vec<Link>,
    users: Map<UserId, Me>,
    sockets: Sockets,
    contacts: Contacts,
    answers: Answers,
    streams: Streams,
    images: Images,
    recent: VecDeque<Recent>,
    /// Addresses that were ours until a moment ago: what we said from there may still come back.
    former: Vec<(Ipv4Addr, Millis)>,
    /// Users who came back lately, and in how many announcements that is still said: a lost
    /// BACK must not leave them away for ever.
    back: Map<UserId, u8>,
    /// When to announce, soonest first.
    announce_at: Vec<Millis>,
    /// When ports that could not be had are tried again.
    rebind_at: Option<Millis>,
    out: VecDeque<Out>,
    rng: fastrand::Rng,
}

impl Machine {
    /// A machine without users; the discovery port is opened at once.
    pub fn new(setup: Setup, seed: u64) -> Machine {
        let mut machine = Machine {
            sockets: Sockets::default(),
            links: Vec::new(),
            users: Map::new(),
            contacts: Contacts::default(),
            answers: Answers::default(),
            streams: Streams::default(),
            images: Images::default(),
            recent: VecDeque::new(),
            former: Vec::new(),
            back: Map::new(),
            announce_at: Vec::new(),
            rebind_at: None,
            out: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
            setup,
        };
        machine.open_shared();
        machine
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// When [`Machine::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        [
            self.announce_at.iter().copied().min(),
            self.rebind_at,
            self.answers.wake_at(),
            self.streams.wake_at(),
            self.images.wake_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time passed; `known` counts the peers that are here.
    pub fn tick(&mut self, now: Millis, known: impl FnOnce() -> usize) {
        if self.announce_at.iter().any(|at| *at <= now) {
            self.announce_at.retain(|at| *at > now);
            self.announce(now, known());
        }
        self.rebind(now);
        self.due_answers(now);
        self.tick_streams(now);
        self.tick_images(now);
        while self.recent.front().is_some_and(|r| r.at + RECENT_MS < now) {
            self.recent.pop_front();
        }
    }

    /// The usable addresses, whole. What is new is announced to.
    pub fn set_links(&mut self, now: Millis, links: Vec<Link>) {
        let new = links.iter().any(|link| !self.links.contains(link));
        self.former.retain(|(_, went)| now < went + FORMER_MS);
        let gone = |l: &&Link| !links.iter().any(|n| n.address == l.address);
        self.former.extend(self.links.iter().filter(gone).map(|l| (l.address, now)));
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
        self.links = links;
        if new {
            self.announce_soon(now, SETTLE_MS);
        }
    }

    /// Settings that may change while running.
    pub fn set_live(&mut self, broadcast: Vec<Ipv4Addr>, announce: Millis) {
        self.setup.broadcast = broadcast;
        self.setup.announce = announce;
    }

    /// A local user, new or changed. A changed handle, presence or joining is told to the LAN;
    /// `known` are those who get a LEAVE of their own.
    pub fn set_user(&mut self, now: Millis, id: UserId, me: Me, known: &[SocketAddrV4]) {
        let old = self.users.insert(id, me.clone());
        let Some(old) = old else {
            self.open_user(id);
            return;
        };
        if !self.sockets.has_user(id) {
            self.open_user(id); // none could be had before: perhaps now
        }
        if me.away {
            self.back.remove(&id);
        } else if old.away {
            self.back.insert(id, BACK_REPEATS);
        }
        if old.joined && !me.joined {
            self.say_leave(id, &old.handle, known);
            return;
        }
        if !me.joined {
            return;
        }
        if !old.joined {
            self.announce_soon(now, 0);
        } else if old.handle != me.handle {
            self.say_join(id);
            // by broadcast alone: at a chat port the LEAVE could be read before the JOIN
            self.say_leave(id, &old.handle, &[]);
        }
        if old.away != me.away || (!old.joined && me.away) {
            let said = if me.away { encode::away(&me.handle) } else { encode::back(&me.handle) };
            self.broadcast(id, &said);
        }
    }

    /// A local user less.
    pub fn remove_user(&mut self, id: UserId, known: &[SocketAddrV4]) {
        self.back.remove(&id);
        if let Some(me) = self.users.remove(&id) {
            if me.joined {
                self.say_leave(id, &me.handle, known);
            }
        }
        self.close_user(id);
    }

    /// Asks everyone who is here.
    pub fn ask_all(&mut self) {
        if let Some(id) = self.speaker() {
            let handle = self.users[&id].handle.clone();
            self.broadcast(id, &encode::who());
            self.broadcast(id, &encode::json_who(&handle));
        }
    }

    /// Asks one peer whether it is there: at its host's discovery port, and at its chat port
    /// where its program listens for that.
    pub fn ask_one(&mut self, to: SocketAddrV4) {
        let Some(id) = self.speaker() else { return };
        let json = self.contacts.speaks_json(to);
        let said = if json { encode::json_who(&self.users[&id].handle) } else { encode::who() };
        let discovery = SocketAddrV4::new(*to.ip(), self.setup.port);
        let chat = self.contacts.listens_on_chat_port(to).then_some(to);
        for place in [Some(discovery), chat].into_iter().flatten() {
            self.question_goes(said.len());
            self.send(id, place, said.clone());
        }
    }

    /// Sends a text; its fate comes as [`Heard::Sent`], [`Heard::NotSent`] or
    /// [`Heard::Undelivered`] under `tag`.
    ///
    /// # Errors
    /// The text does not fit the form, even in parts: how many bytes do.
    pub fn send_text(
        &mut self,
        now: Millis,
        tag: u64,
        user: UserId,
        to: &Addressee,
        text: &str,
    ) -> Result<(), encode::TooLong> {
        let Some(me) = self.users.get(&user) else {
            self.no_port(tag);
            return Ok(());
        };
        let form = self.contacts.sending_form(to.addr);
        let parts = encode::texts(form, &me.handle, &to.handle, text)?;
        if self.sockets.chat_socket(user).is_none() {
            self.no_port(tag);
            return Ok(());
        }
        if self.contacts.uses_tcp(to.addr) {
            self.stream_text(tag, to.addr, parts);
            return Ok(());
        }
        let heads = parts.iter().map(|p| p[..p.len().min(QUOTED)].to_vec()).collect();
        for part in parts {
            self.send(user, to.addr, part);
        }
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent {
            at: now,
            to: to.addr,
            user,
            handle: to.handle.clone(),
            tag,
            text: text.to_owned(),
            heads,
        });
        self.heard(Heard::Sent(tag));
        Ok(())
    }

    /// Whether a text fits the form of an addressee.
    ///
    /// # Errors
    /// It does not: how many bytes about would.
    pub fn fits(&self, user: UserId, to: &Addressee, text: &str) -> Result<(), encode::TooLong> {
        let Some(me) = self.users.get(&user) else { return Ok(()) };
        let form = self.contacts.sending_form(to.addr);
        encode::texts(form, &me.handle, &to.handle, text).map(|_| ())
    }

    /// A peer's message told something of its program.
    pub fn learn(&mut self, addr: SocketAddrV4, lesson: Lesson) {
        self.contacts.note(addr, |seen| seen.add(lesson.0));
    }

    /// Whether something reads UDP at this chat address.
    pub fn listens_on_chat_port(&self, addr: SocketAddrV4) -> bool {
        self.contacts.listens_on_chat_port(addr)
    }

    /// A datagram that began like this will not arrive: one text failed, the last that it can be
    /// about; those before it may have arrived. Where it can be about one datagram only, and that
    /// was the whole text, nothing arrived. Where the form was only guessed, it is tried over TCP
    /// (PROTOCOLS section 3).
    pub fn unreachable(&mut self, now: Millis, to: SocketAddrV4, quoted: &[u8], error: &IoError) {
        let about = |r: &Recent| r.to == to && r.at + RECENT_MS >= now && r.began(quoted);
        let one = !quoted.is_empty() && self.recent.iter().filter(|r| about(r)).count() == 1;
        let at = self.recent.iter().rposition(about);
        let lost = at.and_then(|at| self.recent.remove(at));
        let retry = error.kind == Trouble::Refused && self.contacts.refused(to);
        if !retry {
            self.image_unreachable(to, error);
        }
        let Some(r) = lost else { return };
        if !retry {
            let gone = matches!(error.kind, Trouble::Refused | Trouble::Unreachable);
            let nothing = one && gone && r.heads.len() == 1;
            let fate = if nothing { Heard::Undelivered } else { Heard::NotSent };
            return self.heard(fate(r.tag, error.clone()));
        }
        let addressee = Addressee { handle: r.handle, addr: to };
        // it fitted before, and the form's text is the same
        let _ = self.send_text(now, r.tag, r.user, &addressee, &r.text);
    }

    /// Forgets what was learned of a peer that left the roster.
    pub fn forget(&mut self, addr: SocketAddrV4) {
        self.contacts.forget(addr);
    }

    /// Sets, or with `None` unlearns, the form of a peer's program by its name in `forms`.
    /// `false`: no such form.
    pub fn set_form(&mut self, addr: SocketAddrV4, name: Option<&str>) -> bool {
        self.contacts.set_form(addr, name)
    }

    /// The form's name, where it was learned or set.
    pub fn form_name(&self, addr: SocketAddrV4) -> Option<&'static str> {
        self.contacts.form(addr).map(|f| f.name)
    }

    /// Whether an address is one of this machine's own.
    pub fn is_own_address(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|link| link.address == ip)
    }

    /// Whether an address was ours until a moment ago.
    fn was_ours(&self, now: Millis, ip: Ipv4Addr, within: Millis) -> bool {
        self.former.iter().any(|(former, went)| *former == ip && now < went + within)
    }

    /// Our own address as someone at `ip` sees it.
    pub fn address_towards(&self, ip: Ipv4Addr) -> Option<Ipv4Addr> {
        self.link_to(ip, 0).map(|link| link.address)
    }

    /// Says goodbye for every user.
    pub fn goodbye(&mut self, known: &[SocketAddrV4]) {
        for id in self.users.keys().copied().collect::<Vec<_>>() {
            let me = &self.users[&id];
            if me.joined {
                let handle = me.handle.clone();
                self.say_leave(id, &handle, known);
            }
        }
    }

    /// The port of a local user, once it is open.
    pub fn port(&self, id: UserId) -> Option<u16> {
        self.sockets.chat_port(id)
    }

    /// What was to be sent under this tag cannot leave: its user has no port.
    fn no_port(&mut self, tag: u64) {
        let text = "no chat port is open for it: see STATUS";
        self.heard(Heard::NotSent(tag, IoError::new(Trouble::Other, text)));
    }

    fn heard(&mut self, heard: Heard) {
        self.out.push_back(Out::Heard(heard));
    }

    fn net(&mut self, net: Net) {
        self.out.push_back(Out::Net(net));
    }

    /// The first joined user with an open port, else the first with a port: it asks and answers.
    fn speaker(&self) -> Option<UserId> {
        let ready = |id: &&UserId| self.sockets.chat_port(**id).is_some();
        let joined = self.users.iter().filter(|(_, me)| me.joined).map(|(id, _)| id).find(ready);
        joined.or_else(|| self.users.keys().find(ready)).copied()
    }

    fn send(&mut self, from: UserId, to: SocketAddrV4, bytes: Vec<u8>) {
        if let Some(socket) = self.sockets.chat_socket(from) {
            self.net(Net::Send { socket, to, bytes });
        }
    }

    fn broadcast_addresses(&self) -> Vec<(Ipv4Addr, Option<Ipv4Addr>)> {
        let mut found: Vec<(Ipv4Addr, Option<Ipv4Addr>)> = Vec::new();
        let links = self.links.iter().filter_map(|l| Some((l.broadcast?, Some(l.address))));
        let asked = self.setup.broadcast.iter().map(|b| (*b, None));
        for (to, ours) in links.chain(asked) {
            if !found.iter().any(|(b, _)| *b == to) {
                found.push((to, ours));
            }
        }
        found
    }

    fn broadcast(&mut self, from: UserId, bytes: &[u8]) {
        for (to, _) in self.broadcast_addresses() {
            self.send(from, SocketAddrV4::new(to, self.setup.port), bytes.to_vec());
        }
    }

    /// Announces ourselves anew, as at the start.
    pub fn announce_again(&mut self, now: Millis) {
        self.announce_soon(now, 0);
    }

    fn announce_soon(&mut self, now: Millis, after: Millis) {
        self.announce_at.clear();
        self.announce_at.push(now + after);
        self.announce_at.extend(REPEAT_MS.map(|ms| now + after + ms));
    }

    /// JOIN of every joined user, and a WHO while we are new; then the next in about a period.
    /// A regular one has a WHO too in two of as many cases as there are nodes: so programs that
    /// say JOIN but once are found again after a partition, and the LAN hears no more of them
    /// the larger it is.
    fn announce(&mut self, now: Millis, known: usize) {
        let early = !self.announce_at.is_empty();
        let first = self.announce_at.len() == REPEAT_MS.len();
        for id in self.users.keys().copied().collect::<Vec<_>>() {
            if self.users[&id].joined {
                self.say_join(id);
            }
        }
        if early {
            if first || self.contacts.len() < ENOUGH_KNOWN {
                self.ask_all();
            }
        } else {
            if self.rng.usize(..=known) < 2 {
                self.ask_all();
            }
            let tenth = self.setup.announce / 10;
            let next = self.setup.announce - tenth + self.rng.u64(0..=2 * tenth);
            self.announce_at.push(now + next);
        }
    }

    fn say_join(&mut self, id: UserId) {
        let Some(port) = self.sockets.chat_port(id) else { return };
        let me = self.users[&id].clone();
        for (to, ours) in self.broadcast_addresses() {
            let to = SocketAddrV4::new(to, self.setup.port);
            self.send(id, to, encode::join(&me.handle, port));
            if let Some(ours) = ours {
                self.send(id, to, encode::json_join(&me.handle, ours, port));
            }
        }
        if me.away {
            self.broadcast(id, &encode::away(&me.handle));
        } else if let Some(left) = self.back.get_mut(&id) {
            *left -= 1;
            if *left == 0 {
                self.back.remove(&id);
            }
            self.broadcast(id, &encode::back(&me.handle));
        }
    }

    fn say_leave(&mut self, id: UserId, handle: &Handle, known: &[SocketAddrV4]) {
        let said = encode::leave(handle);
        self.broadcast(id, &said);
        for to in known {
            self.send(id, *to, said.clone());
        }
    }

    fn is_ours(&self) -> impl Fn(&str) -> bool + use<> {
        let keys: Vec<String> =
            self.users.values().filter(|me| me.joined).map(|me| me.handle.key()).collect();
        move |word: &str| keys.contains(&word.to_lowercase())
    }

    fn user_called(&self, handle: &Handle) -> Option<UserId> {
        self.users.iter().find(|(_, me)| me.handle.is(handle.as_str())).map(|(id, _)| *id)
    }

    /// The link an address lies on, the one it was heard on first.
    fn link_to(&self, ip: Ipv4Addr, heard_on: u32) -> Option<&Link> {
        let reaching = || self.links.iter().filter(|l| l.reaches(ip));
        reaching().find(|l| l.index == heard_on).or_else(|| reaching().next())
    }
}
