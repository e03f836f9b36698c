//! The content-addressed cache: files by SHA-256.

use std::path::{Path, PathBuf};

/// A folder of verified files, `sha256/ab/abcd…`; a file there is complete and was verified.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens (without creating) the cache at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Cache { root: root.into() }
    }

    /// `$XDG_CACHE_HOME/muster`, else `~/.cache/muster`.
    pub fn default_root() -> PathBuf {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .filter(|value| Path::new(value).is_absolute())
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()))
                    .join(".cache")
            });
        base.join("muster")
    }

    /// The folder of the cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file with this SHA-256 (lower-case hex) stands or would stand.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.root.join("sha256").join(&sha256[..2]).join(sha256)
    }

    /// Whether the file with this SHA-256 is there.
    pub fn has(&self, sha256: &str) -> bool {
        self.path(sha256).exists()
    }

    /// Where the file with this SHA-256 grows while it is fetched.
    pub fn part(&self, sha256: &str) -> PathBuf {
        self.root.join("partial").join(format!("{sha256}.part"))
    }

    /// Where the last accepted `InRelease` of a suite is kept for `--offline`.
    pub fn release(&self, base: &str, archive: &str, suite: &str) -> PathBuf {
        let suite = suite.replace('/', "_");
        let folder = self.root.join("release").join(base);
        folder.join(format!("{archive}_{suite}_InRelease"))
    }
}
