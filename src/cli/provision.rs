//! `klatsch provision`: once at each start of an appliance, as root, before the network and the
//! daemon. Reads the FAT partition, keeps what was accepted on the data partition, and makes the
//! files of /run from it. `provision` decides; this reads, writes and survives power cuts: a value
//! is on the data partition before it leaves the card, and the card's file counts as read only
//! when all that follows from it is done.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blake2::Blake2s256;
use blake2::digest::Digest;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Code, print};
use crate::account;
use crate::config::{kept, layers};
use crate::control::socket::GROUP;
use crate::daemon::complain;
use crate::model::{IoError, Trouble};
use crate::provision::{self, Applied, FILES, Line, MAX_CARD, Plan, Readers, Reset, note, trouble};

/// The settings on the FAT partition.
const CARD: &str = "klatsch.toml";
/// Its answer, beside it.
const REPORT: &str = "klatsch-report.txt";
/// Asks for all to be forgotten; Windows may add an ending.
const RESETS: [&str; 2] = ["factory-reset", "factory-reset.txt"];
/// It is called this while it is done, so that a power cut does not lose it, and one that cannot
/// be removed from the card is not done at every start.
const RESETTING: &str = "factory-reset.now";
/// Bytes read of it.
const MAX_RESET: u64 = 256;
/// On the data partition: what was accepted.
const APPLIED: &str = "box/provision.toml";
/// Its largest size, in bytes: a card's worth of values, quoted.
const MAX_APPLIED: u64 = 8 * MAX_CARD as u64;
/// On the data partition: the daemon's state.
const STATE: &str = "klatsch";
/// On the data partition: the log's copy.
const LOG: &str = "log";
/// On the data partition, of the box itself: stays whatever is forgotten.
const STAYS: &str = "machine-id";

/// The three folders.
pub(super) struct Folders {
    /// Where the FAT partition is mounted; not there: it could not be.
    pub(super) boot: PathBuf,
    /// Where the data partition is mounted.
    pub(super) data: PathBuf,
    /// Files of run time: /run.
    pub(super) run: PathBuf,
}

/// Does all of it. What could not be done is said and the rest done.
pub(super) fn run(folders: &Folders) -> Code {
    let mut applied = read_applied(&folders.data.join(APPLIED));
    if folders.boot.is_dir() {
        follow_card(folders, &mut applied);
    } else {
        complain("the card's FAT partition cannot be read: the box starts as it did before");
    }
    let mut code = Code::Done;
    let files = provision::outputs(&applied.values);
    for path in FILES {
        let to = folders.run.join(path);
        let done = match files.iter().find(|file| file.path == *path) {
            Some(file) => put(&to, file.text.as_bytes(), file.read),
            None => remove(&to),
        };
        if let Err(error) = done {
            complain(format!("{}: {error}", to.display()));
            code = Code::Refused;
        }
    }
    code
}

/// Reads the card where it changed, and answers on it and on stdout.
fn follow_card(folders: &Folders, applied: &mut Applied) {
    let mut lines = Vec::new();
    let bytes = match layers::bytes(&folders.boot.join(CARD), MAX_CARD as u64) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == Trouble::Missing => Ok(None),
        Err(error) => Err(error),
    };
    let seen = bytes.as_ref().ok().map(|bytes| fingerprint(bytes.as_deref()));
    if !wants_reset(&folders.boot) && seen.as_ref() == Some(&applied.fingerprint) {
        return;
    }
    let_write(&folders.boot);
    let reset = begin_reset(&folders.boot, &mut lines);
    if let Some(reset) = reset {
        forget(folders, reset, applied, &mut lines);
    }
    let plan = match &bytes {
        Ok(bytes) => provision::plan(bytes.as_deref(), &applied.values),
        Err(error) => Plan {
            values: applied.values.clone(),
            lines: vec![trouble(format!("{CARD} cannot be read: {error}; what held stays"))],
            ..Plan::default()
        },
    };
    if bytes.is_ok_and(|bytes| bytes.is_none()) && folders.boot.join("klatsch.toml.txt").exists() {
        lines.push(trouble("klatsch.toml.txt is not read: call it klatsch.toml".into()));
    }
    lines.extend(plan.lines);
    forget_kept(&folders.data, |key| plan.changed.iter().any(|changed| changed == key), &mut lines);
    applied.values = plan.values;
    applied.fingerprint.clear();
    let stored = keep(folders, applied);
    if let Err(error) = &stored {
        lines.push(trouble(format!("not kept over the next start: {error}")));
    }
    let mut seen = seen.filter(|_| stored.is_ok());
    if let (Some(text), Ok(())) = (plan.rewritten, &stored) {
        match put(&folders.boot.join(CARD), text.as_bytes(), Readers::All) {
            Ok(()) => seen = seen.map(|_| fingerprint(Some(text.as_bytes()))),
            Err(error) => {
                let text = "the secrets could not be taken out of the file";
                lines.push(trouble(format!("{text}: {error}")));
                seen = None;
            }
        }
    }
    if reset.is_some() {
        // if it cannot be, it is done again: all of it is gone already
        let _ = remove(&folders.boot.join(RESETTING));
    }
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    let report = provision::report(&host.unwrap_or_default(), &lines);
    let _ = print(&report);
    let answered = put(&folders.boot.join(REPORT), windows(&report).as_bytes(), Readers::All);
    if let Err(error) = &answered {
        complain(format!("{REPORT} cannot be written: {error}"));
    }
    if let Some(seen) = seen {
        applied.fingerprint = seen;
        if let Err(error) = keep(folders, applied) {
            complain(format!("{APPLIED}: {error}: the card is read again at the next start"));
        }
    }
}

