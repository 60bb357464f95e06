//! Coming and going: who is let in, who is away, who is gone.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::gate::{Guesses, same};
use super::guests::{self, Guest};
use super::reply::{self, Reply};
use super::shelf::Stored;
use super::site::{Head, Site, Who};
use super::uploads;
use crate::command::{Command, Parked};
use crate::hub::parked;
use crate::model::answer::Status;
use crate::model::{Answer, Event, Handle, Millis, Refusal, TransferView, Wall, What};
use crate::reactor::Timer;

/// Between two looks at who is away and which upload stands still, in milliseconds. Only while
/// there are such. What the disk refused is tried again as often.
const TEND_MS: u64 = 5_000;
/// What changed waits so long for more, in milliseconds, before it is kept.
const SAVE_MS: u64 = 1_000;
/// What a guest's browser keeps its cookie for, in seconds.
const COOKIE_S: u64 = guests::FORGET_MS / 1_000;

/// `/api/v1/session`.
pub async fn session(site: &Rc<Site>, head: &Head, body: Incoming) -> Reply {
    match head.method {
        Method::POST => {
            let object = match site.json(head, body).await {
                Ok(object) => object,
                Err(reply) => return reply,
            };
            let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
            match enter(site, head, text("handle"), text("pin")).await {
                Ok(id) => {
                    offer_time(site, object.get("clock").and_then(Value::as_u64)).await;
                    entered(site, &id)
                }
                Err(reply) => reply,
            }
        }
        Method::DELETE => {
            let mut reply = reply::good(&json!({}));
            if let Who::Guest(id) = &head.who {
                forget(site, id).await;
                reply::cookie(&mut reply, &site.cookie_name("guest"), "", 0);
            }
            reply
        }
        _ => {
            if let Who::Guest(id) = &head.who {
                // who comes back bears the same name again, if nobody took it
                if let Err(refusal) = ensure(site, id).await {
                    log::debug!("web: {refusal}");
                    if matches!(refusal, Refusal::TooMany { .. }) {
                        return reply::refusal(&refusal);
                    }
                }
            }
            let id = match &head.who {
                Who::Guest(id) => Some(id.as_str()),
                Who::Stranger => None,
            };
            let mut about = about(site, id);
            about["transfers"] = match id {
                Some(id) => json!(transfers(site, id).await),
                None => json!([]),
            };
            reply::good(&about)
        }
    }
}

/// A guest's files on their way over the link.
pub async fn transfers(site: &Site, id: &str) -> Vec<TransferView> {
    // while he is not here his name may be another's
    let handle = {
        let mut guests = site.guests.borrow_mut();
        guests.by_id(id).filter(|guest| guest.here).map(|guest| guest.handle.clone())
    };
    let Some(handle) = handle else { return Vec::new() };
    let mut all = status(site).await.map(|status| status.transfers).unwrap_or_default();
    all.retain(|transfer| transfer.user.is(handle.as_str()));
    all
}

/// A box whose clock nobody set may take a visitor's; it decides that itself.
async fn offer_time(site: &Site, clock: Option<u64>) {
    if let Some(clock) = clock {
        let time = Wall(clock).min(Wall::MAX);
        let _ = site.hub.ask(None, Command::OfferTime { time }, None).await;
    }
}

/// The answer to a guest who came in just now: with the cookie that says so.
pub fn entered(site: &Site, id: &str) -> Reply {
    let mut reply = reply::good(&about(site, Some(id)));
    cookie(site, id, &mut reply);
    reply
}

/// Gives a guest its cookie.
pub fn cookie(site: &Site, id: &str, reply: &mut Reply) {
    let token = site.guests.borrow_mut().by_id(id).map(|guest| guest.token.clone());
    reply::cookie(reply, &site.cookie_name("guest"), &token.unwrap_or_default(), COOKIE_S);
}

fn about(site: &Site, id: Option<&str>) -> Value {
    let set = site.set();
    let mut guests = site.guests.borrow_mut();
    let guest = id.and_then(|id| guests.by_id(id)).filter(|guest| guest.here);
    let guest = guest.map(|guest| {
        json!({"id": guest.id, "handle": guest.handle, "away": guest.away, "muted": guest.muted,
            "autoreply": guest.autoreply.as_deref().unwrap_or(&default_autoreply())})
    });
    json!({
        "guest": guest,
        "open": set.open,
        "pin": !set.pin.is_empty(),
        "operator": !set.operator_pin.is_empty(),
        "version": env!("CARGO_PKG_VERSION"),
        "last": format!("{}:{}", site.hub.epoch(), site.hub.last()),
        "limits": {"upload": set.upload, "text": 3_000},
    })
}

