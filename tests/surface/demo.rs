//! The answers of a demonstration are answers that a host takes.

use crate::desk::Desk;
use crate::schema::describes;
use muster::profile::{Source, Stack};
use muster::site::demo;
use muster::site::question::Questions;
use serde_json::Value;
use std::path::Path;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");

#[test]
fn every_stack_that_comes_along_has_a_demonstration_that_its_lead_takes_whole() {
    let source = Source::new(None);
    let stacks = source.stacks().unwrap();
    assert!(!stacks.is_empty());
    for name in stacks {
        let stack = Stack::load(&source, &name, None).unwrap();
        let questions = Questions::of(&stack, &stack.roles[0].name);
        assert_eq!(demo::problems(&stack.demo, &questions), [], "{name}");
    }
}

/// The stack of the machine tests with another demonstration.
fn tiny(desk: &Desk, demo: &str) -> String {
    let folder = desk.path().join("tiny");
    std::fs::create_dir_all(folder.join("services")).unwrap();
    let service = "services/hello.toml";
    std::fs::copy(Path::new(TINY).join(service), folder.join(service)).unwrap();
    let text = std::fs::read_to_string(Path::new(TINY).join("stack.toml")).unwrap();
    let (rest, _) = text.split_once("[demo]").unwrap();
    std::fs::write(folder.join("stack.toml"), format!("{rest}{demo}")).unwrap();
    "./tiny".into()
}

#[test]
fn check_refuses_a_demonstration_that_a_host_would_refuse_and_points_at_the_answer() {
    let desk = Desk::new();
    let stack = tiny(
        &desk,
        "[demo]\npeople = [\"admin\"]\n\n[demo.answers]\n\
         \"organisation.nam\" = \"Tiny\"\n\"time.zone\" = \"Berlin\"\n\
         \"organisation.domain\" = \"tiny.example\"\n",
    );
    let (code, said) = desk.json(&["check", &stack, "--json"]);
    assert_eq!(code, 3);
    describes("check", &said);
    let problems: Vec<(&str, u64, &str)> = said["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap();
            let hint = "every question with its help: \
                        muster --no-input answers init FILE --stack ./tiny";
            assert_eq!(text("hint"), hint);
            assert!(text("file").ends_with("tiny/stack.toml"));
            (text("what"), one["line"].as_u64().unwrap(), text("why"))
        })
        .collect();
    let what =
        |key: &str| format!("the demonstration does not answer `{key}` as a host would take it");
    assert_eq!(
        problems,
        [
            (
                what("person.name").as_str(),
                21,
                "`admin` is taken by another person"
            ),
            (
                &what("organisation.name"),
                23,
                "this answer is missing: Name of the organisation"
            ),
            (
                &what("organisation.nam"),
                24,
                "there is no such question; did you mean organisation.name?"
            ),
            (
                &what("time.zone"),
                25,
                "there is no time zone `Berlin`; did you mean Europe/Berlin?"
            ),
        ]
    );
    let output = desk.muster(&["check", &stack]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"./tiny: not sound\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("25 \u{2502} \"time.zone\" = \"Berlin\""),
        "{said}"
    );
}

#[test]
fn check_asks_no_demonstration_of_a_stack_that_has_none() {
    let desk = Desk::new();
    let (code, said) = desk.json(&["check", &tiny(&desk, ""), "--json"]);
    assert_eq!((code, &said["sound"]), (0, &Value::Bool(true)));
}
