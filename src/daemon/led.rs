//! The box's LED: four patterns by which somebody in the room sees how the chat is, written to
//! /sys/class/leds (Documentation/leds/leds-class.rst of the kernel). Blinking is the loop's own
//! timer, since a kernel's triggers may be modules that are not there; the usual state is steady
//! and wakes nobody.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::{IoError, Millis};

/// Where the kernel shows LEDs.
pub(super) const LEDS: &str = "/sys/class/leds";
/// What is not ready by then is in trouble.
pub const BOOTING_MS: Millis = 30_000;

/// How the chat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Not all listens yet.
    Booting,
    /// All is well and read.
    Ready,
    /// Somebody wrote.
    Unread,
    /// Something does not listen, or there is no network.
    Trouble,
}

impl Mood {
    /// How long it is lit and dark, in turn; none: lit.
    fn beat(self) -> &'static [Millis] {
        match self {
            Mood::Booting => &[100, 100],
            Mood::Ready => &[],
            Mood::Unread => &[1_000, 1_000],
            Mood::Trouble => &[100, 150, 100, 1_650],
        }
    }
}

/// See the module.
pub(super) struct Led {
    leds: PathBuf,
    /// Its name below; empty: there is none.
    name: String,
    /// Since when it is about to start.
    begun: Millis,
    started: bool,
    well: bool,
    unread: bool,
    /// What is shown, how far in its beat, and until when.
    shown: Option<(Mood, usize, Option<Millis>)>,
    /// The kernel's own trigger let go of it: until then it is asked again, as udev may be about to
    /// give us the right to.
    taken: bool,
    said: bool,
}

impl Led {
    pub(super) fn new(leds: &Path, now: Millis) -> Led {
        Led {
            leds: leds.into(),
            name: String::new(),
            begun: now,
            started: false,
            well: false,
            unread: false,
            shown: None,
            taken: false,
            said: false,
        }
    }

