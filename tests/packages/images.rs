//! Container images from a registry: locked by digest down to each layer, and fetched with a
//! token where one is wanted.

use crate::archive::{Miniature, Suite, mirrors, put, stack};
use crate::downloads::HURRIED;
use crate::key::Key;
use crate::server::{Guard, Mood, Server, serve};
use indicatif::ProgressBar;
use muster::packages::PackagesError;
use muster::packages::artifact::Pinning;
use muster::packages::cache::Cache;
use muster::packages::fetch::fetch;
use muster::packages::http::Transport;
use muster::packages::lock::{Lock, OciImage, Part};
use muster::profile::artifact as profile;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

const LAYERS: [&[u8]; 2] = [b"the lowest layer", b"and one above it"];

/// A registry with one image for two platforms.
struct Registry {
    folder: tempfile::TempDir,
    server: Server,
    /// Digest of the index.
    index: String,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

impl Registry {
    fn new(mood: Mood) -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let mut registry = Registry {
            server: serve(folder.path().join("site"), mood),
            folder,
            index: String::new(),
        };
        let manifests: Vec<Value> = ["arm64", "amd64"]
            .map(|architecture| {
                let mut manifest = registry.offers_image(&json!(architecture));
                manifest["platform"] = json!({ "os": "linux", "architecture": architecture });
                manifest
            })
            .into();
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        registry.index = registry.offers("manifests", index.as_bytes());
        registry
    }

    /// Stores something under its digest.
    fn offers(&self, kind: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.offers_as(kind, &digest, bytes);
        digest
    }

    fn offers_as(&self, kind: &str, digest: &str, bytes: &[u8]) {
        let site = self.folder.path().join("site");
        put(&site.join("v2/tools/app").join(kind).join(digest), bytes);
        put(&site.join("cdn").join(digest), bytes);
    }

    /// Stores an image for an architecture; what points to its manifest.
    fn offers_image(&self, architecture: &Value) -> Value {
        let config =
            json!({ "os": "linux", "architecture": architecture, "config": {} }).to_string();
        self.offers("blobs", config.as_bytes());
        for layer in LAYERS {
            self.offers("blobs", layer);
        }
        let layers =
            LAYERS.map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": layers,
        });
        let manifest = manifest.to_string();
        self.offers("manifests", manifest.as_bytes());
        descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            manifest.as_bytes(),
        )
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path().join("cache"))
    }

    fn lock(&self, digest: &str) -> Result<OciImage, PackagesError> {
        self.lock_after(digest, None, false)
    }

    fn lock_after(
        &self,
        digest: &str,
        previous: Option<&Lock>,
        offline: bool,
    ) -> Result<OciImage, PackagesError> {
        let host = self.server.url.strip_prefix("http://").unwrap();
        let wanted = profile::OciImage {
            name: "app".into(),
            image: format!("{host}/tools/app@{digest}"),
            platform: "linux/amd64".into(),
        };
        let pinning = Pinning {
            cache: &self.cache(),
            transport: Transport::new(HURRIED),
            offline,
            supplied: Path::new("artifacts"),
            previous,
            update: false,
            now: 0,
        };
        pinning.image("wiki", &wanted)
    }

    fn tight(&self, error: &PackagesError) -> String {
        error.to_string().replace(&self.server.url, "[site]")
    }

    fn refusal(&self, digest: &str) -> String {
        let error = self.lock(digest).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        self.tight(&error)
    }

    fn asked(&self, what: &str) -> usize {
        let log = self.server.requests.lock().unwrap();
        log.iter().filter(|path| path.contains(what)).count()
    }
}

/// A lock with a package, and this image.
fn with(image: OciImage) -> (Miniature, muster::profile::Stack, Lock) {
    let mini = Miniature::new(Key::new());
    mini.write(&Suite::new("noble", "Package: a\nVersion: 1\n"));
    let stack = stack(mini.base(&["noble"], &["main"]), &["a"]);
    let mut lock = mini.lock(&stack, 11, None, false).unwrap().lock;
    lock.images.push(image);
    (mini, stack, lock)
}

#[test]
fn an_image_is_locked_down_to_each_layer_and_fetched() {
    for mood in [
        Mood::Resuming,
        Mood::Faltering,
        Mood::Busy,
        Mood::Redirecting(3),
        Mood::Guarded(Guard::Token),
        Mood::Guarded(Guard::Elsewhere),
    ] {
        let registry = Registry::new(mood);
        let image = registry.lock(&registry.index).unwrap();
        let parts: Vec<Part> = image.blobs.iter().map(|blob| blob.part).collect();
        use Part::{Config, Index, Layer, Manifest};
        assert_eq!(parts, [Index, Manifest, Config, Layer, Layer]);
        let layers: Vec<String> = image.parts(Layer).map(|blob| blob.sha256.clone()).collect();
        assert_eq!(layers, LAYERS.map(|layer| digest(layer)[7..].to_owned()));
        let (mini, stack, lock) = with(image);
        let bar = ProgressBar::hidden();
        let done = fetch(&lock, &mini.cache(), Some(&mirrors(&stack)), &bar).unwrap();
        assert_eq!((done.files, done.fetched_files), (6, 6));
        for blob in &lock.images[0].blobs {
            let bytes = std::fs::read(mini.cache().path(&blob.sha256)).unwrap();
            assert_eq!(digest(&bytes)[7..], blob.sha256);
            assert_eq!(bytes.len() as u64, blob.size);
        }
        mini.is_unharmed();
        // One token for locking and one for fetching, however much there is.
        let guarded = matches!(mood, Mood::Guarded(_));
        assert_eq!(registry.asked("/token"), if guarded { 2 } else { 0 });
    }
}

