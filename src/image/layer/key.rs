//! Keys of layers: SHA-256 over everything that goes into one, this program included.

use crate::image::error::Error;
use crate::image::job::Job;
use crate::packages::lock::Package;
use crate::profile::OverlayFile;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A key that grows by one input after another.
#[derive(Debug, Clone)]
pub struct Key(Sha256);

impl Key {
    /// The key of a layer of this kind that stands on `lower`, made by this job's program.
    pub fn new(kind: &str, job: &Job, lower: &str) -> Key {
        let mut key = Key(Sha256::new());
        key.text("muster layer 1");
        key.text(kind);
        key.text(lower);
        key.text(&job.builder_sha256);
        // Whose files are whose on the disk depends on who builds.
        let map = |of: &str| std::fs::read_to_string(of).unwrap_or_default();
        key.text(&map("/proc/self/uid_map"));
        key.text(&map("/proc/self/gid_map"));
        key.text(&job.epoch.to_string());
        key
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    /// Adds a value.
    pub fn value(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::Layout(format!("the inputs do not fit JSON: {error}")))?;
        self.text(&text);
        Ok(())
    }

    /// Adds packages in their order.
    pub fn packages(&mut self, packages: &[&Package]) {
        self.text(&packages.len().to_string());
        for package in packages {
            self.text(&package.key());
            self.text(&package.sha256);
        }
    }

    /// Adds files of overlays.
    pub fn files(&mut self, files: &BTreeMap<&str, &OverlayFile>) {
        self.text(&files.len().to_string());
        for (path, file) in files {
            self.text(path);
            self.text(&format!("{:o}", file.mode));
            self.text(&file.content);
        }
    }

    /// The key, lower-case hex.
    pub fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}
