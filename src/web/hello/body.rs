//! Bodies: ours, whole; theirs, read within bounds.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::FutureExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use smol::Timer;

use super::{BODY_TIME, MAX_BODY, Response, StatusCode, text};

/// What we answer with.
#[derive(Default)]
pub struct Body(Option<Bytes>);

impl Body {
    /// All of it at once.
    pub fn whole(bytes: Vec<u8>) -> Body {
        Body(Some(bytes.into()).filter(|b: &Bytes| !b.is_empty()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Reads a request's body whole.
///
/// # Errors
/// It is longer than [`MAX_BODY`], does not come in time, or breaks off: what to answer.
pub async fn read(mut body: Incoming) -> Result<Vec<u8>, Response<Body>> {
    let too_long = || {
        let line = format!("a body of more than {MAX_BODY} bytes");
        text(StatusCode::PAYLOAD_TOO_LARGE, &line)
    };
    let reading = async {
        let mut bytes = Vec::new();
        loop {
            let frame =
                std::future::poll_fn(|cx| hyper::body::Body::poll_frame(Pin::new(&mut body), cx));
            let data = match frame.await {
                None => return Ok(bytes),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Err(text(StatusCode::BAD_REQUEST, "the body breaks off")),
            };
            if bytes.len() + data.len() > MAX_BODY {
                return Err(too_long());
            }
            bytes.extend_from_slice(&data);
        }
    };
    let late = async {
        Timer::after(BODY_TIME).await;
        Err(text(StatusCode::REQUEST_TIMEOUT, "the body does not come"))
    };
    reading.or(late).await
}
