//! UDP sockets: thin drivers that turn datagrams and ICMP errors into inputs.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use async_channel::Sender;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recvmsg,
    setsockopt, socket, sockopt,
};

use crate::model::limits::DATAGRAM;
use crate::model::{IoError, SocketId, Trouble};
use crate::node::io::Input;
use crate::reactor::{Async, spawn};

/// Datagrams taken from one socket before others get their turn.
const BURST: usize = 32;
/// Bytes taken of what an error quotes of its datagram.
const QUOTED: usize = 64;
/// Errors of earlier sends that may stand before our own send.
const STALE_ERRORS: usize = 8;

/// An open UDP socket; dropping it closes it and ends its reader.
pub struct Udp {
    socket: Rc<Async<UdpSocket>>,
    _reader: async_executor::Task<()>,
}

impl Udp {
    /// Opens a socket on all addresses and starts reading. `shared`: other programs of this
    /// host may have the port too.
    ///
    /// # Errors
    /// As `bind(2)` has them.
    pub fn open(
        executor: &async_executor::LocalExecutor<'_>,
        id: SocketId,
        port: u16,
        shared: bool,
        told: Sender<Input>,
    ) -> Result<Udp, IoError> {
        let socket = Rc::new(open(port, shared).map_err(IoError::from)?);
        let reading = Rc::clone(&socket);
        let reader = spawn(executor, async move { read(id, &reading, &told).await });
        Ok(Udp { socket, _reader: reader })
    }

    /// Sends at once, or says why not.
    ///
    /// # Errors
    /// As `sendto(2)` has them; a full send buffer is [`Trouble::Exhausted`].
    pub fn send(&self, to: SocketAddrV4, bytes: &[u8]) -> Result<(), IoError> {
        let mut last = Errno::EAGAIN;
        for _ in 0..STALE_ERRORS {
            let Err(error) = self.socket.get_ref().send_to(bytes, to) else { return Ok(()) };
            last = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            // ICMP errors of earlier datagrams come out here too (ip(7), IP_RECVERR); the
            // reader tells them, this datagram has not been tried yet
            if !matches!(last, Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::EINTR) {
                break;
            }
        }
        Err(match last {
            Errno::EAGAIN => IoError::new(Trouble::Exhausted, "the network takes no more just now"),
            errno => errno.into(),
        })
    }
}

fn open(port: u16, shared: bool) -> nix::Result<Async<UdpSocket>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    if shared {
        // both: a program that set only one of them shares the port then
        // (captures/reuse-behaviour.txt)
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    setsockopt(&fd, sockopt::Ipv4RecvErr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    Async::new_nonblocking(UdpSocket::from(fd))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}

thread_local! {
    /// One buffer for all sockets: a datagram is copied out at its true size.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM + 1]);
}

async fn read(id: SocketId, socket: &Async<UdpSocket>, told: &Sender<Input>) {
    while socket.readable().await.is_ok() {
        for n in 0..BURST {
            match receive(id, socket) {
                Ok(Some(input)) => {
                    if told.send(input).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(Errno::EAGAIN) if n == 0 => {
                    // readable, yet nothing there: an ICMP error waits
                    tell_errors(id, socket, told).await;
                    break;
                }
                Err(Errno::EAGAIN) => break,
                Err(_) => tell_errors(id, socket, told).await,
            }
        }
        futures_lite::future::yield_now().await;
    }
}

fn receive(id: SocketId, socket: &Async<UdpSocket>) -> nix::Result<Option<Input>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = nix::cmsg_space!(nix::libc::in_pktinfo);
        let mut io = [IoSliceMut::new(buffer)];
        let got = recvmsg::<SockaddrIn>(
            socket.as_raw_fd(),
            &mut io,
            Some(&mut space),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let (len, from) = (got.bytes, got.address);
        let mut link = 0;
        let mut to = None;
        for message in got.cmsgs()? {
            if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
                link = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
            }
        }
        let Some(from) = from else { return Ok(None) };
        let from = SocketAddrV4::new(from.ip(), from.port());
        Ok(Some(Input::Datagram { socket: id, from, to, link, bytes: buffer[..len].to_vec() }))
    })
}

/// Empties the error queue: each entry names where the datagram went that came to nothing.
async fn tell_errors(id: SocketId, socket: &Async<UdpSocket>, told: &Sender<Input>) {
    for _ in 0..BURST {
        let mut bytes = [0; QUOTED];
        let mut io = [IoSliceMut::new(&mut bytes)];
        // the packet's interface comes first (IP_PKTINFO is on), then the error with its sender
        let mut space = nix::cmsg_space!(
            nix::libc::in_pktinfo,
            nix::libc::sock_extended_err,
            nix::libc::sockaddr_in
        );
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(got) = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut io, Some(&mut space), flags)
        else {
            return;
        };
        let Some(to) = got.address.map(|a| SocketAddrV4::new(a.ip(), a.port())) else { continue };
        let errno = got.cmsgs().ok().and_then(|mut all| {
            all.find_map(|message| match message {
                ControlMessageOwned::Ipv4RecvErr(error, _) => {
                    i32::try_from(error.ee_errno).ok().map(Errno::from_raw)
                }
                _ => None,
            })
        });
        let Some(errno) = errno else { continue };
        let len = got.bytes;
        let quoted = bytes[..len.min(QUOTED)].to_vec();
        let input = Input::Unreachable { socket: id, to, bytes: quoted, error: errno.into() };
        if told.send(input).await.is_err() {
            return;
        }
    }
}
