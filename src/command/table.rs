//! The rows of the command table: one per command a person can type. Parser, completion, HELP
//! and the manual page all read it; nothing else lists commands.

/// One command as a person knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its word, in capitals.
    pub name: &'static str,
    /// Other words for it.
    pub aliases: &'static [&'static str],
    /// How it is typed.
    pub usage: &'static str,
    /// One line for the list.
    pub summary: &'static str,
    /// More, for `HELP name`.
    pub help: &'static str,
    /// A line that works.
    pub example: &'static str,
    /// What Tab offers for each argument in turn.
    pub arguments: &'static [Kind],
}

/// What Tab offers for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A peer's handle.
    Handle,
    /// Several, with commas; the last one is completed.
    Handles,
    /// A handle of one of the node's own users.
    User,
    /// A file, to the end of the line.
    Path,
    /// A setting's key.
    SettingKey,
    /// `ON` or `OFF`, where the setting before it is a switch.
    OnOff,
    /// A command's name.
    CommandName,
    /// The name of a program's form.
    Form,
    /// What to do with a room.
    RoomAct,
    /// Nothing: free text.
    None,
}

impl Row {
    /// The row that a word names, in any case, with or without a leading `/`.
    pub fn named(word: &str) -> Option<&'static Row> {
        let word = word.strip_prefix('/').unwrap_or(word);
        ROWS.iter().find(|row| row.words().any(|w| w.eq_ignore_ascii_case(word)))
    }

    /// Its name and aliases.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// All commands, in the order in which HELP lists them.
