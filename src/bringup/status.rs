//! How a host stands, or a site: phases, the integration matrix, and what needs a person. Plain
//! data; `status.json`, `muster status` and whoever asks over ssh are views of it.

pub mod site;

use super::board::{ProbeReport, Reports, TaskStand};
use super::context::Facts;
use super::job::{Job, Work, jobs_of};
use super::journal::now;
use crate::plan::Task;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Version of the JSON.
pub const FORMAT: u32 = 1;

/// A probe that has not run for so long says nothing any more; seconds.
pub const STALE_AFTER: i64 = 600;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// Proven by a real attempt.
    Green,
    /// Proven once, too long ago.
    Stale,
    /// Not yet tried.
    Unproven,
    /// The last attempt failed.
    Red,
}

impl Colour {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Colour::Green => "green",
            Colour::Stale => "stale",
            Colour::Unproven => "unproven",
            Colour::Red => "red",
        }
    }
}

/// How bring-up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is proven.
    Green,
    /// Something has failed or is not proven.
    Red,
    /// Not at its end.
    Unfinished,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the stack.
    pub stack: String,
    /// Name of the organisation.
    pub organisation: String,
    /// Digest of the plan.
    pub plan: String,
    /// When this was put together, RFC 3339 in UTC.
    pub written: String,
    /// How bring-up stands.
    pub outcome: Outcome,
    /// Integrations and services that are green.
    pub proven: usize,
    /// Out of so many.
    pub total: usize,
    /// Hosts.
    pub hosts: Vec<HostStatus>,
    /// Phases in order.
    pub phases: Vec<PhaseStatus>,
    /// The matrix: every edge with its last real probes.
    pub integrations: Vec<IntegrationStatus>,
    /// Services by themselves.
    pub services: Vec<ServiceStatus>,
    /// Tasks that have failed, or are being tried again.
    pub attention: Vec<Attention>,
    /// Where people go.
    pub routes: Vec<RouteStatus>,
    /// Who could take the lead's place; none in a site without a deputy, and on other hosts.
    #[serde(default)]
    pub deputy: Option<DeputyStatus>,
}

/// The deputy of a site and its sealed copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeputyStatus {
    /// Its role.
    pub role: String,
    /// Number of the newest copy; 0 before there is one.
    pub copy: u64,
    /// Number of the one that the deputy is known to have; 0 for none.
    pub held: u64,
    /// Whether that is the newest.
    pub current: bool,
    /// Whether a person has seen the recovery words, without which no copy is opened.
    pub words_shown: bool,
    /// Why the deputy has no current copy; empty where only time is missing.
    pub note: String,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostStatus {
    /// Role.
    pub role: String,
    /// Full name.
    pub fqdn: String,
    /// Address, empty while unknown.
    pub address: String,
    /// SHA-256 of the image its root was made from.
    pub image: String,
    /// Tasks done.
    pub done: usize,
    /// Out of so many.
    pub tasks: usize,
    /// How bring-up stands on it alone.
    #[serde(default = "unfinished")]
    pub outcome: Outcome,
    /// Whether it is there.
    #[serde(default)]
    pub stand: HostStand,
    /// When it was last heard, RFC 3339 in UTC; empty if it never was.
    #[serde(default)]
    pub heard: String,
}

/// What a status of an earlier muster says of its host.
fn unfinished() -> Outcome {
    Outcome::Unfinished
}

/// Whether a host is there, as the lead sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostStand {
    /// It is of the site and can be heard.
    #[default]
    Joined,
    /// It has not joined.
    Absent,
    /// It has joined, and its line is down.
    Silent,
}

/// A phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseStatus {
    /// Short name.
    pub name: String,
    /// What a person reads.
    pub title: String,
    /// How far it is: failed before running before waiting before done.
    pub stand: TaskStand,
    /// Tasks done.
    pub done: usize,
    /// Out of so many.
    pub tasks: usize,
}

