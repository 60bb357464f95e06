//! Presence converges whatever happens to nodes, hosts, networks and clocks.

use klatsch::command::Command;
use klatsch::model::{Millis, Presence, What};

use crate::seeds;
use crate::world::{Lan, MAX_TICKS, Nic, World, address, settings};

/// Announcements come each minute; a peer is asked after one and a half, three times.
const SILENCE: Millis = 110_000;

fn five(world: &mut World) -> Vec<usize> {
    let nodes: Vec<usize> = (0..5).map(|i| world.single(&format!("user{i}"))).collect();
    world.meet(&nodes, 2_000);
    nodes
}

#[test]
fn who_leaves_is_gone_at_once_and_stays_gone() {
    seeds(|world| {
        let nodes = five(world);
        world.quit(nodes[0]);
        println!("left: {} ms", world.meet(&nodes[1..], 500));
        world.run(5 * 60_000);
        world.meet(&nodes[1..], 0);
    });
}

#[test]
fn a_user_who_leaves_and_joins_again_is_seen_again() {
    seeds(|world| {
        let nodes = five(world);
        world.ask(nodes[0], None, Command::Leave {}).unwrap();
        world.until(500, "it left", |w| w.sees(nodes[1]).len() == 3);
        world.run(30_000);
        world.ask(nodes[0], None, Command::Join {}).unwrap();
        println!("joined again: {} ms", world.meet(&nodes, 1_000));
    });
}

#[test]
fn a_crashed_process_is_gone_and_its_restart_is_seen() {
    seeds(|world| {
        let mut nodes = five(world);
        world.run(30_000);
        let host = world.slots[nodes[0]].host;
        world.crash(nodes[0]);
        println!("crashed: {} ms", world.meet(&nodes[1..], SILENCE));
        nodes[0] = world.node(host, settings(Some("user0")));
        println!("restarted: {} ms", world.meet(&nodes, 1_000));
        // and at once, before anybody noticed
        world.run(30_000);
        world.crash(nodes[1]);
        let host = world.slots[nodes[1]].host;
        nodes[1] = world.node(host, settings(Some("user1")));
        println!("restarted at once: {} ms", world.meet(&nodes, 2_000));
    });
}

#[test]
fn a_machine_that_loses_power_is_gone() {
    seeds(|world| {
        let nodes = five(world);
        let host = world.slots[nodes[0]].host;
        world.hosts[host].up = false;
        println!("power lost: {} ms", world.meet(&nodes[1..], SILENCE));
    });
}

#[test]
fn a_crashed_node_of_a_shared_host_does_not_live_on_in_its_neighbours_lists() {
    seeds(|world| {
        let mut nodes = five(world);
        let shared = world.host(&[0]);
        for i in 0..3 {
            nodes.push(world.node(shared, settings(Some(&format!("shared{i}")))));
        }
        world.meet(&nodes, 2_000);
        world.run(90_000);
        let gone = nodes.remove(6);
        world.crash(gone);
        println!("one of three crashed: {} ms", world.meet(&nodes, SILENCE + 20_000));
        world.run(10 * 60_000);
        world.meet(&nodes, 0);
    });
}

fn parted(world: &mut World, loss: f64) {
    world.lans[0] = Lan { loss, ..Lan::default() };
    let mut nodes: Vec<usize> = (0..8).map(|i| world.single(&format!("user{i}"))).collect();
    world.meet(&nodes, 150_000);
    world.run(5_000); // each was heard to answer: who never does is believed for longer
    world.silent_cut = world.rng.bool();
    for (i, n) in nodes.iter().enumerate() {
        let host = world.slots[*n].host;
        world.hosts[host].side = u32::try_from(i % 2).unwrap();
    }
    let one: Vec<usize> = nodes.iter().copied().step_by(2).collect();
    let other: Vec<usize> = nodes.iter().copied().skip(1).step_by(2).collect();
    if loss == 0.0 {
        println!("parted: {} ms", world.meet(&one, SILENCE));
        world.meet(&other, SILENCE);
        // somebody comes meanwhile
        nodes.push(world.single("meanwhile"));
    }
    let pause = world.rng.u64(0..30 * 60_000);
    world.run(pause);
    world.hosts.iter_mut().for_each(|h| h.side = 0);
    println!("healed: {} ms", world.meet(&nodes, 70_000 + if loss > 0.0 { 180_000 } else { 0 }));
}

#[test]
fn a_partition_that_heals_leaves_both_sides_together() {
    seeds(|world| parted(world, 0.0));
}

#[test]
fn a_partition_that_heals_on_a_lossy_network() {
    seeds(|world| parted(world, 0.2));
}

