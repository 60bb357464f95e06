//! The files of one node, in memory.

use std::collections::{BTreeMap, HashMap};

use klatsch::model::limits::CHUNK;
use klatsch::model::{IoError, Trouble};
use klatsch::node::io::{FileDone, FileId, FileOp, Picture};

enum Open {
    Part(String, Vec<u8>),
    Reading(String),
}

pub struct Disk {
    folder: String,
    /// What stands under a name.
    pub files: BTreeMap<String, Vec<u8>>,
    open: HashMap<FileId, Open>,
    /// Bytes that still fit.
    pub room: usize,
}

impl Disk {
    pub fn new(folder: String) -> Disk {
        Disk { folder, files: BTreeMap::new(), open: HashMap::new(), room: usize::MAX }
    }

    /// Files that are open: a node that is done with its transfers holds none.
    pub fn held(&self) -> usize {
        self.open.len()
    }

    pub fn perform(&mut self, file: FileId, op: FileOp) -> Option<Result<FileDone, IoError>> {
        let error = |kind: Trouble| Err(IoError::new(kind, format!("{kind:?}")));
        Some(match op {
            FileOp::Create { stem } => {
                assert!(!stem.contains(['/', '.']), "a stem that leads elsewhere: {stem}");
                self.open.insert(file, Open::Part(stem, Vec::new()));
                Ok(FileDone::Created)
            }
            FileOp::Append(bytes) => match self.open.get_mut(&file) {
                Some(Open::Part(..)) if bytes.len() > self.room => error(Trouble::Full),
                Some(Open::Part(_, all)) => {
                    self.room -= bytes.len();
                    all.extend(bytes);
                    Ok(FileDone::Appended)
                }
                _ => panic!("an append to a file that is not open for it"),
            },
            FileOp::Finish => match self.open.remove(&file) {
                Some(Open::Part(stem, bytes)) => {
                    let path = format!("{}/{stem}.png", self.folder);
                    let old = self.files.insert(path.clone(), bytes);
                    assert!(old.is_none(), "{path} was replaced");
                    Ok(FileDone::Finished { path, picture: picture() })
                }
                _ => panic!("a file finished that was not open"),
            },
            FileOp::Discard | FileOp::Close => {
                self.open.remove(&file);
                return None;
            }
            FileOp::Link(_) => panic!("there is no link here"),
            FileOp::Remove { .. } => panic!("there is no page here"),
            FileOp::Open { path } => match self.files.get(&path) {
                Some(bytes) => {
                    let size = bytes.len() as u64;
                    self.open.insert(file, Open::Reading(path));
                    Ok(FileDone::Opened { size, picture: picture() })
                }
                None => error(Trouble::Missing),
            },
            FileOp::Read { offset } => match self.open.get(&file) {
                Some(Open::Reading(path)) => {
                    let bytes = &self.files[path];
                    let from = usize::try_from(offset).unwrap().min(bytes.len());
                    let to = (from + CHUNK).min(bytes.len());
                    Ok(FileDone::Read(bytes[from..to].to_vec()))
                }
                _ => panic!("a read of a file that is not open"),
            },
        })
    }
}

fn picture() -> Picture {
    Picture { format: "png", width: Some(1), height: Some(1) }
}
