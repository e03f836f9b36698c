//! Packages made in memory, hostile ones included, and a cache that holds them.

use muster::image::deb::Store;
use muster::image::diversion::Diversions;
use muster::image::unpack::{Unpacked, Unpacker, load};
use muster::image::{Error, deb};
use muster::packages::cache::Cache;
use muster::packages::lock::Package;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A member of a data archive.
pub struct Member {
    pub path: &'static str,
    pub kind: EntryType,
    /// Content of a file, target of a link.
    pub content: &'static str,
}

pub fn file(path: &'static str, content: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Regular,
        content,
    }
}

pub fn link(path: &'static str, to: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Link,
        content: to,
    }
}

pub fn symlink(path: &'static str, to: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Symlink,
        content: to,
    }
}

pub fn device(path: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Char,
        content: "",
    }
}

pub fn directory(path: &'static str) -> Member {
    Member {
        path,
        kind: EntryType::Directory,
        content: "",
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
            EntryType::Regular => member.content,
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
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(control.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "./control", control.as_bytes())
        .unwrap();
    let control = archive.into_inner().unwrap();
    let mut builder = ar::Builder::new(Vec::new());
    let members: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        (name, data),
    ];
    for (name, content) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A cache and a root to unpack into.
pub struct Bench {
    folder: tempfile::TempDir,
    packages: Vec<Package>,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        Bench {
            folder,
            packages: Vec::new(),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Puts a package into the cache.
    pub fn add(&mut self, name: &str, content: &[u8]) -> &Package {
        let sha256 = hex::encode(Sha256::digest(content));
        let path = Cache::new(self.cache()).path(&sha256);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.packages.push(Package {
            name: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            base: "debian-12".into(),
            archive: "debian".into(),
            suite: "bookworm".into(),
            path: format!("pool/{name}.deb"),
            size: content.len() as u64,
            sha256,
        });
        self.packages.last().unwrap()
    }

    /// A package of these members and no further control fields.
    pub fn simple(&mut self, name: &str, members: &[Member]) {
        let control = format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
        let content = package(&control, "data.tar", &data(members));
        self.add(name, &content);
    }

    /// Unpacks all packages.
    pub fn unpack(&self) -> Result<Vec<Unpacked>, Error> {
        let store = Store::open(&self.cache())?;
        let packages: Vec<&Package> = self.packages.iter().collect();
        let loaded = load(&store, &packages)?;
        let loaded: Vec<_> = loaded.iter().collect();
        let unpacker = Unpacker::new(self.root(), &loaded);
        unpacker.unpack(&store, &loaded, &Diversions::default())
    }

    /// What is wrong with the packages, in words.
    pub fn refusal(&self) -> String {
        self.unpack().unwrap_err().to_string()
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
