//! Waiting for a descriptor.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::resource::{Resource, getrlimit, rlim_t};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, socket,
};

use super::REACTOR;

/// Something with a descriptor, whose readiness can be waited for on the thread that made it.
/// Several tasks may wait for one.
#[derive(Debug)]
pub struct Async<T: AsFd> {
    source: Rc<Source>,
    io: T,
}

/// Which readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Who waits for a descriptor, for each [`Way`].
#[derive(Debug)]
pub(super) struct Source {
    key: u64,
    /// What the kernel was asked for and has not said yet.
    armed: Cell<EpollFlags>,
    waiting: [RefCell<Vec<Waker>>; 2],
    /// How often it was ready.
    ready: [Cell<u64>; 2],
}

const READY_ALL: EpollFlags = EpollFlags::EPOLLHUP.union(EpollFlags::EPOLLERR);

impl Way {
    fn flag(self) -> EpollFlags {
        match self {
            Way::Read => EpollFlags::EPOLLIN,
            Way::Write => EpollFlags::EPOLLOUT,
        }
    }
}

impl Source {
    pub(super) fn new(key: u64) -> Source {
        Source {
            key,
            armed: Cell::new(EpollFlags::empty()),
            waiting: Default::default(),
            ready: Default::default(),
        }
    }

    /// The kernel said this of it, and says nothing more until it is asked again. Whoever waits
    /// looks anew, and asks again where it was not what he waits for.
    pub(super) fn happened(&self, flags: EpollFlags, wakers: &mut Vec<Waker>) {
        self.armed.set(EpollFlags::empty());
        for way in [Way::Read, Way::Write] {
            if flags.intersects(way.flag() | READY_ALL) {
                let ready = &self.ready[way as usize];
                ready.set(ready.get() + 1);
            }
            wakers.append(&mut self.waiting[way as usize].borrow_mut());
        }
    }
}

