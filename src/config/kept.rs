//! `state.toml`: what was set at run time, replaced whole so that a power cut leaves the old one
//! or the new one, never half of either.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::{Note, line_of};
use super::{Kept, layers};
use crate::model::{IoError, Trouble};

/// Its name in the state folder.
pub const FILE: &str = "state.toml";
/// Where a damaged one is set aside.
pub const BAD: &str = "state.toml.bad";
/// Its largest size, in bytes: 1,024 blocked handles and a form for each of 10,240 peers fit.
pub const MAX_STATE: u64 = 2 * 1024 * 1024;

const NEW: &str = "state.toml.new";

/// Reads what is kept in a state folder. Nothing there is nothing kept; a damaged file is set
/// aside and said.
pub fn read(folder: &Path) -> (Kept, Option<Note>) {
    let path = folder.join(FILE);
    let said =
        |line, text| (Kept::default(), Some(Note { file: path.clone(), line, key: None, text }));
    let bytes = match layers::bytes(&path, MAX_STATE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == Trouble::Missing => return (Kept::default(), None),
        Err(error) => return said(None, format!("not used: {error}")),
    };
    let (line, why) = if bytes.len() as u64 > MAX_STATE {
        (None, format!("more than {MAX_STATE} bytes"))
    } else {
        match parse(&bytes) {
            Ok(kept) => return (kept, None),
            Err(damage) => damage,
        }
    };
    let aside = match std::fs::rename(&path, folder.join(BAD)) {
        Ok(()) => format!("set aside as {BAD}"),
        Err(e) => format!("not used, and not set aside: {}", IoError::from(e)),
    };
    said(line, format!("damaged ({why}): {aside}"))
}

/// What the file's bytes say.
///
/// # Errors
/// The line where they are damaged, from 1, and how.
pub fn parse(bytes: &[u8]) -> Result<Kept, (Option<usize>, String)> {
    let text = std::str::from_utf8(bytes).map_err(|_| (None, "not UTF-8".to_owned()))?;
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| line_of(text, &span));
        (line, e.message().lines().next().unwrap_or_default().to_owned())
    })
}

/// Replaces what is kept in a state folder.
pub fn write(folder: &Path, kept: &Kept) -> Result<(), IoError> {
    write_for(folder, kept, None)
}

/// The same, for the user and group by their numbers: root writes what the daemon is to read.
pub fn write_for(folder: &Path, kept: &Kept, owner: Option<(u32, u32)>) -> Result<(), IoError> {
    let text = toml::to_string(kept).map_err(|e| IoError::new(Trouble::Other, e.to_string()))?;
    if text.len() as u64 > MAX_STATE {
        let why = format!("what is to be kept has more than {MAX_STATE} bytes");
        return Err(IoError::new(Trouble::TooLarge, why));
    }
    let new = folder.join(NEW);
    // A dead run may have left one; a link in its place is removed, not followed.
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            if let Some((user, group)) = owner {
                std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
            }
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, folder.join(FILE)));
    if let Err(error) = written {
        // Best effort: what is left would only be removed by the next write.
        let _ = std::fs::remove_file(&new);
        return Err(error.into());
    }
    Ok(File::open(folder)?.sync_all()?)
}

/// Keeps what changes, and says once that it cannot.
#[derive(Debug)]
pub struct Keeper {
    folder: Option<PathBuf>,
    said: bool,
}

impl Keeper {
    /// For a state folder; none where there is none: then nothing is kept, silently.
    pub fn new(folder: Option<PathBuf>) -> Keeper {
        Keeper { folder, said: false }
    }

    /// Keeps it. The error comes once until it works again: the node goes on from memory.
    pub fn keep(&mut self, kept: &Kept) -> Result<(), IoError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        match write(folder, kept) {
            Ok(()) => self.said = false,
            Err(error) if !std::mem::replace(&mut self.said, true) => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn some() -> Kept {
        Kept {
            away: Some("at lunch".into()),
            set: [("slcp.announce".into(), "30".into()), ("handle".into(), "ännä".into())].into(),
            blocked: vec!["mallory".into()],
            forms: [("tuna".into(), "tuna".into())].into(),
        }
    }

    #[test]
    fn it_is_read_back_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), (Kept::default(), None));
        write(dir.path(), &Kept::default()).unwrap();
        write(dir.path(), &some()).unwrap();
        assert_eq!(read(dir.path()), (some(), None));
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_one_is_set_aside_with_a_line() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [&b"set = 3"[..], b"[set]\nx = ", b"\xff\xfe", b"[set]\nhandle = 3\n"] {
            std::fs::write(dir.path().join(FILE), bad).unwrap();
            let (kept, note) = read(dir.path());
            assert_eq!(kept, Kept::default());
            assert!(note.unwrap().text.ends_with("set aside as state.toml.bad"));
            assert_eq!(std::fs::read(dir.path().join(BAD)).unwrap(), bad);
            assert!(!dir.path().join(FILE).exists());
        }
    }

    #[test]
    fn one_byte_past_the_limit_is_neither_written_nor_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::default();
        kept.blocked.push("x".repeat(MAX_STATE as usize));
        assert_eq!(write(dir.path(), &kept).unwrap_err().kind, Trouble::TooLarge);
        let mut text = vec![b'#'; MAX_STATE as usize];
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        assert_eq!(read(dir.path()), (Kept::default(), None));
        text.push(b'#');
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        assert!(read(dir.path()).1.is_some());
    }

    #[test]
    fn a_leftover_or_a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join(NEW)).unwrap();
        write(dir.path(), &some()).unwrap();
        assert_eq!(std::fs::read_to_string(other).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(Some(dir.path().join("gone")));
        assert_eq!(keeper.keep(&some()).unwrap_err().kind, Trouble::Missing);
        assert_eq!(keeper.keep(&some()), Ok(()));
        std::fs::create_dir(dir.path().join("gone")).unwrap();
        assert_eq!(keeper.keep(&some()), Ok(()));
        std::fs::remove_dir_all(dir.path().join("gone")).unwrap();
        assert!(keeper.keep(&some()).is_err());
        assert_eq!(Keeper::new(None).keep(&some()), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[set\\]|forms|blocked|=|\"a\"|\n|ä|\\PC){0,20}") {
            if let Err((Some(line), _)) = parse(text.as_bytes()) {
                proptest::prop_assert!(line <= text.lines().count() + 1);
            }
        }
    }
}
