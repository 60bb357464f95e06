//! `DOCTOR`: gathers what can be seen of the machine, on a thread of its own because programs are
//! run and answers awaited. What the facts mean is `judge`'s business.

pub(super) mod firewall;
pub(super) mod judge;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use self::firewall::{Passes, Wire, by_iptables, by_nft};
use self::judge::Facts;
use super::ports::{self, Proto};
use super::{clock, log, network};
use crate::config::Settings;
use crate::model::answer::DialectView;
use crate::model::{Dialect, IoError, PeerView, Report, Status, Wall};

/// A program that was started must end within this time.
const PROGRAM: Duration = Duration::from_secs(3);
/// Bytes of its output that are looked at: rule sets of thousands of rules.
pub const MAX_OUTPUT: u64 = 4 * 1024 * 1024;
/// How long a broadcast may take to come back.
const COMES_BACK: Duration = Duration::from_millis(500);
/// Lines of the log that a report has.
const ERRORS: usize = 5;

/// What the node says of itself, for the check-up.
pub(super) struct Patient {
    pub status: Status,
    pub peers: Vec<PeerView>,
    pub settings: Settings,
}

/// Looks at everything. Takes up to some seconds.
pub(super) fn examine(patient: &Patient) -> Report {
    let Patient { status, peers, settings } = patient;
    judge::judge(&Facts {
        interfaces: network::interfaces(&settings.interfaces),
        status: status.clone(),
        holders: holders(status),
        broadcast: broadcasts(status),
        firewall: firewall(&wires(status)),
        peers: peers
            .iter()
            .flat_map(|p| p.dialect.iter().map(|d| (d.to_string(), p.presence)))
            .collect(),
        now: Wall::from_system(SystemTime::now()),
        synchronised: clock::is_synchronised(),
        disks: disks(status),
        lines: lines(settings),
        errors: log::last_errors(ERRORS),
    })
}

fn wires(status: &Status) -> Vec<Wire> {
    let dialects = status.dialects.iter().filter(|d| d.on);
    let mut wires: Vec<Wire> =
        dialects.map(|d| Wire { udp: by_udp(d.name), port: d.port }).collect();
    // hello is found over UDP, and talks over TCP at the same port
    let hello = status.dialects.iter().filter(|d| d.on && d.name == Dialect::Hello);
    wires.extend(hello.map(|d| Wire { udp: false, port: d.port }));
    for port in status.users.iter().filter_map(|u| u.port) {
        wires.extend([true, false].map(|udp| Wire { udp, port }));
    }
    wires
}

fn holders(status: &Status) -> Vec<(String, String)> {
    let named = |d: &DialectView| {
        let proto = if by_udp(d.name) { Proto::Udp } else { Proto::Tcp };
        let wire = Wire { udp: by_udp(d.name), port: d.port };
        Some((wire.to_string(), ports::holder(proto, d.port)?))
    };
    status.dialects.iter().filter_map(named).collect()
}

/// Whether a dialect is met over UDP: only the room's server is met over TCP.
fn by_udp(dialect: Dialect) -> bool {
    dialect != Dialect::Room
}

fn broadcasts(status: &Status) -> Vec<(String, String, Result<bool, String>)> {
    let links = status.links.iter().filter(|l| !l.address.starts_with("127."));
    links
        .filter_map(|link| {
            let to: Ipv4Addr = link.broadcast.parse().ok()?;
            let outcome = broadcast(to).map_err(|error| IoError::from(error).text);
            Some((link.name.clone(), link.broadcast.clone(), outcome))
        })
        .collect()
}

/// Whether a datagram to this address comes back to the socket it left from, as the kernel does
/// with what it broadcasts. The port is nobody's: whoever hears it drops it.
fn broadcast(to: Ipv4Addr) -> std::io::Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    let port = socket.local_addr()?.port();
    let text = format!("klatsch looks whether broadcast works {}", fastrand::u64(..));
    socket.send_to(text.as_bytes(), SocketAddrV4::new(to, port))?;
    let until = Instant::now() + COMES_BACK;
    let mut buffer = [0; 128];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(n) if &buffer[..n] == text.as_bytes() => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// `None`: there is no rule at all.
