//! Places in folders of the test's own: whose, where, alive or dead.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn around(dir: &Path) -> Surroundings {
    for sub in ["run", "tmp", "rt"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    Surroundings {
        uid: nix::unistd::geteuid().as_raw(),
        home: Some(dir.join("home")),
        xdg_runtime: Some(dir.join("rt")),
        xdg_state: None,
        xdg_config: None,
        unit_runtime: None,
        unit_state: None,
        tmp: dir.join("tmp"),
        root: dir.to_owned(),
    }
}

fn held(claim: Claim) -> Held {
    match claim {
        Claim::Ours(held) => held,
        Claim::Live => panic!("should be free"),
    }
}

#[test]
fn instances_live_where_they_should() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let mut s = around(d);
    let at = |s: &Surroundings, whose, name| {
        let place = s.place(whose, name, None).unwrap();
        (place.socket, place.state.unwrap())
    };
    assert_eq!(
        at(&s, Whose::System, DEFAULT),
        (d.join("run/klatsch/control"), d.join("var/lib/klatsch"))
    );
    assert_eq!(
        at(&s, Whose::System, "lab_2"),
        (d.join("run/klatsch/lab_2/control"), d.join("var/lib/klatsch/lab_2"))
    );
    assert_eq!(
        at(&s, Whose::Person, DEFAULT),
        (d.join("rt/klatsch/control"), d.join("home/.local/state/klatsch"))
    );
    s.xdg_state = Some(d.join("st"));
    assert_eq!(
        at(&s, Whose::Person, "x"),
        (d.join("rt/klatsch/x/control"), d.join("st/klatsch/x"))
    );
    let place = s.place(Whose::Person, "x", Some(&d.join("my.sock"))).unwrap();
    assert_eq!(
        (&place.socket, place.images()),
        (&d.join("my.sock"), d.join("st/klatsch/x/images"))
    );
    let sources = s.sources(&place);
    assert_eq!(sources.person, Some(d.join("home/.config/klatsch/klatsch.toml")));
    assert_eq!(s.sources(&s.place(Whose::System, "x", None).unwrap()).person, None);
}

#[test]
fn root_in_a_terminal_is_a_person_and_a_unit_is_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = around(dir.path());
    s.uid = 0;
    assert_eq!(s.whose(false), Whose::Person);
    assert_eq!(s.whose(true), Whose::System);
    s.unit_runtime = Some("/run/klatsch".into());
    assert_eq!(s.whose(false), Whose::System);
    s.unit_runtime = Some("/run/user/1000/klatsch".into());
    assert_eq!(s.whose(false), Whose::Person);
    s.unit_runtime = Some(dir.path().join("rt/klatsch"));
    assert_eq!(s.whose(false), Whose::Person);
}

#[test]
fn names_that_would_escape_or_collide_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let s = around(dir.path());
    let longest = "a".repeat(MAX_NAME);
    assert!(s.place(Whose::Person, &longest, None).is_ok());
    let longer = "a".repeat(MAX_NAME + 1);
    for bad in ["", ".", "..", "a/b", "ä", "a b", "images", "control", "-x", &longer] {
        let error = s.place(Whose::Person, bad, None).unwrap_err();
        assert_eq!(error, NoPlace::BadName(bad.into()));
        assert!(s.sockets(None, Some(bad)).is_err());
    }
    let fits = dir.path().join("s".repeat(MAX_SOCKET_PATH - dir.path().as_os_str().len() - 1));
    assert!(s.place(Whose::Person, DEFAULT, Some(&fits)).is_ok());
    let longer = fits.with_extension("x");
    assert!(matches!(s.place(Whose::Person, "x", Some(&longer)), Err(NoPlace::TooLong(_))));
}

#[test]
fn without_a_runtime_folder_a_private_one_is_made_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = around(dir.path());
    s.xdg_runtime = Some(dir.path().join("nowhere"));
    let private = dir.path().join(format!("tmp/klatsch-{}", s.uid));
    let place = s.place(Whose::Person, DEFAULT, None).unwrap();
    assert_eq!(place.socket, private.join("control"));
    assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o700);

    let refused = |s: &Surroundings, word: &str| {
        let error = s.place(Whose::Person, DEFAULT, None).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    std::fs::set_permissions(&private, PermissionsExt::from_mode(0o755)).unwrap();
    refused(&s, "open to others");
    std::fs::remove_dir_all(&private).unwrap();
    symlink(dir.path().join("rt"), &private).unwrap();
    refused(&s, "symbolic link");
    std::fs::remove_file(&private).unwrap();
    std::fs::write(&private, "").unwrap();
    refused(&s, "no folder");
    std::fs::remove_file(&private).unwrap();
    std::fs::create_dir(dir.path().join(format!("tmp/klatsch-{}", s.uid + 1))).unwrap();
    s.uid += 1;
    refused(&s, "somebody else");
}

