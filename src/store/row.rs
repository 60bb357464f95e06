//! Rows and the model's words: how an entry is written down, and read back whatever stands there.
//!
//! A value of the wrong kind or out of range makes the row unreadable, never the program: the
//! file may have been written by a later program, by hand, or by a dying card.

use rusqlite::types::ValueRef;

use crate::model::history::{Body, Entry, Known, Recipient};
use crate::model::{Delivery, Dialect, Direction, EntryId, Handle, PeerId, Wall};

/// The columns that [`entry`] reads, in its order.
pub const ENTRY: &str = "ord, epoch, n, user, conversation, sender, direction, dialect, at, \
     dated, mono, autoreply, text, path, size, format, width, height, gone";
/// The columns that [`recipient`] reads.
pub const RECIPIENT: &str = "peer, handle, state, reason";
/// The columns that [`known`] reads.
pub const KNOWN: &str = "handle, peer, dialect, address";

/// A row's values by column.
pub type Get<'a, 'v> = &'a dyn Fn(usize) -> ValueRef<'v>;

/// An entry without its recipients; none where the row is not to be understood.
pub fn entry(get: Get<'_, '_>) -> Option<Entry> {
    let body = match (text(get(12)), text(get(13))) {
        (Some(text), _) => Body::Text { text },
        (None, Some(path)) => Body::File {
            path,
            size: bits(get(14)).unwrap_or(0),
            format: text(get(15)).unwrap_or_else(|| "unknown".into()),
            width: bits(get(16)).and_then(|n| u32::try_from(n).ok()),
            height: bits(get(17)).and_then(|n| u32::try_from(n).ok()),
            gone: flag(get(18)),
        },
        (None, None) => return None,
    };
    Some(Entry {
        order: bits(get(0)).filter(|n| i64::try_from(*n).is_ok())?,
        id: EntryId { epoch: bits(get(1))?, n: bits(get(2))? },
        user: match get(3) {
            ValueRef::Null => None,
            value => Some(Handle::try_from(text(value)?.as_str()).ok()?),
        },
        conversation: text(get(4))?,
        from: text(get(5))?,
        direction: match bits(get(6))? {
            0 => Direction::In,
            1 => Direction::Out,
            _ => return None,
        },
        dialect: dialect(&text(get(7))?)?,
        at: Wall(bits(get(8))?).min(Wall::MAX),
        dated: flag(get(9)),
        mono: bits(get(10))?,
        autoreply: flag(get(11)),
        body,
        recipients: Vec::new(),
    })
}

/// A recipient; none where the row is not to be understood.
pub fn recipient(get: Get<'_, '_>) -> Option<Recipient> {
    Some(Recipient {
        peer: peer(get(0))?,
        handle: text(get(1))?,
        state: match bits(get(2))? {
            0 => Delivery::Queued,
            1 => Delivery::Sent,
            2 => Delivery::Delivered,
            3 => Delivery::Failed,
            4 => Delivery::Read,
            _ => return None,
        },
        reason: text(get(3)),
    })
}

/// Someone known; none where the row is not to be understood.
pub fn known(get: Get<'_, '_>) -> Option<Known> {
    Some(Known {
        handle: Handle::try_from(text(get(0))?.as_str()).ok()?,
        peer: peer(get(1))?,
        dialect: dialect(&text(get(2))?)?,
        address: text(get(3))?,
    })
}

/// A direction's number.
pub fn direction(direction: Direction) -> i64 {
    match direction {
        Direction::In => 0,
        Direction::Out => 1,
    }
}

/// A state's number.
pub fn state(state: Delivery) -> i64 {
    match state {
        Delivery::Queued => 0,
        Delivery::Sent => 1,
        Delivery::Delivered => 2,
        Delivery::Read => 4,
        Delivery::Failed => 3,
    }
}

/// A number as SQLite keeps it: the same bits.
pub fn signed(n: u64) -> i64 {
    n as i64
}

fn dialect(name: &str) -> Option<Dialect> {
    use Dialect::{Directory, Hello, Link, Local, Room, Slcp};
    [Local, Slcp, Hello, Room, Directory, Link].into_iter().find(|d| d.name() == name)
}

/// Peers have 12 hexadecimal digits.
fn peer(value: ValueRef<'_>) -> Option<PeerId> {
    bits(value).filter(|n| *n < 1 << 48).map(PeerId)
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

fn bits(value: ValueRef<'_>) -> Option<u64> {
    match value {
        ValueRef::Integer(n) => Some(n as u64),
        _ => None,
    }
}

fn flag(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Integer(n) if n != 0)
}
