//! TCP listeners and streams: thin drivers between sockets and the node's inputs.
//!
//! A stream has a reader, which reads once per `ReadMore`, and a writer, which takes writes in
//! order. So a fast sender waits in the kernel, not in our memory.

use std::io::{self, Read};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream,
};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use futures_lite::{AsyncWriteExt, FutureExt};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt,
    socket, sockopt,
};

use crate::model::limits::{CHUNK, CONNECT_MS, STALL_MS};
use crate::model::net::ACCEPTED;
use crate::model::{IoError, SocketId, StreamId, Trouble};
use crate::node::io::Input;
use crate::reactor::{Async, Refused, Timer, spawn};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// A connection on which nothing moves is asked after this, in seconds, whether its other end is
/// still there …
const KEEP_IDLE: u32 = 30;
/// … again so often …
const KEEP_INTERVAL: u32 = 10;
/// … and is over when so many were not answered.
const KEEP_COUNT: u32 = 3;
/// Out of descriptors, accepting waits this long.
const PAUSE: Duration = Duration::from_secs(1);

/// A listener; dropping it closes it.
pub struct Listener {
    _accepting: async_executor::Task<()>,
}

/// What a freshly accepted connection is handed to the loop as.
pub struct Accepted {
    /// Where.
    pub socket: SocketId,
    /// The connection.
    pub stream: Async<TcpStream>,
    /// From whom.
    pub from: SocketAddr,
    /// The listener is one of both families.
    pub both: bool,
}

impl Listener {
    /// Listens at one address, or on all (0.0.0.0).
    ///
    /// # Errors
    /// As `bind(2)` and `listen(2)` have them.
    pub fn open(
        executor: &LocalExecutor<'_>,
        id: SocketId,
        at: SocketAddrV4,
        accepted: Sender<Accepted>,
    ) -> Result<Listener, IoError> {
        Ok(Listener::start(executor, id, open(at).map_err(IoError::from)?, false, accepted))
    }

    /// Listens on all addresses of both families; of IPv4 alone where the host has no IPv6.
    ///
    /// # Errors
    /// As `bind(2)` and `listen(2)` have them.
    pub fn open_both(
        executor: &LocalExecutor<'_>,
        id: SocketId,
        port: u16,
        accepted: Sender<Accepted>,
    ) -> Result<Listener, IoError> {
        let listener = match open_both(port) {
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
                open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
            }
            opened => opened,
        };
        Ok(Listener::start(executor, id, listener.map_err(IoError::from)?, true, accepted))
    }

    fn start(
        executor: &LocalExecutor<'_>,
        id: SocketId,
        listener: Async<TcpListener>,
        both: bool,
        accepted: Sender<Accepted>,
    ) -> Listener {
        let task = spawn(executor, async move { accept(id, &listener, both, &accepted).await });
        Listener { _accepting: task }
    }
}

/// A host that vanishes without a word is noticed, by the kernel (tcp(7)).
fn keep_alive(stream: &Async<TcpStream>) {
    let stream = stream.get_ref();
    // a connection that cannot have it works all the same
    let _ = setsockopt(stream, sockopt::KeepAlive, &true)
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_IDLE))
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_INTERVAL))
        .and_then(|()| setsockopt(stream, sockopt::TcpKeepCount, &KEEP_COUNT));
}

fn open(at: SocketAddrV4) -> nix::Result<Async<TcpListener>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // a connection in TIME_WAIT does not hold the port; a live listener still does
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(at))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Async::new_nonblocking(TcpListener::from(fd))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}

fn open_both(port: u16) -> nix::Result<Async<TcpListener>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet6, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
    let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
    bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Async::new_nonblocking(TcpListener::from(fd))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}

async fn accept(
    id: SocketId,
    listener: &Async<TcpListener>,
    both: bool,
    accepted: &Sender<Accepted>,
) {
    let mut exhausted = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                exhausted = false;
                let from = plain(from);
                if accepted.send(Accepted { socket: id, stream, from, both }).await.is_err() {
                    return;
                }
            }
            Err(error) => match Refused::of(&error) {
                Refused::ForNow => {
                    if !std::mem::replace(&mut exhausted, true) {
                        let port = listener.get_ref().local_addr().map_or(0, |at| at.port());
                        log::warn!("port {port}: {error}: no new connections until it passes");
                    }
                    Timer::after(PAUSE).await;
                }
                Refused::This => futures_lite::future::yield_now().await,
                Refused::All => {
                    log::error!("a listener is broken and takes no more connections: {error}");
                    return;
                }
            },
        }
    }
}

/// An IPv4 address as an IPv6 listener has it is the same address; others keep their interface.
fn plain(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), from.port()),
        IpAddr::V6(_) => from,
    }
}

enum Job {
    Write(Vec<u8>),
    Finish,
}

/// A stream; dropping it stops reading, while what was written is still sent.
pub struct Stream {
    more: Sender<()>,
    jobs: Sender<Job>,
    _reader: async_executor::Task<()>,
}

impl Stream {
    /// Drives a connection that was accepted: it is read once, then upon [`Stream::read_more`], at
    /// most `most` bytes each time.
    pub fn accepted(
        executor: &LocalExecutor<'_>,
        id: StreamId,
        stream: Async<TcpStream>,
        most: usize,
        told: Sender<Input>,
    ) -> Stream {
        let (more, wanted) = async_channel::unbounded();
        let (jobs, todo) = async_channel::unbounded();
        keep_alive(&stream);
        let stream = Rc::new(stream);
        let writing = (Rc::clone(&stream), told.clone());
        spawn(executor, async move { write(id, &writing.0, &todo, &writing.1).await }).detach();
        let reader = spawn(executor, async move { read(id, &stream, most, &wanted, &told).await });
        Stream { more, jobs, _reader: reader }
    }

