//! Our reading of a command line against clap's, which has the same grammar.

use std::ffi::OsString;

use klatsch::cli::args::{Asked, Line};
use klatsch::cli::grammar::{GLOBAL, PROGRAM, Verb};
use klatsch::cli::read;
use proptest::prelude::*;

use crate::clap_of;

fn leaves() -> Vec<Vec<&'static Verb>> {
    let mut all = vec![vec![&PROGRAM]];
    for verb in PROGRAM.verbs {
        all.push(vec![&PROGRAM, verb]);
        all.extend(verb.verbs.iter().map(|own| vec![&PROGRAM, verb, own]));
    }
    all
}

/// Help without what may differ: the usage line's required options, and the order of options.
fn parts(help: &str) -> Vec<String> {
    let mut lines: Vec<String> = help
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("Exit") && !line.starts_with("5 no"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

#[test]
fn the_help_of_every_verb_has_what_claps_has() {
    for path in leaves() {
        let mut command = clap_of::command();
        command.build();
        let command = path[1..]
            .iter()
            .fold(&mut command, |command, verb| command.find_subcommand_mut(verb.name).unwrap());
        let theirs = command.render_help().to_string();
        assert_eq!(parts(&read::help(&path)), parts(&theirs), "{}", path.last().unwrap().name);
    }
}

/// What clap makes of a line: whether it is one, or help is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Line,
    Said,
    Wrong,
}

fn theirs(words: &[String]) -> Outcome {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    match clap_of::command().try_get_matches_from(words) {
        Ok(_) => Outcome::Line,
        Err(error) if matches!(error.kind(), DisplayHelp | DisplayVersion) => Outcome::Said,
        Err(_) => Outcome::Wrong,
    }
}

fn ours(words: &[String]) -> Outcome {
    match read::read(words.iter().map(OsString::from)) {
        Ok(read::Read::Line(_)) => Outcome::Line,
        Ok(read::Read::Said(_)) => Outcome::Said,
        Err(_) => Outcome::Wrong,
    }
}

/// A line that is often right and often nearly so.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let paths: Vec<Vec<String>> = leaves()
        .into_iter()
        .map(|path| path.iter().map(|verb| verb.name.to_owned()).collect())
        .collect();
    let mut words: Vec<String> = [
        "x", "7", "-", "a b", "", "x=y", "--", "-h", "--help", "-V", "help", "-x", "--x=1",
        "--json=1",
    ]
    .map(String::from)
    .to_vec();
    for verb in leaves().iter().filter_map(|path| path.last()) {
        for arg in verb.args.iter().chain(GLOBAL).filter(|arg| !arg.is_place()) {
            words.push(arg.flag.into());
            words.push(format!("{}=1", arg.flag));
        }
    }
    let word = prop_oneof![3 => Just("x".to_owned()), 3 => proptest::sample::select(words)];
    let word = || word.clone();
    let between = proptest::collection::vec(proptest::option::weighted(0.1, word()), 2);
    (proptest::sample::select(paths), between, proptest::collection::vec(word(), 0..6)).prop_map(
        |(path, between, words)| {
            // some stand before the verb, or between it and its own
            let between = between.into_iter().chain(std::iter::repeat(None));
            let path = path.into_iter().zip(between).flat_map(|(verb, word)| [Some(verb), word]);
            path.flatten().chain(words).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_clap_takes_is_taken_and_what_it_refuses_refused(words in lines()) {
        // Where help is asked for in a line that is wrong before it, either may come first.
        let both = (ours(&words), theirs(&words));
        let help = matches!(both, (Outcome::Said, Outcome::Wrong) | (Outcome::Wrong, Outcome::Said));
        prop_assert!(both.0 == both.1 || help, "{:?}: {:?}", words, both);
    }

    #[test]
    fn no_line_brings_it_down(words in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
        use std::os::unix::ffi::OsStringExt;
        let words = std::iter::once(OsString::from("klatsch"))
            .chain(words.into_iter().map(OsString::from_vec));
        if let Ok(Asked::Said(text)) = Line::read(words) {
            prop_assert!(!text.is_empty());
        }
    }
}
