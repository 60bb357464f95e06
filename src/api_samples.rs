//! One value of every request, answer and refusal, for the tests that hold the interface file,
//! the mapping and the model together. The matches have no wildcard: a new variant must come here.

use crate::command::Command;
use crate::model::answer::{DialectView, LinkView, Page, UserView};
use crate::model::history::{Body, Entry, Recipient};
use crate::model::ring::GapReason;
use crate::model::{
    Answer, ChatState, ChatView, Delivery, Dialect, Direction, EntryId, Finding, Gap, Handle,
    Health, InterfaceView, PeerId, PeerView, Presence, Receipt, Refusal, Report, RoomMember,
    RoomView, RouteView, SettingView, Status, TransferState, TransferView, Trust, VerifyView, Wall,
    What,
};

fn handle() -> Handle {
    Handle::try_from("anna").unwrap()
}

/// Each command, optional parameters given and not.
pub(crate) fn commands() -> Vec<Command> {
    let (text, to) = (|| "hello".to_owned(), || vec!["bob".to_owned(), "eve@slcp".to_owned()]);
    vec![
        Command::Status {},
        Command::Who { gone: true },
        Command::Join {},
        Command::Leave {},
        Command::Send { to: to(), text: text() },
        Command::SendFile { to: to(), path: "/tmp/a.png".into(), descriptor: None, name: None },
        Command::SendFile { to: to(), path: "a.png".into(), descriptor: Some(0), name: None },
        Command::SetPresence { away: true, text: Some(text()) },
        Command::SetPresence { away: false, text: None },
        Command::SetHandle { handle: text() },
        Command::SetAutoreply { text: text() },
        Command::Block { handle: text() },
        Command::Unblock { handle: text() },
        Command::AddUser { handle: text(), back: None },
        Command::RemoveUser { handle: text(), park: None },
        Command::Config { key: None, value: None },
        Command::Config { key: Some("bell".into()), value: Some("on".into()) },
        Command::SetForm { handle: text(), form: None },
        Command::SetForm { handle: text(), form: Some("udp".into()) },
        Command::Verify { handle: text() },
        Command::Trust { handle: text() },
        Command::MarkRead { with: text() },
        Command::ForgetKey { handle: text() },
        Command::RoomJoin { room: text() },
        Command::RoomLeave { room: text() },
        Command::Rooms {},
        Command::RoomWho { room: text() },
        Command::Chat { handle: text() },
        Command::Accept { number: 3 },
        Command::Pause { number: 3 },
        Command::Resume { number: 3 },
        Command::Cancel { number: 3 },
        Command::Refuse { number: 3 },
        Command::Close { handle: None },
        Command::Close { handle: Some(text()) },
        Command::FreeHandle { handle: text() },
        Command::Doctor {},
        Command::Network {},
        Command::Log { lines: None },
        Command::Log { lines: Some(5) },
        Command::Reboot {},
        Command::PowerOff {},
        Command::FactoryReset {},
        Command::Update { descriptor: Some(0) },
        Command::SetTime { time: crate::model::Wall(1_795_228_536_000) },
        Command::History { with: None, before: None, limit: None },
        Command::History { with: Some(text()), before: Some(1 << 40), limit: Some(20) },
        Command::Search { words: text(), before: None, limit: Some(20) },
        Command::Delete { entry: Some(7), with: None, all: false },
        Command::Delete { entry: None, with: Some(text()), all: false },
        Command::Export { after: 0, limit: Some(200) },
        Command::Import { entries: entries() },
    ]
}

/// The method and an answer of the kind it has.
pub(crate) fn answers() -> Vec<(&'static str, Answer)> {
    commands().iter().map(answer_to).collect()
}

