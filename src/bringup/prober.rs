//! Makes probes of the plan and enters what they find on the board.

use super::board::{Board, ProbeReport, TaskStand};
use super::context::Facts;
use super::job::{Job, Work};
use super::journal::{Entry, History, now};
use super::probes;
use super::render::{RenderError, Renderer};
use super::wire::Network;
use crate::plan::Task;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Probes at the same time: one that waits must not hold up the rest.
const AT_ONCE: usize = 4;

/// Between the attempt that failed and the one that decides.
const SECOND_THOUGHT: Duration = Duration::from_secs(3);

/// Templates and TLS are shallow.
const STACK: usize = 1 << 20;

/// What a probe needs.
#[derive(Debug)]
pub struct Prober {
    /// Renders arguments.
    pub renderer: Arc<Renderer>,
    /// Names, trust and patience.
    pub network: Network,
    /// Where results go.
    pub board: Arc<Board>,
}

impl Prober {
    /// A prober for these facts.
    pub fn new(facts: Arc<Facts>, board: Arc<Board>, limit: Duration) -> Prober {
        Prober {
            network: network(&facts, limit),
            renderer: Renderer::new(facts),
            board,
        }
    }

    /// Makes one attempt and enters it on the board.
    pub fn probe(&self, task: &Task) -> Result<ProbeReport, RenderError> {
        let (report, rendered) = self.attempt(task);
        self.board.probed(&task.id, report.clone());
        rendered.map(|()| report)
    }

    /// As [`Prober::probe`], but what was green turns red only after two attempts in a row:
    /// a host that is busy for a moment is not broken.
    pub fn watch(&self, task: &Task) -> Result<ProbeReport, RenderError> {
        let green = |report: &ProbeReport| report.green;
        let before = self.board.reports().probes.get(&task.id).is_some_and(green);
        let (mut report, mut rendered) = self.attempt(task);
        if before && !report.green {
            std::thread::sleep(SECOND_THOUGHT);
            (report, rendered) = self.attempt(task);
        }
        self.board.probed(&task.id, report.clone());
        rendered.map(|()| report)
    }

    fn attempt(&self, task: &Task) -> (ProbeReport, Result<(), RenderError>) {
        let start = Instant::now();
        let rendered = self.renderer.probe(task);
        let result = match &rendered {
            Ok(Some(probe)) => {
                probes::attempt(probe, &self.network).map_err(|refusal| refusal.to_string())
            }
            Ok(None) => Err(format!("{} is no probe", task.id)),
            Err(error) => Err(error.to_string()),
        };
        let (green, words) = match result {
            Ok(words) => (true, words),
            Err(words) => (false, words),
        };
        let report = ProbeReport {
            green,
            at: now(),
            took: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            words: self.renderer.facts.redact(&words),
        };
        (report, rendered.map(drop))
    }

    /// Enters what the journal knows of each job, for a view without the agent.
    pub fn recall(&self, history: &History, jobs: &[Job]) {
        for job in jobs {
            let Some(state) = history.tasks.get(&job.id) else {
                self.board.stand(&job.id, self.unrecorded(job));
                continue;
            };
            match &state.last.entry {
                Entry::Done { .. } => self.board.stand(&job.id, TaskStand::Done),
                Entry::Started => self.board.stand(&job.id, TaskStand::Running),
                Entry::Failed {
                    attempt,
                    reason,
                    output,
                } => self.board.change(&job.id, |report| {
                    report.stand = TaskStand::Failed;
                    report.attempt = *attempt;
                    report.reason.clone_from(reason);
                    report.output.clone_from(output);
                }),
            }
        }
    }

    /// A step that is not wanted on this site leaves no record, and is done.
    fn unrecorded(&self, job: &Job) -> TaskStand {
        match &job.work {
            Work::Step(task) if self.renderer.step(task).is_ok_and(|all| all.is_empty()) => {
                TaskStand::Done
            }
            _ => TaskStand::Waiting,
        }
    }

    /// Makes every probe once, a few at the same time; `after` hears of each.
    pub fn probe_all(&self, jobs: &[Job], after: &(dyn Fn(&Task, &ProbeReport) + Sync)) {
        let order: Vec<_> = tasks(jobs).map(|task| (Duration::ZERO, task)).collect();
        go_round(&order, |task| {
            // A template that is wrong is on the board as a red probe.
            if let Ok(report) = self.probe(task) {
                after(task, &report);
            }
        });
    }
}

/// The probes among jobs.
pub fn tasks(jobs: &[Job]) -> impl Iterator<Item = &Task> {
    jobs.iter().filter_map(|job| match &job.work {
        Work::Probe(task) => Some(task),
        _ => None,
    })
}

/// Looks at every probe in this order, none before it is due after the beginning.
pub fn go_round(order: &[(Duration, &Task)], look: impl Fn(&Task) + Sync) {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((due, task)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            look(task);
        }
    };
    std::thread::scope(|scope| {
        let builder = || std::thread::Builder::new().stack_size(STACK);
        for _ in 1..AT_ONCE {
            // Where no thread can be had, fewer do it.
            let _ = builder().spawn_scoped(scope, work);
        }
        work();
    });
}

/// Names of the plan: hosts, and the routes that a host's proxy answers. This host's own
/// names are itself.
fn network(facts: &Facts, limit: Duration) -> Network {
    let mut names = BTreeMap::new();
    for host in &facts.plan.hosts {
        let address: Option<IpAddr> = if host.role == facts.role {
            Some(IpAddr::from([127, 0, 0, 1]))
        } else {
            facts.address(&host.role).parse().ok()
        };
        let Some(address) = address else { continue };
        names.insert(facts.fqdn(&host.role), address);
        names.insert(host.role.clone(), address);
        for route in &host.routes {
            names.insert(format!("{}.{}", route.host, facts.domain()), address);
            for alias in facts.site.aliases.get(&route.host).into_iter().flatten() {
                names.insert(alias.clone(), address);
            }
        }
    }
    Network {
        names,
        hosts: facts.places.hosts.clone(),
        ca: facts.places.ca.clone(),
        limit,
    }
}
