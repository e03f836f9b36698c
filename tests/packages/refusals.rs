//! What is refused, in its exact words.

use crate::archive::{Miniature, Suite, mirrors, moment, put, stack};
use crate::key::{DAY, Key, Shape, SubkeyShape};
use indicatif::ProgressBar;
use muster::packages::PackagesError;
use muster::packages::apt::archive::SuiteError;
use muster::packages::fetch::fetch;
use muster::packages::lock::{Lock, LockOptions, lock_stack};
use pgp::crypto::hash::HashAlgorithm;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const PACKAGES: &str = "Package: postgresql\nVersion: 15\n";

/// What locking says, on the given day, of a suite written by this key.
fn words(shape: Shape, suite: &Suite, day: u32) -> String {
    let mini = Miniature::new(Key::shaped(shape));
    mini.write(suite);
    refusal(&mini, day)
}

/// What locking says, fingerprints and paths blotted out. Whatever it was: it comes with
/// advice, the cache is as sound as before, and an honest archive can be locked with it.
fn refusal(mini: &Miniature, day: u32) -> String {
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let error = mini.lock(&request, day, None, false).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    mini.is_unharmed();
    let kept = mini.cache().release("mini-1", "mini", "noble");
    if matches!(
        error,
        PackagesError::Suite(SuiteError::Signature { .. } | SuiteError::Other { .. })
    ) {
        assert!(!kept.exists(), "a refused release file was kept");
    }
    recovers(mini);
    blot(mini, &error.to_string())
}

/// An honest archive and the cache of a lying one give a lock and its files.
fn recovers(mini: &Miniature) {
    let honest = Miniature::new(Key::new());
    honest.write(&noble());
    let request = stack(honest.base(&["noble"], &["main"]), &["postgresql"]);
    let options = LockOptions {
        mirrors: &mirrors(&request),
        cache: &mini.cache(),
        offline: false,
        previous: None,
        update: false,
        now: moment(11),
    };
    let lock = lock_stack(&request, &options).unwrap().lock;
    let bar = ProgressBar::hidden();
    let done = fetch(&lock, &mini.cache(), Some(options.mirrors), &bar).unwrap();
    assert_eq!(done.files, 1);
    mini.is_unharmed();
    std::fs::remove_dir_all(mini.cache().root()).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The one file of this suffix below the mirror.
fn only_file(mini: &Miniature, fits: &dyn Fn(&Path) -> bool) -> PathBuf {
    let all = walkdir::WalkDir::new(mini.mirror()).into_iter();
    let mut found = all
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file() && fits(path));
    let path = found.next().unwrap();
    assert_eq!(found.next(), None);
    path
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    put(path, &bytes);
}

fn blot(mini: &Miniature, text: &str) -> String {
    text.replace(&mini.key.fingerprint(), "[key]")
        .replace(&mini.key.signer_fingerprint(), "[subkey]")
        .replace(&mini.url(), "[mirror]")
}

fn noble() -> Suite {
    Suite::new("noble", PACKAGES)
}

const REFUSED: &str = "the release file of noble (archive mini of mini-1) is refused: ";

