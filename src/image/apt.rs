//! What apt and dpkg on the host read: the archives with their keys, pins, and what packages
//! are not to bring. They decide there as the lock and the image were made.

use super::error::Error;
use super::job::Job;
use super::overlay::write;
use crate::packages::apt::pin;
use crate::profile::{Archive, Base, Exclude, Role};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Writes it into the root that this process has entered.
pub fn configure(job: &Job) -> Result<(), Error> {
    for (path, text) in files(job.base()?, job.role()?) {
        write(&path, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// The files of a role's images: path → content.
pub fn files(base: &Base, role: &Role) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for archive in base.archives.iter().filter(|archive| archive.is_for(role)) {
        files.insert(keyring(archive), archive.keys.clone());
        let path = format!("/etc/apt/sources.list.d/{}.sources", archive.name);
        files.insert(path, sources(archive));
        if let Some(text) = pin::preferences(archive) {
            let path = format!("/etc/apt/preferences.d/{}", pin::file_name(archive));
            files.insert(path, text);
        }
    }
    if !base.exclude.is_empty() {
        let path = "/etc/dpkg/dpkg.cfg.d/muster".to_owned();
        files.insert(path, exclusions(&base.exclude));
    }
    files
}

fn keyring(archive: &Archive) -> String {
    format!("/etc/apt/keyrings/{}.asc", archive.name)
}

/// A file for sources.list.d (sources.list(5)), with the archive's own mirror.
fn sources(archive: &Archive) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Types: deb");
    let _ = writeln!(text, "URIs: {}", archive.mirror);
    let _ = writeln!(text, "Suites: {}", archive.suites.join(" "));
    if !archive.is_flat() {
        let _ = writeln!(text, "Components: {}", archive.components.join(" "));
    }
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
