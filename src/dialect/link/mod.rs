//! The link: between klatsch boxes nothing is lost, readable by others, or forged.
//!
//! `beacon` is how boxes find each other, `noise` what proves who they are, `session` one
//! connection, `frame` what is said inside, `queue` what makes a message arrive exactly once,
//! `rooms` what many
//! boxes say to each other, `machine` all of it together. The protocol and what it promises: `docs/link.md`.

pub mod beacon;
pub mod files;
pub mod frame;
pub mod machine;
pub mod noise;
pub mod queue;
pub mod rooms;
pub mod session;
pub mod wire;
pub mod words;
