//! One image to make: what the command hands to the process inside the namespace, and what
//! that process hands back.

use super::disk::qcow2::Compression;
use super::error::Error;
use super::layout::Layout;
use crate::packages::lock::{Lock, Package, RoleLock};
use crate::profile::{Base, OverlayFile, Role, Service, Stack};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Byte for byte, with holes.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
    /// The same, its clusters deflated; every QEMU reads it.
    Qcow2Zlib,
    /// The same, its clusters compressed by zstd; QEMU reads it from 5.1 on.
    Qcow2Zstd,
}

impl Format {
    /// File name suffix.
    pub fn suffix(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 | Format::Qcow2Zlib | Format::Qcow2Zstd => "qcow2",
        }
    }

    /// What its clusters are compressed with; `None` where it has no clusters.
    pub fn clusters(self) -> Option<Compression> {
        match self {
            Format::Raw => None,
            Format::Qcow2 => Some(Compression::None),
            Format::Qcow2Zlib => Some(Compression::Zlib),
            Format::Qcow2Zstd => Some(Compression::Zstd),
        }
    }
}

/// One image to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    /// The whole stack; it goes into the image.
    pub stack: Stack,
    /// Name of the role.
    pub role: String,
    /// The lock.
    pub lock: Lock,
    /// Folder of the cache.
    pub cache: PathBuf,
    /// Whether layers that are kept there may be used.
    pub layers: bool,
    /// An empty folder for the root, removed by the caller.
    pub work: PathBuf,
    /// An empty folder for the results, next to where they will stand.
    pub staging: PathBuf,
    /// The static binary that becomes `/usr/bin/muster`.
    pub agent: PathBuf,
    /// Its SHA-256, hex.
    pub agent_sha256: String,
    /// SHA-256 of the program that makes the image, hex.
    pub builder_sha256: String,
    /// Permission bits that results are not given (umask(2)).
    pub umask: u32,
    /// How the disk is stored.
    pub format: Format,
    /// The partitions.
    pub layout: Layout,
    /// GRUB's configuration.
    pub grub: String,
    /// The image's time, seconds since 1970: nothing in it is younger.
    pub epoch: i64,
    /// The disk of a build before that may become the new one.
    pub former: Option<Standing>,
}

/// A disk that a build has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The file.
    pub path: PathBuf,
    /// The digest of its content, as the manifest has it.
    pub digest: String,
}

/// What the process inside the namespace says when it could not make the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        Failure {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

impl Job {
    /// Reads a job.
    pub fn load(path: &Path) -> Result<Job, Error> {
        let text = std::fs::read(path).map_err(Error::io("cannot read", path))?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::Layout(format!("{}: {error}", path.display())))
    }

    /// The role's entry of the stack.
    pub fn role(&self) -> Result<&Role, Error> {
        let found = self.stack.roles.iter().find(|role| role.name == self.role);
        found.ok_or_else(|| Error::Layout(format!("the stack has no role {}", self.role)))
    }

    /// The role's base.
    pub fn base(&self) -> Result<&Base, Error> {
        let name = &self.role()?.base;
        let found = self.stack.bases.get(name);
        found.ok_or_else(|| Error::Layout(format!("the stack has no base {name}")))
    }

    /// The role's services.
    pub fn services(&self) -> Result<Vec<&Service>, Error> {
        let names = self.role()?.services.iter();
        Ok(names
            .filter_map(|name| self.stack.services.get(name))
            .collect())
    }

    /// The role's entry of the lock.
    pub fn closure(&self) -> Result<&RoleLock, Error> {
        let found = self.lock.roles.get(&self.role);
        found.ok_or_else(|| Error::Layout(format!("the lock has no role {}", self.role)))
    }

    /// The packages of these keys, in order.
    pub fn packages(&self, keys: &[String]) -> Result<Vec<&Package>, Error> {
        let base = &self.closure()?.base;
        let of_base = self.lock.packages.iter().filter(|p| p.base == *base);
        let index: BTreeMap<String, &Package> =
            of_base.map(|package| (package.key(), package)).collect();
        let found = keys.iter().map(|key| {
            index.get(key).copied().ok_or_else(|| Error::Unlocked {
                role: self.role.clone(),
                key: key.clone(),
            })
        });
        found.collect()
    }

    /// debconf selections for the packages of the role: the base's own and its services'.
    pub fn preseed(&self) -> Result<Vec<String>, Error> {
        let services = self.services()?;
        let base = self.base()?.preseed.iter();
        let all = base.chain(services.iter().flat_map(|service| &service.preseed));
        Ok(all.map(|line| line.trim().to_owned()).collect())
    }

    /// Files of the base's overlay that are there before its packages configure.
    pub fn early_of_base(&self) -> Result<BTreeMap<&str, &OverlayFile>, Error> {
        let base = self.base()?;
        Ok(early(&base.early, &base.overlay).collect())
    }

    /// Files of the services' overlays that are there before the role's packages configure.
    pub fn early_of_role(&self) -> Result<BTreeMap<&str, &OverlayFile>, Error> {
        let services = self.services()?.into_iter();
        let all = services.flat_map(|service| early(&service.early, &service.overlay));
        Ok(all.collect())
    }
}

fn early<'a>(
    paths: &'a [String],
    overlay: &'a BTreeMap<String, OverlayFile>,
) -> impl Iterator<Item = (&'a str, &'a OverlayFile)> {
    let entries = paths.iter().filter_map(|path| overlay.get_key_value(path));
    entries.map(|(path, file)| (path.as_str(), file))
}
