//! SANS-IO: the chats we speak. Each folder turns bytes into the model's words and back.

pub mod heard;
pub mod hello;
pub mod link;
pub mod slcp;
