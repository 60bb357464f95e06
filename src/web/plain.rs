//! The page without scripts: forms and links only, for the windows that phones open for a
//! captive portal, for old browsers, and for who switches scripts off. The conversation stands in
//! a frame that refreshes by itself, so that what is half typed below stays.

use std::fmt::Write;
use std::rc::Rc;

use hyper::StatusCode;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::http::{encoded, escaped, fields};
use super::reply::{self, Reply};
use super::site::{Head, MAX_FORM, Site, Who, bad_body};
use super::words::Words;
use super::{calls, door, guests, server, words};
use crate::api::{self, Request};
use crate::command::{Command, LOBBY};
use crate::model::{Answer, Direction, PeerView, Presence, TransferState, TransferView};

/// Seconds between two refreshes of the conversation.
const REFRESH: u32 = 7;
/// Entries shown.
const SHOWN: u32 = 60;
/// People listed.
const LISTED: usize = 200;

/// What of the plain page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The page.
    Page,
    /// The conversation in its frame.
    Log,
    /// A newcomer's form.
    Enter,
    /// A message's form.
    Send,
    /// Whether an offered file is wanted.
    File,
    /// Leaving.
    Leave,
}

impl What {
    /// The one of a path.
    pub fn of(path: &str) -> Option<What> {
        Some(match path {
            "/plain" => What::Page,
            "/plain/log" => What::Log,
            "/plain/enter" => What::Enter,
            "/plain/send" => What::Send,
            "/plain/file" => What::File,
            "/plain/leave" => What::Leave,
            _ => return None,
        })
    }

    /// The HTTP methods it takes.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            What::Page | What::Log => &["GET"],
            What::Enter | What::Send | What::File | What::Leave => &["POST"],
        }
    }
}

/// `/plain` and what is below it.
pub async fn answer(site: &Rc<Site>, head: &Head, what: What, body: Incoming) -> Reply {
    let with = head.field("with").unwrap_or(LOBBY).to_owned();
    let words = words::wanted(head.header("accept-language"));
    match (what, &head.who) {
        (What::Page, Who::Guest(id)) => page(site, words, id, &with, "").await,
        (What::Page, Who::Stranger) => reply::page(StatusCode::OK, front(site, words, "", "")),
        (What::Log, Who::Guest(id)) => log(site, words, id, &with).await,
        (What::Enter, _) => match form(body).await {
            Err(reply) => reply,
            Ok(form) => {
                let (name, pin) = (field(&form, "handle"), field(&form, "pin"));
                match door::enter(site, head, name.trim(), pin).await {
                    Ok(id) => {
                        let mut reply = reply::see_other("/plain");
                        door::cookie(site, &id, &mut reply);
                        reply
                    }
                    Err(refused) if refused.status() == StatusCode::CONFLICT => {
                        let free = parameter(&refused, "free");
                        let text = format!("{} {free}", words.taken);
                        reply::page(StatusCode::CONFLICT, front(site, words, &text, &free))
                    }
                    Err(refused) => {
                        let status = refused.status();
                        let text = match status {
                            StatusCode::UNAUTHORIZED => words.wrong_pin.to_owned(),
                            StatusCode::FORBIDDEN if !site.set().open => words.closed.to_owned(),
                            _ => message(words, &refused),
                        };
                        reply::page(status, front(site, words, &text, name))
                    }
                }
            }
        },
        (What::Send, Who::Guest(id)) => match form(body).await {
            Err(reply) => reply,
            Ok(form) => {
                let (to, text) = (field(&form, "to").to_owned(), field(&form, "text").to_owned());
                let key = Some(field(&form, "key")).filter(|key| guests::is_key(key));
                if text.trim().is_empty() {
                    return reply::see_other(&here(&to));
                }
                match calls::say(site, id, to.clone(), text, key).await {
                    Ok(()) => reply::see_other(&here(&to)),
                    Err(refused) => page(site, words, id, &to, &message(words, &refused)).await,
                }
            }
        },
        (What::File, Who::Guest(id)) => match form(body).await {
            Err(reply) => reply,
            Ok(form) => {
                let with = field(&form, "with");
                let number = field(&form, "number").parse().unwrap_or_default();
                let command = match field(&form, "act") {
                    "accept" => Command::Accept { number },
                    _ => Command::Refuse { number },
                };
                if !calls::may_decide(site, id) {
                    return page(site, words, id, with, words.trouble).await;
                }
                match door::act(site, id, command).await {
                    Ok(_) => reply::see_other(&here(with)),
                    Err(refusal) => page(site, words, id, with, &refusal.to_string()).await,
                }
            }
        },
        (What::Leave, Who::Guest(id)) => {
            door::forget(site, id).await;
            let mut reply = reply::see_other("/plain");
            reply::cookie(&mut reply, &site.cookie_name("guest"), "", 0);
            reply
        }
        _ => reply::see_other("/plain"),
    }
}

