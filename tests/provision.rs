//! `klatsch provision` on folders: what it leaves on the card, on the data partition and in /run,
//! and what a power cut, a full or a read-only card makes of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A box: its three folders.
struct Box {
    folder: tempfile::TempDir,
}

impl Box {
    fn new() -> Box {
        let folder = tempfile::tempdir().unwrap();
        for name in ["boot", "data/klatsch", "data/box", "run"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("data/box/machine-id"), "0123\n").unwrap();
        Box { folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.at(path), text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    /// One start; /run is empty at each.
    fn start(&self) -> String {
        fs::remove_dir_all(self.at("run")).unwrap();
        fs::create_dir(self.at("run")).unwrap();
        let done = self.provision();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn provision(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_klatsch"))
            .arg("provision")
            .args(["--boot".into(), self.at("boot")])
            .args(["--data".into(), self.at("data")])
            .args(["--run".into(), self.at("run")])
            .output()
            .unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(folder)).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const CARD: &str = "handle = \"kitchen\"\r\n[wifi]\r\ncountry = \"DE\"\r\nssid = \"home\"\r\n\
                    key = \"a good key\" # of the router\r\n[web]\r\npin = \"4711\"\r\n";

#[test]
fn a_card_is_applied_answered_and_cleared_of_its_secrets() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    let said = card.start();
    assert!(said.contains("line 1: handle: applied (kitchen)\n"), "{said}");
    assert!(said.contains("line 7: web.pin: applied, kept on the box and taken out of the file"));
    assert!(said.ends_with("Nothing was refused.\n"));
    assert_eq!(card.get("boot/klatsch-report.txt"), said.replace('\n', "\r\n"));
    let left = card.get("boot/klatsch.toml");
    assert!(left.contains("key = \"(kept on the box)\" # of the router\r\n[web]\r\n"), "{left}");
    assert!(!left.contains("4711"));
    assert_eq!(card.names("boot"), ["klatsch-report.txt", "klatsch.toml"]);
    assert!(card.get("run/klatsch-box/wpa_supplicant.conf").contains("psk=\"a good key\""));
    assert_eq!(mode(&card.at("run/klatsch-box/wpa_supplicant.conf")), 0o600);
    assert_eq!(mode(&card.at("run/klatsch-box/klatsch.toml")), 0o640);
    assert_eq!(mode(&card.at("data/box/provision.toml")), 0o600);
    // the next start finds the same, says nothing and makes the same files
    fs::remove_file(card.at("boot/klatsch-report.txt")).unwrap();
    let before = card.get("run/klatsch-box/klatsch.toml");
    assert_eq!(card.start(), "");
    assert_eq!(card.get("run/klatsch-box/klatsch.toml"), before);
    assert!(before.contains("web.pin = \"4711\""));
    assert_eq!(card.names("boot"), ["klatsch.toml"]);
    // another value, the secrets still kept
    card.put("boot/klatsch.toml", left.replace("kitchen", "cellar"));
    assert!(card.start().contains("handle: applied (cellar)"));
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("web.pin = \"4711\""));
    assert!(card.get("run/klatsch-box/wpa_supplicant.conf").contains("a good key"));
}

#[test]
fn a_box_without_a_card_file_starts_as_its_image_has_it() {
    let card = Box::new();
    assert!(card.start().contains("there is no klatsch.toml"));
    assert_eq!(card.names("run"), ["klatsch-box"]);
    assert_eq!(card.names("run/klatsch-box"), ["klatsch.toml"]);
    card.put("boot/klatsch.toml", CARD);
    card.start();
    // taken away again: nothing of it is left
    fs::remove_file(card.at("boot/klatsch.toml")).unwrap();
    card.put("boot/klatsch.toml.txt", CARD);
    assert!(card.start().contains("klatsch.toml.txt is not read: call it klatsch.toml"));
    assert_eq!(card.names("run/klatsch-box"), ["klatsch.toml"]);
    assert!(!card.get("data/box/provision.toml").contains("4711"));
}

#[test]
fn a_fat_partition_that_cannot_be_read_changes_nothing() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.start();
    fs::remove_dir_all(card.at("boot")).unwrap();
    assert_eq!(card.start(), "");
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("kitchen"));
    // nor does a folder in the file's place
    fs::create_dir_all(card.at("boot/klatsch.toml")).unwrap();
    assert!(card.start().contains("REFUSED: klatsch.toml cannot be read"));
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("kitchen"));
}

