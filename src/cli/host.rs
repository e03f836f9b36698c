//! Commands of hosts, run elsewhere.

use crate::agent::facts::FILE;
use miette::miette;
use std::path::Path;

/// Refuses a command that speaks about the host it runs on, where there is none below `root`.
///
/// # Errors
/// `root` was not made by muster: `instead` is what a person at a workstation wants.
pub fn required(root: &Path, command: &str, instead: &str) -> miette::Result<()> {
    match root.join(FILE).exists() {
        true => Ok(()),
        false => Err(miette!(
            help = instead.to_owned(),
            "{command} is a command of hosts: there is no /{FILE} here"
        )),
    }
}
