//! Packages made in memory, hostile ones included, and the way of an image to them: a signed
//! archive that a mirror serves, a lock, the cache, a root.

use crate::archive::{Miniature, Suite, mirrors, stack};
use crate::key::Key;
use indicatif::ProgressBar;
use muster::image::diversion::Diversions;
use muster::image::store::Store;
use muster::image::unpack::{Unpacked, Unpacker, load};
use muster::image::{Error, deb};
use muster::packages::fetch::fetch;
use muster::packages::lock::Package;
use muster::profile::Exclude;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A member of a data archive.
#[derive(Clone)]
pub struct Member {
    pub path: &'static str,
    pub kind: EntryType,
    /// Content of a file, target of a link.
    pub content: String,
}

pub fn file(path: &'static str, content: &str) -> Member {
    Member {
        path,
        kind: EntryType::Regular,
        content: content.to_owned(),
    }
}

pub fn link(path: &'static str, to: &str) -> Member {
    Member {
        path,
        kind: EntryType::Link,
        content: to.to_owned(),
    }
}

pub fn symlink(path: &'static str, to: &str) -> Member {
    Member {
        path,
        kind: EntryType::Symlink,
        content: to.to_owned(),
    }
}

pub fn device(path: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Char,
        content: String::new(),
    }
}

pub fn directory(path: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Directory,
        content: String::new(),
    }
}

/// A data archive, its paths written as they stand.
pub fn data(members: &[Member]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..member.path.len()]
            .copy_from_slice(member.path.as_bytes());
        header.set_entry_type(member.kind);
        header.set_mode(0o644);
        header.set_uid(nix::unistd::getuid().as_raw().into());
        header.set_gid(nix::unistd::getgid().as_raw().into());
        header.set_mtime(1_000_000_000);
        let content = match member.kind {
            EntryType::Regular => member.content.as_str(),
            _ => "",
        };
        if content.is_empty() && !member.content.is_empty() {
            header.as_gnu_mut().unwrap().linkname[..member.content.len()]
                .copy_from_slice(member.content.as_bytes());
        }
        if member.kind == EntryType::Directory {
            header.set_mode(0o755);
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A package file with this control paragraph and this member as its data.
pub fn package(control: &str, name: &str, data: &[u8]) -> Vec<u8> {
    package_with(&[("control", control)], name, data)
}

/// A package file with these control files and this member as its data.
pub fn package_with(control: &[(&str, &str)], name: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (file, content) in control {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("./{file}");
        archive
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let control = archive.into_inner().unwrap();
    members(&[("control.tar", &control), (name, data)])
}

/// A package file with these members after its first.
pub fn members(all: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    let first: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    for (name, content) in std::iter::once(&first).chain(all) {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An archive of packages, a cache, and a root to unpack into.
pub struct Bench {
    mini: Miniature,
    names: Vec<String>,
    /// What stays out of the packages.
    pub exclude: Exclude,
}

impl Bench {
    pub fn new() -> Bench {
        let mini = Miniature::new(Key::new());
        std::fs::create_dir(mini.folder.path().join("root")).unwrap();
        Bench {
            mini,
            names: Vec::new(),
            exclude: Exclude::default(),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.mini.folder.path().join("root")
    }

    /// Where a package of the cache is.
    pub fn cached(&self, package: &Package) -> PathBuf {
        self.mini.cache().path(&package.sha256)
    }

    /// Puts a package into the archive.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        self.mini.packages.insert(name.into(), content.into());
        self.names.push(name.into());
    }

    /// A package of these members and no further control fields.
    pub fn simple(&mut self, name: &str, members: &[Member]) {
        let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
        let content = package(&control, "data.tar", &data(members));
        self.add(name, &content);
    }

    /// Locks and fetches all packages; gives them in the order in which they were added.
    pub fn fetched(&self) -> Vec<Package> {
        let stanzas = self
            .names
            .iter()
            .map(|name| format!("Package: {name}\nVersion: 1\n\n"));
        self.mini
            .write(&Suite::new("noble", &stanzas.collect::<String>()));
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let stack = stack(self.mini.base(&["noble"], &["main"]), &names);
        let lock = self.mini.lock(&stack, 11, None, false).unwrap().lock;
        let bar = ProgressBar::hidden();
        fetch(&lock, &self.mini.cache(), Some(&mirrors(&stack)), &bar).unwrap();
        let of = |name| lock.packages.iter().find(|package| package.name == name);
        names
            .into_iter()
            .map(|name| of(name).unwrap().clone())
            .collect()
    }

    /// Unpacks all packages at once.
    pub fn unpack(&self) -> Result<Vec<Unpacked>, Error> {
        let packages = self.fetched();
        self.unpack_in_rounds(&[&packages.iter().collect::<Vec<_>>()])
    }

    /// Unpacks one package after the other.
    pub fn unpack_one_by_one(&self) -> Result<Vec<Unpacked>, Error> {
        let packages = self.fetched();
        let packages: Vec<[&Package; 1]> = packages.iter().map(|package| [package]).collect();
        let rounds: Vec<&[&Package]> = packages.iter().map(|round| &round[..]).collect();
        self.unpack_in_rounds(&rounds)
    }

    pub fn unpack_in_rounds(&self, rounds: &[&[&Package]]) -> Result<Vec<Unpacked>, Error> {
        let store = Store::open(self.mini.cache().root())?;
        let loaded = load(&store, &rounds.concat())?;
        let loaded: Vec<_> = loaded.iter().collect();
        let unpacker = Unpacker::new(self.root(), &loaded, &self.exclude);
        let (mut start, mut unpacked) = (0, Vec::new());
        for round in rounds {
            let these = &loaded[start..start + round.len()];
            unpacked.extend(unpacker.unpack(&store, these, &Diversions::default())?);
            start += round.len();
        }
        Ok(unpacked)
    }

    /// What is wrong with the packages, in words.
    pub fn refusal(self) -> String {
        let error = self.unpack().unwrap_err();
        self.words(error)
    }

    /// An error in words, after which the cache is as sound as before, nothing but the root was
    /// written, and an honest package can be unpacked.
    pub fn words(mut self, error: Error) -> String {
        assert_ne!(error.hint(), "", "{error}");
        self.mini.is_unharmed();
        self.names.clear();
        self.exclude = Exclude::default();
        std::fs::remove_dir_all(self.root()).unwrap();
        std::fs::create_dir(self.root()).unwrap();
        self.simple("good", &[file("./usr/share/good", "words")]);
        self.unpack().unwrap();
        assert_eq!(self.read("usr/share/good"), "words");
        self.mini.is_unharmed();
        error.to_string()
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }
}

/// Reads a package's control fields straight from bytes.
pub fn control_of(folder: &Path, content: &[u8]) -> Result<deb::Control, Error> {
    let path = folder.join("x.deb");
    std::fs::write(&path, content).unwrap();
    deb::control("x", std::fs::File::open(path).unwrap())
}
