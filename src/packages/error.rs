//! What can go wrong between a stack and its files.

use super::apt::archive::SuiteError;
use super::apt::index::IndexError;
use super::apt::mirror::PreferencesError;
use super::apt::openpgp::OpenPgpError;
use super::apt::order::Cycle;
use super::apt::resolver::{Cause, Unsatisfied};
use super::artifact::ArtifactError;
use super::download::DownloadError;
use super::http::HttpError;
use super::lock::LockError;
use super::oci::OciError;
use super::oci::registry::RegistryError;

/// Any failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// A suite cannot be used.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// An index cannot be understood.
    #[error("an index of {base} cannot be used: {source}")]
    Index {
        /// Base.
        base: String,
        /// Why.
        source: IndexError,
    },
    /// A role cannot be satisfied.
    #[error("role {role} needs {source}")]
    Unsatisfied {
        /// Role.
        role: String,
        /// Why.
        source: Unsatisfied,
    },
    /// Packages of a role wait for each other.
    #[error("the packages of role {role} cannot be unpacked: {source}")]
    Cycle {
        /// Role.
        role: String,
        /// Which.
        source: Cycle,
    },
    /// Two bases give one account different ids.
    #[error("the account {account} has different ids in {} and {}", bases[0], bases[1])]
    Accounts {
        /// Account.
        account: String,
        /// The two bases.
        bases: [String; 2],
    },
    /// A name and a version stand for two files.
    #[error("{package} of {base} is one file in the archive {} and another one in {}", archives[0], archives[1])]
    Twice {
        /// Package key of the lock.
        package: String,
        /// Base.
        base: String,
        /// The two archives.
        archives: [String; 2],
    },
    /// The lock file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The user's configuration.
    #[error(transparent)]
    Preferences(#[from] PreferencesError),
    /// The system has no memory for another thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A locked file did not arrive.
    #[error("{package} cannot be fetched: {source}")]
    Fetch {
        /// Package.
        package: String,
        /// Why.
        source: DownloadError,
    },
    /// An artifact cannot be locked or taken.
    #[error("the artifact {artifact}: {source}")]
    Artifact {
        /// `service/name`.
        artifact: String,
        /// Why.
        source: Box<ArtifactError>,
    },
    /// A container image cannot be locked.
    #[error("the container image {image}: {source}")]
    Oci {
        /// `service/name`.
        image: String,
        /// Why.
        source: OciError,
    },
    /// A locked artifact did not arrive.
    #[error("the artifact {artifact} cannot be fetched: {source}")]
    FetchArtifact {
        /// `service/name`.
        artifact: String,
        /// Why.
        source: DownloadError,
    },
    /// A part of a locked container image did not arrive.
    #[error("the container image {image} cannot be fetched: {source}")]
    FetchOci {
        /// `service/name`.
        image: String,
        /// Why.
        source: RegistryError,
    },
    /// `--offline`, and files are missing.
    #[error("the cache lacks {} of the locked files, and --offline forbids to fetch them: {}", missing.len(), some(missing))]
    Offline {
        /// Packages.
        missing: Vec<String>,
    },
}

/// The first few of a long list.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

