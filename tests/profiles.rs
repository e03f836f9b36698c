//! Profiles: good stacks become the values in `tests/fixtures/golden`, bad ones are refused
//! with the words in `expected.txt` beside them. `UPDATE_GOLDEN=1` rewrites both.

use muster::plan::{Plan, TaskKind, picture, words};
use muster::profile::{Source, Stack};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FIXTURES: &str = "tests/fixtures/profiles";

fn source() -> Source {
    Source::only(Path::new(FIXTURES))
}

fn load(name: &str) -> Stack {
    Stack::load(&source(), name, None).unwrap_or_else(|error| panic!("{error}"))
}

/// Compares with a golden file; gives a line about a difference.
fn golden(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("a folder");
        std::fs::write(path, actual).expect("a golden file");
        return None;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != actual).then(|| {
        format!(
            "--- {} should be\n{expected}\n+++ but is\n{actual}",
            path.display()
        )
    })
}

fn all_golden(differences: impl IntoIterator<Item = Option<String>>) {
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn good_stacks_give_these_values_and_these_words() {
    let folder = Path::new("tests/fixtures/golden");
    let mut differences = Vec::new();
    for name in ["one", "two"] {
        let stack = load(name);
        let plan = Plan::new(&stack);
        let json = |value: String| value + "\n";
        for (suffix, text) in [
            (
                "stack.json",
                json(serde_json::to_string_pretty(&stack).unwrap()),
            ),
            (
                "plan.json",
                json(serde_json::to_string_pretty(&plan).unwrap()),
            ),
            ("plan.txt", words::words(&stack, &plan)),
            ("plan.dot", picture::dot(&plan)),
            ("plan.mermaid", picture::mermaid(&plan)),
        ] {
            differences.push(golden(&folder.join(format!("{name}.{suffix}")), &text));
        }
        let back: Stack = serde_json::from_str(&serde_json::to_string(&stack).unwrap()).unwrap();
        assert_eq!(
            back, stack,
            "a stack survives its own JSON, as image.json carries it"
        );
    }
    all_golden(differences);
}

#[test]
fn bad_stacks_are_refused_with_these_words() {
    let mut cases: Vec<PathBuf> = std::fs::read_dir("tests/fixtures/refusals")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    let mut differences = Vec::new();
    for case in cases {
        let said = match Stack::load(&source(), case.to_str().unwrap(), None) {
            Ok(_) => "it is not refused".to_owned(),
            Err(error) => error.to_string(),
        };
        differences.push(golden(&case.join("expected.txt"), &(said + "\n")));
    }
    all_golden(differences);
}

#[test]
fn a_stack_that_is_not_there_is_refused_with_the_nearest_name() {
    let error = Stack::load(&source(), "tow", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no stack `tow`\n  stacks: one, two\n  hint: did you mean `two`?"
    );
    let error = Stack::load(&source(), "./nowhere", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no stack `./nowhere`\n  stacks: one, two\n  hint: a stack is named, or is a \
         directory with a stack.toml"
    );
}

#[test]
fn a_base_on_the_command_line_overrides_where_the_role_fixes_none() {
    let stack = Stack::load(&source(), "two", Some("small-1")).unwrap();
    assert!(stack.roles.iter().all(|role| role.base == "small-1"));
    let stack = Stack::load(&source(), "two", None).unwrap();
    let bases: Vec<&str> = stack.roles.iter().map(|role| role.base.as_str()).collect();
    assert_eq!(bases, ["small-1", "small-2"]);
}

#[test]
fn every_task_comes_after_what_it_waits_for_and_ids_are_unique() {
    for name in ["one", "two"] {
        let plan = Plan::new(&load(name));
        let mut done = BTreeSet::new();
        for task in &plan.tasks {
            for before in &task.after {
                assert!(
                    done.contains(before),
                    "{} waits for {before}, which is later",
                    task.id
                );
            }
            assert!(done.insert(&task.id), "{} is twice in the plan", task.id);
        }
        let phases: Vec<usize> = plan.tasks.iter().map(|task| task.phase).collect();
        assert!(phases.is_sorted(), "tasks stand by phase");
        for edge in &plan.integrations {
            assert!(!edge.probes.is_empty(), "{} has no probe", edge.id);
        }
    }
}

#[test]
fn integration_probes_of_a_phase_wait_for_all_its_steps() {
    let plan = Plan::new(&load("one"));
    for probe in plan
        .tasks
        .iter()
        .filter(|task| task.integration.is_some() && matches!(task.kind, TaskKind::Probe { .. }))
    {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = probe.after.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                let task = plan.tasks.iter().find(|task| task.id == id).unwrap();
                open.extend(task.after.iter().map(String::as_str));
            }
        }
        for step in plan
            .tasks
            .iter()
            .filter(|task| task.phase == probe.phase && matches!(task.kind, TaskKind::Step { .. }))
        {
            assert!(
                reached.contains(step.id.as_str()),
                "{} before {}",
                probe.id,
                step.id
            );
        }
    }
}

#[test]
fn the_same_stack_gives_the_same_digest_and_another_stack_another() {
    let (one, two) = (load("one"), load("two"));
    assert_eq!(Plan::new(&one).digest, Plan::new(&load("one")).digest);
    assert_ne!(Plan::new(&one).digest, Plan::new(&two).digest);
}

#[test]
fn every_built_in_stack_is_sound() {
    let source = Source::new(None);
    for name in source.stacks().unwrap() {
        if let Err(error) = Stack::load(&source, &name, None) {
            panic!("{name}: {error}");
        }
    }
}
