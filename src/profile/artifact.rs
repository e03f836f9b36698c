//! What a service brings beside packages: files of their publishers, and container images.

use serde::{Deserialize, Serialize};

/// Where container images stand in an image: `<here>/<name>` is an OCI image layout.
pub const OCI: &str = "/usr/share/muster/oci";

/// A file of its publisher that is put into the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// Name, unique in its service.
    pub name: String,
    /// Its version, for people.
    pub version: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes; only of a file that people supply it may be absent.
    pub size: Option<u64>,
    /// SHA-256, lower-case hex; only of a file that people supply it may be absent.
    pub sha256: Option<String>,
    /// What its publisher says of it.
    pub proof: Proof,
    /// What becomes of it in the image.
    pub placing: Placing,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An `http` or `https` URL.
    Url(String),
    /// A file of this name that people have, and its publisher does not give to everybody.
    Supplied(String),
}

impl Origin {
    /// The file's own name: of a URL the last part of its path.
    pub fn file_name(&self) -> &str {
        match self {
            Origin::Url(url) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                path.rsplit('/').next().unwrap_or_default()
            }
            Origin::Supplied(name) => name,
        }
    }
}

/// How a publisher vouches for a file. `lock` looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proof {
    /// URL of a file of checksums that has a line for the artifact.
    pub checksums: Option<String>,
    /// URL of a detached OpenPGP signature: of the file of checksums where there is one, else of
    /// the artifact.
    pub signature: Option<String>,
    /// Certificates (armoured text) that may sign. With `checksums` and no `signature`, the
    /// file of checksums itself is signed in clear text.
    pub keys: String,
    /// Upper-case hex fingerprints of the primary keys that may sign; empty when nothing is
    /// signed.
    pub fingerprints: Vec<String>,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A tar archive, plain or packed with gzip, xz or zstd.
    Tar,
    /// A zip archive.
    Zip,
    /// One file, taken as it is.
    File,
}

/// What becomes of an artifact in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Placing {
    /// What it is.
    pub kind: Kind,
    /// Absolute path in the image: the folder an archive is unpacked into, or the file.
    pub to: String,
    /// Leading parts that paths in the archive lose; what has no more than these is left out.
    pub strip: u32,
    /// Patterns of what is taken from the archive; empty: everything.
    pub only: Vec<String>,
    /// Patterns of what is left out.
    pub except: Vec<String>,
    /// Patterns of what stays setuid or setgid.
    pub setuid: Vec<String>,
    /// `user:group`, names of the image's accounts or numbers.
    pub owner: String,
    /// Permission bits of a single file.
    pub mode: u32,
}

/// A container image, pulled from its registry when images are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OciImage {
    /// Name, unique on a host, and that of its folder below [`OCI`].
    pub name: String,
    /// `registry/repository@sha256:…`.
    pub image: String,
    /// `os/architecture` or `os/architecture/variant`.
    pub platform: String,
}

/// A container image by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host name of the registry, with its port if it has one of its own.
    pub registry: String,
    /// Repository.
    pub repository: String,
    /// SHA-256 of its index or manifest, lower-case hex.
    pub sha256: String,
}

impl Reference {
    /// Takes `registry/repository@sha256:…` apart.
    ///
    /// # Errors
    /// What is expected instead, for people.
    pub fn parse(text: &str) -> Result<Reference, &'static str> {
        let (name, digest) = text
            .split_once('@')
            .ok_or("a tag may mean another image tomorrow: name it by its digest, `…@sha256:…`")?;
        let sha256 = digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex));
        let sha256 = sha256.ok_or("the digest is `sha256:` and 64 hexadecimal digits")?;
        let (registry, repository) = name
            .split_once('/')
            .filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost")
            .ok_or("the registry's host name comes first, as in `docker.io/library/redis`")?;
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        // distribution spec, "Pulling manifests": lower-case parts between slashes.
        let part = |part: &str| {
            let inner = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
            };
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(inner)
        };
        if !registry.bytes().all(host) || !repository.split('/').all(part) {
            return Err("`registry/repository`, in lower-case letters, is expected before the `@`");
        }
        Ok(Reference {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            sha256: sha256.to_owned(),
        })
    }
}

/// Whether a text is a SHA-256 as digests are written here: 64 lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 64 && text.bytes().all(digit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_registry_repository_and_digest() {
        let digest = "0123456789abcdef".repeat(4);
        let found = Reference::parse(&format!("127.0.0.1:5000/tools/app@sha256:{digest}"));
        let wanted = Reference {
            registry: "127.0.0.1:5000".into(),
            repository: "tools/app".into(),
            sha256: digest.clone(),
        };
        assert_eq!(found, Ok(wanted));
        for (text, why) in [
            (format!("redis@sha256:{digest}"), "the registry's"),
            (format!("library/redis@sha256:{digest}"), "the registry's"),
            ("docker.io/library/redis:7".into(), "a tag may mean"),
            (format!("docker.io/r@sha512:{digest}"), "the digest is"),
            (
                format!("docker.io/r@sha256:{}", digest.to_uppercase()),
                "the digest is",
            ),
            (
                format!("docker.io/a/../b@sha256:{digest}"),
                "`registry/repository`",
            ),
            (
                format!("docker.io//b@sha256:{digest}"),
                "`registry/repository`",
            ),
            (
                format!("user@host.example/b@sha256:{digest}"),
                "the digest is",
            ),
        ] {
            let error = Reference::parse(&text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_name_of_a_file_is_the_last_part_of_its_path() {
        let name = |url: &str| Origin::Url(url.into()).file_name().to_owned();
        assert_eq!(
            name("https://example.org/a/b-1.tar.gz?x=/y#z"),
            "b-1.tar.gz"
        );
        assert_eq!(name("https://example.org/a/"), "");
    }
}
