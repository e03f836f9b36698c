//! A systemd unit in a wanted state.

use super::{Act, ActionError, Found, Surroundings};
use crate::bringup::process::{ProcessError, Program};
use crate::profile::UnitState;
use std::collections::BTreeMap;

/// What is asked of systemctl(1).
const PROPERTIES: &str = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Type,\
                          Result,InactiveEnterTimestampMonotonic";

/// See [`crate::profile::Action::Unit`].
#[derive(Debug)]
pub struct Unit<'a> {
    /// Name with suffix.
    pub unit: &'a str,
    /// Wanted state.
    pub state: UnitState,
}

/// What systemd says about a unit.
#[derive(Debug, Default)]
struct Facts {
    told: BTreeMap<String, String>,
    /// Whether it is known to have a file of its own, and not just an init script.
    native: bool,
}

impl Facts {
    fn parse(text: &str) -> Facts {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Facts {
            told: lines
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            native: false,
        }
    }

    fn get(&self, key: &str) -> &str {
        self.told.get(key).map_or("", String::as_str)
    }

    fn active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading")
    }

    /// A `oneshot` that has run and ended well counts as active.
    fn ran(&self) -> bool {
        self.get("Type") == "oneshot"
            && self.get("ActiveState") == "inactive"
            && self.get("Result") == "success"
            && self.has_ended()
    }

    /// Whether it has been started since boot, and has ended.
    fn has_ended(&self) -> bool {
        !matches!(self.get("InactiveEnterTimestampMonotonic"), "" | "0")
    }

    /// How the unit differs from the wanted state.
    fn found(&self, unit: &str, state: UnitState, stale: bool) -> Found {
        let load = self.get("LoadState");
        let file = self.get("UnitFileState");
        match state {
            UnitState::Masked if load == "masked" && !self.active() => Found::Satisfied,
            UnitState::Masked => Found::Wanting(format!("{unit} is not masked")),
            UnitState::Stopped if load == "not-found" => Found::Satisfied,
            UnitState::Stopped if self.active() => Found::Wanting(format!("{unit} is active")),
            UnitState::Stopped if file == "enabled" => Found::Wanting(format!("{unit} is enabled")),
            UnitState::Stopped => Found::Satisfied,
            UnitState::Started | UnitState::Reloaded => {
                if !self.active() && !self.ran() {
                    Found::Wanting(format!(
                        "{unit} is {} ({})",
                        self.get("ActiveState"),
                        self.get("SubState")
                    ))
                } else if matches!(file, "disabled" | "masked" | "masked-runtime") {
                    Found::Wanting(format!("{unit} is {file}"))
                } else if stale {
                    Found::Wanting("what it reads has changed".into())
                } else {
                    Found::Satisfied
                }
            }
        }
    }
}

fn systemctl(words: &[&str]) -> Result<String, ProcessError> {
    let mut command = vec!["systemctl", "--no-pager", "--no-ask-password"];
    command.extend(words);
    Program::new(command).run().map(|said| said.stdout)
}

impl Unit<'_> {
    fn facts(&self) -> Result<Facts, ActionError> {
        Ok(Facts::parse(&systemctl(&[
            "show",
            "--property",
            PROPERTIES,
            "--",
            self.unit,
        ])?))
    }

    /// Whether it starts at boot: what links say. systemd knows what they said when it last read
    /// all units, and of a unit made from an init script only that it was made.
    fn is_enabled(&self) -> bool {
        systemctl(&["is-enabled", "--quiet", "--", self.unit]).is_ok()
    }

    /// What systemd says, with the state of the unit's file as it is where that matters.
    fn fresh_facts(&self) -> Result<Facts, ActionError> {
        let mut facts = self.facts()?;
        let remembered = facts.get("UnitFileState");
        let started = matches!(self.state, UnitState::Started | UnitState::Reloaded);
        let doubtful = match remembered {
            "disabled" | "generated" => started,
            "enabled" => self.state == UnitState::Stopped,
            _ => false,
        };
        if doubtful {
            let now = match self.is_enabled() {
                true => "enabled",
                false => "disabled",
            };
            facts.native = remembered != "generated";
            facts.told.insert("UnitFileState".into(), now.into());
        }
        Ok(facts)
    }

    /// Has it start at boot or not. Where there is a unit beside an init script, nobody asks the
    /// script, and two more programs and three reloads of all units would take longer than many a
    /// service takes to start. A unit need not be read again for a link to it.
    fn enable(&self, verb: &str, facts: &Facts) -> Result<(), ActionError> {
        let mut program = Program::new(["systemctl", verb, "--no-ask-password"]);
        if facts.native {
            program.command.push("--no-reload".into());
            let skip = ("SYSTEMCTL_SKIP_SYSV".into(), "1".into());
            program.environment.extend([skip]);
        }
        program.command.extend(["--".into(), self.unit.into()]);
        self.ordered(verb, program.run())
    }

    fn order(&self, verb: &str) -> Result<(), ActionError> {
        self.ordered(verb, systemctl(&[verb, "--", self.unit]))
    }

    /// A failure carries what the unit wrote last.
    fn ordered<T>(&self, verb: &str, result: Result<T, ProcessError>) -> Result<(), ActionError> {
        result.map(drop).map_err(|error| ActionError::Refused {
            reason: format!("`systemctl {verb} {}`: {}", self.unit, first_line(&error)),
            output: format!("{}\n{}", journal_tail(self.unit, 12), error.output()),
        })
    }

    fn start(&self, facts: &Facts, stale: bool) -> Result<(), ActionError> {
        if facts.get("LoadState") == "masked" {
            self.order("unmask")?;
        }
        if matches!(facts.get("UnitFileState"), "disabled" | "masked") {
            self.enable("enable", facts)?;
        }
        match (facts.active(), stale, self.state) {
            (true, true, UnitState::Reloaded) => self.order("reload-or-restart"),
            (true, true, _) => self.order("restart"),
            (true, false, _) => Ok(()),
            (false, _, _) => {
                // The start limit counts failures of attempts before this one.
                if facts.get("ActiveState") == "failed" || facts.has_ended() {
                    let _ = systemctl(&["reset-failed", "--", self.unit]);
                }
                self.order("start")
            }
        }
    }
}

