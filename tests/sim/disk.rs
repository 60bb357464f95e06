//! Files in memory, with a disk that can be full.

use std::collections::{BTreeMap, HashMap};

use klatsch::model::limits::CHUNK;
use klatsch::model::{IoError, Trouble};
use klatsch::node::io::{FileDone, FileId, FileOp, Input, Picture};

use crate::world::{NodeNo, World};

#[derive(Default)]
pub struct Disk {
    /// Whole files by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Unfinished ones.
    pub parts: HashMap<FileId, (String, Vec<u8>)>,
    open: HashMap<FileId, String>,
    /// Bytes that still fit; none: endless.
    pub room: Option<usize>,
    /// Milliseconds that an operation takes.
    pub slow: u64,
}

fn picture(bytes: &[u8]) -> Picture {
    let format = if bytes.starts_with(b"\x89PNG") { "png" } else { "unknown" };
    Picture { format, width: Some(1), height: Some(1) }
}

impl World {
    pub fn file(&mut self, no: NodeNo, file: FileId, op: FileOp) {
        let answered = !matches!(op, FileOp::Discard | FileOp::Close);
        let result = self.disks[no].perform(file, op);
        if answered {
            // the contract: one operation per file at a time
            let after = self.disks[no].slow + self.rng.u64(0..3);
            self.input(no, after, Input::File(file, result));
        }
    }
}

impl Disk {
    fn perform(&mut self, file: FileId, op: FileOp) -> Result<FileDone, IoError> {
        let missing = || IoError::new(Trouble::Missing, "no such file or folder");
        match op {
            FileOp::Create { stem } => {
                let safe = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                assert!(stem.chars().all(safe), "a stem that is no plain name: {stem}");
                self.parts.insert(file, (stem, Vec::new()));
                Ok(FileDone::Created)
            }
            FileOp::Append(bytes) => {
                let (_, part) = self.parts.get_mut(&file).ok_or_else(missing)?;
                if let Some(room) = &mut self.room {
                    if *room < bytes.len() {
                        return Err(IoError::new(Trouble::Full, "the disk is full"));
                    }
                    *room -= bytes.len();
                }
                part.extend(bytes);
                Ok(FileDone::Appended)
            }
            FileOp::Finish => {
                let (stem, bytes) = self.parts.remove(&file).ok_or_else(missing)?;
                let path = format!("/images/{stem}");
                let picture = picture(&bytes);
                assert!(self.files.insert(path.clone(), bytes).is_none(), "{path} was replaced");
                Ok(FileDone::Finished { path, picture })
            }
            FileOp::Discard => {
                self.parts.remove(&file);
                Ok(FileDone::Appended)
            }
            FileOp::Open { path } => {
                let bytes = self.files.get(&path).ok_or_else(missing)?;
                self.open.insert(file, path.clone());
                Ok(FileDone::Opened { size: bytes.len() as u64, picture: picture(bytes) })
            }
            FileOp::Read { offset } => {
                let path = self.open.get(&file).ok_or_else(missing)?;
                let bytes = self.files.get(path).ok_or_else(missing)?;
                let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
                Ok(FileDone::Read(rest[..rest.len().min(CHUNK)].to_vec()))
            }
            FileOp::Close => {
                self.open.remove(&file);
                Ok(FileDone::Appended)
            }
        }
    }

    /// Files open for reading.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
