//! Received and sent files.
//!
//! A received file is a hidden `.part` in the image folder until all of it is on the disk; then
//! it gets its name, never replacing another. It is locked while it is written, so that what a
//! dead run left is told from what another instance is writing, and removed. Files are handled
//! relative to a descriptor of their folder, under names of safe characters only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, Flock, FlockArg, OFlag, fcntl, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::link::{LinkPart, Tree, drop_part, unfinished};
use super::picture;
use super::quota::{Quota, is_ours, remove_ours};
use crate::config;
use crate::model::limits::{CHUNK, LINK_FILES, LINK_RUNNING, MAX_TRANSFERS};
use crate::model::{IoError, Map, Trouble};
use crate::node::io::{FileDone, FileId, FileOp, LinkOp};

/// Files open at once: one per transfer, and as many waiting for one; and those of the link.
pub const MAX_OPEN: usize = 2 * MAX_TRANSFERS + LINK_FILES + LINK_RUNNING;
/// Longest stem that `Create` takes; with number and extension it stays below NAME_MAX.
pub const MAX_STEM: usize = 128;
/// Names tried for one file: `stem`, `stem-2` … `stem-999`.
pub const MAX_NAMES: u32 = 999;

const PART_HEAD: &str = ".klatsch-";
const PART_TAIL: &str = ".part";

/// The folder, open: names in it cannot be led elsewhere by renaming a part of its path.
pub(super) struct Folder {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

/// A file that is being received. Dropped unfinished, it is removed.
struct Part {
    folder: Rc<Folder>,
    file: Flock<File>,
    name: String,
    stem: String,
    bytes: u64,
    kept: bool,
}

enum Item {
    Part(Part),
    Source(File),
    Tree(Tree),
    Link(Box<LinkPart>),
}

impl Item {
    /// Bytes of what is not finished.
    fn unfinished(&self) -> u64 {
        match self {
            Item::Part(part) => part.bytes,
            Item::Link(part) => part.bytes(),
            Item::Source(_) | Item::Tree(_) => 0,
        }
    }
}

/// The folder of received files, and every file that is open.
pub(super) struct Desk {
    folder: PathBuf,
    items: Map<FileId, Item>,
    quota: Quota,
    /// What is unfinished of the link's and not open: its bytes.
    asleep: Map<String, u64>,
    /// The system's clock can be trusted.
    trusted: bool,
}

impl Desk {
    pub(super) fn new(folder: PathBuf, rules: config::Files) -> Desk {
        let (items, asleep) = (Map::new(), Map::new());
        Desk { folder, items, quota: Quota::new(rules), asleep, trusted: false }
    }

    /// What a run begins with: what a dead one left is removed, and what is beyond the quota.
    pub(super) fn begin(&mut self) {
        self.sweep();
        let open = |name: &str| {
            let mut items = self.items.values();
            items.any(|item| matches!(item, Item::Link(part) if part.name() == name))
        };
        let now = self.trusted.then(std::time::SystemTime::now);
        let all = unfinished(&self.folder, now);
        self.asleep = all.into_iter().filter(|(name, _)| !open(name)).collect();
        if self.folder.is_dir() {
            // What cannot be removed now is said when the next file comes.
            let _ = self.make_room(0);
        }
    }

    /// Whether the system's clock can be trusted: nothing goes for its age before it is.
    pub(super) fn set_clock(&mut self, trusted: bool) {
        if !std::mem::replace(&mut self.trusted, trusted) && trusted {
            self.begin();
        }
    }

    /// From now on received files go to this folder, under these bounds; what is under way ends
    /// where it began.
    pub(super) fn set_rules(&mut self, folder: PathBuf, rules: config::Files) {
        self.folder = folder;
        self.quota.set(rules);
        self.begin();
    }

    /// Paths of received files that were removed to make room, since it was last asked.
    pub(super) fn removed(&mut self) -> Vec<String> {
        self.quota.removed()
    }

