//! The site CA: made once, and trusted by the host's own programs.

use super::file::File;
use super::{Act, ActionError, Found, Surroundings, io, run};
use crate::bringup::places::Places;
use crate::site::authority::Signs;
use crate::site::trust::{self, Folders};
use std::path::Path;

/// Makes the CA where it is this host's, and installs its certificate.
pub struct SiteAuthority<'a> {
    /// Who signs.
    pub signer: &'a dyn Signs,
    /// Where things are.
    pub places: &'a Places,
    /// Named in the certificate.
    pub organisation: &'a str,
}

impl SiteAuthority<'_> {
    /// Where programs look. The first is a link where programs trust it.
    fn copies(&self) -> [&Path; 2] {
        [&self.places.ca, &self.places.ca_anchor]
    }
}

impl Act for SiteAuthority<'_> {
    /// The copies stand before update-ca-certificates(8) has told all programs of them: where
    /// that may have been cut short, they say nothing.
    fn check(&self, _around: &Surroundings, stale: bool) -> Result<Found, ActionError> {
        let pem = self.signer.ca()?.into_bytes();
        let mut copies = self.copies().into_iter();
        let other = copies.find(|path| std::fs::read(path).map_or(true, |copy| copy != pem));
        Ok(match other {
            Some(path) => Found::Wanting(format!("{} is not the site CA", path.display())),
            None if stale => Found::Unknown,
            None => Found::Satisfied,
        })
    }

    /// update-ca-certificates(8) looks at every certificate again and again, so it runs only where
    /// there is more to do than to add this one. A copy that is written anew is a file again, which
    /// it takes for a new one: it makes a link of it and the names by which OpenSSL finds it.
    fn apply(&self, around: &Surroundings, stale: bool) -> Result<(), ActionError> {
        let pem = self.signer.ca()?;
        let write = |path: &Path| {
            let file = File {
                path: &path.display().to_string(),
                content: &pem,
                mode: "0644",
                owner: "0:0",
            };
            file.apply(around, stale)
        };
        write(&self.places.ca_anchor)?;
        if self.places.refresh_trust {
            let folders = Folders::host();
            if trust::add(&folders, &self.places.ca_anchor)
                .map_err(io("add to", &folders.trusted))?
            {
                return Ok(());
            }
        }
        write(&self.places.ca)?;
        if self.places.refresh_trust {
            run(["update-ca-certificates"])?;
        }
        Ok(())
    }

    fn title(&self) -> String {
        format!("trust the CA of {}", self.organisation)
    }
}
