//! Files of the link on a real disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::files::Desk;
use super::part::{FORSAKEN, MAX_NAME, WRITE_OUT, safe};
use super::*;
use crate::config;
use crate::dialect::link::noise::hash;
use crate::model::limits::LINK_FOLDER_FILES;
use crate::node::io::{FileDone, FileId, FileOp, LinkOp, PartOf, Survey};

const FILE: FileId = FileId(1);
const OTHER: FileId = FileId(2);

fn desk(folder: &Path) -> Desk {
    Desk::new(folder.into(), config::Files::default())
}

fn does(desk: &mut Desk, file: FileId, op: LinkOp) -> Result<FileDone, IoError> {
    desk.perform(file, FileOp::Link(op)).unwrap()
}

fn look(desk: &mut Desk, path: &Path) -> Result<Survey, IoError> {
    let path = path.display().to_string();
    match does(desk, FILE, LinkOp::Survey { path, given: None })? {
        FileDone::Surveyed(survey) => Ok(survey),
        other => panic!("{other:?}"),
    }
}

fn of(name: &str, bytes: u64, offset: u64) -> PartOf {
    PartOf {
        name: name.into(),
        stem: "anna-20261121143000-1f".into(),
        extension: "txt".into(),
        folder: false,
        image: false,
        bytes,
        offset,
        before: 0,
    }
}

fn part(of: PartOf) -> LinkOp {
    LinkOp::Part(Box::new(of))
}

fn place(bytes: &[u8]) -> LinkOp {
    LinkOp::Place { path: String::new(), sum: hash(&[bytes]), last: true }
}

#[test]
fn a_file_is_read_and_written_piece_by_piece_and_hashed_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("x");
    std::fs::write(&source, b"hello, world").unwrap();
    let mut desk = desk(&dir.path().join("images"));
    let survey = look(&mut desk, &source).unwrap();
    assert_eq!((survey.folder, survey.files, survey.bytes), (false, 1, 12));
    let path = source.display().to_string();
    let seek = LinkOp::Seek { path, stamp: survey.stamp, index: 0 };
    let sought = does(&mut desk, FILE, seek).unwrap();
    assert_eq!(sought, FileDone::Sought { size: 12, path: String::new(), before: 0 });
    does(&mut desk, OTHER, part(of("a-1", 12, 0))).unwrap();
    for (offset, len) in [(0, 5), (5, 5), (10, 5)] {
        let piece = does(&mut desk, FILE, LinkOp::Piece { offset, len }).unwrap();
        let FileDone::Piece(bytes, sum) = piece else { panic!() };
        assert_eq!(sum.is_some(), offset == 10);
        does(&mut desk, OTHER, LinkOp::Add(bytes)).unwrap();
    }
    let done = does(&mut desk, OTHER, place(b"hello, world")).unwrap();
    let FileDone::Finished { path, .. } = done else { panic!() };
    assert!(path.ends_with("images/anna-20261121143000-1f.txt"), "{path}");
    assert_eq!(std::fs::read(path).unwrap(), b"hello, world");
}

#[test]
fn what_is_unfinished_outlasts_the_run_and_is_cut_to_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = desk(dir.path());
    does(&mut first, FILE, part(of("a-1", 9, 0))).unwrap();
    does(&mut first, FILE, LinkOp::Add(b"abc".into())).unwrap();
    does(&mut first, FILE, LinkOp::Sync).unwrap();
    does(&mut first, FILE, LinkOp::Add(b"rubbish".into())).unwrap();
    drop(first);
    let mut second = desk(dir.path());
    second.begin();
    let there = does(&mut second, FILE, part(of("a-1", 9, 3))).unwrap();
    assert_eq!(there, FileDone::Parted(3));
    // it goes on only once what is there was hashed
    assert!(does(&mut second, FILE, LinkOp::Add(b"def".into())).is_err());
    does(&mut second, FILE, part(of("a-1", 9, 3))).unwrap();
    assert_eq!(does(&mut second, FILE, LinkOp::Hash { upto: 3 }), Ok(FileDone::Hashed(3)));
    does(&mut second, FILE, LinkOp::Add(b"defghi".into())).unwrap();
    let done = does(&mut second, FILE, place(b"abcdefghi")).unwrap();
    let FileDone::Finished { path, .. } = done else { panic!() };
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdefghi");
    // the node stopped before it could note that: it is found as it is
    let again = does(&mut second, FILE, part(of("a-1", 9, 3))).unwrap();
    assert!(matches!(again, FileDone::Finished { path: found, .. } if found == path));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_written_out_before_its_sync_arrives_whole_also_after_a_break() {
    let dir = tempfile::tempdir().unwrap();
    let piece = usize::try_from(WRITE_OUT).unwrap() / 2 + 1;
    let all: Vec<u8> = (0..6 * piece).map(|n| (n % 251) as u8).collect();
    let size = all.len() as u64;
    let mut desk = desk(dir.path());
    does(&mut desk, FILE, part(of("a-1", size, 0))).unwrap();
    for bytes in all[..3 * piece].chunks(piece) {
        does(&mut desk, FILE, LinkOp::Add(bytes.into())).unwrap();
    }
    does(&mut desk, FILE, LinkOp::Sync).unwrap();
    assert!(desk.perform(FILE, FileOp::Close).is_none());
    let there = 3 * piece as u64;
    does(&mut desk, FILE, part(of("a-1", size, there))).unwrap();
    does(&mut desk, FILE, LinkOp::Hash { upto: there }).unwrap();
    for bytes in all[3 * piece..].chunks(piece) {
        does(&mut desk, FILE, LinkOp::Add(bytes.into())).unwrap();
    }
    let FileDone::Finished { path, .. } = does(&mut desk, FILE, place(&all)).unwrap() else {
        panic!()
    };
    assert!(std::fs::read(path).unwrap() == all);
}

