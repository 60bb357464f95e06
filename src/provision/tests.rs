//! What becomes of cards, good and bad.

use super::*;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn of(text: &str) -> Plan {
    plan(Some(text.as_bytes()), &Values::new())
}

fn refused(plan: &Plan) -> Vec<String> {
    plan.lines.iter().filter(|line| line.refused).map(ToString::to_string).collect()
}

fn file<'a>(files: &'a [Output], part: &str) -> &'a str {
    &files.iter().find(|file| file.path.contains(part)).expect(part).text
}

/// Everything that the issue names, at once.
const FULL: &str = r#"# our kitchen
handle = "kitchen"

[network]
mode = "fixed"
address = "192.168.1.5/24"   # ask Otto
gateway = "192.168.1.1"
dns = ["192.168.1.1", "2001:db8::1"]

[wifi]
country = "de"
ssid = "Küche \"5\""
key = "pass \" phrase"

[serial]
speed = 9600
pin = "4711"

[web]
enabled = false
pin = '''a-guest's'''
operator-pin = 1234

[time]
server = "none"

[ssh]
key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbcdefghijklmnopqrstuvwxyz01234 otto@laptop, upstairs"
"#;

#[test]
fn a_full_card_is_applied_and_loses_only_its_secrets() {
    let plan = of(FULL);
    assert_eq!(refused(&plan), [""; 0]);
    assert_eq!(plan.values["web.operator-pin"], "1234");
    assert_eq!(plan.values["wifi.country"], "DE");
    let rewritten = plan.rewritten.unwrap();
    for secret in ["pass", "4711", "a-guest", "1234\n"] {
        assert!(!rewritten.contains(secret), "{secret} in {rewritten}");
    }
    let kept = format!("\"{KEPT}\"");
    let expected = FULL
        .replace(r#""pass \" phrase""#, &kept)
        .replace("\"4711\"", &kept)
        .replace("'''a-guest's'''", &kept)
        .replace("= 1234", &format!("= {kept}"));
    assert_eq!(rewritten, expected, "comments, order and all else stay");
    // the rewritten file means the same
    let again = super::plan(Some(rewritten.as_bytes()), &plan.values);
    assert_eq!(refused(&again), [""; 0]);
    assert_eq!((again.values, again.rewritten, again.changed.len()), (plan.values, None, 0));
}

#[test]
fn a_secret_is_taken_out_however_it_is_written() {
    let cases = [
        "wifi = { country = 'DE', ssid = 'x', key = 'geheim123' }",
        "wifi.country = 'DE'\nwifi.ssid = 'x'\n\"wifi\".key = \"\"\"\ngeheim123\"\"\" # taken",
        "[wifi]\r\ncountry = 'DE'\r\nSSID = 'x'\r\nKey='geheim123'",
        "\u{feff}[wifi]\ncountry = 'DE'\nssid = 'ü'\nkey = '''geheim123'''\n",
    ];
    for text in cases {
        let plan = of(text);
        assert_eq!(refused(&plan), [""; 0], "{text}");
        assert_eq!(plan.values["wifi.key"], "geheim123");
        let left = plan.rewritten.unwrap();
        assert!(!left.contains("geheim") && left.contains(KEPT), "{left}");
        assert_eq!(left.starts_with('\u{feff}'), text.starts_with('\u{feff}'));
        let again = super::plan(Some(left.as_bytes()), &plan.values);
        assert_eq!((again.values, again.rewritten), (plan.values, None));
    }
}

/// What the image puts on the card: as it is it sets nothing, and each line in it does something.
#[test]
fn the_shipped_card_is_taken_as_it_is_and_line_by_line() {
    let shipped = include_str!("../../board/system/klatsch.toml");
    let plan = of(shipped);
    assert!(plan.lines.is_empty() && plan.values.is_empty(), "{:?}", plan.lines);
    let mut table = "";
    let mut keys = 0;
    for line in shipped.lines() {
        if line.starts_with('[') {
            table = line;
        }
        let Some(setting) = line.strip_prefix('#').filter(|l| l.starts_with(char::is_lowercase))
        else {
            continue;
        };
        let with = match setting.split(' ').next().unwrap_or_default() {
            "gateway" => "address = '192.168.1.5/24'\n",
            _ => "",
        };
        let wifi = match table {
            "[wifi]" if !setting.starts_with("country") => "country = 'CH'\n",
            _ => "",
        };
        let ssid =
            if table == "[wifi]" && !setting.starts_with("ssid") { "ssid = 'x'\n" } else { "" };
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbcdefghijklmnopqrstuvwxyz you@laptop";
        let setting = setting.replace("ssh-ed25519 AAAA... you@laptop", key);
        let plan = of(&format!("{table}\n{wifi}{ssid}{with}{setting}\n"));
        assert_eq!(refused(&plan), [""; 0], "{setting}");
        keys += plan.lines.len();
    }
    assert!(keys >= 19, "{keys}");
}

#[test]
fn its_files_are_those_that_the_system_reads() {
    let plan = of(FULL);
    let files = outputs(&plan.values);
    let wired = file(&files, "wired");
    for line in ["DHCP=no", "Address=192.168.1.5/24", "Gateway=192.168.1.1", "DNS=2001:db8::1"] {
        assert!(wired.lines().any(|l| l == line), "{line} in {wired}");
    }
    assert!(wired.contains("UseNTP=no"));
    assert_eq!(file(&files, "timesyncd"), "[Time]\nNTP=\nFallbackNTP=\n");
    let client = file(&files, "wpa_supplicant");
    assert!(client.contains("country=DE\n") && client.contains("psk=\"pass \" phrase\"\n"));
    assert!(client.contains("ssid=4bc3bc6368652022352 2\n".replace(' ', "").as_str()), "{client}");
    assert!(file(&files, "ssh").ends_with("otto@laptop, upstairs\n"));
    // klatsch's own layer is read as any other file of it
    let mut settings = crate::config::Settings::default();
    settings.serial.push(crate::config::Serial::on(std::path::Path::new("/dev/ttyAMA0")));
    let mut notes = Vec::new();
    let path = std::path::Path::new("/run/klatsch-box/klatsch.toml");
    crate::config::file::apply(file(&files, LAYER), path, None, &mut settings, &mut notes).unwrap();
    assert_eq!(notes, []);
    assert_eq!(settings.users[0].handle.as_ref().map(|h| h.as_str()), Some("kitchen"));
    assert!(!settings.web.enabled && settings.web.pin == "a-guest's");
    assert_eq!(settings.serial[0].speed, 9_600);
    assert_eq!(settings.serial[0].pin.as_ref().map(|pin| pin.0.as_str()), Some("4711"));
    for output in &files {
        let secret = ["wpa_", "hostapd", "ssh/", LAYER].iter().any(|p| output.path.contains(p));
        assert_eq!(output.read == Readers::All, !secret, "{}", output.path);
        assert!(FILES.contains(&output.path));
    }
}

#[test]
fn an_access_point_gives_addresses_and_answers_captive_probes() {
    let plan =
        of("[wifi]\nmode = 'access-point'\ncountry = 'CZ'\nssid = 'klatsch'\nkey = 'kaffeekuchen'");
    let files = outputs(&plan.values);
    let point = file(&files, "hostapd");
    for line in ["country_code=CZ", "ssid2=6b6c6174736368", "wpa_passphrase=kaffeekuchen", "wpa=2"]
    {
        assert!(point.lines().any(|l| l == line), "{line} in {point}");
    }
    let network = file(&files, "wireless");
    assert!(network.contains("DHCPServer=yes") && network.contains("Address=192.168.84.1/24"));
    assert!(file(&files, "resolved").contains("DNSStubListenerExtra=192.168.84.1"));
    assert!(file(&files, "hosts").contains("192.168.84.1 captive.apple.com"));
    assert!(file(&files, LAYER).contains("web.captive = \"on\""));
    assert!(!files.iter().any(|file| file.path.contains("wpa_supplicant")));
    let open = of(
        "[wifi]\nmode = 'access-point'\ncountry = 'CZ'\nssid = 'klatsch'\n[web]\ncaptive = false",
    );
    let files = outputs(&open.values);
    assert!(!file(&files, "hostapd").contains("wpa"));
    assert!(file(&files, LAYER).contains("web.captive = \"false\""));
}

#[test]
fn without_a_file_or_with_an_empty_one_nothing_but_the_image_speaks() {
    let old = values(&[("handle", "x"), ("wifi.ssid", "y"), ("wifi.country", "DE")]);
    for bytes in [None, Some(&b""[..]), Some(b"\xef\xbb\xbf# nothing\r\n")] {
        let plan = plan(bytes, &old);
        assert!(plan.values.is_empty() && refused(&plan).is_empty());
        let files = outputs(&plan.values);
        assert_eq!(files.len(), 1, "klatsch's own layer, and it says nothing");
        assert_eq!(files[0].text.lines().count(), 1);
    }
}

#[test]
fn a_wrong_value_is_refused_alone_with_its_line_and_the_last_good_one_stays() {
    let old = values(&[("handle", "anna"), ("serial.speed", "9600"), ("web.pin", "4711")]);
    let text = "handle = \"a b\"\r\nbell = true\r\n[serial]\r\nspeed = 9601\r\n[web]\r\n\
                pin = \"with blank\"\r\nstay = 7\r\nport = \"x\"\r\n";
    let plan = plan(Some(text.as_bytes()), &old);
    let expected = [
        "line 1: handle: REFUSED: found \"a b\", expected ",
        "line 4: serial.speed: REFUSED: found 9601, expected a standard speed",
        "line 6: web.pin: REFUSED: this will not do, expected up to 64",
        "line 8: web.port: REFUSED: found x, expected a port",
    ];
    let refused = refused(&plan);
    assert_eq!(refused.len(), expected.len(), "{refused:#?}");
    for (line, expected) in refused.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(refused[0].ends_with("anna stays") && refused[3].ends_with("the image's own stays"));
    assert!(refused[2].ends_with("the one before stays"));
    assert!(!refused[2].contains("blank\"") && plan.rewritten.is_none());
    let stays = [("handle", "anna"), ("serial.speed", "9600"), ("web.pin", "4711")];
    let applied = [("bell", "true"), ("web.stay", "7")];
    assert_eq!(plan.values, values(&[&stays[..], &applied[..]].concat()));
    assert_eq!(plan.changed, ["bell", "web.stay"]);
}

#[test]
fn what_does_not_hold_together_stays_as_it_was() {
    let good = [("wifi.ssid", "home"), ("wifi.country", "DE"), ("wifi.key", "password1")];
    let cases = [
        ("[wifi]\nssid = 'new'\nkey = 'password2'", "no country"),
        ("[wifi]\ncountry = 'DE'", "no network's name"),
        ("[wifi]\ncountry = 'DE'\nssid = 'x'\ngateway = '10.0.0.1'", "a gateway alone"),
        ("[wifi]\nmode='access-point'\ncountry='DE'\nssid='x'\naddress='10.0.0.1/30'", "too small"),
        (
            "[wifi]\ncountry='DE'\nssid='x'\naddress='10.0.0.2/24'\ngateway='10.1.0.1'",
            "the gateway 10.1.0.1",
        ),
    ];
    for (text, why) in cases {
        let plan = plan(Some(text.as_bytes()), &values(&good));
        let lines = refused(&plan);
        assert!(lines.len() == 1 && lines[0].contains(why), "{lines:?}");
        assert!(lines[0].ends_with("all of it stays as it was"));
        assert_eq!(plan.values, values(&good), "{text}");
        assert_eq!(plan.rewritten, None, "what was not taken over is not taken out");
    }
    let cases = [
        ("[network]\nmode = 'fixed'", "no address"),
        ("[network]\nmode = 'dhcp'\naddress = '10.0.0.1/24'", "found an address"),
        ("[network]\naddress = '10.0.0.1/24'\ngateway = '10.0.0.1'", "the gateway"),
        ("port-min = 6000\nport-max = 5900", "the lower one first"),
    ];
    for (text, why) in cases {
        let plan = of(text);
        let lines = refused(&plan);
        assert!(lines.len() == 1 && lines[0].contains(why), "{lines:?}");
        assert!(plan.values.is_empty() && plan.changed.is_empty(), "{text}");
    }
}

#[test]
fn values_that_would_mean_something_else_in_a_file_are_refused() {
    let cases = [
        ("network.address", "192.168.1.300/24"),
        ("network.address", "192.168.1.0/24"),
        ("network.address", "192.168.1.255/24"),
        ("network.address", "127.0.0.1/8"),
        ("network.address", "10.0.0.1"),
        ("network.address", "10.0.0.1/31"),
        ("network.address", "10.0.0.1/24\\nDNS=6.6.6.6"),
        ("network.gateway", "224.0.0.1"),
        ("network.dns", "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4"),
        ("wifi.country", "00"),
        ("wifi.country", "DEU"),
        ("wifi.ssid", "123456789012345678901234567890123"),
        ("wifi.ssid", "a\\nb"),
        ("wifi.key", "short"),
        ("wifi.key", "a comment \\\" # in it"),
        ("wifi.key", "eight\\nlines"),
        ("wifi.key", "ümlaute sind nicht ASCII"),
        ("wifi.channel", "14"),
        ("time.server", "a b;c"),
        ("time.server", "-x"),
        ("time.server", "a,b,c,d,e"),
        ("ssh.key", "command=\\\"sh\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbcdefghijklmnop"),
        ("ssh.key", "ssh-ed25519 AAAAC3Nza"),
        ("handle", "a\\u0007b"),
        ("appliance", "off"),
        ("socket", "/x"),
        ("serial.device", "/dev/sda"),
        ("serial.login", "true"),
    ];
    for (key, value) in cases {
        let plan = of(&format!("{key} = \"{value}\""));
        assert!(plan.values.is_empty(), "{key} = {value}");
        let lines = refused(&plan);
        let together = key.starts_with("wifi.") || key.starts_with("network.");
        assert_eq!(lines.len(), 1 + usize::from(together), "{key} = {value}: {lines:?}");
        assert!(!lines[0].contains(['\n', '\u{7}']), "{lines:?}");
    }
    for phrase in ["12345678", &"x".repeat(63), &"f".repeat(64)] {
        let plan = of(&format!("[wifi]\ncountry='DE'\nssid='x'\nkey='{phrase}'"));
        assert_eq!(refused(&plan), [""; 0]);
        let client = outputs(&plan.values);
        let raw = phrase.len() == 64;
        assert_eq!(file(&client, "wpa_supplicant").contains(&format!("psk={phrase}")), raw);
    }
    let long = format!("[wifi]\ncountry='DE'\nssid='x'\nkey='{}'", "x".repeat(64));
    assert!(of(&long).values.is_empty());
}

#[test]
fn a_wifi_whose_key_is_wrong_is_not_an_open_one() {
    for key in
        ["key = 'short'", "password = 'a good one'", "KEY = 7", "Key = \"(kept on the box)\""]
    {
        let text = format!("[wifi]\nmode='access-point'\ncountry='DE'\nssid='new'\n{key}\n");
        assert!(of(&text).values.is_empty(), "{key}");
        let old =
            values(&[("wifi.ssid", "home"), ("wifi.country", "DE"), ("wifi.key", "password1")]);
        let plan = plan(Some(text.as_bytes()), &old);
        if key.contains("kept") {
            assert_eq!(plan.values["wifi.key"], "password1");
        } else {
            assert_eq!(plan.values, old, "{key}");
            assert!(refused(&plan)[1].starts_with("wifi: REFUSED: with a wrong value in it"));
        }
    }
}

#[test]
fn a_file_that_is_no_text_is_one_line_and_nothing_changes() {
    let old = values(&[("handle", "anna")]);
    let utf16: Vec<u8> = [0xfeff_u16]
        .into_iter()
        .chain("handle".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut junk = b"handle = 1\n\x7fELF\0\0\xff".to_vec();
    junk.resize(1024 * 1024, 0xa5);
    let mut most = vec![b'#'; MAX_CARD];
    assert!(refused(&plan(Some(&most), &old)).is_empty());
    most.push(b'#');
    let cases: [(&[u8], &str); 7] = [
        (&utf16, "saved as UTF-16"),
        (&junk, "more than 65536 bytes"),
        (&junk[..32], "line 2: REFUSED: not used: found bytes that are not UTF-8"),
        (b"handle = \"a\"\nport = \nbell = true\n", "line 2: REFUSED: not used: "),
        (b"handle = \"a\"\r\nhandle = \"b\"\r\n", "line 2: REFUSED: not used: "),
        (b"a = 1\0", "no text"),
        (&most, "more than 65536 bytes"),
    ];
    for (bytes, why) in cases {
        let plan = plan(Some(bytes), &old);
        assert_eq!(plan.values, old);
        let lines = refused(&plan);
        assert!(lines.len() == 1 && lines[0].contains(why), "{lines:?}");
        assert_eq!((lines[0].lines().count(), plan.rewritten), (1, None));
    }
}

#[test]
fn unknown_keys_are_named_with_what_was_meant() {
    let plan = of("handel = 'x'\n[wifi]\npassword = 'geheim12'\n[[serial]]\ndevice = '/dev/x'\n\
                   [[users]]\nhandle = 'y'\n");
    let lines = refused(&plan);
    assert!(lines[0].contains("line 1: handel: ") && lines[0].contains("the nearest is handle"));
    assert!(lines[1].contains("wifi.password: ") && lines[1].contains("wifi.key"));
    assert!(!lines[1].contains("geheim"), "what is meant for a secret is not repeated");
    assert!(lines[2].contains("expected [serial] for the box's line"));
    assert!(lines[3].contains("users: ") && plan.values.is_empty());
}

#[test]
fn one_line_more_than_a_report_holds_is_counted() {
    let text: String = (0..=MAX_LINES).map(|n| format!("unknown{n} = 1\n")).collect();
    let report = report("klatsch-12ab", &of(&text).lines);
    assert!(report.contains("\n1 more lines like these\n"));
    assert!(report.ends_with("65 lines were refused: put them right, then start the box again.\n"));
    assert!(report.starts_with("klatsch "));
}

#[test]
fn a_kept_secret_that_is_nowhere_is_asked_for_again() {
    let text = format!("[web]\npin = \"{KEPT}\"\n[wifi]\nkey = \"{KEPT}\"\n");
    let plan = of(&text);
    assert!(plan.values.is_empty() && plan.rewritten.is_none());
    assert_eq!(refused(&plan).len(), 3);
    let old = values(&[("web.pin", "4711")]);
    let removed = super::plan(Some(b"[web]\npin = \"\"\n"), &old);
    assert_eq!((removed.values["web.pin"].as_str(), removed.rewritten), ("", None));
}

#[test]
fn a_reset_says_what_is_to_be_forgotten_or_nothing_is() {
    assert_eq!(reset(b"\xef\xbb\xbfPINs\r\n"), Ok(Reset::Pins));
    assert_eq!(reset(b" everything "), Ok(Reset::Everything));
    for bytes in [&b""[..], b"all", b"\xff\xfe", b"everything but the pins"] {
        let line = reset(bytes).unwrap_err();
        assert!(line.contains("expected the word pins") && line.lines().count() == 1);
    }
}

proptest::proptest! {
    /// Whatever stands on the card: what is kept holds together, its files can be read, a second
    /// reading changes nothing, and no secret that was taken over is left on the card.
    #[test]
    fn any_card_leaves_a_box_that_starts(
        lines in proptest::collection::vec(
            "(handle|bell|\\[web\\]|\\[wifi\\]|\\[network\\]|\\[time\\]|\\[serial\\]|ssid|key|country|pin|\
             operator-pin|mode|address|gateway|server|speed|port-min|port-max)?( = )?(\"\\PC{0,12}\"|\
             'DE'|'fixed'|'10\\.0\\.0\\.2/24'|'10\\.0\\.0\\.1'|true|9600|'geheim123'|\\[|\\PC{0,6})?",
            0..12,
        ),
        old_ssid in "[a-z]{0,4}",
    ) {
        let text = lines.join("\n");
        let mut old = values(&[("wifi.country", "DE"), ("web.pin", "1111")]);
        old.insert("wifi.ssid".into(), format!("n{old_ssid}"));
        let plan = plan(Some(text.as_bytes()), &old);
        proptest::prop_assert_eq!(super::keys::conflict(&plan.values), None);
        for file in outputs(&plan.values) {
            proptest::prop_assert!(file.path != LAYER || toml::from_str::<toml::Table>(&file.text).is_ok());
        }
        let again = super::plan(Some(plan.rewritten.as_deref().unwrap_or(&text).as_bytes()), &plan.values);
        proptest::prop_assert_eq!(&again.values, &plan.values);
        proptest::prop_assert_eq!(again.rewritten, None);
    }
}
