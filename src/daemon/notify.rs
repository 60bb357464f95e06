//! What systemd is told over its notification socket (sd_notify(3)): ready, reloading, stopping,
//! alive, and who is here.
//!
//! Ready is said once all listeners are open: of the control socket before the loop begins, of
//! the rest when the node's status names nothing that is missing. Alive is said by the loop
//! itself, in its own turn, so that a loop that hangs is noticed. Without `$NOTIFY_SOCKET` all
//! of this does nothing.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::time::{ClockId, clock_gettime};

use crate::model::text::harmless;
use crate::model::{Millis, Now, What};
use crate::node::Node;

/// Changes of who is here are gathered for so long before they are told.
pub const GATHER_MS: Millis = 1_000;
/// For an LED, what is not well is looked at again after this.
const AGAIN_MS: Millis = 2_000;
/// Handles named in the status line; the others are counted.
pub const MAX_NAMED: usize = 8;

/// See the module.
pub(super) struct Notify {
    to: Option<(OwnedFd, UnixAddr)>,
    /// READY is still to be said: at the start and after a reload.
    owes_ready: bool,
    /// The last line that was told.
    told: String,
    /// When to look at the node's status again.
    look_at: Option<Millis>,
    /// How the node stands is wanted by somebody else too.
    watched: bool,
    /// How often the watchdog is fed, and when next.
    watchdog: Option<(Millis, Millis)>,
}

/// The node as systemd sees it.
struct Standing {
    /// Whether all that should listen does.
    listens: bool,
    /// Whether there is a network beside loopback.
    network: bool,
    line: String,
}

impl Notify {
    /// As `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID` say.
    pub(super) fn from_environment() -> Notify {
        let watchdog = watchdog(
            std::env::var("WATCHDOG_USEC").ok().as_deref(),
            std::env::var("WATCHDOG_PID").ok().as_deref(),
            std::process::id(),
        );
        Notify::new(std::env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    fn new(to: Option<OsString>, watchdog: Option<Duration>) -> Notify {
        let to = to.and_then(|name| match connect(&name) {
            Ok(to) => Some(to),
            Err(error) => {
                log::warn!("systemd cannot be told anything at {name:?}: {error}");
                None
            }
        });
        // twice in its time, as sd_watchdog_enabled(3) recommends
        let every = watchdog.and_then(|time| Millis::try_from(time.as_millis() / 2).ok());
        Notify {
            owes_ready: to.is_some(),
            look_at: to.is_some().then_some(0),
            watchdog: to.is_some().then_some(every).flatten().map(|every| (every.max(1), 0)),
            to,
            told: String::new(),
            watched: false,
        }
    }

    /// Looks how the node stands though systemd does not ask.
    pub(super) fn watch(&mut self) {
        self.watched = true;
        self.look_at = Some(0);
    }

    /// When the loop is to come back here.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        [self.look_at, self.watchdog.map(|(_, next)| next)].into_iter().flatten().min()
    }

    /// One turn of the loop, its actions performed. Whether all is well, where that was looked at.
    pub(super) fn turn(&mut self, now: Now, node: &Node) -> Option<bool> {
        if let Some((every, next)) = &mut self.watchdog {
            if *next <= now.mono {
                *next = now.mono + *every;
                self.look_at.get_or_insert(now.mono);
                self.send("WATCHDOG=1");
            }
        }
        if self.look_at.is_some_and(|at| at <= now.mono) {
            self.look_at = None;
            let standing = standing(now, node);
            let well = standing.listens && standing.network;
            self.tell(now.mono, standing);
            if self.watched && !well {
                // what gets better by itself is no event
                self.look_at.get_or_insert(now.mono + AGAIN_MS);
            }
            return Some(well);
        }
        None
    }

    /// Something happened: if it changes who is here, that is told soon.
    pub(super) fn happened(&mut self, now: Millis, what: &What) {
        let concerns = matches!(
            what,
            What::PeerJoined { .. }
                | What::PeerLeft { .. }
                | What::PeerRenamed { .. }
                | What::Config { .. }
                | What::Error { .. }
        );
        if concerns && (self.to.is_some() || self.watched) {
            self.look_at.get_or_insert(now + GATHER_MS);
        }
    }

    /// The configuration is read again from here on, until the next READY.
    pub(super) fn reloading(&mut self) {
        if self.to.is_none() {
            return;
        }
        // systemd tells this reload from an earlier one by the time (notify-reload)
        let at = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", at.as_micros()));
        self.owes_ready = true;
        self.look_at = Some(0);
    }

    /// The node says goodbye and ends.
    pub(super) fn stopping(&mut self) {
        self.send("STOPPING=1\nSTATUS=saying goodbye");
    }

    fn tell(&mut self, now: Millis, standing: Standing) {
        let ready = self.owes_ready && standing.listens;
        if ready || standing.line != self.told {
            let prefix = if ready { "READY=1\n" } else { "" };
            if self.send(&format!("{prefix}STATUS={}", standing.line)) {
                self.told = standing.line;
                self.owes_ready &= !ready;
            }
        }
        if self.owes_ready {
            self.look_at = Some(now + GATHER_MS);
        }
    }

    /// Without waiting: systemd may be busy, the chat goes on. Whether it was taken.
    fn send(&self, text: &str) -> bool {
        let Some((socket, to)) = &self.to else { return false };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendto(socket.as_raw_fd(), text.as_bytes(), to, flags).is_ok()
    }
}

/// A path, or with a leading `@` a name without a file (unix(7), abstract).
fn connect(name: &OsString) -> nix::Result<(OwnedFd, UnixAddr)> {
    let to = match name.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
        [b'/', ..] => UnixAddr::new(name.as_os_str())?,
        _ => return Err(nix::errno::Errno::EAFNOSUPPORT),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok((socket(AddressFamily::Unix, SockType::Datagram, flags, None)?, to))
}

/// How soon the watchdog bites, if it is for this process.
fn watchdog(usec: Option<&str>, pid: Option<&str>, us: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(us)) {
        return None;
    }
    usec?.parse().ok().filter(|usec| *usec > 0).map(Duration::from_micros)
}

