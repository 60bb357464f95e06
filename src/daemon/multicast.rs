//! The sockets of the link's beacons: one per family, heard and sent per interface.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use async_channel::Sender;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn,
    SockaddrIn6, SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use super::links;
use crate::model::limits::LINK_BEACON;
use crate::model::{IoError, SocketId};
use crate::node::io::Input;
use crate::reactor::{Async, spawn};

/// Datagrams taken before others get their turn.
const BURST: usize = 32;
/// Groups on interfaces that a socket hears, each for a descriptor: what further interfaces bring is
/// not heard, which is said once.
const MAX_JOINED: usize = 64;

/// An open beacon socket; dropping it closes it and ends its reader.
pub struct Multicast {
    socket: Rc<Async<UdpSocket>>,
    /// Of each group on an interface: what is in it. A socket of its own, for one may be in 20 only
    /// (`igmp_max_memberships`), those of interfaces that are gone included; what it hears comes to
    /// `socket` (ip(7), `IP_MULTICAST_ALL`).
    joined: HashMap<(u32, IpAddr), UdpSocket>,
    /// Whether it was said that there are more.
    crowded: bool,
    _reader: async_executor::Task<()>,
}

impl Multicast {
    /// Opens a socket of one family and starts reading what comes to groups it joined.
    ///
    /// # Errors
    /// As `bind(2)` has them; the host may have no such family.
    pub fn open(
        executor: &async_executor::LocalExecutor<'_>,
        id: SocketId,
        v6: bool,
        port: u16,
        told: Sender<Input>,
    ) -> Result<Multicast, IoError> {
        let socket = Rc::new(open(v6, port).map_err(IoError::from)?);
        let reading = Rc::clone(&socket);
        let reader = spawn(executor, async move { read(id, &reading, &told).await });
        Ok(Multicast { socket, joined: HashMap::new(), crowded: false, _reader: reader })
    }

    /// Hears a group on an interface, and on those that are gone no more; what cannot be joined now
    /// is tried with the next call.
    pub fn join(&mut self, link: u32, group: IpAddr) {
        if self.joined.contains_key(&(link, group)) {
            return;
        }
        if let Ok(there) = if_nameindex() {
            self.joined.retain(|(link, _), _| there.iter().any(|i| i.index() == *link));
        }
        if self.joined.len() >= MAX_JOINED {
            if !std::mem::replace(&mut self.crowded, true) {
                log::warn!(
                    "more than {MAX_JOINED} interfaces: no boxes are found on interface {link}"
                );
            }
            return;
        }
        match member(link, group) {
            Ok(member) => drop(self.joined.insert((link, group), member)),
            Err(error) => log::debug!("no multicast on interface {link}: {error}"),
        }
    }

    /// Sends to a group out of one interface. A beacon that is lost here is lost as on the way.
    pub fn cast(&self, link: u32, to: SocketAddr, bytes: &[u8]) {
        let fd = self.socket.as_raw_fd();
        let io = [IoSlice::new(bytes)];
        let index = link;
        let done = match to {
            SocketAddr::V4(to) => {
                // else the kernel takes another interface's address for what leaves by loopback
                let ours = links::address_of(link).unwrap_or(Ipv4Addr::UNSPECIFIED);
                let info = libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(index).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(ours).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &io, &control, MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn::from(to)))
            }
            SocketAddr::V6(to) => {
                let to = SocketAddrV6::new(*to.ip(), to.port(), 0, link);
                sendmsg(fd, &io, &[], MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn6::from(to)))
            }
        };
        if let Err(errno) = done {
            log::debug!("no beacon on interface {link}: {}", errno.desc());
        }
    }
}

/// A socket that is in a group on an interface, and has no port.
fn member(link: u32, group: IpAddr) -> std::io::Result<UdpSocket> {
    let family = if group.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let member = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let member = UdpSocket::from(member);
    match group {
        IpAddr::V6(group) => member.join_multicast_v6(&group, link)?,
        IpAddr::V4(group) => {
            let ours = links::address_of(link).ok_or(Errno::ENODEV)?;
            member.join_multicast_v4(&group, &ours)?;
        }
    }
    Ok(member)
}

fn open(v6: bool, port: u16) -> nix::Result<Async<UdpSocket>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if v6 {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
        bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
    } else {
        setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        bind(fd.as_raw_fd(), &SockaddrIn::from(any))?;
    }
    Async::new_nonblocking(UdpSocket::from(fd))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}

async fn read(id: SocketId, socket: &Async<UdpSocket>, told: &Sender<Input>) {
    while socket.readable().await.is_ok() {
        for _ in 0..BURST {
            match receive(id, socket) {
                Ok(Some(input)) => {
                    if told.send(input).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        futures_lite::future::yield_now().await;
    }
}

/// One datagram, if it was sent to a group: a router does not carry such here, so whoever sent
/// it is on the link.
fn receive(id: SocketId, socket: &Async<UdpSocket>) -> nix::Result<Option<Input>> {
    let mut bytes = [0; LINK_BEACON + 1];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut io = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut io, Some(&mut space), flags)?;
    let (len, from) = (got.bytes, got.address);
    let (mut link, mut group) = (0, false);
    for message in got.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                link = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                group = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).is_multicast();
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                link = info.ipi6_ifindex;
                group = Ipv6Addr::from(info.ipi6_addr.s6_addr).is_multicast();
            }
            _ => {}
        }
    }
    let from = from.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|a| SocketAddr::from(SocketAddrV4::from(*a)));
        v4.or_else(|| from.as_sockaddr_in6().map(|a| SocketAddr::from(SocketAddrV6::from(*a))))
    });
    let Some(from) = from.filter(|_| group && len <= LINK_BEACON) else { return Ok(None) };
    Ok(Some(Input::Beacon { socket: id, from, link, bytes: bytes[..len].to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_past_the_limit_take_no_descriptor_and_those_of_interfaces_that_are_gone_are_let_go() {
        let executor = async_executor::LocalExecutor::new();
        let (told, _heard) = async_channel::bounded(1);
        let Ok(mut socket) = Multicast::open(&executor, SocketId(1), true, 0, told) else {
            return eprintln!("skipped: no IPv6 here");
        };
        let group = |n: usize| IpAddr::V6(Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 9, n as u16));
        (0..=MAX_JOINED).for_each(|n| socket.join(1, group(n)));
        assert_eq!(socket.joined.len(), MAX_JOINED);
        assert!(socket.crowded && !socket.joined.contains_key(&(1, group(MAX_JOINED))));
        // as if its interface had been unplugged
        let member = socket.joined.remove(&(1, group(0))).unwrap();
        socket.joined.insert((u32::MAX, group(0)), member);
        socket.join(1, group(MAX_JOINED));
        assert!(socket.joined.contains_key(&(1, group(MAX_JOINED))));
        assert_eq!(socket.joined.len(), MAX_JOINED);
    }
}
