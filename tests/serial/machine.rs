//! The machine around the node, from the cable and from the command line.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cable::{Chatbox, Peer};

#[test]
fn doctor_network_and_log_are_read_on_the_line_and_from_the_shell() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let _anna = Peer::joins("anna", &there);
    cable.sees("anna is here");
    cable.types("doctor\r");
    cable.sees("the lines marked warning and wrong say what to do");
    let rows = cable.rows().join("\n");
    for said in [
        format!("ok       ports      slcp on port {}: open", there.discovery),
        "ok       ports      kiosk: port 50".into(),
        "ok       peers      slcp: 1 here, 0 gone".into(),
        "ok       clock      20".into(),
        "disk       images: ".into(),
        "wrong    addresses  the chat has no network".into(),
    ] {
        assert!(rows.contains(&said), "{said}: {rows}");
    }
    cable.types("network\r");
    cable.sees("127.0.0.1/8");
    cable.types("log 2\r");
    cable.waits("two lines", |me| {
        me.rows().iter().filter(|r| r.contains(" info ") || r.contains(" warning ")).count() >= 2
    });

    // limited to loopback: that is wrong, and the exit code says so
    let doctor = there.klatsch().args(["doctor", "--json"]).output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["healthy"], false);
    let checks: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["check"].as_str().unwrap())
        .collect();
    for check in ["addresses", "ports", "firewall", "peers", "clock", "disk"] {
        assert!(checks.contains(&check), "{check}: {checks:?}");
    }
    let words = there.klatsch().arg("doctor").output().unwrap();
    assert!(String::from_utf8_lossy(&words.stdout).contains("-> only programs of this machine"));
}

#[test]
fn a_machine_that_is_not_an_appliance_says_so() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    let clock = "config time 2026-11-21 18:00\r";
    for line in ["reboot\r", "poweroff\r", "factory-reset yes\r", clock] {
        cable.forgets();
        cable.types(line);
        cable.waits("the refusal", |me| me.all().contains("this machine is not klatsch's own"));
    }
    let bundle = there.folder.path().join("x.raucb");
    std::fs::write(&bundle, "a bundle").unwrap();
    let update = there.klatsch().arg("update").arg(&bundle).output().unwrap();
    let said = String::from_utf8_lossy(&update.stderr).into_owned();
    assert!(said.contains("this machine is not klatsch's own") && said.lines().count() == 1);
    assert_eq!(update.status.code(), Some(1));
    assert!(!there.folder.path().join("run/klatsch-request").exists());
}

#[test]
fn an_update_reaches_roots_side_whole_and_its_line_is_printed() {
    let mut there = Chatbox::new("", "appliance = true");
    there.starts();
    let folder = there.folder.path().to_owned();
    let bundle = folder.join("klatsch-qemu.raucb");
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    std::fs::write(&bundle, &bytes).unwrap();
    let missing = there.klatsch().args(["update", "/nowhere"]).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere: "));
    for (line, code, said) in [
        ("done: 0.2.0 stands in slot B", 0, "0.2.0 stands in slot B\n"),
        ("refused: the bundle is not signed", 1, "klatsch: refused: the bundle is not signed\n"),
    ] {
        let asked = there.klatsch().arg("update").arg(&bundle).output_later();
        let request = folder.join("run/klatsch-request/update");
        let begun = Instant::now();
        while std::fs::remove_file(&request).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(9), "no request");
            std::thread::sleep(Duration::from_millis(20));
        }
        let came = std::fs::read(folder.join("state/klatsch/update/klatsch.raucb")).unwrap();
        assert_eq!(came, bytes);
        std::fs::write(folder.join("run/klatsch/update.result"), format!("{line}\n")).unwrap();
        let output = asked.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let printed = [output.stdout, output.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&printed), said);
        assert!(!folder.join("state/klatsch/update/klatsch.raucb").exists());
    }
}

trait Later {
    fn output_later(&mut self) -> std::process::Child;
}

