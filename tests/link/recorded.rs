//! A session of each protocol version and set of capabilities, byte for byte, as it was when that
//! was made. A later program still reads what an earlier one said.
//!
//! The machines draw all their randomness from a seed, so a session is the same each time it is
//! played: if this test fails, the wire changed. Then the version or a capability is to change
//! too, and a new recording stands beside the old ones (`KLATSCH_RECORD=1` writes it).

use std::fmt::Write;
use std::path::PathBuf;

use klatsch::dialect::link::frame::{Frame, VERSION};
use klatsch::dialect::link::machine::{FILES, READ, ROOMS, ROSTERS};
use klatsch::dialect::link::noise::{Handshake, Rng, Secret};
use klatsch::dialect::link::rooms::Post;
use klatsch::dialect::link::session::{Event, Session};
use klatsch::model::{EntryId, RoomName, StreamId, Wall};

use crate::world::World;

/// What both boxes could, each time something was added; the last is what this program can.
const LEVELS: [u32; 4] = [0, FILES, FILES | ROOMS | READ, FILES | ROOMS | READ | ROSTERS];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/link")
}

/// By version and capabilities: a session is another one with each.
fn file(capabilities: u32) -> PathBuf {
    let level = if capabilities == 0 { String::new() } else { format!("-c{capabilities}") };
    folder().join(format!("session-v{VERSION}{level}.txt"))
}

/// A conversation between two boxes, as lines: who wrote, and what.
fn play(capabilities: u32) -> String {
    let mut world = World::new(20_261_121);
    world.tape = Some(Vec::new());
    let [a, b] = ["anna", "bob"].map(|name| {
        let n = world.add(name);
        world.nodes[n].capabilities = capabilities;
        world.start(n);
        n
    });
    world.run(10_000);
    let (of_a, of_b) = (world.far(a), world.far(b));
    world.say(a, &of_b, "Kommst du zum Klatsch? ☕");
    world.say(b, &of_a, "Už jdu.");
    world.say(a, &of_b, "refuse me");
    world.run(30_000);
    if capabilities & FILES != 0 {
        let cake = b"Rezept: Bienenstich".to_vec();
        world.nodes[a].disk.shelf.sources.insert("kuchen.txt".into(), vec![(String::new(), cake)]);
        world.give(a, &of_b, "kuchen.txt").unwrap();
        world.run(30_000);
    }
    if capabilities & ROOMS != 0 {
        let room = RoomName::try_from("kaffee").unwrap();
        for n in [a, b] {
            let user = world.nodes[n].users[0].handle.clone();
            world.with(n, |now, m| m.room_join(now, &user, &room).unwrap());
        }
        let entry = EntryId { epoch: 1, n: 9 };
        let text = "Für alle: Kuchen ist da.".into();
        let post = Post { entry, from: crate::world::handle("anna"), at: Wall(0), text };
        world.with(a, |now, m| m.room_post(now, &room, post).unwrap());
        let of = world.print(a);
        world.with(b, |now, m| m.read(now, of, vec![entry]));
        world.run(30_000);
    }
    world.with(b, |now, m| m.goodbye(now));
    let mut text = String::new();
    for (_, end, bytes) in world.tape.take().unwrap() {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(text, "{end} {hex}").unwrap();
    }
    text
}

