//! `--base` and `--kernel`, alike in every command that reads a stack.

use crate::profile::Choice;

/// What roles are built on where they do not say so themselves.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Build on this base where a role fixes none
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    /// Use this one of the base's kernels where a role fixes none, as generic for bare metal
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
}

impl Args {
    /// As it is given to [`crate::profile::Stack::load_with`].
    pub fn choice(&self) -> Choice<'_> {
        Choice {
            base: self.base.as_deref(),
            kernel: self.kernel.as_deref(),
        }
    }

    /// The same as words of a command line.
    pub fn words(&self) -> Vec<&str> {
        let base = self.base.iter().flat_map(|name| ["--base", name]);
        let kernel = self.kernel.iter().flat_map(|name| ["--kernel", name]);
        base.chain(kernel).collect()
    }
}
