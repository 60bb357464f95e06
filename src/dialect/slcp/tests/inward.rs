//! Every variant of PROTOCOLS sections 1 and 2 that no capture holds, and those that must fail.

use super::super::{Noise, Said, Unreadable, datagram};
use super::ours;
use crate::model::BadHandle as Bad;

fn read(text: &str) -> Said {
    datagram(text.as_bytes(), &ours).unwrap_or_else(|bad| panic!("{text:?}: {bad}"))
}

fn fails(text: &str) -> Unreadable {
    datagram(text.as_bytes(), &ours).expect_err(text)
}

/// `handle ip port udp_port shape newline`
fn joined(text: &str) -> String {
    let Said::Join { handle, ip, port, udp_port, style } = read(text) else { panic!("{text}") };
    let ip = ip.map_or("-".into(), |ip| ip.to_string());
    format!("{handle} {ip} {port} {} {:?} {}", udp_port.unwrap_or(0), style.shape, style.newline)
}

#[test]
fn every_join_is_understood() {
    for (text, meaning) in [
        ("JOIN Michael 12345", "Michael - 12345 0 Plain false"),
        ("JOIN Alice 5011\n", "Alice - 5011 0 Plain true"),
        ("JOIN Alice 5011\r\n", "Alice - 5011 0 Plain true"),
        ("JOIN  Alice   5011 ", "Alice - 5011 0 Plain false"),
        ("JOIN sara 5001 5101", "sara - 5001 5101 TwoPorts false"),
        ("JOIN team Alice 10.0.0.7 5000", "Alice 10.0.0.7 5000 0 Team false"),
        ("JOIN Alice 10.0.0.7 5000", "Alice 10.0.0.7 5000 0 Team false"),
        ("JOIN:anna:5010", "anna - 5010 0 Colon false"),
        ("[\"JOIN\", \"Ani\", \"10.0.0.7\", 5001]", "Ani 10.0.0.7 5001 0 Json false"),
        ("[\"JOIN\",\"Ani\",\"10.0.0.7\",\"5001\"]\n", "Ani 10.0.0.7 5001 0 Json true"),
        ("[\"JOIN\", \"Ani\", 5001]", "Ani - 5001 0 Json false"),
    ] {
        assert_eq!(joined(text), meaning, "{text:?}");
    }
}

#[test]
fn every_who_and_leave_is_understood() {
    let who = |handle: Option<&str>, reply_port, json| Said::Who {
        handle: handle.map(super::handle),
        reply_port,
        json,
    };
    assert_eq!(read("WHO"), who(None, None, false));
    assert_eq!(read("WHO\n"), who(None, None, false));
    assert_eq!(read("WHO Ani\n"), who(Some("Ani"), None, false));
    assert_eq!(read("WHO team Alice 5000"), who(Some("Alice"), Some(5000), false));
    assert_eq!(read("WHO @ : ,"), who(None, None, false));
    assert_eq!(read("[\"WHO\", \"Ani\"]"), who(Some("Ani"), None, true));
    assert_eq!(read("[\"WHO\"]"), who(None, None, true));
    for text in ["LEAVE Anna", "LEAVE Anna\n", "LEAVE team Anna", "[\"LEAVE\", \"Anna\"]"] {
        assert_eq!(read(text), Said::Leave { handle: super::handle("Anna") }, "{text}");
    }
    assert_eq!(read("AWAY Anna"), Said::Away { handle: super::handle("Anna") });
    assert_eq!(read("BACK Anna\n"), Said::Back { handle: super::handle("Anna") });
    let whois = Said::Whois { wanted: super::handle("Bob"), port: Some(5001) };
    assert_eq!(read("WHOIS Bob 5001\n"), whois);
    let Said::Iam(entry) = read("IAM Bob 192.168.178.12 5002\n") else { panic!() };
    assert_eq!((entry.handle.as_str(), entry.port), ("Bob", 5002));
}

