//! Files over the link for guests of this node: they are asked, within limits of their own, and what
//! a guest leaves behind ends with him.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bench::{Bench, link, settings};
use klatsch::command::Command;
use klatsch::config::{AcceptFrom, Kept, Settings};
use klatsch::dialect::link::machine::{Beaconed, CAPABILITIES, Machine, Opened, READ};
use klatsch::dialect::link::noise::{Secret, hash};
use klatsch::dialect::link::words::{
    self, Content, FileDo, FileNews, Heard, Keep, Me, Offer, Out, Sending, Setup,
};
use klatsch::model::history::{Change, Remembered, Row};
use klatsch::model::limits::{CHUNK, LINK_FILES_OF_GUESTS, LINK_FILES_PER_GUEST};
use klatsch::model::net::{ACCEPTED, Interface};
use klatsch::model::{
    Answer, Bind, Delivery, EntryId, Event, Handle, Net, StreamId, TransferState, TransferView,
    Wall, What,
};
use klatsch::node::io::Input;
use klatsch::node::linked::Identity;

const BEN: &str = "192.168.178.12";
const MEG: u64 = 1 << 20;

fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}

/// Another box: its machine, and its end of the cable.
struct Other {
    machine: Machine,
    ip: String,
    /// Its stream, ours, and how much of what we wrote there it has.
    cable: Option<(StreamId, StreamId, usize)>,
    /// What waits for us to read.
    waiting: VecDeque<Vec<u8>>,
    /// What it offers, by path.
    files: BTreeMap<String, Vec<u8>>,
    open: BTreeMap<u64, String>,
    entries: u64,
    here: BTreeSet<String>,
    /// What became of its offers.
    over: Vec<String>,
}

struct Lan {
    bench: Bench,
    boxes: Vec<Other>,
    streams: u64,
}

/// A node with guests, and so many other boxes that it is linked with.
fn lan(guests: &[&str], boxes: u8, kept: &[Row], quota: u64) -> Lan {
    let mut set = settings("Ben", None);
    (set.files.quota, set.web.quota) = (quota, quota);
    lan_with(set, guests, boxes, kept)
}

fn lan_with(set: Settings, guests: &[&str], boxes: u8, kept: &[Row]) -> Lan {
    let remembered = Remembered { link: kept.to_vec(), ..Remembered::default() };
    let identity = Identity { secret: Secret::new([7; 32]), seed: [8; 32] };
    let mut bench = Bench::born(set, Kept::default(), BEN, remembered, Some(identity));
    let eth0 = Interface { index: 2, name: "eth0".into(), v4: true, v6: false };
    bench.input(Input::Interfaces(vec![eth0]));
    bench.input(Input::Links(vec![link(BEN.parse().unwrap())]));
    for guest in guests {
        bench.ask(Command::AddUser { handle: (*guest).into(), back: None }).unwrap();
    }
    let mut lan = Lan { bench, boxes: Vec::new(), streams: 0 };
    (0..boxes).for_each(|n| lan.add(n));
    lan.run(20_000);
    lan
}

