//! Sockets and streams as numbers: what dialects ask of the network without touching it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// A UDP socket or TCP listener, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// A TCP connection. The node names those it makes (top bit clear), the driver those it accepts
/// (top bit set).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The bit that marks a stream the driver accepted.
pub const ACCEPTED: u64 = 1 << 63;

/// One usable IPv4 address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Our address on it.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 0 to 32.
    pub prefix: u8,
    /// The broadcast address; for loopback 127.255.255.255.
    pub broadcast: Option<Ipv4Addr>,
}

impl Link {
    /// Whether an address lies on this link.
    pub fn reaches(&self, ip: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        u32::from(ip) & mask == u32::from(self.address) & mask
    }
}

/// An interface that is up, as the link's beacon sees it: it needs no address to be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The kernel's interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It has an IPv4 address.
    pub v4: bool,
    /// It has an IPv6 link-local address.
    pub v6: bool,
}

/// What a socket is for; decides how it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// UDP on all addresses, shared with other programs of this host (SO_REUSEADDR), broadcast
    /// allowed: a dialect's well-known port.
    SharedUdp(u16),
    /// UDP on all addresses, ours alone, broadcast allowed, ICMP errors reported.
    Udp(u16),
    /// A TCP listener on all addresses.
    Tcp(u16),
    /// UDP for multicast of one family (`v6` or IPv4), shared with other programs of this host;
    /// hears only the groups it joined, and never leaves the link.
    Multicast {
        /// The family.
        v6: bool,
        /// The port.
        port: u16,
    },
    /// A TCP listener on all addresses of both families.
    TcpBoth(u16),
    /// A TCP listener on one of our addresses: beside a program that has the port on another.
    TcpAt(SocketAddrV4),
}

/// What a dialect asks of the network; the driver performs it in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    /// Open a socket; answered by `Bound` or `BindFailed`.
    Bind(SocketId, Bind),
    /// Close a socket.
    Unbind(SocketId),
    /// Send a datagram; silent unless it fails (`Unreachable`).
    Send {
        /// From which socket.
        socket: SocketId,
        /// Where to.
        to: SocketAddrV4,
        /// What.
        bytes: Vec<u8>,
    },
    /// Hear a multicast group on an interface; silent if that cannot be.
    Join {
        /// With which socket.
        socket: SocketId,
        /// On which interface.
        link: u32,
        /// The group, of the socket's family.
        group: IpAddr,
    },
    /// Send a datagram to a group, out of one interface; silent if it cannot be.
    Cast {
        /// From which socket.
        socket: SocketId,
        /// Out of which interface.
        link: u32,
        /// The group and its port.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Make a TCP connection; answered by `Connected` or `Closed`.
    Connect(StreamId, SocketAddrV4),
    /// The same, in either family (a link-local address with its interface).
    Dial(StreamId, SocketAddr),
    /// Write bytes; answered by `Wrote` or `Closed`. One at a time per stream.
    Write(StreamId, Vec<u8>),
    /// Read once more.
    ReadMore(StreamId),
    /// Send FIN; reading goes on.
    Finish(StreamId),
    /// Forget the stream. What was written is still sent.
    Close(StreamId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_reaches_its_own_net_only() {
        let link = Link {
            index: 2,
            name: "eth0".into(),
            address: Ipv4Addr::new(192, 168, 1, 5),
            prefix: 24,
            broadcast: None,
        };
        assert!(link.reaches(Ipv4Addr::new(192, 168, 1, 200)));
        assert!(!link.reaches(Ipv4Addr::new(192, 168, 2, 5)));
        for (prefix, far) in [(0, true), (32, false)] {
            let link = Link { prefix, ..link.clone() };
            assert_eq!(link.reaches(Ipv4Addr::new(8, 8, 8, 8)), far);
            assert!(link.reaches(link.address));
        }
    }
}
