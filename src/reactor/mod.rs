//! What a thread waits by: epoll(7), timers, and a bell that other threads ring. A thread has its
//! own, made when it first waits, and what waits there stays on that thread.
//!
//! One thread runs the whole node, so there is nobody to share readiness with. async-io keeps a
//! second thread for that case; it took the wait over from ours, woke us for each event, and slept
//! ten times after it: 13 of an idle node's 15 wake-ups in ten seconds (docs/budgets.md).

mod source;
mod timer;

pub use source::{Async, Refused};
pub use timer::Timer;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use async_executor::{LocalExecutor, Task};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use source::Source;
use timer::Timers;

/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// The bell among the sources.
const BELL: u64 = u64::MAX;

thread_local! {
    static REACTOR: Reactor = Reactor::new().expect("a thread that waits needs two descriptors");
}

/// Begins a task. All are of one kind, because they are boxed: each kind more is up to a kilobyte of
/// program beside the task's own.
pub fn spawn<'a, T: 'a>(
    executor: &LocalExecutor<'a>,
    task: impl Future<Output = T> + 'a,
) -> Task<T> {
    let task: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(task);
    executor.spawn(task)
}

struct Reactor {
    epoll: Epoll,
    bell: Arc<Bell>,
    sources: RefCell<HashMap<u64, Rc<Source>>>,
    last: Cell<u64>,
    timers: RefCell<Timers>,
}

/// Wakes the thread's `block_on`, from this thread or another.
struct Bell {
    fd: EventFd,
    rung: AtomicBool,
    /// The thread is in the kernel: a flag alone would not wake it.
    waits: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if self.waits.swap(false, Ordering::SeqCst) {
            let _ = self.fd.write(1); // it fails only where it has been rung 2^64 times
        }
    }
}

/// Runs a future to its end, waiting in the kernel while nothing can go on.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    REACTOR.with(|reactor| {
        let waker = Waker::from(Arc::clone(&reactor.bell));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                // within another one: what rang meanwhile may have been for that
                reactor.bell.rung.store(true, Ordering::SeqCst);
                return value;
            }
            while !reactor.turn() {}
        }
    })
}

impl Reactor {
    fn new() -> nix::Result<Reactor> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let fd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let bell = Bell { fd, rung: AtomicBool::new(false), waits: AtomicBool::new(false) };
        Ok(Reactor {
            epoll,
            bell: Arc::new(bell),
            sources: RefCell::default(),
            last: Cell::new(0),
            timers: RefCell::default(),
        })
    }

    /// Takes what happened, waiting for it unless the bell was rung; whether it was.
    fn turn(&self) -> bool {
        self.bell.waits.store(true, Ordering::SeqCst);
        let rung = self.bell.rung.swap(false, Ordering::SeqCst);
        let timeout = match rung {
            true => EpollTimeout::ZERO,
            false => self.timers.borrow().first().map_or(EpollTimeout::NONE, until),
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        // interrupted, or nothing at all: then the caller looks again
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        self.bell.waits.store(false, Ordering::SeqCst);
        let mut wakers = Vec::new();
        {
            let sources = self.sources.borrow();
            for event in &events[..count] {
                match sources.get(&event.data()) {
                    Some(source) => source.happened(event.events(), &mut wakers),
                    None if event.data() == BELL => drop(self.bell.fd.read()),
                    None => {} // closed in this very turn
                }
            }
        }
        self.timers.borrow_mut().due(Instant::now(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        // both: the caller looks after all that rang till now, once
        self.bell.rung.swap(false, Ordering::SeqCst) || rung
    }

    /// Watches a descriptor.
    fn add(&self, fd: &impl AsFd) -> io::Result<Rc<Source>> {
        let key = self.last.get();
        self.last.set(key + 1);
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLONESHOT, key))?;
        let source = Rc::new(Source::new(key));
        self.sources.borrow_mut().insert(key, Rc::clone(&source));
        Ok(source)
    }

    fn arm(&self, fd: &impl AsFd, key: u64, flags: EpollFlags) -> nix::Result<()> {
        self.epoll.modify(fd, &mut EpollEvent::new(flags | EpollFlags::EPOLLONESHOT, key))
    }

    fn remove(&self, fd: &impl AsFd, key: u64) {
        self.sources.borrow_mut().remove(&key);
        match self.epoll.delete(fd) {
            Ok(()) | Err(Errno::ENOENT | Errno::EBADF | Errno::EPERM) => {}
            Err(error) => log::debug!("epoll: {error}"),
        }
    }
}

/// epoll(7) counts in milliseconds: rounded up, else the last of them were spun away.
fn until(at: Instant) -> EpollTimeout {
    let left = at.saturating_duration_since(Instant::now());
    let millis = left.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(millis.min(i32::MAX as u128) as u32).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests;