    /// Removes a received file, if it lies in the folder under a name that we gave.
    pub(super) fn remove(&mut self, path: &Path) {
        let name = path.file_name().and_then(|name| name.to_str());
        let here = |name: &&str| path.parent() == Some(&self.folder) && is_ours(name);
        let Some(name) = name.filter(here) else { return };
        let Ok(folder) = open_folder(&self.folder) else { return };
        // Somebody may have moved it: then it is theirs.
        if remove_ours(&folder, name).is_ok() {
            self.quota.recount();
        }
    }

    /// Room for `bytes` beside all that was received and is being received.
    fn make_room(&mut self, bytes: u64) -> Result<(), IoError> {
        let unfinished = self.items.values().map(Item::unfinished);
        let wanted = bytes + unfinished.chain(self.asleep.values().copied()).sum::<u64>();
        if self.quota.fits(wanted) {
            return Ok(()); // as with every piece but a few
        }
        let folder = open_folder(&self.folder)?;
        self.quota.make_room(&folder, wanted)
    }

    /// Performs an operation; `None` where it has no answer. A file whose operation fails is
    /// gone: a part is removed at once, which also gives a full disk its room back.
    pub(super) fn perform(
        &mut self,
        file: FileId,
        op: FileOp,
    ) -> Option<Result<FileDone, IoError>> {
        let outcome = match op {
            FileOp::Create { stem } => self.create(file, stem),
            FileOp::Append(bytes) => self.append(file, &bytes),
            FileOp::Finish => match self.items.remove(&file) {
                Some(Item::Part(part)) => {
                    let bytes = part.bytes;
                    part.finish().inspect(|_| self.quota.add(bytes))
                }
                _ => Err(unknown()),
            },
            FileOp::Open { path } => self.open(file, Path::new(&path)),
            FileOp::Read { offset } => self.read(file, offset),
            FileOp::Discard | FileOp::Close => {
                self.let_go(file);
                return None;
            }
            FileOp::Remove { path } => {
                self.quota.remove(path);
                return None;
            }
            FileOp::Link(LinkOp::Drop { name }) => {
                self.let_go(file);
                self.asleep.remove(&name);
                if let (Ok(()), Ok(folder)) = (check_stem(&name), open_folder(&self.folder)) {
                    drop_part(&folder, &name);
                }
                return None;
            }
            FileOp::Link(op) => self.link(file, op),
        };
        if outcome.is_err() {
            self.let_go(file);
        }
        Some(outcome)
    }

    /// What is unfinished of the link's stays, and takes room; other parts go with it.
    fn let_go(&mut self, file: FileId) {
        if let Some(Item::Link(part)) = self.items.remove(&file) {
            if part.bytes() > 0 {
                self.asleep.insert(part.name().to_owned(), part.bytes());
            }
        }
    }

    fn link(&mut self, file: FileId, op: LinkOp) -> Result<FileDone, IoError> {
        match op {
            LinkOp::Survey { path, given } => {
                self.room(file)?;
                let (tree, survey) = match given.map(|given| self.items.get(&given)) {
                    None => Tree::look(Path::new(&path))?,
                    Some(Some(Item::Source(source))) => Tree::given(source.try_clone()?)?,
                    Some(_) => return Err(unknown()),
                };
                self.items.insert(file, Item::Tree(tree));
                Ok(FileDone::Surveyed(survey))
            }
            LinkOp::Seek { path, stamp, index } => {
                if !self.items.contains_key(&file) {
                    self.room(file)?;
                    let (tree, _) = Tree::look(Path::new(&path))?;
                    self.items.insert(file, Item::Tree(tree));
                }
                self.tree(file)?.seek(stamp, index)
            }
            LinkOp::Part(of) => {
                self.room(file)?;
                check_stem(&of.name)?;
                check_stem(&of.stem)?;
                check_stem(&of.extension)?;
                let name = of.name.clone();
                let folder = Rc::new(open_folder(&self.folder)?);
                let (part, done) = LinkPart::open(folder, *of)?;
                self.asleep.remove(&name);
                if matches!(done, FileDone::Finished { .. }) {
                    return Ok(done);
                }
                self.items.insert(file, Item::Link(Box::new(part)));
                Ok(done)
            }
            LinkOp::Add(bytes) => {
                self.make_room(bytes.len() as u64)?;
                self.part(file)?.add(&bytes)
            }
            LinkOp::Hash { upto } => match self.items.get_mut(&file) {
                Some(Item::Tree(tree)) => tree.hash(upto),
                Some(Item::Link(part)) => part.hash(upto),
                _ => Err(unknown()),
            },
            LinkOp::Piece { offset, len } => self.tree(file)?.piece(offset, len),
            LinkOp::Sync => self.part(file)?.sync(),
            LinkOp::Place { path, sum, last } => {
                let part = self.part(file)?;
                let (bytes, folder) = (part.bytes(), part.is_folder());
                let done = part.place(&path, &sum, last)?;
                if last {
                    match folder {
                        true => self.quota.recount(),
                        false => self.quota.add(bytes),
                    }
                    self.items.remove(&file);
                }
                Ok(done)
            }
            LinkOp::Drop { .. } => Ok(FileDone::Appended),
        }
    }