/// `word separator newline: a ip p, …`
fn listed(text: &str) -> String {
    let Said::List { entries, style } = read(text) else { panic!("{text}") };
    let entries: Vec<String> = entries
        .iter()
        .map(|e| format!("{} {} {}{}", e.handle, e.ip, e.port, if e.away { " away" } else { "" }))
        .collect();
    let separator = style.separator.map_or("-".into(), |s| format!("{s:?}"));
    format!("{:?} {separator} {}: {}", style.word, style.newline, entries.join(", "))
}

#[test]
fn every_list_is_understood() {
    for (text, meaning) in [
        ("KNOWUSERS\n", "KnowUsers - true: "),
        ("KNOWUSERS", "KnowUsers - false: "),
        ("KNOWUSERS a 10.0.0.1 1\n", "KnowUsers - true: a 10.0.0.1 1"),
        (
            "KNOWUSERS a 10.0.0.1 1, b 10.0.0.2 2 [AFK]\n",
            "KnowUsers CommaSpace true: a 10.0.0.1 1, b 10.0.0.2 2 away",
        ),
        (
            "KNOWUSERS a 10.0.0.1 1 [AFK], b 10.0.0.2 2",
            "KnowUsers CommaSpace false: a 10.0.0.1 1 away, b 10.0.0.2 2",
        ),
        (
            "KNOWNUSERS a 10.0.0.1 1,b 10.0.0.2 2\n",
            "KnownUsers Comma true: a 10.0.0.1 1, b 10.0.0.2 2",
        ),
        (
            "KNOWNUSERS a 10.0.0.1 1 b 10.0.0.2 2",
            "KnownUsers Spaces false: a 10.0.0.1 1, b 10.0.0.2 2",
        ),
        (
            "KNOWUSERS a:10.0.0.1:1,b:10.0.0.2:2\n",
            "KnowUsers Colons true: a 10.0.0.1 1, b 10.0.0.2 2",
        ),
        (
            "KNOWUSERS team a 10.0.0.1 1 b 10.0.0.2 2",
            "KnowUsers Team false: a 10.0.0.1 1, b 10.0.0.2 2",
        ),
        ("SEEN a 10.0.0.1 1, b 10.0.0.2 2", "Seen CommaSpace false: a 10.0.0.1 1, b 10.0.0.2 2"),
        ("KNOWNUSERS a 1 10.0.0.1", "KnownUsers - false: a 10.0.0.1 1"),
        (
            "[\"KNOWNUSERS\", \"a 10.0.0.1 1\", \"b 10.0.0.2 2\"]",
            "KnownUsers Json false: a 10.0.0.1 1, b 10.0.0.2 2",
        ),
        ("[\"KNOWNUSERS\"]", "KnownUsers Json false: "),
        // `h:port` names no address.
        ("KNOWUSERS a:1, b 10.0.0.2 2", "KnowUsers CommaSpace false: b 10.0.0.2 2"),
        // Bad entries go alone.
        (
            "KNOWUSERS x@y 10.0.0.1 1, b 10.0.0.2 2, c 10.0.0.3 0, d 10.0.0 4, e 10.0.0.5 5",
            "KnowUsers CommaSpace false: b 10.0.0.2 2, e 10.0.0.5 5",
        ),
        (
            "KNOWUSERS Tomas Novotny 10.0.0.1 1, b 10.0.0.2 2, c 255.255.255.255 3",
            "KnowUsers CommaSpace false: b 10.0.0.2 2",
        ),
        ("KNOWNUSERS x@y 10.0.0.1 1 b 10.0.0.2 2", "KnownUsers - false: b 10.0.0.2 2"),
    ] {
        assert_eq!(listed(text), meaning, "{text:?}");
    }
}

/// `from > to: text (first quoting)`
fn said(text: &str) -> String {
    let Said::Text { from, to, text, autoreply, style } = read(text) else { panic!("{text}") };
    let name = |handle: Option<crate::model::Handle>| handle.map_or("-".into(), String::from);
    let quoting = style.quoting.map_or("-".into(), |quoting| format!("{quoting:?}"));
    let auto = if autoreply { " auto" } else { "" };
    format!("{} > {}: {text} ({:?} {quoting}{auto})", name(from), name(to), style.first)
}

