//! What is refused, in its exact words.

use crate::archive::{Miniature, Suite, stack};
use crate::key::{Key, Shape};
use crate::liar::{PACKAGES, REFUSED, noble, refusal, words};
use muster::packages::lock::Lock;

#[test]
fn a_pocket_that_is_passed_off_as_the_release_it_belongs_to() {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite {
        codename: Some("noble"),
        ..Suite::new("noble-proposed", PACKAGES)
    });
    std::fs::rename(
        mini.mirror().join("dists/noble-proposed"),
        mini.mirror().join("dists/noble"),
    )
    .unwrap();
    assert_eq!(
        refusal(&mini, 11),
        format!("{REFUSED}it is one of Mini noble-proposed (noble)")
    );
}

#[test]
fn a_release_that_is_too_old_or_of_something_else() {
    let aged = Suite {
        valid_days: Some(7),
        ..noble()
    };
    assert_eq!(
        words(Shape::default(), &aged, 18),
        format!(
            "{REFUSED}it was valid until 2026-01-18T00:00:00Z, and now is 2026-01-19T00:00:00Z"
        )
    );
    let other = Suite {
        origin: "Minus".into(),
        ..noble()
    };
    assert_eq!(
        words(Shape::default(), &other, 11),
        format!("{REFUSED}it is one of Minus noble (noble)")
    );
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("jammy", PACKAGES));
    std::fs::rename(
        mini.mirror().join("dists/jammy"),
        mini.mirror().join("dists/noble"),
    )
    .unwrap();
    assert_eq!(
        refusal(&mini, 11),
        format!("{REFUSED}it is one of Mini jammy (jammy)")
    );
}

#[test]
fn a_release_older_than_the_lock_saw() {
    let mini = Miniature::new(Key::new());
    let stack = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    mini.write(&Suite { day: 20, ..noble() });
    let lock = mini.lock(&stack, 21, None, false).unwrap().lock;
    mini.write(&Suite { day: 19, ..noble() });
    let error = mini.lock(&stack, 21, Some(&lock), true).unwrap_err();
    mini.is_unharmed();
    assert_eq!(
        error.to_string(),
        format!(
            "{REFUSED}it is of 2026-01-20T00:00:00Z, and muster.lock saw one of 2026-01-21T00:00:00Z"
        )
    );
    mini.write(&Suite { day: 21, ..noble() });
    mini.lock(&stack, 21, Some(&lock), true).unwrap();
}

#[test]
fn offline_without_anything_in_the_cache() {
    let mini = Miniature::new(Key::new());
    let stack = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let error = mini.lock_from(&stack, 11, None, false, true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cache has no release file of noble (archive mini of mini-1), and --offline forbids to fetch it"
    );
}

#[test]
fn a_lock_file_that_is_not_one() {
    let words = |text: &str| Lock::from_text(text).unwrap_err();
    assert_eq!(
        words("version = 2\n"),
        "it has format version 2, made by another muster: this one reads version 1"
    );
    let dangling = "version = 1\nstack = \"x\"\nrequest = \"\"\n\
        [roles.office]\nbase = \"b\"\nessential = []\npackages = [\"a:all=1\"]\nmanual = []\n";
    assert_eq!(
        words(dangling),
        "role office lists a:all=1, which is no [[package]]"
    );
    assert!(words("version = 1\nstak = \"x\"\n").contains("unknown field `stak`"));
    let package = |name: &str, path: &str| {
        format!(
            "version = 1\nstack = \"x\"\nrequest = \"\"\n[roles]\n[[package]]\nname = \"{name}\"\n\
             version = \"1\"\narchitecture = \"all\"\nbase = \"b\"\narchive = \"a\"\n\
             suite = \"s\"\npath = \"{path}\"\nsize = 1\nsha256 = \"0\"\n"
        )
    };
    assert_eq!(
        words(&package("../a", "pool/a")),
        "../a:all=1 is not what a package is called"
    );
    assert_eq!(
        words(&package("a", "pool/../../b")),
        "the path of a:all=1 leads out of the archive: pool/../../b"
    );
    assert_eq!(words(&package("a", "pool/a")), "a:all=1 has no SHA-256");
}

#[test]
fn every_kind_of_refusal_says_what_to_do() {
    let advice = |change: &dyn Fn(&mut Suite), day, wanted: &str| {
        let mini = Miniature::new(Key::new());
        let mut suite = noble();
        change(&mut suite);
        mini.write(&Suite {
            name: "noble".into(),
            ..suite
        });
        let request = stack(mini.base(&["noble"], &["main"]), &[wanted]);
        let error = mini.lock(&request, day, None, false).unwrap_err();
        format!("{error}\n  {}\n", error.hint().unwrap_or("?"))
    };
    let stanzas = |text: &'static str| {
        move |suite: &mut Suite| suite.components = vec![("main".into(), text.into())]
    };
    let all = [
        advice(&|suite| suite.signature_lives = Some(1), 11, "postgresql"),
        advice(&|suite| suite.valid_days = Some(1), 12, "postgresql"),
        advice(&|suite| suite.origin = "Minus".into(), 11, "postgresql"),
        advice(
            &|suite| suite.components[0].0 = "contrib".into(),
            11,
            "postgresql",
        ),
        advice(&|_| (), 11, "mariadb"),
        advice(
            &stanzas("Package: a\nVersion: 1\nDepends: b (>= 2)\n\nPackage: b\nVersion: 1\n"),
            11,
            "a",
        ),
        advice(
            &stanzas(
                "Package: a\nVersion: 1\nPre-Depends: b\n\nPackage: b\nVersion: 1\nPre-Depends: a\n",
            ),
            11,
            "a",
        ),
        advice(&stanzas("Package: a\nArchitecture: amd64\n"), 11, "a"),
    ];
    let text = all.concat();
    let key = text.split("key ").nth(1).unwrap()[..40].to_owned();
    insta::assert_snapshot!(text.replace(&key, "[key]"));
}
