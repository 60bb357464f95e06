//! A command line as values: what [`super::grammar`] has, each verb with what it takes.

use std::ffi::OsString;
use std::path::PathBuf;

use super::read::{Found, Read, Wrong, read};
use crate::daemon::Start;

/// What recipients are called in the grammar.
const TO: &str = "HANDLE[,HANDLE]";

/// A line that is by the grammar.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// For every verb.
    pub options: Options,
    /// What to do; none: chat on this terminal.
    pub verb: Option<Verb>,
}

/// Options that every verb takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Print one JSON value per line
    pub json: bool,
    /// The node's control socket
    pub socket: Option<PathBuf>,
    /// A configuration file above all others
    pub config: Option<PathBuf>,
    /// Which of several nodes of yours
    pub instance: Option<String>,
    /// Act as this user of the node (else: its first)
    pub acting: Option<String>,
    /// Which of the configuration's users to start as
    pub user: Option<String>,
}

impl Options {
    /// What they mean for a node that is to be started.
    pub fn start(self, terminal: bool) -> Start {
        let Options { json: _, socket, config, instance, acting, user } = self;
        Start { terminal, system: false, instance, socket, config, user, acting }
    }
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Verb {
    /// Run a node without a console, as a service does
    Run {
        /// The machine's node, with its socket in /run and its state in /var/lib
        system: bool,
    },
    /// List who is here
    Who {
        /// Also who was
        gone: bool,
    },
    /// Send a text
    Msg {
        /// Handle, handle@dialect, handle@address or peer id; several with commas
        to: Recipients,
        /// The words; after `--` also such that begin with a dash
        text: Vec<String>,
    },
    /// Send a text to everyone
    All {
        /// The words
        text: Vec<String>,
    },
    /// Send an image
    Img {
        /// As in `msg`
        to: Recipients,
        /// The image file
        path: PathBuf,
    },
    /// Send a file of any kind, or a folder, to people who are linked
    File {
        /// As in `msg`
        to: Recipients,
        /// The file or folder
        path: PathBuf,
    },
    /// Show what was said, the newest last
    History {
        /// With whom, or #lobby; none: all that is yours
        who: Option<String>,
        /// How many entries, 200 at most
        n: Option<u32>,
        /// Only what is older than the entry of this number
        before: Option<u64>,
    },
    /// Find what was said
    Search {
        /// Words, or their beginnings; all must be there
        words: Vec<String>,
        /// How many entries, 200 at most
        n: Option<u32>,
        /// Only what is older than the entry of this number
        before: Option<u64>,
    },
    /// Delete what was said, for good
    Forget {
        /// All that was said with somebody, or in #lobby
        who: Option<String>,
        /// The key of a linked handle whose box is not here; * for all never compared or talked with
        key: Option<String>,
        /// One entry, by the number that `history` shows
        entry: Option<u64>,
        /// Everything
        all: bool,
    },
    /// Write out all that is kept, one JSON value per line
    Export {
        /// As the directory chat's messages.txt has it: `[H:M]who: what`
        messages_txt: bool,
        /// Only what was said with this one, or in #lobby
        with: Option<String>,
    },
    /// Take in what was written out; what is there already is passed over
    Import {
        /// The file; none: standard input
        file: Option<PathBuf>,
    },
    /// Be away
    Away {
        /// What is answered meanwhile, instead of the autoreply
        text: Vec<String>,
    },
    /// Be back
    Back,
    /// Show your handle, or take another
    Handle {
        /// The new one
        new: Option<String>,
    },
    /// Set what is answered while you are away (OFF for nothing)
    Autoreply {
        /// The words
        text: Vec<String>,
    },
    /// Rooms between linked boxes
    Room {
        /// What to do: join, leave, who, list
        verb: RoomVerb,
    },
    /// Ask for a private chat, where a dialect has them
    Chat {
        /// Whom
        handle: String,
    },
    /// Say yes to what somebody asks for
    Accept {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// Say no to it
    Refuse {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// Let a file on its way rest
    Pause {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// Let it go on
    Resume {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// End a file on its way, or its offer
    Cancel {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// End a private chat
    Close {
        /// With whom; none: the newest
        handle: Option<String>,
    },
    /// Enter the chat
    Join,
    /// Leave the chat; the node goes on
    Leave,
    /// Silence a peer
    Block {
        /// Whom
        handle: String,
    },
    /// Hear a silenced peer again
    Unblock {
        /// Whom
        handle: String,
    },
    /// Show the settings, or one; or set it
    Config {
        /// Which
        key: Option<String>,
        /// Its new value
        value: Option<String>,
    },
    /// Set how a peer's program is spoken to, or learn it again
    Form {
        /// Whose
        handle: String,
        /// The form; none, or AUTO: learn it again
        form: Option<String>,
    },
    /// The name of this box's own key, its backup, and taking a backup in
    Identity {
        /// What to do with it
        verb: IdentityVerb,
    },
    /// Show the code of somebody's key, to compare with what the other side shows
    Verify {
        /// Whose
        handle: String,
    },
    /// Say that you compared the code, or accept another key of that handle
    Trust {
        /// Whose
        handle: String,
    },
    /// Show the node at a glance
    Status,
    /// Show the page's address as a QR code, for a phone's camera
    Qr,
    /// See what is wrong with this machine's chat; ends with 1 if something is
    Doctor,
    /// Show events as they happen
    Monitor {
        /// Go on after this event
        since: Option<String>,
    },
    /// Apply the settings on an appliance's card: its start does this, as root
    Provision {
        /// Where the FAT partition is mounted
        boot: PathBuf,
        /// Where the data partition is mounted
        data: PathBuf,
        /// Files of run time
        run: PathBuf,
    },
    /// Install a system update on an appliance; it restarts then
    Update {
        /// The bundle, klatsch-*.raucb
        file: PathBuf,
    },
    /// The node's own users
    User {
        /// What to do with them
        verb: UserVerb,
    },
}

/// What to do with rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomVerb {
    /// Enter one; it is made where nobody is in it
    Join {
        /// Its name
        name: String,
    },
    /// Leave one
    Leave {
        /// Its name
        name: String,
    },
    /// Show who is in one
    Who {
        /// Its name
        name: String,
    },
    /// Show those that are heard of
    List,
}

/// One or more recipients, written with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(pub Vec<String>);

impl std::str::FromStr for Recipients {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Recipients, &'static str> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        match names.map(String::from).collect::<Vec<_>>() {
            names if names.is_empty() => Err("expected a handle, or several: anna,bob"),
            names => Ok(Recipients(names)),
        }
    }
}

/// What to do with the box's key. The node need not run.
#[derive(Debug, PartialEq, Eq)]
pub enum IdentityVerb {
    /// Show its fingerprint
    Show {
        /// The machine's node, with its state in /var/lib
        system: bool,
    },
    /// Write the key out: whoever has it can be this box
    Export {
        /// The machine's node, with its state in /var/lib
        system: bool,
    },
    /// Take in what was written out; the node must not run
    Import {
        /// The file; none: standard input
        file: Option<PathBuf>,
        /// Give up the key that is there
        replace: bool,
        /// The machine's node, with its state in /var/lib
        system: bool,
    },
}

/// What to do with the node's own users.
#[derive(Debug, PartialEq, Eq)]
pub enum UserVerb {
    /// One more
    Add {
        /// Its handle
        handle: String,
    },
    /// One less (never the first)
    Remove {
        /// Its handle
        handle: String,
    },
    /// Show them
    List,
}

/// A line, or what is to be said instead.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// To be done.
    Line(Line),
    /// Help or the version: for stdout.
    Said(String),
}

impl Line {
    /// Reads a line; its first word is the program's name.
    ///
    /// # Errors
    /// It is not by the grammar: what is wrong with it, for stderr.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Wrong> {
        Ok(match read(words)? {
            Read::Said(text) => Asked::Said(text),
            Read::Line(mut found) => {
                Asked::Line(Line { verb: Verb::of(&mut found)?, options: Options::of(&mut found)? })
            }
        })
    }
}

impl Options {
    fn of(found: &mut Found) -> Result<Options, Wrong> {
        Ok(Options {
            json: found.has("--json"),
            socket: found.path("--socket"),
            config: found.path("--config"),
            instance: found.text("--instance")?,
            acting: found.text("--as")?,
            user: found.text("--user")?,
        })
    }
}

impl Verb {
    fn of(found: &mut Found) -> Result<Option<Verb>, Wrong> {
        let (Some(verb), own) = found.verbs() else { return Ok(None) };
        Ok(Some(match (verb, own) {
            ("run", _) => Verb::Run { system: found.has("--system") },
            ("who", _) => Verb::Who { gone: found.has("--gone") },
            ("msg", _) => Verb::Msg { to: found.need(TO)?, text: found.words("TEXT")? },
            ("all", _) => Verb::All { text: found.words("TEXT")? },
            ("img", _) => Verb::Img { to: found.need(TO)?, path: found.need_path("PATH")? },
            ("file", _) => Verb::File { to: found.need(TO)?, path: found.need_path("PATH")? },
            ("history", _) => Verb::History {
                who: found.text("WHO")?,
                n: found.text("-n")?,
                before: found.text("--before")?,
            },
            ("search", _) => Verb::Search {
                words: found.words("WORDS")?,
                n: found.text("-n")?,
                before: found.text("--before")?,
            },
            ("forget", _) => Verb::Forget {
                who: found.text("WHO")?,
                key: found.text("--key")?,
                entry: found.text("--entry")?,
                all: found.has("--all"),
            },
            ("export", _) if found.has("--messages-txt") && found.has("--json") => {
                return Err(found.conflict("--messages-txt", "--json"));
            }
            ("export", _) => Verb::Export {
                messages_txt: found.has("--messages-txt"),
                with: found.text("--with")?,
            },
            ("import", _) => Verb::Import { file: found.path("FILE") },
            ("away", _) => Verb::Away { text: found.words("TEXT")? },
            ("back", _) => Verb::Back,
            ("handle", _) => Verb::Handle { new: found.text("NEW")? },
            ("autoreply", _) => Verb::Autoreply { text: found.words("TEXT")? },
            ("room", Some(own)) => Verb::Room { verb: RoomVerb::of(own, found)? },
            ("chat", _) => Verb::Chat { handle: found.need("HANDLE")? },
            ("accept", _) => Verb::Accept { number: found.need("NUMBER")? },
            ("refuse", _) => Verb::Refuse { number: found.need("NUMBER")? },
            ("pause", _) => Verb::Pause { number: found.need("NUMBER")? },
            ("resume", _) => Verb::Resume { number: found.need("NUMBER")? },
            ("cancel", _) => Verb::Cancel { number: found.need("NUMBER")? },
            ("close", _) => Verb::Close { handle: found.text("HANDLE")? },
            ("join", _) => Verb::Join,
            ("leave", _) => Verb::Leave,
            ("block", _) => Verb::Block { handle: found.need("HANDLE")? },
            ("unblock", _) => Verb::Unblock { handle: found.need("HANDLE")? },
            ("config", _) => Verb::Config { key: found.text("KEY")?, value: found.text("VALUE")? },
            ("form", _) => Verb::Form { handle: found.need("HANDLE")?, form: found.text("FORM")? },
            ("identity", Some(own)) => Verb::Identity { verb: IdentityVerb::of(own, found)? },
            ("verify", _) => Verb::Verify { handle: found.need("HANDLE")? },
            ("trust", _) => Verb::Trust { handle: found.need("HANDLE")? },
            ("status", _) => Verb::Status,
            ("qr", _) => Verb::Qr,
            ("doctor", _) => Verb::Doctor,
            ("monitor", _) => Verb::Monitor { since: found.text("--since")? },
            ("provision", _) => Verb::Provision {
                boot: found.need_path("--boot")?,
                data: found.need_path("--data")?,
                run: found.path("--run").unwrap_or_else(|| "/run".into()),
            },
            ("update", _) => Verb::Update { file: found.need_path("FILE")? },
            ("user", Some(own)) => Verb::User { verb: UserVerb::of(own, found)? },
            _ => return Err(found.unknown()),
        }))
    }
}

impl RoomVerb {
    fn of(own: &str, found: &mut Found) -> Result<RoomVerb, Wrong> {
        Ok(match own {
            "join" => RoomVerb::Join { name: found.need("NAME")? },
            "leave" => RoomVerb::Leave { name: found.need("NAME")? },
            "who" => RoomVerb::Who { name: found.need("NAME")? },
            "list" => RoomVerb::List,
            _ => return Err(found.unknown()),
        })
    }
}

impl IdentityVerb {
    fn of(own: &str, found: &mut Found) -> Result<IdentityVerb, Wrong> {
        let system = found.has("--system");
        Ok(match own {
            "show" => IdentityVerb::Show { system },
            "export" => IdentityVerb::Export { system },
            "import" => IdentityVerb::Import {
                file: found.path("FILE"),
                replace: found.has("--replace"),
                system,
            },
            _ => return Err(found.unknown()),
        })
    }
}

impl UserVerb {
    fn of(own: &str, found: &mut Found) -> Result<UserVerb, Wrong> {
        Ok(match own {
            "add" => UserVerb::Add { handle: found.need("HANDLE")? },
            "remove" => UserVerb::Remove { handle: found.need("HANDLE")? },
            "list" => UserVerb::List,
            _ => return Err(found.unknown()),
        })
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
