use super::super::grammar::{Arg, GLOBAL, PROGRAM, Times};
use super::super::{grammar, read};
use super::*;

fn asked(text: &str) -> Result<Asked, Wrong> {
    Line::read(text.split(' ').map(Into::into))
}

fn line(text: &str) -> Line {
    match asked(text) {
        Ok(Asked::Line(line)) => line,
        other => panic!("{text}: {other:?}"),
    }
}

fn said(text: &str) -> String {
    match asked(text) {
        Ok(Asked::Said(text)) => text,
        other => panic!("{text}: {other:?}"),
    }
}

fn wrong(text: &str) -> String {
    asked(text).unwrap_err().0
}

/// Every verb with the words that lead to it.
fn verbs() -> Vec<(String, &'static grammar::Verb)> {
    let mut all = Vec::new();
    for verb in PROGRAM.verbs {
        let path = format!("klatsch {}", verb.name);
        all.extend(verb.verbs.iter().map(|own| (format!("{path} {}", own.name), own)));
        if verb.verbs.is_empty() {
            all.push((path, verb));
        }
    }
    all
}

#[test]
fn help_fits_a_screen() {
    let help = read::help(&[&PROGRAM]);
    assert!(help.lines().count() <= 50, "{help}");
}

#[test]
fn the_grammar_is_sound() {
    for (path, verb) in verbs() {
        let all: Vec<&Arg> = verb.args.iter().chain(GLOBAL).collect();
        for (i, arg) in all.iter().enumerate() {
            let name = |arg: &Arg| if arg.is_place() { arg.value } else { arg.flag };
            assert!(all[..i].iter().all(|before| name(before) != name(arg)), "{path}");
            assert!(!arg.help.is_empty(), "{path}");
        }
        let places: Vec<_> = verb.args.iter().filter(|arg| arg.is_place()).collect();
        for two in places.windows(2) {
            let order = two[0].times == Times::Once || two[1].times == Times::Optional;
            assert!(order && !matches!(two[0].times, Times::Any | Times::Some), "{path}");
        }
    }
}

#[test]
fn every_verb_of_the_grammar_is_read_and_has_help() {
    for (path, verb) in verbs() {
        let mut text = path.clone();
        let required = |arg: &&Arg| arg.is_required() || verb.one_of && arg.is_place();
        for arg in verb.args.iter().filter(required) {
            text += if arg.is_place() { " 1" } else { " " };
            text += arg.flag;
            text += if arg.is_place() { "" } else { " 1" };
        }
        assert!(line(&text).verb.is_some(), "{text}");
        let help = said(&format!("{path} --help"));
        assert_eq!(help, said(&path.replace("klatsch", "klatsch help")));
        for arg in verb.args {
            assert!(help.contains(&arg.shown()) && help.contains(arg.help), "{help}");
        }
    }
    assert!(said("klatsch --version").starts_with("klatsch "));
    assert_eq!(said("klatsch room -h"), said("klatsch help room"));
    assert_eq!(said("klatsch room help join"), said("klatsch room join --help"));
}

#[test]
fn options_stand_anywhere() {
    for text in ["klatsch --json who --gone", "klatsch who --gone --json"] {
        let line = line(text);
        assert!(line.options.json);
        assert_eq!(line.verb, Some(Verb::Who { gone: true }));
    }
    let all = "klatsch --socket /s --config /c --instance x --as anna --user 2";
    let start = line(all).options.start(true);
    assert_eq!(start.acting.as_deref(), Some("anna"));
    assert_eq!(start.user.as_deref(), Some("2"));
    assert!(start.terminal);
}

#[test]
fn an_option_before_the_verb_is_replaced_by_one_behind_it() {
    let options = line("klatsch --socket /a --json who --socket /b --json").options;
    assert_eq!((options.socket, options.json), (Some("/b".into()), true));
    let replaced = line("klatsch --socket /a room --socket /b list --socket /c").options;
    assert_eq!(replaced.socket, Some("/c".into()));
    let twice = wrong("klatsch --socket /a who --socket /b --socket /c");
    assert!(twice.contains("'--socket <PATH>' cannot be used multiple times"), "{twice}");
    assert!(wrong("klatsch --as a --as b who").contains("multiple times"));
}

#[test]
fn recipients_are_split_and_words_kept() {
    let msg = line("klatsch msg anna,bob hello to you --json");
    assert!(msg.options.json);
    let text = ["hello", "to", "you"].map(Into::into).to_vec();
    assert_eq!(msg.verb, Some(Verb::Msg { to: "anna,bob".parse().unwrap(), text }));
    assert_eq!(" a, b,".parse(), Ok(Recipients(vec!["a".into(), "b".into()])));
    assert!(",".parse::<Recipients>().is_err());
    let dash = line("klatsch all -- --json");
    assert_eq!(dash.verb, Some(Verb::All { text: vec!["--json".into()] }));
    assert!(!dash.options.json);
}

