//! What is promised of a room, one break at a time: nothing is lost, and all has bounds.

use klatsch::dialect::link::rooms::{Cannot, Out, Post, WAIT_MOST_MS};
use klatsch::model::limits::{MAX_ROOMS, ROOM_KEPT, ROOM_KEPT_BYTES, ROOM_POSTS, ROOM_TEXT};
use klatsch::model::{EntryId, RoomName, Wall};

use super::bench::{Lan, room};

#[test]
fn a_disk_that_is_full_for_long_costs_no_message() {
    let mut lan = Lan::gather(13, 2);
    lan.nodes[0].full = true;
    lan.say(1, "came");
    lan.run(1_000);
    lan.say(1, "lost with its session");
    lan.run(20);
    lan.snap(0, 1);
    lan.run(5_000);
    lan.say(1, "came, too");
    lan.run(2 * WAIT_MOST_MS);
    lan.nodes[0].full = false;
    lan.run(60_000);
    assert_eq!(lan.texts(0), ["came", "lost with its session", "came, too"]);
    assert_eq!(lan.agree(13), 0, "the minute of waiting begins when the disk takes it");
}

/// Nobody but the first may have a session with everyone: each gets what others say through it.
#[test]
fn what_is_said_reaches_members_whose_boxes_never_meet_the_authors() {
    let mut lan = Lan::new(1, 5);
    for (a, b) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
        lan.apart.insert((a, b));
    }
    for n in 0..5 {
        lan.start(n);
        lan.join(n);
    }
    lan.run(2 * 60_000);
    for n in 0..5 {
        lan.say(n, &format!("from {n}"));
    }
    lan.run(2_000);
    assert_eq!(lan.agree(1), 0, "and without waiting for gossip");
}

/// Five in a line, each with sessions to its neighbours alone.
#[test]
fn who_is_in_is_passed_on_from_box_to_box_and_so_is_what_the_farthest_says() {
    let mut lan = Lan::new(4, 5);
    for a in 0..5 {
        (a + 2..5).for_each(|b| _ = lan.apart.insert((a, b)));
    }
    for n in 0..5 {
        lan.start(n);
        lan.join(n);
    }
    lan.run(2 * 60_000);
    for n in 0..5 {
        let views = lan.nodes[n].rooms.as_ref().unwrap().views();
        assert_eq!(views[0].others.len(), 4, "{n}");
    }
    lan.say(4, "from the other end");
    lan.run(60_000);
    assert_eq!(lan.agree(4), 0);
}

#[test]
fn who_comes_back_gets_what_was_said_though_its_author_is_gone() {
    let mut lan = Lan::gather(2, 3);
    lan.crash(2);
    lan.run(1_000);
    (0..50).for_each(|n| {
        lan.say(0, &format!("{n}"));
        lan.run(50);
    });
    lan.run(1_000);
    lan.crash(0);
    lan.run(60_000);
    lan.start(2);
    lan.run(30_000);
    assert_eq!(lan.texts(2), lan.texts(1));
    assert_eq!(lan.texts(2).len(), 50);
}

#[test]
fn a_message_is_for_those_who_were_in_when_it_was_written() {
    let mut lan = Lan::new(3, 3);
    for n in 0..3 {
        lan.start(n);
    }
    (0..2).for_each(|n| lan.join(n));
    lan.run(10_000);
    lan.say(0, "before");
    lan.run(1_000);
    lan.join(2);
    lan.run(1_000);
    lan.say(1, "after");
    lan.run(1_000);
    assert_eq!(lan.texts(2), ["after"], "and at once: nothing is waited for");
    let (user, name) = (lan.nodes[2].name.clone(), room());
    lan.with(2, |_, rooms| rooms.leave(&user, &name).unwrap());
    lan.run(1_000);
    lan.say(0, "while 2 was out");
    lan.run(1_000);
    lan.join(2);
    lan.run(5_000);
    lan.say(0, "back");
    lan.run(30_000);
    assert_eq!(lan.texts(2), ["after", "back"]);
}

#[test]
fn whoever_wrote_is_told_that_it_arrived_and_once_over_a_restart() {
    let mut lan = Lan::gather(4, 3);
    lan.say(0, "hello");
    lan.run(1_000);
    assert_eq!(lan.nodes[0].delivered, 2);
    lan.crash(0);
    lan.start(0);
    lan.run(60_000);
    assert_eq!(lan.nodes[0].delivered, 2);
}

#[test]
fn a_full_disk_says_nothing_and_takes_nothing_until_there_is_room() {
    let mut lan = Lan::gather(5, 2);
    lan.nodes[1].full = true;
    lan.say(0, "hello");
    lan.run(60_000);
    assert_eq!((lan.texts(1).len(), lan.nodes[0].delivered), (0, 0));
    lan.nodes[1].full = false;
    lan.run(60_000);
    assert_eq!((lan.texts(1).len(), lan.nodes[0].delivered), (1, 1));
}

