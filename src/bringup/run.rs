//! Runs the jobs of this host in parallel, as far as their order allows.

use super::actions::Surroundings;
use super::attempt::{Failure, Outcome};
use super::board::{Board, TaskStand};
use super::context::Facts;
use super::job::{self, Job, Work};
use super::journal::{Entry, Journal, JournalError};
use super::prober::Prober;
use super::render::Renderer;
use super::schedule::{Next, Schedule};
use crate::plan::TaskKind;
use crate::profile::Action;
use crate::site::authority::Signs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A worker renders templates and speaks TLS; both are shallow.
const WORKER_STACK: usize = 1 << 20;

/// A moment in the life of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The journal says "started".
    Started,
    /// The effect is there, not yet verified.
    Applied,
    /// Verified; the journal is about to say "done".
    Done,
    /// An attempt failed.
    Failed,
}

/// Where to stop for ever, for tests that cut the power: a debugging facility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakPoint {
    /// Id of the task.
    pub task: String,
    /// Which moment of it.
    pub moment: Moment,
}

impl BreakPoint {
    /// Parses `<task id>:<started|applied|done>`.
    pub fn parse(text: &str) -> Option<BreakPoint> {
        let (task, moment) = text.trim().rsplit_once(':')?;
        let moment = match moment {
            "started" => Moment::Started,
            "applied" => Moment::Applied,
            "done" => Moment::Done,
            _ => return None,
        };
        Some(BreakPoint {
            task: task.to_string(),
            moment,
        })
    }
}

/// Whoever wants to know.
pub trait Observer: Send + Sync {
    /// A moment of a task.
    fn task(&self, id: &str, moment: Moment, message: &str);
    /// A task is done, by us or before.
    fn settled(&self, id: &str) {
        let _ = id;
    }
    /// The first task of a phase begins.
    fn phase(&self, name: &str, title: &str);
    /// Something a person should know once.
    fn note(&self, text: &str);
}

/// How long to try.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Attempts at a step.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubles each time.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// How long a probe or a `wait` is polled.
    pub poll: Duration,
    /// Longest pause between two polls.
    pub poll_pause: Duration,
}

impl Default for Patience {
    /// Generous: an emulated machine is twenty times slower than a real one.
    fn default() -> Self {
        Patience {
            attempts: 8,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            poll: Duration::from_secs(600),
            poll_pause: Duration::from_secs(5),
        }
    }
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tasks at the same time.
    pub workers: usize,
    /// How long to try.
    pub patience: Patience,
    /// Where to stop for ever.
    pub break_point: Option<BreakPoint>,
    /// For each connect, read and write of a probe.
    pub network_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            workers: std::thread::available_parallelism()
                .map_or(2, |count| count.get().clamp(2, 4)),
            patience: Patience::default(),
            break_point: None,
            network_limit: Duration::from_secs(30),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Ids of the tasks that failed.
    pub failed: Vec<String>,
    /// Ids of the tasks that were not tried because of them.
    pub blocked: Vec<String>,
    /// Ids of the tasks of other hosts that the rest waits for.
    pub awaited: BTreeSet<String>,
}

/// The jobs of this host and all they need.
pub struct Executor {
    pub(super) renderer: Arc<Renderer>,
    pub(super) around: Surroundings,
    pub(super) board: Arc<Board>,
    pub(super) prober: Arc<Prober>,
    pub(super) signer: Arc<dyn Signs>,
    jobs: Vec<Job>,
    journal: Mutex<Journal>,
    options: Options,
    observer: Arc<dyn Observer>,
    /// Task → digest of its inputs and how often its effect was made.
    results: Mutex<BTreeMap<String, (String, u64)>>,
    run: Mutex<Run>,
    changed: Condvar,
}

struct Run {
    schedule: Schedule,
    /// Job → failed attempts and when the first began.
    tries: BTreeMap<usize, (u32, Instant)>,
    phases: BTreeSet<usize>,
    broken: Option<JournalError>,
}