#[test]
fn what_is_missing_unknown_or_too_much_is_said_with_the_usage() {
    for (text, what, usage) in [
        (
            "msg anna",
            "were not provided:\n  <TEXT>...",
            "msg [OPTIONS] <HANDLE[,HANDLE]> <TEXT>...",
        ),
        ("img anna", "not provided:\n  <PATH>", "img [OPTIONS] <HANDLE[,HANDLE]> <PATH>"),
        (
            "provision",
            "--boot <DIR>\n  --data <DIR>",
            "provision [OPTIONS] --boot <DIR> --data <DIR>",
        ),
        ("fly", "unrecognized subcommand 'fly'", "[OPTIONS] [COMMAND]"),
        ("help fly", "unrecognized subcommand 'fly'", "[OPTIONS] [COMMAND]"),
        ("room fly", "unrecognized subcommand 'fly'", "room [OPTIONS] <COMMAND>"),
        ("join x", "unexpected argument 'x' found", "join [OPTIONS]"),
        ("-- who", "unexpected argument 'who' found", "[OPTIONS] [COMMAND]"),
        ("who -x", "unexpected argument '-x' found", "who [OPTIONS]"),
        ("run --sys", "unexpected argument '--sys' found", "run [OPTIONS]"),
        ("who --gone=3", "unexpected value '3' for '--gone' found", "who [OPTIONS]"),
        (
            "all x --foo",
            "tip: to pass '--foo' as a value, use '-- --foo'",
            "all [OPTIONS] <TEXT>...",
        ),
        ("history -n 1 -n 2", "'-n <NUMBER>' cannot be used multiple", "history [OPTIONS] [WHO]"),
        ("who --json --json", "'--json' cannot be used multiple", "who [OPTIONS]"),
        ("forget", "<WHO|--key <HANDLE>|--entry <NUMBER>|--all>", "forget [OPTIONS] <WHO|"),
        ("forget --all anna", "cannot be used with '--all'", "forget [OPTIONS] <WHO|"),
        ("export --json --messages-txt", "cannot be used with '--json'", "export [OPTIONS]"),
    ] {
        let said = wrong(&format!("klatsch {text}"));
        assert!(said.starts_with("error: ") && said.contains(what), "{text}: {said}");
        assert!(said.contains(&format!("\nUsage: klatsch {usage}")), "{text}: {said}");
    }
    assert!(wrong("klatsch user").starts_with("The node's own users\n\nUsage: "));
}

#[test]
fn a_mistyped_word_is_told_what_it_is_near() {
    for (text, near) in [
        ("whoo", Some("subcommand exists: 'who'")),
        ("hist anna", Some("subcommand exists: 'history'")),
        ("hlep", Some("subcommand exists: 'help'")),
        ("room leav", Some("subcommand exists: 'leave'")),
        ("who --jsn", Some("argument exists: '--json'")),
        ("who --josn=1", Some("argument exists: '--json'")),
        ("--versoin", Some("argument exists: '--version'")),
        ("fly", None),
        ("", None),
        ("who -q", None),
        ("who --frobnicate", None),
    ] {
        let said = wrong(&format!("klatsch {text}"));
        match near {
            Some(near) => assert!(said.contains(&format!("tip: a similar {near}")), "{said}"),
            None => assert!(!said.contains("a similar"), "{said}"),
        }
    }
    // a word as long as a line can be is read in a moment
    let long = "who".repeat(600_000);
    assert!(!wrong(&format!("klatsch {long}")).contains("a similar"));
}

#[test]
fn a_value_that_is_missing_or_cannot_be_is_said() {
    for text in ["who --socket", "who --socket --json", "history -n", "forget --entry"] {
        let said = wrong(&format!("klatsch {text}"));
        assert!(said.contains("a value is required for"), "{text}: {said}");
    }
    for (text, what) in [
        ("history -n x", "'x' for '-n <NUMBER>': invalid digit"),
        ("history -n 4294967296", "'4294967296' for '-n <NUMBER>': number too large"),
        ("import ", "a value is required for '[FILE]'"),
        ("who --socket=", "a value is required for '--socket <PATH>'"),
        ("accept=", "unrecognized subcommand 'accept='"),
        ("accept no", "'no' for '<NUMBER>': invalid digit"),
        ("msg , x", "',' for '<HANDLE[,HANDLE]>': expected a handle, or several: anna,bob"),
    ] {
        assert!(wrong(&format!("klatsch {text}")).contains(what), "{text}");
    }
}

#[test]
fn values_stand_beside_their_option_or_behind_it() {
    for text in ["history -n5", "history -n=5", "history -n 5", "history --before=7 -n 5"] {
        let read = line(&format!("klatsch {text}")).verb;
        assert!(matches!(read, Some(Verb::History { n: Some(5), .. })), "{text}: {read:?}");
    }
    assert_eq!(line("klatsch import -").verb, Some(Verb::Import { file: Some("-".into()) }));
    let start = line("klatsch --socket - who").options;
    assert_eq!(start.socket, Some("-".into()));
    let odd = line("klatsch --socket=--json who").options;
    assert_eq!((odd.socket, odd.json), (Some("--json".into()), false));
    let set = line("klatsch config away= --instance=").options;
    assert_eq!(set.instance.as_deref(), Some(""));
}

#[test]
fn words_are_text_and_paths_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(vec![b'x', 0xff]);
    let read = |words: [OsString; 3]| Line::read(words);
    let Ok(Asked::Line(line)) = read(["klatsch".into(), "import".into(), odd()]) else { panic!() };
    assert_eq!(line.verb, Some(Verb::Import { file: Some(odd().into()) }));
    let wrong = read(["klatsch".into(), "all".into(), odd()]).unwrap_err();
    assert!(wrong.0.contains("invalid UTF-8"));
    assert!(read(["klatsch".into(), odd(), odd()]).unwrap_err().0.contains("unrecognized"));
}

#[test]
fn as_many_words_as_a_line_can_have_are_read_in_a_moment() {
    // a line has 2 MiB at most (execve(2)), a pointer and two bytes of it for each word
    let words: Vec<OsString> = (0..400_000).map(|n| (n % 10).to_string().into()).collect();
    let line = ["klatsch", "all"].map(OsString::from).into_iter().chain(words.clone());
    let begun = std::time::Instant::now();
    let Ok(Asked::Line(Line { verb: Some(Verb::All { text }), .. })) = Line::read(line) else {
        panic!()
    };
    // a minute and more where each word that is taken moves those behind it
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert!(text.iter().eq(words.iter().map(|word| word.to_str().unwrap())));
}
