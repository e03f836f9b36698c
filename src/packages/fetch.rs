//! Everything a lock names, into the cache: in parallel, resumed, verified.

use super::apt::mirror::Mirrors;
use super::cache::Cache;
use super::download::{DownloadError, Wanted, download};
use super::error::PackagesError;
use super::http::{HttpError, Transport};
use super::lock::{Lock, Package};
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Connections at a time.
const CONNECTIONS: usize = 5;

/// What a fetch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Fetched {
    /// Files in the lock.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that came over the network.
    pub fetched_files: usize,
    /// Their bytes.
    pub fetched_bytes: u64,
}

/// Makes sure that the cache holds every file of `lock`, fetching what is missing from
/// `mirrors`; with `None` (`--offline`) anything missing is an error. `progress` counts bytes.
pub fn fetch(
    lock: &Lock,
    cache: &Cache,
    mirrors: Option<&Mirrors>,
    progress: &ProgressBar,
) -> Result<Fetched, PackagesError> {
    let files: BTreeMap<&str, &Package> = lock
        .packages
        .iter()
        .map(|package| (package.sha256.as_str(), package))
        .collect();
    let mut missing: Vec<&Package> = files
        .values()
        .copied()
        .filter(|package| !cache.has(&package.sha256))
        .collect();
    let bytes = |packages: &mut dyn Iterator<Item = &Package>| packages.map(|p| p.size).sum();
    let done = Fetched {
        files: files.len(),
        bytes: bytes(&mut files.values().copied()),
        fetched_files: missing.len(),
        fetched_bytes: bytes(&mut missing.iter().copied()),
    };
    for package in files.values() {
        cache.touch(&package.sha256);
    }
    if missing.is_empty() {
        return Ok(done);
    }
    let Some(mirrors) = mirrors else {
        let mut names: Vec<String> = missing.iter().map(|package| package.key()).collect();
        names.sort();
        return Err(PackagesError::Offline { missing: names });
    };
    // The last to be taken are the smallest, so that no connection works alone at the end.
    missing.sort_by(|left, right| (left.size, &left.sha256).cmp(&(right.size, &right.sha256)));
    progress.set_length(done.fetched_bytes);
    let queue = Mutex::new(missing);
    let failure = Mutex::new(None);
    let places = Places {
        cache,
        mirrors,
        transport: Transport::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some(package) = next(&queue) {
                    let result = places.one(lock, package, progress);
                    if let Err(error) = result {
                        if let Ok(mut queue) = queue.lock() {
                            queue.clear();
                        }
                        if let Ok(mut failure) = failure.lock() {
                            failure.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(done),
    }
}

fn next<'l>(queue: &Mutex<Vec<&'l Package>>) -> Option<&'l Package> {
    queue.lock().ok()?.pop()
}

/// Where files come from and go to.
struct Places<'a> {
    cache: &'a Cache,
    mirrors: &'a Mirrors,
    transport: Transport,
}

impl Places<'_> {
    fn one(
        &self,
        lock: &Lock,
        package: &Package,
        progress: &ProgressBar,
    ) -> Result<(), PackagesError> {
        let mirror = self.mirrors.url(&package.base, &package.archive);
        let url = format!("{}/{}", mirror.unwrap_or_default(), package.path);
        let result = match self.from(&url, package, progress) {
            Err(DownloadError::Http(HttpError::Missing { url, status })) => {
                match self.snapshot(lock, package) {
                    Some(snapshot) => self.from(&snapshot, package, progress),
                    None => Err(HttpError::Missing { url, status }.into()),
                }
            }
            other => other,
        };
        result.map_err(|source| PackagesError::Fetch {
            package: package.key(),
            source,
        })
    }

    fn from(
        &self,
        url: &str,
        package: &Package,
        progress: &ProgressBar,
    ) -> Result<(), DownloadError> {
        let wanted = Wanted {
            sha256: package.sha256.clone(),
            size: package.size,
        };
        let told = |bytes: i64| match u64::try_from(bytes) {
            Ok(more) => progress.inc(more),
            Err(_) => progress.dec(bytes.unsigned_abs()),
        };
        download(&self.transport, self.cache, url, &wanted, &told)
    }

    /// Where the distribution keeps what its archive has dropped.
    fn snapshot(&self, lock: &Lock, package: &Package) -> Option<String> {
        let release = lock.releases.iter().find(|release| {
            (&release.base, &release.archive, &release.suite)
                == (&package.base, &package.archive, &package.suite)
        })?;
        let date = release.date.parse().ok()?;
        self.mirrors
            .snapshot(&package.base, &package.archive, &package.path, date)
    }
}
