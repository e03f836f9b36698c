//! `[[step]]`: exactly one action key, its options beside it.

use super::probe::probe;
use crate::profile::names::is_name;
use crate::profile::problem::suggest;
use crate::profile::reader::{Table, choice};
use crate::profile::{Action, Effect, Step, UnitState};

/// The keys that say what a step does.
pub const ACTIONS: &[&str] = &[
    "file",
    "directory",
    "link",
    "absent",
    "unit",
    "command",
    "sql",
    "ldap",
    "user",
    "wait",
];

/// Reads a list of steps whose ids must differ and whose `watch` name earlier ones.
pub fn steps(tables: &[Table<'_>]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for table in tables {
        if let Some(step) = step(table, &steps) {
            steps.push(step);
        }
    }
    steps
}

fn step(table: &Table<'_>, earlier: &[Step]) -> Option<Step> {
    let id = table.required("id");
    if !id.is_empty() {
        if !is_name(&id) || id == "probe" {
            table.problem(
                "id",
                format!("`{id}` is not a name for a step"),
                "lower-case letters, digits and dashes, beginning with a letter; not `probe`"
                    .into(),
                None,
            );
        }
        if earlier.iter().any(|other| other.id == id) {
            table.problem(
                "id",
                format!("two steps here have the id `{id}`"),
                "this is the second".into(),
                Some("give it another `id`".into()),
            );
        }
    }
    let when = table.text("when");
    let each = table.text("each");
    let effect = table.text("effect").and_then(|text| {
        let choices = [
            ("root", Effect::Root),
            ("state", Effect::State),
            ("remote", Effect::Remote),
        ];
        choice(table, "effect", &text, &choices)
    });
    // `user` and `directory` beside `command` say as whom and where it runs.
    let command = table.has("command");
    let option = |key: &&&str| command && matches!(**key, "user" | "directory");
    let mut present = ACTIONS.iter().filter(|key| table.has(key) && !option(key));
    let Some(kind) = present.next() else {
        // A misspelt action explains itself; what stands beside it belongs to it.
        let rest = table.rest();
        let slip = rest
            .iter()
            .find(|key| suggest(key, ACTIONS.iter().copied()).is_some());
        let (key, what) = match slip {
            Some(key) => (
                key.as_str(),
                format!("unknown key `{key}` in {}", table.title),
            ),
            None => ("id", format!("step `{id}` does nothing")),
        };
        table.problem(
            key,
            what,
            format!("exactly one of these is expected: {}", ACTIONS.join(", ")),
            slip.and_then(|key| suggest(key, ACTIONS.iter().copied())),
        );
        return None;
    };
    if let Some(second) = present.next() {
        table.problem(
            second,
            format!("step `{id}` does two things, `{kind}` and `{second}`"),
            "a step is one action".into(),
            Some("make two steps of it".into()),
        );
        return None;
    }
    let action = action(table, kind, earlier);
    table.done();
    Some(Step {
        id,
        when,
        each,
        effect: effect.unwrap_or(Effect::Root),
        action: action?,
    })
}

fn action(table: &Table<'_>, kind: &str, earlier: &[Step]) -> Option<Action> {
    Some(match kind {
        "file" => file(table),
        "directory" => Action::Directory {
            path: path(table, "directory"),
            mode: mode(table, "0755"),
            owner: owner(table),
        },
        "link" => Action::Link {
            path: path(table, "link"),
            to: table.required("to"),
        },
        "absent" => Action::Absent {
            path: path(table, "absent"),
        },
        "unit" => unit(table, earlier),
        "command" => {
            let command = table.texts("command");
            if command.is_empty() {
                table.problem(
                    "command",
                    "the command is empty".into(),
                    "a list of the program and its arguments is expected".into(),
                    None,
                );
            }
            Action::Command {
                command,
                unless: table.texts("unless"),
                user: table.text("user"),
                stdin: table.text("stdin"),
                environment: table.scalars("environment"),
                directory: table.text("directory"),
            }
        }
        "sql" => Action::Sql {
            sql: table.required("sql"),
            database: table.text("database"),
            unless: table.text("unless"),
        },
        "ldap" => Action::Ldap {
            dn: table.required("ldap"),
            attributes: table.lists("attributes"),
            initial: table.lists("initial"),
        },
        "user" => Action::User {
            name: table.required("user"),
            groups: table.texts("groups"),
        },
        _ => Action::Wait {
            probe: probe(&table.table("wait")?),
        },
    })
}

