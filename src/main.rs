//! Arguments to subcommand, nothing else: see [`klatsch::cli`].

fn main() -> std::process::ExitCode {
    klatsch::cli::main()
}
