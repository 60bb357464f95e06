//! The heap of a small machine: glibc's allocator is told to hold little, and gives back after a
//! busy time what it holds free.
//!
//! Left to itself it makes an arena for each thread, and keeps what a flood once took: measured
//! 110 kB more when idle, and more than 1 MB more after a flood.

use crate::model::Millis;

/// So many inputs are a busy time …
const BUSY: u32 = 2_000;
/// … after which the heap is looked through, at most so often, in milliseconds.
const APART_MS: Millis = 10_000;

/// What the allocator may hold, for the process's life; before a thread is started.
#[allow(unsafe_code)]
pub(super) fn hold_little() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc::{M_ARENA_MAX, M_TOP_PAD, M_TRIM_THRESHOLD, mallopt};
        // SAFETY: mallopt(3) takes numbers and changes how the allocator works from now on.
        unsafe {
            mallopt(M_ARENA_MAX, 1);
            mallopt(M_TRIM_THRESHOLD, 64 * 1024);
            mallopt(M_TOP_PAD, 16 * 1024);
        }
    }
}

/// Counts what came in since the heap was last looked through.
#[derive(Default)]
pub(super) struct Heap {
    inputs: u32,
    trimmed: Millis,
}

impl Heap {
    /// Something came in.
    pub(super) fn input(&mut self) {
        self.inputs = self.inputs.saturating_add(1);
    }

    /// Time passed: after a busy time what is free goes back. Whether it was looked through.
    pub(super) fn tick(&mut self, now: Millis) -> bool {
        if self.inputs < BUSY || now < self.trimmed + APART_MS {
            return false;
        }
        (self.inputs, self.trimmed) = (0, now);
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

    #[test]
    fn the_heap_is_looked_through_after_a_busy_time_and_not_too_often() {
        let mut heap = Heap::default();
        let fill = |heap: &mut Heap, n| (0..n).for_each(|_| heap.input());
        fill(&mut heap, BUSY - 1);
        assert!(!heap.tick(APART_MS));
        heap.input();
        assert!(heap.tick(APART_MS));
        fill(&mut heap, BUSY);
        assert!(!heap.tick(2 * APART_MS - 1));
        assert!(heap.tick(2 * APART_MS));
        assert!(!heap.tick(3 * APART_MS));
    }
}
