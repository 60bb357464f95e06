//! A member that lies: what it gains against a box, and what others lose by it.

use std::collections::BTreeSet;

use klatsch::dialect::link::noise::{Fingerprint, Secret};
use klatsch::dialect::link::rooms::wire::{Mark, Part, Roster, Said, Told};
use klatsch::dialect::link::rooms::{MAX_TOLD, Out, Post, Rooms, WAIT_MOST_MS, WAIT_MS};
use klatsch::model::limits::{MAX_ROOMS, ROOM_KEPT, ROOM_LOGS, ROOM_MEMBERS, ROOM_WAITING};
use klatsch::model::{EntryId, Millis, RoomName, Wall};

use super::bench::{Lan, room};
use crate::world::handle;

/// What a box with this key says.
fn liar(n: u8) -> (Secret, Fingerprint) {
    let mut bytes = [n; 32];
    bytes[1] = 77;
    let secret = Secret::new(bytes);
    let of = secret.public().fingerprint();
    (secret, of)
}

/// A box alone in the room, and a liar who is a member.
fn victim() -> (Lan, Secret, Fingerprint) {
    let mut lan = Lan::gather(9, 1);
    let (secret, of) = liar(1);
    let key = secret.public();
    let users = vec![handle("mallory")];
    let here = Part::Here { room: room(), version: 1, member: true, users };
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    rooms.linked(now, of, key, true);
    rooms.part(now, of, here).unwrap();
    while rooms.poll().is_some() {}
    (lan, secret, of)
}

/// A message that the owner of `author` made for `to`.
fn made(author: &Secret, to: &Secret, seq: u64, text: &str) -> Said {
    made_in(author, to, 5, seq, text)
}

/// The same in that stream of its author.
fn made_in(author: &Secret, to: &Secret, epoch: u64, seq: u64, text: &str) -> Said {
    let mut said = Said {
        room: room(),
        author: author.public(),
        epoch,
        seq,
        entry: EntryId { epoch: 1, n: seq },
        from: handle("bob"),
        at: Wall(0),
        text: text.into(),
        heads: Vec::new(),
        seals: Vec::new(),
    };
    let shared = author.shared(&to.public()).unwrap();
    said.seal_for(&shared, &to.public(), u16::from(seq > 1), 0, false);
    said
}

fn writes(rooms: &mut Rooms) -> Vec<String> {
    let out: Vec<Out> = std::iter::from_fn(|| rooms.poll()).collect();
    let lines = out.into_iter().filter_map(|out| match out {
        Out::Write(write) => Some(write.lines),
        _ => None,
    });
    lines.flatten().map(|line| line.text).collect()
}

/// All that is told until nothing is to be written any more.
fn told(rooms: &mut Rooms, now: Millis) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(out) = rooms.poll() {
        if let Out::Write(write) = out {
            texts.extend(write.lines.into_iter().map(|line| line.text));
            rooms.kept(now, write.token, true);
        }
    }
    texts
}

