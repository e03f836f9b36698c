//! Release files whose signature is not to be believed, in exact words.

use crate::archive::{Miniature, Suite, put, stack};
use crate::key::{DAY, Key, Shape, SubkeyShape};
use crate::liar::{REFUSED, blot, flip, noble, refusal, words};
use pgp::crypto::hash::HashAlgorithm;

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
    let both = table.into_iter().map(|(shape, suite, day, reason)| {
        let expected = format!("{REFUSED}no signature can be believed: {reason}");
        (words(shape, &suite, day), expected)
    });
    let (found, expected): (Vec<String>, Vec<String>) = both.unzip();
    assert_eq!(found, expected);
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
fn a_release_signed_by_somebody_else_or_before_its_key_was_made() {
    let mini = Miniature::new(Key::new());
    mini.write(&noble());
    let path = mini.mirror().join("dists/noble/InRelease");
    let signed = std::fs::read_to_string(&path).unwrap();
    let text = signed.split("\n\n").nth(1).unwrap();
    let text = text.split("-----BEGIN").next().unwrap();
    let thief = Key::new();
    let sign = |key: &Key, after| key.sign(text, after, HashAlgorithm::Sha256, None);
    put(&path, sign(&mini.key, DAY.wrapping_neg()).as_bytes());
    assert_eq!(
        refusal(&mini, 11),
        format!(
            "{REFUSED}no signature can be believed: the signature of key [key] is older than its \
             key"
        )
    );
    put(&path, sign(&thief, 10 * DAY).as_bytes());
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
