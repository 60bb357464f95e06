//! Files of the page on the one storage thread: uploads as they come, downloads as they are taken.
//!
//! At most one operation per file is under way, so a slow disk or a slow phone holds up only
//! itself, and a transfer holds one piece in memory.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use futures_lite::stream;
use hyper::body::Bytes;

use super::gate::gives_way;
use super::server::Pieces;
use super::shelf::MAX_UPLOADS;
use crate::hub::Hub;
use crate::model::{IoError, Map, Trouble};
use crate::node::io::{FileDone, FileOp, LinkOp, Picture, Survey};

/// Files open at once that pages fetch. When one more is asked for, one of the address that
/// fetches most is closed ([`gives_way`]): its browser goes on with the rest by a range.
pub const MAX_FETCHED: usize = 20;
/// Files open at once, those that come ([`MAX_UPLOADS`]) included.
pub const MAX_OPEN: usize = MAX_FETCHED + MAX_UPLOADS;

/// Where the page's files are opened.
pub struct Desk {
    hub: Rc<Hub>,
    next: Cell<u64>,
    open: RefCell<Map<u64, Open>>,
}

/// An open file.
struct Open {
    /// Who fetches it; none: it comes from a page.
    fetcher: Option<IpAddr>,
    /// What closes it.
    end: FileOp,
}

impl Desk {
    /// By way of this hub.
    pub fn new(hub: Rc<Hub>) -> Rc<Desk> {
        Rc::new(Desk { hub, next: Cell::new(0), open: RefCell::default() })
    }

    fn paper(self: &Rc<Desk>, fetcher: Option<IpAddr>) -> Result<Paper, IoError> {
        if let Some(newcomer) = fetcher {
            let fetched = self.fetched();
            if fetched.len() >= MAX_FETCHED {
                let most = gives_way(fetched.iter().map(|(_, ip)| *ip), newcomer);
                let leaves = fetched.iter().rfind(|(_, ip)| Some(*ip) == most);
                self.close(leaves.ok_or_else(exhausted)?.0);
            }
        }
        if self.open.borrow().len() >= MAX_OPEN {
            return Err(exhausted());
        }
        self.next.set(self.next.get() + 1);
        let n = self.next.get();
        let end = if fetcher.is_some() { FileOp::Close } else { FileOp::Discard };
        self.open.borrow_mut().insert(n, Open { fetcher, end });
        Ok(Paper { desk: Rc::clone(self), n })
    }

    /// The files that are being fetched, and to which address.
    pub fn fetched(&self) -> Vec<(u64, IpAddr)> {
        let open = self.open.borrow();
        open.iter().filter_map(|(n, file)| Some((*n, file.fetcher?))).collect()
    }

    /// Ends the fetching of one; `false`: it is over already.
    pub fn stop(&self, n: u64) -> bool {
        let is_there = self.open.borrow().get(&n).is_some_and(|file| file.fetcher.is_some());
        if is_there {
            self.close(n);
        }
        is_there
    }

    /// Removes a file that is there, on the storage thread.
    pub fn remove(&self, path: String) {
        self.next.set(self.next.get() + 1);
        self.hub.file_end(self.next.get(), FileOp::Remove { path });
    }

    fn close(&self, n: u64) {
        let open = self.open.borrow_mut().remove(&n);
        if let Some(open) = open {
            self.hub.file_end(n, open.end);
        }
    }

    /// A new file in the image folder, under a name that begins with `stem`.
    ///
    /// # Errors
    /// As the storage thread has them, and one past [`MAX_OPEN`].
    pub async fn create(self: &Rc<Desk>, stem: String) -> Result<Paper, IoError> {
        let paper = self.paper(None)?;
        paper.ask(FileOp::Create { stem }).await?;
        Ok(paper)
    }

    /// A file that is there, for somebody at this address: its size and what it is.
    ///
    /// # Errors
    /// As the storage thread has them, and one past [`MAX_FETCHED`] where nobody gives way.
    pub async fn open(
        self: &Rc<Desk>,
        path: &str,
        fetcher: IpAddr,
    ) -> Result<(Paper, u64, Picture), IoError> {
        let paper = self.paper(Some(fetcher))?;
        match paper.ask(FileOp::Open { path: path.to_owned() }).await? {
            FileDone::Opened { size, picture } => Ok((paper, size, picture)),
            _ => Err(IoError::new(Trouble::Other, "it could not be opened")),
        }
    }
}

impl Desk {
    /// A folder that is there, for somebody at this address, and how many files are in it.
    ///
    /// # Errors
    /// As [`Desk::open`].
    pub async fn folder(
        self: &Rc<Desk>,
        path: &str,
        fetcher: IpAddr,
    ) -> Result<(Paper, Survey), IoError> {
        let paper = self.paper(Some(fetcher))?;
        let op = LinkOp::Survey { path: path.to_owned(), given: None };
        match paper.ask(FileOp::Link(op)).await? {
            FileDone::Surveyed(survey) if survey.folder => Ok((paper, survey)),
            _ => Err(IoError::new(Trouble::Other, "it is no folder any more")),
        }
    }
}

fn exhausted() -> IoError {
    let text = "too many files are on their way to and from pages: try again soon";
    IoError::new(Trouble::Exhausted, text)
}

/// One open file. Dropping it closes it, or removes it if it was not finished.
pub struct Paper {
    desk: Rc<Desk>,
    n: u64,
}

impl Paper {
    async fn ask(&self, op: FileOp) -> Result<FileDone, IoError> {
        if !self.is_open() {
            return Err(exhausted());
        }
        let done = self.desk.hub.file(self.n, op).await;
        if self.is_open() { done } else { Err(exhausted()) }
    }

    /// It was not closed for somebody else.
    fn is_open(&self) -> bool {
        self.desk.open.borrow().contains_key(&self.n)
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
    pub async fn finish(self) -> Result<(String, Picture), IoError> {
        let done = self.ask(FileOp::Finish).await;
        self.desk.open.borrow_mut().remove(&self.n); // it is closed, whatever became of it
        match done? {
            FileDone::Finished { path, picture } => Ok((path, picture)),
            _ => Err(IoError::new(Trouble::Other, "it could not be finished")),
        }
    }

    /// Of the folder that was surveyed: the path and the bytes of its file of this number.
    ///
    /// # Errors
    /// As the storage thread has them.
    pub async fn within(
        &self,
        path: &str,
        stamp: u64,
        index: u32,
    ) -> Result<(String, u64), IoError> {
        let op = LinkOp::Seek { path: path.to_owned(), stamp, index };
        match self.ask(FileOp::Link(op)).await? {
            FileDone::Sought { size, path, .. } => Ok((path, size)),
            _ => Err(IoError::new(Trouble::Other, "it could not be looked at")),
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
        self.desk.close(self.n);
    }
}
