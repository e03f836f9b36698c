//! The plan: plain data computed from the stack alone. Values of one site (answers,
//! addresses, secrets) are filled in on the host when a task is rendered.

use crate::profile::network::Bond;
use crate::profile::{Action, Effect, Instance, Probe, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that will happen, in an order that works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the stack.
    pub stack: String,
    /// SHA-256 over the stack's canonical JSON: hosts of different plans refuse each other.
    pub digest: String,
    /// One per role, in stack order; the first is the lead until another is promoted.
    pub hosts: Vec<Host>,
    /// Role whose host keeps a sealed copy of the site, and can be promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputy: Option<String>,
    /// In order.
    pub phases: Vec<PlanPhase>,
    /// In a topological order that a person can follow: by phase, then as listed.
    pub tasks: Vec<Task>,
    /// Every edge with the probes that prove it.
    pub integrations: Vec<Integration>,
    /// What the packet filter lets in, per host; derived from ports and edges.
    pub firewall: Vec<Rule>,
}

impl Plan {
    /// Address of a role's host among the hosts, if the plan gives it one.
    pub fn address(&self, role: &str) -> Option<IpAddr> {
        let host = self.hosts.iter().find(|host| host.role == role)?;
        let (address, _) = host.address.as_deref()?.split_once('/')?;
        address.parse().ok()
    }
}

/// One host of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Role and host name.
    pub role: String,
    /// Base.
    pub base: String,
    /// Its address among the hosts, with the length of their network; none in a stack of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The VLAN in which it has that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The cards with which it has that address, where it is not one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
    /// Services in start order.
    pub services: Vec<String>,
    /// State paths: those of the base and of the services, sorted, none inside another.
    pub state: Vec<String>,
    /// Names people use for routes on this host, for example `webmail`: route hosts.
    pub routes: Vec<Route>,
}

/// A name people type into a browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Leftmost label: `webmail` in `webmail.example.org`.
    pub host: String,
    /// Who answers.
    pub service: Instance,
    /// One line for people: the service's summary.
    pub summary: String,
}

/// One phase of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanPhase {
    /// Short name.
    pub name: String,
    /// What a person reads.
    pub title: String,
}

/// One task: a step done once, or a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique: `role/service/step`, `role/provider/provide/consumer.need/step`,
    /// `role/service/probe/id` or `role/consumer/need/provider/probe-id`. The other end of an
    /// integration is `otherrole.service` where it is on another role.
    pub id: String,
    /// Index into [`Plan::phases`].
    pub phase: usize,
    /// Whose host and service it runs as.
    pub instance: Instance,
    /// The binding it serves: a grant step (instance is the provider) or an integration
    /// probe (instance is the consumer); index into [`Plan::integrations`].
    pub integration: Option<usize>,
    /// Ids of tasks that must be done before.
    pub after: Vec<String>,
    /// What it does.
    pub kind: TaskKind,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum TaskKind {
    /// A step of a service, or of a provider for one consumer.
    Step {
        /// Skipped when it renders to `false` or nothing.
        when: Option<String>,
        /// Done once per item.
        each: Option<String>,
        /// Where its effect lives.
        effect: Effect,
        /// The action; `watch` in it names full task ids.
        step: Action,
    },
    /// A probe, retried until green.
    Probe {
        /// The probe.
        probe: Probe,
    },
}

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    /// `consumer.need -> provider`, unique in the plan, for example
    /// `office/roundcube.database -> office/postgresql`.
    pub id: String,
    /// Who needs.
    pub consumer: Instance,
    /// Name of the need.
    pub need: String,
    /// Interface.
    pub interface: String,
    /// Who provides.
    pub provider: Instance,
    /// Name of the provide.
    pub provide: String,
    /// Parameters from the consumer, *templates* in the consumer's context.
    pub with: BTreeMap<String, String>,
    /// Ids of the probe tasks that prove it. Never empty.
    pub probes: Vec<String>,
}

/// One thing the packet filter lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// On which host.
    pub role: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Port number.
    pub port: u16,
    /// `public`: from anywhere; `site`: from the hosts of `from`.
    pub scope: Scope,
    /// Roles whose hosts may connect, sorted; empty when public.
    pub from: Vec<String>,
    /// Which service, and what for.
    pub why: String,
}
