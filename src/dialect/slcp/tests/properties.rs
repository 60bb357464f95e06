//! Properties that hold for any bytes and any text.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::encode::texts;
use super::super::forms::Transport;
use super::super::stream::StreamSaid as S;
use super::super::{FORMS, PortKind, Reader, Said, datagram, words};
use super::{handle, ours};
use crate::model::limits::SLCP_LINE;

/// Pieces that lead the readers into all their states.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..20),
        "[ -~äß€]{0,20}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            &b"IMG "[..],
            b"anna ",
            b"bob ",
            b"dot.png ",
            b"3",
            b"73 ",
            b"\n",
            b"\r\n",
            b" ",
            b"|",
            b"IMG:",
            b":",
            b"MSG ",
            b"[",
            b"\"IMG_CHUNK\",",
            b"\"Ani\", ",
            b"\"",
            b"aGFsbG8=",
            b"]",
            b"\\",
            b"JOIN ",
            b"KNOWUSERS ",
            b"10.0.0.1 ",
            b"5000",
            b",",
            b"[AFK]",
            b"WHO\n",
            b"\x89PNG\r\n",
            b"GIF89a",
            b"RIFF",
            b"BM",
            b"\0",
            b"\xff",
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}

fn joined(said: Vec<S>) -> Vec<S> {
    let mut out: Vec<S> = Vec::new();
    for said in said {
        match (out.last_mut(), said) {
            (Some(S::ImageBytes(all)), S::ImageBytes(more)) | (Some(S::Raw(all)), S::Raw(more)) => {
                all.extend(more)
            }
            (_, said) => out.push(said),
        }
    }
    out
}

const PORTS: [PortKind; 4] =
    [PortKind::Chat, PortKind::ImagePlus1, PortKind::ImagePlus100, PortKind::ImageOnly];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_datagram_is_understood_or_refused(pieces in vec(piece(), 0..12)) {
        let _ = datagram(&pieces.concat(), &ours);
    }

    #[test]
    fn any_stream_means_the_same_however_it_is_cut(
        pieces in vec(piece(), 0..24),
        size in 1_usize..9,
        port in 0_usize..4,
    ) {
        let bytes = pieces.concat();
        let read = |cuts: &mut dyn Iterator<Item = &[u8]>| {
            let mut reader = Reader::new(PORTS[port]);
            let mut said = Vec::new();
            for piece in cuts {
                said.extend(reader.push(piece, &ours));
            }
            said.extend(reader.end(&ours));
            joined(said)
        };
        prop_assert_eq!(read(&mut bytes.chunks(size)), read(&mut std::iter::once(&bytes[..])));
    }

    #[test]
    fn any_stream_survives_pauses(pieces in vec(piece(), 0..24), port in 0_usize..4) {
        let mut reader = Reader::new(PORTS[port]);
        for piece in pieces {
            reader.push(&piece, &ours);
            reader.idle(&ours);
        }
        reader.end(&ours);
        prop_assert_eq!(reader.push(b"WHO\n", &ours), vec![]);
    }

    #[test]
    fn what_is_written_is_read_back(text in "[ -~äß€日]{1,120}") {
        let text = text.trim();
        prop_assume!(!text.is_empty());
        let (me, peer) = (handle("Annabella"), handle("Zoë"));
        for form in FORMS {
            // Programs that know no quotes show them: a text that is only quoted keeps its own.
            let kept = matches!(form.name, "default" | "artur" | "tuna" | "meriem" | "lucaatm-json");
            if !kept && words::unguard(text).0 != text {
                continue;
            }
            let sent = texts(form, &me, &peer, text).unwrap();
            prop_assert_eq!(sent.len(), 1);
            let said = match form.transport {
                Transport::Udp => datagram(&sent[0], &ours).unwrap(),
                Transport::Tcp => {
                    let mut reader = Reader::new(PortKind::Chat);
                    let mut said = reader.push(&sent[0], &ours);
                    said.extend(reader.end(&ours));
                    let S::Said(said) = said.remove(0) else { panic!("{said:?}") };
                    said
                }
            };
            let Said::Text { text: read, .. } = said else { panic!("{said:?}") };
            prop_assert_eq!(&read, text, "{}", form.name);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_nothing_lost(words in vec("[a-zäß\"\\\\]{1,30}|€{200}", 1..120)) {
        let text = words.join(" ");
        let (me, peer) = (handle("Annabella"), handle("Zoë"));
        for form in FORMS {
            let Ok(sent) = texts(form, &me, &peer, &text) else { continue };
            let mut read = String::new();
            for line in &sent {
                prop_assert!(line.len() <= SLCP_LINE, "{}", form.name);
                prop_assert!(std::str::from_utf8(line).is_ok());
                if let Ok(Said::Text { text, .. }) = datagram(line, &ours) {
                    read += &text;
                }
            }
            if form.name == "default" {
                prop_assert_eq!(read.replace(' ', ""), text.replace(' ', ""));
            }
        }
    }
}
