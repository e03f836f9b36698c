//! Pins: which versions apt prefers, and which it never takes (apt_preferences(5)).
//!
//! A lock chooses by them, and an image has them in `/etc/apt/preferences.d`, so that apt on the
//! host chooses alike. apt tells archives apart by the origin that their release files name.

use super::index::Candidate;
use crate::profile::Archive;
use crate::profile::glob::fits;
use std::collections::HashMap;

/// The priority of a version that nobody says anything about.
pub const USUAL: i16 = 500;
/// That of one in an archive with `NotAutomatic: yes`.
pub const ON_REQUEST: i16 = 1;
/// That of one in an archive with `ButAutomaticUpgrades: yes` beside it.
pub const UPGRADES: i16 = 100;
/// That of one which is not to be had.
const NEVER: i16 = -1;

/// How much a version is wanted because of one archive that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// A version below 1 is never taken; of others the highest priority wins.
    pub priority: i16,
    /// Place of the file that names this very package, and of the record in it: such a pin counts
    /// before all that speak of whole archives, and the first one before the others.
    pub named: Option<[usize; 2]>,
}

impl Pin {
    /// What an archive that says nothing else says of all its packages.
    pub const USUAL: Pin = Pin {
        priority: USUAL,
        named: None,
    };

    /// What an archive says of a version of a package that it has. `automatic` is the priority
    /// that its release file gives all of them, `place` that of its file among those of all
    /// archives.
    pub fn of(archive: &Archive, automatic: i16, place: usize, name: &str, version: &str) -> Pin {
        let says = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, name));
        let mut versions = archive.versions.iter().enumerate();
        let version = versions
            .find(|(_, (names, _))| fits(names, name))
            .map(|(index, (_, wanted))| (index, fits(wanted, version)));
        let usual = archive.priority.unwrap_or(USUAL);
        let (priority, record) = match version {
            _ if says(&archive.never) => (NEVER, Some(0)),
            Some((index, true)) => (usual, Some(1 + 2 * index)),
            Some((index, false)) => (NEVER, Some(2 + 2 * index)),
            None if says(&archive.packages) => (usual, Some(usize::MAX)),
            None if archive.packages.is_empty() => (archive.priority.unwrap_or(automatic), None),
            None => (NEVER, None),
        };
        Pin {
            priority,
            named: record.map(|record| [place, record]),
        }
    }

    /// What an archive says of a version wherever it is: apt does not tell its own from others'.
    pub fn of_version(archive: &Archive, place: usize, name: &str, version: &str) -> Option<Pin> {
        let mut versions = archive.versions.iter().enumerate();
        let (index, _) =
            versions.find(|(_, (names, wanted))| fits(names, name) && fits(wanted, version))?;
        Some(Pin {
            priority: archive.priority.unwrap_or(USUAL),
            named: Some([place, 1 + 2 * index]),
        })
    }

    /// Of two that speak of the same version, what counts for it.
    pub fn and(self, other: Pin) -> Pin {
        match (self.named, other.named) {
            (Some(one), Some(two)) if two < one => other,
            (Some(_), _) => self,
            (None, Some(_)) => other,
            (None, None) if other.priority > self.priority => other,
            (None, None) => self,
        }
    }
}

/// The priorities of versions.
#[derive(Debug, Default)]
pub struct Priorities<'a>(HashMap<[&'a str; 3], Pin>);

impl<'a> Priorities<'a> {
    /// Those of all these versions. The same file in several archives is one version.
    pub fn of(stanzas: &[Candidate<'a>]) -> Priorities<'a> {
        let mut pins = HashMap::new();
        // Where nobody says anything, versions need not be compared.
        if stanzas.iter().any(|stanza| stanza.pin != Pin::USUAL) {
            for stanza in stanzas {
                pins.entry(key(stanza))
                    .and_modify(|pin: &mut Pin| *pin = pin.and(stanza.pin))
                    .or_insert(stanza.pin);
            }
        }
        Priorities(pins)
    }

    /// That of one version.
    pub fn get(&self, stanza: &Candidate<'a>) -> i16 {
        self.0.get(&key(stanza)).map_or(USUAL, |pin| pin.priority)
    }
}

fn key<'a>(stanza: &Candidate<'a>) -> [&'a str; 3] {
    [stanza.name, stanza.version, stanza.sha256]
}

/// Name of the file below `/etc/apt/preferences.d` with the pins of an archive. apt reads these
/// files in the order of their names.
pub fn file_name(archive: &Archive) -> String {
    format!("{}.pref", archive.name)
}

/// What stands in it; nothing for an archive without pins.
pub fn preferences(archive: &Archive) -> Option<String> {
    if !archive.is_pinned() {
        return None;
    }
    let mut records = Vec::new();
    let mut pin = |names: &str, what: &str, priority: i16| {
        records.push(format!(
            "Package: {names}\nPin: {what}\nPin-Priority: {priority}\n"
        ));
    };
    let own = format!("release o={}", archive.origin);
    // The first that fits a package counts.
    if !archive.never.is_empty() {
        pin(&archive.never.join(" "), &own, NEVER);
    }
    for (names, version) in &archive.versions {
        let priority = archive.priority.unwrap_or(USUAL);
        pin(names, &format!("version {version}"), priority);
        pin(names, &own, NEVER);
    }
    match (archive.packages.as_slice(), archive.priority) {
        ([], None) => {}
        ([], Some(priority)) => pin("*", &own, priority),
        (packages, priority) => {
            pin(&packages.join(" "), &own, priority.unwrap_or(USUAL));
            pin("*", &own, NEVER);
        }
    }
    Some(records.join("\n"))
}
