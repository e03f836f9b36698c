//! `--progress-fd`: the commands that take long tell a program how far they are.

use super::descriptor::Descriptor;
use crate::console::progress::Progress;
use std::io::IsTerminal;

/// The option, on every command that takes long.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Progress as JSON lines on this open descriptor (docs/schemas/progress.json)
    #[arg(long, value_name = "N", value_parser = Descriptor::inherited)]
    pub progress_fd: Option<Descriptor>,
}

impl Args {
    /// Where progress goes.
    ///
    /// # Errors
    /// The descriptor cannot be had a second time.
    pub fn sink(&self) -> miette::Result<Progress> {
        match &self.progress_fd {
            Some(descriptor) => descriptor.file().map(Progress::of_program),
            None => Ok(Progress::of_standard_error(std::io::stderr().is_terminal())),
        }
    }
}