#[test]
fn a_token_that_has_run_out_is_got_anew() {
    let registry = Registry::new(Mood::Guarded(Guard::Once));
    registry.lock(&registry.index).unwrap();
    assert_eq!(
        registry.asked("/token"),
        3,
        "one for each thing that was read"
    );
}

#[test]
fn a_manifest_without_an_index_will_do_and_what_was_looked_at_is_kept() {
    let registry = Registry::new(Mood::Resuming);
    let manifest = registry.offers_image(&json!("amd64"));
    let image = registry.lock(manifest["digest"].as_str().unwrap()).unwrap();
    assert_eq!(image.parts(Part::Index).count(), 0);
    let (_, _, lock) = with(image.clone());
    assert_eq!(Lock::from_text(&lock.to_text()).unwrap(), lock);
    let asked = registry.asked("/v2/");
    let again = registry.lock_after(manifest["digest"].as_str().unwrap(), Some(&lock), true);
    assert_eq!((again.unwrap(), registry.asked("/v2/")), (image, asked));
}

#[test]
fn a_lock_lists_the_parts_of_an_image() {
    let registry = Registry::new(Mood::Resuming);
    let image = registry.lock(&registry.index).unwrap();
    let (_, _, lock) = with(image);
    let text = lock.to_text();
    let start = text.find("[[oci]]").unwrap();
    let host = registry.server.url.strip_prefix("http://").unwrap();
    insta::assert_snapshot!(text[start..].replace(host, "registry.example"));
    let refused = |from: &str, to: &str| {
        assert!(text[start..].contains(from), "{from}");
        let changed = text[..start].to_owned() + &text[start..].replacen(from, to, 1);
        Lock::from_text(&changed).unwrap_err()
    };
    for (from, to, words) in [
        (
            "part = \"index\"",
            "part = \"layer\"",
            "begins with another blob than its name says",
        ),
        (
            "part = \"config\"",
            "part = \"layer\"",
            "needs one manifest and one config",
        ),
        (
            "sha256 = \"",
            "sha256 = \"../",
            "has a blob without a SHA-256: `../",
        ),
    ] {
        let said = refused(from, to);
        let start = format!("the container image wiki/app {words}");
        assert!(said.starts_with(&start), "{said}");
    }
}

#[test]
fn what_a_registry_does_wrong_is_said_in_these_words() {
    let mut said = Vec::new();
    let registry = Registry::new(Mood::Resuming);
    let none = digest(b"never there");
    said.push(registry.refusal(&none));
    registry.offers_as("manifests", &none, b"{}");
    said.push(registry.refusal(&none));
    said.push(registry.refusal(&registry.offers("manifests", b"<html>")));
    let only = |value: Value| registry.offers("manifests", value.to_string().as_bytes());
    let arm = registry.offers_image(&json!("arm64"));
    said.push(registry.refusal(arm["digest"].as_str().unwrap()));
    let mut wrong = arm.clone();
    wrong["platform"] = json!({ "os": "linux", "architecture": "riscv64" });
    said.push(registry.refusal(&only(json!({ "schemaVersion": 2, "manifests": [wrong] }))));
    wrong["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    wrong["size"] = json!(7);
    said.push(registry.refusal(&only(json!({ "schemaVersion": 2, "manifests": [wrong] }))));
    let mut nested = descriptor("application/vnd.oci.image.manifest.v1+json", b"");
    let index = std::fs::read(
        registry
            .folder
            .path()
            .join("site/v2/tools/app/manifests")
            .join(&registry.index),
    );
    nested["digest"] = json!(registry.index);
    nested["size"] = json!(index.unwrap().len());
    nested["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    said.push(registry.refusal(&only(json!({ "schemaVersion": 2, "manifests": [nested] }))));
    let long = vec![b' '; (4 << 20) + 1];
    said.push(registry.refusal(&registry.offers("manifests", &long)));
    let offline = registry.lock_after(&none, None, true).unwrap_err();
    said.push(registry.tight(&offline));
    for guard in [Guard::Never, Guard::Password, Guard::Lure, Guard::Nonsense] {
        let registry = Registry::new(Mood::Guarded(guard));
        said.push(registry.refusal(&registry.index));
    }
    for mood in [Mood::Mute, Mood::Cutting] {
        let registry = Registry::new(mood);
        said.push(registry.refusal(&registry.index));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_layer_that_is_another_one_is_refused_in_these_words() {
    let mut said = Vec::new();
    let layer = digest(LAYERS[0]);
    let turned: Vec<u8> = LAYERS[0].iter().rev().copied().collect();
    for content in [
        Some(&*turned),
        Some(&LAYERS[0][1..]),
        Some(b"a longer layer, by far"),
        None,
    ] {
        let registry = Registry::new(Mood::Resuming);
        let image = registry.lock(&registry.index).unwrap();
        match content {
            Some(content) => registry.offers_as("blobs", &layer, content),
            None => {
                let blobs = registry.folder.path().join("site/v2/tools/app/blobs");
                std::fs::remove_file(blobs.join(&layer)).unwrap();
            }
        }
        let (mini, stack, lock) = with(image);
        let bar = ProgressBar::hidden();
        let error = fetch(&lock, &mini.cache(), Some(&mirrors(&stack)), &bar).unwrap_err();
        said.push(format!(
            "{}\n  {}",
            registry.tight(&error),
            error.hint().unwrap()
        ));
        mini.is_unharmed();
    }
    insta::assert_snapshot!(said.join("\n"));
}
