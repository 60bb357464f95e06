//! What pages brought and may fetch: uploads under way, files that were kept, and under which
//! addresses who may have them. Pure: files it gives up are removed by who asked.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::Map;

/// Uploads under way at once, in all and of one guest.
pub const MAX_UPLOADS: usize = 12;
/// See [`MAX_UPLOADS`].
pub const MAX_UPLOADS_EACH: usize = 3;
/// An upload that got no byte for so long is given up, in milliseconds.
pub const UPLOAD_MS: u64 = 10 * 60 * 1_000;
/// Uploaded files that are remembered; the oldest is removed for one more.
pub const MAX_FILES: usize = 512;
/// A download address holds for so long, in milliseconds.
pub const LINK_MS: u64 = 24 * 60 * 60 * 1_000;
/// Entries whose files pages may fetch; a page that asks for an older one gets it by its history.
pub const MAX_SHOWN: usize = 4_096;

/// A file that a guest uploaded whole, or that came for him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its upload's id; of one that came, its entry's.
    pub id: String,
    /// Whose it is: a guest's id.
    pub owner: String,
    /// Where it is.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What it is: `png` …, `unknown`.
    pub format: String,
    /// Its name as its sender gave it, made harmless.
    pub name: String,
    /// Under which token anyone may fetch it, and until when by the system's clock.
    #[serde(default)]
    pub link: Option<(String, u64)>,
}

/// The files that were kept, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Shelf {
    files: VecDeque<Stored>,
}

impl Shelf {
    /// Keeps one more; the oldest make room for it when there are too many or too many bytes.
    /// Their paths: these files are to be removed.
    #[must_use]
    pub fn keep(&mut self, file: Stored, quota: u64) -> Vec<String> {
        self.files.push_back(file);
        let mut gone = Vec::new();
        while self.files.len() > 1 && (self.files.len() > MAX_FILES || self.bytes() > quota) {
            gone.extend(self.files.pop_front().map(|old| old.path));
        }
        gone
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// One by its id.
    pub fn get(&self, id: &str) -> Option<&Stored> {
        self.files.iter().find(|file| file.id == id)
    }

    /// The name that a path's uploader gave it.
    pub fn name_of(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.name.as_str())
    }

    /// Gives a file an address that anyone may fetch it under, for [`LINK_MS`]; its token.
    pub fn link(&mut self, id: &str, token: String, now: u64) -> Option<String> {
        let file = self.files.iter_mut().find(|file| file.id == id)?;
        let live = file.link.as_ref().filter(|(_, until)| *until > now).map(|(t, _)| t.clone());
        let token = live.unwrap_or(token);
        file.link = Some((token.clone(), now + LINK_MS));
        Some(token)
    }

    /// The file of a link that still holds.
    pub fn by_link(&self, token: &str, now: u64) -> Option<&Stored> {
        self.files.iter().find(|file| {
            file.link.as_ref().is_some_and(|(t, until)| super::gate::same(token, t) && *until > now)
        })
    }
}

/// A file that some entry shows, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it is.
    pub path: String,
    /// What it is.
    pub format: String,
    /// Its name for people.
    pub name: String,
}

/// Which files each guest's pages were told of, so that they may fetch just those.
#[derive(Debug, Default)]
pub struct Seen {
    by_entry: Map<(String, String), Shown>,
    order: VecDeque<(String, String)>,
}

impl Seen {
    /// A guest's page was told of an entry with this file.
    pub fn note(&mut self, guest: &str, entry: &str, shown: Shown) {
        let key = (guest.to_owned(), entry.to_owned());
        if self.by_entry.insert(key.clone(), shown).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > MAX_SHOWN {
            if let Some(old) = self.order.pop_front() {
                self.by_entry.remove(&old);
            }
        }
    }

    /// The file of an entry that this guest was told of.
    pub fn get(&self, guest: &str, entry: &str) -> Option<&Shown> {
        self.by_entry.get(&(guest.to_owned(), entry.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(n: usize, size: u64) -> Stored {
        Stored {
            id: format!("u{n}"),
            owner: "g".into(),
            path: format!("/images/{n}"),
            size,
            format: "unknown".into(),
            name: "a.pdf".into(),
            link: None,
        }
    }

    #[test]
    fn the_oldest_make_room_and_are_to_be_removed() {
        let mut shelf = Shelf::default();
        for n in 0..4 {
            let gone = shelf.keep(stored(n, 40), 100);
            let oldest = n.checked_sub(2).map(|n| format!("/images/{n}"));
            assert_eq!(gone, Vec::from_iter(oldest));
        }
        assert!(shelf.get("u1").is_none() && shelf.get("u2").is_some());
        for n in 4..4 + MAX_FILES {
            let _ = shelf.keep(stored(n, 0), u64::MAX);
        }
        assert_eq!(shelf.files.len(), MAX_FILES);
        let gone = shelf.keep(stored(9_999, 1_000), 100);
        assert_eq!((shelf.files.len(), gone.len()), (1, MAX_FILES), "the newest stays");
    }

    #[test]
    fn a_link_holds_for_its_time() {
        let mut shelf = Shelf::default();
        let _ = shelf.keep(stored(1, 1), 100);
        let token = "0123456789abcdef0123456789abcdef".to_owned();
        assert_eq!(shelf.link("u1", token.clone(), 1_000), Some(token.clone()));
        assert_eq!(shelf.link("u1", "other".into(), 2_000), Some(token.clone()), "one is enough");
        assert!(shelf.by_link(&token, 1_999 + LINK_MS).is_some());
        assert!(shelf.by_link(&token, 2_000 + LINK_MS).is_none());
        assert!(shelf.by_link("", 1_000).is_none());
        assert!(shelf.link("u2", token, 1_000).is_none());
    }

    #[test]
    fn only_who_was_told_of_a_file_may_have_it() {
        let shown =
            |n: usize| Shown { path: format!("/p{n}"), format: "png".into(), name: "x".into() };
        let mut seen = Seen::default();
        seen.note("anna", "e1", shown(1));
        assert!(seen.get("anna", "e1").is_some());
        assert!(seen.get("bob", "e1").is_none());
        for n in 0..MAX_SHOWN {
            seen.note("bob", &format!("x{n}"), shown(n));
        }
        assert!(seen.get("anna", "e1").is_none(), "the oldest is forgotten");
        assert_eq!(seen.by_entry.len(), MAX_SHOWN);
    }
}
