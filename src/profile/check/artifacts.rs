//! Where the artifacts of one host go: each has its own place, and it is one that stays.

use crate::profile::artifact::{Kind, Origin};
use crate::profile::notes::Notes;
use crate::profile::{Role, Service, Stack};
use std::collections::BTreeMap;

/// Nothing that an image holds there is seen on a host, or it is muster's own.
const TAKEN: [&str; 15] = [
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/usr/bin/muster",
    "/usr/share/muster",
    "/var/cache/apt",
    "/var/cache/man",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/muster",
    "/var/log",
    "/var/run",
    "/var/tmp",
];

/// Checks the artifacts and container images of one role.
pub fn artifacts(stack: &Stack, role: &Role, notes: &Notes) {
    let services = || {
        role.services
            .iter()
            .filter_map(|name| stack.services.get(name))
    };
    let base = stack.bases.get(&role.base);
    let state: Vec<&str> = base
        .into_iter()
        .flat_map(|base| &base.state)
        .chain(services().flat_map(|service| &service.state))
        .map(|state| state.path.as_str())
        .collect();
    let mut places: Vec<(&str, Kind, String)> = Vec::new();
    let mut supplied: BTreeMap<&str, (Option<&str>, String)> = BTreeMap::new();
    let mut images: BTreeMap<&str, &str> = BTreeMap::new();
    for service in services() {
        for (index, artifact) in service.artifacts.iter().enumerate() {
            let at = format!("service/{}/artifact/{index}", service.name);
            let place = &artifact.placing;
            let called = format!("`{}` of `{}`", artifact.name, service.name);
            stays(&place.to, &state, &at, notes);
            overlaid(stack, role, place, &at, notes);
            let clash = places
                .iter()
                .find(|(to, kind, _)| match (kind, place.kind) {
                    (Kind::File, Kind::File) => {
                        *to == place.to || inside(to, &place.to) || inside(&place.to, to)
                    }
                    (Kind::File, _) => *to == place.to || inside(&place.to, to),
                    (_, Kind::File) => *to == place.to || inside(to, &place.to),
                    // Two archives may well share a folder; whether their files clash shows later.
                    _ => false,
                });
            if let Some((to, _, other)) = clash {
                notes.problem(
                    &format!("{at}/to"),
                    format!("two artifacts of `{}` are in each other's way", role.name),
                    format!("{called} goes to `{}`, and {other} to `{to}`", place.to),
                    None,
                );
            }
            places.push((&place.to, place.kind, called.clone()));
            if let Origin::Supplied(file) = &artifact.origin {
                let sha256 = artifact.sha256.as_deref();
                let before = supplied.insert(file, (sha256, called.clone()));
                if let Some((_, other)) = before.filter(|(before, _)| *before != sha256) {
                    notes.problem(
                        &format!("{at}/supplied"),
                        format!("two different files are to be supplied as `{file}`"),
                        format!("as {other}, and as {called}"),
                        Some("a version in the name tells them apart".into()),
                    );
                }
            }
        }
        for (index, image) in service.oci.iter().enumerate() {
            if let Some(other) = images.insert(&image.name, &service.name) {
                notes.problem(
                    &format!("service/{}/oci/{index}/name", service.name),
                    format!(
                        "two container images of `{}` are called `{}`",
                        role.name, image.name
                    ),
                    format!("`{other}` has the other; the name is that of its folder"),
                    None,
                );
            }
        }
    }
}

/// A place that a host sees, and that a new image changes.
fn stays(to: &str, state: &[&str], at: &str, notes: &Notes) {
    let below = |path: &&&str| to == **path || inside(to, path);
    if let Some(path) = TAKEN.iter().find(|path| below(path)) {
        notes.problem(
            &format!("{at}/to"),
            format!("nothing can be put into `{path}`"),
            "what stands there is gone when a host starts, or is not for services".into(),
            Some("software goes below /opt, /srv or /usr".into()),
        );
    } else if let Some(path) = state.iter().find(|path| below(path)) {
        notes.problem(
            &format!("{at}/to"),
            format!("the artifact goes into the state `{path}`"),
            "a host keeps its state when it gets a new image, and would keep the old software"
                .into(),
            Some("put it elsewhere, and let a step copy or link what must be there".into()),
        );
    }
}

/// A file of an overlay would silently stand in the place of the artifact.
fn overlaid(
    stack: &Stack,
    role: &Role,
    place: &crate::profile::artifact::Placing,
    at: &str,
    notes: &Notes,
) {
    if place.kind != Kind::File {
        return;
    }
    let base = stack
        .bases
        .get(&role.base)
        .map(|base| (&base.name, &base.overlay));
    let services = role
        .services
        .iter()
        .filter_map(|name| stack.services.get(name));
    let overlays = services.map(|service: &Service| (&service.name, &service.overlay));
    for (name, overlay) in base.into_iter().chain(overlays) {
        if overlay
            .keys()
            .any(|path| *path == place.to || inside(path, &place.to))
        {
            notes.problem(
                &format!("{at}/to"),
                format!("an overlay has a file at `{}`", place.to),
                format!("that of `{name}`; an artifact does not replace it"),
                None,
            );
        }
    }
}

fn inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}
