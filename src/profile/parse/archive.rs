//! `[[archive]]` of a base or of a service.

use crate::profile::Archive;
use crate::profile::archives::Brought;
use crate::profile::glob::is_odd;
use crate::profile::reader::Table;
use std::collections::BTreeMap;

/// The archives of a base.
pub fn of_base(top: &Table<'_>) -> Vec<Archive> {
    let read = |table: &Table<'_>| {
        let archive = archive(table);
        table.done();
        archive
    };
    top.tables("archive").iter().map(read).collect()
}

/// The archives that a service brings.
pub fn of_service(top: &Table<'_>) -> Vec<Brought> {
    let read = |table: &Table<'_>| {
        let brought = Brought {
            archive: archive(table),
            bases: table.texts("bases"),
            place: table.path.clone(),
        };
        table.done();
        brought
    };
    top.tables("archive").iter().map(read).collect()
}

fn archive(table: &Table<'_>) -> Archive {
    let list = |key: &str| {
        let list = table.texts(key);
        if list.is_empty() {
            table.problem(
                key,
                format!("[[archive]] has no `{key}`"),
                "a list with at least one entry is expected".into(),
                None,
            );
        }
        list
    };
    let suites = list("suites");
    let flat = suites.iter().filter(|suite| suite.ends_with('/')).count();
    let components = match flat {
        0 => list("components"),
        _ => table.texts("components"),
    };
    let mixed = flat > 0 && flat < suites.len();
    if mixed || flat > 0 && !components.is_empty() {
        let (key, what) = match mixed {
            true => (
                "suites",
                "some of these suites are folders and some are not",
            ),
            false => ("components", "a folder of packages has no components"),
        };
        table.problem(
            key,
            what.into(),
            "a suite that ends with a slash is a folder with packages and their list, as in \
             sources.list(5)"
                .into(),
            Some("describe folders and suites as two archives, folders without components".into()),
        );
    }
    let archive = Archive {
        name: table.required_name("name"),
        mirror: table.required("mirror"),
        origin: table.required("origin"),
        suites,
        components,
        fingerprints: list("fingerprints"),
        keys: table.required("keys"),
        snapshot: table.text("snapshot"),
        packages: patterns(table, "packages"),
        never: patterns(table, "never"),
        versions: versions(table),
        priority: table
            .number("priority", 1, 32767)
            .and_then(|priority| i16::try_from(priority).ok()),
        services: Vec::new(),
    };
    fingerprints(table, &archive.fingerprints);
    let origin = archive.origin.as_str();
    let odd = origin.starts_with('/') || origin.contains([',', '*', '?', '[', ']', '\\']);
    if archive.is_pinned() && odd {
        table.problem(
            "origin",
            format!("apt cannot pin an archive with the origin `{origin}`"),
            "in its preferences a comma ends an origin, and * ? [ ] \\ and a slash in front stand \
             for other things"
                .into(),
            Some("leave out `packages`, `never`, `versions` and `priority`".into()),
        );
    }
    archive
}

/// Refuses what is no fingerprint of an OpenPGP key.
pub fn fingerprints(table: &Table<'_>, fingerprints: &[String]) {
    for fingerprint in fingerprints {
        let hex = fingerprint
            .chars()
            .all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c));
        if !hex || !matches!(fingerprint.len(), 40 | 64) {
            table.problem(
                "fingerprints",
                format!("`{fingerprint}` is not a fingerprint"),
                "40 (or 64) upper-case hexadecimal digits without spaces are expected".into(),
                None,
            );
        }
    }
}

/// Patterns of package names, and of the versions of each.
fn versions(table: &Table<'_>) -> BTreeMap<String, String> {
    let versions = table.scalars("versions");
    for (name, version) in &versions {
        let legal = |c: char| c.is_ascii_alphanumeric() || ".+~:-*?".contains(c);
        let what = match () {
            () if !is_pattern(name) => format!("`{name}` is not a pattern for names of packages"),
            () if version.trim_matches('*').is_empty() || !version.chars().all(legal) => {
                format!("`{version}` is not a pattern for versions")
            }
            () => continue,
        };
        table.problem(
            "versions",
            what,
            "a name and a version are expected, for example `agent = \"7.*\"`: `*` stands for any \
             characters and `?` for one"
                .into(),
            None,
        );
    }
    versions
}

fn is_pattern(pattern: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.*?".contains(c);
    !is_odd(pattern) && pattern.chars().all(legal) && !pattern.trim_matches('*').is_empty()
}

/// Patterns of package names.
fn patterns(table: &Table<'_>, key: &str) -> Vec<String> {
    let patterns = table.texts(key);
    for pattern in &patterns {
        if !is_pattern(pattern) {
            table.problem(
                key,
                format!("`{pattern}` is not a pattern for names of packages"),
                "a name is expected, in which `*` stands for any characters and `?` for one".into(),
                pattern
                    .chars()
                    .all(|c| c == '*')
                    .then(|| format!("for all packages leave `{key}` out")),
            );
        }
    }
    patterns
}
