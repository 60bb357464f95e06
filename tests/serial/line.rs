//! The line itself: typed text and what comes meanwhile, slow, hung up, noisy, flooded.

use std::time::{Duration, Instant};

use crate::cable::{Chatbox, Peer};

#[test]
fn what_is_half_typed_survives_what_comes() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.sees("you are kiosk");
    cable.sees("nobody else is here");
    cable.sees("no message since you last looked");
    cable.at_the_prompt("kiosk>");
    let anna = Peer::joins("anna", &there);
    cable.sees("anna is here (127.0.0.1)");
    let port = there.port();
    let text = "msg anna grüß dich 日本";
    for (n, letter) in text.chars().enumerate() {
        cable.types(&letter.to_string());
        anna.writes(port, &format!("line number {n}"));
    }
    cable.sees("anna: line number 20");
    cable.at_the_prompt(&format!("kiosk> {text}"));
    cable.types("\x1b[D\x1b[D\x08X\x7fY\x1bOF!\r\n");
    cable.sees("→ anna: sent");
    cable.at_the_prompt("kiosk>");
    assert!(
        cable.rows().iter().any(|r| r == "kiosk> msg anna grüß dichY日本!"),
        "{:#?}",
        cable.rows()
    );
    anna.leaves();
    cable.sees("anna left");
    assert!(there.ends());
    cable.sees("the node is gone");
}

#[test]
fn a_peers_text_moves_no_cursor_and_sets_no_title() {
    let mut there = Chatbox::new("", "bell = true");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let mallory = Peer::joins("mallory", &there);
    cable.sees("mallory is here");
    cable.forgets();
    let port = there.port();
    for text in ["\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x07\x07\x07\x07", "\u{9b}5A\u{202e}x"] {
        mallory.writes(port, text);
    }
    mallory.writes(port, "end");
    cable.sees("mallory: end");
    cable.at_the_prompt("kiosk>");
    let all = cable.all();
    assert!(
        !all.contains("\x1b]") && !all.contains("\x1b[2J") && !all.contains('\u{9b}'),
        "{all:?}"
    );
    assert!(all.matches('\x07').count() <= 2, "at most one ring in a second: {all:?}");
    assert!(!all.contains("\x1b[3"), "no colour unless asked: {all:?}");
}

#[test]
fn a_line_that_is_absent_hangs_up_and_comes_back_has_its_console_again() {
    let mut there = Chatbox::new("", "");
    there.starts();
    there.logs("there is no such device");
    let first = there.plug();
    first.sees("you are kiosk");
    there.logs("console, 115200 bits per second");
    let anna = Peer::joins("anna", &there);
    first.sees("anna is here");
    first.types("half typed");
    first.at_the_prompt("kiosk> half typed");
    there.unplug(first);
    there.logs("it hung up");
    let port = there.port();
    anna.writes(port, "are you there?");
    anna.writes(port, "hello?");
    std::thread::sleep(Duration::from_millis(200));
    let second = there.plug();
    second.sees("2 messages since you last looked: HISTORY shows them");
    second.sees("here: anna");
    second.at_the_prompt("kiosk>");
    second.types("msg anna yes\r");
    second.sees("→ anna: sent");
    let warnings = there.log().matches("tried again until").count();
    assert_eq!(warnings, 2, "one line each time: {}", there.log());
}

#[test]
fn a_slow_line_shows_a_typed_letter_within_one_screens_time() {
    let mut there = Chatbox::new("speed = 9600", "");
    let cable = there.plug();
    cable.at_pace(9_600);
    there.starts();
    cable.at_the_prompt("kiosk>");
    let anna = Peer::joins("anna", &there);
    cable.sees("anna is here");
    let port = there.port();
    let screen = Duration::from_secs(1) * 80 * 24 * 10 / 9_600;
    let start = Instant::now();
    let mut typed = String::new();
    let mut worst = Duration::ZERO;
    for letter in "abcdefgh".chars() {
        for n in 0..60 {
            anna.writes(port, &format!("spam {n} {}", "x".repeat(60)));
        }
        cable.types(&letter.to_string());
        typed.push(letter);
        let begun = Instant::now();
        let wanted = format!("kiosk> {typed}");
        cable.waits(&wanted, |me| me.rows().contains(&wanted));
        worst = worst.max(begun.elapsed());
    }
    assert!(
        worst <= screen + Duration::from_millis(500),
        "an echo took {worst:?}, a screen {screen:?}"
    );
    let counted = |all: &str| all.contains("messages not shown, HISTORY shows them");
    cable.waits("the count", |me| counted(&me.all()));
    println!(
        "slowest echo at 9600 baud under {} messages in {:?}: {worst:?}",
        8 * 60,
        start.elapsed()
    );
}

