//! The one table of what the known programs say and understand: one row per program. A program
//! new in the wild is one new row here and one capture.
//!
//! Facts: captures/slcp-*, else PROTOCOLS section 1 (read in their source). `shows` holds all
//! that a program was ever seen to do; see [`super::seen`].

use super::forms::Transport::{Tcp, Udp};
use super::forms::{Answers, Form, ImageForm as I, ListForm, Quoting as Q, TextForm as T};
use super::said::ListSeparator as Sep;
use super::said::ListWord::{self, KnowUsers, KnownUsers, Seen as SeenWord};
use super::seen::bits::*;

const fn list(word: ListWord, separator: Sep, newline: bool) -> ListForm {
    ListForm { word, separator, newline, over: Udp }
}

const SOURCE: Answers =
    Answers { source: true, join_port: false, udp_port: false, discovery: false, stream: false };
const SOURCE_AND_JOIN: Answers = Answers { join_port: true, ..SOURCE };

/// The table. `default` stands first and is ours; the order decides between rows that fit alike.
pub static FORMS: &[Form] = &[
    Form {
        name: "default",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::IfMistaken,
        newline: true,
        image: I::Stream { receiver: false },
        list: list(KnowUsers, Sep::CommaSpace, true),
        answers: SOURCE_AND_JOIN,
        // Says JOIN and WHO in JSON too, after the plain ones.
        shows: JOIN_PLAIN
            | JOIN_JSON
            | JOIN_NL
            | FROM_CHAT
            | LIST_KNOWUSERS
            | LIST_COMMA_SPACE
            | LIST_NL
            | LIST_UDP
            | LIST_JSON
            | LIST_KNOWNUSERS
            | LIST_NO_NL
            | TEXT_UDP
            | IAM
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NL
            | IMG_TCP
            | IMG_SENDER,
    },
    // captures/slcp-001-Fabianuniii
    Form {
        name: "fabian",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: false,
        image: I::StreamBlank,
        list: list(KnowUsers, Sep::CommaSpace, true),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_CHAT
            | LIST_KNOWUSERS
            | LIST_COMMA_SPACE
            | LIST_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_SENDER_NAME_BLANK,
    },
    // captures/slcp-002-lucaatm-main-json
    Form {
        name: "lucaatm-json",
        transport: Udp,
        text: T::JsonArray,
        quoting: Q::None,
        newline: false,
        image: I::Json,
        list: list(KnownUsers, Sep::Json, false),
        answers: SOURCE,
        shows: JOIN_JSON
            | JOIN_NO_NL
            | FROM_CHAT
            | LIST_KNOWNUSERS
            | LIST_JSON
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_JSON
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_JSON,
    },
    // captures/slcp-002-lucaatm-NO_IPC
    Form {
        name: "no-ipc",
        transport: Udp,
        text: T::Raw,
        quoting: Q::None,
        newline: false,
        image: I::Chunks,
        list: list(KnownUsers, Sep::Spaces, false),
        answers: SOURCE_AND_JOIN,
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_OTHER
            | LIST_KNOWNUSERS
            | LIST_SPACES
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_RAW
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_UDP
            | IMG_NAME
            | IMG_BARE,
    },
    // captures/slcp-RobinSp5
    Form {
        name: "robin",
        transport: Tcp,
        text: T::ReceiverFirst,
        quoting: Q::None,
        newline: true,
        image: I::Stream { receiver: true },
        list: ListForm { over: Tcp, ..list(KnowUsers, Sep::CommaSpace, true) },
        answers: Answers { source: false, stream: true, ..SOURCE },
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_OTHER
            | LIST_KNOWUSERS
            | LIST_COMMA_SPACE
            | LIST_NL
            | LIST_TCP
            | TEXT_TCP
            | TEXT_RECEIVER
            | TEXT_NO_QUOTES
            | TEXT_NL
            | IMG_TCP
            | IMG_RECEIVER,
    },
    // captures/slcp-Maximilian
    Form {
        name: "maximilian",
        transport: Tcp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: true,
        image: I::Stream { receiver: false },
        list: list(KnowUsers, Sep::Colons, true),
        answers: Answers { source: false, discovery: true, ..SOURCE },
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_OTHER
            | LIST_KNOWUSERS
            | LIST_COLONS
            | LIST_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NL
            | IMG_TCP
            | IMG_SENDER,
    },
    // captures/slcp-pollo60
    Form {
        name: "pollo",
        transport: Tcp,
        text: T::Raw,
        quoting: Q::None,
        newline: false,
        image: I::StreamAsk,
        list: list(KnownUsers, Sep::CommaSpace, false),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_DISCOVERY
            | LIST_KNOWNUSERS
            | LIST_COMMA_SPACE
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_RAW
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_NAME,
    },
    // PROTOCOLS section 1
    Form {
        name: "artur",
        transport: Udp,
        text: T::ReceiverFirst,
        quoting: Q::Always,
        newline: true,
        image: I::Stream { receiver: true },
        list: list(KnownUsers, Sep::CommaSpace, true),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_DISCOVERY
            | FROM_CHAT
            | LIST_KNOWNUSERS
            | LIST_COMMA_SPACE
            | LIST_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_RECEIVER
            | TEXT_QUOTES
            | TEXT_NL
            | IMG_TCP
            | IMG_RECEIVER,
    },
    // captures/slcp-Tuna-Safak
    Form {
        name: "tuna",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::Always,
        newline: true,
        image: I::TwoDatagrams { receiver: true, newline: true },
        list: list(KnownUsers, Sep::CommaSpace, false),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_CHAT
            | LIST_KNOWNUSERS
            | LIST_COMMA_SPACE
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_SENDER
            | TEXT_QUOTES
            | TEXT_NL
            | IMG_UDP
            | IMG_RECEIVER
            | IMG_BARE,
    },
    // captures/slcp-khan2999
    Form {
        name: "khan",
        transport: Tcp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: true,
        image: I::Datagram,
        list: list(KnownUsers, Sep::Comma, true),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_DISCOVERY
            | LIST_KNOWNUSERS
            | LIST_COMMA
            | LIST_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NL
            | IMG_UDP
            | IMG_SENDER
            | IMG_WITH_BODY,
    },
    // captures/slcp-Rajan286; its discovery relays JOIN from 4000
    Form {
        name: "rajan",
        transport: Tcp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: true,
        image: I::Stream { receiver: false },
        list: list(KnownUsers, Sep::CommaSpace, true),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_DISCOVERY
            | FROM_CHAT
            | LIST_KNOWNUSERS
            | LIST_COMMA_SPACE
            | LIST_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NL
            | WHOIS
            | IAM
            | IMG_TCP
            | IMG_SENDER,
    },
    // PROTOCOLS section 1; its way with images is not known, pollo's is the nearest program
    Form {
        name: "florandaa",
        transport: Tcp,
        text: T::Raw,
        quoting: Q::None,
        newline: false,
        image: I::StreamAsk,
        list: list(KnownUsers, Sep::Spaces, false),
        answers: Answers { source: false, udp_port: true, ..SOURCE },
        shows: JOIN_TWO_PORTS
            | JOIN_NL
            | JOIN_NO_NL
            | FROM_OTHER
            | FROM_CHAT
            | FROM_DISCOVERY
            | LIST_KNOWNUSERS
            | LIST_SPACES
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_RAW
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_NAME,
    },
    // PROTOCOLS section 1
    Form {
        name: "mahiramd",
        transport: Tcp,
        text: T::Raw,
        quoting: Q::None,
        newline: false,
        image: I::StreamAsk,
        list: list(SeenWord, Sep::CommaSpace, false),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_DISCOVERY
            | LIST_SEEN
            | LIST_COMMA_SPACE
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_TCP
            | TEXT_RAW
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_NAME,
    },
    // PROTOCOLS section 1; names its answer's port in WHO
    Form {
        name: "milad3z",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::Backslash,
        newline: false,
        image: I::TwoDatagrams { receiver: false, newline: false },
        list: list(KnowUsers, Sep::Team, false),
        answers: SOURCE_AND_JOIN,
        shows: JOIN_TEAM
            | JOIN_NL
            | JOIN_NO_NL
            | FROM_OTHER
            | FROM_CHAT
            | FROM_DISCOVERY
            | LIST_KNOWUSERS
            | LIST_TEAM
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_SENDER
            | TEXT_TEAM
            | TEXT_BACKSLASH
            | TEXT_NO_NL
            | IMG_UDP
            | IMG_SENDER
            | IMG_BARE,
    },
    // captures/slcp-Daniyal
    Form {
        name: "daniyal",
        transport: Tcp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: false,
        image: I::Stream { receiver: false },
        list: list(KnowUsers, Sep::Comma, false),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_OTHER
            | LIST_KNOWUSERS
            | LIST_COMMA
            | LIST_NO_NL
            | LIST_UDP
            | ACK
            | TEXT_TCP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_SENDER,
    },
    // PROTOCOLS section 1; JOIN with and without `\n`, from 4000 and its own port
    Form {
        name: "jalal",
        transport: Udp,
        text: T::Both,
        quoting: Q::None,
        newline: false,
        image: I::ConnectBack,
        list: list(KnowUsers, Sep::Comma, false),
        answers: SOURCE,
        shows: JOIN_PLAIN
            | JOIN_NL
            | JOIN_NO_NL
            | FROM_DISCOVERY
            | FROM_CHAT
            | FROM_OTHER
            | LIST_KNOWUSERS
            | LIST_COMMA
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_BOTH
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_UDP
            | IMG_CONNECT_BACK
            | IMG_BARE,
    },
    // PROTOCOLS section 1; relays JOIN and LEAVE of others
    Form {
        name: "bymy",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::None,
        newline: false,
        image: I::StreamNamed,
        list: list(KnownUsers, Sep::CommaSpace, false),
        answers: Answers { source: false, join_port: true, ..SOURCE },
        shows: JOIN_PLAIN
            | JOIN_NO_NL
            | FROM_OTHER
            | LIST_KNOWNUSERS
            | LIST_COMMA_SPACE
            | LIST_NO_NL
            | LIST_UDP
            | TEXT_UDP
            | TEXT_SENDER
            | TEXT_NO_QUOTES
            | TEXT_NO_NL
            | IMG_TCP
            | IMG_SENDER_NAME,
    },
    // PROTOCOLS section 1; an earlier generation: WHOIS and IAM, no WHO
    Form {
        name: "meriem",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::IfNeeded,
        newline: true,
        image: I::StreamPause,
        list: list(KnowUsers, Sep::CommaSpace, true),
        answers: SOURCE_AND_JOIN,
        shows: JOIN_PLAIN
            | JOIN_NL
            | FROM_OTHER
            | FROM_CHAT
            | FROM_DISCOVERY
            | WHOIS
            | IAM
            | TEXT_UDP
            | TEXT_SENDER
            | TEXT_QUOTES
            | TEXT_NL
            | IMG_TCP
            | IMG_COMMENT,
    },
    // No program does it; 001's document describes it (section 8.1). By hand only.
    Form {
        name: "document",
        transport: Udp,
        text: T::SenderFirst,
        quoting: Q::IfNeeded,
        newline: true,
        image: I::HeadByDatagram,
        list: list(KnowUsers, Sep::CommaSpace, true),
        answers: SOURCE_AND_JOIN,
        shows: NEVER,
    },
];