/// A probe and its last attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbeStatus {
    /// Id of its task.
    pub id: String,
    /// Kind.
    pub probe: String,
    /// How it stands.
    pub colour: Colour,
    /// When it last ran, RFC 3339 in UTC; empty if it never did.
    pub at: String,
    /// How long it took, milliseconds.
    pub took: u64,
    /// What was seen, or why it is red.
    pub words: String,
}

/// An edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IntegrationStatus {
    /// Id in the plan.
    pub id: String,
    /// Who needs, `role/service`.
    pub consumer: String,
    /// Name of the need.
    pub need: String,
    /// Interface.
    pub interface: String,
    /// Who provides, `role/service`.
    pub provider: String,
    /// The worst of its probes.
    pub colour: Colour,
    /// Its probes.
    pub probes: Vec<ProbeStatus>,
}

/// A service by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// `role/service`.
    pub id: String,
    /// The worst of its probes.
    pub colour: Colour,
    /// Its probes.
    pub probes: Vec<ProbeStatus>,
}

/// A task that needs a person, or is being tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attention {
    /// Id of the task.
    pub task: String,
    /// How far it is.
    pub stand: TaskStand,
    /// Failed attempts.
    pub attempt: u32,
    /// Why.
    pub reason: String,
    /// Last lines of output and how to repeat it.
    pub output: String,
    /// systemd unit it is about, if any.
    pub unit: Option<String>,
    /// The next command to run.
    pub next: String,
}

/// A name people type into a browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteStatus {
    /// Where.
    pub url: String,
    /// What.
    pub summary: String,
}

impl Status {
    /// Puts the status of this host together: of all that is done and proven on it.
    pub fn of(facts: &Facts, jobs: &[Job], reports: &Reports) -> Status {
        Status::of_role(facts, &facts.role, jobs, reports)
    }

    /// The status of the host of another role while nothing is known of it.
    pub fn blank(facts: &Facts, role: &str) -> Status {
        let mut status = Status::of_role(facts, role, &jobs_of(facts, role), &Reports::default());
        for host in &mut status.hosts {
            host.image.clear();
            host.heard.clear();
            host.stand = HostStand::Absent;
        }
        status
    }

    fn of_role(facts: &Facts, role: &str, jobs: &[Job], reports: &Reports) -> Status {
        let stand = |job: &Job| {
            reports
                .tasks
                .get(&job.id)
                .map_or(TaskStand::Waiting, |task| task.stand)
        };
        let done = |jobs: &[&Job]| {
            jobs.iter()
                .filter(|job| stand(job) == TaskStand::Done)
                .count()
        };
        let all: Vec<&Job> = jobs.iter().collect();
        let phases = facts.plan.phases.iter().enumerate().map(|(number, phase)| {
            let own: Vec<&Job> = jobs.iter().filter(|job| job.phase == number).collect();
            PhaseStatus {
                name: phase.name.clone(),
                title: phase.title.clone(),
                stand: whole(&own.iter().map(|job| stand(job)).collect::<Vec<_>>()),
                done: done(&own),
                tasks: own.len(),
            }
        });
        let probes = probes(jobs, reports);
        let integrations: Vec<IntegrationStatus> = facts
            .plan
            .integrations
            .iter()
            .filter(|edge| facts.active(edge))
            .filter_map(|edge| {
                let own: Vec<ProbeStatus> = edge
                    .probes
                    .iter()
                    .filter_map(|id| probes.get(id).cloned())
                    .collect();
                // An edge is proven where its probes run.
                (!own.is_empty()).then(|| IntegrationStatus {
                    id: edge.id.clone(),
                    consumer: edge.consumer.to_string(),
                    need: edge.need.clone(),
                    interface: edge.interface.clone(),
                    provider: edge.provider.to_string(),
                    colour: worst(&own),
                    probes: own,
                })
            })
            .collect();
        let mut status = Status {
            format: FORMAT,
            stack: facts.plan.stack.clone(),
            organisation: facts
                .site
                .organisations
                .first()
                .map(|organisation| organisation.name.clone())
                .unwrap_or_default(),
            plan: facts.plan.digest.clone(),
            written: now(),
            outcome: Outcome::Unfinished,
            proven: 0,
            total: 0,
            hosts: vec![HostStatus {
                role: role.to_owned(),
                fqdn: facts.fqdn(role),
                address: facts.address(role).to_string(),
                image: facts.image.clone(),
                done: done(&all),
                tasks: all.len(),
                outcome: Outcome::Unfinished,
                stand: HostStand::Joined,
                heard: now(),
            }],
            phases: phases.collect(),
            integrations,
            services: services(jobs, &probes),
            attention: attention(jobs, reports),
            routes: routes(facts),
            deputy: None,
        };
        status.count();
        let stands: Vec<TaskStand> = jobs.iter().map(stand).collect();
        status.outcome = match whole(&stands) {
            TaskStand::Done if status.proven == status.total => Outcome::Green,
            TaskStand::Waiting | TaskStand::Running => Outcome::Unfinished,
            // With something still at work, a failure is not the end yet.
            _ if stands.contains(&TaskStand::Running) => Outcome::Unfinished,
            _ => Outcome::Red,
        };
        for host in &mut status.hosts {
            host.outcome = status.outcome;
        }
        status
    }

