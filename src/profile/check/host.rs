//! What must hold on one host: bases, ports, state, and files of overlays.

use crate::profile::notes::Notes;
use crate::profile::{Role, Stack};
use std::collections::BTreeMap;

/// Checks one role.
pub fn host(stack: &Stack, role: &Role, path: &str, notes: &Notes) {
    for (index, name) in role.services.iter().enumerate() {
        let Some(service) = stack.services.get(name) else {
            continue;
        };
        if !service.bases.is_empty() && !service.bases.contains(&role.base) {
            notes.problem(
                &format!("{path}/services/{index}"),
                format!("`{}` does not package `{name}`", role.base),
                format!("the role `{}` is built on `{}`", role.name, role.base),
                Some(format!("bases that do: {}", service.bases.join(", "))),
            );
        }
    }
    ports(stack, role, notes);
    state(stack, role, notes);
    overlays(stack, role, notes);
    super::artifacts::artifacts(stack, role, notes);
}

fn ports(stack: &Stack, role: &Role, notes: &Notes) {
    let mut taken: BTreeMap<(&str, u16), &str> = BTreeMap::new();
    for name in &role.services {
        let Some(service) = stack.services.get(name) else {
            continue;
        };
        for (index, port) in service.ports.iter().enumerate() {
            if let Some(first) = taken.insert((&port.protocol, port.number), name) {
                let why = match first == name {
                    true => format!("`{name}` names it twice"),
                    false => format!("`{first}` and `{name}` both listen on it"),
                };
                notes.problem(
                    &format!("service/{name}/port/{index}/number"),
                    format!(
                        "port {}/{} is taken twice on `{}`",
                        port.number, port.protocol, role.name
                    ),
                    why,
                    (first != name).then(|| "put them on different roles".to_owned()),
                );
            }
        }
    }
}

fn state(stack: &Stack, role: &Role, notes: &Notes) {
    let mut taken: Vec<(&str, String)> = Vec::new();
    if let Some(base) = stack.bases.get(&role.base) {
        taken.extend(
            base.state
                .iter()
                .map(|s| (s.path.as_str(), format!("base `{}`", base.name))),
        );
    }
    for name in &role.services {
        let Some(service) = stack.services.get(name) else {
            continue;
        };
        for (index, state) in service.state.iter().enumerate() {
            let path = state.path.as_str();
            let inside = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            if let Some((other, owner)) = taken
                .iter()
                .find(|(other, _)| inside(path, other) || inside(other, path))
            {
                let what = match path == *other {
                    true => format!("the state `{path}` has two owners on `{}`", role.name),
                    false => format!("state inside other state on `{}`", role.name),
                };
                notes.problem(
                    &format!("service/{name}/service/state/{index}"),
                    what,
                    format!("`{path}` of `{name}`, and `{other}` of {owner}"),
                    Some("each path is bound once: name the outer one only".into()),
                );
            }
            taken.push((path, format!("`{name}`")));
        }
    }
}

fn overlays(stack: &Stack, role: &Role, notes: &Notes) {
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    if let Some(base) = stack.bases.get(&role.base) {
        taken.extend(
            base.overlay
                .keys()
                .map(|p| (p.as_str(), format!("base `{}`", base.name))),
        );
    }
    for name in &role.services {
        let Some(service) = stack.services.get(name) else {
            continue;
        };
        for path in service.overlay.keys().filter(|path| !path.ends_with(".j2")) {
            if let Some(first) = taken.insert(path, format!("`{name}`")) {
                notes.problem(
                    &format!("overlay/{name}{path}"),
                    format!(
                        "the file `{path}` comes from two overlays on `{}`",
                        role.name
                    ),
                    format!("from that of {first}, and from that of `{name}`"),
                    None,
                );
            }
        }
    }
}
