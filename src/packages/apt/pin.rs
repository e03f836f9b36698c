//! Pins: which versions apt prefers, and which it never takes (apt_preferences(5)).
//!
//! A lock chooses by them, and an image has them in `/etc/apt/preferences.d`, so that apt on the
//! host chooses alike. apt tells archives apart by the origin that their release files name.

use super::index::Candidate;
use crate::profile::Archive;
use crate::profile::glob::fits;
use std::collections::HashMap;
use std::fmt::Write as _;

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
    /// Place of the file that names this very package: such a pin counts before all that speak
    /// of whole archives, and the first file before the others.
    pub named: Option<usize>,
}

impl Pin {
    /// What an archive that says nothing else says of all its packages.
    pub const USUAL: Pin = Pin {
        priority: USUAL,
        named: None,
    };

    /// What an archive says of a package. `automatic` is the priority that its release file
    /// gives all of them, `place` that of its file among those of all archives.
    pub fn of(archive: &Archive, automatic: i16, place: usize, name: &str) -> Pin {
        let says = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, name));
        let (priority, named) = if says(&archive.never) {
            (NEVER, true)
        } else if says(&archive.packages) {
            (archive.priority.unwrap_or(USUAL), true)
        } else if archive.packages.is_empty() {
            (archive.priority.unwrap_or(automatic), false)
        } else {
            (NEVER, false)
        };
        Pin {
            priority,
            named: named.then_some(place),
        }
    }

    /// Of two archives that have the same version, what counts for it.
    fn and(self, other: Pin) -> Pin {
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
    let mut text = String::new();
    let mut pin = |names: &str, priority: i16| {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(
            text,
            "{gap}Package: {names}\nPin: release o={}\nPin-Priority: {priority}\n",
            archive.origin
        );
    };
    // The first that fits a package counts.
    if !archive.never.is_empty() {
        pin(&archive.never.join(" "), NEVER);
    }
    match (archive.packages.as_slice(), archive.priority) {
        ([], None) => {}
        ([], Some(priority)) => pin("*", priority),
        (packages, priority) => {
            pin(&packages.join(" "), priority.unwrap_or(USUAL));
            pin("*", NEVER);
        }
    }
    Some(text)
}
