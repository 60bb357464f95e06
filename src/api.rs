//! Requests, answers and refusals as plain JSON, and back: the one place that knows the mapping.
//!
//! The control socket, its client and later the page and the console's machine mode all speak
//! it, so that a method, a parameter or an error has one name everywhere. Framing is not its
//! business. `control/org.klatsch.Chat.varlink` describes the same set for others; a test in
//! `control::interface` holds the two together.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::command::Command;
use crate::model::{Answer, Refusal};

/// The Varlink interface that all methods and errors belong to.
pub const INTERFACE: &str = "org.klatsch.Chat";

/// Parameters of a request, a reply or an error.
pub type Object = Map<String, Value>;

/// What a client can ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Something the node answers once.
    Act {
        /// The local user who acts; none: the first.
        user: Option<String>,
        /// What is asked.
        command: Command,
    },
    /// Events, from now or from where the client stopped.
    Subscribe(Subscribe),
}

/// From where, and of whom, events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// The last event seen, as `epoch:seq`; none: from now on.
    pub since: Option<String>,
    /// Only what concerns this local user, or the node.
    pub user: Option<String>,
    /// Whether a first event of kind `ready` says that the subscription stands.
    pub ready: bool,
}

/// Why parameters and method are no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// No method of that name.
    NoSuchMethod,
    /// This parameter is unknown, missing or of another type.
    Parameter(String),
}

/// The JSON type that a parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number from 0 to 2³²-1.
    Number,
    /// A whole number from 0 to 2⁶⁴-1.
    Count,
    /// A list of objects.
    Objects,
}

/// One parameter of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be absent or `null`.
    pub optional: bool,
}

const fn must(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, optional: false }
}

const fn may(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, optional: true }
}

const USER: Parameter = may("user", Kind::Text);
const HANDLE: Parameter = must("handle", Kind::Text);
const ROOM: Parameter = must("room", Kind::Text);
const TO: Parameter = must("to", Kind::Texts);
const BEFORE: Parameter = may("before", Kind::Count);
const LIMIT: Parameter = may("limit", Kind::Number);

/// Every method with its parameters: serde alone cannot name the parameter that is wrong.
pub const METHODS: &[(&str, &[Parameter])] = &[
    ("Status", &[USER]),
    ("Who", &[may("gone", Kind::Flag), USER]),
    ("Join", &[USER]),
    ("Leave", &[USER]),
    ("Send", &[TO, must("text", Kind::Text), USER]),
    ("SendFile", &[TO, must("path", Kind::Text), may("fileDescriptor", Kind::Number), USER]),
    ("SetPresence", &[must("away", Kind::Flag), may("text", Kind::Text), USER]),
    ("SetHandle", &[HANDLE, USER]),
    ("SetAutoreply", &[must("text", Kind::Text), USER]),
    ("Block", &[HANDLE, USER]),
    ("Unblock", &[HANDLE, USER]),
    ("AddUser", &[HANDLE, USER]),
    ("RemoveUser", &[HANDLE, USER]),
    ("Config", &[may("key", Kind::Text), may("value", Kind::Text), USER]),
    ("SetForm", &[HANDLE, may("form", Kind::Text), USER]),
    ("Verify", &[HANDLE, USER]),
    ("Trust", &[HANDLE, USER]),
    ("MarkRead", &[must("with", Kind::Text), USER]),
    ("ForgetKey", &[HANDLE, USER]),
    ("RoomJoin", &[ROOM, USER]),
    ("RoomLeave", &[ROOM, USER]),
    ("Rooms", &[USER]),
    ("RoomWho", &[ROOM, USER]),
    ("Chat", &[HANDLE, USER]),
    ("Accept", &[must("number", Kind::Number), USER]),
    ("Refuse", &[must("number", Kind::Number), USER]),
    ("Pause", &[must("number", Kind::Number), USER]),
    ("Resume", &[must("number", Kind::Number), USER]),
    ("Cancel", &[must("number", Kind::Number), USER]),
    ("Close", &[may("handle", Kind::Text), USER]),
    ("FreeHandle", &[HANDLE, USER]),
    ("Doctor", &[USER]),
    ("Network", &[USER]),
    ("Log", &[may("lines", Kind::Number), USER]),
    ("Reboot", &[USER]),
    ("PowerOff", &[USER]),
    ("FactoryReset", &[USER]),
    ("Update", &[may("fileDescriptor", Kind::Number), USER]),
    ("SetTime", &[must("time", Kind::Text), USER]),
    ("History", &[may("with", Kind::Text), BEFORE, LIMIT, USER]),
    ("Search", &[must("words", Kind::Text), BEFORE, LIMIT, USER]),
    ("Delete", &[may("entry", Kind::Count), may("with", Kind::Text), may("all", Kind::Flag), USER]),
    ("Export", &[may("after", Kind::Count), LIMIT, USER]),
    ("Import", &[must("entries", Kind::Objects), USER]),
    (SUBSCRIBE, &[may("since", Kind::Text), may("ready", Kind::Flag), USER]),
];

