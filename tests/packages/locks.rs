//! A miniature archive in Ubuntu's shape, and the lock it gives.

use crate::archive::{Miniature, Suite, stack};
use crate::key::{Key, Shape, SubkeyShape};
use muster::packages::lock::Lock;
use muster::profile::{Account, Stack};

const MAIN: &str = "
Package: base-files
Version: 13
Architecture: amd64
Essential: yes
Pre-Depends: awk

Package: mawk
Version: 1.3
Architecture: amd64
Priority: required
Provides: awk

Package: nginx
Version: 1.24-2
Architecture: amd64
Depends: nginx-common (= 1.24-2),
 ssl-cert | openssl

Package: nginx-common
Version: 1.24-2
";

const UNIVERSE: &str = "
Package: openssl
Version: 3.0

Package: roundcube
Version: 1:1.6
Depends: nginx | httpd, php-any

Package: php8
Version: 8.3
Architecture: amd64
Provides: php-any (= 8.3)
Recommends: openssl
";

const SECURITY: &str = "
Package: nginx
Version: 1.24-2ubuntu7.1
Architecture: amd64
Depends: nginx-common (= 1.24-2ubuntu7.1),
 ssl-cert | openssl

Package: nginx-common
Version: 1.24-2ubuntu7.1
";

fn suite(name: &str, main: &str, universe: &str) -> Suite {
    let mut suite = Suite::new(name, main);
    suite.components.push(("universe".into(), universe.into()));
    suite
}

/// Three pockets, two components, three ways to compress.
fn noble() -> (Miniature, Stack) {
    let mini = Miniature::new(Key::new());
    mini.write(&suite("noble", MAIN, UNIVERSE));
    mini.write(&Suite {
        suffix: ".gz",
        by_hash: false,
        ..suite("noble-updates", "", "")
    });
    mini.write(&Suite {
        suffix: ".zst",
        ..suite("noble-security", SECURITY, "")
    });
    let suites = ["noble", "noble-updates", "noble-security"];
    let mut base = mini.base(&suites, &["main", "universe"]);
    base.accounts.push(Account {
        name: "postgres".into(),
        uid: Some(231),
        gid: 231,
        home: Some("/var/lib/postgresql".into()),
        shell: None,
        gecos: None,
    });
    let stack = stack(base, &["roundcube"]);
    (mini, stack)
}

/// The lock as text with the parts that a fresh key changes blotted out.
fn golden(mini: &Miniature, lock: &Lock) -> String {
    let mut text = lock.to_text().replace(&mini.key.fingerprint(), "[key]");
    text = text.replace(&lock.request, "[request]");
    for release in &lock.releases {
        text = text.replace(&release.sha256, "[signed]");
    }
    text
}

#[test]
fn a_lock_says_exactly_what_will_be_installed() {
    let (mini, stack) = noble();
    let locked = mini.lock(&stack, 11, None, false).unwrap();
    insta::assert_snapshot!(golden(&mini, &locked.lock));
    assert!(!locked.lock.is_stale(&stack));
}

#[test]
fn a_lock_reads_back_as_it_was_written_and_is_the_same_twice() {
    let (mini, stack) = noble();
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    assert_eq!(Lock::from_text(&lock.to_text()), Ok(lock.clone()));
    let again = mini.lock(&stack, 11, Some(&lock), false).unwrap();
    assert_eq!(again.lock.to_text(), lock.to_text());
    assert_eq!(again.changes, []);
}

#[test]
fn versions_are_kept_until_update_or_until_they_are_gone() {
    let (mini, stack) = noble();
    let old = suite("noble-security", "", "");
    mini.write(&old);
    let first = mini.lock(&stack, 11, None, false).unwrap().lock;
    let nginx = |lock: &Lock| {
        let package = lock.packages.iter().find(|package| package.name == "nginx");
        package.unwrap().version.clone()
    };
    assert_eq!(nginx(&first), "1.24-2");
    mini.write(&Suite {
        day: 12,
        ..suite("noble-security", SECURITY, "")
    });
    let kept = mini.lock(&stack, 13, Some(&first), false).unwrap();
    assert_eq!(nginx(&kept.lock), "1.24-2");
    assert_eq!(kept.changes, []);
    let updated = mini.lock(&stack, 13, Some(&first), true).unwrap();
    assert_eq!(nginx(&updated.lock), "1.24-2ubuntu7.1");
    let words: Vec<String> = updated
        .changes
        .iter()
        .map(|change| format!("{} {:?} {:?}", change.name, change.from, change.to))
        .collect();
    assert_eq!(
        words,
        [
            "nginx Some(\"1.24-2\") Some(\"1.24-2ubuntu7.1\")",
            "nginx-common Some(\"1.24-2\") Some(\"1.24-2ubuntu7.1\")",
        ]
    );
    // The old nginx-common is gone, so keeping the old nginx fits nothing any more.
    mini.write(&suite(
        "noble",
        &MAIN.replace("Package: nginx-common\nVersion: 1.24-2\n", ""),
        UNIVERSE,
    ));
    let renewed = mini.lock(&stack, 13, Some(&first), false).unwrap();
    assert_eq!(nginx(&renewed.lock), "1.24-2ubuntu7.1");
    assert_eq!(renewed.renewed, ["mini-1"]);
}

#[test]
fn a_lock_is_stale_when_the_stack_asks_for_something_else() {
    let (mini, stack) = noble();
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    let changed = |change: &dyn Fn(&mut Stack)| {
        let mut stack = stack.clone();
        change(&mut stack);
        lock.is_stale(&stack)
    };
    assert!(changed(&|s| s.roles[0].packages.push("openssl".into())));
    assert!(changed(&|s| s.roles[0].recommends = true));
    assert!(changed(&|s| s.bases.get_mut("mini-1").unwrap().archives[0]
        .suites
        .truncate(1)));
    assert!(!changed(&|s| s.roles[0].memory = 4096));
    assert!(!changed(&|s| s.bases.get_mut("mini-1").unwrap().archives
        [0]
    .mirror = "x".into()));
}

#[test]
fn recommends_of_a_role_are_followed_when_it_says_so() {
    let (mini, mut stack) = noble();
    stack.roles[0].packages = vec!["php8".into()];
    let names = |stack: &Stack| {
        let lock = mini.lock(stack, 11, None, false).unwrap().lock;
        let names: Vec<String> = lock.packages.iter().map(|p| p.name.clone()).collect();
        names.join(" ")
    };
    assert_eq!(names(&stack), "base-files mawk php8");
    stack.roles[0].recommends = true;
    assert_eq!(names(&stack), "base-files mawk openssl php8");
}

#[test]
fn a_signing_subkey_counts_as_its_primary_key() {
    let mini = Miniature::new(Key::shaped(Shape {
        may_sign: false,
        subkey: Some(SubkeyShape::default()),
        ..Shape::default()
    }));
    mini.write(&Suite::new("noble", MAIN));
    let stack = stack(mini.base(&["noble"], &["main"]), &["mawk"]);
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    assert_eq!(lock.releases[0].signed_by, mini.key.fingerprint());
    assert_ne!(mini.key.signer_fingerprint(), mini.key.fingerprint());
}

#[test]
fn a_lock_can_be_made_again_from_the_cache_alone() {
    let (mini, stack) = noble();
    let lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    std::fs::remove_dir_all(mini.mirror()).unwrap();
    let again = mini.lock_from(&stack, 11, None, false, true).unwrap().lock;
    assert_eq!(again, lock);
}