#[test]
fn clocks_that_jump_by_years_change_nothing() {
    seeds(|world| {
        let mut nodes = five(world);
        let year = 365 * 24 * 3_600_000;
        for (n, years) in [(0, 56), (1, -60), (2, 9_000), (3, -1)] {
            world.slots[nodes[n]].wall_offset = years * year;
        }
        let before: Vec<usize> = nodes.iter().map(|n| world.slots[*n].told.len()).collect();
        world.run(10 * 60_000);
        world.meet(&nodes, 0);
        for (n, before) in nodes.iter().zip(before) {
            assert_eq!(world.slots[*n].told.len(), before, "something happened");
        }
        nodes.push(world.single("late"));
        world.meet(&nodes, 2_000);
        for n in nodes {
            world.who(n); // their times can be written
        }
    });
}

#[test]
fn an_address_change_moves_the_peer() {
    seeds(|world| {
        let nodes = five(world);
        let host = world.slots[nodes[0]].host;
        let nic = world.hosts[host].nics[0].clone();
        let moved = Nic { ip: address(0, 150), ..nic };
        world.renumber(host, vec![moved.clone()]);
        let new = moved.ip.to_string();
        let took = world.until(10_000, "the new address, and it alone", |w| {
            nodes[1..].iter().all(|n| {
                let peers = w.who(*n).into_iter().filter(|p| p.handle == "user0");
                peers.map(|p| p.address).collect::<Vec<_>>() == [new.clone()]
            })
        });
        println!("moved: {took} ms");
        world.meet(&nodes, 0);
        let selves = world.slots[nodes[0]].told.iter().filter(|(_, event)| {
            matches!(&event.what, What::PeerJoined { handle, .. } if handle == "user0")
        });
        assert_eq!(selves.count(), 0, "it took its own old address for a peer");
    });
}

#[test]
fn a_cable_that_comes_late_brings_the_network() {
    seeds(|world| {
        let mut nodes = five(world);
        let host = world.host(&[]);
        let late = world.node(host, settings(Some("cable")));
        world.run(60_000);
        let nic = Nic { lan: 0, index: 2, ip: address(0, 151) };
        world.renumber(host, vec![nic.clone()]);
        nodes.push(late);
        println!("cable in: {} ms", world.meet(&nodes, 1_000));
        // out and in again, before anybody noticed and after
        for pause in [5_000, 5 * 60_000] {
            world.renumber(host, vec![]);
            world.run(pause);
            world.renumber(host, vec![nic.clone()]);
            println!("cable back after {pause} ms: {} ms", world.meet(&nodes, 2_000));
        }
    });
}

#[test]
fn away_and_back_are_seen_by_all_even_by_late_joiners() {
    seeds(|world| {
        let nodes = five(world);
        let set = |away| Command::SetPresence { away, text: None };
        world.ask(nodes[0], None, set(true)).unwrap();
        let is = |p| move |w: &mut World| w.presence(3, "user0") == Some(p);
        world.until(200, "away", is(Presence::Away));
        let late = world.single("late");
        world.until(2_000, "away for the late", |w| {
            w.presence(late, "user0") == Some(Presence::Away)
        });
        world.run(10 * 60_000);
        assert_eq!(world.presence(1, "user0"), Some(Presence::Away));
        assert_eq!(world.presence(late, "user0"), Some(Presence::Away));
        world.ask(nodes[0], None, set(false)).unwrap();
        world.until(200, "back", is(Presence::Online));
        world.until(200, "back", |w| w.presence(late, "user0") == Some(Presence::Online));
    });
}

#[test]
fn a_program_that_marks_nobody_away_stays_away_after_its_list() {
    seeds(|world| {
        let node = world.single("a");
        world.hear(node, "JOIN tuna 6000");
        world.hear(node, "AWAY tuna");
        assert_eq!(world.presence(node, "tuna"), Some(Presence::Away));
        world.hear(node, "KNOWUSERS tuna 10.0.9.9 6000");
        assert_eq!(world.presence(node, "tuna"), Some(Presence::Away));
        world.hear(node, "BACK tuna");
        assert_eq!(world.presence(node, "tuna"), Some(Presence::Online));
        world.hear(node, "KNOWUSERS tuna 10.0.9.9 6000 [AFK], a 10.0.1.1 5010");
        assert_eq!(world.presence(node, "tuna"), Some(Presence::Away));
        world.hear(node, "KNOWUSERS tuna 10.0.9.9 6000, a 10.0.1.1 5010");
        assert_eq!(world.presence(node, "tuna"), Some(Presence::Online));
    });
}

#[test]
fn a_lost_back_is_made_good_by_the_next_announcements() {
    seeds(|world| {
        let nodes = five(world);
        let set = |away| Command::SetPresence { away, text: None };
        world.ask(nodes[0], None, set(true)).unwrap();
        world.run(1_000);
        world.lans[0].loss = 1.0;
        world.ask(nodes[0], None, set(false)).unwrap();
        world.run(1_000);
        world.lans[0].loss = 0.0;
        world.until(4 * 60_000, "back after all", |w| {
            w.presence(nodes[1], "user0") == Some(Presence::Online)
        });
    });
}

