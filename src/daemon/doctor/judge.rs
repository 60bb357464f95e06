//! Facts about the machine to findings in plain words. Pure: what to say of what is seen.

use super::firewall::{Passes, Wire};
use crate::model::{Finding, Health, InterfaceView, Presence, Report, Status, Wall};

/// Less free than this, in bytes, is a warning …
pub const LITTLE_DISK: u64 = 64 * 1024 * 1024;
/// … and less than this is wrong.
pub const NO_DISK: u64 = 4 * 1024 * 1024;
/// No klatsch was built before 2025: an earlier clock is wrong.
pub const EARLIEST: Wall = Wall(1_735_689_600_000);

/// All that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The machine's interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// The node at a glance.
    pub status: Status,
    /// Who holds a port that could not be had, or shares one: `UDP 4000` and the program.
    pub holders: Vec<(String, String)>,
    /// Interface, broadcast address, and whether a datagram to it came back; or why it did not
    /// leave.
    pub broadcast: Vec<(String, String, Result<bool, String>)>,
    /// What the firewall does with each port; or why that is not known.
    pub firewall: Option<Result<Vec<(Wire, Passes)>, String>>,
    /// Peers: dialect and presence.
    pub peers: Vec<(String, Presence)>,
    /// The system's time.
    pub now: Wall,
    /// Whether a time server keeps the clock right.
    pub synchronised: bool,
    /// What for, where, bytes free of it; or why it cannot be written.
    pub disks: Vec<(String, String, Result<u64, String>)>,
    /// Serial lines that others write on, and what does.
    pub lines: Vec<(String, String)>,
    /// The last warnings and errors of the log.
    pub errors: Vec<String>,
}

/// What the facts mean.
pub fn judge(facts: &Facts) -> Report {
    let mut said = Said(Vec::new());
    interfaces(facts, &mut said);
    ports(facts, &mut said);
    broadcast(facts, &mut said);
    firewall(facts, &mut said);
    peers(facts, &mut said);
    clock(facts, &mut said);
    disks(facts, &mut said);
    for (line, what) in &facts.lines {
        said.warn(
            "lines",
            format!("{what} writes on {line} too"),
            "docs/console.md: the kernel's messages",
        );
    }
    match facts.errors.as_slice() {
        [] => said.ok("errors", "none was logged since the start".into()),
        some => some.iter().for_each(|line| said.ok("errors", line.clone())),
    }
    Report::of(said.0)
}

struct Said(Vec<Finding>);

impl Said {
    fn say(&mut self, check: &str, health: Health, text: String, advice: Option<&str>) {
        let advice = advice.map(str::to_owned);
        self.0.push(Finding { check: check.into(), health, text, advice });
    }
    fn ok(&mut self, check: &str, text: String) {
        self.say(check, Health::Ok, text, None);
    }
    fn unknown(&mut self, check: &str, text: String) {
        self.say(check, Health::Unknown, text, None);
    }
    fn warn(&mut self, check: &str, text: String, advice: &str) {
        self.say(check, Health::Warning, text, Some(advice));
    }
    fn wrong(&mut self, check: &str, text: String, advice: &str) {
        self.say(check, Health::Wrong, text, Some(advice));
    }
}

fn interfaces(facts: &Facts, said: &mut Said) {
    let real: Vec<&InterfaceView> =
        facts.interfaces.iter().filter(|i| i.kind != "loopback").collect();
    if real.is_empty() {
        let advice = "plug in a network adapter, or see whether its driver is loaded";
        said.wrong("interfaces", "there is no network interface".into(), advice);
        return;
    }
    let mut chats = false;
    for i in real {
        let name = &i.name;
        let wifi = i.kind == "wifi";
        if !i.used && i.up && !i.addresses.is_empty() {
            said.ok("interfaces", format!("{name}: not used for the chat (interfaces)"));
            continue;
        }
        match (i.up, i.link) {
            (false, _) => said.ok("interfaces", format!("{name}: switched off")),
            (true, Some(false)) if wifi => said.warn(
                "interfaces",
                format!("{name}: in no Wi-Fi network"),
                "check its name and password, and that the box is near enough",
            ),
            (true, Some(false)) => said.warn(
                "interfaces",
                format!("{name}: no link"),
                "plug the cable in at both ends; try another cable or port",
            ),
            (true, _) if i.addresses.is_empty() => said.wrong(
                "addresses",
                format!("{name}: it has no address"),
                "see whether a DHCP server is on that network, or set an address by hand",
            ),
            (true, _) => {
                let mut text = format!("{name}: {}", i.addresses.join(" "));
                if let Some(wifi) = &i.wifi {
                    text += &format!(", {wifi}");
                }
                let four = i.addresses.iter().filter(|a| !a.contains(':'));
                if four.clone().count() == 0 {
                    let advice = "the chat needs IPv4: a DHCP server, or an address by hand";
                    said.wrong("addresses", format!("{text}: no IPv4 address"), advice);
                } else if four.clone().all(|a| a.starts_with("169.254.")) {
                    let advice =
                        "no DHCP server answered; those with such an address see each other";
                    said.warn("addresses", text, advice);
                    chats = true;
                } else {
                    said.ok("addresses", text);
                    chats = true;
                }
            }
        }
    }
    if !chats {
        let advice = "only programs of this machine can be reached; see the lines above";
        said.wrong("addresses", "the chat has no network".into(), advice);
    }
}