#[test]
fn a_session_of_this_version_is_byte_for_byte_as_recorded() {
    for capabilities in LEVELS {
        let path = file(capabilities);
        if std::env::var_os("KLATSCH_RECORD").is_some() {
            std::fs::write(&path, play(capabilities)).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap();
        assert_eq!(play(capabilities), recorded, "{capabilities}");
    }
}

/// Frames of every kind as version 1 writes them. Each later version must read them so.
const FRAMES_V1: &[(&str, &str)] = &[
    ("01010000000500000000000000091391000000000000000500000000000000060000000000000008", "Hello"),
    ("020104616e6e6102000000", "Users"),
    ("030000000000000001", "Ping(1)"),
    ("040000000000000001", "Pong(1)"),
    ("050773746f70706564", "Bye(\"stopped\")"),
    ("06", "Rekey"),
    ("07000000000000004d", "Stream(77)"),
    (
        "0800000000000000070000000000000001000000000000000204616e6e6103626f620000000000000000\
         01000002686921",
        "Message",
    ),
    ("090000000000000007", "Ack(7)"),
    ("0a0000000000000007026e6f", "Refuse(7, \"no\")"),
    ("1806636f666665650000000000000003010104616e6e61", "Room(Here"),
    ("1906636f6666656500", "Room(Members"),
    ("1a06636f666665650000", "Room(Have"),
    (
        "1a06636f666665650000010203040506070801",
        "Room(Have(RoomName(Handle(\"coffee\")), [], Some(Roster",
    ),
    ("1e0100000000000000010000000000000002", "Read("),
    ("1f00", "Peers([])"),
    (
        "0800000000000000080000000000000001000000000000000304616e6e6103626f620000000000000000\
         100000000001000000000000001303612e7403706e67",
        "Message(Message { seq: 8, entry: EntryId { epoch: 1, n: 3 }, from: Handle(\"anna\"), \
         to: Handle(\"bob\"), said: Wall(0), content: Offer(Offer { name: \"a.t\"",
    ),
    (
        "0800000000000000090000000000000001000000000000000303626f6204616e6e610000000000000000\
         1100000000000000010000000000000003000100",
        "Message(Message { seq: 9, entry: EntryId { epoch: 1, n: 3 }, from: Handle(\"bob\"), \
         to: Handle(\"anna\"), said: Wall(0), content: Verdict(Verdict { id: EntryId { epoch: 1, \
         n: 3 }, giver: false, outcome: Done",
    ),
    (
        "10000000000000000100000000000000030000000100000000000000000000000a000000000003c00a",
        "File(Want { id: EntryId { epoch: 1, n: 3 }, turn: 1, index: 0, offset: 10, upto: 245770",
    ),
    ("1100000000000000010000000000000003000000010000000000000009", "File(Grant"),
    ("12000000000000000100000000000000030000000100000000000000130000", "File(File"),
    ("130000000000000001000000000000000300000001000000000000000a4141", "File(Chunk"),
    (
        "140000000000000001000000000000000300000001\
         0505050505050505050505050505050505050505050505050505050505050505",
        "File(End",
    ),
    (
        "15000000000000000100000000000000030302686d",
        "File(Pause { id: EntryId { epoch: 1, n: 3 }, giver: true, paused: true, why: \"hm\"",
    ),
    ("1600000000000000010000000000000003", "File(Gone"),
];

#[test]
fn frames_of_version_1_are_read() {
    for (hex, begins) in FRAMES_V1 {
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        let frame = Frame::decode(&bytes).unwrap();
        assert!(format!("{frame:?}").starts_with(begins), "{frame:?}");
    }
}

/// The recorded bytes again, into fresh machines' sessions: whoever kept them proves nothing.
#[test]
fn a_recorded_session_played_again_opens_nothing() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        opens_nothing(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    // and the pattern has not changed under the recordings
    assert_eq!(Handshake::new(true, &Secret::new([1; 32]), Rng::new([2; 32])).write().len(), 32);
}

fn opens_nothing(recorded: &str) {
    let at = "10.0.0.9:40000".parse().unwrap();
    for end in ["0", "1"] {
        let rng = Rng::new([77; 32]);
        let secret = Secret::new([78; 32]);
        let initiator = end == "1";
        let mut session = Session::new(0, StreamId(1), at, initiator, &secret, rng);
        if initiator {
            session.connected();
        }
        let mut events = Vec::new();
        let mut broken = false;
        for line in recorded.lines() {
            let (from, hex) = line.split_once(' ').unwrap();
            if from != end || broken {
                continue;
            }
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                .collect();
            broken = session.bytes(0, &bytes, &mut events).is_err();
        }
        assert!(broken, "from end {end}");
        assert!(!events.iter().any(|e| matches!(e, Event::Frame(_))));
    }
}
