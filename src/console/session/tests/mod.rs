//! Whole sessions with scripted answers and events, on a terminal emulator.

mod ask;
mod files;
mod limits;
mod line;
mod talk;

use super::*;
use crate::model::answer::{Page, UserView};
use crate::model::{
    Delivery, Dialect, Direction, EntryId, Event, LinkView, PeerId, PeerView, Presence, Receipt,
    SettingView, Stamped, Status, TransferState, Trust, What,
};

struct Bench {
    session: Session,
    terminal: vt100::Parser,
    seq: u64,
    bells: usize,
}

const AT: Wall = Wall((12 * 60 + 34) * 60_000);

impl Bench {
    /// A session after its greeting, on a clean screen.
    fn new() -> Bench {
        Bench::with(SessionOptions {
            width: 80,
            home: Some("/home/a".into()),
            ..Default::default()
        })
    }

    fn with(options: SessionOptions) -> Bench {
        let mut b = Bench::started(options);
        b.serve(Ok(Answer::Status(Box::new(status()))));
        b.serve(Ok(Answer::Who(vec![peer(1, "bob"), peer(2, "carl")])));
        b.serve(Ok(Answer::Config(vec![setting("bell", "OFF"), setting("imagepath", "/i")])));
        b.flush();
        b
    }

    /// A session whose first questions wait for their answers.
    fn started(options: SessionOptions) -> Bench {
        let mut b = Bench {
            session: Session::new(options),
            terminal: vt100::Parser::new(60, 80, 0),
            seq: 0,
            bells: 0,
        };
        b.session.start();
        b
    }

    fn flush(&mut self) {
        let bytes = self.session.take_output();
        self.bells += bytes.iter().filter(|b| **b == 7).count();
        self.terminal.process(&bytes);
    }

    fn types(&mut self, text: &str) {
        for byte in text.as_bytes() {
            self.session.feed(&[*byte]);
            self.flush();
        }
    }

    /// Answers the next command; gives it back.
    fn serve(&mut self, result: Result<Answer, Refusal>) -> Command {
        let (ticket, _, command) = self.session.next_ask().expect("a command");
        self.session.answer(ticket, result);
        self.flush();
        command
    }

    fn event(&mut self, user: Option<&str>, what: What) {
        self.event_at(0, user, what);
    }

    fn event_at(&mut self, now: u64, user: Option<&str>, what: What) {
        self.seq += 1;
        let user = user.map(|u| Handle::try_from(u).expect("a handle"));
        let event = Event { at: AT, user, what };
        self.session.event(now, &Stamped { epoch: "0".into(), seq: self.seq, event });
        self.flush();
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.terminal.screen().rows(0, 80).map(|r| r.trim_end().to_owned());
        let mut rows: Vec<String> = rows.collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}

fn user(handle: &str) -> UserView {
    UserView {
        handle: Handle::try_from(handle).expect("a handle"),
        port: Some(5010),
        joined: true,
        away: false,
        autoreply: String::new(),
        guest: handle != "anna",
        since: 0,
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        instance: "default".into(),
        mode: "terminal".into(),
        epoch: "0".into(),
        pid: 7,
        uptime: 90_061,
        users: vec![user("anna"), user("guest1")],
        dialects: vec![crate::model::answer::DialectView {
            name: Dialect::Slcp,
            on: true,
            port: 4000,
            reason: None,
        }],
        links: vec![LinkView {
            name: "eth0".into(),
            address: "192.168.1.5".into(),
            broadcast: "192.168.1.255".into(),
        }],
        chats: Vec::new(),
        transfers: Vec::new(),
        peers: 2,
        blocked: Vec::new(),
        fingerprint: None,
        socket: "/run/klatsch/control".into(),
        state: "/var/lib/klatsch".into(),
        imagepath: "/i".into(),
        page: String::new(),
    }
}

fn peer(id: u64, handle: &str) -> PeerView {
    PeerView {
        id: PeerId(id),
        handle: handle.into(),
        name: handle.into(),
        dialect: vec![Dialect::Slcp],
        address: "192.168.1.7".into(),
        port: 5010,
        routes: Vec::new(),
        presence: Presence::Online,
        trust: Trust::Plain,
        last_heard: Some(AT),
        blocked: false,
    }
}

fn setting(key: &str, value: &str) -> SettingView {
    SettingView { key: key.into(), value: value.into(), live: true, help: "help".into() }
}

fn id(n: u64) -> EntryId {
    EntryId { epoch: 1, n }
}

fn receipt(n: u64, to: &str, state: Delivery, reason: Option<&str>) -> Receipt {
    let reason = reason.map(str::to_owned);
    Receipt { id: id(n), recipient: to.into(), peer: PeerId(n), state, reason }
}

fn message(n: u64, direction: Direction, from: &str, to: &str, text: &str) -> What {
    What::Message {
        id: id(n),
        conversation: "c".into(),
        from: from.into(),
        to: to.into(),
        peer: PeerId(n),
        dialect: Dialect::Slcp,
        direction,
        text: text.into(),
        autoreply: false,
    }
}

fn fate(n: u64, to: &str, state: Delivery, reason: Option<&str>) -> What {
    let reason = reason.map(str::to_owned);
    What::Delivery { id: id(n), recipient: to.into(), peer: PeerId(n), state, reason }
}
