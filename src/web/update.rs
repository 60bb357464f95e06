//! A system update that the operator hands in by the page: its bytes go straight on to who installs
//! it, by a pair of sockets, and the answer waits for the result. Nothing of it is held here.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::io::AsyncWriteExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde_json::json;

use super::reply::{self, Reply};
use super::server::{self, BODY_MS};
use super::site::{Site, bad_body};
use crate::command::Command;
use crate::model::{Answer, IoError};
use crate::reactor::Async;

/// `POST /api/v1/update`, the bundle itself as its body.
pub async fn answer(site: &Rc<Site>, mut body: Incoming) -> Reply {
    let (ours, theirs) = match pair() {
        Ok(pair) => pair,
        Err(error) => {
            let text = IoError::from(error).text;
            return reply::wrong(StatusCode::SERVICE_UNAVAILABLE, &text);
        }
    };
    log::info!("web: the operator hands in an update");
    let installed = async {
        let command = Command::Update { descriptor: None };
        match site.hub.ask(None, command, Some(theirs)).await {
            Ok(Answer::Log(lines)) => reply::good(&json!({"lines": lines})),
            Ok(_) => reply::good(&json!({"lines": []})),
            Err(refusal) => reply::refusal(&refusal),
        }
    };
    let handed = async {
        loop {
            match server::next(&mut body).await {
                Ok(Some(bytes)) => {
                    if (&ours).write_all(&bytes).await.is_err() {
                        break; // it was refused already: the other one says why
                    }
                }
                Ok(None) => {
                    let _ = ours.get_ref().shutdown(std::net::Shutdown::Write);
                    break;
                }
                // half of an update is never passed for a whole one: it is not signed so
                Err(bad) => return bad_body(bad),
            }
        }
        futures_lite::future::pending().await
    };
    futures_lite::future::or(installed, handed).await
}

/// Our end, and the one that a thread reads; it does not wait longer for bytes than we do.
fn pair() -> io::Result<(Async<UnixStream>, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_read_timeout(Some(Duration::from_millis(2 * BODY_MS)))?;
    Ok((Async::new(ours)?, theirs.into()))
}