#[test]
fn what_is_taken_as_an_image_and_is_none_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let program = b"\x7fELF and so on";
    let len = program.len() as u64;
    does(&mut desk, FILE, part(PartOf { image: true, ..of("a-1", len, 0) })).unwrap();
    does(&mut desk, FILE, LinkOp::Add(program.to_vec())).unwrap();
    let error = does(&mut desk, FILE, place(program)).unwrap_err();
    assert!(error.text.contains("is none"), "{error}");
    desk.perform(FILE, FileOp::Link(LinkOp::Drop { name: "a-1".into() }));
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    let len = gif.len() as u64;
    does(&mut desk, FILE, part(PartOf { image: true, ..of("a-1", len, 0) })).unwrap();
    does(&mut desk, FILE, LinkOp::Add(gif.to_vec())).unwrap();
    let done = does(&mut desk, FILE, place(gif)).unwrap();
    assert!(matches!(done, FileDone::Finished { picture, .. } if picture.format == "gif"));
}

#[test]
fn what_hashes_to_something_else_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    does(&mut desk, FILE, part(of("a-1", 3, 0))).unwrap();
    does(&mut desk, FILE, LinkOp::Add(b"abc".into())).unwrap();
    let error = does(&mut desk, FILE, place(b"abd")).unwrap_err();
    assert!(error.text.contains("not what was sent"), "{error}");
    desk.perform(FILE, FileOp::Link(LinkOp::Drop { name: "a-1".into() }));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_is_gone_through_in_order_and_links_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("holidays");
    std::fs::create_dir_all(root.join("b/c")).unwrap();
    for (path, text) in [("b/c/2", "two"), ("a", "one"), ("z", "")] {
        std::fs::write(root.join(path), text).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("b/folder")).unwrap();
    let mut desk = desk(dir.path());
    let survey = look(&mut desk, &root).unwrap();
    assert_eq!((survey.folder, survey.files, survey.bytes, survey.passed), (true, 3, 6, 2));
    let path = root.display().to_string();
    let mut paths = Vec::new();
    for index in 0..3 {
        let seek = LinkOp::Seek { path: path.clone(), stamp: survey.stamp, index };
        let FileDone::Sought { path, before, .. } = does(&mut desk, FILE, seek).unwrap() else {
            panic!()
        };
        paths.push((path, before));
    }
    assert_eq!(paths, [("a".into(), 0), ("b/c/2".into(), 3), ("z".into(), 6)]);
    // one byte more in one of them, and it is another folder
    std::fs::write(root.join("a"), "ones").unwrap();
    let mut desk = Desk::new(dir.path().into(), config::Files::default());
    let seek = LinkOp::Seek { path, stamp: survey.stamp, index: 0 };
    let error = does(&mut desk, FILE, seek).unwrap_err();
    assert!(error.text.contains("changed since it was offered"), "{error}");
    assert!(look(&mut desk, dir.path().join("none").as_path()).is_err());
}

#[test]
fn one_file_past_the_limit_of_a_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("many");
    std::fs::create_dir(&root).unwrap();
    for n in 0..LINK_FOLDER_FILES {
        File::create(root.join(n.to_string())).unwrap();
    }
    let mut desk = desk(dir.path());
    assert_eq!(look(&mut desk, &root).unwrap().files as usize, LINK_FOLDER_FILES);
    desk.perform(FILE, FileOp::Close);
    File::create(root.join("more")).unwrap();
    assert!(look(&mut desk, &root).unwrap_err().text.contains("more than 4096 files"));
}

