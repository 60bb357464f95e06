//! The control interface's methods over HTTP: the same names, parameters, answers and errors as
//! on the control socket (`api`), for a guest in its own name, for the operator in the node's.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::events::dress;
use super::guests::{Known, is_key};
use super::reply::{self, Reply};
use super::site::{Head, Site, Who};
use super::{address, door};
use crate::api::{self, BadRequest, Kind, METHODS, Object, Request};
use crate::command::{Command, LOBBY};
use crate::model::{Answer, Refusal};

/// Methods that a guest may use, in its own name.
pub const FOR_GUESTS: &[&str] = &[
    "Who",
    "Send",
    "SendFile",
    "SetPresence",
    "SetHandle",
    "SetAutoreply",
    "Accept",
    "Refuse",
    "Pause",
    "Resume",
    "Cancel",
    "FreeHandle",
    "History",
    "Search",
    "MarkRead",
    "RoomJoin",
    "RoomLeave",
    "Rooms",
    "RoomWho",
];
/// Methods that change nothing: GET does too.
pub const READING: &[&str] =
    &["Status", "Who", "FreeHandle", "History", "Search", "Rooms", "RoomWho"];
/// Methods that are not for the web: what everyone said is nobody's to take away over a LAN in
/// clear, and the machine itself obeys root and the node's own user only.
const NOT_HERE: &[&str] =
    &["Subscribe", "Export", "Import", "Reboot", "PowerOff", "FactoryReset", "Update", "SetTime"];

/// Whether there is such a method here.
pub fn is_method(name: &str) -> bool {
    METHODS.iter().any(|(method, _)| *method == name) && !NOT_HERE.contains(&name)
}

/// The HTTP methods that a method takes.
pub fn http_methods(name: &str) -> &'static [&'static str] {
    if READING.contains(&name) { &["GET", "POST"] } else { &["POST"] }
}

/// `/api/v1/<Method>`.
pub async fn answer(site: &Rc<Site>, head: &Head, method: &str, body: Incoming) -> Reply {
    let guest = match &head.who {
        Who::Guest(id) if FOR_GUESTS.contains(&method) => Some(id.clone()),
        _ if head.operator && method != "SendFile" => None,
        Who::Guest(_) => {
            return reply::wrong(StatusCode::FORBIDDEN, "that is for the operator of this node");
        }
        Who::Stranger => return reply::wrong(StatusCode::UNAUTHORIZED, "come in first"),
    };
    let parameters = if head.method == Method::POST {
        match site.json(head, body).await {
            Ok(object) => object,
            Err(reply) => return reply,
        }
    } else {
        match from_query(method, &head.query) {
            Ok(object) => object,
            Err(name) => return bad_parameter(&name),
        }
    };
    match guest {
        Some(id) => for_guest(site, head, &id, method, parameters).await,
        None => match understood(method, parameters) {
            Ok((user, command)) => {
                answered(site, None, site.hub.ask_open(user, command, None).await)
            }
            Err(reply) => reply,
        },
    }
}

