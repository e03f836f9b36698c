//! `unit`: a systemd unit is active.

use super::{Arguments, Kind};
use crate::bringup::process::Program;
use crate::bringup::wire::{Network, Refusal};

/// See [`crate::profile::probe_kinds`].
#[derive(Debug)]
pub struct Unit;

impl Kind for Unit {
    fn name(&self) -> &'static str {
        "unit"
    }

    fn attempt(&self, with: &Arguments<'_>, network: &Network) -> Result<String, Refusal> {
        let unit = with.get("unit")?;
        let program = Program {
            limit: network.limit,
            ..Program::new([
                "systemctl",
                "show",
                "--no-pager",
                "--property=LoadState,ActiveState,SubState,Result",
                "--",
                unit,
            ])
        };
        let said = program
            .run()
            .map_err(|error| Refusal::said(error.to_string(), error.last_words()))?;
        verdict(unit, &said.stdout)
    }
}

fn verdict(unit: &str, said: &str) -> Result<String, Refusal> {
    let get = |key: &str| {
        said.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    };
    match (get("LoadState"), get("ActiveState")) {
        ("not-found", _) => Err(Refusal::Other(format!("there is no unit {unit} here"))),
        (_, "active" | "reloading") => Ok(format!("{unit} is active ({})", get("SubState"))),
        (_, state) => Err(Refusal::Other(match get("Result") {
            "success" | "" => format!("{unit} is {state} ({})", get("SubState")),
            result => format!("{unit} is {state} ({}, {result})", get("SubState")),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn an_inactive_unit_is_refused_with_its_state() {
        let words = |said: &str| match verdict("x.service", said) {
            Ok(words) => words,
            Err(refusal) => format!("red: {refusal}"),
        };
        assert_eq!(
            words("LoadState=loaded\nActiveState=active\nSubState=running\nResult=success"),
            "x.service is active (running)"
        );
        assert_eq!(
            words("LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success"),
            "red: x.service is inactive (dead)"
        );
        assert_eq!(
            words("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code"),
            "red: x.service is failed (failed, exit-code)"
        );
        assert_eq!(
            words("LoadState=not-found\nActiveState=inactive\nSubState=dead"),
            "red: there is no unit x.service here"
        );
    }
}
