//! Learning which program a peer is: what it was seen to do, held against [`super::forms`].
//!
//! [`Seen`] is one word per peer, a set of habits. A row of the table fits when it is known for
//! all of them; so a habit seen once is never forgotten, and rows only ever drop out.

use super::forms::{FORMS, Form, Transport};
use super::said::{
    First, ImageHead, ImageStyle, JoinShape, ListSeparator, ListWord, Noise, Quoted, Said,
};

/// All that one peer was seen to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

/// Which port of its own a peer sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// 4000.
    Discovery,
    /// The port of its JOIN.
    Chat,
    /// Another, mostly a new one each time.
    Other,
}

/// The row that speaks as this peer does. Once a text was seen, the first that fits; before,
/// only one that fits alone: a wrong row is worse than the default one.
pub fn settle(seen: &Seen) -> Option<&'static Form> {
    let mut fitting = FORMS.iter().filter(|form| seen.fits(form));
    let first = fitting.next()?;
    (seen.has(bits::TEXT_ANY) || fitting.next().is_none()).then_some(first)
}

impl Seen {
    /// Take note of a message over `over`; `from` counts for JOIN only.
    pub fn note(&mut self, said: &Said, over: Transport, from: Origin) {
        use bits::*;
        let udp = over == Transport::Udp;
        match said {
            Said::Join { style, .. } => {
                self.0 |= match style.shape {
                    JoinShape::Plain | JoinShape::Colon => JOIN_PLAIN,
                    JoinShape::TwoPorts => JOIN_TWO_PORTS,
                    JoinShape::Team => JOIN_TEAM,
                    JoinShape::Json => JOIN_JSON,
                };
                // A JSON message needs no terminator, and so tells nothing by it.
                if style.shape != JoinShape::Json {
                    self.0 |= if style.newline { JOIN_NL } else { JOIN_NO_NL };
                }
                self.0 |= match from {
                    Origin::Discovery => FROM_DISCOVERY,
                    Origin::Chat => FROM_CHAT,
                    Origin::Other => FROM_OTHER,
                };
            }
            Said::List { style, .. } => {
                self.0 |= match style.word {
                    ListWord::KnowUsers => LIST_KNOWUSERS,
                    ListWord::KnownUsers => LIST_KNOWNUSERS,
                    ListWord::Seen => LIST_SEEN,
                };
                self.0 |= style.separator.map_or(0, |separator| match separator {
                    ListSeparator::CommaSpace => LIST_COMMA_SPACE,
                    ListSeparator::Comma => LIST_COMMA,
                    ListSeparator::Spaces => LIST_SPACES,
                    ListSeparator::Colons => LIST_COLONS,
                    ListSeparator::Team => LIST_TEAM,
                    ListSeparator::Json => LIST_JSON,
                });
                self.0 |= if style.newline { LIST_NL } else { LIST_NO_NL };
                self.0 |= if udp { LIST_UDP } else { LIST_TCP };
            }
            Said::Text { style, .. } => {
                self.0 |= if udp { TEXT_UDP } else { TEXT_TCP };
                self.0 |= match style.first {
                    First::Sender => TEXT_SENDER,
                    First::Receiver => TEXT_RECEIVER,
                    First::Both => TEXT_BOTH,
                    First::Raw => TEXT_RAW,
                    First::Json => TEXT_JSON,
                    First::Team => TEXT_TEAM,
                    First::Colon => TEXT_COLON,
                };
                self.0 |= style.quoting.map_or(0, |quoting| match quoting {
                    Quoted::No => TEXT_NO_QUOTES,
                    Quoted::Quotes => TEXT_QUOTES,
                    Quoted::Backslash => TEXT_BACKSLASH,
                });
                self.0 |= if style.newline { TEXT_NL } else { TEXT_NO_NL };
            }
            Said::Image(head) => self.note_image(head, over),
            Said::Whois { .. } => self.0 |= WHOIS,
            Said::Iam(_) => self.0 |= IAM,
            Said::Noise(Noise::JoinAck | Noise::LeaveAck) => self.0 |= ACK,
            Said::Leave { .. }
            | Said::Who { .. }
            | Said::Away { .. }
            | Said::Back { .. }
            | Said::ImageChunk { .. }
            | Said::Noise(_) => {}
        }
    }

