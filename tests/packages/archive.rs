//! A miniature archive: the files a mirror serves, made and signed on the spot, and a stack
//! that asks for them.

use crate::key::{DAY, Key, MADE};
use crate::server::{Mood, Server, serve};
use muster::packages::apt::mirror::Preferences;
use muster::packages::cache::Cache;
use muster::packages::lock::{Lock, LockOptions, Locked, lock_stack};
use muster::packages::{Mirrors, PackagesError};
use muster::profile::{Archive, Base, Demo, Role, Stack};
use pgp::crypto::hash::HashAlgorithm;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One suite as it will be written.
#[derive(Clone)]
pub struct Suite {
    pub name: String,
    /// The name, unless it is a pocket.
    pub codename: Option<&'static str>,
    pub origin: String,
    /// Component → stanzas, without Filename, Size and SHA256.
    pub components: Vec<(String, String)>,
    /// Days after [`MADE`].
    pub day: u32,
    /// Its date, if it is not the day it was signed, as days after [`MADE`].
    pub dated: Option<u32>,
    pub valid_days: Option<u32>,
    pub by_hash: bool,
    /// `.xz`, `.gz`, `.zst` or nothing.
    pub suffix: &'static str,
    /// Further packings of the same index.
    pub also: &'static [&'static str],
    /// Further lines of the release file.
    pub lines: &'static str,
    /// What stands under the plain names of indexes that are had by digest.
    pub stale: Option<&'static str>,
    /// Bytes that the packed index holds and the release file does not speak of.
    pub swollen: usize,
    /// What the release file says of the size of the unpacked index, instead of the truth;
    /// at 0 it speaks of the packed one alone.
    pub said: Option<u64>,
    /// Whether unpacking the index takes 2 GiB of memory.
    pub hungry: bool,
    pub digest: HashAlgorithm,
    pub signature_lives: Option<u32>,
}

impl Suite {
    pub fn new(name: &str, stanzas: &str) -> Suite {
        Suite {
            name: name.into(),
            codename: None,
            origin: "Mini".into(),
            components: vec![("main".into(), stanzas.into())],
            day: 10,
            dated: None,
            valid_days: None,
            by_hash: true,
            suffix: ".xz",
            also: &[],
            lines: "",
            stale: None,
            swollen: 0,
            said: None,
            hungry: false,
            digest: HashAlgorithm::Sha256,
            signature_lives: None,
        }
    }
}

/// A folder that a mirror serves over HTTP, and a cache.
pub struct Miniature {
    pub folder: tempfile::TempDir,
    pub key: Key,
    /// Name → package file, where a test needs a real one.
    pub packages: BTreeMap<String, Vec<u8>>,
    server: Server,
}

impl Miniature {
    pub fn new(key: Key) -> Miniature {
        let folder = tempfile::tempdir().unwrap();
        Miniature {
            server: serve(folder.path().join("mirror"), Mood::Resuming),
            folder,
            key,
            packages: BTreeMap::new(),
        }
    }

    pub fn mirror(&self) -> PathBuf {
        self.folder.path().join("mirror")
    }

    pub fn cache(&self) -> Cache {
        Cache::new(self.folder.path().join("cache"))
    }

    pub fn url(&self) -> String {
        self.server.url.clone()
    }

