//! The command line: one thin file per subcommand.

use crate::profile::{Source, source};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

pub mod agent;
pub mod answers;
pub mod build;
pub mod cache;
pub mod check;
pub mod choice;
pub mod completions;
pub mod console;
pub mod descriptor;
pub mod diagnose;
pub mod down;
pub mod exit;
pub mod fetch;
pub mod image_worker;
pub mod help;
pub mod host;
pub mod join;
pub mod lock;
pub mod man;
pub mod machines;
pub mod out;
pub mod plan;
pub mod progress;
pub mod promote;
pub mod ps;
pub mod records;
pub mod recovery;
pub mod report;
pub mod setup;
pub mod ssh;
pub mod status;
pub mod supplied;
pub mod up;
pub mod verify;
pub mod verify_image;

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Read profiles from DIR before the built-in ones
    #[arg(long, global = true, value_name = "DIR", value_parser = source::folder)]
    pub profiles: Option<PathBuf>,
    /// Never ask; fail or take defaults instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Every subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parts that the units in an image run
    #[command(hide = true)]
    Agent(agent::Args),
    /// Prepare the answers of an installation that nobody sits at
    Answers(answers::Args),
    /// Read profiles and say what is wrong with them
    Check(check::Args),
    /// Show phases and wiring of a stack
    Plan(plan::Args),
    /// Pin every package of every role
    Lock(lock::Args),
    /// Fetch every file of the lock into the cache
    Fetch(fetch::Args),
    /// Make the images of a stack
    Build(build::Args),
    /// Compare what is inside an image with its lock, without booting it
    VerifyImage(verify_image::Args),
    /// What the cache holds: packages, and layers of images
    Cache(cache::Args),
    /// Makes one image in namespaces of its own; started by `build`
    #[command(hide = true)]
    ImageWorker(image_worker::Args),
    /// Ask the questions of first boot on this terminal
    Setup(setup::Args),
    /// Let hosts join the site of this lead, by the code it shows
    Join(join::Args),
    /// Make this deputy the lead of its site, in the place of one that is gone for good
    Promote(promote::Args),
    /// Show the recovery words of this lead's site, with which its deputy is promoted
    Recovery(recovery::Args),
    /// Show how hosts, phases and integrations stand
    Status(status::Args),
    /// Probe everything now
    Verify(verify::Args),
    /// Say why something is red, and what to do next
    Diagnose(diagnose::Args),
    /// Print the DNS records that the world must be told, for the registrar
    Records(records::Args),
    /// What a shell needs to complete commands and options
    Completions(completions::Args),
    /// A manual page, for `man -l -`
    Man(man::Args),
    /// Build what is missing and start the machines of a stack
    Up(up::Args),
    /// Shut the machines of a stack down
    Down(down::Args),
    /// List machines, how they are and how to reach them
    Ps(ps::Args),
    /// Attach this terminal to a machine's serial console
    Console(console::Args),
    /// Log in to a machine, or run a command there
    Ssh(ssh::Args),
}

impl Cli {
    /// The profiles this command line is about.
    pub fn source(&self) -> Source {
        Source::new(self.profiles.as_deref())
    }
}