impl Lan {
    fn add(&mut self, n: u8) {
        let setup = Setup {
            secret: Secret::new([n + 20; 32]),
            seed: [n + 90; 32],
            port: 5009,
            beacon_port: 5009,
            beacon: true,
            announce: 60_000,
            named: Vec::new(),
            capabilities: CAPABILITIES | READ,
            tell: false,
            keep: 24 * 60 * 60_000,
            sockets: 100,
            streams: 1 << 40,
        };
        let now = self.bench.mono;
        let mut machine = Machine::new(now, setup, &[]);
        let me = Me { handle: handle(&format!("far{n}")), guest: false, joined: true, away: None };
        let visitor = Me { handle: handle(&format!("visitor{n}")), guest: true, ..me.clone() };
        machine.set_users(now, vec![me, visitor]);
        let eth0 = Interface { index: 2, name: "eth0".into(), v4: true, v6: false };
        machine.set_interfaces(now, vec![eth0]);
        self.boxes.push(Other {
            machine,
            ip: format!("192.168.178.{}", 100 + n),
            cable: None,
            waiting: VecDeque::new(),
            files: BTreeMap::new(),
            open: BTreeMap::new(),
            entries: 0,
            here: BTreeSet::new(),
            over: Vec::new(),
        });
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.bench.advance(50);
            let now = self.bench.mono;
            for there in &mut self.boxes {
                if there.machine.wake_at().is_some_and(|at| at <= now) {
                    there.machine.tick(now);
                }
            }
            self.settle();
        }
    }

    /// Carries everything to its end.
    fn settle(&mut self) {
        for net in self.bench.sent() {
            if let Net::Cast { bytes, .. } = net {
                let from = format!("{BEN}:5009").parse().unwrap();
                for there in &mut self.boxes {
                    let socket = klatsch::model::SocketId(100);
                    let came = Beaconed { socket, from, link: 2, bytes: bytes.clone() };
                    there.machine.beaconed(self.bench.mono, &came);
                }
            }
        }
        while (0..self.boxes.len()).map(|n| self.step(n)).fold(false, |any, one| any | one) {}
    }

    fn step(&mut self, n: usize) -> bool {
        let now = self.bench.mono;
        let mut any = false;
        while let Some(out) = self.boxes[n].machine.poll() {
            any = true;
            self.does(n, out);
        }
        let there = &mut self.boxes[n];
        let Some((far, near, had)) = there.cable else { return any };
        while let Some(bytes) = there.waiting.pop_front() {
            if !self.bench.bytes(near, &bytes) {
                there.waiting.push_front(bytes);
                break;
            }
            any = true;
        }
        let flow = &self.bench.flows[&near];
        if flow.out.len() > had {
            let bytes = flow.out[had..].to_vec();
            there.cable = Some((far, near, flow.out.len()));
            bytes.chunks(CHUNK).for_each(|piece| there.machine.stream_bytes(now, far, piece));
            return true;
        }
        any
    }

    fn does(&mut self, n: usize, out: Out) {
        let now = self.bench.mono;
        let there = &mut self.boxes[n];
        match out {
            Out::Net(Net::Bind(socket, _)) => there.machine.bound(now, socket),
            Out::Net(Net::Dial(far, _)) => {
                self.streams += 1;
                let stream = StreamId(ACCEPTED | (5_000 + self.streams));
                there.cable = Some((far, stream, 0));
                let from = format!("{}:40000", there.ip).parse().unwrap();
                let bound = self.bench.sockets.iter();
                let socket =
                    bound.clone().find(|(_, bind)| matches!(bind, Bind::TcpBoth(_))).unwrap().0;
                let socket = *socket;
                let flow = crate::bench::Flow { reads: 1, ..Default::default() };
                self.bench.flows.insert(stream, flow);
                self.bench.input(Input::AcceptedBoth { socket, stream, from });
                self.boxes[n].machine.connected(now, far);
            }
            Out::Net(Net::Write(far, bytes)) => {
                there.waiting.extend(bytes.chunks(CHUNK).map(<[u8]>::to_vec));
                there.machine.wrote(now, far);
            }
            Out::Net(_) => {}
            Out::Keep(Keep { token, .. }) => there.machine.kept(now, token, true),
            Out::File(no, act) => match act {
                FileDo::Open { path, .. } => {
                    let opened = there.files.get(&path).map(|bytes| Opened {
                        size: bytes.len() as u64,
                        path: String::new(),
                        before: 0,
                    });
                    there.open.insert(no, path);
                    if let Some(opened) = opened {
                        there.machine.file_opened(now, no, Ok(opened));
                    } // else it never comes to it
                }
                FileDo::Read { offset, len } => {
                    let bytes = &there.files[&there.open[&no]];
                    let at = usize::try_from(offset).unwrap();
                    let end = (at + len).min(bytes.len());
                    let sum = (end == bytes.len()).then(|| hash(&[bytes]));
                    there.machine.file_read(now, no, Ok((bytes[at..end].to_vec(), sum)));
                }
                _ => drop(there.open.remove(&no)),
            },
            Out::Heard(Heard::Message { token, .. }) => {
                let Keep { token, .. } = there.machine.take(token);
                there.machine.kept(now, token, true);
            }
            Out::Heard(Heard::Here { who, .. }) => drop(there.here.insert(who.handle.to_string())),
            Out::Heard(Heard::Gone { who, .. }) => drop(there.here.remove(who.handle.as_str())),
            Out::Heard(Heard::Settled { done, .. }) => {
                there.over.extend(done.into_iter().filter_map(|s| s.refused));
            }
            Out::Heard(Heard::File { news: FileNews::Over(outcome, why), .. }) => {
                there.over.push(format!("{outcome:?} {why}"));
            }
            Out::Heard(_) => {}
        }
    }

    /// A box offers a file of so many bytes, of which it has no more than it needs.
    fn offer(&mut self, n: usize, to: &str, bytes: u64) {
        self.offer_as(n, (&format!("far{n}"), to), bytes, "unknown");
    }

    fn offer_as(&mut self, n: usize, (from, to): (&str, &str), bytes: u64, format: &str) {
        let there = &mut self.boxes[n];
        there.entries += 1;
        let path = format!("/{}", there.entries);
        if bytes <= 4 * MEG {
            there.files.insert(path.clone(), vec![n as u8; usize::try_from(bytes).unwrap()]);
        }
        let of = Secret::new([7; 32]).public().fingerprint();
        let (name, format) = ("report.pdf".to_owned(), format.to_owned());
        let offer = Offer { name, folder: false, files: 1, bytes, format };
        let sending = Sending {
            entry: EntryId { epoch: 1, n: there.entries },
            from: handle(from),
            to: words::Far { of, handle: handle(to) },
            said: Wall(0),
            content: Content::Offer(offer.clone()),
        };
        match there.machine.offer(sending, offer, path, 1) {
            Ok((_, Keep { token, .. })) => there.machine.kept(self.bench.mono, token, true),
            Err(_) => there.over.push("not even sent".into()),
        }
        self.settle();
    }

    fn transfers(&mut self) -> Vec<TransferView> {
        match self.bench.ask(Command::Status {}) {
            Ok(Answer::Status(status)) => status.transfers,
            other => panic!("{other:?}"),
        }
    }

    fn of(&mut self, user: &str) -> Vec<TransferView> {
        self.transfers().into_iter().filter(|t| t.user.is(user)).collect()
    }

    fn act(&mut self, user: &str, command: Command) -> Result<Answer, String> {
        let ticket = self.bench.begin_as(Some(user), command);
        let at = self.bench.answers.iter().position(|(t, _)| *t == ticket).unwrap();
        let answer = self.bench.answers.remove(at).1.map_err(|refusal| refusal.to_string());
        self.settle();
        answer
    }

    fn accept(&mut self, user: &str, number: u32) -> Result<Answer, String> {
        self.act(user, Command::Accept { number })
    }

    fn leaves(&mut self, guest: &str) {
        self.bench.ask(Command::RemoveUser { handle: guest.into(), park: None }).unwrap();
        self.settle();
    }
}