fn file(table: &Table<'_>) -> Action {
    let path = path(table, "file");
    let content = table.text("content");
    let template = match (table.text("template"), &content) {
        (Some(_), Some(_)) => {
            table.problem(
                "content",
                "a file has both `template` and `content`".into(),
                "one of them is expected".into(),
                None,
            );
            None
        }
        (Some(template), None) if template.starts_with('/') => Some(template),
        (Some(template), None) => Some(format!("/{template}")),
        (None, None) => Some(format!("{path}.j2")),
        (None, Some(_)) => None,
    };
    Action::File {
        path,
        template,
        content,
        mode: mode(table, "0644"),
        owner: owner(table),
    }
}

fn unit(table: &Table<'_>, earlier: &[Step]) -> Action {
    let unit = table.required("unit");
    if !unit.is_empty() && !unit.contains('.') {
        table.problem(
            "unit",
            format!("`{unit}` lacks the kind of unit"),
            "a unit is named with its suffix".into(),
            Some(format!("did you mean `{unit}.service`?")),
        );
    }
    let state = table.text("state").and_then(|text| {
        let choices = [
            ("started", UnitState::Started),
            ("reloaded", UnitState::Reloaded),
            ("stopped", UnitState::Stopped),
            ("masked", UnitState::Masked),
        ];
        choice(table, "state", &text, &choices)
    });
    let watch = table.texts("watch");
    for id in &watch {
        if !earlier.iter().any(|step| step.id == *id) {
            table.problem(
                "watch",
                format!("`{unit}` watches a step `{id}` that is not before it"),
                match earlier.is_empty() {
                    true => "no step is before it".to_owned(),
                    false => {
                        let ids: Vec<&str> = earlier.iter().map(|step| step.id.as_str()).collect();
                        format!("steps before it: {}", ids.join(", "))
                    }
                },
                suggest(id, earlier.iter().map(|step| step.id.as_str())),
            );
        }
    }
    Action::Unit {
        unit,
        state: state.unwrap_or(UnitState::Started),
        watch,
    }
}

fn path(table: &Table<'_>, key: &str) -> String {
    let path = table.required(key);
    if !path.is_empty() && !path.starts_with('/') && !path.starts_with("{{") {
        table.problem(
            key,
            format!("`{path}` is not an absolute path"),
            "paths of steps begin with `/`".into(),
            None,
        );
    }
    path
}

fn mode(table: &Table<'_>, default: &str) -> String {
    let Some(mode) = table.text("mode") else {
        return default.to_owned();
    };
    if mode.len() != 4 || !mode.chars().all(|digit| ('0'..='7').contains(&digit)) {
        table.problem(
            "mode",
            format!("`{mode}` is not a mode"),
            "four octal digits in quotes are expected, for example \"0640\"".into(),
            None,
        );
    }
    mode
}

/// `user:group`, `root:root` when absent.
fn owner(table: &Table<'_>) -> String {
    let Some(owner) = table.text("owner") else {
        return "root:root".to_owned();
    };
    check_owner(table, "owner", &owner);
    owner
}

/// Refuses what is not `user:group`.
pub fn check_owner(table: &Table<'_>, key: &str, owner: &str) {
    let parts: Vec<&str> = owner.split(':').collect();
    if !owner.contains("{{") && (parts.len() != 2 || parts.iter().any(|part| part.is_empty())) {
        table.problem(
            key,
            format!("`{owner}` is not an owner"),
            "`user:group` is expected".into(),
            (!owner.contains(':')).then(|| format!("did you mean `{owner}:{owner}`?")),
        );
    }
}
