//! One attempt at one job: render, compare with the journal, check, apply, verify, record.

use super::actions::authority::SiteAuthority;
use super::actions::certificates::{Certificates, Leaf};
use super::actions::{Act, ActionError, Found, act};
use super::job::{Job, Work};
use super::journal::{Entry, JournalError};
use super::render::RenderError;
use super::run::{Executor, Moment};
use crate::plan::Task;
use crate::profile::{Action, Effect, Instance};
use crate::site::durable;
use sha2::{Digest, Sha256};

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The effect was there already.
    Skipped,
    /// The effect is there now.
    Done,
    /// Not now.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line.
    pub reason: String,
    /// Last lines of output and how to repeat it.
    pub output: String,
    /// Waiting for something outside: trying long is not failing.
    pub patient: bool,
    /// Trying again cannot help: a template is wrong.
    pub hopeless: bool,
}

impl Failure {
    fn action(error: &ActionError, patient: bool) -> Failure {
        Failure {
            reason: error.to_string(),
            output: error.output(),
            patient,
            hopeless: false,
        }
    }

    fn render(error: &RenderError) -> Failure {
        Failure {
            reason: error.to_string(),
            output: String::new(),
            patient: false,
            hopeless: true,
        }
    }
}

/// What a job comes to on this site.
enum Rendered {
    Actions(Vec<Action>),
    Authority(String),
    Leaves(Vec<Leaf>),
}

/// SHA-256 of parts that cannot run into each other.
fn digest(parts: &[&[u8]]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update((part.len() as u64).to_be_bytes());
        sum.update(part);
    }
    hex::encode(sum.finalize())
}

impl Executor {
    /// Makes one attempt. The error is the journal's: nothing is done that it cannot record.
    pub(super) fn attempt(&self, job: &Job, attempt: u32) -> Result<Outcome, JournalError> {
        if let Work::Probe(task) = &job.work {
            return self.probe_attempt(job, task, attempt);
        }
        let rendered = match self.render(job) {
            Ok(rendered) => rendered,
            Err(error) => return Ok(Outcome::Failed(Failure::render(&error))),
        };
        let acts = self.acts(&rendered);
        let input = match &rendered {
            Rendered::Actions(actions) => serde_json::to_vec(actions).unwrap_or_default(),
            Rendered::Authority(organisation) => organisation.clone().into_bytes(),
            Rendered::Leaves(leaves) => format!("{leaves:?}").into_bytes(),
        };
        let watched = self.watched(job);
        let digest = digest(&[job.id.as_bytes(), &input, watched.as_bytes()]);
        if acts.is_empty() {
            self.remember(&job.id, digest, 0);
            return Ok(Outcome::Skipped);
        }
        let (stale, interrupted, applied) = self.standing(job, &digest);
        let patient = acts.iter().any(|act| act.patient());
        match self.effect(job, &acts, stale, interrupted, attempt)? {
            Ok(None) => {
                self.remember(&job.id, digest, applied);
                Ok(Outcome::Skipped)
            }
            Ok(Some(made)) => {
                let applied = applied + u64::from(made || interrupted);
                self.moment(&job.id, Moment::Done, &title(&acts));
                let done = Entry::Done {
                    digest: digest.clone(),
                    applied,
                };
                self.journal().write(&job.id, done)?;
                self.remember(&job.id, digest, applied);
                Ok(Outcome::Done)
            }
            Err(error) => Ok(Outcome::Failed(Failure::action(&error, patient))),
        }
    }

    /// What the journal says: whether the inputs have changed, whether an attempt was cut
    /// off, and how often the effect was made.
    fn standing(&self, job: &Job, digest: &str) -> (bool, bool, u64) {
        let journal = self.journal();
        let Some(state) = journal.state(&job.id) else {
            return (true, false, 0);
        };
        let here = job.effect != Effect::Root || state.last.image == journal.image();
        match &state.last.entry {
            Entry::Done { digest: done, .. } => (done != digest || !here, false, state.applied),
            _ => (true, true, state.applied),
        }
    }

