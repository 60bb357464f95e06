//! SANS-IO: the one node that owns all state. `handle` takes what happened, `poll` gives what to do.

pub mod io;
