//! The Varlink wire, and nothing of klatsch: NUL-ended JSON, calls, replies, standard errors.
//!
//! Our own because of the crates none serves both `varlinkctl` and Rust 1.85 with a server that
//! a stalled reader cannot hold up (DESIGN section 5). <https://varlink.org/Method-Call>.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Longest call that is taken from a client, in bytes without the NUL.
pub const MAX_FRAME: usize = 64 * 1024;
/// Longest reply that our client takes: a roster of `MAX_PEERS` fits several times.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;

/// The interface that every Varlink service has.
pub const SERVICE: &str = "org.varlink.service";

/// What a client sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Fully qualified: `org.klatsch.Chat.Send`.
    pub method: String,
    /// Its parameters; `null` or absent is none.
    #[serde(default, deserialize_with = "or_default")]
    pub parameters: Map<String, Value>,
    /// Several replies are welcome.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub more: bool,
    /// No reply, not even an error.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// Another protocol is to follow; nothing here offers one.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The result's or the error's parameters.
    #[serde(default, deserialize_with = "or_default")]
    pub parameters: Map<String, Value>,
    /// More replies to the same call follow.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub continues: bool,
    /// The error's full name; none: it went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The standard errors that we raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standard {
    /// We have no such interface.
    InterfaceNotFound(String),
    /// The interface has no such method.
    MethodNotFound(String),
    /// We have it, but not as asked.
    MethodNotImplemented(String),
    /// This parameter is unknown, missing or of another type.
    InvalidParameter(String),
    /// The method is a stream: call it with `more`.
    ExpectedMore,
}

impl Reply {
    /// The one and last reply of a call that went well.
    pub fn last(parameters: Map<String, Value>) -> Reply {
        Reply { parameters, ..Reply::default() }
    }

    /// One of several.
    pub fn one_of(parameters: Map<String, Value>) -> Reply {
        Reply { parameters, continues: true, error: None }
    }

    /// The call failed.
    pub fn error(name: String, parameters: Map<String, Value>) -> Reply {
        Reply { parameters, continues: false, error: Some(name) }
    }
}

impl From<Standard> for Reply {
    fn from(error: Standard) -> Reply {
        let (name, parameter) = match error {
            Standard::InterfaceNotFound(what) => ("InterfaceNotFound", Some(("interface", what))),
            Standard::MethodNotFound(what) => ("MethodNotFound", Some(("method", what))),
            Standard::MethodNotImplemented(what) => {
                ("MethodNotImplemented", Some(("method", what)))
            }
            Standard::InvalidParameter(what) => ("InvalidParameter", Some(("parameter", what))),
            Standard::ExpectedMore => ("ExpectedMore", None),
        };
        let parameters = parameter.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        Reply::error(format!("{SERVICE}.{name}"), parameters)
    }
}

/// Appends a call or a reply as a frame.
pub fn encode(message: &impl Serialize, to: &mut Vec<u8>) {
    let start = to.len();
    // Maps with string keys and our own types: serialising them into memory cannot fail; if it
    // ever did, no half frame would be left.
    match serde_json::to_writer(&mut *to, message) {
        Ok(()) => to.push(0),
        Err(_) => to.truncate(start),
    }
}

/// A frame beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// What has come of it so far.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

/// Cuts a stream of bytes into frames, however they arrive.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    start: usize,
    scanned: usize,
    limit: usize,
}

impl Frames {
    /// For frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Frames {
        Frames { bytes: Vec::new(), start: 0, scanned: 0, limit }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame without its NUL.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let end = self.bytes[self.scanned..].iter().position(|b| *b == 0);
        let length = end.map_or(self.bytes.len(), |n| self.scanned + n) - self.start;
        if length > self.limit {
            return Err(TooLong { bytes: length, limit: self.limit });
        }
        if end.is_none() {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.scanned = self.bytes.len();
            // A burst's room is given back: idle clients cost little.
            self.bytes.shrink_to(4096.max(self.scanned));
            return Ok(None);
        }
        let start = self.start;
        self.start = start + length + 1;
        self.scanned = self.start;
        Ok(Some(&self.bytes[start..start + length]))
    }

    /// Whether part of a frame has come.
    pub fn is_begun(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_byte_past_the_limit_is_told_ended_or_not() {
        let mut frames = Frames::new(4);
        frames.push(b"1234\x005678");
        assert_eq!(frames.next_frame(), Ok(Some(&b"1234"[..])));
        assert_eq!(frames.next_frame(), Ok(None));
        frames.push(b"9");
        assert_eq!(frames.next_frame(), Err(TooLong { bytes: 5, limit: 4 }));
        let mut frames = Frames::new(4);
        frames.push(b"12345\0");
        assert_eq!(frames.next_frame(), Err(TooLong { bytes: 5, limit: 4 }));
    }

    #[test]
    fn a_call_reads_with_nulls_and_strangers() {
        let call: Call = serde_json::from_str(
            r#"{"method":"a.b.C","parameters":null,"more":null,"com.vendor":{"x":1}}"#,
        )
        .unwrap();
        assert_eq!(call, Call { method: "a.b.C".into(), ..Call::default() });
        for bad in ["", "[]", "7", "{}", r#"{"method":"x","parameters":[]}"#, r#"{"method":1}"#] {
            assert!(serde_json::from_str::<Call>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn replies_look_as_varlink_has_them() {
        let mut wire = Vec::new();
        encode(&Reply::from(Standard::MethodNotFound("a.B".into())), &mut wire);
        encode(&Reply::one_of(Map::new()), &mut wire);
        assert_eq!(
            wire,
            b"{\"parameters\":{\"method\":\"a.B\"},\
              \"error\":\"org.varlink.service.MethodNotFound\"}\0\
              {\"parameters\":{},\"continues\":true}\0"
        );
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_are_cut(
            sent in prop::collection::vec(prop::collection::vec(1u8.., 0..20), 0..12),
            cut in 1usize..9,
        ) {
            let mut wire = Vec::new();
            for frame in &sent {
                wire.extend(frame);
                wire.push(0);
            }
            let (mut frames, mut got) = (Frames::new(20), Vec::new());
            for piece in wire.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next_frame().unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(!frames.is_begun());
        }
    }
}
