//! A file with a given content, written beside its place and renamed.

use super::{Act, ActionError, Found, Surroundings, absolute, differs, io, look, mode};
use crate::site::durable;

/// See [`crate::profile::Action::File`].
#[derive(Debug)]
pub struct File<'a> {
    /// Absolute path.
    pub path: &'a str,
    /// Rendered content.
    pub content: &'a str,
    /// Octal digits.
    pub mode: &'a str,
    /// `user:group`.
    pub owner: &'a str,
}

impl Act for File<'_> {
    fn check(&self, around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let path = absolute(self.path)?;
        let wanted = mode(self.mode)?;
        let owner = around.accounts()?.owner(self.owner)?;
        let Some(metadata) = look(path)? else {
            return Ok(Found::Wanting("it is not there".into()));
        };
        if !metadata.is_file() {
            return Ok(Found::Wanting("it is not a plain file".into()));
        }
        if let Some(difference) = differs(&metadata, wanted, owner) {
            return Ok(Found::Wanting(difference));
        }
        if metadata.len() != self.content.len() as u64
            || std::fs::read(path).map_err(io("read", path))? != self.content.as_bytes()
        {
            return Ok(Found::Wanting("its content differs".into()));
        }
        Ok(Found::Satisfied)
    }

    fn apply(&self, around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let path = absolute(self.path)?;
        let owner = around.accounts()?.owner(self.owner)?;
        if look(path)?.is_some_and(|metadata| metadata.is_dir()) {
            return Err(ActionError::Refused {
                reason: format!("{} is a directory: a file cannot replace it", self.path),
                output: String::new(),
            });
        }
        if let Some(parent) = path.parent() {
            durable::make_directory(parent, 0o755).map_err(io("make", parent))?;
        }
        durable::write(path, self.content.as_bytes(), mode(self.mode)?, Some(owner))
            .map_err(io("write", path))
    }

    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("write {}", self.path)
    }
}
