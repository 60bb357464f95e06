//! The hello chat's own web API (`api`), and the small server under it: who is connected, and
//! within what bounds. The page has a server of its own, whose bounds are by address.
//!
//! Each connection is a task on the daemon's one executor. Nothing a client does or leaves undone
//! holds up another: a head or a silence has its time, a reader that does not read is closed, and
//! beyond [`MAX_CONNECTIONS`] a newcomer is told so.

pub mod api;
mod body;
pub mod form;
mod patient;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddrV4, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::AsyncWriteExt;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use nix::errno::Errno;
use smol::{Async, LocalExecutor, Timer};
use smol_hyper::rt::{FuturesIo, SmolTimer};

pub use body::{Body, read};
pub use hyper::{Request, Response, StatusCode};
use patient::Patient;

/// Connections of one listener at once.
pub const MAX_CONNECTIONS: usize = 32;
/// Longest head of a request, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;
/// Header lines in it.
pub const MAX_HEADERS: usize = 64;
/// Longest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// A head must be whole within this time; a kept connection may be silent for so long.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// A body must be whole within this time.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// A reader must take something within this time.
pub const WRITE_TIME: Duration = Duration::from_secs(10);
/// While descriptors or memory are used up, accepting pauses so long.
const PAUSE: Duration = Duration::from_millis(250);

/// Answers requests.
pub trait Site {
    /// The answer to one.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>>;
}

/// Listens at an address.
///
/// # Errors
/// As `bind(2)` has them.
pub fn listen(at: SocketAddrV4) -> io::Result<Async<TcpListener>> {
    Async::<TcpListener>::bind(at)
}

/// Serves until the listener fails; dropping it ends all connections.
pub async fn serve<S: Site + 'static>(
    listener: Async<TcpListener>,
    site: Rc<S>,
    executor: Rc<LocalExecutor<'static>>,
) -> io::Error {
    let mut connections: Vec<smol::Task<()>> = Vec::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.retain(|task| !task.is_finished());
                if connections.len() >= MAX_CONNECTIONS {
                    executor.spawn(turn_away(stream)).detach();
                    continue;
                }
                connections.push(executor.spawn(connection(stream, Rc::clone(&site))));
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    Timer::after(PAUSE).await;
                }
                Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EAGAIN | Errno::EPROTO) => {
                    smol::future::yield_now().await;
                }
                _ => return error,
            },
        }
    }
}

async fn connection<S: Site>(stream: Async<TcpStream>, site: Rc<S>) {
    let site = &site;
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(site.answer(request).await) });
    // what goes wrong on a connection is its client's trouble: it ends
    let _ = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(2 * MAX_HEAD)
        .serve_connection(FuturesIo::new(Patient::new(stream)), service)
        .await;
}

async fn turn_away(mut stream: Async<TcpStream>) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
        Connection: close\r\nRetry-After: 5\r\n\r\n";
    // it fits the send buffer of a fresh connection: no waiting
    let _ = stream.write_all(FULL).await;
}

/// An answer of this kind.
pub fn answer(status: StatusCode, kind: &'static str, bytes: impl Into<Vec<u8>>) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A line of text.
pub fn text(status: StatusCode, line: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// Whether a request comes by a name that an attacker's own server could bear: a page of his would
/// then speak to us as to itself (DNS rebinding). Names without a dot and `.local` ones are the
/// LAN's own.
pub fn is_rebound<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(HOST) else { return false };
    let Some(name) = host.to_str().ok().map(host_name) else { return true };
    let local = !name.contains('.') || name.to_ascii_lowercase().ends_with(".local");
    !local && name.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
}

/// Whether a page of somebody else's makes its reader's browser ask this.
pub fn is_forged<B>(request: &Request<B>) -> bool {
    let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap_or("?"));
    if let Some(site) = header("sec-fetch-site") {
        return !matches!(site, "same-origin" | "same-site" | "none");
    }
    let Some(origin) = header(ORIGIN.as_str()) else { return false };
    let theirs = origin.split_once("://").map(|(_, host)| host_name(host));
    theirs.is_none() || theirs != header(HOST.as_str()).map(host_name)
}

fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
