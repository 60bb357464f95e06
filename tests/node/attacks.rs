//! What a hostile LAN sends, and how little comes of it.

use std::net::Ipv4Addr;

use crate::bench::{Bench, To, addr};
use klatsch::command::Command;
use klatsch::dialect::slcp::machine::{
    ANSWER_WINDOW_MS, CREDIT_BYTES, CREDIT_MS, HEAD_BYTES, MAX_ANSWERS_PER_HOST,
};
use klatsch::model::{Answer, Net, What};
use klatsch::node::io::Input;
use proptest::prelude::*;

const VICTIM: &str = "192.168.178.11:5000";

fn bench() -> Bench {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    // so many are known that answers are as long as they can be
    for n in 0..16 {
        let join = format!("JOIN {:a<60} 5000\n", format!("p{n}"));
        bench.datagram(&format!("192.168.178.{}:5000", 100 + n), To::Discovery, join);
    }
    let text = Some("x".repeat(400));
    bench.ask(Command::SetPresence { away: true, text }).unwrap();
    bench.advance(10_000);
    bench.sent();
    bench.events();
    bench
}

/// Bytes that leave for `host` by datagram or stream.
fn bytes_to(bench: &mut Bench, host: &str) -> (usize, usize) {
    let mut out = (0, 0);
    for net in bench.sent() {
        match net {
            Net::Send { to, bytes, .. } if to.ip().to_string() == host => {
                assert!(bytes.len() <= 512, "{} bytes in one datagram", bytes.len());
                out = (out.0 + bytes.len(), out.1 + 1);
            }
            Net::Send { to, bytes, .. } => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(to.ip().octets()[3] != 255, "a broadcast in answer: {text}");
            }
            Net::Connect(..) => out.1 += 1,
            _ => {}
        }
    }
    out
}

/// What a kind of attack is called, where it goes, and what its messages say.
type Kind<'a> = (&'a str, To, &'a dyn Fn(usize) -> String);

