//! Two people at two terminals: the real binary twice, each under a pseudo-terminal, with a
//! terminal emulator to see what they would see. On loopback and a discovery port of its own.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody at a terminal.
struct Person {
    child: Child,
    keys: File,
    slave: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Person {
    fn sits_down(folder: &Path) -> Person {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_klatsch"))
            .arg("--config")
            .arg(folder.join("klatsch.toml"))
            .env_clear()
            .env("TERM", "xterm")
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let seen = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                seen.lock().unwrap().process(&chunk[..n]);
            }
        });
        Person { child, keys, slave: pty.slave, before, screen }
    }

    fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.screen.lock().unwrap();
        let rows = screen.screen().rows(0, 80).map(|r| r.trim_end().to_owned());
        let mut rows: Vec<String> = rows.collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn waits(&self, what: &str, seen: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !seen(&self.rows()) {
            assert!(start.elapsed() < PATIENCE, "never saw {what}: {:#?}", self.rows());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn sees(&self, text: &str) {
        self.waits(text, |rows| rows.iter().any(|r| r.contains(text)));
    }

    fn at_the_prompt(&self, text: &str) {
        self.waits(text, |rows| rows.last().is_some_and(|r| r == text));
    }

    /// Waits for the end; the terminal is as it was.
    fn has_left(&mut self) -> bool {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "never ended: {:#?}", self.rows());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(tcgetattr(&self.slave).unwrap(), self.before);
        status.success()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let port = 20_000 + std::process::id() % 10_000;
    let config = format!("interfaces = [\"lo\"]\n[slcp]\nport = {port}\n[link]\nenabled = false\n");
    std::fs::write(folder.path().join("klatsch.toml"), config).unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&run, private).unwrap();
    folder
}

#[test]
fn two_people_at_two_terminals_chat() {
    let folder = folder();
    let mut anna = Person::sits_down(folder.path());
    anna.sees("Your handle [");
    anna.types("not one word\r");
    anna.sees("a handle may not hold");
    anna.types("anna\r");
    anna.sees("you are anna");
    anna.sees("type WHO to see who is here");
    anna.at_the_prompt("anna>");

    let mut bob = Person::sits_down(folder.path());
    bob.sees("Your handle [");
    bob.types("bob\r");
    bob.at_the_prompt("bob>");
    anna.sees("bob is here");

    bob.types("msg an\thal");
    bob.at_the_prompt("bob> msg anna hal");
    anna.types("msg bob grüß dich, bob\r");
    anna.sees("→ bob: sent");
    bob.sees("] anna: grüß dich, bob");
    bob.at_the_prompt("bob> msg anna hal");
    bob.types("lo\r");
    anna.sees("] bob: hallo");
    anna.types("who\r");
    anna.sees("who  is      address");
    let once = anna.rows().iter().filter(|r| r.contains("grüß dich")).count();
    assert_eq!(once, 1, "what was typed is not echoed again: {:#?}", anna.rows());

    bob.types("QUIT\r");
    assert!(bob.has_left());
    anna.sees("bob left");

    let process = Pid::from_raw(anna.child.id() as i32);
    anna.types("half\x1a");
    anna.waits("the stop", |_| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        stat.contains(") T ")
    });
    assert_eq!(tcgetattr(&anna.slave).unwrap(), anna.before, "the shell gets its terminal back");
    kill(process, Signal::SIGCONT).unwrap();
    anna.at_the_prompt("anna> half");
    anna.types("\x15who\r");
    anna.at_the_prompt("anna>");

    kill(process, Signal::SIGTERM).unwrap();
    anna.has_left();
}