    fn count(&mut self) {
        let colours = || {
            let edges = self.integrations.iter().map(|edge| edge.colour);
            edges.chain(self.services.iter().map(|service| service.colour))
        };
        let (proven, total) = (
            colours().filter(|colour| *colour == Colour::Green).count(),
            colours().count(),
        );
        (self.proven, self.total) = (proven, total);
    }

    /// The status with what is the matter with a host itself; `whose` names it where there are
    /// several.
    pub fn troubled(mut self, reason: &str, whose: Option<&str>) -> Status {
        let (task, next) = match whose {
            Some(role) => {
                let task = format!("{role}/muster-agent");
                let next = format!("muster diagnose {task}");
                (task, next)
            }
            None => ("muster-agent".into(), "journalctl -u muster-agent".into()),
        };
        let agent = Attention {
            task,
            stand: TaskStand::Failed,
            attempt: 0,
            reason: reason.trim().into(),
            output: String::new(),
            unit: Some("muster-agent.service".into()),
            next,
        };
        self.attention.insert(0, agent);
        self.outcome = Outcome::Red;
        // The lead is the first of a site; anybody else speaks of itself alone.
        if let Some(own) = self.hosts.first_mut() {
            own.outcome = Outcome::Red;
        }
        self
    }

    /// The status as it is to be read at this time: what is old is stale, for whoever wrote
    /// it may have stopped.
    pub fn aged(mut self, now: Timestamp) -> Status {
        let mut outdated = BTreeSet::new();
        let mut age = |probe: &mut ProbeStatus| {
            let old = probe.at.parse::<Timestamp>().map_or(true, |at| {
                now.as_second().saturating_sub(at.as_second()) > STALE_AFTER
            });
            if probe.colour == Colour::Green && old {
                probe.colour = Colour::Stale;
                outdated.extend(probe.id.split('/').next().map(str::to_owned));
            }
        };
        for edge in &mut self.integrations {
            edge.probes.iter_mut().for_each(&mut age);
            edge.colour = worst(&edge.probes);
        }
        for service in &mut self.services {
            service.probes.iter_mut().for_each(&mut age);
            service.colour = worst(&service.probes);
        }
        self.count();
        if self.outcome == Outcome::Green && self.proven < self.total {
            self.outcome = Outcome::Red;
        }
        for host in &mut self.hosts {
            if host.outcome == Outcome::Green && outdated.contains(&host.role) {
                host.outcome = Outcome::Red;
            }
        }
        self
    }
}

