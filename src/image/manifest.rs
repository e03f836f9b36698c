//! `<role>.manifest.json`: what an image was made from, and what came out.

use super::artifact::Placed;
use super::job::Format;
use super::layout::Partition;
use crate::packages::lock::OciImage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the format that this program writes.
pub const VERSION: u32 = 2;

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Format of this file, 2.
    pub version: u32,
    /// Name of the stack.
    pub stack: String,
    /// Name of the role.
    pub role: String,
    /// Name of the base.
    pub base: String,
    /// SHA-256 over all inputs; also in the image's `/usr/share/muster/image.json`.
    pub image_id: String,
    /// The image's time, seconds since 1970.
    pub epoch: i64,
    /// What went in.
    pub inputs: Inputs,
    /// What came out: the disk, and the kernel and initial RAM filesystem beside it.
    pub outputs: BTreeMap<String, Output>,
    /// How the disk is stored.
    pub format: Format,
    /// Bytes of the disk.
    pub disk_size: u64,
    /// The partition table.
    pub partitions: Vec<Partition>,
}

/// What went into an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inputs {
    /// SHA-256 of the agent's binary.
    pub agent: String,
    /// SHA-256 of the program that made the image.
    pub builder: String,
    /// SHA-256 of each file of the overlays, by path in the image.
    pub overlay: BTreeMap<String, String>,
    /// SHA-256 of the lock's request.
    pub request: String,
    /// Packages in unpack order.
    pub packages: Vec<Input>,
    /// Artifacts in the order in which they were placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Placed>,
    /// Container images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<OciImage>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Input {
    /// Package name.
    pub name: String,
    /// Full version.
    pub version: String,
    /// dpkg architecture.
    pub architecture: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Bytes of its file.
    pub size: u64,
}

/// One file beside the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// File name.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:` and hex; of a disk `sha256-4MiB:` and hex, the SHA-256 over those of its parts
    /// of 4 MiB.
    pub digest: String,
}
