//! A stack to its plan.

use super::{Host, Plan, PlanPhase, Route, firewall, order};
use crate::profile::{Role, Stack, interfaces};
use sha2::{Digest, Sha256};

impl Plan {
    /// Computes the plan. Pure: the same stack gives the same plan anywhere.
    pub fn new(stack: &Stack) -> Plan {
        let mut plan = Plan {
            stack: stack.name.clone(),
            digest: digest(stack),
            hosts: stack.roles.iter().map(|role| host(stack, role)).collect(),
            deputy: stack.deputy.clone(),
            phases: stack
                .phases
                .iter()
                .map(|phase| PlanPhase {
                    name: phase.name.clone(),
                    title: phase.title.clone(),
                })
                .collect(),
            tasks: Vec::new(),
            integrations: Vec::new(),
            firewall: firewall::rules(stack),
        };
        order::order(stack, &mut plan);
        plan
    }
}

/// SHA-256 of the stack as JSON; maps in it are sorted, so the text is canonical.
fn digest(stack: &Stack) -> String {
    // A `Stack` holds nothing that JSON cannot: its keys are text and its numbers whole.
    let json = serde_json::to_vec(stack).unwrap_or_default();
    hex::encode(Sha256::digest(&json))
}

fn host(stack: &Stack, role: &Role) -> Host {
    let base = stack.bases.get(&role.base);
    let services = role
        .services
        .iter()
        .filter_map(|name| stack.services.get(name));
    let of_services = services.flat_map(|service| &service.state);
    let mut state: Vec<String> = base
        .iter()
        .flat_map(|base| &base.state)
        .chain(of_services)
        .map(|state| state.path.clone())
        .collect();
    state.sort();
    Host {
        role: role.name.clone(),
        base: role.base.clone(),
        address: stack
            .network
            .as_ref()
            .zip(role.address)
            .and_then(|(network, number)| network.hosts.interface(number)),
        vlan: stack.network.as_ref().and_then(|network| network.vlan),
        bond: role.bond,
        services: role.services.clone(),
        state,
        routes: routes(stack, role),
    }
}

fn routes(stack: &Stack, role: &Role) -> Vec<Route> {
    let dialled = |interface: &str| {
        interfaces::find(interface).is_some_and(|i| i.dials == interfaces::Dials::Provider)
    };
    let mut routes = Vec::new();
    for binding in &stack.bindings {
        if binding.provider.role != role.name || !dialled(&binding.interface) {
            continue;
        }
        let Some(service) = stack.services.get(&binding.consumer.service) else {
            continue;
        };
        let Some(host) = service
            .needs
            .get(&binding.need)
            .and_then(|need| need.with.get("host"))
        else {
            continue;
        };
        routes.push(Route {
            host: host.clone(),
            service: binding.consumer.clone(),
            summary: service.summary.clone(),
        });
    }
    routes
}
