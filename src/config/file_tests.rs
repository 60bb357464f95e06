//! Files laid over settings: the student programs' as they ship them, ours, and any bytes.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{
    AcceptFrom, Directory, Files, Hello, History, Keep, Link, Room, Slcp, User, Web, WhenFull,
};
use crate::model::limits::{MAX_LINK_PEERS, MAX_USERS};

const FILE: &str = "/etc/chat/config.toml";

fn lay(text: &str) -> (Settings, Vec<String>) {
    let mut settings = Settings::default();
    let mut notes = Vec::new();
    let home = Some(Path::new("/home/anna"));
    if let Err(note) = apply(text, Path::new(FILE), home, &mut settings, &mut notes) {
        notes.push(note);
    }
    let cut = |n: Note| n.to_string().trim_start_matches(FILE).trim_start_matches(": ").to_owned();
    (settings, notes.into_iter().map(cut).collect())
}

fn user(handle: &str, port: Option<u16>, autoreply: &str) -> User {
    let handle = Handle::try_from(handle).ok();
    User { handle, port, autoreply: autoreply.into(), ..User::default() }
}

macro_rules! theirs {
    ($name:literal) => {
        lay(include_str!(concat!("../../tests/data/config/", $name)))
    };
}

#[test]
fn program_001s_users_all_become_ours() {
    let (s, notes) = theirs!("001.toml");
    let mut michael = user("Michael", Some(12345), "Bin nicht da!");
    michael.image_port = Some(18045);
    let mut fabian = user("Fabian", Some(12346), "Bin nicht da!");
    fabian.image_port = Some(18046);
    assert_eq!(s.users, [michael, fabian]);
    assert_eq!((s.slcp.port, s.slcp.broadcast), (4001, vec![[127, 255, 255, 255].into()]));
    assert_eq!(s.imagepath, Path::new("/etc/chat/bilder"));
    let expected = "another chat's file; not used here: network.buffer_size, id, host_ip, ipc_port";
    assert_eq!(notes, [expected], "one line for all that is not used");
}

#[test]
fn flat_files_of_002_pollo_khan_and_maximilian() {
    let (s, notes) = theirs!("002-main.toml");
    let nobody = User { inactive: true, ..user("", Some(5001), "Gerade nicht da.") };
    assert_eq!((s.users, notes), (vec![nobody], vec![]));
    assert_eq!(s.imagepath, Path::new("/etc/chat/received"));

    let (s, notes) = theirs!("khan.toml");
    assert_eq!(s.users, [user("Alice", Some(5011), "Nicht da.")]);
    assert_eq!(notes, ["another chat's file; not used here: colors.Alice, colors.Bob"]);

    let (s, notes) = theirs!("maximilian.toml");
    assert_eq!(s.users, [user("user_name", Some(5005), "Später.")]);
    assert_eq!((s.slcp.broadcast, notes), (vec![[127, 255, 255, 255].into()], vec![]));
}

#[test]
fn files_with_sections_of_no_ipc_robin_tuna_and_rajan() {
    let (s, notes) = theirs!("002-no-ipc.toml");
    assert_eq!((s.users, notes), (vec![user("Ani", Some(5001), "weg")], vec![]));
    assert_eq!((s.slcp.image_port, s.imagepath), (6001, "/etc/chat/bilder".into()));

    let (s, notes) = theirs!("robin.toml");
    assert_eq!(s.users, [user("marcel", Some(5001), "Nicht verfügbar.")]);
    assert_eq!((s.port_min, s.port_max, s.open_images), (5000, 5010, true));
    assert_eq!((s.max_image, s.slcp.broadcast), (5_242_880, vec![[255; 4].into()]));
    let expected = "another chat's file; not used here: network.local_ip, system.socket_timeout";
    assert_eq!(notes, [expected]);

    let (s, notes) = theirs!("tuna.toml");
    assert_eq!((s.users, notes), (vec![user("Tuna", Some(5000), "Bin nicht da")], vec![]));
    assert_eq!((s.port_min, s.port_max, s.slcp.port), (5000, 5010, 4002));

    let (s, notes) = theirs!("rajan.toml");
    assert_eq!((s.users, notes), (vec![user("Alice", Some(5010), "Nicht da.")], vec![]));
}

