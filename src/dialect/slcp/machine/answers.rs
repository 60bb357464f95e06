//! Answers to WHO and to the JOIN of a newcomer: late, few, small, and never off the link.
//!
//! A WHO is a broadcast that everyone answers, so each answer waits a random moment, goes by
//! unicast, and is bounded per source and in all: a forged WHO must not make us a weapon
//! (DESIGN section 9).

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::encode;
use super::super::forms::{self, ListForm, Transport};
use super::super::said::{Entry, ListSeparator, ListWord};
use super::{Heard, Machine, UserId};
use crate::model::{Millis, Net, StreamId};

/// Datagrams to one program (an address and a port) in one window.
pub const MAX_ANSWERS: u32 = 3;
/// Datagrams to one other host in one window: several programs may run there.
pub const MAX_ANSWERS_PER_HOST: u32 = 12;
/// That window.
pub const ANSWER_WINDOW_MS: Millis = 5_000;
/// Bytes of answers to everyone in a second.
pub const MAX_ANSWER_BYTES: u32 = 64 * 1024;
/// Sources whose window is remembered; beyond, newcomers wait for a window to end.
pub const MAX_SOURCES: usize = 2_048;
/// Answers waiting for their moment.
pub const MAX_WAITING: usize = 256;
/// The list that a JSON WHO is answered with (captures/slcp-002-lucaatm-main-json).
const JSON_LIST: ListForm = ListForm {
    word: ListWord::KnownUsers,
    separator: ListSeparator::Json,
    newline: false,
    over: Transport::Udp,
};
/// What is answered to other words than WHO (a newcomer's welcome, an IAM) is in sum no more than
/// what all other words were that came in, packets counted whole; but for so many bytes …
pub const CREDIT_BYTES: u32 = 4_096;
/// … in so long: a newcomer's name may be shorter than ours.
pub const CREDIT_MS: Millis = 60_000;
/// Bytes of the heads of a datagram: IPv4 and UDP.
pub const HEAD_BYTES: u32 = 28;
/// An answer leaves after a random time up to this.
const JITTER_MS: Millis = 400;

/// An answer whose moment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Who asked.
    pub from: SocketAddrV4,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A WHO: who is here?
    Who { json: bool, reply_port: Option<u16>, all: bool },
    /// A newcomer, to be told of us: its chat address.
    Newcomer(SocketAddrV4),
}

impl Due {
    /// Whether everyone was asked, so that others answer too.
    pub fn asked_all(&self) -> bool {
        matches!(self.kind, Kind::Who { all: true, .. })
    }
}

#[derive(Default)]
pub(super) struct Answers {
    waiting: VecDeque<(Millis, Due)>,
    answers: Limiter,
    autoreplies: Limiter,
    credit: Credit,
}

/// What others' words may still draw out of us, in bytes of packets: whoever forges a new source
/// with each of them gets no more than he sends.
struct Credit {
    bytes: u32,
    full: Millis,
}

impl Default for Credit {
    fn default() -> Credit {
        Credit { bytes: CREDIT_BYTES, full: 0 }
    }
}

impl Credit {
    fn earn(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(packet(bytes)).min(CREDIT_BYTES);
    }

    fn covers(&mut self, now: Millis, bytes: usize) -> bool {
        if now >= self.full + CREDIT_MS {
            (self.bytes, self.full) = (CREDIT_BYTES, now);
        }
        packet(bytes) <= self.bytes
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(packet(bytes));
    }
}

/// Bytes of a datagram's packet.
fn packet(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(HEAD_BYTES)
}

/// Bounds what strangers can make us send: per source and in all.
#[derive(Default)]
struct Limiter {
    /// By program, and by host under port 0: when its window began, datagrams since.
    sources: HashMap<SocketAddrV4, (Millis, u32)>,
    second: Millis,
    bytes: u32,
}

impl Answers {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.waiting.iter().map(|(at, _)| *at).min()
    }
}

