//! Files of the line: one that comes, kept without a name until it is sent on, and one that goes.
//! Both are small pieces at a time: what a line of some kilobytes a second brings or takes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use nix::libc;

use super::super::inline::{LINE, Transmit};
use super::super::session::{Session, Spool};
use crate::command::Command;
use crate::model::IoError;
use crate::store::files::open_source;
use crate::store::link::files_in;

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

/// A file that goes, or the files of a folder, one after the other.
pub(super) struct Sending {
    file: File,
    transmit: Transmit,
    /// The folder, and which of its files follow.
    folder: PathBuf,
    next: IntoIter<String>,
    /// Bytes of those before.
    before: u64,
}

impl Sending {
    /// Opens it; the first line comes with it.
    pub(super) fn open(path: &str) -> Result<(Vec<u8>, Sending), IoError> {
        let folder = PathBuf::from(path);
        let (file, name, next) = if folder.is_dir() {
            let mut next = files_in(&folder)?.into_iter();
            let name = next.next().unwrap_or_default();
            (open_source(&folder.join(&name))?, name, next)
        } else {
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            (open_source(&folder)?, name, Vec::new().into_iter())
        };
        let transmit = Transmit::default();
        Ok((transmit.head(&name), Sending { file, transmit, folder, next, before: 0 }))
    }

    /// What ends this file, and begins the next of the folder if there is one.
    fn end_of_file(&mut self) -> Result<(Vec<u8>, bool), IoError> {
        let done = std::mem::take(&mut self.transmit);
        self.before += done.size();
        let mut out = done.end();
        let Some(name) = self.next.next() else { return Ok((out, false)) };
        self.file = open_source(&self.folder.join(&name))?;
        out.extend(self.transmit.head(&name));
        Ok((out, true))
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
            Ok(0) => match self.end_of_file() {
                Ok((lines, more)) => {
                    out.extend(lines);
                    if more {
                        return Some(self);
                    }
                    session.file_sent(Ok(self.before));
                    None
                }
                Err(error) => {
                    session.file_sent(Err(&error.text));
                    None
                }
            },
            Ok(_) => {
                out.extend(self.transmit.piece(&bytes));
                Some(self)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::inline::Receive;
    use super::*;
    use crate::console::session::SessionOptions;

    #[test]
    fn a_folder_goes_as_its_files_one_after_the_other_each_under_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let long: Vec<u8> = (0..5_000u32).map(|n| (n % 251) as u8).collect();
        let files = [("a.txt", &b"one"[..]), ("b/c d.bin", &long), ("empty", b"")];
        std::fs::create_dir(dir.path().join("b")).unwrap();
        for (path, bytes) in files {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let mut session = Session::new(SessionOptions::default());
        let (mut out, sending) = Sending::open(dir.path().to_str().unwrap()).unwrap();
        let mut sending = Some(sending);
        while let Some(file) = sending.take() {
            sending = file.go_on(&mut session, &mut out);
        }
        let text = String::from_utf8(out.clone()).unwrap();
        let heads: Vec<&str> = text.lines().filter(|l| l.starts_with("begin-base64")).collect();
        let expected = files.map(|(path, _)| format!("begin-base64 644 {path}"));
        assert_eq!(heads, expected);
        // each is whole by its own checksum
        let (mut receive, mut whole) = (Receive::new(1 << 20), Vec::new());
        for byte in out {
            match receive.feed(byte) {
                Some(Ok(_)) => {
                    whole.push(std::mem::replace(&mut receive, Receive::new(1 << 20)).take())
                }
                // as the third one
                Some(Err(why)) => {
                    assert_eq!(why, "it is empty");
                    break;
                }
                None => {}
            }
        }
        assert_eq!(whole, [files[0].1.to_vec(), long.clone()]);
        assert!(text.ends_with("begin-base64 644 empty\r\n====\r\n4294967295 0\r\n"), "{text}");
        assert!(String::from_utf8_lossy(&session.take_output()).contains("sent whole (5.0 kB)"));
    }

    #[test]
    fn a_folder_without_files_is_not_sent_and_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Sending::open(dir.path().to_str().unwrap()).err().unwrap();
        assert_eq!(error.text, "there is no file in that folder");
    }
}
