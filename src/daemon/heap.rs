//! The heap of a small machine: glibc's allocator is told to hold little, and gives back after a
//! busy time what it holds free.
//!
//! Left to itself it makes an arena for each thread, keeps what a flood once took, and, once a
//! large block was freed, takes all up to that size from the heap, where what lies above them
//! keeps them from being given back. Measured: 110 kB more when idle, more than 1 MB more after a
//! flood, up to 850 kB more after the history was read (docs/budgets.md). And each thread keeps up to
//! seven freed blocks of every size up to 1 kB for itself, which no look through the heap gives
//! back: 60 kB more when idle, 250 after an hour of everything, on twice as many pages.

use std::ffi::OsString;

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
/// Free bytes at the heap's end that are not given back at once …
const FREE_BYTES: i32 = 64 * 1024;
/// … and in a busy time, until it is looked through: the pieces of a file, 60 kB each, come and go
/// there, and each page given back costs a fault when it is taken again.
const BUSY_FREE_BYTES: i32 = 512 * 1024;

/// Where glibc reads what it is told as a program begins, and never after (ld.so(8)) …
const TUNABLES: &str = "GLIBC_TUNABLES";
/// … and what: no blocks that a thread keeps for itself.
const NO_CACHE: &str = "glibc.malloc.tcache_count";

/// What has to stand in the environment for the heap's sake and does not yet: a name and a value,
/// with which the program is to be begun anew. None where that would not be heard.
#[allow(unsafe_code)]
pub(super) fn wants() -> Option<(&'static str, OsString)> {
    #[cfg(target_env = "gnu")]
    // SAFETY: getauxval(3) takes a number and gives one.
    let heard = unsafe { nix::libc::getauxval(nix::libc::AT_SECURE) } == 0;
    #[cfg(not(target_env = "gnu"))]
    let heard = false;
    heard.then(|| wanted(std::env::var_os(TUNABLES)))?.map(|value| (TUNABLES, value))
}

fn wanted(now: Option<OsString>) -> Option<OsString> {
    let now = now.unwrap_or_default();
    if now.to_string_lossy().contains(NO_CACHE) {
        return None; // ours, or somebody's who knows better
    }
    let mut value = now;
    if !value.is_empty() {
        value.push(":");
    }
    value.push(format!("{NO_CACHE}=0"));
    Some(value)
}

/// What the allocator may hold, for the process's life; before a thread is started.
#[allow(unsafe_code)]
pub(super) fn hold_little() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TOP_PAD, mallopt};
        // SAFETY: mallopt(3) takes numbers and changes how the allocator works from now on.
        unsafe {
            mallopt(M_ARENA_MAX, 1);
            mallopt(M_TOP_PAD, 16 * 1024);
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
    keep_free(FREE_BYTES);
}

#[allow(unsafe_code)]
fn keep_free(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

/// Counts what was done since the heap was last looked through.
#[derive(Default)]
pub(super) struct Heap {
    work: u32,
    trimmed: Millis,
}

impl Heap {
    /// Something came in.
    pub(super) fn input(&mut self) {
        self.works(1);
    }

    /// Somebody called.
    pub(super) fn call(&mut self) {
        self.works(CALL);
    }

    fn works(&mut self, more: u32) {
        let before = self.work;
        self.work = before.saturating_add(more);
        if before < BUSY && self.work >= BUSY {
            keep_free(BUSY_FREE_BYTES);
        }
    }

    /// Time passed: after a busy time what is free goes back. Whether it was looked through.
    pub(super) fn tick(&mut self, now: Millis) -> bool {
        if self.work < BUSY || now < self.trimmed + APART_MS {
            return false;
        }
        (self.work, self.trimmed) = (0, now);
        keep_free(FREE_BYTES);
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
    fn what_others_tell_the_allocator_stays_and_it_is_told_once() {
        let wanted = |now: &str| wanted(Some(now.into())).map(|v| v.into_string().unwrap());
        assert_eq!(super::wanted(None), Some("glibc.malloc.tcache_count=0".into()));
        assert_eq!(wanted(""), Some("glibc.malloc.tcache_count=0".into()));
        let both = "glibc.malloc.check=1:glibc.malloc.tcache_count=0";
        assert_eq!(wanted("glibc.malloc.check=1").as_deref(), Some(both));
        assert_eq!(wanted(both), None);
        assert_eq!(wanted("glibc.malloc.tcache_count=7"), None);
    }

    fn fill(heap: &mut Heap, n: u32) {
        (0..n).for_each(|_| heap.input());
    }

    #[test]
    fn the_heap_is_looked_through_after_a_busy_time_and_not_too_often() {
        let mut heap = Heap::default();
        fill(&mut heap, BUSY - 1);
        assert!(!heap.tick(APART_MS));
        heap.input();
        assert!(heap.tick(APART_MS));
        fill(&mut heap, BUSY);
        assert!(!heap.tick(2 * APART_MS - 1));
        assert!(heap.tick(2 * APART_MS));
        assert!(!heap.tick(3 * APART_MS));
    }

    #[test]
    fn one_call_is_a_busy_time_and_what_came_after_the_last_look_is_not_forgotten() {
        let mut heap = Heap::default();
        heap.call();
        assert!(heap.tick(APART_MS));
        // too soon: it is done later, with nothing more coming
        heap.call();
        assert!(!heap.tick(APART_MS + 1));
        assert!(heap.tick(2 * APART_MS));
        assert!(!heap.tick(3 * APART_MS));
    }
}