#[test]
fn a_guest_is_asked_about_a_file_and_gets_it_when_he_accepts() {
    let mut lan = lan(&["carol", "dave"], 1, &[], 256 * MEG);
    assert!(lan.boxes[0].here.contains("carol"), "{:?}", lan.boxes[0].here);
    lan.offer(0, "carol", 700_000);
    let offered = lan.of("carol");
    assert_eq!((offered[0].state, offered[0].size), (TransferState::Offered, 700_000));
    let number = offered[0].number;
    assert!(lan.accept("dave", number).is_err(), "it is not his");
    lan.run(2_000);
    assert_eq!(lan.bench.store.kept.len(), 0, "nothing comes before he says so");
    lan.bench.events();
    lan.accept("carol", number).unwrap();
    lan.run(5_000);
    assert_eq!(lan.bench.store.kept.values().map(Vec::len).collect::<Vec<_>>(), [700_000]);
    assert_eq!(lan.boxes[0].over, ["Done "]);
    let told = lan.bench.events();
    let came = told.iter().find(|e| matches!(e.what, What::Image { .. })).unwrap();
    assert!(came.user.as_ref().is_some_and(|u| u.is("carol")), "{came:?}");
    let running = |e: &&klatsch::model::Event| {
        matches!(e.what, What::Transfer { state: TransferState::Running, .. })
    };
    assert!(told.iter().any(|e| running(&e) && e.user.as_ref().unwrap().is("carol")));
    lan.offer(0, "carol", 700_000);
    let number = lan.of("carol")[0].number;
    lan.act("carol", Command::Refuse { number }).unwrap();
    lan.run(2_000);
    assert_eq!(lan.boxes[0].over.len(), 2);
    assert!(lan.boxes[0].over[1].starts_with("Refused"), "{:?}", lan.boxes[0].over);
}

