//! The room machine: a server of ours, our users at another's server, and their private chats.
//!
//! Who is a peer and what is shown is the node's business: the machine tells it [`Heard`] and
//! does what it is told. Everything leaves through [`Machine::poll`].

mod asking;
mod chats;
mod client;
mod server;
mod sockets;

use std::net::SocketAddrV4;

use super::codec::{self, Framing};
use super::{MAX_PARTS, MAX_QUEUE, MAX_SENT, REFUSALS_BURST, REFUSALS_MS};
use crate::dialect::bucket::Bucket;
use crate::dialect::heard::{Heard, Out, To};
use crate::dialect::lan::Lan;
use crate::dialect::parts::parts;
use crate::dialect::told::Told;
use crate::dialect::writer::{Pace, Writer};
use crate::model::limits::{CHUNK, STALL_MS};
use crate::model::{IoError, Link, Map, Millis, Net, StreamId, Trouble, UserId};

use chats::Chats;
use client::Remote;
use server::Client;
use sockets::{Me, Sockets};

/// Marks the room's own streams among those of all dialects.
const TAG: u64 = 3 << 56;
/// Between two writes to a reader that takes each read for a command of its own: time enough for
/// its read, which is how real clients keep commands and characters whole.
const READ_PAUSE_MS: Millis = 40;
/// To clients in lines and to servers: one command per write, unless so many wait that whole
/// ones are gathered.
const TO_LINES: Pace =
    Pace { gather: MAX_SENT, backlog: 2_048, pause: READ_PAUSE_MS, max: MAX_QUEUE };
/// Lengths tell commands apart by themselves.
const TO_LENGTHS: Pace = Pace { gather: CHUNK, backlog: 0, pause: 0, max: MAX_QUEUE };
/// Private texts without line ends are told apart by time alone.
const TO_CHAT: Pace = Pace { gather: 0, backlog: 0, pause: 100, max: MAX_QUEUE };
/// Commands taken from a server at once; afterwards one in [`SERVER_MS`].
const SERVER_BURST: u32 = 200;
/// See [`SERVER_BURST`].
const SERVER_MS: Millis = 10;

/// How the machine is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The server's port, ours and that of others where none is named.
    pub port: u16,
    /// Whether we are a server.
    pub serve: bool,
    /// The server that our users register at.
    pub connect: Option<SocketAddrV4>,
    /// Whether to look for a server at the addresses of peers, where none is set.
    pub discover: bool,
    /// Ports of our users for private chats: UDP and TCP of the same number, one for each.
    pub ports: (u16, u16),
}

/// Someone who is to be listed as a user of the room.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The nickname.
    pub name: String,
    /// The user of ours; none for somebody of another dialect, who cannot be asked for a private
    /// chat here.
    pub user: Option<UserId>,
}

/// One TCP connection.
struct Stream {
    kind: Kind,
    from: SocketAddrV4,
    writer: Writer,
    /// The driver reads; else we owe it a `ReadMore`.
    reading: bool,
    bucket: Bucket,
    since: Millis,
}

enum Kind {
    /// A client at our server.
    Client(Client),
    /// One of ours at another's server.
    Session(UserId),
    /// Someone connected to a user's chat port and has not said who he is.
    Knock(UserId, Vec<u8>),
    /// A private chat.
    Chat(crate::dialect::heard::ChatId),
    /// Nothing more is wanted from it; what waits is still written.
    Ending,
}

/// See the module.
pub struct Machine {
    setup: Setup,
    lan: Lan,
    users: Map<UserId, Me>,
    /// Those of other dialects who are shown, by name.
    others: Vec<String>,
    sockets: Sockets,
    streams: Map<StreamId, Stream>,
    next_stream: u64,
    remote: Remote,
    chats: Chats,
    registrations: server::Registrations,
    refusals: Bucket,
    told: Told,
    rng: fastrand::Rng,
}

