//! Indexes and manifests of container images (OCI image specification 1.1, "Image Index" and
//! "Image Manifest"; Docker's "Image Manifest Version 2, Schema 2", which says the same in media
//! types of its own).

use crate::packages::lock::{Blob, Part};
use crate::profile::artifact::is_sha256;
use serde::Deserialize;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Layers of one image at most; overlay filesystems end before that.
const LAYERS: usize = 500;

/// What is accepted where a manifest is asked for, as in an `Accept` header.
pub fn accepted() -> String {
    [INDEXES, MANIFESTS].concat().join(", ")
}

/// What stands under the digest of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// The manifests of several platforms.
    Index {
        /// Its media type.
        media_type: String,
        /// Them.
        manifests: Vec<Descriptor>,
    },
    /// The image itself.
    Manifest {
        /// Its media type.
        media_type: String,
        /// Its configuration.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
}

/// What points to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// `sha256:` and hex.
    digest: String,
    /// Bytes.
    pub size: u64,
    /// Of a manifest in an index.
    #[serde(default)]
    platform: Option<Platform>,
    /// Where else it is; with a layer that registries may not pass on.
    #[serde(default)]
    urls: Vec<String>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    /// Whether this is the `wanted` one; who names no variant takes any.
    fn is(&self, wanted: &str) -> bool {
        let mut parts = wanted.split('/');
        let same = (parts.next(), parts.next()) == (Some(&*self.os), Some(&*self.architecture));
        same && parts
            .next()
            .is_none_or(|variant| self.variant.as_deref() == Some(variant))
    }
}

impl Descriptor {
    /// The SHA-256 of what it points to, hex.
    ///
    /// # Errors
    /// It is named by another digest.
    pub fn sha256(&self) -> Result<&str, String> {
        let hex = self
            .digest
            .strip_prefix("sha256:")
            .filter(|hex| is_sha256(hex));
        hex.ok_or_else(|| format!("it names a part by `{}`, which is no SHA-256", self.digest))
    }

    /// The same for a lock.
    pub fn blob(&self, part: Part) -> Result<Blob, String> {
        Ok(Blob {
            part,
            media_type: self.media_type.clone(),
            size: self.size,
            sha256: self.sha256()?.to_owned(),
        })
    }
}

/// Reads an index or a manifest.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(bytes: &[u8]) -> Result<Document, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<Vec<Descriptor>>,
        config: Option<Descriptor>,
        layers: Option<Vec<Descriptor>>,
    }
    let raw: Raw =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest: {error}"))?;
    if raw.schema_version != 2 {
        return Err(format!(
            "it is of schema version {}, which registries have given up",
            raw.schema_version
        ));
    }
    // The media type may be left out of OCI's own; what it is shows in its fields, and one that
    // can be read in two ways is refused (CVE-2021-41190).
    let media_type = |known: [&str; 2]| match &raw.media_type {
        None => Ok(known[0].to_owned()),
        Some(found) if known.contains(&found.as_str()) => Ok(found.clone()),
        Some(found) => Err(format!("it calls itself `{found}`, and is something else")),
    };
    match (&raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) => Ok(Document::Index {
            media_type: media_type(INDEXES)?,
            manifests: manifests.clone(),
        }),
        (None, Some(config), Some(layers)) => {
            if layers.len() > LAYERS {
                return Err(format!(
                    "it has {} layers, more than {LAYERS}",
                    layers.len()
                ));
            }
            let elsewhere = |layer: &&Descriptor| {
                !layer.urls.is_empty()
                    || layer.media_type.contains("nondistributable")
                    || layer.media_type.contains("foreign")
            };
            if let Some(layer) = layers.iter().find(elsewhere) {
                return Err(format!(
                    "it has a layer that registries may not pass on ({})",
                    layer.media_type
                ));
            }
            Ok(Document::Manifest {
                media_type: media_type(MANIFESTS)?,
                config,
                layers,
            })
        }
        _ => Err("it is neither an index nor a manifest".into()),
    }
}

/// The manifest of a platform in an index; the first of several (image specification, "Image
/// Index").
///
/// # Errors
/// The platforms there are, for people.
pub fn choose<'m>(manifests: &'m [Descriptor], platform: &str) -> Result<&'m Descriptor, String> {
    let known = |found: &&Descriptor| MANIFESTS.contains(&found.media_type.as_str());
    let is = |found: &&Descriptor| found.platform.as_ref().is_some_and(|own| own.is(platform));
    manifests.iter().filter(known).find(is).ok_or_else(|| {
        let all = manifests.iter().filter_map(|found| found.platform.as_ref());
        let all: Vec<String> = all.map(Platform::to_string).collect();
        format!("it is not for {platform}; it is for {}", all.join(", "))
    })
}

