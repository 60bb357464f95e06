//! Boxes that lie about files: what they get is the end of their own session or transfer.

use klatsch::dialect::link::files::{FileFrame, Offer, Outcome, Verdict};
use klatsch::dialect::link::frame::{Content, Frame, Message};
use klatsch::dialect::link::machine::{BUSY_MS, CannotSend, FILES, IDLE_MS, STALLED_MS, Taking};
use klatsch::dialect::link::noise::{Fingerprint, hash};
use klatsch::dialect::link::words::{Far, FileDo, FileNews, FileState, Heard, Keep, Out, Sending};
use klatsch::model::limits::{LINK_CHUNK, LINK_FILES, LINK_FILES_PER_BOX, LINK_WINDOW};
use klatsch::model::{EntryId, Wall};

use crate::adversary::{Liar, Victim, users};
use crate::world::handle;

const SIZE: u64 = 1_000_000;

fn offer(seq: u64, offer: Offer) -> Frame {
    let entry = EntryId { epoch: 9, n: seq };
    let (from, to) = (handle("bob"), handle("anna"));
    Frame::Message(Message { seq, entry, from, to, said: Wall(0), content: Content::Offer(offer) })
}

fn one(bytes: u64) -> Offer {
    Offer { name: "x".into(), folder: false, files: 1, bytes, format: "unknown".into() }
}

fn folder(files: u32, bytes: u64) -> Offer {
    Offer { folder: true, files, ..one(bytes) }
}

/// Does what the node does: takes offers, keeps, and performs what is to be done with files.
struct Nodes {
    accepts: bool,
    /// The disk is slow: what is to be made durable is not yet.
    holds_sync: bool,
    read: usize,
    written: Vec<u8>,
    entries: u64,
    done: Vec<FileDo>,
    over: Vec<(Outcome, String)>,
}

impl Nodes {
    fn new() -> Nodes {
        let (written, done, over) = (Vec::new(), Vec::new(), Vec::new());
        Nodes { accepts: true, holds_sync: false, read: 0, written, entries: 0, done, over }
    }

    /// All that is to be done, until there is no more.
    fn work(&mut self, victim: &mut Victim, liar: &mut Liar) {
        loop {
            let outs: Vec<Out> = victim.outs[self.read..].to_vec();
            if outs.is_empty() {
                return;
            }
            self.read = victim.outs.len();
            for out in outs {
                self.out(victim, out);
            }
            liar.talk(victim);
        }
    }

