//! `muster down`: shuts the machines of a stack down.

use super::out::say;
use super::{Cli, exit, machines};
use crate::machine::lifecycle::{self, Note};
use crate::machine::qemu::Qemu;
use crate::machine::{Folder, Machine, MachineError};
use std::io::IsTerminal;
use std::time::Duration;

/// Options of `down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// Delete the machines, their disks and passwords, too
    #[arg(long)]
    pub purge: bool,
    /// Do not ask before deleting
    #[arg(long)]
    pub yes: bool,
    /// How long guests may take to shut down before their power is cut
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub grace: u64,
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let folder = machines::folder(cli, &args.stack)?;
    if !folder.exists() {
        say!("nothing of {} runs", folder.stack());
        return Ok(exit::OK);
    }
    let existing = folder.machines();
    if args.purge && !args.yes && !agreed(cli, &folder, existing.as_deref().unwrap_or_default())? {
        return Ok(exit::FAILURE);
    }
    // A damaged record must not keep anybody from deleting it.
    match existing {
        Err(_) if args.purge => {}
        other => stop(&folder, &other?, args.grace)?,
    }
    if args.purge {
        Qemu::cut_unknown(&folder)?;
        folder.purge()?;
        say!("deleted {}", folder.path().display());
    }
    Ok(exit::OK)
}

fn stop(folder: &Folder, existing: &[Machine], grace: u64) -> miette::Result<()> {
    if !existing.iter().any(Machine::alive) {
        say!("nothing of {} runs", folder.stack());
        return Ok(());
    }
    let qemu = Qemu::open(&Folder::default_root())?;
    let mut note = |machine: &Machine, note: Note| match note {
        Note::Cut => say!(
            "warning: {} did not shut down within {grace} s; its power was cut",
            machine.role
        ),
        _ => say!("{} is off", machine.role),
    };
    say!("shutting down {}", folder.stack());
    lifecycle::down(&qemu, folder, Duration::from_secs(grace), &mut note)?;
    Ok(())
}

/// Whether disks may be deleted: asked on a terminal, else `--yes` must say so.
fn agreed(cli: &Cli, folder: &Folder, existing: &[Machine]) -> miette::Result<bool> {
    for machine in existing {
        let disk = folder.role(&machine.role).join("disk.qcow2");
        let size = machine.disk as f64 / (1u64 << 30) as f64;
        say!(
            "{}: {} ({size:.1} GiB for the guest)",
            machine.role,
            disk.display()
        );
    }
    let person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if cli.no_input || !person {
        let stack = folder.stack().to_owned();
        return Err(MachineError::NeedsYes { stack }.into());
    }
    let question = format!("Delete the machines of {} for good?", folder.stack());
    dialoguer::Confirm::new()
        .with_prompt(question)
        .default(false)
        .interact()
        .map_err(|error| miette::miette!("nobody could be asked: {error}"))
}
