//! The table by itself: ways to a peer, and how it is found.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::*;
use crate::model::Now;

const NOW: Now = Now { mono: 1_000_000, wall: Wall(1_795_228_536_764) };

fn handle(text: &str) -> Handle {
    Handle::try_from(text).unwrap()
}

/// A way over the interface of this number.
fn route(link: u8, port: u16) -> Route {
    let addr = SocketAddrV4::new(Ipv4Addr::new(10, 0, link, 9), port);
    Route { dialect: Dialect::Slcp, addr, link: link.into() }
}

fn ways(peer: &Peer) -> Vec<u32> {
    peer.routes().map(|r| r.link).collect()
}

fn join(roster: &mut Roster, who: &Handle, link: u8) -> PeerId {
    roster.hear(NOW, who, route(link, 5000), None, By::Join)
}

#[test]
fn a_way_more_than_there_may_be_is_another_peers() {
    let mut roster = Roster::new(60_000);
    let nora = handle("Nora");
    let all: Vec<u8> = (1..=MAX_ROUTES + 1).map(|n| u8::try_from(n).unwrap()).collect();
    let ids: Vec<PeerId> = all.iter().map(|link| join(&mut roster, &nora, *link)).collect();
    let (one_more, within) = ids.split_last().unwrap();
    assert!(within.iter().all(|id| *id == ids[0]) && *one_more != ids[0], "{ids:?}");
    assert_eq!(ways(roster.get(ids[0]).unwrap()).len(), MAX_ROUTES);
}

#[test]
fn when_a_way_is_dead_the_next_best_is_taken_and_the_last_one_ends_it() {
    let mut roster = Roster::new(60_000);
    let nora = handle("Nora");
    let id = join(&mut roster, &nora, 2);
    for link in 3..=5 {
        assert_eq!(join(&mut roster, &nora, link), id);
    }
    assert_eq!(ways(roster.get(id).unwrap()), [2, 3, 4, 5]);
    for (dead, left) in [(2, vec![3, 4, 5]), (4, vec![3, 5])] {
        roster.dead(NOW.mono, route(dead, 5000).addr, "refused");
        assert_eq!(ways(roster.get(id).unwrap()), left);
        assert!(roster.at(route(dead, 5000).addr).is_none());
        assert!(roster.at_ip(*route(dead, 5000).addr.ip()).is_empty());
    }
    assert_eq!(join(&mut roster, &nora, 7), id);
    for (dead, left) in [(3, vec![5, 7]), (5, vec![7]), (7, vec![7])] {
        assert!(roster.get(id).unwrap().is_here());
        roster.dead(NOW.mono, route(dead, 5000).addr, "refused");
        assert_eq!(ways(roster.get(id).unwrap()), left);
    }
    assert!(!roster.get(id).unwrap().is_here());
    let left = |change: &&Change| matches!(change, Change::Left(who, _, _) if *who == id);
    assert_eq!(roster.take_changes().iter().filter(left).count(), 1);
}

#[test]
fn those_of_a_host_whose_ports_are_not_known_are_told_apart_until_they_say_them() {
    let mut roster = Roster::new(60_000);
    let (anna, bob) = (handle("anna"), handle("bob"));
    let hear = |roster: &mut Roster, who: &Handle, port, by| {
        roster.hear(NOW, who, route(2, port), None, by)
    };
    let ids = [&anna, &bob].map(|who| hear(&mut roster, who, 0, By::Text));
    assert_ne!(ids[0], ids[1]);
    assert!(roster.at(route(2, 0).addr).is_none());
    assert_eq!(hear(&mut roster, &bob, 5002, By::Join), ids[1]);
    assert_eq!(hear(&mut roster, &anna, 5000, By::List), ids[0]);
    for (id, port) in [(ids[0], 5000), (ids[1], 5002)] {
        assert_eq!(roster.at(route(2, port).addr).map(|p| p.id), Some(id));
    }
    assert_eq!(roster.at_ip(*route(2, 0).addr.ip()).len(), 2);
    assert_eq!(roster.all().count(), 2);
}

/// Ten thousand keys share the 16 bits of their hashes that are kept: some 800 pairs of them do.
#[test]
fn a_handle_is_found_among_as_many_others_as_there_may_be() {
    let mut roster = Roster::new(60_000);
    let of = |n: usize| handle(&format!("Person{n}"));
    let ids: Vec<PeerId> = (0..MAX_PEERS)
        .map(|n| {
            let [_, b, c, d] = u32::try_from(n).unwrap().to_be_bytes();
            let addr = SocketAddrV4::new(Ipv4Addr::new(10, b, c, d), 5000);
            let route = Route { dialect: Dialect::Slcp, addr, link: 2 };
            roster.hear(NOW, &of(n), route, None, By::Join)
        })
        .collect();
    for (n, id) in ids.iter().enumerate() {
        let called: Vec<PeerId> = roster.called(&format!("pERSON{n}")).map(|p| p.id).collect();
        assert_eq!(called, [*id]);
    }
    let low: std::collections::HashSet<u64> = roster.by_key.iter().map(|k| k & !ID_BITS).collect();
    assert!(low.len() < MAX_PEERS, "none share theirs: this tested nothing");
}
