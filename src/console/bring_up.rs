//! Bring-up as somebody who waits for it sees it, on a workstation: a bar that redraws at
//! most twice a second on a terminal, and few lines elsewhere.

use crate::machine::events::{Event, Moment};
use crate::plan::{Plan, TaskKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often a log gets a line while nothing remarkable happens.
const QUIET: Duration = Duration::from_secs(10);

/// Turns events into progress.
pub struct Watcher<'a> {
    plan: &'a Plan,
    bar: Option<ProgressBar>,
    done: BTreeSet<String>,
    failed: BTreeSet<String>,
    phase: String,
    told: Instant,
}

impl<'a> Watcher<'a> {
    /// Writes to standard error; `terminal` says whether that is a person's screen.
    pub fn new(plan: &'a Plan, terminal: bool) -> Watcher<'a> {
        let bar = terminal.then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(2);
            let bar = ProgressBar::with_draw_target(Some(plan.tasks.len() as u64), target);
            let shape = "{elapsed} [{bar:30}] {pos}/{len} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(shape) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message("the machine boots");
            bar
        });
        Watcher {
            plan,
            bar,
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
            phase: String::new(),
            told: Instant::now(),
        }
    }

    /// Takes one event.
    pub fn tell(&mut self, role: &str, event: &Event) {
        match event {
            Event::Phase { name } => {
                let phase = self.plan.phases.iter().find(|phase| phase.name == *name);
                let title = phase.map_or(name, |phase| &phase.title);
                if self.phase != *title {
                    self.phase = title.clone();
                    self.line(format!("{role}: {name}: {title}"));
                }
            }
            Event::Dialogue { console } => {
                self.line(format!("{role} asks its questions on {console}"));
            }
            Event::Task {
                id,
                moment,
                message,
            } => self.task(id, *moment, message),
            Event::SshHostKey { .. } | Event::SiteCa { .. } | Event::BringUp { .. } => {}
        }
    }

    fn task(&mut self, id: &str, moment: Moment, message: &str) {
        match moment {
            Moment::Done => {
                // The host also does a few things that no plan lists.
                if self.plan.tasks.iter().any(|task| task.id == id) {
                    self.done.insert(id.to_owned());
                }
                if self.failed.remove(id) {
                    self.line(format!("{id}: works now"));
                }
            }
            // A task is tried again and again; its first failure is news.
            Moment::Failed if self.failed.insert(id.to_owned()) => {
                let reason = message.lines().next().unwrap_or_default();
                self.line(format!("{id}: {reason}; it is tried again"));
            }
            _ => {}
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done.len() as u64);
                bar.set_message(id.to_owned());
            }
            None if self.told.elapsed() > QUIET => {
                let probe = |task: &crate::plan::Task| {
                    task.id == id && matches!(task.kind, TaskKind::Probe { .. })
                };
                let verb = if self.plan.tasks.iter().any(probe) {
                    "proving"
                } else {
                    "doing"
                };
                let (done, total) = (self.done.len(), self.plan.tasks.len());
                self.line(format!("{done}/{total}, {verb} {id}"));
            }
            None => {}
        }
    }

    fn line(&mut self, text: String) {
        self.told = Instant::now();
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Gives the screen back.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
