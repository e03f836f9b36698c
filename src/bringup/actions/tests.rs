//! Actions on a real directory.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn around() -> Surroundings {
    Surroundings {
        root: "/".into(),
        network: Network {
            names: Default::default(),
            hosts: "/nonexistent".into(),
            ca: "/nonexistent".into(),
            limit: std::time::Duration::from_secs(1),
        },
    }
}

fn own() -> String {
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    format!("{user}:{group}")
}

/// What the check says before, after `apply`, and what `apply` said.
fn cycle(action: &Action) -> (String, String, String) {
    let act = act(action);
    let say = |found: Result<Found, ActionError>| match found {
        Ok(Found::Satisfied) => "satisfied".to_string(),
        Ok(Found::Wanting(what)) => what,
        Ok(Found::Unknown) => "unknown".into(),
        Err(error) => format!("error: {error}"),
    };
    let before = say(act.check(&around(), true));
    let applied = match act.apply(&around(), true) {
        Ok(()) => "applied".into(),
        Err(error) => error.to_string(),
    };
    (before, applied, say(act.verify(&around())))
}

#[test]
fn each_action_sees_what_is_missing_makes_it_and_sees_that_it_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("unwanted"), "x").expect("written");
    std::fs::write(path("loose"), "text").expect("written");
    std::fs::set_permissions(path("loose"), PermissionsExt::from_mode(0o666)).expect("mode");
    let file = |name: &str, content: &str| Action::File {
        path: path(name),
        template: None,
        content: Some(content.into()),
        mode: "0640".into(),
        owner: own(),
    };
    for (action, before) in [
        (file("a/b/file", "text"), "it is not there"),
        (file("loose", "text"), "its mode is 0666, not 0640"),
        (file("a/b/file", "other"), "its content differs"),
        (
            Action::Directory {
                path: path("folder"),
                mode: "2750".into(),
                owner: own(),
            },
            "it is not there",
        ),
        (
            Action::Link {
                path: path("link"),
                to: "loose".into(),
            },
            "it is not there",
        ),
        (
            Action::Link {
                path: path("link"),
                to: "folder".into(),
            },
            "it points at loose",
        ),
        (
            Action::Absent {
                path: path("unwanted"),
            },
            "it is there",
        ),
    ] {
        let (was, applied, after) = cycle(&action);
        assert_eq!(
            (was.as_str(), applied.as_str(), after.as_str()),
            (before, "applied", "satisfied"),
            "{action:?}"
        );
    }
    let folder = std::fs::metadata(path("folder")).expect("the folder");
    assert_eq!(folder.mode() & 0o7777, 0o2750);
}

#[test]
fn what_an_action_cannot_do_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().display().to_string();
    std::fs::write(format!("{home}/file"), "x").expect("written");
    let file = |path: &str, mode: &str, owner: &str| Action::File {
        path: path.into(),
        template: None,
        content: Some(String::new()),
        mode: mode.into(),
        owner: owner.into(),
    };
    let (user, x) = (own(), format!("{home}/x"));
    for (action, words) in [
        (
            file("etc/x", "0644", &user),
            "`etc/x` is not an absolute path".to_string(),
        ),
        (
            file(&x, "rw-", &user),
            "`rw-` is no file mode: write four octal digits, like 0640".into(),
        ),
        (
            file(&x, "0644", "nobody-at-all:root"),
            "there is no user `nobody-at-all` on this host".into(),
        ),
        (
            file(&home, "0644", &user),
            format!("{home} is a directory: a file cannot replace it"),
        ),
        (
            Action::Directory {
                path: format!("{home}/file"),
                mode: "0755".into(),
                owner: user.clone(),
            },
            format!("{home}/file is there and is not a directory"),
        ),
        (
            Action::Absent { path: home.clone() },
            format!("{home} is a directory: only files are removed"),
        ),
        (
            Action::Link {
                path: home.clone(),
                to: "x".into(),
            },
            format!("{home} is a directory: a link cannot replace it"),
        ),
        (
            file(&format!("{home}/file/below"), "0644", &user),
            format!("cannot look at {home}/file/below: Not a directory (os error 20)"),
        ),
    ] {
        assert_eq!(cycle(&action).1, words, "{action:?}");
    }
}

#[test]
fn a_command_is_done_when_the_other_one_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let flag = directory.path().join("flag").display().to_string();
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let command = |run: &[&str], unless: &[&str]| Action::Command {
        command: words(run),
        unless: words(unless),
        user: None,
        stdin: Some("in".into()),
        environment: [("TO".to_string(), flag.clone())].into(),
        directory: None,
    };
    let make = ["sh", "-c", "cat > \"$TO\""];
    let (before, applied, after) = cycle(&command(&make, &["test", "-e", &flag]));
    assert_eq!(before, "`test` says no: `test` exited with status 1");
    assert_eq!((applied.as_str(), after.as_str()), ("applied", "satisfied"));
    assert_eq!(std::fs::read_to_string(&flag).expect("made"), "in");
    let (before, _, after) = cycle(&command(&make, &[]));
    assert_eq!((before.as_str(), after.as_str()), ("unknown", "unknown"));
    let (before, ..) = cycle(&command(&make, &["no-such-program"]));
    assert_eq!(
        before,
        "error: cannot start `no-such-program`: there is no program `no-such-program`"
    );
}

#[test]
fn copies_of_the_site_ca_do_not_prove_that_programs_have_been_told_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let places = crate::bringup::places::Places::below(directory.path());
    let own = crate::site::authority::Own {
        folder: places.authority(),
        organisation: "Example".into(),
    };
    let act = authority::SiteAuthority {
        signer: &own,
        places: &places,
        organisation: "Example",
    };
    let check = |stale| act.check(&around(), stale).expect("looked");
    let pem = crate::site::authority::Signs::ca(&own).expect("a CA");
    let words = format!("{} is not the site CA", places.ca.display());
    assert_eq!(check(false), Found::Wanting(words));
    std::fs::write(&places.ca, &pem).expect("written");
    let words = format!("{} is not the site CA", places.ca_anchor.display());
    assert_eq!(check(false), Found::Wanting(words));
    std::fs::write(&places.ca_anchor, &pem).expect("written");
    assert_eq!(check(false), Found::Satisfied);
    assert_eq!(check(true), Found::Unknown, "it may have been cut short");
}