#[test]
fn a_guest_who_leaves_takes_his_offers_and_what_came_of_them_along() {
    let mut lan = lan(&["carol"], 1, &[], 256 * MEG);
    lan.offer(0, "CAROL", 3 * MEG); // as his box likes to spell it
    lan.offer(0, "carol", 1_000);
    let number = lan.of("carol").iter().find(|t| t.size == 3 * MEG).unwrap().number;
    lan.bench.store.hold = true;
    lan.accept("carol", number).unwrap();
    for _ in 0..20 {
        lan.bench.store_answers();
        lan.settle();
    }
    assert_eq!(lan.bench.store.unfinished.len(), 1, "it is on its way");
    lan.leaves("carol");
    lan.bench.store.hold = false;
    lan.bench.run();
    lan.run(5_000);
    assert_eq!(lan.transfers(), []);
    assert_eq!(lan.bench.store.unfinished.len(), 0, "nothing unfinished is left");
    assert_eq!(lan.bench.store.kept.len(), 0);
    let over = &lan.boxes[0].over;
    assert_eq!(over.len(), 2, "{over:?}");
    assert!(
        over.iter().all(|o| o == "Cancelled nobody of that name is there any more"),
        "{over:?}"
    );
    lan.offer(0, "carol", 1_000);
    lan.run(1_000);
    assert!(lan.boxes[0].over[2].contains("nobody is called carol"), "{:?}", lan.boxes[0].over);
}

#[test]
fn only_the_addressees_box_says_that_he_read_and_a_guest_who_left_has_it_kept_untold() {
    let mut set = settings("Ben", None);
    set.link.read = true;
    let mut lan = lan_with(set, &["carol"], 2, &[]);
    let ours = Secret::new([7; 32]).public().fingerprint();
    let says = |lan: &mut Lan| {
        lan.bench.events();
        let text = Command::Send { to: vec!["far0".into()], text: "read this".into() };
        lan.act("carol", text).unwrap();
        (0..20).for_each(|_| {
            lan.bench.stored();
            lan.run(50);
        });
        let arrived = |e: Event| match e.what {
            What::Delivery { id, state: Delivery::Delivered, .. } => Some(id),
            _ => None,
        };
        lan.bench.events().into_iter().find_map(arrived).unwrap()
    };
    let read = |lan: &mut Lan, n: usize, id: EntryId| {
        lan.bench.changes();
        lan.boxes[n].machine.read(lan.bench.mono, ours, vec![id]);
        lan.run(1_000);
        let kept = |c: &Change| matches!(c, Change::State { id: of, state: Delivery::Read, .. } if *of == id);
        let told = |e: &Event| matches!(e.what, What::Delivery { state: Delivery::Read, .. });
        let told = lan.bench.events().into_iter().filter(told).map(|e| e.user.unwrap().to_string());
        (lan.bench.changes().iter().filter(|c| kept(c)).count(), told.collect::<Vec<_>>())
    };
    let id = says(&mut lan);
    assert_eq!(read(&mut lan, 1, id), (0, vec![]), "another box");
    assert_eq!(read(&mut lan, 0, id), (1, vec!["carol".to_owned()]));
    assert_eq!(read(&mut lan, 0, id), (0, vec![]), "once");
    let id = says(&mut lan);
    lan.leaves("carol");
    assert_eq!(read(&mut lan, 0, id), (1, vec![]));
}

