//! Who is here and who is away, after crashes, goodbyes, cuts and clock jumps.

use klatsch::command::Command;
use klatsch::model::{Presence, What};

use crate::seeds;
use crate::world::{NodeNo, World};

fn group(seed: u64, n: usize) -> World {
    let mut world = World::new(seed);
    for i in 0..n {
        world.add(&format!("u{i:03}"));
    }
    world.run(10_000);
    world
}

fn away(world: &mut World, no: NodeNo, away: bool) {
    world.ask(no, Command::SetPresence { away, text: None }).unwrap();
}

fn presence(world: &mut World, no: NodeNo, handle: &str) -> Option<Presence> {
    world.who(no).iter().find(|p| p.handle == handle).map(|p| p.presence)
}

fn joined_and_left(world: &World, no: NodeNo) -> (usize, usize) {
    let count = |is: fn(&What) -> bool| {
        world.slots[no].events.iter().filter(|(_, e)| is(&e.what)).count()
    };
    (
        count(|w| matches!(w, What::PeerJoined { .. })),
        count(|w| matches!(w, What::PeerLeft { .. })),
    )
}

#[test]
fn a_goodbye_is_heard_at_once_and_told_once() {
    seeds(3, |seed| {
        let mut world = group(seed, 5);
        world.stop(4);
        world.until(500, "it left", |w| (0..4).all(|i| !w.sees(i, "u004")));
        world.run(300_000);
        for i in 0..4 {
            assert_eq!(joined_and_left(&world, i), (4, 1));
        }
    });
}

#[test]
fn a_crash_is_noticed_within_two_minutes_and_a_restart_at_once() {
    seeds(3, |seed| {
        let mut world = group(seed, 5);
        world.crash(4);
        let took = world.until(120_000, "it is gone", |w| (0..4).all(|i| !w.sees(i, "u004")));
        world.start(4);
        let back = world.until(2_000, "it is back", |w| {
            (0..4).all(|i| w.sees(i, "u004")) && w.roster(4).len() == 4
        });
        println!("a crash: gone after {took} ms; restarted: back after {back} ms");
    });
}

#[test]
fn a_host_whose_plug_is_pulled_is_gone_within_two_minutes() {
    seeds(2, |seed| {
        let mut world = group(seed, 4);
        let host = world.slots[3].host;
        world.hosts[host].links.clear();
        let took = world.until(120_000, "it is gone", |w| (0..3).all(|i| !w.sees(i, "u003")));
        println!("unplugged: gone after {took} ms");
    });
}

#[test]
fn a_cut_that_heals_leaves_everyone_with_everyone() {
    seeds(3, |seed| {
        let mut world = group(seed, 10);
        world.lans[0].cut = (0..5).collect();
        world.until(150_000, "each half sees itself", |w| {
            (0..10).all(|i| w.roster(i).len() == 4)
        });
        world.lans[0].cut.clear();
        let took = world.until(90_000, "all see all", |w| (0..10).all(|i| w.roster(i).len() == 9));
        println!("healed: all see all after {took} ms");
    });
}

#[test]
fn clock_jumps_of_years_change_nobodys_presence() {
    seeds(2, |seed| {
        let mut world = group(seed, 5);
        for years in [30, -50, 20, 200] {
            world.wall += years * 365 * 86_400_000;
            world.run(150_000);
        }
        for i in 0..5 {
            assert_eq!(world.roster(i).len(), 4);
            assert_eq!(joined_and_left(&world, i), (4, 0));
        }
    });
}

#[test]
fn away_and_back_reach_all_even_where_a_third_is_lost() {
    seeds(5, |seed| {
        let mut world = group(seed, 8);
        (world.lans[0].loss, world.lans[0].delay) = (300, (0, 150));
        away(&mut world, 0, true);
        let is = |p| move |w: &mut World| (1..8).all(|i| presence(w, i, "u000") == Some(p));
        let took = world.until(400_000, "away", is(Presence::Away));
        away(&mut world, 0, false);
        let back = world.until(400_000, "back", is(Presence::Online));
        println!("away after {took} ms, back after {back} ms");
    });
}

#[test]
fn a_late_joiner_learns_who_is_away() {
    seeds(2, |seed| {
        let mut world = group(seed, 3);
        away(&mut world, 0, true);
        world.run(1_000);
        let late = world.add("late");
        world.until(3_000, "it knows", |w| presence(w, late, "u000") == Some(Presence::Away));
    });
}

#[test]
fn everyone_converges_after_a_stormy_hour() {
    seeds(2, |seed| {
        let mut world = group(seed, 10);
        (world.lans[0].loss, world.lans[0].doubled) = (300, 100);
        world.lans[0].delay = (0, 400);
        for _ in 0..30 {
            let no = world.rng.usize(0..10);
            if world.slots[no].node.is_some() {
                if world.rng.bool() { world.crash(no) } else { world.stop(no) }
            } else {
                world.start(no);
            }
            let pause = world.rng.u64(100..40_000);
            world.run(pause);
        }
        for no in 0..10 {
            if world.slots[no].node.is_none() {
                world.start(no);
            }
        }
        (world.lans[0].loss, world.lans[0].doubled) = (0, 0);
        let took = world.until(150_000, "all see all", |w| {
            (0..10).all(|i| {
                let mut others: Vec<String> = (0..10).map(|j| format!("u{j:03}")).collect();
                others.remove(i);
                w.roster(i) == others
            })
        });
        println!("after the storm: all see all after {took} ms");
    });
}