#[test]
fn what_is_missing_behind_a_message_that_waits_is_asked_for_before_both_are_due() {
    let (mut lan, _, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    // the first names one that never comes
    let mut first = Said { seals: Vec::new(), ..made(&bob, &me, 1, "first") };
    first.heads.push(Mark { of: liar(3).1, epoch: 1, seq: 1 });
    first.seal_for(&bob.shared(&me.public()).unwrap(), &me.public(), 0, 1, false);
    rooms.part(now, of, Part::Said(first.clone())).unwrap();
    while rooms.poll().is_some() {}
    rooms.part(now, of, Part::Said(made(&bob, &me, 3, "third"))).unwrap();
    let asked = std::iter::from_fn(|| rooms.poll()).any(|out| {
        matches!(out, Out::Send(to, parts) if to == of
            && parts[..] == [Part::Want(room(), first.mark())])
    });
    assert!(asked, "for what comes after the first");
    rooms.part(now, of, Part::Said(made(&bob, &me, 2, "second"))).unwrap();
    rooms.part(now, of, Part::End(room(), Mark { seq: 3, ..first.mark() })).unwrap();
    assert_eq!(told(rooms, now), [""; 0]);
    rooms.tick(now + WAIT_MS + 1);
    assert_eq!(told(rooms, now + WAIT_MS + 1), ["first", "second", "third"]);
}

#[test]
fn what_comes_after_a_later_one_of_its_stream_was_told_marked_is_told_no_more() {
    let (mut lan, _, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let due = lan.now + WAIT_MS + 1;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    rooms.part(lan.now, of, Part::Said(made(&bob, &me, 2, "second"))).unwrap();
    assert_eq!(told(rooms, lan.now), [""; 0]);
    rooms.tick(due);
    assert_eq!(told(rooms, due), ["second"]);
    rooms.part(due, of, Part::Said(made(&bob, &me, 1, "first"))).unwrap();
    rooms.tick(due + WAIT_MOST_MS);
    assert_eq!(told(rooms, due + WAIT_MOST_MS), [""; 0]);
}

#[test]
fn who_passes_a_message_on_cannot_change_or_make_one() {
    let (mut lan, mallory, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let honest = made(&bob, &me, 1, "the code is 1234");
    let mut forged = vec![honest.clone(); 9];
    forged[0].text = "the code is 9999".into();
    forged[1].from = handle("carl");
    forged[2].seq = 2;
    forged[3].epoch = 6;
    forged[4].room = RoomName::try_from("other").unwrap();
    forged[5].heads.push(Mark { of, epoch: 1, seq: 9 });
    forged[6].author = mallory.public();
    forged[7].seals[0].back = 1;
    forged[8].entry.n = 99;
    for (n, said) in forged.into_iter().enumerate() {
        let _ = rooms.part(now, of, Part::Said(said)); // as its author's own it ends the session
        assert_eq!(writes(rooms), [""; 0], "{n}");
    }
    // made by Mallory in Bob's name: she does not know what only Bob and we do
    let mut made_up = made(&mallory, &me, 1, "I am Bob");
    made_up.author = bob.public();
    rooms.part(now, of, Part::Said(made_up)).unwrap();
    assert_eq!(writes(rooms), [""; 0]);
    rooms.part(now, of, Part::Said(honest)).unwrap();
    assert_eq!(writes(rooms), ["the code is 1234"]);
}

#[test]
fn who_is_not_in_a_room_reads_and_writes_nothing_of_it() {
    let mut lan = Lan::gather(10, 1);
    let me = lan.nodes[0].secret.clone();
    lan.say(0, "for members");
    lan.run(1_000);
    let (secret, of) = liar(1);
    let (now, own) = (lan.now, lan.print(0));
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    rooms.linked(now, of, secret.public(), true);
    let mark = Mark { of: own, epoch: 0, seq: 0 };
    for part in [
        Part::Want(room(), mark),
        Part::Have(room(), vec![Mark { of, epoch: 5, seq: 9 }], None),
        Part::Said(made(&secret, &me, 1, "let me in")),
    ] {
        rooms.part(now, of, part).unwrap();
    }
    let out: Vec<Out> = std::iter::from_fn(|| rooms.poll()).collect();
    let told =
        |o: &Out| matches!(o, Out::Send(_, parts) if matches!(parts[..], [Part::Here { .. }]));
    assert!(out.iter().all(told), "only that we are in: {out:?}");
    assert_eq!(rooms.table_sizes()[5], 0);
}

/// Each lie about what both know draws one short answer, and the list of members once.
#[test]
fn who_compares_without_end_is_told_once_and_then_in_few_bytes() {
    let (mut lan, _, of) = victim();
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let (secret, bob) = liar(3);
    rooms.linked(now, bob, secret.public(), true);
    let here = Part::Here { room: room(), version: 1, member: true, users: vec![handle("bob")] };
    rooms.part(now, bob, here).unwrap();
    while rooms.poll().is_some() {}
    let mut answers = 0;
    for n in 0..3_000_u64 {
        let roster = Some(Roster { digest: n.to_be_bytes(), asks: true });
        rooms.part(now, of, Part::Have(room(), Vec::new(), roster)).unwrap();
        while let Some(out) = rooms.poll() {
            let Out::Send(to, parts) = out else { panic!("{out:?}") };
            assert_eq!(to, of);
            let lists = parts.iter().filter(|p| matches!(p, Part::Members(..))).count();
            assert_eq!((parts.len(), lists), if answers == 0 { (2, 1) } else { (1, 0) });
            answers += 1;
        }
    }
    assert!((1_000..=MAX_TOLD).contains(&answers), "{answers}");
    // an answer is answered with what is new alone: nothing
    let roster = Some(Roster { digest: [7; 8], asks: false });
    let later = now + 20_000;
    rooms.part(later, of, Part::Have(room(), Vec::new(), roster)).unwrap();
    assert_eq!(rooms.poll(), None);
}

#[test]
fn lies_about_who_is_in_and_who_has_what_fill_no_table() {
    let (mut lan, _, of) = victim();
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let mut bytes = [0; 32];
    for n in 0..2_000_u64 {
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let key = klatsch::dialect::link::noise::Key(bytes);
        let told = Told { key, version: 1, member: true, users: vec![handle("x")] };
        rooms.part(now, of, Part::Members(room(), vec![told])).unwrap();
        let mark = Mark { of: key.fingerprint(), epoch: n, seq: u64::MAX };
        rooms.part(now, of, Part::Have(room(), vec![mark], None)).unwrap();
        let name = RoomName::try_from(format!("r{n}").as_str()).unwrap();
        let here = Part::Here { room: name, version: u64::MAX, member: true, users: vec![] };
        rooms.part(now, of, here).unwrap();
    }
    // the half of what one box alone says, and itself
    let [_, members, logs, .., theirs, _] = rooms.table_sizes();
    assert_eq!((members, logs, theirs), (ROOM_MEMBERS / 2 + 1, ROOM_LOGS / 2, MAX_ROOMS));
    // who is met still finds a place
    let (secret, bob) = liar(3);
    rooms.linked(now, bob, secret.public(), true);
    let here = Part::Here { room: room(), version: 1, member: true, users: vec![handle("bob")] };
    rooms.part(now, bob, here).unwrap();
    let views = rooms.views();
    let ours = views.iter().find(|v| v.name == room()).unwrap();
    assert!(ours.others.iter().any(|(far, _)| far.of == bob));
}

#[test]
fn messages_whose_causes_never_come_wait_in_bounds_and_are_told_marked() {
    let (mut lan, mallory, of) = victim();
    let me = lan.nodes[0].secret.clone();
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    // each says that the one before it is for us, and that one never comes
    for n in 1..=ROOM_WAITING as u64 + 1 {
        let said = made(&mallory, &me, 2 * n, &n.to_string());
        rooms.part(now, of, Part::Said(said)).unwrap();
    }
    assert_eq!(rooms.table_sizes()[5], ROOM_WAITING);
    assert_eq!(writes(rooms), [""; 0]);
    // one that can be told takes the place of one that cannot
    let (bob, _) = liar(2);
    rooms.part(now, of, Part::Said(made(&bob, &me, 1, "in order"))).unwrap();
    assert_eq!(writes(rooms), ["in order"]);
    lan.run(1);
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    rooms.tick(now + WAIT_MS + 1);
    rooms.kept(now + WAIT_MS + 1, 1, true);
    rooms.tick(now + 2 * WAIT_MS + 2);
    let out: Vec<Out> = std::iter::from_fn(|| rooms.poll()).collect();
    let late = out.iter().any(|o| matches!(o, Out::Write(w) if w.lines.iter().all(|l| l.late)));
    assert!(late, "{out:?}");
}

#[test]
fn of_many_seals_for_one_box_the_first_alone_is_tried() {
    let (mut lan, mallory, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let honest = made(&bob, &me, 1, "hello");
    let mut twice = made(&mallory, &me, 1, "hello");
    twice.author = bob.public();
    twice.seals.extend(honest.seals.clone());
    rooms.part(now, of, Part::Said(twice)).unwrap();
    assert_eq!(writes(rooms), [""; 0]);
    rooms.part(now, of, Part::Said(honest)).unwrap();
    assert_eq!(writes(rooms), ["hello"]);
}

#[test]
fn one_box_brings_few_messages_of_authors_whom_nobody_knows() {
    let (mut lan, _, of) = victim();
    let (me, now) = (lan.nodes[0].secret.clone(), lan.now);
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    for n in 0..=64 {
        let said = made(&liar(100 + n).0, &me, 1, "x");
        rooms.part(now, of, Part::Said(said)).unwrap();
    }
    assert_eq!(rooms.table_sizes()[2], 64);
    let later = now + 10_000;
    rooms.part(later, of, Part::Said(made(&liar(164).0, &me, 1, "x"))).unwrap();
    assert_eq!(rooms.table_sizes()[2], 65);
}

#[test]
fn another_boxs_word_adds_members_and_removes_none() {
    let (mut lan, _, of) = victim();
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let key = liar(2).0.public();
    let bob = |version, member| {
        let users = vec![handle("bob")];
        Part::Members(room(), vec![Told { key, version, member, users }])
    };
    rooms.part(now, of, bob(1, true)).unwrap();
    rooms.part(now, of, bob(u64::MAX, false)).unwrap();
    let is_in = |rooms: &Rooms| {
        let views = rooms.views();
        let ours = views.iter().find(|v| v.name == room()).unwrap();
        ours.others.iter().any(|(far, _)| far.of == key.fingerprint())
    };
    assert!(is_in(rooms), "Mallory says that he left");
    rooms.linked(now, key.fingerprint(), key, true);
    for member in [true, false] {
        let here = Part::Here { room: room(), version: 2, member, users: vec![handle("bob")] };
        rooms.part(now, key.fingerprint(), here).unwrap();
        assert_eq!(is_in(rooms), member, "he himself says so");
    }
}

#[test]
fn who_begins_stream_after_stream_pushes_out_its_own_alone() {
    let (mut lan, mallory, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let honest = made(&bob, &me, 1, "hello");
    rooms.part(now, of, Part::Said(honest.clone())).unwrap();
    assert_eq!(told(rooms, now), ["hello"]);
    for epoch in 0..ROOM_LOGS as u64 {
        rooms.part(now, of, Part::Said(made_in(&mallory, &me, epoch, 1, "x"))).unwrap();
        assert_eq!(told(rooms, now), ["x"]);
    }
    rooms.forget(None); // what is kept is known by that, too
    rooms.part(now, of, Part::Said(honest)).unwrap();
    assert_eq!(told(rooms, now), [""; 0], "told once");
    let [_, _, logs, .., heads] = rooms.table_sizes();
    assert_eq!((logs, heads), (5, 5), "four of hers, and Bob's");
}

#[test]
fn a_flood_of_one_author_leaves_others_their_place_among_what_is_kept() {
    let (mut lan, mallory, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let mut honest = made(&bob, &me, 1, "hello");
    let shared = bob.shared(&mallory.public()).unwrap();
    honest.seal_for(&shared, &mallory.public(), 0, 0, false);
    rooms.part(now, of, Part::Said(honest.clone())).unwrap();
    for n in 1..=ROOM_KEPT as u64 {
        rooms.part(now, of, Part::Said(made(&mallory, &me, n, "x"))).unwrap();
        told(rooms, now);
    }
    assert_eq!(rooms.table_sizes()[3], ROOM_KEPT);
    rooms.part(now, of, Part::Want(room(), Mark { seq: 0, ..honest.mark() })).unwrap();
    let given = std::iter::from_fn(|| rooms.poll());
    let given =
        given.filter(|o| matches!(o, Out::Send(_, p) if matches!(p[..], [Part::Said(_), _])));
    assert_eq!(given.count(), 1, "his is still there");
}

#[test]
fn a_flood_of_one_author_leaves_others_their_place_among_what_waits() {
    let (mut lan, mallory, of) = victim();
    let (bob, me) = (liar(2).0, lan.nodes[0].secret.clone());
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    for n in 1..=ROOM_WAITING as u64 {
        rooms.part(now, of, Part::Said(made(&mallory, &me, 2 * n, "x"))).unwrap();
    }
    rooms.part(now, of, Part::Said(made(&bob, &me, 2, "hello"))).unwrap();
    assert_eq!(rooms.table_sizes()[5], ROOM_WAITING);
    let due = now + WAIT_MS + 1;
    rooms.tick(due);
    assert!(
        told(rooms, due).contains(&"hello".to_owned()) || {
            rooms.tick(due + WAIT_MS + 1);
            told(rooms, due + WAIT_MS + 1).contains(&"hello".to_owned())
        }
    );
}

#[test]
fn who_answers_nothing_holds_up_no_question_to_others_and_each_stream_has_its_turn() {
    let (mut lan, _, of) = victim();
    let (secret, bob) = liar(2);
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let claim = |n: u8| Mark { of: Fingerprint([n; 16]), epoch: 1, seq: 9 };
    rooms.part(now, of, Part::Have(room(), (0..100).map(claim).collect(), None)).unwrap();
    let wants = |rooms: &mut Rooms, who: Fingerprint| -> Vec<Fingerprint> {
        let parts = std::iter::from_fn(|| rooms.poll()).filter_map(|out| match out {
            Out::Send(to, parts) if to == who => Some(parts),
            _ => None,
        });
        let marks = parts.flatten().filter_map(|part| match part {
            Part::Want(_, mark) => Some(mark.of),
            _ => None,
        });
        marks.collect()
    };
    let first = wants(rooms, of);
    assert_eq!(first.len(), 4);
    rooms.tick(now + 5_000);
    assert_eq!(wants(rooms, of), [], "it is silent");
    rooms.linked(now, bob, secret.public(), true);
    let here = Part::Here { room: room(), version: 1, member: true, users: vec![handle("bob")] };
    rooms.part(now + 5_000, bob, here).unwrap();
    rooms.part(now + 5_000, bob, Part::Have(room(), vec![claim(200)], None)).unwrap();
    assert_eq!(wants(rooms, bob), [claim(200).of]);
    rooms.tick(now + 10_000);
    rooms.tick(now + 35_000);
    let second = wants(rooms, of);
    assert_eq!(second.len(), 4);
    assert!(second.iter().all(|one| !first.contains(one)), "{first:?} {second:?}");
}

#[test]
fn a_claim_to_have_what_we_never_said_renews_our_numbers_once_a_run() {
    let (mut lan, _, of) = victim();
    let own = lan.print(0);
    lan.say(0, "hello");
    lan.run(1_000);
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let epoch_of = |rooms: &mut Rooms, n: u64| {
        let entry = EntryId { epoch: 9, n };
        let post = Post { entry, from: handle("user0"), at: Wall(0), text: "x".into() };
        rooms.post(now, &room(), post).unwrap();
        let mut epoch = String::new();
        while let Some(out) = rooms.poll() {
            if let Out::Write(write) = out {
                let row = write.rows.iter().find(|r| r.key.starts_with("room-log/")).unwrap();
                epoch = row.key.rsplit('/').next().unwrap().to_owned();
                rooms.kept(now, write.token, true);
            }
        }
        epoch
    };
    let mut epochs = BTreeSet::from([epoch_of(rooms, 1)]);
    for n in 2..20 {
        let last = epochs.iter().map(|e| u64::from_str_radix(e, 16).unwrap());
        let lies = last.map(|epoch| Mark { of: own, epoch, seq: 1 << 40 }).collect();
        rooms.part(now, of, Part::Have(room(), lies, None)).unwrap();
        epochs.insert(epoch_of(rooms, n));
    }
    assert_eq!(epochs.len(), 2);
}

#[test]
fn a_lie_about_our_numbers_takes_no_confirmation_away_and_counts_of_whom_we_wrote_to_alone() {
    let (mut lan, _, of) = victim();
    let (own, now) = (lan.print(0), lan.now);
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let say = |rooms: &mut Rooms, n| {
        let entry = EntryId { epoch: 9, n };
        let post = Post { entry, from: handle("user0"), at: Wall(0), text: "x".into() };
        rooms.post(now, &room(), post).unwrap();
        let mut epoch = 0;
        while let Some(out) = rooms.poll() {
            if let Out::Write(write) = out {
                let row = write.rows.iter().find(|r| r.key.starts_with("room-log/")).unwrap();
                epoch = u64::from_str_radix(row.key.rsplit('/').next().unwrap(), 16).unwrap();
                rooms.kept(now, write.token, true);
            }
        }
        epoch
    };
    let epoch = say(rooms, 1);
    let lie = Part::Have(room(), vec![Mark { of: own, epoch, seq: 9 }], None);
    let (secret, bob) = liar(2);
    rooms.linked(now, bob, secret.public(), true);
    let here = Part::Here { room: room(), version: 1, member: true, users: vec![handle("bob")] };
    rooms.part(now, bob, here).unwrap();
    rooms.part(now, bob, lie.clone()).unwrap();
    assert_eq!(say(rooms, 2), epoch, "nothing of ours was for him");
    rooms.part(now, of, lie).unwrap();
    assert_ne!(say(rooms, 3), epoch);
    rooms.part(now, of, Part::Have(room(), vec![Mark { of: own, epoch, seq: 2 }], None)).unwrap();
    let done = std::iter::from_fn(|| rooms.poll()).filter(|o| matches!(o, Out::Delivered(..)));
    assert_eq!(done.count(), 2, "what came before is confirmed all the same");
}
