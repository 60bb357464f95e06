//! The site: who asks, whether he may, and who answers it. What a path is for, `route` says.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap};
use hyper::{Method, Request, StatusCode};

use super::files::Desk;
use super::gate::{Bucket, Flow, Guesses};
use super::guests::Guests;
use super::http::Ports;
use super::reply::{self, Reply};
use super::route::{Route, is_probe};
use super::server::{self, Answering, BadBody, Payload, Reached, Tenant};
use super::shelf::{Seen, Shelf, Stored};
use super::{address, calls, door, events, http, metrics, operator, plain, uploads};
use crate::command::Command;
use crate::config::{Settings, Web, rows};
use crate::hub::Hub;
use crate::model::{Answer, Direction, EntryId, Map, Millis, TransferState, Wall, What};

/// Requests of one address.
pub const REQUESTS: Bucket = Bucket { size: 240, refill: 60 };
/// A call's JSON, in bytes.
pub const MAX_JSON: usize = 64 * 1024;
/// A form's fields, in bytes.
pub const MAX_FORM: usize = 16 * 1024;
/// Operators signed in at once; the one idle longest is signed out for one more.
pub const MAX_OPERATORS: usize = 8;
/// An operator who does nothing is signed out after this, in milliseconds.
pub const OPERATOR_MS: Millis = 30 * 60 * 1_000;

/// Names of files that came and are not told of yet.
const MAX_NAMES: usize = 64;

/// The state of the page's side of the daemon. See the module.
pub struct Site {
    pub(super) hub: Rc<Hub>,
    pub(super) desk: Rc<Desk>,
    folder: Option<PathBuf>,
    /// The port people reach us at.
    pub(super) port: u16,
    settings: RefCell<Settings>,
    /// This host's own names.
    names: Vec<String>,
    pub(super) guests: RefCell<Guests>,
    pub(super) shelf: RefCell<Shelf>,
    pub(super) seen: RefCell<Seen>,
    /// Of files that came, as their senders call them, the newest.
    names_of_files: RefCell<VecDeque<(EntryId, String)>>,
    pub(super) uploads: RefCell<uploads::Uploads>,
    /// Wrong PINs of the house.
    pub(super) guesses: RefCell<Guesses>,
    /// Wrong PINs of the operator's; apart, or who knows the other PIN could guess without pauses.
    pub(super) operator_guesses: RefCell<Guesses>,
    flow: RefCell<Flow>,
    pub(super) operators: RefCell<Map<String, Millis>>,
    pub(super) counts: Counts,
    /// Guests being brought in at this moment.
    pub(super) entering: RefCell<crate::model::Set<String>>,
    /// Held by who comes in, from making room to taking it: a place is not taken twice.
    pub(super) coming_in: async_lock::Mutex<()>,
    /// Something is to be kept.
    dirty: Cell<bool>,
    /// The disk refused it, which was said once.
    refused: Cell<bool>,
    /// Something changed that [`door::tend`] should look at.
    pub(super) changed: event_listener::Event,
    begun: Instant,
    pub(super) restart: async_channel::Sender<()>,
}

/// What is counted for `/metrics`.
#[derive(Default)]
pub struct Counts {
    /// Requests.
    pub requests: Cell<u64>,
    /// Of these, refused before anything was done.
    pub refused: Cell<u64>,
    /// Streams of events open.
    pub streams: Cell<u64>,
    /// Of these, those of operators.
    pub of_operators: Cell<u64>,
    /// Bytes uploaded.
    pub uploaded: Cell<u64>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody we know.
    Stranger,
    /// A guest, by its id.
    Guest(String),
}

/// A request's head.
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its path, as it stands.
    pub path: String,
    /// Its query's fields.
    pub query: Vec<(String, String)>,
    /// Its lines.
    pub headers: HeaderMap,
    /// Where it comes from.
    pub from: IpAddr,
    /// The address of ours that it came to.
    pub reached: Option<IpAddr>,
    /// The guest whose cookie it bears.
    pub who: Who,
    /// It bears an operator's cookie.
    pub operator: bool,
}

