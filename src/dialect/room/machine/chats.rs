//! Private chats: asked for by UDP, held over TCP. The one who is asked connects to the port that
//! the asker named; both say their nicknames, raw; then texts, until one says `[DISCONNECT]`.
//! Between two people there is never more than one.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Kind, Machine, same};
use crate::dialect::heard::{Chat as State, ChatId, Contact, Heard};
use crate::dialect::parts::parts;
use crate::dialect::raw::RawTexts;
use crate::dialect::room::codec::Framing;
use crate::dialect::room::{MAX_PARTS, MAX_SENT, MAX_TEXT, MAX_WAITING};
use crate::model::{IoError, Map, Millis, StreamId, Trouble, UserId};

/// What ends a chat.
const DISCONNECT: &str = "[DISCONNECT]";
/// Both have so long to say their nicknames, in milliseconds.
pub(super) const GREET_MS: Millis = 5_000;
/// A line without an end is taken as whole after this, in milliseconds.
const IDLE_MS: Millis = 300;

/// All private chats.
#[derive(Default)]
pub(super) struct Chats {
    next: u32,
    pub(super) all: Map<ChatId, Chat>,
    /// In which framing an address last asked: what it is asked in.
    pub(super) spoke: Map<Ipv4Addr, Framing>,
}

pub(super) struct Chat {
    pub(super) user: UserId,
    pub(super) peer: Contact,
    pub(super) framing: Framing,
    pub(super) phase: Phase,
    /// Texts of ours that wait for it to open.
    pub(super) waiting: VecDeque<(u64, String)>,
}

pub(super) enum Phase {
    /// We asked, and wait for a connection.
    Asking {
        until: Millis,
    },
    /// He asked: accepting means connecting to his port.
    Asked {
        source: SocketAddrV4,
        port: u16,
        until: Millis,
    },
    /// We accepted: connecting, then waiting for his nickname.
    Greeting {
        stream: StreamId,
        heard: Vec<u8>,
        until: Millis,
    },
    Open {
        stream: StreamId,
        texts: RawTexts,
        pending: VecDeque<String>,
        flush_at: Option<Millis>,
    },
}

impl Chats {
    pub(super) fn wake_at(&self) -> Option<Millis> {
        let at = |chat: &Chat| match &chat.phase {
            Phase::Asking { until }
            | Phase::Asked { until, .. }
            | Phase::Greeting { until, .. } => Some(*until),
            Phase::Open { flush_at, .. } => *flush_at,
        };
        self.all.values().filter_map(at).min()
    }

    /// Whether a user of ours waits for somebody at this address to connect.
    pub(super) fn expects(&self, user: UserId, ip: Ipv4Addr) -> bool {
        self.asking(user, ip).next().is_some()
    }

    pub(super) fn asking(
        &self,
        user: UserId,
        ip: Ipv4Addr,
    ) -> impl Iterator<Item = (ChatId, &Chat)> {
        let asks = move |c: &Chat| {
            c.user == user && *c.peer.at.ip() == ip && matches!(c.phase, Phase::Asking { .. })
        };
        self.all.iter().filter(move |(_, c)| asks(c)).map(|(id, c)| (*id, c))
    }

    pub(super) fn with(&self, user: UserId, peer: &Contact) -> Option<ChatId> {
        let is = |c: &Chat| {
            c.user == user && c.peer.at.ip() == peer.at.ip() && same(&c.peer.name, &peer.name)
        };
        self.all.iter().find(|(_, c)| is(c)).map(|(id, _)| *id)
    }

    pub(super) fn add(&mut self, chat: Chat) -> ChatId {
        self.next += 1;
        let id = ChatId(self.next);
        self.all.insert(id, chat);
        id
    }
}

impl Machine {
    /// Closes a private chat, or takes the asking back; `false`: there is none such.
    pub fn chat_close(&mut self, now: Millis, id: ChatId) -> bool {
        match self.chats.all.get(&id).map(|c| &c.phase) {
            None => false,
            Some(Phase::Asked { .. }) => self.chat_refuse(now, id),
            Some(_) => {
                self.say_disconnect(now, id);
                self.over(now, id, "closed");
                true
            }
        }
    }