/// The method's name and the kind of answer a command has.
pub(crate) fn answer_to(command: &Command) -> (&'static str, Answer) {
    match command {
        Command::Status {} => ("Status", Answer::Status(Box::new(status()))),
        Command::Who { .. } => ("Who", Answer::Who(vec![peer(), peer_unheard()])),
        Command::Join {} => ("Join", Answer::Handle(handle())),
        Command::Leave {} => ("Leave", Answer::Done),
        Command::Send { .. } => ("Send", Answer::Sent(receipts())),
        Command::SendFile { .. } => ("SendFile", Answer::Sent(receipts())),
        Command::SetPresence { .. } => ("SetPresence", Answer::Done),
        Command::SetHandle { .. } => ("SetHandle", Answer::Handle(handle())),
        Command::SetAutoreply { .. } => ("SetAutoreply", Answer::Done),
        Command::Block { .. } => ("Block", Answer::Done),
        Command::Unblock { .. } => ("Unblock", Answer::Done),
        Command::AddUser { .. } => ("AddUser", Answer::Handle(handle())),
        Command::RemoveUser { .. } => ("RemoveUser", Answer::Done),
        Command::Config { .. } => ("Config", Answer::Config(vec![setting()])),
        Command::SetForm { .. } => ("SetForm", Answer::Done),
        Command::Verify { .. } => ("Verify", Answer::Verify(verify())),
        Command::Trust { .. } => ("Trust", Answer::Verify(verify())),
        Command::MarkRead { .. } => ("MarkRead", Answer::Done),
        Command::ForgetKey { .. } => ("ForgetKey", Answer::Count(2)),
        Command::RoomJoin { .. } => ("RoomJoin", Answer::Done),
        Command::RoomLeave { .. } => ("RoomLeave", Answer::Done),
        Command::Rooms {} => ("Rooms", Answer::Rooms(vec![room()])),
        Command::RoomWho { .. } => ("RoomWho", Answer::Rooms(vec![room()])),
        Command::Chat { .. } => ("Chat", Answer::Done),
        Command::Accept { .. } => ("Accept", Answer::Done),
        Command::Refuse { .. } => ("Refuse", Answer::Done),
        Command::Pause { .. } => ("Pause", Answer::Done),
        Command::Resume { .. } => ("Resume", Answer::Done),
        Command::Cancel { .. } => ("Cancel", Answer::Done),
        Command::Close { .. } => ("Close", Answer::Done),
        Command::FreeHandle { .. } => ("FreeHandle", Answer::Handle(handle())),
        Command::PageSettings {} => ("no method", Answer::Config(vec![setting()])), // nor is it
        Command::Shared {} => ("no method", Answer::Shared(Vec::new())), // not among `commands`
        Command::Doctor {} => ("Doctor", Answer::Doctor(report())),
        Command::Network {} => ("Network", Answer::Network(vec![interface()])),
        Command::Log { .. } => ("Log", Answer::Log(vec!["a line".into()])),
        Command::Reboot {} => ("Reboot", Answer::Done),
        Command::PowerOff {} => ("PowerOff", Answer::Done),
        Command::FactoryReset {} => ("FactoryReset", Answer::Done),
        Command::Update { .. } => ("Update", Answer::Log(vec!["0.2.0 stands in slot B".into()])),
        Command::SetTime { .. } => ("SetTime", Answer::Done),
        Command::OfferTime { .. } => ("no method", Answer::Done), // not among `commands`
        Command::History { .. } => ("History", page()),
        Command::Search { .. } => ("Search", page()),
        Command::Delete { .. } => ("Delete", Answer::Count(3)),
        Command::Export { .. } => ("Export", page()),
        Command::Import { .. } => ("Import", Answer::Count(2)),
    }
}

fn room() -> RoomView {
    let member = |trust| RoomMember { handle: "bob".into(), name: "bob".into(), here: true, trust };
    let members = [Trust::Local, Trust::Unverified, Trust::Verified].map(member).to_vec();
    RoomView { room: "#coffee".into(), joined: true, members }
}

fn verify() -> VerifyView {
    VerifyView {
        handle: "bob".into(),
        fingerprint: "0".repeat(32),
        code: "12345 67890 12345 67890 12345 67890".into(),
        verified: false,
        claim: Some("1".repeat(32)),
        claim_code: Some("09876 54321 09876 54321 09876 54321".into()),
    }
}

fn report() -> Report {
    let finding = |health, advice: Option<&str>| Finding {
        check: "clock".into(),
        health,
        text: "it is 1970".into(),
        advice: advice.map(Into::into),
    };
    let all = [Health::Ok, Health::Unknown, Health::Warning].map(|health| finding(health, None));
    Report::of([&all[..], &[finding(Health::Wrong, Some("set it"))]].concat())
}

