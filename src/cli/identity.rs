//! The box's key on the command line: its name, its backup, and taking a backup in. These work
//! on the state folder itself; no node need run, and to change the key none may.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::args::{IdentityVerb, Options};
use super::{Code, print};
use crate::daemon::complain;
use crate::daemon::place::{DEFAULT, Place, Surroundings};
use crate::dialect::link::noise::Secret;
use crate::model::Refusal;
use crate::store::identity;

/// Bytes read of a backup; a key is one line of 79.
const MAX_BACKUP: u64 = 4_096;

/// Carries one out.
pub(super) fn run(options: &Options, verb: IdentityVerb) -> Code {
    match carry_out(options, verb) {
        Ok(()) => Code::Done,
        Err(line) => {
            complain(line);
            Code::Refused
        }
    }
}

fn carry_out(options: &Options, verb: IdentityVerb) -> Result<(), String> {
    let system = match &verb {
        IdentityVerb::Show { system }
        | IdentityVerb::Export { system }
        | IdentityVerb::Import { system, .. } => *system,
    };
    let around = Surroundings::of_process();
    let name = options.instance.as_deref().unwrap_or(DEFAULT);
    let place = around.place(around.whose(system), name, options.socket.as_deref());
    let place = place.map_err(|e| e.to_string())?;
    let none = "neither XDG_STATE_HOME nor HOME is set: there is no state folder";
    let folder = place.state.clone().ok_or(none)?;
    match verb {
        IdentityVerb::Show { .. } => {
            let secret = read(&folder)?;
            say(&format!("{}\n", secret.public().fingerprint()))
        }
        IdentityVerb::Export { .. } => say(&identity::export(&read(&folder)?)),
        IdentityVerb::Import { file, replace, .. } => import(&place, &folder, file, replace),
    }
}

fn read(folder: &Path) -> Result<Secret, String> {
    let file = folder.join(identity::FILE);
    identity::read(folder).map_err(|e| format!("{}: {e}", file.display()))
}

fn say(text: &str) -> Result<(), String> {
    print(text).map_err(|e: Refusal| e.to_string())
}

fn import(
    place: &Place,
    folder: &Path,
    file: Option<PathBuf>,
    replace: bool,
) -> Result<(), String> {
    let mut text = String::new();
    let read = match &file {
        Some(path) => {
            std::fs::File::open(path).and_then(|f| f.take(MAX_BACKUP).read_to_string(&mut text))
        }
        None => std::io::stdin().take(MAX_BACKUP).read_to_string(&mut text),
    };
    let from = file.map_or("standard input".into(), |path| path.display().to_string());
    read.map_err(|e| format!("{from}: {}", crate::model::IoError::from(e)))?;
    let secret = identity::parse(&text)
        .ok_or_else(|| format!("{from}: no key: expected what `klatsch identity export` wrote"))?;
    // a node that runs has read its key already
    let _held = place.hold_state().map_err(|why| format!("{why} (end the node first)"))?;
    let there = folder.join(identity::FILE);
    if there.symlink_metadata().is_ok() && !replace {
        let there = there.display();
        return Err(format!("{there}: a key is there already: --replace gives it up for good"));
    }
    identity::write(folder, &secret).map_err(|e| format!("{}: {e}", there.display()))?;
    say(&format!("{}\n", secret.public().fingerprint()))
}
