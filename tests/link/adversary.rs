//! Liars and vandals: what each can do is stated in docs/link.md, and no more than that.

use std::net::SocketAddr;

use klatsch::dialect::link::beacon::Beacon;
use klatsch::dialect::link::frame::{Content, Frame, Hello, Message, User};
use klatsch::dialect::link::machine::{Beaconed, CAPABILITIES, MAX_TOLD, MAX_TRIES, Machine};
use klatsch::dialect::link::noise::{Fingerprint, Rng, Secret};
use klatsch::dialect::link::session::{Event, HANDSHAKE_MS, Session};
use klatsch::dialect::link::words::{Far, Heard, Me, Out, Sending, Setup};
use klatsch::model::limits::{
    LINK_HALF_OPEN, LINK_HALF_OPEN_PER_SOURCE, LINK_HEARD, LINK_KNOWN, LINK_KNOWN_BY_NETWORK,
    LINK_SESSIONS, MAX_USERS,
};
use klatsch::model::net::ACCEPTED;
use klatsch::model::{EntryId, Millis, Net, SocketId, StreamId, Wall};

use crate::world::{PORT, World, handle};

const LISTENER: SocketId = SocketId(102);

/// One machine, and whoever attacks it by hand.
pub struct Victim {
    pub now: Millis,
    pub machine: Machine,
    pub outs: Vec<Out>,
    streams: u64,
}

impl Victim {
    pub fn new() -> Victim {
        Victim::with(false)
    }

    /// One that hears of boxes from others.
    fn telling() -> Victim {
        Victim::with(true)
    }

    fn with(tell: bool) -> Victim {
        let setup = Setup {
            secret: Secret::new([1; 32]),
            seed: [2; 32],
            port: PORT,
            beacon_port: PORT,
            beacon: true,
            announce: 60_000,
            named: Vec::new(),
            capabilities: CAPABILITIES,
            tell,
            keep: 24 * 60 * 60_000,
            sockets: 100,
            streams: 1,
        };
        let mut machine = Machine::new(1_000, setup, &[]);
        machine.bound(1_000, SocketId(100));
        machine.bound(1_000, LISTENER);
        let me = Me { handle: handle("anna"), guest: false, joined: true, away: None };
        machine.set_users(1_000, vec![me]);
        let mut victim = Victim { now: 1_000, machine, outs: Vec::new(), streams: 0 };
        victim.drain();
        victim
    }

    pub fn drain(&mut self) -> Vec<Out> {
        let outs: Vec<Out> = std::iter::from_fn(|| self.machine.poll()).collect();
        self.outs.extend(outs.iter().cloned());
        outs
    }

    fn accept(&mut self, at: &str) -> StreamId {
        self.streams += 1;
        let stream = StreamId(ACCEPTED | self.streams);
        let at: SocketAddr = at.parse().unwrap();
        self.machine.accepted(self.now, LISTENER, stream, at);
        stream
    }

    pub fn closed(&self, stream: StreamId) -> bool {
        self.outs.contains(&Out::Net(Net::Close(stream)))
    }

    pub fn complaints(&self) -> Vec<String> {
        let text = |out: &Out| match out {
            Out::Heard(Heard::Complaint { text, .. }) => Some(text.clone()),
            _ => None,
        };
        self.outs.iter().filter_map(text).collect()
    }

    pub fn pass(&mut self, ms: Millis) {
        let until = self.now + ms;
        while let Some(at) = self.machine.wake_at().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.machine.tick(self.now);
            self.drain();
        }
        self.now = until;
    }
}

/// An end of a session that says what it likes.
pub struct Liar {
    pub session: Session,
    pub heard: Vec<Frame>,
}

impl Liar {
    pub fn connect(victim: &mut Victim, n: u8, at: &str) -> Liar {
        let stream = victim.accept(at);
        let mut secret = [n; 32];
        secret[31] = 7;
        let (secret, rng) = (Secret::new(secret), Rng::new([n; 32]));
        let mut session = Session::new(victim.now, stream, at.parse().unwrap(), true, &secret, rng);
        session.connected();
        let mut liar = Liar { session, heard: Vec::new() };
        liar.talk(victim);
        liar
    }

