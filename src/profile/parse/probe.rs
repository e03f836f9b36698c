//! `[[probe]]`, `verify = [{ … }]` and `wait = { … }`.

use crate::profile::Probe;
use crate::profile::names::is_name;
use crate::profile::probe_kinds::{self, PROBE_KINDS};
use crate::profile::problem::suggest;
use crate::profile::reader::Table;
use std::collections::BTreeMap;

/// Reads one probe; its id defaults to its kind.
pub fn probe(table: &Table<'_>) -> Probe {
    table.expects(&["id", "probe"]);
    let kind = table.required("probe");
    let id = table.text("id").unwrap_or_else(|| kind.clone());
    if !id.is_empty() && !is_name(&id) {
        table.problem(
            "id",
            format!("`{id}` is not a name"),
            "names are lower-case letters, digits and dashes, beginning with a letter".into(),
            None,
        );
    }
    let mut with = BTreeMap::new();
    if let Some(known) = probe_kinds::find(&kind) {
        for argument in known.required {
            match table.has(argument) {
                true => drop(
                    table
                        .scalar(argument)
                        .map(|v| with.insert(argument.to_string(), v)),
                ),
                false => {
                    let all = known.required.join(", ");
                    drop(table.scalar(argument));
                    table.problem(
                        "probe",
                        format!("probe `{kind}` lacks `{argument}`"),
                        format!("it needs: {all}"),
                        None,
                    );
                }
            }
        }
        for argument in known.optional {
            if let Some(value) = table.scalar(argument) {
                with.insert(argument.to_string(), value);
            }
        }
    } else {
        for key in table.rest() {
            drop(table.scalar(&key));
        }
        if !kind.is_empty() {
            table.problem(
                "probe",
                format!("there is no probe `{kind}`"),
                format!(
                    "kinds of probe: {}",
                    PROBE_KINDS
                        .iter()
                        .map(|k| k.name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                suggest(&kind, PROBE_KINDS.iter().map(|k| k.name)),
            );
        }
    }
    table.done();
    Probe {
        id,
        probe: kind,
        with,
    }
}

/// Reads a list of probes whose ids must differ.
pub fn probes(tables: &[Table<'_>]) -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for table in tables {
        let probe = probe(table);
        if probes.iter().any(|other| other.id == probe.id) && !probe.id.is_empty() {
            let key = if table.has("id") { "id" } else { "probe" };
            table.problem(
                key,
                format!("two probes here have the id `{}`", probe.id),
                "this is the second".into(),
                Some("give it another `id`".into()),
            );
        }
        probes.push(probe);
    }
    probes
}
