//! The console: one code for a terminal, a pipe and (later) a serial line.
//!
//! [`keys`] turns bytes into keys, [`editor`] keys into lines and rows ([`row`]), [`session`] lines into
//! commands and events into words ([`render`], [`past`]). All four are pure: bytes and `now` in, bytes and
//! commands out. [`tty`] is the thin driver that gives them a real terminal.

pub mod editor;
pub mod history;
pub mod keys;
pub mod past;
pub mod render;
pub mod row;
pub mod session;
pub mod tty;

pub use editor::{Did, Editor, Screen};
pub use session::{Session, SessionOptions};
pub use tty::{Ended, Eof, Options, Terminal, run};
