//! What the packet filter lets in: ports, and the edges of the graph.

use super::Rule;
use crate::profile::interfaces::{self, Dials};
use crate::profile::{Instance, Scope, Stack, instances};
use std::collections::BTreeSet;

/// Where the lead lets hosts join, and talks to those that have.
pub const MESH_PORT: u16 = 7433;

/// One rule per open port, sorted. Traffic of a host with itself is not filtered, so a port
/// nobody else dials is not in the list.
pub fn rules(stack: &Stack) -> Vec<Rule> {
    let mut rules = Vec::new();
    if let [lead, members @ ..] = &stack.roles[..]
        && !members.is_empty()
    {
        // Hosts without addresses in the plan come from wherever they are.
        let (scope, from) = match stack.network {
            Some(_) => (Scope::Site, members),
            None => (Scope::Public, &[][..]),
        };
        rules.push(Rule {
            role: lead.name.clone(),
            protocol: "tcp".into(),
            port: MESH_PORT,
            scope,
            from: from.iter().map(|role| role.name.clone()).collect(),
            why: "muster: hosts join and report".into(),
        });
    }
    if let Some(deputy) = &stack.deputy {
        // Nothing listens there before it is promoted; then all others come to it.
        let others = stack.roles.iter().map(|role| &role.name);
        let mut from: Vec<String> = others.filter(|role| *role != deputy).cloned().collect();
        from.sort();
        rules.push(Rule {
            role: deputy.clone(),
            protocol: "tcp".into(),
            port: MESH_PORT,
            scope: Scope::Site,
            from,
            why: "muster: hosts join and report, once it is promoted".into(),
        });
    }
    for instance in instances(stack) {
        let Some(service) = stack.services.get(&instance.service) else {
            continue;
        };
        for port in &service.ports {
            let from = match port.scope {
                Scope::Local => continue,
                Scope::Public => BTreeSet::new(),
                Scope::Site => dialling(stack, &instance, &port.provides),
            };
            if port.scope == Scope::Site && from.is_empty() {
                continue;
            }
            rules.push(Rule {
                role: instance.role.clone(),
                protocol: port.protocol.clone(),
                port: port.number,
                scope: port.scope,
                from: from.into_iter().collect(),
                why: format!("{}: {}", instance.service, port.purpose),
            });
        }
    }
    rules.sort();
    rules
}

/// Other roles that open connections to this instance, for one of these provides if there are any.
fn dialling(stack: &Stack, instance: &Instance, provides: &[String]) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    for binding in &stack.bindings {
        let dials = interfaces::find(&binding.interface).map_or(Dials::Consumer, |i| i.dials);
        let (from, to) = match dials {
            Dials::Consumer => (&binding.consumer, &binding.provider),
            Dials::Provider => (&binding.provider, &binding.consumer),
        };
        let meant = provides.is_empty()
            || (binding.provider == *instance && provides.contains(&binding.provide));
        if to == instance && from.role != instance.role && meant {
            roles.insert(from.role.clone());
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Source;
    use std::path::Path;

    #[test]
    fn hosts_without_addresses_in_the_plan_may_join_from_wherever_they_are() {
        let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/profiles");
        let source = Source::new(Some(Path::new(profiles)));
        let mut stack = Stack::load(&source, "two", None).expect("a sound stack");
        let join = |stack: &Stack| {
            let rule = rules(stack).into_iter().find(|rule| rule.port == MESH_PORT);
            rule.map(|rule| (rule.role, rule.scope, rule.from))
        };
        assert_eq!(
            join(&stack),
            Some(("front".into(), Scope::Site, vec!["back".into()]))
        );
        stack.network = None;
        assert_eq!(join(&stack), Some(("front".into(), Scope::Public, vec![])));
        // A deputy lets the others in, the former lead among them, when it is promoted.
        let deputy = Stack {
            deputy: Some("back".into()),
            ..stack.clone()
        };
        let mut all = rules(&deputy).into_iter();
        let rule = all.find(|rule| rule.role == "back" && rule.port == MESH_PORT);
        let rule = rule.map(|rule| (rule.port, rule.scope, rule.from));
        assert_eq!(rule, Some((MESH_PORT, Scope::Site, vec!["front".into()])));
        // A host that is alone lets nobody join.
        stack.roles.truncate(1);
        assert_eq!(join(&stack), None);
    }
}