/// A start with nothing new on the card writes nothing to it: the partition is mounted to be read,
/// and opened for writing only here. A card whose write protection is on stays as it is; what could
/// not be written is said later.
fn let_write(boot: &Path) {
    if statvfs(boot).is_ok_and(|facts| facts.flags().contains(FsFlags::ST_RDONLY)) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        let none = None::<&Path>;
        let _ = mount(none, boot, none, flags | MsFlags::MS_NOEXEC, none);
    }
}

/// Whether one is asked for, or under way.
fn wants_reset(boot: &Path) -> bool {
    RESETS.iter().chain([&RESETTING]).any(|name| boot.join(name).exists())
}

/// What the file asks for, once it is known that it can be removed.
fn begin_reset(boot: &Path, lines: &mut Vec<Line>) -> Option<Reset> {
    let now = boot.join(RESETTING);
    let path = RESETS.iter().map(|name| boot.join(name)).find(|path| path.exists());
    let under_way = now.exists();
    let bytes = match (under_way, &path) {
        (true, _) => layers::bytes(&now, MAX_RESET),
        (false, Some(path)) => layers::bytes(path, MAX_RESET),
        (false, None) => return None,
    };
    let wanted =
        bytes.map_err(|e| format!("factory-reset: {e}")).and_then(|b| provision::reset(&b));
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(line) => {
            lines.push(trouble(line));
            return None;
        }
    };
    if let (false, Some(path)) = (under_way, path) {
        let renamed = fs::rename(&path, &now).and_then(|()| File::open(boot)?.sync_all());
        if let Err(error) = renamed {
            let error = IoError::from(error);
            let text = format!("factory-reset: not done, it could not be removed after: {error}");
            lines.push(trouble(text));
            return None;
        }
    }
    Some(wanted)
}

/// Forgets what is to be forgotten. Whatever it is, it may be done twice.
fn forget(folders: &Folders, reset: Reset, applied: &mut Applied, lines: &mut Vec<Line>) {
    let is_pin = crate::command::is_secret;
    match reset {
        Reset::Pins => {
            applied.values.retain(|key, _| !is_pin(key));
            forget_kept(&folders.data, is_pin, lines);
            lines.push(note("factory-reset: the PINs are cleared".into()));
        }
        Reset::Everything => {
            *applied = Applied::default();
            let state = folders.data.join(STATE);
            let mark = crate::daemon::mark_for_reset(&state);
            let own = folders.data.join(APPLIED);
            let emptied = own.parent().map_or(Ok(()), empty);
            match mark.and(emptied).and(empty(&folders.data.join(LOG))) {
                Ok(()) => lines.push(note("factory-reset: everything is forgotten".into())),
                Err(error) => {
                    lines.push(trouble(format!("factory-reset: not all is forgotten: {error}")));
                }
            }
        }
    }
}

/// Removes what stands in a folder, save what stays.
fn empty(folder: &Path) -> Result<(), IoError> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() == STAYS {
            continue;
        }
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }?;
    }
    Ok(())
}

/// Takes settings out of what was set at run time: they stand above every file.
fn forget_kept(data: &Path, concerns: impl Fn(&str) -> bool, lines: &mut Vec<Line>) {
    let folder = data.join(STATE);
    let Ok(facts) = fs::symlink_metadata(folder.join(kept::FILE)) else { return };
    let (mut kept, damage) = kept::read(&folder);
    lines.extend(damage.map(|damage| trouble(damage.to_string())));
    let before = kept.set.len();
    kept.set.retain(|key, _| !concerns(key));
    if kept.set.len() == before {
        return;
    }
    if let Err(error) = kept::write_for(&folder, &kept, Some((facts.uid(), facts.gid()))) {
        lines.push(trouble(format!("what CONFIG set before stays above: {error}")));
    }
}

/// Of a card's file, and of the klatsch that reads it: a newer one may know more.
fn fingerprint(bytes: Option<&[u8]>) -> String {
    let mut hash = Blake2s256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update([u8::from(bytes.is_some())]);
    hash.update(bytes.unwrap_or_default());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What was accepted before; nothing where that is damaged: the card is read again then.
fn read_applied(path: &Path) -> Applied {
    let bytes = match layers::bytes(path, MAX_APPLIED) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind != Trouble::Missing {
                complain(format!("{}: {error}: the card is read anew", path.display()));
            }
            return Applied::default();
        }
    };
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(|text| toml::from_str(text).ok()).unwrap_or_else(|| {
        complain(format!("{}: damaged: the card is read anew", path.display()));
        Applied::default()
    })
}

fn keep(folders: &Folders, applied: &Applied) -> Result<(), IoError> {
    let text = toml::to_string(applied).map_err(|e| IoError::new(Trouble::Other, e.to_string()))?;
    put(&folders.data.join(APPLIED), text.as_bytes(), Readers::Nobody)
}

/// Replaces a file whole, or leaves the old one; it is on the disk when this returns.
fn put(path: &Path, bytes: &[u8], read: Readers) -> Result<(), IoError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let new = path.with_extension("new");
    remove(&new)?;
    let mode = match read {
        Readers::All => 0o644,
        Readers::Klatsch => 0o640,
        Readers::Nobody => 0o600,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| {
        if read == Readers::Klatsch {
            std::os::unix::fs::fchown(&file, None, account::group(GROUP))?;
        }
        // FAT has no modes: what the mount says holds there
        let _ = file.set_permissions(fs::Permissions::from_mode(mode));
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        let _ = remove(&new);
    }
    Ok(written?)
}

fn remove(path: &Path) -> Result<(), IoError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// As every editor shows it.
fn windows(text: &str) -> String {
    text.replace('\n', "\r\n")
}
