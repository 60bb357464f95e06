//! The stream of events (`text/event-stream`): what a guest's page hears, from where it stopped.
//!
//! A page that was cut off names the last event it had, as `epoch:seq`; what followed comes, or
//! an explicit gap, after which the page reads what it missed from the history. A reader that is
//! slow holds up only itself: events wait in the one ring, not here.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_lite::{FutureExt, stream};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::door;
use super::reply::{self, Reply};
use super::server::Payload;
use super::shelf::Shown;
use super::site::{Head, Site, Who};
use crate::config::web::GUESTS;
use crate::model::ring::Cursor;
use crate::model::{Refusal, Stamped, Wall, What};
use crate::reactor::Timer;

/// A sign of life when nothing happens, in milliseconds: it finds out who is gone.
const BEAT_MS: u64 = 15_000;
/// Streams of operators at once.
pub const MAX_OF_OPERATORS: u64 = 8;
/// All that guests and operators may have fit, so that nobody can take what is another's.
const _: () = {
    let of_guests = *GUESTS.end() as usize * super::guests::MAX_STREAMS;
    assert!(of_guests + MAX_OF_OPERATORS as usize <= super::server::MAX_CONNECTIONS / 2 + 8);
};
/// Bytes of events written together, about.
const BATCH: usize = 16 * 1024;

/// `/api/v1/events`.
pub async fn answer(site: &Rc<Site>, head: &Head) -> Reply {
    let id = match &head.who {
        // whoever is both says on which page he is
        _ if head.operator && head.field("operator").is_some() => None,
        Who::Guest(id) => Some(id.clone()),
        Who::Stranger if head.operator => None,
        Who::Stranger => return reply::wrong(StatusCode::UNAUTHORIZED, "come in first"),
    };
    let since = head.header("last-event-id").or_else(|| head.field("since"));
    let cursor = match since {
        Some(since) => site.hub.resume(since),
        None => Some(site.hub.tail()),
    };
    let Some(cursor) = cursor else {
        let refusal =
            Refusal::bad("since", since.unwrap_or_default(), "epoch:seq, as an event bears it");
        return reply::refusal(&refusal);
    };
    let too_many = |what: &str, limit| {
        let what = what.to_owned();
        reply::refusal(&Refusal::TooMany { what, limit })
    };
    let of_operators = &site.counts.of_operators;
    if id.is_none() {
        if of_operators.get() >= MAX_OF_OPERATORS {
            return too_many("windows of operators", MAX_OF_OPERATORS);
        }
        of_operators.set(of_operators.get() + 1);
    }
    if let Some(id) = &id {
        if let Err(refusal) = door::ensure(site, id).await {
            return reply::refusal(&refusal);
        }
        if !door::arrive(site, id).await {
            return too_many("windows of one guest", super::guests::MAX_STREAMS as u64);
        }
    }
    site.counts.streams.set(site.counts.streams.get() + 1);
    let token = super::http::cookie(&head.headers, &site.cookie_name("operator"));
    let reader = Reader {
        site: Rc::clone(site),
        id,
        token: token.unwrap_or_default().to_owned(),
        cursor,
        begun: false,
        fresh: since.is_none(),
    };
    let pieces = stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok(Bytes::from(text)), reader))
    });
    let mut reply = Response::new(Payload::pieces(Box::pin(pieces)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply
}

struct Reader {
    site: Rc<Site>,
    /// The guest; none: the operator.
    id: Option<String>,
    /// What the operator signed in with.
    token: String,
    cursor: Cursor,
    begun: bool,
    /// It begins with now: `ready` counts as seen.
    fresh: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.site.counts.streams.set(self.site.counts.streams.get().saturating_sub(1));
        match &self.id {
            Some(id) => door::depart(&self.site, id),
            None => {
                let of_operators = &self.site.counts.of_operators;
                of_operators.set(of_operators.get().saturating_sub(1));
            }
        }
    }
}