const SUBSCRIBE: &str = "Subscribe";

impl Request {
    /// The request that a bare method name (`Send`) and its parameters make. A parameter that is
    /// `null` counts as absent, as Varlink has it.
    pub fn from_json(method: &str, mut parameters: Object) -> Result<Request, BadRequest> {
        let (_, takes) =
            METHODS.iter().find(|(name, _)| *name == method).ok_or(BadRequest::NoSuchMethod)?;
        parameters.retain(|_, value| !value.is_null());
        for (name, value) in &parameters {
            if !takes.iter().any(|p| p.name == name && p.kind.fits(value)) {
                return Err(BadRequest::Parameter(name.clone()));
            }
        }
        if let Some(missing) =
            takes.iter().find(|p| !p.optional && !parameters.contains_key(p.name))
        {
            return Err(BadRequest::Parameter(missing.name.into()));
        }
        let mut text = |name: &str| match parameters.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let user = text("user");
        if method == SUBSCRIBE {
            let since = text("since");
            let ready = parameters.get("ready") == Some(&Value::Bool(true));
            return Ok(Request::Subscribe(Subscribe { since, user, ready }));
        }
        // of those, only entries and times have types of their own within
        let own = ["entries", "time"].into_iter().find(|name| parameters.contains_key(*name));
        let wrong = own.unwrap_or("parameters");
        let command = serde_json::from_value(json!({method: parameters}))
            .map_err(|_| BadRequest::Parameter(wrong.into()))?;
        Ok(Request::Act { user, command })
    }

    /// The bare method name and parameters that make this request.
    pub fn to_json(&self) -> (String, Object) {
        let (method, mut parameters, user) = match self {
            Request::Act { user, command } => {
                let (method, parameters) = parted(command);
                (method, parameters, user)
            }
            Request::Subscribe(Subscribe { since, user, ready }) => {
                let mut parameters = Object::new();
                if let Some(since) = since {
                    parameters.insert("since".into(), since.as_str().into());
                }
                if *ready {
                    parameters.insert("ready".into(), true.into());
                }
                (SUBSCRIBE.into(), parameters, user)
            }
        };
        if let Some(user) = user {
            parameters.insert("user".into(), user.as_str().into());
        }
        (method, parameters)
    }
}

