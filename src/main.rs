//! The command line: `ionveil --help` lists the commands, and every command's `--help` has an example.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
