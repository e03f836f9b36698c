//! What the agent does for as long as the host is up: bring-up and its retries, a probe of
//! everything each minute, `status.json`, and `muster verify`.

use super::herald::Herald;
use super::{AgentError, Result, at, trouble};
use crate::bringup::board::TaskStand;
use crate::bringup::job::{Job, Work};
use crate::bringup::run::{Executor, Moment, Observer};
use crate::bringup::status::{Outcome, Status};
use crate::plan::Task;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Between two attempts of the same probe.
const PROBE_EVERY: Duration = Duration::from_secs(60);
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
/// Templates and TLS are shallow.
const STACK: usize = 1 << 20;

/// Somebody wants failed tasks tried again now.
#[derive(Default)]
struct Wake {
    wanted: Mutex<bool>,
    rung: Condvar,
}

impl Wake {
    fn ring(&self) {
        *lock(&self.wanted) = true;
        self.rung.notify_all();
    }

    /// Waits until somebody rings, at most so long.
    fn wait(&self, limit: Duration) {
        let wanted = lock(&self.wanted);
        let waited = self
            .rung
            .wait_timeout_while(wanted, limit, |wanted| !*wanted);
        let mut wanted = match waited {
            Ok((wanted, _)) => wanted,
            Err(poisoned) => poisoned.into_inner().0,
        };
        *wanted = false;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Rings when failed tasks are to be tried again, or others can go on.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// Lives; gives why it cannot go on. The process must end then: the other threads do not.
/// `begin` starts what else there is to be done, and rings when other hosts have news.
pub fn live(
    executor: Arc<Executor>,
    herald: Arc<Herald>,
    begin: impl FnOnce(Bell) -> Result<()>,
) -> AgentError {
    let attended = attend(&executor, &herald).and_then(|wake| {
        let own = Arc::clone(&wake);
        begin(Arc::new(move || own.ring()))?;
        Ok(wake)
    });
    match attended {
        Err(error) => error,
        Ok(wake) => {
            let error = bring_up_for_ever(&executor, &herald, &wake);
            write_status(&executor);
            herald.note(&error.to_string());
            error
        }
    }
}

/// Starts what happens beside bring-up.
fn attend(executor: &Arc<Executor>, herald: &Arc<Herald>) -> Result<Arc<Wake>> {
    let socket = executor.facts().places.socket();
    // One left by an agent that was killed.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(at(&socket))?;
    // Whoever is on the host may ask for the truth; nothing else can be asked here.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).map_err(at(&socket))?;
    let wake = Arc::new(Wake::default());
    let own = Arc::clone(executor);
    spawn("status", move || keep_status(&own))?;
    let (own, told, rung) = (Arc::clone(executor), Arc::clone(herald), Arc::clone(&wake));
    spawn("probes", move || probe_for_ever(&own, &told, &rung))?;
    let (own, rung) = (Arc::clone(executor), Arc::clone(&wake));
    spawn("verify", move || answer(&own, &listener, &rung))?;
    Ok(wake)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
        .map_err(at(Path::new("/proc/self/task")))
}

/// Runs the plan, and what has failed again every few minutes; gives why it cannot go on.
fn bring_up_for_ever(executor: &Executor, herald: &Herald, wake: &Wake) -> AgentError {
    let mut told: Option<Outcome> = None;
    let mut renewed = Clock::now();
    loop {
        let summary = match executor.run() {
            Ok(summary) => summary,
            Err(error) => return error.into(),
        };
        let mut status = status(executor);
        // While other hosts have their turn it has not ended.
        let waits = told.is_none() && !summary.awaited.is_empty();
        if told.is_none() && !waits {
            // Probes that a host busy with bring-up has failed are not how it ends. Some tell
            // what others have measured, and that takes its time.
            for pause in SECOND_LOOKS {
                if status.outcome != Outcome::Red {
                    break;
                }
                std::thread::sleep(pause);
                executor.prober().probe_all(executor.jobs(), &|_, _| {});
                status = self::status(executor);
            }
        }
        match told {
            None if waits => {}
            None => {
                herald.ended(&status);
                herald.hush();
            }
            Some(before) if before != status.outcome => herald.outcome(&status),
            Some(_) => {}
        }
        if !waits {
            told = Some(status.outcome);
        }
        loop {
            wake.wait(RETRY_EVERY);
            let due = renewed.steady.elapsed() >= RENEW_EVERY || renewed.jumped();
            if due {
                renewed = Clock::now();
            }
            if executor.reopen(|job| due && certified(job)) > 0 || executor.is_ready() {
                break;
            }
            let now = self::status(executor);
            if told.is_some() && told != Some(now.outcome) {
                herald.outcome(&now);
                told = Some(now.outcome);
            }
        }
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

fn status(executor: &Executor) -> Status {
    Status::of(
        executor.facts(),
        executor.jobs(),
        &executor.board().reports(),
    )
}

/// Probes everything that has been brought up, each once a minute, evenly spread.
fn probe_for_ever(executor: &Executor, herald: &Herald, wake: &Wake) {
    let tasks: Vec<&Task> = executor
        .jobs()
        .iter()
        .filter_map(|job| match &job.work {
            Work::Probe(task) => Some(task),
            _ => None,
        })
        .collect();
    let gap = PROBE_EVERY / u32::try_from(tasks.len().max(1)).unwrap_or(1);
    loop {
        let round = Instant::now();
        for (number, task) in tasks.iter().enumerate() {
            let due = gap * u32::try_from(number).unwrap_or(0);
            std::thread::sleep(due.saturating_sub(round.elapsed()));
            let stand = {
                let reports = executor.board().reports();
                reports.tasks.get(&task.id).map(|task| task.stand)
            };
            match stand {
                Some(TaskStand::Done | TaskStand::Failed) => {}
                // Bring-up is at it, or has not come so far.
                _ => continue,
            }
            let before = colour(executor, task);
            if let Ok(report) = executor.prober().watch(task)
                && before != Some(report.green)
            {
                let moment = if report.green {
                    Moment::Done
                } else {
                    Moment::Failed
                };
                herald.task(&task.id, moment, &report.words);
                wake.ring();
            }
        }
        std::thread::sleep(PROBE_EVERY.saturating_sub(round.elapsed()));
    }
}

fn colour(executor: &Executor, task: &Task) -> Option<bool> {
    let reports = executor.board().reports();
    reports.probes.get(&task.id).map(|report| report.green)
}

/// Writes `status.json` whenever something has changed.
fn keep_status(executor: &Executor) {
    let mut seen = None;
    loop {
        let changes = executor.board().reports().changes;
        if seen != Some(changes) {
            seen = Some(changes);
            write_status(executor);
        }
        std::thread::sleep(WRITE_EVERY);
    }
}

/// Replaced in one rename, not synced: after a power cut the old one is old news anyway.
fn write_status(executor: &Executor) {
    let path = executor.facts().places.status();
    let beside = path.with_extension("new");
    let written = serde_json::to_vec(&status(executor))
        .map_err(std::io::Error::other)
        .and_then(|json| std::fs::write(&beside, json))
        .and_then(|()| std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o644)))
        .and_then(|()| std::fs::rename(&beside, &path));
    let places = &executor.facts().places;
    let words = match written {
        Ok(()) => trouble::of_host(places),
        Err(error) => {
            let words = trouble::of_disk(&format!("cannot write {}", path.display()), &error);
            eprintln!("{words}");
            Some(words)
        }
    };
    trouble::tell(places, words.as_deref());
}

/// Answers `muster verify`: every probe now, failed tasks again, the status as JSON.
fn answer(executor: &Executor, listener: &UnixListener, wake: &Wake) {
    for visitor in listener.incoming() {
        let result = visitor.and_then(|visitor| verify(executor, visitor, wake));
        if let Err(error) = result {
            eprintln!("verify: {error}");
        }
    }
}

fn verify(executor: &Executor, mut visitor: UnixStream, wake: &Wake) -> std::io::Result<()> {
    visitor.set_write_timeout(Some(Duration::from_secs(10)))?;
    let prober = executor.prober();
    prober.probe_all(executor.jobs(), &|_, _| {});
    let json = serde_json::to_vec(&status(executor))?;
    write_status(executor);
    wake.ring();
    visitor.write_all(&json)
}