/// The reply that carries an answer.
pub fn answer_to_json(answer: &Answer) -> Object {
    let value = match answer {
        Answer::Done => json!({}),
        Answer::Status(status) => json!(status),
        Answer::Who(peers) => json!({"peers": peers}),
        Answer::Sent(receipts) => json!({"receipts": receipts}),
        Answer::Config(settings) => json!({"settings": settings}),
        Answer::Handle(handle) => json!({"handle": handle}),
        Answer::Shared(_) => json!({}), // for the hello chat's web API alone
        Answer::Doctor(report) => json!(report),
        Answer::Network(interfaces) => json!({"interfaces": interfaces}),
        Answer::Log(lines) => json!({"lines": lines}),
        Answer::Rooms(rooms) => json!({"rooms": rooms}),
        Answer::Page(page) => json!(page),
        Answer::Count(n) => json!({"count": n}),
        Answer::Verify(view) => json!(view),
    };
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// The answer that a reply carries; `None`: nothing we know.
pub fn answer_from_json(mut reply: Object) -> Option<Answer> {
    if reply.is_empty() {
        return Some(Answer::Done);
    }
    // Status has a number of `peers`, Who a list: the epoch tells them apart.
    if reply.contains_key("epoch") {
        return serde_json::from_value(Value::Object(reply)).ok().map(Answer::Status);
    }
    if reply.contains_key("fingerprint") {
        return serde_json::from_value(Value::Object(reply)).ok().map(Answer::Verify);
    }
    if reply.contains_key("findings") {
        return serde_json::from_value(Value::Object(reply)).ok().map(Answer::Doctor);
    }
    if reply.contains_key("entries") {
        return serde_json::from_value(Value::Object(reply)).ok().map(Answer::Page);
    }
    let mut take = |name: &str| reply.remove(name);
    if let Some(peers) = take("peers") {
        serde_json::from_value(peers).ok().map(Answer::Who)
    } else if let Some(receipts) = take("receipts") {
        serde_json::from_value(receipts).ok().map(Answer::Sent)
    } else if let Some(settings) = take("settings") {
        serde_json::from_value(settings).ok().map(Answer::Config)
    } else if let Some(interfaces) = take("interfaces") {
        serde_json::from_value(interfaces).ok().map(Answer::Network)
    } else if let Some(rooms) = take("rooms") {
        serde_json::from_value(rooms).ok().map(Answer::Rooms)
    } else if let Some(lines) = take("lines") {
        serde_json::from_value(lines).ok().map(Answer::Log)
    } else if let Some(count) = take("count") {
        count.as_u64().map(Answer::Count)
    } else {
        serde_json::from_value(take("handle")?).ok().map(Answer::Handle)
    }
}

/// The error's full name and parameters.
pub fn refusal_to_json(refusal: &Refusal) -> (String, Object) {
    let (name, parameters) = parted(refusal);
    (format!("{INTERFACE}.{name}"), parameters)
}

/// The refusal that an error of our interface carries; `None`: not one of ours.
pub fn refusal_from_json(name: &str, parameters: Object) -> Option<Refusal> {
    let name = name.strip_prefix(INTERFACE)?.strip_prefix('.')?;
    serde_json::from_value(json!({name: parameters})).ok()
}

impl Kind {
    /// Whether a value is of this type.
    fn fits(self, value: &Value) -> bool {
        match self {
            Kind::Text => value.is_string(),
            Kind::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            Kind::Flag => value.is_boolean(),
            Kind::Number => value.as_u64().is_some_and(|n| u32::try_from(n).is_ok()),
            Kind::Count => value.is_u64(),
            Kind::Objects => value.as_array().is_some_and(|list| list.iter().all(Value::is_object)),
        }
    }
}

/// The name of an enum's variant, and its fields.
fn parted(value: &impl Serialize) -> (String, Object) {
    let whole = serde_json::to_value(value).unwrap_or_default();
    let Value::Object(whole) = whole else { return Default::default() };
    match whole.into_iter().next() {
        Some((name, Value::Object(parameters))) => (name, parameters),
        Some((name, _)) => (name, Object::new()),
        None => Default::default(),
    }
}

#[cfg(test)]
#[path = "api_samples.rs"]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Handle, Ring, Wall};

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_request_survives_the_way_there() {
        let subscribe = Subscribe { since: Some("a:1".into()), user: None, ready: true };
        let mut requests = vec![
            Request::Subscribe(Subscribe::default()),
            Request::Subscribe(Subscribe { user: Some("anna".into()), ..subscribe.clone() }),
            Request::Subscribe(subscribe),
        ];
        for command in samples::commands() {
            for user in [None, Some("anna".to_owned())] {
                requests.push(Request::Act { user, command: command.clone() });
            }
        }
        for request in requests {
            let (method, parameters) = request.to_json();
            assert_eq!(Request::from_json(&method, parameters), Ok(request));
        }
    }

    #[test]
    fn every_kind_of_event_comes_out_of_the_ring_as_it_went_in() {
        let mut ring = Ring::new(7);
        let mut cursor = ring.tail();
        let user = Handle::try_from("anna").unwrap();
        // twice: the later ones are still there as objects
        for n in 0..2 {
            for (i, what) in samples::events().into_iter().enumerate() {
                let user = (i % 2 == 0).then(|| user.clone());
                ring.push(Event { at: Wall(1_000 * n + i as u64), user, what });
            }
        }
        let mut read = std::iter::from_fn(|| ring.read(&mut cursor, Wall(0)));
        for n in 0..2 {
            for (i, what) in samples::events().into_iter().enumerate() {
                let event = &read.next().unwrap().event;
                assert_eq!((event.at, &event.what), (Wall(1_000 * n + i as u64), &what));
                assert_eq!(event.user.is_some(), i % 2 == 0);
            }
        }
        assert!(read.next().is_none());
    }

    #[test]
    fn every_answer_and_refusal_survives_the_way_back() {
        for (_, answer) in samples::answers() {
            assert_eq!(answer_from_json(answer_to_json(&answer)), Some(answer));
        }
        for refusal in samples::refusals() {
            let (name, parameters) = refusal_to_json(&refusal);
            assert_eq!(refusal_from_json(&name, parameters), Some(refusal));
        }
        assert_eq!(refusal_from_json("org.other.Failed", Object::new()), None);
        assert_eq!(answer_from_json(object(json!({"strange": 1}))), None);
    }

    #[test]
    fn the_wrong_parameter_is_named() {
        let wrong = |method: &str, parameters: Value| match Request::from_json(
            method,
            object(parameters),
        ) {
            Err(BadRequest::Parameter(name)) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong("Send", json!({"to": ["a"]})), "text");
        assert_eq!(wrong("Send", json!({"to": null, "text": "x"})), "to");
        assert_eq!(wrong("Send", json!({"to": "a", "text": "x"})), "to");
        assert_eq!(wrong("Send", json!({"to": [1], "text": "x"})), "to");
        assert_eq!(wrong("Send", json!({"to": ["a"], "text": "x", "txet": 1})), "txet");
        assert_eq!(wrong("Who", json!({"gone": "yes"})), "gone");
        assert_eq!(wrong("Status", json!({"user": 1})), "user");
        let file = json!({"to": ["a"], "path": "/x", "fileDescriptor": u64::from(u32::MAX) + 1});
        assert_eq!(wrong("SendFile", file), "fileDescriptor");
        assert_eq!(wrong("SetTime", json!({"time": "noon"})), "time");
        assert_eq!(Request::from_json("send", Object::new()), Err(BadRequest::NoSuchMethod));
    }

    #[test]
    fn null_is_absent() {
        let request = Request::from_json("Who", object(json!({"gone": null, "user": null})));
        let command = Command::Who { gone: false };
        assert_eq!(request, Ok(Request::Act { user: None, command }));
    }
}
