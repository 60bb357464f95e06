//! This terminal: a console on it, for a node of this process or one that runs elsewhere.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;

use crate::console::{Ended, Eof, Options, Terminal, tty};
use crate::dialect::slcp;
use crate::hub::Way;

/// How the console is opened.
pub(super) struct Chat {
    /// `--as`: who it acts as.
    pub(super) acting: Option<String>,
    /// The first start: the handle to offer.
    pub(super) ask_handle: Option<String>,
    /// The node is this process's own: it goes on where there is no input at all.
    pub(super) own: bool,
}

/// Whether a person is at standard input and output.
pub(super) fn is_one() -> bool {
    use std::io::IsTerminal;
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Runs the console until it ends.
pub(super) async fn chat<W: Way>(way: &W, chat: Chat) -> Result<ExitCode, String> {
    let mut options = Options::from_env();
    options.session.user = chat.acting;
    options.ask_handle = chat.ask_handle;
    options.session.forms = slcp::FORMS.iter().map(|form| form.name.to_owned()).collect();
    // `klatsch < /dev/null &` is a node; `echo WHO | klatsch` is a question
    if chat.own && is_void() {
        options.eof = Eof::Ignored;
    }
    let terminal = Terminal::stdio().map_err(|e| format!("no terminal: {e}"))?;
    match tty::run(way, terminal, options).await {
        Ok(Ended::NodeGone) if !chat.own => Err("the node is gone".into()),
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(format!("the terminal: {error}")),
    }
}

/// Standard input is a device that is no terminal (`/dev/null`), or closed.
fn is_void() -> bool {
    use std::io::IsTerminal;
    let Ok(fd) = io::stdin().as_fd().try_clone_to_owned() else { return true };
    let file = std::fs::File::from(fd);
    !file.is_terminal() && file.metadata().is_ok_and(|m| m.file_type().is_char_device())
}
