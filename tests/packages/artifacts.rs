//! Files of their publishers: what their publishers say of them is looked at when they are
//! locked, and from then on the digest alone counts.

use crate::archive::{Miniature, Suite, mirrors, put, stack};
use crate::downloads::HURRIED;
use crate::key::{DAY, Key, MADE, Shape};
use crate::server::{Mood, Server, serve};
use indicatif::ProgressBar;
use muster::packages::PackagesError;
use muster::packages::artifact::{Pinning, supply};
use muster::packages::cache::Cache;
use muster::packages::fetch::fetch;
use muster::packages::http::Transport;
use muster::packages::lock::{Artifact, Lock};
use muster::profile::artifact::{self as profile, Kind, Origin, Placing, Proof};
use pgp::crypto::hash::HashAlgorithm;
use sha2::{Digest, Sha256, Sha512};
use std::path::{Path, PathBuf};

const FILE: &str = "app-1.tar.gz";
const CONTENT: &[u8] = b"what the publisher has packed, half of which may be missing";

/// Two attempts, and no time for either.
fn hurried() -> Transport {
    Transport::new(HURRIED)
}

/// A publisher with one file, and somebody who wants it.
struct Publisher {
    folder: tempfile::TempDir,
    key: Key,
    server: Server,
}

impl Publisher {
    fn new(mood: Mood) -> Publisher {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("site").join(FILE), CONTENT);
        Publisher {
            server: serve(folder.path().join("site"), mood),
            key: Key::new(),
            folder,
        }
    }

    fn offers(&self, name: &str, content: impl AsRef<[u8]>) {
        put(
            &self.folder.path().join("site").join(name),
            content.as_ref(),
        );
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.server.url)
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path().join("cache"))
    }

    fn supplied(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    /// What a profile asks for.
    fn wanted(&self) -> profile::Artifact {
        profile::Artifact {
            name: "app".into(),
            version: Some("1".into()),
            origin: Origin::Url(self.url(FILE)),
            size: Some(CONTENT.len() as u64),
            sha256: Some(sha256(CONTENT)),
            proof: Proof::default(),
            placing: Placing {
                kind: Kind::Tar,
                to: "/opt/app".into(),
                strip: 0,
                only: vec![],
                except: vec![],
                setuid: vec![],
                owner: "root:root".into(),
                mode: 0o644,
            },
        }
    }

    /// The same with these parts of a proof, by the publisher's key if `signed`.
    fn proven(
        &self,
        checksums: Option<&str>,
        signature: Option<&str>,
        signed: bool,
    ) -> profile::Artifact {
        let mut wanted = self.wanted();
        wanted.proof = Proof {
            checksums: checksums.map(|name| self.url(name)),
            signature: signature.map(|name| self.url(name)),
            ..Proof::default()
        };
        if signed {
            wanted.proof.keys = self.key.armoured();
            wanted.proof.fingerprints = vec![self.key.fingerprint()];
        }
        wanted
    }

    fn lock(&self, wanted: &profile::Artifact) -> Result<Artifact, PackagesError> {
        self.lock_with(wanted, None, false, false)
    }

    /// Without a network, after this lock.
    fn lock_after(
        &self,
        wanted: &profile::Artifact,
        previous: &Lock,
    ) -> Result<Artifact, PackagesError> {
        self.lock_with(wanted, Some(previous), true, false)
    }

    fn lock_with(
        &self,
        wanted: &profile::Artifact,
        previous: Option<&Lock>,
        offline: bool,
        update: bool,
    ) -> Result<Artifact, PackagesError> {
        let pinning = Pinning {
            cache: &self.cache(),
            transport: hurried(),
            offline,
            supplied: &self.supplied(),
            previous,
            update,
            now: i64::from(MADE + 2 * DAY),
        };
        pinning.artifact("wiki", wanted)
    }

    /// What is said instead, without what differs from one run to the next.
    fn refusal(&self, wanted: &profile::Artifact) -> String {
        let error = self.lock(wanted).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        self.tight(&error)
    }

    fn tight(&self, error: &PackagesError) -> String {
        let here = self.folder.path().to_string_lossy().into_owned();
        error
            .to_string()
            .replace(&self.server.url, "[site]")
            .replace(&here, "[here]")
            .replace(&self.key.fingerprint(), "[key]")
    }

    fn asked(&self) -> Vec<String> {
        self.server.requests.lock().unwrap().clone()
    }
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn sha512(content: &[u8]) -> String {
    hex::encode(Sha512::digest(content))
}

/// A lock that names these artifacts alone.
fn lock_of(artifacts: Vec<Artifact>) -> Lock {
    Lock {
        version: 1,
        stack: "tiny".into(),
        request: "0".repeat(64),
        releases: vec![],
        roles: Default::default(),
        packages: vec![],
        artifacts,
        images: vec![],
        accounts: vec![],
    }
}

#[test]
fn a_publisher_is_believed_by_checksums_by_signatures_and_by_both() {
    let site = Publisher::new(Mood::Resuming);
    let line = format!("{}  {FILE}\n", sha256(CONTENT));
    site.offers("sums", &line);
    site.offers("sums512", format!("{}  ./{FILE}\n", sha512(CONTENT)));
    site.offers(
        "sums.asc",
        site.key
            .sign_beside(line.as_bytes(), HashAlgorithm::Sha256)
            .1,
    );
    site.offers(
        "signed",
        site.key.sign(&line, DAY, HashAlgorithm::Sha512, None),
    );
    let (binary, armoured) = site.key.sign_beside(CONTENT, HashAlgorithm::Sha512);
    site.offers("app.sig", binary);
    site.offers("app.asc", armoured);
    for (checksums, signature, signed) in [
        (Some("sums"), None, false),
        (Some("sums512"), None, false),
        (Some("sums"), Some("sums.asc"), true),
        (Some("signed"), None, true),
        (None, Some("app.sig"), true),
        (None, Some("app.asc"), true),
        (None, None, false),
    ] {
        let wanted = site.proven(checksums, signature, signed);
        let locked = site.lock(&wanted).unwrap();
        assert_eq!(
            locked,
            Artifact {
                service: "wiki".into(),
                name: "app".into(),
                version: Some("1".into()),
                url: Some(site.url(FILE)),
                file: None,
                size: CONTENT.len() as u64,
                sha256: sha256(CONTENT),
                checksums: checksums.map(|name| site.url(name)),
                signed_by: signed.then(|| site.key.fingerprint()),
            }
        );
    }
}

#[test]
fn what_a_publisher_says_otherwise_is_refused_in_these_words() {
    let mut site = Publisher::new(Mood::Resuming);
    // Keys of other kinds make no weak signatures.
    site.key = Key::shaped(Shape {
        rsa: true,
        ..Shape::default()
    });
    let other = Key::new();
    let line = format!("{}  {FILE}\n", sha256(CONTENT));
    site.offers("other", format!("{}  {FILE}\n", "a".repeat(64)));
    site.offers("other512", format!("{}  {FILE}\n", "a".repeat(128)));
    site.offers("absent", format!("{}  app-2.tar.gz\n", "a".repeat(64)));
    site.offers("weak", format!("{}  {FILE}\n", "a".repeat(40)));
    site.offers("sums", &line);
    let sign = |key: &Key, content: &[u8]| key.sign_beside(content, HashAlgorithm::Sha256).1;
    site.offers("stranger.asc", sign(&other, line.as_bytes()));
    site.offers("of-other.asc", sign(&site.key, b"something else"));
    site.offers(
        "weak.asc",
        site.key.sign_beside(CONTENT, HashAlgorithm::Sha1).1,
    );
    site.offers("page.asc", "<html>not found</html>");
    site.offers("empty.asc", "");
    site.offers(
        "cleartext",
        other.sign(&line, DAY, HashAlgorithm::Sha256, None),
    );
    site.offers("long", vec![b'x'; (4 << 20) + 1]);
    let said: Vec<String> = [
        (Some("other"), None, false),
        (Some("other512"), None, false),
        (Some("absent"), None, false),
        (Some("weak"), None, false),
        (Some("none"), None, false),
        (Some("long"), None, false),
        (Some("sums"), Some("stranger.asc"), true),
        (Some("sums"), Some("of-other.asc"), true),
        (None, Some("of-other.asc"), true),
        (None, Some("weak.asc"), true),
        (None, Some("page.asc"), true),
        (None, Some("empty.asc"), true),
        (Some("sums"), None, true),
        (Some("cleartext"), None, true),
    ]
    .into_iter()
    .map(|(checksums, signature, signed)| site.refusal(&site.proven(checksums, signature, signed)))
    .collect();
    let said = said.join("\n").replace(&other.fingerprint(), "[other key]");
    insta::assert_snapshot!(said);
}

#[test]
fn a_publisher_that_has_a_bad_day_is_told_from_one_that_lies() {
    let mut said = Vec::new();
    for mood in [
        Mood::Mute,
        Mood::Stalling,
        Mood::Cutting,
        Mood::Endless,
        Mood::Redirecting(9),
        Mood::Luring,
    ] {
        let site = Publisher::new(mood);
        site.offers("sums", format!("{}  {FILE}\n", sha256(CONTENT)).repeat(9));
        let (binary, _) = site.key.sign_beside(CONTENT, HashAlgorithm::Sha256);
        said.push(site.refusal(&site.proven(Some("sums"), None, false)));
        // The artifact itself, under a signature from elsewhere.
        let good = Publisher::new(Mood::Resuming);
        good.offers("app.sig", binary);
        let mut wanted = site.proven(None, Some("app.sig"), true);
        wanted.proof.signature = Some(good.url("app.sig"));
        said.push(site.refusal(&wanted));
        assert!(!site.cache().has(&sha256(CONTENT)));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_was_looked_at_once_is_not_looked_at_again() {
    let site = Publisher::new(Mood::Resuming);
    site.offers("sums", format!("{}  {FILE}\n", sha256(CONTENT)));
    let wanted = site.proven(Some("sums"), None, false);
    let locked = site.lock(&wanted).unwrap();
    assert_eq!(site.asked(), ["/sums"]);
    let lock = lock_of(vec![locked.clone()]);
    let again = site.lock_after(&wanted, &lock).unwrap();
    assert_eq!((&again, site.asked().len()), (&locked, 1));
    let updated = site.lock_with(&wanted, Some(&lock), false, true).unwrap();
    assert_eq!((updated, site.asked().len()), (locked, 2));
    // Another file is another matter, and so is another proof.
    for change in [
        &(|wanted: &mut profile::Artifact| wanted.sha256 = Some("b".repeat(64)))
            as &dyn Fn(&mut profile::Artifact),
        &|wanted| wanted.proof.checksums = Some("http://127.0.0.1:1/other".into()),
        &|wanted| wanted.proof.fingerprints = vec!["A".repeat(40)],
        &|wanted| wanted.size = Some(1),
    ] {
        let mut changed = wanted.clone();
        change(&mut changed);
        let error = site.lock_after(&changed, &lock).unwrap_err();
        let words = error.to_string();
        assert!(
            words.ends_with("has not been looked at yet, and --offline forbids it"),
            "{words}"
        );
    }
}

#[test]
fn files_that_people_supply_are_learned_and_kept() {
    let site = Publisher::new(Mood::Resuming);
    let mut wanted = site.wanted();
    wanted.origin = Origin::Supplied("app.zip".into());
    (wanted.size, wanted.sha256) = (None, None);
    let mut said = vec![site.refusal(&wanted)];
    put(&site.supplied().join("app.zip"), CONTENT);
    let locked = site.lock(&wanted).unwrap();
    assert_eq!(
        (&locked.url, &locked.file),
        (&None, &Some("app.zip".into()))
    );
    assert_eq!(
        (locked.size, &locked.sha256),
        (CONTENT.len() as u64, &sha256(CONTENT))
    );
    assert_eq!(
        std::fs::read(site.cache().path(&locked.sha256)).unwrap(),
        CONTENT
    );
    let lock = lock_of(vec![locked.clone()]);

    // It need not lie there any longer; but what lies there counts.
    std::fs::remove_file(site.supplied().join("app.zip")).unwrap();
    assert_eq!(site.lock_after(&wanted, &lock).unwrap(), locked);
    let updated = site.lock_with(&wanted, Some(&lock), true, true).unwrap();
    assert_eq!(updated, locked);
    put(&site.supplied().join("app.zip"), b"newer");
    let newer = site.lock_after(&wanted, &lock).unwrap();
    assert_eq!(newer.sha256, sha256(b"newer"));

    // Elsewhere the lock says which one it must be.
    let elsewhere = Publisher::new(Mood::Resuming);
    let take = || supply(&lock, &elsewhere.cache(), &elsewhere.supplied());
    said.push(elsewhere.tight(&take().unwrap_err()));
    put(&elsewhere.supplied().join("app.zip"), b"newer");
    said.push(elsewhere.tight(&take().unwrap_err()));
    put(
        &elsewhere.supplied().join("app.zip"),
        &CONTENT.to_ascii_uppercase(),
    );
    said.push(elsewhere.tight(&take().unwrap_err()));
    std::fs::remove_file(elsewhere.supplied().join("app.zip")).unwrap();
    std::fs::create_dir(elsewhere.supplied().join("app.zip")).unwrap();
    said.push(elsewhere.tight(&take().unwrap_err()));
    assert!(!elsewhere.cache().has(&locked.sha256));
    let parts = elsewhere.cache().parts().unwrap();
    assert_eq!(parts, [], "nothing half of it is left");
    std::fs::remove_dir(elsewhere.supplied().join("app.zip")).unwrap();
    put(&elsewhere.supplied().join("app.zip"), CONTENT);
    take().unwrap();
    assert!(elsewhere.cache().has(&locked.sha256));
    insta::assert_snapshot!(said.join("\n"));
}

/// A lock with a package, and the artifact of a publisher.
fn locked(site: &Publisher) -> (Miniature, muster::profile::Stack, Lock) {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", "Package: a\nVersion: 1\n"));
    let stack = stack(mini.base(&["noble"], &["main"]), &["a"]);
    let mut lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    lock.artifacts.push(site.lock(&site.wanted()).unwrap());
    (mini, stack, lock)
}

#[test]
fn artifacts_are_fetched_as_packages_are_whatever_the_publisher_does() {
    for mood in [
        Mood::Resuming,
        Mood::Forgetful,
        Mood::Faltering,
        Mood::Busy,
        Mood::Redirecting(3),
        Mood::Unsatisfied,
        Mood::Beside,
    ] {
        let site = Publisher::new(mood);
        let (mini, stack, lock) = locked(&site);
        put(&mini.cache().part(&sha256(CONTENT)), &CONTENT[..4]);
        let bar = ProgressBar::hidden();
        let done = fetch(&lock, &mini.cache(), Some(&mirrors(&stack)), &bar).unwrap();
        assert_eq!((done.files, done.fetched_files), (2, 2));
        assert_eq!(bar.position(), bar.length().unwrap());
        assert_eq!(
            std::fs::read(mini.cache().path(&sha256(CONTENT))).unwrap(),
            CONTENT
        );
        let resumed = |request: &String| request.ends_with(&format!("{FILE} from 4"));
        assert!(site.asked().iter().any(resumed), "{:?}", site.asked());
    }
}

#[test]
fn a_publisher_that_has_another_file_now_is_refused_in_these_words() {
    let mut said = Vec::new();
    let mut turned: Vec<u8> = CONTENT.to_vec();
    turned.reverse();
    let longer = [CONTENT, b"!"].concat();
    for (mood, content) in [
        (Mood::Resuming, Some(&*turned)),
        (Mood::Resuming, Some(&longer)),
        (Mood::Resuming, Some(&CONTENT[1..])),
        (Mood::Endless, Some(CONTENT)),
        (Mood::Resuming, None),
    ] {
        let site = Publisher::new(mood);
        let (mini, stack, lock) = locked(&site);
        match content {
            Some(content) => site.offers(FILE, content),
            None => std::fs::remove_file(site.folder.path().join("site").join(FILE)).unwrap(),
        }
        let bar = ProgressBar::hidden();
        let error = fetch(&lock, &mini.cache(), Some(&mirrors(&stack)), &bar).unwrap_err();
        said.push(format!(
            "{}\n  {}",
            site.tight(&error),
            error.hint().unwrap()
        ));
        assert!(!mini.cache().has(&sha256(CONTENT)));
        mini.is_unharmed();
    }
    let site = Publisher::new(Mood::Resuming);
    let (mini, _, lock) = locked(&site);
    let error = fetch(&lock, &mini.cache(), None, &ProgressBar::hidden()).unwrap_err();
    said.push(site.tight(&error));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_lock_lists_artifacts_after_packages_and_is_as_before_without_them() {
    let artifact = Artifact {
        service: "wiki".into(),
        name: "app".into(),
        version: Some("1".into()),
        url: Some("https://example.org/app-1.tar.gz".into()),
        file: None,
        size: 59,
        sha256: "a".repeat(64),
        checksums: Some("https://example.org/SHA256SUMS".into()),
        signed_by: Some("B".repeat(40)),
    };
    let supplied = Artifact {
        name: "licensed".into(),
        version: None,
        url: None,
        file: Some("licensed.zip".into()),
        checksums: None,
        signed_by: None,
        ..artifact.clone()
    };
    let lock = lock_of(vec![artifact, supplied]);
    let text = lock.to_text();
    assert_eq!(Lock::from_text(&text).unwrap(), lock);
    insta::assert_snapshot!(text);
    let without = lock_of(vec![]).to_text();
    assert!(
        !without.contains("artifact") && !without.contains("oci"),
        "{without}"
    );

    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Lock::from_text(&text.replacen(from, to, 1)).unwrap_err()
    };
    let digest = format!("sha256 = \"{}\"", "a".repeat(64));
    for (from, to, words) in [
        (
            &*digest,
            "sha256 = \"../../x\"",
            "the artifact wiki/app has no SHA-256",
        ),
        (
            "url = \"https:",
            "url = \"file:",
            "the artifact wiki/app has neither a `url` nor the name of a `file`",
        ),
        (
            "file = \"",
            "file = \"../",
            "the artifact wiki/licensed has neither a `url` nor the name of a `file`",
        ),
        (
            "name = \"licensed\"",
            "name = \"app\"",
            "the artifact wiki/app is there twice",
        ),
    ] {
        assert_eq!(refused(from, to), words);
    }
}

#[test]
fn a_lock_is_stale_when_an_artifact_is_another_one_and_not_when_it_goes_elsewhere() {
    let fixtures = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/profiles"
    ));
    let source = muster::profile::Source::only(fixtures);
    let stack = muster::profile::Stack::load(&source, "two", None).unwrap();
    let request = Lock::request_digest(&stack);
    let with = |change: &dyn Fn(&mut muster::profile::Service)| {
        let mut stack = stack.clone();
        change(stack.services.get_mut("own").unwrap());
        Lock::request_digest(&stack) == request
    };
    assert!(with(&|own| own.artifacts[0].placing.to = "/srv/tool".into()));
    assert!(with(
        &|own| own.artifacts[0].proof.keys = "another copy".into()
    ));
    assert!(!with(&|own| own.artifacts[0].sha256 = Some("0".repeat(64))));
    assert!(!with(&|own| own.artifacts[0].proof.checksums = None));
    assert!(!with(
        &|own| own.artifacts[1].origin = Origin::Supplied("b".into())
    ));
    assert!(!with(&|own| own.oci[0].platform = "linux/arm64".into()));
    assert!(!with(&|own| own.oci.clear()));
}
