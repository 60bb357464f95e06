//! Files received and sent, and every way that can go wrong, in folders of the test's own.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::node::io::Picture;

const GIF: &[u8] = b"GIF89a\x03\0\x02\0\0\0\0 and more";
const ID: FileId = FileId(7);

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    let mut names: Vec<String> = names.map(|n| n.into_string().unwrap()).collect();
    names.sort();
    names
}

fn create(stem: &str) -> FileOp {
    FileOp::Create { stem: stem.into() }
}

fn open(path: &Path) -> FileOp {
    FileOp::Open { path: path.display().to_string() }
}

fn ok(outcome: Option<Result<FileDone, IoError>>) -> FileDone {
    outcome.unwrap().unwrap()
}

fn err(outcome: Option<Result<FileDone, IoError>>) -> IoError {
    outcome.unwrap().unwrap_err()
}

#[test]
fn a_file_bears_its_name_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state/images");
    let mut desk = Desk::new(folder.clone(), config::Files::default());
    for name in ["anna-1.gif", "anna-1-2.gif", "anna-1-3.gif"] {
        assert_eq!(ok(desk.perform(ID, create("anna-1"))), FileDone::Created);
        assert_eq!(ok(desk.perform(ID, FileOp::Append(GIF[..4].into()))), FileDone::Appended);
        assert!(names(&folder).iter().any(|n| n.ends_with(PART_TAIL)));
        assert!(!names(&folder).contains(&name.to_owned()));
        assert_eq!(ok(desk.perform(ID, FileOp::Append(GIF[4..].into()))), FileDone::Appended);
        let path = folder.join(name);
        let picture = Picture { format: "gif", width: Some(3), height: Some(2) };
        let done = FileDone::Finished { path: path.display().to_string(), picture };
        assert_eq!(ok(desk.perform(ID, FileOp::Finish)), done);
        assert_eq!(std::fs::read(&path).unwrap(), GIF);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(names(&folder), ["anna-1-2.gif", "anna-1-3.gif", "anna-1.gif"]);
    assert_eq!(err(desk.perform(ID, FileOp::Finish)), unknown());
}

#[test]
fn link_and_unlink_do_where_renameat2_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let folder = open_folder(dir.path()).unwrap();
    std::fs::write(dir.path().join("a"), "a").unwrap();
    std::fs::write(dir.path().join("b"), "b").unwrap();
    for give in [give_name, by_link] {
        assert_eq!(give(&folder.fd, "a", "b"), Err(Errno::EEXIST));
        assert_eq!(give(&folder.fd, "a", "c"), Ok(()));
        assert_eq!(give(&folder.fd, "c", "a"), Ok(()));
    }
    assert_eq!(names(dir.path()), ["a", "b"]);
}

#[test]
fn discarding_and_ending_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    ok(desk.perform(ID, create("x")));
    assert!(desk.perform(ID, FileOp::Discard).is_none());
    assert!(desk.perform(ID, FileOp::Discard).is_none(), "twice is harmless");
    ok(desk.perform(ID, create("y")));
    drop(desk);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    ok(desk.perform(ID, create("x")));
    let Some(Item::Part(part)) = desk.items.get_mut(&ID) else { panic!("no part") };
    // The same descriptor, but every write to it meets a full disk.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    part.file = Flock::lock(full, FlockArg::LockSharedNonblock).unwrap();
    let error = err(desk.perform(ID, FileOp::Append(GIF.into())));
    assert_eq!(error, IoError::new(Trouble::Full, "the disk is full"));
    assert_eq!(names(dir.path()), [""; 0]);
    assert!(desk.items.is_empty());
}

#[test]
fn a_stem_can_place_a_file_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("images");
    let mut desk = Desk::new(folder.clone(), config::Files::default());
    let long = "x".repeat(MAX_STEM + 1);
    for bad in ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a\0b", "ä", "a b", &long] {
        assert_eq!(err(desk.perform(ID, create(bad))).kind, Trouble::Denied, "{bad:?}");
    }
    assert!(!folder.exists());
    ok(desk.perform(ID, create(&long[1..])));
    ok(desk.perform(ID, FileOp::Finish));
    assert_eq!(names(&folder), [format!("{}.bin", &long[1..])]);
}

