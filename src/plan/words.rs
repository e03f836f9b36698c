//! The plan in words that can be read aloud.

use super::{Integration, Plan, TaskKind};
use crate::profile::network::Bond;
use crate::profile::{Instance, Scope, Stack, probe_kinds};
use std::fmt::Write as _;

/// Hosts, phases with what proves each integration, and what the packet filter lets in.
pub fn words(stack: &Stack, plan: &Plan) -> String {
    let mut text = format!("{}: {}\n", stack.name, stack.summary);
    hosts(stack, plan, &mut text);
    phases(stack, plan, &mut text);
    firewall(plan, &mut text);
    text
}

fn hosts(stack: &Stack, plan: &Plan, text: &mut String) {
    for (index, host) in plan.hosts.iter().enumerate() {
        let lead = if index == 0 && plan.hosts.len() > 1 {
            ", the lead"
        } else if plan.deputy.as_ref() == Some(&host.role) {
            ", its deputy"
        } else {
            ""
        };
        let summary = stack
            .roles
            .get(index)
            .map(|role| role.summary.as_str())
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "\nHost {} on {}{lead}: {summary}",
            host.role, host.base
        );
        if let Some(address) = &host.address {
            let vlan = host.vlan.map(|vlan| format!(", in VLAN {vlan}"));
            let bond = host.bond.map(|Bond { mode, cards }| {
                format!(", by {cards} cards bonded in the mode {mode}")
            });
            let _ = writeln!(
                text,
                "  {address} among the hosts{}{}",
                vlan.unwrap_or_default(),
                bond.unwrap_or_default()
            );
        }
        let width = host.services.iter().map(String::len).max().unwrap_or(0);
        for service in &host.services {
            let summary = stack.services.get(service).map(|s| s.summary.as_str());
            let _ = writeln!(text, "  {service:width$}  {}", summary.unwrap_or_default());
        }
        for route in &host.routes {
            let name = &route.service.service;
            let _ = writeln!(
                text,
                "  people reach {name} as https://{}.<domain>",
                route.host
            );
        }
    }
}

fn phases(stack: &Stack, plan: &Plan, text: &mut String) {
    for (index, phase) in plan.phases.iter().enumerate() {
        let _ = writeln!(
            text,
            "\nPhase {}, {}: {}",
            index + 1,
            phase.name,
            phase.title
        );
        let mut instances: Vec<&Instance> = Vec::new();
        for task in plan.tasks.iter().filter(|task| task.phase == index) {
            if task.integration.is_none() && !instances.contains(&&task.instance) {
                instances.push(&task.instance);
            }
        }
        for edge in &plan.integrations {
            let here = |service: &String| *service == edge.consumer.service;
            let in_phase = stack
                .phases
                .get(index)
                .is_some_and(|p| p.services.iter().any(here));
            if in_phase && !instances.contains(&&edge.consumer) {
                instances.push(&edge.consumer);
            }
        }
        for instance in instances {
            started(plan, instance, text);
        }
    }
}

fn started(plan: &Plan, instance: &Instance, text: &mut String) {
    let own = |task: &&super::Task| task.instance == *instance && task.integration.is_none();
    let steps = plan
        .tasks
        .iter()
        .filter(own)
        .filter(|t| matches!(t.kind, TaskKind::Step { .. }));
    let steps = steps.count();
    let _ = match steps {
        0 => writeln!(text, "  {instance} needs no steps of its own"),
        1 => writeln!(text, "  {instance} starts in 1 step"),
        steps => writeln!(text, "  {instance} starts in {steps} steps"),
    };
    for task in plan.tasks.iter().filter(own) {
        if let TaskKind::Probe { probe } = &task.kind {
            let _ = writeln!(text, "    healthy when {}", proves(&probe.probe));
        }
    }
    for edge in plan
        .integrations
        .iter()
        .filter(|edge| edge.consumer == *instance)
    {
        let _ = writeln!(
            text,
            "    uses {} of {} for {}",
            edge.interface, edge.provider, edge.need
        );
        for probe in probes(plan, edge) {
            let _ = writeln!(text, "      proven when {probe}");
        }
    }
}

fn probes<'a>(plan: &'a Plan, edge: &'a Integration) -> impl Iterator<Item = &'static str> + 'a {
    plan.tasks
        .iter()
        .filter(|task| edge.probes.contains(&task.id))
        .filter_map(|task| match &task.kind {
            TaskKind::Probe { probe } => Some(proves(&probe.probe)),
            TaskKind::Step { .. } => None,
        })
}

fn proves(kind: &str) -> &'static str {
    probe_kinds::find(kind).map_or("its probe is green", |kind| kind.proves)
}

fn firewall(plan: &Plan, text: &mut String) {
    text.push_str("\nThe packet filter lets in, beside ssh, ICMP and DHCPv6:\n");
    for rule in &plan.firewall {
        let from = match rule.scope {
            Scope::Public => "anybody".to_owned(),
            Scope::Site | Scope::Local => rule.from.join(", "),
        };
        let _ = writeln!(
            text,
            "  {} {}/{} from {from} ({})",
            rule.role, rule.port, rule.protocol, rule.why
        );
    }
    if plan.firewall.is_empty() {
        text.push_str("  nothing\n");
    }
}
