//! Files of a box: what it gives, what it took, and what is unfinished. A cut of the power leaves
//! of an unfinished file what was made durable, and perhaps more.

use std::collections::BTreeMap;

use klatsch::dialect::link::machine::Opened;
use klatsch::dialect::link::noise::hash;
use klatsch::dialect::link::words::{FileDo, Offer, Outcome};
use klatsch::model::{IoError, Trouble};

/// The parts of a folder, or the one file: path and bytes.
pub type Tree = Vec<(String, Vec<u8>)>;
type Read = (Vec<u8>, Option<[u8; 32]>);

/// What outlasts a crash.
#[derive(Clone, Default)]
pub struct Shelf {
    /// What may be given, by its path.
    pub sources: BTreeMap<String, Tree>,
    /// What was taken whole, by stem.
    pub whole: BTreeMap<String, Tree>,
    /// Unfinished: the files of it that are whole, the current one, and how much of that is durable.
    parts: BTreeMap<String, (Tree, Vec<u8>, usize)>,
    /// How transfers ended, as was told.
    pub over: Vec<(Outcome, String)>,
}

impl Shelf {
    pub fn look(&self, path: &str) -> (Offer, u64) {
        let tree = &self.sources[path];
        let bytes = tree.iter().map(|(_, b)| b.len() as u64).sum();
        let folder = !tree[0].0.is_empty();
        let files = u32::try_from(tree.len()).unwrap();
        let offer = Offer { name: path.into(), folder, files, bytes, format: "unknown".into() };
        (offer, stamp(tree))
    }

    pub fn unfinished(&self) -> usize {
        self.parts.len()
    }

    /// The first byte of what is unfinished is another.
    pub fn rot(&mut self) {
        self.parts.values_mut().filter_map(|(_, bytes, _)| bytes.first_mut()).for_each(|b| *b ^= 1);
    }

    pub fn power_cut(&mut self, rng: &mut fastrand::Rng) {
        for (_, bytes, durable) in self.parts.values_mut() {
            let left = rng.usize(*durable..=bytes.len());
            bytes.truncate(left);
            // what was not durable may be anything
            for byte in &mut bytes[*durable..] {
                if rng.u8(..) < 3 {
                    *byte ^= 1;
                }
            }
        }
    }
}

fn stamp(tree: &Tree) -> u64 {
    let all: Vec<&[u8]> = tree.iter().flat_map(|(p, b)| [p.as_bytes(), b.as_slice()]).collect();
    u64::from_be_bytes(hash(&all)[..8].try_into().unwrap())
}

/// What comes of an operation.
pub enum Answer {
    Opened(Result<Opened, IoError>),
    Read(Result<Read, IoError>),
    Ready(Result<u64, IoError>),
    Done(Result<(), IoError>),
    Whole,
}

/// What is open, and answers that are on their way.
#[derive(Default)]
pub struct Desk {
    turn: u64,
    open: BTreeMap<u64, Open>,
    /// Operations that were performed.
    pub done: u64,
}

struct Open {
    turn: u64,
    answer: Option<Answer>,
    giving: Option<(String, u32)>,
    taking: Option<(String, String, bool)>,
}

fn error(text: &str) -> IoError {
    IoError::new(Trouble::Other, text)
}

impl Desk {
    /// Performs an operation; the turn under which its answer is to be taken, if it has one.
    pub fn put(&mut self, shelf: &mut Shelf, no: u64, act: FileDo, full: bool) -> Option<u64> {
        self.turn += 1;
        self.done += 1;
        let turn = self.turn;
        let open =
            self.open.entry(no).or_insert(Open { turn, answer: None, giving: None, taking: None });
        assert!(
            open.answer.is_none() || matches!(act, FileDo::Close | FileDo::Discard { .. }),
            "two operations with one file at once"
        );
        open.turn = turn;
        let part = |shelf: &mut Shelf, open: &Open| {
            let (name, ..) = open.taking.clone().expect("it is open");
            shelf.parts.remove(&name).map(|part| (name, part)).expect("it is there")
        };
        let answer = match act {
            FileDo::Close => {
                self.open.remove(&no);
                return None;
            }
            FileDo::Discard { name } => {
                shelf.parts.remove(&name);
                self.open.remove(&no);
                return None;
            }
            FileDo::Open { path, stamp: was, index, offset } => {
                open.giving = Some((path.clone(), index));
                Answer::Opened(match shelf.sources.get(&path) {
                    Some(tree) if stamp(tree) == was => {
                        let n = index as usize;
                        let before = tree[..n].iter().map(|(_, b)| b.len() as u64).sum();
                        let (path, bytes) = &tree[n];
                        assert!(offset <= bytes.len() as u64);
                        Ok(Opened { size: bytes.len() as u64, path: path.clone(), before })
                    }
                    _ => Err(error("it changed since it was offered: send it again")),
                })
            }
            FileDo::Read { offset, len } => {
                let (path, index) = open.giving.clone().expect("it is open");
                Answer::Read(match shelf.sources.get(&path) {
                    None => Err(error("it is gone")),
                    Some(tree) => {
                        let bytes = &tree[index as usize].1;
                        let at = usize::try_from(offset).unwrap();
                        let end = (at + len).min(bytes.len());
                        let sum = (end == bytes.len()).then(|| hash(&[bytes]));
                        Ok((bytes[at..end].to_vec(), sum))
                    }
                })
            }
            FileDo::Part { name, stem, offer, offset, .. } => {
                open.taking = Some((name.clone(), stem.clone(), offer.folder));
                if !shelf.parts.contains_key(&name) && shelf.whole.contains_key(&stem) {
                    Answer::Whole
                } else {
                    let (_, bytes, durable) = shelf.parts.entry(name).or_default();
                    bytes.truncate(usize::try_from(offset).unwrap());
                    *durable = (*durable).min(bytes.len());
                    Answer::Ready(Ok(bytes.len() as u64))
                }
            }
            FileDo::Append(_) if full => {
                Answer::Done(Err(IoError::new(Trouble::Full, "the disk is full")))
            }
            FileDo::Append(more) => {
                let (name, mut of) = part(shelf, open);
                of.1.extend(more);
                shelf.parts.insert(name, of);
                Answer::Done(Ok(()))
            }
            FileDo::Sync => {
                let (name, mut of) = part(shelf, open);
                of.2 = of.1.len();
                shelf.parts.insert(name, of);
                Answer::Done(Ok(()))
            }
            FileDo::Place { path, sum, last } => {
                let (name, mut of) = part(shelf, open);
                if hash(&[&of.1]) != sum {
                    shelf.parts.insert(name, of);
                    Answer::Done(Err(error("its hash is another")))
                } else {
                    // a file that comes again replaces itself
                    of.0.retain(|(p, _)| *p != path);
                    of.0.push((path, std::mem::take(&mut of.1)));
                    of.2 = 0;
                    if last {
                        let (_, stem, _) = open.taking.clone().expect("it is open");
                        shelf.whole.insert(stem, of.0);
                        Answer::Whole
                    } else {
                        shelf.parts.insert(name, of);
                        Answer::Done(Ok(()))
                    }
                }
            }
        };
        open.answer = Some(answer);
        Some(turn)
    }

    /// The answer, unless nobody waits for it any more.
    pub fn take(&mut self, no: u64, turn: u64) -> Option<Answer> {
        self.open.get_mut(&no).filter(|open| open.turn == turn)?.answer.take()
    }

    pub fn forget(&mut self, no: u64) {
        self.open.remove(&no);
    }
}
