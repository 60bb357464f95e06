//! store

pub mod files;
pub mod picture;