impl Reader {
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some(self.ready());
        }
        let site = Rc::clone(&self.site);
        loop {
            let next = async { Some(site.hub.next(&mut self.cursor).await) };
            let beat = async {
                Timer::after(Duration::from_millis(BEAT_MS)).await;
                None
            };
            let Some(event) = next.or(beat).await else {
                return self.is_welcome().then(|| "event: beat\ndata: {}\n\n".to_owned());
            };
            if !self.is_welcome() {
                return None;
            }
            let (mut text, mut cursor) = (String::new(), self.cursor.clone());
            site.hub
                .batch(&mut cursor, event, |event| {
                    if let Some(value) = self.told(event) {
                        encode(event, &value, &mut text);
                    }
                    text.len() < BATCH
                })
                .await;
            self.cursor = cursor;
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// Whether it is still a guest or an operator: one who was banned hears no more.
    fn is_welcome(&self) -> bool {
        match &self.id {
            Some(id) => self.site.guests.borrow_mut().by_id(id).is_some_and(|guest| guest.here),
            None => self.site.operators.borrow().contains_key(&self.token),
        }
    }

    fn ready(&self) -> String {
        let (epoch, seq) = (self.site.hub.epoch(), self.site.hub.last());
        let at = Wall::from_system(SystemTime::now());
        let id = if self.fresh { format!("id: {epoch}:{seq}\n") } else { String::new() };
        let data = json!({"kind": "ready", "epoch": epoch, "seq": seq, "user": null, "at": at});
        format!("retry: 2000\n{id}data: {data}\n\n")
    }

    /// An event as this reader may hear it, if it may.
    fn told(&self, event: &Stamped) -> Option<Value> {
        let Some(id) = &self.id else {
            let open = self.site.hub.is_open(&event.event);
            return open.then(|| serde_json::to_value(event).unwrap_or_default());
        };
        let gap = matches!(event.event.what, What::Gap(_));
        let mut guests = self.site.guests.borrow_mut();
        let guest = guests.by_id(id)?;
        let (handle, joined) = (guest.handle.clone(), guest.joined);
        drop(guests);
        // what was said to another who bore this name before is not this guest's
        if event.seq <= joined && !gap {
            return None;
        }
        match (&event.event.user, &event.event.what) {
            (Some(user), _) if user.is(handle.as_str()) => {}
            (
                None,
                What::PeerJoined { .. }
                | What::PeerLeft { .. }
                | What::PeerAway { .. }
                | What::PeerBack { .. }
                | What::PeerRenamed { .. }
                | What::Message { .. } // in another dialect's shared chat
                | What::Gap(_),
            ) => {}
            _ => return None,
        }
        self.site.learn_name(&event.event.what);
        let mut value = serde_json::to_value(event).unwrap_or_default();
        if let What::Image { id: entry, path, format, .. } = &event.event.what {
            dress(&self.site, id, &entry.to_string(), path, format, &mut value);
        }
        Some(value)
    }
}

/// Turns a path of ours into an address that this guest's page may fetch.
pub fn dress(site: &Site, guest: &str, entry: &str, path: &str, format: &str, value: &mut Value) {
    let name = site.name_of(entry, path);
    if let Value::Object(object) = value {
        object.remove("path");
        object.insert("name".into(), name.as_str().into());
        let url = (!path.is_empty()).then(|| format!("/api/v1/files/{entry}"));
        object.insert("url".into(), url.into());
    }
    if !path.is_empty() {
        let shown = Shown { path: path.to_owned(), format: format.to_owned(), name };
        site.seen.borrow_mut().note(guest, entry, shown);
    }
}

/// One event in the stream's own form. A gap bears no id of its own: the last real one holds.
fn encode(event: &Stamped, value: &Value, out: &mut String) {
    if !matches!(event.event.what, What::Gap(_)) {
        out.push_str(&format!("id: {}:{}\n", event.epoch, event.seq));
    }
    // JSON has no line end within, so one `data` line holds it
    out.push_str(&format!("data: {value}\n\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Event;
    use crate::model::ring::{Gap, GapReason};

    #[test]
    fn an_event_is_one_id_and_one_line_whatever_it_says() {
        let what = What::Error { text: "a\nid: x\r\n\u{2028}data: y".into() };
        let event = Event { at: Wall(0), user: None, what };
        let stamped = Stamped { epoch: "0007".into(), seq: 3, event };
        let mut out = String::new();
        encode(&stamped, &serde_json::to_value(&stamped).unwrap(), &mut out);
        assert!(out.starts_with("id: 0007:3\ndata: {"));
        assert_eq!(out.matches('\n').count(), 3);
        assert!(!out.contains('\r'));
    }

    #[test]
    fn a_gap_bears_no_id() {
        let gap = Gap { reason: GapReason::Epoch, missed: None, next: 4 };
        let event = Event { at: Wall(0), user: None, what: What::Gap(gap) };
        let stamped = Stamped { epoch: "0007".into(), seq: 3, event };
        let mut out = String::new();
        encode(&stamped, &json!({"kind": "gap"}), &mut out);
        assert_eq!(out, "data: {\"kind\":\"gap\"}\n\n");
    }
}
