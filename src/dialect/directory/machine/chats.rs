//! Chats over TCP: raw `Name: text`, no delimiter, nothing before it. The real client reads at
//! most 100 bytes at once and decodes each read for itself, so a text leaves in parts that short,
//! with a pause between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Machine, Role, same};
use crate::dialect::bucket::Bucket;
use crate::dialect::directory::{
    ASKED_MS, MAX_CHATS, MAX_PARTS, MAX_READ, MAX_TEXT, MAX_WAITING, READ_PAUSE_MS, TEXT_BURST,
    TEXT_MS,
};
use crate::dialect::heard::{Chat as State, ChatId, Contact, Heard};
use crate::dialect::parts::parts;
use crate::dialect::raw::RawTexts;
use crate::dialect::writer::{Pace, Writer};
use crate::model::limits::{MAX_STREAMS_PER_SOURCE, STALL_MS};
use crate::model::{IoError, Map, Millis, Net, SocketId, StreamId, Trouble, UserId};

/// What closes a chat, said as a text.
const BACK: &str = "/back";
const PACE: Pace = Pace { gather: 0, backlog: 0, pause: READ_PAUSE_MS, max: 64 * 1024 };

/// All chats.
#[derive(Default)]
pub(super) struct Chats {
    next: u32,
    streams: u64,
    all: Map<ChatId, Chat>,
}

struct Chat {
    user: UserId,
    peer: Contact,
    stream: StreamId,
    phase: Phase,
    /// Texts of ours that wait for the connection.
    waiting: VecDeque<(u64, String)>,
    writer: Writer,
    texts: RawTexts,
    pending: VecDeque<String>,
    bucket: Bucket,
    /// The driver reads; else we owe it a `ReadMore`.
    reading: bool,
}

enum Phase {
    /// We connect.
    Connecting,
    /// He connected, and is to be accepted; what he says waits with the kernel, but for one read.
    Asked {
        until: Millis,
    },
    Open,
    /// It is over; what waits is still written.
    Ending {
        until: Millis,
    },
}

impl Chats {
    pub(super) fn next_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        let at = |chat: &Chat| {
            let phase = match chat.phase {
                Phase::Asked { until } | Phase::Ending { until } => Some(until),
                Phase::Connecting | Phase::Open => None,
            };
            let held = matches!(chat.phase, Phase::Open) && !chat.pending.is_empty();
            let read = held.then(|| chat.bucket.wake_at());
            [phase, read, chat.writer.wake_at()].into_iter().flatten().min()
        };
        self.all.values().filter_map(at).min()
    }

    fn of(&self, stream: StreamId) -> Option<ChatId> {
        self.all.iter().find(|(_, chat)| chat.stream == stream).map(|(id, _)| *id)
    }

    fn with(&self, user: UserId, peer: &Contact) -> Option<ChatId> {
        let is = |c: &Chat| {
            c.user == user
                && c.peer.at.ip() == peer.at.ip()
                && same(&c.peer.name, &peer.name)
                && !matches!(c.phase, Phase::Ending { .. })
        };
        self.all.iter().find(|(_, c)| is(c)).map(|(id, _)| *id)
    }

    fn add(
        &mut self,
        now: Millis,
        user: UserId,
        peer: Contact,
        stream: StreamId,
        phase: Phase,
    ) -> ChatId {
        self.next += 1;
        let id = ChatId(self.next);
        let chat = Chat {
            user,
            peer,
            stream,
            phase,
            waiting: VecDeque::new(),
            writer: Writer::new(PACE),
            texts: RawTexts::new(false, MAX_TEXT),
            pending: VecDeque::new(),
            bucket: Bucket::new(now, TEXT_BURST, TEXT_MS),
            reading: true,
        };
        self.all.insert(id, chat);
        id
    }
}