impl Machine {
    /// A machine without users; a server's port is opened at once.
    pub fn new(setup: Setup, seed: u64) -> Machine {
        let mut machine = Machine {
            lan: Lan::default(),
            users: Map::new(),
            others: Vec::new(),
            sockets: Sockets::default(),
            streams: Map::new(),
            next_stream: 0,
            remote: Remote::new(setup.connect),
            chats: Chats::default(),
            registrations: server::Registrations::default(),
            refusals: Bucket::new(0, REFUSALS_BURST, REFUSALS_MS),
            told: Told::new("room"),
            rng: fastrand::Rng::with_seed(seed),
            setup,
        };
        machine.open_server();
        machine
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Out> {
        self.told.poll()
    }

    /// When [`Machine::tick`] wants to be called.
    pub fn wake_at(&self) -> Option<Millis> {
        let streams = self.streams.values().filter_map(|s| {
            let read = (!s.reading).then(|| s.bucket.wake_at());
            let kind = match &s.kind {
                Kind::Client(client) => client.wake_at(s.since),
                Kind::Knock(..) => Some(s.since + chats::GREET_MS),
                Kind::Ending => Some(s.since + STALL_MS),
                Kind::Session(_) | Kind::Chat(_) => None,
            };
            [read, kind, s.writer.wake_at()].into_iter().flatten().min()
        });
        let others = [self.sockets.rebind_at, self.remote.wake_at(), self.chats.wake_at()];
        streams.chain(others.into_iter().flatten()).min()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Millis) {
        self.rebind(now);
        self.tick_chats(now);
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.tick_stream(now, id);
        }
        self.tick_remote(now);
    }

    /// The usable addresses, whole.
    pub fn set_links(&mut self, _now: Millis, links: Vec<Link>) {
        self.lan.links = links;
    }

    /// Everyone who is to be listed as a user of the room, whole.
    pub fn set_users(&mut self, now: Millis, shown: Vec<Shown>) {
        let (ours, others): (Vec<Shown>, Vec<Shown>) =
            shown.into_iter().partition(|s| s.user.is_some());
        let gone: Vec<UserId> = (self.users.keys().copied())
            .filter(|id| !ours.iter().any(|s| s.user == Some(*id)))
            .collect();
        for id in gone {
            self.remove_user(now, id);
        }
        for Shown { name, user } in ours {
            let Some(id) = user else { continue };
            match self.users.get(&id) {
                Some(me) if me.name == name => {}
                Some(_) => self.rename_user(now, id, name),
                None => self.add_user(id, name),
            }
        }
        let others: Vec<String> = others.into_iter().map(|s| s.name).collect();
        let left: Vec<String> =
            self.others.iter().filter(|o| !others.contains(o)).cloned().collect();
        for name in left {
            self.others.retain(|o| *o != name);
            self.tell_all(now, |_, _| format!("USER_LEFT {name}"));
        }
        for name in others {
            if !self.others.contains(&name) && !self.taken(&name) {
                self.others.push(name.clone());
                self.announce_listed(now, &name, self.setup.port);
            }
        }
    }

    /// Bytes came in.
    pub fn stream_bytes(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>) {
        let Some(s) = self.streams.get_mut(&stream) else { return };
        s.reading = false;
        match &mut s.kind {
            Kind::Client(client) => client.frames.feed(&bytes),
            Kind::Session(user) => {
                let user = *user;
                self.session_bytes(user, &bytes);
            }
            Kind::Knock(_, buffer) => buffer.extend_from_slice(&bytes),
            Kind::Chat(chat) => {
                let chat = *chat;
                self.chat_bytes(now, chat, &bytes);
            }
            Kind::Ending => {}
        }
        self.pump(now, stream);
    }

    /// Takes what has come in as fast as is allowed; then has the driver read on.
    fn pump(&mut self, now: Millis, stream: StreamId) {
        loop {
            let Some(s) = self.streams.get_mut(&stream) else { return };
            if s.reading {
                return;
            }
            let spends = !matches!(s.kind, Kind::Ending | Kind::Knock(..));
            if spends && !s.bucket.take(now) {
                return; // `wake_at` brings us back
            }
            let more = match s.kind {
                Kind::Client(_) => self.client_next(now, stream),
                Kind::Session(user) => self.session_next(now, user),
                Kind::Knock(..) => self.knock_next(now, stream),
                Kind::Chat(chat) => self.chat_next(now, chat),
                Kind::Ending => false,
            };
            if !more {
                break;
            }
        }
        if let Some(s) = self.streams.get_mut(&stream) {
            s.reading = true;
            self.told.net(Net::ReadMore(stream));
        }
    }

