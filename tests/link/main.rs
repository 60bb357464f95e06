//! Link machines on a virtual network in virtual time: loss, breaks, partitions, crashes, liars.

#![allow(clippy::unwrap_used)]

mod adversary;
mod chaos;
mod file_liars;
mod files;
mod finding;
mod hints;
mod messages;
mod recorded;
mod rooms;
mod shelf;
mod trust;
mod world;
