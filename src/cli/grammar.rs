//! The command line's grammar as a table: verbs, what each takes, and what a person reads of them.
//!
//! Help, errors, the manual page's lists and the shells' completions all come from it. A library that
//! does it (clap) is some hundred kilobytes of program (docs/budgets.md, "Size"); tests/shipped holds
//! what we read, and the help, against what clap makes of the same table.

/// A verb, or the program itself.
#[derive(Debug)]
pub struct Verb {
    /// Its word.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Rarely wanted: the manual page and its own help have it, the program's help has not.
    pub hidden: bool,
    /// What it takes beside [`GLOBAL`]; those without a name in the order in which they stand.
    pub args: &'static [Arg],
    /// Exactly one of `args` must be given.
    pub one_of: bool,
    /// Verbs of its own, one of which follows; it has no `args` then.
    pub verbs: &'static [Verb],
}

/// What a verb takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Arg {
    /// How it is written before its value: `--json`, `-n`; empty where the place says what it is.
    pub flag: &'static str,
    /// What its value is called; empty: it has none.
    pub value: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it can be left out, and repeated.
    pub times: Times,
}

/// How often something stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Not, or once.
    Optional,
    /// Once.
    Once,
    /// Any number of times; the last place only.
    Any,
    /// Once at least; the last place only.
    Some,
}

impl Arg {
    /// Whether it must be there.
    pub fn is_required(&self) -> bool {
        matches!(self.times, Times::Once | Times::Some)
    }

    /// Whether its place says what it is.
    pub fn is_place(&self) -> bool {
        self.flag.is_empty()
    }

    /// Whether it is what this names: an option, or a place by what its value is called.
    pub fn is_called(&self, name: &str) -> bool {
        name == if self.is_place() { self.value } else { self.flag }
    }

    /// As help and errors name it: `--key <HANDLE>`, `<TEXT>...`, `[FILE]`.
    pub fn shown(&self) -> String {
        let Arg { flag, value, times, .. } = self;
        match (self.is_place(), times) {
            (true, Times::Optional) => format!("[{value}]"),
            (true, Times::Any) => format!("[{value}]..."),
            (true, Times::Some) => format!("<{value}>..."),
            (true, Times::Once) => format!("<{value}>"),
            (false, _) if value.is_empty() => (*flag).to_owned(),
            (false, _) => format!("{flag} <{value}>"),
        }
    }
}

const fn flag(flag: &'static str, help: &'static str) -> Arg {
    option(flag, "", help)
}

const fn option(flag: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg { flag, value, help, times: Times::Optional }
}

const fn place(times: Times, value: &'static str, help: &'static str) -> Arg {
    Arg { flag: "", value, help, times }
}

const fn one(value: &'static str, help: &'static str) -> Arg {
    place(Times::Once, value, help)
}

const fn verb(name: &'static str, about: &'static str, args: &'static [Arg]) -> Verb {
    Verb { name, about, hidden: false, args, one_of: false, verbs: &[] }
}

const fn hidden(name: &'static str, about: &'static str, args: &'static [Arg]) -> Verb {
    Verb { hidden: true, ..verb(name, about, args) }
}

const fn verbs(name: &'static str, about: &'static str, verbs: &'static [Verb]) -> Verb {
    Verb { verbs, ..verb(name, about, &[]) }
}

const fn none_or(value: &'static str, help: &'static str) -> Arg {
    place(Times::Optional, value, help)
}

/// Whom a message is for.
const TO: Arg = one(
    "HANDLE[,HANDLE]",
    "Handle, handle@dialect, handle@address or peer id; several with commas",
);
/// The same, said shorter.
const TO_AS: Arg = one("HANDLE[,HANDLE]", "As in `msg`");
const WORDS: Arg = place(Times::Some, "TEXT", "The words");
const COUNT: Arg = option("-n", "NUMBER", "How many entries, 200 at most");
const BEFORE: Arg =
    option("--before", "NUMBER", "Only what is older than the entry of this number");
const NUMBER: Arg = one("NUMBER", "The number that `monitor` and `status` show");
const WHOM: Arg = one("HANDLE", "Whom");
const WHOSE: Arg = one("HANDLE", "Whose");
const ROOM: Arg = one("NAME", "Its name");
const OWN: Arg = one("HANDLE", "Its handle");
const SYSTEM: Arg = flag("--system", "The machine's node, with its state in /var/lib");

/// Options that every verb takes.
pub const GLOBAL: &[Arg] = &[
    flag("--json", "Print one JSON value per line"),
    option("--socket", "PATH", "The node's control socket"),
    option("--config", "PATH", "A configuration file above all others"),
    option("--instance", "NAME", "Which of several nodes of yours"),
    option("--as", "HANDLE", "Act as this user of the node (else: its first)"),
    option("--user", "N|HANDLE", "Which of the configuration's users to start as"),
];

/// What stands below the program's help.
pub const EXIT_CODES: &str = "Exit codes: 0 done, sent or delivered; 1 refused; 2 wrong usage; \
    3 queued; 4 failed;\n5 no such peer; 6 ambiguous handle; 69 no node running";