async fn for_guest(
    site: &Rc<Site>,
    head: &Head,
    id: &str,
    method: &str,
    mut parameters: Object,
) -> Reply {
    // on this way a file is one that was uploaded, not one of the node's
    let upload = match (method, parameters.remove("upload")) {
        ("SendFile", Some(Value::String(upload))) => {
            if parameters.contains_key("path") || parameters.contains_key("fileDescriptor") {
                return bad_parameter("path");
            }
            parameters.insert("path".into(), upload.as_str().into());
            Some(upload)
        }
        ("SendFile", _) => return bad_parameter("upload"),
        (_, None) => None,
        (_, Some(_)) => return bad_parameter("upload"),
    };
    let (user, command) = match understood(method, parameters) {
        Ok(understood) => understood,
        Err(reply) => return reply,
    };
    if let Some(user) = user {
        let own = site.guests.borrow_mut().by_id(id).is_some_and(|guest| guest.handle.is(&user));
        if !own {
            let what = "a guest acts in its own name only".to_owned();
            return reply::refusal(&Refusal::Denied { what });
        }
    }
    if matches!(command, Command::RoomJoin { .. }) {
        // all linked boxes are told
        if let Err(reply) = may_say(site, id, None) {
            return reply;
        }
    }
    let moves = matches!(
        command,
        Command::Accept { .. }
            | Command::Refuse { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Cancel { .. }
    );
    if moves && !may_decide(site, id) {
        return reply::later(StatusCode::TOO_MANY_REQUESTS, 1, "too much at once: slower");
    }
    if !matches!(command, Command::Send { .. } | Command::SendFile { .. }) {
        return quiet(site, id, command).await;
    }
    let key = match head.header("idempotency-key") {
        Some(key) if !is_key(key) => return bad_parameter("Idempotency-Key"),
        key => key,
    };
    if let Err(reply) = may_say(site, id, key) {
        return reply;
    }
    let done = match (command, upload) {
        (Command::SendFile { to, .. }, Some(upload)) => {
            send_file(site, head, id, to, &upload).await
        }
        (command, _) => door::act(site, id, command).await,
    };
    let answer = done.as_ref().ok().map(|answer| Value::Object(api::answer_to_json(answer)));
    if let (Some(key), Some(guest)) = (key, site.guests.borrow_mut().by_id(id)) {
        guest.answered(key, answer);
    }
    site.touch();
    answered(site, Some(id), done)
}

/// Whether a guest may do one more thing that costs as much as a text: what he decides about a
/// file is written down and said to another box, of a folder each file is looked at.
pub fn may_decide(site: &Site, id: &str) -> bool {
    site.guests.borrow_mut().by_id(id).is_some_and(|guest| guest.may_talk(site.now()))
}

/// Whether a guest may say one more thing; the answer it had if it said this before.
fn may_say(site: &Site, id: &str, key: Option<&str>) -> Result<(), Reply> {
    let now = site.now();
    let mut guests = site.guests.borrow_mut();
    let Some(guest) = guests.by_id(id) else {
        return Err(reply::wrong(StatusCode::UNAUTHORIZED, "come in first"));
    };
    if guest.muted {
        let what = "the operator has muted you".to_owned();
        return Err(reply::refusal(&Refusal::Denied { what }));
    }
    match key.map(|key| guest.key(key)) {
        Some(Known::Answered(answer)) => return Err(reply::good(&answer)),
        Some(Known::UnderWay) => {
            let text = "it is being sent at this moment";
            return Err(reply::later(StatusCode::SERVICE_UNAVAILABLE, 1, text));
        }
        Some(Known::No) | None => {}
    }
    if !guest.may_talk(now) {
        if let Some(key) = key {
            guest.answered(key, None);
        }
        return Err(reply::later(StatusCode::TOO_MANY_REQUESTS, 1, "too much at once: slower"));
    }
    Ok(())
}

/// Says a text for a guest, as the form without scripts does.
pub async fn say(
    site: &Rc<Site>,
    id: &str,
    to: String,
    text: String,
    key: Option<&str>,
) -> Result<(), Reply> {
    may_say(site, id, key)?;
    let done = door::act(site, id, Command::Send { to: vec![to], text }).await;
    let answer = done.as_ref().ok().map(|answer| Value::Object(api::answer_to_json(answer)));
    if let (Some(key), Some(guest)) = (key, site.guests.borrow_mut().by_id(id)) {
        guest.answered(key, answer);
    }
    site.touch();
    done.map(drop).map_err(|refusal| reply::refusal(&refusal))
}

/// What a guest does that is said to nobody.
async fn quiet(site: &Rc<Site>, id: &str, command: Command) -> Reply {
    let before = site.guests.borrow_mut().by_id(id).map(|guest| guest.handle.clone());
    if let (Command::SetHandle { handle }, Some(before)) = (&command, &before) {
        if let Ok(wanted) = crate::model::Handle::try_from(handle.trim()) {
            let shielded = door::shield(site, &wanted).await;
            let done = door::act(site, id, command).await;
            match &done {
                Ok(Answer::Handle(handle)) => {
                    site.hub.keep_private(handle, true);
                    if handle.key() != before.key() {
                        site.hub.keep_private(before, false);
                    }
                    if let Some(guest) = site.guests.borrow_mut().by_id(id) {
                        guest.handle = handle.clone();
                        guest.joined = site.hub.last();
                    }
                    site.touch();
                }
                _ if shielded && wanted.key() != before.key() => {
                    site.hub.keep_private(&wanted, false);
                }
                _ => {}
            }
            return answered(site, Some(id), done);
        }
    }
    let done = door::act(site, id, command.clone()).await;
    if done.is_ok() {
        let mut guests = site.guests.borrow_mut();
        match (command, guests.by_id(id)) {
            (Command::SetPresence { away, .. }, Some(guest)) => {
                (guest.away, guest.resting) = (away, false);
            }
            (Command::SetAutoreply { text }, Some(guest)) => guest.autoreply = Some(text),
            _ => {}
        }
        drop(guests);
        site.touch();
    }
    answered(site, Some(id), done)
}

/// Sends an uploaded file: as an image where the recipient's dialect has images, else as an
/// address that it can be fetched from for a while.
async fn send_file(
    site: &Rc<Site>,
    head: &Head,
    id: &str,
    to: Vec<String>,
    upload: &str,
) -> Result<Answer, Refusal> {
    let file = site.shelf.borrow().get(upload).filter(|file| file.owner == id).cloned();
    let Some(file) = file else {
        let reason = "no such upload of yours, or it is not whole".to_owned();
        return Err(Refusal::File { path: upload.to_owned(), reason });
    };
    let image = super::http::content_type(&file.format).is_some();
    let (mut files, mut links) = (Vec::new(), Vec::new());
    let who = match door::act(site, id, Command::Who { gone: false }).await? {
        Answer::Who(peers) => peers,
        _ => Vec::new(),
    };
    for name in to {
        let peer =
            who.iter().find(|p| p.name.eq_ignore_ascii_case(&name) || p.id.to_string() == name);
        let carries =
            peer.is_none_or(|p| p.dialect.first().is_none_or(|d| carries_files(d.name(), image)));
        if image && name == LOBBY {
            // in the room of all, whoever cannot have the picture gets its address
            let without = who
                .iter()
                .filter(|p| !p.blocked && !p.dialect.iter().any(|d| carries_files(d.name(), true)));
            links.extend(without.map(|p| p.name.clone()));
            let with: Vec<String> = who
                .iter()
                .filter(|p| !p.blocked && p.dialect.iter().any(|d| carries_files(d.name(), true)))
                .map(|p| p.name.clone())
                .collect();
            if with.len() == who.len() { files.push(name) } else { files.extend(with) }
        } else if carries && name != LOBBY {
            files.push(name);
        } else {
            links.push(name);
        }
    }
    let mut receipts = Vec::new();
    if !files.is_empty() {
        let (path, name) = (file.path.clone(), Some(file.name.clone()));
        let command = Command::SendFile { to: files, path, descriptor: None, name };
        if let Answer::Sent(sent) = door::act(site, id, command).await? {
            receipts.extend(sent);
        }
    }
    if !links.is_empty() {
        let token = super::guests::random()
            .map_err(|error| Refusal::Failed { reason: format!("no random numbers: {error}") })?;
        let token = site.shelf.borrow_mut().link(upload, token, site.wall()).unwrap_or_default();
        let base = address::of(site, head).await;
        let text = format!("{base}d/{token}/{}", super::http::encoded(&file.name));
        if let Answer::Sent(sent) = door::act(site, id, Command::Send { to: links, text }).await? {
            receipts.extend(sent);
        }
    }
    Ok(Answer::Sent(receipts))
}

/// Whether a dialect carries a file: SLCP images only, users of this node and other klatsch boxes
/// any.
fn carries_files(dialect: &str, image: bool) -> bool {
    match dialect {
        "local" | "slcp" => image,
        "link" => true,
        _ => false,
    }
}

fn understood(method: &str, parameters: Object) -> Result<(Option<String>, Command), Reply> {
    match Request::from_json(method, parameters) {
        Ok(Request::Act { user, command }) => Ok((user, command)),
        Ok(Request::Subscribe(_)) | Err(BadRequest::NoSuchMethod) => {
            Err(reply::wrong(StatusCode::NOT_FOUND, "there is no such method"))
        }
        Err(BadRequest::Parameter(name)) => Err(bad_parameter(&name)),
    }
}

/// The standard error of Varlink for a parameter.
pub fn bad_parameter(name: &str) -> Reply {
    let message = format!("the parameter {name} is unknown, missing, or not of its type");
    let name = json!({"parameter": name});
    reply::error(StatusCode::BAD_REQUEST, "org.varlink.service.InvalidParameter", &name, &message)
}

/// Parameters out of a query, by the types that the method's have.
fn from_query(method: &str, query: &[(String, String)]) -> Result<Object, String> {
    let takes =
        METHODS.iter().find(|(name, _)| *name == method).map_or(&[][..], |(_, takes)| takes);
    let mut object = Map::new();
    for (name, text) in query {
        let parameter = takes.iter().find(|p| p.name == name).ok_or_else(|| name.clone())?;
        let value = match parameter.kind {
            Kind::Text => Value::from(text.as_str()),
            Kind::Flag => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => return Err(name.clone()),
            },
            Kind::Texts => Value::from(vec![text.as_str()]),
            _ => text.parse::<u64>().map(Value::from).map_err(|_| name.clone())?,
        };
        object.insert(name.clone(), value);
    }
    Ok(object)
}

