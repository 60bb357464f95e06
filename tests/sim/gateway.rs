//! Three gateways on one LAN between hello, room and SLCP: everyone hears everything once, with
//! its author, and nothing goes in a circle.

use std::net::SocketAddrV4;

use klatsch::config::Settings;

use crate::seeds;
use crate::world::{World, address, settings};

fn only(handle: &str, slcp: bool, hello: bool, room: Option<SocketAddrV4>) -> Settings {
    let mut all = settings(Some(handle));
    all.slcp.enabled = slcp;
    all.hello.enabled = hello;
    all.room.enabled = room.is_some();
    (all.room.server, all.room.connect) = (false, room);
    all
}

struct Lan {
    /// In hello alone, SLCP alone, the room alone, in hello and SLCP.
    helo: usize,
    nora: usize,
    rosa: usize,
    anna: usize,
    gates: Vec<usize>,
    /// The room's server.
    server: usize,
}

fn lan(world: &mut World) -> Lan {
    let add = |world: &mut World, settings: Settings| {
        let host = world.host(&[0]);
        world.node(host, settings)
    };
    let mut of_server = only("saal", false, false, None);
    (of_server.room.enabled, of_server.room.server) = (true, true);
    let server = add(world, of_server);
    let room = Some(SocketAddrV4::new(address(0, 0), 9000));
    let helo = add(world, only("helo", false, true, None));
    let nora = add(world, only("nora", true, false, None));
    let rosa = add(world, only("rosa", false, false, room));
    let anna = add(world, only("anna", true, true, None));
    let gates = ["tor1", "tor2", "tor3"].map(|name| {
        let mut gate = only(name, true, true, room);
        gate.gateway = true;
        add(world, gate)
    });
    world.run(20_000);
    Lan { helo, nora, rosa, anna, gates: gates.to_vec(), server }
}

/// The texts with this in them that came in at a node.
fn got(world: &World, n: usize, text: &str) -> Vec<String> {
    let all = world.got(n).into_iter().map(|(_, _, text)| text);
    all.filter(|t| t.contains(text)).collect()
}

#[test]
fn everyone_hears_everything_once_across_three_gateways() {
    seeds(|world| {
        let lan = lan(world);
        let said = [(lan.helo, "eins"), (lan.rosa, "zwei"), (lan.anna, "drei")];
        for (n, text) in said {
            world.text(n, None, "#lobby", text);
            world.run(30_000);
        }
        let heard = |n: usize, texts: [&[&str]; 3]| {
            for ((_, text), wanted) in said.iter().zip(texts) {
                assert_eq!(got(world, n, text), wanted, "node {n}, {text}");
            }
        };
        heard(lan.helo, [&[], &["rosa@room: zwei"], &["drei"]]);
        heard(lan.nora, [&["helo@hello: eins"], &["rosa@room: zwei"], &["drei"]]);
        heard(lan.rosa, [&["helo@hello: eins"], &[], &["anna@hello: drei"]]);
        heard(lan.anna, [&["eins"], &["rosa@room: zwei"], &[]]);
        heard(lan.server, [&["helo@hello: eins"], &["zwei"], &["anna@hello: drei"]]);
        for gate in lan.gates {
            heard(gate, [&["eins"], &["zwei"], &["drei"]]);
        }
    });
}

/// The first in rank falls silent: the next one's turn comes.
#[test]
fn another_gateway_takes_over_when_the_first_is_gone() {
    seeds(|world| {
        let lan = lan(world);
        world.crash(lan.gates[0]);
        world.run(1_000);
        world.text(lan.helo, None, "#lobby", "noch da?");
        world.run(60_000);
        assert_eq!(got(world, lan.nora, "noch da?"), ["helo@hello: noch da?"]);
        assert_eq!(got(world, lan.rosa, "noch da?"), ["helo@hello: noch da?"]);
    });
}
