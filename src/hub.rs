//! The meeting point of the node's loop and the ways in: calls go down it, events come up.
//!
//! Everything runs on one thread; a way in is a task that holds an `Rc<Hub>`. Calls wait in a
//! bounded queue; events are read from the ring at each reader's own pace.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::SystemTime;

use async_channel::{Receiver, Sender};

use crate::command::Command;
use crate::model::ring::Cursor;
use crate::model::{Answer, Event, Handle, IoError, Refusal, Ring, Set, Stamped, Trouble, Wall};
use crate::node::io::{FileDone, FileId, FileOp};

/// Calls that may wait for the node at once; a caller beyond waits its turn.
pub const MAX_CALLS: usize = 64;

/// Events that a reader takes before others have their turn: an old one costs some 3 us to read.
pub const MAX_AT_ONCE: usize = 64;

/// A call on its way to the node.
pub struct Call {
    /// Who acts; none: the node's first user.
    pub user: Option<String>,
    /// What is asked.
    pub command: Command,
    /// A file that came with it.
    pub file: Option<OwnedFd>,
    /// Where the answer goes. Dropping it answers [`Refusal::Failed`].
    pub reply: Sender<Result<Answer, Refusal>>,
}

/// What is said of calls that come too late.
pub const STOPPING: &str = "the node is stopping";

/// Marks the page's files among those of the node and of the driver.
const PAGE_FILE: u64 = 1 << 62;

type FileResult = Result<FileDone, IoError>;
type Operation = (FileId, FileOp);

/// See the module.
pub struct Hub {
    ring: RefCell<Ring>,
    told: event_listener::Event,
    calls: Sender<Call>,
    /// Keys of handles whose talk is nobody else's.
    private: RefCell<Set<String>>,
    files: (Sender<Operation>, Receiver<Operation>),
    waiting: RefCell<HashMap<FileId, Sender<FileResult>>>,
    closed: Cell<bool>,
}

impl Hub {
    /// A hub for a run with this epoch, and the end at which the loop takes calls.
    pub fn new(epoch: u64) -> (Rc<Hub>, Receiver<Call>) {
        let (calls, taken) = async_channel::bounded(MAX_CALLS);
        let ring = RefCell::new(Ring::new(epoch));
        let hub = Hub {
            ring,
            told: event_listener::Event::new(),
            calls,
            private: RefCell::default(),
            // each of the page's open files has at most one operation and its end in it
            files: async_channel::unbounded(),
            waiting: RefCell::default(),
            closed: Cell::new(false),
        };
        (Rc::new(hub), taken)
    }

    /// What this local user says and hears is nobody else's from now on, or no longer: the
    /// guests of the page. Only the page acts for them.
    pub fn keep_private(&self, handle: &Handle, on: bool) {
        let mut private = self.private.borrow_mut();
        if on {
            private.insert(handle.key())
        } else {
            private.remove(&handle.key())
        };
    }

    /// Whether it is such a user's handle.
    pub fn is_private(&self, handle: &str) -> bool {
        self.private.borrow().contains(&handle.to_lowercase())
    }

    /// Whether whoever operates the node may hear of an event.
    pub fn is_open(&self, event: &Event) -> bool {
        event.user.as_ref().is_none_or(|user| !self.is_private(user.as_str()))
    }

    /// Asks the node for whoever operates it: he cannot act as a guest of the page.
    pub async fn ask_open(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        match &user {
            Some(name) if self.is_private(name) => {
                let what = format!("{name} is a guest of the page: nobody else acts for a guest");
                Err(Refusal::Denied { what })
            }
            _ => {
                let mut answer = self.ask(user, command, file).await;
                if let Ok(Answer::Page(page)) = &mut answer {
                    let open = |user: &Handle| {
                        !self.is_private(user.as_str()) && !is_parked(user.as_str())
                    };
                    page.entries.retain(|entry| entry.user.as_ref().is_none_or(open));
                }
                if let Ok(Answer::Status(status)) = &mut answer {
                    // of a guest's file there is seen how large it is, for it takes room
                    let private = |user: &Handle| self.is_private(user.as_str());
                    for transfer in status.transfers.iter_mut().filter(|t| private(&t.user)) {
                        transfer.name.clear();
                        transfer.handle.clear();
                    }
                }
                answer
            }
        }
    }