#[test]
fn a_file_of_a_megabyte_or_of_junk_is_one_line_and_nothing_changes() {
    let card = Box::new();
    card.put("boot/klatsch.toml", "handle = \"kitchen\"");
    card.start();
    for (bytes, why) in [
        (vec![b'x'; 1 << 20], "it has more than 65536 bytes"),
        (vec![0xff; 100], "line 1: REFUSED: not used: found bytes that are not UTF-8"),
        (b"handle = \"x\"\n[[[".to_vec(), "line 2: REFUSED: not used: "),
    ] {
        card.put("boot/klatsch.toml", &bytes);
        let said = card.start();
        assert!(said.contains(why) && said.contains("1 line was refused"), "{said}");
        assert!(card.get("run/klatsch-box/klatsch.toml").contains("kitchen"));
        assert_eq!(fs::read(card.at("boot/klatsch.toml")).unwrap(), bytes, "not touched");
    }
}

#[test]
fn what_config_set_gives_way_to_a_new_value_on_the_card_only() {
    let card = Box::new();
    let state = "[set]\nhandle = \"by-config\"\nbell = \"on\"\n\"web.pin\" = \"1\"\n";
    card.put("data/klatsch/state.toml", state);
    card.put("boot/klatsch.toml", "handle = \"card\"\n");
    card.start();
    let left = card.get("data/klatsch/state.toml");
    assert!(!left.contains("by-config") && left.contains("bell"), "{left}");
    // set again later: the card that says what it said before does not undo it
    card.put("data/klatsch/state.toml", state);
    card.put("boot/klatsch.toml", "# a comment more\nhandle = \"card\"\n");
    card.start();
    assert!(card.get("data/klatsch/state.toml").contains("by-config"));
}

#[test]
fn a_factory_reset_clears_the_pins_or_everything_and_is_done_once() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.start();
    card.put("data/klatsch/state.toml", "[set]\nhandle = \"x\"\n\"web.operator-pin\" = \"9\"\n");
    card.put("boot/factory-reset", "pins\r\n");
    let said = card.start();
    assert!(said.contains("factory-reset: the PINs are cleared"), "{said}");
    assert!(said.contains("web.pin: REFUSED: none is kept on this box"));
    let layer = card.get("run/klatsch-box/klatsch.toml");
    assert!(layer.contains("kitchen") && !layer.contains("4711"));
    assert!(card.get("run/klatsch-box/wpa_supplicant.conf").contains("a good key"));
    let kept = card.get("data/klatsch/state.toml");
    assert!(kept.contains("handle") && !kept.contains("pin"));
    assert_eq!(card.names("boot"), ["klatsch-report.txt", "klatsch.toml"]);
    assert_eq!(card.start(), "");

    card.put("boot/factory-reset.txt", "everything");
    card.put("data/box/dropbear_key", "x");
    let said = card.start();
    assert!(said.contains("factory-reset: everything is forgotten"));
    assert!(said.contains("wifi.key: REFUSED") && !said.contains("4711"));
    assert_eq!(card.names("data/box"), ["machine-id", "provision.toml"]);
    assert!(card.at("data/klatsch/factory-reset").exists(), "the daemon empties its own folder");
    assert!(!card.get("data/box/provision.toml").contains("a good key"));
    assert!(!card.at("boot/factory-reset.txt").exists());
    assert!(!card.at("run/klatsch-box/wpa_supplicant.conf").exists());
}