    fn tree(&mut self, file: FileId) -> Result<&mut Tree, IoError> {
        match self.items.get_mut(&file) {
            Some(Item::Tree(tree)) => Ok(tree),
            _ => Err(unknown()),
        }
    }

    fn part(&mut self, file: FileId) -> Result<&mut LinkPart, IoError> {
        match self.items.get_mut(&file) {
            Some(Item::Link(part)) => Ok(part),
            _ => Err(unknown()),
        }
    }

    fn create(&mut self, file: FileId, stem: String) -> Result<FileDone, IoError> {
        self.room(file)?;
        check_stem(&stem)?;
        let folder = Rc::new(open_folder(&self.folder)?);
        let part = Part::create(folder, stem)?;
        self.items.insert(file, Item::Part(part));
        Ok(FileDone::Created)
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<FileDone, IoError> {
        self.make_room(bytes.len() as u64)?;
        let Some(Item::Part(part)) = self.items.get_mut(&file) else { return Err(unknown()) };
        part.file.write_all(bytes)?;
        part.bytes += bytes.len() as u64;
        Ok(FileDone::Appended)
    }

    fn open(&mut self, file: FileId, path: &Path) -> Result<FileDone, IoError> {
        if !path.is_absolute() {
            return Err(IoError::new(Trouble::Missing, "the path is not absolute"));
        }
        self.take(file, open_source(path)?)
    }

    pub(super) fn adopt(&mut self, file: FileId, fd: OwnedFd) -> Result<FileDone, IoError> {
        let mode = OFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
        if mode & OFlag::O_ACCMODE == OFlag::O_WRONLY || mode.contains(OFlag::O_PATH) {
            return Err(IoError::new(Trouble::Denied, "is not open for reading"));
        }
        self.take(file, File::from(fd))
    }

    fn take(&mut self, id: FileId, file: File) -> Result<FileDone, IoError> {
        self.room(id)?;
        let metadata = file.metadata()?;
        regular(&metadata)?;
        let picture = picture::recognise(&file);
        self.items.insert(id, Item::Source(file));
        Ok(FileDone::Opened { size: metadata.len(), picture })
    }

    fn read(&mut self, file: FileId, offset: u64) -> Result<FileDone, IoError> {
        let Some(Item::Source(source)) = self.items.get(&file) else { return Err(unknown()) };
        let mut bytes = vec![0; CHUNK];
        let mut got = 0;
        // By position: a descriptor that came with a call shares its own with the caller.
        while got < CHUNK {
            match source.read_at(&mut bytes[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        bytes.truncate(got);
        Ok(FileDone::Read(bytes))
    }

    fn room(&self, file: FileId) -> Result<(), IoError> {
        if self.items.contains_key(&file) {
            return Err(IoError::new(Trouble::Other, "that file is open already"));
        }
        if self.items.len() >= MAX_OPEN {
            return Err(IoError::new(Trouble::Exhausted, "too many files open at once"));
        }
        Ok(())
    }

    /// Removes the parts that a dead run left. Best effort: they are only in the way.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let Ok(folder) = open_folder(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if !name.starts_with(PART_HEAD) || !name.ends_with(PART_TAIL) {
                continue;
            }
            let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let Ok(fd) = openat(&folder.fd, name, flags, Mode::empty()) else { continue };
            if Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock).is_ok() {
                let _ = unlinkat(&folder.fd, name, UnlinkatFlags::NoRemoveDir);
            }
        }
    }
}

impl Part {
    fn create(folder: Rc<Folder>, stem: String) -> Result<Part, IoError> {
        let name = format!("{PART_HEAD}{:016x}{PART_TAIL}", fastrand::u64(..));
        let flags =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&folder.fd, name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let file = Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| IoError::from(errno))?;
        Ok(Part { folder, file, name, stem, bytes: 0, kept: false })
    }

