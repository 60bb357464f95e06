//! How much room received files take, and which of them go first. Only files under names that
//! the node gives are counted and removed: the folder may be one that people use too.

use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::files::Folder;
use super::link::bytes_of;
use crate::config::{Files as Rules, WhenFull};
use crate::model::{IoError, Trouble};

/// Bytes of the longest extension that a received file keeps.
pub const MAX_EXTENSION: usize = 8;
/// When room is made, this part of the quota is made free, so that the folder is not read again
/// for the next piece.
const SPARE: u64 = 32;

/// The folder's account.
#[derive(Debug)]
pub(super) struct Quota {
    rules: Rules,
    /// Bytes of finished files; none: not counted yet.
    used: Option<u64>,
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
        self.used = self.used.map(|used| used + bytes);
    }

    /// A file of so many bytes went.
    pub(super) fn remove(&mut self, bytes: u64) {
        self.used = self.used.map(|used| used.saturating_sub(bytes));
    }

    /// Whether `wanted` bytes have room beside the finished files, as far as these are counted.
    pub(super) fn fits(&self, wanted: u64) -> bool {
        self.used.is_some_and(|used| used + wanted <= self.rules.quota)
    }

    /// Sees to it that `wanted` bytes (those of unfinished files among them) have room beside the
    /// finished files; the error says why they have not.
    pub(super) fn make_room(&mut self, folder: &Folder, wanted: u64) -> Result<(), IoError> {
        let used = match self.used {
            Some(used) if used + wanted <= self.rules.quota => return Ok(()),
            // Counted again: people remove files too.
            _ => list(&folder.path).iter().map(|file| file.bytes).sum(),
        };
        self.used = Some(used);
        if used + wanted <= self.rules.quota {
            return Ok(());
        }
        let quota = self.rules.quota;
        if wanted > quota || self.rules.when_full == WhenFull::Refuse {
            let text = format!("received files may take {quota} bytes (files.quota) and have them");
            return Err(IoError::new(Trouble::Full, text));
        }
        let goal = (quota - wanted).saturating_sub(quota / SPARE);
        self.remove_oldest(folder, goal);
        if self.used.is_some_and(|used| used + wanted <= quota) {
            return Ok(());
        }
        Err(IoError::new(Trouble::Denied, "older received files cannot be removed to make room"))
    }

    fn remove_oldest(&mut self, folder: &Folder, goal: u64) {
        let mut files = list(&folder.path);
        files.sort_by(|a, b| (a.changed, &a.name).cmp(&(b.changed, &b.name)));
        let mut used = files.iter().map(|file| file.bytes).sum::<u64>();
        for file in files {
            if used <= goal {
                break;
            }
            if remove_ours(folder, &file.name).is_ok() {
                used -= file.bytes;
                self.removed.push(folder.path.join(file.name).display().to_string());
            }
        }
        self.used = Some(used);
    }
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
            let bytes = bytes_of(&entry.path(), &metadata, 0);
            fits.then_some(Kept { name, bytes, changed })
        })
        .collect()
}

/// Whether a name is one that the node gave: who, when in 14 digits, a number in hexadecimal,
/// perhaps another number: `anna-20261121143000-1f-2.png`. What came over the link keeps its
/// extension, see [`MAX_EXTENSION`].
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
    named && (1..=MAX_EXTENSION).contains(&extension.len()) && extension.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

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
