//! Files of the page on the one storage thread: uploads as they come, downloads as they are taken.
//!
//! At most one operation per file is under way, so a slow disk or a slow phone holds up only
//! itself, and a transfer holds one piece in memory.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use futures_lite::stream;
use hyper::body::Bytes;

use super::server::Pieces;
use crate::hub::Hub;
use crate::model::{IoError, Trouble};
use crate::node::io::{FileDone, FileOp, Picture};

/// Files of the page open at once, up and down together.
pub const MAX_OPEN: usize = 24;

/// Where the page's files are opened.
pub struct Desk {
    hub: Rc<Hub>,
    next: Cell<u64>,
    open: Cell<usize>,
}

impl Desk {
    /// By way of this hub.
    pub fn new(hub: Rc<Hub>) -> Rc<Desk> {
        Rc::new(Desk { hub, next: Cell::new(0), open: Cell::new(0) })
    }

    fn paper(self: &Rc<Desk>) -> Result<Paper, IoError> {
        if self.open.get() >= MAX_OPEN {
            let text = "too many files are on their way to and from pages";
            return Err(IoError::new(Trouble::Exhausted, text));
        }
        self.open.set(self.open.get() + 1);
        self.next.set(self.next.get() + 1);
        Ok(Paper { desk: Rc::clone(self), n: self.next.get(), end: None })
    }

    /// A new file in the image folder, under a name that begins with `stem`.
    ///
    /// # Errors
    /// As the storage thread has them, and one past [`MAX_OPEN`].
    pub async fn create(self: &Rc<Desk>, stem: String) -> Result<Paper, IoError> {
        let mut paper = self.paper()?;
        paper.end = Some(FileOp::Discard);
        paper.ask(FileOp::Create { stem }).await?;
        Ok(paper)
    }

    /// A file that is there: its size and what it is.
    ///
    /// # Errors
    /// As the storage thread has them, and one past [`MAX_OPEN`].
    pub async fn open(self: &Rc<Desk>, path: &str) -> Result<(Paper, u64, Picture), IoError> {
        let mut paper = self.paper()?;
        paper.end = Some(FileOp::Close);
        match paper.ask(FileOp::Open { path: path.to_owned() }).await? {
            FileDone::Opened { size, picture } => Ok((paper, size, picture)),
            _ => Err(IoError::new(Trouble::Other, "it could not be opened")),
        }
    }
}

/// One open file. Dropping it closes it, or removes it if it was not finished.
pub struct Paper {
    desk: Rc<Desk>,
    n: u64,
    end: Option<FileOp>,
}

impl Paper {
    async fn ask(&self, op: FileOp) -> Result<FileDone, IoError> {
        self.desk.hub.file(self.n, op).await
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// As the storage thread has them; the file is gone then.
    pub async fn append(&self, bytes: Vec<u8>) -> Result<(), IoError> {
        self.ask(FileOp::Append(bytes)).await.map(drop)
    }

    /// Gives it its name for good.
    ///
    /// # Errors
    /// As the storage thread has them; the file is gone then.
    pub async fn finish(mut self) -> Result<(String, Picture), IoError> {
        self.end = None;
        match self.ask(FileOp::Finish).await? {
            FileDone::Finished { path, picture } => Ok((path, picture)),
            _ => Err(IoError::new(Trouble::Other, "it could not be finished")),
        }
    }

    /// Its bytes from the first to the last, both included, read as they are taken.
    pub fn pieces(self, first: u64, last: u64) -> Pieces {
        Box::pin(stream::unfold(Some((self, first)), move |state| async move {
            let (paper, offset) = state?;
            if offset > last {
                return None;
            }
            match paper.ask(FileOp::Read { offset }).await {
                Ok(FileDone::Read(mut bytes)) if !bytes.is_empty() => {
                    bytes.truncate(usize::try_from(last - offset + 1).unwrap_or(usize::MAX));
                    let next = offset + bytes.len() as u64;
                    Some((Ok(Bytes::from(bytes)), Some((paper, next))))
                }
                Ok(_) => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
                Err(error) => Some((Err(io::Error::other(error.text)), None)),
            }
        }))
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        self.desk.open.set(self.desk.open.get().saturating_sub(1));
        if let Some(end) = self.end.take() {
            self.desk.hub.file_end(self.n, end);
        }
    }
}
