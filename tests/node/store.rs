//! The disk of the bench, in memory: files that may be sent, and those that came.

use std::collections::{BTreeMap, VecDeque};

use klatsch::model::{IoError, Trouble};
use klatsch::node::io::{FileDone, FileId, FileOp, LinkOp, Picture};

#[derive(Default)]
pub struct Store {
    /// What may be opened, by path.
    pub there: BTreeMap<String, Vec<u8>>,
    /// Files under way.
    parts: BTreeMap<FileId, (String, Vec<u8>)>,
    open: BTreeMap<FileId, Vec<u8>>,
    /// What comes over the link and is open, and what is unfinished: its stem and bytes.
    coming: BTreeMap<FileId, String>,
    pub unfinished: BTreeMap<String, (String, Vec<u8>)>,
    /// Nothing more of that is taken.
    pub full: bool,
    /// Files kept, by path.
    pub kept: BTreeMap<String, Vec<u8>>,
    /// Operations so far; the one of this number fails.
    pub count: u32,
    pub fail: Option<u32>,
    /// Results wait for [`Bench::store_answers`].
    pub hold: bool,
    pub waiting: VecDeque<(FileId, Result<FileDone, IoError>)>,
}

impl Store {
    pub fn perform(&mut self, file: FileId, op: FileOp) -> Option<Result<FileDone, IoError>> {
        if matches!(op, FileOp::Discard | FileOp::Close) {
            self.parts.remove(&file);
            self.open.remove(&file);
            self.coming.remove(&file);
            return None;
        }
        self.count += 1;
        if self.fail == Some(self.count) {
            self.parts.remove(&file);
            self.open.remove(&file);
            return Some(Err(IoError::new(Trouble::Full, "the disk is full")));
        }
        let unknown = || IoError::new(Trouble::Other, "no such file is open");
        Some(match op {
            FileOp::Create { stem } => {
                self.parts.insert(file, (stem, Vec::new()));
                Ok(FileDone::Created)
            }
            FileOp::Append(bytes) => match self.parts.get_mut(&file) {
                Some((_, all)) => {
                    all.extend(bytes);
                    Ok(FileDone::Appended)
                }
                None => Err(unknown()),
            },
            FileOp::Finish => match self.parts.remove(&file) {
                Some((stem, all)) => {
                    let path = format!("/images/{stem}");
                    let picture = picture(&all);
                    self.kept.insert(path.clone(), all);
                    Ok(FileDone::Finished { path, picture })
                }
                None => Err(unknown()),
            },
            FileOp::Link(op) => return self.link(file, op),
            FileOp::Open { path } => match self.there.get(&path) {
                Some(all) => {
                    self.open.insert(file, all.clone());
                    Ok(FileDone::Opened { size: all.len() as u64, picture: picture(all) })
                }
                None => Err(IoError::new(Trouble::Missing, "no such file or folder")),
            },
            FileOp::Read { offset } => match self.open.get(&file) {
                Some(all) => {
                    let from = (offset as usize).min(all.len());
                    let to = (from + 16 * 1024).min(all.len());
                    Ok(FileDone::Read(all[from..to].to_vec()))
                }
                None => Err(unknown()),
            },
            FileOp::Discard | FileOp::Close => unreachable!("{op:?}"),
            FileOp::Remove { .. } => panic!("there is no page here"),
        })
    }

    /// What the link wants of files that come.
    fn link(&mut self, file: FileId, op: LinkOp) -> Option<Result<FileDone, IoError>> {
        let part = |store: &mut Store| {
            let name = store.coming.get(&file).cloned().expect("it is open");
            store.unfinished.remove(&name).map(|part| (name, part)).expect("it is there")
        };
        Some(match op {
            LinkOp::Part(of) => {
                self.coming.insert(file, of.name.clone());
                let (stem, offset) = (of.stem, of.offset);
                let (_, bytes) = self.unfinished.entry(of.name).or_insert((stem, Vec::new()));
                bytes.truncate(usize::try_from(offset).unwrap());
                Ok(FileDone::Parted(bytes.len() as u64))
            }
            LinkOp::Hash { upto } => Ok(FileDone::Hashed(upto)),
            LinkOp::Add(_) if self.full => {
                self.coming.remove(&file);
                Err(IoError::new(Trouble::Full, "the disk is full"))
            }
            LinkOp::Add(more) => {
                let (name, mut of) = part(self);
                of.1.extend(more);
                self.unfinished.insert(name, of);
                Ok(FileDone::Appended)
            }
            LinkOp::Sync => Ok(FileDone::Appended),
            LinkOp::Place { sum, .. } => {
                let (_, (stem, bytes)) = part(self);
                assert_eq!(klatsch::dialect::link::noise::hash(&[&bytes]), sum);
                self.coming.remove(&file);
                let (path, picture) = (format!("/images/{stem}"), picture(&bytes));
                self.kept.insert(path.clone(), bytes);
                Ok(FileDone::Finished { path, picture })
            }
            LinkOp::Drop { name } => {
                self.unfinished.remove(&name);
                self.coming.remove(&file);
                return None;
            }
            other => panic!("{other:?}: files only come here"),
        })
    }

    /// Whether an answer waits to be given.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Files that are neither finished nor given up.
    pub fn under_way(&self) -> usize {
        self.parts.len() + self.open.len()
    }
}

fn picture(bytes: &[u8]) -> Picture {
    let format = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, ..] => "jpeg",
        _ => "unknown",
    };
    Picture { format, width: None, height: None }
}