#[test]
fn a_link_that_bears_the_name_is_not_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("images");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), folder.join("x.gif")).unwrap();
    let mut desk = Desk::new(folder.clone(), config::Files::default());
    ok(desk.perform(ID, create("x")));
    ok(desk.perform(ID, FileOp::Append(GIF.into())));
    ok(desk.perform(ID, FileOp::Finish));
    assert!(!dir.path().join("elsewhere").exists());
    assert_eq!(names(&folder), ["x-2.gif", "x.gif"]);
}

#[test]
fn what_a_dead_run_left_is_swept_and_a_living_ones_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Desk::new(dir.path().into(), config::Files::default());
    ok(other.perform(ID, create("x")));
    let living = names(dir.path());
    let dead = dir.path().join(".klatsch-0123456789abcdef.part");
    std::fs::write(&dead, "half").unwrap();
    std::fs::write(dir.path().join("film.part"), "a browser's").unwrap();
    Desk::new(dir.path().into(), config::Files::default()).sweep();
    assert!(!dead.exists());
    assert_eq!(names(dir.path()), [living[0].as_str(), "film.part"]);
    Desk::new(dir.path().join("none"), config::Files::default()).sweep();
    assert!(!dir.path().join("none").exists(), "sweeping makes no folder");
}

#[test]
fn a_file_is_read_in_chunks_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big");
    std::fs::write(&path, vec![7; CHUNK + 1]).unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    let picture = Picture { format: "unknown", width: None, height: None };
    let opened = FileDone::Opened { size: CHUNK as u64 + 1, picture };
    assert_eq!(ok(desk.perform(ID, open(&path))), opened);
    for (offset, size) in [(0, CHUNK), (CHUNK as u64, 1), (CHUNK as u64 + 1, 0), (u64::MAX / 4, 0)]
    {
        let read = desk.perform(ID, FileOp::Read { offset });
        assert_eq!(ok(read), FileDone::Read(vec![7; size]));
    }
    assert!(desk.perform(ID, FileOp::Close).is_none());
    assert_eq!(err(desk.perform(ID, FileOp::Read { offset: 0 })), unknown());
}

#[test]
fn only_regular_files_are_opened_and_nothing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    for (path, word) in [
        (pipe.as_path(), "pipe"),
        (dir.path(), "folder"),
        (Path::new("/dev/zero"), "device"),
        (&dir.path().join("none"), "no such file"),
        (Path::new("relative"), "absolute"),
    ] {
        let error = err(desk.perform(ID, open(path)));
        assert!(error.text.contains(word), "{error}");
    }
    assert!(desk.items.is_empty());
}

#[test]
fn a_descriptor_is_read_from_its_start_and_must_be_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gif");
    std::fs::write(&path, GIF).unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    let mut file = File::open(&path).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    let picture = Picture { format: "gif", width: Some(3), height: Some(2) };
    let opened = FileDone::Opened { size: GIF.len() as u64, picture };
    assert_eq!(desk.adopt(ID, file.into()), Ok(opened));
    assert_eq!(ok(desk.perform(ID, FileOp::Read { offset: 0 })), FileDone::Read(GIF.into()));
    let write_only = OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(desk.adopt(FileId(8), write_only.into()).unwrap_err().kind, Trouble::Denied);
    let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(desk.adopt(FileId(8), end.into()).unwrap_err().text, "is a socket, not a file");
}

#[test]
fn one_file_past_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    for n in 0..MAX_OPEN as u64 {
        ok(desk.perform(FileId(n), create("x")));
    }
    assert_eq!(err(desk.perform(FileId(9_999), create("x"))).kind, Trouble::Exhausted);
    assert_eq!(err(desk.perform(FileId(0), create("x"))).text, "that file is open already");
    desk.perform(FileId(1), FileOp::Discard);
    ok(desk.perform(FileId(9_999), create("x")));
}

#[test]
fn names_run_out_after_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.bin"), "").unwrap();
    for n in 2..=MAX_NAMES {
        std::fs::write(dir.path().join(format!("x-{n}.bin")), "").unwrap();
    }
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    ok(desk.perform(ID, create("x")));
    assert_eq!(err(desk.perform(ID, FileOp::Finish)).kind, Trouble::Exhausted);
    assert_eq!(names(dir.path()).len(), MAX_NAMES as usize);
}

#[test]
fn a_pipe_to_send_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR).unwrap();
    assert_eq!(open_source(&pipe).unwrap_err().text, "is a pipe, not a file");
    assert_eq!(open_source(dir.path()).unwrap_err().text, "is a folder, not a file");
}

