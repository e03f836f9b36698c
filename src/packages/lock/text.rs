//! The lock as a file: TOML, sorted, one package per table, so that a change reads as a diff.

use super::artifact::{self, ArtifactRequest, OciRequest};
use super::{Lock, Package};
use crate::packages::apt::index;
use crate::profile::{Role, Stack};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The format this muster writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;

const HEADER: &str =
    "# Every package of every role, pinned. Made by `muster lock`; not for editing.\n\n";

/// A lock that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a lock.
    #[error("{} is no lock that can be used: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

/// What of a stack the lock depends on. Mirrors do not count.
#[derive(Serialize)]
struct Request<'a> {
    bases: BTreeMap<&'a str, BaseRequest<'a>>,
    roles: BTreeMap<&'a str, RoleRequest<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactRequest<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<OciRequest<'a>>,
}

#[derive(Serialize)]
struct BaseRequest<'a> {
    architecture: &'a str,
    archives: Vec<ArchiveRequest<'a>>,
    accounts: &'a [crate::profile::Account],
}

#[derive(Serialize)]
struct ArchiveRequest<'a> {
    name: &'a str,
    origin: &'a str,
    suites: &'a [String],
    components: &'a [String],
    fingerprints: &'a [String],
    // Left out where they say nothing: locks of before such keys are not stale.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    packages: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    never: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    versions: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i16>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    services: &'a [String],
}

#[derive(Serialize)]
struct RoleRequest<'a> {
    base: &'a str,
    packages: Vec<String>,
    recommends: bool,
}

/// Packages a role asks for by name, sorted: those of its base, its kernel and boot loader,
/// its services and its own.
pub(super) fn requested(stack: &Stack, role: &Role) -> Vec<String> {
    let mut names = BTreeSet::new();
    if let Some(base) = stack.bases.get(&role.base) {
        names.extend(base.packages.iter().chain(&base.boot).cloned());
        let other = role.kernel.as_ref().and_then(|name| base.kernels.get(name));
        names.insert(other.unwrap_or(&base.kernel).clone());
    }
    for service in role
        .services
        .iter()
        .filter_map(|name| stack.services.get(name))
    {
        names.extend(service.packages.iter().cloned());
        names.extend(
            service
                .base_packages
                .get(&role.base)
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    names.extend(role.packages.iter().cloned());
    names.remove("");
    names.into_iter().collect()
}

impl Lock {
    /// SHA-256 (hex) of what a stack asks for, as it stands in [`Lock::request`].
    pub fn request_digest(stack: &Stack) -> String {
        let bases = stack.bases.values().map(|base| {
            let archives = base.archives.iter().map(|archive| ArchiveRequest {
                name: &archive.name,
                origin: &archive.origin,
                suites: &archive.suites,
                components: &archive.components,
                fingerprints: &archive.fingerprints,
                packages: &archive.packages,
                never: &archive.never,
                versions: &archive.versions,
                priority: archive.priority,
                services: &archive.services,
            });
            let request = BaseRequest {
                architecture: &base.architecture,
                archives: archives.collect(),
                accounts: &base.accounts,
            };
            (base.name.as_str(), request)
        });
        let roles = stack.roles.iter().map(|role| {
            let request = RoleRequest {
                base: &role.base,
                packages: requested(stack, role),
                recommends: role.recommends,
            };
            (role.name.as_str(), request)
        });
        let (artifacts, images) = artifact::requested(stack);
        let request = Request {
            bases: bases.collect(),
            roles: roles.collect(),
            artifacts,
            images,
        };
        // Plain maps of text always fit JSON.
        crate::packages::sha256(&serde_json::to_vec(&request).unwrap_or_default())
    }

    /// Whether the stack asks for something else than it did when the lock was made.
    pub fn is_stale(&self, stack: &Stack) -> bool {
        self.request != Lock::request_digest(stack)
    }

    /// The lock as text.
    pub fn to_text(&self) -> String {
        // A lock holds nothing that TOML cannot say.
        HEADER.to_owned() + &toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads the text of a lock; the reason is for people.
    pub fn from_text(text: &str) -> Result<Lock, String> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        // toml ends its words with an empty line.
        let reason = |error: toml::de::Error| error.to_string().trim_end().to_owned();
        let found: Versioned = toml::from_str(text).map_err(reason)?;
        if found.version != VERSION {
            return Err(format!(
                "it has format version {}, made by another muster: this one reads version {VERSION}",
                found.version
            ));
        }
        let mut lock: Lock = toml::from_str(text).map_err(reason)?;
        lock.packages.sort_by(Package::in_order);
        for (role, closure) in &lock.roles {
            for key in closure.essential.iter().chain(&closure.packages) {
                if lock.package(&closure.base, key).is_none() {
                    return Err(format!("role {role} lists {key}, which is no [[package]]"));
                }
            }
        }
        let named = |package: &&Package| {
            index::is_name(&package.name) && index::is_version(&package.version)
        };
        if let Some(package) = lock.packages.iter().find(|package| !named(package)) {
            return Err(format!("{} is not what a package is called", package.key()));
        }
        let below = |package: &&Package| {
            !package.path.starts_with('/') && !package.path.split('/').any(|part| part == "..")
        };
        if let Some(package) = lock.packages.iter().find(|package| !below(package)) {
            return Err(format!(
                "the path of {} leads out of the archive: {}",
                package.key(),
                package.path
            ));
        }
        let sound = |package: &&Package| {
            let digest = package.sha256.as_bytes();
            digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit)
        };
        if let Some(package) = lock.packages.iter().find(|package| !sound(package)) {
            return Err(format!("{} has no SHA-256", package.key()));
        }
        artifact::check(&lock.artifacts, &lock.images)?;
        Ok(lock)
    }

    /// Reads a lock file.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        let bytes = std::fs::read(path).map_err(|source| LockError::Read {
            path: path.to_owned(),
            source,
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text".to_owned());
        text.and_then(Lock::from_text)
            .map_err(|reason| LockError::Parse {
                path: path.to_owned(),
                reason,
            })
    }

    /// Reads a lock file if there is one.
    pub fn read_if_there(path: &Path) -> Result<Option<Lock>, LockError> {
        match Lock::read(path) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a lock file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let text = self.to_text();
        crate::packages::replace(path, text.as_bytes()).map_err(|source| LockError::Write {
            path: path.to_owned(),
            source,
        })
    }
}