/// Whether a configuration is one for this platform.
///
/// # Errors
/// What it is for, for people.
pub fn check_config(bytes: &[u8], platform: &str) -> Result<(), String> {
    let own: Platform = serde_json::from_slice(bytes)
        .map_err(|error| format!("its configuration is none of a container: {error}"))?;
    // A variant is often left out here.
    let wanted: Vec<&str> = platform.split('/').take(2).collect();
    match own.is(&wanted.join("/")) {
        true => Ok(()),
        false => Err(format!("it is for {own}, not for {platform}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(media_type: &str, digit: &str) -> serde_json::Value {
        let digest = format!("sha256:{}", digit.repeat(64));
        json!({ "mediaType": media_type, "digest": digest, "size": 3 })
    }

    fn refusal(value: serde_json::Value) -> String {
        parse(value.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn the_first_manifest_of_a_platform_is_chosen() {
        let mut all = Vec::new();
        for (digit, os, architecture, variant) in [
            ("1", "linux", "arm64", Some("v8")),
            ("2", "linux", "amd64", None),
            ("3", "linux", "amd64", Some("v3")),
            ("4", "unknown", "unknown", None),
        ] {
            let mut one = descriptor(MANIFESTS[0], digit);
            one["platform"] = json!({ "os": os, "architecture": architecture });
            if let Some(variant) = variant {
                one["platform"]["variant"] = variant.into();
            }
            all.push(one);
        }
        let index = json!({ "schemaVersion": 2, "manifests": all });
        let Document::Index { manifests, .. } = parse(index.to_string().as_bytes()).unwrap() else {
            panic!("no index")
        };
        let chosen = |platform| {
            choose(&manifests, platform).map(|found| found.sha256().unwrap()[..1].to_owned())
        };
        assert_eq!(chosen("linux/amd64"), Ok("2".into()));
        assert_eq!(chosen("linux/amd64/v3"), Ok("3".into()));
        assert_eq!(chosen("linux/arm64"), Ok("1".into()));
        assert_eq!(
            chosen("linux/s390x").unwrap_err(),
            "it is not for linux/s390x; it is for linux/arm64/v8, linux/amd64, linux/amd64/v3, \
             unknown/unknown"
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_none_is_refused() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "1");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "2");
        let foreign = descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "2",
        );
        for (value, why) in [
            (
                json!([]),
                "it is no manifest: invalid length 0, expected struct Raw with 5 elements at line 1 column 2",
            ),
            (
                json!({ "schemaVersion": 1 }),
                "it is of schema version 1, which registries have given up",
            ),
            (
                json!({ "schemaVersion": 2 }),
                "it is neither an index nor a manifest",
            ),
            (
                json!({ "schemaVersion": 2, "manifests": [], "config": config, "layers": [layer] }),
                "it is neither an index nor a manifest",
            ),
            (
                json!({ "schemaVersion": 2, "mediaType": INDEXES[0], "config": config, "layers": [layer] }),
                "it calls itself `application/vnd.oci.image.index.v1+json`, and is something else",
            ),
            (
                json!({ "schemaVersion": 2, "config": config, "layers": [foreign] }),
                "it has a layer that registries may not pass on (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip)",
            ),
        ] {
            assert_eq!(refusal(value), why);
        }
    }

    #[test]
    fn parts_are_named_by_sha256() {
        let mut config = descriptor("c", "1");
        config["digest"] = json!("sha512:00");
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [] });
        let found = parse(manifest.to_string().as_bytes()).unwrap();
        let Document::Manifest { config, .. } = found else {
            panic!("no manifest")
        };
        assert_eq!(
            config.blob(Part::Config).unwrap_err(),
            "it names a part by `sha512:00`, which is no SHA-256"
        );
    }

    #[test]
    fn a_configuration_says_what_it_is_for() {
        let config = br#"{"os":"linux","architecture":"arm64","config":{}}"#;
        assert_eq!(check_config(config, "linux/arm64/v8"), Ok(()));
        assert_eq!(
            check_config(config, "linux/amd64").unwrap_err(),
            "it is for linux/arm64, not for linux/amd64"
        );
    }
}