#[test]
fn a_reset_cut_off_by_a_power_cut_is_done_by_the_next_start() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.start();
    card.put("boot/factory-reset.now", "everything");
    assert!(card.start().contains("everything is forgotten"));
    assert!(!card.at("boot/factory-reset.now").exists());
}

#[test]
fn a_reset_that_says_neither_is_named_and_does_nothing() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.start();
    card.put("boot/factory-reset", "all of it");
    assert!(card.start().contains("factory-reset: found \"all of it\", expected the word pins"));
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("4711"));
    assert!(card.at("boot/factory-reset").exists());
}

/// Whatever instant the power goes at: each file here is replaced whole, so what a cut leaves is a
/// prefix of the steps. Undone here one by one from the end.
#[test]
fn a_power_cut_between_any_two_steps_loses_nothing() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.start();
    let applied = card.get("data/box/provision.toml");
    let rewritten = card.get("boot/klatsch.toml");
    let unread = {
        let line = applied.lines().find(|l| l.starts_with("fingerprint")).unwrap().to_owned();
        applied.replace(&line, "fingerprint = \"\"")
    };
    let layer = card.get("run/klatsch-box/klatsch.toml");
    for (file, kept) in [
        (rewritten.as_str(), unread.as_str()), // before the last step
        (CARD, &unread),                       // before the secrets left the card
        (CARD, ""),                            // before anything was kept
        (&rewritten, "fingerprint = \"x"),     // a damaged data partition
    ] {
        card.put("boot/klatsch.toml", file);
        card.put("boot/klatsch.new", "half a fi");
        card.put("data/box/provision.new", "half a fi");
        if kept.is_empty() {
            fs::remove_file(card.at("data/box/provision.toml")).unwrap();
        } else {
            card.put("data/box/provision.toml", kept);
        }
        card.start();
        assert!(!card.get("boot/klatsch.toml").contains("4711"));
        if !kept.ends_with('x') {
            assert_eq!(card.get("run/klatsch-box/klatsch.toml"), layer);
            assert_eq!(card.get("data/box/provision.toml"), applied);
        }
    }
    assert!(card.get("boot/klatsch-report.txt").contains("none is kept on this box"));
}

#[test]
fn a_secret_stays_on_the_card_while_the_box_cannot_keep_it() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    fs::remove_dir_all(card.at("data/box")).unwrap();
    card.put("data/box", "a file where the folder should be");
    let said = card.start();
    assert!(said.contains("REFUSED: not kept over the next start"), "{said}");
    assert_eq!(card.get("boot/klatsch.toml"), CARD);
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("4711"), "it holds for this run");
    fs::remove_file(card.at("data/box")).unwrap();
    assert!(card.start().contains("Nothing was refused"));
    assert!(!card.get("boot/klatsch.toml").contains("4711"));
}

#[test]
fn a_card_that_cannot_be_written_is_applied_and_a_reset_on_it_is_not_done() {
    let card = Box::new();
    card.put("boot/klatsch.toml", CARD);
    card.put("boot/factory-reset", "everything");
    // a file system of its own, read-only, as a damaged FAT is mounted
    let script = "mount --bind \"$1/boot\" \"$1/boot\" && mount -o remount,bind,ro \"$1/boot\" && \
                  exec \"$2\" provision --boot \"$1/boot\" --data \"$1/data\" --run \"$1/run\"";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(card.folder.path())
        .arg(env!("CARGO_BIN_EXE_klatsch"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if said.is_empty() {
        eprintln!("no mount namespaces here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(said.contains("factory-reset: not done, it could not be removed after"), "{said}");
    assert!(said.contains("the secrets could not be taken out of the file"), "{said}");
    assert!(card.get("run/klatsch-box/klatsch.toml").contains("kitchen"));
    assert!(!card.at("data/klatsch/factory-reset").exists());
    assert!(card.get("data/box/provision.toml").contains("fingerprint = \"\""), "read again");
}