impl Act for Unit<'_> {
    fn check(&self, _around: &Surroundings, stale: bool) -> Result<Found, ActionError> {
        let facts = self.fresh_facts()?;
        if facts.get("NeedDaemonReload") == "yes" {
            return Ok(Found::Wanting("its unit file has changed".into()));
        }
        Ok(facts.found(self.unit, self.state, stale))
    }

    fn apply(&self, _around: &Surroundings, stale: bool) -> Result<(), ActionError> {
        let mut facts = self.fresh_facts()?;
        let stale = stale || facts.get("NeedDaemonReload") == "yes";
        if facts.get("NeedDaemonReload") == "yes" || facts.get("LoadState") == "not-found" {
            systemctl(&["daemon-reload"])?;
            facts = self.fresh_facts()?;
        }
        match self.state {
            UnitState::Started | UnitState::Reloaded => self.start(&facts, stale),
            UnitState::Stopped if facts.get("LoadState") == "not-found" => Ok(()),
            UnitState::Stopped => {
                self.order("stop")?;
                self.enable("disable", &facts)
            }
            UnitState::Masked => {
                if facts.active() {
                    self.order("stop")?;
                }
                self.order("mask")
            }
        }
    }

    fn title(&self) -> String {
        let verb = match self.state {
            UnitState::Started | UnitState::Reloaded => "start",
            UnitState::Stopped => "stop",
            UnitState::Masked => "mask",
        };
        format!("{verb} {}", self.unit)
    }
}

fn first_line(error: &ProcessError) -> String {
    let output = error.output();
    output
        .lines()
        .find(|line| !line.trim().is_empty())
        .map_or_else(|| error.to_string(), str::to_string)
}

/// The last lines a unit wrote, for people; empty when they cannot be had.
pub fn journal_tail(unit: &str, lines: usize) -> String {
    let count = lines.to_string();
    let program = Program {
        limit: std::time::Duration::from_secs(30),
        ..Program::new([
            "journalctl",
            "--no-pager",
            "--quiet",
            "--boot",
            "--output=short",
            "--unit",
            unit,
            "--lines",
            &count,
        ])
    };
    program
        .run()
        .map(|said| said.stdout.trim_end().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts::parse(&text.replace(' ', "\n"))
    }

    #[test]
    fn a_unit_is_compared_with_its_wanted_state() {
        let running = "LoadState=loaded ActiveState=active SubState=running UnitFileState=enabled";
        let dead = "LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=enabled";
        let ran = "LoadState=loaded ActiveState=inactive SubState=dead UnitFileState=static \
                   Type=oneshot Result=success InactiveEnterTimestampMonotonic=7";
        let absent = "LoadState=not-found ActiveState=inactive SubState=dead";
        let masked = "LoadState=masked ActiveState=inactive SubState=dead UnitFileState=masked";
        let wanting = |words: &str| Found::Wanting(words.into());
        for (says, state, stale, found) in [
            (running, UnitState::Started, false, Found::Satisfied),
            (
                running,
                UnitState::Reloaded,
                true,
                wanting("what it reads has changed"),
            ),
            (
                dead,
                UnitState::Started,
                false,
                wanting("x is inactive (dead)"),
            ),
            (ran, UnitState::Started, false, Found::Satisfied),
            (absent, UnitState::Stopped, false, Found::Satisfied),
            (running, UnitState::Stopped, false, wanting("x is active")),
            (dead, UnitState::Stopped, false, wanting("x is enabled")),
            (masked, UnitState::Masked, false, Found::Satisfied),
            (dead, UnitState::Masked, false, wanting("x is not masked")),
        ] {
            assert_eq!(facts(says).found("x", state, stale), found, "{says}");
        }
    }
}
