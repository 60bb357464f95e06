//! Images going out, each in the way its recipient's program takes them (`plan`).

use std::net::{Ipv4Addr, SocketAddrV4};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::plan::{self, Body, ImagePlan, ImagePort, ImageWay, Wait};
use super::super::stream::is_ready;
use super::streams::Stream;
use super::{Addressee, Heard, Machine, UserId};
use crate::model::limits::STALL_MS;
use crate::model::{IoError, Millis, Net, StreamId, Trouble};

/// Programs that take an image by datagrams read them one by one with small buffers: one leaves
/// each so many milliseconds.
const PACE_MS: Millis = 4;
/// Most bytes of an image that is sent by datagrams; more would be lost on the way.
pub const MAX_BY_DATAGRAM: u64 = 4 * 1024 * 1024;

/// An image on its stream.
pub(super) struct Outgoing {
    pub(super) tag: u64,
    plan: ImagePlan,
    left: u64,
    stage: Stage,
    /// The other end said READY, perhaps before we heard that our header was written.
    ready: bool,
    /// Bytes that wait to fill a group of three (base64).
    rest: Vec<u8>,
    at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Head,
    Waiting,
    Body,
    Tail,
}

/// An image that the peer fetches from us (jalal).
pub(super) struct Offered {
    tag: u64,
    ip: Ipv4Addr,
    plan: ImagePlan,
    size: u64,
    pub(super) until: Millis,
}

/// An image that leaves by datagrams.
pub(super) struct ByDatagram {
    user: UserId,
    to: SocketAddrV4,
    plan: ImagePlan,
    left: u64,
    buffer: Vec<u8>,
    head_sent: bool,
    wanting: bool,
    pub(super) at: Millis,
}

impl Outgoing {
    pub(super) fn wake_at(&self) -> Millis {
        self.at
    }
}

impl Machine {
    /// Sends an image of `size` bytes; its bytes are asked for by [`Heard::WantBytes`], its fate
    /// comes as [`Heard::Sent`] or [`Heard::NotSent`] under `tag`. `format` is its kind (`png`).
    pub fn send_image(
        &mut self,
        now: Millis,
        tag: u64,
        user: UserId,
        to: &Addressee,
        size: u64,
        format: &str,
    ) {
        let Some(me) = self.users.get(&user) else { return self.no_port(tag) };
        if self.sockets.chat_socket(user).is_none() {
            return self.no_port(tag);
        }
        let form = self.contacts.sending_form(to.addr);
        let back = self.sockets.chat_port(user).map_or(0, |p| p.saturating_add(1));
        let plan = plan::image_plan(form, &me.handle, &to.handle, size, format, back);
        let port = match plan.port {
            ImagePort::Join(plus) => to.addr.port().checked_add(plus),
            ImagePort::Fixed(port) => Some(port),
            ImagePort::Configured => self.contacts.image_port(to.addr),
        };
        let Some(port) = port else {
            let text = "its program takes images at a port that only its configuration names: \
                        set it with FORM handle fabian:PORT";
            return self.heard(Heard::NotSent(tag, IoError::new(Trouble::Other, text)));
        };
        let place = SocketAddrV4::new(*to.addr.ip(), port);
        match plan.way {
            ImageWay::Stream(_) | ImageWay::HeadByDatagram => {
                if plan.way == ImageWay::HeadByDatagram {
                    self.send(user, place, plan.head.clone());
                }
                let at = now + STALL_MS;
                let rest = Vec::new();
                let stage = Stage::Connecting;
                let out = Outgoing { tag, plan, left: size, stage, ready: false, rest, at };
                if let Err(error) = self.new_stream(place, Stream::Image(out)) {
                    self.heard(Heard::NotSent(tag, error));
                }
            }
            ImageWay::ConnectBack => {
                self.send(user, place, plan.head.clone());
                let (ip, until) = (*to.addr.ip(), now + STALL_MS);
                self.images.offered.push(Offered { tag, ip, plan, size, until });
            }
            ImageWay::Datagrams { .. } if size > MAX_BY_DATAGRAM => {
                let text = format!(
                    "its program takes images by datagrams only, at most {MAX_BY_DATAGRAM} bytes"
                );
                self.heard(Heard::NotSent(tag, IoError::new(Trouble::TooLarge, text)));
            }
            ImageWay::Datagrams { .. } => {
                let by = ByDatagram {
                    user,
                    to: place,
                    plan,
                    left: size,
                    buffer: Vec::new(),
                    head_sent: false,
                    wanting: true,
                    at: now + STALL_MS,
                };
                self.images.datagrams.insert(tag, by);
                self.heard(Heard::WantBytes(tag));
            }
        }
    }