impl PackagesError {
    /// Whether a file that a person keeps is wrong, and not an archive or this machine.
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            PackagesError::Lock(LockError::Parse { .. })
                | PackagesError::Preferences(_)
                | PackagesError::Accounts { .. }
        ) || matches!(self, PackagesError::Artifact { source, .. } if source.is_about_supplied())
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            PackagesError::Suite(error) => suite_hint(error),
            PackagesError::Index { .. } => Some(
                "it is as the archive signed it: tell whoever publishes it, or take another archive in the base",
            ),
            PackagesError::Unsatisfied {
                source:
                    Unsatisfied::Barred(_)
                    | Unsatisfied::Chain {
                        cause: Cause::Barred,
                        ..
                    },
                ..
            } => Some(
                "name it in `packages` of the archive it should come from, or take it out of `never`",
            ),
            PackagesError::Unsatisfied { .. } => Some(
                "change the packages of the role or of its services, or the archives of its base; if a mirror is being updated, try again later",
            ),
            PackagesError::Cycle { .. } => Some(
                "leave one of them out of the role; only whoever publishes the archive can mend their Pre-Depends",
            ),
            PackagesError::Fetch { source, .. } if source.is_wrong_content() => Some(
                "the mirror is damaged or tampered with: try another one with --mirror URL. Nothing of the file was kept",
            ),
            PackagesError::Fetch {
                source: DownloadError::Cache { source, .. },
                ..
            } => Some(cache_hint(source)),
            PackagesError::Fetch {
                source: DownloadError::Http(HttpError::Tls { .. }),
                ..
            } => Some(TLS_HINT),
            PackagesError::Fetch { .. } => Some(
                "try another mirror with --mirror URL; what was fetched so far is kept. A file that is gone from the archive needs `muster lock STACK --update`",
            ),
            PackagesError::Artifact { source, .. } => artifact_hint(source),
            PackagesError::Oci { source, .. } => oci_hint(source),
            PackagesError::FetchArtifact { source, .. } => Some(publisher_hint(source)),
            PackagesError::FetchOci { source, .. } => Some(registry_hint(source)),
            PackagesError::Offline { .. } => {
                Some("run `muster fetch STACK` once without --offline")
            }
            PackagesError::Lock(LockError::Parse { .. }) => {
                Some("take the file from version control, or remove it and run `muster lock STACK`")
            }
            PackagesError::Lock(LockError::Read { .. }) => {
                Some("see what stands there, and who may read it: ls -ld that path")
            }
            PackagesError::Lock(LockError::Write { source, .. }) => Some(match full(source) {
                true => "the disk is full: see where with df -h; the lock there was is as it was",
                false => {
                    "the lock stands beside the stack.toml, or below the directory you are in: work where you may write"
                }
            }),
            PackagesError::Preferences(PreferencesError::NoArchive { .. }) => {
                Some("write --mirror ARCHIVE=URL with one of these names, or --mirror URL")
            }
            PackagesError::Preferences(_) => Some(
                "the file needs no more than: [mirrors], and below it lines like debian = \"http://HOST/debian\"",
            ),
            PackagesError::Accounts { .. } => {
                Some("give it the same id in the `account` tables of both bases")
            }
            PackagesError::Twice { .. } => Some(
                "say which archive may not give it: name it in `never` of one of them, or in `packages` of none but the other",
            ),
            PackagesError::Thread(_) => {
                Some("end other programs, or see the limits: ulimit -u; ulimit -v")
            }
        }
    }
}

const TLS_HINT: &str = "see the clock of this computer, and whether ca-certificates is installed; the authority of a mirror or proxy of your own must be among them: update-ca-certificates(8). Or take an http:// mirror: what it sends is verified by its signature";

fn full(source: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(source.kind(), StorageFull | QuotaExceeded)
}

/// What to do about a cache that cannot be written.
fn cache_hint(source: &std::io::Error) -> &'static str {
    match full(source) {
        true => {
            "the disk is full: see where with df -h, make room and run the same command again, which goes on where it stopped; or set XDG_CACHE_HOME to a folder with room"
        }
        false => "set XDG_CACHE_HOME to a folder of yours",
    }
}

fn artifact_hint(error: &ArtifactError) -> Option<&'static str> {
    Some(match error {
        ArtifactError::Http(HttpError::Missing { .. }) => {
            "publishers move what they have published: see on their pages where it is now, and change the URL in the service"
        }
        ArtifactError::Http(_) => PUBLISHER_HINT,
        ArtifactError::Download(source) => publisher_hint(source),
        ArtifactError::Offline { .. } => "run `muster lock STACK` once without --offline",
        ArtifactError::Checksums { .. } => {
            "see with a browser what the file says, and whether `checksums` names the right one"
        }
        ArtifactError::Differs { .. } | ArtifactError::Signature { .. } => {
            "either the profile pins another file than its publisher offers, or one of the two is tampered with: ask the publisher before you change the profile"
        }
        ArtifactError::NotSupplied { .. } => {
            "this file is not for everybody: get it from its publisher and put it there, or name the folder where it is with --artifacts DIR"
        }
        ArtifactError::OtherFile { .. } => {
            "put the file there that the profile means; or, if this is a newer one, change `size` and `sha256` in the service, and run `muster lock STACK --update`"
        }
        ArtifactError::Unreadable { .. } => "see who may read it: ls -l that path",
        ArtifactError::Cache { source, .. } => cache_hint(source),
    })
}

const PUBLISHER_HINT: &str = "see whether this computer is online, and try again in a while; what was fetched so far is kept";

/// What to do about an artifact that did not arrive.
fn publisher_hint(error: &DownloadError) -> &'static str {
    match error {
        DownloadError::Cache { source, .. } => cache_hint(source),
        DownloadError::Http(HttpError::Tls { .. }) => TLS_HINT,
        DownloadError::Http(HttpError::Missing { .. }) => {
            "publishers move what they have published: see on their pages where it is now, change the URL in the service, and run `muster lock STACK`"
        }
        wrong if wrong.is_wrong_content() => {
            "its publisher has put another file there, or it is tampered with: ask the publisher before you change `size` and `sha256` in the service. Nothing of the file was kept"
        }
        _ => PUBLISHER_HINT,
    }
}

