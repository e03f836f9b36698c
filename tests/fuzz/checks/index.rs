//! deb822(5): paragraphs, and what is made of them as `Packages` and `Release`.

use muster::packages::apt::dependency::Bearing;
use muster::packages::apt::index::Universe;
use muster::packages::apt::{deb822, dependency, index, release, resolver};
use std::collections::BTreeMap;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    paragraphs(text);
    if let Ok(release) = release::parse(text) {
        for listed in release.files.values() {
            assert_eq!(listed.sha256.len(), 64);
            assert_eq!(listed.sha256, listed.sha256.to_ascii_lowercase());
        }
    }
    relations(text);
    if let Ok(candidates) = index::parse(text, 0, "amd64") {
        let names: Vec<String> = candidates.iter().map(|c| c.name.to_owned()).collect();
        for candidate in &candidates {
            assert!(!candidate.path.split('/').any(|part| part == ".."));
            assert!(!candidate.name.contains(['/', '\n', ' ']));
            assert!(!candidate.version.contains(['/', '\n', ' ']));
        }
        if let Ok(universe) = Universe::new(candidates, &BTreeMap::new())
            && let Ok(closure) = resolver::resolve(&universe, &names, true)
        {
            closed(&universe, &closure.into_iter().collect::<Vec<_>>());
        }
    }
}

/// What is read and written again reads the same; every field has one line for its name.
fn paragraphs(text: &str) {
    type Paragraphs = Vec<Vec<(String, String)>>;
    let read = |text: &str| -> Paragraphs {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        deb822::stanzas(text)
            .map(|stanza| stanza.fields().map(owned).collect::<Vec<_>>())
            .filter(|fields| !fields.is_empty())
            .collect()
    };
    let all = read(text);
    let mut written = String::new();
    let mut length = 0;
    for fields in &all {
        for (name, value) in fields {
            assert!(!name.contains(['\n', ':']), "{name:?}");
            assert!(!value.contains("\n\n"), "{value:?}");
            length += name.len() + value.len() + 1;
            written.push_str(&format!("{name}: {value}\n"));
        }
        written.push('\n');
    }
    assert!(length <= text.len());
    assert_eq!(read(&written), all, "{written:?}");
}

/// A relation field that can be read is what it prints as.
fn relations(text: &str) {
    let Ok(groups) = dependency::parse(text) else {
        return;
    };
    let print = |group: &Vec<dependency::Relation<'_>>| {
        let all: Vec<String> = group.iter().map(ToString::to_string).collect();
        all.join(" | ")
    };
    let printed: Vec<String> = groups.iter().map(print).collect();
    assert_eq!(dependency::parse(&printed.join(", ")).unwrap(), groups);
}

/// Every relation of a closure holds in it, and nothing in it conflicts with another.
pub fn closed(universe: &Universe<'_>, closure: &[usize]) {
    for id in closure {
        let candidate = &universe.candidates[*id];
        let fitting = |relation: &dependency::Relation<'_>| -> Vec<usize> {
            let reaches = |id: usize, bearing| {
                let other = &universe.candidates[id];
                relation.reaches(other.native, other.multi_arch == "allowed", bearing)
            };
            let named = universe.find(relation.name).filter(|other| {
                relation.accepts(universe.candidates[*other].version)
                    && reaches(*other, Bearing::Own)
            });
            let provided = universe.providers(relation.name).iter();
            let provided = provided
                .filter(|provided| {
                    relation.accepts_provided(provided.version)
                        && reaches(provided.id, Bearing::Provided(provided.qualifier))
                })
                .map(|provided| provided.id);
            let all = named.into_iter().chain(provided);
            all.filter(|other| closure.contains(other)).collect()
        };
        for field in [candidate.pre_depends, candidate.depends] {
            for group in dependency::parse(field).unwrap() {
                let holds = group.iter().any(|relation| !fitting(relation).is_empty());
                assert!(holds, "{} lacks {group:?}", candidate.name);
            }
        }
        for field in [candidate.conflicts, candidate.breaks] {
            for relation in dependency::parse(field).unwrap().iter().flatten() {
                let mut others = fitting(relation);
                others.retain(|other| other != id);
                assert!(others.is_empty(), "{} beside {relation}", candidate.name);
            }
        }
    }
}
