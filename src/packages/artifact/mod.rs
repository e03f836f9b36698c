//! Files of their publishers, from a profile to the lock: what a publisher says of them is looked
//! at when they are locked, and from then on the digest alone counts.

pub mod checksums;
mod supplied;

pub use supplied::supply;

use super::PackagesError;
use super::apt::openpgp::{self, OpenPgpError};
use super::cache::Cache;
use super::download::{DownloadError, Wanted, download};
use super::http::{HttpError, Transport};
use super::lock::{Artifact, Lock};
use crate::profile::artifact::{self as profile, Origin, Proof};
use checksums::{Checksum, ChecksumsError};
use sha2::{Digest, Sha512};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a file of checksums, or of signatures, at most.
const SMALL: u64 = 4 << 20;

/// Why an artifact cannot be locked, or a supplied one not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// What its publisher says of it cannot be read.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It did not arrive.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// `--offline`, and something must be looked at.
    #[error("{url} has not been looked at yet, and --offline forbids it")]
    Offline {
        /// URL.
        url: String,
    },
    /// Its file of checksums does not help.
    #[error("{url} proves nothing: {source}")]
    Checksums {
        /// URL of the file.
        url: String,
        /// Why.
        source: ChecksumsError,
    },
    /// Its publisher says something else than the profile.
    #[error("{url} says that the {what} of {file} is {said}; that of the pinned file is {pinned}")]
    Differs {
        /// URL of the file of checksums.
        url: String,
        /// Name of the artifact's file.
        file: String,
        /// `SHA-256` or `SHA-512`.
        what: &'static str,
        /// What the publisher says.
        said: String,
        /// What the pinned file has.
        pinned: String,
    },
    /// Its signature, or that of its file of checksums.
    #[error("{url} is no signature that can be believed: {}", in_words(source))]
    Signature {
        /// URL of the signature, or of the signed file of checksums.
        url: String,
        /// Why.
        source: OpenPgpError,
    },
    /// A file that people supply is not there.
    #[error("{file} is not in {}", folder.display())]
    NotSupplied {
        /// Its name.
        file: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A file that people supply cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that people supply is another one.
    #[error("{} is not the file that is meant: its {what} is {found}, not {wanted}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// Size or digest.
        what: &'static str,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// The cache cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Cache {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ArtifactError {
    /// Whether it is about a file that people have, and not about its publisher.
    pub fn is_about_supplied(&self) -> bool {
        matches!(
            self,
            ArtifactError::NotSupplied { .. } | ArtifactError::OtherFile { .. }
        )
    }
}

/// Without what the words around it say already.
fn in_words(error: &OpenPgpError) -> String {
    match error {
        OpenPgpError::Refused(reasons) => reasons.join("; "),
        OpenPgpError::Keys(reason) => format!("the publisher's keys cannot be read: {reason}"),
        OpenPgpError::NotSigned(reason) | OpenPgpError::NoSignature(reason) => reason.clone(),
    }
}

impl Artifact {
    /// An error about this artifact.
    pub(super) fn failed(&self, source: ArtifactError) -> PackagesError {
        failed(&self.service, &self.name, source)
    }
}

fn failed(service: &str, name: &str, source: ArtifactError) -> PackagesError {
    PackagesError::Artifact {
        artifact: format!("{service}/{name}"),
        source: Box::new(source),
    }
}

/// How artifacts and container images are pinned.
pub struct Pinning<'a> {
    /// Where what was fetched is kept.
    pub cache: &'a Cache,
    /// With what it is fetched.
    pub transport: Transport,
    /// Use the cache alone.
    pub offline: bool,
    /// Folder of the files that people supply.
    pub supplied: &'a Path,
    /// The lock there was; what it has looked at is not looked at again, unless `update`.
    pub previous: Option<&'a Lock>,
    /// Look again at what publishers say.
    pub update: bool,
    /// The present, seconds since 1970.
    pub now: i64,
}