fn default_autoreply() -> String {
    crate::config::User::default().autoreply
}

/// Lets a newcomer in; its id. Who has the cookie of a guest that is not in the chat any more may
/// be a new one.
pub async fn enter(site: &Rc<Site>, head: &Head, name: &str, pin: &str) -> Result<String, Reply> {
    let set = site.set();
    if let Who::Guest(id) = &head.who {
        let known = site.guests.borrow_mut().by_id(id).is_some_and(|guest| guest.here);
        if known {
            return Err(reply::wrong(StatusCode::CONFLICT, "you are in the chat already"));
        }
    }
    if !set.open {
        return Err(reply::wrong(
            StatusCode::FORBIDDEN,
            "the chat takes no newcomers at the moment",
        ));
    }
    if !set.pin.is_empty() {
        check_pin(&site.guesses, site.now(), head.from, pin, &set.pin)?;
    }
    if site.guests.borrow().of_address(head.from) >= guests::MAX_PER_ADDRESS {
        let limit = guests::MAX_PER_ADDRESS as u64;
        let what = "guests from one address".into();
        return Err(reply::refusal(&Refusal::TooMany { what, limit }));
    }
    let handle = Handle::try_from(name.trim())
        .map_err(|bad| reply::refusal(&Refusal::bad("the name", name, bad.expected())))?;
    let _one = site.coming_in.lock().await;
    // nobody leaves for a name that cannot be had
    if is_free(site, &handle).await {
        make_room(site, set.guests, head.from).await.map_err(|refusal| reply::refusal(&refusal))?;
    }
    let since = add(site, &handle, None).await.map_err(|refusal| reply::refusal(&refusal))?;
    let mut guest = Guest::new(handle.clone(), head.from, site.wall()).map_err(|error| {
        log::error!("web: no random numbers: {error}");
        reply::wrong(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers can be had")
    })?;
    (guest.here, guest.since) = (true, since);
    guest.joined = site.hub.last();
    guest.alone = Some(site.now());
    let id = guest.id.clone();
    site.guests.borrow_mut().add(guest);
    site.touch();
    log::debug!("web: {handle} came in from {}", head.from);
    Ok(id)
}

/// Whether a PIN is right; each wrong one makes the next try wait longer.
pub fn check_pin(
    guesses: &RefCell<Guesses>,
    now: Millis,
    from: IpAddr,
    given: &str,
    secret: &str,
) -> Result<(), Reply> {
    let mut guesses = guesses.borrow_mut();
    let pause = guesses.pause(now, from);
    if pause > 0 {
        let text = "too many wrong PINs: wait a while";
        return Err(reply::later(StatusCode::TOO_MANY_REQUESTS, pause.div_ceil(1_000), text));
    }
    if !same(given, secret) {
        // one that was not even given is no guess
        if !given.is_empty() {
            guesses.wrong(now, from);
        }
        return Err(reply::wrong(StatusCode::UNAUTHORIZED, "the PIN is not right"));
    }
    guesses.right(from);
    Ok(())
}

/// Makes a name private before it is a guest's, so that no word of it is told to others; `false`:
/// it is another's already. What a user of this node who is no guest hears stays his to hear,
/// whoever asks for his name.
pub async fn shield(site: &Site, handle: &Handle) -> bool {
    let users = status(site).await.map(|status| status.users).unwrap_or_default();
    if site.hub.is_private(handle.as_str()) || users.iter().any(|user| user.handle == *handle) {
        return false;
    }
    site.hub.keep_private(handle, true);
    true
}

/// Whether nobody bears a name; who tries to take one that is not free learns which is.
async fn is_free(site: &Site, handle: &Handle) -> bool {
    let users = status(site).await.map(|status| status.users).unwrap_or_default();
    let command = Command::FreeHandle { handle: handle.to_string() };
    let free = site.hub.ask(None, command, None).await;
    // the node's own user asks here: to him his own name is free
    free == Ok(Answer::Handle(handle.clone())) && users.iter().all(|user| user.handle != *handle)
}

/// One more user of the node, whose talk is private from its first word.
async fn add(site: &Site, handle: &Handle, back: Option<Parked>) -> Result<u64, Refusal> {
    let shielded = shield(site, handle).await;
    let since = back.as_ref().map(|back| back.since);
    let command = Command::AddUser { handle: handle.to_string(), back };
    let added = site.hub.ask(None, command, None).await;
    if added.is_err() && shielded {
        site.hub.keep_private(handle, false);
    }
    added?;
    site.hub.keep_private(handle, true);
    if let Some(since) = since {
        return Ok(since);
    }
    // where its history begins, for when it comes back
    let users = status(site).await.map(|status| status.users).unwrap_or_default();
    Ok(users.iter().find(|user| user.handle == *handle).map_or(u64::MAX, |user| user.since))
}

/// Room for one more guest: whoever is without a page longest makes it, else one of the address
/// that has most.
async fn make_room(site: &Rc<Site>, most: u32, newcomer: IpAddr) -> Result<(), Refusal> {
    while site.guests.borrow().here() >= most as usize {
        let leaves = {
            let guests = site.guests.borrow();
            guests.longest_alone().or_else(|| guests.gives_way(newcomer))
        };
        match leaves {
            Some(id) => remove(site, &id).await,
            None => return Err(Refusal::TooMany { what: "guests".into(), limit: most.into() }),
        }
    }
    Ok(())
}

/// Has a guest be in the chat; its handle, which is another if its own was taken meanwhile.
pub async fn ensure(site: &Rc<Site>, id: &str) -> Result<Handle, Refusal> {
    // a page asks several things at once when it opens: the first brings the guest in
    while site.entering.borrow().contains(id) {
        Timer::after(Duration::from_millis(20)).await;
    }
    site.entering.borrow_mut().insert(id.to_owned());
    let _leave = Entering { site, id };
    bring_in(site, id).await
}

struct Entering<'a> {
    site: &'a Site,
    id: &'a str,
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        self.site.entering.borrow_mut().remove(self.id);
    }
}

