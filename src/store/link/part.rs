//! What is received. It lies in the image folder as `.klatsch-<name>.file` until it is whole, the
//! files of a folder that are, in `.klatsch-<name>.folder`; both outlast the run, unlike images of
//! plain dialects.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use blake2::Blake2s256;
use blake2::digest::Digest;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::super::files::{Folder, name_it};
use super::super::picture;
use super::super::quota::cost;
use super::{Sum, other};
use crate::model::limits::LINK_DEPTH;
use crate::model::{IoError, Trouble};
use crate::node::io::{FileDone, PartOf, Picture};

/// Longest name that a file in a received folder gets, in bytes.
pub(super) const MAX_NAME: usize = 120;
/// What is unfinished and was not touched for so long is nobody's any more.
pub(super) const FORSAKEN: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Bytes after which the kernel is told to begin writing them out: it does so while more comes, and
/// what waits for them to be durable finds most of it done. Left to itself it begins at the sync.
pub(super) const WRITE_OUT: u64 = 1024 * 1024;
/// How the names of what is unfinished begin and end.
const HEAD: &str = ".klatsch-";
const FILE_TAIL: &str = ".file";
const FOLDER_TAIL: &str = ".folder";

/// What is received, as far as it is.
pub(in crate::store) struct LinkPart {
    folder: Rc<Folder>,
    of: PartOf,
    file: Option<Flock<File>>,
    sum: Sum,
    /// Bytes of the current file.
    len: u64,
    /// Of these, such as the kernel writes out, or did.
    going: u64,
    before: u64,
    /// Files of it that were placed, and folders at most.
    files: u64,
}

impl LinkPart {
    /// Opens it at the offset that is wanted, or as far as it goes; or finds that it has its name.
    pub(in crate::store) fn open(
        folder: Rc<Folder>,
        of: PartOf,
    ) -> Result<(LinkPart, FileDone), IoError> {
        let mut part = LinkPart {
            folder,
            file: None,
            sum: Sum::new(),
            len: 0,
            going: 0,
            before: of.before,
            files: 0,
            of,
        };
        if let Some(path) = part.placed()? {
            let picture = part.picture(&path);
            return Ok((part, FileDone::Finished { path, picture }));
        }
        if part.of.folder && part.before > 0 && !exists(&part.folder.fd, &part.hidden())? {
            let text = "what came of it before is not there any more";
            return Err(IoError::new(Trouble::Missing, text));
        }
        if part.of.folder {
            let hidden = part.folder.path.join(part.hidden());
            let there = std::fs::symlink_metadata(&hidden);
            part.files = there.map_or(0, |metadata| size_of(&hidden, &metadata, 0).1);
        }
        let file = part.begin()?;
        let there = file.metadata()?.len();
        part.len = there.min(part.of.offset);
        part.going = part.len;
        file.set_len(part.len)?;
        part.file = Some(file);
        let len = part.len;
        Ok((part, FileDone::Parted(len)))
    }

