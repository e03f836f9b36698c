//! A directory with its mode and owner; what is in it is left alone.

use super::{Act, ActionError, Found, Surroundings, absolute, differs, io, look, mode};
use crate::site::durable;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};

/// See [`crate::profile::Action::Directory`].
#[derive(Debug)]
pub struct Directory<'a> {
    /// Absolute path.
    pub path: &'a str,
    /// Octal digits.
    pub mode: &'a str,
    /// `user:group`.
    pub owner: &'a str,
}

impl Act for Directory<'_> {
    fn check(&self, around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let path = absolute(self.path)?;
        let wanted = mode(self.mode)?;
        let owner = around.accounts()?.owner(self.owner)?;
        Ok(match look(path)? {
            None => Found::Wanting("it is not there".into()),
            Some(metadata) if !metadata.is_dir() => Found::Wanting("it is not a directory".into()),
            Some(metadata) => match differs(&metadata, wanted, owner) {
                Some(difference) => Found::Wanting(difference),
                None => Found::Satisfied,
            },
        })
    }

    fn apply(&self, around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let path = absolute(self.path)?;
        let wanted = mode(self.mode)?;
        let owner = around.accounts()?.owner(self.owner)?;
        if look(path)?.is_some_and(|metadata| !metadata.is_dir()) {
            return Err(ActionError::Refused {
                reason: format!("{} is there and is not a directory", self.path),
                output: String::new(),
            });
        }
        if let Some(parent) = path.parent() {
            durable::make_directory(parent, 0o755).map_err(io("make", parent))?;
        }
        // Made closed, so that nobody steps in before the owner is right.
        durable::make_directory(path, 0o700).map_err(io("make", path))?;
        chown(path, Some(owner.uid), Some(owner.gid)).map_err(io("change the owner of", path))?;
        std::fs::set_permissions(path, Permissions::from_mode(wanted))
            .map_err(io("change the mode of", path))?;
        durable::sync_directory(path).map_err(io("sync", path))
    }

    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("make {}", self.path)
    }
}