    /// The other end sends no more.
    pub fn stream_end(&mut self, now: Millis, stream: StreamId) {
        match self.streams.get(&stream).map(|s| &s.kind) {
            Some(Kind::Client(_)) => {
                self.client_ended(now, stream);
                self.drop_client(now, stream, "its connection ended");
            }
            Some(Kind::Session(user)) => {
                let user = *user;
                self.session_lost(now, user, "the server closed the connection");
            }
            Some(Kind::Chat(chat)) => {
                let chat = *chat;
                self.chat_ended(now, chat, "the other end closed it");
            }
            Some(Kind::Knock(..) | Kind::Ending) => self.close_stream(stream),
            None => {}
        }
    }

    /// A write is done.
    pub fn wrote(&mut self, now: Millis, stream: StreamId) {
        let Some(s) = self.streams.get_mut(&stream) else { return };
        for tag in s.writer.wrote(now) {
            self.told.heard(Heard::Sent(tag));
        }
        self.write(now, stream);
    }

    /// A stream broke, or could not be made.
    pub fn stream_closed(&mut self, now: Millis, stream: StreamId, error: &IoError) {
        match self.streams.get(&stream).map(|s| &s.kind) {
            Some(Kind::Client(_)) => self.drop_client(now, stream, &error.text),
            Some(Kind::Session(user)) => {
                let user = *user;
                self.session_lost(now, user, &error.text);
            }
            Some(Kind::Chat(chat)) => {
                let chat = *chat;
                self.chat_broke(now, chat, error);
                self.close_stream(stream);
            }
            Some(Kind::Knock(..) | Kind::Ending) => self.close_stream(stream),
            None => {}
        }
    }

    /// A connection that we asked for is made.
    pub fn connected(&mut self, now: Millis, stream: StreamId) {
        match self.streams.get_mut(&stream) {
            Some(Stream { kind: Kind::Session(user), reading, .. }) => {
                *reading = true;
                let user = *user;
                self.session_connected(now, user);
            }
            Some(Stream { kind: Kind::Chat(chat), reading, .. }) => {
                *reading = true;
                let chat = *chat;
                self.chat_connected(now, chat);
            }
            _ => {}
        }
    }

    /// Sends a text for a user; its fate comes as [`Heard::Sent`] or [`Heard::NotSent`] under
    /// `tag`. A private text opens a private chat where there is none.
    pub fn send(&mut self, now: Millis, tag: u64, user: UserId, to: &To, text: &str) {
        match to {
            To::Everyone => {
                let Some(name) = self.users.get(&user).map(|me| me.name.clone()) else {
                    return self.told.not_sent(tag, "this user is not in the room");
                };
                self.speak(now, tag, Some(user), &name, text);
            }
            To::Contact(contact) => self.send_private(now, tag, user, contact, text),
        }
    }

    /// Sends to everyone what somebody said elsewhere, under his name: a gateway's.
    pub fn relay(&mut self, now: Millis, tag: u64, name: &str, text: &str) {
        let nick: String = name.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect();
        self.speak(now, tag, None, &nick, text);
    }

    /// How many others a text for everyone reaches.
    pub fn audience(&self) -> usize {
        self.clients().count() + self.remote.others()
    }

    fn speak(&mut self, now: Millis, tag: u64, user: Option<UserId>, name: &str, text: &str) {
        let session = self.session_for(user);
        // at another's server only those who registered have a name of their own
        let own = session.as_ref().is_some_and(|(_, nick)| nick == name);
        let head = "BROADCAST_MSG  \n".len() + 4 + name.len() + 2;
        let nick = session.as_ref().map_or(0, |(_, nick)| nick.len());
        let parts = parts(text, MAX_SENT.saturating_sub(head + nick));
        if parts.is_empty() || parts.len() > MAX_PARTS {
            let text = format!("too long for the room: at most {MAX_PARTS} parts are sent");
            return self.told.heard(Heard::NotSent(tag, IoError::new(Trouble::TooLarge, text)));
        }
        let clients = self.clients().count();
        if clients == 0 && session.is_none() {
            return self.told.not_sent(tag, "nobody is in the room");
        }
        let last = parts.len() - 1;
        let mut tag = Some(tag);
        for (n, part) in parts.iter().enumerate() {
            self.tell_all(now, |framing, _| codec::spoken(framing, name, part));
            if let Some((stream, nick)) = &session {
                let line = match own {
                    true => format!("BROADCAST {nick} {part}"),
                    false => format!("BROADCAST {nick} {name}: {part}"),
                };
                let framing = self.remote.framing.unwrap_or(Framing::Lines);
                let tag = if n == last { tag.take() } else { None };
                self.say(now, *stream, codec::frame(framing, &line), tag);
            }
        }
        if let Some(tag) = tag {
            self.told.heard(Heard::Sent(tag));
        }
    }

