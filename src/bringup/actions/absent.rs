//! Nothing at a path.

use super::{Act, ActionError, Found, Surroundings, absolute, io, look};
use crate::site::durable;

/// See [`crate::profile::Action::Absent`].
#[derive(Debug)]
pub struct Absent<'a> {
    /// Absolute path of a file or link.
    pub path: &'a str,
}

impl Act for Absent<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        Ok(match look(absolute(self.path)?)? {
            None => Found::Satisfied,
            Some(_) => Found::Wanting("it is there".into()),
        })
    }

    fn apply(&self, _around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let path = absolute(self.path)?;
        match look(path)? {
            None => return Ok(()),
            Some(metadata) if metadata.is_dir() => {
                return Err(ActionError::Refused {
                    reason: format!("{} is a directory: only files are removed", self.path),
                    output: String::new(),
                });
            }
            Some(_) => std::fs::remove_file(path).map_err(io("remove", path))?,
        }
        match path.parent() {
            Some(parent) => durable::sync_directory(parent).map_err(io("sync", parent)),
            None => Ok(()),
        }
    }

    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("remove {}", self.path)
    }
}
