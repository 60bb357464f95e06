//! Texts: what was sent over a good LAN arrives once, at the right user, from the right one.

use klatsch::command::Command;
use klatsch::model::{Answer, Delivery, Refusal, What};

use crate::seeds;
use crate::world::World;

fn group(seed: u64, n: usize) -> World {
    let mut world = World::new(seed);
    for i in 0..n {
        world.add(&format!("u{i:03}"));
    }
    world.run(5_000);
    world
}

fn states(answer: Result<Answer, Refusal>) -> Vec<Delivery> {
    match answer {
        Ok(Answer::Sent(receipts)) => receipts.into_iter().map(|r| r.state).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_text_arrives_once_at_the_right_user_from_the_right_one() {
    seeds(3, |seed| {
        let mut world = group(seed, 6);
        for i in [1, 3] {
            for guest in ["anna", "bert"] {
                let handle = format!("{guest}{i}");
                world.ask(i, Command::AddUser { handle }).unwrap();
            }
        }
        world.run(5_000);
        let homes: Vec<(String, usize)> = (0..6)
            .map(|i| (format!("u{i:03}"), i))
            .chain([("anna1", 1), ("bert1", 1), ("anna3", 3), ("bert3", 3)].map(|(h, i)| (h.into(), i)))
            .collect();
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); 6];
        for n in 0..200 {
            let (from, home) = homes[world.rng.usize(..homes.len())].clone();
            let (to, there) = homes[world.rng.usize(..homes.len())].clone();
            if from == to {
                continue;
            }
            let words = ["hi", "  a  b ", "\"quoted\"", "grüß dich", "C:\\dir\\ x", "[\"MSG\"]", "a: b"];
            let text = format!("{n} {}", words[n % words.len()]);
            let command = Command::Send { to: vec![to.clone()], text: text.clone() };
            world.ask_as(home, Some(&from), command);
            world.run(20);
            expected[there].push(format!("{from}>{to}: {}", text.trim()));
        }
        world.run(5_000);
        for (i, expected) in expected.iter().enumerate() {
            assert_eq!(world.texts_in(i), *expected, "at u{i:03}");
        }
    });
}

#[test]
fn all_reaches_everyone_once_and_a_long_text_comes_in_its_parts() {
    let mut world = group(1, 12);
    let answer = world.say(0, "#lobby", "to all");
    assert_eq!(states(answer), vec![Delivery::Sent; 11]);
    let long: String = (0..300).map(|n| format!("word{n} ")).collect();
    assert_eq!(states(world.say(1, "u002", long.trim())), [Delivery::Sent]);
    world.run(1_000);
    for i in 1..12 {
        assert_eq!(world.texts_in(i).iter().filter(|t| t.ends_with("to all")).count(), 1);
    }
    let parts: Vec<String> = world.texts_in(2).into_iter().filter(|t| t.starts_with("u001")).collect();
    let whole: Vec<&str> = parts.iter().map(|p| p.strip_prefix("u001>u002: ").unwrap()).collect();
    assert_eq!(whole.join(" "), long.trim());
    let much = "x".repeat(10_000);
    assert!(matches!(world.say(1, "u002", &much), Err(Refusal::TooLong { .. })));
}

#[test]
fn a_text_to_a_crashed_peer_fails_and_says_so() {
    seeds(2, |seed| {
        let mut world = group(seed, 3);
        world.crash(2);
        assert_eq!(states(world.say(0, "u002", "are you there?")), [Delivery::Sent]);
        world.run(10_000);
        let last = world.slots[0].events.iter().rev().find_map(|(_, e)| match &e.what {
            What::Delivery { state, reason, .. } => Some((*state, reason.clone())),
            _ => None,
        });
        assert_eq!(last, Some((Delivery::Failed, Some("nobody listens there".into()))));
        assert!(!world.sees(0, "u002"), "and it is known to be gone");
    });
}

