//! A system update that is handed in: copied into the state folder, given to root, its result
//! awaited. Root checks the signature and does the rest (docs/flash.md); nothing here trusts the
//! bytes. On a thread of its own: it is long, and it reads and writes files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::machine::{TAKEN, request, requests};
use crate::model::text::harmless;
use crate::model::{IoError, Refusal};

/// Largest bundle that is taken, in bytes: more than a slot holds.
pub const MAX_BUNDLE: u64 = 512 * 1024 * 1024;
/// Where root expects it, below the state folder.
const FOLDER: &str = "update";
const NAME: &str = "klatsch.raucb";
/// What it is called until it is whole.
const PART: &str = "klatsch.part";
/// Where root answers, beside the control socket: one line, `busy: `, `done: `, `refused: ` or
/// `failed: ` before it.
const RESULT: &str = "update.result";
/// Bytes read of an answer.
const MAX_RESULT: u64 = 1_024;
/// Root's own bound is half an hour.
const MOST: Duration = Duration::from_secs(35 * 60);
/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(250);
const PIECE: usize = 64 * 1024;

/// Hands a bundle in and waits for the line that says what became of it.
pub(super) fn install(state: &Path, runtime: &Path, bundle: OwnedFd) -> Result<String, Refusal> {
    let bundle = File::from(bundle);
    let kind = bundle.metadata().map_err(|e| file("the update", e.into()))?.file_type();
    if !kind.is_file() && !kind.is_socket() {
        return Err(Refusal::bad("Update", "a pipe or a device", "a file"));
    }
    let path = take_in(state, bundle, MAX_BUNDLE)?;
    let outcome = ask_root(runtime);
    // root reads it no more; where it is gone already, so much the better
    let _ = fs::remove_file(path);
    outcome
}

/// Removes what a power cut or a kill left of an earlier one; the bundle not while root may be at
/// it, which its answer or our request says: both are gone with the power.
pub(super) fn sweep(state: &Path, runtime: &Path) {
    let asked = requests(runtime).join("update").exists();
    let busy = answer_of(runtime).is_ok_and(|line| line.starts_with("busy: "));
    let _ = fs::remove_file(state.join(FOLDER).join(PART)); // mostly there is none
    if !asked && !busy {
        let _ = fs::remove_file(state.join(FOLDER).join(NAME));
    }
}

/// Root's line.
fn answer_of(runtime: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(runtime.join(RESULT))?.take(MAX_RESULT).read_to_string(&mut text)?;
    Ok(harmless(text.trim_end()))
}

/// Copies the bundle to where root expects it, on the disk when this returns.
fn take_in(state: &Path, bundle: File, most: u64) -> Result<PathBuf, Refusal> {
    let folder = state.join(FOLDER);
    let path = folder.join(NAME);
    let part = folder.join(PART);
    let copied = copy(&folder, &part, bundle, most)
        .map_err(|error| file(&part.display().to_string(), error))
        .and_then(|bytes| match bytes {
            bytes if bytes > most => Err(Refusal::TooLong { bytes, limit: most }),
            0 => Err(Refusal::Failed { reason: "the update is an empty file".into() }),
            _ => fs::rename(&part, &path)
                .map_err(|error| file(&path.display().to_string(), error.into())),
        });
    if copied.is_err() {
        let _ = fs::remove_file(&part);
    }
    copied.map(|()| path)
}

/// The bytes that were copied; more than `most` if there are more.
fn copy(folder: &Path, part: &Path, mut bundle: File, most: u64) -> Result<u64, IoError> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    match fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o640).open(part)?;
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    while bytes <= most {
        match bundle.read(&mut piece)? {
            0 => break,
            n => {
                to.write_all(&piece[..n])?;
                bytes += n as u64;
            }
        }
    }
    to.sync_all()?;
    Ok(bytes)
}

fn ask_root(runtime: &Path) -> Result<String, Refusal> {
    let (asked, result) = (requests(runtime).join("update"), runtime.join(RESULT));
    let named = |path: &Path, error| file(&path.display().to_string(), IoError::from(error));
    match fs::remove_file(&result) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(named(&result, error));
        }
        _ => {}
    }
    request(&asked).map_err(|error| named(&asked, error))?;
    log::info!("an update was handed in");
    let failed = |reason: String| Err(Refusal::Failed { reason });
    let begun = Instant::now();
    while begun.elapsed() < MOST {
        std::thread::sleep(LOOK);
        if begun.elapsed() > TAKEN && fs::remove_file(&asked).is_ok() {
            return failed("nobody did it: is klatsch-request.path started?".into());
        }
        let Ok(line) = answer_of(runtime) else { continue };
        match line.split_once(": ") {
            Some(("done", line)) => return Ok(line.to_owned()),
            Some(("refused" | "failed", _)) => return failed(line),
            _ => {}
        }
    }
    failed("no result after 35 minutes: LOG says how far it came".into())
}

