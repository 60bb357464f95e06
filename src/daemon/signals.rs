//! Unix signals as values, by signal-hook's self-pipe. They are caught before anything is begun:
//! one that comes while a slow disk is opened waits in its pipe until the loop runs, and the end is
//! as orderly as any.

use std::io;
use std::os::unix::net::UnixStream;

use async_channel::Sender;
use futures_lite::AsyncReadExt;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};

use crate::reactor::{Async, spawn};

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again (or, in a terminal, it is gone).
    Hangup,
    /// SIGTERM or SIGINT: end.
    End,
}

/// Signals that are caught, and wait to be listened to.
pub struct Caught(Vec<(UnixStream, Signal)>);

/// Catches them from now on.
///
/// # Errors
/// As socketpair(2) and sigaction(2) have them; then some may end the process as ever.
pub fn catch() -> io::Result<Caught> {
    let all = [(SIGHUP, Signal::Hangup), (SIGTERM, Signal::End), (SIGINT, Signal::End)];
    let catch = |(number, signal)| {
        let (ours, theirs) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(number, theirs)?;
        Ok((ours, signal))
    };
    all.into_iter().map(catch).collect::<io::Result<_>>().map(Caught)
}

/// Starts listening; those that came meanwhile and that come come out of the channel.
pub fn listen(
    caught: Caught,
    executor: &async_executor::LocalExecutor<'_>,
    told: &Sender<Signal>,
) -> io::Result<()> {
    for (ours, signal) in caught.0 {
        let ours = Async::new(ours)?;
        let told = told.clone();
        spawn(executor, async move {
            let mut byte = [0; 1];
            while matches!((&ours).read(&mut byte).await, Ok(1)) {
                if told.send(signal).await.is_err() {
                    return;
                }
            }
        })
        .detach();
    }
    Ok(())
}