#[test]
fn one_box_with_ten_thousand_offers_has_a_few_stand_with_one_guest() {
    let mut lan = lan(&["carol", "dave"], 2, &[], 256 * MEG);
    lan.bench.events();
    for _ in 0..10_000 {
        lan.offer(0, "carol", 1_000);
    }
    assert_eq!(lan.of("carol").len(), LINK_FILES_PER_GUEST);
    let offered = |e: &klatsch::model::Event| matches!(e.what, What::Transfer { .. });
    assert_eq!(lan.bench.events().iter().filter(|e| offered(e)).count(), LINK_FILES_PER_GUEST);
    // another box cannot add to that, but reaches whom the first did not
    lan.offer(1, "carol", 1_000);
    lan.run(1_000);
    assert!(lan.boxes[1].over[0].contains("are offered to him"), "{:?}", lan.boxes[1].over);
    lan.offer(1, "dave", 1_000);
    assert_eq!(lan.of("dave").len(), 1);
}

#[test]
fn whoever_has_most_offers_makes_place_for_a_guest_who_has_none() {
    let guests = ["a", "b", "c", "d", "erin"];
    let mut lan = lan(&guests, 5, &[], 256 * MEG);
    for n in 0..LINK_FILES_OF_GUESTS {
        lan.offer(n / LINK_FILES_PER_GUEST, guests[n % 4], 1_000);
    }
    assert_eq!(lan.transfers().len(), LINK_FILES_OF_GUESTS);
    lan.offer(4, "erin", 1_000);
    assert_eq!((lan.transfers().len(), lan.of("erin").len()), (LINK_FILES_OF_GUESTS, 1));
    lan.run(1_000);
    let gave_way: Vec<&String> = lan.boxes.iter().flat_map(|b| &b.over).collect();
    assert_eq!(gave_way, ["Failed others wait there, and nothing of it came"]);
    // the box's own user has places of his own
    lan.offer(4, "Ben", 1_000);
    assert_eq!(lan.of("Ben").len(), 1);
}

#[test]
fn what_guests_accept_leaves_room_for_the_boxs_own_users() {
    // half for guests, a quarter of that for one of them, or a single file more
    let mut lan = lan(&["carol", "dave", "erin"], 4, &[], 64 * MEG);
    let offer = |lan: &mut Lan, n: usize, to: &str, bytes: u64| {
        lan.offer(n, to, bytes);
        lan.of(to).iter().rfind(|t| t.state == TransferState::Offered).map(|t| t.number)
    };
    assert_eq!(offer(&mut lan, 0, "carol", 64 * MEG + 1), None, "more than there may be");
    // nobody has what he offers: it is promised all the same
    let first = offer(&mut lan, 0, "carol", 6 * MEG).unwrap();
    lan.accept("carol", first).unwrap();
    let second = offer(&mut lan, 0, "carol", 6 * MEG).unwrap();
    let why = lan.accept("carol", second).unwrap_err();
    assert!(why.contains("accept it after them"), "{why}");
    let large = offer(&mut lan, 1, "dave", 30 * MEG).unwrap();
    assert!(lan.accept("dave", large).is_err(), "with carol's it is more than half");
    let fits = offer(&mut lan, 2, "erin", 26 * MEG).unwrap();
    lan.accept("erin", fits).unwrap();
    // and Ben has all of the quota still
    let bens = offer(&mut lan, 3, "Ben", 64 * MEG).unwrap();
    lan.accept("Ben", bens).unwrap();
}