async fn bring_in(site: &Rc<Site>, id: &str) -> Result<Handle, Refusal> {
    let gone = || Refusal::NoSuchUser { handle: "you".into() };
    let (mut handle, here, back, address) = {
        let mut guests = site.guests.borrow_mut();
        let guest = guests.by_id(id).ok_or_else(gone)?;
        guest.seen = site.wall();
        let back = Parked { name: parked(&guest.id), since: guest.since };
        (guest.handle.clone(), guest.here, back, guest.address)
    };
    if here {
        return Ok(handle);
    }
    let one = site.coming_in.lock().await;
    make_room(site, site.set().guests, address).await?;
    match add(site, &handle, Some(back.clone())).await {
        Err(Refusal::HandleTaken { free, .. }) => {
            add(site, &free, Some(back)).await?;
            handle = free;
        }
        other => {
            other?;
        }
    }
    let (away, autoreply) = {
        let mut guests = site.guests.borrow_mut();
        let guest = guests.by_id(id).ok_or_else(gone)?;
        (guest.here, guest.resting) = (true, false);
        guest.handle = handle.clone();
        guest.joined = site.hub.last();
        if guest.streams == 0 {
            guest.alone = Some(site.now());
        }
        (guest.away, guest.autoreply.clone())
    };
    drop(one);
    site.touch();
    let user = Some(handle.to_string());
    if let Some(text) = autoreply {
        let _ = site.hub.ask(user.clone(), Command::SetAutoreply { text }, None).await;
    }
    if away {
        let command = Command::SetPresence { away, text: None };
        let _ = site.hub.ask(user, command, None).await;
    }
    Ok(handle)
}

/// A guest acts.
pub async fn act(site: &Rc<Site>, id: &str, command: Command) -> Result<Answer, Refusal> {
    let handle = ensure(site, id).await?;
    let done = site.hub.ask(Some(handle.to_string()), command.clone(), None).await;
    if !matches!(done, Err(Refusal::NoSuchUser { .. })) {
        return done;
    }
    // somebody removed it by the control socket: it comes in again
    if let Some(guest) = site.guests.borrow_mut().by_id(id) {
        guest.here = false;
    }
    let handle = ensure(site, id).await?;
    site.hub.ask(Some(handle.to_string()), command, None).await
}

/// A guest leaves the chat; its cookie still knows it.
pub async fn remove(site: &Rc<Site>, id: &str) {
    let handle = {
        let mut guests = site.guests.borrow_mut();
        let Some(guest) = guests.by_id(id).filter(|guest| guest.here) else { return };
        guest.here = false;
        guest.handle.clone()
    };
    let park = Some(parked(id));
    let command = Command::RemoveUser { handle: handle.to_string(), park };
    if let Err(refusal) = site.hub.ask(None, command, None).await {
        log::debug!("web: {refusal}");
    }
    site.hub.keep_private(&handle, false);
    site.touch();
}

/// A guest leaves for good: nothing knows it any more, and what it was uploading goes.
pub async fn forget(site: &Rc<Site>, id: &str) {
    remove(site, id).await;
    site.guests.borrow_mut().all.retain(|guest| guest.id != id);
    site.uploads.borrow_mut().retain(|_, upload| upload.owner() != id);
    site.touch();
}