impl Limiter {
    /// Whether one more datagram may go to this program now.
    fn allow(&mut self, now: Millis, to: SocketAddrV4, bytes: usize) -> bool {
        if now >= self.second + 1_000 {
            (self.second, self.bytes) = (now, 0);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.bytes.saturating_add(bytes) > MAX_ANSWER_BYTES {
            return false;
        }
        let host = SocketAddrV4::new(*to.ip(), 0);
        let host_limit = if to.ip().is_loopback() { u32::MAX } else { MAX_ANSWERS_PER_HOST };
        let limits = [(host, host_limit), (to, MAX_ANSWERS)];
        if self.sources.len() + limits.len() > MAX_SOURCES {
            self.sources.retain(|_, (start, _)| *start + ANSWER_WINDOW_MS > now);
        }
        let sent = |(key, most): (SocketAddrV4, u32)| match self.sources.get(&key) {
            Some((start, _)) if *start + ANSWER_WINDOW_MS <= now => true,
            Some((_, sent)) => *sent < most,
            None => self.sources.len() + limits.len() <= MAX_SOURCES,
        };
        if !limits.into_iter().all(sent) {
            return false;
        }
        for (key, _) in limits {
            let (start, sent) = self.sources.entry(key).or_insert((now, 0));
            if *start + ANSWER_WINDOW_MS <= now {
                (*start, *sent) = (now, 0);
            }
            *sent += 1;
        }
        self.bytes += bytes;
        true
    }
}

impl Machine {
    pub(super) fn asked(
        &mut self,
        now: Millis,
        from: SocketAddrV4,
        json: bool,
        reply_port: Option<u16>,
        all: bool,
    ) {
        self.wait(now, Due { from, kind: Kind::Who { json, reply_port, all } });
    }

    /// Someone joined who was not known: it is told of us, by unicast.
    pub fn welcome(&mut self, now: Millis, newcomer: SocketAddrV4) {
        self.wait(now, Due { from: newcomer, kind: Kind::Newcomer(newcomer) });
    }

    fn wait(&mut self, now: Millis, due: Due) {
        let asked_already = |(_, d): &(Millis, Due)| {
            d.from == due.from
                && std::mem::discriminant(&d.kind) == std::mem::discriminant(&due.kind)
        };
        // an answer to WHO tells of us too: no need to say it twice
        let is_newcomer = |d: &Due| matches!(d.kind, Kind::Newcomer(_)) && d.from == due.from;
        if is_newcomer(&due) {
            if self.answers.waiting.iter().any(|(_, d)| d.from == due.from) {
                return;
            }
        } else {
            self.answers.waiting.retain(|(_, d)| !is_newcomer(d));
        }
        let waiting = &self.answers.waiting;
        let of_host = waiting.iter().filter(|(_, d)| d.from.ip() == due.from.ip()).count();
        if self.link_to(*due.from.ip(), 0).is_none()
            || waiting.len() >= MAX_WAITING
            || of_host >= MAX_ANSWERS_PER_HOST as usize
            || waiting.iter().any(asked_already)
        {
            return;
        }
        let at = now + self.rng.u64(10..=JITTER_MS);
        self.answers.waiting.push_back((at, due));
    }

    pub(super) fn due_answers(&mut self, now: Millis) {
        let (due, later) = std::mem::take(&mut self.answers.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(at, _)| *at <= now);
        self.answers.waiting = later;
        for (_, due) in due {
            self.heard(Heard::Asked(due));
        }
    }

    /// Sends an answer: our own users first, then `others`.
    pub fn answer(&mut self, now: Millis, due: &Due, others: &[Entry]) {
        let Some(speaker) = self.speaker() else { return };
        let mut own = self.own_entries(*due.from.ip());
        if own.is_empty() {
            return;
        }
        match due.kind {
            Kind::Newcomer(chat) => self.answer_newcomer(now, speaker, chat, &own),
            Kind::Who { json, reply_port, .. } => {
                let shown = self.address_towards(*due.from.ip());
                own.extend(others.iter().filter_map(|e| {
                    let ip = if e.ip.is_loopback() { shown? } else { e.ip };
                    Some(Entry { ip, ..e.clone() })
                }));
                let may = Machine::may_answer;
                self.answer_who(now, speaker, due.from, (json, reply_port), &own, may);
            }
        }
    }

    fn answer_newcomer(&mut self, now: Millis, speaker: UserId, chat: SocketAddrV4, own: &[Entry]) {
        let json = self.contacts.speaks_json(chat);
        if json || self.contacts.listens_on_chat_port(chat) {
            self.answer_who(now, speaker, chat, (json, None), own, Machine::may_welcome);
        }
        let discovery = SocketAddrV4::new(*chat.ip(), self.setup.port);
        for entry in own {
            let join = encode::join(&entry.handle, entry.port);
            if self.may_welcome(now, chat, join.len()) {
                self.send(speaker, discovery, join);
            }
        }
    }

