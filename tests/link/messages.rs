//! Each message arrives once, in order, and its fate is told truly.

use crate::world::World;

fn pair(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let (a, b) = (world.node("anna"), world.node("bob"));
    world.run(10_000);
    (world, a, b)
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[test]
fn a_thousand_texts_arrive_in_order_and_are_confirmed() {
    let (mut world, a, b) = pair(1);
    let far = world.far(b);
    for n in numbers(1_000) {
        world.say(a, &far, &n);
    }
    world.run(20_000);
    assert_eq!(world.texts(b, a), numbers(1_000));
    assert_eq!(world.fates(a), (0, 1_000, 0));
    // nothing is left behind: only what names the boxes and where the streams stand
    let left: Vec<&String> = world.nodes[a].disk.rows.keys().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn what_waits_for_a_box_that_is_off_arrives_when_it_is_on_again() {
    let (mut world, a, b) = pair(2);
    let far = world.far(b);
    world.crash(b);
    world.run(60_000);
    for n in numbers(100) {
        world.say(a, &far, &n);
    }
    world.run(60_000);
    assert_eq!(world.fates(a), (100, 0, 0));
    world.crash(a);
    world.start(a);
    world.run(60_000);
    world.start(b);
    world.run(60_000);
    assert_eq!(world.texts(b, a), numbers(100));
    assert_eq!(world.fates(a), (0, 100, 0));
}

#[test]
fn a_refusal_is_told_and_stays_one_over_breaks_and_crashes() {
    for seed in 0..40 {
        let (mut world, a, b) = pair(seed);
        world.weather.breaks = 0.1;
        let far = world.far(b);
        for n in 0..20 {
            world.say(a, &far, if n % 3 == 0 { "refuse me" } else { "hello" });
            world.run(50);
            if n == 10 {
                world.crash(b);
                world.start(b);
            }
        }
        world.run(10 * 60_000);
        assert_eq!(world.fates(a), (0, 13, 7), "seed {seed}");
    }
}

#[test]
fn a_message_for_nobody_is_refused() {
    let (mut world, a, b) = pair(5);
    let mut far = world.far(b);
    far.handle = crate::world::handle("nobody");
    world.say(a, &far, "hello?");
    world.run(5_000);
    assert_eq!(world.fates(a), (0, 0, 1));
}

#[test]
fn a_full_disk_at_the_receiver_loses_nothing_and_confirms_nothing() {
    let (mut world, a, b) = pair(6);
    world.nodes[b].full = true;
    let far = world.far(b);
    for n in numbers(50) {
        world.say(a, &far, &n);
    }
    world.run(60_000);
    assert_eq!(world.fates(a), (50, 0, 0));
    world.nodes[b].full = false;
    world.run(60_000);
    assert_eq!(world.texts(b, a), numbers(50));
    assert_eq!(world.fates(a), (0, 50, 0));
}

#[test]
fn a_store_that_is_older_than_what_was_sent_loses_nothing_new() {
    let (mut world, a, b) = pair(7);
    let far = world.far(b);
    let backup = world.nodes[a].disk.clone();
    for n in numbers(10) {
        world.say(a, &far, &n);
    }
    world.run(10_000);
    world.crash(a);
    world.nodes[a].disk = backup;
    world.start(a);
    world.run(10_000);
    world.say(a, &far, "after the backup");
    world.run(10_000);
    assert_eq!(world.texts(b, a).last().unwrap(), "after the backup");
    assert_eq!(world.texts(b, a).len(), 11);
}

#[test]
fn a_receiver_that_lost_its_store_is_sent_what_is_new() {
    let (mut world, a, b) = pair(8);
    let far = world.far(b);
    for n in numbers(10) {
        world.say(a, &far, &n);
    }
    world.run(10_000);
    world.crash(b);
    world.nodes[b].disk = Default::default();
    world.start(b);
    world.run(10_000);
    world.say(a, &far, "again");
    world.run(10_000);
    assert_eq!(world.texts(b, a), ["again"]);
}
