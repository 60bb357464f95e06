//! klatsch: a LAN chat node. Floors, from the ground up; imports run downward only:
//!
//! 1. [`model`]: the words all speak
//! 2. [`dialect`], [`command`], [`config`]: bytes, lines and files turned into those words
//! 3. [`node`]: the one state machine; [`provision`]: a box's settings on its card
//! 4. [`hub`], [`api`], [`control`], [`console`], [`web`], [`store`]: ways in, and what is kept;
//!    [`reactor`]: what a thread waits by; [`account`]: users and groups; [`fault`]: what a broken
//!    program says
//! 5. [`daemon`]: the loop that joins them to the world
//! 6. [`cli`]: the process's own arguments
//!
//! Floors 1 to 3 are sans-IO: they take bytes, commands and `now`, and return actions.

pub mod account;
pub mod api;
pub mod cli;
pub mod command;
pub mod config;
pub mod console;
pub mod control;
pub mod daemon;
pub mod dialect;
pub mod fault;
pub mod hub;
pub mod model;
pub mod node;
pub mod provision;
pub mod reactor;
pub mod store;
pub mod web;
