//! Hosts as network namespaces on a bridge, each running the real binary: what only a network
//! shows. Needs root and `ip` (Debian's iproute2); see [`lan::wanted`] for when it runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod changes;
mod directory;
mod files;
mod hello;
mod junk;
mod keeping;
mod keeps;
mod lan;
mod link;
mod lone;
mod named;
mod node;
mod picture;
mod rooms;
mod script;
mod students;
mod together;
mod ways;