#[test]
fn the_oldest_make_room_and_only_our_own() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("images");
    std::fs::create_dir(&folder).unwrap();
    let rules = config::Files {
        quota: 10_000,
        when_full: config::WhenFull::Oldest,
        ..config::Files::default()
    };
    let keep = |name: &str, bytes: usize, age: u64| {
        let file = File::create(folder.join(name)).unwrap();
        (&file).write_all(&vec![1; bytes]).unwrap();
        let changed = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(changed).unwrap();
    };
    keep("holiday.jpg", 50_000, 9_000);
    keep("anna-20200101000000-1.png", 4_000, 100);
    keep("bob-20190101000000-1.png", 4_000, 50);
    let mut desk = Desk::new(folder.clone(), rules.clone());
    desk.begin();
    assert!(desk.removed().is_empty(), "within the quota nothing goes");
    ok(desk.perform(ID, create("carl-20260101000000-2")));
    ok(desk.perform(ID, FileOp::Append(vec![1; 2_000])));
    assert!(desk.removed().is_empty(), "to the last byte");
    ok(desk.perform(ID, FileOp::Append(vec![1; 1])));
    let path = |name: &str| folder.join(name).display().to_string();
    assert_eq!(desk.removed(), [path("anna-20200101000000-1.png")]);
    ok(desk.perform(ID, FileOp::Finish));
    assert_eq!(
        names(&folder),
        ["bob-20190101000000-1.png", "carl-20260101000000-2.bin", "holiday.jpg"]
    );
    ok(desk.perform(ID, create("dora-20260101000000-3")));
    let error = err(desk.perform(ID, FileOp::Append(vec![1; 10_001])));
    assert_eq!(error.kind, Trouble::Full, "more than the quota allows at all");
    assert!(desk.removed().is_empty(), "nothing goes for it");
    desk.set_rules(folder.clone(), config::Files { quota: 3_000, ..rules });
    assert_eq!(names(&folder), ["carl-20260101000000-2.bin", "holiday.jpg"]);
}

#[test]
fn where_new_ones_are_refused_the_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Files {
        quota: 3_000,
        when_full: config::WhenFull::Refuse,
        ..config::Files::default()
    };
    let mut desk = Desk::new(dir.path().into(), rules);
    ok(desk.perform(ID, create("anna-20200101000000-1")));
    ok(desk.perform(ID, FileOp::Append(vec![1; 2_000])));
    ok(desk.perform(FileId(8), create("bob-20200101000000-1")));
    ok(desk.perform(FileId(8), FileOp::Append(vec![1; 1_000])));
    let error = err(desk.perform(FileId(8), FileOp::Append(vec![1; 1])));
    assert!(error.text.contains("files.quota"), "{error}");
    ok(desk.perform(ID, FileOp::Append(vec![1; 1_000])));
    ok(desk.perform(ID, FileOp::Finish));
    assert_eq!(names(dir.path()), ["anna-20200101000000-1.bin"]);
    desk.remove(&dir.path().join("anna-20200101000000-1.bin"));
    ok(desk.perform(ID, create("carl-20200101000000-1")));
    ok(desk.perform(ID, FileOp::Append(vec![1; 3_000])));
}

#[test]
fn what_is_to_be_removed_goes_with_all_that_is_in_it_and_no_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, other) = (dir.path().join("x.folder"), dir.path().join("other"));
    std::fs::create_dir_all(folder.join("a/b")).unwrap();
    std::fs::create_dir(&other).unwrap();
    let file = dir.path().join("page-1.png");
    for path in [folder.join("a/b/c"), other.join("stays"), file.clone()] {
        std::fs::write(path, "x").unwrap();
    }
    std::os::unix::fs::symlink(&other, folder.join("a/link")).unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    for path in [&folder, &file, &dir.path().join("gone already")] {
        let path = path.display().to_string();
        assert!(desk.perform(ID, FileOp::Remove { path: path.clone() }).is_none());
        assert_eq!(desk.removed(), [path], "its entries say so");
    }
    assert_eq!(names(dir.path()), ["other"]);
    assert!(other.join("stays").exists());
    let other = other.join("stays/no folder").display().to_string();
    desk.perform(ID, FileOp::Remove { path: other });
    assert!(desk.removed().is_empty(), "it could not be removed");
}