fn oci_hint(error: &OciError) -> Option<&'static str> {
    Some(match error {
        OciError::Registry(source) => registry_hint(source),
        OciError::Digest { .. } | OciError::Size { .. } => {
            "the registry is damaged or tampered with; nothing of it was kept"
        }
        OciError::Unusable { .. } => "name another image in the service, by its digest",
        OciError::Offline { .. } => "run `muster lock STACK` once without --offline",
        OciError::Cache { source, .. } => cache_hint(source),
    })
}

/// What to do about a registry that does not give an image.
fn registry_hint(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Login { .. } => {
            "images are pulled without a login: copy it to a registry that gives it to everybody, and name it there"
        }
        RegistryError::Download(DownloadError::Http(HttpError::Missing { .. })) => {
            "registries forget images that nothing names any more: see whether the name is right, and take the digest of one that is there"
        }
        RegistryError::Download(DownloadError::Http(HttpError::Tls { .. })) => TLS_HINT,
        RegistryError::Download(DownloadError::Cache { source, .. }) => cache_hint(source),
        RegistryError::Download(wrong) if wrong.is_wrong_content() => {
            "the registry is damaged or tampered with; nothing of it was kept"
        }
        RegistryError::Download(_) => PUBLISHER_HINT,
    }
}

fn suite_hint(error: &SuiteError) -> Option<&'static str> {
    match error {
        SuiteError::Cache { source, .. }
        | SuiteError::Index {
            source: DownloadError::Cache { source, .. },
            ..
        } => Some(cache_hint(source)),
        SuiteError::Index { source, .. } if source.is_wrong_content() => Some(
            "the mirror is in the middle of an update, or tampered with: try again in a while, or another one with --mirror URL",
        ),
        SuiteError::Fetch {
            source: HttpError::Unreachable { .. },
            ..
        } => Some(
            "see whether this computer is online, and http_proxy and https_proxy if it needs a proxy; else try another mirror with --mirror URL, or work from the cache with --offline",
        ),
        SuiteError::Fetch {
            source: HttpError::Tls { .. },
            ..
        }
        | SuiteError::Index {
            source: DownloadError::Http(HttpError::Tls { .. }),
            ..
        } => Some(TLS_HINT),
        SuiteError::Fetch {
            source: HttpError::Scheme { .. },
            ..
        } => Some(
            "change it where it stands: `mirror` of the archive in its base, or [mirrors] of \
             ~/.config/muster/config.toml",
        ),
        SuiteError::Fetch {
            source: HttpError::Missing { .. },
            ..
        } => Some(
            "the URL of a mirror is that of the folder in which `dists` and `pool` are: check --mirror, or try another one",
        ),
        SuiteError::Fetch { .. } | SuiteError::Index { .. } => {
            Some("try another mirror with --mirror URL, or work from the cache with --offline")
        }
        SuiteError::Offline { .. } | SuiteError::OfflineIndex { .. } => {
            Some("run `muster lock STACK` once without --offline")
        }
        SuiteError::Signature {
            source: OpenPgpError::NotSigned(_),
            ..
        } => Some(
            "what came is no release file at all: see in a browser whether this network first wants a login, and whether the mirror's URL leads where it should",
        ),
        SuiteError::Signature {
            source: OpenPgpError::Keys(_),
            ..
        } => Some(
            "mend the `keys` of this archive in its base, or take them from its publisher anew",
        ),
        SuiteError::Signature { .. } => Some(
            "the mirror may be wrong or tampered with; try another one with --mirror URL. Keys of an archive stand beside its base or service, in `keys`",
        ),
        SuiteError::Expired { .. } | SuiteError::Early { .. } | SuiteError::Rollback { .. } => {
            Some(
                "the mirror is out of date, or the clock is wrong; try another one with --mirror URL",
            )
        }
        SuiteError::Other { .. } => Some(
            "the mirror serves another archive or suite at this address: check --mirror, and `origin` and `suites` of the base",
        ),
        SuiteError::NoIndex { .. } => Some(
            "a suite that ends with a slash is a folder with packages and their list: check \
             `suites` of the archive",
        ),
        SuiteError::Component { .. } => Some("check `components` and `architecture` of the base"),
        SuiteError::Text { .. } | SuiteError::Unpack { .. } => Some(
            "it is as the archive signed it: try another mirror with --mirror URL, and tell whoever publishes the archive",
        ),
    }
}