    fn finish(mut self) -> Result<FileDone, IoError> {
        self.file.sync_all()?;
        let picture = picture::recognise(&self.file);
        let extension = picture::extension(picture.format);
        let path = name_it(&self.folder, &self.name, &self.stem, extension);
        self.kept = path.is_ok();
        path.map(|path| FileDone::Finished { path, picture })
    }
}

/// Gives what is unfinished its name, the first that is free, and makes that durable; its path.
pub(super) fn name_it(
    folder: &Folder,
    part: &str,
    stem: &str,
    extension: &str,
) -> Result<String, IoError> {
    for n in 1..=MAX_NAMES {
        let name = match n {
            1 => format!("{stem}.{extension}"),
            n => format!("{stem}-{n}.{extension}"),
        };
        match give_name(&folder.fd, part, &name) {
            Ok(()) => {
                match nix::unistd::fsync(&folder.fd) {
                    // Some file systems cannot sync a folder: fsync(2).
                    Ok(()) | Err(Errno::EINVAL) => {}
                    Err(errno) => return Err(errno.into()),
                }
                return Ok(folder.path.join(name).display().to_string());
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(IoError::new(Trouble::Exhausted, "every name for it is taken in the image folder"))
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // What stays if this fails is swept at the next start.
            let _ = unlinkat(&self.folder.fd, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Renames without replacing; by link and unlink where the file system or the C library does not
/// know renameat2(2) (musl's wrapper is not in nix).
fn give_name(folder: &OwnedFd, part: &str, name: &str) -> Result<(), Errno> {
    #[cfg(target_env = "gnu")]
    {
        use nix::fcntl::{RenameFlags, renameat2};
        match renameat2(folder, part, folder, name, RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EINVAL | Errno::ENOSYS) => {}
            outcome => return outcome,
        }
    }
    by_link(folder, part, name)
}

fn by_link(folder: &OwnedFd, part: &str, name: &str) -> Result<(), Errno> {
    match linkat(folder, part, folder, name, AtFlags::empty()) {
        // a folder, or a file system without hard links
        Err(Errno::EPERM) => {
            return match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => renameat(folder, part, folder, name),
                Ok(_) => Err(Errno::EEXIST),
                Err(errno) => Err(errno),
            };
        }
        done => done?,
    }
    // The file has its name now; a part name that stays is swept at the next start.
    let _ = unlinkat(folder, part, UnlinkatFlags::NoRemoveDir);
    Ok(())
}

/// Opens a file that is to be sent, with the rights of this process. Never waits.
pub fn open_source(path: &Path) -> Result<File, IoError> {
    // Before opening: that alone does something to some devices, and waits on a pipe.
    regular(&std::fs::metadata(path)?)?;
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    Ok(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

fn open_folder(path: &Path) -> Result<Folder, IoError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = nix::libc::O_DIRECTORY;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(Folder { fd: opened.into(), path: path.to_owned() })
}

fn check_stem(stem: &str) -> Result<(), IoError> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let good = !stem.is_empty()
        && stem.len() <= MAX_STEM
        && stem.bytes().all(safe)
        && !stem.starts_with('.');
    if good { Ok(()) } else { Err(IoError::new(Trouble::Denied, "is no safe file name")) }
}

fn regular(metadata: &std::fs::Metadata) -> Result<(), IoError> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "is a folder, not a file"
    } else if kind.is_fifo() {
        "is a pipe, not a file"
    } else if kind.is_socket() {
        "is a socket, not a file"
    } else {
        "is a device, not a file"
    };
    Err(IoError::new(Trouble::Other, what))
}

fn unknown() -> IoError {
    IoError::new(Trouble::Other, "that file is not open")
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