pub static ROWS: &[Row] = &[
    Row {
        name: "WHO",
        aliases: &["LIST"],
        usage: "WHO [GONE]",
        summary: "who is here; with GONE also who was",
        help: "The first column is what to type to write to somebody. Where two bear one handle it \
               is handle@address.",
        example: "WHO",
        arguments: &[Kind::None],
    },
    Row {
        name: "MSG",
        aliases: &["TELL"],
        usage: "MSG <handle>[,<handle>...] <text>",
        summary: "write to one or several",
        help: "The text needs no quotes: everything after the handles is sent as it stands. For \
               each recipient you are told what became of it. Whoever is not here gets it when he \
               is back.",
        example: "MSG anna hello",
        arguments: &[Kind::Handles, Kind::None],
    },
    Row {
        name: "ALL",
        aliases: &[],
        usage: "ALL <text>",
        summary: "write to everyone who is here",
        help: "Sent to each in turn where a chat has no room of its own.",
        example: "ALL lunch is ready",
        arguments: &[Kind::None],
    },
    Row {
        name: "IMG",
        aliases: &["IMAGE"],
        usage: "IMG <handle>[,<handle>...] <file>",
        summary: "send an image",
        help: "The file's name may hold spaces, with or without quotes around it; ~/ is your home \
               folder. A - takes the image over this line: (echo begin-base64 644 $f; base64 $f; \
               echo ====; cksum <$f) makes the text to be sent of a file f.",
        example: "IMG anna ~/cat.png",
        arguments: &[Kind::Handles, Kind::Path],
    },
    Row {
        name: "FILE",
        aliases: &["FOLDER"],
        usage: "FILE <handle>[,<handle>...] <file>",
        summary: "send a file of any kind, or a folder",
        help: "To people who are linked (WHO says encrypted): it is offered, goes on where it \
               stopped after any break, and is checked when it is whole. Others get images only.",
        example: "FILE anna ~/holidays",
        arguments: &[Kind::Handles, Kind::Path],
    },
    Row {
        name: "PAUSE",
        aliases: &[],
        usage: "PAUSE <number>",
        summary: "let a file on its way rest",
        help: "The number is in the line that told of it, and in STATUS. RESUME goes on.",
        example: "PAUSE 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "RESUME",
        aliases: &[],
        usage: "RESUME <number>",
        summary: "let it go on",
        help: "From where it stopped.",
        example: "RESUME 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "CANCEL",
        aliases: &[],
        usage: "CANCEL <number>",
        summary: "end a file on its way, or its offer",
        help: "On either side; what came of it is removed, and the other side is told.",
        example: "CANCEL 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "SAVE",
        aliases: &[],
        usage: "SAVE [<number> [-]]",
        summary: "where an image or file is that came",
        help: "Its number stands at the end of the line that told of it. Without a number the \
               newest are listed. With - it comes itself over this line, as base64 between \
               begin-base64 and ====, with what cksum says of it; a folder as its files, one \
               after the other, under their paths in it. Ctrl-C ends it.",
        example: "SAVE 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "HISTORY",
        aliases: &[],
        usage: "HISTORY [who] [n] [BEFORE number]",
        summary: "read what was said, the newest last",
        help: "With whom: a handle, or #lobby for what was said to all; without, everything that \
               is yours. Twenty entries unless you say how many; the number before each counts \
               all of them, and BEFORE it shows what came before.",
        example: "HISTORY anna 50",
        arguments: &[Kind::Handle, Kind::None],
    },
    Row {
        name: "SEARCH",
        aliases: &["FIND"],
        usage: "SEARCH <words>",
        summary: "find what was said",
        help: "Finds entries that hold all the words, or words that begin so. Capitals and \
               accents do not matter: muller finds Müller.",
        example: "SEARCH lunch",
        arguments: &[Kind::None],
    },
    Row {
        name: "FORGET",
        aliases: &[],
        usage: "FORGET <who>|KEY <who>|ENTRY n|ALL",
        summary: "delete what was said, for good",
        help: "What you said with somebody (or #lobby), one entry by the number that HISTORY \
               shows, or everything. What still waits for somebody does not leave then. KEY frees a \
               linked handle for another key while its box is not here; KEY * all that were never \
               compared or talked with.",
        example: "FORGET ENTRY 17",
        arguments: &[Kind::Handle, Kind::None],
    },
    Row {
        name: "CHAT",
        aliases: &[],
        usage: "CHAT <handle>",
        summary: "a private chat, where a dialect has them",
        help: "Asks somebody in the room or the directory; he accepts or refuses. MSG to him asks \
               too, and is sent once he accepts. CLOSE ends it.",
        example: "CHAT anna",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "ACCEPT",
        aliases: &[],
        usage: "ACCEPT <number>",
        summary: "yes to what somebody asks for",
        help: "A private chat or a file: the number is in the line that says who asks, and in \
               STATUS. The settings auto-accept and files.accept-any name those who need not wait \
               for it.",
        example: "ACCEPT 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "REFUSE",
        aliases: &["REJECT"],
        usage: "REFUSE <number>",
        summary: "no to it",
        help: "He is told, where his chat has a word for it.",
        example: "REFUSE 3",
        arguments: &[Kind::None],
    },
    Row {
        name: "CLOSE",
        aliases: &[],
        usage: "CLOSE [<handle>]",
        summary: "end a private chat",
        help: "Without a handle the newest. /back does the same; without a private chat it is \
               BACK.",
        example: "CLOSE anna",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "AWAY",
        aliases: &[],
        usage: "AWAY [text]",
        summary: "be away: whoever writes gets the autoreply",
        help: "With a text, that text becomes the autoreply.",
        example: "AWAY back at two",
        arguments: &[Kind::None],
    },
    Row {
        name: "BACK",
        aliases: &[],
        usage: "BACK",
        summary: "be back",
        help: "Ends AWAY.",
        example: "BACK",
        arguments: &[],
    },
    Row {
        name: "HANDLE",
        aliases: &["NICK"],
        usage: "HANDLE <name>",
        summary: "go by another name",
        help: "One word: no spaces, commas, colons or quotes. The others are told.",
        example: "HANDLE anna-2",
        arguments: &[Kind::None],
    },
    Row {
        name: "AUTOREPLY",
        aliases: &[],
        usage: "AUTOREPLY <text>|OFF",
        summary: "what is answered while you are away",
        help: "OFF answers nothing. Each person gets it once in a while, not for every message.",
        example: "AUTOREPLY I am at lunch",
        arguments: &[Kind::None],
    },
    Row {
        name: "JOIN",
        aliases: &[],
        usage: "JOIN",
        summary: "enter the chat",
        help: "Done by itself at the start; needed only after LEAVE.",
        example: "JOIN",
        arguments: &[],
    },
    Row {
        name: "LEAVE",
        aliases: &[],
        usage: "LEAVE",
        summary: "leave the chat, the node goes on",
        help: "The others are told. JOIN enters again.",
        example: "LEAVE",
        arguments: &[],
    },
    Row {
        name: "BLOCK",
        aliases: &["IGNORE"],
        usage: "BLOCK <handle>",
        summary: "hear nothing of somebody any more",
        help: "Nothing of them is shown, stored or answered, after a restart neither.",
        example: "BLOCK mallory",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "UNBLOCK",
        aliases: &["UNIGNORE"],
        usage: "UNBLOCK <handle>",
        summary: "hear them again",
        help: "Ends BLOCK.",
        example: "UNBLOCK mallory",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "ROOM",
        aliases: &["ROOMS"],
        usage: "ROOM JOIN|LEAVE|WHO <name>, LIST",
        summary: "rooms between linked boxes",
        help: "MSG #name writes there, HISTORY #name reads it. Whoever is linked may enter a room. \
               Who is in it and not here gets what was said when he comes back.",
        example: "ROOM JOIN coffee",
        arguments: &[Kind::RoomAct, Kind::None],
    },
    Row {
        name: "VERIFY",
        aliases: &[],
        usage: "VERIFY <handle>",
        summary: "the code of somebody's key, to compare",
        help: "For people who are linked (WHO says encrypted). Compare the code by voice or in \
               person: it is the same on both sides exactly if nobody is between you.",
        example: "VERIFY anna",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "TRUST",
        aliases: &[],
        usage: "TRUST <handle>",
        summary: "you compared the code; accept a new key",
        help: "Remembers that VERIFY's code was compared. Where another key claims the handle, \
               that key is accepted instead, and what waits goes to it.",
        example: "TRUST anna",
        arguments: &[Kind::Handle],
    },
    Row {
        name: "CONFIG",
        aliases: &["SET"],
        usage: "CONFIG [<key> [<value>]]",
        summary: "show settings, or change one",
        help: "CONFIG lists all, CONFIG key shows one, CONFIG key value changes it, CONFIG key \
               \"\" empties it; the change lasts over a restart. CONFIG inactive ON is AWAY, OFF \
               is BACK. CONFIG TIME 2026-11-21 18:00 sets a box's clock (UTC). CONFIG WIDTH asks this terminal how wide it is, CONFIG WIDTH 100 \
               tells it.",
        example: "CONFIG bell ON",
        arguments: &[Kind::SettingKey, Kind::OnOff],
    },
    Row {
        name: "MUTE",
        aliases: &[],
        usage: "MUTE",
        summary: "show nothing of what comes",
        help: "For this console only. What became of your own messages is still told. UNMUTE says \
               how many came meanwhile.",
        example: "MUTE",
        arguments: &[],
    },
    Row {
        name: "UNMUTE",
        aliases: &[],
        usage: "UNMUTE",
        summary: "show what comes again",
        help: "Ends MUTE.",
        example: "UNMUTE",
        arguments: &[],
    },
    Row {
        name: "MODE",
        aliases: &[],
        usage: "MODE JSON|TEXT",
        summary: "speak JSON, for a program on this line",
        help: "One JSON object per line each way, as on the control socket. The line MODE TEXT ends \
               it.",
        example: "MODE JSON",
        arguments: &[Kind::None],
    },
    Row {
        name: "STATUS",
        aliases: &[],
        usage: "STATUS",
        summary: "the node: users, ports, addresses, files",
        help: "What you need when somebody cannot see you.",
        example: "STATUS",
        arguments: &[],
    },
    Row {
        name: "QR",
        aliases: &[],
        usage: "QR",
        summary: "the page's address, for a phone's camera",
        help: "Whoever is on the same network opens it in a browser and is in the chat.",
        example: "QR",
        arguments: &[],
    },
    Row {
        name: "DOCTOR",
        aliases: &[],
        usage: "DOCTOR",
        summary: "what is wrong, and what to do about it",
        help: "Looks at interfaces, addresses, ports, broadcast, firewall, peers, clock, disk and \
               the last errors. It takes about a second.",
        example: "DOCTOR",
        arguments: &[],
    },
    Row {
        name: "NETWORK",
        aliases: &[],
        usage: "NETWORK",
        summary: "the machine's interfaces and addresses",
        help: "With links and the state of Wi-Fi.",
        example: "NETWORK",
        arguments: &[],
    },
    Row {
        name: "LOG",
        aliases: &[],
        usage: "LOG [<lines>]",
        summary: "the last lines of the log",
        help: "20 of them where no number is given.",
        example: "LOG 50",
        arguments: &[Kind::None],
    },
    Row {
        name: "REBOOT",
        aliases: &["RESTART"],
        usage: "REBOOT",
        summary: "restart the machine",
        help: "Where the machine is klatsch's own. On a console with a PIN it is asked first.",
        example: "REBOOT",
        arguments: &[],
    },
    Row {
        name: "POWEROFF",
        aliases: &["SHUTDOWN"],
        usage: "POWEROFF",
        summary: "switch the machine off",
        help: "Where the machine is klatsch's own. On a console with a PIN it is asked first.",
        example: "POWEROFF",
        arguments: &[],
    },
    Row {
        name: "FACTORY-RESET",
        aliases: &[],
        usage: "FACTORY-RESET YES",
        summary: "forget everything, and restart",
        help: "All that was set here, kept and received is erased; the configuration files stay. \
               Where the machine is klatsch's own.",
        example: "FACTORY-RESET YES",
        arguments: &[Kind::None],
    },
    Row {
        name: "FORM",
        aliases: &[],
        usage: "FORM <handle> [<form>|AUTO]",
        summary: "how somebody's program wants to be spoken to",
        help: "Usually learned by listening. AUTO, or no form, learns it again.",
        example: "FORM anna AUTO",
        arguments: &[Kind::Handle, Kind::Form],
    },
    Row {
        name: "USER",
        aliases: &["AS"],
        usage: "USER [<handle>]",
        summary: "which of the node's users you speak for",
        help: "Without a handle it lists them.",
        example: "USER anna",
        arguments: &[Kind::User],
    },
    Row {
        name: "HELP",
        aliases: &["?"],
        usage: "HELP [<command>]",
        summary: "this list, or more about one command",
        help: "Commands are typed in any case, with or without a / before them. Tab completes \
               commands, handles, settings and files.",
        example: "HELP MSG",
        arguments: &[Kind::CommandName],
    },
    Row {
        name: "QUIT",
        aliases: &["EXIT"],
        usage: "QUIT",
        summary: "close this console",
        help: "A node that was started by this terminal leaves the chat and ends; one that runs by \
               itself goes on. Ctrl-D on an empty line does the same.",
        example: "QUIT",
        arguments: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::parse;

    #[test]
    fn every_row_explains_itself_and_its_example_parses() {
        for row in ROWS {
            assert!(row.usage.starts_with(row.name), "{}", row.name);
            assert!(!row.summary.is_empty() && !row.help.is_empty(), "{}", row.name);
            assert!(row.usage.len() <= 34 && row.summary.len() <= 44, "{}: too wide", row.name);
            assert!(parse(row.example).is_ok(), "{}", row.example);
            assert!(row.example.split(' ').next() == Some(row.name), "{}", row.example);
        }
    }

    #[test]
    fn no_word_names_two_commands() {
        let mut words: Vec<&str> = ROWS.iter().flat_map(Row::words).collect();
        words.sort_unstable();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all);
        assert!(words.iter().all(|w| Row::named(&w.to_lowercase()).is_some()));
    }
}
