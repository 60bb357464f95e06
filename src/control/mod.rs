//! The control socket: Varlink `org.klatsch.Chat` for programs, the CLI and attached consoles.
//!
//! * [`varlink`]: frames, calls, replies; knows nothing of klatsch
//! * [`wire`]: a Unix stream that carries frames and file descriptors
//! * [`interface`]: the description for others, held to the code by its tests
//! * [`socket`]: making the listener, or getting it from systemd
//! * [`server`] and `session`: who may be connected, and one connection's life
//! * `given`: which descriptors are not taken from everyone
//! * [`client`]: the other end, for the CLI and an attached console

pub mod client;
mod given;
pub mod interface;
pub mod server;
mod session;
pub mod socket;
#[cfg(test)]
mod tests;
pub mod varlink;
pub mod wire;

pub use client::{Client, Unreachable};
pub use server::{About, serve};
