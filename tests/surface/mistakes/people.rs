//! Another user than the one whose files they are, and surroundings without what is usual.

use super::Walk;
use crate::desk::{Desk, PROFILES};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

/// nobody(7).
const SOMEBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_belongs_to_another_user_is_not_called_missing() {
    let desk = Desk::new();
    let here = desk.path().to_owned();
    desk.file("secret/stack.toml", "");
    desk.file("unread/stack.toml", "");
    desk.file("answers.toml", "");
    desk.file("muster/tiny/box/machine.json", "");
    desk.file("one/muster.lock", "");
    allow(&here.join("secret"), 0o700);
    allow(&here.join("unread/stack.toml"), 0o600);
    allow(&here.join("answers.toml"), 0o600);
    allow(&here.join("muster"), 0o700);
    allow(&here.join("one/muster.lock"), 0o600);
    allow(&here, 0o755);
    let mut walk = Walk::default();
    for (why, words) in [
        ("a folder of another user", &["check", "./secret"][..]),
        ("a file of another user", &["check", "./unread"]),
        (
            "answers of another user",
            &["answers", "check", "answers.toml"],
        ),
        (
            "a folder of another user",
            &["--no-input", "answers", "init", "new.toml"],
        ),
        ("machines of another user", &["ps"]),
        ("machines of another user", &["ps", "tiny"]),
        ("machines of another user", &["up", "starter"]),
        (
            "a lock of another user",
            &["--profiles", PROFILES, "fetch", "one"],
        ),
    ] {
        let output = desk.around(SOMEBODY, words).output().unwrap();
        let command = format!("muster {}", words.join(" "));
        walk.notes(
            &desk,
            why,
            &command.replace(PROFILES, "[profiles]"),
            &output,
        );
    }
    insta::assert_snapshot!(walk.0);
    assert!(!desk.there("out"));
}

#[test]
fn without_home_or_terminal_and_with_relative_folders_it_works() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    // The base directory specification: a relative path is to be ignored.
    desk.muster(&["--profiles", PROFILES, "fetch", "one", &mirror])
        .env("XDG_CACHE_HOME", "relative")
        .env("XDG_STATE_HOME", "relative")
        .env("XDG_CONFIG_HOME", "relative")
        .env("HOME", desk.path().join("home"))
        .env_remove("TERM")
        .assert()
        .code(0);
    assert!(desk.there("home/.cache/muster/sha256"));
    assert!(!desk.there("relative"));
    desk.muster(&["plan", "starter"])
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_STATE_HOME")
        .env("TERM", "dumb")
        .assert()
        .code(0);
}

/// Runs a command where the folder `full` has room for so many bytes and `used` says that all
/// of it is taken; what is in it afterwards is appended to what the command prints.
fn beside_a_small_disk(desk: &Desk, room: &str, used: bool, words: &[&str]) -> Output {
    let own = match nix::unistd::geteuid().is_root() {
        true => &["unshare", "--mount"][..],
        false => &["unshare", "--mount", "--user", "--map-root-user"],
    };
    let fill = match used {
        true => "head -c 1M /dev/zero >full/filler 2>/dev/null;",
        false => "",
    };
    let script = format!(
        "mount -t tmpfs -o size={room} none full || exit 99; {fill} \"$0\" \"$@\"; code=$?; \
         ls -A full; exit $code"
    );
    let program: Vec<&str> = own.iter().copied().chain(["sh", "-c", &script]).collect();
    std::fs::create_dir_all(desk.path().join("full")).unwrap();
    let full = desk.path().join("full");
    desk.around(&program, words)
        .env("XDG_CACHE_HOME", &full)
        .env("XDG_STATE_HOME", &full)
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_called_one() {
    let desk = Desk::new();
    let mirror = desk.lock_one();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/machine/tiny");
    desk.file("out/tiny/box.raw", [7; 4096]);
    let mut walk = Walk::default();
    let words = ["--no-input", "answers", "init", "full/new.toml"];
    let output = beside_a_small_disk(&desk, "64k", true, &words);
    walk.notes(
        &desk,
        "answers",
        "muster answers init full/new.toml; ls",
        &output,
    );
    let words = ["--profiles", PROFILES, "fetch", "one", &mirror];
    let output = beside_a_small_disk(&desk, "64k", false, &words);
    walk.notes(&desk, "the cache", "muster fetch one; ls", &output);
    let output = beside_a_small_disk(&desk, "64k", true, &["up", tiny]);
    walk.notes(&desk, "machines", "muster up ./tiny; ls", &output);
    let digest = desk.lock_digest();
    insta::assert_snapshot!(walk.0.replace(&digest, "[sha256]"));
}

/// Builds as somebody who is not root, on a workstation that gives them these ids and has the
/// programs of `path` alone.
fn without_root(desk: &Desk, subuid: &str, path: &Path) -> Output {
    desk.file("etc/subuid", subuid);
    desk.file("etc/subgid", "somebody:100000:65536\n");
    desk.file("etc/passwd", "somebody:x:65534:65534::/:/bin/sh\n");
    let script = format!(
        "for file in passwd subuid subgid; do [ -e /etc/$file ] || touch /etc/$file; \
         mount --bind {}/etc/$file /etc/$file; done; exec {} env PATH={} \"$0\" \"$@\"",
        desk.path().display(),
        SOMEBODY.join(" "),
        path.display(),
    );
    desk.around(
        &["unshare", "--mount", "sh", "-ec", &script],
        &["build", "starter", "--out", "out"],
    )
    .output()
    .unwrap()
}

#[test]
fn whoever_builds_without_root_reads_what_they_lack() {
    let desk = Desk::new();
    allow(desk.path(), 0o755);
    desk.file("nothing/here", "");
    desk.file("tools/here", "");
    let copied = std::process::Command::new("sh")
        .args(["-c", "cp \"$(command -v newuidmap)\" \"$0\""])
        .arg(desk.path().join("tools"))
        .status();
    // Without what made it privileged.
    assert!(copied.unwrap().success());
    allow(&desk.path().join("tools/newuidmap"), 0o755);
    let some = "somebody:100000:65536\n";
    let mut walk = Walk::default();
    for (why, subuid, path) in [
        ("no ids", "", "nothing"),
        ("few ids", "somebody:100000:1000\n", "nothing"),
        ("no program that hands them out", some, "nothing"),
        ("one that may not", some, "tools"),
    ] {
        let output = without_root(&desk, subuid, &desk.path().join(path));
        walk.notes(&desk, why, "muster build starter", &output);
    }
    insta::assert_snapshot!(walk.0);
    assert!(!desk.there("out"));
}
