//! SANS-IO: the chats we speak. Each folder turns bytes into the model's words and back.

mod bucket;
pub mod directory;
pub mod heard;
pub mod hello;
mod lan;
pub mod link;
mod parts;
pub mod raw;
pub mod room;
pub mod slcp;
mod told;
mod writer;