#[test]
fn the_documents_capitals_and_daniyals_port() {
    let (s, notes) = theirs!("documents.toml");
    assert_eq!((s.users, notes), (vec![user("Ani", Some(5001), "Abwesend")], vec![]));
    assert_eq!(s.imagepath, Path::new("/srv/bilder"));

    let (s, notes) = theirs!("daniyal.toml");
    assert_eq!(s.users[0].port, Some(500));
    let expected = ":2: port: found 500, expected 1024 or more: if it cannot be had, one of the \
                    range is used";
    assert_eq!(notes, [expected]);
}

#[test]
fn the_hello_chats_ini_is_read() {
    let (s, notes) = theirs!("004.ini");
    assert_eq!(notes, Vec::<String>::new());
    let hello = &s.hello;
    assert_eq!((hello.enabled, hello.port), (true, 9876));
    assert_eq!(hello.broadcast, [std::net::Ipv4Addr::new(172, 31, 255, 255)]);
    assert_eq!(hello.peer_id.as_deref(), Some("cesar-peer"));
    assert_eq!(s.users, [user("cesar-peer", None, &User::default().autoreply)]);
}

#[test]
fn what_is_not_filled_in_there_is_named() {
    let text =
        "[NETWORK_INFO]\r\nport: 9877\r\n; a comment\r\nbroadcast_address =\r\ncolor = x\r\n";
    let (s, notes) = lay(text);
    assert_eq!((s.hello.port, s.hello.peer_id), (9877, None));
    assert_eq!(
        notes,
        [
            ":4: broadcast_address: not filled in: write an address such as 172.31.255.255 there; \"\" stays",
            "peer_id: not filled in: write your name in the chat there; \"\" stays",
            "another chat's file; not used here: color",
        ]
    );
    let (s, notes) =
        lay("[network_info]\nport = no\nbroadcast_address = \"10.0.0.255\"\npeer_id = a\n");
    assert_eq!((s.hello.port, s.hello.broadcast.len()), (9876, 1));
    assert_eq!(notes, [":2: port: found no, expected a port from 1 to 65535; 9876 stays"]);
}

#[test]
fn a_wrong_value_says_all_and_leaves_what_stood_below() {
    for (text, line) in [
        (
            "\nport = 70000",
            ":2: port: found 70000, expected a port from 1 to 65535, or auto; auto stays",
        ),
        ("port = []", ":1: port: found a list, expected one port, or [first, last]; auto stays"),
        (
            "port = [1,2,3]",
            ":1: port: found a list, expected one port, or [first, last]; auto stays",
        ),
        ("bell = 3", ":1: bell: found 3, expected on or off; off stays"),
        ("Bell = \"perhaps so\"", ":1: Bell: found \"perhaps so\", expected on or off; off stays"),
        (
            "autoreply = false",
            ":1: autoreply: found false, expected a text of at most 400 bytes; \"I am away at the moment.\" stays",
        ),
        ("max-image = -1", ":1: max-image: found -1, expected 1K to 1G; 33554432 stays"),
        ("[slcp]\nannounce = 1.5", ":2: slcp.announce: found 1.5, expected 5 to 3600; 60 stays"),
        (
            "[slcp]\nbroadcast = [1]",
            ":2: slcp.broadcast: found 1, expected up to 8 IPv4 addresses with commas between, or nothing; \"\" stays",
        ),
        (
            "imagepath = 'C:\\pics'",
            ":1: imagepath: found C:\\pics, expected an absolute path, such as /srv/images; /var/lib/klatsch/images stays",
        ),
        (
            "port = [5010, 5000]",
            ":1: port-min: found 5010 to 5000, expected the lower one first; 5010 to 5072 stays",
        ),
        ("handel = \"x\"", ":1: handel: no such key, the nearest is handle; not used"),
        ("[slcp]\nprot = 3", ":2: slcp.prot: no such key, the nearest is slcp.port; not used"),
        ("users = [1]", ":1: users: found 1, expected [[users]] and its keys"),
        (
            "[[users]]\nport = 5010",
            ":1: users[1]: found no handle, expected handle = \"NAME\"; not used",
        ),
    ] {
        let (settings, notes) = lay(text);
        assert_eq!(notes, [line], "{text}");
        assert_eq!(settings, Settings::default(), "{text}");
    }
}

