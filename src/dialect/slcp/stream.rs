//! What comes over one TCP connection, however it is cut into reads: lines, arrays, images.
//!
//! Bounded: at most one line is kept; an image's bytes pass through and are never collected. The
//! outcome depends on the bytes alone, not on how they were split (held by a property test).

use super::image::{self, Found};
use super::said::{ImageHead, ImageStyle, Said, Unreadable};
use super::unbase64::{Progress, Unbase64};
use super::{MAX_HEAD, codec, json};
use crate::model::Handle;
use crate::model::limits::STREAM_LINE;

/// What kind of port of ours a stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A local user's JOIN port; also for streams that we made.
    Chat,
    /// JOIN port + 1: images of BYMY.
    ImagePlus1,
    /// JOIN port + 100: images of 002 main.
    ImagePlus100,
    /// A port of 001's configuration: images only.
    ImageOnly,
}

/// What came over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSaid {
    /// A line, or an array that is none of an image.
    Said(Said),
    /// An image begins.
    ImageStart(ImageHead),
    /// Some of its bytes.
    ImageBytes(Vec<u8>),
    /// It is whole.
    ImageEnd,
    /// The header came and nothing followed: the other end waits for `READY` or `OK`.
    AwaitingBody,
    /// The stream ended, or broke, within the image.
    ImageShort {
        /// Bytes that came.
        have: u64,
        /// Bytes that the header promised; unknown for base64.
        want: Option<u64>,
    },
    /// Bytes that no word begins: an image promised elsewhere. Once begun, all that follows.
    Raw(Vec<u8>),
    /// A line that could not be understood.
    Unreadable(Unreadable),
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    port: PortKind,
    state: State,
    /// What came and could not be decided yet; at most one line.
    pending: Vec<u8>,
    /// How much of `pending` was looked through already.
    scanned: usize,
}

/// Whether the other end says that it takes the image: `READY` (pollo) or `OK` (mahiramd).
pub fn is_ready(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii(), b"READY" | b"OK")
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A line, an array or a header comes.
    Between,
    /// Within an array that is no image.
    Array { depth: u32, string: bool, escaped: bool },
    /// Within an image.
    Image { have: u64, want: u64, asked: bool },
    /// Within an image in base64.
    Base64 { have: u64, reader: Unbase64 },
    /// Behind an image in base64, up to its array's bracket.
    Tail,
    /// Behind a line that was too long, up to its end.
    Skip,
    /// Unknown bytes, to the end.
    Raw,
    /// Nothing more is taken: what came cannot be followed.
    Dead,
}

/// Whether more can come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    No,
    Idle,
    End,
}

type IsOurs<'a> = &'a dyn Fn(&str) -> bool;

