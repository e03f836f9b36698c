//! What must hold of a whole stack, beyond what one file can say.

mod artifacts;
mod files;
mod graph;
mod host;
mod template;

use super::Stack;
use super::notes::Notes;
use super::problem::{suggest, suggest_or_list};
use std::collections::{BTreeMap, BTreeSet};

pub use files::files;
pub use graph::graph;

/// Roles, phases and settings: every name resolves, and nothing is listed twice.
pub fn names(stack: &Stack, bases: &BTreeSet<String>, notes: &Notes) {
    if stack.roles.is_empty() {
        notes.problem(
            "stack/stack",
            format!("the stack `{}` has no role", stack.name),
            "a role is a kind of host; at least one [[role]] is expected".into(),
            None,
        );
    }
    let mut seen = BTreeSet::new();
    for (index, role) in stack.roles.iter().enumerate() {
        let path = format!("stack/role/{index}");
        if !seen.insert(&role.name) {
            notes.problem(
                &format!("{path}/name"),
                format!("two roles are called `{}`", role.name),
                "this is the second; the name of a role is also that of its host".into(),
                None,
            );
        }
        if role_lists(stack, index, notes) {
            host::host(stack, role, &path, notes);
        }
    }
    for (name, service) in &stack.services {
        for base in service.base_packages.keys().chain(&service.bases) {
            if !bases.contains(base) {
                let listed = service.bases.contains(base);
                let key = if listed {
                    "service/bases".to_owned()
                } else {
                    format!("packages/{base}")
                };
                notes.problem(
                    &format!("service/{name}/{key}"),
                    format!("there is no base `{base}`"),
                    format!("the service `{name}` names it"),
                    suggest_or_list(base, bases.iter().map(String::as_str)),
                );
            }
        }
    }
    phases(stack, notes);
    addresses(stack, notes);
    deputy(stack, notes);
    for (key, value) in &stack.demo.answers {
        let local = value.trim_end_matches('.').ends_with(".local");
        if key.ends_with(".domain") && local {
            notes.problem(
                &format!("stack/demo/answers/{key}"),
                format!("`{value}` cannot be the domain of a site"),
                "names in `.local` belong to multicast DNS (RFC 6762): no DNS server can own them"
                    .into(),
                Some("for a demonstration take one in `.test` or `.internal`".into()),
            );
        }
    }
}

/// The deputy is a host of its own that every other finds when the lead is gone.
fn deputy(stack: &Stack, notes: &Notes) {
    let Some(deputy) = &stack.deputy else {
        return;
    };
    let problem = |what: String, why: &str, hint: Option<String>| {
        notes.problem("stack/stack/deputy", what, why.to_owned(), hint);
    };
    let others: Vec<&str> = stack.roles.iter().skip(1).map(|one| &*one.name).collect();
    if stack.roles.first().is_some_and(|lead| lead.name == *deputy) {
        let hint = match &others[..] {
            [] => "it takes a second role; without one, leave `deputy` out".to_owned(),
            others => format!("its other roles: {}", others.join(", ")),
        };
        problem(
            format!("`{deputy}` cannot be the deputy of itself"),
            "the first role is the lead; a deputy takes its place when it is gone",
            Some(hint),
        );
    } else if !others.contains(&&**deputy) {
        problem(
            format!("there is no role `{deputy}`"),
            "the deputy is the host of another role than the lead's",
            suggest_or_list(deputy, others.iter().copied()),
        );
    } else if stack.network.is_none() {
        problem(
            format!("`{deputy}` has no address at which the others would find it"),
            "hosts look for a deputy where the plan says, since their lead is gone",
            Some("add [network] with hosts = \"10.77.0.0/24\"".into()),
        );
    }
}

/// Every host has one address in the network of the hosts, if there is one.
fn addresses(stack: &Stack, notes: &Notes) {
    let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
    for (index, role) in stack.roles.iter().enumerate() {
        let path = format!("stack/role/{index}");
        let problem = |key: &str, what: String, why: String, hint: Option<String>| {
            notes.problem(&format!("{path}/{key}"), what, why, hint);
        };
        if stack.network.is_none() && role.bond.is_some() {
            problem(
                "bond",
                format!("the role `{}` bonds cards in no network", role.name),
                "the stack has no [network]; it is there that its host has several cards".into(),
                Some("add [network] with hosts = \"10.77.0.0/24\"".into()),
            );
        }
        let (network, number) = match (&stack.network, role.address) {
            (Some(network), Some(number)) => (network, number),
            (Some(network), None) => {
                problem(
                    "name",
                    format!("the role `{}` has no address", role.name),
                    format!(
                        "the hosts of this stack reach each other in {}",
                        network.hosts
                    ),
                    Some("give it the number of its host there: address = 10".into()),
                );
                continue;
            }
            (None, Some(_)) => {
                problem(
                    "address",
                    format!("the role `{}` has an address in no network", role.name),
                    "the stack has no [network]".into(),
                    Some("add [network] with hosts = \"10.77.0.0/24\"".into()),
                );
                continue;
            }
            (None, None) => continue,
        };
        if network.hosts.host(number).is_none() {
            problem(
                "address",
                format!("{} has no host with the number {number}", network.hosts),
                format!("it is that of the role `{}`", role.name),
                None,
            );
        }
        if let Some(first) = taken.insert(number, &role.name) {
            problem(
                "address",
                format!("two hosts have the number {number}"),
                format!("those of `{first}` and `{}`", role.name),
                None,
            );
        }
    }
}

