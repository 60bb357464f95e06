//! The machine's usable IPv4 addresses, and word from the kernel when they change (netlink(7)).

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::Sender;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use smol::Async;
use smol::Timer;

use crate::model::Link;
use crate::node::io::Input;

/// Changes come in bursts (link up, address, route): they are gathered this long.
const GATHER: Duration = Duration::from_millis(100);
/// Where the kernel gives no word, it is asked this often.
const POLL: Duration = Duration::from_secs(10);

/// All usable addresses now, loopback included, in the kernel's order.
pub fn list() -> Vec<Link> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let mut links: Vec<Link> = Vec::new();
    for interface in all {
        let loopback = interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let running = interface.flags.contains(InterfaceFlags::IFF_RUNNING);
        if !up || !(running || loopback) {
            continue;
        }
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

/// Tells the loop of every change. Ends when the loop does.
pub async fn watch(told: Sender<Input>) {
    match open() {
        Ok(kernel) => follow(&kernel, &told).await,
        Err(error) => {
            log::warn!("the kernel tells nothing of interfaces ({error}): asking every 10 s");
            loop {
                Timer::after(POLL).await;
                if told.send(Input::Links(list())).await.is_err() {
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
        if told.send(Input::Links(list())).await.is_err() {
            return;
        }
    }
}

fn open() -> nix::Result<Async<OwnedFd>> {
    let groups = nix::libc::RTMGRP_LINK | nix::libc::RTMGRP_IPV4_IFADDR;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkRoute;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let groups = u32::try_from(groups).unwrap_or_default();
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &NetlinkAddr::new(0, groups))?;
    Async::new_nonblocking(fd).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}
