//! Images over the cable, made and read with nothing but `base64` and `cksum`.

use std::path::Path;
use std::process::Command;

use crate::cable::{Chatbox, Operator};

fn shell(folder: &Path, script: &str) -> String {
    let out = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A picture of so many bytes: a PNG's head and noise.
fn picture(folder: &Path, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(6);
    let mut picture =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x03 \0\0\x02\x58\x08\x02\0\0\0\x15\x14\x15\x27"
            .to_vec();
    picture.extend((picture.len()..bytes).map(|_| random.u8(..)));
    std::fs::write(folder.join("cat.png"), &picture).unwrap();
    picture
}

/// What the documents tell a person to type.
const MAKE: &str = "(echo begin-base64 644 cat.png; base64 cat.png; echo ====; cksum <cat.png) >cat.txt; cat cat.txt";

/// A box with a cable, another with one, and who is at the first.
fn two(serial: &str) -> ((Chatbox, Operator), (Chatbox, Operator)) {
    let mut here = Chatbox::new(serial, "");
    let mut there = Chatbox::beside(&here, "anna", serial);
    let cables = (here.plug(), there.plug());
    here.starts();
    cables.0.at_the_prompt("kiosk>");
    there.starts();
    cables.1.at_the_prompt("anna>");
    cables.0.sees("anna is here");
    ((here, cables.0), (there, cables.1))
}

#[test]
fn an_image_goes_over_the_cable_and_comes_back_the_same() {
    let ((here, cable), (_there, anna)) = two("speed = 921600");
    let folder = here.folder.path();
    let sent = picture(folder, 300_000);
    cable.types("img anna -\r");
    for piece in shell(folder, MAKE).as_bytes().chunks(1_000) {
        cable.sends(piece);
    }
    cable.sees("cat.png came whole (300.0 kB)");
    cable.at_the_prompt("kiosk>");
    anna.waits("the image", |me| me.all().contains("(png, 800x600 pixels, 300.0 kB): SAVE 1"));
    anna.types("save 1\r");
    anna.sees("/images/");
    anna.forgets();
    anna.types("save 1 -\r");
    anna.waits("the end", |me| me.all().contains("sent whole (300.0 kB)"));
    std::fs::write(folder.join("log"), anna.all()).unwrap();
    // what a person does with the terminal program's log
    let script = "tr -d '\\r' <log | sed -n '/^begin-base64/,/^====/p' | sed '1d;$d' | \
                  base64 -d >back.png; cksum <back.png; tr -d '\\r' <log | sed -n '/^====/{n;p;}'";
    let sums = shell(folder, script);
    let sums: Vec<&str> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
    assert_eq!(std::fs::read(folder.join("back.png")).unwrap(), sent);
}

#[test]
fn what_is_not_whole_is_said_and_the_console_goes_on() {
    let ((here, cable), _anna) = two("");
    let folder = here.folder.path();
    picture(folder, 20_000);
    let text = shell(folder, MAKE);
    cable.types("img nobody -\r");
    cable.types(&text);
    cable.sees("nobody called nobody is here");
    cable.sees("no image is waited for: IMG handle - comes first");
    cable.at_the_prompt("kiosk>");
    assert!(!cable.all().contains("no command"), "{}", cable.all());
    // a line is lost
    cable.types("img anna -\r");
    cable.sees("send it now");
    let lost: Vec<&str> =
        text.lines().enumerate().filter(|(n, _)| *n != 7).map(|(_, line)| line).collect();
    cable.types(&(lost.join("\n") + "\n"));
    cable.sees("19943 of 20000 bytes came: send it again");
    // a byte is wrong
    cable.types("img anna -\r");
    cable.types(&text.replacen("A", "B", 1));
    cable.sees("the image was not taken: checksum ");
    // not text at all; what follows of it is not taken for typing
    cable.forgets();
    cable.types("img anna -\r");
    cable.sends(&std::fs::read(folder.join("cat.png")).unwrap()[..5_000]);
    cable.types("\n====\n1 2\n");
    cable.sees("is no base64: was it sent as text?");
    assert!(!cable.all().contains("no command"), "{}", cable.all());
    // given up on the way
    cable.types("img anna -\r");
    cable.types(&text[..5_000]);
    cable.types("\x03");
    cable.sees("it was ended with Ctrl-C");
    cable.at_the_prompt("kiosk>");
    cable.forgets();
    cable.types("who\r");
    cable.waits("anna", |me| me.all().contains("slcp"));
    cable.at_the_prompt("kiosk>");
    let images = here.folder.path().join("state/klatsch/images");
    let left = std::fs::read_dir(images).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "nothing is left of what did not come whole");
}

#[test]
fn a_file_on_its_way_is_ended_with_ctrl_c_and_nothing_stands_between_its_lines() {
    let ((here, cable), (there, anna)) = two("speed = 115200");
    let folder = here.folder.path();
    picture(folder, 60_000);
    cable.types("img anna -\r");
    cable.types(&shell(folder, MAKE));
    anna.waits("the image", |me| me.all().contains(": SAVE 1"));
    anna.forgets();
    anna.types("save 1 -\r");
    anna.waits("its lines", |me| me.all().len() > 8_000);
    cable.types("msg anna hello there\r");
    anna.waits("more lines", |me| me.all().len() > 20_000);
    anna.types("\x03");
    anna.sees("not sent: it was ended with Ctrl-C");
    anna.sees("1 messages not shown, HISTORY shows them");
    let all = anna.all();
    assert!(!all.contains("hello there") && !all.contains("===="), "{all}");
    assert!(all.len() < 70_000);
    drop(there);
}
