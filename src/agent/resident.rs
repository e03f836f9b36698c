//! What the agent does for as long as the host is up: bring-up and its retries, a probe of
//! everything each minute, `status.json`, and the socket that answers whoever asks.

use super::herald::Herald;
use super::view::View;
use super::wake::Why;
use super::{AgentError, Result, socket, thread, trouble};
use crate::bringup::board::TaskStand;
use crate::bringup::job::{Job, Work};
use crate::bringup::prober;
use crate::bringup::run::{Executor, Moment, Observer};
use crate::bringup::status::site::awaited;
use crate::bringup::status::{Outcome, Status};
use crate::plan::Task;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Between two attempts of the same probe …
const PROBE_EVERY: Duration = Duration::from_secs(60);
/// … and how often in that time where the edge leads to another host: what breaks between hosts is
/// to be red within a minute. Two attempts that wait for an answer take 23 s of it; and a Prometheus
/// that waits for its target in vain says so 25 s after it has had the last answer.
const EDGE_IN_A_ROUND: u32 = 3;
/// Between two attempts at tasks that have failed.
const RETRY_EVERY: Duration = Duration::from_secs(180);
/// Before each further look at what is red when bring-up ends.
const SECOND_LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(20),
    Duration::from_secs(40),
];
/// Between two looks at the age of certificates.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);
/// A clock that is set by more than this makes every certificate worth a look.
const JUMP: Duration = Duration::from_secs(300);
/// At most so often `status.json` is written.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at hosts that may have fallen silent.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Lives; gives why it cannot go on. The process must end then: the other threads do not.
/// `begin` starts what else there is to be done.
pub fn live(
    view: &Arc<View>,
    herald: &Arc<Herald>,
    begin: impl FnOnce() -> Result<()>,
) -> AgentError {
    match attend(view, herald).and_then(|()| begin()) {
        Err(error) => error,
        Ok(()) => {
            let error = bring_up_for_ever(view, herald);
            write_status(view);
            herald.note(&error.to_string());
            error
        }
    }
}

/// Starts what happens beside bring-up.
fn attend(view: &Arc<View>, herald: &Arc<Herald>) -> Result<()> {
    let listener = socket::open(&view.executor().facts().places.socket())?;
    let own = Arc::clone(view);
    thread("status", move || keep_status(&own))?;
    let (own, told) = (Arc::clone(view), Arc::clone(herald));
    thread("probes", move || probe_for_ever(&own, &told))?;
    let own = Arc::clone(view);
    thread("socket", move || {
        socket::serve(&own, &listener, write_status)
    })
}

/// Runs the plan, and what has failed again every few minutes; gives why it cannot go on.
fn bring_up_for_ever(view: &View, herald: &Herald) -> AgentError {
    let executor = view.executor();
    let mut end = End::new(view, herald);
    let mut renewed = Clock::now();
    loop {
        let summary = match executor.run() {
            Ok(summary) => summary,
            Err(error) => return error.into(),
        };
        let waits = !summary.awaited.is_empty();
        end.look(waits);
        let mut again = Instant::now() + RETRY_EVERY;
        loop {
            let limit = again.saturating_duration_since(Instant::now());
            let why = view.wake().wait(match view.has_others() {
                true => limit.min(LOOK_EVERY),
                false => limit,
            });
            if why == Why::Again || Instant::now() >= again {
                again = Instant::now() + RETRY_EVERY;
                let due = renewed.steady.elapsed() >= RENEW_EVERY || renewed.jumped();
                if due {
                    renewed = Clock::now();
                }
                if executor.reopen(|job| due && certified(job)) > 0 {
                    break;
                }
            }
            if executor.is_ready() {
                break;
            }
            end.look(waits);
        }
    }
}

/// Watches for the end of bring-up, and for what becomes of it later.
struct End<'a> {
    view: &'a View,
    herald: &'a Herald,
    told: Option<Outcome>,
    /// Whether it was said for which hosts it waits.
    waited: bool,
}

impl<'a> End<'a> {
    fn new(view: &'a View, herald: &'a Herald) -> End<'a> {
        End {
            view,
            herald,
            told: None,
            waited: false,
        }
    }

    /// Looks at how all stands; `waits` while tasks here wait for those of other hosts.
    fn look(&mut self, waits: bool) {
        let mut status = self.view.written();
        if let Some(before) = self.told {
            // A host that begins again is at work, which is no outcome.
            if before != status.outcome && !self.is_open(&status) {
                self.herald.outcome(&status);
                self.told = Some(status.outcome);
            }
            return;
        }
        // While other hosts have their turn it has not ended.
        if self.wait_for_others(&status) || waits {
            return;
        }
        // Probes that a host busy with bring-up has failed are not how it ends. Some tell what
        // others have measured, and that takes its time.
        for pause in SECOND_LOOKS {
            if status.outcome != Outcome::Red {
                break;
            }
            std::thread::sleep(pause);
            self.view.probe();
            status = self.view.written();
        }
        if self.is_open(&status) {
            return;
        }
        self.herald.ended(&status);
        self.herald.hush();
        self.told = Some(status.outcome);
    }

    /// Whether another host is at work.
    fn is_open(&self, status: &Status) -> bool {
        self.view.has_others() && status.outcome == Outcome::Unfinished
    }

    /// Whether another host is at work; says which, once.
    fn wait_for_others(&mut self, status: &Status) -> bool {
        let open = self.is_open(status);
        if open
            && !self.waited
            && let Some(words) = awaited(status)
        {
            self.herald.note(&words);
            self.waited = true;
        }
        open
    }
}