impl Later for Command {
    fn output_later(&mut self) -> std::process::Child {
        use std::process::Stdio;
        self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

#[test]
fn an_operator_sets_the_clock_by_a_request_and_a_program_hears_who_came() {
    let mut there = Chatbox::new("", "appliance = true");
    let hooks = there.folder.path().join("config/klatsch/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let out = there.folder.path().join("came");
    std::fs::write(hooks.join("peer-joined"), format!("#!/bin/sh\ncat >{}\n", out.display()))
        .unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(hooks.join("peer-joined"), executable).unwrap();
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    cable.types("config time 2026-11-21 18:00\r");
    cable.sees("the clock is being set to 2026-11-21T18:00:00.000Z");
    assert!(there.folder.path().join("run/klatsch-request/time-1795284000").exists());
    cable.types("config time 1999-01-01 00:00\r");
    cable.sees("a time from 2026 to 2099");
    let _anna = Peer::joins("anna", &there);
    cable.sees("anna is here");
    let begun = Instant::now();
    while !std::fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n')) {
        assert!(begun.elapsed() < Duration::from_secs(9), "the program did not run");
        std::thread::sleep(Duration::from_millis(20));
    }
    let event: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!((&event["kind"], &event["handle"]), (&"peer-joined".into(), &"anna".into()));
}

#[test]
fn an_operator_who_has_the_pin_owns_the_machine() {
    let mut there = Chatbox::new("pin = \"471100\"", "appliance = true");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    cable.types("all the chat needs none\r");
    cable.sees("nobody is here");
    let requests = there.folder.path().join("run/klatsch-request");
    cable.types("reboot\r123456\r");
    cable.sees("wrong PIN: the next one is taken in 1 s");
    cable.types("reboot\r471100\r");
    cable.sees("not looked at: the next PIN is taken in 1 s");
    assert!(!requests.exists());
    std::thread::sleep(Duration::from_millis(1_100));
    cable.types("reboot\r");
    cable.at_the_prompt("PIN:");
    cable.types("471100");
    cable.at_the_prompt("PIN: ******");
    cable.types("\r");
    cable.sees("the machine is asked to restart");
    assert!(requests.join("reboot").exists());
    std::fs::remove_file(requests.join("reboot")).unwrap();
    cable.types("log\r");
    cable.sees("reboot was asked for");
    assert!(!cable.all().contains("471100") && !there.log().contains("471100"));

    // everything goes, at the next start; the lock shuts with QUIT
    let state = there.folder.path().join("state/klatsch");
    cable.types("config bell on\r");
    cable.sees("bell is on");
    assert!(state.join("state.toml").exists());
    cable.types("quit\r");
    cable.sees("needs the PIN again");
    cable.types("factory-reset\r");
    cable.sees("FACTORY-RESET needs a YES");
    cable.types("factory-reset yes\r471100\r");
    cable.sees("everything is erased then");
    assert!(requests.join("reboot").exists());
    assert!(there.ends());
    there.starts();
    there.logs("was erased, as was asked for");
    assert!(!state.join("state.toml").exists());
}

#[test]
fn a_line_that_is_not_the_operators_chats_only() {
    let mut there = Chatbox::new("operator = false", "appliance = true");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    for line in ["reboot", "config bell on", "log", "network", "img anna /etc/passwd"] {
        cable.forgets();
        cable.types(&format!("{line}\r"));
        cable.waits(line, |me| me.all().contains("this console is not the operator's"));
    }
    cable.types("who\r");
    cable.sees("nobody else is here yet");
}

#[test]
fn a_line_that_is_left_to_a_login_is_asked_for_and_not_opened() {
    let mut there = Chatbox::new("login = true", "appliance = true");
    let cable = there.plug();
    there.starts();
    there.logs("left to a login prompt");
    let requests = there.folder.path().join("run/klatsch-request");
    let asked: Vec<_> = std::fs::read_dir(requests).unwrap().flatten().collect();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].file_name().to_string_lossy().starts_with("login-"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cable.all(), "");
}

#[test]
fn roots_side_does_what_is_asked_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("request")).unwrap();
    std::fs::create_dir(path("bin")).unwrap();
    let systemctl = format!("#!/bin/sh\necho \"$@\" >>{}\n", path("done").display());
    std::fs::write(path("bin/systemctl"), systemctl).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path("bin/systemctl"), executable).unwrap();
    // the clock of the machine that tests stays as it is
    let date = format!("#!/bin/sh\necho date \"$@\" >>{}\n", path("done").display());
    std::fs::write(path("bin/date"), date).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path("bin/date"), executable).unwrap();
    let clocks = ["offer-1795284001", "time-17952840000", "time-1$(id)", "time-"];
    let others = ["reboot", "update", "halt", "login-ttyS0", "login-tty$(id)", "login-sda", "-rf"];
    for asked in clocks.into_iter().chain(others) {
        std::fs::write(path("request").join(asked), "junk").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", path("request/link")).unwrap();
    std::fs::create_dir(path("request/poweroff")).unwrap();
    let start = Instant::now();
    let status = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/klatsch-request"))
        .arg(path("request"))
        .arg(path("login"))
        .arg(path("clock-set"))
        .env("PATH", format!("{}:{}", path("bin").display(), std::env::var("PATH").unwrap()))
        .status()
        .unwrap();
    assert!(status.success() && start.elapsed() < Duration::from_secs(5));
    let mut done: Vec<String> =
        std::fs::read_to_string(path("done")).unwrap().lines().map(str::to_owned).collect();
    done.sort();
    let wanted = [
        "--no-block poweroff",
        "--no-block reboot",
        "--no-block start klatsch-update.service",
        "--no-block start serial-getty@ttyS0.service",
        "date -u -s @1795284001",
    ];
    assert_eq!(done, wanted);
    assert!(!path("clock-set").exists(), "what a browser says is not believed");
    assert!(path("login/ttyS0").exists() && std::fs::exists("/etc/passwd").unwrap());
    assert_eq!(std::fs::read_dir(path("request")).unwrap().count(), 0);
}

