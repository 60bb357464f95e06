//! Unix signals as values, by signal-hook's self-pipe.

use std::io;
use std::os::unix::net::UnixStream;

use async_channel::Sender;
use futures_lite::AsyncReadExt;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use smol::Async;

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again (or, in a terminal, it is gone).
    Hangup,
    /// SIGTERM or SIGINT: end.
    End,
}

/// Starts listening; signals come out of the channel.
pub fn listen(executor: &smol::LocalExecutor<'_>, told: &Sender<Signal>) -> io::Result<()> {
    let all = [(SIGHUP, Signal::Hangup), (SIGTERM, Signal::End), (SIGINT, Signal::End)];
    for (number, signal) in all {
        let (ours, theirs) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(number, theirs)?;
        let mut ours = Async::new(ours)?;
        let told = told.clone();
        executor
            .spawn(async move {
                let mut byte = [0; 1];
                while matches!(ours.read(&mut byte).await, Ok(1)) {
                    if told.send(signal).await.is_err() {
                        return;
                    }
                }
            })
            .detach();
    }
    Ok(())
}
