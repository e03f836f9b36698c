//! `--artifacts`, alike in every command that takes files which people supply.

use std::path::{Path, PathBuf};

/// Where such files are.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Take files that are not for everybody from DIR, not from `artifacts` beside the lock
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
}

impl Args {
    /// The folder.
    pub fn folder(&self, lock: &Path) -> PathBuf {
        match &self.artifacts {
            Some(folder) => folder.clone(),
            None => lock.with_file_name("artifacts"),
        }
    }

    /// The same as words of a command line.
    pub fn words(&self) -> impl Iterator<Item = &std::ffi::OsStr> {
        let folder = self.artifacts.iter();
        folder.flat_map(|folder| [std::ffi::OsStr::new("--artifacts"), folder.as_os_str()])
    }
}
