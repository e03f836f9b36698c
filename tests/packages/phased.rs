//! Pockets of Ubuntu's archive: updates that are being phased in, and what stands where.

use crate::apt::Apt;
use crate::archive::{Miniature, Suite, mirrors, put, stack};
use crate::key::Key;
use crate::liar::{blot, flip};
use muster::packages::lock::Lock;
use std::fs;

/// name, version in the release, in -updates with its share, in -security with its share, and
/// the version that a lock takes.
type Row = (
    &'static str,
    Option<u32>,
    Option<(u32, Option<u32>)>,
    Option<(u32, Option<u32>)>,
    u32,
);

const ROWS: [Row; 9] = [
    ("plain", Some(1), Some((2, None)), None, 2),
    ("begun", Some(1), Some((2, Some(10))), None, 1),
    ("stopped", Some(1), Some((2, Some(0))), None, 1),
    ("done", Some(1), Some((2, Some(100))), None, 2),
    ("new", None, Some((2, Some(10))), None, 2),
    // Whatever its share among the updates: as a fix it is for all.
    ("fix", Some(1), Some((2, Some(10))), Some((2, None)), 2),
    // What comes after the fix waits, the fix does not.
    (
        "after-fix",
        Some(1),
        Some((3, Some(10))),
        Some((2, None)),
        2,
    ),
    (
        "slow-fix",
        Some(1),
        Some((2, Some(50))),
        Some((2, Some(50))),
        1,
    ),
    ("fix-alone", Some(1), None, Some((2, None)), 2),
];

fn stanza(name: &str, version: u32, share: Option<u32>) -> String {
    let share = share.map_or_else(String::new, |share| {
        format!("Phased-Update-Percentage: {share}\n")
    });
    format!("Package: {name}\nVersion: {version}\n{share}\n")
}

/// The three pockets.
fn publish(mini: &Miniature) {
    let [mut release, mut updates, mut security] = [const { String::new() }; 3];
    for (name, released, updated, fixed, _) in ROWS {
        for (text, found) in [
            (&mut release, released.map(|version| (version, None))),
            (&mut updates, updated),
            (&mut security, fixed),
        ] {
            if let Some((version, share)) = found {
                *text += &stanza(name, version, share);
            }
        }
    }
    for (name, text) in [
        ("noble", release),
        ("noble-updates", updates),
        ("noble-security", security),
    ] {
        mini.write(&Suite {
            codename: Some("noble"),
            ..Suite::new(name, &text)
        });
    }
}

const SUITES: [&str; 3] = ["noble", "noble-updates", "noble-security"];

fn versions(lock: &Lock) -> Vec<(&str, &str)> {
    let all = lock.packages.iter();
    all.map(|p| (p.name.as_str(), p.version.as_str())).collect()
}

#[test]
fn a_lock_waits_for_updates_that_are_being_phased_in_as_apt_can_be_told_to() {
    let mini = Miniature::new(Key::new());
    publish(&mini);
    let names = ROWS.map(|row| row.0);
    let request = stack(mini.base(&SUITES, &["main"]), &names);
    let locked = mini.lock(&request, 11, None, false).unwrap();
    let mut expected = ROWS.map(|row| (row.0, row.4.to_string()));
    expected.sort();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(versions(&locked.lock), expected);
    assert!(locked.phased.is_empty());

    if Apt::is_missing() {
        return;
    }
    // A machine that has what was locked: with the same patience apt finds nothing to upgrade,
    // without it all that waits.
    let root = tempfile::tempdir().unwrap();
    let apt = Apt::new(root.path(), &request.bases["mini-1"], &mirrors(&request));
    let mut status = String::new();
    for (name, version) in versions(&locked.lock) {
        status += &format!(
            "Package: {name}\nStatus: install ok installed\nVersion: {version}\n\
             Architecture: all\nMaintainer: x\nDescription: x\n\n"
        );
    }
    fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
    let patience = |word: &str| format!("APT::Get::{word}-Include-Phased-Updates=true");
    assert_eq!(apt.upgrade(&patience("Never")), "");
    assert_eq!(
        apt.upgrade(&patience("Always")),
        "after-fix=3 begun=2 slow-fix=2 stopped=2"
    );
}

#[test]
fn an_update_that_nothing_fits_without_is_taken() {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", &stanza("library", 1, None)));
    let program = "Package: program\nVersion: 2\nDepends: library (>= 2)\n";
    mini.write(&Suite {
        codename: Some("noble"),
        ..Suite::new(
            "noble-updates",
            &format!("{program}\n{}", stanza("library", 2, Some(20))),
        )
    });
    let request = stack(mini.base(&SUITES[..2], &["main"]), &["program"]);
    let locked = mini.lock(&request, 11, None, false).unwrap();
    assert_eq!(versions(&locked.lock), [("library", "2"), ("program", "2")]);
    assert_eq!(locked.phased, ["mini-1"]);
    // What was taken once is kept, without another word.
    let again = mini.lock(&request, 11, Some(&locked.lock), false).unwrap();
    assert_eq!(again.lock, locked.lock);
    assert!(again.phased.is_empty());
    // Where even that does not help, the reason is that of the first attempt.
    let request = stack(mini.base(&SUITES[..2], &["main"]), &["program", "absent"]);
    let error = mini.lock(&request, 11, None, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "role office needs absent, which no archive has"
    );
}

#[test]
fn a_share_that_is_no_percentage_is_refused() {
    for share in ["many", "-5", "+5", "101", "10%", ""] {
        let mini = Miniature::new(Key::new());
        let stanza = format!("Package: a\nVersion: 1\nPhased-Update-Percentage: {share}\n");
        mini.write(&Suite::new("noble", &stanza));
        let request = stack(mini.base(&["noble"], &["main"]), &["a"]);
        let error = mini.lock(&request, 11, None, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an index of mini-1 cannot be used: package a: the field Phased-Update-Percentage is \
             missing or wrong",
            "{share}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn plain_names_are_never_read_where_indexes_are_had_by_digest() {
    let mini = Miniature::new(Key::new());
    let suite = Suite {
        also: &[".gz"],
        stale: Some("Package: yesterday\nVersion: 1\n"),
        ..Suite::new("noble", "Package: today\nVersion: 1\n")
    };
    mini.write(&suite);
    let base = || mini.base(&["noble"], &["main"]);
    mini.lock(&stack(base(), &["today"]), 11, None, false)
        .unwrap();
    let error = mini.lock(&stack(base(), &["yesterday"]), 11, None, false);
    let words = error.unwrap_err().to_string();
    assert!(
        words.starts_with("role office needs yesterday, which no archive has"),
        "{words}"
    );

    // Not even when the file that the digest names is another one, and the plain one is right.
    fs::remove_dir_all(mini.cache().root()).unwrap();
    let index = mini.mirror().join("dists/noble/main/binary-amd64");
    for entry in fs::read_dir(index.join("by-hash/SHA256")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let suffix = if bytes.starts_with(&[0x1f, 0x8b]) {
            "gz"
        } else {
            "xz"
        };
        put(&index.join(format!("Packages.{suffix}")), &bytes);
        flip(&path, 20);
    }
    let error = mini
        .lock(&stack(base(), &["today"]), 11, None, false)
        .unwrap_err();
    let words = blot(&mini, &error.to_string());
    let expected = "an index of noble (archive mini of mini-1) cannot be fetched: \
                    [mirror]/dists/noble/main/binary-amd64/by-hash/SHA256/";
    assert!(words.starts_with(expected), "{words}");
    assert!(
        words.contains(" is not the file the lock or index names"),
        "{words}"
    );
}
