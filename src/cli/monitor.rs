//! `monitor`: one line per event, for as long as someone reads them.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use futures_lite::FutureExt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::Options;
use super::{Code, show};
use crate::control::Client;
use crate::daemon::complain;
use crate::hub::Way;
use crate::model::{IoError, Refusal, Stamped};
use crate::reactor::Timer;

/// So often it is looked whether someone still reads while nothing happens.
const LOOK: Duration = Duration::from_secs(1);

/// Until the node or the reader is gone.
pub(super) async fn run(
    client: &mut Client,
    options: &Options,
    since: Option<String>,
) -> Result<Code, Refusal> {
    client.subscribe(since, options.acting.clone()).await?;
    loop {
        let event = async { Some(client.event().await) };
        let look = async {
            Timer::after(LOOK).await;
            None
        };
        let event = match event.or(look).await {
            Some(Some(event)) => event,
            Some(None) => {
                complain("the node is gone");
                return Ok(Code::NoNode);
            }
            None if is_read() => continue,
            None => return Ok(Code::Done),
        };
        if let Err(error) = tell(options, &event) {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Ok(Code::Done);
            }
            return Err(Refusal::File { path: "stdout".into(), reason: IoError::from(error).text });
        }
    }
}

fn tell(options: &Options, event: &Stamped) -> io::Result<()> {
    let line = if options.json {
        serde_json::to_string(event)? + "\n"
    } else {
        match show::event(event) {
            Some(line) => line + "\n",
            None => return Ok(()),
        }
    };
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Whether stdout's other end is there: a pipe whose reader is gone has POLLERR (poll(2)).
fn is_read() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    poll(&mut polled, PollTimeout::ZERO).is_err()
        || !polled[0].revents().is_some_and(|found| found.intersects(gone))
}