impl Reader {
    /// For a stream to this port.
    pub fn new(port: PortKind) -> Reader {
        Reader { port, state: State::Between, pending: Vec::new(), scanned: 0 }
    }

    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8], is_ours: IsOurs) -> Vec<StreamSaid> {
        self.pending.extend_from_slice(bytes);
        self.run(Flush::No, is_ours)
    }

    /// Nothing came for a while: a line without an end is taken as it is (Daniyal, pollo), and a
    /// header without a body is told as [`StreamSaid::AwaitingBody`], once.
    pub fn idle(&mut self, is_ours: IsOurs) -> Vec<StreamSaid> {
        let mut out = self.run(Flush::Idle, is_ours);
        if let State::Image { have: 0, asked: asked @ false, .. } = &mut self.state {
            *asked = true;
            out.push(StreamSaid::AwaitingBody);
        }
        out
    }

    /// The other end sends no more.
    pub fn end(&mut self, is_ours: IsOurs) -> Vec<StreamSaid> {
        let mut out = self.run(Flush::End, is_ours);
        match self.state {
            State::Image { have, want, .. } => {
                out.push(StreamSaid::ImageShort { have, want: Some(want) });
            }
            State::Base64 { have, .. } => out.push(StreamSaid::ImageShort { have, want: None }),
            State::Array { .. } => out.push(StreamSaid::Unreadable(Unreadable::BadJson)),
            _ => {}
        }
        self.state = State::Dead;
        out
    }

    fn run(&mut self, flush: Flush, is_ours: IsOurs) -> Vec<StreamSaid> {
        let mut out = Vec::new();
        let mut pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        loop {
            let rest = &pending[at..];
            let taken = match self.state {
                State::Between => self.between(rest, flush, is_ours, &mut out),
                _ => self.within(rest, is_ours, &mut out),
            };
            match taken {
                Some(taken) => {
                    at += taken;
                    self.scanned = 0;
                }
                None => break,
            }
        }
        pending.drain(..at);
        self.pending = pending;
        out
    }

    /// Takes a line, a header or the begin of an array. `None` where more is needed.
    fn between(
        &mut self,
        rest: &[u8],
        flush: Flush,
        is_ours: IsOurs,
        out: &mut Vec<StreamSaid>,
    ) -> Option<usize> {
        let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t')).count();
        if blank > 0 {
            return Some(blank);
        }
        if rest.is_empty() {
            return None;
        }
        if image::begins(rest) {
            return match image::find(rest, true, flush != Flush::No, is_ours) {
                Found::Head(head, taken) => {
                    let want = head.size.unwrap_or(0);
                    out.push(StreamSaid::ImageStart(head));
                    self.state = State::Image { have: 0, want, asked: false };
                    Some(taken)
                }
                // The rest of a header may still come.
                Found::Bad(_, taken) if flush == Flush::Idle && taken == rest.len() => None,
                Found::Bad(bad, taken) => {
                    out.push(StreamSaid::Unreadable(bad));
                    Some(taken)
                }
                Found::More => None,
            };
        }
        if rest[0] == b'[' {
            return self.array(rest, flush, is_ours, out);
        }
        self.line(rest, flush, is_ours, out)
    }

    /// Takes what begins with `[`: the head of 002's image, else any array.
    fn array(
        &mut self,
        rest: &[u8],
        flush: Flush,
        is_ours: IsOurs,
        out: &mut Vec<StreamSaid>,
    ) -> Option<usize> {
        match json_image(rest) {
            JsonStart::Image { sender, name, taken } => {
                let handle = Handle::try_from(sender.trim()).ok();
                let ours = handle.as_ref().is_some_and(|handle| is_ours(handle.as_str()));
                out.push(StreamSaid::ImageStart(ImageHead {
                    from: handle.clone().filter(|_| !ours),
                    to: handle.filter(|_| ours),
                    name: Some(image::name(&name)),
                    size: None,
                    connect_back: None,
                    comment: None,
                    body: Vec::new(),
                    style: ImageStyle::Json,
                }));
                self.state = State::Base64 { have: 0, reader: Unbase64::default() };
                Some(taken)
            }
            JsonStart::More if flush == Flush::End => {
                out.push(StreamSaid::Unreadable(Unreadable::BadJson));
                Some(rest.len())
            }
            JsonStart::More => None,
            JsonStart::Other => {
                self.state = State::Array { depth: 0, string: false, escaped: false };
                Some(0)
            }
        }
    }

    /// Takes a line, or unknown bytes.
    fn line(
        &mut self,
        rest: &[u8],
        flush: Flush,
        is_ours: IsOurs,
        out: &mut Vec<StreamSaid>,
    ) -> Option<usize> {
        let window = &rest[..rest.len().min(STREAM_LINE)];
        let known = begins_with_word(window);
        let stop = |byte: &u8| *byte == b'\n' || (*byte == 0 && !known);
        let from = self.scanned.min(window.len());
        let found = window[from..].iter().position(stop).map(|at| from + at);
        let full = rest.len() >= STREAM_LINE;
        if found.is_none() && !full && flush == Flush::No {
            self.scanned = window.len();
            return None;
        }
        let line = match found {
            Some(at) => &window[..=at],
            None => window,
        };
        match looks_like_image(rest, line) {
            _ if known => {}
            None if flush == Flush::No => return None,
            // On a port for images only, anything unknown is one.
            Some(false) | None if self.port == PortKind::Chat => {}
            _ => {
                self.state = State::Raw;
                return Some(0);
            }
        }
        if found.is_none() && full {
            out.push(StreamSaid::Unreadable(Unreadable::TooLong { max: STREAM_LINE }));
            self.state = State::Skip;
            return Some(0);
        }
        out.push(match codec::line(line, false, is_ours) {
            Ok(said) => StreamSaid::Said(said),
            Err(bad) => StreamSaid::Unreadable(bad),
        });
        Some(line.len())
    }

    /// Takes bytes of what has begun. `None` where all are taken.
    fn within(&mut self, rest: &[u8], is_ours: IsOurs, out: &mut Vec<StreamSaid>) -> Option<usize> {
        match &mut self.state {
            State::Between => Some(0),
            State::Image { have, want, .. } => {
                let left = usize::try_from(*want - *have).unwrap_or(usize::MAX);
                let taken = rest.len().min(left);
                *have += taken as u64;
                if taken > 0 {
                    out.push(StreamSaid::ImageBytes(rest[..taken].to_vec()));
                }
                if taken == left {
                    out.push(StreamSaid::ImageEnd);
                    self.state = State::Between;
                } else if taken == 0 {
                    return None;
                }
                Some(taken)
            }
            State::Base64 { have, reader } => {
                let mut data = Vec::new();
                let progress = reader.push(rest, &mut data);
                *have += data.len() as u64;
                let have = *have;
                if !data.is_empty() {
                    out.push(StreamSaid::ImageBytes(data));
                }
                match progress {
                    Progress::More => (!rest.is_empty()).then_some(rest.len()),
                    Progress::Done(taken) => {
                        out.push(StreamSaid::ImageEnd);
                        self.state = State::Tail;
                        Some(taken)
                    }
                    Progress::Bad => {
                        out.push(StreamSaid::Unreadable(Unreadable::BadBase64));
                        out.push(StreamSaid::ImageShort { have, want: None });
                        self.state = State::Dead;
                        Some(rest.len())
                    }
                }
            }
            State::Array { depth, string, escaped } => {
                for (at, byte) in rest.iter().enumerate().skip(self.scanned) {
                    match byte {
                        _ if *escaped => *escaped = false,
                        b'\\' if *string => *escaped = true,
                        b'"' => *string = !*string,
                        b'[' if !*string => *depth += 1,
                        b']' if !*string => *depth -= 1,
                        _ => {}
                    }
                    if *depth == 0 {
                        let line = codec::line(&rest[..=at], false, is_ours);
                        out.push(line.map_or_else(StreamSaid::Unreadable, StreamSaid::Said));
                        self.state = State::Between;
                        return Some(at + 1);
                    }
                    if at + 1 == STREAM_LINE {
                        let bad = Unreadable::TooLong { max: STREAM_LINE };
                        out.push(StreamSaid::Unreadable(bad));
                        self.state = State::Dead;
                        return Some(rest.len());
                    }
                }
                self.scanned = rest.len();
                None
            }
            State::Tail => match rest.iter().position(|byte| *byte == b']') {
                Some(at) => {
                    self.state = State::Between;
                    Some(at + 1)
                }
                None => (!rest.is_empty()).then_some(rest.len()),
            },
            State::Skip => match rest.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    self.state = State::Between;
                    Some(at + 1)
                }
                None => (!rest.is_empty()).then_some(rest.len()),
            },
            State::Raw => {
                if rest.is_empty() {
                    return None;
                }
                out.push(StreamSaid::Raw(rest.to_vec()));
                Some(rest.len())
            }
            State::Dead => (!rest.is_empty()).then_some(rest.len()),
        }
    }
}

