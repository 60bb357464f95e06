//! What is sent: a file, or a folder gone through in the order of its names. It stays what it was
//! when it was offered, or the transfer ends.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use blake2::Blake2s256;
use blake2::digest::Digest;

use super::super::files::open_source;
use super::super::picture;
use super::{Sum, other};
use crate::model::limits::{LINK_DEPTH, LINK_FOLDER_FILES, LINK_PATH};
use crate::model::{IoError, Trouble};
use crate::node::io::{FileDone, Picture, Survey};

/// Paths of the files in a folder, in their order, as they would be sent: links and devices are
/// passed over.
///
/// # Errors
/// It is none, cannot be read, has no file, or more than [`LINK_FOLDER_FILES`].
pub fn files_in(folder: &Path) -> Result<Vec<String>, IoError> {
    let (tree, _) = Tree::look_through(folder)?;
    Ok(tree.files.into_iter().map(|(path, ..)| path.into()).collect())
}

/// A file or a folder that is sent.
pub(in crate::store) struct Tree {
    root: Root,
    /// Paths within the folder, in their order, with sizes and times; of a single file one, empty.
    files: Vec<(Box<str>, u64, i64)>,
    stamp: u64,
    open: Option<(usize, File, Sum)>,
}

enum Root {
    Path(PathBuf),
    /// A descriptor that came with a call.
    Given(File),
}

impl Tree {
    /// Looks at what lies at a path.
    pub(in crate::store) fn look(path: &Path) -> Result<(Tree, Survey), IoError> {
        if !path.is_absolute() {
            return Err(IoError::new(Trouble::Missing, "the path is not absolute"));
        }
        if std::fs::metadata(path)?.is_dir() {
            return Tree::look_through(path);
        }
        let file = open_source(path)?;
        Tree::one(Root::Path(path.into()), &file)
    }

    /// A descriptor that came with a call.
    pub(in crate::store) fn given(file: File) -> Result<(Tree, Survey), IoError> {
        let again = file.try_clone()?;
        Tree::one(Root::Given(file), &again)
    }

    fn one(root: Root, file: &File) -> Result<(Tree, Survey), IoError> {
        let metadata = file.metadata()?;
        let picture = picture::recognise(file);
        let files = vec![("".into(), metadata.len(), changed(&metadata))];
        let stamp = stamp(&files);
        let bytes = metadata.len();
        let survey = Survey { folder: false, files: 1, bytes, stamp, picture, passed: 0 };
        Ok((Tree { root, files, stamp, open: None }, survey))
    }

    fn look_through(root: &Path) -> Result<(Tree, Survey), IoError> {
        let mut walk = Walk { files: Vec::new(), passed: 0 };
        walk.folder(root, &mut String::new(), 0)?;
        let Walk { files, passed } = walk;
        if files.is_empty() {
            return Err(other("there is no file in that folder"));
        }
        let (stamp, bytes) = (stamp(&files), files.iter().map(|(_, size, _)| size).sum());
        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        let picture = Picture { format: "folder", width: None, height: None };
        let survey = Survey { folder: true, files: count, bytes, stamp, picture, passed };
        Ok((Tree { root: Root::Path(root.into()), files, stamp, open: None }, survey))
    }

    /// Opens one of its files, if it is what it was.
    pub(in crate::store) fn seek(&mut self, stamp: u64, index: u32) -> Result<FileDone, IoError> {
        if stamp != self.stamp {
            return Err(other("it changed since it was offered: send it again"));
        }
        let n = index as usize;
        let (path, size, time) = self.files.get(n).ok_or_else(|| other("it has no such file"))?;
        let file = match &self.root {
            Root::Given(file) => file.try_clone()?,
            Root::Path(root) if path.is_empty() => open_source(root)?,
            Root::Path(root) => {
                let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
                let mut options = std::fs::OpenOptions::new();
                options.read(true).custom_flags(flags).open(root.join(&**path))?
            }
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || (metadata.len(), changed(&metadata)) != (*size, *time) {
            return Err(other(CHANGED));
        }
        let before = self.files[..n].iter().map(|(_, size, _)| size).sum();
        let done = FileDone::Sought { size: *size, path: path.to_string(), before };
        self.open = Some((n, file, Sum::new()));
        Ok(done)
    }

    pub(in crate::store) fn hash(&mut self, upto: u64) -> Result<FileDone, IoError> {
        let (_, file, sum) = self.open.as_mut().ok_or_else(|| other("no file of it is open"))?;
        sum.step(file, upto)
    }

    /// Reads on; with the last piece it is looked at once more.
    pub(in crate::store) fn piece(&mut self, offset: u64, len: usize) -> Result<FileDone, IoError> {
        let (n, file, sum) = self.open.as_mut().ok_or_else(|| other("no file of it is open"))?;
        let (_, size, time) = &self.files[*n];
        if sum.at != offset {
            return Err(other("it is read out of its order"));
        }
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(len);
        let mut bytes = vec![0; len.min(left)];
        let mut got = 0;
        while got < bytes.len() {
            match file.read_at(&mut bytes[got..], offset + got as u64) {
                Ok(0) => return Err(other(CHANGED)),
                Ok(n) => got += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        sum.add(&bytes);
        if sum.at < *size {
            return Ok(FileDone::Piece(bytes, None));
        }
        let metadata = file.metadata()?;
        if (metadata.len(), changed(&metadata)) != (*size, *time) {
            return Err(other(CHANGED));
        }
        Ok(FileDone::Piece(bytes, Some(sum.finish())))
    }
}

const CHANGED: &str = "the file changed while it was sent: send it again";

/// When it was last written to, in nanoseconds.
fn changed(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec())
}

fn stamp(files: &[(Box<str>, u64, i64)]) -> u64 {
    let mut hasher = Blake2s256::new();
    for (path, size, time) in files {
        hasher.update((path.len() as u64).to_be_bytes());
        hasher.update(path.as_bytes());
        hasher.update(size.to_be_bytes());
        hasher.update(time.to_be_bytes());
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

/// A folder being gone through, in the order of names: the same each time.
struct Walk {
    files: Vec<(Box<str>, u64, i64)>,
    passed: u32,
}

impl Walk {
    fn folder(&mut self, at: &Path, within: &mut String, depth: usize) -> Result<(), IoError> {
        if depth > LINK_DEPTH {
            return Err(other("its folders lie too deep within each other"));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(at)? {
            let name = entry?.file_name().into_string();
            names.push(name.map_err(|_| other("a name in it is no UTF-8: rename it"))?);
            if names.len() > 2 * LINK_FOLDER_FILES {
                return Err(too_many());
            }
        }
        names.sort_unstable();
        for name in names {
            let (path, len) = (at.join(&name), within.len());
            // links lead elsewhere: they are passed over, not followed
            let metadata = std::fs::symlink_metadata(&path)?;
            if !within.is_empty() {
                within.push('/');
            }
            within.push_str(&name);
            if within.len() > LINK_PATH {
                return Err(other("a path in it is too long"));
            }
            if metadata.is_dir() {
                self.folder(&path, within, depth + 1)?;
            } else if metadata.is_file() {
                if self.files.len() >= LINK_FOLDER_FILES {
                    return Err(too_many());
                }
                self.files.push((within.as_str().into(), metadata.len(), changed(&metadata)));
            } else {
                self.passed += 1;
            }
            within.truncate(len);
        }
        Ok(())
    }
}

fn too_many() -> IoError {
    let text = format!("it holds more than {LINK_FOLDER_FILES} files: send it in parts");
    IoError::new(Trouble::Exhausted, text)
}
