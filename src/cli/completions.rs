//! `muster completions`: what a shell needs to complete the command line.

use super::{Cli, exit, help, out};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Writes the script to standard output.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "muster", &mut script);
    out::write(&script)?;
    Ok(exit::OK)
}
