//! A program, with an optional second one that tells whether it was done already.

use super::{Act, ActionError, Found, Surroundings};
use crate::bringup::process::{ProcessError, Program};
use std::collections::BTreeMap;

/// See [`crate::profile::Action::Command`].
#[derive(Debug)]
pub struct Command<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// Done already when this exits 0; empty when it cannot be told.
    pub unless: &'a [String],
    /// Local account.
    pub user: Option<&'a str>,
    /// Standard input.
    pub stdin: Option<&'a str>,
    /// Environment of both.
    pub environment: &'a BTreeMap<String, String>,
    /// Working directory.
    pub directory: Option<&'a str>,
}

impl Command<'_> {
    fn program(&self, command: &[String], stdin: Option<&str>) -> Program {
        Program {
            command: command.to_vec(),
            user: self.user.filter(|user| *user != "root").map(Into::into),
            stdin: stdin.map(Into::into),
            environment: self.environment.clone(),
            directory: self.directory.map(Into::into),
            ..Program::default()
        }
    }
}

impl Act for Command<'_> {
    fn check(&self, _around: &Surroundings, _stale: bool) -> Result<Found, ActionError> {
        if self.unless.is_empty() {
            return Ok(Found::Unknown);
        }
        match self.program(self.unless, None).run() {
            Ok(_) => Ok(Found::Satisfied),
            Err(error @ ProcessError::Failed { .. }) => Ok(Found::Wanting(format!(
                "`{}` says no: {}",
                self.unless.first().map_or("", String::as_str),
                error.last_words()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    fn apply(&self, _around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        self.program(self.command, self.stdin).run()?;
        Ok(())
    }

    fn title(&self) -> String {
        format!("run {}", self.command.first().map_or("", String::as_str))
    }
}
