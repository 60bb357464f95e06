//! What is shipped beside the program agrees with it: manual page and configuration.
//!
//! `KLATSCH_WRITE=1 cargo test --test shipped` writes anew what of the page follows from the
//! grammar and the command table.

use std::fs;
use std::path::Path;

use klatsch::cli::grammar::{GLOBAL, PROGRAM, Verb};
use klatsch::command::table::ROWS;

mod clap_of;
mod line;

/// Holds the file to `wanted`, or writes it.
fn hold(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("KLATSCH_WRITE").is_some() {
        fs::write(&path, wanted).expect("the checkout can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let odd = there.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(
        there == wanted,
        "{} is not current ({odd:?}): KLATSCH_WRITE=1 cargo test --test shipped writes it",
        path.display()
    );
}

#[test]
fn the_manual_page_lists_every_verb_option_and_command() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/klatsch.1");
    let mut page = fs::read_to_string(page).unwrap();
    for (name, block) in [("verbs", verbs()), ("options", options()), ("commands", commands())] {
        let (begin, end) = (format!(".\\\" begin {name}"), format!(".\\\" end {name}"));
        let from = page.find(&begin).expect("a marker");
        let from = from + page[from..].find('\n').expect("its line's end") + 1;
        let to = page.find(&end).expect("a marker");
        page.replace_range(from..to, &block);
    }
    hold("docs/klatsch.1", &page);
}

/// One entry of a list: `term` is markup already, `text` is not.
fn entry(term: &str, text: &str) -> String {
    format!(".TP\n{term}\n{}\n", plain(text))
}

/// Text that roff takes as it stands.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn verbs() -> String {
    fn some(verbs: &[Verb], path: &str, out: &mut String) {
        for verb in verbs {
            let path = format!("{path}{} ", verb.name);
            if !verb.verbs.is_empty() {
                some(verb.verbs, &path, out);
                continue;
            }
            let mut term = format!(".B {}", plain(path.trim_end()));
            for argument in verb.args {
                let shown = plain(&argument.shown());
                let shown = if argument.is_place() { shown } else { format!("[{shown}]") };
                term += &format!(" {shown}");
            }
            out.push_str(&entry(&term, verb.about));
        }
    }
    let mut out = String::new();
    some(PROGRAM.verbs, "", &mut out);
    out
}

fn options() -> String {
    GLOBAL.iter().map(|arg| entry(&format!(".B {}", plain(&arg.shown())), arg.help)).collect()
}

fn commands() -> String {
    ROWS.iter().map(|row| entry(&format!(".B {}", plain(row.usage)), row.summary)).collect()
}

#[test]
fn the_shipped_settings_are_read_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (from, to) in [
        ("systemd/klatsch.toml", "usr/lib/klatsch/klatsch.toml"),
        ("systemd/local.toml", "etc/klatsch/klatsch.toml"),
    ] {
        let text = fs::read_to_string(top.join(from)).unwrap();
        // with every line that is only shown switched on as well
        let shown: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => rest,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n");
        for text in [&text, &shown] {
            let to = root.join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, text).unwrap();
            let mut sources = klatsch::config::Sources::system(root.join("images"));
            sources.root = root.to_owned();
            let loaded = sources.load(&klatsch::config::Kept::default());
            assert!(loaded.notes.is_empty() && !loaded.unusable, "{from}: {:?}", loaded.notes);
        }
    }
}

/// All Rust of a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of the checkout").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&fs::read_to_string(path).expect("a source file"));
        }
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&top.join("src"), &mut all);
    sources(&top.join("tests"), &mut all);
    let page = fs::read_to_string(top.join("docs/security.md")).unwrap();
    let (mut rows, mut named) = (0, 0);
    for line in page.lines().filter(|l| l.starts_with("| ") && l.matches('|').count() == 3) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (promise, shown) = (cells[1], cells[2]);
        if promise == "promise" || promise.starts_with("Not promised") {
            continue;
        }
        rows += 1;
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test shows: {promise}");
        for test in tests.iter().filter(|t| !t.contains('/')) {
            named += 1;
            assert!(all.contains(&format!("fn {test}(")), "there is no test {test}");
        }
    }
    assert!(rows > 25 && named > rows, "{rows} promises and {named} tests were read");
}

#[test]
fn the_program_loads_no_mathematics_for_a_ranking_that_nobody_asks_for() {
    let program = fs::read(env!("CARGO_BIN_EXE_klatsch")).unwrap();
    let names = |library: &[u8]| program.windows(library.len()).any(|bytes| bytes == library);
    assert!(names(b"\0libc.so.6\0"), "linked with the C library");
    assert!(!names(b"\0libm.so.6\0"), "log(3) is in src/store/base.rs: who wants more?");
}