#[test]
fn roots_side_follows_no_link_and_goes_down_into_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |requests: &str| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/klatsch-request");
        Command::new("sh").arg(script).arg(path(requests)).output().unwrap().status
    };
    std::fs::create_dir(path("data")).unwrap();
    std::fs::write(path("data/kept"), "dear").unwrap();
    std::os::unix::fs::symlink(path("data"), path("link")).unwrap();
    assert!(!run("link").success(), "a link in the place of the folder");
    std::fs::create_dir_all(path("request/full/of")).unwrap();
    std::os::unix::fs::symlink(path("data"), path("request/to")).unwrap();
    std::os::unix::fs::symlink(path("data"), path("request/.to")).unwrap();
    for hidden in [".hidden", "..hidden"] {
        std::fs::write(path("request").join(hidden), "").unwrap();
    }
    let start = Instant::now();
    assert!(run("request").success());
    assert!(start.elapsed() >= Duration::from_secs(1), "what stays makes no busy loop");
    let left: Vec<_> = std::fs::read_dir(path("request")).unwrap().flatten().collect();
    assert!(left.len() == 1 && left[0].file_name() == "full", "{left:?}");
    assert_eq!(std::fs::read(path("data/kept")).unwrap(), b"dear");
}

#[test]
fn the_folder_of_requests_lies_in_roots_run_for_all_who_use_it() {
    let shipped = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    for (name, line) in [
        ("klatsch.tmpfile", "d /run/klatsch-request 0700 klatsch klatsch -"),
        ("klatsch.service", "ReadWritePaths=/run/klatsch -/run/klatsch-request"),
        ("klatsch-request.path", "DirectoryNotEmpty=/run/klatsch-request"),
        ("klatsch-request", "folder=${1:-/run/klatsch-request}"),
    ] {
        assert!(shipped(name).lines().any(|l| l == line), "{name}: {line}");
    }
}

#[test]
fn a_line_with_a_login_prompt_is_left_alone_until_it_is_free() {
    let mut there = Chatbox::new("", "");
    let cable = there.plug();
    let line =
        std::fs::File::options().read(true).write(true).open(there.folder.path().join("tty"));
    // what agetty does: a session of its own with that terminal
    let mut login = Command::new("setsid")
        .args(["--wait", "--ctty", "sleep", "3"])
        .stdin(line.unwrap())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    there.starts();
    there.logs(") has it: stop that, or say on = false or login = true");
    assert_eq!(cable.all(), "");
    login.wait().unwrap();
    cable.sees("you are kiosk");
}

#[test]
fn a_request_that_nobody_takes_is_withdrawn_and_said() {
    let mut there = Chatbox::new("", "appliance = true");
    let cable = there.plug();
    there.starts();
    cable.at_the_prompt("kiosk>");
    cable.types("poweroff\r");
    cable.sees("the machine is asked to switch off");
    cable.sees("poweroff: nobody did it: is klatsch-request.path started?");
    assert!(!there.folder.path().join("run/klatsch-request/poweroff").exists());
}

#[test]
fn a_stop_in_the_midst_of_the_start_is_an_orderly_end() {
    let mut b = Chatbox::new("", "");
    b.starts();
    assert!(b.ends(), "{}", b.log());
    // another program has the history: the start waits half a second for it, its socket open
    let state = b.folder.path().join("state");
    let history = find(&state, "history.db").unwrap();
    let other = rusqlite::Connection::open(history).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    b.starts();
    assert!(b.ends(), "{}", b.log());
    assert!(!b.socket().exists());
}

/// The file of this name somewhere in a folder.
fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.find_map(|entry| match entry.file_type().ok()?.is_dir() {
        true => find(&entry.path(), name),
        false => (entry.file_name() == name).then(|| entry.path()),
    })
}
