//! One suite of an archive: its verified release file and its indexes.

use super::mirror::Mirrors;
use super::openpgp::{self, CLOCK_SKEW, OpenPgpError};
use super::release::{self, Listed, ReleaseError, ReleaseFile};
use crate::packages::cache::Cache;
use crate::packages::download::{DownloadError, Wanted, download};
use crate::packages::http::{HttpError, Transport};
use crate::packages::lock::Release;
use crate::profile::{Archive, Base};
use jiff::Timestamp;
use liblzma::stream::{CONCATENATED, Stream};
use std::io::Read;
use std::path::PathBuf;

/// No release file of an apt archive is larger.
const RELEASE_LIMIT: u64 = 16 << 20;
/// No index is larger, whatever the release file says: that of all of Debian has some 60 MiB.
const INDEX_LIMIT: u64 = 256 << 20;
/// Bytes that unpacking xz may take: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// How suites are read.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Where archives are fetched from.
    pub mirrors: &'a Mirrors,
    /// Where what was fetched is kept.
    pub cache: &'a Cache,
    /// The client.
    pub transport: Transport,
    /// Use the cache alone.
    pub offline: bool,
    /// The present.
    pub now: Timestamp,
    /// What the last lock saw; nothing older is accepted.
    pub seen: &'a [Release],
}

/// One suite, read and verified.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What the lock says of it.
    pub release: Release,
    /// The priority that its release file gives all it has.
    pub priority: i16,
    /// Text of every `Packages` file, components in the archive's order.
    pub indexes: Vec<String>,
}

impl Suite {
    /// Whether it may hold updates that only some machines are to take so far.
    pub fn is_phasing(&self) -> bool {
        let field = "\nPhased-Update-Percentage:";
        self.indexes.iter().any(|text| text.contains(field))
    }
}