    /// File operations that the page wants done: the loop's end.
    pub fn file_operations(&self) -> Receiver<(FileId, FileOp)> {
        self.files.1.clone()
    }

    /// A file operation of the page, with the `n`th of its files; waits for what becomes of it.
    pub async fn file(&self, n: u64, op: FileOp) -> FileResult {
        let gone = || IoError::new(Trouble::Other, STOPPING);
        let file = FileId(PAGE_FILE | n);
        let (told, answer) = async_channel::bounded(1);
        self.waiting.borrow_mut().insert(file, told);
        self.files.0.try_send((file, op)).map_err(|_| gone())?;
        answer.recv().await.map_err(|_| gone())?
    }

    /// The last operation with one of the page's files, which has no answer.
    pub fn file_end(&self, n: u64, op: FileOp) {
        let file = FileId(PAGE_FILE | n);
        self.waiting.borrow_mut().remove(&file);
        let _ = self.files.0.try_send((file, op)); // it is closed only when all ends
    }

    /// A file operation ended: the page's finds who waits for it, any other is given back.
    pub fn file_done(&self, file: FileId, result: FileResult) -> Option<(FileId, FileResult)> {
        if file.0 & PAGE_FILE == 0 || file.0 & crate::model::net::ACCEPTED != 0 {
            return Some((file, result));
        }
        if let Some(waits) = self.waiting.borrow_mut().remove(&file) {
            let _ = waits.try_send(result); // who waited may be gone
        }
        None
    }

    /// Asks the node and waits for its answer.
    pub async fn ask(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        let gone = || Refusal::Failed { reason: STOPPING.into() };
        let (reply, answer) = async_channel::bounded(1);
        self.calls.send(Call { user, command, file, reply }).await.map_err(|_| gone())?;
        answer.recv().await.map_err(|_| gone())?
    }

    /// Tells every reader.
    pub fn tell(&self, event: Event) {
        self.ring.borrow_mut().push(event);
        self.told.notify(usize::MAX);
    }

    /// The node is stopping: consoles of this process hear the rest and then that it is gone.
    pub fn close(&self) {
        self.closed.set(true);
        self.told.notify(usize::MAX);
    }

    /// The run's epoch, as in events.
    pub fn epoch(&self) -> String {
        self.ring.borrow().epoch().to_owned()
    }

    /// The number of the newest event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.ring.borrow().next_seq() - 1
    }

    /// A reader of what comes from now on.
    pub fn tail(&self) -> Cursor {
        self.ring.borrow().tail()
    }

    /// A reader that has seen up to `since` (`epoch:seq`); `None`: not in that form.
    pub fn resume(&self, since: &str) -> Option<Cursor> {
        self.ring.borrow().resume(since)
    }

    /// The next event for this reader if there is one already.
    pub fn try_next(&self, cursor: &mut Cursor) -> Option<Rc<Stamped>> {
        self.ring.borrow().read(cursor, Wall::from_system(SystemTime::now()))
    }

    /// Hands over `first`, and what is there already after it while `each` says that there is
    /// room. After [`MAX_AT_ONCE`] others have their turn; the rest comes next time.
    pub async fn batch(
        &self,
        cursor: &mut Cursor,
        first: Rc<Stamped>,
        mut each: impl FnMut(&Stamped) -> bool,
    ) {
        let mut event = first;
        for _ in 1..MAX_AT_ONCE {
            let room = each(&event);
            match room.then(|| self.try_next(cursor)).flatten() {
                Some(next) => event = next,
                None => return,
            }
        }
        each(&event);
        futures_lite::future::yield_now().await;
    }

    /// The next event for this reader.
    pub async fn next(&self, cursor: &mut Cursor) -> Rc<Stamped> {
        loop {
            let told = self.told.listen();
            if let Some(event) = self.try_next(cursor) {
                return event;
            }
            told.await;
        }
    }
}