/// The program.
pub const PROGRAM: Verb = verbs(
    "klatsch",
    "Chat with everyone on the local network. Without a command: opens the chat on this terminal",
    &[
        verb(
            "run",
            "Run a node without a console, as a service does",
            &[flag(
                "--system",
                "The machine's node, with its socket in /run and its state in /var/lib",
            )],
        ),
        verb("who", "List who is here", &[flag("--gone", "Also who was")]),
        verb(
            "msg",
            "Send a text",
            &[
                TO,
                place(
                    Times::Some,
                    "TEXT",
                    "The words; after `--` also such that begin with a dash",
                ),
            ],
        ),
        verb("all", "Send a text to everyone", &[WORDS]),
        verb("img", "Send an image", &[TO_AS, one("PATH", "The image file")]),
        verb(
            "file",
            "Send a file of any kind, or a folder, to people who are linked",
            &[TO_AS, one("PATH", "The file or folder")],
        ),
        verb(
            "history",
            "Show what was said, the newest last",
            &[none_or("WHO", "With whom, or #lobby; none: all that is yours"), COUNT, BEFORE],
        ),
        verb(
            "search",
            "Find what was said",
            &[
                place(Times::Some, "WORDS", "Words, or their beginnings; all must be there"),
                COUNT,
                BEFORE,
            ],
        ),
        Verb {
            one_of: true,
            ..verb(
                "forget",
                "Delete what was said, for good",
                &[
                    none_or("WHO", "All that was said with somebody, or in #lobby"),
                    option(
                        "--key",
                        "HANDLE",
                        "The key of a linked handle whose box is not here; * for all never compared or talked with",
                    ),
                    option("--entry", "NUMBER", "One entry, by the number that `history` shows"),
                    flag("--all", "Everything"),
                ],
            )
        },
        verb(
            "export",
            "Write out all that is kept, one JSON value per line",
            &[
                flag(
                    "--messages-txt",
                    "As the directory chat's messages.txt has it: `[H:M]who: what`",
                ),
                option("--with", "HANDLE", "Only what was said with this one, or in #lobby"),
            ],
        ),
        verb(
            "import",
            "Take in what was written out; what is there already is passed over",
            &[none_or("FILE", "The file; none: standard input")],
        ),
        verb(
            "away",
            "Be away",
            &[place(Times::Any, "TEXT", "What is answered meanwhile, instead of the autoreply")],
        ),
        verb("back", "Be back", &[]),
        verb("handle", "Show your handle, or take another", &[none_or("NEW", "The new one")]),
        verb("autoreply", "Set what is answered while you are away (OFF for nothing)", &[WORDS]),
        verbs(
            "room",
            "Rooms between linked boxes",
            &[
                verb("join", "Enter one; it is made where nobody is in it", &[ROOM]),
                verb("leave", "Leave one", &[ROOM]),
                verb("who", "Show who is in one", &[ROOM]),
                verb("list", "Show those that are heard of", &[]),
            ],
        ),
        verb("chat", "Ask for a private chat, where a dialect has them", &[WHOM]),
        verb("accept", "Say yes to what somebody asks for", &[NUMBER]),
        verb("refuse", "Say no to it", &[NUMBER]),
        hidden("pause", "Let a file on its way rest", &[NUMBER]),
        hidden("resume", "Let it go on", &[NUMBER]),
        hidden("cancel", "End a file on its way, or its offer", &[NUMBER]),
        hidden("close", "End a private chat", &[none_or("HANDLE", "With whom; none: the newest")]),
        verb("join", "Enter the chat", &[]),
        verb("leave", "Leave the chat; the node goes on", &[]),
        verb("block", "Silence a peer", &[WHOM]),
        hidden("unblock", "Hear a silenced peer again", &[WHOM]),
        verb(
            "config",
            "Show the settings, or one; or set it",
            &[none_or("KEY", "Which"), none_or("VALUE", "Its new value")],
        ),
        hidden(
            "form",
            "Set how a peer's program is spoken to, or learn it again",
            &[WHOSE, none_or("FORM", "The form; none, or AUTO: learn it again")],
        ),
        verbs(
            "identity",
            "The name of this box's own key, its backup, and taking a backup in",
            &[
                verb("show", "Show its fingerprint", &[SYSTEM]),
                verb("export", "Write the key out: whoever has it can be this box", &[SYSTEM]),
                verb(
                    "import",
                    "Take in what was written out; the node must not run",
                    &[
                        none_or("FILE", "The file; none: standard input"),
                        flag("--replace", "Give up the key that is there"),
                        SYSTEM,
                    ],
                ),
            ],
        ),
        verb(
            "verify",
            "Show the code of somebody's key, to compare with what the other side shows",
            &[WHOSE],
        ),
        verb(
            "trust",
            "Say that you compared the code, or accept another key of that handle",
            &[WHOSE],
        ),
        verb("status", "Show the node at a glance", &[]),
        verb("qr", "Show the page's address as a QR code, for a phone's camera", &[]),
        verb(
            "doctor",
            "See what is wrong with this machine's chat; ends with 1 if something is",
            &[],
        ),
        verb(
            "monitor",
            "Show events as they happen",
            &[option("--since", "EPOCH:SEQ", "Go on after this event")],
        ),
        hidden(
            "provision",
            "Apply the settings on an appliance's card: its start does this, as root",
            &[
                Arg {
                    times: Times::Once,
                    ..option("--boot", "DIR", "Where the FAT partition is mounted")
                },
                Arg {
                    times: Times::Once,
                    ..option("--data", "DIR", "Where the data partition is mounted")
                },
                option("--run", "DIR", "Files of run time [default: /run]"),
            ],
        ),
        hidden(
            "update",
            "Install a system update on an appliance; it restarts then",
            &[one("FILE", "The bundle, klatsch-*.raucb")],
        ),
        verbs(
            "user",
            "The node's own users",
            &[
                verb("add", "One more", &[OWN]),
                verb("remove", "One less (never the first)", &[OWN]),
                verb("list", "Show them", &[]),
            ],
        ),
    ],
);