    /// Makes a connection and drives it, as an accepted one.
    pub fn connect(
        executor: &Rc<LocalExecutor<'static>>,
        id: StreamId,
        to: SocketAddr,
        most: usize,
        told: Sender<Input>,
    ) -> Stream {
        let (more, wanted) = async_channel::unbounded();
        let (jobs, todo) = async_channel::unbounded();
        let spawner = Rc::clone(executor);
        let reader = spawn(executor, async move {
            match within(CONNECT_MS, Async::<TcpStream>::connect(to)).await {
                Ok(stream) => {
                    keep_alive(&stream);
                    let stream = Rc::new(stream);
                    if told.send(Input::Connected(id)).await.is_err() {
                        return;
                    }
                    let writing = (Rc::clone(&stream), told.clone());
                    let writer = async move { write(id, &writing.0, &todo, &writing.1).await };
                    spawn(&spawner, writer).detach();
                    read(id, &stream, most, &wanted, &told).await;
                }
                Err(error) => {
                    let _ = told.send(Input::Closed(id, error)).await;
                }
            }
        });
        Stream { more, jobs, _reader: reader }
    }

    /// Reads once more.
    pub fn read_more(&self) {
        let _ = self.more.try_send(());
    }

    /// Writes after what was given before.
    pub fn write(&self, bytes: Vec<u8>) {
        let _ = self.jobs.try_send(Job::Write(bytes));
    }

    /// Sends FIN after all that was written.
    pub fn finish(&self) {
        let _ = self.jobs.try_send(Job::Finish);
    }
}

/// Whether the driver, not the node, named this stream.
pub fn name_accepted(n: u64) -> StreamId {
    StreamId(ACCEPTED | n)
}

async fn within<T>(ms: u64, io: impl Future<Output = io::Result<T>>) -> Result<T, IoError> {
    let late = async {
        Timer::after(Duration::from_millis(ms)).await;
        Err(io::Error::from_raw_os_error(nix::libc::ETIMEDOUT))
    };
    io.or(late).await.map_err(|e| IoError::from(&e))
}

/// How much is read at once: more while pieces fill it, less again when they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    now: usize,
    most: usize,
    /// The last piece filled it: there is more.
    filled: bool,
}

impl Room {
    fn new(most: usize) -> Room {
        Room { now: CHUNK, most, filled: false }
    }

    /// So many bytes came.
    fn after(self, came: usize) -> Room {
        let filled = came >= self.now;
        let now = match filled {
            true => (2 * self.now).min(self.most),
            false if came < self.now / 4 => (self.now / 2).max(CHUNK),
            false => self.now,
        };
        Room { now, filled, ..self }
    }
}

async fn read(
    id: StreamId,
    stream: &Async<TcpStream>,
    most: usize,
    wanted: &Receiver<()>,
    told: &Sender<Input>,
) {
    let mut room = Room::new(most);
    loop {
        let input = match piece(stream, room).await {
            Ok(bytes) if bytes.is_empty() => Input::End(id),
            Ok(bytes) => {
                room = room.after(bytes.len());
                Input::Bytes(id, bytes)
            }
            Err(error) => Input::Closed(id, IoError::from(&error)),
        };
        let last = !matches!(input, Input::Bytes(..));
        if told.send(input).await.is_err() || last || wanted.recv().await.is_err() {
            return;
        }
    }
}

/// What there is to be read, waited for. Memory for it is taken only once there is something, and
/// the kernel is not asked whether there is while there surely is.
async fn piece(stream: &Async<TcpStream>, room: Room) -> io::Result<Vec<u8>> {
    if !room.filled {
        stream.readable().await?;
    }
    loop {
        let mut bytes = vec![0; room.now];
        match stream.get_ref().read(&mut bytes) {
            Ok(n) => {
                bytes.truncate(n);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        stream.readable().await?;
    }
}

async fn write(
    id: StreamId,
    stream: &Async<TcpStream>,
    todo: &Receiver<Job>,
    told: &Sender<Input>,
) {
    let mut writer = stream;
    while let Ok(job) = todo.recv().await {
        match job {
            Job::Finish => {
                let _ = stream.get_ref().shutdown(std::net::Shutdown::Write);
            }
            Job::Write(bytes) => {
                let input = match within(STALL_MS, writer.write_all(&bytes)).await {
                    Ok(()) => Input::Wrote(id),
                    Err(error) if error.kind == Trouble::TimedOut => {
                        let text = format!("it takes nothing for {} seconds", STALL_MS / 1_000);
                        Input::Closed(id, IoError::new(Trouble::TimedOut, text))
                    }
                    Err(error) => Input::Closed(id, error),
                };
                if told.send(input).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_once_grows_while_pieces_fill_it_to_its_bound_and_shrinks_again() {
        let sizes = |most: usize, came: &[usize]| -> Vec<usize> {
            let next = |room: &mut Room, came: &usize| {
                *room = room.after((*came).min(room.now));
                Some(room.now)
            };
            came.iter().scan(Room::new(most), next).collect()
        };
        let all = usize::MAX;
        assert_eq!(sizes(4 * CHUNK, &[all; 4]), [2 * CHUNK, 4 * CHUNK, 4 * CHUNK, 4 * CHUNK]);
        assert_eq!(sizes(CHUNK, &[all, 1, all]), [CHUNK; 3]);
        assert_eq!(
            sizes(4 * CHUNK, &[all, all, CHUNK, CHUNK - 1, 1, 1]),
            [2 * CHUNK, 4 * CHUNK, 4 * CHUNK, 2 * CHUNK, CHUNK, CHUNK]
        );
    }
}
