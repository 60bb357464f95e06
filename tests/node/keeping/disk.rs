//! A disk that is full, slow or not there: what is said of it, and what is gathered meanwhile.

use super::*;

#[test]
fn where_it_cannot_be_kept_it_is_sent_all_the_same_and_said_once() {
    let mut bench = with_nora();
    bench.unkept = Some(IoError::new(Trouble::Full, "the disk is full"));
    for _ in 0..3 {
        let receipt = say(&mut bench, "hi");
        let reason = why("it is not kept: the disk is full");
        assert_eq!((receipt.state, receipt.reason), (Delivery::Sent, reason));
    }
    assert_eq!(went(&mut bench), ["hi"; 3]);
    let errors = |bench: &mut Bench| {
        let events = bench.events().into_iter();
        events.filter(|e| matches!(e.what, What::Error { .. })).count()
    };
    assert_eq!(errors(&mut bench), 1);
    bench.datagram(NORA, To::Discovery, "LEAVE Nora\n");
    let receipt = say(&mut bench, "later");
    assert_eq!(receipt.reason, why("not here; it is not kept: the disk is full"));
    comes(&mut bench);
    assert_eq!(went(&mut bench), ["later"], "what is in memory alone may leave unnoted");
    bench.unkept = None;
    say(&mut bench, "hi");
    assert_eq!(errors(&mut bench), 1, "that it is kept again");
}

#[test]
fn a_state_that_met_a_full_disk_is_written_once_there_is_room_and_never_an_older_one() {
    let mut bench = with_nora();
    bench.slow = true;
    let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "x".into() });
    bench.stored(); // the entry is durable
    bench.run();
    let states = |bench: &mut Bench| -> Vec<Delivery> {
        let states = bench.changes().into_iter().filter_map(|change| match change {
            Change::State { state, .. } => Some(state),
            _ => None,
        });
        states.collect()
    };
    assert_eq!((went(&mut bench), bench.writes.len()), (vec!["x".into()], 1));
    assert_eq!(states(&mut bench).last(), Some(&Delivery::Sent));
    // what became of it meets a full disk
    bench.unkept = Some(IoError::new(Trouble::Full, "the disk is full"));
    bench.slow = false;
    bench.stored();
    // tried again every few seconds, not all the time
    bench.advance(3 * OWED_MS);
    let tries = states(&mut bench).len();
    assert!((2..=4).contains(&tries), "{tries} tries");
    bench.unkept = None;
    bench.advance(OWED_MS);
    assert_eq!(states(&mut bench), [Delivery::Sent]);
    bench.advance(4 * OWED_MS);
    assert_eq!(states(&mut bench), [], "it is written, and owed no more");
}

#[test]
fn one_past_max_unkept_is_sent_and_not_kept() {
    let mut bench = with_nora();
    bench.slow = true;
    for _ in 0..=MAX_UNKEPT {
        let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "x".into() });
    }
    assert_eq!(bench.writes.iter().filter(|(_, wanted)| *wanted).count(), MAX_UNKEPT);
    bench.slow = false;
    bench.stored();
    bench.run();
    assert_eq!(went(&mut bench).len(), MAX_UNKEPT + 1, "all leave, in their order");
    let unkept = bench.answers.iter().filter(|(_, a)| match a {
        Ok(Answer::Sent(receipts)) => receipts[0].reason.is_some(),
        other => panic!("{other:?}"),
    });
    assert_eq!(unkept.count(), 1);
}

#[test]
fn one_past_max_stores_what_nobody_waits_for_is_gathered_up_to_a_bound() {
    let mut bench = with_nora();
    bench.slow = true;
    let text = "x".repeat(1_000);
    for n in 0..=MAX_STORES {
        bench.datagram(NORA, To::Chat, format!("MSG Nora {n} {text}\n"));
    }
    assert_eq!(bench.writes.len(), MAX_STORES);
    let most = MAX_UNKEPT_BYTES / text.len();
    for _ in 0..most {
        bench.datagram(NORA, To::Chat, format!("MSG Nora {text}\n"));
    }
    assert_eq!(bench.writes.len(), MAX_STORES);
    let events = bench.events().into_iter();
    let said =
        events.filter(|e| matches!(&e.what, What::Error { text } if text.contains("not kept")));
    assert_eq!(said.count(), 1);
    bench.stored();
    bench.run();
    assert_eq!(bench.writes.len(), 1, "the rest goes as one");
}

#[test]
fn at_the_end_what_waits_for_the_disk_leaves() {
    let mut bench = with_nora();
    bench.slow = true;
    let _ = bench.begin(Command::Send { to: vec!["Nora".into()], text: "hi".into() });
    bench.input(Input::Goodbye);
    assert_eq!(went(&mut bench), ["hi"]);
}
