//! `--progress-fd` as a program uses it.

use crate::desk::{Desk, PROFILES, SIZE};
use crate::schema::{accepts, describes, refuses};
use serde_json::{Value, json};
use std::process::Output;

/// Runs `muster WORDS` in a shell that opens what is behind them.
fn shell(desk: &Desk, words: &str, redirections: &str) -> Output {
    let program = assert_cmd::cargo::cargo_bin("muster");
    std::process::Command::new("sh")
        .current_dir(desk.path())
        .env("XDG_STATE_HOME", desk.path())
        .env("XDG_CACHE_HOME", desk.path().join("cache"))
        .env("NO_COLOR", "1")
        .args(["-c", &format!("\"$0\" {words} {redirections}")])
        .arg(program)
        .output()
        .unwrap()
}

fn lines(desk: &Desk) -> Vec<Value> {
    let text = std::fs::read_to_string(desk.path().join("progress.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_fetch_tells_its_bytes_as_the_schema_says_and_shows_no_bar() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    let fetch = format!("--profiles {PROFILES} fetch one {mirror} --progress-fd 7");
    let output = shell(&desk, &fetch, "7>progress.jsonl");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    let told = lines(&desk);
    for line in &told {
        describes("progress", line);
    }
    let line = |moment: &str, done: usize, total: Value| {
        json!({ "stage": "fetch", "subject": "one", "moment": moment,
                "done": done, "total": total, "message": "" })
    };
    assert_eq!(told.first(), Some(&line("started", 0, Value::Null)));
    assert_eq!(told.last(), Some(&line("done", SIZE, json!(SIZE))));
    let mut wrong = told[0].clone();
    wrong["moment"] = json!("paused");
    refuses("progress", &wrong);
}

#[test]
fn work_that_fails_says_so_and_the_exit_code_stays() {
    let desk = Desk::new();
    desk.lock_one();
    let words = format!("--profiles {PROFILES} fetch one --offline --progress-fd 3");
    let output = shell(&desk, &words, "3>progress.jsonl");
    assert_eq!(output.status.code(), Some(1));
    let told = lines(&desk);
    told.iter().for_each(|line| accepts("progress", line));
    let moments: Vec<&Value> = told.iter().map(|line| &line["moment"]).collect();
    assert_eq!(moments, ["started", "failed"]);
}

#[test]
fn a_reader_that_went_away_does_not_stop_the_work() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    let fetch = format!("--profiles {PROFILES} fetch one {mirror} --progress-fd 3");
    let output = shell(&desk, &fetch, "3>&1 >said | true");
    assert!(output.status.success());
    let said = std::fs::read_to_string(desk.path().join("said")).unwrap();
    assert!(said.starts_with("1 files, "), "{said}");
}

#[test]
fn a_descriptor_that_cannot_be_written_is_an_error_of_usage_with_its_words() {
    let desk = Desk::new();
    let hint = "in a shell, open one with: --progress-fd 3 3>progress.jsonl";
    let cases = [
        ("9", "9>&-", "descriptor 9 is not open"),
        ("3", "3</dev/null", "descriptor 3 is open for reading only"),
        ("three", "", "this is not the number of a descriptor"),
        ("-1", "", "this is not the number of a descriptor"),
    ];
    for command in ["build one", "fetch one", "lock one", "up one"] {
        for (number, redirection, words) in cases {
            let line = format!("{command} --progress-fd={number}");
            let output = shell(&desk, &line, redirection);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{line}: {said}");
            let whole = format!(
                "error: invalid value '{number}' for '--progress-fd <N>': {words}; {hint}\n"
            );
            assert!(said.starts_with(&whole), "{line}: {said}");
        }
    }
}
