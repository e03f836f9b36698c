//! The key of a host: made on it, shown in every handshake, never anywhere else.

use crate::site::durable;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of a public key (its SubjectPublicKeyInfo, DER): who somebody is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Print(pub [u8; 32]);

impl Print {
    /// Of a public key.
    pub fn of(public_key: &[u8]) -> Print {
        Print(Sha256::digest(public_key).into())
    }

    /// A few digits that two people can compare.
    pub fn short(&self) -> String {
        let text = hex::encode(&self.0[..6]);
        let pairs: Vec<&str> = (0..text.len())
            .step_by(4)
            .map(|at| &text[at..at + 4])
            .collect();
        pairs.join(" ")
    }
}

impl TryFrom<String> for Print {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Print, &'static str> {
        let bytes = hex::decode(text).map_err(|_| "a key's print is hexadecimal")?;
        let bytes = bytes.try_into().map_err(|_| "a key's print has 32 bytes")?;
        Ok(Print(bytes))
    }
}

impl From<Print> for String {
    fn from(print: Print) -> String {
        hex::encode(print.0)
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

/// Why a host has no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no key.
    #[error(
        "{path}: the key of this host is damaged ({error}); restore the file, or remove it and \
         join again as a new host: sudo muster join --replace ROLE on the lead"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: rcgen::Error,
    },
    /// A certificate around the key could not be made.
    #[error("the certificate of this host's key: {0}")]
    Certificate(rcgen::Error),
}

/// The key of a host and the certificate it is shown in. Nobody believes the certificate: whose
/// the key is was proven in a join.
pub struct Identity {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Identity {
    /// Opens `host.key` in the folder, making it if there is none.
    pub fn open_or_create(folder: &Path) -> Result<Identity, IdentityError> {
        let path = folder.join("host.key");
        let at = |error| IdentityError::Io {
            path: path.clone(),
            error,
        };
        let key = match std::fs::read_to_string(&path) {
            Ok(text) => KeyPair::from_pem(&text).map_err(|error| IdentityError::Damaged {
                path: path.clone(),
                error,
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(IdentityError::Certificate)?;
                durable::make_directory(folder, 0o755).map_err(at)?;
                durable::write(&path, key.serialize_pem().as_bytes(), 0o600, None).map_err(at)?;
                key
            }
            Err(error) => return Err(at(error)),
        };
        let mut shown = CertificateParams::default();
        shown.distinguished_name = rcgen::DistinguishedName::new();
        shown
            .distinguished_name
            .push(DnType::CommonName, "a host of a muster site");
        let certificate = shown
            .self_signed(&key)
            .map_err(IdentityError::Certificate)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key,
        })
    }

    /// Who this host is.
    pub fn print(&self) -> Print {
        Print::of(&self.key.subject_public_key_info())
    }

    /// What a handshake shows.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// What a handshake signs with.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.print())
    }
}

/// The public key in a certificate (SubjectPublicKeyInfo, DER), if it is one.
pub fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.public_key().raw.to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_for_root_alone_and_is_the_one_in_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open_or_create(folder.path()).unwrap();
        let again = Identity::open_or_create(folder.path()).unwrap();
        assert_eq!(first.print(), again.print());
        let mode = std::fs::metadata(folder.path().join("host.key")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o7777, 0o600);
        let shown = public_key(&first.certificate()).unwrap();
        assert_eq!(Print::of(&shown), first.print());
        let other = Identity::open_or_create(&folder.path().join("other")).unwrap();
        assert_ne!(other.print(), first.print());
    }

    #[test]
    fn a_damaged_key_is_told_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        std::fs::write(&path, "no key").unwrap();
        let error = Identity::open_or_create(folder.path()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("the key of this host is damaged"), "{words}");
        assert_eq!(std::fs::read(&path).unwrap(), b"no key");
    }

    #[test]
    fn a_print_is_read_back_and_short_enough_to_compare() {
        let print = Print([0xab; 32]);
        assert_eq!(print.short(), "abab abab abab");
        let json = serde_json::to_string(&print).unwrap();
        assert_eq!(serde_json::from_str::<Print>(&json).unwrap(), print);
        assert!(serde_json::from_str::<Print>("\"abab\"").is_err());
    }
}
