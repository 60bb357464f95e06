//! The layers of configuration, lowest first: built-in, the distribution's file, the machine's
//! file and its drop-ins, on an appliance the card's, the person's file, `--config`, and what was
//! set at run time.
//!
//! The only place, with `kept`, where `config` touches the disk.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{self, MAX_FILE, Note};
use super::{Kept, Settings, rows};
use crate::model::{IoError, Trouble};

/// Drop-ins read from one folder.
pub const MAX_DROPINS: usize = 64;

/// What an appliance's start made of the card's `klatsch.toml` (`provision`), below /run.
pub const CARD: &str = "klatsch-box/klatsch.toml";

/// Where settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// `/`; another folder in tests.
    pub root: PathBuf,
    /// For a person's run: `$XDG_CONFIG_HOME/klatsch/klatsch.toml`.
    pub person: Option<PathBuf>,
    /// `--config`: klatsch's own or another program's file.
    pub config: Option<PathBuf>,
    /// `--user`: which of the users, by number from 1 or by handle.
    pub user: Option<String>,
    /// Where images go unless a file says otherwise; absolute.
    pub images: PathBuf,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
    /// The machine's own node rather than a person's: then every dialect is on unless switched
    /// off (docs/protocols.md says why).
    pub appliance: bool,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings, whole whatever happened.
    pub settings: Settings,
    /// What a person should read, in the order of the layers.
    pub notes: Vec<Note>,
    /// Some file could not be used at all. On a reload: keep the old settings.
    pub unusable: bool,
    /// `--user` names nobody: the line that says so. On a start: end with it.
    pub no_such_user: Option<String>,
}

impl Sources {
    /// The machine's layers and nothing else; images go to `images`.
    pub fn system(images: PathBuf) -> Sources {
        let root = PathBuf::from("/");
        Sources {
            root,
            person: None,
            config: None,
            user: None,
            images,
            home: None,
            appliance: true,
        }
    }

    /// Where programs stand that are run on events: beside the configuration.
    pub fn hooks(&self) -> PathBuf {
        match self.person.as_deref().and_then(Path::parent) {
            Some(own) => own.join("hooks"),
            None => self.root.join("etc/klatsch/hooks"),
        }
    }

    /// Reads all layers. `kept` stands above every file.
    pub fn load(&self, kept: &Kept) -> Loaded {
        let mut settings = Settings { imagepath: self.images.clone(), ..Settings::default() };
        settings.hello.enabled = self.appliance;
        settings.room.enabled = self.appliance;
        settings.directory.enabled = self.appliance;
        let mut loaded =
            Loaded { settings, notes: Vec::new(), unusable: false, no_such_user: None };
        let etc = self.root.join("etc/klatsch");
        self.layer(&self.root.join("usr/lib/klatsch/klatsch.toml"), false, &mut loaded);
        self.layer(&etc.join("klatsch.toml"), false, &mut loaded);
        for file in dropins(&etc.join("klatsch.toml.d"), &mut loaded) {
            self.layer(&file, false, &mut loaded);
        }
        if loaded.settings.appliance {
            self.layer(&self.root.join("run").join(CARD), false, &mut loaded);
        }
        if let Some(file) = &self.person {
            self.layer(file, false, &mut loaded);
        }
        if let Some(file) = &self.config {
            self.layer(file, true, &mut loaded);
        }
        if let Some(wanted) = &self.user {
            loaded.no_such_user = pick(&mut loaded.settings, wanted).err();
        }
        if self.config.is_some() || self.user.is_some() {
            loaded.notes.extend(other_handle(kept, &loaded.settings));
        }
        over(kept, &mut loaded);
        loaded
    }

    fn layer(&self, file: &Path, wanted: bool, loaded: &mut Loaded) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let outcome = match read(&file) {
            Ok(Some(text)) => {
                let home = self.home.as_deref();
                file::apply(&text, &file, home, &mut loaded.settings, &mut loaded.notes)
            }
            Ok(None) if !wanted => Ok(()),
            Ok(None) => Err(note(&file, "no such file".into())),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            loaded.notes.push(error);
            loaded.unusable = true;
        }
    }
}