#[test]
fn signatures_that_cannot_be_believed() {
    let sub = |subkey: SubkeyShape| Shape {
        subkey: Some(subkey),
        ..Shape::default()
    };
    let table: Vec<(Shape, Suite, u32, &str)> = vec![
        (
            Shape {
                revoked: true,
                ..Shape::default()
            },
            noble(),
            11,
            "key [key] is revoked",
        ),
        (
            Shape {
                lives: Some(30 * DAY),
                ..Shape::default()
            },
            noble(),
            31,
            "key [key] has expired",
        ),
        (
            Shape {
                may_sign: false,
                ..Shape::default()
            },
            noble(),
            11,
            "key [key] may not sign",
        ),
        (
            Shape {
                self_digest: HashAlgorithm::Sha1,
                rsa: true,
                ..Shape::default()
            },
            noble(),
            11,
            "key [key] has no valid self-signature",
        ),
        (
            Shape {
                rsa: true,
                ..Shape::default()
            },
            Suite {
                digest: HashAlgorithm::Sha1,
                ..noble()
            },
            11,
            "the signature of key [key] is made with SHA1, which is refused",
        ),
        (
            Shape::default(),
            Suite {
                signature_lives: Some(DAY),
                ..noble()
            },
            12,
            "the signature of key [key] has expired",
        ),
        (
            Shape::default(),
            noble(),
            5,
            "the signature of key [key] comes from the future",
        ),
        (
            sub(SubkeyShape {
                revoked: true,
                ..SubkeyShape::default()
            }),
            noble(),
            11,
            "subkey [subkey] is revoked",
        ),
        (
            sub(SubkeyShape {
                lives: Some(5 * DAY),
                ..SubkeyShape::default()
            }),
            noble(),
            11,
            "subkey [subkey] has expired",
        ),
        (
            sub(SubkeyShape {
                may_sign: false,
                ..SubkeyShape::default()
            }),
            noble(),
            11,
            "subkey [subkey] may not sign",
        ),
        (
            sub(SubkeyShape {
                acknowledges: false,
                ..SubkeyShape::default()
            }),
            noble(),
            11,
            "subkey [subkey] does not acknowledge its primary key",
        ),
    ];
    for (shape, suite, day, reason) in table {
        let expected = format!("{REFUSED}no signature can be believed: {reason}");
        assert_eq!(words(shape, &suite, day), expected);
    }
}

#[test]
fn a_key_that_is_not_pinned_though_it_is_there() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let mut base = mini.base(&["noble"], &["main"]);
    base.archives[0].fingerprints = vec![Key::new().fingerprint()];
    let error = mini.lock(&stack(base, &["postgresql"]), 11, None, false);
    assert_eq!(
        blot(&mini, &error.unwrap_err().to_string()),
        format!(
            "{REFUSED}no signature can be believed: key [key] is not one of the archive's keys"
        )
    );
}

#[test]
fn a_release_signed_by_somebody_else() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let path = mini.mirror().join("dists/noble/InRelease");
    let signed = std::fs::read_to_string(&path).unwrap();
    let text = signed.split("\n\n").nth(1).unwrap();
    let text = text.split("-----BEGIN").next().unwrap();
    let thief = Key::new();
    put(
        &path,
        thief
            .sign(text, 10 * DAY, HashAlgorithm::Sha256, None)
            .as_bytes(),
    );
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "{REFUSED}no signature can be believed: key {} is not one of the archive's keys",
            thief.fingerprint()
        )
    );
}

#[test]
fn a_flipped_byte_in_a_release_is_refused_or_means_nothing() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let path = mini.mirror().join("dists/noble/InRelease");
    let honest = std::fs::read(&path).unwrap();
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let mut refused = 0;
    for at in (0..honest.len()).step_by(3) {
        flip(&path, at);
        match mini.lock(&request, 11, None, false) {
            Err(error) => {
                let words = error.to_string();
                assert!(words.starts_with(REFUSED), "byte {at}: {words}");
                refused += 1;
            }
            Ok(mut locked) => {
                // Armour has bytes that mean nothing; only the file's own digest shows them.
                locked.lock.releases[0].sha256 = lock.releases[0].sha256.clone();
                assert_eq!(locked.lock, lock, "byte {at}");
            }
        }
        put(&path, &honest);
    }
    assert!(refused * 3 > honest.len() * 9 / 10, "{refused}");
    mini.is_unharmed();
    assert_eq!(mini.lock(&request, 11, None, false).unwrap().lock, lock);
}

