//! What one JSON object of the hello chat means, and the objects we write.
//!
//! Inward it is liberal (an id as string or number, `peer_id` in a `new_message` or not, unknown
//! keys); outward every program seen reads it (PROTOCOLS section 004). Wrong types and missing
//! keys are a [`Bad`], never a panic.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{HISTORY, MAX_NAME, MAX_TEXT};
pub use crate::model::SharedMessage as Message;
use crate::model::Wall;

/// One object, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `hello`: by UDP "I am here", by TCP the beginning of a session.
    Hello {
        /// Who says it.
        peer_id: String,
    },
    /// `new_message`.
    NewMessage {
        /// Its id; none where it is missing or no number.
        id: Option<u64>,
        /// What is said.
        text: String,
        /// Who says it, where the program adds that (Kalash).
        peer_id: Option<String>,
    },
    /// `status` `ok`: the answer to any command, or cesar's unasked history.
    Ok {
        /// Who answers (UDP).
        peer_id: Option<String>,
        /// The shared history, the newest [`HISTORY`] of it (TCP handshake).
        messages: Option<Vec<Message>>,
    },
    /// Any other `status`, with what it says.
    Refused(String),
}

/// Why an object means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// No JSON object.
    Json,
    /// Longer than [`super::MAX_OBJECT`].
    TooLong,
    /// Nested deeper than [`super::MAX_DEPTH`].
    TooDeep,
    /// A command nobody knows.
    Command,
    /// A key that is missing, of a wrong type or too long.
    Key(&'static str),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Json => f.write_str("no JSON object"),
            Bad::TooLong => write!(f, "an object of more than {} bytes", super::MAX_OBJECT),
            Bad::TooDeep => write!(f, "an object nested deeper than {}", super::MAX_DEPTH),
            Bad::Command => f.write_str("an unknown command"),
            Bad::Key(key) => write!(f, "`{key}` is missing, too long or of a wrong type"),
        }
    }
}

/// What one object means.
///
/// # Errors
/// It means nothing that anybody says in this chat.
pub fn object(bytes: &[u8]) -> Result<Said, Bad> {
    let wire: Wire = serde_json::from_slice(bytes).map_err(|_| Bad::Json)?;
    if wire.status.is_some() {
        return status(wire);
    }
    match wire.command.as_deref() {
        Some("hello") => {
            Ok(Said::Hello { peer_id: wire.peer_id.name().ok_or(Bad::Key("peer_id"))? })
        }
        Some("new_message") => {
            let text = wire.message.text().filter(|text| text.len() <= MAX_TEXT);
            let text = text.ok_or(Bad::Key("message"))?;
            Ok(Said::NewMessage { id: wire.id.id(), text, peer_id: wire.peer_id.name() })
        }
        _ => Err(Bad::Command),
    }
}

fn status(wire: Wire) -> Result<Said, Bad> {
    if wire.status.as_deref() == Some("ok") {
        let messages = wire.messages.map(|all| all.0.into_values().collect());
        return Ok(Said::Ok { peer_id: wire.peer_id.name(), messages });
    }
    // vanis says `error`, Kalash `message`
    Ok(Said::Refused(wire.error.text().or(wire.message.text()).unwrap_or_default()))
}

/// `hello`, with the line end that the assignment asks for.
pub fn hello(peer_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Hello<'a> {
        command: &'a str,
        peer_id: &'a str,
    }
    line(&Hello { command: "hello", peer_id })
}

/// The answer to a `hello` that came by UDP.
pub fn ok_from(peer_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct OkFrom<'a> {
        status: &'a str,
        peer_id: &'a str,
    }
    line(&OkFrom { status: "ok", peer_id })
}

/// The answer to a `new_message`.
pub fn ok() -> Vec<u8> {
    #[derive(Serialize)]
    struct Plain<'a> {
        status: &'a str,
    }
    line(&Plain { status: "ok" })
}

/// The answer to a `hello` that came by TCP: the shared history, as both web and peers have it.
pub fn ok_with<'a>(messages: impl Iterator<Item = &'a Message>) -> Vec<u8> {
    #[derive(Serialize)]
    struct OkWith<'a> {
        status: &'a str,
        messages: BTreeMap<String, Kept<'a>>,
    }
    line(&OkWith { status: "ok", messages: map(messages) })
}

/// The history alone: `{"id": {"peer_id": …, "message": …}, …}`.
pub fn map<'a>(messages: impl Iterator<Item = &'a Message>) -> BTreeMap<String, Kept<'a>> {
    let kept = |m: &'a Message| Kept { peer_id: &m.peer_id, message: &m.text };
    messages.map(|m| (m.id.to_string(), kept(m))).collect()
}