impl Head {
    /// A field of the query.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A line of the head, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|line| line.to_str().ok())
    }
}

/// What the site is made of.
pub struct Ground {
    /// The way to the node.
    pub hub: Rc<Hub>,
    /// The state folder; none: nothing is kept.
    pub folder: Option<PathBuf>,
    /// The port it is served at.
    pub port: u16,
    /// What is set.
    pub settings: Settings,
    /// This host's name.
    pub host: String,
    /// Told when the operator wants the daemon to begin anew.
    pub restart: async_channel::Sender<()>,
}

impl Site {
    /// A site whose guests are those kept in the folder.
    pub fn new(ground: Ground) -> Rc<Site> {
        let now = Wall::from_system(SystemTime::now()).0;
        let host = ground.host.to_ascii_lowercase();
        let first = host.split('.').next().unwrap_or_default().to_owned();
        let (guests, shelf) = match &ground.folder {
            Some(folder) => (Guests::read(folder, now), uploads::read(folder)),
            None => Default::default(),
        };
        Rc::new(Site {
            desk: Desk::new(Rc::clone(&ground.hub)),
            hub: ground.hub,
            folder: ground.folder,
            port: ground.port,
            settings: RefCell::new(ground.settings),
            names: vec![format!("{first}.local"), first, host],
            guests: RefCell::new(guests),
            shelf: RefCell::new(shelf),
            seen: RefCell::default(),
            names_of_files: RefCell::default(),
            uploads: RefCell::default(),
            guesses: RefCell::default(),
            operator_guesses: RefCell::default(),
            flow: RefCell::new(Flow::new(REQUESTS)),
            operators: RefCell::default(),
            counts: Counts::default(),
            entering: RefCell::default(),
            coming_in: async_lock::Mutex::new(()),
            dirty: Cell::new(false),
            refused: Cell::new(false),
            changed: event_listener::Event::new(),
            begun: Instant::now(),
            restart: ground.restart,
        })
    }

    /// Steady milliseconds.
    pub fn now(&self) -> Millis {
        1 + Millis::try_from(self.begun.elapsed().as_millis()).unwrap_or(Millis::MAX / 2)
    }

    /// Milliseconds of the system's clock.
    pub fn wall(&self) -> u64 {
        Wall::from_system(SystemTime::now()).0
    }

    /// The page's settings as they are now.
    pub fn set(&self) -> Web {
        self.settings.borrow().web.clone()
    }

    /// Something is to be kept, soon.
    pub fn touch(&self) {
        self.dirty.set(true);
        self.changed.notify(usize::MAX);
    }

    /// Keeps a file on the shelf; those that make room for it are removed.
    pub(super) fn keep_file(&self, file: Stored) {
        let gone = self.shelf.borrow_mut().keep(file, self.set().quota);
        gone.into_iter().for_each(|path| self.desk.remove(path));
        self.touch();
    }

    /// Keeps what changed; what the disk refuses is still to be kept.
    pub fn save(&self) {
        if !self.dirty.replace(false) {
            return;
        }
        if let Some(folder) = &self.folder {
            let kept = self.guests.borrow().write(folder);
            let kept = kept.and_then(|()| uploads::write(&self.shelf.borrow(), folder));
            if let Err(error) = &kept {
                self.dirty.set(true);
                if !self.refused.get() {
                    log::warn!("web: guests cannot be kept yet: {error}");
                }
            }
            self.refused.set(kept.is_err());
        }
    }

    /// Whether the disk refused it the last time.
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether something is to be kept.
    pub fn is_dirty(&self) -> bool {
        self.dirty.get()
    }