    fn begin(&self) -> Result<Flock<File>, IoError> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let name = part_file(&self.of.name);
        let fd = openat(&self.folder.fd, name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let metadata = File::from(fd.try_clone()?).metadata()?;
        if !metadata.is_file() {
            return Err(IoError::new(Trouble::Denied, "its place is taken by something else"));
        }
        Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            match errno {
                Errno::EWOULDBLOCK => other("another node is receiving it"),
                errno => errno.into(),
            }
        })
    }

    /// Where it is if it has its name already: the node stopped right after that.
    fn placed(&self) -> Result<Option<String>, IoError> {
        let hidden = match self.of.folder {
            true => self.hidden(),
            false => part_file(&self.of.name),
        };
        if exists(&self.folder.fd, &hidden)? {
            return Ok(None);
        }
        let tails = match self.of.folder {
            true => vec!["folder"],
            false => {
                let known = ["png", "jpg", "gif", "webp", "bmp", "tiff", "heic"];
                known.into_iter().chain([self.of.extension.as_str()]).collect()
            }
        };
        for tail in tails {
            let path = self.folder.path.join(format!("{}.{tail}", self.of.stem));
            let whole = match std::fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    let whole = metadata.is_file() && metadata.len() == self.of.bytes;
                    if self.of.folder { metadata.is_dir() } else { whole }
                }
                Err(_) => false,
            };
            if whole {
                return Ok(Some(path.display().to_string()));
            }
        }
        Ok(None)
    }

    fn picture(&self, path: &str) -> Picture {
        let none = |format| Picture { format, width: None, height: None };
        if self.of.folder {
            return none("folder");
        }
        File::open(path).map_or(none("unknown"), |file| picture::recognise(&file))
    }

    fn hidden(&self) -> String {
        format!("{HEAD}{}{FOLDER_TAIL}", self.of.name)
    }

    /// Bytes of it that take room, with what its many files count for.
    pub(in crate::store) fn bytes(&self) -> u64 {
        cost(self.before + self.len, self.files)
    }

    pub(in crate::store) fn is_folder(&self) -> bool {
        self.of.folder
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.of.name
    }

    pub(in crate::store) fn hash(&mut self, upto: u64) -> Result<FileDone, IoError> {
        let file = self.file.as_ref().ok_or_else(|| other("no file of it is open"))?;
        self.sum.step(file, upto.min(self.len))
    }

    pub(in crate::store) fn add(&mut self, bytes: &[u8]) -> Result<FileDone, IoError> {
        if self.file.is_none() {
            let file = self.begin()?;
            file.set_len(0)?;
            self.file = Some(file);
        }
        let Some(file) = &self.file else { return Err(other("no file of it is open")) };
        if self.sum.at != self.len {
            return Err(other("it is written out of its order"));
        }
        // by position: what a full disk left behind is written over
        file.write_all_at(bytes, self.len)?;
        self.sum.add(bytes);
        self.len += bytes.len() as u64;
        if self.len - self.going >= WRITE_OUT {
            write_out(file, self.going, self.len - self.going);
            self.going = self.len;
        }
        Ok(FileDone::Appended)
    }

    pub(in crate::store) fn sync(&mut self) -> Result<FileDone, IoError> {
        if self.of.folder {
            // all files that were placed since, and their names
            nix::unistd::syncfs(&self.folder.fd)?;
        } else if let Some(file) = &self.file {
            file.sync_data()?;
        }
        Ok(FileDone::Appended)
    }

    /// Sees that it is what was sent, and gives it its place.
    pub(in crate::store) fn place(
        &mut self,
        path: &str,
        sum: &[u8; 32],
        last: bool,
    ) -> Result<FileDone, IoError> {
        if self.sum.at != self.len || self.sum.finish() != *sum {
            return Err(other("what arrived is not what was sent (its hash is another): not kept"));
        }
        if self.file.is_none() {
            self.add(&[])?; // an empty one
        }
        let Some(file) = self.file.take() else { return Err(other("no file of it is open")) };
        let part = part_file(&self.of.name);
        if !self.of.folder {
            file.sync_all()?;
            let picture = picture::recognise(&file);
            if self.of.image && picture.format == "unknown" {
                return Err(other("it was offered as an image and is none: not kept"));
            }
            let extension = match picture.format {
                "unknown" => self.of.extension.as_str(),
                format => picture::extension(format),
            };
            let path = name_it(&self.folder, &part, &self.of.stem, extension)?;
            return Ok(FileDone::Finished { path, picture });
        }
        let inside = self.make_place(path)?;
        renameat(&self.folder.fd, part.as_str(), &inside.0, inside.1.as_str())?;
        self.before += self.len;
        self.files += path.split('/').count() as u64;
        (self.len, self.going, self.sum) = (0, 0, Sum::new());
        if !last {
            return Ok(FileDone::Appended);
        }
        nix::unistd::syncfs(&self.folder.fd)?;
        let path = name_it(&self.folder, &self.hidden(), &self.of.stem, "folder")?;
        Ok(FileDone::Finished { path, picture: self.picture("") })
    }

    /// The folder within the hidden one that a path leads to, made, and the name in it.
    fn make_place(&self, path: &str) -> Result<(OwnedFd, String), IoError> {
        let mut at = enter(&self.folder.fd, &self.hidden())?;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let name = safe(name);
            if names.peek().is_none() {
                return Ok((at, name));
            }
            at = enter(&at, &name)?;
        }
        Err(IoError::new(Trouble::Denied, "a file in it has no name"))
    }
}

