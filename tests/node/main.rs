//! The whole node without a world: a bench answers what it asks of sockets and files, turns its
//! clock by hand and says what programs of the LAN would say.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in their helpers

mod attacks;
mod bench;
mod capture;
mod events;
mod forms;
mod guests;
mod hello;
mod keeping;
mod limits;
mod linked;
mod store;
mod streams;
mod transfers;
mod troubles;
