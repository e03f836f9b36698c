//! up, ps, console, ssh and down as a person types them, on a guest of one boot sector.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as expected"
)]

mod mistakes;
mod workstation;

use std::process::Stdio;
use std::time::{Duration, Instant};
use workstation::{STACK, Workstation};

#[test]
fn a_stack_comes_up_is_listed_goes_down_and_is_deleted() {
    let here = Workstation::new();
    here.up();
    let row = here.row();
    assert_eq!(row["condition"], "running");
    assert_eq!(row["user"], "admin");
    assert!(here.folder().join("demo-passwords.toml").is_file());
    let pid = row["pid"].clone();

    let (code, _, said) = here.run(&["up", STACK]);
    assert_eq!((code, said.lines().next()), (0, Some("box runs already")));
    assert_eq!(here.row()["pid"], pid);

    let (code, _, said) = here.run(&["down", "tiny"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "shutting down tiny\nbox is off\n")
    );
    assert_eq!(here.row()["condition"], "stopped");
    let (code, _, said) = here.run(&["down", "tiny"]);
    assert_eq!((code, said.as_str()), (0, "nothing of tiny runs\n"));

    let before = std::fs::read_to_string(here.folder().join("answers.toml")).unwrap();
    let (code, _, said) = here.run(&["up", STACK, "--accel", "tcg"]);
    assert_eq!(code, 0);
    assert!(
        said.starts_with("box is started with the disk it had (tcg: asked for)"),
        "{said}"
    );
    let after = std::fs::read_to_string(here.folder().join("answers.toml")).unwrap();
    assert_eq!(
        before, after,
        "passwords do not change under a running site"
    );

    let (code, _, said) = here.run(&["down", "tiny", "--purge"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("× --purge deletes the machines of tiny for good and needs --yes")
            && said.contains("say it with: muster down tiny --purge --yes"),
        "{said}"
    );
    assert_eq!(here.row()["condition"], "running");
    let (code, _, _) = here.run(&["down", "tiny", "--purge", "--yes"]);
    assert_eq!(code, 0);
    assert!(!here.folder().exists());
}

#[test]
fn a_killed_machine_is_listed_as_died_and_starts_again() {
    let here = Workstation::new();
    here.up();
    here.kill();
    let end = Instant::now() + Duration::from_secs(10);
    while here.row()["condition"] != "died" {
        assert!(Instant::now() < end);
    }
    assert_eq!(here.row()["pid"], serde_json::Value::Null);
    let (code, _, said) = here.run(&["up", STACK]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(here.row()["condition"], "running");
}

#[test]
fn waiting_ends_with_the_outcome_the_lead_tells() {
    let here = Workstation::new();
    here.up();
    let wait = ["up", STACK, "--wait"];
    let (code, _, said) = here.run(&["up", STACK, "--wait", "--timeout", "1"]);
    assert_eq!(code, 5);
    assert!(
        said.contains("bring-up has not ended after 1 s; it goes on by itself"),
        "{said}"
    );
    here.says(r#"{"event":"ssh-host-key","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpGnZ0C4ZyGdQzqYbL3Q0Tn0S1i7k3eQqVbT7hRk0aB"}"#);
    here.says(r#"{"event":"site-ca","pem":"PEM\n"}"#);
    here.says(r#"{"event":"phase","name":"hello"}"#);
    here.says(r#"{"event":"task","id":"box/hello/x","moment":"failed","message":"no answer"}"#);
    for (outcome, code, words) in [
        (
            "unfinished",
            5,
            "bring-up stopped with 1 of 2 integrations proven and resumes",
        ),
        (
            "red",
            4,
            "1 of 2 integrations are proven; see: muster status tiny",
        ),
        ("green", 0, "all 2 integrations are proven"),
    ] {
        here.says(&format!(
            r#"{{"event":"bring-up","outcome":"{outcome}","proven":1,"total":2}}"#
        ));
        let (got, _, said) = here.run(&wait);
        assert_eq!(got, code, "{said}");
        assert!(said.contains(words), "{said}");
        assert!(said.contains("box: hello: Somebody answers\n"), "{said}");
        assert!(
            said.contains("box/hello/x: no answer; it is tried again\n"),
            "{said}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(here.folder().join("site-ca.pem")).unwrap(),
        "PEM\n"
    );
    let known = std::fs::read_to_string(here.folder().join("known_hosts")).unwrap();
    assert!(
        known.starts_with("box.tiny.muster ssh-ed25519 AAAA"),
        "{known}"
    );
}

#[test]
fn a_machine_that_dies_while_somebody_waits_shows_its_last_words() {
    let here = Workstation::new();
    here.up();
    let mut waiting = std::process::Command::new(assert_cmd::cargo::cargo_bin("muster"))
        .current_dir(here.dir.path())
        .env("XDG_STATE_HOME", here.dir.path())
        .args(["up", STACK, "--wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(waiting.try_wait().unwrap(), None);
    here.kill();
    let output = waiting.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("box stopped before its bring-up ended; its last words were:"),
        "{said}"
    );
    assert!(said.contains("ready"), "{said}");
}

#[test]
fn the_console_works_through_pipes_and_ctrl_bracket_leaves() {
    let here = Workstation::new();
    here.up();
    let output = here
        .muster(&["console", "tiny"])
        .write_stdin("hello\x1dnot this")
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap();
    assert!(output.status.success());
    here.wait_for("hello");
    let output = here
        .muster(&["console", "tiny", "box"])
        .write_stdin("again")
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "again");
    let log = std::fs::read_to_string(here.folder().join("box/serial.log")).unwrap();
    assert!(!log.contains("not this"), "{log}");
}

#[test]
fn refusals_have_their_words() {
    let here = Workstation::new();
    let cases: [(&[&str], i32, &str, &str); 7] = [
        (
            &["down", "tinny"],
            1,
            "there are no machines of a stack named tinny",
            "stacks: office, starter",
        ),
        (
            &["ssh", "office"],
            1,
            "the lead does not run",
            "start it with: muster up office",
        ),
        (
            &["console", "office", "office"],
            1,
            "office does not run",
            "muster up office",
        ),
        (
            &["up", STACK, "--role", "bx"],
            1,
            "tiny has no machine named bx",
            "its machines: box",
        ),
        (
            &["up", STACK, "--forward", "443=80"],
            2,
            "80 is below 1024",
            "--help",
        ),
        (
            &["up", STACK, "--forward", "443"],
            2,
            "write it as 443=8443",
            "--help",
        ),
        (
            &["up", "startre"],
            3,
            "there is no stack `startre`",
            "starter",
        ),
    ];
    for (words, code, what, hint) in cases {
        let (got, _, said) = here.run(words);
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat.contains(what) && flat.contains(hint),
            "{words:?}: {said}"
        );
        assert_eq!(got, code, "{words:?}: {said}");
    }
}

#[test]
fn without_qemu_its_package_is_named_before_anything_is_built() {
    let here = Workstation::new();
    let bin = here.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let output = here
        .muster(&["up", STACK])
        .env("PATH", &bin)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("× qemu-system-x86_64 is not installed"),
        "{said}"
    );
    assert!(said.contains("apt install qemu-system-x86"), "{said}");
}

#[test]
fn wrong_answers_are_refused_by_line_before_anything_starts() {
    let here = Workstation::new();
    let file = here.dir.path().join("answers.toml");
    std::fs::write(&file, "[organisation]\ndomain = \"tiny.local\"\n").unwrap();
    let (code, _, said) = here.run(&[
        "up",
        STACK,
        "--accel",
        "tcg",
        "--answers",
        file.to_str().unwrap(),
    ]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("answers.toml:2: organisation.domain: "),
        "{said}"
    );
    assert!(
        said.contains("try it with: muster answers check "),
        "{said}"
    );
    assert_eq!(here.run(&["ps"]).2, "no machines\n");
}
