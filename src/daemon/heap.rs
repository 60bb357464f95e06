//! The heap of a small machine: glibc's allocator is told to hold little, and gives back after a
//! busy time what it holds free.
//!
//! Left to itself it makes an arena for each thread, keeps what a flood once took, and, once a
//! large block was freed, takes all up to that size from the heap, where what lies above them
//! keeps them from being given back. Measured: 110 kB more when idle, more than 1 MB more after a
//! flood, up to 850 kB more after the history was read (docs/budgets.md).

use crate::model::Millis;

/// So much work is a busy time: an input counts 1 …
const BUSY: u32 = 64;
/// … a call all of it, for its answer may be a page of the history: a quarter of a megabyte, and
/// the same again as JSON …
const CALL: u32 = BUSY;
/// … after which the heap is looked through, at most so often, in milliseconds. It takes some
/// 0.1 ms for each megabyte.
const APART_MS: Millis = 10_000;
/// Blocks from this size on are mapped each by itself, and are given back when they are freed.
/// glibc's own beginning; said, so that it does not rise with the first large block (mallopt(3)).
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: nix::libc::c_int = 128 * 1024;

/// Free bytes at the heap's end that stay with us until it is looked through: while a file passes,
/// its pieces of 60 kB come and go there, and each new page costs a fault.
#[cfg(target_env = "gnu")]
const FREE_BYTES: nix::libc::c_int = 512 * 1024;

/// What the allocator may hold, for the process's life; before a thread is started.
#[allow(unsafe_code)]
pub(super) fn hold_little() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TOP_PAD, M_TRIM_THRESHOLD, mallopt};
        // SAFETY: mallopt(3) takes numbers and changes how the allocator works from now on.
        unsafe {
            mallopt(M_ARENA_MAX, 1);
            mallopt(M_TRIM_THRESHOLD, FREE_BYTES);
            mallopt(M_TOP_PAD, 16 * 1024);
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
}

/// Counts what was done since the heap was last looked through.
pub(super) struct Heap {
    work: u32,
    trimmed: Millis,
}

impl Default for Heap {
    /// To be looked through first: what the start needed goes back.
    fn default() -> Heap {
        Heap { work: BUSY, trimmed: 0 }
    }
}

impl Heap {
    /// Something came in.
    pub(super) fn input(&mut self) {
        self.work = self.work.saturating_add(1);
    }

    /// Somebody called.
    pub(super) fn call(&mut self) {
        self.work = self.work.saturating_add(CALL);
    }

    /// Time passed: after a busy time what is free goes back. Whether it was looked through.
    pub(super) fn tick(&mut self, now: Millis) -> bool {
        if self.work < BUSY || now < self.trimmed + APART_MS {
            return false;
        }
        (self.work, self.trimmed) = (0, now);
        trim();
        true
    }
}

#[allow(unsafe_code)]
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no pointer and leaves all that is in use where it is.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was looked through once, after the start.
    fn started() -> Heap {
        let mut heap = Heap::default();
        assert!(heap.tick(APART_MS));
        heap
    }

    fn fill(heap: &mut Heap, n: u32) {
        (0..n).for_each(|_| heap.input());
    }

    #[test]
    fn the_heap_is_looked_through_after_a_busy_time_and_not_too_often() {
        let mut heap = started();
        fill(&mut heap, BUSY - 1);
        assert!(!heap.tick(2 * APART_MS));
        heap.input();
        assert!(heap.tick(2 * APART_MS));
        fill(&mut heap, BUSY);
        assert!(!heap.tick(3 * APART_MS - 1));
        assert!(heap.tick(3 * APART_MS));
        assert!(!heap.tick(4 * APART_MS));
    }

    #[test]
    fn one_call_is_a_busy_time_and_what_came_after_the_last_look_is_not_forgotten() {
        let mut heap = started();
        heap.call();
        assert!(heap.tick(2 * APART_MS));
        // too soon: it is done later, with nothing more coming
        heap.call();
        assert!(!heap.tick(2 * APART_MS + 1));
        assert!(heap.tick(3 * APART_MS));
        assert!(!heap.tick(4 * APART_MS));
    }
}
