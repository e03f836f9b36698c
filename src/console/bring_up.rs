//! Bring-up as somebody who waits for it sees it, on a workstation: a bar that redraws at
//! most twice a second on a terminal, few lines in a log, JSON lines for a program.

use super::progress::{Progress, Stage, Work};
use crate::machine::events::{Event, Moment};
use crate::plan::{Plan, TaskKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How often a log gets a line while nothing remarkable happens.
const QUIET: Duration = Duration::from_secs(10);

/// Turns events into progress.
pub struct Watcher<'a> {
    plan: &'a Plan,
    work: Work,
    bar: Option<ProgressBar>,
    program: bool,
    done: BTreeSet<String>,
    failed: BTreeSet<String>,
    phase: String,
    told: Instant,
}

impl<'a> Watcher<'a> {
    /// Tells whoever listens.
    pub fn new(plan: &'a Plan, progress: &Progress) -> Watcher<'a> {
        let work = progress.begin(Stage::BringUp, &plan.stack);
        work.bar().set_length(plan.tasks.len() as u64);
        let bar = matches!(progress, Progress::Screen).then(|| {
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
            work,
            bar,
            program: matches!(progress, Progress::Program(_)),
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
            Event::SshHostKey { .. }
            | Event::SiteCa { .. }
            | Event::Leads { .. }
            | Event::BringUp { .. } => {}
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
        self.work.bar().set_position(self.done.len() as u64);
        if self.program {
            if moment == Moment::Done {
                self.work.say("");
            }
            return;
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
            None if self.program => self.work.say(&text),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// Bring-up has ended; gives the screen back.
    pub fn done(self) {
        self.clear();
        self.work.done();
    }

    /// Nobody waits any more; gives the screen back.
    pub fn give_up(self) {
        self.clear();
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, Stack};
    use std::io::{Read, Seek};

    #[test]
    fn a_program_hears_of_phases_failures_and_every_task_that_is_done() {
        let stack = Stack::load(&Source::new(None), "office", None).expect("a sound stack");
        let plan = Plan::new(&stack);
        let (phase, id) = (&plan.phases[0], plan.tasks[0].id.clone());
        let mut file = tempfile::tempfile().expect("a file");
        let progress = Progress::of_program(file.try_clone().expect("a handle"));
        let task = |moment: Moment, message: &str| Event::Task {
            id: id.clone(),
            moment,
            message: message.into(),
        };
        let mut watcher = Watcher::new(&plan, &progress);
        watcher.tell(
            "box",
            &Event::Phase {
                name: phase.name.clone(),
            },
        );
        watcher.tell("box", &task(Moment::Failed, "no answer"));
        watcher.tell("box", &task(Moment::Started, ""));
        watcher.tell("box", &task(Moment::Done, ""));
        watcher.done();
        let mut text = String::new();
        file.rewind().expect("rewound");
        file.read_to_string(&mut text).expect("text");
        let told: Vec<(String, u64, String)> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let text = |key: &str| line[key].as_str().expect("text").to_string();
                assert_eq!(
                    (text("stage"), text("subject")),
                    ("bring-up".into(), "office".into())
                );
                (
                    text("moment"),
                    line["done"].as_u64().expect("a number"),
                    text("message"),
                )
            })
            .collect();
        let line = |moment: &str, done: u64, message: String| (moment.to_string(), done, message);
        assert_eq!(
            told,
            [
                line("started", 0, String::new()),
                line(
                    "running",
                    0,
                    format!("box: {}: {}", phase.name, phase.title)
                ),
                line("running", 0, format!("{id}: no answer; it is tried again")),
                line("running", 0, format!("{id}: works now")),
                line("running", 1, String::new()),
                line("done", 1, String::new()),
            ]
        );
    }
}