    fn say_disconnect(&mut self, now: Millis, id: ChatId) {
        let Some(Chat { phase: Phase::Open { stream, .. }, framing, .. }) = self.chats.all.get(&id)
        else {
            return;
        };
        let (stream, bytes) = (*stream, raw(*framing, DISCONNECT));
        self.say(now, stream, bytes, None);
    }

    pub(super) fn send_private(
        &mut self,
        now: Millis,
        tag: u64,
        user: UserId,
        peer: &Contact,
        text: &str,
    ) {
        if text.trim() == DISCONNECT {
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
        match &chat.phase {
            Phase::Open { stream, .. } => {
                let (stream, framing) = (*stream, chat.framing);
                self.say_private(now, stream, framing, tag, text);
            }
            _ if chat.waiting.len() >= MAX_WAITING => {
                self.told.not_sent(tag, "he has not answered the request for a private chat");
            }
            phase => {
                // writing to who asks for a chat is accepting it
                let asked = matches!(phase, Phase::Asked { .. });
                chat.waiting.push_back((tag, text.to_owned()));
                if asked {
                    self.chat_accept(now, id);
                }
            }
        }
    }

    fn say_private(
        &mut self,
        now: Millis,
        stream: StreamId,
        framing: Framing,
        tag: u64,
        text: &str,
    ) {
        let parts = parts(text, MAX_SENT - 1);
        if parts.is_empty() || parts.len() > MAX_PARTS {
            let text = format!("too long for a private chat: at most {MAX_PARTS} parts are sent");
            return self.told.heard(Heard::NotSent(tag, IoError::new(Trouble::TooLarge, text)));
        }
        let last = parts.len() - 1;
        for (n, part) in parts.iter().enumerate() {
            self.say(now, stream, raw(framing, part), (n == last).then_some(tag));
        }
    }

    pub(super) fn chat_connected(&mut self, now: Millis, id: ChatId) {
        let Some(chat) = self.chats.all.get(&id) else { return };
        let Phase::Greeting { stream, .. } = chat.phase else { return };
        let nick = self.users.get(&chat.user).map(|me| me.name.clone()).unwrap_or_default();
        self.say(now, stream, nick.into_bytes(), None);
    }

    /// Someone who connected says his nickname; `false`: not all of it yet.
    pub(super) fn knock_next(&mut self, now: Millis, stream: StreamId) -> bool {
        self.knock(now, stream, false)
    }

    /// What he said so far is all.
    pub(super) fn knock_late(&mut self, now: Millis, stream: StreamId) {
        self.knock(now, stream, true);
        if self.streams.get(&stream).is_some_and(|s| matches!(s.kind, Kind::Knock(..))) {
            self.close_stream(stream);
        }
    }

    fn knock(&mut self, now: Millis, stream: StreamId, late: bool) -> bool {
        let Some(s) = self.streams.get(&stream) else { return false };
        let Kind::Knock(user, heard) = &s.kind else { return false };
        let (user, from) = (*user, s.from);
        let expected: Vec<(ChatId, String)> =
            self.chats.asking(user, *from.ip()).map(|(id, c)| (id, c.peer.name.clone())).collect();
        let Some((nick, rest)) = nick_of(heard, expected.iter().map(|(_, n)| n.as_str()), late)
        else {
            return false;
        };
        let called = expected.iter().find(|(_, name)| same(name, &nick));
        // where one alone was asked, it is he, whatever his server calls him
        let Some((id, _)) = called.or(expected.first().filter(|_| expected.len() == 1)) else {
            self.told
                .complain(*from.ip(), "it connected for a private chat that nobody asked it for");
            self.close_stream(stream);
            return false;
        };
        let id = *id;
        if let Some(s) = self.streams.get_mut(&stream) {
            s.kind = Kind::Chat(id);
        }
        let nick = self.users.get(&user).map(|me| me.name.clone()).unwrap_or_default();
        self.say(now, stream, nick.into_bytes(), None);
        self.open(now, id, stream, &rest);
        true
    }

    /// The chat is open; `rest` came in with the nickname.
    fn open(&mut self, now: Millis, id: ChatId, stream: StreamId, rest: &[u8]) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        let lines = chat.framing == Framing::Lines;
        let texts = RawTexts::new(lines, MAX_TEXT);
        chat.phase = Phase::Open { stream, texts, pending: VecDeque::new(), flush_at: None };
        let (peer, user, framing) = (chat.peer.clone(), chat.user, chat.framing);
        let waiting = std::mem::take(&mut chat.waiting);
        self.told.heard(Heard::Chat(id, State::Open(peer, user)));
        for (tag, text) in waiting {
            self.say_private(now, stream, framing, tag, &text);
        }
        self.chat_bytes(now, id, rest);
    }