fn here(with: &str) -> String {
    if with == LOBBY { "/plain".into() } else { format!("/plain?with={}", encoded(with)) }
}

async fn form(body: Incoming) -> Result<Vec<(String, String)>, Reply> {
    let bytes = server::body(body, MAX_FORM).await.map_err(bad_body)?;
    Ok(fields(&String::from_utf8_lossy(&bytes)))
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
}

fn told(reply: &Reply) -> Value {
    let bytes = reply.body().peek();
    bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}

fn message(words: &Words, reply: &Reply) -> String {
    told(reply)["message"].as_str().unwrap_or(words.trouble).to_owned()
}

fn parameter(reply: &Reply, name: &str) -> String {
    told(reply)["parameters"][name].as_str().unwrap_or_default().to_owned()
}

const HEAD: &str = "<meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <meta name=\"color-scheme\" content=\"light dark\">\
    <link rel=\"stylesheet\" href=\"/operator.css\"><link rel=\"icon\" href=\"/icon.svg\">";

fn opening(words: &Words) -> String {
    format!("<!doctype html>\n<html lang=\"{}\"><head>{HEAD}", words.code)
}

fn front(site: &Site, words: &Words, note: &str, name: &str) -> String {
    let pin = if site.set().pin.is_empty() {
        String::new()
    } else {
        format!(
            "<label for=\"pin\">{}</label><input id=\"pin\" name=\"pin\" type=\"password\" \
             inputmode=\"numeric\" maxlength=\"64\">",
            words.pin
        )
    };
    format!(
        "{head}<title>klatsch</title></head><body class=\"plain\"><main class=\"panel\">\
         <h1>{welcome}</h1><p>{about}</p><p class=\"note\" role=\"alert\">{note}</p>\
         <form method=\"post\" action=\"/plain/enter\">\
         <label for=\"handle\">{label}</label><input id=\"handle\" name=\"handle\" \
         maxlength=\"64\" required value=\"{name}\">{pin}<button>{enter}</button></form>\
         <p class=\"fine\">{clear}</p></main></body></html>",
        head = opening(words),
        welcome = words.welcome,
        about = words.about,
        note = escaped(note),
        label = words.name,
        name = escaped(name),
        enter = words.enter,
        clear = words.clear,
    )
}

