//! Descriptors that come with calls: which are not taken from everyone.
//!
//! Whoever reads from a file system that a program or another machine serves waits as long as it
//! pleases that one, and the storage thread with it. Where a file lies is found out without asking
//! that file system anything: fstat(2) and fstatfs(2) would wait as well.

use std::ffi::c_int;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Bytes that are read of the list of mounts.
const MAX_MOUNTS: u64 = 1024 * 1024;

/// The kind of file system a file lies on, if reading there may last for ever; none too where it
/// is one that this process has no mount of: the kernel refuses its user's own FUSE mounts to
/// others by itself.
pub(super) fn keeps_readers_waiting(file: BorrowedFd<'_>) -> Option<String> {
    let device = device(file)?;
    let mut mounts = String::new();
    let list = File::open("/proc/self/mountinfo").ok()?;
    list.take(MAX_MOUNTS).read_to_string(&mut mounts).ok()?;
    kind(&mounts, device).filter(|kind| may_wait(kind)).map(str::to_owned)
}

fn may_wait(kind: &str) -> bool {
    // fuseblk is of a disk, and only root's to mount
    kind == "fuse"
        || kind.starts_with("fuse.")
        || matches!(kind, "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "afs")
}

/// The kind of a device's mount (proc_pid_mountinfo(5): the third field, and the first after `-`).
fn kind(mounts: &str, (major, minor): (u32, u32)) -> Option<&str> {
    let wanted = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let is_it = mount.split(' ').nth(2) == Some(&*wanted);
        system.split(' ').next().filter(|_| is_it)
    })
}

/// The device of an open file, as far as the kernel knows it without asking (statx(2)).
#[allow(unsafe_code)]
fn device(file: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let flags: c_int = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an all-zero statx is valid, the path ends with its NUL, and both outlive the call.
    unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let done = libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, 0, &raw mut found);
        (done == 0).then_some((found.stx_dev_major, found.stx_dev_minor))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_system_that_a_program_or_another_machine_serves_is_known_by_its_mount() {
        let mounts = "\
            29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n\
            91 29 0:51 / /run/user/1000/doc rw shared:9 - fuse.portal portal rw,allow_other\n\
            92 29 0:52 / /mnt/a\\040b rw - nfs4 nas:/x rw\n\
            93 29 8:17 / /media/stick rw - fuseblk /dev/sdb1 rw\n\
            94 29 0:5 / /x rw -\n";
        let kept = |device| kind(mounts, device).filter(|kind| may_wait(kind));
        assert_eq!(kept((0, 51)), Some("fuse.portal"));
        assert_eq!(kept((0, 52)), Some("nfs4"));
        for fine in [(259, 2), (8, 17), (0, 5), (0, 99)] {
            assert_eq!(kept(fine), None, "{fine:?}");
        }
    }

    #[test]
    fn a_file_of_this_machine_has_a_device_and_is_taken() {
        let file = tempfile::tempfile().unwrap();
        let found = device(file.as_fd()).unwrap();
        let expected = std::os::unix::fs::MetadataExt::dev(&file.metadata().unwrap());
        let expected = (libc::major(expected), libc::minor(expected));
        assert_eq!(found, (expected.0 as u32, expected.1 as u32));
        assert_eq!(keeps_readers_waiting(file.as_fd()), None);
    }
}
