//! The hello chat's web API, for its scripts and pages: `GET /`, `/messages` and
//! `/send?message=…`, on the ports 8080 (the assignment's first revision) and 8000 (its later
//! one). Both know all routes here.
//!
//! Answers are those of the real programs (captures/004-vanis-x2, 004-kalash-x2): a missing
//! message as vanis refuses it, an empty one and an unknown route as Kalash does. Whatever a page
//! of somebody else's makes a browser ask is refused.

use std::fmt::Write;
use std::rc::Rc;

use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION};

use super::{Body, Request, Response, Site, StatusCode, answer, form, read, text};
use crate::command::{Command, LOBBY};
use crate::dialect::hello::{Message, codec};
use crate::hub::Hub;
use crate::model::Answer;

/// See the module.
pub struct Hello {
    hub: Rc<Hub>,
}

impl Hello {
    /// The API of the node behind this hub.
    pub fn new(hub: Rc<Hub>) -> Hello {
        Hello { hub }
    }

    async fn messages(&self) -> Result<Vec<Message>, Response<Body>> {
        match self.hub.ask(None, Command::Shared {}, None).await {
            Ok(Answer::Shared(messages)) => Ok(messages),
            Ok(_) => Ok(Vec::new()),
            Err(refusal) => Err(text(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string())),
        }
    }

    async fn send(&self, message: Option<String>) -> Response<Body> {
        let message = match message {
            None => return status("error", Some("Message is missing")),
            Some(message) if message.trim().is_empty() => {
                return text(StatusCode::BAD_REQUEST, "Message is empty\n");
            }
            Some(message) => message,
        };
        let command = Command::Send { to: vec![LOBBY.into()], text: message };
        match self.hub.ask(None, command, None).await {
            Ok(_) => status("ok", None),
            Err(refusal) => status("error", Some(&refusal.to_string())),
        }
    }
}

impl Site for Hello {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if super::is_rebound(&request) {
            let line = "use the address, localhost or a .local name";
            return text(StatusCode::MISDIRECTED_REQUEST, line);
        }
        if super::is_forged(&request) {
            return text(StatusCode::FORBIDDEN, "another site's page asks this: refused");
        }
        let read_only = matches!(*request.method(), Method::GET | Method::HEAD);
        let query = request.uri().query().unwrap_or_default();
        match (request.uri().path(), read_only) {
            ("/messages", true) => match self.messages().await {
                Ok(all) => json(StatusCode::OK, &codec::map(all.iter())),
                Err(answer) => answer,
            },
            ("/", true) => match self.messages().await {
                Ok(all) if wants_page(&request) => page(&all),
                Ok(all) => json(StatusCode::OK, &codec::map(all.iter())),
                Err(answer) => answer,
            },
            ("/send", true) => self.send(form::value(query, "message")).await,
            ("/send", false) if request.method() == Method::POST => {
                let body = match read(request.into_body()).await {
                    Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                    Err(answer) => return answer,
                };
                let answer = self.send(form::value(&body, "message")).await;
                if answer.status() != StatusCode::OK {
                    return answer;
                }
                back()
            }
            (_, false) => text(StatusCode::METHOD_NOT_ALLOWED, "GET reads, POST /send writes"),
            (path, true) => {
                let line = format!("The requested resource not found {path}\n");
                text(StatusCode::NOT_FOUND, &line)
            }
        }
    }
}

fn status(status: &str, message: Option<&str>) -> Response<Body> {
    #[derive(serde::Serialize)]
    struct Status<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    json(StatusCode::OK, &Status { status, message })
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    // maps of strings always serialise
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json; charset=utf-8", bytes)
}

/// Whether a browser asks, for a person.
fn wants_page<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(hyper::header::ACCEPT);
    accept.and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("text/html"))
}

/// After a form was sent: its page again.
fn back() -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "sent");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    response
}

/// The history for a person, without scripts.
fn page(all: &[Message]) -> Response<Body> {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>klatsch</title>\n\
         <form method=\"post\" action=\"/send\"><input name=\"message\" autofocus required> \
         <button>Send</button></form>\n<dl>\n",
    );
    for message in all.iter().rev() {
        let (who, text) = (escaped(&message.peer_id), escaped(&message.text));
        let _ = writeln!(html, "<dt>{who}</dt><dd>{text}</dd>");
    }
    html += "</dl></html>\n";
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'";
    let policy = HeaderValue::from_static(policy);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn escaped(text: &str) -> String {
    let text = crate::model::text::harmless(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
