//! What is said of machines in all states.

use super::*;
use crate::model::answer::{DialectView, UserView};
use crate::model::{Dialect, Handle};

fn interface(name: &str, kind: &str, link: Option<bool>, addresses: &[&str]) -> InterfaceView {
    InterfaceView {
        name: name.into(),
        kind: kind.into(),
        up: true,
        link,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        speed: None,
        wifi: None,
        used: true,
    }
}

/// A box that has everything.
fn sound() -> Facts {
    let user = UserView {
        handle: Handle::try_from("kiosk").unwrap(),
        port: Some(5010),
        joined: true,
        away: false,
        autoreply: String::new(),
        guest: false,
        since: 0,
    };
    let slcp = DialectView { name: Dialect::Slcp, on: true, port: 4000, reason: None };
    Facts {
        interfaces: vec![
            interface("lo", "loopback", Some(true), &["127.0.0.1/8"]),
            interface("eth0", "ethernet", Some(true), &["192.168.1.5/24", "fe80::1/64"]),
        ],
        status: Status {
            users: vec![user],
            dialects: vec![slcp],
            uptime: 600,
            ..Status::default()
        },
        broadcast: vec![("eth0".into(), "192.168.1.255".into(), Ok(true))],
        peers: vec![("slcp".into(), Presence::Online)],
        now: Wall(EARLIEST.0 + 1),
        disks: vec![("state".into(), "/var/lib/klatsch".into(), Ok(LITTLE_DISK))],
        ..Facts::default()
    }
}

#[test]
fn a_sound_machine_is_told_so() {
    let report = judge(&sound());
    assert!(report.healthy, "{report:#?}");
    for check in ["addresses", "ports", "broadcast", "firewall", "peers", "clock", "disk", "errors"]
    {
        assert!(report.findings.iter().any(|f| f.check == check), "{check}");
    }
}

#[test]
fn each_trouble_is_said_with_what_to_do() {
    type Breaks = fn(&mut Facts);
    let cases: [(&str, Health, Breaks); 18] = [
        ("there is no network interface", Health::Wrong, |f| f.interfaces.clear()),
        ("eth0: no link", Health::Warning, |f| f.interfaces[1].link = Some(false)),
        ("eth0: in no Wi-Fi network", Health::Warning, |f| {
            f.interfaces[1] = interface("eth0", "wifi", Some(false), &[]);
        }),
        ("eth0: it has no address", Health::Wrong, |f| f.interfaces[1].addresses.clear()),
        ("eth0: fe80::1/64: no IPv4 address", Health::Wrong, |f| {
            f.interfaces[1].addresses.remove(0);
        }),
        ("eth0: 169.254.3.4/16", Health::Warning, |f| {
            f.interfaces[1].addresses = vec!["169.254.3.4/16".into()];
        }),
        ("the chat has no network", Health::Wrong, |f| f.interfaces[1].up = false),
        ("slcp on port 4000: the port is in use", Health::Wrong, |f| {
            f.status.dialects[0].reason = Some("the port is in use".into());
        }),
        ("kiosk: no port could be had", Health::Wrong, |f| f.status.users[0].port = None),
        ("left and did not come back", Health::Warning, |f| f.broadcast[0].2 = Ok(false)),
        ("did not leave: not allowed", Health::Wrong, |f| {
            f.broadcast[0].2 = Err("not allowed".into());
        }),
        ("UDP 4000 is dropped: rule 7", Health::Wrong, |f| {
            let wire = Wire { udp: true, port: 4000 };
            f.firewall = Some(Ok(vec![(wire, Passes::No("rule 7".into()))]));
        }),
        ("nobody was heard for 10 minutes", Health::Warning, |f| f.peers.clear()),
        ("it says 1970-01-01T00:00:00, which cannot be", Health::Warning, |f| f.now = Wall(0)),
        ("63 MB free", Health::Warning, |f| f.disks[0].2 = Ok(63_999_999)),
        ("4 MB free", Health::Wrong, |f| f.disks[0].2 = Ok(NO_DISK - 1)),
        ("the file system is read-only", Health::Wrong, |f| {
            f.disks[0].2 = Err("the file system is read-only".into());
        }),
        ("the kernel writes on ttyS0 too", Health::Warning, |f| {
            f.lines = vec![("ttyS0".into(), "the kernel".into())];
        }),
    ];
    for (said, health, breaks) in cases {
        let mut facts = sound();
        breaks(&mut facts);
        let report = judge(&facts);
        assert!(!report.healthy, "{said}");
        let found = report.findings.iter().find(|f| f.text.contains(said));
        let found = found.unwrap_or_else(|| panic!("{said}: {report:#?}"));
        assert_eq!(found.health, health, "{said}");
        assert!(found.advice.is_some(), "{said}");
    }
}

#[test]
fn what_cannot_be_known_is_said_and_is_no_trouble() {
    let mut facts = sound();
    facts.firewall = Some(Err("its rules may not be read".into()));
    let ours = Wire { udp: true, port: 4000 };
    facts.broadcast[0].2 = Ok(false);
    facts.firewall = Some(Ok(vec![(ours, Passes::Yes)]));
    assert!(judge(&facts).healthy, "the test's own port need not be open");
    facts.broadcast[0].2 = Ok(true);
    facts.firewall = Some(Err("its rules may not be read".into()));
    facts.status.uptime = 60;
    facts.peers.clear();
    facts.errors = vec!["an old error".into()];
    let report = judge(&facts);
    assert!(report.healthy, "{report:#?}");
    assert!(report.findings.iter().any(|f| f.health == Health::Unknown));
}
