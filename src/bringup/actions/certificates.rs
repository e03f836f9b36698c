//! The certificates of a service, issued by the site CA and renewed in time.

use super::{Act, ActionError, Found, Surroundings};
use crate::site::authority::Authority;
use std::path::{Path, PathBuf};

/// One certificate.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Where it goes.
    pub directory: PathBuf,
    /// DNS names.
    pub names: Vec<String>,
    /// Who may read the key, `user:group`.
    pub owner: String,
}

/// Issues what is missing, renews what is old.
#[derive(Debug)]
pub struct Certificates<'a> {
    /// Folder of the site CA.
    pub authority: &'a Path,
    /// Named in the CA, should it be missing.
    pub organisation: &'a str,
    /// All certificates of the service.
    pub leaves: &'a [Leaf],
}

impl Act for Certificates<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let authority = Authority::open_or_create(self.authority, self.organisation)?;
        for leaf in self.leaves {
            if !authority.is_good(&leaf.directory, &leaf.names)? {
                return Ok(Found::Wanting(format!(
                    "{} has no certificate for {} that is good for a month",
                    leaf.directory.display(),
                    leaf.names.join(", ")
                )));
            }
        }
        Ok(Found::Satisfied)
    }

    fn apply(&self, around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        let authority = Authority::open_or_create(self.authority, self.organisation)?;
        let accounts = around.accounts()?;
        for leaf in self.leaves {
            let owner = accounts.owner(&leaf.owner)?;
            authority.issue(&leaf.directory, &leaf.names, owner)?;
        }
        Ok(())
    }

    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        let names: Vec<&str> = self
            .leaves
            .iter()
            .filter_map(|leaf| leaf.names.first())
            .map(String::as_str)
            .collect();
        format!("certificate for {}", names.join(", "))
    }
}