    /// Takes the LED of this name from here on; the one before goes dark.
    pub(super) fn follow(&mut self, name: &str) {
        if name != self.name {
            self.dark();
            name.clone_into(&mut self.name);
            (self.shown, self.said) = (None, false);
            self.taken = self.write("trigger", "none");
        }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether all listens and there is a network.
    pub(super) fn is_well(&mut self, well: bool) {
        self.well = well;
        self.started |= well;
    }

    /// Somebody wrote to the box, or its user did something: then it is read.
    pub(super) fn unread(&mut self, unread: bool) {
        self.unread = unread;
    }

    fn mood(&self, now: Millis) -> Mood {
        match (self.started, self.well, self.unread) {
            (false, ..) if now < self.begun + BOOTING_MS => Mood::Booting,
            (_, false, _) => Mood::Trouble,
            (_, true, true) => Mood::Unread,
            (_, true, false) => Mood::Ready,
        }
    }

    /// When the loop is to come back here.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        if !self.is_there() {
            return None;
        }
        self.shown.and_then(|(_, _, until)| until)
    }

    /// One turn of the loop.
    pub(super) fn turn(&mut self, now: Millis) {
        if !self.is_there() {
            return;
        }
        let mood = self.mood(now);
        let step = match self.shown {
            Some((shown, step, until)) if shown == mood => match until {
                Some(until) if until <= now => (step + 1) % mood.beat().len(),
                _ => return,
            },
            _ => 0,
        };
        self.shown = Some((mood, step, mood.beat().get(step).map(|time| now + time)));
        if !self.taken {
            self.taken = self.write("trigger", "none");
        }
        // the kernel takes the LED's own most for more than that
        self.write("brightness", if step % 2 == 0 { "255" } else { "0" });
    }

    /// The node ends.
    pub(super) fn dark(&mut self) {
        if self.is_there() {
            self.write("brightness", "0");
        }
    }

    /// Whether it was written.
    fn write(&mut self, file: &str, value: &str) -> bool {
        if !self.is_there() {
            return false;
        }
        let path = self.leds.join(&self.name).join(file);
        let open = fs::OpenOptions::new().write(true).open(&path);
        let written =
            open.and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()));
        match written {
            Ok(()) => return true,
            Err(error) if !self.said => {
                self.said = true;
                log::warn!("the LED cannot be set: {}: {}", path.display(), IoError::from(error));
            }
            Err(_) => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the files that the kernel has, which keep what was last written over it.
    fn sysfs(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
        for file in ["trigger", "brightness"] {
            fs::write(folder.path().join(name).join(file), "").unwrap();
        }
        folder
    }

    /// When it was lit and dark in the next `span` milliseconds: what the kernel would see.
    fn watch(led: &mut Led, folder: &Path, from: Millis, span: Millis) -> Vec<(Millis, String)> {
        let (mut seen, mut now) = (Vec::new(), from);
        while now < from + span {
            fs::write(folder.join("ACT/brightness"), "").unwrap();
            led.turn(now);
            let value = fs::read_to_string(folder.join("ACT/brightness")).unwrap();
            if !value.is_empty() {
                seen.push((now - from, value));
            }
            now = led.wake_at().unwrap_or(Millis::MAX);
        }
        seen
    }

    fn times(seen: &[(Millis, String)]) -> Vec<Millis> {
        assert!(
            seen.iter().enumerate().all(|(n, (_, v))| (v == "255") == (n % 2 == 0)),
            "{seen:?}"
        );
        seen.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn each_mood_has_its_pattern_and_the_usual_one_wakes_nobody() {
        let folder = sysfs("ACT");
        let mut led = Led::new(folder.path(), 0);
        led.follow("ACT");
        assert_eq!(fs::read_to_string(folder.path().join("ACT/trigger")).unwrap(), "none");
        assert_eq!(times(&watch(&mut led, folder.path(), 0, 450)), [0, 100, 200, 300, 400]);
        led.is_well(true);
        assert_eq!(times(&watch(&mut led, folder.path(), 500, 9_000)), [0]);
        assert_eq!(led.wake_at(), None);
        led.unread(true);
        assert_eq!(times(&watch(&mut led, folder.path(), 10_000, 3_500)), [0, 1_000, 2_000, 3_000]);
        led.is_well(false);
        let trouble = watch(&mut led, folder.path(), 20_000, 2_300);
        assert_eq!(times(&trouble), [0, 100, 250, 350, 2_000, 2_100, 2_250]);
        led.unread(false);
        led.is_well(true);
        assert_eq!(times(&watch(&mut led, folder.path(), 30_000, 9_000)), [0]);
        led.follow("");
        assert_eq!(fs::read_to_string(folder.path().join("ACT/brightness")).unwrap(), "055");
        led.turn(40_000);
        assert_eq!((led.wake_at(), led.is_there()), (None, false));
    }

    #[test]
    fn an_led_whose_trigger_is_not_ours_yet_is_asked_for_again() {
        let folder = sysfs("ACT");
        let trigger = folder.path().join("ACT/trigger");
        fs::remove_file(&trigger).unwrap();
        let mut led = Led::new(folder.path(), 0);
        led.follow("ACT");
        led.turn(0);
        assert!(!led.taken);
        fs::write(&trigger, "heartbeat").unwrap();
        led.turn(100);
        assert_eq!(fs::read_to_string(&trigger).unwrap(), "nonetbeat", "none was written over it");
        assert!(led.taken);
    }

    #[test]
    fn what_is_not_ready_in_time_is_in_trouble() {
        let mut led = Led::new(Path::new("/nowhere"), 1_000);
        assert_eq!(led.mood(1_000 + BOOTING_MS - 1), Mood::Booting);
        assert_eq!(led.mood(1_000 + BOOTING_MS), Mood::Trouble);
        led.is_well(true);
        assert_eq!(led.mood(2_000), Mood::Ready);
        led.is_well(false);
        assert_eq!(led.mood(2_000), Mood::Trouble, "it was ready once");
    }

    #[test]
    fn an_led_that_is_not_there_is_said_once_and_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut led = Led::new(folder.path(), 0);
        led.follow("ACT");
        assert!(led.said);
        led.turn(0);
        led.dark();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is made there");
    }
}
