//! Waits until a probe is green.

use super::{Act, ActionError, Found, Surroundings};
use crate::bringup::probes;
use crate::profile::Probe;

/// See [`crate::profile::Action::Wait`].
#[derive(Debug)]
pub struct Wait<'a> {
    /// The rendered probe.
    pub probe: &'a Probe,
}

impl Act for Wait<'_> {
    fn check(&self, around: &Surroundings, stale: bool) -> Result<Found, ActionError> {
        if stale {
            // One attempt is enough, and it is the one of `apply`.
            return Ok(Found::Unknown);
        }
        Ok(match probes::attempt(self.probe, &around.network) {
            Ok(_) => Found::Satisfied,
            Err(refusal) => Found::Wanting(refusal.to_string()),
        })
    }

    fn verify(&self, _around: &Surroundings) -> Result<Found, ActionError> {
        Ok(Found::Satisfied)
    }

    fn apply(&self, around: &Surroundings, _stale: bool) -> Result<(), ActionError> {
        match probes::attempt(self.probe, &around.network) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(ActionError::Refused {
                reason: refusal.to_string(),
                output: String::new(),
            }),
        }
    }

    /// It has none.
    fn durable(&self) -> bool {
        true
    }

    fn title(&self) -> String {
        format!("wait for {} {}", self.probe.probe, self.probe.id)
    }

    fn patient(&self) -> bool {
        true
    }
}
