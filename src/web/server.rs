//! The HTTP/1.1 server: what is asked on each connection, and what bounds hold before anything is understood.
//!
//! Every bound is per connection or in all, so that the slow and the many hold up only themselves.
//! What a request means is the tenant's business: the page's (`site`), or the hello chat's API's
//! (`hello`).

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_executor::{LocalExecutor, Task};
use futures_lite::{FutureExt, Stream};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use nix::sys::socket::{setsockopt, sockopt};
use smol_hyper::rt::FuturesIo;

use super::seats::{EndAll, Seat, Table, Work};
use crate::reactor::{Async, Refused, Timer, spawn};

/// Connections at once. When one more comes, the one that was idle longest is closed; if all are
/// at work, the newest of the address that has most of them ([`super::gate::gives_way`]), or the newcomer.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections at once from one address: a browser opens six, some phones share an address.
pub const MAX_PER_ADDRESS: usize = 24;
/// A request's head, in bytes; also what is buffered of a connection each way.
pub const MAX_HEAD: usize = 16 * 1024;
/// Lines of a request's head.
pub const MAX_HEADERS: usize = 64;
/// A head must be whole within this time; an idle connection is closed after it, in milliseconds.
pub const HEAD_MS: u64 = 15_000;
/// A body must bring its next bytes within this time, in milliseconds.
pub const BODY_MS: u64 = 15_000;
/// What we send must be taken within this time, in milliseconds.
pub const WRITE_MS: u32 = 30_000;

/// While descriptors or memory are used up, accepting pauses so long.
const PAUSE: Duration = Duration::from_millis(250);

/// A piece after another of an answer whose end is not there yet.
pub type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// An answer's body.
pub struct Payload {
    kind: Kind,
    /// While it is being sent, its connection is at work.
    _work: Option<Work>,
}

enum Kind {
    Whole(Option<Bytes>),
    Pieces(Pieces),
}

impl Payload {
    /// All of it.
    pub fn whole(bytes: impl Into<Bytes>) -> Payload {
        Payload { kind: Kind::Whole(Some(bytes.into())), _work: None }
    }

    /// As it comes.
    pub fn pieces(pieces: Pieces) -> Payload {
        Payload { kind: Kind::Pieces(pieces), _work: None }
    }

    /// Its bytes, if they are all there.
    pub fn peek(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Whole(bytes) => bytes.as_ref(),
            Kind::Pieces(_) => None,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Pieces(pieces) => {
                pieces.as_mut().poll_next(cx).map(|piece| piece.map(|p| p.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Kind::Pieces(_) => SizeHint::default(),
        }
    }
}

/// The address of this host that a request came to, among its extensions.
#[derive(Clone, Copy)]
pub struct Reached(pub IpAddr);

/// An answer that is on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<Payload>>>>;

/// What answers requests.
pub trait Tenant: 'static {
    /// Connections at once: in all, and from one address.
    fn seats(&self) -> (usize, usize);

    /// Answers one from this address.
    fn answer(self: Rc<Self>, request: Request<Incoming>, from: IpAddr) -> Answering;
}

/// Listens there; where the port is taken, on the next of `tries`.
///
/// # Errors
/// As `bind(2)` has them, of the first.
pub fn listen(address: Option<IpAddr>, port: u16, tries: u16) -> io::Result<TcpListener> {
    let mut first = None;
    for port in port..=port.saturating_add(tries) {
        let opened = match address {
            Some(address) => TcpListener::bind((address, port)),
            // one socket for both families, where there is IPv6
            None => TcpListener::bind(("::", port)).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => TcpListener::bind(("0.0.0.0", port)),
            }),
        };
        match opened {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Serves until the listener fails; dropping it ends all connections.
pub async fn serve(
    listener: TcpListener,
    executor: Rc<LocalExecutor<'static>>,
    tenant: Rc<dyn Tenant>,
) -> io::Error {
    let listener = match Async::new(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let (most, per_address) = tenant.seats();
    let table = Rc::new(Table::new(most, per_address));
    let _end = EndAll(Rc::clone(&table));
    let mut exhausted = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                exhausted = false;
                let ip = from.ip().to_canonical();
                let Some(seat) = Table::seat(&table, ip) else {
                    turn_away(stream.get_ref());
                    continue;
                };
                let id = seat.id;
                let life = converse(stream, from, seat, Rc::clone(&tenant), Rc::clone(&executor));
                table.take_place(id, spawn(&executor, life));
            }
            Err(error) => match Refused::of(&error) {
                Refused::This => {}
                Refused::ForNow => {
                    if !std::mem::replace(&mut exhausted, true) {
                        log::warn!("web: {error}: no new connections until it passes");
                    }
                    Timer::after(PAUSE).await;
                }
                Refused::All => return error,
            },
        }
        futures_lite::future::yield_now().await;
    }
}

/// Says that all places are taken. It fits the send buffer of a fresh connection: no waiting.
fn turn_away(mut stream: &TcpStream) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
        Connection: close\r\nRetry-After: 5\r\n\r\n";
    let _ = stream.write(FULL); // whoever is gone already needs no answer
}