impl Executor {
    /// Prepares the jobs of this host.
    pub fn new(
        facts: Arc<Facts>,
        journal: Journal,
        board: Arc<Board>,
        options: Options,
        observer: Arc<dyn Observer>,
        signer: Arc<dyn Signs>,
    ) -> Executor {
        let jobs = job::jobs(&facts);
        for job in &jobs {
            board.change(&job.id, |report| report.unit = unit(job));
        }
        let prober = Prober::new(
            Arc::clone(&facts),
            Arc::clone(&board),
            options.network_limit,
        );
        let around = Surroundings {
            root: facts.places.root.clone(),
            network: prober.network.clone(),
        };
        let schedule = schedule(&jobs, &job::outside(&facts));
        Executor {
            signer,
            renderer: Arc::clone(&prober.renderer),
            prober: Arc::new(prober),
            around,
            board,
            jobs,
            journal: Mutex::new(journal),
            options,
            observer,
            results: Mutex::new(BTreeMap::new()),
            run: Mutex::new(Run {
                schedule,
                tries: BTreeMap::new(),
                phases: BTreeSet::new(),
                broken: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// The facts.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.renderer.facts
    }

    /// The board.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Makes probes, beside the run or after it.
    pub fn prober(&self) -> &Arc<Prober> {
        &self.prober
    }

    /// The jobs, in plan order.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    pub(super) fn remember(&self, id: &str, digest: String, applied: u64) {
        lock(&self.results).insert(id.to_string(), (digest, applied));
    }

    /// What the watched jobs have come to.
    pub(super) fn watched(&self, job: &Job) -> String {
        let results = lock(&self.results);
        let mut text = String::new();
        for id in &job.watch {
            if let Some((digest, applied)) = results.get(id) {
                text.push_str(&format!("{id} {digest} {applied}\n"));
            }
        }
        text
    }

    /// Tells of a moment; at the break point never returns.
    pub(super) fn moment(&self, id: &str, moment: Moment, message: &str) {
        let message = self.renderer.facts.redact(message);
        self.observer.task(id, moment, &message);
        let here = |at: &BreakPoint| at.task == id && at.moment == moment;
        if self.options.break_point.as_ref().is_some_and(here) {
            self.observer
                .note(&format!("break point at {id}: waiting for ever"));
            loop {
                std::thread::park();
            }
        }
    }

    /// Runs what is open until all is done, failed or blocked.
    pub fn run(&self) -> Result<Summary, JournalError> {
        std::thread::scope(|scope| {
            for number in 0..self.options.workers.max(1) {
                let worker = std::thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .stack_size(WORKER_STACK)
                    .spawn_scoped(scope, || self.work());
                // Fewer workers are slower, none is worked around below.
                if worker.is_err() && number == 0 {
                    self.work();
                }
            }
        });
        let mut run = lock(&self.run);
        if let Some(error) = run.broken.take() {
            return Err(error);
        }
        let awaited = run.schedule.awaited().into_iter();
        let mut summary = Summary {
            awaited: awaited.map(str::to_string).collect(),
            ..Summary::default()
        };
        for (number, job) in self.jobs.iter().enumerate() {
            match run.schedule.stand(number) {
                super::schedule::Stand::Failed => summary.failed.push(job.id.clone()),
                super::schedule::Stand::Blocked => summary.blocked.push(job.id.clone()),
                _ => {}
            }
        }
        Ok(summary)
    }

    /// Tasks of other hosts are done, or are not any more. What waited for them runs now, or in
    /// the next [`Executor::run`].
    pub fn others(&self, done: &BTreeSet<String>, undone: &BTreeSet<String>) {
        lock(&self.run)
            .schedule
            .others(done, undone, Instant::now());
        self.changed.notify_all();
    }

    /// Whether something can run that waits for the next [`Executor::run`].
    pub fn is_ready(&self) -> bool {
        lock(&self.run).schedule.is_ready()
    }

    /// Opens what has failed, and those of the jobs that `again` picks; gives how many.
    pub fn reopen(&self, again: impl Fn(&Job) -> bool) -> usize {
        let named = (0..self.jobs.len())
            .filter(|number| again(&self.jobs[*number]))
            .collect();
        let mut run = lock(&self.run);
        run.tries.clear();
        let count = run.schedule.reopen(&named, Instant::now());
        for (number, job) in self.jobs.iter().enumerate() {
            if run.schedule.stand(number) != super::schedule::Stand::Done {
                self.board.stand(&job.id, TaskStand::Waiting);
            }
        }
        count
    }

    fn work(&self) {
        loop {
            let mut run = lock(&self.run);
            let number = loop {
                if run.broken.is_some() {
                    self.changed.notify_all();
                    return;
                }
                match run.schedule.next(Instant::now()) {
                    Next::Run(number) => break number,
                    Next::Over => {
                        self.changed.notify_all();
                        return;
                    }
                    Next::Wait(pause) => {
                        let pause = pause.unwrap_or(Duration::from_secs(60));
                        run = self
                            .changed
                            .wait_timeout(run, pause)
                            .map_or_else(|poisoned| poisoned.into_inner().0, |(run, _)| run);
                    }
                }
            };
            let job = &self.jobs[number];
            let (attempts, _) = run.tries.entry(number).or_insert((0, Instant::now()));
            *attempts += 1;
            let attempt = *attempts;
            let begun = run.phases.insert(job.phase);
            drop(run);
            if begun && let Some(phase) = self.facts().plan.phases.get(job.phase) {
                self.observer.phase(&phase.name, &phase.title);
            }
            self.board.stand(&job.id, TaskStand::Running);
            let outcome = self.attempt(job, attempt);
            self.settle(number, attempt, outcome);
            self.changed.notify_all();
        }
    }

    fn settle(&self, number: usize, attempt: u32, outcome: Result<Outcome, JournalError>) {
        let job = &self.jobs[number];
        let failure = match outcome {
            Ok(Outcome::Done | Outcome::Skipped) => {
                self.board.stand(&job.id, TaskStand::Done);
                self.observer.settled(&job.id);
                let mut run = lock(&self.run);
                run.tries.remove(&number);
                run.schedule.done(number, Instant::now());
                return;
            }
            Err(error) => {
                self.observer.note(&error.to_string());
                let mut run = lock(&self.run);
                run.broken = Some(error);
                run.schedule.failed(number);
                return;
            }
            Ok(Outcome::Failed(failure)) => failure,
        };
        if let Err(error) = self.failed(number, attempt, &failure) {
            lock(&self.run).broken = Some(error);
        }
    }

    /// Enters a failure, and decides whether it is for good.
    fn failed(&self, number: usize, attempt: u32, failure: &Failure) -> Result<(), JournalError> {
        let job = &self.jobs[number];
        let facts = self.facts();
        let reason = facts.redact(&failure.reason);
        let output = facts.redact(&failure.output);
        let patience = &self.options.patience;
        let since = lock(&self.run)
            .tries
            .get(&number)
            .map_or_else(Instant::now, |(_, since)| *since);
        let (last, pause) = if failure.patient {
            let pause = Duration::from_secs(u64::from(attempt)).min(patience.poll_pause);
            (since.elapsed() + pause > patience.poll, pause)
        } else {
            let doubled = patience.first.saturating_mul(1 << (attempt - 1).min(16));
            (attempt >= patience.attempts, doubled.min(patience.longest))
        };
        let last = last || failure.hopeless;
        self.board.change(&job.id, |report| {
            report.attempt = attempt;
            report.reason.clone_from(&reason);
            report.output.clone_from(&output);
            if last {
                report.stand = TaskStand::Failed;
            }
        });
        // A poll that is not the last one is no failure yet; the board shows what it waits for.
        if last || !failure.patient {
            self.journal().write(
                &job.id,
                Entry::Failed {
                    attempt,
                    reason: reason.clone(),
                    output,
                },
            )?;
            let next = if last {
                format!("given up for now; see `muster diagnose {}`", job.id)
            } else {
                format!("attempt {attempt}, again in {:.0} s", pause.as_secs_f32())
            };
            self.moment(&job.id, Moment::Failed, &format!("{reason} ({next})"));
        }
        let mut run = lock(&self.run);
        if last {
            for blocked in run.schedule.failed(number) {
                self.board.change(&self.jobs[blocked].id, |report| {
                    report.stand = TaskStand::Blocked;
                    report.reason = format!("{} has failed", job.id);
                });
            }
        } else {
            run.schedule.again(number, Instant::now() + pause);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn schedule(jobs: &[Job], outside: &BTreeSet<String>) -> Schedule {
    Schedule::new(
        jobs.iter()
            .map(|job| (job.id.as_str(), job.after.as_slice())),
        outside,
        Instant::now(),
    )
}

/// The systemd unit a job is about.
fn unit(job: &Job) -> Option<String> {
    let Work::Step(task) = &job.work else {
        return None;
    };
    match &task.kind {
        TaskKind::Step {
            step: Action::Unit { unit, .. },
            ..
        } if !unit.contains('{') => Some(unit.clone()),
        _ => None,
    }
}
