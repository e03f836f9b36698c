//! What can go wrong between a stack and its files.

use super::apt::archive::SuiteError;
use super::apt::index::IndexError;
use super::apt::mirror::PreferencesError;
use super::apt::order::Cycle;
use super::apt::resolver::Unsatisfied;
use super::download::DownloadError;
use super::lock::LockError;

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
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            PackagesError::Suite(error) => suite_hint(error),
            PackagesError::Index { .. } => Some(
                "it is as the archive signed it: tell whoever publishes it, or take another archive in the base",
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
            PackagesError::Fetch { .. } => Some(
                "try another mirror with --mirror URL; what was fetched so far is kept. A file that is gone from the archive needs `muster lock STACK --update`",
            ),
            PackagesError::Offline { .. } => Some("run `muster fetch` once without --offline"),
            PackagesError::Lock(LockError::Parse { .. }) => {
                Some("remove the file and run `muster lock` again, or take it from version control")
            }
            _ => None,
        }
    }
}

fn suite_hint(error: &SuiteError) -> Option<&'static str> {
    match error {
        SuiteError::Index { source, .. } if source.is_wrong_content() => Some(
            "the mirror is in the middle of an update, or tampered with: try again in a while, or another one with --mirror URL",
        ),
        SuiteError::Fetch { .. } | SuiteError::Index { .. } => {
            Some("try another mirror with --mirror URL, or work from the cache with --offline")
        }
        SuiteError::Offline { .. } | SuiteError::OfflineIndex { .. } => {
            Some("run `muster lock` once without --offline")
        }
        SuiteError::Signature { .. } => Some(
            "the mirror may be wrong or tampered with; try another one with --mirror URL. Keys of an archive stand in its base under profiles/bases",
        ),
        SuiteError::Expired { .. } | SuiteError::Rollback { .. } => Some(
            "the mirror is out of date, or the clock is wrong; try another one with --mirror URL",
        ),
        SuiteError::Other { .. } => Some(
            "the mirror serves another archive or suite at this address: check --mirror, and `origin` and `suites` of the base",
        ),
        SuiteError::Component { .. } => Some("check `components` and `architecture` of the base"),
        SuiteError::Text { .. } | SuiteError::Unpack { .. } => Some(
            "it is as the archive signed it: try another mirror with --mirror URL, and tell whoever publishes the archive",
        ),
        SuiteError::Cache { .. } => None,
    }
}