    /// Says goodbye: QUIT to the server, `[DISCONNECT]` to who is in a private chat.
    pub fn goodbye(&mut self) {
        self.chats_goodbye();
        let framing = self.remote.framing.unwrap_or(Framing::Lines);
        for (id, mut stream) in std::mem::take(&mut self.streams) {
            let mut last = stream.writer.rest();
            if matches!(stream.kind, Kind::Session(_)) {
                last.extend(codec::frame(framing, "QUIT "));
            }
            if !last.is_empty() {
                self.told.net(Net::Write(id, last));
            }
            self.told.net(Net::Close(id));
        }
    }

    fn tick_stream(&mut self, now: Millis, id: StreamId) {
        let Some(s) = self.streams.get(&id) else { return };
        match &s.kind {
            Kind::Client(client) if client.wake_at(s.since).is_some_and(|at| at <= now) => {
                let from = s.from;
                self.told.complain(*from.ip(), "it connected and did not register");
                return self.drop_client(now, id, "it did not register");
            }
            Kind::Knock(..) if s.since + chats::GREET_MS <= now => {
                self.knock_late(now, id);
            }
            Kind::Ending if s.since + STALL_MS <= now => return self.close_stream(id),
            _ => {}
        }
        self.pump(now, id);
        self.write(now, id);
    }

    /// A stream of ours that is to be made.
    fn open_stream(&mut self, now: Millis, to: SocketAddrV4, kind: Kind, pace: Pace) -> StreamId {
        self.next_stream += 1;
        let id = StreamId(TAG | self.next_stream);
        self.streams.insert(id, Stream::new(now, to, kind, pace, true));
        self.told.net(Net::Connect(id, to));
        id
    }

    /// Queues a message on a stream; a reader that takes nothing loses it.
    fn say(&mut self, now: Millis, stream: StreamId, bytes: Vec<u8>, tag: Option<u64>) {
        let Some(s) = self.streams.get_mut(&stream) else {
            if let Some(tag) = tag {
                self.told.not_sent(tag, "the connection is lost");
            }
            return;
        };
        if s.writer.push(bytes, tag).is_ok() {
            return self.write(now, stream);
        }
        if let Some(tag) = tag {
            self.told.not_sent(tag, "it takes nothing");
        }
        let error = IoError::new(Trouble::Exhausted, "it takes nothing of what is sent to it");
        self.stream_closed(now, stream, &error);
    }

    fn write(&mut self, now: Millis, stream: StreamId) {
        let Some(s) = self.streams.get_mut(&stream) else { return };
        if let Some(bytes) = s.writer.next(now) {
            return self.told.net(Net::Write(stream, bytes));
        }
        if matches!(s.kind, Kind::Ending) && s.writer.is_idle() {
            self.close_stream(stream);
        }
    }

    /// Writes what waits on a stream and closes it then.
    fn end_stream(&mut self, now: Millis, stream: StreamId) {
        if let Some(s) = self.streams.get_mut(&stream) {
            (s.kind, s.since) = (Kind::Ending, now);
            self.write(now, stream);
        }
        self.pump(now, stream);
    }

    fn close_stream(&mut self, stream: StreamId) {
        if let Some(mut s) = self.streams.remove(&stream) {
            for tag in s.writer.unsent() {
                self.told.not_sent(tag, "the connection is lost");
            }
            self.told.net(Net::Close(stream));
        }
    }
}

impl Stream {
    fn new(now: Millis, from: SocketAddrV4, kind: Kind, pace: Pace, reading: bool) -> Stream {
        // a server speaks for many
        let (burst, each) = match kind {
            Kind::Session(_) => (SERVER_BURST, SERVER_MS),
            _ => (super::COMMAND_BURST, super::COMMAND_MS),
        };
        let bucket = Bucket::new(now, burst, each);
        Stream { kind, from, writer: Writer::new(pace), reading, bucket, since: now }
    }
}

/// Whether two nicknames are one person's.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}