    fn out(&mut self, victim: &mut Victim, out: Out) {
        let now = victim.now;
        let m = &mut victim.machine;
        match out {
            Out::Keep(Keep { token, .. }) => m.kept(now, token, true),
            Out::Heard(Heard::Message { token, content: Content::Offer(_), .. }) => {
                self.entries += 1;
                let entry = EntryId { epoch: 1, n: self.entries };
                let taking =
                    Taking { entry, stem: "x".into(), accepted: self.accepts, image: false };
                if let Some((_, keep)) = m.take_offer(token, taking) {
                    m.kept(now, keep.token, true);
                }
            }
            Out::Heard(Heard::File { news: FileNews::Over(outcome, why), .. }) => {
                self.over.push((outcome, why));
            }
            Out::File(no, act) => {
                self.done.push(act.clone());
                match act {
                    FileDo::Part { offset, .. } => m.file_ready(now, no, Ok(offset)),
                    FileDo::Append(bytes) => {
                        self.written.extend(bytes);
                        m.file_done(now, no, Ok(()));
                    }
                    FileDo::Sync if self.holds_sync => {}
                    FileDo::Sync => m.file_done(now, no, Ok(())),
                    FileDo::Place { sum, last, .. } => {
                        if hash(&[&self.written]) != sum {
                            let text = "its hash is another";
                            let error =
                                klatsch::model::IoError::new(klatsch::model::Trouble::Other, text);
                            m.file_done(now, no, Err(error));
                        } else if last {
                            let keep = m.take_done(no).unwrap();
                            m.kept(now, keep.token, true);
                        } else {
                            self.written.clear();
                            m.file_done(now, no, Ok(()));
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// A victim, and a liar of these capabilities at whose box Bob is.
fn met(capabilities: u32) -> (Victim, Liar) {
    let mut victim = Victim::new();
    let mut liar = Liar::connect(&mut victim, 3, "10.0.0.3:40000");
    liar.hello_with(&mut victim, capabilities);
    liar.say(&mut victim, &users("bob"));
    (victim, liar)
}

/// What was last asked for: its entry, and under which turn.
fn last_want(liar: &Liar) -> Option<(EntryId, u32)> {
    liar.heard.iter().rev().find_map(|f| match f {
        Frame::File(FileFrame::Want { id, turn, .. }) => Some((*id, *turn)),
        _ => None,
    })
}

/// A victim that was offered something and wants it: with what it asked for.
fn asked(of: Offer) -> (Victim, Liar, Nodes, EntryId, u32) {
    let (mut victim, mut liar) = met(FILES);
    let mut nodes = Nodes::new();
    nodes.read = victim.outs.len();
    liar.say(&mut victim, &offer(1, of));
    nodes.work(&mut victim, &mut liar);
    let (id, turn) = last_want(&liar).expect("it is asked for");
    (victim, liar, nodes, id, turn)
}

fn says(victim: &mut Victim, liar: &mut Liar, nodes: &mut Nodes, frame: FileFrame) {
    liar.say(victim, &Frame::File(frame));
    nodes.work(victim, liar);
}

/// Sends one file of a folder in one piece; the turn under which the next is asked for.
fn sends_whole(
    victim: &mut Victim,
    liar: &mut Liar,
    nodes: &mut Nodes,
    (id, turn): (EntryId, u32),
    path: &str,
    bytes: &[u8],
) -> u32 {
    let (size, path) = (bytes.len() as u64, path.to_owned());
    says(victim, liar, nodes, FileFrame::File { id, turn, size, path });
    let chunk = FileFrame::Chunk { id, turn, offset: 0, bytes: bytes.to_vec() };
    says(victim, liar, nodes, chunk);
    says(victim, liar, nodes, FileFrame::End { id, turn, sum: hash(&[bytes]) });
    last_want(liar).unwrap().1
}

#[test]
fn bytes_that_nobody_asked_for_end_the_session_and_are_not_written() {
    let piece = |offset, len| (offset, vec![1; len]);
    for (offset, bytes) in [piece(1, 10), piece(SIZE, 1), piece(u64::MAX, 5)] {
        let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
        let file = FileFrame::File { id, turn, size: SIZE, path: String::new() };
        says(&mut victim, &mut liar, &mut nodes, file);
        says(&mut victim, &mut liar, &mut nodes, FileFrame::Chunk { id, turn, offset, bytes });
        assert!(victim.closed(liar.session.stream), "at {offset}");
        assert!(nodes.written.is_empty());
    }
    // before it said what comes, and past its end
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let bytes = vec![1; 10];
    says(&mut victim, &mut liar, &mut nodes, FileFrame::Chunk { id, turn, offset: 0, bytes });
    assert!(victim.closed(liar.session.stream));
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let file = FileFrame::File { id, turn, size: 9, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    let bytes = vec![1; 10];
    says(&mut victim, &mut liar, &mut nodes, FileFrame::Chunk { id, turn, offset: 0, bytes });
    assert!(victim.closed(liar.session.stream));
}

#[test]
fn one_byte_past_the_window_ends_the_session() {
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let file = FileFrame::File { id, turn, size: SIZE, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    // nothing is written meanwhile, so nothing more is asked for
    for n in 0..LINK_WINDOW / LINK_CHUNK as u64 {
        let bytes = vec![1; LINK_CHUNK];
        let offset = n * LINK_CHUNK as u64;
        liar.say(&mut victim, &Frame::File(FileFrame::Chunk { id, turn, offset, bytes }));
    }
    assert!(!victim.closed(liar.session.stream));
    let (offset, bytes) = (LINK_WINDOW, vec![1]);
    liar.say(&mut victim, &Frame::File(FileFrame::Chunk { id, turn, offset, bytes }));
    assert!(victim.closed(liar.session.stream));
}

#[test]
fn a_path_that_leads_elsewhere_is_not_taken() {
    for path in ["../x", "/etc/passwd", "a/../../x", "", "a//b"] {
        let (mut victim, mut liar, mut nodes, id, turn) = asked(folder(2, SIZE));
        let file = FileFrame::File { id, turn, size: 9, path: path.into() };
        says(&mut victim, &mut liar, &mut nodes, file);
        assert!(victim.closed(liar.session.stream), "{path}");
        assert_eq!(nodes.over[0].0, Outcome::Failed, "{path}");
        assert!(!nodes.done.iter().any(|d| matches!(d, FileDo::Place { .. })));
        assert!(nodes.done.iter().any(|d| matches!(d, FileDo::Discard { .. })));
    }
    // and a single file has no path at all
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let file = FileFrame::File { id, turn, size: 9, path: "x".into() };
    says(&mut victim, &mut liar, &mut nodes, file);
    assert!(victim.closed(liar.session.stream));
}

#[test]
fn more_than_was_offered_is_not_taken() {
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let file = FileFrame::File { id, turn, size: SIZE + 1, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    assert_eq!(nodes.over, [(Outcome::Failed, "more comes than was offered".to_owned())]);
    // over all files of a folder, too
    let (mut victim, mut liar, mut nodes, id, mut turn) = asked(folder(3, 25));
    for path in ["f0", "f1"] {
        turn = sends_whole(&mut victim, &mut liar, &mut nodes, (id, turn), path, &[1; 10]);
    }
    assert!(nodes.over.is_empty());
    let file = FileFrame::File { id, turn, size: 10, path: "f2".into() };
    says(&mut victim, &mut liar, &mut nodes, file);
    assert_eq!(nodes.over, [(Outcome::Failed, "more comes than was offered".to_owned())]);
}

#[test]
fn what_hashes_to_something_else_is_not_kept_and_both_are_told() {
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(10));
    let file = FileFrame::File { id, turn, size: 10, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    let bytes = vec![1; 10];
    says(&mut victim, &mut liar, &mut nodes, FileFrame::Chunk { id, turn, offset: 0, bytes });
    says(&mut victim, &mut liar, &mut nodes, FileFrame::End { id, turn, sum: [0; 32] });
    assert_eq!(nodes.over[0].0, Outcome::Failed);
    let told = liar.heard.iter().any(|f| match f {
        Frame::Message(Message { content: Content::Verdict(v), .. }) => {
            v.outcome == Outcome::Failed && v.id == id
        }
        _ => false,
    });
    assert!(told && victim.machine.files().count() == 0);
}

#[test]
fn a_flood_of_offers_fills_no_table() {
    let (mut victim, mut liar) = met(FILES);
    let mut nodes = Nodes::new();
    nodes.accepts = false;
    for seq in 1..=200 {
        liar.say(&mut victim, &offer(seq, one(SIZE)));
        nodes.work(&mut victim, &mut liar);
    }
    assert_eq!(victim.machine.files().count(), LINK_FILES_PER_BOX);
    let refused = liar.heard.iter().filter(|f| matches!(f, Frame::Refuse(..))).count();
    assert_eq!(refused, 200 - LINK_FILES_PER_BOX);
    assert!(nodes.done.is_empty(), "no file is touched");
}

fn running(victim: &Victim) -> Vec<u64> {
    victim.machine.files().filter(|v| v.state == FileState::Runs).map(|v| v.no).collect()
}

/// More than may come of one box at once.
fn offers_three_more(victim: &mut Victim, liar: &mut Liar, nodes: &mut Nodes) {
    for seq in 2..=4 {
        liar.say(victim, &offer(seq, one(SIZE)));
        nodes.work(victim, liar);
    }
}

#[test]
fn a_giver_that_sends_nothing_makes_room_for_another() {
    let (mut victim, mut liar, mut nodes, ..) = asked(one(SIZE));
    offers_three_more(&mut victim, &mut liar, &mut nodes);
    let first = running(&victim);
    for _ in 0..STALLED_MS / 5_000 + 1 {
        victim.pass(5_000);
        liar.say(&mut victim, &Frame::Ping(1)); // alive it is
        nodes.work(&mut victim, &mut liar);
    }
    let then = running(&victim);
    assert!(!then.is_empty() && then.iter().all(|no| !first.contains(no)), "{first:?} {then:?}");
}

#[test]
fn a_giver_that_trickles_makes_room_for_another() {
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let first = running(&victim)[0];
    offers_three_more(&mut victim, &mut liar, &mut nodes);
    let file = FileFrame::File { id, turn, size: SIZE, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    for offset in 0..STALLED_MS / 5_000 + 1 {
        let chunk = FileFrame::Chunk { id, turn, offset, bytes: vec![1] };
        says(&mut victim, &mut liar, &mut nodes, chunk);
        victim.pass(5_000);
        nodes.work(&mut victim, &mut liar);
    }
    assert!(!victim.closed(liar.session.stream));
    assert!(!running(&victim).is_empty() && !running(&victim).contains(&first));
}

#[test]
fn a_giver_may_be_busy_but_not_for_good_while_others_wait() {
    let (mut victim, mut liar, mut nodes, id, _) = asked(one(SIZE));
    let first = running(&victim)[0];
    offers_three_more(&mut victim, &mut liar, &mut nodes);
    let mut ran = 0;
    while running(&victim).contains(&first) && ran < 2 * BUSY_MS {
        let why = String::new();
        let busy = FileFrame::Pause { id, giver: true, paused: false, why };
        says(&mut victim, &mut liar, &mut nodes, busy);
        victim.pass(5_000);
        nodes.work(&mut victim, &mut liar);
        ran += 5_000;
    }
    assert!((BUSY_MS..=BUSY_MS + STALLED_MS + 5_000).contains(&ran), "{ran} ms");
}

#[test]
fn pieces_of_one_byte_are_written_together() {
    let (mut victim, mut liar, mut nodes, id, turn) = asked(one(SIZE));
    let file = FileFrame::File { id, turn, size: SIZE, path: String::new() };
    says(&mut victim, &mut liar, &mut nodes, file);
    for offset in 0..1_000 {
        let chunk = FileFrame::Chunk { id, turn, offset, bytes: vec![1] };
        liar.say(&mut victim, &Frame::File(chunk)); // the first is still being written
    }
    nodes.work(&mut victim, &mut liar);
    assert_eq!(nodes.written.len(), 1_000);
    let pieces = nodes.done.iter().filter(|d| matches!(d, FileDo::Append(_))).count();
    assert_eq!(pieces, 2);
}

#[test]
fn the_next_file_may_be_named_while_the_last_ones_are_made_durable() {
    let (mut victim, mut liar, mut nodes, id, mut turn) = asked(folder(100, SIZE));
    nodes.holds_sync = true;
    for n in 0..65 {
        let path = format!("f{n}");
        turn = sends_whole(&mut victim, &mut liar, &mut nodes, (id, turn), &path, &[1]);
    }
    assert!(nodes.done.contains(&FileDo::Sync));
    assert!(!victim.closed(liar.session.stream) && nodes.over.is_empty());
}

#[test]
fn an_offer_that_comes_twice_is_taken_in_once() {
    let (mut victim, mut liar, mut nodes, ..) = asked(one(SIZE));
    let again = |seq: u64, n: u64| match offer(seq, one(SIZE)) {
        Frame::Message(m) => Frame::Message(Message { entry: EntryId { n, ..m.entry }, ..m }),
        other => other,
    };
    liar.say(&mut victim, &again(2, 1));
    nodes.work(&mut victim, &mut liar);
    assert_eq!(victim.machine.files().count(), 1);
    // and in one read
    liar.session.push(victim.now, &again(3, 77));
    liar.say(&mut victim, &again(4, 77));
    nodes.work(&mut victim, &mut liar);
    assert_eq!(victim.machine.files().count(), 2);
    for seq in 2..=4 {
        assert!(liar.heard.contains(&Frame::Ack(seq)), "{seq}");
    }
}

#[test]
fn offers_that_come_at_once_are_counted_too() {
    let (mut victim, mut liar) = met(FILES);
    let mut nodes = Nodes::new();
    nodes.accepts = false;
    nodes.read = victim.outs.len();
    for seq in 1..=40 {
        liar.session.push(victim.now, &offer(seq, one(SIZE)));
    }
    liar.talk(&mut victim);
    nodes.work(&mut victim, &mut liar);
    assert_eq!(victim.machine.files().count(), LINK_FILES_PER_BOX);
}

#[test]
fn what_never_comes_holds_no_place_for_good() {
    let mut victim = Victim::new();
    let mut nodes = Nodes::new();
    nodes.accepts = false;
    let boxes = u8::try_from(LINK_FILES / LINK_FILES_PER_BOX).unwrap();
    let mut offers = |victim: &mut Victim, n: u8| {
        let mut liar = Liar::connect(victim, n, &format!("10.0.0.{n}:40000"));
        liar.hello_with(victim, FILES);
        let who = format!("bob{n}");
        liar.say(victim, &users(&who));
        for seq in 1..=LINK_FILES_PER_BOX as u64 {
            let Frame::Message(mut message) = offer(seq, one(SIZE)) else { panic!() };
            message.from = handle(&who);
            liar.say(victim, &Frame::Message(message));
            nodes.work(victim, &mut liar);
        }
        liar.heard.iter().filter(|f| matches!(f, Frame::Refuse(..))).count()
    };
    for n in 0..boxes {
        assert_eq!(offers(&mut victim, 3 + n), 0);
    }
    assert_eq!(victim.machine.files().count(), LINK_FILES);
    assert_eq!(offers(&mut victim, 100), LINK_FILES_PER_BOX, "they are all there");
    victim.pass(10 * 60_000);
    assert_eq!(offers(&mut victim, 101), 0, "they went");
    assert_eq!(victim.machine.files().count(), LINK_FILES);
    victim.pass(IDLE_MS);
    assert_eq!(victim.machine.files().count(), 0);
}

/// A victim that offered something to a box of these capabilities.
fn offering(capabilities: u32) -> (Victim, Liar, Fingerprint) {
    let (victim, liar) = met(capabilities);
    let of = victim.machine.owner(&handle("bob")).unwrap();
    (victim, liar, of)
}

fn gives(victim: &mut Victim, of: Fingerprint) -> Result<(u64, Keep), CannotSend> {
    let sending = Sending {
        entry: EntryId { epoch: 1, n: 1 },
        from: handle("anna"),
        to: Far { of, handle: handle("bob") },
        said: Wall(0),
        content: Content::Offer(one(SIZE)),
    };
    victim.machine.offer(sending, one(SIZE), "/x".into(), 7)
}

#[test]
fn an_older_box_is_not_offered_files_and_one_that_turns_out_older_refuses_at_once() {
    let (mut victim, _liar, of) = offering(0);
    assert_eq!(gives(&mut victim, of).unwrap_err(), CannotSend::NoFiles);
    assert_eq!(victim.machine.files().count(), 0);
    // it was not here when it was offered
    let (mut victim, mut liar, of) = offering(FILES);
    let (_, keep) = gives(&mut victim, of).unwrap();
    victim.machine.kept(victim.now, keep.token, true);
    liar.talk(&mut victim);
    let why = "that box is older and does not know this kind of message";
    liar.say(&mut victim, &Frame::Refuse(1, why.into()));
    let settled = victim.outs.iter().find_map(|o| match o {
        Out::Heard(Heard::Settled { done, .. }) => done[0].refused.clone(),
        _ => None,
    });
    assert_eq!(settled.as_deref(), Some(why));
    assert_eq!(victim.machine.files().count(), 0);
}

#[test]
fn askings_without_end_have_one_thing_done_at_a_time() {
    let (mut victim, mut liar, of) = offering(FILES);
    let (no, keep) = gives(&mut victim, of).unwrap();
    victim.machine.kept(victim.now, keep.token, true);
    liar.talk(&mut victim);
    let id = EntryId { epoch: 1, n: 1 };
    for turn in 0..1_000 {
        let want = FileFrame::Want { id, turn, index: 0, offset: 0, upto: 10 };
        liar.say(&mut victim, &Frame::File(want));
    }
    let opened = |victim: &Victim| {
        victim.outs.iter().filter(|o| matches!(o, Out::File(_, FileDo::Open { .. }))).count()
    };
    assert_eq!(opened(&victim), 1, "the first is not open yet");
    let error = klatsch::model::IoError::new(klatsch::model::Trouble::Other, "late");
    victim.machine.file_opened(victim.now, no, Err(error));
    victim.drain();
    assert_eq!(opened(&victim), 2, "what was asked last is what counts");
    // what was never offered, and what nobody knows
    let want =
        FileFrame::Want { id: EntryId { epoch: 8, n: 8 }, turn: 1, index: 0, offset: 0, upto: 1 };
    liar.say(&mut victim, &Frame::File(want));
    assert!(matches!(liar.heard.last(), Some(Frame::File(FileFrame::Gone { .. }))));
    let want = FileFrame::Want { id, turn: 1, index: 1, offset: 0, upto: 1 };
    liar.say(&mut victim, &Frame::File(want));
    assert_eq!(victim.machine.files().count(), 0, "it is given up");
}

#[test]
fn a_verdict_ends_only_the_liars_own_transfers() {
    let (mut victim, mut liar, of) = offering(FILES);
    let (_, keep) = gives(&mut victim, of).unwrap();
    victim.machine.kept(victim.now, keep.token, true);
    liar.talk(&mut victim);
    let mut other = Liar::connect(&mut victim, 4, "10.0.0.4:40000");
    other.hello_with(&mut victim, FILES);
    other.say(&mut victim, &users("eve"));
    let mut nodes = Nodes::new();
    nodes.read = victim.outs.len();
    let id = EntryId { epoch: 1, n: 1 };
    let verdict = Verdict { id, giver: false, outcome: Outcome::Done, why: String::new() };
    let (from, to) = (handle("eve"), handle("anna"));
    let content = Content::Verdict(verdict);
    let message = Message { seq: 1, entry: id, from, to, said: Wall(0), content };
    other.say(&mut victim, &Frame::Message(message.clone()));
    nodes.work(&mut victim, &mut other);
    assert_eq!((victim.machine.files().count(), nodes.over.len()), (1, 0));
    liar.say(&mut victim, &Frame::Message(message));
    nodes.work(&mut victim, &mut liar);
    assert_eq!((victim.machine.files().count(), nodes.over.len()), (0, 1));
}
