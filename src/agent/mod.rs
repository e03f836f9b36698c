//! The program on a host from power-on.

pub mod account;
pub mod banner;
pub mod clock;
pub mod data;
pub mod deputy;
pub mod facts;
pub mod firewall;
pub mod herald;
pub mod host;
pub mod invite;
pub mod join;
pub mod keeper;
pub mod lead;
pub mod leadership;
pub mod member;
pub mod mesh;
pub mod networkd;
pub mod partition;
pub mod promotion;
pub mod reception;
pub mod resident;
pub mod run;
pub mod setup;
pub mod socket;
pub mod sources;
pub mod ssh;
pub mod state;
pub mod trouble;
pub mod view;
pub mod wake;

use crate::bringup::journal::JournalError;
use crate::bringup::process::ProcessError;
use crate::console::dialogue::DialogueError;
use crate::site::accounts::AccountError;
use crate::site::authority::AuthorityError;
use crate::site::durable;
use crate::site::secrets::SecretError;
use std::io;
use std::path::{Path, PathBuf};

/// The folder that the agent owns, on the data partition.
pub const OWN: &str = "var/lib/muster";

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A program failed.
    #[error("{error}\n{}", error.output())]
    Process {
        /// How.
        error: ProcessError,
    },
    /// A file of the image or of the state is not what it should be.
    #[error("{path}: {reason}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk has no data partition, or several disks have one.
    #[error("{0}")]
    Partition(String),
    /// Mounting failed.
    #[error(
        "cannot mount {what} at {at}: {error}; what the kernel says of it: journalctl -k -p err"
    )]
    Mount {
        /// Device or directory.
        what: PathBuf,
        /// Mount point.
        at: PathBuf,
        /// Why.
        error: nix::Error,
    },
    /// The kernel refused.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: nix::Error,
    },
    /// No console to ask on.
    #[error(
        "questions are open and there is no console to ask them on; add one, or give the host an \
         answers file: muster answers init FILE"
    )]
    NoConsole,
    /// Somebody else was faster.
    #[error("the questions were answered on another terminal in the meantime; those answers stay")]
    Answered,
    /// The dialogue ended early.
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
    /// Accounts cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The site CA cannot be opened.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The other hosts cannot be joined or heard.
    #[error("{0}")]
    Mesh(String),
    /// No random numbers.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl AgentError {
    /// What a host has been answered cannot be read.
    fn damaged_site(path: PathBuf, error: &serde_json::Error) -> AgentError {
        AgentError::Content {
            path,
            reason: format!("the answers of this host are damaged: {error}; restore the file"),
        }
    }

    /// What the kernel said, if it did.
    pub fn input_output(&self) -> Option<&io::Error> {
        match self {
            AgentError::Io { error, .. }
            | AgentError::Authority(AuthorityError::Io { error, .. }) => Some(error),
            AgentError::Journal(JournalError::Io { source, .. }) => Some(source),
            _ => None,
        }
    }
}

impl From<ProcessError> for AgentError {
    fn from(error: ProcessError) -> Self {
        AgentError::Process { error }
    }
}

/// What the agent's functions return.
pub type Result<T> = std::result::Result<T, AgentError>;

fn at(path: &Path) -> impl FnOnce(io::Error) -> AgentError {
    let path = path.to_path_buf();
    move |error| AgentError::Io { path, error }
}

/// Starts a thread.
fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(at(Path::new("/proc/self/task")))
}

/// Writes a file unless it is the same already; whether it was written.
fn write_if_new(path: &Path, content: &str, mode: u32) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let there = std::fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o7777 == mode);
    if there && std::fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        durable::make_directory(folder, 0o755).map_err(at(folder))?;
    }
    durable::write(path, content.as_bytes(), mode, None).map_err(at(path))?;
    Ok(true)
}
