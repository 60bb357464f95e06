//! Whether the database's log (WAL) is whole, looked at before SQLite does: it takes the log up
//! to the first frame that is not right and says nothing of what lay behind it.
//!
//! Format: sqlite.org/fileformat2.html, section 4. A power cut may leave the last transaction
//! half written: it was reported to nobody. Whole transactions behind a broken frame cannot come
//! of that, for each is synced before the next begins: there the card lost something.

use std::io::Read;

/// Bytes of the log's header, and of a frame's.
const HEADER: usize = 32;
const FRAME: usize = 24;

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Its last transaction is not whole: whoever wrote it did not come to its end.
    CutShort,
    /// From this byte on it is damaged; so many transactions lie behind and are lost.
    Damaged(u64, u64),
    /// Its beginning is damaged: all that was in it is lost.
    Headless,
}

/// Looks at a log; none: it is whole.
pub fn look(mut log: impl Read) -> std::io::Result<Option<Flaw>> {
    let mut header = [0; HEADER];
    match fill(&mut log, &mut header)? {
        // Empty, as after it was carried over; or its very first write was cut short.
        n if n < HEADER => return Ok(None),
        _ => {}
    }
    let big = match number(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return headless(log),
    };
    let page = number(&header, 8) as usize;
    let mut sum = [0, 0];
    add(&mut sum, &header[..24], big);
    if [number(&header, 24), number(&header, 28)] != sum || !(512..=65_536).contains(&page) {
        return headless(log);
    }
    let salts = &header[16..24];
    let mut frame = vec![0; FRAME + page];
    let (mut at, mut whole, mut open, mut behind) = (HEADER as u64, true, false, 0);
    let mut broken = 0;
    loop {
        let got = fill(&mut log, &mut frame)?;
        let ours = got >= FRAME && &frame[8..16] == salts;
        if got < frame.len() {
            open |= whole && ours;
            break;
        }
        let commits = number(&frame, 4) != 0;
        if whole {
            add(&mut sum, &frame[..8], big);
            add(&mut sum, &frame[FRAME..], big);
            whole = ours && [number(&frame, 16), number(&frame, 20)] == sum;
            if whole {
                open = !commits;
            } else {
                // Frames of another salt are left over from before the log was begun anew.
                (broken, open) = (at, open || ours);
            }
        }
        behind += u64::from(!whole && ours && commits);
        at += frame.len() as u64;
    }
    Ok(match behind {
        0 | 1 if open || behind == 1 => Some(Flaw::CutShort),
        0 => None,
        lost => Some(Flaw::Damaged(broken, lost)),
    })
}

/// A header that is not right is damage only where something lies behind it.
fn headless(mut log: impl Read) -> std::io::Result<Option<Flaw>> {
    let mut frame = [0; FRAME];
    let some = fill(&mut log, &mut frame)? == FRAME;
    Ok(some.then_some(Flaw::Headless))
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

/// The log's running checksum, over pairs of 32-bit words.
fn add(sum: &mut [u32; 2], bytes: &[u8], big: bool) {
    let word = |b: &[u8]| {
        let b = [b[0], b[1], b[2], b[3]];
        if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    };
    for pair in bytes.chunks_exact(8) {
        sum[0] = sum[0].wrapping_add(word(&pair[..4])).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(word(&pair[4..])).wrapping_add(sum[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::base;

    /// A log of several transactions, and where each of its frames begins.
    fn log() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let conn = base::open(dir.path()).unwrap();
        for n in 0..6 {
            let sql = format!("INSERT INTO known VALUES ({n}, '{n}', 'a', 1, 'slcp', '')");
            conn.execute_batch(&sql).unwrap();
        }
        let bytes = std::fs::read(dir.path().join("history.db-wal")).unwrap();
        drop::<base::Database>(conn);
        bytes
    }

    #[test]
    fn a_whole_log_is_whole_and_a_cut_one_is_cut_short() {
        let log = log();
        let stride = FRAME + base::PAGE as usize;
        assert_eq!((log.len() - HEADER) % stride, 0);
        assert_eq!(look(&log[..]).unwrap(), None);
        assert_eq!(look(&log[..0]).unwrap(), None);
        assert_eq!(look(&log[..HEADER]).unwrap(), None);
        let last = log.len() - stride;
        for cut in [log.len() - 1, last + FRAME, last + FRAME + 1] {
            assert_eq!(look(&log[..cut]).unwrap(), Some(Flaw::CutShort), "{cut}");
        }
        let mut torn = log.clone();
        torn[last + FRAME + 7] ^= 1;
        assert_eq!(look(&torn[..]).unwrap(), Some(Flaw::CutShort), "one transaction at most");
    }

    #[test]
    fn transactions_behind_a_broken_frame_are_counted_as_lost() {
        let log = log();
        let stride = FRAME + base::PAGE as usize;
        let mut broken = log.clone();
        broken[HEADER + FRAME + 9] ^= 1;
        let Some(Flaw::Damaged(at, lost)) = look(&broken[..]).unwrap() else { panic!() };
        assert_eq!(at, HEADER as u64);
        assert!(lost >= 6, "{lost}");
        let mut broken = log.clone();
        let at = log.len() - 3 * stride;
        broken[at + FRAME] ^= 1;
        let Some(Flaw::Damaged(found, _)) = look(&broken[..]).unwrap() else { panic!() };
        assert_eq!(found, at as u64);
        for at in [0, 9, 17, 25] {
            let mut headless = log.clone();
            headless[at] ^= 0x10;
            assert_eq!(look(&headless[..]).unwrap(), Some(Flaw::Headless), "{at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            size in 0u32..70_000,
        ) {
            let mut log = vec![0x37, 0x7f, 6, 0x82, 0, 0x2d, 0xe2, 0x18];
            log.extend(size.to_be_bytes());
            log.extend([0; 12]);
            let mut sum = [0, 0];
            add(&mut sum, &log, false);
            sum.iter().for_each(|n| log.extend(n.to_be_bytes()));
            log.extend(bytes);
            look(&log[..]).unwrap();
        }
    }
}