    /// Started → check → apply → verify. `None`: all was there, nothing was recorded.
    fn effect(
        &self,
        job: &Job,
        acts: &[Box<dyn Act + '_>],
        stale: bool,
        interrupted: bool,
        attempt: u32,
    ) -> Result<Result<Option<bool>, ActionError>, JournalError> {
        let around = &self.around;
        if !stale {
            let there = acts.iter().all(|act| {
                matches!(
                    act.check(around, false),
                    Ok(Found::Satisfied | Found::Unknown)
                )
            });
            if there {
                return Ok(Ok(None));
            }
        }
        if attempt == 1 || !interrupted {
            self.journal().write(&job.id, Entry::Started)?;
        }
        self.moment(&job.id, Moment::Started, &title(acts));
        let mut made = false;
        for act in acts {
            let result = match act.check(around, stale) {
                Ok(Found::Satisfied) => Ok(()),
                // What cannot be told was done before if nothing has changed since.
                Ok(Found::Unknown) if !stale => Ok(()),
                Ok(_) => {
                    made = true;
                    act.apply(around, stale)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                return Ok(Err(error));
            }
        }
        self.moment(&job.id, Moment::Applied, &title(acts));
        for act in acts {
            match act.verify(around) {
                Ok(Found::Satisfied | Found::Unknown) => {}
                Ok(Found::Wanting(what)) => {
                    return Ok(Err(ActionError::Refused {
                        reason: format!("{}: done, but then {what}", act.title()),
                        output: String::new(),
                    }));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        if !acts.iter().all(|act| act.durable())
            && let Err(error) = self.sync()
        {
            return Ok(Err(error));
        }
        Ok(Ok(Some(made)))
    }

    /// Makes what programs have written last: a journal that outlives a power cut must not
    /// speak of effects that did not.
    fn sync(&self) -> Result<(), ActionError> {
        let places = &self.renderer.facts.places;
        for filesystem in [&places.root, &places.state] {
            durable::sync_filesystem(filesystem).map_err(|source| ActionError::Io {
                what: "cannot write to the disk what was done below",
                path: filesystem.clone(),
                source,
            })?;
        }
        Ok(())
    }

    fn render(&self, job: &Job) -> Result<Rendered, RenderError> {
        Ok(match &job.work {
            Work::Authority => Rendered::Authority(self.organisation()),
            Work::Certificates(instance) => Rendered::Leaves(self.leaves(instance)?),
            Work::Step(task) => Rendered::Actions(self.renderer.step(task)?),
            Work::Probe(_) => Rendered::Actions(Vec::new()),
        })
    }

    fn organisation(&self) -> String {
        self.renderer
            .facts
            .site
            .organisations
            .first()
            .map(|organisation| organisation.name.clone())
            .unwrap_or_default()
    }

    fn leaves(&self, instance: &Instance) -> Result<Vec<Leaf>, RenderError> {
        let facts = &self.renderer.facts;
        let names = self.renderer.certificate_names(instance)?;
        let owners = facts.stack.services.get(&instance.service);
        Ok(names
            .into_iter()
            .map(|(name, names)| Leaf {
                service: instance.service.clone(),
                name: name.clone(),
                directory: facts.places.certificate(&instance.service, &name),
                names,
                owner: owners
                    .and_then(|service| service.certificates.get(&name))
                    .map_or_else(|| "root:root".into(), |leaf| leaf.owner.clone()),
            })
            .collect())
    }

    fn acts<'a>(&'a self, rendered: &'a Rendered) -> Vec<Box<dyn Act + 'a>> {
        let places = &self.renderer.facts.places;
        match rendered {
            Rendered::Actions(actions) => actions.iter().map(act).collect(),
            Rendered::Authority(organisation) => vec![Box::new(SiteAuthority {
                signer: &*self.signer,
                places,
                organisation,
            })],
            Rendered::Leaves(leaves) => vec![Box::new(Certificates {
                signer: &*self.signer,
                leaves,
            })],
        }
    }

    /// One attempt at a probe; a proof is recorded once, not each time.
    fn probe_attempt(&self, job: &Job, task: &Task, attempt: u32) -> Result<Outcome, JournalError> {
        let known = matches!(
            self.journal().state(&job.id).map(|state| &state.last.entry),
            Some(Entry::Done { .. })
        );
        if !known && attempt == 1 {
            self.journal().write(&job.id, Entry::Started)?;
            self.moment(&job.id, Moment::Started, "probe");
        }
        let report = match self.prober.probe(task) {
            Ok(report) => report,
            Err(error) => return Ok(Outcome::Failed(Failure::render(&error))),
        };
        if !report.green {
            return Ok(Outcome::Failed(Failure {
                reason: report.words,
                output: String::new(),
                patient: true,
                hopeless: false,
            }));
        }
        if known {
            return Ok(Outcome::Skipped);
        }
        self.moment(&job.id, Moment::Applied, &report.words);
        self.moment(&job.id, Moment::Done, &report.words);
        let done = Entry::Done {
            digest: String::new(),
            applied: 0,
        };
        self.journal().write(&job.id, done)?;
        Ok(Outcome::Done)
    }
}

fn title(acts: &[Box<dyn Act + '_>]) -> String {
    match acts {
        [] => String::new(),
        [one] => one.title(),
        [first, rest @ ..] => format!("{} and {} more", first.title(), rest.len()),
    }
}