/// The name that a guest's entries wait under while it is away: nobody else can come by it, since
/// `id` is random.
pub fn parked(id: &str) -> Handle {
    Handle::nearest(&format!("~{id}"))
}

fn is_parked(handle: &str) -> bool {
    let id = handle.strip_prefix('~').unwrap_or_default();
    id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A way to a node, in this process or across its control socket: what a console needs.
pub trait Way {
    /// Asks the node and waits for its answer. `file` is an open file for `SendFile`.
    fn ask(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> impl Future<Output = Result<Answer, Refusal>>;

    /// The next event; `None` when the node is gone. Cancel-safe.
    fn event(&self) -> impl Future<Output = Option<Rc<Stamped>>>;

    /// Reads on after `since` (`epoch:seq`), or from here: the epoch, and the number of the newest
    /// event. `None`: `since` is not in its form.
    fn read_from(&self, since: Option<&str>) -> Result<Option<(String, u64)>, Refusal> {
        let _ = since;
        let what = "events of a node elsewhere: klatsch monitor --json shows them";
        Err(Refusal::Denied { what: what.into() })
    }
}

/// A console's own end of the hub.
pub struct Local {
    hub: Rc<Hub>,
    cursor: RefCell<Cursor>,
}

impl Local {
    /// A reader of what comes from now on.
    pub fn from_now(hub: Rc<Hub>) -> Local {
        let cursor = RefCell::new(hub.tail());
        Local { hub, cursor }
    }

    /// A reader of all that the ring holds, such as what went wrong while starting.
    pub fn from_start(hub: Rc<Hub>) -> Local {
        let cursor = RefCell::new(hub.resume(&format!("{}:0", hub.epoch())).unwrap_or(hub.tail()));
        Local { hub, cursor }
    }
}

impl Way for Local {
    async fn ask(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        self.hub.ask_open(user, command, file).await
    }

    fn read_from(&self, since: Option<&str>) -> Result<Option<(String, u64)>, Refusal> {
        let cursor = match since {
            Some(since) => self.hub.resume(since),
            None => Some(self.hub.tail()),
        };
        let Some(cursor) = cursor else { return Ok(None) };
        self.cursor.replace(cursor);
        Ok(Some((self.hub.epoch(), self.hub.last())))
    }

    async fn event(&self) -> Option<Rc<Stamped>> {
        loop {
            let told = self.hub.told.listen();
            let event = self.hub.try_next(&mut self.cursor.borrow_mut());
            match event {
                Some(event) if !self.hub.is_open(&event.event) => {}
                None if !self.hub.closed.get() => told.await,
                event => return event,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::What;

    #[test]
    fn one_past_a_readers_turn_comes_in_its_next_one_and_nothing_is_lost() {
        let (hub, _) = Hub::new(7);
        let mut cursor = hub.tail();
        for n in 0..=MAX_AT_ONCE {
            let what = What::Error { text: n.to_string() };
            hub.tell(Event { at: Wall(0), user: None, what });
        }
        crate::reactor::block_on(async {
            let mut seen = Vec::new();
            for turn in [MAX_AT_ONCE, 1] {
                let first = hub.next(&mut cursor).await;
                let before = seen.len();
                let each = |event: &Stamped| {
                    seen.push(event.seq);
                    true
                };
                hub.batch(&mut cursor, first, each).await;
                assert_eq!(seen.len() - before, turn);
            }
            assert!(seen.iter().copied().eq(1..=MAX_AT_ONCE as u64 + 1));
        });
    }
}
