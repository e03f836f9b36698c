//! `muster diagnose`: why something is red, its last words, and what to do next.

use super::status::{self, ask};
use super::{Cli, exit, out};
use crate::agent::facts::Facts;
use crate::agent::socket::{self, Answer, Request};
use crate::agent::view::TAIL;
use crate::bringup::actions::unit::journal_tail;
use crate::bringup::board::TaskStand;
use crate::bringup::places::Places;
use crate::bringup::status::{Attention, Colour, ProbeStatus, Status};
use miette::{IntoDiagnostic, miette};
use serde::Serialize;
use std::time::Duration;

/// The journal of another host comes over the line.
const PATIENCE: Duration = Duration::from_secs(120);

/// Options of `diagnose`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On a workstation the stack whose lead is asked over ssh; then a task of `muster
    /// status`, or all that are red
    #[arg(value_names = ["STACK", "TASK"], num_args = 0..=2)]
    pub words: Vec<String>,
    /// As JSON (docs/schemas/diagnose.json)
    #[arg(long)]
    pub json: bool,
}

/// Tells a stack from a task: tasks are `role/service/…`, stacks are a name or a directory.
fn split(words: &[String]) -> miette::Result<(Option<&str>, Option<&str>)> {
    match words {
        [] => Ok((None, None)),
        [stack, task] => Ok((Some(stack), Some(task))),
        [one] if !one.contains('/') || std::path::Path::new(one).is_dir() => Ok((Some(one), None)),
        [task] => Ok((None, Some(task))),
        _ => Err(miette!("more than a stack and a task were given")),
    }
}

/// Runs it.
pub fn run(cli: &Cli, args: &Args) -> miette::Result<u8> {
    let (stack, task) = split(&args.words)?;
    if let Some(stack) = stack {
        let mut command = vec!["diagnose"];
        command.extend(task);
        return ask(cli, stack, &command, args.json);
    }
    let places = Places::host();
    let status = status::here(&places, "diagnose")?;
    let own = Facts::read(&places.root).map(|facts| facts.role);
    let diagnosis = Diagnosis::of(&status, task, &|role, unit| match &own {
        Ok(own) if !role.is_empty() && own != role => journal_of(&places, role, unit),
        _ => journal_tail(unit, TAIL),
    })?;
    if args.json {
        let json = serde_json::to_string_pretty(&diagnosis).into_diagnostic()?;
        out::write(json + "\n")?;
    } else {
        out::write(diagnosis.text())?;
    }
    Ok(match diagnosis.findings.is_empty() {
        true => exit::OK,
        false => exit::RED,
    })
}

/// The last lines of a unit of another host, or why they are not shown.
fn journal_of(places: &Places, role: &str, unit: &str) -> String {
    let request = Request::Journal {
        role: role.to_owned(),
        unit: unit.to_owned(),
    };
    match socket::ask(&places.socket(), &request, PATIENCE) {
        Ok(Answer::Journal { lines }) => lines,
        Ok(Answer::Refused { words }) => format!("not shown: {words}"),
        Ok(Answer::Status { .. }) => "not shown: the agent answers what was not asked".into(),
        Err(error) => format!("not shown: the agent does not answer: {error}"),
    }
}

/// What `--json` prints, and what people read a view of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Diagnosis {
    /// Format version, 1.
    pub format: u32,
    /// Name of the stack.
    pub stack: String,
    /// Integrations and services that are green.
    pub proven: usize,
    /// Out of so many.
    pub total: usize,
    /// What is not as it should be.
    pub findings: Vec<Explained>,
}

/// One finding with all that is known about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explained {
    /// Id of the task; `muster diagnose ID` explains it alone.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Why it is as it is.
    pub why: String,
    /// Last lines of its output; empty for a probe.
    pub output: String,
    /// systemd unit it is about, if any; may be a pattern.
    pub unit: Option<String>,
    /// Last lines of that unit's journal.
    pub journal: String,
    /// The next command to run.
    pub next: String,
}

impl Diagnosis {
    /// What is red in `status`, or the one `task` whatever its colour; `journal` gives the last
    /// lines of a unit on the host of a role.
    ///
    /// # Errors
    /// Nothing is known against that task.
    pub fn of(
        status: &Status,
        task: Option<&str>,
        journal: &dyn Fn(&str, &str) -> String,
    ) -> miette::Result<Diagnosis> {
        let findings = findings(status, task)?;
        Ok(Diagnosis {
            format: 1,
            stack: status.stack.clone(),
            proven: status.proven,
            total: status.total,
            findings: findings
                .iter()
                .map(|finding| finding.explained(journal))
                .collect(),
        })
    }

    /// For people.
    fn text(&self) -> String {
        if self.findings.is_empty() {
            return format!(
                "Nothing is red: {} of {} proven.\n",
                self.proven, self.total
            );
        }
        self.findings.iter().map(Explained::text).collect()
    }
}

