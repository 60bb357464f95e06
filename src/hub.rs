//! The meeting point of the node's loop and the ways in: calls go down it, events come up.
//!
//! Everything runs on one thread; a way in is a task that holds an `Rc<Hub>`. Calls wait in a
//! bounded queue; events are read from the ring at each reader's own pace.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::SystemTime;

use async_channel::{Receiver, Sender};

use crate::command::Command;
use crate::model::ring::Cursor;
use crate::model::{Answer, Event, Refusal, Ring, Stamped, Wall};

/// Calls that may wait for the node at once; a caller beyond waits its turn.
pub const MAX_CALLS: usize = 64;

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

/// See the module.
pub struct Hub {
    ring: RefCell<Ring>,
    told: event_listener::Event,
    calls: Sender<Call>,
    closed: Cell<bool>,
}

impl Hub {
    /// A hub for a run with this epoch, and the end at which the loop takes calls.
    pub fn new(epoch: u64) -> (Rc<Hub>, Receiver<Call>) {
        let (calls, taken) = async_channel::bounded(MAX_CALLS);
        let ring = RefCell::new(Ring::new(epoch));
        let told = event_listener::Event::new();
        (Rc::new(Hub { ring, told, calls, closed: Cell::new(false) }), taken)
    }

    /// Asks the node and waits for its answer.
    pub async fn ask(
        &self,
        user: Option<String>,
        command: Command,
        file: Option<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        let gone = || Refusal::Failed { reason: "the node is stopping".into() };
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
        self.hub.ask(user, command, file).await
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
            if event.is_some() || self.hub.closed.get() {
                return event;
            }
            told.await;
        }
    }
}
