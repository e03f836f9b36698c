//! The site CA: made once, and trusted by the host's own programs.

use super::file::File;
use super::{Act, ActionError, Found, Surroundings, run};
use crate::bringup::places::Places;
use crate::site::authority::Authority;
use std::path::Path;

/// Makes the CA and installs its certificate.
#[derive(Debug)]
pub struct SiteAuthority<'a> {
    /// Where things are.
    pub places: &'a Places,
    /// Named in the certificate.
    pub organisation: &'a str,
}

impl SiteAuthority<'_> {
    /// Where programs look. update-ca-certificates(8) may have made a link of the first.
    fn copies(&self) -> [&Path; 2] {
        [&self.places.ca, &self.places.ca_anchor]
    }
}

impl Act for SiteAuthority<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        let made = self.places.authority().join("ca.pem");
        match std::fs::read_to_string(&made) {
            Ok(pem) => Ok(
                match self
                    .copies()
                    .iter()
                    .find(|path| std::fs::read(path).map_or(true, |copy| copy != pem.as_bytes()))
                {
                    Some(path) => Found::Wanting(format!("{} is not the site CA", path.display())),
                    None => Found::Satisfied,
                },
            ),
            Err(_) => Ok(Found::Wanting("there is no site CA yet".into())),
        }
    }

    fn apply(&self, around: &Surroundings, stale: bool) -> Result<(), ActionError> {
        let authority = Authority::open_or_create(&self.places.authority(), self.organisation)?;
        for path in self.copies() {
            let file = File {
                path: &path.display().to_string(),
                content: authority.pem(),
                mode: "0644",
                owner: "0:0",
            };
            file.apply(around, stale)?;
        }
        if self.places.refresh_trust {
            run(["update-ca-certificates"])?;
        }
        Ok(())
    }

    fn title(&self) -> String {
        format!("trust the CA of {}", self.organisation)
    }
}
