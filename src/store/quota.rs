//! How much room received files take, and which of them go first. Only files under names that
//! the node gives are counted and removed: the folder may be one that people use too.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::config::{Files as Rules, WhenFull};
use crate::model::{IoError, Trouble};

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

    /// Sees to it that `wanted` bytes (those of unfinished files among them) have room beside the
    /// finished files; the error says why they have not.
    pub(super) fn make_room(
        &mut self,
        folder: &OwnedFd,
        path: &Path,
        wanted: u64,
    ) -> Result<(), IoError> {
        let used = match self.used {
            Some(used) if used + wanted <= self.rules.quota => return Ok(()),
            // Counted again: people remove files too.
            _ => list(path).iter().map(|file| file.bytes).sum(),
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
        self.remove_oldest(folder, path, goal);
        if self.used.is_some_and(|used| used + wanted <= quota) {
            return Ok(());
        }
        Err(IoError::new(Trouble::Denied, "older received files cannot be removed to make room"))
    }

    fn remove_oldest(&mut self, folder: &OwnedFd, path: &Path, goal: u64) {
        let mut files = list(path);
        files.sort_by(|a, b| (a.changed, &a.name).cmp(&(b.changed, &b.name)));
        let mut used = files.iter().map(|file| file.bytes).sum::<u64>();
        for file in files {
            if used <= goal {
                break;
            }
            if unlinkat(folder, file.name.as_str(), UnlinkatFlags::NoRemoveDir).is_ok() {
                used -= file.bytes;
                self.removed.push(path.join(file.name).display().to_string());
            }
        }
        self.used = Some(used);
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
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Kept { name, bytes: metadata.len(), changed })
        })
        .collect()
}

/// Whether a name is one that the node gave: who, when in 14 digits, a number in hexadecimal,
/// perhaps another number: `anna-20261121143000-1f-2.png`.
pub(super) fn is_ours(name: &str) -> bool {
    const EXTENSIONS: [&str; 8] = ["png", "jpg", "gif", "webp", "bmp", "tiff", "heic", "bin"];
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
    named && EXTENSIONS.contains(&extension)
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
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "holiday.png",
            "anna-20261121143000-1f.txt",
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
