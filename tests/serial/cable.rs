//! A box with a cable: the real daemon, a pseudo-terminal as its serial line (reached by a link, so
//! that it can be unplugged and come back under the same name), an operator with a terminal
//! emulator at the other end, and people on the LAN, which is loopback here.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that holds all of a box, and its daemon.
pub struct Chatbox {
    pub folder: tempfile::TempDir,
    pub discovery: u16,
    daemon: Option<Child>,
}

impl Chatbox {
    /// A box whose one line is said by `serial` beside its device, and `more` above that.
    pub fn new(serial: &str, more: &str) -> Chatbox {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        Chatbox::on(free.local_addr().unwrap().port(), "kiosk", serial, more)
    }

    /// Another box on the same LAN.
    pub fn beside(other: &Chatbox, handle: &str, serial: &str) -> Chatbox {
        Chatbox::on(other.discovery, handle, serial, "")
    }

    fn on(discovery: u16, handle: &str, serial: &str, more: &str) -> Chatbox {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "interfaces = [\"lo\"]\nhandle = \"{handle}\"\n{more}\n[link]\nenabled = false\n[slcp]\nport = {discovery}\n\
             [[serial]]\ndevice = \"{}\"\n{serial}\n",
            folder.path().join("tty").display()
        );
        std::fs::write(folder.path().join("klatsch.toml"), config).unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&run, private).unwrap();
        Chatbox { folder, discovery, daemon: None }
    }

    pub fn klatsch(&self) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_klatsch"));
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("XDG_CONFIG_HOME", folder.join("config"));
        command
    }

    /// Starts the daemon; its log goes to a file.
    pub fn starts(&mut self) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let daemon = self
            .klatsch()
            .arg("--config")
            .arg(self.folder.path().join("klatsch.toml"))
            .arg("run")
            .env("KLATSCH_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let start = Instant::now();
        while !self.socket().exists() {
            assert!(start.elapsed() < PATIENCE, "no socket: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/klatsch/control")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn logs(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "never logged {text}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as systemd would; whether it ended well.
    pub fn ends(&mut self) -> bool {
        let Some(mut daemon) = self.daemon.take() else { return false };
        let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = daemon.try_wait().unwrap() {
                return status.success();
            }
            if start.elapsed() > PATIENCE {
                let _ = daemon.kill();
                panic!("never ended: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Plugs a cable in.
    pub fn plug(&self) -> Operator {
        Operator::at(&self.folder.path().join("tty"), 80)
    }

    pub fn unplug(&self, operator: Operator) {
        std::fs::remove_file(self.folder.path().join("tty")).unwrap();
        drop(operator);
    }

    /// The chat port of the box's first user.
    pub fn port(&self) -> u16 {
        let out = self.klatsch().args(["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        u16::try_from(status["users"][0]["port"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Chatbox {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("the box's log:\n{}", self.log());
        }
    }
}

/// What came over the cable: all bytes, when, and the screen they make.
pub struct Seen {
    pub screen: vt100::Parser,
    pub bytes: Vec<u8>,
    pub pace: Option<u32>,
}

/// Somebody at the other end of the cable.
pub struct Operator {
    keys: File,
    pub seen: Arc<Mutex<Seen>>,
    columns: u16,
    gone: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Operator {
    /// The cable is out: no end of the terminal is left open.
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Operator {
    fn at(link: &Path, columns: u16) -> Operator {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let name = nix::unistd::ttyname(&pty.slave).unwrap();
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(name, link).unwrap();
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().unwrap();
        let screen = vt100::Parser::new(24, columns, 0);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new(), pace: None }));
        let sees = Arc::clone(&seen);
        let gone = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&gone);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            let mut due = Instant::now();
            while !stops.load(Ordering::SeqCst) {
                let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
                if poll(&mut ready, 20u8) == Ok(0) {
                    continue;
                }
                let pace = sees.lock().unwrap().pace;
                let most = pace.map_or(4096, |speed| (speed as usize / 10 / 50).max(1));
                // EIO: the box has not opened the line, or not yet again
                let Ok(n @ 1..) = output.read(&mut chunk[..most]) else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let mut seen = sees.lock().unwrap();
                seen.screen.process(&chunk[..n]);
                seen.bytes.extend_from_slice(&chunk[..n]);
                drop(seen);
                if let Some(speed) = pace {
                    // by the clock, so that a busy machine does not make the line slower
                    due = due.max(Instant::now() - Duration::from_secs(1));
                    due += Duration::from_secs(1) * n as u32 * 10 / speed;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
        });
        drop(pty.slave);
        Operator { keys, seen, columns, gone, reader: Some(reader) }
    }

    /// Takes what comes no faster than such a line brings it.
    pub fn at_pace(&self, speed: u32) {
        self.seen.lock().unwrap().pace = Some(speed);
    }

    pub fn types(&self, text: &str) {
        self.sends(text.as_bytes());
    }

    pub fn sends(&self, bytes: &[u8]) {
        (&self.keys).write_all(bytes).unwrap();
    }

    pub fn rows(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let rows = seen.screen.screen().rows(0, self.columns).map(|r| r.trim_end().to_owned());
        let mut rows: Vec<String> = rows.collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// All that came, as text.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().bytes).into_owned()
    }

    pub fn forgets(&self) {
        self.seen.lock().unwrap().bytes.clear();
    }

    pub fn waits(&self, what: &str, seen: impl Fn(&Operator) -> bool) -> Duration {
        let start = Instant::now();
        while !seen(self) {
            assert!(start.elapsed() < PATIENCE, "never saw {what}: {:#?}", self.rows());
            std::thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }

    /// Somewhere on the screen.
    pub fn sees(&self, text: &str) -> Duration {
        self.waits(text, |me| me.rows().iter().any(|r| r.contains(text)))
    }

    /// The last row is this, whole.
    pub fn at_the_prompt(&self, text: &str) -> Duration {
        self.waits(text, |me| me.rows().last().is_some_and(|r| r == text))
    }
}

/// Somebody on the LAN with a program of the plainest kind.
pub struct Peer {
    socket: UdpSocket,
    handle: String,
    discovery: SocketAddr,
}

impl Peer {
    pub fn joins(handle: &str, there: &Chatbox) -> Peer {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_broadcast(true).unwrap();
        let discovery = SocketAddr::from(([127, 255, 255, 255], there.discovery));
        let peer = Peer { socket, handle: handle.into(), discovery };
        let port = peer.socket.local_addr().unwrap().port();
        peer.socket.send_to(format!("JOIN {handle} {port}\n").as_bytes(), discovery).unwrap();
        peer
    }

    pub fn writes(&self, port: u16, text: &str) {
        let line = format!("MSG {} {text}\n", self.handle);
        self.socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    pub fn leaves(&self) {
        self.socket.send_to(format!("LEAVE {}\n", self.handle).as_bytes(), self.discovery).unwrap();
    }
}