/// One thing that is not as it should be.
#[derive(Debug, PartialEq)]
enum Finding<'a> {
    Task(&'a Attention),
    Probe {
        of: String,
        /// Of the host of this role.
        role: String,
        unit: Option<String>,
        probe: &'a ProbeStatus,
    },
}

/// What is red; or the one task, whatever its colour.
fn findings<'a>(status: &'a Status, task: Option<&str>) -> miette::Result<Vec<Finding<'a>>> {
    let mut findings = Vec::new();
    for attention in &status.attention {
        let chosen = match task {
            Some(task) => attention.task == task,
            // Blocked ones follow from those that failed.
            None => attention.stand != TaskStand::Blocked,
        };
        if chosen {
            findings.push(Finding::Task(attention));
        }
    }
    let edges = status.integrations.iter().map(|edge| {
        let name = format!("{}.{} -> {}", edge.consumer, edge.need, edge.provider);
        (name, &edge.provider, &edge.probes)
    });
    let services = status
        .services
        .iter()
        .map(|own| (own.id.clone(), &own.id, &own.probes));
    for (of, provider, probes) in edges.chain(services) {
        for probe in probes {
            let known = findings
                .iter()
                .any(|finding| matches!(finding, Finding::Task(task) if task.task == probe.id));
            let chosen = match task {
                Some(task) => probe.id == task || of == task,
                None => matches!(probe.colour, Colour::Red | Colour::Stale) && !known,
            };
            if chosen {
                findings.push(Finding::Probe {
                    of: of.clone(),
                    role: role(provider).to_owned(),
                    unit: Some(format!("{}*", service(provider))),
                    probe,
                });
            }
        }
    }
    match task {
        Some(task) if findings.is_empty() => Err(miette!(
            help =
                "`muster status` lists what needs attention; `muster diagnose` explains all of it",
            "nothing is known against {task}: it is done, or there is no such task"
        )),
        _ => Ok(findings),
    }
}

/// `office/slapd` → `slapd`, also the beginning of its units' names in most packages.
fn service(instance: &str) -> String {
    instance.rsplit('/').next().unwrap_or(instance).to_string()
}

/// `office/slapd/serve` → `office`; nothing for what is no task.
fn role(id: &str) -> &str {
    id.split_once('/').map_or("", |(role, _)| role)
}

impl Finding<'_> {
    fn explained(&self, journal: &dyn Fn(&str, &str) -> String) -> Explained {
        let of = |role: &str, unit: &Option<String>| {
            let unit = unit.as_deref();
            unit.map(|unit| journal(role, unit)).unwrap_or_default()
        };
        match self {
            Finding::Task(task) => Explained {
                id: task.task.clone(),
                title: format!("{} ({} failed attempts)", task.task, task.attempt),
                why: task.reason.clone(),
                output: task.output.clone(),
                unit: task.unit.clone(),
                journal: of(role(&task.task), &task.unit),
                next: match task.task.ends_with("/muster-agent") && task.unit.is_none() {
                    true => task.next.clone(),
                    false => {
                        "muster verify   # probes everything and tries failed tasks again".into()
                    }
                },
            },
            Finding::Probe {
                of: whose,
                role,
                unit,
                probe,
            } => Explained {
                id: probe.id.clone(),
                title: format!("{whose}: {} is {}", probe.probe, probe.colour.word()),
                why: probe.words.clone(),
                output: String::new(),
                unit: unit.clone(),
                journal: of(role, unit),
                next: format!("muster verify   # then: muster diagnose {}", probe.id),
            },
        }
    }
}

impl Explained {
    /// For people.
    fn text(&self) -> String {
        let mut text = format!("{}\n  why: {}\n", self.title, self.why);
        if !self.output.is_empty() {
            text.push_str(&indented("last output", &self.output));
        }
        if let Some(unit) = self.unit.as_ref().filter(|_| !self.journal.is_empty()) {
            text.push_str(&indented(&format!("journal of {unit}"), &self.journal));
        }
        text.push_str(&format!("  next: {}\n\n", self.next));
        text
    }
}

fn indented(title: &str, lines: &str) -> String {
    let mut text = format!("  {title}:\n");
    for line in lines.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_why_shows_last_words_and_what_to_do() {
        let attention = Attention {
            task: "office/slapd/serve".into(),
            stand: TaskStand::Failed,
            attempt: 8,
            reason: "`systemctl start slapd.service`: Job failed".into(),
            output: "a\nb".into(),
            unit: Some("slapd.service".into()),
            next: String::new(),
        };
        assert_eq!(
            Finding::Task(&attention)
                .explained(&|role, unit| format!("{unit} of {role} said no"))
                .text(),
            "office/slapd/serve (8 failed attempts)\n\
             \x20 why: `systemctl start slapd.service`: Job failed\n\
             \x20 last output:\n    a\n    b\n\
             \x20 journal of slapd.service:\n    slapd.service of office said no\n\
             \x20 next: muster verify   # probes everything and tries failed tasks again\n\n"
        );
    }
}
