//! Files that people supply: from their folder into the cache.

use super::ArtifactError;
use crate::packages::cache::Cache;
use crate::packages::lock::Lock;
use crate::packages::{PackagesError, download::Wanted};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// Makes sure that the cache holds every file of the lock that people supply; what is missing is
/// taken from `folder`.
///
/// # Errors
/// A file that is in neither, or is not the one that the lock pins.
pub fn supply(lock: &Lock, cache: &Cache, folder: &Path) -> Result<(), PackagesError> {
    for artifact in &lock.artifacts {
        let Some(file) = &artifact.file else {
            continue;
        };
        let wanted = (Some(artifact.size), Some(artifact.sha256.as_str()));
        let taken = take(cache, folder, file, wanted);
        taken.map_err(|source| artifact.failed(source))?;
    }
    Ok(())
}

/// Copies a file into the cache. Size and digest are held against what is `wanted` of them.
pub(super) fn take(
    cache: &Cache,
    folder: &Path,
    file: &str,
    wanted: (Option<u64>, Option<&str>),
) -> Result<Wanted, ArtifactError> {
    if let Some(sha256) = wanted.1.filter(|sha256| cache.has(sha256)) {
        let path = cache.path(sha256);
        let metadata = path.metadata();
        return Ok(Wanted {
            sha256: sha256.to_owned(),
            size: metadata
                .map_err(|source| ArtifactError::Cache { path, source })?
                .len(),
        });
    }
    let path = folder.join(file);
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ArtifactError::NotSupplied {
            file: file.to_owned(),
            folder: folder.to_owned(),
        },
        _ => ArtifactError::Unreadable {
            path: path.clone(),
            source,
        },
    };
    let mut from = File::open(&path).map_err(unreadable)?;
    let metadata = from.metadata().map_err(unreadable)?;
    let other = |what, found: String, wanted: String| ArtifactError::OtherFile {
        path: path.clone(),
        what,
        found,
        wanted,
    };
    if !metadata.is_file() {
        let source = std::io::Error::other("it is not a file");
        return Err(unreadable(source));
    }
    // Before it is copied, which takes a while.
    if let Some(size) = wanted.0.filter(|size| *size != metadata.len()) {
        return Err(other("size", metadata.len().to_string(), size.to_string()));
    }
    let partial = cache.part("supplied");
    let folder = partial.parent().unwrap_or(Path::new("."));
    let in_cache = |source| ArtifactError::Cache {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(in_cache)?;
    let mut copy = tempfile::NamedTempFile::new_in(folder).map_err(in_cache)?;
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = match from.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            read => read,
        };
        digest.update(&buffer[..read]);
        copy.write_all(&buffer[..read]).map_err(in_cache)?;
        size += read as u64;
    }
    let sha256 = hex::encode(digest.finalize());
    if let Some(wanted) = wanted.1.filter(|wanted| *wanted != sha256) {
        return Err(other("SHA-256", sha256, wanted.to_owned()));
    }
    super::keep(cache, copy, &sha256)?;
    Ok(Wanted { sha256, size })
}