    pub(super) fn chat_bytes(&mut self, now: Millis, id: ChatId, bytes: &[u8]) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        match &mut chat.phase {
            Phase::Open { texts, pending, flush_at, .. } => {
                pending.extend(texts.push(bytes));
                *flush_at = texts.waits().then_some(now + IDLE_MS);
            }
            Phase::Greeting { stream, heard, .. } => {
                let stream = *stream;
                heard.extend_from_slice(bytes);
                let heard = heard.clone();
                self.greeted(now, id, stream, &heard, false);
            }
            _ => {}
        }
    }

    /// The one we connected to says his nickname.
    fn greeted(&mut self, now: Millis, id: ChatId, stream: StreamId, heard: &[u8], late: bool) {
        let Some(chat) = self.chats.all.get(&id) else { return };
        let (user, ip, name) = (chat.user, *chat.peer.at.ip(), chat.peer.name.clone());
        let here = self.told.present().filter(|c| *c.at.ip() == ip).map(|c| c.name.as_str());
        let Some((nick, rest)) = nick_of(heard, here, late) else { return };
        // asked from an address with several: now it is known who
        let found = self.told.present().find(|c| *c.at.ip() == ip && c.name == nick).cloned();
        if let Some(peer) = found {
            if !same(&name, &nick) && self.chats.with(user, &peer).is_some() {
                self.over(now, id, &format!("a private chat with {nick} is open already"));
                return;
            }
            if let Some(chat) = self.chats.all.get_mut(&id) {
                chat.peer = peer;
            }
        }
        self.open(now, id, stream, &rest);
    }

    /// The next text of a chat; `false`: there is none.
    pub(super) fn chat_next(&mut self, now: Millis, id: ChatId) -> bool {
        let Some(chat) = self.chats.all.get_mut(&id) else { return false };
        let Phase::Open { pending, .. } = &mut chat.phase else { return false };
        let Some(text) = pending.pop_front() else { return false };
        self.chat_text(now, id, &text)
    }

    /// One text; `false`: it ended the chat.
    fn chat_text(&mut self, now: Millis, id: ChatId, text: &str) -> bool {
        let Some(chat) = self.chats.all.get(&id) else { return false };
        let (peer, user) = (chat.peer.clone(), chat.user);
        // in lengths nothing stands between a last text and the end
        let whole = chat.framing == Framing::Lines && text.trim() != DISCONNECT;
        let (text, ends) = match text.trim_end().strip_suffix(DISCONNECT) {
            Some(before) if !whole => (before, true),
            _ => (text, false),
        };
        if !text.trim().is_empty() {
            let text = text.to_owned();
            self.told.heard(Heard::Text { from: peer, to: Some(user), text, said: None });
        }
        if ends {
            self.over(now, id, "the other end closed it");
        }
        !ends
    }

    pub(super) fn chat_ended(&mut self, now: Millis, id: ChatId, why: &str) {
        let Some(chat) = self.chats.all.get_mut(&id) else { return };
        match &mut chat.phase {
            Phase::Open { texts, pending, .. } => {
                pending.extend(texts.idle());
                let rest = std::mem::take(pending);
                for text in rest {
                    if !self.chat_text(now, id, &text) {
                        return;
                    }
                }
                self.over(now, id, why);
            }
            Phase::Greeting { stream, heard, .. } => {
                let (stream, heard) = (*stream, std::mem::take(heard));
                if !heard.is_empty() {
                    self.greeted(now, id, stream, &heard, true);
                }
                self.over(now, id, why);
            }
            _ => {}
        }
    }

    pub(super) fn chat_broke(&mut self, now: Millis, id: ChatId, error: &IoError) {
        let greeting =
            matches!(self.chats.all.get(&id).map(|c| &c.phase), Some(Phase::Greeting { .. }));
        let why = match error.kind {
            Trouble::Refused if greeting => "he does not wait for it any more".to_owned(),
            _ => error.text.clone(),
        };
        self.chat_ended(now, id, &why);
    }

    pub(super) fn tick_chats(&mut self, now: Millis) {
        for id in self.chats.all.keys().copied().collect::<Vec<_>>() {
            let Some(chat) = self.chats.all.get_mut(&id) else { continue };
            match &mut chat.phase {
                Phase::Asking { until } if *until <= now => self.over(now, id, "no answer"),
                Phase::Asked { until, .. } if *until <= now => {
                    self.over(now, id, "it was not answered in time");
                }
                Phase::Greeting { stream, heard, until } if *until <= now => {
                    let (stream, heard) = (*stream, std::mem::take(heard));
                    if heard.is_empty() {
                        self.over(now, id, "he did not say who he is");
                    } else {
                        self.greeted(now, id, stream, &heard, true);
                    }
                }
                Phase::Open { texts, pending, flush_at, .. }
                    if flush_at.is_some_and(|at| at <= now) =>
                {
                    *flush_at = None;
                    let text = texts.idle();
                    // what waits before it comes out of `pump`, and it after that
                    if !pending.is_empty() {
                        pending.extend(text);
                    } else if let Some(text) = text {
                        self.chat_text(now, id, &text);
                    }
                }
                _ => {}
            }
        }
    }

    /// A chat is over, and why; texts that wait for it are not sent.
    pub(super) fn over(&mut self, now: Millis, id: ChatId, why: &str) {
        let Some(chat) = self.chats.all.remove(&id) else { return };
        for (tag, _) in chat.waiting {
            self.told.not_sent(tag, &format!("no private chat with {}: {why}", chat.peer.name));
        }
        self.told.heard(Heard::Chat(id, State::Over(chat.peer, chat.user, why.into())));
        if let Phase::Greeting { stream, .. } | Phase::Open { stream, .. } = chat.phase {
            self.end_stream(now, stream);
        }
    }

    pub(super) fn close_chats_of(&mut self, now: Millis, user: UserId) {
        let theirs: Vec<ChatId> =
            self.chats.all.iter().filter(|(_, c)| c.user == user).map(|(id, _)| *id).collect();
        for id in theirs {
            self.chat_close(now, id);
        }
    }

    /// `[DISCONNECT]` to everyone, without waiting for anything.
    pub(super) fn chats_goodbye(&mut self) {
        for (_, chat) in std::mem::take(&mut self.chats.all) {
            match chat.phase {
                Phase::Open { stream, .. } => {
                    if let Some(s) = self.streams.get_mut(&stream) {
                        let _ = s.writer.push(raw(chat.framing, DISCONNECT), None);
                    }
                }
                Phase::Asked { source, port, .. } => {
                    if let Some(socket) = self.ask_socket(chat.user) {
                        self.refuse(socket, source, port, chat.framing);
                    }
                }
                _ => {}
            }
        }
    }
}

