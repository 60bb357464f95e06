//! Keys are pinned at first sight; another key is refused until the operator accepts it.

use klatsch::dialect::link::machine::Trusted;
use klatsch::dialect::link::noise::Secret;

use crate::world::{World, handle};

/// Anna, Bob whom she knows, and a box that says it is Bob.
fn impostor(seed: u64) -> (World, usize, usize, usize) {
    let mut world = World::new(seed);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    world.crash(b);
    world.run(60_000);
    let c = world.node("bob");
    world.run(10_000);
    (world, a, b, c)
}

#[test]
fn another_key_with_a_known_handle_is_refused_loudly_and_gets_nothing() {
    let (mut world, a, b, c) = impostor(1);
    assert!(world.nodes[a].told.contains(&"changed bob".into()));
    let (bob, false_bob) = (world.far(b), world.far(c));
    assert!(!world.nodes[a].here.contains(&false_bob));
    world.say(a, &bob, "secret");
    let anna = world.far(a);
    world.say(c, &anna, "I am Bob");
    world.run(120_000);
    assert!(world.nodes[c].disk.got.is_empty() && world.nodes[a].disk.got.is_empty());
    assert_eq!(world.fates(a), (1, 0, 0));
    assert_eq!(world.fates(c), (0, 0, 1));
    world.start(b);
    world.run(60_000);
    assert_eq!(world.texts(b, a), ["secret"]);
}

#[test]
fn trust_accepts_the_other_key_and_what_waited_goes_to_it() {
    let (mut world, a, b, c) = impostor(2);
    let bob = world.far(b);
    world.say(a, &bob, "are you new?");
    world.run(1_000);
    let code = world.nodes[a].machine.as_ref().unwrap().code(&handle("bob")).unwrap();
    let (of_claim, shown) = code.claim.unwrap();
    assert_eq!(of_claim, world.print(c));
    let there = world.nodes[c].machine.as_ref().unwrap().code(&handle("anna")).unwrap();
    assert_eq!(there.code, shown);
    let (from, to) = (world.print(b), world.print(c));
    world.with(a, |now, m| {
        assert_eq!(m.trust(now, &handle("bob")), Some(Trusted::Moved { to, from }));
    });
    world.run(10_000);
    assert!(world.nodes[a].here.contains(&world.far(c)));
    assert_eq!(world.texts(c, a), ["are you new?"]);
    // and after a restart
    world.crash(a);
    world.start(a);
    world.run(10_000);
    assert!(world.nodes[a].here.contains(&world.far(c)));
}

#[test]
fn verified_stays_verified_over_a_restart() {
    let mut world = World::new(3);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    let of = world.print(b);
    world.with(a, |now, m| {
        assert_eq!(m.trust(now, &handle("BOB")), Some(Trusted::Verified(of)));
        assert_eq!(m.trust(now, &handle("nobody")), None);
    });
    world.run(1_000);
    world.crash(a);
    world.start(a);
    world.run(10_000);
    assert!(world.nodes[a].machine.as_ref().unwrap().code(&handle("bob")).unwrap().verified);
}

#[test]
fn a_guest_cannot_take_a_pinned_handle_and_is_not_pinned() {
    let mut world = World::new(4);
    let (a, _) = (world.node("anna"), world.node("bob"));
    let c = world.add("carl");
    let mut guest = world.nodes[c].users[0].clone();
    guest.guest = true;
    guest.handle = handle("bob");
    world.nodes[c].users.push(guest.clone());
    guest.handle = handle("phone");
    world.nodes[c].users.push(guest);
    world.run(10_000);
    world.start(c);
    world.run(10_000);
    let here: Vec<String> = world.nodes[a].here.iter().map(|f| f.handle.to_string()).collect();
    assert_eq!(here.len(), 3, "{here:?}");
    assert!(world.nodes[a].told.contains(&"changed bob".into()));
    assert!(!world.nodes[a].told.contains(&"pinned phone".into()));
}

#[test]
fn our_own_key_elsewhere_is_told() {
    let mut world = World::new(5);
    let a = world.node("anna");
    let b = world.add("bob");
    world.nodes[b].secret = Secret::new(*world.nodes[a].secret.bytes());
    let at = std::net::SocketAddr::new(world.nodes[a].v4.unwrap().into(), crate::world::PORT);
    world.nodes[b].named = vec![klatsch::dialect::link::words::Named { at, fingerprint: None }];
    world.start(b);
    world.run(5_000);
    assert!(world.nodes[b].told.contains(&"twin".into()));
}