/// A moment on both clocks: the one that people set, and the one that only counts.
struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    fn now() -> Clock {
        Clock {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Whether the wall clock was set since.
    fn jumped(&self) -> bool {
        let expected = self.wall + self.steady.elapsed();
        let apart = SystemTime::now().duration_since(expected);
        apart.unwrap_or_else(|error| error.duration()) > JUMP
    }
}

/// Jobs that issue certificates, and those that must hear of a new one.
fn certified(job: &Job) -> bool {
    matches!(job.work, Work::Certificates(_))
        || job.watch.iter().any(|id| id.ends_with("/certificates"))
}

/// Probes everything that has been brought up, each once a minute, evenly spread.
fn probe_for_ever(view: &View, herald: &Herald) {
    let executor = view.executor();
    let tasks: Vec<&Task> = prober::tasks(executor.jobs()).collect();
    let plan = &executor.facts().plan;
    let between = |task: &Task| {
        let edge = task.integration.and_then(|at| plan.integrations.get(at));
        edge.is_some_and(|edge| edge.consumer.role != edge.provider.role)
    };
    let order = order(&tasks, between);
    loop {
        let round = Instant::now();
        prober::go_round(&order, |task| look(view, herald, task));
        std::thread::sleep(PROBE_EVERY.saturating_sub(round.elapsed()));
    }
}

/// When in a round each probe is due: all spread over it, and those between hosts again in each
/// further part of it.
fn order<'a>(tasks: &[&'a Task], between: impl Fn(&Task) -> bool) -> Vec<(Duration, &'a Task)> {
    let gap = PROBE_EVERY / u32::try_from(tasks.len().max(1)).unwrap_or(u32::MAX);
    let mut order = Vec::new();
    for (number, task) in tasks.iter().copied().enumerate() {
        let due = gap * u32::try_from(number).unwrap_or(0);
        let times = if between(task) { EDGE_IN_A_ROUND } else { 1 };
        for part in 0..times {
            let due = due + PROBE_EVERY / times * part;
            order.push((wrapped(due), task));
        }
    }
    order.sort_by_key(|(due, _)| *due);
    order
}

/// What is due behind the end of a round is due at its beginning.
fn wrapped(due: Duration) -> Duration {
    due.checked_sub(PROBE_EVERY).unwrap_or(due)
}

/// Makes a probe that has been made in bring-up, and tells when its colour changes.
fn look(view: &View, herald: &Herald, task: &Task) {
    let executor = view.executor();
    let stand = {
        let reports = executor.board().reports();
        reports.tasks.get(&task.id).map(|task| task.stand)
    };
    // Else bring-up is at it, or has not come so far.
    if !matches!(stand, Some(TaskStand::Done | TaskStand::Failed)) {
        return;
    }
    let before = colour(executor, task);
    if let Ok(report) = executor.prober().watch(task)
        && before != Some(report.green)
    {
        let moment = match report.green {
            true => Moment::Done,
            false => Moment::Failed,
        };
        herald.task(&task.id, moment, &report.words);
        view.wake().ring(Why::Again);
    }
}

fn colour(executor: &Executor, task: &Task) -> Option<bool> {
    let reports = executor.board().reports();
    reports.probes.get(&task.id).map(|report| report.green)
}

/// Writes `status.json` whenever something has changed, and tells the lead.
fn keep_status(view: &View) {
    let mut seen = None;
    loop {
        let mark = Some(view.mark());
        if seen != mark {
            seen = mark;
            write_status(view);
            view.tell();
        }
        std::thread::sleep(WRITE_EVERY);
    }
}

/// Replaced in one rename, not synced: after a power cut the old one is old news anyway.
fn write_status(view: &View) {
    let places = &view.executor().facts().places;
    let path = places.status();
    let beside = path.with_extension("new");
    let written = serde_json::to_vec(&view.written())
        .map_err(std::io::Error::other)
        .and_then(|json| std::fs::write(&beside, json))
        .and_then(|()| std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o644)))
        .and_then(|()| std::fs::rename(&beside, &path));
    let words = match written {
        Ok(()) => trouble::of_host(places),
        Err(error) => {
            let words = trouble::of_disk(&format!("cannot write {}", path.display()), &error);
            eprintln!("{words}");
            Some(trouble::of_host(places).unwrap_or(words))
        }
    };
    trouble::tell(places, words.as_deref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TaskKind;
    use crate::profile::{Instance, Probe};
    use std::collections::BTreeMap;

    fn probe(id: &str, integration: Option<usize>) -> Task {
        Task {
            id: id.to_owned(),
            phase: 0,
            instance: Instance {
                role: "edge".to_owned(),
                service: "app".to_owned(),
            },
            integration,
            after: Vec::new(),
            kind: TaskKind::Probe {
                probe: Probe {
                    id: id.to_owned(),
                    probe: "tcp".to_owned(),
                    with: BTreeMap::new(),
                },
            },
        }
    }

    #[test]
    fn edges_between_hosts_are_probed_thrice_in_a_round() {
        let all = [
            probe("a", None),
            probe("b", Some(0)),
            probe("c", None),
            probe("d", Some(1)),
        ];
        let order = order(&all.iter().collect::<Vec<_>>(), |task| {
            task.integration.is_some()
        });
        let order: Vec<(u64, &str)> = order
            .iter()
            .map(|(due, task)| (due.as_secs(), task.id.as_str()))
            .collect();
        assert_eq!(
            order,
            [
                (0, "a"),
                (5, "d"),
                (15, "b"),
                (25, "d"),
                (30, "c"),
                (35, "b"),
                (45, "d"),
                (55, "b"),
            ]
        );
    }
}
