//! Consoles on serial lines: whole sessions over a pseudo-terminal, byte by byte, and the screen
//! that a person would see. The daemon is the real one.
#![allow(clippy::unwrap_used)]

mod cable;
mod image;
mod json;
mod line;
mod machine;
mod web;
