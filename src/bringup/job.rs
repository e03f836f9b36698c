//! What this host has to do: the plan's tasks of its role, and what every host does first.

use super::context::Facts;
use crate::plan::{Task, TaskKind};
use crate::profile::{Action, Effect, Instance, UnitState};
use std::collections::{BTreeMap, BTreeSet};

/// The name under which a host's own work stands beside services, `role/muster/…`.
pub const OWN: &str = "muster";

/// What a job does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Makes the site CA and lets the host trust it.
    Authority,
    /// Issues the certificates of a service.
    Certificates(Instance),
    /// A step of the plan.
    Step(Task),
    /// A probe of the plan.
    Probe(Task),
}

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// Unique.
    pub id: String,
    /// Index of its phase; the host's own work belongs to the first.
    pub phase: usize,
    /// Jobs that must be done before.
    pub after: Vec<String>,
    /// Jobs whose change makes this one run again.
    pub watch: Vec<String>,
    /// Where its effect lives.
    pub effect: Effect,
    /// What it does.
    pub work: Work,
}

/// Id of the job that makes the site CA.
pub fn authority_id(role: &str) -> String {
    format!("{role}/{OWN}/ca")
}

/// Id of the job that issues a service's certificates.
pub fn certificates_id(instance: &Instance) -> String {
    format!("{instance}/certificates")
}

/// Every job of this host, in plan order. Services that were switched off have none, nor
/// have grants and probes of edges that end at one.
pub fn jobs(facts: &Facts) -> Vec<Job> {
    jobs_of(facts, &facts.role)
}

/// The same of the host of a role.
pub fn jobs_of(facts: &Facts, role: &str) -> Vec<Job> {
    let authority = authority_id(role);
    let own = |id: String, work: Work, after: Vec<String>| Job {
        id,
        phase: 0,
        after,
        watch: Vec::new(),
        effect: Effect::Root,
        work,
    };
    let mut jobs = vec![own(authority.clone(), Work::Authority, Vec::new())];
    let tasks: Vec<&Task> = facts
        .plan
        .tasks
        .iter()
        .filter(|task| task.instance.role == role && taking_part(facts, task))
        .collect();
    let graph: BTreeMap<&str, &Task> = tasks.iter().map(|task| (task.id.as_str(), *task)).collect();
    let mut certified = BTreeSet::new();
    for task in &tasks {
        let has_certificates = facts
            .stack
            .services
            .get(&task.instance.service)
            .is_some_and(|service| !service.certificates.is_empty());
        let certificates = certificates_id(&task.instance);
        if has_certificates && certified.insert(task.instance.clone()) {
            jobs.push(Job {
                phase: task.phase,
                effect: Effect::State,
                ..own(
                    certificates.clone(),
                    Work::Certificates(task.instance.clone()),
                    vec![authority.clone()],
                )
            });
        }
        let mut after = task.after.clone();
        after.push(authority.clone());
        let mut watch = watched(task, &graph);
        if has_certificates {
            after.push(certificates.clone());
            if serves(task) {
                watch.push(certificates);
            }
        }
        let (effect, work) = match &task.kind {
            TaskKind::Step { effect, .. } => (*effect, Work::Step((*task).clone())),
            TaskKind::Probe { .. } => (Effect::State, Work::Probe((*task).clone())),
        };
        jobs.push(Job {
            id: task.id.clone(),
            phase: task.phase,
            after,
            watch,
            effect,
            work,
        });
    }
    jobs
}

/// Ids of the tasks of other hosts: what here waits for one of them waits until it is told.
pub fn outside(facts: &Facts) -> BTreeSet<String> {
    let tasks = facts.plan.tasks.iter();
    tasks
        .filter(|task| task.instance.role != facts.role && taking_part(facts, task))
        .map(|task| task.id.clone())
        .collect()
}

/// Whether nothing that a task is for was switched off.
pub fn taking_part(facts: &Facts, task: &Task) -> bool {
    !facts.disabled(&task.instance)
        && task
            .integration
            .and_then(|index| facts.plan.integrations.get(index))
            .is_none_or(|edge| facts.active(edge))
}

/// Whether a step keeps a unit running.
fn serves(task: &Task) -> bool {
    matches!(
        &task.kind,
        TaskKind::Step {
            step: Action::Unit {
                state: UnitState::Started | UnitState::Reloaded,
                ..
            },
            ..
        }
    )
}

/// What makes a step run again: what a unit names; and for a command that cannot tell
/// whether it was done, the steps of its service before it.
fn watched(task: &Task, graph: &BTreeMap<&str, &Task>) -> Vec<String> {
    let TaskKind::Step { step, .. } = &task.kind else {
        return Vec::new();
    };
    match step {
        Action::Unit { watch, .. } => watch.clone(),
        Action::Command { unless, .. } if unless.is_empty() => {
            let mut found = BTreeSet::new();
            let mut reach: Vec<&str> = task.after.iter().map(String::as_str).collect();
            while let Some(id) = reach.pop() {
                let Some(before) = graph.get(id) else {
                    continue;
                };
                if before.instance == task.instance && found.insert(before.id.clone()) {
                    reach.extend(before.after.iter().map(String::as_str));
                }
            }
            found.retain(|id| {
                graph.get(id.as_str()).is_some_and(|task| {
                    matches!(&task.kind, TaskKind::Step { step, .. }
                        if !matches!(step, Action::Unit { .. } | Action::Wait { .. }))
                })
            });
            found.into_iter().collect()
        }
        _ => Vec::new(),
    }
}