    /// Follows the settings as they change, until the node is gone.
    pub async fn follow(self: Rc<Self>) {
        let mut cursor = self.hub.tail();
        loop {
            let event = self.hub.next(&mut cursor).await;
            match &event.event.what {
                What::Config { key, .. } if key.starts_with("web.") => self.reread().await,
                What::Gap(_) => self.reread().await,
                What::PeerLeft { dialect: crate::model::Dialect::Local, handle, .. } => {
                    door::left(&self, handle, event.seq);
                }
                What::Transfer { .. } => self.learn_name(&event.event.what),
                What::Image { direction: Direction::In, .. } => {
                    door::keep_what_came(&self, &event.event);
                }
                _ => {}
            }
        }
    }

    /// What the sender of a file calls it, said when it came; whoever reads the events first
    /// needs it.
    pub(super) fn learn_name(&self, what: &What) {
        let What::Transfer { state: TransferState::Done, id, name, .. } = what else { return };
        let mut names = self.names_of_files.borrow_mut();
        if !names.iter().any(|(of, _)| of == id) {
            names.push_back((*id, http::shown_name(name)));
        }
        if names.len() > MAX_NAMES {
            names.pop_front();
        }
    }

    /// The name of a file: as its sender calls it, else as it is called here.
    pub(super) fn name_of(&self, entry: &str, path: &str) -> String {
        let last = path.rsplit('/').next().unwrap_or_default();
        let names = self.names_of_files.borrow();
        let said = names.iter().find(|(of, _)| of.to_string() == entry).map(|(_, name)| name);
        match self.shelf.borrow().name_of(path) {
            Some(name) => name.to_owned(),
            None => said.map_or(last, String::as_str).to_owned(),
        }
    }

    /// Takes over the settings as the node has them: events do not tell PINs.
    async fn reread(&self) {
        let Ok(Answer::Config(all)) = self.hub.ask(None, Command::PageSettings {}, None).await
        else {
            return; // the node is stopping
        };
        let mut settings = self.settings.borrow_mut();
        let before = settings.web.operator_pin.clone();
        for setting in all {
            if let Err(refusal) = rows::set(&mut settings, &setting.key, &setting.value) {
                log::warn!("web: {refusal}");
            }
        }
        if settings.web.operator_pin != before {
            self.operators.borrow_mut().clear();
        }
    }

    /// The name of our cookie: a browser keeps one jar for all ports of a host.
    pub fn cookie_name(&self, what: &str) -> String {
        format!("klatsch-{what}-{}", self.port)
    }

    fn know(&self, head: &mut Head) {
        if let Some(token) = http::cookie(&head.headers, &self.cookie_name("guest")) {
            if let Some(guest) = self.guests.borrow_mut().by_token(token) {
                head.who = Who::Guest(guest.id.clone());
                // a ban is for where it is now
                guest.address = head.from;
            }
        }
        if let Some(token) = http::cookie(&head.headers, &self.cookie_name("operator")) {
            let now = self.now();
            let mut operators = self.operators.borrow_mut();
            operators.retain(|_, seen| *seen + OPERATOR_MS > now);
            if let Some(seen) = operators.get_mut(token) {
                *seen = now;
                head.operator = true;
            }
        }
    }

