//! The database's log: any bytes are judged without a panic, however they come, and what is called
//! damaged is so. A log made here by the format's own text (sqlite.org/fileformat2.html, section
//! 4) and then cut or changed at one place is judged as that place demands.
#![no_main]

use std::io::Read;

use klatsch::store::log::{Flaw, look};
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 32;
const FRAME: usize = 24;
const PAGE: usize = 512;
const STRIDE: usize = FRAME + PAGE;

/// A byte at a time, as a slow card might give them.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let some = to.len().min(1);
        self.0.read(&mut to[..some])
    }
}

/// The running checksum over words of this order.
fn sum(mut sum: (u32, u32), bytes: &[u8], big: bool) -> (u32, u32) {
    for eight in bytes.chunks(8) {
        let word = |at: usize| {
            let word = eight[at..at + 4].try_into().unwrap();
            if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        sum.0 = sum.0.wrapping_add(word(0)).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(4)).wrapping_add(sum.0);
    }
    sum
}

/// A log with a frame for each of these; true: it ends a transaction.
fn log(ends: &[bool], big: bool, fill: u8) -> Vec<u8> {
    let mut log = Vec::new();
    let word = |log: &mut Vec<u8>, n: u32| log.extend(n.to_be_bytes());
    word(&mut log, 0x377f_0682 + u32::from(big));
    word(&mut log, 3_007_000);
    word(&mut log, PAGE as u32);
    word(&mut log, 1);
    let salts = [0x0102_0304, 0x0506_0708];
    salts.iter().for_each(|n| word(&mut log, *n));
    let mut so_far = sum((0, 0), &log[..24], big);
    word(&mut log, so_far.0);
    word(&mut log, so_far.1);
    for (n, end) in ends.iter().enumerate() {
        let at = log.len();
        word(&mut log, n as u32 + 1);
        word(&mut log, if *end { ends.len() as u32 } else { 0 });
        so_far = sum(so_far, &log[at..], big);
        let page = [fill.wrapping_add(n as u8); PAGE];
        so_far = sum(so_far, &page, big);
        salts.iter().for_each(|n| word(&mut log, *n));
        word(&mut log, so_far.0);
        word(&mut log, so_far.1);
        log.extend(page);
    }
    log
}

/// What is to be said of it once its first `cut` bytes are left and the byte `at` is another.
fn wanted(ends: &[bool], cut: usize, at: usize) -> Option<Option<Flaw>> {
    if cut < HEADER {
        return Some(None);
    }
    if at < HEADER {
        return Some((cut >= HEADER + FRAME).then_some(Flaw::Headless));
    }
    let whole = &ends[..(cut - HEADER) / STRIDE];
    let rest = (cut - HEADER) % STRIDE;
    let broken = (at - HEADER) / STRIDE;
    if at >= cut || broken >= whole.len() {
        if at < cut {
            return None; // in what the cut left over of a frame
        }
        // a frame's header says whose it is
        let open = rest >= FRAME || whole.last().is_some_and(|end| !end);
        return Some(open.then_some(Flaw::CutShort));
    }
    if matches!((at - HEADER) % STRIDE, 4..16) {
        return None; // the frame is another log's, or ends a transaction where it did not
    }
    let behind = whole[broken..].iter().filter(|end| **end).count() as u64;
    Some(Some(match behind {
        0 | 1 => Flaw::CutShort,
        lost => Flaw::Damaged((HEADER + broken * STRIDE) as u64, lost),
    }))
}

fuzz_target!(|bytes: &[u8]| {
    let said = look(bytes).unwrap();
    assert_eq!(said, look(Drops(bytes)).unwrap());
    if let Some(Flaw::Damaged(at, lost)) = said {
        let page = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let before = usize::try_from(at).unwrap();
        assert!(lost >= 2 && before >= HEADER && (before - HEADER) % (FRAME + page) == 0);
        assert!(lost <= ((bytes.len() - before) / (FRAME + page)) as u64);
        let kept = look(&bytes[..before]).unwrap();
        assert!(matches!(kept, None | Some(Flaw::CutShort)), "{kept:?}");
    }

    let [how, fill, a, b, c, d, with, ends @ ..] = bytes else { return };
    let ends: Vec<bool> = ends.iter().take(12).map(|end| end & 1 == 1).collect();
    let mut log = log(&ends, how & 1 == 1, *fill);
    let place = |a: u8, b: u8| usize::from(u16::from_le_bytes([a, b])) % (log.len() + 1);
    let (cut, at) = (place(*a, *b), place(*c, *d));
    if let (Some(byte), true) = (log.get_mut(at), *with != 0) {
        *byte ^= with;
    }
    let at = if *with == 0 { usize::MAX } else { at };
    if let Some(wanted) = wanted(&ends, cut, at) {
        assert_eq!(look(&log[..cut]).unwrap(), wanted, "cut at {cut}, changed at {at}: {ends:?}");
    }
});
