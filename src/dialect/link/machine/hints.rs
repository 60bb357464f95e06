//! What is said beside messages: what people read, where other boxes are, and at which address a
//! box is asked to prove that it is its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::frame::{Frame, Hello, MAX_ADDRESSES};
use super::super::noise::Fingerprint;
use super::super::words::Heard;
use super::{Machine, Neighbour};
use crate::model::{EntryId, Millis};

/// The bit of [`Hello::capabilities`] of who says what was read, and wants to hear it.
pub const READ: u32 = 8;
/// Messages in one frame that says so; as many wait for a box that is not here.
pub const MAX_READ: usize = 64;
/// Boxes that one tells of at most …
pub const MAX_TOLD: usize = 32;
/// … within this time; further ones are passed over.
pub const TOLD_MS: Millis = 60_000;
/// A box is asked to prove an address once in this time.
const PROVE_MS: Millis = 5 * 60_000;
/// Such calls at once.
const MAX_PROOFS: usize = 4;

impl Neighbour {
    /// It proved its key at this address.
    pub(super) fn proved_at(&mut self, ip: IpAddr) {
        let IpAddr::V4(ip) = ip else { return };
        self.proven.retain(|one| *one != ip);
        if self.proven.len() >= MAX_ADDRESSES {
            self.proven.remove(0);
        }
        self.proven.push(ip);
    }
}

impl Machine {
    /// A box is to prove that an address it claims is its own: it is called there.
    pub fn prove(&mut self, now: Millis, of: Fingerprint, ip: Ipv4Addr) {
        let full = self.proofs.len() >= MAX_PROOFS;
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        let (Some(at), true) = (n.at, n.active.is_some() && n.v4.contains(&ip)) else { return };
        let lately = n.asked.is_some_and(|asked| now < asked + PROVE_MS);
        if full || lately || n.proven.contains(&ip) {
            return;
        }
        n.asked = Some(now);
        let stream = self.dial(now, SocketAddr::new(ip.into(), at.port()));
        self.proofs.insert(stream, of);
    }

    /// Our people read these messages of a box: it is told, if both want that.
    pub fn read(&mut self, now: Millis, of: Fingerprint, entries: Vec<EntryId>) {
        if self.setup.capabilities & READ == 0 {
            return;
        }
        let Some(n) = self.neighbours.get_mut(&of) else { return };
        n.read.extend(entries);
        let surplus = n.read.len().saturating_sub(MAX_READ);
        n.read.drain(..surplus);
        self.say_read(now, of);
    }

    pub(super) fn say_read(&mut self, now: Millis, of: Fingerprint) {
        let Some(n) = self.neighbours.get_mut(&of).filter(|n| !n.read.is_empty()) else { return };
        let Some(stream) = n.active else { return };
        let Some(session) = self.sessions.get_mut(&stream) else { return };
        let wants = |h: &Hello| h.capabilities & READ != 0;
        let entries = std::mem::take(&mut n.read);
        if session.hello.as_ref().is_some_and(wants) {
            session.push(now, &Frame::Read(entries));
            self.write(stream);
        }
    }

    pub(super) fn read_came(&mut self, of: Fingerprint, entries: Vec<EntryId>) {
        if self.setup.capabilities & READ != 0 && !entries.is_empty() {
            self.heard(Heard::Read { of, entries });
        }
    }

    /// A box is told of the others that are linked, and they of it.
    pub(super) fn tell_peers(&mut self, now: Millis, of: Fingerprint) {
        if !self.setup.tell {
            return;
        }
        let linked = self.neighbours.iter().filter(|(_, n)| n.active.is_some());
        let all: Vec<(Fingerprint, SocketAddr)> =
            linked.filter_map(|(of, n)| Some((*of, n.at?))).filter(|(_, at)| is_far(*at)).collect();
        let (new, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(one, _)| *one == of);
        let to: Vec<Fingerprint> = others.iter().map(|(of, _)| *of).collect();
        others.truncate(MAX_TOLD);
        let mut say = |to: Fingerprint, peers: Vec<(Fingerprint, SocketAddr)>| {
            let stream = self.neighbours.get(&to).and_then(|n| n.active);
            let session = stream.and_then(|s| self.sessions.get_mut(&s));
            if let Some(session) = session.filter(|_| !peers.is_empty()) {
                session.push(now, &Frame::Peers(peers));
            }
        };
        say(of, others);
        to.into_iter().for_each(|one| say(one, new.clone()));
        self.write_all();
    }

    /// A box tells where others are: each is worth a call, as after a beacon, if it is in a
    /// network like ours: whoever lies makes us call nobody on the internet.
    pub(super) fn peers_told(
        &mut self,
        now: Millis,
        by: Fingerprint,
        peers: Vec<(Fingerprint, SocketAddr)>,
    ) {
        if !self.setup.tell {
            return;
        }
        for (of, at) in peers {
            let Some(n) = self.neighbours.get_mut(&by) else { return };
            if now >= n.told.0 + TOLD_MS {
                n.told = (now, 0);
            }
            n.told.1 += 1;
            if n.told.1 > MAX_TOLD {
                return;
            }
            let near = is_far(at) && is_near(at.ip(), &self.addresses);
            if of != self.me && of != by && near && !self.is_linked(of) {
                self.heard_of(now, of, at);
            }
        }
    }
}

/// Whether an address is of a private network (RFC 1918, RFC 4193), or of our own one: in the
/// same /24 as one of ours.
fn is_near(ip: IpAddr, ours: &[Ipv4Addr]) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let net = |ip: &Ipv4Addr| u32::from(*ip) >> 8;
            ip.is_private() || ours.iter().any(|our| net(our) == net(&ip))
        }
        IpAddr::V6(ip) => ip.octets()[0] & 0xfe == 0xfc,
    }
}

/// Whether an address means the same box to others too.
fn is_far(at: SocketAddr) -> bool {
    let ip = at.ip();
    let near = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !near && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified() && at.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_private_networks_and_our_own_are_called_by_anothers_word() {
        let ours = [Ipv4Addr::new(192, 0, 2, 7)];
        for (ip, near) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("192.168.0.1", true),
            ("192.0.2.200", true),
            ("192.0.3.7", false),
            ("172.32.0.1", false),
            ("1.1.1.1", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_near(ip.parse().unwrap(), &ours), near, "{ip}");
        }
    }
}