#[test]
fn a_flipped_byte_in_an_index_or_a_package() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let path = only_file(&mini, &|path| path.to_string_lossy().contains("by-hash"));
    let honest = std::fs::read(&path).unwrap();
    flip(&path, 40);
    let below = path.strip_prefix(mini.mirror()).unwrap().display();
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "an index of noble (archive mini of mini-1) cannot be fetched: [mirror]/{below} is not \
             the file the lock or index names: its SHA-256 is {}, not {}",
            digest(&std::fs::read(&path).unwrap()),
            digest(&honest)
        )
    );
    put(&path, &honest);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let path = mini.mirror().join(&lock.packages[0].path);
    let honest = std::fs::read(&path).unwrap();
    flip(&path, 3);
    let (chosen, bar) = (mirrors(&request), ProgressBar::hidden());
    let error = fetch(&lock, &mini.cache(), Some(&chosen), &bar).unwrap_err();
    assert_eq!(
        blot(&mini, &error.to_string()),
        format!(
            "postgresql:all=15 cannot be fetched: [mirror]/pool/postgresql_15_all.deb is not the \
             file the lock or index names: its SHA-256 is {}, not {}",
            digest(&std::fs::read(&path).unwrap()),
            digest(&honest)
        )
    );
    assert_eq!(
        error.hint(),
        Some(
            "the mirror is damaged or tampered with: try another one with --mirror URL. Nothing of \
             the file was kept"
        )
    );
    assert!(!mini.cache().has(&lock.packages[0].sha256));
    mini.is_unharmed();
    put(&path, &honest);
    fetch(&lock, &mini.cache(), Some(&chosen), &bar).unwrap();
    mini.is_unharmed();
}

#[test]
fn a_release_of_one_day_with_the_index_of_another() {
    for by_hash in [true, false] {
        let mini = Miniature::new(Key::new());
        let suite = |day: u32, version: &str| Suite {
            day,
            by_hash,
            ..Suite::new(
                "noble",
                &format!("Package: postgresql\nVersion: {version}\n"),
            )
        };
        let index = mini.mirror().join("dists/noble/main");
        mini.write(&suite(9, "14"));
        let older = mini.folder.path().join("root");
        std::fs::rename(&index, &older).unwrap();
        mini.write(&suite(10, "15"));
        let newer = only_file(&mini, &|path| path.starts_with(&index));
        let wanted = std::fs::read(&newer).unwrap();
        std::fs::remove_dir_all(&index).unwrap();
        std::fs::rename(&older, &index).unwrap();
        let url = newer.strip_prefix(mini.mirror()).unwrap().display();
        let found = only_file(&mini, &|path| path.starts_with(&index));
        let found = std::fs::read(found).unwrap();
        let why = match (by_hash, found.len() == wanted.len()) {
            (true, _) => ": not there (HTTP 404)".to_owned(),
            (false, true) => format!(
                " is not the file the lock or index names: its SHA-256 is {}, not {}",
                digest(&found),
                digest(&wanted)
            ),
            (false, false) => format!(
                " is not the file the lock or index names: it has {} bytes, not {}",
                found.len(),
                wanted.len()
            ),
        };
        let words = "an index of noble (archive mini of mini-1) cannot be fetched: [mirror]";
        assert_eq!(refusal(&mini, 11), format!("{words}/{url}{why}"));
    }
}

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
fn a_text_that_is_not_what_was_signed() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let path = mini.mirror().join("dists/noble/InRelease");
    let text = std::fs::read_to_string(&path).unwrap();
    put(&path, text.replace("Label: Mini", "Label: Mine").as_bytes());
    assert_eq!(
        refusal(&mini, 11),
        format!("{REFUSED}no signature can be believed: the text is not what key [key] signed")
    );
    put(&path, b"Origin: Mini\n");
    assert!(refusal(&mini, 11).starts_with(&format!("{REFUSED}it is not a cleartext-signed file")));
    let unsigned_tail = format!("{text}\nOrigin: Evil\n");
    put(&path, unsigned_tail.as_bytes());
    assert!(refusal(&mini, 11).starts_with(&format!("{REFUSED}it is not a cleartext-signed file")));
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
    assert_eq!(
        error.to_string(),
        format!(
            "{REFUSED}it is of 2026-01-20T00:00:00Z, and muster.lock saw one of 2026-01-21T00:00:00Z"
        )
    );
}

#[test]
fn an_index_that_is_not_the_one_the_release_names() {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite {
        by_hash: false,
        suffix: "",
        ..noble()
    });
    let path = mini.mirror().join("dists/noble/main/binary-amd64/Packages");
    let text = std::fs::read_to_string(&path).unwrap();
    put(&path, text.replace("Version: 15", "Version: 16").as_bytes());
    let error = refusal(&mini, 11);
    let start = "an index of noble (archive mini of mini-1) cannot be fetched: \
        [mirror]/dists/noble/main/binary-amd64/Packages is not the file the lock or index names: \
        its SHA-256 is ";
    assert!(error.starts_with(start), "{error}");
    put(&path, format!("{text}\n").as_bytes());
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "an index of noble (archive mini of mini-1) cannot be fetched: \
             [mirror]/dists/noble/main/binary-amd64/Packages is not the file the lock or index names: \
             it has {} bytes, not {}",
            text.len() + 1,
            text.len()
        )
    );
}

