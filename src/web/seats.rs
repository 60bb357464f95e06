//! Who is connected: the places of a server, and who gives up his when one more comes.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use async_executor::Task;

use super::gate::gives_way;
use crate::model::Map;

/// See the module.
pub(super) struct Table {
    most: usize,
    most_each: usize,
    places: RefCell<Map<u64, Place>>,
    next: Cell<u64>,
}

struct Place {
    ip: IpAddr,
    /// Answers under way.
    working: usize,
    idle: Instant,
    task: Option<Task<()>>,
}

impl Table {
    /// Of so many places, in all and for one address.
    pub(super) fn new(most: usize, most_each: usize) -> Table {
        Table { most, most_each, places: RefCell::default(), next: Cell::new(0) }
    }

    /// A place for one more connection of this address, if need be that of another.
    pub(super) fn seat(table: &Rc<Table>, ip: IpAddr) -> Option<Seat> {
        let mut places = table.places.borrow_mut();
        let of_address = places.values().filter(|place| place.ip == ip).count();
        let full = places.len() >= table.most;
        let mut pushed_out = None;
        if full || of_address >= table.most_each {
            let idle = places.iter().filter(|(_, p)| p.working == 0 && (full || p.ip == ip));
            let longest = idle.map(|(id, place)| (place.idle, *id)).min().map(|(_, id)| id);
            let leaves = match longest {
                Some(id) => id,
                None if of_address >= table.most_each => return None,
                None => {
                    let most = gives_way(places.values().map(|place| place.ip), ip)?;
                    *places.iter().rev().find(|(_, place)| place.ip == most)?.0
                }
            };
            pushed_out = places.remove(&leaves);
        }
        let id = table.next.replace(table.next.get() + 1);
        places.insert(id, Place { ip, working: 0, idle: Instant::now(), task: None });
        drop(places);
        drop(pushed_out);
        Some(Seat { table: Rc::clone(table), id })
    }

    /// Who sits there: ends with its place.
    pub(super) fn take_place(&self, id: u64, task: Task<()>) {
        if let Some(place) = self.places.borrow_mut().get_mut(&id) {
            place.task = Some(task);
        }
    }
}

/// Ends all connections when it is dropped.
pub(super) struct EndAll(pub(super) Rc<Table>);

impl Drop for EndAll {
    fn drop(&mut self) {
        let places = std::mem::take(&mut *self.0.places.borrow_mut());
        drop(places);
    }
}

/// A connection's place in the table; dropping it frees it.
pub(super) struct Seat {
    table: Rc<Table>,
    pub(super) id: u64,
}

impl Seat {
    /// An answer is being made: nobody takes its place as an idle one.
    pub(super) fn works(seat: &Rc<Seat>) -> Work {
        if let Some(place) = seat.table.places.borrow_mut().get_mut(&seat.id) {
            place.working += 1;
        }
        Work(Rc::clone(seat))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let place = self.table.places.borrow_mut().remove(&self.id);
        // A task may not drop itself: it goes on to its end, which is here.
        if let Some(task) = place.and_then(|place| place.task) {
            task.detach();
        }
    }
}

/// An answer under way on a connection.
pub(super) struct Work(Rc<Seat>);

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(place) = self.0.table.places.borrow_mut().get_mut(&self.0.id) {
            place.working = place.working.saturating_sub(1);
            place.idle = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{MAX_CONNECTIONS, MAX_PER_ADDRESS};
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn one_past_an_addresss_share_pushes_out_its_own_idle_one_only() {
        let table = Rc::new(Table::new(MAX_CONNECTIONS, MAX_PER_ADDRESS));
        let other = Table::seat(&table, ip(9)).unwrap();
        let seats: Vec<Rc<Seat>> =
            (0..MAX_PER_ADDRESS).map(|_| Rc::new(Table::seat(&table, ip(1)).unwrap())).collect();
        let newcomer = Table::seat(&table, ip(1)).unwrap();
        assert!(!table.places.borrow().contains_key(&seats[0].id));
        assert!(table.places.borrow().contains_key(&other.id));
        let working: Vec<Work> = seats.iter().skip(1).map(Seat::works).collect();
        let newcomer = Rc::new(newcomer);
        let own = Seat::works(&newcomer);
        assert!(Table::seat(&table, ip(1)).is_none(), "all are at work");
        assert!(Table::seat(&table, ip(2)).is_some());
        drop((working, own));
        assert!(Table::seat(&table, ip(1)).is_some());
    }

    #[test]
    fn one_past_all_connections_pushes_out_the_longest_idle() {
        let table = Rc::new(Table::new(MAX_CONNECTIONS, MAX_PER_ADDRESS));
        let seats: Vec<Seat> = (0..MAX_CONNECTIONS)
            .map(|n| Table::seat(&table, ip((n / MAX_PER_ADDRESS) as u8)).unwrap())
            .collect();
        let first = seats[0].id;
        let _newcomer = Table::seat(&table, ip(99)).unwrap();
        assert_eq!(table.places.borrow().len(), MAX_CONNECTIONS);
        assert!(!table.places.borrow().contains_key(&first));
    }

    #[test]
    fn eleven_busy_addresses_do_not_keep_others_out() {
        let table = Rc::new(Table::new(MAX_CONNECTIONS, MAX_PER_ADDRESS));
        let seats: Vec<Rc<Seat>> = (0..MAX_CONNECTIONS)
            .map(|n| Rc::new(Table::seat(&table, ip((n / MAX_PER_ADDRESS) as u8)).unwrap()))
            .collect();
        let _working: Vec<Work> = seats.iter().map(Seat::works).collect();
        let newcomer = || Some(Seat::works(&Rc::new(Table::seat(&table, ip(99))?)));
        let newcomers: Vec<Work> = (0..MAX_PER_ADDRESS).map_while(|_| newcomer()).collect();
        assert_eq!(table.places.borrow().len(), MAX_CONNECTIONS);
        // twelve addresses share them: 256 / 12
        assert_eq!(newcomers.len(), 21);
    }
}