fn file(path: &str, error: IoError) -> Refusal {
    Refusal::File { path: path.to_owned(), reason: error.text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(folder: &Path, bytes: &[u8]) -> OwnedFd {
        let path = folder.join("given");
        fs::write(&path, bytes).unwrap();
        File::open(path).unwrap().into()
    }

    /// Root's side: takes the request, answers.
    fn root(runtime: &Path, state: &Path, lines: &[&str]) -> std::thread::JoinHandle<Vec<u8>> {
        let (asked, result) = (requests(runtime).join("update"), runtime.join(RESULT));
        let path = state.join(FOLDER).join(NAME);
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        std::thread::spawn(move || {
            while fs::remove_file(&asked).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let seen = fs::read(path).unwrap();
            for line in lines {
                fs::write(&result, line).unwrap();
                std::thread::sleep(LOOK * 2);
            }
            seen
        })
    }

    #[test]
    fn a_bundle_reaches_root_whole_and_its_line_comes_back() {
        for (lines, expected) in [
            (&["busy: checking", "done: 0.2.0 stands in slot B"][..], Ok("0.2.0 stands in slot B")),
            (&["refused: the bundle is not signed"], Err("refused: the bundle is not signed")),
            (&["busy: x", "failed: no\u{7} room"], Err("failed: no\u{fffd} room")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (state, runtime) = (folder.path().join("state"), folder.path().join("run"));
            fs::create_dir_all(&runtime).unwrap();
            fs::write(runtime.join(RESULT), "done: an earlier one\n").unwrap();
            let root = root(&runtime, &state, lines);
            let bytes = vec![7; PIECE + 3];
            let outcome = install(&state, &runtime, bundle(folder.path(), &bytes));
            match expected {
                Ok(line) => assert_eq!(outcome, Ok(line.to_owned())),
                Err(why) => {
                    let Err(Refusal::Failed { reason }) = outcome else { panic!("{outcome:?}") };
                    assert_eq!(
                        reason.replace(|c: char| !c.is_ascii(), ""),
                        why.replace('\u{fffd}', "")
                    );
                }
            }
            assert_eq!(root.join().unwrap(), bytes);
            assert_eq!(fs::read_dir(state.join(FOLDER)).unwrap().count(), 0);
        }
    }

    #[test]
    fn one_byte_past_the_limit_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let most = PIECE as u64;
        let given = |n: usize| File::from(bundle(folder.path(), &vec![1; n]));
        assert!(take_in(folder.path(), given(PIECE), most).is_ok());
        let more = take_in(folder.path(), given(PIECE + 1), most);
        assert_eq!(more, Err(Refusal::TooLong { bytes: most + 1, limit: most }));
        assert!(take_in(folder.path(), given(0), most).is_err());
        let left: Vec<_> = fs::read_dir(folder.path().join(FOLDER))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(left, [NAME]);
    }

    #[test]
    fn what_a_power_cut_left_of_an_update_is_gone_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (state, runtime) = (folder.path().join("state"), folder.path().join("run"));
        sweep(&state, &runtime); // nothing there yet
        fs::create_dir_all(state.join(FOLDER)).unwrap();
        fs::create_dir_all(&runtime).unwrap();
        let left = || {
            for name in [PART, NAME] {
                fs::write(state.join(FOLDER).join(name), "x").unwrap();
            }
            sweep(&state, &runtime);
            [PART, NAME].map(|name| state.join(FOLDER).join(name).exists())
        };
        assert_eq!(left(), [false, false]);
        request(&requests(&runtime).join("update")).unwrap();
        assert_eq!(left(), [false, true], "asked for, and not yet taken");
        fs::remove_file(requests(&runtime).join("update")).unwrap();
        fs::write(runtime.join(RESULT), "busy: checking\n").unwrap();
        assert_eq!(left(), [false, true], "root is at it");
        fs::write(runtime.join(RESULT), "done: 0.2.0\n").unwrap();
        assert_eq!(left(), [false, false]);
    }

    #[test]
    fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let zero = File::open("/dev/zero").unwrap();
        assert!(matches!(
            install(folder.path(), folder.path(), zero.into()),
            Err(Refusal::BadValue { .. })
        ));
        let (pipe, _other) = nix::unistd::pipe().unwrap();
        assert!(install(folder.path(), folder.path(), pipe).is_err());
    }
}