async fn page(site: &Rc<Site>, words: &Words, id: &str, with: &str, note: &str) -> Reply {
    let who = match door::act(site, id, Command::Who { gone: false }).await {
        Ok(Answer::Who(peers)) => peers,
        Ok(_) => Vec::new(),
        Err(refusal) => {
            let front = front(site, words, &refusal.to_string(), "");
            return reply::page(StatusCode::CONFLICT, front);
        }
    };
    let me = site.guests.borrow_mut().by_id(id).map(|guest| guest.handle.to_string());
    let key = guests::random().unwrap_or_default();
    let title = if with == LOBBY { words.everyone } else { with };
    let status = if note.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let text = format!(
        "{head}<title>{title} · klatsch</title></head><body class=\"plain\"><main class=\"panel\">\
         <h1>{title}</h1><p class=\"fine\">{you} {me}. <a href=\"{here}\">{refresh}</a></p>\
         <iframe title=\"{messages}\" src=\"/plain/log?with={with}\"></iframe>\
         <p class=\"note\" role=\"alert\">{note}</p>\
         <form method=\"post\" action=\"/plain/send\"><input type=\"hidden\" name=\"key\" value=\"{key}\">\
         <input type=\"hidden\" name=\"to\" value=\"{to}\">\
         <label for=\"text\">{message}</label><input id=\"text\" name=\"text\" maxlength=\"3000\" \
         autocomplete=\"off\" autofocus><button>{send}</button></form>\
         <nav aria-labelledby=\"people\"><h2 id=\"people\">{title_of_people}</h2><ul>{people}</ul></nav>\
         <form method=\"post\" action=\"/plain/leave\"><button class=\"quiet\">{leave}</button></form>\
         </main></body></html>",
        head = opening(words),
        title = escaped(title),
        you = words.you,
        me = escaped(&me.unwrap_or_default()),
        here = escaped(&here(with)),
        refresh = words.refresh,
        messages = words.messages,
        with = encoded(with),
        note = escaped(note),
        to = escaped(with),
        message = words.message,
        send = words.send,
        title_of_people = words.people,
        people = people(words, &who, with),
        leave = words.leave,
    );
    reply::page(status, text)
}

fn people(words: &Words, who: &[PeerView], with: &str) -> String {
    let mut out = String::new();
    let current = |name: &str| if name == with { " aria-current=\"true\"" } else { "" };
    let everyone = words.everyone;
    let _ = write!(out, "<li><a href=\"/plain\"{}>{everyone}</a></li>", current(LOBBY));
    for peer in who.iter().filter(|peer| !peer.blocked).take(LISTED) {
        let is_away = peer.presence == Presence::Away;
        let away = if is_away { format!(" ({})", words.away) } else { String::new() };
        let _ = write!(
            out,
            "<li><a href=\"{}\"{}>{}</a>{away}</li>",
            escaped(&here(&peer.name)),
            current(&peer.name),
            escaped(&peer.name)
        );
    }
    out
}

async fn log(site: &Rc<Site>, words: &Words, id: &str, with: &str) -> Reply {
    let mut parameters = api::Object::new();
    parameters.insert("with".into(), with.into());
    parameters.insert("limit".into(), SHOWN.into());
    let answer = match Request::from_json("History", parameters) {
        Ok(Request::Act { command, .. }) => door::act(site, id, command).await,
        _ => Ok(Answer::Done),
    };
    let value = match answer {
        Ok(answer) => Value::Object(api::answer_to_json(&answer)),
        Err(refusal) => json!({"entries": [], "note": refusal.to_string()}),
    };
    let mut lines = String::new();
    for file in door::transfers(site, id).await {
        lines.push_str(&offer(words, &file, with));
    }
    for entry in value["entries"].as_array().into_iter().flatten().rev() {
        lines.push_str(&line(site, words, id, entry));
    }
    if lines.is_empty() {
        lines = format!("<p class=\"fine\">{}</p>", words.nothing);
    }
    reply::page(
        StatusCode::OK,
        format!(
            "{}<meta http-equiv=\"refresh\" content=\"{REFRESH}\"><title>{}</title></head>\
             <body class=\"log\"><div role=\"log\" aria-label=\"{}\">{lines}</div></body></html>",
            opening(words),
            words.messages,
            words.newest_first,
        ),
    )
}

