//! Command lines with a slip in them, and commands in the wrong place or order.

use super::Walk;
use crate::desk::Desk;

#[test]
fn slips_of_the_finger_are_told_with_what_was_meant() {
    let desk = Desk::new();
    let mut walk = Walk::default();
    for (why, words) in [
        ("a command misspelt", &["biuld", "starter"][..]),
        ("an option misspelt", &["fetch", "starter", "--ofline"]),
        ("no stack", &["build"]),
        ("a stack misspelt", &["build", "startr"]),
        ("a stack in capitals", &["plan", "Starter"]),
        ("a role misspelt", &["build", "starter", "--role", "ofice"]),
        ("a role misspelt", &["up", "starter", "--role", "ofice"]),
        (
            "a base misspelt",
            &["plan", "starter", "--base", "debian12"],
        ),
        (
            "a base that there is not",
            &["plan", "starter", "--base", "windows-11"],
        ),
        (
            "a format that there is not",
            &["build", "starter", "--format", "vmdk"],
        ),
        ("a shell misspelt", &["completions", "bsh"]),
        ("the manual of a command misspelt", &["man", "biuld"]),
        (
            "memory too small to start",
            &["up", "starter", "--memory", "10"],
        ),
        ("memory with a unit", &["up", "starter", "--memory", "4G"]),
        ("a disk with a unit", &["up", "starter", "--disk", "1 TB"]),
        ("a disk in words", &["up", "starter", "--disk", "large"]),
        ("no processors", &["up", "starter", "--cpus", "0"]),
        (
            "a time limit for nothing",
            &["up", "starter", "--timeout", "5"],
        ),
        (
            "half of a forwarding",
            &["up", "starter", "--forward", "443"],
        ),
        (
            "a port by name",
            &["up", "starter", "--forward", "https=8443"],
        ),
        (
            "a privileged port",
            &["up", "starter", "--forward", "443=443"],
        ),
        (
            "a port that nothing offers",
            &["up", "starter", "--forward", "8080=48080"],
        ),
        (
            "two ports to one",
            &[
                "up",
                "starter",
                "--forward",
                "22=48022",
                "--forward",
                "443=48022",
            ],
        ),
        (
            "an agent that is no program",
            &["build", "starter", "--agent", "/etc/hostname"],
        ),
    ] {
        walk.takes(&desk, why, words);
    }
    insta::assert_snapshot!(walk.0);
    assert!(!desk.there("starter"), "nothing was locked");
}

#[test]
fn a_command_in_the_wrong_place_names_the_right_one() {
    let desk = Desk::new();
    desk.file("empty/notes.txt", "");
    desk.file("mine/stack.toml", "");
    let mut walk = Walk::default();
    for (why, words) in [
        ("a directory without a stack", &["build", "."][..]),
        ("a directory without a stack", &["check", "empty"]),
        ("a directory that is not there", &["plan", "./mine2"]),
        (
            "the file instead of its directory",
            &["check", "mine/stack.toml"],
        ),
        ("another file", &["check", "empty/notes.txt"]),
        (
            "profiles that are not there",
            &["--profiles", "nowhere", "check"],
        ),
        (
            "a file as profiles",
            &["--profiles", "empty/notes.txt", "check"],
        ),
        (
            "a directory that holds no profiles",
            &["--profiles", "empty", "check"],
        ),
        ("a host's command on a workstation", &["setup"]),
        ("a host's command on a workstation", &["status"]),
        ("a host's command on a workstation", &["verify"]),
        ("a host's command on a workstation", &["join"]),
        (
            "a host's command on a workstation",
            &["join", "--confirm", "edge"],
        ),
        ("a host's command on a workstation", &["diagnose"]),
        ("the units' command, by hand", &["agent", "data"]),
        ("the units' command, by hand", &["agent", "setup"]),
        ("the units' command, by hand", &["agent", "run"]),
        ("a later version's command", &["export", "starter"]),
    ] {
        walk.takes(&desk, why, words);
    }
    insta::assert_snapshot!(walk.0);
}

#[test]
fn a_command_too_early_or_too_late_names_the_next_one() {
    let desk = Desk::new();
    let mut walk = Walk::default();
    for (why, words) in [
        ("fetch before lock", &["fetch", "starter"][..]),
        (
            "a lock demanded before there is one",
            &["build", "starter", "--locked"],
        ),
        ("the first lock, offline", &["lock", "starter", "--offline"]),
        ("status before up", &["status", "starter"]),
        ("verify before up", &["verify", "starter"]),
        ("diagnose before up", &["diagnose", "starter"]),
        ("ssh before up", &["ssh", "starter"]),
        ("console before up", &["console", "starter"]),
        (
            "console of a role that there is not",
            &["console", "starter", "mail"],
        ),
        ("down before up", &["down", "starter"]),
        ("purge before up", &["down", "starter", "--purge"]),
        (
            "purge of one machine before up",
            &["down", "starter", "--role", "edge", "--purge"],
        ),
        ("ps before up", &["ps"]),
        ("ps of a stack misspelt", &["ps", "startr"]),
        ("down of a stack that there is not", &["down", "nosuch"]),
        ("ssh to a stack that there is not", &["ssh", "nosuch"]),
    ] {
        walk.takes(&desk, why, words);
    }
    insta::assert_snapshot!(walk.0);
}
