//! Who comes in, who goes, and what is kept of what came for them.

use std::cell::RefCell;
use std::rc::Rc;

use futures_lite::StreamExt;

use super::*;
use crate::config::Settings;
use crate::hub::Hub;
use crate::node::io::FileOp;
use crate::web::site::tests::bare;

/// What the node was asked to do with `anna`, whose page was closed, at each of these times.
fn alone(stay: u32, times: &[Millis]) -> Vec<String> {
    let executor = Rc::new(async_executor::LocalExecutor::new());
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
    let site = bare(hub, settings, None);
    let mut anna = guest("anna");
    (anna.here, anna.alone) = (true, Some(1_000));
    site.guests.borrow_mut().add(anna);
    let mut busy = guest("busy");
    (busy.here, busy.streams) = (true, 1);
    site.guests.borrow_mut().add(busy);
    crate::reactor::block_on(executor.run(async {
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
    let (hub, _calls) = Hub::new(1);
    let mut settings = Settings::default();
    settings.web.quota = 100;
    let operations = hub.file_operations();
    let site = bare(hub, settings, None);
    let mut anna = guest("anna");
    anna.here = true;
    let owner = anna.id.clone();
    site.guests.borrow_mut().add(anna);
    let came = |n: u64, user: &str| {
        let (id, peer) = (crate::model::EntryId { epoch: 1, n }, crate::model::PeerId(7));
        let path = format!("/images/{n}");
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
    came(1, "ben");
    assert_eq!(site.shelf.borrow().bytes(), 0, "the box's own user's are not the page's");
    let first = came(2, "ANNA");
    assert_eq!(site.shelf.borrow().bytes(), 60, "once");
    assert_eq!(site.name_of("x", &first), "Bericht 1.pdf");
    let id = crate::model::EntryId { epoch: 1, n: 2 }.to_string();
    assert_eq!(site.shelf.borrow().get(&id).unwrap().owner, owner);
    let removed = || Vec::from_iter(std::iter::from_fn(|| operations.try_recv().ok()).map(|o| o.1));
    assert!(removed().is_empty());
    came(3, "anna");
    assert_eq!(removed(), [FileOp::Remove { path: first }], "the oldest made room");
}

#[test]
fn who_came_in_again_is_not_taken_for_the_one_of_its_name_who_left() {
    let site = bare(Hub::new(1).0, Settings::default(), None);
    let mut anna = guest("anna");
    (anna.here, anna.joined) = (true, 10);
    site.guests.borrow_mut().add(anna);
    left(&site, "anna", 9);
    assert_eq!(site.guests.borrow().here(), 1, "that was before");
    left(&site, "anna", 11);
    assert_eq!(site.guests.borrow().here(), 0);
}

#[test]
fn a_name_that_cannot_be_had_costs_no_guest_the_place() {
    let (hub, calls) = Hub::new(1);
    let mut settings = Settings::default();
    settings.web.guests = 1;
    let site = bare(hub, settings, None);
    let mut anna = guest("anna");
    (anna.here, anna.alone) = (true, Some(1));
    site.guests.borrow_mut().add(anna);
    let executor = async_executor::LocalExecutor::new();
    let free = Handle::try_from("bob2").unwrap();
    executor
        .spawn(async move {
            let mut calls = Box::pin(calls);
            while let Some(call) = calls.next().await {
                let answer = match call.command {
                    Command::FreeHandle { .. } => Ok(Answer::Handle(free.clone())),
                    Command::AddUser { handle, .. } => {
                        Err(Refusal::HandleTaken { handle, free: free.clone() })
                    }
                    Command::Status {} => Err(Refusal::Failed { reason: String::new() }),
                    other => panic!("{other:?}"),
                };
                let _ = call.reply.send(answer).await;
            }
        })
        .detach();
    let head = Head {
        method: Method::POST,
        path: String::new(),
        query: Vec::new(),
        headers: hyper::HeaderMap::new(),
        from: IpAddr::from([10, 0, 0, 2]),
        reached: None,
        who: Who::Stranger,
        operator: false,
    };
    let refused =
        crate::reactor::block_on(executor.run(enter(&site, &head, "bob", ""))).unwrap_err();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(site.guests.borrow().here(), 1, "anna stays");
}

fn guest(name: &str) -> Guest {
    let address = IpAddr::from([10, 0, 0, 1]);
    Guest::new(Handle::try_from(name).unwrap(), address, 1).unwrap()
}