#[test]
fn every_text_is_understood() {
    for (text, meaning) in [
        ("MSG Michael Hallo du", "Michael > -: Hallo du (Sender No)"),
        ("MSG Michael Hallo\r\n", "Michael > -: Hallo (Sender -)"),
        ("MSG bob Hallo  du\n", "- > bob: Hallo  du (Receiver No)"),
        ("MSG BOB Hallo", "- > BOB: Hallo (Receiver -)"),
        ("MSG Bob \"Hallo \\\"du\\\" \\\\ ä\"\n", "- > Bob: Hallo \"du\" \\ ä (Receiver Quotes)"),
        ("MSG Tuna \"Er sagt \"ja\" dazu\"\n", "Tuna > -: Er sagt \"ja\" dazu (Sender Quotes)"),
        ("MSG Tuna \"offen", "Tuna > -: \"offen (Sender -)"),
        ("MSG Alice Hallo\\ du\\ da", "Alice > -: Hallo du da (Sender Backslash)"),
        ("MSG Alice C:\\ und D:", "Alice > -: C:\\ und D: (Sender No)"),
        ("MSG Aashir Bob text und mehr", "Aashir > Bob: text und mehr (Both No)"),
        ("MSG Aashir Bratli text", "Aashir > -: Bratli text (Sender No)"),
        // jalal ends no text in a line end: our own greeting by name stays whole.
        ("MSG Aashir Bob ist da\n", "Aashir > -: Bob ist da (Sender No)"),
        ("MSG Aashir Bob", "Aashir > -: Bob (Sender -)"),
        ("Ani: Hallo: du", "Ani > -: Hallo: du (Raw -)"),
        ("Ani:Hallo", "Ani > -: Hallo (Raw -)"),
        ("MSG:anna Gr%C3%BC%C3%9Fe%20an%20100%", "anna > -: Grüße an 100% (Colon -)"),
        ("GMSG team Alice an alle", "Alice > -: an alle (Team No)"),
        ("[\"MSG\", \"Ani\", \"Luca\", \"Hallo \\u00e4\"]", "Ani > Luca: Hallo ä (Json -)"),
        (
            "[\"MSG\", \"Ani\", \"Bob\", \"weg\", \"10.0.0.1\", 5001]",
            "Ani > Bob: weg (Json - auto)",
        ),
        ("MSG Fabian (Autoreply): Bin weg.", "Fabian > -: Bin weg. (Sender No auto)"),
        ("MSG Bob [AutoReply] Bin weg.\n", "- > Bob: Bin weg. (Receiver No auto)"),
        ("MSG Tuna \"(Autoreply): weg\"\n", "Tuna > -: weg (Sender Quotes auto)"),
        ("MSG Michael", "Michael > -:  (Sender -)"),
    ] {
        assert_eq!(said(text), meaning, "{text:?}");
    }
    let greeting = read("MSG Michael Bob ist da").receiver_as_text();
    let Said::Text { to: None, text, .. } = greeting else { panic!() };
    assert_eq!(text, "Bob ist da");
}

/// `from > to: name size back comment (style) body`
fn image(bytes: &[u8]) -> String {
    let Ok(Said::Image(head)) = datagram(bytes, &ours) else { panic!() };
    let name = |handle: Option<crate::model::Handle>| handle.map_or("-".into(), String::from);
    format!(
        "{} > {}: {} {} {} {} ({:?}) {}",
        name(head.from),
        name(head.to),
        head.name.unwrap_or("-".into()),
        head.size.unwrap_or(0),
        head.connect_back.unwrap_or(0),
        head.comment.unwrap_or("-".into()),
        head.style,
        head.body.len(),
    )
}

