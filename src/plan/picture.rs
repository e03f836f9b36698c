//! The wiring as a picture, for Graphviz and Mermaid.

use super::Plan;
use std::fmt::Write as _;

/// A Graphviz digraph: a box per host, an arrow from each consumer to its provider.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n",
        plan.stack
    );
    for host in &plan.hosts {
        let _ = writeln!(text, "  subgraph \"cluster_{}\" {{", host.role);
        let _ = writeln!(text, "    label=\"{} ({})\";", host.role, host.base);
        for service in &host.services {
            let _ = writeln!(
                text,
                "    \"{}/{service}\" [label=\"{service}\"];",
                host.role
            );
        }
        text.push_str("  }\n");
    }
    for edge in &plan.integrations {
        let _ = writeln!(
            text,
            "  \"{}\" -> \"{}\" [label=\"{}\"];",
            edge.consumer, edge.provider, edge.interface
        );
    }
    text.push_str("}\n");
    text
}

/// A Mermaid flowchart of the same.
pub fn mermaid(plan: &Plan) -> String {
    let node = |role: &str, service: &str| format!("{role}__{service}");
    let mut text = String::from("flowchart LR\n");
    for host in &plan.hosts {
        let _ = writeln!(
            text,
            "  subgraph {}[\"{} ({})\"]",
            host.role, host.role, host.base
        );
        for service in &host.services {
            let _ = writeln!(text, "    {}[{service}]", node(&host.role, service));
        }
        text.push_str("  end\n");
    }
    for edge in &plan.integrations {
        let _ = writeln!(
            text,
            "  {} -->|{}| {}",
            node(&edge.consumer.role, &edge.consumer.service),
            edge.interface,
            node(&edge.provider.role, &edge.provider.service)
        );
    }
    text
}