#[test]
fn a_handle_change_is_a_rename_and_nothing_else() {
    seeds(|world| {
        let nodes = five(world);
        world.run(10_000);
        let before: Vec<usize> = nodes.iter().map(|n| world.slots[*n].told.len()).collect();
        world.ask(nodes[0], None, Command::SetHandle { handle: "fresh".into() }).unwrap();
        world.meet(&nodes, 500);
        world.run(5 * 60_000);
        for (n, before) in nodes.iter().zip(before).skip(1) {
            let told: Vec<&What> =
                world.slots[*n].told[before..].iter().map(|(_, event)| &event.what).collect();
            assert!(
                matches!(told[..], [What::PeerRenamed { handle, old, .. }]
                    if handle == "fresh" && old == "user0"),
                "{told:?}"
            );
        }
    });
}

#[test]
fn a_wild_hour_ends_in_peace() {
    seeds(|world| {
        world.lans[0] = Lan { loss: 0.2, duplication: 0.1, delay: (0, 300), reorder: true };
        let mut nodes: Vec<usize> = (0..12).map(|i| world.single(&format!("user{i}"))).collect();
        for round in 0..60 {
            let i = world.rng.usize(0..nodes.len());
            let (n, host) = (nodes[i], world.slots[nodes[i]].host);
            let name = format!("user{i}");
            match world.rng.u32(0..6) {
                0 => {
                    world.crash(n);
                    nodes[i] = world.node(host, settings(Some(&name)));
                }
                1 => {
                    world.quit(n);
                    nodes[i] = world.node(host, settings(Some(&name)));
                }
                2 => world.hosts[host].side = u32::from(world.hosts[host].side == 0),
                3 => {
                    let ip = address(0, 20 + round);
                    let nic = Nic { ip, ..world.hosts[host].nics[0].clone() };
                    world.renumber(host, vec![nic]);
                }
                4 => world.slots[n].wall_offset = world.rng.i64(-2_000_000_000_000..1 << 50),
                _ => {
                    let to = format!("user{}", world.rng.usize(0..12));
                    let command = Command::Send { to: vec![to], text: "hello".into() };
                    let _ = world.ask(n, None, command); // it may not know that one
                }
            }
            let pause = world.rng.u64(0..120_000);
            world.run(pause);
        }
        world.hosts.iter_mut().for_each(|h| h.side = 0);
        world.lans[0] = Lan::default();
        println!("peace: {} ms", world.meet(&nodes, 150_000));
    });
}

#[test]
fn a_quiet_node_sleeps() {
    seeds(|world| {
        let nodes = five(world);
        world.run(30 * 60_000 + 30_000);
        for n in nodes {
            assert!(world.ticks(n) <= 10, "woken {} of {MAX_TICKS} times", world.ticks(n));
        }
    });
}

#[test]
fn one_of_two_interfaces_going_leaves_the_other_way() {
    seeds(|world| {
        world.lans.push(Lan::default());
        let (both, too) = (world.host(&[0, 1]), world.host(&[0, 1]));
        let nodes = [world.node(both, settings(Some("a"))), world.node(too, settings(Some("b")))];
        world.meet(&nodes, 2_000);
        world.run(10_000);
        for gone in 0..2 {
            let nics = world.hosts[too].nics.clone();
            world.renumber(too, vec![nics[1 - gone].clone()]);
            let (mut tries, start) = (0, world.now);
            let took = world.until(20_000, "texts arrive again", |w| {
                tries += 1;
                let text = format!("{gone} {tries}");
                let command = Command::Send { to: vec!["b".into()], text: text.clone() };
                let _ = w.ask(nodes[0], None, command);
                w.run(1_000);
                w.got(nodes[1]).iter().any(|(.., t)| *t == text)
            });
            println!("one interface down: {took} ms, {tries} tries since {start}");
            world.meet(&nodes, 10_000);
            world.renumber(too, nics);
            world.run(5_000);
            world.meet(&nodes, 10_000);
        }
    });
}

fn flaps(world: &mut World, loss: f64) -> usize {
    let nodes: Vec<usize> = (0..10).map(|i| world.single(&format!("user{i}"))).collect();
    world.meet(&nodes, 2_000);
    world.lans[0] = Lan { loss, duplication: 0.05, delay: (0, 100), reorder: true };
    world.run(60 * 60_000);
    let left = |n: &usize| {
        let told = world.slots[*n].told.iter();
        told.filter(|(_, event)| matches!(event.what, What::PeerLeft { .. })).count()
    };
    nodes.iter().map(left).sum()
}

#[test]
fn nobody_is_given_up_for_a_few_lost_datagrams() {
    seeds(|world| {
        let left = flaps(world, 0.1);
        println!("10 nodes, an hour, 10 % loss: {left} given up");
        let lossy = flaps(&mut World::new(world.rng.u64(..)), 0.3);
        println!("10 nodes, an hour, 30 % loss: {lossy} given up");
        assert!(left <= 1, "{left} given up");
    });
}