    pub fn hello(&mut self, victim: &mut Victim) {
        self.hello_with(victim, 0);
    }

    /// With these capabilities.
    pub fn hello_with(&mut self, victim: &mut Victim, capabilities: u32) {
        let hello =
            Hello { version: 1, capabilities, run: 1, port: PORT, epoch: 1, got_epoch: 0, got: 0 };
        self.say(victim, &Frame::Hello(hello));
    }

    pub fn say(&mut self, victim: &mut Victim, frame: &Frame) {
        self.session.push(victim.now, frame);
        self.talk(victim);
    }

    /// Carries all bytes to and fro.
    pub fn talk(&mut self, victim: &mut Victim) {
        let stream = self.session.stream;
        loop {
            let mut moved = false;
            while let Some(bytes) = self.session.to_write() {
                self.session.wrote();
                victim.machine.stream_bytes(victim.now, stream, &bytes);
                moved = true;
            }
            for out in victim.drain() {
                if let Out::Net(Net::Write(to, bytes)) = out {
                    if to == stream {
                        let mut events = Vec::new();
                        self.session.bytes(victim.now, &bytes, &mut events).unwrap();
                        for event in events {
                            if let Event::Frame(frame) = event {
                                self.heard.push(frame);
                            }
                        }
                        victim.machine.wrote(victim.now, stream);
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

pub fn users(name: &str) -> Frame {
    Frame::Users(vec![User { handle: handle(name), guest: false, away: None }], Vec::new())
}

fn text(seq: u64, from: &str) -> Frame {
    let content = Content::Text { text: "x".into(), autoreply: false, lobby: false };
    let entry = EntryId { epoch: 1, n: seq };
    let (from, to) = (handle(from), handle("anna"));
    Frame::Message(Message { seq, entry, from, to, said: Wall(0), content })
}

fn beacon(n: u64, fingerprint: Option<Fingerprint>) -> Beaconed {
    let mut print = [0; 16];
    print[..8].copy_from_slice(&n.to_be_bytes());
    let beacon = Beacon {
        fingerprint: fingerprint.unwrap_or(Fingerprint(print)),
        version: 1,
        capabilities: 0,
        port: 6_000,
        handles: vec![handle("bob")],
    };
    let ip = std::net::Ipv4Addr::from(0x0a01_0000 + u32::try_from(n % 60_000).unwrap());
    let from = SocketAddr::new(ip.into(), PORT);
    Beaconed { socket: SocketId(100), from, link: 2, bytes: beacon.encode() }
}

#[test]
fn ten_thousand_false_beacons_fill_no_table_and_make_few_calls() {
    let mut victim = Victim::new();
    for n in 0..10_000 {
        victim.machine.beaconed(victim.now, &beacon(n, None));
        victim.pass(5);
    }
    victim.pass(60_000);
    let [places, sessions, neighbours, ..] = victim.machine.table_sizes();
    assert!(places <= LINK_HEARD, "{places}");
    assert!(sessions <= 8 && neighbours == 0, "{sessions} {neighbours}");
    let calls = victim.outs.iter().filter(|o| matches!(o, Out::Net(Net::Dial(..)))).count();
    // 110 s, four at once, ten seconds each
    assert!(calls <= 60, "{calls} calls");
    let told = victim.outs.iter().filter(|o| matches!(o, Out::Heard(Heard::Here { .. }))).count();
    assert_eq!(told, 0);
}

#[test]
fn a_beacon_that_names_a_pinned_key_diverts_nothing() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (a, b, evil) = (world.node("anna"), world.node("bob"), world.add("mallory"));
        world.run(10_000);
        world.start(evil);
        world.run(10_000);
        let (bob, of_bob) = (world.far(b), world.print(b));
        world.crash(b);
        world.say(a, &bob, "secret");
        // Mallory says that Bob is at her address
        let at = SocketAddr::new(world.nodes[evil].v4.unwrap().into(), PORT);
        let forged = Beacon {
            fingerprint: of_bob,
            version: 1,
            capabilities: 0,
            port: PORT,
            handles: vec![handle("bob")],
        };
        for _ in 0..20 {
            let came =
                Beaconed { socket: SocketId(100), from: at, link: 2, bytes: forged.encode() };
            world.with(a, |now, m| m.beaconed(now, &came));
            world.run(1_000);
        }
        let complaint = "its key is not the one it was called for: the connection is closed";
        assert!(world.nodes[a].complaints.contains(&complaint.to_owned()), "seed {seed}");
        assert!(world.nodes[evil].disk.got.is_empty());
        world.start(b);
        world.run(60_000);
        assert_eq!(world.texts(b, a), ["secret"], "seed {seed}");
    }
}

#[test]
fn beacons_recorded_and_sent_again_show_nobody_and_cost_few_calls() {
    let mut world = World::new(3);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let at = SocketAddr::new(world.nodes[b].v4.unwrap().into(), PORT);
    let recorded = Beacon {
        fingerprint: world.print(b),
        version: 1,
        capabilities: 0,
        port: PORT,
        handles: vec![handle("bob")],
    };
    world.crash(b);
    world.run(120_000);
    assert!(world.nodes[a].here.is_empty());
    let (told, dials) = (world.nodes[a].told.len(), world.dials);
    for _ in 0..1_000 {
        let bytes = recorded.encode();
        let came = Beaconed { socket: SocketId(100), from: at, link: 2, bytes };
        world.with(a, |now, m| m.beaconed(now, &came));
        world.run(100);
    }
    assert_eq!(world.nodes[a].told.len(), told, "nobody is shown");
    assert!(world.dials - dials <= 10, "{} calls in 100 s", world.dials - dials);
}

#[test]
fn what_is_cut_off_anywhere_is_not_taken() {
    let whole = {
        let mut victim = Victim::new();
        let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
        liar.hello(&mut victim);
        liar.say(&mut victim, &users("bob"));
        liar.session.push(victim.now, &text(1, "bob"));
        liar.session.to_write().unwrap().len()
    };
    for len in 0..=whole {
        let mut victim = Victim::new();
        let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
        liar.hello(&mut victim);
        liar.say(&mut victim, &users("bob"));
        liar.session.push(victim.now, &text(1, "bob"));
        let bytes = liar.session.to_write().unwrap();
        victim.machine.stream_bytes(victim.now, liar.session.stream, &bytes[..len]);
        victim.machine.stream_end(victim.now, liar.session.stream);
        victim.drain();
        let taken = victim.outs.iter().any(|o| matches!(o, Out::Heard(Heard::Message { .. })));
        assert_eq!(taken, len == whole, "cut to {len} of {whole}");
        assert_eq!(victim.machine.session_count(), 0);
    }
}

#[test]
fn one_told_box_past_the_limit_is_passed_over_and_near_addresses_are_none() {
    let mut victim = Victim::telling();
    let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    liar.hello(&mut victim);
    liar.say(&mut victim, &users("bob"));
    let told = |n: u8, at: &str| (Fingerprint([n; 16]), at.parse().unwrap());
    let near = ["127.0.0.1:5009", "[::1]:5009", "[fe80::1]:5009", "224.0.0.1:5009", "10.0.0.9:0"];
    let near = near.iter().map(|at| told(200, at)).collect();
    liar.say(&mut victim, &Frame::Peers(near));
    let [before, ..] = victim.machine.table_sizes();
    for n in 0..100 {
        let at = format!("10.0.1.{n}:5009");
        liar.say(&mut victim, &Frame::Peers(vec![told(n, &at)]));
    }
    let [places, ..] = victim.machine.table_sizes();
    assert!(places > before && places <= before + MAX_TOLD, "{before} {places}");
    assert!(
        !victim
            .outs
            .iter()
            .any(|o| matches!(o, Out::Net(Net::Dial(_, at)) if at.ip().is_loopback()))
    );
}

#[test]
fn a_man_in_the_middle_with_his_own_key_is_another_box() {
    // he answers in Bob's place from the beginning of the session on: his key is not Bob's
    let mut victim = Victim::new();
    let mut bob = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    bob.hello(&mut victim);
    bob.say(&mut victim, &users("bob"));
    let mut middle = Liar::connect(&mut victim, 4, "10.0.0.3:40001");
    middle.hello(&mut victim);
    middle.say(&mut victim, &users("bob"));
    let changed =
        |o: &&Out| matches!(o, Out::Heard(Heard::Changed { claim, .. }) if claim.handle.is("bob"));
    assert_eq!(victim.outs.iter().filter(changed).count(), 1);
    middle.say(&mut victim, &text(1, "bob"));
    assert!(matches!(&middle.heard[..], [.., Frame::Users(..)]), "nothing before it is kept");
    let of = bob.session.of.unwrap();
    assert_ne!(victim.machine.owner(&handle("bob")), None);
    assert!(!victim.outs.iter().any(|o| matches!(o, Out::Heard(Heard::Message { .. }))));
    assert_eq!(of, victim.machine.fingerprint());
}

#[test]
fn every_cut_or_changed_byte_ends_the_session_and_nothing_else() {
    // what an honest box sends, as bytes
    let tape = |victim: &mut Victim| {
        let mut liar = Liar::connect(victim, 3, "10.0.0.3:40000");
        liar.session.push(victim.now, &users("bob"));
        liar.session.push(victim.now, &text(1, "bob"));
        let bytes = liar.session.to_write().unwrap();
        (liar, bytes)
    };
    let (_, honest) = tape(&mut Victim::new());
    for at in 0..honest.len() {
        let mut victim = Victim::new();
        let (mut liar, mut bytes) = tape(&mut victim);
        liar.session.wrote();
        liar.hello(&mut victim);
        bytes[at] ^= 0x40;
        victim.machine.stream_bytes(victim.now, liar.session.stream, &bytes);
        victim.drain();
        victim.pass(60_000);
        assert!(victim.closed(liar.session.stream), "byte {at}");
        assert!(!victim.outs.iter().any(|o| matches!(o, Out::Heard(Heard::Message { .. }))));
    }
}

#[test]
fn who_acknowledges_what_it_never_got_is_cut_off_and_nothing_counts_as_delivered() {
    let mut victim = Victim::new();
    let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    liar.hello(&mut victim);
    liar.say(&mut victim, &users("bob"));
    let of = victim.machine.owner(&handle("bob")).unwrap();
    for _ in 0..3 {
        let sending = Sending {
            entry: EntryId { epoch: 1, n: 1 },
            from: handle("anna"),
            to: Far { of, handle: handle("bob") },
            said: Wall(0),
            content: Content::Text { text: "not kept yet".into(), autoreply: false, lobby: false },
        };
        victim.machine.send(sending).unwrap();
    }
    liar.say(&mut victim, &Frame::Ack(3));
    assert!(victim.closed(liar.session.stream));
    assert!(!victim.outs.iter().any(|o| matches!(o, Out::Heard(Heard::Settled { .. }))));
    assert_eq!(victim.machine.waiting_for(of), 3);
}

#[test]
fn who_speaks_before_hello_or_says_it_twice_is_cut_off() {
    let mut victim = Victim::new();
    let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    liar.say(&mut victim, &users("bob"));
    assert!(victim.closed(liar.session.stream));
    let mut liar = Liar::connect(&mut victim, 4, "10.0.0.4:40000");
    liar.hello(&mut victim);
    liar.hello(&mut victim);
    assert!(victim.closed(liar.session.stream));
    assert_eq!(victim.complaints().len(), 2);
}

#[test]
fn one_half_open_connection_past_each_limit_is_closed_and_slow_ones_end() {
    let mut victim = Victim::new();
    let of_one: Vec<StreamId> =
        (0..=LINK_HALF_OPEN_PER_SOURCE).map(|_| victim.accept("10.0.0.3:1")).collect();
    victim.drain();
    assert!(!victim.closed(of_one[LINK_HALF_OPEN_PER_SOURCE - 1]));
    assert!(victim.closed(of_one[LINK_HALF_OPEN_PER_SOURCE]));
    for n in 0..LINK_HALF_OPEN - LINK_HALF_OPEN_PER_SOURCE {
        let stream = victim.accept(&format!("10.0.1.{n}:1"));
        victim.drain();
        assert!(!victim.closed(stream));
    }
    let last = victim.accept("10.0.2.1:1");
    victim.drain();
    assert!(victim.closed(last));
    // slowloris: a byte now and then keeps nothing open
    for _ in 0..HANDSHAKE_MS / 1_000 {
        victim.machine.stream_bytes(victim.now, of_one[0], &[0]);
        victim.pass(1_000);
    }
    assert_eq!(victim.machine.session_count(), 0);
    let again = victim.accept("10.0.2.1:1");
    victim.drain();
    assert!(!victim.closed(again));
}

#[test]
fn one_connection_past_the_rate_of_a_source_is_closed() {
    let mut victim = Victim::new();
    for n in 0..=MAX_TRIES {
        let stream = victim.accept("10.0.0.3:1");
        victim.machine.stream_end(victim.now, stream);
        victim.drain();
        let closed_at_once = victim.machine.session_count() == 0;
        assert!(closed_at_once);
        assert!(victim.closed(stream), "{n}");
    }
    let other = victim.accept("10.0.0.4:1");
    victim.drain();
    assert!(!victim.closed(other));
    let late = victim.accept("10.0.0.3:1");
    victim.drain();
    assert!(victim.closed(late));
}

#[test]
fn boxes_made_up_by_the_thousand_leave_room_for_the_operators_own() {
    let mut victim = Victim::new();
    let mut bob = Liar::connect(&mut victim, 250, "10.9.9.9:40000");
    bob.hello(&mut victim);
    bob.say(&mut victim, &users("bob"));
    let code = victim.machine.code(&handle("bob")).unwrap();
    victim.machine.stream_end(victim.now, bob.session.stream);
    let most = LINK_KNOWN_BY_NETWORK / MAX_USERS + LINK_SESSIONS;
    for n in 0..most {
        let at = format!("10.{}.{}.3:40000", n / 200, n % 200);
        let mut liar = Liar::connect(&mut victim, u8::try_from(n % 250).unwrap(), &at);
        // 250 keys are enough: each claims all the handles it can
        liar.hello(&mut victim);
        let name =
            |u: usize| User { handle: handle(&format!("h{n}-{u}")), guest: false, away: None };
        liar.say(&mut victim, &Frame::Users((0..MAX_USERS).map(name).collect(), Vec::new()));
        victim.machine.stream_end(victim.now, liar.session.stream);
        victim.pass(100);
    }
    let [places, sessions, neighbours, pins, claims, sources] = victim.machine.table_sizes();
    assert_eq!(pins, LINK_KNOWN_BY_NETWORK);
    assert!(neighbours <= LINK_KNOWN + LINK_SESSIONS && claims <= 64, "{neighbours} {claims}");
    assert!(places <= LINK_HEARD && sessions <= LINK_SESSIONS && sources <= LINK_HEARD);
    assert_eq!(victim.machine.code(&handle("bob")), Some(code), "who was known is so still");
    // who is new has no place until the operator makes one, and he is told of it
    victim.outs.clear();
    let mut eva = Liar::connect(&mut victim, 251, "10.9.9.10:40000");
    eva.hello(&mut victim);
    eva.say(&mut victim, &users("eva"));
    let said = victim.complaints();
    assert!(said.len() == 1 && said[0].starts_with("eva is refused: "), "{said:?}");
    assert_eq!(victim.machine.code(&handle("eva")), None);
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let mut victim = Victim::new();
    let mut later = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    let hello = Hello {
        version: 9,
        capabilities: u32::MAX,
        run: 1,
        port: PORT,
        epoch: 1,
        got_epoch: 0,
        got: 0,
    };
    later.say(&mut victim, &Frame::Hello(hello));
    later.say(&mut victim, &users("bob"));
    later.say(&mut victim, &Frame::Unknown(222));
    later.say(&mut victim, &text(1, "bob"));
    assert!(!victim.closed(later.session.stream));
    assert!(victim.outs.iter().any(|o| matches!(o, Out::Heard(Heard::Message { .. }))));
    let Frame::Message(mut message) = text(2, "bob") else { unreachable!() };
    message.content = Content::Unknown(77);
    later.say(&mut victim, &Frame::Message(message));
    let token = victim.outs.iter().rev().find_map(|o| match o {
        Out::Keep(keep) if keep.token != 0 => Some(keep.token),
        _ => None,
    });
    victim.machine.kept(victim.now, token.unwrap(), true);
    later.talk(&mut victim);
    assert!(matches!(later.heard.last(), Some(Frame::Refuse(2, _))), "{:?}", later.heard);
}
