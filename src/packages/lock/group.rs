//! Roles of one base that choose from the same archives.

use crate::packages::apt::archive::Suite;
use crate::packages::apt::index::{self, Universe};
use crate::packages::apt::pin::{self, Pin};
use crate::packages::error::PackagesError;
use crate::profile::{Archive, Base, Role, Stack};
use std::collections::BTreeMap;

/// What is done about updates that are still being phased in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phasing {
    /// They wait until every machine may have them.
    Waits,
    /// They are taken as if that were so already.
    Over,
}

/// Such roles.
pub struct Group<'a> {
    /// The roles, in the order of the stack.
    pub roles: Vec<&'a Role>,
    /// Their archives, each with the place of its pins in the order in which apt reads them.
    archives: BTreeMap<&'a str, (&'a Archive, usize)>,
    /// Their suites: numbers of those of the base.
    suites: Vec<usize>,
}

impl<'a> Group<'a> {
    /// All groups of a base, in the order of their first roles. Each suite is one of an archive
    /// of the base.
    pub fn all(stack: &'a Stack, base: &'a Base, suites: &[Suite]) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for role in stack.roles.iter().filter(|role| role.base == base.name) {
            let mut archives: Vec<&Archive> = base.archives.iter().collect();
            archives.retain(|archive| archive.is_for(role));
            archives.sort_by_key(|archive| pin::file_name(archive));
            let archives: BTreeMap<&str, (&Archive, usize)> = archives
                .into_iter()
                .enumerate()
                .map(|(place, archive)| (archive.name.as_str(), (archive, place)))
                .collect();
            let seen =
                |index: &usize| archives.contains_key(suites[*index].release.archive.as_str());
            let seen: Vec<usize> = (0..suites.len()).filter(seen).collect();
            match groups.iter_mut().find(|group| group.suites == seen) {
                Some(group) => group.roles.push(role),
                None => groups.push(Group {
                    roles: vec![role],
                    archives,
                    suites: seen,
                }),
            }
        }
        groups
    }

    /// What they choose from.
    pub fn universe<'s>(
        &self,
        base: &'s Base,
        suites: &'s [Suite],
        kept: &BTreeMap<&str, &str>,
        phasing: Phasing,
    ) -> Result<Universe<'s>, PackagesError> {
        let in_base = |source| PackagesError::Index {
            base: base.name.clone(),
            source,
        };
        let mut stanzas = Vec::new();
        for origin in self.suites.iter().copied() {
            let suite = &suites[origin];
            let first = stanzas.len();
            for text in &suite.indexes {
                stanzas.extend(index::parse(text, origin, &base.architecture).map_err(in_base)?);
            }
            let archive = self.archives.get(suite.release.archive.as_str());
            let usual = |archive: &Archive| !archive.is_pinned() && suite.priority == pin::USUAL;
            if let Some((archive, place)) = archive.filter(|(archive, _)| !usual(archive)) {
                for stanza in &mut stanzas[first..] {
                    let (name, version) = (stanza.name, stanza.version);
                    stanza.pin = Pin::of(archive, suite.priority, *place, name, version);
                }
            }
        }
        let by_version = self.archives.values();
        for (archive, place) in by_version.filter(|(archive, _)| !archive.versions.is_empty()) {
            for stanza in &mut stanzas {
                let said = Pin::of_version(archive, *place, stanza.name, stanza.version);
                stanza.pin = said.map_or(stanza.pin, |said| stanza.pin.and(said));
            }
        }
        if phasing == Phasing::Over {
            for stanza in &mut stanzas {
                stanza.phased = 100;
            }
        }
        Universe::new(stanzas, kept).map_err(in_base)
    }
}
