//! The beacon: one multicast datagram by which boxes find each other. A hint, no proof: all it
//! leads to is a handshake with the address it came from.
//!
//! ```text
//! "KLATSCH" 1 | fingerprint 16 | version 1 | capabilities 4 | TCP port 2 | count 1 | handles …
//! ```
//! A handle is a length byte and UTF-8. What follows is passed over: later versions append.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::noise::Fingerprint;
use super::wire::{BadWire, Reader, Writer};
use crate::model::Handle;
use crate::model::limits::{LINK_BEACON, MAX_USERS};

/// The IPv4 group, out of the administratively scoped block that sites use as they like
/// (239.255.0.0/16, the local scope of RFC 2365 section 6.1); sent with a TTL of 1.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 9);
/// The IPv6 group: link-local scope (`ff02`), and the transient flag, since no number is assigned
/// to us (RFC 4291 section 2.7: `ff12`); the rest spells "kltsch" in ASCII.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0x6b6c, 0x7473, 0x6368);
/// The port of both.
pub const PORT: u16 = 5009;

const MAGIC: &[u8; 8] = b"KLATSCH\x01";

/// What a beacon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Whose it claims to be.
    pub fingerprint: Fingerprint,
    /// The highest version of the session spoken there.
    pub version: u8,
    /// What that box can beside that, a bit each; none is given out yet.
    pub capabilities: u32,
    /// Its session port.
    pub port: u16,
    /// Its users, as far as they fit.
    pub handles: Vec<Handle>,
}

impl Beacon {
    /// As bytes, at most [`LINK_BEACON`]: handles that do not fit are left out, the session
    /// tells them all.
    pub fn encode(&self) -> Vec<u8> {
        let head = Writer::default()
            .raw(MAGIC)
            .raw(&self.fingerprint.0)
            .u8(self.version)
            .u32(self.capabilities)
            .u16(self.port);
        let mut list = Writer::default();
        let mut count = 0;
        for handle in self.handles.iter().take(MAX_USERS) {
            if head.0.len() + 1 + list.0.len() + 1 + handle.as_str().len() > LINK_BEACON {
                break;
            }
            list = list.short(handle.as_str());
            count += 1;
        }
        head.u8(count).raw(&list.0).0
    }

    /// From bytes; `None` where it is no beacon at all (another program has the port too).
    ///
    /// # Errors
    /// It begins as one, and goes on otherwise.
    pub fn decode(bytes: &[u8]) -> Option<Result<Beacon, BadWire>> {
        bytes.strip_prefix(MAGIC).map(fields)
    }
}

fn fields(bytes: &[u8]) -> Result<Beacon, BadWire> {
    let mut from = Reader(bytes);
    let (fingerprint, version, capabilities) = (from.print()?, from.u8()?, from.u32()?);
    let (port, count) = (from.u16()?, from.u8()?);
    if port == 0 {
        return Err(BadWire::Value("port"));
    }
    if usize::from(count) > MAX_USERS {
        return Err(BadWire::Value("count of handles"));
    }
    let handles = (0..count).map(|_| from.handle()).collect::<Result<_, _>>()?;
    Ok(Beacon { fingerprint, version, capabilities, port, handles })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon(handles: usize) -> Beacon {
        Beacon {
            fingerprint: Fingerprint([7; 16]),
            version: 1,
            capabilities: 5,
            port: PORT,
            handles: (0..handles).map(|n| Handle::nearest(&format!("user{n}"))).collect(),
        }
    }

    #[test]
    fn reads_back_what_it_wrote_and_passes_over_what_follows() {
        for handles in [0, 1, MAX_USERS] {
            let mut bytes = beacon(handles).encode();
            assert_eq!(Beacon::decode(&bytes), Some(Ok(beacon(handles))));
            bytes.extend(b"of a later version");
            assert_eq!(Beacon::decode(&bytes), Some(Ok(beacon(handles))));
        }
    }

    #[test]
    fn one_handle_more_than_a_node_has_users_is_refused() {
        let mut bytes = beacon(MAX_USERS).encode();
        let count = MAGIC.len() + 16 + 1 + 4 + 2;
        bytes[count] += 1;
        bytes.extend(b"\x01x");
        assert_eq!(Beacon::decode(&bytes), Some(Err(BadWire::Value("count of handles"))));
    }

    #[test]
    fn every_beginning_of_one_is_refused_and_others_bytes_are_not_ours() {
        let bytes = beacon(2).encode();
        for len in MAGIC.len()..bytes.len() {
            assert_eq!(Beacon::decode(&bytes[..len]), Some(Err(BadWire::Truncated)), "{len}");
        }
        assert_eq!(Beacon::decode(b""), None);
        assert_eq!(Beacon::decode(b"JOIN anna 5010"), None);
    }

    #[test]
    fn never_longer_than_its_limit() {
        let long = Handle::nearest(&"x".repeat(64));
        let beacon = Beacon { handles: vec![long; MAX_USERS], ..beacon(0) };
        let bytes = beacon.encode();
        assert!(bytes.len() <= LINK_BEACON && bytes.len() > LINK_BEACON - 66);
        assert!(matches!(Beacon::decode(&bytes), Some(Ok(_))));
    }
}