#[test]
fn a_handle_that_the_wire_cannot_carry_gives_way_to_the_nearest() {
    let (s, notes) = lay("handle = \"Max Muster\"");
    assert_eq!(s.users[0].handle, Handle::try_from("MaxMuster").ok());
    assert!(notes[0].ends_with("; MaxMuster is used"), "{notes:?}");
}

#[test]
fn a_path_may_start_at_home_and_numbers_may_be_quoted() {
    let (s, notes) =
        lay("\u{feff}imagepath = \"~/pics\"\r\nport = \"5_0\"\r\nmax-image = 0x400\r\n");
    assert_eq!((s.imagepath, s.max_image), ("/home/anna/pics".into(), 1024));
    assert_eq!(notes.len(), 1, "5_0 is no number in quotes");
    assert_eq!(lay("port = \"5011\"").0.users[0].port, Some(5011));
    assert_eq!(lay("port = 5_011").0.users[0].port, Some(5011));
    assert_eq!(lay("imagepath = \"\"").0, Settings::default());
}

#[test]
fn users_share_what_stands_above_them_and_never_a_handle_or_port() {
    let text = "autoreply = \"later\"\n[[users]]\nhandle = \"anna\"\nport = 5010\n\
                [[users]]\nhandle = \"ben\"\nport = 5010\nautoreply = \"\"\n\
                [[users]]\nhandle = \"ANNA\"\n";
    let (s, notes) = lay(text);
    assert_eq!(s.users, [user("anna", Some(5010), "later"), user("ben", None, "")]);
    assert_eq!(notes.len(), 2);
    let (s, notes) = lay("handle = \"x\"\n[[users]]\nhandle = \"anna\"");
    assert_eq!(s.users, [user("anna", None, &User::default().autoreply)]);
    assert_eq!(notes, [":1: handle: found beside [[users]], which name the users: not used"]);
}

#[test]
fn one_user_and_one_note_past_the_limit() {
    let users = |n: usize| -> String {
        (0..n).map(|i| format!("[[users]]\nhandle = \"u{i}\"\n")).collect()
    };
    assert_eq!(lay(&users(MAX_USERS)).1, [""; 0]);
    let (s, notes) = lay(&users(MAX_USERS + 1));
    assert_eq!((s.users.len(), notes.len()), (MAX_USERS, 1));
    let wrong = |n: usize| -> String { (0..n).map(|i| format!("nokey{i} = 1\n")).collect() };
    assert_eq!(lay(&wrong(MAX_NOTES)).1.len(), MAX_NOTES);
    let notes = lay(&wrong(MAX_NOTES + 1)).1;
    assert_eq!(notes.len(), MAX_NOTES + 1);
    assert_eq!(notes[MAX_NOTES], "1 more lines like these");
}

#[test]
fn another_chats_file_that_is_wrong_without_end_makes_no_endless_notes() {
    let wrong = format!("[NETWORK_INFO]\n{}", "broadcast_address = x\n".repeat(MAX_NOTES + 5));
    assert_eq!(lay(&wrong).1.len(), MAX_NOTES + 1);
}