#[test]
fn an_older_store_goes_on_under_another_epoch() {
    let mut lan = Lan::gather(6, 2);
    let backup = lan.nodes[0].disk.clone();
    (0..5).for_each(|n| lan.say(0, &format!("{n}")));
    lan.run(1_000);
    lan.crash(0);
    lan.nodes[0].disk = backup;
    lan.start(0);
    lan.run(10_000);
    lan.say(0, "after the backup");
    lan.run(10_000);
    assert_eq!(lan.texts(1).last().unwrap(), "after the backup");
}

#[test]
fn what_is_kept_for_others_has_bounds_in_number_bytes_and_time() {
    let mut lan = Lan::gather(7, 2);
    for n in 0..=ROOM_KEPT {
        lan.say(0, &format!("{n}"));
        lan.run(20);
    }
    lan.run(5_000);
    for n in 0..2 {
        assert_eq!(lan.nodes[n].rooms.as_ref().unwrap().table_sizes()[3], ROOM_KEPT);
        assert_eq!(lan.texts(n).len(), ROOM_KEPT + 1);
        let kept = lan.nodes[n].disk.rows.keys().filter(|k| k.starts_with("room-said/"));
        assert_eq!(kept.count(), ROOM_KEPT);
    }
    for n in 0..=ROOM_KEPT_BYTES / ROOM_TEXT {
        lan.say(0, &"x".repeat(ROOM_TEXT - n));
        lan.run(20);
    }
    lan.run(5_000);
    assert!(lan.nodes[1].rooms.as_ref().unwrap().table_sizes()[4] <= ROOM_KEPT_BYTES);
    lan.run(lan.keep + 1_000);
    for n in 0..2 {
        assert_eq!(lan.nodes[n].rooms.as_ref().unwrap().table_sizes()[3..5], [0, 0]);
        assert!(!lan.nodes[n].disk.rows.keys().any(|k| k.starts_with("room-said/")));
    }
    lan.say(0, "and on");
    lan.run(1_000);
    assert_eq!(lan.texts(1).last().unwrap(), "and on");
}

#[test]
fn one_room_one_post_and_one_byte_past_their_limits_are_refused() {
    let mut lan = Lan::gather(8, 1);
    let user = lan.nodes[0].name.clone();
    let now = lan.now;
    let rooms = lan.nodes[0].rooms.as_mut().unwrap();
    let name = |n: usize| RoomName::try_from(format!("room{n}").as_str()).unwrap();
    for n in 1..MAX_ROOMS {
        assert_eq!(rooms.join(now, &user, &name(n)), Ok(()));
    }
    assert_eq!(rooms.join(now, &user, &name(MAX_ROOMS)), Err(Cannot::TooManyRooms));
    // one that was left makes room
    assert_eq!(rooms.leave(&user, &name(1)), Ok(()));
    assert_eq!(rooms.join(now, &user, &name(MAX_ROOMS)), Ok(()));
    assert_eq!(rooms.leave(&user, &name(1)), Err(Cannot::NotIn));
    let post = |text: &str| {
        let entry = EntryId { epoch: 1, n: 1 };
        Post { entry, from: user.clone(), at: Wall(0), text: text.into() }
    };
    let long = "x".repeat(ROOM_TEXT + 1);
    assert_eq!(rooms.post(now, &room(), post(&long)), Err(Cannot::TooLong));
    assert_eq!(rooms.post(now, &name(1), post("x")), Err(Cannot::NotIn));
    // the first is being written
    for _ in 0..=ROOM_POSTS {
        assert_eq!(rooms.post(now, &room(), post("x")), Ok(()));
    }
    assert_eq!(rooms.post(now, &room(), post("x")), Err(Cannot::TooMuch));
    assert_eq!(rooms.leave(&user, &room()), Ok(()));
    let unsaid = std::iter::from_fn(|| rooms.poll()).find_map(|out| match out {
        Out::Unsaid(all) => Some(all.len()),
        _ => None,
    });
    assert_eq!(unsaid, Some(ROOM_POSTS), "who waits for them is answered");
}

#[test]
fn what_is_deleted_is_passed_on_no_more() {
    let mut lan = Lan::gather(12, 2);
    lan.crash(1);
    lan.run(1_000);
    lan.say(0, "regretted");
    lan.run(1_000);
    lan.with(0, |_, rooms| rooms.forget(Some(&room())));
    lan.run(1_000);
    assert!(!lan.nodes[0].disk.rows.keys().any(|k| k.starts_with("room-said/")));
    lan.start(1);
    lan.run(60_000);
    lan.say(0, "and on");
    lan.run(2_000);
    assert_eq!(lan.texts(1), ["and on"], "at once: its author says that nothing is before it");
    assert!(lan.nodes[1].disk.told.iter().all(|t| !t.late));
}
