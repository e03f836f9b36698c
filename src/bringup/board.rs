//! What is known at this moment of every task and probe; all views are made from it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// How far a task is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskStand {
    /// Something before it is not done.
    Waiting,
    /// At work, or between two attempts.
    Running,
    /// Done.
    Done,
    /// Failed for now; tried again every few minutes.
    Failed,
    /// Something before it has failed.
    Blocked,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// How far it is.
    pub stand: TaskStand,
    /// Attempts that failed since it last was done.
    pub attempt: u32,
    /// Why the last attempt failed, or which task blocks it; empty otherwise.
    pub reason: String,
    /// Last lines of output of the last failed attempt.
    pub output: String,
    /// systemd unit it is about, if any.
    pub unit: Option<String>,
}

/// A probe's last real attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbeReport {
    /// Whether it was green.
    pub green: bool,
    /// When it ended, RFC 3339 in UTC.
    pub at: String,
    /// How long it took, milliseconds.
    pub took: u64,
    /// What was seen, or why it is red.
    pub words: String,
}

/// Reports by id.
#[derive(Debug, Default)]
pub struct Reports {
    /// Of tasks.
    pub tasks: BTreeMap<String, TaskReport>,
    /// Of probes.
    pub probes: BTreeMap<String, ProbeReport>,
    /// Grows with each change.
    pub changes: u64,
}

/// The reports, shared by those who write and those who show.
#[derive(Debug, Default)]
pub struct Board {
    reports: Mutex<Reports>,
}

impl Board {
    /// Looks at the reports; hold it briefly.
    pub fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Enters how far a task is, keeping what else is known of it.
    pub fn stand(&self, id: &str, stand: TaskStand) {
        self.change(id, |task| {
            task.stand = stand;
            if stand == TaskStand::Done {
                task.attempt = 0;
                task.reason.clear();
                task.output.clear();
            }
        });
    }

    /// Changes a task's report.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut TaskReport)) {
        let mut reports = self.reports();
        reports.changes += 1;
        let task = reports
            .tasks
            .entry(id.to_string())
            .or_insert_with(|| TaskReport {
                stand: TaskStand::Waiting,
                attempt: 0,
                reason: String::new(),
                output: String::new(),
                unit: None,
            });
        change(task);
    }

    /// Enters a probe's attempt; gives whether its colour has changed.
    pub fn probed(&self, id: &str, report: ProbeReport) -> bool {
        let mut reports = self.reports();
        reports.changes += 1;
        let green = report.green;
        let before = reports.probes.insert(id.to_string(), report);
        before.map(|report| report.green) != Some(green)
    }
}
