//! The dialect's tests that belong to no single file: every variant inward, every form outward,
//! and properties of both. The captures are replayed by tests/slcp_captures.rs.

mod inward;
mod limits;
mod outward;
mod properties;
mod streams;

use crate::model::Handle;

/// We are Bob and Zoë here, whatever the case.
pub(super) fn ours(handle: &str) -> bool {
    ["bob", "zoë"].contains(&handle.to_lowercase().as_str())
}

pub(super) fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}
