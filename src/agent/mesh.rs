//! What lead and members have in common on a host.

use super::{AgentError, Result, at};
use crate::bringup::context::Facts;
use crate::bringup::places::Places;
use crate::bringup::run::{Moment, Observer};
use crate::mesh::join::lead::Lobby;
use crate::mesh::line::link::Link;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::herald::Herald;
use super::lead::Office;

/// The folder of a host's key, of what it was told when it joined, and of the lead's table.
pub fn folder(places: &Places) -> PathBuf {
    places.state.join("mesh")
}

/// The join token of the answers, if there was one.
pub fn token(places: &Places) -> Result<Option<String>> {
    let path = folder(places).join("token");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// A runtime for one thread.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()
}

/// Starts a thread.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(at(Path::new("/proc/self/task")))
}

/// To whom a host tells which of its tasks are done.
#[derive(Clone)]
pub enum Mesh {
    /// It has nobody.
    Alone,
    /// It is the lead.
    Lead(Arc<Lobby<Office>>),
    /// It is a member.
    Member(Arc<Link>),
}

/// Tells people, and the other hosts.
pub struct Teller {
    /// People.
    pub herald: Arc<Herald>,
    /// The others.
    pub mesh: Mesh,
    /// What is known of this host.
    pub facts: Arc<Facts>,
}

/// Whether a job is a task of the plan, which others may wait for: a host's own are nobody's.
pub fn is_task(facts: &Facts, id: &str) -> bool {
    facts.plan.tasks.iter().any(|task| task.id == id)
}

impl Observer for Teller {
    fn task(&self, id: &str, moment: Moment, message: &str) {
        self.herald.task(id, moment, message);
    }

    fn settled(&self, id: &str) {
        self.herald.settled(id);
        if !is_task(&self.facts, id) {
            return;
        }
        let task = BTreeSet::from([id.to_owned()]);
        match &self.mesh {
            Mesh::Alone => {}
            Mesh::Lead(lobby) => lobby.hub().tell(&self.facts.role, &task, true),
            Mesh::Member(link) => link.tell(task, true),
        }
    }

    fn phase(&self, name: &str, title: &str) {
        self.herald.phase(name, title);
    }

    fn note(&self, text: &str) {
        self.herald.note(text);
    }
}

impl AgentError {
    /// The mesh cannot be used.
    pub fn mesh(error: impl std::fmt::Display) -> AgentError {
        AgentError::Mesh(error.to_string())
    }
}