/// Whether a line begins with a word of the protocol: then it is one, whatever bytes follow.
fn begins_with_word(line: &[u8]) -> bool {
    let end = line.iter().take(16).position(|b| b.is_ascii_whitespace() || *b == b':');
    end.is_some_and(|end| WORDS.contains(&&line[..end]))
}

/// Whether unknown bytes are an image's (or any but text) rather than a line; `None` where too
/// few came to tell.
fn looks_like_image(rest: &[u8], line: &[u8]) -> Option<bool> {
    let cut = match std::str::from_utf8(line) {
        Ok(_) => false,
        // A character cut by the end of the bytes is no sign.
        Err(bad) => bad.error_len().is_some(),
    };
    if cut || line.contains(&0) || rest.starts_with(b"GIF87a") || rest.starts_with(b"GIF89a") {
        return Some(true);
    }
    // Their sizes stand before anything telling, and may hold a line end.
    if rest.starts_with(b"RIFF") {
        return rest.get(8..12).map(|kind| kind == b"WEBP");
    }
    if rest.starts_with(b"BM") {
        return rest.get(6..10).map(|zero| zero == [0; 4]);
    }
    Some(false)
}

enum JsonStart {
    /// 002's image, up to the quote before its base64.
    Image {
        sender: String,
        name: String,
        taken: usize,
    },
    /// Some other array.
    Other,
    More,
}

/// Reads `["Ani", "dot.png", "` (captures/slcp-002-lucaatm-main-json).
fn json_image(bytes: &[u8]) -> JsonStart {
    let window = &bytes[..bytes.len().min(MAX_HEAD)];
    let more = if bytes.len() >= MAX_HEAD { JsonStart::Other } else { JsonStart::More };
    let mut at = 1;
    let mut strings = Vec::with_capacity(2);
    loop {
        at += window[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        match window.get(at) {
            None => return more,
            Some(b'"') if strings.len() == 2 => break,
            Some(b'"') => {}
            Some(_) => return JsonStart::Other,
        }
        let mut escaped = false;
        let end = window[at + 1..].iter().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => *byte == b'"',
        });
        let Some(end) = end.map(|end| at + 1 + end) else { return more };
        match serde_json::from_slice::<String>(&window[at..=end]) {
            Ok(word) if strings.is_empty() && json::WORDS.contains(&word.as_str()) => {
                return JsonStart::Other;
            }
            Ok(word) => strings.push(word),
            Err(_) => return JsonStart::Other,
        }
        at = end + 1;
        at += window[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        match window.get(at) {
            None => return more,
            Some(b',') => at += 1,
            Some(_) => return JsonStart::Other,
        }
    }
    let name = strings.pop().unwrap_or_default();
    let sender = strings.pop().unwrap_or_default();
    JsonStart::Image { sender, name, taken: at + 1 }
}

/// Words that a line may begin with.
const WORDS: &[&[u8]] = &[
    b"MSG",
    b"GMSG",
    b"JOIN",
    b"LEAVE",
    b"WHO",
    b"WHOIS",
    b"IAM",
    b"KNOWUSERS",
    b"KNOWNUSERS",
    b"SEEN",
    b"AWAY",
    b"BACK",
    b"JOIN_ACK",
    b"LEAVE_ACK",
    b"ERROR",
];
