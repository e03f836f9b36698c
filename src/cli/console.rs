//! `muster console`: a person's terminal on a machine's serial console.

use super::out::say;
use super::{Cli, exit, machines};
use crate::machine::attach::{self, Left};
use crate::machine::qemu::Qemu;
use crate::machine::{Backend, Folder, Machine};
use std::io::IsTerminal;

/// Options of `console`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// The machine of this role; the lead's without it
    #[arg(value_name = "ROLE")]
    pub role: Option<String>,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let folder = machines::folder(cli, &args.stack)?;
    let machine = machines::machine(cli, &folder, args.role.as_deref())?;
    attach(&folder, &machine)?;
    Ok(exit::OK)
}

/// Attaches until the person leaves.
pub fn attach(folder: &Folder, machine: &Machine) -> miette::Result<()> {
    let qemu = Qemu::open(&Folder::default_root())?;
    let console = qemu.console(folder, machine)?;
    let person = std::io::stdin().is_terminal();
    if person {
        say!("console of {}; Ctrl-] leaves", machine.role);
    }
    let left = attach::attach(folder, machine, console)?;
    match left {
        Left::MachineGone => say!("\n{} is off", machine.role),
        _ if person => say!("\nleft the console of {}; it goes on", machine.role),
        _ => {}
    }
    Ok(())
}
