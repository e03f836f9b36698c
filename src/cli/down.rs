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
    /// Only the machine of this role; may be given several times
    #[arg(long, value_name = "NAME")]
    pub role: Vec<String>,
    /// Delete the machines, their disks and passwords, too; with --role the disk of that one alone
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
    let whole = args.role.is_empty();
    let existing = match folder.machines() {
        // A damaged record must not keep anybody from deleting it.
        Err(_) if args.purge && whole => None,
        existing => Some(chosen(&folder, existing?, &args.role)?),
    };
    if args.purge && !args.yes && !agreed(cli, &folder, existing.as_deref(), &args.role)? {
        return Ok(exit::FAILURE);
    }
    if let Some(existing) = &existing {
        stop(&folder, existing, args)?;
    }
    if args.purge && whole {
        Qemu::cut_unknown(&folder)?;
        folder.purge()?;
        say!("deleted {}", folder.path().display());
    } else if args.purge {
        let _held = folder.hold()?;
        for Machine { role, .. } in existing.iter().flatten() {
            folder.forget(role)?;
            say!("deleted {}", folder.role(role).display());
        }
    }
    Ok(exit::OK)
}

/// The machines of these roles, or all.
fn chosen(
    folder: &Folder,
    mut existing: Vec<Machine>,
    roles: &[String],
) -> miette::Result<Vec<Machine>> {
    let known = || existing.iter().map(|machine| machine.role.as_str());
    if let Some(role) = roles.iter().find(|role| !known().any(|one| one == **role)) {
        return Err(MachineError::unknown_role(folder.stack(), role, known()).into());
    }
    existing.retain(|machine| roles.is_empty() || roles.contains(&machine.role));
    Ok(existing)
}

fn stop(folder: &Folder, existing: &[Machine], args: &Args) -> miette::Result<()> {
    let (stack, grace) = (folder.stack(), args.grace);
    if !existing.iter().any(Machine::alive) {
        match args.role.is_empty() {
            true => say!("nothing of {stack} runs"),
            false => say!("{} does not run", named(stack, &args.role)),
        }
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
    say!("shutting down {}", named(stack, &args.role));
    let grace = Duration::from_secs(grace);
    lifecycle::down(&qemu, folder, &args.role, grace, &mut note)?;
    Ok(())
}

/// A stack, or some of its machines, for people.
fn named(stack: &str, roles: &[String]) -> String {
    match roles {
        [] => stack.to_owned(),
        _ => format!("{} of {stack}", roles.join(", ")),
    }
}

/// Whether disks may be deleted: asked on a terminal, else `--yes` must say so.
fn agreed(
    cli: &Cli,
    folder: &Folder,
    existing: Option<&[Machine]>,
    roles: &[String],
) -> miette::Result<bool> {
    let what = match roles {
        [] => format!("the machines of {}", folder.stack()),
        _ => named(folder.stack(), roles),
    };
    for machine in existing.unwrap_or_default() {
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
        let mut stack = folder.stack().to_owned();
        for role in roles {
            stack += &format!(" --role {role}");
        }
        return Err(MachineError::NeedsYes { stack, what }.into());
    }
    dialoguer::Confirm::new()
        .with_prompt(format!("Delete {what} for good?"))
        .default(false)
        .interact()
        .map_err(|error| miette::miette!("nobody could be asked: {error}"))
}
