//! Writes the shells' completions of the command line into a folder, for the Debian package:
//! `cargo run --example completions FOLDER`. An example, so that the program carries none of it.

use clap_complete::{Shell, generate_to};

#[allow(dead_code)]
mod clap_of;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("the folder to write to");
    std::fs::create_dir_all(&folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut clap_of::command(), "klatsch", &folder)?;
    }
    Ok(())
}