/// What several tasks come to: the first of failed, running, waiting, done.
fn whole(stands: &[TaskStand]) -> TaskStand {
    let any = |stand| stands.contains(&stand);
    if any(TaskStand::Failed) || any(TaskStand::Blocked) {
        TaskStand::Failed
    } else if any(TaskStand::Running) {
        TaskStand::Running
    } else if any(TaskStand::Waiting) {
        // Between two tasks a phase that has begun is running.
        match any(TaskStand::Done) {
            true => TaskStand::Running,
            false => TaskStand::Waiting,
        }
    } else {
        TaskStand::Done
    }
}

fn worst(probes: &[ProbeStatus]) -> Colour {
    probes
        .iter()
        .map(|probe| probe.colour)
        .max()
        .unwrap_or(Colour::Unproven)
}

fn probes(jobs: &[Job], reports: &Reports) -> BTreeMap<String, ProbeStatus> {
    jobs.iter()
        .filter_map(|job| match &job.work {
            Work::Probe(task) => {
                let report = reports.probes.get(&task.id);
                Some((task.id.clone(), probe(task, report)))
            }
            _ => None,
        })
        .collect()
}

fn probe(task: &Task, report: Option<&ProbeReport>) -> ProbeStatus {
    let kind = match &task.kind {
        crate::plan::TaskKind::Probe { probe } => probe.probe.clone(),
        crate::plan::TaskKind::Step { .. } => String::new(),
    };
    match report {
        None => ProbeStatus {
            id: task.id.clone(),
            probe: kind,
            colour: Colour::Unproven,
            at: String::new(),
            took: 0,
            words: "it has not run yet".into(),
        },
        Some(report) => ProbeStatus {
            id: task.id.clone(),
            probe: kind,
            colour: if report.green {
                Colour::Green
            } else {
                Colour::Red
            },
            at: report.at.clone(),
            took: report.took,
            words: report.words.clone(),
        },
    }
}

/// Probes that belong to no edge, by service.
fn services(jobs: &[Job], probes: &BTreeMap<String, ProbeStatus>) -> Vec<ServiceStatus> {
    let mut services: Vec<ServiceStatus> = Vec::new();
    for job in jobs {
        let Work::Probe(task) = &job.work else {
            continue;
        };
        if task.integration.is_some() {
            continue;
        }
        let Some(probe) = probes.get(&task.id) else {
            continue;
        };
        let id = task.instance.to_string();
        match services.iter_mut().find(|service| service.id == id) {
            Some(service) => service.probes.push(probe.clone()),
            None => services.push(ServiceStatus {
                id,
                colour: Colour::Unproven,
                probes: vec![probe.clone()],
            }),
        }
    }
    for service in &mut services {
        service.colour = worst(&service.probes);
    }
    services
}

fn attention(jobs: &[Job], reports: &Reports) -> Vec<Attention> {
    jobs.iter()
        .filter_map(|job| {
            let task = reports.tasks.get(&job.id)?;
            let failing = matches!(task.stand, TaskStand::Failed | TaskStand::Blocked)
                || (task.attempt > 0 && task.stand != TaskStand::Done);
            failing.then(|| Attention {
                task: job.id.clone(),
                stand: task.stand,
                attempt: task.attempt,
                reason: task.reason.clone(),
                output: task.output.clone(),
                unit: task.unit.clone(),
                next: match task.stand {
                    TaskStand::Blocked => "muster diagnose".into(),
                    _ => format!("muster diagnose {}", job.id),
                },
            })
        })
        .collect()
}

fn routes(facts: &Facts) -> Vec<RouteStatus> {
    facts
        .plan
        .hosts
        .iter()
        .flat_map(|host| &host.routes)
        .filter(|route| !facts.disabled(&route.service))
        .map(|route| RouteStatus {
            url: format!("https://{}.{}/", route.host, facts.domain()),
            summary: route.summary.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
