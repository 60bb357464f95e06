//! Streams: always being read, waiting for storage, or closed; whatever comes in which order.

use crate::bench::{Bench, To, image};
use klatsch::command::Command;
use klatsch::model::{IoError, StreamId, Trouble};
use klatsch::node::io::Input;
use proptest::prelude::*;

fn with_peer() -> Bench {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram("192.168.178.11:5000", To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    bench.events();
    bench
}

fn img(size: usize) -> Vec<u8> {
    [format!("IMG Nora {size}\n").into_bytes(), image(size)].concat()
}

#[test]
fn a_stream_is_read_on_behind_an_image_that_came_whole() {
    let mut bench = with_peer();
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, img(500)));
    assert!(bench.bytes(stream, img(600)));
    assert!(bench.bytes(stream, "MSG Nora two images\n"));
    assert!(bench.bytes(stream, [img(700), img(800)].concat()));
    assert!(bench.end(stream));
    assert_eq!(bench.store.kept.len(), 4);
    assert_eq!(bench.texts(), [("Nora".to_owned(), "two images".to_owned())]);
}

#[test]
fn a_stream_is_read_on_behind_an_image_that_could_not_be_kept() {
    let mut bench = with_peer();
    bench.store.fail = Some(3); // Create, Append, Finish
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, img(500)));
    assert!(bench.bytes(stream, "MSG Nora did it arrive?\n"));
    assert_eq!(bench.texts().len(), 1);
}

#[test]
fn a_slow_disk_is_not_taken_for_a_stalled_sender() {
    let mut bench = with_peer();
    bench.store.hold = true;
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, &img(500)[..300]));
    bench.advance(20_000);
    assert!(!bench.flows[&stream].closed);
    bench.store.hold = false;
    bench.run();
    assert!(bench.bytes(stream, &img(500)[300..]));
    assert_eq!(bench.store.kept.len(), 1);
}

#[test]
fn questions_on_a_stream_are_answered_one_at_a_time() {
    let mut bench = with_peer();
    bench.serve = false; // what is written is not taken
    let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
    assert!(bench.bytes(stream, "WHO\nWHOIS Ben\n".repeat(1_000)));
    let out = bench.flows[&stream].out.len();
    assert!(out <= 512, "{out} bytes");
    bench.input(Input::Wrote(stream));
    assert!(bench.bytes(stream, "WHO\n"));
    assert!(bench.flows[&stream].out.len() > out);
    // and no faster than by datagram
    for _ in 0..20 {
        bench.input(Input::Wrote(stream));
        assert!(bench.bytes(stream, "WHO\n"));
    }
    assert!(bench.flows[&stream].out.len() <= 3 * 512);
}

#[test]
fn ready_said_before_the_header_was_told_as_written_counts() {
    let mut bench = with_peer();
    let form = Some("pollo".to_owned());
    bench.ask(Command::SetForm { handle: "Nora".into(), form }).unwrap();
    bench.store.there.insert("/a".into(), image(100));
    bench.serve = false;
    bench.send_file(&["Nora"], "/a");
    let id = *bench.flows.iter().find(|(_, f)| f.to.is_some()).unwrap().0;
    bench.input(Input::Connected(id));
    bench.bytes(id, "READY");
    bench.input(Input::Wrote(id));
    assert!(bench.flows[&id].out.ends_with(&image(100)));
}

#[derive(Clone, Debug)]
enum Step {
    Bytes(usize),
    End,
    Closed,
    Stored,
    Wrote,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_usize..900).prop_map(Step::Bytes),
        1 => Just(Step::End),
        1 => Just(Step::Closed),
        6 => Just(Step::Stored),
        2 => Just(Step::Wrote),
        2 => (1_u64..4_000).prop_map(Step::Time),
    ]
}

fn talk() -> impl Strategy<Value = Vec<u8>> {
    let said = prop_oneof![
        (1_usize..900).prop_map(img),
        Just(b"MSG Nora hello\n".to_vec()),
        Just(b"WHO\n".to_vec()),
        Just(b"Nora: hi\n".to_vec()),
        Just(b"IMG Nora 0\n".to_vec()),
        Just(b"IMG Nora 99999999999\n".to_vec()),
        Just(b"[\"Nora\", \"a.png\", \"iVBORw0KGgo=\"]".to_vec()),
        Just(b"\x89PNG\r\n\x1a\n raw".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(said, 1..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_read_or_waits_for_storage_or_is_closed(
        talk in talk(),
        steps in prop::collection::vec(step(), 1..60),
        fail in prop::option::of(1_u32..12),
        promised in any::<bool>(),
    ) {
        let mut bench = with_peer();
        bench.store.hold = true;
        bench.store.fail = fail;
        bench.serve = false;
        if promised {
            bench.datagram("192.168.178.11:5000", To::Chat, "IMG Nora 300\n");
        }
        let stream = bench.stream("192.168.178.11:40000", To::Tcp(0));
        let mut talk = &talk[..];
        let mut over = false;
        for step in steps {
            match step {
                Step::Bytes(n) if !talk.is_empty() => {
                    let n = n.min(talk.len());
                    if bench.bytes(stream, &talk[..n]) {
                        talk = &talk[n..];
                    }
                }
                Step::Bytes(_) => {}
                Step::End => over |= bench.end(stream),
                Step::Closed => {
                    bench.input(Input::Closed(stream, IoError::new(Trouble::Reset, "broke off")));
                    over = true;
                }
                Step::Stored => { bench.store_answers(); }
                Step::Wrote => bench.input(Input::Wrote(stream)),
                Step::Time(ms) => bench.advance(ms),
            }
            if over {
                break;
            }
            check(&bench, stream)?;
        }
        // whatever happened: once the disk has answered and time has passed, all is over
        bench.store.hold = false;
        bench.run();
        if !over {
            check(&bench, stream)?;
            let flow = &bench.flows[&stream];
            prop_assert!(flow.closed || flow.reads == 1, "storage is done, and nobody reads");
        }
        bench.advance(40_000);
        prop_assert!(over || bench.flows[&stream].closed);
        prop_assert_eq!(bench.store.under_way(), 0);
    }
}

fn check(bench: &Bench, stream: StreamId) -> Result<(), TestCaseError> {
    let flow = &bench.flows[&stream];
    prop_assert!(flow.reads <= 1, "asked to read twice at once");
    let waits = bench.store.waits();
    prop_assert!(flow.closed || flow.reads == 1 || waits, "neither read, waiting nor closed");
    Ok(())
}
