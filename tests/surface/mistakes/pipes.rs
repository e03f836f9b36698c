//! Readers that go away (`muster … | head`), and output that goes to a full disk.

use crate::desk::{Desk, PROFILES};
use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

/// A pipe that nobody reads any more.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn run(desk: &Desk, words: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let command = desk.muster(words);
    let mut plain = Command::new(command.get_program());
    plain.args(command.get_args()).current_dir(desk.path());
    plain.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let child = plain.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    child.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    for words in [
        &["plan", "starter"][..],
        &["plan", "starter", "--json"],
        &["check"],
        &["check", "--json"],
        &["ps", "--json"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--profiles", PROFILES, "fetch", "one", &mirror],
        &["--profiles", PROFILES, "fetch", "one", "--json"],
    ] {
        let output = run(&desk, words, unread(), Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn words_that_nobody_hears_change_neither_the_work_nor_its_exit_code() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    for (code, words) in [
        (0, &["ps"][..]),
        (0, &["down", "starter"]),
        (0, &["--no-input", "answers", "init", "new.toml"]),
        (3, &["answers", "check", "new.toml"]),
        (3, &["check", "startr"]),
        (1, &["ssh", "starter"]),
        (0, &["--profiles", PROFILES, "fetch", "one", &mirror]),
    ] {
        let output = run(&desk, words, Stdio::null(), unread());
        assert_eq!(output.status.code(), Some(code), "{words:?}");
    }
    assert!(desk.path().join("new.toml").is_file());
}

#[test]
fn data_that_does_not_arrive_is_an_error() {
    let desk = Desk::new();
    for words in [
        &["plan", "starter"][..],
        &["ps", "--json"],
        &["completions", "bash"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = run(&desk, words, full.into(), Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            (output.status.code(), said.as_str()),
            (
                Some(1),
                "× cannot write to standard output: No space left on device (os error 28) help: \
                 what was printed is not complete: make room where it goes, or send it elsewhere"
            ),
            "{words:?}"
        );
    }
}
