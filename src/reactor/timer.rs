//! Waiting for a time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{REACTOR, Reactor};
use crate::model::Map;

/// When, and which of those that end then.
type Key = (Instant, u64);

/// Ends once, at its time, on the thread that waits for it; at most a millisecond later, if that
/// thread has nothing else to do.
#[derive(Debug)]
pub struct Timer {
    at: Option<Instant>,
    /// Its place among those that are waited for.
    key: Option<Key>,
}

impl Timer {
    /// Ends so long from now.
    pub fn after(time: Duration) -> Timer {
        Timer { at: Instant::now().checked_add(time), key: None }
    }

    /// Ends then.
    pub fn at(at: Instant) -> Timer {
        Timer { at: Some(at), key: None }
    }

    /// Never ends.
    pub fn never() -> Timer {
        Timer { at: None, key: None }
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            // what dropping a waker sets off may want the table; where the thread ends, there is none
            let _waker = REACTOR.try_with(|r| r.timers.borrow_mut().waiting.remove(&key));
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if at <= Instant::now() {
            self.at = None;
            self.forget();
            return Poll::Ready(());
        }
        let key = self.key;
        let wait = |reactor: &Reactor| reactor.timers.borrow_mut().wait(at, key, context.waker());
        let (key, _old) = REACTOR.with(wait);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Those that are waited for.
#[derive(Default)]
pub(super) struct Timers {
    waiting: Map<Key, Waker>,
    last: u64,
}

impl Timers {
    /// When the first of them ends.
    pub(super) fn first(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Adds those that have ended, and forgets them.
    pub(super) fn due(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while self.first().is_some_and(|at| at <= now) {
            wakers.extend(self.waiting.pop_first().map(|(_, waker)| waker));
        }
    }

    /// Its place, and who waited there before.
    fn wait(&mut self, at: Instant, key: Option<Key>, waker: &Waker) -> (Key, Option<Waker>) {
        let key = key.unwrap_or_else(|| {
            self.last += 1;
            (at, self.last)
        });
        (key, self.waiting.insert(key, waker.clone()))
    }
}