/// A local user of this name is gone, by the event of this number: if it was a guest, it is not in
/// the chat any more. One that came in later bears the name since.
pub fn left(site: &Site, handle: &str, seq: u64) {
    let mut guests = site.guests.borrow_mut();
    for guest in guests.all.iter_mut().filter(|g| g.handle.is(handle) && seq > g.joined) {
        guest.here = false;
    }
}

/// A file came for a guest: like his uploads it counts in the quota of the page, where the oldest
/// make room.
pub fn keep_what_came(site: &Site, event: &Event) {
    let (Some(user), What::Image { id, path, size, format, .. }) = (&event.user, &event.what)
    else {
        return;
    };
    let mut guests = site.guests.borrow_mut();
    let guest = guests.all.iter_mut().find(|g| g.here && g.handle.is(user.as_str()));
    let Some(owner) = guest.filter(|_| !path.is_empty()).map(|guest| guest.id.clone()) else {
        return;
    };
    drop(guests);
    if site.shelf.borrow().name_of(path).is_some() {
        return; // it counts already
    }
    let id = id.to_string();
    let (path, format, size, link) = (path.clone(), format.clone(), *size, None);
    let name = site.name_of(&id, &path);
    site.keep_file(Stored { id, owner, path, size, format, name, link });
}

/// Brings in again who was in the chat when the daemon ended.
pub async fn bring_back(site: Rc<Site>) {
    let mut were = Vec::new();
    for guest in &mut site.guests.borrow_mut().all {
        if std::mem::take(&mut guest.here) {
            were.push(guest.id.clone());
        }
    }
    for id in were {
        if let Err(refusal) = ensure(&site, &id).await {
            log::warn!("web: a guest could not be brought back: {refusal}");
        }
    }
}

/// Makes away whose page is closed, removes who was long away, and keeps what changed; for ever.
pub async fn tend(site: Rc<Site>) {
    loop {
        let changed = site.changed.listen();
        let idle = site.guests.borrow().here() == 0 && site.uploads.borrow().is_empty();
        if idle && !site.is_dirty() {
            changed.await;
        }
        let soon = site.is_dirty() && !site.is_refused();
        Timer::after(Duration::from_millis(if soon { SAVE_MS } else { TEND_MS })).await;
        site.save();
        let now = site.now();
        uploads::give_up_idle(&site, now);
        look(&site, now).await;
    }
}

async fn look(site: &Rc<Site>, now: Millis) {
    let stay = u64::from(site.set().stay) * 60_000;
    let mut resting = Vec::new();
    let mut leaving = Vec::new();
    for guest in site.guests.borrow_mut().all.iter_mut().filter(|g| g.here && g.streams == 0) {
        let alone = now.saturating_sub(*guest.alone.get_or_insert(now));
        if alone >= stay {
            leaving.push(guest.id.clone());
        } else if alone >= guests::AWAY_MS && !guest.resting && !guest.away {
            guest.resting = true;
            resting.push(guest.handle.to_string());
        }
    }
    for handle in resting {
        let command = Command::SetPresence { away: true, text: None };
        let _ = site.hub.ask(Some(handle), command, None).await;
    }
    for id in leaving {
        remove(site, &id).await;
    }
}

/// A guest's page opened a stream of events: it is here, and back if we made it away. `false`:
/// it has too many.
pub async fn arrive(site: &Rc<Site>, id: &str) -> bool {
    let back = {
        let mut guests = site.guests.borrow_mut();
        let Some(guest) = guests.by_id(id) else { return false };
        if guest.streams >= guests::MAX_STREAMS {
            return false;
        }
        guest.streams += 1;
        guest.alone = None;
        let back = std::mem::take(&mut guest.resting) && !guest.away;
        back.then(|| guest.handle.to_string())
    };
    if let Some(handle) = back {
        let command = Command::SetPresence { away: false, text: None };
        let _ = site.hub.ask(Some(handle), command, None).await;
    }
    true
}

/// It closed one.
pub fn depart(site: &Site, id: &str) {
    let (now, wall) = (site.now(), site.wall());
    if let Some(guest) = site.guests.borrow_mut().by_id(id) {
        guest.streams = guest.streams.saturating_sub(1);
        guest.seen = wall;
        if guest.streams == 0 {
            guest.alone = Some(now);
        }
    }
    site.changed.notify(usize::MAX);
}

/// The node at a glance.
pub async fn status(site: &Site) -> Option<Box<Status>> {
    match site.hub.ask(None, Command::Status {}, None).await {
        Ok(Answer::Status(status)) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