fn firewall(wires: &[Wire]) -> Option<Result<Vec<(Wire, Passes)>, String>> {
    let verdicts = |text: &str, by: fn(&str, Wire) -> Option<Passes>| {
        wires.iter().map(|w| Some((*w, by(text, *w)?))).collect::<Option<Vec<_>>>()
    };
    let mut why = "neither nft nor iptables-save is installed: its rules cannot be read".to_owned();
    for (program, arguments, by) in [
        ("nft", &["--json", "list", "ruleset"][..], by_nft as fn(&str, Wire) -> Option<Passes>),
        ("iptables-save", &[], by_iptables),
    ] {
        match run(program, arguments) {
            Ok(text) if !text.contains("\"hook\"") && !text.contains(":INPUT ") => return None,
            Ok(text) => match verdicts(&text, by) {
                Some(verdicts) => return Some(Ok(verdicts)),
                None => why = format!("{program} said something that is not understood here"),
            },
            Err(Failed::Missing) => {}
            Err(Failed::Refused) => {
                why = format!(
                    "its rules may not be read by this user: as root, run {program} {}",
                    arguments.join(" ")
                );
            }
            Err(Failed::Late) => why = format!("{program} gave no answer in time"),
        }
    }
    Some(Err(why))
}

/// Why a program gave no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Missing,
    Refused,
    Late,
}

/// A program's output, where it ends well and in time.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    // a service's PATH may lack where such programs are
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/bin:/bin";
    let mut child = Process::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| Failed::Missing)?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(output) = output {
            // what is cut is not understood, and said to be so
            let _ = output.take(MAX_OUTPUT).read_to_end(&mut text);
        }
        text
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < PROGRAM => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failed::Late);
            }
        }
    };
    let text = reader.join().unwrap_or_default();
    if status.success() {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(Failed::Refused)
    }
}

fn disks(status: &Status) -> Vec<(String, String, Result<u64, String>)> {
    let folders = [("state", &status.state), ("images", &status.imagepath)];
    folders
        .into_iter()
        .filter(|(_, path)| !path.is_empty())
        .map(|(what, path)| (what.to_owned(), path.clone(), free(Path::new(path))))
        .collect()
}

/// Bytes that may still be written there. A folder that is made when it is needed counts as the
/// one it will be in.
fn free(path: &Path) -> Result<u64, String> {
    let Some(there) = path.ancestors().find(|folder| folder.exists()) else {
        return Err("no such folder".into());
    };
    let why = |errno: nix::errno::Errno| IoError::from(errno).text;
    access(there, AccessFlags::W_OK).map_err(why)?;
    let disk = statvfs(there).map_err(why)?;
    Ok(disk.blocks_available() as u64 * disk.fragment_size() as u64)
}

/// Serial lines of ours that the kernel writes on.
fn lines(settings: &Settings) -> Vec<(String, String)> {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let lines = settings.serial.iter().filter(|line| line.on && !line.login);
    lines
        .filter_map(|line| {
            let device = line.device.canonicalize().ok()?;
            let name = device.file_name()?.to_str()?.to_owned();
            active.split_whitespace().any(|c| c == name).then(|| (name, "the kernel".to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_refused_missed_or_given_up() {
        assert_eq!(run("echo", &["hello"]).as_deref(), Ok("hello\n"));
        assert_eq!(run("false", &[]), Err(Failed::Refused));
        assert_eq!(run("no-such-program-anywhere", &[]), Err(Failed::Missing));
        let start = Instant::now();
        assert_eq!(run("sleep", &["60"]), Err(Failed::Late));
        assert!(start.elapsed() < PROGRAM * 2);
    }

    #[test]
    fn one_byte_past_the_output_is_not_kept() {
        let most = MAX_OUTPUT.to_string();
        let more = (MAX_OUTPUT + 1).to_string();
        for bytes in [&most, &more] {
            let text = run("head", &["-c", bytes, "/dev/zero"]);
            assert!(matches!(&text, Ok(t) if t.len() as u64 == MAX_OUTPUT) || text.is_err());
        }
    }

    #[test]
    fn a_broadcast_on_loopback_comes_back() {
        assert!(broadcast(Ipv4Addr::new(127, 255, 255, 255)).unwrap());
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("not/yet")).unwrap() > 0);
    }
}
