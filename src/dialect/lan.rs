//! Where someone is, as seen from this machine: what hello, room and directory know of its own
//! addresses and of who is on a network with it.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::model::Link;

/// Our usable addresses, whole.
#[derive(Default)]
pub(super) struct Lan {
    pub(super) links: Vec<Link>,
}

impl Lan {
    /// Everyone on this machine is 127.0.0.1, whichever of its addresses was used.
    pub(super) fn canonical(&self, at: SocketAddrV4) -> SocketAddrV4 {
        let own = self.is_own(*at.ip());
        SocketAddrV4::new(if own { Ipv4Addr::LOCALHOST } else { *at.ip() }, at.port())
    }

    pub(super) fn is_own(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|link| link.address == ip)
    }

    /// Whether someone is on this machine or on a network of ours.
    pub(super) fn reaches(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.links.iter().any(|link| link.reaches(ip))
    }

    /// Our own address as someone at `ip` sees it.
    pub(super) fn address_towards(&self, ip: Ipv4Addr) -> Ipv4Addr {
        if ip.is_loopback() {
            return Ipv4Addr::LOCALHOST;
        }
        let link = self.links.iter().find(|l| l.reaches(ip) && !l.address.is_loopback());
        link.map_or(Ipv4Addr::LOCALHOST, |link| link.address)
    }
}
