//! What muster says of archives that lie, and what must hold after each of its refusals.

use crate::archive::{Miniature, Suite, mirrors, moment, put, stack};
use crate::key::{Key, Shape};
use indicatif::ProgressBar;
use muster::packages::PackagesError;
use muster::packages::apt::archive::SuiteError;
use muster::packages::fetch::fetch;
use muster::packages::lock::{LockOptions, lock_stack};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

pub const PACKAGES: &str = "Package: postgresql\nVersion: 15\n";

/// What locking says, on the given day, of a suite written by this key.
pub fn words(shape: Shape, suite: &Suite, day: u32) -> String {
    let mini = Miniature::new(Key::shaped(shape));
    mini.write(suite);
    refusal(&mini, day)
}

/// What locking says, fingerprints and paths blotted out. Whatever it was: it comes with
/// advice, the cache is as sound as before, and an honest archive can be locked with it.
pub fn refusal(mini: &Miniature, day: u32) -> String {
    let request = stack(mini.base(&["noble"], &["main"]), &["postgresql"]);
    let Err(error) = mini.lock(&request, day, None, false) else {
        return "accepted".into();
    };
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
        supplied: std::path::Path::new("artifacts"),
        now: moment(11),
    };
    let lock = lock_stack(&request, &options).unwrap().lock;
    let bar = ProgressBar::hidden();
    let done = fetch(&lock, &mini.cache(), Some(options.mirrors), &bar).unwrap();
    assert_eq!(done.files, 1);
    mini.is_unharmed();
    std::fs::remove_dir_all(mini.cache().root()).unwrap();
}

pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The one file of this suffix below the mirror.
pub fn only_file(mini: &Miniature, fits: &dyn Fn(&Path) -> bool) -> PathBuf {
    let all = walkdir::WalkDir::new(mini.mirror()).into_iter();
    let mut found = all
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file() && fits(path));
    let path = found.next().unwrap();
    assert_eq!(found.next(), None);
    path
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    put(path, &bytes);
}

pub fn blot(mini: &Miniature, text: &str) -> String {
    text.replace(&mini.key.fingerprint(), "[key]")
        .replace(&mini.key.signer_fingerprint(), "[subkey]")
        .replace(&mini.url(), "[mirror]")
}

pub fn noble() -> Suite {
    Suite::new("noble", PACKAGES)
}

pub const REFUSED: &str = "the release file of noble (archive mini of mini-1) is refused: ";