#[test]
fn a_component_or_a_package_that_is_not_there() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let components = mini.base(&["noble"], &["main", "universe"]);
    let error = mini.lock(&stack(components, &["postgresql"]), 11, None, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "noble (archive mini of mini-1) has no index of component universe for amd64"
    );
    let base = mini.base(&["noble"], &["main"]);
    let error = mini.lock(&stack(base, &["postgresq"]), 11, None, false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "role office needs postgresq, which no archive has (did you mean postgresql?)"
    );
}

#[test]
fn a_path_that_leaves_the_mirror() {
    let mini = Miniature::new(Key::new());
    let stanza = format!(
        "Package: evil\nVersion: 1\nArchitecture: amd64\nFilename: ../../etc/passwd\n\
         Size: 1\nSHA256: {}\n",
        "0".repeat(64)
    );
    mini.write(&Suite::new("noble", &stanza));
    assert_eq!(
        refusal(&mini, 11),
        "an index of mini-1 cannot be used: package evil: the field Filename is missing or wrong"
    );
    let stanza = stanza.replace("evil", "../evil");
    mini.write(&Suite::new("noble", &stanza));
    assert_eq!(
        refusal(&mini, 11),
        "an index of mini-1 cannot be used: package ../evil: the field Package is missing or wrong"
    );
}

#[test]
fn packages_that_wait_for_each_other_to_be_unpacked() {
    let mini = Miniature::new(Key::new());
    // A cycle of Depends has an order; alternatives lead out of one of Pre-Depends.
    let honest = "Package: postgresql\nVersion: 15\nPre-Depends: a\nDepends: d\n\n\
        Package: a\nVersion: 1\nPre-Depends: b | c\n\n\
        Package: b\nVersion: 1\nPre-Depends: a\n\n\
        Package: c\nVersion: 1\nDepends: b\n\n\
        Package: d\nVersion: 1\nDepends: postgresql, c\n";
    mini.write(&Suite::new("noble", honest));
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let lock = mini.lock(&request, 11, None, false).unwrap().lock;
    let order = lock.roles["office"].packages.join(" ");
    let at = |key: &str| order.find(key).unwrap();
    assert!(at("c:all=1") < at("a:all=1") && at("a:all=1") < at("postgresql:all=15"));
    let closed = honest.replace("b | c", "b");
    mini.write(&Suite::new("noble", &closed));
    assert_eq!(
        refusal(&mini, 11),
        "the packages of role office cannot be unpacked: no order of unpacking fits: \
         a, which must come after b, which must come after a"
    );
}

#[test]
fn needs_that_no_package_meets() {
    for (stanzas, chain) in [
        (
            "Package: postgresql\nVersion: 15\nDepends: libpq (>= 15), adduser\n\n\
             Package: adduser\nVersion: 3\n\n\
             Package: libpq\nVersion: 15\nPre-Depends: libssl3 (>= 3.2) | libssl4\n\n\
             Package: libssl3\nVersion: 3.0\n",
            "postgresql, which needs libpq (>= 15), which needs libssl3 (>= 3.2) or libssl4, but \
             the archives have libssl3 3.0",
        ),
        (
            "Package: postgresql\nVersion: 15\nDepends: mta, exim\n\n\
             Package: exim\nVersion: 1\nProvides: mta\nConflicts: base\n\n\
             Package: base\nVersion: 1\nEssential: yes\n",
            "postgresql, which needs mta (provided by exim), which cannot be installed beside base",
        ),
    ] {
        let mini = Miniature::new(Key::new());
        mini.write(&Suite::new("noble", stanzas));
        assert_eq!(refusal(&mini, 11), format!("role office needs {chain}"));
    }
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
        "it has format version 2, and this muster reads version 1"
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
