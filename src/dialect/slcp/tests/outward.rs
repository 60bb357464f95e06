//! What we emit: never what stops a program, never too long, and as each form has it.

use std::net::Ipv4Addr;

use super::super::encode::*;
use super::super::forms::{self, FORMS, by_name};
use super::super::plan::*;
use super::super::said::{Entry, ListSeparator};
use super::super::{Origin, Seen, datagram, settle};
use super::handle;
use crate::dialect::slcp::forms::Transport;
use crate::model::Handle;
use crate::model::limits::{MAX_HANDLE, SLCP_LINE, SLCP_PARTS};

const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 178, 11);

fn odd_handles() -> Vec<Handle> {
    let long = "ä".repeat(MAX_HANDLE / 2);
    ["a", "4000", "JOIN", "WHO", "10.0.0.1", "ok", "-", "日本", "(x)", "\u{200c}x", &long]
        .iter()
        .map(|text| Handle::nearest(text))
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("bad UTF-8 on 4000 stops six programs (row p)")
}

/// captures/slcp-poison-matrix.txt, row by row.
#[test]
fn nothing_that_we_broadcast_stops_a_program() {
    for handle in odd_handles() {
        let join = join(&handle, 5010);
        let words: Vec<&str> = text(&join).split_whitespace().collect();
        // Rows e, f, u: three words, and a port that is one.
        assert_eq!(words, ["JOIN", handle.as_str(), "5010"]);
        // Row t2: no bare LEAVE.
        let leave = leave(&handle);
        let words: Vec<&str> = text(&leave).split_whitespace().collect();
        assert_eq!(words, ["LEAVE", handle.as_str()]);
        assert_eq!(text(&who()), "WHO\n");
        assert_eq!(text(&away(&handle)), format!("AWAY {handle}"));
        assert_eq!(text(&back(&handle)), format!("BACK {handle}"));
        for array in [json_join(&handle, IP, 5010), json_who(&handle)] {
            assert!(serde_json::from_slice::<serde_json::Value>(&array).unwrap().is_array());
        }
        for bytes in [join, leave, who(), away(&handle), back(&handle)] {
            assert!(bytes.len() <= SLCP_LINE);
            assert!(datagram(&bytes, &|_| false).is_ok());
        }
    }
}

#[test]
fn lists_are_read_back_and_stop_nobody() {
    let entries: Vec<Entry> = odd_handles()
        .into_iter()
        .cycle()
        .take(60)
        .enumerate()
        .map(|(n, handle)| Entry { handle, ip: IP, port: 5000 + n as u16, away: n % 7 == 0 })
        .collect();
    for form in FORMS {
        let mut found = Vec::new();
        for list in lists(&entries, &form.list) {
            assert!(list.len() <= SLCP_LINE, "{}", form.name);
            let Ok(crate::dialect::slcp::Said::List { entries, .. }) = datagram(&list, &|_| false)
            else {
                panic!("{}: {}", form.name, text(&list));
            };
            found.extend(entries);
        }
        let marks = matches!(form.list.separator, ListSeparator::Comma | ListSeparator::CommaSpace);
        let expected = entries.iter().cloned();
        let expected: Vec<Entry> =
            expected.map(|entry| Entry { away: entry.away && marks, ..entry }).collect();
        assert_eq!(found, expected, "{}", form.name);
        // Row k: an empty KNOWNUSERS stops khan.
        let empty = lists(&[], &form.list);
        assert!(empty.iter().all(|list| text(list).trim() == "KNOWUSERS"), "{}", form.name);
    }
    let one = [Entry { handle: handle("a"), ip: IP, port: 1, away: false }];
    assert_eq!(lists(&one, &forms::default().list), [b"KNOWUSERS a 192.168.178.11 1\n".to_vec()]);
    let two = [one[0].clone(), Entry { handle: handle("b"), away: true, ..one[0].clone() }];
    let both = "KNOWUSERS a 192.168.178.11 1, b 192.168.178.11 1 [AFK]\n";
    assert_eq!(lists(&two, &forms::default().list), [both.as_bytes().to_vec()]);
}

#[test]
fn each_form_writes_a_text_its_own_way() {
    for (form, expected) in [
        ("default", "MSG Anna Hallo \"du\"\n"),
        ("fabian", "MSG Anna Hallo \"du\""),
        ("lucaatm-json", "[\"MSG\", \"Anna\", \"Bob\", \"Hallo \\\"du\\\"\"]"),
        ("no-ipc", "Anna: Hallo \"du\""),
        ("robin", "MSG Bob Hallo \"du\"\n"),
        ("pollo", "Anna: Hallo \"du\""),
        ("artur", "MSG Bob \"Hallo \\\"du\\\"\"\n"),
        ("tuna", "MSG Anna \"Hallo \\\"du\\\"\"\n"),
        ("khan", "MSG Anna Hallo \"du\"\n"),
        ("milad3z", "MSG Anna Hallo\\ \"du\""),
        ("daniyal", "MSG Anna Hallo \"du\""),
        ("jalal", "MSG Anna Bob Hallo \"du\""),
        ("meriem", "MSG Anna \"Hallo \\\"du\\\"\"\n"),
    ] {
        let form = by_name(form).unwrap();
        let sent = texts(form, &handle("Anna"), &handle("Bob"), "Hallo\n\"du\"\n").unwrap();
        assert_eq!(sent.len(), 1);
        assert_eq!(text(&sent[0]), expected, "{}", form.name);
    }
    let sent = texts(forms::default(), &handle("Anna"), &handle("Bob"), "\"ja\"").unwrap();
    assert_eq!(text(&sent[0]), "MSG Anna \"\\\"ja\\\"\"\n");
    assert_eq!(texts(forms::default(), &handle("Anna"), &handle("Bob"), " \n"), Ok(vec![]));
}