/// A text as a partner reads it: a line, or raw.
fn raw(framing: Framing, text: &str) -> Vec<u8> {
    match framing {
        Framing::Lines => format!("{text}\n").into_bytes(),
        Framing::Lengths => text.as_bytes().to_vec(),
    }
}

/// A nickname at the start of a private chat has no end: the longest of the expected ones, else
/// all there is. `None`: it may go on. `late`: it does not.
fn nick_of<'a>(
    heard: &[u8],
    expected: impl Iterator<Item = &'a str>,
    late: bool,
) -> Option<(String, Vec<u8>)> {
    if heard.is_empty() {
        return None;
    }
    let mut found: Option<&str> = None;
    let mut more = false;
    for name in expected {
        if heard.starts_with(name.as_bytes()) {
            found = found.filter(|f| f.len() >= name.len()).or(Some(name));
        } else if name.as_bytes().starts_with(heard) {
            more = true;
        }
    }
    if let Some(name) = found {
        let rest = heard[name.len()..].trim_ascii_start();
        return Some((name.to_owned(), rest.to_vec()));
    }
    if more && !late {
        return None;
    }
    let end = heard.iter().position(|b| *b == b'\n').unwrap_or(heard.len());
    let nick = String::from_utf8_lossy(&heard[..end]).trim().to_owned();
    Some((nick, heard[end..].trim_ascii_start().to_vec()))
}
