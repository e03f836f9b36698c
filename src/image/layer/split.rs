//! Which packages of a role its base brings: what the base itself names, and all that these
//! need. The other packages of the role are configured above them.

use super::Layers;
use super::key::Key;
use crate::image::deb::Control;
use crate::image::error::Error;
use crate::image::job::Job;
use crate::image::member::names;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The packages of a role beside the essential ones: keys of the lock in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Split {
    /// Those of the base.
    pub base: Vec<String>,
    /// Those of the role.
    pub role: Vec<String>,
}

impl Split {
    /// What a build before found for the same packages.
    pub fn known(job: &Job, layers: &Layers) -> Result<Option<Split>, Error> {
        let name = format!("{}.split", key(job)?);
        let text = fs::read(layers.folder().join(name)).unwrap_or_default();
        let Ok(split) = serde_json::from_slice::<Split>(&text) else {
            return Ok(None);
        };
        // What is not these packages was not written by a build.
        let mut all: Vec<&String> = split.base.iter().chain(&split.role).collect();
        let mut wanted: Vec<&String> = job.closure()?.packages.iter().collect();
        all.sort();
        wanted.sort();
        Ok((all == wanted).then_some(split))
    }

    /// Finds it from what the packages say of themselves: their control archives, in the order of
    /// the lock.
    pub fn find(job: &Job, controls: &[&Control]) -> Result<Split, Error> {
        let closure = job.closure()?;
        let packages = job.packages(&closure.packages)?;
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut needs = Vec::new();
        for (index, (package, control)) in packages.iter().zip(controls).enumerate() {
            let field = |name: &str| control.field(name).unwrap_or_default();
            by_name.entry(package.name.clone()).or_default().push(index);
            for name in names(field("Provides")) {
                by_name.entry(name.to_owned()).or_default().push(index);
            }
            needs.push([field("Pre-Depends"), field("Depends")].join(", "));
        }
        let base = job.base()?;
        let kernels = base.kernels.values().chain([&base.kernel]);
        let own = base.packages.iter().chain(&base.boot).chain(kernels);
        let mut waiting: Vec<usize> = own
            .filter_map(|name| by_name.get(name)?.first())
            .copied()
            .collect();
        let mut found = BTreeSet::new();
        while let Some(index) = waiting.pop() {
            if found.insert(index) {
                // Of alternatives, and of those who provide one, everything that is there.
                let needed = names(&needs[index]).filter_map(|name| by_name.get(name));
                waiting.extend(needed.flatten());
            }
        }
        let (mut base, mut role) = (Vec::new(), Vec::new());
        for (index, key) in closure.packages.iter().enumerate() {
            let side = match found.contains(&index) {
                true => &mut base,
                false => &mut role,
            };
            side.push(key.clone());
        }
        Ok(Split { base, role })
    }

    /// Keeps it for the next build.
    pub fn keep(&self, job: &Job, layers: &Layers) -> Result<(), Error> {
        let path = layers.folder().join(format!("{}.split", key(job)?));
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::Layout(format!("the packages do not fit JSON: {error}")))?;
        let written = tempfile::NamedTempFile::new_in(layers.folder()).and_then(|mut file| {
            std::io::Write::write_all(&mut file, &text)?;
            file.persist(&path).map_err(|error| error.error)
        });
        written.map(drop).map_err(Error::io("cannot write", path))
    }
}

fn key(job: &Job) -> Result<String, Error> {
    let closure = job.closure()?;
    let base = job.base()?;
    let mut key = Key::new("split", job, "");
    key.packages(&job.packages(&closure.packages)?);
    key.value(&(&base.packages, &base.boot, &base.kernel, &base.kernels))?;
    Ok(key.hex())
}