#[test]
fn one_part_more_than_the_limit_is_refused() {
    let (me, peer) = (handle("Anna"), handle("Bob"));
    let form = by_name("fabian").unwrap();
    let room = SLCP_LINE - "MSG Anna ".len();
    let word = "x".repeat(room);
    let full = [word.as_str(); SLCP_PARTS].join(" ");
    let sent = texts(form, &me, &peer, &full).unwrap();
    assert!(sent.len() == SLCP_PARTS && sent.iter().all(|part| part.len() == SLCP_LINE));
    let more = format!("{full} x");
    assert_eq!(texts(form, &me, &peer, &more), Err(TooLong { bytes: more.len() }));
}

#[test]
fn each_form_sends_an_image_its_own_way() {
    let plan = |form: &str| {
        let form = by_name(form).unwrap();
        let plan = image_plan(form, &handle("Anna"), &handle("Bob"), 73, "png", 50587);
        (String::from_utf8(plan.head).unwrap(), plan.way, plan.port)
    };
    use {ImagePort as P, ImageWay as W};
    let datagrams = |size, joined| W::Datagrams { size, joined };
    let largest = crate::model::limits::DATAGRAM;
    for (form, head, way, port) in [
        ("default", "IMG Anna 73\n", W::Stream(Wait::No), P::Join(0)),
        ("robin", "IMG Bob 73\n", W::Stream(Wait::No), P::Join(0)),
        ("fabian", "IMG Anna image.png 73 ", W::Stream(Wait::No), P::Configured),
        ("bymy", "IMG Anna image.png 73\n", W::Stream(Wait::No), P::Join(1)),
        ("meriem", "IMG Anna 73|image.png\n", W::Stream(Wait::Pause(50)), P::Join(0)),
        ("pollo", "IMG image.png 73\n", W::Stream(Wait::Ready(3_000)), P::Join(0)),
        ("lucaatm-json", "[\"Anna\", \"image.png\", \"", W::Stream(Wait::No), P::Join(100)),
        ("khan", "IMG Anna 73\n", datagrams(60_000, true), P::Join(0)),
        ("tuna", "IMG Bob 73\n", datagrams(largest, false), P::Join(0)),
        ("milad3z", "IMG Anna 73", datagrams(largest, false), P::Join(0)),
        ("no-ipc", "IMG image.png 73", datagrams(512, false), P::Fixed(6000)),
        ("jalal", "IMG Anna Bob 50587 73", W::ConnectBack, P::Join(0)),
        ("document", "IMG Anna 73\n", W::HeadByDatagram, P::Join(0)),
    ] {
        assert_eq!(plan(form), (head.to_string(), way, port), "{form}");
    }
    let strange =
        image_plan(by_name("pollo").unwrap(), &handle("Anna"), &handle("Bob"), 1, "../p n\ng", 0);
    assert_eq!(text(&strange.head), "IMG image.png 1\n");
}

/// A row that its own words do not lead back to could never be learned.
#[test]
fn each_row_is_learned_from_what_it_sends() {
    let (peer, me) = (handle("Anna"), handle("Bob"));
    let ours = |name: &str| name == "Bob";
    for form in FORMS.iter().filter(|form| form.name != "document") {
        let mut seen = Seen::default();
        for line in texts(form, &peer, &me, "Hallo du da").unwrap() {
            seen.note(&datagram(&line, &ours).unwrap(), form.transport, Origin::Chat);
        }
        let settled = settle(&seen).expect(form.name);
        let sent = |form| texts(form, &me, &peer, "Wie geht es").unwrap();
        assert_eq!(settled.transport, form.transport, "{} as {}", form.name, settled.name);
        assert_eq!(
            sent(settled),
            sent(form).into_iter().collect::<Vec<_>>(),
            "{} as {}",
            form.name,
            settled.name
        );
    }
}

#[test]
fn a_wrong_row_is_worse_than_none_before_a_text_is_seen() {
    let mut seen = Seen::default();
    assert_eq!(settle(&seen), None);
    let note = |seen: &mut Seen, text: &str, from| {
        seen.note(&datagram(text.as_bytes(), &|_| false).unwrap(), Transport::Udp, from);
    };
    note(&mut seen, "JOIN Hulk 5211", Origin::Discovery);
    assert_eq!(settle(&seen), None);
    note(&mut seen, "SEEN Hulk 10.0.0.1 5211", Origin::Discovery);
    assert_eq!(settle(&seen).map(|form| form.name), Some("mahiramd"));
    // 002 main says JSON only; we say it after the plain words.
    let mut seen = Seen::default();
    note(&mut seen, "[\"JOIN\", \"Ani\", \"10.0.0.1\", 5001]", Origin::Chat);
    assert_eq!(settle(&seen).map(|form| form.name), Some("lucaatm-json"));
    note(&mut seen, "JOIN Ani 5001\n", Origin::Chat);
    assert_eq!(settle(&seen).map(|form| form.name), Some("default"));
}

#[test]
fn names_of_rows_are_one_each() {
    for (n, form) in FORMS.iter().enumerate() {
        assert_eq!(FORMS.iter().position(|other| other.name == form.name), Some(n));
        assert_eq!(by_name(&form.name.to_uppercase()), Some(form));
    }
    assert_eq!(forms::default().name, "default");
}