fn standing(now: Now, node: &Node) -> Standing {
    let status = node.status(now);
    let mut missing: Vec<String> =
        status.dialects.iter().filter_map(|d| d.reason.clone()).collect();
    let without = status.users.iter().filter(|u| u.port.is_none());
    missing.extend(without.map(|u| format!("{} has no chat port", u.handle)));
    let listens = missing.is_empty();
    let mut line = if listens { String::new() } else { missing.join("; ") + "; " };
    match status.users.iter().find(|u| u.joined) {
        Some(user) => line += &format!("{} is in the chat", user.handle),
        None => line += "not in the chat",
    }
    let others = status.users.iter().filter(|u| u.joined).skip(1).map(|u| u.handle.as_str());
    let names: Vec<&str> = others.chain(node.handles_here()).collect();
    line += "; ";
    line += &who_is_here(&names);
    let network = status.links.iter().any(|link| link.name != "lo");
    if !network {
        line += "; no network";
    }
    Standing { listens, network, line: harmless(&line) }
}

fn who_is_here(names: &[&str]) -> String {
    match names.len() {
        0 => "nobody else is here".to_owned(),
        n if n <= MAX_NAMED => format!("{n} here: {}", names.join(", ")),
        n => {
            let named = names[..MAX_NAMED].join(", ");
            format!("{n} here: {named} and {} more", n - MAX_NAMED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// systemd's end, and a `Notify` that speaks to it.
    fn pair(watchdog: Option<Duration>) -> (UnixDatagram, Notify) {
        let name = format!("klatsch-test-{}-{}", std::process::id(), fastrand::u64(..));
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
        let systemd = systemd.unwrap();
        systemd.set_nonblocking(true).unwrap();
        (systemd, Notify::new(Some(format!("@{name}").into()), watchdog))
    }

    fn heard(systemd: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 4096];
        std::iter::from_fn(|| systemd.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()))
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    fn standing(listens: bool, line: &str) -> Standing {
        Standing { listens, network: true, line: line.into() }
    }

    #[test]
    fn ready_waits_until_all_listens_and_is_said_once() {
        let (systemd, mut notify) = pair(None);
        notify.tell(0, standing(false, "port 4000 cannot be opened"));
        assert_eq!(heard(&systemd), ["STATUS=port 4000 cannot be opened"]);
        assert_eq!(notify.wake_at(), Some(GATHER_MS), "looks again by itself");
        notify.tell(1_000, standing(true, "anna is in the chat"));
        assert_eq!(heard(&systemd), ["READY=1\nSTATUS=anna is in the chat"]);
        notify.tell(2_000, standing(true, "anna is in the chat"));
        assert!(heard(&systemd).is_empty(), "nothing new, nothing said");
        notify.tell(3_000, standing(true, "alone"));
        assert_eq!(heard(&systemd), ["STATUS=alone"]);
    }

    #[test]
    fn a_reload_bears_its_time_and_ends_with_ready() {
        let (systemd, mut notify) = pair(None);
        notify.tell(0, standing(true, "x"));
        heard(&systemd);
        notify.reloading();
        let told = heard(&systemd).remove(0);
        let usec = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
        notify.tell(1, standing(true, "x"));
        assert_eq!(heard(&systemd), ["READY=1\nSTATUS=x"], "also where nothing changed");
    }

    #[test]
    fn the_watchdog_wakes_the_loop_twice_in_its_time() {
        let (_systemd, notify) = pair(Some(Duration::from_secs(30)));
        assert_eq!(notify.watchdog, Some((15_000, 0)));
        let (_systemd, mut notify) = pair(None);
        notify.look_at = None;
        assert_eq!(notify.wake_at(), None, "no watchdog, no waking up");
    }

    #[test]
    fn many_changes_are_told_once() {
        let (_systemd, mut notify) = pair(None);
        notify.tell(0, standing(true, "x"));
        notify.look_at = None;
        for at in 10..500 {
            notify.happened(at, &What::Error { text: String::new() });
        }
        assert_eq!(notify.wake_at(), Some(10 + GATHER_MS));
    }

    #[test]
    fn a_socket_with_a_path_is_spoken_to_and_other_kinds_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_nonblocking(true).unwrap();
        let mut notify = Notify::new(Some(path.into()), None);
        notify.stopping();
        assert_eq!(heard(&systemd), ["STOPPING=1\nSTATUS=saying goodbye"]);
        assert!(Notify::new(Some("vsock:2:1".into()), None).to.is_none());
        assert!(Notify::new(None, None).wake_at().is_none());
    }

    #[test]
    fn ready_is_said_again_where_systemd_did_not_take_it() {
        let (systemd, mut notify) = pair(None);
        drop(systemd);
        notify.tell(0, standing(true, "x"));
        assert!(notify.owes_ready);
        assert_eq!(notify.wake_at(), Some(GATHER_MS));
    }

    #[test]
    fn one_more_than_are_named_is_counted() {
        assert_eq!(who_is_here(&[]), "nobody else is here");
        assert_eq!(who_is_here(&["anna", "bob"]), "2 here: anna, bob");
        let names = ["x"; MAX_NAMED + 1];
        assert_eq!(who_is_here(&names), "9 here: x, x, x, x, x, x, x, x and 1 more");
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        assert_eq!(watchdog(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(Some("30000000"), None, 7), Some(Duration::from_secs(30)));
        for (usec, pid) in [(Some("3"), Some("8")), (Some("x"), None), (Some("0"), None)] {
            assert_eq!(watchdog(usec, pid, 7), None);
        }
    }
}
