//! Any bytes on a line in machine mode: memory stays bounded, what comes out is whole lines of
//! JSON, and after them a request is understood.
#![no_main]

use std::rc::Rc;

use klatsch::command::Command;
use klatsch::console::json::{Json, MAX_OUTPUT};
use klatsch::model::Answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut json = Json::new(true, Rc::default());
    let mut said = Vec::new();
    for (n, piece) in bytes.chunks(61).enumerate() {
        json.feed(n as u64 * 100, piece);
        assert!(json.wake().is_none_or(|at| at >= n as u64 * 100));
        while json.next_ask().is_some() {
            json.answer(Ok(Answer::Done));
        }
        let out = json.take_output();
        assert!(out.len() < 2 * MAX_OUTPUT);
        said.extend(out);
    }
    for line in said.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<serde_json::Value>(line).expect("a line of JSON");
    }
    if json.wants_text().is_none() {
        json.feed(u64::MAX / 2, b"\n{\"method\":\"Who\"}\n");
        let mut asked = false;
        while let Some((_, command)) = json.next_ask() {
            asked |= command == Command::Who { gone: false };
            json.answer(Ok(Answer::Done));
        }
        assert!(asked);
    }
});
