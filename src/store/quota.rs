//! How much room received files take, and which of them go first. Only files under names that
//! the node gives are counted and removed: the folder may be one that people use too.

use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::Folder;
use super::link::size_of;
use crate::config::{Files as Rules, WhenFull};
use crate::model::limits::FILE_EXTENSION;
use crate::model::{IoError, Trouble};

/// When room is made, this part of the quota is made free, so that the folder is not read again
/// for the next piece.
const SPARE: u64 = 32;

/// So many files and folders count for their bytes alone; each more for [`SMALL`] beside, so that
/// empty ones cannot use up what a disk has for names.
pub(super) const FREE_FILES: u64 = 1_024;
/// What a file takes on a disk at least, in bytes.
pub(super) const SMALL: u64 = 4_096;

/// What so many bytes in so many files and folders count for.
pub(super) fn cost(bytes: u64, files: u64) -> u64 {
    bytes.saturating_add(files.saturating_sub(FREE_FILES).saturating_mul(SMALL))
}

/// The folder's account.
#[derive(Debug)]
pub(super) struct Quota {
    rules: Rules,
    /// What the finished files count for, with how many they are; none: not counted yet.
    used: Option<(u64, u64)>,
    /// Paths of files that were removed, until they are asked for.
    removed: Vec<String>,
}

impl Quota {
    pub(super) fn new(rules: Rules) -> Quota {
        Quota { rules, used: None, removed: Vec::new() }
    }

    /// Other bounds, or another folder: it is counted again.
    pub(super) fn set(&mut self, rules: Rules) {
        self.rules = rules;
        self.used = None;
    }

    /// Paths of the files that were removed since it was last asked.
    pub(super) fn removed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.removed)
    }

    /// A file of so many bytes came to stay.
    pub(super) fn add(&mut self, bytes: u64) {
        self.used = self.used.map(|(used, n)| (used + bytes, n + 1));
    }

    /// A file went, or a folder came: it is counted again.
    pub(super) fn recount(&mut self) {
        self.used = None;
    }

    /// Removes a file or a folder that was received whole, wherever it lies.
    pub(super) fn remove(&mut self, path: String) {
        let removed = match std::fs::remove_file(&path) {
            // never through a link within it: it goes by descriptors
            Err(error) if error.kind() == ErrorKind::IsADirectory => std::fs::remove_dir_all(&path),
            other => other,
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("{path} cannot be removed: {error}");
            }
            // somebody else may have removed it
            _ => self.removed.push(path),
        }
        self.recount();
    }

    /// Whether `wanted` bytes have room beside the finished files, as far as these are counted.
    pub(super) fn fits(&self, wanted: u64) -> bool {
        self.used.is_some_and(|(bytes, n)| cost(bytes, n) + wanted <= self.rules.quota)
    }

    /// Sees to it that `wanted` bytes (those of unfinished files among them) have room beside the
    /// finished files; the error says why they have not.
    pub(super) fn make_room(&mut self, folder: &Folder, wanted: u64) -> Result<(), IoError> {
        if self.fits(wanted) {
            return Ok(());
        }
        // Counted again: people remove files too.
        self.used = Some(count(&list(&folder.path)));
        if self.fits(wanted) {
            return Ok(());
        }
        let quota = self.rules.quota;
        if wanted > quota || self.rules.when_full == WhenFull::Refuse {
            let text = format!("received files may take {quota} bytes (files.quota) and have them");
            return Err(IoError::new(Trouble::Full, text));
        }
        let goal = (quota - wanted).saturating_sub(quota / SPARE);
        self.remove_oldest(folder, goal);
        if self.fits(wanted) {
            return Ok(());
        }
        Err(IoError::new(Trouble::Denied, "older received files cannot be removed to make room"))
    }

    fn remove_oldest(&mut self, folder: &Folder, goal: u64) {
        let mut files = list(&folder.path);
        files.sort_by(|a, b| (a.changed, &a.name).cmp(&(b.changed, &b.name)));
        let (mut bytes, mut n) = count(&files);
        for file in files {
            if cost(bytes, n) <= goal {
                break;
            }
            if remove_ours(folder, &file.name).is_ok() {
                (bytes, n) = (bytes - file.bytes, n - file.files);
                self.removed.push(folder.path.join(file.name).display().to_string());
            }
        }
        self.used = Some((bytes, n));
    }
}

fn count(all: &[Kept]) -> (u64, u64) {
    all.iter().fold((0, 0), |(bytes, n), file| (bytes + file.bytes, n + file.files))
}

/// Removes a received file or folder.
pub(super) fn remove_ours(folder: &Folder, name: &str) -> std::io::Result<()> {
    match unlinkat(&folder.fd, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(()),
        // never through a link within it: remove_dir_all(3) of the library goes by descriptors
        Err(Errno::EISDIR) => std::fs::remove_dir_all(folder.path.join(name)),
        Err(errno) => Err(errno.into()),
    }
}

struct Kept {
    name: String,
    bytes: u64,
    /// One, or all files and folders in it.
    files: u64,
    changed: SystemTime,
}

/// The received files in a folder; what cannot be read is not counted.
fn list(folder: &Path) -> Vec<Kept> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok().filter(|name| is_ours(name))?;
            let metadata = entry.metadata().ok()?;
            let fits = metadata.is_file() || (metadata.is_dir() && name.ends_with(".folder"));
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let (bytes, files) = size_of(&entry.path(), &metadata, 0);
            fits.then_some(Kept { name, bytes, files, changed })
        })
        .collect()
}

/// Whether a name is one that the node gave: who, when in 14 digits, a number in hexadecimal,
/// perhaps another number: `anna-20261121143000-1f-2.png`. What came over the link keeps its
/// extension, see [`FILE_EXTENSION`].
pub(super) fn is_ours(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let parts: Vec<&str> = stem.rsplitn(4, '-').collect();
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let when = |part: &str| part.len() == 14 && digits(part);
    let named = match parts.as_slice() {
        [again, n, at, _who] if when(at) => hex(n) && digits(again),
        [n, at, ..] if when(at) => hex(n) && parts.len() > 2,
        _ => false,
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    named && (1..=FILE_EXTENSION).contains(&extension.len()) && extension.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beyond_a_thousand_count_though_they_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("anna-20261121143000-1.folder");
        std::fs::create_dir(&folder).unwrap();
        for n in 0..FREE_FILES - 1 {
            std::fs::write(folder.join(n.to_string()), "").unwrap();
        }
        assert_eq!(count(&list(dir.path())), (0, FREE_FILES));
        assert_eq!(cost(0, FREE_FILES), 0);
        std::fs::write(folder.join("one more"), "").unwrap();
        let (bytes, files) = count(&list(dir.path()));
        assert_eq!(cost(bytes, files), SMALL);
    }

    #[test]
    fn only_names_that_the_node_gives_are_its_own() {
        for name in [
            "anna-20261121143000-1f.png",
            "anna-2-20261121143000-1.jpg",
            "image-20261121143000-ab-12.bin",
            "a-b-c-20261121143000-1-2.heic",
            "anna-20261121143000-1f.pdf",
            "anna-20261121143000-1f.folder",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "holiday.png",
            "anna-20261121143000-1f.PDF",
            "anna-20261121143000-1f.",
            "anna-20261121143000-1f.extension",
            "anna-2026112114300-1f.png",
            "20261121143000-1f.png",
            "anna-20261121143000.png",
            "anna-20261121143000-xyz.png",
            "anna-20261121143000-1-2-3.png",
            ".klatsch-0123456789abcdef.part",
            "",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
