//! Rooms on a network in virtual time: whatever breaks, all members end with the same messages,
//! each told once, and none before one that its author had seen.

mod bench;
mod liars;
mod promises;
mod storms;