#[test]
fn the_shipped_file_names_every_key_with_its_default() {
    let shipped = include_str!("../../systemd/klatsch.toml");
    assert_eq!(lay(shipped), (Settings::default(), vec![]));
    let mut section = String::new();
    let mut keys = Vec::new();
    let mut active = String::new();
    for line in shipped.lines() {
        let bare = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        active += &format!("{bare}\n");
        if let Some(name) = bare.strip_prefix('[') {
            section = name.replace(']', ".");
        } else if let Some((key, _)) = bare.split_once(" = ").filter(|_| bare != line) {
            keys.push(format!("{section}{key}"));
        }
    }
    let all: Vec<&str> = rows::rows().map(|row| row.key).collect();
    assert_eq!(keys, all);
    // Laid over settings that differ everywhere, it restores every default.
    let mut settings = Settings {
        users: vec![User {
            handle: Handle::try_from("x").ok(),
            port: Some(1),
            image_port: Some(2),
            inactive: true,
            autoreply: "x".into(),
        }],
        outbox_keep: 60,
        port_min: 1,
        port_max: 2,
        imagepath: "/x".into(),
        max_image: 9_999,
        open_images: true,
        bell: true,
        led: "ACT".into(),
        interfaces: vec!["eth0".into()],
        socket: Some("/x".into()),
        appliance: true,
        serial: Vec::new(),
        history: History { keep: Keep::Nothing, entries: 100, bytes: 1 << 20 },
        files: Files {
            quota: 1 << 20,
            when_full: WhenFull::Refuse,
            accept_images: AcceptFrom::Nobody,
            accept_any: AcceptFrom::Pinned,
            accept_size: 1 << 10,
        },
        gateway: true,
        slcp: Slcp {
            enabled: false,
            port: 1,
            broadcast: vec![[1, 2, 3, 4].into()],
            announce: 6,
            image_port: 1,
        },
        link: Link {
            enabled: false,
            port: 1,
            beacon: false,
            announce: 10,
            read: true,
            tell: true,
            peers: Vec::new(),
        },
        hello: Hello {
            enabled: true,
            port: 1,
            peer_id: Some("x".into()),
            broadcast: vec![[1, 2, 3, 4].into()],
            announce: 6,
            web_ports: vec![1],
            web_address: [0; 4].into(),
        },
        room: Room {
            enabled: true,
            server: false,
            port: 1,
            connect: Some("1.2.3.4:5".parse().unwrap()),
            discover: true,
            chat_port: 2_000,
        },
        directory: Directory {
            enabled: true,
            server: false,
            port: 1,
            connect: Some("1.2.3.4:5".parse().unwrap()),
            chat_port: 2,
            loopback: true,
        },
        auto_accept: vec!["x".into()],
        web: Web {
            enabled: false,
            listen: Some([127, 0, 0, 1].into()),
            port: 1,
            names: vec!["x".into()],
            open: false,
            pin: "x".into(),
            operator_pin: "x".into(),
            guests: 1,
            stay: 1,
            upload: 9_999,
            quota: 9_999_999,
            metrics: true,
            captive: true,
        },
    };
    let mut notes = Vec::new();
    apply(&active, Path::new(FILE), None, &mut settings, &mut notes).unwrap();
    assert_eq!((settings, notes), (Settings::default(), vec![]));
}

proptest! {
    #[test]
    fn any_text_is_taken_without_panic(text in "\\PC{0,200}") {
        lay(&text);
    }

    #[test]
    fn any_value_under_any_known_key_leaves_sound_settings(
        lines in prop::collection::vec(
            ("(handle|port|Port|autoreply|inactive|imagepath|max-image|whoisport|users|name|\
              \\[\\[users\\]\\]\n?|\\[slcp\\]\n|\\[network\\]\n|broadcast|port_min|port-max|announce)",
             "( = )?",
             "(\"[^\"\\\\\n]{0,9}\"|-?[0-9]{1,6}|true|\\[[0-9]{1,5}, [0-9]{1,5}\\]|\\[\\]|\\{\\}|)"),
            0..6)
    ) {
        let text: String = lines.iter().map(|(k, e, v)| format!("{k}{e}{v}\n")).collect();
        let (s, _) = lay(&text);
        prop_assert!(!s.users.is_empty() && s.users.len() <= MAX_USERS);
        prop_assert!(s.port_min > 0 && s.port_min <= s.port_max);
        prop_assert!(s.imagepath.is_absolute());
    }
}

