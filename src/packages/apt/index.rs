//! `Packages` files, and the universe of packages a resolver may choose from.

use super::dependency;
use super::pin::{ON_REQUEST, Pin, Priorities};
use super::{deb822, version};
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

/// One stanza of a `Packages` file, borrowed from its text.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// `Package`.
    pub name: &'a str,
    /// `Version`.
    pub version: &'a str,
    /// `Architecture`: the system's own or `all`.
    pub architecture: &'a str,
    /// The system's own.
    pub native: &'a str,
    /// `Multi-Arch: allowed` lets others ask for it as `:any`.
    pub multi_arch: &'a str,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Protected: yes`, or `Important: yes` as it was called before.
    pub protected: bool,
    /// 1 (required) to 5 (extra, unknown).
    pub priority: u8,
    /// `Pre-Depends`, unread.
    pub pre_depends: &'a str,
    /// `Depends`, unread.
    pub depends: &'a str,
    /// `Recommends`, unread.
    pub recommends: &'a str,
    /// `Conflicts`, unread.
    pub conflicts: &'a str,
    /// `Breaks`, unread.
    pub breaks: &'a str,
    /// `Suggests`, unread.
    pub suggests: &'a str,
    /// `Replaces`, unread.
    pub replaces: &'a str,
    /// `Enhances`, unread.
    pub enhances: &'a str,
    /// `Provides`, unread.
    pub provides: &'a str,
    /// `Filename`.
    pub path: &'a str,
    /// `Size`.
    pub size: u64,
    /// `SHA256`, lower-case hex.
    pub sha256: &'a str,
    /// `Phased-Update-Percentage`: how many machines of a hundred the archive offers it to so
    /// far; 100 without the field, 0 when it was stopped.
    pub phased: u8,
    /// Which index it came from: a number the caller chose; smaller is preferred.
    pub origin: usize,
    /// How much it is wanted because it came from there.
    pub pin: Pin,
}

/// A stanza that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IndexError {
    /// A field is missing or makes no sense.
    #[error("package {package}: the field {field} is missing or wrong")]
    Field {
        /// Package name, or `?`.
        package: String,
        /// Field name.
        field: &'static str,
    },
    /// A relation cannot be read.
    #[error("package {package}: {problem}")]
    Relation {
        /// Package name.
        package: String,
        /// What is wrong.
        problem: dependency::BadRelation,
    },
}

/// Reads a `Packages` file; stanzas of other architectures are left out.
pub fn parse<'a>(
    text: &'a str,
    origin: usize,
    architecture: &'a str,
) -> Result<Vec<Candidate<'a>>, IndexError> {
    let mut all = Vec::new();
    for stanza in deb822::stanzas(text) {
        let candidate = parse_stanza(stanza, origin, architecture)?;
        if candidate.architecture == architecture || candidate.architecture == "all" {
            all.push(candidate);
        }
    }
    Ok(all)
}