impl Machine {
    /// Makes a chat of a user of ours with somebody. If he connected first, that is accepted.
    ///
    /// # Errors
    /// In words: there is one already, or there are too many.
    pub fn chat_ask(
        &mut self,
        now: Millis,
        user: UserId,
        peer: &Contact,
    ) -> Result<ChatId, String> {
        if !self.users.contains_key(&user) {
            return Err("this user is not in the directory".into());
        }
        if let Some(id) = self.chats.with(user, peer) {
            return match self.chats.all.get(&id).map(|c| &c.phase) {
                Some(Phase::Asked { .. }) => {
                    self.chat_accept(now, id);
                    Ok(id)
                }
                Some(Phase::Open) => Err(format!("a chat with {} is open already", peer.name)),
                _ => Err(format!("a chat with {} is being made already", peer.name)),
            };
        }
        if self.chats.all.len() >= MAX_CHATS {
            return Err(format!("{MAX_CHATS} chats, no more at once: CLOSE one"));
        }
        let ip = *peer.at.ip();
        if ip.is_loopback() && self.has(Role::Chat(Ipv4Addr::LOCALHOST)) {
            return Err(format!(
                "we have 127.0.0.1:{} ourselves, where {} would be: directory.loopback = false",
                self.setup.chat_port, peer.name
            ));
        }
        let stream = self.stream_id();
        let id = self.chats.add(now, user, peer.clone(), stream, Phase::Connecting);
        self.told.net(Net::Connect(stream, SocketAddrV4::new(ip, self.setup.chat_port)));
        Ok(id)
    }

    /// Accepts whoever connected; `false`: there is none such.
    pub fn chat_accept(&mut self, now: Millis, id: ChatId) -> bool {
        let asked = |c: &&mut Chat| matches!(c.phase, Phase::Asked { .. });
        let Some(chat) = self.chats.all.get_mut(&id).filter(asked) else { return false };
        chat.phase = Phase::Open;
        let (peer, user) = (chat.peer.clone(), chat.user);
        self.told.heard(Heard::Chat(id, State::Open(peer, user)));
        self.send_waiting(now, id);
        self.pump(now, id);
        true
    }

    /// Refuses whoever connected; `false`: there is none such.
    pub fn chat_refuse(&mut self, now: Millis, id: ChatId) -> bool {
        let asked = |c: &&Chat| matches!(c.phase, Phase::Asked { .. });
        let found = self.chats.all.get(&id).filter(asked).is_some();
        if found {
            self.over(now, id, "refused");
        }
        found
    }

    /// Closes a chat; `false`: there is none such. The other end is told in a text, as the real
    /// client does it.
    pub fn chat_close(&mut self, now: Millis, id: ChatId) -> bool {
        match self.chats.all.get(&id).map(|c| &c.phase) {
            None | Some(Phase::Ending { .. }) => return false,
            Some(Phase::Open) => self.say(now, id, BACK, None),
            Some(Phase::Asked { .. } | Phase::Connecting) => {}
        }
        self.over(now, id, "closed");
        true
    }

    pub(super) fn send_private(
        &mut self,
        now: Millis,
        tag: u64,
        user: UserId,
        peer: &Contact,
        text: &str,
    ) {
        if text.trim() == BACK {
            return self.told.not_sent(tag, "this text would end the chat: CLOSE does that");
        }
        let id = match self.chats.with(user, peer) {
            Some(id) => id,
            None => match self.chat_ask(now, user, peer) {
                Ok(id) => id,
                Err(why) => return self.told.not_sent(tag, &why),
            },
        };
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        if chat.waiting.len() >= MAX_WAITING {
            return self.told.not_sent(tag, "the chat is not open yet, and enough waits for it");
        }
        chat.waiting.push_back((tag, text.to_owned()));
        match chat.phase {
            Phase::Open => self.send_waiting(now, id),
            // writing to who waits to be accepted is accepting him
            Phase::Asked { .. } => drop(self.chat_accept(now, id)),
            Phase::Connecting | Phase::Ending { .. } => {}
        }
    }

