//! What is refused, in its exact words.

use crate::archive::{Miniature, Suite, stack};
use crate::key::{Key, Shape};
use crate::liar::{PACKAGES, REFUSED, noble, refusal, words};
use muster::packages::apt::release;
use muster::packages::lock::Lock;
use muster::profile::{Account, Base, Stack};

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
    let dated = |day| Suite {
        dated: Some(day),
        ..noble()
    };
    assert_eq!(
        words(Shape::default(), &dated(14), 11),
        format!("{REFUSED}it is dated 2026-01-15T00:00:00Z, and now is 2026-01-12T00:00:00Z")
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
fn a_release_that_lists_a_file_without_a_digest() {
    for digest in ["", "aa", &"é".repeat(32), &"g".repeat(64)] {
        let line = format!("{digest} 12 main/binary-amd64/Packages");
        let text = format!("Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n {line}\n");
        assert_eq!(
            release::parse(&text).unwrap_err().to_string(),
            format!("its list of files has the line `{}`", line.trim())
        );
    }
}

#[test]
fn a_base_that_is_wrong_is_refused_with_what_to_mend() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let base = |change: &dyn Fn(&mut Base)| {
        let mut base = mini.base(&["noble"], &["main"]);
        change(&mut base);
        base
    };
    let words = |stack: &Stack| {
        let error = mini.lock(stack, 11, None, false).unwrap_err();
        mini.is_unharmed();
        (error.to_string(), error.hint().unwrap())
    };
    let keys = |text: &str| {
        let keys = text.to_owned();
        let base = base(&|base| base.archives[0].keys = keys.clone());
        words(&stack(base, &["postgresql"]))
    };
    let mend = "mend the `keys` of this archive in its base, or take them from its publisher anew";
    let cut = &mini.key.armoured()[..200];
    assert_eq!(
        keys(cut),
        (
            format!("{REFUSED}the archive's keys cannot be read: a block has no end"),
            mend
        )
    );
    let (said, hint) = keys(&format!("{cut}\n-----END PGP PUBLIC KEY BLOCK-----\n"));
    let start = format!("{REFUSED}the archive's keys cannot be read: ");
    assert!(said.starts_with(&start) && hint == mend, "{said}");
    let ftp = base(&|base| base.archives[0].mirror = "ftp://mirror.example/noble".into());
    assert_eq!(
        words(&stack(ftp, &["postgresql"])),
        (
            "the release file of noble (archive mini of mini-1) cannot be fetched: \
             ftp://mirror.example/noble/dists/noble/InRelease: only http, https and file URLs are \
             understood"
                .into(),
            "change it where it stands: `mirror` of the archive in its base, or [mirrors] of \
             ~/.config/muster/config.toml"
        )
    );
    let account = |id| Account {
        name: "postgres".into(),
        uid: Some(id),
        gid: id,
        home: None,
        shell: None,
        gecos: None,
    };
    let mut two = stack(
        base(&|base| base.accounts = vec![account(901)]),
        &["postgresql"],
    );
    let other = base(&|base| {
        base.name = "mini-2".into();
        base.accounts = vec![account(902)];
    });
    two.bases.insert(other.name.clone(), other);
    assert_eq!(
        words(&two),
        (
            "the account postgres has different ids in mini-1 and mini-2".into(),
            "give it the same id in the `account` tables of both bases"
        )
    );
}

#[test]
fn a_process_that_may_not_have_the_memory_says_which_limits_to_look_at() {
    const INSIDE: &str = "MUSTER_TEST_LITTLE_MEMORY";
    if std::env::var_os(INSIDE).is_none() {
        // This test again, where there is no room for the stack of a long chain of needs.
        let name = "refusals::a_process_that_may_not_have_the_memory_says_which_limits_to_look_at";
        let script = "ulimit -v 240000 && exec \"$0\" \"$@\"";
        let again = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads", "1"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let error = mini.lock(&request, 11, None, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start a thread: Resource temporarily unavailable (os error 11)"
    );
    assert_eq!(
        error.hint(),
        Some("end other programs, or see the limits: ulimit -u; ulimit -v")
    );
    mini.is_unharmed();
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