#[test]
fn every_image_header_is_understood() {
    for (bytes, meaning) in [
        (&b"IMG Alice 73\n\xff\xd8"[..], "Alice > -: - 73 0 - (Sender) 2"),
        (b"IMG bob 73\n", "- > bob: - 73 0 - (Receiver) 0"),
        (b"IMG Alice 200", "Alice > -: - 200 0 - (Sender) 0"),
        (b"IMG dot.jpg 693", "- > -: dot.jpg 693 0 - (Name) 0"),
        (b"IMG Bilal dot.png 73\n", "Bilal > -: dot.png 73 0 - (SenderName) 0"),
        (b"IMG bob dot.png 73\n", "- > bob: dot.png 73 0 - (SenderName) 0"),
        (b"IMG Bilal my own dot.png 73\n", "Bilal > -: my own dot.png 73 0 - (SenderName) 0"),
        (b"IMG Aashir Bratli 50587 73", "Aashir > Bratli: - 73 50587 - (ConnectBack) 0"),
        (b"IMG Aashir bob 73", "Aashir > bob: - 73 0 - (Sender) 0"),
        (b"IMG Alice 73|am See, 2025\n", "Alice > -: - 73 0 am See, 2025 (Comment) 0"),
        (b"IMG:dot.png:3:\x89PN", "- > -: dot.png 3 0 - (Colon) 3"),
        (b"IMG ../../etc/passwd 3\n", "../../etc/passwd > -: - 3 0 - (Sender) 0"),
    ] {
        assert_eq!(image(bytes), meaning, "{:?}", String::from_utf8_lossy(bytes));
    }
    let chunk = read("[\"IMG_CHUNK\", \"a1\", 0, 2, \"aGFsbG8=\"]");
    let data = b"hallo".to_vec();
    assert_eq!(chunk, Said::ImageChunk { id: "a1".into(), index: 0, total: 2, data });
}

#[test]
fn what_is_never_answered_is_noise() {
    for (text, noise) in [
        ("", Noise::Empty),
        ("\n", Noise::Empty),
        ("JOIN_ACK Bob", Noise::JoinAck),
        ("LEAVE_ACK Bob", Noise::LeaveAck),
        ("ERROR: Unbekannter Befehl", Noise::Error),
        ("{\"command\":\"hello\",\"peer_id\":\"molic-peer1\"}", Noise::Object),
        ("READY", Noise::Ready),
        ("OK", Noise::Ready),
    ] {
        assert_eq!(read(text), Said::Noise(noise), "{text:?}");
    }
}

#[test]
fn what_cannot_be_understood_says_why() {
    use Unreadable::*;
    for (text, why) in [
        ("JOIN", Missing("handle")),
        ("JOIN anna", Missing("port")),
        ("JOIN anna abc", BadPort),
        ("JOIN anna 0", BadPort),
        ("JOIN anna 65536", BadPort),
        ("JOIN team anna here 5000", BadAddress),
        ("JOIN a@b 5000", BadHandle(Bad::Character('@'))),
        ("LEAVE", Missing("handle")),
        ("LEAVE a,b", BadHandle(Bad::Character(','))),
        ("MSG", Missing("handle")),
        ("GMSG team", Missing("handle")),
        ("WHOIS", Missing("handle")),
        ("IAM Bob", Missing("address")),
        ("IMG Alice", BadSize),
        ("IMG Alice -1\n", BadSize),
        ("IMG Alice +1\n", BadSize),
        ("IMG 73\n", Missing("sender")),
        ("IMG:a.png\n", Missing("size")),
        ("[]", Missing("word")),
        ("[1]", BadJson),
        ("[\"MSG\", \"a\", \"b\"]", Missing("text")),
        ("[\"JOIN\", \"a\", \"10.0.0.1\", 70000]", BadPort),
        ("[\"IMG_CHUNK\", \"a\", 0, 1, \"*\"]", BadBase64),
        ("[\"JOIN\"", BadJson),
        ("hello there", Unknown("hello".into())),
        ("join anna 5000", Unknown("join".into())),
    ] {
        assert_eq!(fails(text), why, "{text:?}");
        assert!(!why.to_string().contains('\n'));
    }
    assert_eq!(datagram(b"MSG a \xff", &ours), Err(NotUtf8));
}

#[test]
fn a_foreign_word_is_shown_short_and_harmless() {
    let Unreadable::Unknown(word) = fails(&format!("\u{1b}[2J{}", "x".repeat(5000))) else {
        panic!()
    };
    assert!(word.chars().count() == 24 && !word.contains('\u{1b}'));
}