    /// The bytes that were wanted.
    pub fn image_bytes(&mut self, now: Millis, tag: u64, mut bytes: Vec<u8>) {
        // a file that grew meanwhile: only what was announced is sent
        let take = |left: u64| usize::try_from(left).unwrap_or(usize::MAX);
        if let Some(by) = self.images.datagrams.get_mut(&tag) {
            bytes.truncate(take(by.left));
            by.left -= (bytes.len() as u64).min(by.left);
            by.buffer.extend(bytes);
            (by.wanting, by.at) = (false, now);
            return self.pace(now, tag);
        }
        let Some(stream) = self.stream_of(tag) else { return };
        let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) else { return };
        bytes.truncate(take(out.left));
        out.left -= bytes.len() as u64;
        (out.stage, out.at) = (Stage::Body, now + STALL_MS);
        let bytes = match out.plan.body {
            Body::Raw => bytes,
            Body::Base64 => {
                let mut all = std::mem::take(&mut out.rest);
                all.extend(bytes);
                let whole = if out.left == 0 { all.len() } else { all.len() / 3 * 3 };
                out.rest = all.split_off(whole);
                STANDARD.encode(all).into_bytes()
            }
        };
        self.net(Net::Write(stream, bytes));
    }

    /// The node gives the image up.
    pub fn image_aborted(&mut self, tag: u64) {
        self.images.datagrams.remove(&tag);
        self.images.offered.retain(|o| o.tag != tag);
        if let Some(stream) = self.stream_of(tag) {
            self.streams.open.remove(&stream);
            self.net(Net::Close(stream));
        }
    }

    fn stream_of(&self, tag: u64) -> Option<StreamId> {
        let has = |s: &Stream| matches!(s, Stream::Image(out) if out.tag == tag);
        self.streams.open.iter().find(|(_, s)| has(s)).map(|(id, _)| *id)
    }

    pub(super) fn outgoing_connected(&mut self, now: Millis, stream: StreamId) {
        let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) else { return };
        out.at = now + STALL_MS;
        if out.plan.way == ImageWay::HeadByDatagram {
            return self.want(stream);
        }
        out.stage = Stage::Head;
        let head = out.plan.head.clone();
        self.net(Net::Write(stream, head));
    }

    pub(super) fn outgoing_wrote(&mut self, now: Millis, stream: StreamId) {
        let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) else { return };
        out.at = now + STALL_MS;
        match out.stage {
            Stage::Head => match out.plan.way {
                ImageWay::Stream(Wait::Ready(_)) if out.ready => self.want(stream),
                ImageWay::Stream(Wait::Pause(ms)) => {
                    (out.stage, out.at) = (Stage::Waiting, now + ms);
                }
                ImageWay::Stream(Wait::Ready(ms)) => {
                    (out.stage, out.at) = (Stage::Waiting, now + ms);
                }
                _ => self.want(stream),
            },
            Stage::Body if out.left > 0 => self.want(stream),
            Stage::Body if !out.plan.tail.is_empty() => {
                out.stage = Stage::Tail;
                let tail = out.plan.tail.clone();
                self.net(Net::Write(stream, tail));
            }
            Stage::Body | Stage::Tail => {
                let tag = out.tag;
                self.finish_stream(now, stream);
                self.heard(Heard::Sent(tag));
            }
            Stage::Connecting | Stage::Waiting => {}
        }
    }

    fn want(&mut self, stream: StreamId) {
        if let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) {
            out.stage = Stage::Body;
            let tag = out.tag;
            self.heard(Heard::WantBytes(tag));
        }
    }

    /// The other end said something while an image goes out: READY, or it does not matter.
    pub(super) fn outgoing_heard(&mut self, now: Millis, stream: StreamId, bytes: &[u8]) {
        let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) else { return };
        if out.stage == Stage::Waiting && is_ready(bytes) {
            out.at = now + STALL_MS;
            return self.want(stream);
        }
        out.ready |= out.stage == Stage::Head && is_ready(bytes);
        self.net(Net::ReadMore(stream));
    }

    pub(super) fn outgoing_tick(&mut self, now: Millis, stream: StreamId) {
        let Some(Stream::Image(out)) = self.streams.open.get_mut(&stream) else { return };
        if out.stage == Stage::Waiting {
            out.at = now + STALL_MS;
            return self.want(stream);
        }
        let tag = out.tag;
        self.streams.open.remove(&stream);
        self.net(Net::Close(stream));
        let text = format!("it takes nothing for {} seconds", STALL_MS / 1000);
        self.heard(Heard::NotSent(tag, IoError::new(Trouble::TimedOut, text)));
    }

    /// Whether a connection is a peer's that comes to fetch what was offered to it.
    pub(super) fn serve_offered_image(
        &mut self,
        now: Millis,
        stream: StreamId,
        from: SocketAddrV4,
        beside: bool,
    ) -> bool {
        let at = self.images.offered.iter().position(|o| beside && o.ip == *from.ip());
        let Some(at) = at else { return false };
        let Offered { tag, plan, size, .. } = self.images.offered.swap_remove(at);
        let out = Outgoing {
            tag,
            plan,
            left: size,
            stage: Stage::Body,
            ready: false,
            rest: Vec::new(),
            at: now + STALL_MS,
        };
        self.streams.open.insert(stream, Stream::Image(out));
        self.heard(Heard::WantBytes(tag));
        true
    }

    /// Sends the next datagram of an image.
    fn pace(&mut self, now: Millis, tag: u64) {
        let Some(by) = self.images.datagrams.get_mut(&tag) else { return };
        let ImageWay::Datagrams { size, joined } = by.plan.way else { return };
        if !by.head_sent && !joined {
            by.head_sent = true;
            by.at = now + PACE_MS;
            let (user, to, head) = (by.user, by.to, by.plan.head.clone());
            return self.send(user, to, head);
        }
        if by.buffer.len() < size && by.left > 0 {
            if !by.wanting {
                (by.wanting, by.at) = (true, now + STALL_MS);
                self.heard(Heard::WantBytes(tag));
            }
            return;
        }
        let rest = by.buffer.split_off(size.min(by.buffer.len()));
        let mut bytes = std::mem::replace(&mut by.buffer, rest);
        if !std::mem::replace(&mut by.head_sent, true) {
            bytes.splice(0..0, by.plan.head.iter().copied());
        }
        let done = by.left == 0 && by.buffer.is_empty();
        (by.at, by.wanting) = (now + PACE_MS, false);
        let (user, to) = (by.user, by.to);
        self.send(user, to, bytes);
        if done {
            self.images.datagrams.remove(&tag);
            self.heard(Heard::Sent(tag));
        }
    }

    pub(super) fn tick_outgoing(&mut self, now: Millis) {
        let due: Vec<u64> =
            self.images.datagrams.iter().filter(|(_, d)| d.at <= now).map(|(t, _)| *t).collect();
        for tag in due {
            if self.images.datagrams.get(&tag).is_some_and(|d| d.wanting) {
                self.images.datagrams.remove(&tag);
                let error = IoError::new(Trouble::TimedOut, "the file was not read in time");
                self.heard(Heard::NotSent(tag, error));
            } else {
                self.pace(now, tag);
            }
        }
        while let Some(at) = self.images.offered.iter().position(|o| o.until <= now) {
            let tag = self.images.offered.swap_remove(at).tag;
            let error = IoError::new(Trouble::TimedOut, "it did not come to fetch the image");
            self.heard(Heard::NotSent(tag, error));
        }
    }

    /// Datagrams to this address will not arrive.
    pub(super) fn image_unreachable(&mut self, to: SocketAddrV4, error: &IoError) {
        let lost: Vec<u64> =
            self.images.datagrams.iter().filter(|(_, d)| d.to == to).map(|(t, _)| *t).collect();
        for tag in lost {
            self.images.datagrams.remove(&tag);
            self.heard(Heard::NotSent(tag, error.clone()));
        }
    }
}