    /// Whatever was tried: every file in the cache is what its name says, and beside cache and
    /// mirror there is nothing.
    pub fn is_unharmed(&self) {
        for entry in walkdir::WalkDir::new(self.cache().root().join("sha256")) {
            // Nothing may have been fetched at all.
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_file() {
                let found = hex::encode(Sha256::digest(std::fs::read(entry.path()).unwrap()));
                assert_eq!(entry.file_name().to_str(), Some(found.as_str()));
            }
        }
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let name = entry.unwrap().file_name();
            let known = ["cache", "mirror", "root"].map(std::ffi::OsStr::new);
            assert!(known.contains(&name.as_os_str()), "{name:?}");
        }
    }

    /// Writes and signs a suite; pool files hold the name and version of their package, unless
    /// there is a real one.
    pub fn write(&self, suite: &Suite) {
        let dist = self.mirror().join("dists").join(&suite.name);
        let mut listed = String::new();
        for (component, stanzas) in &suite.components {
            let index = self.complete(stanzas);
            let plain = format!("{component}/binary-amd64/Packages");
            match suite.said {
                None => listed += &line(index.as_bytes(), &plain),
                Some(0) => {}
                Some(size) => listed += &format!(" {} {size} {plain}\n", "0".repeat(64)),
            }
            let swollen = index + &"\n".repeat(suite.swollen);
            for suffix in [suite.suffix].iter().chain(suite.also) {
                let packed = match suite.hungry {
                    true => pack_hungry(swollen.as_bytes(), suffix),
                    false => pack(swollen.as_bytes(), suffix),
                };
                let name = format!("{plain}{suffix}");
                listed += &line(&packed, &name);
                let place = if suite.by_hash {
                    let digest = hex::encode(Sha256::digest(&packed));
                    format!("{component}/binary-amd64/by-hash/SHA256/{digest}")
                } else {
                    name.clone()
                };
                put(&dist.join(place), &packed);
                if let Some(stale) = suite.stale {
                    put(&dist.join(name), &pack(stale.as_bytes(), suffix));
                }
            }
        }
        let components: Vec<&str> = suite.components.iter().map(|(c, _)| c.as_str()).collect();
        let mut release = format!(
            "Origin: {}\nLabel: {}\nSuite: {}\nCodename: {}\nDate: {}\n",
            suite.origin,
            suite.origin,
            suite.name,
            suite.codename.unwrap_or(&suite.name),
            date(suite.dated.unwrap_or(suite.day))
        );
        if let Some(days) = suite.valid_days {
            release += &format!("Valid-Until: {}\n", date(suite.day + days));
        }
        release += suite.lines;
        if suite.by_hash {
            release += "Acquire-By-Hash: yes\n";
        }
        release += &format!(
            "Architectures: amd64 i386\nComponents: {}\nSHA256:\n{listed}",
            components.join(" ")
        );
        let after = suite.day * DAY;
        let signed = self
            .key
            .sign(&release, after, suite.digest, suite.signature_lives);
        put(&dist.join("InRelease"), signed.as_bytes());
    }

    /// Writes and signs a folder without `dists`: `lines` of its release file, `files` of the list.
    pub fn write_folder(&self, folder: &str, stanzas: &str, day: u32, lines: &str) {
        let place = self.mirror().join(folder);
        let list = self.complete(stanzas);
        let packed = pack(list.as_bytes(), ".gz");
        put(&place.join("Packages.gz"), &packed);
        let listed = line(list.as_bytes(), "Packages") + &line(&packed, "Packages.gz");
        let date = date(day);
        let release = format!("Origin: Mini\nDate: {date}\n{lines}SHA256:\n{listed}");
        let signed = self
            .key
            .sign(&release, day * DAY, HashAlgorithm::Sha256, None);
        put(&place.join("InRelease"), signed.as_bytes());
    }

    /// Adds what an archive adds to a control paragraph, and the file itself; a paragraph that
    /// has a `Filename` stays as it is.
    pub fn complete(&self, stanzas: &str) -> String {
        let mut index = String::new();
        for stanza in stanzas
            .split("\n\n")
            .map(str::trim)
            .filter(|s| !s.is_empty())
        {
            if stanza.contains("\nFilename:") {
                index += &format!("{stanza}\n\n");
                continue;
            }
            let field = |name: &str| {
                let start = format!("{name}: ");
                let line = stanza.lines().find_map(|line| line.strip_prefix(&start));
                line.unwrap_or("all").to_owned()
            };
            let (name, version) = (field("Package"), field("Version"));
            let architecture = field("Architecture");
            let content = match self.packages.get(&name) {
                Some(content) => content.clone(),
                None => format!("{name} {version} {architecture}\n").into_bytes(),
            };
            let path = format!(
                "pool/{name}_{}_{architecture}.deb",
                version.replace(':', "%3a")
            );
            put(&self.mirror().join(&path), &content);
            let architecture = match stanza.contains("\nArchitecture:") {
                true => String::new(),
                false => "Architecture: all\n".into(),
            };
            index += &format!(
                "{stanza}\n{architecture}Filename: {path}\nSize: {}\nSHA256: {}\n\n",
                content.len(),
                hex::encode(Sha256::digest(&content))
            );
        }
        index
    }

    /// A base on this archive.
    pub fn base(&self, suites: &[&str], components: &[&str]) -> Base {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Base {
            name: "mini-1".into(),
            summary: "Miniature".into(),
            family: "ubuntu".into(),
            version: "1".into(),
            codename: "mini".into(),
            architecture: "amd64".into(),
            archives: vec![Archive {
                name: "mini".into(),
                mirror: self.url(),
                origin: "Mini".into(),
                suites: texts(suites),
                components: texts(components),
                fingerprints: vec![self.key.fingerprint()],
                keys: self.key.armoured(),
                snapshot: None,
                packages: vec![],
                never: vec![],
                versions: BTreeMap::new(),
                priority: None,
                services: vec![],
            }],
            packages: vec![],
            kernels: Default::default(),
            kernel: String::new(),
            boot: vec![],
            preseed: vec![],
            early: vec![],
            accounts: vec![],
            overlay: BTreeMap::new(),
            state: vec![],
            exclude: Default::default(),
        }
    }

    /// Locks as of [`MADE`] and `day` days.
    pub fn lock(
        &self,
        stack: &Stack,
        day: u32,
        previous: Option<&Lock>,
        update: bool,
    ) -> Result<Locked, PackagesError> {
        self.lock_from(stack, day, previous, update, false)
    }

    pub fn lock_from(
        &self,
        stack: &Stack,
        day: u32,
        previous: Option<&Lock>,
        update: bool,
        offline: bool,
    ) -> Result<Locked, PackagesError> {
        lock_stack(
            stack,
            &LockOptions {
                mirrors: &mirrors(stack),
                cache: &self.cache(),
                offline,
                previous,
                update,
                supplied: std::path::Path::new("artifacts"),
                now: moment(day),
            },
        )
    }
}

