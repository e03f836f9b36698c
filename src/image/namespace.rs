//! The three processes behind a build, so that no thread exists before a namespace is entered:
//! `enter` leaves the workstation's namespaces, `init` is the first process of the new PID
//! namespace, and `work` makes the image. Each starts the next from the same binary.
//!
//! When any of them dies the kernel kills what is below it, and with `init` the whole
//! namespace, so a daemon that a maintainer script left behind cannot outlive the build.

use super::error::Error;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "image-worker";

/// Which of the processes this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Leaves the namespaces.
    Enter,
    /// First process of the new PID namespace.
    Init,
    /// Makes the image.
    Work,
}

/// The command that starts a stage with this job.
pub fn command(stage: &str, job: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(SUBCOMMAND)
        .arg(stage)
        .arg(job)
        .stdin(Stdio::null());
    command
}

/// Whether this user may make images at all.
pub fn permitted() -> Result<(), Error> {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Error::NotPermitted { root: false }),
    }
}

/// Does what `stage` does, up to and without `work`. Returns the exit status of the next one.
pub fn pass_on(stage: Stage, job: &Path) -> Result<ExitStatus, Error> {
    let failed = Error::io("cannot start", "/proc/self/exe");
    match stage {
        Stage::Enter => {
            prepare()?;
            let flags = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS;
            unshare(flags).map_err(|errno| match errno {
                nix::Error::EPERM => Error::NotPermitted { root: true },
                errno => Error::namespace("cannot leave the workstation's namespaces")(errno),
            })?;
            command("init", job).status().map_err(failed)
        }
        Stage::Init | Stage::Work => {
            prepare()?;
            command("work", job).status().map_err(failed)
        }
    }
}

/// What every stage does first: dies with its parent, and takes signals again.
pub fn prepare() -> Result<(), Error> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(Error::namespace("cannot tie the build to its parent"))?;
    SigSet::all()
        .thread_unblock()
        .map_err(Error::namespace("cannot take signals"))
}
