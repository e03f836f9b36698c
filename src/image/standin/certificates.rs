//! `update-ca-certificates` (update-ca-certificates(8)) where all that it finds are certificates of
//! packages.

use super::say;
use crate::site::trust::{self, BUNDLE, Certificate, Folders};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Does it, or returns `None` for what is not this case.
pub fn run(arguments: &[String]) -> Option<u8> {
    let hooks = match arguments {
        [] => true,
        [option, none] if option == "--hooksdir" && none.is_empty() => false,
        _ => return None,
    };
    let folders = Folders::host();
    if !trust::is_empty(&folders.local) || (hooks && !trust::is_empty(&folders.hooks)) {
        return None;
    }
    let certificates = trust::listed(&folders)?;
    let there = names(&folders.trusted)?;
    let new: Vec<&Certificate> = certificates
        .iter()
        .filter(|certificate| !certificate.is_linked(&folders))
        .collect();
    let links = match new.as_slice() {
        [] => BTreeMap::new(),
        // Links by hash are made anew when there are none.
        _ if new.len() == certificates.len() && there.iter().all(|name| name == BUNDLE) => {
            by_hash(&certificates)?
        }
        _ => return None,
    };
    if there.contains(&format!("{BUNDLE}.new")) {
        return None;
    }
    Some(match write(&folders, &certificates, &new, &links) {
        Ok(()) => {
            say(format_args!("{} added, 0 removed; done.", new.len()));
            0
        }
        Err(error) => {
            say(format_args!("update-ca-certificates: {error}"));
            1
        }
    })
}

fn names(folder: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// Name of each link by hash → the link it leads to. Certificates that are there twice get one.
fn by_hash(certificates: &[Certificate]) -> Option<BTreeMap<String, String>> {
    let mut sorted: Vec<&Certificate> = certificates.iter().collect();
    sorted.sort_by(|one, other| one.link.cmp(&other.link));
    let mut known: BTreeMap<u32, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut links = BTreeMap::new();
    for certificate in sorted {
        let (hash, binary) = certificate.hashed()?;
        let same = known.entry(hash).or_default();
        let number = same.len();
        if same.insert(binary) {
            links.insert(format!("{hash:08x}.{number}"), certificate.link.clone());
        }
    }
    Some(links)
}

fn write(
    folders: &Folders,
    certificates: &[Certificate],
    new: &[&Certificate],
    links: &BTreeMap<String, String>,
) -> io::Result<()> {
    for certificate in new {
        symlink(&certificate.path, folders.trusted.join(&certificate.link))?;
    }
    for (name, target) in links {
        symlink(target, folders.trusted.join(name))?;
    }
    trust::write_bundle(folders, certificates)
}