/// What the node said; for a guest, with addresses where files' paths stand.
fn answered(site: &Site, guest: Option<&str>, done: Result<Answer, Refusal>) -> Reply {
    match done {
        Err(refusal) => reply::refusal(&refusal),
        Ok(answer) => {
            let mut value = Value::Object(api::answer_to_json(&answer));
            let entries = value.get_mut("entries").and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten() {
                clothe(site, guest, entry);
            }
            reply::good(&value)
        }
    }
}

/// Gives a kept entry of a file its address.
fn clothe(site: &Site, guest: Option<&str>, entry: &mut Value) {
    let id = entry["id"].as_str().unwrap_or_default().to_owned();
    let Some(body) = entry.get_mut("body").filter(|body| body["kind"] == "file") else { return };
    let text = |body: &Value, name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (path, format) = (text(body, "path"), text(body, "format"));
    if let Some(guest) = guest {
        dress(site, guest, &id, &path, &format, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Methods that are the operator's.
    const ADMIN: &[&str] = &[
        "Status",
        "Join",
        "Leave",
        "Block",
        "Unblock",
        "AddUser",
        "RemoveUser",
        "Config",
        "SetForm",
        "Verify",
        "Trust",
        "ForgetKey",
        "Chat",
        "Close",
        "Doctor",
        "Network",
        "Log",
        "Delete",
    ];

    #[test]
    fn every_method_for_guests_exists_and_none_is_an_admin_act() {
        for method in FOR_GUESTS.iter().chain(READING).chain(ADMIN) {
            assert!(is_method(method), "{method}");
        }
        for admin in ADMIN {
            assert!(!FOR_GUESTS.contains(admin), "{admin}");
        }
        for method in NOT_HERE {
            assert!(!is_method(method), "{method}");
        }
    }

    #[test]
    fn a_new_method_is_for_nobody_until_it_is_said_for_whom() {
        let mut said = [FOR_GUESTS, ADMIN, NOT_HERE].concat();
        let mut all: Vec<&str> = METHODS.iter().map(|(method, _)| *method).collect();
        said.sort_unstable();
        all.sort_unstable();
        assert_eq!(said, all);
    }

    #[test]
    fn no_call_of_the_web_ends_what_runs_or_sets_the_clock() {
        let drastic: Vec<Command> =
            crate::api::samples::commands().into_iter().filter(Command::is_drastic).collect();
        assert!(drastic.len() >= 5, "{drastic:?}");
        for command in drastic {
            let name = crate::api::samples::answer_to(&command).0;
            assert!(!is_method(name), "{name}");
        }
    }

    #[test]
    fn a_query_gives_parameters_of_the_methods_types() {
        let query = |text: &str| from_query("Who", &super::super::http::fields(text));
        assert_eq!(query("gone=true").unwrap()["gone"], true);
        assert_eq!(query("gone=1").unwrap_err(), "gone");
        assert_eq!(query("x=1").unwrap_err(), "x");
        assert!(query("").unwrap().is_empty());
    }
}