/// Tells the kernel to begin with it; it is not waited for, and where this cannot be nothing is lost.
#[allow(unsafe_code)]
fn write_out(file: &File, from: u64, len: u64) {
    use nix::libc::{SYNC_FILE_RANGE_WRITE, sync_file_range};
    let (Ok(from), Ok(len)) = (from.try_into(), len.try_into()) else { return };
    // SAFETY: sync_file_range(2) takes numbers and a descriptor, which is open while it is borrowed.
    let _ = unsafe { sync_file_range(file.as_raw_fd(), from, len, SYNC_FILE_RANGE_WRITE) };
}

fn part_file(name: &str) -> String {
    format!("{HEAD}{name}{FILE_TAIL}")
}

fn exists(folder: &OwnedFd, name: &str) -> Result<bool, IoError> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(FileStat { .. }) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a folder if need be, and opens it; never through a link.
fn enter(at: impl AsFd + Copy, name: &str) -> Result<OwnedFd, IoError> {
    match mkdirat(at, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// The name that a file or folder within a received folder gets: what is harmless of the sender's.
/// One that is not as it was bears a hash of the sender's before it: names that differ in what was
/// changed or cut off alone stay apart, and none of the files is lost.
pub(super) fn safe(name: &str) -> String {
    let good = |c: char| c.is_alphanumeric() || " ._-+,=@()[]#&'~".contains(c);
    let mut safe: String = name.chars().map(|c| if good(c) { c } else { '_' }).collect();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    let mut end = safe.len().min(MAX_NAME);
    while !safe.is_char_boundary(end) {
        end -= 1;
    }
    if end < safe.len() {
        let tail = safe.rsplit_once('.').map(|(_, t)| t.to_owned()).filter(|t| t.len() <= 8);
        safe.truncate(end);
        if let Some(tail) = tail {
            safe.push('.');
            safe.push_str(&tail);
        }
    }
    safe.truncate(safe.trim_end().len());
    if safe == name {
        return safe;
    }
    let hash = Blake2s256::digest(name.as_bytes());
    format!("{:02x}{:02x}{:02x}-{safe}", hash[0], hash[1], hash[2])
}

/// Removes what is unfinished under a name.
pub(in crate::store) fn drop_part(folder: &Folder, name: &str) {
    // What stays if this fails is found forsaken one day.
    let _ = unlinkat(&folder.fd, part_file(name).as_str(), UnlinkatFlags::NoRemoveDir);
    let hidden = folder.path.join(format!("{HEAD}{name}{FOLDER_TAIL}"));
    let _ = std::fs::remove_dir_all(hidden);
}

/// What is unfinished in a folder, by name, with its bytes; what is forsaken by a time that can
/// be trusted is removed.
pub(in crate::store) fn unfinished(path: &Path, now: Option<SystemTime>) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let Some(name) = entry.file_name().into_string().ok() else { continue };
        let Some(rest) = name.strip_prefix(HEAD) else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        let tail = if metadata.is_dir() { FOLDER_TAIL } else { FILE_TAIL };
        let Some(of) = rest.strip_suffix(tail) else { continue };
        let age = metadata.modified().ok().and_then(|at| now?.duration_since(at).ok());
        if age.is_some_and(|age| age > FORSAKEN) {
            let path = entry.path();
            let _ = match metadata.is_dir() {
                true => std::fs::remove_dir_all(path),
                false => std::fs::remove_file(path),
            };
            continue;
        }
        let (bytes, files) = size_of(&entry.path(), &metadata, 0);
        all.push((of.to_owned(), cost(bytes, files)));
    }
    all
}

/// Bytes of a file, or of all in a folder; and how many files and folders they are.
pub(in crate::store) fn size_of(
    path: &Path,
    metadata: &std::fs::Metadata,
    depth: usize,
) -> (u64, u64) {
    if !metadata.is_dir() {
        return if metadata.is_file() { (metadata.len(), 1) } else { (0, 1) };
    }
    if depth > LINK_DEPTH + 1 {
        return (0, 1);
    }
    let Ok(entries) = std::fs::read_dir(path) else { return (0, 1) };
    let each = entries.filter_map(Result::ok).filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        Some(size_of(&entry.path(), &metadata, depth + 1))
    });
    each.fold((0, 1), |(bytes, n), (more, of)| (bytes + more, n + of))
}
