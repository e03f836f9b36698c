//! The status of a site: the part of its lead, and what each other host said last of its own.

use super::{
    Attention, HostStand, IntegrationStatus, Outcome, PhaseStatus, ProbeStatus, Status, whole,
    worst,
};
use crate::bringup::board::TaskStand;
use std::collections::BTreeMap;
use std::time::Duration;

/// After so long without a word a person should look after a host.
pub const QUIET: Duration = Duration::from_secs(45);

/// Under this name a host's agent stands among what needs attention.
const AGENT: &str = "muster-agent";

/// Another host, as the lead sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its role.
    pub role: String,
    /// Its part while nothing is known of it ([`Status::blank`]): all that it may speak of.
    pub blank: Status,
    /// Whether it has joined.
    pub joined: bool,
    /// Whether it can be heard.
    pub up: bool,
    /// For how long it was not heard.
    pub quiet: Duration,
    /// When it was last heard, RFC 3339 in UTC; empty if it never was.
    pub heard: String,
    /// What it said last.
    pub report: Report,
}

/// What a host said of itself.
#[derive(Debug, Clone)]
pub enum Report {
    /// Nothing yet.
    Missing,
    /// Its status.
    Status(Box<Status>),
    /// Something else; why it is none.
    Garbled(String),
}

/// The status of the site: of the lead, and of the others in the order of the plan.
pub fn merge(lead: Status, others: impl IntoIterator<Item = Seen>) -> Status {
    let mut site = lead;
    let mut outcomes = vec![site.outcome];
    for other in others {
        let part = other.part();
        outcomes.push(part.outcome);
        add(&mut site, part);
    }
    site.count();
    let any = |outcome| outcomes.contains(&outcome);
    site.outcome = if any(Outcome::Unfinished) {
        Outcome::Unfinished
    } else if any(Outcome::Red) || site.proven < site.total {
        Outcome::Red
    } else {
        Outcome::Green
    };
    site
}

/// On which hosts beside the lead bring-up has not ended, in words; none when it has on all.
pub fn awaited(status: &Status) -> Option<String> {
    let open = status
        .hosts
        .iter()
        .skip(1)
        .filter(|host| host.outcome == Outcome::Unfinished);
    let named: Vec<String> = open
        .map(|host| {
            let how = match host.stand {
                HostStand::Joined => "is at work",
                HostStand::Absent => "has not joined",
                HostStand::Silent => "is silent",
            };
            format!("{} {how}", host.role)
        })
        .collect();
    (!named.is_empty()).then(|| format!("bring-up waits for other hosts: {}", named.join(", ")))
}

impl Seen {
    fn stand(&self) -> HostStand {
        match (self.joined, self.up) {
            (false, _) => HostStand::Absent,
            (true, true) => HostStand::Joined,
            (true, false) => HostStand::Silent,
        }
    }

    /// What it adds to the site.
    fn part(self) -> Status {
        let stand = self.stand();
        let mut part = self.blank;
        let mut needs = Vec::new();
        match self.report {
            Report::Missing => {}
            Report::Status(said) => take(&self.role, &mut part, &said),
            Report::Garbled(why) => needs.push((
                format!("what it reports cannot be read: {why}"),
                "muster build   # all images of the stack together".to_owned(),
            )),
        }
        let fqdn = part.hosts.first().map_or("", |host| &host.fqdn);
        if stand != HostStand::Joined && self.quiet > QUIET {
            let since = match self.heard.as_str() {
                "" => "the lead was started",
                heard => heard,
            };
            needs.push(match stand {
                HostStand::Absent => (
                    "this host has not joined the site".to_owned(),
                    format!("muster up {}   # or look at its console", part.stack),
                ),
                _ => (
                    format!("nothing was heard of this host since {since}"),
                    format!("ssh {fqdn} systemctl status muster-agent"),
                ),
            });
            if part.outcome == Outcome::Green {
                part.outcome = Outcome::Red;
            }
        }
        let needs = needs.into_iter().map(|(reason, next)| Attention {
            task: format!("{}/{AGENT}", self.role),
            stand: TaskStand::Failed,
            attempt: 0,
            reason,
            output: String::new(),
            unit: None,
            next,
        });
        part.attention.splice(0..0, needs);
        for host in &mut part.hosts {
            host.stand = stand;
            host.heard.clone_from(&self.heard);
            host.outcome = part.outcome;
        }
        part
    }
}

/// Takes from what a host said what it may speak of: its own.
fn take(role: &str, part: &mut Status, said: &Status) {
    for host in &mut part.hosts {
        if let Some(own) = said.hosts.iter().find(|own| own.role == role) {
            host.image.clone_from(&own.image);
            host.done = own.done.min(host.tasks);
        }
    }
    for phase in part.phases.iter_mut().filter(|phase| phase.tasks > 0) {
        if let Some(own) = said.phases.iter().find(|own| own.name == phase.name) {
            phase.done = own.done.min(phase.tasks);
            phase.stand = own.stand;
        }
    }
    let edges = said.integrations.iter().flat_map(|edge| &edge.probes);
    let services = said.services.iter().flat_map(|service| &service.probes);
    let probes: BTreeMap<&str, &ProbeStatus> = edges
        .chain(services)
        .map(|probe| (probe.id.as_str(), probe))
        .collect();
    let seen = |known: &mut Vec<ProbeStatus>| {
        for probe in known.iter_mut() {
            if let Some(said) = probes.get(probe.id.as_str()) {
                *probe = (*said).clone();
            }
        }
        worst(known)
    };
    for edge in &mut part.integrations {
        edge.colour = seen(&mut edge.probes);
    }
    for service in &mut part.services {
        service.colour = seen(&mut service.probes);
    }
    let own = format!("{role}/");
    for attention in &said.attention {
        let mut attention = attention.clone();
        if attention.task == AGENT {
            attention.task = format!("{own}{AGENT}");
            attention.next = format!("muster diagnose {}", attention.task);
        }
        if attention.task.starts_with(&own) {
            part.attention.push(attention);
        }
    }
    part.count();
    part.outcome = match said.outcome {
        Outcome::Green if part.proven < part.total => Outcome::Red,
        outcome => outcome,
    };
}

fn add(site: &mut Status, part: Status) {
    site.hosts.extend(part.hosts);
    for phase in part.phases {
        match site.phases.iter_mut().find(|all| all.name == phase.name) {
            Some(all) => both(all, &phase),
            None => site.phases.push(phase),
        }
    }
    for edge in part.integrations {
        match site.integrations.iter_mut().find(|all| all.id == edge.id) {
            Some(all) => union(all, edge),
            None => site.integrations.push(edge),
        }
    }
    site.services.extend(part.services);
    site.attention.extend(part.attention);
}

fn both(all: &mut PhaseStatus, phase: &PhaseStatus) {
    all.stand = match (all.tasks, phase.tasks) {
        (0, _) => phase.stand,
        (_, 0) => all.stand,
        _ => whole(&[all.stand, phase.stand]),
    };
    all.done += phase.done;
    all.tasks += phase.tasks;
}

fn union(all: &mut IntegrationStatus, edge: IntegrationStatus) {
    for probe in edge.probes {
        if all.probes.iter().all(|known| known.id != probe.id) {
            all.probes.push(probe);
        }
    }
    all.colour = worst(&all.probes);
}

#[cfg(test)]
mod tests;
