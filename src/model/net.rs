//! Sockets and streams as numbers: what dialects ask of the network without touching it.

use std::net::{Ipv4Addr, SocketAddrV4};

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
    /// Make a TCP connection; answered by `Connected` or `Closed`.
    Connect(StreamId, SocketAddrV4),
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