/// A file on its way to a guest over the link; one that is offered with the question.
fn offer(words: &Words, file: &TransferView, with: &str) -> String {
    if file.direction == Direction::Out {
        return String::new();
    }
    let (from, name) = (escaped(&file.handle), escaped(&file.name));
    if file.state != TransferState::Offered {
        let reason = escaped(file.reason.as_deref().unwrap_or_default());
        return format!("<p><b>{from}</b> {name} {} / {} {reason}</p>", file.done, file.size);
    }
    format!(
        "<form method=\"post\" action=\"/plain/file\" target=\"_top\"><b>{from}</b> {offers} \
         {name} ({size} B) <input type=\"hidden\" name=\"number\" value=\"{number}\">\
         <input type=\"hidden\" name=\"with\" value=\"{with}\">\
         <button name=\"act\" value=\"accept\">{accept}</button>\
         <button name=\"act\" value=\"refuse\" class=\"quiet\">{refuse}</button></form>",
        offers = words.offers,
        size = file.size,
        number = file.number,
        with = escaped(with),
        accept = words.accept,
        refuse = words.refuse,
    )
}

fn line(site: &Site, words: &Words, id: &str, entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (from, at) = (text(&entry["from"]), text(&entry["at"]));
    let time = at.get(11..16).unwrap_or_default();
    let mine = if entry["direction"] == "out" { " class=\"mine\"" } else { "" };
    let body = &entry["body"];
    let said = if body["kind"] == "file" {
        let mut body = body.clone();
        let (name, path) = (text(&entry["id"]), text(&body["path"]));
        let format = text(&body["format"]);
        super::events::dress(site, id, &name, &path, &format, &mut body);
        format!(
            "<a href=\"{}\" target=\"_blank\">{}</a>",
            escaped(&text(&body["url"])),
            escaped(&text(&body["name"]))
        )
    } else {
        escaped(&text(&body["text"]))
    };
    let failed = entry["recipients"].as_array().into_iter().flatten();
    let failed = failed.filter_map(|r| {
        let word = match r["state"].as_str() {
            Some("failed") => words.failed,
            Some("queued") => words.queued,
            _ => return None,
        };
        Some(format!("{}: {word}", escaped(&text(&r["handle"]))))
    });
    let failed: Vec<String> = failed.collect();
    let fate =
        if failed.is_empty() { String::new() } else { format!(" <em>{}</em>", failed.join(", ")) };
    format!("<p{mine}><b>{}</b> <small>{}</small> {said}{fate}</p>", escaped(&from), escaped(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_say_and_are_called_stays_text() {
        let evil = "<script>alert(1)</script>\"'";
        let peer = PeerView {
            id: crate::model::PeerId(1),
            handle: evil.into(),
            name: evil.into(),
            dialect: vec![],
            address: String::new(),
            port: 1,
            routes: vec![],
            presence: Presence::Away,
            trust: crate::model::Trust::Plain,
            last_heard: None,
            blocked: false,
        };
        let out = people(words::wanted(None), &[peer], LOBBY);
        assert!(!out.contains("<script"), "{out}");
        assert!(!out.contains("\"'"), "{out}");
        assert!(out.contains("with=%3Cscript%3E"));
        assert_eq!(here("a&b\""), "/plain?with=a%26b%22");
        let file = TransferView {
            number: 3,
            id: crate::model::EntryId { epoch: 1, n: 1 },
            user: crate::model::Handle::try_from("anna").unwrap(),
            direction: Direction::In,
            peer: crate::model::PeerId(1),
            handle: evil.into(),
            name: evil.into(),
            done: 0,
            size: 9,
            files: 1,
            state: TransferState::Offered,
            reason: None,
        };
        let paused = TransferView {
            state: TransferState::Paused,
            reason: Some(evil.into()),
            ..file.clone()
        };
        for file in [&file, &paused] {
            let out = offer(words::wanted(None), file, evil);
            assert!(!out.contains("<script") && !out.contains("\"'"), "{out}");
        }
        assert!(offer(words::wanted(None), &file, LOBBY).contains("value=\"accept\""));
        assert!(!offer(words::wanted(None), &paused, LOBBY).contains("button"));
    }
}
