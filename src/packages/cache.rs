//! The content-addressed cache: files by SHA-256.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A verified file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its digest when it was put there, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// When a build last used it.
    pub used: SystemTime,
}

/// What stands in a folder, nothing if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

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

    /// Notes that a build uses a file: the time of its last change, which nothing else needs.
    /// Somebody else's cache stays as it is.
    pub fn touch(&self, sha256: &str) {
        if let Ok(file) = std::fs::File::open(self.path(sha256)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Every verified file, sorted by digest.
    pub fn files(&self) -> io::Result<Vec<Stored>> {
        let mut found = Vec::new();
        for folder in entries(&self.root.join("sha256"))? {
            for path in entries(&folder)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let digest = |name: &&str| name.len() == 64 && self.path(name) == path;
                let Some(sha256) = name.filter(digest).map(str::to_owned) else {
                    continue;
                };
                let metadata = path.metadata()?;
                found.push(Stored {
                    sha256,
                    size: metadata.len(),
                    used: metadata.modified()?,
                });
            }
        }
        found.sort_by(|left, right| left.sha256.cmp(&right.sha256));
        Ok(found)
    }

    /// Files that an interrupted fetch goes on with: path, bytes, when it last grew.
    pub fn parts(&self) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
        let paths = entries(&self.root.join("partial"))?.into_iter();
        paths
            .map(|path| {
                let metadata = path.metadata()?;
                Ok((path, metadata.len(), metadata.modified()?))
            })
            .collect()
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
