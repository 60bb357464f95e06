//! Files of the link: `tree` is what is sent, file or folder, `part` what is received, whole or
//! not yet.
//!
//! Every file is hashed as it is read and written, again from its beginning after a break: what is
//! on one disk in the end was on the other.

mod part;
mod tree;

use std::fs::File;
use std::os::unix::fs::FileExt;

use blake2::Blake2s256;
use blake2::digest::Digest;

pub(super) use part::{LinkPart, drop_part, size_of, unfinished};
pub(super) use tree::Tree;
pub use tree::files_in;

use crate::model::{IoError, Trouble};
use crate::node::io::FileDone;

/// Bytes hashed in one step.
const STEP: u64 = 4 * 1024 * 1024;
/// Bytes read at once for that.
const BLOCK: usize = 64 * 1024;

/// A hash of a file's beginning.
struct Sum {
    hasher: Blake2s256,
    at: u64,
}

impl Sum {
    fn new() -> Sum {
        Sum { hasher: Blake2s256::new(), at: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
    }

    fn finish(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    /// One step on, over what the file has.
    fn step(&mut self, file: &File, upto: u64) -> Result<FileDone, IoError> {
        let end = upto.min(self.at + STEP);
        let mut block = vec![0; BLOCK];
        while self.at < end {
            let len = usize::try_from(end - self.at).unwrap_or(BLOCK).min(BLOCK);
            match file.read_at(&mut block[..len], self.at) {
                Ok(0) => return Err(other("the file became shorter meanwhile")),
                Ok(n) => self.add(&block[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(FileDone::Hashed(self.at))
    }
}

fn other(text: &str) -> IoError {
    IoError::new(Trouble::Other, text)
}

#[cfg(test)]
mod tests;
