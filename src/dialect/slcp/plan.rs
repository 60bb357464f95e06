//! How one image goes to one peer: a recipe that the machine performs step by step.
//!
//! Apart from [`super::encode`] since it needs several writes, a port of its own and a wait.

use super::encode::json_string;
use super::forms::{Form, ImageForm};
use crate::model::Handle;

/// The recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// By what, and in which order.
    pub way: ImageWay,
    /// Which port of the peer.
    pub port: ImagePort,
    /// The header, to be sent first.
    pub head: Vec<u8>,
    /// How the image's bytes follow.
    pub body: Body,
    /// What is sent after the last byte.
    pub tail: Vec<u8>,
}

/// By what an image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageWay {
    /// Connect, write the head, wait as said, write body and tail, finish.
    Stream(Wait),
    /// Datagrams: the head and the body in pieces of at most `size` bytes; where `joined`, the
    /// first piece follows the head in the same datagram.
    Datagrams {
        /// Most image bytes in one datagram.
        size: usize,
        /// Whether the head and the first piece share a datagram.
        joined: bool,
    },
    /// The head by UDP to the port, then connect to it by TCP and write the body.
    HeadByDatagram,
    /// The head by UDP; the peer connects to the port that it names, and is given the body.
    ConnectBack,
}

/// What to wait for between head and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    No,
    /// So many milliseconds.
    Pause(u64),
    /// `READY` or `OK` ([`super::stream::is_ready`]); after so many milliseconds without it,
    /// go on all the same.
    Ready(u64),
}

/// Which port of the peer an image goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePort {
    /// Its JOIN port, plus so many.
    Join(u16),
    /// This one.
    Fixed(u16),
    /// One that is not on the wire, only in its configuration and so in ours (001).
    Configured,
}

/// How the image's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// As they are.
    Raw,
    /// In base64 with padding, without line ends.
    Base64,
}

/// The recipe for an image of `size` bytes whose kind is `ext` (`png`), from our user `me` to
/// `peer`. `back` is a port of ours where the peer may fetch it, used by [`ImageWay::ConnectBack`]
/// alone. The name in the header is made here, never the sender's path.
pub fn image_plan(
    form: &Form,
    me: &Handle,
    peer: &Handle,
    size: u64,
    ext: &str,
    back: u16,
) -> ImagePlan {
    let ext: String = ext.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let name = if ext.is_empty() { "image".into() } else { format!("image.{ext}") };
    let named = |receiver: bool| if receiver { peer } else { me };
    let stream = |wait, head: String| ImagePlan {
        way: ImageWay::Stream(wait),
        port: ImagePort::Join(0),
        head: head.into_bytes(),
        body: Body::Raw,
        tail: Vec::new(),
    };
    match form.image {
        ImageForm::Stream { receiver } => {
            stream(Wait::No, format!("IMG {} {size}\n", named(receiver)))
        }
        ImageForm::StreamNamed => ImagePlan {
            port: ImagePort::Join(1),
            ..stream(Wait::No, format!("IMG {me} {name} {size}\n"))
        },
        ImageForm::StreamBlank => ImagePlan {
            port: ImagePort::Configured,
            ..stream(Wait::No, format!("IMG {me} {name} {size} "))
        },
        ImageForm::StreamPause => {
            stream(Wait::Pause(PAUSE_MS), format!("IMG {me} {size}|{name}\n"))
        }
        ImageForm::StreamAsk => stream(Wait::Ready(READY_MS), format!("IMG {name} {size}\n")),
        ImageForm::Json => ImagePlan {
            port: ImagePort::Join(100),
            body: Body::Base64,
            tail: b"\"]".to_vec(),
            ..stream(Wait::No, format!("[{}, {}, \"", json_string(me.as_str()), json_string(&name)))
        },
        ImageForm::Datagram => {
            datagrams(ImagePort::Join(0), format!("IMG {me} {size}\n"), KHAN_BODY, true)
        }
        ImageForm::TwoDatagrams { receiver, newline } => datagrams(
            ImagePort::Join(0),
            format!("IMG {} {size}{}", named(receiver), if newline { "\n" } else { "" }),
            DATAGRAM,
            false,
        ),
        ImageForm::Chunks => {
            datagrams(ImagePort::Fixed(6000), format!("IMG {name} {size}"), CHUNK, false)
        }
        ImageForm::ConnectBack => ImagePlan {
            way: ImageWay::ConnectBack,
            ..stream(Wait::No, format!("IMG {me} {peer} {back} {size}"))
        },
        ImageForm::HeadByDatagram => ImagePlan {
            way: ImageWay::HeadByDatagram,
            ..stream(Wait::No, format!("IMG {me} {size}\n"))
        },
    }
}

fn datagrams(port: ImagePort, head: String, size: usize, joined: bool) -> ImagePlan {
    ImagePlan {
        way: ImageWay::Datagrams { size, joined },
        port,
        head: head.into_bytes(),
        body: Body::Raw,
        tail: Vec::new(),
    }
}

/// Meriem's own pause (PROTOCOLS section 1).
const PAUSE_MS: u64 = 50;
/// How long `READY` may take.
const READY_MS: u64 = 3_000;
/// Image bytes that khan puts into one datagram.
const KHAN_BODY: usize = 60_000;
/// Image bytes that 002 NO_IPC takes per datagram (captures/slcp-002-lucaatm-NO_IPC).
const CHUNK: usize = 512;
/// Image bytes that fit one datagram.
const DATAGRAM: usize = crate::model::limits::DATAGRAM;