/// Why a suite cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// Its release file cannot be had.
    #[error("the release file of {suite} cannot be fetched: {source}")]
    Fetch {
        /// Suite with archive and base.
        suite: String,
        /// Why.
        source: HttpError,
    },
    /// `--offline`, and it was never fetched.
    #[error("the cache has no release file of {suite}, and --offline forbids to fetch it")]
    Offline {
        /// Suite with archive and base.
        suite: String,
    },
    /// Its signature is not accepted.
    #[error("the release file of {suite} is refused: {source}")]
    Signature {
        /// Suite with archive and base.
        suite: String,
        /// Why.
        source: OpenPgpError,
    },
    /// What is signed makes no sense.
    #[error("the release file of {suite} is refused: {source}")]
    Text {
        /// Suite with archive and base.
        suite: String,
        /// Why.
        source: ReleaseError,
    },
    /// It is correct, but of something else.
    #[error("the release file of {suite} is refused: it is one of {found}")]
    Other {
        /// Suite with archive and base.
        suite: String,
        /// Origin, suite and codename it names.
        found: String,
    },
    /// `Valid-Until` has passed.
    #[error("the release file of {suite} is refused: it was valid until {until}, and now is {now}")]
    Expired {
        /// Suite with archive and base.
        suite: String,
        /// The moment.
        until: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// Dated later than now: every later one would be older than it.
    #[error("the release file of {suite} is refused: it is dated {date}, and now is {now}")]
    Early {
        /// Suite with archive and base.
        suite: String,
        /// Its date.
        date: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// Older than one seen before.
    #[error(
        "the release file of {suite} is refused: it is of {date}, and muster.lock saw one of {seen}"
    )]
    Rollback {
        /// Suite with archive and base.
        suite: String,
        /// Its date.
        date: String,
        /// The date in the lock.
        seen: String,
    },
    /// The archive does not have this component for this architecture.
    #[error("{suite} has no index of component {component} for {architecture}")]
    Component {
        /// Suite with archive and base.
        suite: String,
        /// Component.
        component: String,
        /// dpkg architecture.
        architecture: String,
    },
    /// A folder without a list of its packages.
    #[error("{suite} has no list of packages")]
    NoIndex {
        /// Folder with archive and base.
        suite: String,
    },
    /// An index cannot be had.
    #[error("an index of {suite} cannot be fetched: {source}")]
    Index {
        /// Suite with archive and base.
        suite: String,
        /// Why.
        source: DownloadError,
    },
    /// `--offline`, and an index was never fetched.
    #[error("the cache has no {path} of {suite}, and --offline forbids to fetch it")]
    OfflineIndex {
        /// Suite with archive and base.
        suite: String,
        /// Path below the suite.
        path: String,
    },
    /// An index cannot be unpacked.
    #[error("{path} of {suite} cannot be unpacked: {reason}")]
    Unpack {
        /// Suite with archive and base.
        suite: String,
        /// Path below the suite.
        path: String,
        /// Why.
        reason: String,
    },
    /// The cache cannot be used.
    #[error("cannot write {}: {source}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Reader<'_> {
    /// Reads a suite of an archive of a base.
    pub fn suite(&self, base: &Base, archive: &Archive, suite: &str) -> Result<Suite, SuiteError> {
        let mirror = self.mirrors.url(&base.name, &archive.name);
        let mirror = mirror.unwrap_or(&archive.mirror);
        let folder = suite.strip_prefix("./").unwrap_or(suite);
        let place = Place {
            reader: self,
            base,
            archive,
            suite,
            words: format!("{suite} (archive {} of {})", archive.name, base.name),
            url: match archive.is_flat() {
                true => format!("{mirror}/{}", folder.trim_matches('/')),
                false => format!("{mirror}/dists/{suite}"),
            }
            .trim_end_matches('/')
            .to_owned(),
        };
        let (release, file) = place.release()?;
        let mut indexes = Vec::new();
        if archive.is_flat() {
            indexes.push(place.index_at(&file, "Packages", None, &base.architecture)?);
        }
        for component in &archive.components {
            indexes.push(place.index(&file, component, &base.architecture)?);
            if file.separate_all {
                match place.index(&file, component, "all") {
                    Ok(text) => indexes.push(text),
                    Err(SuiteError::Component { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Suite {
            release,
            priority: file.priority,
            indexes,
        })
    }
}

/// A suite while it is being read.
struct Place<'a> {
    reader: &'a Reader<'a>,
    base: &'a Base,
    archive: &'a Archive,
    suite: &'a str,
    words: String,
    url: String,
}

impl Place<'_> {
    fn release(&self) -> Result<(Release, ReleaseFile), SuiteError> {
        let bytes = self.in_release()?;
        let signature = |source| SuiteError::Signature {
            suite: self.words.clone(),
            source,
        };
        let signed = std::str::from_utf8(&bytes)
            .map_err(|error| signature(OpenPgpError::NotSigned(error.to_string())))?;
        let now = self.reader.now;
        let (keys, fingerprints) = (&self.archive.keys, &self.archive.fingerprints);
        let verified =
            openpgp::verify(signed, keys, fingerprints, now.as_second()).map_err(signature)?;
        let file = release::parse(&verified.text).map_err(|source| SuiteError::Text {
            suite: self.words.clone(),
            source,
        })?;
        self.check(&file)?;
        let release = Release {
            base: self.base.name.clone(),
            archive: self.archive.name.clone(),
            suite: self.suite.to_owned(),
            date: file.date.to_string(),
            sha256: crate::packages::sha256(&bytes),
            signed_by: verified.signed_by,
        };
        if !self.reader.offline {
            self.keep(&bytes)?;
        }
        Ok((release, file))
    }

    fn in_release(&self) -> Result<Vec<u8>, SuiteError> {
        if self.reader.offline {
            return std::fs::read(self.kept()).map_err(|_| SuiteError::Offline {
                suite: self.words.clone(),
            });
        }
        let url = format!("{}/InRelease", self.url);
        self.reader
            .transport
            .read(&url, RELEASE_LIMIT)
            .map_err(|source| SuiteError::Fetch {
                suite: self.words.clone(),
                source,
            })
    }

    fn kept(&self) -> PathBuf {
        let cache = self.reader.cache;
        cache.release(&self.base.name, &self.archive.name, self.suite)
    }

    fn keep(&self, bytes: &[u8]) -> Result<(), SuiteError> {
        let path = self.kept();
        crate::packages::replace(&path, bytes).map_err(|source| SuiteError::Cache { path, source })
    }

    fn check(&self, file: &ReleaseFile) -> Result<(), SuiteError> {
        let suite = self.words.clone();
        // Pockets of one distribution may share a codename: noble-proposed is not noble.
        let pocket = file.suite.strip_prefix(self.suite);
        let pocket = pocket.is_some_and(|rest| rest.starts_with('-'));
        // Folders are called nothing.
        let named = self.archive.is_flat()
            || file.suite == self.suite
            || (file.codename == self.suite && !pocket);
        if !named || file.origin != self.archive.origin {
            return Err(SuiteError::Other {
                suite,
                found: format!("{} {} ({})", file.origin, file.suite, file.codename),
            });
        }
        let now = self.reader.now;
        if let Some(until) = file.valid_until.filter(|until| *until < now) {
            return Err(SuiteError::Expired { suite, until, now });
        }
        let date = file.date;
        if date.as_second() > now.as_second() + CLOCK_SKEW {
            return Err(SuiteError::Early { suite, date, now });
        }
        let seen = self.reader.seen.iter().find(|seen| {
            seen.base == self.base.name
                && seen.archive == self.archive.name
                && seen.suite == self.suite
        });
        if let Some(seen) = seen
            && let Ok(before) = seen.date.parse::<Timestamp>()
            && file.date < before
        {
            return Err(SuiteError::Rollback {
                suite,
                date: file.date.to_string(),
                seen: seen.date.clone(),
            });
        }
        Ok(())
    }

    /// The text of an index, fetched by digest unless the cache has it.
    fn index(
        &self,
        file: &ReleaseFile,
        component: &str,
        architecture: &str,
    ) -> Result<String, SuiteError> {
        let plain = format!("{component}/binary-{architecture}/Packages");
        self.index_at(file, &plain, Some(component), architecture)
    }

    /// The same of what stands, packed or not, at `plain`.
    fn index_at(
        &self,
        file: &ReleaseFile,
        plain: &str,
        component: Option<&str>,
        architecture: &str,
    ) -> Result<String, SuiteError> {
        let chosen = [".xz", ".zst", ".gz", ""].iter().find_map(|suffix| {
            let path = format!("{plain}{suffix}");
            file.files.get(&path).map(|listed| (path, listed))
        });
        let Some((path, listed)) = chosen else {
            let suite = self.words.clone();
            return Err(match component {
                None => SuiteError::NoIndex { suite },
                Some(component) => SuiteError::Component {
                    suite,
                    component: component.to_owned(),
                    architecture: architecture.to_owned(),
                },
            });
        };
        self.obtain(file, &path, listed)?;
        let said = file.files.get(plain).map_or(INDEX_LIMIT, |l| l.size);
        let limit = said.min(INDEX_LIMIT);
        self.unpack(&path, listed, limit)
            .map_err(|reason| SuiteError::Unpack {
                suite: self.words.clone(),
                path,
                reason,
            })
    }

    fn obtain(&self, file: &ReleaseFile, path: &str, listed: &Listed) -> Result<(), SuiteError> {
        let cache = self.reader.cache;
        if cache.has(&listed.sha256) {
            return Ok(());
        }
        if self.reader.offline {
            return Err(SuiteError::OfflineIndex {
                suite: self.words.clone(),
                path: path.to_owned(),
            });
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let gap = if folder.is_empty() { "" } else { "/" };
        let url = match file.by_hash {
            true => format!("{}/{folder}{gap}by-hash/SHA256/{}", self.url, listed.sha256),
            false => format!("{}/{path}", self.url),
        };
        let wanted = Wanted {
            sha256: listed.sha256.clone(),
            size: listed.size,
        };
        download(&self.reader.transport, cache, &url, &wanted, &|_| {}).map_err(|source| {
            SuiteError::Index {
                suite: self.words.clone(),
                source,
            }
        })
    }

    fn unpack(&self, path: &str, listed: &Listed, limit: u64) -> Result<String, String> {
        let file = std::fs::File::open(self.reader.cache.path(&listed.sha256))
            .map_err(|error| error.to_string())?;
        let reader: Box<dyn Read> = if path.ends_with(".xz") {
            let decoder = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            let decoder = decoder.map_err(|error| error.to_string())?;
            Box::new(liblzma::read::XzDecoder::new_stream(file, decoder))
        } else if path.ends_with(".zst") {
            Box::new(zstd::Decoder::new(file).map_err(|error| error.to_string())?)
        } else if path.ends_with(".gz") {
            Box::new(flate2::read::MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut text = String::new();
        reader
            .take(limit + 1)
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
        if text.len() as u64 > limit {
            return Err(format!("it holds more than {limit} bytes"));
        }
        Ok(text)
    }
}
