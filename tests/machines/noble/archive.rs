//! An archive of Ubuntu's shape, signed on the spot, from the packages that the stack `office`
//! has on Debian 13.

use super::shape::{self, GONE, Placed};
use crate::archive::{Miniature, Suite, put};
use crate::deb::Deb;
use crate::key::{Key, Shape};
use indicatif::ProgressBar;
use muster::packages::cache::Cache;
use muster::packages::fetch::fetch;
use muster::packages::lock::{Lock, LockOptions, Package, lock_stack};
use muster::packages::{Mirrors, Preferences};
use muster::profile::{Source, Stack};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Suite and component → paragraphs.
type Indexes = BTreeMap<(String, String), String>;

/// Its pockets.
const SUITES: [&str; 3] = ["noble", "noble-updates", "noble-security"];

/// Yesterday's index: who reads it by its plain name reads something that was never signed.
const STALE: &str = "Package: yesterday\nVersion: 1\n";

/// The archive, being served.
pub fn publish() -> Miniature {
    let mini = Miniature::new(Key::shaped(Shape {
        rsa: true,
        ..Shape::default()
    }));
    let (pool, indexes) = packages();
    fs::create_dir_all(mini.mirror()).unwrap();
    std::os::unix::fs::symlink(pool, mini.mirror().join("pool")).unwrap();
    for name in SUITES {
        let components = ["main", "universe"].map(|component| {
            let key = (name.to_owned(), component.to_owned());
            let mut text = indexes.get(&key).cloned().unwrap_or_default();
            if key == ("noble".into(), "main".into()) {
                text += &add(
                    &mini.mirror().join("pool"),
                    &shape::keyring(&mini.key.armoured()),
                );
            }
            (component.to_owned(), text)
        });
        mini.write(&Suite {
            codename: Some("noble"),
            origin: "Ubuntu".into(),
            components: components.into(),
            also: &[".gz"],
            lines: "Version: 24.04\nDescription: Ubuntu Noble 24.04\n",
            stale: Some(STALE),
            ..Suite::new(name, "")
        });
    }
    mini
}

/// The folder of all packages, and what the indexes say of them. It is made once for the same
/// packages of Debian and the same shape.
fn packages() -> (PathBuf, Indexes) {
    let (lock, cache) = debian();
    let mut digest = Sha256::new();
    for source in [
        include_str!("shape.rs"),
        include_str!("../deb.rs"),
        include_str!("archive.rs"),
    ] {
        digest.update(source);
    }
    for package in &lock.packages {
        digest.update(&package.sha256);
    }
    let digest = &hex::encode(digest.finalize())[..16];
    let above = Path::new(env!("CARGO_TARGET_TMPDIR")).join("noble-pool");
    let folder = above.join(digest);
    let pool = folder.join("pool");
    let listed = folder.join("indexes.json");
    if let Ok(text) = fs::read(&listed) {
        let all: Vec<((String, String), String)> = serde_json::from_slice(&text).unwrap();
        return (pool, all.into_iter().collect());
    }
    // Others are of packages that are gone.
    let _ = fs::remove_dir_all(&above);
    fs::create_dir_all(&pool).unwrap();
    let read = |package: &Package| fs::read(cache.path(&package.sha256)).unwrap();
    let mut all = lock.packages.iter();
    let helpers = all.find(|package| package.name == "shim-helpers-amd64-signed");
    let helpers = Deb::read(&read(helpers.unwrap()));
    let mut largest: Vec<_> = lock.packages.iter().collect();
    largest.sort_by_key(|package| std::cmp::Reverse(package.size));
    let mut stanzas: Vec<((String, String), String)> = largest
        .into_par_iter()
        .with_max_len(1)
        .filter(|package| !GONE.contains(&package.name.as_str()))
        .flat_map_iter(|package| {
            let bytes = read(package);
            let name = &package.name;
            if !shape::is_shaped(name) {
                let (deb, bytes) = Deb::repack(&bytes);
                let text = store(&pool, &deb, &bytes, "");
                return vec![(("noble".into(), shape::component(name).into()), text)];
            }
            let placed = shape::shape(name, Deb::read(&bytes), &helpers);
            let place = |placed: Placed| {
                let component = shape::component(&placed.deb.field("Package"));
                let text = add(&pool, &placed);
                ((placed.suite.to_owned(), component.to_owned()), text)
            };
            placed.into_iter().map(place).collect()
        })
        .collect();
    stanzas.sort();
    let mut indexes = Indexes::new();
    for (key, text) in stanzas {
        *indexes.entry(key).or_default() += &text;
    }
    let text = serde_json::to_vec(&indexes.iter().collect::<Vec<_>>()).unwrap();
    put(&listed, &text);
    (pool, indexes)
}

/// The packages of `office` on Debian 13, and what Ubuntu's packages need beside them.
fn debian() -> (Lock, Cache) {
    let mut stack = Stack::load(&Source::new(None), "office", Some("debian-13")).unwrap();
    let further = ["dhcpcd-base", "grub-efi-amd64"].map(str::to_owned);
    stack.roles[0].packages.extend(further);
    let mirrors = Mirrors::choose(stack.bases.values(), &Preferences::read(&[]).unwrap());
    let cache = Cache::new(Cache::default_root());
    let options = LockOptions {
        mirrors: &mirrors,
        cache: &cache,
        offline: false,
        previous: None,
        update: true,
        supplied: std::path::Path::new("artifacts"),
        now: jiff::Timestamp::now(),
    };
    let lock = lock_stack(&stack, &options).unwrap().lock;
    fetch(&lock, &cache, Some(&mirrors), &ProgressBar::hidden()).unwrap();
    (lock, cache)
}

/// Adds a package to the pool and gives its paragraph in the index.
fn add(pool: &Path, placed: &Placed) -> String {
    store(pool, &placed.deb, &placed.deb.write(), &placed.fields)
}

fn store(pool: &Path, deb: &Deb, bytes: &[u8], fields: &str) -> String {
    let (name, version) = (deb.field("Package"), deb.field("Version"));
    let version = version.rsplit(':').next().unwrap().to_owned();
    let file = format!("{name}_{version}_{}.deb", deb.field("Architecture"));
    put(&pool.join(&file), bytes);
    format!(
        "{}\nFilename: pool/{file}\nSize: {}\nSHA256: {}\n{fields}\n",
        deb.text("control").trim_end(),
        bytes.len(),
        hex::encode(Sha256::digest(bytes))
    )
}
