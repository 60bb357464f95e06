//! daemon

pub mod place;