#[test]
fn a_dead_nodes_socket_is_replaced_and_a_live_ones_never() {
    let dir = tempfile::tempdir().unwrap();
    let place = around(dir.path()).place(Whose::Person, DEFAULT, None).unwrap();
    drop(UnixListener::bind(&place.socket).unwrap());
    assert!(place.socket.exists() && !is_live(&place.socket));
    let ours = held(place.claim(false).unwrap());
    assert!(!place.socket.exists(), "the dead node's file is gone");
    let listener = UnixListener::bind(&place.socket).unwrap();
    assert!(matches!(place.claim(false), Ok(Claim::Live)));
    assert!(place.socket.exists());
    drop((ours, listener));
    assert!(!place.socket.exists(), "ours is removed at the end");
    // A program without our lock that listens there is live too.
    let listener = UnixListener::bind(&place.socket).unwrap();
    assert!(matches!(place.claim(false), Ok(Claim::Live)));
    let activated = held(place.claim(true).unwrap());
    drop((activated, listener));
    assert!(place.socket.exists(), "systemd's file is systemd's");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let place = around(dir.path()).place(Whose::Person, DEFAULT, None).unwrap();
    std::fs::write(&place.socket, "precious").unwrap();
    assert!(matches!(place.claim(false), Err(NoPlace::InTheWay(_))));
    assert_eq!(std::fs::read_to_string(&place.socket).unwrap(), "precious");
    symlink("elsewhere", dir.path().join("s.lock")).unwrap();
    let place = Place { socket: dir.path().join("s"), ..place };
    assert!(matches!(place.claim(false), Err(NoPlace::Lock(..))));
}

#[test]
fn the_first_free_instance_is_claimed_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let s = around(dir.path());
    let mut all = Vec::new();
    for n in 1..=MAX_INSTANCES {
        let (place, held) = s.claim_free(Whose::Person).unwrap();
        let expected = if n == 1 { "default".into() } else { format!("default-{n}") };
        assert_eq!(place.name, expected);
        all.push(held);
    }
    assert_eq!(s.claim_free(Whose::Person).unwrap_err(), NoPlace::AllTaken);
    all.remove(1);
    assert_eq!(s.claim_free(Whose::Person).unwrap().0.name, "default-2");
}

#[test]
fn a_client_tries_its_own_node_then_the_only_other_then_the_systems() {
    let dir = tempfile::tempdir().unwrap();
    let s = around(dir.path());
    let own = dir.path().join("rt/klatsch");
    let system = dir.path().join("run/klatsch/control");
    assert_eq!(s.sockets(Some(Path::new("x.sock")), None).unwrap(), [Path::new("x.sock")]);
    assert_eq!(s.sockets(None, None).unwrap(), [own.join("control"), system.clone()]);
    assert_eq!(
        s.sockets(None, Some("lab")).unwrap(),
        [own.join("lab/control"), dir.path().join("run/klatsch/lab/control")]
    );
    let listen = |name| {
        let place = s.place(Whose::Person, name, None).unwrap();
        let held = held(place.claim(false).unwrap());
        (UnixListener::bind(place.socket).unwrap(), held)
    };
    let b = listen("b");
    let one = [own.join("control"), own.join("b/control"), system.clone()];
    assert_eq!(s.sockets(None, None).unwrap(), one);
    let c = listen("c");
    assert_eq!(s.sockets(None, None), Err(NoneToTry::Several(vec!["b".into(), "c".into()])));
    let d = listen(DEFAULT);
    assert_eq!(s.sockets(None, None).unwrap(), [own.join("control"), system]);
    drop((b, c, d));
}

#[test]
fn a_state_folder_that_cannot_be_had_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = around(dir.path());
    let place = s.place(Whose::Person, DEFAULT, None).unwrap();
    let state = place.hold_state().unwrap();
    assert_eq!(std::fs::metadata(&state.path).unwrap().mode() & 0o777, 0o700);
    let again = Place { socket: dir.path().join("other"), ..place.clone() };
    assert!(again.hold_state().unwrap_err().contains("another node of this name"));
    drop(state);
    assert!(again.hold_state().is_ok());
    std::fs::write(dir.path().join("file"), "").unwrap();
    s.xdg_state = Some(dir.path().join("file"));
    let error = s.place(Whose::Person, DEFAULT, None).unwrap().hold_state().unwrap_err();
    assert!(error.ends_with("no such file or folder: nothing is kept beyond this run"), "{error}");
    (s.xdg_state, s.home) = (None, None);
    let place = s.place(Whose::Person, DEFAULT, None).unwrap();
    assert!(place.hold_state().unwrap_err().contains("HOME"));
    assert_eq!(place.images(), dir.path().join("rt/klatsch/images"));
}
