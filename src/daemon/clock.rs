//! Whether the system's clock can be trusted: boards without a battery start with whatever time
//! was last saved, and are right only once a time server was heard, or an operator said what time
//! it is.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_channel::Sender;

use crate::model::{Refusal, Wall};
use crate::node::io::Input;

/// Before this (2026-01-01, in seconds) klatsch was not: a clock that says so is wrong.
const FLOOR: u64 = 1_767_225_600;
/// From here on (2100-01-01, in seconds) a time is a mistake.
const CEILING: u64 = 4_102_444_800;
/// From here on (2031-01-01, in seconds) what a browser says is not taken over: a guest's word goes
/// no further than five years from [`FLOOR`]. Both move with releases.
const OFFERED: u64 = 1_924_992_000;
/// What a browser says is taken over if it is later by more than this, in milliseconds.
const LATER: u64 = 60_000;
/// Root's mark that an operator set the clock since the machine started.
const SET: &str = "/run/klatsch-clock-set";
/// While it cannot be trusted, it is looked at again after so long.
const LOOK: Duration = Duration::from_secs(30);

/// Whether it can be trusted now.
pub(super) fn is_trusted() -> bool {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    judge(
        wall,
        is_synchronised() || Path::new(SET).exists(),
        battery_clock(Path::new("/sys/class/rtc")),
    )
}

/// Tells when it can be trusted. Once it can it stays so: the kernel goes on counting.
pub(super) async fn watch(told: Sender<Input>) {
    while !is_trusted() {
        crate::reactor::Timer::after(LOOK).await;
    }
    // The loop may be gone; then nobody waits for it.
    let _ = told.send(Input::Clock(true)).await;
}

/// A battery clock counts where it goes right itself: one whose battery is empty starts at 1970
/// or 2000.
fn judge(wall: u64, synchronised: bool, battery: Option<u64>) -> bool {
    wall >= FLOOR && (synchronised || battery.is_some_and(|clock| clock >= FLOOR))
}

/// The seconds that an operator may set it to.
pub(super) fn settable(time: Wall) -> Result<u64, Refusal> {
    let seconds = time.0 / 1_000;
    if (FLOOR..CEILING).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Refusal::bad(
        "TIME",
        time.to_string(),
        "a time from 2026 to 2099, such as 2026-11-21 18:00, in UTC",
    ))
}

/// The seconds of what a browser says, where it can be better than what there is: never back.
pub(super) fn plausible(now: Wall, time: Wall) -> Option<u64> {
    let seconds = settable(time).ok()?;
    (seconds < OFFERED && time.0 > now.0.saturating_add(LATER)).then_some(seconds)
}

/// Whether a time server sets the clock, as the kernel says (adjtimex(2)), or, where a sandbox
/// forbids to ask it, systemd-timesyncd's mark (systemd-timesyncd.service(8)).
#[allow(unsafe_code)]
pub(super) fn is_synchronised() -> bool {
    // SAFETY: all zero is a timex that changes nothing (`modes` 0), and it outlives the call.
    let (state, timex) = unsafe {
        let mut timex: nix::libc::timex = std::mem::zeroed();
        (nix::libc::adjtimex(&mut timex), timex)
    };
    let kernel = state >= 0 && state != nix::libc::TIME_ERROR;
    (kernel && timex.status & nix::libc::STA_UNSYNC == 0)
        || Path::new("/run/systemd/timesync/synchronized").exists()
}

/// What the battery clock says, in seconds; none: there is none.
fn battery_clock(folder: &Path) -> Option<u64> {
    let clocks = std::fs::read_dir(folder).ok()?;
    clocks
        .filter_map(|entry| {
            let said = std::fs::read_to_string(entry.ok()?.path().join("since_epoch")).ok()?;
            said.trim().parse().ok()
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_without_battery_is_trusted_once_a_time_server_was_heard() {
        assert!(!judge(FLOOR + 1, false, None));
        assert!(judge(FLOOR + 1, true, None));
        assert!(judge(FLOOR + 1, false, Some(FLOOR)));
        assert!(!judge(FLOOR + 1, false, Some(FLOOR - 1)), "an empty battery");
        assert!(!judge(FLOOR - 1, true, Some(FLOOR)), "a clock before klatsch was made");
    }

    #[test]
    fn a_time_is_taken_within_bounds_and_a_visitors_only_forward() {
        let at = |seconds: u64| Wall(seconds * 1_000);
        assert_eq!(settable(at(FLOOR)), Ok(FLOOR));
        assert!(settable(at(FLOOR - 1)).is_err() && settable(at(CEILING)).is_err());
        assert_eq!(plausible(at(0), at(FLOOR)), Some(FLOOR));
        assert_eq!(plausible(at(FLOOR), at(FLOOR + 60)), None);
        assert_eq!(plausible(at(FLOOR), at(FLOOR + 61)), Some(FLOOR + 61));
        assert_eq!(plausible(at(FLOOR + 99), at(FLOOR)), None);
        assert_eq!(plausible(at(0), at(OFFERED - 1)), Some(OFFERED - 1));
        assert_eq!(plausible(at(0), at(OFFERED)), None, "a guest's 2099");
    }

    #[test]
    fn battery_clocks_are_read_where_the_kernel_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(battery_clock(&dir.path().join("none")), None);
        for (name, said) in [("rtc0", "17\n"), ("rtc1", "1800000000\n"), ("rtc2", "x")] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("since_epoch"), said).unwrap();
        }
        assert_eq!(battery_clock(dir.path()), Some(1_800_000_000));
        is_synchronised();
    }
}
