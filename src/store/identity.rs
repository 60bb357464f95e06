//! The box's key: made once of the kernel's randomness, and its owner's alone.
//!
//! It is a file of its own, not a row of the history: a history that is damaged or cleared is
//! replaced, a key that is gone makes the box a stranger to everyone.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::dialect::link::noise::Secret;
use crate::model::{IoError, Trouble};

/// Its name in the state folder.
pub const FILE: &str = "link.key";
/// How the file, and a backup, begins.
const HEAD: &str = "klatsch-key-1 ";
const NEW: &str = "link.key.new";
/// The line, its end and some white space around it.
const MAX_BYTES: u64 = 256;

/// 32 bytes of the kernel's. On a fresh board this waits until there are enough (getrandom(2)):
/// a key that others can guess is worse than a late one.
pub fn random() -> Result<[u8; 32], IoError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        IoError::new(Trouble::Other, format!("the kernel gives no randomness: {e}"))
    })?;
    Ok(bytes)
}

/// The key of a state folder, made if there is none; of none one for this run alone.
///
/// # Errors
/// A key is there and cannot be read, or none can be made: it is never replaced by itself.
pub fn of(folder: Option<&Path>) -> Result<Secret, IoError> {
    let Some(folder) = folder else { return Ok(Secret::new(random()?)) };
    match read(folder) {
        Err(error) if error.kind == Trouble::Missing => {
            let secret = Secret::new(random()?);
            write(folder, &secret)?;
            Ok(secret)
        }
        outcome => outcome,
    }
}

/// The key that is kept in a state folder.
///
/// # Errors
/// There is none, or it cannot be read, or others may read it too.
pub fn read(folder: &Path) -> Result<Secret, IoError> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(FILE))?;
    let metadata = file.metadata()?;
    let bad = |text: &str| IoError::new(Trouble::Denied, text);
    if !metadata.is_file() {
        return Err(bad("is no file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(bad("others may read it, so it may be known: chmod 600 if it is not, or \
             remove it for a new one"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| bad("holds no key: put the backup there (klatsch identity import)"))
}

/// Keeps a key in a state folder, whole or not at all.
///
/// # Errors
/// The disk refuses.
pub fn write(folder: &Path, secret: &Secret) -> Result<(), IoError> {
    let new = folder.join(NEW);
    // A dead run may have left one; a link in its place is removed, not followed.
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(export(secret).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, folder.join(FILE))?;
    Ok(File::open(folder)?.sync_all()?)
}

/// The key as text, for a backup.
pub fn export(secret: &Secret) -> String {
    let digits: String = secret.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{HEAD}{digits}\n")
}

/// The key of a backup; none where it is none.
pub fn parse(text: &str) -> Option<Secret> {
    let digits = text.trim().strip_prefix(HEAD)?;
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = of(Some(dir.path())).unwrap();
        let again = of(Some(dir.path())).unwrap();
        assert_eq!(first.bytes(), again.bytes());
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_ne!(first.bytes(), of(None).unwrap().bytes());
    }

    #[test]
    fn a_key_that_cannot_be_read_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for text in ["", "klatsch-key-1 00", "klatsch-key-2 ", &"0".repeat(500)] {
            std::fs::write(&path, text).unwrap();
            mode(0o600);
            assert_eq!(of(Some(dir.path())).unwrap_err().kind, Trouble::Denied, "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        write(dir.path(), &Secret::new([1; 32])).unwrap();
        mode(0o644);
        assert_eq!(of(Some(dir.path())).unwrap_err().kind, Trouble::Denied);
    }

    /// In a thread whose calls of getrandom(2) without a flag fail as no kernel has them fail, and
    /// with one succeed: whoever asks so as not to wait, or reads /dev/urandom instead, gets bytes.
    #[allow(unsafe_code)]
    fn where_only_waiting_fails<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        use nix::libc::{self, sock_filter, sock_fprog};
        let line = |code, jt, jf, k| sock_filter { code, jt, jf, k };
        // seccomp(2), struct seccomp_data: the number at 0, the third argument's low half at 32
        let (load, equal, give) = (0x20, 0x15, 0x06);
        let mut filter = [
            line(load, 0, 0, 0),
            line(equal, 0, 3, libc::SYS_getrandom as u32),
            line(load, 0, 0, if cfg!(target_endian = "big") { 36 } else { 32 }),
            line(equal, 0, 1, 0),
            line(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EXDEV as u32),
            line(give, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let run = || {
            let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // SAFETY: the program is whole and outlives the calls; it holds for this thread only.
            let set = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                    | libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    )
            };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
            act()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn a_key_is_made_only_of_what_the_kernel_gives_who_waits_for_it() {
        let error = where_only_waiting_fails(random).unwrap_err();
        assert!(error.text.starts_with("the kernel gives no randomness"), "{error:?}");
        let guest = where_only_waiting_fails(crate::web::guests::random);
        assert!(guest.is_err(), "nor what a guest is known by");
        assert!(random().is_ok() && crate::web::guests::random().is_ok());
    }

    #[test]
    fn a_backup_reads_back_and_nothing_else_does() {
        let secret = Secret::new([0xa5; 32]);
        assert_eq!(parse(&export(&secret)).unwrap().bytes(), secret.bytes());
        assert!(parse("").is_none() && parse(&export(&secret)[1..]).is_none());
        assert!(parse(&format!("{HEAD}{}", "g".repeat(64))).is_none());
    }
}
