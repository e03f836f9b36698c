//! `muster agent`: what the units in an image run. Not for people.

use super::{Cli, exit, host};
use crate::agent::{data, join, run, setup};
use clap::Subcommand;
use miette::{IntoDiagnostic, WrapErr};
use std::path::Path;

/// Options of `agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which part.
    #[command(subcommand)]
    pub part: Part,
}

/// The parts of the agent, in the order in which a host starts them.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Check, mount and grow the data partition; bind the state
    Data,
    /// Ask the questions of first boot, once; configure the host
    Setup,
    /// Ask for the code of the lead, on a host that joins by one
    Join,
    /// Bring this host up, then probe it for as long as it is up
    Run,
}

/// Runs it.
pub fn run(_cli: &Cli, args: &Args) -> miette::Result<u8> {
    host::required(
        Path::new("/"),
        "agent",
        "the units of an image run it; on a workstation, make a host and start it: muster up STACK",
    )?;
    match args.part {
        Part::Data => data::run()
            .into_diagnostic()
            .wrap_err("the data partition is not ready")?,
        Part::Setup => setup::run()
            .into_diagnostic()
            .wrap_err("this host is not set up")?,
        Part::Join => join::run()
            .into_diagnostic()
            .wrap_err("this host has not joined its site")?,
        Part::Run => run::run()
            .into_diagnostic()
            .wrap_err("this host cannot be brought up")?,
    }
    Ok(exit::OK)
}
