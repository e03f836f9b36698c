//! The certificates of a service, issued by the site CA and renewed in time.

use super::{Act, ActionError, Found, Surroundings};
use crate::site::authority::{self, Signs};
use std::path::PathBuf;

/// One certificate.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Whose.
    pub service: String,
    /// Which of its.
    pub name: String,
    /// Where it goes.
    pub directory: PathBuf,
    /// DNS names.
    pub names: Vec<String>,
    /// Who may read the key, `user:group`.
    pub owner: String,
}

/// Issues what is missing, renews what is old.
pub struct Certificates<'a> {
    /// Who signs.
    pub signer: &'a dyn Signs,
    /// All certificates of the service.
    pub leaves: &'a [Leaf],
}

impl Act for Certificates<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        for leaf in self.leaves {
            if !authority::is_good(self.signer, &leaf.directory, &leaf.names)? {
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
        let accounts = around.accounts()?;
        for leaf in self.leaves {
            let owner = accounts.owner(&leaf.owner)?;
            let wanted = authority::Leaf {
                service: &leaf.service,
                name: &leaf.name,
                names: &leaf.names,
            };
            authority::issue(self.signer, &leaf.directory, &wanted, owner)?;
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
