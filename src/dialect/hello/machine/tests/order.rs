//! Any order of events, and what that found.

use proptest::prelude::*;

use super::*;

/// Found by the property below: what waits for somebody who moved to an address that was looked at
/// already was due at once, and the machine woke for nothing.
#[test]
fn what_moves_with_its_recipient_wakes_nobody_in_vain() {
    let mut bench = Bench::new();
    let ip = |n: u8| Ipv4Addr::new(172, 29, 2, n + 1);
    bench.hello_from(ip(1), "b");
    let to: Vec<(u64, Ipv4Addr)> = (0..5).map(|n| (u64::from(n), ip(n))).collect();
    bench.machine.say(bench.now, "hi", &to);
    bench.hello_from(ip(0), "a");
    bench.pass(14_501);
    bench.hello_from(ip(0), "a");
    bench.hello_from(ip(3), "b");
    bench.pass(5_780);
    for (at, name) in [(0, "a"), (2, "a"), (0, "a"), (1, "b"), (0, "a")] {
        bench.hello_from(ip(at), name);
    }
    bench.pass(9_719);
}

#[derive(Clone, Debug)]
enum Step {
    Hello(u8, u8),
    Accept(u8),
    Bytes(u8, String),
    End(u8),
    Break(u8),
    Connected(u8),
    Say,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![
        Just(r#"{"command":"hello","peer_id":"a"}"#.to_owned()),
        Just(
            r#"{"status":"ok","messages":{"1707243010934":{"peer_id":"b","message":"m"}}}"#.into()
        ),
        Just(r#"{"status":"ok"}"#.to_owned()),
        Just(r#"{"status":"error","message":"Missing peer_id"}"#.to_owned()),
        Just(r#"{"command":"new_message","message":"x","message_id":1795228536764}"#.to_owned()),
        "[ -~]{0,20}",
    ];
    prop_oneof![
        (0u8..5, 0u8..3).prop_map(|(ip, name)| Step::Hello(ip, name)),
        (0u8..5).prop_map(Step::Accept),
        (any::<u8>(), said).prop_map(|(n, said)| Step::Bytes(n, said)),
        any::<u8>().prop_map(Step::End),
        any::<u8>().prop_map(Step::Break),
        any::<u8>().prop_map(Step::Connected),
        Just(Step::Say),
        (0u32..40_000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens in whatever order: it never spins, each tag has one fate, and after a
    /// while of silence nothing is left.
    #[test]
    fn any_order_of_events_ends_well(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        let ip = |n: u8| Ipv4Addr::new(172, 29, 2, n + 1);
        let mut streams: Vec<StreamId> = Vec::new();
        let mut tag = 0;
        let mut tags = Vec::new();
        for step in steps {
            streams.extend(bench.connects().into_iter().map(|(s, _)| s));
            let pick = |n: u8| streams.get(usize::from(n) % streams.len().max(1)).copied();
            match step {
                Step::Hello(at, name) => bench.hello_from(ip(at), ["a", "b", "us"][usize::from(name)]),
                Step::Accept(at) => {
                    let stream = bench.accept(ip(at));
                    streams.push(stream);
                }
                Step::Bytes(n, said) => if let Some(s) = pick(n) { bench.bytes(s, &said) },
                Step::End(n) => if let Some(s) = pick(n) {
                    bench.machine.stream_end(bench.now, s);
                },
                Step::Break(n) => if let Some(s) = pick(n) { bench.refuse(s) },
                Step::Connected(n) => if let Some(s) = pick(n).filter(|s| s.0 & ACCEPTED == 0) {
                    let making = bench.machine.sessions.get(&s).is_some_and(|s| !s.open);
                    if making { bench.machine.connected(bench.now, s) }
                },
                Step::Say => {
                    let to = (0..5).map(|n| { tag += 1; (tag, ip(n)) }).collect::<Vec<_>>();
                    tags.extend(to.iter().map(|(tag, _)| *tag));
                    bench.machine.say(bench.now, "hi", &to);
                }
                Step::Pass(ms) => bench.pass(u64::from(ms)),
            }
            bench.run();
            for stream in &streams { bench.written(*stream); }
        }
        for _ in 0..40 {
            let made: Vec<StreamId> = bench.machine.sessions.keys().copied().collect();
            for stream in made { bench.refuse(stream); }
            bench.pass(10_000);
        }
        prop_assert!(bench.machine.peers.is_empty() && bench.machine.sessions.is_empty());
        let mut fates: Vec<u64> = bench.heard().into_iter().filter_map(|h| match h {
            Heard::Delivered(tag) | Heard::NotSent(tag, _) => Some(tag),
            _ => None,
        }).collect();
        fates.sort_unstable();
        prop_assert_eq!(fates, tags);
    }
}