    /// Take note of an image's header, as it came in a datagram or on a stream.
    pub fn note_image(&mut self, head: &ImageHead, over: Transport) {
        use bits::*;
        self.0 |= if over == Transport::Udp { IMG_UDP } else { IMG_TCP };
        self.0 |= match head.style {
            ImageStyle::Sender => IMG_SENDER,
            ImageStyle::Receiver => IMG_RECEIVER,
            ImageStyle::Name => IMG_NAME,
            ImageStyle::SenderName => IMG_SENDER_NAME,
            ImageStyle::SenderNameBlank => IMG_SENDER_NAME_BLANK,
            ImageStyle::Comment => IMG_COMMENT,
            ImageStyle::ConnectBack => IMG_CONNECT_BACK,
            ImageStyle::Colon => IMG_COLON,
            ImageStyle::Json => IMG_JSON,
        };
        if over == Transport::Udp {
            self.0 |= if head.body.is_empty() { IMG_BARE } else { IMG_WITH_BODY };
        }
    }

    /// Adds what was noted elsewhere.
    pub fn add(&mut self, other: Seen) {
        self.0 |= other.0;
    }

    /// Whether nothing was noted yet.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether a text was noted.
    pub fn has_text(&self) -> bool {
        self.has(bits::TEXT_ANY)
    }

    /// Whether a row is known for all that was noted.
    pub fn fits(&self, form: &Form) -> bool {
        // A node of ours says JOIN in JSON after the plain one: JSON alone is 002 main's.
        let json_only = self.has(bits::JOIN_JSON) && !self.has(bits::JOIN_PLAIN);
        form.shows & bits::NEVER == 0
            && self.0 & !form.shows == 0
            && !(json_only && form.shows & bits::JOIN_PLAIN != 0)
    }

    fn has(&self, any: u64) -> bool {
        self.0 & any != 0
    }
}

/// The habits, one bit each.
pub(super) mod bits {
    macro_rules! bits {
        ($($name:ident = $n:expr;)*) => { $(pub(in crate::dialect::slcp) const $name: u64 = 1 << $n;)* };
    }
    bits! {
        JOIN_PLAIN = 0; JOIN_TWO_PORTS = 1; JOIN_TEAM = 2; JOIN_JSON = 3;
        JOIN_NL = 4; JOIN_NO_NL = 5; FROM_DISCOVERY = 6; FROM_CHAT = 7; FROM_OTHER = 8;
        LIST_KNOWUSERS = 9; LIST_KNOWNUSERS = 10; LIST_SEEN = 11;
        LIST_COMMA_SPACE = 12; LIST_COMMA = 13; LIST_SPACES = 14; LIST_COLONS = 15;
        LIST_TEAM = 16; LIST_JSON = 17;
        LIST_NL = 18; LIST_NO_NL = 19; LIST_UDP = 20; LIST_TCP = 21;
        TEXT_UDP = 22; TEXT_TCP = 23;
        TEXT_SENDER = 24; TEXT_RECEIVER = 25; TEXT_BOTH = 26; TEXT_RAW = 27; TEXT_JSON = 28;
        TEXT_TEAM = 29; TEXT_COLON = 30;
        TEXT_NO_QUOTES = 31; TEXT_QUOTES = 32; TEXT_BACKSLASH = 33; TEXT_NL = 34; TEXT_NO_NL = 35;
        WHOIS = 36; IAM = 37; ACK = 38;
        IMG_UDP = 39; IMG_TCP = 40; IMG_SENDER = 41; IMG_RECEIVER = 42; IMG_NAME = 43;
        IMG_SENDER_NAME = 44; IMG_SENDER_NAME_BLANK = 45; IMG_COMMENT = 46;
        IMG_CONNECT_BACK = 47; IMG_COLON = 48; IMG_JSON = 49; IMG_BARE = 50; IMG_WITH_BODY = 51;
        NEVER = 63;
    }
    pub(in crate::dialect::slcp) const TEXT_ANY: u64 = TEXT_UDP | TEXT_TCP;
}
