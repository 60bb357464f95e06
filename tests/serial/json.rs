//! Machine mode over the cable: what a program on the other end reads and writes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cable::{Chatbox, Operator, Peer};

/// The lines of JSON that came, noise between them left out.
fn lines(cable: &Operator) -> Vec<Value> {
    cable.all().lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect()
}

fn gets(cable: &Operator, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    cable.waits(what, |me| lines(me).iter().any(&is));
    lines(cable).into_iter().find(|line| is(line)).unwrap()
}

#[test]
fn a_program_asks_hears_and_goes_back_to_text() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    cable.types("mode json\r");
    gets(&cable, "the mode", |l| l["mode"] == "json");
    cable.types("{\"id\":1,\"method\":\"Subscribe\",\"parameters\":{\"ready\":true}}\n");
    let ready = gets(&cable, "ready", |l| l["parameters"]["event"]["kind"] == "ready");
    assert_eq!(ready["id"], 1);
    let anna = Peer::joins("anna", &there);
    let joined = |l: &Value| l["parameters"]["event"]["kind"] == "peer-joined";
    assert_eq!(gets(&cable, "anna", joined)["parameters"]["event"]["handle"], "anna");
    cable.types("{\"id\":\"a\",\"method\":\"Send\",\"parameters\":{\"to\":[\"anna\"],\"text\":\"hallo\"}}\n");
    let sent = gets(&cable, "the receipt", |l| l["id"] == "a");
    assert_eq!(sent["parameters"]["receipts"][0]["recipient"], "anna");
    anna.writes(there.port(), "grüß dich");
    let said = gets(&cable, "the text", |l| {
        l["parameters"]["event"]["kind"] == "message"
            && l["parameters"]["event"]["direction"] == "in"
    });
    assert_eq!(said["parameters"]["event"]["text"], "grüß dich");
    cable.types(
        "{\"id\":2,\"method\":\"Send\",\"parameters\":{\"to\":[\"nobody\"],\"text\":\"x\"}}\n",
    );
    let error = gets(&cable, "the error", |l| l["id"] == 2);
    assert_eq!(error["error"], "org.klatsch.Chat.NoSuchPeer");
    cable.forgets();
    cable.types("MODE TEXT\r\n");
    cable.sees("you are kiosk");
    cable.sees("here: anna");
    cable.at_the_prompt("kiosk>");
}

#[test]
fn boot_noise_is_one_error_and_the_parser_goes_on() {
    let mut there = Chatbox::new("mode = \"json\"", "");
    let cable = there.plug();
    there.starts();
    gets(&cable, "the mode", |l| l["mode"] == "json");
    cable.forgets();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..100 {
        let noise: Vec<u8> = (0..1_000).map(|_| random.u8(..)).collect();
        cable.sends(&noise);
    }
    cable.types("\n{\"id\":1,\"method\":\"Who\"}\n");
    gets(&cable, "the answer", |l| l["id"] == 1);
    let errors: Vec<Value> =
        lines(&cable).into_iter().filter(|l| l.get("error").is_some()).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let parameters = json!({"parameter": "call"});
    assert_eq!((&errors[0]["id"], &errors[0]["parameters"]), (&Value::Null, &parameters));
    // a line past the limit is said, dropped, and over with its end
    cable.forgets();
    cable.types(&"x".repeat(70_000));
    cable.types("\n{\"id\":2,\"method\":\"Who\"}\n");
    gets(&cable, "the answer", |l| l["id"] == 2);
    let error = lines(&cable).into_iter().find(|l| l.get("error").is_some()).unwrap();
    assert_eq!(error["error"], "org.klatsch.Chat.TooLong");
    assert_eq!(error["parameters"]["limit"], 65_536);
}

#[test]
fn a_program_that_reads_slowly_gets_a_gap_and_holds_up_nobody() {
    let mut there = Chatbox::new("mode = \"json\"\nspeed = 460800", "");
    let cable = there.plug();
    there.starts();
    gets(&cable, "the mode", |l| l["mode"] == "json");
    cable.types("{\"id\":1,\"method\":\"Subscribe\",\"parameters\":{\"ready\":true}}\n");
    gets(&cable, "ready", |l| l["parameters"]["event"]["kind"] == "ready");
    let mallory = Peer::joins("mallory", &there);
    gets(&cable, "mallory", |l| l["parameters"]["event"]["kind"] == "peer-joined");
    let port = there.port();
    let flood = || {
        for n in 0..3_000 {
            mallory.writes(port, &format!("flood {n}"));
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    flood();
    let begun = Instant::now();
    let out = there.klatsch().args(["who", "--json"]).output().unwrap();
    assert!(out.status.success() && begun.elapsed() < Duration::from_secs(2));
    // one gap or several: that is the machine's
    let missed = |cable: &Operator| -> u64 {
        let all = lines(cable).into_iter().map(|l| l["parameters"]["event"].clone());
        let gaps: Vec<Value> = all.filter(|event| event["kind"] == "gap").collect();
        assert!(gaps.iter().all(|gap| gap["reason"] == "slow"), "{gaps:?}");
        gaps.iter().filter_map(|gap| gap["missed"].as_u64()).sum()
    };
    // on a busy machine the kernel lets most of a flood go, and nobody is left behind
    let gaps = (0..5).any(|n| {
        if n > 0 {
            flood();
        }
        let until = Instant::now() + Duration::from_secs(8);
        while missed(&cable) <= 100 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        missed(&cable) > 100
    });
    assert!(gaps, "{} missed", missed(&cable));
    let bytes = cable.all().len();
    cable.types("{\"id\":2,\"method\":\"Unsubscribe\"}\n{\"id\":3,\"method\":\"Who\"}\n");
    gets(&cable, "the answer", |l| l["id"] == 3);
    let after = cable.all().len() - bytes;
    assert!(after < 200 * 1024, "{after} bytes stood before the answer");
}