fn parse_stanza<'a>(
    stanza: deb822::Stanza<'a>,
    origin: usize,
    native: &'a str,
) -> Result<Candidate<'a>, IndexError> {
    let mut candidate = Candidate {
        name: "",
        version: "",
        architecture: "",
        native,
        multi_arch: "",
        essential: false,
        protected: false,
        priority: 5,
        pre_depends: "",
        depends: "",
        recommends: "",
        conflicts: "",
        breaks: "",
        suggests: "",
        replaces: "",
        enhances: "",
        provides: "",
        path: "",
        size: 0,
        sha256: "",
        phased: 100,
        origin,
        pin: Pin::USUAL,
    };
    let mut unphased = false;
    for (name, value) in stanza.fields() {
        match name {
            "Package" => candidate.name = value,
            "Version" => candidate.version = value,
            "Architecture" => candidate.architecture = value,
            "Multi-Arch" => candidate.multi_arch = value,
            "Essential" => candidate.essential = value == "yes",
            "Protected" | "Important" => candidate.protected |= value == "yes",
            "Priority" => {
                candidate.priority = match value {
                    "required" => 1,
                    "important" => 2,
                    "standard" => 3,
                    "optional" => 4,
                    _ => 5,
                }
            }
            "Pre-Depends" => candidate.pre_depends = value,
            "Depends" => candidate.depends = value,
            "Recommends" => candidate.recommends = value,
            "Conflicts" => candidate.conflicts = value,
            "Breaks" => candidate.breaks = value,
            "Suggests" => candidate.suggests = value,
            "Replaces" => candidate.replaces = value,
            "Enhances" => candidate.enhances = value,
            "Provides" => candidate.provides = value,
            "Filename" => candidate.path = value,
            "Size" => candidate.size = value.parse().unwrap_or(0),
            "SHA256" => candidate.sha256 = value,
            "Phased-Update-Percentage" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                match value.parse() {
                    Ok(percentage @ 0..=100) if digits => candidate.phased = percentage,
                    _ => unphased = true,
                }
            }
            _ => {}
        }
    }
    let wrong = |field| IndexError::Field {
        package: match candidate.name {
            "" => "?".to_owned(),
            name => name.to_owned(),
        },
        field,
    };
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    // A path that leaves the mirror is an attack or a mistake; neither is fetched.
    let climbs = candidate.path.starts_with('/') || candidate.path.split('/').any(|p| p == "..");
    if !is_name(candidate.name) {
        return Err(wrong("Package"));
    } else if !is_version(candidate.version) {
        return Err(wrong("Version"));
    } else if candidate.architecture.is_empty() {
        return Err(wrong("Architecture"));
    } else if candidate.path.is_empty() || climbs {
        return Err(wrong("Filename"));
    } else if candidate.size == 0 {
        return Err(wrong("Size"));
    } else if !hex(candidate.sha256) {
        return Err(wrong("SHA256"));
    } else if unphased {
        return Err(wrong("Phased-Update-Percentage"));
    }
    Ok(candidate)
}

/// Whether dpkg takes this for the name of a package. It becomes a part of file names.
pub fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(legal)
}

/// Whether a version has only letters that versions are made of (deb-version(7)).
pub fn is_version(version: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte);
    !version.is_empty() && version.bytes().all(legal)
}

/// A name that a package provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provided<'a> {
    /// The package.
    pub id: usize,
    /// The version it provides it at.
    pub version: Option<&'a str>,
    /// What stands after the colon of the name.
    pub qualifier: Option<&'a str>,
}

/// Everything a resolver may choose: one version of each package, and who provides what.
#[derive(Debug, Default)]
pub struct Universe<'a> {
    /// Candidates, sorted by name.
    pub candidates: Vec<Candidate<'a>>,
    /// All that the indexes have, in their order.
    stanzas: Vec<Candidate<'a>>,
    /// Packages of which pins keep some version out.
    barred: HashSet<&'a str>,
    heard: OnceCell<HashMap<&'a str, usize>>,
    names: HashMap<&'a str, usize>,
    providers: HashMap<&'a str, Vec<Provided<'a>>>,
}