impl Pinning<'_> {
    /// Pins one artifact of a service.
    pub fn artifact(
        &self,
        service: &str,
        wanted: &profile::Artifact,
    ) -> Result<Artifact, PackagesError> {
        let pinned = self.pin(service, wanted);
        pinned.map_err(|source| failed(service, &wanted.name, source))
    }

    fn pin(&self, service: &str, wanted: &profile::Artifact) -> Result<Artifact, ArtifactError> {
        let kept = self.kept(service, wanted);
        let (url, file, content) = match &wanted.origin {
            Origin::Url(url) => {
                let content = Wanted {
                    sha256: wanted.sha256.clone().unwrap_or_default(),
                    size: wanted.size.unwrap_or_default(),
                };
                (Some(url.clone()), None, content)
            }
            Origin::Supplied(file) => {
                let pin = (wanted.size, wanted.sha256.as_deref());
                let content = match supplied::take(self.cache, self.supplied, file, pin) {
                    // It need not lie there for ever.
                    Err(ArtifactError::NotSupplied { .. }) if kept.is_some() => {
                        return kept.cloned().ok_or_else(|| ArtifactError::NotSupplied {
                            file: file.clone(),
                            folder: self.supplied.to_owned(),
                        });
                    }
                    taken => taken?,
                };
                (None, Some(file.clone()), content)
            }
        };
        let same = |kept: &&Artifact| !self.update && kept.sha256 == content.sha256;
        if let Some(kept) = kept.filter(same) {
            return Ok(kept.clone());
        }
        let signed_by = self.prove(wanted, url.as_deref(), &content)?;
        Ok(Artifact {
            service: service.to_owned(),
            name: wanted.name.clone(),
            version: wanted.version.clone(),
            url,
            file,
            size: content.size,
            sha256: content.sha256,
            checksums: wanted.proof.checksums.clone(),
            signed_by,
        })
    }

    /// What the lock there was says, if the profile asks for the same.
    fn kept(&self, service: &str, wanted: &profile::Artifact) -> Option<&Artifact> {
        let known = self.previous?.artifacts.iter();
        let mut same = known.filter(|known| known.service == service && known.name == wanted.name);
        let found = same.next()?;
        let origin = match &wanted.origin {
            Origin::Url(url) => found.url.as_ref() == Some(url),
            Origin::Supplied(file) => {
                found.file.as_ref() == Some(file) && self.cache.has(&found.sha256)
            }
        };
        let believed = match &found.signed_by {
            Some(signer) => wanted.proof.fingerprints.contains(signer),
            None => wanted.proof.fingerprints.is_empty(),
        };
        let same = origin
            && believed
            && found.version == wanted.version
            && found.checksums == wanted.proof.checksums
            && wanted.size.is_none_or(|size| size == found.size)
            && wanted
                .sha256
                .as_ref()
                .is_none_or(|sha256| *sha256 == found.sha256);
        same.then_some(found)
    }

    /// Looks at what the publisher says; the fingerprint of who signed it.
    fn prove(
        &self,
        wanted: &profile::Artifact,
        url: Option<&str>,
        content: &Wanted,
    ) -> Result<Option<String>, ArtifactError> {
        let Proof {
            checksums,
            signature,
            keys,
            fingerprints,
        } = &wanted.proof;
        let unbelieved = |url: &str| {
            let url = url.to_owned();
            move |source| ArtifactError::Signature { url, source }
        };
        let Some(checksums) = checksums else {
            let Some(signature) = signature else {
                return Ok(None);
            };
            let bytes = self.small(signature)?;
            let path = self.fetched(url, content)?;
            let open = || File::open(&path);
            let signer = openpgp::verify_detached(&open, &bytes, keys, fingerprints, self.now);
            return signer.map(Some).map_err(unbelieved(signature));
        };
        let bytes = self.small(checksums)?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        let mut signed_by = None;
        if let Some(signature) = signature {
            let open = || Ok(bytes.as_slice());
            let signed = self.small(signature)?;
            let signer = openpgp::verify_detached(&open, &signed, keys, fingerprints, self.now);
            signed_by = Some(signer.map_err(unbelieved(signature))?);
        } else if !fingerprints.is_empty() {
            let signed = openpgp::verify_of("publisher", &text, keys, fingerprints, self.now);
            let signed = signed.map_err(unbelieved(checksums))?;
            text = signed.text;
            signed_by = Some(signed.signed_by);
        }
        let file = wanted.origin.file_name();
        let found = checksums::find(&text, file).map_err(|source| ArtifactError::Checksums {
            url: checksums.clone(),
            source,
        })?;
        let (what, said, pinned) = match found {
            Checksum::Sha256(said) => ("SHA-256", said, content.sha256.clone()),
            Checksum::Sha512(said) => ("SHA-512", said, sha512(&self.fetched(url, content)?)?),
        };
        if said != pinned {
            return Err(ArtifactError::Differs {
                url: checksums.clone(),
                file: file.to_owned(),
                what,
                said,
                pinned,
            });
        }
        Ok(signed_by)
    }

    /// A small file of the publisher.
    fn small(&self, url: &str) -> Result<Vec<u8>, ArtifactError> {
        if self.offline {
            return Err(ArtifactError::Offline {
                url: url.to_owned(),
            });
        }
        Ok(self.transport.read(url, SMALL)?)
    }

    /// The artifact itself, in the cache.
    fn fetched(&self, url: Option<&str>, content: &Wanted) -> Result<PathBuf, ArtifactError> {
        let path = self.cache.path(&content.sha256);
        match url {
            Some(url) if self.offline && !path.exists() => Err(ArtifactError::Offline {
                url: url.to_owned(),
            }),
            Some(url) => {
                download(&self.transport, self.cache, url, content, &|_| {})?;
                Ok(path)
            }
            None => Ok(path),
        }
    }
}

fn sha512(path: &Path) -> Result<String, ArtifactError> {
    let failed = |source| ArtifactError::Cache {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut digest = Sha512::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex::encode(digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Moves a whole and verified file to its place in the cache.
pub(super) fn keep(
    cache: &Cache,
    file: tempfile::NamedTempFile,
    sha256: &str,
) -> Result<(), ArtifactError> {
    let path = cache.path(sha256);
    let folder = path.parent().unwrap_or(Path::new("."));
    let kept = std::fs::create_dir_all(folder).and_then(|()| {
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_data()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    });
    kept.map_err(|source| ArtifactError::Cache { path, source })
}
