//! Placeholder until the loop moves in: what the command line asks of it.

use std::path::PathBuf;
use std::process::ExitCode;

/// How a node is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// A console on this terminal (attached to a daemon that runs already), not a daemon.
    pub terminal: bool,
    /// `--instance`.
    pub instance: Option<String>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--user`: which of `[[users]]`, by number or handle.
    pub user: Option<String>,
    /// `--as`: who the console acts as.
    pub acting: Option<String>,
}

/// Runs a node until it ends.
pub fn start(start: Start) -> ExitCode {
    eprintln!("klatsch: the node is not built in yet ({start:?})");
    ExitCode::FAILURE
}
