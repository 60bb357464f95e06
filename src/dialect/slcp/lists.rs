//! Lists of users, in every order and with every separator seen: triples `h ip p` between
//! commas or blanks, `h:ip:p`, with `[AFK]`, behind a team's name. An entry that cannot be read
//! is left out, the others stay.

use std::net::Ipv4Addr;

use super::MAX_LIST;
use super::said::{Entry, ListSeparator};
use crate::model::Handle;

/// The entries of one list's rest (all behind its first word), and what stood between them.
pub(super) fn parse(rest: &str) -> (Vec<Entry>, Option<ListSeparator>) {
    let mut entries = Vec::new();
    if !rest.contains(',') {
        let (skipped, colons) = segment(rest, false, &mut entries);
        let separator = match entries.len() {
            0 => None,
            _ if colons => Some(ListSeparator::Colons),
            _ if skipped => Some(ListSeparator::Team),
            1 => None,
            _ => Some(ListSeparator::Spaces),
        };
        return (entries, separator);
    }
    let mut colons = false;
    let mut blanks = true;
    for (n, text) in rest.split(',').enumerate() {
        blanks &= n == 0 || text.starts_with(' ') || text.is_empty();
        colons |= segment(text, true, &mut entries).1;
    }
    let separator = match (colons, blanks) {
        (true, _) => ListSeparator::Colons,
        (false, true) => ListSeparator::CommaSpace,
        (false, false) => ListSeparator::Comma,
    };
    (entries, Some(separator))
}

/// Reads what stands between two commas, or a whole list without any. Says whether words before
/// the first entry were left out, and whether an entry had colons.
pub(super) fn segment(text: &str, commas: bool, entries: &mut Vec<Entry>) -> (bool, bool) {
    let mut words = text.split_whitespace().peekable();
    let (mut skipped, mut colons) = (false, false);
    // The last two words: an entry is complete at its third.
    let (mut older, mut old): (Option<&str>, Option<&str>) = (None, None);
    // Between commas a word before an entry belongs to it: `Tomas Novotny ip p` is nobody.
    let mut strange = false;
    while let Some(word) = words.next() {
        let mut found = None;
        if word.contains(':') {
            found = Some(by_colons(word));
            colons |= matches!(found, Some(Some(_)));
        } else if let (Some(handle), Some(ip)) = (older, old) {
            found = triple(handle, ip, word);
        }
        match found {
            Some(entry) => {
                let away = words.next_if(|next| next.eq_ignore_ascii_case("[AFK]")).is_some();
                let room = entries.len() < MAX_LIST;
                if let Some(entry) = entry.filter(|_| room && !(commas && strange)) {
                    entries.push(Entry { away, ..entry });
                }
                (older, old, strange) = (None, None, false);
            }
            None => {
                if older.is_some() {
                    skipped |= entries.is_empty();
                    strange = true;
                }
                (older, old) = (old, Some(word));
            }
        }
    }
    (skipped, colons)
}

/// `a ip p` or `a p ip`: the entry, or `None` in it where the handle is none; nothing where these
/// three words are no entry at all.
fn triple(handle: &str, second: &str, third: &str) -> Option<Option<Entry>> {
    let address = |ip: &str, port: &str| Some((ip.parse::<Ipv4Addr>().ok()?, port.parse().ok()?));
    let (ip, port): (_, u16) = address(second, third).or_else(|| address(third, second))?;
    Some(entry(handle, ip, port))
}

/// `a:ip:p`; `h:port` (anonymous programs) names no address and gives nothing.
fn by_colons(word: &str) -> Option<Entry> {
    let mut parts = word.splitn(3, ':');
    let (handle, ip, port) = (parts.next()?, parts.next()?, parts.next()?);
    entry(handle, ip.parse().ok()?, port.parse().ok()?)
}

pub(super) fn entry(handle: &str, ip: Ipv4Addr, port: u16) -> Option<Entry> {
    let usable = port != 0 && !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast();
    let handle = Handle::try_from(handle).ok().filter(|_| usable)?;
    Some(Entry { handle, ip, port, away: false })
}