impl<T: AsFd> Async<T> {
    /// It does not block from now on.
    ///
    /// # Errors
    /// `EPERM` for what is always ready, such as a file; none left (epoll_ctl(2)).
    pub fn new(io: T) -> io::Result<Async<T>> {
        let flags = OFlag::from_bits_retain(fcntl(io.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(io.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Async::new_nonblocking(io)
    }

    /// It does not block, or is only used when it is ready.
    ///
    /// # Errors
    /// As [`Async::new`].
    pub fn new_nonblocking(io: T) -> io::Result<Async<T>> {
        Ok(Async { source: REACTOR.with(|reactor| reactor.add(&io))?, io })
    }

    /// What it is.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Waits until reading would not block, be it for an error or the end.
    ///
    /// # Errors
    /// The kernel's (epoll_ctl(2)).
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Way::Read).await
    }

    /// Waits until writing would not block.
    ///
    /// # Errors
    /// The kernel's (epoll_ctl(2)).
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Way::Write).await
    }

    async fn ready(&self, way: Way) -> io::Result<()> {
        let ready = &self.source.ready[way as usize];
        let before = ready.get();
        std::future::poll_fn(|context| match ready.get() == before {
            true => self.wait(way, context),
            false => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Asks to be woken when it may be ready; only an error is.
    fn wait<V>(&self, way: Way, context: &Context<'_>) -> Poll<io::Result<V>> {
        let mut waiting = self.source.waiting[way as usize].borrow_mut();
        if !waiting.iter().any(|other| other.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        let armed = self.source.armed.get();
        let wanted = armed | way.flag();
        if wanted != armed {
            if let Err(error) = REACTOR.with(|r| r.arm(&self.io, self.source.key, wanted)) {
                return Poll::Ready(Err(error.into()));
            }
            self.source.armed.set(wanted);
        }
        Poll::Pending
    }

    /// Does something as soon as it does not block.
    fn poll<V>(
        &self,
        way: Way,
        context: &Context<'_>,
        mut act: impl FnMut(&T) -> io::Result<V>,
    ) -> Poll<io::Result<V>> {
        loop {
            match act(&self.io) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return self.wait(way, context),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    async fn when<V>(&self, way: Way, act: impl Fn(&T) -> io::Result<V>) -> io::Result<V> {
        std::future::poll_fn(|context| self.poll(way, context, &act)).await
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        // a copy of the descriptor may live on: the kernel would go on watching
        let _ = REACTOR.try_with(|reactor| reactor.remove(&self.io, self.source.key));
    }
}

/// What an error of `accept` means for whoever goes on accepting.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// That connection failed, not the listener.
    This,
    /// Descriptors, memory or what epoll may watch are used up, or what nobody thought of: it may
    /// pass, but not at once.
    ForNow,
    /// It will never accept another.
    All,
}

impl Refused {
    /// By accept(2), and epoll_ctl(2) for what was accepted.
    pub fn of(error: &io::Error) -> Refused {
        use Errno as E;
        match error.raw_os_error().map(Errno::from_raw) {
            Some(E::ECONNABORTED | E::EINTR | E::EAGAIN | E::EPERM | E::EPROTO) => Refused::This,
            Some(E::ENETDOWN | E::ENETUNREACH | E::EHOSTDOWN | E::EHOSTUNREACH) => Refused::This,
            Some(E::EBADF | E::EINVAL | E::ENOTSOCK) => Refused::All,
            _ => Refused::ForNow,
        }
    }
}

/// Descriptors that connections over TCP leave to the control socket's callers, to files, and to
/// what this node connects to itself: strangers may make connections, and hold them.
const SPARED: rlim_t = 16;

impl Async<TcpListener> {
    /// The next connection, and who made it. While no more than 16 descriptors are left it stays
    /// where it waits.
    ///
    /// # Errors
    /// As accept(2), `EMFILE` before the last is used up.
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        self.accept_below(limit.saturating_sub(SPARED)).await
    }

    /// As [`Self::accept`], with a descriptor below this one.
    pub(super) async fn accept_below(
        &self,
        end: rlim_t,
    ) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        // while nobody comes nobody is kept waiting, which would be said
        self.readable().await?;
        let accept = |listener: &TcpListener| {
            // the kernel gives the lowest that is free (dup(2), accept(2))
            let next = listener.try_clone()?;
            if rlim_t::try_from(next.as_raw_fd()).is_ok_and(|next| next >= end) {
                return Err(Errno::EMFILE.into());
            }
            drop(next);
            listener.accept()
        };
        let (stream, from) = self.when(Way::Read, accept).await?;
        Ok((Async::new(stream)?, from))
    }
}

impl Async<UnixListener> {
    /// The next connection.
    ///
    /// # Errors
    /// As accept(2).
    pub async fn accept(&self) -> io::Result<Async<UnixStream>> {
        let (stream, _) = self.when(Way::Read, UnixListener::accept).await?;
        Async::new(stream)
    }
}

impl Async<TcpStream> {
    /// Connects.
    ///
    /// # Errors
    /// As connect(2).
    pub async fn connect(to: SocketAddr) -> io::Result<Async<TcpStream>> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let stream: Async<TcpStream> = begin(family, &SockaddrStorage::from(to))?;
        loop {
            stream.writable().await?;
            if let Some(error) = stream.io.take_error()? {
                return Err(error);
            }
            match stream.io.peer_addr() {
                Err(e) if e.kind() == io::ErrorKind::NotConnected => {}
                _ => return Ok(stream),
            }
        }
    }
}

impl Async<UnixStream> {
    /// Connects, at once or not at all.
    ///
    /// # Errors
    /// As connect(2): `EAGAIN` where too many wait to be accepted.
    pub fn connect(to: &Path) -> io::Result<Async<UnixStream>> {
        begin(AddressFamily::Unix, &UnixAddr::new(to)?)
    }
}

fn begin<T: AsFd + From<OwnedFd>>(
    family: AddressFamily,
    to: &dyn SockaddrLike,
) -> io::Result<Async<T>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), to) {
        Ok(()) | Err(Errno::EINPROGRESS) => Async::new_nonblocking(T::from(fd)),
        Err(error) => Err(error.into()),
    }
}

impl<T: AsFd> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(Way::Read, context, |mut io| io.read(buffer))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(Way::Write, context, |mut io| io.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(Way::Write, context, |mut io| io.flush())
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