#[test]
fn a_named_box_is_read_and_a_wrong_one_is_said() {
    let (s, notes) = lay("[[link.peer]]\naddress = \"10.0.0.7\"\n\
         fingerprint = \"00112233445566778899aabbccddeeff\"\n\
         [[link.peer]]\naddress = \"[fd00::7]:6000\"\n");
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(s.link.peers[0].at, "10.0.0.7:5009".parse().unwrap());
    assert!(s.link.peers[0].fingerprint.is_some());
    assert_eq!(s.link.peers[1].at, "[fd00::7]:6000".parse().unwrap());
    for (wrong, said) in [
        ("address = \"here\"", "line 2: link.peer.address: found here, expected an address"),
        ("fingerprint = \"12\"", "link.peer.fingerprint: found 12: not a fingerprint"),
        ("", "link.peer.address: found none, expected an address"),
    ] {
        let (s, notes) = lay(&format!("[[link.peer]]\n{wrong}\n"));
        assert!(s.link.peers.is_empty(), "{wrong}");
        let words = said.trim_start_matches("line 2: ");
        assert!(notes[0].contains(words), "{notes:?}");
    }
    let many = "[[link.peer]]\naddress = \"10.0.0.7\"\n".repeat(MAX_LINK_PEERS + 1);
    let (s, notes) = lay(&many);
    assert_eq!((s.link.peers.len(), notes.len()), (MAX_LINK_PEERS, 1));
}

#[test]
fn the_table_serial_is_of_all_lines_and_names_none() {
    let lines = "[[serial]]\ndevice = \"/dev/ttyAMA0\"\n[[serial]]\ndevice = \"/dev/ttyGS0\"\n";
    let (mut settings, notes) = lay(lines);
    assert_eq!(notes, Vec::<String>::new());
    let mut notes = Vec::new();
    let text = "[serial]\nspeed = 9600\npin = \"4711\"\ncolour = true\nflow = 3\ndevice = \"/x\"\n";
    super::apply(text, Path::new("/etc/x.toml"), None, &mut settings, &mut notes).unwrap();
    for (line, device) in settings.serial.iter().zip(["/dev/ttyAMA0", "/dev/ttyGS0"]) {
        assert_eq!((line.speed, line.colour, &*line.device), (9_600, true, Path::new(device)));
        assert_eq!(line.pin.as_ref().map(|pin| pin.0.as_str()), Some("4711"));
    }
    let said: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("x.toml:5: serial.flow: found 3, expected "), "{said:?}");
    assert!(said[1].contains("serial.device: no such key"), "{said:?}");
}

#[test]
fn serial_lines_are_read_and_what_is_wrong_with_them_is_said() {
    use crate::config::serial::{Flow, MAX_SERIAL, Mode};
    let (s, notes) = lay(
        "[[serial]]\ndevice = \"/dev/ttyAMA0\"\nspeed = 9600\nflow = \"hardware\"\npin = 4711\n\
         [[serial]]\ndevice = \"/dev/ttyGS0\"\nmode = \"json\"\noperator = false\nspede = 3\n\
         [[serial]]\nspeed = 9600\n[[serial]]\ndevice = \"/dev/ttyAMA0\"\n",
    );
    let [first, second] = s.serial.as_slice() else { panic!("{:?}", s.serial) };
    assert_eq!((first.speed, first.flow, first.operator), (9_600, Flow::Hardware, true));
    assert_eq!(first.pin.as_ref().map(|p| p.0.as_str()), Some("4711"));
    assert_eq!((second.mode, second.operator), (Mode::Json, false));
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("found spede, expected one of device, on, speed"), "{notes:?}");
    assert!(notes[1].contains("found no device"), "{notes:?}");
    assert!(notes[2].contains("/dev/ttyAMA0 again"), "{notes:?}");
    let many: String =
        (0..=MAX_SERIAL).map(|n| format!("[[serial]]\ndevice = \"/dev/tty{n}\"\n")).collect();
    let (s, notes) = lay(&many);
    assert_eq!((s.serial.len(), notes.len()), (MAX_SERIAL, 1));
}
