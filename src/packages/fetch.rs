//! Everything a lock names, into the cache: in parallel, resumed, verified.

use super::apt::mirror::Mirrors;
use super::artifact::ArtifactError;
use super::cache::Cache;
use super::download::{DownloadError, Wanted, download};
use super::error::PackagesError;
use super::http::{HttpError, Transport};
use super::lock::{Artifact, Blob, Lock, OciImage, Package};
use super::oci::OciError;
use super::oci::registry::Registry;
use crate::profile::artifact::Reference;
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

/// Something that a lock names.
struct File<'l> {
    /// For people.
    name: String,
    sha256: &'l str,
    size: u64,
    place: Place<'l>,
}

/// Where it is fetched from.
#[derive(Clone, Copy)]
enum Place<'l> {
    Archive(&'l Package),
    Publisher(&'l Artifact),
    Registry(&'l OciImage, &'l Blob),
}

/// Every file that a lock names, once.
fn files(lock: &Lock) -> BTreeMap<&str, File<'_>> {
    let packages = lock.packages.iter().map(|package| File {
        name: package.key(),
        sha256: &package.sha256,
        size: package.size,
        place: Place::Archive(package),
    });
    let artifacts = lock.artifacts.iter().map(|artifact| File {
        name: artifact.key(),
        sha256: &artifact.sha256,
        size: artifact.size,
        place: Place::Publisher(artifact),
    });
    let blobs = lock.images.iter().flat_map(|image| {
        image.blobs.iter().map(move |blob| File {
            name: image.key(),
            sha256: &blob.sha256,
            size: blob.size,
            place: Place::Registry(image, blob),
        })
    });
    let all = packages.chain(artifacts).chain(blobs);
    all.map(|file| (file.sha256, file)).collect()
}

/// Makes sure that the cache holds every file of `lock`, fetching what is missing from
/// `mirrors`, publishers and registries; with `None` (`--offline`) anything missing is an error.
/// `progress` counts bytes. What people supply is there already
/// ([`supply`](super::artifact::supply)).
pub fn fetch(
    lock: &Lock,
    cache: &Cache,
    mirrors: Option<&Mirrors>,
    progress: &ProgressBar,
) -> Result<Fetched, PackagesError> {
    let files = files(lock);
    let mut missing: Vec<&File> = files
        .values()
        .filter(|file| !cache.has(file.sha256))
        .collect();
    let done = Fetched {
        files: files.len(),
        bytes: files.values().map(|file| file.size).sum(),
        fetched_files: missing.len(),
        fetched_bytes: missing.iter().map(|file| file.size).sum(),
    };
    for file in files.values() {
        cache.touch(file.sha256);
    }
    if missing.is_empty() {
        return Ok(done);
    }
    let Some(mirrors) = mirrors else {
        let mut names: Vec<String> = missing.iter().map(|file| file.name.clone()).collect();
        names.sort();
        return Err(PackagesError::Offline { missing: names });
    };
    // The last to be taken are the smallest, so that no connection works alone at the end.
    missing.sort_by(|left, right| (left.size, left.sha256).cmp(&(right.size, right.sha256)));
    progress.set_length(done.fetched_bytes);
    let queue = Mutex::new(missing);
    let failure = Mutex::new(None);
    let transport = Transport::default();
    let places = Places {
        cache,
        mirrors,
        registries: registries(lock, &transport)?,
        transport,
    };
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some(file) = next(&queue) {
                    let result = places.one(lock, file, progress);
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

fn next<'q, 'l>(queue: &Mutex<Vec<&'q File<'l>>>) -> Option<&'q File<'l>> {
    queue.lock().ok()?.pop()
}

/// The registries of a lock's images, by what the images are called: all parts of one are asked
/// for with one token.
fn registries<'l>(
    lock: &'l Lock,
    transport: &Transport,
) -> Result<BTreeMap<&'l str, Registry>, PackagesError> {
    let images = lock.images.iter().map(|image| {
        let unusable = |reason: &str| PackagesError::Oci {
            image: image.key(),
            source: OciError::Unusable {
                url: image.image.clone(),
                reason: reason.to_owned(),
            },
        };
        let reference = Reference::parse(&image.image).map_err(unusable)?;
        Ok((&*image.image, Registry::of(&reference, transport.clone())))
    });
    images.collect()
}

/// Where files come from and go to.
struct Places<'a> {
    cache: &'a Cache,
    mirrors: &'a Mirrors,
    registries: BTreeMap<&'a str, Registry>,
    transport: Transport,
}

impl Places<'_> {
    fn one(&self, lock: &Lock, file: &File, progress: &ProgressBar) -> Result<(), PackagesError> {
        match file.place {
            Place::Archive(package) => self.package(lock, package, progress),
            Place::Publisher(artifact) => {
                let Some(url) = &artifact.url else {
                    return Err(artifact.failed(ArtifactError::NotSupplied {
                        file: artifact.file.clone().unwrap_or_default(),
                        folder: "artifacts".into(),
                    }));
                };
                let fetched = self.from(url, &artifact.sha256, artifact.size, progress);
                fetched.map_err(|source| PackagesError::FetchArtifact {
                    artifact: artifact.key(),
                    source,
                })
            }
            Place::Registry(image, blob) => {
                let registry = &self.registries[&*image.image];
                let told = |bytes| tell(progress, bytes);
                let fetched = registry.fetch(self.cache, blob, &told);
                fetched.map_err(|source| PackagesError::FetchOci {
                    image: image.key(),
                    source,
                })
            }
        }
    }

    fn package(
        &self,
        lock: &Lock,
        package: &Package,
        progress: &ProgressBar,
    ) -> Result<(), PackagesError> {
        let mirror = self.mirrors.url(&package.base, &package.archive);
        let url = format!("{}/{}", mirror.unwrap_or_default(), package.path);
        let from = |url: &str| self.from(url, &package.sha256, package.size, progress);
        let result = match from(&url) {
            Err(DownloadError::Http(HttpError::Missing { url, status })) => {
                match self.snapshot(lock, package) {
                    Some(snapshot) => from(&snapshot),
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
        sha256: &str,
        size: u64,
        progress: &ProgressBar,
    ) -> Result<(), DownloadError> {
        let wanted = Wanted {
            sha256: sha256.to_owned(),
            size,
        };
        let told = |bytes| tell(progress, bytes);
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

fn tell(progress: &ProgressBar, bytes: i64) {
    match u64::try_from(bytes) {
        Ok(more) => progress.inc(more),
        Err(_) => progress.dec(bytes.unsigned_abs()),
    }
}
