//! Files of the line: one that comes, kept without a name until it is sent on, and one that goes.
//! Both are small pieces at a time: what a line of some kilobytes a second brings or takes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use super::super::inline::{LINE, Transmit};
use super::super::session::{Session, Spool};
use crate::command::Command;
use crate::model::IoError;
use crate::store::files::open_source;

/// Lines of a file that are handed to the terminal at once.
const LINES: usize = 12;

/// A file that comes.
#[derive(Default)]
pub(super) struct Spooled(Option<File>);

impl Spooled {
    /// Does what the session wants done with it.
    pub(super) fn take(&mut self, piece: Spool, folder: Option<&Path>) -> io::Result<()> {
        match piece {
            Spool::Begin => self.0 = Some(nameless(folder)?),
            Spool::Data(bytes) => {
                if let Some(file) = &mut self.0 {
                    if let Err(error) = file.write_all(&bytes) {
                        self.0 = None;
                        return Err(error);
                    }
                }
            }
            Spool::Drop => self.0 = None,
        }
        Ok(())
    }

    /// The file for the command that sends it on.
    pub(super) fn for_command(&mut self, command: &Command) -> Option<OwnedFd> {
        match command {
            Command::SendFile { descriptor: Some(_), .. } => self.0.take().map(OwnedFd::from),
            _ => None,
        }
    }
}

/// A file that is gone when it is closed, whatever happens (open(2), `O_TMPFILE`); where the file
/// system has none such, one whose name is removed at once.
fn nameless(folder: Option<&Path>) -> io::Result<File> {
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    // the image folder is made with the first image
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(&folder) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        done => return done,
    }
    let path = folder.join(format!(".line-{:016x}", fastrand::u64(..)));
    let file = options.create_new(true).custom_flags(libc::O_NOFOLLOW).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// A file that goes.
pub(super) struct Sending {
    file: File,
    transmit: Transmit,
}

impl Sending {
    /// Opens it; the first line comes with it.
    pub(super) fn open(path: &str) -> Result<(Vec<u8>, Sending), IoError> {
        let file = open_source(Path::new(path))?;
        let transmit = Transmit::default();
        let name = path.rsplit('/').next().unwrap_or(path);
        Ok((transmit.head(name), Sending { file, transmit }))
    }

    /// The next lines; `None` when it is over, whole or not.
    pub(super) fn go_on(mut self, session: &mut Session, out: &mut Vec<u8>) -> Option<Sending> {
        if session.file_aborted() {
            session.file_sent(Err("it was ended with Ctrl-C"));
            return None;
        }
        let mut bytes = Vec::with_capacity(LINE * LINES);
        match (&self.file).take((LINE * LINES) as u64).read_to_end(&mut bytes) {
            Err(error) => {
                session.file_sent(Err(&IoError::from(error).text));
                None
            }
            Ok(0) => {
                let size = self.transmit.size();
                out.extend(self.transmit.end());
                session.file_sent(Ok(size));
                None
            }
            Ok(_) => {
                out.extend(self.transmit.piece(&bytes));
                Some(self)
            }
        }
    }
}
