//! What must hold of the wiring: phases follow it, it has no circle, routes have names.

use crate::profile::notes::Notes;
use crate::profile::{Binding, Instance, Stack};
use std::collections::{BTreeMap, BTreeSet};

/// Checks the bound graph.
pub fn graph(stack: &Stack, notes: &Notes) {
    phase_order(stack, notes);
    circles(stack, notes);
    routes(stack, notes);
    apart(stack, notes);
}

/// What is wired between hosts is dialled at the address the plan gives each.
fn apart(stack: &Stack, notes: &Notes) {
    let mut apart = stack.bindings.iter();
    let apart = apart.find(|binding| binding.consumer.role != binding.provider.role);
    let (
        None,
        Some(Binding {
            consumer,
            provider,
            need,
            ..
        }),
    ) = (&stack.network, apart)
    else {
        return;
    };
    notes.problem(
        "stack/stack",
        format!("`{consumer}` does not know where to find `{provider}`"),
        format!(
            "it needs it for `{need}`, they are on two hosts, and the stack has no network in \
             which hosts have addresses"
        ),
        Some(
            "add [network] with hosts = \"10.77.0.0/24\", and to each role the number of its host \
             there: address = 10"
                .into(),
        ),
    );
}

fn phase_order(stack: &Stack, notes: &Notes) {
    let phase = |service: &str| {
        stack
            .phases
            .iter()
            .position(|phase| phase.services.iter().any(|name| name == service))
    };
    let mut said = BTreeSet::new();
    for binding in &stack.bindings {
        let (Some(consumer), Some(provider)) = (
            phase(&binding.consumer.service),
            phase(&binding.provider.service),
        ) else {
            continue;
        };
        let pair = (&binding.consumer.service, &binding.provider.service);
        if consumer >= provider || !said.insert(pair) {
            continue;
        }
        let position = stack.phases[consumer]
            .services
            .iter()
            .position(|s| *s == binding.consumer.service);
        notes.problem(
            &format!("stack/phase/{consumer}/services/{}", position.unwrap_or(0)),
            format!(
                "the phase `{}` starts `{}` before its provider `{}`",
                stack.phases[consumer].name, pair.0, pair.1
            ),
            format!(
                "`{}` needs `{}` for `{}`, and `{}` starts in the later phase `{}`",
                pair.0, binding.interface, binding.need, pair.1, stack.phases[provider].name
            ),
            Some(format!(
                "move `{}` to an earlier phase, or `{}` to a later one",
                pair.1, pair.0
            )),
        );
    }
}

/// Steps of a consumer wait for those of its providers, so a circle would wait forever.
fn circles(stack: &Stack, notes: &Notes) {
    let mut edges: BTreeMap<&Instance, Vec<(&Instance, &str)>> = BTreeMap::new();
    for binding in &stack.bindings {
        edges
            .entry(&binding.consumer)
            .or_default()
            .push((&binding.provider, &binding.need));
    }
    let mut finished: BTreeSet<&Instance> = BTreeSet::new();
    for start in edges.keys() {
        let mut path = Vec::new();
        if let Some(circle) = walk(start, &edges, &mut path, &mut finished) {
            let (first, need) = circle[0];
            let names: Vec<String> = circle
                .iter()
                .map(|(instance, need)| format!("`{instance}`, which needs `{need}` from"))
                .collect();
            let words = names.join(" ").replacen(", which needs", " needs", 1);
            notes.problem(
                &format!("service/{}/needs/{need}", first.service),
                "services wait for each other in a circle".into(),
                format!("{words} `{first}`"),
                Some("none of them could be first: remove one of these needs".into()),
            );
            return;
        }
    }
}

fn walk<'a>(
    at: &'a Instance,
    edges: &BTreeMap<&'a Instance, Vec<(&'a Instance, &'a str)>>,
    path: &mut Vec<(&'a Instance, &'a str)>,
    finished: &mut BTreeSet<&'a Instance>,
) -> Option<Vec<(&'a Instance, &'a str)>> {
    if finished.contains(at) {
        return None;
    }
    if let Some(position) = path.iter().position(|(instance, _)| *instance == at) {
        return Some(path[position..].to_vec());
    }
    for (provider, need) in edges.get(at).into_iter().flatten() {
        path.push((at, need));
        if let Some(circle) = walk(provider, edges, path, finished) {
            return Some(circle);
        }
        path.pop();
    }
    finished.insert(at);
    None
}

/// Names of routes are labels that are known before any site is.
fn routes(stack: &Stack, notes: &Notes) {
    let mut taken: BTreeMap<&str, &Instance> = BTreeMap::new();
    for binding in stack
        .bindings
        .iter()
        .filter(|binding| binding.interface == "route")
    {
        let service = &binding.consumer.service;
        let need = stack
            .services
            .get(service)
            .and_then(|s| s.needs.get(&binding.need));
        let Some(host) = need.and_then(|need| need.with.get("host")) else {
            continue;
        };
        let place = format!("service/{service}/needs/{}/host", binding.need);
        if !crate::profile::names::is_name(host) {
            notes.problem(
                &place,
                format!("`{host}` is not a label of a DNS name"),
                "the host of a route is one label, known before any site is: `webmail`".into(),
                None,
            );
        }
        if let Some(first) = taken.insert(host, &binding.consumer) {
            notes.problem(
                &place,
                format!("two routes are called `{host}`"),
                format!("that of `{first}`, and that of `{}`", binding.consumer),
                None,
            );
        }
    }
}
