//! Coming and going: who is let in, who is away, who is gone; and where the door is.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use smol::Timer;

use super::gate::{Guesses, same};
use super::guests::{self, Guest};
use super::reply::{self, Reply};
use super::shelf::Stored;
use super::site::{Head, Site, Who};
use crate::command::{Command, Parked};
use crate::hub::parked;
use crate::model::answer::Status;
use crate::model::{Answer, Event, Handle, Millis, Refusal, TransferView, Wall, What};

/// Between two looks at who is away, in milliseconds. Only while there are guests.
const TEND_MS: u64 = 5_000;
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
                remove(site, id).await;
                site.guests.borrow_mut().all.retain(|guest| guest.id != *id);
                site.touch();
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

/// Lets a newcomer in; its id. Who has a cookie of a guest is that guest, under a new name.
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
    make_room(site, set.guests, head.from).await.map_err(|refusal| reply::refusal(&refusal))?;
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

/// A local user of this name is gone: if it was a guest, it is not in the chat any more.
pub fn left(site: &Site, handle: &str) {
    for guest in site.guests.borrow_mut().all.iter_mut().filter(|g| g.handle.is(handle)) {
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
    let stored = Stored { id, owner, path, size, format, name, link };
    site.shelf.borrow_mut().keep(stored, site.set().quota);
    site.touch();
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
        if site.guests.borrow().here() == 0 && !site.is_dirty() {
            changed.await;
        }
        Timer::after(Duration::from_millis(if site.is_dirty() { 1_000 } else { TEND_MS })).await;
        site.save();
        let now = site.now();
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

/// An address of the page that other machines can open: as this one calls us, if that is no name
/// of its own machine; else the one it reached us at (a phone at a box's access point cannot open
/// the box's address on the Ethernet); else the first of our network addresses.
pub async fn address(site: &Site, head: &Head) -> String {
    let called = head.header("host").and_then(super::http::authority);
    if let (Some((host, port)), false) = (called, site.set().captive) {
        let local = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !local {
            return at(&host, port.unwrap_or(80));
        }
    }
    if let Some(own) = head.reached.filter(can_be_opened) {
        return at(&own.to_string(), site.port);
    }
    let links = status(site).await.map(|status| status.links).unwrap_or_default();
    let is_far = |ip: &str| ip.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_loopback());
    let link = links.iter().find(|link| is_far(&link.address)).or(links.first());
    at(link.map_or("localhost", |link| link.address.as_str()), site.port)
}

/// Whether others can type it: not our own machine's, and none that needs an interface beside it.
fn can_be_opened(own: &std::net::IpAddr) -> bool {
    match own {
        std::net::IpAddr::V4(own) => !own.is_loopback(),
        std::net::IpAddr::V6(own) => !own.is_loopback() && !own.is_unicast_link_local(),
    }
}

/// The address at a host and port, as a person types it.
pub fn at(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { format!("http://{host}/") } else { format!("http://{host}:{port}/") }
}

/// `/api/v1/address`.
pub async fn whereabouts(site: &Site, head: &Head) -> Reply {
    reply::good(&json!({"address": address(site, head).await}))
}

/// `/qr.svg`.
pub async fn code(site: &Site, head: &Head) -> Reply {
    match super::qr::svg(&address(site, head).await) {
        Some(svg) => reply::whole(StatusCode::OK, "image/svg+xml", svg),
        None => reply::wrong(StatusCode::INTERNAL_SERVER_ERROR, "the address is too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use futures_lite::StreamExt;

    use super::*;
    use crate::config::Settings;
    use crate::hub::Hub;
    use crate::web::site::Ground;

    #[test]
    fn a_phone_at_the_access_point_is_led_to_the_address_it_reached() {
        let opens = |own: &str| can_be_opened(&own.parse().unwrap());
        assert!(opens("192.168.84.1") && opens("169.254.7.9") && opens("fd00::1"));
        assert!(!opens("127.0.0.1") && !opens("::1"));
        assert!(!opens("fe80::1"), "no browser takes an interface in an address");
    }

    /// What the node was asked to do with `anna`, whose page was closed, at each of these times.
    fn alone(stay: u32, times: &[Millis]) -> Vec<String> {
        let executor = Rc::new(smol::LocalExecutor::new());
        let (hub, calls) = Hub::new(1);
        let asked = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&asked);
        executor
            .spawn(async move {
                let mut calls = Box::pin(calls);
                while let Some(call) = calls.next().await {
                    kept.borrow_mut().push(match call.command {
                        Command::SetPresence { away, .. } => format!("away {away}"),
                        Command::RemoveUser { handle, .. } => format!("remove {handle}"),
                        other => format!("{other:?}"),
                    });
                    let _ = call.reply.send(Ok(Answer::Done)).await;
                }
            })
            .detach();
        let mut settings = Settings::default();
        settings.web.stay = stay;
        let restart = async_channel::bounded(1).0;
        let host = "box".to_owned();
        let site = Site::new(Ground { hub, folder: None, port: 1, settings, host, restart });
        let address = IpAddr::from([10, 0, 0, 1]);
        let mut anna = Guest::new(Handle::try_from("anna").unwrap(), address, 1).unwrap();
        (anna.here, anna.alone) = (true, Some(1_000));
        site.guests.borrow_mut().add(anna);
        let mut busy = Guest::new(Handle::try_from("busy").unwrap(), address, 1).unwrap();
        (busy.here, busy.streams) = (true, 1);
        site.guests.borrow_mut().add(busy);
        smol::block_on(executor.run(async {
            for now in times {
                look(&site, *now).await;
            }
        }));
        drop(site);
        asked.take()
    }

    #[test]
    fn who_closed_the_page_is_away_soon_and_leaves_after_web_stay() {
        let away = 1_000 + guests::AWAY_MS;
        for stay in [1, 60] {
            let over = 1_000 + u64::from(stay) * 60_000;
            assert!(alone(stay, &[away - 1]).is_empty());
            assert_eq!(alone(stay, &[away, away + 5_000]), ["away true"]);
            assert_eq!(alone(stay, &[away, over - 1]), ["away true"]);
            assert_eq!(alone(stay, &[away, over, over + 5_000]), ["away true", "remove anna"]);
        }
    }

    #[test]
    fn what_comes_for_guests_counts_once_in_the_pages_quota_and_bears_its_senders_name() {
        let dir = tempfile::tempdir().unwrap();
        let (hub, _calls) = Hub::new(1);
        let mut settings = Settings::default();
        settings.web.quota = 100;
        let restart = async_channel::bounded(1).0;
        let host = "box".to_owned();
        let site = Site::new(Ground { hub, folder: None, port: 1, settings, host, restart });
        let anna = Handle::try_from("anna").unwrap();
        let mut guest = Guest::new(anna.clone(), IpAddr::from([10, 0, 0, 1]), 1).unwrap();
        guest.here = true;
        let owner = guest.id.clone();
        site.guests.borrow_mut().add(guest);
        let came = |n: u64, user: &str| {
            let (id, peer) = (crate::model::EntryId { epoch: 1, n }, crate::model::PeerId(7));
            let path = dir.path().join(n.to_string()).display().to_string();
            std::fs::write(&path, "x").unwrap();
            let (direction, dialect) = (crate::model::Direction::In, crate::model::Dialect::Link);
            let (handle, name) = ("bob".to_owned(), "../Bericht 1.pdf".to_owned());
            site.learn_name(&What::Transfer {
                id,
                number: Some(1),
                direction,
                peer,
                handle: handle.clone(),
                name,
                done: 60,
                size: Some(60),
                state: crate::model::TransferState::Done,
                reason: None,
            });
            let what = What::Image {
                id,
                conversation: peer.to_string(),
                from: handle,
                to: user.to_owned(),
                peer,
                dialect,
                direction,
                path: path.clone(),
                size: 60,
                format: "unknown".into(),
                width: None,
                height: None,
            };
            let user = Some(Handle::try_from(user).unwrap());
            let event = Event { at: Wall(0), user, what };
            keep_what_came(&site, &event);
            keep_what_came(&site, &event);
            path
        };
        let bens = came(1, "ben");
        assert_eq!(site.shelf.borrow().bytes(), 0, "the box's own user's are not the page's");
        let first = came(2, "ANNA");
        assert_eq!(site.shelf.borrow().bytes(), 60, "once");
        assert_eq!(site.name_of("x", &first), "Bericht 1.pdf");
        let id = crate::model::EntryId { epoch: 1, n: 2 }.to_string();
        assert_eq!(site.shelf.borrow().get(&id).unwrap().owner, owner);
        let second = came(3, "anna");
        let there = |path: &str| std::path::Path::new(path).exists();
        assert!(there(&bens) && !there(&first) && there(&second), "the oldest made room");
    }

    #[test]
    fn addresses_are_as_people_type_them() {
        assert_eq!(super::at("10.0.0.1", 8484), "http://10.0.0.1:8484/");
        assert_eq!(super::at("box.local", 80), "http://box.local/");
        assert_eq!(super::at("fe80::1", 80), "http://[fe80::1]/");
    }
}