/// One forged source, each message a hundred times within a second, one kind after the other.
#[test]
fn what_comes_out_for_what_comes_in_is_bounded() {
    let junk = "x".repeat(500);
    let kinds: &[Kind] = &[
        ("WHO", To::Discovery, &|_| "WHO".into()),
        ("WHO json", To::Discovery, &|_| r#"["WHO", "x"]"#.into()),
        ("WHO port", To::Discovery, &|n| format!("WHO t x {}", 7_000 + n)),
        ("JOIN", To::Discovery, &|_| "JOIN x 5000".into()),
        ("JOIN many", To::Discovery, &|n| format!("JOIN x{n} {}", 5_000 + n)),
        ("JOIN same", To::Discovery, &|n| format!("JOIN x {}", 5_000 + n)),
        ("WHOIS", To::Discovery, &|_| "WHOIS Ben".into()),
        ("MSG", To::Chat, &|_| "MSG x a".into()),
        ("MSG many", To::Chat, &|n| format!("MSG x{n} a")),
        ("IMG", To::Chat, &|_| "IMG x 9".into()),
        ("IMG back", To::Chat, &|n| format!("IMG x Ben {} 9", 5_000 + n)),
        ("LEAVE", To::Discovery, &|_| "LEAVE x".into()),
        ("KNOWUSERS", To::Discovery, &|n| format!("KNOWUSERS x{n} 192.168.178.11 {}", 5_000 + n)),
        ("junk", To::Discovery, &|_| junk.clone()),
        ("ERROR", To::Discovery, &|_| "ERROR: x".into()),
    ];
    for (kind, to, said) in kinds {
        let mut bench = bench();
        let (mut came, mut datagrams) = (0, 0);
        for n in 0..100 {
            let said = said(n);
            came += said.len();
            datagrams += 1;
            // the port changes too, as a forger's would
            bench.datagram(&format!("192.168.178.11:{}", 5_000 + n), *to, said);
            bench.advance(10);
        }
        bench.advance(ANSWER_WINDOW_MS - 1_500);
        let (bytes, count) = bytes_to(&mut bench, "192.168.178.11");
        let factor = bytes as f64 / came as f64;
        println!(
            "{kind:10} {datagrams} in, {came} bytes; {count} out, {bytes} bytes: x{factor:.2}"
        );
        match *kind {
            "WHO" | "WHO json" | "WHO port" | "WHOIS" => {
                let most = MAX_ANSWERS_PER_HOST as usize;
                assert!(count <= most && bytes <= most * 512, "{kind}");
            }
            // autoreplies, a welcome, and one WHO for each who seems new
            "MSG many" => assert!(bytes <= 8 * 512 + 3 * 512 + 100 * 8, "{kind}"),
            "MSG" => assert!(bytes <= 8 * 512 + 3 * 512 + 100 * 8, "{kind}"),
            "IMG back" => assert!(count <= 2 + 4, "{kind}"),
            "junk" | "ERROR" | "LEAVE" => assert_eq!(bytes, 0, "{kind}"),
            // a welcome, and a few probes of four bytes
            _ => {
                let most = MAX_ANSWERS_PER_HOST as usize + 12;
                assert!(bytes <= 3 * 512 && count <= most, "{kind}: {bytes} in {count}");
            }
        }
    }
}

/// Bytes of packets that leave within 10 s of so many words from forged sources, and that came in.
fn drawn(handle: &str, words: &[(To, &str, &str)]) -> (usize, usize) {
    let mut bench = Bench::new(handle, "192.168.178.12");
    bench.advance(2 * CREDIT_MS);
    bench.sent();
    let head = HEAD_BYTES as usize;
    let mut came = 0;
    for (to, from, said) in words {
        came += said.len() + head;
        bench.datagram(from, *to, *said);
        bench.advance(450); // longer than an answer waits
    }
    bench.advance(10_000);
    let own = |to: &std::net::SocketAddrV4| to.ip().octets()[3] == 255;
    let out = bench.sent().into_iter().map(|net| match net {
        Net::Send { to, bytes, .. } if !own(&to) => bytes.len() + head,
        _ => 0,
    });
    (out.sum(), came)
}

#[test]
fn one_forged_text_or_image_draws_less_than_it_is() {
    let handle = "B".repeat(64);
    for (to, said) in [(To::Chat, "MSG x a"), (To::Chat, "IMG x 9"), (To::ImageUdp, "IMG a.png 9")]
    {
        let (out, came) = drawn(&handle, &[(to, VICTIM, said)]);
        assert!(0 < out && out < came, "{said}: {out} for {came}");
    }
}

#[test]
fn words_forged_from_ever_new_sources_draw_no_more_than_they_are_beyond_the_credit() {
    let handle = "B".repeat(64);
    let whois = format!("WHOIS {handle}");
    for (kind, lasting) in [("JOIN and LEAVE", true), ("WHOIS", false), ("MSG and LEAVE", false)] {
        let sources: Vec<(String, String)> = (0..400)
            .map(|n| (n % 200 + 20, 5_000 + n))
            .map(|(host, port)| (format!("192.168.178.{host}:{port}"), format!("JOIN x {port}")))
            .collect();
        let words: Vec<(To, &str, &str)> = sources
            .iter()
            .map(|(from, join)| (from.as_str(), join.as_str()))
            .flat_map(|(from, join)| match kind {
                "WHOIS" => vec![(To::Discovery, from, whois.as_str())],
                "MSG and LEAVE" => {
                    vec![(To::Chat, from, "MSG x a"), (To::Discovery, from, "LEAVE x")]
                }
                _ => vec![(To::Discovery, from, join), (To::Discovery, from, "LEAVE x")],
            })
            .collect();
        let (out, came) = drawn(&handle, &words);
        let minutes = words.len() * 450 / CREDIT_MS as usize + 1;
        println!("{kind}: {out} for {came} in {minutes} minutes");
        let free = minutes * CREDIT_BYTES as usize;
        assert!(out <= came + free, "{kind}: {out} for {came}");
        // it is the credit that holds: without it a welcome would go to each
        assert!(!lasting || out + 200 > came, "{kind}: {out} for {came}");
    }
}

#[test]
fn a_newcomer_is_welcomed_again_a_minute_after_forgeries_took_the_credit() {
    let mut bench = Bench::new(&"B".repeat(64), "192.168.178.12");
    let welcomed = |bench: &mut Bench, from: &str| {
        let sent = bench.sent();
        sent.iter().any(|net| {
            matches!(net, Net::Send { to, bytes, .. }
            if to.ip().to_string() == from && bytes.starts_with(b"JOIN"))
        })
    };
    for n in 0..200 {
        let from = format!("192.168.178.{}:5000", n + 20);
        bench.datagram(&from, To::Discovery, "JOIN x 5000");
        bench.advance(450);
        bench.datagram(&from, To::Discovery, "LEAVE x");
    }
    bench.sent();
    bench.advance(CREDIT_MS);
    bench.sent();
    bench.datagram("192.168.178.11:5000", To::Discovery, "JOIN anna 5000");
    bench.advance(450);
    assert!(welcomed(&mut bench, "192.168.178.11"));
}

#[test]
fn nothing_goes_to_an_address_off_the_link() {
    let mut bench = bench();
    let socket = bench.socket(To::Discovery);
    let chat = bench.socket(To::Chat);
    for said in ["WHO\n", "JOIN x 5000\n", "WHOIS Ben\n", "MSG x a\n", "IMG x Ben 99 9"] {
        for socket in [socket, chat] {
            let from = addr("8.8.8.8:5000");
            let bytes = said.as_bytes().to_vec();
            bench.input(Input::Datagram { socket, from, to: None, link: 2, bytes });
        }
    }
    // and a list on the link that names addresses off it, and our own broadcast address
    let list = "KNOWUSERS a 8.8.8.8 5000, b 192.168.178.255 5000, c 255.255.255.255 4000\n";
    bench.datagram(VICTIM, To::Discovery, list);
    let stream = bench.stream("8.8.8.8:40000", To::Tcp(0));
    assert!(bench.flows[&stream].closed);
    bench.advance(50_000 - 10_000);
    for net in bench.sent() {
        if let Net::Send { to, bytes, .. } = net {
            let [a, b, c, d] = to.ip().octets();
            assert!([a, b, c] == [192, 168, 178], "{to}");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let ours = ["JOIN Ben", "[\"JOIN", "AWAY Ben", "WHO", "[\"WHO"];
            assert!(d != 255 || ours.iter().any(|o| text.starts_with(o)), "{text}");
        }
    }
    let names = bench.here();
    assert!(!names.iter().any(|n| ["a", "b", "c", "x"].contains(&n.as_str())), "{names:?}");
}

/// Two nodes whose people are away, wired together.
#[test]
fn an_autoreply_loop_between_two_who_are_away_ends_at_once() {
    let mut ben = Bench::new("Ben", "192.168.178.12");
    let mut eva = Bench::new("Eva", "192.168.178.11");
    for bench in [&mut ben, &mut eva] {
        bench.ask(Command::SetPresence { away: true, text: None }).unwrap();
        bench.sent();
    }
    ben.datagram("192.168.178.11:5010", To::Discovery, "JOIN Eva 5010\n");
    eva.datagram("192.168.178.12:5010", To::Discovery, "JOIN Ben 5010\n");
    ben.say("Eva", "hello").unwrap();
    let mut texts = 0;
    let (mut one, mut other) = (&mut ben, &mut eva);
    for _ in 0..40 {
        let from = format!("{}:5010", one.ip);
        for (to, bytes) in one.datagrams() {
            if to.ip() == &other.ip && to.port() == 5010 {
                texts += usize::from(bytes.starts_with(b"MSG"));
                other.datagram(&from, To::Chat, bytes);
            }
        }
        one.advance(1_000);
        std::mem::swap(&mut one, &mut other);
    }
    assert_eq!(texts, 2, "the text, and one automatic answer");
}

fn with_nora() -> Bench {
    let mut bench = Bench::new("Ben", "192.168.178.12");
    bench.datagram(VICTIM, To::Discovery, "JOIN Nora 5000\n");
    bench.advance(1_000);
    bench.sent();
    bench.events();
    bench
}

#[test]
fn a_leave_from_another_address_changes_nothing() {
    let mut bench = with_nora();
    bench.datagram("192.168.178.66:5000", To::Discovery, "LEAVE Nora\n");
    bench.datagram("192.168.178.66:4000", To::Chat, "AWAY Nora\n");
    bench.advance(1_000);
    assert_eq!(bench.here(), ["Nora"]);
    assert_eq!(bench.events(), []);
}

#[test]
fn a_leave_forged_with_the_right_address_acts_and_the_answer_restores() {
    let mut bench = with_nora();
    bench.datagram(VICTIM, To::Discovery, "LEAVE Nora\n");
    assert!(bench.here().is_empty());
    let asked = bench.datagrams();
    assert!(asked.contains(&(addr("192.168.178.11:4000"), b"WHO\n".to_vec())), "{asked:?}");
    bench.datagram("192.168.178.11:4000", To::Chat, "KNOWUSERS Nora 192.168.178.11 5000\n");
    assert_eq!(bench.here(), ["Nora"]);
    let kinds: Vec<_> = bench.events().into_iter().map(|e| e.what).collect();
    assert!(matches!(kinds[..], [What::PeerLeft { .. }, What::PeerJoined { .. }]), "{kinds:?}");
    // others' lists do not bring back who left
    bench.datagram(VICTIM, To::Discovery, "LEAVE Nora\n");
    let list = "KNOWUSERS Nora 192.168.178.11 5000\n";
    bench.datagram("192.168.178.66:5000", To::Discovery, list);
    assert!(bench.here().is_empty());
}

#[test]
fn a_join_with_another_handle_from_the_same_place_is_a_rename() {
    let mut bench = with_nora();
    bench.datagram(VICTIM, To::Discovery, "JOIN Eva 5000\n");
    assert_eq!(bench.here(), ["Eva"]);
    let events = bench.events();
    let [only] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(&only.what, What::PeerRenamed { old, .. } if old == "Nora"));
}

