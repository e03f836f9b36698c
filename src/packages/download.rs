//! One file of known size and digest, from a URL into the cache: resumed, verified, renamed.

use super::cache::Cache;
use super::http::{HttpError, Transport, without_password};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What must arrive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A file that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The mirror or the way to it.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// All bytes came, but not the right ones.
    #[error("{url} is not the file the lock or index names: its SHA-256 is {found}, not {wanted}")]
    Digest {
        /// URL.
        url: String,
        /// SHA-256 of what came.
        found: String,
        /// SHA-256 that was wanted.
        wanted: String,
    },
    /// The mirror says that its file has another size.
    #[error("{url} is not the file the lock or index names: it has {found} bytes, not {wanted}")]
    Size {
        /// URL.
        url: String,
        /// Bytes the mirror announces.
        found: u64,
        /// Bytes that were wanted.
        wanted: u64,
    },
    /// The file does not end where it should.
    #[error("{url} is not the file the lock or index names: it goes on after {wanted} bytes")]
    Endless {
        /// URL.
        url: String,
        /// Bytes that were wanted.
        wanted: u64,
    },
    /// The cache cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DownloadError {
    /// Whether the mirror has another file than the wanted one (416: one that ends before what
    /// is here already).
    pub fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            DownloadError::Digest { .. }
                | DownloadError::Size { .. }
                | DownloadError::Endless { .. }
                | DownloadError::Http(
                    HttpError::Part { .. } | HttpError::Status { status: 416, .. }
                )
        )
    }
}

/// Puts the file into the cache unless it is there. `progress` is told of bytes as they
/// become certain or are taken back.
pub fn download(
    transport: &Transport,
    cache: &Cache,
    url: &str,
    wanted: &Wanted,
    progress: &dyn Fn(i64),
) -> Result<(), DownloadError> {
    let target = cache.path(&wanted.sha256);
    if target.exists() {
        progress(wanted.size as i64);
        return Ok(());
    }
    let part = cache.part(&wanted.sha256);
    make_parent(&target)?;
    make_parent(&part)?;
    let in_part = |source| DownloadError::Cache {
        path: part.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&part)
        .map_err(in_part)?;
    // A second muster that wants the same file waits here, then finds it finished.
    let mut file =
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| in_part(errno.into()))?;
    if target.exists() {
        progress(wanted.size as i64);
        return Ok(());
    }
    let told = std::cell::Cell::new(0);
    // `position` bytes of the file are here now.
    let tell = |position: u64| {
        let position = position as i64;
        progress(position - told.replace(position));
    };
    let left_behind = file.metadata().map_err(in_part)?.len() > 0;
    let mut outcome = attempts(transport, url, wanted, &mut file, &tell);
    // What an earlier run left behind may be rubbish; what comes in one piece is not.
    if left_behind && outcome.as_ref().is_err_and(DownloadError::is_wrong_content) {
        file.set_len(0).map_err(in_part)?;
        outcome = attempts(transport, url, wanted, &mut file, &tell);
    }
    // What was written to is known here.
    let outcome = outcome.map_err(|error| match error {
        DownloadError::Cache { source, .. } => in_part(source),
        other => other,
    });
    if let Err(error) = outcome {
        tell(0);
        if error.is_wrong_content() {
            file.set_len(0).map_err(in_part)?;
        }
        return Err(error);
    }
    file.sync_data().map_err(in_part)?;
    std::fs::rename(&part, &target).map_err(|source| DownloadError::Cache {
        path: target.clone(),
        source,
    })
}

/// Continues the partial file until it is whole, with patience.
fn attempts(
    transport: &Transport,
    url: &str,
    wanted: &Wanted,
    file: &mut File,
    tell: &dyn Fn(u64),
) -> Result<(), DownloadError> {
    transport.patiently(|| match attempt(transport, url, wanted, file, tell) {
        Ok(()) => Ok(Ok(())),
        Err(DownloadError::Http(error)) => Err(error),
        Err(other) => Ok(Err(other)),
    })?
}

/// Continues the partial file once, and verifies it when it is whole.
fn attempt(
    transport: &Transport,
    url: &str,
    wanted: &Wanted,
    file: &mut File,
    tell: &dyn Fn(u64),
) -> Result<(), DownloadError> {
    let cache = |source| DownloadError::Cache {
        path: PathBuf::from(&wanted.sha256),
        source,
    };
    let mut digest = Sha256::new();
    let mut have = file.metadata().map_err(cache)?.len();
    file.seek(SeekFrom::Start(0)).map_err(cache)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(cache)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    tell(have);
    if have < wanted.size {
        let reply = transport.get(url, have)?;
        if reply.offset != have {
            // The mirror answered with the whole file.
            file.set_len(0).map_err(cache)?;
            file.seek(SeekFrom::Start(0)).map_err(cache)?;
            digest = Sha256::new();
            have = 0;
        }
        let announced = reply.length.map(|length| have.saturating_add(length));
        if let Some(found) = announced.filter(|size| *size != wanted.size) {
            return Err(DownloadError::Size {
                url: without_password(url),
                found,
                wanted: wanted.size,
            });
        }
        let mut body = reply.body;
        let mut pace = transport.pace();
        loop {
            let read = body
                .read(&mut buffer)
                .map_err(|error| transport.broken(url, error))?;
            if read == 0 {
                break;
            }
            have += read as u64;
            if have > wanted.size {
                return Err(DownloadError::Endless {
                    url: without_password(url),
                    wanted: wanted.size,
                });
            }
            digest.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(cache)?;
            tell(have);
            if have < wanted.size {
                pace.came(url, read as u64)?;
            }
        }
        if have < wanted.size {
            return Err(DownloadError::Http(HttpError::Connection {
                url: without_password(url),
                reason: format!("the connection ended after {have} of {} bytes", wanted.size),
            }));
        }
    }
    let found = hex::encode(digest.finalize());
    if found != wanted.sha256 {
        return Err(DownloadError::Digest {
            url: without_password(url),
            found,
            wanted: wanted.sha256.clone(),
        });
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<(), DownloadError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(parent).map_err(|source| DownloadError::Cache {
        path: parent.to_owned(),
        source,
    })
}
