//! What only the operator may: to see the guests, to mute, remove and ban them, to begin anew.
//! Everything else of his are the control interface's own methods (`calls`).

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::door;
use super::reply::{self, Reply};
use super::site::{Head, MAX_OPERATORS, OPERATOR_MS, Site};
use crate::model::Wall;

/// What of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// Signing in and out.
    Door,
    /// The guests.
    Guests,
    /// One of them.
    Guest(&'a str),
    /// A banned address.
    Ban(&'a str),
    /// Files on their way to and from pages.
    Transfers,
    /// One of them.
    Transfer(&'a str),
    /// The daemon's restart.
    Restart,
    /// A system update.
    Update,
}

impl What<'_> {
    /// The HTTP methods it takes.
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            What::Door => &["GET", "POST", "DELETE"],
            What::Guests | What::Transfers => &["GET"],
            What::Guest(_) | What::Restart | What::Update => &["POST"],
            What::Ban(_) | What::Transfer(_) => &["DELETE"],
        }
    }
}

/// `/api/v1/operator`, `/guests`, `/bans`, `/transfers`, `/restart`.
pub async fn answer(site: &Rc<Site>, head: &Head, what: What<'_>, body: Incoming) -> Reply {
    if what == What::Door {
        return door(site, head, body).await;
    }
    if !head.operator {
        return reply::wrong(StatusCode::UNAUTHORIZED, "that is for the operator of this node");
    }
    match what {
        What::Door => reply::good(&json!({})),
        What::Guests => guests(site),
        What::Guest(id) => match site.json(head, body).await {
            Ok(object) => guest(site, id, object.get("act").and_then(Value::as_str)).await,
            Err(reply) => reply,
        },
        What::Ban(ip) => {
            let ip = ip.parse().ok();
            let mut guests = site.guests.borrow_mut();
            let before = guests.banned.len();
            guests.banned.retain(|banned| Some(*banned) != ip);
            let lifted = guests.banned.len() < before;
            drop(guests);
            site.touch();
            match lifted {
                true => reply::good(&json!({})),
                false => reply::wrong(StatusCode::NOT_FOUND, "that address is not banned"),
            }
        }
        What::Update => super::update::answer(site, body).await,
        What::Transfers => transfers(site),
        What::Transfer(id) => {
            let upload = site.uploads.borrow_mut().remove(id).is_some();
            let fetched = || id.strip_prefix("d").and_then(|n| n.parse().ok());
            match upload || fetched().is_some_and(|n| site.desk.stop(n)) {
                true => reply::good(&json!({})),
                false => reply::wrong(StatusCode::NOT_FOUND, "it is over already"),
            }
        }
        What::Restart => {
            log::info!("web: the operator restarts the daemon");
            site.save();
            match site.restart.try_send(()) {
                Ok(()) => reply::json(StatusCode::ACCEPTED, &json!({})),
                Err(_) => {
                    reply::wrong(StatusCode::CONFLICT, "it restarts already, or runs in a terminal")
                }
            }
        }
    }
}

async fn door(site: &Rc<Site>, head: &Head, body: Incoming) -> Reply {
    let cookie = site.cookie_name("operator");
    let secret = site.set().operator_pin;
    match head.method {
        Method::POST => {
            let object = match site.json(head, body).await {
                Ok(object) => object,
                Err(reply) => return reply,
            };
            if secret.is_empty() {
                let text = "no operator PIN is set: CONFIG web.operator-pin sets it";
                return reply::wrong(StatusCode::FORBIDDEN, text);
            }
            let given = object.get("pin").and_then(Value::as_str).unwrap_or_default();
            let guesses = &site.operator_guesses;
            if let Err(reply) = door::check_pin(guesses, site.now(), head.from, given, &secret) {
                return reply;
            }
            let token = match super::guests::random() {
                Ok(token) => token,
                Err(error) => {
                    return reply::wrong(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
                }
            };
            let mut operators = site.operators.borrow_mut();
            if operators.len() >= MAX_OPERATORS {
                let oldest = operators.iter().min_by_key(|(_, seen)| **seen);
                if let Some(token) = oldest.map(|(token, _)| token.clone()) {
                    operators.remove(&token);
                }
            }
            operators.insert(token.clone(), site.now());
            log::info!("web: an operator signed in from {}", head.from);
            let mut reply = reply::good(&json!({"operator": true}));
            reply::cookie(&mut reply, &cookie, &token, OPERATOR_MS / 1_000 * 16);
            reply
        }
        Method::DELETE => {
            if let Some(token) = super::http::cookie(&head.headers, &cookie) {
                site.operators.borrow_mut().remove(token);
            }
            let mut reply = reply::good(&json!({}));
            reply::cookie(&mut reply, &cookie, "", 0);
            reply
        }
        _ => reply::good(&json!({"operator": head.operator, "set": !secret.is_empty()})),
    }
}

fn guests(site: &Site) -> Reply {
    let guests = site.guests.borrow();
    let all = guests.all.iter().map(|guest| {
        json!({"id": guest.id, "handle": guest.handle, "address": guest.address.to_string(),
            "here": guest.here, "windows": guest.streams, "muted": guest.muted,
            "away": guest.away || guest.resting, "seen": Wall(guest.seen)})
    });
    let banned: Vec<String> = guests.banned.iter().map(ToString::to_string).collect();
    let uploads = site.uploads.borrow().len();
    let shelf = site.shelf.borrow();
    reply::good(&json!({"guests": all.collect::<Vec<_>>(), "banned": banned,
        "uploads": {"running": uploads, "bytes": shelf.bytes(), "quota": site.set().quota}}))
}

/// What guests send each other is theirs: not its name, only whose and how much.
fn transfers(site: &Site) -> Reply {
    let mut guests = site.guests.borrow_mut();
    let uploads = site.uploads.borrow();
    let uploads = uploads.iter().map(|(id, upload)| {
        let guest = guests.by_id(upload.owner()).map(|guest| guest.handle.to_string());
        json!({"id": id, "guest": guest.unwrap_or_default(), "done": upload.done(),
            "size": upload.size()})
    });
    let downloads = site.desk.fetched().into_iter();
    let downloads =
        downloads.map(|(n, ip)| json!({"id": format!("d{n}"), "address": ip.to_string()}));
    reply::good(&json!({"uploads": uploads.collect::<Vec<_>>(),
        "downloads": downloads.collect::<Vec<_>>()}))
}

async fn guest(site: &Rc<Site>, id: &str, act: Option<&str>) -> Reply {
    let known = site.guests.borrow_mut().by_id(id).map(|g| (g.address, g.handle.clone()));
    let Some((address, handle)) = known else {
        return reply::wrong(StatusCode::NOT_FOUND, "there is no such guest");
    };
    match act {
        Some("mute" | "unmute") => {
            if let Some(guest) = site.guests.borrow_mut().by_id(id) {
                guest.muted = act == Some("mute");
            }
        }
        Some("kick" | "ban") => {
            door::forget(site, id).await;
            if act == Some("ban") {
                site.guests.borrow_mut().ban(address);
            }
        }
        _ => return super::calls::bad_parameter("act"),
    }
    // whom is nobody's to read in a log
    log::info!("web: the operator has done this to a guest: {}", act.unwrap_or_default());
    log::debug!("web: that was {handle}");
    site.touch();
    reply::good(&json!({}))
}