#[test]
fn our_own_broadcasts_are_not_peers() {
    let mut bench = bench();
    let own = "192.168.178.12:5010";
    for said in ["JOIN Ben 5010\n", "JOIN Ghost 5010\n", "WHO\n", "LEAVE Ben\n", "MSG Ben hello"] {
        bench.datagram(own, To::Discovery, said);
    }
    bench.advance(1_000);
    assert_eq!(bench.events(), []);
    assert!(bench.datagrams().is_empty());
}

#[test]
fn whoever_claims_another_ones_handle_from_elsewhere_is_shown_as_somebody_else() {
    let mut bench = with_nora();
    bench.datagram("192.168.178.66:5000", To::Chat, "MSG Nora send me your password\n");
    let texts = bench.texts();
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0].0, "Nora@192.168.178.66");
    let Ok(Answer::Who(who)) = bench.ask(Command::Who { gone: false }) else { panic!() };
    assert_eq!(who.len(), 2);
}

#[test]
fn whoever_claims_our_own_handle_is_never_shown_as_us() {
    let mut bench = with_nora();
    bench.datagram("192.168.178.66:5000", To::Discovery, "JOIN Ben 5000\n");
    bench.datagram("192.168.178.66:5000", To::Chat, "MSG Ben it is me\n");
    let texts = bench.texts();
    assert_eq!(texts.len(), 1);
    assert_ne!(texts[0].0, "Ben");
}