/// A file's text; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, Note> {
    let bytes = match bytes(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == Trouble::Missing => return Ok(None),
        Err(error) => return Err(note(path, format!("not used: {error}"))),
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(note(path, format!("not used: more than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
        let text = "not used: found bytes that are not UTF-8, expected UTF-8".to_owned();
        Note { line: Some(line), ..note(path, text) }
    })
}

/// A file's bytes; one byte past `most` of a larger one. Never waits, as a pipe would have it.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, IoError> {
    let facts = std::fs::metadata(path)?;
    if !facts.is_file() && !facts.is_dir() {
        return Err(IoError::new(Trouble::Other, "is a pipe or a device, not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The drop-ins of a folder in the order of their names.
fn dropins(folder: &Path, loaded: &mut Loaded) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .filter(|path| !path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")))
        .collect();
    files.sort();
    if files.len() > MAX_DROPINS {
        let text = format!("found {} files, expected at most {MAX_DROPINS}", files.len());
        loaded.notes.push(note(folder, text));
        files.truncate(MAX_DROPINS);
    }
    files
}

/// Leaves only the user that `--user` names.
fn pick(settings: &mut Settings, wanted: &str) -> Result<(), String> {
    let by_handle = settings
        .users
        .iter()
        .position(|user| user.handle.as_ref().is_some_and(|handle| handle.is(wanted)));
    let by_number = || wanted.parse::<usize>().ok()?.checked_sub(1);
    match by_handle.or_else(by_number).filter(|at| *at < settings.users.len()) {
        Some(at) => {
            settings.users = vec![settings.users.swap_remove(at)];
            Ok(())
        }
        None => {
            let all: Vec<String> = settings
                .users
                .iter()
                .enumerate()
                .map(|(n, user)| match &user.handle {
                    Some(handle) => format!("{} ({handle})", n + 1),
                    None => (n + 1).to_string(),
                })
                .collect();
            let wanted = rows::shown(wanted);
            Err(format!("--user: found {wanted}, expected one of {}", all.join(", ")))
        }
    }
}

/// Who names a file or a user on the command line is told when a handle set at run time wins.
fn other_handle(kept: &Kept, settings: &Settings) -> Option<Note> {
    let kept = kept.set.get("handle")?;
    let named = settings.users.first()?.handle.as_ref().filter(|handle| !handle.is(kept))?;
    let kept = rows::shown(kept);
    let text = format!("handle: {kept} was set at run time and is used: HANDLE {named} changes it");
    Some(note(Path::new(super::kept::FILE), text))
}

/// Lays what was set at run time over the files.
fn over(kept: &Kept, loaded: &mut Loaded) {
    for (key, value) in &kept.set {
        if let Err(refusal) = rows::set(&mut loaded.settings, key, value) {
            loaded.notes.push(note(Path::new(super::kept::FILE), refusal.to_string()));
        }
    }
}

fn note(file: &Path, text: String) -> Note {
    Note { file: file.into(), line: None, key: None, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Handle;

    fn put(root: &Path, path: &str, text: &str) -> PathBuf {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn sources(root: &Path) -> Sources {
        Sources { root: root.into(), ..Sources::system("/var/lib/klatsch/images".into()) }
    }

    #[test]
    fn a_higher_layer_wins_and_the_rest_shows_through() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "usr/lib/klatsch/klatsch.toml", "handle = \"lib\"\nport-max = 5020\nbell = true");
        put(root, "etc/klatsch/klatsch.toml", "handle = \"etc\"\nmax-image = \"1M\"");
        put(root, "etc/klatsch/klatsch.toml.d/20.toml", "[slcp]\nport = 4020");
        put(root, "etc/klatsch/klatsch.toml.d/10.toml", "[slcp]\nport = 4010\nannounce = 30");
        put(root, "etc/klatsch/klatsch.toml.d/30.toml.bak", "[slcp]\nport = 1");
        let person = put(root, "home/klatsch.toml", "autoreply = \"later\"");
        let config = put(root, "x/mine.toml", "handle = \"mine\"\nimagepath = \"./pics\"");
        let sources = Sources { person: Some(person), config: Some(config), ..sources(root) };
        let loaded = sources.load(&Kept::default());
        assert_eq!(loaded.notes, []);
        assert!(!loaded.unusable);
        let s = loaded.settings;
        assert_eq!(s.users[0].handle, Handle::try_from("mine").ok());
        assert_eq!(s.users[0].autoreply, "later");
        assert_eq!((s.slcp.port, s.slcp.announce, s.port_max), (4020, 30, 5020));
        assert_eq!((s.max_image, s.bell), (1 << 20, true));
        assert_eq!(s.imagepath, root.join("x/pics"));
    }

    #[test]
    fn an_appliances_card_stands_above_its_image_and_below_what_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "etc/klatsch/klatsch.toml.d/50-box.toml", "handle = \"image\"\nbell = true");
        put(root, &format!("run/{CARD}"), "handle = \"card\"\nweb.pin = \"4711\"");
        let handle = |kept: &Kept| sources(root).load(kept).settings.users[0].handle.clone();
        assert_eq!(handle(&Kept::default()), Handle::try_from("image").ok(), "no appliance");
        put(root, "etc/klatsch/klatsch.toml", "appliance = true");
        assert_eq!(handle(&Kept::default()), Handle::try_from("card").ok());
        let set = [("handle".to_owned(), "kept".to_owned())].into();
        let kept = Kept { set, ..Kept::default() };
        assert_eq!(handle(&kept), Handle::try_from("kept").ok());
    }

    #[test]
    fn what_was_set_at_run_time_stands_above_and_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "etc/klatsch/klatsch.toml", "handle = \"etc\"");
        let set = [("handle", "kept"), ("slcp.announce", "1"), ("gone", "x")];
        let set = set.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let loaded = sources(dir.path()).load(&Kept { set, ..Kept::default() });
        assert_eq!(loaded.settings.users[0].handle, Handle::try_from("kept").ok());
        assert_eq!(loaded.settings.slcp.announce, 60);
        let notes: Vec<String> = loaded.notes.iter().map(Note::to_string).collect();
        assert_eq!(notes[1], "state.toml: slcp.announce: found 1, expected 5 to 3600");
        assert_eq!(notes.len(), 2);
        assert!(!loaded.unusable);
    }

    #[test]
    fn an_unusable_file_is_one_line_and_the_others_count() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let etc = put(root, "etc/klatsch/klatsch.toml", "handle = \"a\"\nport =\nbell = true");
        put(root, "etc/klatsch/klatsch.toml.d/1.toml", "bell = true");
        let loaded = sources(root).load(&Kept::default());
        assert!(loaded.unusable);
        assert!(loaded.settings.bell && loaded.settings.users[0].handle.is_none());
        let line = loaded.notes[0].to_string();
        assert!(line.starts_with(&format!("{}:2: not used: ", etc.display())), "{line}");
        assert_eq!(line.lines().count(), 1);
        std::fs::write(&etc, b"handle = \"a\"\nautoreply = \"gr\xfc\xdfe\"").unwrap();
        let loaded = sources(root).load(&Kept::default());
        assert_eq!((loaded.notes[0].line, loaded.unusable), (Some(2), true));
    }

    #[test]
    fn a_missing_config_or_one_too_large_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = sources(dir.path());
        sources.config = Some(dir.path().join("none.toml"));
        let loaded = sources.load(&Kept::default());
        assert!(loaded.unusable && loaded.notes[0].text == "no such file");
        let mut text = "#".repeat(MAX_FILE as usize);
        sources.config = Some(put(dir.path(), "big.toml", &text));
        assert!(!sources.load(&Kept::default()).unusable);
        text.push('#');
        put(dir.path(), "big.toml", &text);
        assert!(sources.load(&Kept::default()).unusable);
        sources.config = Some(dir.path().into());
        assert!(sources.load(&Kept::default()).notes[0].text.contains("folder"));
    }

    #[test]
    fn a_pipe_is_said_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let loaded = Sources { config: Some(pipe), ..sources(dir.path()) }.load(&Kept::default());
        assert!(loaded.unusable && loaded.notes[0].text.contains("is a pipe"));
    }

    #[test]
    fn a_handle_set_at_run_time_that_wins_over_config_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let config = put(dir.path(), "theirs.toml", "handle = \"ben\"");
        let kept = |handle: &str| {
            let set = [("handle".to_owned(), handle.to_owned())].into();
            Kept { set, ..Kept::default() }
        };
        let sources = Sources { config: Some(config), ..sources(dir.path()) };
        let loaded = sources.load(&kept("anna"));
        assert_eq!(loaded.settings.users[0].handle, Handle::try_from("anna").ok());
        assert!(loaded.notes[0].text.contains("HANDLE ben changes it"));
        assert_eq!(sources.load(&kept("ben")).notes, []);
        let loaded = Sources { config: None, ..sources }.load(&kept("anna"));
        assert_eq!(loaded.notes, []);
    }

    #[test]
    fn one_drop_in_past_the_limit_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..=MAX_DROPINS {
            let text = format!("port-max = {}", 6000 + n);
            put(dir.path(), &format!("etc/klatsch/klatsch.toml.d/{n:03}.toml"), &text);
        }
        let loaded = sources(dir.path()).load(&Kept::default());
        assert_eq!(loaded.notes.len(), 1);
        assert_eq!(usize::from(loaded.settings.port_max), 6000 + MAX_DROPINS - 1);
    }

    #[test]
    fn a_user_is_picked_by_number_or_handle() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[[users]]\nhandle = \"anna\"\n[[users]]\nhandle = \"ben\"";
        let mut sources = sources(dir.path());
        sources.config = Some(put(dir.path(), "two.toml", text));
        assert_eq!(sources.load(&Kept::default()).settings.users.len(), 2);
        for (wanted, expected) in [("2", "ben"), ("ANNA", "anna"), ("1", "anna")] {
            sources.user = Some(wanted.into());
            let loaded = sources.load(&Kept::default());
            assert_eq!(loaded.no_such_user, None);
            assert_eq!(loaded.settings.users.len(), 1);
            assert_eq!(loaded.settings.users[0].handle, Handle::try_from(expected).ok());
        }
        for wanted in ["3", "0", "carl", ""] {
            sources.user = Some(wanted.into());
            let error = sources.load(&Kept::default()).no_such_user.unwrap();
            assert!(error.ends_with("expected one of 1 (anna), 2 (ben)"), "{error}");
        }
    }
}
