//! Answers files: good ones become a site, bad ones are refused with pinned words.
//!
//! `UPDATE=1 cargo test --test answers` writes what stands beside the fixtures anew; read
//! the difference before you commit it.

use assert_cmd::Command;
use muster::profile::{Source, Stack};
use muster::site::answers::Answers;
use muster::site::assemble::assemble;
use muster::site::question::Questions;
use std::path::{Path, PathBuf};

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures in {}", folder.display());
    paths
}

/// Compares with the file beside the fixture.
fn compare(fixture: &Path, extension: &str, found: &str) {
    let path = fixture.with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

fn questions() -> Questions {
    let stack = "tests/fixtures/answers-stack";
    let stack = Stack::load(&Source::new(None), stack, None).expect("a sound stack");
    Questions::of(&stack, "office")
}

#[test]
fn a_password_hash_on_the_kernel_command_line_is_refused() {
    let key = "admin.password-hash".to_owned();
    let line = [(key, "$6$x".to_owned())].into();
    let problems = Answers::default().take(&line, &questions(), true);
    let words: Vec<String> = problems
        .iter()
        .map(|one| one.line("the line", ""))
        .collect();
    assert_eq!(
        words,
        [
            "the line: admin.password-hash: everybody may read the kernel command line; a password \
          hash belongs in an answers file: muster answers init FILE"
        ]
    );
}

#[test]
fn good_answers_become_the_site_that_stands_beside_them() {
    let questions = questions();
    for path in fixtures("answers") {
        let text = std::fs::read_to_string(&path).expect("read");
        let (answers, problems) = Answers::read(&text, &questions);
        assert_eq!(problems, [], "{}", path.display());
        let site = assemble(&answers, &questions, "office", &"0".repeat(32)).expect("complete");
        let json = serde_json::to_string_pretty(&site).expect("json");
        compare(&path, "json", &format!("{json}\n"));
        // Written out and read again they are the same answers.
        let (again, problems) = Answers::read(&answers.to_toml(), &questions);
        assert_eq!(problems, [], "{}", path.display());
        assert_eq!(again, answers, "{}", path.display());
    }
}

#[test]
fn bad_answers_are_refused_with_file_line_and_reason() {
    for path in fixtures("answers-refused") {
        let name = path.file_name().expect("a name");
        let output = Command::cargo_bin("muster")
            .expect("the program")
            .current_dir(path.parent().expect("a folder"))
            .args(["answers", "check", "--stack", "../answers-stack"])
            .arg(name)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{}", path.display());
        assert_eq!(output.stdout, b"", "{}", path.display());
        compare(
            &path,
            "txt",
            &String::from_utf8(output.stderr).expect("text"),
        );
    }
}

#[test]
fn a_file_made_without_a_terminal_wants_only_what_has_no_default() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("answers.toml");
    let muster = |part: &str| {
        let mut command = Command::cargo_bin("muster").expect("the program");
        command
            .args([
                "--no-input",
                "answers",
                part,
                "--stack",
                "tests/fixtures/answers-stack",
            ])
            .arg(&path);
        command.assert()
    };
    muster("init").code(0);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path)
        .expect("metadata")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    muster("check").code(3);
    let hash = format!("$6$salt${}", "a".repeat(86));
    let text = std::fs::read_to_string(&path).expect("read");
    let text = text
        .replacen("\nname = \"\"", "\nname = \"Example Ltd\"", 1)
        .replacen("\ndomain = \"\"", "\ndomain = \"example.org\"", 1)
        .replacen(
            "\npassword-hash = \"\"",
            &format!("\npassword-hash = \"{hash}\""),
            1,
        );
    std::fs::write(&path, text).expect("written");
    muster("check").code(0);
    muster("init").failure();
}
