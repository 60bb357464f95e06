//! Who is connected: accepts clients, one task each, and keeps their number within bounds so
//! that none can lock the others out. What a client says is `session`'s business.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_executor::{LocalExecutor, Task};

use super::session;
use super::varlink::{self, MAX_FRAME, Reply};
use super::wire::Wire;
use crate::api;
use crate::hub::Hub;
use crate::model::{Map, Refusal};
use crate::reactor::{Async, Refused, Timer, spawn};

/// Clients connected at once. When one more comes, the one that was idle longest is closed; if
/// all are at work, the newcomer is told so.
pub const MAX_CLIENTS: usize = 64;
/// Clients of these that may hold a stream of events: the rest is always there to make calls.
pub const MAX_SUBSCRIBERS: usize = 32;
/// A call that was begun must end within this time, in milliseconds.
pub const FRAME_MS: u64 = 5_000;
/// A reply must be taken within this time, in milliseconds.
pub const WRITE_MS: u64 = 5_000;

/// While descriptors or memory are used up, accepting pauses so long.
const PAUSE: Duration = Duration::from_millis(250);

/// What `org.varlink.service.GetInfo` says of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Who makes it.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Where to read on.
    pub url: String,
}

impl Default for About {
    fn default() -> About {
        About {
            vendor: "klatsch".into(),
            product: "klatsch".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            url: String::new(),
        }
    }
}

/// Serves clients until the listener fails; dropping it ends them all.
pub async fn serve(
    listener: Async<UnixListener>,
    hub: Rc<Hub>,
    executor: Rc<LocalExecutor<'static>>,
    about: About,
) -> io::Error {
    let table = Rc::new(Table::default());
    let _end = EndAll(Rc::clone(&table));
    let about = Rc::new(about);
    let mut exhausted = false;
    loop {
        match listener.accept().await {
            Ok(stream) => {
                exhausted = false;
                let wire = Wire::new(stream, MAX_FRAME);
                let Some(seat) = Table::seat(&table) else {
                    wire.part_with(&full());
                    continue;
                };
                let id = seat.id;
                let life = session::run(wire, seat, Rc::clone(&hub), Rc::clone(&about));
                table.take_place(id, spawn(&executor, life));
            }
            Err(error) => match Refused::of(&error) {
                Refused::This => {}
                Refused::ForNow => {
                    if !std::mem::replace(&mut exhausted, true) {
                        log::warn!("control socket: {error}: no new clients until it passes");
                    }
                    Timer::after(PAUSE).await;
                }
                Refused::All => return error,
            },
        }
        // The newcomer's call is read before the next one could push it out.
        futures_lite::future::yield_now().await;
    }
}

fn full() -> Vec<u8> {
    let refusal = Refusal::TooMany { what: "clients".into(), limit: MAX_CLIENTS as u64 };
    let (name, parameters) = api::refusal_to_json(&refusal);
    let mut bytes = Vec::new();
    varlink::encode(&Reply::error(name, parameters), &mut bytes);
    bytes
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing, since then; half a call counts as nothing.
    Idle(Instant),
    /// It waits for an answer, or for it to be taken.
    Call,
    /// It gets events.
    Stream,
}

#[derive(Default)]
struct Table {
    places: RefCell<Map<u64, Place>>,
    next: Cell<u64>,
}

struct Place {
    doing: Doing,
    /// Dropping it ends the client. None only until `serve` has spawned it.
    task: Option<Task<()>>,
}

impl Table {
    /// A place for one more, if need be that of the client idle longest.
    fn seat(table: &Rc<Table>) -> Option<Seat> {
        let mut places = table.places.borrow_mut();
        let mut pushed_out = None;
        if places.len() >= MAX_CLIENTS {
            let idle = places.iter().filter_map(|(id, place)| match place.doing {
                Doing::Idle(since) => Some((since, *id)),
                _ => None,
            });
            let (_, longest) = idle.min()?;
            pushed_out = places.remove(&longest);
        }
        // Never used again: one that was pushed out still drops its seat some time later.
        let id = table.next.replace(table.next.get() + 1);
        places.insert(id, Place { doing: Doing::Idle(Instant::now()), task: None });
        drop(places);
        drop(pushed_out);
        Some(Seat { table: Rc::clone(table), id })
    }

    fn take_place(&self, id: u64, task: Task<()>) {
        if let Some(place) = self.places.borrow_mut().get_mut(&id) {
            place.task = Some(task);
        }
    }
}

struct EndAll(Rc<Table>);

impl Drop for EndAll {
    fn drop(&mut self) {
        let places = std::mem::take(&mut *self.0.places.borrow_mut());
        drop(places);
    }
}

/// One client's place in the table; dropping it frees it.
pub(super) struct Seat {
    table: Rc<Table>,
    id: u64,
}

impl Seat {
    /// A call has come.
    pub(super) fn works(&self) {
        self.set(Doing::Call);
    }

    /// It is answered.
    pub(super) fn rests(&self) {
        self.set(Doing::Idle(Instant::now()));
    }

    /// Events are wanted; `false`: too many get them.
    pub(super) fn streams(&self) -> bool {
        let places = self.table.places.borrow();
        let streams = places.values().filter(|place| place.doing == Doing::Stream).count();
        drop(places);
        if streams < MAX_SUBSCRIBERS {
            self.set(Doing::Stream);
        }
        streams < MAX_SUBSCRIBERS
    }

    fn set(&self, doing: Doing) {
        if let Some(place) = self.table.places.borrow_mut().get_mut(&self.id) {
            place.doing = doing;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let place = self.table.places.borrow_mut().remove(&self.id);
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_past_the_clients_pushes_out_the_longest_idle_and_never_one_at_work() {
        let table = Rc::new(Table::default());
        let seats: Vec<Seat> = (0..MAX_CLIENTS).map(|_| Table::seat(&table).unwrap()).collect();
        seats[0].works();
        assert!(seats[1].streams());
        let newcomer = Table::seat(&table).unwrap();
        assert_eq!(table.places.borrow().len(), MAX_CLIENTS);
        assert!(!table.places.borrow().contains_key(&seats[2].id));
        drop(newcomer);
        let mut all: Vec<Seat> = seats.into_iter().collect();
        all.remove(2);
        all.push(Table::seat(&table).unwrap());
        for seat in &all {
            seat.works();
        }
        assert!(Table::seat(&table).is_none());
        all.pop();
        assert!(Table::seat(&table).is_some());
    }

    #[test]
    fn one_past_the_subscribers_is_refused_and_calls_go_on() {
        let table = Rc::new(Table::default());
        let seats: Vec<Seat> =
            (0..=MAX_SUBSCRIBERS).map(|_| Table::seat(&table).unwrap()).collect();
        let streams = seats.iter().filter(|seat| seat.streams()).count();
        assert_eq!(streams, MAX_SUBSCRIBERS);
    }
}
