//! That a host leads in the place of another: a statement of the site's authority, whose key only
//! a lead has, or who opens a sealed copy of the site. Hosts that are shown one follow its lead
//! from then on, and not the former one, whoever has its key.

use super::identity::Print;
use crate::site::authority::{Authority, AuthorityError, attested};
use crate::site::durable;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// In the folder of the mesh.
const FILE: &str = "warrant.json";
/// The term of the host that made the site.
pub const FIRST: u64 = 1;

/// A lead that had the place before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Former {
    /// Its role.
    pub role: String,
    /// Its key.
    pub key: Print,
}

/// Who leads now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Claim {
    /// Id of the site.
    pub site: String,
    /// Role of the lead.
    pub role: String,
    /// Its key.
    pub key: Print,
    /// Counts the leads of the site; the one that made it was the first.
    pub term: u64,
    /// In whose place.
    pub former: Former,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
}

/// The claim and the authority's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Warrant {
    /// Who leads.
    pub claim: Claim,
    /// Hex.
    signature: String,
}

/// Why a warrant is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Of another site.
    #[error("it is of another site")]
    Site,
    /// The authority has not signed it.
    #[error("the authority of this site has not signed it")]
    Unsigned,
    /// Whoever shows it is somebody else.
    #[error("it speaks of another host than the one that shows it")]
    Another,
    /// An earlier lead's, or one of the same term.
    #[error("{role} leads since a later day")]
    Old {
        /// Who.
        role: String,
    },
}

/// Why it cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum WarrantError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: who leads this site is damaged: {error}; restore the file")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
}

impl Claim {
    /// What is signed.
    fn statement(&self) -> Vec<u8> {
        let Claim {
            site,
            role,
            key,
            term,
            former,
            since,
        } = self;
        let hex = |print: &Print| String::from(*print);
        let (key, before) = (hex(key), hex(&former.key));
        format!(
            "muster warrant 1\nsite {site}\nlead {role} {key}\nterm {term}\nformer {} {before}\n\
             since {since}\n",
            former.role
        )
        .into_bytes()
    }
}

impl Warrant {
    /// The authority's word for a claim.
    pub fn sign(authority: &Authority, claim: Claim) -> Result<Warrant, AuthorityError> {
        let signature = hex::encode(authority.attest(&claim.statement())?);
        Ok(Warrant { claim, signature })
    }

    /// Whether it is to be believed by a host of this site, with this authority (its certificate,
    /// PEM), that knows another warrant or none.
    pub fn check(&self, site: &str, ca: &str, known: Option<&Warrant>) -> Result<(), Disbelief> {
        if self.claim.site != site {
            return Err(Disbelief::Site);
        }
        let signature = hex::decode(&self.signature).unwrap_or_default();
        if !attested(ca, &self.claim.statement(), &signature) {
            return Err(Disbelief::Unsigned);
        }
        if self.claim.term <= known.map_or(FIRST, |known| known.claim.term) {
            let role = known.map_or(&self.claim.former.role, |known| &known.claim.role);
            return Err(Disbelief::Old { role: role.clone() });
        }
        Ok(())
    }

    /// The same, shown by the host with this key.
    pub fn check_of(
        &self,
        key: Print,
        site: &str,
        ca: &str,
        known: Option<&Warrant>,
    ) -> Result<(), Disbelief> {
        match self.claim.key == key {
            true => self.check(site, ca, known),
            false => Err(Disbelief::Another),
        }
    }

    /// The one kept in a folder of the mesh.
    pub fn kept(folder: &Path) -> Result<Option<Warrant>, WarrantError> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| WarrantError::Damaged { path, error }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WarrantError::Io { path, error }),
        }
    }

    /// Keeps it; it is on the disk when this returns.
    pub fn keep(&self, folder: &Path) -> Result<(), WarrantError> {
        let path = folder.join(FILE);
        let kept = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|text| durable::write(&path, &text, 0o600, None));
        kept.map_err(|error| WarrantError::Io { path, error })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claim(term: u64) -> Claim {
        Claim {
            site: "5".repeat(32),
            role: "edge".into(),
            key: Print([2; 32]),
            term,
            former: Former {
                role: "core".into(),
                key: Print([1; 32]),
            },
            since: "2026-01-01T00:00:00Z".into(),
        }
    }

    fn authority() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(folder.path(), "Example").unwrap();
        (folder, authority)
    }

    #[test]
    fn what_the_authority_signed_is_believed_once_and_kept() {
        let (folder, authority) = authority();
        let (site, ca) = ("5".repeat(32), authority.pem());
        let second = Warrant::sign(&authority, claim(2)).unwrap();
        let key = second.claim.key;
        assert_eq!(second.check_of(key, &site, ca, None), Ok(()));
        assert_eq!(Warrant::kept(folder.path()).unwrap(), None);
        second.keep(folder.path()).unwrap();
        let kept = Warrant::kept(folder.path()).unwrap();
        assert_eq!(kept.as_ref(), Some(&second));
        let told = second.check(&site, ca, kept.as_ref()).unwrap_err();
        assert_eq!(told.to_string(), "edge leads since a later day");
        let third = Warrant::sign(&authority, claim(3)).unwrap();
        assert_eq!(third.check(&site, ca, kept.as_ref()), Ok(()));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let words = Warrant::kept(folder.path()).unwrap_err().to_string();
        assert!(
            words.contains("who leads this site is damaged: "),
            "{words}"
        );
    }

    #[test]
    fn anything_else_is_not() {
        let ((_one, authority), (_two, other)) = (authority(), authority());
        let (site, ca) = ("5".repeat(32), authority.pem());
        let right = Warrant::sign(&authority, claim(2)).unwrap();
        let unsigned = "the authority of this site has not signed it";
        let told = |warrant: &Warrant| warrant.check(&site, ca, None).unwrap_err().to_string();
        assert_eq!(
            told(&Warrant::sign(&other, claim(2)).unwrap()),
            unsigned,
            "another authority"
        );
        for (what, claim) in [
            ("term", claim(9)),
            (
                "role",
                Claim {
                    role: "files".into(),
                    ..claim(2)
                },
            ),
            (
                "key",
                Claim {
                    key: Print([3; 32]),
                    ..claim(2)
                },
            ),
            (
                "since",
                Claim {
                    since: "2027-01-01T00:00:00Z".into(),
                    ..claim(2)
                },
            ),
        ] {
            let forged = Warrant {
                claim,
                signature: right.signature.clone(),
            };
            assert_eq!(told(&forged), unsigned, "{what}");
        }
        assert_eq!(
            right.check_of(Print([7; 32]), &site, ca, None),
            Err(Disbelief::Another)
        );
        assert_eq!(right.check("6", ca, None), Err(Disbelief::Site));
        // Nobody signs that the first lead was promoted.
        let first = Warrant::sign(&authority, claim(FIRST)).unwrap();
        assert_eq!(told(&first), "core leads since a later day");
        assert_eq!(right.check(&site, "no CA", None), Err(Disbelief::Unsigned));
    }
}
