//! The hello chat's web API, for its scripts and pages: `GET /`, `/messages` and
//! `/send?message=…`, on the ports 8080 (the assignment's first revision) and 8000 (its later
//! one). Both know all routes here. The server under it is the page's (`server`).
//!
//! Answers are those of the real programs (captures/004-vanis-x2, 004-kalash-x2): a missing
//! message as vanis refuses it, an empty one and an unknown route as Kalash does. Whatever a page
//! of somebody else's makes a browser ask is refused.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use super::http::{self, Ports, authority, escaped};
use super::reply::{self, Reply};
use super::server::{self, Answering, BadBody, Tenant};
use crate::command::{Command, LOBBY};
use crate::dialect::hello::{Message, codec};
use crate::hub::Hub;
use crate::model::Answer;
use crate::model::text::harmless;

/// Connections of one listener at once, and from one address.
pub const MAX_CONNECTIONS: usize = 32;
/// See [`MAX_CONNECTIONS`].
pub const MAX_PER_ADDRESS: usize = 16;
/// Longest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// See the module.
pub struct Hello {
    hub: Rc<Hub>,
}

impl Hello {
    /// The API of the node behind this hub.
    pub fn new(hub: Rc<Hub>) -> Hello {
        Hello { hub }
    }

    async fn messages(&self) -> Result<Vec<Message>, Reply> {
        match self.hub.ask(None, Command::Shared {}, None).await {
            Ok(Answer::Shared(messages)) => Ok(messages),
            Ok(_) => Ok(Vec::new()),
            Err(refusal) => Err(reply::line(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string())),
        }
    }

    async fn send(&self, message: Option<String>) -> Reply {
        let message = match message {
            None => return status("error", Some("Message is missing")),
            Some(message) if message.trim().is_empty() => {
                return reply::line(StatusCode::BAD_REQUEST, "Message is empty\n");
            }
            Some(message) => message,
        };
        let command = Command::Send { to: vec![LOBBY.into()], text: message };
        match self.hub.ask(None, command, None).await {
            Ok(_) => status("ok", None),
            Err(refusal) => status("error", Some(&refusal.to_string())),
        }
    }

    async fn reply(&self, request: Request<Incoming>) -> Reply {
        let header = |name: &str| request.headers().get(name).and_then(|line| line.to_str().ok());
        let host = header("host").map(authority);
        if host.is_some_and(|host| !host.is_some_and(|(host, _)| http::is_lan_host(&host))) {
            let line = "use the address, localhost or a .local name";
            return reply::line(StatusCode::MISDIRECTED_REQUEST, line);
        }
        // a GET sends here too
        if !http::is_own_origin(request.headers(), Ports::Any) {
            let line = "another site's page asks this: refused";
            return reply::line(StatusCode::FORBIDDEN, line);
        }
        let wants_page = header("accept").is_some_and(|kinds| kinds.contains("text/html"));
        let read_only = matches!(*request.method(), Method::GET | Method::HEAD);
        let query = request.uri().query().unwrap_or_default();
        match (request.uri().path(), read_only) {
            ("/messages", true) => match self.messages().await {
                Ok(all) => json(&codec::map(all.iter())),
                Err(answer) => answer,
            },
            ("/", true) => match self.messages().await {
                Ok(all) if wants_page => reply::page(StatusCode::OK, page(&all)),
                Ok(all) => json(&codec::map(all.iter())),
                Err(answer) => answer,
            },
            ("/send", true) => self.send(message(query)).await,
            ("/send", false) if request.method() == Method::POST => {
                let body = match server::body(request.into_body(), MAX_BODY).await {
                    Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                    Err(bad) => return bad_body(bad),
                };
                let answer = self.send(message(&body)).await;
                if answer.status() != StatusCode::OK {
                    return answer;
                }
                reply::see_other("/")
            }
            (_, false) => {
                reply::line(StatusCode::METHOD_NOT_ALLOWED, "GET reads, POST /send writes")
            }
            (path, true) => {
                let line = format!("The requested resource not found {path}\n");
                reply::line(StatusCode::NOT_FOUND, &line)
            }
        }
    }
}

impl Tenant for Hello {
    fn seats(&self) -> (usize, usize) {
        (MAX_CONNECTIONS, MAX_PER_ADDRESS)
    }

    fn answer(self: Rc<Self>, request: Request<Incoming>, _: IpAddr) -> Answering {
        Box::pin(async move {
            let mut reply = self.reply(request).await;
            reply::seal(&mut reply);
            reply
        })
    }
}

/// What is to be sent; one that is missing is not an empty one.
fn message(form: &str) -> Option<String> {
    let fields = http::fields(form);
    fields.into_iter().find(|(name, _)| name == "message").map(|(_, text)| text)
}

fn bad_body(bad: BadBody) -> Reply {
    match bad {
        BadBody::TooLong => {
            let line = format!("a body of more than {MAX_BODY} bytes");
            reply::line(StatusCode::PAYLOAD_TOO_LARGE, &line)
        }
        BadBody::Late => reply::line(StatusCode::REQUEST_TIMEOUT, "the body does not come"),
        BadBody::Cut => reply::line(StatusCode::BAD_REQUEST, "the body breaks off"),
    }
}

fn status(status: &str, message: Option<&str>) -> Reply {
    #[derive(serde::Serialize)]
    struct Status<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    json(&Status { status, message })
}

fn json(value: &impl serde::Serialize) -> Reply {
    // maps of strings always serialise
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    reply::whole(StatusCode::OK, "application/json; charset=utf-8", bytes)
}

/// The history for a person, without scripts.
fn page(all: &[Message]) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>klatsch</title>\n\
         <form method=\"post\" action=\"/send\"><input name=\"message\" autofocus required> \
         <button>Send</button></form>\n<dl>\n",
    );
    for message in all.iter().rev() {
        let shown = |text: &str| escaped(&harmless(text));
        let (who, text) = (shown(&message.peer_id), shown(&message.text));
        let _ = writeln!(html, "<dt>{who}</dt><dd>{text}</dd>");
    }
    html += "</dl></html>\n";
    html
}
