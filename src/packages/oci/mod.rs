//! Container images, from a digest in a profile to every part of them in the lock.

pub mod manifest;
pub mod registry;

use super::PackagesError;
use super::artifact::Pinning;
use super::lock::{Blob, OciImage, Part};
use super::{replace, sha256};
use crate::profile::artifact::{self as profile, Reference};
use manifest::{Document, check_config, choose, parse};
use registry::{Registry, RegistryError};
use std::io::Read;

/// Bytes of an index or manifest at most (distribution specification, "Pushing Manifests").
const MANIFEST: u64 = 4 << 20;
/// Bytes of a configuration at most; those that there are have some kilobytes.
const CONFIG: u64 = 16 << 20;

/// Why a container image cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// Its registry does not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What its registry gives is something else.
    #[error("{url} is not what its digest says: the SHA-256 is {found}")]
    Digest {
        /// URL.
        url: String,
        /// Digest of what came.
        found: String,
    },
    /// It has another size than what points to it says.
    #[error("{url} has {found} bytes; what points to it says {said}")]
    Size {
        /// URL.
        url: String,
        /// Bytes of what came.
        found: u64,
        /// Bytes that were announced.
        said: u64,
    },
    /// It is no image that could be used.
    #[error("{url}: {reason}")]
    Unusable {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// `--offline`, and it has not been looked at yet.
    #[error("{url} is not in the cache, and --offline forbids to fetch it")]
    Offline {
        /// URL.
        url: String,
    },
    /// The cache cannot be written.
    #[error("cannot use {}: {source}", path.display())]
    Cache {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Pinning<'_> {
    /// Pins every part of a container image of a service.
    pub fn image(
        &self,
        service: &str,
        wanted: &profile::OciImage,
    ) -> Result<OciImage, PackagesError> {
        // A digest never means anything else: what was once looked at stays good.
        let known = self.previous.into_iter().flat_map(|lock| &lock.images);
        let same = |known: &&OciImage| {
            (&*known.service, &known.name, &known.image, &known.platform)
                == (service, &wanted.name, &wanted.image, &wanted.platform)
        };
        if let Some(found) = known.into_iter().find(same) {
            return Ok(found.clone());
        }
        let blobs = self.parts(wanted).map_err(|source| PackagesError::Oci {
            image: format!("{service}/{}", wanted.name),
            source,
        })?;
        Ok(OciImage {
            service: service.to_owned(),
            name: wanted.name.clone(),
            image: wanted.image.clone(),
            platform: wanted.platform.clone(),
            blobs,
        })
    }

    fn parts(&self, wanted: &profile::OciImage) -> Result<Vec<Blob>, OciError> {
        let reference = Reference::parse(&wanted.image).map_err(|reason| OciError::Unusable {
            url: wanted.image.clone(),
            reason: reason.into(),
        })?;
        let registry = Registry::of(&reference, self.transport.clone());
        let unusable = |part: Part, digest: &str| {
            let url = registry.url(part, digest);
            move |reason: String| OciError::Unusable { url, reason }
        };
        let mut blobs = Vec::new();
        let top = &reference.sha256;
        let mut bytes = self.part(&registry, Part::Manifest, top, None)?;
        let mut digest = top.clone();
        let mut found = parse(&bytes).map_err(unusable(Part::Manifest, top))?;
        if let Document::Index {
            media_type,
            manifests,
        } = &found
        {
            blobs.push(Blob::of(Part::Index, media_type, &bytes));
            let chosen = choose(manifests, &wanted.platform);
            let chosen = chosen.map_err(unusable(Part::Index, top))?;
            let own = chosen.sha256().map_err(unusable(Part::Index, top))?;
            bytes = self.part(&registry, Part::Manifest, own, Some(chosen.size))?;
            digest = own.to_owned();
            found = parse(&bytes).map_err(unusable(Part::Manifest, own))?;
        }
        let wrong = || unusable(Part::Manifest, &digest);
        let Document::Manifest {
            media_type,
            config,
            layers,
        } = &found
        else {
            return Err(wrong()("an index in an index is not followed".into()));
        };
        blobs.push(Blob::of(Part::Manifest, media_type, &bytes));
        let own = config.blob(Part::Config).map_err(wrong())?;
        let bytes = self.part(&registry, Part::Config, &own.sha256, Some(own.size))?;
        check_config(&bytes, &wanted.platform).map_err(wrong())?;
        blobs.push(own);
        for layer in layers {
            blobs.push(layer.blob(Part::Layer).map_err(wrong())?);
        }
        Ok(blobs)
    }

    /// A small part, from the cache or else verified into it.
    fn part(
        &self,
        registry: &Registry,
        part: Part,
        digest: &str,
        said: Option<u64>,
    ) -> Result<Vec<u8>, OciError> {
        let url = || registry.url(part, digest);
        let path = self.cache.path(digest);
        let in_cache = |source| OciError::Cache {
            path: path.clone(),
            source,
        };
        let limit = match part {
            Part::Config => CONFIG,
            _ => MANIFEST,
        };
        let bytes = if path.exists() {
            // It may be anything that was fetched once.
            let file = std::fs::File::open(&path).map_err(in_cache)?;
            let mut bytes = Vec::new();
            file.take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(in_cache)?;
            bytes
        } else if self.offline {
            return Err(OciError::Offline { url: url() });
        } else {
            let bytes = registry.read(part, digest, limit)?;
            let found = sha256(&bytes);
            if found != digest {
                return Err(OciError::Digest { url: url(), found });
            }
            replace(&path, &bytes).map_err(in_cache)?;
            bytes
        };
        match said.filter(|said| *said != bytes.len() as u64) {
            Some(said) => Err(OciError::Size {
                url: url(),
                found: bytes.len() as u64,
                said,
            }),
            None => Ok(bytes),
        }
    }
}
