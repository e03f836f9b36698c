//! The `muster` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = muster::cli::Cli::parse();
    match cli.command {}
}