/// A message as it stands in a history.
#[derive(Serialize)]
pub struct Kept<'a> {
    peer_id: &'a str,
    message: &'a str,
}

/// `new_message`. `peer_id`: also who says it, outside the assignment, as Kalash demands.
pub fn new_message(id: u64, text: &str, peer_id: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct NewMessage<'a> {
        command: &'a str,
        message: &'a str,
        message_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_id: Option<&'a str>,
    }
    let message_id = id.to_string();
    line(&NewMessage { command: "new_message", message: text, message_id, peer_id })
}

/// `status` `error`, in the words of the programs seen (captures/004-vanis-x2).
pub fn error(text: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Refusal<'a> {
        status: &'a str,
        error: &'a str,
    }
    line(&Refusal { status: "error", error: text })
}

fn line(object: &impl Serialize) -> Vec<u8> {
    // maps of strings always serialise
    let mut bytes = serde_json::to_vec(object).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The time that an id stands for: milliseconds, from 16 digits on microseconds. `None`: fewer
/// than the 13 digits of the assignment.
pub fn time_of(id: u64) -> Option<Wall> {
    match id {
        0..1_000_000_000_000 => None,
        1_000_000_000_000..1_000_000_000_000_000 => Some(Wall(id)),
        _ => Some(Wall(id / 1_000)),
    }
}

/// One object's keys, as they came.
#[derive(Default)]
struct Wire {
    command: Option<String>,
    status: Option<String>,
    peer_id: Scalar,
    id: Scalar,
    message: Scalar,
    error: Scalar,
    messages: Option<Messages>,
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Wire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            // by hand: a key that comes twice counts the last time, as JavaScript has it
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire, A::Error> {
                let mut wire = Wire::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match key.as_ref() {
                        "command" => wire.command = map.next_value::<Scalar>()?.text(),
                        "status" => {
                            let status = map.next_value::<Scalar>()?.text();
                            wire.status = Some(status.unwrap_or_default());
                        }
                        "peer_id" => wire.peer_id = map.next_value()?,
                        "message_id" => wire.id = map.next_value()?,
                        "message" => wire.message = map.next_value()?,
                        "error" => wire.error = map.next_value()?,
                        "messages" => wire.messages = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(wire)
            }
        }
        from.deserialize_map(Object)
    }
}

/// A value of which only texts and whole numbers are of use; anything else is passed over.
#[derive(Default)]
enum Scalar {
    Text(String),
    Number(u64),
    #[default]
    Other,
}

impl Scalar {
    fn text(self) -> Option<String> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    fn name(self) -> Option<String> {
        let name = match self {
            Scalar::Text(text) => text.trim().to_owned(),
            Scalar::Number(number) => number.to_string(),
            Scalar::Other => return None,
        };
        Some(name).filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
    }

    fn id(self) -> Option<u64> {
        match self {
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Number(number) => Some(number),
            Scalar::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar::Text(text))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        from.deserialize_any(Any)
    }
}

