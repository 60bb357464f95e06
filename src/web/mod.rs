//! The page: anyone with a browser on the LAN is in the chat.
//!
//! `server` reads requests and `seats` bounds connections; `route` says what a path is for, `site`
//! who asks; `door` lets guests come and go, `address` says where it is; `calls` are the control interface's methods, `events` its stream;
//! `uploads` and `files` carry files; `plain` is the page without scripts, `words` its languages; `operator` and
//! `metrics` are for who runs the box. `assets` are the page's own files, built in. Pure parts:
//! `http` (heads), `gate` (PINs and floods), `guests`, `shelf`, `qr`, `reply`.
//!
//! `hello` is another thing: the web API of the hello chat's programs, on their ports.

// An error here is the answer to a request, sent at once: nothing is gained by boxing it.
#![allow(clippy::result_large_err)]

mod address;
pub mod assets;
pub mod calls;
mod door;
mod events;
mod files;
pub mod gate;
pub mod guests;
pub mod hello;
pub mod http;
mod metrics;
#[cfg(test)]
mod openapi;
pub mod operator;
pub mod plain;
pub mod qr;
pub mod reply;
mod route;
mod seats;
pub mod server;
pub mod shelf;
pub mod site;
mod update;
mod uploads;
mod words;

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use async_executor::LocalExecutor;

use crate::config::Web;
use crate::reactor::spawn;
use site::Site;

/// Ports that are tried when the first is taken.
const TRIES: u16 = 15;

/// The page's listener: the one that systemd opened (`FileDescriptorName=web`), else one made as
/// the settings say.
///
/// # Errors
/// As `bind(2)` has them.
pub fn listener(set: &Web) -> io::Result<TcpListener> {
    match crate::control::socket::inherited("web") {
        Some(fd) => Ok(TcpListener::from(fd)),
        None => server::listen(set.listen, set.port, TRIES),
    }
}

/// Begins to serve.
pub fn serve(listener: TcpListener, executor: &Rc<LocalExecutor<'static>>, site: &Rc<Site>) {
    spawn(executor, door::bring_back(Rc::clone(site))).detach();
    spawn(executor, Rc::clone(site).follow()).detach();
    spawn(executor, door::tend(Rc::clone(site))).detach();
    let serving = server::serve(listener, Rc::clone(executor), site.clone());
    spawn(executor, async move {
        let error = serving.await;
        log::error!("web: {error}: the page is not served any more");
    })
    .detach();
}