async fn converse(
    stream: Async<TcpStream>,
    from: SocketAddr,
    seat: Seat,
    tenant: Rc<dyn Tenant>,
    executor: Rc<LocalExecutor<'static>>,
) {
    // Best effort: without them it is only slower, or held longer.
    let _ = stream.get_ref().set_nodelay(true);
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &WRITE_MS);
    let ip = from.ip().to_canonical();
    let reached = stream.get_ref().local_addr().ok().map(|own| Reached(own.ip().to_canonical()));
    let seat = Rc::new(seat);
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(reached) = reached {
            request.extensions_mut().insert(reached);
        }
        let work = Seat::works(&seat);
        let answer = Rc::clone(&tenant).answer(request, ip);
        let answer = spawn(&executor, async move {
            let mut answer = answer.await;
            answer.body_mut()._work = Some(work);
            answer
        });
        let mut carried = Carried(Some(answer));
        async move { Ok::<_, Infallible>((&mut carried).await) }
    });
    let outcome = http1::Builder::new()
        .timer(Clock)
        .header_read_timeout(Duration::from_millis(HEAD_MS))
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(FuturesIo::new(&stream), service)
        .await;
    if let Err(error) = outcome {
        log::debug!("web: {ip}: {error}");
    }
}

/// What hyper waits by.
struct Clock;

impl hyper::rt::Timer for Clock {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Timer::after(time))
    }

    fn sleep_until(&self, at: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Timer::at(at))
    }
}

impl hyper::rt::Sleep for Timer {}

/// An answer being made. It is made to its end even if the connection breaks meanwhile: half of
/// an act would leave users, names or windows that nobody has. It holds its connection's place
/// until then.
struct Carried(Option<Task<Response<Payload>>>);

impl Future for Carried {
    type Output = Response<Payload>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(task) => {
                let answer = std::task::ready!(Pin::new(task).poll(cx));
                self.0 = None;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

/// A request's body, whole, if it is no longer than `most` bytes and comes in time: within twice
/// [`BODY_MS`], so that a trickle holds no place for long.
pub async fn body(request: Incoming, most: usize) -> Result<Vec<u8>, BadBody> {
    let late = async {
        Timer::after(Duration::from_millis(2 * BODY_MS)).await;
        Err(BadBody::Late)
    };
    gathered(request, most).or(late).await
}

async fn gathered(request: Incoming, most: usize) -> Result<Vec<u8>, BadBody> {
    if request.size_hint().lower() > most as u64 {
        return Err(BadBody::TooLong);
    }
    let mut whole = Vec::new();
    let mut request = request;
    while let Some(bytes) = next(&mut request).await? {
        if whole.len() + bytes.len() > most {
            return Err(BadBody::TooLong);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

/// The next bytes of a body; `None` at its end.
pub async fn next(request: &mut Incoming) -> Result<Option<Bytes>, BadBody> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *request).poll_frame(cx));
        let frame = async { Some(frame.await) };
        let late = async {
            Timer::after(Duration::from_millis(BODY_MS)).await;
            None
        };
        match frame.or(late).await {
            None => return Err(BadBody::Late),
            Some(None) => return Ok(None),
            Some(Some(Err(_))) => return Err(BadBody::Cut),
            Some(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Why there is no whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// More than is taken.
    TooLong,
    /// Nothing came for [`BODY_MS`].
    Late,
    /// The connection broke, or it was no HTTP.
    Cut,
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Takes a while for each answer, and counts those it made to the end.
    struct Slow(Cell<u32>);

    impl Tenant for Slow {
        fn seats(&self) -> (usize, usize) {
            (MAX_CONNECTIONS, MAX_PER_ADDRESS)
        }

        fn answer(self: Rc<Self>, _: Request<Incoming>, _: IpAddr) -> Answering {
            Box::pin(async move {
                Timer::after(Duration::from_millis(100)).await;
                self.0.set(self.0.get() + 1);
                Response::new(Payload::whole(&b""[..]))
            })
        }
    }

    #[test]
    fn who_hangs_up_in_the_middle_of_a_request_leaves_no_half_of_an_act() {
        let listener = listen(Some(IpAddr::from([127, 0, 0, 1])), 38_584, 8).unwrap();
        let at = listener.local_addr().unwrap();
        let executor = Rc::new(LocalExecutor::new());
        let tenant = Rc::new(Slow(Cell::new(0)));
        let _serving = executor.spawn(serve(
            listener,
            Rc::clone(&executor),
            Rc::clone(&tenant) as Rc<dyn Tenant>,
        ));
        crate::reactor::block_on(executor.run(async {
            let mut client = TcpStream::connect(at).unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
            Timer::after(Duration::from_millis(30)).await;
            drop(client);
            Timer::after(Duration::from_millis(400)).await;
        }));
        assert_eq!(tenant.0.get(), 1);
    }

    #[test]
    fn a_taken_port_gives_the_next() {
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        let first = listen(local, 38_484, 8).unwrap();
        let second = listen(local, first.local_addr().unwrap().port(), 8).unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        let taken = first.local_addr().unwrap().port();
        assert_eq!(listen(local, taken, 0).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