    fn answer_who(
        &mut self,
        now: Millis,
        speaker: UserId,
        from: SocketAddrV4,
        (json, reply_port): (bool, Option<u16>),
        entries: &[Entry],
        may: fn(&mut Machine, Millis, SocketAddrV4, usize) -> bool,
    ) {
        // where the programs really listen for it (PROTOCOLS section 2, "WHO reply"): the port
        // they asked from, the port they name, or their chat port
        let mut places = vec![from];
        let ip = *from.ip();
        let chat: Option<SocketAddrV4> =
            self.contacts.at(ip).find(|a| a.port() == from.port()).or_else(|| {
                let mut all = self.contacts.at(ip);
                all.next().filter(|_| all.next().is_none())
            });
        let form = chat.and_then(|a| self.contacts.form(a));
        let list = match form {
            Some(form) => &form.list,
            None if json => &JSON_LIST,
            None => &forms::default().list,
        };
        let lists = encode::lists(entries, list);
        if let (Some(form), Some(chat)) = (form, chat) {
            if form.answers.stream {
                return self.stream_list(now, chat, lists);
            }
            places.retain(|_| form.answers.source);
            let discovery = form.answers.discovery.then_some(self.setup.port);
            let second = self.contacts.udp_port(chat).filter(|_| form.answers.udp_port);
            let chat = form.answers.join_port.then_some(chat.port());
            for port in [discovery, second, chat].into_iter().flatten() {
                places.push(SocketAddrV4::new(ip, port));
            }
        } else {
            places.extend(chat);
        }
        places.extend(reply_port.map(|p| SocketAddrV4::new(ip, p)));
        for (n, place) in places.iter().enumerate() {
            if places[..n].contains(place) {
                continue;
            }
            let most = if n == 0 { lists.len() } else { 1 };
            for bytes in lists.iter().take(most) {
                if may(self, now, from, bytes.len()) {
                    self.send(speaker, *place, bytes.clone());
                }
            }
        }
    }

    /// Answers a WHO or WHOIS that came over TCP, on that stream.
    pub(super) fn answer_on_stream(&mut self, now: Millis, stream: StreamId, asker: SocketAddrV4) {
        let own = self.own_entries(*asker.ip());
        let lists = encode::lists(&own, &forms::default().list).concat();
        // who asks and does not read must not fill our memory
        if self.stream_may_answer(now, stream, asker, lists.len()) {
            self.net(Net::Write(stream, lists));
        }
    }

    /// Whether one more datagram (or line) of answers may go to this address now.
    pub(super) fn may_answer(&mut self, now: Millis, to: SocketAddrV4, bytes: usize) -> bool {
        self.answers.answers.allow(now, to, bytes)
    }

    /// The same for what answers another word than WHO: only as far as such words came in.
    pub(super) fn may_welcome(&mut self, now: Millis, to: SocketAddrV4, bytes: usize) -> bool {
        let may = self.answers.credit.covers(now, bytes) && self.may_answer(now, to, bytes);
        if may {
            self.answers.credit.spend(bytes);
        }
        may
    }

    /// A word other than WHO came in, of so many bytes.
    pub(super) fn word_came(&mut self, bytes: usize) {
        self.answers.credit.earn(bytes);
    }

    /// Somebody is asked whether he is here, which no credit may forbid: a forged LEAVE or text
    /// asks for it, and others get the less.
    pub(super) fn question_goes(&mut self, bytes: usize) {
        self.answers.credit.spend(bytes);
    }

    /// Whether an automatic text may go to this address now: a forged text must not make us
    /// send more than a forged WHO could.
    pub fn may_autoreply(&mut self, now: Millis, to: SocketAddrV4, bytes: usize) -> bool {
        self.answers.autoreplies.allow(now, to, bytes)
    }

    /// Our joined users as someone at `asker` can reach them.
    pub(super) fn own_entries(&self, asker: Ipv4Addr) -> Vec<Entry> {
        let Some(ip) = self.address_towards(asker) else { return Vec::new() };
        let joined = self.users.iter().filter(|(_, me)| me.joined);
        joined
            .filter_map(|(id, me)| {
                let port = self.sockets.chat_port(*id)?;
                Some(Entry { handle: me.handle.clone(), ip, port, away: me.away })
            })
            .collect()
    }
}
