//! A LAN of the test's own: a namespace with bridges, a namespace per host, veth between them.
//! Nothing of it touches the machine's own network.

use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every name of ours begins so, then the process's id.
const PREFIX: &str = "klatsch-t";

/// A namespace; gone with the value.
struct Space(String);

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// See the module.
pub struct Lan {
    bridge: Space,
    hosts: Vec<Host>,
    _spaces: Vec<Space>,
}

/// One host of a LAN.
#[derive(Clone)]
pub struct Host {
    /// Its namespace.
    pub space: String,
    n: usize,
}

/// Whether the tests are to run at all: with `KLATSCH_NETNS` set. With `require` a machine that
/// cannot is a failure, else a line.
fn wanted() -> bool {
    static SAID: Once = Once::new();
    static SWEPT: Once = Once::new();
    let Ok(word) = std::env::var("KLATSCH_NETNS") else {
        SAID.call_once(|| say("skipped: hosts in namespaces run with KLATSCH_NETNS=1 only"));
        return false;
    };
    match able() {
        Ok(()) => SWEPT.call_once(sweep),
        Err(why) if word == "require" => panic!("KLATSCH_NETNS=require, but {why}"),
        Err(why) => {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            say(&format!("skipped: {name}: {why}"));
            return false;
        }
    }
    true
}

/// Past the test runner's capture: a skipped test must not look like one that ran.
pub fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn able() -> Result<(), String> {
    static ABLE: std::sync::OnceLock<Result<(), String>> = std::sync::OnceLock::new();
    let probe = || {
        let name = format!("{PREFIX}{}-probe", std::process::id());
        let out = Command::new("ip").args(["netns", "add", &name]).output();
        let out = out.map_err(|e| format!("there is no `ip` ({e})"))?;
        let _space = Space(name);
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        if out.status.success() {
            Ok(())
        } else {
            Err(format!("no namespace can be made ({said})"))
        }
    };
    ABLE.get_or_init(probe).clone()
}

/// Removes what test processes left that were killed.
fn sweep() {
    let out = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            drop(Space(name.into()));
        }
    }
}

/// Runs `ip`, which must succeed.
pub fn ip(line: &str) {
    let out = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {line}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Lan {
    /// So many hosts on one bridge, host `n` with address `10.77.0.(n+1)/24` at `eth0`. `None`
    /// where the test is to be skipped.
    pub fn new(hosts: usize) -> Option<Lan> {
        let lan = Lan::bare(hosts)?;
        for host in &lan.hosts {
            lan.plug(host, "eth0", 0);
        }
        Some(lan)
    }

    /// So many hosts with `lo` alone.
    pub fn bare(hosts: usize) -> Option<Lan> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !wanted() {
            return None;
        }
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("{PREFIX}{}-{n}-{what}", std::process::id());
        let make = |name: String| {
            ip(&format!("netns add {name}"));
            let space = Space(name);
            ip(&format!("-n {} link set lo up", space.0));
            space
        };
        let bridge = make(name("lan"));
        let spaces: Vec<Space> = (0..hosts).map(|h| make(name(&format!("h{h}")))).collect();
        let hosts = spaces.iter().enumerate().map(|(n, s)| Host { space: s.0.clone(), n });
        Some(Lan { bridge, hosts: hosts.collect(), _spaces: spaces })
    }

    pub fn host(&self, n: usize) -> &Host {
        &self.hosts[n]
    }

    /// Gives a host an interface on bridge `lan`, up, with its address there.
    pub fn plug(&self, host: &Host, interface: &str, lan: u8) {
        self.wire(host, interface, lan);
        let address = host.address(lan);
        ip(&format!("-n {} addr add {address}/24 brd + dev {interface}", host.space));
        ip(&format!("-n {} link set {interface} up", host.space));
    }

    /// The interface without an address, down.
    pub fn wire(&self, host: &Host, interface: &str, lan: u8) {
        let (space, bridge) = (&self.bridge.0, format!("br{lan}"));
        if !self.has_bridge(&bridge) {
            ip(&format!("-n {space} link add {bridge} type bridge"));
            ip(&format!("-n {space} link set {bridge} up"));
        }
        let port = Lan::port(host, lan);
        let other = &host.space;
        ip(&format!("-n {space} link add {port} type veth peer name {interface} netns {other}"));
        ip(&format!("-n {space} link set {port} master {bridge} up"));
        // the kernel shall find out within seconds, not half a minute, that a neighbour is gone
        host.exec(&format!(
            "cd /proc/sys/net/ipv4/neigh/{interface} && echo 1000 > base_reachable_time_ms && \
             echo 1 > delay_first_probe_time"
        ));
    }

    /// Takes the cable of a host on bridge `lan` out, or puts it in.
    pub fn cable(&self, host: &Host, lan: u8, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&format!("-n {} link set {} {state}", self.bridge.0, Lan::port(host, lan)));
    }

    /// What crosses bridge `lan` to this host is lost from now on; both ends still look well.
    pub fn cut(&self, host: &Host, lan: u8) {
        ip(&format!("-n {} link set {} nomaster", self.bridge.0, Lan::port(host, lan)));
    }

    fn port(host: &Host, lan: u8) -> String {
        format!("p{lan}-{}", host.n)
    }

    fn has_bridge(&self, bridge: &str) -> bool {
        let out = Command::new("ip").args(["-n", &self.bridge.0, "link", "show", bridge]).output();
        out.unwrap().status.success()
    }
}

impl Host {
    /// Its address on bridge `lan`.
    pub fn address(&self, lan: u8) -> String {
        format!("10.77.{lan}.{}", self.n + 1)
    }

    /// A command on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space, program]);
        command
    }

    /// Runs a shell line on this host; it must succeed.
    pub fn exec(&self, line: &str) -> Output {
        let out = self.command("sh").args(["-c", line]).output().unwrap();
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        out
    }

    /// Runs `ip` for this host.
    pub fn ip(&self, line: &str) {
        ip(&format!("-n {} {line}", self.space));
    }
}