/// jalal's header makes us connect: a forger must not have us knock at every port of a host.
#[test]
fn connecting_back_is_bounded_per_host() {
    let mut bench = with_nora();
    bench.serve = false;
    for n in 0..100 {
        let head = format!("IMG Nora Ben {} 90", 6_000 + n);
        bench.datagram(VICTIM, To::Chat, head);
    }
    let open = bench.flows.values().filter(|f| f.to.is_some()).count();
    assert!(open <= klatsch::model::limits::MAX_TRANSFERS_PER_PEER, "{open}");
}

/// A single WHO, the first of its source: the most that one datagram can bring about.
#[test]
fn a_single_who_brings_three_datagrams_at_most() {
    let mut bench = bench();
    bench.datagram(VICTIM, To::Discovery, "JOIN x 5001\n");
    bench.advance(10_000);
    bench.sent();
    bench.datagram(VICTIM, To::Discovery, "WHO");
    bench.advance(1_000);
    let (bytes, count) = bytes_to(&mut bench, "192.168.178.11");
    println!("one WHO of 3 bytes: {count} out, {bytes} bytes");
    assert!(count <= 3 && bytes <= 3 * 512);
}

/// On the link, or another program of this very machine.
fn near(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.octets()[..3] == [192, 168, 178]
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "JOIN",
        "LEAVE",
        "WHO",
        "KNOWUSERS",
        "KNOWNUSERS",
        "MSG",
        "IMG",
        "AWAY",
        "BACK",
        "WHOIS",
        "IAM",
        "SEEN",
        "GMSG",
        "Ben",
        "x",
        "Nora",
        "5000",
        "0",
        "65536",
        "192.168.178.11",
        "192.168.178.255",
        "127.0.0.1",
        "8.8.8.8",
        ",",
        ":",
        "[",
        "]",
        "\"",
        "\n",
        "[AFK]",
        "[\"IMG_CHUNK\", \"i\", 0, 2, \"aGVsbG8=\"]",
        "[\"JOIN\", \"x\", \"192.168.178.11\", 5]",
        "(Autoreply):",
        "99999999999999999999",
    ]);
    prop_oneof![
        5 => prop::collection::vec(words, 0..7).prop_map(|w| w.join(" ").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..700),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_nothing_is_broadcast_sent_off_the_link_or_left_open(
        said in prop::collection::vec(
            (anything(), 10_u8..16, prop::sample::select(vec![4000_u16, 5000, 5010, 40_000]), 0_u8..3,
             0_u64..3_000), 1..40),
    ) {
        let mut bench = bench();
        for (bytes, host, port, to, ms) in said {
            let to = [To::Discovery, To::Chat, To::ImageUdp][usize::from(to)];
            bench.datagram(&format!("192.168.178.{host}:{port}"), to, bytes);
            bench.advance(ms);
        }
        for net in bench.sent() {
            match net {
                Net::Send { to, bytes, .. } => {
                    prop_assert!(near(*to.ip()), "{to}");
                    prop_assert!(bytes.len() <= 512);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let regular = ["JOIN Ben", "[\"JOIN", "AWAY Ben", "WHO", "[\"WHO"];
                    let broadcast = to.ip().octets()[3] == 255;
                    prop_assert!(!broadcast || regular.iter().any(|r| text.starts_with(r)));
                }
                Net::Connect(_, to) => {
                    prop_assert!(near(*to.ip()), "{to}");
                }
                _ => {}
            }
        }
        let open: Vec<_> = bench.flows.iter().filter(|(_, f)| !f.closed).map(|(id, _)| *id).collect();
        for id in open {
            bench.end(id);
        }
        bench.advance(40_000);
        prop_assert_eq!(bench.store.under_way(), 0);
        prop_assert!(bench.flows.values().all(|f| f.closed));
    }
}
