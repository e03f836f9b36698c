//! What the image says about itself: `/usr/share/muster/image.json`.

use super::{AgentError, Result, at};
use crate::profile::Stack;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where the file stands in the image, without the leading slash.
pub const FILE: &str = "usr/share/muster/image.json";

/// The read-only facts of an image; the plan is computed from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// SHA-256 that tells this root from every other.
    pub image_id: String,
    /// The role of this host.
    pub role: String,
    /// The whole stack.
    pub stack: Stack,
}

impl Facts {
    /// Reads the facts below `root` (`/` on a host).
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(at(&path))?;
        serde_json::from_str(&text).map_err(|error| AgentError::Content {
            path,
            reason: format!("this image is damaged: {error}; write another one: muster build"),
        })
    }
}