/// Checks what a role lists; whether each service is there once.
fn role_lists(stack: &Stack, index: usize, notes: &Notes) -> bool {
    let before = notes.problems.borrow().len();
    let role = &stack.roles[index];
    let path = format!("stack/role/{index}");
    for (position, service) in role.services.iter().enumerate() {
        if role.services[..position].contains(service) {
            notes.problem(
                &format!("{path}/services/{position}"),
                format!("the role `{}` lists `{service}` twice", role.name),
                "this is the second".into(),
                None,
            );
        }
    }
    let once = notes.problems.borrow().len() == before;
    let listed = || role.services.iter().map(String::as_str);
    for (position, service) in role.optional.iter().enumerate() {
        if !role.services.contains(service) {
            notes.problem(
                &format!("{path}/optional/{position}"),
                format!(
                    "`{service}` is optional on `{}`, which does not run it",
                    role.name
                ),
                format!("it runs: {}", listed().collect::<Vec<_>>().join(", ")),
                suggest(service, listed()),
            );
        }
    }
    for (name, values) in &role.settings {
        let place = format!("{path}/settings/{name}");
        let Some(service) = stack
            .services
            .get(name)
            .filter(|_| role.services.contains(name))
        else {
            notes.problem(
                &place,
                format!(
                    "settings for `{name}`, which the role `{}` does not run",
                    role.name
                ),
                format!("it runs: {}", listed().collect::<Vec<_>>().join(", ")),
                suggest(name, listed()),
            );
            continue;
        };
        for (key, value) in values {
            let place = format!("{place}/{key}");
            let known = || service.settings.keys().map(String::as_str);
            match service.settings.get(key) {
                None => notes.problem(
                    &place,
                    format!("`{name}` has no setting `{key}`"),
                    format!("its settings: {}", known().collect::<Vec<_>>().join(", ")),
                    suggest(key, known()),
                ),
                Some(setting)
                    if std::mem::discriminant(&setting.default)
                        != std::mem::discriminant(value) =>
                {
                    notes.problem(
                        &place,
                        format!("the setting `{key}` of `{name}` is of another type"),
                        format!("its default is {}", shown(&setting.default)),
                        None,
                    );
                }
                Some(_) => {}
            }
        }
    }
    once
}

fn shown(value: &super::SettingValue) -> String {
    match value {
        super::SettingValue::Bool(value) => format!("{value}"),
        super::SettingValue::Integer(value) => format!("the number {value}"),
        super::SettingValue::Text(value) => format!("the text \"{value}\""),
    }
}

fn phases(stack: &Stack, notes: &Notes) {
    let mut phase_of: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let running: BTreeSet<&str> = stack
        .roles
        .iter()
        .flat_map(|role| role.services.iter().map(String::as_str))
        .collect();
    for (index, phase) in stack.phases.iter().enumerate() {
        if !seen.insert(&phase.name) {
            notes.problem(
                &format!("stack/phase/{index}/name"),
                format!("two phases are called `{}`", phase.name),
                "this is the second".into(),
                None,
            );
        }
        for (position, service) in phase.services.iter().enumerate() {
            let place = format!("stack/phase/{index}/services/{position}");
            if !running.contains(service.as_str()) {
                notes.problem(
                    &place,
                    format!(
                        "the phase `{}` starts `{service}`, which no role runs",
                        phase.name
                    ),
                    format!(
                        "the roles run: {}",
                        running.iter().copied().collect::<Vec<_>>().join(", ")
                    ),
                    suggest(service, running.iter().copied()),
                );
            } else if let Some(first) = phase_of.insert(service, &phase.name) {
                notes.problem(
                    &place,
                    format!("`{service}` starts twice"),
                    format!("in the phase `{first}`, and again in `{}`", phase.name),
                    Some("a service comes up in one phase".into()),
                );
            }
        }
    }
    for (index, role) in stack.roles.iter().enumerate() {
        for (position, service) in role.services.iter().enumerate() {
            if phase_of.insert(service, "").is_none() {
                notes.problem(
                    &format!("stack/role/{index}/services/{position}"),
                    format!("no phase starts `{service}`"),
                    format!("the role `{}` runs it", role.name),
                    Some("add it to the `services` of a [[phase]]".into()),
                );
            }
        }
    }
}
