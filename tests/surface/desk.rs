//! A workstation of its own: folders for state and cache, and a small archive to fetch from.

use assert_cmd::Command;
use muster::packages::lock::{Lock, Package};
use muster::profile::{Source, Stack};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where the test profiles are.
pub const PROFILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/profiles");

/// Bytes of the one package there is to fetch.
pub const SIZE: usize = 300_000;

pub struct Desk {
    pub dir: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Desk {
        Desk {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn muster(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("muster").unwrap();
        command
            .current_dir(self.path())
            .env("XDG_STATE_HOME", self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("NO_COLOR", "1")
            .args(words);
        command
    }

    /// Exit code and standard output as JSON, with nothing on standard error.
    pub fn json(&self, words: &[&str]) -> (i32, serde_json::Value) {
        let output = self.muster(words).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        let json = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), json)
    }

    /// Locks the stack `one` to one package that a mirror on this disk has; the option that
    /// names the mirror.
    pub fn lock_one(&self) -> String {
        let stack = Stack::load(&Source::new(Some(Path::new(PROFILES))), "one", None).unwrap();
        let base = stack.bases.values().next().unwrap();
        let archive = &base.archives[0];
        let content: Vec<u8> = (0..SIZE).map(|place| (place % 251) as u8).collect();
        let package = Package {
            name: "app".into(),
            version: "1".into(),
            architecture: "all".into(),
            base: base.name.clone(),
            archive: archive.name.clone(),
            suite: archive.suites[0].clone(),
            path: "pool/app.deb".into(),
            size: SIZE as u64,
            sha256: hex::encode(Sha256::digest(&content)),
        };
        let mirror = self.path().join("mirror");
        std::fs::create_dir_all(mirror.join("pool")).unwrap();
        std::fs::write(mirror.join(&package.path), &content).unwrap();
        let lock = Lock {
            version: 1,
            stack: stack.name.clone(),
            request: Lock::request_digest(&stack),
            releases: vec![],
            roles: Default::default(),
            packages: vec![package],
            artifacts: vec![],
            images: vec![],
            accounts: vec![],
        };
        let path: PathBuf = self.path().join("one/muster.lock");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        lock.write(&path).unwrap();
        format!("--mirror=file://{}", mirror.display())
    }
}
