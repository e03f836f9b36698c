//! `muster ssh`: a shell or a command on a machine, over its forwarded port, with the key
//! `up` made and the host key the machine itself has told.

use super::{Cli, exit, machines};
use crate::machine::{Machine, keys};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// Options of `ssh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A stack's name or directory
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// The machine of this role; the lead's without it
    #[arg(value_name = "ROLE")]
    pub role: Option<String>,
    /// Log in as this user; without it the administrator of the answers
    #[arg(long, short = 'l', value_name = "NAME")]
    pub user: Option<String>,
    /// What to run there, as ssh takes it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Becomes ssh; comes back only when that fails.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let folder = machines::folder(cli, &args.stack)?;
    let machine = machines::machine(cli, &folder, args.role.as_deref())?;
    let user = args
        .user
        .clone()
        .unwrap_or_else(|| machines::admin(&folder));
    let mut ssh = keys::ssh(&folder, &machine, &user)?;
    ssh.args(&args.command);
    Err(keys::missing("ssh")(ssh.exec()).into())
}

/// Asks the lead: runs `muster ARGUMENTS…` there and passes on what it says and its exit code.
pub fn ask_lead(cli: &Cli, stack: &str, arguments: &[&str]) -> miette::Result<u8> {
    let folder = machines::folder(cli, stack)?;
    let lead = machines::machine(cli, &folder, None)?;
    // Every host shows the site; where the first is gone, one that is not.
    let up = folder.machines()?.into_iter().find(Machine::alive);
    let machine = if lead.alive() {
        lead
    } else {
        up.unwrap_or(lead)
    };
    let mut ssh = keys::ssh(&folder, &machine, &machines::admin(&folder))?;
    ssh.stdin(Stdio::null()).arg("muster");
    // A shell reads them there.
    ssh.args(arguments.iter().map(|word| keys::quoted(word)));
    let status = ssh.status().map_err(keys::missing("ssh"))?;
    match status.code() {
        Some(255) | None => Err(miette::miette!(
            help = format!("watch it with: muster console {stack}"),
            "{} could not be reached over ssh",
            machine.role
        )),
        Some(code) => Ok(u8::try_from(code).unwrap_or(exit::FAILURE)),
    }
}
