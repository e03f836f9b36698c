//! `muster.lock`: every package, artifact and container image by name, version, origin, size and
//! SHA-256, and the table of system users and groups. Sorted, stable, diffable.

mod artifact;
mod group;
mod make;
mod text;

pub use artifact::{Artifact, Blob, OciImage, Part};
pub use make::{Change, LockOptions, Locked, lock_stack};
pub use text::LockError;

use crate::profile::Account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The lock of one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Format version, 1.
    pub version: u32,
    /// Name of the stack.
    pub stack: String,
    /// SHA-256 of what the stack asked for (bases, archives, package names, recommends), hex:
    /// a lock whose request differs from the stack's is stale.
    pub request: String,
    /// Release files read, sorted by base, archive, suite.
    #[serde(default, rename = "release")]
    pub releases: Vec<Release>,
    /// Closure per role, in unpack order: role → keys into `packages` (`name:arch=version`).
    pub roles: BTreeMap<String, RoleLock>,
    /// Every package of any role, sorted by name, architecture, version.
    #[serde(default, rename = "package")]
    pub packages: Vec<Package>,
    /// Every artifact of any service, sorted by service and then as it lists them.
    #[serde(default, rename = "artifact", skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Every container image of any service, in the same order.
    #[serde(default, rename = "oci", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<OciImage>,
    /// System users and groups, sorted by name.
    #[serde(default, rename = "account")]
    pub accounts: Vec<Account>,
}

/// The packages of one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleLock {
    /// Name of the base.
    pub base: String,
    /// Packages that form the bootstrap set: `Essential: yes` and what they depend on, in an
    /// order in which Pre-Depends come first. Keys into [`Lock::packages`].
    pub essential: Vec<String>,
    /// All others, Pre-Depends and Depends first where no cycle forbids it.
    pub packages: Vec<String>,
    /// Packages a person or profile asked for by name, sorted; the rest are marked automatic.
    pub manual: Vec<String>,
}

/// One Release file as it was when the lock was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// Base.
    pub base: String,
    /// Archive name within the base.
    pub archive: String,
    /// Suite.
    pub suite: String,
    /// `Date:` field, RFC 3339 UTC. A later lock refuses an older one.
    pub date: String,
    /// SHA-256 of the InRelease file, hex.
    pub sha256: String,
    /// Fingerprint of the primary key whose signature was accepted.
    pub signed_by: String,
}

/// One pinned package file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Full Debian version with epoch.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// Base.
    pub base: String,
    /// Archive name within the base.
    pub archive: String,
    /// Suite it was found in.
    pub suite: String,
    /// Path below the mirror, from `Filename:`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

impl Package {
    /// By name, architecture, version and base: the order of [`Lock::packages`].
    pub fn in_order(left: &Package, right: &Package) -> std::cmp::Ordering {
        let key = |package: &'_ Package| {
            [
                &package.name,
                &package.architecture,
                &package.version,
                &package.base,
            ]
            .map(String::clone)
        };
        key(left).cmp(&key(right))
    }

    /// `name:architecture=version`, the key used in [`RoleLock`].
    pub fn key(&self) -> String {
        format!("{}:{}={}", self.name, self.architecture, self.version)
    }
}

impl Lock {
    /// The package of a base with this key.
    pub fn package(&self, base: &str, key: &str) -> Option<&Package> {
        let (name, _) = key.split_once(':')?;
        let first = self
            .packages
            .partition_point(|package| package.name.as_str() < name);
        self.packages[first..]
            .iter()
            .take_while(|package| package.name == name)
            .find(|package| package.base == base && package.key() == key)
    }
}