    async fn serve(self: &Rc<Self>, head: &mut Head, body: Incoming) -> Reply {
        let set = self.set();
        let host = head.header("host").and_then(http::authority);
        let ours = host.is_some_and(|(host, _)| {
            http::is_our_host(&host, &self.names) || http::is_our_host(&host, &set.names)
        });
        if set.captive && (!ours || is_probe(&head.path)) {
            return reply::see_other(&address::of(self, head).await);
        }
        if !ours {
            let text = "this host is not called that: use its address, or its own name";
            return reply::line(StatusCode::MISDIRECTED_REQUEST, text);
        }
        if !self.flow.borrow_mut().take(self.now(), head.from) {
            return reply::later(StatusCode::TOO_MANY_REQUESTS, 2, "too many requests: slower");
        }
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        if !reads && !http::is_own_origin(&head.headers, Ports::Same) {
            return reply::wrong(
                StatusCode::FORBIDDEN,
                "only this page's own forms and scripts may",
            );
        }
        self.know(head);
        if self.guests.borrow().banned.contains(&head.from) && !head.operator {
            return reply::wrong(StatusCode::FORBIDDEN, "the operator has banned this address");
        }
        let route = Route::of(&head.path);
        let methods = route.methods();
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        if route == Route::Nowhere {
            return reply::wrong(StatusCode::NOT_FOUND, "there is nothing of this name");
        }
        if !methods.contains(&method.as_str()) {
            let mut reply = reply::wrong(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
            reply::set(&mut reply, ALLOW, &methods.join(", "));
            return reply;
        }
        self.dispatch(route, head, body).await
    }

    async fn dispatch(self: &Rc<Self>, route: Route<'_>, head: &Head, body: Incoming) -> Reply {
        match route {
            Route::Asset(asset) => asset.answer(&head.headers),
            Route::Health => reply::line(StatusCode::OK, "ok"),
            Route::Metrics => metrics::answer(self).await,
            Route::Code => address::code(self, head).await,
            Route::Address => address::answer(self, head).await,
            Route::Session => door::session(self, head, body).await,
            Route::Events => events::answer(self, head).await,
            Route::Uploads => uploads::begin(self, head, body).await,
            Route::Upload(id) => uploads::go_on(self, head, id, body).await,
            Route::File(entry, within) => uploads::file(self, head, entry, within).await,
            Route::Link(token) => uploads::link(self, head, token).await,
            Route::Operator(what) => operator::answer(self, head, what, body).await,
            Route::Plain(what) => plain::answer(self, head, what, body).await,
            Route::Call(method) => calls::answer(self, head, method, body).await,
            Route::Nowhere => reply::wrong(StatusCode::NOT_FOUND, "there is nothing of this name"),
        }
    }

    /// A body of JSON, whole.
    pub(super) async fn json(
        &self,
        head: &Head,
        body: Incoming,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Reply> {
        let kind = head.header("content-type").unwrap_or_default();
        if !kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/json")
        {
            let text = "the body must be JSON, with content-type application/json";
            return Err(reply::wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let bytes = server::body(body, MAX_JSON).await.map_err(bad_body)?;
        match serde_json::from_slice(&bytes) {
            Ok(serde_json::Value::Object(object)) => Ok(object),
            _ => Err(reply::wrong(StatusCode::BAD_REQUEST, "the body must be one JSON object")),
        }
    }
}

/// The answer to a body that is not taken.
pub(super) fn bad_body(bad: BadBody) -> Reply {
    match bad {
        BadBody::TooLong => reply::wrong(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
        BadBody::Late => reply::wrong(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
        BadBody::Cut => reply::wrong(StatusCode::BAD_REQUEST, "the body broke off"),
    }
}

impl Tenant for Site {
    fn seats(&self) -> (usize, usize) {
        (server::MAX_CONNECTIONS, server::MAX_PER_ADDRESS)
    }

    fn answer(self: Rc<Self>, request: Request<Incoming>, from: IpAddr) -> Answering {
        Box::pin(self.answered(request, from))
    }
}

impl Site {
    async fn answered(
        self: Rc<Self>,
        request: Request<Incoming>,
        from: IpAddr,
    ) -> hyper::Response<Payload> {
        let (parts, body) = request.into_parts();
        let query = http::fields(parts.uri.query().unwrap_or_default());
        let reached = parts.extensions.get::<Reached>().map(|reached| reached.0);
        let mut head = Head {
            path: parts.uri.path().to_owned(),
            method: parts.method,
            query,
            headers: parts.headers,
            from,
            reached,
            who: Who::Stranger,
            operator: false,
        };
        self.counts.requests.set(self.counts.requests.get() + 1);
        let mut reply = self.serve(&mut head, body).await;
        if reply.status().is_client_error() {
            self.counts.refused.set(self.counts.refused.get() + 1);
        }
        reply::seal(&mut reply);
        reply
    }
}

#[cfg(test)]
#[path = "site_tests.rs"]
pub(super) mod tests;
