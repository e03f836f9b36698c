//! Where the path of a member really is, once the links on the way to it are followed.

use super::error::Refusal;
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Links that are followed on the way to one place (path_resolution(7)).
const LINKS: usize = 40;

/// What is known of the directories of a root.
#[derive(Debug, Default)]
pub struct Ground {
    /// Directories below the root that are there and are no links; nothing replaces them.
    solid: Mutex<HashSet<String>>,
}

impl Ground {
    /// Where a path below the root really is: links among its parents are followed, and none
    /// leads out of the root. A package of which one member lies behind a link that is another
    /// of its members (`links`) was not made from a tree of files.
    pub fn settle(
        &self,
        root: &Path,
        path: &str,
        links: &BTreeSet<String>,
    ) -> Result<String, Refusal> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok(path.to_owned());
        };
        if !links.is_empty() {
            let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(link) = ends.into_iter().find(|parent| links.contains(*parent)) {
                return Err(Refusal::OwnLink(format!("./{link}")));
            }
        }
        let mut solid = self.solid.lock().unwrap_or_else(PoisonError::into_inner);
        if solid.contains(parent) {
            return Ok(path.to_owned());
        }
        let mut real: Vec<String> = Vec::new();
        // What is still to be walked, the next part last, and the link that it comes from.
        let mut ahead: Vec<(String, Option<String>)> = Vec::new();
        ahead.extend(parent.split('/').rev().map(|part| (part.to_owned(), None)));
        let mut followed = 0;
        while let Some((part, of)) = ahead.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    real.pop();
                    continue;
                }
                _ => real.push(part),
            }
            let here = real.join("/");
            if solid.contains(&here) {
                continue;
            }
            let at = root.join(&here);
            match fs::symlink_metadata(&at).map(|found| found.file_type()) {
                Ok(kind) if kind.is_symlink() => {
                    followed += 1;
                    let link = fs::read_link(&at).unwrap_or_default();
                    let link = link.to_string_lossy().into_owned();
                    if followed > LINKS {
                        return Err(Refusal::DeadLink(format!("/{here}"), link));
                    }
                    real.pop();
                    if link.starts_with('/') {
                        real.clear();
                    }
                    let parts = link.split('/').rev();
                    ahead.extend(parts.map(|part| (part.to_owned(), Some(here.clone()))));
                }
                Ok(kind) if kind.is_dir() => {
                    solid.insert(here);
                }
                // Directories of the package itself may come later in it.
                _ => {
                    if let Some(link) = of {
                        return Err(Refusal::DeadLink(format!("/{link}"), format!("/{here}")));
                    }
                }
            }
        }
        real.push(name.to_owned());
        Ok(real.join("/"))
    }
}