/// A history, the newest of it.
struct Messages(BTreeMap<u64, Message>);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Messages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a history")
            }

            fn visit_unit<E>(self) -> Result<Messages, E> {
                Ok(Messages(BTreeMap::new()))
            }

            // an empty history may come as an empty list
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Messages, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Messages(BTreeMap::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Messages, A::Error> {
                let mut all = BTreeMap::new();
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    let wire: Option<Wire> = map.next_value()?;
                    let id = key.trim().parse::<u64>().ok().filter(|id| time_of(*id).is_some());
                    let (Some(id), Some(wire)) = (id, wire) else { continue };
                    let text = wire.message.text().filter(|text| text.len() <= MAX_TEXT);
                    let (Some(peer_id), Some(text)) = (wire.peer_id.name(), text) else {
                        continue;
                    };
                    all.insert(id, Message { id, peer_id, text });
                    if all.len() > HISTORY {
                        all.pop_first();
                    }
                }
                Ok(Messages(all))
            }
        }
        from.deserialize_any(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_send_is_understood() {
        let hello = |id: &str| Ok(Said::Hello { peer_id: id.into() });
        assert_eq!(object(br#"{"command":"hello","peer_id":"kal"}"#), hello("kal"));
        assert_eq!(
            object(br#"{"command": "hello", "peer_id": "Tomas Novotny, C4b"}"#),
            hello("Tomas Novotny, C4b")
        );
        let kalash = r#"{"command":"new_message","message":"ahoj světe","peer_id":"kal","message_id":1795228536764}"#;
        let text = "ahoj světe".to_owned();
        let id = Some(1_795_228_536_764);
        assert_eq!(
            object(kalash.as_bytes()),
            Ok(Said::NewMessage { id, text: text.clone(), peer_id: Some("kal".into()) })
        );
        let vanis =
            r#"{"command":"new_message","message":"ahoj světe","message_id":"1795228536764"}"#;
        assert_eq!(object(vanis.as_bytes()), Ok(Said::NewMessage { id, text, peer_id: None }));
        let cesar = br#"{"status": "ok", "messages": {"1707243010934": {"peer_id": "cesar-peer", "message": "pokus"}}}"#;
        let message =
            Message { id: 1_707_243_010_934, peer_id: "cesar-peer".into(), text: "pokus".into() };
        assert_eq!(object(cesar), Ok(Said::Ok { peer_id: None, messages: Some(vec![message]) }));
    }

    #[test]
    fn wrong_types_and_missing_keys_are_refused_one_by_one() {
        for (bytes, bad) in [
            (&b"[]"[..], Bad::Json),
            (b"5", Bad::Json),
            (b"{", Bad::Json),
            (br#"{"command":"hello"}"#, Bad::Key("peer_id")),
            (br#"{"command":"hello","peer_id":""}"#, Bad::Key("peer_id")),
            (br#"{"command":"hello","peer_id":{"a":[1]}}"#, Bad::Key("peer_id")),
            (br#"{"command":"new_message","message":5,"message_id":1}"#, Bad::Key("message")),
            (br#"{"command":7}"#, Bad::Command),
            (br#"{"command":"bla"}"#, Bad::Command),
            (b"{}", Bad::Command),
        ] {
            assert_eq!(object(bytes), Err(bad), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_name_or_text_one_byte_too_long_is_refused() {
        let hello = |n| object(&super::hello(&"x".repeat(n)));
        assert!(hello(MAX_NAME).is_ok());
        assert_eq!(hello(MAX_NAME + 1), Err(Bad::Key("peer_id")));
        let text = |n| object(&new_message(1, &"x".repeat(n), None));
        assert!(text(MAX_TEXT).is_ok());
        assert_eq!(text(MAX_TEXT + 1), Err(Bad::Key("message")));
    }

    #[test]
    fn of_a_history_the_newest_are_kept_and_what_is_none_is_passed_over() {
        let entry = |id: u64| format!(r#""{id}":{{"peer_id":"a","message":"m"}}"#);
        let first = 1_707_243_010_934;
        let all: Vec<String> = (first..=first + HISTORY as u64).map(entry).collect();
        let bytes = format!(r#"{{"status":"ok","messages":{{{}}}}}"#, all.join(","));
        let Ok(Said::Ok { messages: Some(kept), .. }) = object(bytes.as_bytes()) else { panic!() };
        assert_eq!((kept.len(), kept[0].id), (HISTORY, first + 1));
        let odd = br#"{"status":"ok","messages":{"x":{"peer_id":"a","message":"m"},"12":{},
            "1707243010934":null,"1707243010935":{"peer_id":"a"}}}"#;
        assert_eq!(object(odd), Ok(Said::Ok { peer_id: None, messages: Some(Vec::new()) }));
        for none in ["null", "[]", "{}"] {
            let bytes = format!(r#"{{"status":"ok","messages":{none}}}"#);
            let said = object(bytes.as_bytes());
            assert_eq!(said, Ok(Said::Ok { peer_id: None, messages: Some(Vec::new()) }));
        }
    }

    #[test]
    fn what_we_write_is_one_line_that_reads_back() {
        let message =
            Message { id: 1_707_243_010_934, peer_id: "a b".into(), text: "x\n\"ä".into() };
        for (bytes, said) in [
            (hello("a b"), Said::Hello { peer_id: "a b".into() }),
            (ok_from("a b"), Said::Ok { peer_id: Some("a b".into()), messages: None }),
            (ok(), Said::Ok { peer_id: None, messages: None }),
            (
                ok_with([&message].into_iter()),
                Said::Ok { peer_id: None, messages: Some(vec![message.clone()]) },
            ),
            (error("Invalid JSON"), Said::Refused("Invalid JSON".into())),
            (
                new_message(message.id, &message.text, Some("a b")),
                Said::NewMessage {
                    id: Some(message.id),
                    text: message.text.clone(),
                    peer_id: Some("a b".into()),
                },
            ),
        ] {
            assert_eq!(object(&bytes), Ok(said));
            assert_eq!(bytes.iter().position(|b| *b == b'\n'), Some(bytes.len() - 1));
        }
    }

    #[test]
    fn an_id_is_a_time_in_milliseconds_or_microseconds() {
        assert_eq!(time_of(1_707_243_010_934), Some(Wall(1_707_243_010_934)));
        assert_eq!(time_of(1_707_243_010_934_123), Some(Wall(1_707_243_010_934)));
        assert_eq!(time_of(999_999_999_999), None);
    }
}
