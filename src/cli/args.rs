//! The command line's grammar: verbs and options, with the help that a person reads.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::daemon::Start;

/// Chat with everyone on the local network. Without a command: opens the chat on this terminal
#[derive(Debug, Parser)]
#[command(name = "klatsch", version, after_help = EXIT_CODES)]
pub struct Line {
    /// For every verb.
    #[command(flatten)]
    pub options: Options,
    /// What to do; none: chat on this terminal.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, sent or delivered; 1 refused; 2 wrong usage; \
    3 queued; 4 failed;\n5 no such peer; 6 ambiguous handle; 69 no node running";

/// Options that every verb takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Options {
    /// Print one JSON value per line
    #[arg(long, global = true)]
    pub json: bool,
    /// The node's control socket
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// A configuration file above all others
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Which of several nodes of yours
    #[arg(long, global = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Act as this user of the node (else: its first)
    #[arg(long = "as", global = true, value_name = "HANDLE")]
    pub acting: Option<String>,
    /// Which of the configuration's users to start as
    #[arg(long, global = true, value_name = "N|HANDLE")]
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
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Run a node without a console, as a service does
    Run {
        /// The machine's node, with its socket in /run and its state in /var/lib
        #[arg(long)]
        system: bool,
    },
    /// List who is here
    Who {
        /// Also who was
        #[arg(long)]
        gone: bool,
    },
    /// Send a text
    Msg {
        /// Handle, handle@dialect, handle@address or peer id; several with commas
        #[arg(value_name = "HANDLE[,HANDLE]")]
        to: Recipients,
        /// The words; after `--` also such that begin with a dash
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Send a text to everyone
    All {
        /// The words
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Send an image
    Img {
        /// As in `msg`
        #[arg(value_name = "HANDLE[,HANDLE]")]
        to: Recipients,
        /// The image file
        path: PathBuf,
    },
    /// Send a file of any kind, or a folder, to people who are linked
    File {
        /// As in `msg`
        #[arg(value_name = "HANDLE[,HANDLE]")]
        to: Recipients,
        /// The file or folder
        path: PathBuf,
    },
    /// Show what was said, the newest last
    History {
        /// With whom, or #lobby; none: all that is yours
        who: Option<String>,
        /// How many entries, 200 at most
        #[arg(short, value_name = "NUMBER")]
        n: Option<u32>,
        /// Only what is older than the entry of this number
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
    /// Find what was said
    Search {
        /// Words, or their beginnings; all must be there
        #[arg(required = true)]
        words: Vec<String>,
        /// How many entries, 200 at most
        #[arg(short, value_name = "NUMBER")]
        n: Option<u32>,
        /// Only what is older than the entry of this number
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
    },
    /// Delete what was said, for good
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Forget {
        /// All that was said with somebody, or in #lobby
        #[arg(group = "what")]
        who: Option<String>,
        /// The key of a linked handle whose box is not here; * for all never compared or talked with
        #[arg(long, value_name = "HANDLE", group = "what")]
        key: Option<String>,
        /// One entry, by the number that `history` shows
        #[arg(long, value_name = "NUMBER", group = "what")]
        entry: Option<u64>,
        /// Everything
        #[arg(long, group = "what")]
        all: bool,
    },
    /// Write out all that is kept, one JSON value per line
    Export {
        /// As the directory chat's messages.txt has it: `[H:M]who: what`
        #[arg(long, conflicts_with = "json")]
        messages_txt: bool,
        /// Only what was said with this one, or in #lobby
        #[arg(long, value_name = "HANDLE")]
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
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Rooms between linked boxes
    Room {
        /// What to do: join, leave, who, list
        #[command(subcommand)]
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
    // these four: the manual page and `klatsch help pause` have them
    #[command(hide = true)]
    Pause {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// Let it go on
    #[command(hide = true)]
    Resume {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// End a file on its way, or its offer
    #[command(hide = true)]
    Cancel {
        /// The number that `monitor` and `status` show
        number: u32,
    },
    /// End a private chat
    #[command(hide = true)]
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
    // rarely wanted: the manual page and `klatsch unblock --help` have it
    #[command(hide = true)]
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
    // rarely wanted: the manual page and `klatsch form --help` have it
    #[command(hide = true)]
    Form {
        /// Whose
        handle: String,
        /// The form; none, or AUTO: learn it again
        form: Option<String>,
    },
    /// The name of this box's own key, its backup, and taking a backup in
    Identity {
        /// What to do with it
        #[command(subcommand)]
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
        #[arg(long, value_name = "EPOCH:SEQ")]
        since: Option<String>,
    },
    /// Apply the settings on an appliance's card: its start does this, as root
    #[command(hide = true)]
    Provision {
        /// Where the FAT partition is mounted
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
        /// Where the data partition is mounted
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Files of run time
        #[arg(long, value_name = "DIR", default_value = "/run")]
        run: PathBuf,
    },
    /// Install a system update on an appliance; it restarts then
    #[command(hide = true)]
    Update {
        /// The bundle, klatsch-*.raucb
        file: PathBuf,
    },
    /// The node's own users
    User {
        /// What to do with them
        #[command(subcommand)]
        verb: UserVerb,
    },
}

/// What to do with rooms.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
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
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum IdentityVerb {
    /// Show its fingerprint
    Show {
        /// The machine's node, with its state in /var/lib
        #[arg(long)]
        system: bool,
    },
    /// Write the key out: whoever has it can be this box
    Export {
        /// The machine's node, with its state in /var/lib
        #[arg(long)]
        system: bool,
    },
    /// Take in what was written out; the node must not run
    Import {
        /// The file; none: standard input
        file: Option<PathBuf>,
        /// Give up the key that is there
        #[arg(long)]
        replace: bool,
        /// The machine's node, with its state in /var/lib
        #[arg(long)]
        system: bool,
    },
}

/// What to do with the node's own users.
#[derive(Debug, PartialEq, Eq, Subcommand)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn line(text: &str) -> Line {
        Line::try_parse_from(text.split(' ')).unwrap()
    }

    #[test]
    fn the_grammar_is_sound_and_help_fits_a_screen() {
        Line::command().debug_assert();
        let help = Line::command().render_help().to_string();
        assert!(help.lines().count() <= 50, "{help}");
    }

    #[test]
    fn options_stand_anywhere() {
        for text in ["klatsch --json who --gone", "klatsch who --gone --json"] {
            let line = line(text);
            assert!(line.options.json);
            assert_eq!(line.verb, Some(Verb::Who { gone: true }));
        }
        let all = "klatsch --socket /s --config /c --instance x --as anna --user 2";
        let start = line(all).options.start(true);
        assert_eq!(start.acting.as_deref(), Some("anna"));
        assert_eq!(start.user.as_deref(), Some("2"));
        assert!(start.terminal);
    }

    #[test]
    fn recipients_are_split_and_words_kept() {
        let msg = line("klatsch msg anna,bob hello to you --json");
        assert!(msg.options.json);
        let text = ["hello", "to", "you"].map(Into::into).to_vec();
        assert_eq!(msg.verb, Some(Verb::Msg { to: "anna,bob".parse().unwrap(), text }));
        assert_eq!(" a, b,".parse(), Ok(Recipients(vec!["a".into(), "b".into()])));
        assert!(",".parse::<Recipients>().is_err());
        let dash = line("klatsch all -- --json");
        assert_eq!(dash.verb, Some(Verb::All { text: vec!["--json".into()] }));
        assert!(!dash.options.json);
    }

    #[test]
    fn what_is_missing_or_unknown_is_usage() {
        for text in ["klatsch msg anna", "klatsch fly", "klatsch user", "klatsch img anna"] {
            let error = Line::try_parse_from(text.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
        }
    }
}