#[test]
fn a_received_folder_lies_within_itself_whatever_its_paths_say() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    let mut desk = desk(&images);
    let whole = PartOf { folder: true, ..of("a-1", 9, 0) };
    does(&mut desk, FILE, part(whole.clone())).unwrap();
    // a link that somebody put there is not followed
    let hidden = images.join(".klatsch-a-1.folder");
    std::fs::create_dir(&hidden).unwrap();
    std::os::unix::fs::symlink(dir.path(), hidden.join("out")).unwrap();
    does(&mut desk, FILE, LinkOp::Add(b"abc".into())).unwrap();
    let inside = |path: &str, bytes: &[u8], last| {
        let path = path.into();
        LinkOp::Place { path, sum: hash(&[bytes]), last }
    };
    assert!(does(&mut desk, FILE, inside("out/x", b"abc", false)).is_err());
    assert!(!dir.path().join("x").exists());
    std::fs::remove_file(hidden.join("out")).unwrap();
    does(&mut desk, FILE, part(whole)).unwrap();
    does(&mut desk, FILE, LinkOp::Add(b"abc".into())).unwrap();
    does(&mut desk, FILE, inside(".bashrc", b"abc", false)).unwrap();
    does(&mut desk, FILE, LinkOp::Add(b"def".into())).unwrap();
    does(&mut desk, FILE, inside("a\\b/c:d", b"def", false)).unwrap();
    let done = does(&mut desk, FILE, inside("empty", b"", true)).unwrap();
    let FileDone::Finished { path, .. } = done else { panic!() };
    assert!(path.ends_with("anna-20261121143000-1f.folder"), "{path}");
    let mut all = Vec::new();
    let mut todo = vec![PathBuf::from(&path)];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            all.push(entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    assert!(
        all.iter().all(|name| !name.starts_with('.') && !name.contains(['\\', ':'])),
        "{all:?}"
    );
    assert_eq!(all.len(), 4);
}

#[test]
fn names_of_what_is_received_are_ours() {
    for same in ["cat.jpg", "Übung 1 (2).txt", "a+b=c"] {
        assert_eq!(safe(same), same);
    }
    for (theirs, ends) in [("a:b", "-a_b"), ("a\nb", "-a_b"), ("x|y", "-x_y")] {
        assert!(safe(theirs).ends_with(ends), "{}", safe(theirs));
    }
    assert!(safe(".profile").ends_with("-_profile"));
    let long = safe(&format!("{}.jpeg", "ž".repeat(200)));
    assert!(long.len() <= MAX_NAME + 16 && long.ends_with(".jpeg"), "{long}");
}

#[test]
fn names_that_differ_in_what_is_changed_or_cut_off_alone_stay_apart() {
    let long = "Sinfonie Nr. 9 d-Moll op. 125, Berliner Philharmoniker, ".repeat(3);
    for (one, other) in [
        ("a:b".to_owned(), "a;b".to_owned()),
        (".profile".into(), "_profile".into()),
        ("notes ".into(), "notes".into()),
        (" ".into(), "  ".into()),
        (format!("{long}1. Satz.flac"), format!("{long}2. Satz.flac")),
    ] {
        let (one, other) = (safe(&one), safe(&other));
        assert_ne!(one, other);
        assert!(!one.is_empty() && !other.is_empty() && one.len() < 256, "{one}");
    }
}

#[test]
fn what_is_unfinished_counts_against_the_quota_and_a_full_one_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let rules = config::Files { quota: 10, ..config::Files::default() };
    let mut desk = Desk::new(dir.path().into(), rules.clone());
    does(&mut desk, FILE, part(of("a-1", 9, 0))).unwrap();
    does(&mut desk, FILE, LinkOp::Add(vec![1; 6])).unwrap();
    desk.perform(FILE, FileOp::Close);
    let mut other = PartOf { stem: "bob-20261121143000-1f".into(), ..of("b-1", 9, 0) };
    does(&mut desk, OTHER, part(other.clone())).unwrap();
    does(&mut desk, OTHER, LinkOp::Add(vec![1; 4])).unwrap();
    let error = does(&mut desk, OTHER, LinkOp::Add(vec![1; 1])).unwrap_err();
    assert_eq!(error.kind, Trouble::Full);
    // after a restart too; and what came stays
    drop(desk);
    let mut desk = Desk::new(dir.path().into(), rules);
    desk.begin();
    other.offset = 4;
    assert_eq!(does(&mut desk, OTHER, part(other)), Ok(FileDone::Parted(4)));
    does(&mut desk, OTHER, LinkOp::Hash { upto: 4 }).unwrap();
    assert!(does(&mut desk, OTHER, LinkOp::Add(vec![1; 1])).is_err());
}

#[test]
fn what_nobody_touched_for_a_month_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".klatsch-a-1.file"), b"old").unwrap();
    std::fs::create_dir(dir.path().join(".klatsch-a-2.folder")).unwrap();
    std::fs::write(dir.path().join("mine.file"), b"mine").unwrap();
    let now = SystemTime::now();
    assert_eq!(unfinished(dir.path(), None).len(), 2);
    let unfinished = |path: &Path, now| unfinished(path, Some(now));
    assert_eq!(unfinished(dir.path(), now).len(), 2);
    assert_eq!(unfinished(dir.path(), now + FORSAKEN - Duration::from_secs(60)).len(), 2);
    assert_eq!(unfinished(dir.path(), now + FORSAKEN + Duration::from_secs(9)).len(), 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn nothing_unfinished_goes_for_its_age_by_a_clock_that_cannot_be_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let part = File::create(dir.path().join(".klatsch-a-1.file")).unwrap();
    part.set_modified(SystemTime::now() - 2 * FORSAKEN).unwrap();
    let mut desk = desk(dir.path());
    desk.begin();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    desk.set_clock(true);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