impl<'a> Universe<'a> {
    /// Takes, of each package, among the versions with the highest priority the one in `kept` if
    /// some index still has it, else the highest that some index offers to every machine, else
    /// the highest; of equal versions the one whose origin is preferred.
    ///
    /// apt draws lots, from the machine's own id, which machine takes an update while it is
    /// being phased in, and an update that does harm is stopped on the way. An image becomes
    /// many machines, and a lock says the same on each of them: so it waits for the end, as apt
    /// does with `APT::Get::Never-Include-Phased-Updates`.
    pub fn new(
        stanzas: Vec<Candidate<'a>>,
        kept: &BTreeMap<&str, &str>,
    ) -> Result<Self, IndexError> {
        let offered = offered(&stanzas);
        let priorities = Priorities::of(&stanzas);
        let merit = |candidate: &Candidate<'a>| {
            let kept = kept.get(candidate.name).copied() == Some(candidate.version);
            let offered =
                candidate.phased == 100 || offered.contains(&(candidate.name, candidate.version));
            let priority = priorities.get(candidate);
            Merit {
                priority: match kept || offered {
                    true => priority,
                    false => priority.min(ON_REQUEST),
                },
                kept,
                offered,
            }
        };
        let mut barred = HashSet::new();
        let mut best: HashMap<&'a str, Candidate<'a>> = HashMap::with_capacity(stanzas.len());
        for stanza in stanzas.iter().copied() {
            if priorities.get(&stanza) < 1 {
                barred.insert(stanza.name);
                continue;
            }
            best.entry(stanza.name)
                .and_modify(|known| {
                    if is_better(&stanza, known, merit) {
                        *known = stanza;
                    }
                })
                .or_insert(stanza);
        }
        let mut candidates: Vec<Candidate<'a>> = best.into_values().collect();
        candidates.sort_unstable_by_key(|candidate| candidate.name);
        let mut universe = Universe {
            names: HashMap::with_capacity(candidates.len()),
            stanzas,
            barred,
            ..Universe::default()
        };
        for (id, candidate) in candidates.iter().enumerate() {
            universe.names.insert(candidate.name, id);
            let provides =
                dependency::parse(candidate.provides).map_err(|problem| IndexError::Relation {
                    package: candidate.name.to_owned(),
                    problem,
                })?;
            for entry in provides.into_iter().flatten() {
                universe
                    .providers
                    .entry(entry.name)
                    .or_default()
                    .push(Provided {
                        id,
                        version: entry.version.map(|(_, version)| version),
                        qualifier: entry.qualifier,
                    });
            }
        }
        universe.candidates = candidates;
        Ok(universe)
    }

    /// The package of this very name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Whether archives have a package of this very name, and pins keep every version of it out.
    pub fn is_barred(&self, name: &str) -> bool {
        self.find(name).is_none() && self.barred.contains(name)
    }

    /// Packages that provide this name.
    pub fn providers(&self, name: &str) -> &[Provided<'a>] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// How early apt hears of a name when it reads the indexes from front to back: as the name
    /// of a package, or in a relation of one. It numbers packages so, and its numbers decide
    /// where nothing else does. Worked out when first asked for.
    pub fn heard(&self, name: &str) -> Option<usize> {
        let heard = self.heard.get_or_init(|| {
            let mut heard = HashMap::with_capacity(self.stanzas.len() * 2);
            for stanza in &self.stanzas {
                let fields = [
                    stanza.pre_depends,
                    stanza.depends,
                    stanza.conflicts,
                    stanza.breaks,
                    stanza.recommends,
                    stanza.suggests,
                    stanza.replaces,
                    stanza.enhances,
                    stanza.provides,
                ];
                let relations = fields.iter().flat_map(|field| field.split([',', '|']));
                for name in std::iter::once(stanza.name).chain(relations) {
                    let name = name.trim_start();
                    let end = name.find([' ', '(', '\n', '\t']).unwrap_or(name.len());
                    // One of any or of another architecture is another package to apt.
                    let next = heard.len();
                    heard.entry(&name[..end]).or_insert(next);
                }
            }
            heard
        });
        heard.get(name).copied()
    }

    /// The existing name most like `name`, if any is close.
    pub fn nearest(&self, name: &str) -> Option<&'a str> {
        let score = |known: &str| strsim::jaro_winkler(known, name);
        self.candidates
            .iter()
            .map(|candidate| candidate.name)
            .filter(|known| score(known) > 0.85)
            .max_by(|left, right| {
                score(left)
                    .total_cmp(&score(right))
                    .then_with(|| right.cmp(left))
            })
    }
}

/// Versions that one index is still phasing in, and another offers to every machine: what a
/// security pocket has, all may have.
fn offered<'a>(stanzas: &[Candidate<'a>]) -> HashSet<(&'a str, &'a str)> {
    let key = |candidate: &Candidate<'a>| (candidate.name, candidate.version);
    let phased = stanzas.iter().filter(|candidate| candidate.phased < 100);
    let phased: HashSet<_> = phased.map(key).collect();
    // Outside Ubuntu nothing is phased, and all versions need not be compared.
    if phased.is_empty() {
        return phased;
    }
    let whole = stanzas.iter().filter(|candidate| candidate.phased == 100);
    whole.map(key).filter(|key| phased.contains(key)).collect()
}

/// What counts before the version does, the first first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Merit {
    /// What pins say; apt gives an update that it waits for the lowest there is.
    priority: i16,
    /// It is the one of the lock.
    kept: bool,
    /// Every machine may have it.
    offered: bool,
}

fn is_better<'a>(
    new: &Candidate<'a>,
    known: &Candidate<'a>,
    merit: impl Fn(&Candidate<'a>) -> Merit,
) -> bool {
    let order = merit(new)
        .cmp(&merit(known))
        .then_with(|| version::compare(new.version, known.version))
        .then_with(|| known.origin.cmp(&new.origin));
    order == Ordering::Greater
}