#[test]
fn a_flood_leaves_the_console_usable_and_says_what_was_not_shown() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let mallory = Peer::joins("mallory", &there);
    cable.sees("mallory is here");
    let port = there.port();
    cable.forgets();
    let flood = std::thread::spawn(move || {
        let start = Instant::now();
        for n in 0..3_000u32 {
            mallory.writes(port, &format!("flood {n}"));
            let due = Duration::from_millis(u64::from(n));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        start.elapsed()
    });
    std::thread::sleep(Duration::from_millis(300));
    let mut worst = Duration::ZERO;
    let mut typed = String::new();
    for letter in "msg mallory stop".chars() {
        typed.push(letter);
        cable.types(&letter.to_string());
        let wanted = format!("kiosk> {typed}").trim_end().to_owned();
        let took = cable.waits(&wanted, |me| me.rows().contains(&wanted));
        worst = worst.max(took);
    }
    cable.types("\r");
    cable.sees("→ mallory: sent");
    let lasted = flood.join().unwrap();
    let counted = |all: &str| all.contains("messages not shown, HISTORY shows them");
    cable.waits("the count", |me| counted(&me.all())); // it may have left the screen since
    assert!(worst < Duration::from_millis(500), "an echo took {worst:?}");
    let sent = cable.seen.lock().unwrap().bytes.len();
    println!("3000 messages in {lasted:?}: {sent} bytes on the line, slowest echo {worst:?}");
    assert!(sent < 64 * 1024, "{sent} bytes for a flood");
}

#[test]
fn noise_and_pastes_leave_a_console() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..100 {
        let noise: Vec<u8> = (0..1_000).map(|_| random.u8(..)).collect();
        cable.sends(&noise);
    }
    // ten lines of it were no commands: a pause, and it is heard again
    std::thread::sleep(Duration::from_millis(2_100));
    cable.types("\x03\x15\r");
    cable.types("\x15\rstatus\r");
    cable.sees("instance default, daemon, pid");
    // a paste that is one line: too long, said, and over
    cable.types(&"x".repeat(10_240));
    cable.types("\r");
    cable.sees("longer than 4096 bytes and was not sent");
    // and one of many lines, each a command
    let anna = Peer::joins("anna", &there);
    cable.sees("anna is here");
    cable.types(&"config bell\r\n".repeat(10_240 / 13));
    cable.types("msg anna after the paste\r");
    cable.sees("→ anna: sent");
    cable.at_the_prompt("kiosk>");
    assert!(!cable.all().contains("typed bytes were lost"));
    drop(anna);
}

#[test]
fn the_width_is_80_until_told_or_asked() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let long = "a".repeat(100);
    cable.types(&long);
    cable.waits("a row of 80", |me| me.rows().last().is_some_and(|r| r.starts_with("kiosk> <")));
    cable.types("\x15config width 40\r");
    cable.sees("40 columns");
    cable.types(&long);
    cable.waits("a row of 40", |me| me.rows().last().is_some_and(|r| r.len() < 40));
    cable.types("\x15config width\r");
    cable.waits("the question", |me| me.all().contains("\x1b[6n"));
    cable.types("\x1b[24;132R");
    cable.sees("132 columns");
    cable.types("config width\r");
    cable.sees("the terminal does not say how wide it is");
}

#[test]
fn mute_keeps_what_comes_from_the_screen_and_counts_it() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let anna = Peer::joins("anna", &there);
    cable.sees("anna is here");
    cable.types("mute\r");
    cable.sees("not shown until UNMUTE");
    let port = there.port();
    anna.writes(port, "one");
    anna.writes(port, "two");
    cable.types("msg anna sent all the same\r");
    cable.sees("→ anna: sent");
    cable.types("unmute\r");
    cable.sees("2 messages not shown, HISTORY shows them");
    anna.writes(port, "three");
    cable.sees("anna: three");
    assert!(!cable.all().contains("anna: one"));
}

#[test]
fn a_line_that_echoes_makes_no_endless_talk() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let mut echoed = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let new = cable.all().into_bytes().split_off(echoed);
        echoed += new.len();
        cable.sends(&new);
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("{echoed} bytes were said to an echo in 3 s");
    assert!(echoed < 8_000, "{echoed} bytes");
    std::thread::sleep(Duration::from_millis(2_100));
    cable.types("\x03\x15\rwhat\r");
    cable.sees("no command what");
}
