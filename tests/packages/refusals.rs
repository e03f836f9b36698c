//! What is refused, in its exact words.

use crate::archive::{Miniature, Suite, put, stack};
use crate::key::{DAY, Key, Shape, SubkeyShape};
use muster::packages::lock::Lock;
use pgp::crypto::hash::HashAlgorithm;

const PACKAGES: &str = "Package: postgresql\nVersion: 15\n";

/// What locking says, on the given day, of a suite written by this key.
fn words(shape: Shape, suite: &Suite, day: u32) -> String {
    let mini = Miniature::new(Key::shaped(shape));
    mini.write(suite);
    refusal(&mini, day)
}

/// What locking says, fingerprints and paths blotted out.
fn refusal(mini: &Miniature, day: u32) -> String {
    let stack = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let error = mini.lock(&stack, day, None, false).unwrap_err().to_string();
    blot(mini, &error)
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
             [mirror]/dists/noble/main/binary-amd64/Packages has {} bytes, not {}",
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
    let stanza = "Package: evil\nVersion: 1\nArchitecture: amd64\nFilename: ../../etc/passwd\n";
    mini.write(&Suite::new("noble", stanza));
    // The generator appends an honest Filename; the last one would win, so it is taken away.
    let text = format!("{stanza}Size: 1\nSHA256: {}\n", "0".repeat(64));
    let error = muster::packages::apt::index::parse(&text, 0, "amd64").unwrap_err();
    assert_eq!(
        error.to_string(),
        "package evil: the field Filename is missing or wrong"
    );
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
}