#[test]
fn a_text_to_two_of_one_handle_is_refused_until_one_is_named() {
    let mut world = World::new(1);
    world.add("anna");
    world.add("bert");
    world.run(2_000);
    world.add("anna");
    world.run(10_000);
    let Err(Refusal::Ambiguous { choices, .. }) = world.say(1, "anna", "hi") else { panic!() };
    assert_eq!(choices.len(), 2, "{choices:?}");
    assert_eq!(states(world.say(1, &choices[1], "hi")), [Delivery::Sent]);
    world.run(100);
    assert_eq!(world.texts_in(0).len() + world.texts_in(2).len(), 1);
    for no in [0, 2] {
        assert!(world.errors(no).iter().any(|e| e.contains("anna2")), "it is said at {no}");
    }
}

#[test]
fn a_blocked_peer_is_silent_and_gets_no_autoreply() {
    let mut world = group(1, 2);
    world.ask(0, Command::SetPresence { away: true, text: None }).unwrap();
    world.ask(0, Command::Block { handle: "u001".into() }).unwrap();
    world.say(1, "u000", "hello?").unwrap();
    world.run(1_000);
    assert!(world.texts_in(0).is_empty() && world.texts_in(1).is_empty());
    world.ask(0, Command::Unblock { handle: "u001".into() }).unwrap();
    world.say(1, "u000", "hello!").unwrap();
    world.run(1_000);
    assert_eq!(world.texts_in(0), ["u001>u000: hello!"]);
    assert_eq!(world.texts_in(1), ["u000>u001: I am away at the moment."]);
}

#[test]
fn two_who_are_away_do_not_talk_for_ever() {
    let mut world = group(1, 2);
    for no in 0..2 {
        world.ask(no, Command::SetPresence { away: true, text: None }).unwrap();
    }
    world.say(0, "u001", "ping").unwrap();
    world.run(60_000);
    assert_eq!(world.texts_in(0), ["u001>u000: I am away at the moment."]);
    assert_eq!(world.texts_in(1), ["u000>u001: ping"]);
    world.say(0, "u001", "again").unwrap();
    world.run(1_000);
    assert_eq!(world.texts_in(0).len(), 1, "answered once in ten minutes");
    world.run(600_000);
    world.say(0, "u001", "later").unwrap();
    world.run(1_000);
    assert_eq!(world.texts_in(0).len(), 2);
}

#[test]
fn a_guest_who_leaves_is_gone_everywhere_and_its_port_is_free_again() {
    let mut world = group(1, 2);
    let port = |w: &mut World| {
        w.who(1).into_iter().find(|p| p.handle == "gast").map(|p| p.port).unwrap()
    };
    world.ask(0, Command::AddUser { handle: "gast".into() }).unwrap();
    world.run(1_000);
    let first = port(&mut world);
    world.ask(0, Command::RemoveUser { handle: "gast".into() }).unwrap();
    world.run(1_000);
    assert_eq!(world.roster(1), ["u000"]);
    world.ask(0, Command::AddUser { handle: "gast".into() }).unwrap();
    world.run(1_000);
    assert_eq!(port(&mut world), first);
    world.say(1, "gast", "hi").unwrap();
    world.run(100);
    assert_eq!(world.texts_in(0), ["u001>gast: hi"]);
}

#[test]
fn nothing_is_sent_for_a_user_without_a_port() {
    let mut world = World::new(1);
    let host = world.host(&[0]);
    let first = world.add_on(host, Some("first"), "guest");
    world.slots[first].settings.port_min = 5010;
    world.slots[first].settings.port_max = 5010;
    world.crash(first);
    world.start(first);
    world.add("other");
    world.run(2_000);
    world.ask(first, Command::AddUser { handle: "second".into() }).unwrap();
    world.run(2_000);
    assert!(world.errors(first).iter().any(|e| e.starts_with("no free chat port")));
    let to = Command::Send { to: vec!["other".into()], text: "hi".into() };
    let ticket = world.ask_as(first, Some("second"), to);
    let answer = world.slots[first].answers.remove(&ticket).unwrap();
    assert_eq!(states(answer), [Delivery::Failed]);
}
