//! The grammar as clap has one: for the shells' completions, and to hold our reading against.

use clap::{Arg, ArgAction, ArgGroup, Command};
use klatsch::cli::grammar::{self, Times, Verb};

/// The whole program's.
pub fn command() -> Command {
    let program = of(&grammar::PROGRAM).version(env!("CARGO_PKG_VERSION"));
    program.args(grammar::GLOBAL.iter().map(|arg| self::arg(arg).global(true)))
}

fn of(verb: &'static Verb) -> Command {
    let mut command = Command::new(verb.name)
        .about(verb.about)
        .hide(verb.hidden)
        .subcommands(verb.verbs.iter().map(of))
        .args(verb.args.iter().map(arg));
    if verb.name != grammar::PROGRAM.name && !verb.verbs.is_empty() {
        command = command.subcommand_required(true).arg_required_else_help(true);
    }
    if verb.one_of {
        let all = verb.args.iter().map(name);
        command = command.group(ArgGroup::new("what").args(all).required(true));
    }
    if verb.name == "export" && verb.args.iter().any(|arg| arg.flag == "--messages-txt") {
        command = command.mut_arg("--messages-txt", |arg| arg.conflicts_with("--json"));
    }
    command
}

/// What [`arg`] calls it.
pub fn name(arg: &grammar::Arg) -> &'static str {
    if arg.is_place() { arg.value } else { arg.flag }
}

fn arg(of: &'static grammar::Arg) -> Arg {
    let mut arg = Arg::new(name(of)).help(of.help).required(of.is_required());
    if let Some(long) = of.flag.strip_prefix("--") {
        arg = arg.long(long);
    } else if let Some(short) = of.flag.strip_prefix('-') {
        arg = arg.short(short.chars().next().expect("a letter"));
    }
    let paths = ["PATH", "FILE", "DIR"];
    if paths.contains(&of.value) {
        arg = arg.value_parser(clap::value_parser!(std::path::PathBuf));
        arg = arg.value_hint(clap::ValueHint::AnyPath);
    }
    match of.times {
        _ if of.value.is_empty() => arg.action(ArgAction::SetTrue),
        Times::Any | Times::Some => {
            arg.value_name(of.value).num_args(1..).action(ArgAction::Append)
        }
        _ => arg.value_name(of.value).action(ArgAction::Set),
    }
}
