//! Where an archive is fetched from: given, configured, the machine's apt, the base.

use crate::archive::{Miniature, stack};
use crate::key::Key;
use muster::packages::apt::mirror::{AptSource, Mirrors, Preferences, parse_list, parse_sources};
use muster::profile::Stack;
use std::collections::BTreeMap;

/// A base in Debian's shape: security has an archive of its own.
fn debian() -> Stack {
    let mini = Miniature::new(Key::new());
    let mut base = mini.base(&["bookworm", "bookworm-updates"], &["main"]);
    base.archives[0].name = "debian".into();
    base.archives[0].origin = "Debian".into();
    base.archives[0].mirror = "http://default.example/debian".into();
    let mut security = base.archives[0].clone();
    security.name = "debian-security".into();
    security.suites = vec!["bookworm-security".into()];
    security.mirror = "http://default.example/debian-security/".into();
    base.archives.push(security);
    stack(base, &[])
}

fn urls(from: &Preferences) -> (String, String) {
    let stack = debian();
    let mirrors = Mirrors::choose(stack.bases.values(), from);
    let url = |archive| mirrors.url("mini-1", archive).unwrap().to_owned();
    (url("debian"), url("debian-security"))
}

fn pair(main: &str, security: &str) -> (String, String) {
    (main.to_owned(), security.to_owned())
}

fn source(uri: &str, suite: &str, origin: Option<&str>) -> AptSource {
    AptSource {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        origin: origin.map(str::to_owned),
    }
}

const DEFAULT: &str = "http://default.example/debian";
const DEFAULT_SECURITY: &str = "http://default.example/debian-security";

#[test]
fn the_base_says_where_when_nobody_else_does() {
    assert_eq!(
        urls(&Preferences::default()),
        pair(DEFAULT, DEFAULT_SECURITY)
    );
}

#[test]
fn the_apt_of_the_machine_is_followed_for_the_same_distribution() {
    let table = [
        (
            vec![
                source("http://near.example/debian", "trixie", None),
                source(
                    "http://near.example/debian-security",
                    "trixie-security",
                    None,
                ),
            ],
            pair(
                "http://near.example/debian",
                "http://near.example/debian-security",
            ),
        ),
        (
            // The very suite counts more than an earlier line.
            vec![
                source("http://old.example/debian", "trixie", Some("Debian")),
                source("http://near.example/odd/", "bookworm", Some("Debian")),
            ],
            pair("http://near.example/odd", DEFAULT_SECURITY),
        ),
        (
            vec![
                source("http://near.example/ubuntu", "noble", None),
                source("http://vendor.example/debian", "stable", Some("Vendor")),
            ],
            pair(DEFAULT, DEFAULT_SECURITY),
        ),
    ];
    for (apt, expected) in table {
        let from = Preferences {
            apt,
            ..Preferences::default()
        };
        assert_eq!(urls(&from), expected);
    }
}

#[test]
fn what_is_given_counts_more_than_what_is_configured_and_that_more_than_apt() {
    let mut from = Preferences {
        given: vec![],
        configured: BTreeMap::from([("debian".into(), "http://mine.example/d".into())]),
        apt: vec![source("http://near.example/debian", "bookworm", None)],
    };
    assert_eq!(urls(&from), pair("http://mine.example/d", DEFAULT_SECURITY));
    for (given, expected) in [
        (
            "http://cli.example/x",
            pair("http://cli.example/x", DEFAULT_SECURITY),
        ),
        (
            "http://cli.example/debian-security/",
            pair(
                "http://mine.example/d",
                "http://cli.example/debian-security",
            ),
        ),
        (
            "debian-security=http://cli.example/s",
            pair("http://mine.example/d", "http://cli.example/s"),
        ),
    ] {
        from.given = vec![given.to_owned()];
        assert_eq!(urls(&from), expected, "{given}");
    }
}

#[test]
fn both_ways_to_write_apt_sources_are_read() {
    let list = "# deb http://no.example/debian x main\n\
        deb [arch=amd64 signed-by=/a b] http://a.example/debian bookworm main # why\n\
        deb-src http://no.example/debian bookworm main\n\
        deb cdrom:[x]/ bookworm main\n";
    assert_eq!(
        parse_list(list),
        [source("http://a.example/debian", "bookworm", None)]
    );
    let sources = "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\n\
        Types: deb\nEnabled: no\nURIs: http://no.example/debian\nSuites: x\n\n\
        Types: deb-src\nURIs: http://no.example/debian\nSuites: x\n";
    assert_eq!(
        parse_sources(sources),
        [
            source("http://a.example/debian", "bookworm", None),
            source("http://a.example/debian", "bookworm-updates", None),
        ]
    );
}
