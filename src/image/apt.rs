//! What apt and dpkg on the host read: the archives with their keys, pins, and what packages
//! are not to bring. They decide there as the lock and the image were made.

use super::error::Error;
use super::job::Job;
use super::overlay::write;
use crate::packages::apt::pin;
use crate::profile::{Archive, Exclude};
use std::fmt::Write as _;

/// Writes it into the root that this process has entered.
pub fn configure(job: &Job) -> Result<(), Error> {
    let (base, role) = (job.base()?, job.role()?);
    for archive in base.archives.iter().filter(|archive| archive.is_for(role)) {
        write(&keyring(archive), archive.keys.as_bytes(), 0o644)?;
        let path = format!("/etc/apt/sources.list.d/{}.sources", archive.name);
        write(&path, sources(archive).as_bytes(), 0o644)?;
        if let Some(text) = pin::preferences(archive) {
            let path = format!("/etc/apt/preferences.d/{}", pin::file_name(archive));
            write(&path, text.as_bytes(), 0o644)?;
        }
    }
    if !base.exclude.is_empty() {
        let text = exclusions(&base.exclude);
        write("/etc/dpkg/dpkg.cfg.d/muster", text.as_bytes(), 0o644)?;
    }
    Ok(())
}

fn keyring(archive: &Archive) -> String {
    format!("/etc/apt/keyrings/{}.asc", archive.name)
}

/// A file for sources.list.d (sources.list(5)), with the archive's own mirror.
pub fn sources(archive: &Archive) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Types: deb");
    let _ = writeln!(text, "URIs: {}", archive.mirror);
    let _ = writeln!(text, "Suites: {}", archive.suites.join(" "));
    let _ = writeln!(text, "Components: {}", archive.components.join(" "));
    let _ = writeln!(text, "Signed-By: {}", keyring(archive));
    text
}

/// A file for dpkg.cfg.d (dpkg(1)). Of all lines that fit a path the last one counts.
pub fn exclusions(exclude: &Exclude) -> String {
    let mut text = String::new();
    for pattern in &exclude.paths {
        let _ = writeln!(text, "path-exclude={pattern}");
    }
    for pattern in &exclude.keep {
        let _ = writeln!(text, "path-include={pattern}");
    }
    text
}
