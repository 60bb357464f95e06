//! The console: one code for a terminal, a pipe and a serial line.
//!
//! [`keys`] turns bytes into keys, [`editor`] keys into lines and rows ([`row`]), [`session`] lines into
//! commands and events into words ([`render`], [`past`]). All four are pure: bytes and `now` in, bytes
//! and commands out. So are [`lock`], the operator's, [`inline`], files on the line itself, and
//! [`json`], the mode for programs. [`tty`] is the thin driver that gives them a real terminal.

pub mod editor;
pub mod history;
pub mod inline;
pub mod json;
pub mod keys;
pub mod lock;
pub mod past;
pub mod render;
pub mod row;
pub mod session;
pub mod tty;

pub use editor::{Did, Editor, Screen};
pub use session::{Session, SessionOptions, code};
pub use tty::{Ended, Eof, Options, Terminal, run};
