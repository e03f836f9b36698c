//! Profiles: good stacks become the values in `tests/fixtures/golden`, bad ones are refused
//! with the words in `expected.txt` beside them. `UPDATE_GOLDEN=1` rewrites both.

use muster::packages::lock::Lock;
use muster::plan::{Plan, TaskKind, picture, words};
use muster::profile::interfaces::{Field, INTERFACES};
use muster::profile::probe_kinds::PROBE_KINDS;
use muster::profile::{Choice, Source, Stack};
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
        "there is no stack `./nowhere`\n  stacks: one, two\n  hint: ./nowhere does not exist; a \
         stack is named, or is a directory with a stack.toml"
    );
}

#[test]
fn a_directory_before_the_built_in_profiles_replaces_whole_overlays() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in [
        ("profiles/services/nginx.toml", "# mine\n"),
        ("overlays/nginx/etc/only", "mine\n"),
        ("overlays/nginx/etc/only~", "a backup\n"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("a file");
    }
    let source = Source::new(Some(folder.path()));
    let read = |path: &str| {
        source
            .read(path)
            .expect("text")
            .map(|f| f.text.content.to_string())
    };
    assert_eq!(
        read("profiles/services/nginx.toml").as_deref(),
        Some("# mine\n")
    );
    assert!(
        read("profiles/services/slapd.toml").is_some(),
        "the others are still there"
    );
    let files = source.below("overlays/nginx").expect("files");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["etc/only"]);
    assert!(!source.below("overlays/slapd").expect("files").is_empty());
    let inner = Source::new(Some(&folder.path().join("profiles")));
    assert_eq!(
        inner.below("overlays/nginx").expect("files").len(),
        1,
        "beside `profiles`"
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
fn a_kernel_on_the_command_line_changes_what_the_lock_asks_for() {
    let with = |kernel| {
        let choice = Choice {
            base: Some("small-1"),
            kernel,
        };
        Stack::load_with(&source(), "one", choice)
    };
    let (own, other) = (with(None).unwrap(), with(Some("generic")).unwrap());
    assert_eq!(other.roles[0].kernel.as_deref(), Some("generic"));
    assert_ne!(Lock::request_digest(&own), Lock::request_digest(&other));
    let error = with(Some("small")).unwrap_err().to_string();
    assert!(
        error.contains("the base `small-1` has no kernel `small`"),
        "{error}"
    );
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

/// The text between two markers of a document, as it should be.
fn filled(document: &str, what: &str, table: &str) -> String {
    let start = format!("<!-- {what}: made by tests/profiles.rs -->\n");
    let end = format!("<!-- end of {what} -->");
    let (before, rest) = document.split_once(&start).expect("the first marker");
    let (_, after) = rest.split_once(&end).expect("the last marker");
    format!("{before}{start}\n{table}\n{end}{after}")
}

fn fields(fields: &[Field]) -> String {
    let one = |field: &Field| {
        let mark = if field.required { "" } else { ", optional" };
        format!("`{}` ({}{mark})", field.name, field.summary)
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_reference_lists_every_interface_and_probe() {
    let mut interfaces =
        String::from("| interface | what it is | a need says | it receives |\n|---|---|---|---|\n");
    for interface in INTERFACES {
        let place = if interface.same_host {
            ", on one host"
        } else {
            ""
        };
        interfaces += &format!(
            "| `{}` | {}{place} | {} | {} |\n",
            interface.name,
            interface.summary,
            fields(interface.parameters),
            fields(interface.values)
        );
    }
    let mut probes = String::from("| probe | green when | arguments |\n|---|---|---|\n");
    for kind in PROBE_KINDS {
        let required = kind.required.iter().map(|name| format!("`{name}`"));
        let optional = kind.optional.iter().map(|name| format!("[`{name}`]"));
        let arguments: Vec<String> = required.chain(optional).collect();
        probes += &format!(
            "| `{}` | {} | {} |\n",
            kind.name,
            kind.proves,
            arguments.join(" ")
        );
    }
    let path = Path::new("docs/profiles.md");
    let document = std::fs::read_to_string(path).expect("the reference");
    let expected = filled(
        &filled(&document, "interfaces", &interfaces),
        "probes",
        &probes,
    );
    all_golden([golden(path, &expected)]);
}

#[test]
fn every_probe_that_profiles_may_name_can_be_made() {
    let named: Vec<&str> = PROBE_KINDS.iter().map(|kind| kind.name).collect();
    let made: Vec<&str> = muster::bringup::probes::KINDS
        .iter()
        .map(|kind| kind.name())
        .collect();
    assert_eq!(named, made);
}

fn muster(arguments: &[&str]) -> assert_cmd::assert::Assert {
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["--profiles", FIXTURES])
        .args(arguments)
        .env("NO_COLOR", "1")
        .assert()
}

#[test]
fn check_prints_one_line_for_a_sound_stack() {
    muster(&["check", "one"])
        .code(0)
        .stderr("")
        .stdout("one: sound (1 role, 6 services, 4 integrations, 2 phases; small-1)\n");
}

#[test]
fn check_points_at_what_is_wrong_and_exits_with_3() {
    let case = "tests/fixtures/refusals/unknown-key";
    let assert = muster(&["check", case])
        .code(3)
        .stdout(format!("{case}: not sound\n"));
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    for words in [
        "unknown key `unti` in [[step]]",
        "tests/fixtures/refusals/unknown-key/services/broken.toml:7",
        "7 │ unti = \"a.service\"",
        "exactly one of these is expected: file",
        "help: did you mean `unit`?",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
}

#[test]
fn plan_prints_the_same_plan_as_the_library_and_refuses_a_bad_stack_with_3() {
    let plan = Plan::new(&load("two"));
    let json = serde_json::to_string_pretty(&plan).expect("a plan is JSON");
    muster(&["plan", "two", "--json"])
        .code(0)
        .stdout(json + "\n");
    muster(&["plan", "nowhere"]).code(3).stdout("");
}