fn ports(facts: &Facts, said: &mut Said) {
    let held = |port: u16| {
        let named = |(p, _): &&(String, String)| p.ends_with(&format!(" {port}"));
        facts.holders.iter().find(named).map(|(_, who)| who.as_str())
    };
    for dialect in &facts.status.dialects {
        let name = format!("{} on port {}", dialect.name, dialect.port);
        match (&dialect.reason, held(dialect.port)) {
            (Some(reason), _) => said.wrong(
                "ports",
                format!("{name}: {reason}"),
                "end the program that has the port, or set another in the file",
            ),
            (None, Some(who)) if dialect.on => {
                said.ok("ports", format!("{name}: open, shared with {who}"));
            }
            (None, _) if dialect.on => said.ok("ports", format!("{name}: open")),
            (None, _) => said.ok("ports", format!("{}: switched off", dialect.name)),
        }
    }
    for user in &facts.status.users {
        match user.port {
            Some(port) => said.ok("ports", format!("{}: port {port}", user.handle)),
            None => said.wrong(
                "ports",
                format!("{}: no port could be had", user.handle),
                "make the range of port-min to port-max larger, or end what has these ports",
            ),
        }
    }
}

fn broadcast(facts: &Facts, said: &mut Said) {
    // the test's own port is kept out by a firewall that lets in only what it must
    let ours = |wire: &Wire| wire.udp && facts.status.dialects.iter().any(|d| d.port == wire.port);
    let only_ours = matches!(&facts.firewall, Some(Ok(verdicts))
        if verdicts.iter().any(|(wire, passes)| ours(wire) && *passes == Passes::Yes));
    for (name, to, outcome) in &facts.broadcast {
        match outcome {
            Ok(true) => said.ok("broadcast", format!("{name}: to {to}, left and came back")),
            Ok(false) if only_ours => said.unknown(
                "broadcast",
                format!("{name}: to {to}, left; the firewall keeps out what the test sends"),
            ),
            Ok(false) => said.warn(
                "broadcast",
                format!("{name}: to {to}, left and did not come back"),
                "a firewall of this machine drops it, or the address is not that network's",
            ),
            Err(reason) => said.wrong(
                "broadcast",
                format!("{name}: to {to}, did not leave: {reason}"),
                "a firewall or a route of this machine forbids it: nobody will find this box",
            ),
        }
    }
}

fn firewall(facts: &Facts, said: &mut Said) {
    match &facts.firewall {
        None => said.ok("firewall", "no rule drops anything".into()),
        Some(Err(reason)) => said.unknown("firewall", reason.clone()),
        Some(Ok(verdicts)) => {
            let mut open = 0;
            for (wire, passes) in verdicts {
                match passes {
                    Passes::Yes => open += 1,
                    Passes::Perhaps => said.unknown(
                        "firewall",
                        format!("{wire}: a rule that is not understood here decides"),
                    ),
                    Passes::No(rule) => said.wrong(
                        "firewall",
                        format!("{wire} is dropped: {rule}"),
                        "let it in: nft add rule inet filter input udp dport 4000 accept, or the like",
                    ),
                }
            }
            if open > 0 {
                said.ok(
                    "firewall",
                    format!("{open} of {} of our ports are let in", verdicts.len()),
                );
            }
        }
    }
}

fn peers(facts: &Facts, said: &mut Said) {
    for dialect in facts.status.dialects.iter().filter(|d| d.on) {
        let name = dialect.name.to_string();
        let of = facts.peers.iter().filter(|(d, _)| *d == name);
        let here = of.clone().filter(|(_, p)| *p != Presence::Gone).count();
        let gone = of.count() - here;
        if here > 0 {
            said.ok("peers", format!("{name}: {here} here, {gone} gone"));
        } else {
            said.ok("peers", format!("{name}: nobody is heard ({gone} gone)"));
        }
    }
    let anybody = facts.peers.iter().any(|(_, p)| *p != Presence::Gone);
    if !anybody && facts.status.uptime >= 120 {
        let text = format!("nobody was heard for {} minutes", facts.status.uptime / 60);
        let advice = "is anybody else there? Else: an access point that keeps its guests apart \
                      (client isolation), another VLAN, or the others' firewall";
        said.warn("peers", text, advice);
    }
}

fn clock(facts: &Facts, said: &mut Said) {
    let now = facts.now.to_string();
    let now = now.get(..19).unwrap_or(&now);
    if facts.now < EARLIEST {
        let advice = "times of messages will be wrong; the box needs a time server or a battery \
                      clock: timedatectl";
        return said.warn("clock", format!("it says {now}, which cannot be"), advice);
    }
    match facts.synchronised {
        true => said.ok("clock", format!("{now} UTC, kept right by a time server")),
        false => said.ok("clock", format!("{now} UTC, not confirmed by a time server")),
    }
}

fn disks(facts: &Facts, said: &mut Said) {
    for (what, path, free) in &facts.disks {
        match free {
            Err(reason) => said.wrong(
                "disk",
                format!("{what}: {path}: {reason}"),
                "make it writable for klatsch's user, or name another folder",
            ),
            Ok(free) => {
                let text = format!("{what}: {path}: {} MB free", free / 1_000_000);
                if *free < NO_DISK {
                    said.wrong("disk", text, "nothing can be received: delete something");
                } else if *free < LITTLE_DISK {
                    said.warn("disk", text, "delete received images that nobody needs");
                } else {
                    said.ok("disk", text);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