/// [`MADE`] and so many days.
pub fn moment(day: u32) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::from(MADE + day * DAY)).unwrap()
}

pub fn mirrors(stack: &Stack) -> Mirrors {
    Mirrors::choose(stack.bases.values(), &Preferences::default())
}

/// A stack whose one role wants these packages.
pub fn stack(base: Base, packages: &[&str]) -> Stack {
    Stack {
        name: "tiny".into(),
        summary: "A test".into(),
        roles: vec![Role {
            name: "office".into(),
            summary: "Everything".into(),
            base: base.name.clone(),
            kernel: None,
            memory: 512,
            cpus: 1,
            disk: 2048,
            address: None,
            bond: None,
            outside: false,
            services: vec![],
            optional: vec![],
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            recommends: false,
            settings: BTreeMap::new(),
        }],
        network: None,
        deputy: None,
        services: BTreeMap::new(),
        bases: BTreeMap::from([(base.name.clone(), base)]),
        phases: vec![],
        bindings: vec![],
        demo: Demo::default(),
    }
}

fn date(day: u32) -> String {
    let date = moment(day).strftime("%a, %d %b %Y %H:%M:%S UTC");
    date.to_string()
}

fn line(bytes: &[u8], path: &str) -> String {
    let digest = hex::encode(Sha256::digest(bytes));
    format!(" {digest} {:>8} {path}\n", bytes.len())
}

fn pack(bytes: &[u8], suffix: &str) -> Vec<u8> {
    match suffix {
        ".xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        ".gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        ".zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// Packs as `.xz` or `.zst` so that unpacking takes 2 GiB of memory.
pub fn pack_hungry(bytes: &[u8], suffix: &str) -> Vec<u8> {
    if suffix == ".zst" {
        let mut writer = zstd::Encoder::new(Vec::new(), 1).unwrap();
        writer.window_log(31).unwrap();
        writer.write_all(bytes).unwrap();
        return writer.finish().unwrap();
    }
    let mut stream = pack(bytes, ".xz");
    // xz file format, 3.1: after 12 bytes the header of the first block, its size in words less
    // one, flags, the LZMA2 filter (0x21, one byte of properties), padding, CRC32.
    let size = (usize::from(stream[12]) + 1) * 4;
    let (start, end) = (12, 12 + size - 4);
    assert_eq!(stream[14..16], [0x21, 1]);
    stream[16] = 38; // 2 GiB
    let mut sum = flate2::Crc::new();
    sum.update(&stream[start..end]);
    stream[end..end + 4].copy_from_slice(&sum.sum().to_le_bytes());
    stream
}

pub fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
