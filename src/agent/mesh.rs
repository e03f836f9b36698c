//! What lead and members have in common on a host.

use super::{AgentError, Result, at};
use crate::bringup::context::Facts;
use crate::bringup::places::Places;
use crate::bringup::run::{Moment, Observer};
use crate::mesh::join::lead::Lobby;
use crate::mesh::line::link::Link;
use crate::site::estate::TOKEN;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use super::herald::Herald;
use super::lead::Office;

/// The folder of a host's key, of what it was told when it joined, and of the lead's table; below
/// the agent's, as those that follow.
pub(super) const FOLDER: &str = "mesh";
/// Where the lead is, as the answers say or as the join has shown.
pub(super) const LEAD: &str = "mesh/lead";
/// What the lead has said, once a host has joined.
pub(super) const RECORD: &str = "mesh/record.json";

/// [`FOLDER`] on this host.
pub fn folder(places: &Places) -> PathBuf {
    places.state.join(FOLDER)
}

/// The join token of the answers, if there was one.
pub fn token(places: &Places) -> Result<Option<String>> {
    let path = places.state.join(TOKEN);
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

impl Observer for Teller {
    fn task(&self, id: &str, moment: Moment, message: &str) {
        self.herald.task(id, moment, message);
    }

    fn settled(&self, id: &str) {
        self.herald.settled(id);
        if !self.facts.is_task(id) {
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
