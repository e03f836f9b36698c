//! The archives of a stack: those of its bases, and those that services bring.

use super::notes::Notes;
use super::problem::suggest_or_list;
use super::source::Source;
use super::{Archive, Base, ProfileError, Role};
use std::collections::{BTreeMap, BTreeSet};

/// An archive as a service describes it.
pub struct Brought {
    /// With `{codename}`, `{family}` and `{version}` where those of the base belong.
    pub archive: Archive,
    /// Bases that it is for; all when empty.
    pub bases: Vec<String>,
    /// Path of its place.
    pub place: String,
}

/// Reads the certificates that sign an archive, a file in the same folder of `profiles`.
pub fn keys(
    archive: &mut Archive,
    folder: &str,
    place: &str,
    source: &Source,
    notes: &Notes,
) -> Result<(), ProfileError> {
    let file = format!("profiles/{folder}/{}", archive.keys);
    match source.read(&file)? {
        Some(found) => archive.keys = found.text.content.to_string(),
        None if archive.keys.is_empty() => {}
        None => notes.problem(
            &format!("{place}/keys"),
            format!("there is no file `{file}`"),
            format!(
                "it holds the certificates that sign the archive `{}`",
                archive.name
            ),
            None,
        ),
    }
    Ok(())
}

/// Adds to each base what the services of roles on it bring, and checks that no two archives of
/// a base are confused. `known` are the names of all bases there are.
pub fn settle(
    roles: &[Role],
    brought: &BTreeMap<String, Vec<Brought>>,
    bases: &mut BTreeMap<String, Base>,
    known: &BTreeSet<String>,
    notes: &Notes,
) {
    for one in brought.values().flatten() {
        for (index, name) in one.bases.iter().enumerate() {
            if !known.contains(name) {
                notes.problem(
                    &format!("{}/bases/{index}", one.place),
                    format!("there is no base `{name}`"),
                    format!("the archive `{}` names it", one.archive.name),
                    suggest_or_list(name, known.iter().map(String::as_str)),
                );
            }
        }
    }
    for base in bases.values_mut() {
        let path = format!("base/{}/archive", base.name);
        let mut places: Vec<String> = (0..base.archives.len())
            .map(|index| format!("{path}/{index}"))
            .collect();
        same_names(base, &places, notes);
        let on_it = roles.iter().filter(|role| role.base == base.name);
        let services: BTreeSet<&String> = on_it.flat_map(|role| &role.services).collect();
        for service in services {
            for one in brought.get(service).into_iter().flatten() {
                if one.bases.is_empty() || one.bases.contains(&base.name) {
                    let archive = filled(one, base, notes);
                    if add(base, service, archive, &one.place, notes) {
                        places.push(one.place.clone());
                    }
                }
            }
        }
        same_origins(base, &places, notes);
    }
}

/// Adds an archive that a service brings. Whether it is another one than those there are.
fn add(base: &mut Base, service: &str, archive: Archive, place: &str, notes: &Notes) -> bool {
    let same_name = |known: &&mut Archive| known.name == archive.name;
    let Some(known) = base.archives.iter_mut().find(same_name) else {
        base.archives.push(Archive {
            services: vec![service.to_owned()],
            ..archive
        });
        return true;
    };
    let unlike = unlike(known, &archive);
    if !unlike.is_empty() {
        let other = match known.services.first() {
            Some(service) => format!("the service `{service}`"),
            None => "the base itself".to_owned(),
        };
        notes.problem(
            &format!("{place}/name"),
            format!(
                "two archives of `{}` are called `{}`",
                base.name, known.name
            ),
            format!(
                "{other} brings the other one, with another {}",
                unlike.join(", ")
            ),
            Some("describe both alike, or give this one a name of its own".into()),
        );
    } else if !known.services.is_empty() && !known.services.iter().any(|known| known == service) {
        known.services.push(service.to_owned());
    }
    false
}

/// The keys of two archives' tables that differ.
fn unlike(one: &Archive, other: &Archive) -> Vec<&'static str> {
    let same = [
        ("mirror", one.mirror == other.mirror),
        ("origin", one.origin == other.origin),
        ("suites", one.suites == other.suites),
        ("components", one.components == other.components),
        ("fingerprints", one.fingerprints == other.fingerprints),
        ("keys", one.keys == other.keys),
        ("snapshot", one.snapshot == other.snapshot),
        ("packages", one.packages == other.packages),
        ("never", one.never == other.never),
        ("versions", one.versions == other.versions),
        ("priority", one.priority == other.priority),
    ];
    let unlike = same.into_iter().filter(|(_, same)| !same);
    unlike.map(|(key, _)| key).collect()
}

/// An archive with what the base is called in its place.
fn filled(one: &Brought, base: &Base, notes: &Notes) -> Archive {
    let fill = |text: &str, key: &str, known: &[&str]| {
        let filled = text
            .replace("{codename}", &base.codename)
            .replace("{family}", &base.family)
            .replace("{version}", &base.version);
        let rest = known
            .iter()
            .fold(filled.clone(), |rest, word| rest.replace(word, ""));
        if rest.contains(['{', '}']) {
            notes.problem(
                &format!("{}/{key}", one.place),
                format!("`{text}` names what an archive does not know"),
                "{codename}, {family} and {version} of the base can stand here".into(),
                None,
            );
        }
        filled
    };
    let mut archive = one.archive.clone();
    archive.mirror = fill(&archive.mirror, "mirror", &[]);
    archive.origin = fill(&archive.origin, "origin", &[]);
    for suite in &mut archive.suites {
        *suite = fill(suite, "suites", &[]);
    }
    let snapshot = archive.snapshot.take();
    archive.snapshot = snapshot.map(|text| fill(&text, "snapshot", &["{moment}", "{path}"]));
    archive
}

/// The name of an archive is its own.
fn same_names(base: &Base, places: &[String], notes: &Notes) {
    for (index, archive) in base.archives.iter().enumerate() {
        let before = &base.archives[..index];
        if before.iter().any(|other| other.name == archive.name) {
            notes.problem(
                &format!("{}/name", places[index]),
                format!(
                    "two archives of `{}` are called `{}`",
                    base.name, archive.name
                ),
                "this is the second".into(),
                None,
            );
        }
    }
}

/// Archives that pins treat differently can be told apart by apt, which knows their origins.
fn same_origins(base: &Base, places: &[String], notes: &Notes) {
    let pins = |archive: &Archive| {
        let Archive {
            packages,
            never,
            versions,
            priority,
            ..
        } = archive;
        (packages.clone(), never.clone(), versions.clone(), *priority)
    };
    for (index, archive) in base.archives.iter().enumerate() {
        let other = base.archives[..index]
            .iter()
            .find(|other| other.origin == archive.origin && pins(other) != pins(archive));
        if let Some(other) = other {
            notes.problem(
                &format!("{}/origin", places[index]),
                format!(
                    "apt cannot tell the archives `{}` and `{}` of `{}` apart",
                    other.name, archive.name, base.name
                ),
                format!(
                    "both have the origin `{}`, and their `packages`, `never`, `versions` or \
                     `priority` differ",
                    archive.origin
                ),
                Some("say the same of both, or nothing of either".into()),
            );
        }
    }
}
