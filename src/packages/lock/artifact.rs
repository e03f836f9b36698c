//! Artifacts and container images in a lock.

use crate::packages::sha256;
use crate::profile::Stack;
use crate::profile::artifact::{Origin, Proof, Reference, is_sha256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One pinned file of its publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Artifact {
    /// Service that brings it.
    pub service: String,
    /// Its name there.
    pub name: String,
    /// Its version, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it is fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What a file that people supply is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// URL of the publisher's file of checksums, which said the same when the lock was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<String>,
    /// Fingerprint of the primary key whose signature of it, or of its file of checksums, was
    /// accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// One pinned container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OciImage {
    /// Service that brings it.
    pub service: String,
    /// Its name there.
    pub name: String,
    /// `registry/repository@sha256:…`.
    pub image: String,
    /// `os/architecture` or `os/architecture/variant`.
    pub platform: String,
    /// What it consists of: its index where it has one, the platform's manifest, the
    /// configuration, and the layers from the lowest up.
    #[serde(rename = "blob")]
    pub blobs: Vec<Blob>,
}

/// What a blob is to its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The list of manifests of all platforms, which is only looked at.
    Index,
    /// The manifest of one platform.
    Manifest,
    /// The configuration.
    Config,
    /// One layer.
    Layer,
}

/// One content-addressed part of a container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Blob {
    /// What it is.
    pub part: Part,
    /// Media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Artifact {
    /// `service/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }
}

impl OciImage {
    /// `service/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }

    /// Its parts of this kind.
    pub fn parts(&self, part: Part) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().filter(move |blob| blob.part == part)
    }
}

/// What of a service's artifacts the lock depends on: where they go does not count.
#[derive(Serialize)]
pub(super) struct ArtifactRequest<'a> {
    service: &'a str,
    name: &'a str,
    version: &'a Option<String>,
    origin: &'a Origin,
    size: Option<u64>,
    sha256: &'a Option<String>,
    proof: ProofRequest<'a>,
}

/// A key's text grows third-party signatures; its fingerprint does not change.
#[derive(Serialize)]
struct ProofRequest<'a> {
    checksums: &'a Option<String>,
    signature: &'a Option<String>,
    fingerprints: &'a [String],
}

#[derive(Serialize)]
pub(super) struct OciRequest<'a> {
    service: &'a str,
    image: &'a crate::profile::artifact::OciImage,
}

/// What the services of a stack ask for, sorted by service and then as they list it.
pub(super) fn requested(stack: &Stack) -> (Vec<ArtifactRequest<'_>>, Vec<OciRequest<'_>>) {
    let services = || stack.services.values();
    let artifacts = services().flat_map(|service| {
        let requests = service.artifacts.iter();
        requests.map(|artifact| {
            let Proof {
                checksums,
                signature,
                fingerprints,
                ..
            } = &artifact.proof;
            ArtifactRequest {
                service: &service.name,
                name: &artifact.name,
                version: &artifact.version,
                origin: &artifact.origin,
                size: artifact.size,
                sha256: &artifact.sha256,
                proof: ProofRequest {
                    checksums,
                    signature,
                    fingerprints,
                },
            }
        })
    });
    let images = services().flat_map(|service| {
        let service_name = &service.name;
        service.oci.iter().map(move |image| OciRequest {
            service: service_name,
            image,
        })
    });
    (artifacts.collect(), images.collect())
}

/// What keeps the artifacts of a lock from being used, for people.
pub(super) fn check(artifacts: &[Artifact], images: &[OciImage]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for artifact in artifacts {
        let key = artifact.key();
        if !is_sha256(&artifact.sha256) {
            return Err(format!("the artifact {key} has no SHA-256"));
        }
        match (&artifact.url, &artifact.file) {
            (Some(url), None) if url.starts_with("http://") || url.starts_with("https://") => {}
            (None, Some(file)) if !file.contains('/') && !file.starts_with('.') => {}
            _ => {
                return Err(format!(
                    "the artifact {key} has neither a `url` nor the name of a `file`"
                ));
            }
        }
        if !seen.insert(key.clone()) {
            return Err(format!("the artifact {key} is there twice"));
        }
    }
    seen.clear();
    for image in images {
        let key = image.key();
        let wrong = |what: &str| Err(format!("the container image {key} {what}"));
        if let Some(blob) = image.blobs.iter().find(|blob| !is_sha256(&blob.sha256)) {
            return wrong(&format!("has a blob without a SHA-256: `{}`", blob.sha256));
        }
        let counts = [Part::Index, Part::Manifest, Part::Config].map(|p| image.parts(p).count());
        if counts[0] > 1 || counts[1..] != [1, 1] {
            return wrong("needs one manifest and one config");
        }
        let top = image.parts(Part::Index).chain(image.parts(Part::Manifest));
        let named = Reference::parse(&image.image).map(|reference| reference.sha256);
        if top.map(|blob| &blob.sha256).next() != named.as_ref().ok() {
            return wrong("begins with another blob than its name says");
        }
        if !seen.insert(key.clone()) {
            return wrong("is there twice");
        }
    }
    Ok(())
}

impl Blob {
    /// A part whose bytes are here.
    pub(in crate::packages) fn of(part: Part, media_type: &str, bytes: &[u8]) -> Blob {
        Blob {
            part,
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }
}
