//! A symbolic link, replaced in one rename.

use super::{Act, ActionError, Found, Surroundings, absolute, io, look};
use crate::site::durable;
use std::path::Path;

/// See [`crate::profile::Action::Link`].
#[derive(Debug)]
pub struct Link<'a> {
    /// Absolute path of the link.
    pub path: &'a str,
    /// What it points at.
    pub to: &'a str,
}

impl Act for Link<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let path = absolute(self.path)?;
        Ok(match look(path)? {
            None => Found::Wanting("it is not there".into()),
            Some(metadata) if !metadata.is_symlink() => Found::Wanting("it is not a link".into()),
            Some(_) => match std::fs::read_link(path).map_err(io("read", path))? {
                to if to == Path::new(self.to) => Found::Satisfied,
                to => Found::Wanting(format!("it points at {}", to.display())),
            },
        })
    }

    fn apply(&self, _around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let path = absolute(self.path)?;
        if look(path)?.is_some_and(|metadata| metadata.is_dir()) {
            return Err(ActionError::Refused {
                reason: format!("{} is a directory: a link cannot replace it", self.path),
                output: String::new(),
            });
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        durable::make_directory(parent, 0o755).map_err(io("make", parent))?;
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let beside = parent.join(name);
        if look(&beside)?.is_some() {
            std::fs::remove_file(&beside).map_err(io("remove", &beside))?;
        }
        std::os::unix::fs::symlink(self.to, &beside).map_err(io("make", &beside))?;
        std::fs::rename(&beside, path).map_err(io("rename to", path))?;
        durable::sync_directory(parent).map_err(io("sync", parent))
    }

    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("link {}", self.path)
    }
}
