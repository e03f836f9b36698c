//! The processes behind a build, so that no thread exists before a namespace is entered:
//! `enter` leaves the workstation's namespaces, `init` is the first process of the new PID
//! namespace, and `work` makes the image. Each starts the next from the same binary.
//!
//! An ordinary user gets a user namespace first, in which they are root and have subordinate
//! ids for everybody else; `map` asks for these from outside of it.
//!
//! When any of them dies the kernel kills what is below it, and with `init` the whole
//! namespace, so a daemon that a maintainer script left behind cannot outlive the build.

use super::error::Error;
use super::job::Failure;
use super::layer::{Layers, State};
use super::ordinary::{Ids, Obstacle};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, getppid};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "image-worker";

/// Which of the processes this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Leaves the namespaces, to see whether it can.
    Try,
    /// Hands out subordinate ids to its parent, once that says so.
    Map,
    /// Removes a folder of which not everything belongs to the user.
    Sweep,
    /// Compares layers of a cache with what they were when they were finished.
    Look,
    /// Leaves the namespaces.
    Enter,
    /// First process of the new PID namespace.
    Init,
    /// Makes the image.
    Work,
    /// Makes the initial RAM filesystem, beside `Work`.
    Initrd,
    /// Becomes a program of the new root.
    Program,
}

/// The command that starts a stage with this job, or folder.
pub fn command(stage: &str, of: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(SUBCOMMAND)
        .arg(stage)
        .arg(of)
        .stdin(Stdio::null());
    command
}

/// Whether this user may make images at all: it is tried.
pub fn permitted() -> Result<(), Error> {
    told(command("try", Path::new("/")).output())
}

/// Removes a folder in which files may belong to subordinate ids of this user.
pub fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            told(command("sweep", folder).output())
        }
        removed => removed.map_err(Error::io("cannot remove", folder)),
    }
}

/// The layers of the cache at `cache` that are not as they were when they were finished, and
/// where the first difference is. Their files may belong to subordinate ids of this user.
pub fn damaged_layers(cache: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let output = told_with(command("look", cache).output())?;
    serde_json::from_slice(&output).map_err(|error| Error::Layout(error.to_string()))
}

fn look(cache: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let layers = Layers::at(cache);
    let keys = layers.keys();
    let mut damaged = Vec::new();
    for key in keys.map_err(Error::io("cannot read", layers.folder()))? {
        match layers.look(&key, true)? {
            State::Whole => {}
            State::Differs(path) => damaged.push((key, path)),
            State::Unfinished => damaged.push((key, PathBuf::new())),
        }
    }
    Ok(damaged)
}

/// What a stage that makes no image says on standard output when it fails.
pub fn told(output: std::io::Result<Output>) -> Result<(), Error> {
    told_with(output).map(drop)
}

/// As [`told`]; what it says on standard output when it succeeds.
fn told_with(output: std::io::Result<Output>) -> Result<Vec<u8>, Error> {
    let output = output.map_err(Error::io("cannot start", "/proc/self/exe"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let Failure { message, hint } =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Failure {
            message: "a process of the build died".into(),
            hint: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    Err(Error::Worker { message, hint })
}

/// Does what a stage does that makes no image.
pub fn alone(stage: Stage, folder: &Path) -> Result<(), Error> {
    prepare()?;
    match stage {
        Stage::Map => {
            // The parent's end closes without a word when there is nothing to map.
            let mut go = [0];
            if std::io::stdin().read_exact(&mut go).is_err() {
                return Ok(());
            }
            let ids = Ids::find(Path::new("/"), geteuid().as_raw(), getegid().as_raw());
            ids.and_then(|ids| ids.hand_out(getppid()))
                .map_err(Error::Ordinary)
        }
        Stage::Look => {
            become_root()?;
            let text = serde_json::to_string(&look(folder)?);
            let text = text.map_err(|error| Error::Layout(error.to_string()))?;
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Stage::Sweep => {
            become_root()?;
            std::fs::remove_dir_all(folder).map_err(Error::io("cannot remove", folder))
        }
        _ => leave(),
    }
}

/// Does what `stage` does, up to and without `work`. Returns the exit status of the next one.
pub fn pass_on(stage: Stage, job: &Path) -> Result<ExitStatus, Error> {
    prepare()?;
    let next = match stage {
        Stage::Enter => {
            leave()?;
            "init"
        }
        _ => "work",
    };
    let next = command(next, job).status();
    next.map_err(Error::io("cannot start", "/proc/self/exe"))
}

/// Leaves the workstation's namespaces.
fn leave() -> Result<(), Error> {
    let ordinary = become_root()?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(flags).map_err(|errno| match errno {
        errno if ordinary => forbidden(errno),
        nix::Error::EPERM => Error::NotPermitted,
        errno => Error::namespace("cannot leave the workstation's namespaces")(errno),
    })
}

/// Makes an ordinary user root in a user namespace of their own. Whether that was needed.
fn become_root() -> Result<bool, Error> {
    if geteuid().is_root() {
        return Ok(false);
    }
    let failed = || Error::io("cannot start", "/proc/self/exe");
    let mut map = command("map", Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    let left = unshare(CloneFlags::CLONE_NEWUSER);
    if let (Ok(()), Some(go)) = (&left, &mut map.stdin) {
        go.write_all(b"!").map_err(failed())?;
    }
    drop(map.stdin.take());
    let mapped = told(map.wait_with_output());
    left.map_err(forbidden)?;
    mapped?;
    // The user's other groups have no place in the namespace.
    nix::unistd::setgroups(&[]).map_err(Error::namespace("cannot leave the user's groups"))?;
    prepare()?;
    Ok(true)
}

fn forbidden(errno: nix::Error) -> Error {
    Error::Ordinary(Obstacle::of_kernel(Path::new("/"), errno))
}

/// Whether this process is in a user namespace of somebody's own (user_namespaces(7)).
pub fn is_nested() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// What every stage does first: dies with its parent, takes signals again, and gives files the
/// modes they ask for, whatever the caller's habits.
pub fn prepare() -> Result<(), Error> {
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(Error::namespace("cannot tie the build to its parent"))?;
    SigSet::all()
        .thread_unblock()
        .map_err(Error::namespace("cannot take signals"))
}