    fn send_waiting(&mut self, now: Millis, id: ChatId) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        for (tag, text) in std::mem::take(&mut chat.waiting) {
            self.say(now, id, &text, Some(tag));
        }
    }

    /// A text in parts, each with our name before it.
    fn say(&mut self, now: Millis, id: ChatId, text: &str, tag: Option<u64>) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        let name = self.users.get(&chat.user).map_or("", String::as_str);
        // a name of so many bytes leaves room for its text all the same
        let room = MAX_READ.saturating_sub(name.len() + 2);
        let parts = parts(text, room);
        if parts.is_empty() || parts.len() > MAX_PARTS {
            if let Some(tag) = tag {
                let text = format!("too long for this dialect: at most {} bytes", room * MAX_PARTS);
                self.told.heard(Heard::NotSent(tag, IoError::new(Trouble::TooLarge, text)));
            }
            return;
        }
        let last = parts.len() - 1;
        let mut full = false;
        for (n, part) in parts.iter().enumerate() {
            let bytes = format!("{name}: {part}").into_bytes();
            full |= chat.writer.push(bytes, tag.filter(|_| n == last)).is_err();
        }
        if let (true, Some(tag)) = (full, tag) {
            self.told.not_sent(tag, "he takes nothing of what is sent to him");
        }
        self.write(now, id);
    }

    fn write(&mut self, now: Millis, id: ChatId) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        if matches!(chat.phase, Phase::Connecting) {
            return;
        }
        let stream = chat.stream;
        if let Some(bytes) = chat.writer.next(now) {
            self.told.net(Net::Write(stream, bytes));
        } else if chat.writer.is_idle() && matches!(chat.phase, Phase::Ending { .. }) {
            self.forget(id);
        }
    }

    /// A listener of ours accepted a connection.
    pub fn accepted(
        &mut self,
        now: Millis,
        socket: SocketId,
        stream: StreamId,
        from: SocketAddrV4,
    ) {
        let Some(Role::Chat(_)) = self.sockets.get(&socket) else { return };
        let from = self.lan.canonical(from);
        let ip = *from.ip();
        let here = self.chats.all.values().filter(|c| *c.peer.at.ip() == ip).count();
        // there is no word for whom of us he wants: the box's own
        let user = self.users.keys().next().copied().filter(|_| self.lan.reaches(ip));
        let Some(user) = user else { return self.told.net(Net::Close(stream)) };
        if self.chats.all.len() >= MAX_CHATS || here >= MAX_STREAMS_PER_SOURCE {
            self.told.complain(*from.ip(), "more chats at once than are taken; this one is closed");
            return self.told.net(Net::Close(stream));
        }
        let known: Vec<&Contact> = self.told.present().filter(|c| *c.at.ip() == ip).collect();
        let peer = match known[..] {
            [one] => one.clone(),
            _ => Contact { name: ip.to_string(), at: from },
        };
        if self.chats.with(user, &peer).is_some() {
            self.told.complain(*from.ip(), &format!("a chat with {} is there already", peer.name));
            return self.told.net(Net::Close(stream));
        }
        let phase = Phase::Asked { until: now + ASKED_MS };
        let id = self.chats.add(now, user, peer.clone(), stream, phase);
        self.told.heard(Heard::Chat(id, State::Asked(peer, user)));
    }

    /// A connection that we asked for is made.
    pub fn connected(&mut self, now: Millis, stream: StreamId) {
        let Some(id) = self.chats.of(stream) else { return };
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        if matches!(chat.phase, Phase::Connecting) {
            chat.phase = Phase::Open;
            let (peer, user) = (chat.peer.clone(), chat.user);
            self.told.heard(Heard::Chat(id, State::Open(peer, user)));
            self.send_waiting(now, id);
        }
    }

    /// Bytes came in.
    pub fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>) {
        let Some(id) = self.chats.of(stream) else { return };
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        chat.reading = false;
        if !matches!(chat.phase, Phase::Ending { .. }) {
            chat.pending.extend(chat.texts.push(&bytes));
        }
        self.pump(now, id);
    }

    /// Takes what has come in as fast as is allowed; then has the driver read on.
    fn pump(&mut self, now: Millis, id: ChatId) {
        loop {
            let Some(chat) = self.chats.all.get_mut(&id) else { return };
            match chat.phase {
                Phase::Asked { .. } => return,
                Phase::Open if !chat.pending.is_empty() => {
                    if !chat.bucket.take(now) {
                        return; // `wake_at` brings us back
                    }
                    let text = chat.pending.pop_front().unwrap_or_default();
                    self.text(now, id, &text);
                }
                _ => break,
            }
        }
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        if !std::mem::replace(&mut chat.reading, true) {
            let stream = chat.stream;
            self.told.net(Net::ReadMore(stream));
        }
    }

    /// What was read at once: `Name: text`, or the rest of a longer one.
    fn text(&mut self, now: Millis, id: ChatId, said: &str) {
        let Some(chat) = self.chats.all.get(&id) else { return };
        let (user, ip) = (chat.user, *chat.peer.at.ip());
        let mut text = said;
        if let Some((name, rest)) = said.split_once(": ") {
            let listed = self.told.present().find(|c| *c.at.ip() == ip && c.name == name).cloned();
            if same(&chat.peer.name, name) {
                text = rest;
            } else if let Some(peer) = listed {
                // one address, several people: now it is known who it is
                if self.chats.with(user, &peer).is_some() {
                    return self.over(now, id, &format!("a chat with {name} is open already"));
                }
                text = rest;
                if let Some(chat) = self.chats.all.get_mut(&id) {
                    chat.peer = peer;
                }
            }
        }
        let Some(chat) = self.chats.all.get(&id) else { return };
        let from = chat.peer.clone();
        if text.trim() == BACK {
            return self.over(now, id, "he closed it");
        }
        if !text.trim().is_empty() {
            let text = text.to_owned();
            self.told.heard(Heard::Text { from, to: Some(user), text, said: None });
        }
    }

    /// The other end sends no more.
    pub fn stream_end(&mut self, now: Millis, stream: StreamId) {
        let Some(id) = self.chats.of(stream) else { return };
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        if matches!(chat.phase, Phase::Ending { .. }) {
            return self.forget(id);
        }
        if matches!(chat.phase, Phase::Open) {
            let rest: Vec<String> = chat.pending.drain(..).chain(chat.texts.idle()).collect();
            for text in rest {
                self.text(now, id, &text);
            }
        }
        self.over(now, id, "the other end closed it");
        self.forget(id);
    }

    /// A write is done.
    pub fn wrote(&mut self, now: Millis, stream: StreamId) {
        let Some(id) = self.chats.of(stream) else { return };
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        for tag in chat.writer.wrote(now) {
            self.told.heard(Heard::Sent(tag));
        }
        self.write(now, id);
    }

    /// A stream broke, or could not be made.
    pub fn stream_closed(&mut self, now: Millis, stream: StreamId, error: &IoError) {
        let Some(id) = self.chats.of(stream) else { return };
        let connecting =
            self.chats.all.get(&id).is_some_and(|c| matches!(c.phase, Phase::Connecting));
        let why = match error.kind {
            Trouble::Refused if connecting => "he does not wait for a chat".to_owned(),
            _ => error.text.clone(),
        };
        self.over(now, id, &why);
        self.forget(id);
    }

    pub(super) fn tick_chats(&mut self, now: Millis) {
        for id in self.chats.all.keys().copied().collect::<Vec<_>>() {
            match self.chats.all.get(&id).map(|c| &c.phase) {
                Some(Phase::Asked { until }) if *until <= now => {
                    self.over(now, id, "it was not answered in time");
                }
                Some(Phase::Ending { until }) if *until <= now => self.forget(id),
                _ => {}
            }
            self.pump(now, id);
            self.write(now, id);
        }
    }

    /// A chat is over, and why; what waits to be written still is.
    fn over(&mut self, now: Millis, id: ChatId, why: &str) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        let phase = std::mem::replace(&mut chat.phase, Phase::Ending { until: now + STALL_MS });
        if matches!(phase, Phase::Ending { .. }) {
            return;
        }
        let (peer, user) = (chat.peer.clone(), chat.user);
        chat.pending.clear();
        for (tag, _) in std::mem::take(&mut chat.waiting) {
            self.told.not_sent(tag, &format!("no chat with {}: {why}", peer.name));
        }
        self.told.heard(Heard::Chat(id, State::Over(peer, user, why.into())));
        self.write(now, id);
    }

    fn forget(&mut self, id: ChatId) {
        if let Some(mut chat) = self.chats.all.remove(&id) {
            for tag in chat.writer.unsent() {
                self.told.not_sent(tag, "the connection is lost");
            }
            self.told.net(Net::Close(chat.stream));
        }
    }

    pub(super) fn close_chats_of(&mut self, now: Millis, user: UserId) {
        let theirs: Vec<ChatId> =
            self.chats.all.iter().filter(|(_, c)| c.user == user).map(|(id, _)| *id).collect();
        for id in theirs {
            self.chat_close(now, id);
        }
    }

    /// Ends all chats without waiting for anything.
    pub(super) fn chats_goodbye(&mut self) {
        for (_, mut chat) in std::mem::take(&mut self.chats.all) {
            if matches!(chat.phase, Phase::Open) {
                let name = self.users.get(&chat.user).map_or("", String::as_str);
                let _ = chat.writer.push(format!("{name}: {BACK}").into_bytes(), None);
                let last = chat.writer.rest();
                self.told.net(Net::Write(chat.stream, last));
            }
            self.told.net(Net::Close(chat.stream));
        }
    }
}