fn interface() -> InterfaceView {
    InterfaceView {
        name: "eth0".into(),
        kind: "ethernet".into(),
        up: true,
        link: Some(true),
        addresses: vec!["192.168.1.5/24".into()],
        speed: Some(1_000),
        wifi: None,
        used: true,
    }
}

/// Each refusal.
pub(crate) fn refusals() -> Vec<Refusal> {
    let name = || "bob".to_owned();
    let all = vec![
        Refusal::NoSuchPeer { name: name() },
        Refusal::Ambiguous { name: name(), choices: vec!["bob@10.0.0.1".into()] },
        Refusal::NoSuchUser { handle: name() },
        Refusal::HandleTaken { handle: name(), free: handle() },
        Refusal::bad("port", "x", "a number"),
        Refusal::TooLong { bytes: 5000, limit: 4000 },
        Refusal::TooMany { what: "users".into(), limit: 32 },
        Refusal::File { path: "/x".into(), reason: "no such file".into() },
        Refusal::NotJoined { handle: name() },
        Refusal::Denied { what: "this".into() },
        Refusal::Failed { reason: "no network".into() },
    ];
    for refusal in &all {
        match refusal {
            Refusal::NoSuchPeer { .. }
            | Refusal::Ambiguous { .. }
            | Refusal::NoSuchUser { .. }
            | Refusal::HandleTaken { .. }
            | Refusal::BadValue { .. }
            | Refusal::TooLong { .. }
            | Refusal::TooMany { .. }
            | Refusal::File { .. }
            | Refusal::NotJoined { .. }
            | Refusal::Denied { .. }
            | Refusal::Failed { .. } => {}
        }
    }
    all
}

/// Each kind of event. The match has no wildcard: a new kind must come here.
pub(crate) fn events() -> Vec<What> {
    let (id, peer, dialect) = (EntryId { epoch: 1, n: 2 }, PeerId(7), Dialect::Slcp);
    let (bob, anna) = (|| "bob".to_owned(), || "anna".to_owned());
    let all = vec![
        What::Message {
            id,
            conversation: bob(),
            from: bob(),
            to: anna(),
            peer,
            dialect,
            direction: Direction::In,
            text: "hello".into(),
            autoreply: false,
        },
        What::Image {
            id,
            conversation: bob(),
            from: bob(),
            to: anna(),
            peer,
            dialect,
            direction: Direction::In,
            path: "/var/lib/klatsch/images/1.png".into(),
            size: 5,
            format: "png".into(),
            width: Some(1),
            height: None,
        },
        What::Delivery { id, recipient: bob(), peer, state: Delivery::Sent, reason: None },
        What::PeerJoined { peer, handle: bob(), dialect, address: "10.0.0.2".into(), port: 5010 },
        What::PeerLeft { peer, handle: bob(), dialect, reason: "it left".into() },
        What::PeerAway { peer, handle: bob(), dialect },
        What::PeerBack { peer, handle: bob(), dialect },
        What::PeerRenamed { peer, handle: bob(), old: "bobby".into(), dialect },
        What::Session { peer, handle: bob(), dialect: Dialect::Hello, stands: true },
        What::Chat {
            number: 3,
            peer,
            handle: bob(),
            dialect: Dialect::Room,
            state: ChatState::Over,
            reason: Some("he refused".into()),
        },
        What::Transfer {
            id,
            number: Some(3),
            direction: Direction::Out,
            peer,
            handle: bob(),
            name: "a.png".into(),
            done: 1,
            size: None,
            state: TransferState::Running,
            reason: None,
        },
        What::Gap(Gap { reason: GapReason::Slow, missed: Some(1), next: 2 }),
        What::Config { key: "bell".into(), value: "on".into() },
        What::Error { text: "no network".into() },
    ];
    for what in &all {
        match what {
            What::Message { .. }
            | What::Image { .. }
            | What::Delivery { .. }
            | What::PeerJoined { .. }
            | What::PeerLeft { .. }
            | What::PeerAway { .. }
            | What::Session { .. }
            | What::PeerBack { .. }
            | What::PeerRenamed { .. }
            | What::Chat { .. }
            | What::Transfer { .. }
            | What::Gap(_)
            | What::Config { .. }
            | What::Error { .. } => {}
        }
    }
    all
}

