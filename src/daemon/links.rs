//! The machine's usable IPv4 addresses and interfaces, and word from the kernel when they change (netlink(7)).

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::reactor::Async;
use crate::reactor::Timer;
use async_channel::Sender;
use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::model::{Interface, Link};
use crate::node::io::Input;

/// Changes come in bursts (link up, address, route): they are gathered this long.
const GATHER: Duration = Duration::from_millis(100);
/// Where the kernel gives no word, it is asked this often.
const POLL: Duration = Duration::from_secs(10);

/// All usable addresses now, loopback included, in the kernel's order.
pub fn list() -> Vec<Link> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let mut links: Vec<Link> = Vec::new();
    for interface in all.filter(is_usable) {
        let loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let ip = |address: Option<nix::sys::socket::SockaddrStorage>| {
            address.and_then(|a| a.as_sockaddr_in().map(|a| a.ip()))
        };
        let Some(address) = ip(interface.address) else { continue };
        let mask = ip(interface.netmask).map_or(u32::MAX, u32::from);
        let prefix = u8::try_from(mask.leading_ones()).unwrap_or(32);
        let broadcast = if loopback {
            Some(Ipv4Addr::from(u32::from(address) | !mask))
        } else {
            ip(interface.broadcast)
                .filter(|_| interface.flags.contains(InterfaceFlags::IFF_BROADCAST) && prefix < 31)
        };
        let index = if_nametoindex(interface.interface_name.as_str()).unwrap_or(0);
        links.push(Link { index, name: interface.interface_name, address, prefix, broadcast });
    }
    links
}

fn is_usable(interface: &InterfaceAddress) -> bool {
    let loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
    let up = interface.flags.contains(InterfaceFlags::IFF_UP);
    up && (loopback || interface.flags.contains(InterfaceFlags::IFF_RUNNING))
}

/// All interfaces that are up, loopback included, each once: the link's beacon goes out of those
/// that have any address.
pub fn interfaces() -> Vec<Interface> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let mut found: Vec<Interface> = Vec::new();
    for entry in all.filter(is_usable) {
        let (v4, v6) = match entry.address {
            Some(a) if a.as_sockaddr_in().is_some() => (true, false),
            Some(a) => match a.as_sockaddr_in6() {
                Some(a) => (false, a.ip().is_unicast_link_local()),
                None => continue,
            },
            None => continue,
        };
        let name = entry.interface_name;
        if let Some(known) = found.iter_mut().find(|i| i.name == name) {
            known.v4 |= v4;
            known.v6 |= v6;
        } else {
            let index = if_nametoindex(name.as_str()).unwrap_or(0);
            found.push(Interface { index, name, v4, v6 });
        }
    }
    found
}

/// Our first IPv4 address on an interface.
pub fn address_of(index: u32) -> Option<Ipv4Addr> {
    list().into_iter().find(|link| link.index == index).map(|link| link.address)
}

/// Tells the loop of every change. Ends when the loop does.
pub async fn watch(told: Sender<Input>) {
    match open() {
        Ok(kernel) => follow(&kernel, &told).await,
        Err(error) => {
            log::warn!("the kernel tells nothing of interfaces ({error}): asking every 10 s");
            loop {
                Timer::after(POLL).await;
                if tell(&told).await.is_none() {
                    return;
                }
            }
        }
    }
}

async fn follow(kernel: &Async<OwnedFd>, told: &Sender<Input>) {
    while kernel.readable().await.is_ok() {
        Timer::after(GATHER).await;
        let mut message = [0; 8192];
        let fd = std::os::fd::AsRawFd::as_raw_fd(kernel);
        // what it says does not matter: the whole is read anew; ENOBUFS means words were lost
        while matches!(
            recv(fd, &mut message, MsgFlags::MSG_DONTWAIT),
            Ok(1..) | Err(Errno::ENOBUFS | Errno::EINTR)
        ) {}
        if tell(told).await.is_none() {
            return;
        }
    }
}

/// Tells how the machine is connected now; none when the loop is gone.
async fn tell(told: &Sender<Input>) -> Option<()> {
    told.send(Input::Links(list())).await.ok()?;
    told.send(Input::Interfaces(interfaces())).await.ok()
}

fn open() -> nix::Result<Async<OwnedFd>> {
    let groups =
        nix::libc::RTMGRP_LINK | nix::libc::RTMGRP_IPV4_IFADDR | nix::libc::RTMGRP_IPV6_IFADDR;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkRoute;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let groups = u32::try_from(groups).unwrap_or_default();
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &NetlinkAddr::new(0, groups))?;
    Async::new_nonblocking(fd).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}