#[test]
fn a_full_disk_lets_a_guests_file_rest_until_he_goes_on() {
    let mut lan = lan(&["carol"], 1, &[], 256 * MEG);
    lan.offer(0, "carol", 2 * MEG);
    lan.bench.store.full = true;
    let number = lan.of("carol")[0].number;
    lan.accept("carol", number).unwrap();
    lan.run(5_000);
    let rests = lan.of("carol");
    assert_eq!(rests[0].state, TransferState::Paused);
    assert!(rests[0].reason.as_ref().is_some_and(|r| r.contains("full")), "{rests:?}");
    lan.bench.store.full = false;
    lan.act("carol", Command::Resume { number }).unwrap();
    lan.run(5_000);
    assert_eq!(lan.bench.store.kept.values().map(Vec::len).collect::<Vec<_>>(), [2 << 20]);
}

#[test]
fn after_a_restart_offers_wait_a_while_for_their_guest_and_end_without_him() {
    let mut first = lan(&["carol", "dave"], 1, &[], 256 * MEG);
    first.offer(0, "carol", 1_000);
    first.offer(0, "dave", 1_000);
    first.run(5_000);
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for change in first.bench.changes() {
        if let Change::Link(row) = change {
            match row.value {
                Some(_) => rows.insert(row.key.clone(), row),
                None => rows.remove(&row.key),
            };
        }
    }
    let rows: Vec<Row> = rows.into_values().collect();
    let mut again = lan(&[], 0, &rows, 256 * MEG);
    assert_eq!(again.transfers().len(), 2);
    again.bench.ask(Command::AddUser { handle: "carol".into(), back: None }).unwrap();
    again.run(60_000);
    let left = again.transfers();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].user.is("carol"), "{left:?}");
}

#[test]
fn what_is_taken_without_asking_follows_trust_kind_and_size() {
    use AcceptFrom::{Anyone, Nobody, Pinned, Verified};
    // of whom, whether his key was compared, and which rule takes what is his
    let of = [
        ("far0", false, [Pinned, Anyone].as_slice()),
        ("far0", true, &[Verified, Pinned, Anyone]),
        ("visitor0", false, &[Anyone]),
    ];
    for rule in [Nobody, Verified, Pinned, Anyone] {
        for (from, compared, taken_by) in of {
            for for_images in [true, false] {
                let mut set = settings("Ben", None);
                set.files.accept_size = 10_000;
                (set.files.accept_images, set.files.accept_any) =
                    if for_images { (rule, Nobody) } else { (Nobody, rule) };
                let mut lan = lan_with(set, &["carol"], 1, &[]);
                if compared {
                    let far = || "far0".to_owned();
                    lan.bench.ask(Command::Verify { handle: far() }).unwrap();
                    lan.bench.ask(Command::Trust { handle: far() }).unwrap();
                }
                let takes = taken_by.contains(&rule);
                for to in ["Ben", "carol"] {
                    for (format, bytes, wanted) in [
                        ("png", 10_000, takes),
                        ("unknown", 10_000, takes && !for_images),
                        ("png", 10_001, false),
                        ("unknown", 10_001, false),
                    ] {
                        lan.offer_as(0, (from, to), bytes, format);
                        // what is not whole is still among them, and what is wanted never comes
                        let asked = |t: &&TransferView| t.state == TransferState::Offered;
                        let asked = lan.of(to).iter().filter(asked).count();
                        let case = format!("{rule:?} {from} {compared} {for_images} {format}");
                        assert_eq!(asked, usize::from(!wanted), "{case} {bytes} to {to}");
                        for view in lan.of(to) {
                            let number = view.number;
                            lan.act(to, Command::Cancel { number }).unwrap();
                        }
                    }
                }
            }
        }
    }
}