fn peer() -> PeerView {
    PeerView {
        id: PeerId(7),
        handle: "bob".into(),
        name: "bob@10.0.0.2".into(),
        dialect: vec![Dialect::Slcp],
        address: "10.0.0.2".into(),
        port: 5010,
        routes: vec![RouteView {
            dialect: Dialect::Slcp,
            address: "10.0.0.2".into(),
            port: 5010,
            form: Some("udp".into()),
        }],
        presence: Presence::Online,
        trust: Trust::Plain,
        last_heard: Some(Wall(1_795_228_536_764)),
        blocked: false,
    }
}

fn peer_unheard() -> PeerView {
    let mut peer = peer();
    peer.routes[0].form = None;
    PeerView { last_heard: None, trust: Trust::Local, presence: Presence::Gone, ..peer }
}

fn receipts() -> Vec<Receipt> {
    let receipt = |state, reason: Option<&str>| Receipt {
        id: EntryId { epoch: 1, n: 2 },
        recipient: "bob".into(),
        peer: PeerId(7),
        state,
        reason: reason.map(Into::into),
    };
    vec![
        receipt(Delivery::Queued, Some("waiting")),
        receipt(Delivery::Sent, None),
        receipt(Delivery::Delivered, None),
        receipt(Delivery::Read, None),
        receipt(Delivery::Failed, Some("nobody listens")),
    ]
}

fn page() -> Answer {
    Answer::Page(Page { entries: entries(), more: true })
}

/// A text that waits, and a file that came.
pub(crate) fn entries() -> Vec<Entry> {
    let out = Entry {
        id: EntryId { epoch: 1, n: 2 },
        order: 17,
        user: Some(handle()),
        conversation: "bob".into(),
        from: "anna".into(),
        direction: Direction::Out,
        dialect: Dialect::Slcp,
        at: Wall(1_795_228_536_764),
        dated: true,
        mono: 0,
        body: Body::Text { text: "hello".into() },
        autoreply: false,
        recipients: vec![Recipient {
            peer: PeerId(7),
            handle: "bob".into(),
            state: Delivery::Queued,
            reason: Some("not here".into()),
        }],
    };
    let body = Body::File {
        path: "/images/bob-1.png".into(),
        size: 1_000,
        format: "png".into(),
        width: Some(3),
        height: None,
        gone: false,
    };
    let came = Entry {
        order: 18,
        from: "bob".into(),
        direction: Direction::In,
        dated: false,
        body,
        autoreply: true,
        recipients: Vec::new(),
        ..out.clone()
    };
    vec![out, came]
}

fn setting() -> SettingView {
    SettingView {
        key: "slcp.port".into(),
        value: "4000".into(),
        live: false,
        help: "The discovery port".into(),
    }
}

/// A node at a glance.
pub(crate) fn status() -> Status {
    let user = |port| UserView {
        handle: handle(),
        port,
        joined: true,
        away: false,
        autoreply: String::new(),
        guest: false,
        since: 3,
    };
    Status {
        version: "0.1.0".into(),
        instance: "default".into(),
        mode: "daemon".into(),
        epoch: "0000000000000001".into(),
        pid: 1,
        uptime: 2,
        users: vec![user(Some(5010)), user(None)],
        dialects: vec![DialectView { name: Dialect::Slcp, on: true, port: 4000, reason: None }],
        links: vec![LinkView {
            name: "eth0".into(),
            address: "10.0.0.1".into(),
            broadcast: "10.0.0.255".into(),
        }],
        fingerprint: Some("0".repeat(32)),
        chats: vec![ChatView {
            number: 3,
            user: handle(),
            peer: PeerId(7),
            handle: "bob".into(),
            dialect: Dialect::Room,
            state: ChatState::Asked,
        }],
        transfers: vec![TransferView {
            number: 4,
            id: EntryId { epoch: 1, n: 2 },
            user: handle(),
            direction: Direction::In,
            peer: PeerId(7),
            handle: "bob".into(),
            name: "cat.png".into(),
            done: 1,
            size: 2,
            files: 1,
            state: TransferState::Offered,
            reason: None,
        }],
        peers: 3,
        blocked: vec!["mallory".into()],
        socket: "/run/klatsch/control".into(),
        state: String::new(),
        imagepath: "/var/lib/klatsch/images".into(),
        page: "http://10.0.0.1:8484/".into(),
    }
}
