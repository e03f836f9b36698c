//! Typed, idempotent actions: one file per kind behind one trait.

use super::process::{ProcessError, Program};
use super::wire::Network;
use crate::profile::Action;
use crate::site::accounts::{AccountError, Accounts};
use std::path::{Path, PathBuf};

pub mod absent;
pub mod authority;
pub mod certificates;
pub mod command;
pub mod directory;
pub mod file;
pub mod ldap;
pub mod link;
pub mod sql;
pub mod unit;
pub mod user;
pub mod wait;

/// What an action needs beside its own words.
#[derive(Debug)]
pub struct Surroundings {
    /// Where `etc/passwd` and `etc/group` are; `/` on a host.
    pub root: PathBuf,
    /// How probes reach others.
    pub network: Network,
}

impl Surroundings {
    /// The accounts as they are now: an action before may have made one.
    pub fn accounts(&self) -> Result<Accounts, AccountError> {
        Accounts::read(&self.root)
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// As wanted: nothing to do.
    Satisfied,
    /// Not as wanted, and in what.
    Wanting(String),
    /// It cannot be told: the journal decides.
    Unknown,
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Octal digits are not.
    #[error("`{0}` is no file mode: write four octal digits, like 0640")]
    Mode(String),
    /// A path is not absolute.
    #[error("`{0}` is not an absolute path")]
    Relative(String),
    /// No such account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A child failed.
    #[error("{}", error.whole())]
    Process {
        /// How.
        #[from]
        error: ProcessError,
    },
    /// The site CA.
    #[error(transparent)]
    Authority(#[from] crate::site::authority::AuthorityError),
    /// Something else, in words, with the last output.
    #[error("{reason}")]
    Refused {
        /// One line.
        reason: String,
        /// Last lines of output.
        output: String,
    },
}

impl ActionError {
    /// Last lines of output and how to repeat it; may be empty.
    pub fn output(&self) -> String {
        match self {
            ActionError::Process { error } => error.output(),
            ActionError::Refused { output, .. } => output.clone(),
            _ => String::new(),
        }
    }
}

/// One kind of action.
pub trait Act {
    /// Looks whether the effect is there. `stale` says that the inputs have changed since it
    /// was last made, or that nobody knows.
    fn check(&self, around: &Surroundings, stale: bool) -> Result<Found, ActionError>;
    /// Makes the effect; doing it twice is doing it once.
    fn apply(&self, around: &Surroundings, stale: bool) -> Result<(), ActionError>;
    /// Looks again after the effect was made.
    fn verify(&self, around: &Surroundings) -> Result<Found, ActionError> {
        self.check(around, false)
    }
    /// A few words for a progress line.
    fn title(&self) -> String;
    /// Whether it waits for something outside, so that trying long is not failing.
    fn patient(&self) -> bool {
        false
    }
    /// Whether the effect is on the disk when `apply` returns. What other programs write is
    /// not: it is synced before the journal says "done".
    fn durable(&self) -> bool {
        false
    }
}

/// The kind behind a rendered action.
pub fn act(action: &Action) -> Box<dyn Act + '_> {
    match action {
        Action::File {
            path,
            content,
            mode,
            owner,
            ..
        } => Box::new(file::File {
            path,
            content: content.as_deref().unwrap_or(""),
            mode,
            owner,
        }),
        Action::Directory { path, mode, owner } => {
            Box::new(directory::Directory { path, mode, owner })
        }
        Action::Link { path, to } => Box::new(link::Link { path, to }),
        Action::Absent { path } => Box::new(absent::Absent { path }),
        Action::Unit { unit, state, .. } => Box::new(unit::Unit {
            unit,
            state: *state,
        }),
        Action::Command {
            command,
            unless,
            user,
            stdin,
            environment,
            directory,
        } => Box::new(command::Command {
            command,
            unless,
            user: user.as_deref(),
            stdin: stdin.as_deref(),
            environment,
            directory: directory.as_deref(),
        }),
        Action::Sql {
            database,
            sql,
            unless,
        } => Box::new(sql::Sql {
            database: database.as_deref(),
            sql,
            unless: unless.as_deref(),
        }),
        Action::Ldap {
            dn,
            attributes,
            initial,
        } => Box::new(ldap::Ldap {
            dn,
            attributes,
            initial,
        }),
        Action::User { name, groups } => Box::new(user::User { name, groups }),
        Action::Wait { probe } => Box::new(wait::Wait { probe }),
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ActionError {
    let path = path.to_path_buf();
    move |source| ActionError::Io { what, path, source }
}

fn absolute(path: &str) -> Result<&Path, ActionError> {
    if path.starts_with('/') {
        Ok(Path::new(path))
    } else {
        Err(ActionError::Relative(path.to_string()))
    }
}

fn mode(text: &str) -> Result<u32, ActionError> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| ActionError::Mode(text.to_string()))
}

/// How a file's mode and owner differ from what is wanted, in words.
fn differs(
    metadata: &std::fs::Metadata,
    mode: u32,
    owner: crate::site::durable::Owner,
) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    if metadata.mode() & 0o7777 != mode {
        return Some(format!(
            "its mode is {:04o}, not {mode:04o}",
            metadata.mode() & 0o7777
        ));
    }
    if (metadata.uid(), metadata.gid()) != (owner.uid, owner.gid) {
        return Some(format!(
            "it belongs to {}:{}, not {}:{}",
            metadata.uid(),
            metadata.gid(),
            owner.uid,
            owner.gid
        ));
    }
    None
}

/// Metadata of the thing itself, none when it is absent.
fn look(path: &Path) -> Result<Option<std::fs::Metadata>, ActionError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("look at", path)(error)),
    }
}

/// Runs a program as ourselves.
fn run<'a>(command: impl IntoIterator<Item = &'a str>) -> Result<String, ProcessError> {
    Program::new(command).run().map(|said| said.stdout)
}

#[cfg(test)]
mod tests;
